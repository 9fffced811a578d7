//! Exact checks for scripts: what calls, names or replaces something of a browser.

use super::{
    cursor::{Cursor, before, has, is_word},
    prose,
};

/// `alert(` and friends with an argument that probes have.
pub(super) fn is_probe_call(text: &[u8], start: usize, end: usize) -> bool {
    // `rl.prompt()`; methods of what a browser has are told by their owner.
    let is_method = start.checked_sub(1).is_some_and(|at| is_word(text[at]) || text[at] == b'.');
    let rest = Cursor::new(text, end).rest();
    // "wait for a prompt() call": nothing is asked, and a sentence tells of it.
    let is_told = || rest.first() == Some(&b')') && prose::names(text, start, end);
    !is_method
        && !is_told()
        && (rest.first().is_some_and(|byte| {
            byte.is_ascii_digit() || matches!(byte, b'\'' | b'"' | b'`' | b'/' | b'(' | b')')
        }) || [
            &b"document"[..],
            b"window",
            b"self",
            b"location",
            b"origin",
            b"event",
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
    let is_name = start.checked_sub(1).is_some_and(|at| is_word(text[at]) || text[at] == b'.');
    let rest = Cursor::new(text, end).rest();
    if text[..end].ends_with(b"import(")
        && let Some((b'\'' | b'"' | b'`', module)) = rest.split_first()
    {
        // A module of the program's own is named without a host.
        const ELSEWHERE: [&[u8]; 6] = [b"//", b"http", b"data:", b"blob:", b"\\", b"/\\"];
        return ELSEWHERE.iter().any(|start| module.starts_with(start));
    }
    // `Function('f')`: a name is no program.
    if text[..end].ends_with(b"function(")
        && let Some((quote @ (b'\'' | b'"'), body)) = rest.split_first()
        && memchr::memchr(*quote, body).is_some_and(|close| body[..close].iter().all(|byte| is_word(*byte)))
    {
        return false;
    }
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

/// A function that probes call, handed on by its name: `[1].find(alert)`, `(alert)(1)`, `onerror=alert,`.
pub(super) fn is_alias(text: &[u8], start: usize, end: usize) -> bool {
    let prior = start.checked_sub(1).map(|at| text[at]);
    let next = text.get(end).copied();
    let caller = start.checked_sub(2).map(|at| text[at]).is_some_and(|byte| is_word(byte) || byte == b']');
    let called = matches!(text.get(end + 1), Some(b'(' | b'`'));
    // Programs hand on what they ask: `input(prompt)`.
    let caller = caller && (&text[start..end] != b"prompt" || text.len() < 32);
    match (prior, next) {
        (Some(b'('), Some(b')')) => caller || called,
        (Some(b'('), Some(b',')) => caller,
        (Some(b'='), Some(b',' | b';' | b')')) => true,
        (_, Some(b'?')) => text[end..].starts_with(b"?.("),
        _ => false,
    }
}

/// `document.cookie`, `window["…"]`, `location='//…'`, with brackets, comments and spaces between.
pub(super) fn is_use_of_global(text: &[u8], start: usize, end: usize) -> bool {
    const WINDOW: [&[u8]; 12] = [
        b"alert",
        b"confirm",
        b"prompt",
        b"eval",
        b"location",
        b"document",
        b"onerror",
        b"name",
        b"opener",
        b"settimeout",
        b"setinterval",
        b"open",
    ];
    const DOCUMENT: [&[u8]; 6] = [b"cookie", b"write", b"writeln", b"domain", b"location", b"body"];
    if start.checked_sub(1).is_some_and(|at| is_word(text[at]) || matches!(text[at], b'.' | b'-' | b'/')) {
        return false;
    }
    let global = &text[start..end];
    let mut cursor = Cursor::new(text, end);
    cursor.skip(|byte| matches!(byte, b' ' | b')'));
    if global == b"location" {
        return is_new_location(&mut cursor);
    }
    let _ = cursor.eat(b"?");
    if cursor.eat(b"[") {
        cursor.space();
        let rest = cursor.rest();
        // `self["config"]`: an entry, not a function that is called or a name that is put together.
        let is_used = || [&b"]("[..], b"]`", b"+", b"]["].iter().any(|sign| has(rest, sign));
        if text.len() >= 48 && is_of_objects(global) && !is_used() {
            return false;
        }
        return matches!(cursor.peek(), Some(b'\'' | b'"' | b'`' | b'/' | b'(' | b'\\'));
    }
    if !cursor.eat(b".") {
        return false;
    }
    cursor.space();
    let name = cursor.word();
    let at = cursor.at;
    cursor.space();
    let is_used = |cursor: &Cursor<'_>| matches!(cursor.peek(), Some(b'(' | b'=' | b'`' | b'[' | b'.'));
    match name {
        b"cookie" | b"domain" => global == b"document",
        b"location" => {
            let is_known = global == b"document" || WINDOW.contains(&name);
            is_known && (is_new_location(&mut cursor))
        }
        b"body" => global == b"document" && cursor.eat(b".innerhtml"),
        b"name" => global == b"window" && at == text.len(),
        _ if global == b"document" => DOCUMENT.contains(&name) && is_used(&cursor),
        b"document" => cursor.peek() != Some(b'(') && is_used(&cursor),
        // `self.open(…)`: what programs in other languages have as well.
        b"confirm" | b"open" | b"opener" | b"prompt" | b"onerror"
            if text.len() >= 48 && is_of_objects(global) =>
        {
            false
        }
        _ => WINDOW.contains(&name) && is_used(&cursor),
    }
}

/// Names of a window that are also names of objects elsewhere.
fn is_of_objects(global: &[u8]) -> bool {
    matches!(global, b"self" | b"parent" | b"top" | b"frames")
}

/// Behind `location`: an assignment or a call that leads to another page.
fn is_new_location(cursor: &mut Cursor<'_>) -> bool {
    if cursor.eat(b".") {
        cursor.space();
        match cursor.word() {
            b"href" => {}
            b"replace" | b"assign" => return cursor.peek() == Some(b'('),
            b"hash" | b"search" => return matches!(cursor.peek(), Some(b'.' | b')')),
            _ => return false,
        }
        cursor.space();
    }
    if !cursor.eat(b"=") {
        return false;
    }
    cursor.skip(|byte| matches!(byte, b' ' | b'\'' | b'"' | b'`' | b'('));
    let rest = cursor.rest();
    [&b"//"[..], b"http", b"javascript", b"data:", b"\\", b"name", b"document"]
        .iter()
        .any(|start| rest.starts_with(start))
}

/// Something assigned to `innerHTML`, other than a plain text.
pub(super) fn is_new_html(text: &[u8], _start: usize, end: usize) -> bool {
    let rest = Cursor::new(text, end).rest().trim_ascii_start();
    let Some((quote @ (b'"' | b'\''), inside)) = rest.split_first() else { return true };
    let close = memchr::memchr(*quote, inside).unwrap_or(inside.len());
    inside[..close].iter().any(|byte| b"<&\\".contains(byte))
        || inside.get(close + 1).is_some_and(|byte| matches!(byte, b'+' | b'`'))
}

/// Whether what stands behind `<script>` may be a script, and not the rest of a sentence about it.
pub(super) fn has_code(behind: &[u8]) -> bool {
    let end = memchr::memchr(b'<', behind).unwrap_or(behind.len());
    let is_closed = behind[end..].get(..8).is_some_and(|tag| tag.eq_ignore_ascii_case(b"</script"));
    // No script begins with what ends a sentence.
    end > 0
        && !b".,):?".contains(&behind[0])
        && (is_closed || behind[..end].iter().any(|byte| b"(=`[{;\\&/+%".contains(byte)))
}

/// A script element that is more than its name.
pub(super) fn is_element(text: &[u8], start: usize, end: usize) -> bool {
    match text.get(end) {
        // The end of one is an attack where something begins behind it.
        Some(b'>') if text[start + 1] == b'/' => text[end + 1..].trim_ascii_start().starts_with(b"<"),
        Some(b'>') => start == 0 && end + 1 == text.len() || has_code(&text[end + 1..]),
        next => next.is_none_or(|byte| !is_word(*byte) && *byte != b'-'),
    }
}

/// `<x:script`: an element of any name space is a script where the name space is HTML's.
pub(super) fn is_prefixed(text: &[u8], start: usize, end: usize) -> bool {
    let prefix = text[..start].iter().rev().take(24).take_while(|byte| is_word(**byte)).count();
    prefix > 0
        && text[..start - prefix].ends_with(b"<")
        && text.get(end).is_none_or(|byte| !is_word(*byte) && *byte != b'-')
}

/// `x.constructor(`: a function's constructor makes functions of text; a class's own stands alone.
pub(super) fn is_constructor(text: &[u8], start: usize, _end: usize) -> bool {
    text[..start].ends_with(b".") || text[..start].ends_with(b"[")
}

/// The longest name of an event handler is a little shorter.
const LONGEST_EVENT: usize = 40;

/// `on…=` as an attribute: behind a space, a slash or a quotation mark, and something that runs behind it. Found from
/// its equals sign, of which texts have few.
pub(super) fn event(text: &[u8]) -> Option<(usize, usize)> {
    memchr::memchr_iter(b'=', text).find_map(|equals| {
        let window = equals.saturating_sub(LONGEST_EVENT + 8);
        let head = text[window..equals].trim_ascii_end();
        let length =
            head.iter().rev().take(LONGEST_EVENT).take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let start = window + head.len() - length;
        // `ng-click=`: frameworks have handlers of their own.
        let is_directive = text[..start].ends_with(b"ng-")
            && (has(Cursor::new(text, equals).rest(), b"$event")
                || has(Cursor::new(text, equals).rest(), b"constructor"));
        (length > 4 && text[start..].starts_with(b"on") && runs(text, start, equals) || is_directive)
            .then_some((start, equals))
    })
}

fn runs(text: &[u8], start: usize, equals: usize) -> bool {
    let prior = start.checked_sub(1).map(|at| text[at]);
    if !prior.is_none_or(|byte| b" /'\"`<>,;".contains(&byte) || byte < 0x20) {
        return false;
    }
    let rest = Cursor::new(text, equals + 1).rest();
    let window = &text[start.saturating_sub(64)..start];
    let is_in_tag = window
        .iter()
        .rposition(|byte| *byte == b'<')
        .is_some_and(|at| !window[at..].contains(&b'>') || window[at..].len() < 40);
    let breaks_out = matches!(before(text, start), Some(b'\'' | b'"' | b'`'));
    let is_own = calls_own(&text[equals + 1..]);
    if is_in_tag && is_own && !breaks_out {
        return false;
    }
    is_in_tag
        || breaks_out
        // Without a tag or a mark, as only attributes are written.
        || start > 0
            && text[equals - 1] != b' '
            && [&b"("[..], b"`", b"location", b"document."].iter().any(|sign| has(rest, sign))
}

/// `="save()"`: a handler that only calls, without an argument, what the page would have to have; not what every
/// browser has.
pub(super) fn calls_own(value: &[u8]) -> bool {
    const OF_BROWSERS: [&[u8]; 14] = [
        b"alert", b"confirm", b"prompt", b"print", b"open", b"close", b"stop", b"eval", b"focus", b"blur",
        b"find", b"submit", b"click", b"remove",
    ];
    let Some((mark @ (b'"' | b'\''), rest)) = value.split_first() else { return false };
    let name = rest.iter().take(32).take_while(|byte| is_word(**byte)).count();
    let behind = &rest[name..];
    name > 2
        && behind.starts_with(b"()")
        && matches!(behind.get(2..4), Some([b';', last]) if last == mark) | (behind.get(2) == Some(mark))
        && !OF_BROWSERS.iter().any(|known| known.eq_ignore_ascii_case(&rest[..name]))
}

/// `javascript:` with code behind it.
pub(super) fn is_uri(text: &[u8], start: usize, end: usize) -> bool {
    let rest = Cursor::new(text, end).rest();
    // `test:javascript:unit` is the name of a script of somebody's.
    let is_name = start.checked_sub(1).is_some_and(|at| is_word(text[at]) || text[at] == b':');
    !is_name
        && !is_nothing(rest)
        && !rest.starts_with(b" ")
        && rest.iter().any(|byte| matches!(byte, b'(' | b'=' | b'`' | b';' | b'[' | b'\'' | b'"' | b'/'))
}

/// `void(0)`, `;`: scripts of links that do nothing.
fn is_nothing(script: &[u8]) -> bool {
    [&b"void(0)"[..], b"void 0", b""].iter().any(|nothing| {
        script.strip_prefix(*nothing).is_some_and(|behind| {
            let behind = behind.strip_prefix(b";").unwrap_or(behind);
            match behind {
                [] | [b'>' | b' ', ..] => true,
                [b'"' | b'\'', rest @ ..] => matches!(rest.first(), None | Some(b'>' | b' ')),
                _ => false,
            }
        })
    })
}

/// A script URI whose scheme is broken by line ends and tabs, which browsers drop.
pub(super) fn has_split_uri(decoded: &[u8]) -> bool {
    const SCHEMES: [&[u8]; 2] = [b"javascript", b"vbscript"];
    const MOST_BREAKS: usize = 24;
    memchr::memchr_iter(b':', decoded).any(|colon| {
        SCHEMES.iter().any(|scheme| {
            let window = &decoded[colon.saturating_sub(scheme.len() + MOST_BREAKS)..colon];
            let mut letters = window.iter().rev().filter(|byte| **byte > b' ');
            let n_breaks = window.iter().filter(|byte| **byte <= b' ').count();
            n_breaks > 0
                && scheme
                    .iter()
                    .rev()
                    .all(|letter| letters.next().is_some_and(|byte| byte.eq_ignore_ascii_case(letter)))
        }) && {
            let rest = &decoded[colon + 1..decoded.len().min(colon + 96)];
            rest.iter().any(|byte| matches!(byte, b'(' | b'=' | b'`' | b';' | b'[' | b'\'' | b'"' | b'/'))
        }
    })
}
