//! The route that a request means, and its path as the client sees it.

use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};

/// A route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Metrics,
    Probe,
    Targets,
    Landing,
    Health,
}

impl Route {
    /// Only the last segment of the path counts. A custom domain's base path or a load balancer's rule may add others in
    /// front: the landing page is then the root of the API, or any path that ends in a slash.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let path = path_in_stage(request);
        match path.trim_end_matches('/').rsplit('/').next() {
            Some("metrics") => Some(Self::Metrics),
            Some("probe") => Some(Self::Probe),
            Some("targets") => Some(Self::Targets),
            Some("healthz") => Some(Self::Health),
            _ if path.is_empty() || path.ends_with('/') || is_root(request) => Some(Self::Landing),
            _ => None,
        }
    }
}

/// Whether the API's own route is that of its root. The path then has the base path alone.
fn is_root(request: &Request) -> bool {
    match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV1(context)) => context.resource_path.as_deref() == Some("/"),
        Some(RequestContext::ApiGatewayV2(context)) => {
            // A method and a path (Amazon API Gateway developer guide, "Create routes for HTTP APIs").
            context.route_key.as_deref().and_then(|key| key.split(' ').nth(1)) == Some("/")
        }
        _ => false,
    }
}

/// The path as the client sent it, without the stage of the API.
fn path_in_stage(request: &Request) -> &str {
    let path = request.raw_http_path();
    let stage = match request.request_context_ref() {
        // Events of a REST API have a path without the stage.
        Some(RequestContext::ApiGatewayV2(context)) => context.stage.as_deref(),
        _ => None,
    };
    let without = stage.and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage));
    without.filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(path)
}

/// The path of the request as the client sees it, without a slash at its end. For the landing page, the other routes are
/// below it.
pub(super) fn client_path(request: &Request) -> &str {
    let path = match request.request_context_ref() {
        // Among the paths of a REST API's event, only this one has the stage.
        Some(RequestContext::ApiGatewayV1(context)) => context.path.as_deref(),
        _ => None,
    };
    let path = path.unwrap_or_else(|| request.raw_http_path()).trim_end_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    if path.chars().all(plain) { path } else { "" }
}
