//! 32 bytes as 64 lower-case hex digits and back.

/// The digits of the bytes.
pub(crate) fn encode(bytes: &[u8; 32]) -> String {
    digits(bytes).map(char::from).iter().collect()
}

/// The digits of the bytes, as ASCII.
pub(crate) fn digits(bytes: &[u8; 32]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 64];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    digits
}

/// The bytes of exactly 64 lower-case digits; one value has one text, so that texts can be compared.
pub(crate) fn decode(text: &str) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
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
