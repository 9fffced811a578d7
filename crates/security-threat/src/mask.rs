//! What an alert must not show: secrets in the values of an event.

use security_core::blank_tokens;

/// The longest value that an alert holds, in characters.
pub(crate) const MAX_SHOWN: usize = 200;

/// Parts of field names whose values are never shown, in lower case with `_` for `-`.
const SECRET_NAMES: &[&str] = &[
    "authorization",
    "cookie",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "apikey",
    "credential",
    "private_key",
    "session_id",
    "sessionid",
];

/// Whether a dotted path names something whose value must not be shown.
pub(crate) fn is_secret(path: &str) -> bool {
    let path = path.to_ascii_lowercase().replace(['-', ' '], "_");
    SECRET_NAMES.iter().any(|name| path.contains(name))
}

/// A value as an alert may show it: the part around what matched, secrets masked.
pub(crate) fn shown(path: &str, value: &str, start: usize, end: usize) -> String {
    if is_secret(path) {
        return "****".to_owned();
    }
    let value = blank_tokens(value.as_bytes());
    let value = std::str::from_utf8(&value).unwrap_or_default();
    let masked = mask_pairs(value);
    // Masking moves what follows it; then the window is the beginning of what is left.
    let (start, end) = if masked.len() == value.len() { (start, end) } else { (0, 0) };
    window(&masked, start, end)
}

/// At most [`MAX_SHOWN`] characters around a place, with `…` where something was cut.
fn window(text: &str, start: usize, end: usize) -> String {
    let length = text.chars().count();
    if length <= MAX_SHOWN {
        return text.to_owned();
    }
    let start = floor_char(text, start.min(text.len()));
    let end = floor_char(text, end.clamp(start, text.len()));
    let before = text[..start].chars().count();
    let matched = text[start..end].chars().count().min(MAX_SHOWN - 2);
    let lead = (MAX_SHOWN - 2 - matched) / 2;
    let first = before.saturating_sub(lead).min(length - (MAX_SHOWN - 2));
    let middle: String = text.chars().skip(first).take(MAX_SHOWN - 2).collect();
    let (left, right) = (first > 0, first + (MAX_SHOWN - 2) < length);
    format!("{}{middle}{}", if left { "…" } else { "" }, if right { "…" } else { "" })
}

fn floor_char(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Masks `password=…`, `token: …` and the like, and what follows `Bearer`, inside a longer text.
fn mask_pairs(text: &str) -> String {
    let lower = text.to_ascii_lowercase().replace('-', "_");
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    let ends_value = |letter: char| letter.is_whitespace() || "&;,\"'<>{}|".contains(letter);
    for (at, _) in text.match_indices(['=', ':', ' ']) {
        if at < done {
            continue;
        }
        let name_start = lower[..at]
            .rfind(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_' || letter == '"'))
            .map_or(0, |before| before + lower[before..].chars().next().map_or(1, char::len_utf8));
        let name = lower[name_start.max(at.saturating_sub(80).min(at))..at].trim_matches('"');
        let is_scheme = text[at..].starts_with(' ') && name == "bearer";
        let is_pair = !text[at..].starts_with(' ') && SECRET_NAMES.iter().any(|secret| name.contains(secret));
        if !is_scheme && !is_pair {
            continue;
        }
        let mut value_start = at + 1;
        value_start +=
            text[value_start..].len() - text[value_start..].trim_start_matches([' ', '"', '\'']).len();
        let mut rest = &text[value_start..];
        for scheme in ["bearer ", "basic "] {
            if lower[value_start..].starts_with(scheme) {
                value_start += scheme.len();
                rest = &text[value_start..];
            }
        }
        let value_end = value_start + rest.find(ends_value).unwrap_or(rest.len());
        if value_end > value_start {
            out.push_str(&text[done..value_start]);
            out.push_str("****");
            done = value_end;
        }
    }
    out.push_str(&text[done..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn secret_fields_show_nothing() {
        for path in
            ["headers.Authorization", "headers.X-API-Key", "cookies.sid", "user.password", "refresh_token"]
        {
            assert_eq!(shown(path, "s3cr3t", 0, 3), "****", "{path}");
        }
        assert_eq!(shown("request.path", "/login", 0, 3), "/login");
    }

    #[test]
    fn secrets_inside_text_are_masked() {
        for (text, expected) in [
            ("GET /x?token=abc123&id=7", "GET /x?token=****&id=7"),
            ("Authorization: Bearer abc.def", "Authorization: Bearer ****"),
            ("{\"password\": \"hunter2\", \"user\": 1}", "{\"password\": \"****\", \"user\": 1}"),
            ("bearer sk_live_1 and more", "bearer **** and more"),
            ("x-api-key=k1 y", "x-api-key=**** y"),
            ("nothing: to hide", "nothing: to hide"),
        ] {
            assert_eq!(mask_pairs(text), expected);
        }
    }

    #[test]
    fn tokens_of_ours_lose_their_secret_wherever_the_window_begins() {
        let token = "sk_0123456789abcdefg_ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456abcdef";
        let text = format!("{}{token} NEEDLE {}", "a ".repeat(5000), "b ".repeat(5000));
        let at = text.find("NEEDLE").unwrap();
        let part = shown("body", &text, at, at + 6);
        assert!(
            part.contains("sk_0123456789abcdefg_*** NEEDLE".replace("***", &"*".repeat(39)).as_str()),
            "{part}"
        );
        for far in 60..140 {
            let text = format!("{}{token}{}NEEDLE", "a ".repeat(500), "b".repeat(far));
            let at = text.find("NEEDLE").unwrap();
            let part = shown("body", &text, at, at + 6);
            assert!(!part.contains("YZ0123456"), "{part}");
        }
    }

    #[test]
    fn long_values_show_the_part_that_matched() {
        let text = format!("{}NEEDLE{}", "a".repeat(5000), "b".repeat(5000));
        let part = shown("body", &text, 5000, 5006);
        assert!(part.contains("NEEDLE") && part.starts_with('…') && part.ends_with('…'), "{part}");
        assert_eq!(part.chars().count(), MAX_SHOWN);
    }

    proptest! {
        #[test]
        fn never_longer_and_never_panics(text in ".{0,400}", start in 0usize..2000, length in 0usize..2000) {
            prop_assert!(shown("body", &text, start, start + length).chars().count() <= MAX_SHOWN);
        }

        #[test]
        fn pairs_never_panic(text in "[ =:\"'&;-_a-eäſ]{0,40}(token|Bearer )[ =:\"'&;-_a-eäſ]{0,40}") {
            mask_pairs(&text);
        }
    }
}
