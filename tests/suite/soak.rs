//! A long life of one execution environment among random faults: it recovers from each, and nothing of it grows.
//!
//! The real binary with its real parts: a PostgreSQL of its own behind a network path that can be cut, Secrets Manager
//! and Lambda. What is drawn comes from a seed, so that a run can be repeated.

mod targets;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::events::{Event, Kind};
use crate::lambda::{AMPLE, Queries, SECRET_KEY};
use crate::path::{Black, Path};
use crate::postgres::{PASSWORD, ROLE, Server, TestDatabase};
use crate::runtime_api::{Answer, Lambda};
use crate::samples::Samples;
use crate::secrets_manager::{self, SecretsManagerServer};

const TOKEN: &str = "soak-4Tg8w.z_1~P+e/f==";
const WRONG_TOKEN: &str = "soak-wrong-7731";

/// Fits beside the queries, but what the fault `series` gives does not.
const MAX_SERIES: usize = 100;

/// The middle one does what the table `fault` says.
const QUERIES: &str = "
first:
  query: SELECT g AS l, g AS v FROM generate_series(1, 20) g
  metrics: [{l: {usage: LABEL}}, {v: {usage: GAUGE}}]
faulty:
  query: SELECT l, v FROM fault()
  timeout: 250ms
  metrics: [{l: {usage: LABEL}}, {v: {usage: GAUGE}}]
last:
  query: SELECT g AS l, g AS v FROM generate_series(1, 20) g
  metrics: [{l: {usage: LABEL}}, {v: {usage: GAUGE}}]
";

const FAULT: &str = "
CREATE TABLE fault (kind text NOT NULL);
INSERT INTO fault VALUES ('none');
CREATE FUNCTION fault() RETURNS TABLE (l text, v bigint) LANGUAGE plpgsql AS $$
DECLARE
  kind text := (SELECT f.kind FROM fault f);
BEGIN
  CASE kind
    WHEN 'kill' THEN PERFORM pg_terminate_backend(pg_backend_pid());
    WHEN 'sleep' THEN PERFORM pg_sleep(60);
    WHEN 'error' THEN RAISE EXCEPTION 'broken';
    WHEN 'series' THEN RETURN QUERY SELECT g::text, g FROM generate_series(1::bigint, 200) g;
    WHEN 'label' THEN RETURN QUERY SELECT repeat('x', 20000), 2::bigint;
    WHEN 'large' THEN RETURN QUERY SELECT repeat('x', 1000), g FROM generate_series(1::bigint, 20000) g;
    WHEN 'notices' THEN FOR i IN 1..500 LOOP RAISE NOTICE 'flood'; END LOOP;
    ELSE NULL;
  END CASE;
  RETURN QUERY SELECT 'one', 1::bigint;
END $$;
";

const SESSIONS: &str = "pg_stat_activity
    WHERE application_name LIKE 'pg-lambda-exporter/%' AND datname = current_database()";

/// Something that goes wrong, and later stops to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Fault {
    /// The middle query does something.
    Query(&'static str),
    /// The server ends the function's sessions.
    SessionsEnd,
    /// The server is started again between two scrapes.
    ServerRestarts,
    /// The server is away for some scrapes.
    ServerIsAway,
    /// The secret cannot be had, but is not needed either.
    SecretFails(Secret),
    /// The secret cannot be had while the password is another one and the sessions have ended.
    SecretFailsInRotation(Secret),
    /// The password is another one, and the secret says so.
    Rotation,
    /// The secret says so only some scrapes later.
    LateRotation,
    /// All connections are cut.
    PathIsCut,
    /// What is sent is lost, and nobody is told.
    PathIsBlack,
    /// Somebody has no token, or a wrong one.
    WrongAuthorization,
    /// A request that is none for metrics.
    OddRequest,
    /// An event that is no request.
    MalformedEvent,
    /// Too little time.
    ShortDeadline,
}

/// How Secrets Manager fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Secret {
    Denied,
    Throttled,
    Garbage,
    Half,
    Reset,
    Silent,
}

impl Secret {
    fn answer(self) -> secrets_manager::Answer {
        use secrets_manager::Answer;
        match self {
            Self::Denied => Answer::access_denied(),
            Self::Throttled => Answer::throttled(),
            Self::Garbage => Answer::garbage(),
            Self::Half => Answer::Half,
            Self::Reset => Answer::Reset,
            Self::Silent => Answer::Silence,
        }
    }
}

impl Fault {
    /// Each with how often it is drawn: what costs seconds is rare.
    const ALL: &[(Self, u64)] = &[
        (Self::Query("kill"), 60),
        (Self::Query("sleep"), 10),
        (Self::Query("error"), 60),
        (Self::Query("series"), 60),
        (Self::Query("label"), 60),
        (Self::Query("large"), 10),
        (Self::Query("notices"), 30),
        (Self::SessionsEnd, 100),
        (Self::ServerRestarts, 4),
        (Self::ServerIsAway, 4),
        (Self::SecretFails(Secret::Denied), 20),
        (Self::SecretFails(Secret::Garbage), 20),
        (Self::SecretFailsInRotation(Secret::Denied), 20),
        (Self::SecretFailsInRotation(Secret::Throttled), 2),
        (Self::SecretFailsInRotation(Secret::Garbage), 20),
        (Self::SecretFailsInRotation(Secret::Half), 2),
        (Self::SecretFailsInRotation(Secret::Reset), 2),
        (Self::SecretFailsInRotation(Secret::Silent), 1),
        (Self::Rotation, 60),
        (Self::LateRotation, 40),
        (Self::PathIsCut, 80),
        (Self::PathIsBlack, 4),
        (Self::WrongAuthorization, 60),
        (Self::OddRequest, 60),
        (Self::MalformedEvent, 60),
        (Self::ShortDeadline, 30),
    ];

    fn draw(random: &mut Random) -> Self {
        let mut place = random.below(Self::ALL.iter().map(|(_, weight)| weight).sum());
        for (fault, weight) in Self::ALL {
            match place.checked_sub(*weight) {
                Some(left) => place = left,
                None => return *fault,
            }
        }
        unreachable!("the place is below the sum of the weights")
    }
}

/// Numbers from a seed (Marsaglia, "Xorshift RNGs"; the multiplication is Vigna's).
struct Random(u64);

impl Random {
    fn of_seed(seed: u64) -> Self {
        // The state may not be 0, and small seeds shall not give small numbers.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// The environment and all that is around it.
struct World {
    random: Random,
    database: TestDatabase,
    admin: tokio_postgres::Client,
    path: Path,
    service: SecretsManagerServer,
    lambda: Lambda,
    password: String,
    rotations: u64,
    invocations: usize,
    /// How often each fault came.
    faults: HashMap<Fault, usize>,
    /// How many of them were over in the first scrape.
    recovered_at_once: usize,
    longest: Duration,
    _queries: Queries,
}

impl World {
    async fn new(seed: u64) -> Self {
        let database = Server::private().database("soak");
        database.admin(FAULT);
        database.admin(&format!("GRANT SELECT ON fault TO {ROLE}"));
        let path = Path::to(database.server().port());
        let service = SecretsManagerServer::start(secret(&database, path.port(), PASSWORD));
        let queries = Queries::new(QUERIES);
        let lambda = Lambda::start([
            ("QUERIES_FILE", queries.path()),
            ("DB_SECRET_ID", "exporter/db".into()),
            ("AUTH_SECRET_ID", "exporter/scrape".into()),
            // Fetched as often as can be.
            ("SECRET_MAX_AGE", "0s".into()),
            ("MAX_SERIES", MAX_SERIES.to_string()),
            ("PGSSLROOTCERT", database.server().authority().to_str().unwrap().into()),
            ("PGSSLMODE", "verify-full".into()),
            ("AWS_ENDPOINT_URL", service.url()),
            ("AWS_REGION", "eu-central-1".into()),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE".into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.into()),
            // A result of many megabytes would make glibc keep as much from then on, and a leak would fill that first
            // (mallopt(3), "M_MMAP_THRESHOLD").
            ("MALLOC_MMAP_THRESHOLD_", (128 << 10).to_string()),
        ])
        .await;
        lambda.initialised().await;
        Self {
            random: Random::of_seed(seed),
            admin: database.session().await,
            database,
            path,
            service,
            lambda,
            password: PASSWORD.to_owned(),
            rotations: 0,
            invocations: 0,
            faults: HashMap::new(),
            recovered_at_once: 0,
            longest: Duration::ZERO,
            _queries: queries,
        }
    }

    /// A fault, the scrapes that meet it, and what must be back when it is over.
    async fn meet(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
        let is_frozen = self.random.below(3) == 0;
        if is_frozen {
            self.lambda.freeze();
        }
        self.bring(fault).await;
        if is_frozen {
            self.lambda.thaw();
        }
        for _ in 0..self.random.below(3) {
            self.scrape_in(fault).await;
        }
        self.lift(fault).await;
        let first = self.scrape(5.0).await;
        if is_complete(&first) {
            self.recovered_at_once += 1;
            return;
        }
        let second = self.scrape(5.0).await;
        assert!(
            is_complete(&second),
            "not back after {fault:?} and {} invocations: {}\n{}\n{}",
            self.invocations,
            first.text(),
            second.text(),
            self.end_of_log()
        );
    }

    async fn bring(&mut self, fault: Fault) {
        match fault {
            Fault::Query(kind) => self.run(&format!("UPDATE fault SET kind = '{kind}'")).await,
            Fault::SessionsEnd => self.end_sessions().await,
            Fault::ServerRestarts => {
                self.database.server().stop();
                self.start_server().await;
            }
            Fault::ServerIsAway => self.database.server().stop(),
            Fault::SecretFails(secret) => self.service.answer(secret.answer()),
            Fault::SecretFailsInRotation(secret) => {
                self.service.answer(secret.answer());
                self.rotate().await;
                self.end_sessions().await;
            }
            Fault::Rotation => {
                self.rotate().await;
                self.tell_secret();
                if self.random.below(2) == 0 {
                    self.end_sessions().await;
                }
            }
            Fault::LateRotation => {
                self.rotate().await;
                self.end_sessions().await;
            }
            Fault::PathIsCut => self.path.is_cut(),
            Fault::PathIsBlack => self.path.goes_black(Black::All),
            Fault::WrongAuthorization | Fault::OddRequest | Fault::MalformedEvent | Fault::ShortDeadline => {}
        }
    }

    async fn lift(&mut self, fault: Fault) {
        match fault {
            Fault::Query(_) => self.run("UPDATE fault SET kind = 'none'").await,
            Fault::ServerIsAway => self.start_server().await,
            Fault::SecretFails(_) | Fault::SecretFailsInRotation(_) | Fault::LateRotation => {
                self.tell_secret();
            }
            Fault::PathIsBlack => self.path.is_back(),
            _ => {}
        }
    }

    /// One invocation while the fault lasts, and what must hold then.
    async fn scrape_in(&mut self, fault: Fault) {
        match fault {
            Fault::Query(kind) => {
                let answer = self.scrape(5.0).await;
                let samples = samples(&answer);
                let given = ["first_v", "faulty_v", "last_v"].map(|name| samples.of(name).len());
                let expected = match kind {
                    "notices" => [20, 1, 20],
                    // The row with the long label is dropped, and nothing else.
                    "label" => [20, 1, 20],
                    _ => [20, 0, 20],
                };
                assert_eq!(given, expected, "{kind}: {}\n{}", answer.text(), self.end_of_log());
                assert_eq!(samples.value("pg_up"), 1.0, "{kind}");
            }
            Fault::SecretFails(_) | Fault::SessionsEnd | Fault::ServerRestarts | Fault::Rotation => {
                let answer = self.scrape(5.0).await;
                assert!(is_complete(&answer), "{fault:?}: {}\n{}", answer.text(), self.end_of_log());
            }
            Fault::ServerIsAway | Fault::SecretFailsInRotation(_) | Fault::LateRotation => {
                // A service that is silent takes its time twice: for who may scrape, and for the password.
                let seconds = if fault == Fault::SecretFailsInRotation(Secret::Silent) { 6.0 } else { 5.0 };
                let answer = self.scrape(seconds).await;
                assert_eq!(samples(&answer).value("pg_up"), 0.0, "{fault:?}: {}", answer.text());
            }
            Fault::PathIsCut | Fault::PathIsBlack => {
                let answer = self.scrape(2.0).await;
                samples(&answer).value("pg_up");
            }
            Fault::ShortDeadline => {
                let seconds = self.random.one_of(&[0.6, 0.8, 1.0]);
                let answer = self.scrape(seconds).await;
                samples(&answer).value("pg_up");
            }
            Fault::WrongAuthorization => {
                let wrong = format!("Bearer {WRONG_TOKEN}{}", "x".repeat(self.random.below(5000) as usize));
                let basic = "Basic bm9ib2R5OndyaXRlcy10aGlz";
                let header =
                    self.random.one_of(&[None, Some(wrong.as_str()), Some(basic), Some("Bearer \u{e4}")]);
                let event = self.event().header("authorization", header);
                assert_eq!(self.invoke(event, 5.0).await.status, 401);
            }
            Fault::OddRequest => {
                let kind = self.random.one_of(&Kind::ALL);
                let long = format!("collect[]={}", "x".repeat(10_000));
                let (event, status) = match self.random.below(5) {
                    0 => (Event::get(kind, "/nothing/here"), 404),
                    1 => (Event::recorded(kind).method("DELETE"), 405),
                    2 => (Event::recorded(kind).query("collect[]=unknown"), 400),
                    3 => (Event::recorded(kind).query(&long), 400),
                    _ => (Event::get(kind, "/healthz"), 200),
                };
                assert_eq!(
                    self.invoke(event.header("authorization", Some(&bearer())), 5.0).await.status,
                    status
                );
            }
            Fault::MalformedEvent => {
                let event = self.random.one_of(&["{}", "[]", "null", "7", r#"{"httpMethod": "GET"}"#]);
                self.invocations += 1;
                let error = self.lambda.invoke_in_vain(serde_json::from_str(event).unwrap(), AMPLE).await;
                assert!(error.took < Duration::from_secs(5), "{:?}: {}", error.took, error.json);
            }
        }
    }

    /// A scrape of some kind, in some format.
    fn event(&mut self) -> Event {
        let event = Event::recorded(self.random.one_of(&Kind::ALL));
        let event = event.header("accept", self.random.one_of(&[None, Some("application/openmetrics-text")]));
        event.header("accept-encoding", self.random.one_of(&[None, Some("gzip")]))
    }

    async fn scrape(&mut self, seconds: f64) -> Answer {
        let event = self.event().header("authorization", Some(&bearer()));
        self.invoke(event, seconds).await
    }

    /// Every answer is there before Prometheus gives up.
    async fn invoke(&mut self, event: Event, seconds: f64) -> Answer {
        self.invocations += 1;
        let event = event.header("x-prometheus-scrape-timeout-seconds", Some(&seconds.to_string()));
        let answer = self.lambda.invoke(event.json(), AMPLE).await;
        assert!(
            answer.took.as_secs_f64() < seconds,
            "{:?} of {seconds} s: {}\n{}",
            answer.took,
            answer.text(),
            self.end_of_log()
        );
        self.longest = self.longest.max(answer.took);
        answer
    }

    async fn run(&self, sql: &str) {
        self.admin.batch_execute(sql).await.unwrap();
    }

    async fn end_sessions(&self) {
        self.run(&format!("SELECT pg_terminate_backend(pid, 10000) FROM {SESSIONS}")).await;
    }

    async fn start_server(&mut self) {
        self.database.server().start();
        self.admin = self.database.session().await;
    }

    async fn rotate(&mut self) {
        self.rotations += 1;
        self.password = format!("rotated-{}-times", self.rotations);
        self.run(&format!("ALTER ROLE {ROLE} PASSWORD '{}'", self.password)).await;
    }

    fn tell_secret(&self) {
        self.service.answer(secret(&self.database, self.path.port(), &self.password));
    }

    fn end_of_log(&self) -> String {
        let log = self.lambda.log();
        let lines: Vec<_> = log.lines().rev().take(12).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// What the process takes, once what the last invocation left behind has ended.
    async fn measure(&self, descriptors_at_most: usize) -> Figures {
        let begun = Instant::now();
        loop {
            let figures = self.figures().await;
            if figures.sessions == 1 && figures.descriptors <= descriptors_at_most {
                return figures;
            }
            let limit = descriptors_at_most;
            assert!(
                begun.elapsed() < AMPLE,
                "{figures:?} after {} invocations, not one session and {limit} descriptors\n{}",
                self.invocations,
                self.end_of_log()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn figures(&self) -> Figures {
        let (resident_kib, peak_kib, descriptors) = resident_and_descriptors(self.lambda.pid());
        let sessions = self.admin.query_one(&format!("SELECT count(*) FROM {SESSIONS}"), &[]).await.unwrap();
        Figures { resident_kib, peak_kib, descriptors, sessions: sessions.get(0) }
    }
}

/// What a process takes: its memory and the peak of that in KiB, and its descriptors.
fn resident_and_descriptors(pid: u32) -> (u64, u64, usize) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    (kib("VmRSS:"), kib("VmHWM:"), fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count())
}

#[derive(Debug, Clone, Copy)]
struct Figures {
    resident_kib: u64,
    peak_kib: u64,
    descriptors: usize,
    sessions: i64,
}

/// One secret for both: the database reads what it knows, and who may scrape is its `bearer_token`.
fn secret(database: &TestDatabase, port: u16, password: &str) -> secrets_manager::Answer {
    let secret = json!({
        "engine": "postgres", "host": "localhost", "port": port, "username": ROLE, "password": password,
        "dbname": database.name(), "bearer_token": TOKEN,
    });
    secrets_manager::Answer::text(&secret.to_string())
}

fn bearer() -> String {
    format!("Bearer {TOKEN}")
}

fn samples(answer: &Answer) -> Samples {
    assert_eq!(answer.status, 200, "{}", answer.text());
    Samples::parse(&answer.text())
}

fn is_complete(answer: &Answer) -> bool {
    let samples = samples(answer);
    let given = ["first_v", "faulty_v", "last_v"].map(|name| samples.of(name).len());
    let successes = samples.of("pg_exporter_query_success");
    samples.value("pg_up") == 1.0
        && samples.value("pg_exporter_last_scrape_error") == 0.0
        && given == [20, 1, 20]
        && successes.len() == 3
        && successes.iter().all(|(_, success)| *success == 1.0)
}

/// Runs so many invocations among faults, and some before in which each of `first` comes once. Gives what was measured
/// at each hundredth.
async fn soak(invocations: usize, seed: u64, first: &[Fault]) -> Vec<Figures> {
    println!("SOAK_INVOCATIONS={invocations} SOAK_SEED={seed}");
    let begun = Instant::now();
    let mut world = World::new(seed).await;
    assert!(is_complete(&world.scrape(5.0).await), "{}", world.end_of_log());
    let at_first = world.measure(usize::MAX).await;
    for fault in first {
        world.meet(*fault).await;
    }
    let interval = (invocations / 100).max(1);
    let mut measured = Vec::new();
    let (before, mut next) = (world.invocations, interval);
    while measured.len() < invocations / interval {
        let fault = Fault::draw(&mut world.random);
        world.meet(fault).await;
        // Nothing is wrong now.
        for _ in 0..world.random.below(4) {
            let answer = world.scrape(5.0).await;
            assert!(
                is_complete(&answer),
                "after {fault:?} and {} invocations: {}\n{}",
                world.invocations,
                answer.text(),
                world.end_of_log()
            );
        }
        // A fault may take more invocations than an interval has.
        while measured.len() < invocations / interval && world.invocations - before >= next {
            next += interval;
            measured.push(world.measure(at_first.descriptors).await);
        }
    }
    print_table(&measured);
    let faults: usize = world.faults.values().sum();
    println!(
        "{} invocations, {faults} faults, {} of them over in the first scrape; longest answer {:.2} s; {:.0} s",
        world.invocations,
        world.recovered_at_once,
        world.longest.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    );
    measured
}

fn print_table(measured: &[Figures]) {
    let mut table = String::from("tenth  resident KiB  peak KiB  descriptors  sessions\n");
    for (number, part) in tenths(measured).enumerate() {
        let last = part[part.len() - 1];
        let (resident, peak) = (median_resident_kib(part), last.peak_kib);
        let most = part.iter().map(|figures| figures.descriptors).max().unwrap();
        writeln!(table, "{:>5}  {resident:>12}  {peak:>8}  {most:>11}  {:>8}", number + 1, last.sessions)
            .unwrap();
    }
    print!("{table}");
}

/// The memory of the last tenth is that of the first.
fn assert_no_growth(measured: &[Figures]) {
    /// What allocation may do by chance. A leak of 200 bytes in each invocation is more.
    const NOISE_KIB: u64 = 1024;
    let first = tenths(measured).next().map(median_resident_kib).unwrap();
    let last = tenths(measured).next_back().map(median_resident_kib).unwrap();
    assert!(last <= first + NOISE_KIB, "{first} KiB have become {last} KiB");
}

fn tenths(measured: &[Figures]) -> impl DoubleEndedIterator<Item = &[Figures]> {
    measured.chunks_exact(measured.len() / 10)
}

fn median_resident_kib(of: &[Figures]) -> u64 {
    let mut resident: Vec<_> = of.iter().map(|figures| figures.resident_kib).collect();
    resident.sort_unstable();
    resident[resident.len() / 2]
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// A seed that is another one each time.
fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Descriptors, sessions, deadlines and what is back when: memory takes more invocations to tell.
#[tokio::test]
async fn a_hundred_invocations_among_faults_leave_nothing_behind() {
    soak(100, 1, &[]).await;
}

#[tokio::test]
#[ignore = "takes minutes; `make soak` runs it"]
async fn ten_thousand_invocations_among_faults_leave_nothing_behind() {
    let invocations = variable("SOAK_INVOCATIONS").unwrap_or(10_000);
    // Each once, so that what is allocated at the first time is there before anything is measured.
    let each: Vec<_> = Fault::ALL.iter().map(|(fault, _)| *fault).collect();
    let measured = soak(invocations as usize, variable("SOAK_SEED").unwrap_or_else(clock), &each).await;
    assert_no_growth(&measured);
}
