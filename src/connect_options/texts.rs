//! How the text of each part is read.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::parts::Roots;
use super::{ChannelBinding, Host, SessionAttributes, SslMode};

pub(super) const NO_HOST: &str = "not a host name, an address or the folder of a Unix socket";
pub(super) const SEVERAL_HOSTS: &str = "several hosts are not supported; name one";

/// A host, and the port behind it: the endpoint that Terraform and CloudFormation give for an instance has one.
pub(super) fn host(text: &str) -> Result<(Host, Option<u16>), &'static str> {
    if text.contains(',') {
        return Err(SEVERAL_HOSTS);
    }
    if text.starts_with('/') {
        return Ok((Host::Socket(text.into()), None));
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || "@/?#[]".contains(c)) {
        return Err(NO_HOST);
    }
    // An IPv6 address may name its zone: fe80::1%eth0.
    let address = text.split('%').next().unwrap_or(text);
    match text.split_once(':') {
        Some((host, behind)) if address.parse::<Ipv6Addr>().is_err() => match port(behind) {
            Ok(port) if !host.is_empty() => Ok((Host::Tcp(host.to_owned()), Some(port))),
            _ => Err(NO_HOST),
        },
        _ => Ok((Host::Tcp(text.to_owned()), None)),
    }
}

pub(super) fn port(text: &str) -> Result<u16, &'static str> {
    match text.trim().parse() {
        Ok(0) | Err(_) => Err("must be a number from 1 to 65535"),
        Ok(port) => Ok(port),
    }
}

pub(super) fn ssl_mode(text: &str) -> Result<SslMode, &'static str> {
    match text {
        "disable" => Ok(SslMode::Disable),
        "allow" | "prefer" => Ok(SslMode::Prefer),
        "require" | NO_VERIFY => Ok(SslMode::Require),
        "verify-ca" => Ok(SslMode::VerifyCa),
        "verify-full" => Ok(SslMode::VerifyFull),
        _ => Err("must be disable, allow, prefer, require, verify-ca or verify-full"),
    }
}

/// node-postgres's `sslmode` for TLS without verification.
pub(super) const NO_VERIFY: &str = "no-verify";

pub(super) fn roots(text: &str) -> Roots {
    if text == "system" { Roots::Platform } else { Roots::File(text.into()) }
}

pub(super) fn channel_binding(text: &str) -> Result<ChannelBinding, &'static str> {
    match text {
        "disable" => Ok(ChannelBinding::Disable),
        "prefer" => Ok(ChannelBinding::Prefer),
        "require" => Ok(ChannelBinding::Require),
        _ => Err("must be disable, prefer or require"),
    }
}

pub(super) fn connect_timeout(text: &str) -> Result<Duration, &'static str> {
    match text.trim().parse::<i64>() {
        Ok(seconds) => {
            Ok(u64::try_from(seconds).ok().filter(|&s| s > 0).map_or(Duration::MAX, Duration::from_secs))
        }
        Err(_) => Err("must be a whole number of seconds; 0 means no limit"),
    }
}

pub(super) fn session_attributes(text: &str) -> Result<SessionAttributes, &'static str> {
    match text {
        "any" => Ok(SessionAttributes::Any),
        "read-write" => Ok(SessionAttributes::ReadWrite),
        "read-only" => Ok(SessionAttributes::ReadOnly),
        "primary" => Ok(SessionAttributes::Primary),
        "standby" => Ok(SessionAttributes::Standby),
        "prefer-standby" => Ok(SessionAttributes::PreferStandby),
        _ => Err("must be any, read-write, read-only, primary, standby or prefer-standby"),
    }
}

pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.parse::<IpAddr>().map(|address| address.to_canonical());
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}
