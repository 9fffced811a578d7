//! A request as the engine sees it: borrowed from whoever received it.

/// Header lines in the order received: name, value. Names in any case; a name may come several times.
pub type Headers<'a> = &'a [(&'a str, &'a [u8])];

/// One request, borrowed. Nothing in it has been believed yet.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestView<'a> {
    /// The method as received.
    pub method: &'a str,
    /// The path as received, without the query; percent-encoded or not.
    pub path: &'a str,
    /// The raw query string without `?`; empty when there is none.
    pub query: &'a str,
    /// All header lines.
    pub headers: Headers<'a>,
    /// The address of the TCP peer, never that of a header; `None` on a local socket.
    pub remote_addr: Option<&'a str>,
    /// `http` or `https`, as the server knows it.
    pub scheme: &'a str,
    /// The body as far as the adapter read it, for inspection; `None` when it did not. Its media type is that
    /// of the header `Content-Type`.
    pub body: Option<&'a [u8]>,
}

impl<'a> RequestView<'a> {
    /// The values of all lines of one header, in order.
    pub fn header_lines(&self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a [u8]> + use<'a> {
        header_lines(self.headers, name)
    }

    /// The value of the first line of one header.
    pub fn header(&self, name: &'a str) -> Option<&'a [u8]> {
        self.header_lines(name).next()
    }

    /// Whether the request came over TLS, as far as the server knows.
    pub fn is_https(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("https")
    }
}

/// The values of all lines of one header, in order.
pub fn header_lines<'a>(
    headers: Headers<'a>,
    name: &'a str,
) -> impl DoubleEndedIterator<Item = &'a [u8]> + use<'a> {
    headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
}

/// Without spaces and tabs around it (RFC 9110 §5.6.3, `OWS`).
pub(crate) fn trimmed(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_all_lines_in_any_case() {
        let headers: [(&str, &[u8]); 3] = [("X-One", b"a"), ("other", b"b"), ("x-ONE", b"c")];
        let request = RequestView {
            method: "GET",
            path: "/",
            query: "",
            headers: &headers,
            remote_addr: None,
            scheme: "HTTPS",
            body: None,
        };
        assert_eq!(request.header_lines("x-one").collect::<Vec<_>>(), [b"a", b"c"]);
        assert_eq!(request.header("X-ONE"), Some(&b"a"[..]));
        assert_eq!(request.header("absent"), None);
        assert!(request.is_https());
    }

    #[test]
    fn trims_spaces_and_tabs_only() {
        assert_eq!(trimmed(b" \ta b\t "), b"a b");
        assert_eq!(trimmed(b"   "), b"");
        assert_eq!(trimmed(b"\na"), b"\na");
    }
}
