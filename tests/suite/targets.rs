//! Many targets: the targets file, `/probe`, `/targets`, connections, and what targets may not do to each other.
//!
//! Each `tests/targets/*/NAME.yml` has beside it `NAME.expected`: the problems, and the targets.
//! `UPDATE_GOLDEN=1 cargo test` rewrites those.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use pg_lambda_exporter::config::{TargetEntry, TargetsFile};
use pg_lambda_exporter::connect_options::{Access, Login, Parts, Target};
use pg_lambda_exporter::problem::Severity;
use serde_json::{Value, json};

use crate::cli::{Said, Terminal};
use crate::events::{Event, Kind};
use crate::lambda::{AMPLE, GOOD, Queries, samples, secret_of, with_secret};
use crate::postgres::{PASSWORD, ROLE, Server, TestDatabase};
use crate::runtime_api::{Answer, Lambda};
use crate::samples::Samples;
use crate::secrets_manager::{self, SecretsManagerServer, Stored};

fn describe(entry: &TargetEntry) -> String {
    let mut text = format!("target {}", entry.name);
    for (name, value) in &entry.labels {
        let _ = write!(text, " {name}={value:?}");
    }
    let target = match &entry.access {
        None => return text + "\n  disabled\n",
        Some(Access::Known(target)) => target.clone(),
        Some(Access::Secret { id, own, defaults }) => {
            let _ = write!(text, "\n  secret {id}");
            let secret = r#"{"host": "in-secret", "username": "su", "password": "x", "dbname": "sd"}"#;
            Target::from_secret_with(secret, own, defaults).unwrap()
        }
    };
    let login = if matches!(target.login, Login::IamToken) { "token" } else { "password" };
    let Target { host, port, database, user, tls, .. } = target;
    let _ = writeln!(text, "\n  {host:?} {port} {database} {user} {login}\n  {tls:?}");
    text
}

fn report(file: &TargetsFile) -> String {
    let problem = |severity| match severity {
        Severity::Error => "error",
        Severity::Ignored => "ignored",
        Severity::Warning => "warning",
    };
    let problems = file.problems.iter().map(|found| format!("{}: {found}\n", problem(found.severity)));
    problems.chain(file.targets.iter().map(describe)).collect()
}

#[test]
fn targets_files_are_read_as_expected() {
    let mut differences = String::new();
    for folder in ["sound", "mistakes"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets").join(folder);
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "yml"));
        paths.sort();
        assert!(!paths.is_empty());
        for path in paths {
            let name = path.file_name().unwrap().to_str().unwrap();
            let found =
                report(&TargetsFile::parse(name, &fs::read_to_string(&path).unwrap(), &Parts::default()));
            assert!(!found.contains("hunter2"), "{found}");
            let expected = path.with_extension("expected");
            if env::var_os("UPDATE_GOLDEN").is_some() {
                fs::write(&expected, &found).unwrap();
            }
            let expected = fs::read_to_string(expected).unwrap_or_default();
            if found != expected {
                let _ = writeln!(differences, "--- {name} expected\n{expected}--- found\n{found}");
            }
        }
    }
    assert_eq!(differences, "", "UPDATE_GOLDEN=1 cargo test writes what is found");
}

/// A function with this targets file.
pub(crate) struct Many {
    pub(crate) lambda: Lambda,
    file: Queries,
}

impl Many {
    pub(crate) async fn start(queries: &Queries, targets: &str, more: &[(&'static str, &str)]) -> Self {
        let file = Queries::new(targets);
        let mut environment = vec![
            ("AUTH", "none".to_owned()),
            ("QUERIES_FILE", queries.path()),
            ("TARGETS_FILE", file.path()),
        ];
        environment.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let lambda = Lambda::start(environment).await;
        lambda.initialised().await;
        Self { lambda, file }
    }

    pub(crate) async fn get(&self, path: &str, query: &str) -> Answer {
        let event = Event::get(Kind::HttpApi, path);
        let event = if query.is_empty() { event } else { event.query(query) };
        self.lambda.invoke(event.json(), AMPLE).await
    }

    pub(crate) async fn probe(&self, name: &str) -> Samples {
        samples(&self.get("/probe", &format!("target={name}")).await)
    }
}

/// An entry of a targets file that leads to this database.
pub(crate) fn entry(name: &str, database: &TestDatabase) -> String {
    let (port, database) = (database.server().port(), database.name());
    format!(
        "{name}: {{host: 127.0.0.1, port: {port}, database: {database}, user: {ROLE}, sslmode: disable}}\n"
    )
}

pub(crate) const PASSWORDS: (&str, &str) = ("PGPASSWORD", PASSWORD);

/// The function's environment for a stand-in of Secrets Manager.
pub(crate) fn aws(url: &str) -> [(&'static str, &str); 4] {
    [
        ("AWS_ENDPOINT_URL", url),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ]
}

const WHERE: &str = "
place:
  query: SELECT current_database() AS name, pg_backend_pid() AS pid
  metrics: [{name: {usage: LABEL}}, {pid: {usage: GAUGE}}]
kept:
  query: SELECT current_database() AS name, 1 AS v
  cache_seconds: 600
  metrics: [{name: {usage: LABEL}}, {v: {usage: GAUGE}}]
";

#[tokio::test]
async fn each_target_is_probed_by_its_name() {
    let (one, two) = (Server::shared().database("targets_1"), Server::shared().database("targets_2"));
    let queries = Queries::new(WHERE);
    let bad = "bad: {host: 'a,b', user: x}\n";
    let text = entry("one", &one) + &entry("\"prod/two & more\"", &two) + bad;
    let many = Many::start(&queries, &text, &[PASSWORDS]).await;
    for _ in 0..2 {
        for (target, database) in [("one", "targets_1"), ("prod%2Ftwo%20%26%20more", "targets_2")] {
            let samples = many.probe(target).await;
            assert_eq!(samples.of("place_pid")[0].0, format!("{{name=\"{database}\"}}"));
            assert_eq!(samples.of("kept_v"), [(&*format!("{{name=\"{database}\"}}"), 1.0)]);
            assert_eq!(samples.value("pg_up"), 1.0);
        }
    }
    assert_eq!(many.probe("one").await.value("pg_exporter_connections"), 2.0);
    // Only the first scrape of the environment is a cold start.
    assert_eq!(many.probe("one").await.value("pg_exporter_cold_start"), 0.0);

    let chosen = samples(&many.get("/probe", "target=one&collect[]=place").await);
    assert!(chosen.of("kept_v").is_empty() && chosen.of("place_pid").len() == 1);
    let excluded = samples(&many.get("/probe", "target=one&exclude[]=place").await);
    assert!(excluded.of("place_pid").is_empty() && excluded.of("kept_v").len() == 1);

    let disabled = many.probe("bad").await;
    assert_eq!(disabled.value("pg_up"), 0.0);
    assert_eq!(disabled.value(r#"pg_exporter_target_error{target="bad",reason="config"}"#), 1.0);
    assert_eq!(disabled.value(r#"pg_exporter_query_error{query="place",reason="connection"}"#), 1.0);

    for (path, query, status, part) in [
        ("/metrics", "", 400, "/probe?target=NAME; /targets"),
        ("/probe", "", 400, "a probe needs one target"),
        ("/probe", "target=one&target=bad", 400, "a probe needs one target"),
        ("/probe", "target=", 404, "there are: one, prod/two & more, bad"),
        ("/probe", "target=127.0.0.1:5432", 404, "there are: one"),
        ("/probe", "target=one&collect[]=nothing", 400, "no query is named nothing"),
    ] {
        let answer = many.get(path, query).await;
        assert_eq!(answer.status, status, "{path} {query}");
        assert!(answer.text().contains(part), "{}", answer.text());
    }
    let head = Event::get(Kind::HttpApi, "/probe").query("target=one").method("HEAD");
    let head = many.lambda.invoke(head.json(), AMPLE).await;
    assert_eq!((head.status, head.text()), (200, String::new()));
    let log = many.lambda.log();
    let file = many.file.path();
    assert!(log.contains(&format!("{file}:3: bad.host: several hosts are not supported; name one")), "{log}");
    let line = log.lines().find(|line| line.contains("a mistake in the targets file disables this target"));
    assert!(line.unwrap().contains(r#""span":{"target":"bad","name":"scrape"}"#), "{log}");
}

#[tokio::test]
async fn each_kind_of_event_probes_and_lists() {
    let database = Server::shared().database("targets_kinds");
    let queries = Queries::new(GOOD);
    let many = Many::start(&queries, &entry("'a b'", &database), &[PASSWORDS]).await;
    for kind in Kind::ALL {
        let probe = Event::get(kind, "/probe").query("target=a%20b").json();
        assert_eq!(samples(&many.lambda.invoke(probe, AMPLE).await).of("good_v").len(), 1, "{kind:?}");
        let list = many.lambda.invoke(Event::get(kind, "/targets").json(), AMPLE).await;
        assert_eq!(list.status, 200);
        assert_eq!(list.headers["content-type"], "application/json");
        let list: Value = serde_json::from_str(&list.text()).unwrap();
        let path = if kind == Kind::RestApi { "/prod/probe" } else { "/probe" };
        assert_eq!(list[0]["labels"]["__metrics_path__"], path, "{kind:?}");
        assert_eq!(list[0]["labels"]["__scheme__"], "https");
        let host = list[0]["targets"][0].as_str().unwrap();
        assert!(host.ends_with(".amazonaws.com") || host.ends_with(".on.aws"), "{host}");
    }
}

#[tokio::test]
async fn the_list_has_all_targets_with_their_labels() {
    let queries = Queries::new(GOOD);
    let text = "shop: {secret: prod/shop, labels: {team: a}}\nbad: {port: x}\n";
    let service = SecretsManagerServer::start(secrets_manager::Answer::not_found());
    let url = service.url();
    let aws = aws(&url);
    let list = async |more: &[(&'static str, &str)], event: Event| {
        let many = Many::start(&queries, text, &[&aws[..], more].concat()).await;
        let answer = many.lambda.invoke(event.json(), AMPLE).await;
        serde_json::from_str::<Value>(&answer.text()).unwrap()
    };
    let expected = |host: &str, scheme: &str, path: &str| {
        let labels = |name| json!({"__scheme__": scheme, "__metrics_path__": path, "__param_target": name, "instance": name});
        let mut shop = labels("shop");
        shop["team"] = "a".into();
        json!([{"targets": [host], "labels": shop}, {"targets": [host], "labels": labels("bad")}])
    };
    let event = || Event::get(Kind::HttpApi, "/pg/targets");
    assert_eq!(
        list(&[], event()).await,
        expected("a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com", "https", "/pg/probe")
    );
    let plain = event().header("x-forwarded-proto", Some("http")).header("host", Some("localhost:9000"));
    assert_eq!(list(&[], plain).await, expected("localhost:9000", "http", "/pg/probe"));
    let public = [("PUBLIC_URL", "http://metrics.example.com:8080/db/")];
    assert_eq!(list(&public, event()).await, expected("metrics.example.com:8080", "http", "/db/probe"));
    assert!(service.calls().is_empty(), "the list needs no secret");
}

#[tokio::test]
async fn a_single_target_is_the_case_of_one() {
    let database = Server::shared().database("targets_single");
    let queries = Queries::new(GOOD);
    let service = SecretsManagerServer::start(secret_of(&database, database.server().port(), PASSWORD));
    for (name, named) in [(None, "targets_single"), (Some("the shop"), "the shop")] {
        let mut environment = with_secret(&queries, &database, &service);
        environment.extend(name.map(|name| ("TARGET_NAME", name.to_owned())));
        let lambda = Lambda::start(environment).await;
        lambda.initialised().await;
        let list = lambda.invoke(Event::get(Kind::HttpApi, "/targets").json(), AMPLE).await;
        let list: Value = serde_json::from_str(&list.text()).unwrap();
        assert_eq!(list.as_array().unwrap().len(), 1);
        assert_eq!(list[0]["labels"]["instance"], named);
        let event =
            Event::get(Kind::HttpApi, "/probe").query(&format!("target={}", named.replace(' ', "%20")));
        let probe = lambda.invoke(event.json(), AMPLE).await;
        let metrics = lambda.invoke(Event::get(Kind::HttpApi, "/metrics").json(), AMPLE).await;
        let names = |answer: &Answer| {
            let text = answer.text();
            let names: Vec<_> =
                text.lines().filter(|line| line.starts_with("# TYPE")).map(str::to_owned).collect();
            names
        };
        assert_eq!(names(&probe), names(&metrics));
        assert!(!metrics.text().contains("pg_exporter_connections"), "{}", metrics.text());
        let unknown =
            lambda.invoke(Event::get(Kind::HttpApi, "/probe").query("target=x").json(), AMPLE).await;
        assert_eq!(unknown.status, 404);
    }
    service.answer(secrets_manager::Answer::access_denied());
    let lambda = Lambda::start(with_secret(&queries, &database, &service)).await;
    lambda.initialised().await;
    let list = lambda.invoke(Event::get(Kind::HttpApi, "/targets").json(), AMPLE).await;
    assert_eq!(list.status, 503, "only the secret has the name");
}

#[tokio::test]
async fn authorization_is_in_front_and_a_targets_secret_is_none() {
    let database = Server::shared().database("targets_authorization");
    let queries = Queries::new(GOOD);
    let service = SecretsManagerServer::start(secret_of(&database, database.server().port(), PASSWORD));
    let file = Queries::new("shop: {secret: prod/shop}\n");
    let mut environment = with_secret(&queries, &database, &service);
    environment.retain(|(name, _)| !["AUTH", "DB_SECRET_ID"].contains(name));
    environment.push(("TARGETS_FILE", file.path()));
    // The digest of "token".
    let digest = "3c469e9d6c5875d37a43f353d4f88e61fcf812c66eee3457465a40b0da4153e0";
    environment.push(("AUTH_TOKEN_SHA256", digest.into()));
    let lambda = Lambda::start(environment).await;
    lambda.initialised().await;
    let basic = {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(format!("{ROLE}:{PASSWORD}"))
    };
    for path in ["/probe", "/targets", "/"] {
        let event = |authorization: Option<&str>| {
            Event::get(Kind::HttpApi, path).query("target=shop").header("authorization", authorization).json()
        };
        for refused in [None, Some("Bearer another"), Some(&*format!("Basic {basic}"))] {
            assert_eq!(lambda.invoke(event(refused), AMPLE).await.status, 401, "{path}");
        }
        assert_eq!(lambda.invoke(event(Some("Bearer token")), AMPLE).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn no_more_connections_are_open_than_allowed_and_the_kept_ones_stay() {
    let names: Vec<_> = (0..5).map(|index| format!("targets_kept_{index}")).collect();
    let databases: Vec<_> = names.iter().map(|name| Server::shared().database(name)).collect();
    let queries = Queries::new(WHERE);
    let text: String = databases.iter().map(|database| entry(database.name(), database)).collect();
    let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pg-lambda-exporter/%'
         AND datname LIKE 'targets_kept_%'";
    for (allowed, kept) in [("3", 2), ("5", 5), ("1", 0)] {
        let many = Many::start(&queries, &text, &[PASSWORDS, ("MAX_CONNECTIONS", allowed)]).await;
        let mut sessions: Vec<Vec<f64>> = Vec::new();
        for _ in 0..3 {
            let mut round = Vec::new();
            for (index, name) in names.iter().enumerate() {
                let samples = many.probe(name).await;
                round.push(samples.of("place_pid")[0].1);
                let expected = if sessions.is_empty() { kept.min(index + 1) } else { kept };
                assert_eq!(samples.value("pg_exporter_connections"), expected as f64, "{allowed} {name}");
                databases[0].server().wait_for(&format!("SELECT ({open}) = {expected}")).await;
            }
            sessions.push(round);
        }
        for (index, name) in names.iter().enumerate() {
            assert_eq!(sessions[0][index] == sessions[2][index], index < kept, "{allowed} {name}");
        }
        drop(many);
        databases[0].server().wait_for(&format!("SELECT ({open}) = 0")).await;
    }
}

#[tokio::test]
async fn the_landing_page_lists_the_targets() {
    let database = Server::shared().database("targets_landing");
    let queries = Queries::new("good: {query: SELECT 1 AS v}\nwrong: {query: SELECT 1/0 AS v}\n");
    let text =
        entry("\"a<b\"", &database) + "bad: {host: 'x,y', user: x}\nidle: {host: 127.0.0.1, user: x}\n";
    let many = Many::start(&queries, &text, &[PASSWORDS]).await;
    many.probe("a%3Cb").await;
    let page = many.get("/", "").await.text();
    let row = |name: &str| {
        page.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{page}")).to_owned()
    };
    let probed = row("<a href=\"/probe?target=a%3Cb\">a&lt;b</a>");
    assert!(
        probed.contains(">reachable</td>") && probed.contains("data-name=\"Failed queries\">1</td>"),
        "{probed}"
    );
    assert!(row("target=bad").contains("disabled by a mistake in the targets file"), "{page}");
    assert!(row("target=idle").contains("not scraped yet"), "{page}");
    assert!(page.contains("href=\"/targets\"") && !page.contains("href=\"/metrics\""), "{page}");
}

const TWO_TARGETS: &str = "shop: {secret: prod/shop}\nbad: {hots: db, user: x}\n";

#[test]
fn check_reads_a_targets_file() {
    let terminal = Terminal::new().file("targets.yml", TWO_TARGETS).file("queries.yml", GOOD);
    let mistakes = "error: targets.yml:2: bad.hots: unknown key; did you mean host?
error: targets.yml:2: bad: host: missing here, and PGHOST is not set; add it, or `secret`

1 target, 1 disabled, 2 errors, 0 warnings
";
    assert_eq!(terminal.run(&["check", "targets.yml"]).failed(1).output, mistakes);
    let with_queries = mistakes.replace("1 target,", "1 query, 1 target,");
    assert_eq!(terminal.run(&["check", "targets.yml", "queries.yml"]).failed(1).output, with_queries);
    // The file that the function would read.
    assert_eq!(terminal.run(&["check"]).failed(1).output, with_queries);
    let elsewhere = Terminal::new().file("any.yml", TWO_TARGETS).file("queries.yml", GOOD);
    let named = elsewhere.with("TARGETS_FILE", "any.yml");
    for arguments in [&["check"][..], &["check", "queries.yml"], &["check", "any.yml", "queries.yml"]] {
        let said = named.run(arguments).failed(1).output;
        assert_eq!(said, with_queries.replace("targets.yml", "any.yml"), "{arguments:?}");
    }
    let document = named.run(&["check", "--format", "json"]).failed(1).output;
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(
        document["targets"],
        json!([{"name": "shop", "disabled": false}, {"name": "bad", "disabled": true}])
    );
    assert_eq!(document["problems"][0]["file"], "any.yml");
    // One target by the variables, so that the file is none of the function's.
    let single = Terminal::new().file("targets.yml", TWO_TARGETS).file("queries.yml", GOOD);
    let single = single.with("DATABASE_URL", "postgres://a@localhost/b");
    assert_eq!(single.run(&["check"]).succeeded(), "1 query, 0 errors, 0 warnings\n");
}

#[test]
fn commands_take_the_name_of_a_target() {
    let (one, two) = (Server::shared().database("targets_cli_1"), Server::shared().database("targets_cli_2"));
    let text = entry("one", &one) + &entry("two", &two) + "bad: {host: 'a,b', user: x}\n";
    let terminal =
        Terminal::new().file("targets.yml", text).file("queries.yml", WHERE).with("PGPASSWORD", PASSWORD);
    for (target, database) in [("one", "targets_cli_1"), ("two", "targets_cli_2")] {
        let Said { status, output: exposition, .. } = terminal.run(&["scrape", "--target", target]);
        assert_eq!(status, 0);
        assert!(exposition.contains(&format!("place_pid{{name=\"{database}\"}}")), "{exposition}");
        let report = terminal.run(&["check", "--database", "--target", target]).failed(1).output;
        assert!(report.contains("\nplace\n") && report.contains("1 row, 1 series"), "{report}");
    }
    for command in [&["scrape"][..], &["check", "--database"]] {
        let said = terminal.run(command).failed(1);
        assert!(said.errors.contains("no target is named: use --target NAME"), "{}", said.errors);
        let said = terminal.run(&[command, &["--target", "three"]].concat()).failed(1);
        assert!(
            said.errors.contains("no target is named \"three\"; there are: one, two, bad"),
            "{}",
            said.errors
        );
    }
    let said = terminal.run(&["targets"]).failed(1);
    let expected = "  one  ok\n  two  ok\n  bad  cannot be used: the targets file has a mistake in it; run check to see it\n3 targets, 1 cannot be used\n";
    assert_eq!(said.output, expected);
    let single = Terminal::new().with("DATABASE_URL", one.url()).with("TARGET_NAME", "shop");
    assert_eq!(single.run(&["targets"]).succeeded(), "  shop  ok\n1 target\n");
}

#[test]
fn the_targets_command_shows_what_discovery_leaves_out() {
    let database = Server::shared().database("targets_listed");
    let stored = |name: &str, owner, answer| Stored { name: name.into(), tags: vec![], owner, answer };
    let service = SecretsManagerServer::storing(
        vec![
            stored("prod/shop", None, secret_of(&database, database.server().port(), PASSWORD)),
            stored("prod/key", None, secrets_manager::Answer::text("an API key")),
            stored("prod/warehouse", Some("redshift"), secrets_manager::Answer::not_found()),
            stored("prod/scrape", None, secrets_manager::Answer::text("a token")),
        ],
        100,
    );
    let mut terminal = Terminal::new().with("TARGETS_PREFIX", "prod/").with("AUTH_SECRET_ID", "prod/scrape");
    for (name, value) in aws(&service.url()) {
        terminal = terminal.with(name, value);
    }
    let said = terminal.run(&["targets"]).failed(1).output;
    for line in [
        "  prod/shop       ok\n",
        "  prod/scrape     left out: it authorizes scrapes\n",
        "  prod/warehouse  left out: the service redshift manages it\n",
        "2 targets, 1 cannot be used, 2 left out\n",
    ] {
        assert!(said.contains(line), "{said}");
    }
    let key = said.lines().find(|line| line.starts_with("  prod/key ")).unwrap();
    assert!(
        key.starts_with("  prod/key        cannot be used: ")
            && key.contains("neither a JSON object nor a URL"),
        "{key}"
    );
}

#[test]
fn a_targets_file_of_the_command_line_counts_with_its_variables() {
    let database = Server::shared().database("targets_named");
    let (port, name) = (database.server().port(), database.name());
    let terminal = Terminal::new()
        .file(
            "named.yml",
            format!("one: {{host: 127.0.0.1, port: {port}, database: {name}}}\ntwo: {{database: {name}}}\n"),
        )
        .file("queries.yml", GOOD)
        .with("PGUSER", ROLE)
        .with("PGPASSWORD", PASSWORD)
        .with("PGSSLMODE", "disable");
    let said = terminal.run(&["check", "named.yml"]).failed(1).output;
    assert!(
        said.contains("two: host: missing here, and PGHOST is not set") && !said.contains("PGUSER"),
        "{said}"
    );
    let database = ["check", "--database", "--target", "one", "queries.yml", "named.yml"];
    let report = terminal.run(&database).failed(1).output;
    assert!(report.contains("1 row, 1 series"), "{report}");
    let none = Terminal::new().file("queries.yml", GOOD).run(&["scrape"]).failed(1).errors;
    assert!(none.contains("TARGETS_FILE, TARGETS_TAG or TARGETS_PREFIX; set one of them"), "{none}");
}

/// Several environments have caches of different ages.
#[test]
fn a_cached_counter_is_an_error_unless_there_is_one_environment() {
    let text = "q: {query: SELECT 1 AS v_total, cache_seconds: 60, metrics: [{v_total: {usage: COUNTER}}]}\n";
    let terminal = Terminal::new().file("queries.yml", text);
    let said = terminal.run(&["check"]).failed(1).output;
    assert!(
        said.starts_with("error: queries.yml:1: q.cache_seconds: a cached COUNTER can step back"),
        "{said}"
    );
    assert!(said.ends_with("\n1 query, 1 error, 0 warnings\n"), "{said}");
    let one = terminal.with("RESERVED_CONCURRENCY", "1");
    assert!(one.run(&["check"]).succeeded().ends_with("\n1 query, 0 errors, 1 warning\n"));
}
