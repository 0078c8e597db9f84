//! The order in which queries run. The exposition keeps the order of the files.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use super::databases::{Key, Run};

/// Which queries were slow or were not reached in earlier scrapes, and which databases hung.
#[derive(Debug, Default)]
pub(super) struct Order {
    queries: HashMap<Key, Standing>,
    /// The databases in which the last login took all of its time.
    hung: HashSet<String>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Standing {
    /// Whether it used up its own time when it last ran.
    is_slow: bool,
    /// In how many scrapes in a row it had no time, or too little.
    waits: u32,
}

impl Order {
    /// The positions of `runs` in the order in which they run. The query that waited longest goes first, so that every query has
    /// its turn. Slow queries go last, so that they do not take the time of all others. The queries of other
    /// databases follow, database by database. The database with the query that waited longest is first, and a database that
    /// hung is last.
    pub(super) fn of(&self, runs: &[Run<'_>]) -> Vec<usize> {
        let standing = |run: &Run<'_>| self.queries.get(&run.key()).copied().unwrap_or_default();
        let mut waits: HashMap<&str, u32> = HashMap::new();
        for run in runs.iter().filter(|run| run.is_elsewhere) {
            let most = waits.entry(run.database.as_deref().unwrap_or_default()).or_default();
            *most = standing(run).waits.max(*most);
        }
        let mut order: Vec<_> = (0..runs.len()).collect();
        order.sort_by_cached_key(|&position| {
            runs.get(position).map(|run| {
                let Standing { is_slow, waits: own } = standing(run);
                let database = run.database.as_deref().filter(|_| run.is_elsewhere);
                let elsewhere =
                    database.map(|name| (self.has_hung(name), Reverse(waits.get(name).copied()), name));
                (elsewhere, is_slow, Reverse(own), position)
            })
        });
        order
    }

    /// The query had no time, or too little.
    pub(super) fn waited(&mut self, run: &Run<'_>) {
        self.queries.entry(run.key()).or_default().waits += 1;
    }

    /// The query had the time that it may take. An unknown query is an ordinary one.
    pub(super) fn ran(&mut self, run: &Run<'_>, is_slow: bool) {
        match is_slow {
            true => self.queries.insert(run.key(), Standing { is_slow, waits: 0 }),
            false => self.queries.remove(&run.key()),
        };
    }

    /// Whether the last login at the database took all of its time.
    pub(super) fn has_hung(&self, database: &str) -> bool {
        self.hung.contains(database)
    }

    /// Remembers whether a login at the database took all of its time.
    pub(super) fn note_login(&mut self, database: &str, has_hung: bool) {
        match has_hung {
            true => self.hung.insert(database.to_owned()),
            false => self.hung.remove(database),
        };
    }

    /// Forgets the queries that `is_known` does not know.
    pub(super) fn retain(&mut self, is_known: impl Fn(&Key) -> bool) {
        self.queries.retain(|key, _| is_known(key));
    }
}
