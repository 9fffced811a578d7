//! `multipart/form-data` (RFC 7578): parts with their names, bounded by the caller.
//!
//! Readers differ in what ends a line, in whether a delimiter must begin one, and in where a part's head ends. Where
//! they do, a part comes once for each of the readings, so that nothing is in one of them alone.

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
    let length = delimiter.len();
    let starts: Vec<usize> = memmem::find_iter(body, &delimiter).collect();
    // For each, where the next one that begins a line is.
    let mut ends = vec![body.len(); starts.len()];
    let mut end = body.len();
    for (at, start) in starts.iter().enumerate().rev() {
        ends[at] = end;
        let begins_line = *start == 0 || matches!(body[start - 1], b'\r' | b'\n');
        let after = &body[start + length..];
        if begins_line && (after.starts_with(b"--") || after_line(after).is_some()) {
            end = *start;
        }
    }
    (0..starts.len()).flat_map(move |at| {
        let start = starts[at] + length;
        let near = starts.get(at + 1).copied().unwrap_or(body.len()).max(start);
        let far = ends[at].max(start);
        let (one, two) = readings(&body[start..near]);
        let (three, four) = if far == near { (None, None) } else { readings(&body[start..far]) };
        [one, two, three, four].into_iter().flatten()
    })
}

/// What follows the end of the delimiter's line; `None` if it is no delimiter's.
fn after_line(text: &[u8]) -> Option<&[u8]> {
    let spaces = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | 0x0b | 0x0c)).count();
    let text = &text[spaces..];
    text.strip_prefix(b"\r\n").or_else(|| text.strip_prefix(b"\n")).or_else(|| text.strip_prefix(b"\r"))
}

/// A part with its head up to the first empty line of any kind, and up to the first with both characters.
fn readings(text: &[u8]) -> (Option<PartView<'_>>, Option<PartView<'_>>) {
    let Some(text) = after_line(text) else { return (None, None) };
    let gap = |gap: &'static [u8]| memmem::find(text, gap).map(|at| (at, gap.len()));
    let crlf = gap(b"\r\n\r\n");
    // Of one that comes later nobody asks, and a file may be long.
    let before = crlf.map_or(text, |(at, _)| &text[..at]);
    let bare =
        [&b"\n\n"[..], b"\r\r"].into_iter().filter_map(|gap| Some((memmem::find(before, gap)?, 2))).min();
    (bare.map(|gap| part(text, gap)), crlf.map(|gap| part(text, gap)))
}

fn part(text: &[u8], (head, gap): (usize, usize)) -> PartView<'_> {
    let content = &text[head + gap..];
    let content = content.strip_suffix(b"\r\n").or_else(|| content.strip_suffix(b"\n")).unwrap_or(content);
    let head = &text[..head];
    PartView { name: parameter(head, b"name=").unwrap_or_default(), filename: filename(head), content }
}

/// The name of an uploaded file. Its content is nobody's text, so only where no reader sees a field instead: where
/// there is one disposition, a name that is not empty, and nothing in quotes that ends or begins otherwise than it
/// seems to.
fn filename(head: &[u8]) -> Option<&[u8]> {
    let is_disposition = |line: &&[u8]| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"content-disposition")
    };
    let mut dispositions = lines(head).filter(is_disposition);
    let (Some(disposition), None) = (dispositions.next(), dispositions.next()) else { return None };
    if memmem::find(disposition, b"\\\"").is_some() {
        return None;
    }
    let mut is_quoted = false;
    let parameters = disposition.split(|byte| {
        is_quoted ^= *byte == b'"';
        *byte == b';' && !is_quoted
    });
    let mut names = parameters.skip(1).filter_map(|parameter| {
        let at = memchr::memchr(b'=', parameter)?;
        let name = parameter[..at].trim_ascii();
        name.eq_ignore_ascii_case(b"filename").then(|| parameter[at + 1..].trim_ascii())
    });
    let (Some(name), None) = (names.next(), names.next()) else { return None };
    let name = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")).unwrap_or(name);
    (!name.is_empty()).then_some(name)
}

/// The lines of a head, those that go on in the next one with it.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = head;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let ends = |at: &usize| {
            let after = rest.get(at + 1).copied();
            match rest[*at] {
                b'\n' => !matches!(after, Some(b' ' | b'\t')),
                b'\r' => !matches!(after, Some(b'\n' | b' ' | b'\t')),
                _ => false,
            }
        };
        let end = (0..rest.len()).find(ends).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(line)
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
