//! Which target a request means, and the list of all targets for Prometheus (`http_sd_configs`).

use std::sync::Arc;

use lambda_http::http::header::{CONTENT_TYPE, HOST};
use lambda_http::http::{HeaderName, HeaderValue, StatusCode};
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt, Response};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::route::client_path;
use super::text;
use crate::scrape::{NoTarget, TargetState, Targets};
use crate::settings::PublicUrl;

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Why a request has no target.
type Refusal = (StatusCode, String);

/// The target of `/metrics`, or the refusal.
pub(super) fn of_metrics(targets: &Targets) -> Result<Arc<TargetState>, Refusal> {
    let message = "this function has several targets: scrape /probe?target=NAME; /targets lists them\n";
    targets.only().ok_or_else(|| (StatusCode::BAD_REQUEST, message.to_owned()))
}

/// The target that `target=` names, or the refusal.
pub(super) async fn of_probe(
    request: &Request,
    targets: &Targets,
    deadline: Instant,
) -> Result<Arc<TargetState>, Refusal> {
    let parameters = request.query_string_parameters_ref();
    let names = parameters.and_then(|parameters| parameters.all("target")).unwrap_or_default();
    let [name] = names.as_slice() else {
        let message = "a probe needs one target: /probe?target=NAME; /targets lists them\n";
        return Err((StatusCode::BAD_REQUEST, message.to_owned()));
    };
    targets.find(name, deadline).await.map_err(|no_target| match no_target {
        NoTarget::Unknown { known } => {
            let message = format!("no target is named {name:?}; there are: {}\n", known.join(", "));
            (StatusCode::NOT_FOUND, message)
        }
        NoTarget::Unlisted => (StatusCode::SERVICE_UNAVAILABLE, UNLISTED.to_owned()),
    })
}

/// The list of all targets. Prometheus keeps the targets that it has if the answer is an error.
pub(super) async fn answer(
    request: &Request,
    targets: &Targets,
    public_url: Option<&PublicUrl>,
    deadline: Instant,
) -> Response<Body> {
    let (Ok(named), Some(address)) =
        (targets.named(deadline).await, public_url.cloned().or_else(|| address(request)))
    else {
        return text(StatusCode::SERVICE_UNAVAILABLE, UNLISTED);
    };
    let group = |(name, target): &(String, Arc<TargetState>)| {
        let own = target.labels.iter().map(|(name, value)| (name.as_str().to_owned(), value.clone().into()));
        let mut labels: Map<String, Value> = own.collect();
        labels.insert("__scheme__".into(), address.scheme.clone().into());
        labels.insert("__metrics_path__".into(), format!("{}/probe", address.base_path).into());
        labels.insert("__param_target".into(), name.clone().into());
        labels.insert("instance".into(), name.clone().into());
        json!({ "targets": [address.host], "labels": labels })
    };
    let list: Value = named.iter().map(group).collect();
    let mut response = text(StatusCode::OK, &list.to_string());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

const UNLISTED: &str = "the targets cannot be listed now; the function's log has the reason\n";

/// The address that the client used.
fn address(request: &Request) -> Option<PublicUrl> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let domain = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV1(context)) => context.domain_name.as_deref(),
        Some(RequestContext::ApiGatewayV2(context)) => context.domain_name.as_deref(),
        _ => None,
    };
    let host = header(HOST).or(domain)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    let scheme = header(FORWARDED_PROTO).filter(|scheme| *scheme == "http").unwrap_or("https");
    let path = client_path(request);
    let base_path = path.rsplit_once('/').map_or("", |(base, _)| base);
    (!host.is_empty() && host.chars().all(plain)).then(|| PublicUrl {
        scheme: scheme.to_owned(),
        host: host.to_owned(),
        base_path: base_path.to_owned(),
    })
}
