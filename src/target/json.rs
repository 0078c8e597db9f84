//! The JSON object that RDS, Aurora and the AWS console write into a secret (Secrets Manager user guide,
//! "JSON structure of AWS Secrets Manager database credential secrets").

use serde_json::{Map, Value};

use super::parts::Reading;
use super::{Mistake, Part, Problem};

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

pub(super) fn read(text: &str) -> Result<Reading, Problem> {
    let object: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| Problem::of_text(Mistake::Json { line: error.line(), column: error.column() }))?;
    let mut reading = Reading::new();
    match object.get("engine") {
        None | Some(Value::Null) => {}
        Some(Value::String(engine)) if ENGINES.contains(&engine.as_str()) => {}
        Some(_) => reading.problems.push(Problem::named("engine", Mistake::Engine)),
    }
    for (key, part) in KEYS {
        match object.get(key) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => reading.set(part, key, text),
            Some(Value::Number(number)) if matches!(part, Part::Port | Part::ConnectTimeout) => {
                reading.set(part, key, &number.to_string());
            }
            Some(_) => {
                let mistake = match part {
                    Part::Port => Mistake::Port,
                    Part::ConnectTimeout => Mistake::ConnectTimeout,
                    _ => Mistake::NotString,
                };
                reading.problems.push(Problem::of_part(part, key, mistake));
            }
        }
    }
    Ok(reading)
}
