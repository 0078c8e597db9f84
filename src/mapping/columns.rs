//! The use of each column of a result, decided once before the rows are read.

use super::arrays::{HistogramColumns, SummaryColumns};
use super::dropped::{Dropped, Reason, UNLISTED, UNREADABLE, note};
use super::labels::{Constants, Labels};
use super::observations::{Observations, Shape};
use super::values::{NumberColumn, ValueColumns, cell};
use super::{Missing, MissingLabel, number, time};
use crate::config::{self, MetricColumn, Query, Reading, Usage};
use crate::metric::{Family, Kind, LabelNames, LabelSets, MetricName, StateSet};
use crate::table::Cells;

/// A query's declaration, applied to the columns of its result.
pub(super) struct Columns<'q> {
    pub(crate) labels: Labels<'q>,
    pub(crate) time: Option<TimeColumn<'q>>,
    pub(crate) metrics: Vec<Column<'q>>,
    pub(crate) sets: LabelSets,
    pub(crate) families: Vec<Family>,
    pub(crate) missing: Vec<Missing>,
}

/// The column with the time of a row's metrics.
pub(super) struct TimeColumn<'q> {
    name: &'q str,
    column: usize,
    /// The dropped metrics, which have no valid time.
    pub(crate) dropped: Dropped,
}

/// A column with metrics, or a column whose metrics are dropped.
pub(super) struct Column<'q> {
    name: String,
    /// The labels of its metrics in addition to those of the row.
    pub(crate) constants: Option<Constants<'q>>,
    pub(crate) purpose: Purpose<'q>,
    pub(crate) dropped: Dropped,
}

/// The use of a column's cells. `family` is an index.
pub(super) enum Purpose<'q> {
    /// Each row has a metric.
    Value { family: usize, columns: ValueColumns<'q> },
    /// Each row has a metric whose last label is the cell.
    Info { family: usize, column: usize, names: LabelNames },
    /// All rows of one label set form a metric.
    Observation { family: usize, observations: Observations<'q> },
    /// Dropped, and counted for each row.
    Dropped(Reason),
}

/// The positions of each name in the result. SQL allows repeated names.
pub(super) struct Positions<'a>(Vec<(&'a str, usize)>);

impl<'a> Positions<'a> {
    fn new(columns: &'a [String]) -> Self {
        let mut positions: Vec<_> = columns.iter().map(String::as_str).zip(0..).collect();
        positions.sort_unstable();
        Self(positions)
    }

    fn all(&self, name: &str) -> impl Iterator<Item = usize> {
        let first = self.0.partition_point(|(known, _)| *known < name);
        self.0.iter().skip(first).take_while(move |(known, _)| *known == name).map(|&(_, index)| index)
    }

    pub(super) fn first(&self, name: &str) -> Option<usize> {
        self.all(name).next()
    }
}

impl<'q> Columns<'q> {
    pub(super) fn new(
        query: &'q Query,
        names: &[String],
        label_bytes_max: usize,
    ) -> Result<Self, MissingLabel> {
        let positions = Positions::new(names);
        let mut sets = LabelSets::default();
        let labels = Labels::new(query, names, &positions, label_bytes_max, &mut sets)?;
        let mut columns =
            Self { labels, time: None, metrics: Vec::new(), sets, families: Vec::new(), missing: Vec::new() };
        for column in &query.columns {
            match &column.usage {
                // The first column with a label's name is the label.
                Usage::Label(_) => {
                    let repetitions = positions.all(&column.name).skip(1);
                    columns.metrics.extend(
                        repetitions.map(|_| Column::new(&column.name, Purpose::Dropped(Reason::Label))),
                    );
                }
                Usage::Metric(metric) => {
                    columns.add_metric(column, metric, names, &positions);
                }
                Usage::Timestamp => match positions.first(&column.name) {
                    Some(index) => {
                        let dropped = Dropped::default();
                        columns.time = Some(TimeColumn { name: &column.name, column: index, dropped });
                    }
                    None => columns.missing.push(Missing::column(&column.name, names)),
                },
                Usage::Discard => {}
            }
        }
        let is_declared = |name: &str| {
            query.columns.iter().any(|column| match &column.usage {
                _ if column.name == name => true,
                Usage::Metric(metric) => metric.reading.has_part(&column.name, name),
                _ => false,
            })
        };
        for (index, name) in names.iter().enumerate().filter(|(_, name)| !is_declared(name)) {
            columns.add_undeclared(query, name, index);
        }
        Ok(columns)
    }

    /// A column that the result has several times gives a metric each time; all but the first are duplicates.
    fn add_metric(
        &mut self,
        column: &'q config::Column,
        metric: &'q MetricColumn,
        names: &[String],
        positions: &Positions<'_>,
    ) {
        let name = &column.name;
        let is_there = |name: &str| positions.first(name).is_some();
        self.missing.extend(match is_there(name) {
            true => Missing::parts(name, metric, is_there),
            false => Some(Missing::column(name, names)),
        });
        let family = self.family(&metric.family, metric.reading.kind(), || metric.help.clone());
        let constants = self.labels.constants(metric, &mut self.sets);
        for index in positions.all(name) {
            let (purpose, constants) = match &constants {
                Ok(constants) => (self.purpose(family, metric, name, index, positions), constants.clone()),
                Err(reason) => (Some(Purpose::Dropped(*reason)), None),
            };
            self.metrics.extend(purpose.map(|purpose| Column { constants, ..Column::new(name, purpose) }));
        }
    }

    /// `None` if a column is missing that the metric requires.
    fn purpose(
        &mut self,
        family: usize,
        metric: &'q MetricColumn,
        name: &str,
        column: usize,
        positions: &Positions<'_>,
    ) -> Option<Purpose<'q>> {
        if metric.reading.own_label().is_some_and(|label| self.labels.contain(label)) {
            return Some(Purpose::Dropped(Reason::Label));
        }
        let number = || NumberColumn::declared(column, metric);
        let position = |name: &str| positions.first(name);
        let observation =
            |shape| Some(Purpose::Observation { family, observations: Observations::new(number(), shape) });
        let columns = match &metric.reading {
            Reading::Gauge | Reading::Mapped(_) | Reading::Duration => ValueColumns::Gauge(number()),
            Reading::Counter => ValueColumns::Counter(number()),
            Reading::HistogramArrays => {
                ValueColumns::Histogram(HistogramColumns::of(column, name, metric.scale, position)?)
            }
            Reading::SummaryArrays => {
                ValueColumns::Summary(SummaryColumns::of(column, name, metric.scale, position)?)
            }
            Reading::StateSet { states, .. } if states.iter().any(|state| self.labels.is_too_long(state)) => {
                return Some(Purpose::Dropped(Reason::Label));
            }
            Reading::StateSet { states, label } => {
                let set = StateSet { label: label.clone(), states: states.as_slice().into(), current: None };
                ValueColumns::StateSet { column, set }
            }
            Reading::HistogramObservations { buckets } => return observation(Shape::Histogram(buckets)),
            Reading::SummaryObservations { quantiles } => return observation(Shape::Summary(quantiles)),
            Reading::Info { label } => {
                let constants = metric.labels.iter().map(|(name, _)| name);
                let names = self.labels.names_with(constants.chain([label]), &mut self.sets);
                let info = |names| Purpose::Info { family, column, names };
                return Some(names.map_or(Purpose::Dropped(Reason::Label), info));
            }
        };
        Some(Purpose::Value { family, columns })
    }

    fn add_undeclared(&mut self, query: &Query, column: &str, index: usize) {
        // PostgreSQL names a column without a name `?column?`. Other names may be invalid for a metric too.
        let purpose = match MetricName::new(&format!("{}_{column}", query.prefix)) {
            Ok(name) => Purpose::Value {
                family: self
                    .family(&name, Kind::Untyped, || format!("Unknown metric from {}", query.namespace)),
                columns: ValueColumns::Gauge(NumberColumn::undeclared(index)),
            },
            Err(_) => Purpose::Dropped(Reason::Invalid),
        };
        self.metrics.push(Column::new(column, purpose));
    }

    /// The index of the family with this name and type, which may be new.
    fn family(&mut self, name: &MetricName, kind: Kind, help: impl FnOnce() -> String) -> usize {
        let is_it = |family: &Family| family.name == *name && family.kind == kind;
        self.families.iter().position(is_it).unwrap_or_else(|| {
            self.families.push(Family::new(name.clone(), kind, help()));
            self.families.len() - 1
        })
    }
}

impl TimeColumn<'_> {
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

impl<'q> Column<'q> {
    fn new(name: &str, purpose: Purpose<'q>) -> Self {
        Self { name: name.to_owned(), purpose, constants: None, dropped: Dropped::default() }
    }

    /// A note for the log.
    pub(super) fn note(&self) -> Option<String> {
        let demand = match &self.purpose {
            Purpose::Value { columns, .. } => columns.demand(),
            Purpose::Observation { .. } => "an observation is not NaN",
            Purpose::Info { .. } => "any text is valid",
            Purpose::Dropped(_) => "its name cannot be part of a metric's: name it with AS, or DISCARD it",
        };
        let unreadable = match &self.purpose {
            Purpose::Value { columns, .. } if !columns.is_listed() => UNLISTED,
            _ => UNREADABLE,
        };
        note(&self.name, self.dropped, unreadable, demand)
    }
}
