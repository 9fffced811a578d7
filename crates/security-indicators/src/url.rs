//! URLs.
//!
//! Canonical form, which is also the form that is compared: the URL standard's serialisation (`url` crate), with
//! scheme and host in lower case and A-labels, the default port and the fragment dropped, the final dot of the
//! host dropped, and an IPv4-mapped host folded to IPv4. User name and password stay (they are part of a phishing
//! URL's disguise); [`without_user`] is the form in which a URL is looked up below a listed one.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr},
};

use memchr::{memchr, memchr2, memrchr};
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
    "file",
    "imap",
    "smtp",
    "pop3",
    "redis",
    "mongodb",
    "mysql",
    "postgresql",
    "gopher",
];

/// The canonical form of a URL that has it already, or lacks only the slash behind its host, with nothing in it to
/// refang: told by one look at each byte.
///
/// `None` says nothing: only plain `http` and `https` URLs are known here, which is what lists and logs are full of.
/// A property test holds it against [`crate::refang`] and [`canonical`].
pub(crate) fn at_a_look(text: &str) -> Option<Cow<'_, str>> {
    plain(text).map(|plain| match plain.lacks_path {
        false => Cow::Borrowed(text),
        true => Cow::Owned([text, "/"].concat()),
    })
}

/// What a look says of a URL that is canonical, but that its path may be missing.
struct Plain<'a> {
    host: &'a str,
    /// `https://evil.example`: the canonical form has a slash more.
    lacks_path: bool,
}

fn plain(text: &str) -> Option<Plain<'_>> {
    let (rest, default_port) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
        (Some(rest), _) => (rest, "80"),
        (_, Some(rest)) => (rest, "443"),
        _ => return None,
    };
    let (authority, path) = match memchr(b'/', rest.as_bytes()) {
        Some(slash) => (&rest[..slash], Some(&rest[slash + 1..])),
        None => (rest, None),
    };
    let host = match memchr(b':', authority.as_bytes()) {
        Some(colon) => {
            let port = &authority[colon + 1..];
            if port == default_port || ip::parse_port(port).is_err() {
                return None;
            }
            &authority[..colon]
        }
        None => authority,
    };
    let fits = is_canonical_host(host) && path.is_none_or(is_canonical_path);
    fits.then_some(Plain { host, lacks_path: path.is_none() })
}

/// Makes a URL that has a scheme canonical where it stands, and says whether it leads to an address or to a name of two
/// labels or more: a lone label (`http://localhost`) names no host on the Internet.
pub(crate) fn found(text: &mut String) -> Result<bool, &'static str> {
    if let Some(Plain { host, lacks_path }) = plain(text) {
        let is_public = host.contains('.');
        if lacks_path {
            text.push('/');
        }
        return Ok(is_public);
    }
    let (value, host) = parse(text)?;
    // Only where a port is given: `http://*/` is a pattern as often.
    let listens = ["://+:", "://*:"].iter().any(|sign| text.contains(sign));
    *text = value;
    Ok(match host {
        UrlHost::Address(_) => true,
        UrlHost::Name(name) => name.contains('.') || (is_wildcard(&name) && listens),
    })
}

/// A strict dotted quad, or a plain name whose last label cannot be read as a number.
fn is_canonical_host(host: &str) -> bool {
    let last = &host[memrchr(b'.', host.as_bytes()).map_or(0, |dot| dot + 1)..];
    if last.as_bytes().first().is_some_and(u8::is_ascii_digit) {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    domain::is_canonical_host(host)
}

/// What follows the first slash: no byte that is encoded, and nothing that [`crate::refang`] may touch there. That
/// leaves what is in brackets or quotes, dot segments, schemes within the URL, and `&amp;` to the slow way.
fn is_canonical_path(path: &str) -> bool {
    let bytes = path.as_bytes();
    let starts = |at: usize, written: &[u8]| {
        bytes.get(at..at + written.len()).is_some_and(|part| part.eq_ignore_ascii_case(written))
    };
    if matches!(bytes.first(), Some(b'/' | b'.')) {
        return false;
    }
    bytes.iter().enumerate().all(|(at, byte)| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => true,
        b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'+' | b',' | b';' | b'=' | b'@' | b'?' => true,
        b'/' => !starts(at, b"/."),
        b'%' => !starts(at, b"%2e") && !starts(at, b"%3a"),
        b'&' => !starts(at, b"&amp") && !starts(at, b"&colon"),
        _ => false,
    })
}

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
    // `h.ttp` would be read as another scheme when it is refanged once more.
    if url.scheme().contains('.') {
        return Err("no scheme of an indicator has a dot");
    }
    let host = match url.host().ok_or(NO_HOST)? {
        Host::Ipv4(v4) => UrlHost::Address(IpAddr::V4(v4)),
        Host::Ipv6(v6) => UrlHost::Address(ip::fold(IpAddr::V6(v6))),
        // In schemes the standard does not know, a host is opaque: an address in it is still text.
        Host::Domain(name) if is_wildcard(name) && matches!(url.scheme(), "http" | "https") => {
            UrlHost::Name(name.to_owned())
        }
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

/// The host of a prefix that Windows' HTTP server listens below, whatever name it is asked by: `https://+:443/ews/`.
fn is_wildcard(host: &str) -> bool {
    matches!(host, "+" | "*")
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
    let (start, end) = authority_of(url)?;
    let at = memrchr(b'@', &url.as_bytes()[start..end])?;
    Some(format!("{}{}", &url[..start], &url[start + at + 1..]))
}

/// Where a canonical URL's authority (user, host and port) begins and ends.
pub(crate) fn authority_of(url: &str) -> Option<(usize, usize)> {
    let bytes = url.as_bytes();
    // The first colon ends the scheme.
    let start = memchr(b':', bytes).filter(|colon| bytes[*colon..].starts_with(b"://"))? + 3;
    Some((start, memchr2(b'/', b'?', &bytes[start..]).map_or(bytes.len(), |at| start + at)))
}

/// Where a canonical URL's site ends: what stands before its path and its query.
pub(crate) fn site_end(url: &str) -> usize {
    authority_of(url).map_or(url.len(), |(_, end)| end)
}

/// The host of a canonical URL, without brackets, user and port.
pub(crate) fn host_of(url: &str) -> Option<&str> {
    let (start, end) = authority_of(url)?;
    Some(host_in(&url[start..end]))
}

/// The host in an authority.
fn host_in(authority: &str) -> &str {
    let bytes = authority.as_bytes();
    let host = &authority[memrchr(b'@', bytes).map_or(0, |at| at + 1)..];
    let (bare, end) = match host.strip_prefix('[') {
        Some(rest) => (rest, b']'),
        None => (host, b':'),
    };
    memchr(end, bare.as_bytes()).map_or(bare, |at| &bare[..at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
            ("https://+:443/ews/x/", "https://+/ews/x/"),
            ("http://*:8080/y/", "http://*:8080/y/"),
            ("http://evil.example.com/?a=1&amp;b=2", "http://evil.example.com/?a=1&b=2"),
        ] {
            assert_eq!(canonical(text).as_deref(), Ok(value));
        }
    }

    /// Most of them are canonical, and most of the others nearly so.
    fn nearly_canonical() -> impl Strategy<Value = String> {
        const PIECES: &[&str] = &[
            "a",
            "evil",
            "example.com",
            "com",
            "0x1",
            "192.0.2.1",
            "1",
            "-",
            "_",
            ".",
            "..",
            "/",
            "//",
            "?",
            "&",
            "=",
            "%",
            "%2e",
            "%2E",
            "%20",
            "%3a%2f%2f",
            "%40",
            "&amp;",
            "&colon;",
            "&amp",
            "&period;",
            ":",
            ":80",
            ":443",
            ":8080",
            ":0",
            "@",
            "hxxp",
            "hxxp://",
            "http://",
            "ttp",
            "meow",
            "xn--a",
            "xn--bcher-kva",
            "+",
            ",",
            ";",
            "~",
            "!",
            "$",
            "(",
            ")",
            "*",
            "'",
            "[.]",
            "(dot)",
            "|",
            "^",
            "{",
            "\\",
            " ",
            "#",
            "A",
            "ü",
            "\t",
        ];
        let start =
            prop_oneof![Just("http://"), Just("https://"), Just("HTTP://"), Just("hxxp://"), Just("ftp://")];
        let host =
            "[a-z0-9]{1,3}|([a-z0-9_-]{1,4}\\.){1,3}([a-z]{2,3}|[0-9a-fx]{1,4})|[0-9]{1,3}(\\.[0-9]{1,3}){3}";
        let port = prop_oneof![4 => Just(String::new()), 1 => ":[0-9]{0,5}"];
        let rest =
            prop::collection::vec(prop::sample::select(PIECES), 0..8).prop_map(|pieces| pieces.concat());
        let slash = prop_oneof![8 => Just("/"), 1 => Just("")];
        (start, host, port, slash, rest)
            .prop_map(|(start, host, port, slash, rest)| format!("{start}{host}{port}{slash}{rest}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn what_looks_canonical_is(text in nearly_canonical()) {
            if let Some(value) = at_a_look(&text) {
                prop_assert!(crate::refang(&text) == text, "refanged");
                prop_assert_eq!(canonical(&text), Ok(value.into_owned()));
            }
            let mut value = text.clone();
            let of_parser = parse(&text).map(|(value, host)| {
                (value, match host {
                    UrlHost::Address(_) => true,
                    UrlHost::Name(name) => name.contains('.'),
                })
            });
            prop_assert_eq!(found(&mut value).map(|is_public| (value, is_public)), of_parser);
        }
    }

    #[test]
    fn plain_urls_are_known_by_a_look() {
        for url in [
            "http://evil.example.com/",
            "https://evil.example.com:8443/a/b.php?id=1&x=%20",
            "http://192.0.2.1:8080/bin.sh",
            "http://intranet/x@y",
        ] {
            assert_eq!(at_a_look(url), Some(Cow::Borrowed(url)));
            assert_eq!(canonical(url).as_deref(), Ok(url));
        }
        assert_eq!(at_a_look("http://evil.example.com").as_deref(), Some("http://evil.example.com/"));
        for other in [
            "http://evil.example.com?x",
            "http://evil.example.com:80/",
            "http://Evil.example.com/",
            "http://evil.example.com/a/../b",
            "http://evil.example.com/.",
            "http://evil.example.com/#x",
            "http://xn--a.example.com/",
            "http://u@evil.example.com/",
            "http://010.0.0.1/",
            "http://a.0x1/",
            "http://evil.example.com/?u=hxxp://a",
        ] {
            assert_eq!(at_a_look(other), None, "{other}");
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
            "h.ttp://evil.example.com/",
            "http://+a/",
            "http://*.example.com/",
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
