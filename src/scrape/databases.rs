//! `target_databases`: in which databases of the target a query runs, and the session that goes from one to the next.

use std::borrow::Cow;
use std::time::Duration;

use tokio::time::Instant;

use super::query::CANCEL_LIMIT;
use super::session::Session;
use super::{OVER, time_left};
use crate::config::Query;
use crate::credentials::Credentials;
use crate::database::{ConnectError, Connection, ServerFacts};
use crate::outcome::{Failure, QueryOutcome};
use crate::sql::Sql;

/// The databases that can have tables of users. A provider's own databases refuse all other roles. After an interrupted
/// DROP DATABASE the connection limit is -2, and every login is refused.
const DATABASES: &str = "SELECT datname FROM pg_catalog.pg_database \
     WHERE datallowconn AND NOT datistemplate AND datconnlimit <> -2 \
     AND datname NOT IN ('rdsadmin', 'cloudsqladmin', 'azure_maintenance') ORDER BY datname";
/// PostgreSQL documentation, "PostgreSQL Error Codes": there is no such database.
const DROPPED: &str = "3D000";
const LIST_LIMIT: Duration = Duration::from_secs(1);
/// The limit of a login at a database. At most half of the remaining time, too.
const OPEN_LIMIT: Duration = Duration::from_secs(3);
const CLOSE_LIMIT: Duration = Duration::from_millis(50);

/// A query in one database.
#[derive(Debug, Clone)]
pub(super) struct Run<'q> {
    pub(super) query: &'q Query,
    /// Where the query has `target_databases`: a database that matches.
    pub(super) database: Option<String>,
    /// Whether that is another database than the target's own.
    pub(super) is_elsewhere: bool,
    /// Whether `target_databases` leads to another database. The outcome then names the database.
    is_labelled: bool,
}

impl Run<'_> {
    /// The outcome before it ran.
    pub(super) fn outcome(&self) -> QueryOutcome {
        let database = self.database.clone().filter(|_| self.is_labelled);
        QueryOutcome { database, ..QueryOutcome::not_run(&self.query.namespace, Failure::Deadline, OVER) }
    }

    /// The facts of the server in its database.
    pub(super) fn facts<'f>(&self, facts: &'f ServerFacts) -> Cow<'f, ServerFacts> {
        match &self.database {
            Some(database) if self.is_elsewhere => {
                Cow::Owned(ServerFacts { database: database.clone(), ..facts.clone() })
            }
            _ => Cow::Borrowed(facts),
        }
    }
}

/// The queries in the databases that they are for. At most `databases_max` databases are visited. Returns how many are left
/// out.
pub(super) async fn runs<'q>(
    queries: &[&'q Query],
    connection: &mut Connection,
    databases_max: usize,
    deadline: Instant,
) -> (Vec<Run<'q>>, usize) {
    let own = connection.facts().database.clone();
    let wants = |database: &str| {
        queries.iter().any(|query| query.databases.iter().any(|pattern| pattern.matches(database)))
    };
    let mut others = Vec::new();
    if queries.iter().any(|query| query.databases.iter().any(|pattern| !pattern.is_only(&own))) {
        others = list(connection, deadline).await;
        others.retain(|database| *database != own && wants(database));
    }
    let left = databases_max.saturating_sub(usize::from(wants(&own)));
    let left_out = others.len().saturating_sub(left);
    if left_out > 0 {
        tracing::warn!(databases = left_out, "databases left out: MAX_DATABASES is reached");
    }
    others.truncate(left);
    let mut all = others;
    all.push(own.clone());
    all.sort();
    let runs = queries.iter().flat_map(|query| {
        let matching = all.iter().filter(|name| query.databases.iter().any(|pattern| pattern.matches(name)));
        let matching: Vec<_> = matching.collect();
        let is_labelled = matching.iter().any(|name| **name != own);
        let run = |database: Option<&String>| Run {
            query,
            database: database.cloned(),
            is_elsewhere: database.is_some_and(|name| *name != own),
            is_labelled,
        };
        match matching.is_empty() {
            true => vec![run(None)],
            false => matching.into_iter().map(|name| run(Some(name))).collect(),
        }
    });
    (runs.collect(), left_out)
}

/// The names of the databases. Without an answer, the target's own database is the only one.
async fn list(connection: &mut Connection, deadline: Instant) -> Vec<String> {
    let Ok(sql) = Sql::parse(DATABASES) else { return Vec::new() };
    match connection.run(&sql, LIST_LIMIT.min(time_left(deadline)), CANCEL_LIMIT).await {
        Ok(table) => table.rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect(),
        Err(error) => {
            tracing::warn!(%error, "the databases cannot be listed; target_databases leads to the target's own only");
            Vec::new()
        }
    }
}

/// Why there is no connection to a database.
#[derive(Debug, Clone)]
pub(super) enum Unvisited {
    /// It was dropped after the databases were listed.
    Dropped,
    /// The reason, which the log has too.
    Unreachable(String),
}

/// The session that visits other databases, one after another. Roles have connection limits.
#[derive(Debug, Default)]
pub(super) struct Walk {
    database: String,
    session: Option<Result<Connection, Unvisited>>,
}

impl Walk {
    /// The connection to `database`. The one to another database is closed.
    ///
    /// # Errors
    /// Why there is none. It is tried once.
    pub(super) async fn connection(
        &mut self,
        kept: &Session,
        credentials: &Credentials,
        database: &str,
        deadline: Instant,
    ) -> Result<&mut Connection, Unvisited> {
        if !self.is_in(database) {
            self.close().await;
            database.clone_into(&mut self.database);
        }
        let session = match self.session.take() {
            Some(session) => session,
            None => {
                let limit = OPEN_LIMIT.min(time_left(deadline) / 2);
                let opened = kept.open_in(credentials, database, limit).await;
                opened.map_err(|error| unvisited(database, &error))
            }
        };
        self.session.insert(session).as_mut().map_err(|why| why.clone())
    }

    /// Whether the connection to `database` can be used. If the login there failed, no further time is spent on it.
    pub(super) fn is_in(&self, database: &str) -> bool {
        let is_usable =
            |session: &Result<Connection, _>| session.as_ref().map_or(true, Connection::is_usable);
        self.database == database && self.session.as_ref().is_some_and(is_usable)
    }

    pub(super) async fn close(&mut self) {
        if let Some(Ok(connection)) = self.session.take() {
            connection.close(CLOSE_LIMIT).await;
        }
    }
}

fn unvisited(database: &str, error: &ConnectError) -> Unvisited {
    match error {
        ConnectError::Server { sqlstate } if sqlstate == DROPPED => Unvisited::Dropped,
        error => {
            tracing::warn!(database, %error, "no connection to a database of the target");
            Unvisited::Unreachable(format!("no connection to the database: {error}"))
        }
    }
}
