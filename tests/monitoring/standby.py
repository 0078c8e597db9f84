"""A standby of the demo's PostgreSQL, so that what replication tells is there to be seen."""

import os
import shutil
import signal
import subprocess

from demo.postgres import SETTINGS, Postgres, binaries
from demo.processes import Processes, as_user


class Standby:
    """A running copy of `primary` that streams its write-ahead log."""

    def __init__(self, running: Processes, primary: Postgres) -> None:
        self._primary = primary
        self.port = running.port()
        # PostgreSQL refuses to run as root, as in demo/postgres.py.
        user = "postgres" if os.geteuid() == 0 else None
        folder = running.folder / "standby"
        folder.mkdir(mode=0o700)
        if user:
            shutil.chown(folder, user, user)
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C"}
        socket = running.folder / "postgres"
        copy = [binaries() / "pg_basebackup", "--host", socket, "--port", str(primary.port), "--username", "postgres"]
        copy += ["--pgdata", folder / "data", "--checkpoint", "fast", "--no-sync"]
        subprocess.run(copy, env=environment, cwd=folder, check=True, **as_user(user))
        (folder / "data" / "standby.signal").touch()
        # What pg_basebackup writes names all settings of its libpq, and the server's may be older and refuse them.
        connection = {"primary_conninfo": f"host={socket} port={primary.port} user=postgres"}
        settings = [f"--{name}={value}" for name, value in (SETTINGS | connection).items()]
        command = [binaries() / "postgres", "-D", folder / "data", "-k", folder, "-p", self.port, *settings]
        running.start("standby", command, environment, folder, user, signal.SIGINT)
        streams = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
        running.wait_for("the standby", lambda: primary.sql(streams) == "1")

    def secret(self) -> dict[str, str | int]:
        """The credentials of the exporter's role, which are those of the primary."""
        return self._primary.secret() | {"port": self.port}
