//! How large an answer may be: what is too much is left out, the last queries first.

use crate::events::{Event, Kind};
use crate::lambda::{AMPLE, Queries, function, samples};
use crate::postgres::Server;
use crate::runtime_api::{Answer, Lambda};

const LAMBDA_BYTES: usize = 6_291_556;
const ALB_BYTES: usize = 1_000_000;

/// A query of `rows` samples, each with about a kilobyte of `label`, an SQL expression over the row number `g`.
fn query(name: &str, rows: usize, label: &str) -> String {
    format!(
        "{name}: {{query: \"SELECT g, {label} AS l, 1 AS v FROM generate_series(1, {rows}) g\",
           metrics: [{{g: {{usage: LABEL}}}}, {{l: {{usage: LABEL}}}}, {{v: {{usage: GAUGE}}}}]}}\n"
    )
}

const PLAIN: &str = "repeat('x', 1000)";
/// In the exposition twice as long, in JSON four times.
const QUOTES: &str = "repeat('\\\"', 250)";
/// Compressed, still more than half as long.
const RANDOM: &str = "(SELECT string_agg(md5((g * 100 + i)::text), '') FROM generate_series(1, 31) i)";

async fn ask(lambda: &Lambda, kind: Kind, encoding: Option<&str>) -> Answer {
    lambda.invoke(Event::recorded(kind).header("accept-encoding", encoding).json(), AMPLE).await
}

/// How many samples each query gave; one that was left out says so.
fn rows(answer: &Answer, names: &[&str]) -> Vec<usize> {
    let samples = samples(answer);
    assert_eq!(samples.value("pg_up"), 1.0);
    let of = |name: &&str| {
        let count = samples.of(&format!("{name}_v")).len();
        let error = format!("{{query=\"{name}\",reason=\"limit\"}}");
        let errors = samples.of("pg_exporter_query_error");
        assert_eq!(errors.iter().any(|(labels, _)| *labels == error), count == 0, "{name}: {errors:?}");
        assert_eq!(
            samples.value(&format!("pg_exporter_query_success{{query=\"{name}\"}}")),
            if count == 0 { 0.0 } else { 1.0 }
        );
        count
    };
    names.iter().map(of).collect()
}

#[tokio::test]
async fn quotes_count_as_json_writes_them() {
    let database = Server::shared().database("limit_text");
    let file =
        [query("a", 250, PLAIN), query("b", 600, QUOTES), query("c", 250, PLAIN), query("d", 1, PLAIN)];
    let queries = Queries::new(&file.concat());
    let lambda = function(&queries, &database).await;
    let whole = ask(&lambda, Kind::HttpApi, None).await;
    assert_eq!(rows(&whole, &["a", "b", "c", "d"]), [250, 600, 250, 1]);
    assert!(whole.body.len() < ALB_BYTES && whole.json_bytes > ALB_BYTES, "the case shows something");

    let answer = ask(&lambda, Kind::Alb, None).await;
    assert_eq!(rows(&answer, &["a", "b", "c", "d"]), [250, 600, 0, 0]);
    assert!(answer.json_bytes <= ALB_BYTES, "{}", answer.json_bytes);
    assert!(lambda.log().contains("larger than may be sent"), "{}", lambda.log());

    let gzip = ask(&lambda, Kind::Alb, Some("gzip")).await;
    assert_eq!(rows(&gzip, &["a", "b", "c", "d"]), [250, 600, 250, 1]);
}

#[tokio::test]
async fn gzip_counts_as_base64() {
    let database = Server::shared().database("limit_gzip");
    let names = ["a", "b", "c"];
    let queries = Queries::new(&names.map(|name| query(name, 600, RANDOM)).concat());
    let lambda = function(&queries, &database).await;
    let whole = ask(&lambda, Kind::HttpApi, Some("gzip")).await;
    assert_eq!(rows(&whole, &names), [600, 600, 600]);
    assert!(whole.json_bytes > ALB_BYTES, "the case shows something");

    let answer = ask(&lambda, Kind::Alb, Some("gzip")).await;
    assert!(answer.is_base64);
    assert_eq!(rows(&answer, &names), [600, 600, 0]);
    assert!(answer.json_bytes <= ALB_BYTES, "{}", answer.json_bytes);
}

#[tokio::test]
async fn no_answer_is_larger_than_lambda_allows() {
    let database = Server::shared().database("limit_lambda");
    let names = ["a", "b", "c", "d"];
    let queries = Queries::new(&names.map(|name| query(name, 2000, PLAIN)).concat());
    let lambda = function(&queries, &database).await;
    for kind in [Kind::HttpApi, Kind::FunctionUrl, Kind::RestApi] {
        let answer = ask(&lambda, kind, None).await;
        assert_eq!(rows(&answer, &names), [2000, 2000, 2000, 0], "{kind:?}");
        assert!(answer.json_bytes <= LAMBDA_BYTES, "{}", answer.json_bytes);
    }
}

#[tokio::test]
async fn where_the_first_is_too_large_only_the_exporters_own_metrics_are_left() {
    let database = Server::shared().database("limit_first");
    let bad = "bad: {query: SELECT 1/0 AS v}\nempty: {query: SELECT 1 AS v WHERE false}\n";
    let queries = Queries::new(&format!("{}{}{bad}", query("a", 1200, PLAIN), query("b", 1, PLAIN)));
    let lambda = function(&queries, &database).await;
    let answer = ask(&lambda, Kind::Alb, None).await;
    assert_eq!(rows(&answer, &["a", "b"]), [0, 0]);
    let samples = samples(&answer);
    assert_eq!(samples.value(r#"pg_exporter_query_error{query="bad",reason="other"}"#), 1.0);
    assert_eq!(samples.value(r#"pg_exporter_query_success{query="empty"}"#), 1.0);
    assert_eq!(samples.value("pg_exporter_last_scrape_error"), 1.0);
}

#[tokio::test]
async fn what_is_left_out_of_a_family_of_two_queries_is_that_of_the_later() {
    let database = Server::shared().database("limit_family");
    let named = |name, rows| query(name, rows, PLAIN).replace("metrics:", "name: same,\n           metrics:");
    let queries = Queries::new(&format!("{}{}", named("a", 600), named("b", 700)));
    let lambda = function(&queries, &database).await;
    let whole = samples(&ask(&lambda, Kind::HttpApi, None).await);
    assert_eq!(whole.of("same_v").len(), 700);
    let duplicates = r#"pg_exporter_query_samples_dropped{query="b",reason="duplicate"}"#;
    assert_eq!(whole.value(duplicates), 600.0);
    // Together they fit, though each for itself would not.
    let both = samples(&ask(&lambda, Kind::Alb, None).await);
    assert_eq!((both.of("same_v").len(), both.value(duplicates)), (700, 600.0));
    assert_eq!(both.of("pg_exporter_query_error").len(), 0);
}

#[tokio::test]
async fn what_a_scrape_gives_is_limited_before_it_is_an_answer() {
    let database = Server::shared().database("limit_exposed");
    let large = |name| query(name, 8000, PLAIN).replace("metrics:", "cache_seconds: 600, metrics:");
    let file = [large("a"), large("b"), query("c", 1, PLAIN)].concat();
    let queries = Queries::new(&file);
    let lambda = function(&queries, &database).await;
    for _ in 0..2 {
        // Compressed, all of it would fit.
        let answer = ask(&lambda, Kind::HttpApi, Some("gzip")).await;
        assert_eq!(rows(&answer, &["a", "b", "c"]), [8000, 0, 1]);
        // What cannot be delivered is not kept either.
        let ages = samples(&answer);
        let ages = ages.of("pg_exporter_query_cache_age_seconds");
        assert_eq!(ages.iter().map(|(labels, _)| *labels).collect::<Vec<_>>(), ["{query=\"a\"}"]);
    }
}
