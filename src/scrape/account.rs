//! The results of a scrape: how each query ended, and all families as one exposition.

use std::sync::Arc;
use std::time::Duration;

use super::cache::Good;
use super::room::Room;
use super::selection::Selection;
use crate::age::Moment;
use crate::config::{Config, Query};
use crate::metric::Family;
use crate::sampling::{self, Dropped};
use crate::self_metrics::{Failure, QueryReport, SelfMetrics, Skip, Verdict};
use crate::settings::Limits;
use crate::table::Table;

/// The results of a scrape.
#[derive(Debug)]
pub struct Scrape {
    /// The families of the queries, in the order of the files.
    pub families: Vec<Family>,
    /// The exporter's own metrics.
    pub own: SelfMetrics,
    /// The results of the queries and the first reports of `own`, before anything is left out of the answer.
    results: Vec<(Arc<Vec<Family>>, QueryReport)>,
    /// The families that all queries declare, whether they have a result, were chosen or not.
    declared: Arc<[Family]>,
}

impl Scrape {
    pub(super) fn new(
        declared: Arc<[Family]>,
        results: Vec<(Arc<Vec<Family>>, QueryReport)>,
        mut own: SelfMetrics,
    ) -> Self {
        own.queries = results.iter().map(|(_, report)| report.clone()).chain(own.queries).collect();
        let mut scrape = Self { families: vec![], own, results, declared };
        scrape.leave_out(&[]);
        scrape
    }

    /// The families of each query before merging, in the order of the files.
    pub fn by_query(&self) -> impl DoubleEndedIterator<Item = &[Family]> + ExactSizeIterator {
        self.results.iter().map(|(families, _)| families.as_slice())
    }

    /// Omits the results of the queries at `positions` of [`Self::by_query`], and no others. Queries that had samples are
    /// reported as failed with [`Failure::Limit`]. Samples that were duplicates of omitted ones return.
    pub fn leave_out(&mut self, positions: &[usize]) {
        let mut results = self.results.clone();
        for &position in positions {
            if let Some((families, report)) = results.get_mut(position)
                && families.iter().any(|family| !family.metrics.is_empty())
            {
                *families = Arc::default();
                report.verdict = Verdict::Failed(Failure::Limit);
                report.dropped = Dropped::default();
                report.cache_age = None;
            }
        }
        let given = results.iter().map(|(families, report)| (Vec::clone(families), report.dropped));
        let (families, dropped) = sampling::merge_among(&self.declared, given.collect());
        self.families = families;
        for ((place, (_, report)), dropped) in self.own.queries.iter_mut().zip(results).zip(dropped) {
            *place = QueryReport { dropped, ..report };
        }
    }

    /// Logs which queries [`Self::leave_out`] has omitted.
    pub fn log_left_out(&self) {
        for (report, (_, before)) in self.own.queries.iter().zip(&self.results) {
            if report.verdict != before.verdict {
                tracing::warn!(
                    query = report.query,
                    reason = Failure::Limit.as_str(),
                    "result left out: the answer would exceed its size limit"
                );
            }
        }
    }

    pub(super) fn log(&self) {
        for (report, (_, before)) in self.own.queries.iter().zip(&self.results) {
            let clashes = report.dropped.invalid.saturating_sub(before.dropped.invalid);
            if clashes > 0 {
                tracing::warn!(
                    query = report.query,
                    metrics = clashes,
                    "metrics dropped: their names belong to another family or to the exporter itself"
                );
            }
        }
        let failed = self.own.queries.iter().filter(|query| query.failure().is_some()).count();
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

/// The outcomes of the chosen queries, in the order of the configuration.
pub(super) struct Run<'a> {
    pub(super) up: bool,
    /// The limits on further results.
    pub(super) room: Room,
    pub(super) outcomes: Vec<Outcome<'a>>,
}

/// How one query has ended so far.
pub(super) struct Outcome<'a> {
    pub(super) query: &'a Query,
    label_bytes_max: usize,
    families: Arc<Vec<Family>>,
    report: QueryReport,
    /// Why it was not sent, if something other than its conditions prevented it.
    not_run: Option<Failure>,
}

impl<'a> Run<'a> {
    pub(super) fn new(config: &'a Config, selection: &Selection, limits: &Limits) -> Self {
        let chosen = config.queries.iter().filter(|query| selection.includes(&query.namespace));
        let outcomes = chosen.map(|query| Outcome::new(query, limits.label_bytes)).collect();
        Self { up: false, room: Room::new(limits.series), outcomes }
    }

    /// No query ran, for one reason.
    pub(super) fn abandoned(mut self, failure: Failure) -> Self {
        self.outcomes.iter_mut().for_each(|outcome| outcome.is_not_run(failure));
        self
    }

    /// Logs how many queries were not sent: one line for each reason, since one cause stops many of them.
    fn log_not_run(&self) {
        for reason in [Failure::Connection, Failure::Deadline] {
            let queries = self.outcomes.iter().filter(|outcome| outcome.not_run == Some(reason)).count();
            // If there was no connection from the start, the reason is already logged.
            let is_known = reason == Failure::Connection && queries == self.outcomes.len();
            if queries > 0 && !is_known {
                tracing::warn!(reason = reason.as_str(), queries, "queries not run");
            }
        }
    }

    /// The families and the report of each query.
    pub(super) fn into_results(self) -> Vec<(Arc<Vec<Family>>, QueryReport)> {
        self.log_not_run();
        self.outcomes.into_iter().map(|outcome| (outcome.families, outcome.report)).collect()
    }
}

impl<'a> Outcome<'a> {
    fn new(query: &'a Query, label_bytes_max: usize) -> Self {
        // A query that never begins must not count as successful.
        let report = report(&query.namespace, Failure::Other);
        Self { query, label_bytes_max, families: Arc::default(), report, not_run: None }
    }

    /// The query fails without being sent. A cached result is not used.
    pub(super) fn is_not_run(&mut self, failure: Failure) {
        self.not_run = Some(failure);
        self.families = Arc::default();
        self.report = report(&self.query.namespace, failure);
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        self.report.verdict = Verdict::Failed(failure);
    }

    pub(super) fn skip(&mut self, skip: Skip) {
        self.report.verdict = Verdict::Skipped(skip);
    }

    pub(super) fn took(&mut self, duration: Duration) {
        self.report.duration = Some(duration);
    }

    /// Takes the cached result of an earlier scrape.
    pub(super) fn take_kept(&mut self, good: Good, age: Duration) {
        self.report.verdict = Verdict::Succeeded;
        self.report.rows = Some(good.rows);
        self.report.dropped = good.dropped;
        self.report.cache_age = Some(age);
        self.families = good.families;
    }

    /// The families of the query's result.
    pub(super) fn families(&self) -> &[Family] {
        &self.families
    }

    /// Discards the result of the query, which fails for this reason instead.
    pub(super) fn withdraw(&mut self, failure: Failure) {
        self.families = Arc::default();
        self.report.cache_age = None;
        self.fail(failure);
    }

    /// Turns the server's result into families. Returns a successful result that may be cached.
    pub(super) fn take(&mut self, table: &Table) -> Option<Good> {
        self.report.rows = Some(table.row_count());
        let query_name = &self.query.namespace;
        let sampled = match sampling::sample(self.query, table, self.label_bytes_max) {
            Ok(sampled) => sampled,
            Err(error) => {
                tracing::warn!(query = query_name, reason = Failure::Config.as_str(), %error, "query failed");
                self.fail(Failure::Config);
                return None;
            }
        };
        for note in &sampled.notes {
            tracing::warn!(query = query_name, note, "the result is not exposed completely");
        }
        for missing in &sampled.missing {
            tracing::warn!(
                query = query_name,
                reason = Failure::Config.as_str(),
                error = %missing,
                "column missing"
            );
        }
        self.report.dropped = sampled.dropped;
        self.families = Arc::new(sampled.families);
        if !sampled.missing.is_empty() {
            self.fail(Failure::Config);
            return None;
        }
        self.report.verdict = Verdict::Succeeded;
        self.query.cache?;
        self.report.cache_age = Some(Duration::ZERO);
        Some(Good {
            families: Arc::clone(&self.families),
            rows: table.row_count(),
            dropped: sampled.dropped,
            at: Moment::now(),
        })
    }
}

/// The report of a query that failed before it ran.
pub(super) fn report(namespace: &str, failure: Failure) -> QueryReport {
    QueryReport {
        query: namespace.to_owned(),
        verdict: Verdict::Failed(failure),
        duration: None,
        rows: None,
        dropped: Dropped::default(),
        cache_age: None,
    }
}
