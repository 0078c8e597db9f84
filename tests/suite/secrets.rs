//! Where the database is and who connects: secrets' texts, URLs, variables, and Secrets Manager's answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as ProvideFuture;
use aws_sdk_secretsmanager::config::ProvideCredentials;
use aws_sdk_secretsmanager::config::{Credentials, SharedCredentialsProvider};
use pg_lambda_exporter::config::Naming;
use pg_lambda_exporter::connect_options::{
    Host, NAMES, Part, Parts, RootCertificates, SessionAttributes, SslMode, Target,
};
use pg_lambda_exporter::metric::LabelName;
use pg_lambda_exporter::problem::Problem;
use pg_lambda_exporter::secret::{Failure, SecretError, SecretsManager};
use pg_lambda_exporter::settings::{Authorization, Settings, Source};
use proptest::prelude::*;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::postgres::Port;
use crate::secrets_manager::{Answer, Call, SecretsManagerServer};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn describe(target: &Target) -> String {
    let host = match &target.host {
        Host::Tcp(host) => format!("host {host}"),
        Host::Socket(folder) => format!("socket {}", folder.display()),
    };
    let password = target.login.password().map_or("none".into(), |it| format!("{:?}", it.expose_secret()));
    let roots = match &target.tls.root_certificates {
        RootCertificates::Platform => "platform".into(),
        RootCertificates::PlatformAndRds(rds) => format!("{rds:?}"),
        RootCertificates::File(path) => path.display().to_string(),
    };
    format!(
        "{host}\nport {}\ndatabase {}\nuser {}\npassword {password}\nsslmode {:?}\nroots {roots}\n\
         channel binding {:?}\n{}",
        target.port,
        target.database,
        target.user,
        target.tls.mode,
        target.tls.channel_binding,
        target.connect_timeout.map_or(String::new(), |timeout| format!("connect timeout {timeout:?}\n"))
            + &target.options.as_ref().map_or(String::new(), |options| format!("options {options}\n"))
            + &match target.session_attributes {
                SessionAttributes::Any => String::new(),
                attributes => format!("session attributes {attributes:?}\n"),
            }
            + &target.warnings.iter().map(|warning| format!("warning {warning}\n")).collect::<String>(),
    )
}

fn describe_problems(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// Each text under tests/secrets beside what it comes to; NAME.env holds libpq's variables for NAME.
#[test]
fn texts_of_secrets_come_to_what_stands_beside_them() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(repository("tests/secrets")).unwrap() {
        let path = entry.unwrap().path();
        if !path.extension().is_some_and(|extension| extension == "json" || extension == "url") {
            continue;
        }
        count += 1;
        let text = fs::read_to_string(&path).unwrap();
        let result = Target::from_secret(&text, &defaults_beside(&path));
        let (actual, shown) = match &result {
            Ok(target) => (describe(target), format!("{target:?}")),
            Err(problems) => {
                (describe_problems(problems), format!("{problems:?}{}", describe_problems(problems)))
            }
        };
        assert!(!shown.contains("hunter2"), "{} shows the password: {shown}", path.display());
        let expected = path.with_extension("expected");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&expected, &actual).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != actual {
            wrong.push(format!("{}:\n{actual}", expected.display()));
        }
    }
    assert!(count > 40, "only {count} fixtures were found");
    assert!(wrong.is_empty(), "{}\nUPDATE_EXPECT=1 writes what is", wrong.join("\n"));
}

fn defaults_beside(path: &Path) -> Parts {
    let text = fs::read_to_string(path.with_extension("env")).unwrap_or_default();
    let mut parts = Parts::default();
    for (variable, value) in text.lines().map(|line| line.split_once('=').unwrap()) {
        let (.., part) = NAMES.iter().find(|(_, known, _)| *known == variable).unwrap();
        parts.set(*part, value).unwrap();
    }
    parts
}

fn password_of(text: &str) -> String {
    let target = Target::from_secret(text, &Parts::default()).unwrap();
    assert_eq!((target.host, target.user.as_str()), (Host::Tcp("db".into()), "exporter"));
    assert_eq!((target.database.as_str(), target.tls.mode), ("shop", SslMode::VerifyFull));
    target.login.password().map(|password| password.expose_secret().to_owned()).unwrap_or_default()
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

proptest! {
    #[test]
    fn a_password_comes_out_of_json_unchanged(password in "[^\0]*") {
        let text = json!({"host": "db", "username": "exporter", "dbname": "shop", "password": password});
        prop_assert_eq!(password_of(&text.to_string()), password);
    }

    #[test]
    fn a_percent_encoded_password_comes_out_unchanged(password in "[^\0]*") {
        let encoded = percent_encoded(&password);
        prop_assert_eq!(&password_of(&format!("postgres://exporter:{encoded}@db/shop")), &password);
        let option = format!("postgres://exporter@db/shop?password={encoded}");
        prop_assert_eq!(&password_of(&option), &password);
    }

    /// Ambiguous are only `?` and a `%` before two hexadecimal digits.
    #[test]
    fn a_raw_password_comes_out_unchanged(password in "([^\0?%]|%[g-z @/:#])*") {
        prop_assert_eq!(password_of(&format!("postgres://exporter:{password}@db/shop")), password);
    }

    #[test]
    fn no_text_is_a_panic(text in ".*", scheme in "|postgres://|\\{\"|\\{\"host\": *|postgres://[@:/?&=%\\[\\],a0]*") {
        let _ = Target::from_secret(&format!("{scheme}{text}"), &Parts::default());
        let _ = Target::from_url(&text, &Parts::default());
    }

    #[test]
    fn no_problem_repeats_a_password(password in "hunter2[@:/?&=%# a]{0,8}hunter2", suffix in "[@:/?&=%\\[,a]{0,8}") {
        for text in [
            format!("postgres://exporter:{password}@db{suffix}"),
            format!("postgres://exporter@db{suffix}?password={password}"),
            format!("postgres://exporter@db?password={password}{suffix}"),
        ] {
            if let Err(problems) = Target::from_secret(&text, &Parts::default()) {
                prop_assert!(!describe_problems(&problems).contains("hunter2"), "{:?} of {}", problems, text);
            }
        }
    }
}

type Variables<'a> = &'a [(&'a str, &'a str)];

fn settings(variables: Variables) -> Settings {
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    Settings::from_env(|name| variables.get(name).map(|value| (*value).to_owned()))
}

fn problems(variables: Variables) -> Vec<String> {
    settings(variables).problems().iter().map(ToString::to_string).collect()
}

/// A SHA-256 in hexadecimal.
const DIGEST: &str = "00FFa94c1cb6f8b35ba2c9ae4e6a3e4bb1d1f6f6b9b0a8d0b0ed7ac2f8c9d0E1";

#[test]
fn every_mistake_in_the_variables_is_named_at_once() {
    let neither = "DB_SECRET_ID: not set, and neither is DATABASE_URL, PGHOST, TARGETS_FILE, TARGETS_TAG or TARGETS_PREFIX; set one of them";
    let both = "DB_SECRET_ID: DATABASE_URL is set too; set one of the two";
    let auth =
        "AUTH: must be none or unset; to require a token, set AUTH_SECRET_ID or AUTH_TOKEN_SHA256 instead";
    let digest = |item| {
        format!(
            "AUTH_TOKEN_SHA256: item {item}: must be 64 hexadecimal digits, the SHA-256 of a token without its line break"
        )
    };
    let [first, second] = [digest(1), digest(2)];
    let port = "PGPORT: must be a number from 1 to 65535";
    let age = "SECRET_MAX_AGE: must be a time such as 90s or 5m, from 0s to 1day";
    let idle = "DB_IDLE_CLOSE: must be a time such as 90s or 5m, from 5s to 1day";
    let table: [(Variables, &[&str]); 24] = [
        (&[], &[neither]),
        (&[("DB_SECRET_ID", ""), ("DATABASE_URL", ""), ("PGHOST", "")], &[neither]),
        (&[("DB_SECRET_ID", "prod/db"), ("DATABASE_URL", "postgres://a@b/c")], &[both]),
        (&[("DB_SECRET_ID", "prod/db"), ("AUTH", "None")], &[auth]),
        (
            &[("PGHOST", "db"), ("PGUSER", "a"), ("SECRET_MAX_AGE", "5"), ("DB_IDLE_CLOSE", "0s")],
            &[age, idle],
        ),
        (&[("PGHOST", "db"), ("PGUSER", "a"), ("SECRET_MAX_AGE", "25h"), ("DB_IDLE_CLOSE", "5s")], &[age]),
        (&[("DB_SECRET_ID", "prod/db"), ("AUTH", "basic"), ("AUTH_SECRET_ID", "a")], &[auth]),
        (
            &[("DB_SECRET_ID", "prod/db"), ("AUTH", "none"), ("AUTH_SECRET_ID", "prod/scrape")],
            &["AUTH: AUTH_SECRET_ID is set too; set one of the two"],
        ),
        (
            &[("DB_SECRET_ID", "prod/db"), ("AUTH", "none"), ("AUTH_TOKEN_SHA256", DIGEST)],
            &["AUTH: AUTH_TOKEN_SHA256 is set too; set one of the two"],
        ),
        (
            &[("DB_SECRET_ID", "prod/db"), ("AUTH_SECRET_ID", "prod/scrape"), ("AUTH_TOKEN_SHA256", DIGEST)],
            &["AUTH_TOKEN_SHA256: AUTH_SECRET_ID is set too; set one of the two"],
        ),
        (&[("DB_SECRET_ID", "prod/db"), ("AUTH_TOKEN_SHA256", "hunter2")], &[&first]),
        (&[("DB_SECRET_ID", "prod/db"), ("AUTH_TOKEN_SHA256", &DIGEST.replacen('0', "", 1))], &[&first]),
        (&[("DB_SECRET_ID", "prod/db"), ("AUTH_TOKEN_SHA256", &format!("{DIGEST}00"))], &[&first]),
        (&[("DB_SECRET_ID", "prod/db"), ("AUTH_TOKEN_SHA256", &format!("{DIGEST},"))], &[&second]),
        (
            &[
                ("DB_SECRET_ID", "prod/db"),
                ("AUTH_TOKEN_SHA256", &format!("{DIGEST},{}", DIGEST.replacen('0', "g", 1))),
            ],
            &[&second],
        ),
        (&[("DB_SECRET_ID", "prod/db"), ("AUTH_TOKEN_SHA256", "§")], &[&first]),
        (&[("DB_SECRET_ID", "prod/db"), ("PGPORT", "0"), ("AUTH", "basic")], &[port, auth]),
        (
            &[("PGPORT", "x"), ("PGSSLMODE", "on")],
            &[port, "PGSSLMODE: must be disable, allow, prefer, require, verify-ca or verify-full", neither],
        ),
        (&[("PGHOST", "h1,h2")], &["PGHOST: several hosts are not supported; name one", "PGUSER: not set"]),
        (&[("PGHOST", "db")], &["PGUSER: not set"]),
        (
            &[("PGHOST", "db"), ("PGUSER", "a"), ("PGSSLMODE", "require"), ("PGSSLROOTCERT", "system")],
            &["PGSSLMODE: must be verify-full where sslrootcert is system"],
        ),
        (
            &[("DATABASE_URL", "mysql://a:hunter2@b")],
            &["DATABASE_URL: not a URL that begins with postgres:// or postgresql://"],
        ),
        (
            &[("DATABASE_URL", r#"{"host":"db","username":"a"}"#)],
            &["DATABASE_URL: not a URL that begins with postgres:// or postgresql://"],
        ),
        (
            &[("DATABASE_URL", "postgres://:hunter2@:x/?color=red")],
            &[
                "DATABASE_URL: port: must be a number from 1 to 65535",
                "DATABASE_URL: color: not an option that is supported here",
                "DATABASE_URL: host: missing here, and PGHOST is not set",
                "DATABASE_URL: user: missing here (in JSON it is username), and PGUSER is not set",
            ],
        ),
    ];
    for (variables, expected) in table {
        assert_eq!(problems(variables), expected, "{variables:?}");
    }
}

#[test]
fn a_secret_is_completed_from_libpqs_variables_when_it_is_there() {
    let settings = settings(&[("DB_SECRET_ID", "prod/db"), ("PGHOST", "db"), ("PGPASSWORD", "hunter2")]);
    assert!(!format!("{settings:?}").contains("hunter2"));
    assert_eq!((&settings.authorization, settings.problems()), (&Ok(Authorization::Locked), vec![]));
    let Ok(Source::Secret { id, defaults }) = settings.source else { panic!("{:?}", settings.source) };
    assert_eq!(id, "prod/db");
    let target = Target::from_secret(r#"{"username":"exporter","password":""}"#, &defaults).unwrap();
    assert_eq!(target.host, Host::Tcp("db".into()));
    assert_eq!(target.login.password().unwrap().expose_secret(), "hunter2");
}

#[test]
fn the_environment_alone_can_name_the_database() {
    let url = [("DATABASE_URL", "postgres://exporter@localhost/shop"), ("PGPORT", "5433")];
    let variables =
        [("PGHOST", "localhost"), ("PGUSER", "exporter"), ("PGDATABASE", "shop"), ("PGPORT", "5433")];
    for environment in [&url[..], &variables[..]] {
        let Ok(Source::Environment(target)) = settings(environment).source else { panic!() };
        assert_eq!((target.port, target.tls.mode), (5433, SslMode::Prefer));
        assert_eq!((target.user.as_str(), target.database.as_str()), ("exporter", "shop"));
    }
}

#[test]
fn variables_of_libpq_that_are_not_supported_are_named() {
    let variables = [
        ("PGHOST", "db"),
        ("PGUSER", "exporter"),
        ("PGSSLMODE", "no-verify"),
        ("PGSERVICE", "hunter2"),
        ("PGSSLCERT", "hunter2"),
        ("PGAPPNAME", "hunter2"),
    ];
    let Ok(Source::Environment(target)) = settings(&variables).source else { panic!() };
    assert_eq!(target.tls.mode, SslMode::Require);
    assert_eq!(
        target.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "PGSSLMODE: read as sslmode=require, which does not verify the server unless sslrootcert is a file",
            "PGSERVICE: not supported, and ignored",
            "PGSSLCERT: not supported, and ignored",
        ]
    );
}

#[test]
fn files_and_authorization_are_what_the_variables_say() {
    let base = ("DB_SECRET_ID", "prod/db");
    let said = settings(&[base, ("AUTH", "none"), ("QUERIES_FILE", "/q"), ("LAMBDA_TASK_ROOT", "/var/task")]);
    assert_eq!((&said.authorization, said.problems()), (&Ok(Authorization::Open), vec![]));
    let queries = said.queries.unwrap();
    assert_eq!(queries.file, Some("/q".into()));
    assert_eq!(queries.task_root, Some("/var/task".into()));
    let named = settings(&[base, ("AUTH", ""), ("AUTH_SECRET_ID", "prod/scrape")]);
    assert_eq!(named.authorization, Ok(Authorization::Secret { id: "prod/scrape".into() }));
    let two = format!(" {DIGEST},\t{} ", DIGEST.to_lowercase());
    let digests = settings(&[base, ("AUTH_SECRET_ID", ""), ("AUTH_TOKEN_SHA256", &two)]);
    let Ok(Authorization::TokenDigests(digests)) = digests.authorization else { panic!() };
    assert_eq!((digests.len(), digests[0]), (2, digests[1]));
    assert_eq!((digests[0][0], digests[0][1], digests[0][31]), (0x00, 0xff, 0xe1));
    let empty = [("AUTH", ""), ("AUTH_SECRET_ID", ""), ("AUTH_TOKEN_SHA256", ""), ("QUERIES_FILE", "")];
    let unsaid = settings(&[&[base], &empty[..]].concat());
    assert_eq!((&unsaid.authorization, unsaid.problems()), (&Ok(Authorization::Locked), vec![]));
    let queries = unsaid.queries.unwrap();
    assert_eq!((queries.file, queries.task_root, queries.naming), (None, None, Naming::default()));
}

#[test]
fn names_are_completed_as_the_variables_say() {
    let naming = |prefix, labels| {
        let said = [("DB_SECRET_ID", "x"), ("METRIC_PREFIX", prefix), ("EXTRA_LABELS", labels)];
        let problems = problems(&said);
        settings(&said).queries.map(|queries| queries.naming).map_err(|_| problems)
    };
    let label = |name, value: &str| (LabelName::new(name).unwrap(), value.to_owned());
    let labels = vec![label("server", "db1:5432"), label("q", "a=b"), label("empty", "")];
    let expected = Naming { prefix: "cnpg_".into(), labels };
    assert_eq!(naming("cnpg_", "server=db1:5432, q=a=b,empty=,").unwrap(), expected);
    let no_name = "is not allowed in it, only letters, digits and _, and no digit first";
    for (labels, problem) in [
        ("server", "must be pairs such as server=db1,env=prod".to_owned()),
        ("a b=c", format!("no label name: ' ' {no_name}")),
        ("__x=1", "no label name: Prometheus reserves label names that begin with __".to_owned()),
        ("a=1,a=2", "label a appears twice".to_owned()),
    ] {
        let prefix = format!("METRIC_PREFIX: metric names cannot begin so: '1' {no_name}");
        let expected = [prefix, format!("EXTRA_LABELS: {problem}")];
        assert_eq!(naming("1_", labels).unwrap_err(), expected);
    }
}

#[test]
fn the_documentation_has_every_variable_and_no_other() {
    let read = Mutex::new(BTreeSet::new());
    let _ = Settings::from_env(|name| {
        read.lock().unwrap().insert(name.to_owned());
        None
    });
    let text = fs::read_to_string(repository("docs/configuration.md")).unwrap();
    let (table, _) = text.split_once("\n## ").unwrap();
    let ignored = table.lines().find(|line| line.starts_with("Other variables of libpq ")).unwrap();
    let documented: BTreeSet<_> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(variable, _)| variable.to_owned())
        .chain(ignored.split('`').skip(1).step_by(2).map(str::to_owned))
        .collect();
    assert_eq!(documented, read.into_inner().unwrap());
}

#[test]
fn every_example_in_the_documentation_can_be_read() {
    let text = fs::read_to_string(repository("docs/configuration.md")).unwrap();
    let (_, text) = text.split_once("\n## The secret\n").unwrap();
    let (text, _) = text.split_once("\n## IAM authentication\n").unwrap();
    let mut defaults = Parts::default();
    defaults.set(Part::Host, "db.example.com").unwrap();
    let mut count = 0;
    for block in text.split("```").skip(1).step_by(2) {
        let (language, body) = block.split_once('\n').unwrap();
        let examples: Vec<_> = match language {
            "json" => vec![body],
            "url" => body.lines().collect(),
            other => panic!("a block in {other:?}: neither json nor url"),
        };
        for example in examples {
            Target::from_secret(example, &defaults)
                .unwrap_or_else(|problems| panic!("{example}\n{}", describe_problems(&problems)));
            count += 1;
        }
    }
    assert!(count >= 6, "only {count} examples were found");
}

const LIMIT: Duration = Duration::from_secs(20);

fn client(endpoint: &str, retries: Option<RetryConfig>) -> SecretsManager {
    let credentials = Credentials::new("AKIDEXAMPLE", "not-a-key", None, None, "tests");
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(credentials));
    config.set_retry_config(retries);
    SecretsManager::new(&config.build())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn fetch(client: &SecretsManager, limit: Duration) -> Result<String, SecretError> {
    runtime().block_on(client.fetch("prod/db", limit)).map(|text| text.expose_secret().to_owned())
}

#[test]
fn a_secret_is_asked_for_in_the_services_protocol() {
    let server = SecretsManagerServer::start(Answer::text("postgres://exporter@db/shop"));
    let client = client(&server.url(), None);
    assert_eq!(fetch(&client, LIMIT).unwrap(), "postgres://exporter@db/shop");
    let calls = server.calls();
    let call = Call {
        port: calls[0].port,
        request_line: "POST / HTTP/1.1".into(),
        target: "secretsmanager.GetSecretValue".into(),
        secret_id: "prod/db".into(),
        signed: true,
    };
    assert_eq!(calls, [call]);
    server.answer(Answer::bytes("postgres://ü@db".as_bytes()));
    assert_eq!(fetch(&client, LIMIT).unwrap(), "postgres://ü@db");
}

#[test]
fn each_failure_is_told_from_the_others_and_passes_when_the_service_recovers() {
    let unreadable = "the answer cannot be read";
    let table = [
        (Answer::not_found(), Failure::NotFound),
        (Answer::access_denied(), Failure::Denied),
        (Answer::error(400, "ExpiredTokenException", "The security token has expired"), Failure::Denied),
        (Answer::error(400, "UnrecognizedClientException", "The token is invalid."), Failure::Denied),
        (Answer::error(400, "InvalidSignatureException", "Signature expired"), Failure::Denied),
        (Answer::Body(403, "<html>".into()), Failure::Denied),
        (Answer::throttled(), Failure::Throttled),
        (Answer::Body(429, String::new()), Failure::Throttled),
        (Answer::error(400, "DecryptionFailure", "The key is disabled"), Failure::Decryption),
        (Answer::internal_error(), Failure::Unavailable),
        (Answer::Body(503, "<html>busy</html>".into()), Failure::Unavailable),
        (
            Answer::error(400, "InvalidRequestException", "The secret was marked for deletion."),
            Failure::Other,
        ),
        (Answer::Body(404, String::new()), Failure::Other),
        (Answer::garbage(), Failure::Unusable(unreadable)),
        (Answer::Body(200, "{}".into()), Failure::Unusable("the answer holds neither a string nor bytes")),
        (Answer::text(""), Failure::Unusable("it is empty")),
        (Answer::bytes(b"\xff"), Failure::Unusable("its bytes are not UTF-8")),
        (Answer::Half, Failure::Unreachable),
        (Answer::Reset, Failure::Unreachable),
    ];
    let server = SecretsManagerServer::start(Answer::Silence);
    let client = client(&server.url(), None);
    for (answer, expected) in table {
        server.answer(answer.clone());
        let error = fetch(&client, LIMIT).unwrap_err();
        assert_eq!(error.failure, expected, "{answer:?}: {error}");
        let line = error.to_string();
        assert!(line.starts_with("secret \"prod/db\": ") && !line.contains('\n'), "{line}");
        assert!(!line.contains("half of this"), "{line}");
        server.answer(Answer::text("recovered"));
        assert_eq!(fetch(&client, LIMIT).unwrap(), "recovered", "after {answer:?}");
    }
}

#[test]
fn what_the_service_says_reaches_the_log() {
    let server = SecretsManagerServer::start(Answer::access_denied());
    let client = client(&server.url(), None);
    let line = || fetch(&client, LIMIT).unwrap_err().to_string();
    let denied = line();
    assert!(
        denied.starts_with("secret \"prod/db\": access denied: AccessDeniedException: User: arn:aws:sts"),
        "{denied}"
    );
    server.answer(Answer::error(400, "InvalidRequestException", "The secret was\nmarked for deletion."));
    assert_eq!(
        line(),
        "secret \"prod/db\": the request failed: InvalidRequestException: The secret was marked for deletion."
    );
    server.answer(Answer::Body(503, "<html>busy</html>".into()));
    assert_eq!(line(), "secret \"prod/db\": the service is unavailable: HTTP status 503");
    // A broken answer of success may hold the secret, so nothing of it is repeated.
    server.answer(Answer::Body(200, r#"{"SecretString":hunter2"#.into()));
    assert_eq!(line(), "secret \"prod/db\": unusable: the answer cannot be read");
}

#[test]
fn a_service_that_never_answers_costs_no_more_than_the_limit() {
    let server = SecretsManagerServer::start(Answer::Silence);
    let begun = Instant::now();
    let error = fetch(&client(&server.url(), None), Duration::from_millis(300)).unwrap_err();
    assert_eq!(error.failure, Failure::TimedOut);
    // Far above the limit and below the timeout of one attempt.
    assert!(begun.elapsed() < Duration::from_millis(1900), "{:?}", begun.elapsed());
}

#[test]
fn a_fault_is_retried_and_a_refusal_is_not() {
    let count = |answer, retries| {
        let server = SecretsManagerServer::start(answer);
        fetch(&client(&server.url(), retries), LIMIT).unwrap_err();
        server.calls().len()
    };
    assert_eq!(count(Answer::internal_error(), None), 3);
    assert_eq!(count(Answer::throttled(), None), 3);
    assert_eq!(count(Answer::internal_error(), Some(RetryConfig::standard().with_max_attempts(1))), 1);
    assert_eq!(count(Answer::access_denied(), None), 1);
    assert_eq!(count(Answer::not_found(), None), 1);
}

/// After a freeze, a connection from before it may be dead without anybody having said so.
#[test]
fn no_connection_is_kept_between_fetches() {
    let server = SecretsManagerServer::start(Answer::text("postgres://exporter@db/shop"));
    let client = client(&server.url(), None);
    let runtime = runtime();
    for _ in 0..2 {
        runtime.block_on(client.fetch("prod/db", LIMIT)).unwrap();
    }
    let ports: Vec<_> = server.calls().iter().map(|call| call.port).collect();
    assert!(ports.len() == 2 && ports[0] != ports[1], "{ports:?}");
}

#[test]
fn a_closed_port_is_unreachable() {
    let closed = Port::reserve();
    let error = fetch(&client(&format!("http://127.0.0.1:{}", closed.number()), None), LIMIT).unwrap_err();
    assert_eq!(error.failure, Failure::Unreachable, "{error}");
}

/// What the SDK's default chain says when it has looked everywhere.
#[derive(Debug)]
struct NoCredentials;

impl ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> ProvideFuture<'a>
    where
        Self: 'a,
    {
        ProvideFuture::ready(Err(CredentialsError::not_loaded("nothing is configured")))
    }
}

#[test]
fn without_region_or_credentials_the_error_says_what_to_set() {
    let server = SecretsManagerServer::start(Answer::text("never read"));
    let fetch_in = |region: Option<Region>| {
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(server.url())
            .region(region)
            .credentials_provider(SharedCredentialsProvider::new(NoCredentials))
            .build();
        fetch(&SecretsManager::new(&config), LIMIT).unwrap_err()
    };
    assert_eq!(fetch_in(None).to_string(), "secret \"prod/db\": no AWS region; set AWS_REGION");
    let error = fetch_in(Some(Region::new("eu-central-1")));
    assert_eq!(error.failure, Failure::NoCredentials, "{error}");
    assert_eq!(server.calls(), []);
}
