//! One scrape: credentials, a connection, the queries one after another until the deadline, and the results.
//!
//! This module decides the order and the time limits, and owns everything that an execution environment keeps
//! between scrapes. A scrape is never an error: available results are delivered, and the exporter's own
//! metrics report the rest. Events, formats and status codes are not known here.

mod budget;
mod cache;
mod databases;
mod order;
mod query;
mod selection;
mod session;
mod state;
mod targets;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::config::{Config, Query};
use crate::database::{Connection, ServerFacts};
use crate::freshness::Moment;
use crate::mapping::DeclaredNames;
use crate::outcome::{Failure, QueryOutcome, Scrape, Status, TargetError};
use crate::problem::Severity;
use crate::settings::Limits;
use session::Unreachable;

pub(crate) use selection::{Selection, UnknownQuery};
pub(crate) use targets::{NoTarget, TargetState, Targets};

/// How long a scrape waits until the goodbye to the server is sent.
const CLOSE_LIMIT: Duration = Duration::from_millis(100);

/// Why a query did not run for which no time was left.
const OVER: &str = "the time of the scrape was over";

/// How long a scrape may take if nothing else limits it.
pub(crate) const DEFAULT_LIMIT: Duration = Duration::from_secs(28);

/// Answers scrapes, as long as its execution environment lives.
#[derive(Debug)]
pub(crate) struct Exporter {
    config: Config,
    targets: Targets,
    limits: Limits,
    names: Arc<DeclaredNames>,
    has_scraped: AtomicBool,
}

/// The last results of a target in this environment, for the landing page: no samples, no SQL, no target.
#[derive(Debug, Default, Clone)]
pub(crate) struct LastResults {
    /// Whether the database was reachable in the last scrape, and when that scrape ended.
    pub(crate) scrape: Option<(bool, Moment)>,
    /// The result of each query in the last scrape that chose it, and when that scrape ended.
    pub(crate) queries: HashMap<String, (QueryOutcome, Moment)>,
}

impl Exporter {
    /// A new exporter, without connections and secrets.
    pub(crate) fn new(config: Config, targets: Targets, limits: Limits) -> Self {
        let names = Arc::new(DeclaredNames::new(&config.queries));
        Self { config, targets, limits, names, has_scraped: AtomicBool::new(false) }
    }

    /// Fetches the credentials of the only target and connects, or lists the targets, so that the first scrape does not wait.
    /// Which of several targets is scraped first is unknown. Failures are logged, and the scrape tries again.
    pub(crate) async fn warm_up(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        // Failures are already logged, and the first scrape tries again.
        let only = self.targets.only();
        match only.as_ref().and_then(|target| Some((target, target.credentials.as_ref()?))) {
            Some((target, credentials)) => {
                let _: Result<(), Unreachable> =
                    target.state.lock().await.session.connect(credentials, deadline).await;
            }
            None => {
                let _: Result<bool, NoTarget> = self.targets.list(false, deadline).await;
            }
        }
    }

    /// Closes the connections within `limit`, so that the servers do not keep dead sessions.
    pub(crate) async fn close(&self, limit: Duration) {
        self.targets.close(Instant::now() + limit).await;
    }

    /// The targets.
    pub(crate) fn targets(&self) -> &Targets {
        &self.targets
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
        target: &TargetState,
        deadline: Instant,
        act: impl AsyncFnOnce(&mut Connection, &ServerFacts) -> T,
    ) -> Result<T, String> {
        let mut state = target.state.lock().await;
        let credentials = target.credentials.as_ref().ok_or("a mistake in the targets file disables it")?;
        let connected = state.session.connect(credentials, deadline).await;
        let connection =
            connected.and_then(|()| state.session.connection()).map_err(|Unreachable(why)| why)?;
        let facts = connection.facts().clone();
        Ok(act(connection, &facts).await)
    }

    /// Runs the queries of `selection` on `target` and reports on them. Returns by `deadline`, whatever happens.
    pub(crate) async fn scrape(
        &self,
        target: &TargetState,
        selection: &Selection,
        deadline: Instant,
    ) -> Scrape {
        self.scrape_and_tell(target, selection, deadline, |_| {}).await
    }

    /// Does the same, and gives each outcome to `tell` as soon as it is known.
    pub(crate) async fn scrape_and_tell(
        &self,
        target: &TargetState,
        selection: &Selection,
        deadline: Instant,
        tell: impl FnMut(&QueryOutcome),
    ) -> Scrape {
        let begun = Instant::now();
        let queries: Vec<_> =
            self.config.queries.iter().filter(|query| selection.includes(&query.namespace)).collect();
        let mut scrape = self.empty_scrape(&queries);
        scrape.target = self.targets.label(target).map(str::to_owned);
        match (timeout_at(deadline, target.state.lock()).await, &target.credentials) {
            (Ok(mut state), Some(credentials)) => {
                let limits = (&self.limits, self.targets.databases_max());
                state.run(&mut scrape, &queries, limits, credentials, deadline, tell).await;
                scrape.cold_start = !self.has_scraped.swap(true, Ordering::Relaxed);
                scrape.connection_age = state.session.connection_age();
                scrape.secret_age = state.session.target_age().filter(|_| credentials.is_fetched());
                let is_secret_missing = credentials.is_fetched() && !state.session.has_target();
                scrape.target_error = is_secret_missing.then_some(TargetError::Secret);
                if !self.targets.may_keep(target) {
                    state.session.close(CLOSE_LIMIT).await;
                }
                scrape.connections =
                    self.targets.connections(Some(target)) + usize::from(state.session.is_usable());
            }
            (Ok(_), None) => {
                tracing::error!("a mistake in the targets file disables this target");
                scrape.target_error = Some(TargetError::Config);
                for outcome in &mut scrape.outcomes {
                    outcome.status = Status::Failed(Failure::Connection);
                }
                scrape.connections = self.targets.connections(Some(target));
            }
            (Err(_), _) => tracing::error!("timed out waiting for a concurrent scrape"),
        }
        scrape.duration = begun.elapsed();
        let disabled = self.config.disabled.iter().filter(|namespace| selection.includes(namespace));
        let failed = |namespace: &String| QueryOutcome::new(namespace, Status::Failed(Failure::Config));
        scrape.outcomes.extend(disabled.map(failed));
        scrape
    }

    /// A scrape before its first query: until it has run, a query fails because of the deadline.
    fn empty_scrape(&self, queries: &[&Query]) -> Scrape {
        let outcome = |query: &&Query| QueryOutcome::not_run(&query.namespace, Failure::Deadline, OVER);
        let problems = &self.config.problems;
        Scrape {
            up: false,
            outcomes: queries.iter().map(outcome).collect(),
            duration: Duration::ZERO,
            cold_start: false,
            connection_age: None,
            secret_age: None,
            target: None,
            target_error: None,
            databases_left_out: None,
            connections: 0,
            has_unreadable_file: problems
                .iter()
                .any(|problem| problem.severity == Severity::Error && problem.place.is_empty()),
            names: Arc::clone(&self.names),
        }
    }

    /// Keeps the results of a scrape for the landing page. Call it with the answer, since the size limit may omit
    /// queries. Queries that the scrape did not choose keep their last result.
    pub(crate) fn note(&self, target: &TargetState, scrape: &Scrape) {
        let now = Moment::now();
        let mut last = target.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.scrape = Some((scrape.up, now));
        let mut seen = HashMap::new();
        for outcome in &scrape.outcomes {
            // If the query ran in several databases, a failure is shown.
            let shown = seen.entry(outcome.query.as_str()).or_insert(outcome);
            if outcome.failure().is_some() {
                *shown = outcome;
            }
        }
        let kept = |outcome: &QueryOutcome| (outcome.query.clone(), (outcome.without_metrics(), now));
        last.queries.extend(seen.into_values().map(kept));
    }
}

fn time_left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
