//! What a scrape costs between the rows of a result and the bytes of its answer, from 40 to 200,000 series.
//!
//! Each step is run many times by itself. The median tells what to expect; a fastest run that is far from it tells
//! that the machine was busy with something else.

use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use pg_lambda_exporter::config::{Config, Naming};
use pg_lambda_exporter::exposition::{Format, encode};
use pg_lambda_exporter::mapping::{DeclaredNames, Mapped, Mapper, Merged};
use pg_lambda_exporter::table::Rows;

const RUNS: usize = 31;
const LABEL_BYTES_MAX: usize = 16_384;

const QUERIES: &str = "
index_usage:
  query: SELECT schema, relation, index, scans_total, size_bytes FROM statistics
  metrics:
    - schema: {usage: LABEL}
    - relation: {usage: LABEL}
    - index: {usage: LABEL}
    - scans_total: {usage: COUNTER, description: Scans of the index}
    - size_bytes: {usage: GAUGE, description: Space that the index takes}
";
const COLUMNS: [&str; 5] = ["schema", "relation", "index", "scans_total", "size_bytes"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::parse(&[("queries.yml".into(), QUERIES.into())], &Naming::default());
    let query = config.queries.first().ok_or("the query is not one")?;
    let names = DeclaredNames::new(&config.queries);
    println!("{:>9} {:>28} {:>10} {:>11} {:>11}", "series", "step", "median", "fastest", "a series");
    for series in [40, 2_000, 30_000, 200_000] {
        let rows: Vec<_> = (0..series / 2).map(cells).collect();
        let map = || -> Result<Mapped, Box<dyn std::error::Error>> {
            let mut mapper = Mapper::new(query, LABEL_BYTES_MAX, usize::MAX);
            mapper.begin(COLUMNS.map(str::to_owned).to_vec());
            for row in &rows {
                mapper.row(&row.each_ref().map(|cell| Some(cell.as_str()))).map_err(|_| "too large")?;
            }
            Ok(mapper.finish()?)
        };
        let families = map()?.families;
        if families.series() != series {
            return Err(format!("{} series from {series}", families.series()).into());
        }
        let merged = Merged::new(&names, [&families]);
        let text = encode(&merged, Format::Text);
        let compress = |level| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
            encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).map(|bytes| bytes.len())
        };
        let report = |step: &str, mut durations: Vec<Duration>| {
            durations.sort();
            let milliseconds =
                |duration: Option<&Duration>| duration.map_or(0.0, Duration::as_secs_f64) * 1e3;
            let (median, fastest) = (milliseconds(durations.get(RUNS / 2)), milliseconds(durations.first()));
            let nanoseconds = median * 1e6 / series as f64;
            println!("{series:9} {step:>28} {median:7.3} ms {fastest:8.3} ms {nanoseconds:8.0} ns");
        };
        report("mapping", times(map));
        report("merging", times(|| Merged::new(&names, [&families])));
        report("encoding as 0.0.4", times(|| encode(&merged, Format::Text)));
        report("encoding as OpenMetrics", times(|| encode(&merged, Format::OpenMetrics)));
        for level in 1..=3 {
            let share = 100.0 * compress(level)? as f64 / text.len() as f64;
            report(&format!("gzip level {level} ({share:.1} %)"), times(|| compress(level)));
        }
    }
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

fn cells(row: usize) -> [String; 5] {
    [
        format!("schema_{}", row % 7),
        format!("table_{}", row / 10),
        format!("index_{row}"),
        (row * 977).to_string(),
        (row * 8192).to_string(),
    ]
}
