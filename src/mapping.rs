//! Maps the rows of a query's result to families of metrics while the rows arrive, and merges the families of all queries.
//! Cells that cannot be samples are dropped and counted, never guessed.
//!
//! The same input gives the same output. This module does not know the database or the formats. It drops what
//! both formats forbid.

mod arrays;
mod columns;
mod dropped;
mod duration;
mod labels;
mod merge;
mod missing;
mod number;
mod observations;
mod time;
mod values;

use columns::{Column, Columns, Purpose, TimeColumn};
use labels::{Constants, Label, Labels};
use values::cell;

use crate::config::Query;
use crate::metric::{Families, Family, LabelNames, LabelSets, Value};
use crate::table::{Cells, Rows, TooLarge};

pub use dropped::Dropped;
pub(crate) use dropped::Reason;
pub use merge::{DeclaredNames, Merged};
pub(crate) use merge::{MergedFamily, Part};
pub(crate) use missing::Missing;

/// The metrics of one result.
#[derive(Debug, Clone, Default)]
pub struct Mapped {
    /// One family for each name and type, in the order of the declaration, then of the undeclared columns. The
    /// family of a declared column exists even without metrics: it reserves its name, see [`Merged`].
    pub families: Families,
    /// The numbers of dropped metrics, by reason.
    pub dropped: Dropped,
    /// Columns that the declaration needs and the result lacks.
    pub missing: Vec<Missing>,
    /// For the log: a sentence for each column with a problem. Never a value.
    pub notes: Vec<String>,
}

/// The result lacks a LABEL, so that its samples would be ambiguous.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("without a LABEL no sample is exposed: {0}")]
pub struct MissingLabel(pub Missing);

/// Maps the rows of one query's results; the last result counts.
///
/// Within the result, the first metric of a family with some labels stays; others are duplicates. A row's
/// metrics share one label set. A column adds its constant labels and an INFO its own label. A TIMESTAMP sets
/// the time of the row's metrics; without a valid time they are dropped. Observations are grouped by label
/// set, in the order of the groups' first rows; a group has the latest time of its rows. A label whose value
/// exceeds `label_bytes_max` bytes drops its metrics.
pub struct Mapper<'q> {
    query: &'q Query,
    label_bytes_max: usize,
    bytes_max: usize,
    names: Vec<String>,
    /// Absent before the first result.
    result: Option<Result<Open<'q>, MissingLabel>>,
    rows: usize,
}

impl<'q> Mapper<'q> {
    /// A mapper for the results of `query`, whose metrics take at most `bytes_max` bytes in memory.
    pub fn new(query: &'q Query, label_bytes_max: usize, bytes_max: usize) -> Self {
        Self { query, label_bytes_max, bytes_max, names: Vec::new(), result: None, rows: 0 }
    }

    /// The names of the result's columns.
    pub(crate) fn columns(&self) -> &[String] {
        &self.names
    }

    /// The number of rows so far.
    pub(crate) fn row_count(&self) -> usize {
        self.rows
    }

    /// The metrics of all rows.
    ///
    /// # Errors
    /// [`MissingLabel`] if a LABEL column is not in the result.
    pub fn finish(self) -> Result<Mapped, MissingLabel> {
        let names = self.names;
        let result = self.result.unwrap_or_else(|| Open::new(self.query, &[], self.label_bytes_max));
        result.map(|open| open.finish(&names))
    }
}

impl Rows for Mapper<'_> {
    fn begin(&mut self, columns: Vec<String>) {
        self.result = Some(Open::new(self.query, &columns, self.label_bytes_max));
        self.names = columns;
        self.rows = 0;
    }

    fn row(&mut self, cells: &Cells<'_>) -> Result<(), TooLarge> {
        self.rows += 1;
        let Some(Ok(open)) = &mut self.result else { return Ok(()) };
        open.row(cells);
        if open.metric_bytes + open.sets.bytes() > self.bytes_max { Err(TooLarge) } else { Ok(()) }
    }
}

/// A result whose rows arrive.
struct Open<'q> {
    labels: Labels<'q>,
    time: Option<TimeColumn<'q>>,
    columns: Vec<Column<'q>>,
    missing: Vec<Missing>,
    sets: LabelSets,
    families: Vec<Family>,
    /// The label sets that each family has.
    taken: Vec<Taken>,
    /// The memory of all metrics and of `taken`, without the label sets.
    metric_bytes: usize,
}

impl<'q> Open<'q> {
    fn new(query: &'q Query, names: &[String], label_bytes_max: usize) -> Result<Self, MissingLabel> {
        let Columns { labels, time, metrics, sets, families, missing } =
            Columns::new(query, names, label_bytes_max)?;
        let taken = vec![Taken::default(); families.len()];
        Ok(Self { labels, time, columns: metrics, missing, sets, families, taken, metric_bytes: 0 })
    }

    fn row(&mut self, cells: &Cells<'_>) {
        let Self { labels, time, columns, sets, families, taken, metric_bytes, .. } = self;
        if let Some(label) = labels.too_long(cells) {
            columns.iter().for_each(|_| label.dropped.add(Reason::Label));
            return;
        }
        let Some(names) = &labels.names else {
            columns.iter_mut().for_each(|column| column.dropped.add(Reason::Label));
            return;
        };
        let time = match time.as_mut().map(|time| (time.read(cells), time)) {
            None => None,
            Some((Ok(seconds), _)) => Some(seconds),
            Some((Err(reason), time)) => {
                columns.iter().for_each(|_| time.dropped.add(reason));
                return;
            }
        };
        let mut row_labels = None;
        for Column { constants, purpose, dropped, .. } in columns {
            // A label set takes memory, so one that no metric has is not kept.
            let mut own_labels = |sets: &mut LabelSets| match constants {
                None => *row_labels
                    .get_or_insert_with(|| numbered(sets, names, |place| labels.value(place, cells, &[]))),
                Some(Constants { names, values }) => {
                    numbered(sets, names, |place| labels.value(place, cells, values))
                }
            };
            let mut push = |family: usize, labels, value| {
                let (families, taken) = (families.get_mut(family), taken.get_mut(family));
                let (Some(family), Some(taken)) = (families, taken) else { return Err(Reason::Invalid) };
                push(family, taken, labels, value, time, metric_bytes)
            };
            let result = match purpose {
                Purpose::Dropped(reason) => Err(*reason),
                Purpose::Observation { observations, .. } => {
                    observations.observe(cells, own_labels(sets), time, metric_bytes)
                }
                Purpose::Info { family, column, names } => match cell(cells, *column) {
                    None => Err(Reason::Null),
                    Some(text) if labels.is_too_long(text) => Err(Reason::Label),
                    Some(text) => {
                        let constants = constants.as_ref().map_or(&[][..], |constants| &constants.values);
                        let last = labels.sources.len() + constants.len();
                        let value = |place| match place == last {
                            true => text,
                            false => labels.value(place, cells, constants),
                        };
                        push(*family, numbered(sets, names, value), Value::Info)
                    }
                },
                Purpose::Value { family, columns } => {
                    let mut dropped_parts = Dropped::default();
                    let value = columns.read(cells, &mut dropped_parts);
                    let pushed = value.and_then(|value| push(*family, own_labels(sets), value));
                    pushed.map(|()| *dropped += dropped_parts)
                }
            };
            if let Err(reason) = result {
                dropped.add(reason);
            }
        }
    }

    fn finish(mut self, names: &[String]) -> Mapped {
        for Column { purpose, dropped, .. } in &mut self.columns {
            let Purpose::Observation { family, observations } = purpose else { continue };
            let (families, taken) = (self.families.get_mut(*family), self.taken.get_mut(*family));
            let (Some(family), Some(taken)) = (families, taken) else { continue };
            for (labels, value, time) in observations.take_metrics() {
                if let Err(reason) = push(family, taken, labels, value, time, &mut self.metric_bytes) {
                    dropped.add(reason);
                }
            }
        }
        self.sets.finish();
        let has_metric = !self.columns.is_empty() || !self.missing.is_empty();
        let labels = &self.labels.sources;
        let dropped = self.columns.iter().map(|column| column.dropped);
        let dropped = dropped.chain(self.time.iter().map(|time| time.dropped));
        Mapped {
            dropped: dropped.chain(labels.iter().map(|label| label.dropped)).sum(),
            notes: labels
                .iter()
                .filter_map(Label::note)
                .chain(self.time.iter().filter_map(TimeColumn::note))
                .chain(self.columns.iter().filter_map(Column::note))
                .chain((!has_metric).then(|| without_metric(names)))
                .collect(),
            families: Families { sets: self.sets, families: self.families },
            missing: self.missing,
        }
    }
}

/// Numbers of label sets, each a bit.
#[derive(Clone, Default)]
struct Taken(Vec<u64>);

impl Taken {
    /// Adds a set, and to `bytes` the memory that it takes. Returns whether it is new.
    fn insert(&mut self, set: u32, bytes: &mut usize) -> bool {
        let (place, bit) = (set as usize / 64, 1 << (set % 64));
        let words = self.0.len();
        if words <= place {
            *bytes += (place + 1 - words) * size_of::<u64>();
            self.0.resize(place + 1, 0);
        }
        let is_new = |word: &&mut u64| **word & bit == 0;
        self.0.get_mut(place).filter(is_new).map(|word| *word |= bit).is_some()
    }
}

/// A label set, and the first one that is the same to Prometheus.
fn numbered<'v>(sets: &mut LabelSets, names: &LabelNames, value: impl Fn(usize) -> &'v str) -> (u32, u32) {
    let set = sets.number(names, value);
    (set, sets.identity(set))
}

/// Adds a metric to its family, unless the family has one with a label set that is the same to Prometheus.
fn push(
    family: &mut Family,
    taken: &mut Taken,
    (set, identity): (u32, u32),
    value: Value,
    time: Option<f64>,
    bytes: &mut usize,
) -> Result<(), Reason> {
    if !taken.insert(identity, bytes) {
        return Err(Reason::Duplicate);
    }
    *bytes += size_of::<u32>() + value.bytes() + time.map_or(0, |_| size_of::<f64>());
    family.push(set, value, time);
    Ok(())
}

/// A note for the log on a result without metrics.
fn without_metric(names: &[String]) -> String {
    match names {
        [] => "the query returns no columns; end it with a SELECT",
        _ => {
            "no column is a metric, so there are no series; list a column as GAUGE, COUNTER or INFO, or add a number \
             to the query, such as `1 AS present`"
        }
    }
    .to_owned()
}
