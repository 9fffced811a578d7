//! One value: decoded, normalised, scanned, and what was found in it.

use super::{
    base64, checks, command,
    cursor::has,
    decode, glob, lines, patterns,
    place::{Part, Place},
    rules,
    rules::Rule,
    ssrf, tokenised,
    tokenised::Sql,
};

/// Buffers that are used again from value to value.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    decoded: Vec<u8>,
    spare: Vec<u8>,
    pub(super) normal: Vec<u8>,
}

/// A rule and the piece of the normalised value that it is about.
pub(super) type Hit = (&'static Rule, usize, usize);

/// Looks at one value; hits go to `hits`, each rule once.
pub(super) fn look(raw: &[u8], place: &Place<'_>, paranoia: u8, scratch: &mut Scratch, hits: &mut Vec<Hit>) {
    if !decode::decode(raw, &mut scratch.decoded, &mut scratch.spare) {
        hits.push((&rules::ENCODED_TOO_OFTEN, 0, 0));
    }
    look_at_decoded(place, paranoia, scratch, hits);
    look_at_objects(raw, &scratch.decoded, hits);
    if hits.is_empty() && base64::decode_text(&scratch.decoded, &mut scratch.spare) {
        let hidden = std::mem::take(&mut scratch.spare);
        decode::decode(&hidden, &mut scratch.decoded, &mut scratch.spare);
        look_at_decoded(place, paranoia, scratch, hits);
    }
}

/// Which kinds of bytes a value has, in one pass.
#[derive(Debug, Default)]
struct Signs {
    has_quote: bool,
    has_angle: bool,
    has_equals: bool,
    has_bracket: bool,
    has_line: bool,
    has_tab: bool,
    has_null: bool,
    has_chain: bool,
    has_colon: bool,
    has_space: bool,
    has_dash_or_hash: bool,
    has_joker: bool,
}

impl Signs {
    fn of(text: &[u8]) -> Self {
        let mut signs = Self::default();
        for byte in text {
            match byte {
                b'\'' | b'"' => signs.has_quote = true,
                b'<' => {
                    signs.has_angle = true;
                    signs.has_chain = true;
                }
                b'=' => signs.has_equals = true,
                b'(' | b')' => signs.has_bracket = true,
                b'\r' | b'\n' => {
                    signs.has_line = true;
                    signs.has_chain = true;
                    signs.has_space = true;
                }
                0 => signs.has_null = true,
                b';' | b'|' | b'&' | b'`' | b'$' | b'>' => signs.has_chain = true,
                b':' | b'/' => signs.has_colon = true,
                b'\t' => {
                    signs.has_tab = true;
                    signs.has_space = true;
                }
                b' ' | b'+' => signs.has_space = true,
                b'*' => {
                    signs.has_dash_or_hash = true;
                    signs.has_joker = true;
                }
                b'?' | b'[' => signs.has_joker = true,
                b'-' | b'#' | b'@' => signs.has_dash_or_hash = true,
                _ => {}
            }
        }
        signs
    }
}

fn look_at_decoded(place: &Place<'_>, paranoia: u8, scratch: &mut Scratch, hits: &mut Vec<Hit>) {
    let decoded = &scratch.decoded;
    let normal = &mut scratch.normal;
    decode::normalise(decoded, normal);
    let normal = &*normal;
    let signs = Signs::of(decoded);
    let has_grammar = place.has_header_grammar();
    let mut note = |rule: &'static Rule, start, end| {
        let is_out = rule.paranoia > paranoia
            || has_grammar
                && matches!(rule.category, "sql-injection" | "nosql-injection")
                && !matches!(
                    rule.id,
                    "sqli-union-select"
                        | "sqli-function"
                        | "sqli-schema-name"
                        | "sqli-file-access"
                        | "sqli-subselect"
                )
            || place.is_markup && rule.category == "xss"
            // A route may be called like a directory of the system, and a referrer may name any host.
            || rule == &rules::PATH_DIRECTORY && matches!(place.part, Part::Path | Part::Header)
            || rule == &rules::SSRF_METADATA && place.part == Part::Header
            // `$in` alone is an operator as a key and a word as a value.
            || rule == &rules::NOSQL_OPERATOR && start == 0 && !place.is_name;
        if !is_out && !hits.iter().any(|hit| hit.0 == rule) {
            hits.push((rule, start, end));
        }
    };
    patterns::scan(normal, paranoia, &mut note);
    let all = normal.len();
    let may_be_sql = signs.has_quote
        || signs.has_space
        || signs.has_bracket
        || signs.has_dash_or_hash
        || signs.has_equals
        || normal.contains(&b';');
    if may_be_sql && !has_grammar && place.part != Part::Path {
        match tokenised::sql(decoded) {
            Sql::Strong => note(&rules::SQL_TOKENS, 0, all),
            Sql::Weak => note(&rules::SQL_TOKENS_WEAK, 0, all),
            Sql::Innocent => {}
        }
    }
    if signs.has_quote {
        if super::sql::has_comment_tail(normal) {
            note(&rules::SQL_COMMENT_TAIL, 0, all);
        }
        if signs.has_equals || signs.has_bracket || signs.has_chain {
            note(&rules::SQL_QUOTE, 0, all);
        }
    }
    if (signs.has_angle || signs.has_equals) && !place.is_markup {
        let is_handler = signs.has_angle || has(normal, b" on");
        if tokenised::html(decoded, is_handler) {
            note(&rules::XSS_TOKENS, 0, all);
        }
    }
    if signs.has_angle {
        let tag = memchr::memchr_iter(b'<', normal).find(|at| {
            normal
                .get(at + 1)
                .is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'/' | b'!' | b'?'))
        });
        if let Some(at) = tag {
            note(&rules::XSS_ANY_TAG, at, at + 2);
        }
        note(&rules::XSS_BRACKETS, 0, all);
    }
    // A tab or a line's end within a script URI is dropped by browsers.
    if (signs.has_line || signs.has_tab) && signs.has_colon {
        scratch.spare.clear();
        scratch.spare.extend(decoded.iter().filter(|byte| **byte > b' ').map(u8::to_ascii_lowercase));
        let is_there = [&b"javascript:"[..], b"vbscript:"].iter().any(|scheme| {
            memchr::memmem::find(&scratch.spare, scheme)
                .is_some_and(|at| checks::is_script_uri(&scratch.spare, at, at + scheme.len()))
        });
        if is_there {
            note(&rules::XSS_URI, 0, all);
        }
    }
    if signs.has_line {
        if lines::splits_header(decoded, place.part) {
            note(&rules::HEADER_SPLIT, 0, all);
        }
        if lines::splits_mail(decoded) {
            note(&rules::HEADER_MAIL, 0, all);
        }
    }
    if signs.has_null {
        let is_end = memchr::memchr_iter(0, decoded)
            .any(|at| decoded.get(at + 1).is_none_or(|byte| matches!(byte, b'.' | b'/' | b'&')));
        if is_end || place.part == Part::Path {
            note(&rules::PATH_NULL, 0, all);
        }
    }
    if signs.has_chain && !has_grammar {
        // Lines are gone from the normal form, and count here.
        let text = if signs.has_line {
            scratch.spare.clear();
            scratch.spare.extend(decoded.iter().map(u8::to_ascii_lowercase));
            &scratch.spare
        } else {
            normal
        };
        if let Some((start, end)) =
            command::openers(text).find(|(start, end)| command::is_command(text, *start, *end))
        {
            let is_substitution = matches!(text[start], b'$' | b'`' | b'<' | b'>');
            let rule = if is_substitution { &rules::COMMAND_SUBSTITUTION } else { &rules::COMMAND_CHAIN };
            note(rule, start, end + 16);
        }
    }
    if signs.has_space && place.part != Part::Path && !has_grammar && command::is_whole_command(normal) {
        note(&rules::COMMAND_SHELL, 0, all);
    }
    if signs.has_joker
        && signs.has_colon
        && let Some((start, end)) = glob::find(normal)
    {
        note(&rules::PATH_FILE, start, end);
    }
    if signs.has_bracket && checks::is_ldap(normal) {
        note(&rules::LDAP_FILTER, 0, all);
    }
    if signs.has_colon && matches!(place.part, Part::Query | Part::Body | Part::Cookie) {
        if let Some(rule) = ssrf::target(normal) {
            note(rule, 0, all);
        }
        if ssrf::mentions_metadata(normal) {
            note(&rules::SSRF_METADATA, 0, all);
        }
    }
}

/// Serialised objects by their first bytes, which no decoding may touch.
fn look_at_objects(raw: &[u8], decoded: &[u8], hits: &mut Vec<Hit>) {
    const MARKS: [(&[u8], &Rule); 11] = [
        (b"rO0AB", &rules::OBJECT_JAVA),
        (b"\xac\xed\x00\x05", &rules::OBJECT_JAVA),
        (b"H4sIAAAAAAAA", &rules::OBJECT_JAVA),
        (b"gASV", &rules::OBJECT_PYTHON),
        (b"gAN9", &rules::OBJECT_PYTHON),
        (b"gANj", &rules::OBJECT_PYTHON),
        (b"\x80\x04\x95", &rules::OBJECT_PYTHON),
        (b"AAEAAAD/////", &rules::OBJECT_DOTNET),
        (b"\x04\x08o:", &rules::OBJECT_OTHER),
        (b"BAhv", &rules::OBJECT_OTHER),
        (b"BAh7", &rules::OBJECT_OTHER),
    ];
    // The short marks of a few letters count for long values only: an id may begin like that.
    let long =
        |text: &[u8], mark: &[u8]| mark.len() > 4 || !mark[0].is_ascii_alphabetic() || text.len() >= 24;
    for (mark, rule) in MARKS {
        let is_there = [raw, decoded].iter().any(|text| text.starts_with(mark) && long(text, mark));
        if is_there && !hits.iter().any(|hit| hit.0 == rule) {
            hits.push((rule, 0, mark.len()));
        }
    }
}
