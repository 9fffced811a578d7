//! Which bytes of a text can have anything to do with an indicator, 64 of them at a time.
//!
//! A block of 64 bytes becomes one bit mask for each class of bytes; shifts and ANDs of these leave the *candidates*: a
//! dot before two letters, four numbers joined by dots, `://`, 26 letters and digits in a row, an opening bracket
//! after a word. Everywhere else the pass in [`super::scan`] would read an atom and find nothing, which is what this
//! saves. A mask may have a bit too many, never one too few: a property test holds both ways against each other.
//!
//! What is common in logs and is no candidate: plain words, numbers with one dot, dates, times, `pid[123]:`, UUIDs.

use fearless_simd::{Level, Simd, dispatch, prelude::*, u8x64};

/// Bytes a mask stands for.
pub(super) const BLOCK: usize = 64;
/// Blocks judged in one go.
pub(super) const BLOCKS: usize = 64;

/// What is looked for beside the kinds that always are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Any dotted name may be a file.
    pub(super) names: bool,
    /// A slash may start a path.
    pub(super) paths: bool,
}

/// Candidates of `bytes` from a place on, which is a multiple of [`BLOCK`]: a mask a block.
pub(super) fn candidates(level: Level, bytes: &[u8], from: usize, wanted: Wanted, masks: &mut [u64; BLOCKS]) {
    dispatch!(level, simd => fill(simd, bytes, from, wanted, masks));
}

#[inline(always)]
fn fill<S: Simd>(simd: S, bytes: &[u8], from: usize, wanted: Wanted, masks: &mut [u64; BLOCKS]) {
    let mut before = match from.checked_sub(BLOCK) {
        Some(at) => Classes::of(simd, block(bytes, at, &mut [0; BLOCK])),
        None => Classes::default(),
    };
    let mut here = Classes::of(simd, block(bytes, from, &mut [0; BLOCK]));
    for (index, mask) in masks.iter_mut().enumerate() {
        let at = from + index * BLOCK;
        if at >= bytes.len() {
            *mask = 0;
            continue;
        }
        let after = Classes::of(simd, block(bytes, at + BLOCK, &mut [0; BLOCK]));
        *mask = judge(&before, &here, &after, wanted);
        (before, here) = (here, after);
    }
}

/// The block at a place, filled up with zeros past the end of the text.
#[inline(always)]
fn block<'b>(bytes: &'b [u8], at: usize, spare: &'b mut [u8; BLOCK]) -> &'b [u8] {
    match bytes.get(at..at + BLOCK) {
        Some(whole) => whole,
        None => {
            let rest = bytes.get(at..).unwrap_or_default();
            spare[..rest.len()].copy_from_slice(rest);
            spare
        }
    }
}

/// Where each class of bytes stands in a block; the lowest bit is its first byte.
#[derive(Clone, Copy, Default)]
struct Classes {
    digit: u64,
    letter: u64,
    hex_letter: u64,
    e: u64,
    /// `A`, `S`, `T` in upper case.
    upper: [u64; 3],
    dash: u64,
    underscore: u64,
    dot: u64,
    colon: u64,
    at: u64,
    slash: u64,
    plus: u64,
    /// `[`, `{`, `(`, `<`.
    opener: u64,
    /// `]`, `}`.
    closer: u64,
    backslash: u64,
    percent: u64,
    ampersand: u64,
    star: u64,
    space: u64,
    other: u64,
    /// First bytes of the signs beyond ASCII and of the invisible characters.
    foreign_sign: u64,
}

impl Classes {
    #[inline(always)]
    fn of<S: Simd>(simd: S, block: &[u8]) -> Self {
        let bytes = u8x64::from_slice(simd, block);
        let is = |byte: u8| bytes.simd_eq(u8x64::splat(simd, byte)).to_bitmask();
        let lower = bytes | u8x64::splat(simd, 0x20);
        let is_lower = |byte: u8| lower.simd_eq(u8x64::splat(simd, byte)).to_bitmask();
        let letters = lower - u8x64::splat(simd, b'a');
        let other = bytes.simd_ge(u8x64::splat(simd, 0x80)).to_bitmask();
        Self {
            digit: (bytes - u8x64::splat(simd, b'0')).simd_le(u8x64::splat(simd, 9)).to_bitmask(),
            letter: letters.simd_le(u8x64::splat(simd, 25)).to_bitmask(),
            hex_letter: letters.simd_le(u8x64::splat(simd, 5)).to_bitmask(),
            e: is_lower(b'e'),
            upper: [is(b'A'), is(b'S'), is(b'T')],
            dash: is(b'-'),
            underscore: is(b'_'),
            dot: is(b'.'),
            colon: is(b':'),
            at: is(b'@'),
            slash: is(b'/'),
            plus: is(b'+'),
            opener: is_lower(b'{') | is(b'(') | is(b'<'),
            closer: is_lower(b'}'),
            backslash: is(b'\\'),
            percent: is(b'%'),
            ampersand: is(b'&'),
            star: is(b'*'),
            space: is(b' '),
            other,
            foreign_sign: if other == 0 { 0 } else { is(0xc2) | is(0xe2) | is(0xe3) | is(0xef) },
        }
    }

    #[inline(always)]
    fn alnum(&self) -> u64 {
        self.digit | self.letter
    }

    #[inline(always)]
    fn atom(&self) -> u64 {
        self.alnum() | self.dash | self.underscore
    }
}

/// The bits of a block and of the next one, so that what is looked for may lie across their border.
#[inline(always)]
fn wide(here: u64, after: u64) -> u128 {
    u128::from(here) | u128::from(after) << 64
}

#[inline(always)]
fn judge(before: &Classes, here: &Classes, after: &Classes, wanted: Wanted) -> u64 {
    // The class of the byte so many places on, and so many places back.
    macro_rules! next {
        ($class:expr, $by:literal) => {{
            let class = $class;
            (class(here) >> $by) | (class(after) << (64 - $by))
        }};
    }
    macro_rules! last {
        ($class:expr, $by:literal) => {{
            let class = $class;
            (class(here) << $by) | (class(before) >> (64 - $by))
        }};
    }
    let digit = |c: &Classes| c.digit;
    let alnum = Classes::alnum;
    let atom = Classes::atom;
    let dot = |c: &Classes| c.dot;
    let last_atom = last!(atom, 1);
    let other = |c: &Classes| c.other;
    let last_word = last_atom | last!(other, 1);

    // Names: the last label has two letters or more. Numbers: three dots with a few digits between. `0000.5e00.5301`.
    let mut dots = next!(|c: &Classes| c.letter, 1) & next!(|c: &Classes| c.letter, 2);
    let (one, two, three) = (next!(digit, 1), next!(digit, 2), next!(digit, 3));
    let (digits, all) = (wide(here.digit, after.digit), wide(here.dot, after.dot));
    let hop = all & digits >> 1 & (all >> 2 | digits >> 2 & (all >> 3 | digits >> 3 & all >> 4));
    dots |= (hop & (hop >> 2 | hop >> 3 | hop >> 4)) as u64;
    dots |= next!(dot, 5) & next!(alnum, 1) & next!(alnum, 2) & next!(alnum, 3) & next!(alnum, 4);
    dots |= next!(|c: &Classes| c.closer, 1) | !last_atom;
    dots |= next!(other, 1) | next!(other, 2);
    if wanted.names {
        dots |= next!(atom, 1);
    }
    let mut found = here.dot & dots;

    found |= here.at & next!(|c: &Classes| c.letter | c.digit | c.underscore | c.other, 1);

    // `://`, `:\`, `::`, `:[`; `]` of `[http]://`.
    let sign = |c: &Classes| c.slash | c.backslash | c.colon | c.opener | c.ampersand | c.other;
    let sign_here = next!(sign, 1);
    found |= here.colon & sign_here;
    let joined = |c: &Classes| c.colon | c.opener;
    found |= here.closer & last!(alnum, 1) & next!(joined, 1);

    // Four colons with up to four hex digits between. A time has two, and three with a year before it.
    if here.colon != 0 {
        let hex = wide(here.digit | here.hex_letter, after.digit | after.hex_letter);
        let all = wide(here.colon, after.colon);
        let hop =
            all & hex >> 1 & (all >> 2 | hex >> 2 & (all >> 3 | hex >> 3 & (all >> 4 | hex >> 4 & all >> 5)));
        let reach = |hops: u128| hops >> 2 | hops >> 3 | hops >> 4 | hops >> 5;
        found |= (hop & reach(hop & reach(hop))) as u64;
        // ssdeep: a number, a colon, six characters of base64.
        let base64 = |c: &Classes| c.digit | c.letter | c.plus | c.slash;
        found |= here.colon
            & last!(digit, 1)
            & next!(base64, 1)
            & next!(base64, 2)
            & next!(base64, 3)
            & next!(base64, 4)
            & next!(base64, 5)
            & next!(base64, 6);
    }

    let after_word = last_word | last!(|c: &Classes| c.space | c.colon | c.dot, 1);
    found |= here.opener & after_word & !next!(digit, 1);
    found |= here.backslash & (after_word | last!(|c: &Classes| c.percent, 1));
    found |= (here.percent | here.ampersand) & last_word;
    found |= here.star & last_atom & next!(|c: &Classes| c.star, 1);
    found |= here.foreign_sign;

    // The first letter of a word, also after `\n`, `\fB`, `\x22`, `\u003c` and `%2F`.
    let backslash = |c: &Classes| c.backslash;
    let escaped = last!(backslash, 2)
        | last!(backslash, 3)
        | last!(backslash, 4)
        | last!(backslash, 6)
        | last!(|c: &Classes| c.percent, 3);
    let starts = !last!(alnum, 1) | escaped;
    let technique = here.upper[2] & one & two & three & next!(digit, 4) & !next!(atom, 5);
    let number = here.upper[0] & next!(|c: &Classes| c.upper[1], 1) & next!(alnum, 2);
    found |= starts & (technique | number);
    found |= here.dash & last!(|c: &Classes| c.e, 1) & one;
    let dash = |c: &Classes| c.dash;
    found |= here.dash & next!(dash, 3) & next!(dash, 6);
    found |= here.underscore & next!(|c: &Classes| c.underscore, 13);

    // Digests and wallets: 26 letters and digits in a row, found by doubling.
    let run = wide(here.alnum(), after.alnum());
    let run = run & run >> 1;
    let run = run & run >> 2;
    let run = run & run >> 4;
    let run = run & run >> 8;
    found |= (run & run >> 10) as u64;

    if wanted.paths {
        found |= here.slash & !last!(alnum, 1) & next!(|c: &Classes| c.letter, 1);
    }
    found
}

/// The cheap questions at a candidate that a mask cannot ask: whether the pass should look at it at all.
pub(super) fn is_meant(bytes: &[u8], at: usize) -> bool {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let back = |by: usize| at.checked_sub(by).map_or(0, |at| bytes[at]);
    match bytes[at] {
        b'.' => {
            let word = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b >= 0x80;
            // After no word: `"."` and its like stand in one, and anything else with a name after it is a candidate
            // at its own dots.
            word(back(1)) || (matches!(back(1), b'"' | b'\'' | b'`' | b'|' | b'*' | b'^') && word(back(2)))
        }
        b':' => match byte(at + 1) {
            // Before a digit it may be an ssdeep hash.
            b'/' => back(1).is_ascii_digit() || goes_on_as_slash(byte(at + 2)) || takes_one_slash(bytes, at),
            b'[' | b'(' | b'{' | b'<' => opens_sign(bytes, at + 1),
            b'&' => matches!(byte(at + 2), b'#' | b's' | b'S'),
            _ => true,
        },
        b']' | b'}' => match byte(at + 1) {
            b':' => goes_on_as_slash(byte(at + 2)),
            _ => opens_sign(bytes, at + 1) || opens_plural(bytes, at + 1),
        },
        b'[' | b'(' | b'{' | b'<' => opens_sign(bytes, at) || opens_plural(bytes, at),
        b'\\' => match byte(at + 1) {
            b'[' | b'(' | b'{' | b'<' | b'u' | b'U' | b'x' | b'X' | b'\\' | b'.' | b'@' | b'/' => true,
            _ if matches!(back(1), b':' | b'%') => true,
            _ => {
                let word = &bytes[at.saturating_sub(24)..at];
                word.windows(2).any(|two| two.eq_ignore_ascii_case(b"hk"))
            }
        },
        b'%' => matches!(
            (byte(at + 1), byte(at + 2)),
            (b'2', b'e' | b'E') | (b'4', b'0') | (b'3', b'a' | b'A') | (b'\\', _)
        ),
        b'&' => matches!(byte(at + 1), b'#' | b'p' | b'P' | b'c' | b'C' | b's' | b'S' | b'l' | b'L'),
        b'*' => matches!(back(1), b'h' | b'H'),
        0xc2 => byte(at + 1) == 0xad,
        0xe2 => matches!((byte(at + 1), byte(at + 2)), (0x80 | 0x81, _) | (0x88, 0x92)),
        0xe3 => (byte(at + 1), byte(at + 2)) == (0x80, 0x82),
        0xef => match byte(at + 1) {
            0xb9 => matches!(byte(at + 2), 0x92 | 0xab),
            0xbc => matches!(byte(at + 2), 0x8e | 0x8f | 0x9a | 0xa0),
            0xbd => byte(at + 2) == 0xa1,
            next => next == 0xbb,
        },
        _ => true,
    }
}

/// Whether one slash is enough behind the colon at a place: after `hxxp` and `hxxps`.
pub(super) fn takes_one_slash(bytes: &[u8], colon: usize) -> bool {
    let word = &bytes[colon.saturating_sub(4)..colon];
    word.windows(3).any(|three| three.eq_ignore_ascii_case(b"xxp"))
}

/// Whether after `:` or a mark the slashes of `://` may go on here, disarmed or not.
fn goes_on_as_slash(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\' | b'[' | b'(' | b'{' | b'<' | b'&') || byte >= 0x80
}

/// Whether an opening bracket has the start of a sign in it, as `[.`, `[dot` and `[://` do.
fn opens_sign(bytes: &[u8], mut at: usize) -> bool {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    for _ in 0..2 {
        let escaped = usize::from(byte(at) == b'\\');
        if matches!(byte(at + escaped), b'[' | b'(' | b'{' | b'<') {
            at += escaped + 1;
        }
    }
    for _ in 0..2 {
        at += usize::from(byte(at) == b' ');
    }
    let rest = &bytes[at.min(bytes.len())..];
    let starts = |word: &[u8]| rest.len() >= word.len() && rest[..word.len()].eq_ignore_ascii_case(word);
    match byte(at) {
        b'.' | b',' | b'@' | b':' | b'/' | b'\\' | 0x80.. => true,
        b'd' | b'D' => starts(b"dot") || starts(b"d0t"),
        b'p' | b'P' => starts(b"punkt") || starts(b"punto") || starts(b"point"),
        b'a' | b'A' => starts(b"at") && !byte(at + 2).is_ascii_alphanumeric(),
        b'c' | b'C' => starts(b"colon"),
        b's' | b'S' => starts(b"slash"),
        _ => false,
    }
}

/// Whether the bracket is that of `http[s]` with a sign after it.
fn opens_plural(bytes: &[u8], at: usize) -> bool {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    matches!(byte(at + 1), b's' | b'S')
        && matches!(byte(at + 2), b']' | b')')
        && (matches!(byte(at + 3), b':' | b'%') || goes_on_as_slash(byte(at + 3)))
}
