//! What lives in an execution environment between scrapes, and how a scrape uses its time with it.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::account::{EXPOSED_BYTES_MAX, Outcome, Run};
use super::cache::{Cache, Good, Moment};
use crate::conditions;
use crate::config::Query;
use crate::credentials::Credentials;
use crate::database::{self, ConnectError, Connection, QueryError};
use crate::exposition;
use crate::metric::Family;
use crate::self_metrics::{Failure, Skip};
use crate::sql::Sql;
use crate::table::Table;
use crate::target::Target;

/// The part of a scrape's time that is kept for cancelling the last query: Lambda freezes the process as soon as
/// it has answered, and a cancel request that was not sent by then would hit whatever runs after the thaw.
const CANCEL_LIMIT: Duration = Duration::from_millis(250);
/// What a query without a `timeout` may take at most; also at most half of the time that is left.
const QUERY_LIMIT: Duration = Duration::from_secs(5);
/// With less than this left no query is begun.
const QUERY_FLOOR: Duration = Duration::from_millis(20);
/// With less than this left no connection is begun in the middle of a scrape.
const CONNECT_FLOOR: Duration = Duration::from_millis(500);
/// How long a kept connection has to show that it is alive; then a new one is made.
const ALIVE_LIMIT: Duration = Duration::from_secs(1);
const SECRET_LIMIT: Duration = Duration::from_secs(4);
/// For what a token needs before a connection is opened: in Lambda the credentials are in the environment.
const TOKEN_LIMIT: Duration = Duration::from_secs(2);
const CONNECT_LIMIT: Duration = Duration::from_secs(4);

/// What outlives a scrape.
#[derive(Debug, Default)]
pub(super) struct State {
    target: Option<FetchedTarget>,
    connection: Option<Connection>,
    cache: Cache,
    /// Namespaces that ran out of time when they last ran: in the next scrape they wait until the others are done.
    timed_out: HashSet<String>,
    pub(super) scrapes: u64,
}

#[derive(Debug)]
struct FetchedTarget {
    target: Target,
    at: Instant,
}

/// There is no connection to the database; the log says why.
#[derive(Debug)]
pub(super) struct Unreachable;

impl State {
    /// Brings the queries of `run` to an end by `deadline`.
    pub(super) async fn run<'a>(
        &mut self,
        mut run: Run<'a>,
        credentials: &Credentials,
        deadline: Instant,
    ) -> Run<'a> {
        // The server's time for a query, the client's timer behind it, and a cancel: all of it before the deadline.
        let deadline = deadline.checked_sub(database::GRACE + CANCEL_LIMIT).unwrap_or(deadline);
        if time_left(deadline) < QUERY_FLOOR {
            // A connection that had no time to answer is not dead.
            run.up = self.connection.as_ref().is_some_and(Connection::is_usable);
            return run.abandoned(Failure::Deadline);
        }
        self.drop_dead_connection(deadline).await;
        let mut facts = match self.connection(credentials, deadline).await {
            Ok(connection) => connection.facts().clone(),
            Err(Unreachable) => return run.abandoned(Failure::Connection),
        };
        run.up = true;
        let now = Moment::now();
        let mut kept = vec![];
        let mut exposed_bytes = 0;
        let mut order: Vec<_> = run.outcomes.iter_mut().collect();
        order.sort_by_key(|outcome| self.timed_out.contains(&outcome.query.namespace));
        for outcome in order {
            if !run.up {
                outcome.fail(Failure::Connection);
            } else if let Err(skip) = conditions::sql_for(outcome.query, &facts) {
                outcome.skip(skip);
            } else if let Some((good, age)) = self.cache.young(outcome.query, now) {
                // Counted at once, or what is run behind it would take its place.
                if fits(&good.families, &mut exposed_bytes) {
                    kept.push((outcome, good, age));
                } else {
                    outcome.give_up();
                }
            } else if self.too_late(deadline) {
                outcome.fail(Failure::Deadline);
            } else if let Ok(connection) = self.connection(credentials, deadline).await {
                facts = connection.facts().clone();
                let ended = run_query(connection, outcome, deadline).await;
                let good = self.note(outcome, ended);
                if !fits(outcome.families(), &mut exposed_bytes) {
                    outcome.give_up();
                } else if let Some(good) = good {
                    self.cache.keep(outcome.query, good);
                }
            } else {
                run.up = false;
                outcome.fail(Failure::Connection);
            }
        }
        // Last, since nothing is served from the cache where the database is lost.
        for (outcome, good, age) in kept {
            match run.up {
                true => outcome.take_kept(good, age),
                false => outcome.fail(Failure::Connection),
            }
        }
        run
    }

    /// Accounts for how a query ended. What is good and may be kept comes back.
    fn note(&mut self, outcome: &mut Outcome<'_>, ended: Result<Table, NoTable>) -> Option<Good> {
        let namespace = &outcome.query.namespace;
        match ended {
            Err(NoTable::Failed(Failure::Timeout | Failure::Deadline)) => {
                self.timed_out.insert(namespace.clone());
            }
            _ => {
                self.timed_out.remove(namespace);
            }
        }
        match ended {
            Ok(table) => return outcome.take(&table),
            Err(NoTable::Failed(failure)) => outcome.fail(failure),
            Err(NoTable::Skipped(skip)) => outcome.skip(skip),
        }
        None
    }

    /// Whether no other query can be begun, which may need a new connection after one that was cancelled.
    fn too_late(&self, deadline: Instant) -> bool {
        let usable = self.connection.as_ref().is_some_and(Connection::is_usable);
        time_left(deadline) < if usable { QUERY_FLOOR } else { CONNECT_FLOOR }
    }

    /// A connection was alive when the process was last frozen; nobody told it what has happened since. A server
    /// may also have become a primary.
    async fn drop_dead_connection(&mut self, deadline: Instant) {
        let limit = ALIVE_LIMIT.min(time_left(deadline));
        if let Some(connection) = &mut self.connection
            && !connection.is_alive(limit).await
        {
            tracing::info!("the kept connection is dead, connecting anew");
            self.connection = None;
        }
    }

    /// The kept connection or, where there is none, a new one.
    pub(super) async fn connection(
        &mut self,
        credentials: &Credentials,
        deadline: Instant,
    ) -> Result<&mut Connection, Unreachable> {
        self.connection = self.connection.take().filter(Connection::is_usable);
        if self.connection.is_none() {
            self.connection = Some(self.connect(credentials, deadline).await?);
        }
        self.connection.as_mut().ok_or(Unreachable)
    }

    async fn connect(
        &mut self,
        credentials: &Credentials,
        deadline: Instant,
    ) -> Result<Connection, Unreachable> {
        let kept = match self.target.take() {
            Some(kept) => kept,
            None => self.fetch(credentials, deadline).await?,
        };
        let target = &self.target.insert(kept).target;
        let error = match open(credentials, target, deadline).await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        tracing::error!(%error, "no connection to the database");
        // The password may have been rotated, or the host moved, since the secret was read. What was right stays
        // where the secret cannot be had now.
        let fresh = match credentials.is_fetched() {
            true => self.fetch(credentials, deadline).await?,
            false => return Err(Unreachable),
        };
        let is_same = self.target.as_ref().is_some_and(|kept| kept.target.is_same(&fresh.target));
        let target = &self.target.insert(fresh).target;
        if is_same {
            return Err(Unreachable);
        }
        tracing::info!("the secret has changed, connecting with the new one");
        open(credentials, target, deadline).await.map_err(|error| {
            tracing::error!(%error, "no connection to the database");
            Unreachable
        })
    }

    async fn fetch(
        &mut self,
        credentials: &Credentials,
        deadline: Instant,
    ) -> Result<FetchedTarget, Unreachable> {
        let limit = SECRET_LIMIT.min(time_left(deadline));
        let target = credentials.fetch(limit).await.map_err(|error| {
            tracing::error!(%error, "no credentials");
            Unreachable
        })?;
        // The new target may be another database.
        if !self.target.as_ref().is_some_and(|kept| kept.target.is_same(&target)) {
            self.cache.clear();
        }
        Ok(FetchedTarget { target, at: Instant::now() })
    }

    /// How long the connection has been open.
    pub(super) fn connection_age(&self) -> Option<Duration> {
        self.connection.as_ref().filter(|connection| connection.is_usable()).map(Connection::age)
    }

    /// How long ago the target was fetched.
    pub(super) fn target_age(&self) -> Option<Duration> {
        self.target.as_ref().map(|fetched| fetched.at.elapsed())
    }
}

async fn open(
    credentials: &Credentials,
    target: &Target,
    deadline: Instant,
) -> Result<Connection, ConnectError> {
    let target = credentials.for_login(target, TOKEN_LIMIT.min(time_left(deadline))).await;
    let target = target.map_err(|error| ConnectError::Authentication(error.to_string()))?;
    Connection::open(&target, CONNECT_LIMIT.min(time_left(deadline))).await
}

/// Whether what the query gave can be delivered with what is there already.
fn fits(families: &[Family], exposed_bytes: &mut usize) -> bool {
    let bytes = exposition::estimated_bytes(families);
    let fits = *exposed_bytes + bytes <= EXPOSED_BYTES_MAX;
    if fits {
        *exposed_bytes += bytes;
    }
    fits
}

fn time_left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// Why a query that was begun has no table.
enum NoTable {
    Skipped(Skip),
    Failed(Failure),
}

/// Sends the query behind its predicate, both within its time.
async fn run_query(
    connection: &mut Connection,
    outcome: &mut Outcome<'_>,
    deadline: Instant,
) -> Result<Table, NoTable> {
    let query = outcome.query;
    // Asked again, since the connection may be a new one.
    let sql = conditions::sql_for(query, connection.facts()).map_err(NoTable::Skipped)?;
    let begun = Instant::now();
    let left = time_left(deadline);
    let own = query.timeout.unwrap_or(QUERY_LIMIT.min(left / 2));
    let time = Time { until: begun + own.min(left), is_own: own <= left };
    if let Some(predicate) = &query.predicate {
        let holds = ask_predicate(connection, query, predicate, &time).await;
        if holds.is_err() {
            outcome.took(begun.elapsed());
        }
        if !holds.map_err(NoTable::Failed)? {
            return Err(NoTable::Skipped(Skip::Predicate));
        }
    }
    let table = time.run(connection, sql).await;
    outcome.took(begun.elapsed());
    table.map_err(|(failure, error)| {
        tracing::warn!(query = query.namespace, reason = failure.as_str(), %error, "query failed");
        NoTable::Failed(failure)
    })
}

async fn ask_predicate(
    connection: &mut Connection,
    query: &Query,
    predicate: &Sql,
    time: &Time,
) -> Result<bool, Failure> {
    let table = time.run(connection, predicate).await.map_err(|(failure, error)| {
        let failure = match error {
            QueryError::Server { .. } | QueryError::TooLarge => Failure::Predicate,
            QueryError::Timeout | QueryError::Connection { .. } => failure,
        };
        tracing::warn!(query = query.namespace, reason = failure.as_str(), %error, "its predicate failed");
        failure
    })?;
    conditions::holds(&table).map_err(|error| {
        let failure = Failure::Predicate;
        tracing::warn!(query = query.namespace, reason = failure.as_str(), %error, "query failed");
        failure
    })
}

/// The time that a query has, for all of its messages.
struct Time {
    until: Instant,
    /// Whether it is the query's own limit that ends it, and not the scrape's.
    is_own: bool,
}

impl Time {
    async fn run(&self, connection: &mut Connection, sql: &Sql) -> Result<Table, (Failure, QueryError)> {
        connection.run(sql, time_left(self.until), CANCEL_LIMIT).await.map_err(|error| {
            let failure = match &error {
                QueryError::Timeout if self.is_own => Failure::Timeout,
                QueryError::Timeout => Failure::Deadline,
                QueryError::Connection { .. } => Failure::Connection,
                QueryError::TooLarge => Failure::Limit,
                QueryError::Server { sqlstate, .. } => of_sqlstate(sqlstate),
            };
            (failure, error)
        })
    }
}

/// PostgreSQL documentation, appendix A, "PostgreSQL Error Codes".
fn of_sqlstate(sqlstate: &str) -> Failure {
    match sqlstate {
        "42501" => Failure::Permission,
        // Class 42 is "Syntax Error or Access Rule Violation": names that do not exist are in it too, but for
        // those of schemas.
        "3F000" => Failure::Syntax,
        code if code.starts_with("42") => Failure::Syntax,
        _ => Failure::Other,
    }
}
