terraform {
  # 1.11 has write-only arguments: the generated token is not kept in the state.
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # 6.29 has invoked_via_function_url.
      version = ">= 6.29"
    }
    random = {
      source = "hashicorp/random"
      # 3.7 has the ephemeral random_password.
      version = ">= 3.7"
    }
  }
}
