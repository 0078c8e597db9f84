//! The columns of a result, each with its use, decided once before the rows are read.

use std::collections::{HashMap, HashSet};

use super::dropped::{Dropped, Reason};
use super::label_columns::{Constants, LabelColumns};
use super::note::{UNLISTED, UNREADABLE, note};
use super::observations::{Observations, Shape};
use super::reading::{Cells, NumberCell, Reading, cell};
use super::{Missing, MissingLabel, histogram, number, summary, time};
use crate::config::{self, MetricColumn, Query, Usage};
use crate::metric::{Family, Kind, LabelNames, MetricName, StateSet};
use crate::table::Table;

/// A query's declaration, applied to the columns of its result.
pub(super) struct Columns<'a> {
    pub labels: LabelColumns<'a>,
    pub time: Option<TimeColumn<'a>>,
    pub metrics: Vec<Column<'a>>,
    /// Families without metrics.
    pub families: Vec<Family>,
    pub missing: Vec<Missing>,
}

/// The column with the time of a row's metrics.
pub(super) struct TimeColumn<'a> {
    name: &'a str,
    column: usize,
    /// The dropped metrics, which have no valid time.
    pub dropped: Dropped,
}

/// A column with metrics, or a column whose metrics are dropped.
pub(super) struct Column<'a> {
    name: &'a str,
    pub fate: Fate<'a>,
    /// The labels of its metrics in addition to those of the row.
    pub constants: Option<Constants<'a>>,
    pub dropped: Dropped,
}

/// The use of a column's cells. `family` is an index.
pub(super) enum Fate<'a> {
    /// Each row has a metric.
    Sample { family: usize, reading: Reading<'a> },
    /// Each row has a metric whose last label is the cell.
    Tell { family: usize, column: usize, names: LabelNames },
    /// All rows of one label set form a metric.
    Observe { family: usize, observations: Observations<'a> },
    /// Dropped, and counted for each row.
    Drop(Reason),
}

/// The positions of each name in the result. SQL allows repeated names.
pub(super) struct Positions<'a>(HashMap<&'a str, Vec<usize>>);

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

    pub(super) fn first(&self, name: &str) -> Option<usize> {
        self.all(name).first().copied()
    }
}

impl<'a> Columns<'a> {
    pub(super) fn of(
        query: &'a Query,
        table: &'a Table,
        label_bytes_max: usize,
    ) -> Result<Self, MissingLabel> {
        let positions = Positions::of(table);
        let labels = LabelColumns::of(query, table, &positions, label_bytes_max)?;
        let mut columns =
            Self { labels, time: None, metrics: Vec::new(), families: Vec::new(), missing: Vec::new() };
        let mut declared = HashSet::new();
        for column in &query.columns {
            declared.insert(column.name.clone());
            match &column.usage {
                Usage::Label(_) => columns.add_label_repetitions(column, &positions),
                Usage::Metric(metric) => {
                    declared.extend(columns_beside(&metric.reading, &column.name));
                    columns.add_metric(column, metric, table, &positions);
                }
                Usage::Timestamp => match positions.first(&column.name) {
                    Some(index) => columns.time = Some(TimeColumn::new(&column.name, index)),
                    None => columns.missing.push(Missing::column(&column.name, table.columns())),
                },
                Usage::Discard => {}
            }
        }
        for (index, name) in table.columns().iter().enumerate() {
            if !declared.contains(name) {
                columns.add_undeclared(query, name, index);
            }
        }
        Ok(columns)
    }

    /// The first column with a label's name is the label.
    fn add_label_repetitions(&mut self, column: &'a config::Column, positions: &Positions<'_>) {
        let repetitions = positions.all(&column.name).iter().skip(1);
        self.metrics.extend(repetitions.map(|_| Column::new(&column.name, Fate::Drop(Reason::Label))));
    }

    /// A column that the result has several times gives a metric each time; all but the first are duplicates.
    fn add_metric(
        &mut self,
        column: &'a config::Column,
        metric: &'a MetricColumn,
        table: &Table,
        positions: &Positions<'_>,
    ) {
        let name = &column.name;
        let is_there = |name: &str| positions.first(name).is_some();
        self.missing.extend(match is_there(name) {
            true => Missing::parts(name, metric, is_there),
            false => Some(Missing::column(name, table.columns())),
        });
        let family = self.family(&metric.family, metric.reading.kind(), || metric.help.clone());
        let constants = self.labels.constants(metric);
        for &index in positions.all(name) {
            let (fate, constants) = match &constants {
                Ok(constants) => (self.fate(family, metric, name, index, positions), constants.clone()),
                Err(reason) => (Some(Fate::Drop(*reason)), None),
            };
            self.metrics.extend(fate.map(|fate| Column { constants, ..Column::new(name, fate) }));
        }
    }

    /// `None` if a column is missing that the metric requires.
    fn fate(
        &self,
        family: usize,
        metric: &'a MetricColumn,
        name: &str,
        column: usize,
        positions: &Positions<'_>,
    ) -> Option<Fate<'a>> {
        use config::Reading as Declared;
        if metric.reading.own_label().is_some_and(|label| self.labels.contain(label)) {
            return Some(Fate::Drop(Reason::Label));
        }
        let number = || NumberCell::declared(column, metric);
        let position = |name: &str| positions.first(name);
        let observe = |shape| Fate::Observe { family, observations: Observations::new(number(), shape) };
        let reading = match &metric.reading {
            Declared::Gauge | Declared::Mapped(_) | Declared::Duration => Reading::Gauge(number()),
            Declared::Counter => Reading::Counter(number()),
            Declared::HistogramArrays => {
                Reading::Histogram(histogram::Columns::of(column, name, metric.scale, position)?)
            }
            Declared::SummaryArrays => {
                Reading::Summary(summary::Columns::of(column, name, metric.scale, position)?)
            }
            Declared::StateSet { states, .. }
                if states.iter().any(|state| self.labels.is_too_long(state)) =>
            {
                return Some(Fate::Drop(Reason::Label));
            }
            Declared::StateSet { states, label } => {
                let set = StateSet { label: label.clone(), states: states.as_slice().into(), current: None };
                Reading::StateSet { column, set }
            }
            Declared::HistogramObservations { buckets } => return Some(observe(Shape::Histogram(buckets))),
            Declared::SummaryObservations { quantiles } => return Some(observe(Shape::Summary(quantiles))),
            Declared::Info { label } => {
                let constants = metric.labels.iter().map(|(name, _)| name);
                let names = self.labels.names_with(constants.chain([label]));
                return Some(names.map_or(Fate::Drop(Reason::Label), |names| Fate::Tell {
                    family,
                    column,
                    names,
                }));
            }
        };
        Some(Fate::Sample { family, reading })
    }

    fn add_undeclared(&mut self, query: &Query, column: &'a str, index: usize) {
        // PostgreSQL names a column without a name `?column?`. Other names may be invalid for a metric too.
        let fate = match MetricName::new(&format!("{}_{column}", query.prefix)) {
            Ok(name) => Fate::Sample {
                family: self
                    .family(&name, Kind::Untyped, || format!("Unknown metric from {}", query.namespace)),
                reading: Reading::Gauge(NumberCell::undeclared(index)),
            },
            Err(_) => Fate::Drop(Reason::Invalid),
        };
        self.metrics.push(Column::new(column, fate));
    }

    /// The index of the family with this name and type, which may be new.
    fn family(&mut self, name: &MetricName, kind: Kind, help: impl FnOnce() -> String) -> usize {
        let is_it = |family: &Family| family.name == *name && family.kind == kind;
        self.families.iter().position(is_it).unwrap_or_else(|| {
            let (name, help) = (name.clone(), help());
            self.families.push(Family { name, help, kind, is_retyped: false, metrics: Vec::new() });
            self.families.len() - 1
        })
    }
}

impl<'a> TimeColumn<'a> {
    fn new(name: &'a str, column: usize) -> Self {
        Self { name, column, dropped: Dropped::default() }
    }

    /// Unix seconds, from a timestamp or a number.
    pub(super) fn read(&self, cells: &Cells<'_>) -> Result<f64, Reason> {
        let text = cell(cells, self.column).ok_or(Reason::Null)?.trim_ascii();
        let seconds = number::decimal(text).or_else(|| time::timestamp(text)).ok_or(Reason::Unparsable)?;
        (seconds.abs() <= TIMESTAMP_SECONDS_MAX).then_some(seconds).ok_or(Reason::Invalid)
    }

    pub(super) fn note(&self) -> Option<String> {
        note(
            self.name,
            self.dropped,
            UNREADABLE,
            "a time that both formats can write is finite and not beyond year 9999",
        )
    }
}

/// The end of the year 9999, and as long before 1970. Prometheus and 0.0.4 have 64 bits of milliseconds,
/// which reach much further.
const TIMESTAMP_SECONDS_MAX: f64 = 253_402_300_799.0;

/// The further columns that a declared column needs.
pub(super) fn columns_beside(declared: &config::Reading, column: &str) -> impl Iterator<Item = String> {
    declared.suffixes_beside().iter().map(move |suffix| format!("{column}{suffix}"))
}

impl<'a> Column<'a> {
    fn new(name: &'a str, fate: Fate<'a>) -> Self {
        Self { name, fate, constants: None, dropped: Dropped::default() }
    }

    /// A note for the log.
    pub(super) fn note(&self) -> Option<String> {
        let demand = match &self.fate {
            Fate::Sample { reading, .. } => reading.demand(),
            Fate::Observe { .. } => "an observation is not NaN",
            Fate::Tell { .. } => "any text is valid",
            Fate::Drop(_) => "its name cannot be part of a metric's: name it with AS, or DISCARD it",
        };
        let unreadable = match &self.fate {
            Fate::Sample { reading, .. } if !reading.is_listed() => UNLISTED,
            _ => UNREADABLE,
        };
        note(self.name, self.dropped, unreadable, demand)
    }
}
