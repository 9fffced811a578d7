//! Paths that a shell would find by jokers: `/e?c/p*d` is `/etc/passwd`.

use super::cursor::is_word;

/// What such paths are meant to find.
const KNOWN: [&[u8]; 24] = [
    b"/etc/passwd",
    b"/etc/shadow",
    b"/etc/hosts",
    b"/etc/group",
    b"/bin/cat",
    b"/bin/sh",
    b"/bin/bash",
    b"/bin/ls",
    b"/bin/nc",
    b"/bin/id",
    b"/bin/ping",
    b"/bin/uname",
    b"/bin/echo",
    b"/bin/more",
    b"/usr/bin/id",
    b"/usr/bin/whoami",
    b"/usr/bin/nc",
    b"/usr/bin/curl",
    b"/usr/bin/wget",
    b"/usr/bin/python3",
    b"/usr/bin/perl",
    b"/usr/bin/head",
    b"/proc/self/environ",
    b"/bin/netcat",
];
/// Longer patterns are not worth a look.
const LONGEST: usize = 40;

/// Where a text has a path with jokers that finds a known file.
pub(super) fn find(text: &[u8]) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some(at) = memchr::memchr(b'/', &text[from..]).map(|at| from + at) {
        let rest = &text[at..text.len().min(at + LONGEST)];
        let length =
            rest.iter().position(|byte| !is_word(*byte) && !b"/.?*[]!-".contains(byte)).unwrap_or(rest.len());
        let pattern = &rest[..length];
        from = at + length.max(1);
        let begins = at == 0 || !is_word(text[at - 1]) && !matches!(text[at - 1], b'*' | b'.' | b']');
        let has_joker = pattern.iter().any(|byte| matches!(byte, b'?' | b'*' | b'['));
        let n_letters = pattern.iter().filter(|byte| byte.is_ascii_alphanumeric()).count();
        if begins && has_joker && n_letters > 1 && KNOWN.iter().any(|known| matches(pattern, known)) {
            return Some((at, at + length));
        }
    }
    None
}

/// Whether a pattern finds a path; a star ends at a slash. Bounded by the product of two short lengths.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < path.len() {
        let (is_one, width) = one(&pattern[p..], path[t]);
        if is_one {
            p += width;
            t += 1;
        } else if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else {
            match star {
                Some((at, taken)) if path[taken] != b'/' => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    t = taken + 1;
                }
                _ => return false,
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Whether the next piece of a pattern stands for a byte, and how long that piece is.
fn one(pattern: &[u8], byte: u8) -> (bool, usize) {
    match pattern.first() {
        Some(b'?') => (byte != b'/', 1),
        Some(b'[') => {
            let Some(close) = memchr::memchr(b']', pattern) else { return (false, 1) };
            let set = &pattern[1..close];
            let (set, is_not) = match set.first() {
                Some(b'!') => (&set[1..], true),
                _ => (set, false),
            };
            let is_in =
                set.contains(&byte) || set.windows(3).any(|w| w[1] == b'-' && (w[0]..=w[2]).contains(&byte));
            (is_in != is_not && byte != b'/', close + 1)
        }
        Some(plain) => (*plain == byte, 1),
        None => (false, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_a_shell_finds() {
        for text in [
            "/e?c/p*d",
            "cat /etc/pass[w]d",
            ";/???/c?t x",
            "/bin/ca*",
            "/b[a-z]n/cat",
            "/etc/[!x]asswd",
            "/*in/ba*",
        ] {
            assert!(find(text.as_bytes()).is_some(), "{text}");
        }
        for text in [
            "/*",
            "src/**/*.ts",
            "*/5 * * * *",
            "/api/*/users",
            "/a[0]/b",
            "/?/?",
            "0/etc/pass?d",
            "/etc/pass[",
            "/* c */",
        ] {
            assert!(find(text.as_bytes()).is_none(), "{text}");
        }
    }
}
