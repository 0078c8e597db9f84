//! The keys of a column that hold values: numbers, lists of them, and texts that stand for numbers.

use super::Word;
use crate::config::node::Node;
use crate::config::report::{At, Standing, standings};

/// The values as they are written. The inner `None` of a list is one with a mistake, which is reported.
#[derive(Default)]
pub(super) struct Values {
    pub(super) mapping: Option<Option<Vec<(String, f64)>>>,
    pub(super) buckets: Option<Option<Vec<f64>>>,
    pub(super) quantiles: Option<Option<Vec<f64>>>,
    pub(super) states: Option<Option<Vec<String>>>,
    pub(super) default: Option<f64>,
    pub(super) scale: Option<f64>,
}

impl Values {
    /// Keys that mean nothing to the column's usage are passed over.
    pub(super) fn warn_of_misplaced(&self, word: Word, at: &mut At<'_>) {
        use Word::{Counter, Duration, Gauge, Histogram, Mapped, StateSet, Summary};
        let keys: [(&str, bool, &[Word]); 6] = [
            ("metric_mapping", self.mapping.is_some(), &[Mapped]),
            ("buckets", self.buckets.is_some(), &[Histogram]),
            ("quantiles", self.quantiles.is_some(), &[Summary]),
            ("states", self.states.is_some(), &[StateSet]),
            ("default", self.default.is_some(), &[Gauge, Counter, Mapped, Duration]),
            ("scale", self.scale.is_some(), &[Gauge, Counter, Mapped, Duration, Histogram, Summary]),
        ];
        for (key, is_given, words) in keys {
            if is_given && !words.contains(&word) {
                at.key(key).ignored("the key means nothing to this usage", "");
            }
        }
    }
}

pub(super) fn number(node: &Node, at: &mut At<'_>) -> Option<f64> {
    let number = at.text(node)?.trim().parse().ok();
    if number.is_none() {
        at.error("no number", "");
    }
    number
}

pub(super) fn scale(node: &Node, at: &mut At<'_>) -> Option<f64> {
    let scale = number(node, at)?;
    if !scale.is_finite() || scale == 0.0 {
        at.error("no factor", "write a number that is not zero");
        return None;
    }
    Some(scale)
}

/// Upper bounds that rise. `+Inf` is always there, so one that is written is left out.
pub(super) fn buckets(node: &Node, at: &mut At<'_>) -> Option<Vec<f64>> {
    let mut bounds = rising(node, at)?;
    if bounds.last() == Some(&f64::INFINITY) {
        bounds.pop();
    }
    check(!bounds.is_empty(), "no buckets", "list the upper bounds", at)?;
    check(bounds.iter().all(|bound| bound.is_finite()), "a bound that is not finite", "", at)?;
    Some(bounds)
}

pub(super) fn quantiles(node: &Node, at: &mut At<'_>) -> Option<Vec<f64>> {
    let quantiles = rising(node, at)?;
    check(!quantiles.is_empty(), "no quantiles", "list them, such as [0.5, 0.9, 0.99]", at)?;
    let within = quantiles.iter().all(|quantile| (0.0..=1.0).contains(quantile));
    check(within, "a quantile outside of 0 to 1", "the 99th percentile is 0.99", at)?;
    Some(quantiles)
}

pub(super) fn states(node: &Node, at: &mut At<'_>) -> Option<Vec<String>> {
    let items = at.list(node)?;
    let mut states: Vec<String> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let mut at = at.item(index);
        let state = at.text(item)?;
        check(!states.iter().any(|known| known == state), "a state that stands twice", "", &mut at)?;
        states.push(state.to_owned());
    }
    check(!states.is_empty(), "no states", "list all of them", at)?;
    Some(states)
}

pub(super) fn mapping(node: &Node, at: &mut At<'_>) -> Option<Vec<(String, f64)>> {
    let entries = at.map(node)?;
    check(!entries.is_empty(), "no mapping", "write each text and its number, such as {up: 1, down: 0}", at)?;
    let standings = standings(entries.iter().map(|(text, _)| text.as_str()));
    let mut mapping = Vec::new();
    for ((text, node), standing) in entries.iter().zip(standings) {
        let mut at = at.key(text);
        match standing {
            Standing::Replaced => continue,
            Standing::Replacing => at.warning("stands more than once", "the last one counts"),
            Standing::Only => {}
        }
        mapping.push((text.clone(), number(node, &mut at)?));
    }
    Some(mapping)
}

fn rising(node: &Node, at: &mut At<'_>) -> Option<Vec<f64>> {
    let mut numbers: Vec<f64> = Vec::new();
    for (index, item) in at.list(node)?.iter().enumerate() {
        let mut at = at.item(index);
        let number = number(item, &mut at)?;
        let rises = !number.is_nan() && numbers.last().is_none_or(|&last| last < number);
        check(rises, "not above the one before it", "order them from small to large", &mut at)?;
        numbers.push(number);
    }
    Some(numbers)
}

fn check(holds: bool, message: &str, hint: &str, at: &mut At<'_>) -> Option<()> {
    if !holds {
        at.error(message, hint);
    }
    holds.then_some(())
}
