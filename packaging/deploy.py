#!/usr/bin/env python3
"""Deploys target/lambda/pg-lambda-exporter/bootstrap.zip by SAM, by the Serverless Framework (osls) or by cargo-lambda,
and says how Prometheus scrapes it. What `make deploy`, `make deploy-serverless` and `make deploy-cargo-lambda` run.

The parameters are those of template.yaml, each from the variable of its name: DatabaseSecretArn from
DATABASE_SECRET_ARN. A variable that is not set stands for the default, in an update too, so that the same command
gives the same stack. What is missing or wrong is said before anything is asked of AWS.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":
    # Importing the rest takes half a second, in which Ctrl-C would be a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import difflib
import fcntl
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import boto3
import botocore.exceptions
from template import Refused, Resolver, as_variables, given, load, variable

CHECKOUT = Path(__file__).resolve().parent.parent
BINARY = "pg-lambda-exporter"
PACKAGE = CHECKOUT / "target" / "lambda" / BINARY / "bootstrap.zip"
SAM = CHECKOUT / ".tools" / "sam" / "bin" / "sam"
NODE = CHECKOUT / ".tools" / "nodejs" / "node_modules" / ".bin" / "node"
OSLS = CHECKOUT / ".tools" / "osls" / "node_modules" / ".bin" / "osls"

MACHINES = {0x3E: "x86_64", 0xB7: "arm64"}
"""What an ELF file was built for (elf.h, e_machine), in Lambda's words."""

STACK_NAME = r"[A-Za-z][A-Za-z0-9-]{0,47}"
"""What a stack, a service of the Serverless Framework and a role may all be called."""

MADE_BY = {"Key": "made-by", "Value": BINARY}
"""The tag of a role and of a function that were made here."""

MADE_BY_TAG = "{Key}={Value}".format(**MADE_BY)
"""The same in words."""

ROLE_SECONDS = 60
"""How long it may take until Lambda knows a role that has just been made."""

UNKNOWN_ROLE = ("cannot be assumed by Lambda", "does not have permissions to call CreateNetworkInterface")
"""What Lambda says until then: of the role's trust, or of its network permissions in a VPC."""


class Deployment:
    """What is deployed, and where."""

    def __init__(self, way: str, environment: Mapping[str, str]) -> None:
        self.template = load()
        self.stack = environment.get("STACK") or BINARY
        if not re.fullmatch(STACK_NAME, self.stack):
            raise Refused("STACK must be letters, digits and hyphens, beginning with a letter, at most 48")
        defaults = {"Front": "function-url"} if way == "cargo-lambda" else {}
        self.values = defaults | given(self.template, environment)
        self.session = boto3.Session(region_name=environment.get("AWS_REGION") or None)
        self.resolver = Resolver(self.template, self.values, {"AWS::Region": self.session.region_name})
        if way == "cargo-lambda":
            self._check_for_cargo_lambda()
        if not self.session.region_name:
            raise Refused("AWS_REGION is missing, and the AWS profile has no region")
        self.region = self.session.region_name
        self._check_regions()
        # SAM reports on its use otherwise, and keeps a file of its own in the home folder.
        quiet = {"SAM_CLI_TELEMETRY": "0", "__SAM_CLI_APP_DIR": str(SAM.parent.parent / "app")}
        self.environment = quiet | dict(environment) | {"STACK": self.stack, "AWS_REGION": self.region}

    def _check_for_cargo_lambda(self) -> None:
        if self.resolver.parameters["Front"] == "http-api":
            raise Refused("FRONT must be function-url or none here, since cargo-lambda makes no API")
        if self.resolver.condition("GeneratesToken"):
            raise Refused(
                "AUTHORIZATION_SECRET_ARN is missing, since cargo-lambda makes no secret; "
                "AUTHORIZATION=none lets everybody scrape who reaches the URL"
            )

    def _check_regions(self) -> None:
        """The function asks in its own region only, and its policy would not say that a secret is elsewhere."""
        for parameter, value in self.resolver.parameters.items():
            if value.startswith("arn:") and value.split(":")[3] not in ("", self.region):
                raise Refused(f"{variable(parameter)} is of another region than AWS_REGION")

    def check_package(self) -> None:
        """Refuses a package of another processor, which Lambda would take and could not start."""
        built_for = architecture(PACKAGE)
        if self.resolver.parameters["Architecture"] != built_for:
            raise Refused(f"ARCHITECTURE is not what the package was built for, {built_for}")

    def run(self, name: str, *command: str | Path) -> None:
        """Runs a program that deploys, its output going where ours goes."""
        if subprocess.run(command, cwd=CHECKOUT, env=self.environment).returncode:
            raise Refused(f"{name} has failed; the reason stands above")

    def stack_outputs(self) -> dict[str, str]:
        """The outputs of the stack."""
        stacks = self.session.client("cloudformation").describe_stacks(StackName=self.stack)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stacks[0].get("Outputs", [])}


def sam(deployment: Deployment) -> dict[str, str]:
    """Deploys by AWS SAM."""
    # All of them: SAM would keep the former value of one that is left out, where the other ways take the default.
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(deployment.resolver.parameters, file)  # Which is YAML.
        file.flush()
        deployment.run(
            *("sam", SAM, "deploy", "--template-file", CHECKOUT / "template.yaml", "--stack-name", deployment.stack),
            *("--region", deployment.region, "--resolve-s3", "--capabilities", "CAPABILITY_IAM"),
            *("--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar"),
            *("--parameter-overrides", f"file://{file.name}"),
        )
    return deployment.stack_outputs()


def serverless(deployment: Deployment) -> dict[str, str]:
    """Deploys by the Serverless Framework."""
    # What it writes into .serverless/ has the same names for every stack.
    with (OSLS.parents[2] / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        deployment.run("osls", NODE, OSLS, "deploy", "--region", deployment.region)
    return deployment.stack_outputs()


def cargo_lambda(deployment: Deployment) -> dict[str, str]:
    """Deploys by cargo-lambda, which makes a function with a URL; what else template.yaml has is made here."""
    parameters = deployment.resolver.parameters
    name, region, client = deployment.stack, deployment.region, deployment.session.client
    caller = client("sts").get_caller_identity()
    partition, account = (caller["Arn"].split(":")[index] for index in (1, 4))
    functions = client("lambda")
    there = function_of_ours(functions, name)
    group = f"/aws/lambda/{name}"
    known = {
        "AWS::Partition": partition,
        "AWS::AccountId": account,
        "AWS::Region": region,
        "AWS::StackName": name,
        "AWS::URLSuffix": "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com",
        "ExporterLog": group,
        "ExporterLog.Arn": f"arn:{partition}:logs:{region}:{account}:log-group:{group}:*",
    }
    resolver = Resolver(deployment.template, deployment.values, known)
    make_log_group(client("logs"), group, int(parameters["LogRetentionDays"]))
    role = parameters["RoleArn"] or make_role(client("iam"), f"{name}-{region}", resolver)
    known["ExporterRole.Arn"] = role
    function = resolver.properties("ExporterLambdaFunction")
    has_url = resolver.condition("HasFunctionUrl")
    if there:
        change_architecture(functions, there, parameters["Architecture"])
    elif has_url:
        # Nobody reaches a new one before all of it is as it should be.
        deploy_function(deployment, function, role, has_url=False)
        configure(functions, name, function, role)
    deploy_function(deployment, function, role, has_url)
    configure(functions, name, function, role)
    if has_url:
        known["FunctionUrl.FunctionUrl"] = functions.get_function_url_config(FunctionName=name)["FunctionUrl"]
    else:
        permit_nobody(functions, name)
    known["ExporterLambdaFunction"] = name
    known["ExporterLambdaFunction.Arn"] = functions.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    outputs = deployment.template["Outputs"].items()
    return {
        output: resolver.resolve(definition["Value"])
        for output, definition in outputs
        if "Condition" not in definition or resolver.condition(definition["Condition"])
    }


def make_log_group(logs, group: str, days: int) -> None:
    """The function's log group, which Lambda would make too, but to be kept for ever."""
    try:
        logs.create_log_group(logGroupName=group)
    except logs.exceptions.ResourceAlreadyExistsException:
        pass
    logs.put_retention_policy(logGroupName=group, retentionInDays=days)


def make_role(iam, name: str, resolver: Resolver) -> str:
    """The function's role with the policies of template.yaml and no others. Gives its ARN.

    A role of that name which was not made here is somebody's, and stays as it is."""
    properties = resolver.properties("ExporterRole")
    trust = json.dumps(properties["AssumeRolePolicyDocument"])
    boundary = properties.get("PermissionsBoundary")
    try:
        role = iam.get_role(RoleName=name)["Role"]
    except iam.exceptions.NoSuchEntityException:
        bounded = {"PermissionsBoundary": boundary} if boundary else {}
        path = properties["Path"]
        made = iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=trust, Tags=[MADE_BY], **bounded)
        role = made["Role"]
    else:
        if MADE_BY not in role.get("Tags", []):
            raise Refused(f"the role {name} is there, and not of this deployment; another STACK, or ROLE_ARN, avoids it")
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=trust)
        if boundary:
            iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=boundary)
        elif "PermissionsBoundary" in role:
            iam.delete_role_permissions_boundary(RoleName=name)
    policies = {policy["PolicyName"]: policy["PolicyDocument"] for policy in properties["Policies"]}
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        if policy not in policies:
            iam.delete_role_policy(RoleName=name, PolicyName=policy)
    for policy, document in policies.items():
        iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))
    return role["Arn"]


def function_of_ours(functions, name: str) -> Mapping | None:
    """The configuration of the function that is there; None where there is none.

    One that was not made here is somebody's, or another stack's, and stays as it is."""
    try:
        there = functions.get_function(FunctionName=name)
    except functions.exceptions.ResourceNotFoundException:
        return None
    if there.get("Tags", {}).get(MADE_BY["Key"]) != MADE_BY["Value"]:
        raise Refused(
            f"the function {name} is there, and not of this deployment; another STACK avoids it, "
            f"and the tag {MADE_BY_TAG} on it says that it may be changed"
        )
    return there["Configuration"]


def change_architecture(functions, there: Mapping, architecture: str) -> None:
    """Has a function run on the package's processor, which cargo-lambda says of a new one only."""
    if there["Architectures"] == [architecture]:
        return
    name = there["FunctionName"]
    functions.update_function_code(FunctionName=name, ZipFile=PACKAGE.read_bytes(), Architectures=[architecture])
    functions.get_waiter("function_updated_v2").wait(FunctionName=name)


def deploy_function(deployment: Deployment, function: Mapping, role: str, has_url: bool) -> None:
    """Has cargo-lambda make or change the function and its URL.

    It is not told of a VPC, for which it waits half a minute and then fails; `configure` waits longer."""
    command = ["cargo", "lambda", "deploy", "--region", deployment.region]
    command += ["--tag", MADE_BY_TAG]
    command += ["--enable-function-url" if has_url else "--disable-function-url"]
    command += ["--lambda-dir", str(PACKAGE.parent.parent), "--binary-name", BINARY, "--iam-role", role]
    command += ["--memory", function["MemorySize"], "--timeout", function["Timeout"]]
    command += [word for layer in function.get("Layers", []) for word in ("--layer-arn", layer)]
    # Not as options, which end at a comma.
    with tempfile.NamedTemporaryFile("w", suffix=".env") as file:
        for name, value in function["Environment"]["Variables"].items():
            file.write(f"{name}={quoted(name, value)}\n")
        file.flush()
        command += ["--env-file", file.name]
        deadline = time.monotonic() + ROLE_SECONDS
        while True:
            answer = subprocess.run(
                [*command, deployment.stack],
                cwd=CHECKOUT,
                env=deployment.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            too_new = any(words in answer.stdout for words in UNKNOWN_ROLE)
            if not (answer.returncode and too_new and time.monotonic() < deadline):
                break
            time.sleep(3)
    sys.stdout.write(answer.stdout)
    if answer.returncode:
        raise Refused("cargo lambda deploy has failed; the reason stands above")


def quoted(name: str, value: str) -> str:
    """A value as cargo-lambda's files of variables have it: between quotes of one kind, and no escapes."""
    for quote in "'\"`":
        if quote not in value:
            return f"{quote}{value}{quote}"
    raise Refused(f"{name} has all kinds of quotes in it, which cargo-lambda cannot be told")


def configure(functions, name: str, function: Mapping, role: str) -> None:
    """What cargo-lambda has no option for or passes over in an update, and what an earlier deployment had and this one
    has not."""
    # One in a VPC is pending for a while after it was changed, and is not changed again in that time.
    for state in ("function_active_v2", "function_updated_v2"):
        functions.get_waiter(state).wait(FunctionName=name)
    deadline = time.monotonic() + ROLE_SECONDS
    while True:
        try:
            functions.update_function_configuration(
                FunctionName=name,
                Role=role,
                Layers=function.get("Layers", []),
                VpcConfig=function.get("VpcConfig", {"SubnetIds": [], "SecurityGroupIds": []}),
                **({"LoggingConfig": function["LoggingConfig"]} if "LoggingConfig" in function else {}),
            )
            break
        except functions.exceptions.InvalidParameterValueException as error:
            too_new = any(words in str(error) for words in UNKNOWN_ROLE)
            if not (too_new and time.monotonic() < deadline):
                raise
            time.sleep(3)
    functions.get_waiter("function_updated_v2").wait(FunctionName=name)
    if "ReservedConcurrentExecutions" in function:
        reserved = int(function["ReservedConcurrentExecutions"])
        functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=reserved)
    else:
        functions.delete_function_concurrency(FunctionName=name)


def permit_nobody(functions, name: str) -> None:
    """Takes back what everybody was permitted while there was a URL, which cargo-lambda does not."""
    try:
        policy = json.loads(functions.get_policy(FunctionName=name)["Policy"])
    except functions.exceptions.ResourceNotFoundException:
        return
    for statement in policy["Statement"]:
        if statement["Principal"] in ("*", {"AWS": "*"}):
            functions.remove_permission(FunctionName=name, StatementId=statement["Sid"])


def architecture(package: Path) -> str:
    """What the program in the package was built for."""
    try:
        with zipfile.ZipFile(package) as content, content.open("bootstrap") as program:
            header = program.read(20)
    except (OSError, KeyError, zipfile.BadZipFile):
        raise Refused(f"{package.relative_to(CHECKOUT)} is not a package: make package") from None
    return MACHINES.get(int.from_bytes(header[18:20], "little"), "something else")


def check_names(template: Mapping, make_flags: str) -> None:
    """Refuses a variable on make's command line that is none of ours, which would be ignored otherwise."""
    known = [*map(variable, template["Parameters"]), "STACK", "ARCH", "PYTHON"]
    # Behind the flags stands NAME=VALUE for each; a space in a value has a backslash before it.
    for name in re.findall(r"(?<!\S)(?<!\\ )([A-Za-z_][A-Za-z0-9_]*)=", make_flags.partition("-- ")[2]):
        if name not in known and not name.startswith("AWS_"):
            near = difflib.get_close_matches(name, known, 1)
            raise Refused(f"{name} is no parameter" + (f"; {near[0]} is one" if near else ""))


def report(deployed: Mapping[str, str], stack: str, region: str, is_own_secret: bool) -> str:
    """What a person needs to have Prometheus scrape it, of the outputs."""
    config = deployed.get("ScrapeConfig", "").rstrip("\n")
    lines = ["", f"Function:   {deployed['FunctionArn']}"]
    lines += [f"Scrape URL: {deployed['ScrapeUrl']}" if config else "Nothing is in front of it: FRONT is none."]
    lines += [f"Its log:    aws logs tail {deployed['LogGroup']} --since 15m --region {region}", ""]
    if secret := deployed.get("AuthorizationSecretArn"):
        file = re.search(r"credentials_file: (\S+)", config)
        # A file that is good stays where there is no token to put in its place, and stays whose it is.
        token = file[1] if file else f"/etc/prometheus/{stack}.token"
        destination = f" > {token}.new && test -s {token}.new && cp {token}.new {token} && rm {token}.new"
        lines += [
            "The token that Prometheus presents, to be fetched as the user that Prometheus runs as:",
            "",
            f"    (umask 077; aws secretsmanager get-secret-value --region {region} --secret-id {secret} \\",
            "        --query SecretString --output text | "
            f"jq --exit-status --raw-output '[.. | objects | .bearer_token // empty] | flatten | last // empty'{destination})",
            "",
        ]
        if is_own_secret:
            lines += [
                "Of several tokens it takes the last. If the secret has a username and a password, or is a token as a whole,",
                "Prometheus is told otherwise: docs/authorization.md",
                "",
            ]
    if config:
        lines += ["In scrape_configs of prometheus.yml:", "", *(f"  {line}" for line in config.splitlines()), ""]
    return "\n".join(lines)


WAYS: dict[str, Callable[[Deployment], dict[str, str]]] = {
    "sam": sam,
    "serverless": serverless,
    "cargo-lambda": cargo_lambda,
}


def main() -> None:
    """Deploys and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("--check", action="store_true", help="look at the variables, before there is a package")
    arguments = parser.parse_args()
    template = load()
    try:
        check_names(template, os.environ.get("MAKEFLAGS", ""))
        deployment = Deployment(arguments.way, os.environ)
        if arguments.check:
            return
        deployment.check_package()
        outputs = WAYS[arguments.way](deployment)
    except Refused as refused:
        sys.exit(f"{parser.prog}: {refused}")
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        sys.exit(f"{parser.prog}: {as_variables(template, str(error))}")
    print(report(outputs, deployment.stack, deployment.region, bool(os.environ.get("AUTHORIZATION_SECRET_ARN"))))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
