"""make's targets in a terminal of 80 columns: nothing that only a terminal brings out, and Ctrl-C ends each with one
line and leaves nothing behind. `make deploy` is tested in tests/deployment."""

import os
import platform
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from pseudo_terminal import COLUMNS, Terminal, terminal
from test_run import descendants, folder, living, wait_for

from demo.aws import CHECKOUT

__all__ = ["folder"]  # A fixture.
ARCHITECTURE = {"aarch64": "arm64"}.get(platform.machine(), "x86_64")


def environment(folder: Path) -> dict[str, str]:
    """That of somebody who has not come here by make, with temporary files in `folder`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return kept | {"TMPDIR": str(folder)}


def long_lines(shown: str) -> list[str]:
    """The lines that a terminal has to break."""
    return [line for line in shown.splitlines() if len(line) > COLUMNS]


def make(folder: Path, *words: str, **more: str):
    """A target in a terminal."""
    return terminal(["make", "--no-print-directory", *words], CHECKOUT, environment(folder) | more)


def test_the_list_of_targets_fits(folder: Path) -> None:
    for words in ([], ["help"]):
        with make(folder, *words) as shell:
            assert shell.end() == 0
            assert long_lines(shell.shown) == []
            assert "\x1b" not in shell.shown
            targets = re.findall(r"^make (\S+) +[A-Z]", shell.shown, re.MULTILINE)
            assert {"help", "run", "watch", "invoke", "test", "package", "deploy", "update-rds-authorities"} <= set(targets)


def test_the_package_is_built(folder: Path) -> None:
    with make(folder, "package", f"ARCH={ARCHITECTURE}") as shell:
        assert shell.end() == 0, shell.shown
        assert re.search(rf"^target/lambda/\S+/bootstrap.zip: \d+ bytes for {ARCHITECTURE}$", shell.shown, re.MULTILINE)
    assert list(folder.iterdir()) == []


def interrupted(shell: Terminal) -> str:
    """The one line that is shown after Ctrl-C, when all that it had started is gone."""
    started = descendants(shell.pid)
    rest = shell.press_ctrl_c()
    # make ends as whoever is interrupted does.
    assert shell.process.returncode == -signal.SIGINT, shell.shown
    # Orphans of pip are reaped by init, which does not do so in every container.
    wait_for(lambda: not living(started), 10)
    # Without what is overwritten, and what cargo has drawn meanwhile.
    left = re.sub(r"\x1b\[[\d;]*m", "", re.sub(r"^.*\r(\x1b\[K)?", "", rest, flags=re.MULTILINE))
    lines = [line for line in left.splitlines() if line.strip() and not re.match(r"(\x1b\[K)? +Compiling", line)]
    assert len(lines) == 1, rest
    return lines[0]


def test_ctrl_c_while_tools_are_installed(folder: Path) -> None:
    venv = f".tools/venv-of-{os.getpid()}"
    try:
        with make(folder, "run", f"VENV={venv}") as shell:
            shell.wait_until(lambda shown: "Installing the tools of demo/requirements.txt" in shown)
            wait_for(lambda: any(CHECKOUT.joinpath(venv).glob("bin/pip*")) or shell.process.poll() is not None)
            assert interrupted(shell).startswith("make: *** ")
    finally:
        shutil.rmtree(CHECKOUT / venv)
    assert list(folder.iterdir()) == []


def test_ctrl_c_while_the_package_is_built(folder: Path, tmp_path: Path) -> None:
    # A folder in which nothing is built yet, so that it takes long enough.
    with make(folder, "run", CARGO_TARGET_DIR=str(tmp_path)) as shell:
        shell.wait_until(lambda shown: "Compiling" in shown)
        assert re.fullmatch(r"make: \*\*\* \[Makefile:\d+: build\] Interrupt", interrupted(shell))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("last", ["PostgreSQL", "API Gateway", "Deploying", "Ctrl-C stops everything"])
def test_ctrl_c_while_it_starts_and_when_it_is_ready(folder: Path, last: str) -> None:
    with make(folder, "run", "AWS_PORT=0") as shell:
        shell.wait_until(lambda shown: last in shown.partition("Starting ")[2])
        assert interrupted(shell) == "make run: stopped"
        own = shell.shown.partition("Starting ")[2].partition("# HELP")
        assert long_lines(own[0]) == []
        assert long_lines(shell.shown.partition(" series. ")[2]) == []
    assert list(folder.iterdir()) == []


def test_an_interrupted_build_leaves_the_package_of_before(folder: Path) -> None:
    package = CHECKOUT / "target" / "lambda" / "pg-lambda-exporter"
    assert [path.name for path in package.iterdir()] == ["bootstrap.zip"]


def test_watch_answers_with_the_queries_of_now_or_says_that_it_does_not(folder: Path, tmp_path: Path) -> None:
    def invoked(port: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "--no-print-directory", "invoke", f"WATCH_PORT={port}"]
        return subprocess.run(
            command, cwd=CHECKOUT, env=environment(folder), stdin=subprocess.DEVNULL, capture_output=True, text=True
        )

    def write(queries: Path, value: int) -> None:
        queries.write_text(f"own:\n  query: SELECT {value} AS value\n")

    # cargo-lambda notices changes in the checkout, and none elsewhere.
    noticed, elsewhere = Path(__file__).with_name(f"queries-of-{os.getpid()}.yml"), tmp_path / "queries.yml"
    for queries in (noticed, elsewhere):
        write(queries, 1)
        try:
            with make(folder, "watch", "WATCH_PORT=0", "AWS_PORT=0", QUERIES_FILE=str(queries)) as shell:
                shell.wait_until(lambda shown: "Ctrl-C stops everything" in shown, 600)
                port = re.search(r"^    curl http://localhost:(\d+)/metrics$", shell.shown, re.MULTILINE)[1]
                assert ("QUERIES_FILE is outside" in shell.shown) == (queries == elsewhere)
                first = invoked(port)
                assert "\nown_value 1\n" in first.stdout, first
                for value in (2, 3) if queries == noticed else (2,):
                    write(queries, value)
                    then = invoked(port)
                    if then.returncode:
                        assert queries == elsewhere and f"{queries} has changed" in then.stderr, then
                        assert "own_value" not in then.stdout, then
                    else:
                        assert f"\nown_value {value}\n" in then.stdout, then
                assert interrupted(shell) == "make watch: stopped"
        finally:
            queries.unlink()
    assert list(folder.iterdir()) == []
    assert list((CHECKOUT / "target").glob("watch-*")) == []
