"""examples/terraform/ as text: it has the parameters, rules, conditions, resources, policies and outputs of template.yaml."""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import hcl2
import pytest
import template as description
from hcl import TYPES, Translation, snake

from demo.aws import CHECKOUT

MODULE = CHECKOUT / "examples" / "terraform"
TEMPLATE = description.load()
TRANSLATION = Translation(TEMPLATE)

ARGUMENTS = {
    "AliasTarget.DNSName": "alias[0].name",
    "AliasTarget.HostedZoneId": "alias[0].zone_id",
    "AuthType": "authorization_type",
    "HostedZoneId": "zone_id",
    "OKActions": "ok_actions",
    "StageName": "name",
    "TargetFunctionArn": "function_name",
}
"""The arguments whose names are not those of the properties in snake case."""
ONLY_IN_TERRAFORM = {
    *("count", "name_prefix", "alarm_name", "alias[0].evaluate_target_health"),
}
COMPARED_ELSEWHERE = {
    "aws_lambda_function": {"function_name", "filename", "source_code_hash", "code_uri", "metadata", "environment"}
    | {"vpc_config", "logging_config", "dynamic", "lifecycle", "depends_on"},
    "aws_cloudwatch_log_group": {"name", "log_group_name"},
    "aws_iam_role": {"assume_role_policy", "assume_role_policy_document", "policies"},
    "aws_secretsmanager_secret": {"generate_secret_string"},
}
"""Arguments and properties that are not compared one by one."""

Blocks = dict[str, dict]
"""The bodies of blocks, by the labels of each: `aws_lambda_function.exporter`."""


def text(value: object) -> str:
    """An expression without any space."""
    match value:
        case str():
            inner = value[2:-1] if value.startswith("${") else value
            return re.sub(r"\s", "", inner)
        case list():
            return f"[{','.join(map(text, value))}]"
    return json.dumps(value)


def squeezed(part: object) -> str:
    return re.sub(r"\s", "", TRANSLATION.expression(part))


@functools.cache
def parsed(file: str) -> dict:
    return hcl2.loads((MODULE / file).read_text())


def blocks(file: str, kind: str) -> Blocks:
    found: Blocks = {}

    def add(labels: list[str], body: Mapping) -> None:
        if "__is_block__" in body:
            found[".".join(labels)] = {key: value for key, value in body.items() if not key.startswith("__")}
        else:
            for label, inner in body.items():
                add([*labels, label.strip('"')], inner)

    for block in parsed(file)[kind]:
        add([], block)
    return found


def with_variables(sentence: str) -> str:
    """A sentence about parameters as one about Terraform's variables."""
    return re.sub(rf"\b({'|'.join(TEMPLATE['Parameters'])})\b", lambda match: snake(match[0]), sentence)


RESOURCES = blocks("main.tf", "resource")
POLICIES = blocks("main.tf", "data")
LOCALS = {
    key: value
    for group in parsed("main.tf")["locals"]
    for key, value in group.items()
    if not key.startswith("__")
}


SCRAPE_HOST = squeezed(TEMPLATE["Outputs"]["ScrapeConfig"]["Value"]["Fn::Sub"][1]["Host"])


def validations(name: str, parameter: Mapping) -> Iterator[str]:
    value = f"var.{name}"
    if pattern := parameter.get("AllowedPattern"):
        yield f"can(regex({json.dumps(pattern)},{value}))"
    if values := parameter.get("AllowedValues"):
        yield f"contains({text([json.dumps(value) for value in values])},{value})"
    if "MinValue" in parameter:
        yield f"{value}>={parameter['MinValue']}&&{value}<={parameter['MaxValue']}"


def test_the_variables_are_the_parameters() -> None:
    variables = blocks("variables.tf", "variable")
    assert "default" not in variables.pop("zip")
    assert variables.pop("stack")["default"] == '"pg-lambda-exporter"'
    assert list(variables) == [snake(name) for name in TEMPLATE["Parameters"]]
    for name, parameter in TEMPLATE["Parameters"].items():
        variable = variables[snake(name)]
        assert variable["type"] == {"String": "string", "Number": "number"}[parameter["Type"]]
        assert text(variable["default"]) == json.dumps(parameter["Default"])
        assert json.loads(variable["description"]) == parameter["Description"]
        conditions = [text(validation["condition"]) for validation in variable.get("validation", [])]
        assert conditions == [re.sub(r"\s", "", check) for check in validations(snake(name), parameter)], name


def test_the_locals_are_the_conditions() -> None:
    expected = {snake(name): squeezed(condition) for name, condition in TEMPLATE["Conditions"].items()}
    assert {name: text(LOCALS[name]) for name in expected} == expected
    assert set(LOCALS) - set(expected) == {"scrape_host", "scrape_config"}


def test_the_preconditions_are_the_rules() -> None:
    (lifecycle,) = RESOURCES["aws_lambda_function.exporter"]["lifecycle"]
    said = [(text(check["condition"]), json.loads(check["error_message"])) for check in lifecycle["precondition"]]
    assert said == [
        (re.sub(r"\s", "", TRANSLATION.rule(rule, check)), f"{with_variables(check['AssertDescription'])}.")
        for rule in TEMPLATE["Rules"].values()
        for check in rule["Assertions"]
    ]


@dataclass
class Policy:
    condition: str
    """That of the policy, as a part of Terraform's."""
    statements: list[dict]
    variables: dict[str, object]
    """Those of `Fn::Sub`, where the document is a text."""

    def expression(self, part: object) -> str:
        if self.variables and isinstance(part, str) and "${" in part:
            part = {"Fn::Sub": [part, self.variables]}
        return squeezed(part)


def policies() -> dict[str, Policy]:
    """The policies of the role by their names."""
    found = {}
    for policy in TEMPLATE["Resources"]["ExporterRole"]["Properties"]["Policies"]:
        condition, variables = "", {}
        if "Fn::If" in policy:
            name, policy, _ = policy["Fn::If"]
            condition = f"&&local.{snake(name)}"
        document = policy["PolicyDocument"]
        if "Fn::Sub" in document:
            text, variables = document["Fn::Sub"]
            document = json.loads(text)
        found[policy["PolicyName"]] = Policy(condition, document["Statement"], variables)
    return found


def terraform_name(policy: str) -> str:
    return policy.replace("-", "_")


def test_the_resources_are_those_of_the_template_under_the_same_conditions() -> None:
    expected = {
        TRANSLATION.address(name): f"local.{snake(resource['Condition'])}?1:0" if "Condition" in resource else None
        for name, resource in TEMPLATE["Resources"].items()
    }
    assert len(expected) == len(TEMPLATE["Resources"])
    for name, policy in policies().items():
        expected[f"aws_iam_role_policy.{terraform_name(name)}"] = f"local.creates_role{policy.condition}?1:0"
    # The token is a resource of its own here.
    secret = "aws_secretsmanager_secret.authorization_secret"
    expected["aws_secretsmanager_secret_version.authorization_secret"] = expected[secret]
    assert {name: text(body["count"]) if "count" in body else None for name, body in RESOURCES.items()} == expected


def arguments(body: Mapping, prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in body.items():
        path = prefix + name
        if name.startswith("__"):
            continue
        if isinstance(value, list) and value and isinstance(value[0], dict):
            for number, inner in enumerate(value):
                yield from arguments(inner, f"{path}[{number}].")
        elif isinstance(value, dict):
            yield from ((f"{path}.{key}", text(inner)) for key, inner in value.items())
        else:
            yield path, text(value)


def properties(part: Mapping, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The properties of a resource, each by the name of its argument."""
    for name, value in part.items():
        path = prefix + name
        is_expression = isinstance(value, dict) and next(iter(value)).startswith(("Ref", "Fn::"))
        if name == "Dimensions":
            yield from ((f"dimensions.{pair['Name']}", squeezed(pair["Value"])) for pair in value)
        elif isinstance(value, dict) and not is_expression:
            yield from properties(value, f"{path}.")
        elif isinstance(value, list) and isinstance(value[0], dict) and "Ref" not in value[0]:
            for number, inner in enumerate(value):
                yield from properties(inner, f"{path}[{number}].")
        else:
            yield argument_of(path), squeezed(value)


def argument_of(path: str) -> str:
    if path in ARGUMENTS:
        return ARGUMENTS[path]
    path = re.sub(r"^DomainNameConfigurations\[", "domain_name_configuration[", path)
    path = re.sub(r"^DefaultRouteSettings\.", "default_route_settings[0].", path)
    return snake(path)


@pytest.mark.parametrize("name", TEMPLATE["Resources"])
def test_a_resource_has_the_same_properties(name: str) -> None:
    resource = TEMPLATE["Resources"][name]
    left_out = COMPARED_ELSEWHERE.get(TYPES[resource["Type"]], set())

    compared = {key: value for key, value in resource["Properties"].items() if snake(key) not in left_out}
    expected = dict(properties(compared))
    if "reserved_concurrent_executions" in expected:
        # -1 is Terraform's word for none.
        expected["reserved_concurrent_executions"] = expected["reserved_concurrent_executions"].replace("null", "-1")
    body = {key: value for key, value in RESOURCES[TRANSLATION.address(name)].items() if key not in left_out}
    assert {key: value for key, value in arguments(body) if key not in ONLY_IN_TERRAFORM} == expected


def test_the_function_has_the_same_environment_network_and_log() -> None:
    function, properties = RESOURCES["aws_lambda_function.exporter"], TEMPLATE["Resources"]["ExporterLambdaFunction"]["Properties"]
    variables = properties["Environment"]["Variables"].items()
    pairs = ",".join(f"{name}={squeezed(value)}" for name, value in variables)
    (environment,) = function["environment"]
    assert text(environment["variables"]) == f"{{forname,valuein{{{pairs}}}:name=>valueifvalue!=null}}"
    dynamic = {name.strip('"'): body for block in function["dynamic"] for name, body in block.items()}
    condition, network, _ = properties["VpcConfig"]["Fn::If"]
    assert text(dynamic["vpc_config"]["for_each"]) == f"local.{snake(condition)}?[1]:[]"
    condition, _, log = properties["LoggingConfig"]["Fn::If"]
    assert text(dynamic["logging_config"]["for_each"]) == f"local.{snake(condition)}?[]:[1]"
    for name, expected in (("vpc_config", network), ("logging_config", log)):
        (content,) = dynamic[name]["content"]
        told = {key: text(value) for key, value in content.items() if not key.startswith("__")}
        assert told == {snake(key): squeezed(value) for key, value in expected.items()}
    # Where Lambda cannot be told a group, it takes the one of this name.
    assert text(RESOURCES["aws_cloudwatch_log_group.exporter"]["name"]) == '"/aws/lambda/${var.stack}"'
    assert text(function["function_name"]) == "var.stack"


def listed(value: object) -> list:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("name", policies())
def test_a_policy_has_the_same_statements(name: str) -> None:
    own = RESOURCES[f"aws_iam_role_policy.{terraform_name(name)}"]
    assert own["name"] == json.dumps(name)
    assert text(own["policy"]) == f"data.aws_iam_policy_document.{terraform_name(name)}.json"
    assert text(own["role"]) == "one(aws_iam_role.exporter[*].id)"
    policy, expected = policies()[name], []
    for statement in policy.statements:
        resources = statement["Resource"]
        match resources:
            case list():
                resources = f"compact({squeezed(resources)})"
            case {"Fn::Split": _}:
                resources = squeezed(resources)
            case _:
                resources = f"[{policy.expression(resources)}]"
        # CloudFormation's attribute ends in :*, Terraform's does not.
        group = "aws_cloudwatch_log_group.exporter.arn"
        resources = resources.replace(f"[{group}]", f'["${{{group}}}:*"]')
        conditions = [
            (json.dumps(test), policy.expression(variable), text([policy.expression(value)]))
            for test, pairs in statement.get("Condition", {}).items()
            for variable, value in pairs.items()
        ]
        actions = text([json.dumps(action) for action in listed(statement["Action"])])
        expected.append((json.dumps(statement["Effect"]), actions, resources, conditions))
    assert expected == [
        (
            statement["effect"],
            text(statement["actions"]),
            text(statement["resources"]),
            [(check["test"], text(check["variable"]), text(check["values"])) for check in statement.get("condition", [])],
        )
        for statement in POLICIES[f"aws_iam_policy_document.{terraform_name(name)}"]["statement"]
    ]


def test_the_role_trusts_the_same_service() -> None:
    (trust,) = TEMPLATE["Resources"]["ExporterRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    (statement,) = POLICIES["aws_iam_policy_document.trust"]["statement"]
    (principals,) = statement["principals"]
    assert text(statement["actions"]) == text([json.dumps(trust["Action"])])
    assert text(principals["identifiers"]) == text([json.dumps(trust["Principal"]["Service"])])
    assert text(RESOURCES["aws_iam_role.exporter"]["assume_role_policy"]) == "data.aws_iam_policy_document.trust.json"


def test_a_generated_token_has_the_same_form_and_is_not_in_the_state() -> None:
    generated = TEMPLATE["Resources"]["AuthorizationSecret"]["Properties"]["GenerateSecretString"]
    token = blocks("main.tf", "ephemeral")["random_password.token"]
    assert (token["length"], token["special"]) == (generated["PasswordLength"], not generated["ExcludePunctuation"])
    version = RESOURCES["aws_secretsmanager_secret_version.authorization_secret"]
    assert generated["GenerateStringKey"] == "bearer_token" and "secret_string" not in version
    assert text(version["secret_string_wo"]) == "jsonencode({bearer_token=one(ephemeral.random_password.token[*].result)})"


def test_the_outputs_are_the_same() -> None:
    outputs = blocks("outputs.tf", "output")
    assert list(outputs) == [snake(name) for name in TEMPLATE["Outputs"]]
    for name, output in TEMPLATE["Outputs"].items():
        told = outputs[snake(name)]
        assert json.loads(told["description"]) == output["Description"]
        value = "local.scrape_config" if name == "ScrapeConfig" else squeezed(output["Value"])
        value = value.replace(SCRAPE_HOST, "local.scrape_host")
        if "Condition" in output:
            value = f"({value})" if "?" in value and not value.startswith('"') else value
            value = f"local.{snake(output['Condition'])}?{value}:null"
        assert text(told["value"]) == value, name


def test_the_scrape_configuration_has_the_same_lines() -> None:
    lines, variables = TEMPLATE["Outputs"]["ScrapeConfig"]["Value"]["Fn::Sub"]
    # Without the condition, front = "none" fails: `one` returns null, which `split` refuses.
    assert text(LOCALS["scrape_host"]) == f'local.has_front?({SCRAPE_HOST}):""'
    _, _, authorization = variables["Authorization"]["Fn::If"]
    _, several_before, single_before = variables["Before"]["Fn::If"]
    _, several_after, single_after = variables["After"]["Fn::If"]
    several_after = several_after["Fn::If"][2]["Fn::Sub"]
    common, end = lines.replace("${Authorization}", authorization["Fn::Sub"]).split("${Before}${Host}${After}")
    assert common.endswith("\n  ") and end == "\n"
    several, single = (
        f"  {before}${{Host}}{after}" for before, after in ((several_before, several_after), (single_before, single_after))
    )
    expected = f"{common.rstrip()}\n{several}\n{single}"
    expected = expected.replace("${AWS::StackName}", "${var.stack}").replace("${Host}", "${local.scrape_host}")
    told = re.findall(r'"((?: *- |  )(?:[^"\\]|\\.)*)"', LOCALS["scrape_config"])
    assert [json.loads(f'"{line}"') for line in told] == expected.splitlines()
    choice = re.sub(r'"(?:[^"\\]|\\.)*"', "_", text(LOCALS["scrape_config"]))
    assert "],local.has_several_targets?[_,_,local.is_open?_:_,local.is_open?_:_]:[_,_])" in choice
