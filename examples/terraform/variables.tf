# The parameters of template.yaml, in snake case, and the two that SAM has as options: `stack` and `zip`.

variable "stack" {
  type        = string
  description = "Name of the function and prefix of the names of the other resources"
  default     = "pg-lambda-exporter"

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9-]{0,47}$", var.stack))
    error_message = "stack must be letters, digits and hyphens, must begin with a letter, and has at most 48 characters."
  }
}

variable "zip" {
  type        = string
  description = "Path of the package: the zip of a release, or bootstrap.zip of `make package`"
}

variable "database_secret_arn" {
  type        = string
  description = "ARN of the secret with the database's address and credentials, with the hyphen and six characters at its end. Optional with IAM authentication if host, user and database are set. Empty for several targets"
  default     = ""

  validation {
    condition     = can(regex("^(|arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\\d{12}:secret:[A-Za-z0-9/_+=.@!-]+-[A-Za-z0-9]{6})$", var.database_secret_arn))
    error_message = "database_secret_arn is invalid: ARN of the secret with the database's address and credentials, with the hyphen and six characters at its end. Optional with IAM authentication if host, user and database are set. Empty for several targets."
  }
}

variable "database_secret_key_arn" {
  type        = string
  description = "ARN of the KMS key that encrypts the database secret. Empty for the AWS managed key"
  default     = ""

  validation {
    condition     = can(regex("^(|arn:aws[a-z-]*:kms:[a-z0-9-]+:\\d{12}:key/[A-Za-z0-9-]+)$", var.database_secret_key_arn))
    error_message = "database_secret_key_arn is invalid: ARN of the KMS key that encrypts the database secret. Empty for the AWS managed key."
  }
}

variable "database_host" {
  type        = string
  description = "Host of the database, if the secret does not contain it"
  default     = ""
}

variable "database_port" {
  type        = string
  description = "Port of the database, from 1 to 65535, if the secret does not contain it. Empty for 5432"
  default     = ""

  validation {
    condition     = can(regex("^(|[1-9]\\d{0,3}|[1-5]\\d{4}|6[0-4]\\d{3}|65[0-4]\\d{2}|655[0-2]\\d|6553[0-5])$", var.database_port))
    error_message = "database_port is invalid: Port of the database, from 1 to 65535, if the secret does not contain it. Empty for 5432."
  }
}

variable "database_name" {
  type        = string
  description = "Name of the database, if the secret does not contain it"
  default     = ""
}

variable "database_user" {
  type        = string
  description = "Database role that logs in, if the secret does not contain it"
  default     = ""

  validation {
    condition     = can(regex("^[^*?]*$", var.database_user))
    error_message = "database_user is invalid: Database role that logs in, if the secret does not contain it."
  }
}

variable "database_authentication" {
  type        = string
  description = "How the database role logs in, with the password of the secret or with an IAM token"
  default     = "password"

  validation {
    condition     = contains(["password", "iam"], var.database_authentication)
    error_message = "database_authentication must be one of password, iam."
  }
}

variable "database_resource_id" {
  type        = string
  description = "Resource ID of the instance (db-...), the cluster (cluster-...) or the proxy (prx-...). Required with IAM authentication"
  default     = ""

  validation {
    condition     = can(regex("^(|(db|cluster|prx)-[A-Za-z0-9]+)$", var.database_resource_id))
    error_message = "database_resource_id is invalid: Resource ID of the instance (db-...), the cluster (cluster-...) or the proxy (prx-...). Required with IAM authentication."
  }
}

variable "targets_file" {
  type        = string
  description = "File with several targets. It is targets.yml in the package, or a path in the layer, such as /opt/targets.yml. Empty for a single target, or for targets that are found by a tag or a prefix"
  default     = ""

  validation {
    condition     = can(regex("^(|targets\\.yml|/opt/.+)$", var.targets_file))
    error_message = "targets_file is invalid: File with several targets. It is targets.yml in the package, or a path in the layer, such as /opt/targets.yml. Empty for a single target, or for targets that are found by a tag or a prefix."
  }
}

variable "targets_secret_arns" {
  type        = string
  description = "ARNs of the secrets in the targets file, separated by commas, each with the hyphen and six characters at its end"
  default     = ""

  validation {
    condition     = can(regex("^(|arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\\d{12}:secret:[A-Za-z0-9/_+=.@!-]+-[A-Za-z0-9]{6}(,arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\\d{12}:secret:[A-Za-z0-9/_+=.@!-]+-[A-Za-z0-9]{6})*)$", var.targets_secret_arns))
    error_message = "targets_secret_arns is invalid: ARNs of the secrets in the targets file, separated by commas, each with the hyphen and six characters at its end."
  }
}

variable "targets_tag" {
  type        = string
  description = "Key and value of a tag, as key=value. Each secret of the region that has this tag is a target"
  default     = ""

  validation {
    condition     = can(regex("^(|[A-Za-z0-9_.:/+@-]{1,128}=[A-Za-z0-9 _.:/+@-]{0,256})$", var.targets_tag))
    error_message = "targets_tag is invalid: Key and value of a tag, as key=value. Each secret of the region that has this tag is a target."
  }
}

variable "targets_prefix" {
  type        = string
  description = "Beginning of the names of secrets. Each secret of the region with such a name is a target. If a tag is set too, a secret needs both"
  default     = ""

  validation {
    condition     = can(regex("^(|[A-Za-z0-9/_+=.@!-]{1,256})$", var.targets_prefix))
    error_message = "targets_prefix is invalid: Beginning of the names of secrets. Each secret of the region with such a name is a target. If a tag is set too, a secret needs both."
  }
}

variable "targets_key_arns" {
  type        = string
  description = "ARNs of the KMS keys that encrypt the secrets of several targets, separated by commas. Empty for the AWS managed key"
  default     = ""

  validation {
    condition     = can(regex("^(|arn:aws[a-z-]*:kms:[a-z0-9-]+:\\d{12}:key/[A-Za-z0-9-]+(,arn:aws[a-z-]*:kms:[a-z0-9-]+:\\d{12}:key/[A-Za-z0-9-]+)*)$", var.targets_key_arns))
    error_message = "targets_key_arns is invalid: ARNs of the KMS keys that encrypt the secrets of several targets, separated by commas. Empty for the AWS managed key."
  }
}

variable "targets_database_arns" {
  type        = string
  description = "ARNs of the database users of several targets that log in with IAM authentication, separated by commas. The resource ID may be *, as in an ARN that ends in dbuser:*/exporter"
  default     = ""

  validation {
    condition     = can(regex("^(|arn:aws[a-z-]*:rds-db:[a-z0-9-]+:\\d{12}:dbuser:(\\*|(db|cluster|prx)-[A-Za-z0-9]+)/[^*?,]+(,arn:aws[a-z-]*:rds-db:[a-z0-9-]+:\\d{12}:dbuser:(\\*|(db|cluster|prx)-[A-Za-z0-9]+)/[^*?,]+)*)$", var.targets_database_arns))
    error_message = "targets_database_arns is invalid: ARNs of the database users of several targets that log in with IAM authentication, separated by commas. The resource ID may be *, as in an ARN that ends in dbuser:*/exporter."
  }
}

variable "public_url" {
  type        = string
  description = "URL at which Prometheus reaches the function, for the list of targets, such as https://metrics.example.com/pg. Empty for the address of the request"
  default     = ""

  validation {
    condition     = can(regex("^(|https?://[!-~]+)$", var.public_url))
    error_message = "public_url is invalid: URL at which Prometheus reaches the function, for the list of targets, such as https://metrics.example.com/pg. Empty for the address of the request."
  }
}

variable "max_connections" {
  type        = string
  description = "Maximum number of connections that an execution environment keeps, at least 1. Empty for 20"
  default     = ""

  validation {
    condition     = can(regex("^(|[1-9]\\d{0,4})$", var.max_connections))
    error_message = "max_connections is invalid: Maximum number of connections that an execution environment keeps, at least 1. Empty for 20."
  }
}

variable "max_databases" {
  type        = string
  description = "Maximum number of databases of a target that a scrape visits, at least 1. Empty for 50"
  default     = ""

  validation {
    condition     = can(regex("^(|[1-9]\\d{0,4})$", var.max_databases))
    error_message = "max_databases is invalid: Maximum number of databases of a target that a scrape visits, at least 1. Empty for 50."
  }
}

variable "authorization" {
  type        = string
  description = "\"required\" asks callers for a token. \"none\" lets everyone who reaches the URL read the metrics, so choose it only if something in front of the function restricts access"
  default     = "required"

  validation {
    condition     = contains(["required", "none"], var.authorization)
    error_message = "authorization must be one of required, none."
  }
}

variable "authorization_secret_arn" {
  type        = string
  description = "ARN of the secret with the bearer_token, or the username and password, that callers must send, with the hyphen and six characters at its end. Empty to create a secret with a generated token"
  default     = ""

  validation {
    condition     = can(regex("^(|arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\\d{12}:secret:[A-Za-z0-9/_+=.@!-]+-[A-Za-z0-9]{6})$", var.authorization_secret_arn))
    error_message = "authorization_secret_arn is invalid: ARN of the secret with the bearer_token, or the username and password, that callers must send, with the hyphen and six characters at its end. Empty to create a secret with a generated token."
  }
}

variable "authorization_secret_key_arn" {
  type        = string
  description = "ARN of the KMS key that encrypts the authorization secret. Empty for the AWS managed key"
  default     = ""

  validation {
    condition     = can(regex("^(|arn:aws[a-z-]*:kms:[a-z0-9-]+:\\d{12}:key/[A-Za-z0-9-]+)$", var.authorization_secret_key_arn))
    error_message = "authorization_secret_key_arn is invalid: ARN of the KMS key that encrypts the authorization secret. Empty for the AWS managed key."
  }
}

variable "authorization_token_sha256" {
  type        = string
  description = "SHA-256 digests, in hexadecimal and separated by commas, of the bearer tokens that callers may send. With it, no authorization secret is created or read"
  default     = ""

  validation {
    condition     = can(regex("^(|[0-9a-fA-F]{64}(,[0-9a-fA-F]{64})*)$", var.authorization_token_sha256))
    error_message = "authorization_token_sha256 is invalid: SHA-256 digests, in hexadecimal and separated by commas, of the bearer tokens that callers may send. With it, no authorization secret is created or read."
  }
}

variable "front" {
  type        = string
  description = "The endpoint that Prometheus scrapes, an HTTP API or a function URL. \"none\" if another stack creates one, such as examples/private-rest-api.yaml"
  default     = "http-api"

  validation {
    condition     = contains(["http-api", "function-url", "none"], var.front)
    error_message = "front must be one of http-api, function-url, none."
  }
}

variable "domain_name" {
  type        = string
  description = "Custom domain name of the HTTP API, such as metrics.example.com. Empty for the name that AWS generates"
  default     = ""

  validation {
    condition     = can(regex("^(|([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?)$", var.domain_name))
    error_message = "domain_name is invalid: Custom domain name of the HTTP API, such as metrics.example.com. Empty for the name that AWS generates."
  }
}

variable "domain_certificate_arn" {
  type        = string
  description = "ARN of the ACM certificate of the custom domain name, in the region of the stack"
  default     = ""

  validation {
    condition     = can(regex("^(|arn:aws[a-z-]*:acm:[a-z0-9-]+:\\d{12}:certificate/[A-Za-z0-9-]+)$", var.domain_certificate_arn))
    error_message = "domain_certificate_arn is invalid: ARN of the ACM certificate of the custom domain name, in the region of the stack."
  }
}

variable "domain_hosted_zone_id" {
  type        = string
  description = "ID of the Route 53 hosted zone in which the records of the custom domain name are created. Empty to create them yourself"
  default     = ""

  validation {
    condition     = can(regex("^(|[A-Z0-9]{1,32})$", var.domain_hosted_zone_id))
    error_message = "domain_hosted_zone_id is invalid: ID of the Route 53 hosted zone in which the records of the custom domain name are created. Empty to create them yourself."
  }
}

variable "requests_per_second" {
  type        = number
  description = "Maximum rate of requests that the HTTP API passes on, on average"
  default     = 10

  validation {
    condition     = var.requests_per_second >= 1 && var.requests_per_second <= 10000
    error_message = "requests_per_second must be from 1 to 10000."
  }
}

variable "subnet_ids" {
  type        = string
  description = "Subnets of the function, separated by commas. They must reach the database and Secrets Manager. Empty for a database with a public address"
  default     = ""

  validation {
    condition     = can(regex("^(|subnet-[0-9a-f]+(,subnet-[0-9a-f]+)*)$", var.subnet_ids))
    error_message = "subnet_ids is invalid: Subnets of the function, separated by commas. They must reach the database and Secrets Manager. Empty for a database with a public address."
  }
}

variable "security_group_ids" {
  type        = string
  description = "Security groups of the function in these subnets, separated by commas"
  default     = ""

  validation {
    condition     = can(regex("^(|sg-[0-9a-f]+(,sg-[0-9a-f]+)*)$", var.security_group_ids))
    error_message = "security_group_ids is invalid: Security groups of the function in these subnets, separated by commas."
  }
}

variable "queries_layer_arn" {
  type        = string
  description = "ARN of the layer version that contains the queries. Empty for the queries.yml in the package"
  default     = ""

  validation {
    condition     = can(regex("^(|arn:aws[a-z-]*:lambda:[a-z0-9-]+:\\d{12}:layer:[A-Za-z0-9_-]+:\\d+)$", var.queries_layer_arn))
    error_message = "queries_layer_arn is invalid: ARN of the layer version that contains the queries. Empty for the queries.yml in the package."
  }
}

variable "queries_file" {
  type        = string
  description = "File, or folder of files, with the queries in the layer"
  default     = "/opt/queries.yml"

  validation {
    condition     = can(regex("^/opt/.+$", var.queries_file))
    error_message = "queries_file is invalid: File, or folder of files, with the queries in the layer."
  }
}

variable "architecture" {
  type        = string
  description = "Processor architecture that the package was built for"
  default     = "x86_64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be one of arm64, x86_64."
  }
}

variable "memory_size" {
  type        = number
  description = "Memory of the function in MiB. Its share of a processor grows with it"
  default     = 256

  validation {
    condition     = var.memory_size >= 128 && var.memory_size <= 10240
    error_message = "memory_size must be from 128 to 10240."
  }
}

variable "timeout" {
  type        = number
  description = "Timeout of the function in seconds. An HTTP API times out after 30"
  default     = 29

  validation {
    condition     = var.timeout >= 1 && var.timeout <= 900
    error_message = "timeout must be from 1 to 900."
  }
}

variable "reserved_concurrency" {
  type        = string
  description = "Maximum number of concurrent execution environments, at least 1. Each has one connection to each target. Empty for no limit, as required in a new account, which cannot reserve any"
  default     = "2"

  validation {
    condition     = can(regex("^(|[1-9]\\d*)$", var.reserved_concurrency))
    error_message = "reserved_concurrency is invalid: Maximum number of concurrent execution environments, at least 1. Each has one connection to each target. Empty for no limit, as required in a new account, which cannot reserve any."
  }
}

variable "log_retention_days" {
  type        = number
  description = "Days to keep the log"
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653."
  }
}

variable "alarm_topic_arn" {
  type        = string
  description = "ARN of the SNS topic that the CloudWatch alarms on errors, throttles and duration notify. Empty to create no alarms"
  default     = ""

  validation {
    condition     = can(regex("^(|arn:aws[a-z-]*:sns:[a-z0-9-]+:\\d{12}:[A-Za-z0-9_-]+)$", var.alarm_topic_arn))
    error_message = "alarm_topic_arn is invalid: ARN of the SNS topic that the CloudWatch alarms on errors, throttles and duration notify. Empty to create no alarms."
  }
}

variable "role_arn" {
  type        = string
  description = "ARN of an existing role for the function. Empty to create a role"
  default     = ""

  validation {
    condition     = can(regex("^(|arn:aws[a-z-]*:iam::\\d{12}:role/.+)$", var.role_arn))
    error_message = "role_arn is invalid: ARN of an existing role for the function. Empty to create a role."
  }
}

variable "role_path" {
  type        = string
  description = "IAM path of the role that is created"
  default     = "/"

  validation {
    condition     = can(regex("^/([!-~]+/)?$", var.role_path))
    error_message = "role_path is invalid: IAM path of the role that is created."
  }
}

variable "permissions_boundary_arn" {
  type        = string
  description = "ARN of the permissions boundary of the role that is created, if your account requires one"
  default     = ""

  validation {
    condition     = can(regex("^(|arn:aws[a-z-]*:iam::(\\d{12}|aws):policy/.+)$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn is invalid: ARN of the permissions boundary of the role that is created, if your account requires one."
  }
}
