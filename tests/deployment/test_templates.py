"""template.yaml, serverless.yml and examples/private-rest-api.yaml as text: what CloudFormation would make of them for
each combination of parameters, and that all say the same. test_regions.py lints them."""

import itertools
import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import deploy
import pytest
import template as description
from conditions import Evaluation
from policies import BY_OTHERS, grants
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from demo.aws import CHECKOUT, CREDENTIALS, REGION

FUNCTION = "ExporterLambdaFunction"

SECRET = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:shop/exporter-AbCdEf"
KEY = f"arn:aws:kms:{REGION}:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"
IAM = {"DatabaseAuthentication": "iam", "DatabaseUser": "exporter", "DatabaseResourceId": "db-ABCDEFGHIJKL01234"}
DATABASE_USER = f"arn:aws:rds-db:{REGION}:123456789012:dbuser:*/exporter"
HOST = {"DatabaseHost": "shop.abc.eu-central-1.rds.amazonaws.com", "DatabasePort": "6432", "DatabaseName": "shop"}

DATABASES = [
    {"DatabaseSecretArn": SECRET},
    {"DatabaseSecretArn": SECRET, "DatabaseSecretKeyArn": KEY, **HOST},
    {**IAM, **HOST},
    {"DatabaseSecretArn": SECRET, "DatabaseSecretKeyArn": KEY, **IAM},
    {
        "TargetsFile": "targets.yml",
        "TargetsSecretArns": f"{SECRET},{SECRET.replace('shop', 'ledger')}",
        "TargetsKeyArns": KEY,
        "MaxConnections": "50",
        "MaxDatabases": "200",
    },
    {"TargetsTag": "team=data base", "TargetsDatabaseArns": DATABASE_USER, "DatabaseAuthentication": "iam"},
    {"TargetsPrefix": "prod/", "PublicUrl": "https://metrics.example.com/pg"},
    {"TargetsTag": "metrics=yes", "TargetsPrefix": "prod/", "TargetsKeyArns": f"{KEY},{KEY[:-1]}0"},
]
AUTHORIZATIONS = [
    {},
    {"AuthorizationSecretArn": SECRET},
    {"AuthorizationSecretArn": SECRET, "AuthorizationSecretKeyArn": KEY},
    {"Authorization": "none"},
    {"AuthorizationTokenSha256": ",".join(["0123456789abcdef" * 4, "f" * 64])},
]
DOMAIN = {
    "DomainName": "metrics.example.com",
    "DomainCertificateArn": f"arn:aws:acm:{REGION}:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef",
}
FRONTS = [
    {},
    {"Front": "function-url"},
    {"Front": "none"},
    DOMAIN,
    {**DOMAIN, "DomainHostedZoneId": "Z0123456789ABCDEFGHIJ"},
]
ROLE = "arn:aws:iam::123456789012:role/teams/shop/exporter"
SURROUNDINGS = [
    {},
    {
        "SubnetIds": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
        "SecurityGroupIds": "sg-0123456789abcdef0",
        "QueriesLayerArn": f"arn:aws:lambda:{REGION}:123456789012:layer:queries:3",
        "ReservedConcurrency": "",
        "PermissionsBoundaryArn": "arn:aws:iam::123456789012:policy/boundary",
        "RolePath": "/teams/shop/",
        "Architecture": "arm64",
        "AlarmTopicArn": f"arn:aws:sns:{REGION}:123456789012:on-call",
    },
    {"RoleArn": ROLE},
]
SURROUNDED = {
    "VpcConfig": {
        name: {"Fn::Split": [",", {"Ref": name}]} for name in ("SubnetIds", "SecurityGroupIds")
    },
    "Layers": [{"Ref": "QueriesLayerArn"}],
    "ReservedConcurrentExecutions": None,
}
ALONE = dict.fromkeys(SURROUNDED) | {"ReservedConcurrentExecutions": {"Ref": "ReservedConcurrency"}}
"""What these become, and what is there without them."""
COMBINATIONS = [
    {name: value for part in parts for name, value in part.items()}
    for parts in itertools.product(DATABASES, AUTHORIZATIONS, FRONTS, SURROUNDINGS)
]


NUMBERS = {"MemorySize": "512", "Timeout": "20", "LogRetentionDays": "7"}
"""Values of those that the Serverless Framework takes for numbers."""


def transformed() -> dict:
    """The template as SAM makes it one of CloudFormation."""
    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)
    source = description.load()
    source["Resources"][FUNCTION]["Properties"]["CodeUri"] = "s3://packages/bootstrap.zip"
    # SAM replaces this parameter by its value, which would be an empty text.
    return json.loads(json.dumps(Translator({}, Parser()).translate(source, {"RoleArn": ROLE})))


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


def document(policy: dict) -> dict:
    """The document of a policy, which may be a text with variables of `Fn::Sub`."""
    match policy["PolicyDocument"]:
        case {"Fn::Sub": [text, _]}:
            return json.loads(text)
        case statements:
            return statements


def decided(source: dict, values: dict[str, str], region: str = REGION) -> dict:
    """The template with these values: without conditions, with only the resources and parameters that are there."""
    evaluation = Evaluation(source, values, region)
    assert evaluation.broken_rules() == [], values
    conditions = evaluation.conditions
    result = {key: source[key] for key in ("AWSTemplateFormatVersion", "Transform") if key in source}
    result |= {section: folded(source[section], conditions) for section in ("Resources", "Outputs") if section in source}
    text = json.dumps(result)
    result["Parameters"] = {
        name: definition | {"Default": values.get(name, definition.get("Default"))}
        for name, definition in source["Parameters"].items()
        if f'"Ref": "{name}"' in text or f"${{{name}}}" in text
    }
    return result


def test_each_combination_has_the_statements_that_it_needs() -> None:
    source = transformed()
    for values in COMBINATIONS:
        made = decided(source, values)
        resources, function = made["Resources"], made["Resources"][FUNCTION]["Properties"]
        by_values = {"Authorization", "AuthorizationSecretArn", "AuthorizationTokenSha256"} & set(values)
        expected = {"logs:CreateLogStream", "logs:PutLogEvents"}
        expected |= {action for action in BY_OTHERS if action.startswith("ec2:")}
        are_discovered = {"TargetsTag", "TargetsPrefix"} & set(values)
        has_secrets = {"DatabaseSecretArn", "AuthorizationSecretArn", "TargetsSecretArns"} & set(values)
        if has_secrets or are_discovered or not by_values:
            expected |= {"secretsmanager:GetSecretValue"}
        if are_discovered:
            expected |= {"secretsmanager:ListSecrets"}
        if {"DatabaseSecretKeyArn", "AuthorizationSecretKeyArn", "TargetsKeyArns"} & set(values):
            expected |= {"kms:Decrypt"}
        if "DatabaseAuthentication" in values:
            expected |= {"rds-db:connect"}
        if "RoleArn" in values:
            assert "ExporterRole" not in resources and function["Role"] == ROLE
        else:
            role = resources["ExporterRole"]["Properties"]
            assert function["Role"] == {"Fn::GetAtt": ["ExporterRole", "Arn"]}
            assert role["Path"] == {"Ref": "RolePath"}
            policies = [document(policy)["Statement"] for policy in role["Policies"]]
            assert {call.action for call in grants(itertools.chain(*policies))} == expected, values
            boundary = role.get("PermissionsBoundary")
            assert boundary == ({"Ref": "PermissionsBoundaryArn"} if "PermissionsBoundaryArn" in values else None)
        assert ("AuthorizationSecret" in resources) == (not by_values), values
        assert ("Api" in resources) == ("Front" not in values)
        assert ("FunctionUrl" in resources) == (values.get("Front") == "function-url")
        records = {name for name, resource in resources.items() if resource["Type"] == "AWS::Route53::RecordSet"}
        assert ("Domain" in resources) == ("DomainMapping" in resources) == ("DomainName" in values)
        assert records == ({"DomainRecord", "DomainRecordIpv6"} if "DomainHostedZoneId" in values else set())
        if "DomainName" in values:
            assert made["Outputs"]["ScrapeUrl"]["Value"]["Fn::Sub"][1]["Host"] == {"Ref": "DomainName"}
            assert made["Outputs"]["ScrapeConfig"]["Value"]["Fn::Sub"][1]["Host"] == {"Ref": "DomainName"}
        if "ScrapeUrl" in made["Outputs"]:
            has_several = are_discovered or "TargetsFile" in values
            assert made["Outputs"]["ScrapeUrl"]["Value"]["Fn::Sub"][1]["Path"] == ("targets" if has_several else "metrics")
        alarms = {name for name, resource in resources.items() if resource["Type"] == "AWS::CloudWatch::Alarm"}
        expected = {"ErrorsAlarm", "ThrottlesAlarm", "DurationAlarm"} if "AlarmTopicArn" in values else set()
        assert alarms == expected, values
        variables = function["Environment"]["Variables"]
        says_who = {"AUTH", "AUTH_SECRET_ID", "AUTH_TOKEN_SHA256"} & set(variables)
        assert len(says_who) == 1, says_who
        assert ("AUTH_TOKEN_SHA256" in says_who) == ("AuthorizationTokenSha256" in values)
        assert ("AUTH" in says_who) == ("Authorization" in values)
        told = {name: function.get(name) for name in SURROUNDED}
        assert told == (SURROUNDED if "SubnetIds" in values else ALONE), values


def osls_answer(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [deploy.NODE, deploy.OSLS, *words],
        cwd=folder,
        env=kept | CREDENTIALS | {"AWS_REGION": REGION} | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def osls(*words: str, **variables: str) -> str:
    answer = osls_answer(CHECKOUT, *words, **variables)
    assert answer.returncode == 0, f"osls {words[0]}:\n{answer.stdout}{answer.stderr}"
    return answer.stdout


def test_the_serverless_framework_reads_every_parameter_from_its_variable() -> None:
    parameters = description.load()["Parameters"]
    defaults = {name: str(definition["Default"]) for name, definition in parameters.items()}
    nothing = dict.fromkeys(parameters, "") | {"Architecture": "arm64"} | NUMBERS
    said = {name: f"value-{number}" for number, name in enumerate(parameters)} | {"Architecture": "arm64"} | NUMBERS
    for values, variables in (
        (defaults, {}),
        (said, {description.variable(name): value for name, value in said.items()}),
        (nothing, {description.variable(name): value for name, value in nothing.items()}),
    ):
        printed = json.loads(osls("print", "--format", "json", **variables))
        read = {entry["ParameterKey"]: entry["ParameterValue"] for entry in printed["provider"]["stackParameters"]}
        assert read == values
        assert printed["provider"]["architecture"] == values["Architecture"]
        assert str(printed["provider"]["logRetentionInDays"]) == values["LogRetentionDays"]
        function = printed["functions"]["exporter"]
        assert (str(function["memorySize"]), str(function["timeout"])) == (values["MemorySize"], values["Timeout"])


def with_values(part: object, values: dict[str, str]) -> object:
    """A part of a template with the values of its parameters, in one of the ways in which it can be written."""
    if isinstance(part, list):
        return [with_values(item, values) for item in part]
    if not isinstance(part, dict):
        return str(part)
    match part:
        case {"Ref": name, **others} if not others and name in values:
            return values[name]
        case {"Fn::Join": [separator, parts], **others} if not others:
            texts = [part if isinstance(part, str) else f"${{{part['Ref']}}}" for part in parts]
            return {"Fn::Sub": separator.join(texts)}
    return {key: with_values(value, values) for key, value in part.items()}


@pytest.mark.parametrize("variables", [{}, {description.variable(name): value for name, value in NUMBERS.items()}])
def test_the_serverless_framework_makes_the_same_stack_as_sam(variables: dict[str, str], tmp_path: Path) -> None:
    """Whatever the parameters are. What the framework adds is looked at, and then taken out."""
    osls("package", "--package", str(tmp_path), STACK="another-name", **variables)
    made = json.loads((tmp_path / "cloudformation-template-update-stack.json").read_text())
    of_sam = transformed()
    for section in ("Parameters", "Rules", "Conditions"):
        assert made[section] == of_sam[section], section
    outputs = {name: made["Outputs"].pop(name) for name in list(made["Outputs"]) if name not in of_sam["Outputs"]}
    assert {name: output.get("Condition") for name, output in outputs.items()} == {
        "ServerlessDeploymentBucketName": None,
        "HttpApiId": "HasHttpApi",
        "HttpApiUrl": "HasHttpApi",
        "ExporterLambdaFunctionUrl": "HasFunctionUrl",
    }
    theirs = {name: made["Resources"].pop(name) for name in list(made["Resources"]) if name.startswith("Serverless")}
    assert set(theirs) == {"ServerlessDeploymentBucket", "ServerlessDeploymentBucketPolicy"}
    numbers = {name: value for name, value in NUMBERS.items() if variables}
    mine, others = made["Resources"][FUNCTION]["Properties"], of_sam["Resources"][FUNCTION]["Properties"]
    assert mine.pop("FunctionName") == "another-name" and others.pop("FunctionName")["Fn::If"][0] == "LacksLoggingConfig"
    assert others.pop("Tags") == [{"Key": "lambda:createdBy", "Value": "SAM"}]
    assert "S3Key" in mine.pop("Code") and "S3Key" in others.pop("Code")
    # The framework is told the processor before there is a stack.
    assert mine.pop("Architectures") == ["x86_64"] and others.pop("Architectures") == [{"Ref": "Architecture"}]
    assert of_sam["Resources"][FUNCTION].pop("Metadata")["BuildMethod"] == "makefile"
    log, others = (source["Resources"]["ExporterLog"]["Properties"] for source in (made, of_sam))
    # The group in which `osls logs` looks.
    assert log.pop("LogGroupName") == "/aws/lambda/another-name" and others.pop("LogGroupName")
    api, others = (source["Resources"]["Api"]["Properties"] for source in (made, of_sam))
    assert api.pop("Name") == "another-name" and others.pop("Name") == {"Ref": "AWS::StackName"}
    # What an HTTP API has without it, too.
    assert made["Resources"]["ApiIntegration"]["Properties"].pop("TimeoutInMillis") == 30000
    for resource in made["Resources"].values():
        resource.pop("DependsOn", None)
    # A condition asks for parameters of one of these groups, so their product would show no more.
    for part in [*DATABASES, *AUTHORIZATIONS, *FRONTS, *SURROUNDINGS]:
        values = part if part in DATABASES else DATABASES[0] | part
        said = {name: str(definition["Default"]) for name, definition in of_sam["Parameters"].items()} | values | numbers
        said["RoleArn"] = ROLE  # SAM has filled it in.
        decided_by = [
            {section: with_values(decided(template, values)[section], said) for section in ("Resources", "Outputs")}
            for template in (made, of_sam)
        ]
        for template in decided_by:
            function = template["Resources"][FUNCTION]["Properties"]
            # A variable without a value is one that is not set.
            environment = function["Environment"]["Variables"]
            function["Environment"]["Variables"] = {name: value for name, value in environment.items() if value}
        assert decided_by[0] == decided_by[1], values


def test_version_4_of_the_serverless_framework_is_refused() -> None:
    """It compares its major version with the first number of `frameworkVersion`; osls and version 3 take it as a range."""
    (version,) = re.findall(r'^frameworkVersion: "(.*)"$', (CHECKOUT / "serverless.yml").read_text(), re.M)
    program = """
        const semver = require("semver");
        const range = process.argv[1];
        console.log(semver.coerce(range).major, ...["3.40.0", "4.3.1", "5.0.0"].map((it) => semver.satisfies(it, range)));
    """
    answer = subprocess.run(
        [deploy.NODE, "-e", program, version],
        cwd=deploy.OSLS.parent.parent / "osls",
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.split() == ["3", "true", "true", "false"]


def test_osls_names_the_command_that_makes_a_missing_package(tmp_path: Path) -> None:
    (tmp_path / "packaging").mkdir()
    for file in ("serverless.yml", "template.yaml", "packaging/serverless_rules.js", "packaging/serverless_tags.js"):
        shutil.copy(CHECKOUT / file, tmp_path / file)
    for words in (["package"], ["deploy"], ["deploy", "function", "--function", "exporter"]):
        answer = osls_answer(tmp_path, *words)
        assert answer.returncode == 1 and "bootstrap.zip is missing; run `make package`" in answer.stdout + answer.stderr


def test_cargo_lambda_by_hand_has_the_same_defaults() -> None:
    with (CHECKOUT / "Cargo.toml").open("rb") as file:
        deploy = tomllib.load(file)["package"]["metadata"]["lambda"]["deploy"]
    parameters = description.load()["Parameters"]
    assert deploy == {"memory": parameters["MemorySize"]["Default"], "timeout": parameters["Timeout"]["Default"]}
