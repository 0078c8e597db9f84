//! Who may scrape, decided by a secret or by digests in the environment: the real binary with Secrets Manager and the
//! Runtime API in front of it.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pg_lambda_exporter::authorization::Accepted;
use sha2::{Digest, Sha256};

use crate::events::{Event, Kind};
use crate::lambda::{AMPLE, GOOD, Queries, SECRET_KEY, environment, samples};
use crate::leaks;
use crate::postgres::{Server, TestDatabase};
use crate::runtime_api::{Answer, Lambda};
use crate::secrets_manager::{self, SecretsManagerServer};

pub(crate) const TOKEN: &str = "first-Zq3v9.x_7~T+a/b==";
const NEXT_TOKEN: &str = "second-8sDf0.k_2~R+c/d=";
const PASSWORD: &str = "pa:ss w\u{f6}rd \"hunter2\"";
const WRONG_TOKEN: &str = "wrong-guess-5521";

/// A database that is not there.
const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/none";

/// More than the pause between two fetches.
const SOON: Duration = Duration::from_secs(20);

/// A function whose authorization is in Secrets Manager, and that logs all it can.
pub(crate) struct Function {
    pub(crate) lambda: Lambda,
    service: SecretsManagerServer,
    _queries: Queries,
    /// It lives as long as the function.
    _database: Option<TestDatabase>,
}

impl Function {
    /// With a database that is there.
    pub(crate) async fn with_database(name: &str, secret: secrets_manager::Answer) -> Self {
        let database = Server::shared().database(name);
        let function = Self::start(database.url(), secret, GOOD).await;
        Self { _database: Some(database), ..function }
    }

    /// Without any query, so that who may scrape gets 500.
    async fn alone(secret: secrets_manager::Answer) -> Self {
        Self::start(NOWHERE.into(), secret, "").await
    }

    async fn start(url: String, secret: secrets_manager::Answer, queries: &str) -> Self {
        let (environment, service, queries) = Self::environment(url, secret, queries);
        let lambda = Lambda::start(environment).await;
        lambda.initialised().await;
        Self { lambda, service, _queries: queries, _database: None }
    }

    fn environment(
        url: String,
        secret: secrets_manager::Answer,
        queries: &str,
    ) -> (Vec<(&'static str, String)>, SecretsManagerServer, Queries) {
        let service = SecretsManagerServer::start(secret);
        let queries = Queries::new(queries);
        let mut environment = environment(&queries, url);
        environment.retain(|(name, _)| *name != "AUTH");
        environment.extend([
            ("AUTH_SECRET_ID", "exporter/scrape".into()),
            ("AWS_ENDPOINT_URL", service.url()),
            ("AWS_REGION", "eu-central-1".into()),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE".into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.into()),
            ("AWS_LAMBDA_LOG_LEVEL", "TRACE".into()),
            // More than the log level asks for, by the name of what prints events.
            ("RUST_LOG", "trace,lambda_runtime::layers::api_response=trace".into()),
        ]);
        (environment, service, queries)
    }

    pub(crate) async fn answer(&self, event: Event) -> Answer {
        self.lambda.invoke(event.json(), AMPLE).await
    }

    /// The answer to a scrape by way of an HTTP API that presents this.
    async fn scrape(&self, authorization: Option<&str>) -> Answer {
        self.answer(Event::recorded(Kind::HttpApi).header("authorization", authorization)).await
    }

    /// Scrapes until the status is this one.
    async fn becomes(&self, status: u16, authorization: &str) -> Answer {
        let begun = Instant::now();
        loop {
            let answer = self.scrape(Some(authorization)).await;
            if answer.status == status {
                return answer;
            }
            assert!(begun.elapsed() < SOON, "still {}: {}", answer.status, self.lambda.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn secret(json: serde_json::Value) -> secrets_manager::Answer {
    secrets_manager::Answer::text(&json.to_string())
}

pub(crate) fn token(token: &str) -> secrets_manager::Answer {
    secret(serde_json::json!({ "bearer_token": token }))
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[tokio::test]
async fn whoever_presents_the_secret_scrapes_by_each_kind_of_event() {
    let both = secret(serde_json::json!([
        { "bearer_token": TOKEN },
        { "username": "prometheus", "password": PASSWORD },
    ]));
    let function = Function::with_database("authorized", both).await;
    let right = [bearer(TOKEN), basic("prometheus", PASSWORD)];
    let wrong = [
        bearer(WRONG_TOKEN),
        bearer(""),
        basic("prometheus", TOKEN),
        basic("Prometheus", PASSWORD),
        bearer(PASSWORD),
        format!("Digest {TOKEN}"),
        format!("{}, {}", bearer(TOKEN), bearer(TOKEN)),
        "\u{e4}\u{1f511}".into(),
        "Basic \u{e4}".into(),
        bearer(&"x".repeat(100_000)),
    ];
    for kind in Kind::ALL {
        for name in ["authorization", "Authorization", "AUTHORIZATION"] {
            let event = |value: &str| Event::recorded(kind).header(name, Some(value));
            for value in &right {
                let answer = function.answer(event(value)).await;
                assert_eq!(samples(&answer).of("good_v"), [("", 1.0)], "{kind:?} {name}");
            }
            for value in &wrong {
                let answer = function.answer(event(value)).await;
                assert_eq!(answer.status, 401, "{kind:?} {value}");
                assert_eq!(
                    answer.headers["www-authenticate"],
                    "Bearer, Basic realm=\"pg-lambda-exporter\", charset=\"UTF-8\""
                );
                assert_eq!(answer.text(), "not authorized\n");
            }
        }
        assert_eq!(function.answer(Event::recorded(kind)).await.status, 401, "{kind:?}");
        for path in ["/", "/nothing", "/metrics/healthz/x"] {
            assert_eq!(function.answer(Event::get(kind, path)).await.status, 401, "{kind:?} {path}");
        }
        assert_eq!(function.answer(Event::get(kind, "/healthz")).await.status, 200, "{kind:?}");
    }
    // A load balancer with multi-value headers has no others.
    let multiple = |values: &[String]| {
        let values = values.to_vec();
        Event::recorded(Kind::Alb).edit(|json| {
            json["multiValueHeaders"] = serde_json::json!({ "authorization": values });
            json.as_object_mut().unwrap().remove("headers");
        })
    };
    assert_eq!(function.answer(multiple(&right[..1])).await.status, 200);
    assert_eq!(function.answer(multiple(&right)).await.status, 401, "of several none counts");
    // With nothing more to be had, what is not in the log is never printed: see the module `leaks`.
    assert!(function.lambda.log().contains("\"level\":\"TRACE\""));
}

#[tokio::test]
async fn the_challenge_is_of_the_scheme_that_the_secret_has() {
    for (held, challenge) in [
        (secrets_manager::Answer::text(TOKEN), "Bearer"),
        (token(TOKEN), "Bearer"),
        (
            secret(serde_json::json!({ "username": "prometheus", "password": PASSWORD })),
            "Basic realm=\"pg-lambda-exporter\", charset=\"UTF-8\"",
        ),
    ] {
        let function = Function::alone(held).await;
        let answer = function.scrape(None).await;
        assert_eq!((answer.status, &*answer.headers["www-authenticate"]), (401, challenge));
    }
}

#[tokio::test]
async fn a_secret_rotates_without_a_gap() {
    let function = Function::alone(token(TOKEN)).await;
    assert_eq!(function.scrape(Some(&bearer(TOKEN))).await.status, 500, "authorized");

    function.service.answer(secret(serde_json::json!({ "bearer_token": [TOKEN, NEXT_TOKEN] })));
    // A client that has the next token already makes the function look again.
    function.becomes(500, &bearer(NEXT_TOKEN)).await;
    assert_eq!(function.scrape(Some(&bearer(TOKEN))).await.status, 500, "the earlier one is accepted too");

    function.service.answer(token(NEXT_TOKEN));
    assert_eq!(function.scrape(Some(&bearer(NEXT_TOKEN))).await.status, 500);
    // Any wrong guess makes it look again, so that it finds out that the first one is gone.
    let calls = function.service.calls().len();
    let begun = Instant::now();
    while function.service.calls().len() == calls {
        assert!(begun.elapsed() < SOON);
        assert_eq!(function.scrape(Some(&bearer(WRONG_TOKEN))).await.status, 401);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(function.scrape(Some(&bearer(TOKEN))).await.status, 401);
    assert_eq!(function.scrape(Some(&bearer(NEXT_TOKEN))).await.status, 500);
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_again_keeps_working() {
    let function = Function::alone(token(TOKEN)).await;
    let faults = [
        secrets_manager::Answer::access_denied(),
        secrets_manager::Answer::text("no token"),
        secrets_manager::Answer::Silence,
    ];
    for fault in faults {
        function.service.answer(fault.clone());
        let warnings = || function.lambda.log().matches("the authorization is not renewed").count();
        let before = warnings();
        let begun = Instant::now();
        while warnings() == before {
            assert!(begun.elapsed() < SOON, "{fault:?}");
            assert_eq!(function.scrape(Some(&bearer(WRONG_TOKEN))).await.status, 401, "{fault:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(function.scrape(Some(&bearer(TOKEN))).await.status, 500, "{fault:?}");
    }
}

/// Without its secret the function is closed; once the secret is there, the function recovers by itself.
async fn recovers_from(fault: secrets_manager::Answer, in_log: &str) {
    let function = Function::alone(fault).await;
    for authorization in [None, Some(bearer(TOKEN)), Some(bearer(""))] {
        let answer = function.scrape(authorization.as_deref()).await;
        assert_eq!((answer.status, &*answer.headers["retry-after"]), (503, "3"), "{authorization:?}");
        assert_eq!(answer.text(), "the authorization cannot be checked; the function's log has the reason\n");
    }
    let health = function.answer(Event::get(Kind::HttpApi, "/healthz")).await;
    assert_eq!(health.status, 200);
    let log = function.lambda.log();
    assert!(log.lines().any(|line| line.contains("no authorization") && line.contains(in_log)), "{log}");
    function.service.answer(token(TOKEN));
    function.becomes(500, &bearer(TOKEN)).await;
    assert_eq!(function.scrape(Some(&bearer(WRONG_TOKEN))).await.status, 401);
}

#[tokio::test]
async fn a_secret_that_is_not_there_closes_the_function_until_it_is() {
    recovers_from(secrets_manager::Answer::not_found(), "ResourceNotFoundException").await;
}

#[tokio::test]
async fn a_secret_that_may_not_be_read_closes_the_function_until_it_may() {
    recovers_from(secrets_manager::Answer::access_denied(), "AccessDeniedException").await;
}

#[tokio::test]
async fn a_secret_without_credentials_closes_the_function_until_it_has_some() {
    recovers_from(secrets_manager::Answer::text("{}"), "must have bearer_token").await;
}

#[tokio::test]
async fn wrong_guesses_do_not_flood_secrets_manager() {
    let function = Function::alone(token(TOKEN)).await;
    assert_eq!(function.service.calls().len(), 1, "fetched before the first request");
    let begun = Instant::now();
    for guess in 0..200 {
        assert_eq!(function.scrape(Some(&bearer(&format!("guess{guess}")))).await.status, 401);
        assert_eq!(function.scrape(None).await.status, 401);
    }
    let most = 2 + begun.elapsed().as_secs() / 3;
    let calls = function.service.calls().len() as u64;
    assert!(calls <= most, "{calls} calls in {:?}", begun.elapsed());
}

#[tokio::test]
async fn two_ways_to_say_who_may_scrape_are_none() {
    let (mut environment, service, _queries) = Function::environment(NOWHERE.into(), token(TOKEN), GOOD);
    environment.push(("AUTH", "none".into()));
    let lambda = Lambda::start(environment).await;
    for authorization in [None, Some(bearer(TOKEN))] {
        let event = Event::recorded(Kind::HttpApi).header("authorization", authorization.as_deref());
        assert_eq!(lambda.invoke(event.json(), AMPLE).await.status, 401);
    }
    assert!(lambda.log().contains("AUTH_SECRET_ID is set too"), "{}", lambda.log());
    assert_eq!(service.calls(), []);
}

/// The SHA-256 of a token, in hexadecimal.
fn digest(token: &str) -> String {
    Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A function without Secrets Manager, whose environment accepts these digests.
async fn with_digests(url: String, digests: &str) -> (Lambda, Queries) {
    for token in [TOKEN, NEXT_TOKEN, WRONG_TOKEN] {
        leaks::register(token);
    }
    let queries = Queries::new(GOOD);
    let mut environment = environment(&queries, url);
    environment.retain(|(name, _)| *name != "AUTH");
    environment.push(("AUTH_TOKEN_SHA256", digests.into()));
    environment.push(("RUST_LOG", "trace".into()));
    (Lambda::start(environment).await, queries)
}

#[tokio::test]
async fn a_token_scrapes_by_its_digest_without_secrets_manager() {
    let database = Server::shared().database("token_digests");
    let both = format!("{}, {}", digest(TOKEN), digest(NEXT_TOKEN).to_uppercase());
    let (lambda, _queries) = with_digests(database.url(), &both).await;
    let wrong = [
        bearer(WRONG_TOKEN),
        bearer(&digest(TOKEN)),
        basic("", TOKEN),
        format!("{}, {}", bearer(TOKEN), bearer(TOKEN)),
    ];
    for kind in Kind::ALL {
        let event = |value: &str| Event::recorded(kind).header("authorization", Some(value)).json();
        for right in [TOKEN, NEXT_TOKEN] {
            let answer = lambda.invoke(event(&bearer(right)), AMPLE).await;
            assert_eq!(samples(&answer).of("good_v"), [("", 1.0)], "{kind:?}");
        }
        for value in &wrong {
            let answer = lambda.invoke(event(value), AMPLE).await;
            assert_eq!((answer.status, &*answer.headers["www-authenticate"]), (401, "Bearer"), "{value}");
        }
        assert_eq!(lambda.invoke(Event::recorded(kind).json(), AMPLE).await.status, 401, "{kind:?}");
    }
}

/// As a rotation does in its second step.
#[tokio::test]
async fn a_token_whose_digest_was_removed_is_refused() {
    let (lambda, _queries) = with_digests(NOWHERE.into(), &digest(NEXT_TOKEN)).await;
    for (token, status) in [(TOKEN, 401), (NEXT_TOKEN, 200)] {
        let event = Event::recorded(Kind::HttpApi).header("authorization", Some(&bearer(token)));
        assert_eq!(lambda.invoke(event.json(), AMPLE).await.status, status);
    }
}

#[tokio::test]
async fn a_digest_that_is_none_denies_every_request() {
    let digests = format!("{},{}", digest(TOKEN), TOKEN);
    let (lambda, _queries) = with_digests(NOWHERE.into(), &digests).await;
    for presented in [None, Some(bearer(TOKEN))] {
        let event = Event::recorded(Kind::HttpApi).header("authorization", presented.as_deref());
        assert_eq!(lambda.invoke(event.json(), AMPLE).await.status, 401);
    }
    let log = lambda.log();
    assert!(log.contains("AUTH_TOKEN_SHA256: item 2: must be 64 hexadecimal digits"), "{log}");
    assert!(!log.contains(&digest(TOKEN)), "{log}");
}

#[test]
fn every_secret_in_the_documentation_can_be_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/authorization.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut count = 0;
    for block in text.split("\n```json\n").skip(1) {
        let example = block.split("\n```").next().unwrap();
        let accepted = Accepted::of_secret(example);
        accepted.unwrap_or_else(|problems| panic!("{example}: {problems:?}"));
        count += 1;
    }
    assert!(count >= 4, "only {count} examples were found");
}

/// Whoever may scrape does, within Prometheus's time, while the secret is due to be read again and cannot be: once, and
/// not in every scrape.
#[tokio::test]
async fn a_secret_that_hangs_takes_no_scrape_its_time() {
    let database = Server::shared().database("authorization_hangs");
    let (mut environment, service, _queries) = Function::environment(database.url(), token(TOKEN), GOOD);
    environment.push(("SECRET_MAX_AGE", "0s".into()));
    let lambda = Lambda::start(environment).await;
    lambda.initialised().await;
    service.answer(secrets_manager::Answer::Silence);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(6) {
        let event = Event::recorded(Kind::HttpApi)
            .header("authorization", Some(&bearer(TOKEN)))
            .header("x-prometheus-scrape-timeout-seconds", Some("1.5"));
        let answer = lambda.invoke(event.json(), AMPLE).await;
        assert!(answer.took < Duration::from_millis(1500), "{:?}", answer.took);
        assert_eq!(samples(&answer).of("good_v"), [("", 1.0)], "{}", lambda.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let log = lambda.log();
    assert_eq!(log.matches("the authorization is not renewed").count(), 1, "{log}");
}

#[tokio::test]
async fn a_token_that_was_taken_out_of_the_secret_works_no_longer_than_the_secret_is_kept() {
    let database = Server::shared().database("authorization_revoked");
    let (mut environment, service, _queries) = Function::environment(database.url(), token(TOKEN), GOOD);
    environment.push(("SECRET_MAX_AGE", "1s".into()));
    let lambda = Lambda::start(environment).await;
    lambda.initialised().await;
    service.answer(token(NEXT_TOKEN));
    let begun = Instant::now();
    let scrape = || Event::recorded(Kind::HttpApi).header("authorization", Some(&bearer(TOKEN)));
    while lambda.invoke(scrape().json(), AMPLE).await.status != 401 {
        assert!(begun.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
