//! Merges the results of all queries into one exposition, in which each name has one meaning.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use super::dropped::{Dropped, Reason};
use super::label_sets::Identity;
use crate::config::{Column, Query, Usage};
use crate::metric::{Family, Kind, Metric, MetricName};

/// Merges the families of all queries, in their order, into one exposition.
///
/// Families of one name and type become one, at the place and with the HELP of the first. If two metrics have
/// equal labels, the first stays and the other is a duplicate of its query.
///
/// A family is dropped if it claims a name that another family has [claimed](Kind::claimed_names), or a
/// reserved one. Its metrics are invalid ones of its query. Declared families claim their names before
/// undeclared columns, even without metrics; otherwise the first claim counts. A family that only shares
/// [names of its type](Kind::names_of_type) stays, and is [retyped](Family::is_retyped).
///
/// Families without metrics are left out. The returned counts include the metrics dropped here.
pub fn merge(results: Vec<(Vec<Family>, Dropped)>) -> (Vec<Family>, Vec<Dropped>) {
    merge_among(&[], results)
}

/// Like [`merge`], but the [`declared`] families claim their names first, even if their queries have no
/// result. A series must not change its type or its source because another query was skipped or failed.
pub fn merge_among(declared: &[Family], results: Vec<(Vec<Family>, Dropped)>) -> (Vec<Family>, Vec<Dropped>) {
    let claims = Claims::of(declared.iter().chain(results.iter().flat_map(|(families, _)| families)));
    let mut merged = Merged::default();
    let dropped = results
        .into_iter()
        .map(|(families, mut dropped)| {
            for mut family in families {
                if claims.hold(&family) {
                    family.is_retyped = claims.retype(&family);
                    merged.add(family, &mut dropped);
                } else {
                    family.metrics.iter().for_each(|_| dropped.add(Reason::Invalid));
                }
            }
            dropped
        })
        .collect();
    let families = merged.families.into_iter().filter(|family| !family.metrics.is_empty()).collect();
    (families, dropped)
}

/// The families that queries declare, without metrics.
pub fn declared(queries: &[Query]) -> Vec<Family> {
    let columns = queries.iter().flat_map(|query| &query.columns);
    let family = |column: &Column| match &column.usage {
        Usage::Metric(metric) => Some(Family {
            name: metric.family.clone(),
            help: String::new(),
            kind: metric.reading.kind(),
            is_retyped: false,
            metrics: Vec::new(),
        }),
        Usage::Label(_) | Usage::Timestamp | Usage::Discard => None,
    };
    columns.filter_map(family).collect()
}

#[derive(Default)]
struct Claims {
    /// The family that a name belongs to.
    owners: HashMap<String, (MetricName, Kind)>,
    /// The families that need a name in OpenMetrics to keep their type.
    of_types: HashMap<String, HashSet<MetricName>>,
}

impl Claims {
    fn of<'a>(families: impl Iterator<Item = &'a Family> + Clone) -> Self {
        let mut claims = Self::default();
        let (undeclared, declared): (Vec<_>, Vec<_>) =
            families.partition(|family| family.kind == Kind::Untyped);
        declared.into_iter().chain(undeclared).for_each(|family| claims.claim(family));
        claims
    }

    fn claim(&mut self, family: &Family) {
        let names = family.kind.claimed_names(&family.name);
        let is_taken = names.iter().any(|name| self.owners.contains_key(name));
        if !is_taken && !family.kind.claims_own_name(&family.name) {
            let owner = (family.name.clone(), family.kind);
            self.owners.extend(names.into_iter().map(|name| (name, owner.clone())));
            for name in family.kind.names_of_type(&family.name) {
                self.of_types.entry(name).or_default().insert(family.name.clone());
            }
        }
    }

    fn retype(&self, family: &Family) -> bool {
        let is_shared = |name: &String| {
            self.owners.contains_key(name)
                || self.of_types.get(name).is_some_and(|needed_by| needed_by.len() > 1)
        };
        family.kind.names_of_type(&family.name).iter().any(is_shared)
    }

    fn hold(&self, family: &Family) -> bool {
        self.owners
            .get(family.name.as_str())
            .is_some_and(|(name, kind)| *name == family.name && *kind == family.kind)
    }
}

#[derive(Default)]
struct Merged {
    families: Vec<Family>,
    places: HashMap<MetricName, usize>,
    /// The label sets of families with metrics of several queries.
    seen: HashMap<usize, HashSet<Identity>>,
}

impl Merged {
    fn add(&mut self, family: Family, dropped: &mut Dropped) {
        let place = match self.places.entry(family.name.clone()) {
            Entry::Occupied(place) => *place.get(),
            Entry::Vacant(place) => {
                place.insert(self.families.len());
                self.families.push(family);
                return;
            }
        };
        let Some(first) = self.families.get_mut(place) else { return };
        let identity = |metric: &Metric| Identity::of(&metric.labels);
        let seen = self.seen.entry(place).or_insert_with(|| first.metrics.iter().map(identity).collect());
        for metric in family.metrics {
            if seen.insert(identity(&metric)) {
                first.metrics.push(metric);
            } else {
                dropped.add(Reason::Duplicate);
            }
        }
    }
}
