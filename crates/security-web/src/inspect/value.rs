//! One value: decoded, normalised, scanned, and what was found in it.

use std::cell::{Cell, OnceCell};

use super::{
    base64, calls, checks, command, decode, glob, lines, patterns,
    place::{Part, Place},
    prose, rules,
    rules::Rule,
    script,
    signs::{
        ANGLE, BRACKET, CHAIN, CODED, COLON, DASH, EQUALS, EXPRESSION, JOKER, LINE, NO_PROSE, NO_WORD, NULL,
        QUOTE, SPACE, SQL, Signs, TAB,
    },
    sql, sql_shape, ssrf, tokenised,
    tokenised::Sql,
    work::Work,
};

/// Buffers that are used again from value to value.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    decoded: Vec<u8>,
    spare: Vec<u8>,
    /// The normal form of the latest value that something was found in.
    pub(super) normal: Vec<u8>,
    /// What the request may still cost.
    pub(super) work: Work,
    /// Whether each rule counts wherever it hits, so that one of a kind is enough.
    counts_all: bool,
}

impl Scratch {
    pub(super) fn new(counts_all: bool) -> Self {
        Self { work: Work::new(), counts_all, ..Self::default() }
    }

    /// Holds a text for the evidence of what was found in it.
    pub(super) fn keep(&mut self, text: &[u8]) {
        self.normal.clear();
        self.normal.extend_from_slice(text);
    }
}

/// A rule and the piece of the normalised value that it is about.
pub(super) type Hit = (&'static Rule, usize, usize);

/// Looks at one value; hits go to `hits`, each rule once.
pub(super) fn look(raw: &[u8], place: &Place<'_>, paranoia: u8, scratch: &mut Scratch, hits: &mut Vec<Hit>) {
    let mut signs = Signs::of(raw);
    if !signs.has(NO_WORD) && raw.len() < base64::SHORTEST {
        return;
    }
    let Scratch { decoded, spare, normal, work, counts_all } = scratch;
    work.add(raw.len());
    let text = if signs.has(CODED) {
        let is_done;
        (signs, is_done) = decode::decode(raw, decoded, spare);
        if !is_done {
            hits.push((&rules::ENCODED_TOO_OFTEN, 0, 0));
        }
        decoded.as_slice()
    } else {
        raw
    };
    let mut buffers = Buffers { kept: normal, spare, work, counts_all: *counts_all };
    if signs.has(NO_WORD) {
        look_at_decoded(text, signs, place, paranoia, &mut buffers, hits);
    }
    if signs.has(COLON)
        && place.part != Part::Path
        && !hits.iter().any(|hit| hit.0 == &rules::PATH_TRAVERSAL)
        && decode::hides_steps(raw, text)
    {
        hits.push((&rules::PATH_TRAVERSAL, 0, 40));
        buffers.kept.clear();
        buffers.kept.extend_from_slice(text);
    }
    look_at_objects(raw, text, hits);
    if hits.is_empty() && base64::decode_text(text, buffers.spare) {
        let hidden = std::mem::take(buffers.spare);
        let (signs, _) = decode::decode(&hidden, decoded, buffers.spare);
        look_at_decoded(decoded, signs, place, paranoia, &mut buffers, hits);
    }
}

/// What of the scratch the look at a decoded text needs.
struct Buffers<'a> {
    kept: &'a mut Vec<u8>,
    spare: &'a mut Vec<u8>,
    work: &'a mut Work,
    counts_all: bool,
}

fn look_at_decoded(
    decoded: &[u8],
    signs: Signs,
    place: &Place<'_>,
    paranoia: u8,
    buffers: &mut Buffers<'_>,
    hits: &mut Vec<Hit>,
) {
    let Buffers { kept, spare, work, counts_all } = buffers;
    let is_normal = decode::is_normal(decoded, signs);
    if !is_normal {
        decode::normalise(decoded, kept);
    }
    let normal = if is_normal { decoded } else { kept.as_slice() };
    let has_grammar = place.has_header_grammar();
    // A tokeniser has nothing to add where its kind of attack was found and counts.
    let (has_sql, has_xss) = (Cell::new(false), Cell::new(false));
    // Asked only where something was found.
    let (is_text, is_long_text) = (OnceCell::new(), OnceCell::new());
    let (is_quoted, has_own) = (OnceCell::new(), OnceCell::new());
    let mut note = |rule: &'static Rule, start: usize, end: usize| {
        if !is_wanted(rule, place, has_grammar, paranoia, start) || hits.iter().any(|hit| hit.0 == rule) {
            return;
        }
        if leaves_by_statement(rule) && prose::is_program(decoded) {
            return;
        }
        // Programs compare and return as well.
        let is_program = match rule {
            _ if !signs.has(LINE) => false,
            rule if rule == &rules::SQL_TAUTOLOGY => *is_quoted.get_or_init(|| is_tautology_quoted(decoded)),
            rule if rule == &rules::NOSQL_SCRIPT => {
                *has_own.get_or_init(|| sql_shape::has_own_lines(decoded))
            }
            _ => false,
        };
        if is_program {
            return;
        }
        let is_told = match needs_expression(rule, signs, normal.get(start..).unwrap_or_default()) {
            0 => false,
            prose::WORDS_OF_SQL => *is_text.get_or_init(|| prose::is_text(decoded, prose::WORDS_OF_SQL)),
            n_words => *is_long_text.get_or_init(|| prose::is_text(decoded, n_words)),
        };
        if !is_told {
            let has = if rule.category == "xss" { &has_xss } else { &has_sql };
            has.set(
                has.get()
                    || *counts_all && matches!(rule.category, "xss" | "sql-injection") && rule.score >= 5,
            );
            hits.push((rule, start, end));
        }
    };
    patterns::scan(normal, signs, paranoia, work, &mut note);
    let all = normal.len();
    // Of a path, its last segment is what an application takes for a value.
    let (expression, its_signs) = match memchr::memrchr(b'/', decoded).filter(|_| place.part == Part::Path) {
        Some(slash) => (&decoded[slash + 1..], Signs::of(&decoded[slash + 1..])),
        None => (decoded, signs),
    };
    if !has_sql.get() && !has_grammar && may_be_sql(expression, its_signs, paranoia) {
        match tokenised::sql(expression, paranoia > 1, work) {
            Sql::Strong => note(&rules::SQL_TOKENS, 0, all),
            Sql::Weak => note(&rules::SQL_TOKENS_WEAK, 0, all),
            Sql::Innocent => {}
        }
    }
    let whole = match memchr::memrchr(b'/', normal).filter(|_| place.part == Part::Path) {
        Some(slash) => &normal[slash + 1..],
        None => normal,
    };
    if signs.has(EXPRESSION) && sql::begins_with_tautology(whole) {
        note(&rules::SQL_TAUTOLOGY, 0, all);
    }
    if signs.has(SPACE) && sql::is_probe_statement(whole) {
        note(&rules::SQL_SCHEMA, 0, all);
    }
    if signs.has(QUOTE) {
        if !has_grammar && sql::is_between_marks(whole) {
            note(&rules::SQL_TAUTOLOGY, 0, all);
        }
        if sql::has_comment_tail(normal) {
            note(&rules::SQL_COMMENT_TAIL, 0, all);
        }
        if signs.has(EQUALS | BRACKET | CHAIN) {
            note(&rules::SQL_QUOTE, 0, all);
        }
    }
    if signs.has(ANGLE | EQUALS) && !place.is_markup {
        if let Some((start, end)) = script::event(normal) {
            note(&rules::XSS_EVENT, start, end);
        }
        if !has_xss.get()
            && work.tokenise(decoded.len().min(tokenised::LONGEST))
            && tokenised::html(decoded, signs.has(ANGLE) || super::cursor::has(normal, b" on"))
        {
            note(&rules::XSS_TOKENS, 0, all);
        }
    }
    if signs.has(ANGLE) && paranoia > 1 {
        let begins_tag = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'/' | b'!' | b'?');
        let mut angles = memchr::memchr_iter(b'<', normal);
        if let Some(at) = angles.find(|at| normal.get(at + 1).is_some_and(begins_tag)) {
            note(&rules::XSS_ANY_TAG, at, at + 2);
        }
        note(&rules::XSS_BRACKETS, 0, all);
    }
    if signs.has(LINE | TAB) && signs.has(COLON) && script::has_split_uri(decoded) {
        note(&rules::XSS_URI, 0, all);
    }
    if signs.has(LINE) {
        if lines::splits_header(decoded, place.part) {
            note(&rules::HEADER_SPLIT, 0, all);
        }
        if lines::splits_mail(decoded) {
            note(&rules::HEADER_MAIL, 0, all);
        }
    }
    if signs.has(NULL) {
        let is_end = memchr::memchr_iter(0, decoded)
            .any(|at| decoded.get(at + 1).is_none_or(|byte| matches!(byte, b'.' | b'/' | b'&')));
        if is_end || place.part == Part::Path {
            note(&rules::PATH_NULL, 0, all);
        }
    }
    if signs.has(CHAIN) && !has_grammar {
        // Lines are gone from the normal form, and count here.
        let text = if signs.has(LINE) {
            spare.clear();
            spare.extend(decoded.iter().map(u8::to_ascii_lowercase));
            spare.as_slice()
        } else {
            normal
        };
        if let Some((start, end)) = command::openers(text)
            .take_while(|_| work.check())
            .find(|(start, end)| command::is_command(text, *start, *end))
        {
            let is_substitution = matches!(text[start], b'$' | b'`' | b'<' | b'>');
            let rule = if is_substitution { &rules::COMMAND_SUBSTITUTION } else { &rules::COMMAND_CHAIN };
            note(rule, start, end + 16);
        }
    }
    if signs.has(COLON)
        && !has_grammar
        && let Some(lines) = command::with_lines(normal)
        && command::openers(&lines)
            .take_while(|_| work.check())
            .any(|(start, end)| command::is_command(&lines, start, end))
    {
        note(&rules::COMMAND_CHAIN, 0, all);
    }
    if signs.has(BRACKET) && !has_grammar && calls::is_call(whole) {
        note(&rules::CODE_PHP, 0, all);
    }
    if signs.has(SPACE) && place.part != Part::Path && !has_grammar && command::is_whole_command(normal) {
        note(&rules::COMMAND_SHELL, 0, all);
    }
    if signs.has(JOKER)
        && signs.has(COLON)
        && let Some((start, end)) = glob::find(normal)
    {
        note(&rules::PATH_FILE, start, end);
    }
    if signs.has(BRACKET) && checks::is_ldap(normal) {
        note(&rules::LDAP_FILTER, 0, all);
    }
    if signs.has(COLON)
        && matches!(place.part, Part::Query | Part::Body | Part::Cookie)
        && let Some(rule) = ssrf::target(normal)
    {
        note(rule, 0, all);
    }
    if signs.has(COLON)
        && matches!(place.part, Part::Query | Part::Body | Part::Cookie)
        && !place.is_for_browser()
        && !place.is_for_search()
        && ssrf::is_remote_file(normal)
    {
        note(&rules::REMOTE_FILE, 0, all);
    }
    if is_normal && !hits.is_empty() {
        kept.clear();
        kept.extend_from_slice(decoded);
    }
}

/// Whether a comparison that was found stands between quotation marks that are a text's own, in each of its lines.
fn is_tautology_quoted(decoded: &[u8]) -> bool {
    let Some(outside) = sql_shape::outside_of_lines(decoded) else { return false };
    let mut normal = Vec::new();
    decode::normalise(&outside, &mut normal);
    let mut is_found = false;
    let mut work = Work::new();
    patterns::scan(&normal, Signs::of(&normal), 1, &mut work, |rule, _, _| {
        is_found |= rule == &rules::SQL_TAUTOLOGY;
    });
    !is_found
}

/// Whether a rule is about a statement behind something else, which a value that begins with a statement has no need of.
fn leaves_by_statement(rule: &Rule) -> bool {
    [&rules::SQL_UNION, &rules::SQL_STACKED, &rules::SQL_SUBSELECT].contains(&rule)
}

/// How many plain words at its beginning make a value one that a rule is not about, as it is about expressions, which no
/// language reads so; 0 for the other rules.
fn needs_expression(rule: &Rule, signs: Signs, found: &[u8]) -> usize {
    match rule.category {
        "sql-injection" | "xpath-injection" | "nosql-injection" => prose::WORDS_OF_SQL,
        "xss" if *rule == rules::XSS_SCRIPT_CODE && !signs.has(ANGLE) => prose::WORDS_OF_SQL,
        "code-injection" if *rule != rules::CODE_PROTOTYPE && !found.starts_with(b"<?") => 3,
        _ => 0,
    }
}

/// Whether a rule counts in this place.
fn is_wanted(rule: &'static Rule, place: &Place<'_>, has_grammar: bool, paranoia: u8, start: usize) -> bool {
    const IN_ANY_GRAMMAR: [&Rule; 5] = [
        &rules::SQL_UNION,
        &rules::SQL_FUNCTION,
        &rules::SQL_SCHEMA,
        &rules::SQL_FILE,
        &rules::SQL_SUBSELECT,
    ];
    let is_out = rule.paranoia > paranoia
        || has_grammar && matches!(rule.category, "sql-injection" | "nosql-injection") && !IN_ANY_GRAMMAR.contains(&rule)
        || place.is_markup && rule.category == "xss"
        // A route may be called like a directory of the system, and a referrer may name any host.
        || rule == &rules::PATH_DIRECTORY && matches!(place.part, Part::Path | Part::Header)
        || rule == &rules::SSRF_METADATA && place.part == Part::Header
        // `$in` alone is an operator as a key and a word as a value.
        || rule == &rules::NOSQL_OPERATOR && start == 0 && !place.is_name;
    !is_out
}

/// Whether the tokeniser is worth its time: without a sign that leaves a place, nothing it finds counts at level 1.
fn may_be_sql(decoded: &[u8], signs: Signs, paranoia: u8) -> bool {
    signs.has(SQL) && !is_prose(decoded, signs)
        || signs.has(DASH) && super::cursor::has(decoded, b"--")
        || paranoia > 1 && signs.has(SPACE | COLON | DASH)
}

/// A sentence: begins with a letter, and has no marks but apostrophes, brackets that no name calls, and semicolons.
fn is_prose(decoded: &[u8], signs: Signs) -> bool {
    let is_letter = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphabetic() || *byte >= 0x80);
    let prior = |at: usize| at.checked_sub(1).and_then(|at| decoded.get(at));
    let is_mark = |at: usize| decoded[at] == b'"' || !is_letter(prior(at)) || !is_letter(decoded.get(at + 1));
    let is_call = |at: usize| prior(at).is_some_and(|byte| *byte != b' ');
    if signs.has(NO_PROSE) || !is_letter(decoded.first()) {
        return false;
    }
    if signs.has(QUOTE) && memchr::memchr2_iter(b'\'', b'"', decoded).any(is_mark) {
        return false;
    }
    !signs.has(BRACKET) || !memchr::memchr_iter(b'(', decoded).any(is_call)
}

/// The first bytes of serialised objects.
const MARKS: [(&[u8], &Rule); 13] = [
    (b"rO0AB", &rules::OBJECT_JAVA),
    (b"aced0005", &rules::OBJECT_JAVA),
    (b"ACED0005", &rules::OBJECT_JAVA),
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

/// Whether a text of some length begins as a serialised object.
pub(super) fn begins_object(text: &[u8]) -> bool {
    MARKS.iter().any(|(mark, _)| text.starts_with(mark))
}

/// Serialised objects by their first bytes, which no decoding may touch.
fn look_at_objects(raw: &[u8], decoded: &[u8], hits: &mut Vec<Hit>) {
    let may_begin = |text: &[u8]| {
        matches!(text.first(), Some(b'r' | b'H' | b'g' | b'A' | b'B' | b'a' | 0xac | 0x80 | 0x04))
    };
    if !may_begin(raw) && !may_begin(decoded) {
        return;
    }
    // The short marks of a few letters count for long values only: an id may begin like that.
    let long =
        |text: &[u8], mark: &[u8]| mark.len() > 4 || !mark[0].is_ascii_alphabetic() || text.len() >= 24;
    for (mark, rule) in MARKS {
        let is_there = [raw, decoded]
            .iter()
            .any(|text| text.first() == mark.first() && text.starts_with(mark) && long(text, mark));
        if is_there && !hits.iter().any(|hit| hit.0 == rule) {
            hits.push((rule, 0, mark.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::walk::tests::GENERATORS, *};

    /// What a value of one unit repeated asks for, without a budget.
    fn spent(unit: &str, bytes: usize) -> usize {
        let value: Vec<u8> = unit.bytes().cycle().take(bytes).collect();
        let mut scratch = Scratch::new(false);
        scratch.work.add(usize::MAX / 2);
        look(&value, &Place::new(Part::Body, ""), 4, &mut scratch, &mut Vec::new());
        scratch.work.spent
    }

    #[test]
    fn checks_grow_with_the_bytes() {
        for unit in GENERATORS {
            let (short, long) = (spent(unit, 16 << 10), spent(unit, 128 << 10));
            assert!(long <= 8 * short + 400, "{unit:?}: {short} checks of 16 KiB, {long} of 128 KiB");
            assert!(long <= (128 << 10) * 8, "{unit:?}: {long} checks");
        }
    }
}
