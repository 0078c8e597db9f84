"""A PostgreSQL server in a temporary folder, a shop that keeps it busy, and the role that the exporter uses."""

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from demo.processes import Child, Failure, Processes

HERE = Path(__file__).parent

# Nothing here has to survive a crash.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_permissions": "0700",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "32MB",
    "track_io_timing": "on",
    "timezone": "UTC",
}
STATEMENTS = "pg_stat_statements"


class Postgres:
    """A running server with the database `shop`."""

    database = "shop"
    role = "exporter"

    def __init__(self, processes: Processes, max_connections: int = 50) -> None:
        self._processes = processes
        self._settings = SETTINGS | {"max_connections": str(max_connections)}
        self._binaries = binaries()
        # PostgreSQL refuses to run as root. Debian's packages bring a user for it.
        self._user = "postgres" if os.geteuid() == 0 else None
        self._folder = processes.folder / "postgres"
        self._folder.mkdir(mode=0o700)
        if self._user:
            shutil.chown(self._folder, self._user, self._user)
        self.port = processes.port()
        self.password = secrets.token_urlsafe(16)
        self._data = self._folder / "data"
        self._initialize()
        self.start()
        self.sql(f"CREATE ROLE {self.role} LOGIN PASSWORD '{self.password}' IN ROLE pg_monitor", "postgres")
        self.sql(f"CREATE DATABASE {self.database}", "postgres")
        # A query on the shop's own tables is what somebody tries first.
        self.sql(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {self.role}")
        self.sql((HERE / "shop.sql").read_text())
        if self._has_statements():
            self.sql(f"CREATE EXTENSION {STATEMENTS}")

    def start(self) -> None:
        """Starts the server, for the first time or again."""
        preloaded = {"shared_preload_libraries": STATEMENTS} if self._has_statements() else {}
        settings = [f"--{name}={value}" for name, value in (self._settings | preloaded).items()]
        command = [self._binaries / "postgres", "-D", self._data, "-k", self._folder, "-p", self.port, *settings]
        self._server = self._run("postgres", command, signal.SIGINT)
        ready = [self._binaries / "pg_isready", "--quiet", "--host", "127.0.0.1", "--port", str(self.port)]
        self._processes.wait_for("PostgreSQL", lambda: subprocess.run(ready).returncode == 0)

    def stop(self) -> None:
        """Stops the server. Whoever keeps it busy would end with it."""
        self._processes.stop(self._server)

    def secret(self) -> dict[str, str | int]:
        """The credentials of the exporter's role, as RDS writes them into Secrets Manager."""
        return {
            "engine": "postgres",
            "host": "127.0.0.1",
            "port": self.port,
            "username": self.role,
            "password": self.password,
            "dbname": self.database,
        }

    def psql(self) -> str:
        """The command with which a person looks at the database, as the exporter does."""
        program = "psql" if shutil.which("psql") else self._binaries / "psql"
        return f"{program} postgres://{self.role}:{self.password}@127.0.0.1:{self.port}/{self.database}"

    def tables(self) -> list[str]:
        """The names of the shop's tables."""
        return self.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1").splitlines()

    def sql(self, statements: str, database: str | None = None) -> str:
        """What psql answers, as the superuser, unaligned and without headers."""
        command = [self._binaries / "psql", *self._psql_arguments(database), "-c", statements]
        return self._answer(command)

    def keep_busy(self) -> None:
        """A few connections that order, pay, change their mind and think: about 40 transactions a second."""
        self._pgbench("orders", clients=3, per_second=40)
        self._pgbench("thinking", clients=2, per_second=1)

    def go_wrong(self) -> None:
        """What alerts are for: a transaction that stays open, an UPDATE that waits for it, a slot without its standby,
        and a sequence near its end."""
        self.sql((HERE / "neglect.sql").read_text())
        # pg_monitor may not read sequences.
        self.sql(f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {self.role}")
        self._pgbench("forgotten")
        held = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND query LIKE 'UPDATE cust%'"
        self._processes.wait_for("the forgotten transaction", lambda: self.sql(held) == "1")
        self._pgbench("waiting")

    def _answer(self, command: Sequence[str | Path]) -> str:
        """What a program prints that ends by itself."""
        answer = self._processes.run(command, self._environment(), self._folder, self._user)
        if answer.returncode:
            raise Failure(f"{Path(command[0]).name}: {answer.stderr.strip()}")
        return answer.stdout.strip()

    def _initialize(self) -> None:
        initdb = [self._binaries / "initdb", "--pgdata", self._data, "--username", "postgres", "--no-sync"]
        initdb += ["--encoding", "UTF8", "--no-locale", "--data-checksums"]
        initdb += ["--auth-local", "trust", "--auth-host", "scram-sha-256"]
        self._answer(initdb)

    def _has_statements(self) -> bool:
        """Whether the server comes with pg_stat_statements, which some distributions package apart."""
        return any((self._binaries.parent / "lib").rglob(f"{STATEMENTS}.so"))

    def _pgbench(self, name: str, clients: int = 1, per_second: int | None = None) -> None:
        command = [self._binaries / "pgbench", "--no-vacuum", "--host", self._folder, "--port", self.port]
        command += ["--username", "postgres", "--client", clients]
        command += ["--rate", per_second] if per_second else []
        # The server's user may be kept from reading the checkout.
        script = self._folder / f"{name}.sql"
        shutil.copyfile(HERE / script.name, script)
        command += ["--time", 7 * 24 * 3600, "--file", script, self.database]
        self._run(name, command)

    def _run(self, name: str, command: list, stop_signal: signal.Signals = signal.SIGTERM) -> Child:
        environment = self._environment()
        return self._processes.start(name, command, environment, self._folder, self._user, stop_signal)

    def _psql_arguments(self, database: str | None) -> list[str]:
        where = ["--host", str(self._folder), "--port", str(self.port), "--dbname", database or self.database]
        return ["-XAtq", "--set", "ON_ERROR_STOP=1", "--username", "postgres", *where]

    def _environment(self) -> dict[str, str]:
        # Without the caller's PGHOST, PGSSLMODE and so on, and without the languages of messages.
        return {"PATH": os.environ["PATH"], "HOME": str(self._folder), "LC_ALL": "C"}


def binaries() -> Path:
    """The folder of the PostgreSQL server to run: `PG_BIN`, or the newest on this machine. Debian keeps them out of
    PATH."""
    if chosen := os.environ.get("PG_BIN"):
        if not Path(chosen, "initdb").exists():
            raise Failure(f"PG_BIN={chosen} has no initdb")
        return Path(chosen).resolve()
    debian = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    found = sorted(debian, key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    if initdb := shutil.which("initdb"):
        return Path(initdb).resolve().parent
    raise Failure("no PostgreSQL server found: install the package postgresql")
