//! How the queries of a scrape ended. The exporter's own metrics, the log, the landing page, the cache, the size limits and
//! `check --database` all read it.

use std::sync::Arc;
use std::time::Duration;

use crate::database::Refusal;
use crate::mapping::{DeclaredNames, Dropped, Merged, Part, Reason};
use crate::metric::Families;

/// The module that a filter of the log names for all lines of a scrape.
const LOG_TARGET: &str = "pg_lambda_exporter::scrape";

/// How one query ended.
#[derive(Debug, Clone)]
pub(crate) struct QueryOutcome {
    /// The namespace.
    pub(crate) query: String,
    /// The database, if `target_databases` leads to another one than the target's own.
    pub(crate) database: Option<String>,
    /// Whether it succeeded.
    pub(crate) status: Status,
    /// The metrics of its result, before merging.
    pub(crate) families: Arc<Families>,
    /// The number of rows, also of a cached result.
    pub(crate) rows: Option<usize>,
    /// The samples that were dropped before merging.
    pub(crate) dropped: Dropped,
    /// How long it ran, its predicate included, if it ran.
    pub(crate) duration: Option<Duration>,
    /// The age of the result, if results of this query are cached.
    pub(crate) age: Option<Duration>,
    /// The names of the result's columns, if it ran.
    pub(crate) columns: Vec<String>,
    /// Why it failed. Never a value.
    pub(crate) errors: Vec<String>,
    /// Why its result is not exposed completely. Never a value.
    pub(crate) notes: Vec<String>,
    /// The server's further details on an error. They may quote the SQL.
    pub(crate) refusal: Option<Refusal>,
}

/// Whether a query succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// The query succeeded.
    Succeeded,
    /// The query failed.
    Failed(Failure),
    /// A condition of the query does not hold here. This is not a failure.
    Skipped(Skip),
}

/// The condition that does not hold. It is the label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skip {
    /// `primary`, on a server in recovery.
    Primary,
    /// `runonserver`.
    Version,
    /// `target_databases`.
    Database,
    /// `query_aurora: "!"`, on Aurora.
    Aurora,
    /// `predicate_query`.
    Predicate,
}

impl Skip {
    /// The value of the label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Version => "version",
            Self::Database => "database",
            Self::Aurora => "aurora",
            Self::Predicate => "predicate",
        }
    }
}

/// Why a query failed. It is the label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The query exceeded its time limit.
    Timeout,
    /// The scrape's time was over.
    Deadline,
    /// The role may not read something that the query reads.
    Permission,
    /// The server does not understand the query.
    Syntax,
    /// The query names a table, a column, a function or a schema that does not exist.
    Undefined,
    /// There was no connection, or it was lost.
    Connection,
    /// The server refused the predicate, or its result is not one boolean.
    Predicate,
    /// The namespace has a mistake, or does not fit the columns of the result.
    Config,
    /// The result or the answer exceeded a limit.
    Limit,
    /// Any other error of the server.
    Other,
}

impl Failure {
    /// The value of the label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Deadline => "deadline",
            Self::Permission => "permission",
            Self::Syntax => "syntax",
            Self::Undefined => "undefined",
            Self::Connection => "connection",
            Self::Predicate => "predicate",
            Self::Config => "config",
            Self::Limit => "limit",
            Self::Other => "other",
        }
    }
}

impl QueryOutcome {
    /// A query that failed before it was sent.
    pub(crate) fn not_run(query: &str, failure: Failure, why: &str) -> Self {
        Self { errors: vec![format!("not run: {why}")], ..Self::new(query, Status::Failed(failure)) }
    }

    /// A query that was not sent.
    pub(crate) fn new(query: &str, status: Status) -> Self {
        Self {
            query: query.to_owned(),
            database: None,
            status,
            families: Arc::default(),
            rows: None,
            dropped: Dropped::default(),
            duration: None,
            age: None,
            columns: Vec::new(),
            errors: Vec::new(),
            notes: Vec::new(),
            refusal: None,
        }
    }

    /// The reason, if it failed.
    pub(crate) fn failure(&self) -> Option<Failure> {
        match self.status {
            Status::Failed(failure) => Some(failure),
            Status::Succeeded | Status::Skipped(_) => None,
        }
    }

    /// The condition that does not hold, if it was skipped.
    pub(crate) fn skip(&self) -> Option<Skip> {
        match self.status {
            Status::Skipped(skip) => Some(skip),
            Status::Succeeded | Status::Failed(_) => None,
        }
    }

    /// The query fails for this reason, and its result is discarded.
    pub(crate) fn discard(&mut self, failure: Failure) {
        self.families = Arc::default();
        self.age = None;
        self.status = Status::Failed(failure);
    }

    /// All but the metrics.
    pub(crate) fn without_metrics(&self) -> Self {
        Self { families: Arc::default(), ..self.clone() }
    }

    pub(crate) fn log(&self) {
        let query = &self.query;
        let database = self.database.as_deref();
        let reason = self.failure().map(Failure::as_str);
        for error in &self.errors {
            tracing::warn!(target: LOG_TARGET, query, database, reason, error, "query failed");
        }
        for note in &self.notes {
            tracing::warn!(target: LOG_TARGET, query, database, note, "the result is not exposed completely");
        }
    }
}

/// Why a target cannot be used. It is the label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TargetError {
    /// The targets file has a mistake in it.
    Config,
    /// Its secret cannot be read, or is not one of a database.
    Secret,
}

impl TargetError {
    /// The value of the label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Secret => "secret",
        }
    }
}

/// The result of a scrape.
#[derive(Debug, Clone)]
pub(crate) struct Scrape {
    /// Whether the database was reachable.
    pub(crate) up: bool,
    /// The chosen queries in the order of the files; disabled ones follow.
    pub(crate) outcomes: Vec<QueryOutcome>,
    /// How long the scrape took, from the request to its last query.
    pub(crate) duration: Duration,
    /// Whether this is the first scrape of the execution environment.
    pub(crate) cold_start: bool,
    /// The age of the connection.
    pub(crate) connection_age: Option<Duration>,
    /// The age of the credentials.
    pub(crate) secret_age: Option<Duration>,
    /// The name of the target, if it is one of several.
    pub(crate) target: Option<String>,
    /// Why the target cannot be used at all.
    pub(crate) target_error: Option<TargetError>,
    /// How many databases `MAX_DATABASES` leaves out, if `target_databases` leads to other databases.
    pub(crate) databases_left_out: Option<usize>,
    /// The number of open connections in the execution environment.
    pub(crate) connections: usize,
    /// Whether a query file could not be read at all, so that its queries are unknown.
    pub(crate) has_unreadable_file: bool,
    pub(crate) names: Arc<DeclaredNames>,
}

impl Scrape {
    /// The metrics of all queries as one exposition.
    pub(crate) fn merged(&self) -> Merged<'_> {
        Merged::new(&self.names, self.outcomes.iter().map(|outcome| &*outcome.families))
    }

    /// The metrics of one query as if there were no other.
    pub(crate) fn merged_alone(&self, position: usize) -> Merged<'_> {
        Merged::new(&self.names, self.outcomes.get(position).map(|outcome| &*outcome.families))
    }

    /// Omits the result of a query, which fails with [`Failure::Limit`] if it had samples.
    pub(crate) fn leave_out(&mut self, position: usize) {
        if let Some(outcome) = self.outcomes.get_mut(position)
            && outcome.families.series() > 0
        {
            outcome.discard(Failure::Limit);
            outcome.dropped = Dropped::default();
        }
    }

    /// Whether the database, a file of queries or any query failed.
    pub(crate) fn is_error(&self) -> bool {
        !self.up
            || self.has_unreadable_file
            || self.outcomes.iter().any(|outcome| outcome.failure().is_some())
    }

    /// Logs the scrape as a whole.
    pub(crate) fn log(&self, merged: &Merged<'_>) {
        let invalid = merged.dropped.iter().map(|dropped| dropped.count(Reason::Invalid));
        for (outcome, metrics) in self.outcomes.iter().zip(invalid).filter(|(_, metrics)| *metrics > 0) {
            tracing::warn!(
                target: LOG_TARGET,
                query = outcome.query,
                metrics,
                "metrics dropped: their names belong to another family or to the exporter itself"
            );
        }
        tracing::info!(
            target: LOG_TARGET,
            up = self.up,
            queries = self.outcomes.len(),
            failed = self.outcomes.iter().filter(|outcome| outcome.failure().is_some()).count(),
            metrics = merged.families.iter().flat_map(|family| &family.parts).map(Part::len).sum::<usize>(),
            duration_ms = u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX),
            cold_start = self.cold_start,
            "scrape"
        );
    }
}
