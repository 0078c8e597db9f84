//! The Lambda service as a function sees it: the Runtime API (AWS Lambda Developer Guide, "Using the Lambda
//! runtime API for custom runtimes"), with the real binary as the function.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Read;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::leaks;

/// One execution environment: a process of the function, and the service that it polls.
pub(crate) struct Lambda {
    process: Child,
    invocations: mpsc::UnboundedSender<Invocation>,
    initialised: tokio::sync::watch::Receiver<bool>,
    /// A file and not a pipe: what the function printed before it answered is there when the answer is.
    log: NamedTempFile,
}

struct Invocation {
    event: Value,
    time: Duration,
    answer: oneshot::Sender<Outcome>,
}

/// What the function posts, as JSON.
enum Outcome {
    Response(Value),
    Error(Value),
}

/// An invocation that failed. API Gateway makes 500 of it, a function URL and a load balancer 502.
#[derive(Debug)]
pub(crate) struct Error {
    pub(crate) json: Value,
    pub(crate) took: Duration,
}

/// What the function answered to an event of any kind.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    /// Decoded from base64 where the event's kind says so, but not from gzip.
    pub(crate) body: Vec<u8>,
    pub(crate) is_base64: bool,
    /// What the whole answer takes as JSON.
    pub(crate) json_bytes: usize,
    pub(crate) took: Duration,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        match self.headers.get("content-encoding").map(String::as_str) {
            Some("gzip") => {
                let mut text = String::new();
                flate2::read::GzDecoder::new(&self.body[..]).read_to_string(&mut text).unwrap();
                text
            }
            _ => String::from_utf8(self.body.clone()).unwrap(),
        }
    }

    fn from_response(response: &Value, took: Duration) -> Self {
        let headers =
            ["headers", "multiValueHeaders"].iter().filter_map(|key| response[key].as_object()).flatten();
        let first = |value: &Value| value.as_str().or_else(|| value[0].as_str()).unwrap().to_owned();
        let body = response["body"].as_str().unwrap_or_default();
        let is_base64 = response["isBase64Encoded"].as_bool().unwrap_or_default();
        Self {
            status: response["statusCode"].as_u64().expect("a response has a status") as u16,
            headers: headers.map(|(name, value)| (name.to_lowercase(), first(value))).collect(),
            body: if is_base64 { base64_decoded(body) } else { body.into() },
            is_base64,
            json_bytes: response.to_string().len(),
            took,
        }
    }
}

fn base64_decoded(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

impl Lambda {
    /// The same as [`Lambda::start`], but nobody answers who registers as an extension.
    pub(crate) async fn start_without_registration<'a>(
        environment: impl IntoIterator<Item = (&'a str, String)>,
    ) -> Self {
        Self::start_with(environment, false).await
    }

    /// Starts the function with this environment and nothing else.
    pub(crate) async fn start<'a>(environment: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        Self::start_with(environment, true).await
    }

    async fn start_with<'a>(
        environment: impl IntoIterator<Item = (&'a str, String)>,
        takes_extensions: bool,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (invocations, queue) = mpsc::unbounded_channel();
        let (init, initialised) = tokio::sync::watch::channel(false);
        tokio::spawn(serve(listener, queue, init, takes_extensions));
        let log = tempfile::Builder::new().append(true).tempfile().unwrap();
        let mut function = function(address, environment);
        function.stdout(log.as_file().try_clone().unwrap()).stderr(log.as_file().try_clone().unwrap());
        leaks::register_environment(function.get_envs());
        let process = function.spawn().unwrap();
        Self { process, invocations, initialised, log }
    }

    /// Waits until the function asks for its first event.
    pub(crate) async fn initialised(&self) {
        let mut initialised = self.initialised.clone();
        initialised.wait_for(|&done| done).await.unwrap();
    }

    /// Invokes the function with `time` until its deadline and waits for what it answers, however long it takes.
    pub(crate) async fn invoke(&self, event: Value, time: Duration) -> Answer {
        let begun = Instant::now();
        match self.outcome(event, time).await {
            Outcome::Response(response) => {
                let answer = Answer::from_response(&response, begun.elapsed());
                leaks::assert_none("an answer", &answer.text());
                answer
            }
            Outcome::Error(error) => panic!("{error}; log: {}", self.log()),
        }
    }

    /// Invokes the function with an event that it cannot take for a request, and waits for the error that it reports.
    pub(crate) async fn invoke_in_vain(&self, event: Value, time: Duration) -> Error {
        let begun = Instant::now();
        match self.outcome(event, time).await {
            Outcome::Error(json) => Error { json, took: begun.elapsed() },
            Outcome::Response(response) => panic!("no error but {response}"),
        }
    }

    async fn outcome(&self, event: Value, time: Duration) -> Outcome {
        leaks::register_event(&event);
        let (answer, answered) = oneshot::channel();
        self.invocations
            .send(Invocation { event, time, answer })
            .unwrap_or_else(|_| panic!("the service ended"));
        let outcome = answered.await.unwrap_or_else(|_| panic!("no answer; log: {}", self.log()));
        let (Outcome::Response(json) | Outcome::Error(json)) = &outcome;
        leaks::assert_none("an answer's JSON", &json.to_string());
        outcome
    }

    /// The process's number.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Stops the process as Lambda does between invocations: it does nothing and knows nothing of it.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets a frozen process go on.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Sends the process a signal, such as `-TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        let kill = Command::new("kill").args([signal, &self.pid().to_string()]).status();
        assert!(kill.expect("these tests need kill: `sudo apt-get install procps`").success(), "{signal}");
    }

    /// Ends the environment as Lambda does, and gives the code with which the process exits.
    pub(crate) async fn shut_down(&mut self) -> Option<i32> {
        self.signal("-TERM");
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// All that the function has printed so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log.path()).unwrap()).into_owned()
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        leaks::assert_none("the log", &self.log());
    }
}

fn function<'a>(api: SocketAddr, environment: impl IntoIterator<Item = (&'a str, String)>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pg-lambda-exporter"));
    command
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", api.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "pg-lambda-exporter")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .envs(environment)
        .stdin(Stdio::null());
    command
}

type Pending = Arc<Mutex<HashMap<String, oneshot::Sender<Outcome>>>>;
type Queue = Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>>;

async fn serve(
    listener: TcpListener,
    queue: mpsc::UnboundedReceiver<Invocation>,
    init: tokio::sync::watch::Sender<bool>,
    takes_extensions: bool,
) {
    let (queue, init) = (Arc::new(tokio::sync::Mutex::new(queue)), Arc::new(init));
    let pending = Pending::default();
    while let Ok((stream, _)) = listener.accept().await {
        let (queue, init, pending) = (queue.clone(), init.clone(), pending.clone());
        let service = service_fn(move |request| {
            let (queue, init, pending) = (queue.clone(), init.clone(), pending.clone());
            async move {
                if !takes_extensions && request.uri().path().ends_with("/extension/register") {
                    std::future::pending::<()>().await;
                }
                Ok::<_, Infallible>(answer(request, &queue, &init, &pending).await)
            }
        });
        tokio::spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
        );
    }
}

async fn answer(
    request: Request<Incoming>,
    queue: &Queue,
    init: &tokio::sync::watch::Sender<bool>,
    pending: &Pending,
) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let segments: Vec<_> = path.split('/').skip(3).collect();
    match (request.method(), &segments[..]) {
        (&Method::GET, ["invocation", "next"]) => {
            init.send_replace(true);
            // Without another invocation the function waits, as it does in Lambda.
            let Some(invocation) = queue.lock().await.recv().await else { std::future::pending().await };
            let deadline = SystemTime::now() + invocation.time;
            let deadline = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
            let id = format!("{:08}-0000-0000-0000-000000000000", deadline % 100_000_000);
            pending.lock().unwrap().insert(id.clone(), invocation.answer);
            Response::builder()
                .header("content-type", "application/json")
                .header("lambda-runtime-aws-request-id", id)
                .header("lambda-runtime-deadline-ms", deadline.to_string())
                .header(
                    "lambda-runtime-invoked-function-arn",
                    "arn:aws:lambda:eu-central-1:123456789012:function:pg-lambda-exporter",
                )
                .header("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700")
                .body(invocation.event.to_string().into())
                .unwrap()
        }
        (&Method::POST, ["invocation", id, kind @ ("response" | "error")]) => {
            let answer = pending.lock().unwrap().remove(*id).expect("an answer belongs to an invocation");
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let json = serde_json::from_slice(&body).unwrap();
            let _ = answer.send(match *kind {
                "response" => Outcome::Response(json),
                _ => Outcome::Error(json),
            });
            accepted()
        }
        // The function as an extension of itself (AWS Lambda Developer Guide, "Using the Lambda Extensions API").
        (&Method::POST, ["register"]) => Response::builder()
            .header("lambda-extension-identifier", EXTENSION_ID)
            .body(r#"{"functionName": "pg-lambda-exporter", "functionVersion": "$LATEST", "handler": "bootstrap"}"#.into())
            .unwrap(),
        (&Method::GET, ["event", "next"]) => {
            assert_eq!(request.headers()["lambda-extension-identifier"], EXTENSION_ID);
            // It has asked for no events, so none comes.
            std::future::pending().await
        }
        _ => accepted(),
    }
}

const EXTENSION_ID: &str = "9d8f2f3c-2c66-4b3a-9a3e-6f1b1d0c7e55";

fn accepted() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from("{\"status\":\"OK\"}"));
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}
