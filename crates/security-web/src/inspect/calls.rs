//! Calls that PHP makes of what a value names: a variable, or a name that is put together.

use super::cursor::{Cursor, is_word};

/// The longest value that is nothing but a call.
const LONGEST: usize = 120;

/// Functions that run what they are given.
const NAMES: [&[u8]; 12] = [
    b"system",
    b"exec",
    b"passthru",
    b"shellexec",
    b"popen",
    b"procopen",
    b"pcntlexec",
    b"phpinfo",
    b"assert",
    b"eval",
    b"unserialize",
    b"createfunction",
];

/// A whole value that calls a variable, `$f(1)`, `$x['y'](2)`, or a function that runs what it is given.
pub(super) fn is_call(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let call = text.strip_suffix(b";").unwrap_or(text).trim_ascii_end();
    text.len() <= LONGEST && call.ends_with(b")") && (calls_variable(call) || calls_by_name(call))
}

/// `$f(`, `$$f(`, `${'f'}(`, `$f[0]['x'](`, `$o->$m(`.
fn calls_variable(text: &[u8]) -> bool {
    let mut cursor = Cursor::new(text, 0);
    let _ = cursor.eat(b"@");
    let mut n_steps = 0;
    loop {
        let signs = cursor.skip_few(|byte| byte == b'$');
        let start = cursor.at;
        if n_steps == 0 && signs == 0 {
            return false;
        }
        let is_named = cursor.word().first().is_some_and(|first| !first.is_ascii_digit());
        if cursor.at > start && !is_named {
            return false;
        }
        let mut is_part = false;
        while let Some(close) = match cursor.peek() {
            Some(b'[') => Some(b']'),
            Some(b'{') => Some(b'}'),
            _ => None,
        } {
            cursor.skip(|byte| byte != close);
            if cursor.peek() != Some(close) {
                return false;
            }
            cursor.at += 1;
            is_part = true;
        }
        if !is_named && !is_part || cursor.at == start {
            return false;
        }
        n_steps += 1;
        if n_steps > 4 || !(cursor.eat(b"->") || cursor.eat(b"::")) {
            break;
        }
    }
    cursor.space();
    cursor.peek() == Some(b'(')
}

/// `system(date)`, `(system)('date')`, `(sys.(te).m)('date')`, `[exec][0](ls)`: what stands in front of the last
/// bracket that opens is one of the names, between signs that only put it together.
fn calls_by_name(text: &[u8]) -> bool {
    let Some(open) = memchr::memrchr(b'(', text) else { return false };
    let head = &text[..open];
    let mut name = [0u8; 16];
    let mut length = 0;
    for byte in head {
        if byte.is_ascii_alphabetic() || *byte == b'_' {
            let Some(place) = name.get_mut(length) else { return false };
            *place = *byte;
            length += usize::from(*byte != b'_');
        } else if !b" ().'\"[]{}0".contains(byte) {
            return false;
        }
    }
    // `eval(x)` and `assert(x)` are what people ask about; put together, nobody means but one thing.
    let is_plain = head.iter().all(|byte| is_word(*byte) || *byte == b' ');
    let argument = text[open + 1..text.len() - 1].trim_ascii();
    let is_known =
        NAMES.contains(&&name[..length]) && (!is_plain || !matches!(&name[..length], b"eval" | b"assert"));
    is_known && (!is_plain || !argument.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_calls() {
        for call in [
            "$f(1)",
            "$$f(2);",
            "@$q[0](9)",
            "$x['y']('z')",
            "${'run'}(4)",
            "$o->$m(7)",
            "(system)('date')",
            "(sys.(te).m)('date');",
            "[exec][0](ls)",
            "passthru (date);",
        ] {
            assert!(is_call(call.as_bytes()), "{call}");
        }
        for other in
            ["$(5)", "$5 (net)", "(a)(b)", "print(x)", "eval(x)", "$total", "system()", "a $f(1)", "$f[(1)"]
        {
            assert!(!is_call(other.as_bytes()), "{other}");
        }
    }
}
