"""The names of all series that queries.yml and the exporter give, as Prometheus stores them."""

import re

import yaml

from demo.aws import CHECKOUT

# What Prometheus itself adds to each scrape.
OF_PROMETHEUS = {"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling"}
LABELS_OF_THE_EXPORTER = {
    "pg_exporter_query_success": {"query"},
    "pg_exporter_target_error": {"target", "reason"},
}
# Usages of docs/queries.md: the ends of the names of a column's series.
ENDS = {
    "LABEL": [],
    "DISCARD": [],
    "TIMESTAMP": [],
    "GAUGE": [""],
    "COUNTER": [""],
    "HISTOGRAM": ["_bucket", "_sum", "_count"],
    "SUMMARY": ["", "_sum", "_count"],
    "INFO": ["_info"],
    "STATESET": [""],
    "MAPPEDMETRIC": [""],
    "DURATION": ["_milliseconds"],
}


def labels_of_queries() -> dict[str, set[str]]:
    """The names of queries.yml's own series, each with the names of its labels (without `le` and `quantile`)."""
    found = {}
    for namespace, query in yaml.safe_load((CHECKOUT / "queries.yml").read_text()).items():
        columns = [item for metric in query.get("metrics", []) for item in metric.items()]
        usages = {column: options["usage"].upper() for column, options in columns}
        labels = {options.get("name", column) for column, options in columns if usages[column] == "LABEL"}
        for column, options in columns:
            usage = usages[column]
            name = f"{query.get('name', namespace)}_{options.get('name', column)}"
            own = {"STATESET": {name}, "INFO": {column}}.get(usage, set())
            for end in ENDS[usage]:
                found[name if usage == "INFO" and name.endswith(end) else name + end] = labels | own
    return found


def of_queries() -> set[str]:
    """The names of queries.yml's own series."""
    return set(labels_of_queries())


def of_the_exporter() -> set[str]:
    """The names of the exporter's series about itself, as docs/queries.md has them and its own tests compare."""
    source = (CHECKOUT / "src" / "self_metrics.rs").read_text()
    return set(re.findall(r'"(pg_up|pg_exporter_[a-z_]+)"', source))


def all_names() -> set[str]:
    """Everything that an expression may ask for, but for what rules record."""
    return of_queries() | of_the_exporter() | OF_PROMETHEUS
