"""`make deploy` as a person runs it: in a terminal, with the stand-in in the place of AWS."""

import signal
from pathlib import Path

import pytest
from pseudo_terminal import terminal

from demo.aws import CHECKOUT, Aws


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
