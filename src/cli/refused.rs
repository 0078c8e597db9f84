//! Explains to the author why the server refuses a query: the place in the file, and PostgreSQL's HINT.

use super::output::printable;
use crate::conditions::sql_for;
use crate::config::{Query, SqlPosition};
use crate::database::{Refusal, ServerFacts};

/// `failure` with the place in the query files before it, and the token and the HINT after it.
pub(super) fn explain(
    failure: &str,
    refusal: &Refusal,
    query: &Query,
    facts: &ServerFacts,
    files: &[(String, String)],
) -> String {
    let (key, sql) = refused_sql(failure, query, facts);
    let mut text = failure.to_owned();
    if let Some(before) = refusal.position {
        if let Some(token) = token(sql, before).filter(|token| !failure.contains(token)) {
            text = format!("{text} at {token:?}");
        }
        if let Some(place) = SqlPosition::find(files, (&query.namespace, key), sql, before) {
            let column = place.column.map(|column| format!(":{column}")).unwrap_or_default();
            // The place in the file replaces the one in the SQL.
            let text_without = text.replacen(&format!(" at character {}", before + 1), "", 1);
            text = format!("{}:{}{column}: {text_without}", place.file, place.line);
        }
    }
    if let Some(hint) = &refusal.hint {
        text = format!("{text}; {}", printable(hint));
    }
    text
}

/// The SQL that the server has refused, and its key.
fn refused_sql<'q>(failure: &str, query: &'q Query, facts: &ServerFacts) -> (&'static str, &'q str) {
    if let (Some(predicate), true) = (&query.predicate, failure.starts_with(PREDICATE)) {
        return (PREDICATE, predicate.as_str());
    }
    match sql_for(query, facts) {
        Ok(sql) if !std::ptr::eq(sql, &query.sql) => ("query_aurora", sql.as_str()),
        _ => ("query", query.sql.as_str()),
    }
}

pub(super) const PREDICATE: &str = "predicate_query";

/// The word or operator after the first `before` characters. A literal is not repeated.
fn token(sql: &str, before: usize) -> Option<String> {
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.');
    let is_operator = |c: char| "+-*/<>=~!@#%^&|`?:".contains(c);
    let first = sql.chars().nth(before)?;
    let is_part: &dyn Fn(char) -> bool = match first {
        c if c.is_alphabetic() || c == '_' => &is_word,
        c if is_operator(c) => &is_operator,
        _ => return None,
    };
    Some(sql.chars().skip(before).take_while(|c| is_part(*c)).collect())
}
