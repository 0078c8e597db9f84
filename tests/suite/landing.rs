//! The landing page of the real binary: how each query last ended, and nothing that is secret.

use crate::events::{Event, Kind};
use crate::lambda::{AMPLE, Queries, function, scrape};
use crate::postgres::{ROLE, Server};
use crate::runtime_api::{Answer, Lambda};

async fn page(lambda: &Lambda) -> String {
    let answer: Answer = lambda.invoke(Event::get(Kind::HttpApi, "/").json(), AMPLE).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "text/html; charset=utf-8");
    assert!(answer.headers["content-security-policy"].starts_with("default-src 'none'; "));
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert_eq!(answer.headers["cache-control"], "no-store");
    answer.text()
}

/// The cells of a query's row: its state, its rows, what it took and when.
fn cells(page: &str, query: &str) -> Vec<String> {
    let row = page.lines().find(|line| line.contains(&format!(">{query}</a></th>")));
    let row = row.unwrap_or_else(|| panic!("no row of {query}: {page}"));
    let cells = row.split("<td ").skip(1);
    cells.map(|cell| cell.split_once('>').unwrap().1.split('<').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn each_query_is_there_with_its_last_state() {
    let database = Server::shared().database("landing");
    database.admin(&format!("CREATE TABLE t AS SELECT 1 AS v; GRANT SELECT ON t TO {ROLE}"));
    let queries = Queries::new(
        "
good: {query: 'SELECT 1 AS v UNION SELECT 2'}
kept: {query: SELECT 1 AS v, cache_seconds: 3600}
breaks: {query: SELECT v FROM t}
old: {query: SELECT 1 AS v, runonserver: <9.0.0}
disabled: {query: SELECT 1 AS v, metrics: [{v: {usage: NONSENSE}}]}
",
    );
    let lambda = function(&queries, &database).await;
    let before = page(&lambda).await;
    assert!(before.contains("No scrape in this environment yet"), "{before}");
    assert_eq!(cells(&before, "good"), ["not run yet", "", "", ""]);
    assert_eq!(cells(&before, "disabled"), ["failed: config", "", "", ""]);

    scrape(&lambda).await;
    let first = page(&lambda).await;
    assert!(first.contains("The database was reachable in the last scrape, "), "{first}");
    let good = cells(&first, "good");
    assert_eq!((good[0].as_str(), good[1].as_str()), ("ok", "2"));
    assert!(good[2].ends_with(" ms") && (good[3] == "just now" || good[3].ends_with(" ago")), "{good:?}");
    assert_eq!(cells(&first, "kept")[0], "ok");
    assert_eq!(cells(&first, "breaks")[0], "ok");
    assert_eq!(cells(&first, "old")[..3], ["skipped: version", "", ""]);
    assert_eq!(cells(&first, "disabled")[0], "failed: config");

    database.admin("DROP TABLE t");
    scrape(&lambda).await;
    let second = page(&lambda).await;
    assert_eq!(cells(&second, "breaks")[0], "failed: undefined");
    assert!(cells(&second, "kept")[0].starts_with("ok, cached, "), "{second}");

    // Of a query that was not chosen the former state stays.
    let chosen = Event::get(Kind::HttpApi, "/metrics")
        .edit(|json| json["rawQueryString"] = "collect[]=good".into())
        .edit(|json| json["queryStringParameters"] = serde_json::json!({"collect[]": "good"}));
    assert_eq!(lambda.invoke(chosen.json(), AMPLE).await.status, 200);
    assert_eq!(cells(&page(&lambda).await, "breaks")[0], "failed: undefined");

    // Of the SQL, the database, the role and the server there is nothing.
    for secret in ["SELECT", "localhost", "127.0.0.1", ROLE, "landing_"] {
        assert!(!second.contains(secret), "{secret}: {second}");
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_is_said_and_a_name_means_nothing_in_html() {
    let database = Server::shared().database("landing_lost");
    let queries = Queries::new("'a<b>&\"c': {query: SELECT 1 AS v, name: odd}\n");
    let lambda = Lambda::start(crate::lambda::environment(
        &queries,
        format!("postgres://{ROLE}@127.0.0.1:1/{}?sslmode=disable", "nowhere"),
    ))
    .await;
    lambda.initialised().await;
    drop(database);
    scrape(&lambda).await;
    let page = page(&lambda).await;
    assert!(page.contains("The database was not reachable in the last scrape"), "{page}");
    assert!(
        page.contains(">a&lt;b&gt;&amp;&quot;c</a>") && page.contains("collect[]=a%3Cb%3E%26%22c\""),
        "{page}"
    );
    assert_eq!(cells(&page, "a&lt;b&gt;&amp;&quot;c")[0], "failed: connection");
}

#[tokio::test]
async fn a_link_below_a_base_path_runs_its_query() {
    let database = Server::shared().database("landing_base_path");
    let queries = Queries::new("one: {query: SELECT 1 AS v}\ntwo: {query: SELECT 2 AS v}\n");
    let lambda = function(&queries, &database).await;
    let landing = Event::get(Kind::HttpApi, "/pg").edit(|json| {
        json["routeKey"] = "GET /".into();
        json["requestContext"]["routeKey"] = "GET /".into();
    });
    let page = lambda.invoke(landing.json(), AMPLE).await.text();
    let (_, link) = page.split_once("<a href=\"/pg/metrics?").unwrap();
    let (query, _) = link.split_once('"').unwrap();
    let chosen = lambda.invoke(Event::get(Kind::HttpApi, "/pg/metrics").query(query).json(), AMPLE).await;
    let samples = crate::lambda::samples(&chosen);
    assert_eq!((samples.of("one_v").len(), samples.of("two_v").len()), (1, 0), "{query}");
}

#[tokio::test]
async fn what_was_left_out_of_the_answer_is_failed() {
    let database = Server::shared().database("landing_limit");
    let queries = Queries::new(
        "small: {query: SELECT 1 AS v}\nlarge: {query: 'SELECT repeat(''x'', 1000) || g AS l, 1 AS v FROM generate_series(1, 100) g', metrics: [{l: {usage: LABEL}}, {v: {usage: GAUGE}}]}\n",
    );
    let mut environment = crate::lambda::environment(&queries, database.url());
    environment.push(("MAX_RESPONSE_BYTES", "20000".into()));
    let lambda = Lambda::start(environment).await;
    lambda.initialised().await;
    let plain = Event::recorded(Kind::HttpApi).header("accept-encoding", None);
    assert_eq!(lambda.invoke(plain.json(), AMPLE).await.status, 200);
    let page = page(&lambda).await;
    assert_eq!(
        (cells(&page, "small")[0].as_str(), cells(&page, "large")[0].as_str()),
        ("ok", "failed: limit")
    );
}
