//! The order in which queries run. The exposition keeps the order of the files.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::config::Query;

/// Which queries were slow or were not reached in earlier scrapes, by namespace.
#[derive(Debug, Default)]
pub(super) struct Order(HashMap<String, Standing>);

#[derive(Debug, Default, Clone, Copy)]
struct Standing {
    /// Whether it used up its own time when it last ran.
    is_slow: bool,
    /// In how many scrapes in a row it had no time, or too little.
    waits: u32,
}

impl Order {
    /// The positions of `queries` in the order in which they run. The query that waited longest goes first, so that every query has
    /// its turn. Slow queries go last, so that they do not take the time of all others.
    pub(super) fn of(&self, queries: &[&Query]) -> Vec<usize> {
        let standing = |query: &Query| self.0.get(&query.namespace).copied().unwrap_or_default();
        let mut order: Vec<_> = (0..queries.len()).collect();
        order.sort_by_key(|&position| {
            queries.get(position).map(|query| {
                let Standing { is_slow, waits } = standing(query);
                (is_slow, Reverse(waits), position)
            })
        });
        order
    }

    /// The query had no time, or too little.
    pub(super) fn waited(&mut self, query: &Query) {
        self.0.entry(query.namespace.clone()).or_default().waits += 1;
    }

    /// The query had the time that it may take. An unknown query is an ordinary one.
    pub(super) fn ran(&mut self, query: &Query, is_slow: bool) {
        match is_slow {
            true => self.0.insert(query.namespace.clone(), Standing { is_slow, waits: 0 }),
            false => self.0.remove(&query.namespace),
        };
    }
}
