//! JSON that common readers take and its standard does not (RFC 8259): Python's `json` knows `NaN`, `Infinity` and
//! `-Infinity`, has infinity for a number that is too large, and lets half a surrogate pair stand.

/// The same text as the standard has it: those numbers as the texts `NaN`, `Infinity` and `-Infinity`, and half a pair as
/// U+FFFD. What is no JSON even so comes out as no JSON.
pub(super) fn standard(text: &[u8]) -> Vec<u8> {
    let mut written = Vec::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(first) = rest.first() {
        let taken = match first {
            b'"' => string(rest, &mut written),
            b'N' | b'I' | b'-' | b'0'..=b'9' => number(rest, &mut written),
            _ => {
                let end =
                    rest.iter().position(|byte| matches!(byte, b'"' | b'N' | b'I' | b'-' | b'0'..=b'9'));
                let end = end.unwrap_or(rest.len());
                written.extend_from_slice(&rest[..end]);
                end
            }
        };
        rest = &rest[taken..];
    }
    written
}

/// Copies a string that begins here; how many bytes it has.
fn string(text: &[u8], written: &mut Vec<u8>) -> usize {
    let mut at = 1;
    let mut copied = 0;
    while at < text.len() {
        let next = memchr::memchr2(b'"', b'\\', &text[at..]);
        let Some(next) = next.map(|next| at + next) else { break };
        if text[next] == b'"' {
            written.extend_from_slice(&text[copied..=next]);
            return next + 1;
        }
        at = next + 2;
        let Some(unit) = escaped_unit(&text[next..]) else { continue };
        at = next + 6;
        match unit {
            0xd800..=0xdbff if matches!(escaped_unit(&text[at..]), Some(0xdc00..=0xdfff)) => at += 6,
            0xd800..=0xdfff => {
                written.extend_from_slice(&text[copied..next]);
                written.extend_from_slice(b"\\ufffd");
                copied = at;
            }
            _ => {}
        }
    }
    written.extend_from_slice(&text[copied..]);
    text.len()
}

/// The unit of UTF-16 that an escape here stands for.
fn escaped_unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.first_chunk::<4>()?;
    // A sign is no digit, though it may begin a number elsewhere.
    digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Copies a number that begins here; how many bytes it has.
fn number(text: &[u8], written: &mut Vec<u8>) -> usize {
    for name in ["NaN", "Infinity", "-Infinity"] {
        if text.starts_with(name.as_bytes()) {
            written.extend([b"\"", name.as_bytes(), b"\""].concat());
            return name.len();
        }
    }
    let is_of_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let end = 1 + text[1..].iter().take_while(|byte| is_of_number(byte)).count();
    let value = std::str::from_utf8(&text[..end]).ok().and_then(|number| number.parse::<f64>().ok());
    match value {
        Some(f64::INFINITY) => written.extend_from_slice(b"\"Infinity\""),
        Some(f64::NEG_INFINITY) => written.extend_from_slice(b"\"-Infinity\""),
        _ => written.extend_from_slice(&text[..end]),
    }
    end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(text: &str) -> Value {
        serde_json::from_slice(&standard(text.as_bytes())).unwrap_or(Value::Null)
    }

    #[test]
    fn what_python_reads() {
        for (text, expected) in [
            (
                r#"{"a": NaN, "b": [Infinity, -Infinity], "c": 1}"#,
                json!({"a": "NaN", "b": ["Infinity", "-Infinity"], "c": 1}),
            ),
            ("[1e999, -1e999, -1.5e3, 0]", json!(["Infinity", "-Infinity", -1500.0, 0])),
            (
                r#"["\ud800", "x\udc00y", "\ud83d\ude00", "\ud83d\ud83d\ude00", "\\ud800"]"#,
                json!(["\u{fffd}", "x\u{fffd}y", "😀", "\u{fffd}😀", "\\ud800"]),
            ),
            (
                r#"{"NaN": "-Infinity \" NaN", "\uD800": 1}"#,
                json!({"NaN": "-Infinity \" NaN", "\u{fffd}": 1}),
            ),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        for text in ["NaN NaN", "[+1]", "[Infinit]", r#"["\u+123"]"#, r#"["a"#, r#"["\"#, r#"["\ud8"#, "-"] {
            assert_eq!(read(text), Value::Null, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_standard_stays_as_it_is(text in r#"[\[\]{}",:\\u0-9eE+\-.NaInf dD8c]{0,60}"#) {
            let before: Result<Value, _> = serde_json::from_str(&text);
            let after: Result<Value, _> = serde_json::from_slice(&standard(text.as_bytes()));
            if let Ok(before) = before {
                prop_assert_eq!(before, after.unwrap());
            }
        }

        #[test]
        fn values_are_read_back(value in "\\PC{0,40}", number in any::<f64>()) {
            let value = json!({value: [number]});
            let text = value.to_string();
            prop_assert_eq!(standard(text.as_bytes()), text.as_bytes());
        }
    }
}
