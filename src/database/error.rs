//! What can go wrong with a connection and with a query, in words that may be logged.
//!
//! Of what the server says, only SQLSTATE and the primary message are kept, and the message is masked. DETAIL,
//! HINT, CONTEXT and the internal query are never read: they hold rows, values and SQL.

use std::error::Error;
use std::fmt;
use std::io;

use tokio_postgres::error::{DbError, Severity};

use super::run::RESULT_BYTES_MAX;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The host's name has no address.
    #[error("the host's name cannot be resolved: {0}")]
    Unresolvable(io::Error),
    /// Nothing listens there, or the network does not lead there.
    #[error("the server cannot be reached: {0}")]
    Unreachable(io::Error),
    /// It took longer than it may.
    #[error("timed out {0}")]
    TimedOut(Phase),
    /// The authorities to trust cannot be had, so nothing was sent.
    #[error("root certificates: {0}")]
    RootCertificates(String),
    /// The server has no TLS, or a certificate that is not trusted.
    #[error("TLS: {0}")]
    Tls(String),
    /// The client could not answer what the server asked of it, such as for a password that it does not have.
    #[error("authentication: {0}")]
    Authentication(String),
    /// The server refused the connection.
    #[error("the server says: {message} (SQLSTATE {sqlstate})")]
    Server {
        /// Five letters and digits (PostgreSQL documentation, "PostgreSQL Error Codes").
        sqlstate: String,
        /// The primary message, masked.
        message: String,
    },
    /// The socket broke or was closed before the login was over.
    #[error("the connection was lost during the login: {0}")]
    Lost(String),
    /// It speaks something else, or says what no PostgreSQL says.
    #[error("what answers there is not PostgreSQL: {0}")]
    Protocol(String),
}

/// What a connection was doing when its time was over.
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
            Self::Login => "in the TLS handshake or authentication",
            Self::Facts => "asking the server for its version and state",
        })
    }
}

impl ConnectError {
    /// Whether another address of the same host may answer otherwise: nothing answered at this one in time, or what
    /// did is no server that takes logins now (SQLSTATE 57P03, which libpq goes on after too).
    pub(super) fn may_differ_at_another_address(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut(_) | Self::Lost(_) | Self::Protocol(_) => true,
            Self::Server { sqlstate, .. } => sqlstate == "57P03",
            Self::Unresolvable(_) | Self::RootCertificates(_) | Self::Tls(_) | Self::Authentication(_) => {
                false
            }
        }
    }

    pub(super) fn of_login(error: &tokio_postgres::Error) -> Self {
        if let Some(error) = error.as_db_error() {
            return Self::Server { sqlstate: error.code().code().to_owned(), message: mask(error.message()) };
        }
        let reason = error.source().map_or_else(|| error.to_string(), chain);
        // The driver has no question method for these kinds; the first part of its text names them.
        match error.to_string().as_str() {
            "error performing TLS handshake" => Self::Tls(reason),
            "authentication error" | "invalid configuration" => Self::Authentication(reason),
            "connection closed" => Self::Lost(CLOSED.to_owned()),
            "error communicating with the server" => of_socket(error, reason),
            _ => Self::Protocol(chain(error)),
        }
    }
}

const CLOSED: &str = "closed by the server";

/// What the socket said. The driver reports bytes that are no message in the same way.
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
    /// It took longer than it may.
    #[error("timed out")]
    Timeout,
    /// The connection was lost, before or during the query. It is not known whether the query ran.
    #[error("the connection was lost: {reason}")]
    Connection {
        /// What the socket or, masked, the server said last.
        reason: String,
    },
    /// The server refused it. The connection is as good as before.
    #[error("{message} (SQLSTATE {sqlstate})")]
    Server {
        /// Five letters and digits (PostgreSQL documentation, "PostgreSQL Error Codes").
        sqlstate: String,
        /// The primary message, masked.
        message: String,
    },
    /// The server's `standard_conforming_strings` is off, and the query has a string that would end elsewhere.
    #[error(
        "the server would end a string elsewhere: standard_conforming_strings is off; \
         write E'…' with \\\\ for each backslash"
    )]
    StringsDiffer,
    /// The result is larger than [`RESULT_BYTES_MAX`].
    #[error("the result is larger than {} MiB", RESULT_BYTES_MAX >> 20)]
    TooLarge,
}

impl QueryError {
    pub(super) fn of_server(error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(error) => {
                let sqlstate = error.code().code().to_owned();
                // What `RAISE` says is the author's text, with any values in it.
                let message = match is_raised(error) {
                    true => "raised by a function or a DO block, whose words are not repeated".to_owned(),
                    false => mask(error.message()),
                };
                Self::Server { sqlstate, message }
            }
            None => Self::Connection { reason: describe(error) },
        }
    }
}

/// Whether the words are those of the author of a function: `RAISE`, whatever SQLSTATE it gives, `ASSERT`, and what Perl,
/// Python and Tcl throw. The server says in which of its own files and routines the error was reported.
fn is_raised(error: &DbError) -> bool {
    const LANGUAGES: [&str; 4] = ["plperl.c", "plpy_elog.c", "plpy_plpymodule.c", "pltcl.c"];
    let by_plpgsql = matches!(error.routine(), Some("exec_stmt_raise" | "exec_stmt_assert"));
    let file = error.file().and_then(|path| path.rsplit('/').next());
    by_plpgsql || error.code().code() == "P0001" || file.is_some_and(|file| LANGUAGES.contains(&file))
}

/// Whether the server refused a statement and goes on, as opposed to ending the connection: severity FATAL or
/// PANIC, SQLSTATE class 08, or one of those that announce the end of the server (57P01 to 57P05).
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

/// An error of the driver in one line: what the server said, masked, or else every cause down to the first.
pub(super) fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{} (SQLSTATE {})", mask(error.message()), error.code().code()),
        None => chain(error),
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

/// The most of a message that is kept, in characters.
const MESSAGE_CHARS_MAX: usize = 300;

/// What stands for something that was masked.
const MASK: &str = "…";

/// Words before a double quote behind which PostgreSQL names a thing, not a value.
#[rustfmt::skip]
const NAMING: &[&str] = &[
    "aggregate", "attribute", "check", "collation", "column", "columns", "configuration", "constraint", "cursor",
    "database", "directory", "domain", "encoding", "extension", "file", "function", "host", "index", "key",
    "language", "library", "near", "of", "operator", "parameter", "policy", "procedure", "publication", "reference",
    "relation", "role", "routine", "rule", "schema", "sequence", "server", "slot", "statement", "subscription",
    "table", "tablespace", "trigger", "type", "user", "via", "view", "window",
];

/// Masks what may be data in a server's message, and what may break a log line.
///
/// Quoted text is masked, unless it is in double quotes, is a plain name (letters, digits, `_ . - $`), and follows
/// a word that announces a name: `relation "t" does not exist` and `syntax error at or near "FORM"` stay, `invalid
/// input syntax for type integer: "abc"` and `value "99999999999" is out of range` do not. Data may hold quotes,
/// so a masked text goes on to the last quote of the message. Single quotes are always masked; an apostrophe
/// within a word is none. The quotes of other languages (`»…«`, `„…“`) are masked without exception.
fn mask(message: &str) -> String {
    let mut masked = String::new();
    let mut rest = message;
    while let Some((before, quote, after)) = next_quote(rest) {
        masked.push_str(before);
        masked.push(quote);
        let name = after.split_once('"').filter(|(name, _)| quote == '"' && is_name(before, name));
        if let Some((name, behind)) = name {
            masked.push_str(name);
            masked.push('"');
            rest = behind;
            continue;
        }
        masked.push_str(MASK);
        let end = closing(quote);
        rest = after.rsplit_once(end).map_or("", |(_, behind)| behind);
        masked.push(end);
    }
    masked.push_str(rest);
    let clean = masked.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(MESSAGE_CHARS_MAX).collect()
}

/// The text before the first opening quote, the quote, and what is behind it.
fn next_quote(text: &str) -> Option<(&str, char, &str)> {
    let mut last = ' ';
    for (at, c) in text.char_indices() {
        let opens = matches!(c, '"' | '»' | '«' | '„' | '“') || (c == '\'' && !last.is_alphanumeric());
        if opens {
            let (before, rest) = text.split_at_checked(at)?;
            let mut behind = rest.chars();
            behind.next();
            return Some((before, c, behind.as_str()));
        }
        last = c;
    }
    None
}

fn closing(quote: char) -> char {
    match quote {
        '»' => '«',
        '«' => '»',
        '„' => '“',
        '“' => '”',
        same => same,
    }
}

fn is_name(before: &str, name: &str) -> bool {
    let announced = before
        .strip_suffix(' ')
        .and_then(|before| before.rsplit(|c: char| !c.is_alphanumeric()).next())
        .is_some_and(|word| NAMING.contains(&word));
    announced && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '$'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_and_values_are_masked() {
        for (message, masked) in [
            ("relation \"public.t-1\" does not exist", "relation \"public.t-1\" does not exist"),
            ("syntax error at or near \"FORM\"", "syntax error at or near \"FORM\""),
            (
                "null value in column \"a\" of relation \"b\" violates not-null constraint",
                "null value in column \"a\" of relation \"b\" violates not-null constraint",
            ),
            (
                "password authentication failed for user \"bob\"",
                "password authentication failed for user \"bob\"",
            ),
            ("division by zero", "division by zero"),
            (
                "invalid input syntax for type integer: \"hush\"",
                "invalid input syntax for type integer: \"…\"",
            ),
            ("invalid input syntax for type json: \"hu\"sh\"x", "invalid input syntax for type json: \"…\"x"),
            ("value \"99999999999\" is out of range", "value \"…\" is out of range"),
            ("syntax error at or near \"'hush'\"", "syntax error at or near \"…\""),
            ("user \"a b\" unknown", "user \"…\" unknown"),
            ("unterminated quoted string at or near \"'hush", "unterminated quoted string at or near \"…\""),
            ("can't find 'O'Brien' there", "can't find '…' there"),
            ("Relation »t« existiert nicht", "Relation »…« existiert nicht"),
            ("type »integer«: »hush«", "type »…«"),
            ("two\nlines", "two lines"),
        ] {
            assert_eq!(mask(message), masked);
        }
        assert_eq!(mask(&"ä".repeat(1000)).chars().count(), MESSAGE_CHARS_MAX);
    }

    #[test]
    fn a_chain_names_every_cause_once() {
        let inner = io::Error::other("certificate expired");
        let outer = ConnectError::Unreachable(io::Error::other(inner));
        assert_eq!(chain(&outer), "the server cannot be reached: certificate expired");
    }
}
