//! What a scrape of the shipped queries costs a large server, by the server's own count: `make load`. Of the first scrapes
//! of several sessions, the least: other programs use the machine, and the first reader of a table also pays for what its
//! writers left undone.

use std::env;

use crate::events::{Event, Kind};
use crate::lambda::{AMPLE, Queries, function};
use crate::postgres::{ROLE, Rows, Server, TestDatabase};
use crate::runtime_api::Lambda;
use crate::shipped;

const SCRAPES: u32 = 5;
const SESSIONS: usize = 5;
/// Tables that one transaction creates. Each takes locks.
const BATCH: u32 = 500;

/// A figure of the load, which the environment may lower for a quick try.
fn figure(name: &str, default: u32) -> u32 {
    env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[tokio::test]
#[ignore = "a measurement, which `make load` prints"]
async fn of_the_shipped_queries_on_a_large_server() {
    let tables = figure("LOAD_TABLES", 50_000);
    let connections = figure("LOAD_CONNECTIONS", 2_000);
    let databases = figure("LOAD_DATABASES", 100);
    let statements = figure("LOAD_STATEMENTS", 5_000);
    let server = Server::private();
    for setting in [
        &format!("max_connections = {}", connections + 20),
        "pg_stat_statements.track_planning = on",
        // Above the default of 5,000, so that the exporter's own statements evict none.
        "pg_stat_statements.max = 10000",
        "max_locks_per_transaction = 128",
        "shared_buffers = 256MB",
        "full_page_writes = off",
        "max_wal_size = 8GB",
        "autovacuum = off",
    ] {
        server.set(setting);
    }
    server.stop();
    server.start();
    let database = server.database("load");
    database.admin("CREATE EXTENSION pg_stat_statements");
    for first in (1..=tables).step_by(BATCH as usize) {
        database.admin(&format!(
            "DO $$ BEGIN
               FOR number IN {first}..{} LOOP
                 EXECUTE format('CREATE TABLE t%s (id bigserial PRIMARY KEY, v text)', number);
                 EXECUTE format('INSERT INTO t%s (v) VALUES (1), (2)', number);
               END LOOP;
             END $$",
            (first + BATCH - 1).min(tables)
        ));
    }
    database.admin(&format!("GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {ROLE}"));
    database.admin("ANALYZE");
    // The server has three and this one.
    for number in 5..=databases {
        server.admin(&format!("CREATE DATABASE d{number}"));
    }
    let mut idle = Vec::new();
    for number in 0..connections {
        let session = database.session().await;
        let asked =
            format!("SET application_name = 'app{}'; SELECT 'a statement with some text'", number % 300);
        session.batch_execute(&asked).await.unwrap();
        idle.push(session);
    }
    for number in 1..=statements {
        let table = number % tables + 1;
        database.admin(&format!(
            "SELECT count(*), max(length(v)), min(id) FROM t{table} WHERE id > 10 AND v LIKE '%some text%'
             AND v NOT LIKE 'other text' AND length(v) BETWEEN 3 AND 1000 GROUP BY v ORDER BY 1, 2, 3 LIMIT 10"
        ));
    }
    let recorded: u32 = database.admin_cell("SELECT count(*) FROM pg_stat_statements").parse().unwrap();
    assert!(recorded >= statements.min(tables), "{recorded} statements are recorded");
    // The others stay, since reading them is part of the cost.
    let reset = format!("SELECT pg_stat_statements_reset('{ROLE}'::regrole)");
    println!(
        "PostgreSQL {}: {tables} tables, {connections} connections, {databases} databases, {statements} statements",
        database.admin_cell("SHOW server_version"),
    );
    println!("milliseconds of the server, planning and execution; blocks of temporary files; series\n");
    println!("{:28} {:>7} {:>7} {:>8} {:>5} {:>6}", "", "first", "later", "slowest", "temp", "series");
    let files = [("queries.yml".to_owned(), shipped::shipped())].into_iter();
    let files = files.chain(shipped::collections()).chain(shipped::of_other_exporters());
    let mut slowest = vec![];
    for (name, text) in files {
        let queries = Queries::new(&text);
        let mut firsts = vec![];
        for _ in 0..SESSIONS {
            let lambda = function(&queries, &database).await;
            database.admin(&reset);
            let series = scrape(&lambda).await;
            firsts.push((spent(&database, 1), dearest(&database), lambda, series));
        }
        assert!(firsts.iter().all(|(first, ..)| first.temporary_blocks == 0), "{name} wrote temporary files");
        firsts.sort_by(|one, other| one.0.milliseconds.total_cmp(&other.0.milliseconds));
        let (first, statements, lambda, series) = firsts.swap_remove(0);
        slowest.extend(statements);
        database.admin(&reset);
        for _ in 0..SCRAPES {
            scrape(&lambda).await;
        }
        let later = spent(&database, SCRAPES);
        println!(
            "{name:28} {:>7} {:>7} {:>8} {:>5} {series:>6}",
            first.milliseconds, later.milliseconds, first.dearest, first.temporary_blocks
        );
        assert_eq!(later.temporary_blocks, 0, "{name} wrote temporary files");
    }
    println!("\nThe statements that cost the first scrape most:");
    slowest.sort_by(|one, other| other.0.total_cmp(&one.0));
    for (milliseconds, query) in slowest.iter().take(10) {
        println!("{milliseconds:>7} ms  {query}");
    }
}

/// The samples of an answer that are of queries.
async fn scrape(lambda: &Lambda) -> usize {
    let answer = lambda.invoke(Event::recorded(Kind::HttpApi).json(), AMPLE).await;
    assert_eq!(answer.status, 200);
    let text = answer.text();
    assert!(!text.contains("pg_exporter_query_error{"), "{text}");
    let is_of_a_query = |line: &&str| !line.starts_with('#') && !line.starts_with("pg_exporter_");
    text.lines().filter(is_of_a_query).count()
}

/// Of the exporter's statements since the last reset.
struct Spent {
    /// Of the server, for each scrape.
    milliseconds: f64,
    /// The most milliseconds of one statement.
    dearest: f64,
    temporary_blocks: u64,
}

fn spent(database: &TestDatabase, scrapes: u32) -> Spent {
    let sql = format!(
        "SELECT round((sum(total_plan_time + total_exec_time) / {scrapes})::numeric, 1),
                round(max(max_plan_time + max_exec_time)::numeric, 1), sum(temp_blks_written)
         FROM pg_stat_statements WHERE userid = '{ROLE}'::regrole"
    );
    let row = cells(&database.admin(&sql)).remove(0);
    Spent {
        milliseconds: row[0].parse().unwrap(),
        dearest: row[1].parse().unwrap(),
        temporary_blocks: row[2].parse().unwrap(),
    }
}

fn dearest(database: &TestDatabase) -> Vec<(f64, String)> {
    let sql = format!(
        "SELECT round((total_plan_time + total_exec_time)::numeric, 1),
                left(regexp_replace(query, '\\s+', ' ', 'g'), 66)
         FROM pg_stat_statements WHERE userid = '{ROLE}'::regrole ORDER BY 1 DESC LIMIT 10"
    );
    let rows = cells(&database.admin(&sql));
    rows.into_iter().map(|row| (row[0].parse().unwrap(), row[1].clone())).collect()
}

fn cells(rows: &Rows) -> Vec<Vec<String>> {
    rows.iter().map(|row| row.iter().map(|cell| cell.clone().unwrap_or_default()).collect()).collect()
}
