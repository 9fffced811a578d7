//! The text of an issued key: `prefix_id_secret`, with a checksum at the end.

use std::fmt;

use security_core::{Entropy, KEY_ID_LENGTH, Secret, each_id_frame};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{CredentialError, error::shown};

/// A new token: what the caller is given once.
///
/// `prefix _ id _ secret checksum`: the prefix is a lower-case letter and up to 15 lower-case letters and
/// digits; the id is 96 random bits as 17 base62 digits; the secret is 192 random bits as 33 base62 digits; the
/// checksum is CRC-32 (ISO 3309) of all the text before it, as 6 base62 digits. The digits are 0-9, A-Z, a-z.
#[derive(Debug)]
pub struct Token {
    /// The id, by which the key is found; no secret.
    pub id: String,
    /// The whole token.
    pub secret: Secret,
}

/// A text that has the shape of a token and the right checksum; nothing more is known of it.
#[derive(Clone, Copy)]
pub struct ParsedToken<'a> {
    prefix: &'a str,
    id: &'a str,
    text: &'a [u8],
}

/// One of our tokens in a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoundToken {
    /// Byte offset of its first character.
    pub start: usize,
    /// Byte offset after its last character.
    pub end: usize,
    /// Its prefix.
    pub prefix: String,
    /// The key's id; the secret is not given.
    pub id: String,
}

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const MAX_PREFIX: usize = 16;
pub(crate) const ID: usize = KEY_ID_LENGTH;
const SECRET: usize = 33;
const CHECKSUM: usize = 6;
/// What each byte is worth as a digit.
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < DIGITS.len() {
        values[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};
const NO_DIGIT: u8 = 1 << 7;
/// An id's last digits that are counted as one 64-bit number, and how much one unit above them is.
const LOW_DIGITS: usize = 10;
const LOW_UNIT: u64 = 62_u64.pow(10);
/// Everything from the first `_` on; of one length in every token.
const AFTER_PREFIX: usize = 1 + ID + 1 + SECRET + CHECKSUM;

impl Token {
    /// A token with a new id.
    /// # Errors
    /// [`CredentialError::Prefix`] for a prefix of another shape.
    pub fn generate(prefix: &str, entropy: &mut dyn Entropy) -> Result<Self, CredentialError> {
        Self::renew(prefix, &Self::new_id(entropy), entropy)
    }

    /// Refuses what cannot start a token.
    /// # Errors
    /// [`CredentialError::Prefix`].
    pub fn check_prefix(prefix: &str) -> Result<(), CredentialError> {
        check_prefix(prefix)
    }

    /// A new id alone.
    pub fn new_id(entropy: &mut dyn Entropy) -> String {
        let mut random = [0; 12];
        entropy.fill(&mut random);
        let mut id = [0; ID];
        encode(&mut random, &mut id);
        id.map(char::from).iter().collect()
    }

    /// A token with a new secret for an id that exists.
    /// # Errors
    /// [`CredentialError::Prefix`] and [`CredentialError::KeyId`] for other shapes.
    pub fn renew(prefix: &str, id: &str, entropy: &mut dyn Entropy) -> Result<Self, CredentialError> {
        check_prefix(prefix)?;
        check_id(id)?;
        let mut random = Zeroizing::new([0; 24]);
        entropy.fill(&mut *random);
        let mut secret = Zeroizing::new([0; SECRET]);
        encode(&mut *random, &mut *secret);
        // The whole length at once: a vector that grew would leave parts of the secret behind.
        let mut text = Vec::with_capacity(prefix.len() + AFTER_PREFIX);
        text.extend_from_slice(prefix.as_bytes());
        text.push(b'_');
        text.extend_from_slice(id.as_bytes());
        text.push(b'_');
        text.extend_from_slice(&*secret);
        let checksum = checksum(&text);
        text.extend_from_slice(&checksum);
        Ok(Self { id: id.to_owned(), secret: Secret::new(text) })
    }
}

/// Refuses what cannot start a token.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), CredentialError> {
    is_prefix(prefix.as_bytes()).then_some(()).ok_or_else(|| CredentialError::Prefix(shown(prefix)))
}

/// Refuses what is no id.
pub(crate) fn check_id(id: &str) -> Result<(), CredentialError> {
    let good = id.len() == ID && is_base62(id.as_bytes());
    good.then_some(()).ok_or_else(|| CredentialError::KeyId(shown(id)))
}

/// An id as the number that its base62 digits write; ids sort as texts like these numbers do. `None` for what is
/// no id.
pub(crate) fn id_number(id: &str) -> Option<u128> {
    let id: &[u8; ID] = id.as_bytes().try_into().ok()?;
    // What is no digit has a bit of its own, which is looked at once for all.
    let mut any = 0;
    let values = id.map(|digit| {
        let value = VALUES[usize::from(digit)];
        any |= value;
        u64::from(value)
    });
    if any & NO_DIGIT != 0 {
        return None;
    }
    // In halves and these in pairs, so that few multiplications wait for another one; each half is below 2^64.
    let pair = |at: usize| values[at] * 62 + values[at + 1];
    let four = |at: usize| pair(at) * 62_u64.pow(2) + pair(at + 2);
    let high = four(0) * 62_u64.pow(3) + pair(4) * 62 + values[6];
    let low = (four(7) * 62_u64.pow(4) + four(11)) * 62_u64.pow(2) + pair(15);
    Some(u128::from(high) * u128::from(LOW_UNIT) + u128::from(low))
}

/// The id that a number below 62^17 writes; the remainder of a larger one.
pub(crate) fn id_text(number: u128) -> String {
    let unit = u128::from(LOW_UNIT);
    // Both halves are below 62^10, which is below 2^64.
    let mut low = u64::try_from(number % unit).unwrap_or_default();
    let mut high = u64::try_from(number / unit % unit).unwrap_or_default();
    let mut text = [0; ID];
    let (first, last) = text.split_at_mut(ID - LOW_DIGITS);
    for (half, digits) in [(&mut low, last), (&mut high, first)] {
        for digit in digits.iter_mut().rev() {
            *digit = DIGITS[(*half % 62) as usize];
            *half /= 62;
        }
    }
    text.map(char::from).iter().collect()
}

impl<'a> ParsedToken<'a> {
    /// The longest token, in bytes. Longer texts are refused by their length alone.
    pub const MAX_LENGTH: usize = MAX_PREFIX + AFTER_PREFIX;

    /// Reads a token, without allocating; `None` for every other text, a token with a typing error among them.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        if text.len() > Self::MAX_LENGTH {
            return None;
        }
        let (prefix, rest) = text.split_at(text.len().checked_sub(AFTER_PREFIX)?);
        let (id, rest) = rest.strip_prefix(b"_")?.split_at(ID);
        let secret = rest.strip_prefix(b"_")?;
        if !is_prefix(prefix) || !is_base62(id) || !is_base62(secret) {
            return None;
        }
        let (body, check) = text.split_at(text.len() - CHECKSUM);
        if checksum(body) != *check {
            return None;
        }
        Some(Self { prefix: std::str::from_utf8(prefix).ok()?, id: std::str::from_utf8(id).ok()?, text })
    }

    /// The prefix.
    pub fn prefix(&self) -> &'a str {
        self.prefix
    }

    /// The id.
    pub fn id(&self) -> &'a str {
        self.id
    }

    /// The token as people may see it: `sk_<id>_****`.
    pub fn masked(&self) -> String {
        format!("{}_{}_****", self.prefix, self.id)
    }

    /// The regular expression of a token's shape, for secret scanners that cannot compute the checksum: RE2,
    /// Hyperscan, PCRE and Python read it alike. One prefix, or all.
    /// # Errors
    /// [`CredentialError::Prefix`] for a prefix of another shape.
    pub fn pattern(prefix: Option<&str>) -> Result<String, CredentialError> {
        let prefix = match prefix {
            Some(prefix) => check_prefix(prefix).map(|()| prefix.to_owned())?,
            None => format!("[a-z][a-z0-9]{{0,{}}}", MAX_PREFIX - 1),
        };
        Ok(format!("{prefix}_[0-9A-Za-z]{{{ID}}}_[0-9A-Za-z]{{{}}}", SECRET + CHECKSUM))
    }

    /// The whole token, whose digest is compared. It holds the secret.
    pub fn expose(&self) -> &'a [u8] {
        self.text
    }
}

/// Shows the prefix and the id.
impl fmt::Debug for ParsedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ParsedToken({})", self.masked())
    }
}

/// All tokens in a text, in order, in linear time. The checksum decides: a stranger's text passes for a token
/// once in hundreds of millions of texts of the very same shape. They are found without white space around
/// them too, as after the `\n` of a JSON string.
pub fn find_tokens(text: &str) -> Vec<FoundToken> {
    let mut found = Vec::new();
    each_token(text.as_bytes(), 0, 0, &mut |start, token| {
        let (prefix, id) = (token.prefix().to_owned(), token.id().to_owned());
        found.push(FoundToken { start, end: start + token.expose().len(), prefix, id });
    });
    found
}

/// Calls `found` with every token that ends behind `seen` and begins at `free_from` or later, in order, and with
/// where it begins.
pub(crate) fn each_token<'a>(
    bytes: &'a [u8],
    seen: usize,
    mut free_from: usize,
    found: &mut dyn FnMut(usize, ParsedToken<'a>),
) {
    each_id_frame(bytes, (seen + 1).saturating_sub(AFTER_PREFIX), &mut |underscore| {
        if underscore >= free_from
            && bytes.len() >= underscore + AFTER_PREFIX
            && let Some((start, token)) = token_at(bytes, underscore, free_from)
        {
            found(start, token);
            free_from = underscore + AFTER_PREFIX;
        }
    });
}

/// The token whose prefix ends before `underscore`, which has another one at the right distance behind it.
fn token_at(bytes: &[u8], underscore: usize, free_from: usize) -> Option<(usize, ParsedToken<'_>)> {
    let (id_at, secret_at) = (underscore + 1, underscore + 2 + ID);
    let end = underscore + AFTER_PREFIX;
    if !is_base62(&bytes[id_at..id_at + ID]) || !is_base62(&bytes[secret_at..end]) {
        return None;
    }
    let earliest = underscore.saturating_sub(MAX_PREFIX).max(free_from);
    let before = &bytes[earliest..underscore];
    let length = before.iter().rev().take_while(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    // Which of these characters are the prefix, the checksum tells.
    let mut starts = underscore - length.count()..underscore;
    let start = starts.find(|start| {
        let (body, check) = bytes[*start..end].split_at(end - start - CHECKSUM);
        bytes[*start].is_ascii_lowercase() && checksum(body) == *check
    })?;
    Some((start, ParsedToken::parse(&bytes[start..end])?))
}

fn is_prefix(bytes: &[u8]) -> bool {
    matches!(bytes.len(), 1..=MAX_PREFIX)
        && bytes[0].is_ascii_lowercase()
        && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Without an early end, so that many bytes are looked at at once.
fn is_base62(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |good, byte| good & byte.is_ascii_alphanumeric())
}

/// The number as base62 digits, most significant first, with zeros in front. Divides the number to zero.
fn encode(number: &mut [u8], digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        let mut rest: u32 = 0;
        for byte in number.iter_mut() {
            let value = (rest << 8) | u32::from(*byte);
            *byte = (value / 62) as u8; // below 256: the rest is below 62
            rest = value % 62;
        }
        *digit = DIGITS[rest as usize];
    }
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM] {
    let mut digits = [0; CHECKSUM];
    let mut crc = crc32fast::hash(body);
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(crc % 62) as usize];
        crc /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Bytes(Vec<u8>);

    impl Entropy for Bytes {
        fn fill(&mut self, buffer: &mut [u8]) {
            let rest = self.0.split_off(buffer.len());
            buffer.copy_from_slice(&std::mem::replace(&mut self.0, rest));
        }
    }

    fn token(prefix: &str, random: [u8; 36]) -> Token {
        Token::generate(prefix, &mut Bytes(random.to_vec())).unwrap()
    }

    #[test]
    fn the_smallest_and_the_greatest_number_fit() {
        let zero = token("sk", [0; 36]);
        assert_eq!(zero.id, "0".repeat(17));
        assert!(zero.secret.expose_text().unwrap()[21..].starts_with(&"0".repeat(33)));
        let most = token("sk", [0xff; 36]);
        // 2^96 - 1 and 2^192 - 1 in base62, checked against Python's integers.
        assert_eq!(most.id, "1f2SI9UJPXvb7vdJ1");
        assert!(most.secret.expose_text().unwrap().contains("_2lFA6LboL2xx0ldQH2K1TdSrwuqMMiME3"));
        assert_eq!(ParsedToken::parse(most.secret.expose()).unwrap().id(), most.id);
    }

    #[test]
    fn other_prefixes_and_ids_are_refused() {
        for bad in ["", "Sk", "1sk", "s_k", "sk_", "s-k", "é", "abcdefghijklmnopq"] {
            let refused = Token::generate(bad, &mut Bytes(vec![1; 36]));
            assert!(matches!(refused, Err(CredentialError::Prefix(_))), "{bad}");
        }
        for bad in ["", "0123456789abcdef", "0123456789abcdef_", "0123456789abcdefgh"] {
            let refused = Token::renew("sk", bad, &mut Bytes(vec![1; 24]));
            assert!(matches!(refused, Err(CredentialError::KeyId(_))), "{bad}");
        }
    }

    #[test]
    fn nothing_shows_the_secret_by_accident() {
        let token = token("sk", [7; 36]);
        let parsed = ParsedToken::parse(token.secret.expose()).unwrap();
        let secret = &token.secret.expose_text().unwrap()[21..];
        assert!(!format!("{token:?} {parsed:?}").contains(secret));
        assert_eq!(format!("{parsed:?}"), format!("ParsedToken(sk_{}_****)", token.id));
    }

    #[test]
    fn tokens_are_found_glued_to_other_text() {
        let token = token("sk", [9; 36]);
        let text = token.secret.expose_text().unwrap();
        for (before, after) in
            [("", ""), ("key=", "&x"), ("\\n", "\\n"), ("API_KEY_", "_old"), ("é", "é"), ("SECRETKEY", "zz9")]
        {
            let found = find_tokens(&format!("{before}{text}{after}"));
            assert_eq!(found.len(), 1, "{before:?} {after:?}");
            assert_eq!(found[0].start..found[0].end, before.len()..before.len() + text.len());
            assert_eq!((found[0].prefix.as_str(), &found[0].id), ("sk", &token.id));
            let redacted = security_core::redact_tokens(&format!("{before}{text}{after}")).into_owned();
            assert!(redacted.starts_with(&format!("{before}sk_{}_****", token.id)), "{redacted}");
        }
        assert_eq!(find_tokens(&text.repeat(3)).len(), 3);
    }

    proptest! {
        #[test]
        fn round_trips(prefix in "[a-z][a-z0-9]{0,15}", random: [[u8; 12]; 3]) {
            let mut bytes = [0; 36];
            bytes.copy_from_slice(random.as_flattened());
            let token = token(&prefix, bytes);
            let parsed = ParsedToken::parse(token.secret.expose()).unwrap();
            prop_assert_eq!(parsed.prefix(), prefix);
            prop_assert_eq!(parsed.id(), token.id);
            prop_assert_eq!(parsed.expose(), token.secret.expose());
        }

        #[test]
        fn ids_are_numbers_and_sort_like_them(a in "[0-9A-Za-z]{17}", b in "[0-9A-Za-z]{17}") {
            let (first, second) = (id_number(&a).unwrap(), id_number(&b).unwrap());
            prop_assert_eq!(id_text(first), a.clone());
            prop_assert_eq!(first.cmp(&second), a.cmp(&b));
            prop_assert_eq!(id_number(&a[1..]), None);
            prop_assert_eq!(id_number(&a.replace(&a[4..5], "_")), None);
        }

        #[test]
        fn every_single_wrong_character_is_refused(
            prefix in "[a-z][a-z0-9]{0,15}", byte: u8, at: prop::sample::Index, wrong: u8,
        ) {
            let token = token(&prefix, [byte; 36]);
            let mut text = token.secret.expose().to_vec();
            let at = at.index(text.len());
            prop_assume!(text[at] != wrong);
            text[at] = wrong;
            prop_assert!(ParsedToken::parse(&text).is_none());
        }

        #[test]
        fn missing_doubled_and_swapped_characters_are_refused(byte: u8, at in 0usize..59) {
            let token = token("sk", [byte, 200, 3].repeat(12).try_into().unwrap());
            let text = token.secret.expose().to_vec();
            let mut missing = text.clone();
            missing.remove(at);
            prop_assert!(ParsedToken::parse(&missing).is_none());
            let mut doubled = text.clone();
            doubled.insert(at, text[at]);
            prop_assert!(ParsedToken::parse(&doubled).is_none());
            let mut swapped = text.clone();
            swapped.swap(at, at + 1);
            prop_assert!(swapped == text || ParsedToken::parse(&swapped).is_none());
        }

        #[test]
        fn parsing_never_panics(text in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(ParsedToken::parse(&text).is_none());
        }

        #[test]
        fn finding_agrees_with_parsing_at_every_place(
            pieces in prop::collection::vec(prop_oneof![Just(None), "[a-z_0é ]{0,30}".prop_map(Some)], 0..8),
        ) {
            let one = token("ab", [5; 36]);
            let one = one.secret.expose_text().unwrap();
            let text: String = pieces.iter().map(|piece| piece.as_deref().unwrap_or(one)).collect();
            let found = find_tokens(&text);
            prop_assert_eq!(found.len(), pieces.iter().filter(|piece| piece.is_none()).count());
            for token in found {
                prop_assert!(ParsedToken::parse(&text.as_bytes()[token.start..token.end]).is_some());
            }
        }
    }
}
