//! The samples of an exposition, as far as `verify` needs them.

/// One line that is a sample.
pub(super) struct Sample<'a> {
    pub(super) name: &'a str,
    pub(super) labels: Vec<(&'a str, String)>,
    pub(super) value: f64,
}

impl Sample<'_> {
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| *label == name).map(|(_, value)| value.as_str())
    }
}

/// The samples of a text in either format. Lines of another form are skipped.
pub(super) fn samples(text: &str) -> Vec<Sample<'_>> {
    text.split('\n').filter(|line| !line.starts_with('#')).filter_map(sample).collect()
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let (name, rest) = line.split_at_checked(line.find(['{', ' '])?)?;
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.strip_prefix(' ')?.split(' ').next()?.parse().ok()?;
    Some(Sample { name, labels, value })
}

type Labels<'a> = Vec<(&'a str, String)>;

/// The labels up to the closing brace, and the text after it.
fn labels(mut rest: &str) -> Option<(Labels<'_>, &str)> {
    let mut labels = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, after) = unquoted(quoted)?;
        labels.push((name, value));
        rest = after.strip_prefix(',').unwrap_or(after);
    }
}

/// The text up to the closing quote, without its escapes, and the text after it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(match chars.next()? {
                'n' => '\n',
                escaped => escaped,
            }),
            c => value.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_sample_or_skipped() {
        let text = "# TYPE a gauge\na 1\nb{} 2 1700000000\nc{x=\"}, \\\"y\\\\\",z=\"\u{2028}\\n\",} +Inf # {t=\"1\"} 3\n\
            d\ne{x=\"1 2\nf{x} 3\ng one\n";
        let found = samples(text);
        let all: Vec<_> = found.iter().map(|it| (it.name, it.value)).collect();
        assert_eq!(all, [("a", 1.0), ("b", 2.0), ("c", f64::INFINITY)]);
        assert_eq!(found[2].label("x"), Some("}, \"y\\"));
        assert_eq!(found[2].label("z"), Some("\u{2028}\n"));
        assert_eq!(found[2].label("y"), None);
    }
}
