//! Requests that are not a scrape, or not a good one.

use std::time::Duration;

use serde_json::{Value, json};

use crate::authorization::{Function, TOKEN, bearer, token};
use crate::events::{Event, Kind};
use crate::lambda::samples;
use crate::runtime_api::Answer;

/// What Lambda leaves for each of these, and what the recorded events say of Prometheus's patience.
const TIME: Duration = Duration::from_secs(10);

/// What lambda_http says to an event that is no request.
const NO_REQUEST: &str = "this function expects a JSON payload from Amazon API Gateway";
/// What it says where its own checks let something pass that its own types do not.
const PANIC: &str = "Lambda panicked";

/// The longest that a path and a query may be together, in bytes, lest lambda_http fails: what `http::Uri` can hold,
/// without the host.
const URI_BYTES_MAX: usize = 65_000;

/// A function that asks for [`TOKEN`], on a database of this name.
async fn function(database: &str) -> Function {
    Function::with_database(database, token(TOKEN)).await
}

/// A scrape by way of each service, with the right authorization.
fn scrapes() -> [(Kind, Event); 4] {
    Kind::ALL.map(|kind| (kind, Event::recorded(kind).header("authorization", Some(&bearer(TOKEN)))))
}

/// A scrape without any.
fn scrapes_of_a_stranger() -> [(Kind, Event); 4] {
    Kind::ALL.map(|kind| (kind, Event::recorded(kind)))
}

impl Function {
    /// The answer, which comes in time.
    async fn answers(&self, event: Event) -> Answer {
        let answer = self.lambda.invoke(event.json(), TIME).await;
        assert!(answer.took < TIME, "{:?}", answer.took);
        answer
    }

    /// The event is not for the exporter: what reads events reports an error, in time, with these words.
    async fn fails(&self, what: &str, event: Value, words: &str) {
        let error = self.lambda.invoke_in_vain(event, TIME).await;
        assert!(error.json["errorMessage"].as_str().unwrap().contains(words), "{what}: {}", error.json);
        assert!(error.took < TIME, "{what}: {:?}", error.took);
        self.is_whole(what).await;
    }

    /// A refusal that tells a stranger nothing.
    async fn refuses(&self, what: &str, event: Event) {
        let answer = self.answers(event).await;
        assert_eq!((answer.status, answer.text().as_str()), (401, "not authorized\n"), "{what}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer", "{what}");
        self.is_whole(what).await;
    }

    /// A status with a line of text.
    async fn says(&self, what: &str, event: Event, status: u16, text: &str) -> Answer {
        let answer = self.answers(event).await;
        assert_eq!((answer.status, answer.text().as_str()), (status, text), "{what}");
        self.is_whole(what).await;
        answer
    }

    /// The scrape as if nothing were odd about it.
    async fn scrapes(&self, what: &str, event: Event) {
        let answer = self.answers(event).await;
        assert_complete(what, &answer);
        self.is_whole(what).await;
    }

    /// The next scrape of the same process is complete.
    async fn is_whole(&self, after: &str) {
        let [_, (_, event), ..] = scrapes();
        assert_complete(after, &self.answers(event).await);
    }
}

#[track_caller]
fn assert_complete(what: &str, answer: &Answer) {
    let samples = samples(answer);
    assert_eq!((samples.value("pg_up"), samples.of("good_v")), (1.0, vec![("", 1.0)]), "{what}");
    assert_eq!(samples.value("pg_exporter_last_scrape_error"), 0.0, "{what}");
}

const NO_QUERY: &str = "no query is named a; there are: good\n";
const NOT_FOUND: &str = "not found; the metrics are at /metrics\n";
const NOT_ALLOWED: &str = "only GET and HEAD are answered here\n";

#[tokio::test]
async fn an_event_that_is_no_request() {
    let function = function("no_request").await;
    let record = json!({ "messageId": "1", "body": "hello", "eventSource": "aws:sqs" });
    for event in
        [json!(null), json!([]), json!({}), json!("GET /metrics"), json!(1), json!({ "Records": [record] })]
    {
        function.fails(&event.to_string(), event.clone(), NO_REQUEST).await;
    }
    assert!(function.lambda.log().contains(NO_REQUEST), "{}", function.lambda.log());
}

/// Events of one kind of which something has not the type that it must have.
async fn malformed(kind: Kind, database: &str) {
    let function = function(database).await;
    type Edit = fn(&mut Value);
    let edits: [(&str, Edit); 9] = [
        ("without its context", |json| drop(json.as_object_mut().unwrap().remove("requestContext"))),
        ("its context is null", |json| json["requestContext"] = json!(null)),
        ("its context is text", |json| json["requestContext"] = json!("prod")),
        ("a header is a number", |json| json["headers"]["x-odd"] = json!(1)),
        ("its headers are a list", |json| json["headers"] = json!(["authorization"])),
        // As text, which must not be printed.
        ("its headers are text", |json| json["headers"] = json!(bearer(TOKEN))),
        ("its paths are numbers", |json| (json["path"], json["rawPath"]) = (json!(1), json!(1))),
        ("its body is an object", |json| json["body"] = json!({ "authorization": bearer(TOKEN) })),
        ("base64 is a word", |json| json["isBase64Encoded"] = json!("yes")),
    ];
    for (what, edit) in edits {
        let event = Event::recorded(kind).header("authorization", Some(&bearer(TOKEN))).edit(edit);
        function.fails(what, event.json(), NO_REQUEST).await;
    }
}

#[tokio::test]
async fn a_malformed_event_of_a_rest_api() {
    malformed(Kind::RestApi, "malformed_rest_api").await;
}

#[tokio::test]
async fn a_malformed_event_of_an_http_api() {
    malformed(Kind::HttpApi, "malformed_http_api").await;
}

#[tokio::test]
async fn a_malformed_event_of_a_function_url() {
    malformed(Kind::FunctionUrl, "malformed_function_url").await;
}

#[tokio::test]
async fn a_malformed_event_of_a_load_balancer() {
    malformed(Kind::Alb, "malformed_alb").await;
}

#[tokio::test]
async fn an_event_without_headers() {
    let function = function("no_headers").await;
    for (kind, event) in scrapes() {
        let event = event.edit(|json| {
            let event = json.as_object_mut().unwrap();
            event.retain(|key, _| key != "headers" && key != "multiValueHeaders");
        });
        function.refuses(&format!("{kind:?}"), event).await;
    }
}

#[tokio::test]
async fn a_method_that_is_none() {
    let function = function("no_method").await;
    for (kind, event) in scrapes() {
        function.fails(&format!("{kind:?}"), event.method("GET /metrics\r\n").json(), NO_REQUEST).await;
    }
}

#[tokio::test]
async fn a_header_that_cannot_be_one() {
    let function = function("no_header").await;
    for (name, value) in [("x-odd", "line\r\nbreak"), ("x-odd", "nul\0"), ("x odd\u{e4}", "text")] {
        for (kind, event) in scrapes() {
            let what = format!("{kind:?} {name:?}: {value:?}");
            function.fails(&what, event.header(name, Some(value)).json(), NO_REQUEST).await;
        }
    }
}

#[tokio::test]
async fn a_host_that_is_none() {
    let function = function("no_host").await;
    for (kind, event) in scrapes() {
        function.fails(&format!("{kind:?}"), event.header("host", Some("a b:c/[")).json(), PANIC).await;
    }
}

#[tokio::test]
async fn a_path_without_a_slash() {
    let function = function("no_slash").await;
    for (kind, event) in scrapes() {
        function.scrapes(&format!("{kind:?}"), event.path("metrics")).await;
    }
    for (kind, event) in scrapes_of_a_stranger() {
        function.refuses(&format!("{kind:?}"), event.path("metrics")).await;
    }
}

#[tokio::test]
async fn a_missing_authorization() {
    let function = function("auth_missing").await;
    for (kind, event) in scrapes_of_a_stranger() {
        function.refuses(&format!("{kind:?}"), event).await;
    }
}

#[tokio::test]
async fn a_wrong_authorization() {
    let function = function("auth_wrong").await;
    for value in ["Bearer", "Bearer wrong-guess-8812", "Basic d3Jvbmc6Z3Vlc3MtODgxMw==", "Negotiate 8814", ""]
    {
        for (kind, event) in scrapes_of_a_stranger() {
            function.refuses(&format!("{kind:?} {value}"), event.header("authorization", Some(value))).await;
        }
    }
}

#[tokio::test]
async fn a_huge_authorization() {
    let function = function("auth_huge").await;
    for value in
        [bearer(&"x".repeat(100_000)), format!("Basic {}", "eHh4".repeat(25_000)), "x".repeat(100_000)]
    {
        for (kind, event) in scrapes_of_a_stranger() {
            function.refuses(&format!("{kind:?}"), event.header("authorization", Some(&value))).await;
        }
    }
    for (kind, event) in scrapes_of_a_stranger() {
        // The right one, with more than that behind it.
        let value = bearer(&format!("{TOKEN}{}", " ".repeat(100_000) + "x"));
        function.refuses(&format!("{kind:?}"), event.header("authorization", Some(&value))).await;
    }
}

#[tokio::test]
async fn an_authorization_that_is_not_ascii() {
    let function = function("auth_not_ascii").await;
    for value in [
        "\u{1f511}\u{1f511}",
        "Bearer \u{e4}\u{f6}\u{fc}-\u{1f511}",
        "Basic \u{e4}\u{f6}\u{fc}=",
        "\u{a0}Bearer",
    ] {
        for (kind, event) in scrapes_of_a_stranger() {
            function.refuses(&format!("{kind:?} {value}"), event.header("authorization", Some(value))).await;
        }
    }
}

#[tokio::test]
async fn several_authorizations() {
    let function = function("auth_several").await;
    let right = bearer(TOKEN);
    for kind in [Kind::RestApi, Kind::Alb] {
        for values in [[&right, &right], [&right, &bearer("wrong-guess-8815")]] {
            let event = Event::recorded(kind).edit(|json| {
                json["multiValueHeaders"] = json!({ "authorization": values });
                json.as_object_mut().unwrap().remove("headers");
            });
            function.refuses(&format!("{kind:?} {values:?}"), event).await;
        }
    }
    // The others join them.
    for (kind, event) in scrapes_of_a_stranger() {
        let joined = format!("{right},{right}");
        function.refuses(&format!("{kind:?}"), event.header("authorization", Some(&joined))).await;
    }
}

/// A stranger is refused on this path, and who may scrape gets the metrics or learns that nothing is there.
async fn path_is_guarded(database: &str, path: &str, is_metrics: bool) {
    let function = function(database).await;
    for (kind, event) in scrapes_of_a_stranger() {
        function.refuses(&format!("{kind:?} {path}"), event.path(path)).await;
    }
    for (kind, event) in scrapes() {
        let what = format!("{kind:?} {path}");
        match is_metrics {
            true => function.scrapes(&what, event.path(path)).await,
            false => drop(function.says(&what, event.path(path), 404, NOT_FOUND).await),
        }
    }
}

#[tokio::test]
async fn a_path_from_the_open_route_to_the_guarded_one() {
    path_is_guarded("path_dots", "/healthz/../metrics", true).await;
}

#[tokio::test]
async fn a_path_from_the_guarded_route_to_the_open_one() {
    let function = function("path_dots_back").await;
    for (kind, event) in scrapes_of_a_stranger() {
        function.says(&format!("{kind:?}"), event.path("/metrics/../healthz"), 200, "ok\n").await;
    }
}

#[tokio::test]
async fn a_path_that_ends_in_a_dot() {
    path_is_guarded("path_dot", "/healthz/.", false).await;
}

#[tokio::test]
async fn a_path_with_two_slashes() {
    path_is_guarded("path_slashes", "//metrics", true).await;
}

#[tokio::test]
async fn a_path_with_a_slash_at_its_end() {
    path_is_guarded("path_end", "/metrics/", true).await;
}

#[tokio::test]
async fn a_path_with_an_encoded_nul() {
    path_is_guarded("path_nul", "/metrics%00", false).await;
}

#[tokio::test]
async fn a_path_with_an_encoded_letter() {
    path_is_guarded("path_letter", "/%6detrics", false).await;
}

#[tokio::test]
async fn a_path_with_an_encoded_slash() {
    path_is_guarded("path_encoded_slash", "/healthz%2f..%2fmetrics", false).await;
}

#[tokio::test]
async fn a_path_with_parameters() {
    path_is_guarded("path_parameters", "/healthz;/metrics", true).await;
}

#[tokio::test]
async fn a_path_in_capitals() {
    path_is_guarded("path_capitals", "/METRICS", false).await;
}

#[tokio::test]
async fn a_path_with_a_query_in_it() {
    path_is_guarded("path_query", "/x?/healthz?", false).await;
}

#[tokio::test]
async fn a_very_long_path() {
    path_is_guarded("path_long", &"/a".repeat(URI_BYTES_MAX / 2), false).await;
}

#[tokio::test]
async fn a_path_of_a_megabyte() {
    let function = function("path_megabyte").await;
    for (kind, event) in scrapes_of_a_stranger() {
        function.fails(&format!("{kind:?}"), event.path(&"/a".repeat(500_000)).json(), PANIC).await;
    }
}

#[tokio::test]
async fn a_query_string_of_a_megabyte() {
    let function = function("query_megabyte").await;
    for (kind, event) in scrapes() {
        let query = format!("collect[]={}", "x".repeat(1_000_000));
        function.fails(&format!("{kind:?}"), event.query(&query).json(), PANIC).await;
    }
}

#[tokio::test]
async fn a_megabyte_of_parameters() {
    let function = function("query_parameters").await;
    for (kind, event) in scrapes() {
        let query = vec!["collect[]=a"; 90_000].join("&");
        // A load balancer that has not been told otherwise passes on the last of them.
        let event = event.query(&query);
        match kind {
            Kind::Alb => drop(function.says("Alb", event, 400, NO_QUERY).await),
            _ => function.fails(&format!("{kind:?}"), event.json(), PANIC).await,
        }
    }
}

#[tokio::test]
async fn a_long_query_string() {
    let function = function("query_long").await;
    for (kind, event) in scrapes() {
        let name = "x".repeat(URI_BYTES_MAX - "collect[]=".len() - "/metrics?".len());
        let answer = function.answers(event.query(&format!("collect[]={name}"))).await;
        assert_eq!(answer.status, 400, "{kind:?}");
        function.is_whole(&format!("{kind:?}")).await;
    }
    for (kind, event) in scrapes_of_a_stranger() {
        function.refuses(&format!("{kind:?}"), event.query(&format!("x={}", "y".repeat(60_000)))).await;
    }
}

#[tokio::test]
async fn many_parameters() {
    let function = function("query_many").await;
    for (kind, event) in scrapes() {
        let query = vec!["collect[]=good"; 3_000].join("&");
        function.scrapes(&format!("{kind:?}"), event.query(&query)).await;
    }
}

#[tokio::test]
async fn head() {
    let function = function("head").await;
    for (kind, event) in scrapes() {
        let answer = function.says(&format!("{kind:?}"), event.method("HEAD"), 200, "").await;
        assert!(answer.headers["content-type"].starts_with("text/plain"), "{kind:?}");
    }
    for (kind, event) in scrapes_of_a_stranger() {
        function.refuses(&format!("{kind:?}"), event.method("HEAD")).await;
    }
}

/// A method that is not answered: who may scrape learns which are, and a stranger nothing.
async fn is_not_allowed(method: &str, database: &str) {
    let function = function(database).await;
    for (kind, event) in scrapes() {
        let answer = function.says(&format!("{kind:?}"), event.method(method), 405, NOT_ALLOWED).await;
        assert_eq!(answer.headers["allow"], "GET, HEAD", "{kind:?}");
    }
    for (kind, event) in scrapes_of_a_stranger() {
        function.refuses(&format!("{kind:?}"), event.method(method)).await;
    }
}

#[tokio::test]
async fn post() {
    is_not_allowed("POST", "post").await;
}

#[tokio::test]
async fn put() {
    is_not_allowed("PUT", "put").await;
}

#[tokio::test]
async fn options() {
    is_not_allowed("OPTIONS", "options").await;
}

#[tokio::test]
async fn a_method_that_nobody_knows() {
    is_not_allowed("BREW", "brew").await;
}

#[tokio::test]
async fn an_odd_accept() {
    let function = function("accept").await;
    let long = "text/plain;version=0.0.4,".repeat(4_000);
    for value in ["", ";;;,,,", "text/plain;q=NaN", "image/png", "*/*;q=-1", "\u{e4}", &long] {
        for (kind, event) in scrapes() {
            let what = format!("{kind:?} {value:.20}");
            function.scrapes(&what, event.header("accept", Some(value))).await;
        }
    }
}

/// A timeout that means nothing leaves the others in force.
async fn timeout_does_not_count(value: &str, database: &str) {
    let function = function(database).await;
    for (kind, event) in scrapes() {
        let event = event.header("x-prometheus-scrape-timeout-seconds", Some(value));
        function.scrapes(&format!("{kind:?}"), event).await;
    }
}

#[tokio::test]
async fn a_scrape_timeout_that_is_not_a_number() {
    timeout_does_not_count("NaN", "timeout_nan").await;
}

#[tokio::test]
async fn a_negative_scrape_timeout() {
    timeout_does_not_count("-10", "timeout_negative").await;
}

#[tokio::test]
async fn an_infinite_scrape_timeout() {
    timeout_does_not_count("inf", "timeout_infinite").await;
}

#[tokio::test]
async fn a_scrape_timeout_of_ages() {
    timeout_does_not_count("1e308", "timeout_ages").await;
}

#[tokio::test]
async fn a_huge_scrape_timeout_header() {
    timeout_does_not_count(&"9".repeat(100_000), "timeout_long").await;
}

#[tokio::test]
async fn a_body_where_none_is_meant() {
    let function = function("body").await;
    for (kind, event) in scrapes() {
        let event = event.edit(|json| json["body"] = json!("x".repeat(1_000_000)));
        function.scrapes(&format!("{kind:?}"), event).await;
    }
    for (kind, event) in scrapes_of_a_stranger() {
        let event = event.edit(|json| json["body"] = json!("x".repeat(1_000_000)));
        function.refuses(&format!("{kind:?}"), event).await;
    }
}

#[tokio::test]
async fn a_body_that_is_not_the_base64_it_is_said_to_be() {
    let function = function("body_base64").await;
    for (kind, event) in scrapes() {
        let event = event.edit(|json| {
            json["body"] = json!("%%%");
            json["isBase64Encoded"] = json!(true);
        });
        function.fails(&format!("{kind:?}"), event.json(), PANIC).await;
    }
}
