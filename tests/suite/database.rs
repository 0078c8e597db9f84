//! Connections and queries against real servers.

use std::time::{Duration, Instant};

use pg_lambda_exporter::connect_options::{Host, Login, SessionAttributes, SslMode, Target, Tls};
use pg_lambda_exporter::database::{ConnectError, Connection, Phase, QueryError};
use pg_lambda_exporter::sql::Sql;
use pg_lambda_exporter::table::Table;

use crate::pgbouncer::Pgbouncer;
use crate::postgres::{REJECTED_ROLE, ROLE, Server, TestDatabase};

/// Long enough for a slow machine; nothing waits for it that succeeds.
const LIMIT: Duration = Duration::from_secs(30);

async fn open(target: &Target) -> Connection {
    Connection::open(target, LIMIT).await.unwrap()
}

async fn run(connection: &mut Connection, sql: &str) -> Result<Table, QueryError> {
    run_within(connection, sql, LIMIT).await
}

async fn run_within(connection: &mut Connection, sql: &str, timeout: Duration) -> Result<Table, QueryError> {
    connection.run(&Sql::parse(sql).unwrap(), timeout, LIMIT).await
}

fn rows(table: &Table) -> Vec<Vec<Option<&str>>> {
    table.rows.iter().map(|row| row.iter().map(Option::as_deref).collect()).collect()
}

fn sqlstate(result: &Result<Table, QueryError>) -> &str {
    match result {
        Err(QueryError::Server { sqlstate, .. }) => sqlstate,
        other => panic!("expected an error of the server, not {other:?}"),
    }
}

#[tokio::test]
async fn rows_come_as_the_server_wrote_them() {
    let database = Server::shared().database("db_rows");
    let mut connection = open(&database.target()).await;

    let table =
        run(&mut connection, "SELECT 1 AS a, NULL AS b, 'ä' AS a UNION ALL SELECT 2, '', 'x'").await.unwrap();
    assert_eq!(table.columns, ["a", "b", "a"]);
    assert_eq!(rows(&table), [[Some("1"), None, Some("ä")], [Some("2"), Some(""), Some("x")]]);

    let table = run(&mut connection, "SELECT 1 AS a WHERE false").await.unwrap();
    assert_eq!((&table.columns[..], table.rows.len()), (&["a".to_owned()][..], 0));

    let table = run(&mut connection, "SET LOCAL work_mem = '8MB'").await.unwrap();
    assert_eq!(table, Table::default());
    let table = run(&mut connection, "-- nothing but a comment").await.unwrap();
    assert_eq!(table, Table::default());
    assert!(connection.is_usable());
}

#[tokio::test]
async fn the_last_result_of_several_statements_counts() {
    let database = Server::shared().database("db_statements");
    let mut connection = open(&database.target()).await;
    let sql = "SELECT 1 AS a; SELECT 2 AS b; SET LOCAL work_mem = '8MB'; -- the end";
    let table = run(&mut connection, sql).await.unwrap();
    assert_eq!((&table.columns[..], rows(&table)), (&["b".to_owned()][..], vec![vec![Some("2")]]));
}

#[tokio::test]
async fn a_cell_that_is_not_utf8_becomes_one_replacement_character() {
    let options = "TEMPLATE template0 ENCODING 'SQL_ASCII'";
    let database = Server::shared().database_with("db_ascii", options);
    database.admin("SET client_encoding = 'SQL_ASCII'; CREATE TABLE t AS SELECT E'\\xe4\\xf6' AS v");
    database.admin(&format!("GRANT SELECT ON t TO {ROLE}"));
    let mut connection = open(&database.target()).await;
    let table = run(&mut connection, "SELECT v, 'after' FROM t").await.unwrap();
    assert_eq!(rows(&table), [[Some("\u{FFFD}"), Some("after")]]);
}

#[tokio::test]
async fn an_error_in_the_middle_of_the_rows_leaves_none() {
    let database = Server::shared().database("db_middle");
    let mut connection = open(&database.target()).await;
    // Enough rows before the error that the server has sent many of them.
    let result = run(&mut connection, "SELECT 1 / (100000 - i) FROM generate_series(1, 200000) AS i").await;
    assert_eq!(sqlstate(&result), "22012");
    assert_eq!(rows(&run(&mut connection, "SELECT 1").await.unwrap()), [[Some("1")]]);
}

/// The words of the server's parser are logged, with names of the query in them, and nobody else's: `hush` is a value.
#[tokio::test]
async fn an_error_says_what_and_not_with_which_value() {
    let database = Server::shared().database("db_errors");
    database.admin(
        "CREATE FUNCTION leak(code text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
        ASSERT code <> 'assert', 'hush';
        RAISE EXCEPTION 'hush' USING ERRCODE = code, DETAIL = 'hush', HINT = 'hush'; END $$;
        CREATE FUNCTION leak_by_sql() RETURNS int LANGUAGE sql AS $$ SELECT leak('42601') $$;
        CREATE FUNCTION execute(text) RETURNS text LANGUAGE plpgsql AS $$
        DECLARE v text; BEGIN EXECUTE $1 INTO v; RETURN v; END $$;
        CREATE TABLE t AS SELECT 'hush'::text AS v; GRANT SELECT ON t TO PUBLIC;
        CREATE TABLE private (v int)",
    );
    let mut connection = open(&database.target()).await;
    let cases = [
        // The parser's own.
        (
            "SELECT * FROM absent",
            "undefined_table (SQLSTATE 42P01) at character 15: relation \"absent\" does not exist",
        ),
        ("SELECT v\nFORM t", "syntax_error (SQLSTATE 42601) at character 15: syntax error at or near \"t\""),
        ("SELECT 1 +", "syntax_error (SQLSTATE 42601) at character 11: syntax error at end of input"),
        (
            "SELECT 'ü€🎉', v",
            "undefined_column (SQLSTATE 42703) at character 15: column \"v\" does not exist",
        ),
        ("SELECT \"v w\"", "undefined_column (SQLSTATE 42703) at character 8: column \"v w\" does not exist"),
        (
            "SELECT 1 + 'hush'::text",
            "undefined_function (SQLSTATE 42883) at character 10: operator does not exist: integer + text",
        ),
        // Literals of the query: as they are, and as a type reads them.
        ("SELECT 1 'hush'", "syntax_error (SQLSTATE 42601) at character 10"),
        ("SELECT 1 e'hush'", "syntax_error (SQLSTATE 42601) at character 10"),
        ("SELECT 1 $$hush$$", "syntax_error (SQLSTATE 42601) at character 10"),
        ("SELECT 12hush", "syntax_error (SQLSTATE 42601) at character 8"),
        ("SELECT 'hush'::int", "invalid_text_representation (SQLSTATE 22P02) at character 8"),
        ("SELECT date 'hush'", "invalid_datetime_format (SQLSTATE 22007) at character 13"),
        ("SELECT 'hush'::regclass", "undefined_table (SQLSTATE 42P01) at character 8"),
        ("SELECT 'hush hush'::tsquery", "syntax_error (SQLSTATE 42601) at character 8"),
        ("SELECT '$.hush ??'::jsonpath", "syntax_error (SQLSTATE 42601) at character 8"),
        // Values of rows.
        ("SELECT v::int FROM t", "invalid_text_representation (SQLSTATE 22P02)"),
        ("SELECT v::regclass FROM t", "undefined_table (SQLSTATE 42P01)"),
        ("SELECT to_tsquery(v || ' ' || v) FROM t", "syntax_error (SQLSTATE 42601)"),
        ("SELECT current_setting(v) FROM t", "undefined_object (SQLSTATE 42704)"),
        ("SELECT query_to_xml('SELECT ' || v, true, true, '') FROM t", "undefined_column (SQLSTATE 42703)"),
        ("SELECT execute('SELECT ' || v) FROM t", "undefined_column (SQLSTATE 42703)"),
        ("SELECT execute('SELECT 1 ''' || v || '''') FROM t", "syntax_error (SQLSTATE 42601)"),
        // Functions.
        ("SELECT leak('P0001')", "raise_exception (SQLSTATE P0001)"),
        ("SELECT leak('assert')", "assert_failure (SQLSTATE P0004)"),
        ("SELECT leak('42601')", "syntax_error (SQLSTATE 42601)"),
        ("SELECT leak('ZZ123')", "SQLSTATE ZZ123"),
        ("SELECT leak_by_sql()", "syntax_error (SQLSTATE 42601)"),
        // Neither the parser's nor a value's.
        ("SELECT * FROM private", "insufficient_privilege (SQLSTATE 42501)"),
        ("SELECT 1/0", "division_by_zero (SQLSTATE 22012)"),
    ];
    for (sql, text) in cases {
        let error = run(&mut connection, sql).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hush"), "{sql}: {error:?}");
        assert_eq!(error.to_string(), text, "{sql}");
    }
}

/// There the server counts bytes.
#[tokio::test]
async fn a_literal_is_not_said_where_the_database_has_no_encoding() {
    let options = "TEMPLATE template0 ENCODING 'SQL_ASCII'";
    let database = Server::shared().database_with("db_ascii_errors", options);
    let mut connection = open(&database.target()).await;
    for (sql, text) in [
        ("SELECT 'üüüüü' AS v, 1 'hush'", "syntax_error (SQLSTATE 42601) at character 24"),
        (
            "SELECT 'üüüüü' AS v, 1 + FORM",
            "undefined_column (SQLSTATE 42703) at character 26: column \"form\" does not exist",
        ),
    ] {
        assert_eq!(run(&mut connection, sql).await.unwrap_err().to_string(), text, "{sql}");
    }
}

const SETTINGS: &str = "SELECT name, setting FROM pg_settings WHERE name IN ('transaction_read_only',
    'statement_timeout', 'DateStyle', 'IntervalStyle', 'extra_float_digits', 'bytea_output', 'client_min_messages')
    ORDER BY name";

#[tokio::test]
async fn settings_hold_inside_and_only_there() {
    let database = Server::shared().database("db_settings");
    database.admin(
        "ALTER DATABASE db_settings SET DateStyle = 'German';
         ALTER DATABASE db_settings SET IntervalStyle = 'iso_8601';
         ALTER DATABASE db_settings SET extra_float_digits = 0;
         ALTER DATABASE db_settings SET bytea_output = 'escape'",
    );
    let mut connection = open(&database.target()).await;
    let inside = run_within(&mut connection, SETTINGS, Duration::from_millis(12_345)).await.unwrap();
    let inside: Vec<_> = rows(&inside).into_iter().map(|row| row[1].unwrap().to_owned()).collect();
    assert_eq!(inside, ["ISO, DMY", "postgres", "hex", "error", "1", "12345", "on"]);

    let values =
        "SELECT '2024-02-01 10:00:00'::timestamp, '1 day 2 hours'::interval, 0.1::float8 + 0.2::float8,
        '\\x00ff'::bytea";
    let expected = ["2024-02-01 10:00:00", "1 day 02:00:00", "0.30000000000000004", "\\x00ff"];
    assert_eq!(rows(&run(&mut connection, values).await.unwrap()), [expected.map(Some)]);

    // A client that shares the connection sees the settings of the database, and so would a message without the
    // prologue: see the test with PgBouncer. Here it is enough that an error leaves no transaction behind.
    assert_eq!(sqlstate(&run(&mut connection, "SELECT 1/0").await), "22012");
    let state = database.admin_cell(&format!(
        "SELECT state FROM pg_stat_activity WHERE usename = '{ROLE}'
        AND datname = current_database()"
    ));
    assert_eq!(state, "idle");
}

#[tokio::test]
async fn a_query_that_writes_fails_and_changes_nothing() {
    let database = Server::shared().database("db_writes");
    database.admin(&format!(
        "CREATE TABLE t (i int); INSERT INTO t VALUES (1); GRANT ALL ON t TO {ROLE}; GRANT ALL ON SCHEMA public TO {ROLE};
         CREATE FUNCTION insert_row() RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (2) RETURNING i';
         CREATE FUNCTION create_table() RETURNS void LANGUAGE plpgsql AS 'BEGIN CREATE TABLE u (i int); END';
         CREATE FUNCTION commit_and_insert() RETURNS void LANGUAGE plpgsql AS
         'BEGIN COMMIT; INSERT INTO t VALUES (3); END';
         CREATE FUNCTION run_text(sql text) RETURNS void LANGUAGE plpgsql AS
         'BEGIN EXECUTE sql; INSERT INTO t VALUES (4); END'"
    ));
    let mut connection = open(&database.target()).await;
    for (sql, code) in [
        ("SELECT create_table()", "25006"),
        ("SELECT insert_row()", "25006"),
        ("SELECT i FROM t FOR UPDATE", "25006"),
        ("SELECT set_config('transaction_read_only','off',true); SELECT insert_row()", "25001"),
        ("SELECT set_config('transaction_read_only','off',false); SELECT insert_row()", "25001"),
        ("SET transaction_read_only = off; SELECT insert_row()", "25001"),
        ("SELECT run_text('SET TRANSACTION READ WRITE')", "25001"),
        ("SELECT commit_and_insert()", "2D000"),
        ("SELECT run_text('CALL commit_and_insert()')", "42809"),
        ("SELECT run_text('COMMIT'); SELECT insert_row()", "0A000"),
    ] {
        assert_eq!(sqlstate(&run(&mut connection, sql).await), code, "{sql}");
        assert!(connection.is_usable(), "{sql}");
    }
    assert_eq!(database.admin_cell("SELECT string_agg(i::text, ',') FROM t"), "1");
    assert_eq!(database.admin_cell("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "1");
}

#[tokio::test]
async fn a_slow_query_is_ended_by_the_server_and_the_connection_survives() {
    let database = Server::shared().database("db_timeout");
    let mut connection = open(&database.target()).await;
    let process = own_process(&mut connection).await;
    let result = run_within(&mut connection, "SELECT pg_sleep(600)", Duration::from_millis(50)).await;
    assert!(matches!(result, Err(QueryError::Timeout)), "{result:?}");
    assert!(connection.is_usable());
    assert_eq!(own_process(&mut connection).await, process);
}

async fn own_process(connection: &mut Connection) -> String {
    rows(&run(connection, "SELECT pg_backend_pid()").await.unwrap())[0][0].unwrap().to_owned()
}

#[tokio::test]
async fn a_lock_is_waited_for_no_longer_than_the_timeout() {
    let database = Server::shared().database("db_lock");
    database.admin(&format!("CREATE TABLE t (i int); GRANT SELECT ON t TO {ROLE}"));
    let other = database.session().await;
    other.batch_execute("BEGIN; LOCK TABLE t").await.unwrap();
    let mut connection = open(&database.target()).await;
    let result = run_within(&mut connection, "SELECT * FROM t", Duration::from_millis(50)).await;
    assert!(matches!(result, Err(QueryError::Timeout)), "{result:?}");
    other.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(run(&mut connection, "SELECT * FROM t").await.unwrap().rows.len(), 0);
}

#[tokio::test]
async fn statements_that_are_slow_together_are_cancelled_by_the_client() {
    let database = Server::shared().database("db_cancel");
    for mode in [SslMode::Disable, SslMode::VerifyFull] {
        let mut connection = open(&with_mode(&database, mode)).await;
        let process = own_process(&mut connection).await;
        // The server's time starts anew with each statement, so none of these is ever too slow for it.
        let sql = "SELECT pg_sleep(0.1);".repeat(600);
        let result = run_within(&mut connection, &sql, Duration::from_secs(1)).await;
        assert!(matches!(result, Err(QueryError::Timeout)), "{result:?}");
        assert!(!connection.is_usable());
        // The server said so before `run` returned; nothing has to be waited for.
        let active =
            format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {process} AND state = 'active'");
        assert_eq!(database.admin_cell(&active), "0");

        let result = run(&mut connection, "SELECT 1").await;
        assert!(matches!(result, Err(QueryError::Connection { .. })), "{result:?}");
        assert!(!connection.is_alive(LIMIT).await);
        drop(connection);
        let gone = format!("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {process})");
        database.wait_for(&gone).await;
    }
}

#[tokio::test]
async fn a_query_whose_future_is_dropped_leaves_the_connection_unusable() {
    let database = Server::shared().database("db_dropped");
    let mut connection = open(&database.target()).await;
    let process = own_process(&mut connection).await;
    {
        let query = run(&mut connection, "SELECT pg_sleep(600)");
        let is_running = format!(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {process} AND wait_event = 'PgSleep')"
        );
        tokio::select! {
            result = query => panic!("{result:?}"),
            () = database.wait_for(&is_running) => {}
        }
    }
    assert!(!connection.is_usable());
}

#[tokio::test]
async fn a_killed_session_is_noticed() {
    let database = Server::shared().database("db_killed");
    // While nothing runs.
    let mut connection = open(&database.target()).await;
    assert!(connection.is_alive(LIMIT).await);
    let process = own_process(&mut connection).await;
    database.admin(&format!("SELECT pg_terminate_backend({process}, 30000)"));
    assert!(!connection.is_alive(LIMIT).await);
    assert!(!connection.is_usable());

    // While nothing runs, and without a look before the next query.
    let mut connection = open(&database.target()).await;
    let process = own_process(&mut connection).await;
    database.admin(&format!("SELECT pg_terminate_backend({process}, 30000)"));
    let result = run(&mut connection, "SELECT 1").await;
    assert!(matches!(result, Err(QueryError::Connection { .. })), "{result:?}");

    // In the middle of a query.
    let mut connection = open(&database.target()).await;
    let process = own_process(&mut connection).await;
    let kill = async {
        let is_running = format!(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {process} AND wait_event = 'PgSleep')"
        );
        database.wait_for(&is_running).await;
        database.admin(&format!("SELECT pg_terminate_backend({process})"));
    };
    let (result, ()) = tokio::join!(run(&mut connection, "SELECT pg_sleep(600)"), kill);
    let Err(QueryError::Connection { reason }) = &result else { panic!("{result:?}") };
    assert_eq!(reason, "admin_shutdown (SQLSTATE 57P01)");
    assert!(!connection.is_usable());
}

#[tokio::test]
async fn a_result_that_is_too_large_is_cut_off() {
    let database = Server::shared().database("db_large");
    // What a small result may take.
    const BYTES_MAX: usize = 16 << 20;
    let rows_of_ten_kilobytes = BYTES_MAX / 10_000 + 1;
    for sql in [
        format!("SELECT repeat('x', 10000) FROM generate_series(1, {rows_of_ten_kilobytes})"),
        // Cells without text, which take memory nevertheless.
        format!("SELECT NULL{} FROM generate_series(1, {})", ", NULL".repeat(999), BYTES_MAX / 16_000 + 1),
        // One cell, which the driver would keep whole.
        "SELECT repeat('x', 300000000)".to_owned(),
    ] {
        let mut connection = open(&database.target()).await;
        let result = run(&mut connection, &sql).await;
        assert!(
            matches!(result, Err(QueryError::TooLarge)),
            "{sql}: {:?}",
            result.map(|table| table.rows.len())
        );
        assert!(!connection.is_usable());
    }
    let mut connection = open(&database.target()).await;
    let table = run(&mut connection, &format!("SELECT repeat('x', {})", BYTES_MAX - 24)).await.unwrap();
    assert_eq!(table.first_cell().map(str::len), Some(BYTES_MAX - 24));
}

fn with_mode(database: &TestDatabase, mode: SslMode) -> Target {
    let target = database.target();
    Target { tls: Tls { mode, ..target.tls.clone() }, ..target }
}

#[tokio::test]
async fn options_are_settings_of_the_session() {
    let database = Server::shared().database("db_options");
    let options = Some("-c search_path=elsewhere -c TimeZone=Asia/Tokyo".into());
    let mut connection = open(&Target { options, ..database.target() }).await;
    let sql = "SELECT current_setting('search_path'), current_setting('TimeZone')";
    assert_eq!(rows(&run(&mut connection, sql).await.unwrap()), [[Some("elsewhere"), Some("Asia/Tokyo")]]);
}

#[tokio::test]
async fn a_server_has_to_be_what_target_session_attrs_says() {
    use SessionAttributes::{Any, PreferStandby, Primary, ReadOnly, ReadWrite, Standby};
    let server = Server::private();
    let database = server.database("db");
    let refused = async |attributes: &[SessionAttributes]| {
        let mut refused = Vec::new();
        for &session_attributes in attributes {
            let target = Target { session_attributes, ..database.target() };
            match Connection::open(&target, LIMIT).await {
                Ok(_) => {}
                Err(ConnectError::NotAccepted(_)) => refused.push(session_attributes),
                Err(error) => panic!("{error}"),
            }
        }
        refused
    };
    let all = [Any, ReadWrite, ReadOnly, Primary, Standby, PreferStandby];
    assert_eq!(refused(&all).await, [ReadOnly, Standby]);
    server.admin(&format!("ALTER ROLE {ROLE} SET default_transaction_read_only = on"));
    assert_eq!(refused(&all).await, [ReadWrite, Standby]);
    server.admin(&format!("ALTER ROLE {ROLE} RESET default_transaction_read_only"));
    server.restart_as_standby();
    assert_eq!(refused(&all).await, [ReadWrite, Primary]);
}

#[tokio::test]
async fn a_unix_socket_needs_no_tls_and_no_password() {
    let database = Server::shared().database("db_socket");
    let target = Target {
        host: Host::Socket(Server::shared().socket_folder().into()),
        login: Login::Password(None),
        ..with_mode(&database, SslMode::VerifyFull)
    };
    let mut connection = open(&target).await;
    let sql = "SELECT ssl, application_name FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE pid = pg_backend_pid()";
    let name = concat!("pg-lambda-exporter/", env!("CARGO_PKG_VERSION"));
    assert_eq!(rows(&run(&mut connection, sql).await.unwrap()), [[Some("f"), Some(name)]]);

    // A cancel request has to find the same socket.
    let sql = "SELECT pg_sleep(0.1);".repeat(600);
    let result = run_within(&mut connection, &sql, Duration::from_secs(1)).await;
    assert!(matches!(result, Err(QueryError::Timeout)), "{result:?}");
    assert_eq!(
        database.admin_cell(
            "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND usename <> 'postgres' AND state = 'active'"
        ),
        "0"
    );
}

#[tokio::test]
async fn what_refuses_a_login_can_be_told_apart() {
    let database = Server::shared().database("db_login");
    let refusal = async |target: Target| Connection::open(&target, LIMIT).await.unwrap_err();

    let error = refusal(Target { login: Login::Password(Some("wrong".into())), ..database.target() }).await;
    assert!(error.to_string().contains("invalid_password (SQLSTATE 28P01)"), "{error}");

    let error = refusal(Target { user: REJECTED_ROLE.into(), ..database.target() }).await;
    assert!(error.to_string().contains("(SQLSTATE 28000)"), "{error}");

    let error = refusal(Target { login: Login::Password(None), ..database.target() }).await;
    assert!(matches!(error, ConnectError::Authentication(_)), "{error:?}");
    assert_eq!(error.to_string(), "authentication: password missing");

    let error = refusal(Target { database: "absent".into(), ..database.target() }).await;
    let expected = "the server answers invalid_catalog_name (SQLSTATE 3D000); check the name of the database";
    assert_eq!(error.to_string(), expected);

    let error = refusal(Target { host: Host::Tcp("no-such-host.invalid".into()), ..database.target() }).await;
    assert!(matches!(error, ConnectError::Unresolvable(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_takes_no_longer_than_the_limit() {
    let database = Server::shared().database("db_silent");
    // It takes connections, as the kernel does for a hung server, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for mode in [SslMode::Disable, SslMode::VerifyFull] {
        let target = Target { port: silent.local_addr().unwrap().port(), ..with_mode(&database, mode) };
        let begun = Instant::now();
        let error = Connection::open(&target, Duration::from_millis(200)).await.unwrap_err();
        assert!(matches!(error, ConnectError::TimedOut(Phase::Login)), "{error:?}");
        assert!(begun.elapsed() < LIMIT);
    }
}

#[tokio::test]
async fn a_stopped_server_is_noticed_and_found_again() {
    let server = Server::private();
    let database = server.database("db");
    let mut connection = open(&database.target()).await;
    server.stop();
    let result = run(&mut connection, "SELECT 1").await;
    assert!(matches!(result, Err(QueryError::Connection { .. })), "{result:?}");
    let begun = Instant::now();
    let error = Connection::open(&database.target(), LIMIT).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable(_)), "{error:?}");
    assert!(begun.elapsed() < LIMIT);
    let socket = Target { host: Host::Socket(server.socket_folder().into()), ..database.target() };
    let error = Connection::open(&socket, LIMIT).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable(_)), "{error:?}");

    server.start();
    let mut connection = open(&database.target()).await;
    assert_eq!(run(&mut connection, "SELECT 1").await.unwrap().rows.len(), 1);
    server.kill();
    assert!(!connection.is_alive(LIMIT).await);
}

#[tokio::test]
async fn pgbouncer_in_transaction_mode_sees_no_setting_and_no_prepared_statement() {
    let database = Server::shared().database("db_pgbouncer");
    let pgbouncer = Pgbouncer::start(&database);
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(pgbouncer.target().port).user(ROLE).dbname(database.name());
    config.password(crate::postgres::PASSWORD);
    let (other, driver) = config.connect(tokio_postgres::NoTls).await.unwrap();
    let driver = tokio::spawn(driver);
    let state = async || {
        let mut rows = vec![];
        for sql in
            [SETTINGS, "SELECT name, statement FROM pg_prepared_statements", "SELECT pg_backend_pid(), ''"]
        {
            for message in other.simple_query(sql).await.unwrap() {
                if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                    rows.push((row.get(0).unwrap().to_owned(), row.get(1).unwrap().to_owned()));
                }
            }
        }
        rows
    };

    let before = state().await;
    let mut connection = open(&pgbouncer.target()).await;
    let shared = own_process(&mut connection).await;
    assert_eq!(before.last().unwrap().0, shared, "both clients are on one server connection");
    assert_eq!(before.len(), 8, "no prepared statement: {before:?}");
    assert_eq!(state().await, before);
    assert_eq!(sqlstate(&run(&mut connection, "SET work_mem = '1GB'; SELECT 1/0").await), "22012");
    assert_eq!(state().await, before);
    let slow = run_within(&mut connection, "SELECT pg_sleep(600)", Duration::from_millis(50)).await;
    assert!(matches!(slow, Err(QueryError::Timeout)), "{slow:?}");
    assert!(connection.is_alive(LIMIT).await);
    assert_eq!(state().await, before);

    let wrong = Target { login: Login::Password(Some("wrong".into())), ..pgbouncer.target() };
    let error = Connection::open(&wrong, LIMIT).await.unwrap_err();
    assert!(error.to_string().contains("(SQLSTATE 08P01); see the log of the pooler"), "{error}");
    drop(other);
    driver.await.unwrap().unwrap();
}

#[tokio::test]
async fn pg_stat_statements_has_one_entry_for_a_query_and_one_for_the_prologue() {
    let database = Server::shared().database("db_statistics");
    database.admin("CREATE EXTENSION pg_stat_statements");
    let mut connection = open(&database.target()).await;
    for timeout in 1000..1100 {
        let timeout = Duration::from_millis(timeout);
        run_within(&mut connection, "SELECT count(*) AS tables FROM pg_class", timeout).await.unwrap();
    }
    let entries = database.admin(&format!(
        "SELECT query, sum(calls) FROM pg_stat_statements JOIN pg_roles ON pg_roles.oid = userid
         JOIN pg_database ON pg_database.oid = dbid WHERE rolname = '{ROLE}' AND datname = current_database()
         GROUP BY queryid, query ORDER BY query"
    ));
    let entries: Vec<_> =
        entries.iter().map(|row| (row[0].as_deref().unwrap(), row[1].as_deref().unwrap())).collect();
    assert_eq!(entries.len(), 3, "{entries:?}");
    assert_eq!(entries[0], ("SELECT count(*) AS tables FROM pg_class", "100"));
    // What the server is asked about itself when the connection is opened.
    assert!(entries[1].0.contains("pg_is_in_recovery()"), "{entries:?}");
    assert!(entries[2].0.starts_with("SELECT set_config($1,$2,$3)"), "{entries:?}");
    assert_eq!((entries[1].1, entries[2].1), ("1", "101"));
}
