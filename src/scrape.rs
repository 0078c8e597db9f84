//! One scrape: credentials, a connection, the queries one after another until the deadline, and the results.
//!
//! This module decides the order and the time limits, and owns everything that an execution environment keeps
//! between scrapes. A scrape is never an error: available results are delivered, and the exporter's own
//! metrics report the rest. Events, formats and status codes are not known here.

mod budget;
mod cache;
mod order;
mod query;
mod selection;
mod session;
mod state;

use std::collections::HashMap;
use std::sync::{self, Arc, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::config::{Config, Query};
use crate::credentials::Credentials;
use crate::database::{Connection, ServerFacts};
use crate::freshness::Moment;
use crate::mapping::DeclaredNames;
use crate::outcome::{Failure, QueryOutcome, Scrape, Status};
use crate::problem::Severity;
use crate::settings::{Lifetimes, Limits};
use session::Unreachable;
use state::State;

pub(crate) use selection::{Selection, UnknownQuery};

/// How long a scrape may take if nothing else limits it.
pub(crate) const DEFAULT_LIMIT: Duration = Duration::from_secs(28);

/// Answers scrapes, as long as its execution environment lives.
#[derive(Debug)]
pub(crate) struct Exporter {
    config: Config,
    credentials: Credentials,
    limits: Limits,
    names: Arc<DeclaredNames>,
    state: Mutex<State>,
    /// Not in the state, since a scrape locks the state while it runs.
    last: sync::Mutex<LastResults>,
}

/// The last results in this environment, for the landing page: no samples, no SQL, no target.
#[derive(Debug, Default, Clone)]
pub(crate) struct LastResults {
    /// Whether the database was reachable in the last scrape, and when that scrape ended.
    pub(crate) scrape: Option<(bool, Moment)>,
    /// The result of each query in the last scrape that chose it, and when that scrape ended.
    pub(crate) queries: HashMap<String, (QueryOutcome, Moment)>,
}

impl Exporter {
    /// A new exporter, without connection and secret.
    pub(crate) fn new(
        config: Config,
        credentials: Credentials,
        lifetimes: Lifetimes,
        limits: Limits,
    ) -> Self {
        let names = Arc::new(DeclaredNames::new(&config.queries));
        let state = Mutex::new(State::new(lifetimes));
        Self { config, credentials, limits, names, state, last: sync::Mutex::default() }
    }

    /// Fetches the credentials and connects, so that the first scrape finds a connection. Failures are
    /// logged, and the scrape tries again.
    pub(crate) async fn warm_up(&self, limit: Duration) {
        // A failure is already logged, and the first scrape tries again.
        let _: Result<(), Unreachable> =
            self.state.lock().await.session.connect(&self.credentials, Instant::now() + limit).await;
    }

    /// Closes the connection within `limit`, so that the server does not keep a dead session.
    pub(crate) async fn close(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        if let Ok(mut state) = timeout_at(deadline, self.state.lock()).await {
            state.session.close(time_left(deadline)).await;
        }
    }

    /// All namespaces in the order of the files. The disabled ones follow.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = &str> {
        let queries = self.config.queries.iter().map(|query| query.namespace.as_str());
        queries.chain(self.config.disabled.iter().map(String::as_str))
    }

    /// Whether a mistake disables a namespace.
    pub(crate) fn is_disabled(&self, namespace: &str) -> bool {
        self.config.disabled.iter().any(|disabled| disabled == namespace)
    }

    /// The queries whose namespaces match, disabled ones included. See [`Selection::new`].
    ///
    /// # Errors
    /// [`UnknownQuery`] if a pattern matches none.
    pub(crate) fn select(&self, collect: &[&str], exclude: &[&str]) -> Result<Selection, UnknownQuery> {
        Selection::new(&self.namespaces().collect::<Vec<_>>(), collect, exclude)
    }

    /// Connects if needed, and does something else with the connection than a scrape.
    ///
    /// # Errors
    /// Why connecting failed.
    pub(crate) async fn with_connection<T>(
        &self,
        deadline: Instant,
        act: impl AsyncFnOnce(&mut Connection, &ServerFacts) -> T,
    ) -> Result<T, String> {
        let mut state = self.state.lock().await;
        let connected = state.session.connect(&self.credentials, deadline).await;
        let connection =
            connected.and_then(|()| state.session.connection()).map_err(|Unreachable(why)| why)?;
        let facts = connection.facts().clone();
        Ok(act(connection, &facts).await)
    }

    /// Runs the queries of `selection` and reports on them. Returns by `deadline`, whatever happens.
    pub(crate) async fn scrape(&self, selection: &Selection, deadline: Instant) -> Scrape {
        self.scrape_and_tell(selection, deadline, |_| {}).await
    }

    /// Does the same, and gives each outcome to `tell` as soon as it is known.
    pub(crate) async fn scrape_and_tell(
        &self,
        selection: &Selection,
        deadline: Instant,
        tell: impl FnMut(&QueryOutcome),
    ) -> Scrape {
        let begun = Instant::now();
        let queries: Vec<_> =
            self.config.queries.iter().filter(|query| selection.includes(&query.namespace)).collect();
        let mut scrape = match timeout_at(deadline, self.state.lock()).await {
            Ok(mut state) => {
                let mut scrape = self.empty_scrape(&queries);
                state.run(&mut scrape, &queries, &self.limits, &self.credentials, deadline, tell).await;
                scrape.cold_start = state.is_first_scrape();
                scrape.connection_age = state.session.connection_age();
                scrape.secret_age = state.session.target_age().filter(|_| self.credentials.is_fetched());
                scrape
            }
            Err(_) => {
                tracing::error!("timed out waiting for a concurrent scrape");
                self.empty_scrape(&queries)
            }
        };
        scrape.duration = begun.elapsed();
        let disabled = self.config.disabled.iter().filter(|namespace| selection.includes(namespace));
        let failed = |namespace: &String| QueryOutcome::new(namespace, Status::Failed(Failure::Config));
        scrape.outcomes.extend(disabled.map(failed));
        scrape
    }

    /// A scrape before its first query: until it has run, a query fails because of the deadline.
    fn empty_scrape(&self, queries: &[&Query]) -> Scrape {
        let outcome = |query: &&Query| {
            QueryOutcome::not_run(&query.namespace, Failure::Deadline, "the time of the scrape was over")
        };
        let problems = &self.config.problems;
        Scrape {
            up: false,
            outcomes: queries.iter().map(outcome).collect(),
            duration: Duration::ZERO,
            cold_start: false,
            connection_age: None,
            secret_age: None,
            has_unreadable_file: problems
                .iter()
                .any(|problem| problem.severity == Severity::Error && problem.place.is_empty()),
            names: Arc::clone(&self.names),
        }
    }

    /// Keeps the results of a scrape for the landing page. Call it with the answer, since the size limit may omit
    /// queries. Queries that the scrape did not choose keep their last result.
    pub(crate) fn note(&self, scrape: &Scrape) {
        let now = Moment::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.scrape = Some((scrape.up, now));
        for outcome in &scrape.outcomes {
            last.queries.insert(outcome.query.clone(), (outcome.without_metrics(), now));
        }
    }

    /// The last results in this environment. Does not wait for a scrape.
    pub(crate) fn last_results(&self) -> LastResults {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn time_left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
