//! The JSON object that RDS, Aurora and the AWS console write into a secret (Secrets Manager user guide,
//! "JSON structure of AWS Secrets Manager database credential secrets").

use serde_json::{Map, Value};

use super::{Part, Parts};

/// The keys that are read. Drivers write `user` and `database` for `username` and `dbname`; the later one of
/// two synonyms wins. Other keys (`dbClusterIdentifier`, `masterarn`, …) are ignored.
const KEYS: [(&str, Part); 10] = [
    ("host", Part::Host),
    ("port", Part::Port),
    ("database", Part::Database),
    ("dbname", Part::Database),
    ("user", Part::User),
    ("username", Part::User),
    ("password", Part::Password),
    ("sslmode", Part::SslMode),
    ("sslrootcert", Part::RootCertificates),
    ("connect_timeout", Part::ConnectTimeout),
];

const ENGINES: [&str; 3] = ["postgres", "postgresql", "aurora-postgresql"];

/// # Errors
/// The text is not a JSON object. Other mistakes are in the parts.
pub(super) fn read(text: &str) -> Result<Parts, String> {
    let object: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| format!("not valid JSON at line {}, column {}", error.line(), error.column()))?;
    let mut parts = Parts::default();
    match object.get("engine") {
        None | Some(Value::Null) => {}
        Some(Value::String(engine)) if ENGINES.contains(&engine.as_str()) => {}
        Some(_) => parts.add_problem("engine", "must be postgres or aurora-postgresql"),
    }
    for (key, part) in KEYS {
        match object.get(key) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => parts.read(part, key, text),
            Some(Value::Number(number)) if matches!(part, Part::Port | Part::ConnectTimeout) => {
                parts.read(part, key, &number.to_string());
            }
            // No number has another type.
            Some(_) if matches!(part, Part::Port | Part::ConnectTimeout) => parts.read(part, key, "?"),
            Some(_) => parts.refuse(part, key, "must be a string"),
        }
    }
    Ok(parts)
}
