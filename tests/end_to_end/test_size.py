"""One query of 30,000 series, and what it takes."""

import gzip
import re
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from conftest import FunctionWith
from demo.endpoint import Endpoint
from demo.processes import Child

SERIES = 30_000
DUPLICATES = 2_000
MEMORY_BYTES = 30_000_000
"""Of the whole process, with the pages of the program that it has read."""

QUERIES = f"""
index_usage:
  query: |
    SELECT 'schema_' || n % 7 AS schema, 'table_' || n / 10 AS relation, 'index_' || n AS index, n AS scans
    FROM (SELECT generate_series(1, {SERIES}) UNION ALL SELECT generate_series(1, {DUPLICATES})) AS rows (n)
  metrics:
    - schema: {{usage: LABEL}}
    - relation: {{usage: LABEL}}
    - index: {{usage: LABEL}}
    - scans: {{usage: GAUGE, description: Scans of the index}}
"""


@pytest.fixture(scope="module")
def function(function_with: FunctionWith, tmp_path_factory: pytest.TempPathFactory) -> tuple[Endpoint, Child]:
    file = tmp_path_factory.mktemp("size") / "queries.yml"
    file.write_text(QUERIES)
    return function_with("size", file)


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text;version=1.0.0"])
def test_every_series_is_there_once(function: tuple[Endpoint, Child], accept: str) -> None:
    parse = parse_text if accept == "text/plain" else parse_openmetrics
    families = {family.name: family for family in parse(function[0].get("/metrics", Accept=accept).text)}
    samples = families["index_usage_scans"].samples
    assert len(samples) == SERIES
    assert {sample.labels["index"]: sample.value for sample in samples} == {
        f"index_{n}": n for n in range(1, SERIES + 1)
    }
    dropped = families["pg_exporter_query_samples_dropped"].samples
    assert {sample.labels["reason"]: sample.value for sample in dropped if sample.value} == {"duplicate": DUPLICATES}


def test_memory(function: tuple[Endpoint, Child]) -> None:
    endpoint, child = function
    openmetrics = {"Accept": "application/openmetrics-text;version=1.0.0"}
    # It takes some scrapes until the allocator needs no more.
    for headers in ({}, {"Accept_Encoding": "gzip"}, openmetrics, openmetrics | {"Accept_Encoding": "gzip"}) * 15:
        answer = endpoint.get("/metrics", **headers)
        body = gzip.decompress(answer.body) if "Content-Encoding" in answer.headers else answer.body
        assert body.count(b"\nindex_usage_scans{") == SERIES
    status = Path(f"/proc/{child.process.pid}/status").read_text()
    memory = {name: int(kib) * 1024 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB$", status, re.MULTILINE)}
    figures = {name: memory[name] for name in ("VmHWM", "VmRSS", "RssAnon", "RssFile")}
    assert figures["VmHWM"] < MEMORY_BYTES, figures
