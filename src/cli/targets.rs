//! `targets`: lists the targets, and why something is left out or cannot be used.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::output::{Output, aligned, counted, printable};
use crate::settings::{Lifetimes, Settings};
use crate::startup;

const LIMIT: Duration = Duration::from_secs(28);
/// The limit of reading one secret.
const READ_LIMIT: Duration = Duration::from_secs(4);

/// Returns whether each target can be used. No database is asked.
///
/// # Errors
/// The environment has no target, or the targets cannot be listed.
pub(super) fn run(settings: Settings, output: &mut Output) -> Result<bool> {
    let source = super::usable(settings.database())?;
    let settings = super::usable(settings.targets)?;
    let (mut rows, unusable, skipped) = super::block_on(async {
        let targets = startup::targets(source, settings, Lifetimes::default(), &OnceCell::new()).await?;
        let Ok(named) = targets.named(Instant::now() + LIMIT).await else {
            bail!("the targets cannot be listed");
        };
        let (mut rows, mut unusable) = (Vec::new(), 0);
        for (name, target) in named {
            let problem = target.problem(READ_LIMIT).await;
            unusable += usize::from(problem.is_some());
            let state = problem.map_or("ok".to_owned(), |problem| format!("cannot be used: {problem}"));
            rows.push(vec![printable(&name), printable(&state)]);
        }
        Ok((rows, unusable, targets.skipped()))
    })??;
    let count = rows.len();
    let left_out =
        skipped.iter().map(|(name, why)| vec![printable(name), format!("left out: {}", printable(why))]);
    rows.extend(left_out);
    output.print(&aligned(&rows))?;
    let mut parts = vec![counted(count, "target", "targets")];
    for (number, word) in [(unusable, "cannot be used"), (skipped.len(), "left out")] {
        if number > 0 {
            parts.push(format!("{number} {word}"));
        }
    }
    output.print(&format!("{}\n", parts.join(", ")))?;
    Ok(unusable == 0)
}
