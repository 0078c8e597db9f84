"""The programs that people come from, each with a file of its own form, and what they expose."""

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from demo.endpoint import Answer, get
from demo.postgres import Postgres
from demo.processes import Child, Failure, Processes

POSTGRES_EXPORTER = "prometheus-postgres-exporter"
ARGUMENTS = ["--extend.query-path={file}", "--web.listen-address=127.0.0.1:{port}"]
WITHOUT_BUILT_IN = ["--disable-default-metrics", "--disable-settings-metrics"]
WITHOUT_BUILT_IN += ["--no-collector.database", "--no-collector.bgwriter"]


class Programs:
    """Starts them on the database and asks them once."""

    def __init__(self, processes: Processes, postgres: Postgres) -> None:
        self._processes = processes
        self._postgres = postgres

    def dsn(self, scheme: str) -> str:
        """Where the database is, as a URL."""
        role, password = self._postgres.role, self._postgres.password
        where = f"127.0.0.1:{self._postgres.port}/{self._postgres.database}"
        return f"{scheme}://{role}:{password}@{where}?sslmode=disable"

    def postgres_exporter(self, file: str, *awaited: str) -> str:
        """With few of its built-in queries, which are none of the file's."""
        command = [installed(POSTGRES_EXPORTER), *ARGUMENTS, *WITHOUT_BUILT_IN]
        return self._ask("postgres_exporter", command, file, {"DATA_SOURCE_NAME": self.dsn("postgres")}, awaited)

    def postgres_exporter_answer(
        self,
        file: str,
        database: str = Postgres.database,
        scrapes: int = 1,
        arguments: Sequence[str] = WITHOUT_BUILT_IN,
    ) -> Answer | None:
        """The answer to the last of `scrapes`, whatever its status is; None if the process ends instead."""
        # With --auto-discover-databases, it does not take every URL.
        where = f"host=127.0.0.1 port={self._postgres.port} dbname={database} sslmode=disable"
        variables = {"DATA_SOURCE_NAME": f"{where} user={self._postgres.role} password={self._postgres.password}"}
        command = [installed(POSTGRES_EXPORTER), *ARGUMENTS, *arguments]
        child, listens = self._start("postgres_exporter", command, file, variables)
        try:
            self._processes.wait_for("postgres_exporter", lambda: get(f"http://127.0.0.1:{listens}/").status == 200)
            for _ in range(scrapes):
                answer = get(f"http://127.0.0.1:{listens}/metrics")
            return answer
        except OSError:
            child.process.wait(10)
            return None
        finally:
            self._processes.stop(child)

    def sql_exporter(self, file: str, *awaited: str) -> str:
        """That with `jobs`."""
        command = [installed("prometheus-sql-exporter"), "-config.file={file}"]
        command += ["-web.listen-address=127.0.0.1:{port}"]
        return self._ask("sql_exporter", command, file, {}, awaited)

    def query_exporter(self, file: str, *awaited: str) -> str:
        """With the database in `SHOP_DSN`."""
        program = Path(sys.executable).parent / "query-exporter"
        command = [str(program), "--config={file}", "--host=127.0.0.1", "--port={port}"]
        return self._ask("query_exporter", command, file, {"SHOP_DSN": self.dsn("postgresql+psycopg2")}, awaited)

    def _ask(
        self, name: str, command: list[str], text: str, variables: Mapping[str, str], awaited: Sequence[str]
    ) -> str:
        """The exposition, as soon as it has all of `awaited`: some of them run their queries when they like."""
        child, listens = self._start(name, command, text, variables)
        try:
            return self._processes.wait_for(f"the series of {name}", exposition_with(awaited, listens), 30)
        except Failure as failure:
            raise Failure(f"{failure}: {child.log.read_text()[-2000:]}") from failure
        finally:
            self._processes.stop(child)

    def _start(self, name: str, command: list[str], text: str, variables: Mapping[str, str]) -> tuple[Child, int]:
        """The process, and the port that it listens on."""
        file = self._processes.folder / f"{name}.yml"
        file.write_text(text)
        listens = self._processes.port()
        words = [word.format(file=file, port=listens) for word in command]
        return self._processes.start(name, words, {"PATH": os.environ["PATH"], **variables}), listens


def exposition_with(awaited: Sequence[str], listens: int) -> Callable[[], str | None]:
    """Asks once."""

    def ask() -> str | None:
        answer = get(f"http://127.0.0.1:{listens}/metrics").text
        return answer if all(series in answer for series in awaited) else None

    return ask


def installed(package: str) -> str:
    """The program of a Debian package, which has its name."""
    program = shutil.which(package)
    if not program:
        raise Failure(f"no {package} found: `demo/packages.sh {package}` installs it")
    return program
