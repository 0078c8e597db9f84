//! `check --database`: a scrape of all queries, and a report on each outcome.

use std::fmt;
use std::time::Duration;

use anyhow::{Error, Result};
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::subscriber::NoSubscriber;

use super::output::{aligned, counted, printable};
use super::{columns, refused, target};
use crate::conditions::sql_for;
use crate::config::{Config, Query};
use crate::database::{Connection, ResultColumn, ServerFacts};
use crate::mapping::{DeclaredNames, Reason};
use crate::outcome::{QueryOutcome, Scrape, Skip};
use crate::scrape::{Exporter, Targets};
use crate::settings::Limits;
use crate::sql::Sql;

const CONNECT_LIMIT: Duration = Duration::from_secs(25);
/// The limit for describing the columns of one query.
const DESCRIBE_LIMIT: Duration = Duration::from_secs(2);
const DESCRIBE_CANCEL_LIMIT: Duration = Duration::from_secs(1);
/// The longest time of a query without a `timeout`, and of connecting again after it.
const SLOW_QUERY_LIMIT: Duration = Duration::from_secs(15);

/// The report on one query.
#[derive(Debug)]
pub(super) struct Trial {
    outcome: QueryOutcome,
    columns: Vec<Column>,
    /// The number of exposed samples.
    series: usize,
}

#[derive(Debug)]
struct Column {
    name: String,
    /// `None` if the server does not tell it.
    type_name: Option<String>,
    purpose: String,
}

/// Without this the server shows 0 or nothing of other roles' sessions, and no error. Servers without the role
/// answer NULL.
const SEES_SESSIONS: &str = "SELECT pg_has_role(to_regrole('pg_read_all_stats'), 'USAGE')";
const SEES_NO_SESSIONS: &str = "the role does not see the sessions of other roles: metrics of sessions, locks and \
                                standbys read 0; grant it pg_monitor";

/// The reports on all queries.
#[derive(Debug, Default)]
pub(super) struct Trials {
    pub(super) queries: Vec<Trial>,
    /// A warning that concerns all queries.
    pub(super) warning: Option<&'static str>,
}

/// Scrapes once, and passes the report on each query to `tell` when the query has ended.
///
/// # Errors
/// The first connection fails, or `tell` fails.
pub(super) async fn run(
    config: &Config,
    files: &[(String, String)],
    targets: Targets,
    target: Option<&str>,
    limits: Limits,
    mut tell: impl FnMut(&str) -> Result<()>,
) -> Result<Trials> {
    if config.queries.is_empty() {
        return Ok(Trials::default());
    }
    let queries = &config.queries;
    let names = DeclaredNames::new(queries);
    let exporter = Exporter::new(config.clone(), targets, limits);
    let target = target::find(exporter.targets(), target, Instant::now() + CONNECT_LIMIT).await?;
    // The report contains all that a scrape logs.
    let _muted = tracing::subscriber::set_default(NoSubscriber::new());
    let ask = async |connection: &mut Connection, facts: &ServerFacts| {
        (sees_sessions(connection).await, describe(queries, connection, facts).await, facts.clone())
    };
    let asked = exporter.with_connection(&target, Instant::now() + CONNECT_LIMIT, ask).await;
    let (sees_sessions, described, facts) = asked.map_err(Error::msg)?;
    let warning = (!sees_sessions).then_some(SEES_NO_SESSIONS);
    let mut told = warning.map_or(Ok(()), |warning| tell(&format!("warning: {warning}\n\n")));

    let all = exporter.select(&[], &[])?;
    let limit: Duration =
        queries.iter().map(|query| query.timeout.unwrap_or_default() + SLOW_QUERY_LIMIT).sum();
    let mut trials = Vec::new();
    let on_outcome = |outcome: &QueryOutcome| {
        let known = queries.iter().zip(&described).find(|(query, _)| query.namespace == outcome.query);
        let Some((query, described)) = known else { return };
        let trial = Trial::new(outcome, query, described, &names, |error, refusal| {
            refused::explain(error, refusal, query, &facts, files)
        });
        if told.is_ok() {
            told = tell(&trial.to_string());
        }
        trials.push(trial);
    };
    let scrape =
        exporter.scrape_and_tell(&target, &all, Instant::now() + CONNECT_LIMIT + limit, on_outcome).await;
    told?;
    tell_across(&mut trials, &scrape, tell)?;
    Ok(Trials { queries: trials, warning })
}

/// Whether the role sees other roles' sessions. A server that does not answer is not blamed on the role.
async fn sees_sessions(connection: &mut Connection) -> bool {
    let Ok(sql) = Sql::parse(SEES_SESSIONS) else { return true };
    let answer = connection.run(&sql, DESCRIBE_LIMIT, DESCRIBE_CANCEL_LIMIT).await;
    answer.ok().and_then(|table| table.first_cell().map(|cell| cell != "f")).unwrap_or(true)
}

/// The columns of each query, as the server describes them. Uses the connection that then runs the queries,
/// since the role may have only one. Queries that are not meant for this server have none.
async fn describe(
    queries: &[Query],
    connection: &mut Connection,
    facts: &ServerFacts,
) -> Vec<Vec<ResultColumn>> {
    let sql: Vec<_> = queries.iter().map(|query| sql_for(query, facts).ok()).collect();
    let statements: Vec<_> = sql.iter().copied().flatten().collect();
    let mut described = connection.describe_once(&statements, DESCRIBE_LIMIT).await.into_iter();
    sql.iter().map(|sql| sql.and_then(|_| described.next()).flatten().unwrap_or_default()).collect()
}

/// Reports series that are dropped because another query, usually an earlier one, has the same series or
/// name, and results that exceed a limit together with those of later queries.
fn tell_across(
    trials: &mut [Trial],
    scrape: &Scrape,
    mut tell: impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    let merged = scrape.merged();
    let exposed = scrape.outcomes.iter().zip(merged.dropped.iter().zip(merged.series()));
    for (outcome, (dropped, series)) in exposed {
        // Queries of other databases run after the others.
        let is_of = |trial: &&mut Trial| {
            trial.outcome.query == outcome.query && trial.outcome.database == outcome.database
        };
        let Some(trial) = trials.iter_mut().find(is_of) else { continue };
        let mut report = String::new();
        if outcome.status != trial.outcome.status {
            let new = outcome.errors.iter().skip(trial.outcome.errors.len());
            report.extend(new.clone().map(|error| format!("  error: {}\n", printable(error))));
            trial.outcome.errors.extend(new.cloned());
            trial.outcome.status = outcome.status;
        } else if series < trial.series {
            let note = format!(
                "{} of {} series dropped, since another query has such a series or such a name",
                trial.series - series,
                trial.series
            );
            report = format!("  warning: {note}\n");
            trial.outcome.notes.push(note);
        }
        if !report.is_empty() {
            tell(&format!("{}\n{report}\n", trial.title()))?;
        }
        trial.series = series;
        trial.outcome.dropped += *dropped;
    }
    Ok(())
}

impl Trial {
    fn new(
        outcome: &QueryOutcome,
        query: &Query,
        described: &[ResultColumn],
        names: &DeclaredNames,
        explain: impl Fn(&str, &crate::database::Refusal) -> String,
    ) -> Self {
        let mut trial = outcome.without_metrics();
        if let (Some(refusal), Some(error)) = (&outcome.refusal, trial.errors.last_mut()) {
            *error = explain(error, refusal);
        }
        let is_sent = outcome.skip().is_none()
            && !outcome.errors.iter().any(|error| error.starts_with(refused::PREDICATE));
        let columns = match outcome.rows {
            Some(_) => outcome.columns.clone(),
            None if is_sent => described.iter().map(|column| column.name.clone()).collect(),
            None => Vec::new(),
        };
        let series = DeclaredNames::default()
            .merge_alone(&outcome.families)
            .series()
            .first()
            .copied()
            .unwrap_or_default();
        let is_explained = !trial.errors.is_empty() || !trial.notes.is_empty();
        if outcome.rows.is_some() && series == 0 && outcome.dropped.count(Reason::Null) > 0 && !is_explained {
            trial
                .notes
                .push("all values are NULL, which gives no series; add `default`, or COALESCE".to_owned());
        }
        let purposes = columns::purposes(query, &columns, names);
        let column = |(index, (name, purpose))| {
            let type_name = described.get(index).map(|column: &ResultColumn| column.type_name.clone());
            Column { name, type_name, purpose }
        };
        let columns = columns.into_iter().zip(purposes).enumerate().map(column).collect();
        Self { outcome: trial, columns, series }
    }

    fn title(&self) -> String {
        let query = printable(&self.outcome.query);
        match &self.outcome.database {
            Some(database) => format!("{query} in database {}", printable(database)),
            None => query,
        }
    }

    pub(super) fn succeeded(&self) -> bool {
        self.outcome.failure().is_none()
    }

    fn skipped(&self) -> Option<&'static str> {
        self.outcome.skip().map(|skip| match skip {
            Skip::Primary => "primary: the server is in recovery",
            Skip::Version => "runonserver: the server has another version",
            Skip::Database => "target_databases: no database has such a name",
            Skip::Aurora => "query_aurora: the server is Amazon Aurora",
            Skip::Predicate => "predicate_query is not true",
        })
    }

    pub(super) fn to_json(&self) -> Value {
        let column = |column: &Column| json!({"name": column.name, "type": column.type_name, "becomes": column.purpose});
        let dropped = self.outcome.dropped.iter().filter(|(_, count)| *count > 0);
        let mut report = json!({
            "query": self.outcome.query,
            "skipped": self.skipped(),
            "columns": self.columns.iter().map(column).collect::<Vec<_>>(),
            "rows": self.outcome.rows,
            "series": self.series,
            "duration_seconds": self.outcome.duration.unwrap_or_default().as_secs_f64(),
            "dropped": dropped.map(|(reason, count)| (reason.to_owned(), Value::from(count))).collect::<Value>(),
            "notes": self.outcome.notes,
            "failures": self.outcome.errors,
        });
        if let (Some(database), Value::Object(report)) = (&self.outcome.database, &mut report) {
            report.insert("database".to_owned(), database.clone().into());
        }
        report
    }
}

impl fmt::Display for Trial {
    /// The namespace, its columns as a table, the result and the warnings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title())?;
        if let Some(condition) = self.skipped() {
            return writeln!(f, "  skipped, {condition}\n");
        }
        let row = |column: &Column| {
            let type_name = column.type_name.clone().unwrap_or_else(|| "-".to_owned());
            [&column.name, &type_name, &column.purpose].map(|cell| printable(cell)).to_vec()
        };
        f.write_str(&aligned(&self.columns.iter().map(row).collect::<Vec<_>>()))?;
        let milliseconds = self.outcome.duration.unwrap_or_default().as_secs_f64() * 1000.0;
        match self.outcome.rows {
            Some(rows) => {
                let rows = counted(rows, "row", "rows");
                writeln!(f, "  {rows}, {} series, {milliseconds:.1} ms", self.series)?;
            }
            None => writeln!(f, "  no result, {milliseconds:.1} ms")?,
        }
        for note in &self.outcome.notes {
            writeln!(f, "  warning: {}", printable(note))?;
        }
        for failure in &self.outcome.errors {
            writeln!(f, "  error: {}", printable(failure))?;
        }
        writeln!(f)
    }
}
