"""`make deploy` as a person runs it: in a terminal, with the stand-in in the place of AWS."""

import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from deploy import PACKAGE
from pseudo_terminal import terminal

from demo.aws import CHECKOUT, Aws


TARGETS = ["deploy", "deploy-serverless", "deploy-cargo-lambda"]


@pytest.fixture
def command(environment: dict[str, str], parameters: dict[str, str], tmp_path: Path) -> tuple[list[str], dict[str, str]]:
    """The command of somebody who deploys, with its environment: a folder for temporary files that only it uses."""
    variables = [f"{name}={value}" for name, value in parameters.items()]
    return ["make", "--no-print-directory", "deploy", *variables], environment | {"TMPDIR": str(tmp_path)}


def test_make_deploy_in_a_terminal(command: tuple[list[str], dict[str, str]], aws: Aws, tmp_path: Path) -> None:
    words, environment = command
    with terminal([*words, "STACK=typed"], CHECKOUT, environment) as shell:
        assert shell.end() == 0, shell.shown
        assert "\nScrape URL: https://" in shell.shown, shell.shown
    stacks = aws.client("cloudformation").describe_stacks(StackName="typed")["Stacks"]
    assert [stack["StackStatus"] for stack in stacks] == ["CREATE_COMPLETE"]
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_it_deploys(command: tuple[list[str], dict[str, str]], tmp_path: Path) -> None:
    words, environment = command
    with terminal([*words, "STACK=interrupted"], CHECKOUT, environment) as shell:
        shell.wait_until(lambda shown: "Uploading to " in shown or "Deploying with following values" in shown, 600)
        rest = shell.press_ctrl_c()
        assert shell.process.returncode == -signal.SIGINT, shell.shown
        assert "make: *** " in rest.splitlines()[-1], rest
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def without_rust(tmp_path: Path) -> str:
    """A PATH with this machine's programs, but no compiler."""
    compilers = re.compile(r"(.*-)?(gcc|g\+\+|cc|c\+\+|clang|ld|cargo|rustc|rustup)([-.].*)?")
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in [program for place in ("/usr/bin", "/bin") for program in Path(place).iterdir()]:
        if not compilers.fullmatch(program.name) and not (folder / program.name).is_symlink():
            (folder / program.name).symlink_to(program)
    return str(folder)


@pytest.mark.parametrize("target", TARGETS)
def test_a_downloaded_zip_is_deployed_without_rust(
    target: str,
    environment: dict[str, str],
    parameters: dict[str, str],
    own_secret: str,
    without_rust: str,
    tmp_path: Path,
    aws: Aws,
) -> None:
    package = tmp_path / "downloaded.zip"
    shutil.copyfile(PACKAGE, package)
    variables = parameters | {"AUTHORIZATION_SECRET_ARN": own_secret, "FRONT": "none"}
    variables |= {"STACK": f"zip-{target}", "ZIP": str(package)}
    answer = subprocess.run(
        ["make", "--no-print-directory", target, *(f"{name}={value}" for name, value in variables.items())],
        cwd=CHECKOUT,
        env=environment | {"PATH": without_rust},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer
    function = re.search(r"^Function: +(\S+)$", answer.stdout, re.M)[1]
    size = aws.client("lambda").get_function(FunctionName=function)["Configuration"]["CodeSize"]
    assert size == package.stat().st_size


@pytest.mark.parametrize("target", TARGETS)
def test_a_downloaded_zip_needs_no_compiler(target: str) -> None:
    def recipes(*variables: str) -> str:
        command = ["make", "--no-print-directory", "--dry-run", target, *variables]
        return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout

    for compiled in ("gcc libc6-dev", "-m demo package", "cargo run"):
        assert compiled in recipes() and compiled not in recipes("ZIP=downloaded.zip"), compiled


def test_recipes_name_the_python_of_the_virtual_environment() -> None:
    """make 3.81, which macOS has, looks for a recipe's program in the caller's PATH."""
    recipes = re.findall(r"^\t.*$", (CHECKOUT / "Makefile").read_text(), re.M)
    assert any("$(VENV)/bin/python -m pytest" in recipe for recipe in recipes)
    assert [recipe for recipe in recipes if re.search(r"(?<![\w./-])python3? ", recipe)] == []
