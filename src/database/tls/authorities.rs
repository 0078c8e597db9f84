//! The authorities that a verified connection trusts: the platform's and Amazon RDS's in the package, or the ones in a
//! file instead. It reads files. The checks of a certificate are in `tls`.
//!
//! packaging/rds_authorities.py makes the file of Amazon RDS. A line before each certificate names its region, so that a
//! cold start decodes three of them and not a hundred.

use std::io;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};

use crate::connect_options::{Host, RdsAuthorities, RootCertificates, Target};
use crate::database::error::ConnectError;
use crate::file;

/// The remedy if the package lacks the authorities of a region.
const REMEDY: &str = "set PGSSLROOTCERT to AWS's bundle of the region, or build the package again after `make \
    update-rds-authorities`";

/// The authorities to trust.
#[derive(Debug)]
pub(super) struct Trusted {
    pub(super) roots: RootCertStore,
    /// The certificates in `sslrootcert`. A self-signed one among them may be the server's own.
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

impl From<RootCertStore> for Trusted {
    fn from(roots: RootCertStore) -> Self {
        Self { roots, certificates: Vec::new() }
    }
}

/// The authorities that this target trusts, and a hint if none of them has issued the server's certificate. If the host's
/// name has a region that Amazon RDS's file lacks, this is logged. It does not fail: the server may have a certificate of
/// another authority.
pub(super) fn of(target: &Target) -> Result<(Trusted, String), ConnectError> {
    match &target.tls.root_certificates {
        RootCertificates::Platform => Ok((
            platform(RootCertStore::empty())?.into(),
            "none of the platform's authorities has issued the certificate; PGSSLROOTCERT names others"
                .into(),
        )),
        RootCertificates::PlatformAndRds(rds) => {
            let (roots, advice) = of_rds(rds, &target.host);
            Ok((platform(roots)?.into(), advice))
        }
        RootCertificates::File(path) => Ok((
            of_file(path)?,
            format!("none of the authorities in {} has issued the certificate", path.display()),
        )),
    }
}

/// The authorities of a PEM file.
fn of_file(path: &Path) -> Result<Trusted, ConnectError> {
    let mut roots = RootCertStore::empty();
    let mut certificates = Vec::new();
    let problem = |what: String| ConnectError::RootCertificates(format!("{}: {what}", path.display()));
    let text = file::read(path, file::BYTES_MAX).map_err(|error| problem(error.to_string()))?;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| problem(error.to_string()))?;
        roots.add(certificate.clone()).map_err(|error| problem(error.to_string()))?;
        certificates.push(certificate);
    }
    if certificates.is_empty() {
        return Err(problem("no certificate in this file".into()));
    }
    Ok(Trusted { roots, certificates })
}

/// Adds the authorities of the platform.
fn platform(mut store: RootCertStore) -> Result<RootCertStore, ConnectError> {
    let platform = rustls_native_certs::load_native_certs();
    store.add_parsable_certificates(platform.certs);
    if store.is_empty() {
        let reason = platform.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        return Err(ConnectError::RootCertificates(format!("the platform has none{reason}")));
    }
    Ok(store)
}

/// The authorities of Amazon RDS for this host, and what to do about a certificate of another.
fn of_rds(rds: &RdsAuthorities, host: &Host) -> (RootCertStore, String) {
    let mut store = RootCertStore::empty();
    let name = rds.file.display();
    let region = rds.region.as_deref();
    let lacking = match file::read(&rds.file, file::BYTES_MAX)
        .map(|text| Selection::of(&String::from_utf8_lossy(&text), region))
    {
        Ok(Ok(selection)) => {
            store.add_parsable_certificates(selection.certificates);
            let region = region.filter(|_| !selection.has_region);
            region.map(|region| format!("{name} has no authorities of Amazon RDS in {region}"))
        }
        Ok(Err(error)) => Some(format!("{name} cannot be read: {error}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(format!(
            "there is no {name} with the authorities of Amazon RDS{}",
            region.map(|region| format!(" in {region}")).unwrap_or_default()
        )),
        Err(error) => Some(format!("{name} cannot be read: {error}")),
    };
    // Another host may not need these authorities.
    let is_rds = host.rds_region().is_some();
    let others = "none of the platform's authorities has issued the certificate";
    let advice = match (lacking, region) {
        (Some(lacking), _) if is_rds => {
            tracing::warn!("{lacking}: {REMEDY}");
            format!("{others}, and {lacking}: {REMEDY}")
        }
        (None, Some(region)) if is_rds => {
            format!("{others} and none of Amazon RDS in {region}; if AWS has newer ones, {REMEDY}")
        }
        _ => format!("{others}; PGSSLROOTCERT names others"),
    };
    (store, advice)
}

/// The certificates in a file of Amazon RDS's authorities for one region, or for all.
struct Selection {
    certificates: Vec<CertificateDer<'static>>,
    /// Whether any of them is of this region rather than of every one.
    has_region: bool,
}

/// Begins the line above a certificate; the region follows.
const REGION: &str = "# region=";
/// The region of an authority that counts in all.
const EVERYWHERE: &str = "*";
const END: &str = "-----END CERTIFICATE-----";

impl Selection {
    /// A certificate without a line above it counts for every region: a bundle of AWS is such a file too.
    fn of(text: &str, region: Option<&str>) -> Result<Self, pem::Error> {
        let counts = |label: Option<&str>| match (region, label) {
            (Some(region), Some(label)) => label == region || label == EVERYWHERE,
            (None, _) | (_, None) => true,
        };
        let mut chosen = String::new();
        let mut has_region = false;
        let mut label = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix(REGION) {
                label = rest.split_whitespace().next();
            } else if counts(label) {
                chosen.push_str(line);
                chosen.push('\n');
            }
            if line == END {
                has_region |= counts(label) && label != Some(EVERYWHERE);
                label = None;
            }
        }
        let certificates = CertificateDer::pem_slice_iter(chosen.as_bytes()).collect::<Result<_, _>>()?;
        Ok(Self { certificates, has_region })
    }
}
