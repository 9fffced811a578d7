//! Shell commands: behind a sign that begins one.

use super::{
    command_words::{Kind, is_of_files, is_runner, kind},
    cursor::{Cursor, WINDOW, has, is_word},
    prose,
    signs::CHAIN,
    written::{is_in_code, is_told_of, is_wrapped},
};

/// Behind `;`, `|`, `&&`, a backtick, `$(` or a line's end: a command.
pub(super) fn is_command(text: &[u8], start: usize, end: usize) -> bool {
    // `^id$`, `^id|`: an alternative of a pattern.
    if text[start] == b'|' && text.get(end) == Some(&b'^') && is_alternative(text, end + 1) {
        return false;
    }
    if text[start] == b'`' && is_markdown(text, start, end)
        || text[start] == b'$' && text[..start].ends_with(b" `")
    {
        return false;
    }
    // "```bash" and a line's end begin an example.
    let is_fenced = text[start.saturating_sub(16)..start].windows(3).any(|fence| fence == b"```");
    if text[start] == b'\n' && is_fenced {
        return false;
    }
    if runs_variable(text, start, end) {
        return true;
    }
    let mut cursor = Cursor::new(text, end);
    let is_dollar = text[start] == b'$';
    cursor.skip_few(|byte| {
        matches!(byte, b' ' | b';' | b'|' | b'&' | b'(' | b'{' | b'!' | b'\n' | b'\r' | b'"' | b'\'')
            || byte == b'`' && is_dollar
    });
    let mark = cursor.at.checked_sub(1).map(|at| text[at]).filter(|byte| matches!(byte, b'"' | b'\''));
    let is_braced = text[..cursor.at].ends_with(b"{");
    let mut word = [0u8; 24];
    let mut length = unquoted(&mut cursor, &mut word);
    if length == 0 {
        return false;
    }
    let mut is_run = false;
    if is_runner(&word[..length]) {
        let (mut behind, mut next) = (cursor, [0u8; 24]);
        behind.skip(|byte| matches!(byte, b'0'..=b'9' | b' ' | b'-'));
        let found = unquoted(&mut behind, &mut next);
        is_run = behind.at > cursor.at + found && kind(&next[..found]).is_some();
        if is_run {
            (cursor, word, length) = (behind, next, found);
        }
    }
    let word = &word[..length];
    // `/usr/bin/id` is `id`; `/???/c?t` is nothing that anybody types in good faith.
    if word.starts_with(b"/") && word.contains(&b'?') {
        return true;
    }
    let name = word.rsplit(|byte| matches!(byte, b'/' | b'\\')).next().unwrap_or_default();
    let is_path = name.len() < word.len();
    // `copy/paste` is no path, and `/properties/id` leads to no program.
    if is_path && !matches!(word[0], b'.' | b'-') && !has(word, b"bin/") {
        return false;
    }
    let opener = text[start];
    // A row of a table of Markdown.
    if opener == b'|' && has(&text[..text.len().min(4 * WINDOW)], b"|-") {
        return false;
    }
    let n_signs = text[start..].iter().take(4).take_while(|byte| matches!(byte, b';' | b'|' | b'&')).count();
    let is_substitution = matches!(opener, b'`' | b'$' | b'<' | b'>');
    let is_strict = is_substitution || n_signs > 1 || is_run;
    // A list of fields (`name|id`) is no chain: the value before must not end in a name.
    let prior = text[..start].trim_ascii_end().last().copied();
    let is_line = memchr::memchr2(b'\n', b'\r', &text[start..cursor.at]).is_some();
    let rest = cursor.rest();
    // `"id": …`, `'id',`: a name of data. `timeout => 5`, `date = 1`: one of a program.
    let is_data = mark.is_some_and(|mark| {
        rest.first() == Some(&mark)
            && matches!(rest[1..].trim_ascii_start().first(), Some(b':' | b',' | b']'))
    });
    if is_data || rest.trim_ascii_start().starts_with(b"=") || is_line && is_declaration(rest) {
        return false;
    }
    // `a;id;`: a list does not end so.
    let ends_in_sign = matches!(opener, b';' | b'|')
        && matches!(rest, [b';' | b'|'])
        && memchr::memchr2(b';', b'|', &text[..start]).is_none();
    let is_list = !is_strict
        && !ends_in_sign
        && prior.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && (!is_line || memchr::memchr2_iter(b'\n', b'\r', text.trim_ascii()).nth(2).is_some());
    // `chmod('x')` is a function's call.
    if rest.starts_with(b"()") || !is_substitution && rest.starts_with(b"(") {
        return false;
    }
    if is_dollar && is_substitution_told(text, start, cursor.at) {
        return false;
    }
    if is_braced && rest.first() == Some(&b',') && kind(name).is_some() {
        return true;
    }
    let is_last = rest
        .trim_ascii_start()
        .first()
        .is_none_or(|byte| matches!(byte, b'`' | b')' | b';' | b'|' | b'&' | b'#' | b'>' | b'"' | b'\''));
    let is_found = match kind(name) {
        Some(found @ (Kind::Plain | Kind::WrittenOf)) => {
            let is_end = |byte: &u8| {
                !is_word(*byte) && !matches!(byte, b'.' | b'=' | b':' | b',' | b'!' | b'?' | b'-')
            };
            let stands_alone = is_last || !rest.starts_with(b" ");
            rest.first().is_none_or(is_end)
                && !closes_a_tag(rest)
                && (is_path
                    || is_argument(rest, true, true)
                    || found == Kind::Plain
                    || rest.starts_with(b" aux")
                    || is_substitution
                    || !is_list && stands_alone)
        }
        Some(Kind::Word) => {
            let takes_text = matches!(
                name,
                b"echo" | b"sed" | b"eval" | b"exec" | b"expr" | b"trap" | b"alias" | b"test" | b"sleep"
            );
            let is_pair = matches!(
                (name, rest.trim_ascii_start()),
                (b"reg", [b'q' | b'a' | b's', ..])
                    | (b"route", [b'p', b'r', ..])
                    | (b"net", [b'u' | b'v' | b's' | b'l', ..])
            );
            if closes_a_tag(rest) {
                false
            } else if is_path
                || is_argument(rest, takes_text, false)
                || is_pair
                || is_substitution && takes_text && rest.first() == Some(&b' ')
            {
                !matches!(rest.first(), Some(b'=' | b':' | b',')) && !is_long_flag(rest, name)
            } else {
                let is_sure =
                    matches!(name, b"id" | b"dir" | b"env" | b"hostname") || is_strict && opener != b'&';
                is_last && !is_list && (is_sure || leaves_a_value(text, start))
            }
        }
        // Any name with a flag, where it leaves a value or is run for its output.
        None => {
            let flag = rest.strip_prefix(b" -").map(|flag| flag.strip_prefix(b"-").unwrap_or(flag));
            let has_flag = flag.and_then(|flag| flag.first()).is_some_and(u8::is_ascii_lowercase);
            let leaves = matches!(opener, b';' | b'&') && leaves_a_value(text, start);
            name.len() > 1 && has_flag && (is_substitution || leaves)
        }
    };
    // Asked last: most words behind a semicolon are no command's name.
    let is_told = || {
        matches!(opener, b';' | b'|' | b'&' | b'\n' | b'\r')
            && (!is_path && is_told_of(text, start, name, cursor.at)
                || is_line && is_wrapped(text, start, cursor.at)
                || is_in_code(text, start))
    };
    is_found && !is_told()
}

/// `a=id;$a`: a variable that was set just before, and is run.
fn runs_variable(text: &[u8], start: usize, end: usize) -> bool {
    let mut cursor = Cursor::new(text, end);
    cursor.space();
    if !cursor.eat(b"$") {
        return false;
    }
    let name = cursor.word();
    let prior = &text[start.saturating_sub(WINDOW)..start];
    !name.is_empty()
        && name.len() < 16
        && memchr::memmem::find_iter(prior, name).any(|at| {
            prior.get(at + name.len()) == Some(&b'=')
                && at.checked_sub(1).is_none_or(|before| b";|&\n\r (`".contains(&prior[before]))
                && prior.get(at + name.len() + 1).is_some_and(|byte| *byte > b' ')
        })
}

/// `size_t *used;`, `printf (const …)`: what stands on a line of its own in a program.
fn is_declaration(rest: &[u8]) -> bool {
    let behind = rest.trim_ascii_start();
    let is_pointer = matches!(behind, [b'*', next, ..] if next.is_ascii_alphabetic());
    is_pointer || rest.len() > behind.len() && behind.starts_with(b"(")
}

/// `the substitution $(cat file) can be`: a sentence around it, and nothing that reaches out.
fn is_substitution_told(text: &[u8], start: usize, behind: usize) -> bool {
    let rest = Cursor::new(text, behind).rest();
    let Some(close) = memchr::memchr(b')', rest) else { return false };
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b' ';
    rest[..close].iter().all(is_plain) && prose::names(text, start, behind + close + 1)
}

/// A name, and the dollar sign or the next alternative of a pattern.
fn is_alternative(text: &[u8], from: usize) -> bool {
    let mut cursor = Cursor::new(text, from);
    if cursor.word().is_empty() {
        return false;
    }
    if cursor.rest().starts_with(b"|^") {
        return true;
    }
    cursor.eat(b"$")
        && cursor.peek().is_none_or(|byte| matches!(byte, b'|' | b')' | b'/' | b' ' | b'"' | b'\''))
}

/// Whether what stands before an opener is what a form wanted: nothing, a number or an address, a mark that closes.
fn leaves_a_value(text: &[u8], start: usize) -> bool {
    let prior = text[..start].trim_ascii();
    prior.is_empty()
        || !prior.iter().any(|byte| byte.is_ascii_alphabetic() || *byte == b' ' || *byte >= 0x80)
            && text[start] != b'\n'
}

/// `| sort -count`: the pipelines of log searches have stages called like commands, but no flags of one letter.
fn is_long_flag(rest: &[u8], name: &[u8]) -> bool {
    matches!(name, b"sort" | b"top" | b"head" | b"tail" | b"join")
        && rest
            .strip_prefix(b" -")
            .is_some_and(|flag| flag.iter().take_while(|byte| is_word(**byte)).count() > 2)
}

/// `</p>`: a tag's end, and no redirection.
fn closes_a_tag(rest: &[u8]) -> bool {
    let Some(name) = rest.strip_prefix(b"</") else { return false };
    let length = name.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(name.len());
    length > 0 && name.get(length) == Some(&b'>')
}

/// A whole value that is a command: for files of the system, from a folder of programs, behind another one that runs
/// it, or a `ping` with its count.
pub(super) fn is_whole_command(text: &[u8]) -> bool {
    const FOLDERS: [&[u8]; 5] = [b"/bin/", b"/usr/bin/", b"/sbin/", b"/usr/sbin/", b"/usr/local/bin/"];
    const MOST_WORDS: usize = 8;
    if memchr::memchr_iter(b' ', text).nth(MOST_WORDS - 1).is_some() {
        return false;
    }
    let mut cursor = Cursor::new(text, 0);
    let mut word = [0u8; 24];
    let mut length = unquoted(&mut cursor, &mut word);
    let is_run = is_runner(&word[..length]) && cursor.space() > 0;
    if is_run {
        length = unquoted(&mut cursor, &mut word);
    }
    let word = &word[..length];
    let name = word.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let found = kind(name);
    if is_run && found == Some(Kind::Plain) && cursor.peek().is_none_or(|byte| byte == b' ') {
        return true;
    }
    if name.is_empty() || cursor.space() == 0 {
        return false;
    }
    if found.is_some() && FOLDERS.iter().any(|folder| word.strip_prefix(*folder) == Some(name)) {
        return true;
    }
    let rest = cursor.rest();
    if name == b"ping" {
        let is_count = |flag: &[u8]| {
            rest.strip_prefix(flag).and_then(|more| more.first()).is_some_and(u8::is_ascii_digit)
        };
        return is_count(b"-c ") || is_count(b"-n ") || is_count(b"-i ");
    }
    // `perl -e '…'`: a program that stands there.
    let runs_text = INTERPRETERS.iter().any(|(known, flag)| {
        name.strip_prefix(*known)
            .is_some_and(|rest| rest.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.'))
            && rest.strip_prefix(*flag).is_some_and(|rest| matches!(rest, [b'\'' | b'"', ..]))
    });
    if runs_text {
        return true;
    }
    // Behind the flags.
    let mut rest = rest;
    while let [b'-', ..] = rest {
        let Some(space) = memchr::memchr(b' ', rest) else { return false };
        rest = &rest[space + 1..];
    }
    let is_root = rest.first() == Some(&b'/') && rest.get(1).is_none_or(|byte| byte.is_ascii_alphanumeric());
    (is_of_files(name) || found == Some(Kind::Plain)) && (is_root || rest.starts_with(b"c:\\"))
}

/// Programs that run a text, and the flag it stands behind.
const INTERPRETERS: [(&[u8], &[u8]); 6] = [
    (b"perl", b"-e "),
    (b"ruby", b"-e "),
    (b"python", b"-c "),
    (b"php", b"-r "),
    (b"node", b"-e "),
    (b"lua", b"-e "),
];

/// The text that a value becomes where the two signs `\n` at its beginning are read as a line's end, as many shells
/// and formats do.
pub(super) fn with_lines(text: &[u8]) -> Option<Vec<u8>> {
    let start = text.iter().position(|byte| !matches!(byte, b'"' | b'\''))?;
    let is_line = |rest: &[u8]| rest.starts_with(b"\\n") || rest.starts_with(b"\\r\\n");
    if start > 1 || !is_line(&text[start..]) {
        return None;
    }
    let mut lines = Vec::new();
    let mut rest = &text[start..text.len().min(start + 2 * WINDOW)];
    while let Some(byte) = rest.first() {
        match rest {
            [b'\\', b'n' | b'r', ..] => {
                lines.push(b'\n');
                rest = &rest[2..];
            }
            _ => {
                lines.push(*byte);
                rest = &rest[1..];
            }
        }
    }
    Some(lines)
}

/// `for /f %i in (…) do`: a loop of the Windows shell.
pub(super) fn is_loop(text: &[u8], start: usize, end: usize) -> bool {
    let rest = Cursor::new(text, end).rest();
    start.checked_sub(1).is_none_or(|at| !is_word(text[at]))
        && rest.contains(&b'%')
        && has(rest, b" in")
        && has(rest, b"do")
}

/// A backtick of a fence, or of code in a sentence.
fn is_markdown(text: &[u8], start: usize, end: usize) -> bool {
    let prior = start.checked_sub(1).map(|at| text[at]);
    if matches!(text.get(end), Some(b'`' | b' ')) || matches!(prior, Some(b'`')) {
        return true;
    }
    // The second of a pair ends what the first began.
    let near = &text[start.saturating_sub(WINDOW)..start];
    if memchr::memchr_iter(b'`', near).count() % 2 == 1 {
        return true;
    }
    let rest = Cursor::new(text, end).rest();
    let close = memchr::memchr(b'`', rest);
    let behind = close.and_then(|at| text.get(end + at + 1));
    let is_in_sentence = |byte: Option<u8>| {
        matches!(
            byte,
            Some(b' ' | b'\n' | b'(' | b'[' | b']' | b')' | b',' | b'.' | b':' | b'*' | b'_' | b'|')
        )
    };
    is_in_sentence(behind.copied()) || is_in_sentence(prior) && start > 1
}

/// What stands behind a command and not behind a word of a sentence; numbers and quotations count where a command
/// takes any text.
fn is_argument(rest: &[u8], takes_text: bool, is_command_only: bool) -> bool {
    let argument = rest.trim_ascii_start();
    let is_apart =
        argument.len() < rest.len() || matches!(rest.first(), Some(b'<' | b'>' | b'$' | b'{' | b'/' | b'+'));
    if !is_apart {
        return false;
    }
    let end = argument
        .iter()
        .position(|byte| matches!(byte, b';' | b'|' | b'`' | b'\n' | b'\r'))
        .unwrap_or(argument.len());
    match argument.first() {
        // The next command; words that are commands too stand in lists and tables.
        Some(b'|' | b';' | b'`') => is_command_only,
        Some(b'&') => is_command_only && (argument.get(1) == Some(&b'&') || argument.len() == 1),
        Some(b'"' | b'\'' | b'0'..=b'9' | b'%') if takes_text => true,
        _ => {
            // Behind the first word, only what no sentence has.
            let mut words = argument[..end].split(|byte| *byte == b' ');
            words.next().is_some_and(|word| is_like_a_file(word) || is_sign_of_shell(word, argument))
                || words.clone().zip(words.skip(1).chain([&b""[..]])).take(3).any(|(word, next)| {
                    is_sign_of_shell(word, next) || word.len() == 1 && word[0] == b'>' && next.contains(&b'/')
                })
        }
    }
}

/// A flag, a path from the root, a variable, a redirection.
fn is_sign_of_shell(word: &[u8], behind: &[u8]) -> bool {
    match word.first() {
        Some(b'-') => {
            let name = word.strip_prefix(b"--").unwrap_or(&word[1..]);
            name.first().is_some_and(u8::is_ascii_alphanumeric)
        }

        Some(b'/') => {
            word.get(1).is_none_or(|byte| byte.is_ascii_alphanumeric() || b"?*[.\\'\"".contains(byte))
        }
        Some(b'$' | b'~' | b'*' | b'@') => true,
        // A redirection leads from or to a file.
        Some(sign @ (b'<' | b'>')) => {
            let target = if word.len() > 1 { &word[1..] } else { behind.trim_ascii_start() };
            let target = &target
                [..target.iter().skip(1).position(|byte| *byte == b' ').map_or(target.len(), |at| at + 1)];
            word.get(1) == Some(sign) || target.iter().any(|byte| b"/.&(".contains(byte))
        }
        _ => false,
    }
}

/// A path, an address or a name with an extension.
fn is_like_a_file(word: &[u8]) -> bool {
    let is_name = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    match word.first() {
        Some(b'.') => matches!(word.get(1), Some(b'/' | b'.' | b'\\')) && word.get(2) != Some(&b'.'),
        Some(first) if first.is_ascii_alphanumeric() || *first >= 0x80 || *first == b'_' => {
            word.iter().any(|byte| b"/\\@".contains(byte))
                || word
                    .windows(3)
                    .any(|three| three[1] == b'.' && is_name(three.first()) && three[2].is_ascii_alphabetic())
        }
        _ => false,
    }
}

/// A word as a shell reads it: quotes, backslashes, carets and variables that change nothing are left out.
fn unquoted(cursor: &mut Cursor<'_>, word: &mut [u8; 24]) -> usize {
    const SHELLS: [&[u8]; 4] = [b"$shell", b"${shell}", b"%comspec%", b"$0"];
    if matches!(cursor.peek(), Some(b'$' | b'%')) && SHELLS.iter().any(|name| cursor.eat(name)) {
        word[..2].copy_from_slice(b"sh");
        return 2;
    }
    let mut length = 0;
    for _ in 0..48 {
        let Some(byte) = cursor.peek() else { break };
        if matches!(byte, b'\'' | b'"' | b'\\' | b'^') {
            // A quotation mark in front of nothing but the end closes somebody's string.
            let goes_on =
                |next: &u8| is_word(*next) || matches!(next, b'\'' | b'"' | b'/' | b'\\' | b'^' | b'$');
            let closes = cursor.text.get(cursor.at + 1).is_none_or(|next| !goes_on(next));
            if closes
                && (length == 0 || !has(&cursor.text[cursor.at.saturating_sub(WINDOW)..cursor.at], &[byte]))
            {
                break;
            }
            cursor.at += 1;
            continue;
        }
        if matches!(byte, b'$' | b'`')
            && [&b"$@"[..], b"$*", b"$()", b"``", b"$!"].iter().any(|nothing| cursor.eat(nothing))
        {
            continue;
        }
        if byte == b'$' && length > 0 && skips_variable(cursor) {
            continue;
        }
        if byte == b'$' && length == 0 && cursor.eat(b"$'") {
            continue;
        }
        if !is_word(byte) && !matches!(byte, b'/' | b'.' | b'?' | b'-') || length == word.len() {
            break;
        }
        word[length] = byte;
        length += 1;
        cursor.at += 1;
    }
    while length > 0 && word[length - 1] == b'.' {
        length -= 1;
    }
    length
}

/// `$1` and `${x}` are empty for most; `${ifs}` and `$ifs` are spaces, which end a word.
fn skips_variable(cursor: &mut Cursor<'_>) -> bool {
    let rest = cursor.rest();
    if rest.get(1).is_some_and(u8::is_ascii_digit) {
        cursor.at += 2;
        return true;
    }
    if rest.starts_with(b"${")
        && !rest.starts_with(b"${ifs")
        && let Some(close) = memchr::memchr(b'}', rest)
    {
        cursor.at += close + 1;
        return true;
    }
    false
}

/// A shell with something to run: `bash -c`, `cmd /c`, `/bin/sh`.
pub(super) fn is_shell(text: &[u8], start: usize, end: usize) -> bool {
    // The first line of a script says who is to run it.
    let before_ok = start == 0 || !is_word(text[start - 1]) && !text[..start].ends_with(b"#!");
    before_ok
        && !prose::names(text, start, end)
        && text.get(end).is_none_or(|byte| !is_word(*byte) && *byte != b'-')
}

/// The function that a broken shell runs from its environment: `() { :;};`.
pub(super) fn is_function_header(text: &[u8], start: usize, end: usize) -> bool {
    let mut cursor = Cursor::new(text, end);
    cursor.space();
    start == 0 || cursor.eat(b":;") || cursor.eat(b":; }") || cursor.eat(b"_;") || cursor.eat(b": }")
}

/// `;`, `|` and so on between commands, found without the automaton: they are single bytes.
pub(super) fn openers(text: &[u8]) -> impl Iterator<Item = (usize, usize)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let start = at + text.get(at..)?.iter().position(|byte| CHAIN.has_byte(*byte))?;
            let byte = text[start];
            at = start + 1;
            match byte {
                b'$' | b'<' | b'>' => {
                    if text.get(at) == Some(&b'(') {
                        at += 1;
                        return Some((start, at));
                    }
                }
                b'|' | b'&' => {
                    at += usize::from(text.get(at) == Some(&byte));
                    return Some((start, at));
                }
                _ => return Some((start, at)),
            }
        }
    })
}
