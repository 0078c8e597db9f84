//! Chooses the format by `Accept` (RFC 9110, section 12.5.1).

use std::cmp::Reverse;

use super::Format;

impl Format {
    /// The format that an `Accept` header prefers. The caller joins several headers with commas.
    ///
    /// The most specific range that fits a format sets the format's weight. The higher weight wins, then the
    /// more specific range, then the first. Without a header, with `*/*`, and if no range fits or is
    /// well-formed, the format is 0.0.4.
    ///
    /// A range fits if it names no version or exactly the format's version: a client that accepts only
    /// OpenMetrics 0.0.1 gets 0.0.4. A charset must be UTF-8. Every other parameter fits, such as `escaping`:
    /// no name here needs escaping.
    pub fn negotiate(accept: Option<&str>) -> Self {
        let ranges: Vec<Range> = unquoted(accept.unwrap_or_default(), ',').filter_map(Range::parse).collect();
        let rank = |format: &Self| {
            let fitting =
                ranges.iter().enumerate().filter_map(|(at, range)| Some((range.fit(*format)?, at, range)));
            let (specificity, at, range) =
                fitting.max_by_key(|(specificity, at, _)| (*specificity, Reverse(*at)))?;
            (range.weight > 0).then_some((range.weight, specificity, Reverse(at)))
        };
        let (text, openmetrics) = (rank(&Self::Text), rank(&Self::OpenMetrics));
        if openmetrics > text { Self::OpenMetrics } else { Self::Text }
    }

    fn media_type(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Text => ("text", "plain", "0.0.4"),
            Self::OpenMetrics => ("application", "openmetrics-text", "1.0.0"),
        }
    }
}

/// A media range of the header.
struct Range<'a> {
    main: &'a str,
    sub: &'a str,
    version: Option<&'a str>,
    is_utf8: bool,
    /// Thousandths.
    weight: u16,
}

impl<'a> Range<'a> {
    /// `None` for a range that is not well-formed.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = unquoted(text, ';').map(str::trim_ascii);
        let (main, sub) = parts.next()?.split_once('/')?;
        if !is_token(main) || !is_token(sub) || (main == "*" && sub != "*") {
            return None;
        }
        let mut range = Self { main, sub, version: None, is_utf8: true, weight: 1000 };
        for part in parts.filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=')?;
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            if name.eq_ignore_ascii_case("q") {
                // Parameters after the weight do not belong to the media type.
                range.weight = weight(value)?;
                break;
            } else if name.eq_ignore_ascii_case("version") {
                range.version = Some(value);
            } else if name.eq_ignore_ascii_case("charset") {
                range.is_utf8 = value.eq_ignore_ascii_case("utf-8");
            } else if !is_token(name) {
                return None;
            }
        }
        Some(range)
    }

    /// How specifically the range names the format, or `None` if it does not fit.
    fn fit(&self, format: Format) -> Option<u8> {
        let (main, sub, version) = format.media_type();
        let specificity = match (self.main, self.sub) {
            ("*", _) => 0,
            (range, "*") if range.eq_ignore_ascii_case(main) => 1,
            (range, subtype) if range.eq_ignore_ascii_case(main) && subtype.eq_ignore_ascii_case(sub) => 2,
            _ => return None,
        };
        let names_version = self.version.is_some();
        let fits = self.is_utf8 && self.version.is_none_or(|wanted| wanted == version);
        fits.then_some(specificity + u8::from(names_version))
    }
}

/// `qvalue` (RFC 9110, section 12.4.2) in thousandths. More than three decimals are accepted.
fn weight(text: &str) -> Option<u16> {
    let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let weight: f64 = is_decimal.then(|| text.parse().ok()).flatten()?;
    // A weight above 0 does not become 0.
    (weight <= 1.0).then(|| (weight * 1000.0).ceil() as u16)
}

/// A `token` (RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// The pieces between separators outside quotes.
fn unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    text.split(move |c| {
        if c == '"' && !is_escaped {
            is_quoted = !is_quoted;
        }
        is_escaped = is_quoted && c == '\\' && !is_escaped;
        c == separator && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    use super::Format::{self, OpenMetrics, Text};

    #[test]
    fn what_clients_send() {
        for (accept, format) in [
            // Prometheus 2.42, 3.5, 3.5 set to prefer 0.0.4; a browser; curl; others.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                OpenMetrics,
            ),
            (
                "text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0.4,*/*;q=0.3",
                Text,
            ),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", Text),
            ("*/*", Text),
            ("", Text),
            ("application/openmetrics-text", OpenMetrics),
            ("application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Text),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
                Text,
            ),
        ] {
            assert_eq!(Format::negotiate(Some(accept)), format, "{accept}");
        }
        assert_eq!(Format::negotiate(None), Text);
    }

    #[test]
    fn weights_specificity_and_order() {
        for (accept, format) in [
            ("text/plain;q=0.5, application/openmetrics-text;q=0.6", OpenMetrics),
            ("text/plain;q=0.6, application/openmetrics-text;q=0.5", Text),
            ("text/plain, application/openmetrics-text", Text),
            ("application/openmetrics-text, text/plain", OpenMetrics),
            ("*/*, application/openmetrics-text", OpenMetrics),
            ("*/*, application/openmetrics-text;q=0.9", Text),
            ("application/*", OpenMetrics),
            ("text/*, application/*;q=0.9", Text),
            (
                "application/openmetrics-text;q=0.9, application/openmetrics-text;version=1.0.0;q=0.1, text/*;q=0.5",
                Text,
            ),
            ("text/plain;q=0, */*", OpenMetrics),
            ("text/plain;q=0", Text),
            ("application/openmetrics-text;q=0", Text),
            ("application/openmetrics-text;q=0.001, text/plain;q=0", OpenMetrics),
            ("application/openmetrics-text;q=0.0001", OpenMetrics),
        ] {
            assert_eq!(Format::negotiate(Some(accept)), format, "{accept}");
        }
    }

    #[test]
    fn parameters() {
        for (accept, format) in [
            ("APPLICATION/OpenMetrics-Text; Version=\"1.0.0\"; CHARSET=UTF-8; Q=1.0", OpenMetrics),
            ("application/openmetrics-text ; version=1.0.0 ;q=0.5", OpenMetrics),
            ("application/openmetrics-text;charset=iso-8859-1", Text),
            ("application/openmetrics-text;note=\"a,b;q=0\"", OpenMetrics),
            ("application/openmetrics-text;note=\"\\\",\";version=1.0.0", OpenMetrics),
            ("application/openmetrics-text;q=1;version=2", OpenMetrics),
            ("application/openmetrics-text;", OpenMetrics),
        ] {
            assert_eq!(Format::negotiate(Some(accept)), format, "{accept}");
        }
    }

    #[test]
    fn malformed_ranges_count_for_nothing() {
        for accept in [
            "application/openmetrics-text;q=2",
            "application/openmetrics-text;q=x",
            "application/openmetrics-text;q=",
            "application/openmetrics-text;q",
            "application/openmetrics-text;q=-1",
            "application/openmetrics-text;a b=c",
            "application",
            "*/openmetrics-text",
            ",;,/,=",
            "\"application/openmetrics-text",
        ] {
            assert_eq!(Format::negotiate(Some(accept)), Text, "{accept}");
        }
        assert_eq!(Format::negotiate(Some("nonsense;;, application/openmetrics-text")), OpenMetrics);
    }
}
