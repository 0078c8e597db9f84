//! Merges the results of all queries into one exposition, in which each name has one meaning.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::RandomState;
use foldhash::{HashMap, HashSet};
use hashbrown::HashTable;

use super::dropped::{Dropped, Reason};
use crate::config::{Query, Usage};
use crate::metric::{Families, Family, Kind, LabelSets, MetricName};

/// A view of the families of all queries as one exposition. Nothing is copied.
///
/// Families of one name and type become one, at the place and with the HELP of the first. If two metrics have
/// equal labels, the first stays and the other is a duplicate of its query.
///
/// A family is dropped if it claims a name that another family has [claimed](Kind::claimed_names), or a
/// reserved one. Its metrics are invalid ones of its query. Declared families claim their names before
/// undeclared columns, even if their queries have no result: a series must not change its type or its source because
/// another query was skipped or failed. Otherwise the first claim counts. A family that only shares
/// [names of its type](Kind::names_of_type) stays, and is retyped.
///
/// Families without metrics are left out.
#[derive(Debug)]
pub struct Merged<'a> {
    /// In the order of the first part of each.
    pub(crate) families: Vec<MergedFamily<'a>>,
    /// For each result, the metrics that are dropped here.
    pub dropped: Vec<Dropped>,
}

/// All metrics with one name.
#[derive(Debug)]
pub(crate) struct MergedFamily<'a> {
    /// Whether another family needs a [name of the type](Kind::names_of_type). OpenMetrics then shows a counter as
    /// `unknown` and an info metric as a gauge, both under the name that their samples have in either format.
    pub(crate) is_retyped: bool,
    /// At least one, in the order of the results.
    pub(crate) parts: Vec<Part<'a>>,
}

/// The metrics of one result in a family.
#[derive(Debug, Clone)]
pub(crate) struct Part<'a> {
    /// The index of the result.
    result: usize,
    /// The label sets of the result.
    pub(crate) sets: &'a LabelSets,
    /// The metrics.
    pub(crate) family: &'a Family,
    /// The indices of duplicates, ascending.
    duplicates: Vec<usize>,
}

impl Part<'_> {
    /// The indices of the metrics, without duplicates.
    pub(crate) fn indices(&self) -> impl Iterator<Item = usize> {
        let mut duplicates = self.duplicates.iter().copied().peekable();
        (0..self.family.len()).filter(move |index| duplicates.next_if_eq(index).is_none())
    }

    /// The number of metrics, without duplicates.
    pub(crate) fn len(&self) -> usize {
        self.family.len() - self.duplicates.len()
    }

    /// Whether all metrics are duplicates.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a> Merged<'a> {
    /// Merges results in the order of their queries.
    pub fn new(declared: &DeclaredNames, results: impl IntoIterator<Item = &'a Families> + Clone) -> Self {
        let all = results.clone().into_iter().flat_map(|result| &result.families);
        let undeclared = declared.undeclared(all);
        let mut families: Vec<MergedFamily<'_>> = Vec::new();
        let mut places: HashMap<&MetricName, usize> = HashMap::default();
        let mut dropped = Vec::new();
        for (result, Families { sets, families: of_result }) in results.into_iter().enumerate() {
            let mut invalid = Dropped::default();
            for family in of_result {
                if !declared.hold(family) && !undeclared.hold(family) {
                    family.sets.iter().for_each(|_| invalid.add(Reason::Invalid));
                    continue;
                }
                let part = Part { result, sets, family, duplicates: Vec::new() };
                let place = *places.entry(&family.name).or_insert(families.len());
                match families.get_mut(place) {
                    Some(first) => first.parts.push(part),
                    None => {
                        let is_retyped = declared.are_shared(&undeclared, family);
                        families.push(MergedFamily { is_retyped, parts: vec![part] });
                    }
                }
            }
            dropped.push(invalid);
        }
        families.retain(|family| family.parts.iter().any(|part| !part.is_empty()));
        for family in families.iter_mut().filter(|family| family.parts.len() > 1) {
            family.drop_duplicates(&mut dropped);
        }
        Self { families, dropped }
    }
}

impl Merged<'_> {
    /// The number of exposed samples of each result.
    pub fn series(&self) -> Vec<usize> {
        let mut series = vec![0; self.dropped.len()];
        for part in self.families.iter().flat_map(|family| &family.parts) {
            if let Some(series) = series.get_mut(part.result) {
                *series += part.indices().map(|index| part.family.series_at(index)).sum::<usize>();
            }
        }
        series
    }
}

impl MergedFamily<'_> {
    /// The family whose type and help count for all parts.
    pub(crate) fn first(&self) -> Option<&Family> {
        self.parts.first().map(|part| part.family)
    }

    fn drop_duplicates(&mut self, dropped: &mut [Dropped]) {
        let state = RandomState::default();
        let hash = |(sets, set): (&LabelSets, u32)| {
            let mut hasher = state.build_hasher();
            sets.pairs_with_value(set).for_each(|pair| pair.hash(&mut hasher));
            hasher.finish()
        };
        let mut known: HashTable<(&LabelSets, u32)> = HashTable::new();
        for part in &mut self.parts {
            for (index, &set) in part.family.sets.iter().enumerate() {
                let labels = (part.sets, set);
                let hashed = hash(labels);
                let is_equal = |&(sets, other): &(&LabelSets, u32)| {
                    sets.pairs_with_value(other).eq(part.sets.pairs_with_value(set))
                };
                if known.find(hashed, is_equal).is_some() {
                    part.duplicates.push(index);
                    if let Some(dropped) = dropped.get_mut(part.result) {
                        dropped.add(Reason::Duplicate);
                    }
                } else {
                    known.insert_unique(hashed, labels, |&labels| hash(labels));
                }
            }
        }
    }
}

/// The names that families claim.
#[derive(Debug, Default)]
pub struct DeclaredNames {
    /// The family that a name belongs to.
    owners: HashMap<String, (MetricName, Kind)>,
    /// The families that need a name in OpenMetrics to keep their type.
    of_types: HashMap<String, HashSet<MetricName>>,
}

impl DeclaredNames {
    /// The names that the columns of all queries declare.
    pub fn new(queries: &[Query]) -> Self {
        let mut names = Self::default();
        for column in queries.iter().flat_map(|query| &query.columns) {
            if let Usage::Metric(metric) = &column.usage {
                names.claim(&metric.family, metric.reading.kind(), &Self::default());
            }
        }
        names
    }

    /// The exposition of one result as if there were no other.
    pub(crate) fn merge_alone<'a>(&self, result: &'a Families) -> Merged<'a> {
        Merged::new(self, [result])
    }

    /// The names and types of a result's families that are exposed if they have metrics.
    pub(crate) fn exposed(&self, result: &Families) -> Vec<(MetricName, Kind)> {
        let undeclared = self.undeclared(&result.families);
        let exposed = result.families.iter().filter(|family| self.hold(family) || undeclared.hold(family));
        exposed.map(|family| (family.name.clone(), family.kind)).collect()
    }

    /// The names that further families claim.
    fn undeclared<'a>(&self, families: impl IntoIterator<Item = &'a Family>) -> Self {
        let unknown = families.into_iter().filter(|family| !self.hold(family));
        let (last, first): (Vec<_>, Vec<_>) = unknown.partition(|family| family.kind == Kind::Untyped);
        let mut undeclared = Self::default();
        for family in first.into_iter().chain(last) {
            undeclared.claim(&family.name, family.kind, self);
        }
        undeclared
    }

    /// The first claim of a name counts.
    fn claim(&mut self, name: &MetricName, kind: Kind, earlier: &Self) {
        let names = kind.claimed_names(name);
        let is_taken = names.iter().any(|name| self.has(name) || earlier.has(name));
        if !is_taken && !kind.claims_own_name(name) {
            self.owners.extend(names.into_iter().map(|claimed| (claimed, (name.clone(), kind))));
            for needed in kind.names_of_type(name) {
                self.of_types.entry(needed).or_default().insert(name.clone());
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        self.owners.contains_key(name)
    }

    fn hold(&self, family: &Family) -> bool {
        let owner = self.owners.get(family.name.as_str());
        owner.is_some_and(|(name, kind)| *name == family.name && *kind == family.kind)
    }

    /// Whether another family needs a name of the family's type.
    fn are_shared(&self, undeclared: &Self, family: &Family) -> bool {
        let is_needed_by_another = |names: &Self, needed: &String| {
            names
                .of_types
                .get(needed)
                .is_some_and(|families| families.iter().any(|name| *name != family.name))
        };
        family.kind.names_of_type(&family.name).iter().any(|needed| {
            [self, undeclared].iter().any(|names| names.has(needed) || is_needed_by_another(names, needed))
        })
    }
}
