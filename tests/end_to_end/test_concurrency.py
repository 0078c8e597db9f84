"""63 targets in one function with the reserved concurrency that docs/targets.md gives, scraped by a real Prometheus: hanging
and failing targets cost the healthy ones nothing.

TARGETS_SECONDS=... is how long (default 20), and TARGETS_INTERVAL=... how often each is scraped (default 10)."""

import contextlib
import dataclasses
import heapq
import json
import math
import os
import random
import re
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import leaks
import pytest
from concurrency import Function, reserved

from demo.aws import CHECKOUT, FUNCTION, PACKAGES, Aws
from demo.endpoint import Answer, get
from demo.postgres import Postgres
from demo.processes import Processes, processes
from demo.prometheus import Prometheus

SECONDS = int(os.environ.get("TARGETS_SECONDS", "20"))
INTERVAL = int(os.environ.get("TARGETS_INTERVAL", "10"))
TIMEOUT = INTERVAL * 4 // 5
SERVERS, HEALTHY, BLACK_HOLES = 3, 50, 10
MAX_CONNECTIONS = 20
"""The default of the function."""
MEMORY_KILOBYTES = 64 * 1024
SLOW_BY_SECONDS = 0.05
"""For each answer of the server."""


@dataclasses.dataclass
class Targets:
    """The targets and what is behind them."""

    healthy: list[str]
    black_holes: list[str]
    rotated: Postgres
    ports: set[int]
    variables: dict[str, str]
    bootstrap: Path
    aws: Aws

    @property
    def all(self) -> list[str]:
        return [*self.healthy, *self.black_holes, "slow", "refuses", "rotated"]


@pytest.fixture(scope="module")
def targets(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Targets]:
    folder = tmp_path_factory.mktemp("many")
    with contextlib.ExitStack() as stack:
        # Each server has a folder of its own.
        alone = [stack.enter_context(processes()) for _ in range(SERVERS)]
        servers = [Postgres(running, max_connections=400) for running in alone]
        for server in servers:
            leaks.register(server.password)
        secrets: dict[str, dict] = {}
        for number in range(HEALTHY):
            server, database = servers[number % SERVERS], f"database_{number:02}"
            server.sql(f"CREATE DATABASE {database} TEMPLATE {server.database}", "postgres")
            secrets[database] = server.secret() | {"dbname": database}
        hole = stack.enter_context(black_hole())
        black_holes = [f"hole-{number}" for number in range(BLACK_HOLES)]
        for name in black_holes:
            secrets[name] = servers[0].secret() | {"port": hole}
        slow = stack.enter_context(slow_path(servers[0].port))
        secrets["slow"] = servers[0].secret() | {"port": slow}
        secrets["refuses"] = servers[0].secret() | {"port": alone[0].port()}
        servers[1].sql("CREATE ROLE rotated LOGIN PASSWORD 'new-password-81' IN ROLE pg_monitor", "postgres")
        secrets["rotated"] = servers[1].secret() | {"username": "rotated", "password": "old-password-80"}
        for password in ("new-password-81", "old-password-80"):
            leaks.register(password)
        for name, secret in secrets.items():
            aws.put_secret(f"many/{name}", secret)
        with zipfile.ZipFile(PACKAGES / FUNCTION / "bootstrap.zip") as package:
            package.extractall(folder)
        (folder / "bootstrap").chmod(0o755)
        file = {name: {"secret": f"many/{name}", "labels": {"kind": name.rstrip("-_0123456789")}} for name in secrets}
        (folder / "targets.yml").write_text(json.dumps(file))  # Which is YAML.
        yield Targets(
            healthy=[name for name in secrets if name.startswith("database_")],
            black_holes=black_holes,
            rotated=servers[1],
            ports={slow, *(server.port for server in servers)},
            variables={"AUTH": "none", "AWS_ENDPOINT_URL": aws.endpoint},
            bootstrap=folder,
            aws=aws,
        )
        for running in alone:
            leaks.check_logs(running.folder)


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """A port that answers no SYN: Linux drops those of a listener whose queue is full (tcp(7), listen(2))."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        probe = stack.enter_context(socket.socket())
        probe.settimeout(0.5)
        with pytest.raises(TimeoutError):
            probe.connect(listener.getsockname())
        yield listener.getsockname()[1]


@contextlib.contextmanager
def slow_path(port: int) -> Iterator[int]:
    """A way to a server that takes a while for each of its answers."""

    def forward(source: socket.socket, sink: socket.socket, seconds: float) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(1 << 16):
                time.sleep(seconds)
                sink.sendall(content)
        for side in (source, sink):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", port))
                for way in ((client, server, 0), (server, client, SLOW_BY_SECONDS)):
                    threading.Thread(target=forward, args=way, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def probe(address: str, name: str, timeout: float = TIMEOUT) -> Answer:
    return get(f"http://{address}/probe?target={name}", {"X-Prometheus-Scrape-Timeout-Seconds": str(timeout)})


def concurrency(healthy_seconds: float, hanging: int, interval: float) -> int:
    """What docs/targets.md says to reserve, by its own formula."""
    page = (CHECKOUT / "docs" / "targets.md").read_text()
    [formula] = re.findall(r"^seconds of all healthy scrapes .*$", page, re.M)
    for words, value in {
        "seconds of all healthy scrapes": healthy_seconds,
        "hanging targets": hanging,
        "`scrape_interval`": interval,
        "×": "*",
        "÷": "/",
    }.items():
        assert words in formula
        formula = formula.replace(words, str(value))
    assert re.fullmatch(r"[\d.*/+ ]+", formula), formula
    return math.ceil(eval(formula))


@pytest.mark.parametrize(
    ("healthy", "each_seconds", "hanging", "timeout", "interval"),
    [
        (3, 0.2, 0, 20, 60),
        (50, 0.2, 2, 20, 60),
        (50, 0.2, 10, 20, 60),
        (50, 1, 3, 20, 60),
        (HEALTHY, 0.2, BLACK_HOLES, TIMEOUT, INTERVAL),
        (100, 1, 0, 10, 15),
        (500, 0.2, 5, 20, 60),
        (500, 1, 20, 20, 60),
    ],
)
def test_the_formula_is_enough(healthy: int, each_seconds: float, hanging: int, timeout: float, interval: float) -> None:
    """Prometheus scrapes each target at a time of the interval that depends on its labels. For 100 sets of such times, no
    scrape finds all environments busy, but for one set."""
    reserved = concurrency(healthy * each_seconds, hanging, interval)
    chance = random.Random(17)

    def is_throttled() -> bool:
        lengths = [each_seconds] * healthy + [timeout] * hanging
        begins = [chance.uniform(0, interval) for _ in lengths]
        busy: list[float] = []
        for begin, length in sorted((begin + interval * turn, length) for turn in range(2) for begin, length in zip(begins, lengths)):
            while busy and busy[0] <= begin:
                heapq.heappop(busy)
            if len(busy) == reserved:
                return True
            heapq.heappush(busy, begin + length)
        return False

    assert sum(is_throttled() for _ in range(100)) <= 1


def test_a_request_beyond_the_reserved_concurrency_is_throttled(running: Processes, targets: Targets) -> None:
    """So a scrape that is throttled would be seen."""
    with reserved(running, targets.bootstrap, targets.variables, 2) as (address, function):
        healthy = targets.healthy[0]
        assert probe(address, healthy).status == 200
        with ThreadPoolExecutor() as threads:
            begun = time.monotonic()
            held = [threads.submit(probe, address, hole) for hole in targets.black_holes[:2]]
            running.wait_for("two busy environments", lambda: not function.idle)
            throttled = probe(address, healthy)
            assert (throttled.status, function.throttled) == (429, 1)
            for answer in held:
                assert (answer.result().status, "\npg_up 0\n" in answer.result().text) == (200, True)
            assert time.monotonic() - begun > TIMEOUT / 2, "a black hole takes its time"
        assert probe(address, healthy).status == 200
        assert (function.invocations, function.throttled) == (4, 1)


def test_every_healthy_target_is_complete_in_each_scrape(running: Processes, targets: Targets) -> None:
    with reserved(running, targets.bootstrap, targets.variables, 1) as (address, function):
        seconds = 0.0
        for name in [*targets.healthy, "slow"]:
            begun = time.monotonic()
            answer = probe(address, name)
            seconds += time.monotonic() - begun
            assert "\npg_up 1\n" in answer.text, name
        report(f"{seconds:.1f} s for all healthy targets, of environments without connections")
    environments = concurrency(seconds, BLACK_HOLES, INTERVAL)
    with contextlib.ExitStack() as stack:
        address, function = stack.enter_context(reserved(running, targets.bootstrap, targets.variables, environments))
        own = stack.enter_context(processes())
        job = {
            "job_name": "many",
            "scrape_interval": f"{INTERVAL}s",
            "scrape_timeout": f"{TIMEOUT}s",
            "http_sd_configs": [{"url": f"http://{address}/targets", "refresh_interval": "5s"}],
        }
        prometheus = Prometheus(own, {}, interval=f"{INTERVAL}s", scrape_configs=[job])
        own.wait_for("a scrape of each", lambda: len(prometheus.query('up{job="many"}')) == len(targets.all))
        function.reset()
        begun = prometheus.value("vector(time())")
        measured = Measured()
        while prometheus.value("vector(time())") < begun + SECONDS:
            running.check()
            measured.take(function, targets)
            time.sleep(0.5)
        check(prometheus, targets, function)
        report(f"{environments} environments by the formula, {function.most_busy} busy at most; {measured}")
        assert measured.connections <= MAX_CONNECTIONS + 1
        assert measured.kilobytes < MEMORY_KILOBYTES
        rotates_back(own, prometheus, targets)


def check(prometheus: Prometheus, targets: Targets, function: Function) -> None:
    window = f"[{SECONDS}s]"
    assert function.throttled == 0, f"{function.throttled} of {function.invocations + function.throttled}"
    rounds = SECONDS // INTERVAL

    def of_each(expression: str) -> dict[str, float]:
        found = prometheus.query(f'{expression}{{job="many"}}{window})')
        return {dict(labels)["instance"]: value for labels, value in found.items()}

    # Every request was answered within its time.
    assert {name: count for name, count in of_each("count_over_time(up").items() if count < rounds - 1} == {}
    assert of_each("min_over_time(up") == dict.fromkeys(targets.all, 1)
    up = of_each("min_over_time(pg_up")
    works = [*targets.healthy, "slow"]
    assert up == {name: int(name in works) for name in targets.all}
    errors = of_each("max_over_time(pg_exporter_last_scrape_error")
    assert {name: errors[name] for name in works} == dict.fromkeys(works, 0)
    queries = prometheus.query(f'min_over_time(pg_exporter_query_success{{job="many"}}{window})')
    succeeded = {name: {value for labels, value in queries.items() if dict(labels)["instance"] == name} for name in works}
    assert succeeded == {name: {1} for name in works}
    # Nothing of a healthy one is missing: each of its series of facts that do not change is in each scrape.
    settings = of_each("count_over_time(pg_settings_max_connections")
    scrapes = of_each("count_over_time(up")
    assert {name: settings[name] for name in works} == {name: scrapes[name] for name in works}
    kept = of_each("max_over_time(pg_exporter_connections")
    assert max(kept.values()) <= MAX_CONNECTIONS
    took = prometheus.query(f'max_over_time(scrape_duration_seconds{{job="many",kind="database"}}{window})')
    report(f"{function.invocations} scrapes in {SECONDS} s, none throttled; a healthy one took {max(took.values()):.2f} s at most")


def rotates_back(own: Processes, prometheus: Prometheus, targets: Targets) -> None:
    """The secret of the target with the rotated password is corrected: it works in each environment from its next scrape on."""
    secret = targets.rotated.secret() | {"username": "rotated", "password": "new-password-81"}
    targets.aws.client("secretsmanager").put_secret_value(SecretId="many/rotated", SecretString=json.dumps(secret))
    own.wait_for("the new password", lambda: prometheus.value('pg_up{job="many",instance="rotated"}') == 1)


@dataclasses.dataclass
class Measured:
    """The most that an environment had."""

    connections: int = 0
    kilobytes: int = 0

    def take(self, function: Function, targets: Targets) -> None:
        for environment in function.environments:
            self.connections = max(self.connections, environment.connections(targets.ports))
            self.kilobytes = max(self.kilobytes, environment.anonymous_kilobytes())

    def __str__(self) -> str:
        return f"at most {self.connections} connections and {self.kilobytes / 1024:.1f} MiB of each"


def report(figures: str) -> None:
    """For `pytest -s`."""
    print(f"\n{figures}")
