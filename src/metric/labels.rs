//! The label sets of one result, each once, in a few large buffers: no allocation for a row.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::LabelName;

/// The label sets of one result. Each has a number, in the order of arrival.
#[derive(Debug, Clone, Default)]
pub struct LabelSets {
    names: Vec<Vec<LabelName>>,
    sets: Vec<Set>,
    /// The end of each value in `text`. A value begins at the end of the previous one.
    ends: Vec<u32>,
    text: String,
    known: Known,
}

#[derive(Debug, Clone, Copy)]
struct Set {
    /// An index of [`LabelSets::names`].
    names: u32,
    /// The first value, an index of [`LabelSets::ends`].
    first: u32,
    /// The first set that Prometheus takes for the same.
    identity: u32,
}

/// Finds a set that is equal to another. Not needed when all rows have arrived.
#[derive(Debug, Clone, Default)]
struct Known {
    state: RandomState,
    hashes: Vec<u64>,
    index: HashTable<u32>,
}

/// The names of label sets that come with values in the order of a result.
#[derive(Debug, Clone)]
pub struct LabelNames {
    index: u32,
    /// The place of each name's value, in the order of the names.
    places: Vec<usize>,
}

impl LabelSets {
    /// Prepares for label sets with these names, in any order.
    ///
    /// # Errors
    /// The name that appears twice.
    pub fn names(&mut self, names: &[&LabelName]) -> Result<LabelNames, LabelName> {
        let mut placed: Vec<(&LabelName, usize)> = names.iter().copied().zip(0..).collect();
        placed.sort();
        let twice = placed.iter().zip(placed.iter().skip(1)).find(|((a, _), (b, _))| a == b);
        if let Some(((name, _), _)) = twice {
            return Err((*name).clone());
        }
        let (sorted, places): (Vec<_>, Vec<_>) =
            placed.into_iter().map(|(name, at)| (name.clone(), at)).unzip();
        let known = self.names.iter().position(|names| *names == sorted);
        let index = known.unwrap_or_else(|| {
            self.names.push(sorted);
            self.names.len() - 1
        });
        Ok(LabelNames { index: narrow(index), places })
    }

    /// The number of the label set with the value that `value_at` has for each place.
    pub fn number<'v>(&mut self, names: &LabelNames, value_at: impl Fn(usize) -> &'v str) -> u32 {
        let Self { names: all_names, sets, ends, text, known: Known { state, hashes, index } } = self;
        let (set, first, begin) = (narrow(sets.len()), ends.len(), text.len());
        let mut hasher = state.build_hasher();
        for &place in &names.places {
            let value = value_at(place);
            text.push_str(value);
            ends.push(narrow(text.len()));
            // The names are the same for most sets of a result, so hashing them is not worth it.
            if !value.is_empty() {
                hasher.write(value.as_bytes());
            }
        }
        sets.push(Set { names: names.index, first: narrow(first), identity: set });
        let pairs = |set| with_value(pairs_of(all_names, sets, ends, text, set));
        let hash = hasher.finish();
        let is_same = |&other: &u32| hashes.get(other as usize) == Some(&hash) && pairs(other).eq(pairs(set));
        let has_names = |other: u32| sets.get(other as usize).is_some_and(|set| set.names == names.index);
        if let Some(&equal) = index.find(hash, |other| has_names(*other) && is_same(other)) {
            sets.pop();
            ends.truncate(first);
            text.truncate(begin);
            return equal;
        }
        // Sets with the same names are the same only if they are equal.
        let same = if all_names.len() > 1 { index.find(hash, is_same).copied() } else { None };
        let identity = same.and_then(|same| sets.get(same as usize)).map_or(set, |same| same.identity);
        if let Some(set) = sets.last_mut() {
            set.identity = identity;
        }
        hashes.push(hash);
        index.insert_unique(hash, set, |&set| hashes.get(set as usize).copied().unwrap_or_default());
        set
    }

    /// The number of the first set that Prometheus takes for the same, since an empty value is the same as no label.
    pub(crate) fn identity(&self, set: u32) -> u32 {
        self.sets.get(set as usize).map_or(set, |set| set.identity)
    }

    /// No set follows: frees what only [`LabelSets::number`] needs.
    pub(crate) fn finish(&mut self) {
        self.known = Known::default();
    }

    /// The names of a set in their order.
    pub(crate) fn names_of(&self, set: u32) -> &[LabelName] {
        let names = self.sets.get(set as usize).and_then(|set| self.names.get(set.names as usize));
        names.map_or(&[], Vec::as_slice)
    }

    /// The pairs of a set in the order of the names.
    pub fn pairs(&self, set: u32) -> impl Iterator<Item = (&LabelName, &str)> {
        pairs_of(&self.names, &self.sets, &self.ends, &self.text, set)
    }

    /// The pairs that tell one series from another.
    pub(crate) fn pairs_with_value(&self, set: u32) -> impl Iterator<Item = (&LabelName, &str)> {
        with_value(self.pairs(set))
    }

    /// Whether any value has a character that `exposition::text` escapes in both formats. Without branches, so that the
    /// compiler makes vector instructions.
    pub(crate) fn needs_escaping(&self) -> bool {
        let is_special = |byte: u8| (byte == b'"') | (byte == b'\\') | (byte == b'\n');
        self.text.bytes().fold(false, |found, byte| found | is_special(byte))
    }

    /// The length of a set as text: its names, its values and the four characters around each.
    pub(crate) fn text_bytes(&self) -> impl Fn(u32) -> usize {
        let of_names = |names: &Vec<LabelName>| {
            (names.len(), names.iter().map(|name| name.as_str().len() + 4).sum::<usize>())
        };
        let names: Vec<_> = self.names.iter().map(of_names).collect();
        let begin = |value: usize| {
            let before = value.checked_sub(1).and_then(|before| self.ends.get(before));
            before.map_or(0, |&end| end as usize)
        };
        move |set| {
            let Some(set) = self.sets.get(set as usize) else { return 0 };
            let (count, bytes) = names.get(set.names as usize).copied().unwrap_or_default();
            let first = set.first as usize;
            bytes + begin(first + count) - begin(first)
        }
    }

    /// The memory of all sets, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
            + self.ends.len() * size_of::<u32>()
            + self.sets.len() * size_of::<Set>()
            + self.known.hashes.len() * (size_of::<u64>() + size_of::<u32>())
    }
}

fn with_value<'a, P: Iterator<Item = (&'a LabelName, &'a str)>>(pairs: P) -> impl Iterator<Item = P::Item> {
    pairs.filter(|(_, value)| !value.is_empty())
}

fn pairs_of<'a>(
    all_names: &'a [Vec<LabelName>],
    sets: &[Set],
    ends: &'a [u32],
    text: &'a str,
    set: u32,
) -> impl Iterator<Item = (&'a LabelName, &'a str)> + use<'a> {
    let Set { names, first, .. } =
        sets.get(set as usize).copied().unwrap_or(Set { names: u32::MAX, first: 0, identity: 0 });
    let mut begin = match first.checked_sub(1) {
        None => 0,
        Some(before) => ends.get(before as usize).copied().unwrap_or_default() as usize,
    };
    let names = all_names.get(names as usize).map_or(&[][..], Vec::as_slice);
    names.iter().zip(ends.get(first as usize..).unwrap_or_default()).map(move |(name, &end)| {
        let value = text.get(begin..end as usize).unwrap_or_default();
        begin = end as usize;
        (name, value)
    })
}

/// The limits of a scrape keep all numbers far below this.
fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_sets_are_sorted_and_unique() {
        let [a, b, c] = ["a", "b", "c"].map(|text| LabelName::new(text).unwrap());
        let mut sets = LabelSets::default();
        let names = sets.names(&[&b, &c, &a]).unwrap();
        let fewer = sets.names(&[&a, &b]).unwrap();
        let set = sets.number(&names, |place| ["1", "", "3"][place]);
        let pairs: Vec<_> = sets.pairs(set).map(|(name, value)| (name.as_str(), value)).collect();
        assert_eq!(pairs, [("a", "3"), ("b", "1"), ("c", "")]);
        assert_eq!(sets.pairs_with_value(set).count(), 2);
        assert_eq!(sets.names(&[&a, &b, &a]).unwrap_err(), a);
        // An empty value is the same as no label.
        for (values, is_same) in [(["3", "1"], true), (["1", "3"], false), (["31", ""], false)] {
            let other = sets.number(&fewer, |place| values[place]);
            assert_eq!((sets.identity(other) == set, sets.pairs(other).count()), (is_same, 2), "{values:?}");
            assert_eq!(sets.number(&fewer, |place| values[place]), other);
        }
    }

    #[test]
    fn thousands_of_label_sets_keep_their_numbers() {
        let name = LabelName::new("a").unwrap();
        let mut sets = LabelSets::default();
        let names = sets.names(&[&name]).unwrap();
        for _ in 0..2 {
            for number in 0..5000 {
                let text = number.to_string();
                assert_eq!(sets.number(&names, |_| text.as_str()), number);
            }
        }
    }
}
