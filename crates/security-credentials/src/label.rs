//! Texts that people read and that callers choose: names, owners, reasons, scopes.

use security_core::is_invisible;

use crate::{CredentialError, error::shown, find_tokens};

/// Refuses a text that is longer than `most` characters or holds invisible ones.
pub(crate) fn check(field: &'static str, text: &str, most: usize) -> Result<(), CredentialError> {
    let refuse = |reason: String| Err(CredentialError::Label { field, reason });
    // A character has four bytes at most: a megabyte is refused without being counted.
    if text.len() > most * 4 || text.chars().count() > most {
        return refuse(format!("is longer than {most} characters"));
    }
    match text.chars().find(|c| is_invisible(*c)) {
        Some(c) => refuse(format!("holds the control or direction character U+{:04X}", u32::from(c))),
        None => Ok(()),
    }
}

/// Likewise, and refuses a text of nothing but white space, and one that holds a token of ours.
pub(crate) fn check_present(field: &'static str, text: &str, most: usize) -> Result<(), CredentialError> {
    if text.trim().is_empty() {
        return Err(CredentialError::Label { field, reason: "is empty".into() });
    }
    check(field, text, most)?;
    match find_tokens(text).is_empty() {
        true => Ok(()),
        // It would be shown wherever the name is.
        false => Err(CredentialError::Label { field, reason: "holds an API key".into() }),
    }
}

/// Refuses what is no scope. Source: RFC 6749 §3.3, `scope-token`, here with 128 bytes at most.
pub(crate) fn check_scope(scope: &str) -> Result<(), CredentialError> {
    let refuse = |reason| Err(CredentialError::Scope { scope: shown(scope), reason });
    if scope.is_empty() || scope.len() > 128 {
        return refuse("accepted are 1 to 128 characters");
    }
    if !scope.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\') {
        return refuse("accepted are visible ASCII characters without quotes and backslashes");
    }
    // `orders:*` would be an exact name here, and whoever writes it expects otherwise.
    if scope != "*" && scope.contains('*') {
        return refuse("`*` stands alone");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_hold_no_invisible_characters() {
        assert!(check("name", "Überwachung 監視 👩‍🚒", 128).is_ok());
        for bad in ["a\nb", "a\u{0}", "\u{202e}gpj.exe", "a\u{200b}b", "\u{2066}x", "\u{9b}31m", "\u{e0041}"]
        {
            assert!(check("name", bad, 128).is_err(), "{bad:?}");
        }
        assert!(check("name", &"é".repeat(128), 128).is_ok());
        assert!(check("name", &"é".repeat(129), 128).is_err());
        assert!(check_present("name", " \u{a0}", 128).is_err());
    }

    #[test]
    fn scopes_are_visible_ascii() {
        for good in ["*", "read", "orders:read", "https://api.example.com/auth.write"] {
            assert!(check_scope(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\"", "a\\", "é", "orders:*", "**", &"a".repeat(129)] {
            assert!(check_scope(bad).is_err(), "{bad}");
        }
    }
}
