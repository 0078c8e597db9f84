//! `check --database`: each query on the database, and what came of it.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::columns;
use super::conditions::{self, Reason};
use super::output::{aligned, counted, printable};
use crate::config::Query;
use crate::credentials::Credentials;
use crate::database::{Connection, ResultColumn};
use crate::exposition::{self, Format};
use crate::metric::Family;
use crate::sampling::{self, Dropped};
use crate::settings::Source;
use crate::table::Table;
use crate::target::Target;

const SECRET_LIMIT: Duration = Duration::from_secs(10);
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// What a query without a `timeout` may take; the function gives it no more.
const QUERY_LIMIT: Duration = Duration::from_secs(5);
pub(super) const CANCEL_LIMIT: Duration = Duration::from_secs(1);

/// What came of one query.
#[derive(Debug, Default)]
pub(super) struct Trial {
    query: String,
    columns: Vec<Column>,
    /// `None` without a result.
    rows: Option<usize>,
    series: usize,
    duration: Duration,
    dropped: Dropped,
    /// Why it was not run, which is no failure.
    skipped: Option<&'static str>,
    /// What is doubtful, in words and without values.
    notes: Vec<String>,
    /// Why it has failed: one text a reason.
    failures: Vec<String>,
}

#[derive(Debug)]
struct Column {
    name: String,
    /// `None` where the server does not tell.
    type_name: Option<String>,
    fate: String,
}

/// Runs the queries one after another, and hands what there is to say of each to `tell` when it is done.
///
/// # Errors
/// There is no connection, at first or after a query that lost it, or `tell` fails.
pub(super) async fn run(
    queries: &[Query],
    source: Source,
    mut tell: impl FnMut(&str) -> Result<()>,
) -> Result<Vec<Trial>> {
    let target = Credentials::new(source).await.fetch(SECRET_LIMIT).await.context("no credentials")?;
    let mut kept: Option<Connection> = None;
    let mut trials = Vec::new();
    let mut results = Vec::new();
    for query in queries {
        let mut connection = match kept.take().filter(Connection::is_usable) {
            Some(connection) => connection,
            None => connect(&target).await?,
        };
        let (trial, families) = try_query(query, &mut connection, &target).await?;
        kept = Some(connection);
        tell(&trial.to_string())?;
        results.push((families, trial.dropped));
        trials.push(trial);
    }
    tell_across(&mut trials, results, tell)?;
    Ok(trials)
}

async fn connect(target: &Target) -> Result<Connection> {
    Connection::open(target, CONNECT_LIMIT).await.context("no connection to the database")
}

/// What queries do to each other: a series or a name that an earlier one has is dropped from a later one.
fn tell_across(
    trials: &mut [Trial],
    results: Vec<(Vec<Family>, Dropped)>,
    mut tell: impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    let (_, dropped) = sampling::merge(results);
    for (trial, dropped) in trials.iter_mut().zip(dropped) {
        let lost = total(&dropped).saturating_sub(total(&trial.dropped));
        if lost > 0 {
            let samples = counted(lost, "sample", "samples");
            let note = format!("{samples} dropped, since an earlier query has such series or such a name");
            tell(&format!("{}\n  warning: {note}\n\n", printable(&trial.query)))?;
            trial.dropped = dropped;
            trial.series = trial.series.saturating_sub(lost);
            trial.notes.push(note);
        }
    }
    Ok(())
}

fn total(dropped: &Dropped) -> usize {
    usize::try_from(dropped.iter().map(|(_, count)| count).sum::<u64>()).unwrap_or(usize::MAX)
}

async fn try_query(
    query: &Query,
    connection: &mut Connection,
    target: &Target,
) -> Result<(Trial, Vec<Family>)> {
    let mut trial = Trial { query: query.namespace.clone(), ..Trial::default() };
    let limit = query.timeout.unwrap_or(QUERY_LIMIT);
    let (sql, limit) = match conditions::sql(query, connection, limit).await {
        Ok(to_run) => to_run,
        Err(reason) => {
            match reason {
                Reason::Skipped(condition) => trial.skipped = Some(condition),
                Reason::Failed(why) => trial.failures.push(why),
            }
            return Ok((trial, Vec::new()));
        }
    };
    // On a connection of its own: the function prepares no statement on that of the queries.
    let described: Vec<ResultColumn> =
        connect(target).await?.describe(sql, QUERY_LIMIT).await.unwrap_or_default();
    let begun = Instant::now();
    let result = connection.run(sql, limit, CANCEL_LIMIT).await;
    trial.duration = begun.elapsed();
    let names = match &result {
        Ok(table) => table.columns().to_vec(),
        Err(_) => described.iter().map(|column| column.name.clone()).collect(),
    };
    let type_name = |index: usize| Some(described.get(index)?.type_name.clone());
    let column = |(index, name): (usize, String)| {
        let fate = columns::fate(query, &name);
        Column { name, type_name: type_name(index), fate }
    };
    trial.columns = names.into_iter().enumerate().map(column).collect();
    let families = match result {
        Ok(table) => trial.take(query, &table),
        Err(error) => {
            trial.failures.push(error.to_string());
            Vec::new()
        }
    };
    Ok((trial, families))
}

impl Trial {
    pub(super) fn succeeded(&self) -> bool {
        self.failures.is_empty()
    }

    fn take(&mut self, query: &Query, table: &Table) -> Vec<Family> {
        self.rows = Some(table.row_count());
        match sampling::sample(query, table) {
            Ok(sampled) => {
                let lacks = |column| format!("the result lacks column {column:?}, which metrics names");
                self.failures.extend(sampled.missing.iter().map(lacks));
                self.notes.extend(sampled.notes);
                self.dropped = sampled.dropped;
                let text = exposition::encode(&sampled.families, Format::Text);
                self.series = text.lines().filter(|line| !line.starts_with('#')).count();
                sampled.families
            }
            Err(missing) => {
                self.failures.push(missing.to_string());
                Vec::new()
            }
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let column =
            |column: &Column| json!({"name": column.name, "type": column.type_name, "becomes": column.fate});
        let dropped = self.dropped.iter().filter(|(_, count)| *count > 0);
        json!({
            "query": self.query,
            "skipped": self.skipped,
            "columns": self.columns.iter().map(column).collect::<Vec<_>>(),
            "rows": self.rows,
            "series": self.series,
            "duration_seconds": self.duration.as_secs_f64(),
            "dropped": dropped.map(|(reason, count)| (reason.to_owned(), Value::from(count))).collect::<Value>(),
            "notes": self.notes,
            "failures": self.failures,
        })
    }
}

impl fmt::Display for Trial {
    /// The namespace, its columns as a table, what came of it, and what to look at.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", printable(&self.query))?;
        if let Some(condition) = self.skipped {
            return writeln!(f, "  skipped, {condition}\n");
        }
        let row = |column: &Column| {
            let type_name = column.type_name.clone().unwrap_or_else(|| "-".to_owned());
            [&column.name, &type_name, &column.fate].map(|cell| printable(cell)).to_vec()
        };
        f.write_str(&aligned(&self.columns.iter().map(row).collect::<Vec<_>>()))?;
        let milliseconds = self.duration.as_secs_f64() * 1000.0;
        match self.rows {
            Some(rows) => {
                let rows = counted(rows, "row", "rows");
                writeln!(f, "  {rows}, {} series, {milliseconds:.1} ms", self.series)?;
            }
            None => writeln!(f, "  no result, {milliseconds:.1} ms")?,
        }
        for note in &self.notes {
            writeln!(f, "  warning: {note}")?;
        }
        for failure in &self.failures {
            writeln!(f, "  error: {failure}")?;
        }
        writeln!(f)
    }
}
