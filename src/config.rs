//! `queries.yml` as the exporter understands it: the queries in their order, and every problem of the files
//! with its place. It knows the format and the names of metrics, and nothing of databases, scrapes or wires.

use std::fmt;
use std::time::Duration;

use crate::metric::{LabelName, MetricName};
use crate::sql::Sql;

/// What a set of query files says.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The namespaces that can be run, in the order of the files.
    pub queries: Vec<Query>,
    /// The namespaces that a mistake disables, in the order of the files. `problems` says why.
    pub disabled: Vec<String>,
    /// All that is wrong or doubtful, in the order of the files.
    pub problems: Vec<Problem>,
}

/// One namespace of `queries.yml`.
#[derive(Debug, Clone)]
pub struct Query {
    /// The key of the document, as it names the query in self-metrics and logs.
    pub namespace: String,
    /// What is sent to the server.
    pub sql: Sql,
    /// `name` or, without it, the namespace: what the names of the metrics begin with.
    pub prefix: String,
    /// The columns that `metrics` names, in that order. Other columns of the result are untyped metrics.
    pub columns: Vec<Column>,
    /// Constant labels, on every sample.
    pub labels: Vec<(LabelName, String)>,
    /// The longest that the query may run, if the file says so.
    pub timeout: Option<Duration>,
}

/// A column of a result and what becomes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The column's name in the result.
    pub name: String,
    /// What becomes of it.
    pub usage: Usage,
}

/// What becomes of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Usage {
    /// A label of every sample of the row.
    Label(LabelName),
    /// A metric of its own.
    Metric(MetricColumn),
    /// Nothing.
    Discard,
}

/// How a column is exposed.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricColumn {
    /// The name of the family: the query's prefix, `_`, and the column's name or its `name`.
    pub family: MetricName,
    /// HELP.
    pub help: String,
    /// How the column's text is read, and so the family's type.
    pub reading: Reading,
}

/// How the text of a metric's column is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reading {
    /// A number that goes up and down.
    Gauge,
    /// A cumulative number.
    Counter,
    /// Upper bounds here, and the columns `C_bucket`, `C_sum` and `C_count` beside it.
    HistogramArrays,
}

/// Something wrong or doubtful in a query file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether it disables something.
    pub severity: Severity,
    /// The file, as it was named to the exporter.
    pub file: String,
    /// Where in the document: `pg_stat_database.metrics[3].datname.usage`. Empty for the file as a whole.
    pub place: String,
    /// The line, counted from 1, where the parser can tell it.
    pub line: Option<usize>,
    /// What is wrong: lowercase, without the SQL.
    pub message: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The namespace (or, without a place, the file) is disabled.
    Error,
    /// Everything runs; the author may have meant something else.
    Warning,
}

impl fmt::Display for Problem {
    /// `queries.yml:12: pg_x.metrics[0].v.usage: unknown usage "GAGUE"; did you mean GAUGE?`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.place.is_empty() {
            write!(f, ": {}", self.place)?;
        }
        write!(f, ": {}", self.message)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}
