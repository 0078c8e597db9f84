//! The real binary as somebody at a terminal starts it, without Lambda and with an environment of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::lambda::SECRET_KEY;
use crate::leaks;
use crate::pgbouncer::Pgbouncer;
use crate::postgres::{Port, Server};
use crate::samples::Samples;
use crate::secrets_manager::{Answer, SecretsManagerServer};

const GOOD: &str = "
good:
  query: SELECT 1 AS v
  metrics: [{v: {usage: GAUGE, description: One}}]
other_good:
  query: SELECT 2 AS v
  metrics: [{v: {usage: COUNTER, name: v_total}}]
";

/// A folder that is home and working folder, and the environment.
pub(crate) struct Terminal {
    home: tempfile::TempDir,
    folder: PathBuf,
    environment: Vec<(&'static str, String)>,
}

/// What a command said.
pub(crate) struct Said {
    pub(crate) status: i32,
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { folder: home.path().to_owned(), home, environment: vec![] }
    }

    /// In a folder of tests/cli.
    fn in_case(name: &str) -> Self {
        Self { folder: case(name), ..Self::new() }
    }

    pub(crate) fn with(mut self, variable: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((variable, value.into()));
        self
    }

    pub(crate) fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.folder.join(name), text).unwrap();
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pg-lambda-exporter"));
        command.args(arguments);
        self.prepare(&mut command);
        command
    }

    fn prepare(&self, command: &mut Command) {
        command.env_clear().env("HOME", self.home.path()).current_dir(&self.folder);
        command.envs(self.environment.iter().cloned()).stdin(Stdio::null());
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        self.output(&mut self.command(arguments))
    }

    /// What a command says here, which may be a shell's.
    pub(crate) fn output(&self, command: &mut Command) -> Said {
        self.prepare(command);
        leaks::register_environment(command.get_envs());
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let said = Said {
            status: status.code().expect("ended by a signal"),
            output: text(stdout),
            errors: text(stderr),
        };
        // In every query of these tests that is there to be kept back.
        assert!(!said.output.contains("canary") && !said.errors.contains("canary"), "{}", said.all());
        leaks::assert_none("what a command says", &said.all());
        said
    }
}

impl Said {
    fn all(&self) -> String {
        format!("status {}\n{}\n{}", self.status, self.output, self.errors)
    }

    #[track_caller]
    pub(crate) fn succeeded(self) -> String {
        assert_eq!((self.status, self.errors.as_str()), (0, ""), "{}", self.all());
        self.output
    }

    #[track_caller]
    pub(crate) fn failed(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{}", self.all());
        self
    }
}

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli").join(name)
}

#[track_caller]
fn assert_expected(name: &str, actual: &str) {
    let expected = std::fs::read_to_string(case(name)).unwrap_or_default();
    assert_eq!(actual, expected, "tests/cli/{name} differs from:\n{actual}");
}

#[test]
fn without_arguments_it_says_what_it_is() {
    let said = Terminal::new().run(&[]).failed(2);
    assert_eq!(said.output, "");
    for part in ["AWS Lambda", "check queries.yml", "scrape", "verify URL", "cargo lambda watch", "--help"] {
        assert!(said.errors.contains(part), "{part}: {}", said.errors);
    }
}

#[test]
fn help_and_version_are_results() {
    let help = Terminal::new().run(&["--help"]).succeeded();
    for arguments in [&["-h"][..], &["help"], &["check", "--help"], &["scrape", "-h"], &["verify", "-h"]] {
        assert_eq!(Terminal::new().run(arguments).succeeded(), help);
    }
    for option in [
        "--database",
        "--format",
        "--openmetrics",
        "--collect",
        "--token-file",
        "--password-file",
        "--timeout",
        "--version",
        "DATABASE_URL",
    ] {
        assert!(help.contains(option), "{option}");
    }
    let version = format!("pg-lambda-exporter {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(Terminal::new().run(&["--version"]).succeeded(), version);
    assert_eq!(Terminal::new().run(&["check", "-V"]).succeeded(), version);
}

#[test]
fn what_is_printed_without_a_file_fits_80_columns_and_shows_how_to_begin() {
    let help = Terminal::new().run(&["--help"]).succeeded();
    let introduction = Terminal::new().run(&[]).failed(2).errors;
    for line in help.lines().chain(introduction.lines()) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    for command in ["check", "scrape", "verify"] {
        let (_, part) = help.split_once(&format!("\n{command}: ")).unwrap();
        let (_, example) = part.split_once("Example:\n").unwrap();
        let example = example.lines().next().unwrap();
        assert!(example.contains(&format!("pg-lambda-exporter {command}")), "{example}");
    }
}

#[test]
fn wrong_arguments_are_named() {
    for (arguments, named) in [
        (&["chekc"][..], "unknown command \"chekc\"; use check, scrape, targets or verify"),
        (&["--frobnicate"], "'--frobnicate'"),
        (&["check", "--openmetrics"], "'--openmetrics'"),
        (&["check", "--format"], "'--format'"),
        (&["check", "--format", "xml"], "\"xml\": it must be text or json"),
        (&["check", "--database=yes"], "'--database'"),
        (&["scrape", "queries.yml"], "\"queries.yml\"; set QUERIES_FILE"),
        (&["scrape", "--collect"], "'--collect'"),
        (&["verify"], "a URL is expected"),
        (&["verify", "https://a/", "https://b/"], "one URL is expected"),
        (&["verify", "ftp://a/metrics"], "the URL must be https://HOST/metrics"),
        (&["verify", "https://a:abc/metrics"], "the URL must be https://HOST/metrics"),
        (&["verify", "https://a:0/metrics"], "the URL must be https://HOST/metrics"),
        (&["verify", "a.example"], "the URL must be https://HOST/metrics"),
        (&["verify", "https://me:canary@host/metrics"], "the URL must not have a user or a password"),
        (&["verify", "http://a/", "--token-file", "t"], "the URL must begin with https://"),
        (&["verify", "https://a/", "--user", "u"], "--user and --password-file must be given together"),
        (&["verify", "https://a/", "--password-file", "f"], "must be given together"),
        (&["verify", "https://a/", "--user", "u:v", "--password-file", "f"], "--user must not contain"),
        (
            &["verify", "https://a/", "--token-file", "t", "--user", "u", "--password-file", "f"],
            "--token-file excludes",
        ),
        (&["verify", "https://a/", "--timeout", "0"], "seconds or a time such as 20s"),
        (&["verify", "https://a/", "--timeout", "16m"], "seconds or a time such as 20s"),
        (&["verify", "https://a/", "--timeout", "-1"], "seconds or a time such as 20s"),
    ] {
        let said = Terminal::new().run(arguments).failed(2);
        assert_eq!(said.output, "");
        assert!(
            said.errors.contains(named) && said.errors.contains("--help"),
            "{arguments:?}: {}",
            said.errors
        );
    }
}

#[test]
fn a_check_prints_every_mistake_with_its_place() {
    let terminal = Terminal::in_case("mistakes");
    let said = terminal.run(&["check", "queries.yml"]).failed(1);
    assert_eq!(said.errors, "");
    assert_expected("mistakes/expected.txt", &said.output);
    let said = terminal.run(&["check", "--format", "json", "queries.yml"]).failed(1);
    assert_eq!(said.errors, "");
    assert_expected("mistakes/expected.json", &said.output);
    let document: Value = serde_json::from_str(&said.output).unwrap();
    assert_eq!(document["problems"].as_array().unwrap().len(), 4);
}

#[test]
fn a_warning_does_not_fail_a_check_and_an_unknown_key_does() {
    let twice = format!("{GOOD}{GOOD}");
    let output = Terminal::new().file("queries.yml", twice).run(&["check"]).succeeded();
    assert!(output.starts_with("warning: queries.yml:9: good: "), "{output}");
    assert!(output.ends_with("2 queries, 0 errors, 2 warnings\n"), "{output}");
    let unknown = GOOD.replace("{usage: GAUGE,", "{usage: GAUGE, colour: red,");
    let said = Terminal::new().file("queries.yml", unknown).run(&["check"]).failed(1);
    assert!(
        said.output.starts_with("error: queries.yml:4: good.metrics[0].v.colour: unknown key"),
        "{}",
        said.output
    );
    assert!(said.output.ends_with("2 queries, 1 error, 0 warnings\n"), "{}", said.output);
    let said = Terminal::new().file("queries.yml", "# nothing\n").run(&["check"]).failed(1);
    assert!(said.output.ends_with("no query that can run, 0 errors, 1 warning\n"), "{}", said.output);
}

#[test]
fn yaml_that_cannot_be_read_has_its_line() {
    let terminal = Terminal::new().file("broken.yml", "a:\n  query: SELECT 1\n b: [\n");
    let said = terminal.run(&["check", "broken.yml", "--format=json"]).failed(1);
    let document: Value = serde_json::from_str(&said.output).unwrap();
    assert_eq!(document["problems"][0]["severity"], "error");
    assert_eq!(document["problems"][0]["file"], "broken.yml");
    assert!(
        document["problems"][0]["line"].as_u64().is_some_and(|line| (2..=4).contains(&line)),
        "{document}"
    );
    assert_eq!(document["queries"], 0);
}

#[test]
fn a_check_reads_what_it_is_given_or_what_the_function_would() {
    let one = "one: {query: SELECT 1 AS v}\n";
    let queries = |terminal: &Terminal, arguments: &[&str]| {
        let document: Value = serde_json::from_str(
            &terminal.run(&[&["check", "--format=json"], arguments].concat()).succeeded(),
        )
        .unwrap();
        document["queries"].as_u64().unwrap()
    };
    let terminal = Terminal::new().file("queries.yml", GOOD).file("one.yml", one);
    assert_eq!(queries(&terminal, &[]), 2);
    assert_eq!(queries(&terminal, &["one.yml"]), 1);
    assert_eq!(queries(&terminal, &["one.yml", "queries.yml"]), 3);
    assert_eq!(queries(&terminal, &["."]), 3);
    let terminal =
        terminal.with("QUERIES_FILE", "one.yml").with("AUTH", "nonsense").with("PGPORT", "nonsense");
    assert_eq!(queries(&terminal, &[]), 1);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let terminal = Terminal::new().file("latin1.yml", b"a: {query: SELECT '\xe4'}");
    for (file, named) in
        [("nowhere.yml", "cannot read nowhere.yml: "), ("latin1.yml", "latin1.yml: is not UTF-8")]
    {
        let said = terminal.run(&["check", file]).failed(1);
        assert_eq!(said.output, "");
        assert!(said.errors.starts_with(&format!("pg-lambda-exporter: {named}")), "{}", said.errors);
    }
    let said = terminal.run(&["check"]).failed(1);
    assert!(said.errors.contains("no query file"), "{}", said.errors);
}

#[test]
fn a_file_of_another_exporter_is_one_sentence_that_leads_to_its_migration() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let migration = std::fs::read_to_string(root.join("docs/migration.md")).unwrap();
    let anchors: Vec<_> = migration
        .lines()
        .filter(|line| line.starts_with("##"))
        .map(|line| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-").replace('.', ""))
        .collect();
    for file in [
        "config_map",
        "sql_exporter_collector",
        "sql_exporter_collectors",
        "sql_exporter_jobs",
        "query_exporter",
        "pg_exporter",
    ] {
        let path = root.join(format!("tests/queries/mistakes/{file}.yml"));
        let said = Terminal::new().run(&["check", path.to_str().unwrap()]).failed(1).output;
        let errors: Vec<_> = said.lines().filter(|line| line.starts_with("error: ")).collect();
        let [error] = errors[..] else { panic!("{said}") };
        let (_, anchor) = error.rsplit_once("docs/migration.md#").unwrap();
        assert!(anchors.iter().any(|known| known == anchor), "{anchor} in {anchors:?}");
    }
}

/// Durations are the only thing in a report that is not the same each time.
pub(crate) fn without_durations(report: &str) -> String {
    let line = |line: &str| match line.strip_suffix(" ms").and_then(|line| line.rsplit_once(' ')) {
        Some((before, duration)) => {
            assert!(duration.parse::<f64>().unwrap() >= 0.0, "{line}");
            format!("{before} … ms\n")
        }
        None => format!("{line}\n"),
    };
    report.lines().map(line).collect()
}

#[test]
fn a_check_with_a_database_says_what_becomes_of_each_column() {
    let database = Server::shared().database("cli_check");
    let terminal = Terminal::in_case("database").with("DATABASE_URL", database.url());
    let said = terminal.run(&["check", "--database"]).failed(1);
    assert_eq!(said.errors, "");
    assert_expected("database/expected.txt", &without_durations(&said.output));
    assert_eq!(database.admin_cell("SELECT to_regclass('canary') IS NULL"), "t");

    let said = terminal.run(&["check", "--database", "--format=json"]).failed(1);
    let document: Value = serde_json::from_str(&said.output).unwrap();
    assert_eq!(document.get("warning"), None, "{document:#}");
    let trials = document["database"].as_array().unwrap();
    assert_eq!(trials.len(), 9);
    assert_eq!(
        trials[0]["columns"][1],
        json!({"name": "size", "type": "numeric(10,2)", "becomes": "gauge sizes_size"})
    );
    assert_eq!(trials[2]["columns"][0]["type"], Value::Null);
    assert_eq!((&trials[2]["rows"], &trials[2]["series"]), (&json!(3), &json!(2)));
    assert_eq!(trials[2]["dropped"], json!({"null": 1}));
    assert_eq!(trials[3]["dropped"], json!({"duplicate": 1}));
    assert_eq!(trials[4]["failures"], json!(["division_by_zero (SQLSTATE 22012)"]));
    assert_eq!(trials[8]["failures"], json!([]));
}

/// The types are asked on the connection that runs the queries, which finds nothing of that.
#[test]
fn a_check_with_a_database_needs_one_connection() {
    let database = Server::shared().database("cli_single");
    database.admin(
        "CREATE TYPE mood AS ENUM ('ok'); CREATE TYPE colour AS ENUM ('red');
         CREATE ROLE single LOGIN CONNECTION LIMIT 1",
    );
    let file = "
a: {query: \"SELECT 'ok'::mood AS l, 1 AS v\", metrics: [{l: {usage: LABEL}}]}
refused: {query: SELECT v FROM nowhere}
b: {query: \"SELECT 'red'::colour AS l, 1 AS v\", metrics: [{l: {usage: LABEL}}]}
none: {query: SELECT 1 / (count(*) = 0)::int AS v FROM pg_prepared_statements}
alone: {query: SELECT 1 / (now() = statement_timestamp())::int AS v}
large: {query: \"SELECT repeat('x', 99000000) AS l, 1 AS v\", metrics: [{l: {usage: LABEL}}]}
ended: {query: SELECT pg_terminate_backend(pg_backend_pid())}
sessions: {query: SELECT count(*) AS v FROM pg_stat_activity}
";
    let url = format!(
        "postgres:///{}?host={}&port={}&user=single",
        database.name(),
        database.server().socket_folder().display(),
        database.server().port()
    );
    let terminal = Terminal::new().file("queries.yml", file).with("DATABASE_URL", url);
    let said = terminal.run(&["check", "--database", "--format=json"]).failed(1);
    let document: Value = serde_json::from_str(&said.output).unwrap();
    // The role has no pg_monitor, which no query notices.
    assert!(document["warning"].as_str().unwrap().ends_with("grant it pg_monitor"), "{document:#}");
    let trials = document["database"].as_array().unwrap();
    assert_eq!(trials.len(), 8, "{document:#}");
    for trial in trials {
        let fails = ["refused", "large", "ended"].contains(&trial["query"].as_str().unwrap());
        assert_eq!(trial["failures"] != json!([]), fails, "{trial:#}");
    }
    for (trial, type_name) in [(0, "mood"), (2, "colour"), (7, "bigint")] {
        assert_eq!(trials[trial]["columns"][0]["type"], type_name, "{document:#}");
    }
    database.admin("DROP ROLE single");
}

/// A table that is locked keeps its columns from being told, and nothing else.
#[tokio::test]
async fn a_check_with_a_database_runs_what_it_cannot_describe() {
    let database = Server::shared().database("cli_locked");
    database.admin("CREATE TABLE busy (v int); GRANT SELECT ON busy TO PUBLIC");
    let session = database.session().await;
    session.batch_execute("BEGIN; LOCK TABLE busy").await.unwrap();
    let file = format!("busy: {{query: SELECT v FROM busy, timeout: 50ms}}\n{GOOD}");
    let terminal = Terminal::new().file("queries.yml", file).with("DATABASE_URL", database.url());
    let said = terminal.run(&["check", "--database", "--format=json"]).failed(1);
    let document: Value = serde_json::from_str(&said.output).unwrap();
    assert_eq!(document["database"][0]["failures"], json!(["timed out"]), "{document:#}");
    assert_eq!(document["database"][1]["failures"], json!([]), "{document:#}");
    assert_eq!(document["database"][1]["columns"][0]["type"], "integer", "{document:#}");
}

/// Once before the first query, and once during one.
#[tokio::test]
async fn a_check_with_a_database_says_what_did_not_run() {
    let database = Server::shared().database("cli_ended");
    database.admin("CREATE TABLE busy (v int); GRANT SELECT ON busy TO PUBLIC; CREATE ROLE ended");
    let file = "
busy: {query: SELECT v FROM busy, timeout: 10m}
later: {query: SELECT 1 AS v}
";
    let url = format!(
        "postgres:///{}?host={}&port={}&user=ended",
        database.name(),
        database.server().socket_folder().display(),
        database.server().port()
    );
    let terminal = Arc::new(Terminal::new().file("queries.yml", file).with("DATABASE_URL", url));
    for begins in ["SELECT v", "SELECT set_config"] {
        database.admin("ALTER ROLE ended LOGIN");
        let session = database.session().await;
        session.batch_execute("BEGIN; LOCK TABLE busy").await.unwrap();
        let check = {
            let terminal = Arc::clone(&terminal);
            tokio::task::spawn_blocking(move || terminal.run(&["check", "--database", "--format=json"]))
        };
        let waits = format!(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE usename = 'ended' AND wait_event_type = 'Lock'
                            AND (query LIKE '{begins}%' OR query LIKE 'SELECT set_config%'))"
        );
        database.wait_for(&waits).await;
        database.admin("ALTER ROLE ended NOLOGIN");
        database
            .admin("SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE usename = 'ended'");
        let said = check.await.unwrap().failed(1);
        let document: Value = serde_json::from_str(&said.output).unwrap();
        let failures = |position: usize| document["database"][position]["failures"].as_array().unwrap();
        assert!(!failures(0).is_empty(), "{document:#}");
        let later = failures(1).iter().map(|why| why.as_str().unwrap()).collect::<Vec<_>>();
        assert!(matches!(later[..], [why] if why.starts_with("not run: ")), "{document:#}");
    }
    database.admin("DROP ROLE ended");
}

#[test]
fn the_name_of_a_disabled_query_is_no_pattern() {
    let database = Server::shared().database("cli_pattern");
    let file = format!("'*': {{query: DROP TABLE t}}\n{GOOD}");
    let terminal = Terminal::new().file("queries.yml", file).with("DATABASE_URL", database.url());
    let said = terminal.run(&["check", "--database", "--format=json"]).failed(1);
    let document: Value = serde_json::from_str(&said.output).unwrap();
    let queries: Vec<_> =
        document["database"].as_array().unwrap().iter().map(|trial| trial["query"].clone()).collect();
    assert_eq!(queries, ["good", "other_good"], "{document:#}");
}

#[test]
fn the_series_of_a_check_are_the_samples_of_a_scrape() {
    let database = Server::shared().database("cli_series");
    let histogram = |namespace: &str, rows: &str| {
        format!(
            "{namespace}:
  name: latency
  query: >-
    SELECT l, ARRAY[1, 2, 3, 4]::float8[] AS s, ARRAY[1, 2, 3, 4]::bigint[] AS s_bucket, 9.5::float8 AS s_sum,
    4::bigint AS s_count FROM unnest(ARRAY[{rows}]) l
  metrics: [{{l: {{usage: LABEL}}}}, {{s: {{usage: HISTOGRAM}}}}]
"
        )
    };
    let file = [
        &histogram("first", "'a'"),
        &histogram("same", "'a'"),
        &histogram("mixed", "'c', 'a', 'b'"),
        "early: {name: late, query: SELECT 1 AS v}\n",
        "late: {query: SELECT 3 AS v, metrics: [{v: {usage: GAUGE}}]}\n",
        "pg: {query: SELECT 1 AS up}\n",
    ];
    let terminal = Terminal::new().file("queries.yml", file.concat()).with("DATABASE_URL", database.url());
    let output = terminal.run(&["check", "--database", "--format=json"]).succeeded();
    let document: Value = serde_json::from_str(&output).unwrap();
    let trials = document["database"].as_array().unwrap();
    let of = |key: &str| trials.iter().map(|trial| trial[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("series"), [7, 0, 14, 0, 1, 0], "{document:#}");
    let [none, duplicate, invalid] = [json!({}), json!({"duplicate": 1}), json!({"invalid": 1})];
    assert_eq!(of("dropped"), [&none, &duplicate, &duplicate, &invalid, &none, &invalid].map(Value::clone));
    let lost = |count| {
        json!([format!("{count} series dropped, since another query has such a series or such a name")])
    };
    let nothing = json!([]);
    let expected =
        [nothing.clone(), lost("7 of 7"), lost("7 of 21"), lost("1 of 1"), nothing.clone(), nothing];
    assert_eq!(of("notes"), expected);
    let scrape = terminal.run(&["scrape"]).failed(0).output;
    let is_of_queries = |line: &&str| line.starts_with("lat");
    assert_eq!(scrape.lines().filter(is_of_queries).count(), 7 + 14 + 1, "{scrape}");
}

#[test]
fn a_check_tells_columns_of_one_name_apart() {
    let database = Server::shared().database("cli_fates");
    let file = "
twice:
  query: SELECT 1 v, 2 v, 'x' l, 'y' l, 3 u, 4 u, now() t, now() t, 5 d, 6 d, 7 renamed
  metrics:
    - {v: {usage: GAUGE, name: renamed}, l: {usage: LABEL}, t: {usage: TIMESTAMP}, d: {usage: DISCARD}}
instead: {query: 'SELECT NULL v, 1 v', metrics: [{v: {usage: GAUGE}}]}
pg: {query: 'SELECT 1 up, 2 exporter_duration, 3 other'}
both: {query: \"SELECT 'x' v, 'y' v\", metrics: [{v: {usage: INFO}}]}
unlabelled: {query: 'SELECT 1 v, 2 u', metrics: [{l: {usage: LABEL}, v: {usage: GAUGE}}]}
";
    let terminal = Terminal::new().file("queries.yml", file).with("DATABASE_URL", database.url());
    let said = terminal.run(&["check", "--database", "--format=json"]).failed(1);
    let document: Value = serde_json::from_str(&said.output).unwrap();
    let fates = |trial: usize| {
        let columns = document["database"][trial]["columns"].as_array().unwrap();
        columns.iter().map(|column| column["becomes"].as_str().unwrap()).collect::<Vec<_>>()
    };
    let [second, repeated] = [
        "dropped where an earlier column has the name and a value",
        "dropped: an earlier column has the name",
    ];
    let expected = [
        ("gauge twice_renamed", second),
        ("label l", repeated),
        ("untyped twice_u", second),
        ("time of the row's samples", repeated),
        ("discarded", "discarded"),
    ];
    let taken = |name: &str| format!("dropped: the name {name} belongs to another metric");
    let mut expected: Vec<_> = expected.into_iter().flat_map(|(first, second)| [first, second]).collect();
    let renamed = taken("twice_renamed");
    expected.push(&renamed);
    assert_eq!(fates(0), expected);
    assert_eq!(document["database"][0]["series"], 2, "{document:#}");
    assert_eq!(fates(1), ["gauge instead_v", second]);
    assert_eq!(document["database"][1]["series"], 1, "{document:#}");
    assert_eq!(fates(2), [&*taken("pg_up"), &taken("pg_exporter_duration"), "untyped pg_other"]);
    assert_eq!(document["database"][2]["series"], 1, "{document:#}");
    assert_eq!(fates(3), ["info both_v_info", "info both_v_info"]);
    assert_eq!(document["database"][3]["series"], 2, "{document:#}");
    assert_eq!(fates(4), ["gauge unlabelled_v", "untyped unlabelled_u"]);
}

#[test]
fn a_check_with_a_database_skips_what_is_not_meant_for_it() {
    let database = Server::shared().database("cli_skips");
    let query = |name: &str, condition: &str| format!("{name}: {{query: SELECT 1 AS v, {condition}}}\n");
    let file = [
        query("old", "runonserver: '<9.0.0'"),
        query("new", "runonserver: '>=9.0.0', primary: true, target_databases: ['cli_skip[s]']"),
        query("elsewhere", "target_databases: [other]"),
        query("never", "predicate_query: SELECT false"),
        query("always", "predicate_query: SELECT true, query_aurora: '!'"),
        query("unsure", "predicate_query: 'SELECT 1, 2'"),
        query("broken", "predicate_query: SELECT 1/0"),
    ];
    let terminal = Terminal::new().file("queries.yml", file.concat()).with("DATABASE_URL", database.url());
    let said = terminal.run(&["check", "--database", "--format=json"]).failed(1);
    let document: Value = serde_json::from_str(&said.output).unwrap();
    let of = |key: &str| {
        document["database"].as_array().unwrap().iter().map(|q| q[key].clone()).collect::<Vec<_>>()
    };
    let skipped: Vec<_> = of("skipped")
        .iter()
        .map(|why| why.as_str().map(|w| w.split([':', ' ']).next().unwrap().to_owned()))
        .collect();
    let expected =
        [Some("runonserver"), None, Some("target_databases"), Some("predicate_query"), None, None, None];
    assert_eq!(skipped, expected.map(|condition| condition.map(str::to_owned)), "{document:#}");
    assert_eq!(
        of("rows"),
        [json!(null), json!(1), json!(null), json!(null), json!(1), json!(null), json!(null)]
    );
    let failures = of("failures");
    assert_eq!(failures[5], json!(["predicate_query: the predicate has 2 columns, and must have one"]));
    assert_eq!(failures[6], json!(["predicate_query: division_by_zero (SQLSTATE 22012)"]));
    let failed = failures.iter().filter(|failures| **failures != json!([])).count();
    assert_eq!(failed, 2);
    let text = terminal.run(&["check", "--database"]).failed(1).output;
    assert!(
        text.contains("\nelsewhere\n  skipped, target_databases: no database has such a name\n"),
        "{text}"
    );
}

#[test]
fn a_check_with_a_database_says_where_the_server_found_a_mistake_and_its_hint() {
    let database = Server::shared().database("cli_places");
    let file = "
block:
  query: |
    SELECT 1 AS v
    FROM pg_class
    WHERE AND true
folded:
  query: >
    SELECT
    relnam FROM pg_class
quoted: {query: 'SELECT ''ä'', upper(1)'}
localized: {query: SET work_mem = '1MB'; SELECT relnam FROM pg_class}
literal: {query: SELECT 1 AS v FROM 'canary'}
predicate:
  query: SELECT 1 AS v
  predicate_query: SELECT
    tru
unplaced: {query: SELECT 1 / (length('canary') - 6) AS v}
plain: {query: SELECT monitor.v()}
raised: {query: SELECT raise()}
";
    database.admin(
        "CREATE FUNCTION raise() RETURNS int LANGUAGE plpgsql
         AS $$BEGIN RAISE 'canary' USING HINT = 'canary', ERRCODE = '42703'; END$$",
    );
    let terminal = Terminal::new().file("queries.yml", file).with("DATABASE_URL", database.url());
    let said = terminal.run(&["check", "--database"]).failed(1).output;
    for expected in [
        "error: queries.yml:6:11: syntax_error (SQLSTATE 42601): syntax error at or near \"AND\"\n",
        "error: queries.yml:10:5: undefined_column (SQLSTATE 42703): column \"relnam\" does not exist; Perhaps you \
         meant to reference the column \"pg_class.relname\" or the column \"pg_class.relam\".\n",
        "error: queries.yml:11:32: undefined_function (SQLSTATE 42883): function upper(integer) does not exist; No \
         function matches the given name and argument types. You might need to add explicit type casts.\n",
        "error: queries.yml:12:49: undefined_column (SQLSTATE 42703): column \"relnam\" does not exist; Perhaps",
        "error: queries.yml:13:37: syntax_error (SQLSTATE 42601)\n",
        "error: queries.yml:17:5: predicate_query: undefined_column (SQLSTATE 42703): column \"tru\" does not exist\n",
        "error: division_by_zero (SQLSTATE 22012)\n",
        "error: queries.yml:19:23: invalid_schema_name (SQLSTATE 3F000) at \"monitor.v\"\n",
    ] {
        assert!(said.contains(expected), "{expected}{said}");
    }
    // The same failures in a scrape's log have neither.
    let said = terminal.run(&["scrape"]).failed(0).errors;
    assert!(said.contains("relnam") && !said.contains("Perhaps") && !said.contains("queries.yml"), "{said}");
}

#[test]
fn a_check_with_a_database_explains_what_the_result_lacks() {
    let database = Server::shared().database("cli_lacks");
    let long = "a".repeat(70);
    let cut = "a".repeat(63);
    let file = format!(
        "
folded: {{query: SELECT count(*) AS Total FROM pg_class, metrics: [{{Total: {{usage: GAUGE}}}}]}}
quoted: {{query: SELECT 1 AS \"Total\", metrics: [{{total: {{usage: GAUGE}}}}]}}
label: {{query: 'SELECT 1 AS region, 2 AS v', metrics: [{{Region: {{usage: LABEL}}}}, {{v: {{usage: GAUGE}}}}]}}
time: {{query: 'SELECT now() AS at, 2 AS v', metrics: [{{At: {{usage: TIMESTAMP}}}}, {{v: {{usage: GAUGE}}}}]}}
long: {{query: SELECT 1 AS {long}, metrics: [{{{long}: {{usage: GAUGE}}}}]}}
histogram: {{query: SELECT 1.5 AS seconds, metrics: [{{seconds: {{usage: HISTOGRAM}}}}]}}
summary: {{query: 'SELECT 1.5 AS seconds, 1 AS seconds_sum', metrics: [{{seconds: {{usage: SUMMARY}}}}]}}
absent: {{query: SELECT 1 AS v, metrics: [{{v: {{usage: GAUGE}}}}, {{w: {{usage: HISTOGRAM}}}}]}}
"
    );
    let terminal = Terminal::new().file("queries.yml", file).with("DATABASE_URL", database.url());
    let said = terminal.run(&["check", "--database", "--format=json"]).failed(1);
    let document: Value = serde_json::from_str(&said.output).unwrap();
    let failures = |trial: &Value| match trial["failures"].as_array().unwrap().as_slice() {
        [failure] => failure.as_str().unwrap().to_owned(),
        failures => panic!("{failures:?}"),
    };
    let actual: Vec<_> = document["database"].as_array().unwrap().iter().map(failures).collect();
    let folds = "PostgreSQL folds names without quotes to lower case";
    let lacks = |column: &str, but: &str, why: &str, what: &str| {
        format!("the result has no column {column:?}, but {but:?}: {why}; {what}")
    };
    let expected = [
        lacks("Total", "total", folds, "list it as `total`, or write AS \"Total\" in the query"),
        lacks(
            "total",
            "Total",
            "the case of a quoted name counts",
            "list it as `Total`, or write AS total in the query",
        ),
        "without a LABEL no sample is exposed: ".to_owned()
            + &lacks("Region", "region", folds, "list it as `region`, or write AS \"Region\" in the query"),
        lacks("At", "at", folds, "list it as `at`, or write AS \"At\" in the query"),
        lacks(
            &long,
            &cut,
            "PostgreSQL truncates names to 63 bytes",
            "choose a shorter name in `metrics` and in the query",
        ),
        "column \"seconds\": HISTOGRAM also needs \"seconds_bucket\", \"seconds_sum\", \"seconds_count\", which the result \
         lacks; add them to the query, or add `buckets` to count each row as one observation"
            .to_owned(),
        "column \"seconds\": SUMMARY also needs \"seconds_quantile\", \"seconds_count\", which the result lacks; add them \
         to the query, or add `quantiles` to count each row as one observation"
            .to_owned(),
        "the result has no column \"w\"; correct its name in `metrics`, or add it to the query".to_owned(),
    ];
    assert_eq!(actual, expected);
}

#[test]
fn a_check_with_a_database_explains_a_result_without_series() {
    let database = Server::shared().database("cli_empty");
    let file = "
labels: {query: SELECT relname FROM pg_class LIMIT 1, metrics: [{relname: {usage: LABEL}}]}
setting: {query: SET LOCAL work_mem = '1MB'}
nulls: {query: 'SELECT NULL::int AS v', metrics: [{v: {usage: GAUGE}}]}
unlisted: {query: 'SELECT relname, 1 AS v FROM pg_class LIMIT 3', metrics: [{v: {usage: GAUGE}}]}
some_null: {query: 'SELECT NULL::int AS v, 1 AS w'}
no_rows: {query: SELECT 1 AS v WHERE false}
";
    let terminal = Terminal::new().file("queries.yml", file).with("DATABASE_URL", database.url());
    let output = terminal.run(&["check", "--database", "--format=json"]).succeeded();
    let document: Value = serde_json::from_str(&output).unwrap();
    let notes: Vec<_> =
        document["database"].as_array().unwrap().iter().map(|trial| trial["notes"].clone()).collect();
    let expected = [
        json!([
            "no column is a metric, so there are no series; list a column as GAUGE, COUNTER or INFO, or add a \
                number to the query, such as `1 AS present`"
        ]),
        json!(["the query returns no columns; end it with a SELECT"]),
        json!(["all values are NULL, which gives no series; add `default`, or COALESCE"]),
        json!([
            "column \"v\": 2 dropped as duplicate (the first of the same name and labels is kept: list as LABEL what \
             distinguishes the rows)",
            "column \"relname\": 3 dropped as unparsable (`metrics` does not list it, and it is not a number: list it as \
             LABEL or DISCARD, or as GAUGE if it is a time)"
        ]),
        json!([]),
        json!([]),
    ];
    assert_eq!(notes, expected);
}

#[tokio::test]
async fn a_check_names_the_console_and_a_pause_of_a_pooler() {
    let database = Server::shared().database("cli_console");
    let bouncer = Pgbouncer::start(&database);
    let check = |url: String| {
        let terminal = Terminal::new().file("queries.yml", GOOD).with("DATABASE_URL", url);
        tokio::task::spawn_blocking(move || terminal.run(&["check", "--database"]).failed(1).errors)
    };
    let said = check(bouncer.console_url()).await.unwrap();
    assert!(said.contains("PgBouncer's admin console, which runs no queries; name a database"), "{said}");
    bouncer.command("PAUSE").await;
    let said = check(bouncer.url()).await.unwrap();
    assert!(
        said.contains("no connection to the database: timed out") && said.contains("PgBouncer is paused"),
        "{said}"
    );
}

/// The driver asks for types that it does not know by prepared statements, which a pooler would hand on.
#[test]
fn a_check_through_a_pooler_leaves_no_prepared_statement() {
    let database = Server::shared().database("cli_pooler");
    database.admin("CREATE TYPE mood AS ENUM ('ok'); CREATE TYPE colour AS ENUM ('red')");
    let bouncer = Pgbouncer::start(&database);
    let file = "
a: {query: \"SELECT 'ok'::mood AS l, 1 AS v\", metrics: [{l: {usage: LABEL}}]}
b: {query: \"SELECT 'red'::colour AS l, 1 AS v\", metrics: [{l: {usage: LABEL}}]}
statements: {query: SELECT count(*) AS v FROM pg_prepared_statements, metrics: [{v: {usage: GAUGE}}]}
";
    let terminal = Terminal::new().file("queries.yml", file).with("DATABASE_URL", bouncer.url());
    for _ in 0..2 {
        let output = terminal.run(&["check", "--database"]).succeeded();
        for line in [
            "  l  mood     label l\n  v  integer  untyped a_v\n",
            "  l  colour   label l\n  v  integer  untyped b_v\n",
            "  v  bigint  gauge statements_v\n",
        ] {
            assert!(output.contains(line), "{line}{output}");
        }
        let scrape = Samples::parse(&terminal.run(&["scrape"]).succeeded());
        assert_eq!(scrape.of("statements_v"), [("", 0.0)]);
    }
}

#[test]
fn a_check_with_a_database_succeeds_where_all_queries_do() {
    let database = Server::shared().database("cli_check_good");
    let terminal = Terminal::new().file("queries.yml", GOOD).with("DATABASE_URL", database.url());
    let output = terminal.run(&["check", "--database"]).succeeded();
    assert!(output.ends_with("2 queries, 0 errors, 0 warnings, 0 failed on the database\n"), "{output}");
    let closed = Port::reserve();
    let nowhere = Terminal::new().file("queries.yml", GOOD).with("PGHOST", "127.0.0.1");
    let nowhere = nowhere.with("PGUSER", "nobody").with("PGPORT", closed.number().to_string());
    let said = nowhere.run(&["check", "--database"]).failed(1);
    assert!(
        said.errors.starts_with("pg-lambda-exporter: no connection to the database: "),
        "{}",
        said.errors
    );
    let unset = Terminal::new().file("queries.yml", GOOD).run(&["check", "--database"]).failed(1);
    assert!(unset.errors.contains("DATABASE_URL"), "{}", unset.errors);
}

#[test]
fn a_scrape_is_printed_in_either_format() {
    let database = Server::shared().database("cli_scrape");
    let terminal = Terminal::new().file("queries.yml", GOOD).with("DATABASE_URL", database.url());
    let terminal = terminal.with("AUTH", "nonsense");
    let text = terminal.run(&["scrape"]).succeeded();
    assert!(text.starts_with("# HELP good_v One\n# TYPE good_v gauge\ngood_v 1\n"), "{text}");
    assert!(!text.contains("# EOF"));
    let samples = Samples::parse(&text);
    assert_eq!(samples.of("pg_up"), [("", 1.0)]);
    assert_eq!(samples.of("other_good_v_total"), [("", 2.0)]);
    let openmetrics = terminal.run(&["scrape", "--openmetrics"]).succeeded();
    assert!(openmetrics.contains("# TYPE other_good_v counter\n"), "{openmetrics}");
    assert!(openmetrics.ends_with("\n# EOF\n"), "{openmetrics}");
}

#[test]
fn a_scrape_collects_the_queries_that_are_named() {
    let database = Server::shared().database("cli_collect");
    let terminal = Terminal::new().file("queries.yml", GOOD).with("DATABASE_URL", database.url());
    let collected = |patterns: &[&str]| {
        let arguments: Vec<_> = patterns.iter().flat_map(|pattern| ["--collect", pattern]).collect();
        let samples = Samples::parse(&terminal.run(&[&["scrape"], &*arguments].concat()).succeeded());
        (samples.of("good_v").len(), samples.of("other_good_v_total").len())
    };
    assert_eq!(collected(&["good"]), (1, 0));
    assert_eq!(collected(&["other_good"]), (0, 1));
    assert_eq!(collected(&["o*d"]), (0, 1));
    assert_eq!(collected(&["*good*"]), (1, 1));
    assert_eq!(collected(&["good", "o*"]), (1, 1));
    let said = terminal.run(&["scrape", "--collect", "bad*"]).failed(1);
    assert_eq!(said.output, "");
    for name in ["bad*", "good", "other_good"] {
        assert!(said.errors.contains(name), "{}", said.errors);
    }
}

#[test]
fn what_is_not_followed_of_a_connection_is_said() {
    let database = Server::shared().database("cli_warnings");
    let url = database.url().replace("sslmode=verify-full", "sslmode=no-verify");
    let terminal = Terminal::new().file("queries.yml", GOOD).with("DATABASE_URL", url);
    let Said { status, errors, .. } =
        terminal.with("PGPASSFILE", "/hunter2").with("PGSSLROOTCERT", "").run(&["scrape"]);
    assert_eq!(status, 0, "{errors}");
    for warning in ["sslmode: read as sslmode=require", "PGPASSFILE: not supported, and ignored"] {
        assert_eq!(errors.matches(warning).count(), 1, "{warning}: {errors}");
    }
    assert!(!errors.contains("hunter2"), "{errors}");
}

#[test]
fn a_scrape_without_a_database_says_so_and_fails() {
    let terminal =
        Terminal::new().file("queries.yml", GOOD).with("PGHOST", "127.0.0.1").with("PGUSER", "nobody");
    let closed = Port::reserve();
    let terminal = terminal.with("PGPORT", closed.number().to_string());
    let said = terminal.run(&["scrape"]).failed(1);
    assert_eq!(Samples::parse(&said.output).of("pg_up"), [("", 0.0)]);
    assert!(said.errors.contains("ERROR no connection to the database"), "{}", said.errors);
    assert!(!said.errors.contains('\u{1b}'), "colours where there is no terminal: {}", said.errors);
    let terminal = terminal.with("AWS_LAMBDA_LOG_LEVEL", "INFO");
    let more = terminal.run(&["scrape"]).failed(1);
    assert!(more.errors.contains(" INFO scrape"), "{}", more.errors);
    // As in the function, it may differ by module, and counts before the level.
    let terminal = terminal.with("RUST_LOG", "info,pg_lambda_exporter::scrape=off");
    let silent = terminal.run(&["scrape"]).failed(1);
    assert_eq!(silent.errors, "");

    let said = Terminal::new().file("queries.yml", GOOD).run(&["scrape"]).failed(1);
    assert!(said.errors.contains("DB_SECRET_ID") && said.errors.contains("PGHOST"), "{}", said.errors);
    let broken =
        Terminal::new().file("queries.yml", "a: {query: COMMIT}").with("PGHOST", "h").with("PGUSER", "u");
    let said = broken.run(&["scrape"]).failed(1);
    assert!(said.errors.contains("no query can run"), "{}", said.errors);
}

#[test]
fn what_a_query_says_is_in_the_log_and_not_in_the_result() {
    let database = Server::shared().database("cli_log");
    let failing = format!("{GOOD}\nbad:\n  query: SELECT 1/(length('canary') - 6) AS v\n");
    let terminal = Terminal::new().file("queries.yml", failing).with("DATABASE_URL", database.url());
    let said = terminal.run(&["scrape"]).failed(0);
    assert!(said.errors.contains("division_by_zero (SQLSTATE 22012)"), "{}", said.errors);
    assert_eq!(Samples::parse(&said.output).of("good_v"), [("", 1.0)]);
}

#[test]
fn with_a_database_of_its_own_nothing_of_aws_is_called() {
    let database = Server::shared().database("cli_aws");
    let secret = SecretsManagerServer::start(Answer::text(&database.url()));
    let terminal = || Terminal::new().file("queries.yml", GOOD).with("AWS_ENDPOINT_URL", secret.url());
    let own = terminal().with("DATABASE_URL", database.url());
    for arguments in [&["check"][..], &["check", "--database"], &["scrape"]] {
        own.run(arguments).succeeded();
    }
    assert_eq!(secret.calls(), []);
    let fetched = terminal()
        .with("DB_SECRET_ID", "prod/db")
        .with("AWS_REGION", "eu-central-1")
        .with("AWS_ACCESS_KEY_ID", "key")
        .with("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    for (calls, arguments) in [&["check", "--database"][..], &["scrape"]].into_iter().enumerate() {
        fetched.run(arguments).succeeded();
        assert_eq!(secret.calls().len(), calls + 1);
    }
}

#[test]
fn a_reader_who_leaves_early_does_no_harm() {
    let database = Server::shared().database("cli_pipe");
    let terminal = Terminal::new().file("queries.yml", GOOD).with("DATABASE_URL", database.url());
    for (status, arguments) in [
        (0, &["--help"][..]),
        (0, &["check"]),
        (0, &["check", "--database"]),
        (0, &["check", "--format=json"]),
        (1, &["check", "nowhere.yml"]),
        (0, &["scrape"]),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let errors = writer.try_clone().unwrap();
        let ended = terminal.command(arguments).stdout(writer).stderr(errors).status().unwrap();
        // A panic is status 101.
        assert_eq!(ended.code(), Some(status), "{arguments:?}");
    }
}

#[test]
fn the_documentation_knows_every_option() {
    let documentation =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md")).unwrap();
    let help = Terminal::new().run(&["--help"]).succeeded();
    for option in help.split(|c: char| !c.is_alphanumeric() && c != '-').filter(|word| word.starts_with("--"))
    {
        assert!(documentation.contains(option), "{option}");
    }
}

/// Bash's `<(…)` and `/dev/stdin` are pipes that a person means. A variable's path is read as in the function.
#[test]
fn a_path_on_the_command_line_may_be_a_pipe_and_that_of_a_variable_may_not() {
    let terminal = Terminal::new().file("queries.yml", GOOD);
    let program = env!("CARGO_BIN_EXE_pg-lambda-exporter");
    let shell = |command: String| terminal.output(Command::new("bash").args(["-c", &command]));
    let expected = terminal.run(&["check", "queries.yml"]).succeeded();
    assert_eq!(shell(format!("{program} check <(cat queries.yml)")).succeeded(), expected);
    assert_eq!(shell(format!("cat queries.yml | {program} check /dev/stdin")).succeeded(), expected);
    let said = shell(format!("cat /dev/zero | {program} check /dev/stdin")).failed(1);
    assert!(said.errors.contains("/dev/stdin: cannot be read: larger than 256 KiB"), "{}", said.errors);

    let made = Command::new("mkfifo").arg(terminal.folder.join("pipe.yml")).status().unwrap();
    assert!(made.success());
    let said = terminal.with("QUERIES_FILE", "pipe.yml").run(&["check"]).failed(1);
    assert!(said.errors.contains("pipe.yml: cannot be read: not a regular file"), "{}", said.errors);
}

#[test]
fn no_text_of_the_command_line_or_of_a_file_moves_the_cursor() {
    const FORGERY: &str = "x\nerror: forged \u{1b}[2J\u{9b}1m\u{7f}\u{202e}\u{2028}";
    let yaml: String = FORGERY.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    let queries = format!("\"{yaml}\": {{query: SELECT 1 AS v}}\n");
    let terminal = Terminal::new().file("queries.yml", queries).with("RUST_LOG", FORGERY);
    for arguments in [
        &["check"][..],
        &["check", FORGERY],
        &[FORGERY],
        &["check", &format!("--{FORGERY}")],
        &["check", "--format", FORGERY],
        &["scrape", "--collect", FORGERY],
    ] {
        let said = terminal.run(arguments);
        for line in said.all().lines() {
            assert!(!line.contains(|c: char| c.is_control() || "\u{202e}\u{2028}".contains(c)), "{line:?}");
            assert!(!line.starts_with("error: forged"), "{line:?}");
        }
        assert!(said.errors.contains("WARN RUST_LOG holds a directive that cannot be read; it is ignored"));
    }
}

#[test]
fn a_variable_that_the_aws_sdk_cannot_read_is_named() {
    let terminal = Terminal::new()
        .file("queries.yml", GOOD)
        .with("DB_SECRET_ID", "prod/db")
        .with("AWS_REGION", "eu-central-1")
        .with("AWS_MAX_ATTEMPTS", "0");
    for arguments in [&["check", "--database"][..], &["scrape"]] {
        let said = terminal.run(arguments).failed(1);
        let expected = "invalid environment: AWS_MAX_ATTEMPTS: must be a whole number from 1 to";
        assert!(said.errors.contains(expected), "{}", said.errors);
    }
    terminal.run(&["check"]).succeeded();
}
