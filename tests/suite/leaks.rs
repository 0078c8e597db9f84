//! That nothing prints a password: every one that the suite uses is known here, and whatever the exporter answers or
//! logs is searched for each of them, in each form in which one could be printed.
//!
//! Secrets are registered where they are given to the exporter: by the stand-ins for Secrets Manager and for Lambda,
//! and by the terminal. A test has nothing to do for it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;

use crate::postgres::PASSWORD;

/// A shorter one could stand in a text by chance.
const SHORTEST_BYTES: usize = 8;

/// Longer guesses are made to be long.
const LONGEST_GUESS_BYTES: usize = 1024;

/// Where a secret's JSON has what must not be printed.
const SECRET_KEYS: [&str; 2] = ["password", "bearer_token"];

/// Variables that hold nothing else.
const SECRET_VARIABLES: [&str; 3] = ["PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// What RFC 3986 lets stand in a path or a query as it is.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What a URL cannot have in its user information.
const FORBIDDEN: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'/').add(b':').add(b'?').add(b'@');

/// The forms of all secrets, each with what kind of form it is, and what finds them in one pass over a text.
struct Known {
    forms: BTreeMap<String, &'static str>,
    searcher: Option<Arc<AhoCorasick>>,
}

impl Known {
    fn lock() -> MutexGuard<'static, Self> {
        static KNOWN: Mutex<Known> = Mutex::new(Known { forms: BTreeMap::new(), searcher: None });
        // What it holds is whole even where a test has failed.
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if known.forms.is_empty() {
            known.add(PASSWORD);
        }
        known
    }

    fn add(&mut self, secret: &str) {
        if !self.forms.contains_key(secret) {
            self.forms.extend(forms(secret));
            self.searcher = None;
        }
    }

    fn searcher(&mut self) -> Arc<AhoCorasick> {
        let forms = &self.forms;
        self.searcher.get_or_insert_with(|| Arc::new(AhoCorasick::new(forms.keys()).unwrap())).clone()
    }
}

/// From now on `secret` must not be printed.
#[track_caller]
pub(crate) fn register(secret: &str) {
    assert!(
        secret.len() >= SHORTEST_BYTES,
        "a password of {} bytes cannot be told from other text: take one of {SHORTEST_BYTES} bytes or more",
        secret.len()
    );
    Known::lock().add(secret);
}

/// What the text of a secret in Secrets Manager holds: passwords and tokens; a URL's password; else all of it, if it
/// is a token and not the words of a test of something else.
#[track_caller]
pub(crate) fn register_secret(text: &str) {
    match serde_json::from_str(text) {
        Ok(json) => register_json(&json, false),
        Err(_) if text.contains("://") => register_url(text),
        Err(_) if text.contains(|c: char| c.is_ascii_digit()) => register(text),
        Err(_) => {}
    }
}

#[track_caller]
fn register_json(json: &Value, is_secret: bool) {
    match json {
        Value::String(text) if is_secret && !text.is_empty() => register(text),
        Value::Array(items) => items.iter().for_each(|item| register_json(item, is_secret)),
        Value::Object(entries) => entries.iter().for_each(|(key, value)| {
            register_json(value, is_secret || SECRET_KEYS.contains(&key.as_str()));
        }),
        _ => {}
    }
}

/// The password of a URL, as it is written there and as it is meant.
#[track_caller]
fn register_url(url: &str) {
    let Some((_, rest)) = url.split_once("://") else { return };
    let before_password = |text: &str| text.split_once(':').map(|(_, password)| password.to_owned());
    let in_authority = rest.rsplit_once('@').and_then(|(user, _)| before_password(user));
    let as_option = rest.split(['?', '&']).find_map(|option| option.strip_prefix("password="));
    for password in in_authority.into_iter().chain(as_option.map(str::to_owned)).filter(|it| !it.is_empty()) {
        let meant = percent_decode_str(&password).decode_utf8_lossy().into_owned();
        register(&password);
        register(&meant);
    }
}

/// What a process is told that must not be printed.
#[track_caller]
pub(crate) fn register_environment<'a>(variables: impl IntoIterator<Item = (&'a OsStr, Option<&'a OsStr>)>) {
    for (name, value) in variables {
        let value = value.unwrap_or_default().to_string_lossy();
        match name.to_str() {
            Some("DATABASE_URL") => register_url(&value),
            Some(name) if SECRET_VARIABLES.contains(&name) && !value.is_empty() => register(&value),
            _ => {}
        }
    }
}

/// What the headers of an event present, right or wrong: a guess may be a slip of the right one. What is too short or
/// too long is none.
pub(crate) fn register_event(event: &Value) {
    for headers in ["headers", "multiValueHeaders"].iter().filter_map(|list| event[list].as_object()) {
        let authorization = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        for value in authorization.flat_map(|(_, value)| match value {
            Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
            value => Vec::from_iter(value.as_str()),
        }) {
            let presented = value.split_once(' ').map_or(value, |(_, presented)| presented.trim());
            let decoded = STANDARD.decode(presented).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let decoded = decoded.unwrap_or_default();
            let password = decoded.split_once(':').map_or("", |(_, password)| password);
            for credential in [presented, &decoded, password] {
                if (SHORTEST_BYTES..=LONGEST_GUESS_BYTES).contains(&credential.len()) {
                    register(credential);
                }
            }
        }
    }
}

/// Fails if `text` has a secret in it. The secret is not in the message.
#[track_caller]
pub(crate) fn assert_none(place: &str, text: &str) {
    // A panic while another unwinds would end the program, and the test has failed already.
    if std::thread::panicking() {
        return;
    }
    let searcher = Known::lock().searcher();
    if let Some(found) = searcher.find(text) {
        let (before, rest) = text.split_at(found.start());
        let (form, after) = rest.split_at(found.len());
        let kind = Known::lock().forms[form];
        let before = before.rsplit('\n').next().unwrap_or_default();
        let after = after.split('\n').next().unwrap_or_default();
        let line = format!("{before}[A SECRET]{after}").replace(form, "[A SECRET]");
        panic!("a secret stands in {place}, {kind}: {line}");
    }
}

/// Each way in which text or bytes are printed, and those of what is printed within what is printed.
fn forms(secret: &str) -> BTreeMap<String, &'static str> {
    let mut forms = BTreeMap::from([
        (utf8_percent_encode(secret, RESERVED).to_string(), "percent-encoded"),
        (utf8_percent_encode(secret, FORBIDDEN).to_string(), "percent-encoded"),
        (secret.bytes().map(|byte| format!("%{byte:02X}")).collect(), "percent-encoded"),
        (secret.bytes().map(|byte| format!("{byte:02x}")).collect(), "in hexadecimal"),
        (secret.as_bytes().escape_ascii().to_string(), "as bytes"),
        (secret.as_bytes().escape_ascii().to_string().replace("\\'", "'"), "as bytes"),
        (secret.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", "), "as a list of bytes"),
        (secret.replace('\'', "''"), "quoted for SQL"),
    ]);
    for alphabet in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        forms.extend((0..3).map(|offset| (base64_within(secret, offset, &alphabet), "in base64")));
    }
    forms.insert(secret.to_owned(), "as it is");
    for _ in 0..2 {
        let printed: Vec<_> = forms.keys().flat_map(|form| [in_json(form), in_debug(form)]).collect();
        for form in printed {
            forms.entry(form).or_insert("escaped");
        }
    }
    forms
}

fn in_json(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    quoted.strip_prefix('"').and_then(|quoted| quoted.strip_suffix('"')).unwrap().to_owned()
}

fn in_debug(text: &str) -> String {
    let quoted = format!("{text:?}");
    quoted.strip_prefix('"').and_then(|quoted| quoted.strip_suffix('"')).unwrap().to_owned()
}

/// What base64 has of `secret` whatever stands around it, such as a user's name before a password, if so many bytes
/// are before it in a group of three.
fn base64_within(secret: &str, offset: usize, alphabet: &impl Engine) -> String {
    let bytes = [&vec![0; offset], secret.as_bytes()].concat();
    let encoded = alphabet.encode(&bytes);
    // A character is the secret's alone if all of its six bits are.
    let first = (offset * 8).div_ceil(6);
    encoded.chars().take(bytes.len() * 8 / 6).skip(first).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::events::{Event, Kind};
    use crate::lambda::{AMPLE, Queries, environment};
    use crate::postgres::Server;
    use crate::runtime_api::Lambda;

    fn leaks(text: &str) -> bool {
        std::panic::catch_unwind(|| assert_none("a test", text)).is_err()
    }

    #[test]
    fn a_secret_is_found_in_whatever_form_it_is_printed() {
        let secret = "Tr0ub'4dor\\ \"\u{fc}\n3";
        register(secret);
        let base64 = |before: &str| STANDARD.encode(format!("{before}{secret} and more"));
        let json = json!({ "password": secret }).to_string();
        let printed = [
            format!("password is {secret}."),
            format!("{secret:?}"),
            format!("{:?}", Arc::new(Some(secret))),
            json!({ "fields": { "target": format!("{secret:?}") } }).to_string(),
            json!({ "event": json }).to_string(),
            format!("{json:?}"),
            json,
            base64("a"),
            base64("us"),
            base64("user:"),
            base64::engine::general_purpose::URL_SAFE.encode(secret),
            format!("{:?}", secret.as_bytes()),
            format!("{:?}", hyper::body::Bytes::from(secret)),
            "postgres://u:Tr0ub%274dor%5C%20%22%C3%BC%0A3@db/shop".to_owned(),
            "PASSWORD 'Tr0ub''4dor\\ \"\u{fc}\n3'".to_owned(),
        ];
        for text in printed {
            assert!(leaks(&text), "{text}");
        }
        assert!(!leaks(secret.strip_prefix('T').unwrap()) && !leaks(""), "a part of it");
    }

    #[test]
    #[should_panic(expected = "take one of 8 bytes or more")]
    fn a_secret_that_could_stand_in_a_text_by_chance_is_none() {
        register_secret(r#"{"username": "prometheus", "password": ["long enough", "secret"]}"#);
    }

    #[test]
    fn secrets_are_taken_from_wherever_the_exporter_is_given_them() {
        register_secret(r#"[{"bearer_token": ["of-a-list-1", "of-a-list-2"], "host": "of-no-interest"}]"#);
        register_secret("of-a-secret-that-is-no-json-1");
        register_secret("postgres://u:of%20a%20url@db/shop?password=of-an-option&x=1");
        let variables =
            [("PGPASSWORD", "of-a-variable"), ("DATABASE_URL", "postgres://u:of@another:url@db/shop")];
        register_environment(variables.map(|(name, value)| (OsStr::new(name), Some(OsStr::new(value)))));
        let basic = format!("Basic {}", STANDARD.encode("of-an-event:of-basic-authentication"));
        register_event(&Event::recorded(Kind::RestApi).header("AUTHORIZATION", Some(&basic)).json());
        register_event(&json!({ "headers": { "authorization": "Bearer of-a-header" } }));
        for secret in [
            "of-a-list-1",
            "of-a-list-2",
            "of-a-secret-that-is-no-json-1",
            "of%20a%20url",
            "of a url",
            "of-an-option",
            "of-a-variable",
            "of@another:url",
            "of-basic-authentication",
            "of-a-header",
        ] {
            assert!(leaks(secret), "{secret}");
        }
        assert!(!leaks("of-no-interest") && !leaks("of-an-event"));
    }

    /// A function that is given `password`, with this query, which prints it.
    async fn scrape_with(database: &str, password: &str, query: &str) {
        register(password);
        let database = Server::shared().database(database);
        let queries = Queries::new(
            &json!({ "q": { "query": query, "metrics": [{ "l": { "usage": "LABEL" } }] } }).to_string(),
        );
        let lambda = Lambda::start(environment(&queries, database.url())).await;
        lambda.invoke(Event::recorded(Kind::HttpApi).json(), AMPLE).await;
        drop(database);
    }

    #[tokio::test]
    #[should_panic(expected = "a secret stands in an answer, as it is: q_v{l=\"[A SECRET]\"} 1")]
    async fn a_password_in_an_answer_is_found() {
        let password = "printed-in-an-answer";
        scrape_with("leak_in_answer", password, &format!("SELECT '{password}' AS l, 1 AS v")).await;
    }

    #[tokio::test]
    #[should_panic(expected = "a secret stands in an answer, in base64: q_v{l=\"")]
    async fn a_password_in_base64_is_found() {
        let password = "printed-in-base64";
        let encoded = STANDARD.encode(format!("prometheus:{password}"));
        scrape_with("leak_in_base64", password, &format!("SELECT '{encoded}' AS l, 1 AS v")).await;
    }

    #[tokio::test]
    #[should_panic(expected = "a secret stands in the log, as it is: ")]
    async fn a_password_in_the_log_is_found() {
        let password = "printed-in-the-log";
        scrape_with("leak_in_log", password, &format!("SELECT \"{password}\" AS l, 1 AS v")).await;
    }
}
