//! SQL as far as the exporter must understand it: where statements begin, and which of them may not be sent.
//!
//! A query goes out in one message, which PostgreSQL runs as one transaction that a prologue has made
//! read-only. What is refused here would end that transaction, or leave something behind in a session that the
//! next query, or behind a pooler another client, finds. This guards against mistakes: functions such as
//! `set_config` and `pg_advisory_lock` reach further than a lexer sees, and the role's privileges are what
//! protects the database.
//!
//! `standard_conforming_strings` is taken to be on, its default since PostgreSQL 9.1: a backslash in `'…'` is a
//! backslash. Parentheses are not counted, so a `;` separates wherever it stands outside of quotes: no
//! statement that can run read-only has one within parentheses or in a `BEGIN ATOMIC` body, and what stands
//! behind it is checked all the same.

mod lexer;

use std::fmt;

use lexer::{Kind, Lexer, Token, Unterminated};

/// SQL that may be sent in a message of its own: see [`Sql::parse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sql {
    text: String,
    statements: usize,
    localized: bool,
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
        /// The keywords that it begins with.
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
    /// Switch the connection to another protocol.
    Copy,
    /// Do something else than read. The server refuses most of it in a read-only transaction, but not all:
    /// `EXPLAIN ANALYZE CREATE TABLE … AS` and `REINDEX` pass.
    Write,
}

impl SqlProblem {
    /// What the author can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unterminated { .. } => "close it",
            Self::Nul => "remove it",
            Self::Refused { command: "RESET", .. } => "write SET LOCAL … TO DEFAULT",
            Self::Refused { command: "SET SESSION", .. } => "write SET LOCAL",
            Self::Refused { command: "COPY", .. } => "write SELECT",
            Self::Refused { refusal: Refusal::Write, .. } => {
                "statements may begin with SELECT, WITH, VALUES, TABLE, SHOW, EXPLAIN, SET, DO, CALL, DECLARE or FETCH"
            }
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
            Self::Copy => "transfers data in a way that has no rows to read",
            Self::Write => "is none of those that only read",
        })
    }
}

/// What may begin a statement, besides a parenthesis. `SET`, `DECLARE` and `EXPLAIN` are looked at further.
const SENT: [&str; 13] = [
    "CALL", "CLOSE", "DECLARE", "DO", "EXPLAIN", "FETCH", "MOVE", "SELECT", "SET", "SHOW", "TABLE", "VALUES",
    "WITH",
];

/// What `EXPLAIN` may explain, besides a parenthesis: with `ANALYZE`, it runs it.
const EXPLAINED: [&str; 4] = ["SELECT", "TABLE", "VALUES", "WITH"];

/// What may not begin a statement for a reason of its own.
const REFUSED: [(&str, Refusal); 18] = [
    ("ABORT", Refusal::Transaction),
    ("BEGIN", Refusal::Transaction),
    ("COMMIT", Refusal::Transaction),
    ("COPY", Refusal::Copy),
    ("DEALLOCATE", Refusal::Prepared),
    ("DISCARD", Refusal::Session),
    ("END", Refusal::Transaction),
    ("EXECUTE", Refusal::Prepared),
    ("LISTEN", Refusal::Session),
    ("LOAD", Refusal::Session),
    ("NOTIFY", Refusal::Session),
    ("PREPARE", Refusal::Session),
    ("RELEASE", Refusal::Transaction),
    ("RESET", Refusal::Session),
    ("ROLLBACK", Refusal::Transaction),
    ("SAVEPOINT", Refusal::Transaction),
    ("START", Refusal::Transaction),
    ("UNLISTEN", Refusal::Session),
];

/// As many tokens of a statement as are looked at: more than `EXPLAIN` has options.
const HEAD: usize = 64;

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
        let mut sql = Self { text: String::with_capacity(text.len()), statements: 0, localized: false };
        let mut copied = 0;
        let mut head: Vec<Token<'_>> = Vec::new();
        loop {
            let token = lexer.next().map_err(unterminated)?;
            match token {
                Some(token) if token.kind != Kind::Semicolon => {
                    if head.len() < HEAD {
                        head.push(token);
                    }
                    continue;
                }
                _ => {}
            }
            if let Some(first) = head.first() {
                sql.statements += 1;
                match judge(&head) {
                    Verdict::Send => {}
                    Verdict::Localize => {
                        let end = first.start + first.text.len();
                        sql.text.push_str(text.get(copied..end).unwrap_or_default());
                        sql.text.push_str(" LOCAL");
                        sql.localized = true;
                        copied = end;
                    }
                    Verdict::Refuse(command, refusal) => {
                        let line = line_of(text, first.start);
                        return Err(SqlProblem::Refused { command, line, refusal });
                    }
                }
            }
            head.clear();
            if token.is_none() {
                break;
            }
        }
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
}

#[derive(Debug, PartialEq)]
enum Verdict {
    Send,
    /// Insert `LOCAL` behind the first word.
    Localize,
    Refuse(&'static str, Refusal),
}

/// Decides by the first tokens of a statement.
fn judge(head: &[Token<'_>]) -> Verdict {
    let is = |index: usize, word: &str| {
        head.get(index).is_some_and(|t| t.kind == Kind::Word && t.text.eq_ignore_ascii_case(word))
    };
    if is(0, "SET") {
        return judge_set(&is, head);
    }
    let outlives = |index| is(index, "CURSOR") && is(index + 1, "WITH") && is(index + 2, "HOLD");
    if is(0, "DECLARE") && (1..head.len()).any(outlives) {
        return Verdict::Refuse("DECLARE … WITH HOLD", Refusal::Session);
    }
    if is(0, "EXPLAIN") && !explains_a_query(&is, head) {
        return Verdict::Refuse("EXPLAIN of another statement", Refusal::Write);
    }
    if let Some(&(word, refusal)) = REFUSED.iter().find(|(word, _)| is(0, word)) {
        return Verdict::Refuse(word, refusal);
    }
    let is_sent = is_parenthesis(head, 0) || SENT.iter().any(|word| is(0, word));
    if is_sent { Verdict::Send } else { Verdict::Refuse("this statement", Refusal::Write) }
}

fn is_parenthesis(head: &[Token<'_>], index: usize) -> bool {
    head.get(index).is_some_and(|token| token.text == "(")
}

/// Whether a query follows `EXPLAIN` and its options, which stand in parentheses or without.
fn explains_a_query(is: &impl Fn(usize, &str) -> bool, head: &[Token<'_>]) -> bool {
    let begins_query = |index| is_parenthesis(head, index) || EXPLAINED.iter().any(|word| is(index, word));
    let mut at = 1;
    if is_parenthesis(head, at) && !begins_query(at + 1) {
        let options = head.iter().skip(at).position(|token| token.text == ")");
        at += options.map_or(head.len(), |end| end + 1);
    }
    while ["ANALYZE", "ANALYSE", "VERBOSE"].iter().any(|word| is(at, word)) {
        at += 1;
    }
    begins_query(at)
}

/// `SET LOCAL transaction_read_only = off` need not be refused: the server does, once a transaction that is
/// read-only has begun. `SET ROLE` becomes local like any other setting.
fn judge_set(is: &impl Fn(usize, &str) -> bool, head: &[Token<'_>]) -> Verdict {
    // LOCAL, SESSION and TRANSACTION are also fit for the name of a setting, as in `SET session.x = 1`.
    let names_a_setting = |index: usize| {
        let next = head.get(index + 1).map(|token| token.text);
        matches!(next, Some("=" | ".")) || is(index + 1, "TO") || is(index + 1, "FROM")
    };
    let keyword = |index: usize, word| is(index, word) && !names_a_setting(index);
    let local = keyword(1, "LOCAL");
    let what = if local { 2 } else { 1 };
    if keyword(what, "TRANSACTION") {
        Verdict::Refuse("SET TRANSACTION", Refusal::Transaction)
    } else if keyword(what, "SESSION") {
        Verdict::Refuse("SET SESSION", Refusal::Session)
    } else if local || keyword(1, "CONSTRAINTS") || !begins_setting(is, head) {
        // SET CONSTRAINTS ends with the transaction by itself, and does not take LOCAL.
        Verdict::Send
    } else {
        Verdict::Localize
    }
}

/// Whether a name and something else follow. The server refuses what is no `SET` at all.
fn begins_setting(is: &impl Fn(usize, &str) -> bool, head: &[Token<'_>]) -> bool {
    let name = head.get(1).is_some_and(|token| token.kind == Kind::Word || token.text.starts_with('"'));
    name && head.len() > 2 && !is(1, "TO") && !is(1, "FROM")
}

fn line_of(text: &str, position: usize) -> usize {
    1 + text.bytes().take(position).filter(|&c| c == b'\n').count()
}
