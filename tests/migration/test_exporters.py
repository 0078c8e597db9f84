"""The files of docs/migration.md for other exporters, in these exporters, and what replaces them in this one."""

from conftest import Scrape
from demo.postgres import Postgres
from document import snippet
from exposition import OWN, Family, assert_same, families
from former import Programs

GO = ("go_", "process_", "promhttp_")


def test_postgres_exporter(programs: Programs, postgres: Postgres, scrape: Scrape) -> None:
    section = "postgres_exporter"
    file = snippet(section, "yaml before")
    text = programs.postgres_exporter(file, "pg_slots_active{")
    # Its own differ from one version to the next.
    before = {name: family for name, family in families(text, GO).items() if name.startswith("pg_slots_")}
    # The difference that the section shows. Without samples, a family is not there.
    (safe_wal_size,) = before.pop("pg_slots_safe_wal_size").samples.values()
    assert safe_wal_size != safe_wal_size, "NaN"
    server = f"server=127.0.0.1:{postgres.port}"
    for queries in (file, snippet(section, "yaml")):
        assert_same(before, families(scrape(queries, EXTRA_LABELS=server), OWN))


def test_sql_exporter_with_jobs(programs: Programs, scrape: Scrape) -> None:
    section = "sql_exporter with jobs"
    placeholder = "postgres://scraper@localhost/shop"
    file = snippet(section, "yaml before")
    assert placeholder in file
    text = programs.sql_exporter(file.replace(placeholder, programs.dsn("postgres")), "sql_orders{")
    (name, family), *more = families(text, (*GO, "sql_exporter_")).items()
    assert (name, family.type, more) == ("sql_orders", "gauge", [])
    after = families(scrape(snippet(section, "yaml")), OWN)
    # A metric for each column, and without the labels of the connection.
    before: dict[str, Family] = {}
    for (_, labels), value in family.samples.items():
        kept = dict(labels)
        where = {kept.pop(label) for label in ("driver", "database", "user", "sql_job", "host")}
        assert {"postgres", "shop", "exporter"} < where
        name = f"sql_orders_{kept.pop('col')}"
        column = before.setdefault(name, Family("gauge", after[name].help))
        column.samples[name, tuple(kept.items())] = value
    assert set(before) == {"sql_orders_count", "sql_orders_cents"}
    assert after["sql_orders_count"].help == family.help
    assert_same(before, after)


def test_query_exporter(programs: Programs, scrape: Scrape) -> None:
    section = "query-exporter"
    file = snippet(section, "yaml before")
    queries = ("open", "intake", "values")
    done = [f'queries_total{{database="shop",query="{query}",status="success"}} 1' for query in queries]
    text = programs.query_exporter(file, *done)
    own = ("database_errors", "queries", "query_latency", "query_timestamp", "query_interval")
    before = families(text, own)
    created = {name for name in before if name.endswith("_created")}
    assert created == {"orders_placed_created", "order_euros_created"}
    for name in created:
        del before[name]
    assert_same(before, families(scrape(snippet(section, "yaml")), OWN))
