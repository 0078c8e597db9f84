//! How Secrets Manager fails, told apart as far as a reader of the log would act differently.

use std::error::Error;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;

/// Detail beyond this is cut off; it goes into one line of a log.
const LONGEST_DETAIL: usize = 500;

/// Why a secret could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretError {
    /// The name or ARN that was asked for.
    pub id: String,
    /// What went wrong.
    pub failure: Failure,
    /// What the service or the SDK said of it; may be empty. Never the secret.
    pub detail: String,
}

/// What goes wrong when a secret is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// There is no secret of that name in that region, or it has no current value.
    #[error("not found")]
    NotFound,
    /// The role may not read the secret or use its key, or the request's signature was refused.
    #[error("access denied")]
    Denied,
    /// No AWS credentials were found, or they have expired before they were used.
    #[error("no usable AWS credentials")]
    NoCredentials,
    /// No region is configured.
    #[error("no AWS region; set AWS_REGION")]
    NoRegion,
    /// Too many requests.
    #[error("throttled")]
    Throttled,
    /// KMS could not decrypt the secret: the key is disabled, deleted or not to be used.
    #[error("cannot be decrypted")]
    Decryption,
    /// The service answered that it has a fault.
    #[error("the service is unavailable")]
    Unavailable,
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// No connection, or it broke before the answer was complete.
    #[error("the service cannot be reached")]
    Unreachable,
    /// There is an answer that holds no text.
    #[error("unusable: {0}")]
    Unusable(&'static str),
    /// Anything else; the detail has the service's code for it.
    #[error("the request failed")]
    Other,
}

impl SecretError {
    pub(super) fn new(id: &str, failure: Failure) -> Self {
        Self { id: id.to_owned(), failure, detail: String::new() }
    }

    pub(super) fn of_sdk(id: &str, error: &SdkError<GetSecretValueError>) -> Self {
        Self { id: id.to_owned(), failure: failure(error), detail: detail(error) }
    }
}

fn failure(error: &SdkError<GetSecretValueError>) -> Failure {
    match error {
        SdkError::TimeoutError(_) => Failure::TimedOut,
        SdkError::DispatchFailure(dispatch) if dispatch.is_timeout() => Failure::TimedOut,
        SdkError::DispatchFailure(_) if chain(error).any(|cause| cause.is::<CredentialsError>()) => {
            Failure::NoCredentials
        }
        // A response error is one whose body broke off.
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

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// What the service said or, where it said nothing, the chain of causes. Nothing of an answer of success: it
/// may hold the secret.
fn detail(error: &SdkError<GetSecretValueError>) -> String {
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
        _ => chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": "),
    };
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_DETAIL).collect()
}

impl fmt::Display for SecretError {
    /// `secret "prod/db": access denied: AccessDeniedException: User … is not authorized to perform …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret {:?}: {}", self.id, self.failure)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

impl Error for SecretError {}
