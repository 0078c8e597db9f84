//! README.md and docs/: every snippet is run, parsed or compared with what the program does, by its language, and
//! every link leads somewhere. Without a language, and so without a check, are drawings and the grammar of
//! docs/queries.md. Commands in `sh` take minutes, so they are only compared with the Makefile and the package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pg_lambda_exporter::config::{Config, Naming, TargetsFile};
use pg_lambda_exporter::connect_options::{Parts, Target};
use pg_lambda_exporter::database::Connection;
use pg_lambda_exporter::table::Table;
use serde_json::Value;

use crate::cli::{Terminal, without_durations};
use crate::events::{Event, Kind};
use crate::golden;
use crate::lambda::{AMPLE, GOOD, Queries, environment, scrape, scrape_of};
use crate::leaks;
use crate::mapping::{push_row, table_of};
use crate::postgres::Server;
use crate::runtime_api::Lambda;

/// A fenced block: where it stands, its language and its text.
struct Snippet {
    path: PathBuf,
    place: String,
    language: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = docs.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    all.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root().join(name)));
    all
}

fn snippets() -> Vec<Snippet> {
    let mut found = vec![];
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        for (index, part) in text.split("\n```").enumerate().filter(|(index, _)| index % 2 == 1) {
            let (language, text) = part.split_once('\n').unwrap();
            let place = format!("{}, snippet {}", path.display(), index / 2 + 1);
            found.push(Snippet {
                path: path.clone(),
                place,
                language: language.to_owned(),
                text: text.to_owned(),
            });
        }
    }
    assert!(found.len() > 10, "the documents have snippets");
    found
}

fn of(language: &str) -> Vec<Snippet> {
    let mut found = snippets();
    found.retain(|snippet| snippet.language == language);
    assert!(!found.is_empty(), "{language}");
    found
}

#[test]
fn every_snippet_has_a_language_that_is_checked() {
    let mut without = vec![];
    for Snippet { path, place, language, .. } in snippets() {
        let only_in: &[&str] = match language.as_str() {
            "yaml" | "yaml before" | "yaml targets" | "sh" | "sql" | "json" | "command" => continue,
            "" => {
                without.push(path);
                continue;
            }
            "prometheus" => &["README.md", "docs/queries.md"],
            "rows" | "openmetrics" => &["docs/queries.md"],
            "usage" | "report" | "yaml mistakes" => &["docs/cli.md"],
            // With the tests of deployments.
            "aws" => &[
                "README.md",
                "docs/cloudwatch.md",
                "docs/deployment.md",
                "docs/real-account.md",
                "docs/targets.md",
                "docs/troubleshooting.md",
            ],
            // By tests/migration, which runs them.
            "js" | "promql" => &["docs/migration.md"],
            // By tests/migration, tests/monitoring and tests/deployment/test_by_hand.py.
            "bash" => &["docs/by-hand.md", "docs/grafana.md", "docs/migration.md", "docs/queries-shipped.md"],
            // With the tests of secrets.
            "url" => &["docs/configuration.md"],
            language => panic!("{place}: nothing checks {language:?}"),
        };
        assert!(only_in.iter().any(|file| root().join(file) == path), "{place}: {language}");
    }
    without.sort();
    let drawings = ["README.md", "docs/architecture.md", "docs/queries.md"].map(|path| root().join(path));
    assert_eq!(without, drawings);
}

#[test]
fn json_is_json() {
    for Snippet { place, text, .. } in of("json") {
        let parsed: Result<Value, _> = serde_json::from_str(&text);
        assert!(parsed.is_ok(), "{place}: {parsed:?}");
    }
}

/// The snippets of a language in docs/cli.md, of which there are so many.
fn of_the_command_line<const COUNT: usize>(language: &str) -> [String; COUNT] {
    let mut found = of(language);
    found.retain(|snippet| snippet.path.ends_with("docs/cli.md"));
    let texts: Vec<_> = found.into_iter().map(|snippet| snippet.text).collect();
    texts.try_into().unwrap_or_else(|texts| panic!("not {COUNT} in {language}: {texts:?}"))
}

/// Whether `actual` is what is documented, where `…` stands for any text of a line.
fn is_as_documented(documented: &str, actual: &str) -> bool {
    let mut parts = documented.split('…');
    let Some(mut rest) = parts.next().and_then(|first| actual.strip_prefix(first)) else { return false };
    for part in parts {
        let found = match part {
            "" => Some(("", rest.trim_start_matches(|c| c != '\n'))),
            part => rest.split_once(part),
        };
        match found {
            Some((left_out, after)) if !left_out.contains('\n') => rest = after,
            _ => return false,
        }
    }
    rest.is_empty()
}

#[test]
fn documented_text_may_leave_out_a_part_of_a_line_only() {
    assert!(is_as_documented("a, …; c\nd …", "a, b; c\nd e"));
    assert!(is_as_documented("a", "a"));
    for actual in ["a, b; c", "a, b\n; c\nd e", "x, b; c\nd e", "a, b; c\nd e\nf"] {
        assert!(!is_as_documented("a, …; c\nd …", actual), "{actual}");
    }
}

#[test]
fn reports_of_a_check_are_what_it_prints() {
    let [file] = of_the_command_line("yaml mistakes");
    let terminal = Terminal::new().file("queries.yml", file);
    let report = terminal.run(&["check", "queries.yml"]).failed(1).output;
    let [documented, _] = of_the_command_line("report");
    assert!(is_as_documented(&format!("{documented}\n"), &report), "{documented}\n\nis:\n\n{report}");
    let document = terminal.run(&["check", "--format=json", "queries.yml"]).failed(1).output;
    // Written in the one way that both are compared in.
    let pretty = |text: &str| format!("{:#}\n", serde_json::from_str::<Value>(text).unwrap());
    let [documented] = of_the_command_line("json");
    let documented = pretty(&documented);
    assert!(is_as_documented(&documented, &pretty(&document)), "{documented}\nis:\n\n{document}");
}

#[test]
fn reports_of_a_check_with_a_database_are_what_it_prints() {
    let database = Server::shared().database("documented_check");
    let [file] = of_the_command_line("yaml");
    let [_, documented] = of_the_command_line("report");
    let terminal = Terminal::new().file("queries.yml", file);
    let terminal = terminal.with("DATABASE_URL", database.url());
    let report = without_durations(&terminal.run(&["check", "--database"]).failed(1).output);
    assert_eq!(without_durations(&documented), report);
}

#[test]
fn the_usage_is_the_help() {
    let help = Terminal::new().run(&["--help"]).succeeded();
    let (_, usage) = help.split_once("\nUsage:\n").unwrap();
    let usage: Vec<_> = usage.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    let [documented] = of_the_command_line("usage");
    assert_eq!(documented.lines().collect::<Vec<_>>(), usage);
}

/// By a shell, on the database of a test.
#[test]
fn commands_run() {
    let database = Server::shared().database("documented_commands");
    let shipped = fs::read_to_string(root().join("queries.yml")).unwrap();
    let few = "pg_stat_x: {query: SELECT 1 AS v}\nother: {query: SELECT 1 AS v}\n";
    for Snippet { path, place, text, .. } in of("command") {
        let is_about_shipped =
            ["README.md", "docs/queries-shipped.md"].iter().any(|page| path.ends_with(page));
        let terminal = Terminal::new().file("queries.yml", if is_about_shipped { &shipped } else { few });
        for line in text.lines() {
            let url = "postgres://scraper@localhost/shop";
            assert!(line.contains(url), "{place}: {line:?} has no database");
            let command = line.replace(url, &format!("'{}'", database.url()));
            let program = env!("CARGO_BIN_EXE_pg-lambda-exporter");
            let mut command = command.replace(" pg-lambda-exporter ", &format!(" '{program}' "));
            for folder in ["queries/", "examples/"] {
                command = command.replace(&format!(" {folder}"), &format!(" {}/{folder}", root().display()));
            }
            let output = terminal.output(Command::new("sh").args(["-c", &command])).succeeded();
            let is_expected = match (is_about_shipped, line.contains(" check ")) {
                (true, true) => output.ends_with(" 0 failed on the database\n"),
                (true, false) => {
                    output.contains("\npg_up 1\n") && output.contains("\npg_connections_current{")
                }
                (false, _) => output.contains("\npg_stat_x_v 1\n") && !output.contains("\nother_v"),
            };
            assert!(is_expected, "{place}: {line}: {output}");
        }
    }
}

#[test]
fn queries_are_without_a_problem_and_prometheus_takes_its_configuration() {
    for Snippet { place, text, .. } in of("yaml") {
        if text.contains("scrape_configs:") {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), &text).unwrap();
            let mut promtool = Command::new("promtool");
            let output = promtool
                .args(["check", "config", "--syntax-only"])
                .arg(file.path())
                .stdin(Stdio::null())
                .output();
            let output = output.expect("these tests need promtool: `sudo apt-get install prometheus`");
            assert!(output.status.success(), "{place}: {}", String::from_utf8_lossy(&output.stderr));
        } else {
            let config = Config::parse(&[(place.clone(), text)], &Naming::default());
            assert_eq!(config.problems, [], "{place}");
            assert!(!config.queries.is_empty(), "{place}");
        }
    }
}

#[test]
fn targets_files_are_without_a_problem() {
    for Snippet { place, text, .. } in of("yaml targets") {
        let file = TargetsFile::parse(&place, &text, &Parts::default());
        assert!(file.problems.is_empty() && file.targets.len() > 1, "{place}: {:?}", file.problems);
    }
}

/// What other exporters read.
#[test]
fn what_people_have_now_is_yaml() {
    for Snippet { place, text, .. } in of("yaml before") {
        let document: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
        assert!(document.is_mapping(), "{place}");
    }
}

/// Queries, the rows that one is said to give, and both expositions. `UPDATE_GOLDEN=1` writes the expositions anew.
#[tokio::test]
async fn the_examples_of_the_format_give_what_stands_there() {
    let path = root().join("docs/queries.md");
    let document = fs::read_to_string(&path).unwrap();
    let mut parts: Vec<String> = document.split("\n```").map(str::to_owned).collect();
    let is = |part: &str, language: &str| part.split('\n').next() == Some(language);
    let examples: Vec<_> = (0..parts.len()).filter(|&index| is(&parts[index], "rows")).collect();
    let database = Server::shared().database("examples");
    let mut connection = Connection::open(&database.target(), AMPLE).await.unwrap();
    let mut usages = String::new();
    for rows in examples {
        // Between two blocks is a part that is no block.
        let [queries, text, openmetrics] = [rows - 2, rows + 2, rows + 4];
        assert!(is(&parts[queries], "yaml"), "{}", parts[queries]);
        let yaml = parts[queries].split_once('\n').unwrap().1.to_owned();
        let config = Config::parse(&[("docs/queries.md".into(), yaml.clone())], &Naming::default());
        let [query] = &config.queries[..] else { panic!("not one query: {yaml}") };
        let table = read_table(&parts[rows]);
        let answer = connection.run(&query.sql, AMPLE, AMPLE).await.unwrap();
        assert_eq!(answer.columns, table.columns, "{yaml}");
        let [(_, in_text), (_, in_openmetrics), _] = golden::outputs(&config, &[table]);
        for (part, language, actual) in
            [(text, "prometheus", in_text), (openmetrics, "openmetrics", in_openmetrics)]
        {
            let actual = format!("{language}\n{}", actual.trim_end());
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                assert!(is(&parts[part], language), "{yaml}");
                parts[part] = actual.clone();
            }
            assert_eq!(parts[part], actual, "{yaml}");
        }
        usages.push_str(&yaml);
    }
    for usage in document.split("\n| `").filter_map(|row| row.split('`').next()) {
        let is_usage = usage.len() > 3 && usage.chars().all(|c| c.is_ascii_uppercase());
        assert!(!is_usage || usages.contains(&format!("usage: {usage}")), "{usage} has no example");
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, parts.join("\n```")).unwrap();
    }
}

/// A table as psql shows it, with its first line being the language of the snippet.
fn read_table(snippet: &str) -> Table {
    let mut lines = snippet.lines().skip(1).map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let mut table = table_of(lines.next().unwrap());
    assert!(lines.next().unwrap()[0].starts_with("--"), "{snippet}");
    for cells in lines {
        assert_eq!(cells.len(), table.columns.len(), "{snippet}");
        push_row(&mut table, cells.into_iter().map(|cell| (cell != "NULL").then_some(cell)));
    }
    table
}

#[test]
fn commands_are_targets_of_the_makefile_or_install_the_program() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let is_target = |target: &str| makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
    let package = env!("CARGO_PKG_NAME");
    let repository = format!("{}.git", env!("CARGO_PKG_REPOSITORY"));
    for Snippet { path, place, text, .. } in of("sh") {
        for line in text.lines().flat_map(|line| line.split(" && ")) {
            let words: Vec<_> = line.split(" # ").next().unwrap().split_whitespace().collect();
            let is_known = match words[..] {
                ["make", target, ..] => is_target(target),
                ["git", "clone", address] => address == repository,
                ["cargo", "binstall", "--git", address, name] => address == repository && name == package,
                ["cd", folder] => folder == package,
                ["cargo", "install", "--locked", "--path", "."] => root().join("Cargo.lock").exists(),
                // The arguments before `--help` must be right.
                ["pg-lambda-exporter", ref arguments @ ..] => {
                    Terminal::new().run(&[arguments, &["--help"]].concat()).status == 0
                }
                // tests/end_to_end/test_package.py runs these.
                ["chmod", "644", "queries.yml"] | ["zip", "bootstrap.zip", "queries.yml"] => true,
                // tests/deployment/test_deployer_policy.py runs it.
                [_, ".tools/osls/node_modules/.bin/osls", "remove", ..] => true,
                _ if path.ends_with("docs/authorization.md") => true,
                _ => false,
            };
            assert!(is_known, "{place}: nothing checks {line:?}");
        }
    }
}

#[tokio::test]
async fn the_documented_token_and_digest_let_prometheus_scrape() {
    let mut snippets = of("sh");
    snippets.retain(|snippet| snippet.path.ends_with("docs/authorization.md"));
    let [Snippet { text, .. }] = &snippets[..] else { panic!("not one snippet") };
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("sh").args(["-e", "-c", text]).current_dir(&folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let digest = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let token = fs::read_to_string(folder.path().join("pg-lambda-exporter.token")).unwrap();
    leaks::register(token.trim());

    let queries = Queries::new(GOOD);
    let mut variables = environment(&queries, "postgres://nobody@127.0.0.1:1/none".into());
    variables.retain(|(name, _)| *name != "AUTH");
    variables.push(("AUTH_TOKEN_SHA256", digest));
    let lambda = Lambda::start(variables).await;
    for (presented, status) in [(token.trim(), 200), ("another", 401)] {
        let event =
            Event::recorded(Kind::HttpApi).header("authorization", Some(&format!("Bearer {presented}")));
        assert_eq!(lambda.invoke(event.json(), AMPLE).await.status, status);
    }
}

#[test]
fn sql_runs() {
    let database = Server::shared().database("documented");
    database.admin("CREATE TABLE orders (id int)");
    for Snippet { text, .. } in of("sql") {
        database.admin(&format!("BEGIN; {text}; ROLLBACK"));
    }
}

/// The role of docs/security.md, under another name: roles are the server's, and another test makes this one too.
#[tokio::test]
async fn the_least_role_is_enough_and_no_more() {
    let database = Server::shared().database("least_role");
    let role = "least_exporter";
    database.admin("CREATE TABLE orders (id int); CREATE TABLE customers (id int)");
    let [sql] =
        &of("sql").into_iter().filter(|it| it.path.ends_with("docs/security.md")).collect::<Vec<_>>()[..]
    else {
        panic!("not one role");
    };
    let password = "of-the-least-role-1";
    database.admin(&sql.text.replace("exporter", role).replace("choose one", password));
    let queries = Queries::new(
        "
statistics: {query: 'SELECT count(*) AS v FROM pg_stat_activity WHERE query IS NOT NULL'}
granted: {query: 'SELECT count(*) AS v FROM orders'}
other: {query: 'SELECT count(*) AS v FROM customers'}
settings: {query: \"SELECT setting AS v FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'\"}
",
    );
    let port = database.server().port();
    let authority = database.server().authority();
    let url = format!(
        "postgres://{role}:{password}@localhost:{port}/{}?sslmode=verify-full&sslrootcert={}",
        database.name(),
        authority.display()
    );
    let lambda = Lambda::start(environment(&queries, url)).await;
    let samples = scrape(&lambda).await;
    drop(lambda);
    database.admin(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    assert_eq!((samples.value("pg_up"), samples.of("granted_v")), (1.0, vec![("", 0.0)]), "{samples:?}");
    assert_eq!((samples.of("statistics_v").len(), samples.of("settings_v")), (1, vec![("", 10_000.0)]));
    assert_eq!(samples.value(r#"pg_exporter_query_error{query="other",reason="permission"}"#), 1.0);
}

#[tokio::test]
async fn the_exposition_of_the_readme_is_what_its_query_gives() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let after = |fence: &str| readme.split(fence).nth(1).unwrap().split("```").next().unwrap().to_owned();
    let database = Server::shared().database("readme");
    let _in_transaction = database.session().await;
    _in_transaction.batch_execute("BEGIN").await.unwrap();
    let _idle = database.session().await;
    _idle.batch_execute("").await.unwrap();
    let answer = scrape_of(&Queries::new(&after("```yaml\n")), &database).await;
    for line in after("```prometheus\n").lines() {
        // Values move; a series, HELP and TYPE do not.
        let fixed = if line.starts_with('#') { line } else { line.rsplit_once(' ').unwrap().0 };
        assert!(answer.lines().any(|actual| actual.starts_with(fixed)), "{fixed} in {answer}");
    }
}

#[test]
fn the_secret_of_the_readme_is_one() {
    let mut secrets = of("json");
    secrets.retain(|snippet| snippet.path.ends_with("README.md"));
    let [Snippet { text, .. }] = &secrets[..] else { panic!("not one secret") };
    assert!(Target::from_secret(text, &Parts::default()).is_ok());
}

/// Each figure of README.md that changes as the project does.
#[test]
fn the_figures_of_the_readme_are_right() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let readme = read("README.md");
    assert!(readme.lines().count() <= 150);
    let readme = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    let holds = |figure: &str| assert!(readme.contains(figure), "README.md lacks {figure:?}");

    let rows = |text: &str| text.lines().filter(|line| line.starts_with("| ")).count();
    let migration = read("docs/migration.md");
    let (_, differences) = migration.split_once("### Differences from postgres_exporter").unwrap();
    holds("each of more than 50 is tested");
    assert!(rows(differences.split("\n## ").next().unwrap()) > 50 + 7, "beside the tables' headings");
    holds("More than 100 [faults](docs/reliability.md) are tested");
    assert!(rows(&read("docs/reliability.md")) > 100 + 5, "beside the tables' headings");

    let costs = read("docs/deployment.md");
    for (figure, row) in [("0.98 USD", "**0.98**"), ("7.36 USD", "**7.36**"), ("7.30 USD", "is 7.30 USD")] {
        holds(figure);
        assert!(costs.contains(row), "docs/deployment.md lacks {row:?}");
    }

    holds(&format!("version {}", env!("CARGO_PKG_VERSION")));
    holds(&format!("Rust ≥ {}", env!("CARGO_PKG_RUST_VERSION")));
    let majors = read("Makefile");
    let majors = majors.lines().find_map(|line| line.strip_prefix("MAJORS := ")).unwrap();
    let majors: Vec<_> = majors.split(' ').map(|version| version.split('.').next().unwrap()).collect();
    let (last, others) = majors.split_last().unwrap();
    holds(&format!("PostgreSQL {} and {last}", others.join(", ")));

    let shipped = Config::parse(&[("queries.yml".into(), read("queries.yml"))], &Naming::default());
    holds(&format!("{} queries", shipped.queries.len()));
    holds(&format!("{} alerts", read("examples/alerts.yml").matches("- alert: ").count()));
    let dashboards = fs::read_dir(root().join("examples/grafana/dashboards")).unwrap().count();
    holds(&format!("{dashboards} [dashboards]"));
}

#[test]
fn links_lead_somewhere() {
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        let prose: String = text.split("\n```").step_by(2).collect();
        for link in prose.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            if link.starts_with("http") {
                continue;
            }
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link}", path.display());
            if !anchor.is_empty() {
                let anchors = anchors(&fs::read_to_string(&target).unwrap());
                assert!(anchors.iter().any(|it| it == anchor), "{}: {link}", path.display());
            }
        }
    }
}

/// Where links may lead in a document: its headings, as GitHub names them.
fn anchors(document: &str) -> Vec<String> {
    let headings = document.lines().filter_map(|line| Some(line.strip_prefix('#')?.trim_start_matches('#')));
    let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    headings
        .map(|it| it.trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-"))
        .collect()
}
