//! Identity of label sets, as Prometheus compares them.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use crate::metric::Labels;

/// A label set that equals every set that Prometheus treats as the same.
#[derive(Debug, Clone)]
pub(super) struct Identity(Labels);

impl Identity {
    /// Cheap, since the labels are shared.
    pub(super) fn of(labels: &Labels) -> Self {
        Self(labels.clone())
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.0.identity().eq(other.0.identity())
    }
}

impl Eq for Identity {}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.identity().for_each(|pair| pair.hash(state));
    }
}

/// Numbers label sets from 0, in the order of arrival.
#[derive(Debug, Default)]
pub(super) struct LabelSets(HashMap<Identity, usize>);

impl LabelSets {
    /// The number of these labels: the number of an identical set, or a new one.
    pub(super) fn number(&mut self, labels: &Labels) -> usize {
        let new = self.0.len();
        *self.0.entry(Identity::of(labels)).or_insert(new)
    }
}
