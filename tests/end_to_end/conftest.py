"""One PostgreSQL, one stand-in for AWS with the deployed package, and one Prometheus for all tests."""

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import extremes
import latency
import leaks
import pytest

from demo import emulator
from demo.aws import CHECKOUT, SECRET, Aws
from demo.endpoint import Endpoint
from demo.postgres import Postgres
from demo.processes import Child, Processes, processes, stop_on_signals
from demo.prometheus import Prometheus

sys.path.insert(0, str(CHECKOUT / "tests"))

# The ways to the function that are tested. `make run` is the HTTP API's too.
WAYS = ["http-api", "rest-api", "emulator"]

FunctionWith = Callable[[str, Path], tuple[Endpoint, Child]]
"""Starts the function of the package, with a name and a file of queries."""


@pytest.fixture(scope="session")
def running() -> Iterator[Processes]:
    stop_on_signals()
    with processes() as running:
        yield running
        # Ended, the last first, all of them have written what they write.
        while running.children:
            running.stop(running.children[-1])
        leaks.check_logs(running.folder)


@pytest.fixture(scope="session")
def postgres(running: Processes) -> Postgres:
    server = Postgres(running)
    leaks.register(server.password)
    server.keep_busy()
    return server


@pytest.fixture(scope="session")
def aws(running: Processes) -> Iterator[Aws]:
    aws = Aws(running)
    yield aws
    leaks.check("the function's log in the AWS stand-in", aws.function_log())


@pytest.fixture(scope="session")
def secret(aws: Aws, postgres: Postgres) -> str:
    """Where the function finds the database."""
    return aws.put_secret(SECRET, postgres.secret())


@pytest.fixture(scope="session")
def endpoints(running: Processes, aws: Aws, secret: str) -> dict[str, Endpoint]:
    """Each of the ways to the function."""
    function = aws.deploy(secret)
    return {
        "http-api": aws.http_api(function),
        "rest-api": aws.rest_api(function),
        "emulator": emulator.run_package(running, aws.function_environment(secret))[0],
    }


@pytest.fixture(scope="session")
def function_with(running: Processes, aws: Aws, secret: str) -> FunctionWith:
    def start(name: str, queries: Path) -> tuple[Endpoint, Child]:
        environment = aws.function_environment(secret) | {"QUERIES_FILE": str(queries)}
        return emulator.run_package(running, environment, name)

    return start


@pytest.fixture(scope="session")
def latency_jobs(function_with: FunctionWith, postgres: Postgres) -> Iterator[dict[str, Endpoint]]:
    """The queries of latency.yml in either format, by the names of Prometheus's jobs."""
    postgres.sql(latency.table(postgres.role))
    endpoint, _ = function_with("latency", latency.QUERIES)
    with asking_for_text(endpoint) as text:
        yield {"latency-openmetrics": endpoint, "latency-text": text}


@pytest.fixture(scope="session")
def extremes_jobs(function_with: FunctionWith, postgres: Postgres, running: Processes) -> Iterator[dict[str, Endpoint]]:
    """The same with the queries of extremes.py."""
    postgres.sql(extremes.tables(postgres.role))
    queries = running.folder / "extremes.yml"
    queries.write_text(json.dumps(extremes.QUERIES, ensure_ascii=False))  # Which is YAML; surrogates would not be.
    endpoint, _ = function_with("extremes", queries)
    with asking_for_text(endpoint) as text:
        yield {"extremes-openmetrics": endpoint, "extremes-text": text}


@contextlib.contextmanager
def asking_for_text(endpoint: Endpoint) -> Iterator[Endpoint]:
    """A server that asks the endpoint as a scraper does that knows no OpenMetrics. Prometheus itself prefers that."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = endpoint.get(self.path, Accept="text/plain;version=0.0.4")
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        yield Endpoint(url, url)
        server.shutdown()


@pytest.fixture(scope="session")
def prometheus(
    running: Processes,
    endpoints: dict[str, Endpoint],
    latency_jobs: dict[str, Endpoint],
    extremes_jobs: dict[str, Endpoint],
) -> Prometheus:
    return Prometheus(running, endpoints | latency_jobs | extremes_jobs, interval="2s")


@pytest.fixture
def endpoint(endpoints: dict[str, Endpoint], way: str) -> Endpoint:
    return endpoints[way]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return request.param
