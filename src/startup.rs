//! From the environment and the query files to an endpoint. A mistake in either is told in the log and answered by
//! the endpoint: a function that ended instead would be started again and again, and answer 502.

use std::path::PathBuf;

use anyhow::Result;
use tokio::sync::OnceCell;

use crate::authorization::Guard;
use crate::config::{Config, Severity};
use crate::credentials::Credentials;
use crate::http::{Endpoint, Unusable};
use crate::query_files::{self, QueryFiles};
use crate::scrape::Exporter;
use crate::settings::{Authorization, Keeping, Queries, Settings};

/// Reads everything that the exporter is told, through `lookup` for the environment.
pub async fn endpoint(lookup: impl Fn(&str) -> Option<String>) -> Endpoint {
    // Once for all that need something of AWS: profiles are read for it, and the platform's authorities.
    let aws = OnceCell::new();
    let settings = match Settings::from_env(&lookup) {
        Ok(settings) => settings,
        Err(problems) => {
            for problem in problems {
                tracing::error!(%problem, "the environment cannot be used");
            }
            // Whoever may scrape is told that there is something to find in the log; nobody else is told anything.
            let authorization = Authorization::from_env(&lookup).unwrap_or(Authorization::Locked);
            let max_age = Keeping::default().secret_max_age;
            return Endpoint::new(
                Guard::new(authorization, max_age, &aws).await,
                Err(Unusable::Environment),
                None,
            );
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
/// There are no files, or the only one cannot be read. What is wrong with files of a folder, and in them, is in the
/// [`Config`].
pub fn config(queries: &Queries, paths: &[PathBuf]) -> Result<Config> {
    Ok(parse(&query_files(queries, paths)?, queries))
}

/// The query files of `paths` or, without any, those that the settings name.
///
/// # Errors
/// There are none, or the only one cannot be read.
pub fn query_files(queries: &Queries, paths: &[PathBuf]) -> Result<QueryFiles> {
    if paths.is_empty() {
        return query_files::read(queries.file.as_deref(), queries.task_root.as_deref());
    }
    let mut files = QueryFiles::default();
    for path in paths {
        let found = query_files::read(Some(path), None)?;
        files.texts.extend(found.texts);
        files.unreadable.extend(found.unreadable);
    }
    Ok(files)
}

/// What the files say. Those that cannot be read are problems.
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
