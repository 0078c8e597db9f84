//! What a fault is judged by: the answer and when it came, what the log says, and what is left in the server.

use std::time::Duration;

use crate::events::{Event, Kind};
use crate::lambda::{AMPLE, samples};
use crate::postgres::{Rows, TestDatabase};
use crate::runtime_api::{Answer, Lambda};
use crate::samples::Samples;

/// The function's session with the database that is asked.
const SESSION: &str = "backend_type = 'client backend' AND datname = current_database()
    AND application_name LIKE 'pg-lambda-exporter/%'";

/// A scrape that Prometheus ends after so many seconds. The answer came before.
pub(super) async fn scrape_within(lambda: &Lambda, seconds: u64) -> Samples {
    samples(&invoke_within(lambda, seconds).await)
}

/// The same, with the time that it took.
pub(super) async fn invoke_within(lambda: &Lambda, seconds: u64) -> Answer {
    let timeout = seconds.to_string();
    let event = Event::recorded(Kind::HttpApi).header("x-prometheus-scrape-timeout-seconds", Some(&timeout));
    let answer = lambda.invoke(event.json(), AMPLE).await;
    assert!(answer.took < Duration::from_secs(seconds), "it took {:?}: {}", answer.took, lambda.log());
    answer
}

/// The scrape has all that there is: a sample of each of these metrics, and no error.
#[track_caller]
pub(super) fn assert_complete(samples: &Samples, metrics: &[&str]) {
    assert_eq!(samples.value("pg_up"), 1.0);
    assert_eq!(samples.of("pg_exporter_query_error"), []);
    assert_eq!(samples.value("pg_exporter_last_scrape_error"), 0.0);
    for metric in metrics {
        assert!(!samples.of(metric).is_empty(), "{metric} in {samples:#?}");
    }
}

/// The query failed for this reason and has no samples.
#[track_caller]
pub(super) fn assert_failed(samples: &Samples, query: &str, reason: &str) {
    let labels = format!(r#"{{query="{query}",reason="{reason}"}}"#);
    assert_eq!(samples.value(&format!("pg_exporter_query_error{labels}")), 1.0);
    assert_eq!(samples.value(&format!(r#"pg_exporter_query_success{{query="{query}"}}"#)), 0.0);
    assert_eq!(samples.of(&format!("{query}_v")), []);
}

/// Waits until one line of the log has all these words: what a process has printed takes a moment to arrive.
pub(crate) async fn logged(lambda: &Lambda, words: &[&str]) {
    let is_logged = || lambda.log().lines().any(|line| words.iter().all(|word| line.contains(word)));
    until(is_logged, || format!("no line with {words:?} in {}", lambda.log())).await;
}

/// Waits until the function runs a query whose text contains this.
pub(super) async fn running(database: &TestDatabase, text: &str) {
    let query = format!(
        "SELECT pid FROM pg_stat_activity WHERE {SESSION} AND state = 'active' AND query LIKE '%{text}%'"
    );
    until(|| !database.admin(&query).is_empty(), || format!("{text} does not run")).await;
}

/// Waits until the server does nothing for the function any more.
pub(super) async fn idle(database: &TestDatabase) {
    let query = format!("SELECT state, query FROM pg_stat_activity WHERE {SESSION} AND state <> 'idle'");
    until(|| database.admin(&query).is_empty(), || format!("left: {:?}", database.admin(&query))).await;
}

/// The process of the server that the function's one session has.
pub(super) fn backend(database: &TestDatabase) -> String {
    let mut rows = sessions(database);
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0).remove(0).unwrap()
}

/// The processes of the server that sessions of the function have.
pub(super) fn sessions(database: &TestDatabase) -> Rows {
    database.admin(&format!("SELECT pid FROM pg_stat_activity WHERE {SESSION}"))
}

/// Ends the function's sessions as an administrator does.
pub(super) fn terminate_backends(database: &TestDatabase) {
    let ended = database
        .admin(&format!("SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE {SESSION}"));
    assert_eq!(ended, [[Some("t".to_owned())]]);
}

/// Waits until the condition holds; says what is wrong where it never does.
pub(super) async fn until(mut condition: impl FnMut() -> bool, otherwise: impl Fn() -> String) {
    let begun = std::time::Instant::now();
    while !condition() {
        assert!(begun.elapsed() < AMPLE, "{}", otherwise());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
