//! The environment variables, read once, with all problems at once. This module knows the names of the variables. The
//! syntax of a target's parts is in `connect_options`. The AWS SDK, the TLS library and the runtime read their own
//! variables themselves; those of the SDK and of TLS are checked here before.

mod libraries;
mod targets;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Naming;
use crate::connect_options::{Parts, Target};
use crate::metric::{LabelName, MetricName};
use crate::problem::Problem;
pub(crate) use targets::{PublicUrl, Targets};

/// The settings of the exporter. Each group can be used if it has no problem.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the database is and who connects.
    pub source: Result<Source, Vec<Problem>>,
    /// The values of libpq's variables, which complete targets.
    pub(crate) defaults: Parts,
    /// Where the queries are, and how their names are completed.
    pub queries: Result<Queries, Vec<Problem>>,
    /// Who may scrape.
    pub authorization: Result<Authorization, Vec<Problem>>,
    /// How targets are named, and how many connections are kept.
    pub(crate) targets: Result<Targets, Vec<Problem>>,
    /// How long secrets and connections are kept.
    pub(crate) lifetimes: Result<Lifetimes, Vec<Problem>>,
    /// The limits of a scrape.
    pub limits: Result<Limits, Vec<Problem>>,
    /// The level and the format of the log.
    pub log: LogSettings,
    /// Problems of the variables that the AWS SDK reads, if it is used.
    pub(crate) sdk_problems: Vec<Problem>,
    /// Problems of the variables that the TLS library reads.
    pub(crate) tls_problems: Vec<Problem>,
    /// `RESERVED_CONCURRENCY=1`: one execution environment answers all scrapes. Only `check` uses it.
    pub(crate) has_one_environment: bool,
    database_uses_sdk: bool,
}

/// Where the targets come from: the address of a database and the credentials.
#[derive(Debug, Clone)]
pub enum Source {
    /// One target, in a secret that is fetched when it is needed.
    Secret {
        /// Its name or ARN.
        id: String,
        /// The values of libpq's variables, for the parts that the secret does not have.
        defaults: Parts,
    },
    /// One target, from `DATABASE_URL` and libpq's variables.
    Environment(Target),
    /// The targets of a file.
    File {
        /// Its path.
        path: PathBuf,
        /// The values of libpq's variables, for the parts that neither a target nor its secret has.
        defaults: Parts,
    },
    /// The secrets that a rule finds.
    Discovery {
        /// Which secrets are targets.
        rule: DiscoveryRule,
        /// The values of libpq's variables, for the parts that a secret does not have.
        defaults: Parts,
    },
}

/// Which secrets are targets. A secret must have both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveryRule {
    /// `TARGETS_TAG`: the key and the value of a tag.
    pub(crate) tag: Option<(String, String)>,
    /// `TARGETS_PREFIX`: the beginning of their names.
    pub(crate) prefix: Option<String>,
    /// The names or ARNs of secrets that are never targets.
    pub(crate) excluded: Vec<String>,
}

/// Where the queries are, and how their names are completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queries {
    /// `QUERIES_FILE`: the file or folder to read instead of looking for one.
    pub file: Option<PathBuf>,
    /// `LAMBDA_TASK_ROOT`: the folder of the deployed package.
    pub task_root: Option<PathBuf>,
    /// `METRIC_PREFIX` and `EXTRA_LABELS`.
    pub naming: Naming,
}

/// Who may scrape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorization {
    /// Authorization is missing, so every request but `/healthz` is denied.
    Locked,
    /// `AUTH=none`: every request is granted, because something in front of the function decides.
    Open,
    /// `AUTH_SECRET_ID`: requests that present a credential of this secret are granted.
    Secret {
        /// Its name or ARN.
        id: String,
    },
    /// `AUTH_TOKEN_SHA256`: requests that present a bearer token with one of these digests are granted.
    TokenDigests(Vec<[u8; 32]>),
}

/// How long secrets and connections are kept between scrapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifetimes {
    /// `SECRET_MAX_AGE`: how long a secret is used before it is read again. Zero: for one scrape.
    pub(crate) secret_max_age: Duration,
    /// `DB_IDLE_CLOSE`: how long a connection may be idle before the server closes it. Absent: no limit.
    pub(crate) idle_close: Option<Duration>,
}

/// The limits of a scrape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `MAX_SERIES`: the maximum number of samples of all queries of a scrape.
    pub series: usize,
    /// `MAX_LABEL_LENGTH`: the maximum size of a label's value in bytes of UTF-8.
    pub label_bytes: usize,
    /// `MAX_RESULT_BYTES`: the maximum memory of the samples of all queries of a scrape, in bytes. The server may send twice
    /// as much for one query.
    pub result_bytes: usize,
    /// `MAX_RESPONSE_BYTES`: the maximum size of an answer in bytes of JSON. The limit of the service behind
    /// the request applies in any case.
    pub response_bytes: Option<usize>,
}

/// The level and the format of the log.
#[derive(Debug, Clone, Default)]
pub struct LogSettings {
    /// `AWS_LAMBDA_LOG_FORMAT=json`.
    pub(crate) is_json: bool,
    /// `AWS_LAMBDA_LOG_LEVEL`.
    pub(crate) level: Option<String>,
    /// `RUST_LOG`.
    pub(crate) directives: Option<String>,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { secret_max_age: Duration::from_secs(300), idle_close: None }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { series: 100_000, label_bytes: 16_384, result_bytes: 16 << 20, response_bytes: None }
    }
}

/// Reads a variable.
type Read<'r> = &'r dyn Fn(&'static str) -> Option<String>;

impl Settings {
    /// Reads the variables through `lookup`. An empty value counts as unset.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let read = |variable: &'static str| lookup(variable).filter(|value| !value.is_empty());
        let (defaults, problems) = targets::defaults(&read);
        let source = targets::source(&read, defaults.clone(), problems);
        let database_uses_sdk = read("DB_SECRET_ID").is_some()
            || read("DB_AUTH").is_some_and(|auth| auth == "iam")
            || matches!(source, Ok(Source::File { .. } | Source::Discovery { .. }));
        let uses_sdk = database_uses_sdk || read("AUTH_SECRET_ID").is_some();
        let limits = limits(&read);
        // A mistake in the limits is reported there.
        let label_bytes_max = limits.as_ref().map_or(usize::MAX, |limits| limits.label_bytes);
        Self {
            source,
            defaults,
            targets: targets::read(&read),
            queries: queries(&read, label_bytes_max),
            authorization: authorization(&read),
            lifetimes: lifetimes(&read),
            limits,
            log: LogSettings {
                is_json: read("AWS_LAMBDA_LOG_FORMAT").is_some_and(|it| it.eq_ignore_ascii_case("json")),
                level: read("AWS_LAMBDA_LOG_LEVEL"),
                directives: read("RUST_LOG"),
            },
            sdk_problems: if uses_sdk { libraries::sdk_problems(&read) } else { Vec::new() },
            tls_problems: libraries::tls_problems(&read),
            has_one_environment: read("RESERVED_CONCURRENCY").is_some_and(|number| number == "1"),
            database_uses_sdk,
        }
    }

    /// All problems.
    pub fn problems(&self) -> Vec<Problem> {
        let groups = [
            self.source.as_ref().err(),
            self.targets.as_ref().err(),
            self.queries.as_ref().err(),
            self.authorization.as_ref().err(),
            self.lifetimes.as_ref().err(),
            self.limits.as_ref().err(),
            Some(&self.sdk_problems),
            Some(&self.tls_problems),
        ];
        groups.into_iter().flatten().flatten().cloned().collect()
    }

    /// Where the database is, if everything that reaches it can be used. The authorization does not matter.
    ///
    /// # Errors
    /// The problems.
    pub(crate) fn database(&self) -> Result<Source, Vec<Problem>> {
        let sdk = self.sdk_problems.iter().filter(|_| self.database_uses_sdk);
        let further: Vec<_> = sdk.chain(&self.tls_problems).cloned().collect();
        match self.source.clone() {
            Ok(source) if further.is_empty() => Ok(source),
            source => Err([source.err().unwrap_or_default(), further].concat()),
        }
    }
}

fn queries(read: Read<'_>, label_bytes_max: usize) -> Result<Queries, Vec<Problem>> {
    let prefix = read("METRIC_PREFIX").unwrap_or_default();
    let invalid = MetricName::new(&prefix).err().filter(|_| !prefix.is_empty());
    let prefix_problem = invalid.map(|invalid| {
        Problem::in_variable("METRIC_PREFIX", format!("metric names cannot begin so: {invalid}"))
    });
    match (extra_labels(&read("EXTRA_LABELS").unwrap_or_default(), label_bytes_max), prefix_problem) {
        (Ok(labels), None) => Ok(Queries {
            file: read("QUERIES_FILE").map(PathBuf::from),
            task_root: read("LAMBDA_TASK_ROOT").map(PathBuf::from),
            naming: Naming { prefix, labels },
        }),
        (labels, problem) => {
            let labels = labels.err().map(|message| Problem::in_variable("EXTRA_LABELS", message));
            Err(problem.into_iter().chain(labels).collect())
        }
    }
}

/// `server=db1,env=prod`, as postgres_exporter's `--constantLabels`.
fn extra_labels(text: &str, bytes_max: usize) -> Result<Vec<(LabelName, String)>, String> {
    let mut labels: Vec<(LabelName, String)> = Vec::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or("must be pairs such as server=db1,env=prod")?;
        let name = LabelName::new(name.trim()).map_err(|invalid| format!("no label name: {invalid}"))?;
        if labels.iter().any(|(known, _)| *known == name) {
            return Err(format!("label {name} appears twice"));
        }
        let value = value.trim();
        if value.len() > bytes_max {
            return Err(format!("the value of label {name} is longer than MAX_LABEL_LENGTH"));
        }
        labels.push((name, value.to_owned()));
    }
    Ok(labels)
}

fn authorization(read: Read<'_>) -> Result<Authorization, Vec<Problem>> {
    let problem = |variable, message: &str| Err(vec![Problem::in_variable(variable, message)]);
    let both = |first, second: &str| problem(first, &format!("{second} is set too; set one of the two"));
    match (read("AUTH").as_deref(), read("AUTH_SECRET_ID"), read("AUTH_TOKEN_SHA256")) {
        (None, None, None) => Ok(Authorization::Locked),
        (None, Some(id), None) => Ok(Authorization::Secret { id }),
        (None, None, Some(digests)) => token_digests(&digests).map(Authorization::TokenDigests),
        (Some("none"), None, None) => Ok(Authorization::Open),
        (Some("none"), Some(_), _) => both("AUTH", "AUTH_SECRET_ID"),
        (Some("none"), None, Some(_)) => both("AUTH", "AUTH_TOKEN_SHA256"),
        (None, Some(_), Some(_)) => both("AUTH_TOKEN_SHA256", "AUTH_SECRET_ID"),
        (Some(_), _, _) => problem(
            "AUTH",
            "must be none or unset; to require a token, set AUTH_SECRET_ID or AUTH_TOKEN_SHA256 instead",
        ),
    }
}

/// Digests in hexadecimal, separated by commas.
fn token_digests(text: &str) -> Result<Vec<[u8; 32]>, Vec<Problem>> {
    let digests = text.split(',').enumerate().map(|(index, item)| {
        digest(item.trim()).ok_or_else(|| {
            let message = "must be 64 hexadecimal digits, the SHA-256 of a token without its line break";
            vec![Problem::in_variable("AUTH_TOKEN_SHA256", format!("item {}: {message}", index + 1))]
        })
    });
    digests.collect()
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let (pairs, []) = hex.as_bytes().as_chunks::<2>() else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
    pairs.iter().map(byte).collect::<Option<Vec<_>>>()?.try_into().ok()
}

/// The maximum of `SECRET_MAX_AGE` and `DB_IDLE_CLOSE`: PostgreSQL counts milliseconds in 32 bits.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// A session is idle too while the rows of a query are read.
const SHORTEST_IDLE: Duration = Duration::from_secs(5);

fn lifetimes(read: Read<'_>) -> Result<Lifetimes, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut duration = |variable, shortest: Duration| {
        let text = read(variable)?;
        let duration = humantime::parse_duration(&text).ok().filter(|it| (shortest..=LONGEST).contains(it));
        if duration.is_none() {
            let [shortest, longest] = [shortest, LONGEST].map(humantime::format_duration);
            let message = format!("must be a time such as 90s or 5m, from {shortest} to {longest}");
            problems.push(Problem::in_variable(variable, message));
        }
        duration
    };
    let lifetimes = Lifetimes {
        secret_max_age: duration("SECRET_MAX_AGE", Duration::ZERO)
            .unwrap_or(Lifetimes::default().secret_max_age),
        idle_close: duration("DB_IDLE_CLOSE", SHORTEST_IDLE),
    };
    if problems.is_empty() { Ok(lifetimes) } else { Err(problems) }
}

/// Lambda's own limit (AWS Lambda quotas, "Invocation payload", 6 MB).
const RESPONSE_BYTES: RangeInclusive<usize> = 1..=6 << 20;

/// The largest function has 10 GB (AWS Lambda quotas, "Memory allocation").
const RESULT_BYTES: RangeInclusive<usize> = 1..=1 << 30;

fn limits(read: Read<'_>) -> Result<Limits, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut number = |variable, allowed: RangeInclusive<usize>| {
        let text = read(variable)?;
        // Rust would accept a sign.
        let number = text.parse().ok().filter(|number| allowed.contains(number) && !text.starts_with('+'));
        if number.is_none() {
            let most = match *allowed.end() {
                usize::MAX => "up".to_owned(),
                most => format!("to {most}"),
            };
            let message = format!("must be a whole number from {} {most}", allowed.start());
            problems.push(Problem::in_variable(variable, message));
        }
        number
    };
    let default = Limits::default();
    let limits = Limits {
        series: number("MAX_SERIES", 1..=usize::MAX).unwrap_or(default.series),
        label_bytes: number("MAX_LABEL_LENGTH", 1..=usize::MAX).unwrap_or(default.label_bytes),
        result_bytes: number("MAX_RESULT_BYTES", RESULT_BYTES).unwrap_or(default.result_bytes),
        response_bytes: number("MAX_RESPONSE_BYTES", RESPONSE_BYTES),
    };
    if problems.is_empty() { Ok(limits) } else { Err(problems) }
}
