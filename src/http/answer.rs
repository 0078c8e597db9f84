//! The body of an answer, within the size limit of the service behind the event.

use std::cmp::Reverse;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt};

use crate::exposition::{self, Format};
use crate::metric::Family;
use crate::scrape::Scrape;

/// The limit of an answer as JSON (AWS Lambda quotas, "Invocation payload", 6 MB).
const LAMBDA_LIMIT_BYTES: usize = 6 << 20;
/// The limit behind a load balancer (Elastic Load Balancing, "Lambda functions as targets", 1 MB). The page
/// does not define MB, so the smaller one is used.
const ALB_LIMIT_BYTES: usize = 1_000_000;
/// The JSON around the body: the status and the headers, which a load balancer gets twice.
const ENVELOPE_BYTES: usize = 4096;

/// Smaller bodies gain nothing from gzip.
const GZIP_FLOOR_BYTES: usize = 1400;

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
    let body = encoded(scrape, format, gzip);
    if json_bytes(&body) <= limit_bytes {
        return body;
    }
    drop(body);
    let mut largest: Vec<_> =
        scrape.by_query().map(|families| alone_bytes(families, format, gzip)).enumerate().collect();
    // Among equal ones, the last in the files is first.
    largest.sort_by_key(|&(position, bytes)| Reverse((bytes, position)));
    let largest: Vec<_> = largest.into_iter().map(|(position, _)| position).collect();
    let mut without = |count: usize| {
        let left_out = largest.get(..count).unwrap_or(&largest);
        scrape.leave_out(left_out);
        encoded(scrape, format, gzip)
    };
    // Each attempt takes as long as an answer, and results share names and compression, so their sizes do not add up. So
    // the number is doubled until the rest fits, and then halved to the least that does.
    let (mut too_few, mut enough) = (0, 1);
    let mut fitting = without(enough);
    while json_bytes(&fitting) > limit_bytes && enough < largest.len() {
        (too_few, enough) = (enough, (2 * enough).min(largest.len()));
        fitting = without(enough);
    }
    while enough - too_few > 1 {
        let middle = too_few + (enough - too_few) / 2;
        let body = without(middle);
        if json_bytes(&body) <= limit_bytes {
            (enough, fitting) = (middle, body);
        } else {
            too_few = middle;
        }
    }
    scrape.leave_out(largest.get(..enough).unwrap_or(&largest));
    scrape.log_left_out();
    fitting
}

/// The size of one query's result by itself, for comparison with others.
fn alone_bytes(families: &[Family], format: Format, gzip: bool) -> usize {
    let text = exposition::encode(families, format);
    match gzip.then(|| compressed(&text)).flatten() {
        Some(bytes) => bytes.len(),
        None => text.bytes().map(escaped_bytes).sum(),
    }
}

fn encoded(scrape: &Scrape, format: Format, gzip: bool) -> Body {
    let mut text = exposition::encode(&scrape.families, format);
    text.push_str(&scrape.own.encode());
    text.push_str(exposition::end(format));
    pack(text, gzip)
}

fn pack(text: String, gzip: bool) -> Body {
    let compressed = (gzip && text.len() >= GZIP_FLOOR_BYTES).then(|| compressed(&text)).flatten();
    compressed.map_or(Body::Text(text), Body::Binary)
}

/// The size of a body as a JSON value: text is escaped (RFC 8259, section 7), bytes are base64.
fn json_bytes(body: &Body) -> usize {
    let in_quotes = match body {
        Body::Text(text) => text.bytes().map(escaped_bytes).sum(),
        Body::Binary(bytes) => bytes.len().div_ceil(3) * 4,
        _ => 0,
    };
    in_quotes + 2
}

fn escaped_bytes(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    }
}

fn compressed(text: &str) -> Option<Vec<u8>> {
    // Level 1 already saves nine tenths of an exposition. Higher levels cost time in every scrape.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_in_json_is_that_of_the_serialized_body() {
        let every_ascii: String = (0..=127).map(char::from).chain("ä€😀\u{2028}".chars()).collect();
        let texts = ["", "plain", "\"quoted\"\n", &every_ascii].map(|text| Body::Text(text.into()));
        let bytes = [0, 1, 2, 3, 4].map(|length| Body::Binary(vec![255; length]));
        for body in texts.into_iter().chain(bytes) {
            assert_eq!(json_bytes(&body), serde_json::to_string(&body).unwrap().len(), "{body:?}");
        }
    }
}
