//! What becomes of each column of a result, decided once before its rows are read.

use std::collections::{HashMap, HashSet};

use super::dropped::{Dropped, Reason};
use super::histogram;
use super::{MissingLabel, number};
use crate::config::{self, MetricColumn, Query, Usage};
use crate::metric::{Family, Kind, LabelName, Labels, MetricName, Value};
use crate::table::Table;

/// One cell for each column of the result.
pub(super) type Row<'a> = [Option<&'a str>];

/// A query's declaration, resolved against the columns of its result.
pub(super) struct Columns<'a> {
    pub labels: LabelColumns,
    pub metrics: Vec<Column<'a>>,
    /// Still without metrics.
    pub families: Vec<Family>,
    pub missing: Vec<String>,
}

/// Where the labels of a row come from.
pub(super) struct LabelColumns {
    columns: Vec<(LabelName, usize)>,
    constants: Vec<(LabelName, String)>,
}

/// A column that is no label, or a label's repetition.
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

/// How a row becomes a metric's value. The numbers are columns of the result.
pub(super) enum Reading {
    Gauge(usize),
    Counter(usize),
    Untyped(usize),
    Histogram(histogram::Columns),
}

impl<'a> Columns<'a> {
    pub(super) fn of(query: &'a Query, table: &'a Table) -> Result<Self, MissingLabel> {
        let mut positions: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, name) in table.columns().iter().enumerate() {
            positions.entry(name).or_default().push(index);
        }
        let labels = LabelColumns { columns: Vec::new(), constants: query.labels.clone() };
        let mut columns = Self { labels, metrics: Vec::new(), families: Vec::new(), missing: Vec::new() };
        let mut declared = HashSet::new();
        for column in &query.columns {
            let at = positions.get(column.name.as_str()).map_or(&[][..], Vec::as_slice);
            declared.insert(column.name.clone());
            match &column.usage {
                Usage::Label(name) => columns.add_label(&column.name, name, at)?,
                Usage::Metric(metric) => {
                    declared.extend(metric_columns(column, metric));
                    columns.add_metric(column, metric, at, &positions);
                }
                Usage::Discard => {}
            }
        }
        for (index, name) in table.columns().iter().enumerate().filter(|(_, name)| !declared.contains(*name))
        {
            columns.add_undeclared(query, name, index);
        }
        columns.refuse_histograms_labelled_le();
        Ok(columns)
    }

    fn add_label(&mut self, column: &'a str, name: &LabelName, at: &[usize]) -> Result<(), MissingLabel> {
        let (first, repetitions) =
            at.split_first().ok_or_else(|| MissingLabel { column: column.to_owned() })?;
        self.labels.columns.push((name.clone(), *first));
        self.metrics.extend(repetitions.iter().map(|_| Column::new(column, Fate::Drop(Reason::Label))));
        Ok(())
    }

    /// A column that the result has several times gives its metric as often; all but the first are duplicates.
    fn add_metric(
        &mut self,
        column: &'a config::Column,
        metric: &MetricColumn,
        at: &[usize],
        positions: &HashMap<&str, Vec<usize>>,
    ) {
        let first = |name: &str| positions.get(name).and_then(|at| at.first()).copied();
        self.missing.extend(
            std::iter::once(column.name.clone())
                .chain(metric_columns(column, metric))
                .filter(|name| first(name).is_none()),
        );
        let kind = match metric.reading {
            config::Reading::Gauge => Kind::Gauge,
            config::Reading::Counter => Kind::Counter,
            config::Reading::HistogramArrays => Kind::Histogram,
        };
        let family = self.family(&metric.family, kind, || metric.help.clone());
        for &index in at {
            let reading = match metric.reading {
                config::Reading::Gauge => Some(Reading::Gauge(index)),
                config::Reading::Counter => Some(Reading::Counter(index)),
                config::Reading::HistogramArrays => {
                    histogram::Columns::of(index, &column.name, first).map(Reading::Histogram)
                }
            };
            let fate = reading.map(|reading| Fate::Sample { family, reading });
            self.metrics.extend(fate.map(|fate| Column::new(&column.name, fate)));
        }
    }

    fn add_undeclared(&mut self, query: &Query, column: &'a str, index: usize) {
        // The column's own name is asked: `?column?`, for one, is none.
        let name = MetricName::new(&format!("{}_{column}", query.prefix));
        let fate = match name {
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
    fn family(&mut self, name: &MetricName, kind: Kind, help: impl Fn() -> String) -> usize {
        let is_it = |family: &Family| family.name == *name && family.kind == kind;
        self.families.iter().position(is_it).unwrap_or_else(|| {
            self.families.push(Family { name: name.clone(), help: help(), kind, metrics: Vec::new() });
            self.families.len() - 1
        })
    }

    /// `le` tells the buckets of one histogram apart.
    fn refuse_histograms_labelled_le(&mut self) {
        if self.labels.has("le") {
            for column in &mut self.metrics {
                if matches!(column.fate, Fate::Sample { reading: Reading::Histogram(_), .. }) {
                    column.fate = Fate::Drop(Reason::Label);
                }
            }
        }
    }
}

/// The columns that a metric reads beside its own.
fn metric_columns(column: &config::Column, metric: &MetricColumn) -> Vec<String> {
    match metric.reading {
        config::Reading::Gauge | config::Reading::Counter => Vec::new(),
        config::Reading::HistogramArrays => histogram::Columns::names_beside(&column.name).into(),
    }
}

impl LabelColumns {
    /// The labels of a row; NULL is an empty value. `None` if a name stands twice.
    pub(super) fn of(&self, row: &Row<'_>) -> Option<Labels> {
        let constants = self.constants.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        let cells =
            self.columns.iter().map(|(name, index)| (name.clone(), cell(row, *index).unwrap_or("").into()));
        Labels::new(constants.chain(cells).collect()).ok()
    }

    fn has(&self, label: &str) -> bool {
        let mut names =
            self.columns.iter().map(|(name, _)| name).chain(self.constants.iter().map(|(name, _)| name));
        names.any(|name| name.as_str() == label)
    }
}

pub(super) fn cell<'a>(row: &Row<'a>, index: usize) -> Option<&'a str> {
    row.get(index).copied().flatten()
}

impl Reading {
    /// The value of a row, and what was dropped of it without harm to the rest.
    pub(super) fn of(&self, row: &Row<'_>) -> Result<(Value, Dropped), Reason> {
        let text = |index: &usize| cell(row, *index).ok_or(Reason::Null);
        let number = match self {
            Self::Gauge(index) => number::any(text(index)?).ok_or(Reason::Unparsable)?,
            Self::Untyped(index) => number::plain(text(index)?).ok_or(Reason::Unparsable)?,
            Self::Counter(index) => {
                let number = number::any(text(index)?).ok_or(Reason::Unparsable)?;
                if number.is_nan() || number < 0.0 {
                    return Err(Reason::Invalid);
                }
                number
            }
            Self::Histogram(columns) => {
                let (histogram, dropped) = columns.read(row)?;
                return Ok((Value::Histogram(Box::new(histogram)), dropped));
            }
        };
        Ok((Value::Number(number), Dropped::default()))
    }

    /// What [`Reason::Invalid`] means here.
    fn demand(&self) -> &'static str {
        match self {
            Self::Counter(_) => "a counter is neither negative nor NaN",
            Self::Histogram(_) => {
                "a histogram has whole counts that do not fall, up to the last column's, and as many finite bounds"
            }
            Self::Gauge(_) | Self::Untyped(_) => "no value of its type",
        }
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
            Fate::Drop(_) => "its name cannot be part of a metric's; give it another with AS, or DISCARD it",
        };
        let complaints: Vec<String> = [
            (unparsable, "not readable as a number"),
            (duplicate, "duplicate: another of the same name and labels came first"),
            (label, "without a sound label set: a label has the name of another, or le on a histogram"),
            (invalid, invalid_because),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, complaint)| format!("{count} dropped, {complaint}"))
        .collect();
        (!complaints.is_empty()).then(|| format!("column {:?}: {}", self.name, complaints.join("; ")))
    }
}
