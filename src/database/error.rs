//! Errors of connections and queries, in words that may be logged.
//!
//! A server's message may contain values: functions raise any text with any SQLSTATE, also through `dblink`
//! and `postgres_fdw`. So only the SQLSTATE is kept, and the message only if the server's parser made it:
//! class 42, a position in the query, and no CONTEXT, which every function and every foreign server adds.
//! DETAIL, HINT and the internal query contain rows, values and SQL, and are never read.

use std::error::Error;
use std::fmt;
use std::io;

use tokio_postgres::error::{DbError, ErrorPosition, Severity};

use super::sqlstate::condition;

/// Why connecting failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The host's name has no address.
    #[error("the host's name cannot be resolved: {0}")]
    Unresolvable(io::Error),
    /// Nothing listens at the address, or no network leads there.
    #[error("the server cannot be reached: {0}")]
    Unreachable(io::Error),
    /// Connecting exceeded its time limit.
    #[error("timed out {0}")]
    TimedOut(Phase),
    /// The trusted authorities could not be read, so nothing was sent.
    #[error("root certificates: {0}")]
    RootCertificates(String),
    /// The server has no TLS, or a certificate that is not trusted.
    #[error("TLS: {0}")]
    Tls(String),
    /// The client cannot do what the server requests, such as send a password that it does not have.
    #[error("authentication: {0}")]
    Authentication(String),
    /// The server refused the connection.
    #[error("the server answers {}{}", in_words(sqlstate), remedy(sqlstate))]
    Server {
        /// Five letters and digits (PostgreSQL documentation, "PostgreSQL Error Codes").
        sqlstate: String,
    },
    /// The server is another than `target_session_attrs` accepts.
    #[error(
        "the server is {0}, which target_session_attrs does not accept; name another server or change it"
    )]
    NotAccepted(&'static str),
    /// PgBouncer answered itself, at the database name of its console.
    #[error(
        "the database \"pgbouncer\" is PgBouncer's admin console, which runs no queries; \
         name a database of its section [databases]"
    )]
    AdminConsole,
    /// The socket broke or was closed before the login was over.
    #[error("the connection was lost during the login: {0}")]
    Lost(String),
    /// The server speaks another protocol.
    #[error("the server is not PostgreSQL: {0}")]
    Protocol(String),
}

/// The step of connecting that timed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Finding the addresses of a name.
    Resolution,
    /// Opening the socket.
    Socket,
    /// TLS and authentication.
    Login,
    /// Asking the server about itself.
    Facts,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolution => "resolving the host's name",
            Self::Socket => "reaching the server",
            Self::Login => {
                "in the TLS handshake or authentication; the server is overloaded or starting, or a pooler such as \
                 PgBouncer is paused"
            }
            Self::Facts => {
                "asking the server for its version and state; a pooler such as PgBouncer is paused or has no free \
                 server connection"
            }
        })
    }
}

impl ConnectError {
    /// Whether another address of the same host may answer differently: this one did not answer in time, or
    /// its server does not accept logins now (SQLSTATE 57P03, after which libpq tries the next address too).
    pub(super) fn may_differ_at_another_address(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::TimedOut(_)
            | Self::Lost(_)
            | Self::Protocol(_)
            | Self::NotAccepted(_) => true,
            Self::Server { sqlstate, .. } => sqlstate == "57P03",
            Self::Unresolvable(_)
            | Self::RootCertificates(_)
            | Self::Tls(_)
            | Self::Authentication(_)
            | Self::AdminConsole => false,
        }
    }

    /// Whether no address of the host accepted a TCP connection.
    pub(crate) fn is_unreached(&self) -> bool {
        matches!(
            self,
            Self::Unresolvable(_) | Self::Unreachable(_) | Self::TimedOut(Phase::Resolution | Phase::Socket)
        )
    }

    pub(super) fn of_login(error: &tokio_postgres::Error) -> Self {
        if let Some(error) = error.as_db_error() {
            return Self::Server { sqlstate: sqlstate(error) };
        }
        let reason = error.source().map_or_else(|| error.to_string(), chain);
        // The driver has no methods for these kinds; the first part of the text names them.
        match error.to_string().as_str() {
            "error performing TLS handshake" => Self::Tls(reason),
            "authentication error" | "invalid configuration" => Self::Authentication(reason),
            "connection closed" => Self::Lost(CLOSED.to_owned()),
            "error communicating with the server" => of_socket(error, reason),
            _ => Self::Protocol(chain(error)),
        }
    }
}

impl ConnectError {
    /// The same for a login to this database, whose name may explain the error. PgBouncer's console refuses
    /// unknown messages as protocol violations (SQLSTATE 08P01).
    pub(super) fn in_database(self, database: &str) -> Self {
        match &self {
            Self::Server { sqlstate, .. } if database == "pgbouncer" && sqlstate == "08P01" => {
                Self::AdminConsole
            }
            _ => self,
        }
    }
}

const CLOSED: &str = "closed by the server";

/// An error of the socket. The driver reports invalid messages in the same way.
fn of_socket(error: &tokio_postgres::Error, reason: String) -> ConnectError {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    match cause.map(io::Error::kind) {
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => ConnectError::Protocol(reason),
        Some(io::ErrorKind::UnexpectedEof) => ConnectError::Lost(CLOSED.to_owned()),
        _ => ConnectError::Lost(reason),
    }
}

/// Why a query has no result.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The query exceeded its time limit.
    #[error("timed out")]
    Timeout,
    /// The connection was lost before or during the query. The query may have run.
    #[error("the connection was lost: {reason}")]
    Connection {
        /// The last error of the socket or the server.
        reason: String,
    },
    /// The server refused the query. The connection can still be used.
    #[error("{}{}{}", in_words(sqlstate), at_character(*position), after_colon(message.as_deref()))]
    Server {
        /// Five letters and digits (PostgreSQL documentation, "PostgreSQL Error Codes").
        sqlstate: String,
        /// The place in the query, in characters from 1, if the server names it.
        position: Option<usize>,
        /// The primary message, if the server's parser made it.
        message: Option<String>,
    },
    /// The server's `standard_conforming_strings` is off, which would end a string of the query elsewhere.
    #[error(
        "the server would end a string elsewhere: standard_conforming_strings is off; \
         write E'…' with \\\\ for each backslash"
    )]
    StringsDiffer,
    /// The result takes more memory than it may, or the server sent more with it than it may.
    #[error(
        "the result is larger than MAX_RESULT_BYTES, or the server sent more than twice as much; return fewer rows, \
         or raise MAX_RESULT_BYTES"
    )]
    TooLarge,
}

impl QueryError {
    /// The server's error for `sent`.
    pub(super) fn of_server(error: &tokio_postgres::Error, sent: &Sent<'_>) -> Self {
        match error.as_db_error() {
            Some(error) => {
                let place = sent.place(error);
                Self::Server {
                    sqlstate: sqlstate(error),
                    position: place.and_then(|place| sent.position_in_query(place)),
                    message: place.and_then(|place| parser_message(error, sent, place)),
                }
            }
            None => Self::Connection { reason: describe(error) },
        }
    }
}

/// A message that was sent, to find places that the server names.
pub(super) struct Sent<'a> {
    /// The prologue and the query.
    pub(super) message: &'a str,
    pub(super) query: &'a str,
    /// Without an encoding the server counts bytes.
    pub(super) database_has_encoding: bool,
}

impl Sent<'_> {
    /// The place of an error, in bytes of the message.
    fn place(&self, error: &DbError) -> Option<usize> {
        let Some(ErrorPosition::Original(position)) = error.position() else { return None };
        let before = usize::try_from(*position).ok()?.checked_sub(1)?;
        if !self.database_has_encoding {
            return Some(before);
        }
        let ends = self.message.char_indices().map(|(at, _)| at).chain([self.message.len()]);
        ends.into_iter().nth(before)
    }

    fn position_in_query(&self, place: usize) -> Option<usize> {
        let prologue = self.message.len().checked_sub(self.query.len())?;
        let before = self.message.get(prologue..place)?;
        Some(before.chars().count() + 1)
    }
}

/// The message of an error at `place`, if it certainly comes from the server's own parser and quotes no
/// literal.
fn parser_message(error: &DbError, sent: &Sent<'_>, place: usize) -> Option<String> {
    let is_parsers = error.code().code().starts_with("42") && error.where_().is_none();
    let there = sent.message.get(place..).filter(|_| is_parsers)?;
    begins_no_literal(there).then(|| error.message().chars().take(MESSAGE_CHARS_MAX).collect())
}

/// Whether the first token is a name, an operator or the end. `syntax error at or near "…"` quotes the token.
/// So does the error for a literal that is invalid for its type (`'…'::regclass`, `'…'::tsquery`). Both begin
/// with the token.
fn begins_no_literal(text: &str) -> bool {
    let mut characters = text.chars();
    let (first, second) = (characters.next(), characters.next());
    match (first, second) {
        (None, _) => true,
        (Some('\'' | '$' | '0'..='9'), _) => false,
        (Some('.'), Some('0'..='9')) => false,
        // A comment without an end. A quoted name may lack its end too.
        (Some('/'), Some('*')) => false,
        (Some('"'), _) => text.matches('"').count() > 1,
        (Some(c), _) if c.is_alphanumeric() || c == '_' => {
            let behind = text.trim_start_matches(|c: char| c.is_alphanumeric() || matches!(c, '_' | '$'));
            // E'…', B'…', X'…', N'…', U&'…'
            !behind.starts_with('\'') && !behind.starts_with("&'")
        }
        _ => true,
    }
}

/// Whether the server refused a statement and continues. It ends the connection with severity FATAL or PANIC,
/// with SQLSTATE class 08, and with the codes of a shutdown (57P01 to 57P05).
pub(super) fn is_of_statement(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|error| !ends_connection(error))
}

fn ends_connection(error: &DbError) -> bool {
    let fatal = match error.parsed_severity() {
        Some(severity) => matches!(severity, Severity::Fatal | Severity::Panic),
        None => matches!(error.severity(), "FATAL" | "PANIC"),
    };
    let code = error.code().code();
    fatal || code.starts_with("08") || code.starts_with("57P")
}

/// An error of the driver in one line: the server's answer, otherwise all causes.
pub(super) fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => in_words(&sqlstate(error)),
        None => chain(error),
    }
}

/// The server's SQLSTATE, if it is a valid one: other programs may answer on the port.
fn sqlstate(error: &DbError) -> String {
    let code = error.code().code();
    let is_one = code.len() == 5 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_one { code } else { "unreadable" }.to_owned()
}

/// `undefined_table (SQLSTATE 42P01)`
fn in_words(sqlstate: &str) -> String {
    match condition(sqlstate) {
        Some(name) => format!("{name} (SQLSTATE {sqlstate})"),
        None => format!("SQLSTATE {sqlstate}"),
    }
}

fn at_character(position: Option<usize>) -> String {
    position.map(|position| format!(" at character {position}")).unwrap_or_default()
}

fn after_colon(message: Option<&str>) -> String {
    message.map(|message| format!(": {message}")).unwrap_or_default()
}

/// A hint for a refused login.
fn remedy(sqlstate: &str) -> &'static str {
    match sqlstate {
        "08P01" => "; see the log of the pooler or proxy in front of the server",
        "28000" => "; see pg_hba.conf, and whether the role exists and may log in",
        "28P01" => "; check user and password",
        "3D000" => "; check the name of the database",
        "42501" => "; grant CONNECT on the database to the role",
        "53300" => "; raise the role's CONNECTION LIMIT or the server's max_connections",
        "57P03" => "; the server is starting up, shutting down or in recovery",
        _ => "",
    }
}

/// An error and its causes, joined by colons.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// Longer messages are cut off, in characters.
const MESSAGE_CHARS_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_told_from_names_and_operators() {
        for text in ["", "FORM x", "\"a b\" FROM", "größe", "= 'x'", ".x", "-1", "/2", ")", "_1"] {
            assert!(begins_no_literal(text), "{text}");
        }
        for text in [
            "'x'",
            "'x",
            "E'x'",
            "b'1'",
            "X'1",
            "n'x'",
            "U&'x'",
            "$$x$$",
            "$a$x",
            "$1",
            "47",
            ".5",
            "1e5",
            "\"x FROM 'y'",
            "/* x",
        ] {
            assert!(!begins_no_literal(text), "{text}");
        }
    }

    #[test]
    fn a_chain_names_every_cause_once() {
        let inner = io::Error::other("certificate expired");
        let outer = ConnectError::Unreachable(io::Error::other(inner));
        assert_eq!(chain(&outer), "the server cannot be reached: certificate expired");
    }
}
