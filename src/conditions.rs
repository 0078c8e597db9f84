//! Whether a query runs on this server and now, by the query's conditions.

use crate::config::{AuroraQuery, Query};
use crate::database::ServerFacts;
use crate::outcome::Skip;
use crate::sql::Sql;
use crate::table::Table;

/// The SQL to send for `query` to a server with these facts.
///
/// # Errors
/// The condition that does not hold.
pub(crate) fn sql_for<'a>(query: &'a Query, facts: &ServerFacts) -> Result<&'a Sql, Skip> {
    if query.primary_only && facts.is_in_recovery {
        return Err(Skip::Primary);
    }
    if query.server_versions.as_ref().is_some_and(|versions| !versions.contains(facts.version_num)) {
        return Err(Skip::Version);
    }
    let databases = &query.databases;
    if !databases.is_empty() && !databases.iter().any(|database| database.matches(&facts.database)) {
        return Err(Skip::Database);
    }
    match &query.aurora {
        Some(AuroraQuery::Skip) if facts.is_aurora => Err(Skip::Aurora),
        Some(AuroraQuery::Instead(sql)) if facts.is_aurora => Ok(sql),
        _ => Ok(&query.sql),
    }
}

/// Why a predicate's result is not a boolean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoBoolean {
    /// The number of its columns, which is not one.
    #[error("the predicate has {0} columns, and must have one")]
    Columns(usize),
    /// Its first row has another value.
    #[error("the predicate's first row is not a boolean")]
    Text,
}

/// Whether a predicate holds: its first row is true. NULL and a missing row count as false. As in
/// CloudNativePG, an integer or a text counts if it reads as a boolean (Go's `strconv.ParseBool`).
///
/// # Errors
/// [`NoBoolean`] if the result is not a boolean.
pub(crate) fn holds(predicate: &Table) -> Result<bool, NoBoolean> {
    match predicate.columns.len() {
        1 => {}
        columns => return Err(NoBoolean::Columns(columns)),
    }
    match predicate.first_cell() {
        Some("t" | "T" | "true" | "True" | "TRUE" | "1") => Ok(true),
        Some("f" | "F" | "false" | "False" | "FALSE" | "0") | None => Ok(false),
        Some(_) => Err(NoBoolean::Text),
    }
}
