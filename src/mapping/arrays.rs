//! Histograms and summaries in one row: arrays of bounds or quantiles and of their values, a sum and a count.

use std::borrow::Cow;

use super::dropped::{Dropped, Reason};
use super::number;
use super::values::cell;
use crate::config::{HISTOGRAM_SUFFIXES, SUMMARY_SUFFIXES};
use crate::metric::{Bucket, Histogram, Quantile, Summary};
use crate::table::Cells;

/// The columns of a histogram.
pub(super) struct HistogramColumns {
    bounds: usize,
    cumulative_counts: usize,
    /// If it is missing, the histogram has no sum.
    sum: Option<usize>,
    count: usize,
    /// The factor of bounds and sum.
    scale: f64,
}

impl HistogramColumns {
    /// Finds the columns with `position`. `None` if a column that a histogram requires is missing.
    pub(super) fn of(
        bounds: usize,
        name: &str,
        scale: Option<f64>,
        position: impl Fn(&str) -> Option<usize>,
    ) -> Option<Self> {
        let [cumulative_counts, sum, count] =
            HISTOGRAM_SUFFIXES.map(|suffix| position(&format!("{name}{suffix}")));
        Some(Self {
            bounds,
            cumulative_counts: cumulative_counts?,
            sum,
            count: count?,
            scale: scale.unwrap_or(1.0),
        })
    }

    /// The histogram of a row.
    ///
    /// A NULL element drops its bucket, a NULL array drops all buckets except `+Inf`, and a NULL sum only
    /// drops the sum. Buckets are sorted by bound; the first of two equal bounds stays. `+Inf` is the count.
    ///
    /// # Errors
    /// [`Reason::Null`] without a count; [`Reason::Unparsable`] if a part is not a number or an array of
    /// numbers; [`Reason::Invalid`] if the arrays differ in length, counts are not whole or fall, or a bound
    /// is NaN.
    pub(super) fn read(&self, cells: &Cells<'_>, dropped: &mut Dropped) -> Result<Histogram, Reason> {
        let count = read_number(cell(cells, self.count).ok_or(Reason::Null)?)?;
        let sum = read_part(cells, self.sum, dropped)?.map(|sum| sum * self.scale);
        let buckets = match (cell(cells, self.bounds), cell(cells, self.cumulative_counts)) {
            (Some(bounds), Some(counts)) => {
                self.buckets(&read_array(bounds)?, &read_array(counts)?, dropped)?
            }
            _ => {
                dropped.add(Reason::Null);
                Vec::new()
            }
        };
        let counts = || buckets.iter().map(|bucket| bucket.cumulative_count).chain([count]);
        let are_whole = counts().all(|count| count >= 0.0 && count.fract() == 0.0);
        let do_not_fall = counts().is_sorted();
        if !are_whole || !do_not_fall {
            return Err(Reason::Invalid);
        }
        Ok(Histogram { buckets, sum, count })
    }

    fn buckets(
        &self,
        bounds: &[Option<f64>],
        counts: &[Option<f64>],
        dropped: &mut Dropped,
    ) -> Result<Vec<Bucket>, Reason> {
        if bounds.len() != counts.len() {
            return Err(Reason::Invalid);
        }
        let mut buckets = Vec::with_capacity(bounds.len());
        for (bound, count) in bounds.iter().zip(counts) {
            match (bound.map(|bound| bound * self.scale), count) {
                (Some(f64::INFINITY), _) => {}
                // Adding 0 turns -0 into 0.
                (Some(bound), Some(count)) if bound.is_finite() => {
                    buckets.push(Bucket { upper_bound: bound + 0.0, cumulative_count: *count });
                }
                (Some(bound), _) if !bound.is_finite() => return Err(Reason::Invalid),
                _ => dropped.add(Reason::Null),
            }
        }
        sort_unique(&mut buckets, |bucket| bucket.upper_bound, dropped);
        Ok(buckets)
    }
}

/// The columns of a summary.
pub(super) struct SummaryColumns {
    quantiles: usize,
    values: usize,
    sum: Option<usize>,
    count: Option<usize>,
    scale: f64,
}

impl SummaryColumns {
    /// Finds the columns with `position`. `None` without the values; sum and count are optional.
    pub(super) fn of(
        quantiles: usize,
        name: &str,
        scale: Option<f64>,
        position: impl Fn(&str) -> Option<usize>,
    ) -> Option<Self> {
        let [values, sum, count] = SUMMARY_SUFFIXES.map(|suffix| position(&format!("{name}{suffix}")));
        Some(Self { quantiles, values: values?, sum, count, scale: scale.unwrap_or(1.0) })
    }

    /// The summary of a row.
    ///
    /// A NULL element drops its quantile. A NULL array drops all quantiles, since an aggregate without rows
    /// returns NULL. A NULL sum or count only drops itself. Quantiles are sorted; the first of two equal ones
    /// stays.
    ///
    /// # Errors
    /// [`Reason::Null`] if every part is NULL; [`Reason::Unparsable`] if a part is not a number or an array
    /// of numbers; [`Reason::Invalid`] if the arrays differ in length, a quantile is not from 0 to 1, or the
    /// count is not whole or is negative.
    pub(super) fn read(&self, cells: &Cells<'_>, dropped: &mut Dropped) -> Result<Summary, Reason> {
        let quantiles = match (cell(cells, self.quantiles), cell(cells, self.values)) {
            (Some(quantiles), Some(values)) => {
                Some(self.quantiles(&read_array(quantiles)?, &read_array(values)?, dropped)?)
            }
            _ => {
                dropped.add(Reason::Null);
                None
            }
        };
        let sum = read_part(cells, self.sum, dropped)?.map(|sum| sum * self.scale);
        let count = read_part(cells, self.count, dropped)?;
        if quantiles.is_none() && sum.is_none() && count.is_none() {
            return Err(Reason::Null);
        }
        if count.is_some_and(|count| !(count >= 0.0 && count.fract() == 0.0)) {
            return Err(Reason::Invalid);
        }
        Ok(Summary { quantiles: quantiles.unwrap_or_default(), sum, count })
    }

    fn quantiles(
        &self,
        quantiles: &[Option<f64>],
        values: &[Option<f64>],
        dropped: &mut Dropped,
    ) -> Result<Vec<Quantile>, Reason> {
        if quantiles.len() != values.len() {
            return Err(Reason::Invalid);
        }
        let mut pairs = Vec::with_capacity(quantiles.len());
        for pair in quantiles.iter().zip(values) {
            match pair {
                (Some(quantile), _) if !(0.0..=1.0).contains(quantile) => return Err(Reason::Invalid),
                // Adding 0 turns -0 into 0.
                (Some(quantile), Some(value)) => {
                    pairs.push(Quantile { quantile: quantile + 0.0, value: value * self.scale });
                }
                _ => dropped.add(Reason::Null),
            }
        }
        sort_unique(&mut pairs, |pair| pair.quantile, dropped);
        Ok(pairs)
    }
}

/// Any number, or [`Reason::Unparsable`].
fn read_number(text: &str) -> Result<f64, Reason> {
    number::any(text).ok_or(Reason::Unparsable)
}

/// An array of such numbers. `None` is NULL.
fn read_array(text: &str) -> Result<Vec<Option<f64>>, Reason> {
    let elements = elements(text).ok_or(Reason::Unparsable)?;
    elements.into_iter().map(|element| element.map(|text| read_number(&text)).transpose()).collect()
}

/// Sorts the parts of a metric by their key. The first of equal keys stays; the others are duplicates.
fn sort_unique<T>(parts: &mut Vec<T>, key: impl Fn(&T) -> f64, dropped: &mut Dropped) {
    parts.sort_by(|a, b| key(a).total_cmp(&key(b)));
    parts.dedup_by(|later, first| {
        let is_duplicate = key(later) == key(first);
        if is_duplicate {
            dropped.add(Reason::Duplicate);
        }
        is_duplicate
    });
}

/// An optional part of a metric. NULL is counted and left out.
fn read_part(cells: &Cells<'_>, column: Option<usize>, dropped: &mut Dropped) -> Result<Option<f64>, Reason> {
    let Some(column) = column else { return Ok(None) };
    let text = cell(cells, column);
    if text.is_none() {
        dropped.add(Reason::Null);
    }
    text.map(read_number).transpose()
}

/// The elements of `{1,NULL,"a \"b\""}`, `None` for NULL. Bounds before the array (`[0:1]={…}`) are ignored.
/// Returns `None` if the text is not an array or has several dimensions.
fn elements(text: &str) -> Option<Vec<Option<Cow<'_, str>>>> {
    let text = text.trim_ascii();
    let braced = match text.strip_prefix('[') {
        Some(bounds) => bounds.split_once("]=")?.1,
        None => text,
    };
    let mut rest = braced.strip_prefix('{')?.strip_suffix('}')?;
    let mut elements = Vec::new();
    if rest.is_empty() {
        return Some(elements);
    }
    loop {
        let (element, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_element(quoted)?,
            None => bare_element(rest)?,
        };
        elements.push(element);
        if after.is_empty() {
            return Some(elements);
        }
        rest = after.strip_prefix(',')?;
    }
}

type Element<'a> = (Option<Cow<'a, str>>, &'a str);

fn bare_element(text: &str) -> Option<Element<'_>> {
    let (element, after) = text.split_at_checked(text.find(',').unwrap_or(text.len()))?;
    let is_bare = !element.is_empty() && !element.contains(['{', '}', '"', '\\']);
    is_bare.then(|| ((element != "NULL").then_some(Cow::Borrowed(element)), after))
}

/// An element, after its opening quote.
fn quoted_element(text: &str) -> Option<Element<'_>> {
    let mut element = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some((Some(Cow::Owned(element)), chars.as_str())),
            '\\' => element.push(chars.next()?),
            other => element.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<Option<String>>> {
        Some(elements(text)?.into_iter().map(|element| element.map(Cow::into_owned)).collect())
    }

    fn some(texts: &[&str]) -> Option<Vec<Option<String>>> {
        Some(texts.iter().map(|text| (*text != "NULL").then(|| text.to_string())).collect())
    }

    #[test]
    fn arrays_as_postgresql_writes_them() {
        assert_eq!(read("{}"), some(&[]));
        assert_eq!(read("{1,2.5,NaN}"), some(&["1", "2.5", "NaN"]));
        assert_eq!(read("{1,NULL}"), some(&["1", "NULL"]));
        assert_eq!(read("[0:1]={1,2}"), some(&["1", "2"]));
        assert_eq!(read(r#"{"a,b","c\"d\\","1 day"}"#), some(&["a,b", "c\"d\\", "1 day"]));
        assert_eq!(read(r#"{"NULL",""}"#), Some(vec![Some("NULL".into()), Some(String::new())]));
    }

    #[test]
    fn other_text_is_no_array() {
        for text in [
            "",
            "1",
            "{",
            "}",
            "{1",
            "1}",
            "{1,}",
            "{,1}",
            "{{1},{2}}",
            "{\"a}",
            "{\"a\"b}",
            "[0:1]{1}",
            "{a\\}",
            "{1}}",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
