//! The queries of one scrape.

use std::collections::BTreeSet;

use glob::Pattern;

/// The queries of one scrape, by namespace.
#[derive(Debug, Clone)]
pub(crate) struct Selection(BTreeSet<String>);

/// Patterns that match no query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no query is named {}; there are: {}", .patterns.join(", "), .namespaces.join(", "))]
pub(crate) struct UnknownQuery {
    /// The patterns in the given order.
    pub(crate) patterns: Vec<String>,
    /// All namespaces in the order of the files.
    pub(crate) namespaces: Vec<String>,
}

impl Selection {
    /// The `namespaces` that match a pattern of `collect` (all if it is empty) and no pattern of `exclude`.
    /// In a pattern, `*` matches any text, including none. One text may be several patterns with commas between.
    ///
    /// # Errors
    /// [`UnknownQuery`] if a pattern matches nothing, which is usually a mistake.
    pub(crate) fn new(namespaces: &[&str], collect: &[&str], exclude: &[&str]) -> Result<Self, UnknownQuery> {
        let [collect, exclude] = [collect, exclude].map(|texts| patterns(namespaces, texts));
        let unknown = |pattern: &&&str| !namespaces.iter().any(|namespace| matches(pattern, namespace));
        let patterns: Vec<_> =
            collect.iter().chain(&exclude).filter(unknown).map(|&pattern| pattern.to_owned()).collect();
        if !patterns.is_empty() {
            let namespaces = namespaces.iter().map(|&namespace| namespace.to_owned()).collect();
            return Err(UnknownQuery { patterns, namespaces });
        }
        let any = |patterns: &[&str], namespace| patterns.iter().any(|pattern| matches(pattern, namespace));
        let chosen = namespaces
            .iter()
            .filter(|namespace| collect.is_empty() || any(&collect, namespace))
            .filter(|namespace| !any(&exclude, namespace));
        Ok(Self(chosen.map(|&namespace| namespace.to_owned()).collect()))
    }

    pub(super) fn includes(&self, namespace: &str) -> bool {
        self.0.contains(namespace)
    }
}

/// A load balancer keeps only the last of several parameters of one name, so that one parameter may have several patterns. A
/// namespace may have a comma too.
fn patterns<'a>(namespaces: &[&str], texts: &[&'a str]) -> Vec<&'a str> {
    let whole = |text: &str| namespaces.iter().any(|namespace| matches(text, namespace));
    let split = |&text: &&'a str| if whole(text) { vec![text] } else { text.split(',').collect() };
    texts.iter().flat_map(split).collect()
}

/// Only `*` is special.
fn matches(pattern: &str, namespace: &str) -> bool {
    let pieces: Vec<_> = pattern.split('*').map(Pattern::escape).collect();
    // Several stars in a row mean the same as one.
    let mut pattern = pieces.join("*");
    while pattern.contains("**") {
        pattern = pattern.replace("**", "*");
    }
    Pattern::new(&pattern).is_ok_and(|pattern| pattern.matches(namespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_globs() {
        let cases = [
            ("pg_locks", "pg_locks", true),
            ("pg_locks", "pg_locks_count", false),
            ("", "x", false),
            ("*", "x", true),
            ("pg_*", "pg_", true),
            ("pg_*", "apg_x", false),
            ("a*b*c", "a/b.b-c", true),
            ("ab*ba", "aba", false),
            ("a**b", "a_b", true),
            ("pg_?", "pg_ä", false),
            ("pg_[a]", "pg_[a]", true),
            ("pg_[*", "pg_[x", true),
        ];
        for (pattern, namespace, expected) in cases {
            assert_eq!(matches(pattern, namespace), expected, "{pattern} {namespace}");
        }
    }

    #[test]
    fn all_patterns_without_a_match_are_told_at_once() {
        let error = Selection::new(&["a", "b"], &["a", "x*"], &["y", "b"]).unwrap_err();
        assert_eq!(error.to_string(), "no query is named x*, y; there are: a, b");
    }

    #[test]
    fn a_comma_may_be_part_of_a_name() {
        let selection = Selection::new(&["a,b", "a", "b"], &["a,b"], &[]).unwrap();
        assert_eq!(["a,b", "a", "b"].map(|name| selection.includes(name)), [true, false, false]);
        let error = Selection::new(&["a", "b"], &["a,x,y"], &[]).unwrap_err();
        assert_eq!(error.patterns, ["x", "y"]);
    }

    #[test]
    fn what_is_excluded_is_taken_from_what_is_collected() {
        let chosen = |collect: &[&str], exclude: &[&str]| {
            let selection = Selection::new(&["a1", "a2", "b"], collect, exclude).unwrap();
            ["a1", "a2", "b"].map(|namespace| selection.includes(namespace))
        };
        assert_eq!(chosen(&[], &[]), [true, true, true]);
        assert_eq!(chosen(&["a*"], &[]), [true, true, false]);
        assert_eq!(chosen(&["a*", "b"], &["a2"]), [true, false, true]);
        assert_eq!(chosen(&[], &["*"]), [false, false, false]);
        assert_eq!(chosen(&["a1,b"], &[]), [true, false, true]);
        assert_eq!(chosen(&[], &["a1,b"]), [false, true, false]);
    }
}
