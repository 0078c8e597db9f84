"""What the package answers on each way to the function, judged by the parsers of others."""

import gzip
import re
import subprocess

import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from demo.aws import CHECKOUT
from demo.endpoint import Endpoint

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"


def test_promtool_has_no_complaint(endpoint: Endpoint) -> None:
    answer = endpoint.get("/metrics")
    assert (answer.status, answer.headers["Content-Type"]) == (200, TEXT)
    judged = subprocess.run(["promtool", "check", "metrics"], input=answer.body, capture_output=True)
    assert (judged.returncode, judged.stdout, judged.stderr) == (0, b"", b"")


def test_openmetrics_is_strict(endpoint: Endpoint) -> None:
    answer = endpoint.get("/metrics", Accept="application/openmetrics-text;version=1.0.0")
    assert (answer.status, answer.headers["Content-Type"]) == (200, OPENMETRICS)
    samples = [sample for family in parse_openmetrics(answer.text) for sample in family.samples]
    # The parser lets these pass.
    series = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in samples]
    assert len(series) == len(set(series)) > 50
    assert answer.text.endswith("# EOF\n")


def test_gzip_where_the_way_can_carry_it(endpoint: Endpoint, way: str) -> None:
    answer = endpoint.get("/metrics", Accept_Encoding="gzip")
    assert answer.status == 200
    if way == "rest-api":
        # A REST API hands on binary bodies as base64 unless it is configured otherwise.
        assert "Content-Encoding" not in answer.headers
        text = answer.text
    else:
        assert answer.headers["Content-Encoding"] == "gzip"
        text = gzip.decompress(answer.body).decode()
    assert re.search(r"^pg_up 1(\.0)?$", text, re.MULTILINE)


def test_every_declared_metric_is_there(endpoints: dict[str, Endpoint]) -> None:
    families = {family.name: family for family in parse_text(endpoints["http-api"].get("/metrics").text)}
    queries = yaml.safe_load((CHECKOUT / "queries.yml").read_text())
    skipped = {sample.labels["query"] for sample in families["pg_exporter_query_skipped"].samples}
    # What is NULL on this server has no sample.
    dropped = families["pg_exporter_query_samples_dropped"].samples
    with_nulls = {sample.labels["query"] for sample in dropped if sample.labels["reason"] == "null"}
    rows = families["pg_exporter_query_rows"].samples
    no_rows = {sample.labels["query"] for sample in rows if sample.value == 0}
    for namespace, query in queries.items():
        if namespace in skipped:
            continue
        prefix = query.get("name", namespace)
        for column, declared in ((name, usage) for metric in query["metrics"] for name, usage in metric.items()):
            if declared["usage"] == "LABEL":
                continue
            # This parser names counters without their suffix, and text has neither info nor state sets.
            suffix, kind = {"INFO": ("_info", "gauge"), "STATESET": ("", "gauge")}.get(
                declared["usage"], ("", declared["usage"].lower())
            )
            name = f"{prefix}_{declared.get('name', column)}".removesuffix("_total").removesuffix(suffix) + suffix
            if name not in families and namespace in with_nulls | no_rows:
                continue
            family = families[name]
            assert family.type == kind
            assert family.documentation == declared["description"]
            assert family.samples


def test_other_paths(endpoint: Endpoint) -> None:
    assert endpoint.get("/healthz").status == 200
    assert "/metrics" in endpoint.get("/").text
    assert endpoint.get("/nothing").status == 404
