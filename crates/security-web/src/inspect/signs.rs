//! Which kinds of bytes a value has, found in one pass: most values have none that an attack needs.

/// A set of kinds of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Signs(u32);

/// `'` and `"`
pub(super) const QUOTE: Signs = Signs(1);
/// `` ` ``
pub(super) const BACKTICK: Signs = Signs(1 << 1);
/// `<`
pub(super) const ANGLE: Signs = Signs(1 << 2);
/// `>`
pub(super) const GREATER: Signs = Signs(1 << 3);
/// `=`
pub(super) const EQUALS: Signs = Signs(1 << 4);
/// `(` and `)`
pub(super) const BRACKET: Signs = Signs(1 << 5);
/// Line feed and carriage return.
pub(super) const LINE: Signs = Signs(1 << 6);
/// Tab and the other white space that is no space and no line's end.
pub(super) const TAB: Signs = Signs(1 << 7);
/// NUL
pub(super) const NULL: Signs = Signs(1 << 8);
/// What begins another command.
pub(super) const CHAIN: Signs = Signs(1 << 9);
/// `:`, `/` and `\`
pub(super) const COLON: Signs = Signs(1 << 10);
/// A space, or `+`, which stands for one.
pub(super) const SPACE: Signs = Signs(1 << 11);
/// `*`
pub(super) const STAR: Signs = Signs(1 << 12);
/// `?`, `*` and `[`
pub(super) const JOKER: Signs = Signs(1 << 13);
/// `A` to `Z`
pub(super) const UPPER: Signs = Signs(1 << 14);
/// A digit.
pub(super) const DIGIT: Signs = Signs(1 << 15);
/// What a code may begin with: a percent sign, an ampersand, a backslash, the first byte of a look-alike.
pub(super) const CODED: Signs = Signs(1 << 16);
/// `-`
pub(super) const DASH: Signs = Signs(1 << 17);
/// Signs that no sentence and no name has.
pub(super) const ODD: Signs = Signs(1 << 18);
/// `;`
pub(super) const SEMICOLON: Signs = Signs(1 << 20);
/// Anything but ASCII letters, digits and dashes.
pub(super) const NO_WORD: Signs = Signs(1 << 19);
/// What an expression is made of, besides its words.
pub(super) const EXPRESSION: Signs = Signs(QUOTE.0 | BACKTICK.0 | ANGLE.0 | GREATER.0 | EQUALS.0 | DIGIT.0);
/// What a call or an assignment is made of.
pub(super) const CALL: Signs = Signs(BRACKET.0 | EQUALS.0 | JOKER.0);
/// Without one of these a value cannot leave the place that SQL has for it.
pub(super) const SQL: Signs = Signs(QUOTE.0 | BRACKET.0 | SEMICOLON.0 | NO_PROSE.0);
/// Those of them that sentences do not have.
pub(super) const NO_PROSE: Signs = Signs(BACKTICK.0 | ANGLE.0 | GREATER.0 | EQUALS.0 | STAR.0 | ODD.0);

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = kinds(byte as u8);
        byte += 1;
    }
    table
};

const fn kinds(byte: u8) -> u32 {
    let rest = NO_WORD.0;
    match byte {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => UPPER.0,
        b'0'..=b'9' => DIGIT.0,
        b'-' => DASH.0,
        b'\'' | b'"' => QUOTE.0 | rest,
        b'`' => BACKTICK.0 | CHAIN.0 | rest,
        b'<' => ANGLE.0 | CHAIN.0 | rest,
        b'>' => GREATER.0 | CHAIN.0 | rest,
        b'=' => EQUALS.0 | rest,
        b'(' | b')' => BRACKET.0 | rest,
        b'\r' | b'\n' => LINE.0 | CHAIN.0 | SPACE.0 | rest,
        b'\t' | 0x0b | 0x0c => TAB.0 | SPACE.0 | rest,
        0 => NULL.0 | ODD.0 | rest,
        b'&' => CHAIN.0 | CODED.0 | rest,
        b'$' | b'|' => CHAIN.0 | ODD.0 | rest,
        b';' => CHAIN.0 | SEMICOLON.0 | rest,
        b':' | b'/' => COLON.0 | rest,
        b'\\' => COLON.0 | CODED.0 | ODD.0 | rest,
        b' ' | b'+' => SPACE.0 | rest,
        b'*' => STAR.0 | JOKER.0 | rest,
        b'?' => JOKER.0 | rest,
        b'[' => JOKER.0 | ODD.0 | rest,
        b'%' => CODED.0 | ODD.0 | rest,
        0xc0..=0xc2 | 0xca | 0xe0 | 0xe2 | 0xe3 | 0xe5 | 0xef | 0xf0 | 0xf8 | 0xfc => CODED.0 | rest,
        b'#' | b'{' | b'}' | b']' | b'^' | b'~' => ODD.0 | rest,
        _ => rest,
    }
}

impl Signs {
    pub(super) const NONE: Self = Self(0);

    /// The kinds of a text's bytes.
    pub(super) fn of(text: &[u8]) -> Self {
        let mut chunks = text.chunks_exact(4);
        let mut sums = [0u32; 4];
        for chunk in &mut chunks {
            for (sum, byte) in sums.iter_mut().zip(chunk) {
                *sum |= TABLE[usize::from(*byte)];
            }
        }
        let rest = chunks.remainder().iter().fold(0, |sum, byte| sum | TABLE[usize::from(*byte)]);
        Self(sums[0] | sums[1] | sums[2] | sums[3] | rest)
    }

    /// Whether a byte is of one of these kinds.
    pub(super) fn has_byte(self, byte: u8) -> bool {
        self.0 & TABLE[usize::from(byte)] != 0
    }

    /// Whether there is one of those kinds.
    pub(super) const fn has(self, kinds: Self) -> bool {
        self.0 & kinds.0 != 0
    }

    /// Whether there is one of those that are needed.
    pub(super) const fn allow(self, needed: Self) -> bool {
        needed.0 == 0 || self.has(needed)
    }
}

impl std::ops::BitOr for Signs {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
