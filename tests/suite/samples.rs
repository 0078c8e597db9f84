//! The samples of an answer, as a test asks for them.

/// Series and values in the order of the exposition.
#[derive(Debug)]
pub(crate) struct Samples(Vec<(String, f64)>);

impl Samples {
    /// Reads either format; label values here have no spaces.
    pub(crate) fn parse(exposition: &str) -> Self {
        let lines = exposition.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a sample: {line:?}"));
            (series.to_owned(), value.parse().unwrap_or_else(|_| panic!("not a value: {line:?}")))
        };
        Self(lines.map(sample).collect())
    }

    /// The samples of one name: labels with their braces, and the value.
    pub(crate) fn of(&self, name: &str) -> Vec<(&str, f64)> {
        let named = self.0.iter().filter_map(|(series, value)| Some((series.strip_prefix(name)?, *value)));
        named.filter(|(labels, _)| labels.is_empty() || labels.starts_with('{')).collect()
    }

    /// The value of one series, which must be there once.
    pub(crate) fn value(&self, series: &str) -> f64 {
        let found: Vec<_> = self.0.iter().filter(|(name, _)| name == series).collect();
        assert_eq!(found.len(), 1, "{series} in {self:#?}");
        found[0].1
    }
}
