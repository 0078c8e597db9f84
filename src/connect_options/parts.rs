//! The parts of a target: how their texts are read, and their defaults.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::url::OPTIONS;
use super::{ChannelBinding, Host, Login, RdsAuthorities, RootCertificates, SslMode, Target, Tls};
use crate::problem::{Origin, Problem};

const DEFAULT_PORT: u16 = 5432;

/// libpq's variables that are read (PostgreSQL documentation, "Environment Variables").
pub const LIBPQ: [(&str, Part); 8] = [
    ("PGHOST", Part::Host),
    ("PGPORT", Part::Port),
    ("PGDATABASE", Part::Database),
    ("PGUSER", Part::User),
    ("PGPASSWORD", Part::Password),
    ("PGSSLMODE", Part::SslMode),
    ("PGSSLROOTCERT", Part::RootCertificates),
    ("PGCONNECT_TIMEOUT", Part::ConnectTimeout),
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
    by_token: bool,
    /// Whether the parts are libpq's variables. Problems name the variables then.
    are_variables: bool,
    problems: Vec<Problem>,
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
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Roots {
    Platform,
    File(PathBuf),
}

pub(super) const NO_HOST: &str = "not a host name, an address or the folder of a Unix socket";
pub(super) const SEVERAL_HOSTS: &str = "several hosts are not supported; name one";
/// Without verification, another server could read the token.
const TOKEN_SSL_MODE: &str =
    "must be verify-full where DB_AUTH is iam: a token is sent over verified TLS only";

impl Parts {
    /// The values of libpq's variables.
    pub(crate) fn of_variables(read: impl Fn(&'static str) -> Option<String>) -> Self {
        let mut parts = Self { are_variables: true, ..Self::default() };
        for (variable, part) in LIBPQ {
            parts.read(part, variable, &read(variable).unwrap_or_default());
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
            Part::Host => self.host = Some(parse_host(text)?),
            Part::Port => self.port = Some(parse_port(text)?),
            Part::Database => self.database = Some(text.to_owned()),
            Part::User => self.user = Some(text.to_owned()),
            Part::Password => self.password = Some(text.into()),
            Part::SslMode => self.ssl_mode = Some(parse_ssl_mode(text)?),
            Part::RootCertificates => self.roots = Some(parse_roots(text)),
            Part::ChannelBinding => self.channel_binding = Some(parse_channel_binding(text)?),
            Part::ConnectTimeout => self.connect_timeout = Some(parse_connect_timeout(text)?),
        }
        Ok(())
    }

    /// Reads the text of the key, option or variable `name`. A mistake becomes a problem.
    pub(super) fn read(&mut self, part: Part, name: &str, text: &str) {
        if let Err(message) = self.set(part, text) {
            self.refuse(part, name, message);
        }
    }

    /// A mistake in the text of a part, under this name.
    pub(super) fn refuse(&mut self, part: Part, name: &str, message: &str) {
        self.refused.push(part);
        match part.variable().filter(|_| self.are_variables) {
            Some(variable) => self.problems.push(Problem::in_variable(variable, message)),
            None => self.add_problem(name, message),
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
        self.by_token = true;
        if self.ssl_mode.is_some_and(|mode| mode != SslMode::VerifyFull) {
            self.ssl_mode = None;
            self.refuse(Part::SslMode, Part::SslMode.key(), TOKEN_SSL_MODE);
        }
    }

    /// Whether [`Parts::log_in_by_token`] was called.
    pub(crate) fn is_by_token(&self) -> bool {
        self.by_token
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
                login: if self.by_token { Login::IamToken } else { Login::Password(self.password) },
                tls,
                connect_timeout: self.connect_timeout,
            }),
            _ => Err(self.problems),
        }
    }

    fn tls(&self) -> Result<Tls, (Part, &'static str)> {
        let ssl_mode = if self.by_token { Some(self.tokens_ssl_mode()?) } else { self.ssl_mode };
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
            (Some(Host::Tcp(host)), _, None) if is_loopback(host) => SslMode::Prefer,
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
                if !is_loopback(name) && !host.is_rds_proxy() =>
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
    pub(super) fn or(self, other: &Self) -> Self {
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
            by_token: self.by_token || other.by_token,
            refused: [self.refused, other.refused.clone()].concat(),
            ..self
        }
    }
}

impl Part {
    /// The option's name in a URL.
    fn key(self) -> &'static str {
        OPTIONS.iter().find(|(_, part)| *part == self).map_or("", |(name, _)| name)
    }

    fn variable(self) -> Option<&'static str> {
        LIBPQ.iter().find(|(_, part)| *part == self).map(|(variable, _)| *variable)
    }
}

fn parse_host(text: &str) -> Result<Host, &'static str> {
    if text.contains(',') {
        return Err(SEVERAL_HOSTS);
    }
    if text.starts_with('/') {
        return Ok(Host::Socket(text.into()));
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || "@/?#[]".contains(c)) {
        return Err(NO_HOST);
    }
    // An IPv6 address may name its zone: fe80::1%eth0.
    let address = text.split('%').next().unwrap_or(text);
    if text.contains(':') && address.parse::<Ipv6Addr>().is_err() {
        return Err("holds a port; give the port by itself");
    }
    Ok(Host::Tcp(text.to_owned()))
}

fn parse_port(text: &str) -> Result<u16, &'static str> {
    match text.trim().parse() {
        Ok(0) | Err(_) => Err("must be a number from 1 to 65535"),
        Ok(port) => Ok(port),
    }
}

fn parse_ssl_mode(text: &str) -> Result<SslMode, &'static str> {
    match text {
        "disable" => Ok(SslMode::Disable),
        "allow" | "prefer" => Ok(SslMode::Prefer),
        "require" => Ok(SslMode::Require),
        "verify-ca" => Ok(SslMode::VerifyCa),
        "verify-full" => Ok(SslMode::VerifyFull),
        _ => Err("must be disable, allow, prefer, require, verify-ca or verify-full"),
    }
}

fn parse_roots(text: &str) -> Roots {
    if text == "system" { Roots::Platform } else { Roots::File(text.into()) }
}

fn parse_channel_binding(text: &str) -> Result<ChannelBinding, &'static str> {
    match text {
        "disable" => Ok(ChannelBinding::Disable),
        "prefer" => Ok(ChannelBinding::Prefer),
        "require" => Ok(ChannelBinding::Require),
        _ => Err("must be disable, prefer or require"),
    }
}

fn parse_connect_timeout(text: &str) -> Result<Duration, &'static str> {
    match text.trim().parse::<i64>() {
        Ok(seconds) => {
            Ok(u64::try_from(seconds).ok().filter(|&s| s > 0).map_or(Duration::MAX, Duration::from_secs))
        }
        Err(_) => Err("must be a whole number of seconds; 0 means no limit"),
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.parse::<IpAddr>().map(|address| address.to_canonical());
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}
