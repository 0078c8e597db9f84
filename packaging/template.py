"""template.yaml's parameters, checked as CloudFormation checks them, so that a mistake is reported before a build."""

import re
from collections.abc import Mapping
from pathlib import Path

import yaml

TEMPLATE = Path(__file__).parent.parent / "template.yaml"


class Refused(Exception):
    """A deployment that cannot succeed. The message names the variable, never a secret's value."""


class _Loader(yaml.SafeLoader):
    """YAML with the short forms of CloudFormation's functions."""


def _function(loader: _Loader, suffix: str, node: yaml.Node) -> dict:
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _function)


def load(file: Path = TEMPLATE) -> dict:
    """The template, with the long forms of all functions."""
    return yaml.load(file.read_text(), _Loader)


def variable(parameter: str) -> str:
    """The environment variable for a parameter: DatabaseSecretArn is DATABASE_SECRET_ARN."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", parameter).upper()


def as_variables(template: Mapping, text: str) -> str:
    """A text about parameters as one about their variables."""
    return re.sub(rf"\b({'|'.join(template['Parameters'])})\b", lambda match: variable(match[0]), text)


def checked(template: Mapping, given: Mapping[str, str], pseudo: Mapping[str, str]) -> dict[str, str]:
    """All parameters, with the defaults of those that are not given. Raises Refused where CloudFormation would fail.
    `pseudo` has the values of AWS::Region and AWS::Partition."""
    definitions = template["Parameters"].items()
    values = {name: _value(name, given.get(name), definition) for name, definition in definitions}
    for rule in template["Rules"].values():
        if holds(template, rule["RuleCondition"], values | pseudo):
            for assertion in rule["Assertions"]:
                if not holds(template, assertion["Assert"], values | pseudo):
                    raise Refused(as_variables(template, assertion["AssertDescription"]))
    return values


def holds(template: Mapping, part: object, values: Mapping[str, str]) -> object:
    """A condition of the template with these parameters. Another function than these is an error."""
    match part:
        case {"Ref": name}:
            return values[name]
        case {"Condition": name}:
            return holds(template, template["Conditions"][name], values)
        case {"Fn::Equals": [left, right]}:
            return holds(template, left, values) == holds(template, right, values)
        case {"Fn::Contains": [members, value]}:
            return holds(template, value, values) in members
        case {"Fn::Not": [condition]}:
            return not holds(template, condition, values)
        case {"Fn::And": conditions}:
            return all(holds(template, condition, values) for condition in conditions)
        case {"Fn::Or": conditions}:
            return any(holds(template, condition, values) for condition in conditions)
        case dict():
            raise NotImplementedError(f"{', '.join(part)} in {TEMPLATE.name}")
    return part


def _value(name: str, text: str | None, definition: Mapping) -> str:
    text = str(definition["Default"]) if text is None else text
    if "AllowedValues" in definition and text not in map(str, definition["AllowedValues"]):
        raise Refused(f"{variable(name)} must be one of {', '.join(map(str, definition['AllowedValues']))}")
    if "AllowedPattern" in definition and not re.fullmatch(definition["AllowedPattern"], text):
        raise Refused(f"{variable(name)} is invalid: {definition['Description']}")
    if definition["Type"] == "Number":
        least, most = definition.get("MinValue", 0), definition.get("MaxValue", 2**31)
        if not re.fullmatch(r"\d+", text) or not least <= int(text) <= most:
            raise Refused(f"{variable(name)} must be a number from {least} to {most}")
    return text
