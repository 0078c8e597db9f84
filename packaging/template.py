"""template.yaml as CloudFormation reads it: its parameters, their rules, and what the resources are with given values.

`cargo lambda deploy` knows no templates, so what it has to be told is resolved here, of the same text. Only the
functions that template.yaml uses are known; another one is an error.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import yaml

TEMPLATE = Path(__file__).parent.parent / "template.yaml"

NO_VALUE = object()
"""What `AWS::NoValue` is: the property or the item is not there."""


class Refused(Exception):
    """A parameter is missing or wrong. Says which, and never its value."""


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
    """The variable of make and of the environment for a parameter: DatabaseSecretArn is DATABASE_SECRET_ARN."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", parameter).upper()


def given(template: Mapping, environment: Mapping[str, str]) -> dict[str, str]:
    """The parameters that the environment sets; one that is set to nothing is empty, and not left to its default."""
    names = {parameter: variable(parameter) for parameter in template["Parameters"]}
    return {parameter: environment[name] for parameter, name in names.items() if name in environment}


class Resolver:
    """The template with values for its parameters."""

    def __init__(self, template: Mapping, values: Mapping[str, str], known: Mapping[str, str]) -> None:
        """`known` has what a `Ref` or an attribute gives that only AWS knows, as `AWS::Region` or `Log.Arn`."""
        self._template = template
        self._known = known
        definitions = template["Parameters"].items()
        self.parameters = {name: _value(name, values.get(name), definition) for name, definition in definitions}
        self._check_rules()

    def resolve(self, part: object) -> object:
        """A part of the template with all functions carried out."""
        if isinstance(part, list):
            return [item for item in map(self.resolve, part) if item is not NO_VALUE]
        if not isinstance(part, dict):
            return part
        if len(part) == 1:
            ((name, argument),) = part.items()
            if name in ("Ref", "Condition") and isinstance(argument, str) or name.startswith("Fn::"):
                return self._call(name, argument)
        resolved = {key: self.resolve(value) for key, value in part.items()}
        return {key: value for key, value in resolved.items() if value is not NO_VALUE}

    def properties(self, resource: str) -> dict:
        """The properties of a resource."""
        return self.resolve(self._template["Resources"][resource]["Properties"])

    def condition(self, name: str) -> bool:
        """Whether a condition of the template holds."""
        return self.resolve(self._template["Conditions"][name])

    def _call(self, function: str, argument: object) -> object:
        match function, argument:
            case "Ref", "AWS::NoValue":
                return NO_VALUE
            case "Ref", str(name) if name in self.parameters:
                return self.parameters[name]
            case "Ref", str(name):
                return self._known[name]
            case "Fn::GetAtt", [resource, attribute]:
                return self._known[f"{resource}.{attribute}"]
            case "Condition", str(name):
                return self.condition(name)
            case "Fn::If", [condition, yes, no]:
                return self.resolve(yes if self.condition(condition) else no)
            case "Fn::Equals", [left, right]:
                return self.resolve(left) == self.resolve(right)
            case "Fn::Not", [condition]:
                return not self.resolve(condition)
            case "Fn::And", list(conditions):
                return all(map(self.resolve, conditions))
            case "Fn::Or", list(conditions):
                return any(map(self.resolve, conditions))
            case "Fn::Contains", [values, value]:
                return self.resolve(value) in self.resolve(values)
            case "Fn::Select", [index, values]:
                return self.resolve(values)[int(index)]
            case "Fn::Split", [separator, value]:
                return self.resolve(value).split(separator)
            case "Fn::Sub", str(text):
                return self._substitute(text, {})
            case "Fn::Sub", [text, variables]:
                return self._substitute(text, self.resolve(variables))
        raise NotImplementedError(f"{function} in {TEMPLATE.name}")

    def _substitute(self, text: str, variables: Mapping[str, str]) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name in variables:
                return variables[name]
            return self._call("Fn::GetAtt", name.split(".", 1)) if "." in name else self._call("Ref", name)

        return re.sub(r"\$\{([^}]+)\}", value, text)

    def _check_rules(self) -> None:
        for rule in self._template["Rules"].values():
            if not self.resolve(rule["RuleCondition"]):
                continue
            for assertion in rule["Assertions"]:
                if not self.resolve(assertion["Assert"]):
                    raise Refused(as_variables(self._template, assertion["AssertDescription"]))


def as_variables(template: Mapping, text: str) -> str:
    """A text about parameters as one about their variables."""
    return re.sub(rf"\b({'|'.join(template['Parameters'])})\b", lambda match: variable(match[0]), text)


def _value(name: str, text: str | None, definition: Mapping) -> str:
    """A parameter's value or its default, checked as CloudFormation does."""
    text = str(definition["Default"]) if text is None else text
    if "AllowedValues" in definition and text not in map(str, definition["AllowedValues"]):
        raise Refused(f"{variable(name)} must be one of {', '.join(map(str, definition['AllowedValues']))}")
    if "AllowedPattern" in definition and not re.fullmatch(definition["AllowedPattern"], text):
        raise Refused(f"{variable(name)} is not what it must be: {definition['Description']}")
    if definition["Type"] == "Number":
        if not re.fullmatch(r"\d+", text):
            raise Refused(f"{variable(name)} must be a number")
        least, most = definition.get("MinValue", 0), definition.get("MaxValue", float("inf"))
        if not least <= int(text) <= most:
            raise Refused(f"{variable(name)} must be a number from {least} to {most}")
    return text
