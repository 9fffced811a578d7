//! Walking JSON without recursion: strings and keys with where they stand, whatever else is in between.

/// What is inside a container while its members are read.
#[derive(Debug, Clone, Copy)]
enum Level {
    Array(usize),
    /// The span of the latest key, quotes left out.
    Object(usize, usize),
}

/// Something that is worth a look.
#[derive(Debug)]
pub(super) enum Event<'a> {
    Key(&'a [u8]),
    Text(&'a [u8]),
    /// Deeper than accepted; nothing follows.
    TooDeep,
    /// No JSON from this byte on; nothing follows.
    Malformed(usize),
}

/// Reads one document. Lenient in everything that does not matter for finding its strings.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    levels: Vec<Level>,
    deepest: usize,
    expects_key: bool,
    is_over: bool,
    scratch: Vec<u8>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a [u8], deepest: usize) -> Self {
        let at = if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        Self {
            text,
            at,
            levels: Vec::new(),
            deepest,
            expects_key: false,
            is_over: false,
            scratch: Vec::new(),
        }
    }

    /// The next key or string.
    pub(super) fn next(&mut self) -> Option<Event<'_>> {
        while !self.is_over {
            let byte = *self.text.get(self.at)?;
            match byte {
                b'{' | b'[' => {
                    if self.levels.len() >= self.deepest {
                        self.is_over = true;
                        return Some(Event::TooDeep);
                    }
                    self.levels.push(if byte == b'{' { Level::Object(0, 0) } else { Level::Array(0) });
                    self.expects_key = byte == b'{';
                }
                b'}' | b']' => {
                    self.levels.pop();
                    self.expects_key = false;
                }
                b',' => match self.levels.last_mut() {
                    Some(Level::Array(index)) => *index += 1,
                    Some(Level::Object(..)) => self.expects_key = true,
                    None => return self.malformed(),
                },
                b'"' => return self.string(),
                b':' | b' ' | b'\t' | b'\r' | b'\n' | b'0'..=b'9' | b'-' | b'+' | b'.' => {}
                b'a'..=b'z' | b'E' => {}
                _ => return self.malformed(),
            }
            self.at += 1;
        }
        None
    }

    /// A JSON pointer (RFC 6901) to where the reader is; long ones are cut.
    pub(super) fn pointer(&self) -> String {
        let mut pointer = String::new();
        for level in self.levels.iter().take(32) {
            pointer.push('/');
            match level {
                Level::Array(index) => pointer.push_str(&index.to_string()),
                Level::Object(start, end) => {
                    let key = String::from_utf8_lossy(&self.text[*start..*end.min(&(start + 64))]);
                    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
                }
            }
        }
        pointer
    }

    fn malformed(&mut self) -> Option<Event<'_>> {
        self.is_over = true;
        Some(Event::Malformed(self.at))
    }

    fn string(&mut self) -> Option<Event<'_>> {
        let start = self.at + 1;
        let mut at = start;
        let mut is_escaped = false;
        loop {
            let rest = self.text.get(at..).unwrap_or_default();
            match memchr::memchr2(b'"', b'\\', rest).map(|found| (at + found, rest[found])) {
                None => return self.malformed(),
                Some((end, b'"')) => {
                    at = end;
                    break;
                }
                Some((backslash, _)) => {
                    is_escaped = true;
                    at = backslash + 2;
                }
            }
        }
        self.at = at + 1;
        let is_key = std::mem::take(&mut self.expects_key);
        if is_key && let Some(Level::Object(from, to)) = self.levels.last_mut() {
            (*from, *to) = (start, at);
        }
        let raw = &self.text[start..at];
        let text = if is_escaped {
            unescape(raw, &mut self.scratch);
            &self.scratch
        } else {
            raw
        };
        Some(if is_key { Event::Key(text) } else { Event::Text(text) })
    }
}

/// Undoes the short escapes; `\u` is left to the decoder of values, which knows it.
fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let Some(escaped) = rest.get(at + 1) else { break };
        match escaped {
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'u' => out.extend_from_slice(b"\\u"),
            other => out.push(*other),
        }
        rest = &rest[at + 2..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let mut reader = Reader::new(text.as_bytes(), 8);
        let mut seen = Vec::new();
        loop {
            let told = match reader.next() {
                None => break,
                Some(Event::Key(key)) => format!("key {}", String::from_utf8_lossy(key)),
                Some(Event::Text(text)) => format!("text {}", String::from_utf8_lossy(text)),
                Some(Event::TooDeep) => "too deep".into(),
                Some(Event::Malformed(at)) => format!("malformed {at}"),
            };
            seen.push(format!("{told} @{}", reader.pointer()));
        }
        seen
    }

    #[test]
    fn says_where() {
        assert_eq!(
            read(r#"{"a": {"b": ["x", 1, "y\n"]}, "c/d": "z", "e": null}"#),
            [
                "key a @/a",
                "key b @/a/b",
                "text x @/a/b/0",
                "text y\n @/a/b/2",
                "key c/d @/c~1d",
                "text z @/c~1d",
                "key e @/e"
            ]
        );
    }

    #[test]
    fn survives_what_is_no_json() {
        assert_eq!(read("\"open"), ["malformed 0 @"]);
        assert_eq!(read("<x>"), ["malformed 0 @"]);
        assert_eq!(read("\"x\\"), ["malformed 0 @"]);
        assert_eq!(read(&"[".repeat(100_000)).len(), 1);
    }
}
