//! Addresses of crypto-currencies.
//!
//! Checked is what needs no digest of ours (hashing lives in one crate only): bech32 and bech32m checksums, and
//! for base58 the alphabet, the decoded length and the version byte. The double-SHA-256 of base58check, the
//! Keccak of EIP-55 and of Monero are **not** checked.

const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const BECH32: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// A Bitcoin address on the main network: `1…`, `3…` as they are, `bc1…` in lower case.
/// Source: BIP 13, BIP 173, BIP 350.
pub(crate) fn canonical_btc(text: &str) -> Result<String, &'static str> {
    if text.len() >= 4 && text.as_bytes()[..3].eq_ignore_ascii_case(b"bc1") {
        return segwit(text);
    }
    if !(26..=35).contains(&text.len()) || !text.starts_with(['1', '3']) {
        return Err("a Bitcoin address starts with 1, 3 or bc1");
    }
    let decoded = base58(text.as_bytes()).ok_or("a character is not of base58")?;
    match (decoded.len(), decoded.first()) {
        (25, Some(0x00 | 0x05)) => Ok(text.to_owned()),
        _ => Err("it decodes to the wrong length or version"),
    }
}

/// Base58 with leading ones as zero bytes; the length is bounded by the caller.
fn base58(text: &[u8]) -> Option<Vec<u8>> {
    let mut number: Vec<u8> = Vec::with_capacity(text.len());
    for &byte in text {
        let mut carry = BASE58.iter().position(|&b| b == byte)? as u32;
        for digit in &mut number {
            carry += u32::from(*digit) * 58;
            *digit = (carry & 0xff) as u8;
            carry >>= 8;
        }
        while carry > 0 {
            number.push((carry & 0xff) as u8);
            carry >>= 8;
        }
    }
    number.extend(text.iter().take_while(|&&b| b == b'1').map(|_| 0));
    number.reverse();
    Some(number)
}

fn segwit(text: &str) -> Result<String, &'static str> {
    let value = text.to_ascii_lowercase();
    if value != text && text.to_ascii_uppercase() != text {
        return Err("a bech32 address has one case");
    }
    if !(14..=90).contains(&value.len()) {
        return Err("a bech32 address has 14 to 90 characters");
    }
    let data: Option<Vec<u8>> =
        value.as_bytes()[3..].iter().map(|b| BECH32.iter().position(|c| c == b).map(|at| at as u8)).collect();
    let data = data.ok_or("a character is not of bech32")?;
    let mut check = 1u32;
    // The human-readable part `bc`, expanded: high bits, a zero, low bits.
    for &five in [3, 3, 0, 2, 3].iter().chain(&data) {
        let top = check >> 25;
        check = ((check & 0x1ff_ffff) << 5) ^ u32::from(five);
        for (bit, generator) in
            [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3].iter().enumerate()
        {
            if (top >> bit) & 1 == 1 {
                check ^= generator;
            }
        }
    }
    let version = data[0];
    let expected = if version == 0 { 1 } else { 0x2bc8_30a3 };
    let bytes = (data.len() - 7) * 5 / 8;
    let length_is_right = if version == 0 { bytes == 20 || bytes == 32 } else { (2..=40).contains(&bytes) };
    if check != expected || version > 16 || !length_is_right {
        return Err("its checksum, version or length is wrong");
    }
    Ok(value)
}

/// An Ethereum address in lower case.
pub(crate) fn canonical_eth(text: &str) -> Result<String, &'static str> {
    let digits =
        text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).ok_or("it does not start with 0x")?;
    if digits.len() != 40 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("after 0x come 40 hex digits");
    }
    Ok(format!("0x{}", digits.to_ascii_lowercase()))
}

/// A Solana address: base58 of 32 bytes. It has no checksum, so nothing more can be asked of it.
pub(crate) fn canonical_sol(text: &str) -> Result<String, &'static str> {
    if !(32..=44).contains(&text.len()) {
        return Err("a Solana address has 32 to 44 characters");
    }
    let decoded = base58(text.as_bytes()).ok_or("a character is not of base58")?;
    if decoded.len() == 32 { Ok(text.to_owned()) } else { Err("it does not decode to 32 bytes") }
}

/// A Monero address on the main network: standard (`4`, 95 characters), integrated (`4`, 106), sub-address (`8`, 95).
/// Blocks of 8 bytes are written as 11 characters, so each block is a number below 2⁶⁴ (CryptoNote standard 007).
pub(crate) fn canonical_xmr(text: &str) -> Result<String, &'static str> {
    let shape = matches!((text.len(), text.as_bytes().first()), (95, Some(b'4' | b'8')) | (106, Some(b'4')));
    if !shape {
        return Err("a Monero address has 95 characters and starts with 4 or 8");
    }
    let mut first = None;
    for block in text.as_bytes().chunks(11) {
        let mut number = 0u128;
        for byte in block {
            let digit = BASE58.iter().position(|b| b == byte).ok_or("a character is not of base58")?;
            number = number * 58 + digit as u128;
        }
        let bytes = if block.len() == 11 { 8 } else { 5 };
        if number >> (8 * bytes) != 0 {
            return Err("a block of it is too large");
        }
        first.get_or_insert(number >> 56);
    }
    // The network byte: 18 standard, 19 integrated, 42 sub-address.
    match (first, text.len()) {
        (Some(18 | 42), 95) | (Some(19), 106) => Ok(text.to_owned()),
        _ => Err("it is of another network"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitcoin_addresses() {
        // The examples of BIP 173 and BIP 350, and base58 of made-up bytes.
        for text in [
            "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
            "1111111111111111111114oLvT2",
        ] {
            assert!(canonical_btc(text).is_ok(), "{text}");
        }
        for wrong in [
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5",
            "bc1Qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
            "bc1",
            "bc1q",
            "1111111111111111111114oLvT0",
            "1AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "3",
        ] {
            assert!(canonical_btc(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ethereum_and_monero_addresses() {
        let upper = format!("0x{}", "ABCDEF0123".repeat(4));
        assert_eq!(canonical_eth(&upper).unwrap(), upper.to_lowercase());
        assert!(canonical_eth("0x12").is_err());
        let example = crate::IocType::Xmr.example();
        assert!(canonical_xmr(example).is_ok());
        assert!(canonical_xmr(&example.replacen('4', "9", 1)).is_err());
        assert!(canonical_xmr(&format!("4{}", "z".repeat(94))).is_err());
    }
}
