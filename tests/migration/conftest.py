"""A PostgreSQL that nobody changes but these tests, the package's program, and the programs that people have now."""

import os
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.aws import CREDENTIALS, FUNCTION, PACKAGES, SECRET, Aws
from demo.postgres import Postgres
from demo.processes import Processes, processes, stop_on_signals
from former import Programs
from nodejs import NodeJs

# States and amounts that differ, a slot that nobody reads, and what the exporter's role needs beside pg_monitor.
SHOP = """
UPDATE orders SET state = 'paid' WHERE id % 3 = 0;
UPDATE orders SET state = 'cancelled' WHERE id % 50 = 1;
UPDATE orders SET amount_cents = 500 + id WHERE id % 7 = 0;
VACUUM FULL orders;
GRANT SELECT ON orders, customers TO exporter;
SELECT pg_create_physical_replication_slot('replica');
"""

Scrape = Callable[..., str]
"""The exposition that the exporter gives for a text of queries, with these variables in its environment."""


@pytest.fixture(scope="session")
def running() -> Iterator[Processes]:
    stop_on_signals()
    with processes() as running:
        yield running


@pytest.fixture(scope="session")
def postgres(running: Processes) -> Postgres:
    server = Postgres(running)
    for statement in SHOP.strip().splitlines():
        server.sql(statement)
    return server


@pytest.fixture(scope="session")
def aws(running: Processes) -> Aws:
    return Aws(running)


@pytest.fixture(scope="session")
def secret(aws: Aws, postgres: Postgres) -> str:
    return aws.put_secret(SECRET, postgres.secret())


@pytest.fixture(scope="session")
def program(running: Processes) -> Path:
    """The package's program, under its name."""
    folder = running.folder / "package"
    with zipfile.ZipFile(PACKAGES / FUNCTION / "bootstrap.zip") as package:
        package.extract("bootstrap", folder)
    program = (folder / "bootstrap").rename(folder / FUNCTION)
    program.chmod(0o755)
    return program


@pytest.fixture(scope="session")
def scrape(program: Path, aws: Aws, secret: str) -> Scrape:
    queries = program.parent / "queries.yml"

    def scrape(text: str, **variables: str) -> str:
        queries.write_text(text)
        environment = CREDENTIALS | aws.function_environment(secret) | {"QUERIES_FILE": str(queries)}
        answer = subprocess.run(
            [program, "scrape"],
            env=environment | variables,
            cwd=queries.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        # No query fails, and nothing is warned of.
        assert (answer.returncode, answer.stderr) == (0, ""), answer.stderr
        return answer.stdout

    return scrape


@pytest.fixture(scope="session")
def programs(running: Processes, postgres: Postgres) -> Programs:
    return Programs(running, postgres)


@pytest.fixture
def nodejs(tmp_path: Path, aws: Aws, secret: str) -> Iterator[Callable[[str, dict[str, str]], NodeJs]]:
    """Starts an environment of Lambda with the text of a handler and the files beside it."""
    started: list[NodeJs] = []

    def start(handler: str, files: dict[str, str]) -> NodeJs:
        environment = {"PATH": os.environ["PATH"], "AWS_ENDPOINT_URL": aws.endpoint, "SECRET_ID": secret} | CREDENTIALS
        started.append(NodeJs(tmp_path, files | {"index.js": handler}, environment))
        return started[-1]

    yield start
    for environment in started:
        environment.stop()
