//! `multipart/form-data` (RFC 7578): parts with their names, bounded by the caller.

use memchr::memmem;

/// One part.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PartView<'a> {
    pub(super) name: &'a [u8],
    pub(super) filename: Option<&'a [u8]>,
    pub(super) content: &'a [u8],
}

/// The boundary of a content type.
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    let (_, rest) = content_type.split_once(';')?;
    rest.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (name.trim().eq_ignore_ascii_case("boundary") && !value.is_empty()).then_some(value)
    })
}

/// The parts, in order; what does not look like one is skipped.
pub(super) fn parts<'a>(body: &'a [u8], boundary: &str) -> impl Iterator<Item = PartView<'a>> {
    let delimiter = format!("--{boundary}").into_bytes();
    let starts: Vec<usize> = memmem::find_iter(body, &delimiter).collect();
    let length = delimiter.len();
    (0..starts.len()).filter_map(move |at| {
        let start = starts[at] + length;
        let end = starts.get(at + 1).copied().unwrap_or(body.len());
        part(&body[start..end.max(start)])
    })
}

fn part(text: &[u8]) -> Option<PartView<'_>> {
    let text = text.strip_prefix(b"\r\n").or_else(|| text.strip_prefix(b"\n"))?;
    let crlf = memmem::find(text, b"\r\n\r\n").map(|at| (at, 4));
    let (head, gap) = crlf.or_else(|| memmem::find(text, b"\n\n").map(|at| (at, 2)))?;
    let content = &text[head + gap..];
    let content = content.strip_suffix(b"\r\n").or_else(|| content.strip_suffix(b"\n")).unwrap_or(content);
    let head = &text[..head];
    Some(PartView {
        name: parameter(head, b"name=").unwrap_or_default(),
        filename: parameter(head, b"filename="),
        content,
    })
}

/// `name="value"` in the head of a part, not as the end of a longer name.
fn parameter<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let at = memmem::find_iter(head, name)
        .find(|at| at.checked_sub(1).is_none_or(|before| !head[before].is_ascii_alphanumeric()))?;
    let value = &head[at + name.len()..];
    let ends = |byte: &u8| matches!(byte, b'\r' | b'\n');
    if let Some(quoted) = value.strip_prefix(b"\"") {
        let end = quoted.iter().position(|byte| *byte == b'"' || ends(byte)).unwrap_or(quoted.len());
        return Some(&quoted[..end]);
    }
    let end = value.iter().position(|byte| *byte == b';' || ends(byte)).unwrap_or(value.len());
    Some(&value[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_parts() {
        let body = b"--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--XX\r\nContent-Disposition: form-data; filename=\"x.php\"; name=f\r\nContent-Type: text/plain\r\n\r\n<?php\r\n--XX--\r\n";
        let found: Vec<PartView<'_>> = parts(body, "XX").collect();
        assert_eq!(found[0], PartView { name: b"a", filename: None, content: b"one" });
        assert_eq!(found[1], PartView { name: b"f", filename: Some(b"x.php"), content: b"<?php" });
        assert_eq!(found.len(), 2);
        assert_eq!(boundary("multipart/form-data; charset=x; Boundary=\"XX\""), Some("XX"));
        assert_eq!(boundary("multipart/form-data"), None);
    }
}
