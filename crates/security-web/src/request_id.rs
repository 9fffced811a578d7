//! Which request ids of others we go on with.

/// The id, if an incoming `X-Request-ID` may be used as this request's own: 8 to 128 characters of
/// `A–Z a–z 0–9 . _ -`. Anything else could forge log lines or headers, and a new id is made instead.
pub fn acceptable_request_id(value: &[u8]) -> Option<&str> {
    let is_fit = (8..=128).contains(&value.len())
        && value.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if is_fit { std::str::from_utf8(value).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn accepts_ids_and_nothing_else() {
        assert_eq!(acceptable_request_id(b"req-2026.11_24"), Some("req-2026.11_24"));
        assert_eq!(acceptable_request_id(&[b'a'; 8]), Some("aaaaaaaa"));
        assert!(acceptable_request_id(&[b'a'; 128]).is_some());
        for bad in [
            &b""[..],
            b"1234567",
            &[b'a'; 129],
            b"with space",
            b"line\nbreak",
            b"semi;colon",
            b"caf\xc3\xa9-12345",
        ] {
            assert_eq!(acceptable_request_id(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_comes_back_as_it_was(value in prop::collection::vec(any::<u8>(), 0..140)) {
            if let Some(id) = acceptable_request_id(&value) {
                prop_assert_eq!(id.as_bytes(), value.as_slice());
            }
        }
    }
}
