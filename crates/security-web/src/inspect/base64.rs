//! Base64 where it plausibly hides text.

/// The shortest text that is worth a look: shorter ones hide nothing that runs.
pub(super) const SHORTEST: usize = 8;
/// From here on it may begin with anything.
const LONG: usize = 12;

/// Decodes a whole value into `out` if all of it is base64 (either alphabet) of text that has something in it
/// that attacks need; `false` otherwise.
pub(super) fn decode_text(value: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    let body = value.trim_ascii();
    let body = &body[..body.len() - body.iter().rev().take(2).take_while(|byte| **byte == b'=').count()];
    if body.len() < SHORTEST || body.len() % 4 == 1 {
        return false;
    }
    let (mut bits, mut held) = (0u32, 0u32);
    let mut has_marks = false;
    for byte in body {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' | b' ' => 62,
            b'/' | b'_' => 63,
            _ => return false,
        };
        bits = bits << 6 | u32::from(digit);
        held += 6;
        if held >= 8 {
            held -= 8;
            let decoded = u8::try_from(bits >> held & 0xff).unwrap_or(0);
            // Text: an id decodes to anything but that.
            if !matches!(decoded, 0 | b'\t'..=b'\r' | b' '..=b'~' | 0x80..) {
                return false;
            }
            has_marks |= !decoded.is_ascii_alphanumeric();
            out.push(decoded);
            // Sentences are made of the same letters, and decode to noise from the beginning.
            let is_noise = |error: std::str::Utf8Error| error.error_len().is_some();
            if out.len() == 8 && std::str::from_utf8(out).is_err_and(is_noise) {
                return false;
            }
        }
    }
    // Short words decode to signs by chance; a short attack begins with the sign that it needs.
    let is_long = body.len() >= LONG || out.first().is_some_and(|byte| b";|&'\"<$`(".contains(byte));
    is_long && has_marks && out.first() != Some(&0) && std::str::from_utf8(out).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_only() {
        let mut out = Vec::new();
        assert!(decode_text(b"PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==", &mut out));
        assert_eq!(out, b"<script>alert(1)</script>");
        for id in [
            &b"dGhlaWQ"[..],
            b"YWJjZGVmZ2hpams",
            b"9f86d081884c7d659a2feaa0",
            b"a b c",
            b"Kilobits",
            b"",
            b"====",
        ] {
            assert!(!decode_text(id, &mut out), "{}", String::from_utf8_lossy(id));
        }
    }
}
