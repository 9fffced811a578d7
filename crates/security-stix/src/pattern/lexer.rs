//! The words of a pattern, one at a time.

use security_core::Timestamp;

use super::{Operator, PatternError};
use crate::{StixError, time::parse_time};

/// One word of a pattern.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'a> {
    LeftBracket,
    RightBracket,
    LeftParenthesis,
    RightParenthesis,
    Comma,
    Colon,
    Dot,
    Star,
    Comparison(Operator),
    /// A keyword, type or property name.
    Word(&'a str),
    Text(String),
    Hex(String),
    Binary(String),
    Time(Timestamp),
    Integer(i64),
    Float(f64),
    End,
}

/// Reads a text word by word.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next word and where it starts.
    pub(super) fn next_token(&mut self) -> Result<(Token<'a>, usize), PatternError> {
        self.skip_blank()?;
        let start = self.at;
        let rest = &self.text[start..];
        let mut characters = rest.chars();
        let Some(first) = characters.next() else {
            return Ok((Token::End, start));
        };
        let second = characters.next();
        let (token, length) = match (first, second) {
            ('[', _) => (Token::LeftBracket, 1),
            (']', _) => (Token::RightBracket, 1),
            ('(', _) => (Token::LeftParenthesis, 1),
            (')', _) => (Token::RightParenthesis, 1),
            (',', _) => (Token::Comma, 1),
            (':', _) => (Token::Colon, 1),
            ('*', _) => (Token::Star, 1),
            ('=', Some('=')) => (Token::Comparison(Operator::Equal), 2),
            ('=', _) => (Token::Comparison(Operator::Equal), 1),
            ('!', Some('=')) | ('<', Some('>')) => (Token::Comparison(Operator::NotEqual), 2),
            ('<', Some('=')) => (Token::Comparison(Operator::LessOrEqual), 2),
            ('<', _) => (Token::Comparison(Operator::Less), 1),
            ('>', Some('=')) => (Token::Comparison(Operator::GreaterOrEqual), 2),
            ('>', _) => (Token::Comparison(Operator::Greater), 1),
            ('\'', _) => return self.quoted().map(|text| (Token::Text(text), start)),
            ('h' | 'b' | 't', Some('\'')) => return self.typed(first).map(|token| (token, start)),
            ('.', Some('0'..='9')) | ('0'..='9' | '+' | '-', _) => {
                return self.number().map(|token| (token, start));
            }
            ('.', _) => (Token::Dot, 1),
            ('a'..='z' | 'A'..='Z' | '_', _) => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
                let length = end.unwrap_or(rest.len());
                (Token::Word(&rest[..length]), length)
            }
            _ => return Err(self.error(start, "a word of the pattern language", &shown(rest))),
        };
        self.at += length;
        Ok((token, start))
    }

    fn error(&self, offset: usize, expected: &str, found: &str) -> PatternError {
        PatternError::Syntax { offset, expected: expected.into(), found: found.into() }
    }

    /// Blanks of the grammar's list, `/* … */` and `// …`.
    fn skip_blank(&mut self) -> Result<(), PatternError> {
        loop {
            let rest = &self.text[self.at..];
            let trimmed = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with("//") {
                self.at += trimmed.find(['\r', '\n']).unwrap_or(trimmed.len());
            } else if let Some(comment) = trimmed.strip_prefix("/*") {
                let Some(length) = comment.find("*/") else {
                    return Err(self.error(self.at, "*/ at the end of the comment", "the end"));
                };
                self.at += length + 4; // the two signs around it
            } else {
                return Ok(());
            }
        }
    }

    /// A text in quotes; the position is at the opening one and moves behind the closing one.
    fn quoted(&mut self) -> Result<String, PatternError> {
        let body = self.at + 1;
        let mut value = String::new();
        let mut characters = self.text[body..].char_indices();
        while let Some((offset, character)) = characters.next() {
            match character {
                '\'' => {
                    self.at = body + offset + 1;
                    return Ok(value);
                }
                '\\' => match characters.next() {
                    Some((_, escaped @ ('\\' | '\''))) => value.push(escaped),
                    Some(_) => {
                        let found = shown(&self.text[body + offset..]);
                        return Err(self.error(
                            body + offset,
                            "\\\\ or \\' (a backslash is doubled)",
                            &found,
                        ));
                    }
                    None => break,
                },
                other => value.push(other),
            }
        }
        Err(self.error(self.text.len(), "' at the end of the text", "the end"))
    }

    /// `h'…'`, `b'…'` and `t'…'`.
    fn typed(&mut self, prefix: char) -> Result<Token<'a>, PatternError> {
        self.at += 1;
        let start = self.at;
        let text = self.quoted()?;
        let wrong = |reason: &str| {
            let shown = StixError::excerpt(&text);
            PatternError::Meaningless { offset: start, reason: format!("`{shown}` is not {reason}") }
        };
        match prefix {
            'h' if text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit()) => {
                Ok(Token::Hex(text.to_ascii_lowercase()))
            }
            'h' => Err(wrong("pairs of hex digits")),
            'b' if is_base64(&text) => Ok(Token::Binary(text)),
            'b' => Err(wrong("base64 with padding")),
            _ => parse_time(&text).map(Token::Time).map_err(|_| wrong("a time like 2026-11-24T08:30:00Z")),
        }
    }

    /// `[+-]? digits` or `[+-]? digits? . digits`.
    fn number(&mut self) -> Result<Token<'a>, PatternError> {
        let start = self.at;
        let rest = &self.text[start..];
        let signed = rest.trim_start_matches(['+', '-']);
        let sign = rest.len() - signed.len();
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let whole = digits(signed);
        let fraction = signed[whole..].strip_prefix('.').map_or(0, digits);
        if sign > 1 || (whole == 0 && fraction == 0) {
            return Err(self.error(start, "a number", &shown(rest)));
        }
        if whole > 1 && signed.starts_with('0') && fraction == 0 {
            return Err(self.error(start, "a number without leading zeros", &shown(rest)));
        }
        let length = if fraction > 0 { sign + whole + 1 + fraction } else { sign + whole };
        let text = &rest[..length];
        self.at += length;
        let too_big = || PatternError::Meaningless {
            offset: start,
            reason: format!("`{}` is too big a number", StixError::excerpt(text)),
        };
        if fraction == 0 {
            return text.parse().map(Token::Integer).map_err(|_| too_big());
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Token::Float(number)),
            _ => Err(too_big()),
        }
    }
}

impl Token<'_> {
    /// The word as an error shows it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::LeftBracket => "`[`".into(),
            Self::RightBracket => "`]`".into(),
            Self::LeftParenthesis => "`(`".into(),
            Self::RightParenthesis => "`)`".into(),
            Self::Comma => "`,`".into(),
            Self::Colon => "`:`".into(),
            Self::Dot => "`.`".into(),
            Self::Star => "`*`".into(),
            Self::Comparison(operator) => format!("`{operator}`"),
            Self::Word(word) => format!("`{}`", StixError::excerpt(word)),
            Self::Text(text) => format!("the text '{}'", StixError::excerpt(text)),
            Self::Hex(_) => "a hex literal".into(),
            Self::Binary(_) => "a binary literal".into(),
            Self::Time(_) => "a time".into(),
            Self::Integer(number) => format!("`{number}`"),
            Self::Float(_) => "a number with a fraction".into(),
            Self::End => "the end".into(),
        }
    }
}

/// The first few characters as an error shows them.
fn shown(text: &str) -> String {
    let start: String = text.chars().take(12).collect();
    format!("`{}`", StixError::excerpt(&start))
}

/// Source: the grammar's `BinaryLiteral`, at least one group of four, with `=` only at the end.
fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    !text.is_empty()
        && text.len().is_multiple_of(4)
        && text.len() - digits.len() <= 2
        && digits.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}
