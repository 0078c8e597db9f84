# The resources of template.yaml, under the same conditions and with the same policies.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

# The conditions of template.yaml.
locals {
  has_database_secret                        = var.database_secret_arn != ""
  has_database_secret_key                    = var.database_secret_key_arn != ""
  has_database_host                          = var.database_host != ""
  has_database_port                          = var.database_port != ""
  has_database_name                          = var.database_name != ""
  has_database_user                          = var.database_user != ""
  has_database_resource_id                   = var.database_resource_id != ""
  has_targets_file                           = var.targets_file != ""
  has_targets_secrets                        = var.targets_secret_arns != ""
  has_targets_tag                            = var.targets_tag != ""
  has_targets_prefix                         = var.targets_prefix != ""
  has_targets_prefix_only                    = local.has_targets_prefix && !local.has_targets_tag
  discovers_targets                          = local.has_targets_tag || local.has_targets_prefix
  has_several_targets                        = local.has_targets_file || local.discovers_targets
  has_targets_keys                           = var.targets_key_arns != ""
  has_targets_databases                      = var.targets_database_arns != ""
  has_public_url                             = var.public_url != ""
  has_max_connections                        = var.max_connections != ""
  has_max_databases                          = var.max_databases != ""
  is_open                                    = var.authorization == "none"
  has_authorization_secret                   = var.authorization_secret_arn != ""
  has_authorization_secret_key               = var.authorization_secret_key_arn != ""
  has_token_digests                          = var.authorization_token_sha256 != ""
  generates_token                            = !(local.is_open || local.has_authorization_secret || local.has_token_digests)
  reads_authorization_secret                 = local.has_authorization_secret || local.generates_token
  reads_secrets                              = local.has_database_secret || local.reads_authorization_secret
  has_keys                                   = local.has_database_secret_key || local.has_authorization_secret_key
  has_http_api                               = var.front == "http-api"
  is_in_region_without_function_urls         = local.is_in_asia_or_canada_without_function_urls || data.aws_region.current.region == "eu-central-2" || data.aws_region.current.region == "eu-south-2" || data.aws_region.current.region == "il-central-1" || data.aws_region.current.region == "me-central-1" || data.aws_region.current.region == "mx-central-1" || data.aws_region.current.region == "cn-north-1" || data.aws_region.current.region == "cn-northwest-1" || data.aws_region.current.region == "us-gov-east-1" || data.aws_region.current.region == "us-gov-west-1"
  is_in_asia_or_canada_without_function_urls = data.aws_region.current.region == "ap-east-2" || data.aws_region.current.region == "ap-south-2" || data.aws_region.current.region == "ap-southeast-4" || data.aws_region.current.region == "ap-southeast-5" || data.aws_region.current.region == "ap-southeast-6" || data.aws_region.current.region == "ap-southeast-7" || data.aws_region.current.region == "ca-west-1"
  has_function_url                           = var.front == "function-url" && !local.is_in_region_without_function_urls
  has_front                                  = local.has_http_api || local.has_function_url
  has_domain                                 = var.domain_certificate_arn != ""
  has_hosted_zone                            = var.domain_hosted_zone_id != ""
  is_in_vpc                                  = var.subnet_ids != ""
  has_security_groups                        = var.security_group_ids != ""
  has_queries_layer                          = var.queries_layer_arn != ""
  is_concurrency_reserved                    = var.reserved_concurrency != ""
  has_alarms                                 = var.alarm_topic_arn != ""
  creates_role                               = var.role_arn == ""
  has_permissions_boundary                   = var.permissions_boundary_arn != ""
  is_in_china                                = data.aws_partition.current.partition == "aws-cn"
  lacks_logging_config                       = local.is_in_china || data.aws_partition.current.partition == "aws-us-gov"
}

locals {
  # Terraform evaluates a local also where nothing uses it, and refuses to split the URL that does not exist.
  scrape_host = local.has_front ? (local.has_domain ? var.domain_name : (local.has_http_api ? "${one(aws_apigatewayv2_api.api[*].id)}.execute-api.${data.aws_region.current.region}.${data.aws_partition.current.dns_suffix}" : element(split("/", one(aws_lambda_function_url.function_url[*].function_url)), 2))) : ""

  scrape_config = join("\n", compact(concat(
    [
      "- job_name: ${var.stack}",
      "  scheme: https",
      "  scrape_interval: 1m",
      "  scrape_timeout: 20s",
      local.is_open ? "" : "  authorization:",
      local.is_open ? "" : "    credentials_file: /etc/prometheus/${var.stack}.token",
    ],
    local.has_several_targets ? [
      "  http_sd_configs:",
      "    - url: https://${local.scrape_host}/targets",
      local.is_open ? "" : "      authorization:",
      local.is_open ? "" : "        credentials_file: /etc/prometheus/${var.stack}.token",
      ] : [
      "  static_configs:",
      "    - targets: [\"${local.scrape_host}\"]",
    ],
  )))
}

resource "aws_lambda_function" "exporter" {
  function_name                  = var.stack
  filename                       = var.zip
  source_code_hash               = filebase64sha256(var.zip)
  handler                        = "bootstrap"
  runtime                        = "provided.al2023"
  architectures                  = [var.architecture]
  memory_size                    = var.memory_size
  timeout                        = var.timeout
  role                           = local.creates_role ? one(aws_iam_role.exporter[*].arn) : var.role_arn
  reserved_concurrent_executions = local.is_concurrency_reserved ? var.reserved_concurrency : -1
  layers                         = local.has_queries_layer ? [var.queries_layer_arn] : null

  environment {
    # A variable that is null is not set.
    variables = {
      for name, value in {
        DB_SECRET_ID         = local.has_database_secret ? var.database_secret_arn : null
        DB_AUTH              = var.database_authentication
        PGHOST               = local.has_database_host ? var.database_host : null
        PGPORT               = local.has_database_port ? var.database_port : null
        PGDATABASE           = local.has_database_name ? var.database_name : null
        PGUSER               = local.has_database_user ? var.database_user : null
        TARGETS_FILE         = local.has_targets_file ? var.targets_file : null
        TARGETS_TAG          = local.has_targets_tag ? var.targets_tag : null
        TARGETS_PREFIX       = local.has_targets_prefix ? var.targets_prefix : null
        PUBLIC_URL           = local.has_public_url ? var.public_url : null
        MAX_CONNECTIONS      = local.has_max_connections ? var.max_connections : null
        MAX_DATABASES        = local.has_max_databases ? var.max_databases : null
        RESERVED_CONCURRENCY = local.is_concurrency_reserved ? var.reserved_concurrency : null
        AUTH                 = local.is_open ? "none" : null
        AUTH_SECRET_ID       = local.has_authorization_secret ? var.authorization_secret_arn : (local.generates_token ? one(aws_secretsmanager_secret.authorization_secret[*].arn) : null)
        AUTH_TOKEN_SHA256    = local.has_token_digests ? var.authorization_token_sha256 : null
        QUERIES_FILE         = local.has_queries_layer ? var.queries_file : null
      } : name => value if value != null
    }
  }

  dynamic "vpc_config" {
    for_each = local.is_in_vpc ? [1] : []
    content {
      subnet_ids         = split(",", var.subnet_ids)
      security_group_ids = local.has_security_groups ? split(",", var.security_group_ids) : null
    }
  }

  dynamic "logging_config" {
    for_each = local.lacks_logging_config ? [] : [1]
    content {
      log_group             = aws_cloudwatch_log_group.exporter.name
      log_format            = "JSON"
      application_log_level = "INFO"
      system_log_level      = "WARN"
    }
  }

  lifecycle {
    precondition {
      condition     = var.database_authentication != "password" || var.database_secret_arn != "" || var.targets_file != "" || var.targets_tag != "" || var.targets_prefix != ""
      error_message = "database_secret_arn is missing; it is required unless database_authentication is iam, or targets_file, targets_tag or targets_prefix is set."
    }
    precondition {
      condition     = !(var.database_authentication == "iam" && var.targets_file == "" && var.targets_tag == "" && var.targets_prefix == "") || var.database_resource_id != ""
      error_message = "database_resource_id is missing; IAM authentication requires it."
    }
    precondition {
      condition     = !(var.database_authentication == "iam" && var.targets_file == "" && var.targets_tag == "" && var.targets_prefix == "") || var.database_user != ""
      error_message = "database_user is missing; IAM authentication requires it."
    }
    precondition {
      condition     = !(var.database_authentication == "iam" && var.targets_file == "" && var.targets_tag == "" && var.targets_prefix == "") || var.database_host != "" || var.database_secret_arn != ""
      error_message = "database_host is missing; it is required unless database_secret_arn is set."
    }
    precondition {
      condition     = var.database_resource_id == "" || var.database_authentication == "iam"
      error_message = "database_resource_id is set, but database_authentication is not iam."
    }
    precondition {
      condition     = var.database_authentication != "iam" || var.database_resource_id != "" || var.targets_database_arns != ""
      error_message = "targets_database_arns is missing; IAM authentication of several targets requires it."
    }
    precondition {
      condition     = !(var.targets_file != "" || var.targets_tag != "" || var.targets_prefix != "") || var.database_secret_arn == ""
      error_message = "database_secret_arn is set, but targets_file, targets_tag or targets_prefix is too; set one source of targets."
    }
    precondition {
      condition     = !(var.targets_file != "" || var.targets_tag != "" || var.targets_prefix != "") || var.database_resource_id == ""
      error_message = "database_resource_id is set, but targets_file, targets_tag or targets_prefix is too; set targets_database_arns instead."
    }
    precondition {
      condition     = var.targets_file == "" || var.targets_tag == ""
      error_message = "targets_file and targets_tag are both set; set one of them."
    }
    precondition {
      condition     = var.targets_file == "" || var.targets_prefix == ""
      error_message = "targets_file and targets_prefix are both set; set one of them."
    }
    precondition {
      condition     = var.targets_file == "" || var.targets_secret_arns != "" || var.targets_database_arns != "" || var.role_arn != ""
      error_message = "targets_secret_arns is missing; it is required with targets_file unless targets_database_arns or role_arn is set."
    }
    precondition {
      condition     = contains(["", "targets.yml"], var.targets_file) || var.queries_layer_arn != ""
      error_message = "targets_file is a file of a layer, but queries_layer_arn is not set."
    }
    precondition {
      condition     = var.targets_secret_arns == "" || var.targets_file != ""
      error_message = "targets_secret_arns is set, but targets_file is not."
    }
    precondition {
      condition     = var.targets_key_arns == "" || var.targets_file != "" || var.targets_tag != "" || var.targets_prefix != ""
      error_message = "targets_key_arns is set, but targets_file, targets_tag and targets_prefix are not."
    }
    precondition {
      condition     = var.targets_database_arns == "" || var.targets_file != "" || var.targets_tag != "" || var.targets_prefix != ""
      error_message = "targets_database_arns is set, but targets_file, targets_tag and targets_prefix are not."
    }
    precondition {
      condition     = var.queries_layer_arn != "" || var.queries_file == "/opt/queries.yml"
      error_message = "queries_file is set, but queries_layer_arn is not."
    }
    precondition {
      condition     = var.authorization != "none" || var.authorization_secret_arn == ""
      error_message = "authorization_secret_arn is set, but authorization is none."
    }
    precondition {
      condition     = var.authorization != "none" || var.authorization_token_sha256 == ""
      error_message = "authorization_token_sha256 is set, but authorization is none."
    }
    precondition {
      condition     = var.authorization_token_sha256 == "" || var.authorization_secret_arn == ""
      error_message = "authorization_token_sha256 and authorization_secret_arn are both set; set one of them."
    }
    precondition {
      condition     = var.database_secret_key_arn == "" || var.database_secret_arn != ""
      error_message = "database_secret_key_arn is set, but database_secret_arn is not."
    }
    precondition {
      condition     = var.authorization_secret_key_arn == "" || var.authorization_secret_arn != ""
      error_message = "authorization_secret_key_arn is set, but authorization_secret_arn is not."
    }
    precondition {
      condition     = var.front != "function-url" || !contains(["ap-east-2", "ap-south-2", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7", "ca-west-1", "cn-north-1", "cn-northwest-1", "eu-central-2", "eu-south-2", "il-central-1", "me-central-1", "mx-central-1", "us-gov-east-1", "us-gov-west-1"], data.aws_region.current.region)
      error_message = "front is function-url, but this region has no function URLs; set front to http-api."
    }
    precondition {
      condition     = var.domain_name == "" || var.front == "http-api"
      error_message = "domain_name is set, but front is not http-api."
    }
    precondition {
      condition     = var.domain_name == "" || var.domain_certificate_arn != ""
      error_message = "domain_certificate_arn is missing; domain_name requires it."
    }
    precondition {
      condition     = var.domain_certificate_arn == "" || var.domain_name != ""
      error_message = "domain_certificate_arn is set, but domain_name is not."
    }
    precondition {
      condition     = var.domain_hosted_zone_id == "" || var.domain_name != ""
      error_message = "domain_hosted_zone_id is set, but domain_name is not."
    }
    precondition {
      condition     = var.subnet_ids == "" || var.security_group_ids != ""
      error_message = "security_group_ids is missing; subnet_ids requires it."
    }
    precondition {
      condition     = var.security_group_ids == "" || var.subnet_ids != ""
      error_message = "subnet_ids is missing; security_group_ids requires it."
    }
    precondition {
      condition     = var.role_arn == "" || var.role_path == "/"
      error_message = "role_path is set, but role_arn is too, so that no role is created."
    }
    precondition {
      condition     = var.role_arn == "" || var.permissions_boundary_arn == ""
      error_message = "permissions_boundary_arn is set, but role_arn is too, so that no role is created."
    }
  }

  # Without its policies, Lambda cannot place the function in a VPC.
  depends_on = [aws_iam_role_policy.network]
}

resource "aws_cloudwatch_log_group" "exporter" {
  # Where Lambda has no logging_config, it writes to the group of this name.
  name              = "/aws/lambda/${var.stack}"
  retention_in_days = var.log_retention_days
}

resource "aws_iam_role" "exporter" {
  count                = local.creates_role ? 1 : 0
  name_prefix          = "${substr(var.stack, 0, 37)}-"
  path                 = var.role_path
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  permissions_boundary = local.has_permissions_boundary ? var.permissions_boundary_arn : null
}

data "aws_iam_policy_document" "trust" {
  statement {
    effect  = "Allow"
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy" "log" {
  count  = local.creates_role ? 1 : 0
  name   = "log"
  role   = one(aws_iam_role.exporter[*].id)
  policy = data.aws_iam_policy_document.log.json
}

data "aws_iam_policy_document" "log" {
  statement {
    effect    = "Allow"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.exporter.arn}:*"]
  }
}

resource "aws_iam_role_policy" "secrets" {
  count  = local.creates_role && local.reads_secrets ? 1 : 0
  name   = "secrets"
  role   = one(aws_iam_role.exporter[*].id)
  policy = data.aws_iam_policy_document.secrets.json
}

data "aws_iam_policy_document" "secrets" {
  statement {
    effect  = "Allow"
    actions = ["secretsmanager:GetSecretValue"]
    resources = compact([
      local.has_database_secret ? var.database_secret_arn : null,
      local.has_authorization_secret ? var.authorization_secret_arn : (local.generates_token ? one(aws_secretsmanager_secret.authorization_secret[*].arn) : null),
    ])
  }
}

resource "aws_iam_role_policy" "keys" {
  count  = local.creates_role && local.has_keys ? 1 : 0
  name   = "keys"
  role   = one(aws_iam_role.exporter[*].id)
  policy = data.aws_iam_policy_document.keys.json
}

data "aws_iam_policy_document" "keys" {
  statement {
    effect  = "Allow"
    actions = ["kms:Decrypt"]
    resources = compact([
      local.has_database_secret_key ? var.database_secret_key_arn : null,
      local.has_authorization_secret_key ? var.authorization_secret_key_arn : null,
    ])
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["secretsmanager.${data.aws_region.current.region}.${data.aws_partition.current.dns_suffix}"]
    }
  }
}

resource "aws_iam_role_policy" "database" {
  count  = local.creates_role && local.has_database_resource_id ? 1 : 0
  name   = "database"
  role   = one(aws_iam_role.exporter[*].id)
  policy = data.aws_iam_policy_document.database.json
}

data "aws_iam_policy_document" "database" {
  statement {
    effect    = "Allow"
    actions   = ["rds-db:connect"]
    resources = ["arn:${data.aws_partition.current.partition}:rds-db:${data.aws_region.current.region}:${data.aws_caller_identity.current.account_id}:dbuser:${var.database_resource_id}/${var.database_user}"]
  }
}

resource "aws_iam_role_policy" "target_secrets" {
  count  = local.creates_role && local.has_targets_secrets ? 1 : 0
  name   = "target-secrets"
  role   = one(aws_iam_role.exporter[*].id)
  policy = data.aws_iam_policy_document.target_secrets.json
}

data "aws_iam_policy_document" "target_secrets" {
  statement {
    effect    = "Allow"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = split(",", var.targets_secret_arns)
  }
}

resource "aws_iam_role_policy" "target_list" {
  count  = local.creates_role && local.discovers_targets ? 1 : 0
  name   = "target-list"
  role   = one(aws_iam_role.exporter[*].id)
  policy = data.aws_iam_policy_document.target_list.json
}

# It gives names and tags, no values. Secrets Manager cannot limit it to some secrets.
data "aws_iam_policy_document" "target_list" {
  statement {
    effect    = "Allow"
    actions   = ["secretsmanager:ListSecrets"]
    resources = ["*"]
  }
}

resource "aws_iam_role_policy" "tagged_targets" {
  count  = local.creates_role && local.has_targets_tag ? 1 : 0
  name   = "tagged-targets"
  role   = one(aws_iam_role.exporter[*].id)
  policy = data.aws_iam_policy_document.tagged_targets.json
}

# Terraform evaluates it without a tag too. A secret's ARN ends in a hyphen and six characters, which are not of its name.
data "aws_iam_policy_document" "tagged_targets" {
  statement {
    effect    = "Allow"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = ["arn:${data.aws_partition.current.partition}:secretsmanager:${data.aws_region.current.region}:${data.aws_caller_identity.current.account_id}:secret:${var.targets_prefix}*-??????"]
    condition {
      test     = "StringEquals"
      variable = "secretsmanager:ResourceTag/${element(split("=", "${var.targets_tag}="), 0)}"
      values   = ["${element(split("=", "${var.targets_tag}="), 1)}"]
    }
  }
}

resource "aws_iam_role_policy" "prefixed_targets" {
  count  = local.creates_role && local.has_targets_prefix_only ? 1 : 0
  name   = "prefixed-targets"
  role   = one(aws_iam_role.exporter[*].id)
  policy = data.aws_iam_policy_document.prefixed_targets.json
}

data "aws_iam_policy_document" "prefixed_targets" {
  statement {
    effect    = "Allow"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = ["arn:${data.aws_partition.current.partition}:secretsmanager:${data.aws_region.current.region}:${data.aws_caller_identity.current.account_id}:secret:${var.targets_prefix}*-??????"]
  }
}

resource "aws_iam_role_policy" "target_keys" {
  count  = local.creates_role && local.has_targets_keys ? 1 : 0
  name   = "target-keys"
  role   = one(aws_iam_role.exporter[*].id)
  policy = data.aws_iam_policy_document.target_keys.json
}

data "aws_iam_policy_document" "target_keys" {
  statement {
    effect    = "Allow"
    actions   = ["kms:Decrypt"]
    resources = split(",", var.targets_key_arns)
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["secretsmanager.${data.aws_region.current.region}.${data.aws_partition.current.dns_suffix}"]
    }
  }
}

resource "aws_iam_role_policy" "target_databases" {
  count  = local.creates_role && local.has_targets_databases ? 1 : 0
  name   = "target-databases"
  role   = one(aws_iam_role.exporter[*].id)
  policy = data.aws_iam_policy_document.target_databases.json
}

data "aws_iam_policy_document" "target_databases" {
  statement {
    effect    = "Allow"
    actions   = ["rds-db:connect"]
    resources = split(",", var.targets_database_arns)
  }
}

resource "aws_iam_role_policy" "network" {
  count  = local.creates_role ? 1 : 0
  name   = "network"
  role   = one(aws_iam_role.exporter[*].id)
  policy = data.aws_iam_policy_document.network.json
}

data "aws_iam_policy_document" "network" {
  statement {
    effect = "Allow"
    actions = [
      "ec2:CreateNetworkInterface",
      "ec2:DescribeNetworkInterfaces",
      "ec2:DescribeSubnets",
      "ec2:DeleteNetworkInterface",
      "ec2:AssignPrivateIpAddresses",
      "ec2:UnassignPrivateIpAddresses",
    ]
    resources = ["*"]
  }

  # Lambda needs these actions, the function's own code does not. Only calls of the code have this key.
  statement {
    effect    = "Deny"
    actions   = ["ec2:*"]
    resources = ["*"]
    condition {
      test     = "Null"
      variable = "lambda:SourceFunctionArn"
      values   = ["false"]
    }
  }
}

resource "aws_secretsmanager_secret" "authorization_secret" {
  count       = local.generates_token ? 1 : 0
  name_prefix = "${var.stack}-"
  description = "Bearer token with which Prometheus scrapes ${var.stack}"
}

ephemeral "random_password" "token" {
  count   = local.generates_token ? 1 : 0
  length  = 43
  special = false
}

resource "aws_secretsmanager_secret_version" "authorization_secret" {
  count            = local.generates_token ? 1 : 0
  secret_id        = one(aws_secretsmanager_secret.authorization_secret[*].id)
  secret_string_wo = jsonencode({ bearer_token = one(ephemeral.random_password.token[*].result) })
  # A higher number makes a new token.
  secret_string_wo_version = 1
}

resource "aws_apigatewayv2_api" "api" {
  count         = local.has_http_api ? 1 : 0
  name          = var.stack
  protocol_type = "HTTP"
}

resource "aws_apigatewayv2_integration" "api_integration" {
  count                  = local.has_http_api ? 1 : 0
  api_id                 = one(aws_apigatewayv2_api.api[*].id)
  integration_type       = "AWS_PROXY"
  integration_uri        = aws_lambda_function.exporter.arn
  payload_format_version = "2.0"
}

resource "aws_apigatewayv2_route" "root_route" {
  count     = local.has_http_api ? 1 : 0
  api_id    = one(aws_apigatewayv2_api.api[*].id)
  route_key = "GET /"
  target    = "integrations/${one(aws_apigatewayv2_integration.api_integration[*].id)}"
}

resource "aws_apigatewayv2_route" "everything_route" {
  count     = local.has_http_api ? 1 : 0
  api_id    = one(aws_apigatewayv2_api.api[*].id)
  route_key = "GET /{proxy+}"
  target    = "integrations/${one(aws_apigatewayv2_integration.api_integration[*].id)}"
}

resource "aws_apigatewayv2_stage" "api_stage" {
  count       = local.has_http_api ? 1 : 0
  api_id      = one(aws_apigatewayv2_api.api[*].id)
  name        = "$default"
  auto_deploy = true

  # More than Prometheus sends, and few for an attacker who guesses tokens.
  default_route_settings {
    throttling_rate_limit  = var.requests_per_second
    throttling_burst_limit = 20
  }
}

resource "aws_lambda_permission" "api_permission" {
  count         = local.has_http_api ? 1 : 0
  function_name = aws_lambda_function.exporter.arn
  action        = "lambda:InvokeFunction"
  principal     = "apigateway.amazonaws.com"
  source_arn    = "arn:${data.aws_partition.current.partition}:execute-api:${data.aws_region.current.region}:${data.aws_caller_identity.current.account_id}:${one(aws_apigatewayv2_api.api[*].id)}/*/GET/*"
}

resource "aws_apigatewayv2_domain_name" "domain" {
  count       = local.has_domain ? 1 : 0
  domain_name = var.domain_name

  domain_name_configuration {
    certificate_arn = var.domain_certificate_arn
    endpoint_type   = "REGIONAL"
    security_policy = "TLS_1_2"
    ip_address_type = local.is_in_china ? "ipv4" : "dualstack"
  }
}

resource "aws_apigatewayv2_api_mapping" "domain_mapping" {
  count       = local.has_domain ? 1 : 0
  api_id      = one(aws_apigatewayv2_api.api[*].id)
  domain_name = one(aws_apigatewayv2_domain_name.domain[*].domain_name)
  stage       = one(aws_apigatewayv2_stage.api_stage[*].name)
}

resource "aws_route53_record" "domain_record" {
  count   = local.has_hosted_zone ? 1 : 0
  zone_id = var.domain_hosted_zone_id
  name    = var.domain_name
  type    = "A"

  alias {
    name                   = one(aws_apigatewayv2_domain_name.domain[*].domain_name_configuration[0].target_domain_name)
    zone_id                = one(aws_apigatewayv2_domain_name.domain[*].domain_name_configuration[0].hosted_zone_id)
    evaluate_target_health = false
  }
}

resource "aws_route53_record" "domain_record_ipv6" {
  count   = local.has_hosted_zone ? 1 : 0
  zone_id = var.domain_hosted_zone_id
  name    = var.domain_name
  type    = "AAAA"

  alias {
    name                   = one(aws_apigatewayv2_domain_name.domain[*].domain_name_configuration[0].target_domain_name)
    zone_id                = one(aws_apigatewayv2_domain_name.domain[*].domain_name_configuration[0].hosted_zone_id)
    evaluate_target_health = false
  }
}

resource "aws_lambda_function_url" "function_url" {
  count              = local.has_function_url ? 1 : 0
  function_name      = aws_lambda_function.exporter.arn
  authorization_type = "NONE"
}

# Since October 2025, a public URL needs both permissions.
resource "aws_lambda_permission" "function_url_permission" {
  count                  = local.has_function_url ? 1 : 0
  function_name          = aws_lambda_function.exporter.arn
  action                 = "lambda:InvokeFunctionUrl"
  principal              = "*"
  function_url_auth_type = "NONE"
}

resource "aws_lambda_permission" "function_url_invoke_permission" {
  count                    = local.has_function_url ? 1 : 0
  function_name            = aws_lambda_function.exporter.arn
  action                   = "lambda:InvokeFunction"
  principal                = "*"
  invoked_via_function_url = true
}

resource "aws_cloudwatch_metric_alarm" "errors_alarm" {
  count               = local.has_alarms ? 1 : 0
  alarm_name          = "${var.stack}-errors"
  alarm_description   = "Invocations of ${aws_lambda_function.exporter.function_name} fail or time out. Read its log"
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  dimensions          = { FunctionName = aws_lambda_function.exporter.function_name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 3
  datapoints_to_alarm = 2
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}

resource "aws_cloudwatch_metric_alarm" "throttles_alarm" {
  count               = local.has_alarms ? 1 : 0
  alarm_name          = "${var.stack}-throttles"
  alarm_description   = "Lambda rejects invocations of ${aws_lambda_function.exporter.function_name}. Raise its reserved concurrency"
  namespace           = "AWS/Lambda"
  metric_name         = "Throttles"
  dimensions          = { FunctionName = aws_lambda_function.exporter.function_name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 3
  datapoints_to_alarm = 2
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}

resource "aws_cloudwatch_metric_alarm" "duration_alarm" {
  count               = local.has_alarms ? 1 : 0
  alarm_name          = "${var.stack}-duration"
  alarm_description   = "Invocations of ${aws_lambda_function.exporter.function_name} take more than 15 seconds, three quarters of the scrape timeout"
  namespace           = "AWS/Lambda"
  metric_name         = "Duration"
  dimensions          = { FunctionName = aws_lambda_function.exporter.function_name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 3
  datapoints_to_alarm = 2
  comparison_operator = "GreaterThanThreshold"
  threshold           = 15000 # milliseconds
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}
