//! `check`: reports every mistake in query files, and with `--database` the results of the queries.

use anyhow::Result;
use serde_json::{Value, json};

use super::arguments::{Check, Format};
use super::output::{Output, counted, printable};
use super::trial::{self, Trial, Trials};
use crate::config::Config;
use crate::problem::{Origin, Problem, Severity};
use crate::settings::Settings;
use crate::startup;

/// Returns whether there is no mistake.
///
/// # Errors
/// There are no files, a file cannot be read, or with `--database` the environment has no database.
pub(super) fn run(command: &Check, settings: Settings, output: &mut Output) -> Result<bool> {
    let database = settings.database();
    let queries = super::usable(settings.queries)?;
    let files = startup::query_files(&queries, &command.paths)?;
    let config = startup::parse(&files, &queries);
    let text = command.format == Format::Text;
    if text {
        output.print_report(&report(&config))?;
    }
    let trials = match command.database {
        true => {
            let source = super::usable(database)?;
            let limits = super::usable(settings.limits)?;
            super::block_on(trial::run(&config, &files.texts, source, limits, |report| match text {
                true => output.print_report(report),
                false => Ok(()),
            }))??
        }
        false => Trials::default(),
    };
    match text {
        true => output.print(&summary(&config, &trials.queries))?,
        false => output.print(&document(&config, command.database.then_some(&trials)))?,
    }
    Ok(!config.queries.is_empty()
        && mistakes(&config).next().is_none()
        && trials.queries.iter().all(Trial::succeeded))
}

/// Problems that change the meaning of a file. Unknown keys are among them.
fn mistakes(config: &Config) -> impl Iterator<Item = &Problem> {
    config.problems.iter().filter(|problem| problem.severity != Severity::Warning)
}

fn warnings(config: &Config) -> impl Iterator<Item = &Problem> {
    config.problems.iter().filter(|problem| problem.severity == Severity::Warning)
}

/// A line for each mistake, then a line for each warning, and an empty line after each group.
fn report(config: &Config) -> String {
    let group = |word: &str, problems: Vec<&Problem>| match problems.is_empty() {
        true => String::new(),
        false => {
            let line = |problem: &&Problem| format!("{word}: {}\n", printable(&problem.to_string()));
            problems.iter().map(line).chain(["\n".to_owned()]).collect()
        }
    };
    group("error", mistakes(config).collect()) + &group("warning", warnings(config).collect())
}

fn summary(config: &Config, trials: &[Trial]) -> String {
    let mut parts = vec![
        match config.queries.len() {
            0 => "no query that can run".to_owned(),
            queries => counted(queries, "query", "queries"),
        },
        counted(mistakes(config).count(), "error", "errors"),
        counted(warnings(config).count(), "warning", "warnings"),
    ];
    if !config.disabled.is_empty() {
        parts.insert(1, format!("{} disabled", config.disabled.len()));
    }
    if !trials.is_empty() {
        let failed = trials.iter().filter(|trial| !trial.succeeded()).count();
        parts.push(format!("{failed} failed on the database"));
    }
    format!("{}\n", parts.join(", "))
}

fn document(config: &Config, trials: Option<&Trials>) -> String {
    let problems: Vec<_> = config.problems.iter().map(problem).collect();
    let mut document = json!({
        "problems": problems,
        "queries": config.queries.len(),
        "disabled": config.disabled,
    });
    if let (Some(trials), Value::Object(document)) = (trials, &mut document) {
        document.insert("database".to_owned(), trials.queries.iter().map(Trial::to_json).collect());
        if let Some(warning) = trials.warning {
            document.insert("warning".to_owned(), warning.into());
        }
    }
    format!("{document:#}\n")
}

fn problem(problem: &Problem) -> Value {
    let Problem { severity, origin, place, line, message, hint } = problem;
    let Origin::File(file) = origin else { return Value::Null };
    let severity = match severity {
        Severity::Error => "error",
        Severity::Ignored => "ignored",
        Severity::Warning => "warning",
    };
    json!({
        "severity": severity, "file": file, "line": line, "place": place, "message": message, "hint": hint,
    })
}
