"""What is there before anything is compiled, and that targets which build at once do not meet. With a cargo that builds
nothing, in a copy of what the targets run."""

import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from demo.aws import CHECKOUT

SHELL = ["awk", "cat", "cut", "dirname", "env", "ls", "make", "printf", "sed", "sh", "uname"]
"""What every system has, macOS too."""

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
    "pictures": "chromium curl gcc libc6-dev postgresql prometheus python3 python3-venv",
    "package": "gcc libc6-dev python3 python3-venv",
    "release": "gcc git libc6-dev python3 python3-venv",
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


def test_each_program_that_is_too_old_is_named_with_its_version(make: Make, programs: Path) -> None:
    program(programs / "python3", "echo 3.9.2")
    program(programs / "cargo", "echo 'cargo 1.63.0 (fd9c4297c 2022-07-01)'")
    program(programs / "npm", "exit 1")
    program(programs / "node", "echo v12.22.9")
    done = make("test")
    assert done.returncode != 0 and done.stdout == "", done
    assert done.stderr.count(" or newer is required") == 3
    assert "Python 3.11 or newer is required" in done.stderr and "python3 is 3.9.2" in done.stderr
    assert "Node.js 18 or newer is required: node is v12.22.9" in done.stderr
    assert "Rust 1." in done.stderr and "cargo is 1.63.0" in done.stderr
    assert "sudo demo/packages.sh chromium" in done.stderr
    named = make("test", "PYTHON=/nowhere/python3.13")
    assert "/nowhere/python3.13 is missing" in named.stderr, named


@pytest.mark.parametrize(
    ("versions", "old"),
    [
        (("3.11.0", "1.94.1", "v18.0.0"), []),
        (("3.12.0rc1", "1.100.0-nightly", "v20.19.0"), []),
        (("4.0.0", "2.0.0", "v100.0.0"), []),
        (("3.9.20", "1.94.0", "v17.9.1"), ["Python", "Node.js", "Rust"]),
        (("2.7.18", "1.9.5", "v8.0.0"), ["Python", "Node.js", "Rust"]),
    ],
)
def test_versions_are_compared_by_their_numbers(programs: Path, versions: tuple[str, str, str], old: list[str]) -> None:
    python, cargo, node = versions
    program(programs / "python3", f"echo {python}")
    program(programs / "cargo", f"echo 'cargo {cargo} (abc)'")
    program(programs / "npm", "exit 1")
    program(programs / "node", f"echo {node}")
    done = subprocess.run(
        ["demo/packages.sh", "npm", "python3", "rust"],
        cwd=CHECKOUT,
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
    )
    said = [line.split()[0] for line in done.stderr.splitlines()]
    assert (done.returncode, sorted(said)) == (1 if old else 0, sorted(old)), done


def test_the_shell_can_read_the_commands_of_each_target() -> None:
    """A comma in the text of an `$(if …)` ends it."""
    targets = re.findall(r"^([\w-]+):.* ## ", (CHECKOUT / "Makefile").read_text(), re.M)
    assert "test" in targets
    for target in targets:
        printed = subprocess.run(["make", "--dry-run", target], cwd=CHECKOUT, capture_output=True, text=True, check=True)
        subprocess.run(["sh", "-n"], input=printed.stdout, text=True, check=True)


@pytest.fixture
def macos(programs: Path) -> None:
    """Has no apt-get, as macOS, and its name."""
    (programs / "apt-get").unlink()
    (programs / "uname").unlink()
    program(programs / "uname", 'case "$1" in -m) echo arm64 ;; *) echo Darwin ;; esac')


@pytest.mark.usefixtures("macos")
@pytest.mark.parametrize("target", ["run", "test", "test-majors"])
def test_on_macos_targets_for_linux_say_so_and_what_works(make: Make, target: str) -> None:
    done = make(target)
    said, end = done.stderr.splitlines()
    assert "needs Linux" in said and "On macOS, cargo install, make package and make deploy work" in said
    assert end.startswith("make: *** ")


@pytest.mark.usefixtures("macos")
def test_on_macos_packages_are_those_of_homebrew(make: Make) -> None:
    rust, compiler, brew, end = make("deploy-serverless").stderr.splitlines()
    assert rust.startswith("Rust 1.") and "cargo is missing" in rust
    assert "xcode-select --install" in compiler
    assert brew.endswith(": brew install node python")
    assert end.startswith("make: *** ")


GNU_ONLY = re.compile(
    r"\b(date -d|getent|grep -P|nproc|readlink -f|realpath|setsid|sed -i |sha256sum|sort -V|stat -c|timeout|xargs -r)\b"
    # Newer than make 3.81.
    r"|\.ONESHELL|\$\(file |^\S+ *!=|&:|^\t?\.RECIPEPREFIX"
)


def test_what_macos_runs_has_no_program_or_option_of_gnu() -> None:
    files = [CHECKOUT / "Makefile", *(CHECKOUT / "demo").glob("*.sh"), *(CHECKOUT / "packaging").glob("*.sh")]
    found = [
        f"{file.name}:{number}: {line}"
        for file in files
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if GNU_ONLY.search(line)
    ]
    assert found == []


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
until [ -e "$OTHERS_WAIT" ]; do sleep 0.05; done
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
    path["OTHERS_WAIT"] = str(tmp_path / "others-wait")
    return checkout, os.environ | halves | path


def test_targets_that_build_at_once_wait_and_readers_see_whole_packages(copy: tuple[Path, dict[str, str]]) -> None:
    checkout, environment = copy
    logs = [checkout / f"{number}.log" for number in range(3)]
    package = checkout / "target" / "lambda" / "pg-lambda-exporter" / "bootstrap.zip"
    builds = [
        subprocess.Popen(
            ["python3", "-m", "demo", "package", "--skip-target-check"],
            cwd=checkout,
            env=environment,
            stdout=log.open("w"),
            stderr=subprocess.STDOUT,
        )
        for log in logs
    ]
    read = 0
    while any(build.poll() is None for build in builds):
        if sum("Waiting for another build of the package" in log.read_text() for log in logs) == 2:
            Path(environment["OTHERS_WAIT"]).touch()
        if package.exists():
            with zipfile.ZipFile(package) as content:
                assert content.testzip() is None
            read += 1
    assert [build.returncode for build in builds] == [0, 0, 0], [log.read_text() for log in logs]
    assert read > 0
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
