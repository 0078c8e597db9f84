#!/usr/bin/env python3
"""Deploys the package with AWS SAM, the Serverless Framework (osls) or cargo-lambda, and prints how to scrape it.

`make deploy`, `make deploy-serverless` and `make deploy-cargo-lambda` run it. Each parameter of template.yaml is an
environment variable: DatabaseSecretArn is DATABASE_SECRET_ARN. An unset variable means the default, in an update too.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":
    # The imports below take half a second, in which Ctrl-C would print a traceback.
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
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

import boto3
import botocore.exceptions
import cargo_lambda
from botocore.utils import JSONFileCache
from template import TEMPLATE, Refused, as_variables, checked, holds, load, variable

CHECKOUT = Path(__file__).resolve().parent.parent
BINARY = "pg-lambda-exporter"
PACKAGE = CHECKOUT / "target" / "lambda" / BINARY / "bootstrap.zip"
TARGETS_FILE = "targets.yml"
SAM = CHECKOUT / ".tools" / "sam" / "bin" / "sam"
NODE = CHECKOUT / ".tools" / "nodejs" / "node_modules" / ".bin" / "node"
OSLS = CHECKOUT / ".tools" / "osls" / "node_modules" / ".bin" / "osls"

MACHINES = {0x3E: "x86_64", 0xB7: "arm64"}
"""e_machine of an ELF file, and Lambda's name of that architecture."""

STACK_NAME = r"[A-Za-z][A-Za-z0-9-]{0,47}"
"""A valid name for a stack, a service of the Serverless Framework and, with the region behind it, a role."""

UNRESERVED = 100
"""Concurrent executions that Lambda keeps unreserved in each region of an account."""

UNUSABLE_STACK = ("REVIEW_IN_PROGRESS", "ROLLBACK_FAILED", "ROLLBACK_COMPLETE", "DELETE_FAILED")
"""Statuses of a stack that cannot be updated."""

SIGN_IN = "sign in with `aws login` or `aws sso login`, or set AWS_PROFILE"
UNUSABLE_KEYS = "ExpiredToken ExpiredTokenException InvalidClientTokenId RequestExpired UnrecognizedClientException".split()
"""Error codes of AWS for credentials that are expired or were deleted."""


class Deployment:
    """The parameters, the account and the credentials of one deployment."""

    def __init__(self, way: str, given: Mapping[str, str]) -> None:
        self.template = load()
        self.given = given
        self.name = given.get("STACK") or BINARY
        if not re.fullmatch(STACK_NAME, self.name):
            raise Refused("STACK must be letters, digits and hyphens, begin with a letter, and have at most 48 characters")
        self.package = Path(given.get("ZIP") or PACKAGE).resolve()
        self.tags = dict(map(tag, filter(None, given.get("TAGS", "").split(","))))
        self.session = boto3.Session(region_name=given.get("AWS_REGION") or None)
        self.region = self.session.region_name
        if not self.region:
            raise Refused("AWS_REGION is missing, and the AWS profile has no region")
        self.partition = self.session.get_partition_for_region(self.region)
        partitions = self.session._session.get_data("partitions")["partitions"]
        self.url_suffix = {each["id"]: each["outputs"]["dnsSuffix"] for each in partitions}[self.partition]
        defaults = {"Front": "function-url"} if way == "cargo-lambda" else {}
        values = {name: given[variable(name)] for name in self.template["Parameters"] if variable(name) in given}
        self.pseudo = {"AWS::Region": self.region, "AWS::Partition": self.partition}
        self.values = checked(self.template, defaults | values, self.pseudo)
        for parameter, value in self.values.items():
            for arn in value.split(",") if value.startswith("arn:") else []:
                if arn.split(":")[3] not in ("", self.region):
                    raise Refused(f"{variable(parameter)} is of another region than AWS_REGION")
        if way == "cargo-lambda":
            cargo_lambda.check(self)

    def holds(self, condition: str) -> bool:
        """Whether a condition of template.yaml is true."""
        return holds(self.template, {"Condition": condition}, self.values | self.pseudo)

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource in this account and region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def check_package(self) -> None:
        """Lambda accepts a package for another processor, but could not start it."""
        built_for = architecture(self.package)
        if self.values["Architecture"] != built_for:
            raise Refused(f"ARCHITECTURE is not what the package was built for; set ARCHITECTURE={built_for}")
        with zipfile.ZipFile(self.package) as content:
            self.check_targets_file(content.namelist())

    def check_targets_file(self, names: Collection[str]) -> None:
        """Refuses a targets file that is not in the package."""
        file = self.values["TargetsFile"]
        if file == TARGETS_FILE and file not in names:
            raise Refused(f"TARGETS_FILE is not in the package; put {file} beside queries.yml, or into the ZIP")

    def sign_in(self) -> None:
        """Resolves the credentials once, for every tool: not each of them knows each kind of AWS profile."""
        # The AWS CLI's cache of assumed roles, so that it asks for no second MFA code.
        providers = self.session._session.get_component("credential_provider")
        providers.get_provider("assume-role").cache = JSONFileCache()
        credentials = self.session.get_credentials()
        if not credentials:
            raise botocore.exceptions.NoCredentialsError
        keys = credentials.get_frozen_credentials()
        named = {"AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key}
        if keys.token:
            named["AWS_SESSION_TOKEN"] = keys.token
        others = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")
        # SAM sends usage reports otherwise, and writes a file in the home folder.
        quiet = {"SAM_CLI_TELEMETRY": "0", "__SAM_CLI_APP_DIR": str(SAM.parent.parent / "app")}
        kept = {name: value for name, value in self.given.items() if name not in others}
        self.environment = quiet | kept | named | {"STACK": self.name, "AWS_REGION": self.region}
        self.environment |= {"AWS_DEFAULT_REGION": self.region, "ZIP": str(self.package)}
        self.account = self.session.client("sts").get_caller_identity()["Account"]

    def reserve(self, held: int) -> None:
        """Reserves no concurrency in an account that cannot, as a new one. `held` is what the function has already."""
        wish = int(self.values["ReservedConcurrency"] or 0)
        if wish > held:
            try:
                limits = self.session.client("lambda").get_account_settings()["AccountLimit"]
            except botocore.exceptions.ClientError as error:
                if not error.response["Error"]["Code"].startswith("AccessDenied"):
                    raise
                return
            free = limits["UnreservedConcurrentExecutions"]
            if free + held - wish < UNRESERVED:
                state = f"this account has {free} unreserved concurrent executions, and Lambda keeps {UNRESERVED} of them"
                if variable("ReservedConcurrency") in self.given:
                    raise Refused(f"RESERVED_CONCURRENCY={wish} fails: {state}; leave it unset, or raise the quota")
                print(f"Deploying without reserved concurrency: {state}.", flush=True)
                self.values["ReservedConcurrency"] = ""

    def run(self, name: str, *command: str | Path, **variables: str) -> None:
        """Runs a tool that deploys, with our output as its output."""
        if subprocess.run(command, cwd=CHECKOUT, env=self.environment | variables).returncode:
            raise Refused(f"{name} failed; see its output above")

    def stack(self) -> Mapping | None:
        """The stack, if it exists."""
        formation = self.session.client("cloudformation")
        try:
            return formation.describe_stacks(StackName=self.name)["Stacks"][0]
        except botocore.exceptions.ClientError as error:
            if "does not exist" not in str(error):
                raise
            return None

    def prepare_stack(self) -> None:
        """Refuses the stack of another project, and deletes one of ours whose first creation failed."""
        stack = self.stack()
        parameters = {entry["ParameterKey"]: entry["ParameterValue"] for entry in (stack or {}).get("Parameters", [])}
        status = stack["StackStatus"] if stack else None
        if stack and status != "REVIEW_IN_PROGRESS" and not parameters.keys() & {"DatabaseSecretArn"}:
            raise Refused(f"the stack {self.name} exists and belongs to another project; choose another STACK")
        if status not in UNUSABLE_STACK:
            self.reserve(int(parameters.get("ReservedConcurrency") or 0))
            return
        self.reserve(0)
        formation = self.session.client("cloudformation")
        pages = formation.get_paginator("describe_stack_events").paginate(StackName=stack["StackId"])
        for event in (event for page in pages for event in page["StackEvents"]):
            if event["PhysicalResourceId"] == stack["StackId"] and event["ResourceStatus"] == "CREATE_COMPLETE":
                raise Refused(f"the stack {self.name} is {status}; delete it, then deploy again")
        print(f"Deleting the stack {self.name}, whose creation failed ({status}) ...", flush=True)
        formation.delete_stack(StackName=stack["StackId"])
        try:
            waiter = formation.get_waiter("stack_delete_complete")
            waiter.wait(StackName=stack["StackId"], WaiterConfig={"Delay": 3, "MaxAttempts": 1000})
        except botocore.exceptions.WaiterError:
            raise Refused(f"the stack {self.name} cannot be deleted; read its events, delete it, then deploy again") from None

    def outputs(self) -> dict[str, str]:
        """The outputs of the stack."""
        return {output["OutputKey"]: output["OutputValue"] for output in self.stack().get("Outputs", [])}


def sam(deployment: Deployment) -> dict[str, str]:
    """Deploys with AWS SAM."""
    deployment.prepare_stack()
    with tempfile.TemporaryDirectory() as folder:
        template, values = Path(folder) / TEMPLATE.name, Path(folder) / "parameters.yaml"
        template.write_text(with_package(TEMPLATE.read_text(), deployment.package))
        # All of them: SAM keeps the former value of an omitted one.
        values.write_text(json.dumps(deployment.values))
        command = ["deploy", "--template-file", template, "--parameter-overrides", f"file://{values}"]
        command += ["--stack-name", deployment.name, "--region", deployment.region, "--resolve-s3"]
        command += ["--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-fail-on-empty-changeset"]
        command += ["--no-progressbar", *(["--tags", *map("=".join, deployment.tags.items())] if deployment.tags else [])]
        deployment.run("sam", SAM, *command)
    return deployment.outputs()


def with_package(template: str, package: Path) -> str:
    """The template with the path of a package as the function's code."""
    text, count = re.subn(r"(?m)^( +CodeUri:).*$", lambda match: f"{match[1]} {json.dumps(str(package))}", template)
    if count != 1:
        raise Refused(f"{TEMPLATE.name} has {count} lines with CodeUri instead of 1; restore the file")
    return text


def serverless(deployment: Deployment) -> dict[str, str]:
    """Deploys with the Serverless Framework."""
    deployment.prepare_stack()
    variables = {variable(name): value for name, value in deployment.values.items()}
    # The files that it writes into .serverless/ have the same names for every stack.
    with (OSLS.parents[2] / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        deployment.run("osls", NODE, OSLS, "deploy", "--region", deployment.region, **variables)
    return deployment.outputs()


def tag(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    # SAM splits at the last of several equals signs, the other tools at the first.
    if not equals or not key or "=" in value or len(key) > 128 or len(value) > 256 or key.lower().startswith("aws:"):
        raise Refused("TAGS must be NAME=VALUE pairs separated by commas, with one = each")
    return key, value


def architecture(package: Path) -> str:
    """The architecture that the program in the package was built for."""
    try:
        with zipfile.ZipFile(package) as content, content.open("bootstrap") as program:
            header = program.read(20)
    except (OSError, KeyError, zipfile.BadZipFile):
        raise Refused(f"{package} is not a package with the program; run make package, or set ZIP") from None
    machine = MACHINES.get(int.from_bytes(header[18:20], "little")) if header.startswith(b"\x7fELF") else None
    if not machine:
        raise Refused(f"bootstrap in {package} is not a Linux program for {' or '.join(MACHINES.values())}; run make package")
    return machine


def check_names(template: Mapping, make_flags: str) -> None:
    """Refuses an unknown variable on make's command line, which make would ignore."""
    known = [*map(variable, template["Parameters"]), "STACK", "TAGS", "ZIP", "ARCH", "PYTHON"]
    # NAME=VALUE follows the flags; a space in a value has a backslash before it.
    for name in re.findall(r"(?<!\S)(?<!\\ )([A-Za-z_][A-Za-z0-9_]*)=", make_flags.partition("-- ")[2]):
        if name not in known and not name.startswith("AWS_"):
            near = difflib.get_close_matches(name, known, 1)
            raise Refused(f"{name} is no parameter" + (f"; did you mean {near[0]}?" if near else ""))


def report(deployment: Deployment, outputs: Mapping[str, str]) -> str:
    """The deployment, and the steps to scrape it."""
    name, region, url = deployment.name, deployment.region, outputs.get("ScrapeUrl")
    token = f"/etc/prometheus/{name}.token"
    lines = ["", f"Function:   {outputs['FunctionArn']}"]
    lines += [f"Scrape URL: {url}" if url else "FRONT is none: the function has no URL."]
    lines += [f"Its log:    aws logs tail {outputs['LogGroup']} --since 15m --region {region}", ""]
    if secret := outputs.get("AuthorizationSecretArn"):
        # The file keeps its owner, and its content if there is no token.
        query = "[.. | objects | .bearer_token // empty] | flatten | last // empty"
        lines += [
            "Fetch the token for Prometheus, as the user that Prometheus runs as:",
            "",
            f"    (umask 077; aws secretsmanager get-secret-value --region {region} --secret-id {secret} \\",
            f"        --query SecretString --output text | jq --exit-status --raw-output '{query}' "
            f"> {token}.new && test -s {token}.new && cp {token}.new {token} && rm {token}.new)",
            "",
        ]
        if deployment.values["AuthorizationSecretArn"]:
            lines += [
                "It takes the last of several tokens. For a username and password, or a plain token, see",
                "docs/authorization.md.",
                "",
            ]
    elif deployment.values["AuthorizationTokenSha256"]:
        lines += [f"Put the token of the digest in AUTHORIZATION_TOKEN_SHA256 into {token}.", ""]
    if url:
        authorization = ["  authorization:", f"    credentials_file: {token}"] if not deployment.holds("IsOpen") else []
        config = [f"- job_name: {name}", "  scheme: https", "  scrape_interval: 1m", "  scrape_timeout: 20s", *authorization]
        if deployment.holds("HasSeveralTargets"):
            config += ["  http_sd_configs:", f"    - url: {url}", *(f"    {line}" for line in authorization)]
        else:
            config += ["  static_configs:", f'    - targets: ["{url.split("/")[2]}"]']
        lines += ["In scrape_configs of prometheus.yml:", "", *(f"  {line}" for line in config), ""]
    return "\n".join(lines)


WAYS = {"sam": sam, "serverless": serverless, "cargo-lambda": cargo_lambda.deploy}


def main() -> None:
    """Deploys and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("--check", action="store_true", help="only check the variables and credentials, before a build")
    arguments = parser.parse_args()
    template = load()
    try:
        check_names(template, os.environ.get("MAKEFLAGS", ""))
        deployment = Deployment(arguments.way, os.environ)
        if os.environ.get("ZIP") or not arguments.check:
            deployment.check_package()
        else:
            deployment.check_targets_file(os.listdir(CHECKOUT))
        deployment.sign_in()
        if arguments.check:
            return
        print(report(deployment, WAYS[arguments.way](deployment)))
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        is_unusable = getattr(error, "response", {}).get("Error", {}).get("Code") in UNUSABLE_KEYS
        if is_unusable or re.search("Credential|Token|SSO|Login", type(error).__name__):
            sys.exit(f"{parser.prog}: AWS credentials are missing or expired: {error}; {SIGN_IN}")
        sys.exit(f"{parser.prog}: {as_variables(template, str(error))}")
    except Refused as refused:
        sys.exit(f"{parser.prog}: {refused}")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
