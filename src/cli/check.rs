//! `check`: reports every mistake in query files and in the targets file, and with `--database` the results of the queries.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::arguments::{Check, Format};
use super::output::{Output, counted, printable};
use super::trial::{self, Trial, Trials};
use crate::config::{self, CACHED_COUNTER, Config, TargetEntry, TargetsFile};
use crate::problem::{Origin, Problem, Severity};
use crate::query_files::{self, QueryFiles};
use crate::settings::{Lifetimes, Settings, Source};
use crate::startup;

/// The files that are checked.
struct Checked {
    config: Config,
    /// Absent if no targets file is checked.
    targets: Option<TargetsFile>,
    /// Whether only a targets file is checked.
    has_no_queries: bool,
}

/// Returns whether there is no mistake.
///
/// # Errors
/// There are no files, a file cannot be read, or with `--database` the environment has no database.
pub(super) fn run(command: &Check, settings: Settings, output: &mut Output) -> Result<bool> {
    let (target_files, query_files) = command.paths.iter().cloned().partition(|path| is_targets_file(path));
    let (target_files, query_files): (Vec<PathBuf>, Vec<PathBuf>) = (target_files, query_files);
    let targets = targets_file(&target_files, &settings)?;
    let database = match target_files.as_slice() {
        [path] => Ok(Source::File { path: path.clone(), defaults: settings.defaults.clone() }),
        _ => settings.database(),
    };
    let has_one_environment = settings.has_one_environment;
    let queries = super::usable(settings.queries)?;
    let has_no_queries = query_files.is_empty() && !target_files.is_empty() && !command.database;
    let files = match has_no_queries {
        true => QueryFiles::default(),
        false => startup::query_files(&queries, &query_files)?,
    };
    let mut config = startup::parse(&files, &queries);
    if !has_one_environment {
        let cached = config.problems.iter_mut().filter(|problem| problem.message == CACHED_COUNTER);
        cached.for_each(|problem| problem.severity = Severity::Error);
    }
    let checked = Checked { config, targets, has_no_queries };
    let text = command.format == Format::Text;
    if text {
        output.print_report(&report(&checked))?;
    }
    let trials = match command.database {
        true => {
            let source = super::usable(database)?;
            let targets = super::usable(settings.targets)?;
            let limits = super::usable(settings.limits)?;
            super::block_on(async {
                let targets =
                    startup::targets(source, targets, Lifetimes::default(), &OnceCell::new()).await?;
                let target = command.target.as_deref();
                trial::run(&checked.config, &files.texts, targets, target, limits, |report| match text {
                    true => output.print_report(report),
                    false => Ok(()),
                })
                .await
            })??
        }
        false => Trials::default(),
    };
    match text {
        true => output.print(&summary(&checked, &trials.queries))?,
        false => output.print(&document(&checked, command.database.then_some(&trials)))?,
    }
    Ok((has_no_queries || !checked.config.queries.is_empty())
        && checked.mistakes().next().is_none()
        && trials.queries.iter().all(Trial::succeeded))
}

/// Whether a path of the command line is a targets file: by its name, or by its content.
fn is_targets_file(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| ["targets.yml", "targets.yaml"].contains(&name))
        || query_files::read_one(path).is_ok_and(|(_, text)| config::is_targets_file(&text))
}

/// The targets file of the command line or, without any file there, of the environment.
fn targets_file(paths: &[PathBuf], settings: &Settings) -> Result<Option<TargetsFile>> {
    match (paths, &settings.source) {
        ([], Ok(Source::File { path, defaults })) => startup::targets_file(path, defaults).map(Some),
        ([], _) => Ok(None),
        ([path], _) => startup::targets_file(path, &settings.defaults).map(Some),
        _ => bail!("several targets files; name one"),
    }
}

impl Checked {
    fn problems(&self) -> impl Iterator<Item = &Problem> {
        let targets = self.targets.iter().flat_map(|targets| &targets.problems);
        self.config.problems.iter().chain(targets)
    }

    /// Problems that change the meaning of a file. Unknown keys are among them.
    fn mistakes(&self) -> impl Iterator<Item = &Problem> {
        self.problems().filter(|problem| problem.severity != Severity::Warning)
    }

    fn warnings(&self) -> impl Iterator<Item = &Problem> {
        self.problems().filter(|problem| problem.severity == Severity::Warning)
    }
}

/// A line for each mistake, then a line for each warning, and an empty line after each group.
fn report(checked: &Checked) -> String {
    let group = |word: &str, problems: Vec<&Problem>| match problems.is_empty() {
        true => String::new(),
        false => {
            let line = |problem: &&Problem| format!("{word}: {}\n", printable(&problem.to_string()));
            problems.iter().map(line).chain(["\n".to_owned()]).collect()
        }
    };
    group("error", checked.mistakes().collect()) + &group("warning", checked.warnings().collect())
}

fn summary(checked: &Checked, trials: &[Trial]) -> String {
    let Checked { config, targets, has_no_queries } = checked;
    let mut parts = Vec::new();
    if !has_no_queries {
        parts.push(match config.queries.len() {
            0 => "no query that can run".to_owned(),
            queries => counted(queries, "query", "queries"),
        });
    }
    if !config.disabled.is_empty() {
        parts.push(format!("{} disabled", config.disabled.len()));
    }
    if let Some(TargetsFile { targets, .. }) = targets {
        let usable = targets.iter().filter(|target| target.access.is_some()).count();
        parts.push(counted(usable, "target", "targets"));
        if usable < targets.len() {
            parts.push(format!("{} disabled", targets.len() - usable));
        }
    }
    parts.push(counted(checked.mistakes().count(), "error", "errors"));
    parts.push(counted(checked.warnings().count(), "warning", "warnings"));
    if !trials.is_empty() {
        let failed = trials.iter().filter(|trial| !trial.succeeded()).count();
        parts.push(format!("{failed} failed on the database"));
    }
    format!("{}\n", parts.join(", "))
}

fn document(checked: &Checked, trials: Option<&Trials>) -> String {
    let Checked { config, targets, .. } = checked;
    let problems: Vec<_> = checked.problems().map(problem).collect();
    let mut document = json!({
        "problems": problems,
        "queries": config.queries.len(),
        "disabled": config.disabled,
    });
    if let (Some(TargetsFile { targets, .. }), Value::Object(document)) = (targets, &mut document) {
        let target = |target: &TargetEntry| json!({"name": target.name, "disabled": target.access.is_none()});
        document.insert("targets".to_owned(), targets.iter().map(target).collect());
    }
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
