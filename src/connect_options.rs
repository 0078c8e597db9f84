//! The database to connect to, the role and the login, from a secret, a URL and libpq's environment
//! variables. This module only parses. It reads no environment and makes no connection.

mod json;
mod parts;
mod texts;
mod url;

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::problem::{Origin, Problem};
pub use parts::{NAMES, Part, Parts};

/// Everything that a connection needs.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where the server listens.
    pub host: Host,
    /// TCP port, or the number in the Unix socket's name.
    pub port: u16,
    /// The database to connect to.
    pub database: String,
    /// The role.
    pub user: String,
    /// How the role logs in.
    pub login: Login,
    /// How the connection is protected.
    pub tls: Tls,
    /// libpq's `connect_timeout`: how long connecting may take, if that is shorter than the scrape allows.
    pub connect_timeout: Option<Duration>,
    /// libpq's `options`: settings of the session, as `-c name=value`.
    pub options: Option<String>,
    /// libpq's `target_session_attrs`: the servers that are accepted.
    pub session_attributes: SessionAttributes,
    /// The texts that are not followed to the letter, and why.
    pub warnings: Vec<Problem>,
}

/// How a target is found.
#[derive(Debug, Clone)]
pub enum Access {
    /// In a secret, which is read when it is needed.
    Secret {
        /// Its name or ARN.
        id: String,
        /// The parts that count instead of those of the secret.
        own: Box<Parts>,
        /// The parts that count if neither has them.
        defaults: Box<Parts>,
    },
    /// It is known.
    Known(Target),
}

impl Access {
    /// Whether the role may log in by a token of RDS IAM authentication.
    pub(crate) fn is_by_token(&self) -> bool {
        match self {
            Self::Secret { own, defaults, .. } => Parts::clone(own).or(defaults).is_by_token(),
            Self::Known(target) => matches!(target.login, Login::IamToken),
        }
    }
}

/// How a role logs in.
#[derive(Debug, Clone)]
pub enum Login {
    /// With this password, or without one if the server does not ask.
    Password(Option<SecretString>),
    /// With a token of RDS IAM authentication, which is made for each connection and sent as the password.
    /// Such a target requires [`SslMode::VerifyFull`].
    IamToken,
}

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name or an address, reached over TCP. IPv6 addresses are without brackets.
    Tcp(String),
    /// The folder of a Unix socket.
    Socket(PathBuf),
}

impl Host {
    /// The AWS region in the name of an RDS or Aurora endpoint: `eu-central-1` of
    /// `shop.abc123.eu-central-1.rds.amazonaws.com` (Amazon RDS User Guide, "Finding the connection
    /// information"), and in China `cn-north-1` of `shop.abc123.rds.cn-north-1.amazonaws.com.cn`.
    pub fn rds_region(&self) -> Option<&str> {
        let Self::Tcp(name) = self else { return None };
        let name = name.strip_suffix('.').unwrap_or(name);
        let name = name.strip_suffix(".cn").unwrap_or(name);
        let (rest, last) = name.strip_suffix(".amazonaws.com")?.rsplit_once('.')?;
        let (rest, before) = rest.rsplit_once('.').unwrap_or(("", rest));
        let region = match (last, before) {
            ("rds", region) => region,
            (region, "rds") if !rest.is_empty() => region,
            _ => return None,
        };
        (!region.is_empty()).then_some(region)
    }

    /// Whether it is an endpoint of RDS Proxy. Amazon's public authorities issue its certificates, not those
    /// of RDS (Amazon RDS User Guide, "Using TLS/SSL with RDS Proxy").
    pub(crate) fn is_rds_proxy(&self) -> bool {
        matches!(self, Self::Tcp(name) if name.contains(".proxy-")) && self.rds_region().is_some()
    }
}

/// How a connection is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The required protection.
    pub mode: SslMode,
    /// The trusted authorities, if the certificate is verified.
    pub root_certificates: RootCertificates,
    /// Whether the password's exchange is bound to the server's certificate.
    pub channel_binding: ChannelBinding,
}

/// The authorities that may issue a server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootCertificates {
    /// The platform's.
    Platform,
    /// The platform's and those of Amazon RDS.
    PlatformAndRds(RdsAuthorities),
    /// The authorities in a PEM file, and no others (libpq's `sslrootcert`).
    File(PathBuf),
}

/// The file of Amazon RDS's authorities, and which of them are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RdsAuthorities {
    /// The file that packaging/rds_authorities.py makes. It may be missing.
    pub file: PathBuf,
    /// Only this region's authorities are trusted. Absent: those of all regions.
    pub region: Option<String>,
}

/// libpq's `sslmode` (PostgreSQL documentation, "SSL Support", table 34.1). `allow` is read as `prefer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS if the server has it, unverified.
    Prefer,
    /// TLS, unverified unless root certificates are given.
    Require,
    /// TLS, and the certificate leads to a trusted authority.
    VerifyCa,
    /// TLS, a trusted authority, and the server's name.
    VerifyFull,
}

/// libpq's `channel_binding` (PostgreSQL documentation, "Parameter Key Words").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Not used.
    Disable,
    /// Used if the server supports it.
    Prefer,
    /// Required.
    Require,
}

/// libpq's `target_session_attrs` (PostgreSQL documentation, "Parameter Key Words").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SessionAttributes {
    /// Every server.
    #[default]
    Any,
    /// A server whose sessions may write.
    ReadWrite,
    /// A server whose sessions may not write.
    ReadOnly,
    /// A server that is not in recovery.
    Primary,
    /// A server in recovery.
    Standby,
    /// A server in recovery, unless no address of the host has one.
    PreferStandby,
}

impl Login {
    /// The password to send if the server asks for one.
    pub fn password(&self) -> Option<&SecretString> {
        match self {
            Self::Password(password) => password.as_ref(),
            Self::IamToken => None,
        }
    }
}

impl Target {
    /// Whether both targets are the same server, database and role with the same protection and settings. Passwords
    /// are not compared.
    pub(crate) fn leads_where(&self, other: &Self) -> bool {
        let place = |target: &Self| {
            let Self { host, port, database, user, tls, options, session_attributes, .. } = target.clone();
            (host, port, database, user, tls, options, session_attributes)
        };
        place(self) == place(other)
    }

    /// Whether both targets are the same, including the login.
    pub fn is_same(&self, other: &Self) -> bool {
        let [one, another] = [self, other].map(|target| {
            let password = target.login.password().map(ExposeSecret::expose_secret);
            (matches!(target.login, Login::IamToken), password)
        });
        self.leads_where(other) && one == another
    }

    /// Reads the text of a secret: a JSON object with the keys that RDS and Aurora use, or a URL. `defaults`
    /// complete missing parts.
    ///
    /// # Errors
    /// Every mistake in the text, and every part that is missing from both.
    pub fn from_secret(text: &str, defaults: &Parts) -> Result<Self, Vec<Problem>> {
        complete(secret_parts(text), defaults)
    }

    /// Does the same, but the parts `own` count instead of those in the text.
    ///
    /// # Errors
    /// As [`Target::from_secret`].
    pub fn from_secret_with(text: &str, own: &Parts, defaults: &Parts) -> Result<Self, Vec<Problem>> {
        complete(secret_parts(text).map(|parts| own.clone().or(&parts)), defaults)
    }

    /// Reads a URL, as [`Target::from_secret`] does.
    ///
    /// # Errors
    /// Every mistake in the URL, and every part that is missing from both.
    pub fn from_url(text: &str, defaults: &Parts) -> Result<Self, Vec<Problem>> {
        let parts = match url::without_scheme(without_mark(text)) {
            Some(rest) => url::read(rest),
            None => Err("not a URL that begins with postgres:// or postgresql://".to_owned()),
        };
        complete(parts, defaults)
    }
}

/// Editors and PowerShell write a byte order mark in front of a file.
fn without_mark(text: &str) -> &str {
    text.trim_start_matches('\u{feff}').trim()
}

fn secret_parts(text: &str) -> Result<Parts, String> {
    let text = without_mark(text);
    match url::without_scheme(text) {
        Some(rest) => url::read(rest),
        None if text.is_empty() => Err("empty".to_owned()),
        None if text.starts_with('{') => json::read(text),
        None => {
            Err("neither a JSON object nor a URL that begins with postgres:// or postgresql://".to_owned())
        }
    }
}

/// A text that is unreadable as a whole has no missing parts.
fn complete(parts: Result<Parts, String>, defaults: &Parts) -> Result<Target, Vec<Problem>> {
    parts.map_err(|message| vec![Problem::at(Origin::Secret, "", message)])?.or(defaults).complete()
}
