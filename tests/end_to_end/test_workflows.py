"""GitHub's workflows: they have its schema, run what is here, and may do no more than they need."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from demo.aws import CHECKOUT

FILES = sorted((CHECKOUT / ".github" / "workflows").glob("*.yml"))
EACH_FILE = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def read(file: Path) -> dict:
    return yaml.safe_load(file.read_text())


def steps(file: Path) -> Iterator[dict]:
    for job in read(file)["jobs"].values():
        yield from job["steps"]


@EACH_FILE
def test_github_reads_it(file: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", file]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@EACH_FILE
def test_its_commands_are_those_of_a_shell_and_its_targets_are_makes(file: Path) -> None:
    makefile = (CHECKOUT / "Makefile").read_text()
    for step in steps(file):
        script = step.get("run", "")
        subprocess.run(["bash", "-n", "-c", script], check=True)
        for target in re.findall(r"^make (\S+)", script, re.M):
            assert re.search(rf"^{target}:", makefile, re.M), script
        for program in re.findall(r"^(\.\S+)$", script, re.M):
            assert (CHECKOUT / program).exists(), script


@EACH_FILE
def test_it_may_do_no_more_than_it_needs(file: Path) -> None:
    """Nobody can change an action of a commit. Nothing but the job that publishes may write, and it builds nothing."""
    workflow = read(file)
    assert workflow["permissions"] in ({}, {"contents": "read"})
    for name, job in workflow["jobs"].items():
        permissions = job.get("permissions", workflow["permissions"])
        assert permissions == {"contents": "write" if name == "publish" else "read"}
        if name == "publish":
            assert not any("checkout" in step.get("uses", "") for step in job["steps"])
        assert job["timeout-minutes"]
    for step in steps(file):
        uses = step.get("uses", "")
        assert not uses or re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}|docker://rhysd/actionlint:[\d.]+", uses), uses
        # Whoever can push a tag or a branch chooses its name, which must not become a command.
        assert "${{" not in step.get("run", "")


def test_what_has_to_pass_runs_on_pushes_and_pull_requests() -> None:
    [file] = [file for file in FILES if file.stem == "ci"]
    assert set(read(file)[True]) == {"push", "pull_request"}  # `on` is a boolean of YAML 1.1.
    assert [step for step in steps(file) if step.get("run") == ".ci/run"]


def test_a_tag_of_another_version_is_no_release() -> None:
    [file] = [file for file in FILES if file.stem == "release"]
    [script] = [step["run"] for step in steps(file) if step.get("name", "").startswith("Compare the tag")]
    [version] = re.findall(r'^version = "(.+)"$', (CHECKOUT / "Cargo.toml").read_text(), re.M)
    for tag, expected in {f"v{version}": 0, f"v{version}.1": 1, "v1": 1, f"v{version.replace('.', 'x')}": 1}.items():
        environment = {"GITHUB_REF_NAME": tag, "PATH": "/usr/bin:/bin"}
        done = subprocess.run(["bash", "-c", script], cwd=CHECKOUT, env=environment, capture_output=True)
        assert done.returncode == expected, tag
