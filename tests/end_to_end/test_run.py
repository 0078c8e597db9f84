"""`make run` as a newcomer uses it: what it prints works, and whichever way it ends, nothing is left behind."""

import contextlib
import ipaddress
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.aws import CHECKOUT, FUNCTION, PACKAGES
from demo.endpoint import get


class Run:
    """A `make run` in a session of its own, like one in a terminal, and a temporary folder that only it uses."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.output = folder.with_suffix(".log")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        # Any that is free.
        settings = {"AWS_PORT": "0", "PROMETHEUS_PORT": "0"} | settings
        with self.output.open("wb") as output:
            self.make = subprocess.Popen(
                ["make", "run", *(f"{name}={value}" for name, value in settings.items())],
                cwd=CHECKOUT,
                env=environment | {"TMPDIR": str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def printed(self) -> str:
        return self.output.read_text()

    def wait_until_it_serves(self) -> None:
        wait_for(lambda: "Ctrl-C stops everything" in self.printed() or self.make.poll() is not None)
        assert self.make.poll() is None, self.printed()

    def descendants(self) -> set[tuple[int, str]]:
        """All processes that came of it, by id and start time."""
        return descendants(self.make.pid)


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not pytest's own, which other users cannot enter: as root, PostgreSQL runs as one.
    folder = Path(tempfile.mkdtemp(prefix="make-run-"))
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)
    folder.with_suffix(".log").unlink(missing_ok=True)


def test_from_the_first_scrape_to_ctrl_c(folder: Path, tmp_path: Path) -> None:
    run = Run(folder, PROMETHEUS="1")
    try:
        run.wait_until_it_serves()
        head, rest = re.split(r"^pg_up 1(?:\.0)?\n\.\.\.$", run.printed(), maxsplit=1, flags=re.MULTILINE)
        assert "# HELP pg_database_" in head
        assert int(re.search(r"^(\d+) series", rest, re.MULTILINE).group(1)) > 50

        command = re.search(r"^    (curl .*)$", rest, re.MULTILINE).group(1)
        exposition = subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout
        assert re.search(r"^pg_up 1(\.0)?$", exposition, re.MULTILINE)
        assert "\npg_settings_max_connections 50\n" in exposition

        landing = re.search(r"^Landing page: (http://\S+)$", rest, re.MULTILINE).group(1)
        page = subprocess.run(["curl", "--silent", "--fail", landing], capture_output=True, text=True, check=True).stdout
        assert "<title>pg-lambda-exporter</title>" in page

        with zipfile.ZipFile(PACKAGES / FUNCTION / "bootstrap.zip") as package:
            program = Path(package.extract("bootstrap", tmp_path))
        program.chmod(0o755)
        verify = [program, "verify", command.split()[-1]]
        verified = subprocess.run(verify, capture_output=True, text=True)
        assert (verified.returncode, verified.stdout.startswith("ok: ")) == (0, True), verified

        tables = re.search(r"^Tables of the database: (.+)\. To query them:$", rest, re.MULTILINE).group(1).split(", ")
        assert tables == ["customers", "orders", "visits"]
        psql = re.search(r"^    (\S*psql .*)$", rest, re.MULTILINE).group(1)
        for table in tables:
            select = f"{psql} -XAtc 'SELECT count(*) > 0 FROM {table}'"
            assert subprocess.run(select, shell=True, capture_output=True, text=True).stdout == "t\n", table

        assert listening(run.descendants()) <= {"127.0.0.1", "::1"}

        prometheus = re.search(r"^Prometheus .* (http://\S+)$", rest, re.MULTILINE).group(1)
        wait_for(lambda: answer(prometheus, 'up{job="pg-lambda-exporter"}') == 1)
        wait_for(lambda: answer(prometheus, 'pg_up{job="pg-lambda-exporter"}') == 1)
        assert answer(prometheus, 'count({job="pg-lambda-exporter"})') > 50

        soon = re.search(r"^This database has troubles. Within a minute fire:\n((?:    \S+\n)+)", rest, re.MULTILINE)
        wait_for(lambda: set(soon.group(1).split()) <= firing(prometheus))

        started = run.descendants()
        assert len(started) > 5
        os.killpg(run.make.pid, signal.SIGINT)
        run.make.wait(30)
        assert_gone(started)
        assert list(folder.iterdir()) == []
    finally:
        end(run)


def test_sigterm(folder: Path) -> None:
    run = Run(folder)
    try:
        run.wait_until_it_serves()
        started = run.descendants()
        run.make.terminate()
        run.make.wait(30)
        wait_for(lambda: not living(started))
        assert list(folder.iterdir()) == []
    finally:
        end(run)


def test_even_sigkill_leaves_no_process(folder: Path) -> None:
    run = Run(folder)
    try:
        run.wait_until_it_serves()
        started = run.descendants()
        run.make.kill()
        run.make.wait(30)
        wait_for(lambda: not living(started))
        assert list(folder.iterdir()) == []
    finally:
        end(run)


def test_a_failure_half_way(folder: Path) -> None:
    run = Run(folder, PROMETHEUS="1", PROMETHEUS_PORT="nonsense")
    try:
        assert run.make.wait(120) != 0
        assert "make run: PROMETHEUS_PORT: not a port" in run.printed()
        assert "Traceback" not in run.printed()
        assert run.descendants() == set()
        assert list(folder.iterdir()) == []
    finally:
        end(run)


def descendants(ancestor: int) -> set[tuple[int, str]]:
    """All processes that came of one, by id and start time."""
    children: dict[int, list[tuple[int, str]]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, fields = int(stat.parent.name), stat.read_text().rpartition(")")[2].split()
        except OSError:  # It has just ended.
            continue
        children.setdefault(int(fields[1]), []).append((number, fields[19]))
    found: set[tuple[int, str]] = set()
    generation = children.get(ancestor, [])
    while generation:
        found.update(generation)
        generation = [child for number, _ in generation for child in children.get(number, [])]
    return found


def listening(processes: set[tuple[int, str]]) -> set[str]:
    """The addresses at which any of `processes` accepts TCP connections."""
    inodes = set()
    for number, _ in processes:
        for descriptor in Path(f"/proc/{number}/fd").glob("*"):
            with contextlib.suppress(OSError):
                inodes.add(os.readlink(descriptor).removeprefix("socket:[").removesuffix("]"))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.add(address(fields[1].partition(":")[0]))
    assert found
    return found


def address(hexadecimal: str) -> str:
    """An address as /proc/net has it: words of 32 bits in the order of this machine."""
    words = [int(hexadecimal[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(hexadecimal), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def answer(prometheus: str, expression: str) -> float | None:
    """The value of the one series that Prometheus has for `expression`."""
    url = f"{prometheus}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
    result = json.loads(get(url).body)["data"]["result"]
    return float(result[0]["value"][1]) if result else None


def firing(prometheus: str) -> set[str]:
    """The names of the alerts that fire."""
    alerts = json.loads(get(f"{prometheus}/api/v1/alerts").body)["data"]["alerts"]
    return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


def living(processes: set[tuple[int, str]]) -> set[tuple[int, str]]:
    """Those of `processes` that have not ended. A zombie has: where init does not wait for it, nobody can."""
    alive = set()
    for number, started in processes:
        try:
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[19] == started and fields[0] != "Z":
            alive.add((number, started))
    return alive


def assert_gone(processes: set[tuple[int, str]]) -> None:
    """None of `processes` is there, not even as a zombie."""
    left = [number for number, _ in processes if Path(f"/proc/{number}").exists()]
    assert left == []


def wait_for(condition, limit_seconds: float = 120) -> None:
    """Waits until `condition` holds."""
    deadline = time.monotonic() + limit_seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)


def end(run: Run) -> None:
    """Whatever the test made of it, nothing of it goes on."""
    for number, _ in run.descendants():
        os.kill(number, signal.SIGKILL)
    run.make.kill()
    run.make.wait()
