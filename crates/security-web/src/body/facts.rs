//! What a body says, as facts for rules: JSON as it is, a form's fields by their names, any other text as text.

use std::borrow::Cow;

use serde_json::{Map, Value, map::Entry};

use super::{
    BodyPrefix, begins_like_text, is_document, is_text, loose_json, media_type, named_orders, seen_order,
};

/// The longest text that is kept of a body without fields, in bytes.
const LONGEST_TEXT: usize = 8 << 10;

impl BodyPrefix {
    /// The facts of what was gathered; `None` when it says nothing, or nothing that can be read. They are no larger
    /// than what was gathered. JSON may hold what Python's reader takes beyond the standard, such as `NaN`. JSON that is cut off, or nested deeper than 128 levels, is text of 8 KiB.
    pub fn facts(&self) -> Option<Value> {
        let bytes = self.decoded().ok()?;
        let media = media_type(&self.content_type);
        let wide = match media.as_str() {
            media if is_document(media, &bytes) => seen_order(&bytes),
            // Readers of forms know no wide characters, whatever is named.
            "application/x-www-form-urlencoded" | "multipart/form-data" => None,
            _ => named_orders(&self.content_type).ok()?.first().copied(),
        };
        let text = match wide {
            Some(wide) => Cow::Owned(wide.in_utf8(&bytes)),
            None => bytes,
        };
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
        let is_form = media == "application/x-www-form-urlencoded";
        if is_form && !begins_like_text(text) {
            return Some(form(text)).filter(|fields| fields.as_object().is_some_and(|map| !map.is_empty()));
        }
        if !is_text(&media) && !begins_like_text(text) {
            return None;
        }
        let read =
            serde_json::from_slice(text).or_else(|_| serde_json::from_slice(&loose_json::standard(text)));
        let facts: Value = read.unwrap_or_else(|_| {
            if is_form {
                // Its first name begins like JSON, and that is all.
                return form(text);
            }
            let start = &text[..text.len().min(LONGEST_TEXT)];
            String::from_utf8_lossy(start).into_owned().into()
        });
        Some(facts).filter(|facts| facts != "" && !facts.is_null())
    }
}

/// `{name: value}`; a name that comes several times has a list of its values.
fn form(text: &[u8]) -> Value {
    let mut fields = Map::new();
    for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let value = Value::from(unescaped(pair.get(at + 1..).unwrap_or_default()));
        match fields.entry(unescaped(&pair[..at])) {
            Entry::Vacant(entry) => {
                entry.insert(value);
            }
            Entry::Occupied(mut entry) => match entry.get_mut() {
                Value::Array(values) => values.push(value),
                first => *first = Value::Array(vec![first.take(), value]),
            },
        }
    }
    Value::Object(fields)
}

/// A form's text without its escapes (WHATWG URL, `application/x-www-form-urlencoded` parsing).
fn unescaped(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let (byte, after) = match byte {
            b'+' => (b' ', after),
            b'%' => after
                .split_first_chunk::<2>()
                .and_then(|(digits, after)| Some((hexadecimal(*digits)?, after)))
                .unwrap_or((b'%', after)),
            other => (*other, after),
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hexadecimal([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{BodyPolicy, InspectionPolicy, RequestView};

    fn facts(content_type: &str, body: &[u8]) -> Option<Value> {
        let headers: [(&str, &[u8]); 1] = [("content-type", content_type.as_bytes())];
        let request = RequestView { headers: &headers, ..RequestView::default() };
        let mut prefix =
            BodyPrefix::of(&BodyPolicy::default(), &InspectionPolicy::default(), &request).unwrap();
        prefix.take(body, true);
        prefix.facts()
    }

    #[test]
    fn json_forms_and_texts() {
        const FORM: &str = "application/x-www-form-urlencoded";
        for (content_type, body, expected) in [
            ("application/json", &br#"{"a": [1, {"b": "x"}]}"#[..], json!({"a": [1, {"b": "x"}]})),
            ("image/png", br#"{"a": 1}"#, json!({"a": 1})),
            (
                FORM,
                b"a=1&b=x+y%21&a=2&c&=d&a=%zz%4",
                json!({"a": ["1", "2", "%zz%4"], "b": "x y!", "c": "", "": "d"}),
            ),
            (FORM, b"a=%ff", json!({"a": "\u{fffd}"})),
            (FORM, br#"{"a": 1}"#, json!({"a": 1})),
            // No JSON, however it begins; and a mark, or a charset that nobody asks for, changes nothing.
            (FORM, b"{=1&a=2", json!({"{": "1", "a": "2"})),
            ("application/x-www-form-urlencoded; charset=utf-16", b"a=2", json!({"a": "2"})),
            ("application/json; charset=utf-16", b"{\"a\": 1}", json!({"a": 1})),
            ("application/json", b"\xef\xbb\xbf{\"a\": 1}", json!({"a": 1})),
            ("application/json", br#"{"a": NaN, "b": "\ud800"}"#, json!({"a": "NaN", "b": "\u{fffd}"})),
            (FORM, b"a\0=1&b=2", json!({"a\0": "1", "b": "2"})),
            ("application/json", b"{\"a\": ", json!("{\"a\": ")),
            ("text/plain", b"words", json!("words")),
            ("application/json; charset=utf-16le", b"[\x001\x00]\x00", json!([1])),
        ] {
            assert_eq!(facts(content_type, body), Some(expected), "{content_type}");
        }
        for (content_type, body) in [
            ("application/json", &b""[..]),
            ("application/json", b"null"),
            (FORM, b"&&"),
            ("application/octet-stream", b"\x00\x01binary"),
            ("text/plain; charset=utf-7", b"+ADw-"),
        ] {
            assert_eq!(facts(content_type, body), None, "{content_type}");
        }
    }

    #[test]
    fn what_is_too_deep_is_text() {
        let deep = "[".repeat(100_000);
        assert_eq!(facts("application/json", deep.as_bytes()), Some(json!("[".repeat(LONGEST_TEXT))));
    }

    proptest! {
        #[test]
        fn no_body_is_too_odd(body in prop::collection::vec(any::<u8>(), 0..200), kind in 0usize..4) {
            let kinds = ["application/json", "application/x-www-form-urlencoded", "text/plain", "image/png"];
            let _ = facts(kinds[kind], &body);
        }
    }
}
