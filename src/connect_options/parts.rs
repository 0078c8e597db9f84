//! The parts of a target: how their texts are read, and their defaults.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::texts;
use super::{
    ChannelBinding, Host, Login, RdsAuthorities, RootCertificates, SessionAttributes, SslMode, Target, Tls,
};
use crate::problem::{Origin, Problem, Severity};

const DEFAULT_PORT: u16 = 5432;

/// The names of each part: the option of a URL (PostgreSQL documentation, "Parameter Key Words"), and libpq's variable
/// ("Environment Variables").
pub const NAMES: [(&str, &str, Part); 11] = [
    ("host", "PGHOST", Part::Host),
    ("port", "PGPORT", Part::Port),
    ("dbname", "PGDATABASE", Part::Database),
    ("user", "PGUSER", Part::User),
    ("password", "PGPASSWORD", Part::Password),
    ("sslmode", "PGSSLMODE", Part::SslMode),
    ("sslrootcert", "PGSSLROOTCERT", Part::RootCertificates),
    ("channel_binding", "PGCHANNELBINDING", Part::ChannelBinding),
    ("connect_timeout", "PGCONNECT_TIMEOUT", Part::ConnectTimeout),
    ("options", "PGOPTIONS", Part::Options),
    ("target_session_attrs", "PGTARGETSESSIONATTRS", Part::SessionAttributes),
];

/// libpq's variables that would change a connection and are not supported. The others, such as `PGAPPNAME`, would change
/// nothing here.
const UNSUPPORTED: [&str; 18] = [
    "PGDATESTYLE",
    "PGGEQO",
    "PGGSSENCMODE",
    "PGHOSTADDR",
    "PGPASSFILE",
    "PGREQUIREAUTH",
    "PGREQUIREPEER",
    "PGREQUIRESSL",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGSSLCERT",
    "PGSSLCERTMODE",
    "PGSSLCRL",
    "PGSSLCRLDIR",
    "PGSSLKEY",
    "PGSSLMAXPROTOCOLVERSION",
    "PGSSLMINPROTOCOLVERSION",
    "PGTZ",
];

/// The parts of a target that one source has, and the mistakes in it. Each part is optional.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    host: Option<Host>,
    port: Option<u16>,
    database: Option<String>,
    user: Option<String>,
    password: Option<SecretString>,
    ssl_mode: Option<SslMode>,
    roots: Option<Roots>,
    rds_authorities: Option<RdsAuthorities>,
    channel_binding: Option<ChannelBinding>,
    /// `Duration::MAX` for an explicit "no limit".
    connect_timeout: Option<Duration>,
    options: Option<String>,
    session_attributes: Option<SessionAttributes>,
    /// Absent: by password.
    by_token: Option<bool>,
    /// Whether the parts are libpq's variables. Problems name the variables then.
    are_variables: bool,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    /// The parts with a mistake, which are not reported as missing too.
    refused: Vec<Part>,
}

/// Names a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A name, an address, or a path that begins with `/`: the folder of a Unix socket.
    Host,
    /// 1 to 65535.
    Port,
    /// The database's name.
    Database,
    /// The role's name.
    User,
    /// The role's password.
    Password,
    /// libpq's `sslmode`.
    SslMode,
    /// libpq's `sslrootcert`: a file's path, or `system` for the platform's authorities.
    RootCertificates,
    /// libpq's `channel_binding`.
    ChannelBinding,
    /// libpq's `connect_timeout`: whole seconds; zero or less for no limit.
    ConnectTimeout,
    /// libpq's `options`: settings of the session, as `-c name=value`.
    Options,
    /// libpq's `target_session_attrs`.
    SessionAttributes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Roots {
    Platform,
    File(PathBuf),
}

const READ_AS_REQUIRE: &str =
    "read as sslmode=require, which does not verify the server unless sslrootcert is a file";
/// Without verification, another server could read the token.
const TOKEN_SSL_MODE: &str =
    "must be verify-full where DB_AUTH is iam: a token is sent over verified TLS only";

impl Parts {
    /// The values of libpq's variables.
    pub(crate) fn of_variables(read: impl Fn(&'static str) -> Option<String>) -> Self {
        let mut parts = Self { are_variables: true, ..Self::default() };
        for (_, variable, part) in NAMES {
            parts.read(part, variable, &read(variable).unwrap_or_default());
        }
        for variable in UNSUPPORTED.into_iter().filter(|variable| read(variable).is_some()) {
            parts.warn(Problem::in_variable(variable, "not supported, and ignored"));
        }
        parts
    }

    /// Reads `text` as that part. Empty texts are ignored, as in libpq.
    ///
    /// # Errors
    /// The text is not valid for the part. The part stays unchanged.
    pub fn set(&mut self, part: Part, text: &str) -> Result<(), &'static str> {
        if text.is_empty() {
            return Ok(());
        }
        // PostgreSQL's protocol ends texts with NUL.
        if text.contains('\0') {
            return Err("must not contain a NUL character");
        }
        match part {
            Part::Host => {
                let (host, port) = texts::host(text)?;
                self.host = Some(host);
                self.port = port.or(self.port);
            }
            Part::Port => self.port = Some(texts::port(text)?),
            Part::Database => self.database = Some(text.to_owned()),
            Part::User => self.user = Some(text.to_owned()),
            Part::Password => self.password = Some(text.into()),
            Part::SslMode => self.ssl_mode = Some(texts::ssl_mode(text)?),
            Part::RootCertificates => self.roots = Some(texts::roots(text)),
            Part::ChannelBinding => self.channel_binding = Some(texts::channel_binding(text)?),
            Part::ConnectTimeout => self.connect_timeout = Some(texts::connect_timeout(text)?),
            Part::Options => self.options = Some(text.to_owned()),
            Part::SessionAttributes => self.session_attributes = Some(texts::session_attributes(text)?),
        }
        Ok(())
    }

    /// Reads the text of the key, option or variable `name`. A mistake becomes a problem.
    pub(crate) fn read(&mut self, part: Part, name: &str, text: &str) {
        match self.set(part, text) {
            Err(message) => self.refuse(part, name, message),
            Ok(()) if part == Part::SslMode && text == texts::NO_VERIFY => {
                self.warn(self.problem(part, name, READ_AS_REQUIRE));
            }
            Ok(()) => {}
        }
    }

    /// node-postgres's `uselibpqcompat=true`: without an `sslmode` it means `require`.
    pub(super) fn follow_libpq(&mut self, name: &str) {
        if *self.ssl_mode.get_or_insert(SslMode::Require) == SslMode::Require {
            self.warn(self.problem(Part::SslMode, name, READ_AS_REQUIRE));
        }
    }

    fn warn(&mut self, problem: Problem) {
        self.warnings.push(Problem { severity: Severity::Warning, ..problem });
    }

    /// A mistake in the text of a part, under this name.
    pub(super) fn refuse(&mut self, part: Part, name: &str, message: &str) {
        self.refused.push(part);
        self.problems.push(self.problem(part, name, message));
    }

    fn problem(&self, part: Part, name: &str, message: &str) -> Problem {
        match part.variable().filter(|_| self.are_variables) {
            Some(variable) => Problem::in_variable(variable, message),
            None => Problem::at(Origin::Secret, name, message),
        }
    }

    /// A mistake that is not in the text of a part.
    pub(super) fn add_problem(&mut self, name: &str, message: &str) {
        self.problems.push(Problem::at(Origin::Secret, name, message));
    }

    /// The mistakes so far. Parts with a mistake are still not reported as missing.
    pub(crate) fn take_problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.problems)
    }

    /// Trusts these authorities in addition to the platform's, unless `sslrootcert` is set. Their region is
    /// used for hosts whose names have no region.
    pub(crate) fn trust_rds(&mut self, authorities: RdsAuthorities) {
        self.rds_authorities = Some(authorities);
    }

    /// The role logs in with a token of RDS IAM authentication. Passwords are ignored, and verified TLS is
    /// required. This also applies to other parts that these complete. A weaker `sslmode` is a mistake, and dropped.
    pub(crate) fn log_in_by_token(&mut self) {
        self.by_token = Some(true);
        if self.ssl_mode.is_some_and(|mode| mode != SslMode::VerifyFull) {
            self.ssl_mode = None;
            self.refuse(Part::SslMode, Part::SslMode.key(), TOKEN_SSL_MODE);
        }
    }

    /// The role logs in with a password, whatever the parts say that complete these.
    pub(crate) fn log_in_by_password(&mut self) {
        self.by_token = Some(false);
    }

    /// Forgets the password, for targets whose addresses others choose.
    pub(crate) fn forget_password(&mut self) {
        self.password = None;
    }

    /// Whether [`Parts::log_in_by_token`] was called.
    pub(crate) fn is_by_token(&self) -> bool {
        self.by_token == Some(true)
    }

    /// A target from these parts alone.
    ///
    /// As in libpq, the port defaults to 5432, the database to the user's name, and a Unix socket never uses
    /// TLS. `sslmode` defaults to `verify-full`, but for loopback to `prefer`: its traffic cannot be read,
    /// and certificates are rare. With a token, the default is always `verify-full`.
    ///
    /// # Errors
    /// The mistakes so far, and: the host or the user is missing, `sslrootcert=system` is combined with a weaker mode
    /// than it allows, or a token would be sent without verified TLS.
    pub(crate) fn complete(mut self) -> Result<Target, Vec<Problem>> {
        for (part, is_missing, message) in [
            (Part::Host, self.host.is_none(), "missing here, and PGHOST is not set"),
            (Part::User, self.user.is_none(), "missing here (in JSON it is username), and PGUSER is not set"),
        ] {
            if is_missing && !self.refused.contains(&part) {
                self.refuse(part, part.key(), if self.are_variables { "not set" } else { message });
            }
        }
        let tls = self.tls();
        if let Err((part, message)) = tls
            && !self.refused.contains(&part)
        {
            self.refuse(part, part.key(), message);
        }
        match (self.host, self.user, tls) {
            (Some(host), Some(user), Ok(tls)) if self.problems.is_empty() => Ok(Target {
                host,
                port: self.port.unwrap_or(DEFAULT_PORT),
                database: self.database.unwrap_or_else(|| user.clone()),
                user,
                login: if self.by_token == Some(true) {
                    Login::IamToken
                } else {
                    Login::Password(self.password)
                },
                tls,
                connect_timeout: self.connect_timeout,
                options: self.options,
                session_attributes: self.session_attributes.unwrap_or_default(),
                warnings: self.warnings,
            }),
            _ => Err(self.problems),
        }
    }

    fn tls(&self) -> Result<Tls, (Part, &'static str)> {
        let ssl_mode = if self.is_by_token() { Some(self.tokens_ssl_mode()?) } else { self.ssl_mode };
        let mode = match (&self.host, &self.roots, ssl_mode) {
            (Some(Host::Socket(_)), _, _) => SslMode::Disable,
            (_, Some(Roots::Platform), None | Some(SslMode::VerifyFull)) => SslMode::VerifyFull,
            // libpq refuses this too: public authorities do not identify the server if its name is not verified.
            (_, Some(Roots::Platform), Some(_)) => {
                return Err((Part::SslMode, "must be verify-full where sslrootcert is system"));
            }
            // The platform's authorities certify any name, so without a name they do not identify the server.
            (_, None, Some(SslMode::VerifyCa)) => {
                return Err((
                    Part::SslMode,
                    "verify-ca needs sslrootcert: without it any certificate of a public authority would do; use verify-full",
                ));
            }
            (_, _, Some(mode)) => mode,
            (Some(Host::Tcp(host)), _, None) if texts::is_loopback(host) => SslMode::Prefer,
            (_, _, None) => SslMode::VerifyFull,
        };
        let root_certificates = self.root_certificates();
        let channel_binding = self.channel_binding.unwrap_or(ChannelBinding::Prefer);
        Ok(Tls { mode, root_certificates, channel_binding })
    }

    fn root_certificates(&self) -> RootCertificates {
        match (&self.roots, &self.rds_authorities, &self.host) {
            (Some(Roots::File(path)), _, _) => RootCertificates::File(path.clone()),
            (None, Some(RdsAuthorities { file, region }), Some(host @ Host::Tcp(name)))
                if !texts::is_loopback(name) && !host.is_rds_proxy() =>
            {
                let region = host.rds_region().map(str::to_owned).or_else(|| region.clone());
                RootCertificates::PlatformAndRds(RdsAuthorities { file: file.clone(), region })
            }
            _ => RootCertificates::Platform,
        }
    }

    /// A token is a password in clear text, so only the verified server may read it (Amazon RDS User Guide,
    /// "Connecting to your DB instance using IAM authentication"). RDS requests it in clear text inside TLS, and only
    /// SCRAM supports channel binding.
    fn tokens_ssl_mode(&self) -> Result<SslMode, (Part, &'static str)> {
        match (&self.host, self.ssl_mode, self.channel_binding) {
            (Some(Host::Socket(_)), _, _) => Err((
                Part::Host,
                "must not be a Unix socket where DB_AUTH is iam: a token is sent over verified TLS only",
            )),
            (_, _, Some(ChannelBinding::Require)) => Err((
                Part::ChannelBinding,
                "must not be require where DB_AUTH is iam: a token's login cannot be bound to the certificate",
            )),
            (_, None | Some(SslMode::VerifyFull), _) => Ok(SslMode::VerifyFull),
            _ => Err((Part::SslMode, TOKEN_SSL_MODE)),
        }
    }

    /// These parts, completed by others.
    pub(crate) fn or(self, other: &Self) -> Self {
        Self {
            host: self.host.or_else(|| other.host.clone()),
            port: self.port.or(other.port),
            database: self.database.or_else(|| other.database.clone()),
            user: self.user.or_else(|| other.user.clone()),
            password: self.password.or_else(|| other.password.clone()),
            ssl_mode: self.ssl_mode.or(other.ssl_mode),
            roots: self.roots.or_else(|| other.roots.clone()),
            rds_authorities: self.rds_authorities.or_else(|| other.rds_authorities.clone()),
            channel_binding: self.channel_binding.or(other.channel_binding),
            connect_timeout: self.connect_timeout.or(other.connect_timeout),
            options: self.options.or_else(|| other.options.clone()),
            session_attributes: self.session_attributes.or(other.session_attributes),
            warnings: [self.warnings, other.warnings.clone()].concat(),
            by_token: self.by_token.or(other.by_token),
            problems: [self.problems, other.problems.clone()].concat(),
            refused: [self.refused, other.refused.clone()].concat(),
            ..self
        }
    }
}

impl Part {
    /// The option's name in a URL.
    fn key(self) -> &'static str {
        NAMES.iter().find(|(.., part)| *part == self).map_or("", |(option, ..)| option)
    }

    fn variable(self) -> Option<&'static str> {
        NAMES.iter().find(|(.., part)| *part == self).map(|(_, variable, _)| *variable)
    }
}
