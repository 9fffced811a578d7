//! Walking XML without recursion: its texts and attributes as values, its declarations as they stand.

use memchr::{memchr, memmem};

/// A piece of a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Text, a CDATA section or an attribute's value, with the name it stands under. References are not undone:
    /// the decoder of values knows them.
    Value { name: &'a [u8], value: &'a [u8] },
    /// `<!DOCTYPE …>`, `<?…?>`, and elements whose name has a prefix: what documents can do by themselves.
    Markup(&'a [u8]),
}

/// Reads one document; lenient, and always at an end.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    /// The latest element.
    element: &'a [u8],
    /// Where the attributes of the element that is being read begin, and where its tag ends.
    attributes: Option<(usize, usize)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, element: b"", attributes: None }
    }

    fn tag(&mut self) -> Option<Piece<'a>> {
        let rest = &self.text[self.at..];
        for (open, close, is_value) in
            [(&b"<!--"[..], &b"-->"[..], true), (b"<![CDATA[", b"]]>", true), (b"<?", b"?>", false)]
        {
            if rest.starts_with(open) {
                let end = memmem::find(&rest[open.len()..], close).map_or(rest.len(), |at| open.len() + at);
                let whole = &rest[..rest.len().min(end + close.len())];
                self.at += whole.len();
                let value = &rest[open.len()..end];
                return Some(if is_value {
                    Piece::Value { name: self.element, value }
                } else {
                    Piece::Markup(whole)
                });
            }
        }
        if rest.starts_with(b"<!") {
            // A document type ends behind its subset.
            let close: &[u8] = if rest.iter().take_while(|byte| **byte != b'>').any(|byte| *byte == b'[') {
                b"]"
            } else {
                b">"
            };
            let inside = memmem::find(rest, close).unwrap_or(rest.len());
            let end = inside + memchr(b'>', &rest[inside..]).map_or(rest.len() - inside, |at| at + 1);
            self.at += end;
            return Some(Piece::Markup(&rest[..end]));
        }
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_:.-".contains(byte) || *byte >= 0x80;
        let start = if rest.get(1) == Some(&b'/') { 2 } else { 1 };
        let length = rest[start..].iter().position(|byte| !is_name(byte)).unwrap_or(rest.len() - start);
        let name = &rest[start..start + length];
        if name.is_empty() {
            // No tag: the sign is part of the text, as a browser would have it.
            let end = memchr(b'<', &rest[1..]).map_or(rest.len(), |at| at + 1);
            self.at += end;
            return Some(Piece::Value { name: self.element, value: &rest[..end] });
        }
        let end = tag_end(rest, start + length);
        self.element = name;
        self.attributes = (start == 1).then_some((self.at + start + length, self.at + end));
        self.at = (self.at + end + 1).min(self.text.len());
        let is_odd = name.iter().any(|byte| matches!(byte, b':' | b'.'));
        is_odd.then(|| Piece::Markup(&rest[..rest.len().min(end + 1)]))
    }

    /// The next attribute of the tag that is being read.
    fn attribute(&mut self) -> Option<Piece<'a>> {
        let (start, end) = self.attributes?;
        let text = &self.text[start..end];
        let Some(equals) = memchr(b'=', text) else {
            self.attributes = None;
            return None;
        };
        let name = text[..equals].trim_ascii();
        let after = &text[equals + 1..];
        let skipped = after.len() - after.trim_ascii_start().len();
        let after = after.trim_ascii_start();
        let (value, used) = match after.first() {
            Some(quote @ (b'"' | b'\'')) => {
                let length = memchr(*quote, &after[1..]).unwrap_or(after.len() - 1);
                (&after[1..=length], length + 2)
            }
            _ => {
                let length = after.iter().position(u8::is_ascii_whitespace).unwrap_or(after.len());
                (&after[..length], length)
            }
        };
        let next = start + equals + 1 + skipped + used;
        self.attributes = (next < end).then_some((next, end));
        Some(Piece::Value { name, value })
    }
}

/// The document without comments and instructions, and with its CDATA sections as plain text: what stands on both sides
/// of one is one text. `None` where there are none.
pub(super) fn joined(text: &[u8]) -> Option<Vec<u8>> {
    const BETWEEN: [(&[u8], &[u8]); 3] = [(b"<!--", b"-->"), (b"<![CDATA[", b"]]>"), (b"<?", b"?>")];
    let mut joined = Vec::new();
    let mut rest = text;
    while let Some(at) = memchr(b'<', rest) {
        let (before, tag) = rest.split_at(at);
        joined.extend_from_slice(before);
        let Some((open, close)) = BETWEEN.into_iter().find(|(open, _)| tag.starts_with(open)) else {
            joined.push(b'<');
            rest = &tag[1..];
            continue;
        };
        let inside = &tag[open.len()..];
        let end = memmem::find(inside, close).unwrap_or(inside.len());
        if open == b"<![CDATA[" {
            for byte in &inside[..end] {
                match byte {
                    b'<' => joined.extend_from_slice(b"&lt;"),
                    b'&' => joined.extend_from_slice(b"&amp;"),
                    byte => joined.push(*byte),
                }
            }
        }
        rest = inside.get(end + close.len()..).unwrap_or_default();
    }
    joined.extend_from_slice(rest);
    // The declaration at the beginning joins nothing.
    let plain = if text.starts_with(b"<?xml") { memmem::find(text, b"?>").map_or(0, |at| at + 2) } else { 0 };
    (joined.len() + plain != text.len()).then_some(joined)
}

/// Where a tag's `>` is, outside of quotation marks.
fn tag_end(rest: &[u8], from: usize) -> usize {
    let mut quote = None;
    for (at, byte) in rest.iter().enumerate().skip(from) {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(*byte),
            (None, b'>') => return at,
            (Some(open), byte) if open == *byte => quote = None,
            _ => {}
        }
    }
    rest.len()
}

impl<'a> Iterator for Reader<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        loop {
            if let Some(attribute) = self.attribute() {
                return Some(attribute);
            }
            let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
            if rest[0] == b'<' {
                if let Some(piece) = self.tag() {
                    return Some(piece);
                }
                continue;
            }
            let length = memchr(b'<', rest).unwrap_or(rest.len());
            self.at += length;
            if rest[..length].iter().any(|byte| !byte.is_ascii_whitespace()) {
                return Some(Piece::Value { name: self.element, value: rest[..length].trim_ascii() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        Reader::new(text.as_bytes())
            .map(|piece| match piece {
                Piece::Value { name, value } => {
                    format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
                }
                Piece::Markup(markup) => String::from_utf8_lossy(markup).into_owned(),
            })
            .collect()
    }

    #[test]
    fn tells_values_from_markup() {
        assert_eq!(
            read(
                "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY x \"y>\">]><a b='1 > 0' c = d><e>x &lt; y</e><![CDATA[<z>]]></a>"
            ),
            [
                "<?xml version=\"1.0\"?>",
                "<!DOCTYPE a [<!ENTITY x \"y>\">]>",
                "b=1 > 0",
                "c=d",
                "e=x &lt; y",
                "e=<z>"
            ]
        );
        assert_eq!(read("<xi:include href=\"f\"/>"), ["<xi:include href=\"f\"/>", "href=f"]);
    }

    #[test]
    fn is_always_at_an_end() {
        for text in [
            "<",
            "<a",
            "<a b",
            "<a b=",
            "<a b='",
            "<!",
            "<!--",
            "<?",
            "<![CDATA[",
            "</",
            "a<b",
            "<a b=c",
            "<!DOCTYPE [",
            "< x",
        ] {
            assert!(read(text).len() <= 2, "{text}");
        }
    }
}
