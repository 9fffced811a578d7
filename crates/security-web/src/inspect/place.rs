//! Where in a request a value stands, and what that means for the rules.

use std::fmt;

/// A part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Path,
    Query,
    Header,
    Cookie,
    Body,
}

/// Where a value stands. Made cheaply for each value, written out for a reason only.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) part: Part,
    /// The parameter's name as received; for JSON a pointer; empty for the path and a body without structure.
    pub(super) name: &'a str,
    /// Whether the value is the parameter's own name.
    pub(super) is_name: bool,
    /// Whether it is markup on purpose (an XML or HTML body): tags are no attack there.
    pub(super) is_markup: bool,
}

impl<'a> Place<'a> {
    pub(super) fn new(part: Part, name: &'a str) -> Self {
        Self { part, name, is_name: false, is_markup: false }
    }

    /// Headers whose own grammar has quotes, semicolons and stars.
    pub(super) fn has_header_grammar(&self) -> bool {
        const NAMES: [&str; 19] = [
            "accept",
            "accept-encoding",
            "accept-language",
            "accept-charset",
            "authorization",
            "cache-control",
            "content-disposition",
            "content-type",
            "cookie",
            "forwarded",
            "if-match",
            "if-none-match",
            "proxy-authorization",
            "range",
            "user-agent",
            "via",
            "prefer",
            "priority",
            "link",
        ];
        self.part == Part::Header
            && (NAMES.iter().any(|name| name.eq_ignore_ascii_case(self.name))
                || self.name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("sec-")))
    }

    /// Whether a URL here is one that the client's browser follows, which may well run on the developer's machine
    /// (RFC 8252 §7.3 wants loopback redirects of native applications).
    pub(super) fn is_for_browser(&self) -> bool {
        const NAMES: [&str; 8] =
            ["redirect", "return_to", "returnurl", "return_url", "origin", "referer", "referrer", "homepage"];
        let name = self.name.to_ascii_lowercase();
        NAMES.iter().any(|known| name.contains(known))
    }

    /// Whether it is a box for searching, where people paste what they see, and nothing is fetched.
    pub(super) fn is_for_search(&self) -> bool {
        const NAMES: [&str; 8] = ["q", "query", "search", "search_query", "keyword", "keywords", "term", "s"];
        NAMES.iter().any(|known| known.eq_ignore_ascii_case(self.name))
    }

    /// Whether the value may be a secret, which evidence must not show.
    pub(super) fn is_secret(&self) -> bool {
        const WORDS: [&str; 12] = [
            "pass",
            "pwd",
            "secret",
            "token",
            "api-key",
            "api_key",
            "apikey",
            "auth",
            "session",
            "sid",
            "jwt",
            "credential",
        ];
        let name = self.name.to_ascii_lowercase();
        self.part == Part::Cookie || WORDS.iter().any(|word| name.contains(word))
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.part {
            Part::Path => "path",
            Part::Query => "query",
            Part::Header => "header",
            Part::Cookie => "cookie",
            Part::Body => "body",
        };
        match (self.name, self.part) {
            ("", _) => f.write_str(part),
            (name, Part::Header) => write!(f, "{part}:{}", name.to_ascii_lowercase()),
            (name, _) => write!(f, "{part}:{name}"),
        }
    }
}
