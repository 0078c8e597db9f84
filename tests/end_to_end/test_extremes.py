"""Texts and values at the edges of what there is come out as they went in, by prometheus_client's parsers of both
formats and by Prometheus itself."""

import pytest
from extremes import HELP, QUERIES, TEXTS, VALUES
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from demo.endpoint import Endpoint
from demo.prometheus import Prometheus

FORMATS = {"text": parse_text, "openmetrics": parse_openmetrics}

Families = dict[str, Metric]


@pytest.fixture(scope="module", params=list(FORMATS))
def families(extremes_jobs: dict[str, Endpoint], request: pytest.FixtureRequest) -> Families:
    """What a parser reads in the answer."""
    accept = {"Accept": "application/openmetrics-text;version=1.0.0"} if request.param == "openmetrics" else {}
    answer = extremes_jobs[f"extremes-{request.param}"].get("/metrics", **accept)
    assert answer.status == 200, answer.text
    assert answer.text.endswith("# EOF\n") == (request.param == "openmetrics")
    return {family.name: family for family in FORMATS[request.param](answer.text)}


def labels(families: Families, family: str, label: str) -> dict[str, str]:
    """The label of each sample, by its name."""
    samples = families[family].samples
    found = {sample.labels["name"]: sample.labels[label] for sample in samples}
    assert len(found) == len(samples)
    return found


def values(families: Families, family: str) -> dict[str, str]:
    """The value of each sample, to the last bit."""
    samples = families[family].samples
    found = {sample.labels["name"]: bits(sample.value) for sample in samples}
    assert len(found) == len(samples)
    return found


def bits(value: float | str) -> str:
    """A notation in which no two floats are equal."""
    return float(value).hex()


def without_sign_of_zero(values: dict[str, str]) -> dict[str, str]:
    """prometheus_client reads what looks like an integer as one, and these have one zero. Prometheus has both."""
    return {name: bits(0) if value == bits(-0.0) else value for name, value in values.items()}


def test_label_values(families: Families) -> None:
    assert labels(families, "texts_one", "text") == {name: text or "" for name, text in TEXTS.items()}


def test_facts(families: Families) -> None:
    # An info in OpenMetrics has its name without the suffix.
    family = "texts_told_fact_info" if "texts_told_fact_info" in families else "texts_told_fact"
    assert labels(families, family, "fact") == {name: text for name, text in TEXTS.items() if text is not None}
    assert {sample.value for sample in families[family].samples} == {1}


def test_values(families: Families) -> None:
    expected = {name: bits(value) for name, value in VALUES.items()}
    assert values(families, "numbers_number") == without_sign_of_zero(expected)


def test_values_of_counters(families: Families) -> None:
    # -0 is not less than 0.
    expected = {name: bits(value) for name, value in VALUES.items() if float(value) >= 0}
    assert values(families, "counters_number") == without_sign_of_zero(expected)


def test_help(families: Families) -> None:
    assert families["numbers_number"].documentation == HELP
    assert families["counters_number"].documentation == HELP


def test_nothing_was_dropped(families: Families) -> None:
    successes = families["pg_exporter_query_success"].samples
    assert {sample.labels["query"]: sample.value for sample in successes} == dict.fromkeys(QUERIES, 1)
    assert "pg_exporter_query_samples_dropped" not in families


@pytest.mark.parametrize("job", [f"extremes-{name}" for name in FORMATS])
def test_prometheus_has_the_same(prometheus: Prometheus, job: str) -> None:
    prometheus.wait_for_job(job)
    texts = [dict(labels) for labels in prometheus.query(f'texts_one{{job="{job}"}}')]
    # To Prometheus an empty label is none.
    assert {labels["name"]: labels.get("text") for labels in texts} == TEXTS
    numbers = prometheus.query(f'numbers_number{{job="{job}"}}')
    found = {dict(labels)["name"]: bits(value) for labels, value in numbers.items()}
    assert found == {name: bits(value) for name, value in VALUES.items()}
