//! Undoing encodings, a bounded number of times, and one normal form for the automaton.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::{
    cursor::is_word,
    signs::{CODED, LINE, NULL, SPACE, STAR, Signs, TAB, UPPER},
};

/// How often a value is decoded before it is held to be hiding something.
const ROUNDS: usize = 4;

/// Decodes until nothing changes; gives the signs of the result, and `false` when it would still change after four
/// rounds.
pub(super) fn decode(input: &[u8], out: &mut Vec<u8>, spare: &mut Vec<u8>) -> (Signs, bool) {
    if !decode_once(input, out) {
        return (Signs::of(out), true);
    }
    for _ in 1..ROUNDS {
        // Most values are decoded once, and have nothing then that another round would begin with.
        let signs = Signs::of(out);
        if !signs.has(CODED) || !decode_once(out, spare) {
            return (signs, true);
        }
        std::mem::swap(out, spare);
    }
    (Signs::of(out), !decode_once(out, spare))
}

/// One round over everything at once. The result is never longer than the input.
fn decode_once(input: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    let mut changed = false;
    let mut at = 0;
    let is_ascii = input.is_ascii();
    loop {
        let rest = &input[at..];
        // Codes stand close together or far apart.
        let near = rest.iter().take(16).position(|byte| CODED.has_byte(*byte));
        let next = near.or_else(|| match rest.get(16..)? {
            far if is_ascii => memchr::memchr3(b'%', b'&', b'\\', far).map(|at| at + 16),
            far => far.iter().position(|byte| CODED.has_byte(*byte)).map(|at| at + 16),
        });
        let plain = next.unwrap_or(rest.len());
        out.extend_from_slice(&rest[..plain]);
        at += plain;
        let rest = &rest[plain..];
        let Some(first) = rest.first() else { return changed };
        let decoded = match first {
            b'%' => percent(rest),
            b'&' => entity(rest),
            b'\\' => escape(rest),
            _ => folded(rest),
        };
        match decoded {
            Some((code, length)) => {
                changed = true;
                push(out, code);
                at += length;
            }
            None => {
                out.push(*first);
                at += 1;
            }
        }
    }
}

/// A code point below 256 that came by an escape is a byte: `%c0` and `\xc0` may be parts of a longer form.
fn push(out: &mut Vec<u8>, code: Code) {
    match code {
        Code::Byte(byte) => out.push(byte),
        Code::Point(point) => match char::from_u32(point) {
            Some(found) => out.extend_from_slice(found.encode_utf8(&mut [0; 4]).as_bytes()),
            None => out.push(b'?'),
        },
    }
}

enum Code {
    Byte(u8),
    Point(u32),
}

fn hex(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0u32, |sum, byte| Some((sum << 4) | char::from(*byte).to_digit(16)?))
}

fn percent(rest: &[u8]) -> Option<(Code, usize)> {
    if let Some(b'u' | b'U') = rest.get(1) {
        // Two of the private ones are slashes for systems that map to the best fit.
        return match hex(rest.get(2..6)?)? {
            0xefc8 | 0xf025 => Some((Code::Byte(b'/'), 6)),
            point => Some((Code::Point(point), 6)),
        };
    }
    let byte = hex(rest.get(1..3)?)?;
    Some((Code::Byte(u8::try_from(byte).ok()?), 3))
}

fn escape(rest: &[u8]) -> Option<(Code, usize)> {
    match rest.get(1)? {
        b'u' if rest.get(2) == Some(&b'{') => {
            let digits = rest[3..].iter().take(7).position(|byte| *byte == b'}').filter(|n| *n > 0)?;
            Some((Code::Point(hex(&rest[3..3 + digits])?), digits + 4))
        }
        b'u' => Some((Code::Point(hex(rest.get(2..6)?)?), 6)),
        b'x' => Some((Code::Byte(u8::try_from(hex(rest.get(2..4)?)?).ok()?), 4)),
        _ => None,
    }
}

/// Character references: numbers, with or without the semicolon, and the names that hide something.
fn entity(rest: &[u8]) -> Option<(Code, usize)> {
    const NAMES: [(&[u8], u8); 17] = [
        (b"&lt", b'<'),
        (b"&gt", b'>'),
        (b"&quot", b'"'),
        (b"&apos;", b'\''),
        (b"&amp;", b'&'),
        (b"&colon;", b':'),
        (b"&tab;", b'\t'),
        (b"&newline;", b'\n'),
        (b"&lpar;", b'('),
        (b"&rpar;", b')'),
        (b"&sol;", b'/'),
        (b"&bsol;", b'\\'),
        (b"&period;", b'.'),
        (b"&equals;", b'='),
        (b"&semi;", b';'),
        (b"&nbsp;", b' '),
        (b"&num;", b'#'),
    ];
    if rest.get(1) != Some(&b'#') {
        let (name, byte) = NAMES
            .iter()
            .find(|(name, _)| rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))?;
        let after = rest.get(name.len());
        // `&lt` and friends work without the semicolon; `&lting=1` is a parameter of somebody's.
        let length = name.len() + usize::from(!name.ends_with(b";") && after == Some(&b';'));
        if length == name.len()
            && !name.ends_with(b";")
            && after.is_some_and(|byte| is_word(*byte) || *byte == b'=')
        {
            return None;
        }
        return Some((Code::Byte(*byte), length));
    }
    let (start, base) = if matches!(rest.get(2), Some(b'x' | b'X')) { (3, 16) } else { (2, 10) };
    let mut point = 0u32;
    let mut at = start;
    // Leading zeros are allowed without end; sixteen are enough for anybody honest.
    while let Some(digit) =
        rest.get(at).filter(|_| at < start + 16).and_then(|byte| char::from(*byte).to_digit(base))
    {
        point = point.saturating_mul(base).saturating_add(digit);
        at += 1;
    }
    if at == start {
        return None;
    }
    Some((Code::Point(point), at + usize::from(rest.get(at) == Some(&b';'))))
}

/// Overlong forms and full-width characters as the ASCII they stand for.
fn folded(rest: &[u8]) -> Option<(Code, usize)> {
    let tail =
        |at: usize| rest.get(at).filter(|byte| **byte & 0xc0 == 0x80).map(|byte| u32::from(byte & 0x3f));
    let ascii = |point: u32, length| {
        (point < 0x80).then(|| (Code::Byte(u8::try_from(point).unwrap_or(b'?')), length))
    };
    match rest[0] {
        first @ (0xc0 | 0xc1) => {
            // Some decoders look at the low bits only, so `%c0%2e` is a dot too.
            let second = tail(1).or_else(|| rest.get(1).filter(|b| **b < 0x80).map(|b| u32::from(*b)))?;
            ascii(u32::from(first & 0x1f) << 6 | second, 2)
        }
        0xc2 if rest.get(1) == Some(&0xa0) => Some((Code::Byte(b' '), 2)),
        0xca if rest.get(1) == Some(&0xbc) => Some((Code::Byte(b'\''), 2)),
        0xe2 | 0xe3 | 0xe5 => Some((Code::Byte(look_alike(rest.get(..3)?)?), 3)),
        0xe0 if rest.get(1).is_some_and(|byte| *byte < 0xa0) => ascii(tail(1)? << 6 | tail(2)?, 3),
        0xef => match (rest.get(1)?, tail(2)?) {
            (0xbc, low @ 0x01..) => Some((Code::Byte(u8::try_from(0x20 + low).ok()?), 3)),
            (0xbd, low @ ..=0x1e) => Some((Code::Byte(u8::try_from(0x60 + low).ok()?), 3)),
            _ => None,
        },
        0xf0 if rest.get(1) == Some(&0x80) => ascii((tail(2)? << 6) | tail(3)?, 4),
        0xf8 if rest.get(1..3) == Some(&[0x80; 2]) => ascii((tail(3)? << 6) | tail(4)?, 5),
        0xfc if rest.get(1..4) == Some(&[0x80; 3]) => ascii((tail(4)? << 6) | tail(5)?, 6),
        _ => None,
    }
}

/// Characters that some system on the way turns into ASCII: slashes and dots of mathematics, numbers in circles, and
/// two ideographs whose low bytes end a line.
fn look_alike(bytes: &[u8]) -> Option<u8> {
    Some(match bytes {
        [0xe2, 0x88, 0x95] | [0xe2, 0x81, 0x84] => b'/',
        [0xe2, 0x88, 0x96] => b'\\',
        [0xe2, 0x80, 0xa4] | [0xe3, 0x80, 0x82] => b'.',
        [0xe2, 0x91, low @ 0xa0..=0xa8] => b'1' + (low - 0xa0),
        [0xe2, 0x93, 0xaa] => b'0',
        [0xe5, 0x98, 0x8a] => b'\n',
        [0xe5, 0x98, 0x8d] => b'\r',
        _ => return None,
    })
}

/// Whether a step up, `../`, came about only by decoding what nobody who writes addresses encodes: its dots.
pub(super) fn hides_steps(raw: &[u8], decoded: &[u8]) -> bool {
    // A dot that is encoded once may be a client's zeal.
    const TWICE: &[u8] = b"%2e";
    const DOTS: [&[u8]; 6] = [TWICE, b"%c0%ae", b"%e0%80%ae", b"%%32%65", b"%u002e", b"%uff0e"];
    const MOST: usize = 4 << 10;
    if !super::cursor::has(decoded, b"../") && !super::cursor::has(decoded, b"..\\") {
        return false;
    }
    let mut text = raw[..raw.len().min(MOST)].to_ascii_lowercase();
    for _ in 0..ROUNDS {
        let Some(at) = memchr::memmem::find(&text, b"%25") else { break };
        let mut plain = text[..at].to_vec();
        let mut rest = &text[at..];
        while let Some(next) = memchr::memmem::find(rest, b"%25") {
            plain.extend_from_slice(&rest[..=next]);
            rest = &rest[next + 3..];
        }
        plain.extend_from_slice(rest);
        text = plain;
    }
    let is_twice = memchr::memmem::find(raw, b"%25").is_some();
    DOTS.iter().filter(|dot| is_twice || **dot != TWICE).any(|dot| {
        memchr::memmem::find_iter(&text, dot).any(|at| {
            let behind = &text[at + dot.len()..];
            behind.starts_with(b".") || behind.starts_with(dot) || text[..at].ends_with(b".")
        })
    })
}

static SPACES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"  "));

fn has_comment(decoded: &[u8]) -> bool {
    memchr::memchr_iter(b'*', decoded).any(|at| {
        decoded.get(at + 1) == Some(&b'/') || at.checked_sub(1).is_some_and(|prior| decoded[prior] == b'/')
    })
}

/// Whether a text is its own normal form.
pub(super) fn is_normal(decoded: &[u8], signs: Signs) -> bool {
    let is_changed = signs.has(UPPER | LINE | TAB | NULL)
        || signs.has(STAR) && has_comment(decoded)
        || signs.has(SPACE) && SPACES.find(decoded).is_some();
    !is_changed
}

/// The form that the automaton reads: lower case, one space for any white space or closed SQL comment, no
/// NUL, the content of MySQL's executed comments kept.
pub(super) fn normalise(decoded: &[u8], out: &mut Vec<u8>) {
    out.clear();
    if memchr::memchr2(0, b'*', decoded).is_some()
        && (has_comment(decoded) || memchr::memchr(0, decoded).is_some())
    {
        return normalise_comments(decoded, out);
    }
    out.extend_from_slice(decoded);
    out.make_ascii_lowercase();
    for byte in out.iter_mut() {
        *byte = if matches!(byte, b'\t'..=b'\r') { b' ' } else { *byte };
    }
    if SPACES.find(out).is_some() {
        out.dedup_by(|next, last| *next == b' ' && *last == b' ');
    }
}

/// The same where there are comments to be taken out.
fn normalise_comments(decoded: &[u8], out: &mut Vec<u8>) {
    let is_run = |byte: u8| !matches!(byte, 0 | b'\t'..=b'\r' | b' ' | b'/' | b'*');
    let mut at = 0;
    let mut is_closed = true;
    let mut executed = 0;
    while at < decoded.len() {
        // Words are copied as a whole.
        let length = decoded[at..].iter().position(|byte| !is_run(*byte)).unwrap_or(decoded.len() - at);
        let from = out.len();
        out.extend_from_slice(&decoded[at..at + length]);
        out[from..].make_ascii_lowercase();
        at += length;
        let Some(byte) = decoded.get(at) else { return };
        let mut next = *byte;
        at += 1;
        match byte {
            b'/' if is_closed && decoded.get(at) == Some(&b'*') => {
                if decoded.get(at + 1) == Some(&b'!') {
                    at += 2;
                    at += decoded[at..].iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
                    executed += 1;
                    next = b' ';
                } else if let Some(end) = memchr::memmem::find(&decoded[at + 1..], b"*/") {
                    at += end + 3;
                    next = b' ';
                } else {
                    is_closed = false;
                }
            }
            b'*' if executed > 0 && decoded.get(at) == Some(&b'/') => {
                executed -= 1;
                at += 1;
                next = b' ';
            }
            0 => continue,
            b'\t'..=b'\r' => next = b' ',
            _ => {}
        }
        if next != b' ' || out.last() != Some(&b' ') {
            out.push(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(input: &[u8]) -> (Vec<u8>, bool) {
        let (mut out, mut spare) = (Vec::new(), Vec::new());
        let (_, is_done) = decode(input, &mut out, &mut spare);
        (out, is_done)
    }

    #[test]
    fn undoes_each_encoding() {
        for (input, expected) in [
            (&b"plain"[..], &b"plain"[..]),
            (b"%3Cscript%3e", b"<script>"),
            (b"%253Cx", b"<x"),
            (b"%u003cx", b"<x"),
            (b"&lt;x&gt", b"<x>"),
            (b"&#60;&#x3c;&#0000060x", b"<<<x"),
            (b"\\u003cx\\x3c\\u{3c}", b"<x<<"),
            (b"%c0%ae%c0%af%c0%5c", b"./\\"),
            (b"%e0%80%ae", b"."),
            (b"%f8%80%80%80%ae%fc%80%80%80%80%af", b"./"),
            ("＜ｘ＞".as_bytes(), b"<x>"),
            (b"100% sure & fine \\ o", b"100% sure & fine \\ o"),
            (b"a&lting=1", b"a&lting=1"),
        ] {
            assert_eq!(decoded(input), (expected.to_vec(), true), "{}", String::from_utf8_lossy(input));
        }
        assert!(!decoded(b"%25252525252541").1);
    }

    #[test]
    fn one_normal_form() {
        let normal = |text: &str| {
            let mut out = Vec::new();
            normalise(text.as_bytes(), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(normal("UNION/**/SELECT\t\n 1"), "union select 1");
        assert_eq!(normal("1/*!50000UNION*/ x"), "1 union x");
        assert_eq!(normal("a\0b /* open"), "ab /* open");
    }

    proptest! {
        #[test]
        fn never_grows(input in prop::collection::vec(any::<u8>(), 0..80)) {
            let (out, _) = decoded(&input);
            prop_assert!(out.len() <= input.len());
            let mut normal = Vec::new();
            normalise(&out, &mut normal);
            prop_assert!(normal.len() <= out.len());
        }
    }
}
