//! Whatever text a server sends, what becomes of it can be written in both formats. How to run: see config.rs.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pg_lambda_exporter::config::{Config, Naming};
use pg_lambda_exporter::exposition::{self, Format};
use pg_lambda_exporter::mapping::{DeclaredNames, Mapper, Merged};
use pg_lambda_exporter::table::Rows;

const QUERIES: &str = "
q:
  query: SELECT 1
  metrics:
    - l: {usage: LABEL}
    - g: {usage: GAUGE}
    - m: {usage: MAPPEDMETRIC, metric_mapping: {true: 1, false: 0}, name: g, labels: {of: m}}
    - c_total: {usage: COUNTER}
    - h: {usage: HISTOGRAM}
    - o: {usage: HISTOGRAM, buckets: [0, 1, 10]}
    - s: {usage: SUMMARY}
    - p: {usage: SUMMARY, quantiles: [0.5, 0.99]}
    - i: {usage: INFO}
    - e: {usage: STATESET, states: [on, off]}
    - d: {usage: DURATION}
    - t: {usage: TIMESTAMP}
";

/// So few that some values are longer.
const LABEL_BYTES_MAX: usize = 16;
const BYTES_MAX: usize = 1 << 20;

const COLUMNS: [&str; 18] = [
    "l", "g", "m", "c_total", "h", "h_bucket", "h_sum", "h_count", "o", "s", "s_quantile", "s_sum", "s_count", "p", "i",
    "e", "d", "t",
];

fuzz_target!(|cells: Vec<Option<&str>>| {
    let config = Config::parse(&[("queries.yml".to_owned(), QUERIES.to_owned())], &Naming::default());
    let query = config.queries.first().expect("the queries are sound");
    let mut mapper = Mapper::new(query, LABEL_BYTES_MAX, BYTES_MAX);
    mapper.begin(COLUMNS.map(str::to_owned).to_vec());
    for row in cells.chunks_exact(COLUMNS.len()) {
        if mapper.row(row).is_err() {
            return;
        }
    }
    let mapped = mapper.finish().expect("no label is missing");
    let merged = Merged::new(&DeclaredNames::new(&config.queries), [&mapped.families]);
    for format in [Format::Text, Format::OpenMetrics] {
        let text = exposition::encode(&merged, format);
        assert!(text.is_empty() || text.ends_with('\n'));
    }
});
