//! The body of an answer, within the size limit of the service behind the event.

use std::io::{self, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt};

use crate::exposition::{self, Format};
use crate::mapping::Merged;
use crate::outcome::{Failure, Scrape};
use crate::self_metrics;

/// The limit of an answer as JSON (AWS Lambda quotas, "Invocation payload", 6 MB).
const LAMBDA_LIMIT_BYTES: usize = 6 << 20;
/// The limit behind a load balancer (Elastic Load Balancing, "Lambda functions as targets", 1 MB). The page
/// does not define MB, so the smaller one is used.
const ALB_LIMIT_BYTES: usize = 1_000_000;
/// The JSON around the body: the status and the headers, which a load balancer gets twice.
const ENVELOPE_BYTES: usize = 4096;

/// Smaller bodies gain nothing from gzip.
const GZIP_FLOOR_BYTES: usize = 1400;
/// Level 2 of zlib-rs saves nine tenths of an exposition. Level 1 compresses text without repetitions badly, and higher
/// levels cost time in every scrape.
const GZIP_LEVEL: Compression = Compression::new(2);
/// How much text is compressed at a time.
const PIECE_BYTES: usize = 64 << 10;

/// The maximum size of a body in the answer's JSON: `answer_bytes_max`, or the limit of the service behind
/// the request if that is lower.
pub(super) fn limit_bytes(request: &Request, answer_bytes_max: Option<usize>) -> usize {
    let allowed = match request.request_context_ref() {
        Some(RequestContext::Alb(_)) => ALB_LIMIT_BYTES,
        _ => LAMBDA_LIMIT_BYTES,
    };
    answer_bytes_max.unwrap_or(allowed).min(allowed).saturating_sub(ENVELOPE_BYTES)
}

/// The scrape in this format, as text or gzip. If the answer exceeds `limit_bytes`, the queries with the largest
/// results are left out until the rest fits. The exporter's own metrics are always included and report it.
pub(super) fn body(scrape: &mut Scrape, format: Format, gzip: bool, limit_bytes: usize) -> Body {
    let merged = scrape.merged();
    scrape.log(&merged);
    let (body, bytes) = encoded(scrape, &merged, format, gzip, limit_bytes);
    if bytes <= limit_bytes {
        return body;
    }
    drop((body, merged));
    let alone = |position| encode(&scrape.merged_alone(position), format, gzip, &[], limit_bytes).1;
    let mut largest: Vec<_> =
        (0..scrape.outcomes.len()).map(|position| (alone(position), position)).collect();
    // Among equal ones, the last in the files is first.
    largest.sort_unstable_by(|a, b| b.cmp(a));
    let without = |count: usize| {
        let mut rest = scrape.clone();
        largest.iter().take(count).for_each(|&(_, position)| rest.leave_out(position));
        let (body, bytes) = encoded(&rest, &rest.merged(), format, gzip, limit_bytes);
        (rest, body, bytes)
    };
    // Each attempt takes as long as an answer, and results share names and compression, so their sizes do not add up. So
    // the number is doubled until the rest fits, and then halved to the least that does.
    let (mut too_few, mut enough) = (0, 1);
    let mut fitting = without(enough);
    while fitting.2 > limit_bytes && enough < largest.len() {
        (too_few, enough) = (enough, (2 * enough).min(largest.len()));
        fitting = without(enough);
    }
    while enough - too_few > 1 {
        let middle = too_few + (enough - too_few) / 2;
        let attempt = without(middle);
        if attempt.2 <= limit_bytes {
            (enough, fitting) = (middle, attempt);
        } else {
            too_few = middle;
        }
    }
    let (rest, body, _) = fitting;
    for (outcome, before) in rest.outcomes.iter().zip(&scrape.outcomes) {
        if outcome.status != before.status {
            tracing::warn!(
                query = outcome.query,
                database = outcome.database.as_deref(),
                reason = Failure::Limit.as_str(),
                "result left out: the answer would exceed its size limit"
            );
        }
    }
    *scrape = rest;
    body
}

fn encoded(
    scrape: &Scrape,
    merged: &Merged<'_>,
    format: Format,
    gzip: bool,
    limit_bytes: usize,
) -> (Body, usize) {
    let more = [&self_metrics::encode(scrape, merged), exposition::end(format)];
    encode(merged, format, gzip, &more, limit_bytes)
}

/// The text of the families and of `more`, and its size as a JSON value. Compressed, it is never held as a whole.
///
/// Families that exceed `limit_bytes` have no body. The rest is then only counted, as text.
fn encode(
    merged: &Merged<'_>,
    format: Format,
    gzip: bool,
    more: &[&str],
    limit_bytes: usize,
) -> (Body, usize) {
    let piece_bytes = if gzip { PIECE_BYTES } else { limit_bytes + 1 };
    let mut text = String::new();
    let mut compressed: Option<GzEncoder<Vec<u8>>> = None;
    // The size so far if it exceeds the limit, otherwise 0.
    let mut too_large = 0;
    let mut flush = |text: &mut String| {
        if text.len() < piece_bytes {
            return;
        }
        if gzip && too_large == 0 {
            let encoder = compressed.get_or_insert_with(|| GzEncoder::new(Vec::new(), GZIP_LEVEL));
            // Writing to a Vec does not fail.
            let _: io::Result<()> = encoder.write_all(text.as_bytes());
            let bytes = base64_bytes(encoder.get_ref());
            if bytes > limit_bytes {
                (too_large, compressed) = (bytes, None);
            }
        } else {
            too_large += text.len();
        }
        text.clear();
    };
    exposition::encode_in_pieces(merged, format, &mut text, &mut flush);
    text.extend(more.iter().copied());
    if too_large > 0 {
        return (Body::Empty, too_large + text.len());
    }
    let body = packed(text, compressed, gzip);
    let bytes = json_bytes(&body);
    (body, bytes)
}

/// The text, behind what is compressed of it.
fn packed(text: String, compressed: Option<GzEncoder<Vec<u8>>>, gzip: bool) -> Body {
    if gzip && (compressed.is_some() || text.len() >= GZIP_FLOOR_BYTES) {
        let mut encoder = compressed.unwrap_or_else(|| GzEncoder::new(Vec::new(), GZIP_LEVEL));
        let whole = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
        return Body::Binary(whole.unwrap_or_default());
    }
    Body::Text(text)
}

/// The size of a body as a JSON value: text is escaped (RFC 8259, section 7), bytes are base64.
fn json_bytes(body: &Body) -> usize {
    let in_quotes = match body {
        Body::Text(text) => text.len() + text.as_bytes().chunks(48).map(bytes_of_escapes).sum::<usize>(),
        Body::Binary(bytes) => base64_bytes(bytes),
        _ => 0,
    };
    in_quotes + 2
}

fn base64_bytes(bytes: &[u8]) -> usize {
    bytes.len().div_ceil(3) * 4
}

/// The bytes that JSON adds to at most 48 bytes: one for `\n`, five for `\u0001`. The compiler makes vector instructions of
/// sums of `u8` without branches.
fn bytes_of_escapes(bytes: &[u8]) -> usize {
    let added = |byte: u8| {
        let is_short = (0x08..=0x0a).contains(&byte) | (0x0c..=0x0d).contains(&byte);
        u8::from(byte == b'"') + u8::from(byte == b'\\') + 5 * u8::from(byte < 0x20) - 4 * u8::from(is_short)
    };
    usize::from(bytes.iter().fold(0_u8, |sum, &byte| sum.wrapping_add(added(byte))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::DeclaredNames;
    use crate::metric::{Bucket, Families, Family, Histogram, Kind, LabelName, MetricName, Value};

    #[test]
    fn the_size_in_json_is_that_of_the_serialized_body() {
        let every_ascii: String = (0..=127).map(char::from).chain("ä€😀\u{2028}".chars()).collect();
        let texts = ["", "plain", "\"quoted\"\n", &every_ascii].map(|text| Body::Text(text.into()));
        let bytes = [0, 1, 2, 3, 4].map(|length| Body::Binary(vec![255; length]));
        for body in texts.into_iter().chain(bytes) {
            assert_eq!(json_bytes(&body), serde_json::to_string(&body).unwrap().len(), "{body:?}");
        }
    }

    /// A result whose samples have a label of 960 bytes that gzip cannot halve twice: `count` numbers, or the buckets of one
    /// histogram.
    fn result(count: u32, is_histogram: bool) -> Families {
        let mut result = Families::default();
        let names = result.sets.names(&[&LabelName::new("l").unwrap()]).unwrap();
        let mut label = |number: u32| {
            let parts = u64::from(60 * number)..u64::from(60 * number + 60);
            let label: String = parts
                .map(|part| {
                    format!("{:016x}", (part + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29))
                })
                .collect();
            result.sets.number(&names, |_| label.as_str())
        };
        let name = MetricName::new("m").unwrap();
        let mut family;
        if is_histogram {
            family = Family::new(name, Kind::Histogram, String::new());
            let bucket = |number| Bucket { upper_bound: f64::from(number), cumulative_count: 0.0 };
            let histogram = Histogram { buckets: (0..count).map(bucket).collect(), sum: None, count: 0.0 };
            family.push(label(0), Value::Histogram(histogram), None);
        } else {
            family = Family::new(name, Kind::Untyped, String::new());
            (0..count).for_each(|number| family.push(label(number), Value::Number(0.0), None));
        }
        result.families.push(family);
        result
    }

    #[test]
    fn a_body_is_given_up_when_it_exceeds_the_limit() {
        let names = DeclaredNames::default();
        for gzip in [false, true] {
            let [less, more] = [500, 1000].map(|count| result(count, false));
            let sized = |result, limit| {
                let (body, bytes) =
                    encode(&Merged::new(&names, [result]), Format::Text, gzip, &["end"], limit);
                (!matches!(body, Body::Empty), bytes)
            };
            let (_, whole) = sized(&more, 1 << 30);
            assert_eq!(sized(&more, whole), (true, whole), "it just fits");
            assert!(sized(&more, whole - 1).1 >= whole, "it just does not");
            let [(has_less, less), (has_more, more)] = [&less, &more].map(|result| sized(result, 10_000));
            assert!(!has_less && !has_more, "{gzip}");
            assert!(10_000 < less && less < more, "the larger one is known: {less} {more}");
        }
    }

    #[test]
    fn no_more_than_a_sample_is_held_at_a_time() {
        for is_histogram in [false, true] {
            let (result, names) = (result(100, is_histogram), DeclaredNames::default());
            let mut longest = 0;
            let merged = Merged::new(&names, [&result]);
            exposition::encode_in_pieces(&merged, Format::Text, &mut String::new(), |text| {
                longest = longest.max(text.len());
                text.clear();
            });
            assert!((960..1060).contains(&longest), "{longest}");
        }
    }
}
