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

    /// The event as lambda_http hands it to the exporter.
    pub(crate) fn request(self) -> lambda_http::Request {
        lambda_http::request::from_str(&self.json.to_string()).unwrap()
    }
}
