//! URLs as parameters that lead inside: loopback, private and metadata addresses in every spelling.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::rules;

/// What a value that is a URL leads to; `None` for public hosts and for what is no URL.
pub(super) fn target(text: &[u8]) -> Option<&'static rules::Rule> {
    let text = text.trim_ascii();
    let text = text.strip_prefix(b"url:").unwrap_or(text);
    // `url=http://…`: an address that a parameter within the value has.
    let scheme = text.iter().take(48).position(|byte| *byte == b':').unwrap_or(0);
    let text = match memchr::memrchr(b'=', &text[..scheme]) {
        Some(equals) if !text[..equals].contains(&b' ') => &text[equals + 1..],
        _ => text,
    };
    let colon = text.iter().take(16).position(|byte| *byte == b':');
    let (scheme, rest) = match colon {
        _ if text.starts_with(b"//") => (&b"http"[..], text),
        Some(at) => (&text[..at], &text[at + 1..]),
        None => return None,
    };
    if matches!(scheme, b"unix" | b"http+unix")
        && (rest.starts_with(b"//") || super::cursor::has(&rest[..rest.len().min(256)], b"|http"))
    {
        return Some(&rules::SSRF_SCHEME);
    }
    if matches!(scheme, b"gopher" | b"dict" | b"tftp" | b"netdoc" | b"jar" | b"ldaps" | b"ldap" | b"ldapi")
        && (rest.starts_with(b"/") || rest.starts_with(b"http") || rest.starts_with(b"file:"))
        && !rest.starts_with(b"// ")
    {
        return Some(&rules::SSRF_SCHEME);
    }
    if scheme == b"file" && rest.starts_with(b"/") {
        return Some(&rules::SSRF_SCHEME);
    }
    if !matches!(scheme, b"http" | b"https" | b"ftp" | b"ws" | b"wss" | b"sftp" | b"smb") {
        return None;
    }
    // `http:127.0.0.1` is one for many clients.
    let bare = rest.split(|byte| matches!(byte, b'/' | b':' | b'?')).next().unwrap_or_default();
    let bare = std::str::from_utf8(bare).ok().filter(|host| host.parse::<Ipv4Addr>().is_ok());
    judge(bare.or_else(|| host(rest))?)
}

/// A file of another host with the rest of the name that the application adds cut off: `http://x.example/a.txt?`, and
/// a text in the address itself.
pub(super) fn is_remote_file(text: &[u8]) -> bool {
    const SCHEMES: [&[u8]; 4] = [b"http://", b"https://", b"ftp://", b"ftps://"];
    let text = text.trim_ascii();
    if text.contains(&b' ') {
        return false;
    }
    if text.starts_with(b"data:text/plain;base64,") {
        return true;
    }
    // `/main.php?dir=http://…`: behind the first equals sign.
    let scheme = memchr::memmem::find(text, b"://").unwrap_or(0);
    let start = text[..scheme].iter().rposition(|byte| *byte == b'=').map_or(0, |at| at + 1);
    let url = &text[start..];
    let Some(rest) = SCHEMES.iter().find_map(|scheme| url.strip_prefix(*scheme)) else { return false };
    let Some(slash) = memchr::memchr(b'/', rest) else { return false };
    let is_named = rest.get(slash + 1).is_some_and(|byte| byte.is_ascii_alphanumeric());
    let is_cut = rest.ends_with(b"?") || rest.ends_with(b"%00") || rest.contains(&0);
    let runs = || {
        [&b"?&cmd="[..], b"?cmd=", b"?&c=", b"?c=", b"?&exec="]
            .iter()
            .any(|end| super::cursor::has(rest, end))
    };
    is_named && (is_cut || runs())
}

/// The host behind the slashes of a URL, without user, port and final dot.
fn host(rest: &[u8]) -> Option<&str> {
    let slashes = rest.iter().take_while(|byte| matches!(byte, b'/' | b'\\')).count();
    if slashes == 0 {
        return None;
    }
    let rest = &rest[slashes..rest.len().min(slashes + 300)];
    let authority = rest.split(|byte| matches!(byte, b'/' | b'\\' | b'?' | b'#')).next().unwrap_or_default();
    let host = authority.rsplit(|byte| *byte == b'@').next().unwrap_or_default();
    let host = std::str::from_utf8(host).ok()?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    Some(host.trim_end_matches('.'))
}

/// Whether a URL leads to the machine itself, by the plain name or address.
pub(super) fn is_loopback(text: &[u8]) -> bool {
    let rest = memchr::memmem::find(text, b"//").map(|at| &text[at..]);
    rest.and_then(host).is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "::1"))
}

/// Behind `://`, anywhere in a value: a host that cloud machines keep their credentials at.
pub(super) fn is_metadata(text: &[u8], _start: usize, end: usize) -> bool {
    let found = text.get(end - 2..).and_then(host).and_then(judge);
    found.is_some_and(|rule| rule.id == rules::SSRF_METADATA.id)
}

fn judge(host: &str) -> Option<&'static rules::Rule> {
    const METADATA: [&str; 4] = ["metadata.google.internal", "metadata", "instance-data", "metadata.goog"];
    const LOCAL: [&str; 6] =
        ["localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback", "localtest.me"];
    const INSIDE: [&str; 11] = [
        ".localhost",
        ".localdomain",
        ".internal",
        ".cluster.local",
        ".svc",
        ".nip.io",
        ".xip.io",
        ".sslip.io",
        ".localtest.me",
        ".lvh.me",
        ".intranet",
    ];
    if METADATA.contains(&host) {
        return Some(&rules::SSRF_METADATA);
    }
    if host.starts_with("169.254.169.254.") {
        return Some(&rules::SSRF_METADATA);
    }
    let is_local = LOCAL.contains(&host) || INSIDE.iter().any(|end| host.ends_with(end));
    if is_local {
        return Some(&rules::SSRF_LOCAL);
    }
    let address = match host.parse::<Ipv6Addr>() {
        // 64:ff9b::/96 leads to the IPv4 address at its end (RFC 6052).
        Ok(address) if address.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] => {
            let [.., a, b, c, d] = address.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        Ok(address) => IpAddr::V6(address).to_canonical(),
        Err(_) => IpAddr::V4(loose_v4(host)?),
    };
    match address {
        IpAddr::V4(v4)
            if v4.octets()[..2] == [169, 254]
                || matches!(v4.octets(), [100, 100, 100, 200] | [192, 0, 0, 192]) =>
        {
            Some(&rules::SSRF_METADATA)
        }
        IpAddr::V4(v4)
            if v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.octets()[0] == 0 =>
        {
            Some(&rules::SSRF_LOCAL)
        }
        IpAddr::V6(v6) if v6 == Ipv6Addr::from([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]) => {
            Some(&rules::SSRF_METADATA)
        }
        IpAddr::V6(v6)
            if v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local() =>
        {
            Some(&rules::SSRF_LOCAL)
        }
        _ => None,
    }
}

/// An IPv4 address as `inet_aton` reads it: one to four parts, each decimal, octal or hexadecimal.
fn loose_v4(host: &str) -> Option<Ipv4Addr> {
    let mut sum: u64 = 0;
    let parts: Vec<&str> = host.split('.').take(5).collect();
    if parts.len() > 4 {
        return None;
    }
    for (at, part) in parts.iter().enumerate() {
        let value = match part.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok()?,
            None if part.len() > 1 && part.starts_with('0') => u64::from_str_radix(part, 8).ok()?,
            None => part.parse().ok()?,
        };
        let is_last = at + 1 == parts.len();
        let room = if is_last { 8 * (5 - parts.len()) } else { 8 };
        if value >= 1 << room {
            return None;
        }
        sum = if is_last { sum << room | value } else { sum << 8 | value };
    }
    Some(Ipv4Addr::from(u32::try_from(sum).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_inside() {
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://localhost:8080",
            "https://example.com@10.0.0.1/x",
            "http://169.254.169.254/latest/meta-data/",
            "gopher://x:6379/_",
            "file:///etc/hosts",
            "//192.168.0.1/",
            "http:\\\\127.0.0.1",
            "http://0/",
            "http://10.0.0.1.nip.io/",
        ] {
            assert!(target(url.as_bytes()).is_some(), "{url}");
        }
        for url in [
            "https://example.com/x?y=127.0.0.1",
            "http://8.8.8.8/",
            "mailto:a@localhost",
            "note: 10.0.0.1",
            "12:30",
            "http://",
            "http://1.2.3.4.5/",
            "https://localhost.example.com/",
            "http://[2001:db8::1]/",
        ] {
            assert!(target(url.as_bytes()).is_none(), "{url}");
        }
    }
}
