//! One scrape: credentials, a connection, the queries one after another until the deadline, and the results.
//!
//! This module decides the order and the time limits, and owns everything that an execution environment keeps
//! between scrapes. A scrape is never an error: available results are delivered, and the exporter's own
//! metrics report the rest. Events, formats and status codes are not known here.

mod account;
mod cache;
mod link;
mod overview;
mod room;
mod selection;
mod state;

use std::sync::{self, Arc, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::age::Moment;
use crate::config::{Config, Severity};
use crate::credentials::Credentials;
use crate::metric::Family;
use crate::sampling;
use crate::self_metrics::{Failure, SelfMetrics};
use crate::settings::{Keeping, Limits};
use account::Run;
use overview::Noted;
use state::State;

pub use account::Scrape;
pub use overview::{LastScrape, Overview, QueryState};
pub use selection::{Selection, UnknownQuery};

/// Answers scrapes, as long as its execution environment lives.
#[derive(Debug)]
pub struct Exporter {
    config: Config,
    credentials: Credentials,
    limits: Limits,
    /// The declared families of all queries, whether they run or not.
    declared: Arc<[Family]>,
    keeping: Keeping,
    state: Mutex<State>,
    /// Not in the state, since a scrape locks the state while it runs.
    noted: sync::Mutex<Noted>,
}

impl Exporter {
    /// A new exporter, without connection and secret.
    pub fn new(config: Config, credentials: Credentials, keeping: Keeping, limits: Limits) -> Self {
        let declared = sampling::declared(&config.queries).into();
        let state = Mutex::new(State::new(keeping));
        Self { config, credentials, limits, declared, keeping, state, noted: sync::Mutex::default() }
    }

    /// Fetches the credentials and connects, so that the first scrape finds a connection. Failures are
    /// logged, and the scrape tries again.
    pub async fn warm_up(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        // A failure is already logged, and the first scrape tries again.
        let _: Result<(), link::Unreachable> =
            self.state.lock().await.link.connect(&self.credentials, deadline).await;
    }

    /// Closes the connection within `limit`, so that the server does not keep a dead session.
    pub async fn close(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        if let Ok(mut state) = timeout_at(deadline, self.state.lock()).await {
            state.link.close(time_left(deadline)).await;
        }
    }

    /// The queries whose namespaces match, disabled ones included. See [`Selection::new`].
    ///
    /// # Errors
    /// [`UnknownQuery`] if a pattern matches none.
    pub fn select(&self, collect: &[&str], exclude: &[&str]) -> Result<Selection, UnknownQuery> {
        let queries = self.config.queries.iter().map(|query| query.namespace.as_str());
        let namespaces: Vec<_> = queries.chain(self.config.disabled.iter().map(String::as_str)).collect();
        Selection::new(&namespaces, collect, exclude)
    }

    /// Runs the queries of `selection` and reports on them. Returns by `deadline`, whatever happens.
    pub async fn scrape(&self, selection: &Selection, deadline: Instant) -> Scrape {
        let begun = Instant::now();
        let run = Run::new(&self.config, selection, &self.limits);
        let scrape = match timeout_at(deadline, self.state.lock()).await {
            Ok(mut state) => {
                state.scrapes += 1;
                let run = state.run(run, &self.credentials, deadline).await;
                self.account(run, begun, selection, &state)
            }
            Err(_) => {
                tracing::error!("timed out waiting for a concurrent scrape");
                let run = run.abandoned(Failure::Deadline);
                self.account(run, begun, selection, &State::new(self.keeping))
            }
        };
        scrape.log();
        scrape
    }

    /// Keeps the results of a scrape for the overview. Call it with the answer, since the size limit may omit
    /// queries.
    pub fn note(&self, scrape: &Scrape) {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).note(scrape, Moment::now());
    }

    /// The last results of the queries in this environment. Does not wait for a scrape.
    pub fn overview(&self) -> Overview {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).overview(&self.config)
    }

    fn account(&self, run: Run<'_>, begun: Instant, selection: &Selection, state: &State) -> Scrape {
        let disabled = self.config.disabled.iter().filter(|namespace| selection.includes(namespace));
        let own = SelfMetrics {
            up: run.up,
            duration: begun.elapsed(),
            cold_start: state.scrapes == 1,
            connection_age: state.link.connection_age(),
            secret_age: state.link.target_age().filter(|_| self.credentials.is_fetched()),
            has_unreadable_file: self
                .config
                .problems
                .iter()
                .any(|problem| problem.severity == Severity::Error && problem.place.is_empty()),
            queries: disabled.map(|namespace| account::report(namespace, Failure::Config)).collect(),
        };
        Scrape::new(Arc::clone(&self.declared), run.into_results(), own)
    }
}

fn time_left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
