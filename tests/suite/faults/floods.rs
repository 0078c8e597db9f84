//! Faults of size: what is read has no end, or none that fits into the function's memory.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;

use super::fake_server::{Conduct, FakeServer, When, message};
use super::observed::{assert_complete, assert_failed, logged, scrape_within};
use super::secrets::{QUERIES, is_complete, is_without_connection};
use crate::lambda::{GOOD, Queries, environment, secret_of, with_secret};
use crate::postgres::{PASSWORD, Server};
use crate::runtime_api::Lambda;
use crate::secrets_manager::{Answer, SecretsManagerServer};

/// A quarter of what the deployed function has. The program itself takes 30 MiB of it, as the tests build it.
const PEAK_KIB_MAX: u64 = 64 << 10;

#[track_caller]
fn assert_peak_is_low(lambda: &Lambda) {
    let status = fs::read_to_string(format!("/proc/{}/status", lambda.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < PEAK_KIB_MAX, "{peak} KiB");
}

/// A name that no other message has, and no value.
fn parameter(number: u64) -> Vec<u8> {
    message(b'S', format!("{number:x}\0\0").as_bytes())
}

fn notice(_: u64) -> Vec<u8> {
    message(b'N', b"SNOTICE\0C00000\0Mhunter2\0\0")
}

fn notification(_: u64) -> Vec<u8> {
    message(b'A', b"\0\0\0\x01channel\0hunter2\0")
}

/// Behind a description of no columns.
fn row(number: u64) -> Vec<u8> {
    let description = if number == 0 { message(b'T', b"\0\0") } else { vec![] };
    [description, message(b'D', b"\0\0")].concat()
}

/// One message that would take as much memory as there is.
fn endless_message(number: u64) -> Vec<u8> {
    match number {
        0 => b"N\x7f\xff\xff\xffM".to_vec(),
        _ => vec![b'x'; 16 << 10],
    }
}

async fn flooded(server: &FakeServer) -> (Queries, Lambda) {
    let queries = Queries::new(GOOD);
    let lambda = Lambda::start(environment(&queries, server.url())).await;
    lambda.initialised().await;
    (queries, lambda)
}

/// The flood keeps the function from a connection, at little cost.
async fn prevents_the_login(server: FakeServer) {
    let (_queries, lambda) = flooded(&server).await;
    let samples = scrape_within(&lambda, 10).await;
    assert_eq!(samples.value("pg_up"), 0.0);
    assert_failed(&samples, "good", "connection");
    logged(&lambda, &["no connection to the database", "the server sent more than it may"]).await;
    assert!(server.sent() > 0);
    assert_peak_is_low(&lambda);
}

/// The flood costs the query, and little else.
async fn costs_the_query(server: FakeServer, reason: &str) {
    let (_queries, lambda) = flooded(&server).await;
    let samples = scrape_within(&lambda, 10).await;
    assert_failed(&samples, "good", reason);
    assert!(server.sent() > 0);
    assert_peak_is_low(&lambda);
    assert!(!lambda.log().contains("hunter2"), "{}", lambda.log());
}

#[tokio::test]
async fn parameters_during_the_login() {
    prevents_the_login(FakeServer::start(Conduct::Flood(When::Login, parameter)).await).await;
}

#[tokio::test]
async fn parameters_during_a_login_by_tls() {
    prevents_the_login(FakeServer::start_with_tls(Conduct::Flood(When::Login, parameter)).await).await;
}

#[tokio::test]
async fn notices_during_the_login() {
    prevents_the_login(FakeServer::start(Conduct::Flood(When::Login, notice)).await).await;
}

#[tokio::test]
async fn a_message_without_an_end_during_the_login() {
    prevents_the_login(FakeServer::start(Conduct::Flood(When::Login, endless_message)).await).await;
}

#[tokio::test]
async fn rows_where_the_server_says_its_version() {
    prevents_the_login(FakeServer::start(Conduct::Flood(When::Facts, row)).await).await;
}

#[tokio::test]
async fn parameters_during_a_query() {
    costs_the_query(FakeServer::start(Conduct::Flood(When::Query, parameter)).await, "limit").await;
}

#[tokio::test]
async fn parameters_during_a_query_by_tls() {
    costs_the_query(FakeServer::start_with_tls(Conduct::Flood(When::Query, parameter)).await, "limit").await;
}

#[tokio::test]
async fn a_message_without_an_end_during_a_query() {
    costs_the_query(FakeServer::start(Conduct::Flood(When::Query, endless_message)).await, "limit").await;
}

/// The first scrape has the connection of the initialisation, and the flood begins with it.
async fn between_queries(message: fn(u64) -> Vec<u8>) {
    let server = FakeServer::start(Conduct::Flood(When::Idle, message)).await;
    let (_queries, lambda) = flooded(&server).await;
    for _ in 0..3 {
        scrape_within(&lambda, 10).await;
    }
    assert!(server.sent() > 0);
    assert_peak_is_low(&lambda);
    assert!(!lambda.log().contains("hunter2"), "{}", lambda.log());
}

#[tokio::test]
async fn parameters_between_queries() {
    between_queries(parameter).await;
}

#[tokio::test]
async fn notices_between_queries() {
    between_queries(notice).await;
}

#[tokio::test]
async fn notifications_between_queries() {
    between_queries(notification).await;
}

#[tokio::test]
async fn a_few_new_parameters_with_each_query() {
    let server = FakeServer::start(Conduct::Sprinkle(50_000, parameter)).await;
    let (_queries, lambda) = flooded(&server).await;
    for _ in 0..60 {
        assert_complete(&scrape_within(&lambda, 10).await, &["good_v"]);
    }
    assert!(server.sent() > 2_000_000, "{}", server.sent());
    assert_peak_is_low(&lambda);
}

#[tokio::test]
async fn a_secret_without_an_end() {
    let database = Server::shared().database("floods_secret");
    let service = SecretsManagerServer::start(Answer::Endless(200));
    let queries = Queries::new(QUERIES);
    let lambda = Lambda::start(with_secret(&queries, &database, &service)).await;
    lambda.initialised().await;
    is_without_connection(&scrape_within(&lambda, 10).await);
    logged(&lambda, &["no credentials", "exporter/db", "the answer is larger than 1 MiB"]).await;
    service.answer(Answer::Endless(500));
    is_without_connection(&scrape_within(&lambda, 10).await);
    assert_peak_is_low(&lambda);
    service.answer(secret_of(&database, database.server().port(), PASSWORD));
    is_complete(&scrape_within(&lambda, 10).await);
}

#[tokio::test]
async fn aws_credentials_without_an_end() {
    let database = Server::shared().database("floods_credentials");
    let service = SecretsManagerServer::start(Answer::text("{}"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"Code\": \"");
            while stream.write_all(&[b'x'; 1 << 16]).is_ok() {}
        }
    });
    let queries = Queries::new(QUERIES);
    let mut environment = with_secret(&queries, &database, &service);
    environment.retain(|(name, _)| !["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].contains(name));
    environment.push(("AWS_EC2_METADATA_DISABLED", "true".into()));
    environment.push(("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://127.0.0.1:{port}/")));
    let lambda = Lambda::start(environment).await;
    lambda.initialised().await;
    is_without_connection(&scrape_within(&lambda, 10).await);
    logged(&lambda, &["no credentials", "exporter/db"]).await;
    assert_peak_is_low(&lambda);
}
