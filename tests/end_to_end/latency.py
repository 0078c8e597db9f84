"""Requests whose latencies latency.yml asks for, and what is true of them, computed without SQL and the exporter."""

import bisect
import random
import statistics
from pathlib import Path

QUERIES = Path(__file__).with_suffix(".yml")
BOUNDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5]
QUANTILES = [0.5, 0.9, 0.99]

# No latency lies on a bound of a bucket, and the longest ones lie beyond the last.
_random = random.Random(20)
LATENCIES = {
    route: [round(_random.lognormvariate(middle, 1), 6) + 1e-7 for _ in range(requests)]
    for route, middle, requests in (("/", -3, 1000), ("/orders", -1.5, 400), ("/rare", -2, 1))
}


def table(reader: str) -> str:
    """The SQL that makes the table for `reader`."""
    rows = ",".join(f"('{route}', {seconds!r})" for route, all_seconds in LATENCIES.items() for seconds in all_seconds)
    return (
        "CREATE TABLE requests (route text, seconds double precision); "
        f"INSERT INTO requests VALUES {rows}; GRANT SELECT ON requests TO {reader}"
    )


def quantile(latencies: list[float], quantile: float) -> float:
    """As `percentile_cont`: between the two nearest, in proportion."""
    if len(latencies) == 1:
        return latencies[0]
    return statistics.quantiles(latencies, n=100, method="inclusive")[round(quantile * 100) - 1]


def cumulative_counts(latencies: list[float]) -> dict[float, int]:
    """How many took at most each bound."""
    in_order = sorted(latencies)
    counts = {bound: bisect.bisect_right(in_order, bound) for bound in BOUNDS}
    return counts | {float("inf"): len(latencies)}


def histogram_quantile(latencies: list[float], quantile: float) -> float:
    """What can be known of a quantile from the buckets: even distribution within each (Prometheus documentation,
    "histogram_quantile()"). Beyond the last bound, that bound."""
    rank = quantile * len(latencies)
    below, lower = 0, 0.0
    for bound, count in cumulative_counts(latencies).items():
        if count >= rank:
            return lower if bound == float("inf") else lower + (bound - lower) * (rank - below) / (count - below)
        below, lower = count, bound
    raise AssertionError("the last bucket has all")
