"""The expected expositions of tests/golden, as the parsers of others read them: prometheus_client's and promtool's."""

import subprocess
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

CASES = sorted((Path(__file__).parent.parent / "golden").iterdir())
# How `promtool check metrics` exits where it reads all and would have named something otherwise.
LINT = 3


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_prometheus_client_reads_openmetrics(case: Path) -> None:
    assert list(parse_openmetrics((case / "openmetrics.prom").read_bytes().decode()))


def test_prometheus_client_and_promtool_read_the_text_format(case: Path) -> None:
    # As bytes: a label's value may hold what Python takes for the end of a line.
    exposition = (case / "text.prom").read_bytes()
    assert list(parse_text(exposition.decode()))
    checked = subprocess.run(["promtool", "check", "metrics"], input=exposition, capture_output=True)
    assert checked.returncode in (0, LINT), checked.stderr
