//! The labels of a result's metrics: columns of the result, and constants of the query and of its columns.

use super::columns::Positions;
use super::dropped::{Dropped, Reason};
use super::reading::{Cells, cell};
use super::{Missing, MissingLabel};
use crate::config::{MetricColumn, Query, Usage};
use crate::metric::{LabelName, LabelNames, Labels};
use crate::table::Table;

/// The labels of a row: constants, then columns.
pub(super) struct LabelColumns<'a> {
    in_order: Vec<LabelName>,
    /// `None` if a name appears twice.
    names: Option<LabelNames>,
    pub values: Vec<LabelValue<'a>>,
    value_bytes_max: usize,
}

/// The source of a label's value.
pub(super) struct LabelValue<'a> {
    /// The name of the column or of the constant label.
    name: &'a str,
    source: LabelSource<'a>,
    /// Metrics that were dropped because the value is too long.
    pub dropped: Dropped,
}

#[derive(Clone, Copy)]
enum LabelSource<'a> {
    Constant(&'a str),
    Column(usize),
}

/// The constant labels of one column, which follow the labels of a row.
#[derive(Clone)]
pub(super) struct Constants<'a> {
    pub names: LabelNames,
    pub values: Vec<&'a str>,
}

impl<'a> LabelColumns<'a> {
    pub(super) fn of(
        query: &'a Query,
        table: &Table,
        positions: &Positions<'_>,
        value_bytes_max: usize,
    ) -> Result<Self, MissingLabel> {
        let mut names = Vec::new();
        let mut values = Vec::new();
        for (name, value) in &query.labels {
            values.push(LabelValue::new(name.as_str(), LabelSource::Constant(value)));
            names.push(name.clone());
        }
        for column in &query.columns {
            if let Usage::Label(name) = &column.usage {
                let missing = || MissingLabel(Missing::column(&column.name, table.columns()));
                let index = positions.first(&column.name).ok_or_else(missing)?;
                values.push(LabelValue::new(&column.name, LabelSource::Column(index)));
                names.push(name.clone());
            }
        }
        Ok(Self { names: LabelNames::new(names.clone()).ok(), in_order: names, values, value_bytes_max })
    }

    fn values<'row>(&'row self, cells: &Cells<'row>) -> impl Iterator<Item = &'row str> {
        self.values.iter().map(|value| value.source.text(cells))
    }

    /// The first label of a row whose value is too long.
    pub(super) fn too_long(&mut self, cells: &Cells<'_>) -> Option<&mut LabelValue<'a>> {
        let bytes_max = self.value_bytes_max;
        self.values.iter_mut().find(|value| value.source.text(cells).len() > bytes_max)
    }

    pub(super) fn is_too_long(&self, value: &str) -> bool {
        value.len() > self.value_bytes_max
    }

    /// The labels of a row. NULL is an empty value. `None` if a name appears twice.
    pub(super) fn labels(&self, cells: &Cells<'_>) -> Option<Labels> {
        Some(self.names.as_ref()?.with(&self.values(cells).collect::<Vec<_>>()))
    }

    /// The labels of a row and `more` labels, with names by [`names_with`](Self::names_with).
    pub(super) fn labels_with<'row>(
        &'row self,
        names: &LabelNames,
        more: impl Iterator<Item = &'row str>,
        cells: &Cells<'row>,
    ) -> Labels {
        names.with(&self.values(cells).chain(more).collect::<Vec<_>>())
    }

    /// The names, followed by `more`. `None` if a name appears twice.
    pub(super) fn names_with<'n>(&'n self, more: impl Iterator<Item = &'n LabelName>) -> Option<LabelNames> {
        LabelNames::new(self.in_order.iter().chain(more).cloned().collect()).ok()
    }

    /// The labels that a column's `labels` add to a row; `None` without any.
    ///
    /// # Errors
    /// [`Reason::Label`] if a name then appears twice, or a value is too long.
    pub(super) fn constants(&self, metric: &'a MetricColumn) -> Result<Option<Constants<'a>>, Reason> {
        if metric.labels.is_empty() {
            return Ok(None);
        }
        let names = metric.labels.iter().map(|(name, _)| name);
        let is_own = |name: &LabelName| metric.reading.own_label() == Some(name.as_str());
        let is_unsound = |(name, value): &(LabelName, String)| is_own(name) || self.is_too_long(value);
        match self.names_with(names) {
            Some(names) if !metric.labels.iter().any(is_unsound) => {
                let values = metric.labels.iter().map(|(_, value)| value.as_str()).collect();
                Ok(Some(Constants { names, values }))
            }
            _ => Err(Reason::Label),
        }
    }

    pub(super) fn contain(&self, name: &str) -> bool {
        self.in_order.iter().any(|label| label.as_str() == name)
    }
}

impl<'a> LabelValue<'a> {
    fn new(name: &'a str, source: LabelSource<'a>) -> Self {
        Self { name, source, dropped: Dropped::default() }
    }

    /// A note for the log.
    pub(super) fn note(&self) -> Option<String> {
        let origin = match self.source {
            LabelSource::Constant(_) => "label",
            LabelSource::Column(_) => "column",
        };
        let count = self.dropped.label;
        (count > 0).then(|| {
            format!("{origin} {:?}: {count} dropped as label (it is longer than MAX_LABEL_LENGTH)", self.name)
        })
    }
}

impl LabelSource<'_> {
    /// NULL is an empty value.
    fn text<'row>(&'row self, cells: &Cells<'row>) -> &'row str {
        match self {
            Self::Constant(value) => value,
            Self::Column(column) => cell(cells, *column).unwrap_or_default(),
        }
    }
}
