"""A PostgreSQL that may be stopped, the deployed package, a Prometheus with the rules and an Alertmanager."""

from collections.abc import Iterator

import pytest

from demo.aws import FUNCTION, SECRET, Aws
from demo.alertmanager import Alertmanager
from demo.postgres import Postgres
from demo.processes import Processes, processes, stop_on_signals
from demo.prometheus import Prometheus
from receivers import Receivers


@pytest.fixture(scope="session")
def running() -> Iterator[Processes]:
    stop_on_signals()
    with processes() as running:
        yield running


@pytest.fixture(scope="session")
def postgres(running: Processes) -> Postgres:
    """Nobody keeps it busy, since nobody who does survives its end."""
    return Postgres(running)


@pytest.fixture(scope="session")
def receivers() -> Iterator[Receivers]:
    with Receivers() as receivers:
        yield receivers


@pytest.fixture(scope="session")
def alertmanager(running: Processes, receivers: Receivers) -> Alertmanager:
    return Alertmanager(running, receivers.url)


@pytest.fixture(scope="session")
def prometheus(running: Processes, postgres: Postgres, alertmanager: Alertmanager) -> Prometheus:
    aws = Aws(running)
    endpoint = aws.http_api(aws.deploy(aws.put_secret(SECRET, postgres.secret())))
    return Prometheus(running, {FUNCTION: endpoint}, interval="2s", alertmanager=alertmanager.url)
