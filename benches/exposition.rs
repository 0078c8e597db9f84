//! What a scrape costs between the rows of a result and the bytes of its answer: 30,000 rows with three labels.
//!
//! Each step is run many times by itself. The median tells what to expect; a fastest run that is far from it tells
//! that the machine was busy with something else.

use std::hint::black_box;
use std::time::{Duration, Instant};

use pg_lambda_exporter::config::{Config, Naming};
use pg_lambda_exporter::exposition::{Format, encode};
use pg_lambda_exporter::sampling::sample;
use pg_lambda_exporter::table::Table;

const ROWS: u32 = 30_000;
const RUNS: usize = 31;
const LABEL_BYTES_MAX: usize = 4096;

const QUERY: &str = "
index_usage:
  query: SELECT schema, relation, index, scans_total, size_bytes FROM statistics
  metrics:
    - schema: {usage: LABEL}
    - relation: {usage: LABEL}
    - index: {usage: LABEL}
    - scans_total: {usage: COUNTER, description: Scans of the index}
    - size_bytes: {usage: GAUGE, description: Space that the index takes}
";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::parse(&[("queries.yml".into(), QUERY.into())], &Naming::default());
    let query = config.queries.first().ok_or("the query is not one")?;
    let table = table();
    let families = sample(query, &table, LABEL_BYTES_MAX)?.families;
    let metrics: usize = families.iter().map(|family| family.metrics.len()).sum();
    if metrics != 2 * table.row_count() {
        return Err(format!("{metrics} metrics from {} rows", table.row_count()).into());
    }

    println!("{ROWS} rows, {metrics} series       median   fastest   a series");
    let report = |step: &str, mut durations: Vec<Duration>| {
        durations.sort();
        let milliseconds = |duration: Option<&Duration>| duration.map_or(0.0, Duration::as_secs_f64) * 1e3;
        let (median, fastest) = (milliseconds(durations.get(RUNS / 2)), milliseconds(durations.first()));
        let nanoseconds = median * 1e6 / metrics as f64;
        println!("{step:28} {median:6.2} ms {fastest:6.2} ms  {nanoseconds:6.0} ns");
    };
    report("sampling", times(|| sample(query, &table, LABEL_BYTES_MAX)));
    report("encoding as 0.0.4", times(|| encode(&families, Format::Text)));
    report("encoding as OpenMetrics", times(|| encode(&families, Format::OpenMetrics)));
    Ok(())
}

/// How long `step` took each time, without dropping what it gave.
fn times<T>(step: impl Fn() -> T) -> Vec<Duration> {
    let once = |_| {
        let begun = Instant::now();
        let output = black_box(step());
        let duration = begun.elapsed();
        drop(output);
        duration
    };
    (0..RUNS).map(once).collect()
}

fn table() -> Table {
    let columns = ["schema", "relation", "index", "scans_total", "size_bytes"];
    let mut table = Table::new(columns.map(str::to_owned).to_vec());
    for row in 0..ROWS {
        let cells = [
            format!("schema_{}", row % 7),
            format!("table_{}", row / 10),
            format!("index_{row}"),
            (row * 977).to_string(),
            (row * 8192).to_string(),
        ];
        table.push_row(cells.iter().map(|cell| Some(cell.as_str())));
    }
    table
}
