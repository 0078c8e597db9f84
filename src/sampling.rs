//! Turns a query's declaration and its result into families of metrics, and the results of all queries into
//! the families of one exposition. Cells that cannot be samples are dropped and counted, never guessed.
//!
//! The same input gives the same output. This module does not know the database or the formats. It drops what
//! both formats forbid.

mod array;
mod columns;
mod dropped;
mod duration;
mod histogram;
mod label_columns;
mod label_sets;
mod merge;
mod missing;
mod note;
mod number;
mod observations;
mod reading;
mod summary;
mod time;

use columns::{Column, Columns, Fate, TimeColumn};
use label_columns::{Constants, LabelColumns, LabelValue};
use label_sets::LabelSets;
use reading::Row;

use crate::config::Query;
use crate::metric::{Family, Metric, Value};
use crate::table::Table;

pub use dropped::Dropped;
use dropped::Reason;
pub use merge::{declared, merge, merge_among};
pub use missing::Missing;

/// The families of one result.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampled {
    /// One for each name and type, in the order of the declaration, then of the undeclared columns. The
    /// family of a declared column exists even without metrics: it reserves its name, see [`fn@merge`].
    pub families: Vec<Family>,
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

/// Turns a result into metrics, by its query's declaration.
///
/// Within the result, the first metric of a family with some labels stays; others are duplicates. A row's
/// metrics share one label set. A column adds its constant labels and an INFO its own label. A TIMESTAMP sets
/// the time of the row's metrics; without a valid time they are dropped. Observations are grouped by label
/// set, in the order of the groups' first rows; a group has the latest time of its rows. A label whose value
/// exceeds `label_bytes_max` bytes drops its metrics.
///
/// # Errors
/// [`MissingLabel`] if a LABEL column is not in the result.
pub fn sample(query: &Query, table: &Table, label_bytes_max: usize) -> Result<Sampled, MissingLabel> {
    let Columns { mut labels, mut time, mut metrics, families, missing } =
        Columns::of(query, table, label_bytes_max)?;
    let mut open = Open::new(families);
    for cells in table.rows() {
        if let Some(label) = labels.too_long(&cells) {
            metrics.iter().for_each(|_| label.dropped.add(Reason::Label));
            continue;
        }
        let Some(row_labels) = labels.labels(&cells) else {
            metrics.iter_mut().for_each(|column| column.dropped.add(Reason::Label));
            continue;
        };
        let timestamp_seconds = match &mut time {
            None => None,
            Some(time) => match time.read(&cells) {
                Ok(seconds) => Some(seconds),
                Err(reason) => {
                    metrics.iter().for_each(|_| time.dropped.add(reason));
                    continue;
                }
            },
        };
        let label_set = open.label_sets.number(&row_labels);
        let row = Row { cells: &cells, labels: row_labels, label_set, timestamp_seconds };
        for column in &mut metrics {
            if let Err(reason) = open.take(column, &row, &labels) {
                column.dropped.add(reason);
            }
        }
    }
    metrics.iter_mut().for_each(|column| open.take_observations(column));
    let has_metric = !metrics.is_empty() || !missing.is_empty();
    let time_dropped = time.as_ref().map(|time| time.dropped);
    Ok(Sampled {
        families: open.families,
        dropped: metrics
            .iter()
            .map(|column| column.dropped)
            .chain(time_dropped)
            .chain(labels.values.iter().map(|label| label.dropped))
            .sum(),
        missing,
        notes: labels
            .values
            .iter()
            .filter_map(LabelValue::note)
            .chain(time.iter().filter_map(TimeColumn::note))
            .chain(metrics.iter().filter_map(Column::note))
            .chain((!has_metric).then(|| without_metric(table)))
            .collect(),
    })
}

/// A note for the log on a result without metrics.
fn without_metric(table: &Table) -> String {
    match table.columns() {
        [] => "the query returns no columns; end it with a SELECT",
        _ => {
            "no column is a metric, so there are no series; list a column as GAUGE, COUNTER or INFO, or add a number \
             to the query, such as `1 AS present`"
        }
    }
    .to_owned()
}

/// Families that still accept metrics.
struct Open {
    families: Vec<Family>,
    label_sets: LabelSets,
    /// The label sets of each family, by their [number](LabelSets::number).
    has: Vec<Vec<bool>>,
}

impl Open {
    fn new(families: Vec<Family>) -> Self {
        Self { has: vec![Vec::new(); families.len()], families, label_sets: LabelSets::default() }
    }

    /// Adds a column's metric of a row, or keeps its observation until all rows are read.
    fn take(
        &mut self,
        column: &mut Column<'_>,
        row: &Row<'_>,
        labels: &LabelColumns<'_>,
    ) -> Result<(), Reason> {
        let own;
        let row = match &column.constants {
            None => row,
            Some(constants) => {
                own = self.with_constants(row, constants, labels);
                &own
            }
        };
        let &Row { label_set, timestamp_seconds, .. } = row;
        match &mut column.fate {
            Fate::Drop(reason) => Err(*reason),
            Fate::Observe { observations, .. } => observations.observe(row),
            Fate::Tell { family, column: cell, names } => {
                let text = reading::cell(row.cells, *cell).ok_or(Reason::Null)?;
                if labels.is_too_long(text) {
                    return Err(Reason::Label);
                }
                let constants =
                    column.constants.iter().flat_map(|constants| constants.values.iter().copied());
                let labels = labels.labels_with(names, constants.chain([text]), row.cells);
                let label_set = self.label_sets.number(&labels);
                self.push(*family, label_set, Metric { labels, value: Value::Info, timestamp_seconds })
            }
            Fate::Sample { family, reading } => {
                let (value, dropped_parts) = reading.of(row.cells)?;
                let metric = Metric { labels: row.labels.clone(), value, timestamp_seconds };
                self.push(*family, label_set, metric)?;
                column.dropped += dropped_parts;
                Ok(())
            }
        }
    }

    /// The row with a column's constant labels.
    fn with_constants<'row>(
        &mut self,
        row: &Row<'row>,
        constants: &Constants<'_>,
        labels: &LabelColumns<'_>,
    ) -> Row<'row> {
        let labels = labels.labels_with(&constants.names, constants.values.iter().copied(), row.cells);
        Row { label_set: self.label_sets.number(&labels), labels, ..*row }
    }

    fn take_observations(&mut self, column: &mut Column<'_>) {
        if let Fate::Observe { family, observations } = &mut column.fate {
            for (label_set, metric) in observations.take_metrics() {
                if let Err(reason) = self.push(*family, label_set, metric) {
                    column.dropped.add(reason);
                }
            }
        }
    }

    fn push(&mut self, family: usize, label_set: usize, metric: Metric) -> Result<(), Reason> {
        let (Some(family), Some(has)) = (self.families.get_mut(family), self.has.get_mut(family)) else {
            return Err(Reason::Invalid);
        };
        has.resize(has.len().max(label_set + 1), false);
        match has.get_mut(label_set) {
            Some(has) if !*has => *has = true,
            _ => return Err(Reason::Duplicate),
        }
        family.metrics.push(metric);
        Ok(())
    }
}
