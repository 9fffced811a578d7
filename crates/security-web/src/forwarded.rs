//! Reading chains of forwarded addresses, from the right, strictly.
//!
//! **From the right,** because that end was written by the proxy that is trusted; the other end is the
//! client's, who may write what he likes, an open quotation mark among it. What lies left of the first
//! untrusted address is never looked at, so nobody can make himself unknown by sending nonsense.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::request::trimmed;

/// The chain cannot be read: an element that was reached is no address.
pub(crate) const MALFORMED: &str = "chain-malformed";
/// The chain hides an address: `unknown` or an obfuscated identifier (RFC 7239 §6.2, §6.3).
pub(crate) const OBFUSCATED: &str = "chain-obfuscated";

/// The elements of all lines of a list header from right to left, without empty ones (RFC 9110 §5.6.1.2).
pub(crate) struct Elements<'h, L> {
    lines: L,
    rest: Option<&'h [u8]>,
    quoted: bool,
}

impl<'h, L: Iterator<Item = &'h [u8]>> Elements<'h, L> {
    /// `lines` are the header's lines, the last one first; `quoted` when commas may stand in quoted strings.
    pub(crate) fn of(lines: L, quoted: bool) -> Self {
        Self { lines, rest: None, quoted }
    }
}

impl<'h, L: Iterator<Item = &'h [u8]>> Iterator for Elements<'h, L> {
    type Item = &'h [u8];

    fn next(&mut self) -> Option<&'h [u8]> {
        loop {
            let line = match self.rest.take() {
                Some(rest) => rest,
                None => self.lines.next()?,
            };
            let element = match last_comma(line, self.quoted) {
                Some(comma) => {
                    self.rest = Some(&line[..comma]);
                    &line[comma + 1..]
                }
                None => line,
            };
            let element = trimmed(element);
            if !element.is_empty() {
                return Some(element);
            }
        }
    }
}

/// The last comma outside quoted strings. Agrees with reading from the left wherever the line is well formed,
/// and depends on nothing left of the comma.
fn last_comma(line: &[u8], quoted: bool) -> Option<usize> {
    let mut inside = false;
    for (at, byte) in line.iter().enumerate().rev() {
        match byte {
            b',' if !inside => return Some(at),
            b'"' if quoted => {
                let backslashes = line[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
                // An escaped mark belongs to the string that is being left.
                inside = !inside || backslashes % 2 == 1;
            }
            _ => {}
        }
    }
    None
}

/// An element of `X-Forwarded-For`, or the value of `X-Real-IP`: an address, perhaps with a port.
pub(crate) fn plain_element(element: &[u8]) -> Result<IpAddr, &'static str> {
    let text = std::str::from_utf8(element).map_err(|_| MALFORMED)?;
    if is_obfuscated(text) {
        return Err(OBFUSCATED);
    }
    address(text).ok_or(MALFORMED)
}

/// An element of `Forwarded`: the address of its one `for` parameter (RFC 7239 §4).
pub(crate) fn forwarded_element(element: &[u8]) -> Result<IpAddr, &'static str> {
    let text = std::str::from_utf8(element).map_err(|_| MALFORMED)?;
    let mut node = None;
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if let Some(after) = rest.strip_prefix(';') {
            rest = after;
            continue;
        }
        if rest.is_empty() {
            break;
        }
        let (name, value, after) = pair(rest).ok_or(MALFORMED)?;
        if name.eq_ignore_ascii_case("for") && node.replace(value).is_some() {
            return Err(MALFORMED);
        }
        rest = after.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(';') {
            return Err(MALFORMED);
        }
    }
    let node = node.ok_or(MALFORMED)?;
    if is_obfuscated(&node) {
        return Err(OBFUSCATED);
    }
    forwarded_node(&node).ok_or(MALFORMED)
}

/// `name=value` at the start of the text, and what follows; the value without its quotation.
fn pair(text: &str) -> Option<(&str, String, &str)> {
    let (name, rest) = text.split_once('=')?;
    if name.is_empty() || !name.bytes().all(is_token_byte) {
        return None;
    }
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.bytes().position(|byte| !is_token_byte(byte)).unwrap_or(rest.len());
        let (value, after) = rest.split_at(end);
        return (!value.is_empty()).then(|| (name, value.to_owned(), after));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((name, value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            '\t' | ' '.. if character != '\u{7f}' => value.push(character),
            _ => return None,
        }
    }
    None
}

/// RFC 9110 §5.6.2, `tchar`.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_obfuscated(node: &str) -> bool {
    node.starts_with('_') || node.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("unknown"))
}

/// RFC 7239 §6: an IPv6 address stands in brackets, and the port may be obfuscated.
fn forwarded_node(node: &str) -> Option<IpAddr> {
    if let Some((before, port)) = node.rsplit_once(':')
        && let Some(hidden) = port.strip_prefix('_')
    {
        let is_fit = !hidden.is_empty()
            && hidden.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        return if is_fit && !has_port(before) { forwarded_node(before) } else { None };
    }
    if node.starts_with('[') || node.bytes().filter(|byte| *byte == b':').count() < 2 {
        address(node)
    } else {
        None
    }
}

fn has_port(node: &str) -> bool {
    match node.rsplit_once(']') {
        Some((_, after)) => !after.is_empty(),
        None => node.contains(':'),
    }
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`; nothing else. IPv4-mapped
/// addresses come back as IPv4.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    let address = if let Some(bracketed) = text.strip_prefix('[') {
        let (inside, after) = bracketed.split_once(']')?;
        if !after.is_empty() && !is_port(after.strip_prefix(':')?) {
            return None;
        }
        IpAddr::V6(inside.parse::<Ipv6Addr>().ok()?)
    } else {
        match text.split_once(':') {
            None => IpAddr::V4(text.parse::<Ipv4Addr>().ok()?),
            Some((before, port)) if !port.contains(':') => {
                if !is_port(port) {
                    return None;
                }
                IpAddr::V4(before.parse::<Ipv4Addr>().ok()?)
            }
            Some(_) => IpAddr::V6(text.parse::<Ipv6Addr>().ok()?),
        }
    };
    Some(address.to_canonical())
}

fn is_port(text: &str) -> bool {
    (1..=5).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn elements(lines: &[&str], quoted: bool) -> Vec<String> {
        Elements::of(lines.iter().rev().map(|line| line.as_bytes()), quoted)
            .map(|element| String::from_utf8(element.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn elements_come_from_the_right_over_all_lines() {
        assert_eq!(elements(&["a, b", " c ,, ", "d"], false), ["d", "c", "b", "a"]);
        assert_eq!(elements(&[], false), Vec::<String>::new());
        assert_eq!(elements(&[" , ,"], false), Vec::<String>::new());
    }

    #[test]
    fn commas_in_quotation_split_only_where_there_is_none() {
        assert_eq!(elements(&[r#"for="a,b";x="\",", for=c"#], true), ["for=c", r#"for="a,b";x="\",""#]);
        assert_eq!(elements(&[r#"a"b,c"d"#], false), [r#"c"d"#, r#"a"b"#]);
    }

    #[test]
    fn an_open_quotation_on_the_left_does_not_reach_the_right() {
        let found = elements(&[r#"for=", for="[2001:db8::1]""#], true);
        assert_eq!(found.first().map(String::as_str), Some(r#"for="[2001:db8::1]""#));
    }

    /// Splits from the left, as RFC 9110 §5.6.1 defines lists.
    fn split_from_the_left(line: &str) -> Vec<String> {
        let (mut parts, mut part) = (Vec::new(), String::new());
        let (mut inside, mut escaped) = (false, false);
        for character in line.chars() {
            match character {
                ',' if !inside => parts.push(std::mem::take(&mut part)),
                _ => {
                    if character == '"' && !escaped {
                        inside = !inside;
                    }
                    escaped = inside && character == '\\' && !escaped;
                    part.push(character);
                }
            }
        }
        parts.push(part);
        parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    }

    fn well_formed_element() -> impl Strategy<Value = String> {
        let quoted = prop::collection::vec(
            prop_oneof![
                Just("\\\"".to_owned()),
                Just("\\\\".to_owned()),
                Just(",".to_owned()),
                "[a-z:;=\\[\\]]"
            ],
            0..8,
        );
        prop_oneof!["for=[a-z0-9.]{1,8}", quoted.prop_map(|parts| format!("for=\"{}\"", parts.concat()))]
    }

    proptest! {
        #[test]
        fn both_directions_agree_on_well_formed_lines(parts in prop::collection::vec(well_formed_element(), 0..6)) {
            let line = parts.join(", ");
            let mut from_left = split_from_the_left(&line);
            from_left.reverse();
            prop_assert_eq!(elements(&[&line], true), from_left);
        }

        /// Whatever a client writes, the element that the proxy appends is read as it was written.
        #[test]
        fn nothing_on_the_left_changes_the_right(left in ".{0,40}", right in well_formed_element()) {
            let found = elements(&[&format!("{left}, {right}")], true);
            prop_assert_eq!(found.first(), Some(&right));
        }

        #[test]
        fn addresses_round_trip(address_of: IpAddr, port: u16) {
            let canonical = address_of.to_canonical();
            let socket = std::net::SocketAddr::new(address_of, port).to_string();
            prop_assert_eq!(address(&address_of.to_string()), Some(canonical));
            prop_assert_eq!(address(&socket), Some(canonical));
            prop_assert_eq!(forwarded_element(format!("for=\"{socket}\"").as_bytes()), Ok(canonical));
            prop_assert_eq!(plain_element(socket.as_bytes()), Ok(canonical));
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..60), text in r#"[fF]or=["\[\]a-f0-9:._;=\\, ]{0,30}"#) {
            let _ = plain_element(&bytes);
            let _ = forwarded_element(&bytes);
            let _ = forwarded_element(text.as_bytes());
            let _ = elements(&[&text], true);
        }
    }
}
