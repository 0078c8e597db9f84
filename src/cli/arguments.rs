//! The arguments of the command line.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

use super::output::printable;

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
}

/// `check`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Check {
    /// Files and folders. Without any, the files that the function would read.
    pub(super) paths: Vec<PathBuf>,
    /// Whether to run the queries too.
    pub(super) database: bool,
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
}

/// A mistake in the arguments.
#[derive(Debug, thiserror::Error)]
pub(super) enum UsageError {
    #[error("{INTRODUCTION}")]
    NoCommand,
    #[error("pg-lambda-exporter: {}; see --help\n", printable(&.0.to_string()))]
    Argument(#[from] lexopt::Error),
    #[error("pg-lambda-exporter: scrape takes no file: {0:?}; set QUERIES_FILE to it, or see --help\n")]
    File(String),
    #[error("pg-lambda-exporter: unknown command {0:?}; use check or scrape, or see --help\n")]
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
            Arg::Long("collect") => scrape.collect.push(parser.value()?.string()?),
            Arg::Value(file) => return Err(UsageError::File(file.to_string_lossy().into_owned())),
            argument => return common(argument),
        }
    }
    Ok(Command::Scrape(scrape))
}
