"""What is there before anything is compiled, and that targets which build at once do not meet. With a cargo that builds
nothing, in a copy of what the targets run."""

import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from demo.aws import CHECKOUT

SHELL = ["awk", "cat", "cut", "dirname", "env", "getent", "head", "ls", "make", "printf", "sed", "sh", "sort", "timeout"]
"""What every system has."""

Make = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A PATH of an ordinary user with nothing but what every system has, and an apt-get that is not to be used."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in SHELL:
        (folder / name).symlink_to(shutil.which(name))
    program(folder / "id", "echo 1000")
    program(folder / "apt-get", "echo apt-get >&2; exit 1")
    return folder


def program(file: Path, script: str) -> None:
    """A program that is a shell script."""
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.fixture
def make(programs: Path) -> Make:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        # Without the tools that are here already.
        command = ["make", "--no-print-directory", *words, "VENV=.tools/none"]
        return subprocess.run(
            command, cwd=CHECKOUT, env={"PATH": str(programs)}, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )

    return run


EVERYTHING = {
    "run": "curl gcc libc6-dev postgresql python3 python3-venv",
    "run PROMETHEUS=1": "curl gcc libc6-dev postgresql prometheus python3 python3-venv",
    "watch": "gcc libc6-dev postgresql python3 python3-venv",
    "test": "chromium curl gcc jq libc6-dev npm openssl pgbouncer procps prometheus prometheus-alertmanager "
    "prometheus-postgres-exporter prometheus-sql-exporter python3 python3-venv zip",
    "package": "gcc libc6-dev python3 python3-venv",
    "deploy-serverless": "gcc libc6-dev npm python3 python3-venv",
}


@pytest.mark.parametrize("target", EVERYTHING)
def test_all_that_is_missing_is_named_at_once(make: Make, target: str) -> None:
    done = make(*target.split())
    assert (done.returncode != 0, done.stdout) == (True, ""), done
    rust, debian, command, end = done.stderr.splitlines()
    assert rust.startswith("Rust 1.") and "cargo is missing" in rust and "rustup.rs" in rust
    assert "lacks Debian packages" in debian
    assert end.startswith("make: *** ")
    # Looked for in folders that this machine may have.
    depends = {"libnss-wrapper", "pgbouncer", "postgresql"}
    assert set(command.split()) - {"sudo", "demo/packages.sh"} - depends == set(EVERYTHING[target].split()) - depends


def test_a_python_or_a_rust_that_is_too_old_is_named_with_its_version(make: Make, programs: Path) -> None:
    program(programs / "python3", "echo 3.9.2")
    program(programs / "cargo", "echo 'cargo 1.63.0 (fd9c4297c 2022-07-01)'")
    done = make("test")
    assert done.returncode != 0 and done.stdout == "", done
    assert "Python 3.11 or newer is required" in done.stderr and "python3 is 3.9.2" in done.stderr
    assert "Rust 1." in done.stderr and "cargo is 1.63.0" in done.stderr
    assert "sudo demo/packages.sh chromium" in done.stderr
    named = make("test", "PYTHON=/nowhere/python3.13")
    assert "/nowhere/python3.13 is missing" in named.stderr, named


def test_where_all_is_there_nothing_is_said() -> None:
    done = subprocess.run(
        ["demo/packages.sh", "python3", "python3-venv", "rust", "gcc", "libc6-dev", "postgresql", "procps"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


SLOW_CARGO = """
while [ "$1" != --lambda-dir ]; do shift; done
mkdir "$2"/pg-lambda-exporter
mkdir "$ONE" || { echo 'two at once' >&2; exit 1; }
cp "$FIRST_HALF" "$2"/pg-lambda-exporter/bootstrap.zip
sleep 0.3
cat "$SECOND_HALF" >>"$2"/pg-lambda-exporter/bootstrap.zip
rmdir "$ONE"
"""


@pytest.fixture
def copy(tmp_path: Path, programs: Path) -> tuple[Path, dict[str, str]]:
    """A checkout with a cargo that writes a package slowly, and the environment that has it."""
    checkout = tmp_path / "checkout"
    shutil.copytree(CHECKOUT / "demo", checkout / "demo", ignore=shutil.ignore_patterns("__pycache__"))
    with zipfile.ZipFile(tmp_path / "whole.zip", "w") as package:
        package.writestr("bootstrap", os.urandom(100_000))
    content = (tmp_path / "whole.zip").read_bytes()
    (tmp_path / "first").write_bytes(content[:50_000])
    (tmp_path / "second").write_bytes(content[50_000:])
    program(programs / "cargo", SLOW_CARGO)
    halves = {"FIRST_HALF": str(tmp_path / "first"), "SECOND_HALF": str(tmp_path / "second")}
    path = {"PATH": f"{programs}:{os.environ['PATH']}", "ONE": str(tmp_path / "one")}
    return checkout, os.environ | halves | path


def test_targets_that_build_at_once_wait_and_readers_see_whole_packages(copy: tuple[Path, dict[str, str]]) -> None:
    checkout, environment = copy
    package = checkout / "target" / "lambda" / "pg-lambda-exporter" / "bootstrap.zip"
    builds = [
        subprocess.Popen(
            ["python3", "-m", "demo", "package", "--skip-target-check"],
            cwd=checkout,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(3)
    ]
    read = 0
    while any(build.poll() is None for build in builds):
        if package.exists():
            with zipfile.ZipFile(package) as content:
                assert content.testzip() is None
            read += 1
    printed = [build.communicate()[0] for build in builds]
    assert [build.returncode for build in builds] == [0, 0, 0], printed
    assert read > 0
    assert sum("Waiting for another build of the package" in text for text in printed) == 2, printed
    assert [path.name for path in package.parent.iterdir()] == ["bootstrap.zip"]


def test_tools_are_installed_by_one_target_at_a_time(copy: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    checkout, environment = copy
    installing = ["demo/install.sh", "sh", "-c", 'mkdir "$ONE" && sleep 0.3 && rmdir "$ONE" && echo installed']
    started = [
        subprocess.Popen(installing, cwd=checkout, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    said = [child.communicate() for child in started]
    assert [child.returncode for child in started] == [0, 0, 0], said
    failing = subprocess.run(
        ["demo/install.sh", "sh", "-c", "echo why; exit 3"], cwd=checkout, env=environment, capture_output=True, text=True
    )
    assert (failing.returncode, failing.stdout, failing.stderr) == (3, "", "why\n")
