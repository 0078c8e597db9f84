//! Runs one query: its predicate, its rows, and why it has none.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::databases::Run;
use super::time_left;
use crate::conditions;
use crate::config::Query;
use crate::database::{Connection, QueryError};
use crate::mapping::Mapper;
use crate::metric::LabelName;
use crate::outcome::{Failure, QueryOutcome, Skip, Status};
use crate::settings::Limits;
use crate::sql::Sql;

/// The part of a scrape's time for cancelling the last query. Lambda freezes the process as soon as it has
/// answered. A cancel request that is still unsent would hit the first query after the freeze.
pub(super) const CANCEL_LIMIT: Duration = Duration::from_millis(250);
/// The limit of a query without a `timeout`. At most half of the remaining time, too.
const QUERY_LIMIT: Duration = Duration::from_secs(5);

/// The label that names the database, where the query has `target_databases`.
const DATABASE_LABEL: &str = "datname";

/// Sends the query after its predicate, both within its time.
pub(super) async fn run(
    connection: &mut Connection,
    run: &Run<'_>,
    limits: &Limits,
    deadline: Instant,
) -> QueryOutcome {
    let mut outcome = QueryOutcome { status: Status::Succeeded, errors: Vec::new(), ..run.outcome() };
    let query = match (&run.database, LabelName::new(DATABASE_LABEL)) {
        (Some(database), Ok(name)) => run.query.with_label(&name, database),
        _ => Cow::Borrowed(run.query),
    };
    let query = query.as_ref();
    // Checked again, since the connection may be a new one.
    let sql = match conditions::sql_for(query, connection.facts()) {
        Ok(sql) => sql,
        Err(skip) => return QueryOutcome { status: Status::Skipped(skip), ..outcome },
    };
    let begun = Instant::now();
    let left = time_left(deadline);
    let is_own = query.timeout.is_none_or(|timeout| timeout <= left);
    let time = Time { until: begun + limit(query, left), is_own };
    if let Some(predicate) = &query.predicate {
        match holds(connection, predicate, &time).await {
            Ok(true) => {}
            Ok(false) => return QueryOutcome { status: Status::Skipped(Skip::Predicate), ..outcome },
            Err((failure, error)) => {
                outcome.status = Status::Failed(failure);
                outcome.errors.push(format!("predicate_query: {error}"));
                outcome.duration = Some(begun.elapsed());
                outcome.refusal = connection.refusal().cloned();
                return outcome;
            }
        }
    }
    let mut mapper = Mapper::new(query, limits.label_bytes, limits.result_bytes);
    let received_max = (limits.result_bytes as u64).saturating_mul(2);
    let limit = time_left(time.until);
    let result = connection.run_into(sql, limit, CANCEL_LIMIT, received_max, &mut mapper).await;
    outcome.duration = Some(begun.elapsed());
    outcome.refusal = connection.refusal().cloned();
    outcome.columns = mapper.columns().to_vec();
    match result {
        Ok(()) => take(&mut outcome, mapper),
        Err(error) => {
            outcome.status = Status::Failed(time.reason(&error));
            outcome.errors.push(error.to_string());
        }
    }
    outcome
}

/// The time of a query, its predicate included, in a scrape that has `left`.
pub(super) fn limit(query: &Query, left: Duration) -> Duration {
    query.timeout.unwrap_or(QUERY_LIMIT.min(left / 2)).min(left)
}

fn take(outcome: &mut QueryOutcome, mapper: Mapper<'_>) {
    outcome.rows = Some(mapper.row_count());
    match mapper.finish() {
        Ok(mapped) => {
            outcome.errors.extend(mapped.missing.iter().map(ToString::to_string));
            outcome.notes = mapped.notes;
            outcome.dropped = mapped.dropped;
            outcome.families = Arc::new(mapped.families);
        }
        Err(missing) => outcome.errors.push(missing.to_string()),
    }
    if !outcome.errors.is_empty() {
        outcome.status = Status::Failed(Failure::Config);
    }
}

/// Whether the predicate holds, or the reason and the error.
async fn holds(connection: &mut Connection, predicate: &Sql, time: &Time) -> Result<bool, (Failure, String)> {
    let limit = time_left(time.until);
    let table = connection.run(predicate, limit, CANCEL_LIMIT).await.map_err(|error| {
        let failure = match error {
            QueryError::Server { .. } | QueryError::StringsDiffer | QueryError::TooLarge => {
                Failure::Predicate
            }
            QueryError::Timeout | QueryError::Connection { .. } => time.reason(&error),
        };
        (failure, error.to_string())
    })?;
    conditions::holds(&table).map_err(|error| (Failure::Predicate, error.to_string()))
}

/// The time of a query, for all of its messages.
struct Time {
    until: Instant,
    /// Whether the limit is the query's own and not the scrape's.
    is_own: bool,
}

impl Time {
    fn reason(&self, error: &QueryError) -> Failure {
        match error {
            QueryError::Timeout if !self.is_own => Failure::Deadline,
            error => failure(error),
        }
    }
}

/// Why a query failed that had its own time.
pub(super) fn failure(error: &QueryError) -> Failure {
    match error {
        QueryError::Timeout => Failure::Timeout,
        QueryError::Connection { .. } => Failure::Connection,
        QueryError::StringsDiffer => Failure::Syntax,
        QueryError::TooLarge => Failure::Limit,
        QueryError::Server { sqlstate, .. } => of_sqlstate(sqlstate),
    }
}

/// PostgreSQL documentation, appendix A, "PostgreSQL Error Codes".
fn of_sqlstate(sqlstate: &str) -> Failure {
    match sqlstate {
        "42501" => Failure::Permission,
        // A column, a function, a table, a parameter, another object, a schema, a database.
        "42703" | "42883" | "42P01" | "42P02" | "42704" | "3F000" | "3D000" => Failure::Undefined,
        // Class 42 is "Syntax Error or Access Rule Violation".
        code if code.starts_with("42") => Failure::Syntax,
        _ => Failure::Other,
    }
}
