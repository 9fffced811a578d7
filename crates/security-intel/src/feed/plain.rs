//! Plain lists: one indicator a line, comments, and hosts files.

use std::io::BufRead;

use super::{
    Entry, FeedOptions, Rejected, Step,
    lines::{Line, Lines},
};
use crate::IntelError;

/// What hosts files send a blocked name to.
const SINKS: &[&str] = &["0.0.0.0", "127.0.0.1", "::", "::1"];

pub(crate) fn is_comment(line: &str) -> bool {
    line.starts_with(['#', ';']) || line.starts_with("//")
}

pub(crate) fn read<'r>(input: impl BufRead + 'r, options: FeedOptions) -> impl Iterator<Item = Step> + 'r {
    Lines::new(input, options.limits.max_value).filter_map(move |line| match line {
        Err(source) => Some(Step::Broken(IntelError::Stream { doing: "reading the feed", source })),
        Ok((line, Line::TooLong(text))) => {
            let reason = format!("it is longer than {} bytes", options.limits.max_value);
            Some(Step::Rejected(Rejected { line, text, reason }))
        }
        Ok((line, Line::Text(text))) => {
            let value = without_comment(text.trim());
            if value.is_empty() {
                return None;
            }
            Some(Entry { line, value: listed(value), ..Entry::default() }.step(&options))
        }
    })
}

/// The line without a comment that begins it, or that a blank parts from the value. A `#` inside a URL stays.
fn without_comment(line: &str) -> &str {
    if is_comment(line) {
        return "";
    }
    let end = line
        .char_indices()
        .find(|(at, letter)| "#;".contains(*letter) && line[..*at].ends_with(char::is_whitespace))
        .map_or(line.len(), |(at, _)| at);
    line[..end].trim_end()
}

/// The name of a hosts file's line, else the line.
fn listed(line: &str) -> &str {
    let mut words = line.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(sink), Some(name), None) if SINKS.contains(&sink) => name,
        _ => line.trim_matches(['"', '\'', ',']),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_sinks_are_taken_off() {
        for (line, value) in [
            ("evil.example # C2", "evil.example"),
            ("192.0.2.0/24 ; ref 17", "192.0.2.0/24"),
            ("# evil.example", ""),
            ("; x", ""),
            ("// x", ""),
            ("http://evil.example/#top", "http://evil.example/#top"),
            ("0.0.0.0 evil.example", "evil.example"),
            ("\"evil.example\",", "evil.example"),
        ] {
            assert_eq!(listed(without_comment(line)), value, "{line}");
        }
    }
}
