//! The environment variables: read once, with all problems at once. It knows the names of the variables; `target` knows
//! the syntax of a target's parts. The SDK and the runtime read their own variables (`AWS_…`) themselves; the SDK's are
//! checked here before.

mod authorization;
mod libraries;
mod limits;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Naming;
use crate::metric::{LabelName, MetricName};
use crate::target::{self, Login, Mistake, Part, Parts, RdsAuthorities, Target};

pub use authorization::Authorization;
pub use libraries::library_problems;
pub use limits::Limits;

/// The settings of the exporter.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the database is and who connects.
    pub source: Source,
    /// Where the queries are, and what completes them.
    pub queries: Queries,
    /// Who may scrape.
    pub authorization: Authorization,
    /// The time that secrets and connections are kept between scrapes.
    pub keeping: Keeping,
    /// How much a scrape may give.
    pub limits: Limits,
}

/// The time that secrets and connections are kept between scrapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeping {
    /// `SECRET_MAX_AGE`: how long a secret is used before it is read again. Zero: for one scrape.
    pub secret_max_age: Duration,
    /// `DB_IDLE_CLOSE`: how long a connection may be idle before the server closes it; absent: for ever.
    pub idle_close: Option<Duration>,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { secret_max_age: Duration::from_secs(300), idle_close: None }
    }
}

/// Where the queries are, and what completes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queries {
    /// `QUERIES_FILE`: the file or folder to read instead of looking for one.
    pub file: Option<PathBuf>,
    /// `LAMBDA_TASK_ROOT`: the folder of the deployed package.
    pub task_root: Option<PathBuf>,
    /// `METRIC_PREFIX` and `EXTRA_LABELS`: what completes the names in all of them.
    pub naming: Naming,
}

/// Where the database's address and the credentials come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A secret that is fetched when it is needed.
    Secret {
        /// Its name or ARN.
        id: String,
        /// The values of libpq's variables, for the parts that the secret does not have.
        defaults: Parts,
    },
    /// The environment says all of it, in `DATABASE_URL` and libpq's variables.
    Environment(Target),
}

/// A variable whose value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The variable to change.
    pub variable: &'static str,
    /// The mistake: lowercase, without the value.
    pub message: String,
}

/// The authorities of Amazon RDS, in the package.
const RDS_AUTHORITIES: &str = "rds-authorities.pem";

/// libpq's variables that are read (PostgreSQL documentation, "Environment Variables").
const LIBPQ: [(&str, Part); 8] = [
    ("PGHOST", Part::Host),
    ("PGPORT", Part::Port),
    ("PGDATABASE", Part::Database),
    ("PGUSER", Part::User),
    ("PGPASSWORD", Part::Password),
    ("PGSSLMODE", Part::SslMode),
    ("PGSSLROOTCERT", Part::RootCertificates),
    ("PGCONNECT_TIMEOUT", Part::ConnectTimeout),
];

impl Settings {
    /// Reads the variables through `lookup`. An empty value counts as unset.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let source = Source::read(&lookup).map_err(|found| problems.extend(found)).ok();
        let queries = Queries::from_env(&lookup).map_err(|found| problems.extend(found)).ok();
        let authorization = Authorization::from_env(&lookup).map_err(|found| problems.push(found)).ok();
        let keeping = Keeping::from_env(&lookup).map_err(|found| problems.extend(found)).ok();
        let limits = Limits::from_env(&lookup).map_err(|found| problems.extend(found)).ok();
        problems.extend(library_problems(&lookup));
        match (source, queries, authorization, keeping, limits) {
            (Some(source), Some(queries), Some(authorization), Some(keeping), Some(limits))
                if problems.is_empty() =>
            {
                Ok(Self { source, queries, authorization, keeping, limits })
            }
            _ => Err(problems),
        }
    }
}

/// The maximum of `SECRET_MAX_AGE` and `DB_IDLE_CLOSE`: PostgreSQL counts milliseconds in 32 bits.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// A session is idle too while the rows of a query are read.
const SHORTEST_IDLE: Duration = Duration::from_secs(5);

impl Keeping {
    /// Reads `SECRET_MAX_AGE` and `DB_IDLE_CLOSE` through `lookup`. An empty value counts as unset.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<Problem>> {
        let read = present(lookup);
        let duration = |variable, shortest: Duration| {
            let Some(text) = read(variable) else { return Ok(None) };
            match humantime::parse_duration(&text) {
                Ok(duration) if (shortest..=LONGEST).contains(&duration) => Ok(Some(duration)),
                _ => Err(Problem::new(
                    variable,
                    &format!(
                        "must be a time such as 90s or 5m, from {} to {}",
                        humantime::format_duration(shortest),
                        humantime::format_duration(LONGEST)
                    ),
                )),
            }
        };
        match (duration("SECRET_MAX_AGE", Duration::ZERO), duration("DB_IDLE_CLOSE", SHORTEST_IDLE)) {
            (Ok(secret_max_age), Ok(idle_close)) => Ok(Self {
                secret_max_age: secret_max_age.unwrap_or(Self::default().secret_max_age),
                idle_close,
            }),
            (age, close) => Err(age.err().into_iter().chain(close.err()).collect()),
        }
    }
}

impl Source {
    /// Reads `DB_SECRET_ID`, `DATABASE_URL`, `DB_AUTH` and libpq's variables through `lookup`, and checks the variables of
    /// the libraries. An empty value counts as unset.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<Problem>> {
        // The authorization does not matter here.
        let further = library_problems(|name| lookup(name).filter(|_| name != "AUTH_SECRET_ID"));
        match Self::read(lookup) {
            Ok(source) if further.is_empty() => Ok(source),
            Ok(_) => Err(further),
            Err(problems) => Err(problems.into_iter().chain(further).collect()),
        }
    }

    fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<Problem>> {
        let read = present(lookup);
        let mut problems = Vec::new();
        let secret = read("DB_SECRET_ID");
        let url = read("DATABASE_URL");
        let mut defaults = libpq(&read, &mut problems);
        match read("DB_AUTH").as_deref() {
            None | Some("password") => {}
            Some("iam") => problems.extend(defaults.log_in_by_token().err().map(|found| in_variable(&found))),
            Some(_) => problems.push(Problem::new("DB_AUTH", "must be password or iam")),
        }
        let source = match (secret, url, read("PGHOST")) {
            (Some(_), Some(_), _) => {
                Err(vec![Problem::new("DB_SECRET_ID", "DATABASE_URL is set too; set one of the two")])
            }
            (Some(id), None, _) => Ok(Self::Secret { id, defaults }),
            (None, Some(url), _) => of_url(&url, &defaults).map(Self::Environment),
            (None, None, Some(_)) => of_variables(defaults).map(Self::Environment),
            (None, None, None) => Err(vec![Problem::new(
                "DB_SECRET_ID",
                "not set, and neither is DATABASE_URL or PGHOST; set one of them",
            )]),
        };
        match source {
            Ok(source) if problems.is_empty() => return Ok(source),
            Ok(_) => {}
            // A variable that holds a mistake is not also reported as missing.
            Err(further) => {
                let known: Vec<_> = problems.iter().map(|problem| problem.variable).collect();
                problems.extend(further.into_iter().filter(|problem| !known.contains(&problem.variable)));
            }
        }
        Err(problems)
    }
}

impl Source {
    /// Whether the role logs in by a token of RDS IAM authentication.
    pub fn is_by_token(&self) -> bool {
        match self {
            Self::Secret { defaults, .. } => defaults.is_by_token(),
            Self::Environment(target) => matches!(target.login, Login::IamToken),
        }
    }
}

impl Queries {
    /// Reads the variables through `lookup`. An empty value counts as unset.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<Problem>> {
        // Mistakes in the limits are reported by `Limits`.
        let label_bytes_max = Limits::from_env(&lookup).map_or(usize::MAX, |limits| limits.label_bytes);
        let read = present(lookup);
        let mut problems = Vec::new();
        let prefix = read("METRIC_PREFIX").unwrap_or_default();
        if !prefix.is_empty()
            && let Err(invalid) = MetricName::new(&prefix)
        {
            problems.push(Problem::new("METRIC_PREFIX", &format!("metric names cannot begin so: {invalid}")));
        }
        let labels = read("EXTRA_LABELS").unwrap_or_default();
        let labels = extra_labels(&labels, label_bytes_max)
            .map_err(|problem| problems.push(problem))
            .unwrap_or_default();
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            file: read("QUERIES_FILE").map(PathBuf::from),
            task_root: read("LAMBDA_TASK_ROOT").map(PathBuf::from),
            naming: Naming { prefix, labels },
        })
    }
}

/// `server=db1,env=prod`, as postgres_exporter's `--constantLabels`.
fn extra_labels(text: &str, bytes_max: usize) -> Result<Vec<(LabelName, String)>, Problem> {
    let mut labels: Vec<(LabelName, String)> = Vec::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let problem = |message: &str| Problem::new("EXTRA_LABELS", message);
        let (name, value) =
            pair.split_once('=').ok_or_else(|| problem("must be pairs such as server=db1,env=prod"))?;
        let name =
            LabelName::new(name.trim()).map_err(|invalid| problem(&format!("no label name: {invalid}")))?;
        if labels.iter().any(|(known, _)| *known == name) {
            return Err(problem(&format!("label {name} appears twice")));
        }
        let value = value.trim();
        if value.len() > bytes_max {
            return Err(problem(&format!("the value of label {name} is longer than MAX_LABEL_LENGTH")));
        }
        labels.push((name, value.to_owned()));
    }
    Ok(labels)
}

/// An empty variable counts as unset.
fn present(lookup: impl Fn(&str) -> Option<String>) -> impl Fn(&'static str) -> Option<String> {
    move |variable| lookup(variable).filter(|value| !value.is_empty())
}

fn libpq(read: impl Fn(&'static str) -> Option<String>, problems: &mut Vec<Problem>) -> Parts {
    let mut parts = Parts::default();
    for (variable, part) in LIBPQ {
        if let Err(mistake) = parts.set(part, &read(variable).unwrap_or_default()) {
            problems.push(Problem::new(variable, &mistake.to_string()));
        }
    }
    let region = read("AWS_REGION");
    if let Some(package) = read("LAMBDA_TASK_ROOT") {
        parts.trust_rds(RdsAuthorities { file: PathBuf::from(package).join(RDS_AUTHORITIES), region });
    }
    parts
}

fn of_url(url: &str, defaults: &Parts) -> Result<Target, Vec<Problem>> {
    Target::from_url(url, defaults).map_err(|problems| {
        problems.iter().map(|problem| Problem::new("DATABASE_URL", &problem.to_string())).collect()
    })
}

fn of_variables(parts: Parts) -> Result<Target, Vec<Problem>> {
    parts.complete().map_err(|problems| problems.iter().map(in_variable).collect())
}

fn in_variable(problem: &target::Problem) -> Problem {
    let variable = LIBPQ.iter().find(|(_, part)| Some(*part) == problem.part);
    let message = match problem.mistake {
        Mistake::HostMissing | Mistake::UserMissing => "not set".to_owned(),
        mistake => mistake.to_string(),
    };
    Problem { variable: variable.map_or("PGHOST", |(variable, _)| variable), message }
}

impl Problem {
    fn new(variable: &'static str, message: &str) -> Self {
        Self { variable, message: message.to_owned() }
    }
}

impl fmt::Display for Problem {
    /// `PGPORT: must be a number from 1 to 65535`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.message)
    }
}
