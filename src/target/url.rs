//! Connection URLs (PostgreSQL documentation, "Connection URIs"). Passwords that are not percent-encoded work
//! too, if they are unambiguous:
//!
//! `postgresql://[user[:password]@][host][:port][/dbname][?option=value[&…]]`
//!
//! The options begin at the first `?`. Before it, the last `@` ends the user and the password, so that both
//! may contain `@`, `/`, `#`, spaces and other characters, except `?` (and `:` in the user). A `%` before two
//! hexadecimal digits is percent-encoding; any other `%` is a plain character.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::parts::Reading;
use super::{Mistake, Part, Problem};

const OPTIONS: [(&str, Part); 9] = [
    ("host", Part::Host),
    ("port", Part::Port),
    ("dbname", Part::Database),
    ("user", Part::User),
    ("password", Part::Password),
    ("sslmode", Part::SslMode),
    ("sslrootcert", Part::RootCertificates),
    ("channel_binding", Part::ChannelBinding),
    ("connect_timeout", Part::ConnectTimeout),
];

/// libpq's options that are ignored: the exporter has its own values.
const IGNORED: [&str; 15] = [
    "application_name",
    "client_encoding",
    "fallback_application_name",
    "gssdelegation",
    "gsslib",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "sslcompression",
    "sslnegotiation",
    "sslsni",
    "tcp_user_timeout",
];

/// Options that are ignored with these values and refused with others.
const IGNORED_VALUES: [(&str, &[&str]); 2] =
    [("gssencmode", &["disable", "prefer"]), ("target_session_attrs", &["any"])];

/// Replaces the name of an option that must not be shown.
const ANONYMOUS: Cow<'static, str> = Cow::Borrowed("option");

/// The text after the scheme, if the scheme is PostgreSQL's.
pub(super) fn without_scheme(text: &str) -> Option<&str> {
    text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"))
}

pub(super) fn read(rest: &str) -> Reading {
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut reading = Reading::new();
    read_address(address, &mut reading);
    // After a raw & in a password, an option's name may be a piece of the password.
    let may_name = !query.contains("password=");
    for option in query.split('&').filter(|option| !option.is_empty()) {
        read_option(option, may_name, &mut reading);
    }
    if query.contains('@') && !reading.problems.is_empty() {
        reading.problems = vec![Problem::of_text(Mistake::QuestionMark)];
    }
    reading
}

fn read_address(address: &str, reading: &mut Reading) {
    let (userinfo, place) = address.rsplit_once('@').unwrap_or(("", address));
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let (server, database) = place.split_once('/').unwrap_or((place, ""));
    set(reading, Part::User, "user", user);
    set(reading, Part::Password, "password", password);
    set(reading, Part::Database, "dbname", database);
    match split_server(server) {
        Ok((host, port)) => {
            set(reading, Part::Host, "host", host);
            set(reading, Part::Port, "port", port);
        }
        Err(mistake) => reading.problems.push(Problem::of_part(Part::Host, "host", mistake)),
    }
}

fn split_server(server: &str) -> Result<(&str, &str), Mistake> {
    if server.contains(',') {
        return Err(Mistake::SeveralHosts);
    }
    if let Some(rest) = server.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(Mistake::Host)?;
        let port = if port.is_empty() { Some("") } else { port.strip_prefix(':') };
        return port.map(|port| (host, port)).ok_or(Mistake::Host);
    }
    let (host, port) = server.split_once(':').unwrap_or((server, ""));
    if port.contains(':') { Err(Mistake::BracketsMissing) } else { Ok((host, port)) }
}

fn read_option(option: &str, may_name: bool, reading: &mut Reading) {
    let (name, value) = match option.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (option, None),
    };
    let shown = if may_name && value.is_some() { printable(name) } else { ANONYMOUS };
    let problem = |mistake| Problem { part: None, name: shown, mistake };
    let known = OPTIONS.iter().find(|(known, _)| *known == name);
    let values = IGNORED_VALUES.iter().find(|(known, _)| *known == name);
    match (known, values, value) {
        (_, _, None) => reading.problems.push(problem(Mistake::NoValue)),
        (Some((name, part)), _, Some(value)) => set(reading, *part, name, value),
        (_, Some((_, values)), Some(value)) if values.contains(&value) => {}
        (_, Some(_), _) => reading.problems.push(problem(Mistake::UnsupportedValue)),
        // JDBC's form of sslmode; libpq reads it the same way.
        (_, _, Some("true")) if name == "ssl" => set(reading, Part::SslMode, "ssl", "require"),
        _ if IGNORED.contains(&name) => {}
        _ => reading.problems.push(problem(Mistake::UnknownOption)),
    }
}

fn set(reading: &mut Reading, part: Part, name: &'static str, encoded: &str) {
    match percent_decode_str(encoded).decode_utf8() {
        Ok(text) => reading.set(part, name, &text),
        Err(_) => reading.problems.push(Problem::of_part(part, name, Mistake::NotUtf8)),
    }
}

/// An option's name, if it is safe to show. Texts that do not look like a name are replaced.
fn printable(name: &str) -> Cow<'static, str> {
    let is_name = name.len() <= 40 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if is_name && !name.is_empty() { Cow::Owned(name.to_owned()) } else { ANONYMOUS }
}
