//! SQL that is refused, sent, and sent with a change.

use pg_lambda_exporter::sql::{Refusal, Sql, SqlProblem};
use proptest::prelude::*;

/// What the SQL is sent as, or the first words of the statement that is refused, with its line.
fn outcome(text: &str) -> Result<String, (String, usize)> {
    match Sql::parse(text) {
        Ok(sql) => Ok(sql.as_str().to_owned()),
        Err(SqlProblem::Refused { command, line, .. }) => Err((command.to_owned(), line)),
        Err(other) => Err((other.to_string(), 0)),
    }
}

/// Each rule of the allowlist has a row that no other rule refuses, or not with these words.
#[test]
fn each_rule_refuses_its_statements_and_names_them() {
    let table = [
        // The first word.
        ("ABORT", "ABORT", 1),
        ("begin", "BEGIN", 1),
        ("BEGIN READ WRITE; SELECT 1", "BEGIN", 1),
        ("CALL p()", "CALL", 1),
        ("CLOSE ALL", "CLOSE", 1),
        ("COMMIT", "COMMIT", 1),
        ("COPY (SELECT 1) TO STDOUT", "COPY", 1),
        ("DEALLOCATE ALL", "DEALLOCATE", 1),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "DECLARE", 1),
        ("DISCARD ALL", "DISCARD", 1),
        ("DO $body$ BEGIN PERFORM 1; END $body$", "DO", 1),
        ("do language plpgsql 'BEGIN END'", "DO", 1),
        ("EXECUTE a", "EXECUTE", 1),
        ("FETCH ALL FROM c", "FETCH", 1),
        ("LISTEN a", "LISTEN", 1),
        ("LOAD 'auto_explain'", "LOAD", 1),
        ("MOVE NEXT FROM c", "MOVE", 1),
        ("NOTIFY a", "NOTIFY", 1),
        ("PREPARE TRANSACTION 'a'", "PREPARE", 1),
        ("PREPARE a AS SELECT 1", "PREPARE", 1),
        ("RELEASE a", "RELEASE", 1),
        ("RESET ALL", "RESET", 1),
        ("ROLLBACK", "ROLLBACK", 1),
        ("SAVEPOINT a", "SAVEPOINT", 1),
        ("START TRANSACTION", "START", 1),
        ("UNLISTEN *", "UNLISTEN", 1),
        // Any other first word.
        ("ANALYZE", "this statement", 1),
        ("CHECKPOINT", "this statement", 1),
        ("CLUSTER", "this statement", 1),
        ("CREATE TABLE t (v int)", "this statement", 1),
        ("CREATE TABLE t AS SELECT 1", "this statement", 1),
        ("DELETE FROM t", "this statement", 1),
        ("DROP TABLE t", "this statement", 1),
        ("INSERT INTO t VALUES (1)", "this statement", 1),
        ("LOCK TABLE t IN ACCESS EXCLUSIVE MODE", "this statement", 1),
        ("MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE", "this statement", 1),
        ("REFRESH MATERIALIZED VIEW v", "this statement", 1),
        ("REINDEX TABLE t", "this statement", 1),
        ("SELECT 1; TRUNCATE t", "this statement", 1),
        ("UPDATE t SET v = 1", "this statement", 1),
        ("VACUUM", "this statement", 1),
        ("commitment", "this statement", 1),
        ("\"SELECT\" 1", "this statement", 1),
        ("'SELECT' 1", "this statement", 1),
        // EXPLAIN, which runs what it explains.
        ("EXPLAIN ANALYZE CREATE TABLE x AS SELECT 1", "EXPLAIN of another statement", 1),
        (
            "EXPLAIN (ANALYZE, BUFFERS false, FORMAT json) CREATE MATERIALIZED VIEW x AS SELECT 1",
            "EXPLAIN of another statement",
            1,
        ),
        ("EXPLAIN (ANALYZE) EXECUTE a", "EXPLAIN of another statement", 1),
        ("EXPLAIN ANALYZE DECLARE c CURSOR FOR SELECT 1", "EXPLAIN of another statement", 1),
        ("EXPLAIN ANALYZE VERBOSE REFRESH MATERIALIZED VIEW x", "EXPLAIN of another statement", 1),
        ("EXPLAIN ANALYZE DELETE FROM t", "EXPLAIN of another statement", 1),
        ("EXPLAIN", "EXPLAIN of another statement", 1),
        ("EXPLAIN (ANALYZE", "EXPLAIN of another statement", 1),
        // INTO, wherever it is.
        ("EXPLAIN ANALYZE SELECT 1 AS v INTO t", "INTO", 1),
        ("EXPLAIN ANALYZE SELECT 1 AS v\nINTO TEMP t", "INTO", 2),
        ("explain (analyze, format json) select 1 as v into unlogged t", "INTO", 1),
        ("EXPLAIN ANALYSE VERBOSE WITH x AS (SELECT 1 AS v) SELECT v INTO t FROM x", "INTO", 1),
        ("EXPLAIN ANALYZE ((SELECT 1 AS v INTO t) UNION SELECT 2)", "INTO", 1),
        ("EXPLAIN ANALYZE (SELECT 1 AS v/**/INTO/**/t)", "INTO", 1),
        ("SELECT 1 AS v INTO t", "INTO", 1),
        ("(SELECT 1 AS v INTO TEMP t)", "INTO", 1),
        ("WITH x AS (INSERT INTO t VALUES (1) RETURNING v) SELECT * FROM x", "INTO", 1),
        ("WITH x AS (SELECT 1)\nINSERT INTO t TABLE x", "INTO", 2),
        ("WITH x AS (SELECT 1) MERGE INTO t USING x ON true WHEN MATCHED THEN DELETE", "INTO", 1),
        // WITH, whose queries and whose statement may change temporary tables.
        ("WITH x AS (DELETE FROM t RETURNING v) SELECT * FROM x", "DELETE", 1),
        ("WITH x AS (UPDATE t SET v = 1 RETURNING v) SELECT * FROM x", "UPDATE", 1),
        ("WITH x AS MATERIALIZED (DELETE FROM t RETURNING v) TABLE x", "DELETE", 1),
        ("WITH x AS NOT MATERIALIZED (UPDATE ONLY t SET v = 1 RETURNING v) TABLE x", "UPDATE", 1),
        ("WITH x AS (SELECT 1), y AS (\nDELETE FROM t RETURNING v) TABLE x", "DELETE", 2),
        ("WITH x AS (SELECT 1) DELETE FROM t", "DELETE", 1),
        ("WITH x AS (SELECT 1) UPDATE t SET v = 1", "UPDATE", 1),
        ("WITH x AS (SELECT 1) UPDATE \"t\" SET v = (SELECT 1)", "UPDATE", 1),
        (
            "WITH RECURSIVE x (a) AS (SELECT 1) SEARCH DEPTH FIRST BY a SET b DELETE FROM t USING (SELECT 1) u",
            "DELETE",
            1,
        ),
        ("(WITH x AS (DELETE FROM t RETURNING v) TABLE x)", "DELETE", 1),
        ("WITH x AS (WITH y AS (SELECT 1) UPDATE t SET v = 1 RETURNING v) TABLE x", "UPDATE", 1),
        ("WITH x AS (WITH y AS (SELECT 1) DELETE FROM t RETURNING v) SELECT * FROM x", "DELETE", 1),
        ("SELECT 1)); WITH x AS (SELECT 1) DELETE FROM t", "DELETE", 1),
        ("EXPLAIN ANALYZE WITH x AS (DELETE FROM t RETURNING v) TABLE x", "DELETE", 1),
        ("EXPLAIN (ANALYZE) (WITH x AS (UPDATE t SET v = 1 RETURNING v) TABLE x)", "UPDATE", 1),
        ("EXPLAIN ANALYZE WITH x AS (SELECT 1) DELETE FROM t", "DELETE", 1),
        // SET.
        ("SET TRANSACTION READ WRITE", "SET TRANSACTION", 1),
        ("SET/**/LOCAL--\nTRANSACTION READ WRITE", "SET TRANSACTION", 1),
        ("SET SESSION work_mem = '1MB'", "SET SESSION", 1),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", "SET SESSION", 1),
        ("SET SESSION AUTHORIZATION a", "SET SESSION", 1),
        ("SET LOCAL SESSION AUTHORIZATION a", "SET SESSION", 1),
        ("SET seed = 0.5", "SET SEED", 1),
        ("SET LOCAL \"Seed\" TO 0.5", "SET SEED", 1),
        ("SET LOCAL U&\"\\0073eed\" TO 0.5", "SET U&", 1),
        ("SET u&\"seed\" = 0.5", "SET U&", 1),
        // Statements behind others.
        ("select 1; commit", "COMMIT", 1),
        ("SELECT 1;\n;\n/* x */ CoMmIt AND CHAIN;", "COMMIT", 3),
        ("SELECT 1;--\n--\nEND", "END", 3),
        ("SELECT '\\'; COMMIT; --'", "COMMIT", 1),
        ("SELECT E'a'\n'\\'' ; COMMIT", "COMMIT", 2),
        ("SELECT a$b$; COMMIT; SELECT a$b$", "COMMIT", 1),
        ("SELECT (1; COMMIT", "COMMIT", 1),
        (
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END; SELECT 1",
            "this statement",
            1,
        ),
    ];
    for (text, command, line) in table {
        assert_eq!(outcome(text), Err((command.to_owned(), line)), "{text}");
    }
}

#[test]
fn a_statement_is_looked_at_to_its_end() {
    let padding = "1, ".repeat(10_000);
    assert_eq!(outcome(&format!("EXPLAIN ANALYZE SELECT {padding} 2 INTO t")), Err(("INTO".to_owned(), 1)));
    let list = format!("WITH x AS (SELECT {padding} 2), y AS (DELETE FROM t RETURNING v) TABLE x");
    assert_eq!(outcome(&list), Err(("DELETE".to_owned(), 1)));
    let options = "VERBOSE false, ".repeat(10_000);
    let explained = format!("EXPLAIN ({options} ANALYZE) CREATE TABLE t AS SELECT 1");
    assert_eq!(outcome(&explained), Err(("EXPLAIN of another statement".to_owned(), 1)));
}

#[test]
fn everything_else_is_sent_as_it_is() {
    for text in [
        "SELECT 1",
        " ; SELECT 1 ; ; VALUES (1) ;\r\n",
        "SELECT 'a; COMMIT'",
        "SELECT ';'';COMMIT;'",
        "SELECT E'\\'; COMMIT; --'",
        "SELECT E'a'\n 'b\\'; COMMIT; --'",
        "SELECT \"; COMMIT; \"\"\"",
        "SELECT U&'\\0041; COMMIT'",
        "SELECT $$; COMMIT; $$",
        "SELECT 1 /* ; COMMIT; /* */ ; COMMIT */",
        "-- COMMIT;\nSELECT 1",
        "SELECT 1 AS commit, begin FROM \"END\"",
        "SELECT CASE WHEN true THEN 1 END",
        "SELECT 'INTO' AS \"into\", $$ INTO $$ /* INTO */ -- INTO\n, intone FROM x",
        "SELECT sum(d) AS delete, sum(u) AS update FROM x ORDER BY update FOR UPDATE",
        "SELECT delete FROM x",
        "SELECT count(*) delete FROM x",
        "WITH update AS (SELECT 1 AS delete), delete (update) AS (TABLE update) SELECT delete FROM delete",
        "WITH x AS (SELECT sum(d) AS delete FROM y) SELECT x.delete FROM x FOR UPDATE",
        "WITH x AS (SELECT (delete), count(update) FROM y) TABLE x",
        "SELECT (SELECT count(*) delete FROM x), (WITH x AS (SELECT 1 AS i) SELECT i delete FROM x)",
        "SET LOCAL work_mem = '8MB'; SELECT 1",
        "set local role pg_monitor",
        "SET LOCAL transaction_read_only = off",
        "SET CONSTRAINTS ALL DEFERRED",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "EXPLAIN ANALYZE SELECT 1",
        "explain (analyze, buffers false, format json) (VALUES (1))",
        "EXPLAIN (SELECT 1)",
        "EXPLAIN ((SELECT 1))",
        "EXPLAIN VALUES (1)",
        "EXPLAIN VERBOSE WITH x AS (SELECT 1) TABLE x",
        "EXPLAIN TABLE x",
        "(SELECT 1) UNION (SELECT 2)",
        "TABLE x",
        "VALUES (1)",
        "SHOW all",
        "SET TO x; SET FROM x; SET = x; SET 'x' = 1; SET",
    ] {
        assert_eq!(outcome(text).as_deref(), Ok(text));
        assert!(!Sql::parse(text).unwrap().is_localized(), "{text}");
    }
}

/// Whether a string ends elsewhere with `standard_conforming_strings = off`.
#[test]
fn strings_that_end_elsewhere_are_known() {
    for (text, expected) in [
        (r"SELECT '\''; COMMIT --'", true),
        (r"SELECT '\'", true),
        (r"SELECT '\\\'", true),
        (r"SELECT 'a''\''b'", true),
        ("SELECT 'a'\n'\\'", true),
        (r"SELECT N'\'", true),
        (r"SELECT 'x' LIKE 'y' ESCAPE '\'", true),
        // These two do not depend on the setting, or not so that another statement would run.
        (r"SELECT B'\'", true),
        (r"SELECT U&'\'", true),
        ("SELECT 'a''b' ~ '^[a-z][0-9]$'", false),
        (r"SELECT '\d+\.', 'C:\\'", false),
        (r"SELECT '\a''b', '\\''b'", false),
        (r"SELECT E'\''", false),
        ("SELECT E'a'\n'\\''", false),
        (r#"SELECT "\", "a\""#, false),
        (r"SELECT $$\'$$ /* '\' */", false),
    ] {
        let sql = Sql::parse(text).map(|sql| sql.needs_standard_strings());
        assert_eq!(sql, Ok(expected), "{text}");
    }
}

#[test]
fn a_plain_set_becomes_local() {
    let table = [
        ("SET work_mem = '8MB'; SELECT 1", "SET LOCAL work_mem = '8MB'; SELECT 1"),
        ("SELECT 1;\nset/* x */role a;Set b to c", "SELECT 1;\nset LOCAL/* x */role a;Set LOCAL b to c"),
        ("SET TIME ZONE 'UTC'", "SET LOCAL TIME ZONE 'UTC'"),
        ("SET session.x = 1", "SET LOCAL session.x = 1"),
        ("SET local.x TO 1", "SET LOCAL local.x TO 1"),
        ("SET transaction TO 1", "SET LOCAL transaction TO 1"),
        ("SET \"session\" = 1", "SET LOCAL \"session\" = 1"),
        ("SET NAMES", "SET LOCAL NAMES"),
        ("SET session_authorization = a", "SET LOCAL session_authorization = a"),
        ("SET transaction_read_only = off", "SET LOCAL transaction_read_only = off"),
    ];
    for (text, expected) in table {
        let sql = Sql::parse(text).unwrap();
        assert_eq!((sql.as_str(), sql.is_localized()), (expected, true));
    }
}

#[test]
fn statements_are_counted_and_nothing_is_empty() {
    for (text, count) in [
        ("", 0),
        (" ; \n;-- SELECT 1", 0),
        ("/* SELECT 1; */", 0),
        ("SELECT 1", 1),
        ("SELECT 1;;SELECT ';';", 2),
        ("()", 1),
    ] {
        let sql = Sql::parse(text).unwrap();
        assert_eq!(sql.statement_count(), count, "{text}");
    }
}

#[test]
fn a_comment_at_the_end_does_not_swallow_what_is_appended() {
    for (text, expected) in [
        ("SELECT 1 -- x", "SELECT 1 -- x\n"),
        ("SELECT 1 -- x\n", "SELECT 1 -- x\n"),
        ("SELECT 1 /* -- */", "SELECT 1 /* -- */"),
        ("SELECT '-- x'", "SELECT '-- x'"),
        ("-- a\nSELECT 1 --", "-- a\nSELECT 1 --\n"),
    ] {
        assert_eq!(outcome(text).as_deref(), Ok(expected));
    }
}

#[test]
fn problems_say_what_and_where() {
    for (text, message) in [
        ("SELECT\n'a", "a string that begins in line 2 of the SQL does not end"),
        ("SELECT \"a", "a quoted identifier that begins in line 1 of the SQL does not end"),
        ("SELECT $x$ $y$", "a dollar-quoted string that begins in line 1 of the SQL does not end"),
        ("\n\n/* /* */", "a comment that begins in line 3 of the SQL does not end"),
        ("SELECT '\0'", "the SQL holds a NUL character"),
        ("\nRESET x", "RESET (line 2 of the SQL) would change the session beyond this query"),
    ] {
        let problem = Sql::parse(text).unwrap_err();
        assert_eq!(problem.to_string(), message);
        assert!(!problem.hint().is_empty());
    }
    for (text, message, hint) in [
        (
            "DO 'BEGIN END'",
            "DO (line 1 of the SQL) runs code that may write",
            "write SELECT; to change a setting, write SELECT set_config('name', 'value', true)",
        ),
        ("CALL p()", "CALL (line 1 of the SQL) runs code that may write", "write SELECT of a function"),
        (
            "EXPLAIN ANALYZE SELECT 1 INTO t",
            "INTO (line 1 of the SQL) makes a table",
            "remove it, or write \"into\" in double quotes if it is a name",
        ),
        (
            "FETCH c",
            "FETCH (line 1 of the SQL) uses a cursor, which may be another client's behind a pooler",
            "write the SELECT of the cursor",
        ),
        (
            "WITH x AS (DELETE FROM t RETURNING v) TABLE x",
            "DELETE (line 1 of the SQL) may do more than read",
            "write SELECT",
        ),
        (
            "EXPLAIN DELETE FROM t",
            "EXPLAIN of another statement (line 1 of the SQL) may do more than read",
            "explain SELECT, WITH, VALUES or TABLE",
        ),
        (
            "DROP TABLE t",
            "this statement (line 1 of the SQL) may do more than read",
            "begin statements with SELECT, WITH, VALUES, TABLE, SHOW, EXPLAIN or SET",
        ),
    ] {
        let problem = Sql::parse(text).unwrap_err();
        assert_eq!((&*problem.to_string(), problem.hint()), (message, hint), "{text}");
    }
    let Err(SqlProblem::Refused { refusal, .. }) = Sql::parse("commit") else { panic!() };
    assert_eq!(refusal, Refusal::Transaction);
}

/// Pieces that are dense in what the lexer must tell apart.
fn sql_like() -> impl Strategy<Value = String> {
    let pieces = proptest::sample::select(vec![
        "'",
        "''",
        "\"",
        "E'",
        "\\",
        "$$",
        "$a$",
        "$",
        "--",
        "/*",
        "*/",
        "\n",
        "\r",
        " ",
        ";",
        "(",
        ")",
        "=",
        ".",
        "SET",
        "set ",
        "LOCAL ",
        "SESSION ",
        "TRANSACTION ",
        "COMMIT",
        "SELECT 1",
        "é",
        "a",
        "E",
        "1",
        "U&",
    ]);
    proptest::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_gives_an_answer(text in any::<String>()) {
        let _ = Sql::parse(&text);
    }

    #[test]
    fn what_is_sent_differs_by_the_inserted_words_only(text in sql_like()) {
        if let Ok(sql) = Sql::parse(&text) {
            let sent = sql.as_str();
            if !sql.is_localized() {
                prop_assert_eq!(sent.strip_suffix('\n').unwrap_or(sent), text.strip_suffix('\n').unwrap_or(&text));
            }
            prop_assert!(is_text_with_local_inserted(&text, sent), "{text:?} became {sent:?}");
            // What was sent is stable: it is accepted as it is, and nothing is left to change.
            let again = Sql::parse(sent).unwrap();
            prop_assert_eq!(again.as_str(), sent);
            prop_assert!(!again.is_localized());
            prop_assert_eq!(again.statement_count(), sql.statement_count());
            prop_assert_eq!(again.needs_standard_strings(), sql.needs_standard_strings());
        }
    }

    #[test]
    fn nothing_quoted_is_a_statement(inner in "[a-z;' $\"\\\\\n-]{0,12}") {
        let string = format!("SELECT '{}; COMMIT;'", inner.replace('\'', "''"));
        prop_assert!(Sql::parse(&string).is_ok());
        let dollar = format!("SELECT $Q${inner}; COMMIT;$Q$");
        prop_assert!(Sql::parse(&dollar).is_ok());
        let comment = format!("SELECT 1 -- {}; COMMIT;", inner.replace('\n', " "));
        prop_assert!(Sql::parse(&comment).is_ok());
        let after = format!("SELECT '{}'; COMMIT", inner.replace('\'', "''"));
        prop_assert!(Sql::parse(&after).is_err());
    }
}

/// Whether `sent` is `text` with ` LOCAL` behind some occurrences of `SET`, and at most a line break at the end.
fn is_text_with_local_inserted(text: &str, sent: &str) -> bool {
    fn is(text: &str, sent: &str, behind_set: &str) -> bool {
        let inserted =
            behind_set.is_empty() && sent.strip_prefix(" LOCAL").is_some_and(|s| is(text, s, "SET"));
        let mut rest = text.chars();
        let copied = match rest.next() {
            None => matches!(sent, "" | "\n"),
            Some(c) => sent.strip_prefix(c).is_some_and(|sent| {
                let expected = behind_set.strip_prefix(c.to_ascii_uppercase());
                let restarted = "SET".strip_prefix(c.to_ascii_uppercase()).unwrap_or("SET");
                is(rest.as_str(), sent, expected.unwrap_or(restarted))
            }),
        };
        inserted || copied
    }
    is(text, sent, "SET")
}
