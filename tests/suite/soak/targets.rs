//! The same with many targets: probes of valid, unknown and failing ones, in any order, while secrets come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::{Duration, Figures, Random, variable};
use super::{assert_no_growth, clock, print_table, resident_and_descriptors};
use crate::events::{Event, Kind};
use crate::lambda::{AMPLE, Queries, samples, secret_of, with_secret};
use crate::path::Path;
use crate::postgres::{PASSWORD, Port, ROLE, Server, TestDatabase};
use crate::runtime_api::{Answer, Lambda};
use crate::secrets_manager::{self, SecretsManagerServer, Stored};

const MAX_CONNECTIONS: usize = 4;
const VALID: usize = 8;
const FAILING: [&str; 3] = ["probes/refuses", "probes/no-database", "probes/password"];

const QUERIES: &str = "
here:
  query: SELECT current_database() AS l, g AS v FROM generate_series(1, 1) g
  metrics: [{l: {usage: LABEL}}, {v: {usage: GAUGE}}]
walk:
  query: SELECT g AS l, g AS v FROM generate_series(1, 20) g
  target_databases: [soak_targets_0]
  metrics: [{l: {usage: LABEL}}, {v: {usage: GAUGE}}]
";

/// The most connections to a port of 127.0.0.1 that are open at once, as its clients see them.
struct Watch {
    most: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

impl Watch {
    fn on(port: u16) -> Self {
        let watch = Self { most: Arc::default(), is_over: Arc::default() };
        let (most, is_over) = (Arc::clone(&watch.most), Arc::clone(&watch.is_over));
        thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                most.fetch_max(open_connections(port), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(20));
            }
        });
        watch
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Established connections whose remote end has this port (proc(5), /proc/net/tcp).
fn open_connections(port: u16) -> usize {
    let remote = format!("0100007F:{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let is_open = |line: &&str| {
        let columns: Vec<_> = line.split_whitespace().collect();
        columns.get(2) == Some(&&*remote) && columns.get(3) == Some(&"01")
    };
    table.lines().filter(is_open).count()
}

struct World {
    random: Random,
    databases: Vec<TestDatabase>,
    path: Path,
    refuses: Port,
    service: SecretsManagerServer,
    lambda: Lambda,
    /// The valid target whose secret is deleted.
    deleted: Option<usize>,
    _queries: Queries,
}

impl World {
    async fn new(seed: u64) -> Self {
        let names = (0..VALID).map(|number| format!("soak_targets_{number}"));
        let databases: Vec<_> = names.map(|name| Server::shared().database(&name)).collect();
        let path = Path::to(databases[0].server().port());
        let service = SecretsManagerServer::storing(Vec::new(), 5);
        let queries = Queries::new(QUERIES);
        let mut environment = with_secret(&queries, &databases[0], &service);
        environment.retain(|(name, _)| *name != "DB_SECRET_ID");
        environment.extend([
            ("TARGETS_PREFIX", "probes/".into()),
            ("MAX_CONNECTIONS", MAX_CONNECTIONS.to_string()),
            ("SECRET_MAX_AGE", "1s".into()),
            ("MALLOC_MMAP_THRESHOLD_", (128 << 10).to_string()),
        ]);
        let random = Random::of_seed(seed);
        let refuses = Port::reserve();
        let mut stored: Vec<_> = (0..VALID).map(|number| valid(&databases, &path, number)).collect();
        stored.extend(failing(&databases, &path, &refuses));
        service.store(stored);
        let lambda = Lambda::start(environment).await;
        lambda.initialised().await;
        Self { random, databases, path, refuses, service, lambda, deleted: None, _queries: queries }
    }

    async fn get(&self, path: &str, query: &str) -> Answer {
        let event = Event::get(Kind::HttpApi, path).header("x-prometheus-scrape-timeout-seconds", Some("25"));
        let event = if query.is_empty() { event } else { event.query(query) };
        self.lambda.invoke(event.json(), AMPLE).await
    }

    async fn valid(&self, number: usize, is_selected: bool) {
        let selection = if is_selected { "&collect[]=here" } else { "" };
        let answer = self.get("/probe", &format!("target=probes/{number}{selection}")).await;
        if answer.status == 404 {
            // Deleted just now, or not listed again yet.
            return;
        }
        let samples = samples(&answer);
        if self.deleted == Some(number) && samples.value("pg_up") == 0.0 {
            // Still listed, and never read.
            assert_eq!(samples.of("pg_exporter_target_error").len(), 1, "{}", answer.text());
            return;
        }
        let database = format!("{{l=\"soak_targets_{number}\"}}");
        let walked = if is_selected { 0 } else { 20 };
        assert_eq!(samples.value("pg_up"), 1.0, "{}", self.lambda.log());
        assert_eq!(samples.of("here_v"), [(&*database, 1.0)], "{}", answer.text());
        assert_eq!(samples.of("walk_v").len(), walked, "{}", answer.text());
        assert!(samples.value("pg_exporter_connections") <= MAX_CONNECTIONS as f64, "{}", answer.text());
    }

    async fn step(&mut self) {
        let is_frozen = self.random.below(4) == 0;
        if is_frozen {
            self.lambda.freeze();
            self.lambda.thaw();
        }
        let number = self.random.below(VALID as u64) as usize;
        match self.random.below(100) {
            0..60 => self.valid(number, false).await,
            60..70 => self.valid(number, true).await,
            70..80 => {
                let name = "x".repeat(1 + self.random.below(5_000) as usize);
                let answer = self.get("/probe", &format!("target={name}")).await;
                assert_eq!(answer.status, 404);
                let query =
                    self.random.one_of(&["", "target=a&target=b", "target=probes/1&collect[]=nothing"]);
                let status = self.get("/probe", query).await.status;
                assert!([400, 404].contains(&status), "{status}");
            }
            80..92 => {
                let name = self.random.one_of(&FAILING);
                let answer = self.get("/probe", &format!("target={name}")).await;
                assert_eq!(samples(&answer).value("pg_up"), 0.0, "{name}");
            }
            92..96 => assert_eq!(self.get("/targets", "").await.status, 200),
            96..98 => self.end_sessions(),
            _ => {
                // One of them is deleted, until the next time.
                let mut stored: Vec<_> = (0..VALID)
                    .filter(|other| *other != number)
                    .map(|other| valid(&self.databases, &self.path, other))
                    .collect();
                stored.extend(failing(&self.databases, &self.path, &self.refuses));
                self.service.store(stored);
                self.deleted = Some(number);
            }
        }
    }

    fn end_sessions(&self) {
        self.databases[0].admin(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE usename = '{ROLE}' AND datname LIKE 'soak\\_targets\\_%'"
        ));
    }

    async fn measure(&self) -> Figures {
        let (resident_kib, peak_kib, descriptors) = resident_and_descriptors(self.lambda.pid());
        let sessions = open_connections(self.path.port()) as i64;
        Figures { resident_kib, peak_kib, descriptors, sessions }
    }
}

fn valid(databases: &[TestDatabase], path: &Path, number: usize) -> Stored {
    stored(&format!("probes/{number}"), secret_of(&databases[number], path.port(), PASSWORD))
}

fn failing(databases: &[TestDatabase], path: &Path, refuses: &Port) -> [Stored; 3] {
    let [refusing, no_database, password] = FAILING;
    [
        stored(refusing, secret_of(&databases[0], refuses.number(), PASSWORD)),
        stored(no_database, secrets_manager::Answer::text("an API key")),
        stored(password, secret_of(&databases[0], path.port(), "another password")),
    ]
}

fn stored(name: &str, answer: secrets_manager::Answer) -> Stored {
    Stored { name: name.to_owned(), tags: vec![], owner: None, answer }
}

async fn probe(probes: usize, seed: u64) -> Vec<Figures> {
    println!("SOAK_PROBES={probes} SOAK_SEED={seed}");
    let mut world = World::new(seed).await;
    let at_first = world.measure().await;
    let watch = Watch::on(world.path.port());
    for number in 0..VALID {
        world.valid(number, false).await;
    }
    let mut measured = Vec::new();
    for done in 1..=probes {
        world.step().await;
        if done % (probes / 100) == 0 {
            let figures = world.measure().await;
            assert!(figures.sessions <= MAX_CONNECTIONS as i64, "{figures:?} after {done} probes");
            // Connections to Secrets Manager.
            let limit = at_first.descriptors + MAX_CONNECTIONS + 4;
            assert!(figures.descriptors <= limit, "{figures:?} after {done} probes, {at_first:?} before");
            measured.push(figures);
        }
    }
    let most = watch.most.load(Ordering::Relaxed);
    assert!((2..=MAX_CONNECTIONS + 1).contains(&most), "{most} connections at once");
    print_table(&measured);
    println!("{probes} probes, at most {most} connections at once, with MAX_CONNECTIONS={MAX_CONNECTIONS}");
    world.lambda.shut_down().await;
    assert_eq!(open_connections(world.path.port()), 0);
    measured
}

#[tokio::test]
async fn a_hundred_random_probes_leave_nothing_behind() {
    probe(100, 1).await;
}

#[tokio::test]
#[ignore = "takes minutes; `make soak` runs it"]
async fn two_thousand_random_probes_leave_nothing_behind() {
    let probes = variable("SOAK_PROBES").unwrap_or(2_000);
    let measured = probe(probes as usize, variable("SOAK_SEED").unwrap_or_else(clock)).await;
    assert_no_growth(&measured);
}
