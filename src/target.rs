//! Which database to connect to, as whom and how: what a secret, a URL and libpq's environment variables come
//! to. Parsing only; it reads no environment, fetches nothing and connects to nothing.

mod json;
mod parts;
mod problem;
mod url;

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

pub use parts::{Part, Parts};
pub use problem::{Mistake, Problem};

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
    /// How the role proves to be it.
    pub login: Login,
    /// How the connection is protected.
    pub tls: Tls,
}

/// How a role proves to be it.
#[derive(Debug, Clone)]
pub enum Login {
    /// By this password; without one where the server asks for none.
    Password(Option<SecretString>),
    /// By a token of RDS IAM authentication, which is made for each connection and then stands in for the
    /// password. Such a target demands [`SslMode::VerifyFull`].
    IamToken,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name or an address, reached over TCP. IPv6 addresses are without brackets.
    Tcp(String),
    /// The folder of a Unix socket.
    Socket(PathBuf),
}

impl Host {
    /// The AWS region that the name of an RDS or Aurora endpoint says: `eu-central-1` of
    /// `shop.abc123.eu-central-1.rds.amazonaws.com` (Amazon RDS User Guide, "Finding the connection information").
    pub fn rds_region(&self) -> Option<&str> {
        let Self::Tcp(name) = self else { return None };
        let name = name.strip_suffix('.').unwrap_or(name);
        let name = name.strip_suffix(".cn").unwrap_or(name);
        let region = name.strip_suffix(".rds.amazonaws.com")?.rsplit('.').next()?;
        (!region.is_empty()).then_some(region)
    }
}

/// How a connection is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// How much is demanded.
    pub mode: SslMode,
    /// A PEM file of authorities to trust instead of the platform's (libpq's `sslrootcert`).
    pub root_certificates: Option<PathBuf>,
    /// Whether the password's exchange is bound to the server's certificate.
    pub channel_binding: ChannelBinding,
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
    /// Used where the server has it.
    Prefer,
    /// A server without it is refused.
    Require,
}

impl Login {
    /// What the server is told if it asks for a password.
    pub fn password(&self) -> Option<&SecretString> {
        match self {
            Self::Password(password) => password.as_ref(),
            Self::IamToken => None,
        }
    }
}

impl Target {
    /// Whether both lead to the same server, database and role with the same login and protection.
    pub fn is_same(&self, other: &Self) -> bool {
        let login = |target: &Self| match &target.login {
            Login::Password(password) => Some(password.as_ref().map(|text| text.expose_secret().to_owned())),
            Login::IamToken => None,
        };
        let plain = |target: &Self| {
            let Self { host, port, database, user, tls, .. } = target.clone();
            (host, port, database, user, tls)
        };
        plain(self) == plain(other) && login(self) == login(other)
    }

    /// Reads the text of a secret: a JSON object with the keys that RDS and Aurora use, or a URL. What it
    /// does not say comes from `defaults`.
    ///
    /// # Errors
    /// Everything that is wrong with the text and everything that is missing from both.
    pub fn from_secret(text: &str, defaults: &Parts) -> Result<Self, Vec<Problem>> {
        let text = text.trim();
        if text.is_empty() {
            return Err(vec![Problem::of_text(Mistake::Empty)]);
        }
        if text.starts_with('{') {
            return json::read(text).map_err(|problem| vec![problem])?.complete(defaults);
        }
        match url::without_scheme(text) {
            Some(rest) => url::read(rest).complete(defaults),
            None => Err(vec![Problem::of_text(Mistake::UnknownShape)]),
        }
    }

    /// Reads a URL, as [`Target::from_secret`] does, and nothing else.
    ///
    /// # Errors
    /// Everything that is wrong with the URL and everything that is missing from both.
    pub fn from_url(text: &str, defaults: &Parts) -> Result<Self, Vec<Problem>> {
        match url::without_scheme(text.trim()) {
            Some(rest) => url::read(rest).complete(defaults),
            None => Err(vec![Problem::of_text(Mistake::NotUrl)]),
        }
    }
}
