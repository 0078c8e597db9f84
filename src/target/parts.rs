//! The parts of a target: how their texts are read, and their defaults.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::{
    ChannelBinding, Host, Login, Mistake, Problem, RdsAuthorities, RootCertificates, SslMode, Target, Tls,
};

const DEFAULT_PORT: u16 = 5432;

/// The parts of a target that one source has. Each part is optional.
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

/// The parts of a text, and its mistakes.
pub(super) struct Reading {
    pub(super) parts: Parts,
    pub(super) problems: Vec<Problem>,
}

impl Parts {
    /// Reads `text` as that part. Empty texts are ignored, as in libpq.
    ///
    /// # Errors
    /// The text is not valid for the part. The part stays unchanged.
    pub fn set(&mut self, part: Part, text: &str) -> Result<(), Mistake> {
        if text.is_empty() {
            return Ok(());
        }
        if text.contains('\0') {
            return Err(Mistake::Nul);
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

    /// Trusts these authorities in addition to the platform's, unless `sslrootcert` is set. Their region is
    /// used for hosts whose names have no region.
    pub fn trust_rds(&mut self, authorities: RdsAuthorities) {
        self.rds_authorities = Some(authorities);
    }

    /// The role logs in with a token of RDS IAM authentication. Passwords are ignored, and verified TLS is
    /// required. This also applies to other parts that these complete.
    ///
    /// # Errors
    /// A weaker `sslmode` was set before. It is dropped.
    pub fn log_in_by_token(&mut self) -> Result<(), Problem> {
        self.by_token = true;
        match self.ssl_mode {
            None | Some(SslMode::VerifyFull) => Ok(()),
            Some(_) => {
                self.ssl_mode = None;
                Err(Problem::of_part(Part::SslMode, "sslmode", Mistake::TokenSslMode))
            }
        }
    }

    /// Whether [`Parts::log_in_by_token`] was called.
    pub fn is_by_token(&self) -> bool {
        self.by_token
    }

    /// A target from these parts alone.
    ///
    /// As in libpq, the port defaults to 5432, the database to the user's name, and a Unix socket never uses
    /// TLS. `sslmode` defaults to `verify-full`, but for loopback to `prefer`: its traffic cannot be read,
    /// and certificates are rare. With a token, the default is always `verify-full`.
    ///
    /// # Errors
    /// The host or the user is missing, `sslrootcert=system` is combined with a weaker mode than it allows,
    /// or a token would be sent without verified TLS.
    pub fn complete(self) -> Result<Target, Vec<Problem>> {
        let tls = self.tls();
        match (self.host, self.user, tls) {
            (Some(host), Some(user), Ok(tls)) => Ok(Target {
                host,
                port: self.port.unwrap_or(DEFAULT_PORT),
                database: self.database.unwrap_or_else(|| user.clone()),
                user,
                login: if self.by_token { Login::IamToken } else { Login::Password(self.password) },
                tls,
                connect_timeout: self.connect_timeout,
            }),
            (host, user, tls) => {
                let host = host.is_none().then(|| Problem::of_part(Part::Host, "host", Mistake::HostMissing));
                let user = user.is_none().then(|| Problem::of_part(Part::User, "user", Mistake::UserMissing));
                Err(host.into_iter().chain(user).chain(tls.err()).collect())
            }
        }
    }

    fn tls(&self) -> Result<Tls, Problem> {
        let ssl_mode = if self.by_token { Some(self.tokens_ssl_mode()?) } else { self.ssl_mode };
        let mode = match (&self.host, &self.roots, ssl_mode) {
            (Some(Host::Socket(_)), _, _) => SslMode::Disable,
            (_, Some(Roots::Platform), None | Some(SslMode::VerifyFull)) => SslMode::VerifyFull,
            (_, Some(Roots::Platform), Some(_)) => {
                return Err(Problem::of_part(Part::SslMode, "sslmode", Mistake::WeakSslMode));
            }
            (_, None, Some(SslMode::VerifyCa)) => {
                return Err(Problem::of_part(Part::SslMode, "sslmode", Mistake::PublicSslMode));
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
    /// "Connecting to your DB instance using IAM authentication").
    fn tokens_ssl_mode(&self) -> Result<SslMode, Problem> {
        match (&self.host, self.ssl_mode, self.channel_binding) {
            (Some(Host::Socket(_)), _, _) => {
                Err(Problem::of_part(Part::Host, "host", Mistake::TokenOverSocket))
            }
            (_, _, Some(ChannelBinding::Require)) => {
                Err(Problem::of_part(Part::ChannelBinding, "channel_binding", Mistake::TokenChannelBinding))
            }
            (_, None | Some(SslMode::VerifyFull), _) => Ok(SslMode::VerifyFull),
            _ => Err(Problem::of_part(Part::SslMode, "sslmode", Mistake::TokenSslMode)),
        }
    }

    fn or(self, other: &Self) -> Self {
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
        }
    }
}

impl Reading {
    pub(super) fn new() -> Self {
        Self { parts: Parts::default(), problems: Vec::new() }
    }

    pub(super) fn set(&mut self, part: Part, name: &'static str, text: &str) {
        if let Err(mistake) = self.parts.set(part, text) {
            self.problems.push(Problem::of_part(part, name, mistake));
        }
    }

    /// A target, if there is no mistake. A part with a mistake is not reported as missing too. If the text as
    /// a whole is unreadable, no part is reported as missing.
    pub(super) fn complete(self, defaults: &Parts) -> Result<Target, Vec<Problem>> {
        let mut problems = self.problems;
        if problems.iter().any(Problem::is_of_text) {
            return Err(problems);
        }
        match self.parts.or(defaults).complete() {
            Ok(target) if problems.is_empty() => return Ok(target),
            Ok(_) => {}
            Err(further) => {
                let known: Vec<_> = problems.iter().map(|problem| problem.part).collect();
                problems.extend(further.into_iter().filter(|problem| !known.contains(&problem.part)));
            }
        }
        Err(problems)
    }
}

fn parse_host(text: &str) -> Result<Host, Mistake> {
    if text.contains(',') {
        return Err(Mistake::SeveralHosts);
    }
    if text.starts_with('/') {
        return Ok(Host::Socket(text.into()));
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || "@/?#[]".contains(c)) {
        return Err(Mistake::Host);
    }
    // An IPv6 address may name its zone: fe80::1%eth0.
    let address = text.split('%').next().unwrap_or(text);
    if text.contains(':') && address.parse::<Ipv6Addr>().is_err() {
        return Err(Mistake::HostWithPort);
    }
    Ok(Host::Tcp(text.to_owned()))
}

fn parse_port(text: &str) -> Result<u16, Mistake> {
    match text.trim().parse() {
        Ok(0) | Err(_) => Err(Mistake::Port),
        Ok(port) => Ok(port),
    }
}

fn parse_ssl_mode(text: &str) -> Result<SslMode, Mistake> {
    match text {
        "disable" => Ok(SslMode::Disable),
        "allow" | "prefer" => Ok(SslMode::Prefer),
        "require" => Ok(SslMode::Require),
        "verify-ca" => Ok(SslMode::VerifyCa),
        "verify-full" => Ok(SslMode::VerifyFull),
        _ => Err(Mistake::SslMode),
    }
}

fn parse_roots(text: &str) -> Roots {
    if text == "system" { Roots::Platform } else { Roots::File(text.into()) }
}

fn parse_channel_binding(text: &str) -> Result<ChannelBinding, Mistake> {
    match text {
        "disable" => Ok(ChannelBinding::Disable),
        "prefer" => Ok(ChannelBinding::Prefer),
        "require" => Ok(ChannelBinding::Require),
        _ => Err(Mistake::ChannelBinding),
    }
}

fn parse_connect_timeout(text: &str) -> Result<Duration, Mistake> {
    match text.trim().parse::<i64>() {
        Ok(seconds) => {
            Ok(u64::try_from(seconds).ok().filter(|&s| s > 0).map_or(Duration::MAX, Duration::from_secs))
        }
        Err(_) => Err(Mistake::ConnectTimeout),
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.parse::<IpAddr>().map(|address| address.to_canonical());
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}
