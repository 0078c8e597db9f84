//! Texts from elsewhere that would look like lines of the log, or hide some.

use super::fake_server::{Conduct, FakeServer};
use super::observed::logged;
use crate::events::{Event, Kind};
use crate::lambda::{AMPLE, GOOD, Queries, environment, with_secret};
use crate::postgres::Server;
use crate::runtime_api::Lambda;
use crate::secrets_manager::{Answer, SecretsManagerServer};

/// What would begin a line, clear a terminal, and turn the text behind it around.
const FORGERY: &str =
    "x\nERROR forged \r\u{1b}[2J\u{9b}31m\u{7f}\u{85}\u{2028}\u{202e}\u{2066}\u{200f}\u{feff}";

/// A function that logs text, or JSON, after a scrape. Whoever answered it has not got a line into the log.
async fn log_of(variables: &[(&str, String)], words: &[&str], format: &str) -> String {
    let variables = variables.iter().cloned().chain([("AWS_LAMBDA_LOG_FORMAT", format.to_owned())]);
    let lambda = Lambda::start(variables).await;
    lambda.invoke(Event::recorded(Kind::HttpApi).json(), AMPLE).await;
    logged(&lambda, words).await;
    let log = lambda.log();
    for line in log.lines() {
        assert!(!line.starts_with("ERROR forged"), "{log}");
        let hidden = |c: char| c.is_control() || "\u{2028}\u{202e}\u{2066}\u{200f}\u{feff}".contains(c);
        assert!(!line.contains(hidden), "{line:?}");
        if format == "JSON" {
            serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        }
    }
    log
}

/// The text is in the log, in one line that the function begins.
async fn is_escaped(variables: &[(&str, String)]) {
    log_of(variables, &["ERROR forged"], "Text").await;
    // JSON escapes DEL and those above by choice, and all are read as they were.
    let log = log_of(variables, &["ERROR forged"], "JSON").await;
    let has_text = log.lines().any(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let fields = line["fields"].as_object().unwrap();
        fields.values().any(|text| text.as_str().is_some_and(|text| text.contains(FORGERY)))
    });
    assert!(has_text, "{log}");
}

/// YAML takes some characters only as escapes.
fn in_yaml(text: &str) -> String {
    format!("\"{}\"", text.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect::<String>())
}

#[tokio::test]
async fn an_sqlstate_that_is_none() {
    let fields =
        [(b'S', "FATAL"), (b'C', FORGERY), (b'M', FORGERY)].map(|(kind, text)| (kind, text.to_owned()));
    let server = FakeServer::start(Conduct::Refuse(fields.into())).await;
    let queries = Queries::new(GOOD);
    let variables = environment(&queries, server.url());
    for format in ["Text", "JSON"] {
        let log = log_of(&variables, &["no connection to the database", "SQLSTATE unreadable"], format).await;
        assert!(!log.contains("forged"), "{log}");
    }
}

#[tokio::test]
async fn an_error_of_scram() {
    let server = FakeServer::start(Conduct::EndScram(FORGERY.into())).await;
    let queries = Queries::new(GOOD);
    is_escaped(&environment(&queries, server.url())).await;
}

#[tokio::test]
async fn a_path_in_a_secret() {
    let database = Server::shared().database("forged_path");
    let secret = serde_json::json!({
        "host": "localhost", "username": "somebody", "password": "of-somebody-1", "sslmode": "verify-full",
        "sslrootcert": format!("/nowhere/{FORGERY}"),
    });
    let service = SecretsManagerServer::start(Answer::text(&secret.to_string()));
    let queries = Queries::new(GOOD);
    let mut variables = with_secret(&queries, &database, &service);
    variables.retain(|(name, _)| *name != "AWS_LAMBDA_LOG_LEVEL");
    is_escaped(&variables).await;
}

#[tokio::test]
async fn a_path_in_a_variable() {
    let variables = [("AUTH", "none".into()), ("PGHOST", "localhost".into()), ("PGUSER", "somebody".into())];
    let queries = ("QUERIES_FILE", format!("/nowhere/{FORGERY}"));
    let variables: Vec<_> = variables.into_iter().chain([queries]).collect();
    is_escaped(&variables).await;
}

#[tokio::test]
async fn a_query_that_is_not_run() {
    let queries = Queries::new(&format!("{}: {{query: SELECT 1 AS v}}\n", in_yaml(FORGERY)));
    let variables = environment(&queries, "postgres://somebody@localhost:1/somewhere".into());
    for format in ["Text", "JSON"] {
        log_of(&variables, &["mistake in a query file", "ERROR forged"], format).await;
    }
}

#[tokio::test]
async fn a_token_of_a_syntax_error() {
    let database = Server::shared().database("forged_token");
    let sql = format!("SELECT \"{FORGERY}\" AS v");
    let queries = Queries::new(&format!("q: {{query: {}}}\n", in_yaml(&sql)));
    for format in ["Text", "JSON"] {
        let words = ["undefined_column", "ERROR forged"];
        log_of(&environment(&queries, database.url()), &words, format).await;
    }
}
