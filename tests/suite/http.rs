//! Routes, methods, authorization and the landing page, by events of all four kinds.

use crate::events::{Event, Kind};
use crate::lambda::AMPLE;
use crate::runtime_api::{Answer, Lambda};

/// A function without queries: no test here needs a database.
async fn function(authorization: &[(&str, &str)]) -> Lambda {
    let url = "postgres://exporter@localhost/shop";
    let variables = [("QUERIES_FILE", "/nowhere/queries.yml"), ("DATABASE_URL", url)];
    let variables = variables.iter().chain(authorization).map(|&(name, value)| (name, value.to_owned()));
    Lambda::start(variables).await
}

/// A function that answers everybody.
async fn open() -> Lambda {
    function(&[("AUTH", "none")]).await
}

async fn answer(lambda: &Lambda, event: Event) -> Answer {
    lambda.invoke(event.json(), AMPLE).await
}

#[tokio::test]
async fn each_kind_of_event_finds_the_routes() {
    let lambda = open().await;
    for kind in Kind::ALL {
        for (path, status) in [
            ("/healthz", 200),
            ("/", 200),
            ("", 200),
            ("/metrics", 500),
            ("/metrics/", 500),
            ("/base/path/metrics", 500),
            ("/base/path/", 200),
            ("/base/path/healthz", 200),
            ("/nothing", 404),
            ("/metrics/nothing", 404),
            ("/metricsx", 404),
        ] {
            let response = answer(&lambda, Event::get(kind, path)).await;
            assert_eq!(response.status, status, "{kind:?} {path}");
        }
    }
}

#[tokio::test]
async fn an_http_api_with_a_stage_has_it_in_the_path() {
    let lambda = open().await;
    let event =
        |path| Event::get(Kind::HttpApi, path).edit(|json| json["requestContext"]["stage"] = "prod".into());
    for (path, status) in [("/prod", 200), ("/prod/", 200), ("/prod/metrics", 500), ("/prodigy", 404)] {
        assert_eq!(answer(&lambda, event(path)).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn the_stage_of_a_rest_api_is_not_in_the_path() {
    let lambda = open().await;
    for stage in ["metrics", "healthz", "prod"] {
        let event =
            Event::get(Kind::RestApi, "/metrics").edit(|json| json["requestContext"]["stage"] = stage.into());
        assert_eq!(answer(&lambda, event).await.status, 500, "{stage}");
    }
}

/// A request to a custom domain whose base path leads to the API. The API's route is what is behind the base path.
fn behind_base_path(kind: Kind, path: &str, route: &str) -> Event {
    Event::get(kind, path).edit(|json| match kind {
        Kind::RestApi => {
            json["resource"] = route.into();
            json["requestContext"]["resourcePath"] = route.into();
            json["requestContext"]["path"] = path.into();
        }
        _ => {
            let key = format!("GET {route}");
            json["routeKey"] = key.as_str().into();
            json["requestContext"]["routeKey"] = key.into();
        }
    })
}

#[tokio::test]
async fn the_routes_are_below_a_base_path() {
    let lambda = open().await;
    for kind in [Kind::RestApi, Kind::HttpApi] {
        for path in ["/pg", "/pg/", "/monitoring/pg"] {
            let response = answer(&lambda, behind_base_path(kind, path, "/")).await;
            assert_eq!(response.status, 200, "{kind:?} {path}");
            let base = path.trim_end_matches('/');
            assert!(response.text().contains(&format!("href=\"{base}/metrics\"")), "{}", response.text());
            assert!(response.text().contains(&format!("href=\"{base}/healthz\"")), "{}", response.text());
        }
        for (path, route, status) in [
            ("/pg/metrics", "/{proxy+}", 500),
            ("/pg/healthz", "/{proxy+}", 200),
            ("/pg/nothing", "/{proxy+}", 404),
            ("/metrics", "/", 500),
        ] {
            let response = answer(&lambda, behind_base_path(kind, path, route)).await;
            assert_eq!(response.status, status, "{kind:?} {path}");
        }
    }
}

#[tokio::test]
async fn without_authorization_everything_but_the_health_is_refused() {
    let lambda = function(&[]).await;
    for kind in Kind::ALL {
        for path in ["/", "/metrics", "/nothing"] {
            let response = answer(&lambda, Event::get(kind, path)).await;
            assert_eq!(response.status, 401, "{kind:?} {path}");
            assert_eq!(response.headers["www-authenticate"], "Bearer");
            for variable in ["AUTH_SECRET_ID", "AUTH_TOKEN_SHA256", "AUTH=none"] {
                assert!(response.text().contains(variable), "{}", response.text());
            }
        }
        let post = answer(&lambda, Event::get(kind, "/metrics").method("POST")).await;
        assert_eq!(post.status, 401, "{kind:?}");
        assert_eq!(answer(&lambda, Event::get(kind, "/healthz")).await.status, 200);
    }
}

#[tokio::test]
async fn other_methods_are_told_which_are_allowed() {
    let lambda = open().await;
    for kind in Kind::ALL {
        for path in ["/", "/metrics", "/healthz"] {
            for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
                let response = answer(&lambda, Event::get(kind, path).method(method)).await;
                assert_eq!(response.status, 405, "{kind:?} {method} {path}");
                assert_eq!(response.headers["allow"], "GET, HEAD");
            }
            let head = answer(&lambda, Event::get(kind, path).method("HEAD")).await;
            let get = answer(&lambda, Event::get(kind, path)).await;
            assert_eq!((head.status, &*head.text()), (get.status, ""), "{kind:?} {path}");
        }
    }
}

#[tokio::test]
async fn a_missing_configuration_says_where_to_look_and_nothing_else() {
    let lambda = open().await;
    let response = answer(&lambda, Event::recorded(Kind::HttpApi)).await;
    assert_eq!(
        response.text(),
        "no query can run: the query files are missing, or each query has a mistake; the function's log names each\n"
    );
}

#[tokio::test]
async fn the_landing_page_links_to_where_the_client_is() {
    let lambda = open().await;
    let page = |event| async { answer(&lambda, event).await.text() };
    assert!(page(Event::get(Kind::RestApi, "/")).await.contains("href=\"/prod/metrics\""));
    assert!(page(Event::get(Kind::HttpApi, "/")).await.contains("href=\"/metrics\""));
    assert!(page(Event::get(Kind::Alb, "/")).await.contains(env!("CARGO_PKG_VERSION")));
    let stage =
        Event::get(Kind::HttpApi, "/prod").edit(|json| json["requestContext"]["stage"] = "prod".into());
    assert!(page(stage).await.contains("href=\"/prod/metrics\""));
    let elsewhere = page(Event::get(Kind::Alb, "/monitoring/pg/")).await;
    assert!(elsewhere.contains("href=\"/monitoring/pg/metrics\""), "{elsewhere}");
    let hostile =
        Event::get(Kind::RestApi, "/").edit(|json| json["requestContext"]["path"] = "/\"><b>/".into());
    assert!(!page(hostile).await.contains("<b>"));
}
