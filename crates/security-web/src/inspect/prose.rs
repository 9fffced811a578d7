//! Values that begin as a text and never leave it.
//!
//! What is injected into an expression has to be read from its first byte on: it goes on from a number or a name, or it
//! closes a quotation mark first. No language reads two plain words side by side, so a value that begins with them and
//! whose quotation marks all belong to itself is a sentence, whatever it tells of.

use super::{
    cursor::{Cursor, WINDOW, is_word},
    sql_shape::Marks,
};

/// Words of languages, in order: beside one of them another word may stand.
const KEYWORDS: [&[u8]; 100] = [
    b"all",
    b"alter",
    b"analyze",
    b"and",
    b"as",
    b"asc",
    b"assert",
    b"async",
    b"await",
    b"begin",
    b"between",
    b"by",
    b"call",
    b"case",
    b"cast",
    b"class",
    b"collate",
    b"const",
    b"copy",
    b"create",
    b"declare",
    b"def",
    b"del",
    b"delay",
    b"delete",
    b"desc",
    b"describe",
    b"distinct",
    b"div",
    b"do",
    b"drop",
    b"echo",
    b"else",
    b"end",
    b"escape",
    b"exec",
    b"execute",
    b"exists",
    b"exit",
    b"export",
    b"extends",
    b"false",
    b"fetch",
    b"final",
    b"for",
    b"from",
    b"function",
    b"global",
    b"grant",
    b"group",
    b"handler",
    b"having",
    b"if",
    b"ilike",
    b"import",
    b"in",
    b"include",
    b"insert",
    b"instanceof",
    b"into",
    b"is",
    b"join",
    b"lambda",
    b"let",
    b"like",
    b"limit",
    b"load",
    b"merge",
    b"mod",
    b"new",
    b"not",
    b"null",
    b"offset",
    b"on",
    b"or",
    b"order",
    b"print",
    b"private",
    b"procedure",
    b"public",
    b"regexp",
    b"require",
    b"return",
    b"rlike",
    b"select",
    b"set",
    b"sounds",
    b"static",
    b"table",
    b"then",
    b"throw",
    b"true",
    b"truncate",
    b"typeof",
    b"union",
    b"update",
    b"values",
    b"var",
    b"where",
    b"xor",
];
/// How many words of the beginning are read.
const MOST_WORDS: usize = 8;

/// Whether a value begins with `n_words` or more plain words side by side and every quotation mark of it is its own.
pub(super) fn is_text(value: &[u8], n_words: usize) -> bool {
    (longest_run(value) >= n_words || n_words == WORDS_OF_SQL && begins_other_language(value))
        && Marks::of(value).are_own()
}

/// How many plain words side by side no database reads.
pub(super) const WORDS_OF_SQL: usize = 2;

/// A word that begins a declaration, and a space: no expression of a database begins so.
fn begins_other_language(value: &[u8]) -> bool {
    const FIRST: [&[u8]; 25] = [
        b"async",
        b"await",
        b"class",
        b"const",
        b"def",
        b"enum",
        b"export",
        b"fn",
        b"for",
        b"from",
        b"func",
        b"function",
        b"impl",
        b"import",
        b"let",
        b"namespace",
        b"package",
        b"private",
        b"pub",
        b"public",
        b"static",
        b"struct",
        b"trait",
        b"use",
        b"var",
    ];
    let text = value.trim_ascii_start();
    FIRST.iter().any(|word| begins(text, word) && text.get(word.len()) == Some(&b' '))
}

/// Whether a value is a statement of SQL from its first word on, longer than a probe, with quotation marks of its own
/// only: no expression begins so.
pub(super) fn is_program(value: &[u8]) -> bool {
    const FIRST: [&[u8]; 11] = [
        b"select", b"insert", b"update", b"delete", b"create", b"with", b"alter", b"begin", b"explain",
        b"set", b"grant",
    ];
    const SHORTEST: usize = 40;
    let text = value.trim_ascii_start();
    value.len() >= SHORTEST
        && FIRST.iter().any(|word| begins(text, word))
        && memchr::memmem::find(value, b"--").is_none()
        && Marks::of(value).are_own()
}

/// The most words side by side, none of them a keyword, among those that a value begins with.
fn longest_run(value: &[u8]) -> usize {
    // Marks of lists, headings and quotations stand in front of a text too.
    let start = value.iter().position(|byte| !b" \t\r\n#*->".contains(byte)).unwrap_or(value.len());
    let mut rest = &value[start..];
    let (mut run, mut longest) = (0, 0);
    for _ in 0..MOST_WORDS {
        let length = rest.iter().position(|byte| !is_letter(*byte)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(length);
        if word.is_empty() {
            break;
        }
        run = if is_keyword(word, behind) { 0 } else { run + 1 };
        longest = longest.max(run);
        match behind {
            [b' ', next, ..] if is_letter(*next) => rest = &behind[1..],
            // "Bob's", "e-mail": still one word; and a comma between words is one of a sentence.
            [b'\'' | b'-', next, ..] if is_letter(*next) && run > 0 => {
                (rest, run) = (&behind[1..], run - 1);
            }
            _ => break,
        }
    }
    longest
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte >= 0x80
}

fn is_keyword(word: &[u8], behind: &[u8]) -> bool {
    let mut lower = [0; 10];
    let Some(lower) = lower.get_mut(..word.len()) else { return false };
    lower.copy_from_slice(word);
    lower.make_ascii_lowercase();
    // "what is it": between a name and nothing else than a literal it is an operator.
    if lower == b"is" {
        return names_literal(behind);
    }
    KEYWORDS.binary_search(&&*lower).is_ok()
}

/// `is null`, `is not …`
fn is_keyword_is(text: &[u8]) -> bool {
    begins(text, b"is") && names_literal(&text[2..])
}

fn names_literal(text: &[u8]) -> bool {
    let next = text.trim_ascii_start();
    [&b"null"[..], b"not", b"true", b"false"].iter().any(|literal| begins(next, literal))
}

fn begins(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
        && !text.get(word.len()).is_some_and(|byte| is_word(*byte))
}

/// Whether a sentence names what was found: plain words stand directly in front of it, three of them, two and one more
/// behind it, or one and three. A command line has an option, a path or a sign among its first words, and what begins another
/// command has rules of its own.
pub(super) fn names(text: &[u8], start: usize, end: usize) -> bool {
    let head = &text[start.saturating_sub(2 * WINDOW)..start];
    let Some(space) = memchr::memrchr(b' ', head) else { return false };
    if head[space..].iter().any(|byte| b";|&$\0".contains(byte)) {
        return false;
    }
    let in_front =
        head[..space].rsplit(|byte| *byte == b' ').take(3).take_while(|word| is_plain(word)).count();
    let rest = Cursor::new(text, end).rest();
    let behind =
        || rest.split(|byte| *byte == b' ').skip(1).take(3).take_while(|word| is_plain(word)).count();
    in_front == 3 || in_front == 2 && behind() > 0 || in_front == 1 && behind() == 3
}

/// A word of a sentence, with what may stand around it.
fn is_plain(word: &[u8]) -> bool {
    word.first().is_some_and(|first| *first != b'-')
        && word.iter().any(|byte| is_letter(*byte))
        && word.iter().all(|byte| is_letter(*byte) || b"-'.,:()`\"".contains(byte))
}

/// Whether what stands behind an expression goes on with it: nothing, a sign, or a word that joins. A sentence goes on
/// with any word, or ends.
pub(super) fn goes_on(rest: &[u8]) -> bool {
    const JOINS: [&[u8]; 17] = [
        b"or",
        b"and",
        b"xor",
        b"union",
        b"order",
        b"group",
        b"limit",
        b"having",
        b"where",
        b"into",
        b"like",
        b"in",
        b"between",
        b"from",
        b"procedure",
        b"rlike",
        b"as",
    ];
    let behind = rest.trim_ascii_start();
    match behind {
        [] => true,
        // A dash that a text made of two.
        [0xe2, 0x80, 0x93 | 0x94] => true,
        [b'?' | b'.' | b':' | b'!', ..] => behind.get(1).is_some_and(|next| !b" \n?.!".contains(next)),
        [first, ..] if is_letter(*first) => {
            behind.len() == rest.len()
                || JOINS.iter().any(|word| begins(behind, word))
                || is_keyword_is(behind)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_sentences_from_expressions() {
        assert!(KEYWORDS.is_sorted());
        for text in [
            "what is the or of 1=1",
            "Use a subquery: (select 1 from t)",
            "- Bob's question is about union select 1,2",
            "In the docs it says \"select 1\" or 'a'; union select 1",
            "Что такое union select 1,2",
        ] {
            assert!(is_text(text.as_bytes(), 2), "{text}");
        }
        for expression in [
            "id is null or 1=1",
            "nice shoes' or 1=1",
            "nice shoes' or 'a'='a",
            "nice shoes\" union select 1",
            "id desc, (select 1)",
            "name,(select 1)",
            "1 nice shoes",
            "or true",
            "nice shoes'or'1'='1",
        ] {
            assert!(!is_text(expression.as_bytes(), 2), "{expression}");
        }
        assert!(is_text(b"import os; select 1", 2) && !is_text(b"import os; os.system(1)", 3));
    }

    #[test]
    fn tells_what_a_sentence_names() {
        let told = |text: &str, what: &str| {
            let start = text.find(what).unwrap();
            names(text.as_bytes(), start, start + what.len())
        };
        for sentence in [
            "it is done by calling cmd.exe",
            "[x](https://x.example) has used cmd.exe likely for that",
            "the users stand in `/etc/passwd` and",
            "a module runs (as root) /etc/passwd",
        ] {
            let what = if sentence.contains("cmd") { "cmd.exe" } else { "/etc/passwd" };
            assert!(told(sentence, what), "{sentence}");
        }
        for command in [
            "a b c;cmd.exe",
            "start /b cmd.exe",
            "x & call cmd.exe /c a",
            "cat -n -b /etc/passwd",
            "run cmd.exe",
        ] {
            let what = if command.contains("cmd") { "cmd.exe" } else { "/etc/passwd" };
            assert!(!told(command, what), "{command}");
        }
    }

    #[test]
    fn tells_what_goes_on() {
        for on in ["", " ", "--", " and 2", ")", " UNION select", ";", "#"] {
            assert!(goes_on(on.as_bytes()), "{on}");
        }
        for off in [" attack", "?", ". Then", " evaluates to"] {
            assert!(!goes_on(off.as_bytes()), "{off}");
        }
    }
}
