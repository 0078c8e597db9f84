"""docs/by-hand.md: each command of the page, typed into a terminal of 80 columns, with the stand-in in the place of AWS."""

import contextlib
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import deploy
import pytest
import relays
from pseudo_terminal import Terminal, terminal
from template import load
from test_deployed import ask

from demo import package
from demo.aws import CHECKOUT, REGION, SECRET, Aws
from demo.emulator import listens
from demo.postgres import Postgres
from demo.processes import processes

PAGE = (CHECKOUT / "docs" / "by-hand.md").read_text()
NAME = "pg-lambda-exporter"
PROMPTS = {"PS1": "status $?> ", "PS2": ""}
PROMPT = re.compile(r"status (\d+)> $")


def commands(section: str) -> list[list[str]]:
    """The commands of a section, by blocks."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    blocks = [block.splitlines() for block in re.findall(r"^```bash\n(.*?)^```", text, re.M | re.S)]
    assert blocks, section
    return [list(joined(block)) for block in blocks]


def joined(lines: Sequence[str]) -> Iterator[str]:
    """Commands of one or several lines."""
    command = ""
    for line in lines:
        command += line
        with contextlib.suppress(ValueError):  # A quotation goes on in the next line.
            if not line.endswith("\\") and shlex.split(command):
                yield command
                command = ""
                continue
        command += "\n"
    assert not command, command


class Shell:
    """A shell in a terminal, with the prompt of which each command has ended."""

    def __init__(self, opened: Terminal) -> None:
        self.terminal = opened
        self._await(0, PROMPT.search)

    def run(self, command: str, answers: Sequence[tuple[str, str]] = ()) -> str:
        """What a command has shown, which must succeed and ask these questions."""
        begin = at = len(self.terminal.shown)
        self.terminal.type(f"{command}\n")
        for question, answer in answers:
            self._await(at, lambda shown, question=question: question in shown or PROMPT.search(shown))
            assert question in self.terminal.shown[at:], f"{command} has not asked {question}:\n{self.terminal.shown}"
            at += self.terminal.shown[at:].index(question) + len(question)
            self.terminal.type(f"{answer}\n")
        self._await(at, PROMPT.search)
        shown = self.terminal.shown[begin:]
        assert PROMPT.search(shown)[1] == "0", shown
        return shown

    def run_until(self, command: str, meanwhile: Callable[[], object], shows: str = "") -> None:
        """Runs a command that does not end until Ctrl-C, which comes when it shows a text after `meanwhile`."""
        begin = len(self.terminal.shown)
        self.terminal.type(f"{command}\n")
        meanwhile()
        self._await(begin, lambda shown: shows in shown)
        self.terminal.type("\x03")
        self._await(begin, PROMPT.search)

    def _await(self, at: int, condition: Callable[[str], object]) -> None:
        self.terminal.wait_until(lambda shown: condition(shown[at:]), 900)


@pytest.fixture
def account(postgres: Postgres) -> Iterator[Aws]:
    """An account of its own: the commands of the page use one name for all that they create."""
    stand_in: list[Aws] = []
    # The functions find AWS through it.
    with processes() as running, relays.recorder(lambda: stand_in[0].port, []).running() as recorder:
        stand_in.append(Aws(running, function_endpoint=recorder.url))
        yield stand_in[0]


@pytest.fixture
def variables(account: Aws, environment: dict[str, str], postgres: Postgres, tmp_path: Path) -> dict[str, str]:
    """The environment of a user who has all tools in the PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sam").symlink_to(deploy.SAM)
    (programs / "osls").write_text(f'#!/bin/sh\nexec "{deploy.NODE}" "{deploy.OSLS}" "$@"\n')
    (programs / "osls").chmod(0o755)
    known = environment | {
        "PATH": f"{programs}:{environment['PATH']}",
        "AWS_ENDPOINT_URL": account.endpoint,
        "AWS_DEFAULT_REGION": REGION,
        "DATABASE_SECRET_ARN": account.put_secret(SECRET, postgres.secret()),
        "SAM_CLI_TELEMETRY": "0",
        # cargo-lambda asks rustup for the processor's target otherwise, and rustup may have to ask its server.
        "RUSTUP": "none",
    }
    ((*exports,),) = commands("Before you start")
    assert set(re.findall(r"(\w+)=", " ".join(exports))) <= set(known)
    return known | PROMPTS


@contextlib.contextmanager
def shell(variables: Mapping[str, str]) -> Iterator[Shell]:
    with terminal(["bash", "--norc", "--noprofile", "--noediting"], CHECKOUT, variables) as opened:
        yield Shell(opened)


@pytest.fixture
def internet(account: Aws) -> Iterator[relays.Relay]:
    with relays.internet(lambda: account.port).running() as relay:
        yield relay


def is_scraped(internet: relays.Relay, account: Aws, url: str, secret: str) -> bool:
    """Whether a URL answers with the token of a secret, and not without."""
    token = json.loads(account.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"])["bearer_token"]
    assert ask(internet, url)[0] == 401
    status, body = ask(internet, url, token)
    return status == 200 and "pg_up 1" in body.splitlines()


def fetched_token(user: Shell, variables: Mapping[str, str]) -> str:
    """What the commands write into the file for Prometheus."""
    for block in commands("The token for Prometheus"):
        for command in block:
            user.run(command)
    return (Path(variables["HOME"]) / f"{NAME}.token").read_text().strip()


def outputs(account: Aws, stack: str = NAME) -> dict[str, str]:
    (stack,) = account.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def stacks(account: Aws) -> set[str]:
    found = account.client("cloudformation").describe_stacks()["Stacks"]
    return {stack["StackName"] for stack in found if stack["StackStatus"] != "DELETE_COMPLETE"}


def test_sam(account: Aws, variables: dict[str, str], internet: relays.Relay, tmp_path: Path) -> None:
    (build, guided), (unreserved,), (list_outputs, logs, delete) = commands("AWS SAM")
    parameters = {f"Parameter {name}": "" for name in load()["Parameters"]}
    parameters |= {"Parameter DatabaseSecretArn": variables["DATABASE_SECRET_ARN"]}
    parameters |= {"Parameter Architecture": variables["ARCHITECTURE"]}
    configuration = tmp_path / "samconfig.toml"
    questions = {
        "Stack Name": "",
        "AWS Region": "",
        **parameters,
        "Confirm changes before deploy": "",
        "Allow SAM CLI IAM role creation": "",
        "Disable rollback": "",
        "Save arguments to configuration file": "",
        # That of the checkout stays as it is.
        "SAM configuration file": str(configuration),
        "SAM configuration environment": "",
        "Deploy this changeset?": "y",
    }
    with shell(variables) as user:
        assert "Build Succeeded" in user.run(build)
        user.run(unreserved, [("Deploy this changeset?", "y")])
        (stack,) = account.client("cloudformation").describe_stacks(StackName=NAME)["Stacks"]
        (reserved,) = [each for each in stack["Parameters"] if each["ParameterKey"] == "ReservedConcurrency"]
        assert reserved["ParameterValue"] == ""
        assert f"Successfully created/updated stack - {NAME}" in user.run(guided, list(questions.items()))
        deployed = outputs(account)
        assert deployed["ScrapeUrl"] in user.run(list_outputs)
        assert is_scraped(internet, account, deployed["ScrapeUrl"], deployed["AuthorizationSecretArn"])
        assert ask(internet, deployed["ScrapeUrl"], fetched_token(user, variables))[0] == 200
        assert "scrape" in user.run(logs)
        # The answers are there for the next time.
        assert "No changes to deploy" in user.run(f"sam deploy --config-file {configuration} --no-fail-on-empty-changeset")
        user.run(delete, [("want to delete the stack", "y"), ("delete the folder", "y")])
    assert NAME not in stacks(account)


def test_sam_with_a_downloaded_package(account: Aws, variables: dict[str, str], tmp_path: Path) -> None:
    """Without a compiler."""
    (command,) = re.findall(r"`(ZIP=\S+ sam build)`", PAGE)
    downloaded = tmp_path / "downloaded.zip"
    downloaded.write_bytes(deploy.PACKAGE.read_bytes())
    built = CHECKOUT / ".aws-sam" / "build" / "ExporterLambdaFunction"
    with shell(variables | {"CARGO": "/bin/false", "RUSTC": "/bin/false"}) as user:
        # SAM keeps the modes of the files, and Lambda runs the program as another user.
        user.run("umask 077")
        user.run(re.sub(r"ZIP=\S+", f"ZIP={downloaded}", command))
    modes = {path.name: path.stat().st_mode & 0o777 for path in built.iterdir()}
    assert modes == {"bootstrap": 0o755, "queries.yml": 0o644, "rds-authorities.pem": 0o644}


def test_osls(account: Aws, variables: dict[str, str], internet: relays.Relay) -> None:
    (install, package, create, info), (tail, again, function), (stage, remove_stage, remove) = commands(
        "Serverless Framework (osls)"
    )
    # That of .tools/ is in the PATH already.
    assert re.search(r"^OSLS := (\d+)", (CHECKOUT / "Makefile").read_text(), re.M)[1] == install.partition("osls@")[2]
    with shell(variables) as user:
        user.run(package)
        assert f"deployed to stack {NAME}" in user.run(create)
        deployed = outputs(account)
        shown = user.run(info)
        assert f"GET - {deployed['ScrapeUrl'].removesuffix('metrics')}{{proxy+}}" in shown, shown
        assert f"exporter: {NAME}" in shown, shown

        def scrape() -> None:
            assert is_scraped(internet, account, deployed["ScrapeUrl"], deployed["AuthorizationSecretArn"])

        scrape()
        assert ask(internet, deployed["ScrapeUrl"], fetched_token(user, variables))[0] == 200
        user.run_until(tail, scrape, "scrape")
        before = account.client("lambda").get_function(FunctionName=NAME)["Configuration"]
        user.run(again)
        user.run(function)
        # The package is the same, and everything else is as it was.
        changing = ("LastModified", "RevisionId", "LastUpdateStatus")
        after = account.client("lambda").get_function(FunctionName=NAME)["Configuration"]
        assert {key: value for key, value in after.items() if key not in changing} == {
            key: value for key, value in before.items() if key not in changing
        }
        user.run(stage)
        assert stacks(account) >= {NAME, f"{NAME}-prod"}
        assert outputs(account, f"{NAME}-prod")["ScrapeUrl"] != deployed["ScrapeUrl"]
        user.run(remove_stage)
        user.run(remove)
    assert not {name for name in stacks(account) if name.startswith(NAME)}


def test_cargo_lambda(account: Aws, variables: dict[str, str], internet: relays.Relay) -> None:
    role, (build, create), (token, event, invoke, remove_event) = commands("cargo-lambda")
    # Those of `make build`, so that the same code is not compiled twice. The linker's path is in the cache.
    flags = {
        "RUSTFLAGS": package.rustflags(),
        "PG_LAMBDA_EXPORTER_REVISION": package.revision(),
        "XDG_CACHE_HOME": str(CHECKOUT / ".tools" / "cache"),
    }
    with shell(variables | flags) as user:
        for command in role:
            user.run(command)
        user.run(build.replace("--x86-64", f"--{variables['ARCHITECTURE'].replace('_', '-')}"))
        url = re.search(r"https://\S+\.lambda-url\.\S+\.on\.aws/?", user.run(create))[0].rstrip("/")
        assert is_scraped(internet, account, f"{url}/metrics", f"{NAME}-token")
        for command in (token, event):
            user.run(command)
        assert "pg_up 1" in user.run(invoke)
        user.run(remove_event)
    assert not (CHECKOUT / "event.json").exists()


def test_aws_cli(account: Aws, variables: dict[str, str], internet: relays.Relay, tmp_path: Path) -> None:
    role = commands("cargo-lambda")[0]
    create, update, (logs, *remove) = commands("AWS CLI")
    functions = account.client("lambda")

    def with_package(command: str) -> str:
        command = re.sub(r"fileb://\S+\.zip", f"fileb://{deploy.PACKAGE}", command)
        return command.replace("--architectures x86_64", f"--architectures {variables['ARCHITECTURE']}")

    with shell(variables) as user:
        for command in [*role, *map(with_package, create)]:
            user.run(command)
        url = functions.get_function_url_config(FunctionName=NAME)["FunctionUrl"]
        assert is_scraped(internet, account, f"{url}metrics", f"{NAME}-token")
        for command in map(with_package, update):
            user.run(command)
        assert is_scraped(internet, account, f"{url}metrics", f"{NAME}-token")
        assert "scrape" in user.run(logs)
        for command in remove:
            user.run(command)
    assert NAME not in {function["FunctionName"] for function in functions.list_functions()["Functions"]}
    assert NAME not in {role["RoleName"] for role in account.client("iam").list_roles()["Roles"]}


def test_on_this_machine(postgres: Postgres, environment: dict[str, str]) -> None:
    (export, watch), (invoke,), (watch_with_token,), (invoke_with_token,) = commands("On your machine")
    url = f"postgres://{postgres.role}:{postgres.password}@127.0.0.1:{postgres.port}/{postgres.database}"
    with processes() as running, shell(environment | PROMPTS) as first, shell(environment | PROMPTS) as second:
        first.run(re.sub(r"=\S+", f"={url}", export))
        for command, statuses in ((watch, {invoke: 200}), (watch_with_token, {invoke: 401, invoke_with_token: 200})):
            port = running.port()
            # The page has the default, which may be taken here.
            address = f"--invoke-address 127.0.0.1 --invoke-port {port}"

            def send(port: int = port, address: str = address, statuses: dict[str, int] = statuses) -> None:
                running.wait_for("cargo-lambda's emulator", lambda: listens(port))
                for event, status in statuses.items():
                    shown = second.run(f"{event} {address}").replace(" ", "")
                    assert f'"statusCode":{status}' in shown and '"isBase64Encoded":false' in shown, shown
                    assert ("pg_up1" in shown) == (status == 200), shown

            first.run_until(f"{command} {address}", send)
