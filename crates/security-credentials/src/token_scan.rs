//! Tokens in a stream: text that comes in pieces, with little of it in memory.

use crate::{ParsedToken, token::each_token};

/// Finds the tokens in text of any length and any encoding that keeps ASCII, in linear time. Of what it was fed,
/// it keeps the last piece and less than a token before it.
#[derive(Debug, Default)]
pub struct TokenScanner {
    /// What may be the beginning of a token, and the piece behind it.
    window: Vec<u8>,
    /// Where the window begins.
    offset: u64,
    /// Where the last token ended.
    free_from: u64,
    cursor: Cursor,
}

/// Where a token begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenPlace {
    /// Bytes before it.
    pub offset: u64,
    /// Its line, from 1.
    pub line: u64,
    /// Its column, in characters from 1. (What is no UTF-8 counts a character a byte.)
    pub column: u64,
}

/// How far lines and columns are counted.
#[derive(Debug)]
struct Cursor {
    /// In the window.
    at: usize,
    line: u64,
    column: u64,
}

impl Default for Cursor {
    fn default() -> Self {
        Self { at: 0, line: 1, column: 1 }
    }
}

impl Cursor {
    /// Goes on to a place further behind.
    fn advance(&mut self, window: &[u8], to: usize) {
        let passed = &window[self.at..to];
        let mut last_line = passed;
        if let Some(end) = memchr::memrchr(b'\n', passed) {
            self.line += memchr::memchr_iter(b'\n', passed).count() as u64;
            self.column = 1;
            last_line = &passed[end + 1..];
        }
        // A byte of the form 10xxxxxx continues a character, every other one begins one.
        self.column += last_line.iter().filter(|byte| **byte & 0xc0 != 0x80).count() as u64;
        self.at = to;
    }
}

impl TokenScanner {
    /// Bytes of a piece that make the most of the machine's caches.
    pub const PIECE: usize = 64 << 10;

    /// Takes the next piece, and calls `found` with each token that ends in it.
    pub fn feed(&mut self, piece: &[u8], found: &mut dyn FnMut(TokenPlace, ParsedToken<'_>)) {
        // All that can still become a token, its longest prefix included.
        let kept = self.window.len().min(ParsedToken::MAX_LENGTH - 1);
        let dropped = self.window.len() - kept;
        if self.cursor.at < dropped {
            self.cursor.advance(&self.window, dropped);
        }
        self.cursor.at -= dropped;
        self.window.copy_within(dropped.., 0);
        self.window.truncate(kept);
        self.window.extend_from_slice(piece);
        self.offset += dropped as u64;
        // Everything before the window is free or is not; the window holds what is left of it.
        let free_from = usize::try_from(self.free_from.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let (cursor, window, offset) = (&mut self.cursor, &self.window, self.offset);
        let mut last_end = None;
        each_token(window, kept, free_from, &mut |start, token| {
            cursor.advance(window, start);
            let place =
                TokenPlace { offset: offset + start as u64, line: cursor.line, column: cursor.column };
            last_end = Some(place.offset + token.expose().len() as u64);
            found(place, token);
        });
        self.free_from = last_end.unwrap_or(self.free_from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Token, find_tokens};
    use proptest::prelude::*;
    use security_core::Entropy;

    struct Steps(u8);

    impl Entropy for Steps {
        fn fill(&mut self, buffer: &mut [u8]) {
            for byte in buffer {
                self.0 = self.0.wrapping_mul(141).wrapping_add(91);
                *byte = self.0;
            }
        }
    }

    fn token(prefix: &str, seed: u8) -> String {
        Token::generate(prefix, &mut Steps(seed)).unwrap().secret.expose_text().unwrap().to_owned()
    }

    fn scan(text: &[u8], piece: usize) -> Vec<(TokenPlace, String)> {
        let mut scanner = TokenScanner::default();
        let mut found = Vec::new();
        for piece in text.chunks(piece) {
            scanner.feed(piece, &mut |place, token| {
                found.push((place, String::from_utf8(token.expose().to_vec()).unwrap()));
            });
        }
        found
    }

    #[test]
    fn places_are_lines_and_characters() {
        let (first, second) = (token("sk", 1), token("live", 2));
        let text = format!("één\r\n\nkey = '{first}' é {second}\nend");
        let places: Vec<_> = scan(text.as_bytes(), 1000).into_iter().map(|(place, _)| place).collect();
        let column = 7 + 1 + first.len() as u64 + 4;
        assert_eq!(
            places,
            [
                TokenPlace { offset: 15, line: 3, column: 8 },
                TokenPlace { offset: 15 + first.len() as u64 + 5, line: 3, column },
            ]
        );
    }

    #[test]
    fn other_bytes_do_not_disturb() {
        let mut text = vec![0xff; 5];
        text.extend_from_slice(token("sk", 3).as_bytes());
        text.push(0);
        assert_eq!(scan(&text, 1000)[0].0, TokenPlace { offset: 5, line: 1, column: 6 });
    }

    #[test]
    fn the_pattern_is_the_shape() {
        let shape = "[a-z][a-z0-9]{0,15}_[0-9A-Za-z]{17}_[0-9A-Za-z]{39}";
        assert_eq!(ParsedToken::pattern(None).as_deref(), Ok(shape));
        assert_eq!(ParsedToken::pattern(Some("sk")).as_deref(), Ok("sk_[0-9A-Za-z]{17}_[0-9A-Za-z]{39}"));
        assert!(ParsedToken::pattern(Some("s.k")).is_err());
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_make_no_difference(
            parts in prop::collection::vec(
                prop_oneof![
                    (0u8..3).prop_map(|seed| token(["sk", "a", "abcdefghij012345"][usize::from(seed)], seed)),
                    "[a-z_0é\n ]{0,90}",
                ],
                0..8,
            ),
            piece in 1usize..200,
        ) {
            let text = parts.concat();
            let whole = find_tokens(&text);
            let found = scan(text.as_bytes(), piece);
            prop_assert_eq!(found.len(), whole.len());
            for ((place, token), expected) in found.into_iter().zip(whole) {
                prop_assert_eq!(place.offset as usize, expected.start);
                prop_assert_eq!(&token, &text[expected.start..expected.end]);
                let before = &text[..expected.start];
                prop_assert_eq!(place.line as usize, 1 + before.matches('\n').count());
                let line = before.rsplit('\n').next().unwrap_or_default();
                prop_assert_eq!(place.column as usize, 1 + line.chars().count());
            }
        }
    }
}
