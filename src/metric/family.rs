//! Families as columns: the label set, the value and the time of each metric.

use std::sync::Arc;

use super::{Kind, LabelName, LabelSets, MetricName};

/// The families of one result, with the label sets that they share.
#[derive(Debug, Clone, Default)]
pub struct Families {
    /// The label sets of all families.
    pub sets: LabelSets,
    /// In the order of the declaration, then of the undeclared columns.
    pub families: Vec<Family>,
}

impl Families {
    /// The number of samples in 0.0.4.
    pub fn series(&self) -> usize {
        self.families.iter().map(Family::series).sum()
    }

    /// The memory of all metrics, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.sets.bytes() + self.families.iter().map(Family::bytes).sum::<usize>()
    }

    /// The approximate size of all samples as text, in bytes. A label set that many samples share counts for each.
    pub(crate) fn text_bytes(&self) -> usize {
        /// Quotes, commas, suffix, value and time of one sample.
        const SAMPLE_BYTES: usize = 48;
        let of_labels = self.sets.text_bytes();
        let of_family = |family: &Family| {
            let bytes = family.name.as_str().len() + SAMPLE_BYTES;
            let sets = family.sets.iter().enumerate();
            let samples = sets.map(|(index, &set)| family.series_at(index) * (bytes + of_labels(set)));
            samples.sum::<usize>() + family.state_bytes()
        };
        self.families.iter().map(of_family).sum()
    }
}

/// The metrics of one result with one name and type.
#[derive(Debug, Clone)]
pub struct Family {
    /// The name as in `queries.yml`. The exposition adds the suffixes of samples.
    pub name: MetricName,
    /// The type.
    pub(crate) kind: Kind,
    /// HELP, unescaped. May be empty and may contain line breaks.
    pub help: String,
    /// The label set of each metric.
    pub sets: Vec<u32>,
    /// The value of each metric.
    pub values: Values,
    /// The time of each metric in seconds since 1970; empty if no metric has one.
    pub times: Vec<f64>,
}

/// The values of a family's metrics.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Counters, gauges and untyped metrics.
    Numbers(Vec<f64>),
    /// Info metrics only have labels.
    Info,
    /// Histograms.
    Histograms(Vec<Histogram>),
    /// Summaries.
    Summaries(Vec<Summary>),
    /// State sets.
    StateSets(Vec<StateSet>),
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// The value of a counter, a gauge or an untyped metric.
    Number(f64),
    /// An info metric only has labels.
    Info,
    /// The value of a histogram.
    Histogram(Histogram),
    /// The value of a summary.
    Summary(Summary),
    /// The value of a state set.
    StateSet(StateSet),
}

impl Value {
    /// The memory that it takes in its family, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Number(_) => size_of::<f64>(),
            Self::Info => 0,
            Self::Histogram(histogram) => histogram.bytes(),
            Self::Summary(summary) => summary.bytes(),
            Self::StateSet(_) => size_of::<StateSet>(),
        }
    }
}

impl Family {
    /// A family without metrics.
    pub fn new(name: MetricName, kind: Kind, help: String) -> Self {
        let values = match kind {
            Kind::Counter | Kind::Gauge | Kind::Untyped => Values::Numbers(Vec::new()),
            Kind::Info => Values::Info,
            Kind::Histogram => Values::Histograms(Vec::new()),
            Kind::Summary => Values::Summaries(Vec::new()),
            Kind::StateSet => Values::StateSets(Vec::new()),
        };
        Self { name, kind, help, sets: Vec::new(), values, times: Vec::new() }
    }

    /// Adds a metric. Either all metrics have a time or none. A value of another type is left out.
    pub fn push(&mut self, set: u32, value: Value, time: Option<f64>) {
        match (&mut self.values, value) {
            (Values::Numbers(values), Value::Number(value)) => values.push(value),
            (Values::Info, Value::Info) => {}
            (Values::Histograms(values), Value::Histogram(value)) => values.push(value),
            (Values::Summaries(values), Value::Summary(value)) => values.push(value),
            (Values::StateSets(values), Value::StateSet(value)) => values.push(value),
            _ => return,
        }
        self.sets.push(set);
        self.times.extend(time);
    }

    /// The number of metrics.
    pub(crate) fn len(&self) -> usize {
        self.sets.len()
    }

    /// The number of samples in 0.0.4, which is the number of series.
    fn series(&self) -> usize {
        match &self.values {
            Values::Numbers(_) | Values::Info => self.len(),
            _ => (0..self.len()).map(|index| self.series_at(index)).sum(),
        }
    }

    /// The number of samples of one metric.
    pub(crate) fn series_at(&self, index: usize) -> usize {
        match &self.values {
            Values::Numbers(_) | Values::Info => 1,
            Values::Histograms(values) => values.get(index).map_or(0, Histogram::series),
            Values::Summaries(values) => values.get(index).map_or(0, Summary::series),
            Values::StateSets(values) => values.get(index).map_or(0, |set| set.states.len()),
        }
    }

    /// The length of the labels that name a state.
    fn state_bytes(&self) -> usize {
        let Values::StateSets(values) = &self.values else { return 0 };
        let of_set = |set: &StateSet| {
            let label = set.label.as_str().len() + 4;
            set.states.iter().map(|state| label + state.len()).sum::<usize>()
        };
        values.iter().map(of_set).sum()
    }

    fn bytes(&self) -> usize {
        let values = match &self.values {
            Values::Numbers(values) => size_of_val(&**values),
            Values::Info => 0,
            Values::Histograms(values) => values.iter().map(Histogram::bytes).sum(),
            Values::Summaries(values) => values.iter().map(Summary::bytes).sum(),
            Values::StateSets(values) => size_of_val(&**values),
        };
        values + size_of_val(&*self.sets) + size_of_val(&*self.times)
    }
}

/// A cumulative histogram.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Finite buckets with ascending bounds and counts that do not fall. `+Inf` is `count`.
    pub buckets: Vec<Bucket>,
    /// The sum of the observations, if it is known.
    pub sum: Option<f64>,
    /// The number of observations.
    pub count: f64,
}

/// The number of observations up to a bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Inclusive, like `le`.
    pub upper_bound: f64,
    /// The observations of this bucket and all lower ones.
    pub cumulative_count: f64,
}

impl Histogram {
    /// The bucket `+Inf` and the count always exist.
    fn series(&self) -> usize {
        self.buckets.len() + 2 + usize::from(self.sum.is_some())
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.buckets)
    }
}

/// Quantiles of observations. Each part is optional.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// In ascending order.
    pub quantiles: Vec<Quantile>,
    /// The sum of the observations.
    pub sum: Option<f64>,
    /// The number of observations.
    pub count: Option<f64>,
}

/// The value that a fraction of the observations does not exceed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantile {
    /// The fraction, from 0 to 1.
    pub quantile: f64,
    /// The value.
    pub value: f64,
}

impl Summary {
    fn series(&self) -> usize {
        self.quantiles.len() + [self.sum, self.count].iter().flatten().count()
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.quantiles)
    }
}

/// The current one of several states.
#[derive(Debug, Clone, PartialEq)]
pub struct StateSet {
    /// The label that names the state of a sample.
    pub label: LabelName,
    /// All states, in the order of their samples.
    pub states: Arc<[String]>,
    /// The index of the current state, if it is one of them.
    pub current: Option<usize>,
}
