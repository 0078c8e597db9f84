//! Requests as each of the services in front of a function hands them on: the recorded events of tests/events/,
//! with another method, path or header where a test needs it.

use std::path::Path;

use serde_json::{Value, json};

/// The four kinds of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    RestApi,
    HttpApi,
    FunctionUrl,
    Alb,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::RestApi, Self::HttpApi, Self::FunctionUrl, Self::Alb];

    fn file(self) -> &'static str {
        match self {
            Self::RestApi => "rest-api.json",
            Self::HttpApi => "http-api.json",
            Self::FunctionUrl => "function-url.json",
            Self::Alb => "alb.json",
        }
    }
}

/// A request of one kind.
pub(crate) struct Event {
    kind: Kind,
    json: Value,
}

impl Event {
    /// `GET /metrics` as Prometheus sends it.
    pub(crate) fn recorded(kind: Kind) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/events").join(kind.file());
        let text = std::fs::read_to_string(path).unwrap();
        Self { kind, json: serde_json::from_str(&text).unwrap() }
    }

    /// `GET` on a path.
    pub(crate) fn get(kind: Kind, path: &str) -> Self {
        Self::recorded(kind).path(path)
    }

    /// Another path, as the client writes it behind the stage.
    pub(crate) fn path(mut self, path: &str) -> Self {
        match self.kind {
            Kind::RestApi => {
                self.json["path"] = json!(path);
                let stage = self.json["requestContext"]["stage"].as_str().unwrap();
                self.json["requestContext"]["path"] = json!(format!("/{stage}{path}"));
            }
            Kind::HttpApi | Kind::FunctionUrl => {
                self.json["rawPath"] = json!(path);
                self.json["requestContext"]["http"]["path"] = json!(path);
            }
            Kind::Alb => self.json["path"] = json!(path),
        }
        self
    }

    /// Query parameters, already percent-encoded, in the way of the kind: REST APIs decode them and give them
    /// once as single and once as multiple values, load balancers (unless told otherwise) give the last value of
    /// each as the client wrote it, and the others give the text.
    pub(crate) fn query(mut self, text: &str) -> Self {
        let decoded = |text: &str| {
            let bytes = percent_encoding::percent_decode_str(text).collect::<Vec<_>>();
            String::from_utf8(bytes).unwrap()
        };
        let (mut single, mut multiple) = (json!({}), json!({}));
        for (name, value) in text.split('&').map(|pair| pair.split_once('=').unwrap()) {
            let (name, value) = match self.kind {
                Kind::Alb => (name.to_owned(), value.to_owned()),
                _ => (decoded(name), decoded(value)),
            };
            single[&name] = json!(value);
            match multiple[&name].as_array_mut() {
                Some(values) => values.push(json!(value)),
                None => multiple[&name] = json!([value]),
            }
        }
        match self.kind {
            Kind::RestApi => {
                self.json["queryStringParameters"] = single;
                self.json["multiValueQueryStringParameters"] = multiple;
            }
            Kind::Alb => self.json["queryStringParameters"] = single,
            Kind::HttpApi | Kind::FunctionUrl => {
                self.json["rawQueryString"] = json!(text);
                let joined = multiple.as_object().unwrap().iter().map(|(name, values)| {
                    let values = values.as_array().unwrap().iter().map(|value| value.as_str().unwrap());
                    (name.clone(), json!(values.collect::<Vec<_>>().join(",")))
                });
                self.json["queryStringParameters"] = joined.collect::<serde_json::Map<_, _>>().into();
            }
        }
        self
    }

    /// Another method.
    pub(crate) fn method(mut self, method: &str) -> Self {
        match self.kind {
            Kind::RestApi | Kind::Alb => self.json["httpMethod"] = json!(method),
            Kind::HttpApi | Kind::FunctionUrl => {
                self.json["requestContext"]["http"]["method"] = json!(method)
            }
        }
        self
    }

    /// Another value of a header, or none.
    pub(crate) fn header(mut self, name: &str, value: Option<&str>) -> Self {
        let of_kind = |key: &str| name.eq_ignore_ascii_case(key);
        for (list, multi) in [("headers", false), ("multiValueHeaders", true)] {
            let Some(headers) = self.json[list].as_object_mut() else { continue };
            headers.retain(|key, _| !of_kind(key));
            if let Some(value) = value {
                headers.insert(name.to_owned(), if multi { json!([value]) } else { json!(value) });
            }
        }
        self
    }

    /// Something else in the event.
    pub(crate) fn edit(mut self, edit: impl FnOnce(&mut Value)) -> Self {
        edit(&mut self.json);
        self
    }

    /// The event as Lambda sends it.
    pub(crate) fn json(self) -> Value {
        self.json
    }
}
