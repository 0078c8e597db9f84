"""Scrapes of real servers by the real program, as series for `promtool test rules` that go on for hours."""

import json
import os
import re
import subprocess
import urllib.parse
import zipfile
from pathlib import Path

import yaml

import promql
from demo.aws import CHECKOUT, FUNCTION, PACKAGES
from demo.prometheus import RULES

JOB = "pg-lambda-exporter"
Scrape = dict[str, float]


class Recorder:
    """The program of the package, and what it has scraped of each instance, scrape after scrape."""

    def __init__(self, folder: Path) -> None:
        self._program = folder / "bootstrap"
        with zipfile.ZipFile(PACKAGES / FUNCTION / "bootstrap.zip") as package:
            package.extract("bootstrap", folder)
        self._program.chmod(0o755)
        self.scrapes: dict[str, list[tuple[float, Scrape]]] = {}

    def scrape(self, instance: str, secret: dict, seconds: float) -> Scrape:
        """One scrape of an instance, at this time."""
        user, password = (urllib.parse.quote(str(secret[name]), safe="") for name in ("username", "password"))
        address = f"{secret['host']}:{secret['port']}/{secret['dbname']}"
        environment = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": f"postgres://{user}:{password}@{address}",
            "QUERIES_FILE": str(CHECKOUT / "queries.yml"),
        }
        answer = subprocess.run([self._program, "scrape"], env=environment, capture_output=True, text=True, check=True)
        assert "pg_exporter_query_error{" not in answer.stdout, answer.stdout
        lines = [line for line in answer.stdout.splitlines() if not line.startswith("#")]
        samples = {series: float(value) for series, value in (line.rsplit(" ", 1) for line in lines)}
        self.scrapes.setdefault(instance, []).append((seconds, samples))
        return samples


def needed() -> set[str]:
    """The metrics that the rules ask for."""
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]]
    return set().union(*(promql.metrics(rule["expr"]) for group in groups for rule in group["rules"]))


def minutes(scrapes: list[tuple[float, Scrape]], length: int) -> dict[str, list[float | None]]:
    """What scrapes in seconds would have been as one a minute, for so long. A counter and an age go on at their pace,
    and everything else repeats what it was."""
    taken = [at for at, _ in scrapes]
    long = taken[-1] - taken[0]
    found: dict[str, list[float | None]] = {}
    for series in set().union(*(samples for _, samples in scrapes)):
        values = [samples.get(series) for _, samples in scrapes]
        first, last = values[0], values[-1]
        name = re.split("{", series)[0]
        rises = None not in values and all(one <= two for one, two in zip(values, values[1:], strict=False))
        pace = (last - first) / long if rises and long else 0
        if name.endswith("_total") or name.endswith("_seconds") and 0.5 < pace < 1.5:
            found[series] = [None if last is None else last + pace * 60 * minute for minute in range(length)]
        else:
            found[series] = [values[minute % len(values)] for minute in range(length)]
    return found


def unit_test(instances: dict[str, list[dict[str, list[float | None]]]], rules: list[str], checks: list[dict]) -> str:
    """A file for `promtool test rules`: of each instance one part after another."""
    wanted = needed()
    series = []
    for instance, parts in instances.items():
        parts = [part for part in parts if part]
        lengths = [len(next(iter(part.values()))) for part in parts]
        for name in set().union(*parts):
            metric, _, labels = name.partition("{")
            if metric not in wanted:
                continue
            values = [
                value
                for part, length in zip(parts, lengths, strict=True)
                for value in part.get(name, [None] * length)
            ]
            labels = "".join(f",{part}" for part in [labels.removesuffix("}")] if part)
            text = " ".join("_" if value is None else repr(value) for value in values)
            series.append({"series": f'{metric}{{job="{JOB}",instance="{instance}"{labels}}}', "values": text})
        of_prometheus = {"up": 1, "scrape_duration_seconds": 0.2}
        for metric, value in of_prometheus.items():
            series.append(
                {"series": f'{metric}{{job="{JOB}",instance="{instance}"}}', "values": f"{value}x{sum(lengths)}"}
            )
    case = {"interval": "1m", "input_series": series, "promql_expr_test": checks}
    return json.dumps({"rule_files": rules, "evaluation_interval": "1m", "tests": [case]})  # JSON is YAML.
