//! Label sets, which many metrics share.

use std::sync::Arc;

use super::LabelName;

/// The names that many label sets have in common, each once.
#[derive(Debug, Clone, Default)]
pub struct LabelNames {
    sorted: Arc<[LabelName]>,
    /// The place of each in the order that they were given in.
    places: Vec<usize>,
}

impl LabelNames {
    /// Takes the names in any order.
    ///
    /// # Errors
    /// The name that appears twice.
    pub fn new(names: Vec<LabelName>) -> Result<Self, LabelName> {
        let mut placed: Vec<(LabelName, usize)> = names.into_iter().zip(0..).collect();
        placed.sort();
        let twice = placed.iter().zip(placed.iter().skip(1)).find(|((a, _), (b, _))| a == b);
        if let Some(((name, _), _)) = twice {
            return Err(name.clone());
        }
        let (sorted, places): (Vec<_>, Vec<_>) = placed.into_iter().unzip();
        Ok(Self { sorted: sorted.into(), places })
    }

    /// The label set with these values, in the order in which the names were given. A missing value is empty.
    pub fn with(&self, values: &[&str]) -> Labels {
        let in_order = || self.places.iter().map(|&place| values.get(place).copied().unwrap_or_default());
        let mut text = String::with_capacity(in_order().map(str::len).sum());
        let ends = in_order().map(|value| {
            text.push_str(value);
            text.len()
        });
        let ends = ends.collect();
        Labels(Arc::new(LabelSet { names: self.sorted.clone(), ends, text: text.into_boxed_str() }))
    }
}

/// The label set of one metric, sorted by name, each name once. Cheap to clone: the metrics of a row share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Labels(Arc<LabelSet>);

/// Few allocations, since there may be many thousand.
#[derive(Debug, PartialEq, Eq, Hash, Default)]
struct LabelSet {
    names: Arc<[LabelName]>,
    /// The end of each value in `text`; it begins where the one before it ends.
    ends: Box<[usize]>,
    text: Box<str>,
}

impl Labels {
    /// The pairs in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&LabelName, &str)> {
        let mut begin = 0;
        self.0.names.iter().zip(&self.0.ends).map(move |(name, &end)| {
            let value = self.0.text.get(begin..end);
            begin = end;
            (name, value.unwrap_or_default())
        })
    }

    /// The pairs that tell one series from another: to Prometheus an empty value is the same as no label.
    pub fn identity(&self) -> impl Iterator<Item = (&LabelName, &str)> {
        self.iter().filter(|(_, value)| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_unique() {
        let name = |text| LabelName::new(text).unwrap();
        let names = LabelNames::new(vec![name("b"), name("c"), name("a")]).unwrap();
        let labels = names.with(&["1", "", "3"]);
        let pairs: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value)).collect();
        assert_eq!(pairs, [("a", "3"), ("b", "1"), ("c", "")]);
        assert_eq!(labels.identity().count(), 2);
        assert_eq!(names.with(&["1"]), names.with(&["1", "", ""]));
        assert_eq!(LabelNames::new(vec![name("a"), name("b"), name("a")]).unwrap_err(), name("a"));
    }
}
