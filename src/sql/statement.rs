//! The allowlist of statements.

use super::Refusal;
use super::lexer::{Kind, Token};

/// The command in messages about other statements.
pub(super) const OTHER: &str = "this statement";

/// Statements that may be sent. A statement may also begin with a parenthesis. `SET` and `EXPLAIN` have
/// further rules.
const SENT: [&str; 7] = ["EXPLAIN", "SELECT", "SET", "SHOW", "TABLE", "VALUES", "WITH"];

/// Statements that `EXPLAIN` may explain, since `EXPLAIN ANALYZE` runs them. They may also begin with a
/// parenthesis.
const EXPLAINED: [&str; 4] = ["SELECT", "TABLE", "VALUES", "WITH"];

/// Statements that are refused for a specific reason.
const REFUSED: [(&str, Refusal); 24] = [
    ("ABORT", Refusal::Transaction),
    ("BEGIN", Refusal::Transaction),
    ("CALL", Refusal::Code),
    ("CLOSE", Refusal::Cursor),
    ("COMMIT", Refusal::Transaction),
    ("COPY", Refusal::Copy),
    ("DEALLOCATE", Refusal::Prepared),
    ("DECLARE", Refusal::Cursor),
    ("DISCARD", Refusal::Session),
    ("DO", Refusal::Code),
    ("END", Refusal::Transaction),
    ("EXECUTE", Refusal::Prepared),
    ("FETCH", Refusal::Cursor),
    ("LISTEN", Refusal::Session),
    ("LOAD", Refusal::Session),
    ("MOVE", Refusal::Cursor),
    ("NOTIFY", Refusal::Session),
    ("PREPARE", Refusal::Session),
    ("RELEASE", Refusal::Transaction),
    ("RESET", Refusal::Session),
    ("ROLLBACK", Refusal::Transaction),
    ("SAVEPOINT", Refusal::Transaction),
    ("START", Refusal::Transaction),
    ("UNLISTEN", Refusal::Session),
];

#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    Send,
    /// Insert `LOCAL` after the first word.
    Localize,
    Refuse {
        command: &'static str,
        refusal: Refusal,
        /// The position of the command, in bytes.
        start: usize,
    },
}

/// Decides whether a statement may be sent.
pub(super) fn judge(tokens: &[Token<'_>]) -> Verdict {
    let statement = Statement(tokens);
    let refuse = |command, refusal, index: usize| {
        let start = tokens.get(index).map_or(0, |token| token.start);
        Verdict::Refuse { command, refusal, start }
    };
    if let Some(&(word, refusal)) = REFUSED.iter().find(|(word, _)| statement.is(0, word)) {
        return refuse(word, refusal, 0);
    }
    if !statement.begins(0, &SENT) {
        return refuse(OTHER, Refusal::Write, 0);
    }
    if statement.is(0, "SET") {
        return match statement.refused_setting() {
            Some((command, refusal)) => refuse(command, refusal, 0),
            None if statement.is_plain_set() => Verdict::Localize,
            None => Verdict::Send,
        };
    }
    let query = if statement.is(0, "EXPLAIN") { statement.explained() } else { Some(0) };
    let Some(query) = query else { return refuse("EXPLAIN of another statement", Refusal::Write, 0) };
    if let Some(index) = statement.find("INTO") {
        return refuse("INTO", Refusal::Into, index);
    }
    match statement.change(query) {
        Some((command, index)) => refuse(command, Refusal::Write, index),
        None => Verdict::Send,
    }
}

/// The tokens of a statement, without its semicolon.
struct Statement<'s, 'a>(&'s [Token<'a>]);

impl Statement<'_, '_> {
    /// Whether the token is this keyword. A word in double quotes is a name.
    fn is(&self, index: usize, word: &str) -> bool {
        self.0.get(index).is_some_and(|token| is(token, word))
    }

    fn has(&self, index: usize, symbol: &str) -> bool {
        self.0.get(index).is_some_and(|token| token.text == symbol)
    }

    /// Whether the token is one of these words or a parenthesis.
    fn begins(&self, index: usize, words: &[&str]) -> bool {
        self.has(index, "(") || words.iter().any(|word| self.is(index, word))
    }

    fn find(&self, word: &str) -> Option<usize> {
        self.0.iter().position(|token| is(token, word))
    }

    /// The position of the query of `EXPLAIN`, after its options. `None` if it explains something else.
    fn explained(&self) -> Option<usize> {
        let mut at = 1;
        if self.has(at, "(") && !self.begins(at + 1, &EXPLAINED) {
            let options = self.0.iter().skip(at).position(|token| token.text == ")");
            at += options.map_or(self.0.len(), |end| end + 1);
        }
        while ["ANALYZE", "ANALYSE", "VERBOSE"].iter().any(|word| self.is(at, word)) {
            at += 1;
        }
        self.begins(at, &EXPLAINED).then_some(at)
    }

    /// `UPDATE` or `DELETE` in `WITH`, which changes temporary tables even in a read-only transaction.
    /// `INSERT` and `MERGE` have an `INTO`. The change begins a query of a list, or follows a list.
    fn change(&self, query: usize) -> Option<(&'static str, usize)> {
        // For each open parenthesis: whether it is in a list, which goes from `WITH` to `SELECT`.
        let mut lists = vec![self.is(query, "WITH")];
        for index in query..self.0.len() {
            if self.has(index, "(") {
                lists.push(self.is(index + 1, "WITH"));
            } else if self.has(index, ")") && lists.len() > 1 {
                lists.pop();
            } else if self.is(index, "SELECT")
                && let Some(list) = lists.last_mut()
            {
                *list = false;
            }
            let begins_query = index > 1
                && self.has(index - 1, "(")
                && (self.is(index - 2, "AS") || self.is(index - 2, "MATERIALIZED"));
            if !begins_query && lists.last() != Some(&true) {
                continue;
            }
            // Either word may also be the name of a query in a list.
            if self.is(index, "DELETE") && self.is(index + 1, "FROM") {
                return Some(("DELETE", index));
            }
            if self.is(index, "UPDATE") && !self.is(index + 1, "AS") && !self.has(index + 1, "(") {
                return Some(("UPDATE", index));
            }
        }
        None
    }

    /// A `SET` with effects beyond the query. `SET LOCAL transaction_read_only = off` is not refused here:
    /// the server refuses it once a read-only transaction has begun. `SET ROLE` becomes local like any other
    /// setting.
    fn refused_setting(&self) -> Option<(&'static str, Refusal)> {
        let what = if self.is_set_of("LOCAL", 1) { 2 } else { 1 };
        if self.is_set_of("TRANSACTION", what) {
            return Some(("SET TRANSACTION", Refusal::Transaction));
        }
        if self.is_set_of("SESSION", what) {
            return Some(("SET SESSION", Refusal::Session));
        }
        // An escaped name, as in U&"\0073eed", hides which setting it is.
        if self.is(what, "U") && self.has(what + 1, "&") {
            return Some(("SET U&", Refusal::Session));
        }
        // The seed determines the session's next random numbers, even after the transaction.
        let name = self.0.get(what).map_or("", |token| token.text.trim_matches('"'));
        name.eq_ignore_ascii_case("SEED").then_some(("SET SEED", Refusal::Session))
    }

    /// Whether `LOCAL` has to be inserted. `SET CONSTRAINTS` does not take `LOCAL` and ends with the
    /// transaction anyway. The server refuses a `SET` without a name or a value.
    fn is_plain_set(&self) -> bool {
        let is_named =
            self.0.get(1).is_some_and(|token| token.kind == Kind::Word || token.text.starts_with('"'))
                && !self.is(1, "TO")
                && !self.is(1, "FROM");
        let is_complete = self.0.len() > 2 || self.is(1, "NAMES");
        is_named && is_complete && !self.is_set_of("LOCAL", 1) && !self.is_set_of("CONSTRAINTS", 1)
    }

    /// Whether the word is a keyword here, and not the name of a setting as in `SET session.x = 1`.
    fn is_set_of(&self, word: &str, index: usize) -> bool {
        let next = index + 1;
        let names_a_setting =
            self.has(next, "=") || self.has(next, ".") || self.is(next, "TO") || self.is(next, "FROM");
        self.is(index, word) && !names_a_setting
    }
}

fn is(token: &Token<'_>, word: &str) -> bool {
    token.kind == Kind::Word && token.text.eq_ignore_ascii_case(word)
}
