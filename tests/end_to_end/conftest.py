"""One PostgreSQL, one stand-in for AWS with the deployed package, and one Prometheus for all tests."""

from collections.abc import Iterator

import pytest

from demo import emulator
from demo.aws import SECRET, Aws
from demo.postgres import Postgres
from demo.processes import Processes, processes
from demo.prometheus import Job, Prometheus

# The ways to the function that are tested. `make run` is the HTTP API's too.
WAYS = ["http-api", "rest-api", "emulator"]


@pytest.fixture(scope="session")
def running() -> Iterator[Processes]:
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
def urls(running: Processes, aws: Aws, postgres: Postgres) -> dict[str, str]:
    """What to scrape on each of the ways to the function."""
    secret = aws.put_secret(SECRET, postgres.secret())
    function = aws.deploy(secret)
    urls = {
        "http-api": aws.http_api(function),
        "rest-api": aws.rest_api(function),
        "emulator": emulator.package_url(running, aws.function_environment(secret)),
    }
    return {way: f"{url}/metrics" for way, url in urls.items()}


@pytest.fixture(scope="session")
def prometheus(running: Processes, aws: Aws, urls: dict[str, str]) -> Prometheus:
    jobs = [Job(way, url, None if way == "emulator" else aws.endpoint) for way, url in urls.items()]
    return Prometheus(running, jobs, interval="2s")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return request.param
