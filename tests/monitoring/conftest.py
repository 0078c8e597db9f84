"""A PostgreSQL that may be stopped, the deployed package, a Prometheus with the rules and an Alertmanager."""

from collections.abc import Iterator

import pytest

from demo import emulator
from demo.alertmanager import Alertmanager
from demo.aws import SECRET, Aws
from demo.postgres import Postgres
from demo.processes import Processes, processes, stop_on_signals
from demo.prometheus import Prometheus
from jobs import CLOSED, OPEN
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
    secret = aws.put_secret(SECRET, postgres.secret())
    open_to_all = aws.function_environment(secret)
    unconfigured = {name: value for name, value in open_to_all.items() if name != "AUTH"}
    jobs = {OPEN: aws.http_api(aws.deploy(secret)), CLOSED: emulator.run_package(running, unconfigured)[0]}
    return Prometheus(running, jobs, interval="2s", alertmanager=alertmanager.url)
