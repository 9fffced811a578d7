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

/// The parts, in order; what does not look like one is skipped. What precedes the first delimiter is a part to some.
pub(super) fn parts<'a>(body: &'a [u8], boundary: &str) -> impl Iterator<Item = PartView<'a>> {
    let map = Map::of(body, format!("--{boundary}").as_bytes());
    (0..map.heads.len()).flat_map(move |at| map.readings(at))
}

/// Where what may part a body is.
struct Map<'a> {
    body: &'a [u8],
    /// Where a part's head may begin: at the body's beginning, and after each delimiter.
    heads: Vec<usize>,
    /// All delimiters; those that begin a line of whatever kind; those that stand as RFC 2046 §5.1.1 has it.
    delimiters: [Vec<usize>; 3],
    /// Empty lines that end a head: of both characters, and of one alone.
    gaps: [Vec<usize>; 2],
}

impl<'a> Map<'a> {
    fn of(body: &'a [u8], delimiter: &[u8]) -> Self {
        let all: Vec<usize> = memmem::find_iter(body, delimiter).collect();
        let after = |at: usize| &body[at + delimiter.len()..];
        let is_followed = |at: usize| after(at).starts_with(b"--") || line_end(after(at)) > 0;
        let begins = |at: usize, ends: &[&[u8]]| at == 0 || ends.iter().any(|end| body[..at].ends_with(end));
        let lines = all.iter().copied().filter(|at| begins(*at, &[b"\r", b"\n"]) && is_followed(*at));
        let strict = all.iter().copied().filter(|at| begins(*at, &[b"\r\n"]) && is_followed(*at));
        let heads =
            std::iter::once(0).chain(all.iter().map(|at| at + delimiter.len() + line_end(after(*at))));
        let bare = |at: &usize| matches!(&body[*at..], [b'\n', b'\n', ..] | [b'\r', b'\r', ..]);
        let both = |at: &usize| body[*at..].starts_with(b"\r\n\r\n");
        Self {
            body,
            heads: heads.collect(),
            gaps: [(0..body.len()).filter(both).collect(), (0..body.len()).filter(bare).collect()],
            delimiters: [lines.collect(), strict.collect(), all],
        }
    }

    /// The part whose head begins there, in all its readings.
    fn readings(&self, at: usize) -> Vec<PartView<'a>> {
        let head = self.heads[at];
        let both = next(&self.gaps[0], head);
        let bare = next(&self.gaps[1], head).filter(|bare| both.is_none_or(|both| *bare < both));
        let mut found = Vec::new();
        for (gap, length) in [(bare, 2), (both, 4)] {
            let Some(gap) = gap else { continue };
            let start = gap + length;
            // Some look for the end of a head whatever delimiters are in it. Of these the last one is enough: the
            // content is the same, and what is in such a head counts for nothing.
            let later = |next: usize| self.heads.get(at + next).is_some_and(|head| *head <= gap);
            if later(1) && (later(2) || at == 0) {
                continue;
            }
            let head = if later(1) { &[] } else { &self.body[head..gap] };
            let mut ends = self.delimiters.each_ref().map(|all| next(all, start).unwrap_or(self.body.len()));
            ends.sort_unstable();
            for (end, before) in ends.iter().zip(std::iter::once(&0).chain(&ends)) {
                if end != before {
                    found.push(part(head, &self.body[start..*end]));
                }
            }
        }
        found
    }
}

/// The first of these places that is not before `from`.
fn next(places: &[usize], from: usize) -> Option<usize> {
    places.get(places.partition_point(|place| *place < from)).copied()
}

/// How many bytes end a delimiter's line here; 0 if none do.
fn line_end(text: &[u8]) -> usize {
    let spaces = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | 0x0b | 0x0c)).count();
    match &text[spaces..] {
        [b'\r', b'\n', ..] => spaces + 2,
        [b'\r' | b'\n', ..] => spaces + 1,
        _ => 0,
    }
}

fn part<'a>(head: &'a [u8], content: &'a [u8]) -> PartView<'a> {
    let content = content.strip_suffix(b"\r\n").or_else(|| content.strip_suffix(b"\n")).unwrap_or(content);
    PartView { name: parameter(head, b"name=").unwrap_or_default(), filename: filename(head), content }
}

/// The name of an uploaded file. Its content is nobody's text, so only where no reader sees a field instead: where
/// there is one disposition on one line, a name that is not empty, and nothing in quotes that ends or begins otherwise
/// than it seems to.
fn filename(head: &[u8]) -> Option<&[u8]> {
    let is_disposition = |line: &&[u8]| {
        line.get(..19).is_some_and(|name| name.eq_ignore_ascii_case(b"content-disposition"))
            && line[19..].starts_with(b":")
    };
    let ends = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let mut lines = head.split(ends).filter(|line| !line.is_empty());
    let disposition = lines.find(is_disposition)?;
    if lines.clone().any(|line| is_disposition(&line)) {
        return None;
    }
    // It goes on in the next line, or has quotes within quotes: for some.
    if lines.next().is_some_and(|line| line[0].is_ascii_whitespace())
        || memmem::find(disposition, b"\\\"").is_some()
    {
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
