//! The authorities of Amazon RDS: which count for which host, in the real binary with names that resolve as the
//! test says, and a server that has a certificate for them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Instant;

use pg_lambda_exporter::connect_options::{Host, RdsAuthorities, RootCertificates};
use pg_lambda_exporter::settings::{Settings, Source};

use crate::lambda::{AMPLE, GOOD, Queries, environment, scrape};
use crate::names::Names;
use crate::postgres::{Server, TestDatabase};
use crate::runtime_api::Lambda;

const INSTANCE: &str = "shop.abc.eu-central-1.rds.amazonaws.com";
const PROXY: &str = "shop.proxy-abc.eu-central-1.rds.amazonaws.com";
const ALIAS: &str = "db.shop.example";

#[test]
fn the_region_is_read_from_the_names_of_endpoints() {
    for (name, region) in [
        (INSTANCE, Some("eu-central-1")),
        (PROXY, Some("eu-central-1")),
        ("shop.cluster-ro-abc.us-gov-west-1.rds.amazonaws.com.", Some("us-gov-west-1")),
        ("shop.abc.rds.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
        ("shop.abc.cn-northwest-1.rds.amazonaws.com.cn", Some("cn-northwest-1")),
        (ALIAS, None),
        ("rds.eu-central-1.amazonaws.com", None),
        ("rds.amazonaws.com", None),
        ("shop.abc.eu-central-1.rds.amazonaws.com.example", None),
        ("shop.abc.eu-central-1.redshift.amazonaws.com", None),
        ("192.0.2.1", None),
    ] {
        assert_eq!(Host::Tcp(name.into()).rds_region(), region, "{name}");
    }
    assert_eq!(Host::Socket(INSTANCE.into()).rds_region(), None);
}

/// Whom the target of these variables trusts.
fn trusted(variables: &[(&str, &str)]) -> RootCertificates {
    let variables: BTreeMap<_, _> =
        variables.iter().chain(&[("PGUSER", "me"), ("AUTH", "none")]).copied().collect();
    let settings = Settings::from_env(|name| variables.get(name).map(|&value| value.to_owned()));
    assert_eq!(settings.problems(), []);
    let Ok(Source::Environment(target)) = settings.source else { panic!("{variables:?}") };
    target.tls.root_certificates
}

#[test]
fn the_authorities_are_those_of_the_hosts_region() {
    let rds = |file: &str, region: Option<&str>| {
        RootCertificates::PlatformAndRds(RdsAuthorities {
            file: file.into(),
            region: region.map(str::to_owned),
        })
    };
    let packaged = "/var/task/rds-authorities.pem";
    let lambda = [("LAMBDA_TASK_ROOT", "/var/task"), ("AWS_REGION", "eu-west-1")];
    for (host, expected) in [
        (INSTANCE, rds(packaged, Some("eu-central-1"))),
        (ALIAS, rds(packaged, Some("eu-west-1"))),
        ("192.0.2.1", rds(packaged, Some("eu-west-1"))),
        // Amazon's public authorities, which every platform has.
        (PROXY, RootCertificates::Platform),
        // Where nobody listens in, no file is read.
        ("localhost", RootCertificates::Platform),
        ("127.0.0.1", RootCertificates::Platform),
        ("::1", RootCertificates::Platform),
        ("/var/run/postgresql", RootCertificates::Platform),
    ] {
        assert_eq!(trusted(&[&lambda[..], &[("PGHOST", host)]].concat()), expected, "{host}");
        let url = format!("postgres:///shop?host={host}");
        assert_eq!(trusted(&[&lambda[..], &[("DATABASE_URL", &url)]].concat()), expected, "{url}");
    }
    // Outside a package nobody knows whose a file of that name is.
    assert_eq!(trusted(&[("PGHOST", INSTANCE)]), RootCertificates::Platform);
    // Whoever names authorities means those.
    assert_eq!(trusted(&[("PGHOST", INSTANCE), ("PGSSLROOTCERT", "system")]), RootCertificates::Platform);
    assert_eq!(
        trusted(&[("PGHOST", INSTANCE), ("PGSSLROOTCERT", "/opt/ca.pem")]),
        RootCertificates::File("/opt/ca.pem".into())
    );
}

/// Whether there is a warning of the authorities.
fn warns(log: &str) -> bool {
    log.lines().any(|line| line.contains("WARN") && !line.contains("queries not run"))
}

/// A server that stands for one of Amazon's: it has a certificate for the names above.
struct Rds {
    database: TestDatabase,
    names: Names,
    queries: Queries,
    /// An authority that has issued nothing here.
    stranger: String,
    package: tempfile::TempDir,
}

impl Rds {
    fn start() -> Self {
        let server = Server::private();
        server.stop();
        server.present_certificate_for(&[INSTANCE, PROXY, ALIAS]);
        server.start();
        let mut stranger = rcgen::CertificateParams::new(vec![]).unwrap();
        stranger.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        stranger.distinguished_name.push(rcgen::DnType::CommonName, "stranger");
        let key = rcgen::KeyPair::generate().unwrap();
        Self {
            database: server.database("shop"),
            names: Names::new(INSTANCE, [IpAddr::V4(Ipv4Addr::LOCALHOST)]),
            queries: Queries::new(GOOD),
            stranger: stranger.self_signed(&key).unwrap().pem(),
            package: tempfile::tempdir().unwrap(),
        }
    }

    /// The authority of the server's certificate.
    fn own(&self) -> String {
        std::fs::read_to_string(self.database.server().authority()).unwrap()
    }

    /// The file in the package.
    fn file(&self) -> PathBuf {
        self.package.path().join("rds-authorities.pem")
    }

    /// Writes it: each authority behind a line that names its region, as packaging/rds_authorities.py does.
    fn package(&self, authorities: &[(&str, &str)]) {
        let text: String = authorities
            .iter()
            .map(|(region, pem)| format!("\n# region={region} expires=2061-05-21 subject=Root CA\n{pem}"))
            .collect();
        std::fs::write(self.file(), format!("# Certificate authorities\n{text}")).unwrap();
    }

    /// What one scrape of `host` comes to in an environment with these variables too: `pg_up`, and the log up to
    /// the end of the scrape.
    async fn scrape(&mut self, host: &str, variables: &[(&'static str, String)]) -> (f64, String) {
        self.names.lead(host, [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
        let url = self.database.url().replace("@localhost:", &format!("@{host}:"));
        let (url, _) = url.split_once('?').unwrap();
        let platform = self.package.path().join("platform.pem");
        std::fs::write(&platform, &self.stranger).unwrap();
        let mut environment = environment(&self.queries, url.to_owned());
        environment.push(("LAMBDA_TASK_ROOT", self.package.path().to_str().unwrap().to_owned()));
        environment.push(("SSL_CERT_FILE", platform.to_str().unwrap().to_owned()));
        environment.extend(self.names.environment());
        environment.extend_from_slice(variables);
        let lambda = Lambda::start(environment).await;
        let up = scrape(&lambda).await.value("pg_up");
        let begun = Instant::now();
        // One line tells of the whole scrape, and is the last.
        while !lambda.log().contains("\"message\":\"scrape\"") {
            assert!(begun.elapsed() < AMPLE, "{}", lambda.log());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        (up, lambda.log())
    }
}

/// The words of the log that an operator acts on.
const REMEDY: &str = "set PGSSLROOTCERT to AWS's bundle of the region, or build the package again after `make \
    update-rds-authorities`";
const UNKNOWN: &str = "TLS: invalid peer certificate: UnknownIssuer: none of the platform's authorities has issued \
    the certificate";

#[tokio::test]
async fn a_certificate_of_an_authority_of_the_region_is_trusted() {
    let mut rds = Rds::start();
    let (own, stranger) = (rds.own(), rds.stranger.clone());
    // What is not of this region is not decoded: it would be a failure.
    let garbage = "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n";
    rds.package(&[
        ("af-south-1", garbage),
        ("eu-central-1", &stranger),
        ("eu-central-1", &own),
        ("us-west-2", garbage),
    ]);
    let elsewhere = [("AWS_REGION", "us-west-2".to_owned())];
    let (up, log) = rds.scrape(INSTANCE, &elsewhere).await;
    assert_eq!((up, warns(&log), log.contains("ERROR")), (1.0, false, false), "{log}");

    // The name of the server is verified as well.
    let (up, log) = rds.scrape(&INSTANCE.replace("shop", "stock"), &[]).await;
    assert_eq!(up, 0.0, "{log}");
    assert!(log.contains("certificate not valid for name") && !log.contains("UnknownIssuer"), "{log}");

    // An authority of every region.
    rds.package(&[("*", &own), ("eu-central-1", &stranger)]);
    let (up, log) = rds.scrape(INSTANCE, &[]).await;
    assert_eq!((up, warns(&log)), (1.0, false), "{log}");

    // AWS's own file, put there as it is.
    std::fs::write(rds.file(), format!("{stranger}{own}")).unwrap();
    let (up, log) = rds.scrape(INSTANCE, &[]).await;
    assert_eq!((up, warns(&log)), (1.0, false), "{log}");
}

#[tokio::test]
async fn a_certificate_of_an_authority_of_another_region_is_refused() {
    let mut rds = Rds::start();
    let (own, stranger) = (rds.own(), rds.stranger.clone());
    rds.package(&[("eu-central-1", &stranger), ("eu-west-1", &own)]);
    let (up, log) = rds.scrape(INSTANCE, &[("AWS_REGION", "eu-west-1".into())]).await;
    assert_eq!(up, 0.0, "{log}");
    let reason = format!("{UNKNOWN} and none of Amazon RDS in eu-central-1; if AWS has newer ones, {REMEDY}");
    assert!(log.contains(&reason) && !warns(&log), "{log}");

    // RDS Proxy has certificates of public authorities.
    rds.package(&[("eu-central-1", &own)]);
    let (up, log) = rds.scrape(PROXY, &[]).await;
    assert_eq!(up, 0.0, "{log}");
    assert!(log.contains(&format!("{UNKNOWN}; PGSSLROOTCERT names others")) && !warns(&log), "{log}");
    assert_eq!(rds.scrape(INSTANCE, &[]).await.0, 1.0);

    // Who asks for the platform's authorities gets those alone.
    let (up, log) = rds.scrape(INSTANCE, &[("PGSSLROOTCERT", "system".into())]).await;
    assert_eq!(up, 0.0, "{log}");
    assert!(log.contains(UNKNOWN), "{log}");
}

#[tokio::test]
async fn a_region_that_the_package_lacks_is_logged_with_what_to_do() {
    let mut rds = Rds::start();
    let (own, stranger) = (rds.own(), rds.stranger.clone());
    let file = rds.file().display().to_string();

    rds.package(&[("*", &stranger), ("eu-west-1", &own)]);
    let lacking = format!("{file} has no authorities of Amazon RDS in eu-central-1: {REMEDY}");
    let (up, log) = rds.scrape(INSTANCE, &[]).await;
    assert_eq!(up, 0.0, "{log}");
    assert!(log.contains(&format!("\"{lacking}\"")), "{log}");
    assert!(log.contains(&format!("{UNKNOWN}, and {lacking}")), "{log}");

    std::fs::remove_file(rds.file()).unwrap();
    let (up, log) = rds.scrape(INSTANCE, &[]).await;
    let absent = format!("there is no {file} with the authorities of Amazon RDS in eu-central-1: {REMEDY}");
    assert_eq!(up, 0.0, "{log}");
    assert!(log.contains(&format!("\"{absent}\"")), "{log}");

    std::fs::write(rds.file(), "-----BEGIN CERTIFICATE-----\n?\n").unwrap();
    let (up, log) = rds.scrape(INSTANCE, &[]).await;
    assert_eq!(up, 0.0, "{log}");
    assert!(log.contains(&format!("\"{file} cannot be read: ")), "{log}");

    // The server's certificate may still be of an authority that the platform has, or that a file names.
    let authority = rds.database.server().authority().to_str().unwrap().to_owned();
    let (up, log) = rds.scrape(INSTANCE, &[("SSL_CERT_FILE", authority.clone())]).await;
    assert_eq!((up, warns(&log)), (1.0, true), "{log}");
    let (up, log) = rds.scrape(INSTANCE, &[("PGSSLROOTCERT", authority)]).await;
    assert_eq!((up, warns(&log)), (1.0, false), "{log}");
}

#[tokio::test]
async fn a_name_that_says_no_region_has_the_functions_or_all() {
    let mut rds = Rds::start();
    let (own, stranger) = (rds.own(), rds.stranger.clone());
    rds.package(&[("eu-central-1", &own), ("eu-west-1", &stranger)]);
    for (region, expected) in [(Some("eu-central-1"), 1.0), (Some("eu-west-1"), 0.0), (None, 1.0)] {
        let variables: Vec<_> = region.map(|region| ("AWS_REGION", region.to_owned())).into_iter().collect();
        let (up, log) = rds.scrape(ALIAS, &variables).await;
        assert_eq!((up, warns(&log)), (expected, false), "{region:?} {log}");
    }
}
