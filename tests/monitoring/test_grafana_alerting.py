"""examples/grafana/provisioning/alerting/: made from alerts.yml, allowed by Grafana's types, and with expressions that fire
and are silent where those of Prometheus do."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import grafana_schema
import promql
import pytest
import yaml
from grafana_foundation_sdk.models.alerting import ContactPoint, NotificationPolicy, Rule

from demo.aws import CHECKOUT
from demo.prometheus import seconds

EXAMPLES = CHECKOUT / "examples"
HERE = EXAMPLES / "grafana" / "provisioning" / "alerting"
TESTS = sorted(Path(__file__).parent.glob("*.test.yml"))


def read(file: Path) -> dict:
    return yaml.safe_load(file.read_text())


def pairs() -> list[tuple[dict, dict]]:
    """Each alert of Prometheus with its rule of Grafana."""
    theirs = [rule for group in read(HERE / "rules.yml")["groups"] for rule in group["rules"]]
    ours = [rule for group in read(EXAMPLES / "alerts.yml")["groups"] for rule in group["rules"]]
    return list(zip(ours, theirs, strict=True))


EACH_PAIR = pytest.mark.parametrize(("alert", "rule"), pairs(), ids=lambda it: it.get("uid", it.get("alert")))


def make_alerts(folder: Path, *arguments: str) -> None:
    """What `make alerts` runs, in a copy of the repository."""
    if not (folder / "packaging").exists():
        shutil.copytree(EXAMPLES, folder / "examples")
        (folder / "packaging").mkdir()
        shutil.copy(CHECKOUT / "packaging" / "alerts.py", folder / "packaging")
    subprocess.run([sys.executable, folder / "packaging" / "alerts.py", *arguments], check=True)


def files(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_one_command_makes_the_rules(tmp_path: Path) -> None:
    (recipe,) = re.findall(r"^alerts: .+\n\t@\$\(VENV\)/bin/python (\S+)", (CHECKOUT / "Makefile").read_text(), re.M)
    assert recipe == "packaging/alerts.py"
    make_alerts(tmp_path)
    assert files(tmp_path / "examples") == files(EXAMPLES), "run `make alerts`"


def test_a_change_of_an_alert_reaches_grafana(tmp_path: Path) -> None:
    make_alerts(tmp_path)
    alerts = tmp_path / "examples" / "alerts.yml"
    alerts.write_text(alerts.read_text().replace("last_over_time(pg_up[5m]) == 0", "last_over_time(pg_up[7m]) == 0"))
    make_alerts(tmp_path, "--datasource", "mimir")
    changed = (tmp_path / "examples" / "grafana" / "provisioning" / "alerting" / "rules.yml").read_text()
    assert "pg_up[7m]) == 0" in changed
    assert "uid: mimir" in changed and "uid: prometheus" not in changed


def test_the_storage_of_each_server_reaches_grafana(tmp_path: Path) -> None:
    """recording.yml asks for a copy of its last rule for each server."""
    make_alerts(tmp_path)
    recording = tmp_path / "examples" / "recording.yml"
    before, rule = recording.read_text().split("      - record: instance:pg_storage_bytes:allocated\n")
    copies = [
        f"      - record: instance:pg_storage_bytes:allocated\n{rule}".replace("NAME-OF-YOUR-INSTANCE", instance)
        for instance in ("shop", "stock")
    ]
    recording.write_text(before + "".join(copies))
    make_alerts(tmp_path)
    groups = read(tmp_path / "examples" / "grafana" / "provisioning" / "alerting" / "rules.yml")["groups"]
    [rule] = [rule for group in groups for rule in group["rules"] if rule["title"] == "PostgresDiskFills"]
    instances = [
        matcher.value
        for selector in promql.selectors(promql.promql_parser.parse(rule["data"][0]["model"]["expr"]))
        for matcher in selector.matchers.matchers
    ]
    assert instances == ["shop", "stock"]


def test_one_variable_sets_where_all_runbooks_are(tmp_path: Path) -> None:
    document = (CHECKOUT / "docs" / "grafana.md").read_text()
    [address] = re.findall(r"^make alerts DOCS=(\S+) DATASOURCE=prometheus$", document, re.M)
    make_alerts(tmp_path, "--docs", address + "/")
    changed, original = files(tmp_path / "examples"), files(EXAMPLES)
    rules = [name for name, text in original.items() if "runbook_url: " in text]
    assert set(rules) == {"alerts.yml", "grafana/provisioning/alerting/rules.yml"}
    for name in rules:
        links = re.findall(r"^ *runbook_url: (.+)#", changed[name], re.M)
        assert links and set(links) == {f"{address}/alerts.md"}, name
    for name in original:
        if name.startswith("grafana/dashboards/"):
            variables = {it["name"]: it for it in json.loads(changed[name])["templating"]["list"]}
            assert "docs" not in variables or variables["docs"]["query"] == address, name
    make_alerts(tmp_path, "--docs", "docs")
    assert files(tmp_path / "examples") == original, "the address can be changed again"


def test_without_the_variable_runbooks_are_in_the_repository() -> None:
    for alert, rule in pairs():
        for annotations in (alert["annotations"], rule["annotations"]):
            path, anchor = annotations["runbook_url"].split("#")
            assert f"### {alert['alert']}" in (CHECKOUT / path).read_text().splitlines()
            assert anchor == alert["alert"].lower()
    for file in (EXAMPLES / "grafana" / "dashboards").glob("*.json"):
        for variable in json.loads(file.read_text())["templating"]["list"]:
            if variable["name"] == "docs":
                assert (CHECKOUT / variable["query"] / "alerts.md").is_file()


@EACH_PAIR
def test_a_rule_says_what_the_alert_says(alert: dict, rule: dict) -> None:
    assert rule["title"].removesuffix(" critical") == alert["alert"]
    assert (rule["for"], rule["labels"]) == (alert.get("for", "0s"), alert["labels"])
    as_in_prometheus = {name: text.replace("$values.A.Value", "$value") for name, text in rule["annotations"].items()}
    assert as_in_prometheus == alert["annotations"]
    # Grafana replaces ${…} in files by environment variables.
    assert not any("${" in text for text in rule["annotations"].values())
    # A reason for each is at the head of the file.
    for key in ("noDataState", "execErrState"):
        assert f"# - {key} is {rule[key]}:" in (HERE / "rules.yml").read_text()


@EACH_PAIR
def test_an_expression_needs_no_recording_rule(alert: dict, rule: dict) -> None:
    [query, condition] = rule["data"]
    assert not any(":" in name for name in promql.metrics(query["model"]["expr"]))
    assert (query["refId"], condition["refId"], rule["condition"]) == ("A", "B", "B")
    assert "$A" in condition["model"]["expression"]


def test_names_are_those_that_grafana_takes() -> None:
    groups = read(HERE / "rules.yml")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    for key in ("uid", "title"):
        assert len({rule[key] for rule in rules}) == len(rules), f"two rules of one {key}"
    assert all(re.fullmatch(r"[\w-]{1,40}", rule["uid"]) for rule in rules)
    assert all(len(rule["title"]) <= 190 for rule in rules)
    # Grafana refuses a rule that waits for a part of an interval.
    assert all(seconds(rule["for"]) % seconds(group["interval"]) == 0 for group in groups for rule in group["rules"])
    [source] = read(HERE.parent / "datasources" / "prometheus.yml")["datasources"]
    assert {rule["data"][0]["datasourceUid"] for rule in rules} == {source["uid"]}
    [provider] = read(HERE.parent / "dashboards" / "pg-lambda-exporter.yml")["providers"]
    assert {group["folder"] for group in groups} == {provider["folder"]}


@EACH_PAIR
def test_grafanas_types_allow_a_rule(alert: dict, rule: dict) -> None:
    # Of the API. In files the group has these.
    assert grafana_schema.problems(rule | {"folderUID": "x", "orgID": 1, "ruleGroup": "x"}, Rule) == []


def test_grafanas_types_allow_contact_points_and_policies() -> None:
    points = read(HERE / "contact-points.yml")["contactPoints"]
    for point in points:
        for receiver in point["receivers"]:
            assert grafana_schema.problems(receiver | {"name": point["name"]}, ContactPoint) == []
    [policy] = read(HERE / "policies.yml")["policies"]
    assert policy.pop("orgId") == 1
    assert grafana_schema.problems(policy, NotificationPolicy) == []
    names = {point["name"] for point in points}
    assert {policy["receiver"], *(route["receiver"] for route in policy["routes"])} == names


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"titel": "x"}, "titel"),
        ({"title": 7}, "title"),
        ({"noDataState": "Fine"}, "no_data_state"),
        ({"execErrState": "KO"}, "exec_err_state"),
        ({"labels": {"severity": 1}}, "labels"),
    ],
)
def test_the_types_are_checked(change: dict, problem: str) -> None:
    [(_, rule), *_] = pairs()
    changed = rule | {"folderUID": "x", "orgID": 1, "ruleGroup": "x"} | change
    assert any(problem in line for line in grafana_schema.problems(changed, Rule))


def test_alerts_go_where_alertmanager_sends_them() -> None:
    """The routes are the same but for the labels that only Prometheus has."""
    route = read(EXAMPLES / "alertmanager.yml")["route"]
    [policy] = read(HERE / "policies.yml")["policies"]
    waits = ("receiver", "group_wait", "group_interval", "repeat_interval")
    for ours, theirs in zip([route, *route["routes"]], [policy, *policy["routes"]], strict=True):
        assert {key: ours.get(key) for key in waits} == {key: theirs.get(key) for key in waits}
        matchers = [f'{name}{operator}"{value}"' for name, operator, value in theirs.get("object_matchers", [])]
        assert ours.get("matchers", []) == matchers


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name.removesuffix(".test.yml"))
def test_grafanas_expressions_fire_and_are_silent_as_those_of_prometheus(file: Path, tmp_path: Path) -> None:
    """The tests of the rules, with the expressions of Grafana and without recording rules."""
    rules = [alert | {"expr": rule["data"][0]["model"]["expr"]} for alert, rule in pairs()]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "of-grafana", "rules": rules}]}))
    tests = read(file) | {"rule_files": ["rules.yml"]}
    for case in tests["tests"]:
        case.pop("promql_expr_test", None)
    (tmp_path / "test.yml").write_text(json.dumps(tests))
    answer = subprocess.run(["promtool", "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
