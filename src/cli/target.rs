//! The target of a command.

use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use tokio::time::Instant;

use crate::scrape::{NoTarget, TargetState, Targets};

/// The target with the name of `--target` or, without a name, the only one.
///
/// # Errors
/// There is no such target, or the name is missing.
pub(super) async fn find(
    targets: &Targets,
    name: Option<&str>,
    deadline: Instant,
) -> Result<Arc<TargetState>> {
    let Some(name) = name else {
        return targets
            .only()
            .ok_or_else(|| anyhow!("no target is named: use --target NAME; the command targets lists them"));
    };
    match targets.find(name, deadline).await {
        Ok(target) => Ok(target),
        Err(NoTarget::Unknown { known }) => {
            bail!("no target is named {name:?}; there are: {}", known.join(", "))
        }
        Err(NoTarget::Unlisted) => bail!("the targets cannot be listed"),
    }
}
