//! The keys that decide where, when and how often a query runs.

use std::time::Duration;

use super::read_sql;
use crate::config::report::At;
use crate::config::yaml::Node;
use crate::config::{AuroraQuery, DatabasePattern, VersionRange};
use crate::sql::Sql;

pub(super) fn cache(node: &Node, at: &mut At<'_>) -> Option<Duration> {
    let text = at.text(node)?.trim();
    if text.is_empty() {
        return None;
    }
    let cache = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    if cache.is_none() {
        at.error("not a number of seconds", "write a number from 0 on, without a unit");
    }
    cache.filter(|cache| !cache.is_zero())
}

pub(super) fn predicate(node: &Node, at: &mut At<'_>) -> Option<Sql> {
    read_sql(node, at).filter(|sql| !sql.is_empty())
}

pub(super) fn server_versions(node: &Node, at: &mut At<'_>) -> Option<VersionRange> {
    let text = at.text(node)?.trim();
    if text.is_empty() {
        return None;
    }
    let range = text.parse();
    range.map_err(|invalid| at.error(format!("{invalid}"), "write it as `>=12.0.0 <17.0.0`")).ok()
}

/// Also the words of YAML 1.1, which Go's parser reads, and quoted booleans, which CloudNativePG reads.
pub(super) fn is_true(node: &Node, at: &mut At<'_>) -> bool {
    match at.text(node).unwrap_or_default().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => return true,
        "false" | "no" | "off" | "n" | "" => {}
        _ => at.error("neither true nor false", "write true or false"),
    }
    false
}

pub(super) fn databases(node: &Node, at: &mut At<'_>) -> Vec<DatabasePattern> {
    let mut patterns = Vec::new();
    for (index, item) in at.list(node).unwrap_or_default().iter().enumerate() {
        let mut at = at.item(index);
        let Some(text) = at.text(item) else { continue };
        if text.is_empty() {
            at.error("a database without a name", "write `*` for all");
            continue;
        }
        match text.parse() {
            Ok(pattern) => patterns.push(pattern),
            Err(_) => at.error("not a pattern of names", "close each [ with a ]"),
        }
    }
    patterns
}

/// postgres_exporter's fork for Aurora writes `!` for a query that does not work on Aurora.
pub(super) fn aurora(node: &Node, at: &mut At<'_>) -> Option<AuroraQuery> {
    match at.text(node)?.trim() {
        "" => None,
        "!" => Some(AuroraQuery::Skip),
        _ => read_sql(node, at).map(AuroraQuery::Instead),
    }
}

/// In postgres_exporter, such a query runs only in the data source's own database.
pub(super) fn master(node: &Node, at: &mut At<'_>) {
    if is_true(node, at) {
        at.warning("has no effect here", "for a query that only a primary can answer, write `primary: true`");
    }
}
