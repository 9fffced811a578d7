//! Times as STIX writes them.

use security_core::Timestamp;

use crate::StixError;

/// Writes a time as STIX asks: UTC with a final `Z` and three fraction digits, six if the microseconds need them.
///
/// Source: STIX 2.1 §2.15; three digits are what §3.2 compares `created` and `modified` by.
pub fn format_time(time: Timestamp) -> String {
    let text = time.to_string();
    match text.strip_suffix('Z') {
        Some(seconds) if !seconds.contains('.') => format!("{seconds}.000Z"),
        _ => text,
    }
}

/// Reads a STIX time: RFC 3339 with `T` and `Z` in upper case and any number of fraction digits, of which six
/// are kept.
///
/// # Errors
/// [`StixError::BadTime`] for anything else, also for times with another offset than `Z`.
pub fn parse_time(text: &str) -> Result<Timestamp, StixError> {
    let bad = || StixError::BadTime { text: StixError::excerpt(text) };
    let body = text.strip_suffix('Z').ok_or_else(bad)?;
    let (seconds, fraction) = body.split_once('.').unwrap_or((body, "0"));
    let shape = b"0000-00-00T00:00:00";
    let fits = seconds.len() == shape.len()
        && seconds.bytes().zip(shape).all(|(b, &s)| if s == b'0' { b.is_ascii_digit() } else { b == s });
    if !fits || fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let kept = &fraction[..fraction.len().min(6)]; // digits only, so every byte is a character
    format!("{seconds}.{kept}Z").parse().map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn writes_milliseconds_and_more_only_if_needed() {
        let written = |micros| format_time(Timestamp::from_micros(micros));
        assert_eq!(written(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(written(1_500_000), "1970-01-01T00:00:01.500Z");
        assert_eq!(written(1), "1970-01-01T00:00:00.000001Z");
    }

    #[test]
    fn reads_every_precision_and_no_other_shape() {
        for good in ["1970-01-01T00:00:00Z", "1970-01-01T00:00:00.0Z", "1970-01-01T00:00:00.000000000000Z"] {
            assert_eq!(parse_time(good).unwrap(), Timestamp::EPOCH, "{good}");
        }
        for bad in [
            "",
            "Z",
            "1970-01-01T00:00:00",
            "1970-01-01T00:00:00+00:00",
            "1970-01-01t00:00:00z",
            "1970-01-01 00:00:00Z",
            "1970-01-01T00:00Z",
            "1970-13-01T00:00:00Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00.0Z[Europe/Vienna]",
            "0000-01-01T00:00:00.é00000Z",
        ] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(micros in Timestamp::MIN.as_micros()..=Timestamp::MAX.as_micros()) {
            let time = Timestamp::from_micros(micros);
            prop_assert_eq!(parse_time(&format_time(time)).unwrap(), time);
        }

        #[test]
        fn any_text_is_answered(text: String) {
            let _ = parse_time(&text);
        }
    }
}
