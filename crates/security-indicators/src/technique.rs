//! Techniques of MITRE ATT&CK.

/// The canonical form, `T1059` or `T1059.001`; the slash of the site's addresses is accepted for the dot.
pub(crate) fn canonical(text: &str) -> Result<String, &'static str> {
    const SHAPE: &str = "a technique is T and four digits, and a sub-technique has three more after a dot";
    let upper = text.to_ascii_uppercase().replace('/', ".");
    let rest = upper.strip_prefix('T').ok_or(SHAPE)?;
    let (number, sub) = rest.split_once('.').map_or((rest, None), |(number, sub)| (number, Some(sub)));
    let digits = |part: &str, length: usize| part.len() == length && part.bytes().all(|b| b.is_ascii_digit());
    // Enterprise and mobile techniques start at 1000, those of industrial control systems at 0800.
    let known_range = matches!(number.as_bytes().first(), Some(b'0' | b'1'));
    if digits(number, 4) && known_range && sub.is_none_or(|sub| digits(sub, 3)) {
        Ok(upper)
    } else {
        Err(SHAPE)
    }
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn techniques_are_upper_case() {
        assert_eq!(canonical("t1059/001").as_deref(), Ok("T1059.001"));
        assert_eq!(canonical("T1059").as_deref(), Ok("T1059"));
        for wrong in ["T105", "T10590", "T9999", "T1059.1", "T1059.", "TA0001", "1059"] {
            assert!(canonical(wrong).is_err(), "{wrong}");
        }
    }
}
