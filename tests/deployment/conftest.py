"""One PostgreSQL, one stand-in for AWS, and the exporter deployed into it in every way."""

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from demo.aws import CHECKOUT, FUNCTION, PACKAGES, REGION, SECRET, Aws
from demo.postgres import Postgres
from demo.processes import Failure, Processes, processes, stop_on_signals

# What is run by the make targets stands in a folder, not in a package.
sys.path[:0] = [str(CHECKOUT / "packaging"), str(CHECKOUT / "tests")]

import deploy  # noqa: E402
import relays  # noqa: E402

DEPLOY = CHECKOUT / "packaging" / "deploy.py"
BUILT_FOR = deploy.architecture(deploy.PACKAGE)
"""`make build` builds for this machine, which has to run it here."""
OWN_TOKEN = "a-token-that-is-given-to-cargo-lambda"
TEMPORARY = ("ASIATEMPORARY", "temporary-secret", "temporary-session-token")
"""The access key, secret and session token of the profile that deploys."""
ENDPOINT_ID = "vpce-0123456789abcdef0"

DEPLOYMENTS = {
    "sam": ("sam", {}),
    "sam-url": ("sam", {"FRONT": "function-url"}),
    "sam-private": ("sam", {"FRONT": "none"}),
    "serverless": ("serverless", {"TAGS": "team=db,cost-center=a b:c/d"}),
    "cargo-lambda": ("cargo-lambda", {}),
    "sam-all": ("sam", {"FRONT": "function-url"}),
    # cargo-lambda creates no alarms.
    "cargo-lambda-all": ("cargo-lambda", {"ALARM_TOPIC_ARN": ""}),
}
"""The deployments by the names of their stacks: how, and with which variables beside those of all. Those that end in
`-all` get every parameter that both ways know, also of a database that does not exist."""

AT_FIRST = ["sam", "serverless", "cargo-lambda"]


@dataclass
class Deployed:
    """What a way to deploy has printed, and what is there now."""

    stack: str
    printed: str
    configuration: dict
    """The function's, as Lambda tells it."""

    @property
    def url(self) -> str:
        return re.search(r"^Scrape URL: (\S+)$", self.printed, re.M)[1]

    @property
    def scrape_config(self) -> dict:
        (config,) = yaml.safe_load(self.printed.partition("In scrape_configs of prometheus.yml:\n")[2])
        return config

    @property
    def token_command(self) -> str:
        return re.search(r"^    (\(umask 077; aws secretsmanager .* \\\n.* && rm \S+\))$", self.printed, re.M)[1]


@pytest.fixture(scope="session")
def running() -> Iterator[Processes]:
    stop_on_signals()
    with processes() as running:
        yield running


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of the package, as a command line."""
    with zipfile.ZipFile(PACKAGES / FUNCTION / "bootstrap.zip") as archive:
        file = Path(archive.extract("bootstrap", tmp_path_factory.mktemp("program")))
    file.chmod(0o755)
    return file


@pytest.fixture(scope="session")
def postgres(running: Processes) -> Postgres:
    return Postgres(running)


@pytest.fixture(scope="session")
def calls() -> list[relays.Call]:
    """What the functions have asked of AWS so far."""
    return []


@pytest.fixture(scope="session")
def aws(running: Processes, calls: list[relays.Call]) -> Iterator[Aws]:
    stand_in: list[Aws] = []
    with relays.recorder(lambda: stand_in[0].port, calls).running() as recorder:
        stand_in.append(Aws(running, function_endpoint=recorder.url))
        yield stand_in[0]


@pytest.fixture(scope="session")
def deployer_calls() -> list[relays.Call]:
    """The calls of the tools that deploy so far."""
    return []


@pytest.fixture(scope="session")
def signers() -> set[tuple[str, str]]:
    """The access keys and session tokens that signed these calls."""
    return set()


@pytest.fixture(scope="session")
def deployer_endpoint(
    aws: Aws, deployer_calls: list[relays.Call], signers: set[tuple[str, str]]
) -> Iterator[str]:
    with relays.deployer_recorder(lambda: aws.port, deployer_calls, signers).running() as recorder:
        yield recorder.url


@pytest.fixture(scope="session")
def environment(deployer_endpoint: str, running: Processes) -> dict[str, str]:
    """The environment of a person who deploys, with an AWS profile whose credentials a program prints."""
    home = running.folder / "home"
    (home / ".aws").mkdir(parents=True)
    printed = {"Version": 1, **dict(zip(("AccessKeyId", "SecretAccessKey", "SessionToken"), TEMPORARY))}
    (home / "credentials.json").write_text(json.dumps(printed))
    profile = f"[profile deployer]\ncredential_process = cat {home / 'credentials.json'}\n"
    (home / ".aws" / "config").write_text(profile)
    # Where rustup and cargo are is said by HOME, which has to be another so that no tool leaves a file there.
    rust = {"CARGO_HOME": ".cargo", "RUSTUP_HOME": ".rustup"}
    rust = {name: os.environ.get(name, str(Path.home() / folder)) for name, folder in rust.items()}
    kept = {"PATH": os.environ["PATH"], "HOME": str(home), "AWS_PROFILE": "deployer"}
    where = {"AWS_ENDPOINT_URL": deployer_endpoint, "AWS_REGION": REGION, "ARCHITECTURE": BUILT_FOR}
    return kept | rust | where


@pytest.fixture(scope="session")
def parameters(aws: Aws, postgres: Postgres) -> dict[str, str]:
    """The variables that all are deployed with."""
    return {"DATABASE_SECRET_ARN": aws.put_secret(SECRET, postgres.secret())}


@pytest.fixture(scope="session")
def own_secret(aws: Aws) -> str:
    return aws.put_secret("shop/scrape", {"bearer_token": OWN_TOKEN})


@pytest.fixture(scope="session")
def everything(aws: Aws, own_secret: str) -> dict[str, str]:
    """A value for each parameter of which the default is not the only one that fits here."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as layer:
        layer.write(CHECKOUT / "queries.yml", "queries.yml")
    layer = aws.client("lambda").publish_layer_version(LayerName="queries", Content={"ZipFile": content.getvalue()})
    network = aws.client("ec2")
    vpc = network.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        network.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24")["Subnet"]["SubnetId"] for number in (1, 2)
    ]
    group = network.create_security_group(VpcId=vpc, GroupName="exporter", Description="exporter")["GroupId"]
    document = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
    boundary = aws.client("iam").create_policy(PolicyName="boundary", PolicyDocument=document)["Policy"]["Arn"]
    key = f"arn:aws:kms:{REGION}:000000000000:key/01234567-89ab-cdef-0123-456789abcdef"
    return {
        "DATABASE_SECRET_KEY_ARN": key,
        "DATABASE_HOST": "shop.cluster-abc.eu-central-1.rds.amazonaws.com",
        "DATABASE_PORT": "6432",
        "DATABASE_NAME": "the shop's, with a comma",
        "DATABASE_USER": "exporter",
        "DATABASE_AUTHENTICATION": "iam",
        "DATABASE_RESOURCE_ID": "cluster-ABCDEFGHIJKL01234",
        "AUTHORIZATION_SECRET_ARN": own_secret,
        "AUTHORIZATION_SECRET_KEY_ARN": f"{key[:-1]}0",
        "SUBNET_IDS": ",".join(subnets),
        "SECURITY_GROUP_IDS": group,
        "QUERIES_LAYER_ARN": layer["LayerVersionArn"],
        "QUERIES_FILE": "/opt/queries.yml",
        "MEMORY_SIZE": "512",
        "TIMEOUT": "20",
        "RESERVED_CONCURRENCY": "",
        "LOG_RETENTION_DAYS": "7",
        "ALARM_TOPIC_ARN": aws.client("sns").create_topic(Name="alarms")["TopicArn"],
        "PERMISSIONS_BOUNDARY_ARN": boundary,
        "ROLE_PATH": "/exporters/",
        "TAGS": "team=db,cost-center=a b:c/d",
    }


Deploy = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def deploy_by(environment: dict[str, str], parameters: dict[str, str]) -> Deploy:
    """Deploys in a way, with a name for the stack and variables beside those of all."""

    def run(way: str, stack: str, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, DEPLOY, way],
            env=environment | parameters | variables | {"STACK": stack},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    return run


def deployment(aws: Aws, deploy_by: Deploy, way: str, stack: str, variables: dict[str, str]) -> Deployed:
    """Deploys, which must succeed."""
    answer = deploy_by(way, stack, variables)
    if answer.returncode:
        raise Failure(f"deploy.py {way} of {stack}:\n{answer.stdout}{answer.stderr}")
    arn = re.search(r"^Function: +(\S+)$", answer.stdout, re.M)[1]
    return Deployed(stack, answer.stdout, aws.client("lambda").get_function(FunctionName=arn)["Configuration"])


@pytest.fixture(scope="session")
def deployed(aws: Aws, deploy_by: Deploy, own_secret: str, everything: dict[str, str]) -> dict[str, Deployed]:
    """All of them, many at once: most of the time of each is waiting. SAM's first makes the bucket of the others."""

    def run(stack: str) -> Deployed:
        way, more = DEPLOYMENTS[stack]
        if way == "cargo-lambda":
            more = more | {"AUTHORIZATION_SECRET_ARN": own_secret}
        if stack.endswith("-all"):
            more = everything | more
        return deployment(aws, deploy_by, way, stack, more)

    with ThreadPoolExecutor() as together:
        return {
            stack: done
            for stacks in (AT_FIRST, [stack for stack in DEPLOYMENTS if stack not in AT_FIRST])
            for stack, done in zip(stacks, together.map(run, stacks))
        }


@pytest.fixture(scope="session")
def private_api(aws: Aws, deployed: dict[str, Deployed]) -> dict[str, str]:
    """The outputs of the stack that puts a private REST API in front of a function that has nothing there."""
    formation = aws.client("cloudformation")
    values = {"FunctionArn": deployed["sam-private"].configuration["FunctionArn"], "VpcEndpointId": ENDPOINT_ID}
    formation.create_stack(
        StackName="private-api",
        TemplateBody=(CHECKOUT / "examples" / "private-rest-api.yaml").read_text(),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()],
    )
    formation.get_waiter("stack_create_complete").wait(StackName="private-api", WaiterConfig={"Delay": 1})
    (stack,) = formation.describe_stacks(StackName="private-api")["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


@pytest.fixture(scope="session")
def internet(aws: Aws) -> Iterator[relays.Relay]:
    with relays.internet(lambda: aws.port).running() as relay:
        yield relay


def token(aws: Aws, way: Deployed) -> str:
    """What a deployment asks for."""
    secret = way.configuration["Environment"]["Variables"]["AUTH_SECRET_ID"]
    text = aws.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"]
    return json.loads(text)["bearer_token"]


@pytest.fixture(scope="session")
def tokens(aws: Aws, deployed: dict[str, Deployed], own_secret: str) -> dict[str, str]:
    """What each deployment asks for."""
    return {stack: token(aws, way) for stack, way in deployed.items()}
