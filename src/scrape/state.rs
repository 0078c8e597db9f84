//! The state that an execution environment keeps between scrapes, and how a scrape uses its time.

use std::time::Duration;

use tokio::time::Instant;

use super::budget::Budget;
use super::cache::Cache;
use super::order::Order;
use super::query::{self, CANCEL_LIMIT};
use super::session::{Session, Unreachable};
use super::time_left;
use crate::conditions;
use crate::config::Query;
use crate::credentials::Credentials;
use crate::database::{self, Connection};
use crate::freshness::Moment;
use crate::outcome::{Failure, QueryOutcome, Scrape, Status};
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
    scrapes: u64,
}

impl State {
    /// An empty state.
    pub(super) fn new(lifetimes: Lifetimes) -> Self {
        Self {
            session: Session::new(lifetimes),
            cache: Cache::default(),
            order: Order::default(),
            scrapes: 0,
        }
    }

    pub(super) fn is_first_scrape(&self) -> bool {
        self.scrapes == 1
    }

    /// Runs `queries` by `deadline`, and replaces their outcomes in `scrape`.
    pub(super) async fn run(
        &mut self,
        scrape: &mut Scrape,
        queries: &[&Query],
        limits: &Limits,
        credentials: &Credentials,
        deadline: Instant,
        mut tell: impl FnMut(&QueryOutcome),
    ) {
        self.scrapes += 1;
        let no_connection = |outcome: &mut QueryOutcome, why: &str| {
            *outcome = QueryOutcome::not_run(&outcome.query, Failure::Connection, why);
        };
        // The server's limit for a query, the client's timer after it, and a cancel request must all fit
        // before the deadline.
        let deadline = deadline.checked_sub(database::GRACE + CANCEL_LIMIT).unwrap_or(deadline);
        if time_left(deadline) < QUERY_FLOOR {
            // If there was no time to check the connection, it is not dead.
            scrape.up = self.session.is_usable();
            log_not_run(Failure::Deadline, queries.len());
            scrape.outcomes.iter().for_each(tell);
            return;
        }
        self.session.begin_scrape(credentials, deadline).await;
        let mut facts = match self.connection(credentials, deadline).await {
            Ok(connection) => connection.facts().clone(),
            Err(Unreachable(why)) => {
                scrape.outcomes.iter_mut().for_each(|outcome| no_connection(outcome, &why));
                scrape.outcomes.iter().for_each(tell);
                return;
            }
        };
        scrape.up = true;
        let now = Moment::now();
        let mut budget = Budget::new(limits);
        let whole = time_left(deadline);
        let (mut late, mut lost) = (0, 0);
        for position in self.order.of(queries) {
            let (Some(query), Some(outcome)) = (queries.get(position), scrape.outcomes.get_mut(position))
            else {
                continue;
            };
            if !scrape.up {
                no_connection(outcome, LOST);
                lost += 1;
            } else if let Err(skip) = conditions::sql_for(query, &facts) {
                *outcome = QueryOutcome::new(&query.namespace, Status::Skipped(skip));
            } else if let Some(kept) = self.cache.young(query, now) {
                *outcome = kept;
            } else if self.too_late(deadline) {
                self.order.waited(query);
                late += 1;
            } else if let Ok(connection) = self.same_connection(credentials, deadline).await {
                facts = connection.facts().clone();
                let limit = query::limit(query, time_left(deadline));
                *outcome = query::run(connection, query, limits, deadline).await;
                outcome.log();
                // A query that has its time, or half of a scrape, to itself and is not ready would take the time of
                // others again. A tenth more would not help it.
                let is_cut_short = limit.mul_f64(1.1) < query::limit(query, whole).min(whole / 2);
                match outcome.status {
                    Status::Failed(Failure::Timeout | Failure::Deadline) if is_cut_short => {
                        self.order.waited(query);
                    }
                    Status::Failed(Failure::Timeout | Failure::Deadline) => self.order.ran(query, true),
                    Status::Failed(Failure::Connection) => {}
                    _ => self.order.ran(query, false),
                }
                if outcome.status == Status::Succeeded && query.cache.is_some() {
                    outcome.age = Some(Duration::ZERO);
                    self.cache.keep(outcome);
                }
            } else {
                scrape.up = false;
                no_connection(outcome, LOST);
                lost += 1;
            }
            tell(outcome);
            for (position, why) in budget.add(position, &outcome.families) {
                let Some(outcome) = scrape.outcomes.get_mut(position) else { continue };
                let reason = Failure::Limit.as_str();
                tracing::warn!(query = outcome.query, reason, error = %why, "query failed");
                outcome.discard(Failure::Limit);
                outcome.errors.push(why.to_string());
                // An omitted result need not be kept.
                self.cache.forget(&outcome.query);
            }
        }
        // Nothing is served from the cache after the connection is lost.
        let is_kept = |outcome: &&mut QueryOutcome| outcome.age.is_some() && outcome.duration.is_none();
        for outcome in scrape.outcomes.iter_mut().filter(is_kept).filter(|_| !scrape.up) {
            no_connection(outcome, LOST);
            lost += 1;
        }
        log_not_run(Failure::Deadline, late);
        log_not_run(Failure::Connection, lost);
    }

    /// Whether there is no time for another query, which may need a new connection after a cancelled one.
    fn too_late(&self, deadline: Instant) -> bool {
        time_left(deadline) < if self.session.is_usable() { QUERY_FLOOR } else { CONNECT_FLOOR }
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

/// One line for each reason, since one cause stops many queries.
fn log_not_run(reason: Failure, queries: usize) {
    if queries > 0 {
        tracing::warn!(reason = reason.as_str(), queries, "queries not run");
    }
}
