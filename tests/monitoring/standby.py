"""Copies of the demo's PostgreSQL: a standby, so that what replication tells is there to be seen, and a restored server."""

import os
import shutil
import signal
import subprocess

from demo.postgres import SETTINGS, Postgres, binaries
from demo.processes import Processes, as_user


class Copy:
    """A running copy of `primary`, which is a standby by the signal file `standby.signal` and restored by
    `recovery.signal`."""

    def __init__(
        self, running: Processes, primary: Postgres, name: str, signal_file: str, settings: dict[str, str]
    ) -> None:
        self._running, self._primary, self._name = running, primary, name
        self.port = running.port()
        # PostgreSQL refuses to run as root, as in demo/postgres.py.
        self._user = "postgres" if os.geteuid() == 0 else None
        self._folder = running.folder / name
        self._folder.mkdir(mode=0o700)
        if self._user:
            shutil.chown(self._folder, self._user, self._user)
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(self._folder), "LC_ALL": "C"}
        copy = [binaries() / "pg_basebackup", "--host", running.folder / "postgres", "--port", str(primary.port)]
        copy += ["--username", "postgres", "--pgdata", self._folder / "data", "--checkpoint", "fast", "--no-sync"]
        subprocess.run(copy, env=self._environment, cwd=self._folder, check=True, **as_user(self._user))
        (self._folder / "data" / signal_file).touch()
        self._settings = SETTINGS | settings
        self.start()

    def start(self) -> None:
        """Starts it, for the first time or again."""
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        command = [binaries() / "postgres", "-D", self._folder / "data", "-k", self._folder, "-p", self.port, *settings]
        self._server = self._running.start(
            self._name, command, self._environment, self._folder, self._user, signal.SIGINT
        )
        self._running.wait_for(self._name, lambda: self.sql("SELECT 1") == "1")

    def stop(self) -> None:
        """Stops it."""
        self._running.stop(self._server)

    def sql(self, statements: str, database: str | None = None) -> str:
        """What psql answers, as the superuser, or an empty text without a server."""
        command = [binaries() / "psql", "-h", self._folder, "-p", str(self.port), "-U", "postgres", "-qXAt"]
        command += ["-d", database or self._primary.database, "-c", statements]
        answer = subprocess.run(command, env=self._environment, cwd=self._folder, capture_output=True, text=True)
        return answer.stdout.strip()

    def secret(self) -> dict[str, str | int]:
        """The credentials of the exporter's role, which are those of the primary."""
        return self._primary.secret() | {"port": self.port}


class Standby(Copy):
    """A running copy of `primary` that streams its write-ahead log, from a slot if it has a name."""

    def __init__(self, running: Processes, primary: Postgres, name: str = "standby", slot: str = "") -> None:
        # What pg_basebackup writes names all settings of its libpq, and the server's may be older and refuse them.
        source = f"host={running.folder / 'postgres'} port={primary.port} user=postgres application_name={name}"
        settings = {"primary_conninfo": source, "hot_standby_feedback": "on", "primary_slot_name": slot}
        super().__init__(running, primary, name, "standby.signal", settings)
        streams = f"SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND application_name = '{name}'"
        running.wait_for(f"{name} to stream", lambda: primary.sql(streams) == "1")


class Restored(Copy):
    """A server that was just restored from a backup: it has recovered, and is a primary of its own."""

    def __init__(self, running: Processes, primary: Postgres) -> None:
        settings = {"restore_command": "false", "recovery_target_action": "promote"}
        super().__init__(running, primary, "restored", "recovery.signal", settings)
        running.wait_for("the end of the recovery", lambda: self.sql("SELECT pg_is_in_recovery()") == "f")
