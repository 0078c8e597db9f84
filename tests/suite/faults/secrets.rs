//! Faults of Secrets Manager and of what is in a secret.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::events::{Event, Kind};
use crate::lambda::{AMPLE, GOOD, Queries, SECRET_KEY, samples, with_secret};
use crate::postgres::{PASSWORD, ROLE, Server, TestDatabase};
use crate::runtime_api::Lambda;
use crate::samples::Samples;
use crate::secrets_manager::{Answer, SecretsManagerServer};

/// What Prometheus waits for, as the recorded events say.
pub(super) const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);

/// Three series of two queries.
pub(super) const QUERIES: &str = "
good:
  query: SELECT 1 AS v
  metrics: [{v: {usage: GAUGE}}]
two:
  query: SELECT l, 2 AS v FROM (VALUES ('a'), ('b')) AS t (l)
  metrics: [{l: {usage: LABEL}}, {v: {usage: GAUGE}}]
";

/// A scrape with all of [`QUERIES`].
pub(super) fn is_complete(samples: &Samples) {
    assert_eq!(samples.of("good_v"), [("", 1.0)], "{samples:#?}");
    assert_eq!(samples.of("two_v"), [(r#"{l="a"}"#, 2.0), (r#"{l="b"}"#, 2.0)], "{samples:#?}");
    assert_eq!((samples.value("pg_up"), samples.value("pg_exporter_last_scrape_error")), (1.0, 0.0));
}

/// A scrape without a connection: nothing of any of [`QUERIES`] but the reason.
pub(super) fn is_without_connection(samples: &Samples) {
    assert_eq!((samples.of("good_v").len(), samples.of("two_v").len()), (0, 0), "{samples:#?}");
    assert_eq!((samples.value("pg_up"), samples.value("pg_exporter_last_scrape_error")), (0.0, 1.0));
    for query in ["good", "two"] {
        let reason = format!(r#"pg_exporter_query_error{{query="{query}",reason="connection"}}"#);
        assert_eq!(samples.value(&reason), 1.0);
    }
}

/// One line of the log, and one that an operator reads, has all of these. It may still be on its way here.
pub(super) async fn has_logged(lambda: &Lambda, words: &[&str]) {
    let begun = Instant::now();
    loop {
        let log = lambda.log();
        let is_detail =
            |line: &&str| ["TRACE", "DEBUG"].iter().any(|level| line.contains(&format!("\"{level}\"")));
        let lines: Vec<_> = log.lines().filter(|line| !is_detail(line)).collect();
        if lines.iter().any(|line| words.iter().all(|word| line.contains(word))) {
            return;
        }
        assert!(begun.elapsed() < AMPLE, "{words:?} in {lines:#?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A function whose database is in Secrets Manager, and that logs all it can.
pub(super) struct Function {
    pub(super) lambda: Lambda,
    pub(super) service: SecretsManagerServer,
    pub(super) database: TestDatabase,
    _queries: Queries,
}

impl Function {
    pub(super) async fn start(name: &str, answer: Answer) -> Self {
        Self::start_with(name, answer, QUERIES, []).await
    }

    /// With these queries, and these variables beside or instead of its own. An empty one is as good as none.
    async fn start_with<'a>(
        name: &str,
        answer: Answer,
        queries: &str,
        variables: impl IntoIterator<Item = (&'a str, String)>,
    ) -> Self {
        let database = Server::shared().database(name);
        let service = SecretsManagerServer::start(answer);
        let queries = Queries::new(queries);
        let mut environment = with_secret(&queries, &database, &service);
        for (name, value) in variables {
            environment.retain(|(known, _)| *known != name);
            environment.push((name, value));
        }
        let lambda = Lambda::start(environment).await;
        lambda.initialised().await;
        Self { lambda, service, database, _queries: queries }
    }

    /// A scrape of which only the outcome matters.
    pub(super) async fn scrape(&self) -> Samples {
        self.scrape_within(AMPLE).await
    }

    /// A scrape that is over when Prometheus would give it up.
    pub(super) async fn scrape_within(&self, limit: Duration) -> Samples {
        let seconds = limit.as_secs().to_string();
        let event =
            Event::recorded(Kind::HttpApi).header("x-prometheus-scrape-timeout-seconds", Some(&seconds));
        let answer = self.lambda.invoke(event.json(), AMPLE).await;
        assert!(answer.took < limit, "{:?}", answer.took);
        samples(&answer)
    }

    /// The fault that there was from the start: the scrapes are without a connection, the log has a line with all
    /// these words, and when the secret is as it should be, the next scrape is complete.
    async fn recovers_from(&self, in_log: &[&str]) {
        is_without_connection(&self.scrape_within(SCRAPE_TIMEOUT).await);
        has_logged(&self.lambda, &[&["no credentials", "exporter/db"], in_log].concat()).await;
        self.service.answer(self.secret());
        is_complete(&self.scrape().await);
    }

    /// The right secret.
    pub(super) fn secret(&self) -> Answer {
        self.secret_of(ROLE, PASSWORD)
    }

    pub(super) fn secret_of(&self, role: &str, password: &str) -> Answer {
        Answer::text(&self.json(role, password).to_string())
    }

    fn json(&self, role: &str, password: &str) -> serde_json::Value {
        serde_json::json!({
            "engine": "postgres", "host": "localhost", "port": self.database.server().port(),
            "username": role, "password": password, "dbname": self.database.name(),
        })
    }

    /// How often the secret was asked for.
    pub(super) fn fetches(&self) -> usize {
        self.service.calls().len()
    }

    /// Ends all sessions of a role, and waits until they are gone.
    fn end_sessions_of(&self, role: &str) {
        let end = "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE usename";
        self.database.admin(&format!("{end} = '{role}'"));
    }
}

#[tokio::test]
async fn a_secret_that_does_not_exist() {
    let function = Function::start("secret_absent", Answer::not_found()).await;
    function.recovers_from(&["not found", "ResourceNotFoundException"]).await;
}

#[tokio::test]
async fn a_secret_that_may_not_be_read() {
    let function = Function::start("secret_denied", Answer::access_denied()).await;
    function.recovers_from(&["access denied", "is not authorized to perform"]).await;
}

#[tokio::test]
async fn a_service_that_throttles() {
    let function = Function::start("secret_throttled", Answer::throttled()).await;
    function.recovers_from(&["throttled", "Rate exceeded"]).await;
}

#[tokio::test]
async fn a_service_that_throttles_for_a_moment() {
    let function = Function::start("secret_throttled_once", Answer::not_found()).await;
    let before = function.fetches();
    let throttled = Answer::throttled();
    function.service.answer_in_turn([throttled.clone(), throttled, function.secret()]);
    is_complete(&function.scrape().await);
    assert_eq!(function.fetches() - before, 3);
}

#[tokio::test]
async fn a_service_that_is_broken() {
    let function = Function::start("secret_broken", Answer::internal_error()).await;
    function.recovers_from(&["the service is unavailable", "InternalServiceError"]).await;
}

#[tokio::test]
async fn a_service_that_is_broken_for_a_moment() {
    let function = Function::start("secret_broken_once", Answer::not_found()).await;
    let before = function.fetches();
    let busy = Answer::Body(503, "<html>busy</html>".into());
    function.service.answer_in_turn([Answer::internal_error(), busy, function.secret()]);
    is_complete(&function.scrape().await);
    assert_eq!(function.fetches() - before, 3);
}

#[tokio::test]
async fn a_service_that_never_answers() {
    let function = Function::start("secret_silent", Answer::not_found()).await;
    function.service.answer(Answer::Silence);
    is_without_connection(&function.scrape_within(Duration::from_secs(3)).await);
    has_logged(&function.lambda, &["no credentials", "exporter/db", "no answer in time"]).await;
    function.service.answer(function.secret());
    is_complete(&function.scrape().await);
}

#[tokio::test]
async fn a_service_that_resets_the_connection() {
    let function = Function::start("secret_reset", Answer::Reset).await;
    function.recovers_from(&["the service cannot be reached"]).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off() {
    let function = Function::start("secret_half", Answer::Half).await;
    function.recovers_from(&["the service cannot be reached"]).await;
}

#[tokio::test]
async fn an_answer_that_is_not_of_the_service() {
    let function = Function::start("secret_garbage", Answer::garbage()).await;
    function.recovers_from(&["the answer cannot be read"]).await;
}

#[tokio::test]
async fn a_secret_of_bytes() {
    let function = Function::start("secret_bytes", Answer::not_found()).await;
    let bytes = function.json(ROLE, PASSWORD).to_string();
    function.service.answer(Answer::bytes(bytes.as_bytes()));
    is_complete(&function.scrape().await);
}

#[tokio::test]
async fn a_secret_of_bytes_that_are_no_text() {
    let function = Function::start("secret_no_text", Answer::bytes(b"\x00\xff\xfe")).await;
    function.recovers_from(&["its bytes are not UTF-8"]).await;
}

#[tokio::test]
async fn a_secret_that_is_neither_json_nor_a_url() {
    let function = Function::start("secret_words", Answer::text(OLD)).await;
    function.recovers_from(&["neither a JSON object nor a URL"]).await;
}

#[tokio::test]
async fn a_secret_of_json_that_breaks_off() {
    let half = format!("{{\"host\": \"db\", \"password\": \"{OLD}");
    let function = Function::start("secret_half_json", Answer::text(&half)).await;
    function.recovers_from(&["not valid JSON at line 1"]).await;
}

#[tokio::test]
async fn a_secret_of_something_else() {
    let other = serde_json::json!({ "api_key": OLD }).to_string();
    let function = Function::start("secret_other", Answer::text(&other)).await;
    // All that is missing is told at once.
    function.recovers_from(&["PGHOST is not set", "PGUSER is not set"]).await;
}

#[tokio::test]
async fn an_empty_secret() {
    let function = Function::start("secret_empty", Answer::text("")).await;
    function.recovers_from(&["it is empty"]).await;
}

#[tokio::test]
async fn a_secret_with_another_address() {
    let function = Function::start("secret_port", Answer::not_found()).await;
    let mut secret = function.json(ROLE, PASSWORD);
    secret["port"] = 1.into();
    function.service.answer(Answer::text(&secret.to_string()));
    is_without_connection(&function.scrape_within(SCRAPE_TIMEOUT).await);
    has_logged(&function.lambda, &["the server cannot be reached", "refused"]).await;
    // Corrected, and found in the same scrape.
    function.service.answer(function.secret());
    is_complete(&function.scrape().await);
    has_logged(&function.lambda, &["the secret has changed, connecting with the new one"]).await;
}

#[tokio::test]
async fn a_secret_with_an_address_that_says_nothing() {
    let function = Function::start("secret_hanging", Answer::not_found()).await;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut secret = function.json(ROLE, PASSWORD);
    secret["port"] = silent.local_addr().unwrap().port().into();
    function.service.answer(Answer::text(&secret.to_string()));
    is_without_connection(&function.scrape_within(SCRAPE_TIMEOUT).await);
    has_logged(&function.lambda, &["no connection to the database", "timed out"]).await;
    // Corrected, and found while the former address still keeps the connection waiting.
    function.service.answer(function.secret());
    is_complete(&function.scrape_within(SCRAPE_TIMEOUT).await);
    has_logged(&function.lambda, &["the secret has changed, connecting with the new one"]).await;
}

#[tokio::test]
async fn a_secret_with_a_wrong_password() {
    let function = Function::start("secret_password", Answer::not_found()).await;
    function.service.answer(function.secret_of(ROLE, OLD));
    is_without_connection(&function.scrape_within(SCRAPE_TIMEOUT).await);
    has_logged(&function.lambda, &["invalid_password", "28P01"]).await;
    function.service.answer(function.secret());
    is_complete(&function.scrape().await);
    // What is right stays where the service fails.
    function.service.answer(Answer::access_denied());
    is_complete(&function.scrape().await);
}

/// Passwords before and after a rotation.
const OLD: &str = "old-4Hq9z7-before";
const NEW: &str = "new-8Kt2v5-after";

/// A function that has scraped as a role of its own, with [`OLD`] as its password.
async fn function_with_role(name: &str, queries: &str, max_age: &str) -> Function {
    Server::shared().admin(&format!("CREATE ROLE {name} LOGIN PASSWORD '{OLD}'"));
    let max_age = [("SECRET_MAX_AGE", max_age.to_owned())];
    let function = Function::start_with(name, Answer::not_found(), queries, max_age).await;
    function.service.answer(function.secret_of(name, OLD));
    function
}

fn change_password(role: &str) {
    Server::shared().admin(&format!("ALTER ROLE {role} PASSWORD '{NEW}'"));
}

#[tokio::test]
async fn a_password_rotated_between_scrapes_while_the_connection_was_lost() {
    let role = "rotated_and_lost";
    let function = function_with_role(role, QUERIES, "").await;
    is_complete(&function.scrape().await);
    let before = function.fetches();
    change_password(role);
    function.service.answer(function.secret_of(role, NEW));
    function.end_sessions_of(role);
    is_complete(&function.scrape().await);
    assert_eq!(function.fetches() - before, 1);
}

#[tokio::test]
async fn a_password_rotated_while_the_login_and_the_service_are_slow() {
    let role = "rotated_and_slow";
    let function = function_with_role(role, QUERIES, "").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let secret = |password| {
        let mut secret = function.json(role, password);
        secret["port"] = listener.local_addr().unwrap().port().into();
        secret.to_string()
    };
    let (before, after) = (secret(OLD), secret(NEW));
    let server = function.database.server().port();
    let is_slow = Arc::new(AtomicBool::new(false));
    let slow_once = Arc::clone(&is_slow);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let time = Duration::from_secs(if slow_once.swap(false, Ordering::SeqCst) { 5 } else { 0 });
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                let mut server = tokio::net::TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    function.service.answer(Answer::text(&before));
    is_complete(&function.scrape().await);
    change_password(role);
    function.end_sessions_of(role);
    // The secret is read again after 4 s; the login is refused while the service takes its time.
    is_slow.store(true, Ordering::SeqCst);
    function.service.answer(Answer::Slow(Duration::from_millis(1500), after));
    is_complete(&function.scrape_within(Duration::from_secs(28)).await);
}

#[tokio::test]
async fn a_password_rotated_between_scrapes_while_the_connection_was_kept() {
    let role = "rotated_and_kept";
    let function = function_with_role(role, QUERIES, "").await;
    is_complete(&function.scrape().await);
    let session = format!("SELECT pid FROM pg_stat_activity WHERE usename = '{role}'");
    let (before, fetches) = (function.database.admin_cell(&session), function.fetches());
    change_password(role);
    function.service.answer(function.secret_of(role, NEW));
    is_complete(&function.scrape().await);
    assert_eq!((function.database.admin_cell(&session), function.fetches()), (before, fetches));
    // The session does not need the new password; the next one does.
    function.end_sessions_of(role);
    is_complete(&function.scrape().await);
}

#[tokio::test]
async fn a_password_rotated_between_the_fetch_and_the_login() {
    let role = "rotated_at_login";
    let function = function_with_role(role, QUERIES, "").await;
    let before = function.fetches();
    change_password(role);
    function.service.answer_in_turn([function.secret_of(role, OLD), function.secret_of(role, NEW)]);
    is_complete(&function.scrape().await);
    assert_eq!(function.fetches() - before, 2, "the fetch, and one more");
}

#[tokio::test]
async fn a_password_rotated_before_the_connection_is_lost_in_the_middle_of_a_scrape() {
    let role = "rotated_midway";
    let last = "last: {query: SELECT 3 AS v}";
    let lost = "lost: {query: SELECT pg_terminate_backend(pg_backend_pid())}";
    let lost_again = "lost_again: {query: SELECT pg_terminate_backend(pg_backend_pid())}";
    let queries = format!("{GOOD}\n{lost}\nother: {{query: SELECT 2 AS v}}\n{lost_again}\n{last}\n");
    let function = function_with_role(role, &queries, "").await;
    function.scrape().await;
    let before = function.fetches();
    change_password(role);
    function.service.answer(function.secret_of(role, NEW));
    let samples = function.scrape().await;
    assert_eq!((samples.value("good_v"), samples.value("other_v"), samples.value("last_v")), (1.0, 2.0, 3.0));
    assert_eq!(samples.value("pg_up"), 1.0);
    assert_eq!(samples.value(r#"pg_exporter_query_error{query="lost",reason="connection"}"#), 1.0);
    assert_eq!(function.fetches() - before, 1, "for two new connections");

    // A secret that is not right for either of them is asked for once too.
    function.service.answer(function.secret_of(role, OLD));
    Server::shared().admin(&format!("ALTER ROLE {role} PASSWORD '{PASSWORD_OF_NOBODY}'"));
    let before = function.fetches();
    let samples = function.scrape().await;
    assert_eq!((samples.value("good_v"), samples.value("pg_up")), (1.0, 0.0));
    assert_eq!(function.fetches() - before, 1);
}

const PASSWORD_OF_NOBODY: &str = "nobody-5Wx1c3";

#[tokio::test]
async fn a_secret_deleted_while_the_connection_is_kept() {
    let role = "deleted_and_kept";
    let function = function_with_role(role, QUERIES, "0s").await;
    is_complete(&function.scrape().await);
    function.service.answer(Answer::marked_for_deletion());
    for _ in 0..2 {
        is_complete(&function.scrape().await);
    }
}

#[tokio::test]
async fn a_secret_deleted_before_the_connection_is_lost() {
    let role = "deleted_and_lost";
    let function = function_with_role(role, QUERIES, "0s").await;
    is_complete(&function.scrape().await);
    function.service.answer(Answer::not_found());
    for _ in 0..2 {
        function.end_sessions_of(role);
        is_complete(&function.scrape().await);
    }
}

/// Where the SDK finds AWS credentials in an environment that was restored from a snapshot: a local address that
/// answers when it is told to.
struct CredentialsEndpoint {
    port: u16,
    has_credentials: Arc<AtomicBool>,
}

impl CredentialsEndpoint {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let has_credentials = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&has_credentials);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (status, body) = match told.load(Ordering::SeqCst) {
                    false => (404, "{}".to_owned()),
                    true => (200, credentials()),
                };
                // The request is small enough to come at once. An end of the connection is the client's business.
                let _ = stream.read(&mut [0; 4096]);
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} \r\nContent-Type: application/json\r\nConnection: close\r\n\
                     Content-Length: {}\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        Self { port, has_credentials }
    }
}

fn credentials() -> String {
    serde_json::json!({
        "AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SecretAccessKey": SECRET_KEY, "Token": "token",
        "Expiration": "2099-01-01T00:00:00Z",
    })
    .to_string()
}

#[tokio::test]
async fn no_aws_credentials() {
    let endpoint = CredentialsEndpoint::start();
    let variables = [
        ("AWS_ACCESS_KEY_ID", String::new()),
        ("AWS_SECRET_ACCESS_KEY", String::new()),
        ("AWS_EC2_METADATA_DISABLED", "true".into()),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://127.0.0.1:{}/", endpoint.port)),
    ];
    let function = Function::start_with("no_aws_keys", Answer::not_found(), QUERIES, variables).await;
    function.service.answer(function.secret());
    is_without_connection(&function.scrape_within(SCRAPE_TIMEOUT).await);
    has_logged(&function.lambda, &["no credentials", "exporter/db", "no usable AWS credentials"]).await;
    endpoint.has_credentials.store(true, Ordering::SeqCst);
    is_complete(&function.scrape().await);
}

#[tokio::test]
async fn no_aws_region() {
    let without = [("AWS_REGION", String::new())];
    let function = Function::start_with("no_aws_region", Answer::not_found(), QUERIES, without).await;
    is_without_connection(&function.scrape_within(SCRAPE_TIMEOUT).await);
    has_logged(&function.lambda, &["no credentials", "exporter/db", "no AWS region; set AWS_REGION"]).await;
    assert_eq!(function.fetches(), 0);
}
