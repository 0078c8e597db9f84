//! What becomes of each column of a result, decided once before its rows are read.

use std::collections::{HashMap, HashSet};

use super::MissingLabel;
use super::dropped::{Dropped, Reason};
use super::reading::{self, Reading, Row, cell};
use crate::config::{self, MetricColumn, Query, Usage};
use crate::metric::{Family, Kind, LabelName, LabelNames, Labels, MetricName};
use crate::table::Table;

/// A query's declaration, resolved against the columns of its result.
pub(super) struct Columns<'a> {
    pub labels: LabelColumns<'a>,
    pub metrics: Vec<Column<'a>>,
    /// Still without metrics.
    pub families: Vec<Family>,
    pub missing: Vec<String>,
}

/// Where the labels of a row come from: constants, then columns.
pub(super) struct LabelColumns<'a> {
    /// `None` if a name stands twice.
    names: Option<LabelNames>,
    constants: Vec<&'a str>,
    columns: Vec<usize>,
}

/// A column that gives metrics, or should give some.
pub(super) struct Column<'a> {
    name: &'a str,
    pub fate: Fate,
    pub dropped: Dropped,
}

/// What becomes of a column's cells.
pub(super) enum Fate {
    /// Metrics of the family with this index.
    Sample { family: usize, reading: Reading },
    /// Nothing; each row counts.
    Drop(Reason),
}

/// Where in the result a name stands: SQL lets it stand more than once.
struct Positions<'a>(HashMap<&'a str, Vec<usize>>);

impl<'a> Positions<'a> {
    fn of(table: &'a Table) -> Self {
        let mut positions: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, name) in table.columns().iter().enumerate() {
            positions.entry(name).or_default().push(index);
        }
        Self(positions)
    }

    fn all(&self, name: &str) -> &[usize] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    fn first(&self, name: &str) -> Option<usize> {
        self.all(name).first().copied()
    }
}

impl<'a> Columns<'a> {
    pub(super) fn of(query: &'a Query, table: &'a Table) -> Result<Self, MissingLabel> {
        let positions = Positions::of(table);
        let labels = LabelColumns::of(query, &positions)?;
        let mut columns = Self { labels, metrics: Vec::new(), families: Vec::new(), missing: Vec::new() };
        let mut declared = HashSet::new();
        for column in &query.columns {
            declared.insert(column.name.clone());
            match &column.usage {
                Usage::Label(_) => columns.add_label_repetitions(column, &positions),
                Usage::Metric(metric) => {
                    declared.extend(reading::columns_beside(&metric.reading, &column.name));
                    columns.add_metric(column, metric, &positions);
                }
                Usage::Timestamp | Usage::Discard => {}
            }
        }
        for (index, name) in table.columns().iter().enumerate() {
            if !declared.contains(name) {
                columns.add_undeclared(query, name, index);
            }
        }
        Ok(columns)
    }

    /// The first column of a label's name is the label.
    fn add_label_repetitions(&mut self, column: &'a config::Column, positions: &Positions<'_>) {
        let repetitions = positions.all(&column.name).iter().skip(1);
        self.metrics.extend(repetitions.map(|_| Column::new(&column.name, Fate::Drop(Reason::Label))));
    }

    /// A column that the result has several times gives its metric as often; all but the first are duplicates.
    fn add_metric(&mut self, column: &'a config::Column, metric: &MetricColumn, positions: &Positions<'_>) {
        let needed = std::iter::once(column.name.clone())
            .chain(reading::columns_beside(&metric.reading, &column.name));
        self.missing.extend(needed.filter(|name| positions.first(name).is_none()));
        let family = self.family(&metric.family, metric.reading.kind(), || metric.help.clone());
        for &index in positions.all(&column.name) {
            let position = |name: &str| positions.first(name);
            if let Some(reading) = Reading::declared(&metric.reading, &column.name, index, position) {
                let fate = if self.labels.tell_no_buckets_apart(&reading) {
                    Fate::Drop(Reason::Label)
                } else {
                    Fate::Sample { family, reading }
                };
                self.metrics.push(Column::new(&column.name, fate));
            }
        }
    }

    fn add_undeclared(&mut self, query: &Query, column: &'a str, index: usize) {
        // `?column?` is what PostgreSQL calls a column without a name; other names may be none for a metric too.
        let fate = match MetricName::new(&format!("{}_{column}", query.prefix)) {
            Ok(name) => Fate::Sample {
                family: self
                    .family(&name, Kind::Untyped, || format!("Unknown metric from {}", query.namespace)),
                reading: Reading::Untyped(index),
            },
            Err(_) => Fate::Drop(Reason::Invalid),
        };
        self.metrics.push(Column::new(column, fate));
    }

    /// The index of the family, which is new unless there is one of that name and type.
    fn family(&mut self, name: &MetricName, kind: Kind, help: impl FnOnce() -> String) -> usize {
        let is_it = |family: &Family| family.name == *name && family.kind == kind;
        self.families.iter().position(is_it).unwrap_or_else(|| {
            self.families.push(Family { name: name.clone(), help: help(), kind, metrics: Vec::new() });
            self.families.len() - 1
        })
    }
}

impl<'a> LabelColumns<'a> {
    fn of(query: &'a Query, positions: &Positions<'_>) -> Result<Self, MissingLabel> {
        let (mut names, constants): (Vec<LabelName>, _) =
            query.labels.iter().map(|(name, value)| (name.clone(), value.as_str())).unzip();
        let mut columns = Vec::new();
        for column in &query.columns {
            if let Usage::Label(name) = &column.usage {
                let missing = || MissingLabel { column: column.name.clone() };
                columns.push(positions.first(&column.name).ok_or_else(missing)?);
                names.push(name.clone());
            }
        }
        Ok(Self { names: LabelNames::new(names).ok(), constants, columns })
    }

    /// The labels of a row; NULL is an empty value. `None` if a name stands twice.
    pub(super) fn labels(&self, row: &Row<'_>) -> Option<Labels> {
        let cells = self.columns.iter().map(|&column| cell(row, column).unwrap_or_default());
        let values: Vec<&str> = self.constants.iter().copied().chain(cells).collect();
        Some(self.names.as_ref()?.with(&values))
    }

    /// Whether a histogram's `le` has another meaning here.
    fn tell_no_buckets_apart(&self, reading: &Reading) -> bool {
        let is_histogram = matches!(reading, Reading::Histogram(_));
        is_histogram && self.names.as_ref().is_some_and(|names| names.contains("le"))
    }
}

impl<'a> Column<'a> {
    fn new(name: &'a str, fate: Fate) -> Self {
        Self { name, fate, dropped: Dropped::default() }
    }

    /// What the log should say of it: nothing of NULL, which is everyday.
    pub(super) fn note(&self) -> Option<String> {
        let Dropped { null: _, unparsable, duplicate, label, invalid } = self.dropped;
        let invalid_because = match &self.fate {
            Fate::Sample { reading, .. } => reading.demand(),
            Fate::Drop(_) => "its name cannot be part of a metric's: name it with AS, or DISCARD it",
        };
        let complaints: Vec<String> = [
            ("unparsable", unparsable, "its usage does not read such text"),
            ("duplicate", duplicate, "the first of the same name and labels stays"),
            ("label", label, "a label stands twice, or a histogram has one named le"),
            ("invalid", invalid, invalid_because),
        ]
        .into_iter()
        .filter(|(_, count, _)| *count > 0)
        .map(|(reason, count, why)| format!("{count} dropped as {reason} ({why})"))
        .collect();
        (!complaints.is_empty()).then(|| format!("column {:?}: {}", self.name, complaints.join(", ")))
    }
}
