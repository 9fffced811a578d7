//! Autonomous system numbers.

/// The canonical form, `AS64496`; a bare number and RFC 5396 asdot notation are accepted.
pub(crate) fn canonical(text: &str) -> Result<String, &'static str> {
    const SHAPE: &str = "an autonomous system number is AS and a number below 4294967296";
    let upper = text.to_ascii_uppercase();
    let rest = upper.strip_prefix("ASN").or_else(|| upper.strip_prefix("AS")).unwrap_or(&upper).trim_start();
    let number = match rest.split_once('.') {
        Some((high, low)) => {
            (u32::from(decimal::<u16>(high).ok_or(SHAPE)?) << 16)
                | u32::from(decimal::<u16>(low).ok_or(SHAPE)?)
        }
        None => decimal::<u32>(rest).ok_or(SHAPE)?,
    };
    Ok(format!("AS{number}"))
}

fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn numbers_have_one_form() {
        for (text, value) in
            [("as64496", "AS64496"), ("64496", "AS64496"), ("ASN 64496", "AS64496"), ("AS1.10", "AS65546")]
        {
            assert_eq!(canonical(text).as_deref(), Ok(value));
        }
        for wrong in ["AS", "AS4294967296", "AS-1", "AS1.65536", "ASx"] {
            assert!(canonical(wrong).is_err(), "{wrong}");
        }
    }
}
