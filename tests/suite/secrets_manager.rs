//! A stand-in for AWS Secrets Manager on a free loopback port. It speaks the service's protocol (AWS JSON 1.1:
//! `POST /` with `X-Amz-Target`) and fails in the ways that the service and the network fail, as it is told.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::leaks;

pub(crate) const GET: &str = "secretsmanager.GetSecretValue";
pub(crate) const LIST: &str = "secretsmanager.ListSecrets";

/// What the stand-in does with the next requests.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// A secret stored as a string.
    Text(String),
    /// A secret stored as bytes, here in base64 as on the wire.
    Binary(String),
    /// Any answer: status, then body.
    Body(u16, String),
    /// Announces a body, sends half of it and closes.
    Half,
    /// A body that goes on for as long as somebody reads.
    Endless(u16),
    /// A secret stored as a string, after this time.
    Slow(Duration, String),
    /// Reads the request and never answers.
    Silence,
    /// Resets the connection.
    Reset,
}

impl Answer {
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    pub(crate) fn bytes(bytes: &[u8]) -> Self {
        Self::Binary(base64::engine::general_purpose::STANDARD.encode(bytes))
    }

    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::Body(status, json!({"__type": code, "Message": message}).to_string())
    }

    pub(crate) fn not_found() -> Self {
        Self::error(400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
    }

    /// What is said of a secret that is deleted but can still be restored.
    pub(crate) fn marked_for_deletion() -> Self {
        let message = "You can't perform this operation on the secret because it was marked for deletion.";
        Self::error(400, "InvalidRequestException", message)
    }

    pub(crate) fn access_denied() -> Self {
        let message = "User: arn:aws:sts::123456789012:assumed-role/exporter/exporter is not authorized to \
                       perform: secretsmanager:GetSecretValue on resource: prod/db because no identity-based \
                       policy allows the secretsmanager:GetSecretValue action";
        Self::error(400, "AccessDeniedException", message)
    }

    pub(crate) fn throttled() -> Self {
        Self::error(400, "ThrottlingException", "Rate exceeded")
    }

    pub(crate) fn internal_error() -> Self {
        Self::error(500, "InternalServiceError", "An error occurred on the server side.")
    }

    pub(crate) fn garbage() -> Self {
        Self::Body(200, "<html>not what you asked for</html>".to_owned())
    }
}

impl Answer {
    /// What is in the secret must not be printed.
    fn register(&self) {
        match self {
            Self::Text(text) | Self::Slow(_, text) => leaks::register_secret(text),
            Self::Binary(base64) => {
                let text = String::from_utf8(STANDARD.decode(base64).unwrap());
                leaks::register_secret(&text.unwrap_or_default());
            }
            Self::Body(..) | Self::Half | Self::Endless(_) | Self::Silence | Self::Reset => {}
        }
    }
}

/// A secret that the stand-in lists, and what it says to a request for its value.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) tags: Vec<(&'static str, &'static str)>,
    /// The service of AWS that manages it.
    pub(crate) owner: Option<&'static str>,
    pub(crate) answer: Answer,
}

impl Stored {
    pub(crate) fn arn(&self) -> String {
        arn(&self.name)
    }

    fn is(&self, id: &str) -> bool {
        id == self.name || id == self.arn()
    }

    /// Whether a filter matches (AWS Secrets Manager API reference, "Filter"): the beginning of a name, or of the key or
    /// the value of a tag. An exclamation mark negates.
    fn matches(&self, filter: &Value) -> bool {
        let texts: Vec<&str> = match filter["Key"].as_str().unwrap() {
            "name" => vec![&self.name],
            "tag-key" => self.tags.iter().map(|(key, _)| *key).collect(),
            "tag-value" => self.tags.iter().map(|(_, value)| *value).collect(),
            other => panic!("the stand-in has no filter {other}"),
        };
        let any = |prefix: &str| texts.iter().any(|text| text.starts_with(prefix));
        filter["Values"].as_array().unwrap().iter().map(|value| value.as_str().unwrap()).any(|value| {
            match value.strip_prefix('!') {
                Some(prefix) => !any(prefix),
                None => any(value),
            }
        })
    }

    fn listed(&self) -> Value {
        let tag = |(key, value): &(&str, &str)| json!({"Key": key, "Value": value});
        let mut listed = json!({
            "ARN": self.arn(), "Name": self.name, "CreatedDate": 1_767_225_600.0,
            "Tags": self.tags.iter().map(tag).collect::<Vec<_>>(),
            "SecretVersionsToStages": {"5b7e0c4a-1f0e-4c55-8a6e-0f1d2c3b4a59": ["AWSCURRENT"]},
        });
        if let Some(owner) = self.owner {
            listed["OwningService"] = owner.into();
        }
        listed
    }
}

fn arn(name: &str) -> String {
    format!("arn:aws:secretsmanager:eu-central-1:123456789012:secret:{name}-a1b2c3")
}

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// The client's port: the same for all requests of one connection.
    pub(crate) port: u16,
    pub(crate) request_line: String,
    pub(crate) target: String,
    pub(crate) secret_id: String,
    /// Whether it was signed with Signature Version 4.
    pub(crate) signed: bool,
}

/// The stand-in. It stops when it is dropped.
pub(crate) struct SecretsManagerServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// The next answers. The last stays.
    answers: Mutex<VecDeque<Answer>>,
    /// If it has any, these are the secrets that there are.
    stored: Mutex<Vec<Stored>>,
    /// What it says to a request for a list, if it does not list.
    list: Mutex<Option<Answer>>,
    /// The most secrets of one list. The service may give fewer than it is asked for.
    page_size: usize,
    calls: Mutex<Vec<Call>>,
    bodies: Mutex<Vec<Value>>,
    stopped: AtomicBool,
}

impl SecretsManagerServer {
    /// Listens, and gives `answer` until it is told otherwise.
    pub(crate) fn start(answer: Answer) -> Self {
        Self::start_with(answer, Vec::new(), 100)
    }

    /// Listens, and has these secrets.
    pub(crate) fn storing(stored: Vec<Stored>, page_size: usize) -> Self {
        Self::start_with(Answer::not_found(), stored, page_size)
    }

    fn start_with(answer: Answer, stored: Vec<Stored>, page_size: usize) -> Self {
        answer.register();
        stored.iter().for_each(|secret| secret.answer.register());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            answers: Mutex::new([answer].into()),
            stored: Mutex::new(stored),
            list: Mutex::default(),
            page_size,
            calls: Mutex::default(),
            bodies: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                thread::spawn(move || stream.and_then(|stream| shared.serve(stream)));
            }
        });
        Self { address, shared }
    }

    /// What `AWS_ENDPOINT_URL` has to be.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on this is the answer.
    pub(crate) fn answer(&self, answer: Answer) {
        self.answer_in_turn([answer]);
    }

    /// From now on these are the answers, a request each. The last is that to all further requests.
    pub(crate) fn answer_in_turn(&self, answers: impl IntoIterator<Item = Answer>) {
        let answers: VecDeque<_> = answers.into_iter().inspect(Answer::register).collect();
        *self.shared.answers.lock().unwrap() = answers;
    }

    /// From now on there are these secrets.
    pub(crate) fn store(&self, stored: Vec<Stored>) {
        stored.iter().for_each(|secret| secret.answer.register());
        *self.shared.stored.lock().unwrap() = stored;
    }

    /// From now on this is the answer to a request for a list.
    pub(crate) fn answer_lists(&self, answer: Option<Answer>) {
        *self.shared.list.lock().unwrap() = answer;
    }

    /// The requests so far. One whose connection was reset was not read and is not among them.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// The bodies of the same requests.
    pub(crate) fn bodies(&self) -> Vec<Value> {
        self.shared.bodies.lock().unwrap().clone()
    }
}

impl Drop for SecretsManagerServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn next_answer(&self) -> Answer {
        let mut answers = self.answers.lock().unwrap();
        match answers.len() {
            1 => answers[0].clone(),
            _ => answers.pop_front().unwrap(),
        }
    }

    /// The answer about the secrets that are stored.
    fn answer_to(&self, call: &Call, body: &Value) -> Answer {
        let stored = self.stored.lock().unwrap();
        if call.target != LIST {
            let secret = stored.iter().find(|secret| secret.is(&call.secret_id));
            return secret.map_or(Answer::not_found(), |secret| secret.answer.clone());
        }
        if let Some(answer) = &*self.list.lock().unwrap() {
            return answer.clone();
        }
        let no_filters = Vec::new();
        let filters = body["Filters"].as_array().unwrap_or(&no_filters);
        let matching = stored.iter().filter(|secret| filters.iter().all(|filter| secret.matches(filter)));
        let from: usize = body["NextToken"].as_str().map_or(0, |token| token.parse().unwrap());
        let count = self.page_size.min(body["MaxResults"].as_u64().unwrap_or(100) as usize);
        let listed: Vec<_> = matching.map(Stored::listed).collect();
        let page: Vec<_> = listed.iter().skip(from).take(count).cloned().collect();
        let mut answer = json!({ "SecretList": page });
        if from + count < listed.len() {
            answer["NextToken"] = (from + count).to_string().into();
        }
        Answer::Body(200, answer.to_string())
    }

    /// Serves one connection until the client closes it or the answer says so.
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let port = stream.peer_addr()?.port();
        let mut writer = stream;
        loop {
            // Bytes that arrived and were not read make the kernel answer a close with a reset.
            if writer.peek(&mut [0])? == 0 {
                return Ok(());
            }
            // Reading comes first where the answer depends on the request.
            let is_storing = !self.stored.lock().unwrap().is_empty();
            let answer = if is_storing { Answer::not_found() } else { self.next_answer() };
            if matches!(answer, Answer::Reset) {
                return Ok(());
            }
            let Some((call, body)) = Call::read(&mut reader, port)? else { return Ok(()) };
            self.calls.lock().unwrap().push(call.clone());
            self.bodies.lock().unwrap().push(body.clone());
            let answer = if is_storing { self.answer_to(&call, &body) } else { answer };
            let (status, body) = match (call.refusal(), answer) {
                (Some(refusal), _) => refusal,
                (None, Answer::Text(text)) => (200, secret(&call, "SecretString", &text)),
                (None, Answer::Slow(time, text)) => {
                    std::thread::sleep(time);
                    (200, secret(&call, "SecretString", &text))
                }
                (None, Answer::Binary(base64)) => (200, secret(&call, "SecretBinary", &base64)),
                (None, Answer::Body(status, body)) => (status, body),
                (None, Answer::Half) => {
                    let body = secret(&call, "SecretString", "half of this is cut off");
                    let (half, _) = body.split_at(body.len() / 2);
                    return write!(writer, "{}{half}", head(200, body.len()));
                }
                (None, Answer::Endless(status)) => {
                    write!(writer, "HTTP/1.1 {status} \r\nContent-Type: application/x-amz-json-1.1\r\n\r\n")?;
                    writer.write_all(b"{\"SecretString\": \"")?;
                    loop {
                        writer.write_all(&[b'x'; 1 << 16])?;
                    }
                }
                (None, Answer::Silence) => return reader.read_to_end(&mut Vec::new()).map(drop),
                (None, Answer::Reset) => return Ok(()),
            };
            write!(writer, "{}{body}", head(status, body.len()))?;
        }
    }
}

impl Call {
    /// The next request of the connection and its body; `None` if the client has closed it.
    fn read(reader: &mut impl BufRead, port: u16) -> std::io::Result<Option<(Self, Value)>> {
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            match line.trim_end().split_once(':') {
                Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
                None if line.trim_end().is_empty() => break,
                None => headers.insert("request line".to_owned(), line.trim_end().to_owned()),
            };
        }
        let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
        let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
        reader.read_exact(&mut body)?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let authorization = header("authorization");
        Ok(Some((
            Self {
                port,
                request_line: header("request line"),
                target: header("x-amz-target"),
                secret_id: body["SecretId"].as_str().unwrap_or_default().to_owned(),
                signed: authorization.starts_with("AWS4-HMAC-SHA256 Credential=")
                    && authorization.contains("/secretsmanager/aws4_request")
                    && authorization.contains("Signature="),
            },
            body,
        )))
    }

    /// What the service says to a request that is none of its own.
    fn refusal(&self) -> Option<(u16, String)> {
        let code = if !self.signed {
            "MissingAuthenticationTokenException"
        } else if self.request_line != "POST / HTTP/1.1" || ![GET, LIST].contains(&&*self.target) {
            "UnknownOperationException"
        } else if self.secret_id.is_empty() && self.target == GET {
            "ValidationException"
        } else {
            return None;
        };
        Some((400, json!({ "__type": code }).to_string()))
    }
}

fn head(status: u16, length: usize) -> String {
    let id = "7d9c1f6e-5c0e-4f0b-9f0e-2f6d3c1b8a90";
    format!(
        "HTTP/1.1 {status} \r\nContent-Type: application/x-amz-json-1.1\r\nx-amzn-RequestId: {id}\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

fn secret(call: &Call, key: &str, value: &str) -> String {
    json!({
        "ARN": arn(&call.secret_id),
        "Name": call.secret_id,
        "VersionId": "5b7e0c4a-1f0e-4c55-8a6e-0f1d2c3b4a59",
        "VersionStages": ["AWSCURRENT"],
        "CreatedDate": 1_767_225_600.0,
        key: value,
    })
    .to_string()
}
