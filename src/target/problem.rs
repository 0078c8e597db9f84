//! What can be wrong with the parts of a target. Nothing here carries a value: a value may be the password.

use std::borrow::Cow;
use std::fmt;

use super::Part;

/// One thing that is wrong with a secret's text, a URL or a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The part of the target that it concerns, if it is one.
    pub part: Option<Part>,
    /// The key or option as its author wrote it. Empty where the whole text is meant.
    pub name: Cow<'static, str>,
    /// What is wrong.
    pub mistake: Mistake,
}

/// What is wrong with a part of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// There is no text.
    #[error("empty")]
    Empty,
    /// A secret is neither JSON nor a URL.
    #[error("neither a JSON object nor a URL that begins with postgres:// or postgresql://")]
    UnknownShape,
    /// A text that must be a URL is none.
    #[error("not a URL that begins with postgres:// or postgresql://")]
    NotUrl,
    /// The JSON cannot be parsed.
    #[error("not valid JSON at line {line}, column {column}")]
    Json {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// A JSON value of another type.
    #[error("must be a string")]
    NotString,
    /// A secret of another database.
    #[error("must be postgres or aurora-postgresql")]
    Engine,
    /// Not a TCP port.
    #[error("must be a number from 1 to 65535")]
    Port,
    /// A character that no host name and no address has.
    #[error("not a host name, an address or the folder of a Unix socket")]
    Host,
    /// `host:port` where a host alone is meant.
    #[error("holds a port; give the port by itself")]
    HostWithPort,
    /// libpq's list of hosts.
    #[error("several hosts are not supported; name one")]
    SeveralHosts,
    /// An IPv6 address in a URL without brackets.
    #[error("holds more than one colon; an IPv6 address stands in brackets: [::1]")]
    BracketsMissing,
    /// PostgreSQL's protocol ends a text with NUL.
    #[error("must not contain a NUL character")]
    Nul,
    /// Bytes that are no text.
    #[error("must be UTF-8 after percent-decoding")]
    NotUtf8,
    /// No `sslmode` that libpq has.
    #[error("must be disable, allow, prefer, require, verify-ca or verify-full")]
    SslMode,
    /// libpq refuses this too: authorities that the world trusts say nothing of an unverified name.
    #[error("must be verify-full where sslrootcert is system")]
    WeakSslMode,
    /// The platform trusts authorities that certify anybody, so without a name to check they say nothing of the server.
    #[error(
        "verify-ca needs sslrootcert: without it any certificate of a public authority would do; use verify-full"
    )]
    PublicSslMode,
    /// Whoever is not the server could read the token.
    #[error("must be verify-full where DB_AUTH is iam: a token is sent over verified TLS only")]
    TokenSslMode,
    /// There is no TLS on a Unix socket.
    #[error("must be no Unix socket where DB_AUTH is iam: a token is sent over verified TLS only")]
    TokenOverSocket,
    /// RDS asks for a token in clear text inside TLS, and only SCRAM can be bound to a certificate.
    #[error("must not be require where DB_AUTH is iam: a token's login cannot be bound to the certificate")]
    TokenChannelBinding,
    /// No `channel_binding` that libpq has.
    #[error("must be disable, prefer or require")]
    ChannelBinding,
    /// No `connect_timeout` that libpq has.
    #[error("must be a whole number of seconds; 0 means no limit of its own")]
    ConnectTimeout,
    /// An option without `=`.
    #[error("needs a value, as in option=value")]
    NoValue,
    /// An option that is not known or whose meaning cannot be kept.
    #[error("not an option that is supported here")]
    UnknownOption,
    /// An option that can be ignored with other values, but not with this.
    #[error("not supported with this value")]
    UnsupportedValue,
    /// Probably a `?` in the password; the options are not named, since they would be parts of it.
    #[error("the part after the first ? holds an @ and cannot be read; write ? as %3F and @ as %40")]
    QuestionMark,
    /// Nothing says where the server is.
    #[error("missing here, and PGHOST is not set")]
    HostMissing,
    /// Nothing says who connects.
    #[error("missing here (in JSON it is username), and PGUSER is not set")]
    UserMissing,
}

impl Problem {
    pub(super) fn of_text(mistake: Mistake) -> Self {
        Self { part: None, name: Cow::Borrowed(""), mistake }
    }

    pub(super) fn is_of_text(&self) -> bool {
        self.name.is_empty()
    }

    pub(super) fn named(name: &'static str, mistake: Mistake) -> Self {
        Self { part: None, name: Cow::Borrowed(name), mistake }
    }

    pub(super) fn of_part(part: Part, name: &'static str, mistake: Mistake) -> Self {
        Self { part: Some(part), name: Cow::Borrowed(name), mistake }
    }
}

impl fmt::Display for Problem {
    /// `port: must be a number from 1 to 65535`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.name.is_empty() {
            write!(f, "{}: ", self.name)?;
        }
        self.mistake.fmt(f)
    }
}
