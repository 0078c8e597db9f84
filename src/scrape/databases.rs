//! `target_databases`: in which databases of the target a query runs, and the session that goes from one to the next.

use std::borrow::Cow;
use std::time::Duration;

use tokio::time::Instant;

use super::query::{self, CANCEL_LIMIT};
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

/// The limit of a login at a database that hung when it was tried last.
const HUNG_LIMIT: Duration = Duration::from_secs(1);

/// The namespace of a query, and a database that its `target_databases` matches.
pub(super) type Key = (String, Option<String>);

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
    /// Whether `target_databases` may lead to further databases, and these could not be listed.
    pub(super) is_incomplete: bool,
}

impl Run<'_> {
    pub(super) fn key(&self) -> Key {
        (self.query.namespace.clone(), self.database.clone())
    }

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

/// The queries, each in the databases that it is for.
#[derive(Debug)]
pub(super) struct Runs<'q> {
    pub(super) all: Vec<Run<'q>>,
    /// How many databases `MAX_DATABASES` leaves out, if a query leads to another database.
    pub(super) left_out: Option<usize>,
    /// Why the databases could not be listed.
    pub(super) unlisted: Option<(Failure, String)>,
}

impl<'q> Runs<'q> {
    /// Lists the databases if a query is for others than the target's own. At most `databases_max` are visited.
    pub(super) async fn new(
        queries: &[&'q Query],
        connection: &mut Connection,
        databases_max: usize,
        deadline: Instant,
    ) -> Self {
        let own = connection.facts().database.clone();
        let matches = |query: &Query, name: &str| query.databases.iter().any(|pattern| pattern.matches(name));
        let leads_away = |query: &Query| query.databases.iter().any(|pattern| !pattern.is_only(&own));
        let wants = |database: &str| queries.iter().any(|query| matches(query, database));
        let listed = match queries.iter().any(|query| leads_away(query)) {
            true => list(connection, deadline).await,
            false => Ok(Vec::new()),
        };
        let (mut others, unlisted) = match listed {
            Ok(others) => (others, None),
            Err(unlisted) => (Vec::new(), Some(unlisted)),
        };
        others.retain(|database| *database != own && wants(database));
        let left = databases_max.saturating_sub(usize::from(wants(&own)));
        let left_out = others.len().saturating_sub(left);
        if left_out > 0 {
            tracing::warn!(databases = left_out, "databases left out: MAX_DATABASES is reached");
        }
        others.truncate(left);
        let leads_elsewhere = !others.is_empty() || left_out > 0;
        let mut databases = others;
        databases.push(own.clone());
        databases.sort();
        let runs = queries.iter().flat_map(|query| {
            let matching: Vec<_> = databases.iter().filter(|name| matches(query, name)).collect();
            let is_labelled = matching.iter().any(|name| **name != own);
            let is_incomplete = unlisted.is_some() && leads_away(query);
            let run = |database: Option<&String>| Run {
                query,
                database: database.cloned(),
                is_elsewhere: database.is_some_and(|name| *name != own),
                is_labelled,
                is_incomplete,
            };
            match matching.is_empty() {
                true => vec![run(None)],
                false => matching.into_iter().map(|name| run(Some(name))).collect(),
            }
        });
        let all = runs.collect();
        Self { all, left_out: leads_elsewhere.then_some(left_out), unlisted }
    }
}

/// The names of the databases, or why there are none.
async fn list(connection: &mut Connection, deadline: Instant) -> Result<Vec<String>, (Failure, String)> {
    let Ok(sql) = Sql::parse(DATABASES) else { return Ok(Vec::new()) };
    let listed = connection.run(&sql, LIST_LIMIT.min(time_left(deadline)), CANCEL_LIMIT).await;
    let table = listed.map_err(|error| {
        tracing::warn!(%error, "the databases cannot be listed");
        (query::failure(&error), format!("the databases cannot be listed: {error}"))
    })?;
    Ok(table.rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
}

/// Why there is no connection to a database.
#[derive(Debug, Clone)]
pub(super) enum Unvisited {
    /// It was dropped after the databases were listed.
    Dropped,
    /// The time of the scrape cut the login short.
    Late,
    /// The login took its whole limit, of a second at least. The reason is in the log too.
    Hung(String),
    /// Another reason, which the log has too.
    Unreachable(String),
}

/// The session that visits other databases, one after another. Roles have connection limits.
#[derive(Debug, Default)]
pub(super) struct Walk {
    database: String,
    session: Option<Result<Connection, Unvisited>>,
    /// Whether a session was closed, which the server may still count.
    has_closed: bool,
}

impl Walk {
    /// The connection to `database`. The one to another database is closed. `has_hung`: the last login there took all of
    /// its time.
    ///
    /// # Errors
    /// Why there is none. It is tried once.
    pub(super) async fn connection(
        &mut self,
        kept: &mut Session,
        credentials: &Credentials,
        (database, has_hung): (&str, bool),
        deadline: Instant,
    ) -> Result<&mut Connection, Unvisited> {
        if !self.is_in(database) {
            self.close().await;
            database.clone_into(&mut self.database);
        }
        let session = match self.session.take() {
            Some(session) => session,
            None => {
                let most = if has_hung { HUNG_LIMIT } else { OPEN_LIMIT };
                let limit = most.min(time_left(deadline) / 2);
                let opened = kept.open_in(credentials, database, self.has_closed, limit).await;
                opened.map_err(|error| unvisited(database, &error, limit < HUNG_LIMIT))
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
            self.has_closed = true;
        }
    }
}

fn unvisited(database: &str, error: &ConnectError, is_cut_short: bool) -> Unvisited {
    let why = format!("no connection to the database: {error}");
    match error {
        ConnectError::Server { sqlstate } if sqlstate == DROPPED => return Unvisited::Dropped,
        ConnectError::TimedOut(_) if is_cut_short => return Unvisited::Late,
        _ => tracing::warn!(database, %error, "no connection to a database of the target"),
    }
    match error {
        ConnectError::TimedOut(_) => Unvisited::Hung(why),
        _ => Unvisited::Unreachable(why),
    }
}
