//! What the SQL tokeniser suspects and is none: filters, whole statements, sentences, measures, wild cards.
//!
//! An injection has to leave the place it was put in: it closes a quotation mark, goes on from a number, or cuts off
//! what follows. Text that does none of this, and has no word that only SQL has, counts from level 2 on.

use super::cursor::{before, has, is_word};

/// How many words make a sentence.
const MOST_WORDS: usize = 8;

/// Whether a value is worth the tokeniser's time: it has what SQL is made of, and does not read as something that
/// people and programs send in good faith.
pub(super) fn is_suspicious(value: &[u8]) -> bool {
    if stays_in_lines(value) {
        return false;
    }
    let words = Words::of(value);
    let marks = Marks::of(value);
    if marks.any && marks.are_own() && memchr::memchr2(b'\'', b'"', value).is_some() {
        // What stands between a value's own marks stays there.
        let outside = without_quoted(value);
        let words = Words::of(&outside);
        let has_comment = has_pair(&outside, b'-', b'-') || has_pair(&outside, b'/', b'*');
        let names_sql = words.has_statement || words.has_only_sql || words.joins || words.has_concat;
        if !has_comment && (!names_sql || is_sentence(&outside, &words)) {
            return false;
        }
    }
    // Short values with a quotation mark and no call are what the tokeniser was made for: `'='`, `1'-'1`.
    let is_short = marks.any && value.len() < 32 && memchr::memchr(b'(', value).is_none();
    (is_short || names_sql(value, &words, &marks)) && !is_innocent(value, &words, &marks)
}

/// Whether a text has several lines, of which none leaves its place.
pub(super) fn stays_in_lines(value: &[u8]) -> bool {
    is_of_lines(value) && !value.split(|byte| *byte == b'\n').any(leaves_by)
}

/// Whether a text has several lines, each with as many marks that open as close.
pub(super) fn has_own_lines(value: &[u8]) -> bool {
    has_lines(value) && value.split(|byte| *byte == b'\n').all(|line| Marks::of(line).is_balanced())
}

/// What stands outside of the quotation marks in a text of several lines, if the marks of each line are its own.
pub(super) fn outside_of_lines(value: &[u8]) -> Option<Vec<u8>> {
    let mut outside = Vec::new();
    if !has_lines(value) {
        return None;
    }
    for line in value.split(|byte| *byte == b'\n') {
        if !Marks::of(line).are_own() {
            return None;
        }
        outside.extend(without_quoted(line));
        outside.push(b'\n');
    }
    Some(outside)
}

fn has_lines(value: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', value).nth(1).is_some()
}

/// A text of several lines, as programs and letters are: what one reads of its beginning says little of it.
fn is_of_lines(value: &[u8]) -> bool {
    const SHORTEST: usize = 100;
    value.len() >= SHORTEST && memchr::memchr_iter(b'\n', value).nth(2).is_some()
}

/// Whether a line has a mark that is not its own and goes on behind it, goes on from a number, or has words that only
/// SQL has: one of its lines is where an injection in a text leaves its place.
fn leaves_by(line: &[u8]) -> bool {
    let goes_on = |rest: &[u8]| {
        let start = rest.iter().position(|byte| !b" \t)(".contains(byte)).unwrap_or(rest.len());
        let rest = &rest[start..];
        joins(rest)
            || matches!(rest, [b'|', b'|', ..] | [b'&', b'&', ..] | [b'/', b'*', ..])
            || matches!(rest.split_first(), Some((b'=', [b'\'' | b'"' | b'0'..=b'9', ..])))
    };
    let from_number = || {
        let text = line.trim_ascii_start();
        let digits = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
        digits > 0 && goes_on(&text[digits..])
    };
    Words::of(line).has_only_sql
        || from_number()
        || memchr::memchr2_iter(b'\'', b'"', line).any(|at| goes_on(&line[at + 1..]))
            && !Marks::of(line).are_own()
}

/// A value whose quotations are gone, with their marks, and with them the names of members.
fn without_quoted(value: &[u8]) -> Vec<u8> {
    let mut outside = Vec::with_capacity(value.len());
    let mut open = None;
    let mut is_member = false;
    for (at, byte) in value.iter().enumerate() {
        // The name of a member is no word of SQL: `$statement->execute(`.
        is_member = is_word(*byte) && (is_member || at > 1 && value[at - 2..at] == *b"->");
        let is_apostrophe = *byte == b'\''
            && at.checked_sub(1).is_some_and(|prior| is_letter(value[prior]))
            && value.get(at + 1).is_some_and(|next| is_letter(*next));
        match open {
            Some(mark) if mark == *byte && !is_apostrophe => open = None,
            Some(_) => {}
            None if matches!(byte, b'\'' | b'"') && !is_apostrophe => {
                open = Some(*byte);
                outside.push(b' ');
            }
            None => outside.push(if is_member { b'_' } else { *byte }),
        }
    }
    outside
}

fn is_innocent(value: &[u8], words: &Words, marks: &Marks) -> bool {
    let is_balanced = marks.is_balanced();
    let has_comment =
        has_dashes(value) || has_pair(value, b'/', b'*') || memchr::memchr(b'#', value).is_some();
    // `1--3 Rue de l'Église`: apostrophes alone, and no word that goes on behind one.
    let is_plain = marks.quotes == 0 && marks.are_own() && !names_sql(value, words, marks);
    is_plain && !has_comment
        || (marks.quotes == 0 || marks.are_of_prose) && !has_comment && is_sentence(value, words)
        || is_logic(value, words, marks)
        || is_balanced
            && (is_filter(value, words) && !has_pair(value, b'-', b'-')
                || !has_comment && is_statement(value))
        || !has_comment && is_closed(value, words, marks)
        || is_measure(value, words, marks)
        || is_wild_card(value, marks)
        || value.len() > 8 && !value.iter().any(u8::is_ascii_alphanumeric)
}

/// Whether a value has a word of SQL or the signs of a comment or an operator; code and sentences have one of them. In
/// a text of many words, one of those that sentences are made of does not count.
fn names_sql(value: &[u8], words: &Words, marks: &Marks) -> bool {
    let is_text = || !marks.any && memchr::memchr(b'=', value).is_none() && words.count > MOST_WORDS;
    words.has_statement
        || words.has_concat
        || words.joins && !is_text()
        || memchr::memchr(b'#', value).is_some()
        || has_pair(value, b'/', b'*')
        || has_dashes(value)
        || [b'|', b'&', b'@'].into_iter().any(|sign| has_pair(value, sign, sign))
}

/// Two dashes that are none between numbers, as ranges have them.
fn has_dashes(value: &[u8]) -> bool {
    let is_digit = |at: Option<usize>| at.and_then(|at| value.get(at)).is_some_and(u8::is_ascii_digit);
    memchr::memchr_iter(b'-', value).any(|at| {
        value.get(at + 1) == Some(&b'-') && !(is_digit(at.checked_sub(1)) && is_digit(Some(at + 2)))
    })
}

fn has_pair(value: &[u8], first: u8, second: u8) -> bool {
    memchr::memchr_iter(first, value).any(|at| value.get(at + 1) == Some(&second))
}

/// The words of a value, told in one pass.
#[derive(Debug, Default)]
struct Words {
    count: usize,
    /// Words that statements and calls begin with.
    has_statement: bool,
    /// Words that no filter and no sentence has.
    has_only_sql: bool,
    /// `select`, which sentences have as well.
    has_select: bool,
    /// `concat`, which other languages call too.
    has_concat: bool,
    /// Words that join parts of expressions, and of sentences.
    joins: bool,
}

impl Words {
    fn of(value: &[u8]) -> Self {
        let mut found = Self::default();
        for word in words(value) {
            found.count += 1;
            if !(2..=9).contains(&word.len()) {
                continue;
            }
            let mut lower = [0; 9];
            let lower = &mut lower[..word.len()];
            lower.copy_from_slice(word);
            lower.make_ascii_lowercase();
            match &*lower {
                b"select" => (found.has_select, found.has_statement) = (true, true),
                b"union" | b"having" | b"exec" | b"execute" | b"waitfor" | b"benchmark" => {
                    (found.has_only_sql, found.has_statement) = (true, true);
                }
                b"concat" => found.has_concat = true,
                b"sysdate" | b"dual" | b"rlike" | b"procedure" => found.has_only_sql = true,
                b"sleep" | b"database" | b"version" | b"insert" => found.has_statement = true,
                b"or" | b"and" | b"xor" | b"like" | b"between" | b"update" | b"delete" | b"drop"
                | b"order" | b"group" | b"null" | b"case" | b"user" => found.joins = true,
                _ => {}
            }
        }
        found
    }
}

/// Quotation marks without apostrophes, which stand between letters.
#[derive(Debug, Default)]
pub(super) struct Marks {
    singles: usize,
    doubles: usize,
    /// Those behind a digit: feet and inches.
    behind_digit: usize,
    quotes: usize,
    /// Whether there is a mark at all.
    any: bool,
    /// Whether each opens behind a space and closes in front of one, by turns.
    are_of_prose: bool,
    /// The same, where signs of code may stand around them as well.
    are_paired: bool,
}

impl Marks {
    pub(super) fn of(value: &[u8]) -> Self {
        let mut marks = Self { are_of_prose: true, are_paired: true, ..Self::default() };
        let mut open = None;
        for at in memchr::memchr2_iter(b'\'', b'"', value) {
            marks.any = true;
            let prior = at.checked_sub(1).and_then(|at| value.get(at)).copied().unwrap_or(b' ');
            let next = value.get(at + 1).copied().unwrap_or(b' ');
            if value[at] == b'\'' && is_letter(prior) && is_letter(next) {
                marks.are_paired &= !joins(&value[at + 1..]);
                continue;
            }
            match open {
                None => {
                    open = Some(value[at]);
                    marks.are_paired &= b" (\n=,[{:;`".contains(&prior)
                        && (!b" \n=)".contains(&next) || is_sign_of_data(value, at))
                        // At the very beginning it may as well close what stood in front.
                        && (at > 0 || is_word(next))
                        && !goes_on_inside(value, at);
                }
                Some(mark) if mark == value[at] => {
                    open = None;
                    marks.are_paired &= b" \n.,;:?!)]}`".contains(&next);
                }
                Some(_) => {}
            }
            let count = if value[at] == b'\'' { &mut marks.singles } else { &mut marks.doubles };
            *count += 1;
            let is_opening = marks.quotes.is_multiple_of(2);
            let (outside, inside) = if is_opening { (prior, next) } else { (next, prior) };
            marks.are_of_prose &= b" (\n.,;:?!)".contains(&outside) && !b" \n'\"".contains(&inside);
            marks.quotes += 1;
            marks.behind_digit += usize::from(prior.is_ascii_digit());
        }
        marks.are_paired &= open.is_none();
        marks
    }

    /// Whether every mark is one of a pair that opens and closes where texts and code have them: none of them can be
    /// closing what stood in front of the value.
    pub(super) fn are_own(&self) -> bool {
        self.are_paired
    }

    fn is_balanced(&self) -> bool {
        self.singles.is_multiple_of(2) && self.doubles.is_multiple_of(2)
    }
}

/// `plus: '=',`: a single sign between marks, where programs have a value.
fn is_sign_of_data(value: &[u8], mark: usize) -> bool {
    value.get(mark + 2) == Some(&value[mark])
        && value.get(mark + 3).is_some_and(|byte| b",]})\n".contains(byte))
        && before(value, mark).is_some_and(|byte| b":,([=".contains(&byte))
}

/// Whether what stands behind a mark reads as the rest of an expression that the mark has closed: `'or 1=1 or'`. A mark
/// around nothing but the word quotes it.
fn goes_on_inside(value: &[u8], mark: usize) -> bool {
    let rest = &value[mark + 1..];
    let behind = match rest {
        [b'|', b'|', behind @ ..] | [b'&', b'&', behind @ ..] | [b'=', behind @ ..] => behind,
        _ if joins(rest) => &rest[rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len())..],
        _ => return false,
    };
    behind.first().is_some_and(|next| *next != value[mark] && *next != b'=')
}

/// Whether a text begins with a word that goes on with an expression.
fn joins(text: &[u8]) -> bool {
    let word = words(text).next().unwrap_or_default();
    [&b"or"[..], b"and", b"union", b"xor", b"like", b"having", b"in", b"is"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(word))
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte >= 0x80
}

fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| !is_word(*byte)).filter(|word| !word.is_empty())
}

fn names(value: &[u8], known: &[&[u8]]) -> bool {
    words(value).any(|word| {
        let first = word[0].to_ascii_lowercase();
        known.iter().any(|known| known[0] == first && known.eq_ignore_ascii_case(word))
    })
}

/// `(cats or dogs) and not birds`, `a && !b`: names and brackets alone.
fn is_logic(value: &[u8], found: &Words, marks: &Marks) -> bool {
    let is_plain = |byte: &u8| is_letter(*byte) || b" ()_!|&^-+.,:\t\r\n".contains(byte);
    let calls = value.windows(2).any(|pair| pair[1] == b'(' && is_word(pair[0]));
    marks.quotes == 0
        && !calls
        && value.iter().all(is_plain)
        && !has_pair(value, b'-', b'-')
        && !found.has_only_sql
        && !found.has_select
}

/// `(1,2) or (3,4)`, `concat(a, b)`: begins with a bracket or a call, and closes all that it opened.
fn is_closed(value: &[u8], found: &Words, marks: &Marks) -> bool {
    let name = value.iter().position(|byte| !is_word(*byte)).unwrap_or(value.len());
    let mut depth = 0usize;
    let mut is_ordered = true;
    for byte in value {
        match byte {
            b'(' => depth += 1,
            b')' => (is_ordered, depth) = (is_ordered && depth > 0, depth.saturating_sub(1)),
            _ => {}
        }
    }
    marks.quotes == 0
        && value.get(name) == Some(&b'(')
        && is_ordered
        && depth == 0
        && !(found.has_only_sql || found.has_select || found.has_statement)
        && !(found.has_concat && (found.joins || memchr::memchr_iter(b'(', value).count() > 1))
        && !has(value, b"@@")
        && !has(value, b"0x")
}

/// `price > 5 and name like 'a%'`: begins with a name that is compared.
fn is_filter(value: &[u8], found: &Words) -> bool {
    let start = value.iter().position(|byte| !b" (!\t\r\n".contains(byte)).unwrap_or(value.len());
    let mut rest = &value[start..];
    if rest.get(..2).is_some_and(|word| word.eq_ignore_ascii_case(b"if"))
        && !rest.get(2).is_some_and(|byte| is_word(*byte))
    {
        rest = &rest[2..];
        rest = &rest[rest.iter().position(|byte| !b" (!".contains(byte)).unwrap_or(rest.len())..];
    }
    let length = rest.iter().position(|byte| !is_word(*byte) && *byte != b'.').unwrap_or(rest.len());
    let (name, rest) = rest.split_at(length);
    let rest = rest.trim_ascii_start();
    const JOINS: [&[u8]; 7] = [b"or", b"and", b"xor", b"not", b"having", b"where", b"limit"];
    const COMPARISONS: [&[u8]; 5] = [b"in ", b"in(", b"like ", b"between ", b"is "];
    // `5 < 6 or "more"`: what follows a number that an injection goes on from is no comparison.
    let is_compared_number = name.iter().all(u8::is_ascii_digit)
        && matches!(rest.first(), Some(b'<' | b'>'))
        && rest.get(1) == Some(&b' ');
    name.first().is_some_and(|byte| is_letter(*byte) || is_compared_number)
        && !JOINS.iter().any(|word| word.eq_ignore_ascii_case(name))
        && (matches!(rest.first(), Some(b'=' | b'<' | b'>' | b'!' | b'~' | b':'))
            || COMPARISONS
                .iter()
                .any(|word| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))))
        && !found.has_only_sql
        && !found.has_select
}

/// A statement from its first word on: somebody writes about SQL, or a program says what it asked for.
fn is_statement(value: &[u8]) -> bool {
    const FIRST: [&[u8]; 7] = [b"select", b"insert", b"update", b"delete", b"create", b"with", b"alter"];
    let first = words(value).next().unwrap_or_default();
    value.first().is_some_and(u8::is_ascii_alphabetic)
        && FIRST.iter().any(|word| word.eq_ignore_ascii_case(first))
        && !has(value, b"@@")
        && !names(
            value,
            &[b"union", b"sleep", b"benchmark", b"pg_sleep", b"exec", b"waitfor", b"version", b"database"],
        )
}

/// `5' 10" x 6' 2"`: every mark behind a digit, and nothing that an expression is made of.
fn is_measure(value: &[u8], found: &Words, marks: &Marks) -> bool {
    marks.quotes > 1
        && marks.quotes == marks.behind_digit
        && !value.iter().any(|byte| b"=(;<>|&".contains(byte))
        && !found.joins
        && !found.has_statement
        && !found.has_only_sql
}

/// `src/**/*.ts`: a path of names with stars.
fn is_wild_card(value: &[u8], marks: &Marks) -> bool {
    marks.quotes == 0
        && value.first().is_some_and(|byte| is_letter(*byte) || matches!(byte, b'.' | b'*' | b'/'))
        && value.iter().all(|byte| is_word(*byte) || b"./*-{},".contains(byte))
        && memchr::memmem::find_iter(value, b"/**/").count() < 2
}

fn is_sentence(value: &[u8], found: &Words) -> bool {
    found.count > MOST_WORDS
        && !found.has_only_sql
        && memchr::memchr(b'=', value).is_none()
        && !(found.has_select && (has(value, b"(select") || has(value, b"(SELECT")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_shapes_apart() {
        for innocent in [
            "(cats OR dogs) AND NOT birds",
            "price > 100 && (country == 'DE' || country == 'FR')",
            "status in (\"To Do\", Done) ORDER BY created",
            "SELECT id FROM orders WHERE id = $1",
            "room 5' x 6' --",
            "src/**/*.ts",
            "';--\"/*#%&|<>",
            "key = \"value\" # comment",
            "It's a long search for \"select shoes\" from the list (size 10 or 11)",
        ] {
            assert!(!is_suspicious(innocent.as_bytes()), "{innocent}");
        }
        for hostile in [
            "1' or 1=1",
            "x' and 'a'='a",
            "1 union select 2",
            "'or'1",
            "a'--",
            "1/**/or/**/1",
            "name = 'x' union select 1",
            "select sleep(5)",
            "'=''or'",
            "1 and sleep(5)",
            "or a=a",
        ] {
            assert!(is_suspicious(hostile.as_bytes()), "{hostile}");
        }
    }
}
