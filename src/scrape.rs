//! One scrape: credentials, a connection, the queries one after another until the deadline, and the account of it.
//!
//! It owns the order and the time of things and all that lives in an execution environment between scrapes.
//! A scrape is never an error: what could be had is delivered, and the exporter's own metrics say what could not.
//! It knows nothing of events, formats and status codes.

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::config::{Config, Query};
use crate::credentials::{Credentials, CredentialsError};
use crate::database::{self, ConnectError, Connection, QueryError};
use crate::metric::Family;
use crate::sampling::{self, Dropped};
use crate::self_metrics::{Failure, QueryReport, SelfMetrics};
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
const CONNECT_LIMIT: Duration = Duration::from_secs(4);

/// What answers scrapes, for as long as its execution environment lives.
#[derive(Debug)]
pub struct Exporter {
    config: Config,
    credentials: Credentials,
    state: Mutex<State>,
}

/// What outlives a scrape.
#[derive(Debug, Default)]
struct State {
    target: Option<FetchedTarget>,
    connection: Option<Connection>,
    /// Namespaces that ran out of time in the last scrape: in the next one they wait until the others are done.
    timed_out: HashSet<String>,
    scrapes: u64,
}

#[derive(Debug)]
struct FetchedTarget {
    target: Target,
    at: Instant,
}

/// What a scrape came to.
#[derive(Debug)]
pub struct Scrape {
    /// The families of the queries, in the order of the files.
    pub families: Vec<Family>,
    /// What the exporter says of itself.
    pub own: SelfMetrics,
}

/// There is no connection to the database; the log says why.
#[derive(Debug)]
struct Unreachable;

impl Exporter {
    /// An exporter that has not done anything yet.
    pub fn new(config: Config, credentials: Credentials) -> Self {
        Self { config, credentials, state: Mutex::default() }
    }

    /// Fetches the credentials and connects, so that the first scrape finds a connection. What fails is logged,
    /// and tried again by the scrape.
    pub async fn warm_up(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        // A failure is in the log already, and the first scrape tries again.
        let _: Result<_, Unreachable> =
            self.state.lock().await.connection(&self.credentials, deadline).await.map(drop);
    }

    /// Runs the queries. It is over by `deadline`, whatever happens.
    pub async fn scrape(&self, deadline: Instant) -> Scrape {
        let begun = Instant::now();
        let mut run = Run::new(&self.config);
        let Ok(mut state) = timeout_at(deadline, self.state.lock()).await else {
            tracing::error!("another scrape of this environment took all the time of this one");
            return run.abandoned(Failure::Deadline).finish(begun, self, &State::default());
        };
        state.scrapes += 1;
        run = state.run(&self.config, &self.credentials, deadline).await;
        run.finish(begun, self, &state)
    }
}

impl State {
    async fn run(&mut self, config: &Config, credentials: &Credentials, deadline: Instant) -> Run {
        let mut run = Run::new(config);
        // The server's time for a query, the client's timer behind it, and a cancel: all of it before the deadline.
        let deadline = deadline.checked_sub(database::GRACE + CANCEL_LIMIT).unwrap_or(deadline);
        self.drop_dead_connection(deadline).await;
        if self.connection(credentials, deadline).await.is_err() {
            return run.abandoned(Failure::Connection);
        }
        run.up = true;
        let late = std::mem::take(&mut self.timed_out);
        let mut order: Vec<_> = config.queries.iter().zip(&mut run.outcomes).collect();
        order.sort_by_key(|(query, _)| late.contains(&query.namespace));
        for (query, outcome) in order {
            if !run.up {
                outcome.report.failure = Some(Failure::Connection);
                continue;
            }
            let begun = Instant::now();
            let result = if self.too_late(begun, deadline) {
                Err(Failure::Deadline)
            } else if let Ok(connection) = self.connection(credentials, deadline).await {
                let result = run_query(connection, query, deadline).await;
                outcome.report.duration = Some(begun.elapsed());
                result
            } else {
                run.up = false;
                Err(Failure::Connection)
            };
            let ran = outcome.report.duration.is_some();
            if ran && matches!(result, Err(Failure::Timeout | Failure::Deadline)) {
                self.timed_out.insert(query.namespace.clone());
            }
            outcome.take(query, result);
        }
        run
    }

    /// Whether another query can be begun, which may need a new connection after one that was cancelled.
    fn too_late(&self, now: Instant, deadline: Instant) -> bool {
        let usable = self.connection.as_ref().is_some_and(Connection::is_usable);
        deadline.saturating_duration_since(now) < if usable { QUERY_FLOOR } else { CONNECT_FLOOR }
    }

    /// A connection was alive when the process was last frozen; nobody told it what has happened since.
    async fn drop_dead_connection(&mut self, deadline: Instant) {
        let limit = ALIVE_LIMIT.min(deadline.saturating_duration_since(Instant::now()));
        if let Some(connection) = &mut self.connection
            && !connection.is_alive(limit).await
        {
            tracing::info!("the kept connection is dead, connecting anew");
            self.connection = None;
        }
    }

    /// The kept connection or, where there is none, a new one.
    async fn connection(
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
        let kept = self.target.is_some();
        match self.open(credentials, deadline).await {
            // The password may have been rotated since the secret was read.
            Err(OpenError::Connect(error)) if kept && error.is_password_refused() => {
                self.target = None;
                self.open(credentials, deadline).await
            }
            result => result,
        }
        .map_err(|error| {
            match error {
                OpenError::Secret(error) => tracing::error!(%error, "no credentials"),
                OpenError::Connect(error) => tracing::error!(%error, "no connection to the database"),
            }
            Unreachable
        })
    }

    async fn open(&mut self, credentials: &Credentials, deadline: Instant) -> Result<Connection, OpenError> {
        let within = |limit: Duration| limit.min(deadline.saturating_duration_since(Instant::now()));
        let fetched = match self.target.take() {
            Some(fetched) => fetched,
            None => {
                let target = credentials.fetch(within(SECRET_LIMIT)).await.map_err(OpenError::Secret)?;
                FetchedTarget { target, at: Instant::now() }
            }
        };
        let fetched = self.target.insert(fetched);
        Connection::open(&fetched.target, within(CONNECT_LIMIT)).await.map_err(OpenError::Connect)
    }
}

enum OpenError {
    Secret(CredentialsError),
    Connect(ConnectError),
}

async fn run_query(connection: &mut Connection, query: &Query, deadline: Instant) -> Result<Table, Failure> {
    let left = deadline.saturating_duration_since(Instant::now());
    let own = query.timeout.unwrap_or(QUERY_LIMIT.min(left / 2));
    connection.run(&query.sql, own.min(left), CANCEL_LIMIT).await.map_err(|error| {
        let failure = match &error {
            QueryError::Timeout if own > left => Failure::Deadline,
            QueryError::Timeout => Failure::Timeout,
            QueryError::Connection { .. } => Failure::Connection,
            QueryError::TooLarge => Failure::Limit,
            QueryError::Server { sqlstate, .. } => of_sqlstate(sqlstate),
        };
        tracing::warn!(query = query.namespace, reason = failure.as_str(), %error, "query failed");
        failure
    })
}

/// PostgreSQL documentation, appendix A, "PostgreSQL Error Codes".
fn of_sqlstate(sqlstate: &str) -> Failure {
    match sqlstate {
        "42501" => Failure::Permission,
        // Class 42 is "Syntax Error or Access Rule Violation": names that do not exist are in it too.
        code if code.starts_with("42") => Failure::Syntax,
        _ => Failure::Other,
    }
}

/// The outcomes of the queries, in the order of the configuration.
struct Run {
    up: bool,
    outcomes: Vec<Outcome>,
}

struct Outcome {
    families: Vec<Family>,
    report: QueryReport,
}

impl Outcome {
    fn new(namespace: &str, failure: Option<Failure>) -> Self {
        let report = QueryReport {
            query: namespace.to_owned(),
            failure,
            duration: None,
            rows: None,
            dropped: Dropped::default(),
        };
        Self { families: vec![], report }
    }

    /// Turns what the server answered into families.
    fn take(&mut self, query: &Query, result: Result<Table, Failure>) {
        let report = &mut self.report;
        let table = match result {
            Ok(table) => table,
            Err(failure) => {
                report.failure = Some(failure);
                return;
            }
        };
        report.rows = Some(table.row_count());
        let query_name = &query.namespace;
        match sampling::sample(query, &table) {
            Ok(sampled) => {
                for note in &sampled.notes {
                    tracing::warn!(query = query_name, "{note}");
                }
                for column in &sampled.missing {
                    tracing::warn!(query = query_name, column, "the result lacks a column of metrics");
                    report.failure = Some(Failure::Config);
                }
                report.dropped = sampled.dropped;
                self.families = sampled.families;
            }
            Err(error) => {
                tracing::warn!(query = query_name, %error, "query failed");
                report.failure = Some(Failure::Config);
            }
        }
    }
}

impl Run {
    fn new(config: &Config) -> Self {
        let outcomes = config.queries.iter().map(|query| Outcome::new(&query.namespace, None)).collect();
        Self { up: false, outcomes }
    }

    /// Nothing was run, for one reason.
    fn abandoned(mut self, failure: Failure) -> Self {
        for outcome in &mut self.outcomes {
            outcome.report.failure = Some(failure);
        }
        self
    }

    fn finish(self, begun: Instant, exporter: &Exporter, state: &State) -> Scrape {
        let (families, mut queries): (Vec<_>, Vec<_>) =
            self.outcomes.into_iter().map(|outcome| (outcome.families, outcome.report)).unzip();
        let dropped = queries.iter().map(|report| report.dropped);
        let (families, dropped) = sampling::merge(families.into_iter().zip(dropped).collect());
        for (report, dropped) in queries.iter_mut().zip(dropped) {
            report.dropped = dropped;
        }
        let disabled = exporter.config.disabled.iter();
        queries.extend(disabled.map(|namespace| Outcome::new(namespace, Some(Failure::Config)).report));
        let secret = state.target.as_ref().filter(|_| exporter.credentials.is_fetched());
        let own = SelfMetrics {
            up: self.up,
            duration: begun.elapsed(),
            cold_start: state.scrapes == 1,
            connection_age: state.connection.as_ref().map(Connection::age),
            secret_age: secret.map(|fetched| fetched.at.elapsed()),
            queries,
        };
        let scrape = Scrape { families, own };
        scrape.log();
        scrape
    }
}

impl Scrape {
    fn log(&self) {
        let failed = self.own.queries.iter().filter(|query| query.failure.is_some()).count();
        tracing::info!(
            up = self.own.up,
            queries = self.own.queries.len(),
            failed,
            metrics = self.families.iter().map(|family| family.metrics.len()).sum::<usize>(),
            duration_ms = u64::try_from(self.own.duration.as_millis()).unwrap_or(u64::MAX),
            cold_start = self.own.cold_start,
            "scrape"
        );
    }
}
