//! Routes, methods, authorization and the landing page, by events of all four kinds.

use std::time::Duration;

use lambda_http::{Body, Response};
use pg_lambda_exporter::authorization::Guard;
use pg_lambda_exporter::http::{Endpoint, Unusable};
use pg_lambda_exporter::settings::Authorization;

use crate::events::{Event, Kind};

/// An endpoint without an exporter: no test here needs a database.
async fn answer(authorization: Authorization, event: Event) -> Response<Body> {
    Endpoint::new(
        Guard::new(authorization, Duration::from_secs(300), None).await,
        Err(Unusable::Queries),
        None,
    )
    .respond(&event.request())
    .await
}

fn body(response: &Response<Body>) -> &str {
    match response.body() {
        Body::Text(text) => text,
        Body::Empty => "",
        other => panic!("not text: {other:?}"),
    }
}

#[tokio::test]
async fn each_kind_of_event_finds_the_routes() {
    for kind in Kind::ALL {
        for (path, status) in [
            ("/healthz", 200),
            ("/", 200),
            ("", 200),
            ("/metrics", 500),
            ("/metrics/", 500),
            ("/base/path/metrics", 500),
            ("/nothing", 404),
            ("/metrics/nothing", 404),
            ("/metricsx", 404),
        ] {
            let response = answer(Authorization::Open, Event::get(kind, path)).await;
            assert_eq!(response.status(), status, "{kind:?} {path}");
        }
    }
}

#[tokio::test]
async fn an_http_api_with_a_stage_has_it_in_the_path() {
    let event =
        |path| Event::get(Kind::HttpApi, path).edit(|json| json["requestContext"]["stage"] = "prod".into());
    for (path, status) in [("/prod", 200), ("/prod/", 200), ("/prod/metrics", 500), ("/prodigy", 404)] {
        assert_eq!(answer(Authorization::Open, event(path)).await.status(), status, "{path}");
    }
}

#[tokio::test]
async fn the_stage_of_a_rest_api_is_not_in_the_path() {
    for stage in ["metrics", "healthz", "prod"] {
        let event =
            Event::get(Kind::RestApi, "/metrics").edit(|json| json["requestContext"]["stage"] = stage.into());
        assert_eq!(answer(Authorization::Open, event).await.status(), 500, "{stage}");
    }
}

#[tokio::test]
async fn without_authorization_everything_but_the_health_is_refused() {
    for kind in Kind::ALL {
        for path in ["/", "/metrics", "/nothing"] {
            let response = answer(Authorization::Locked, Event::get(kind, path)).await;
            assert_eq!(response.status(), 401, "{kind:?} {path}");
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
            for variable in ["AUTH_SECRET_ID", "AUTH_TOKEN_SHA256", "AUTH=none"] {
                assert!(body(&response).contains(variable), "{}", body(&response));
            }
        }
        let post = answer(Authorization::Locked, Event::get(kind, "/metrics").method("POST")).await;
        assert_eq!(post.status(), 401, "{kind:?}");
        assert_eq!(answer(Authorization::Locked, Event::get(kind, "/healthz")).await.status(), 200);
    }
}

#[tokio::test]
async fn other_methods_are_told_which_are_allowed() {
    for kind in Kind::ALL {
        for path in ["/", "/metrics", "/healthz"] {
            for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
                let response = answer(Authorization::Open, Event::get(kind, path).method(method)).await;
                assert_eq!(response.status(), 405, "{kind:?} {method} {path}");
                assert_eq!(response.headers()["allow"], "GET, HEAD");
            }
            let head = answer(Authorization::Open, Event::get(kind, path).method("HEAD")).await;
            let get = answer(Authorization::Open, Event::get(kind, path)).await;
            assert_eq!((head.status(), body(&head)), (get.status(), ""), "{kind:?} {path}");
        }
    }
}

#[tokio::test]
async fn a_missing_configuration_says_where_to_look_and_nothing_else() {
    let response = answer(Authorization::Open, Event::recorded(Kind::HttpApi)).await;
    assert_eq!(
        body(&response),
        "no query can run: the query files are missing, or each query has a mistake; the function's log names each\n"
    );
}

#[tokio::test]
async fn the_landing_page_links_to_where_the_client_is() {
    let page = |event| async { body(&answer(Authorization::Open, event).await).to_owned() };
    assert!(page(Event::get(Kind::RestApi, "/")).await.contains("href=\"/prod/metrics\""));
    assert!(page(Event::get(Kind::HttpApi, "/")).await.contains("href=\"/metrics\""));
    assert!(page(Event::get(Kind::Alb, "/")).await.contains(env!("CARGO_PKG_VERSION")));
    let stage =
        Event::get(Kind::HttpApi, "/prod").edit(|json| json["requestContext"]["stage"] = "prod".into());
    assert!(page(stage).await.contains("href=\"/prod/metrics\""));
    let hostile =
        Event::get(Kind::RestApi, "/").edit(|json| json["requestContext"]["path"] = "/\"><b>/".into());
    assert!(!page(hostile).await.contains("<b>"));
}
