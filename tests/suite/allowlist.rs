//! Statements from a grammar, on a real server: those that are accepted leave the session and the database as they were.
//!
//! The exporter shares a session with another client by way of PgBouncer in transaction mode, and its role may create
//! tables. So whatever a statement leaves behind is found by that client. `GENERATED_STATEMENTS` says how many are
//! accepted, `GENERATED_SEED` repeats a run.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use pg_lambda_exporter::database::{Connection, QueryError};
use pg_lambda_exporter::sql::Sql;
use tokio_postgres::SimpleQueryMessage;

use crate::pgbouncer::Pgbouncer;
use crate::postgres::{PASSWORD, ROLE, Server, TestDatabase};

/// Nothing here takes as long.
const LIMIT: Duration = Duration::from_secs(30);

/// How many are sent before the state is compared.
const BATCH: usize = 20;

/// The productions of the grammar by name. Words are separated by blanks, and `{…}` is a production or one of
/// [`Grammar::special`]. The first of each is the one that ends a recursion.
const GRAMMAR: &[(&str, &[&str])] = &[
    (
        "message",
        &["{statement}", "{statement}", "{statement} ; {statement}", "; {statement} ; {statement} ;"],
    ),
    (
        "statement",
        &[
            "{query}",
            "{query}",
            "{query}",
            "{explain}",
            "{explain}",
            "{explain}",
            "SET {set}",
            "SET {set}",
            "SHOW {setting}",
            "SELECT {hidden}",
            "{cursor}",
            "{other}",
        ],
    ),
    (
        "query",
        &[
            "SELECT {list}",
            "SELECT {list} {into}",
            "SELECT {list} {into} FROM {table}",
            "SELECT {list} FROM {table}",
            "SELECT {list} FROM {table} FOR UPDATE",
            "SELECT {list} {into} UNION SELECT {list}",
            "SELECT q.* FROM ( {query} ) AS q",
            "VALUES ( {value} )",
            "TABLE {table}",
            "( {query} )",
            "( {query} ) UNION ALL ( {query} )",
            "WITH {list of queries} {main}",
            "WITH {list of queries} {main}",
        ],
    ),
    ("list", &["{value} AS i", "{value} AS i", "{padding} {value} AS i"]),
    (
        "value",
        &["1", "1", "count ( * )", "( SELECT 1 )", "CASE WHEN true THEN 1 END", "length ( {literal} )"],
    ),
    (
        "into",
        &[
            "INTO left_behind",
            "INTO TABLE \"left_behind\"",
            "INTO TEMP left_behind",
            "INTO LOCAL TEMPORARY left_behind",
            "INTO UNLOGGED left_behind",
        ],
    ),
    ("table", &["theirs", "own", "\"theirs\"", "pg_temp.theirs", "U&\"the\\0069rs\"", "pg_database"]),
    (
        "list of queries",
        &[
            "x AS ( SELECT 1 AS i )",
            "x AS ( {query} )",
            "x ( i ) AS MATERIALIZED ( {query} )",
            "x AS NOT MATERIALIZED ( {query} )",
            "x AS ( {change} )",
            "x ( i ) AS MATERIALIZED ( {change} )",
            "update AS ( {query} ) , x AS ( {query} )",
            "RECURSIVE x ( i ) AS ( SELECT 1 UNION ALL SELECT i + 1 FROM x WHERE i < 3 ) SEARCH DEPTH FIRST BY i SET o",
        ],
    ),
    (
        "main",
        &[
            "SELECT * FROM x",
            "SELECT * {into} FROM x",
            "SELECT i AS delete FROM x",
            "TABLE x",
            "( SELECT 1 )",
            "{change}",
        ],
    ),
    (
        "change",
        &[
            "DELETE FROM {table} RETURNING 1 AS i",
            "UPDATE {table} SET i = 7 RETURNING i",
            "UPDATE ONLY {table} SET i = 7",
            "INSERT INTO {table} VALUES ( 7 ) RETURNING i",
            "MERGE INTO {table} USING x ON true WHEN MATCHED THEN DELETE",
        ],
    ),
    (
        "explain",
        &[
            "EXPLAIN {explained}",
            "EXPLAIN ANALYZE {explained}",
            "EXPLAIN ANALYSE VERBOSE {explained}",
            "EXPLAIN ( ANALYZE ) {explained}",
            "EXPLAIN ( {options} ) {explained}",
        ],
    ),
    ("options", &["ANALYZE", "{option} , {options}", "{options} , {option}", "{options padding} ANALYZE"]),
    ("option", &["VERBOSE", "COSTS off", "TIMING false", "BUFFERS true", "FORMAT json", "FORMAT 'text'"]),
    (
        "explained",
        &[
            "{query}",
            "{query}",
            "{query}",
            "{query}",
            "{change}",
            "CREATE TABLE left_behind AS {query}",
            "CREATE TEMP TABLE left_behind AS {query}",
            "CREATE MATERIALIZED VIEW left_behind AS SELECT 1",
            "DECLARE left_behind CURSOR WITH HOLD FOR SELECT 1",
            "EXECUTE theirs",
        ],
    ),
    (
        "set",
        &[
            "{assignment}",
            "{assignment}",
            "{assignment}",
            "LOCAL {assignment}",
            "SESSION {assignment}",
            "TRANSACTION READ WRITE",
            "LOCAL TRANSACTION READ WRITE",
            "SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
            "SESSION AUTHORIZATION DEFAULT",
            "CONSTRAINTS ALL DEFERRED",
        ],
    ),
    (
        "assignment",
        &[
            "work_mem = '6MB'",
            "\"work_mem\" TO '7MB'",
            "Work_Mem TO DEFAULT",
            "U&\"work_me\\006D\" = '8MB'",
            "search_path TO pg_catalog , public",
            "search_path FROM CURRENT",
            "SCHEMA 'pg_catalog'",
            "TIME ZONE 'Asia/Tokyo'",
            "TIME ZONE INTERVAL '+03:00' HOUR TO MINUTE",
            "TIME ZONE LOCAL",
            "NAMES",
            "NAMES 'LATIN1'",
            "XML OPTION DOCUMENT",
            "ROLE pg_monitor",
            "role = 'pg_monitor'",
            "session_authorization TO scraper",
            "DateStyle = 'German'",
            "IntervalStyle TO iso_8601",
            "extra_float_digits = 0",
            "bytea_output = 'escape'",
            "client_min_messages TO warning",
            "statement_timeout = 0",
            "transaction_read_only = off",
            "default_transaction_read_only TO on",
            "standard_conforming_strings = off",
            "standard_conforming_strings TO on",
            "seed = 0.5",
            "session.x = 1",
            "local.x TO 1",
            "constraints = 1",
        ],
    ),
    (
        "setting",
        &[
            "work_mem",
            "ALL",
            "TIME ZONE",
            "TRANSACTION ISOLATION LEVEL",
            "SESSION AUTHORIZATION",
            "\"DateStyle\"",
        ],
    ),
    (
        "cursor",
        &[
            "DECLARE left_behind CURSOR WITH HOLD FOR {query}",
            "DECLARE left_behind CURSOR FOR {query}",
            "FETCH ALL FROM theirs",
            "MOVE ALL FROM theirs",
            "CLOSE theirs",
            "CLOSE ALL",
        ],
    ),
    (
        "other",
        &[
            "COMMIT",
            "COMMIT ; CREATE TABLE left_behind ( i int )",
            "END ; SET work_mem = '9MB'",
            "ROLLBACK AND CHAIN",
            "ABORT",
            "BEGIN",
            "START TRANSACTION READ WRITE",
            "SAVEPOINT s",
            "RELEASE s",
            "PREPARE left_behind AS SELECT 1",
            "EXECUTE theirs",
            "DEALLOCATE ALL",
            "DEALLOCATE theirs",
            "LISTEN left_behind",
            "UNLISTEN *",
            "NOTIFY theirs",
            "DISCARD ALL",
            "DISCARD PLANS",
            "RESET ALL",
            "RESET work_mem",
            "LOAD 'plpgsql'",
            "CALL leave ( )",
            "DO {block}",
            "{change}",
            "TRUNCATE theirs",
            "DROP TABLE theirs",
            "LOCK TABLE own",
            "CREATE TABLE left_behind ( i int )",
            "CREATE FUNCTION left_behind ( ) RETURNS int LANGUAGE SQL RETURN 1",
            "CREATE TYPE left_behind AS ( i int )",
        ],
    ),
];

/// How one token may be kept from the next, beside a blank. Nothing here may end a comment or begin a string.
const GAPS: &[&str] = &[
    "\n",
    "\t",
    " \r\n ",
    "/**/",
    " /* INTO ; COMMIT */ ",
    " /* ' /* \" */ ' */ ",
    " -- '; COMMIT;\n",
    " --\r",
];

/// What is hidden behind a string that ends earlier with `standard_conforming_strings = off`.
const HIDDEN: &[&str] = &[
    "COMMIT; CREATE TABLE left_behind (i int); SELECT 1",
    "COMMIT; SET work_mem = \"9MB\"; SELECT 1",
    "EXPLAIN ANALYZE SELECT 1 AS i INTO TEMP left_behind",
    "END; DISCARD ALL",
];

struct Grammar {
    rng: Rng,
    text: String,
}

impl Grammar {
    fn message(rng: &mut Rng) -> String {
        let mut grammar = Self { rng: rng.fork(), text: String::new() };
        grammar.expand("message", 0);
        grammar.text
    }

    fn expand(&mut self, name: &str, depth: usize) {
        let Some((_, productions)) = GRAMMAR.iter().find(|(rule, _)| *rule == name) else {
            return self.special(name);
        };
        let production = if depth > 12 { productions[0] } else { self.choose(productions) };
        // A name in braces may have blanks.
        for (index, part) in production.split(['{', '}']).enumerate() {
            match index % 2 {
                0 => part.split_whitespace().for_each(|word| self.word(word)),
                _ => self.expand(part, depth + 1),
            }
        }
    }

    fn special(&mut self, name: &str) {
        match name {
            "literal" => {
                let literal = self.literal();
                self.push(&literal);
            }
            "hidden" => {
                let hidden = self.hidden();
                self.push(&hidden);
            }
            "block" => self.push("$$BEGIN EXECUTE 'EXPLAIN ANALYZE SELECT 1 INTO TEMP left_behind'; END$$"),
            "padding" => (0..self.rng.usize(1..150)).for_each(|_| self.push("1,")),
            "options padding" => (0..self.rng.usize(1..150)).for_each(|_| self.push("COSTS on,")),
            _ => panic!("the grammar has no {name}"),
        }
    }

    fn choose<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.rng.usize(..from.len())]
    }

    /// Keywords, which are upper case in the grammar, get any case.
    fn word(&mut self, word: &str) {
        if !word.bytes().all(|c| c.is_ascii_uppercase()) {
            return self.push(word);
        }
        let word = match self.rng.u8(..4) {
            0 => word.to_ascii_lowercase(),
            1 => word.chars().map(|c| if self.rng.bool() { c } else { c.to_ascii_lowercase() }).collect(),
            _ => word.to_owned(),
        };
        self.push(&word);
    }

    fn push(&mut self, token: &str) {
        if !self.text.is_empty() {
            let gap = if self.rng.u8(..8) > 0 { " " } else { self.choose(GAPS) };
            self.text.push_str(gap);
        }
        self.text.push_str(token);
    }

    /// A string that is sound with `standard_conforming_strings = on`.
    fn literal(&mut self) -> String {
        const PIECES: &[&str] = &[
            "a",
            "a",
            "''",
            "\\\\",
            ";",
            "\"",
            "$$",
            "--",
            "/*",
            "\n",
            "INTO",
            "'\n'",
            "; COMMIT; LISTEN x; --",
        ];
        let (prefix, backslashes): (_, &[&str]) = match self.rng.u8(..8) {
            0 | 1 => ("E", &["\\'", "\\n", "\\\\"]),
            2 => ("N", &["\\"]),
            3 => ("U&", &["\\0061"]),
            4 => {
                let body: String = (0..self.rng.usize(..6)).map(|_| self.choose(PIECES)).collect();
                return format!("$Q${body}$Q$");
            }
            _ => ("", &["\\", "\\d"]),
        };
        let mut literal = format!("{prefix}'");
        for _ in 0..self.rng.usize(..6) {
            let piece = if self.rng.bool() { self.choose(PIECES) } else { self.choose(backslashes) };
            literal.push_str(piece);
        }
        literal + "'"
    }

    /// A string with a statement in it that runs with `standard_conforming_strings = off`, unless it is kept from it.
    fn hidden(&mut self) -> String {
        let beginning = ["'\\''", "'a\\\\\\''", "'\\'''", "N'\\''", "'a'\n'\\''", "E'\\\\' || '\\''"];
        format!("{}; {} --'", self.choose(&beginning), self.choose(HIDDEN))
    }
}

/// A session of the server that the exporter shares with another client.
struct Shared {
    _database: TestDatabase,
    _pgbouncer: Pgbouncer,
    other: tokio_postgres::Client,
    exporter: Connection,
    /// As the other client left it.
    before: Vec<String>,
}

const STATE: &str = "
SELECT 'relation', concat_ws(' ', oid, oid::regclass, relkind, relowner, relacl) FROM pg_class WHERE oid >= 16384
UNION ALL SELECT 'function', concat_ws(' ', oid, oid::regprocedure) FROM pg_proc WHERE oid >= 16384
UNION ALL SELECT 'type', concat_ws(' ', oid, typname) FROM pg_type WHERE oid >= 16384
UNION ALL SELECT 'schema', concat_ws(' ', oid, nspname) FROM pg_namespace
UNION ALL SELECT 'dependencies', count(*)::text FROM pg_depend
UNION ALL SELECT 'setting', concat_ws(' ', name, setting, source) FROM pg_settings
UNION ALL SELECT 'role', concat_ws(' ', session_user, current_user)
UNION ALL SELECT 'prepared statement', concat_ws(' ', name, statement) FROM pg_prepared_statements
UNION ALL SELECT 'cursor', concat_ws(' ', name, statement, is_holdable) FROM pg_cursors
UNION ALL SELECT 'advisory lock', concat_ws(' ', classid, objid, mode)
          FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
UNION ALL SELECT 'channel', channel FROM pg_listening_channels() AS channel
UNION ALL SELECT 'temporary rows', string_agg(i::text, ' ') FROM theirs
UNION ALL SELECT 'rows', string_agg(i::text, ' ') FROM own
UNION ALL SELECT 'process', pg_backend_pid()::text
ORDER BY 1, 2";

impl Shared {
    async fn new(name: &str, standard_conforming_strings: &str) -> Self {
        let database = Server::shared().database(name);
        database.admin(&format!(
            "ALTER DATABASE {name} SET standard_conforming_strings = {standard_conforming_strings};
             GRANT CREATE ON SCHEMA public TO {ROLE};
             CREATE TABLE own AS SELECT 1 AS i;
             ALTER TABLE own OWNER TO {ROLE};
             CREATE PROCEDURE leave() LANGUAGE plpgsql AS
             $$BEGIN EXECUTE 'EXPLAIN ANALYZE SELECT 1 INTO TEMP left_behind'; END$$;
             CREATE FUNCTION run_text(sql text) RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE sql; END'"
        ));
        let pgbouncer = Pgbouncer::start(&database);
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(pgbouncer.target().port).dbname(name).user(ROLE).password(PASSWORD);
        let (other, driver) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(driver);
        for sql in [
            "CREATE TEMP TABLE theirs AS SELECT 1 AS i",
            "PREPARE theirs AS SELECT 1 AS i",
            "DECLARE theirs CURSOR WITH HOLD FOR SELECT 1 AS i",
            "LISTEN theirs",
            "SELECT pg_advisory_lock(1)",
            "SET work_mem = '5MB'",
        ] {
            other.simple_query(sql).await.unwrap();
        }
        let exporter = Connection::open(&pgbouncer.target(), LIMIT).await.unwrap();
        let mut shared = Self { _database: database, _pgbouncer: pgbouncer, other, exporter, before: vec![] };
        shared.before = shared.state().await;
        let setting = format!("setting: standard_conforming_strings {standard_conforming_strings} database");
        assert!(shared.before.contains(&setting), "{:?}", shared.before);
        shared
    }

    async fn state(&self) -> Vec<String> {
        let messages = self.other.simple_query(STATE).await.unwrap();
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        rows.map(|row| format!("{}: {}", row.get(0).unwrap(), row.get(1).unwrap_or("NULL"))).collect()
    }

    /// What is there now and was not before, and the other way round.
    async fn difference(&self) -> Vec<String> {
        let after = self.state().await;
        let gone = self.before.iter().filter(|line| !after.contains(line)).map(|line| format!("- {line}"));
        let new = after.iter().filter(|line| !self.before.contains(line)).map(|line| format!("+ {line}"));
        gone.chain(new).collect()
    }

    async fn run(&mut self, text: &str) -> Result<(), QueryError> {
        let result = self.exporter.run(&Sql::parse(text).unwrap(), LIMIT, LIMIT).await;
        assert!(self.exporter.is_usable(), "{text:?}: {result:?}");
        result.map(|_| ())
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

#[tokio::test]
async fn accepted_statements_leave_everything_as_it_was() {
    let count = variable("GENERATED_STATEMENTS").unwrap_or(1000);
    let seed = variable("GENERATED_SEED").unwrap_or_else(|| fastrand::u64(..));
    let mut rng = Rng::with_seed(seed);
    let mut standard = Shared::new("allowlist_on", "on").await;
    let mut escapes = Shared::new("allowlist_off", "off").await;
    let (mut accepted, mut succeeded, mut differed) = (0, 0, 0);
    let mut commands: BTreeMap<String, usize> = BTreeMap::new();
    while accepted < count {
        let mut batch = vec![];
        while batch.len() < BATCH {
            let text = Grammar::message(&mut rng);
            if Sql::parse(&text).is_ok() {
                batch.push(text);
            }
        }
        for text in &batch {
            if standard.run(text).await.is_ok() {
                succeeded += 1;
                let command = text.trim_start_matches([';', ' ']).split(|c: char| !c.is_alphabetic()).next();
                *commands.entry(command.unwrap().to_ascii_uppercase()).or_default() += 1;
            }
            let result = escapes.run(text).await;
            differed += u64::from(matches!(result, Err(QueryError::StringsDiffer)));
        }
        accepted += batch.len() as u64;
        for (shared, strings) in [(&standard, "on"), (&escapes, "off")] {
            let difference = shared.difference().await;
            if !difference.is_empty() {
                let guilty = guilty(&batch, strings).await;
                panic!(
                    "GENERATED_SEED={seed}: {difference:#?} with standard_conforming_strings = {strings} after {guilty:#?}"
                );
            }
        }
    }
    assert!(succeeded > count / 2, "GENERATED_SEED={seed}: of {accepted} only {succeeded} ran");
    assert!(differed > count / 100, "GENERATED_SEED={seed}: only {differed} strings differed");
    for command in ["EXPLAIN", "SELECT", "SET", "SHOW", "TABLE", "VALUES", "WITH"] {
        assert!(commands.contains_key(command), "GENERATED_SEED={seed}: no {command} ran: {commands:?}");
    }
}

/// Those of a batch that leave something behind in a session of their own; all of them if none does.
async fn guilty(batch: &[String], standard_conforming_strings: &str) -> Vec<String> {
    let mut guilty = vec![];
    for text in batch {
        let mut shared = Shared::new("allowlist_again", standard_conforming_strings).await;
        let _ = shared.run(text).await;
        if !shared.difference().await.is_empty() {
            guilty.push(text.clone());
        }
    }
    if guilty.is_empty() { batch.to_vec() } else { guilty }
}

/// docs/security.md says what functions leave behind, which no statement may.
#[tokio::test]
async fn functions_leave_behind_what_the_page_on_security_says() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/security.md")).unwrap();
    let section = page.split("### Functions that leave something behind").nth(1).unwrap();
    let mut shared = Shared::new("allowlist_functions", "on").await;
    for (function, sql, left) in [
        (
            "set_config(…, false)",
            "SELECT set_config('work_mem', '9MB', false)",
            "current_setting('work_mem') = '9MB'",
        ),
        (
            "`my.setting`",
            "SELECT set_config('my.setting', 'x', true)",
            "current_setting('my.setting', true) = ''",
        ),
        (
            "pg_advisory_lock",
            "SELECT pg_advisory_lock(2)",
            "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 2)",
        ),
        ("setseed", "SELECT setseed(0.5)", "set_config('my.random', random()::text, false) <> ''"),
        ("setseed", "SELECT setseed(0.5)", "random()::text = current_setting('my.random')"),
        ("pg_logical_emit_message", "SELECT pg_logical_emit_message(true, 'x', 'x')", "true"),
        ("pg_notify", "SELECT pg_notify('theirs', 'x')", "true"),
        (
            "`EXECUTE`",
            "SELECT run_text('PREPARE p AS SELECT 1')",
            "EXISTS (SELECT FROM pg_prepared_statements WHERE name = 'p')",
        ),
        (
            "`EXPLAIN ANALYZE SELECT … INTO`",
            "SELECT run_text('EXPLAIN ANALYZE SELECT 1 INTO TEMP t')",
            "to_regclass('pg_temp.t') IS NOT NULL",
        ),
        (
            "changes of temporary tables",
            "SELECT run_text('DELETE FROM theirs')",
            "NOT EXISTS (SELECT FROM theirs)",
        ),
    ] {
        assert!(section.contains(function), "{function}");
        shared.run(sql).await.unwrap();
        let rows = shared.other.simple_query(&format!("SELECT {left}")).await.unwrap();
        let is_left =
            rows.iter().any(|row| matches!(row, SimpleQueryMessage::Row(row) if row.get(0) == Some("t")));
        assert!(is_left, "{sql}");
    }
    assert!(
        section.contains("lo_create") && section.contains("PostgreSQL 16 and later refuse them"),
        "{section}"
    );
    let large_object = shared.run("SELECT lo_create(0)").await;
    let version: u32 =
        Server::shared().admin("SHOW server_version_num")[0][0].as_ref().unwrap().parse().unwrap();
    assert_eq!(large_object.is_ok(), version < 160_000, "{large_object:?}");
}
