"""What a role's policies allow."""

import fnmatch
import json
import urllib.parse
from collections.abc import Iterator, Mapping

from relays import Call

BY_OTHERS = {
    "logs:CreateLogStream": "Lambda, with the role, before the function starts",
    "logs:PutLogEvents": "Lambda, with the role, for what the function prints",
    "kms:Decrypt": "Secrets Manager, with the role, for a secret that has a key of its own",
    "rds-db:connect": "RDS, for the role that signed the token; the function asks nobody for one",
    "ec2:CreateNetworkInterface": "Lambda, with the role, to put the function into a VPC",
    "ec2:DescribeNetworkInterfaces": "the same",
    "ec2:DescribeSubnets": "the same",
    "ec2:DeleteNetworkInterface": "the same",
    "ec2:AssignPrivateIpAddresses": "the same",
    "ec2:UnassignPrivateIpAddresses": "the same",
}
"""Actions that are needed though the function does not call them, and who does."""


def listed(value: str | dict | list) -> list:
    return value if isinstance(value, list) else [value]


def grants(statements: list[dict], effect: str = "Allow") -> Iterator[Call]:
    """Each action on each resource that statements of this effect name."""
    for statement in statements:
        if statement["Effect"] == effect:
            for action in listed(statement["Action"]):
                for resource in listed(statement["Resource"]):
                    yield Call(action, resource)


def matches(grant: Call, call: Call) -> bool:
    return fnmatch.fnmatchcase(call.action, grant.action) and fnmatch.fnmatchcase(call.resource, grant.resource)


def allows(statements: list[dict], call: Call, tags: Mapping[str, str]) -> bool:
    """Whether a statement allows a call about a secret with these tags."""
    return any(
        matches(grant, call) and meets(statement.get("Condition", {}), tags)
        for statement in statements
        for grant in grants([statement])
    )


def meets(condition: Mapping[str, Mapping[str, str]], tags: Mapping[str, str]) -> bool:
    """Another condition than that on a tag is an error."""
    pairs = dict(condition).pop("StringEquals", {})
    names = {name: name.removeprefix("secretsmanager:ResourceTag/") for name in pairs}
    assert set(condition) <= {"StringEquals"} and all(name != tag for name, tag in names.items()), condition
    return all(tags.get(names[name]) == value for name, value in pairs.items())


def of_role(iam, role: str) -> list[dict]:
    """The statements of a role's policies, of which it must have no others than inline ones."""
    assert not iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    statements = []
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        if isinstance(document, str):
            document = json.loads(urllib.parse.unquote(document))
        statements += document["Statement"]
    return statements
