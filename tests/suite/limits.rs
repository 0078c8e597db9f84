//! How large an answer may be: above it, the queries with the largest results are left out.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use pg_lambda_exporter::settings::{Limits, Settings};

use crate::cli::Terminal;
use crate::events::{Event, Kind};
use crate::lambda::{AMPLE, Queries, environment, function, samples};
use crate::postgres::{Server, TestDatabase};
use crate::runtime_api::{Answer, Lambda};
use crate::samples::Samples;

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
    assert_eq!(rows(&answer, &["a", "b", "c", "d"]), [250, 0, 250, 1]);
    assert!(answer.json_bytes <= ALB_BYTES, "{}", answer.json_bytes);
    assert!(lambda.log().contains("the answer would exceed its size limit"), "{}", lambda.log());

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
    // Compressed, they differ by a few bytes.
    let mut left = rows(&answer, &names);
    left.sort_unstable();
    assert_eq!(left, [0, 600, 600]);
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
async fn no_more_than_needed_is_left_out_and_a_duplicate_of_it_comes_back() {
    let database = Server::shared().database("limit_duplicate");
    let named = |name, rows| query(name, rows, PLAIN).replace("metrics:", "name: same,\n           metrics:");
    let file = [named("a", 700), query("b", 250, PLAIN), query("c", 250, PLAIN), named("d", 1)];
    let queries = Queries::new(&file.concat());
    let lambda = function(&queries, &database).await;
    let whole = samples(&ask(&lambda, Kind::HttpApi, None).await);
    assert_eq!(whole.value(r#"pg_exporter_query_samples_dropped{query="d",reason="duplicate"}"#), 1.0);
    let answer = ask(&lambda, Kind::Alb, None).await;
    let left = rows(&answer, &["b", "c"]);
    let samples = samples(&answer);
    assert_eq!((left, samples.of("same_v").len()), (vec![250, 250], 1));
    assert_eq!(samples.value(r#"pg_exporter_query_error{query="a",reason="limit"}"#), 1.0);
    assert_eq!(samples.of("pg_exporter_query_samples_dropped").len(), 0);
}

#[tokio::test]
async fn small_queries_stay_when_one_large_is_left_out() {
    let database = Server::shared().database("limit_small");
    let small: Vec<_> = (0..80).map(|number| format!("s{number}")).collect();
    let mut file: String = small.iter().map(|name| query(name, 3, "'a'")).collect();
    file += &query("large", 60, RANDOM);
    let queries = Queries::new(&file);
    // A body of about 20 kB without the large query, and 4 kB of the answer's JSON around it.
    let lambda = limited(&queries, &database, "MAX_RESPONSE_BYTES", "40000").await;
    let names: Vec<_> = small.iter().map(String::as_str).chain(["large"]).collect();
    let given = rows(&ask(&lambda, Kind::HttpApi, Some("gzip")).await, &names);
    assert_eq!(given, [&[3; 80][..], &[0]].concat());
}

#[tokio::test]
async fn many_queries_of_one_size_are_left_out_in_a_few_steps() {
    let database = Server::shared().database("limit_steps");
    let names: Vec<_> = (0..150).map(|number| format!("q{number}")).collect();
    let queries =
        Queries::new(&names.iter().map(|name| query(name, 4, "repeat('x', 300)")).collect::<String>());
    let lambda = limited(&queries, &database, "MAX_RESPONSE_BYTES", "150000").await;
    let answer = ask(&lambda, Kind::HttpApi, None).await;
    assert!(answer.json_bytes <= 150_000, "{}", answer.json_bytes);
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let given = rows(&answer, &names).into_iter().filter(|rows| *rows > 0).count();
    assert!((60..110).contains(&given), "{given} of 150");
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
    let large = |name| query(name, 8500, PLAIN).replace("metrics:", "cache_seconds: 600, metrics:");
    let file = [large("a"), large("b"), query("c", 1, PLAIN)].concat();
    let queries = Queries::new(&file);
    let lambda = function(&queries, &database).await;
    for _ in 0..2 {
        // Compressed, all of it would fit.
        let answer = ask(&lambda, Kind::HttpApi, Some("gzip")).await;
        assert_eq!(rows(&answer, &["a", "b", "c"]), [8500, 0, 1]);
        // What cannot be delivered is not kept either.
        let ages = samples(&answer);
        let ages = ages.of("pg_exporter_query_cache_age_seconds");
        assert_eq!(ages.iter().map(|(labels, _)| *labels).collect::<Vec<_>>(), ["{query=\"a\"}"]);
    }
}

#[tokio::test]
async fn a_long_label_of_many_samples_counts_for_each_of_them() {
    let database = Server::shared().database("limit_long_label");
    let counters: Vec<_> = (0..30).map(|number| format!("c{number}")).collect();
    let columns: String = counters.iter().map(|name| format!(", g AS {name}")).collect();
    let metrics: String = counters.iter().map(|name| format!(", {{{name}: {{usage: COUNTER}}}}")).collect();
    // 100 kB in memory, where the samples of a row share their labels, and 3 MB as text.
    let long = format!(
        "long: {{query: \"SELECT g, repeat('x', 5000) AS l{columns} FROM generate_series(1, 20) g\",
           metrics: [{{g: {{usage: LABEL}}}}, {{l: {{usage: LABEL}}}}{metrics}]}}\n"
    );
    let queries = Queries::new(&[query("a", 9, PLAIN), long, query("b", 9, PLAIN)].concat());
    for (limit, expected) in [("1000000", 0), ("", 600)] {
        let lambda = limited(&queries, &database, "MAX_RESULT_BYTES", limit).await;
        // Compressed, all of it would fit.
        let answer = ask(&lambda, Kind::HttpApi, Some("gzip")).await;
        assert_eq!(rows(&answer, &["a", "b"]), [9, 9]);
        let samples = samples(&answer);
        let given: usize = counters.iter().map(|name| samples.of(&format!("long_{name}")).len()).sum();
        assert_eq!(given, expected, "MAX_RESULT_BYTES={limit}");
        let errors = samples.of("pg_exporter_query_error");
        let errors: Vec<_> = errors.iter().map(|(labels, _)| *labels).collect();
        let is_told = log_of_one_scrape(&lambda).await.contains("the 2000000 bytes of text of a scrape");
        match expected {
            0 => assert_eq!((errors, is_told), (vec!["{query=\"long\",reason=\"limit\"}"], true)),
            _ => assert_eq!((errors, is_told), (vec![], false)),
        }
    }
}

#[tokio::test]
async fn only_labels_that_a_sample_has_count_as_memory() {
    let database = Server::shared().database("limit_labels");
    let label = "SELECT g || repeat('x', 1000) AS l";
    let queries = [
        // Each sample has a label set of its own.
        (
            "60",
            "g AS a, g AS b",
            "{a: {usage: GAUGE, labels: {op: r}}}, {b: {usage: GAUGE, labels: {op: w}}}",
            120,
        ),
        ("100", "g AS a", "{a: {usage: INFO}}", 100),
        // Twice MAX_RESULT_BYTES may be received.
        ("250", "NULL AS a, '' AS b", "{a: {usage: GAUGE}}, {b: {usage: COUNTER}}", 0),
    ];
    for (rows, columns, metrics, expected) in queries {
        let queries = Queries::new(&format!(
            "q: {{query: \"{label}, {columns} FROM generate_series(1, {rows}) g\",
                metrics: [{{l: {{usage: LABEL}}}}, {metrics}]}}\n"
        ));
        let lambda = limited(&queries, &database, "MAX_RESULT_BYTES", "150000").await;
        let samples = samples(&ask(&lambda, Kind::HttpApi, None).await);
        assert_eq!(samples.of("pg_exporter_query_error"), [], "{columns}");
        let given: usize = ["q_a", "q_b", "q_a_info"].iter().map(|name| samples.of(name).len()).sum();
        assert_eq!(given, expected, "{columns}");
    }
}

#[tokio::test]
async fn what_tells_duplicates_counts_as_memory() {
    let database = Server::shared().database("limit_duplicates");
    let names: Vec<_> = (0..1000).map(|number| format!("c{number}")).collect();
    let columns: String = names.iter().map(|name| format!(", 1 AS {name}")).collect();
    let metrics: String = names
        .iter()
        .map(|name| format!(", {{{name}: {{usage: GAUGE, labels: {{column: {name}}}}}}}"))
        .collect();
    // Each of 50,000 samples has a label set of its own, and each of 1000 families knows which of them it has.
    let wide = format!(
        "wide: {{query: \"SELECT g{columns} FROM generate_series(1, 50) g\",
           metrics: [{{g: {{usage: LABEL}}}}{metrics}]}}\n"
    );
    let queries = Queries::new(&[query("a", 9, PLAIN), wide].concat());
    let lambda = limited(&queries, &database, "MAX_RESULT_BYTES", "4000000").await;
    let answer = ask(&lambda, Kind::HttpApi, Some("gzip")).await;
    assert_eq!(rows(&answer, &["a"]), [9]);
    assert_eq!(samples(&answer).value("pg_exporter_query_error{query=\"wide\",reason=\"limit\"}"), 1.0);
}

/// The function with one more variable.
async fn limited(queries: &Queries, database: &TestDatabase, variable: &'static str, value: &str) -> Lambda {
    let mut environment = environment(queries, database.url());
    environment.push((variable, value.to_owned()));
    Lambda::start(environment).await
}

/// What has been logged up to the line that ends a scrape: a line may be read after the answer.
pub(crate) async fn log_of_one_scrape(lambda: &Lambda) -> String {
    let begun = Instant::now();
    loop {
        let log = lambda.log();
        if log.contains("\"message\":\"scrape\"") {
            return log;
        }
        assert!(begun.elapsed() < AMPLE, "{log}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// As many samples as its name says, each for itself a series.
const OF_ALL_TYPES: &str = "
five: {query: 'SELECT g, 1 AS v FROM generate_series(1, 5) g', metrics: [{g: {usage: LABEL}}, {v: {usage: GAUGE}}]}
seven:
  query: >
    SELECT '{1,2}'::int[] AS h, '{1,2}'::int[] AS h_bucket, 3 AS h_sum, 2 AS h_count, 'a' AS s
  metrics: [{h: {usage: HISTOGRAM}}, {s: {usage: STATESET, states: [a, b]}}]
three: {query: 'SELECT g, 1 AS v FROM generate_series(1, 3) g', metrics: [{g: {usage: LABEL}}, {v: {usage: GAUGE}}]}
";

/// Of each query that gave something, how many samples.
fn given(samples: &Samples) -> Vec<(&'static str, usize)> {
    let names = [
        ("five", &["five_v"][..]),
        ("seven", &["seven_h_bucket", "seven_h_sum", "seven_h_count", "seven_s"]),
        ("three", &["three_v"]),
    ];
    let count = |names: &[&str]| names.iter().map(|name| samples.of(name).len()).sum();
    names.map(|(query, names)| (query, count(names))).into_iter().filter(|(_, count)| *count > 0).collect()
}

#[tokio::test]
async fn the_series_of_a_scrape_are_limited() {
    let database = Server::shared().database("limit_series");
    let queries = Queries::new(OF_ALL_TYPES);
    for (limit, expected) in [
        ("15", &[("five", 5), ("seven", 7), ("three", 3)][..]),
        // The largest goes, wherever it is in the file: it must not take the place of all others.
        ("14", &[("five", 5), ("three", 3)]),
        ("8", &[("five", 5), ("three", 3)]),
        ("7", &[("three", 3)]),
        ("2", &[]),
    ] {
        let lambda = limited(&queries, &database, "MAX_SERIES", limit).await;
        let samples = samples(&ask(&lambda, Kind::HttpApi, None).await);
        assert_eq!(samples.value("pg_up"), 1.0);
        let log = log_of_one_scrape(&lambda).await;
        assert_eq!(given(&samples), expected, "MAX_SERIES={limit}");
        for query in ["five", "seven", "three"] {
            let is_given = expected.iter().any(|(name, _)| *name == query);
            let success = samples.value(&format!("pg_exporter_query_success{{query=\"{query}\"}}"));
            assert_eq!(success, f64::from(u8::from(is_given)), "{query}, MAX_SERIES={limit}");
            let error = format!("{{query=\"{query}\",reason=\"limit\"}}");
            let errors = samples.of("pg_exporter_query_error");
            assert_eq!(errors.iter().any(|(labels, _)| *labels == error), !is_given, "{errors:?}");
            let line = log.lines().any(|line| {
                line.contains(&format!("\"{query}\"")) && line.contains("MAX_SERIES") && line.contains(limit)
            });
            assert_eq!(line, !is_given, "{log}");
        }
    }
}

#[tokio::test]
async fn without_a_setting_a_hundred_thousand_series_are_given() {
    let database = Server::shared().database("limit_series_default");
    let query = |name: &str, rows: usize| {
        format!(
            "{name}: {{query: 'SELECT g, 1 AS v FROM generate_series(1, {rows}) g',
               metrics: [{{g: {{usage: LABEL}}}}, {{v: {{usage: GAUGE}}}}]}}\n"
        )
    };
    for (last, expected) in [(1, [99_997, 2, 1]), (2, [0, 2, 2])] {
        let queries = Queries::new(&[query("a", 99_997), query("b", 2), query("c", last)].concat());
        let lambda = function(&queries, &database).await;
        let answer = ask(&lambda, Kind::HttpApi, Some("gzip")).await;
        assert_eq!(rows(&answer, &["a", "b", "c"]), expected);
    }
}

#[tokio::test]
async fn what_a_label_that_is_too_long_would_label_is_dropped() {
    let database = Server::shared().database("limit_label");
    let file = "
q:
  query: SELECT repeat('ä', g) AS l, g AS v FROM (VALUES (1), (5), (6), (8193)) AS rows (g)
  metrics: [{l: {usage: LABEL}}, {v: {usage: GAUGE}}]
beside: {query: 'SELECT 1 AS v', metrics: [{v: {usage: GAUGE}}]}
";
    let queries = Queries::new(file);
    for (limit, expected, dropped) in [
        ("10", &[1.0, 5.0][..], 2.0),
        ("12", &[1.0, 5.0, 6.0], 1.0),
        // 16384.
        ("", &[1.0, 5.0, 6.0], 1.0),
        ("16386", &[1.0, 5.0, 6.0, 8193.0], 0.0),
    ] {
        let lambda = limited(&queries, &database, "MAX_LABEL_LENGTH", limit).await;
        let samples = samples(&ask(&lambda, Kind::HttpApi, None).await);
        let values: Vec<_> = samples.of("q_v").iter().map(|(_, value)| *value).collect();
        assert_eq!(values, expected, "MAX_LABEL_LENGTH={limit}");
        assert_eq!(samples.value("beside_v"), 1.0);
        // It is a row that is dropped, not a query that fails.
        assert_eq!(samples.value("pg_exporter_query_success{query=\"q\"}"), 1.0);
        let label = "{query=\"q\",reason=\"label\"}";
        let counted = samples.of("pg_exporter_query_samples_dropped");
        let counted = counted.iter().find(|(labels, _)| *labels == label);
        assert_eq!(counted.map_or(0.0, |(_, count)| *count), dropped, "MAX_LABEL_LENGTH={limit}");
        let log = log_of_one_scrape(&lambda).await;
        let is_told = |line: &&str| line.contains("\"q\"") && line.contains("column \\\"l\\\"");
        assert_eq!(log.lines().filter(is_told).count(), usize::from(dropped > 0.0), "{log}");
        assert!(!log.contains('ä'), "{log}");
    }
}

#[tokio::test]
async fn a_setting_only_lowers_what_an_answer_may_take() {
    let database = Server::shared().database("limit_response");
    let names = ["a", "b", "c"];
    let queries = Queries::new(&names.map(|name| query(name, 600, PLAIN)).concat());
    let lambda = limited(&queries, &database, "MAX_RESPONSE_BYTES", "1500000").await;
    let answer = ask(&lambda, Kind::HttpApi, None).await;
    assert_eq!(rows(&answer, &names), [600, 600, 0]);
    assert!(answer.json_bytes <= 1_500_000, "{}", answer.json_bytes);
    // A load balancer allows less than that.
    let answer = ask(&lambda, Kind::Alb, None).await;
    assert_eq!(rows(&answer, &names), [600, 0, 0]);
    assert!(answer.json_bytes <= ALB_BYTES, "{}", answer.json_bytes);
    // The exporter's own metrics are delivered in any case.
    let lambda = limited(&queries, &database, "MAX_RESPONSE_BYTES", "1").await;
    assert_eq!(rows(&ask(&lambda, Kind::HttpApi, None).await, &names), [0, 0, 0]);
}

#[test]
fn the_command_line_obeys_the_limits() {
    let database = Server::shared().database("limit_cli");
    let terminal = || Terminal::new().file("queries.yml", OF_ALL_TYPES).with("DATABASE_URL", database.url());
    let scraped = |terminal: Terminal| terminal.run(&["scrape"]).failed(0).output;
    let samples = Samples::parse(&scraped(terminal().with("MAX_SERIES", "11")));
    assert_eq!(given(&samples), [("five", 5), ("three", 3)]);

    let long = "
q: {query: 'SELECT repeat(chr(120), g) AS l, g AS v FROM generate_series(1, 9) g', metrics: [{l: {usage: LABEL}}, {v: {usage: GAUGE}}]}
beside: {query: 'SELECT 1 AS v', metrics: [{v: {usage: GAUGE}}]}
";
    let terminal = || terminal().file("queries.yml", long).with("MAX_LABEL_LENGTH", "6");
    let samples = Samples::parse(&scraped(terminal()));
    assert_eq!((samples.of("q_v").len(), samples.of("beside_v").len()), (6, 1));
    let checked = terminal().run(&["check", "--database"]).failed(0).output;
    assert!(
        checked.contains("9 rows, 6 series") && checked.contains("column \"l\": 3 dropped as label"),
        "{checked}"
    );

    for (variable, value) in
        [("MAX_SERIES", "-1"), ("MAX_LABEL_LENGTH", "1 KB"), ("EXTRA_LABELS", "env=production")]
    {
        let said = terminal().with(variable, value).run(&["scrape"]).failed(1);
        assert!(
            said.errors.contains(&format!("{variable}: ")) && !said.errors.contains(value),
            "{}",
            said.errors
        );
    }
}

#[test]
fn limits_are_read_and_every_mistake_is_named() {
    let read = |variables: &[(&str, &str)]| {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        let settings = Settings::from_env(|name| variables.get(name).map(|value| (*value).to_owned()));
        settings.limits.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let default =
        Limits { series: 100_000, label_bytes: 16_384, result_bytes: 16 << 20, response_bytes: None };
    assert_eq!(read(&[]), Ok(default));
    assert_eq!(read(&[("MAX_SERIES", ""), ("MAX_LABEL_LENGTH", "")]), Ok(default));
    let all = [
        ("MAX_SERIES", "1"),
        ("MAX_LABEL_LENGTH", "65536"),
        ("MAX_RESULT_BYTES", "1073741824"),
        ("MAX_RESPONSE_BYTES", "6291456"),
    ];
    let limits =
        Limits { series: 1, label_bytes: 65536, result_bytes: 1 << 30, response_bytes: Some(6_291_456) };
    assert_eq!(read(&all), Ok(limits));
    for mistake in ["0", "-1", "+1", "1.5", "1e3", "10k", " 1", "99999999999999999999999", "none"] {
        let all = ["MAX_SERIES", "MAX_LABEL_LENGTH", "MAX_RESULT_BYTES", "MAX_RESPONSE_BYTES"];
        let all = all.map(|variable| (variable, mistake));
        let expected = [
            "MAX_SERIES: must be a whole number from 1 up",
            "MAX_LABEL_LENGTH: must be a whole number from 1 up",
            "MAX_RESULT_BYTES: must be a whole number from 1 to 1073741824",
            "MAX_RESPONSE_BYTES: must be a whole number from 1 to 6291456",
        ];
        assert_eq!(read(&all).unwrap_err(), expected, "{mistake:?}");
    }
    // It could not be sent.
    assert_eq!(read(&[("MAX_RESPONSE_BYTES", "6291457")]).unwrap_err().len(), 1);
}
