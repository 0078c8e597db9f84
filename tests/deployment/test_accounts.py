"""`make deploy…` in accounts as people have them: new ones that cannot reserve concurrency, stacks that failed before,
and every kind of credentials."""

import datetime
import hashlib
import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import deploy
import pytest
import template as description
from conftest import BUILT_FOR, DEPLOY, TEMPORARY, Deploy, Deployed
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from relays import Answer, Relay, signer
from test_templates import SECRET

from demo.aws import CREDENTIALS, REGION, Aws

LIMIT = json.dumps({"AccountLimit": {"ConcurrentExecutions": 10, "UnreservedConcurrentExecutions": 10}, "AccountUsage": {}})
DENIED = json.dumps({"code": "AccessDeniedException", "Message": "not authorized to perform: lambda:GetAccountSettings"})
EXPIRED = """<ErrorResponse><Error><Type>Sender</Type><Code>ExpiredToken</Code>
    <Message>The security token included in the request is expired</Message></Error></ErrorResponse>"""


def account_settings(answer: Answer):
    """Gives an answer to GetAccountSettings. The stand-in's is that of a large account."""

    def path(request: BaseHTTPRequestHandler, _body: bytes) -> str | Answer:
        return answer if request.path.endswith("/account-settings") else request.path

    return path


def reserved(aws: Aws, function: str) -> int | None:
    told = aws.client("lambda").get_function_concurrency(FunctionName=function)
    return told.get("ReservedConcurrentExecutions")


def roles(aws: Aws) -> set[str]:
    return {role["RoleName"] for page in aws.client("iam").get_paginator("list_roles").paginate() for role in page["Roles"]}


def test_a_new_account_reserves_no_concurrency(aws: Aws, deploy_by: Deploy, own_secret: str) -> None:
    functions = aws.client("lambda")
    variables = {"AUTHORIZATION_SECRET_ARN": own_secret, "FRONT": "none"}
    with Relay(lambda: aws.port, account_settings(Answer(200, LIMIT))).running() as relay:
        there = {"AWS_ENDPOINT_URL": relay.url}
        refused = deploy_by("cargo-lambda", "new-explicit", variables | there | {"RESERVED_CONCURRENCY": "2"})
        assert refused.returncode == 1 and refused.stdout == "", refused
        assert refused.stderr.startswith("deploy.py: RESERVED_CONCURRENCY=2 fails: this account has 10 "), refused
        assert len(refused.stderr.splitlines()) == 1
        assert f"new-explicit-{REGION}" not in roles(aws)
        with pytest.raises(functions.exceptions.ResourceNotFoundException):
            functions.get_function(FunctionName="new-explicit")
        done = deploy_by("cargo-lambda", "new-account", variables | there)
        assert done.returncode == 0, done
        (line,) = [line for line in done.stdout.splitlines() if "concurrency" in line]
        assert line.startswith("Deploying without reserved concurrency: this account has 10 unreserved"), line
        assert reserved(aws, "new-account") is None
    # The quota was raised. Then it was used up, by this function among others, which keeps what it has.
    assert deploy_by("cargo-lambda", "new-account", variables).returncode == 0
    assert reserved(aws, "new-account") == 2
    with Relay(lambda: aws.port, account_settings(Answer(200, LIMIT))).running() as relay:
        assert deploy_by("cargo-lambda", "new-account", variables | {"AWS_ENDPOINT_URL": relay.url}).returncode == 0
        assert reserved(aws, "new-account") == 2


def test_a_deployer_who_may_not_read_the_quota_reserves_as_told(aws: Aws, deploy_by: Deploy, own_secret: str) -> None:
    variables = {"AUTHORIZATION_SECRET_ARN": own_secret, "FRONT": "none"}
    with Relay(lambda: aws.port, account_settings(Answer(403, DENIED))).running() as relay:
        done = deploy_by("cargo-lambda", "unread-quota", variables | {"AWS_ENDPOINT_URL": relay.url})
    assert done.returncode == 0, done
    assert reserved(aws, "unread-quota") == 2


PARAMETERS = {"DatabaseSecretArn": {"Type": "String", "Default": SECRET}}
LOG = {"Type": "AWS::Logs::LogGroup"}
URL_OF_NOTHING = {"Type": "AWS::Lambda::Url", "Properties": {"TargetFunctionArn": "nothing", "AuthType": "NONE"}}
FAILING = {"Parameters": PARAMETERS, "Resources": {"Log": LOG, "Url": URL_OF_NOTHING}}


def create(aws: Aws, name: str, template: dict) -> str:
    """Creates a stack, waits for its end, and returns its status."""
    formation = aws.client("cloudformation")
    formation.create_stack(StackName=name, TemplateBody=json.dumps(template))
    while True:
        status = formation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        if not status.endswith("_IN_PROGRESS"):
            return status


def test_a_stack_whose_creation_failed_is_deleted_and_deployed_again(aws: Aws, deploy_by: Deploy) -> None:
    """In a new account, where that happened most."""
    assert create(aws, "failed-before", FAILING) == "ROLLBACK_COMPLETE"
    with Relay(lambda: aws.port, account_settings(Answer(200, LIMIT))).running() as relay:
        done = deploy_by("sam", "failed-before", {"AWS_ENDPOINT_URL": relay.url})
    assert done.returncode == 0, done
    first, second = done.stdout.splitlines()[:2]
    assert first.startswith("Deploying without reserved concurrency: "), done.stdout
    assert second == "Deleting the stack failed-before, whose creation failed (ROLLBACK_COMPLETE) ..."
    (stack,) = aws.client("cloudformation").describe_stacks(StackName="failed-before")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    parameters = {entry["ParameterKey"]: entry["ParameterValue"] for entry in stack["Parameters"]}
    assert parameters["ReservedConcurrency"] == ""


@pytest.fixture
def prepared(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    """Runs what `make deploy` does before SAM or osls."""

    def prepare(stack: str, **variables: str) -> None:
        given = environment | {"DATABASE_SECRET_ARN": SECRET, "STACK": stack} | variables
        with monkeypatch.context() as context:
            for name, value in given.items():
                context.setenv(name, value)
            deployment = deploy.Deployment("sam", given)
            deployment.sign_in()
            deployment.prepare_stack()

    return prepare


def statuses(aws: Aws, name: str) -> list[str]:
    formation = aws.client("cloudformation")
    return [stack["StackStatus"] for stack in formation.list_stacks()["StackSummaries"] if stack["StackName"] == name]


def test_a_stack_that_was_never_created_is_deleted(aws: Aws, prepared) -> None:
    aws.client("cloudformation").create_change_set(
        StackName="reviewed", ChangeSetName="first", ChangeSetType="CREATE", TemplateBody=json.dumps(FAILING)
    )
    assert statuses(aws, "reviewed") == ["REVIEW_IN_PROGRESS"]
    prepared("reviewed")
    assert set(statuses(aws, "reviewed")) <= {"DELETE_COMPLETE"}


def test_a_stack_that_once_worked_is_not_deleted(aws: Aws, prepared) -> None:
    """Not even after its deletion failed, a status that the stand-in does not have: its resources may be in use."""
    assert create(aws, "worked", {"Parameters": PARAMETERS, "Resources": {"Log": LOG}}) == "CREATE_COMPLETE"
    prepared("worked")
    (stack,) = aws.client("cloudformation").describe_stacks(StackName="worked")["Stacks"]
    parameters = "<member><ParameterKey>DatabaseSecretArn</ParameterKey><ParameterValue/></member>"
    described = f"""<DescribeStacksResponse><DescribeStacksResult><Stacks><member><StackName>worked</StackName>
        <StackId>{stack["StackId"]}</StackId><CreationTime>2026-01-01T00:00:00Z</CreationTime>
        <StackStatus>DELETE_FAILED</StackStatus><Parameters>{parameters}</Parameters>
        </member></Stacks></DescribeStacksResult></DescribeStacksResponse>"""

    def path(request: BaseHTTPRequestHandler, body: bytes) -> str | Answer:
        return Answer(200, described) if b"Action=DescribeStacks&" in body else request.path

    with Relay(lambda: aws.port, path).running() as relay:
        with pytest.raises(description.Refused, match="the stack worked is DELETE_FAILED; delete it"):
            prepared("worked", AWS_ENDPOINT_URL=relay.url)
    assert statuses(aws, "worked") == ["CREATE_COMPLETE"]


def test_a_stack_of_another_project_is_refused(aws: Aws, prepared) -> None:
    others = {"Resources": FAILING["Resources"]}
    assert create(aws, "others-failed", others) == "ROLLBACK_COMPLETE"
    assert create(aws, "others", {"Resources": {"Log": LOG}}) == "CREATE_COMPLETE"
    for stack in ("others", "others-failed"):
        with pytest.raises(description.Refused, match=f"the stack {stack} exists and belongs to another project"):
            prepared(stack)
    assert statuses(aws, "others-failed") == ["ROLLBACK_COMPLETE"]


def test_every_tool_signs_with_the_credentials_of_the_profile(
    deployed: dict[str, Deployed], signers: set[tuple[str, str]]
) -> None:
    """The profile has a credential_process, and the environment has no keys: conftest.py."""
    assert signers - {("", "")} == {(TEMPORARY[0], TEMPORARY[2])}


class Machine:
    """A home folder with AWS profiles, and the calls that reach AWS from it."""

    def __init__(self, home: Path, aws: Aws) -> None:
        self.home, self.aws = home, aws
        self.calls: list[tuple[str, tuple[str, str]]] = []
        self.answer: Answer | None = None

    def profile(self, **settings: str) -> None:
        (self.home / ".aws").mkdir(exist_ok=True)
        with (self.home / ".aws" / "config").open("a") as file:
            lines = "".join(f"{name} = {value}\n" for name, value in settings.items() if name != "name")
            file.write(f"[profile {settings.get('name', 'deployer')}]\n{lines}")

    def login(self, session: str, expires: datetime.timedelta) -> None:
        """What `aws login` leaves behind."""
        now = datetime.datetime.now(datetime.UTC)
        keys = dict(zip(("accessKeyId", "secretAccessKey", "sessionToken"), ("ASIALOGIN", "secret", "login-token")))
        token = {"accessToken": keys | {"expiresAt": (now + expires).isoformat(), "accountId": "000000000000"}}
        pem = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
        key = ec.generate_private_key(ec.SECP256R1()).private_bytes(*pem).decode()
        token |= {"refreshToken": "refresh", "dpopKey": key, "clientId": "arn:aws:signin:::devtools/same-device"}
        folder = self.home / ".aws" / "login" / "cache"
        folder.mkdir(parents=True)
        (folder / f"{hashlib.sha256(session.encode()).hexdigest()}.json").write_text(json.dumps(token))

    def run(self, way: str, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        def path(request: BaseHTTPRequestHandler, body: bytes) -> str | Answer:
            action = body.partition(b"&")[0].decode(errors="replace") if body[:6] == b"Action" else request.path
            self.calls.append((action, signer(request)))
            return self.answer or request.path

        with Relay(lambda: self.aws.port, path).running() as relay:
            environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.home), "AWS_ENDPOINT_URL": relay.url}
            environment |= {"AWS_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true", "ARCHITECTURE": BUILT_FOR}
            environment |= {"DATABASE_SECRET_ARN": SECRET, "AUTHORIZATION_SECRET_ARN": SECRET}
            command = [sys.executable, DEPLOY, way, *options]
            return subprocess.run(command, env=environment | variables, capture_output=True, text=True, timeout=120)


@pytest.fixture
def machine(tmp_path: Path, aws: Aws) -> Machine:
    return Machine(tmp_path, aws)


def test_a_role_is_assumed_once_for_the_check_and_the_deployment(machine: Machine, aws: Aws) -> None:
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = aws.client("iam").create_role(RoleName="deployer", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    machine.profile(name="source", aws_access_key_id="AKIASOURCE", aws_secret_access_key="source")
    machine.profile(role_arn=role, source_profile="source")
    for options in (["--check"], []):
        done = machine.run("cargo-lambda", *options, AWS_PROFILE="deployer", STACK="assumed", FRONT="none")
        assert done.returncode == 0, done
    assumed = [signed for action, signed in machine.calls if action == "Action=AssumeRole"]
    assert assumed == [("AKIASOURCE", "")]
    ((key, token),) = {signed for action, signed in machine.calls if action != "Action=AssumeRole"}
    assert key not in ("", "AKIASOURCE") and token


def test_the_session_of_aws_login_is_used(machine: Machine) -> None:
    machine.profile(login_session="arn:aws:iam::000000000000:user/ada")
    machine.login("arn:aws:iam::000000000000:user/ada", datetime.timedelta(hours=1))
    done = machine.run("sam", "--check", AWS_PROFILE="deployer")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {signed for _, signed in machine.calls} == {("ASIALOGIN", "login-token")}


@pytest.mark.parametrize("kind", ["none", "sso", "login", "expired login", "process", "expired keys"])
def test_missing_and_expired_credentials_are_one_line(machine: Machine, kind: str) -> None:
    variables = {"AWS_PROFILE": "deployer"}
    match kind:
        case "none":
            variables = {}
        case "sso":
            account = {"sso_account_id": "000000000000", "sso_role_name": "deployer", "sso_region": REGION}
            machine.profile(sso_start_url="https://example.awsapps.com/start", **account)
        case "login":
            machine.profile(login_session="arn:aws:iam::000000000000:user/ada")
        case "expired login":
            machine.profile(login_session="arn:aws:iam::000000000000:user/ada")
            machine.login("arn:aws:iam::000000000000:user/ada", datetime.timedelta(hours=-1))
            machine.answer = Answer(400, json.dumps({"__type": "AccessDeniedException", "error": "TOKEN_EXPIRED"}))
        case "process":
            machine.profile(credential_process="false")
        case "expired keys":
            variables = CREDENTIALS
            machine.answer = Answer(403, EXPIRED)
    done = machine.run("sam", "--check", **variables)
    assert done.returncode == 1
    assert done.stderr.startswith("deploy.py: AWS credentials are missing or expired: "), done.stderr
    assert len(done.stderr.splitlines()) == 1 and "`aws login`" in done.stderr, done.stderr
