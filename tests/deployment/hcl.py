"""CloudFormation's expressions in Terraform's language, as examples/terraform/ writes them."""

import json
import re
from collections.abc import Mapping

TYPES = {
    "AWS::Serverless::Function": "aws_lambda_function",
    "AWS::Logs::LogGroup": "aws_cloudwatch_log_group",
    "AWS::IAM::Role": "aws_iam_role",
    "AWS::SecretsManager::Secret": "aws_secretsmanager_secret",
    "AWS::ApiGatewayV2::Api": "aws_apigatewayv2_api",
    "AWS::ApiGatewayV2::Integration": "aws_apigatewayv2_integration",
    "AWS::ApiGatewayV2::Route": "aws_apigatewayv2_route",
    "AWS::ApiGatewayV2::Stage": "aws_apigatewayv2_stage",
    "AWS::ApiGatewayV2::DomainName": "aws_apigatewayv2_domain_name",
    "AWS::ApiGatewayV2::ApiMapping": "aws_apigatewayv2_api_mapping",
    "AWS::Route53::RecordSet": "aws_route53_record",
    "AWS::Lambda::Permission": "aws_lambda_permission",
    "AWS::Lambda::Url": "aws_lambda_function_url",
    "AWS::CloudWatch::Alarm": "aws_cloudwatch_metric_alarm",
}
PSEUDO_PARAMETERS = {
    "AWS::StackName": "var.stack",
    "AWS::Region": "data.aws_region.current.region",
    "AWS::AccountId": "data.aws_caller_identity.current.account_id",
    "AWS::Partition": "data.aws_partition.current.partition",
    "AWS::URLSuffix": "data.aws_partition.current.dns_suffix",
    "AWS::NoValue": "null",
}
REFERENCES = {
    "aws_lambda_function": "function_name",
    "aws_cloudwatch_log_group": "name",
    "aws_secretsmanager_secret": "arn",
    "aws_apigatewayv2_stage": "name",
    "aws_apigatewayv2_domain_name": "domain_name",
}
"""The attribute that a `Ref` gives, unless it is `id`."""
ATTRIBUTES = {
    "Arn": "arn",
    "FunctionUrl": "function_url",
    "RegionalDomainName": "domain_name_configuration[0].target_domain_name",
    "RegionalHostedZoneId": "domain_name_configuration[0].hosted_zone_id",
}


def snake(name: str) -> str:
    """HasHttpApi is has_http_api."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


class Translation:
    """Terraform's text for the expressions of one template."""

    def __init__(self, template: Mapping) -> None:
        self._template = template

    def address(self, logical_id: str) -> str:
        """ApiStage is aws_apigatewayv2_stage.api_stage."""
        kind = TYPES[self._template["Resources"][logical_id]["Type"]]
        return f"{kind}.{snake(re.sub('^Exporter(LambdaFunction|Log|Role)$', 'Exporter', logical_id))}"

    def attribute(self, logical_id: str, name: str | None = None) -> str:
        address = self.address(logical_id)
        attribute = ATTRIBUTES[name] if name else REFERENCES.get(address.partition(".")[0], "id")
        if "Condition" in self._template["Resources"][logical_id]:
            return f"one({address}[*].{attribute})"
        return f"{address}.{attribute}"

    def reference(self, name: str) -> str:
        if name in PSEUDO_PARAMETERS:
            return PSEUDO_PARAMETERS[name]
        if name in self._template["Parameters"]:
            return f"var.{snake(name)}"
        return self.attribute(*name.split(".", 1))

    def expression(self, part: object) -> str:
        """The expression, without spaces but those in texts."""
        match part:
            case list(items):
                return f"[{','.join(map(self.expression, items))}]"
            case {"Ref": name}:
                return self.reference(name)
            case {"Fn::GetAtt": [logical_id, name]}:
                return self.attribute(logical_id, name)
            case {"Condition": str(name)}:
                return f"local.{snake(name)}"
            case {"Fn::Not": [{"Fn::Equals": [left, right]}]}:
                return f"{self.expression(left)}!={self.expression(right)}"
            case {"Fn::Not": [{"Fn::Or": _} | {"Fn::And": _} as conditions]}:
                return f"!({self.expression(conditions)})"
            case {"Fn::Not": [condition]}:
                return f"!{self.expression(condition)}"
            case {"Fn::Equals": [left, right]}:
                return f"{self.expression(left)}=={self.expression(right)}"
            case {"Fn::And": conditions}:
                return "&&".join(map(self.expression, conditions))
            case {"Fn::Or": conditions}:
                return "||".join(map(self.expression, conditions))
            case {"Fn::Contains": [values, value]}:
                return f"contains({self.expression(values)},{self.expression(value)})"
            case {"Fn::If": [condition, {"Fn::If": _} as yes, no]}:
                return f"local.{snake(condition)}?({self.expression(yes)}):{self.expression(no)}"
            case {"Fn::If": [condition, yes, {"Fn::If": _} as no]}:
                return f"local.{snake(condition)}?{self.expression(yes)}:({self.expression(no)})"
            case {"Fn::If": [condition, yes, no]}:
                return f"local.{snake(condition)}?{self.expression(yes)}:{self.expression(no)}"
            case {"Fn::Split": [separator, text]}:
                return f"split({self.expression(separator)},{self.expression(text)})"
            case {"Fn::Select": [index, values]}:
                return f"element({self.expression(values)},{index})"
            case {"Fn::Sub": str(text)}:
                return self._text(text, {})
            case {"Fn::Sub": [text, variables]}:
                return self._text(text, variables)
            case bool(value):
                return json.dumps(value)
            case str(text):
                return json.dumps(text)
            case int(number) | float(number):
                return str(number)
        raise NotImplementedError(part)

    def _text(self, text: str, variables: Mapping[str, object]) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1]
            return f"${{{self.expression(variables[name]) if name in variables else self.reference(name)}}}"

        return '"' + re.sub(r"\$\{([^}]+)\}", value, json.dumps(text)[1:-1]) + '"'

    def rule(self, rule: Mapping, assertion: Mapping) -> str:
        """What has to hold: the assertion, if the rule's condition does."""
        match rule["RuleCondition"]:
            case {"Fn::Not": [condition]}:
                unless = condition
            case condition:
                unless = {"Fn::Not": [condition]}
        return f"{self.expression(unless)}||{self.expression(assertion['Assert'])}"
