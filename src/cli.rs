//! The command line, for a process that Lambda has not started: checks query files, tries them on a database, scrapes
//! once, and verifies a deployed function. It takes the function's environment, except for the authorization.
//!
//! Results go to standard output, everything else to standard error.

mod arguments;
mod check;
mod colour;
mod columns;
mod output;
mod refused;
mod scrape;
mod trial;
mod verify;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};

use crate::log;
use crate::settings::{Limits, Problem, Queries, Source};
use arguments::Command;
use output::Output;

/// Does what `arguments`, without the program's name, ask for, and reads the environment through `lookup`. The
/// code is 0, 1 if something is wrong with the queries, the database or the function, or 2 if the arguments are.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    lookup: impl Fn(&str) -> Option<String>,
) -> ExitCode {
    let is_coloured = colour::is_wanted(&io::stderr(), &lookup);
    log::init_command_line(&lookup, move || colour::Log { is_coloured });
    let mut output = Output::new(colour::is_wanted(&io::stdout(), &lookup));
    let succeeded = match Command::parse(arguments) {
        Ok(Command::Help) => output.print(arguments::HELP).map(|()| true),
        Ok(Command::Version) => {
            output.print(concat!("pg-lambda-exporter ", env!("CARGO_PKG_VERSION"), "\n")).map(|()| true)
        }
        Ok(Command::Check(command)) => check::run(&command, lookup, &mut output),
        Ok(Command::Scrape(command)) => scrape::run(&command, lookup, &mut output),
        Ok(Command::Verify(command)) => {
            match command.credential.as_ref().map(verify::authorization).transpose() {
                Ok(authorization) => verify::run(&command, authorization, lookup, &mut output),
                Err(error) => {
                    output::complain(&format!("pg-lambda-exporter: {error:#}\n"));
                    return ExitCode::from(2);
                }
            }
        }
        Err(error) => {
            output::complain(&error.to_string());
            return ExitCode::from(2);
        }
    };
    match succeeded {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            output::complain(&format!("pg-lambda-exporter: {}\n", output::printable(&format!("{error:#}"))));
            ExitCode::FAILURE
        }
    }
}

/// The database that the environment names.
fn source(lookup: impl Fn(&str) -> Option<String>) -> Result<Source> {
    Source::from_env(lookup).map_err(|problems| unusable(&problems))
}

/// Where the environment says that the queries are.
fn queries(lookup: impl Fn(&str) -> Option<String>) -> Result<Queries> {
    Queries::from_env(lookup).map_err(|problems| unusable(&problems))
}

/// How much the environment lets a scrape give.
fn limits(lookup: impl Fn(&str) -> Option<String>) -> Result<Limits> {
    Limits::from_env(lookup).map_err(|problems| unusable(&problems))
}

fn unusable(problems: &[Problem]) -> anyhow::Error {
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    anyhow!("invalid environment: {}", problems.join("; "))
}

fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let output = runtime.block_on(future);
    // A thread that waits for a resolver cannot be stopped.
    runtime.shutdown_background();
    Ok(output)
}
