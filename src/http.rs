//! Requests from API Gateway, a function URL or a load balancer, and their answers.
//!
//! This module owns routes, statuses, negotiation, encoding and the deadline of an answer. It does not know
//! secrets, SQL or databases.

mod answer;
mod landing;
mod route;
mod targets;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::future::join;
use lambda_http::http::header::{
    ACCEPT, ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue,
    RETRY_AFTER, VARY, WWW_AUTHENTICATE,
};
use lambda_http::http::{Method, StatusCode};
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt, Response};
use tokio::time::Instant;
use tracing::{Instrument as _, Span, error_span};

use crate::authorization::{Decision, FETCH_PAUSE, Guard};
use crate::exposition::Format;
use crate::scrape::{DEFAULT_LIMIT, Exporter, Selection, TargetState, UnknownQuery};
use crate::settings::PublicUrl;
use route::Route;

/// Prometheus sends its `scrape_timeout` here, in seconds with a fraction.
const SCRAPE_TIMEOUT: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");
/// lambda_http encodes a body of an unknown content type as base64. This header keeps it as text.
const LAMBDA_ENCODING: HeaderName = HeaderName::from_static("x-lambda-http-content-encoding");

/// The part of Prometheus's timeout that is kept for the way back. At most a quarter of the timeout is kept.
const SCRAPE_TIMEOUT_OFFSET: Duration = Duration::from_millis(500);
/// The part of Lambda's time that is kept for encoding and returning the answer.
const LAMBDA_MARGIN: Duration = Duration::from_millis(500);
/// API Gateway gives up after 29 s (REST API) or 30 s (HTTP API): Amazon API Gateway quotas, "Integration timeout".
const GATEWAY_LIMIT: Duration = Duration::from_secs(28);
/// The longest that Lambda lets a function run (AWS Lambda quotas).
const LAMBDA_LIMIT: Duration = Duration::from_secs(900);

/// Why no query can run. The log has each mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    /// An environment variable has a mistake.
    #[error("the function's environment variables have a mistake; the function's log names each variable")]
    Environment,
    /// The targets file cannot be read, or no target in it can be used.
    #[error("no target can be used; the function's log has each mistake in the targets file")]
    Targets,
    /// There are no query files, or each query has a mistake.
    #[error(
        "no query can run: the query files are missing, or each query has a mistake; the function's log names each"
    )]
    Queries,
}

/// Answers requests.
#[derive(Debug)]
pub(crate) struct Endpoint {
    guard: Guard,
    exporter: Result<Exporter, Unusable>,
    answer_bytes_max: Option<usize>,
    public_url: Option<PublicUrl>,
    /// The time, in milliseconds, that encoding the last answer took.
    encoding_ms: AtomicU64,
}

impl Endpoint {
    /// An endpoint that scrapes with `exporter` if `guard` grants the request. Without an exporter it answers
    /// 500 with the reason. `answer_bytes_max` lowers the limit of the service in front, in bytes of the
    /// answer's JSON.
    pub(crate) fn new(
        guard: Guard,
        exporter: Result<Exporter, Unusable>,
        answer_bytes_max: Option<usize>,
    ) -> Self {
        Self { guard, exporter, answer_bytes_max, public_url: None, encoding_ms: AtomicU64::new(0) }
    }

    /// The same endpoint. Service discovery answers with this address.
    pub(crate) fn with_public_url(self, public_url: Option<PublicUrl>) -> Self {
        Self { public_url, ..self }
    }

    /// Prepares the guard and the exporter, within `limit`, so that the first scrape does not wait.
    pub(crate) async fn warm_up(&self, limit: Duration) {
        let exporter = async {
            if let Ok(exporter) = &self.exporter {
                exporter.warm_up(limit).await;
            }
        };
        join(self.guard.warm_up(limit), exporter).await;
    }

    /// Closes open connections, within `limit`.
    pub(crate) async fn close(&self, limit: Duration) {
        if let Ok(exporter) = &self.exporter {
            exporter.close(limit).await;
        }
    }

    /// Answers one request within the time that Prometheus and Lambda leave.
    pub(crate) async fn respond(&self, request: &Request) -> Response<Body> {
        let arrival = Arrival { at: Instant::now(), limit: scrape_limit(request) };
        let route = Route::of(request);
        if route != Some(Route::Health)
            && let Some(refusal) = self.refusal(request, &arrival).await
        {
            return refusal;
        }
        let Some(route) = route else {
            return text(StatusCode::NOT_FOUND, "not found; the metrics are at /metrics\n");
        };
        let head = request.method() == Method::HEAD;
        if !head && request.method() != Method::GET {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let response = match (route, &self.exporter) {
            (Route::Health, _) => text(StatusCode::OK, "ok\n"),
            (Route::Landing, exporter) => landing::answer(request, exporter.as_ref()),
            (_, Err(unusable)) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{unusable}\n")),
            (Route::Targets, Ok(exporter)) => {
                targets::answer(request, exporter.targets(), self.public_url.as_ref(), arrival.end()).await
            }
            (route @ (Route::Metrics | Route::Probe), Ok(exporter)) => {
                let target = match route {
                    Route::Probe => targets::of_probe(request, exporter.targets(), arrival.end()).await,
                    _ => targets::of_metrics(exporter.targets()),
                };
                match (target, selection(exporter, request)) {
                    (Err((status, message)), _) => text(status, &message),
                    (_, Err(unknown)) => text(StatusCode::BAD_REQUEST, &format!("{unknown}\n")),
                    // HEAD has no body, so no scrape is needed.
                    _ if head => text(StatusCode::OK, ""),
                    (Ok(target), Ok(selection)) => {
                        let span = exporter
                            .targets()
                            .label(&target)
                            .map(|name| error_span!("scrape", target = name));
                        let answer = self.metrics(exporter, &target, &selection, request, &arrival);
                        answer.instrument(span.unwrap_or_else(Span::none)).await
                    }
                }
            }
        };
        if head { response.map(|_| Body::Empty) } else { response }
    }

    async fn metrics(
        &self,
        exporter: &Exporter,
        target: &TargetState,
        selection: &Selection,
        request: &Request,
        arrival: &Arrival,
    ) -> Response<Body> {
        let format = Format::negotiate(joined(request, ACCEPT).as_deref());
        let limit = arrival.limit;
        // Encoding many series on a small share of a processor can take longer than the margins. The last
        // time is the estimate.
        let encoding = Duration::from_millis(self.encoding_ms.load(Ordering::Relaxed));
        let begun = Instant::now();
        let mut scrape =
            exporter.scrape(target, selection, arrival.at + limit - encoding.min(limit / 2)).await;
        let gzip = decodes_base64(request) && accepts_gzip(joined(request, ACCEPT_ENCODING).as_deref());
        let body =
            answer::body(&mut scrape, format, gzip, answer::limit_bytes(request, self.answer_bytes_max));
        exporter.note(target, &scrape);
        let encoding = begun.elapsed().saturating_sub(scrape.duration);
        self.encoding_ms.store(u64::try_from(encoding.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let mut response = text(StatusCode::OK, "");
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
        headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        match (&body, format) {
            (Body::Binary(_), _) => {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            (_, Format::OpenMetrics) => {
                headers.insert(LAMBDA_ENCODING, HeaderValue::from_static("text"));
            }
            (_, Format::Text) => {}
        }
        *response.body_mut() = body;
        response
    }

    async fn refusal(&self, request: &Request, arrival: &Arrival) -> Option<Response<Body>> {
        let limit = arrival.limit;
        let (status, name, value, said) = match self.guard.decide(request.headers(), limit).await {
            Decision::Granted => return None,
            Decision::Locked => (
                StatusCode::UNAUTHORIZED,
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer"),
                "no authorization is configured: set AUTH_SECRET_ID or AUTH_TOKEN_SHA256 in the function's environment, \
                 or AUTH=none if something in front of this URL guards it\n",
            ),
            Decision::Refused { challenge } => (
                StatusCode::UNAUTHORIZED,
                WWW_AUTHENTICATE,
                HeaderValue::from_static(challenge),
                "not authorized\n",
            ),
            Decision::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                RETRY_AFTER,
                HeaderValue::from(FETCH_PAUSE.as_secs()),
                "the authorization cannot be checked; the function's log has the reason\n",
            ),
        };
        let mut response = text(status, said);
        response.headers_mut().insert(name, value);
        Some(response)
    }
}

/// When a request arrived, and how long it may take from then on.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    at: Instant,
    limit: Duration,
}

impl Arrival {
    fn end(self) -> Instant {
        self.at + self.limit
    }
}

/// Several headers mean the same as one with their values in a list (RFC 9110, section 5.3).
fn joined(request: &Request, name: HeaderName) -> Option<String> {
    let values: Vec<_> =
        request.headers().get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// The queries that `collect[]` and `exclude[]` name. The brackets are optional.
fn selection(exporter: &Exporter, request: &Request) -> Result<Selection, UnknownQuery> {
    let parameters = request.query_string_parameters_ref();
    let all = |names: [&str; 2]| -> Vec<&str> {
        names.iter().filter_map(|name| parameters?.all(name)).flatten().collect()
    };
    exporter.select(&all(["collect[]", "collect"]), &all(["exclude[]", "exclude"]))
}

/// How long a request may take after its arrival.
fn scrape_limit(request: &Request) -> Duration {
    let scrape_timeout = request.headers().get(SCRAPE_TIMEOUT).and_then(|value| value.to_str().ok());
    time_limit(scrape_timeout, lambda_time_left(request), is_behind_gateway(request))
}

/// How long the scrape may take: the shortest of the limits of Prometheus, Lambda and API Gateway.
fn time_limit(scrape_timeout: Option<&str>, lambda: Option<Duration>, behind_gateway: bool) -> Duration {
    let prometheus = scrape_timeout
        .and_then(|seconds| seconds.trim().parse().ok())
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|timeout| !timeout.is_zero() && *timeout <= LAMBDA_LIMIT)
        .map(|timeout| timeout.saturating_sub(SCRAPE_TIMEOUT_OFFSET.min(timeout / 4)));
    let lambda = lambda.map(|left| left.saturating_sub(LAMBDA_MARGIN));
    let gateway = behind_gateway.then_some(GATEWAY_LIMIT);
    [prometheus, lambda, gateway].into_iter().flatten().min().unwrap_or(DEFAULT_LIMIT)
}

/// Absent if the deadline has passed: cargo-lambda's emulator sends one of 1970.
fn lambda_time_left(request: &Request) -> Option<Duration> {
    let context = request.lambda_context_ref()?;
    context.deadline().duration_since(SystemTime::now()).ok()
}

/// Function URLs send HTTP API events too, but have no limit besides Lambda's.
fn is_behind_gateway(request: &Request) -> bool {
    match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV1(_)) => true,
        Some(RequestContext::ApiGatewayV2(context)) => {
            !context.domain_name.as_deref().is_some_and(|name| name.contains(".lambda-url."))
        }
        _ => false,
    }
}

/// A REST API does not decode base64 unless `binaryMediaTypes` are configured. The event does not show
/// whether they are.
fn decodes_base64(request: &Request) -> bool {
    !matches!(request.request_context_ref(), Some(RequestContext::ApiGatewayV1(_)))
}

/// RFC 9110, section 12.5.3.
fn accepts_gzip(accept_encoding: Option<&str>) -> bool {
    let weight = |coding: &str| {
        accept_encoding?.split(',').find_map(|item| {
            let mut parts = item.split(';').map(str::trim);
            parts.next().filter(|name| name.eq_ignore_ascii_case(coding))?;
            let q = parts.find_map(|parameter| parameter.strip_prefix(['q', 'Q'])?.strip_prefix('='));
            Some(q.map_or(1.0, |q| q.trim().parse::<f32>().unwrap_or(0.0)))
        })
    };
    weight("gzip").or_else(|| weight("*")).is_some_and(|q| q > 0.0)
}

fn text(status: StatusCode, body: &str) -> Response<Body> {
    let mut response = Response::new(Body::Text(body.to_owned()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_the_limits_counts() {
        let seconds = Duration::from_secs_f64;
        let cases = [
            (None, None, false, DEFAULT_LIMIT),
            (Some("10"), None, true, seconds(9.5)),
            (Some("10.000000"), Some(seconds(3.0)), true, seconds(2.5)),
            (Some("1"), Some(seconds(30.0)), true, seconds(0.75)),
            (Some("120"), Some(seconds(900.0)), true, GATEWAY_LIMIT),
            (Some("120"), Some(seconds(900.0)), false, seconds(119.5)),
            (None, Some(seconds(0.1)), true, Duration::ZERO),
            (Some("soon"), Some(seconds(5.0)), true, seconds(4.5)),
            (Some("-1"), None, true, GATEWAY_LIMIT),
            (Some("0"), None, true, GATEWAY_LIMIT),
            (Some("NaN"), None, true, GATEWAY_LIMIT),
            (Some("1e300"), None, true, GATEWAY_LIMIT),
            (Some("1e19"), None, false, DEFAULT_LIMIT),
        ];
        for (prometheus, lambda, behind_gateway, expected) in cases {
            assert_eq!(time_limit(prometheus, lambda, behind_gateway), expected, "{prometheus:?} {lambda:?}");
        }
    }

    #[test]
    fn gzip_is_accepted_by_weight() {
        let cases = [
            (None, false),
            (Some(""), false),
            (Some("gzip"), true),
            (Some("deflate, GZIP;q=0.5"), true),
            (Some("gzip;q=0, *"), false),
            (Some("gzip;Q=0"), false),
            (Some("br;q=1, *;q=0.1"), true),
            (Some("*;q=0"), false),
            (Some("gzip; q=x"), false),
            (Some("xgzip"), false),
        ];
        for (accept_encoding, expected) in cases {
            assert_eq!(accepts_gzip(accept_encoding), expected, "{accept_encoding:?}");
        }
    }
}
