//! Digests and fingerprints of files and of TLS hellos.
//!
//! Canonical form: hex in lower case, except TLSH, which its authors write in upper case after `T1`.

use crate::IocType;

/// The digest a number of hex digits stands for.
pub(crate) fn kind_of_length(digits: usize) -> Option<IocType> {
    match digits {
        32 => Some(IocType::Md5),
        40 => Some(IocType::Sha1),
        56 => Some(IocType::Sha224),
        64 => Some(IocType::Sha256),
        96 => Some(IocType::Sha384),
        128 => Some(IocType::Sha512),
        _ => None,
    }
}

/// The number of hex digits of a digest; `None` for what is no digest.
fn length_of(kind: IocType) -> Option<usize> {
    match kind {
        IocType::Md5 | IocType::Imphash | IocType::Ja3 => Some(32),
        IocType::Sha1 => Some(40),
        IocType::Sha224 => Some(56),
        IocType::Sha256 => Some(64),
        IocType::Sha384 => Some(96),
        IocType::Sha512 => Some(128),
        _ => None,
    }
}

/// The canonical form of a digest of a kind.
pub(crate) fn canonical(kind: IocType, text: &str) -> Result<String, &'static str> {
    let length = length_of(kind).ok_or("this kind is no digest")?;
    if !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("a digest has hex digits only");
    }
    if text.len() != length {
        return Err("it has the wrong number of hex digits for this digest");
    }
    Ok(text.to_ascii_lowercase())
}

/// Whether a text is a digest of a kind in canonical form already.
pub(crate) fn is_canonical(kind: IocType, text: &str) -> bool {
    length_of(kind) == Some(text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The canonical form of a digest whose kind its length says; for the type names `hash` and `file_hash`.
pub(crate) fn kind_of(text: &str) -> Option<IocType> {
    kind_of_length(text.len()).filter(|_| text.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// An ssdeep hash: a block size of 3·2ⁿ and two base64 strings of at most 64 characters; case matters.
///
/// A file name after a comma, as the tool prints it, is dropped.
pub(crate) fn canonical_ssdeep(text: &str) -> Result<String, &'static str> {
    const SHAPE: &str = "an ssdeep hash is `blocksize:hash:hash`";
    let text = text.split_once(',').map_or(text, |(hash, _)| hash);
    let mut parts = text.splitn(3, ':');
    let (size, first, second) = (parts.next(), parts.next(), parts.next());
    let (size, first, second) = size.zip(first).zip(second).map(|((a, b), c)| (a, b, c)).ok_or(SHAPE)?;
    if !is_block_size(size) {
        return Err("the block size of an ssdeep hash is 3 times a power of two");
    }
    for part in [first, second] {
        if part.is_empty() || part.len() > 64 || !part.bytes().all(is_base64) {
            return Err(SHAPE);
        }
    }
    Ok(format!("{size}:{first}:{second}"))
}

/// 3·2ⁿ in decimal without leading zeros; the largest the tool makes is 3·2³⁰.
pub(crate) fn is_block_size(text: &str) -> bool {
    let plain = !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    plain && text.parse::<u64>().is_ok_and(|n| n % 3 == 0 && (n / 3).is_power_of_two() && n / 3 <= 1 << 30)
}

pub(crate) fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}

/// A TLSH hash: `T1` and 70 hex digits, or 70 digits as older versions print it.
pub(crate) fn canonical_tlsh(text: &str) -> Result<String, &'static str> {
    let upper = text.to_ascii_uppercase();
    let digits = upper.strip_prefix("T1").filter(|rest| rest.len() == 70).unwrap_or(&upper);
    if digits.len() != 70 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("a TLSH hash is `T1` and 70 hex digits");
    }
    Ok(format!("T1{digits}"))
}

/// A JA4 fingerprint: `t13d1516h2_` and two times 12 hex digits joined by `_`.
/// Source: FoxIO JA4 specification, "JA4: TLS Client Fingerprinting".
pub(crate) fn canonical_ja4(text: &str) -> Result<String, &'static str> {
    const SHAPE: &str = "a JA4 fingerprint is like t13d1516h2_0123456789ab_0123456789ab";
    let value = text.to_ascii_lowercase();
    let bytes = value.as_bytes();
    if bytes.len() != 36 || bytes[10] != b'_' || bytes[23] != b'_' {
        return Err(SHAPE);
    }
    let version =
        matches!(&bytes[1..3], b"13" | b"12" | b"11" | b"10" | b"s3" | b"s2" | b"d1" | b"d2" | b"d3" | b"00");
    let head = matches!(bytes[0], b't' | b'q' | b'd')
        && version
        && matches!(bytes[3], b'd' | b'i')
        && bytes[4..8].iter().all(u8::is_ascii_digit)
        && bytes[8..10].iter().all(u8::is_ascii_alphanumeric);
    let hex = |part: &[u8]| part.iter().all(u8::is_ascii_hexdigit);
    if head && hex(&bytes[11..23]) && hex(&bytes[24..]) { Ok(value) } else { Err(SHAPE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_have_their_length() {
        let digits = "0123456789ABCDEF".repeat(8);
        for kind in
            [IocType::Md5, IocType::Sha1, IocType::Sha224, IocType::Sha256, IocType::Sha384, IocType::Sha512]
        {
            let length = length_of(kind).unwrap();
            assert_eq!(canonical(kind, &digits[..length]).unwrap(), digits[..length].to_lowercase());
            assert!(canonical(kind, &digits[..length - 1]).is_err());
            assert_eq!(kind_of(&digits[..length]), Some(kind));
        }
        assert!(canonical(IocType::Md5, &"g".repeat(32)).is_err());
    }

    #[test]
    fn fuzzy_hashes_have_their_shape() {
        let hash = "96:PFEVbVpTmWDhbNqQmQQnMk:PyVbVpTpDhbNq8";
        assert_eq!(canonical_ssdeep(&format!("{hash},\"a.exe\"")).as_deref(), Ok(hash));
        for wrong in ["95:abc:def", "96:abc", "96::", "096:abc:def", "96:a-b:c"] {
            assert!(canonical_ssdeep(wrong).is_err(), "{wrong}");
        }
        let tlsh = "0a".repeat(35);
        assert_eq!(canonical_tlsh(&tlsh).unwrap(), canonical_tlsh(&format!("t1{tlsh}")).unwrap());
        assert!(canonical_tlsh("T1ab").is_err());
    }

    #[test]
    fn ja4_has_its_shape() {
        assert!(canonical_ja4("T13D1516h2_0123456789ab_0123456789AB").is_ok());
        for wrong in
            ["x13d1516h2_0123456789ab_0123456789ab", "t13d1516h2_0123456789ab_0123456789a", "t13d1516h2"]
        {
            assert!(canonical_ja4(wrong).is_err(), "{wrong}");
        }
    }
}
