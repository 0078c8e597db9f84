//! The variables for targets: their source, their names, and how many connections and databases there may be.

use std::path::{Path, PathBuf};

use lambda_http::http::Uri;

use super::{DiscoveryRule, Read, Source};
use crate::config::check_target_name;
use crate::connect_options::{Parts, RdsAuthorities, Target};
use crate::problem::{Origin, Problem};

/// How targets are named, and how many connections and databases there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Targets {
    /// `TARGET_NAME`: the name of the only target. Absent: the name of its database.
    pub(crate) name: Option<String>,
    /// `PUBLIC_URL`: where Prometheus finds the function. Absent: where the request was sent.
    pub(crate) public_url: Option<PublicUrl>,
    /// `MAX_CONNECTIONS`: the maximum number of connections in an execution environment.
    pub(crate) connections_max: usize,
    /// `MAX_DATABASES`: the maximum number of databases of a target that a scrape visits.
    pub(crate) databases_max: usize,
}

/// The address of the function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicUrl {
    /// `https` or `http`.
    pub(crate) scheme: String,
    /// Host and port.
    pub(crate) host: String,
    /// The path of the landing page, without a slash at its end.
    pub(crate) base_path: String,
}

const CONNECTIONS_MAX: usize = 20;
const DATABASES_MAX: usize = 50;

impl Default for Targets {
    fn default() -> Self {
        Self { name: None, public_url: None, connections_max: CONNECTIONS_MAX, databases_max: DATABASES_MAX }
    }
}

/// The authorities of Amazon RDS, in the package.
const RDS_AUTHORITIES: &str = "rds-authorities.pem";
/// The name of the targets file in the folder of the query file.
const TARGETS_FILE: &str = "targets.yml";

/// The values that complete a target, and the problems of their variables.
pub(super) fn defaults(read: Read<'_>) -> (Parts, Vec<Problem>) {
    let mut defaults = Parts::of_variables(read);
    let region = read("AWS_REGION");
    if let Some(package) = read("LAMBDA_TASK_ROOT") {
        defaults.trust_rds(RdsAuthorities { file: PathBuf::from(package).join(RDS_AUTHORITIES), region });
    }
    let by = read("DB_AUTH");
    if by.as_deref() == Some("iam") {
        defaults.log_in_by_token();
    }
    let mut problems = defaults.take_problems();
    if by.is_some_and(|by| by != "iam" && by != "password") {
        problems.push(Problem::in_variable("DB_AUTH", "must be password or iam"));
    }
    (defaults, problems)
}

/// `problems` are those of the defaults.
pub(super) fn source(
    read: Read<'_>,
    defaults: Parts,
    mut problems: Vec<Problem>,
) -> Result<Source, Vec<Problem>> {
    // The first of these is meant.
    let given: Vec<_> = SOURCES.into_iter().filter(|variable| read(variable).is_some()).collect();
    let is_many = |variable: &&str| MANY.contains(variable);
    let secret_problem = |message| Err(vec![Problem::in_variable("DB_SECRET_ID", message)]);
    let source = match (read("DB_SECRET_ID"), read("DATABASE_URL"), read("PGHOST")) {
        _ if given.iter().any(is_many) => {
            let other =
                |variable: &&str| !is_many(variable) || *variable == "TARGETS_FILE" && given.len() > 1;
            problems.extend(given.iter().copied().filter(other).map(|variable| {
                let others = given.iter().filter(|other| **other != variable).copied().collect::<Vec<_>>();
                let message = format!("{} is set too; set one of them", others.join(", "));
                Problem::in_variable(variable, message)
            }));
            many(read, defaults)
        }
        (Some(_), Some(_), _) => secret_problem("DATABASE_URL is set too; set one of the two"),
        (Some(id), None, _) => Ok(Source::Secret { id, defaults }),
        (None, Some(url), _) => Target::from_url(&url, &defaults).map(Source::Environment).map_err(|found| {
            let origin = Origin::Variable("DATABASE_URL");
            found.into_iter().map(|problem| Problem { origin: origin.clone(), ..problem }).collect()
        }),
        (None, None, Some(_)) => defaults.complete().map(Source::Environment),
        (None, None, None) => match file_beside_the_queries(read) {
            Some(path) => Ok(Source::File { path, defaults }),
            None => secret_problem(
                "not set, and neither is DATABASE_URL, PGHOST, TARGETS_FILE, TARGETS_TAG or TARGETS_PREFIX; set one of them",
            ),
        },
    };
    match source {
        Ok(source) if problems.is_empty() => Ok(source),
        source => Err([problems, source.err().unwrap_or_default()].concat()),
    }
}

/// The sources of targets. `PGHOST` completes all of them.
const SOURCES: [&str; 5] = ["TARGETS_FILE", "TARGETS_TAG", "TARGETS_PREFIX", "DB_SECRET_ID", "DATABASE_URL"];
/// The sources of several targets.
const MANY: [&str; 3] = ["TARGETS_FILE", "TARGETS_TAG", "TARGETS_PREFIX"];

fn many(read: Read<'_>, mut defaults: Parts) -> Result<Source, Vec<Problem>> {
    if let Some(path) = read("TARGETS_FILE") {
        return Ok(Source::File { path: path.into(), defaults });
    }
    let tag = match read("TARGETS_TAG")
        .map(|tag| tag.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())))
    {
        Some(Some((key, value))) if !key.is_empty() => Some((key, value)),
        None => None,
        _ => {
            return Err(vec![Problem::in_variable(
                "TARGETS_TAG",
                "must be the key and the value of a tag: key=value",
            )]);
        }
    };
    let rule = DiscoveryRule {
        tag,
        prefix: read("TARGETS_PREFIX"),
        excluded: read("AUTH_SECRET_ID").into_iter().collect(),
    };
    // Everyone who may tag a secret chooses a host.
    defaults.forget_password();
    Ok(Source::Discovery { rule, defaults })
}

/// In the folder of `QUERIES_FILE` or, without it, in the folders where `query_files` looks for one.
fn file_beside_the_queries(read: Read<'_>) -> Option<PathBuf> {
    let folders = match read("QUERIES_FILE") {
        Some(file) => vec![Path::new(&file).with_file_name("")],
        None => read("LAMBDA_TASK_ROOT")
            .into_iter()
            .chain(["/opt".into(), String::new()])
            .map(PathBuf::from)
            .collect(),
    };
    folders.into_iter().map(|folder| folder.join(TARGETS_FILE)).find(|path| path.exists())
}

pub(super) fn read(read: Read<'_>) -> Result<Targets, Vec<Problem>> {
    let mut problems = Vec::new();
    let name = read("TARGET_NAME");
    if let Some(Err(message)) = name.as_deref().map(check_target_name) {
        problems.push(Problem::in_variable("TARGET_NAME", message));
    }
    let public_url = read("PUBLIC_URL").and_then(|text| {
        let url = PublicUrl::parse(&text);
        if url.is_none() {
            let message =
                "must be a URL such as https://HOST/PATH, in ASCII, without user, query and fragment";
            problems.push(Problem::in_variable("PUBLIC_URL", message));
        }
        url
    });
    let mut number = |variable, default| {
        let Some(text) = read(variable) else { return default };
        // Rust would accept a sign.
        let number = text.parse().ok().filter(|&number: &usize| number > 0 && !text.starts_with('+'));
        number.unwrap_or_else(|| {
            problems.push(Problem::in_variable(variable, "must be a whole number from 1 up"));
            default
        })
    };
    let connections_max = number("MAX_CONNECTIONS", CONNECTIONS_MAX);
    let databases_max = number("MAX_DATABASES", DATABASES_MAX);
    let targets = Targets { name, public_url, connections_max, databases_max };
    if problems.is_empty() { Ok(targets) } else { Err(problems) }
}

impl PublicUrl {
    fn parse(text: &str) -> Option<Self> {
        let url: Uri = text.parse().ok()?;
        let scheme = url.scheme_str().filter(|scheme| ["https", "http"].contains(scheme))?.to_owned();
        let host = url.authority().map(ToString::to_string).filter(|host| !host.contains('@'))?;
        let has_more = url.query().is_some() || text.contains('#');
        let base_path = url.path().trim_end_matches('/').to_owned();
        (!has_more).then_some(Self { scheme, host, base_path })
    }
}
