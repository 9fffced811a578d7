//! E-mail addresses.
//!
//! Canonical form: the local part in lower case and the domain as [`crate::domain`] writes it. RFC 5321 lets a
//! server tell `A@` from `a@`; no real one does, and a match must not depend on how a sender typed it.

use crate::domain;

/// The canonical form of an address; a leading `mailto:` and angle brackets around it are dropped.
pub(crate) fn canonical(text: &str) -> Result<String, &'static str> {
    let text = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(text);
    let text = match text.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("mailto:") => &text[7..],
        _ => text,
    };
    if text.len() > 1024 {
        return Err("an address has at most 254 characters");
    }
    let (local, host) = text.rsplit_once('@').ok_or("there is no `@`")?;
    of_parts(local, &domain::canonical(host)?)
}

/// The canonical form of an address whose domain is canonical already.
pub(crate) fn of_parts(local: &str, domain: &str) -> Result<String, &'static str> {
    check_local(local)?;
    let mut value = String::with_capacity(local.len() + 1 + domain.len());
    if local.is_ascii() {
        value.push_str(local);
        value.make_ascii_lowercase();
    } else {
        value.push_str(&local.to_lowercase());
    }
    value.push('@');
    value.push_str(domain);
    if value.len() > 254 {
        return Err("an address has at most 254 characters");
    }
    Ok(value)
}

/// A dot-atom (RFC 5321 §4.1.2, with RFC 6531 letters); quoted local parts are refused.
fn check_local(local: &str) -> Result<(), &'static str> {
    const DOTS: &str = "a dot stands between two other characters";
    if local.is_empty() || local.len() > 64 {
        return Err("the part before `@` has 1 to 64 characters");
    }
    let (mut before, mut plain) = (b'.', true);
    for byte in local.bytes() {
        if byte == b'.' && before == b'.' {
            return Err(DOTS);
        }
        plain &= byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'+');
        before = byte;
    }
    if before == b'.' {
        return Err(DOTS);
    }
    let allowed = |c: char| c.is_alphanumeric() || (c.is_ascii() && ".!#$%&'*+-/=?^_`{|}~".contains(c));
    if plain || local.chars().all(allowed) {
        Ok(())
    } else {
        Err("the part before `@` has a character that may not be there")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_lower_case() {
        for (text, value) in [
            ("Some.One+Tag@Evil.Example.COM", "some.one+tag@evil.example.com"),
            ("mailto:a@example.com", "a@example.com"),
            ("<a@example.com>", "a@example.com"),
            ("jürgen@bücher.example.com", "jürgen@xn--bcher-kva.example.com"),
        ] {
            assert_eq!(canonical(text).as_deref(), Ok(value));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for wrong in
            ["", "@", "a@", "@example.com", "a b@example.com", ".a@example.com", "a..b@example.com", "a@evil"]
        {
            assert!(canonical(wrong).is_err(), "{wrong}");
        }
    }
}
