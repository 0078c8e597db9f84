"""examples/deployer-policy.json allows what each way to deploy calls, and what CloudFormation's resource handlers need,
and nothing else."""

import fnmatch
import functools
import json
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cfnlint
import deploy
import pytest
import template as description
from policies import grants, listed, matches
from relays import Call

from conftest import Deploy
from demo.aws import CHECKOUT, REGION

POLICY = CHECKOUT / "examples" / "deployer-policy.json"
STATEMENTS = json.loads(POLICY.read_text())["Statement"]
SCHEMAS = Path(cfnlint.__file__).parent / "data" / "schemas"

OTHERS = {
    "AWS::S3::Bucket": "the bucket for packages, of SAM (aws-sam-cli-managed-default) and of osls",
    "AWS::S3::BucketPolicy": "the policy of these buckets",
}
"""Types of resources that the tools create beside those of template.yaml."""

UNUSED = {
    "AWS::ApiGatewayV2::Api": {"s3:*": "BodyS3Location"},
    "AWS::ApiGatewayV2::DomainName": {"s3:*": "MutualTlsAuthentication"},
    "AWS::ApiGatewayV2::Integration": {"iam:PassRole": "CredentialsArn"},
    "AWS::IAM::Role": {
        "iam:AttachRolePolicy": "ManagedPolicyArns",
        "iam:DetachRolePolicy": "ManagedPolicyArns",
        "iam:UpdateRole": "MaxSessionDuration",
        "iam:UpdateRoleDescription": "Description",
    },
    "AWS::Lambda::Function": {
        "elasticfilesystem:*": "FileSystemConfigs",
        "s3files:*": "FileSystemConfigs",
        "kms:*": "KmsKeyArn",
        "lambda:AssociateRuntimeAlias": "RuntimeManagementConfig",
        "lambda:DeleteFunctionCodeSigningConfig": "CodeSigningConfigArn",
        "lambda:GetCodeSigningConfig": "CodeSigningConfigArn",
        "lambda:PassCapacityProvider": "CapacityProviderConfig",
        "lambda:PublishVersion": "PublishToLatestPublished",
        "lambda:PutFunctionCodeSigningConfig": "CodeSigningConfigArn",
        "lambda:PutFunctionRecursionConfig": "RecursiveLoop",
        "lambda:PutFunctionScalingConfig": "FunctionScalingConfig",
        "lambda:PutRuntimeManagementConfig": "RuntimeManagementConfig",
    },
    "AWS::Logs::LogGroup": {
        "firehose:*": "DataProtectionPolicy",
        "logs:AssociateKmsKey": "KmsKeyId",
        "logs:CreateLogDelivery": "DataProtectionPolicy",
        "logs:DeleteDataProtectionPolicy": "DataProtectionPolicy",
        "logs:DeleteIndexPolicy": "FieldIndexPolicies",
        "logs:DeleteResourcePolicy": "ResourcePolicyDocument",
        "logs:DisassociateKmsKey": "KmsKeyId",
        "logs:PutBearerTokenAuthentication": "BearerTokenAuthenticationEnabled",
        "logs:PutDataProtectionPolicy": "DataProtectionPolicy",
        "logs:PutIndexPolicy": "FieldIndexPolicies",
        "logs:PutLogGroupDeletionProtection": "DeletionProtectionEnabled",
        "logs:PutResourcePolicy": "ResourcePolicyDocument",
        "s3:*": "DataProtectionPolicy",
    },
    "AWS::S3::Bucket": {
        "iam:PassRole": "ReplicationConfiguration",
        "s3:*Abac": "AbacStatus",
        "s3:*MetadataTable*": "MetadataTableConfiguration",
        "s3:UpdateBucketMetadata*": "MetadataConfiguration",
        "s3:PutBucketAcl": "AccessControl",
        "s3:PutObjectAcl": "AccessControl",
        "s3tables:*": "MetadataTableConfiguration",
    },
    "AWS::SecretsManager::Secret": {
        "secretsmanager:*Regions*": "ReplicaRegions",
    },
}
"""Permissions that the handlers document for properties that the deployments do not set, by type, and the property."""

NOT_RECORDED = {
    "cloudformation:GetTemplate": "`sam delete`",
    "iam:CreateServiceLinkedRole": "API Gateway creates its role with the account's first custom domain name",
    "cloudformation:CreateChangeSet": "also on SAM's transform, which is a resource of AWS",
}
"""Actions that neither a recorded call nor a handler shows."""


@functools.cache
def schema(kind: str) -> dict:
    index = json.loads((SCHEMAS / "providers" / "us-east-1.json").read_text())
    return json.loads((SCHEMAS / "resources" / f"{index[kind]}.json").read_text())


def documented() -> dict[str, set[str]]:
    """The permissions that the handlers of the deployments' resources document, by type."""
    types = {resource["Type"] for resource in description.load()["Resources"].values()}
    types = types - {"AWS::Serverless::Function"} | {"AWS::Lambda::Function"} | OTHERS.keys()
    needed = {}
    for kind in types:
        handlers = schema(kind)["handlers"]
        all_of_them = {action for name, handler in handlers.items() if name != "list" for action in handler["permissions"]}
        unused = UNUSED.get(kind, {})
        needed[kind] = {action for action in all_of_them if not any(fnmatch.fnmatchcase(action, each) for each in unused)}
    return needed


def test_each_permission_that_is_left_out_is_of_a_property_that_is_not_set() -> None:
    resources = description.load()["Resources"].values()
    for kind, unused in UNUSED.items():
        same = "AWS::Serverless::Function" if kind == "AWS::Lambda::Function" else kind
        used = {name for resource in resources if resource["Type"] == same for name in resource["Properties"]}
        for action, name in unused.items():
            assert name in schema(kind)["properties"], f"{kind} has no {name}"
            assert name not in used, f"{kind} sets {name}, which needs {action}"
            all_of_them = {each for handler in schema(kind)["handlers"].values() for each in handler["permissions"]}
            assert fnmatch.filter(all_of_them, action), f"no handler of {kind} needs {action}"


def test_it_allows_what_the_handlers_of_cloudformation_document() -> None:
    allowed = {call.action.lower() for call in grants(STATEMENTS)}
    missing = {
        (kind, action)
        for kind, actions in documented().items()
        for action in actions
        if not any(fnmatch.fnmatchcase(action.lower(), pattern) for pattern in allowed)
    }
    assert missing == set()


STACKS = {way: f"pg-lambda-exporter-{way.partition('-')[0]}" for way in deploy.WAYS}


HEADINGS = {"sam": "AWS SAM", "serverless": "Serverless Framework", "cargo-lambda": "cargo-lambda"}


def delete(way: str, environment: dict[str, str]) -> None:
    """The commands of docs/deployment.md."""
    page = (CHECKOUT / "docs" / "deployment.md").read_text()
    section = re.search(r"^## Delete$(.*?)^## ", page, re.M | re.S)[1]
    part = re.search(rf"^### {HEADINGS[way]}$(.*?)(?=^###|\Z)", section, re.M | re.S)[1]
    (commands,) = re.findall(r"^```(?:aws|sh)\n(.*?)^```", part, re.M | re.S)
    for line in commands.replace("pg-lambda-exporter", STACKS[way]).splitlines():
        words = shlex.split(line)
        command = [sys.executable, "-m", "awscli", *words[1:]] if words[0] == "aws" else words
        done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done


@pytest.fixture(scope="module")
def called(
    deploy_by: Deploy, own_secret: str, environment: dict[str, str], deployer_calls: list[Call]
) -> set[Call]:
    """The calls of creating, updating and deleting in each way, with tags and a role path."""
    before = len(deployer_calls)

    def live(way: str) -> None:
        variables = {"AUTHORIZATION_SECRET_ARN": own_secret} if way == "cargo-lambda" else {}
        for memory in ("256", "512"):
            done = deploy_by(way, STACKS[way], variables | {"TAGS": "team=db", "MEMORY_SIZE": memory})
            assert done.returncode == 0, done
        delete(way, environment | variables | {"STACK": STACKS[way], "AWS_DEFAULT_REGION": REGION})

    with ThreadPoolExecutor() as together:
        list(together.map(live, deploy.WAYS))
    return set(deployer_calls[before:])


def test_it_allows_every_call_of_each_way_to_deploy(called: set[Call]) -> None:
    assert {"cloudformation:DeleteStack", "s3:PutObject", "lambda:CreateFunction"} <= {call.action for call in called}
    allowed = list(grants(STATEMENTS))
    # A call of AWS STS that needs no permission.
    refused = {call for call in called if not any(matches(grant, call) for grant in allowed)}
    assert {call for call in refused if call.action != "sts:GetCallerIdentity"} == set()


def test_it_allows_nothing_that_is_not_needed(called: set[Call]) -> None:
    needed = {call.action for call in called} | {action for actions in documented().values() for action in actions}
    allowed = {action for statement in STATEMENTS for action in listed(statement["Action"])} - NOT_RECORDED.keys()
    assert {action for action in allowed if not any(fnmatch.fnmatchcase(each, action) for each in needed)} == set()


def test_roles_are_passed_to_lambda_only_and_no_policy_can_be_attached() -> None:
    for statement in STATEMENTS:
        assert statement["Effect"] == "Allow" and set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition"}
        actions = listed(statement["Action"])
        if any(fnmatch.fnmatchcase("iam:PassRole", action) for action in actions):
            assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
        # With them, the role of the function could get any policy of AWS, or the deployer's own could change.
        assert not any(fnmatch.fnmatchcase("iam:AttachRolePolicy", action) for action in actions)
        if any(action.startswith("iam:") for action in actions):
            assert all("pg-lambda-exporter" in each or "aws-service-role" in each for each in listed(statement["Resource"]))


def test_it_fits_into_a_managed_policy() -> None:
    """6,144 characters without white space (IAM and STS quotas)."""
    assert len(re.sub(r"\s", "", POLICY.read_text())) <= 6144
