//! The state that an execution environment keeps between scrapes, and how a scrape uses its time.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::account::{Outcome, Run};
use super::cache::{Cache, Good};
use super::link::{Link, Unreachable};
use super::time_left;
use crate::age::Moment;
use crate::conditions;
use crate::config::Query;
use crate::credentials::Credentials;
use crate::database::{self, Connection, QueryError};
use crate::self_metrics::{Failure, Skip};
use crate::settings::Keeping;
use crate::sql::Sql;
use crate::table::Table;

/// The part of a scrape's time for cancelling the last query. Lambda freezes the process as soon as it has
/// answered. A cancel request that is still unsent would hit the first query after the freeze.
const CANCEL_LIMIT: Duration = Duration::from_millis(250);
/// The limit of a query without a `timeout`. At most half of the remaining time, too.
const QUERY_LIMIT: Duration = Duration::from_secs(5);
/// With less time left, no query is begun.
const QUERY_FLOOR: Duration = Duration::from_millis(20);
/// With less time left, no connection is begun in the middle of a scrape.
const CONNECT_FLOOR: Duration = Duration::from_millis(500);

/// The state that outlives a scrape.
#[derive(Debug)]
pub(super) struct State {
    pub(super) link: Link,
    cache: Cache,
    /// Namespaces that ran out of time when they last ran. In the next scrape they run last.
    timed_out: HashSet<String>,
    pub(super) scrapes: u64,
}

impl State {
    /// An empty state.
    pub(super) fn new(keeping: Keeping) -> Self {
        Self { link: Link::new(keeping), cache: Cache::default(), timed_out: HashSet::new(), scrapes: 0 }
    }

    /// Runs the queries of `run` by `deadline`.
    pub(super) async fn run<'a>(
        &mut self,
        mut run: Run<'a>,
        credentials: &Credentials,
        deadline: Instant,
    ) -> Run<'a> {
        // The server's limit for a query, the client's timer after it, and a cancel request must all fit
        // before the deadline.
        let deadline = deadline.checked_sub(database::GRACE + CANCEL_LIMIT).unwrap_or(deadline);
        if time_left(deadline) < QUERY_FLOOR {
            // If there was no time to check the connection, it is not dead.
            run.up = self.link.is_usable();
            return run.abandoned(Failure::Deadline);
        }
        self.link.begin_scrape(credentials, deadline).await;
        let mut facts = match self.connection(credentials, deadline).await {
            Ok(connection) => connection.facts().clone(),
            Err(Unreachable) => return run.abandoned(Failure::Connection),
        };
        run.up = true;
        let now = Moment::now();
        let mut served = vec![];
        let late = |outcome: &Outcome<'_>| self.timed_out.contains(&outcome.query.namespace);
        let mut order: Vec<_> =
            run.outcomes.iter().enumerate().map(|(position, outcome)| (late(outcome), position)).collect();
        order.sort_unstable();
        for (_, position) in order {
            let Some(outcome) = run.outcomes.get_mut(position) else { continue };
            if !run.up {
                outcome.is_not_run(Failure::Connection);
            } else if let Err(skip) = conditions::sql_for(outcome.query, &facts) {
                outcome.skip(skip);
            } else if let Some((good, age)) = self.cache.young(outcome.query, now) {
                outcome.take_kept(good, age);
                served.push(position);
            } else if self.too_late(deadline) {
                outcome.is_not_run(Failure::Deadline);
            } else if let Ok(connection) = self.same_connection(credentials, deadline).await {
                facts = connection.facts().clone();
                let ended = run_query(connection, outcome, deadline).await;
                if let Some(good) = self.note(outcome, ended) {
                    self.cache.keep(outcome.query, good);
                }
            } else {
                run.up = false;
                outcome.is_not_run(Failure::Connection);
            }
            for (position, why) in run.room.take(position, outcome.families()) {
                let Some(outcome) = run.outcomes.get_mut(position) else { continue };
                let reason = Failure::Limit.as_str();
                tracing::warn!(query = outcome.query.namespace, reason, error = %why, "query failed");
                outcome.withdraw(Failure::Limit);
                // An omitted result need not be kept.
                self.cache.forget(outcome.query);
            }
        }
        // Nothing is served from the cache after the connection is lost.
        for position in served.into_iter().filter(|_| !run.up) {
            if let Some(outcome) = run.outcomes.get_mut(position) {
                outcome.is_not_run(Failure::Connection);
            }
        }
        run
    }

    /// Records how a query ended. Returns a successful result that may be kept.
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

    /// Whether there is no time for another query, which may need a new connection after a cancelled one.
    fn too_late(&self, deadline: Instant) -> bool {
        time_left(deadline) < if self.link.is_usable() { QUERY_FLOOR } else { CONNECT_FLOOR }
    }

    /// The connection. Kept results of another database are dropped.
    async fn connection(
        &mut self,
        credentials: &Credentials,
        deadline: Instant,
    ) -> Result<&mut Connection, Unreachable> {
        self.connect(credentials, deadline).await?;
        self.link.connection()
    }

    /// The same after the first query. A scrape covers one database: if the connection now leads to another
    /// one, the next scrape uses it.
    async fn same_connection(
        &mut self,
        credentials: &Credentials,
        deadline: Instant,
    ) -> Result<&mut Connection, Unreachable> {
        match self.connect(credentials, deadline).await? {
            true => Err(Unreachable),
            false => self.link.connection(),
        }
    }

    /// Whether the connection now leads to another database.
    async fn connect(&mut self, credentials: &Credentials, deadline: Instant) -> Result<bool, Unreachable> {
        self.link.connect(credentials, deadline).await?;
        let has_moved = self.link.take_moved();
        if has_moved {
            self.cache.clear();
        }
        Ok(has_moved)
    }
}

/// Why a query that was begun has no result.
enum NoTable {
    Skipped(Skip),
    Failed(Failure),
}

/// Sends the query after its predicate, both within its time.
async fn run_query(
    connection: &mut Connection,
    outcome: &mut Outcome<'_>,
    deadline: Instant,
) -> Result<Table, NoTable> {
    let query = outcome.query;
    // Checked again, since the connection may be a new one.
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
            QueryError::Server { .. } | QueryError::StringsDiffer | QueryError::TooLarge => {
                Failure::Predicate
            }
            QueryError::Timeout | QueryError::Connection { .. } => failure,
        };
        tracing::warn!(query = query.namespace, reason = failure.as_str(), %error, "predicate failed");
        failure
    })?;
    conditions::holds(&table).map_err(|error| {
        let failure = Failure::Predicate;
        tracing::warn!(query = query.namespace, reason = failure.as_str(), %error, "query failed");
        failure
    })
}

/// The time of a query, for all of its messages.
struct Time {
    until: Instant,
    /// Whether the limit is the query's own and not the scrape's.
    is_own: bool,
}

impl Time {
    async fn run(&self, connection: &mut Connection, sql: &Sql) -> Result<Table, (Failure, QueryError)> {
        connection.run(sql, time_left(self.until), CANCEL_LIMIT).await.map_err(|error| {
            let failure = match &error {
                QueryError::Timeout if self.is_own => Failure::Timeout,
                QueryError::Timeout => Failure::Deadline,
                QueryError::Connection { .. } => Failure::Connection,
                QueryError::StringsDiffer => Failure::Syntax,
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
        // A column, a function, a table, a parameter, another object, a schema, a database.
        "42703" | "42883" | "42P01" | "42P02" | "42704" | "3F000" | "3D000" => Failure::Undefined,
        // Class 42 is "Syntax Error or Access Rule Violation".
        code if code.starts_with("42") => Failure::Syntax,
        _ => Failure::Other,
    }
}
