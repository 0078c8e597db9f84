//! From the environment and the query files to an endpoint. A mistake in either is logged and answered by the endpoint. A
//! process that ended instead would be restarted again and again, and answer 502.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use tokio::sync::OnceCell;

use crate::authorization::Guard;
use crate::config::{Config, Severity};
use crate::credentials::Credentials;
use crate::http::{Endpoint, Unusable};
use crate::query_files::{self, QueryFiles};
use crate::scrape::Exporter;
use crate::settings::{Authorization, Keeping, Queries, Settings, library_problems};

/// Empty variables count as unset. But the AWS SDK and the TLS library read the environment themselves, and panic or fail
/// on some empty ones. So a process that has such variables starts itself again without them.
///
/// # Errors
/// The program cannot be started again.
pub fn unset_empty_variables() -> io::Result<()> {
    let is_theirs = |name: &OsString| {
        let name = name.as_encoded_bytes();
        name.starts_with(b"AWS_") || name.starts_with(b"SSL_CERT_")
    };
    let empty = env::vars_os().filter(|(_, value)| value.is_empty()).map(|(name, _)| name);
    let empty: Vec<_> = empty.filter(is_theirs).collect();
    if empty.is_empty() {
        return Ok(());
    }
    let mut command = Command::new(env::current_exe()?);
    command.args(env::args_os().skip(1));
    for name in empty {
        command.env_remove(name);
    }
    Err(command.exec())
}

/// Reads all settings, through `lookup` for the environment.
pub async fn endpoint(lookup: impl Fn(&str) -> Option<String>) -> Endpoint {
    // Loaded once for all parts that use AWS: it reads profiles and the platform's authorities.
    let aws = OnceCell::new();
    let settings = match Settings::from_env(&lookup) {
        Ok(settings) => settings,
        Err(problems) => {
            for problem in problems {
                tracing::error!(%problem, "the environment cannot be used");
            }
            // Only authorized callers learn of the mistake.
            let max_age = Keeping::default().secret_max_age;
            let guard = match Authorization::from_env(&lookup).unwrap_or(Authorization::Locked) {
                // To read them the SDK would be needed.
                Authorization::Secret { .. } if !library_problems(&lookup).is_empty() => Guard::unavailable(),
                authorization => Guard::new(authorization, max_age, &aws).await,
            };
            return Endpoint::new(guard, Err(Unusable::Environment), None);
        }
    };
    let config = config(&settings.queries, &[]).unwrap_or_else(|error| {
        tracing::error!(error = format!("{error:#}"), "no query files");
        Config::default()
    });
    log_problems(&config);
    let exporter = match config.queries.is_empty() {
        true => Err(Unusable::Queries),
        false => {
            let credentials = Credentials::new(settings.source, &aws).await;
            Ok(Exporter::new(config, credentials, settings.keeping, settings.limits))
        }
    };
    let max_age = settings.keeping.secret_max_age;
    let guard = Guard::new(settings.authorization, max_age, &aws).await;
    Endpoint::new(guard, exporter, settings.limits.response_bytes)
}

/// The queries of the files and folders `paths` or, without any, of the files that the settings name.
///
/// # Errors
/// There are no files, or the only one cannot be read. Problems of the files of a folder, and in them, are in the
/// [`Config`].
pub fn config(queries: &Queries, paths: &[PathBuf]) -> Result<Config> {
    Ok(parse(&query_files(queries, paths)?, queries))
}

/// The query files of `paths` or, without any, of the settings.
///
/// # Errors
/// There are none, or the only one cannot be read.
pub fn query_files(queries: &Queries, paths: &[PathBuf]) -> Result<QueryFiles> {
    if paths.is_empty() {
        return query_files::read(queries.file.as_deref(), queries.task_root.as_deref());
    }
    let mut files = QueryFiles::default();
    for path in paths {
        let found = query_files::read_argument(path)?;
        files.texts.extend(found.texts);
        files.unreadable.extend(found.unreadable);
    }
    Ok(files)
}

/// The configuration of the files. Unreadable files become problems.
pub fn parse(files: &QueryFiles, queries: &Queries) -> Config {
    let mut config = Config::parse(&files.texts, &queries.naming);
    config.problems.extend(files.unreadable.iter().cloned());
    config
}

/// Says in the log what is wrong with the query files.
pub fn log_problems(config: &Config) {
    for problem in &config.problems {
        match problem.severity {
            Severity::Error => tracing::error!(%problem, "mistake in a query file"),
            Severity::Ignored => tracing::warn!(%problem, "entry of a query file ignored"),
            // A file that has been in use elsewhere may have hundreds: the check of the command line shows them.
            Severity::Warning => tracing::debug!(%problem, "doubtful entry in a query file"),
        }
    }
}
