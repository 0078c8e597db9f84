"""examples/grafana/: Grafana's types allow the dashboards, every metric of the exporter is on one of them, and a real
Prometheus that scrapes two servers through the real function has series for each of their selectors."""

import functools
import json
import re
import shutil
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import emitted
import grafana_schema
import promql
import pytest
import yaml

from demo import emulator
from demo.aws import CHECKOUT, FUNCTION, SECRET, Aws
from demo.postgres import Postgres
from demo.processes import Processes, processes, stop_on_signals
from demo.prometheus import RULES, Prometheus, seconds
from standby import Restored, Standby
from test_grafana_alerting import pairs

HERE = CHECKOUT / "examples" / "grafana"
FILES = sorted((HERE / "dashboards").glob("*.json"))
EACH_FILE = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
CORE_PANELS = {"row", "timeseries", "stat", "bargauge", "table", "state-timeline"}
# Of a page, those of collapsed rows included.
MOST_PANELS = 20
# A function with these targets, a primary and one that was restored from it, each with the databases shop and stock, and a
# target that a mistake disables.
OF_TARGETS = "of-targets"
TARGETS = ("shop", "restored")
BROKEN = "broken"
# The page without the variable `instance`.
FLEET = "fleet"

OPERATORS = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}

# Metrics that only some versions of PostgreSQL have.
OF_SOME_VERSIONS = {
    "pg_stat_io_reads_total": range(16, 99),
    "pg_stat_io_writes_total": range(16, 99),
    "pg_stat_io_extends_total": range(16, 99),
    "pg_stat_io_hits_total": range(16, 99),
    "pg_stat_io_evictions_total": range(16, 99),
    "pg_stat_bgwriter_buffers_backend_total": range(14, 17),
}

# Queries that make the exporter say what it says of queries in trouble.
TROUBLED = {
    "fails": {"query": "SELECT 1 / 0 AS value", "metrics": [{"value": {"usage": "GAUGE", "description": "None"}}]},
    "null": {"query": "SELECT NULL::int AS value", "metrics": [{"value": {"usage": "GAUGE", "description": "None"}}]},
    "cached": {
        "query": "SELECT 1 AS value",
        "cache_seconds": 3600,
        "metrics": [{"value": {"usage": "GAUGE", "description": "One"}}],
    },
    "later": {
        "query": "SELECT 1 AS value",
        "runonserver": ">=99",
        "metrics": [{"value": {"usage": "GAUGE", "description": "One"}}],
    },
}


@dataclass(frozen=True)
class Shown:
    """An expression of a panel."""

    place: str
    kind: str
    expression: str
    legend: str


def panels(model: dict) -> Iterator[dict]:
    """All panels, those of closed rows too, and the rows."""
    for panel in model["panels"]:
        yield panel
        yield from panel.get("panels", [])


def read(file: Path) -> dict:
    return json.loads(file.read_text())


def variables_of(model: dict) -> dict[str, dict]:
    return {variable["name"]: variable for variable in model["templating"]["list"]}


def shown() -> list[Shown]:
    return [
        Shown(f"{file.stem}: {panel['title']} {query['refId']}", panel["type"], query["expr"], query["legendFormat"])
        for file in FILES
        for panel in panels(read(file))
        for query in panel.get("targets", [])
    ]


def with_values(expression: str) -> str:
    """The expression as Grafana sends it."""
    for variable, value in {
        "$__rate_interval": "20s",
        "$__range": "1h",
        "$job": f"({FUNCTION}|standby|troubled|{OF_TARGETS})",
        "$instance": ".+",
        "$database": "(shop|postgres)",
        "$datname": "(shop|stock)",
    }.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression
    return expression


EACH_EXPRESSION = pytest.mark.parametrize("query", shown(), ids=lambda query: query.place)


def documented_command(first_word: str) -> str:
    """The command of docs/grafana.md that begins with this word."""
    snippets = re.findall(r"^```bash\n(.+?)\n```$", (CHECKOUT / "docs" / "grafana.md").read_text(), re.M | re.S)
    [command] = [snippet for snippet in snippets if snippet.split()[0] == first_word]
    return command


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with a copy of examples/grafana/."""
    shutil.copytree(HERE, tmp_path / "examples" / "grafana")
    return tmp_path


@EACH_FILE
def test_the_format_is_the_same_after_every_export(file: Path) -> None:
    formatted = json.dumps(read(file), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert file.read_text() == formatted, "format it with the jq command of docs/grafana.md"


@EACH_FILE
def test_an_export_becomes_the_file_with_the_documented_command(file: Path, copy: Path) -> None:
    """Grafana exports what belongs to one installation too."""
    model = dict(reversed(read(file).items())) | {"id": 42, "version": 7}
    for variable in model["templating"]["list"]:
        if variable["type"] == "query":
            variable["current"] = {"selected": True, "text": ["shop"], "value": ["shop"]}
        if variable["type"] == "datasource":
            variable["current"] = {"selected": True, "text": "Prometheus", "value": "P1809F7CD0C75ACF3"}
    (copy / "export.json").write_text(json.dumps(model))
    target = "examples/grafana/dashboards/server.json"
    command = documented_command("jq")
    assert target in command
    subprocess.run(["sh", "-euc", command], cwd=copy, check=True)
    assert (copy / target).read_text() == file.read_text()


def test_the_documented_command_sets_a_longer_interval(copy: Path) -> None:
    subprocess.run(["sh", "-euc", documented_command("sed")], cwd=copy, check=True)
    for file in FILES:
        changed = read(copy / file.relative_to(CHECKOUT))
        intervals = [query["interval"] for panel in panels(changed) for query in panel.get("targets", [])]
        assert set(intervals) == {"5m"}


@EACH_FILE
def test_grafanas_types_allow_it(file: Path) -> None:
    assert grafana_schema.problems(read(file)) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda model: model.update(titel="x"), "titel"),
        (lambda model: model.update(title=7), "title"),
        (lambda model: model.update(graphTooltip=9), "graph_tooltip"),
        (lambda model: model["panels"][1]["gridPos"].update(w="4"), "grid_pos"),
        (lambda model: model["panels"][1]["options"].update(textMod="name"), "textMod"),
        (lambda model: model["panels"][1]["targets"][0].update(exprs="up"), "exprs"),
        (lambda model: model["panels"][1]["links"][0].update(uri="x"), "links"),
    ],
)
def test_the_types_are_checked(change, problem: str) -> None:
    model = read(HERE / "dashboards" / "server.json")
    change(model)
    assert any(problem in line for line in grafana_schema.problems(model))


@EACH_FILE
def test_numbers_and_places_are_sound(file: Path) -> None:
    all_panels = list(panels(read(file)))
    ids = [panel["id"] for panel in all_panels]
    assert sorted(ids) == list(range(1, len(ids) + 1))
    taken: dict[tuple[int, int], str] = {}
    for panel in all_panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} covers {taken[x, y]}"
                taken[x, y] = panel["title"]


@EACH_FILE
def test_each_panel_is_one_that_people_understand(file: Path) -> None:
    titles = []
    for panel in panels(read(file)):
        assert panel["type"] in CORE_PANELS
        titles.append(panel["title"])
        if panel["type"] == "row":
            continue
        assert panel["description"].endswith(".")
        units = [panel["fieldConfig"]["defaults"]["unit"]]
        units += [
            it["value"]
            for change in panel["fieldConfig"]["overrides"]
            for it in change["properties"]
            if it["id"] == "unit"
        ]
        assert set(units) <= grafana_schema.UNITS
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert steps[0]["value"] is None
        values = [step["value"] for step in steps[1:]]
        assert values == sorted(values)
        # These show the last value. Asked for a range, they would fetch all values.
        is_now = panel["type"] in ("stat", "bargauge", "table")
        for query in panel["targets"]:
            assert (query["instant"], query["range"]) == (is_now, not is_now)
            if panel["type"] == "table":
                [organize] = [it["options"] for it in panel["transformations"] if it["id"] == "organize"]
                assert "instance" in organize["indexByName"], panel["title"]
            else:
                assert "{{instance}}" in query["legendFormat"], panel["title"]
    assert len(titles) == len(set(titles)), "two panels of one title"


@EACH_FILE
def test_a_page_is_read_at_once(file: Path) -> None:
    rows = [panel for panel in read(file)["panels"] if panel["type"] == "row"]
    shown_by_all = [panel for panel in panels(read(file)) if panel["type"] != "row"]
    assert 0 < len(shown_by_all) <= MOST_PANELS
    assert read(file)["panels"][0]["type"] == "row"
    # Grafana draws the panels of a collapsed row only from inside it.
    for row in rows:
        assert row["collapsed"] == bool(row["panels"]), row["title"]
    assert not rows[0]["collapsed"] and rows[-1]["collapsed"]


@EACH_FILE
def test_rates_are_right_with_a_default_data_source(file: Path) -> None:
    """Grafana makes $__rate_interval from the interval of a query, and from the data source's where there is none: 15 s
    by default. A window is 4 intervals at least."""
    scrapes = yaml.safe_load((CHECKOUT / "examples" / "prometheus.yml").read_text())
    scrape_interval = seconds(scrapes["global"]["scrape_interval"])
    for panel in panels(read(file)):
        for query in panel.get("targets", []):
            # With two missed scrapes, two samples are left.
            assert seconds(query["interval"]) == scrape_interval, panel["title"]


def test_counts_and_seconds_are_apart() -> None:
    """A panel has one unit, so its metrics have too."""
    for file in FILES:
        for panel in panels(read(file)):
            if panel["type"] in ("row", "table"):
                continue
            of_time = {is_of_time(with_values(query["expr"])) for query in panel["targets"]}
            assert len(of_time) == 1, panel["title"]
            if panel["fieldConfig"]["defaults"]["unit"] == "s":
                assert of_time == {True}, panel["title"]


def is_of_time(expression: str) -> bool:
    """Whether an expression gives seconds: by the unit that the name of its first metric ends with."""
    first = next(iter(promql.selectors(promql.promql_parser.parse(expression)))).name
    return re.sub(r"_(total|sum)$", "", first).endswith("_seconds")


@EACH_FILE
def test_units_and_order_of_tables_name_their_columns(file: Path) -> None:
    """Grafana ignores a name that no column has."""
    for panel in panels(read(file)):
        if panel["type"] != "table":
            continue
        [organize] = [it["options"] for it in panel["transformations"] if it["id"] == "organize"]
        columns = set(organize["renameByName"].values())
        overrides = panel["fieldConfig"]["overrides"]
        with_unit = {it["matcher"]["options"] for it in overrides if any(p["id"] == "unit" for p in it["properties"])}
        assert with_unit == columns, panel["title"]
        assert {it["matcher"]["options"] for it in overrides} <= columns | set(organize["indexByName"]), panel["title"]
        assert {order["displayName"] for order in panel["options"]["sortBy"]} <= columns, panel["title"]
        values = [name for name in organize["indexByName"] if name.startswith("Value")]
        assert len(values) == len(panel["targets"]), panel["title"]


def test_what_the_dashboards_share_is_the_same() -> None:
    """The links between them keep the time and the variables."""
    [first] = [read(file) for file in FILES if file.stem == "server"]
    others = [read(file) for file in FILES if file.stem != "server"]
    for other in others:
        for name, variable in variables_of(other).items():
            assert name in ("database", "datname") or variable == variables_of(first)[name], name
        for key in ("schemaVersion", "tags", "time", "timezone", "refresh", "graphTooltip", "editable"):
            assert other[key] == first[key], key
    assert all(link["includeVars"] and link["keepTime"] for model in (first, *others) for link in model["links"])


@EACH_FILE
def test_a_page_begins_with_one_server(file: Path) -> None:
    """Grafana chooses the first value of a variable that has no current one: without "All", the first server."""
    variables = variables_of(read(file))
    assert ("instance" not in variables) == (file.stem == FLEET)
    for name in {"instance", "database", "datname"} & set(variables):
        several = name == "datname" or name == "database" and file.stem == "statements"
        assert variables[name]["includeAll"] == several == ("current" in variables[name])
        assert variables[name]["multi"], "to compare two"


@EACH_FILE
def test_variables_are_used_everywhere(file: Path) -> None:
    model = read(file)
    variables = variables_of(model)
    text = json.dumps(model["panels"])
    for name, variable in variables.items():
        assert f"${name}" in text or f"${{{name}}}" in text, f"{name} is not used"
        assert variable["type"] != "query" or variable["datasource"]["uid"] == "${datasource}"
    for panel in panels(model):
        if panel["type"] == "row":
            continue
        for source in (panel, *panel["targets"]):
            assert source["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for query in panel["targets"]:
            for selector in promql.selectors(promql.promql_parser.parse(with_values(query["expr"]))):
                asked = {matcher.name for matcher in selector.matchers.matchers}
                assert ({"job"} if file.stem == FLEET else {"job", "instance"}) <= asked, query["expr"]
                if "datname" in emitted.labels_of_queries().get(selector.name, ()) and "datname" in variables:
                    assert "datname" in asked, query["expr"]


@EACH_FILE
def test_links_lead_somewhere(file: Path) -> None:
    runbooks = {
        name.lower() for name in re.findall(r"^### (\w+)$", (CHECKOUT / "docs" / "alerts.md").read_text(), re.M)
    }
    model = read(file)
    of_panels = [link for panel in panels(model) for link in panel.get("links", [])]
    assert bool(of_panels) == ("docs" in variables_of(model))
    for link in of_panels:
        [anchor] = re.fullmatch(r"\$\{docs\}/alerts\.md#(\w+)", link["url"]).groups()
        assert anchor in runbooks
        name, path = link["title"].split(" in ")
        assert (name.lower(), path) == (anchor, "docs/alerts.md"), "the file to open where the link leads nowhere"
    pages = {f"/d/{read(other)['uid']}" for other in FILES if other != file}
    assert {link["url"] for link in model["links"]} == pages
    for panel in panels(model):
        for change in panel.get("fieldConfig", {}).get("overrides", []):
            for link in [it for p in change["properties"] if p["id"] == "links" for it in p["value"]]:
                page, variables = link["url"].split("?")
                assert page in pages
                assert {"var-job=${__data.fields.job}", "var-instance=${__data.fields.instance}"} <= set(variables.split("&"))


def test_each_metric_is_shown() -> None:
    asked = set().union(*(promql.metrics(with_values(query.expression)) for query in shown()))
    there = emitted.all_names()
    assert asked - there == set(), "shown, but nobody tells it"
    assert there - asked == set(), "told, but not shown"


def test_a_statement_is_shown_before_its_text_is_read(tmp_path: Path) -> None:
    """Texts are cached, and their query may fail. Until then the identifier is there."""
    expressions = [with_values(query.expression) for query in shown() if query.place.startswith("statements: ")]
    text = "pg_stat_statements_query_info"
    numbers = set().union(*map(promql.metrics, expressions)) - {text}
    labels = f'job="{FUNCTION}",instance="a",datname="shop"'
    series = [
        {"series": f'{name}{{{labels},queryid="{identifier}"}}', "values": "0+5x60"}
        for name in numbers
        for identifier in (1, 2)
    ]
    series.append({"series": f'{text}{{{labels},queryid="1",query="SELECT"}}', "values": "1x60"})
    both = [{"labels": f'{{query="{query}"}}', "value": 1} for query in ("SELECT", "2")]
    checks = [
        {"expr": f"count by (query) ({expression})", "eval_time": "5m", "exp_samples": both} for expression in expressions
    ]
    case = {"interval": "5s", "input_series": series, "promql_expr_test": checks}
    (tmp_path / "test.yml").write_text(json.dumps({"evaluation_interval": "5s", "tests": [case]}))
    answer = subprocess.run(["promtool", "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_provisioning_is_what_grafana_reads() -> None:
    sources = yaml.safe_load((HERE / "provisioning" / "datasources" / "prometheus.yml").read_text())
    assert sources["apiVersion"] == 1
    [prometheus] = sources["datasources"]
    assert prometheus["type"] == "prometheus" and prometheus["access"] == "proxy"
    scrapes = yaml.safe_load((CHECKOUT / "examples" / "prometheus.yml").read_text())
    assert seconds(prometheus["jsonData"]["timeInterval"]) == seconds(scrapes["global"]["scrape_interval"])
    providers = yaml.safe_load((HERE / "provisioning" / "dashboards" / "pg-lambda-exporter.yml").read_text())
    assert providers["apiVersion"] == 1
    [provider] = providers["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"] in (CHECKOUT / "docs" / "grafana.md").read_text()


@pytest.fixture(scope="module")
def scraped() -> Iterator[tuple[Processes, Prometheus]]:
    """A Prometheus that has scraped several times: the function of a database that is busy and in trouble, that of its
    standby, one with queries in trouble, and one with several targets that have two databases each."""
    stop_on_signals()
    with processes() as running:
        postgres = Postgres(running)
        archive = {"archive_mode": "on", "archive_command": "true", "max_slot_wal_keep_size": "1GB"}
        for name, value in archive.items():
            postgres.sql(f"ALTER SYSTEM SET {name} = '{value}'")
        postgres.stop()
        postgres.start()
        postgres.sql("CREATE DATABASE stock TEMPLATE shop", "postgres")
        postgres.sql("VACUUM ANALYZE", "stock")
        postgres.sql(f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {postgres.role}", "stock")
        postgres.keep_busy()
        postgres.go_wrong()
        postgres.sql(f"ALTER DATABASE {postgres.database} CONNECTION LIMIT 40")
        postgres.sql("VACUUM")
        standby = Standby(running, postgres)
        restored = Restored(running, postgres)
        restored.sql("SELECT pg_create_physical_replication_slot('kept', true)")
        # A backup has no statistics of tables.
        for database in (postgres.database, "stock"):
            restored.sql("VACUUM ANALYZE", database)
        postgres.sql("SELECT pg_switch_wal()")
        aws = Aws(running)
        secret = aws.put_secret(SECRET, postgres.secret())
        jobs = {FUNCTION: aws.http_api(aws.deploy(secret))}
        environment = aws.function_environment(aws.put_secret("shop/standby", standby.secret()))
        jobs["standby"], _ = emulator.run_package(running, environment, "of-standby")
        queries = running.folder / "troubled.yml"
        queries.write_text(json.dumps(TROUBLED))
        environment = aws.function_environment(secret) | {"QUERIES_FILE": str(queries)}
        jobs["troubled"], _ = emulator.run_package(running, environment, "troubled")
        prometheus = Prometheus(running, jobs, interval="2s", scrape_configs=[probes(running, aws, (postgres, restored))])
        enough = "count(count_over_time(pg_up[1m]) >= 4)"
        running.wait_for("some scrapes", lambda: prometheus.value(enough) == len(jobs) + len(TARGETS) + 1, 120)
        yield running, prometheus


def probes(running: Processes, aws: Aws, servers: tuple[Postgres, Restored]) -> dict:
    """A function with several targets, and the job that scrapes each. Its queries run in all databases, as
    docs/queries-shipped.md says."""
    folder = running.folder / "several"
    folder.mkdir()
    shutil.copy(CHECKOUT / "queries.yml", folder)
    document = (CHECKOUT / "docs" / "queries-shipped.md").read_text()
    [command] = re.findall(r"^```bash\n(sed .+target_databases.+)\n```$", document, re.M)
    subprocess.run(["sh", "-euc", command], cwd=folder, check=True)
    targets = {name: {"secret": aws.put_secret(name, it.secret())} for name, it in zip(TARGETS, servers, strict=True)}
    targets[BROKEN] = {"host": "localhost", "port": "none"}
    (folder / "targets.yml").write_text(json.dumps(targets))  # JSON is YAML.
    environment = aws.function_environment("")
    del environment["DB_SECRET_ID"]
    environment |= {"QUERIES_FILE": str(folder / "queries.yml"), "TARGETS_FILE": str(folder / "targets.yml")}
    environment |= {"PGSSLMODE": "disable"}
    endpoint, _ = emulator.run_package(running, environment, OF_TARGETS)
    address = urllib.parse.urlsplit(endpoint.address)
    return {
        "job_name": OF_TARGETS,
        # A scrape logs in to three databases.
        "scrape_interval": "5s",
        "scrape_timeout": "5s",
        "metrics_path": f"{address.path}/probe",
        "static_configs": [
            {"targets": [address.netloc], "labels": {"__param_target": name, "instance": name}} for name in targets
        ],
    }


def test_the_shipped_queries_succeed(scraped: tuple[Processes, Prometheus]) -> None:
    running, prometheus = scraped
    failing = f'pg_exporter_query_success{{job!="troubled",instance!="{BROKEN}"}} == 0'
    running.wait_for("no query that fails", lambda: prometheus.query(failing) == {}, 60)


def series_of(scraped: tuple[Processes, Prometheus], expression: str, place: str) -> dict:
    """The answer of Prometheus, awaited since some things happen only now and then; empty where it may be."""
    running, prometheus = scraped
    if not all(is_of_this_server(scraped, metric) for metric in promql.metrics(expression)):
        return prometheus.query(expression)
    return running.wait_for(place, lambda: prometheus.query(expression), 30)


def is_of_this_server(scraped: tuple[Processes, Prometheus], metric: str) -> bool:
    """Whether the server's version has the metric."""
    running, prometheus = scraped
    servers = running.wait_for("the version", lambda: prometheus.query("pg_server_info"), 30)
    majors = {int(dict(series)["version"].split(".")[0]) for series in servers}
    return majors <= set(OF_SOME_VERSIONS.get(metric, majors))


@EACH_FILE
def test_each_variable_has_values(scraped: tuple[Processes, Prometheus], file: Path) -> None:
    _, prometheus = scraped
    for variable in read(file)["templating"]["list"]:
        if variable["type"] != "query":
            continue
        query = with_values(variable["query"]["query"])
        if found := re.fullmatch(r"label_values\((.+), (\w+)\)", query):
            selector, label = found.groups()
        else:
            [selector] = re.fullmatch(r"query_result\((.+)\)", query).groups()
            [label] = re.fullmatch(r'/(\w+)="\(\[\^"\]\+\)"/', variable["regex"]).groups()
        values = {dict(series)[label] for series in prometheus.query(selector)}
        assert len(values) >= 2, variable["name"]


@EACH_EXPRESSION
def test_prometheus_has_an_answer(scraped: tuple[Processes, Prometheus], query: Shown) -> None:
    answer = series_of(scraped, with_values(query.expression), query.place)
    labels = {name for series in answer for name, _ in series}
    for label in re.findall(r"{{(\w+)}}", query.legend):
        assert not answer or label in labels, f"no series has the label {label} of the legend"
    assert all({"job", "instance"} <= set(dict(series)) for series in answer), "it adds up servers"
    # Statements may begin alike.
    if query.legend and "queryid" not in query.expression:
        names = [re.sub(r"{{(\w+)}}", lambda it, labels=dict(series): labels.get(it[1], ""), query.legend) for series in answer]
        jobs = [dict(series)["job"] for series in answer]
        assert len(set(zip(jobs, names, strict=True))) == len(names), names


@EACH_EXPRESSION
def test_each_selector_matches_series(scraped: tuple[Processes, Prometheus], query: Shown) -> None:
    """A matcher that nothing matches is hidden where an operator has an answer without it."""
    _, prometheus = scraped
    for selector in promql.selectors(promql.promql_parser.parse(with_values(query.expression))):
        matchers = ",".join(f"{it.name}{OPERATORS[str(it.op)]}{json.dumps(it.value)}" for it in selector.matchers.matchers)
        series_of(scraped, f"{selector.name}{{{matchers}}}", query.place)


@EACH_EXPRESSION
def test_a_server_that_is_chosen_is_the_only_one(scraped: tuple[Processes, Prometheus], query: Shown) -> None:
    _, prometheus = scraped
    servers = {dict(series)["instance"] for series in prometheus.query("pg_up")}
    assert len(servers) == 6, "a primary, its standby, one whose queries are in trouble, and three targets"
    for server in servers if "$instance" in query.expression else ():
        # A backslash is escaped in a string of PromQL.
        escaped = re.escape(server).replace("\\", "\\\\")
        chosen = with_values(query.expression.replace("$instance", escaped))
        assert {dict(series)["instance"] for series in prometheus.query(chosen)} <= {server}


@EACH_EXPRESSION
def test_two_servers_show_what_each_shows_alone(scraped: tuple[Processes, Prometheus], query: Shown) -> None:
    if "$instance" not in query.expression:
        return
    running, prometheus = scraped
    expression = query.expression.replace("$job", OF_TARGETS)
    several, *alone = (with_values(expression.replace("$instance", it)) for it in ("|".join(TARGETS), *TARGETS))
    now = time.time()
    together = prometheus.query(several, now)
    for server, expression in zip(TARGETS, alone, strict=True):
        of_server = sorted(value for series, value in together.items() if dict(series)["instance"] == server)
        assert of_server == pytest.approx(sorted(prometheus.query(expression, now).values())), server
    # A comparison hides what is in order, and a server without standbys has no series of standbys.
    if re.search(r" (==|!=|>=?|<=?) (?!bool)", several):
        return
    for selector in promql.selectors(promql.promql_parser.parse(several)):
        there = prometheus.query(selector.name + f'{{job="{OF_TARGETS}"}}')
        if {dict(series)["instance"] for series in there} - {BROKEN} != set(TARGETS):
            return
    assert {dict(series)["instance"] for series in together} == set(TARGETS)


@pytest.mark.parametrize(
    "query", [query for query in shown() if "$datname" in query.expression], ids=lambda query: query.place
)
def test_tables_of_two_databases_are_told_apart(scraped: tuple[Processes, Prometheus], query: Shown) -> None:
    running, prometheus = scraped
    assert not query.legend or "{{datname}}" in query.legend

    def databases(job: str, server: str, chosen: str) -> set[str]:
        expression = query.expression.replace("$job", job).replace("$instance", server).replace("$datname", chosen)
        return {dict(series)["datname"] for series in prometheus.query(with_values(expression))}

    for server in TARGETS:
        for database in ("shop", "stock"):
            running.wait_for(query.place, lambda: databases(OF_TARGETS, server, database) == {database}, 30)
    # With the file as it is.
    assert databases(FUNCTION, ".+", ".*") == {"shop"}


def test_other_databases_add_only_series_with_their_name(scraped: tuple[Processes, Prometheus]) -> None:
    """The queries that see the whole server give what they give without target_databases, in series and in alerts."""
    running, prometheus = scraped

    def series(selector: str) -> set[tuple]:
        theirs = ("job", "instance", "database")
        return {tuple(it for it in labels if it[0] not in theirs) for labels in prometheus.query(selector)}

    # The busiest statements change.
    metrics = '__name__=~"pg_.+",__name__!~"pg_exporter_.+|pg_stat_statements_.+"'
    alerts = 'alertstate="firing",alertname!="PostgresExporterMissing"'
    for kind in (metrics, f'__name__="ALERTS",{alerts}'):

        def is_same() -> bool:
            alone = series(f'{{{kind},job="{FUNCTION}"}}')
            several = series(f'{{{kind},job="{OF_TARGETS}",instance="{TARGETS[0]}"}}')
            added = {dict(labels).get("datname") for labels in several - alone}
            return bool(alone) and alone <= several and added <= {"stock", "postgres"}

        running.wait_for(kind, is_same, 60)


def test_the_worst_server_is_first(scraped: tuple[Processes, Prometheus]) -> None:
    running, prometheus = scraped
    [score, *_] = [query.expression for query in shown() if query.place.startswith("fleet: Servers, worst first")]
    by_series = prometheus.query(with_values(score).replace(f"|{OF_TARGETS}", ""))
    scores = {dict(series)["job"]: value for series, value in by_series.items()}
    assert set(scores) == {FUNCTION, "standby", "troubled"}
    assert scores["troubled"] >= 1, "a failing query counts"
    assert scores["standby"] < scores[FUNCTION], "the slot of the primary is idle"
    assert all(value < 10 for value in scores.values()), "all are up"


@pytest.mark.parametrize(
    "rule",
    [rule for file in RULES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]],
    ids=lambda rule: rule.get("alert") or rule["record"],
)
def test_prometheus_has_an_answer_for_each_selector_of_the_rules(scraped: tuple, rule: dict) -> None:
    running, prometheus = scraped
    prometheus.query(rule["expr"])
    for selector in promql.selectors(promql.promql_parser.parse(rule["expr"])):
        # Nothing is recorded for the storage before users give it.
        if is_of_this_server(scraped, selector.name) and selector.name != "instance:pg_storage_bytes:allocated":
            running.wait_for(selector.name, functools.partial(prometheus.query, selector.name), 30)
    # What is recorded is there, but the storage; what alerts is so only in trouble.
    if "record" in rule and "NAME-OF-YOUR-INSTANCE" not in rule["expr"]:
        series_of(scraped, rule["expr"], rule["record"])


def instances(answer: dict) -> set[tuple]:
    """The labels of the series, which are those of alerts."""
    return {tuple(label for label in series if label[0] != "__name__") for series in answer}


@pytest.mark.parametrize(("alert", "rule"), pairs(), ids=lambda it: it.get("uid", it.get("alert")))
def test_prometheus_answers_grafanas_rules_as_its_own(scraped: tuple, alert: dict, rule: dict) -> None:
    running, prometheus = scraped

    def is_same() -> bool:
        of_grafana = prometheus.query(rule["data"][0]["model"]["expr"])
        return instances(of_grafana) == instances(prometheus.query(alert["expr"]))

    running.wait_for(rule["title"], is_same, 30)
