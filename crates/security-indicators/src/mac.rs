//! Hardware addresses.

/// The canonical form, `00:00:5e:00:53:01`; hyphens, Cisco's dots and twelve bare digits are accepted.
pub(crate) fn canonical(text: &str) -> Result<String, &'static str> {
    const SHAPE: &str = "a hardware address is six pairs of hex digits";
    let bytes = text.as_bytes();
    let (group, mark) = match (bytes.len(), bytes.get(2)) {
        (17, Some(&mark @ (b':' | b'-'))) => (2, mark),
        (14, _) => (4, b'.'),
        (12, _) => (12, 0),
        _ => return Err(SHAPE),
    };
    let mut digits = Vec::with_capacity(12);
    for (at, &byte) in bytes.iter().enumerate() {
        if at % (group + 1) == group {
            if byte != mark {
                return Err(SHAPE);
            }
        } else if byte.is_ascii_hexdigit() {
            digits.push(char::from(byte.to_ascii_lowercase()));
        } else {
            return Err(SHAPE);
        }
    }
    let pairs: Vec<String> = digits.chunks(2).map(|pair| pair.iter().collect()).collect();
    Ok(pairs.join(":"))
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn addresses_have_one_form() {
        for text in ["00:00:5E:00:53:01", "00-00-5e-00-53-01", "0000.5e00.5301", "00005e005301"] {
            assert_eq!(canonical(text).as_deref(), Ok("00:00:5e:00:53:01"));
        }
        for wrong in ["00:00:5e:00:53", "00:00:5e:00:53:0g", "00:00-5e:00:53:01", "00.00.5e.00.53.01"] {
            assert!(canonical(wrong).is_err(), "{wrong}");
        }
    }
}
