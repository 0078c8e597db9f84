//! Targets that are found among the secrets, by a tag and the beginning of their names.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::events::{Event, Kind};
use crate::lambda::{AMPLE, GOOD, Queries, samples, secret_of, with_secret};
use crate::postgres::{PASSWORD, Server, TestDatabase};
use crate::runtime_api::{Answer, Lambda};
use crate::secrets_manager::{self, GET, LIST, SecretsManagerServer, Stored};

pub(crate) const TAG: (&str, &str) = ("metrics", "yes");

pub(crate) fn stored(name: &str, tags: &[(&'static str, &'static str)], database: &TestDatabase) -> Stored {
    let answer = secret_of(database, database.server().port(), PASSWORD);
    Stored { name: name.to_owned(), tags: tags.to_vec(), owner: None, answer }
}

/// A function that discovers targets.
pub(crate) async fn start(
    queries: &Queries,
    database: &TestDatabase,
    service: &SecretsManagerServer,
    more: &[(&'static str, &str)],
) -> Lambda {
    let mut environment = with_secret(queries, database, service);
    environment.retain(|(name, _)| *name != "DB_SECRET_ID");
    environment.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let lambda = Lambda::start(environment).await;
    lambda.initialised().await;
    lambda
}

pub(crate) async fn get(lambda: &Lambda, path: &str, query: &str) -> Answer {
    let event = Event::get(Kind::HttpApi, path);
    let event = if query.is_empty() { event } else { event.query(query) };
    lambda.invoke(event.json(), AMPLE).await
}

pub(crate) async fn listed(lambda: &Lambda) -> Vec<String> {
    let answer = get(lambda, "/targets", "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let list: Value = serde_json::from_str(&answer.text()).unwrap();
    let name = |group: &Value| group["labels"]["instance"].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(name).collect()
}

pub(crate) const BOTH: [(&str, &str); 2] = [("TARGETS_TAG", "metrics=yes"), ("TARGETS_PREFIX", "prod/")];

#[tokio::test]
async fn secrets_with_exactly_the_tag_and_the_prefix_are_targets() {
    let database = Server::shared().database("discovery_rule");
    let secret = |name: &str, tags: &[(&'static str, &'static str)]| stored(name, tags, &database);
    let managed = Stored { owner: Some("redshift"), ..secret("prod/managed", &[TAG]) };
    let rds = Stored { owner: Some("rds"), ..secret("prod/rds", &[TAG]) };
    let secrets = vec![
        secret("prod/shop", &[("team", "a"), TAG]),
        secret("prod/orders", &[TAG]),
        managed,
        rds,
        secret("prod/scrape", &[TAG]),
        // What the service's own filters let through.
        secret("prod/longer", &[("metrics", "yesterday")]),
        secret("prod/other", &[("metrics-of", "yes")]),
        secret("prod/apart", &[("metrics", "no"), ("other", "yes")]),
        // What they do not.
        secret("test/shop", &[TAG]),
        secret("prod/untagged", &[]),
    ];
    let service = SecretsManagerServer::storing(secrets, 3);
    let queries = Queries::new(GOOD);
    let all = ["prod/orders", "prod/rds", "prod/scrape", "prod/shop"];
    for (variables, expected) in [
        (&BOTH[..], &all[..]),
        (
            &BOTH[1..],
            &[
                "prod/apart",
                "prod/longer",
                "prod/orders",
                "prod/other",
                "prod/rds",
                "prod/scrape",
                "prod/shop",
                "prod/untagged",
            ],
        ),
        (&BOTH[..1], &["prod/orders", "prod/rds", "prod/scrape", "prod/shop", "test/shop"]),
    ] {
        let lambda = start(&queries, &database, &service, variables).await;
        assert_eq!(listed(&lambda).await, expected, "{variables:?}");
        for name in expected.iter().take(2) {
            let probe = samples(&get(&lambda, "/probe", &format!("target={name}")).await);
            assert_eq!((probe.value("pg_up"), probe.of("good_v")), (1.0, vec![("", 1.0)]));
        }
        assert_eq!(get(&lambda, "/probe", "target=prod/managed").await.status, 404);
        assert_eq!(get(&lambda, "/metrics", "").await.status, 400);
    }
    // The service is asked for lists of pages, and for the secrets that were probed, by their ARNs.
    let calls = service.calls();
    assert!(calls.iter().any(|call| call.target == LIST));
    assert!(service.bodies().iter().any(|body| body["NextToken"].is_string()));
    let read: BTreeSet<_> =
        calls.iter().filter(|call| call.target == GET).map(|call| &*call.secret_id).collect();
    assert!(read.iter().all(|id| id.starts_with("arn:aws:secretsmanager:")), "{read:?}");
    assert_eq!(read.len(), 4, "{read:?}");
}

#[tokio::test]
async fn the_secret_of_the_authorization_is_no_target() {
    let database = Server::shared().database("discovery_authorization");
    let token = Stored {
        answer: secrets_manager::Answer::text("a-token-of-16-bytes"),
        ..stored("prod/scrape", &[TAG], &database)
    };
    let arn = token.arn();
    let service = SecretsManagerServer::storing(vec![token, stored("prod/shop", &[TAG], &database)], 100);
    let queries = Queries::new(GOOD);
    let without_end = arn.strip_suffix("-a1b2c3").unwrap();
    for id in ["prod/scrape", &arn, without_end] {
        let mut environment = with_secret(&queries, &database, &service);
        environment.retain(|(name, _)| !["DB_SECRET_ID", "AUTH"].contains(name));
        environment.extend(BOTH.map(|(name, value)| (name, value.to_owned())));
        environment.push(("AUTH_SECRET_ID", id.to_owned()));
        if id == without_end {
            // The service takes it too.
            let token = Stored { name: without_end.to_owned(), tags: vec![], ..stored("x", &[], &database) };
            let token = Stored { answer: secrets_manager::Answer::text("a-token-of-16-bytes"), ..token };
            let scrape = Stored {
                answer: secrets_manager::Answer::text("a-token-of-16-bytes"),
                ..stored("prod/scrape", &[TAG], &database)
            };
            service.store(vec![token, scrape, stored("prod/shop", &[TAG], &database)]);
        }
        let lambda = Lambda::start(environment).await;
        lambda.initialised().await;
        let event = |path| {
            Event::get(Kind::HttpApi, path).header("authorization", Some("Bearer a-token-of-16-bytes"))
        };
        let list = lambda.invoke(event("/targets").json(), AMPLE).await;
        assert!(list.status == 200 && list.text().contains("prod/shop"), "{id}: {}", list.text());
        assert!(!list.text().contains("prod/scrape"), "{id}: {}", list.text());
        let probe = lambda.invoke(event("/probe").query("target=prod/scrape").json(), AMPLE).await;
        assert_eq!(probe.status, 404, "{id}");
    }
}

#[tokio::test]
async fn a_rule_that_cannot_be_read_is_a_mistake_of_the_environment() {
    let database = Server::shared().database("discovery_mistakes");
    let service = SecretsManagerServer::storing(vec![stored("prod/shop", &[TAG], &database)], 100);
    let queries = Queries::new(GOOD);
    for (variables, problem) in [
        (&[("TARGETS_TAG", "metrics")][..], "TARGETS_TAG: must be the key and the value of a tag: key=value"),
        (&[("TARGETS_TAG", "=yes")], "TARGETS_TAG: must be the key and the value of a tag: key=value"),
        (
            &[("TARGETS_TAG", "a=b"), ("DB_SECRET_ID", "x")],
            "DB_SECRET_ID: TARGETS_TAG is set too; set one of them",
        ),
        (
            &[("TARGETS_FILE", "/x"), ("TARGETS_PREFIX", "x")],
            "TARGETS_FILE: TARGETS_PREFIX is set too; set one of them",
        ),
        (
            &[("TARGETS_PREFIX", "x"), ("MAX_CONNECTIONS", "0")],
            "MAX_CONNECTIONS: must be a whole number from 1 up",
        ),
        (
            &[("TARGETS_PREFIX", "x"), ("PUBLIC_URL", "metrics.example.com")],
            "PUBLIC_URL: must be a URL such as",
        ),
        (&[("TARGETS_PREFIX", "x"), ("PUBLIC_URL", "https://u:p@h/")], "PUBLIC_URL: must be a URL such as"),
        (
            &[("TARGETS_PREFIX", "x"), ("TARGET_NAME", " x")],
            "TARGET_NAME: a name must have no control characters",
        ),
    ] {
        let lambda = start(&queries, &database, &service, variables).await;
        assert_eq!(get(&lambda, "/targets", "").await.status, 500, "{variables:?}");
        assert!(lambda.log().contains(problem), "{problem}: {}", lambda.log());
    }
}

#[tokio::test]
async fn a_list_may_have_many_pages_and_empty_ones() {
    let database = Server::shared().database("discovery_pages");
    let mut secrets: Vec<_> =
        (0..15).map(|index| stored(&format!("other/{index}"), &[], &database)).collect();
    secrets.extend((0..15).map(|index| stored(&format!("prod/{index:02}"), &[TAG], &database)));
    let service = SecretsManagerServer::storing(secrets, 1);
    let queries = Queries::new(GOOD);
    let lambda = start(&queries, &database, &service, &BOTH).await;
    assert_eq!(listed(&lambda).await.len(), 15);
}

/// Everyone who may tag a secret chooses a host.
#[tokio::test]
async fn the_password_of_the_environment_is_not_sent_to_a_host_that_is_found() {
    let database = Server::shared().database("discovery_password");
    let text = serde_json::json!({
        "host": "localhost", "port": database.server().port(), "username": crate::postgres::ROLE, "dbname": database.name(),
    });
    let answer = secrets_manager::Answer::text(&text.to_string());
    let secret = Stored { answer, ..stored("prod/shop", &[TAG], &database) };
    let service = SecretsManagerServer::storing(vec![secret], 100);
    let queries = Queries::new(GOOD);
    let more = [&BOTH[..], &[("PGPASSWORD", PASSWORD)]].concat();
    let lambda = start(&queries, &database, &service, &more).await;
    assert_eq!(samples(&get(&lambda, "/probe", "target=prod/shop").await).value("pg_up"), 0.0);
}
