//! `scrape`: one scrape to standard output.

use anyhow::{Error, Result, ensure};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::arguments::Scrape;
use super::output::Output;
use super::target;
use crate::exposition::{self, Format};
use crate::scrape::{DEFAULT_LIMIT, Exporter};
use crate::settings::{Lifetimes, Settings};
use crate::{self_metrics, startup};

/// Returns whether the database was reachable.
///
/// # Errors
/// No query can run or matches the names, or the environment has no database.
pub(super) fn run(command: &Scrape, settings: Settings, output: &mut Output) -> Result<bool> {
    let source = super::usable(settings.database())?;
    let targets = super::usable(settings.targets)?;
    let limits = super::usable(settings.limits)?;
    let config = startup::config(&super::usable(settings.queries)?, &[])?;
    startup::log_problems(&config);
    ensure!(!config.queries.is_empty(), "no query can run; run `pg-lambda-exporter check` to see why");
    let collect: Vec<_> = command.collect.iter().map(String::as_str).collect();
    let scrape = super::block_on(async {
        let deadline = Instant::now() + DEFAULT_LIMIT;
        let targets = startup::targets(source, targets, Lifetimes::default(), &OnceCell::new()).await?;
        let exporter = Exporter::new(config, targets, limits);
        let target = target::find(exporter.targets(), command.target.as_deref(), deadline).await?;
        let selection = exporter.select(&collect, &[])?;
        Ok::<_, Error>(exporter.scrape(&target, &selection, deadline).await)
    })??;
    let format = if command.openmetrics { Format::OpenMetrics } else { Format::Text };
    let merged = scrape.merged();
    scrape.log(&merged);
    output.print(&exposition::encode(&merged, format))?;
    output.print(&self_metrics::encode(&scrape, &merged))?;
    output.print(exposition::end(format))?;
    Ok(scrape.up)
}
