//! The real binary on a pseudo-terminal of 80 columns, as a person starts it. Its words and statuses are judged in
//! `cli`.

use std::process::Command;

use crate::cli::Terminal;
use crate::postgres::Server;

const WIDTH: usize = 80;
const ERROR: &str = "\u{1b}[1;31merror\u{1b}[0m: ";
const WARNING: &str = "\u{1b}[1;33mwarning\u{1b}[0m: ";

/// Queries that work, fail and give what cannot be read; a warning, an unknown key and a query that is refused.
const QUERIES: &str = r#"
good:
  query: SELECT 1 AS v
  metrics: [{v: {usage: GAUGE, description: One}}]
good:
  query: SELECT 1 AS v
fails:
  query: SELECT 1/0 AS v
odd:
  query: SELECT 'text' AS v
unknown:
  query: SELECT 1 AS v
  metrics: [{v: {usage: GAUGE, colour: red}}]
refused:
  query: COMMIT
"#;

fn terminal() -> Terminal {
    Terminal::new().file("queries.yml", QUERIES).with("TERM", "xterm-256color")
}

/// What a terminal gets to see of a shell's command, in which `exporter` is the binary; and the command's status.
fn shown(terminal: &Terminal, command: &str) -> (i32, String) {
    let function = format!("exporter() {{ '{}' \"$@\"; }}", env!("CARGO_BIN_EXE_pg-lambda-exporter"));
    let mut script = Command::new("script");
    let line = format!("{function}; stty cols {WIDTH} rows 24; {command}");
    let said = terminal.output(script.args(["--quiet", "--return", "--command", &line, "/dev/null"]));
    assert!(!said.output.contains("panicked"), "{}", said.output);
    (said.status, said.output.replace("\r\n", "\n"))
}

/// The text without the two coloured words, in which nothing else may be that is not plain.
#[track_caller]
fn plain(shown: &str) -> String {
    let mut plain = shown.to_owned();
    for (word, colour) in [("error", "1;31"), ("warning", "1;33"), ("ERROR", "1;31"), ("WARN", "1;33")] {
        plain = plain.replace(&format!("\u{1b}[{colour}m{word}\u{1b}[0m"), word);
    }
    assert!(!plain.contains('\u{1b}'), "more than the words is coloured: {shown:?}");
    plain
}

#[test]
fn help_fits_a_terminal_and_has_no_colours() {
    for (command, expected) in [("exporter --help", 0), ("exporter", 2), ("exporter --frobnicate", 2)] {
        let (status, shown) = shown(&terminal(), command);
        assert_eq!(status, expected, "{shown}");
        let long: Vec<_> = shown.lines().filter(|line| line.chars().count() > WIDTH).collect();
        assert_eq!(long, [""; 0], "{command}");
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }
}

#[test]
fn a_check_colours_the_words_error_and_warning_and_nothing_else() {
    let (status, shown) = shown(&terminal(), "exporter check");
    assert_eq!(status, 1, "{shown}");
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines[0].starts_with(&format!("{ERROR}queries.yml:13: unknown.")), "{shown:?}");
    assert!(lines.iter().any(|line| line.starts_with(&format!("{WARNING}queries.yml:"))), "{shown:?}");
    let elsewhere = terminal().run(&["check"]).failed(1);
    assert_eq!((plain(&shown), ""), (elsewhere.output, &*elsewhere.errors));
}

#[test]
fn a_check_with_a_database_colours_the_same_words() {
    let database = Server::shared().database("terminal_check");
    let (status, shown) =
        shown(&terminal().with("DATABASE_URL", database.url()), "exporter check --database");
    assert_eq!(status, 1, "{shown}");
    assert!(shown.contains(&format!("\n  {ERROR}division_by_zero (SQLSTATE 22012)")), "{shown:?}");
    assert!(shown.contains(&format!("\n  {WARNING}")), "{shown:?}");
    plain(&shown);
}

#[test]
fn a_scrape_colours_the_level_in_the_log_and_nothing_of_the_exposition() {
    let database = Server::shared().database("terminal_scrape");
    let terminal = terminal().with("DATABASE_URL", database.url());
    let (status, both) = shown(&terminal, "exporter scrape");
    assert_eq!(status, 0, "{both}");
    assert!(both.contains("\u{1b}[1;31mERROR\u{1b}[0m mistake in a query file problem="), "{both:?}");
    assert!(both.contains("\u{1b}[1;33mWARN\u{1b}[0m "), "{both:?}");
    assert!(plain(&both).contains("\ngood_v 1\n"), "{both:?}");
    // Each stream for itself: neither a file nor a pipe has colours because the other is a terminal.
    let (_, errors) = shown(&terminal, "exporter scrape | tail -n 1 >result; cat result");
    assert!(errors.contains("\u{1b}[1;31mERROR\u{1b}[0m "), "{errors:?}");
    let (_, output) = shown(&terminal, "exporter scrape 2>log; cat log");
    assert!(output.contains("ERROR mistake in a query file"), "{output:?}");
    assert!(!output.contains('\u{1b}'), "{output:?}");
    let (_, piped) = shown(&terminal, "exporter check | cat");
    assert!(piped.contains("error: queries.yml:13: ") && !piped.contains('\u{1b}'), "{piped:?}");
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted() {
    for (terminal, has_colours) in [
        (terminal().with("NO_COLOR", "1"), false),
        (terminal().with("NO_COLOR", "0"), false),
        (terminal().with("NO_COLOR", ""), true),
        (terminal().with("TERM", "dumb"), false),
    ] {
        let terminal = terminal.with("PGHOST", "127.0.0.1").with("PGUSER", "nobody").with("PGPORT", "1");
        for command in ["exporter check", "exporter scrape"] {
            let (_, shown) = shown(&terminal, command);
            assert_eq!(shown.contains('\u{1b}'), has_colours, "{command}: {shown:?}");
            plain(&shown);
        }
    }
}

#[test]
fn a_column_by_the_name_of_a_message_is_no_message() {
    let queries = "q:\n  query: >-\n    SELECT 1 AS \"error:\", 2 AS \"warning: \"\n";
    let database = Server::shared().database("terminal_columns");
    let terminal = terminal().file("queries.yml", queries).with("DATABASE_URL", database.url());
    let (_, shown) = shown(&terminal, "exporter check --database");
    assert!(shown.contains("\n  error:  ") && shown.contains("\n  warning:  "), "{shown:?}");
}
