//! Several targets, and several databases of one.

use std::time::{Duration, Instant};

use crate::cli::Terminal;
use crate::discovery::{BOTH, TAG, get, listed, start, stored};
use crate::events::{Event, Kind};
use crate::lambda::{AMPLE, CONNECTIONS, GOOD, Queries, function, samples, scrape, secret_of, with_secret};
use crate::postgres::{PASSWORD, ROLE, Server};
use crate::runtime_api::Lambda;
use crate::secrets_manager::{self, LIST, SecretsManagerServer};
use crate::target_databases::{SESSIONS, SIZES, with_sizes};
use crate::targets::{Many, PASSWORDS, aws, entry};

#[tokio::test]
async fn a_target_that_floods_refuses_hangs_or_rotates() {
    let databases: Vec<_> = ["good", "floods", "rotates"]
        .map(|name| Server::shared().database(&format!("targets_{name}")))
        .into();
    let [good, floods, rotates] = databases.as_slice() else { panic!() };
    let port = good.server().port();
    // The kernel accepts, and nobody answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = { std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port() };
    floods.admin("CREATE TABLE big AS SELECT repeat('x', 1000) AS v FROM generate_series(1, 20000)");
    floods.admin(&format!("GRANT SELECT ON big TO {ROLE}"));
    let queries = Queries::new(&format!(
        "{GOOD}
big:
  predicate_query: SELECT to_regclass('big') IS NOT NULL
  query: SELECT v, 1 AS n FROM big
  metrics: [{{v: {{usage: LABEL}}}}, {{n: {{usage: GAUGE}}}}]
"
    ));
    let service = SecretsManagerServer::start(secret_of(rotates, port, PASSWORD));
    let url = service.url();
    let text = entry("good", good)
        + &entry("floods", floods)
        + &format!("refuses: {{host: 127.0.0.1, port: {refused}, user: {ROLE}}}\n")
        + &format!(
            "hangs: {{host: 127.0.0.1, port: {}, user: {ROLE}}}\n",
            silent.local_addr().unwrap().port()
        )
        + "rotates: {secret: prod/rotates}\n";
    let many = Many::start(
        &queries,
        &text,
        &[&aws(&url)[..], &[PASSWORDS, ("MAX_RESULT_BYTES", "1000000"), ("SECRET_MAX_AGE", "0s")]].concat(),
    )
    .await;
    let event = |name: &str| {
        let event = Event::get(Kind::HttpApi, "/probe").query(&format!("target={name}"));
        let timeout = if name == "hangs" { "2" } else { "20" };
        event.header("x-prometheus-scrape-timeout-seconds", Some(timeout)).json()
    };
    let session = async || {
        let samples = samples(&many.lambda.invoke(event("good"), AMPLE).await);
        assert_eq!((samples.value("pg_up"), samples.of("good_v")), (1.0, vec![("", 1.0)]));
        good.admin_cell(&format!("SELECT string_agg(pid::text, ',') FROM {CONNECTIONS}"))
    };
    let before = session().await;
    for (name, up, failed) in [
        ("floods", 1.0, Some(r#"pg_exporter_query_error{query="big",reason="limit"}"#)),
        ("refuses", 0.0, None),
        ("hangs", 0.0, None),
        ("rotates", 1.0, None),
    ] {
        let answer = samples(&many.lambda.invoke(event(name), AMPLE).await);
        assert_eq!(answer.value("pg_up"), up, "{name}: {}", many.lambda.log());
        if let Some(failed) = failed {
            assert_eq!(answer.value(failed), 1.0);
        }
        assert_eq!(session().await, before, "{name}");
    }
    for answer in [
        secrets_manager::Answer::text("no database at all"),
        secret_of(rotates, port, "another password"),
        secrets_manager::Answer::access_denied(),
    ] {
        service.answer(answer);
        let probe = samples(&many.lambda.invoke(event("rotates"), AMPLE).await);
        // A session outlives its password, and a target that works is kept.
        assert_eq!((probe.value("pg_up"), probe.of("pg_exporter_target_error").len()), (1.0, 0));
        assert_eq!(session().await, before);
    }
}

#[tokio::test]
async fn a_secret_that_is_no_database() {
    let queries = Queries::new(GOOD);
    let service = SecretsManagerServer::start(secrets_manager::Answer::text("an API key"));
    let many = Many::start(&queries, "key: {secret: prod/key}\n", &aws(&service.url())).await;
    let probe = many.probe("key").await;
    assert_eq!(probe.value("pg_up"), 0.0);
    assert_eq!(probe.value(r#"pg_exporter_target_error{target="key",reason="secret"}"#), 1.0);
    let log = many.lambda.log();
    let line = log.lines().find(|line| line.contains("no credentials")).unwrap();
    assert!(line.contains(r#""span":{"target":"key","name":"scrape"}"#), "{log}");
}

#[tokio::test]
async fn a_targets_file_without_a_target() {
    let queries = Queries::new(GOOD);
    for text in ["", "- a\n", "a: {b: [\n"] {
        let many = Many::start(&queries, text, &[]).await;
        for path in ["/probe", "/targets", "/metrics"] {
            let answer = many.get(path, "target=a").await;
            assert_eq!(answer.status, 500, "{path} {text:?}");
            assert!(answer.text().contains("mistake in the targets file"), "{}", answer.text());
        }
        assert!(many.lambda.log().contains("no targets"), "{}", many.lambda.log());
    }
}

#[tokio::test]
async fn a_list_that_fails_or_is_empty() {
    let database = Server::shared().database("discovery_failures");
    let queries = Queries::new(GOOD);
    let (queries, database) = (&queries, &database);
    let cases = [
        (None, "no secret has the tag and the prefix"),
        (Some(secrets_manager::Answer::internal_error()), "the service is unavailable"),
        (Some(secrets_manager::Answer::access_denied()), "access denied"),
        (Some(secrets_manager::Answer::Body(200, "{}".into())), "the answer holds no list"),
        (Some(secrets_manager::Answer::garbage()), "the answer cannot be read"),
        (Some(secrets_manager::Answer::Silence), "no answer in time"),
    ];
    // At once, since each waits until the service is asked again.
    let checked = cases.into_iter().map(|(answer, reason)| async move {
        let none = || vec![stored("other", &[], database)];
        let service = SecretsManagerServer::storing(none(), 100);
        service.answer_lists(answer.clone());
        let lambda = start(queries, database, &service, &BOTH).await;
        assert_eq!(get(&lambda, "/targets", "").await.status, 503, "{reason}");
        assert_eq!(get(&lambda, "/probe", "target=prod/shop").await.status, 503, "{reason}");
        assert!(lambda.log().contains(reason), "{reason}: {}", lambda.log());

        // The same after it had a list.
        service.answer_lists(None);
        service.store(vec![stored("prod/shop", &[TAG], database)]);
        while get(&lambda, "/targets", "").await.status == 503 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        service.answer_lists(answer);
        service.store(none());
        let failures = || lambda.log().matches("the targets cannot be listed").count();
        let before = failures();
        while failures() == before {
            assert_eq!(listed(&lambda).await, ["prod/shop"], "{reason}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert_eq!(listed(&lambda).await, ["prod/shop"], "{reason}");
        assert_eq!(get(&lambda, "/probe", "target=prod/shop").await.status, 200, "{reason}");
    });
    futures_util::future::join_all(checked).await;
}

#[tokio::test]
async fn a_secret_that_is_deleted_and_another_that_is_new() {
    let (one, two) = (Server::shared().database("discovery_one"), Server::shared().database("discovery_two"));
    let service = SecretsManagerServer::storing(vec![stored("prod/one", &[TAG], &one)], 100);
    let queries = Queries::new(GOOD);
    let lambda = start(&queries, &one, &service, &BOTH).await;
    assert_eq!(samples(&get(&lambda, "/probe", "target=prod/one").await).value("pg_up"), 1.0);
    assert_eq!(one.admin_cell(&format!("SELECT count(*) FROM {CONNECTIONS}")), "1");
    service.store(vec![stored("prod/two", &[TAG], &two)]);
    // A known name asks for no list. An unknown one does, at most every ten seconds.
    let lists = || service.calls().iter().filter(|call| call.target == LIST).count();
    let before = lists();
    let begun = Instant::now();
    loop {
        let answer = get(&lambda, "/probe", "target=prod/two").await;
        if answer.status == 200 {
            assert_eq!(samples(&answer).value("pg_up"), 1.0);
            break;
        }
        assert_eq!(answer.status, 404);
        assert!(answer.text().contains("there are: prod/one"), "{}", answer.text());
        assert!(begun.elapsed() < AMPLE);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(lists(), before + 1);
    assert_eq!(listed(&lambda).await, ["prod/two"]);
    assert_eq!(get(&lambda, "/probe", "target=prod/one").await.status, 404);
    one.wait_for(&format!("SELECT count(*) = 0 FROM {CONNECTIONS}")).await;
}

#[tokio::test]
async fn a_database_that_is_dropped_during_the_walk() {
    let server = Server::private();
    let [own, _slow, dropped] =
        [("walk_0", 0), ("walk_1", 1), ("walk_2", 2)].map(|(name, value)| with_sizes(&server, name, value));
    let sleeping = SIZES.replace("SELECT name, v FROM sizes", "SELECT name, v FROM sizes, pg_sleep(v % 2)");
    let lambda = function(&Queries::new(&sleeping), &own).await;
    let drop_meanwhile = async {
        server.wait_for(&format!("SELECT count(*) = 1 FROM {SESSIONS} AND datname = 'walk_1'")).await;
        server.admin(&format!("DROP DATABASE {}", dropped.name()));
    };
    let (samples, ()) = tokio::join!(scrape(&lambda), drop_meanwhile);
    assert_eq!(samples.of("sizes_v").len(), 2);
    let skipped = r#"pg_exporter_query_skipped{query="sizes",database="walk_2",reason="database"}"#;
    assert_eq!(samples.value(skipped), 1.0);
    assert!(samples.of("pg_exporter_query_error").is_empty());
}

#[tokio::test]
async fn a_password_that_is_rotated_while_the_connection_is_kept() {
    let server = Server::private();
    let [own, _other] = [("walk_1", 1), ("walk_2", 2)].map(|(name, value)| with_sizes(&server, name, value));
    let service = SecretsManagerServer::start(secret_of(&own, server.port(), PASSWORD));
    let queries = Queries::new(SIZES);
    let lambda = Lambda::start(with_secret(&queries, &own, &service)).await;
    lambda.initialised().await;
    assert_eq!(scrape(&lambda).await.of("sizes_v").len(), 2);
    server.admin(&format!("ALTER ROLE {ROLE} PASSWORD 'rotated-4Tq8'"));
    service.answer(secret_of(&own, server.port(), "rotated-4Tq8"));
    let before = service.calls().len();
    let samples = scrape(&lambda).await;
    assert_eq!((samples.of("sizes_v").len(), samples.of("pg_exporter_query_error").len()), (2, 0));
    assert_eq!(service.calls().len() - before, 1);
    assert_eq!(scrape(&lambda).await.of("sizes_v").len(), 2);
    assert_eq!(service.calls().len() - before, 1);
}

#[tokio::test]
async fn a_role_that_may_have_two_connections() {
    let server = Server::private();
    let databases: Vec<_> =
        (0..12).map(|index| with_sizes(&server, &format!("walk_{index:02}"), index)).collect();
    server.admin(&format!("ALTER ROLE {ROLE} CONNECTION LIMIT 2"));
    let lambda = function(&Queries::new(SIZES), &databases[0]).await;
    for _ in 0..3 {
        let samples = scrape(&lambda).await;
        assert_eq!((samples.of("sizes_v").len(), samples.of("pg_exporter_query_error").len()), (12, 0));
    }
}

#[tokio::test]
async fn databases_that_hang_at_the_login() {
    let server = Server::private();
    let databases: Vec<_> =
        (0..5).map(|index| with_sizes(&server, &format!("walk_{index}"), index)).collect();
    let lambda = function(&Queries::new(SIZES), &databases[4]).await;
    // A login waits for the lock.
    let mut renames = Vec::new();
    for index in 0..2 {
        let session = databases[4].session().await;
        session
            .batch_execute(&format!("BEGIN; ALTER DATABASE walk_{index} RENAME TO gone_{index}"))
            .await
            .unwrap();
        renames.push(session);
    }
    let event =
        || Event::recorded(Kind::HttpApi).header("x-prometheus-scrape-timeout-seconds", Some("6")).json();
    lambda.invoke(event(), AMPLE).await;
    for _ in 0..2 {
        let samples = samples(&lambda.invoke(event(), AMPLE).await);
        assert_eq!(samples.of("sizes_v").len(), 3, "{}", lambda.log());
        assert_eq!(samples.of("pg_exporter_query_error").len(), 2);
    }
    drop(renames);
    server.wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE query LIKE '%RENAME%' AND pid <> pg_backend_pid()").await;
    scrape(&lambda).await;
    assert_eq!(scrape(&lambda).await.of("sizes_v").len(), 5);
}

#[tokio::test]
async fn databases_that_cannot_be_listed() {
    let server = Server::private();
    let [own, _other] = [("walk_1", 1), ("walk_2", 2)].map(|(name, value)| with_sizes(&server, name, value));
    // Each database has its own rights on the shared table.
    own.admin("REVOKE SELECT ON pg_database FROM PUBLIC");
    let others = SIZES.replace("sizes:", "others:").replace("'walk*'", "walk_2").replace("own:", "third:");
    let text = format!("{SIZES}{others}");
    let queries = Queries::new(&text);
    let lambda = function(&queries, &own).await;
    let samples = scrape(&lambda).await;
    assert_eq!(samples.of("sizes_v").len(), 1);
    for query in ["sizes", "others"] {
        let error = format!(r#"pg_exporter_query_error{{query="{query}",reason="permission"}}"#);
        assert_eq!(samples.value(&error), 1.0, "{samples:?}");
    }
    assert_eq!(samples.value(r#"pg_exporter_query_success{query="own"}"#), 1.0);
    let terminal = Terminal::new().with("DATABASE_URL", own.url()).with("QUERIES_FILE", queries.path());
    let report = terminal.run(&["check", "--database"]).failed(1).output;
    assert!(report.contains("error: the databases cannot be listed: "), "{report}");
}
