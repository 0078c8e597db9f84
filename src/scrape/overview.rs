//! What the queries last came to in this environment, for a person who looks: no samples, no SQL, nothing of the target.

use std::collections::HashMap;

use super::account::Scrape;
use crate::age::Moment;
use crate::config::Config;
use crate::self_metrics::QueryReport;

/// The queries and how they last ended in this environment. Another environment of the function has its own.
#[derive(Debug, Clone)]
pub struct Overview {
    /// The last scrape, if there was one.
    pub last_scrape: Option<LastScrape>,
    /// Every namespace in the order of the files, those that are disabled behind the others.
    pub queries: Vec<QueryState>,
}

/// A scrape of which only this is known any more.
#[derive(Debug, Clone, Copy)]
pub struct LastScrape {
    /// Whether the database was there.
    pub up: bool,
    /// When it ended.
    pub at: Moment,
}

/// A namespace and how it last ended.
#[derive(Debug, Clone)]
pub struct QueryState {
    /// The namespace.
    pub namespace: String,
    /// Whether a mistake in the configuration keeps it from running at all.
    pub is_disabled: bool,
    /// What became of it in the last scrape that chose it, and when that ended.
    pub last: Option<(QueryReport, Moment)>,
}

/// What has been noted of the scrapes so far.
#[derive(Debug, Default)]
pub(super) struct Noted {
    last_scrape: Option<LastScrape>,
    reports: HashMap<String, (QueryReport, Moment)>,
}

impl Noted {
    /// Notes what a scrape came to; of queries that it did not choose the last outcome stays.
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
