//! The JSON object that RDS, Aurora and the AWS console write into a secret (Secrets Manager user guide,
//! "JSON structure of AWS Secrets Manager database credential secrets").

use serde_json::{Map, Value};

use super::{Part, Parts, url};

/// The keys that are read, in lowercase and without `_` and `-`: `dbName` and `db_name` are `dbname`. Drivers write
/// `user` and `database` for `username` and `dbname`; the later one of two synonyms wins. Other keys
/// (`dbClusterIdentifier`, `masterarn`, …) are ignored.
const KEYS: [(&str, Part); 15] = [
    ("hostname", Part::Host),
    ("host", Part::Host),
    ("port", Part::Port),
    ("database", Part::Database),
    ("databasename", Part::Database),
    ("dbname", Part::Database),
    ("user", Part::User),
    ("username", Part::User),
    ("password", Part::Password),
    ("sslmode", Part::SslMode),
    ("sslrootcert", Part::RootCertificates),
    ("channelbinding", Part::ChannelBinding),
    ("connecttimeout", Part::ConnectTimeout),
    ("options", Part::Options),
    ("targetsessionattrs", Part::SessionAttributes),
];

/// The keys of a URL, in the same spelling. Other keys override its parts.
const URLS: [&str; 6] = ["connectionstring", "connectionuri", "connectionurl", "databaseurl", "uri", "url"];

/// # Errors
/// The text is not a JSON object, or the URL in it cannot be read. Other mistakes are in the parts.
pub(super) fn read(text: &str) -> Result<Parts, String> {
    let object: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| format!("not valid JSON at line {}, column {}", error.line(), error.column()))?;
    let mut parts = Parts::default();
    let plain = |key: &str| key.replace(['_', '-'], "").to_ascii_lowercase();
    match object.iter().find(|(key, _)| plain(key) == "engine").map(|(_, value)| value) {
        None | Some(Value::Null) => {}
        Some(Value::String(engine))
            if engine.is_empty() || engine.to_ascii_lowercase().contains("postgres") => {}
        Some(_) => parts.add_problem("engine", "must be postgres or aurora-postgresql"),
    }
    for (known, part) in KEYS {
        let mut values: Vec<_> = object.iter().filter(|(key, _)| plain(key) == known).collect();
        // The key as it is documented wins.
        values.sort_by_key(|(key, _)| key.as_str() == known);
        for (key, value) in values {
            read_value(&mut parts, part, key, value);
        }
    }
    // The URL of another service is not meant.
    let rest = object.iter().find_map(|(key, value)| {
        let text = value.as_str().filter(|_| URLS.contains(&plain(key).as_str()))?;
        url::without_scheme(text.trim())
    });
    Ok(match rest {
        Some(rest) => parts.or(&url::read(rest)?),
        None => parts,
    })
}

fn read_value(parts: &mut Parts, part: Part, key: &str, value: &Value) {
    let is_number = matches!(part, Part::Port | Part::ConnectTimeout);
    match value {
        Value::Null => {}
        Value::String(text) => parts.read(part, key, text),
        Value::Number(number) if is_number => parts.read(part, key, &number.to_string()),
        // No number has another type.
        _ if is_number => parts.read(part, key, "?"),
        _ => parts.refuse(part, key, "must be a string"),
    }
}
