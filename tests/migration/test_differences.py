"""Each row of "Differences from postgres_exporter" in docs/migration.md, shown by both programs on one database."""

import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from conftest import Scrape
from demo.postgres import Postgres
from document import DOCUMENT
from exposition import series
from former import WITHOUT_BUILT_IN, Programs

ENDS = "the process ends"
REFUSED = "HTTP 500 for the whole scrape"

STATUSES = ("pg_exporter_query_error", "pg_exporter_query_skipped", "pg_exporter_query_samples_dropped")
"""The exporter's own metrics that tell how a query went."""

BUILT_IN = ("go_", "process_", "promhttp_", "postgres_exporter_", "pg_")
"""What names of metrics begin with that no query here gives."""

ASCII = "ascii"
"""A database with the encoding SQL_ASCII."""

OTHERS = {
    "every sample": "test_server",
    "`--auto-discover-databases`, several data sources": "test_several_databases",
    "`master: true`": "test_several_databases",
    "built-in metrics": "test_built_in_metrics",
}
"""Rows that more than a file shows, and the test of each."""


@dataclass(frozen=True)
class Difference:
    """A row: a file, and the samples that each program makes of it."""

    row: str
    file: str
    former: str
    """Without the label `server`; or `ENDS` or `REFUSED`."""
    here: str
    """The queries' samples, and `STATUSES`."""
    database: str = Postgres.database
    scrapes: int = 1
    """Of the former program. Only the last one is compared."""


def error(query: str, reason: str) -> str:
    """The sample of a query that failed."""
    return f'pg_exporter_query_error{{query="{query}",reason="{reason}"}} 1\n'


def dropped(query: str, reason: str, count: int = 1) -> str:
    """The sample of a query of which a part was dropped."""
    return f'pg_exporter_query_samples_dropped{{query="{query}",reason="{reason}"}} {count}\n'


DIFFERENCES = [
    # SQL and time
    Difference(
        "`INSERT`, `DO`, `CALL`, `EXPLAIN … INTO`, `COMMIT`, `SET SESSION` and "
        "[others that do more than read](queries.md#sql)",
        """
insert: {query: "CREATE TEMPORARY TABLE IF NOT EXISTS made (v int); INSERT INTO made VALUES (1) RETURNING v"}
do: {query: "DO $$ BEGIN NULL; END $$; SELECT 1 AS v"}
call: {query: "CALL nothing(); SELECT 1 AS v"}
explain:
  query: EXPLAIN (ANALYZE) SELECT 1 AS v INTO TEMPORARY explained
  metrics: [QUERY PLAN: {usage: DISCARD}]
explained: {query: SELECT 1 AS v WHERE to_regclass('pg_temp.explained') IS NOT NULL}
commit: {query: "SELECT 1 AS v; COMMIT"}
session: {query: "SELECT 1 AS v; SET SESSION work_mem = '8MB'"}
""",
        "insert_v 1\ndo_v 1\ncall_v 1\nexplained_v 1\ncommit_v 1\nsession_v 1\n",
        "".join(error(query, "config") for query in ["insert", "do", "call", "explain", "commit", "session"]),
        # It runs them in any order.
        scrapes=2,
    ),
    Difference(
        "a function that writes, such as `nextval()`",
        "a: {query: SELECT nextval('scrapes') > 0 AS v}",
        "a_v 1",
        error("a", "other"),
    ),
    Difference(
        "a function that creates a temporary table",
        "a: {query: SELECT with_temporary_table() AS v}",
        "a_v 1",
        error("a", "other"),
    ),
    Difference(
        "a plain `SET`",
        """
a: {query: SET work_mem = '8MB'; SELECT 1 AS v}
b: {query: SELECT setting AS kilobytes FROM pg_settings WHERE name = 'work_mem'}
""",
        "a_v 1\nb_kilobytes 8192",
        "a_v 1\nb_kilobytes 4096",
        scrapes=2,
    ),
    Difference(
        "the settings that the exporter sets for each query",
        """
a:
  query: >
    SELECT name, setting, reset_val AS reset, 1 AS v
    FROM pg_settings WHERE name IN ('statement_timeout', 'transaction_read_only')
  metrics: [name: {usage: LABEL}, setting: {usage: LABEL}, reset: {usage: LABEL}]
""",
        """
a_v{name="statement_timeout",setting="0",reset="0"} 1
a_v{name="transaction_read_only",setting="off",reset="off"} 1
""",
        """
a_v{name="statement_timeout",setting="5000",reset="0"} 1
a_v{name="transaction_read_only",setting="on",reset="off"} 1
""",
    ),
    Difference(
        "a query that runs longer than 5 s",
        "a: {query: SELECT 1 AS v FROM pg_sleep(5.5)}",
        "a_v 1",
        error("a", "timeout"),
    ),
    Difference(
        "several statements",
        "a: {query: SELECT 1 AS v; SELECT 2 AS w}",
        "a_v 1",
        "a_w 2",
    ),
    Difference(
        "an error in a later statement",
        "a: {query: SELECT 1 AS v; SELECT 1 / 0 AS v}",
        "a_v 1",
        error("a", "other"),
    ),
    Difference(
        "an error in the middle of a result",
        "a: {query: 'SELECT i AS l, 10 / (3 - i) AS v FROM generate_series(1, 5) AS i', metrics: [l: {usage: LABEL}]}",
        'a_v{l="1"} 5\na_v{l="2"} 10',
        error("a", "other"),
    ),
    Difference(
        "a result with more than 100,000 samples, or whose samples take 16 MiB of memory",
        """
many: {query: "SELECT i AS l, 1 AS v FROM generate_series(1, 100001) AS i", metrics: [l: {usage: LABEL}]}
large: {query: "SELECT i || repeat('x', 16000) AS l, 1 AS v FROM generate_series(1, 1100) AS i", metrics: [l: {usage: LABEL}]}
""",
        "".join(f'many_v{{l="{i}"}} 1\n' for i in range(1, 100_002))
        + "".join(f'large_v{{l="{i}{"x" * 16000}"}} 1\n' for i in range(1, 1_101)),
        error("many", "limit") + error("large", "limit"),
    ),
    # Values
    Difference(
        "NULL",
        "a: {query: 'SELECT NULL::int AS v, NULL::int AS w', metrics: [w: {usage: GAUGE, default: 7}]}",
        "a_v NaN\na_w NaN",
        "a_w 7\n" + dropped("a", "null"),
    ),
    Difference(
        "COUNTER that is negative or NaN",
        "a: {query: SELECT -1 AS v, metrics: [v: {usage: COUNTER}]}\n"
        "b: {query: SELECT 'NaN'::float AS v, metrics: [v: {usage: COUNTER}]}",
        "a_v -1\nb_v NaN",
        dropped("a", "invalid") + dropped("b", "invalid"),
    ),
    Difference(
        "`interval`, `pg_lsn`",
        """
a: {query: "SELECT interval '1 day' AS v, pg_lsn '0/10' AS w", metrics: [v: {usage: GAUGE}, w: {usage: GAUGE}]}
""",
        "",
        "a_v 86400\na_w 16",
    ),
    Difference(
        "`time`, `timetz`",
        """
a: {query: "SELECT time '01:00' AS v, timetz '01:00+00' AS w", metrics: [v: {usage: GAUGE}, w: {usage: GAUGE}]}
""",
        "a_v -62167215600\na_w -62167215600",
        "a_v 3600\na_w 3600",
    ),
    Difference(
        "fractions of a second in a `timestamp`",
        "a: {query: SELECT timestamptz '1970-01-01 00:00:01.5+00' AS v, metrics: [v: {usage: GAUGE}]}",
        "a_v 1",
        "a_v 1.5",
    ),
    Difference(
        "text: a number with spaces around it, `t` or `f`",
        "a: {query: \"SELECT ' 42 '::text AS v, '42'::char(4) AS w, 't'::text AS x\"}",
        "",
        "a_v 42\na_w 42\na_x 1",
    ),
    Difference(
        "text: a time, an interval or an LSN, in a listed column",
        """
a:
  query: SELECT '1970-01-02'::text AS v, '01:00:00'::text AS w, '0/10'::text AS x
  metrics: [v: {usage: GAUGE}, w: {usage: GAUGE}, x: {usage: GAUGE}]
""",
        "",
        "a_v 86400\na_w 3600\na_x 16",
    ),
    Difference(
        "`timestamp`, `date`, `time` or `bytea` in a column that is not listed",
        """
a: {query: "SELECT timestamp '1970-01-02' AS v, date '1970-01-02' AS w, time '01:00' AS x, '7'::bytea AS y"}
""",
        "a_v 86400\na_w 86400\na_x -62167215600\na_y 7",
        dropped("a", "unparsable", 4),
    ),
    Difference(
        "MAPPEDMETRIC",
        """
a:
  query: SELECT 'up'::text AS v, 3 AS w
  metrics:
    - v: {usage: MAPPEDMETRIC, metric_mapping: {up: 1}}
    - w: {usage: MAPPEDMETRIC, metric_mapping: {"3": 8}}
""",
        "a_w 3",
        "a_v 1\na_w 8",
    ),
    Difference(
        "DURATION of `1h2m3s` or an `interval`",
        """
a:
  query: SELECT '1h2m3s'::text AS v, interval '1 second' AS w
  metrics: [v: {usage: DURATION}, w: {usage: DURATION}]
""",
        "",
        "a_v_milliseconds 3723000\na_w_milliseconds 1000",
    ),
    Difference(
        "DURATION or MAPPEDMETRIC of a `timestamp` or `date`",
        "a: {query: SELECT date '1970-01-02' AS v, metrics: [v: {usage: DURATION}]}\n"
        "b: {query: SELECT timestamp '1970-01-02' AS v, metrics: [v: {usage: MAPPEDMETRIC, metric_mapping: {up: 1}}]}",
        "a_v_milliseconds 86400\nb_v 86400",
        dropped("a", "unparsable") + dropped("b", "unparsable"),
    ),
    Difference(
        "SUMMARY, INFO, STATESET, TIMESTAMP",
        """
a:
  query: SELECT 'x' AS v, 'x' AS w, ARRAY[0.5] AS x, ARRAY[7] AS x_quantile, 7 AS x_sum, 1 AS x_count
  metrics: [v: {usage: INFO}, w: {usage: STATESET, states: [x, y]}, x: {usage: SUMMARY}]
b: {query: "SELECT 1 AS v, timestamptz '1970-01-02' AS t", metrics: [t: {usage: TIMESTAMP}]}
""",
        "a_x_sum 7\na_x_count 1\nb_v 1",
        """
a_v_info{v="x"} 1
a_w{a_w="x"} 1
a_w{a_w="y"} 0
a_x{quantile="0.5"} 7
a_x_sum 7
a_x_count 1
b_v 1 86400000
""",
    ),
    # Labels
    Difference(
        "LABEL of a boolean, a float, a time or a `bytea`",
        """
a:
  query: >
    SELECT 1 AS v, true AS b, 1000000::float AS f, 'Infinity'::float AS i, timestamptz '1970-01-02 00:00:01.5+00' AS t,
           'ab'::bytea AS x
  metrics: [b: {usage: LABEL}, f: {usage: LABEL}, i: {usage: LABEL}, t: {usage: LABEL}, x: {usage: LABEL}]
""",
        'a_v{b="true",f="1e+06",i="+Inf",t="86401",x="ab"} 1',
        'a_v{b="t",f="1000000",i="Infinity",t="1970-01-02 00:00:01.5+00",x="\\\\x6162"} 1',
    ),
    Difference(
        "two LABEL columns of one name",
        "a: {query: \"SELECT 1 AS v, 'x' AS l, 'y' AS l\", metrics: [l: {usage: LABEL}]}",
        'a_v{l="y"} 1',
        'a_v{l="x"} 1\n' + dropped("a", "label"),
    ),
    Difference(
        "a LABEL column named `server`",
        "a: {query: \"SELECT 1 AS v, 'x' AS server\", metrics: [server: {usage: LABEL}]}",
        ENDS,
        'a_v{server="x"} 1',
    ),
    Difference(
        "a LABEL column that the result lacks",
        "a: {query: \"SELECT 'x' AS l, 1 AS v\", metrics: [l: {usage: LABEL}, m: {usage: LABEL}]}",
        'a_v{l="x",m="x"} 1',
        error("a", "config"),
    ),
    Difference(
        "a label of more than 16,384 bytes",
        "a: {query: \"SELECT 1 AS v, repeat('x', 16385) AS l\", metrics: [l: {usage: LABEL}]}",
        f'a_v{{l="{16385 * "x"}"}} 1',
        dropped("a", "label"),
    ),
    Difference(
        "text that is not UTF-8, in a database with the encoding `SQL_ASCII`",
        "a: {query: \"SELECT 1 AS v, convert_from('\\\\x61ff', 'SQL_ASCII') AS l\", metrics: [l: {usage: LABEL}]}",
        "",
        'a_v{l="�"} 1',
        database=ASCII,
    ),
    # Histograms
    Difference(
        "HISTOGRAM: arrays of unequal length",
        """
a:
  query: SELECT ARRAY[1, 2] AS h, ARRAY[3] AS h_bucket, 4 AS h_sum, 5 AS h_count
  metrics: [h: {usage: HISTOGRAM}]
""",
        'a_h_bucket{le="1"} 3\na_h_bucket{le="+Inf"} 5\na_h_sum 4\na_h_count 5',
        dropped("a", "invalid"),
    ),
    Difference(
        "HISTOGRAM: an element that is NULL",
        """
a:
  query: SELECT ARRAY[1, 2] AS h, ARRAY[3, NULL] AS h_bucket, 4 AS h_sum, 5 AS h_count, 1 AS v
  metrics: [h: {usage: HISTOGRAM}]
""",
        "",
        'a_h_bucket{le="1"} 3\na_h_bucket{le="+Inf"} 5\na_h_sum 4\na_h_count 5\na_v 1\n' + dropped("a", "null"),
    ),
    Difference(
        "HISTOGRAM: counts with a fraction",
        """
a:
  query: SELECT ARRAY[1, 2] AS h, ARRAY[3, 3.5] AS h_bucket, 4 AS h_sum, 5 AS h_count, 1 AS v
  metrics: [h: {usage: HISTOGRAM}]
""",
        "",
        "a_v 1\n" + dropped("a", "invalid"),
    ),
    Difference(
        "HISTOGRAM: counts that fall",
        """
a:
  query: SELECT ARRAY[1, 2] AS h, ARRAY[3, 2] AS h_bucket, 4 AS h_sum, 5 AS h_count
  metrics: [h: {usage: HISTOGRAM}]
""",
        'a_h_bucket{le="1"} 3\na_h_bucket{le="2"} 2\na_h_bucket{le="+Inf"} 5\na_h_sum 4\na_h_count 5',
        dropped("a", "invalid"),
    ),
    Difference(
        "HISTOGRAM: a bound `Infinity`",
        """
a:
  query: SELECT ARRAY[1, 'Infinity'::float] AS h, ARRAY[3, 4] AS h_bucket, 4 AS h_sum, 5 AS h_count
  metrics: [h: {usage: HISTOGRAM}]
""",
        'a_h_bucket{le="1"} 3\na_h_bucket{le="+Inf"} 4\na_h_sum 4\na_h_count 5',
        'a_h_bucket{le="1"} 3\na_h_bucket{le="+Inf"} 5\na_h_sum 4\na_h_count 5',
    ),
    Difference(
        "HISTOGRAM: `_count` is NULL",
        """
a:
  query: SELECT ARRAY[1] AS h, ARRAY[3] AS h_bucket, 4 AS h_sum, NULL::int AS h_count
  metrics: [h: {usage: HISTOGRAM}]
""",
        'a_h_bucket{le="1"} 3\na_h_bucket{le="+Inf"} 0\na_h_sum 4\na_h_count 0',
        dropped("a", "null"),
    ),
    Difference(
        "HISTOGRAM: the result lacks `_sum`",
        """
a:
  query: SELECT ARRAY[1] AS h, ARRAY[3] AS h_bucket, 5 AS h_count
  metrics: [h: {usage: HISTOGRAM}]
""",
        "",
        'a_h_bucket{le="1"} 3\na_h_bucket{le="+Inf"} 5\na_h_count 5\n' + error("a", "config"),
    ),
    Difference(
        "HISTOGRAM: `_bucket`, `_sum` or `_count` listed too",
        """
a:
  query: SELECT ARRAY[1] AS h, ARRAY[3] AS h_bucket, 4 AS h_sum, 5 AS h_count
  metrics: [h: {usage: HISTOGRAM}, h_sum: {usage: GAUGE}]
""",
        REFUSED,
        'a_h_bucket{le="1"} 3\na_h_bucket{le="+Inf"} 5\na_h_sum 4\na_h_count 5',
    ),
    # Names
    Difference(
        "a column without a name",
        "a: {query: SELECT 1}",
        ENDS,
        dropped("a", "invalid"),
    ),
    Difference(
        "a name that Prometheus does not allow",
        "a-b: {query: SELECT 1 AS v}\n"
        "c: {query: SELECT 1 AS \"x-y\", metrics: [x-y: {usage: GAUGE}]}\n"
        "d: {query: \"SELECT 1 AS v, 'x' AS __l\", metrics: [__l: {usage: LABEL}]}\n",
        ENDS,
        error("a-b", "config") + error("c", "config") + error("d", "config"),
    ),
    Difference(
        "the same name and labels twice",
        "a: {query: SELECT 1 AS v UNION ALL SELECT 2}",
        REFUSED,
        "a_v 1\n" + dropped("a", "duplicate"),
    ),
    Difference(
        "two queries that give one metric, with different descriptions",
        "a: {query: SELECT 1 AS b_c, metrics: [b_c: {usage: GAUGE, description: One}]}\n"
        "a_b: {query: \"SELECT 2 AS c, 'x' AS l\", metrics: [c: {usage: GAUGE, description: Two}, l: {usage: LABEL}]}",
        REFUSED,
        'a_b_c 1\na_b_c{l="x"} 2',
    ),
    Difference(
        "two queries that give one metric, with different types",
        "a: {query: SELECT 1 AS b_c, metrics: [b_c: {usage: GAUGE}]}\n"
        "a_b: {query: SELECT 2 AS c, metrics: [c: {usage: COUNTER}]}",
        REFUSED,
        "a_b_c 1\n" + error("a_b", "config"),
    ),
    Difference(
        "a metric named like a part of a HISTOGRAM",
        """
a:
  query: SELECT ARRAY[1] AS h, ARRAY[3] AS h_bucket, 4 AS h_sum, 5 AS h_count
  metrics: [h: {usage: HISTOGRAM}]
a_h: {query: SELECT 6 AS sum, metrics: [sum: {usage: GAUGE}]}
""",
        REFUSED,
        'a_h_bucket{le="1"} 3\na_h_bucket{le="+Inf"} 5\na_h_sum 4\na_h_count 5\n' + error("a_h", "config"),
    ),
    Difference(
        "a metric named `pg_up`",
        "pg: {query: SELECT 7 AS up}",
        REFUSED,
        dropped("pg", "invalid"),
    ),
    # The file
    Difference(
        "a usage in lower case",
        "a: {query: SELECT 1 AS v, metrics: [v: {usage: gauge}]}",
        "",
        "a_v 1",
    ),
    Difference(
        "a usage that does not exist",
        "a: {query: 'SELECT 1 AS v, 2 AS w', metrics: [v: {usage: GAUGE}, w: {usage: COUTNER}]}",
        "a_v 1",
        error("a", "config"),
    ),
    Difference(
        "an unknown key",
        "a: {query: SELECT 1 AS v, cached: 60}",
        "a_v 1",
        "a_v 1",
    ),
    Difference(
        "a namespace without `query`",
        "a: {metrics: [v: {usage: GAUGE}]}",
        "",
        error("a", "config"),
    ),
    Difference(
        "a listed column that the result lacks",
        "a: {query: SELECT 1 AS v, metrics: [v: {usage: GAUGE}, w: {usage: GAUGE}]}",
        "a_v 1",
        "a_v 1\n" + error("a", "config"),
    ),
    Difference(
        "`name`, `labels`, `default`, `scale`",
        """
a:
  name: b
  labels: {k: x}
  query: SELECT 1 AS v, NULL::int AS w
  metrics: [v: {usage: GAUGE, name: u, scale: 10}, w: {usage: GAUGE, default: 7}]
""",
        "a_v 1\na_w NaN",
        'b_u{k="x"} 10\nb_w{k="x"} 7',
    ),
    Difference(
        "`timeout`",
        "a: {query: SELECT 1 AS v FROM pg_sleep(0.2), timeout: 10ms}",
        "a_v 1",
        error("a", "timeout"),
    ),
    Difference(
        "`primary`, `runonserver`, `predicate_query`",
        """
a: {query: SELECT 1 AS v, runonserver: ">=99.0.0"}
b: {query: SELECT 1 AS v, predicate_query: SELECT false}
""",
        "a_v 1\nb_v 1",
        "".join(
            f'pg_exporter_query_skipped{{query="{query}",reason="{reason}"}} 1\n'
            for query, reason in {"a": "version", "b": "predicate"}.items()
        ),
    ),
    Difference(
        "`target_databases`",
        "c: {query: SELECT 1 AS v, target_databases: [other]}",
        "c_v 1",
        'pg_exporter_query_skipped{query="c",reason="database"} 1\n',
    ),
]

SECTION = re.compile(r"^### Differences from postgres_exporter$(.*?)^## ", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| (.*?) \| (?!postgres_exporter \|).* \| .* \|$", re.MULTILINE)


def test_each_row_is_shown() -> None:
    (section,) = SECTION.findall(DOCUMENT.read_text())
    assert ROW.findall(section) == [*OTHERS, *(it.row for it in DIFFERENCES)]
    assert all(test in globals() for test in OTHERS.values())


@pytest.fixture(scope="module")
def scrape_with_mistakes(
    program: Path, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., str]:
    """The exposition of a file in a database, whatever is wrong with the file."""
    file = tmp_path_factory.mktemp("differences") / "queries.yml"

    def scrape(text: str, database: str = Postgres.database) -> str:
        file.write_text(text)
        url = f"postgres://{postgres.role}:{postgres.password}@127.0.0.1:{postgres.port}/{database}"
        answer = subprocess.run(
            [program, "scrape"],
            env={"DATABASE_URL": url, "QUERIES_FILE": str(file)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    return scrape


@pytest.fixture(scope="module", autouse=True)
def what_the_queries_read(postgres: Postgres) -> None:
    """As the superuser, who owns the functions; the role of the exporter calls them with its own privileges."""
    postgres.sql("CREATE PROCEDURE nothing() LANGUAGE sql AS 'SELECT'")
    postgres.sql(f"CREATE SEQUENCE scrapes; GRANT USAGE ON SEQUENCE scrapes TO {postgres.role}")
    postgres.sql(
        """
        CREATE FUNCTION with_temporary_table() RETURNS int LANGUAGE plpgsql AS $$
        BEGIN
            CREATE TEMPORARY TABLE held AS SELECT 1 AS v;
            RETURN (SELECT v FROM held);
        END $$
        """
    )
    postgres.sql(f"CREATE DATABASE {ASCII} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0", "postgres")


@pytest.mark.parametrize("difference", DIFFERENCES, ids=[it.row for it in DIFFERENCES])
def test_difference(difference: Difference, programs: Programs, scrape_with_mistakes: Callable[..., str]) -> None:
    # With a query that both run: a file without any would be a mistake of its own.
    sound = "sound_v 1\n"
    file = f"{difference.file}\nsound: {{query: SELECT 1 AS v}}\n"
    answer = programs.postgres_exporter_answer(file, difference.database, difference.scrapes)
    if difference.former == ENDS:
        assert answer is None
    elif difference.former == REFUSED:
        assert answer and answer.status == 500
    else:
        assert answer and answer.status == 200
        assert samples(answer.text, without=("server",)) == samples(f"{difference.former}\n{sound}")
    assert samples(scrape_with_mistakes(file, difference.database)) == samples(f"{difference.here}\n{sound}")


def test_server(programs: Programs, postgres: Postgres, scrape: Scrape) -> None:
    file = "a: {query: SELECT 1 AS v}"
    server = f"127.0.0.1:{postgres.port}"
    labelled = samples(f'a_v{{server="{server}"}} 1\n')
    answer = programs.postgres_exporter_answer(file)
    assert answer and samples(answer.text) == labelled
    assert samples(scrape(file)) == samples("a_v 1\n")
    assert samples(scrape(file, EXTRA_LABELS=f"server={server}")) == labelled


def test_several_databases(programs: Programs, scrape: Scrape) -> None:
    query = "{query: 'SELECT current_database() AS d, 1 AS v', metrics: [d: {usage: LABEL}]"
    file = f"a: {query}, master: true}}\nb: {query}}}"
    answer = programs.postgres_exporter_answer(file, arguments=[*WITHOUT_BUILT_IN, "--auto-discover-databases"])
    everywhere = "".join(f'b_v{{d="{database}"}} 1\n' for database in (ASCII, "postgres", Postgres.database))
    own = f'a_v{{d="{Postgres.database}"}} 1\n'
    assert answer and samples(answer.text, without=("server",)) == samples(own + everywhere)
    assert samples(scrape(file)) == samples(f'{own}b_v{{d="{Postgres.database}"}} 1\n')


def test_built_in_metrics(programs: Programs, scrape: Scrape) -> None:
    file = "a: {query: SELECT 1 AS v}"
    answer = programs.postgres_exporter_answer(file, arguments=())
    assert answer
    former = {metric.name for metric in text_string_to_metric_families(answer.text)}
    assert {"pg_settings_max_connections", "pg_stat_database_xact_commit", "pg_locks_count", "pg_up"} < former
    here = {metric.name for metric in text_string_to_metric_families(scrape(file))}
    assert {name for name in here if not name.startswith("pg_exporter_")} == {"a_v", "pg_up"}


def samples(text: str, without: Sequence[str] = ()) -> dict[tuple, str]:
    """The samples by name and labels, each with its value and, where it has one, its time. Those that a program gives
    by itself are left out, except `STATUSES`."""
    found: dict[tuple, str] = {}
    # Without types, since the parser adds `_total` to the names of counters.
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("#")]
    for metric in text_string_to_metric_families("".join(lines)):
        for sample in metric.samples:
            if sample.name.startswith(BUILT_IN) and not sample.name.startswith(STATUSES):
                continue
            labels = {label: value for label, value in sample.labels.items() if label not in without}
            key = series(sample.name, labels)
            assert key not in found, f"{key}: a second sample of this series"
            # As text, in which NaN is NaN.
            found[key] = f"{float(sample.value)} {sample.timestamp or ''}"
    return found
