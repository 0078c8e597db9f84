//! The last result of each query in this environment, for the landing page: no samples, no SQL, no target.

use std::collections::HashMap;

use super::account::Scrape;
use crate::age::Moment;
use crate::config::Config;
use crate::self_metrics::QueryReport;

/// The last result of each query in this environment. Each environment of the function has its own.
#[derive(Debug, Clone)]
pub struct Overview {
    /// The last scrape, if there was one.
    pub last_scrape: Option<LastScrape>,
    /// All namespaces in the order of the files; disabled ones follow.
    pub queries: Vec<QueryState>,
}

/// A summary of the last scrape.
#[derive(Debug, Clone, Copy)]
pub struct LastScrape {
    /// Whether the database was reachable.
    pub up: bool,
    /// When it ended.
    pub at: Moment,
}

/// A namespace and its last result.
#[derive(Debug, Clone)]
pub struct QueryState {
    /// The namespace.
    pub namespace: String,
    /// Whether a mistake in the configuration disables it.
    pub is_disabled: bool,
    /// Its result in the last scrape that chose it, and when that scrape ended.
    pub last: Option<(QueryReport, Moment)>,
}

/// The results of the scrapes so far.
#[derive(Debug, Default)]
pub(super) struct Noted {
    last_scrape: Option<LastScrape>,
    reports: HashMap<String, (QueryReport, Moment)>,
}

impl Noted {
    /// Keeps the results of a scrape. Queries that the scrape did not choose keep their last result.
    pub(super) fn note(&mut self, scrape: &Scrape, now: Moment) {
        self.last_scrape = Some(LastScrape { up: scrape.own.up, at: now });
        let reports = scrape.own.queries.iter().map(|report| (report.query.clone(), (report.clone(), now)));
        self.reports.extend(reports);
    }

    pub(super) fn overview(&self, config: &Config) -> Overview {
        let state = |namespace: &String, is_disabled| QueryState {
            namespace: namespace.clone(),
            is_disabled,
            last: self.reports.get(namespace).cloned(),
        };
        let queries = config.queries.iter().map(|query| state(&query.namespace, false));
        let disabled = config.disabled.iter().map(|namespace| state(namespace, true));
        Overview { last_scrape: self.last_scrape, queries: queries.chain(disabled).collect() }
    }
}
