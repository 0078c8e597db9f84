//! `verify`: scrapes a deployed function once, as Prometheus does, and reports what is wrong and where to look.

mod exposition;
mod finding;

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::MultiGzDecoder;
use lambda_http::http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, USER_AGENT};
use lambda_http::http::{HeaderValue, Request, Response};

use super::arguments::{Credential, Verify};
use super::output::{Output, printable};
use crate::file;
use crate::http_client::{self, Limits};
use crate::settings::Settings;
use finding::Finding;

/// Prometheus 2 sends this.
const ACCEPTED: &str = "application/openmetrics-text;version=1.0.0,\
    application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
/// The maximum size of an answer, as received and as decompressed. The function gives half of it at most.
const ANSWER_BYTES_MAX: usize = 32 << 20;
const CREDENTIAL_BYTES_MAX: u64 = 64 << 10;

/// A decompressed answer.
struct Answer {
    status: u16,
    content_type: String,
    body: String,
    duration: Duration,
}

/// Returns whether the scrape has everything.
///
/// # Errors
/// A variable of the TLS library cannot be used.
pub(super) fn run(
    command: &Verify,
    authorization: Option<HeaderValue>,
    settings: &Settings,
    lookup: impl Fn(&str) -> Option<String>,
    output: &mut Output,
) -> Result<bool> {
    let tls_problems = &settings.tls_problems;
    super::usable(if tls_problems.is_empty() { Ok(()) } else { Err(tls_problems.clone()) })?;
    let has_credential = authorization.is_some();
    let answer = super::block_on(get(command, authorization))?;
    let mut finding = match answer {
        Ok(answer) => Finding::of_answer(&command.url, &answer, has_credential),
        Err(failure) => Finding::of_failure(&command.url, &failure),
    };
    let proxies = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    if finding.is_unreached
        && !http_client::is_this_machine(&command.url)
        && let Some(proxy) = proxies.into_iter().find(|proxy| lookup(proxy).is_some_and(|it| !it.is_empty()))
    {
        finding =
            finding.and(&format!("{proxy} is set: the proxy may be the cause; NO_PROXY excludes hosts"));
    }
    let details = finding.details.iter().map(|line| format!("  {}\n", printable(line)));
    output.print(&format!("{}: {}\n", finding.name, printable(&finding.summary)))?;
    output.print(&details.collect::<String>())?;
    Ok(finding.is_ok)
}

async fn get(command: &Verify, authorization: Option<HeaderValue>) -> Result<Answer, http_client::Failure> {
    let mut request = Request::new(Vec::new());
    *request.uri_mut() = command.url.clone();
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    let agent = concat!("pg-lambda-exporter/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    if let Ok(seconds) = HeaderValue::try_from(command.timeout.as_secs_f64().to_string()) {
        headers.insert("X-Prometheus-Scrape-Timeout-Seconds", seconds);
    }
    headers.extend(authorization.map(|authorization| (AUTHORIZATION, authorization)));
    let begun = Instant::now();
    let response =
        http_client::send(request, Limits { time: command.timeout, bytes: ANSWER_BYTES_MAX }).await?;
    Answer::new(response, begun.elapsed())
}

impl Answer {
    fn new(response: Response<Vec<u8>>, duration: Duration) -> Result<Self, http_client::Failure> {
        let header = |name| response.headers().get(name).map(HeaderValue::as_bytes).unwrap_or_default();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let content_type = text(header(lambda_http::http::header::CONTENT_TYPE));
        let mut decompressed = Vec::new();
        let body = match header(CONTENT_ENCODING).eq_ignore_ascii_case(b"gzip") {
            true => {
                let decoder = MultiGzDecoder::new(response.body().as_slice());
                let read = decoder.take(ANSWER_BYTES_MAX as u64 + 1).read_to_end(&mut decompressed);
                read.map_err(|_| http_client::Failure::CutOff)?;
                if decompressed.len() > ANSWER_BYTES_MAX {
                    return Err(http_client::Failure::TooLarge);
                }
                text(&decompressed)
            }
            false => text(response.body()),
        };
        Ok(Self { status: response.status().as_u16(), content_type, body, duration })
    }
}

/// The value of `Authorization` for the credential in the file.
///
/// # Errors
/// The file cannot be read, or has something else in it. The message does not repeat it.
pub(super) fn authorization(credential: &Credential) -> Result<HeaderValue> {
    let (file, value) = match credential {
        Credential::Token(file) => {
            let token = read(file)?;
            let is_one = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
            ensure!(is_one, "{}: must have one token, in printable ASCII", file.display());
            (file, format!("Bearer {token}"))
        }
        Credential::Password { user, file } => {
            (file, format!("Basic {}", STANDARD.encode(format!("{user}:{}", read(file)?))))
        }
    };
    let mut value = HeaderValue::try_from(value)
        .map_err(|_| anyhow::anyhow!("{}: cannot be sent in a header", file.display()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The text of a file without the space around it, as Prometheus reads such files.
fn read(file: &Path) -> Result<String> {
    let bytes = file::read_or_wait(file, CREDENTIAL_BYTES_MAX)
        .map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
    let text = String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("{}: not UTF-8", file.display()))?;
    Ok(text.trim().to_owned())
}
