//! What a result means: a query's declaration and its table become families of metrics, and the results of all
//! queries become one exposition's families. Whatever cannot be a sample is dropped and counted, never guessed.
//!
//! Same input, same output. It knows nothing of the database that the table came from, nor of the formats that
//! the families are written in; what both formats forbid is dropped here.

mod array;
mod columns;
mod dropped;
mod histogram;
mod label_sets;
mod merge;
mod number;
mod reading;
mod time;

use columns::{Columns, Fate};
use label_sets::LabelSets;

use crate::config::Query;
use crate::metric::{Family, Metric};
use crate::table::Table;

pub use dropped::Dropped;
use dropped::Reason;
pub use merge::merge;

/// What one result gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampled {
    /// One for each name and type, in the order of the declaration, then of the undeclared columns. A family of a
    /// declared column is here even without metrics: it keeps its name from undeclared ones, see [`merge`].
    pub families: Vec<Family>,
    /// How many metrics did not come about, and why.
    pub dropped: Dropped,
    /// Declared columns, or those that belong to one, which the result lacks.
    pub missing: Vec<String>,
    /// For the log: a sentence for each column that has something wrong with it. Never a value.
    pub notes: Vec<String>,
}

/// The result lacks a LABEL, so that its samples would be ambiguous.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column:?}, a LABEL, is not in the result")]
pub struct MissingLabel {
    /// The column's name.
    pub column: String,
}

/// Reads a result as its query declares it.
///
/// Within the result, the first metric of a family with some label set stays and any other is a duplicate. A row's
/// metrics share one label set.
///
/// # Errors
/// [`MissingLabel`] if a column that is declared as LABEL is not in the result.
pub fn sample(query: &Query, table: &Table) -> Result<Sampled, MissingLabel> {
    let Columns { labels, mut metrics, families, missing } = Columns::of(query, table)?;
    let mut sets = LabelSets::default();
    let mut families: Vec<Open> =
        families.into_iter().map(|family| Open::new(family, table.row_count())).collect();
    for row in table.rows() {
        let Some(labels) = labels.labels(&row) else {
            metrics.iter_mut().for_each(|column| column.dropped.add(Reason::Label));
            continue;
        };
        let label_set = sets.number(&labels);
        for column in &mut metrics {
            let outcome = match &column.fate {
                Fate::Drop(reason) => Err(*reason),
                Fate::Sample { family, reading } => reading.of(&row).and_then(|(value, dropped_parts)| {
                    let open = families.get_mut(*family).ok_or(Reason::Invalid)?;
                    open.push(label_set, Metric { labels: labels.clone(), value, timestamp_seconds: None })?;
                    column.dropped += dropped_parts;
                    Ok(())
                }),
            };
            if let Err(reason) = outcome {
                column.dropped.add(reason);
            }
        }
    }
    Ok(Sampled {
        families: families.into_iter().map(|open| open.family).collect(),
        dropped: metrics.iter().map(|column| column.dropped).sum(),
        missing,
        notes: metrics.iter().filter_map(columns::Column::note).collect(),
    })
}

/// A family that still takes metrics.
struct Open {
    family: Family,
    /// Which label sets it has, by their [number](LabelSets::number).
    has: Vec<bool>,
}

impl Open {
    fn new(mut family: Family, rows: usize) -> Self {
        family.metrics.reserve_exact(rows);
        Self { family, has: vec![false; rows] }
    }

    fn push(&mut self, label_set: usize, metric: Metric) -> Result<(), Reason> {
        let has = self.has.get_mut(label_set).ok_or(Reason::Invalid)?;
        if std::mem::replace(has, true) {
            return Err(Reason::Duplicate);
        }
        self.family.metrics.push(metric);
        Ok(())
    }
}
