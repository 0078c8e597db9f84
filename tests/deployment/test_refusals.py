"""A parameter that is left out or wrong is refused by its name: by CloudFormation, by what `make deploy…` runs before
it asks AWS for anything, and by the function where nothing before it could know."""

import contextlib
import hashlib
import json
import re
import subprocess
import sys
import urllib.parse
import zipfile
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import botocore.exceptions
import deploy
import pytest
import template as description
from conftest import BUILT_FOR, DEPLOY, Deploy
from relays import Relay
from test_templates import (
    AUTHORIZATIONS,
    DATABASES,
    DATABASE_USER,
    DOMAIN,
    HOST,
    IAM,
    KEY,
    ROLE,
    SECRET,
    SURROUNDINGS,
    transformed,
)

from demo.aws import CHECKOUT, REGION, Aws
from demo.emulator import run_package
from demo.processes import Processes

GOOD = DATABASES[0]
LISTED = {"TargetsFile": "targets.yml", "TargetsSecretArns": SECRET}
TOPIC = f"arn:aws:sns:{REGION}:123456789012:alarms"
DIGEST = {"AUTHORIZATION_TOKEN_SHA256": hashlib.sha256(b"token").hexdigest()}
OTHER = {"arm64": "x86_64", "x86_64": "arm64"}[BUILT_FOR]

REFUSED = [
    ("DatabaseSecretArn", {}),
    ("DatabaseSecretArn", {"DatabaseSecretArn": "shop/exporter"}),
    ("DatabaseSecretArn", {"DatabaseSecretArn": f"{SECRET} and more"}),
    ("DatabaseSecretArn", {"DatabaseSecretArn": SECRET.rpartition("-")[0]}),
    ("DatabaseSecretKeyArn", GOOD | {"DatabaseSecretKeyArn": "alias/aws/secretsmanager"}),
    ("DatabaseSecretArn", IAM | HOST | {"DatabaseSecretKeyArn": KEY}),
    ("DatabasePort", GOOD | {"DatabasePort": "postgres"}),
    ("DatabasePort", GOOD | {"DatabasePort": "0"}),
    ("DatabasePort", GOOD | {"DatabasePort": "65536"}),
    ("DatabaseAuthentication", GOOD | {"DatabaseAuthentication": "kerberos"}),
    ("DatabaseResourceId", IAM | HOST | {"DatabaseResourceId": ""}),
    ("DatabaseResourceId", IAM | HOST | {"DatabaseResourceId": "shop"}),
    ("DatabaseResourceId", IAM | HOST | {"DatabaseResourceId": "*"}),
    ("DatabaseResourceId", GOOD | {"DatabaseResourceId": IAM["DatabaseResourceId"]}),
    ("DatabaseUser", IAM | HOST | {"DatabaseUser": ""}),
    ("DatabaseUser", IAM | HOST | {"DatabaseUser": "*"}),
    ("DatabaseHost", IAM),
    ("DatabaseSecretArn", GOOD | LISTED),
    ("DatabaseSecretArn", GOOD | {"TargetsTag": "metrics=yes"}),
    ("DatabaseSecretArn", GOOD | {"TargetsPrefix": "prod/"}),
    ("DatabaseResourceId", IAM | {"TargetsTag": "metrics=yes", "TargetsDatabaseArns": DATABASE_USER}),
    ("TargetsTag", LISTED | {"TargetsTag": "metrics=yes"}),
    ("TargetsTag", {"TargetsTag": "metrics"}),
    ("TargetsTag", {"TargetsTag": "=yes"}),
    ("TargetsTag", {"TargetsTag": "metrics=yes=no"}),
    ("TargetsTag", {"TargetsTag": 'metrics=yes", "a": "b'}),
    ("TargetsTag", {"TargetsTag": "metrics=${aws:username}"}),
    ("TargetsPrefix", LISTED | {"TargetsPrefix": "prod/"}),
    ("TargetsPrefix", {"TargetsPrefix": "*"}),
    ("TargetsFile", {"TargetsFile": "servers.yml", "TargetsSecretArns": SECRET}),
    ("TargetsFile", LISTED | {"TargetsFile": "/opt/targets.yml"}),
    ("TargetsFile", GOOD | {"TargetsSecretArns": SECRET}),
    ("TargetsSecretArns", {"TargetsFile": "targets.yml"}),
    ("TargetsSecretArns", LISTED | {"TargetsSecretArns": "prod/shop"}),
    ("TargetsSecretArns", LISTED | {"TargetsSecretArns": f"{SECRET},*"}),
    ("TargetsSecretArns", {"TargetsTag": "metrics=yes", "TargetsSecretArns": SECRET}),
    ("TargetsKeyArns", GOOD | {"TargetsKeyArns": KEY}),
    ("TargetsKeyArns", LISTED | {"TargetsKeyArns": f"{KEY},*"}),
    ("TargetsDatabaseArns", GOOD | {"TargetsDatabaseArns": DATABASE_USER}),
    ("TargetsDatabaseArns", LISTED | {"TargetsDatabaseArns": DATABASE_USER.replace("exporter", "*")}),
    ("TargetsDatabaseArns", LISTED | {"DatabaseAuthentication": "iam"}),
    ("PublicUrl", GOOD | {"PublicUrl": "metrics.example.com"}),
    ("MaxConnections", GOOD | {"MaxConnections": "0"}),
    ("MaxDatabases", GOOD | {"MaxDatabases": "all"}),
    ("RequestsPerSecond", GOOD | {"RequestsPerSecond": "0"}),
    ("Authorization", GOOD | {"Authorization": "basic"}),
    ("AuthorizationSecretArn", GOOD | {"AuthorizationSecretArn": "a-token"}),
    ("AuthorizationSecretArn", GOOD | AUTHORIZATIONS[1] | {"Authorization": "none"}),
    ("AuthorizationSecretArn", GOOD | {"AuthorizationSecretKeyArn": KEY}),
    ("AuthorizationSecretKeyArn", GOOD | AUTHORIZATIONS[1] | {"AuthorizationSecretKeyArn": "alias/key"}),
    ("AuthorizationTokenSha256", GOOD | AUTHORIZATIONS[-1] | {"Authorization": "none"}),
    ("AuthorizationTokenSha256", GOOD | AUTHORIZATIONS[-1] | AUTHORIZATIONS[1]),
    ("AuthorizationTokenSha256", GOOD | {"AuthorizationTokenSha256": "a-token"}),
    ("AuthorizationTokenSha256", GOOD | {"AuthorizationTokenSha256": "0" * 63}),
    ("AuthorizationTokenSha256", GOOD | {"AuthorizationTokenSha256": f"{'0' * 64}, {'1' * 64}"}),
    ("Front", GOOD | {"Front": "load-balancer"}),
    ("DomainName", GOOD | DOMAIN | {"Front": "function-url"}),
    ("DomainName", GOOD | DOMAIN | {"DomainName": "https://metrics.example.com"}),
    ("DomainName", GOOD | DOMAIN | {"DomainName": ""}),
    ("DomainCertificateArn", GOOD | {"DomainName": "metrics.example.com"}),
    ("DomainCertificateArn", GOOD | DOMAIN | {"DomainCertificateArn": "metrics.example.com"}),
    ("DomainHostedZoneId", GOOD | {"DomainHostedZoneId": "Z0123456789ABCDEFGHIJ"}),
    ("DomainHostedZoneId", GOOD | DOMAIN | {"DomainHostedZoneId": "example.com"}),
    ("SecurityGroupIds", GOOD | {"SubnetIds": "subnet-0123456789abcdef0"}),
    ("SubnetIds", GOOD | {"SecurityGroupIds": "sg-0123456789abcdef0"}),
    ("SubnetIds", GOOD | SURROUNDINGS[1] | {"SubnetIds": "10.0.0.0/24"}),
    ("SecurityGroupIds", GOOD | SURROUNDINGS[1] | {"SecurityGroupIds": "default"}),
    ("QueriesLayerArn", GOOD | {"QueriesLayerArn": "arn:aws:lambda:eu-central-1:123456789012:layer:queries"}),
    ("QueriesFile", GOOD | {"QueriesFile": "queries.yml"}),
    ("QueriesFile", GOOD | {"QueriesFile": "/opt/queries"}),
    ("Architecture", GOOD | {"Architecture": "aarch64"}),
    ("MemorySize", GOOD | {"MemorySize": "64"}),
    ("MemorySize", GOOD | {"MemorySize": "much"}),
    ("Timeout", GOOD | {"Timeout": "901"}),
    ("ReservedConcurrency", GOOD | {"ReservedConcurrency": "none"}),
    ("ReservedConcurrency", GOOD | {"ReservedConcurrency": "0"}),
    ("LogRetentionDays", GOOD | {"LogRetentionDays": "2"}),
    ("AlarmTopicArn", GOOD | {"AlarmTopicArn": "on-call@example.com"}),
    ("RoleArn", GOOD | {"RoleArn": "exporter"}),
    ("RoleArn", GOOD | {"RoleArn": ROLE, "PermissionsBoundaryArn": SURROUNDINGS[1]["PermissionsBoundaryArn"]}),
    ("RolePath", GOOD | {"RoleArn": ROLE, "RolePath": "/teams/"}),
    ("RolePath", GOOD | {"RolePath": "teams"}),
    ("PermissionsBoundaryArn", GOOD | {"PermissionsBoundaryArn": "boundary"}),
]

CASES = pytest.mark.parametrize(
    ("parameter", "values"), REFUSED, ids=[f"{number}-{parameter}" for number, (parameter, _) in enumerate(REFUSED)]
)


def test_each_parameter_is_among_the_refused() -> None:
    """But those that can be any text."""
    parameters = set(description.load()["Parameters"])
    assert parameters - {parameter for parameter, _ in REFUSED} == {"DatabaseName"}


@CASES
def test_cloudformation_refuses(aws: Aws, parameter: str, values: dict[str, str]) -> None:
    formation = aws.client("cloudformation")
    source = transformed()
    # What is refused is refused before any resource. So none has to be there for those that are accepted by mistake.
    source["Resources"] = {"ExporterLog": source["Resources"]["ExporterLog"]}
    del source["Outputs"]
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        formation.create_stack(
            StackName="refused",
            TemplateBody=json.dumps(source),
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()],
        )
    assert parameter in str(refused.value)


@CASES
def test_what_make_runs_refuses(parameter: str, values: dict[str, str]) -> None:
    with pytest.raises(description.Refused) as refused:
        description.checked(description.load(), values, {"AWS::Region": REGION, "AWS::Partition": "aws"})
    said = str(refused.value)
    assert description.variable(parameter) in said
    # A name of the template would be none that this person has typed, and a value could be a secret.
    assert parameter not in said.split()
    assert not [value for value in values.values() if value in said.split() and value not in ("none", "iam", "boundary")]


@pytest.mark.parametrize(
    ("way", "variables", "said"),
    [
        ("sam", {}, "DATABASE_SECRET_ARN is missing"),
        ("serverless", {}, "DATABASE_SECRET_ARN is missing"),
        ("cargo-lambda", {}, "DATABASE_SECRET_ARN is missing"),
        ("cargo-lambda", {"DATABASE_SECRET_ARN": SECRET}, "AUTHORIZATION_SECRET_ARN is missing"),
        ("cargo-lambda", {"DATABASE_SECRET_ARN": SECRET, "FRONT": "http-api"}, "FRONT must be function-url"),
        ("sam", {"DATABASE_SECRET_ARN": SECRET, "ARCHITECTURE": OTHER}, "ARCHITECTURE is not what the package"),
        ("sam", {"DATABASE_SECRET_ARN": SECRET, "STACK": "a_stack"}, "STACK must be"),
        ("sam", {"DATABASE_SECRET_ARN": SECRET, "AWS_REGION": ""}, "AWS_REGION is missing"),
        ("sam", {"DATABASE_SECRET_ARN": SECRET, "AWS_REGION": "us-west-2"}, "DATABASE_SECRET_ARN is of another region"),
        ("sam", {"TARGETS_FILE": "targets.yml", "TARGETS_SECRET_ARNS": SECRET}, "TARGETS_FILE is not in the package"),
        (
            "sam",
            {"TARGETS_FILE": "targets.yml", "TARGETS_SECRET_ARNS": f"{SECRET},{SECRET.replace(REGION, 'us-west-2')}"},
            "TARGETS_SECRET_ARNS is of another region",
        ),
        ("sam", {"MAKEFLAGS": r" -- DATABASE_NAME=a\ B=c SUBNET_ID=subnet-1"}, "SUBNET_ID is no parameter; did you mean SUBNET_IDS"),
        ("sam", {"DATABASE_SECRET_ARN": SECRET, "TAGS": "team=db,prod"}, "TAGS must be"),
        ("sam", {"DATABASE_SECRET_ARN": SECRET, "TAGS": "aws:team=db"}, "TAGS must be"),
        ("sam", {"DATABASE_SECRET_ARN": SECRET, "TAGS": "team=db=prod"}, "TAGS must be"),
        ("sam", {"DATABASE_SECRET_ARN": SECRET, "ZIP": "none.zip"}, f"{Path.cwd() / 'none.zip'} is not a package"),
        ("cargo-lambda", {"DATABASE_SECRET_ARN": SECRET, "ALARM_TOPIC_ARN": TOPIC} | DIGEST, "ALARM_TOPIC_ARN is set"),
    ],
)
def test_a_way_to_deploy_refuses(environment: dict[str, str], way: str, variables: dict[str, str], said: str) -> None:
    answer = subprocess.run(
        [sys.executable, DEPLOY, way], env=environment | variables, capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 1
    assert answer.stderr.startswith(f"deploy.py: {said}"), answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert answer.stdout == ""


@pytest.mark.parametrize("program", [b"#!/bin/sh\nexec ./exporter\n", b"\x7fELF".ljust(20, b"\0"), b""])
def test_a_package_with_another_kind_of_program_is_refused(
    environment: dict[str, str], tmp_path: Path, program: bytes
) -> None:
    package = tmp_path / "package.zip"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("bootstrap", program)
    variables = {"DATABASE_SECRET_ARN": SECRET, "ZIP": str(package)}
    command = [sys.executable, DEPLOY, "sam", "--check"]
    answer = subprocess.run(command, env=environment | variables, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 1
    said = f"deploy.py: bootstrap in {package} is not a Linux program for x86_64 or arm64; run make package\n"
    assert answer.stderr == said


def test_a_template_without_one_line_for_the_package_is_refused(tmp_path: Path) -> None:
    """Then SAM would deploy something else than the package."""
    package = tmp_path / "a: package #1.zip"
    source = (CHECKOUT / "template.yaml").read_text()
    changed = tmp_path / "template.yaml"
    changed.write_text(deploy.with_package(source, package))
    function = description.load(changed)["Resources"]["ExporterLambdaFunction"]["Properties"]
    assert function["CodeUri"] == str(package)
    (line,) = [line for line in source.splitlines() if line.strip().startswith("CodeUri:")]
    for text in (source.replace(line, ""), source.replace(line, f"{line}\n{line}")):
        with pytest.raises(description.Refused, match="CodeUri instead of 1"):
            deploy.with_package(text, package)


def test_make_refuses_before_it_builds(environment: dict[str, str]) -> None:
    for target in ("deploy", "deploy-serverless", "deploy-cargo-lambda"):
        command = ["make", "--no-print-directory", target]
        answer = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=60)
        assert answer.returncode != 0
        assert answer.stderr.startswith("deploy.py: DATABASE_SECRET_ARN is missing"), answer
        assert "cargo" not in answer.stdout


def test_the_serverless_framework_alone_is_refused_by_cloudformation(aws: Aws, environment: dict[str, str]) -> None:
    command = [deploy.NODE, deploy.OSLS, "deploy"]
    answer = subprocess.run(
        command, cwd=CHECKOUT, env=environment | {"STACK": "alone"}, capture_output=True, text=True, timeout=120
    )
    assert answer.returncode != 0
    assert "DatabaseSecretArn is missing" in answer.stdout + answer.stderr, answer
    assert [bucket for bucket in aws.client("s3").list_buckets()["Buckets"] if "alone" in bucket["Name"]] == []


def test_the_serverless_framework_tells_each_template_what_it_declares(
    aws: Aws, deploy_by: Deploy, environment: dict[str, str]
) -> None:
    """CloudFormation refuses a value of a parameter that is not declared. The stand-in does not."""
    told: list[dict[str, str]] = []

    def path(request: BaseHTTPRequestHandler, body: bytes) -> str:
        with contextlib.suppress(UnicodeDecodeError):
            told.append(dict(urllib.parse.parse_qsl(body.decode())))
        return request.path

    with Relay(lambda: aws.port, path).running() as relay:
        done = deploy_by("serverless", "declares", {"AWS_ENDPOINT_URL_CLOUDFORMATION": relay.url})
    assert done.returncode == 0, done
    # The second is that of the update, which has everything: test_templates.py.
    bodies = [form for form in told if form.get("Action") == "CreateChangeSet" and "TemplateBody" in form]
    assert bodies, [form.get("Action") for form in told]
    for form in bodies:
        names = {value for key, value in form.items() if re.fullmatch(r"Parameters\.member\.\d+\.ParameterKey", key)}
        assert names and names <= set(json.loads(form["TemplateBody"]).get("Parameters", {}))


@pytest.mark.parametrize(
    ("name", "values", "named"),
    [
        # Nothing checks what a person gives to `cargo lambda deploy` itself.
        ("no-database", {}, "DB_SECRET_ID"),
        ("no-host", {"DB_SECRET_ID": "given"}, "PGHOST"),
        ("port", {"DB_SECRET_ID": "given", "PGPORT": "70000"}, "PGPORT"),
        ("queries", {"DB_SECRET_ID": "given", "QUERIES_FILE": "/opt/none.yml"}, "/opt/none.yml"),
    ],
)
def test_the_function_names_what_it_lacks(
    running: Processes, aws: Aws, name: str, values: dict[str, str], named: str
) -> None:
    """The function with these variables, as a person may give them to `cargo lambda deploy`."""
    variables = {"DB_AUTH": "password", "AUTH": "none"} | values
    if "DB_SECRET_ID" in variables:
        # What RDS writes for a master user has no host in it.
        secret = {"username": "exporter", "password": "not-asked-for"}
        variables["DB_SECRET_ID"] = aws.put_secret(f"refused/{name}", secret)
    endpoint, function = run_package(running, variables | {"AWS_ENDPOINT_URL": aws.endpoint}, name)

    def said() -> bool:
        endpoint.get("/metrics")
        return named in function.log.read_text()

    running.wait_for(f"{named} in the function's log", said, 20)
    running.stop(function)
