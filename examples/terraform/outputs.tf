# The outputs of template.yaml.

output "scrape_url" {
  description = "URL that Prometheus scrapes, or the URL of the list with several targets"
  value       = local.has_front ? "https://${local.scrape_host}/${local.has_several_targets ? "targets" : "metrics"}" : null
}

output "domain_target" {
  description = "Name that a CNAME record of the custom domain name must point to"
  value       = local.has_domain ? one(aws_apigatewayv2_domain_name.domain[*].domain_name_configuration[0].target_domain_name) : null
}

output "function_name" {
  description = "Name of the function"
  value       = aws_lambda_function.exporter.function_name
}

output "function_arn" {
  description = "ARN of the function, for a stack that puts an endpoint in front of it"
  value       = aws_lambda_function.exporter.arn
}

output "log_group" {
  description = "Log group of the function, for `aws logs tail`"
  value       = aws_cloudwatch_log_group.exporter.name
}

output "authorization_secret_arn" {
  description = "Secret with the token that Prometheus must send"
  value       = local.reads_authorization_secret ? (local.has_authorization_secret ? var.authorization_secret_arn : one(aws_secretsmanager_secret.authorization_secret[*].arn)) : null
}

output "scrape_config" {
  description = "Job for scrape_configs in prometheus.yml"
  value       = local.has_front ? local.scrape_config : null
}
