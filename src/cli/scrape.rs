//! `scrape`: one scrape to standard output.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::Instant;

use super::arguments::Scrape;
use super::output::Output;
use crate::config::Config;
use crate::credentials::Credentials;
use crate::exposition::{self, Format};
use crate::scrape::Exporter;
use crate::startup;

/// What the function has without any other limit.
const LIMIT: Duration = Duration::from_secs(28);

/// Whether the database was there.
///
/// # Errors
/// There is no query that can run, or the environment names no database.
pub(super) fn run(
    command: &Scrape,
    lookup: impl Fn(&str) -> Option<String>,
    output: &mut Output,
) -> Result<bool> {
    let source = super::source(&lookup)?;
    let mut config = startup::config(&super::queries(lookup)?)?;
    startup::log_problems(&config);
    ensure!(!config.queries.is_empty(), "no query can run; `pg-lambda-exporter check` says why");
    select(&mut config, &command.collect)?;
    let scrape = super::block_on(async {
        let exporter = Exporter::new(config, Credentials::new(source).await);
        exporter.scrape(Instant::now() + LIMIT).await
    })?;
    let format = if command.openmetrics { Format::OpenMetrics } else { Format::Text };
    output.print(&exposition::encode(&scrape.families, format))?;
    output.print(&scrape.own.encode())?;
    output.print(exposition::end(format))?;
    Ok(scrape.own.up)
}

/// Leaves the queries whose namespaces a pattern matches; all, if there is no pattern.
fn select(config: &mut Config, patterns: &[String]) -> Result<()> {
    if patterns.is_empty() {
        return Ok(());
    }
    let queries = config.queries.iter().map(|query| query.namespace.clone());
    let namespaces: Vec<_> = queries.chain(config.disabled.iter().cloned()).collect();
    for pattern in patterns {
        let known = namespaces.iter().any(|namespace| matches(pattern, namespace));
        ensure!(known, "no query is named {pattern}; there are {}", namespaces.join(", "));
    }
    let chosen = |namespace: &str| patterns.iter().any(|pattern| matches(pattern, namespace));
    config.queries.retain(|query| chosen(&query.namespace));
    config.disabled.retain(|namespace| chosen(namespace));
    Ok(())
}

/// Whether `text` is as `pattern` says, in which `*` stands for any text, also for none.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*') {
        let Some((_, behind)) = text.split_once(piece) else { return false };
        text = behind;
    }
    text.ends_with(last)
}
