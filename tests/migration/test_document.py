"""What docs/migration.md says to do before switching, in a real Prometheus; and that all of it is run."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import test_nodejs
from conftest import Scrape
from demo.endpoint import Endpoint
from demo.postgres import Postgres
from demo.processes import Processes
from demo.prometheus import Prometheus
from document import BEFORE, sections, snippet
from nodejs import NodeJs

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


@pytest.fixture
def prometheus(
    running: Processes, nodejs: Callable[[str, dict[str, str]], NodeJs], scrape: Scrape, postgres: Postgres
) -> Iterator[Prometheus]:
    """It scrapes the handler's answer as `old` and, after a state was given up, the exporter's as `new`."""
    postgres.sql("INSERT INTO orders (customer, state, amount_cents) VALUES (1, 'odd', 100)")
    old = test_nodejs.exposition(nodejs(snippet(test_nodejs.CODE, "js"), {}))
    postgres.sql("UPDATE orders SET state = 'paid' WHERE state = 'odd'")
    new = scrape(snippet(test_nodejs.CODE, "yaml"))
    servers = {"old": serving(old), "new": serving(new)}
    urls = {job: f"http://127.0.0.1:{server.server_port}" for job, server in servers.items()}
    prometheus = Prometheus(running, {job: Endpoint(url, url) for job, url in urls.items()}, interval="1s")
    for job in servers:
        prometheus.wait_for_job(job)
    yield prometheus
    for server in servers.values():
        server.shutdown()


def test_comparing(prometheus: Prometheus) -> None:
    names, series, values = (
        {frozenset(labels): value for labels, value in prometheus.query(expression).items()}
        for expression in sections()["Comparing"]["promql"]
    )
    lacking = {dict(labels)["__name__"] for labels in names}
    assert "nodejs_eventloop_lag_seconds" in lacking
    assert {name for name in lacking if not name.startswith(test_nodejs.DEFAULT)} == set()
    assert [(dict(labels)["state"], dict(labels)["job"]) for labels in series] == [("odd", "old")]
    assert [dict(labels)["state"] for labels in values] == ["paid"]
