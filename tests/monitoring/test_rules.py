"""examples/: Prometheus and Alertmanager take the files, each alert fires when it should and is silent when it should,
asks for what there is, and leads to its runbook."""

import re
import shutil
import subprocess
from pathlib import Path

import emitted
import promql
import promql_parser
import pytest
import yaml

from demo.aws import CHECKOUT
from demo.prometheus import RULES, impatient, seconds

HERE = Path(__file__).parent
EXAMPLES = CHECKOUT / "examples"
RUNBOOKS = "docs/alerts.md#"
SEVERITIES = {"critical", "warning", "info"}
TESTS = sorted(HERE.glob("*.test.yml"))


def rules() -> list[dict]:
    return [rule for file in RULES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


RECORDED = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
ALERTS = [rule for rule in rules() if "alert" in rule]
EACH_ALERT = pytest.mark.parametrize("alert", ALERTS, ids=lambda it: f"{it['alert']}-{it['labels']['severity']}")


def run(*command: str | Path, folder: Path = EXAMPLES) -> str:
    """What a program prints that finds nothing wrong."""
    answer = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def raw(expression: str) -> set[str]:
    """The metrics that an expression comes from, through recording rules."""
    names = promql.metrics(expression)
    return {deep for name in names for deep in (raw(RECORDED[name]) if name in RECORDED else {name})}


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    for file in EXAMPLES.glob("*.yml"):
        shutil.copy(file, tmp_path)
    # promtool looks for the file of the token, which this machine may not have where the example says.
    text = (EXAMPLES / "prometheus.yml").read_text()
    [path] = set(re.findall(r"credentials_file: (\S+)", text))
    token = tmp_path / "token"
    token.write_text("mF_9.B5f-4.1JqM")
    (tmp_path / "prometheus.yml").write_text(text.replace(path, str(token)))
    output = run("promtool", "check", "config", "--lint=all", "--lint-fatal", "prometheus.yml", folder=tmp_path)
    assert f"{len(RULES)} rule files found" in output


def test_the_scrapes_fit_lambda() -> None:
    configuration = yaml.safe_load((EXAMPLES / "prometheus.yml").read_text())
    # API Gateway gives up after 30 seconds, and the function ends a second before.
    assert seconds(configuration["global"]["scrape_timeout"]) < 29
    for job in configuration["scrape_configs"]:
        assert job["scheme"] == "https" and "authorization" in job
        for discovery in job.get("http_sd_configs", []):
            assert discovery["url"].startswith("https:")
            # Prometheus 2.42 has no default for the type here.
            assert discovery["authorization"] == job["authorization"] | {"type": "Bearer"}
        assert job["job_name"].startswith("pg-lambda-exporter")


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.name)
def test_prometheus_takes_the_rules(file: Path) -> None:
    run("promtool", "check", "rules", "--lint=all", "--lint-fatal", file.name)


def test_alertmanager_takes_its_configuration() -> None:
    run("amtool", "check-config", "alertmanager.yml")


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ({"alertname": "PostgresDown", "severity": "critical"}, "on-call"),
        ({"alertname": "PostgresLongTransaction", "severity": "warning"}, "team"),
        ({"alertname": "PostgresDeadlocks", "severity": "info"}, "team"),
    ],
)
def test_alerts_reach_whom_they_are_for(labels: dict[str, str], receiver: str) -> None:
    given = [f"{name}={value}" for name, value in labels.items()]
    route = ["amtool", "config", "routes", "test", "--config.file=alertmanager.yml"]
    assert run(*route, *given).strip() == receiver


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name.removesuffix(".test.yml"))
def test_rules_do_what_their_tests_say(file: Path) -> None:
    run("promtool", "test", "rules", file.name, folder=HERE)


def test_the_tests_have_series_as_the_exporter_gives_them() -> None:
    labels = emitted.labels_of_queries()
    for file in TESTS:
        for case in yaml.safe_load(file.read_text())["tests"]:
            for series in case["input_series"]:
                [selector] = promql.selectors(promql_parser.parse(series["series"]))
                given = {matcher.name for matcher in selector.matchers.matchers} - {"job", "instance"}
                if selector.name.startswith("pg_exporter_query_"):
                    given -= {"database"}  # Only with target_databases.
                own = emitted.LABELS_OF_THE_EXPORTER.get(selector.name, set())
                assert given == labels.get(selector.name, own), f"{file.name}: {series['series']}"


@EACH_ALERT
def test_each_alert_is_seen_firing_and_silent(alert: dict) -> None:
    fires, silent = 0, 0
    needed = raw(alert["expr"])
    for file in TESTS:
        for case in yaml.safe_load(file.read_text())["tests"]:
            given = {re.split(r"[{ ]", series["series"])[0] for series in case["input_series"]}
            for check in case["alert_rule_test"]:
                if check["alertname"] != alert["alert"]:
                    continue
                expected = [it["exp_labels"]["severity"] for it in check.get("exp_alerts", [])]
                if alert["labels"]["severity"] in expected:
                    fires += 1
                # Silence for want of data would prove nothing.
                elif needed <= given:
                    silent += 1
    assert fires and silent, f"{fires} times firing and {silent} times silent"


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_each_metric_is_one_that_there_is(rule: dict) -> None:
    assert promql.metrics(rule["expr"]) - emitted.all_names() - set(RECORDED) == set()


@EACH_ALERT
def test_each_alert_says_what_a_person_needs(alert: dict) -> None:
    assert alert["labels"]["severity"] in SEVERITIES
    annotations = alert["annotations"]
    assert set(annotations) == {"summary", "description", "runbook_url"}
    # Numbers of PostgreSQL are long: each is in a form that is read at a glance.
    for text in annotations.values():
        assert all("| humanize" in part or "| printf" in part for part in re.findall(r"{{ \$value[^}]*}}", text))
    assert "{{ $labels.instance }}" in annotations["summary"] or "absent(" in alert["expr"]
    assert annotations["runbook_url"] == RUNBOOKS + alert["alert"].lower()


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    document = (CHECKOUT / "docs" / "alerts.md").read_text()
    runbooks = re.findall(r"^### (Postgres\w+)$", document, re.MULTILINE)
    assert runbooks == list(dict.fromkeys(alert["alert"] for alert in ALERTS))
    for runbook in re.split(r"^### ", document, flags=re.MULTILINE)[1:]:
        name, *_ = runbook.split("\n", 1)
        for part in ("**Means:**", "**Look:**", "**Do:**", "**Silence:**"):
            assert part in runbook, f"{name} lacks {part}"


@pytest.mark.parametrize("document", ["alerts.md", "prometheus.md"])
def test_links_lead_to_headings(document: str) -> None:
    docs = CHECKOUT / "docs"
    for target, anchor in re.findall(r"\]\(([a-z.]*)#([^)]+)\)", (docs / document).read_text()):
        headings = re.findall(r"^#+ (.+)$", (docs / (target or document)).read_text(), re.MULTILINE)
        anchors = {re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in anchors, f"{target}#{anchor}"


def test_severities_of_a_kind_have_one_runbook_and_grow() -> None:
    by_name: dict[str, list[dict]] = {}
    for alert in ALERTS:
        by_name.setdefault(alert["alert"], []).append(alert)
    for name, alerts in by_name.items():
        if len(alerts) == 1:
            continue
        warning, critical = alerts
        assert [it["labels"]["severity"] for it in alerts] == ["warning", "critical"], name
        (left, low), (right, high) = (re.fullmatch(r"(.+) > (.+)", it["expr"].strip()).groups() for it in alerts)
        assert left == right, name
        # A higher threshold, or the same for longer.
        assert low != high or seconds(warning["for"]) < seconds(critical["for"]), name


def test_the_demo_changes_nothing_but_times() -> None:
    for file in RULES:
        original, changed = (yaml.safe_load(file.read_text()) for _ in range(2))
        impatient(changed)
        for before, after in zip(original["groups"], changed["groups"], strict=True):
            for old, new in zip(before["rules"], after["rules"], strict=True):
                assert old | {"for": ""} == new | {"for": ""}
                assert seconds(new.get("for", "0s")) <= 10
