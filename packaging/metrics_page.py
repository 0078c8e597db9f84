"""Writes docs/metrics.md: every metric of the shipped query files, with its type, labels and description."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "metrics.md"
FILES = [ROOT / "queries.yml", *sorted((ROOT / "queries").glob("*.yml"))]

HEAD = """# Metrics

Every metric of the shipped query files, by file. [queries-shipped.md](queries-shipped.md) explains how to add a file, and has
its cost. [queries.md](queries.md#what-the-exporter-says-of-itself) has the exporter's own metrics.

`make metrics` writes this page.
"""
SUFFIXES = {"INFO": "_info", "DURATION": "_milliseconds"}


def page() -> str:
    contents = "".join(f"- [{file.name}](#{file.name.replace('.', '')})\n" for file in FILES)
    return f"{HEAD}\n{contents}" + "".join(map(section, FILES))


def section(file: Path) -> str:
    rows: dict[str, str] = {}
    for namespace, query in yaml.safe_load(file.read_text()).items():
        columns = [item for metric in query["metrics"] for item in metric.items()]
        labels = [options.get("name", column) for column, options in columns if options["usage"] == "LABEL"]
        for column, options in columns:
            usage = options["usage"]
            if usage in ("LABEL", "DISCARD"):
                continue
            name = f"{query.get('name', namespace)}_{options.get('name', column)}"
            own = labels + [*options.get("labels", {})] + ([column] if usage == "INFO" else [])
            own += [name] if usage == "STATESET" else []
            named = ", ".join(f"`{label}`" for label in own)
            suffix = SUFFIXES.get(usage, "")
            row = f"| `{name.removesuffix(suffix)}{suffix}` | {usage.lower()} | {named} | {options.get('description', '')} |"
            # Of columns or queries that share a metric, the first describes it.
            rows.setdefault(name, row)
    table = "\n".join(rows[name] for name in sorted(rows))
    return f"\n## {file.name}\n\n| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n{table}\n"


if __name__ == "__main__":
    PAGE.write_text(page())
