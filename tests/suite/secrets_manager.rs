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
    calls: Mutex<Vec<Call>>,
    stopped: AtomicBool,
}

impl SecretsManagerServer {
    /// Listens, and gives `answer` until it is told otherwise.
    pub(crate) fn start(answer: Answer) -> Self {
        answer.register();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            answers: Mutex::new([answer].into()),
            calls: Mutex::default(),
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

    /// The requests so far. One whose connection was reset was not read and is not among them.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
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
            let answer = self.next_answer();
            if matches!(answer, Answer::Reset) {
                return Ok(());
            }
            let Some(call) = Call::read(&mut reader, port)? else { return Ok(()) };
            self.calls.lock().unwrap().push(call.clone());
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
    /// The next request of the connection; `None` if the client has closed it.
    fn read(reader: &mut impl BufRead, port: u16) -> std::io::Result<Option<Self>> {
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
        Ok(Some(Self {
            port,
            request_line: header("request line"),
            target: header("x-amz-target"),
            secret_id: body["SecretId"].as_str().unwrap_or_default().to_owned(),
            signed: authorization.starts_with("AWS4-HMAC-SHA256 Credential=")
                && authorization.contains("/secretsmanager/aws4_request")
                && authorization.contains("Signature="),
        }))
    }

    /// What the service says to a request that is none of its own.
    fn refusal(&self) -> Option<(u16, String)> {
        let code = if !self.signed {
            "MissingAuthenticationTokenException"
        } else if self.request_line != "POST / HTTP/1.1" || self.target != "secretsmanager.GetSecretValue" {
            "UnknownOperationException"
        } else if self.secret_id.is_empty() {
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
        "ARN": format!("arn:aws:secretsmanager:eu-central-1:123456789012:secret:{}-a1b2c3", call.secret_id),
        "Name": call.secret_id,
        "VersionId": "5b7e0c4a-1f0e-4c55-8a6e-0f1d2c3b4a59",
        "VersionStages": ["AWSCURRENT"],
        "CreatedDate": 1_767_225_600.0,
        key: value,
    })
    .to_string()
}
