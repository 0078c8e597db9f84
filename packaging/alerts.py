"""`make alerts`: examples/alerts.yml as rules of Grafana's own alerting, and where all rules and dashboards say that the
runbooks are (DOCS)."""

import argparse
import json
import re
from pathlib import Path

import yaml

EXAMPLES = Path(__file__).parent.parent / "examples"
GRAFANA = EXAMPLES / "grafana"
ALERTS, RECORDING = EXAMPLES / "alerts.yml", EXAMPLES / "recording.yml"
RULES = GRAFANA / "provisioning" / "alerting" / "rules.yml"
RUNBOOK = re.compile(r"(?m)^( *runbook_url: )(.+)(/alerts\.md#\w+)$")
RECORDED = re.compile(r"\b\w+:\w+:\w+\b(?:\[(\w+)\])?")
HEAD = """\
# Alert rules of Grafana's own alerting. Made from examples/alerts.yml and examples/recording.yml: change those, then run
# `make alerts`.
#
# - Expressions contain those of recording.yml, so Prometheus needs no rule files.
# - noDataState is OK: an expression has a series for each problem, so no data means no problem. A target that disappears
#   has its own alert, PostgresExporterMissing.
# - execErrState is Error: if Prometheus does not answer, Grafana sends DatasourceError. Without data, nothing looks healthy.
# - Each value fires, 0 too, as in Prometheus: B is 1 for each series of A.
# - A title is unique in its folder. Where an alert has two severities, "critical" follows its name.

"""


def main() -> None:
    """Writes the files."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--docs", help="address or path of docs/ for the links to runbooks; default: as it is")
    arguments.add_argument("--datasource", help="uid of the Prometheus in Grafana; default: the provisioned one")
    given = arguments.parse_args()
    if given.docs:
        set_docs(given.docs.rstrip("/"))
    recorded, datasource = recording_rules(), given.datasource or provisioned()
    groups = [grafana_group(group, recorded, datasource) for group in read(ALERTS)["groups"]]
    text = yaml.safe_dump({"apiVersion": 1, "groups": groups}, sort_keys=False, allow_unicode=True, width=118)
    RULES.write_text(HEAD + text)
    print(f"{RULES.relative_to(EXAMPLES.parent)}: {sum(len(group['rules']) for group in groups)} rules")


def set_docs(docs: str) -> None:
    """Changes where the runbooks are, in the rules of Prometheus and in the dashboards."""
    ALERTS.write_text(RUNBOOK.sub(lambda found: found[1] + docs + found[3], ALERTS.read_text()))
    for file in (GRAFANA / "dashboards").glob("*.json"):
        model = json.loads(file.read_text())
        for variable in model["templating"]["list"]:
            if variable["name"] == "docs":
                variable["query"] = docs
        file.write_text(json.dumps(model, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def recording_rules() -> dict[str, str]:
    """The expression of each recorded metric. Several rules may record one, such as the storage of each server."""
    expressions: dict[str, list[str]] = {}
    for rule in (rule for group in read(RECORDING)["groups"] for rule in group["rules"]):
        expressions.setdefault(rule["record"], []).append(rule["expr"])
    # Nothing of PromQL binds weaker than `or`.
    return {metric: " or ".join(each) for metric, each in expressions.items()}


def grafana_group(group: dict, recorded: dict[str, str], datasource: str) -> dict:
    """A group of Prometheus as one of Grafana."""
    names = [rule["alert"] for rule in group["rules"]]
    return {
        "orgId": 1,
        "name": group["name"],
        "folder": "PostgreSQL",
        "interval": "1m",
        "rules": [grafana_rule(rule, names.count(rule["alert"]) > 1, recorded, datasource) for rule in group["rules"]],
    }


def grafana_rule(rule: dict, is_one_of_two: bool, recorded: dict[str, str], datasource: str) -> dict:
    """An alert of Prometheus as one of Grafana."""
    severity = rule["labels"]["severity"]
    graver = " critical" if is_one_of_two and severity == "critical" else ""
    of_prometheus = {
        "refId": "A",
        "datasource": {"type": "prometheus", "uid": datasource},
        "editorMode": "code",
        "expr": with_recorded(rule["expr"], recorded),
        "instant": True,
        "range": False,
    }
    of_grafana = {
        "refId": "B",
        "datasource": {"type": "__expr__", "uid": "__expr__"},
        "type": "math",
        "expression": "is_number($A) || is_nan($A) || is_inf($A)",
    }
    return {
        "uid": f"pg-{rule['alert'].removeprefix('Postgres')}-{severity}",
        "title": rule["alert"] + graver,
        "condition": "B",
        "data": [
            {
                "refId": model["refId"],
                "relativeTimeRange": {"from": 600, "to": 0},
                "datasourceUid": model["datasource"]["uid"],
                "model": model,
            }
            for model in (of_prometheus, of_grafana)
        ],
        "noDataState": "OK",
        "execErrState": "Error",
        "for": rule.get("for", "0s"),
        # Of Grafana, $value is a text with all labels.
        "annotations": {
            name: re.sub(r"\$value\b", "$values.A.Value", text) for name, text in rule["annotations"].items()
        },
        "labels": dict(rule["labels"]),
        "isPaused": False,
    }


def with_recorded(expression: str, recorded: dict[str, str]) -> str:
    """The expression, with what recording rules compute in place of their names."""

    def computed(found: re.Match) -> str:
        name = found[0].split("[")[0]
        over_time = f"[{found[1]}:1m]" if found[1] else ""
        return f"({with_recorded(recorded[name], recorded)}){over_time}"

    return RECORDED.sub(computed, " ".join(expression.split()))


def provisioned() -> str:
    """The uid of the data source that examples/grafana/ provisions."""
    [source] = read(GRAFANA / "provisioning" / "datasources" / "prometheus.yml")["datasources"]
    return source["uid"]


def read(file: Path) -> dict:
    return yaml.safe_load(file.read_text())


if __name__ == "__main__":
    main()
