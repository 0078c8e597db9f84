//! The labels of a result's metrics: columns of the result, and constants of the query and of its columns.

use super::columns::Positions;
use super::dropped::{Dropped, Reason};
use super::values::cell;
use super::{Missing, MissingLabel};
use crate::config::{MetricColumn, Query, Usage};
use crate::metric::{LabelName, LabelNames, LabelSets};
use crate::table::Cells;

/// The labels of a row: constants, then columns.
pub(super) struct Labels<'q> {
    /// `None` if a name appears twice.
    pub(crate) names: Option<LabelNames>,
    pub(crate) sources: Vec<Label<'q>>,
    value_bytes_max: usize,
}

/// A label of every metric of a row.
pub(super) struct Label<'q> {
    name: &'q LabelName,
    /// The name of the column or of the constant label.
    origin: &'q str,
    value: Source<'q>,
    /// Metrics that were dropped because the value is too long.
    pub(crate) dropped: Dropped,
}

enum Source<'q> {
    Constant(&'q str),
    Column(usize),
}

/// The constant labels of one column, which follow the labels of a row.
#[derive(Clone)]
pub(super) struct Constants<'q> {
    pub(crate) names: LabelNames,
    pub(crate) values: Vec<&'q str>,
}

impl<'q> Labels<'q> {
    pub(super) fn new(
        query: &'q Query,
        columns: &[String],
        positions: &Positions<'_>,
        value_bytes_max: usize,
        sets: &mut LabelSets,
    ) -> Result<Self, MissingLabel> {
        let constants =
            query.labels.iter().map(|(name, value)| (name, name.as_str(), Source::Constant(value)));
        let mut sources: Vec<_> = constants.map(Label::new).collect();
        for column in &query.columns {
            if let Usage::Label(name) = &column.usage {
                let missing = || MissingLabel(Missing::column(&column.name, columns));
                let index = positions.first(&column.name).ok_or_else(missing)?;
                sources.push(Label::new((name, &column.name, Source::Column(index))));
            }
        }
        let names: Vec<_> = sources.iter().map(|label| label.name).collect();
        Ok(Self { names: sets.names(&names).ok(), sources, value_bytes_max })
    }

    /// The first label of a row whose value is too long.
    pub(super) fn too_long(&mut self, cells: &Cells<'_>) -> Option<&mut Label<'q>> {
        let bytes_max = self.value_bytes_max;
        self.sources.iter_mut().find(|label| label.value(cells).len() > bytes_max)
    }

    pub(super) fn is_too_long(&self, value: &str) -> bool {
        value.len() > self.value_bytes_max
    }

    /// The value at a place among the labels of a row and `more` labels.
    pub(super) fn value<'row>(
        &'row self,
        place: usize,
        cells: &Cells<'row>,
        more: &[&'row str],
    ) -> &'row str {
        match self.sources.get(place) {
            Some(label) => label.value(cells),
            None => more.get(place - self.sources.len()).copied().unwrap_or_default(),
        }
    }

    /// The names, followed by `more`. `None` if a name appears twice.
    pub(super) fn names_with<'n>(
        &'n self,
        more: impl Iterator<Item = &'n LabelName>,
        sets: &mut LabelSets,
    ) -> Option<LabelNames> {
        sets.names(&self.sources.iter().map(|label| label.name).chain(more).collect::<Vec<_>>()).ok()
    }

    /// The labels that a column's `labels` add to a row; `None` without any.
    ///
    /// # Errors
    /// [`Reason::Label`] if a name then appears twice, or a value is too long.
    pub(super) fn constants(
        &self,
        metric: &'q MetricColumn,
        sets: &mut LabelSets,
    ) -> Result<Option<Constants<'q>>, Reason> {
        if metric.labels.is_empty() {
            return Ok(None);
        }
        let is_own = |name: &LabelName| metric.reading.own_label() == Some(name.as_str());
        let is_unsound = |(name, value): &(LabelName, String)| is_own(name) || self.is_too_long(value);
        if metric.labels.iter().any(is_unsound) {
            return Err(Reason::Label);
        }
        let names = self.names_with(metric.labels.iter().map(|(name, _)| name), sets).ok_or(Reason::Label)?;
        let values = metric.labels.iter().map(|(_, value)| value.as_str()).collect();
        Ok(Some(Constants { names, values }))
    }

    pub(super) fn contain(&self, name: &str) -> bool {
        self.sources.iter().any(|label| label.name.as_str() == name)
    }
}

impl<'q> Label<'q> {
    fn new((name, origin, value): (&'q LabelName, &'q str, Source<'q>)) -> Self {
        Self { name, origin, value, dropped: Dropped::default() }
    }

    /// NULL is an empty value.
    fn value<'row>(&'row self, cells: &Cells<'row>) -> &'row str {
        match self.value {
            Source::Constant(value) => value,
            Source::Column(column) => cell(cells, column).unwrap_or_default(),
        }
    }

    /// A note for the log.
    pub(super) fn note(&self) -> Option<String> {
        let kind = match self.value {
            Source::Constant(_) => "label",
            Source::Column(_) => "column",
        };
        let count = self.dropped.count(Reason::Label);
        (count > 0).then(|| {
            format!("{kind} {:?}: {count} dropped as label (it is longer than MAX_LABEL_LENGTH)", self.origin)
        })
    }
}
