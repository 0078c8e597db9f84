//! The values of a column's keys: numbers, lists of numbers, and texts with numbers.

use crate::config::boolean::boolean;
use crate::config::report::At;
use crate::config::yaml::Node;

pub(super) fn number(node: &Node, at: &mut At<'_>) -> Option<f64> {
    let text = at.text(node)?.trim();
    // YAML writes `.inf` and `.nan` where Rust has no dot.
    let number = match text.trim_start_matches(['+', '-']).to_ascii_lowercase().as_str() {
        ".inf" | ".nan" => text.replacen('.', "", 1).parse().ok(),
        _ => text.parse().ok(),
    };
    if number.is_none() {
        at.error("not a number", "");
    }
    number
}

pub(super) fn scale(node: &Node, at: &mut At<'_>) -> Option<f64> {
    let scale = number(node, at)?;
    if !scale.is_finite() || scale == 0.0 {
        at.error("cannot be a factor", "write a finite number that is not zero");
        return None;
    }
    Some(scale)
}

/// Ascending upper bounds. `+Inf` always exists, so a written one is left out.
pub(super) fn buckets(node: &Node, at: &mut At<'_>) -> Option<Vec<f64>> {
    let mut bounds = rising(node, at)?;
    if bounds.last() == Some(&f64::INFINITY) {
        bounds.pop();
    }
    check(!bounds.is_empty(), "no buckets", "list the upper bounds", at)?;
    check(
        bounds.iter().all(|bound| bound.is_finite()),
        "a bound that is not finite",
        "remove it: +Inf is always there",
        at,
    )?;
    Some(bounds)
}

pub(super) fn quantiles(node: &Node, at: &mut At<'_>) -> Option<Vec<f64>> {
    let quantiles = rising(node, at)?;
    check(!quantiles.is_empty(), "no quantiles", "list them, such as [0.5, 0.9, 0.99]", at)?;
    let within = quantiles.iter().all(|quantile| (0.0..=1.0).contains(quantile));
    check(within, "a quantile outside of 0 to 1", "the 99th percentile is 0.99", at)?;
    Some(quantiles)
}

/// States without duplicates and without the empty text: to Prometheus, an empty label does not exist.
pub(super) fn states(node: &Node, at: &mut At<'_>) -> Option<Vec<String>> {
    let items = at.list(node)?;
    let mut states: Vec<String> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let mut at = at.item(index);
        let Some(state) = at.text(item) else { continue };
        if state.is_empty() {
            at.error("a state without a name", "");
        } else if states.iter().any(|known| known == state) {
            at.error("the state appears twice", "remove one");
        } else if let Some(known) = states.iter().find(|known| is_same_boolean(known, state)) {
            at.error(format!("the state is the same boolean as {known:?}"), "remove one");
        } else {
            states.push(state.to_owned());
        }
    }
    check(!items.is_empty(), "no states", "list all of them", at)?;
    (states.len() == items.len()).then_some(states)
}

pub(super) fn mapping(node: &Node, at: &mut At<'_>) -> Option<Vec<(String, f64)>> {
    let entries = at.map(node)?;
    check(!entries.is_empty(), "no mapping", "write each text and its number, such as {up: 1, down: 0}", at)?;
    let numbers: Vec<_> = at
        .unique(entries)
        .into_iter()
        .map(|(text, node)| Some((text.to_owned(), number(node, &mut at.key(text))?)))
        .collect();
    let mapping: Vec<(String, f64)> = numbers.into_iter().collect::<Option<_>>()?;
    for (index, (text, number)) in mapping.iter().enumerate() {
        let is_other = |known: &&(String, f64)| is_same_boolean(&known.0, text) && known.1 != *number;
        if let Some((known, _)) = mapping.iter().take(index).find(is_other) {
            at.key(text).error(
                format!("the key is the same boolean as {known:?}, which has another number"),
                "give both the same number, or remove one",
            );
            return None;
        }
    }
    Some(mapping)
}

fn is_same_boolean(a: &str, b: &str) -> bool {
    boolean(a).is_some_and(|truth| boolean(b) == Some(truth))
}

fn rising(node: &Node, at: &mut At<'_>) -> Option<Vec<f64>> {
    let items = at.list(node)?.iter().enumerate();
    let numbers: Vec<_> = items.map(|(index, item)| number(item, &mut at.item(index))).collect();
    let numbers = numbers.into_iter().collect::<Option<Vec<_>>>()?;
    let falls = numbers.windows(2).position(|pair| !matches!(pair, [low, high] if low < high));
    if let Some(index) = falls {
        at.item(index + 1).error("not above the one before it", "order them from small to large");
        return None;
    }
    Some(numbers)
}

fn check(holds: bool, message: &str, hint: &str, at: &mut At<'_>) -> Option<()> {
    if !holds {
        at.error(message, hint);
    }
    holds.then_some(())
}
