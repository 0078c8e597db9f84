"""What docs/migration.md says to do before switching; and that every file before and after is run."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from conftest import Scrape
from demo.endpoint import Endpoint
from demo.postgres import Postgres
from demo.processes import Processes
from demo.prometheus import Prometheus
from document import BEFORE, sections, snippet
from nodejs import NodeJs
from test_nodejs import CODE, DEFAULT

# Each by a test of these.
RUN = [
    "Metrics in code",
    "Metrics from a file",
    "postgres_exporter",
    "CloudNativePG",
    "sql_exporter with collectors",
    "sql_exporter with jobs",
    "query-exporter",
]


def test_each_section_with_a_before_and_an_after_is_run() -> None:
    found = sections()
    assert [title for title, snippets in found.items() if BEFORE & set(snippets)] == RUN
    assert [title for title, snippets in found.items() if "yaml" in snippets] == RUN


def serving(text: str) -> ThreadingHTTPServer:
    """A server that answers every request with this exposition."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@dataclass(frozen=True)
class Both:
    """What the handler has answered and, after a state was given up, the exporter; and where that is answered again."""

    texts: dict[str, str]
    urls: dict[str, str]


@pytest.fixture
def both(nodejs: Callable[[str, dict[str, str]], NodeJs], scrape: Scrape, postgres: Postgres) -> Iterator[Both]:
    postgres.sql("INSERT INTO orders (customer, state, amount_cents) VALUES (1, 'odd', 100)")
    old = nodejs(snippet(CODE, "js"), {}).exposition()
    postgres.sql("UPDATE orders SET state = 'paid' WHERE state = 'odd'")
    texts = {"old": old, "new": scrape(snippet(CODE, "yaml"))}
    servers = {job: serving(text) for job, text in texts.items()}
    yield Both(texts, {job: f"http://127.0.0.1:{server.server_port}" for job, server in servers.items()})
    for server in servers.values():
        server.shutdown()


def test_comparing_in_prometheus(running: Processes, both: Both) -> None:
    prometheus = Prometheus(running, {job: Endpoint(url, url) for job, url in both.urls.items()}, interval="1s")
    for job in both.urls:
        prometheus.wait_for_job(job)
    names, series, values = (
        [dict(labels) for labels in prometheus.query(expression)]
        for expression in sections()["Comparing"]["promql"]
    )
    lacking = {labels["__name__"] for labels in names}
    assert "nodejs_eventloop_lag_seconds" in lacking
    assert {name for name in lacking if not name.startswith(DEFAULT)} == set()
    assert [(labels["state"], labels["job"]) for labels in series] == [("odd", "old")]
    assert [labels["state"] for labels in values] == ["paid"]


def test_comparing_in_a_terminal(program: Path, postgres: Postgres, both: Both, tmp_path: Path) -> None:
    (tmp_path / "queries.yml").write_text(snippet(CODE, "yaml"))
    commands = snippet("Comparing", "bash")
    url = f"postgres://{postgres.role}:{postgres.password}@127.0.0.1:{postgres.port}/{postgres.database}"
    for documented, here in {"http://former:9187": both.urls["old"], "postgres://scraper@localhost/shop": url}.items():
        assert documented in commands
        commands = commands.replace(documented, here)
    answer = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        env={"PATH": f"{program.parent}:{os.environ['PATH']}"},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert (answer.returncode, answer.stderr) == (0, ""), answer.stderr
    lacking = {line for line in answer.stdout.splitlines() if not line.startswith(DEFAULT)}
    assert lacking == {'shop_orders_count{state="odd"}', 'shop_orders_cents{state="odd"}'}
