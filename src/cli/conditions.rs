//! Whether a query runs on the database of `check --database`.

use std::time::{Duration, Instant};

use super::trial::CANCEL_LIMIT;
use crate::conditions;
use crate::config::Query;
use crate::database::Connection;
use crate::self_metrics::Skip;
use crate::sql::Sql;

/// Why a query is not run.
#[derive(Debug)]
pub(super) enum Reason {
    /// A condition does not hold.
    Skipped(&'static str),
    /// The predicate's result is not a boolean.
    Failed(String),
}

/// The SQL to run for `query`, within the rest of `limit`.
pub(super) async fn sql<'q>(
    query: &'q Query,
    connection: &mut Connection,
    limit: Duration,
) -> Result<(&'q Sql, Duration), Reason> {
    let sql =
        conditions::sql_for(query, connection.facts()).map_err(|skip| Reason::Skipped(in_words(skip)))?;
    let Some(predicate) = &query.predicate else { return Ok((sql, limit)) };
    let begun = Instant::now();
    let result = connection.run(predicate, limit, CANCEL_LIMIT).await;
    let table = result.map_err(|error| Reason::Failed(format!("predicate_query: {error}")))?;
    match conditions::holds(&table) {
        Ok(true) => Ok((sql, limit.saturating_sub(begun.elapsed()))),
        Ok(false) => Err(Reason::Skipped(in_words(Skip::Predicate))),
        Err(error) => Err(Reason::Failed(format!("predicate_query: {error}"))),
    }
}

fn in_words(skip: Skip) -> &'static str {
    match skip {
        Skip::Primary => "primary: the server is in recovery",
        Skip::Version => "runonserver: the server has another version",
        Skip::Database => "target_databases: the database has another name",
        Skip::Aurora => "query_aurora: the server is Amazon Aurora",
        Skip::Predicate => "predicate_query is not true",
    }
}
