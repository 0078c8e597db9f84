//! Connection URLs (PostgreSQL documentation, "Connection URIs"). Passwords that are not percent-encoded work
//! too, if they are unambiguous:
//!
//! `postgresql://[user[:password]@][host][:port][/dbname][?option=value[&…]]`
//!
//! The options begin at the first `?`. Before it, the last `@` ends the user and the password, so that both
//! may contain `@`, `/`, `#`, spaces and other characters, except `?` (and `:` in the user). A `%` before two
//! hexadecimal digits is percent-encoding; any other `%` is a plain character.

use percent_encoding::percent_decode_str;

use super::parts::{NAMES, Part, Parts};
use super::texts;

/// Options that are ignored: the exporter has its own values. They are libpq's and, for the pools of applications,
/// Prisma's and pgx's.
const IGNORED: [&str; 25] = [
    "application_name",
    "client_encoding",
    "connection_limit",
    "default_query_exec_mode",
    "encoding",
    "fallback_application_name",
    "gssdelegation",
    "gsslib",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "pgbouncer",
    "pool_max_conn_idle_time",
    "pool_max_conn_lifetime",
    "pool_max_conns",
    "pool_min_conns",
    "pool_timeout",
    "sslcompression",
    "sslnegotiation",
    "sslsni",
    "statement_cache_size",
    "tcp_user_timeout",
];

/// Options that are ignored with these values and refused with others.
const IGNORED_VALUES: [(&str, &[&str]); 2] =
    [("gssencmode", &["disable", "prefer"]), (LIBPQ_COMPATIBLE, &["true", "false"])];

/// node-postgres follows libpq if this is `true`.
const LIBPQ_COMPATIBLE: &str = "uselibpqcompat";

/// The text after the scheme, if the scheme is PostgreSQL's. SQLAlchemy's names a driver (`postgresql+psycopg://`), and
/// JDBC's begins with `jdbc:`.
pub(super) fn without_scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.strip_prefix("jdbc:").unwrap_or(text).split_once("://")?;
    let (scheme, driver) = scheme.split_once('+').unwrap_or((scheme, ""));
    let is_driver = driver.chars().all(|c| c.is_ascii_alphanumeric());
    (matches!(scheme, "postgresql" | "postgres") && is_driver).then_some(rest)
}

/// # Errors
/// Options and password cannot be told apart. Other mistakes are in the parts.
pub(super) fn read(rest: &str) -> Result<Parts, String> {
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut parts = Parts::default();
    read_address(address, &mut parts);
    // After a raw & in a password, an option's name may be a piece of the password.
    let may_name = !query.contains("password=");
    for option in query.split('&').filter(|option| !option.is_empty()) {
        read_option(option, may_name, &mut parts);
    }
    if query.split('&').any(|option| option.strip_prefix(LIBPQ_COMPATIBLE) == Some("=true")) {
        parts.follow_libpq(LIBPQ_COMPATIBLE);
    }
    // The password probably has a `?`. The options are not named, since they may be parts of the password.
    if query.contains('@') && !parts.take_problems().is_empty() {
        let hint = "write ? as %3F and @ as %40";
        return Err(format!("the part after the first ? holds an @ and cannot be read; {hint}"));
    }
    Ok(parts)
}

fn read_address(address: &str, parts: &mut Parts) {
    let (userinfo, place) = address.rsplit_once('@').unwrap_or(("", address));
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let (server, database) = place.split_once('/').unwrap_or((place, ""));
    set(parts, Part::User, "user", user);
    set(parts, Part::Password, "password", password);
    set(parts, Part::Database, "dbname", database);
    match split_server(server) {
        Ok((host, port)) => {
            set(parts, Part::Host, "host", host);
            set(parts, Part::Port, "port", port);
        }
        Err(message) => parts.refuse(Part::Host, "host", message),
    }
}

fn split_server(server: &str) -> Result<(&str, &str), &'static str> {
    if server.contains(',') {
        return Err(texts::SEVERAL_HOSTS);
    }
    if let Some(rest) = server.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(texts::NO_HOST)?;
        let port = if port.is_empty() { Some("") } else { port.strip_prefix(':') };
        return port.map(|port| (host, port)).ok_or(texts::NO_HOST);
    }
    let (host, port) = server.split_once(':').unwrap_or((server, ""));
    match port.contains(':') {
        true => Err("holds more than one colon; write an IPv6 address in brackets: [::1]"),
        false => Ok((host, port)),
    }
}

fn read_option(option: &str, may_name: bool, parts: &mut Parts) {
    let (name, value) = match option.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (option, None),
    };
    let shown = if may_name && value.is_some() && is_name(name) { name } else { "option" };
    let known = NAMES.iter().find(|(known, ..)| *known == name);
    let values = IGNORED_VALUES.iter().find(|(known, _)| *known == name);
    match (known, values, value) {
        (_, _, None) => parts.add_problem(shown, "needs a value, as in option=value"),
        (Some((name, _, part)), _, Some(value)) => set(parts, *part, name, value),
        (_, Some((_, values)), Some(value)) if values.contains(&value) => {}
        (_, Some(_), _) => parts.add_problem(shown, "not supported with this value"),
        // JDBC's form of sslmode, which libpq reads the same way. node-postgres and asyncpg have further values.
        (_, _, Some(value)) if name == "ssl" => match value {
            "true" | "1" => set(parts, Part::SslMode, "ssl", "require"),
            "false" | "0" => set(parts, Part::SslMode, "ssl", "disable"),
            mode => set(parts, Part::SslMode, "ssl", mode),
        },
        _ if IGNORED.contains(&name) => {}
        _ => parts.add_problem(shown, "not an option that is supported here"),
    }
}

fn set(parts: &mut Parts, part: Part, name: &str, encoded: &str) {
    match percent_decode_str(encoded).decode_utf8() {
        Ok(text) => parts.read(part, name, &text),
        Err(_) => parts.refuse(part, name, "must be UTF-8 after percent-decoding"),
    }
}

/// Whether the text is safe to show: it looks like the name of an option.
fn is_name(text: &str) -> bool {
    let is_short = (1..=40).contains(&text.len());
    is_short && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}
