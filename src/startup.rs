//! From the environment and the query files to an endpoint. A mistake in either is logged and answered by the endpoint. A
//! process that ended instead would be restarted again and again, and answer 502.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, JoinHandle};

use anyhow::{Result, anyhow, ensure};
use aws_config::SdkConfig;
use tokio::sync::OnceCell;

use crate::authorization::Guard;
use crate::config::{Config, TargetEntry, TargetsFile};
use crate::connect_options::{Access, Parts};
use crate::credentials::{Credentials, Services};
use crate::discovery::Discovery;
use crate::http::{Endpoint, Unusable};
use crate::problem::Severity;
use crate::query_files::{self, QueryFiles};
use crate::scrape::{Exporter, TargetState, Targets};
use crate::settings::{self, Authorization, Lifetimes, Queries, Settings, Source};

/// Empty variables count as unset. But the AWS SDK and the TLS library read the environment themselves, and panic or fail
/// on some empty ones. So a process that has such variables starts itself again without them.
///
/// # Errors
/// The program cannot be started again.
pub(crate) fn unset_empty_variables() -> io::Result<()> {
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

/// The endpoint that these settings describe. Their problems are logged.
pub(crate) async fn endpoint(settings: Settings) -> Endpoint {
    // Loaded once for all parts that use AWS: it reads profiles.
    let aws = OnceCell::new();
    let problems = settings.problems();
    for problem in &problems {
        tracing::error!(%problem, "the environment cannot be used");
    }
    let usable_aws =
        Some(&aws).filter(|_| settings.sdk_problems.is_empty() && settings.tls_problems.is_empty());
    let Settings { source, targets, queries, authorization, lifetimes, limits, .. } = settings;
    let authorization = authorization.unwrap_or(Authorization::Locked);
    let (Ok(source), Ok(targets), Ok(queries), Ok(lifetimes), Ok(limits), []) =
        (source, targets, queries, lifetimes, limits, problems.as_slice())
    else {
        // Only authorized callers learn of the mistake.
        let max_age = Lifetimes::default().secret_max_age;
        let guard = Guard::new(authorization, max_age, usable_aws).await;
        return Endpoint::new(guard, Err(Unusable::Environment), None);
    };
    // A cold start has a second processor, which reads the files meanwhile.
    let reading = thread::Builder::new().spawn(move || config(&queries, &[]));
    let public_url = targets.public_url.clone();
    let targets = self::targets(source, targets, lifetimes, &aws).await;
    let guard = Guard::new(authorization, lifetimes.secret_max_age, usable_aws).await;
    let config = match reading.map(JoinHandle::join) {
        Ok(config) => config.unwrap_or_else(|_| Err(anyhow!("reading them failed"))),
        Err(error) => Err(error.into()),
    };
    let config = config.unwrap_or_else(|error| {
        tracing::error!(error = format!("{error:#}"), "no query files");
        Config::default()
    });
    log_problems(&config);
    let exporter = match (targets, config.queries.is_empty()) {
        (_, true) => Err(Unusable::Queries),
        (Err(error), false) => {
            tracing::error!(error = format!("{error:#}"), "no targets");
            Err(Unusable::Targets)
        }
        (Ok(targets), false) => Ok(Exporter::new(config, targets, limits)),
    };
    Endpoint::new(guard, exporter, limits.response_bytes).with_public_url(public_url)
}

/// The targets of a source. Problems of a file are logged.
///
/// # Errors
/// The file cannot be read, or has no target.
pub(crate) async fn targets(
    source: Source,
    settings: settings::Targets,
    lifetimes: Lifetimes,
    config: &OnceCell<SdkConfig>,
) -> Result<Targets> {
    let single = |name, access, services| {
        let credentials = Some(Credentials::new(access, services));
        Targets::single(TargetState::new(name, Vec::new(), credentials, lifetimes), settings.clone())
    };
    match source {
        Source::Secret { id, defaults } => {
            let access = Access::Secret { id, own: Box::default(), defaults: defaults.into() };
            let services = Services::new(true, access.is_by_token(), config).await;
            Ok(single(settings.name.clone(), access, services))
        }
        Source::Environment(target) => {
            let name = settings.name.clone().unwrap_or_else(|| target.database.clone());
            let access = Access::Known(target);
            let services = Services::new(false, access.is_by_token(), config).await;
            Ok(single(Some(name), access, services))
        }
        Source::File { path, defaults } => {
            let file = targets_file(&path, &defaults)?;
            log_target_problems(&file);
            ensure!(!file.targets.is_empty(), "{}: no target can be used", path.display());
            let accesses = || file.targets.iter().filter_map(|target| target.access.as_ref());
            let uses_secrets = accesses().any(|access| matches!(access, Access::Secret { .. }));
            let services = Services::new(uses_secrets, accesses().any(Access::is_by_token), config).await;
            let targets = file.targets.into_iter().map(|TargetEntry { name, labels, access }| {
                let credentials = access.map(|access| Credentials::new(access, services.clone()));
                TargetState::new(Some(name), labels, credentials, lifetimes)
            });
            Ok(Targets::several(targets.collect(), settings))
        }
        Source::Discovery { rule, defaults } => {
            let services = Services::new(true, defaults.is_by_token(), config).await;
            let discovery = Discovery::new(rule, defaults, services);
            Ok(Targets::discovered(discovery, lifetimes, settings))
        }
    }
}

/// The targets of a file.
///
/// # Errors
/// The file cannot be read. Problems in it are in the [`TargetsFile`].
pub(crate) fn targets_file(path: &Path, defaults: &Parts) -> Result<TargetsFile> {
    let (name, text) = query_files::read_one(path)?;
    Ok(TargetsFile::parse(&name, &text, defaults))
}

/// The queries of the files and folders `paths` or, without any, of the files that the settings name.
///
/// # Errors
/// There are no files, or the only one cannot be read. Problems of the files of a folder, and in them, are in the
/// [`Config`].
pub(crate) fn config(queries: &Queries, paths: &[PathBuf]) -> Result<Config> {
    Ok(parse(&query_files(queries, paths)?, queries))
}

/// The query files of `paths` or, without any, of the settings.
///
/// # Errors
/// There are none, or the only one cannot be read.
pub(crate) fn query_files(queries: &Queries, paths: &[PathBuf]) -> Result<QueryFiles> {
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
pub(crate) fn parse(files: &QueryFiles, queries: &Queries) -> Config {
    let mut config = Config::parse(&files.texts, &queries.naming);
    config.problems.extend(files.unreadable.iter().cloned());
    config
}

/// Says in the log what is wrong with the query files.
pub(crate) fn log_problems(config: &Config) {
    for problem in &config.problems {
        match problem.severity {
            Severity::Error => tracing::error!(%problem, "mistake in a query file"),
            Severity::Ignored => tracing::warn!(%problem, "entry of a query file ignored"),
            // A file that has been in use elsewhere may have hundreds: the check of the command line shows them.
            Severity::Warning => tracing::debug!(%problem, "doubtful entry in a query file"),
        }
    }
}

fn log_target_problems(file: &TargetsFile) {
    for problem in &file.problems {
        match problem.severity {
            Severity::Error => tracing::error!(%problem, "mistake in the targets file"),
            Severity::Ignored => tracing::warn!(%problem, "entry of the targets file ignored"),
            Severity::Warning => tracing::warn!(%problem, "doubtful entry in the targets file"),
        }
    }
}
