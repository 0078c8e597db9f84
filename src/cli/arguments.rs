//! The arguments of the command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lambda_http::http::Uri;
use lexopt::{Arg, Parser, ValueExt};

use super::output::printable;
use crate::http_client;

/// The text of `--help`.
pub(super) const HELP: &str = include_str!("help.txt");

/// The text without arguments.
const INTRODUCTION: &str = include_str!("introduction.txt");

/// The command to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Help,
    Version,
    Check(Check),
    Scrape(Scrape),
    Targets,
    Verify(Verify),
}

/// `check`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Check {
    /// Files and folders. Without any, the files that the function would read.
    pub(super) paths: Vec<PathBuf>,
    /// Whether to run the queries too.
    pub(super) database: bool,
    /// The target to run them on. Absent: the only one.
    pub(super) target: Option<String>,
    pub(super) format: Format,
}

/// The output format of `check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Format {
    #[default]
    Text,
    Json,
}

/// `scrape`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Scrape {
    pub(super) openmetrics: bool,
    /// Patterns of namespaces. Without any, all namespaces.
    pub(super) collect: Vec<String>,
    /// The target. Absent: the only one.
    pub(super) target: Option<String>,
}

/// `verify`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verify {
    pub(super) url: Uri,
    pub(super) credential: Option<Credential>,
    pub(super) timeout: Duration,
}

/// The file that has the credential, as in the configuration of Prometheus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credential {
    Token(PathBuf),
    Password { user: String, file: PathBuf },
}

/// The `scrape_timeout` of examples/prometheus.yml.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(20);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(900);

/// A mistake in the arguments.
#[derive(Debug, thiserror::Error)]
pub(super) enum UsageError {
    #[error("{INTRODUCTION}")]
    NoCommand,
    #[error("pg-lambda-exporter: {}; see --help\n", printable(&.0.to_string()))]
    Argument(#[from] lexopt::Error),
    #[error("pg-lambda-exporter: scrape takes no file: {0:?}; set QUERIES_FILE to it, or see --help\n")]
    File(String),
    #[error("pg-lambda-exporter: verify: {0}; see --help\n")]
    Verify(&'static str),
    #[error(
        "pg-lambda-exporter: unknown command {0:?}; use check, scrape, targets or verify, or see --help\n"
    )]
    Command(String),
}

impl Command {
    /// Reads the arguments, without the program's name.
    ///
    /// # Errors
    /// [`UsageError`], whose text is complete with its line breaks.
    pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, UsageError> {
        let mut parser = Parser::from_args(arguments);
        match parser.next()? {
            None => Err(UsageError::NoCommand),
            Some(Arg::Value(command)) => match command.to_str() {
                Some("check") => check(&mut parser),
                Some("scrape") => scrape(&mut parser),
                Some("targets") => match parser.next()? {
                    None => Ok(Self::Targets),
                    Some(argument) => common(argument),
                },
                Some("verify") => verify(&mut parser),
                Some("help") => Ok(Self::Help),
                _ => Err(UsageError::Command(command.to_string_lossy().into_owned())),
            },
            Some(argument) => common(argument),
        }
    }
}

/// Options of every command.
fn common(argument: Arg<'_>) -> Result<Command, UsageError> {
    match argument {
        Arg::Short('h') | Arg::Long("help") => Ok(Command::Help),
        Arg::Short('V') | Arg::Long("version") => Ok(Command::Version),
        argument => Err(argument.unexpected().into()),
    }
}

fn check(parser: &mut Parser) -> Result<Command, UsageError> {
    let mut check = Check::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("database") => check.database = true,
            Arg::Long("target") => check.target = Some(parser.value()?.string()?),
            Arg::Long("format") => {
                check.format = parser.value()?.parse_with(|format| match format {
                    "text" => Ok(Format::Text),
                    "json" => Ok(Format::Json),
                    _ => Err("it must be text or json"),
                })?;
            }
            Arg::Value(path) => check.paths.push(path.into()),
            argument => return common(argument),
        }
    }
    Ok(Command::Check(check))
}

fn scrape(parser: &mut Parser) -> Result<Command, UsageError> {
    let mut scrape = Scrape::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("openmetrics") => scrape.openmetrics = true,
            Arg::Long("target") => scrape.target = Some(parser.value()?.string()?),
            Arg::Long("collect") => scrape.collect.push(parser.value()?.string()?),
            Arg::Value(file) => return Err(UsageError::File(file.to_string_lossy().into_owned())),
            argument => return common(argument),
        }
    }
    Ok(Command::Scrape(scrape))
}

fn verify(parser: &mut Parser) -> Result<Command, UsageError> {
    let (mut url, mut token, mut user, mut password) = (None, None, None, None);
    let mut timeout = SCRAPE_TIMEOUT;
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("token-file") => token = Some(PathBuf::from(parser.value()?)),
            Arg::Long("user") => user = Some(parser.value()?.string()?),
            Arg::Long("password-file") => password = Some(PathBuf::from(parser.value()?)),
            Arg::Long("timeout") => timeout = parser.value()?.parse_with(duration)?,
            Arg::Value(value) if url.is_none() => url = Some(value),
            Arg::Value(_) => return Err(UsageError::Verify("one URL is expected")),
            argument => return common(argument),
        }
    }
    let url = url.ok_or(UsageError::Verify("a URL is expected, such as https://HOST/metrics"))?;
    let url = scrape_url(url)?;
    let credential = match (token, user, password) {
        (None, None, None) => None,
        (Some(file), None, None) => Some(Credential::Token(file)),
        (None, Some(user), Some(file)) if !user.contains(':') => Some(Credential::Password { user, file }),
        (None, Some(_), Some(_)) => return Err(UsageError::Verify("--user must not contain a colon")),
        (None, _, _) => return Err(UsageError::Verify("--user and --password-file must be given together")),
        _ => return Err(UsageError::Verify("--token-file excludes --user and --password-file")),
    };
    let is_plain = url.scheme_str() == Some("http") && !http_client::is_this_machine(&url);
    match credential {
        Some(_) if is_plain => {
            Err(UsageError::Verify("the URL must begin with https://, or the credential is sent unencrypted"))
        }
        credential => Ok(Command::Verify(Verify { url, credential, timeout })),
    }
}

/// The messages do not repeat the URL: a password may be in it.
fn scrape_url(text: OsString) -> Result<Uri, UsageError> {
    let url = text.into_string().ok().and_then(|text| text.parse::<Uri>().ok());
    let authority = url.as_ref().and_then(Uri::authority).map_or_else(String::new, ToString::to_string);
    if authority.contains('@') {
        return Err(UsageError::Verify(
            "the URL must not have a user or a password; use --user and --password-file, or --token-file",
        ));
    }
    url.filter(|url| matches!(url.scheme_str(), Some("https" | "http")))
        .filter(|url| {
            let host = url.host().unwrap_or_default();
            // `Uri` accepts any text as a port.
            let has_port = authority.len() > host.len();
            !host.is_empty() && (!has_port || url.port_u16().is_some_and(|port| port > 0))
        })
        .ok_or(UsageError::Verify("the URL must be https://HOST/metrics, in ASCII"))
}

/// `20`, `20s`, `1m`
fn duration(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds
        .or_else(|| humantime::parse_duration(text).ok())
        .filter(|duration| !duration.is_zero() && *duration <= LONGEST_TIMEOUT)
        .ok_or("it must be seconds or a time such as 20s, up to 15m")
}
