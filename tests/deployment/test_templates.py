"""template.yaml, serverless.yml and examples/private-rest-api.yaml as text: what CloudFormation would make of them for
each combination of parameters, without a warning of its linter, and that all say the same."""

import functools
import itertools
import json
import os
import subprocess
import tomllib
from pathlib import Path

import deploy
import pytest
import template as description
from cfnlint.config import ConfigMixIn
from cfnlint.decode.decode import decode_str
from cfnlint.runner import Runner
from policies import BY_OTHERS, grants
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from demo.aws import CHECKOUT, CREDENTIALS, REGION

FUNCTION = "ExporterLambdaFunction"

SECRET = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:shop/exporter-AbCdEf"
KEY = f"arn:aws:kms:{REGION}:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"
IAM = {"DatabaseAuthentication": "iam", "DatabaseUser": "exporter", "DatabaseResourceId": "db-ABCDEFGHIJKL01234"}
HOST = {"DatabaseHost": "shop.abc.eu-central-1.rds.amazonaws.com", "DatabasePort": "6432", "DatabaseName": "shop"}

DATABASES = [
    {"DatabaseSecretArn": SECRET},
    {"DatabaseSecretArn": SECRET, "DatabaseSecretKeyArn": KEY, **HOST},
    {**IAM, **HOST},
    {"DatabaseSecretArn": SECRET, "DatabaseSecretKeyArn": KEY, **IAM},
]
AUTHORIZATIONS = [
    {},
    {"AuthorizationSecretArn": SECRET},
    {"AuthorizationSecretArn": SECRET, "AuthorizationSecretKeyArn": KEY},
    {"Authorization": "none"},
]
FRONTS = [{}, {"Front": "function-url"}, {"Front": "none"}]
SURROUNDINGS = [
    {},
    {
        "SubnetIds": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
        "SecurityGroupIds": "sg-0123456789abcdef0",
        "QueriesLayerArn": f"arn:aws:lambda:{REGION}:123456789012:layer:queries:3",
        "ReservedConcurrency": "",
        "PermissionsBoundaryArn": "arn:aws:iam::123456789012:policy/boundary",
        "Architecture": "arm64",
    },
]
SURROUNDED = {
    "VpcConfig": {
        name: {"Fn::Split": [",", {"Ref": name}]} for name in ("SubnetIds", "SecurityGroupIds")
    },
    "Layers": [{"Ref": "QueriesLayerArn"}],
    "ReservedConcurrentExecutions": None,
    "PermissionsBoundary": {"Ref": "PermissionsBoundaryArn"},
}
ALONE = dict.fromkeys(SURROUNDED) | {"ReservedConcurrentExecutions": {"Ref": "ReservedConcurrency"}}
"""What these become, and what is there without them."""
COMBINATIONS = [
    {name: value for part in parts for name, value in part.items()}
    for parts in itertools.product(DATABASES, AUTHORIZATIONS, FRONTS, SURROUNDINGS)
]


def transformed() -> dict:
    """The template as SAM makes it one of CloudFormation."""
    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)
    source = description.load()
    source["Resources"][FUNCTION]["Properties"]["CodeUri"] = "s3://packages/bootstrap.zip"
    return json.loads(json.dumps(Translator({}, Parser()).translate(source, {})))


def folded(part: object, conditions: dict[str, bool]) -> object:
    """A part of a template in which the conditions are decided, and everything else is as it was."""
    if isinstance(part, list):
        return [item for item in (folded(item, conditions) for item in part) if item != {"Ref": "AWS::NoValue"}]
    if not isinstance(part, dict):
        return part
    if set(part) == {"Fn::If"}:
        condition, yes, no = part["Fn::If"]
        return folded(yes if conditions[condition] else no, conditions)
    kept = {}
    for key, value in part.items():
        if isinstance(value, dict) and not conditions.get(value.get("Condition"), True):
            continue
        value = folded(value, conditions)
        if value != {"Ref": "AWS::NoValue"}:
            kept[key] = value
    if isinstance(kept.get("Condition"), str):
        del kept["Condition"]
    return kept


def decided(source: dict, values: dict[str, str]) -> dict:
    """The template with these values: without conditions, with only the resources and parameters that are there."""
    resolver = description.Resolver(description.load(), values, {})
    conditions = {name: resolver.condition(name) for name in source["Conditions"]}
    result = {"AWSTemplateFormatVersion": "2010-09-09"}
    result |= {section: folded(source[section], conditions) for section in ("Resources", "Outputs")}
    text = json.dumps(result)
    result["Parameters"] = {
        name: definition | {"Default": values.get(name, definition["Default"])}
        for name, definition in source["Parameters"].items()
        if f'"Ref": "{name}"' in text or f"${{{name}}}" in text
    }
    return result


@functools.cache
def linter() -> Runner:
    """cfn-lint, whose rules take longer to read than a template."""
    return Runner(ConfigMixIn(regions=[REGION]))


def complaints(text: str) -> list[str]:
    template, unreadable = decode_str(text)
    found = unreadable or linter().validate_template(template)
    return [f"{match.rule.id} {match.message} ({match.path_string})" for match in found]


@pytest.mark.parametrize("file", ["template.yaml", "examples/private-rest-api.yaml"])
def test_the_linter_has_nothing_to_say(file: str) -> None:
    assert complaints((CHECKOUT / file).read_text()) == []


def test_the_linter_sees_a_mistake() -> None:
    """Otherwise the tests beside this one would show nothing."""
    source = transformed()
    source["Resources"][FUNCTION]["Properties"]["Runtime"] = "provided.al1999"
    source["Resources"]["ApiStage"]["Properties"]["ApiId"] = {"Ref": "Nothing"}
    found = complaints(json.dumps(decided(source, DATABASES[0])))
    assert {complaint.split()[0] for complaint in found} >= {"E3030", "E1020"}, found


def test_each_combination_of_parameters_is_a_sound_template() -> None:
    source = transformed()
    for values in COMBINATIONS:
        assert complaints(json.dumps(decided(source, values))) == [], values


def test_each_combination_has_the_statements_that_it_needs() -> None:
    source = transformed()
    for values in COMBINATIONS:
        resources = decided(source, values)["Resources"]
        policies = resources["ExporterRole"]["Properties"]["Policies"]
        statements = [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]
        actions = {call.action for call in grants(statements)}
        expected = {"logs:CreateLogStream", "logs:PutLogEvents"}
        if "DatabaseSecretArn" in values or "Authorization" not in values:
            expected |= {"secretsmanager:GetSecretValue"}
        if "DatabaseSecretKeyArn" in values or "AuthorizationSecretKeyArn" in values:
            expected |= {"kms:Decrypt"}
        if "DatabaseAuthentication" in values:
            expected |= {"rds-db:connect"}
        if "SubnetIds" in values:
            expected |= {action for action in BY_OTHERS if action.startswith("ec2:")}
        assert actions == expected, values
        assert ("AuthorizationSecret" in resources) == (not {"Authorization", "AuthorizationSecretArn"} & set(values))
        assert ("Api" in resources) == ("Front" not in values)
        assert ("FunctionUrl" in resources) == (values.get("Front") == "function-url")
        variables = resources[FUNCTION]["Properties"]["Environment"]["Variables"]
        assert ("AUTH_SECRET_ID" in variables) != (variables.get("AUTH") == "none")
        told = {name: resources[FUNCTION]["Properties"].get(name) for name in SURROUNDED}
        told["PermissionsBoundary"] = resources["ExporterRole"]["Properties"].get("PermissionsBoundary")
        assert told == (SURROUNDED if "SubnetIds" in values else ALONE), values


def osls(*words: str, **variables: str) -> str:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    answer = subprocess.run(
        [deploy.NODE, deploy.OSLS, *words],
        cwd=CHECKOUT,
        env=kept | CREDENTIALS | {"AWS_REGION": REGION} | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, f"osls {words[0]}:\n{answer.stdout}{answer.stderr}"
    return answer.stdout


def test_the_serverless_framework_reads_every_parameter_from_its_variable() -> None:
    parameters = description.load()["Parameters"]
    defaults = {name: str(definition["Default"]) for name, definition in parameters.items()}
    nothing = dict.fromkeys(parameters, "") | {"Architecture": "arm64"}
    said = {name: f"value-{number}" for number, name in enumerate(parameters)} | {"Architecture": "arm64"}
    for values, variables in (
        (defaults, {}),
        (said, {description.variable(name): value for name, value in said.items()}),
        (nothing, {description.variable(name): value for name, value in nothing.items()}),
    ):
        printed = json.loads(osls("print", "--format", "json", **variables))
        read = {entry["ParameterKey"]: entry["ParameterValue"] for entry in printed["provider"]["stackParameters"]}
        assert read == values
        assert printed["provider"]["architecture"] == values["Architecture"]


def test_the_serverless_framework_makes_the_same_template_as_sam(tmp_path: Path) -> None:
    osls("package", "--package", str(tmp_path), STACK="another-name")
    made = json.loads((tmp_path / "cloudformation-template-update-stack.json").read_text())
    of_sam = transformed()
    for section in ("Parameters", "Rules", "Conditions"):
        assert made[section] == of_sam[section], section
    bucket = made["Outputs"].pop("ServerlessDeploymentBucketName")
    assert bucket == {"Value": {"Ref": "ServerlessDeploymentBucket"}, "Export": bucket["Export"]}
    assert made["Outputs"] == of_sam["Outputs"]
    theirs = {name: made["Resources"].pop(name) for name in list(made["Resources"]) if name.startswith("Serverless")}
    assert set(theirs) == {"ServerlessDeploymentBucket", "ServerlessDeploymentBucketPolicy"}
    mine, others = (resources.pop(FUNCTION)["Properties"] for resources in (made["Resources"], of_sam["Resources"]))
    assert made["Resources"] == of_sam["Resources"]
    assert mine.pop("FunctionName") == "another-name"
    assert others.pop("Tags") == [{"Key": "lambda:createdBy", "Value": "SAM"}]
    assert "S3Key" in mine.pop("Code") and "S3Key" in others.pop("Code")
    assert mine == others


def test_cargo_lambda_by_hand_has_the_same_defaults() -> None:
    with (CHECKOUT / "Cargo.toml").open("rb") as file:
        deploy = tomllib.load(file)["package"]["metadata"]["lambda"]["deploy"]
    parameters = description.load()["Parameters"]
    assert deploy == {"memory": parameters["MemorySize"]["Default"], "timeout": parameters["Timeout"]["Default"]}
