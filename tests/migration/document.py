"""docs/migration.md: its sections and the snippets in them."""

import re

from demo.aws import CHECKOUT

DOCUMENT = CHECKOUT / "docs" / "migration.md"
HEADING = re.compile(r"^(##+) (.*)$", re.MULTILINE)
SNIPPET = re.compile(r"^```([^\n]+)\n(.*?\n)```$", re.MULTILINE | re.DOTALL)
BEFORE = {"js", "yaml before"}


def sections() -> dict[str, dict[str, list[str]]]:
    """The snippets of each heading, without those of the headings below it, by their language."""
    parts = HEADING.split(DOCUMENT.read_text())
    found: dict[str, dict[str, list[str]]] = {}
    for title, text in zip(parts[2::3], parts[3::3]):
        assert title not in found, f"{title}: a second section of this name"
        found[title] = {}
        for language, snippet in SNIPPET.findall(text):
            found[title].setdefault(language, []).append(snippet)
    return found


def snippet(section: str, language: str) -> str:
    """The one snippet of the section in this language."""
    (only,) = sections()[section][language]
    return only
