//! The tables of `testdata/inspect/`, expanded: forms with sets become values, values become requests.
#![allow(clippy::unwrap_used, dead_code, reason = "tests, each of which uses a part")]

use std::collections::{BTreeMap, BTreeSet};

use security_web::{Inspection, InspectionPolicy, RequestView, inspect};
use serde::Deserialize;

type Sets = BTreeMap<String, Vec<String>>;

/// A group of values: of one technique of attack, or of one kind of innocent text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    #[serde(alias = "technique")]
    pub(crate) kind: String,
    /// What stands in for `{name}`, beside the sets of the whole table.
    #[serde(default)]
    sets: Sets,
    #[serde(default)]
    forms: Vec<String>,
    #[serde(default)]
    values: Vec<String>,
    /// Whether the name of the parameter matters, so that it is tried where it has one.
    #[serde(default)]
    pub(crate) is_named: bool,
    /// The most values that one form becomes.
    #[serde(default = "forty")]
    spread: usize,
}

fn forty() -> usize {
    40
}

impl Group {
    /// Every value, each once.
    pub(crate) fn values(&self, shared: &Sets) -> Vec<String> {
        let mut sets = shared.clone();
        sets.extend(self.sets.clone());
        let forms = self.forms.iter().flat_map(|form| expanded(form, &sets, self.spread));
        let all: Vec<String> = self.values.iter().cloned().chain(forms).collect();
        let mut seen = BTreeSet::new();
        all.into_iter().filter(|value| seen.insert(value.clone())).collect()
    }
}

/// The values of one form: at most `spread` of all combinations, far apart from each other.
fn expanded(form: &str, sets: &Sets, spread: usize) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest = form;
    while let Some((plain, after)) = rest.split_once('{') {
        let key = after.split_once('}').map(|(key, _)| key);
        match key.filter(|key| sets.contains_key(key.split('#').next().unwrap())) {
            Some(key) => {
                pieces.extend([(plain, None), ("", Some(key))]);
                rest = &after[key.len() + 1..];
            }
            None => {
                pieces.push((&rest[..=plain.len()], None));
                rest = after;
            }
        }
    }
    pieces.push((rest, None));
    let keys: Vec<&str> =
        pieces.iter().filter_map(|(_, key)| *key).collect::<BTreeSet<_>>().into_iter().collect();
    let options: Vec<&[String]> =
        keys.iter().map(|key| sets[key.split('#').next().unwrap()].as_slice()).collect();
    let total: usize = options.iter().map(|options| options.len()).product();
    let mut step = total * 618 / 1000 + 1;
    while greatest_common_divisor(step, total) != 1 {
        step += 1;
    }
    (0..total.min(spread))
        .map(|n| {
            let mut index = n * step % total;
            let chosen: BTreeMap<&str, &str> = keys
                .iter()
                .zip(&options)
                .map(|(key, options)| {
                    let option = &options[index % options.len()];
                    index /= options.len();
                    (*key, option.as_str())
                })
                .collect();
            pieces.iter().map(|(plain, key)| key.map_or(*plain, |key| chosen[key])).collect()
        })
        .collect()
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

pub(crate) fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// As a JSON string in which everything is a `\u` escape.
pub(crate) fn json_escaped(text: &str) -> String {
    text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
}

pub(crate) fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    text.as_bytes()
        .chunks(3)
        .map(|chunk| {
            let bits =
                chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
            (0..4)
                .map(|at| {
                    if at > chunk.len() {
                        '='
                    } else {
                        char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize])
                    }
                })
                .collect::<String>()
        })
        .collect()
}

pub(crate) fn look(request: RequestView<'_>) -> Inspection {
    inspect(&InspectionPolicy::default(), &request)
}

pub(crate) fn query(text: &str) -> Inspection {
    look(RequestView { path: "/x", query: text, ..RequestView::default() })
}

pub(crate) fn body(content_type: &str, body: &[u8]) -> Inspection {
    let headers = [("Content-Type", content_type.as_bytes())];
    look(RequestView { path: "/x", headers: &headers, body: Some(body), ..RequestView::default() })
}

pub(crate) fn header(name: &str, value: &[u8]) -> Inspection {
    look(RequestView { path: "/x", headers: &[(name, value)], ..RequestView::default() })
}

/// The places and encodings in which a value is tried.
pub(crate) const PLACES: [&str; 9] =
    ["query", "query-twice", "form", "json", "json-escaped", "multipart", "xml", "cookie", "base64"];

/// One value in one place, as the parameter `q`.
pub(crate) fn placed(place: &str, value: &str) -> Inspection {
    placed_as("q", place, value)
}

/// One value in one place, under a name.
pub(crate) fn placed_as(name: &str, place: &str, value: &str) -> Inspection {
    let once = percent(value);
    match place {
        "query" => query(&format!("{name}={once}")),
        "query-twice" => query(&format!("a=1&{name}={}", percent(&once))),
        "form" => body("application/x-www-form-urlencoded", format!("a=1&{name}={once}").as_bytes()),
        "json" => body("application/json", serde_json::json!({"a": [value]}).to_string().as_bytes()),
        "json-escaped" => {
            body("application/json", format!("{{\"a\":\"{}\"}}", json_escaped(value)).as_bytes())
        }
        "multipart" => body(
            "multipart/form-data; boundary=B",
            format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n--B--\r\n")
                .as_bytes(),
        ),
        "xml" => {
            let text = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            body("application/xml", format!("<?xml version=\"1.0\"?>\n<a><b>{text}</b></a>").as_bytes())
        }
        "cookie" => header("Cookie", format!("a=b; {name}={once}").as_bytes()),
        "base64" => query(&format!("{name}={}", percent(&base64(value)))),
        "path" => look(RequestView { path: &format!("/x/{once}"), ..RequestView::default() }),
        other => panic!("no place is called {other}"),
    }
}
