//! Exact checks for SQL that the automaton's hits lead to.

use super::{
    cursor::{Cursor, WINDOW, before, has, is_word},
    prose::goes_on,
};

/// `union`, then `select`, with `all`, `distinct` and brackets between.
pub(super) fn is_union_select(text: &[u8], start: usize, end: usize) -> bool {
    let mut cursor = Cursor::new(text, end);
    let is_gap = |byte: u8| matches!(byte, b' ' | b'(' | b'+' | b'\'' | b'"');
    let mut gap = cursor.skip(is_gap);
    // A comment up to the line's end stands for a space as well.
    if gap > 0 && (cursor.eat(b"--") || cursor.eat(b"#")) && has(cursor.rest(), b" select") {
        return true;
    }
    for word in [&b"all"[..], b"distinct", b"distinctrow"] {
        if cursor.eat(word) {
            gap += cursor.skip(is_gap);
            if (cursor.eat(b"--") || cursor.eat(b"#")) && has(cursor.rest(), b" select") {
                return true;
            }
        }
    }
    if gap > 0 && (cursor.eat(b"values row(") || cursor.eat(b"table ") && before(text, start) == Some(b'\''))
    {
        return true;
    }
    if gap == 0 || !cursor.eat(b"select") {
        return false;
    }
    // "the union select committee" is a sentence.
    cursor.space();
    let rest = cursor.rest();
    let is_column = |byte: &u8| {
        matches!(byte, b'0'..=b'9' | b'\'' | b'"' | b'@' | b'*' | b'(' | b'-' | b'~' | b'+' | b'`')
    };
    let goes_on = || {
        before(text, start)
            .is_some_and(|byte| matches!(byte, b'0'..=b'9' | b'\'' | b'"' | b')' | b'-' | b';'))
    };
    rest.first().map_or_else(goes_on, is_column)
        || [&b","[..], b"null", b" from ", b"--", b"#", b"("].iter().any(|sign| has(rest, sign))
}

/// `or`, `and`, …: then a comparison of literals, or of anything after a quotation mark.
pub(super) fn is_tautology(text: &[u8], start: usize, end: usize) -> bool {
    let mut cursor = Cursor::new(text, end);
    let word = &text[start..end];
    if word[0].is_ascii_alphabetic() && cursor.peek().is_some_and(is_word) {
        return false;
    }
    let prior = before(text, start);
    // Only a mark without a partner closes what somebody else opened: `use 'a' or 'b'` is a sentence.
    let recent = &text[start.saturating_sub(WINDOW)..start];
    let after_quote =
        prior.is_some_and(|mark| matches!(mark, b'\'' | b'"' | b'`') && count_of(mark, recent) % 2 == 1);
    cursor.skip(|byte| matches!(byte, b' ' | b'(' | b'!' | b'~' | b'+' | b'-'));
    if cursor.eat(b"not ") {
        cursor.skip(|byte| matches!(byte, b' ' | b'('));
    }
    let Some(left) = operand(&mut cursor) else { return false };
    cursor.skip(|byte| matches!(byte, b' ' | b')'));
    let comparison = comparison(&mut cursor);
    if comparison.is_empty() {
        // `' or 1 --`, `" or true#`: nothing to compare, and the rest is cut off.
        let is_cut =
            cursor.eat(b"--") || cursor.eat(b"#") || cursor.eat(b";") || cursor.is_end() && after_quote;
        return after_quote && is_cut && left != Operand::Name;
    }
    cursor.skip(|byte| matches!(byte, b' ' | b'(' | b'-' | b'+'));
    let at = cursor.at;
    let Some(right) = operand(&mut cursor) else { return after_quote && left != Operand::Name };
    let is_cut_short = matches!(comparison, b"=" | b"<" | b">" | b"==");
    if !goes_on(cursor.rest()) {
        return false;
    }
    match (left, right) {
        (Operand::Number | Operand::Text, Operand::Number | Operand::Text) => {
            after_quote || !is_prose(recent)
        }
        (Operand::Name, Operand::Text) => after_quote,
        (Operand::Name, Operand::Number) => after_quote,
        // `' or a=a--`
        (Operand::Name, Operand::Name) => after_quote && is_cut_short && !text[at..].is_empty(),
        (_, Operand::Name) => after_quote,
    }
}

/// A value that begins with the joining word: what was in front of it is the application's own.
pub(super) fn begins_with_tautology(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    [&b"or "[..], b"and ", b"or(", b"xor "].iter().any(|word| {
        text.starts_with(word) && {
            let end = word.len() - 1;
            let mut cursor = Cursor::new(text, end);
            cursor.skip_few(|byte| matches!(byte, b' ' | b'('));
            let from = cursor.at;
            let left = operand(&mut cursor);
            let name = &text[from..cursor.at];
            cursor.skip_few(|byte| matches!(byte, b' ' | b')'));
            let compares = !comparison(&mut cursor).is_empty();
            cursor.skip_few(|byte| matches!(byte, b' ' | b'('));
            let from = cursor.at;
            let right = operand(&mut cursor);
            let is_same = name == &text[from..cursor.at] && cursor.is_end();
            let is_cut = has(cursor.rest(), b"--") || cursor.peek() == Some(b'#');
            let is_literal = |side: Option<Operand>| matches!(side, Some(Operand::Number | Operand::Text));
            compares
                && (is_literal(left) && is_literal(right)
                    || left.is_some() && right.is_some() && (is_cut || is_same))
        }
    })
}

/// A value that is an expression between marks of the application: `' || f(1) || '`, `' or '' '`.
pub(super) fn is_between_marks(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let Some((mark @ (b'\'' | b'"'), rest)) = text.split_first() else { return false };
    let Some((last, inside)) = rest.split_last() else { return false };
    if last != mark {
        return false;
    }
    let inside = inside.trim_ascii();
    let is_joined = inside.starts_with(b"||") && inside.ends_with(b"||") && inside.len() > 4;
    let is_empty = [&b"or"[..], b"and", b"||", b"xor"]
        .iter()
        .any(|word| inside.strip_prefix(*word).is_some_and(|text| text.trim_ascii() == [*mark, *mark]));
    is_joined || is_empty
}

/// A query that asks for what only the database knows: `select @@version`, `select current_user;`.
pub(super) fn is_probe_statement(text: &[u8]) -> bool {
    const NAMES: [&[u8]; 4] = [b"current_user", b"session_user", b"system_user", b"current_role"];
    const CALLS: [&[u8]; 8] = [
        b"current_setting(",
        b"current_database(",
        b"current_schema(",
        b"version()",
        b"user()",
        b"database()",
        b"schema()",
        b"sqlite_version(",
    ];
    let Some(rest) = text.trim_ascii_start().strip_prefix(b"select ") else { return false };
    let is_end = |rest: &[u8]| {
        let rest = rest.trim_ascii();
        rest.first().is_none_or(|byte| b";,-#".contains(byte)) || rest.starts_with(b"from ")
    };
    rest.strip_prefix(b"@@").is_some_and(|name| name.first().is_some_and(u8::is_ascii_alphabetic))
        || NAMES.iter().any(|name| rest.strip_prefix(*name).is_some_and(is_end))
        || CALLS.iter().any(|call| rest.starts_with(call))
            && rest.iter().rposition(|byte| *byte == b')').is_some_and(|at| is_end(&rest[at + 1..]))
}

/// How often a mark stands in a text other than as an apostrophe between letters.
fn count_of(mark: u8, text: &[u8]) -> usize {
    let is_letter = |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(u8::is_ascii_alphabetic);
    memchr::memchr_iter(mark, text)
        .filter(|at| mark != b'\'' || !is_letter(at.checked_sub(1)) || !is_letter(Some(at + 1)))
        .count()
}

/// Two words and no sign of SQL: what comes next is the end of a sentence, not of an expression.
fn is_prose(text: &[u8]) -> bool {
    let is_word_of_text = |word: &&[u8]| word.len() > 1 && word.iter().all(u8::is_ascii_alphabetic);
    count_of(b'\'', text) == 0
        && !text.iter().any(|byte| b"\"(".contains(byte))
        && !text.windows(2).any(|pair| pair[1] == b'=' && pair[0] != b' ')
        && text.split(|byte| b" ,;:/.'".contains(byte)).filter(is_word_of_text).nth(1).is_some()
        && !has(text, b"select ")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operand {
    Number,
    Text,
    Name,
}

fn operand(cursor: &mut Cursor<'_>) -> Option<Operand> {
    match cursor.peek()? {
        b'0'..=b'9' => {
            cursor.skip(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
            Some(Operand::Number)
        }
        quote @ (b'\'' | b'"') => {
            cursor.at += 1;
            cursor.skip(|byte| byte != quote);
            cursor.at = (cursor.at + 1).min(cursor.text.len());
            Some(Operand::Text)
        }
        b'@' => {
            cursor.skip(|byte| byte == b'@' || is_word(byte));
            Some(Operand::Text)
        }
        byte if is_word(byte) => {
            let word = cursor.word();
            if cursor.peek() == Some(b'(') {
                cursor.skip(|byte| byte != b')');
                cursor.skip(|byte| byte == b')');
            }
            Some(if matches!(word, b"true" | b"false" | b"null") { Operand::Number } else { Operand::Name })
        }
        _ => None,
    }
}

fn comparison<'a>(cursor: &mut Cursor<'a>) -> &'a [u8] {
    const SIGNS: [&[u8]; 18] = [
        b"<=>",
        b"<>",
        b"!=",
        b"<=",
        b">=",
        b"==",
        b"=",
        b"<",
        b">",
        b"not like ",
        b"like ",
        b"like'",
        b"between ",
        b"is null",
        b"is not ",
        b"in (",
        b"in(",
        b"rlike ",
    ];
    let start = cursor.at;
    if !cursor.peek().is_some_and(|byte| b"<!=>nlbir".contains(&byte)) {
        return b"";
    }
    for sign in SIGNS {
        if cursor.eat(sign) {
            if sign == b"like'" || sign == b"is null" {
                cursor.at = start + 4;
            }
            return &cursor.text[start..cursor.at];
        }
    }
    b""
}

/// After a semicolon: the beginning of a statement of its own.
pub(super) fn is_stacked(text: &[u8], _start: usize, end: usize) -> bool {
    let mut cursor = Cursor::new(text, end);
    cursor.skip_few(|byte| matches!(byte, b' ' | b';'));
    let word = cursor.word();
    if word.len() < 3 {
        return false;
    }
    let gap = cursor.space();
    let rest = cursor.rest();
    let starts = |words: &[&[u8]]| words.iter().any(|word| rest.starts_with(word));
    match word {
        b"drop" | b"create" | b"alter" => starts(&[
            b"table ",
            b"database ",
            b"user ",
            b"view ",
            b"index ",
            b"procedure ",
            b"function ",
            b"schema ",
            b"trigger ",
            b"login ",
            b"or replace ",
            b"extension ",
            b"temp",
            b"table\t",
            b"table;",
            b"role ",
        ]),
        b"insert" => starts(&[b"into "]),
        b"delete" => {
            starts(&[b"from "])
                && (has(rest, b"where")
                    || has(rest, b"--")
                    || has(rest, b";")
                    || has(rest, b"'")
                    || rest.len() < 30)
        }
        b"update" => has(rest, b" set ") && has(rest, b"="),
        b"truncate" => starts(&[b"table "]),
        b"waitfor" => starts(&[b"delay", b"time"]),
        b"exec" | b"execute" => starts(&[b"xp_", b"sp_", b"master", b"(", b"immediate", b"@", b"('"]),
        b"declare" => starts(&[b"@"]),
        b"shutdown" => rest.is_empty() || starts(&[b"--", b"with nowait", b";"]),
        b"select" => {
            gap < 2
                && starts(&[
                    b"*",
                    b"@",
                    b"(",
                    b"'",
                    b"0",
                    b"1",
                    b"2",
                    b"pg_",
                    b"sleep",
                    b"benchmark",
                    b"load_",
                    b"case ",
                    b"count(",
                    b"version",
                    b"dbms_",
                    b"utl_",
                ])
        }
        b"copy" => has(rest, b" from ") && has(rest, b"program") || has(rest, b" to '"),
        b"grant" => has(rest, b" to ") && has(rest, b" on "),
        b"load" => starts(&[b"data infile", b"data local"]),
        b"attach" => starts(&[b"database "]),
        b"set" => starts(&[b"@"]),
        b"begin" => starts(&[b"declare ", b"execute ", b"dbms_"]),
        b"call" if gap > 0 => rest
            .iter()
            .position(|byte| !is_word(*byte) && *byte != b'.')
            .is_some_and(|at| at > 0 && rest[at] == b'('),
        _ => false,
    }
}

/// A function call that delays or tells errors, where an expression stands.
pub(super) fn is_call(text: &[u8], start: usize, end: usize) -> bool {
    // `time.sleep(1)` is Python; `sleep(1)` alone, or after a sign or a word of SQL, is not a sentence.
    let prior = text[..start].last().copied();
    let is_argument =
        text.get(end).is_some_and(|byte| matches!(byte, b'0'..=b'9' | b'(' | b'\'' | b'@' | b'"' | b' '));
    // `ascii(lower(…`: calls within calls.
    let mut inner = Cursor::new(text, end);
    let is_argument = is_argument || !inner.word().is_empty() && inner.peek() == Some(b'(');
    // "sleep (8 hours) is good"
    if text[start..end].ends_with(b" (") {
        let mut cursor = Cursor::new(text, end);
        cursor.skip(|byte| byte.is_ascii_digit() || byte == b' ');
        if cursor.peek().is_some_and(|byte| byte.is_ascii_alphabetic()) {
            return false;
        }
    }
    // "char(65) is the letter A": what begins a value and is a call has to go on as an expression.
    let rest = Cursor::new(text, end).rest();
    if start == 0 && memchr::memchr(b')', rest).is_some_and(|close| !goes_on(&rest[close + 1..])) {
        return false;
    }
    let line = &text[start.saturating_sub(8)..start];
    let words: [&[u8]; 9] =
        [b"or ", b"and ", b"select ", b"if ", b"then ", b"where ", b"having ", b"by ", b"rlike "];
    is_argument
        && (prior.is_none()
            || prior.is_some_and(|byte| {
                matches!(
                    byte,
                    b'(' | b',' | b'=' | b'+' | b'-' | b'*' | b'/' | b'|' | b'&' | b'\'' | b'"' | b';' | b'^'
                )
            })
            || words.iter().any(|word| line.ends_with(word))
            || matches!(before(text, start), Some(b';' | b'\'' | b'"' | b'|' | b'&' | b'=' | b'+')))
}

/// `waitfor delay` with the time to wait.
pub(super) fn is_delay(text: &[u8], start: usize, end: usize) -> bool {
    let mut cursor = Cursor::new(text, end);
    cursor.skip(|byte| matches!(byte, b' ' | b'(' | b'+'));
    start.checked_sub(1).is_none_or(|at| !is_word(text[at]))
        && cursor.peek().is_some_and(|byte| matches!(byte, b'\'' | b'"' | b'@' | b'0'..=b'9'))
}

/// `(select` as the beginning of a query rather than of a remark in brackets.
pub(super) fn is_subselect(text: &[u8], _start: usize, end: usize) -> bool {
    let mut cursor = Cursor::new(text, end);
    let gap = cursor.skip(|byte| matches!(byte, b' ' | b'+'));
    let rest = cursor.rest();
    let first = rest.first().copied().unwrap_or(b'a');
    let is_sign = matches!(first, b'(' | b'*' | b'@' | b'\'' | b'"' | b'`' | b'0'..=b'9');
    let word = rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len());
    let is_query = rest.get(word..).is_some_and(|more| {
        more.starts_with(b"(")
            || more.starts_with(b",")
            || more.starts_with(b" from ") && !has(more, b" from the ")
    });
    (gap > 0 || is_sign) && (is_sign && rest.len() > 1 || is_query && word > 0)
}

/// A quotation mark, and what follows is cut off: `admin'--`, `x') #`, `1"/*`.
pub(super) fn has_comment_tail(text: &[u8]) -> bool {
    let trimmed = text.trim_ascii_end();
    // `--+`, `-- x`: something short so that the space stays.
    let is_short = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(**byte, b'+' | b' ');
    let short = trimmed.iter().rev().take(8).take_while(is_short).count();
    let cut = trimmed[..trimmed.len() - short].trim_ascii_end();
    let ends = [&b"-- -"[..], b"--;", b"--", b"#", b"/*", b";%00"];
    let Some(head) =
        [trimmed, cut].iter().find_map(|text| ends.iter().find_map(|tail| text.strip_suffix(*tail)))
    else {
        return false;
    };
    let head = head.trim_ascii_end();
    let open = head.iter().rev().take_while(|byte| matches!(byte, b')' | b' ' | b';')).count();
    let head = &head[..head.len() - open];
    let Some((quote @ (b'\'' | b'"'), name)) = head.split_last() else { return false };
    name.len() <= 64 && !name.contains(quote)
}

/// `order by 7`, `group by 2` behind a quotation mark, a bracket or a number, with the rest cut off or absent.
pub(super) fn is_order_probe(text: &[u8], start: usize, end: usize) -> bool {
    let mut cursor = Cursor::new(text, end);
    cursor.space();
    let is_number = cursor.skip(|byte| byte.is_ascii_digit()) > 0;
    cursor.skip(|byte| matches!(byte, b' ' | b',' | b'0'..=b'9'));
    let is_cut =
        cursor.is_end() || cursor.eat(b"--") || cursor.eat(b"#") || cursor.eat(b";") || cursor.eat(b"/*");
    // At a value's beginning, what it goes on from is the application's; there the rest has to be cut off.
    let cuts_off = matches!(text[..cursor.at].trim_ascii_end().last(), Some(b'-' | b'#'));
    is_number
        && is_cut
        && before(text, start).map_or(cuts_off, |byte| matches!(byte, b'\'' | b'"' | b')' | b'0'..=b'9'))
}

/// `select … from` as close neighbours.
pub(super) fn is_select_from(text: &[u8], start: usize, end: usize) -> bool {
    let rest = Cursor::new(text, end).rest();
    rest.first() == Some(&b' ')
        && has(rest, b" from ")
        && start.checked_sub(1).is_none_or(|at| !is_word(text[at]))
}
