//! The page for a person who opens the URL: the exporter, the address of its metrics, and the last result of
//! each query in this environment. It shows names of queries and the reasons that metrics show. It must not
//! show SQL, values or the target.

use std::fmt::Write as _;
use std::time::Duration;

use lambda_http::http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, Request, Response};

use super::Unusable;
use super::route::client_path;
use crate::freshness::Moment;
use crate::outcome::{QueryOutcome, Status};
use crate::scrape::{Exporter, LastResults};

/// The page loads and runs nothing. The empty icon keeps browsers from requesting /favicon.ico.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "
:root { color-scheme: light dark; --bad: #b3261e; --line: #8885; }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; margin: 0; }
nav a { display: inline-block; padding: .5rem 1rem .5rem 0; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: start; font-weight: 600; padding: .5rem 0; }
th, td { text-align: start; padding: .4rem .75rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th[scope=row] { font-weight: 400; overflow-wrap: anywhere; }
.number { text-align: end; white-space: nowrap; font-variant-numeric: tabular-nums; }
.bad { color: var(--bad); font-weight: 600; }
@media (max-width: 40rem) {
  thead { position: absolute; clip-path: inset(50%); }
  tr { display: block; padding: .5rem 0; border-bottom: 1px solid var(--line); }
  th[scope=row], td, td.number { display: block; text-align: start; border: 0; padding: 0; }
  td:not(.state):not(:empty)::before { content: attr(data-name) ': '; }
}
";

/// The page. Without an exporter it shows the reason.
pub(super) fn answer(request: &Request, exporter: Result<&Exporter, &Unusable>) -> Response<Body> {
    let mut response = super::text(StatusCode::OK, &page(client_path(request), exporter, Moment::now()));
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn page(base: &str, exporter: Result<&Exporter, &Unusable>, now: Moment) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let (results, link) = match exporter {
        Ok(exporter) => (results(base, exporter, now), route(exporter)),
        Err(unusable) => (format!("<p class=\"bad\">Nothing can be scraped: {unusable}.</p>\n"), "metrics"),
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>pg-lambda-exporter</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<header>\n<h1>pg-lambda-exporter {version}</h1>\n\
         <p>PostgreSQL metrics for Prometheus, from the SQL in queries.yml.</p>\n\
         <nav aria-label=\"Endpoints\"><a href=\"{base}/{link}\">{link}</a> <a href=\"{base}/healthz\">health</a></nav>\n\
         </header>\n<main>\n{results}</main>\n</body>\n</html>\n"
    )
}

/// The last scrape of the only target, and the last result of each query; or the last scrape of each target.
fn results(base: &str, exporter: &Exporter, now: Moment) -> String {
    match exporter.targets().only() {
        Some(target) => queries(base, exporter, &target.last_results(), now),
        None => targets(base, exporter, now),
    }
}

/// The route that leads to the metrics.
fn route(exporter: &Exporter) -> &'static str {
    if exporter.targets().only().is_some() { "metrics" } else { "targets" }
}

/// A target's last scrape as a class and words.
fn reached(last: &LastResults) -> (&'static str, &'static str) {
    match last.scrape {
        None => ("", "not scraped yet"),
        Some((true, _)) => ("", "reachable"),
        Some((false, _)) => ("bad", "not reachable"),
    }
}

/// Without I/O, so a list that was never read is empty.
fn targets(base: &str, exporter: &Exporter, now: Moment) -> String {
    let mut html = "<table>\n<caption>Last scrape of each target in this environment</caption>\n<thead><tr>\
         <th scope=\"col\">Target</th><th scope=\"col\">Database</th><th scope=\"col\" class=\"number\">Failed queries</th>\
         <th scope=\"col\" class=\"number\">When</th></tr></thead>\n<tbody>\n"
        .to_owned();
    for target in exporter.targets().known() {
        let Some(name) = exporter.targets().label(&target) else { continue };
        let last = target.last_results();
        let (class, state) = match target.is_disabled() {
            true => ("bad", "disabled by a mistake in the targets file"),
            false => reached(&last),
        };
        let failed = last.queries.values().filter(|(outcome, _)| outcome.failure().is_some()).count();
        let failed = if last.scrape.is_some() { failed.to_string() } else { String::new() };
        let when = last.scrape.map(|(_, at)| ago(at, now)).unwrap_or_default();
        // Writing to a String does not fail.
        let _: std::fmt::Result = writeln!(
            html,
            "<tr><th scope=\"row\"><a href=\"{base}/probe?target={link}\">{name}</a></th>\
             <td class=\"state {class}\">{state}</td><td class=\"number\" data-name=\"Failed queries\">{failed}</td>\
             <td class=\"number\" data-name=\"When\">{when}</td></tr>",
            link = percent_encoded(name),
            name = escaped(name),
        );
    }
    html.push_str("</tbody>\n</table>\n");
    html
}

/// The last scrape, and the last result of each query.
fn queries(base: &str, exporter: &Exporter, last: &LastResults, now: Moment) -> String {
    let mut html = match last.scrape {
        None => "<p>No scrape in this environment yet.</p>\n".to_owned(),
        Some((up, at)) => {
            let (class, state) = if up {
                ("", "The database was reachable")
            } else {
                ("bad", "The database was not reachable")
            };
            format!("<p class=\"{class}\">{state} in the last scrape, {}.</p>\n", ago(at, now))
        }
    };
    html.push_str(
        "<table>\n<caption>Last result of each query in this environment</caption>\n<thead><tr>\
         <th scope=\"col\">Query</th><th scope=\"col\">State</th><th scope=\"col\" class=\"number\">Rows</th>\
         <th scope=\"col\" class=\"number\">Took</th><th scope=\"col\" class=\"number\">When</th></tr></thead>\n<tbody>\n",
    );
    for namespace in exporter.namespaces() {
        row(&mut html, base, exporter, namespace, last.queries.get(namespace), now);
    }
    html.push_str("</tbody>\n</table>\n");
    html
}

fn row(
    html: &mut String,
    base: &str,
    exporter: &Exporter,
    namespace: &str,
    last: Option<&(QueryOutcome, Moment)>,
    now: Moment,
) {
    let outcome = last.map(|(outcome, _)| outcome);
    let (class, state) = match outcome {
        None if exporter.is_disabled(namespace) => ("bad", "failed: config".into()),
        None => ("", "not run yet".into()),
        Some(outcome) => state(outcome),
    };
    let rows = outcome.and_then(|outcome| outcome.rows).map(|rows| rows.to_string()).unwrap_or_default();
    let took = outcome.and_then(|outcome| outcome.duration).map(in_words).unwrap_or_default();
    let when = last.map(|(_, at)| ago(*at, now)).unwrap_or_default();
    // Writing to a String does not fail.
    let _: std::fmt::Result = writeln!(
        html,
        "<tr><th scope=\"row\"><a href=\"{base}/metrics?collect[]={link}\">{name}</a></th>\
         <td class=\"state {class}\">{state}</td><td class=\"number\" data-name=\"Rows\">{rows}</td>\
         <td class=\"number\" data-name=\"Took\">{took}</td><td class=\"number\" data-name=\"When\">{when}</td></tr>",
        link = percent_encoded(namespace),
        name = escaped(namespace),
    );
}

/// The result of a query in the words of the exporter's own metrics, and the class that marks failures.
fn state(outcome: &QueryOutcome) -> (&'static str, String) {
    match (outcome.status, outcome.age) {
        (Status::Failed(failure), _) => ("bad", format!("failed: {}", failure.as_str())),
        (Status::Skipped(skip), _) => ("", format!("skipped: {}", skip.as_str())),
        (Status::Succeeded, Some(age)) if outcome.duration.is_none() => {
            ("", format!("ok, cached, {} old", in_words(age)))
        }
        (Status::Succeeded, _) => ("", "ok".into()),
    }
}

fn ago(at: Moment, now: Moment) -> String {
    match at.age(now) {
        // The wall clock was set back.
        None => "at an unknown time".into(),
        Some(age) if age < Duration::from_secs(1) => "just now".into(),
        Some(age) => format!("{} ago", in_words(age)),
    }
}

/// At least two digits, in a fitting unit.
fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{:.1} ms", duration.as_secs_f64() * 1e3),
        1..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

/// As text of an element or as a value in double quotes (HTML Standard, section 13.3, "escaping a string").
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// All but the unreserved characters (RFC 3986, section 2.3).
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _: std::fmt::Result = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_the_unit_that_fits() {
        for (seconds, words) in [
            (0.000_4, "0.4 ms"),
            (0.25, "250.0 ms"),
            (1.25, "1.2 s"),
            (59.9, "59 s"),
            (120.0, "2 min"),
            (7199.0, "119 min"),
            (7200.0, "2 h"),
            (200_000.0, "55 h"),
        ] {
            assert_eq!(in_words(Duration::from_secs_f64(seconds)), words);
        }
    }

    #[test]
    fn what_has_a_meaning_in_html_or_in_a_url_loses_it() {
        assert_eq!(escaped("<a href=\"x\">&</a>"), "&lt;a href=&quot;x&quot;&gt;&amp;&lt;/a&gt;");
        assert_eq!(percent_encoded("a_b.c-d~e"), "a_b.c-d~e");
        assert_eq!(percent_encoded("a&b=c\"ä"), "a%26b%3Dc%22%C3%A4");
    }
}
