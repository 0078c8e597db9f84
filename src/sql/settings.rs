//! Finds the settings that a query reads and that the exporter itself sets for the query.
//!
//! This search uses words, not the grammar. A statement that reads `pg_settings.setting` reads this setting,
//! unless it compares the name, type, category, context or source of settings with literals that exclude it.
//! A regular expression, and a comparison with anything but a literal, count as excluding it.

use super::Sql;
use super::lexer::{Kind, Lexer, Token};

/// The settings that the exporter sets for each query, in that order.
pub(crate) const PROLOGUE_SETTINGS: [&str; 8] = [
    "transaction_read_only",
    "statement_timeout",
    "client_encoding",
    "client_min_messages",
    "DateStyle",
    "IntervalStyle",
    "extra_float_digits",
    "bytea_output",
];

/// The attributes of a setting in `pg_settings`, in lower case.
fn attributes(setting: &str) -> [(&'static str, &str); 5] {
    let vartype = match setting {
        "transaction_read_only" => "bool",
        "statement_timeout" | "extra_float_digits" => "integer",
        "client_encoding" | "datestyle" => "string",
        _ => "enum",
    };
    let category = match setting {
        "client_encoding" | "datestyle" | "intervalstyle" | "extra_float_digits" => {
            "client connection defaults / locale and formatting"
        }
        _ => "client connection defaults / statement behavior",
    };
    [
        ("name", setting),
        ("vartype", vartype),
        ("category", category),
        ("context", "user"),
        ("source", "session"),
    ]
}

impl Sql {
    /// The settings among [`PROLOGUE_SETTINGS`] that a statement reads with `SHOW`, `current_setting` or
    /// `pg_settings.setting`.
    pub fn prologue_settings_read(&self) -> Vec<&'static str> {
        let mut lexer = Lexer::new(&self.text);
        let mut statements = vec![Statement(Vec::new())];
        // The text has been lexed before, so no construct lacks its end.
        while let Ok(Some(token)) = lexer.next() {
            match (token.kind, statements.last_mut()) {
                (Kind::Semicolon, _) | (_, None) => statements.push(Statement(Vec::new())),
                (_, Some(statement)) => statement.0.push(token),
            }
        }
        let is_read = |setting: &&str| statements.iter().any(|statement| statement.reads(setting));
        PROLOGUE_SETTINGS.into_iter().filter(is_read).collect()
    }
}

struct Statement<'a>(Vec<Token<'a>>);

impl Statement<'_> {
    fn reads(&self, setting: &str) -> bool {
        if self.is(0, "SHOW") {
            return self.is(1, "ALL") || self.is(1, setting);
        }
        let calls =
            (0..self.0.len()).filter(|&at| self.is(at, "current_setting") && self.text(at + 1) == "(");
        let arguments: Vec<_> = calls.map(|at| self.literal(at + 2)).collect();
        if arguments.iter().flatten().any(|name| name.eq_ignore_ascii_case(setting)) {
            return true;
        }
        let is_computed = arguments.iter().any(Option::is_none);
        match self.has("pg_settings") || self.has("pg_show_all_settings") {
            true => (is_computed || self.reads_values()) && self.selects(setting),
            false => is_computed && self.literals().any(|literal| literal.eq_ignore_ascii_case(setting)),
        }
    }

    /// Whether the column `setting` is read, by its name or by a `*` that is not an operator.
    fn reads_values(&self) -> bool {
        let positions = || 0..self.0.len();
        let follows = |at: usize, words: &[&str]| at > 0 && words.iter().any(|word| self.is(at - 1, word));
        let is_name = |at| self.is(at, "setting") && self.text(at + 1) != ".";
        let is_alias = |at| follows(at, &["AS", "reset_val", "pg_settings", ")"]);
        // Then the outer query may read the reset value.
        let is_reset_value = |at| is_name(at) && follows(at, &["AS"]) && self.ends_with_reset_value(at);
        let is_renamed = positions().any(is_reset_value);
        let reads = |at| is_name(at) && !is_alias(at) && !is_renamed;
        let reads_all = |at| self.text(at) == "*" && follows(at, &["SELECT", "ALL", "DISTINCT", ",", "."]);
        positions().any(|at| reads(at) || reads_all(at) || self.is(at, "TABLE"))
    }

    /// Whether `reset_val` is in the expression that ends before this token.
    fn ends_with_reset_value(&self, at: usize) -> bool {
        let is_within = |&at: &usize| !self.is(at, "SELECT") && self.text(at) != ",";
        (0..at).rev().take_while(is_within).any(|at| self.is(at, "reset_val"))
    }

    /// Whether the rows that the statement selects may include the setting.
    fn selects(&self, setting: &str) -> bool {
        attributes(&setting.to_ascii_lowercase()).into_iter().all(|(column, value)| {
            let comparisons: Vec<_> =
                (0..self.0.len()).filter_map(|at| self.comparison(at, column)).collect();
            let is_named = self.literals().any(|literal| is_like(value, &literal.to_ascii_lowercase()));
            match (comparisons.contains(&true), comparisons.is_empty()) {
                (true, _) => is_named,
                (false, false) => !is_named,
                (false, true) => true,
            }
        })
    }

    /// Whether `column` is compared at this token: true for equality, false for inequality.
    fn comparison(&self, at: usize, column: &str) -> Option<bool> {
        if !self.is(at, column) {
            return None;
        }
        let is_qualified = at > 1 && self.text(at - 1) == ".";
        let before = at.checked_sub(if is_qualified { 3 } else { 1 });
        if before.is_some_and(|before| self.text(before) == "=") {
            return Some(true);
        }
        // Skips casts and the end of a function call.
        let mut next = at + 1;
        loop {
            match (self.text(next), self.text(next + 1)) {
                (")", _) => next += 1,
                (":", ":") => next += 3,
                ("=" | "~" | "^", _) => return Some(true),
                ("!" | "<" | ">", _) => return Some(false),
                _ => break,
            }
        }
        let is_positive = ["IN", "LIKE", "ILIKE", "SIMILAR", "WHEN"].iter().any(|word| self.is(next, word));
        (is_positive || self.is(next, "NOT")).then_some(is_positive)
    }

    fn text(&self, at: usize) -> &str {
        self.0.get(at).map_or("", |token| token.text)
    }

    /// Whether this token is a word or a quoted identifier, in any case.
    fn is(&self, at: usize, word: &str) -> bool {
        let text = self.text(at);
        let unquoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        unquoted.unwrap_or(text).eq_ignore_ascii_case(word)
    }

    fn has(&self, word: &str) -> bool {
        (0..self.0.len()).any(|at| self.is(at, word))
    }

    fn literal(&self, at: usize) -> Option<&str> {
        self.text(at).trim_start_matches(['E', 'e']).strip_prefix('\'')?.strip_suffix('\'')
    }

    fn literals(&self) -> impl Iterator<Item = &str> {
        (0..self.0.len()).filter_map(|at| self.literal(at))
    }
}

/// `LIKE`, with only `%` as a wildcard.
fn is_like(text: &str, pattern: &str) -> bool {
    let Some((first, others)) = pattern.split_once('%') else { return text == pattern };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let (middle, last) = others.rsplit_once('%').unwrap_or(("", others));
    for piece in middle.split('%') {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sql: &str) -> Vec<&'static str> {
        Sql::parse(sql).unwrap().prologue_settings_read()
    }

    #[test]
    fn a_setting_is_read_where_its_value_in_the_session_is() {
        for (sql, expected) in [
            ("SHOW statement_timeout", &["statement_timeout"][..]),
            ("select 1; show \"datestyle\"", &["DateStyle"]),
            ("SELECT current_setting('Statement_Timeout')", &["statement_timeout"]),
            ("SELECT pg_catalog.current_setting ( E'bytea_output' , true)", &["bytea_output"]),
            ("SELECT current_setting(n) FROM unnest(ARRAY['work_mem', 'DateStyle']) AS n", &["DateStyle"]),
            ("SELECT setting FROM pg_settings WHERE name = 'statement_timeout'", &["statement_timeout"]),
            ("SELECT s.setting FROM pg_catalog.pg_settings s WHERE 'DateStyle' = s.name", &["DateStyle"]),
            ("SELECT setting FROM pg_settings WHERE lower(name::text) IN ('datestyle')", &["DateStyle"]),
            (
                "SELECT setting FROM pg_settings WHERE name LIKE '%_timeout' AND context = 'user'",
                &["statement_timeout"],
            ),
            (
                "SELECT max(CASE name WHEN 'bytea_output' THEN setting END) FROM pg_settings",
                &["bytea_output"],
            ),
            (
                "SELECT setting AS setting, reset_val FROM pg_settings WHERE name = 'bytea_output'",
                &["bytea_output"],
            ),
            (
                "SELECT name, CASE setting WHEN 'on' THEN '1' ELSE setting END AS setting FROM pg_settings
                 WHERE vartype IN ('integer', 'real', 'bool') ORDER BY 1",
                &["transaction_read_only", "statement_timeout", "extra_float_digits"],
            ),
            ("SELECT * FROM pg_settings WHERE name = 'bytea_output'", &["bytea_output"]),
        ] {
            assert_eq!(read(sql), expected, "{sql}");
        }
        for sql in [
            "SHOW ALL",
            "TABLE pg_settings",
            "SELECT name, setting FROM pg_settings",
            "SELECT name, \"setting\"::text FROM \"pg_settings\" ORDER BY name",
            "SELECT count(*) FROM pg_settings WHERE setting <> boot_val",
            "SELECT s.* FROM pg_settings AS s",
            "SELECT name, setting FROM pg_settings WHERE name NOT LIKE 'log%'",
            "SELECT name, setting FROM pg_settings WHERE source <> 'default'",
            "SELECT name, current_setting(name) FROM pg_settings",
            "SELECT name, setting FROM pg_settings WHERE category LIKE 'Client Connection%'",
        ] {
            assert_eq!(read(sql), PROLOGUE_SETTINGS, "{sql}");
        }
    }

    #[test]
    fn what_else_a_query_reads_is_its_own_business() {
        for sql in [
            "SHOW work_mem",
            "SELECT show, all_settings FROM shows",
            "SELECT current_setting('work_mem'), 'statement_timeout'",
            "SELECT set_config('statement_timeout', '1', true)",
            "SELECT reset_val FROM pg_settings WHERE name = 'statement_timeout'",
            "SELECT name, reset_val AS setting FROM pg_settings",
            "SELECT name, reset_val setting FROM pg_settings",
            "SELECT name, (reset_val::float8 * 8192)::text AS setting FROM pg_settings",
            "SELECT setting FROM (SELECT reset_val AS setting FROM pg_settings) AS s",
            "SELECT count(*) FROM pg_settings WHERE pending_restart",
            "SELECT 8192 * setting::bigint FROM pg_settings WHERE name = 'shared_buffers'",
            "SELECT setting FROM pg_settings WHERE name IN ('max_connections', 'work_mem')",
            "SELECT setting FROM pg_settings WHERE name LIKE 'autovacuum%'",
            "SELECT setting FROM pg_settings WHERE name ~ '^autovacuum'",
            "SELECT setting FROM pg_settings WHERE category LIKE 'Autovacuum%'",
            "SELECT setting FROM pg_settings WHERE context IN ('postmaster', 'sighup')",
            "SELECT setting FROM pg_settings WHERE source = 'configuration file'",
            "SELECT setting FROM pg_settings WHERE context <> 'user'",
            "SELECT name, current_setting(name) FROM pg_settings WHERE name = 'work_mem'",
            "SELECT n, current_setting(n) AS setting FROM unnest(ARRAY['work_mem']) AS n",
            "SELECT setting FROM thermostats",
            "-- SHOW statement_timeout\nSELECT 'SHOW ALL', $$SHOW ALL$$",
            "",
        ] {
            assert_eq!(read(sql), [""; 0], "{sql}");
        }
    }

    #[test]
    fn patterns_match_as_by_like() {
        for (pattern, matches) in [
            ("statement_timeout", true),
            ("statement", false),
            ("%timeout", true),
            ("statement%", true),
            ("%", true),
            ("%t%t%t%", true),
            ("s%e%m%t", true),
            ("%timeouts", false),
            ("x%", false),
            ("%x%", false),
            ("", false),
        ] {
            assert_eq!(is_like("statement_timeout", pattern), matches, "{pattern}");
        }
    }
}
