//! URLs.
//!
//! Canonical form, which is also the form that is compared: the URL standard's serialisation (`url` crate), with
//! scheme and host in lower case and A-labels, the default port and the fragment dropped, the final dot of the
//! host dropped, and an IPv4-mapped host folded to IPv4. User name and password stay (they are part of a phishing
//! URL's disguise); [`without_user`] is the form in which a URL is looked up below a listed one.

use std::{borrow::Cow, net::IpAddr};

use url::{Host, Url};

use crate::{domain, file, ip};

/// The schemes looked for in text, longest first where one ends in another.
pub(crate) const SCHEMES: &[&str] = &[
    "https",
    "http",
    "sftp",
    "ftps",
    "ftp",
    "wss",
    "ws",
    "tcp",
    "udp",
    "tls",
    "ssl",
    "ssh",
    "telnet",
    "ldaps",
    "ldap",
    "rmi",
    "dns",
    "smb",
    "socks5",
    "socks4",
    "socks",
    "stratum+tcp",
    "stratum+ssl",
    "stratum",
    "mqtts",
    "mqtt",
    "rtsp",
    "rtmp",
    "ircs",
    "irc",
    "git",
    "svn",
    "webdav",
    "davs",
    "dav",
    "nntp",
    "imap",
    "smtp",
    "pop3",
    "redis",
    "mongodb",
    "mysql",
    "postgresql",
    "gopher",
];

/// Where a URL leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UrlHost {
    /// To an address.
    Address(IpAddr),
    /// To a name, canonical.
    Name(String),
}

/// The canonical form of a URL; one without a scheme is read as `http://` when it starts with a public domain or
/// an address, because block lists write so.
pub(crate) fn canonical(text: &str) -> Result<String, &'static str> {
    parse(text).map(|(url, _)| url)
}

/// The canonical form of a URL and its host.
pub(crate) fn parse(text: &str) -> Result<(String, UrlHost), &'static str> {
    if text.chars().any(|c| c.is_control()) {
        return Err("a control character has no place in a URL");
    }
    // No URL has `&amp;` in it: that is a page's source.
    let text = &*unescaped(text);
    let parsed = if text.contains("://") {
        Url::parse(text).map_err(|_| "the URL standard cannot read it")?
    } else {
        let host = text.split(['/', '?', '#', ':']).next().unwrap_or_default();
        let bare = domain::canonical(host)
            .is_ok_and(|name| domain::is_public(&name) && !file::is_rather_a_file(&name));
        if !bare && ip::parse_address(host).is_err() {
            return Err("there is no `://` after a scheme");
        }
        Url::parse(&format!("http://{text}")).map_err(|_| "the URL standard cannot read it")?
    };
    normalise(parsed)
}

/// `&` for `&amp;`, also when it was escaped more than once.
fn unescaped(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("&amp;") {
        out.push_str(before);
        out.push('&');
        rest = after.trim_start_matches("amp;");
    }
    if rest.len() == text.len() { Cow::Borrowed(text) } else { Cow::Owned(out + rest) }
}

fn normalise(mut url: Url) -> Result<(String, UrlHost), &'static str> {
    const NO_HOST: &str = "it names no host";
    let host = match url.host().ok_or(NO_HOST)? {
        Host::Ipv4(v4) => UrlHost::Address(IpAddr::V4(v4)),
        Host::Ipv6(v6) => UrlHost::Address(ip::fold(IpAddr::V6(v6))),
        // In schemes the standard does not know, a host is opaque: an address in it is still text.
        Host::Domain(name) => match ip::parse_address(name) {
            Ok(address) => UrlHost::Address(address),
            Err(_) => UrlHost::Name(domain::canonical_host(&decoded(name)?)?),
        },
    };
    let text = match &host {
        UrlHost::Address(IpAddr::V6(v6)) => format!("[{v6}]"),
        UrlHost::Address(v4) => v4.to_string(),
        UrlHost::Name(name) => name.clone(),
    };
    if url.host_str() != Some(text.as_str()) {
        url.set_host(Some(&text)).map_err(|_| NO_HOST)?;
    }
    url.set_fragment(None);
    Ok((url.into(), host))
}

/// An opaque host may be percent-encoded; names that need it are refused by the domain parser afterwards.
fn decoded(name: &str) -> Result<String, &'static str> {
    if !name.contains('%') {
        return Ok(name.to_owned());
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
                let (high, low) = (digit(), digit());
                high.zip(low).map(|(high, low)| (high * 16 + low) as u8).ok_or("its host is badly encoded")?
            }
            other => other,
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).map_err(|_| "its host is badly encoded")
}

/// A canonical URL without user name and password; `None` when it has none.
pub(crate) fn without_user(url: &str) -> Option<String> {
    let start = url.find("://")? + 3;
    let end = url[start..].find(['/', '?']).map_or(url.len(), |at| start + at);
    let at = url[start..end].rfind('@')?;
    Some(format!("{}{}", &url[..start], &url[start + at + 1..]))
}

/// The host of a canonical URL, without brackets, user and port.
pub(crate) fn host_of(url: &str) -> Option<&str> {
    let start = url.find("://")? + 3;
    let end = url[start..].find(['/', '?']).map_or(url.len(), |at| start + at);
    let authority = &url[start..end];
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_one_form() {
        for (text, value) in [
            ("HTTP://Evil.Example.COM", "http://evil.example.com/"),
            ("http://evil.example.com:80/a/../b#top", "http://evil.example.com/b"),
            ("https://evil.example.com.:8443/a?q=1", "https://evil.example.com:8443/a?q=1"),
            ("http://bücher.example.com/ü", "http://xn--bcher-kva.example.com/%C3%BC"),
            ("http://[::FFFF:192.0.2.1]/", "http://192.0.2.1/"),
            ("http://0xc0.0.2.1/", "http://192.0.2.1/"),
            ("tcp://EVIL.example.com:4444", "tcp://evil.example.com:4444"),
            ("tcp://[2001:DB8::1]:80", "tcp://[2001:db8::1]:80"),
            ("http://user:pw@evil.example.com/", "http://user:pw@evil.example.com/"),
            ("evil.example.com/gate.php", "http://evil.example.com/gate.php"),
            ("192.0.2.1:8080/x", "http://192.0.2.1:8080/x"),
            ("http://intranet/x", "http://intranet/x"),
            ("http://evil.example.com/?a=1&amp;b=2", "http://evil.example.com/?a=1&b=2"),
        ] {
            assert_eq!(canonical(text).as_deref(), Ok(value));
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for wrong in [
            "",
            "evil",
            "/a/b",
            "mailto:a@example.com",
            "file:///etc/passwd",
            "http://",
            "http://a b/",
            "http://evil.example.com:99999/",
            "setup.py",
            "javascript:alert(1)",
        ] {
            assert!(canonical(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_host_and_the_form_without_user_are_found() {
        let url = "http://u:p@[2001:db8::1]:81/a@b";
        assert_eq!(host_of(url), Some("2001:db8::1"));
        assert_eq!(without_user(url).as_deref(), Some("http://[2001:db8::1]:81/a@b"));
        assert_eq!(without_user("http://evil.example.com/a@b"), None);
    }
}
