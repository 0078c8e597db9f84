//! Faults of what is read when the function starts: it starts all the same, and says what is wrong.

use std::path::Path;
use std::process::Command;

use super::observed::logged;
use super::secrets::{QUERIES, is_complete, is_without_connection};
use crate::events::{Event, Kind};
use crate::lambda::{AMPLE, GOOD, Queries, environment, samples, secret_of, with_secret};
use crate::postgres::{PASSWORD, Server, TestDatabase};
use crate::runtime_api::{Answer, Lambda};
use crate::secrets_manager::SecretsManagerServer;

async fn start<'a>(variables: impl IntoIterator<Item = (&'a str, String)>) -> Lambda {
    let lambda = Lambda::start(variables).await;
    tokio::time::timeout(AMPLE, lambda.initialised()).await.expect("it starts");
    lambda
}

async fn scrape(lambda: &Lambda) -> Answer {
    lambda.invoke(Event::recorded(Kind::HttpApi).json(), AMPLE).await
}

/// A function with its database in Secrets Manager, and these variables beside its own or instead of them.
struct Function {
    lambda: Lambda,
    _database: TestDatabase,
    _service: SecretsManagerServer,
    _queries: Queries,
}

impl Function {
    async fn start(name: &str, variables: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let database = Server::shared().database(name);
        let service = SecretsManagerServer::start(secret_of(&database, database.server().port(), PASSWORD));
        let queries = Queries::new(QUERIES);
        let mut environment = with_secret(&queries, &database, &service);
        // The last value of a variable counts.
        environment.extend(variables);
        let lambda = start(environment).await;
        Self { lambda, _database: database, _service: service, _queries: queries }
    }

    /// Each of these variables is named in the log, and a scrape is told to look there.
    async fn answers_that_the_environment_is_wrong(&self, variables: &[&str]) {
        let answer = scrape(&self.lambda).await;
        assert_eq!(answer.status, 500, "{}", answer.text());
        for variable in variables {
            logged(&self.lambda, &["ERROR", "the environment cannot be used", &format!("{variable}: ")])
                .await;
        }
    }
}

fn pipe(path: &Path) -> String {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn empty_variables_of_the_aws_sdk() {
    let variables = [
        "AWS_CONFIG_FILE",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL_SECRETS_MANAGER",
        "AWS_ENDPOINT_URL_STS",
        "AWS_MAX_ATTEMPTS",
        "AWS_PROFILE",
        "AWS_RETRY_MODE",
        "AWS_SDK_UA_APP_ID",
        "AWS_SESSION_TOKEN",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_USE_FIPS_ENDPOINT",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
    ];
    let function = Function::start("start_empty", variables.map(|name| (name, String::new()))).await;
    is_complete(&samples(&scrape(&function.lambda).await));
}

#[tokio::test]
async fn variables_that_the_aws_sdk_cannot_read() {
    let variables = [
        ("AWS_ACCESS_KEY_ID", "line\nbreak"),
        ("AWS_ACCOUNT_ID_ENDPOINT_MODE", "sometimes"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "line\nbreak"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "credentials"),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "credentials"),
        ("AWS_DEFAULT_REGION", "eu central"),
        ("AWS_DISABLE_CLOCK_SKEW_CORRECTION", "yes"),
        ("AWS_DISABLE_REQUEST_COMPRESSION", "yes"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "metadata"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv5"),
        ("AWS_ENDPOINT_URL", "http://"),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "ftp://localhost"),
        ("AWS_ENDPOINT_URL_STS", " "),
        ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "yes"),
        ("AWS_MAX_ATTEMPTS", "0"),
        ("AWS_REGION", "eu-central-1\nx"),
        ("AWS_REQUEST_CHECKSUM_CALCULATION", "sometimes"),
        ("AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES", "-1"),
        ("AWS_RESPONSE_CHECKSUM_VALIDATION", "sometimes"),
        ("AWS_RETRY_MODE", "sometimes"),
        ("AWS_SESSION_TOKEN", "line\nbreak"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "yes"),
        ("AWS_USE_FIPS_ENDPOINT", "yes"),
    ];
    let given = variables.map(|(name, value)| (name, value.to_owned()));
    let function = Function::start("start_unreadable", given).await;
    function.answers_that_the_environment_is_wrong(&variables.map(|(name, _)| name)).await;
}

#[tokio::test]
async fn a_variable_that_the_aws_sdk_cannot_read_where_a_secret_says_who_may_scrape() {
    let variables = [
        ("AUTH", String::new()),
        ("AUTH_SECRET_ID", "exporter/auth".into()),
        ("AWS_MAX_ATTEMPTS", "0".into()),
    ];
    let function = Function::start("start_unreadable_auth", variables).await;
    let answer = scrape(&function.lambda).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    logged(&function.lambda, &["the environment cannot be used", "AWS_MAX_ATTEMPTS: "]).await;
}

#[tokio::test]
async fn a_variable_that_the_aws_sdk_cannot_read_where_it_is_not_used() {
    let database = Server::shared().database("start_unused");
    let queries = Queries::new(QUERIES);
    let variables = environment(&queries, database.url());
    let lambda = start(variables.into_iter().chain([("AWS_MAX_ATTEMPTS", "0".into())])).await;
    is_complete(&samples(&scrape(&lambda).await));
}

#[tokio::test]
async fn files_of_the_aws_sdk_that_are_switched_off_or_out_of_reach() {
    for (case, home) in [("null", "/dev/null"), ("file", "/etc/hostname"), ("missing", "/nowhere")] {
        let variables = [
            ("HOME", home.to_owned()),
            ("AWS_CONFIG_FILE", "/dev/null".into()),
            ("AWS_SHARED_CREDENTIALS_FILE", if case == "null" { String::new() } else { "/dev/null".into() }),
            ("AWS_EC2_METADATA_DISABLED", "1".into()),
        ];
        let function = Function::start(&format!("start_off_{case}"), variables).await;
        is_complete(&samples(&scrape(&function.lambda).await));
    }
}

/// A home folder with these files of the AWS SDK.
fn home(files: &[(&str, &str)]) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    for (name, text) in files {
        std::fs::write(home.path().join(".aws").join(name), text).unwrap();
    }
    home
}

#[tokio::test]
async fn retries_of_a_profile_that_the_aws_sdk_cannot_read() {
    let home = home(&[("config", "[default]\nmax_attempts = 0\nretry_mode = sometimes\n")]);
    let variables = [("HOME", home.path().to_str().unwrap().to_owned())];
    let function = Function::start("start_profile_retries", variables).await;
    is_complete(&samples(&scrape(&function.lambda).await));
    logged(&function.lambda, &["max_attempts or retry_mode of the AWS profile cannot be used"]).await;
}

#[tokio::test]
async fn a_profile_on_which_the_aws_sdk_panics() {
    let home = home(&[("config", "[default]\nendpoint_url =\n")]);
    let variables = [("AWS_ENDPOINT_URL", String::new()), ("HOME", home.path().to_str().unwrap().to_owned())];
    let function = Function::start("start_profile", variables).await;
    is_without_connection(&samples(&scrape(&function.lambda).await));
    logged(&function.lambda, &["no credentials", "the AWS profile or the credentials cannot be used"]).await;
}

#[tokio::test]
async fn credentials_on_which_the_aws_sdk_panics() {
    let text = "[default]\naws_access_key_id = AKIA\u{7f}\naws_secret_access_key = of-the-profile-1\n";
    let home = home(&[("credentials", text)]);
    let variables = [
        ("AWS_ACCESS_KEY_ID", String::new()),
        ("AWS_SECRET_ACCESS_KEY", String::new()),
        ("HOME", home.path().to_str().unwrap().to_owned()),
    ];
    let function = Function::start("start_credentials", variables).await;
    is_without_connection(&samples(&scrape(&function.lambda).await));
    logged(&function.lambda, &["no credentials", "the AWS profile or the credentials cannot be used"]).await;
}

/// The SDK logs what it cannot read, as a list of bytes.
#[tokio::test]
async fn credentials_that_are_no_text() {
    let home = home(&[]);
    let secret = "of-a-broken-profile-1";
    crate::leaks::register(secret);
    let text = [b"\xff[default]\naws_secret_access_key = ", secret.as_bytes()].concat();
    std::fs::write(home.path().join(".aws/credentials"), text).unwrap();
    let variables = [("HOME", home.path().to_str().unwrap().to_owned())];
    let function = Function::start("start_no_text", variables).await;
    is_complete(&samples(&scrape(&function.lambda).await));
}

#[tokio::test]
async fn files_of_the_aws_sdk_and_of_tls_that_are_pipes() {
    let folder = tempfile::tempdir().unwrap();
    let names = [
        "AWS_CONFIG_FILE",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "SSL_CERT_FILE",
    ];
    let variables: Vec<_> = names.iter().map(|name| (*name, pipe(&folder.path().join(name)))).collect();
    let function = Function::start("start_pipes", variables).await;
    function.answers_that_the_environment_is_wrong(&names).await;
    logged(&function.lambda, &["SSL_CERT_FILE: cannot be read: not a regular file"]).await;

    let home = home(&[]);
    pipe(&home.path().join(".aws/config"));
    let variables = [("HOME", home.path().to_str().unwrap().to_owned())];
    let function = Function::start("start_pipe_at_home", variables).await;
    function.answers_that_the_environment_is_wrong(&["AWS_CONFIG_FILE"]).await;
}

#[tokio::test]
async fn files_of_the_aws_sdk_and_of_tls_that_are_too_large() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large.pem");
    std::fs::File::create(&large).unwrap().set_len(1 << 40).unwrap();
    let names = ["AWS_CONFIG_FILE", "SSL_CERT_FILE"];
    let mut variables: Vec<_> = names.map(|name| (name, large.to_str().unwrap().to_owned())).into();
    variables.push(("SSL_CERT_DIR", folder.path().to_str().unwrap().to_owned()));
    let function = Function::start("start_large", variables).await;
    function.answers_that_the_environment_is_wrong(&[&names[..], &["SSL_CERT_DIR"]].concat()).await;
}

/// Without queries there is nothing to scrape.
async fn queries_cannot_be_read(file: &str, in_log: &str) {
    let variables = [
        ("AUTH", "none".to_owned()),
        ("DATABASE_URL", "postgres://somebody@localhost:1/somewhere".into()),
        ("QUERIES_FILE", file.to_owned()),
    ];
    let lambda = start(variables).await;
    let answer = scrape(&lambda).await;
    assert_eq!(answer.status, 500, "{}", answer.text());
    logged(&lambda, &["ERROR", in_log]).await;
}

#[tokio::test]
async fn queries_in_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let path = pipe(&folder.path().join("queries.yml"));
    queries_cannot_be_read(&path, "queries.yml: cannot be read: not a regular file").await;
}

#[tokio::test]
async fn queries_in_a_device() {
    queries_cannot_be_read("/dev/zero", "/dev/zero: cannot be read: not a regular file").await;
}

#[tokio::test]
async fn queries_that_are_too_large() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queries.yml");
    std::fs::write(&path, "#".repeat(300_000)).unwrap();
    queries_cannot_be_read(path.to_str().unwrap(), "queries.yml: cannot be read: larger than 256 KiB").await;
    for number in 0..6 {
        std::fs::write(folder.path().join(format!("{number}.yml")), "#".repeat(200_000)).unwrap();
    }
    queries_cannot_be_read(folder.path().to_str().unwrap(), "are larger than 1 MiB").await;
}

#[tokio::test]
async fn a_pipe_in_a_folder_of_queries() {
    let database = Server::shared().database("start_folder");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.yml"), GOOD).unwrap();
    pipe(&folder.path().join("b.yml"));
    let variables = [
        ("AUTH", "none".to_owned()),
        ("DATABASE_URL", database.url()),
        ("QUERIES_FILE", folder.path().to_str().unwrap().to_owned()),
    ];
    let lambda = start(variables).await;
    let samples = samples(&scrape(&lambda).await);
    assert_eq!(samples.of("good_v"), [("", 1.0)]);
    assert_eq!(samples.value("pg_exporter_last_scrape_error"), 1.0);
    logged(&lambda, &["b.yml: cannot be read: not a regular file"]).await;
}

#[tokio::test]
async fn root_certificates_in_a_pipe_or_a_device() {
    let database = Server::shared().database("start_roots");
    let folder = tempfile::tempdir().unwrap();
    let pipe = pipe(&folder.path().join("ca.crt"));
    let queries = Queries::new(QUERIES);
    for path in [&pipe, "/dev/zero"] {
        let url = database.url();
        let (url, _) = url.split_once("&sslrootcert").unwrap();
        let variables = environment(&queries, url.to_owned());
        let lambda = start(variables.into_iter().chain([("PGSSLROOTCERT", path.to_owned())])).await;
        is_without_connection(&samples(&scrape(&lambda).await));
        logged(&lambda, &["root certificates", path, "not a regular file"]).await;
        if path == pipe {
            std::fs::remove_file(&pipe).unwrap();
            std::fs::copy(database.server().authority(), &pipe).unwrap();
            is_complete(&samples(&scrape(&lambda).await));
        }
    }
}

#[tokio::test]
async fn authorities_of_rds_in_a_pipe() {
    let package = tempfile::tempdir().unwrap();
    pipe(&package.path().join("rds-authorities.pem"));
    let queries = Queries::new(QUERIES);
    let host = "shop.abc123.eu-central-1.rds.amazonaws.com.invalid";
    let variables = environment(&queries, format!("postgres://somebody@{host}/somewhere"));
    let package = ("LAMBDA_TASK_ROOT", package.path().to_str().unwrap().to_owned());
    let lambda = start(variables.into_iter().chain([package])).await;
    is_without_connection(&samples(&scrape(&lambda).await));
    logged(&lambda, &["no connection to the database", "cannot be resolved"]).await;
}
