"""One PostgreSQL, one stand-in for AWS with the deployed package, and one Prometheus for all tests."""

from collections.abc import Iterator

import pytest

from demo import emulator
from demo.aws import SECRET, Aws
from demo.endpoint import Endpoint
from demo.postgres import Postgres
from demo.processes import Processes, processes, stop_on_signals
from demo.prometheus import Prometheus

# The ways to the function that are tested. `make run` is the HTTP API's too.
WAYS = ["http-api", "rest-api", "emulator"]


@pytest.fixture(scope="session")
def running() -> Iterator[Processes]:
    stop_on_signals()
    with processes() as running:
        yield running


@pytest.fixture(scope="session")
def postgres(running: Processes) -> Postgres:
    server = Postgres(running)
    server.keep_busy()
    return server


@pytest.fixture(scope="session")
def aws(running: Processes) -> Aws:
    return Aws(running)


@pytest.fixture(scope="session")
def endpoints(running: Processes, aws: Aws, postgres: Postgres) -> dict[str, Endpoint]:
    """Each of the ways to the function."""
    secret = aws.put_secret(SECRET, postgres.secret())
    function = aws.deploy(secret)
    return {
        "http-api": aws.http_api(function),
        "rest-api": aws.rest_api(function),
        "emulator": emulator.run_package(running, aws.function_environment(secret)),
    }


@pytest.fixture(scope="session")
def prometheus(running: Processes, endpoints: dict[str, Endpoint]) -> Prometheus:
    return Prometheus(running, endpoints, interval="2s")


@pytest.fixture
def endpoint(endpoints: dict[str, Endpoint], way: str) -> Endpoint:
    return endpoints[way]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return request.param
