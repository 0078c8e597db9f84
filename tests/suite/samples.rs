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
        let labels = |series: &str| series.len() == name.len() || series[name.len()..].starts_with('{');
        let named = self.0.iter().filter(|(series, _)| series.starts_with(name) && labels(series));
        named.map(|(series, value)| (&series[name.len()..], *value)).collect()
    }

    /// The value of one series, which must be there once.
    pub(crate) fn value(&self, series: &str) -> f64 {
        let found: Vec<_> = self.0.iter().filter(|(name, _)| name == series).collect();
        assert_eq!(found.len(), 1, "{series} in {self:#?}");
        found[0].1
    }
}
