"""examples/queries/: the names of other exporters. A real Prometheus that scrapes them has an answer for all that the
dashboards and rules in others/ ask for and that PostgreSQL can tell."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import emitted
import promql
import promql_parser
import pytest
import yaml

from demo import emulator
from demo.aws import CHECKOUT, SECRET, Aws
from demo.postgres import Postgres
from demo.processes import Processes, processes, stop_on_signals
from demo.prometheus import Prometheus
from standby import Standby

QUERIES = CHECKOUT / "examples" / "queries"
OTHERS = {file.stem: yaml.safe_load(file.read_text()) for file in sorted((Path(__file__).parent / "others").glob("*.yml"))}
VARIABLES = {
    "$db": ".+",
    "$job": 'job=~".+", instance=~".+"',
    "$range": "2m",
    # As the board's own variables choose: the name of the cluster, a dash and a number.
    "$pods": 'namespace=~"rds", pod=~"shop-([1-9][0-9]*)"',
}
COUNTED = {"rate", "irate", "increase"}


@dataclass(frozen=True)
class Asked:
    """An expression of a panel or a rule."""

    source: str
    place: str
    expression: str

    def __str__(self) -> str:
        return f"{self.source}: {self.place}"


def asked() -> list[Asked]:
    found = []
    for source, other in OTHERS.items():
        for place, expression in (other.get("panels", {}) | other["rules"]).items():
            for variable, value in VARIABLES.items():
                expression = expression.replace(variable, value)
            found.append(Asked(source, place, expression))
    return found


def read(*files: str) -> dict[str, dict]:
    return {name: query for file in files for name, query in yaml.safe_load((QUERIES / file).read_text()).items()}


def usages(*files: str) -> dict[str, str]:
    """The usage of each metric of these files."""
    return {
        f"{query.get('name', namespace)}_{options.get('name', column)}": options["usage"]
        for namespace, query in read(*files).items()
        for metric in query["metrics"]
        for column, options in metric.items()
        if options["usage"] != "LABEL"
    }


def names(expression: str) -> set[str]:
    """The metrics that an expression selects, by name or by a pattern of names."""
    found = set()
    for selector in promql.selectors(promql_parser.parse(expression)):
        patterns = [it.value for it in selector.matchers.matchers if it.name == "__name__"]
        found |= {selector.name} if selector.name else set(patterns)
    return found


EACH = pytest.mark.parametrize("query", asked(), ids=str)


@EACH
def test_what_is_counted_is_a_counter(query: Asked) -> None:
    there = usages(*OTHERS[query.source]["queries"])
    for function, name in re.findall(r"(\w+)\((\w+)[{[]", query.expression):
        # The mixin takes the rate of an age.
        if function in COUNTED and name != "pg_stat_activity_max_tx_duration":
            assert there[name] == "COUNTER", name


@pytest.mark.parametrize("source", OTHERS)
def test_each_name_is_there_or_said_not_to_be(source: str) -> None:
    other = OTHERS[source]
    there = set(usages(*other["queries"])) | emitted.of_the_exporter()
    wanted = set().union(*(names(query.expression) for query in asked() if query.source == source))
    for pattern in wanted:
        assert any(re.fullmatch(pattern, name) for name in there), pattern
    assert not set(other["absent"]) & there and all(other["absent"].values())
    # The page has the numbers.
    page = (CHECKOUT / "docs" / "queries-shipped.md").read_text()
    total = len(wanted | set(other["absent"]))
    row = rf"^\| [^|]+ \| {re.escape(' and '.join(f'[{file}](../examples/queries/{file})' for file in other['queries']))} \| {len(wanted)} of {total} \|"
    assert re.search(row, page, re.M), row


def test_no_namespace_is_in_two_files() -> None:
    files = [*QUERIES.glob("*.yml"), *(CHECKOUT / "queries").glob("*.yml"), CHECKOUT / "queries.yml"]
    namespaces = [name for file in files for name in yaml.safe_load(file.read_text())]
    assert len(namespaces) == len(set(namespaces))


@pytest.fixture(scope="module")
def scraped() -> Iterator[tuple[Processes, Prometheus]]:
    """A Prometheus that has scraped all these files several times: of a busy database and of its standby."""
    stop_on_signals()
    with processes() as running:
        postgres = Postgres(running)
        for name, value in {"archive_mode": "on", "archive_command": "true"}.items():
            postgres.sql(f"ALTER SYSTEM SET {name} = '{value}'")
        postgres.stop()
        postgres.start()
        postgres.keep_busy()
        postgres.go_wrong()
        # What a REINDEX CONCURRENTLY leaves that failed, by its name.
        postgres.sql("CREATE INDEX orders_pkey_ccnew ON orders (id)")
        postgres.sql("VACUUM ANALYZE")
        postgres.sql(f"GRANT pg_read_all_data TO {postgres.role}")
        standby = Standby(running, postgres)
        postgres.sql("SELECT pg_switch_wal()")
        aws = Aws(running)
        jobs = {}
        for number, (job, server) in enumerate({"primary": postgres, "standby": standby}.items(), 1):
            environment = aws.function_environment(aws.put_secret(f"{SECRET}/{job}", server.secret()))
            environment |= {"QUERIES_FILE": str(QUERIES), "EXTRA_LABELS": f"namespace=rds,cluster=shop,pod=shop-{number}"}
            jobs[job], _ = emulator.run_package(running, environment, job)
        prometheus = Prometheus(running, jobs, interval="5s")
        enough = "count(count_over_time(pg_up[2m]) >= 4)"
        running.wait_for("some scrapes", lambda: prometheus.value(enough) == len(jobs), 120)
        yield running, prometheus


def test_all_queries_succeed_and_lose_nothing(scraped: tuple[Processes, Prometheus]) -> None:
    _, prometheus = scraped
    assert prometheus.query("pg_exporter_query_success == 0") == {}
    assert prometheus.query('pg_exporter_query_samples_dropped{reason!="null"} > 0') == {}


@EACH
def test_prometheus_has_an_answer(scraped: tuple[Processes, Prometheus], query: Asked) -> None:
    running, prometheus = scraped
    answer = running.wait_for(str(query), lambda: prometheus.query(query.expression), 60)
    # What it groups by is there, but for what one server or a plain deployment does not have.
    for labels in re.findall(r"count by \(([\w, ]+)\)", query.expression):
        for series in answer:
            assert set(labels.split(", ")) <= {name for name, _ in series}
