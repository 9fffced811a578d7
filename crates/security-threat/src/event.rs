//! An event, flattened once into the values that rules look at.

use std::borrow::Cow;

use security_core::Limits;
use serde_json::Value;

/// One value of an event with its place.
#[derive(Debug)]
pub(crate) struct Leaf<'e> {
    /// Dotted path without array positions; empty for the event itself.
    pub(crate) path: String,
    /// The value as text; empty for `null` and for an empty object or list.
    pub(crate) text: Cow<'e, str>,
    /// The value as a number, where it is one or says one.
    pub(crate) number: Option<f64>,
    pub(crate) kind: LeafKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeafKind {
    Value,
    Null,
    /// An empty object or list: there, but without a value.
    Empty,
}

/// An event's values in their order; `true` when the budget cut some off.
pub(crate) fn flatten<'e>(event: &'e Value, limits: &Limits) -> (Vec<Leaf<'e>>, bool) {
    let mut walk = Walk { leaves: Vec::new(), path: String::new(), n_bytes: 0, truncated: false, limits };
    if event.is_string() {
        walk.path.push_str("message");
    }
    walk.value(event, 0);
    (walk.leaves, walk.truncated)
}

struct Walk<'e, 'l> {
    leaves: Vec<Leaf<'e>>,
    path: String,
    n_bytes: usize,
    truncated: bool,
    limits: &'l Limits,
}

impl<'e> Walk<'e, '_> {
    /// Returns `false` when the budget is used up.
    fn value(&mut self, value: &'e Value, depth: usize) -> bool {
        if depth > self.limits.max_depth {
            // What lies deeper is left out; what stands beside it is still looked at.
            self.truncated = true;
            return true;
        }
        match value {
            Value::Object(map) if !map.is_empty() => {
                let length = self.path.len();
                for (key, inner) in map {
                    if length > 0 {
                        self.path.push('.');
                    }
                    self.path.push_str(key);
                    let go_on = self.value(inner, depth + 1);
                    self.path.truncate(length);
                    if !go_on {
                        return false;
                    }
                }
                true
            }
            Value::Array(items) if !items.is_empty() => {
                items.iter().all(|inner| self.value(inner, depth + 1))
            }
            Value::Object(_) | Value::Array(_) => self.leaf(Cow::Borrowed(""), None, LeafKind::Empty),
            Value::Null => self.leaf(Cow::Borrowed(""), None, LeafKind::Null),
            Value::Bool(value) => {
                let text = if *value { "true" } else { "false" };
                self.leaf(Cow::Borrowed(text), None, LeafKind::Value)
            }
            Value::Number(number) => {
                self.leaf(Cow::Owned(number.to_string()), number.as_f64(), LeafKind::Value)
            }
            Value::String(text) => self.leaf(Cow::Borrowed(text), number_of(text), LeafKind::Value),
        }
    }

    fn leaf(&mut self, mut text: Cow<'e, str>, number: Option<f64>, kind: LeafKind) -> bool {
        // Paths count as well: one long key over a million small values is an attack on memory.
        let left = self.limits.max_bytes.saturating_sub(self.n_bytes).saturating_sub(self.path.len());
        if self.leaves.len() >= self.limits.max_hits || left == 0 {
            self.truncated = true;
            return false;
        }
        if text.len() > left {
            self.truncated = true;
            let mut end = left;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text = match text {
                Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
                Cow::Owned(mut text) => {
                    text.truncate(end);
                    Cow::Owned(text)
                }
            };
        }
        self.n_bytes += text.len() + self.path.len() + 1;
        self.leaves.push(Leaf { path: self.path.clone(), text, number, kind });
        true
    }
}

/// The number that a text says, in the spelling of numbers; `inf` and `nan` are words.
fn number_of(text: &str) -> Option<f64> {
    let starts_like_one = text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first));
    if !starts_like_one || text.len() > 40 {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paths(event: &Value, limits: &Limits) -> (Vec<(String, String)>, bool) {
        let (leaves, truncated) = flatten(event, limits);
        (leaves.into_iter().map(|leaf| (leaf.path, leaf.text.into_owned())).collect(), truncated)
    }

    #[test]
    fn arrays_are_looked_through() {
        let event = json!({"a": {"b": [1, {"c": "x"}]}, "d": true, "e": {}, "f": null});
        let expected = [("a.b", "1"), ("a.b.c", "x"), ("d", "true"), ("e", ""), ("f", "")]
            .map(|(p, t)| (p.to_owned(), t.to_owned()));
        assert_eq!(paths(&event, &Limits::DEFAULT), (expected.to_vec(), false));
        assert_eq!(paths(&json!("plain"), &Limits::DEFAULT).0, [("message".to_owned(), "plain".to_owned())]);
    }

    #[test]
    fn the_budget_cuts_and_says_so() {
        let deep = (0..100).fold(json!("x"), |inner, _| json!({"k": inner}));
        assert_eq!(paths(&deep, &Limits::DEFAULT), (vec![], true));
        let wide = json!({"a": "ä".repeat(100), "b": "late"});
        let (leaves, truncated) = paths(&wide, &Limits { max_bytes: 10, ..Limits::DEFAULT });
        assert!(truncated);
        assert_eq!(leaves, [("a".to_owned(), "ää\u{e4}\u{e4}".to_owned())]);
        let many = json!([1, 2, 3, 4]);
        assert_eq!(paths(&many, &Limits { max_hits: 2, ..Limits::DEFAULT }).0.len(), 2);
    }
}
