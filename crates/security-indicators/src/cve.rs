//! Numbers of the CVE list.

/// The canonical form, `CVE-2024-12345`. Hyphens of other widths, as word processors make them, are accepted.
/// Source: CVE record format 5.1, `cveId`: four to nineteen digits after the year.
pub(crate) fn canonical(text: &str) -> Result<String, &'static str> {
    const SHAPE: &str = "a CVE number is CVE-, a year from 1999 on, and four digits or more";
    let plain: String =
        text.chars().map(|c| if is_hyphen(c) { '-' } else { c.to_ascii_uppercase() }).collect();
    let (year, number) = plain.strip_prefix("CVE-").and_then(|rest| rest.split_once('-')).ok_or(SHAPE)?;
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let year_is_right = year.len() == 4 && digits(year) && ("1999".."2100").contains(&year);
    // Past four digits there is no padding.
    let number_is_right =
        (4..=19).contains(&number.len()) && digits(number) && !(number.len() > 4 && number.starts_with('0'));
    if year_is_right && number_is_right { Ok(plain) } else { Err(SHAPE) }
}

/// Hyphen-minus, hyphen, non-breaking hyphen, figure dash, en dash, minus.
pub(crate) fn is_hyphen(c: char) -> bool {
    matches!(c, '-' | '\u{2010}'..='\u{2013}' | '\u{2212}')
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn numbers_are_upper_case() {
        assert_eq!(canonical("cve-2024-0001").as_deref(), Ok("CVE-2024-0001"));
        assert_eq!(canonical("CVE\u{2011}2024\u{2013}123456").as_deref(), Ok("CVE-2024-123456"));
        for wrong in
            ["CVE-2024-001", "CVE-1998-0001", "CVE-24-0001", "CVE-2024-00001", "CVE-2024-", "2024-0001"]
        {
            assert!(canonical(wrong).is_err(), "{wrong}");
        }
    }
}
