"""What the package answers on each way to the function, judged by the parsers of others."""

import gzip
import subprocess

import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from demo.aws import CHECKOUT, Aws

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"


def test_promtool_has_no_complaint(aws: Aws, urls: dict[str, str], way: str) -> None:
    answer = aws.get(urls[way])
    assert (answer.status, answer.headers["Content-Type"]) == (200, TEXT)
    judged = subprocess.run(["promtool", "check", "metrics"], input=answer.body, capture_output=True)
    assert (judged.returncode, judged.stdout, judged.stderr) == (0, b"", b"")


def test_openmetrics_is_strict(aws: Aws, urls: dict[str, str], way: str) -> None:
    answer = aws.get(urls[way], {"Accept": "application/openmetrics-text;version=1.0.0"})
    assert (answer.status, answer.headers["Content-Type"]) == (200, OPENMETRICS)
    samples = [sample for family in parse_openmetrics(answer.text) for sample in family.samples]
    # The parser lets these pass.
    series = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in samples]
    assert len(series) == len(set(series)) > 50
    assert answer.text.endswith("# EOF\n")


def test_gzip_where_the_way_can_carry_it(aws: Aws, urls: dict[str, str], way: str) -> None:
    answer = aws.get(urls[way], {"Accept-Encoding": "gzip"})
    assert answer.status == 200
    if way == "rest-api":
        # A REST API hands on binary bodies as base64 unless it is configured otherwise.
        assert "Content-Encoding" not in answer.headers
        text = answer.text
    else:
        assert answer.headers["Content-Encoding"] == "gzip"
        text = gzip.decompress(answer.body).decode()
    assert "\npg_up 1\n" in text


def test_every_declared_metric_is_there(aws: Aws, urls: dict[str, str]) -> None:
    families = {family.name: family for family in parse_text(aws.get(urls["http-api"]).text)}
    queries = yaml.safe_load((CHECKOUT / "queries.yml").read_text())
    for namespace, query in queries.items():
        for column, declared in ((name, usage) for metric in query["metrics"] for name, usage in metric.items()):
            if declared["usage"] == "LABEL":
                continue
            # This parser names counters without their suffix.
            family = families[f"{namespace}_{column}".removesuffix("_total")]
            assert family.type == declared["usage"].lower()
            assert family.documentation == declared["description"]
            assert family.samples


def test_other_paths(aws: Aws, urls: dict[str, str], way: str) -> None:
    root = urls[way].removesuffix("/metrics")
    assert aws.get(f"{root}/healthz").status == 200
    assert "/metrics" in aws.get(f"{root}/").text
    assert aws.get(f"{root}/nothing").status == 404
