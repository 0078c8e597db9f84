//! `check --database`: runs each query on the database and reports the result.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::conditions::{self, Reason};
use super::output::{aligned, counted, printable};
use super::{columns, exposed, refused};
use crate::conditions::sql_for;
use crate::config::Query;
use crate::credentials::Credentials;
use crate::database::{ConnectError, Connection, ResultColumn};
use crate::metric::Family;
use crate::sampling::{self, Dropped};
use crate::settings::{Limits, Source};
use crate::sql::Sql;
use crate::table::Table;
use crate::target::Target;

const SECRET_LIMIT: Duration = Duration::from_secs(10);
const TOKEN_LIMIT: Duration = Duration::from_secs(10);
const CONNECT_LIMIT: Duration = Duration::from_secs(25);
/// The limit of a query without a `timeout`, as in the function.
const QUERY_LIMIT: Duration = Duration::from_secs(5);
/// The limit for describing the columns of one query.
const DESCRIBE_LIMIT: Duration = Duration::from_secs(2);
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// PostgreSQL documentation, "PostgreSQL Error Codes".
const TOO_MANY_CONNECTIONS: &str = "53300";
pub(super) const CANCEL_LIMIT: Duration = Duration::from_secs(1);

/// The result of one query.
#[derive(Debug, Default)]
pub(super) struct Trial {
    query: String,
    columns: Vec<Column>,
    /// `None` without a result.
    rows: Option<usize>,
    /// The number of exposed samples.
    series: usize,
    duration: Duration,
    /// Dropped metrics. A histogram counts as one.
    dropped: Dropped,
    /// The condition that does not hold. This is not a failure.
    skipped: Option<&'static str>,
    /// Warnings, without values.
    notes: Vec<String>,
    /// The failures.
    failures: Vec<String>,
}

#[derive(Debug)]
struct Column {
    name: String,
    /// `None` if the server does not tell it.
    type_name: Option<String>,
    fate: String,
}

/// Without this the server shows 0 or nothing of other roles' sessions, and no error. Servers without the role
/// answer NULL.
const SEES_SESSIONS: &str = "SELECT pg_has_role(to_regrole('pg_read_all_stats'), 'USAGE')";
const SEES_NO_SESSIONS: &str = "the role does not see the sessions of other roles: metrics of sessions, locks and \
                                standbys read 0; grant it pg_monitor";

/// The results of all queries.
#[derive(Debug, Default)]
pub(super) struct Trials {
    pub(super) queries: Vec<Trial>,
    /// A warning that concerns all queries.
    pub(super) warning: Option<&'static str>,
}

/// Runs the queries one after another, and passes the report of each to `tell` when it is done.
///
/// # Errors
/// There is no connection, at the beginning or after a query that lost it, or `tell` fails.
pub(super) async fn run(
    queries: &[Query],
    files: &[(String, String)],
    source: Source,
    limits: &Limits,
    mut tell: impl FnMut(&str) -> Result<()>,
) -> Result<Trials> {
    if queries.is_empty() {
        return Ok(Trials::default());
    }
    let credentials = Credentials::new(source, &OnceCell::new()).await;
    let target = credentials.fetch(SECRET_LIMIT).await.context("no credentials")?;
    let mut connection = connect(&credentials, &target).await?;
    let warning = (!sees_sessions(&mut connection).await).then_some(SEES_NO_SESSIONS);
    if let Some(warning) = warning {
        tell(&format!("warning: {warning}\n\n"))?;
    }
    let described = describe(queries, &mut connection).await;
    let mut trials = Vec::new();
    let mut results = Vec::new();
    for (query, described) in queries.iter().zip(&described) {
        if !connection.is_usable() {
            drop(connection);
            connection = reconnect(&credentials, &target).await?;
        }
        let (mut trial, result) = try_query(query, &mut connection, described, limits).await;
        if let (Some(refusal), Some(failure)) = (connection.refusal(), trial.failures.last_mut()) {
            *failure = refused::explain(failure, refusal, query, connection.facts(), files);
        }
        tell(&trial.to_string())?;
        trials.push(trial);
        results.push(result);
    }
    tell_across(&mut trials, results, tell)?;
    Ok(Trials { queries: trials, warning })
}

/// Whether the role sees other roles' sessions. A server that does not answer is not blamed on the role.
async fn sees_sessions(connection: &mut Connection) -> bool {
    let Ok(sql) = Sql::parse(SEES_SESSIONS) else { return true };
    let answer = connection.run(&sql, DESCRIBE_LIMIT, CANCEL_LIMIT).await;
    let first = |table: Table| table.rows().next()?.first().copied().flatten().map(|cell| cell != "f");
    answer.ok().and_then(first).unwrap_or(true)
}

async fn connect(credentials: &Credentials, target: &Target) -> Result<Connection> {
    let target = credentials.for_login(target, TOKEN_LIMIT).await.context("no connection to the database")?;
    Connection::open(&target, CONNECT_LIMIT).await.context("no connection to the database")
}

/// Connects again. If the role may have only one connection, the lost one counts until the server has noticed
/// its end.
async fn reconnect(credentials: &Credentials, target: &Target) -> Result<Connection> {
    let begun = Instant::now();
    loop {
        let opened = connect(credentials, target).await;
        match opened.as_ref().err().and_then(|error| error.downcast_ref()) {
            Some(ConnectError::Server { sqlstate, .. })
                if sqlstate == TOO_MANY_CONNECTIONS && begun.elapsed() < CONNECT_LIMIT =>
            {
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
            _ => return opened,
        }
    }
}

/// The columns of each query, as the server describes them. Uses the connection that then runs the queries,
/// since the role may have only one. Queries that are not meant for this server have none.
async fn describe(queries: &[Query], connection: &mut Connection) -> Vec<Vec<ResultColumn>> {
    let facts = connection.facts().clone();
    let sql: Vec<_> = queries.iter().map(|query| sql_for(query, &facts).ok()).collect();
    let statements: Vec<_> = sql.iter().copied().flatten().collect();
    let mut described = connection.describe_once(&statements, DESCRIBE_LIMIT).await.into_iter();
    sql.iter().map(|sql| sql.and_then(|_| described.next()).flatten().unwrap_or_default()).collect()
}

/// Reports series that are dropped because another query, usually an earlier one, has the same series or
/// name.
fn tell_across(
    trials: &mut [Trial],
    results: Vec<(Vec<Family>, Dropped)>,
    mut tell: impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    for (trial, (exposed, dropped)) in trials.iter_mut().zip(exposed::by_query(results)) {
        let series = exposed::series(&exposed);
        if series < trial.series {
            let note = format!(
                "{} of {} series dropped, since another query has such a series or such a name",
                trial.series - series,
                trial.series
            );
            tell(&format!("{}\n  warning: {note}\n\n", printable(&trial.query)))?;
            trial.notes.push(note);
        }
        trial.series = series;
        trial.dropped = dropped;
    }
    Ok(())
}

/// Runs one query, and returns its report and its families.
async fn try_query(
    query: &Query,
    connection: &mut Connection,
    described: &[ResultColumn],
    limits: &Limits,
) -> (Trial, (Vec<Family>, Dropped)) {
    let mut trial = Trial { query: query.namespace.clone(), ..Trial::default() };
    let limit = query.timeout.unwrap_or(QUERY_LIMIT);
    let (sql, limit) = match conditions::sql(query, connection, limit).await {
        Ok(to_run) => to_run,
        Err(reason) => {
            match reason {
                Reason::Skipped(condition) => trial.skipped = Some(condition),
                Reason::Failed(why) => trial.failures.push(why),
            }
            return (trial, Default::default());
        }
    };
    let begun = Instant::now();
    let result = connection.run(sql, limit, CANCEL_LIMIT).await;
    trial.duration = begun.elapsed();
    let names = match &result {
        Ok(table) => table.columns().to_vec(),
        Err(_) => described.iter().map(|column| column.name.clone()).collect(),
    };
    let fates = columns::fates(query, &names);
    let column = |(index, (name, fate))| {
        let type_name = described.get(index).map(|column: &ResultColumn| column.type_name.clone());
        Column { name, type_name, fate }
    };
    trial.columns = names.into_iter().zip(fates).enumerate().map(column).collect();
    let result = match result {
        Ok(table) => trial.take(query, &table, limits),
        Err(error) => {
            trial.failures.push(error.to_string());
            Default::default()
        }
    };
    (trial, result)
}

impl Trial {
    pub(super) fn succeeded(&self) -> bool {
        self.failures.is_empty()
    }

    /// Counts the series that the query would have alone.
    fn take(&mut self, query: &Query, table: &Table, limits: &Limits) -> (Vec<Family>, Dropped) {
        self.rows = Some(table.row_count());
        match sampling::sample(query, table, limits.label_bytes) {
            Ok(sampled) => {
                self.failures.extend(sampled.missing.iter().map(ToString::to_string));
                self.notes.extend(sampled.notes);
                let (exposed, _) = sampling::merge(vec![(sampled.families.clone(), sampled.dropped)]);
                self.series = exposed::series(&exposed);
                if self.series == 0
                    && sampled.dropped.null > 0
                    && self.failures.is_empty()
                    && self.notes.is_empty()
                {
                    self.notes.push(
                        "all values are NULL, which gives no series; add `default`, or COALESCE".to_owned(),
                    );
                }
                (sampled.families, sampled.dropped)
            }
            Err(missing) => {
                self.failures.push(missing.to_string());
                Default::default()
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
    /// The namespace, its columns as a table, the result and the warnings.
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
            writeln!(f, "  warning: {}", printable(note))?;
        }
        for failure in &self.failures {
            writeln!(f, "  error: {}", printable(failure))?;
        }
        writeln!(f)
    }
}
