//! Whether a query is meant for the database that it is tried on.

use std::time::{Duration, Instant};

use super::trial::CANCEL_LIMIT;
use crate::config::{AuroraQuery, Query};
use crate::database::{Connection, ServerFacts};
use crate::sql::Sql;
use crate::table::Table;

/// Why a query is not run.
#[derive(Debug)]
pub(super) enum Reason {
    /// It is not meant for this database.
    Skipped(&'static str),
    /// Its predicate gives no answer.
    Failed(String),
}

/// The SQL that is to be run for `query`, within what is left of `limit`.
pub(super) async fn sql<'q>(
    query: &'q Query,
    connection: &mut Connection,
    limit: Duration,
) -> Result<(&'q Sql, Duration), Reason> {
    let sql = of_server(query, connection.facts()).map_err(Reason::Skipped)?;
    let Some(predicate) = &query.predicate else { return Ok((sql, limit)) };
    let begun = Instant::now();
    let result = connection.run(predicate, limit, CANCEL_LIMIT).await;
    let table = result.map_err(|error| Reason::Failed(format!("predicate_query: {error}")))?;
    match holds(&table) {
        Some(true) => Ok((sql, limit.saturating_sub(begun.elapsed()))),
        Some(false) => Err(Reason::Skipped("predicate_query is not true")),
        None => Err(Reason::Failed("predicate_query: it must give one column, a boolean".to_owned())),
    }
}

fn of_server<'q>(query: &'q Query, facts: &ServerFacts) -> Result<&'q Sql, &'static str> {
    if query.primary_only && facts.is_in_recovery {
        return Err("primary: the server is in recovery");
    }
    if query.server_versions.as_ref().is_some_and(|versions| !versions.contains(facts.version_num)) {
        return Err("runonserver: the server has another version");
    }
    let databases = &query.databases;
    if !databases.is_empty() && !databases.iter().any(|database| database.matches(&facts.database)) {
        return Err("target_databases: the database has another name");
    }
    match &query.aurora {
        Some(AuroraQuery::Skip) if facts.is_aurora => Err("query_aurora: the server is Amazon Aurora"),
        Some(AuroraQuery::Instead(sql)) if facts.is_aurora => Ok(sql),
        _ => Ok(&query.sql),
    }
}

/// Whether the first row is true; NULL and no row are as good as false. `None` if it is no boolean.
fn holds(predicate: &Table) -> Option<bool> {
    if predicate.columns().len() != 1 {
        return None;
    }
    match predicate.rows().next().and_then(|row| row.first().copied().flatten()) {
        Some("t" | "T" | "true" | "True" | "TRUE" | "1") => Some(true),
        Some("f" | "F" | "false" | "False" | "FALSE" | "0") | None => Some(false),
        Some(_) => None,
    }
}
