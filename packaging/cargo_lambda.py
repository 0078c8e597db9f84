"""`make deploy-cargo-lambda`: cargo-lambda deploys the function and its URL, and this the role and other settings."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.exceptions
from template import Refused

if TYPE_CHECKING:
    from deploy import Deployment

TOOL = Path(__file__).resolve().parent.parent / ".tools" / "venv" / "bin" / "cargo-lambda"
CARGO = Path(__file__).resolve().with_name("cargo_metadata.sh")
BINARY = "pg-lambda-exporter"

MADE_BY = {"made-by": BINARY}
"""The tag of each role and function that is created here."""

ROLE_SECONDS = 60
NEW_ROLE = ("cannot be assumed by Lambda", "does not have permissions to call CreateNetworkInterface")
"""Lambda's errors until it knows a new role and its policies."""


def check(deployment: Deployment) -> None:
    """Refuses what cargo-lambda cannot create."""
    values = deployment.values
    if values["Front"] == "http-api":
        raise Refused("FRONT must be function-url or none, because cargo-lambda creates no API")
    if values["AlarmTopicArn"]:
        raise Refused("ALARM_TOPIC_ARN is set, but cargo-lambda creates no alarms; use make deploy")
    if deployment.holds("GeneratesToken"):
        raise Refused(
            "AUTHORIZATION_SECRET_ARN is missing, because cargo-lambda creates no secret; set it or "
            "AUTHORIZATION_TOKEN_SHA256, or AUTHORIZATION=none to let everyone who reaches the URL scrape"
        )


def deploy(deployment: Deployment) -> dict[str, str]:
    """Deploys, and returns the outputs that a stack of template.yaml has."""
    values, name = deployment.values, deployment.name
    functions = deployment.session.client("lambda")
    existing = own_function(functions, name)
    deployment.reserve(existing.get("Concurrency", {}).get("ReservedConcurrentExecutions", 0))
    role = values["RoleArn"] or make_role(deployment)
    if existing and existing["Configuration"]["Architectures"] != [values["Architecture"]]:
        # cargo-lambda sets the architecture of a new function only.
        package = deployment.package.read_bytes()
        functions.update_function_code(FunctionName=name, ZipFile=package, Architectures=[values["Architecture"]])
        functions.get_waiter("function_updated_v2").wait(FunctionName=name)
    until_role_is_known(lambda: run(deployment, role))
    configure(deployment, functions, role)
    arn = functions.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    outputs = {"FunctionArn": arn, "LogGroup": f"/aws/lambda/{name}"}
    if deployment.tags:
        log = deployment.arn("logs", f"log-group:{outputs['LogGroup']}")
        deployment.session.client("logs").tag_resource(resourceArn=log, tags=deployment.tags)
    if values["AuthorizationSecretArn"]:
        outputs["AuthorizationSecretArn"] = values["AuthorizationSecretArn"]
    if values["Front"] == "function-url":
        url = functions.get_function_url_config(FunctionName=name)["FunctionUrl"]
        outputs["ScrapeUrl"] = f"{url}{'targets' if deployment.holds('HasSeveralTargets') else 'metrics'}"
    else:
        remove_public_permissions(functions, name)
    return outputs


def own_function(functions, name: str) -> Mapping:
    """The function, empty if it does not exist. Refuses one that was not created here."""
    try:
        existing = functions.get_function(FunctionName=name)
    except functions.exceptions.ResourceNotFoundException:
        return {}
    if not MADE_BY.items() <= existing.get("Tags", {}).items():
        raise Refused(
            f"the function {name} exists and belongs to another deployment; choose another STACK, "
            f"or tag the function made-by={BINARY} to have it overwritten"
        )
    return existing


def make_role(deployment: Deployment) -> str:
    """Creates or updates the role of the function, and returns its ARN. Refuses one that was not created here."""
    iam, name, path = deployment.session.client("iam"), f"{deployment.name}-{deployment.region}", deployment.values["RolePath"]
    boundary = deployment.values["PermissionsBoundaryArn"]
    trust = policy({"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"})
    tags = [{"Key": key, "Value": value} for key, value in (deployment.tags | MADE_BY).items()]
    try:
        role = iam.get_role(RoleName=name)["Role"]
    except iam.exceptions.NoSuchEntityException:
        bounded = {"PermissionsBoundary": boundary} if boundary else {}
        role = iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=trust, Tags=tags, **bounded)["Role"]
    else:
        if tags[-1] not in role.get("Tags", []):
            raise Refused(f"the role {name} exists and belongs to another deployment; choose another STACK, or set ROLE_ARN")
        if role["Path"] != path:
            raise Refused(f"the role {name} has another path, which cannot change; set ROLE_PATH={role['Path']}, or delete it")
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=trust)
        iam.tag_role(RoleName=name, Tags=tags)
        if boundary:
            iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=boundary)
        elif "PermissionsBoundary" in role:
            iam.delete_role_permissions_boundary(RoleName=name)
    policies = statements(deployment)
    for former in set(iam.list_role_policies(RoleName=name)["PolicyNames"]) - policies.keys():
        iam.delete_role_policy(RoleName=name, PolicyName=former)
    for policy_name, allowed in policies.items():
        iam.put_role_policy(RoleName=name, PolicyName=policy_name, PolicyDocument=policy(*allowed))
    return role["Arn"]


def policy(*allowed: Mapping) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": allowed})


def statements(deployment: Deployment) -> dict[str, list[Mapping]]:
    """The policies that template.yaml's role has with these parameters, by their names."""
    values = deployment.values
    through_secrets = {"StringEquals": {"kms:ViaService": f"secretsmanager.{deployment.region}.{deployment.url_suffix}"}}
    user = deployment.arn("rds-db", f"dbuser:{values['DatabaseResourceId']}/{values['DatabaseUser']}")
    interfaces = """CreateNetworkInterface DescribeNetworkInterfaces DescribeSubnets DeleteNetworkInterface
        AssignPrivateIpAddresses UnassignPrivateIpAddresses"""
    # A secret's ARN ends in a hyphen and six characters, which are not of its name.
    named = deployment.arn("secretsmanager", f"secret:{values['TargetsPrefix']}*-??????")
    key, _, value = values["TargetsTag"].partition("=")
    tagged = {"StringEquals": {f"secretsmanager:ResourceTag/{key}": value}}
    # Lambda needs these actions, the function's own code does not. Only calls of the code have this key.
    own_code = {"Null": {"lambda:SourceFunctionArn": "false"}}

    def allow(actions: list[str], *resources: str, **condition: Mapping) -> list[Mapping]:
        resources = list(filter(None, resources))
        return [{"Effect": "Allow", "Action": actions, "Resource": resources, **condition}] if resources else []

    policies = {
        "log": allow(
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            deployment.arn("logs", f"log-group:/aws/lambda/{deployment.name}:*"),
        ),
        "secrets": allow(
            ["secretsmanager:GetSecretValue"], values["DatabaseSecretArn"], values["AuthorizationSecretArn"]
        ),
        "keys": allow(
            ["kms:Decrypt"],
            values["DatabaseSecretKeyArn"],
            values["AuthorizationSecretKeyArn"],
            Condition=through_secrets,
        ),
        "database": allow(["rds-db:connect"], user) if values["DatabaseResourceId"] else [],
        "target-secrets": allow(["secretsmanager:GetSecretValue"], *values["TargetsSecretArns"].split(",")),
        "target-list": allow(["secretsmanager:ListSecrets"], "*") if deployment.holds("DiscoversTargets") else [],
        "tagged-targets": allow(["secretsmanager:GetSecretValue"], named, Condition=tagged) if key else [],
        "prefixed-targets": (
            allow(["secretsmanager:GetSecretValue"], named) if deployment.holds("HasTargetsPrefixOnly") else []
        ),
        "target-keys": allow(["kms:Decrypt"], *values["TargetsKeyArns"].split(","), Condition=through_secrets),
        "target-databases": allow(["rds-db:connect"], *values["TargetsDatabaseArns"].split(",")),
        "network": [
            *allow([f"ec2:{action}" for action in interfaces.split()], "*"),
            {"Effect": "Deny", "Action": "ec2:*", "Resource": "*", "Condition": own_code},
        ],
    }
    return {name: allowed for name, allowed in policies.items() if allowed}


def run(deployment: Deployment, role: str) -> None:
    """Runs cargo-lambda. Its options for a VPC are not used: it waits half a minute for one, which is too short."""
    values = deployment.values
    variables = {
        "DB_SECRET_ID": values["DatabaseSecretArn"],
        "DB_AUTH": values["DatabaseAuthentication"],
        "PGHOST": values["DatabaseHost"],
        "PGPORT": values["DatabasePort"],
        "PGDATABASE": values["DatabaseName"],
        "PGUSER": values["DatabaseUser"],
        "TARGETS_FILE": values["TargetsFile"],
        "TARGETS_TAG": values["TargetsTag"],
        "TARGETS_PREFIX": values["TargetsPrefix"],
        "PUBLIC_URL": values["PublicUrl"],
        "MAX_CONNECTIONS": values["MaxConnections"],
        "MAX_DATABASES": values["MaxDatabases"],
        "RESERVED_CONCURRENCY": values["ReservedConcurrency"],
        "AUTH": "none" if values["Authorization"] == "none" else "",
        "AUTH_SECRET_ID": values["AuthorizationSecretArn"],
        "AUTH_TOKEN_SHA256": values["AuthorizationTokenSha256"],
        "QUERIES_FILE": values["QueriesFile"] if values["QueriesLayerArn"] else "",
    }
    with tempfile.TemporaryDirectory() as folder:
        # cargo-lambda finds a zip in the folder of the binary's name.
        (Path(folder) / BINARY).mkdir()
        (Path(folder) / BINARY / "bootstrap.zip").symlink_to(deployment.package)
        # An option for variables would split their values at commas.
        file = Path(folder) / "variables"
        file.write_text("".join(f"{name}={quoted(name, value)}\n" for name, value in variables.items() if value))
        command = [TOOL, "lambda", "deploy", "--region", deployment.region, "--role", role, "--env-file", file]
        command += ["--lambda-dir", folder, "--binary-name", BINARY]
        command += ["--memory", values["MemorySize"], "--timeout", values["Timeout"]]
        command += ["--log-retention", values["LogRetentionDays"]]
        command += ["--enable-function-url" if values["Front"] == "function-url" else "--disable-function-url"]
        command += ["--tag", ",".join(f"{key}={value}" for key, value in (deployment.tags | MADE_BY).items())]
        command += ["--layer", values["QueriesLayerArn"]] if values["QueriesLayerArn"] else []
        environment = deployment.environment | {"CARGO": str(CARGO)}
        answer = subprocess.run(
            [*command, deployment.name], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
    if answer.returncode:
        raise Refused(f"cargo lambda deploy failed:\n{answer.stderr}")
    print(answer.stdout, end="")


def configure(deployment: Deployment, functions, role: str) -> None:
    """Sets what cargo-lambda has no option for, and what it keeps from an earlier deployment."""
    name, values = deployment.name, deployment.values
    network = {field: list(filter(None, values[field].split(","))) for field in ("SubnetIds", "SecurityGroupIds")}
    settings = {"Role": role, "VpcConfig": network, "Layers": list(filter(None, [values["QueriesLayerArn"]]))}
    if not deployment.holds("LacksLoggingConfig"):
        levels = {"ApplicationLogLevel": "INFO", "SystemLogLevel": "WARN"}
        settings["LoggingConfig"] = {"LogGroup": f"/aws/lambda/{name}", "LogFormat": "JSON", **levels}
    # A function in a VPC is pending for minutes after a change, and cannot be changed in that time.
    for state in ("function_active_v2", "function_updated_v2"):
        functions.get_waiter(state).wait(FunctionName=name)
    until_role_is_known(lambda: functions.update_function_configuration(FunctionName=name, **settings))
    functions.get_waiter("function_updated_v2").wait(FunctionName=name)
    if reserved := values["ReservedConcurrency"]:
        functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=int(reserved))
    else:
        functions.delete_function_concurrency(FunctionName=name)


def until_role_is_known(action: Callable[[], Any]) -> None:
    """Repeats an action while Lambda does not know a new role yet."""
    deadline = time.monotonic() + ROLE_SECONDS
    while True:
        try:
            action()
            return
        except (Refused, botocore.exceptions.ClientError) as error:
            # cargo-lambda breaks its lines, and begins them with a bar.
            said = " ".join(str(error).replace("│", " ").split())
            if time.monotonic() > deadline or not any(words in said for words in NEW_ROLE):
                raise
        time.sleep(3)


def remove_public_permissions(functions, name: str) -> None:
    """Removes the permissions of a former URL, which cargo-lambda keeps."""
    with contextlib.suppress(functions.exceptions.ResourceNotFoundException):
        for statement in json.loads(functions.get_policy(FunctionName=name)["Policy"])["Statement"]:
            if statement["Principal"] in ("*", {"AWS": "*"}):
                functions.remove_permission(FunctionName=name, StatementId=statement["Sid"])


def quoted(name: str, value: str) -> str:
    """A value for cargo-lambda's file of variables, which has three kinds of quotes and no escapes."""
    for quote in "'\"`":
        if quote not in value:
            return f"{quote}{value}{quote}"
    raise Refused(f"{name} contains all three kinds of quotes, which cargo-lambda cannot read")
