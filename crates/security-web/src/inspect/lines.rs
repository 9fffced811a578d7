//! Line ends that begin something: a header of a response or a mail, or a request of its own.

use super::place::Part;

/// Headers that split a response wherever they stand.
const NAMES: [&[u8]; 11] = [
    b"set-cookie:",
    b"content-length:",
    b"content-type:",
    b"transfer-encoding:",
    b"http/1.",
    b"http/2",
    b"x-forwarded-",
    b"access-control-",
    b"x-xss-protection:",
    b"content-security-policy:",
    b"strict-transport-security:",
];
/// Headers that are also words of a letter, each with what its value has.
const WITH_VALUE: [(&[u8], &[u8]); 4] =
    [(b"location:", b"/"), (b"refresh:", b"="), (b"link:", b"<"), (b"host:", b".")];
/// The most lines of a value that was meant to be one line.
const FEW: usize = 3;

fn starts(text: &[u8], name: &[u8]) -> bool {
    text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
}

/// What stands behind each line's end without its indentation, whether it has one, and how many lines there are.
fn lines(decoded: &[u8]) -> (usize, impl Iterator<Item = (&[u8], bool)>) {
    let n_lines = decoded
        .split(|byte| *byte == b'\n' || *byte == b'\r')
        .filter(|line| !line.is_empty())
        .take(FEW + 2)
        .count();
    let rests = memchr::memchr2_iter(b'\r', b'\n', decoded).map(|at| {
        let rest = decoded[at + 1..].trim_ascii_start();
        let is_indented = rest.len() < decoded.len() - at - 1
            && matches!(decoded[decoded.len() - rest.len() - 1], b' ' | b'\t');
        (&rest[..memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len())], is_indented)
    });
    (n_lines, rests.filter(|(line, _)| !line.is_empty()))
}

/// Whether a value begins as a whole mail, or a part of one, does: what follows are its own headers.
fn is_message(decoded: &[u8]) -> bool {
    const FIRST: [&[u8]; 10] = [
        b"from:",
        b"from ",
        b"to:",
        b"date:",
        b"received:",
        b"return-path:",
        b"message-id:",
        b"mime-version:",
        b"project-id-version:",
        b"--",
    ];
    FIRST.iter().any(|name| starts(decoded, name))
}

/// Whether a line is one of those that every mail has, and no answer is split by.
fn is_of_message(line: &[u8]) -> bool {
    const OF_ANSWERS: [&[u8]; 8] = [
        b"set-cookie:",
        b"content-length:",
        b"transfer-encoding:",
        b"http/",
        b"location:",
        b"refresh:",
        b"access-control-",
        b"content-security-policy:",
    ];
    !OF_ANSWERS.iter().any(|name| starts(line, name))
}

/// A line's end and then a header, or a request that a server in front does not see.
pub(super) fn splits_header(decoded: &[u8], part: Part) -> bool {
    let (n_lines, mut rests) = lines(decoded);
    // An empty line ends a head; what follows would be the page.
    let is_page = part != Part::Body && decoded.starts_with(b"\r\n\r\n<")
        || n_lines <= FEW && memchr::memmem::find(decoded, b"\r\n\r\n<html").is_some();
    let is_mail = !matches!(part, Part::Header | Part::Path) && is_message(decoded);
    is_page
        || rests.any(|(line, is_indented)| {
            if is_mail && is_of_message(line) {
                return false;
            }
            // Nobody's path or header has a second line.
            matches!(part, Part::Header | Part::Path)
                // Longer texts of bodies quote whole heads.
            || (part != Part::Body || n_lines <= FEW + 1) && NAMES.iter().any(|name| starts(line, name))
                || WITH_VALUE.iter().any(|(name, sign)| {
                    // Settings have such names too, below others.
                    !is_indented
                        && starts(line, name)
                        && memchr::memmem::find(&line[name.len()..], sign).is_some()
                        && !is_text(&line[name.len()..])
                        && !is_quoted(&line[name.len()..])
                })
                || n_lines <= FEW && (!is_indented && is_header(line) && part != Part::Body || is_request(line))
        })
}

/// A value in quotation marks, as programs have it.
fn is_quoted(value: &[u8]) -> bool {
    matches!(value.trim_ascii_start().first(), Some(b'"' | b'\'' | b'`'))
}

/// A value of many words.
fn is_text(value: &[u8]) -> bool {
    value.trim_ascii().split(|byte| *byte == b' ').nth(3).is_some()
}

/// `X-Name: value`, `Remote-Addr: value`; not the trailer of a commit, nor a word of a text.
fn is_header(line: &[u8]) -> bool {
    let Some(colon) = line.iter().take(48).position(|byte| *byte == b':') else { return false };
    let name = &line[..colon];
    let value = line[colon + 1..].trim_ascii();
    name.contains(&b'-')
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        && !name.ends_with(b"-by")
        && value.first().is_some_and(|byte| !b"`[".contains(byte))
        && !is_text(value)
}

/// `GET / HTTP/1.1`
fn is_request(line: &[u8]) -> bool {
    const METHODS: [&[u8]; 8] =
        [b"get ", b"post ", b"head ", b"put ", b"delete ", b"patch ", b"options ", b"trace "];
    METHODS.iter().any(|method| starts(line, method))
        && line.len() >= 14
        && memchr::memmem::find(&line.to_ascii_lowercase()[..line.len().min(512)], b" http/").is_some()
}

/// A line's end and then a mail header.
pub(super) fn splits_mail(decoded: &[u8]) -> bool {
    const ALWAYS: [&[u8]; 3] = [b"bcc:", b"rcpt to:", b"mail from:"];
    const IN_FEW: [&[u8]; 4] = [b"cc:", b"to:", b"reply-to:", b"from:"];
    let (n_lines, mut rests) = lines(decoded);
    let has_address = |line: &[u8]| line[..line.len().min(120)].contains(&b'@');
    let is_mail = is_message(decoded);
    rests.any(|(line, _)| {
        if is_mail && !ALWAYS.iter().any(|name| starts(line, name)) {
            return false;
        }
        ALWAYS.iter().any(|name| starts(line, name)) && has_address(line)
            || n_lines <= FEW && IN_FEW.iter().any(|name| starts(line, name)) && has_address(line)
            // Two lines of which the second is a subject: what was meant to be a name or an address.
            || n_lines == 2 && starts(line, b"subject: ")
            || n_lines <= FEW + 1 && (line == b"DATA" || is_mail_command(line))
    })
}

/// `V100 FETCH 1:9 UID`, `QUIT`: what a server for mail is told.
fn is_mail_command(line: &[u8]) -> bool {
    const TAGGED: [&[u8]; 9] =
        [b"FETCH", b"CAPABILITY", b"EXAMINE", b"SELECT", b"LOGIN", b"LOGOUT", b"LIST", b"STATUS", b"SEARCH"];
    const ALONE: [&[u8]; 4] = [b"QUIT", b"RSET", b"NOOP", b"STARTTLS"];
    let mut words = line.split(|byte| *byte == b' ');
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let is_tag =
        first.len() > 1 && first[0].is_ascii_uppercase() && first[1..].iter().all(u8::is_ascii_digit);
    is_tag && TAGGED.contains(&second)
        || ALONE.contains(&line)
        || matches!(first, b"HELO" | b"EHLO") && !second.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_headers_from_text() {
        for hostile in
            ["x\r\nSet-Cookie: a=b", "x\nX-Injected: yes", "x\rGET / HTTP/1.1", "x\nLocation: //x.example"]
        {
            assert!(splits_header(hostile.as_bytes(), Part::Query), "{hostile}");
        }
        for innocent in [
            "Agenda\nLocation: room 5 / second floor, left",
            "a\nSub-total: 5\nb\nc",
            "one\ntwo: 2",
            "x\nlink: see below",
        ] {
            assert!(!splits_header(innocent.as_bytes(), Part::Query), "{innocent}");
        }
        let mail = b"From: a@x.example\nTo: b@x.example\nX-One: two\nContent-Type: text/plain\n\nHello";
        assert!(!splits_header(mail, Part::Query) && !splits_mail(mail));
        assert!(splits_header(b"From: a@x.example\r\nSet-Cookie: a=b", Part::Query));
        assert!(splits_mail(b"From: a@x.example\nBcc: b@x.example"));
        assert!(splits_mail(b"a@x.example\nBcc: b@x.example"));
        assert!(!splits_mail(b"Hi,\nplease cc: me\nTo: be decided"));
    }
}
