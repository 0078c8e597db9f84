//! The state that an execution environment keeps between the scrapes of a target, and how a scrape uses its time.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::budget::Budget;
use super::cache::Cache;
use super::databases::{Key, Run, Runs, Unvisited, Walk};
use super::order::Order;
use super::query::{self, CANCEL_LIMIT};
use super::session::{Session, Unreachable};
use super::time_left;
use crate::conditions;
use crate::config::Query;
use crate::credentials::Credentials;
use crate::database::{Connection, GRACE};
use crate::freshness::Moment;
use crate::outcome::{Failure, QueryOutcome, Scrape, Skip, Status};
use crate::settings::{Lifetimes, Limits};

/// With less time left, no query is begun.
const QUERY_FLOOR: Duration = Duration::from_millis(20);
/// With less time left, no connection is begun in the middle of a scrape.
const CONNECT_FLOOR: Duration = Duration::from_millis(500);

/// The state that outlives a scrape.
#[derive(Debug)]
pub(super) struct State {
    pub(super) session: Session,
    cache: Cache,
    order: Order,
}

impl State {
    /// An empty state.
    pub(super) fn new(lifetimes: Lifetimes) -> Self {
        Self { session: Session::new(lifetimes), cache: Cache::default(), order: Order::default() }
    }

    /// Runs `queries` by `deadline`, and replaces their outcomes in `scrape`.
    pub(super) async fn run(
        &mut self,
        scrape: &mut Scrape,
        queries: &[&Query],
        (limits, databases_max): (&Limits, usize),
        credentials: &Credentials,
        deadline: Instant,
        mut tell: impl FnMut(&QueryOutcome),
    ) {
        let no_connection = |outcome: &mut QueryOutcome, why: &str| {
            let database = outcome.database.take();
            let not_run = QueryOutcome::not_run(&outcome.query, Failure::Connection, why);
            *outcome = QueryOutcome { database, ..not_run };
        };
        // The server's limit for a query, the client's timer after it, and a cancel request must all fit
        // before the deadline.
        let deadline = deadline.checked_sub(GRACE + CANCEL_LIMIT).unwrap_or(deadline);
        if time_left(deadline) < QUERY_FLOOR {
            // If there was no time to check the connection, it is not dead.
            scrape.up = self.session.is_usable();
            log_not_run(Failure::Deadline, queries.len());
            scrape.outcomes.iter().for_each(tell);
            return;
        }
        self.session.begin_scrape(credentials, deadline).await;
        let (mut facts, Runs { all: runs, unlisted, .. }) = match self.connection(credentials, deadline).await
        {
            Ok(connection) => {
                let runs = Runs::new(queries, connection, databases_max, deadline).await;
                scrape.databases_left_out = runs.left_out;
                (connection.facts().clone(), runs)
            }
            Err(Unreachable(why)) => {
                scrape.outcomes.iter_mut().for_each(|outcome| no_connection(outcome, &why));
                scrape.outcomes.iter().for_each(tell);
                return;
            }
        };
        scrape.up = true;
        scrape.outcomes = runs.iter().map(Run::outcome).collect();
        if unlisted.is_none() {
            self.forget_the_gone(queries, &runs);
        }
        let mut walk = Walk::default();
        let now = Moment::now();
        let mut budget = Budget::new(limits);
        let whole = time_left(deadline);
        let (mut late, mut lost) = (0, 0);
        for position in self.order.of(&runs) {
            let (Some(run), Some(outcome)) = (runs.get(position), scrape.outcomes.get_mut(position)) else {
                continue;
            };
            let query = run.query;
            if !scrape.up {
                no_connection(outcome, LOST);
                lost += 1;
            } else if let Err(skip) = conditions::sql_for(query, &run.facts(&facts)) {
                outcome.status = Status::Skipped(skip);
                outcome.errors.clear();
            } else if let Some(kept) = self.cache.young(query, &run.key(), now) {
                *outcome = QueryOutcome { database: outcome.database.take(), ..kept };
            } else if too_late(self.is_usable(run, &walk), deadline) {
                self.order.waited(run);
                late += 1;
            } else {
                let connection = match &run.database {
                    Some(database) if run.is_elsewhere => {
                        let place = (database.as_str(), self.order.has_hung(database));
                        let visited = walk.connection(&mut self.session, credentials, place, deadline).await;
                        match &visited {
                            Ok(_) => self.order.note_login(database, false),
                            Err(Unvisited::Hung(_)) => self.order.note_login(database, true),
                            Err(_) => {}
                        }
                        visited
                    }
                    _ => match self.same_connection(credentials, deadline).await {
                        Ok(connection) => {
                            facts = connection.facts().clone();
                            Ok(connection)
                        }
                        Err(Unreachable(why)) => Err(Unvisited::Unreachable(why)),
                    },
                };
                match connection {
                    Ok(connection) => {
                        let limit = query::limit(query, time_left(deadline));
                        *outcome = query::run(connection, run, limits, deadline).await;
                        outcome.log();
                        self.note(run, outcome, (limit, whole));
                    }
                    Err(Unvisited::Dropped) => {
                        outcome.status = Status::Skipped(Skip::Database);
                        outcome.errors.clear();
                    }
                    Err(Unvisited::Late) => {
                        self.order.waited(run);
                        late += 1;
                    }
                    Err(Unvisited::Hung(why) | Unvisited::Unreachable(why)) => {
                        no_connection(outcome, &why);
                        scrape.up &= run.is_elsewhere;
                        lost += usize::from(!run.is_elsewhere);
                    }
                }
            }
            if let Some((failure, why)) = unlisted.as_ref().filter(|_| run.is_incomplete) {
                outcome.status = Status::Failed(*failure);
                outcome.errors.push(why.clone());
            }
            tell(outcome);
            for (position, why) in budget.add(position, &outcome.families) {
                let Some(outcome) = scrape.outcomes.get_mut(position) else { continue };
                let reason = Failure::Limit.as_str();
                let database = outcome.database.as_deref();
                tracing::warn!(query = outcome.query, database, reason, error = %why, "query failed");
                outcome.discard(Failure::Limit);
                outcome.errors.push(why.to_string());
                // An omitted result need not be kept.
                if let Some(run) = runs.get(position) {
                    self.cache.forget(&run.key());
                }
            }
        }
        walk.close().await;
        // Nothing is served from the cache after the connection is lost.
        let is_kept = |outcome: &&mut QueryOutcome| outcome.age.is_some() && outcome.duration.is_none();
        for outcome in scrape.outcomes.iter_mut().filter(is_kept).filter(|_| !scrape.up) {
            no_connection(outcome, LOST);
            lost += 1;
        }
        log_not_run(Failure::Deadline, late);
        log_not_run(Failure::Connection, lost);
    }

    /// Remembers how a query ended that had `limit` of `whole`, the time of all queries.
    fn note(&mut self, run: &Run<'_>, outcome: &mut QueryOutcome, (limit, whole): (Duration, Duration)) {
        // A query that has its time, or half of a scrape, to itself and is not ready would take the time of others again. A
        // tenth more would not help it.
        let is_cut_short = limit.mul_f64(1.1) < query::limit(run.query, whole).min(whole / 2);
        match outcome.status {
            Status::Failed(Failure::Timeout | Failure::Deadline) if is_cut_short => self.order.waited(run),
            Status::Failed(Failure::Timeout | Failure::Deadline) => self.order.ran(run, true),
            Status::Failed(Failure::Connection) => {}
            _ => self.order.ran(run, false),
        }
        if outcome.status == Status::Succeeded && run.query.cache.is_some() {
            outcome.age = Some(Duration::ZERO);
            self.cache.keep(run.key(), outcome);
        }
    }

    /// Forgets what was kept of databases in which the queries no longer run.
    fn forget_the_gone(&mut self, queries: &[&Query], runs: &[Run<'_>]) {
        let current: HashSet<_> = runs.iter().map(Run::key).collect();
        let chosen: HashSet<_> = queries.iter().map(|query| query.namespace.as_str()).collect();
        let is_known = |key: &Key| current.contains(key) || !chosen.contains(key.0.as_str());
        self.cache.retain(is_known);
        self.order.retain(is_known);
    }

    /// Whether there is a connection for the query.
    fn is_usable(&self, run: &Run<'_>, walk: &Walk) -> bool {
        match &run.database {
            Some(database) if run.is_elsewhere => walk.is_in(database),
            _ => self.session.is_usable(),
        }
    }

    /// The connection. Kept results of another database are dropped.
    async fn connection(
        &mut self,
        credentials: &Credentials,
        deadline: Instant,
    ) -> Result<&mut Connection, Unreachable> {
        self.connect(credentials, deadline).await?;
        self.session.connection()
    }

    /// The same after the first query. A scrape covers one database: if the connection now leads to another
    /// one, the next scrape uses it.
    async fn same_connection(
        &mut self,
        credentials: &Credentials,
        deadline: Instant,
    ) -> Result<&mut Connection, Unreachable> {
        match self.connect(credentials, deadline).await? {
            true => Err(Unreachable("the secret leads to another database".to_owned())),
            false => self.session.connection(),
        }
    }

    /// Whether the connection now leads to another database.
    async fn connect(&mut self, credentials: &Credentials, deadline: Instant) -> Result<bool, Unreachable> {
        self.session.connect(credentials, deadline).await?;
        let has_moved = self.session.take_moved();
        if has_moved {
            self.cache.clear();
        }
        Ok(has_moved)
    }
}

/// Why a query did not run after others had.
const LOST: &str = "the connection to the database was lost";
/// Whether there is no time for another query, which may need a new connection.
fn too_late(is_usable: bool, deadline: Instant) -> bool {
    time_left(deadline) < if is_usable { QUERY_FLOOR } else { CONNECT_FLOOR }
}

/// One line for each reason, since one cause stops many queries.
fn log_not_run(reason: Failure, queries: usize) {
    if queries > 0 {
        tracing::warn!(reason = reason.as_str(), queries, "queries not run");
    }
}
