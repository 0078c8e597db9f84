"""What an exposition in the text format says, to compare that of one program with that of another."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pytest
from prometheus_client.parser import text_string_to_metric_families

Series = tuple[str, tuple[tuple[str, str], ...]]
"""The name of a sample and its labels, sorted."""

OWN = ("pg_up", "pg_exporter_")
"""What this exporter says of itself."""


@dataclass
class Family:
    """One metric."""

    type: str
    help: str
    samples: dict[Series, float] = field(default_factory=dict)


def series(name: str, labels: Mapping[str, str]) -> Series:
    """The key of a sample."""
    return name, tuple(sorted(labels.items()))


def families(text: str, own: Iterable[str]) -> dict[str, Family]:
    """The families by their names, without those whose names begin as one of `own`, of which some must be there."""
    own = tuple(own)
    found: dict[str, Family] = {}
    passed_over: set[str] = set()
    for metric in text_string_to_metric_families(text):
        if metric.name.startswith(own):
            passed_over.add(next(beginning for beginning in own if metric.name.startswith(beginning)))
            continue
        assert metric.name not in found, f"{metric.name}: a second family of this name"
        family = found[metric.name] = Family(metric.type, metric.documentation)
        for sample in metric.samples:
            key = series(sample.name, bounds_as_numbers(sample.labels))
            assert key not in family.samples, f"{key}: a second sample of this series"
            family.samples[key] = sample.value
    assert passed_over == set(own), f"not there: {set(own) - passed_over}"
    return found


def bounds_as_numbers(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels, with `le` and `quantile` in one way: Prometheus 3 takes 10 and 10.0 for the same."""
    return {name: str(float(value)) if name in ("le", "quantile") else value for name, value in labels.items()}


def assert_same(before: dict[str, Family], after: dict[str, Family]) -> None:
    """Fails unless both have the same names, types, texts of help, labels and values."""
    assert sorted(after) == sorted(before)
    for name, family in before.items():
        assert family.samples, f"{name} has no samples, so that nothing would be compared"
        assert (name, after[name].type, after[name].help) == (name, family.type, family.help)
        # Floats that were added in another order.
        assert after[name].samples == pytest.approx(family.samples, rel=1e-9), name
