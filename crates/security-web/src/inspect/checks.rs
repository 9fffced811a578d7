//! Exact checks for everything but SQL and shells.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::cursor::{Cursor, before, has, is_word};

/// A tag's name that really ends.
pub(super) fn is_tag(text: &[u8], _start: usize, end: usize) -> bool {
    text.get(end).is_none_or(|byte| !is_word(*byte) && *byte != b'-')
}

/// `on…=` as an attribute: behind a space, a slash or a quotation mark, and something that runs behind it.
pub(super) fn is_event(text: &[u8], start: usize, end: usize) -> bool {
    let mut cursor = Cursor::new(text, end);
    let name = cursor.skip(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !(3..=26).contains(&name)
        || !start.checked_sub(1).is_none_or(|at| {
            matches!(text[at], b' ' | b'/' | b'\'' | b'"' | b'`' | b'<' | b'>' | b',' | b';')
        })
    {
        return false;
    }
    cursor.skip(|byte| byte < 0x21);
    if !cursor.eat(b"=") {
        return false;
    }
    let rest = cursor.rest();
    let window = &text[start.saturating_sub(64)..start];
    let is_in_tag = window
        .iter()
        .rposition(|byte| *byte == b'<')
        .is_some_and(|at| !window[at..].contains(&b'>') || window[at..].len() < 40);
    let breaks_out = matches!(before(text, start), Some(b'\'' | b'"' | b'`'));
    is_in_tag
        || breaks_out
        || [&b"("[..], b"`", b"location", b"document."].iter().any(|sign| has(rest, sign)) && start > 0
}

/// `javascript:` with code behind it.
pub(super) fn is_script_uri(text: &[u8], start: usize, end: usize) -> bool {
    let rest = Cursor::new(text, end).rest();
    let is_name = start.checked_sub(1).is_some_and(|at| is_word(text[at]));
    !is_name
        && !rest.starts_with(b" ")
        && rest.iter().any(|byte| matches!(byte, b'(' | b'=' | b'`' | b';' | b'[' | b'\'' | b'"' | b'/'))
}

/// `alert(` and friends with an argument that probes have.
pub(super) fn is_probe_call(text: &[u8], start: usize, end: usize) -> bool {
    let is_method = start.checked_sub(1).is_some_and(|at| is_word(text[at]));
    let rest = Cursor::new(text, end).rest();
    !is_method
        && (rest.first().is_some_and(|byte| {
            byte.is_ascii_digit() || matches!(byte, b'\'' | b'"' | b'`' | b'/' | b'(' | b')')
        }) || [
            &b"document"[..],
            b"window",
            b"self",
            b"location",
            b"origin",
            b"this",
            b"string",
            b"atob",
            b"unescape",
            b"xss",
            b"\\",
        ]
        .iter()
        .any(|word| rest.starts_with(word)))
}

/// `eval(` and the like of something computed.
pub(super) fn is_eval(text: &[u8], start: usize, end: usize) -> bool {
    let is_name =
        start.checked_sub(1).is_some_and(|at| is_word(text[at]) || text[at] == b'.' && text[start] == b'i');
    let rest = Cursor::new(text, end).rest();
    !is_name
        && [
            &b"atob"[..],
            b"string.",
            b"name",
            b"location",
            b"unescape",
            b"$",
            b"'",
            b"\"",
            b"`",
            b"base64",
            b"compile",
            b"window",
            b"document",
            b"__import__",
            b"request",
        ]
        .iter()
        .any(|word| rest.starts_with(word))
}

/// A chain of `../` that climbs out rather than tidies up.
pub(super) fn is_traversal(text: &[u8], start: usize, _end: usize) -> bool {
    let mut cursor = Cursor::new(text, start);
    let mut climbs = 0;
    let mut is_odd = false;
    loop {
        let dots = cursor.skip(|byte| byte == b'.');
        let has_parameter = cursor.eat(b";");
        let slashes = cursor.skip(|byte| matches!(byte, b'/' | b'\\'));
        if dots < 2 || slashes == 0 {
            break;
        }
        climbs += 1;
        is_odd |= dots > 2 && dots != 3 || has_parameter || slashes > 1;
        if climbs > 8 {
            break;
        }
    }
    let is_value_start = start == 0 || !is_word(text[start - 1]) && text[start - 1] != b'.';
    let is_sentence = text.contains(&b' ');
    is_value_start
        && (climbs >= 3
            || climbs == 2 && !is_sentence
            || climbs >= 1 && is_odd && !is_sentence
            || climbs >= 1 && names_a_file(cursor.rest()))
}

fn names_a_file(rest: &[u8]) -> bool {
    [
        &b"etc/"[..],
        b"windows",
        b"winnt",
        b"boot.ini",
        b"proc/",
        b"var/",
        b"usr/",
        b"root",
        b"home/",
        b"web-inf",
        b".env",
        b".git",
        b"wp-config",
        b".ssh",
        b"secret",
        b"passwd",
        b"config.",
    ]
    .iter()
    .any(|name| rest.starts_with(name))
}

/// `..` as a segment.
pub(super) fn is_parent(text: &[u8], start: usize, _end: usize) -> bool {
    start.checked_sub(1).is_none_or(|at| matches!(text[at], b'/' | b'\\' | b'=' | b' ' | b'"'))
}

/// A name that begins where it should.
pub(super) fn begins(text: &[u8], start: usize, _end: usize) -> bool {
    start.checked_sub(1).is_none_or(|at| !is_word(text[at]))
}

/// What a template does not need and an attack does.
static TEMPLATE_WORDS: LazyLock<AhoCorasick> = LazyLock::new(|| {
    const WORDS: [&[u8]; 33] = [
        b"__",
        b".class",
        b"getclass",
        b"forname",
        b"runtime",
        b"processbuilder",
        b"popen(",
        b"system(",
        b"exec(",
        b"eval(",
        b"config",
        b"request.",
        b"self.",
        b"_self",
        b"app.request",
        b"lipsum",
        b"cycler",
        b"joiner",
        b"constructor",
        b"t(java",
        b"new java",
        b"require(",
        b"process.",
        b"dump(",
        b"file.",
        b"file(",
        b"dir.",
        b"io.popen",
        b"''",
        b"\"\"",
        b"[].",
        b"().",
        b"%x(",
    ];
    AhoCorasick::builder()
        .kind(Some(AhoCorasickKind::DFA))
        .build(WORDS)
        .expect("a few hundred bytes of words fit")
});

/// `{{…}}`, `${…}`, `#{…}`, `<%…%>`: with arithmetic, calls or what leads out of a template inside.
pub(super) fn is_template(text: &[u8], start: usize, end: usize) -> bool {
    let rest = Cursor::new(text, end).rest();
    if rest.first() == Some(&text[end - 1]) {
        // `{{{`: the innermost pair is the one that counts, and it is a hit of its own.
        return false;
    }
    let close: &[u8] = match (text[start], text[end - 1]) {
        (b'<', _) => b"%>",
        (_, b'(') => b")",
        _ => b"}",
    };
    let length = memchr::memmem::find(rest, close).unwrap_or(rest.len());
    let inside = rest[..length].trim_ascii();
    let is_closed = length < rest.len();
    let is_bare_math = inside.iter().all(|byte| byte.is_ascii_digit() || b" =*+-/()'\"".contains(byte));
    let has_math = is_closed
        && is_bare_math
        && inside.iter().filter(|byte| byte.is_ascii_digit()).count() >= 2
        && inside.iter().any(|byte| matches!(byte, b'*' | b'+' | b'-' | b'/'));
    has_math || (is_closed || memchr::memchr(b'(', inside).is_some()) && TEMPLATE_WORDS.is_match(inside)
}

/// `${jndi:` and the look-ups that hide it.
pub(super) fn is_lookup(text: &[u8], start: usize, end: usize) -> bool {
    let _ = start;
    text.get(end).is_some_and(|byte| *byte > b' ')
}

/// A filter of LDAP that closes what somebody else opened.
pub(super) fn is_ldap(text: &[u8]) -> bool {
    let Some(first) = text.iter().position(|byte| matches!(byte, b'(' | b')')) else { return false };
    if text[first] == b'(' && !(first == 0 && matches!(text.get(1), Some(b'&' | b'|' | b'!'))) {
        return false;
    }
    memchr::memchr_iter(b'(', text).take(16).any(|at| {
        let mut cursor = Cursor::new(text, at + 1);
        cursor.skip(|byte| matches!(byte, b'&' | b'|' | b'!' | b'(' | b' '));
        let name = cursor.skip(|byte| is_word(byte) || matches!(byte, b'-' | b'.' | b':' | b';'));
        name > 0
            && name < 40
            && (cursor.eat(b"=") || cursor.eat(b"~=") || cursor.eat(b">=") || cursor.eat(b"<="))
    }) || text.starts_with(b"*)(")
        || has(text, b"*))") && text.len() < 40
}

/// `axis::` of XPath with a node behind it.
pub(super) fn is_axis(text: &[u8], _start: usize, end: usize) -> bool {
    text.get(end).is_some_and(|byte| is_word(*byte) || *byte == b'*')
}

/// `$ne` and friends where an operator stands: in brackets, in quotation marks, in front of a colon.
pub(super) fn is_operator(text: &[u8], start: usize, end: usize) -> bool {
    let is_open = start == 0 || matches!(before(text, start), Some(b'[' | b'{' | b'"' | b'\'' | b','));
    let is_closed = text.get(end).is_none_or(|byte| matches!(byte, b']' | b'"' | b'\'' | b':' | b' '));
    is_open && is_closed && (start > 0 || end == text.len())
}

/// `<!doctype` with a subset or an outside identifier; HTML's has neither.
pub(super) fn is_doctype(text: &[u8], _start: usize, end: usize) -> bool {
    let rest = Cursor::new(text, end).rest();
    let rest = &rest[..rest.iter().position(|byte| *byte == b'>').unwrap_or(rest.len())];
    has(rest, b"[") || has(rest, b" system ") || has(rest, b" public ") && !has(rest, b"-//w3c//")
}

/// PHP's serialised forms: `o:4:"user"`, `a:1:{`.
pub(super) fn is_php_object(text: &[u8], start: usize, end: usize) -> bool {
    if !begins(text, start, end) {
        return false;
    }
    let mut cursor = Cursor::new(text, end);
    cursor.skip(|byte| byte == b'+');
    let digits = cursor.skip(|byte| byte.is_ascii_digit());
    digits > 0 && (cursor.eat(b":\"") || text[start] == b'a' && cursor.eat(b":{"))
}

/// A class name as the value of `@type` or `$type`.
pub(super) fn is_type_name(text: &[u8], _start: usize, end: usize) -> bool {
    let rest = Cursor::new(text, end).rest();
    let mut cursor = Cursor::new(rest, 0);
    cursor.skip(|byte| matches!(byte, b' ' | b':' | b'"' | b'\''));
    [
        &b"com.sun."[..],
        b"org.apache.",
        b"java.",
        b"javax.",
        b"system.",
        b"org.springframework",
        b"com.zaxxer",
        b"ch.qos",
        b"l",
    ]
    .iter()
    .any(|package| cursor.rest().starts_with(package) && (*package != b"l" || has(cursor.rest(), b";")))
}

/// A line's end and then a header: names that split a response, or in a header itself anything.
pub(super) fn splits_header(decoded: &[u8], is_line: bool) -> bool {
    const NAMES: [&[u8]; 13] = [
        b"set-cookie:",
        b"location:",
        b"content-length:",
        b"content-type:",
        b"transfer-encoding:",
        b"http/1.",
        b"http/2",
        b"x-forwarded-",
        b"host:",
        b"refresh:",
        b"access-control-",
        b"x-xss-protection:",
        b"content-security-policy:",
    ];
    memchr::memchr2_iter(b'\r', b'\n', decoded).any(|at| {
        let rest = decoded[at + 1..].trim_ascii_start();
        is_line && !rest.is_empty()
            || NAMES
                .iter()
                .any(|name| rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))
    })
}

/// A line's end and then a mail header.
pub(super) fn splits_mail(decoded: &[u8]) -> bool {
    memchr::memchr2_iter(b'\r', b'\n', decoded).any(|at| {
        let rest = decoded[at + 1..].trim_ascii_start();
        [&b"bcc:"[..], b"cc:", b"rcpt to:"].iter().any(|name| {
            rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
                && rest[..rest.len().min(120)].contains(&b'@')
        })
    })
}
