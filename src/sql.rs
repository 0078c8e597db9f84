//! SQL as far as the exporter must understand it: where statements begin, and which of them may not be sent.
//!
//! A query goes out in one message, which PostgreSQL runs as one transaction that a prologue has made
//! read-only. The allowlist in `statement` refuses what would end that transaction, what would leave something
//! behind in a session that the next query, or behind a pooler another client, finds, and what the server lets
//! write in a read-only transaction. This guards against mistakes: functions such as `set_config` and
//! `pg_advisory_lock` reach further than a lexer sees, and the role's privileges are what protects the database.
//!
//! `standard_conforming_strings` is taken to be on, its default since PostgreSQL 9.1: a backslash in `'…'` is a
//! backslash. Where the end of a string depends on it, [`Sql::needs_standard_strings`] says so. Parentheses are not
//! counted, so a `;` separates wherever it stands outside of quotes: no statement that can run read-only has one
//! within parentheses or in a `BEGIN ATOMIC` body, and the text behind it is checked all the same.

mod lexer;
mod statement;

use std::fmt;

use lexer::{Kind, Lexer, Token, Unterminated};
use statement::{Verdict, judge};

/// SQL that may be sent in a message of its own: see [`Sql::parse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sql {
    text: String,
    statements: usize,
    localized: bool,
    needs_standard_strings: bool,
}

/// Why SQL may not be sent. The texts name keywords and never quote the SQL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SqlProblem {
    /// A quote or a comment that is still open at the end.
    #[error("{construct} that begins in line {line} of the SQL does not end")]
    Unterminated {
        /// With its article: `a string`, `a comment`.
        construct: &'static str,
        /// Counted from 1 within the SQL.
        line: usize,
    },
    /// A statement that a query may not have.
    #[error("{command} (line {line} of the SQL) {refusal}")]
    Refused {
        /// The keywords that are refused.
        command: &'static str,
        /// Counted from 1 within the SQL.
        line: usize,
        /// What it would do.
        refusal: Refusal,
    },
    /// The protocol ends a text there.
    #[error("the SQL holds a NUL character")]
    Nul,
}

/// What a refused statement would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// End, split or change the transaction that keeps the query read-only.
    Transaction,
    /// Change the session beyond the query.
    Session,
    /// Use or drop prepared statements, which a query cannot have made and which behind a pooler are another
    /// client's.
    Prepared,
    /// Make, move or close a cursor, which behind a pooler may be another client's. A result needs none.
    Cursor,
    /// Switch the connection to another protocol.
    Copy,
    /// Run code that the allowlist does not see.
    Code,
    /// Make a table. The server refuses `SELECT … INTO` in a read-only transaction, but not behind `EXPLAIN`.
    Into,
    /// Do something else than read. The server refuses most of it in a read-only transaction, but not all:
    /// `EXPLAIN ANALYZE CREATE TABLE … AS`, `REINDEX`, and changes of temporary tables pass.
    Write,
}

impl SqlProblem {
    /// What the author can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unterminated { .. } => "close it",
            Self::Nul => "remove it",
            Self::Refused { command: "CALL", .. } => "write SELECT of a function",
            Self::Refused { command: "COPY", .. } => "write SELECT",
            Self::Refused { command: "DO", .. } => {
                "write SELECT; to change a setting, write SELECT set_config('name', 'value', true)"
            }
            Self::Refused { command: "EXPLAIN of another statement", .. } => {
                "explain SELECT, WITH, VALUES or TABLE"
            }
            Self::Refused { command: "RESET", .. } => "write SET LOCAL … TO DEFAULT",
            Self::Refused { command: "SET SESSION", .. } => "write SET LOCAL",
            Self::Refused { command: statement::OTHER, .. } => {
                "begin statements with SELECT, WITH, VALUES, TABLE, SHOW, EXPLAIN or SET"
            }
            Self::Refused { refusal: Refusal::Cursor, .. } => "write the SELECT of the cursor",
            Self::Refused { refusal: Refusal::Into, .. } => {
                "remove it, or write \"into\" in double quotes if it is a name"
            }
            Self::Refused { refusal: Refusal::Write, .. } => "write SELECT",
            Self::Refused { .. } => "remove it: each query runs in a read-only transaction of its own",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transaction => "would end or change the transaction that keeps the query read-only",
            Self::Session => "would change the session beyond this query",
            Self::Prepared => "needs a prepared statement, which a query here cannot have",
            Self::Cursor => "uses a cursor, which may be another client's behind a pooler",
            Self::Copy => "transfers data in a way that has no rows to read",
            Self::Code => "runs code that may write",
            Self::Into => "makes a table",
            Self::Write => "may do more than read",
        })
    }
}

impl Sql {
    /// Checks every statement of `text`. A plain `SET` becomes `SET LOCAL`, since the query's transaction is
    /// all that it may change; a line break is added behind a `--` comment that the text ends in. Everything
    /// else stays as it is.
    ///
    /// # Errors
    /// The first thing that speaks against sending it.
    pub fn parse(text: &str) -> Result<Self, SqlProblem> {
        if text.contains('\0') {
            return Err(SqlProblem::Nul);
        }
        let unterminated = |Unterminated { construct, start }: Unterminated| SqlProblem::Unterminated {
            construct,
            line: line_of(text, start),
        };
        let mut lexer = Lexer::new(text);
        let mut sql = Self {
            text: String::with_capacity(text.len()),
            statements: 0,
            localized: false,
            needs_standard_strings: false,
        };
        let mut copied = 0;
        let mut statement: Vec<Token<'_>> = Vec::new();
        loop {
            let token = lexer.next().map_err(unterminated)?;
            match token {
                Some(token) if token.kind != Kind::Semicolon => {
                    statement.push(token);
                    continue;
                }
                _ => {}
            }
            if let Some(first) = statement.first() {
                sql.statements += 1;
                match judge(&statement) {
                    Verdict::Send => {}
                    Verdict::Localize => {
                        let end = first.start + first.text.len();
                        sql.text.push_str(text.get(copied..end).unwrap_or_default());
                        sql.text.push_str(" LOCAL");
                        sql.localized = true;
                        copied = end;
                    }
                    Verdict::Refuse { command, refusal, start } => {
                        return Err(SqlProblem::Refused { command, line: line_of(text, start), refusal });
                    }
                }
            }
            statement.clear();
            if token.is_none() {
                break;
            }
        }
        sql.needs_standard_strings = lexer.needs_standard_strings();
        sql.text.push_str(text.get(copied..).unwrap_or_default());
        if lexer.ends_in_comment() {
            sql.text.push('\n');
        }
        Ok(sql)
    }

    /// The text to send.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether there is nothing to run: white space, comments and semicolons only.
    pub fn is_empty(&self) -> bool {
        self.statements == 0
    }

    /// How many statements there are, empty ones not counted.
    pub fn statement_count(&self) -> usize {
        self.statements
    }

    /// Whether a plain `SET` became `SET LOCAL`.
    pub fn is_localized(&self) -> bool {
        self.localized
    }

    /// Whether a string would end elsewhere with `standard_conforming_strings = off`, and other statements be sent
    /// than were checked. If not, all tokens are the same with either setting.
    pub fn needs_standard_strings(&self) -> bool {
        self.needs_standard_strings
    }
}

fn line_of(text: &str, position: usize) -> usize {
    1 + text.bytes().take(position).filter(|&c| c == b'\n').count()
}
