//! Where the log goes, and what must not get into it.

use lambda_http::tracing::subscriber::filter::{EnvFilter, LevelFilter, filter_fn};
use lambda_http::tracing::subscriber::layer::{Layer as _, SubscriberExt as _};
use lambda_http::tracing::subscriber::util::SubscriberInitExt as _;
use lambda_http::tracing::subscriber::{fmt, registry};
use lambda_http::tracing::{Level, Metadata};

/// Sends the log to standard output as Lambda's logging controls (`AWS_LAMBDA_LOG_LEVEL`, `AWS_LAMBDA_LOG_FORMAT`) or
/// `RUST_LOG` ask, which is what lambda_http does by default; but whatever they ask, without what [`may_be_logged`]
/// leaves out.
pub fn init(lookup: impl Fn(&str) -> Option<String>) {
    let level = lookup("AWS_LAMBDA_LOG_LEVEL").or_else(|| lookup("RUST_LOG"));
    let level = level.and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO);
    let asked_for = EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    let json = lookup("AWS_LAMBDA_LOG_FORMAT").is_some_and(|format| format.eq_ignore_ascii_case("json"));
    let lines = fmt::layer().with_target(false);
    // Lambda puts the time before a line of text. Of JSON it reads the line's own, in RFC 3339, and takes a line without
    // one for INFO (AWS Lambda developer guide, "Log-level filtering").
    let lines = if json { lines.json().boxed() } else { lines.without_time().boxed() };
    registry().with(asked_for).with(filter_fn(may_be_logged)).with(lines).init();
}

/// At the level TRACE the runtime prints the events as they arrive, with the caller's `Authorization`; and the signing
/// of a URL prints AWS's session token.
pub(crate) fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    let holds_secrets = ["lambda_runtime", "aws_sigv4"];
    *metadata.level() < Level::TRACE || !holds_secrets.iter().any(|name| metadata.target().starts_with(name))
}
