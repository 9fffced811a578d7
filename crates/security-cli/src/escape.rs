//! Text that others wrote, made safe to show on a terminal.
//!
//! Indicators, user agents and rule texts come from attackers. Shown raw, a control character moves the cursor or
//! rewrites the line, and a direction mark makes `txt.exe` read `exe.txt`. Both are written as escapes here.

use std::{borrow::Cow, fmt::Write as _};

/// Characters that a reader does not see, or that make the terminal do something; also those that names may hold and
/// that show nothing: the soft hyphen, joiners, the vowel separator of Mongolian.
pub(crate) fn is_hidden(letter: char) -> bool {
    security::is_invisible(letter) || matches!(letter, '\u{ad}' | '\u{200c}' | '\u{200d}' | '\u{180e}')
}

/// The text in one line with every hidden character written as an escape: `\n`, `\t`, `\u{202e}`.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            hidden if is_hidden(hidden) => {
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(hidden)); // writing to a String cannot fail
            }
            plain => shown.push(plain),
        }
    }
    Cow::Owned(shown)
}

/// [`visible`], cut to `width` columns with `…` where something is left out.
pub(crate) fn brief(text: &str, width: usize) -> String {
    // A user agent may be a megabyte; what is cut off anyway need not be escaped first.
    let head: String = text.chars().take(width + 1).collect();
    console::truncate_str(&visible(&head), width, "…").into_owned()
}

/// Writes JSON in one line with hidden characters as `\uXXXX`, which is the same JSON to every reader.
pub(crate) struct VisibleJson;

impl serde_json::ser::Formatter for VisibleJson {
    fn write_string_fragment<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> std::io::Result<()> {
        let mut start = 0;
        for (at, letter) in fragment.char_indices().filter(|(_, letter)| is_hidden(*letter)) {
            writer.write_all(&fragment.as_bytes()[start..at])?;
            for unit in letter.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            start = at + letter.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[start..])
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    #[test]
    fn control_and_direction_characters_are_written_out() {
        assert_eq!(visible("plain ünïcode 漢"), "plain ünïcode 漢");
        assert_eq!(visible("a\u{1b}[31mb\n\t\r"), "a\\u{1b}[31mb\\n\\t\\r");
        assert_eq!(visible("invoice\u{202e}fdp.exe"), "invoice\\u{202e}fdp.exe");
        assert_eq!(visible("\u{9b}2J\u{7f}\u{200b}\u{e0041}"), "\\u{9b}2J\\u{7f}\\u{200b}\\u{e0041}");
    }

    #[test]
    fn long_text_is_cut_by_columns() {
        assert_eq!(brief("short", 10), "short");
        assert_eq!(brief("0123456789abc", 10), "012345678…");
        assert_eq!(brief(&"漢".repeat(50), 10), "漢漢漢漢…");
    }

    #[test]
    fn json_stays_the_same_json() {
        let text = "a\u{1b}[0m\u{202e}\u{9b}\u{e0041}\"\\\n漢";
        let mut bytes = Vec::new();
        text.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, VisibleJson)).unwrap();
        let written = String::from_utf8(bytes).unwrap();
        assert!(!written.chars().any(is_hidden), "{written}");
        assert!(written.contains('漢'));
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
    }
}
