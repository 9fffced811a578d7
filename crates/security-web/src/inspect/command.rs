//! Shell commands: behind a sign that begins one.

use super::cursor::{Cursor, has, is_word};

/// Commands that are no word of a sentence.
const PLAIN: [&[u8]; 58] = [
    b"awk",
    b"bash",
    b"bitsadmin",
    b"busybox",
    b"cat",
    b"certutil",
    b"chmod",
    b"chown",
    b"cmd",
    b"cmd.exe",
    b"crontab",
    b"csh",
    b"curl",
    b"dash",
    b"gcc",
    b"ifconfig",
    b"ipconfig",
    b"ksh",
    b"ls",
    b"lsof",
    b"lua",
    b"mkfifo",
    b"mknod",
    b"mshta",
    b"nc",
    b"nc.traditional",
    b"ncat",
    b"netcat",
    b"netstat",
    b"nmap",
    b"nslookup",
    b"perl",
    b"php",
    b"ping",
    b"powershell",
    b"powershell.exe",
    b"printenv",
    b"ps",
    b"pwd",
    b"python",
    b"python2",
    b"python3",
    b"regsvr32",
    b"rm",
    b"ruby",
    b"rundll32",
    b"sh",
    b"socat",
    b"ssh",
    b"systeminfo",
    b"telnet",
    b"tftp",
    b"uname",
    b"wget",
    b"whoami",
    b"wmic",
    b"xterm",
    b"zsh",
];
/// Those of them that people write of: a word behind them is no argument.
const WRITTEN_OF: [&[u8]; 17] = [
    b"awk",
    b"bash",
    b"cat",
    b"cmd",
    b"curl",
    b"dash",
    b"gcc",
    b"ls",
    b"lua",
    b"perl",
    b"php",
    b"ping",
    b"powershell",
    b"python",
    b"rm",
    b"ruby",
    b"ssh",
];
/// Commands that are also words: they need an argument that no sentence has.
const WORDS: [&[u8]; 24] = [
    b"base64",
    b"cp",
    b"dig",
    b"dir",
    b"echo",
    b"env",
    b"expr",
    b"find",
    b"grep",
    b"head",
    b"hostname",
    b"id",
    b"kill",
    b"less",
    b"more",
    b"mv",
    b"net",
    b"nohup",
    b"sed",
    b"sleep",
    b"tail",
    b"tee",
    b"touch",
    b"type",
];

/// Behind `;`, `|`, `&&`, a backtick, `$(` or a line's end: a command.
pub(super) fn is_command(text: &[u8], start: usize, end: usize) -> bool {
    if text[start] == b'`' && is_markdown(text, start, end) {
        return false;
    }
    // "```bash" and a line's end begin an example.
    let is_fenced = text[start.saturating_sub(16)..start].windows(3).any(|fence| fence == b"```");
    if text[start] == b'\n' && is_fenced {
        return false;
    }
    let mut cursor = Cursor::new(text, end);
    cursor.skip(|byte| matches!(byte, b' ' | b';' | b'|' | b'&' | b'(' | b'{' | b'!' | b'\n'));
    if cursor.eat(b"sudo ") || cursor.eat(b"time ") || cursor.eat(b"exec ") {
        cursor.space();
    }
    let mut word = [0u8; 24];
    let length = unquoted(&mut cursor, &mut word);
    let word = &word[..length];
    // `/usr/bin/id` is `id`; `/???/c?t` is nothing that anybody types in good faith.
    let has_jokers = word.starts_with(b"/") && word.contains(&b'?');
    let name = word.rsplit(|byte| matches!(byte, b'/' | b'\\')).next().unwrap_or_default();
    let is_path = name.len() < word.len();
    if has_jokers {
        return true;
    }
    let opener = text[start];
    let is_strict = opener == b'`' || opener == b'$' || end - start > 1 && opener != b' ';
    // A list of fields (`name|id`) is no chain: the value before must not end in a name.
    let prior = text[..start].trim_ascii_end().last().copied();
    let is_list = !is_strict && prior.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if PLAIN.contains(&name) {
        let rest = cursor.rest();
        let is_end = |byte: &u8| !is_word(*byte) && !matches!(byte, b'.' | b'=' | b':' | b',' | b'!' | b'?');
        let stands_alone = rest.trim_ascii().is_empty() || is_strict || !rest.starts_with(b" ");
        return rest.first().is_none_or(is_end)
            && (is_path || is_argument(rest) || !WRITTEN_OF.contains(&name) || !is_list && stands_alone);
    }
    if WORDS.contains(&name) {
        let rest = cursor.rest();
        if is_path || is_argument(rest) || has(rest, b" >") {
            return !matches!(rest.first(), Some(b'=' | b':' | b','));
        }
        let is_last = rest.trim_ascii().is_empty()
            || matches!(rest.trim_ascii()[0], b'`' | b')' | b';' | b'|' | b'&' | b'#' | b'>');
        return is_last
            && !is_list
            && (name == b"id"
                || name == b"dir"
                || name == b"env"
                || name == b"hostname"
                || opener == b'`'
                || opener == b'$');
    }
    false
}

/// A backtick of a fence, or of code in a sentence.
fn is_markdown(text: &[u8], start: usize, end: usize) -> bool {
    let prior = start.checked_sub(1).map(|at| text[at]);
    if matches!(text.get(end), Some(b'`' | b' ')) || matches!(prior, Some(b'`')) {
        return true;
    }
    let rest = Cursor::new(text, end).rest();
    let close = memchr::memchr(b'`', rest);
    let behind = close.and_then(|at| text.get(end + at + 1));
    let is_in_sentence = |byte: Option<u8>| {
        matches!(byte, Some(b' ' | b'\n' | b'(' | b'[' | b']' | b')' | b',' | b'.' | b':'))
    };
    is_in_sentence(behind.copied()) || is_in_sentence(prior) && start > 1
}

/// What stands behind a command and not behind a word of a sentence.
fn is_argument(rest: &[u8]) -> bool {
    let argument = rest.trim_ascii_start();
    let is_apart =
        argument.len() < rest.len() || matches!(rest.first(), Some(b'<' | b'>' | b'$' | b'{' | b'/' | b'+'));
    is_apart
        && match argument.first() {
            Some(b'-') => argument.get(1).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'-'),
            Some(
                b'/'
                | b'$'
                | b'*'
                | b'<'
                | b'>'
                | b'~'
                | b'|'
                | b';'
                | b'&'
                | b'"'
                | b'\''
                | b'`'
                | b'0'..=b'9'
                | b'.'
                | b'%',
            ) => true,
            Some(_) => {
                let word =
                    &argument[..argument.iter().position(|byte| *byte == b' ').unwrap_or(argument.len())];
                has(word, b"://") || word.contains(&b'/') || word.contains(&b'\\')
            }
            None => false,
        }
}

/// A word as a shell reads it: quotes, backslashes and `${ifs}` that change nothing are left out.
fn unquoted(cursor: &mut Cursor<'_>, word: &mut [u8; 24]) -> usize {
    let mut length = 0;
    for _ in 0..48 {
        let Some(byte) = cursor.peek() else { break };
        if matches!(byte, b'\'' | b'"' | b'\\') && length > 0 || matches!(byte, b'\'' | b'"') {
            // A quotation mark in front of nothing but the end closes somebody's string.
            if cursor
                .text
                .get(cursor.at + 1)
                .is_none_or(|next| !is_word(*next) && !matches!(next, b'\'' | b'"' | b'/'))
            {
                break;
            }
            cursor.at += 1;
            continue;
        }
        if cursor.eat(b"$@") || cursor.eat(b"$*") {
            continue;
        }
        if !is_word(byte) && !matches!(byte, b'/' | b'.' | b'?' | b'\\') || length == word.len() {
            break;
        }
        word[length] = byte;
        length += 1;
        cursor.at += 1;
    }
    length
}

/// A shell with something to run: `bash -c`, `cmd /c`, `/bin/sh`.
pub(super) fn is_shell(text: &[u8], start: usize, end: usize) -> bool {
    let before_ok = start == 0 || !is_word(text[start - 1]);
    before_ok && text.get(end).is_none_or(|byte| !is_word(*byte) && *byte != b'-')
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
        while at < text.len() {
            let start = at;
            let byte = text[at];
            at += 1;
            let is_double = text.get(at) == Some(&byte);
            match byte {
                b'$' if text.get(at) == Some(&b'(') => {
                    at += 1;
                    return Some((start, at));
                }
                b'|' | b'&' if is_double => {
                    at += 1;
                    return Some((start, at));
                }
                b';' | b'|' | b'&' | b'`' | b'\n' => return Some((start, at)),
                _ => {}
            }
        }
        None
    })
}
