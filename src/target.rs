//! Which database to connect to, as whom and how: what a secret, a URL and libpq's environment variables come
//! to. Parsing only; it fetches nothing and connects to nothing.

use std::path::PathBuf;

use secrecy::SecretString;

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
    /// Absent where the server asks for none.
    pub password: Option<SecretString>,
    /// How the connection is protected.
    pub tls: Tls,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name or an address, reached over TCP.
    Tcp(String),
    /// The folder of a Unix socket.
    Socket(PathBuf),
}

/// How a connection is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// How much is demanded.
    pub mode: SslMode,
    /// A PEM file of authorities to trust instead of the platform's (libpq's `sslrootcert`).
    pub root_certificates: Option<PathBuf>,
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
