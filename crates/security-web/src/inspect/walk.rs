//! Walking a request: every place where a client may put something, within the budgets.

use super::{
    evidence::evidence,
    json::{Event, Reader},
    multipart,
    place::{Part, Place},
    rules,
    rules::Rule,
    settings::{Exclusion, InspectionMode, InspectionPolicy},
    ssrf,
    value::{Hit, Scratch, begins_object, look},
    xml::{self, Piece},
};
use crate::{Reason, RequestView};

/// Secrets that are never looked at for what they say, only for what does not belong in any header.
const CREDENTIAL_HEADERS: [&str; 4] = ["authorization", "proxy-authorization", "x-api-key", "cookie"];
/// The most reasons one request gets.
const MOST_REASONS: usize = 32;

/// What was found in a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct Inspection {
    /// The anomaly score: the scores of the rules that hit in one place added, of the worst place.
    pub score: u32,
    /// Each rule and place, at most 32.
    pub reasons: Vec<Reason>,
    /// Whether the mode and the threshold say to refuse it.
    pub is_denied: bool,
}

/// Looks at all of a request.
pub fn inspect(policy: &InspectionPolicy, request: &RequestView<'_>) -> Inspection {
    if policy.mode == InspectionMode::Off {
        return Inspection::default();
    }
    let mut walk = Walk::new(policy, request);
    walk.request(request);
    walk.found
}

struct Walk<'a> {
    policy: &'a InspectionPolicy,
    exclusions: Vec<&'a Exclusion>,
    scratch: Scratch,
    hits: Vec<Hit>,
    plain: Vec<u8>,
    bytes_left: usize,
    values_left: usize,
    found: Inspection,
}

impl<'a> Walk<'a> {
    fn new(policy: &'a InspectionPolicy, request: &RequestView<'_>) -> Self {
        Self {
            policy,
            exclusions: policy.exclude.iter().filter(|exclusion| exclusion.covers(request.path)).collect(),
            scratch: Scratch::new(policy.exclude.is_empty() && policy.report.is_empty()),
            hits: Vec::new(),
            plain: Vec::new(),
            bytes_left: policy.max_bytes,
            values_left: policy.max_parameters,
            found: Inspection::default(),
        }
    }

    fn request(&mut self, request: &RequestView<'_>) {
        self.path(request.path);
        self.pairs(Part::Query, request.query.as_bytes(), b'&');
        for (name, value) in request.headers {
            self.header(name, value);
        }
        if let Some(body) = request.body.filter(|body| !body.is_empty()) {
            let content_type = request.header("content-type").map(String::from_utf8_lossy);
            self.body(body, &content_type.unwrap_or_default());
        }
        self.found.is_denied =
            self.policy.mode == InspectionMode::Deny && self.found.score >= self.policy.threshold.max(1);
    }

    fn value(&mut self, place: Place<'_>, value: &[u8]) {
        self.value_at(&place, value, String::new);
    }

    /// One value; `pointer` names the place of a JSON value and is asked only when there is something to say.
    fn value_at(&mut self, place: &Place<'_>, value: &[u8], pointer: impl FnOnce() -> String) {
        if value.is_empty() || self.is_settled() {
            return;
        }
        if self.values_left == 0 {
            return self.limit(&rules::LIMIT, place, "more parameters than the budget has");
        }
        self.values_left -= 1;
        let seen = &value[..value.len().min(self.bytes_left)];
        self.bytes_left -= seen.len();
        self.hits.clear();
        look(seen, place, self.policy.paranoia, &mut self.scratch, &mut self.hits);
        if !self.hits.is_empty() {
            let pointer = pointer();
            let place = Place { name: if pointer.is_empty() { place.name } else { &pointer }, ..*place };
            self.settle(&place);
        }
        if seen.len() < value.len() {
            self.limit(&rules::LIMIT_BYTES, place, "more bytes than the budget has");
        }
        if self.scratch.work.is_over {
            self.limit(&rules::LIMIT, place, "more that looks like an attack than the budget has");
            self.values_left = 0;
        }
    }

    /// Whether nothing that is still to be read changes what is done with the request or said of it.
    fn is_settled(&self) -> bool {
        self.found.score >= self.policy.threshold.max(1) && self.found.reasons.len() >= MOST_REASONS
    }

    /// The hits of one place become reasons and a score.
    fn settle(&mut self, place: &Place<'_>) {
        let mut score = 0;
        for (rule, start, end) in &self.hits {
            let leads_home = || {
                (place.is_for_browser() || place.is_for_search()) && ssrf::is_loopback(&self.scratch.normal)
            };
            if *rule == &rules::SSRF_LOCAL && leads_home()
                || *rule == &rules::SSRF_SCHEME
                    && place.is_for_search()
                    && self.scratch.normal.starts_with(b"file:")
                || self.exclusions.iter().any(|exclusion| exclusion.leaves_out(place.name, rule))
            {
                continue;
            }
            if !self.policy.only_reports(rule) {
                score += u32::from(rule.score);
            }
            if self.found.reasons.len() < MOST_REASONS {
                let evidence = evidence(place, &self.scratch.normal, *start, *end);
                self.found.reasons.push(Reason::new(rule.id, rule.category, &place.to_string(), &evidence));
            }
        }
        self.found.score = self.found.score.max(score);
    }

    fn limit(&mut self, rule: &'static Rule, place: &Place<'_>, what: &str) {
        if !self.found.reasons.iter().any(|reason| reason.id == rule.id) {
            self.found.reasons.push(Reason::new(rule.id, rule.category, &place.to_string(), what));
            if !self.policy.only_reports(rule) {
                self.found.score = self.found.score.max(u32::from(rule.score));
            }
        }
    }

    fn path(&mut self, path: &str) {
        self.value(Place::new(Part::Path, ""), path.as_bytes());
        // An identifier that is base64 of text is a segment of its own.
        for segment in path.as_bytes().split(|byte| *byte == b'/').filter(|segment| segment.len() >= 16) {
            if super::base64::decode_text(segment, &mut self.plain) || begins_object(segment) {
                self.value(Place::new(Part::Path, ""), segment);
            }
        }
        // An encoded `..` in a path is there to get past something that looks at the path.
        let bytes = path.as_bytes();
        if bytes.contains(&b'%') || bytes.contains(&b';') {
            let place = Place::new(Part::Path, "");
            let (mut decoded, mut spare) = (Vec::new(), Vec::new());
            super::decode::decode(&bytes[..bytes.len().min(8 << 10)], &mut decoded, &mut spare);
            let climbs =
                |text: &[u8]| text.split(|b| matches!(b, b'/' | b'\\')).filter(|s| *s == b"..").count();
            if climbs(&decoded) > climbs(bytes)
                && !self.found.reasons.iter().any(|r| r.id == rules::PATH_TRAVERSAL.id)
            {
                self.hits.clear();
                self.hits.push((&rules::PATH_TRAVERSAL, 0, 40));
                self.settle(&place);
            }
        }
    }

    /// `name=value` pairs: a query, an urlencoded form, a cookie header.
    fn pairs(&mut self, part: Part, text: &[u8], separator: u8) {
        let mut rest = Some(text);
        while let Some(left) = rest {
            let pair;
            (pair, rest) = match memchr::memchr(separator, left) {
                Some(at) => (&left[..at], Some(&left[at + 1..])),
                None => (left, None),
            };
            let pair = if part == Part::Cookie { pair.trim_ascii() } else { pair };
            let at = memchr::memchr(b'=', pair).unwrap_or(pair.len());
            let (name, value) = (&pair[..at], pair.get(at + 1..).unwrap_or_default());
            let plain_name = String::from_utf8_lossy(&name[..name.len().min(64)]);
            if self.values_left == 0 {
                return self.limit(
                    &rules::LIMIT,
                    &Place::new(part, ""),
                    "more parameters than the budget has",
                );
            }
            if self.is_settled() {
                return;
            }
            let place = Place::new(part, &plain_name);
            let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
            // Two underscores begin what only interpreters are asked for.
            if !name.iter().all(is_plain) || super::cursor::has(name, b"__") {
                self.form_value(Place { is_name: true, ..place }, name);
            }
            self.form_value(place, value);
        }
    }

    /// A value in which `+` is a space.
    fn form_value(&mut self, place: Place<'_>, value: &[u8]) {
        if place.part == Part::Cookie || memchr::memchr(b'+', value).is_none() {
            return self.value(place, value);
        }
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        plain.extend_from_slice(&value[..value.len().min(self.bytes_left + 1)]);
        for byte in &mut plain {
            *byte = if *byte == b'+' { b' ' } else { *byte };
        }
        self.value(place, &plain);
        self.plain = plain;
    }

    fn header(&mut self, name: &str, value: &[u8]) {
        if name.eq_ignore_ascii_case("cookie") {
            return self.pairs(Part::Cookie, value, b';');
        }
        let place = Place::new(Part::Header, name);
        if CREDENTIAL_HEADERS.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            // Only what nobody's credential has: a look-up, a line's end, a shell's function.
            let signs: [&[u8]; 4] = [b"${", b"\n", b"() {", b"<"];
            if !signs.iter().any(|sign| super::cursor::has(value, sign)) {
                return;
            }
        }
        self.value(place, value);
        if ["x-filename", "x-file-name", "x_filename", "x.filename"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
        {
            self.file_name(place, value);
        }
    }

    fn body(&mut self, body: &[u8], content_type: &str) {
        let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let first = body.trim_ascii_start().first().copied();
        if media.ends_with("json") || media.is_empty() && matches!(first, Some(b'{' | b'[')) {
            return self.json(body);
        }
        if media == "multipart/form-data" {
            return match multipart::boundary(content_type) {
                Some(boundary) => self.multipart(body, boundary),
                None => self.text(body, false),
            };
        }
        if media == "application/x-www-form-urlencoded"
            || media.is_empty() && body.contains(&b'=') && first != Some(b'<')
        {
            return self.pairs(Part::Body, body, b'&');
        }
        if media.ends_with("xml") || media.is_empty() && body.trim_ascii_start().starts_with(b"<?xml") {
            return self.xml(body);
        }
        if media.is_empty()
            || media.starts_with("text/")
            || media.ends_with("javascript")
            || media.contains("graphql")
            || media.contains("yaml")
        {
            return self.text(body, media == "text/html");
        }
        // Anything else is nobody's text; serialised objects are known by their first bytes.
        self.text(&body[..body.len().min(64)], true);
    }

    fn text(&mut self, body: &[u8], is_markup: bool) {
        self.value(Place { is_markup, ..Place::new(Part::Body, "") }, body);
    }

    fn json(&mut self, body: &[u8]) {
        let seen = &body[..body.len().min(self.bytes_left)];
        let place = Place::new(Part::Body, "");
        let mut reader = Reader::new(seen, self.policy.max_depth);
        // The reader lends its text; a copy lets it say afterwards where that was.
        let mut held = Vec::new();
        loop {
            let is_name = match reader.next() {
                None => break,
                Some(Event::Key(key)) => {
                    if key.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-') {
                        continue;
                    }
                    held.clear();
                    held.extend_from_slice(key);
                    true
                }
                Some(Event::Text(text)) => {
                    held.clear();
                    held.extend_from_slice(text);
                    false
                }
                Some(Event::TooDeep) => {
                    self.limit(&rules::LIMIT, &place, "nested more deeply than the budget has");
                    break;
                }
                Some(Event::Malformed(at)) => {
                    if seen.len() == body.len() {
                        self.limit(&rules::BODY_MALFORMED, &place, "no JSON");
                        self.value(place, &seen[at..]);
                    }
                    break;
                }
            };
            if self.is_settled() {
                break;
            }
            if self.values_left == 0 {
                self.limit(&rules::LIMIT, &place, "more parameters than the budget has");
                break;
            }
            self.value_at(&Place { is_name, ..place }, &held, || reader.pointer());
        }
        if seen.len() < body.len() {
            self.limit(&rules::LIMIT_BYTES, &place, "more bytes than the budget has");
        }
    }

    /// Texts and attributes are values of their own; declarations and names are looked at as they stand.
    fn xml(&mut self, body: &[u8]) {
        let seen = &body[..body.len().min(self.bytes_left)];
        if let Some(joined) = xml::joined(seen) {
            // Readers see the text on both sides of a comment as one.
            let (bytes_left, values_left) = (self.bytes_left, self.values_left);
            self.xml_pieces(&joined, &joined);
            self.bytes_left = bytes_left;
            if self.values_left > 0 {
                self.values_left = values_left;
            }
        }
        self.xml_pieces(seen, body);
    }

    fn xml_pieces(&mut self, seen: &[u8], body: &[u8]) {
        for piece in xml::Reader::new(seen) {
            if self.values_left == 0 {
                return self.limit(
                    &rules::LIMIT,
                    &Place::new(Part::Body, ""),
                    "more values than the budget has",
                );
            }
            match piece {
                Piece::Value { name, value } => {
                    let name = String::from_utf8_lossy(&name[..name.len().min(64)]);
                    self.value(Place::new(Part::Body, &name), value);
                }
                Piece::Markup(markup) => self.text(markup, true),
            }
        }
        if seen.len() < body.len() {
            self.limit(&rules::LIMIT_BYTES, &Place::new(Part::Body, ""), "more bytes than the budget has");
        }
    }

    fn multipart(&mut self, body: &[u8], boundary: &str) {
        let seen = &body[..body.len().min(self.bytes_left)];
        // What comes in several readings is looked at as often; more of them than this nobody makes by mistake.
        self.bytes_left = self.bytes_left.saturating_mul(4);
        for part in multipart::parts(seen, boundary) {
            if self.values_left == 0 {
                return self.limit(
                    &rules::LIMIT,
                    &Place::new(Part::Body, ""),
                    "more parts than the budget has",
                );
            }
            let name = String::from_utf8_lossy(&part.name[..part.name.len().min(64)]);
            let place = Place::new(Part::Body, &name);
            self.value(Place { is_name: true, ..place }, part.name);
            match part.filename {
                Some(filename) => {
                    self.value(place, filename);
                    self.file_name(place, filename);
                    self.file(place, part.content);
                }
                None => self.value(place, part.content),
            }
        }
        if self.bytes_left == 0 {
            self.limit(&rules::LIMIT, &Place::new(Part::Body, ""), "more readings than the budget has");
        }
        if seen.len() < body.len() {
            self.limit(&rules::LIMIT_BYTES, &Place::new(Part::Body, ""), "more bytes than the budget has");
        }
    }

    /// A name that a web server would run what is behind, or obey.
    fn file_name(&mut self, place: Place<'_>, name: &[u8]) {
        const ENDS: [&str; 13] = [
            "php", "phpt", "phtml", "phar", "pht", "phps", "jsp", "jspx", "asp", "aspx", "ashx", "htaccess",
            "shtml",
        ];
        let name = String::from_utf8_lossy(&name[name.len().saturating_sub(64)..]).to_ascii_lowercase();
        let name = name.trim_end_matches(['.', ' ', '\0', '/', ':']);
        let end = name.rsplit('.').next().unwrap_or_default().trim_start();
        // `php7`, and whatever number comes next.
        let end = end.trim_end_matches(|byte: char| byte.is_ascii_digit());
        // What stands behind one of these is cut off by the server or the disk.
        let is_cut = [
            ".asp;", ".aspx;", ".php;", ".jsp;", ".asa;", "::$data", ".php\0", ".asp\0", ".jsp\0", ".php%00",
        ]
        .iter()
        .any(|end| name.contains(end));
        if is_cut || name.contains('.') && (ENDS.contains(&end) || name.ends_with("web.config")) {
            self.hits.clear();
            self.hits.push((&rules::UPLOAD_SCRIPT, 0, name.len()));
            self.scratch.keep(name.as_bytes());
            self.settle(&place);
        }
    }

    /// An uploaded file may be anything; what no upload should be is a script that a server would run.
    fn file(&mut self, place: Place<'_>, content: &[u8]) {
        const SCRIPTS: [&[u8]; 4] = [b"<?php", b"<?=", b"<%@", b"<jsp:"];
        let seen = &content[..content.len().min(self.bytes_left)];
        self.bytes_left -= seen.len();
        if SCRIPTS.iter().any(|script| super::cursor::has(seen, script)) {
            self.hits.clear();
            self.hits.push((&rules::CODE_PHP, 0, 0));
            self.scratch.keep(b"");
            self.settle(&place);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One piece of text repeated until it is long: what is meant to be slow.
    pub(in crate::inspect) const GENERATORS: [&str; 40] = [
        "'",
        "\"",
        "`",
        "(",
        ")",
        "((",
        "/*",
        "/**/",
        "/*!",
        "<",
        "<!--",
        "<a ",
        "<![CDATA[",
        "%",
        "%25",
        "&#0000000000000000",
        "\\",
        "\\u005c",
        "../",
        "..%2f",
        "{{",
        "{{a((",
        "${",
        "${${",
        "{%",
        " or 1",
        " and",
        "' or ",
        "; ",
        ";a",
        "|c'a't ",
        "&&",
        "\n;",
        "$(",
        "alert",
        "document.",
        "on=",
        "UNCiIgIiAi",
        ";ls x y z",
        "(select",
    ];

    fn found(content_type: &str, body: &[u8]) -> (Inspection, usize, usize) {
        let policy = InspectionPolicy::default();
        let headers = [("content-type", content_type.as_bytes())];
        let request =
            RequestView { path: "/", headers: &headers, body: Some(body), ..RequestView::default() };
        let mut walk = Walk::new(&policy, &request);
        walk.request(&request);
        (walk.found, walk.scratch.work.spent, policy.max_bytes)
    }

    #[test]
    fn no_document_makes_more_work_than_the_budget() {
        for unit in GENERATORS {
            for n_strings in [1, 600] {
                let text = unit.repeat((80 << 10) / n_strings / unit.len());
                let documents = [
                    ("application/json", serde_json::json!(vec![text.as_str(); n_strings]).to_string()),
                    (
                        "application/x-www-form-urlencoded",
                        format!("a={}&", text.replace('&', "%26")).repeat(n_strings),
                    ),
                    ("text/plain", text.repeat(n_strings)),
                ];
                for (content_type, body) in &documents {
                    let (found, spent, max_bytes) = found(content_type, body.as_bytes());
                    assert!(
                        spent <= 2048 + max_bytes / 4 + 32 * 2100,
                        "{unit:?} {content_type}: {spent} checks"
                    );
                    assert!(found.reasons.len() <= MOST_REASONS + 3, "{unit:?}");
                }
            }
        }
    }

    #[test]
    fn lists_of_short_texts_are_not_too_much() {
        for text in
            ["<p>it's</p>", "a=1&b='x'", "size='M' and \"red\"", "it's user's or Ann's (by name); group"]
        {
            let body = serde_json::json!(vec![text; 1900]).to_string();
            let (found, ..) = found("application/json", body.as_bytes());
            assert!(found.reasons.is_empty(), "{text}: {:?}", found.reasons);
        }
    }

    #[test]
    fn what_is_too_much_is_a_reason() {
        let (found, ..) = found("text/plain", "{{a((".repeat(30_000).as_bytes());
        assert!(found.is_denied && found.reasons.iter().any(|reason| reason.id == rules::LIMIT.id));
        let (found, spent, _) = super::tests::found(
            "text/plain",
            "let a = b || c; if (a > 1 && self.x) { document.title = 'x'; }\n".repeat(3000).as_bytes(),
        );
        assert!(!found.is_denied && spent > 2048, "{spent} {:?}", found.reasons);
    }
}
