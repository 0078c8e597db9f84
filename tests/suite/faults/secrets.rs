//! Faults of Secrets Manager and of what is in a secret.
