//! Errors of Secrets Manager, by the action that a reader of the log has to take.

use std::error::Error;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};

use crate::aws;

/// Longer details are cut off, since they are part of one log line.
const LONGEST_DETAIL: usize = 500;

/// Why a secret could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretError {
    /// The requested name or ARN.
    pub(crate) id: String,
    /// The kind of error.
    pub failure: Failure,
    /// The message of the service or the SDK. May be empty. Never the secret.
    pub(crate) detail: String,
}

/// The kinds of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The region has no secret of this name, or the secret has no current value.
    #[error("not found")]
    NotFound,
    /// The role may not read the secret or use its key, or the request's signature was refused.
    #[error("access denied")]
    Denied,
    /// No AWS credentials were found, or they have expired.
    #[error("no usable AWS credentials")]
    NoCredentials,
    /// No region is configured.
    #[error("no AWS region; set AWS_REGION")]
    NoRegion,
    /// Too many requests.
    #[error("throttled")]
    Throttled,
    /// KMS could not decrypt the secret: its key is disabled, deleted or not permitted.
    #[error("cannot be decrypted")]
    Decryption,
    /// The service answered with a server error.
    #[error("the service is unavailable")]
    Unavailable,
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// The connection failed or broke before the answer was complete.
    #[error("the service cannot be reached")]
    Unreachable,
    /// The SDK panics on what it finds in a profile or in credentials.
    #[error("the AWS profile or the credentials cannot be used; check endpoint_url and line breaks in them")]
    Configuration,
    /// The answer has no text.
    #[error("unusable: {0}")]
    Unusable(&'static str),
    /// Any other error. The detail has the service's error code.
    #[error("the request failed")]
    Other,
}

impl SecretError {
    pub(crate) fn new(id: &str, failure: Failure) -> Self {
        Self { id: id.to_owned(), failure, detail: String::new() }
    }

    /// The kind of error and the detail.
    pub(crate) fn reason(&self) -> String {
        let separator = if self.detail.is_empty() { "" } else { ": " };
        format!("{}{separator}{}", self.failure, self.detail)
    }

    pub(super) fn of_sdk<E: ProvideErrorMetadata + Error + 'static>(id: &str, error: &SdkError<E>) -> Self {
        Self { id: id.to_owned(), failure: failure(error), detail: detail(error) }
    }
}

fn failure<E: ProvideErrorMetadata + Error + 'static>(error: &SdkError<E>) -> Failure {
    match error {
        SdkError::TimeoutError(_) => Failure::TimedOut,
        SdkError::DispatchFailure(dispatch) if dispatch.is_timeout() => Failure::TimedOut,
        SdkError::DispatchFailure(_) if aws::causes(error).any(|cause| cause.is::<CredentialsError>()) => {
            Failure::NoCredentials
        }
        SdkError::ResponseError(_) if aws::is_too_large(error) => {
            Failure::Unusable("the answer is larger than 1 MiB")
        }
        // A response error means that the body was incomplete.
        SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => Failure::Unreachable,
        SdkError::ServiceError(service) => {
            of_code(service.err().code().unwrap_or_default(), service.raw().status().as_u16())
        }
        _ => Failure::Other,
    }
}

/// The operation's own errors and AWS's "Common Error Types".
fn of_code(code: &str, status: u16) -> Failure {
    match code {
        "ResourceNotFoundException" => Failure::NotFound,
        "DecryptionFailure" | "DecryptionFailureException" => Failure::Decryption,
        "AccessDenied"
        | "AccessDeniedException"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotAuthorized"
        | "OptInRequired"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException" => Failure::Denied,
        "LimitExceededException"
        | "RequestLimitExceeded"
        | "Throttling"
        | "ThrottledException"
        | "ThrottlingException"
        | "TooManyRequestsException" => Failure::Throttled,
        _ if status == 429 => Failure::Throttled,
        "InternalFailure"
        | "InternalServiceError"
        | "InternalServiceErrorException"
        | "ServiceUnavailable" => Failure::Unavailable,
        _ if status >= 500 => Failure::Unavailable,
        "" if status == 401 || status == 403 => Failure::Denied,
        "" if (200..300).contains(&status) => Failure::Unusable("the answer cannot be read"),
        _ => Failure::Other,
    }
}

/// The message of the service, or the chain of causes if there is none. A successful answer is never quoted:
/// it may contain the secret.
fn detail<E: ProvideErrorMetadata + Error + 'static>(error: &SdkError<E>) -> String {
    let line = match error {
        SdkError::ServiceError(service) => {
            let (err, status) = (service.err(), service.raw().status());
            match (err.code(), err.message()) {
                _ if status.is_success() => String::new(),
                (Some(code), Some(message)) => format!("{code}: {message}"),
                (Some(text), None) | (None, Some(text)) => text.to_owned(),
                (None, None) => format!("HTTP status {}", status.as_u16()),
            }
        }
        _ => aws::in_one_line(error),
    };
    aws::one_line(&line).chars().take(LONGEST_DETAIL).collect()
}

impl fmt::Display for SecretError {
    /// `secret "prod/db": access denied: AccessDeniedException: User … is not authorized to perform …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret {:?}: {}", self.id, self.reason())
    }
}

impl Error for SecretError {}
