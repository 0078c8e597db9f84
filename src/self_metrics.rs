//! The exporter's own metrics: the result of one scrape as gauges, encoded by prometheus-client.
//!
//! They describe this scrape only. Counters over a process's life would be useless, since a process lives as
//! long as its execution environment, and there may be several.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::sampling::Dropped;

/// The result of one scrape.
#[derive(Debug, Clone)]
pub struct SelfMetrics {
    /// Whether the database was reachable.
    pub up: bool,
    /// How long the scrape took, from the request to its last query.
    pub duration: Duration,
    /// Whether this is the first scrape of the execution environment.
    pub cold_start: bool,
    /// The age of the connection.
    pub connection_age: Option<Duration>,
    /// The age of the credentials.
    pub secret_age: Option<Duration>,
    /// Whether a query file could not be read at all, so that its queries are unknown.
    pub has_unreadable_file: bool,
    /// Every namespace, in the order of the files.
    pub queries: Vec<QueryReport>,
}

/// The result of one namespace.
#[derive(Debug, Clone)]
pub struct QueryReport {
    /// The namespace.
    pub query: String,
    /// How the query ended.
    pub verdict: Verdict,
    /// How long it ran, its predicate included, if it ran.
    pub duration: Option<Duration>,
    /// The number of rows, also of a cached result.
    pub rows: Option<usize>,
    /// The dropped samples.
    pub dropped: Dropped,
    /// The age of the result, if results of this query are cached.
    pub cache_age: Option<Duration>,
}

/// How a query ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The query succeeded.
    Succeeded,
    /// The query failed.
    Failed(Failure),
    /// A condition of the query does not hold here. This is not a failure.
    Skipped(Skip),
}

/// The condition that does not hold. It is the label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
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
    pub fn as_str(self) -> &'static str {
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
pub enum Failure {
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
    pub fn as_str(self) -> &'static str {
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

impl QueryReport {
    /// The reason, if it failed.
    pub fn failure(&self) -> Option<Failure> {
        match self.verdict {
            Verdict::Failed(failure) => Some(failure),
            Verdict::Succeeded | Verdict::Skipped(_) => None,
        }
    }

    fn skip(&self) -> Option<Skip> {
        match self.verdict {
            Verdict::Skipped(skip) => Some(skip),
            Verdict::Succeeded | Verdict::Failed(_) => None,
        }
    }
}

impl SelfMetrics {
    /// Whether the database, a file of queries or any query failed.
    pub fn is_error(&self) -> bool {
        !self.up || self.has_unreadable_file || self.queries.iter().any(|query| query.failure().is_some())
    }

    /// The gauges as text that is both 0.0.4 and OpenMetrics, without `# EOF`.
    pub fn encode(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Gauges(self.clone())));
        let mut text = String::new();
        match encode_registry(&mut text, &registry) {
            Ok(()) => text,
            // Writing to a String does not fail, and the collector has no errors.
            Err(fmt::Error) => String::new(),
        }
    }
}

#[derive(Debug)]
struct Gauges(SelfMetrics);

/// Below this value, an f64 represents every whole number.
const WHOLE_LIMIT: f64 = 9_007_199_254_740_992.0;

/// Labels and a value.
type Sample<'a> = (Vec<(&'a str, &'a str)>, f64);

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_scrape(&mut encoder)?;
        self.encode_environment(&mut encoder)?;
        self.encode_queries(&mut encoder)
    }
}

impl Gauges {
    fn encode_scrape(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let scrape = &self.0;
        gauge(encoder, "pg_up", "Whether PostgreSQL could be reached.", single(flag(scrape.up)))?;
        gauge(
            encoder,
            "pg_exporter_last_scrape_duration_seconds",
            "Duration of this scrape.",
            single(scrape.duration.as_secs_f64()),
        )?;
        gauge(
            encoder,
            "pg_exporter_last_scrape_error",
            "Whether PostgreSQL could not be reached, a query failed, or a file of queries is unreadable.",
            single(flag(scrape.is_error())),
        )
    }

    fn encode_environment(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let scrape = &self.0;
        gauge(
            encoder,
            "pg_exporter_cold_start",
            "Whether this is the first scrape of its execution environment.",
            single(flag(scrape.cold_start)),
        )?;
        gauge(
            encoder,
            "pg_exporter_connection_age_seconds",
            "How long the database connection has been open.",
            scrape.connection_age.map(|age| (vec![], age.as_secs_f64())),
        )?;
        gauge(
            encoder,
            "pg_exporter_secret_age_seconds",
            "How long ago the credentials were fetched.",
            scrape.secret_age.map(|age| (vec![], age.as_secs_f64())),
        )?;
        let revision = option_env!("PG_LAMBDA_EXPORTER_REVISION").filter(|revision| !revision.is_empty());
        let revision = revision.unwrap_or("unknown");
        gauge(
            encoder,
            "pg_exporter_build_info",
            "A constant 1, labelled by the exporter's version and source revision.",
            [(vec![("version", env!("CARGO_PKG_VERSION")), ("revision", revision)], 1.0)],
        )
    }

    fn encode_queries(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        gauge(
            encoder,
            "pg_exporter_query_success",
            "Whether the query succeeded.",
            self.per_query(|query| match query.verdict {
                Verdict::Succeeded => Some(1.0),
                Verdict::Failed(_) => Some(0.0),
                Verdict::Skipped(_) => None,
            }),
        )?;
        gauge(
            encoder,
            "pg_exporter_query_error",
            "A constant 1 for each query that failed, labelled by the reason.",
            self.with_reason(|query| query.failure().map(Failure::as_str)),
        )?;
        gauge(
            encoder,
            "pg_exporter_query_skipped",
            "A constant 1 for each query that does not run on this server or now, labelled by the reason.",
            self.with_reason(|query| query.skip().map(Skip::as_str)),
        )?;
        gauge(
            encoder,
            "pg_exporter_query_duration_seconds",
            "How long the query ran.",
            self.per_query(|query| query.duration.map(|duration| duration.as_secs_f64())),
        )?;
        gauge(
            encoder,
            "pg_exporter_query_rows",
            "How many rows the query returned.",
            self.per_query(|query| query.rows.map(|rows| rows as f64)),
        )?;
        gauge(
            encoder,
            "pg_exporter_query_cache_age_seconds",
            "How old the result is, for a query with cache_seconds.",
            self.per_query(|query| query.cache_age.map(|age| age.as_secs_f64())),
        )?;
        gauge(
            encoder,
            "pg_exporter_query_samples_dropped",
            "How many samples of the query's result were dropped, labelled by the reason.",
            self.0.queries.iter().flat_map(|query| {
                let counted = query.dropped.iter().filter(|&(_, count)| count > 0);
                counted
                    .map(|(reason, count)| (vec![("query", &*query.query), ("reason", reason)], count as f64))
            }),
        )
    }

    fn with_reason(
        &self,
        reason: fn(&QueryReport) -> Option<&'static str>,
    ) -> impl Iterator<Item = Sample<'_>> {
        let reasons = self.0.queries.iter().filter_map(move |query| Some((query, reason(query)?)));
        reasons.map(|(query, reason)| (vec![("query", &*query.query), ("reason", reason)], 1.0))
    }

    fn per_query(&self, value: fn(&QueryReport) -> Option<f64>) -> impl Iterator<Item = Sample<'_>> {
        self.0.queries.iter().filter_map(move |query| Some((vec![("query", &*query.query)], value(query)?)))
    }
}

fn single<'a>(value: f64) -> [Sample<'a>; 1] {
    [(vec![], value)]
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// Encodes a family of gauges. Without samples, nothing is encoded.
fn gauge<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = Sample<'a>>,
) -> fmt::Result {
    let mut samples = samples.into_iter().peekable();
    if samples.peek().is_none() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in samples {
        // Whole numbers are written without a fraction, which is easier to read and to search for.
        let whole = (value.fract() == 0.0 && value.abs() < WHOLE_LIMIT).then_some(value as i64);
        let encode = |sample: &mut MetricEncoder<'_>| match whole {
            Some(whole) => sample.encode_gauge(&whole),
            None => sample.encode_gauge(&value),
        };
        match labels.is_empty() {
            true => encode(&mut family)?,
            false => encode(&mut family.encode_family(&labels)?)?,
        }
    }
    Ok(())
}
