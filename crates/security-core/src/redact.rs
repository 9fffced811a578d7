//! What must not be kept of a text: the secret part of a token of ours (`prefix_id_secret`), wherever it slipped in.
//!
//! The shape alone decides, not the checksum: a token with a typing error, in lower case or cut off gives as much away as
//! a whole one.

use std::{borrow::Cow, ops::Range};

/// The length of a key's id in a token, in base62 digits.
pub const KEY_ID_LENGTH: usize = 17;
/// The fewest base62 digits behind an id that are taken for (a part of) a secret.
const FEWEST: usize = 8;
/// What stands in place of a secret.
const REDACTED: &str = "****";
/// Places looked at together.
const BLOCK: usize = 64;

/// The text with the secret part of everything in it that looks like a token, or like its beginning, replaced by
/// `****`. In linear time.
pub fn redact_tokens(text: &str) -> Cow<'_, str> {
    let mut redacted = String::new();
    let mut copied = 0;
    each_secret(text.as_bytes(), &mut |secret| {
        redacted.push_str(&text[copied..secret.start]);
        redacted.push_str(REDACTED);
        copied = secret.end;
    });
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    redacted.push_str(&text[copied..]);
    Cow::Owned(redacted)
}

/// As [`redact_tokens`], with a `*` for each byte of a secret, so that every other byte keeps its place: for a text of
/// which a window is shown.
pub fn blank_tokens(text: &[u8]) -> Cow<'_, [u8]> {
    let mut blanked = Cow::Borrowed(text);
    each_secret(text, &mut |secret| blanked.to_mut()[secret].fill(b'*'));
    blanked
}

/// Calls `found` with every underscore, from `first` on, that has another one behind as many places as an id has. Two at
/// that distance are rare, and a loop without branches looks for them in as many places at once as the machine's
/// registers hold.
pub fn each_id_frame(bytes: &[u8], first: usize, found: &mut dyn FnMut(usize)) {
    let Some(others) = bytes.get(first + KEY_ID_LENGTH + 1..) else { return };
    let ones = &bytes[first..];
    for (block, (ones, others)) in ones.chunks(BLOCK).zip(others.chunks(BLOCK)).enumerate() {
        let both = |(one, other): (&u8, &u8)| (*one == b'_') & (*other == b'_');
        if ones.iter().zip(others).fold(false, |any, pair| any | both(pair)) {
            let hits = ones.iter().zip(others).enumerate().filter(|(_, pair)| both(*pair));
            hits.for_each(|(at, _)| found(first + block * BLOCK + at));
        }
    }
}

/// The places of all secrets, in order. Each is one run of digits.
fn each_secret(bytes: &[u8], found: &mut dyn FnMut(Range<usize>)) {
    each_id_frame(bytes, 0, &mut |underscore| {
        let start = underscore + KEY_ID_LENGTH + 2;
        let digits = |of: &[u8]| of.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        if digits(&bytes[underscore + 1..]) == KEY_ID_LENGTH {
            let length = digits(&bytes[start..]);
            if length >= FEWEST {
                found(start..start + length);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOKEN: &str = "sk_0123456789abcdefg_ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456checks";
    const MASKED: &str = "sk_0123456789abcdefg_****";

    #[test]
    fn whole_cut_and_mistyped_tokens_lose_their_secret() {
        for length in TOKEN.len() - 31..=TOKEN.len() {
            assert_eq!(redact_tokens(&TOKEN[..length]), MASKED, "{length}");
        }
        assert_eq!(redact_tokens(&TOKEN.to_lowercase()), MASKED);
        assert_eq!(redact_tokens(&format!("{TOKEN}x")), MASKED);
        assert_eq!(redact_tokens(&format!("/é/{TOKEN}/{TOKEN}é")), format!("/é/{MASKED}/{MASKED}é"));
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        for text in ["", "_", "nothing_here", "sk_0123456789abcdefg_", "sk_0123456789abcdefg_1234567", MASKED]
        {
            assert!(matches!(redact_tokens(text), Cow::Borrowed(_)), "{text}");
        }
        assert!(matches!(redact_tokens("sk_0123456789.bcdefg_ABCDEFGHIJKLMN"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_run_of_digits_is_read_once() {
        // Every underscore begins a frame; a run that were counted from each of them would take minutes here.
        let frames = "_0123456789abcdefg".repeat(50_000);
        assert_eq!(redact_tokens(&frames).matches(REDACTED).count(), 49_999);
        let run = format!("_0123456789abcdefg_{}", "a".repeat(2_000_000));
        assert_eq!(redact_tokens(&run), "_0123456789abcdefg_****");
    }

    proptest! {
        #[test]
        fn no_secret_is_left_wherever_it_lies(before in ".{0,150}", after in "[^0-9A-Za-z].{0,90}") {
            let text = format!("{before}{TOKEN}{after}");
            let secret = &TOKEN[21..29];
            prop_assert!(!redact_tokens(&text).contains(secret));
            let blanked = blank_tokens(text.as_bytes());
            prop_assert_eq!(blanked.len(), text.len());
            let blanked = std::str::from_utf8(&blanked).unwrap();
            prop_assert!(!blanked.contains(secret));
            prop_assert!(blanked.ends_with(&after));
            prop_assert!(redact_tokens(&text).ends_with(&after));
        }
    }
}
