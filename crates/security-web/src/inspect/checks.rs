//! Exact checks for everything but SQL and shells.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::{
    cursor::{Cursor, WINDOW, before, has, is_word},
    prose,
};

/// A tag's name that really ends. Most elements do nothing without an attribute.
pub(super) fn is_tag(text: &[u8], start: usize, end: usize) -> bool {
    const BY_THEMSELVES: [&[u8]; 5] = [b"<svg", b"<math", b"<xss", b"<noscript", b"<foreignobject"];
    if text.get(end) == Some(&b'>') && !BY_THEMSELVES.contains(&&text[start..end]) {
        return false;
    }
    // `<math.h>`, `<object|list>`: names of something else.
    text[end - 1] == b' ' || text.get(end).is_none_or(|byte| !is_word(*byte) && !b"-.|,;)`".contains(byte))
}

/// A chain of `../` that climbs out rather than tidies up.
pub(super) fn is_traversal(text: &[u8], start: usize, _end: usize) -> bool {
    let mut cursor = Cursor::new(text, start);
    let (mut climbs, mut n_stays) = (0, 0);
    let mut is_odd = false;
    loop {
        let dots = cursor.skip(|byte| byte == b'.');
        // `./` stays where it is.
        if dots == 1 && climbs > 0 && cursor.skip(|byte| matches!(byte, b'/' | b'\\')) > 0 {
            n_stays += 1;
            if n_stays > 8 {
                break;
            }
            continue;
        }
        // A line's end in between is dropped by some.
        if dots == 2
            && climbs < 8
            && cursor.peek() == Some(b' ')
            && matches!(text.get(cursor.at + 1), Some(b'/' | b'\\'))
        {
            cursor.at += 1;
        }
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
    // Near by, so that a text full of dots stays linear.
    let near = &text[start.saturating_sub(2 * WINDOW)..text.len().min(start + 2 * WINDOW)];
    let is_sentence = near.contains(&b' ');
    let rest = cursor.rest();
    // `a/b/../../c` stays where it is, and pages name their pictures from above.
    let depth = text[start.saturating_sub(WINDOW)..start]
        .rsplit(|byte| b" \"'=,(".contains(byte))
        .next()
        .map_or(0, |prior| {
            prior
                .split(|byte| matches!(byte, b'/' | b'\\'))
                .filter(|segment| !matches!(*segment, b"" | b"."))
                .count()
        });
    let is_asset = names_an_asset(rest);
    let is_tidy = climbs < 3 && (depth >= climbs || is_asset);
    is_value_start
        && (climbs >= 3 && !(is_asset && is_sentence)
            || climbs == 2 && !is_sentence && !is_tidy
            || climbs >= 1 && is_odd && !is_sentence
            || climbs >= 1 && names_a_file(rest, is_sentence))
}

/// What pages refer to by `../`.
fn names_an_asset(rest: &[u8]) -> bool {
    const ENDS: [&[u8]; 14] = [
        b".css", b".js", b".png", b".jpg", b".jpeg", b".gif", b".svg", b".webp", b".ico", b".md", b".html",
        b".ts", b".woff2", b".mjs",
    ];
    let name = &rest[..rest.iter().position(|byte| b" ?#\"')".contains(byte)).unwrap_or(rest.len())];
    ENDS.iter().any(|end| name.ends_with(end))
}

/// What is looked for above: files of the system anywhere, files of applications as a value of their own.
fn names_a_file(rest: &[u8], is_sentence: bool) -> bool {
    const SYSTEM: [&[u8]; 14] = [
        b"etc/passwd",
        b"etc/shadow",
        b"etc/hosts",
        b"etc/group",
        b"windows/win",
        b"windows/sys",
        b"windows\\",
        b"winnt",
        b"boot.ini",
        b"proc/self",
        b"var/log",
        b"web-inf",
        b".ssh",
        b"wp-config",
    ];
    const APPLICATION: [&[u8]; 10] =
        [b"etc/", b"proc/", b"var/", b"usr/", b"root/", b"home/", b".env", b".git", b"secret", b"passwd"];
    SYSTEM.iter().any(|name| rest.starts_with(name))
        || !is_sentence && APPLICATION.iter().any(|name| rest.starts_with(name)) && !names_an_asset(rest)
}

/// A path of the system as a whole value, or behind an equals sign.
pub(super) fn is_system_path(text: &[u8], start: usize, _end: usize) -> bool {
    let near = &text[start.saturating_sub(WINDOW)..text.len().min(start + WINDOW)];
    let is_drive = start == 1 && text[start] == b':';
    !near.contains(&b' ')
        && (start == 0 || is_drive || matches!(text[start - 1], b'=' | b':' | b'/' | b'"' | b'\''))
}

/// A path that is the whole value, not one that a text or a command line tells of.
pub(super) fn is_alone(text: &[u8], start: usize, end: usize) -> bool {
    let near = text[start.saturating_sub(WINDOW)..text.len().min(end + WINDOW)].trim_ascii();
    // A chain of parents is a path wherever it stands, also with a line's end in it.
    !near.contains(&b' ') || has(near, b"../") || has(near, b".. /") || has(near, b"..\\")
}

/// Files that only servers have, as a path that is the whole value.
pub(super) fn is_server_file(text: &[u8], start: usize, end: usize) -> bool {
    const SHORTEST: usize = 4;
    let is_drive = || text.get(1) == Some(&b':') && matches!(text.get(2), Some(b'/' | b'\\'));
    let is_path = matches!(text.first(), Some(b'/' | b'\\' | b'.')) || is_drive();
    let behind = &text[end..];
    start >= SHORTEST
        && is_path
        && (behind.is_empty() || behind.starts_with(b"?") || behind.starts_with(b"%"))
        && matches!(text[start - 1], b'/' | b'\\')
        && start < WINDOW
        && !text[..end].contains(&b' ')
}

/// `\\\\host\\c$\\`: the disk of a machine, as the whole value.
pub(super) fn is_share(text: &[u8], start: usize, _end: usize) -> bool {
    text.starts_with(b"\\\\")
        && start > 2
        && start < WINDOW
        && !text[2..start].iter().any(|byte| b"\\ ".contains(byte))
}

/// A call with something more than a name: programs hand on what they have, and texts name a function with brackets.
pub(super) fn is_call_with_text(text: &[u8], _start: usize, end: usize) -> bool {
    let mut cursor = Cursor::new(text, end);
    cursor.skip(|byte| is_word(byte) || matches!(byte, b' ' | b'.'));
    cursor.peek() != Some(b')')
}

/// A function that is called, and not made.
pub(super) fn is_no_definition(text: &[u8], start: usize, _end: usize) -> bool {
    !text[..start].ends_with(b"def ") && !text[..start].ends_with(b"function ")
}

/// `..` as a segment.
pub(super) fn is_parent(text: &[u8], start: usize, _end: usize) -> bool {
    start.checked_sub(1).is_none_or(|at| matches!(text[at], b'/' | b'\\' | b'=' | b' ' | b'"'))
}

/// A name that begins where it should.
pub(super) fn begins(text: &[u8], start: usize, _end: usize) -> bool {
    start.checked_sub(1).is_none_or(|at| !is_word(text[at]))
}

/// Where code stands rather than the name of something in a text: at the beginning, behind a sign of code or `return`.
pub(super) fn is_code(text: &[u8], start: usize, _end: usize) -> bool {
    start.checked_sub(1).is_none_or(|at| b"({;=,'\"+&|!:}".contains(&text[at]))
        || text[..start].ends_with(b"return ")
        || text[..start].ends_with(b"; ")
        || text.len() < 48 && text[start - 1] != b'`' && !is_word(text[start - 1])
}

/// A module that is loaded, or called on: `require('child_process')`, `child_process.exec(`.
pub(super) fn is_module(text: &[u8], start: usize, end: usize) -> bool {
    let head = &text[start.saturating_sub(16)..start];
    let head = head.strip_suffix(b"node:").unwrap_or(head);
    let is_loaded = [&b"require("[..], b"import(", b"_load("].iter().any(|call| {
        head.split_last().is_some_and(|(quote, before)| {
            matches!(quote, b'\'' | b'"' | b'`') && before.trim_ascii_end().ends_with(call)
        })
    });
    let rest = &text[end..text.len().min(end + 16)];
    let is_called = [&b".exec"[..], b".spawn", b".fork"].iter().any(|call| rest.starts_with(call));
    is_loaded || is_called && is_code(text, start, end)
}

/// `__proto__`, `constructor.prototype`: as the name of a parameter or key, not where a text tells of them.
pub(super) fn is_key(text: &[u8], start: usize, _end: usize) -> bool {
    start.checked_sub(1).is_none_or(|at| b"[]\"'{,.&=(".contains(&text[at]))
        && !text[..start].ends_with(b"prototype.")
        && !text[..start].ends_with(b"`")
}

/// `process.exit(`: programs end so in a line of their own; what is injected has little else.
pub(super) fn is_end_of_process(text: &[u8], start: usize, end: usize) -> bool {
    const SHORT: usize = 64;
    is_code(text, start, end)
        && (text.len() < SHORT || before(text, start).is_some_and(|byte| b"({,'\"+&|".contains(&byte)))
}

/// `String.fromCharCode(88`: of numbers; programs have names there.
pub(super) fn is_char_code(text: &[u8], _start: usize, end: usize) -> bool {
    let rest = Cursor::new(text, end).rest().trim_ascii_start();
    rest.first().is_some_and(u8::is_ascii_digit) || rest.starts_with(b"...") || rest.starts_with(b"parseint")
}

/// `__proto__` that leads to something, or is the name of something; in short values anywhere.
pub(super) fn is_proto(text: &[u8], _start: usize, end: usize) -> bool {
    const SHORT: usize = 64;
    let rest = &text[end..];
    text.len() < SHORT
        || matches!(
            rest,
            [b'[' | b'.', ..] | [b'"' | b'\'', b']' | b':', ..] | [b']', ..] | [b'"' | b'\'', b' ', b':', ..]
        )
}

/// What a sentence does not merely name.
pub(super) fn is_not_told(text: &[u8], start: usize, end: usize) -> bool {
    !prose::names(text, start, end)
}

/// One of Python's inner names where it leads to something: from a class to its bases, into the globals of a function,
/// to a module. Programs ask a class for its name.
pub(super) fn is_way_out(text: &[u8], start: usize, end: usize) -> bool {
    // A value that is not much more than such a name has no other use.
    const SHORT: usize = 40;
    const TO_OTHERS: [&[u8]; 8] = [
        b"[",
        b".__mro__",
        b".__base",
        b".__subclasses__",
        b".__init__.",
        b".__class__",
        b".__getattribute__",
        b".mro(",
    ];
    let rest = Cursor::new(text, end).rest();
    let begins = |starts: &[&[u8]]| starts.iter().any(|start| rest.starts_with(start));
    // `['__class__']`, `|attr("__class__")`
    let is_asked_for = start > 1
        && matches!(text[start - 1], b'\'' | b'"')
        && rest.first() == Some(&text[start - 1])
        && matches!((text[start - 2], rest.get(1)), (b'[', Some(b']')) | (b'(', Some(b')')));
    text.len() < SHORT
        || is_asked_for
        || match &text[start..end] {
            b"__import__" => begins(&[b"('", b"(\"", b"(chr", b"(bytes", b"(request", b"(base64", b"(f'"]),
            b"__class__" => begins(&TO_OTHERS),
            _ => begins(&[b"[", b"."]),
        }
}

/// A function asked for by its name: not the mode that Python compiles a program in.
pub(super) fn is_call_by_name(text: &[u8], start: usize, _end: usize) -> bool {
    let near = &text[start.saturating_sub(WINDOW)..start];
    !has(near, b"compile(") && !has(near, b"hasattr(")
}

/// A pickle that stands there, or comes from elsewhere; programs load what they named.
pub(super) fn is_load(text: &[u8], _start: usize, end: usize) -> bool {
    const SHORT: usize = 100;
    const FROM: [&[u8]; 6] = [b"('", b"(\"", b"(b'", b"(b\"", b"(base64", b"(request"];
    text.len() < SHORT || FROM.iter().any(|start| text[end..].starts_with(start))
}

/// Python's module for processes, with a call of it and not one of its constants.
pub(super) fn is_process(text: &[u8], start: usize, end: usize) -> bool {
    const CONSTANTS: [&[u8]; 4] = [b"pipe", b"stdout", b"devnull", b"calledprocesserror"];
    is_code(text, start, end) && !CONSTANTS.iter().any(|name| text[end..].starts_with(name))
}

/// A style's expression: behind the colon of a property.
pub(super) fn is_style_value(text: &[u8], start: usize, _end: usize) -> bool {
    before(text, start) == Some(b':')
}

/// Objects that templates of applications do not hand to their users; first among the words.
const TEMPLATE_ROOTS: [&[u8]; 13] = [
    b"config",
    b"request.",
    b"self.",
    b"file.",
    b"dir.",
    b"cycler",
    b"joiner",
    b"settings.",
    b"process.m",
    b"process.env",
    b"process.b",
    b"process.exit",
    b"process.kill",
];

/// What a template does not need and an attack does.
static TEMPLATE_WORDS: LazyLock<AhoCorasick> = LazyLock::new(|| {
    const WORDS: [&[u8]; 46] = [
        b"__",
        b".class",
        b"getclass",
        b"forname",
        b"runtime",
        b"processbuilder",
        b"popen(",
        b"system(",
        b"sleep(",
        b"exec(",
        b"eval(",
        b"_self",
        b"app.request",
        b"lipsum",
        b"constructor",
        b"t(java",
        b"new java",
        b"require(",
        b"dump(",
        b"file(",
        b"io.popen",
        b"''",
        b"\"\"",
        b"[].",
        b"().",
        b"%x(",
        b"|attr",
        b"|filter(",
        b"|map(",
        b"|system",
        b"|add:",
        b"(#",
        b"#context",
        b"@print",
        b"applicationscope",
        b"sessionscope",
        b"pagecontext",
        b"t(org",
        b"getsession",
        b"setattribute",
        b"writefile",
        b"clearconfig",
        b"getservletcontext",
        b"signer.",
        b"system.io.",
        b"`",
    ];
    AhoCorasick::builder()
        .kind(Some(AhoCorasickKind::DFA))
        .build(TEMPLATE_ROOTS.iter().chain(&WORDS))
        .expect("a few hundred bytes of words fit")
});

/// What a template's inside leads out by; the names of roots only where they are one: `matrix.config` is a field. Where
/// it may well be the text of a program, empty brackets and quotation marks lead nowhere.
fn leads_out(inside: &[u8], is_program: bool) -> bool {
    const OF_PROGRAMS: [&[u8]; 7] = [b"''", b"\"\"", b"[].", b"().", b"`", b"constructor", b"file("];
    TEMPLATE_WORDS.find_overlapping_iter(inside).any(|hit| {
        let is_field = |prior: usize| is_word(inside[prior]) || inside[prior] == b'.';
        if is_program && OF_PROGRAMS.contains(&&inside[hit.start()..hit.end()]) {
            return false;
        }
        hit.pattern().as_usize() >= TEMPLATE_ROOTS.len() || !hit.start().checked_sub(1).is_some_and(is_field)
    })
}

/// `{{…}}`, `${…}`, `#{…}`, `<%…%>`: with arithmetic, calls or what leads out of a template inside.
pub(super) fn is_template(text: &[u8], start: usize, end: usize) -> bool {
    let rest = Cursor::new(text, end).rest();
    if rest.first() == Some(&text[end - 1]) {
        // `{{{`: the innermost pair is the one that counts, and it is a hit of its own.
        return false;
    }
    // `///@{ /**` groups, `!@(pkg-config)` runs: in files that are no templates.
    let prior = start.checked_sub(1).map(|at| text[at]);
    if text[start] == b'@' && (rest.first() == Some(&b' ') || matches!(prior, Some(b'!' | b'/'))) {
        return false;
    }
    let close: &[u8] = match (text[start], text[end - 1]) {
        (b'<', _) => b"%>",
        (_, b'(') => b")",
        (b'[', b'=') => b"]",
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
    let is_whole = is_closed && matches!(inside, b"self" | b"debug" | b"request" | b"settings" | b"app");
    // `${…}` within a JavaScript text; `{{` that a program writes and closes elsewhere.
    let before = &text[start.saturating_sub(2 * WINDOW)..start];
    let is_in_text = || memchr::memchr(b'`', before).is_some() && text.len() > SHORT_OF_PROGRAM;
    let is_program = text[start] == b'$' && is_in_text() || !is_closed && text.len() > SHORT_OF_PROGRAM;
    // A text that a program writes ends within.
    let first = memchr::memchr(b'"', inside).and_then(|at| inside.get(at + 1));
    let is_cut = text.len() > SHORT_OF_PROGRAM && first.is_some_and(|byte| b"),;".contains(byte));
    if is_cut && !has(inside, b"__") {
        return false;
    }
    has_math
        || is_whole
        || (is_closed || memchr::memchr(b'(', inside).is_some()) && leads_out(inside, is_program)
}

/// Shorter texts are no pieces of programs.
const SHORT_OF_PROGRAM: usize = 48;

/// `{% … %}`: with something that templates of users do not do.
pub(super) fn is_directive(text: &[u8], _start: usize, end: usize) -> bool {
    let mut cursor = Cursor::new(text, end);
    cursor.skip(|byte| matches!(byte, b' ' | b'-' | b'+'));
    let word = cursor.word();
    let rest = cursor.rest();
    let inside = &rest[..memchr::memmem::find(rest, b"%}").unwrap_or(rest.len())];
    matches!(word, b"import" | b"debug" | b"from")
        || leads_out(inside, false)
        || matches!(word, b"set" | b"print")
            && inside.iter().any(u8::is_ascii_digit)
            && inside.contains(&b'*')
        || word == b"include" && inside.contains(&b'/') && inside.contains(&b'\'') && has(inside, b"/etc")
}

/// `${jndi:` and the look-ups that hide it.
pub(super) fn is_lookup(text: &[u8], start: usize, end: usize) -> bool {
    let _ = start;
    text.get(end).is_some_and(|byte| *byte > b' ')
}

/// A filter of LDAP that closes what somebody else opened.
pub(super) fn is_ldap(text: &[u8]) -> bool {
    let Some(first) = text.iter().position(|byte| matches!(byte, b'(' | b')')) else { return false };
    let opens_filter = matches!(text.get(first + 1), Some(b'&' | b'|' | b'!'))
        && text[..first].iter().all(|byte| *byte == b'*');
    if text[first] == b'(' && !opens_filter && !text.starts_with(b"*(") {
        return false;
    }
    // `)(&`, `) ( |`: another filter behind the one that was closed.
    let goes_on = memchr::memchr_iter(b')', text).take(16).any(|at| {
        let mut cursor = Cursor::new(text, at + 1);
        cursor.space();
        cursor.eat(b"(") && {
            cursor.space();
            matches!(cursor.peek(), Some(b'&' | b'|' | b'!'))
        }
    });
    goes_on
        || memchr::memchr_iter(b'(', text).take(16).any(|at| {
            // `name(key=value`: a call of a program.
            if at.checked_sub(1).is_some_and(|prior| is_word(text[prior])) {
                return false;
            }
            let mut cursor = Cursor::new(text, at + 1);
            cursor.skip(|byte| matches!(byte, b'&' | b'|' | b'!' | b'(' | b' '));
            let name = cursor.skip(|byte| is_word(byte) || matches!(byte, b'-' | b'.' | b':' | b';'));
            name > 0
                && name < 40
                && (cursor.eat(b"=") || cursor.eat(b"~=") || cursor.eat(b">=") || cursor.eat(b"<="))
        })
        || text.starts_with(b"*)(")
        || text.len() < 40 && [&b"*)"[..], b"*()"].iter().any(|start| text.starts_with(start))
        || text.len() < 40 && has(text, b"*))")
}

/// `axis::` of XPath with a node behind it.
pub(super) fn is_axis(text: &[u8], start: usize, end: usize) -> bool {
    let mut cursor = Cursor::new(text, end);
    if cursor.eat(b"*") || [&b"node("[..], b"text(", b"comment("].iter().any(|node| cursor.eat(node)) {
        return true;
    }
    // `Child::new(one)` is a path of a program: there no step stands in front, and none behind.
    let is_step = start.checked_sub(1).is_none_or(|at| b"/[(|=".contains(&text[at]));
    let name = cursor.word();
    !name.is_empty()
        && (start.checked_sub(1).is_some_and(|at| text[at] == b'/')
            || is_step && cursor.peek().is_none_or(|byte| b"/[=|".contains(&byte)))
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
    // A name leads nowhere.
    let is_named = has(rest, b" system \"urn:") || has(rest, b" system 'urn:");
    has(rest, b"[")
        || has(rest, b" system ") && !is_named
        || has(rest, b" public ") && !has(rest, b"-//w3c//")
}
