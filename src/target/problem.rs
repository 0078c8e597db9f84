//! Mistakes in the parts of a target. They never contain a value, since a value may be the password.

use std::borrow::Cow;
use std::fmt;

use super::Part;

/// A mistake in a secret's text, a URL or a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The part of the target, if there is one.
    pub part: Option<Part>,
    /// The key or option as written. Empty for the whole text.
    pub name: Cow<'static, str>,
    /// The kind of mistake.
    pub mistake: Mistake,
}

/// Kinds of mistakes in a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// The text is empty.
    #[error("empty")]
    Empty,
    /// The secret is neither JSON nor a URL.
    #[error("neither a JSON object nor a URL that begins with postgres:// or postgresql://")]
    UnknownShape,
    /// The text must be a URL and is not.
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
    /// The JSON value has another type.
    #[error("must be a string")]
    NotString,
    /// The secret is for another database system.
    #[error("must be postgres or aurora-postgresql")]
    Engine,
    /// Not a TCP port.
    #[error("must be a number from 1 to 65535")]
    Port,
    /// The text has a character that no host name and no address has.
    #[error("not a host name, an address or the folder of a Unix socket")]
    Host,
    /// The text is `host:port`, but must be a host.
    #[error("holds a port; give the port by itself")]
    HostWithPort,
    /// libpq's list of hosts.
    #[error("several hosts are not supported; name one")]
    SeveralHosts,
    /// A URL has an IPv6 address without brackets.
    #[error("holds more than one colon; write an IPv6 address in brackets: [::1]")]
    BracketsMissing,
    /// PostgreSQL's protocol ends texts with NUL.
    #[error("must not contain a NUL character")]
    Nul,
    /// The bytes are not text.
    #[error("must be UTF-8 after percent-decoding")]
    NotUtf8,
    /// libpq does not have this `sslmode`.
    #[error("must be disable, allow, prefer, require, verify-ca or verify-full")]
    SslMode,
    /// libpq refuses this too: public authorities do not identify the server if its name is not verified.
    #[error("must be verify-full where sslrootcert is system")]
    WeakSslMode,
    /// The platform's authorities certify any name, so without a name they do not identify the server.
    #[error(
        "verify-ca needs sslrootcert: without it any certificate of a public authority would do; use verify-full"
    )]
    PublicSslMode,
    /// Without verification, another server could read the token.
    #[error("must be verify-full where DB_AUTH is iam: a token is sent over verified TLS only")]
    TokenSslMode,
    /// A Unix socket has no TLS.
    #[error("must not be a Unix socket where DB_AUTH is iam: a token is sent over verified TLS only")]
    TokenOverSocket,
    /// RDS requests the token in clear text inside TLS, and only SCRAM supports channel binding.
    #[error("must not be require where DB_AUTH is iam: a token's login cannot be bound to the certificate")]
    TokenChannelBinding,
    /// libpq does not have this `channel_binding`.
    #[error("must be disable, prefer or require")]
    ChannelBinding,
    /// libpq does not accept this `connect_timeout`.
    #[error("must be a whole number of seconds; 0 means no limit")]
    ConnectTimeout,
    /// The option has no `=`.
    #[error("needs a value, as in option=value")]
    NoValue,
    /// The option is unknown, or its meaning is not supported.
    #[error("not an option that is supported here")]
    UnknownOption,
    /// This value of the option is not supported; other values can be ignored.
    #[error("not supported with this value")]
    UnsupportedValue,
    /// The password probably has a `?`. The options are not named, since they may be parts of the password.
    #[error("the part after the first ? holds an @ and cannot be read; write ? as %3F and @ as %40")]
    QuestionMark,
    /// The host is missing.
    #[error("missing here, and PGHOST is not set")]
    HostMissing,
    /// The user is missing.
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
