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
mod target;
mod targets;
mod trial;
mod verify;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};

use crate::log;
use crate::problem::{self, Problem};
use crate::settings::Settings;
use arguments::Command;
use output::Output;

/// Does what `arguments`, without the program's name, ask for, and reads the environment through `lookup`. The
/// code is 0, 1 if something is wrong with the queries, the database or the function, or 2 if the arguments are.
pub(crate) fn run(
    arguments: impl IntoIterator<Item = OsString>,
    lookup: impl Fn(&str) -> Option<String>,
) -> ExitCode {
    let is_coloured = colour::is_wanted(&io::stderr(), &lookup);
    let settings = Settings::from_env(&lookup);
    log::init_command_line(&settings.log, move || colour::Log { is_coloured });
    let mut output = Output::new(colour::is_wanted(&io::stdout(), &lookup));
    let succeeded = match Command::parse(arguments) {
        Ok(Command::Help) => output.print(arguments::HELP).map(|()| true),
        Ok(Command::Version) => {
            output.print(concat!("pg-lambda-exporter ", env!("CARGO_PKG_VERSION"), "\n")).map(|()| true)
        }
        Ok(Command::Check(command)) => check::run(&command, settings, &mut output),
        Ok(Command::Scrape(command)) => scrape::run(&command, settings, &mut output),
        Ok(Command::Targets) => targets::run(settings, &mut output),
        Ok(Command::Verify(command)) => {
            match command.credential.as_ref().map(verify::authorization).transpose() {
                Ok(authorization) => verify::run(&command, authorization, &settings, lookup, &mut output),
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

/// A group of the settings.
fn usable<T>(group: Result<T, Vec<Problem>>) -> Result<T> {
    group.map_err(|problems| anyhow!("invalid environment: {}", problem::list(&problems)))
}

fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let output = runtime.block_on(future);
    // A thread that waits for a resolver cannot be stopped.
    runtime.shutdown_background();
    Ok(output)
}
