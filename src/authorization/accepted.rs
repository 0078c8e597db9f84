//! The credentials that are accepted: of a secret's text, or of digests. Only digests are kept.

use serde_json::{Map, Value};
use subtle::Choice;

use super::credential::{Credential, Scheme};
use crate::problem::{Origin, Problem};

/// The credentials that are accepted: at least one.
#[derive(Debug, Clone)]
pub struct Accepted(Vec<Credential>);

const TOKEN: &str = "must be letters, digits and -._~+/, with = at the end alone";

impl Accepted {
    /// Reads a secret. It is a JSON object with `bearer_token`, or with `username` and `password`, each a
    /// text or a list of texts; a list of such objects; or a token as the whole text. Other keys are ignored.
    ///
    /// # Errors
    /// Every mistake. One mistake makes the whole secret unusable.
    pub fn of_secret(text: &str) -> Result<Self, Vec<Problem>> {
        // Editors and PowerShell write a byte order mark in front of a file.
        let text = text.trim_start_matches('\u{feff}').trim();
        if !text.starts_with(['{', '[']) {
            return match is_token(text) {
                true => Ok(Self(vec![Credential::bearer(text)])),
                false => Err(vec![problem("", format!("neither a JSON object nor a token, which {TOKEN}"))]),
            };
        }
        let value: Value = serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            vec![problem("", format!("not valid JSON at line {line}, column {column}"))]
        })?;
        let objects = match &value {
            Value::Array(objects) => objects.as_slice(),
            object => std::slice::from_ref(object),
        };
        let (mut accepted, mut problems) = (Vec::new(), Vec::new());
        for (index, object) in objects.iter().enumerate() {
            let place = if objects.len() > 1 { format!("object {}", index + 1) } else { String::new() };
            match object.as_object() {
                Some(object) => read(object, &place, &mut accepted, &mut problems),
                None => problems.push(problem(&place, "must be a JSON object")),
            }
        }
        if objects.is_empty() {
            problems.push(problem("", "the list is empty"));
        }
        if problems.is_empty() { Ok(Self(accepted)) } else { Err(problems) }
    }

    /// The tokens with these SHA-256 digests.
    pub(crate) fn of_digests(digests: &[[u8; 32]]) -> Self {
        Self(digests.iter().copied().map(Credential::bearer_of_digest).collect())
    }

    /// Whether this is one of the accepted credentials. The time depends only on the number of accepted
    /// credentials.
    pub(crate) fn admits(&self, presented: &Credential) -> bool {
        let none = Choice::from(0);
        self.0.iter().fold(none, |found, credential| found | credential.matches(presented)).into()
    }

    /// The value of `WWW-Authenticate` for the accepted schemes (RFC 9110, section 11.6.1). One line, since
    /// an HTTP API keeps only one header of each name.
    pub(crate) fn challenge(&self) -> &'static str {
        let has = |scheme| self.0.iter().any(|credential| credential.scheme == scheme);
        match (has(Scheme::Bearer), has(Scheme::Basic)) {
            (true, true) => "Bearer, Basic realm=\"pg-lambda-exporter\", charset=\"UTF-8\"",
            (false, true) => "Basic realm=\"pg-lambda-exporter\", charset=\"UTF-8\"",
            (_, false) => "Bearer",
        }
    }
}

fn read(
    object: &Map<String, Value>,
    place: &str,
    accepted: &mut Vec<Credential>,
    problems: &mut Vec<Problem>,
) {
    let before = problems.len();
    let mut texts = |key: &str| {
        let place = if place.is_empty() { key.to_owned() } else { format!("{place}, {key}") };
        texts(object.get(key)).unwrap_or_else(|message| {
            problems.push(problem(&place, message));
            Vec::new()
        })
    };
    let (tokens, users, passwords) = (texts("bearer_token"), texts("username"), texts("password"));
    if tokens.iter().any(|token| !is_token(token)) {
        problems.push(problem(place, format!("bearer_token {TOKEN}")));
    }
    if users.iter().any(|user| user.contains(':')) {
        problems.push(problem(place, "username must be without a colon"));
    }
    // One user with several passwords, or as many users as passwords.
    let users = match users.as_slice() {
        [user] => vec![*user; passwords.len().max(1)],
        users => users.to_vec(),
    };
    if users.len() != passwords.len() {
        problems.push(problem(
            place,
            "username and password must be there together, as one user or as many as there are passwords",
        ));
    }
    if problems.len() != before {
        return;
    }
    if tokens.is_empty() && users.is_empty() {
        problems.push(problem(place, "must have bearer_token, or username and password"));
    }
    accepted.extend(tokens.into_iter().map(Credential::bearer));
    accepted
        .extend(users.into_iter().zip(passwords).map(|(user, password)| Credential::basic(user, password)));
}

/// The texts of a key; none if the key is absent.
fn texts(value: Option<&Value>) -> Result<Vec<&str>, &'static str> {
    let values = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(values)) if values.is_empty() => return Err("the list is empty"),
        Some(Value::Array(values)) => values.as_slice(),
        Some(value) => std::slice::from_ref(value),
    };
    let texts: Option<Vec<_>> = values.iter().map(Value::as_str).collect();
    match texts {
        Some(texts) if texts.iter().any(|text| text.is_empty()) => Err("must not be empty"),
        Some(texts) => Ok(texts),
        None => Err("must be text or a list of texts"),
    }
}

/// `b64token` (RFC 6750, section 2.1). Every client can send it and no service in front of the function
/// changes it, as an HTTP API does by joining headers with a comma.
fn is_token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty() && body.chars().all(|c| c.is_ascii_alphanumeric() || "-._~+/".contains(c))
}

fn problem(place: &str, message: impl Into<String>) -> Problem {
    Problem::at(Origin::Secret, place, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shape_accepts_what_it_names_and_nothing_else() {
        let bearer = Credential::bearer;
        let basic = Credential::basic;
        let all = [bearer("t1"), bearer("t2=="), basic("u", "p1"), basic("u", "p 2é"), basic("v", "p1")];
        let cases: [(&str, &[usize], &str); 9] = [
            (" t1\n", &[0], "Bearer"),
            (r#"{"bearer_token":"t1"}"#, &[0], "Bearer"),
            (r#"{"bearer_token":["t1","t2=="],"host":"x"}"#, &[0, 1], "Bearer"),
            (r#"{"username":"u","password":"p1"}"#, &[2], "Basic"),
            (r#"{"username":"u","password":["p1","p 2é"]}"#, &[2, 3], "Basic"),
            (r#"{"username":["u","v"],"password":["p 2é","p1"]}"#, &[3, 4], "Basic"),
            (r#"[{"bearer_token":"t2=="},{"bearer_token":"t1"}]"#, &[0, 1], "Bearer"),
            (r#"[{"username":"u","password":"p1"},{"username":"v","password":"p1"}]"#, &[2, 4], "Basic"),
            (r#"{"bearer_token":"t1","username":"u","password":"p1"}"#, &[0, 2], "Bearer, Basic"),
        ];
        for (text, expected, challenge) in cases {
            let accepted = Accepted::of_secret(text).unwrap();
            let admitted: Vec<_> = (0..all.len()).filter(|&index| accepted.admits(&all[index])).collect();
            assert_eq!(admitted, expected, "{text}");
            let named = accepted.challenge().split(" realm").next();
            assert_eq!(named, Some(challenge), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_without_the_secret() {
        let whole = format!("neither a JSON object nor a token, which {TOKEN}");
        let together =
            "username and password must be there together, as one user or as many as there are passwords";
        let cases: [(&str, &[&str]); 16] = [
            ("", &[&whole]),
            ("two words", &[&whole]),
            ("=", &[&whole]),
            ("postgres://u:hunter2@db/x", &[&whole]),
            ("\"hunter2\"", &[&whole]),
            ("{\"bearer_token\": hunter2", &["not valid JSON at line 1, column 18"]),
            ("[]", &["the list is empty"]),
            ("{}", &["must have bearer_token, or username and password"]),
            ("[{\"bearer_token\":\"hunter2\"},7]", &["object 2: must be a JSON object"]),
            (r#"{"bearer_token":""}"#, &["bearer_token: must not be empty"]),
            (r#"{"bearer_token":[]}"#, &["bearer_token: the list is empty"]),
            (r#"{"bearer_token":"hunter2 "}"#, &[&format!("bearer_token {TOKEN}")]),
            (r#"{"username":"u"}"#, &[together]),
            (r#"{"password":"hunter2"}"#, &[together]),
            (r#"{"username":["u","v"],"password":["a","b","c"]}"#, &[together]),
            (
                r#"[{"bearer_token":7},{"username":"u:v","password":"hunter2"}]"#,
                &[
                    "object 1, bearer_token: must be text or a list of texts",
                    "object 2: username must be without a colon",
                ],
            ),
        ];
        for (text, expected) in cases {
            let problems = Accepted::of_secret(text).unwrap_err();
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            assert_eq!(problems, expected, "{text}");
        }
    }
}
