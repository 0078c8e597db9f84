//! What a scrape of the shipped `queries.yml` costs the server, by its own count: `make load`.

use crate::events::{Event, Kind};
use crate::lambda::{AMPLE, Queries, function};
use crate::postgres::{ROLE, Rows, Server};

const TABLES: u32 = 300;
const SCRAPES: u32 = 20;

#[tokio::test]
#[ignore = "a measurement, which `make load` prints"]
async fn of_the_shipped_queries_on_a_server_with_many_tables() {
    let server = Server::private();
    server.set("pg_stat_statements.track_planning = on");
    server.stop();
    server.start();
    let database = server.database("load");
    database.admin(&format!(
        "CREATE EXTENSION pg_stat_statements;
         DO $$ BEGIN
           FOR number IN 1..{TABLES} LOOP
             EXECUTE format('CREATE TABLE t%s (id serial PRIMARY KEY, v int UNIQUE)', number);
             EXECUTE format('INSERT INTO t%s (v) SELECT generate_series(1, 100)', number);
           END LOOP;
         END $$;
         GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {ROLE};"
    ));
    database.admin("VACUUM ANALYZE");
    let queries = Queries::new(include_str!("../../queries.yml"));
    let lambda = function(&queries, &database).await;
    println!(
        "PostgreSQL {}, {TABLES} tables, {} indexes",
        database.admin_cell("SHOW server_version"),
        2 * TABLES
    );

    let mine = format!("FROM pg_stat_statements WHERE userid = '{ROLE}'::regrole");
    let spent = |scrapes: u32| {
        format!(
            "SELECT round((sum(total_plan_time + total_exec_time) / {scrapes})::numeric, 1), (sum(calls) / {scrapes})::int {mine}"
        )
    };
    let mut series = 0;
    for (which, scrapes) in [("the first scrape", 1), ("a scrape after it", SCRAPES)] {
        database.admin("SELECT pg_stat_statements_reset()");
        for _ in 0..scrapes {
            let answer = lambda.invoke(Event::recorded(Kind::HttpApi).json(), AMPLE).await;
            assert_eq!(answer.status, 200);
            let text = answer.text();
            assert!(!text.contains("pg_exporter_query_error{"), "{text}");
            series = text.lines().filter(|line| !line.starts_with('#')).count();
        }
        let told = cells(&database.admin(&spent(scrapes)));
        println!("{which:18} {:>6} ms of the server in {} statements", told[0][0], told[0][1]);
    }
    println!("{series} series. Of a scrape after the first, the statements that cost most:");
    let dearest = format!(
        "SELECT round(((total_plan_time + total_exec_time) / {SCRAPES})::numeric, 2),
                left(regexp_replace(query, '\\s+', ' ', 'g'), 70)
         {mine} ORDER BY total_plan_time + total_exec_time DESC LIMIT 5"
    );
    for row in cells(&database.admin(&dearest)) {
        println!("{:>6} ms  {}", row[0], row[1]);
    }
}

fn cells(rows: &Rows) -> Vec<Vec<String>> {
    rows.iter().map(|row| row.iter().map(|cell| cell.clone().unwrap_or_default()).collect()).collect()
}
