//! The parts of SQL that the exporter must understand: where statements begin, and which of them are refused.
//!
//! A query is sent in one message, which PostgreSQL runs as one transaction that a prologue has made
//! read-only. The allowlist in `statement` refuses statements that end the transaction, change the session
//! (behind a pooler, another client may use it next), or write although the transaction is read-only. This
//! guards against mistakes. Functions such as `set_config` and `pg_advisory_lock` can do more than a lexer
//! sees; the role's privileges protect the database.
//!
//! The lexer assumes `standard_conforming_strings = on`, the default since PostgreSQL 9.1: a backslash in
//! `'…'` is a backslash. [`Sql::needs_standard_strings`] tells if the end of a string depends on the setting.
//! Parentheses are not counted, so every `;` outside quotes separates statements: no read-only statement has
//! one within parentheses or in a `BEGIN ATOMIC` body, and the text after it is checked too.

mod lexer;
mod settings;
mod statement;

use std::fmt;

use lexer::{Kind, Lexer, Token, Unterminated};
pub(crate) use settings::PROLOGUE_SETTINGS;
use statement::{Verdict, judge};

/// SQL that may be sent in one message: see [`Sql::parse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sql {
    text: String,
    statements: usize,
    localized: bool,
    needs_standard_strings: bool,
}

/// Why SQL is refused. The texts name keywords and never quote the SQL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SqlProblem {
    /// A quote or a comment without an end.
    #[error("{construct} that begins in line {line} of the SQL does not end")]
    Unterminated {
        /// With its article: `a string`, `a comment`.
        construct: &'static str,
        /// Counted from 1.
        line: usize,
    },
    /// A statement that is not allowed.
    #[error("{command} (line {line} of the SQL) {refusal}")]
    Refused {
        /// The refused keywords.
        command: &'static str,
        /// Counted from 1.
        line: usize,
        /// The effect of the statement.
        refusal: Refusal,
    },
    /// PostgreSQL's protocol ends texts with NUL.
    #[error("the SQL holds a NUL character")]
    Nul,
}

/// The effect of a refused statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Ends, splits or changes the transaction that keeps the query read-only.
    Transaction,
    /// Changes the session beyond the query.
    Session,
    /// Uses or drops a prepared statement. A query cannot have prepared one, so behind a pooler it is another
    /// client's.
    Prepared,
    /// Creates, moves or closes a cursor, which behind a pooler may be another client's.
    Cursor,
    /// Switches the connection to another protocol.
    Copy,
    /// Runs code that the allowlist does not see.
    Code,
    /// Creates a table. In a read-only transaction the server refuses `SELECT … INTO`, but not after
    /// `EXPLAIN`.
    Into,
    /// Does something else than reading. The server refuses most of it in a read-only transaction, but not
    /// `EXPLAIN ANALYZE CREATE TABLE … AS`, `REINDEX`, and changes of temporary tables.
    Write,
}

impl SqlProblem {
    /// Tells the author what to do.
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
            Self::Refused { .. } => "remove it: each query runs in its own read-only transaction",
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
    /// Checks every statement of `text`. A plain `SET` becomes `SET LOCAL`, since a query may only change its
    /// own transaction. A line break is added if the text ends in a `--` comment. The rest stays unchanged.
    ///
    /// # Errors
    /// The first reason to refuse it.
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

    /// Whether there is nothing to run: only white space, comments and semicolons.
    pub(crate) fn is_empty(&self) -> bool {
        self.statements == 0
    }

    /// The number of statements, without empty ones.
    pub fn statement_count(&self) -> usize {
        self.statements
    }

    /// Whether a plain `SET` became `SET LOCAL`.
    pub fn is_localized(&self) -> bool {
        self.localized
    }

    /// Whether `standard_conforming_strings = off` would end a string elsewhere, so that other statements
    /// would run than were checked. If false, the tokens are the same with either setting.
    pub fn needs_standard_strings(&self) -> bool {
        self.needs_standard_strings
    }
}

fn line_of(text: &str, position: usize) -> usize {
    1 + text.bytes().take(position).filter(|&c| c == b'\n').count()
}
