//! Bytes as lower-case hex digits and back.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The digits of 32 bytes.
pub(crate) fn encode(bytes: &[u8; 32]) -> String {
    encode_all(bytes)
}

/// The digits of the bytes.
pub(crate) fn encode_all(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// The digits of 32 bytes, as ASCII.
pub(crate) fn digits(bytes: &[u8; 32]) -> [u8; 64] {
    let mut digits = [0; 64];
    for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = PAIRS[usize::from(*byte)];
    }
    digits
}

/// The two digits of each byte.
static PAIRS: [[u8; 2]; 256] = {
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
};

/// The bytes of exactly 64 lower-case digits; one value has one text, so that texts can be compared.
pub(crate) fn decode(text: &str) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = of_pair(pair)?;
    }
    Some(bytes)
}

/// The bytes of an even number of lower-case digits.
pub(crate) fn decode_all(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(of_pair).collect()
}

fn of_pair(pair: &[u8]) -> Option<u8> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    Some(value(pair[0])? << 4 | value(pair[1])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_other_shapes() {
        let good = "0123456789abcdef".repeat(4);
        assert!(decode(&good).is_some());
        assert_eq!(decode(&good[1..]), None);
        assert_eq!(decode(&format!("{good}0")), None);
        assert_eq!(decode(&good.to_uppercase()), None);
        assert_eq!(decode(&good.replacen("01", "+1", 1)), None);
        assert_eq!(decode(&"é".repeat(32)), None);
    }

    proptest! {
        #[test]
        fn round_trips(bytes: [u8; 32]) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
    }
}
