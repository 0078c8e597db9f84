//! `cache_seconds`: what is served again, for how long, and what is not.

use crate::lambda::{Queries, function, scrape};
use crate::postgres::{ROLE, Server};
use crate::samples::Samples;

/// When the query ran, to the microsecond.
const CLOCK: &str = "SELECT extract(epoch FROM clock_timestamp()) AS v";

fn age(samples: &Samples, query: &str) -> Option<f64> {
    let labels = format!("{{query=\"{query}\"}}");
    let ages = samples.of("pg_exporter_query_cache_age_seconds");
    ages.into_iter().find(|(of, _)| *of == labels).map(|(_, age)| age)
}

#[tokio::test]
async fn a_young_result_is_served_again() {
    let database = Server::shared().database("cache");
    let queries = Queries::new(&format!(
        "kept: {{query: '{CLOCK}, NULL::int AS w', cache_seconds: 3600}}\nfresh: {{query: '{CLOCK}'}}\n"
    ));
    let lambda = function(&queries, &database).await;
    let first = scrape(&lambda).await;
    let second = scrape(&lambda).await;
    assert_eq!(first.value("kept_v"), second.value("kept_v"));
    assert!(first.value("fresh_v") < second.value("fresh_v"));
    assert_eq!((age(&first, "kept"), age(&first, "fresh"), age(&second, "fresh")), (Some(0.0), None, None));
    let since = second.value("fresh_v") - first.value("kept_v");
    let second_age = age(&second, "kept").unwrap();
    assert!(second_age > 0.0 && second_age <= since, "{second_age} {since}");
    for samples in [&first, &second] {
        assert_eq!(samples.value(r#"pg_exporter_query_success{query="kept"}"#), 1.0);
        assert_eq!(samples.value(r#"pg_exporter_query_rows{query="kept"}"#), 1.0);
        let dropped = r#"pg_exporter_query_samples_dropped{query="kept",reason="null"}"#;
        assert_eq!(samples.value(dropped), 1.0);
    }
    let ran = |samples: &Samples| samples.of("pg_exporter_query_duration_seconds").len();
    assert_eq!((ran(&first), ran(&second)), (2, 1));
}

#[tokio::test]
async fn an_old_result_is_not_served_even_where_there_is_no_new_one() {
    let database = Server::shared().database("cache_old");
    database.admin(&format!("CREATE TABLE t AS SELECT 1; GRANT SELECT ON t TO {ROLE}"));
    let queries = Queries::new(&format!("kept: {{query: '{CLOCK} FROM t', cache_seconds: 1}}\n"));
    let lambda = function(&queries, &database).await;
    let first = scrape(&lambda).await.value("kept_v");
    // Served again until it is a second old.
    let second = loop {
        let samples = scrape(&lambda).await;
        assert!(age(&samples, "kept").unwrap() < 1.0);
        if samples.value("kept_v") != first {
            break samples.value("kept_v");
        }
    };
    assert!(second - first >= 1.0, "{first} {second}");

    database.admin("DROP TABLE t");
    let samples = loop {
        let samples = scrape(&lambda).await;
        if samples.of("kept_v").is_empty() {
            break samples;
        }
        assert_eq!(samples.value("kept_v"), second);
    };
    assert_eq!(samples.value(r#"pg_exporter_query_error{query="kept",reason="undefined"}"#), 1.0);
    assert_eq!(age(&samples, "kept"), None);
}

#[tokio::test]
async fn a_failure_is_not_kept() {
    let database = Server::shared().database("cache_failure");
    let queries = Queries::new(
        "
absent: {query: SELECT v FROM t, cache_seconds: 3600}
partial: {query: 'SELECT * FROM u', metrics: [{v: {usage: GAUGE}}, {w: {usage: GAUGE}}], cache_seconds: 3600}
skipped: {query: SELECT 1 AS v, predicate_query: 'SELECT count(*) = 2 FROM u', cache_seconds: 3600}
",
    );
    database.admin(&format!("CREATE TABLE u AS SELECT 1 AS v; GRANT SELECT ON u TO {ROLE}"));
    let lambda = function(&queries, &database).await;
    let before = scrape(&lambda).await;
    assert_eq!(before.value(r#"pg_exporter_query_error{query="absent",reason="undefined"}"#), 1.0);
    assert_eq!(before.value(r#"pg_exporter_query_error{query="partial",reason="config"}"#), 1.0);
    assert_eq!(before.value(r#"pg_exporter_query_skipped{query="skipped",reason="predicate"}"#), 1.0);

    database.admin(&format!(
        "CREATE TABLE t AS SELECT 2 AS v; GRANT SELECT ON t TO {ROLE};
         ALTER TABLE u ADD w int DEFAULT 3; INSERT INTO u VALUES (1)"
    ));
    let after = scrape(&lambda).await;
    assert_eq!(
        (after.value("absent_v"), after.value("partial_w"), after.value("skipped_v")),
        (2.0, 3.0, 1.0)
    );
    // What was kept then needs its predicate no more.
    database.admin("DROP TABLE u");
    assert_eq!(scrape(&lambda).await.value("skipped_v"), 1.0);
}

#[tokio::test]
async fn nothing_is_served_while_the_database_is_away() {
    let server = Server::private();
    let database = server.database("cache_away");
    let queries = Queries::new(&format!("kept: {{query: '{CLOCK}', cache_seconds: 3600}}\n"));
    let lambda = function(&queries, &database).await;
    let before = scrape(&lambda).await.value("kept_v");
    server.stop();
    let away = scrape(&lambda).await;
    assert_eq!((away.value("pg_up"), away.of("kept_v").len(), age(&away, "kept")), (0.0, 0, None));
    server.start();
    assert_eq!(scrape(&lambda).await.value("kept_v"), before);
}

#[tokio::test]
async fn nothing_is_served_where_the_database_is_lost_on_the_way() {
    let server = Server::private();
    let database = server.database("cache_lost");
    database.admin(&format!("CREATE TABLE t AS SELECT 1 AS v; GRANT SELECT ON t TO {ROLE}"));
    let queries = Queries::new(&format!(
        "kept: {{query: '{CLOCK}', cache_seconds: 3600}}\nlocked: {{query: SELECT v FROM t}}\nlast: {{query: SELECT 1 AS v}}\n"
    ));
    let lambda = function(&queries, &database).await;
    assert_eq!(scrape(&lambda).await.of("kept_v").len(), 1);

    let holder = database.session().await;
    holder.batch_execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    let lose = async {
        while database.admin_cell(waits) == "0" {
            tokio::task::yield_now().await;
        }
        server.kill();
    };
    let (lost, ()) = tokio::join!(scrape(&lambda), lose);
    assert_eq!((lost.value("pg_up"), lost.of("kept_v").len()), (0.0, 0));
    assert_eq!(lost.value(r#"pg_exporter_query_error{query="kept",reason="connection"}"#), 1.0);
}

#[tokio::test]
async fn what_a_primary_said_is_not_served_by_a_standby() {
    let server = Server::private();
    let database = server.database("cache_standby");
    let queries = Queries::new("kept: {query: SELECT 1 AS v, cache_seconds: 3600, primary: true}\n");
    let lambda = function(&queries, &database).await;
    assert_eq!(scrape(&lambda).await.of("kept_v").len(), 1);
    server.restart_as_standby();
    let samples = scrape(&lambda).await;
    assert_eq!(samples.value(r#"pg_exporter_query_skipped{query="kept",reason="primary"}"#), 1.0);
    assert!(samples.of("kept_v").is_empty());
}
