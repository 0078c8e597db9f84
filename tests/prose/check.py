"""`make lint`: finds the phrases of banned.txt in Markdown and text files, and in the comments and texts of Rust.

    python3 tests/prose/check.py FILE|FOLDER...
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

BANNED = Path(__file__).parent / "banned.txt"

Lines = list[tuple[int, str]]
"""The lines of one paragraph, by their numbers in the file."""

RUST = re.compile(
    r"""
    (?P<comment> //[^\n]* )
    | b?r(?P<hashes>\#*)" (?P<raw> .*? ) "(?P=hashes)
    | " (?P<text> (?: \\. | [^"\\] )* ) "
    | '(?: \\.[^']* | [^\\'] )'  # a character, which may be a quotation mark
    """,
    re.VERBOSE | re.DOTALL,
)
NEW_PARAGRAPH = re.compile(r"\s*([-*#>]|\d+\.|$)")
SENTENCE = re.compile(r"(?<=[.:;!?]) (?=\W*[A-Z])")


def paragraphs(path: Path) -> Iterator[Lines]:
    """The prose of a file."""
    text = path.read_text()
    return of_rust(text) if path.suffix == ".rs" else of_markdown(text)


def of_rust(text: str) -> Iterator[Lines]:
    """Comments that follow each other, and texts: messages, and what HELP and `--help` show."""
    comment: Lines = []
    for token in RUST.finditer(text):
        number = text.count("\n", 0, token.start()) + 1
        if token["comment"] is None:
            literal = token["raw"] or token["text"] or ""
            yield [(number + index, line.rstrip("\\")) for index, line in enumerate(literal.splitlines())]
            continue
        if not comment or number != comment[-1][0] + 1:
            yield from split(comment)
            comment = []
        comment.append((number, token["comment"].lstrip("/!")))
    yield from split(comment)


def of_markdown(text: str) -> Iterator[Lines]:
    """Without code. Each cell of a table is a paragraph, and the cells of its first row are headings."""
    prose: Lines = []
    fenced = False
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif line.startswith("|"):
            mark = "#" if lines[number : number + 1] and lines[number].startswith("|-") else ""
            yield from ([(number, mark + cell)] for cell in line.split("|"))
        elif not fenced:
            prose.append((number, re.sub(r"\]\([^)]*\)", "]", line)))
            continue
        prose.append((number, ""))
    yield from split(prose)


def split(lines: Lines) -> Iterator[Lines]:
    """Paragraphs and items of lists."""
    paragraph: Lines = []
    for number, line in lines:
        if NEW_PARAGRAPH.match(line):
            yield paragraph
            paragraph = []
        paragraph.append((number, line))
    yield paragraph


def sentences(paragraph: Lines) -> Iterator[tuple[int, str]]:
    """Each with the number of the line that it begins in. Code in backquotes is left empty."""
    numbers: list[int] = []
    words: list[str] = []
    for number, line in paragraph:
        for word in line.split():
            words.append(word)
            numbers.append(number)
    text = " ".join(words)
    for sentence in SENTENCE.split(re.sub(r"`[^`]*`", lambda code: " ".join("`" * len(code[0].split())), text)):
        if sentence:
            yield numbers[0], sentence.strip("-*#>()\"[] ")
            del numbers[: len(sentence.split())]


def banned_phrases() -> list[tuple[re.Pattern[str], str]]:
    """Each pattern, and what to write instead."""
    lines = [line for line in BANNED.read_text().splitlines() if line and not line.startswith("#")]
    pairs = [line.split(" -> ") for line in lines]
    return [(re.compile(pattern, re.IGNORECASE), instead) for pattern, instead in pairs]


def files_in(path: Path) -> list[Path]:
    """The file itself, or the files in the folder that have prose."""
    return sorted(file for end in ("md", "rs", "txt") for file in path.rglob(f"*.{end}")) if path.is_dir() else [path]


def main(arguments: list[str]) -> int:
    """Prints each finding, and gives the exit status."""
    banned = banned_phrases()
    found = 0
    for file in [file for argument in arguments for file in files_in(Path(argument))]:
        for paragraph in paragraphs(file):
            is_heading = file.suffix == ".md" and bool(paragraph) and paragraph[0][1].startswith("#")
            for number, sentence in sentences(paragraph):
                for pattern, instead in banned:
                    # A heading is not a sentence.
                    if is_heading and pattern.pattern.startswith("^"):
                        continue
                    if match := pattern.search(sentence):
                        found += 1
                        print(f'{file}:{number}: "{match[0]}" in "{sentence}"; write: {instead}')
    if found:
        print(f"{found} phrases to replace; tests/prose/banned.txt has the list", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
