"""Which conditions and rules of a template hold for given parameters, as CloudFormation evaluates them."""

from collections.abc import Mapping

PARTITIONS = {"cn-": "aws-cn", "us-gov-": "aws-us-gov", "eusc-": "aws-eusc"}


def partition(region: str) -> str:
    return next((name for prefix, name in PARTITIONS.items() if region.startswith(prefix)), "aws")


class Evaluation:
    """The conditions of one template with one set of parameters, in one region."""

    def __init__(self, template: Mapping, values: Mapping[str, str], region: str) -> None:
        self._template = template
        self._references = {"AWS::Region": region, "AWS::Partition": partition(region)}
        for name, definition in template["Parameters"].items():
            self._references[name] = values.get(name, str(definition.get("Default")))
        self.conditions = {name: self.holds({"Condition": name}) for name in template["Conditions"]}

    def broken_rules(self) -> list[str]:
        """The descriptions of the assertions that fail."""
        return [
            assertion["AssertDescription"]
            for rule in self._template.get("Rules", {}).values()
            if self.holds(rule["RuleCondition"])
            for assertion in rule["Assertions"]
            if not self.holds(assertion["Assert"])
        ]

    def holds(self, condition: Mapping) -> bool:
        ((function, argument),) = condition.items()
        match function:
            case "Condition":
                return self.holds(self._template["Conditions"][argument])
            case "Fn::Not":
                return not self.holds(argument[0])
            case "Fn::And" | "Fn::Or":
                assert 2 <= len(argument) <= 10, "CloudFormation takes 2 to 10 conditions"
                return (all if function == "Fn::And" else any)(map(self.holds, argument))
            case "Fn::Equals":
                left, right = map(self._value, argument)
                return left == right
            case "Fn::Contains":
                return self._value(argument[1]) in argument[0]
        raise NotImplementedError(function)

    def _value(self, part: str | Mapping) -> str:
        return self._references[part["Ref"]] if isinstance(part, Mapping) else str(part)
