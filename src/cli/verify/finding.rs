//! The result of `verify`: one word, what happened, and what to do.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_http::http::Uri;

use super::Answer;
use super::exposition::samples;
use crate::cli::output::counted;
use crate::http_client::Failure;

const LOG: &str = "the function's log: aws logs tail LOG_GROUP --since 15m
(the deployment printed the group; it is the stack's output LogGroup)";

const VPC: &str = "in a VPC, the function may be unable to reach Secrets Manager or the database:
- Secrets Manager needs an interface endpoint or a NAT gateway
- security groups must allow the endpoint (443) and the database (5432)";

const CRASH: &str = "likely causes:
- the package is for the other architecture, or is not a `bootstrap`
- the function ran out of memory, or reached its timeout
- the log has nothing: the API may not invoke the function, or invokes another
- a REST API exceeded the reserved concurrency";

const REFUSED_IN_FRONT: &str = "- function URL: it needs two permissions, lambda:InvokeFunctionUrl and
  lambda:InvokeFunction (with InvokedViaFunctionUrl), and AuthType NONE
- API: an authorizer, an API key or a resource policy refuses, or the path is
  unknown: of a REST API it begins with the stage, https://HOST/STAGE/metrics";

/// The result.
pub(super) struct Finding {
    /// One word, or the status.
    pub(super) name: String,
    /// The event, in one line.
    pub(super) summary: String,
    /// Causes and remedies, line by line.
    pub(super) details: Vec<String>,
    pub(super) is_ok: bool,
    /// Whether there was no HTTP answer.
    pub(super) is_unreached: bool,
}

impl Finding {
    fn new(name: impl ToString, summary: impl Into<String>) -> Self {
        Self {
            name: name.to_string(),
            summary: summary.into(),
            details: Vec::new(),
            is_ok: false,
            is_unreached: false,
        }
    }

    /// With these lines too.
    pub(super) fn and(mut self, lines: &str) -> Self {
        self.details.extend(lines.lines().map(str::to_owned));
        self
    }

    /// There was no complete HTTP answer.
    pub(super) fn of_failure(url: &Uri, failure: &Failure) -> Self {
        let host = url.host().unwrap_or_default();
        let found = match failure {
            Failure::CutOff => return cut_off(),
            Failure::TooLarge => return Self::new("too-large", "the answer is larger than 32 MiB"),
            Failure::TimedOut => Self::new("timeout", "no answer in time").and(VPC).and(LOG),
            Failure::Unresolvable(name) => Self::new("unresolvable", format!("{name} has no address"))
                .and("was the stack deleted? is the API private? then run this in its VPC, with\nthe endpoint's private DNS enabled"),
            Failure::Refused => Self::new("refused", format!("nothing listens at {host}")),
            Failure::Tls(error) => Self::new("tls", format!("TLS with {host} failed: {error}"))
                .and("a custom domain needs a certificate for its name; SSL_CERT_FILE names the\nauthorities to trust"),
            Failure::Other(error) => Self::new("unreachable", format!("no answer from {host}: {error}")),
        };
        Self { is_unreached: true, ..found }
    }

    pub(super) fn of_answer(url: &Uri, answer: &Answer, has_credential: bool) -> Self {
        let body = answer.body.trim();
        let path = url.path();
        // AWS services answer in JSON, the function never does.
        let is_of_a_service = body.starts_with('{');
        match answer.status {
            200 => of_exposition(answer),
            301 | 302 | 303 | 307 | 308 => {
                Self::new(answer.status, "something in front of the function redirects; no redirect is followed")
            }
            400 if !is_of_a_service => {
                let first: String = body.lines().next().unwrap_or_default().chars().take(300).collect();
                Self::new(400, format!("the request was rejected: {first}"))
            }
            401 if body.contains("no authorization is configured") => Self::new(
                401,
                "the function denies every request: no authorization is configured",
            )
            .and("set AUTH_SECRET_ID, AUTH_TOKEN_SHA256 or AUTH=none in its environment"),
            401 if is_of_a_service => Self::new(
                401,
                "an authorizer in front of the function requires authorization",
            ),
            401 if !has_credential => Self::new(401, "the function requires authorization")
                .and("pass --token-file, or --user and --password-file; give Prometheus the same"),
            401 => Self::new(401, "the function does not accept this credential")
                .and("compare the file with the authorization secret:\n  aws secretsmanager get-secret-value --secret-id ARN\nor its SHA-256 with AUTH_TOKEN_SHA256; after a rotation, wait 3 seconds"),
            403 => Self::new(403, "something in front of the function refused the request").and(REFUSED_IN_FRONT),
            404 if is_of_a_service || body.contains("Not Found") => {
                Self::new(404, format!("the API has no route for {path}"))
                    .and("a stage other than $default is part of the path: https://HOST/STAGE/metrics")
            }
            404 => Self::new(404, format!("the function has no path {path}; the path must end in /metrics")),
            500 if body.contains("environment variables have a mistake") => Self::new(
                "environment",
                "the function's environment variables have a mistake; its log names each",
            )
            .and(LOG),
            500 if body.contains("no query can run") => Self::new(
                "no-queries",
                "no query can run: queries.yml is missing, or each query has a mistake",
            )
            .and("run `pg-lambda-exporter check queries.yml` to see each")
            .and(LOG),
            500 | 502 => Self::new(answer.status, "the function failed before it could answer").and(CRASH).and(LOG),
            503 if body.contains("authorization") => Self::new(
                503,
                "the function cannot read the authorization secret",
            )
            .and("does it exist? may the role read it (secretsmanager:GetSecretValue, and\nkms:Decrypt on the secret's own key)? can a VPC reach Secrets Manager?")
            .and(LOG),
            429 | 503 => Self::new(answer.status, "too many requests, or no answer within 30 seconds")
                .and("reserved concurrency or the API's throttling limits requests; an HTTP API\ngives up after 30 seconds, for example on a function that waits in a VPC")
                .and(LOG),
            504 => Self::new("timeout", "API Gateway gave up waiting for the function")
                .and("is the function's timeout above 29 seconds?")
                .and(VPC)
                .and(LOG),
            status => Self::new(status, format!("unexpected answer of {} bytes", answer.body.len())),
        }
    }
}

fn cut_off() -> Finding {
    Finding::new("cut-off", "the exposition is incomplete, so Prometheus refuses it")
        .and("something in front of the function limits, ends or recompresses the answer")
}

/// An answer with status 200.
fn of_exposition(answer: &Answer) -> Finding {
    let Answer { content_type, body, duration, .. } = answer;
    let is_openmetrics = content_type.starts_with("application/openmetrics-text");
    let has_metrics = body.contains("pg_up");
    if is_openmetrics && has_metrics && !body.ends_with("# EOF\n") {
        return cut_off();
    }
    if is_base64(body) {
        return Finding::new("base64", "the exposition is encoded as base64")
            .and("a REST API without binaryMediaTypes, or something else in front, does not\ndecode it");
    }
    if !has_metrics || !(is_openmetrics || content_type.starts_with("text/plain")) {
        let kind = if content_type.is_empty() { "no Content-Type" } else { content_type };
        return Finding::new(
            "not-metrics",
            format!("something else answered ({kind}); is this the /metrics path?"),
        );
    }
    let samples = samples(body);
    let value = |name| samples.iter().find(|it| it.name == name && it.labels.is_empty()).map(|it| it.value);
    // The queries for which this metric is not 0, with the reason.
    let reasons = |name| -> Vec<_> {
        let is_set = samples.iter().filter(|it| it.name == name && it.value != 0.0);
        is_set.filter_map(|it| Some((it.label("query")?, it.label("reason")?))).collect()
    };
    if value("pg_up") != Some(1.0) {
        return Finding::new("pg-up-0", "the function answers, but has no connection to the database")
            .and("its log has the reason after \"no connection to the database\" or\n\"no credentials\"; docs/reliability.md lists the reasons")
            .and(LOG);
    }
    let of_queries = samples.iter().filter(|it| it.name.starts_with("pg_exporter_query_"));
    let queries: BTreeSet<_> = of_queries.filter_map(|it| it.label("query")).collect();
    let skipped = reasons("pg_exporter_query_skipped");
    if queries.is_empty() {
        return Finding::new("no-queries", "no query ran; do collect[] and exclude[] in the URL leave any?");
    }
    if queries.iter().all(|query| skipped.iter().any(|(skipped, _)| skipped == query)) {
        let lines: Vec<_> = skipped.iter().map(|(query, reason)| format!("{query}: {reason}")).collect();
        return Finding::new("no-queries", "every query was skipped").and(&lines.join("\n"));
    }
    let is_own = |name: &str| name == "pg_up" || name.starts_with("pg_exporter_");
    let own = samples.iter().filter(|it| is_own(it.name)).count();
    let build = samples.iter().find(|it| it.name == "pg_exporter_build_info");
    let summary = format!(
        "{} samples, {} from {}, in {:.2} s{}; version {}",
        samples.len(),
        samples.len() - own,
        counted(queries.len(), "query", "queries"),
        duration.as_secs_f64(),
        if value("pg_exporter_cold_start") == Some(1.0) { " (cold start)" } else { "" },
        build.and_then(|it| it.label("version")).unwrap_or("unknown"),
    );
    let failed = reasons("pg_exporter_query_error");
    if !failed.is_empty() {
        let lines: Vec<_> =
            failed.iter().map(|(query, reason)| format!("{query}: {reason}, {}", why(reason))).collect();
        return Finding::new("queries-failed", summary).and(&lines.join("\n")).and(LOG);
    }
    if value("pg_exporter_last_scrape_error").is_some_and(|value| value != 0.0) {
        return Finding::new("scrape-error", summary)
            .and("something else failed, for example a query file cannot be read")
            .and(LOG);
    }
    Finding { is_ok: true, ..Finding::new("ok", summary) }
}

/// The meaning of the label `reason` of a failed query.
fn why(reason: &str) -> &'static str {
    match reason {
        "connection" => "there was no connection to the database",
        "deadline" => "the scrape had no time left",
        "timeout" => "the query exceeded its timeout",
        "permission" => "the role may not read something in it",
        "syntax" => "the server does not understand the query",
        "undefined" => "a table, column, function or schema does not exist",
        "predicate" => "its predicate_query failed",
        "config" => "its metrics do not fit its result, or it has a mistake",
        "limit" => "its result exceeds a limit",
        _ => "the log has the reason",
    }
}

/// Whether this is an exposition in base64, perhaps compressed.
fn is_base64(body: &str) -> bool {
    STANDARD.decode(body.trim()).is_ok_and(|decoded| {
        decoded.starts_with(b"\x1f\x8b") || decoded.windows(5).any(|bytes| bytes == b"pg_up")
    })
}
