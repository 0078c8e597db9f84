//! The `queries.yml` of the package, on whichever PostgreSQL the tests run.

use crate::lambda::{AMPLE, Queries, function, scrape};
use crate::postgres::Server;

#[tokio::test]
async fn each_query_gives_all_its_samples_or_is_for_another_version() {
    let database = Server::shared().database("shipped");
    let queries = Queries::new(include_str!("../../queries.yml"));
    let samples = scrape(&function(&queries, &database).await).await;
    assert_eq!(samples.value("pg_up"), 1.0);
    for problem in ["pg_exporter_query_error", "pg_exporter_query_samples_dropped"] {
        assert_eq!(samples.of(problem), [], "{samples:#?}");
    }
    let skipped = samples.of("pg_exporter_query_skipped");
    let [(skipped, _)] = skipped[..] else { panic!("one of the two that ask for checkpoints: {skipped:?}") };
    assert!(skipped.starts_with("{query=\"pg_checkpoints"), "{skipped}");
    assert!(skipped.ends_with(",reason=\"version\"}"), "{skipped}");
}

#[tokio::test]
async fn the_series_of_checkpoints_are_the_same_in_every_version() {
    let server = Server::shared();
    let database = server.database("checkpoints");
    let queries = Queries::new(include_str!("../../queries.yml"));
    let lambda = function(&queries, &database).await;
    let requested = async || scrape(&lambda).await.value("pg_stat_bgwriter_checkpoints_req_total");
    let before = requested().await;
    server.admin("CHECKPOINT");
    // The server's statistics are a little late.
    let counted = async { while requested().await <= before {} };
    tokio::time::timeout(AMPLE, counted).await.unwrap();
    let samples = scrape(&lambda).await;
    for name in [
        "checkpoints_timed",
        "checkpoint_write_time_seconds",
        "checkpoint_sync_time_seconds",
        "buffers_checkpoint",
        "buffers_clean",
        "maxwritten_clean",
        "buffers_alloc",
    ] {
        assert!(samples.value(&format!("pg_stat_bgwriter_{name}_total")) >= 0.0);
    }
}
