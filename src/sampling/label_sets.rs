//! Which label sets are one to Prometheus.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use crate::metric::Labels;

/// A label set, equal to those that Prometheus cannot tell from it.
#[derive(Debug, Clone)]
pub(super) struct Identity(Labels);

impl Identity {
    /// Cheap: the label set is shared.
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

/// Label sets under numbers from 0, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct LabelSets(HashMap<Identity, usize>);

impl LabelSets {
    /// The number of these labels, which is new unless there is an identical set, and the labels.
    pub(super) fn number(&mut self, labels: Labels) -> (usize, Labels) {
        let new = self.0.len();
        (*self.0.entry(Identity::of(&labels)).or_insert(new), labels)
    }
}
