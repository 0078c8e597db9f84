"""Programs that cannot be run here: what their documented rules make of their files, and what this exporter gives.

Of CloudNativePG, those of https://cloudnative-pg.io/documentation/current/monitoring/; of sql_exporter with collectors,
those of documentation/sql_exporter.yml in its repository. The rows are PostgreSQL's own."""

import json

import yaml

from conftest import Scrape
from demo.postgres import Postgres
from document import snippet
from exposition import OWN, Family, assert_same, families, series


def rows(postgres: Postgres, query: str) -> list[dict]:
    """What the query gives; at least a row."""
    answer = postgres.sql(f"SELECT to_json(result) FROM ({query}) AS result")
    return [json.loads(line) for line in answer.splitlines()]


def test_cloudnative_pg(postgres: Postgres, scrape: Scrape) -> None:
    section = "CloudNativePG"
    config_map = yaml.safe_load(snippet(section, "yaml before"))
    assert (config_map["apiVersion"], config_map["kind"]) == ("v1", "ConfigMap")
    (file,) = config_map["data"].values()
    before: dict[str, Family] = {}
    for namespace, query in yaml.safe_load(file).items():
        assert postgres.database in query["target_databases"]
        columns = {column: keys for item in query["metrics"] for column, keys in item.items()}
        names = [column for column, keys in columns.items() if keys["usage"] == "LABEL"]
        for column, keys in columns.items():
            if keys["usage"] == "LABEL":
                continue
            name = f"cnpg_{namespace}_{keys.get('name', column)}"
            family = before[name] = Family(keys["usage"].lower(), keys["description"])
            for row in rows(postgres, query["query"]):
                # CloudNativePG has no label of the database.
                labels = {label: row[label] for label in names} | {"datname": postgres.database}
                family.samples[series(name, labels)] = row[column]
    assert len(before) == 2
    for queries in (file, snippet(section, "yaml")):
        assert_same(before, families(scrape(queries, METRIC_PREFIX="cnpg_"), OWN))


def test_sql_exporter_with_collectors(postgres: Postgres, scrape: Scrape) -> None:
    section = "sql_exporter with collectors"
    collector = yaml.safe_load(snippet(section, "yaml before"))
    before: dict[str, Family] = {}
    for metric in collector["metrics"]:
        name = metric["metric_name"]
        family = before[name] = Family(metric["type"], metric["help"])
        several = len(metric["values"]) > 1
        assert several == ("value_label" in metric), "a value_label is there for several values"
        for row in rows(postgres, metric["query"]):
            for value in metric["values"]:
                labels = {label: row[label] for label in metric.get("key_labels", [])}
                labels |= metric.get("static_labels", {})
                labels |= {metric["value_label"]: value} if several else {}
                family.samples[series(name, labels)] = row[value]
    assert len(before) == 2
    assert_same(before, families(scrape(snippet(section, "yaml")), OWN))
