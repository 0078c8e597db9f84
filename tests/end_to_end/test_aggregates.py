"""Summaries and histograms, from arrays and from observations, in a real Prometheus and by either format."""

import latency
import pytest

from demo.prometheus import Prometheus

SUMMARIES = ["latency_percentiles_seconds", "latency_observed_quantiles_seconds"]
HISTOGRAMS = ["latency_buckets_seconds", "latency_observed_buckets_seconds"]


@pytest.fixture(params=["latency-openmetrics", "latency-text"])
def job(prometheus: Prometheus, request: pytest.FixtureRequest) -> str:
    """A format that Prometheus has scraped."""
    prometheus.wait_for_job(request.param)
    return request.param


@pytest.fixture(params=list(latency.LATENCIES))
def route(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("name", SUMMARIES)
def test_summary(prometheus: Prometheus, job: str, name: str, route: str) -> None:
    latencies = latency.LATENCIES[route]
    series = prometheus.query(f'{name}{{job="{job}",route="{route}"}}')
    quantiles = {float(dict(labels)["quantile"]): value for labels, value in series.items()}
    assert quantiles == {of: pytest.approx(latency.quantile(latencies, of)) for of in latency.QUANTILES}
    assert_sum_and_count(prometheus, job, name, route)


@pytest.mark.parametrize("name", HISTOGRAMS)
def test_histogram(prometheus: Prometheus, job: str, name: str, route: str) -> None:
    latencies = latency.LATENCIES[route]
    series = prometheus.query(f'{name}_bucket{{job="{job}",route="{route}"}}')
    counts = {float(dict(labels)["le"]): value for labels, value in series.items()}
    assert counts == latency.cumulative_counts(latencies)
    assert_sum_and_count(prometheus, job, name, route)
    for of in latency.QUANTILES:
        value = prometheus.value(f'histogram_quantile({of}, {name}_bucket{{job="{job}",route="{route}"}})')
        assert value == pytest.approx(latency.histogram_quantile(latencies, of))


def test_prometheus_knows_the_types(prometheus: Prometheus, job: str) -> None:
    types = {name: prometheus.type_of(name, job) for name in SUMMARIES + HISTOGRAMS}
    assert types == dict.fromkeys(SUMMARIES, "summary") | dict.fromkeys(HISTOGRAMS, "histogram")


def assert_sum_and_count(prometheus: Prometheus, job: str, name: str, route: str) -> None:
    latencies = latency.LATENCIES[route]
    assert prometheus.value(f'{name}_count{{job="{job}",route="{route}"}}') == len(latencies)
    assert prometheus.value(f'{name}_sum{{job="{job}",route="{route}"}}') == pytest.approx(sum(latencies))
