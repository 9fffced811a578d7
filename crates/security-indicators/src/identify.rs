//! Which indicator a whole text is.

use security_core::Limits;

use crate::{Indicator, IocType, domain, file, hash, indicator::canonical, ip, refang, registry_key, url};

/// The kind of indicator a whole text is, after trimming and refanging.
///
/// The order: URL (with a scheme), registry key, Windows path, e-mail address, CVE, network, address with a port,
/// address, digests by their length, JA4, TLSH, ssdeep, hardware address, autonomous system, ATT&CK technique,
/// Ethereum, Bitcoin, Monero, domain. A domain needs a suffix that exists. Of the endings that files have
/// too, `.rs`, `.so`, `.ps`, `.md`, `.sh`, `.bar`, `.mov` and so on count as suffixes; a name of two labels below `.py`,
/// `.zip`, `.java`, `.map`, `.data`, `.pid`, `.target`, and a name that everybody knows as a file's (`readme.md`,
/// `main.rs`, `install.sh`, `libssl.so`) are none unless they were defanged. With a port a domain is the domain, with a path it is a URL without
/// a scheme, read as `http://`. A 32-digit hash is an MD5; `imphash` and `ja3` must be said.
pub fn identify(text: &str) -> Option<IocType> {
    whole(text).map(|indicator| indicator.kind())
}

/// The indicator a whole text is.
pub(crate) fn whole(text: &str) -> Option<Indicator> {
    let trimmed = text.trim();
    if trimmed.is_empty() || trimmed.len() > Limits::DEFAULT.max_value {
        return None;
    }
    if let Some(value) = url::at_a_look(trimmed) {
        return Some(Indicator::of_canonical(IocType::Url, value));
    }
    if let Some((hive, _)) = trimmed.split_once('\\')
        && registry_key::hive(hive.trim_end_matches(':')).is_some()
    {
        return of(IocType::RegistryKey, trimmed);
    }
    if file::starts_as_a_windows_path(trimmed) {
        return of(IocType::FilePath, trimmed);
    }
    let armed = refang(trimmed);
    let armed = armed.trim();
    if armed.contains("://") {
        return if armed.contains(char::is_whitespace) { None } else { of(IocType::Url, armed) };
    }
    if armed.contains('@') {
        return of(IocType::Email, armed);
    }
    if let Some(kind) = hash::kind_of(armed) {
        return of(kind, armed);
    }
    let first = armed.as_bytes().first().copied().unwrap_or_default();
    let by_shape = match first {
        b'0' => of(IocType::Eth, armed),
        b'C' | b'c' => of(IocType::Cve, armed),
        b'A' | b'a' if !armed[1..].starts_with(|c: char| c.is_ascii_digit()) => of(IocType::Asn, armed),
        b'T' | b't' => of(IocType::AttackTechnique, armed).or_else(|| of(IocType::Tlsh, armed)),
        _ => None,
    };
    let network = || if armed.contains('/') { of(IocType::Cidr, armed) } else { None };
    by_shape
        .or_else(network)
        .or_else(|| of(IocType::IpPort, armed))
        .or_else(|| of(IocType::Ip, armed))
        .or_else(|| of(IocType::Ja4, armed))
        .or_else(|| of(IocType::Ssdeep, trimmed))
        .or_else(|| if armed.len() == 12 { None } else { of(IocType::Mac, armed) })
        .or_else(|| of(IocType::Btc, armed))
        .or_else(|| of(IocType::Xmr, armed))
        .or_else(|| if armed.len() < 43 { None } else { of(IocType::Sol, armed) })
        .or_else(|| a_domain(armed, armed != trimmed))
}

fn of(kind: IocType, text: &str) -> Option<Indicator> {
    canonical(kind, text).ok().map(|value| Indicator::of_canonical(kind, value))
}

fn a_domain(text: &str, defanged: bool) -> Option<Indicator> {
    let (authority, has_path) = match text.split_once(['/', '?']) {
        Some((authority, _)) => (authority, true),
        None => (text, false),
    };
    let host = match authority.split_once(':') {
        Some((host, port)) => ip::parse_port(port).ok().map(|_| host)?,
        None => authority,
    };
    if has_path && ip::parse_address(host).is_ok() {
        return of(IocType::Url, text);
    }
    let name = domain::canonical(host).ok()?;
    if !domain::is_public(&name) || (!defanged && file::is_rather_a_file(&name)) {
        return None;
    }
    if !has_path {
        return Some(Indicator::of_canonical(IocType::Domain, name));
    }
    if text.contains(char::is_whitespace) { None } else { of(IocType::Url, text) }
}
