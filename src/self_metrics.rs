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

use crate::mapping::{Dropped, Merged};
use crate::outcome::{Failure, QueryOutcome, Scrape, Skip, Status};

/// The gauges as text that is both 0.0.4 and OpenMetrics, without `# EOF`.
pub(crate) fn encode(scrape: &Scrape, merged: &Merged<'_>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Gauges(gauges(scrape, merged))));
    let mut text = String::new();
    match encode_registry(&mut text, &registry) {
        Ok(()) => text,
        // Writing to a String does not fail, and the collector has no errors.
        Err(fmt::Error) => String::new(),
    }
}

/// Name, HELP and samples of each.
#[derive(Debug)]
struct Gauges(Vec<(&'static str, &'static str, Vec<Sample>)>);

/// Labels and a value.
type Sample = (Vec<(&'static str, String)>, f64);

fn gauges(scrape: &Scrape, merged: &Merged<'_>) -> Vec<(&'static str, &'static str, Vec<Sample>)> {
    let revision = option_env!("PG_LAMBDA_EXPORTER_REVISION").filter(|revision| !revision.is_empty());
    let build = vec![
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("revision", revision.unwrap_or("unknown").to_owned()),
    ];
    let single = |value: Option<f64>| value.map(|value| (vec![], value)).into_iter().collect();
    let flag = |value: bool| single(Some(f64::from(u8::from(value))));
    let seconds = |duration: Option<Duration>| single(duration.map(|duration| duration.as_secs_f64()));
    let labels = |outcome: &QueryOutcome| {
        let database = outcome.database.iter().map(|database| ("database", database.clone()));
        [("query", outcome.query.clone())].into_iter().chain(database).collect::<Vec<_>>()
    };
    let with_reason = |reason: fn(&QueryOutcome) -> Option<&'static str>| {
        let sample = |outcome: &QueryOutcome| {
            let reason = ("reason", reason(outcome)?.to_owned());
            Some(([labels(outcome), vec![reason]].concat(), 1.0))
        };
        scrape.outcomes.iter().filter_map(sample).collect()
    };
    let per_query = |value: fn(&QueryOutcome) -> Option<f64>| {
        let sample = |outcome: &QueryOutcome| Some((labels(outcome), value(outcome)?));
        scrape.outcomes.iter().filter_map(sample).collect()
    };
    let dropped = scrape.outcomes.iter().zip(&merged.dropped).flat_map(|(outcome, merged)| {
        let dropped: Dropped = [outcome.dropped, *merged].into_iter().sum();
        let counted: Vec<_> = dropped.iter().filter(|&(_, count)| count > 0).collect();
        counted.into_iter().map(|(reason, count)| {
            ([labels(outcome), vec![("reason", reason.to_owned())]].concat(), count as f64)
        })
    });
    let target_error = scrape.target.iter().zip(scrape.target_error).map(|(target, error)| {
        (vec![("target", target.clone()), ("reason", error.as_str().to_owned())], 1.0)
    });
    let target_error = target_error.collect();
    vec![
        ("pg_up", "Whether PostgreSQL could be reached.", flag(scrape.up)),
        (
            "pg_exporter_last_scrape_duration_seconds",
            "Duration of this scrape.",
            seconds(Some(scrape.duration)),
        ),
        (
            "pg_exporter_last_scrape_error",
            "Whether PostgreSQL could not be reached, a query failed, or a file of queries is unreadable.",
            flag(scrape.is_error()),
        ),
        (
            "pg_exporter_cold_start",
            "Whether this is the first scrape of its execution environment.",
            flag(scrape.cold_start),
        ),
        (
            "pg_exporter_connection_age_seconds",
            "How long the database connection has been open.",
            seconds(scrape.connection_age),
        ),
        (
            "pg_exporter_secret_age_seconds",
            "How long ago the credentials were fetched.",
            seconds(scrape.secret_age),
        ),
        (
            "pg_exporter_connections",
            "How many database connections this execution environment keeps, for all targets.",
            single(scrape.target.as_ref().map(|_| scrape.connections as f64)),
        ),
        (
            "pg_exporter_databases_left_out",
            "How many databases of target_databases were not visited because of MAX_DATABASES.",
            single(scrape.databases_left_out.map(|count| count as f64)),
        ),
        (
            "pg_exporter_target_error",
            "A constant 1 if the target cannot be used, labelled by the reason.",
            target_error,
        ),
        (
            "pg_exporter_build_info",
            "A constant 1, labelled by the exporter's version and source revision.",
            vec![(build, 1.0)],
        ),
        (
            "pg_exporter_query_success",
            "Whether the query succeeded.",
            per_query(|outcome| match outcome.status {
                Status::Succeeded => Some(1.0),
                Status::Failed(_) => Some(0.0),
                Status::Skipped(_) => None,
            }),
        ),
        (
            "pg_exporter_query_error",
            "A constant 1 for each query that failed, labelled by the reason.",
            with_reason(|outcome| outcome.failure().map(Failure::as_str)),
        ),
        (
            "pg_exporter_query_skipped",
            "A constant 1 for each query that does not run on this server or now, labelled by the reason.",
            with_reason(|outcome| outcome.skip().map(Skip::as_str)),
        ),
        (
            "pg_exporter_query_duration_seconds",
            "How long the query ran.",
            per_query(|outcome| outcome.duration.map(|duration| duration.as_secs_f64())),
        ),
        (
            "pg_exporter_query_rows",
            "How many rows the query returned.",
            per_query(|outcome| outcome.rows.map(|rows| rows as f64)),
        ),
        (
            "pg_exporter_query_cache_age_seconds",
            "How old the result is, for a query with cache_seconds.",
            per_query(|outcome| outcome.age.map(|age| age.as_secs_f64())),
        ),
        (
            "pg_exporter_query_samples_dropped",
            "How many samples of the query's result were dropped, labelled by the reason.",
            dropped.collect(),
        ),
    ]
}

/// Below this value, an f64 represents every whole number.
const WHOLE_LIMIT: f64 = 9_007_199_254_740_992.0;

impl Collector for Gauges {
    /// Without samples, nothing is encoded.
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, samples) in self.0.iter().filter(|(.., samples)| !samples.is_empty()) {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (labels, value) in samples {
                // Whole numbers are written without a fraction, which is easier to read and to search for.
                let whole = (value.fract() == 0.0 && value.abs() < WHOLE_LIMIT).then_some(*value as i64);
                let encode = |sample: &mut MetricEncoder<'_>| match whole {
                    Some(whole) => sample.encode_gauge(&whole),
                    None => sample.encode_gauge(value),
                };
                match labels.is_empty() {
                    true => encode(&mut family)?,
                    false => encode(&mut family.encode_family(labels)?)?,
                }
            }
        }
        Ok(())
    }
}
