//! Windows paths, POSIX paths and registry keys in text.
//!
//! Blanks in them are ambiguous: they are followed only inside quotation marks, and inside names that are known to
//! have them. Windows paths are passed even when nobody wants them, because `C:\temp\evil.com` names no host.

use super::{
    scan::{Scanner, label_char},
    work,
};
use crate::{IocType, file, registry_key};

/// Folder and key names with blanks in them.
const SPACED: &[&str] = &[
    "Program Files (x86)",
    "Program Files",
    "Common Files",
    "Documents and Settings",
    "All Users",
    "Default User",
    "Application Data",
    "Local Settings",
    "Start Menu",
    "Microsoft Office",
    "Internet Explorer",
    "Windows NT",
    "Windows Defender",
    "Windows Script Host",
    "Windows Mail",
    "Windows Media Player",
    "Active Setup",
    "Installed Components",
    "Image File Execution Options",
    "Browser Helper Objects",
    "User Shell Folders",
    "Shell Folders",
    "Session Manager",
    "Control Panel",
    "Policy Manager",
    "Real-Time Protection",
    "Group Policy Objects",
    "Shell Extensions",
    "Terminal Server",
    "Security Packages",
];

/// First folders of the absolute POSIX paths that are taken for one.
const ROOTS: &[&str] = &[
    "Applications",
    "Library",
    "System",
    "Users",
    "bin",
    "boot",
    "data",
    "dev",
    "etc",
    "home",
    "lib",
    "lib64",
    "mnt",
    "opt",
    "private",
    "proc",
    "root",
    "run",
    "sbin",
    "srv",
    "sys",
    "tmp",
    "usr",
    "var",
];

impl Scanner<'_> {
    /// A Windows path or a registry key that starts with an atom.
    pub(super) fn place(&mut self, start: usize, end: usize) -> Option<usize> {
        let rest = &self.bytes[end..];
        if end - start == 1 && rest.starts_with(b":\\") {
            return self.windows_path(start, end + 1);
        }
        if rest.starts_with(b"%\\") && start > self.done && self.bytes[start - 1] == b'%' {
            return self.windows_path(start - 1, end + 1);
        }
        let hive_end = end + usize::from(rest.first() == Some(&b':'));
        if self.bytes.get(hive_end) == Some(&b'\\') && registry_key::hive(&self.text[start..end]).is_some() {
            let stop = self.backslashed_end(start, hive_end);
            // What is no key is passed all the same, so that it is read once.
            if let Ok(value) = registry_key::canonical(&self.text[start..stop]) {
                self.push(IocType::RegistryKey, value, start, stop, false);
            }
            return Some(stop);
        }
        None
    }

    fn windows_path(&mut self, start: usize, backslash: usize) -> Option<usize> {
        let stop = self.backslashed_end(start, backslash);
        if stop > backslash + 1
            && self.options.wants(IocType::FilePath)
            && let Ok(value) = file::canonical_path(&self.text[start..stop])
        {
            self.push(IocType::FilePath, value, start, stop, false);
        }
        Some(stop)
    }

    /// Where a path ends whose first backslash stands at a place.
    fn backslashed_end(&self, start: usize, backslash: usize) -> usize {
        let doubled = self.bytes.get(backslash + 1) == Some(&b'\\');
        let quote = start.checked_sub(1).map(|at| self.bytes[at]).filter(|b| matches!(b, b'"' | b'\''));
        if let Some(stop) = quote.and_then(|quote| self.quoted_end(backslash, quote, doubled)) {
            return self.trimmed(backslash, stop);
        }
        let mut at = backslash;
        let mut part = backslash;
        while let Some(&byte) = self.bytes.get(at) {
            match byte {
                b'\\' => {
                    let pair = self.bytes.get(at + 1) == Some(&b'\\');
                    // In a text that doubles its backslashes a single one is an escape.
                    if doubled && !pair {
                        break;
                    }
                    at += 1 + usize::from(doubled);
                    part = at;
                }
                b' ' => {
                    let rest = &self.bytes[part..];
                    let fits = |name: &&&str| {
                        name.as_bytes().get(at - part) == Some(&b' ')
                            && rest.len() >= name.len()
                            && rest[..name.len()].eq_ignore_ascii_case(name.as_bytes())
                    };
                    match SPACED.iter().find(fits) {
                        Some(name) => at = part + name.len(),
                        None => break,
                    }
                }
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => at += 1,
                b'.' | b'-' | b'_' | b'$' | b'~' | b'(' | b')' | b'{' | b'}' | b'@' | b'!' | b'#' | b'+'
                | b'=' | b'[' | b']' | b'%' | b'&' => {
                    at += 1;
                }
                0x80.. => match label_char(self.text, at) {
                    Some((len, _)) => at += len,
                    None => break,
                },
                _ => break,
            }
        }
        work::add(at - backslash);
        self.trimmed(backslash, at)
    }

    /// Where a path in quotation marks ends; `None` when they do not close on the line. A command line in quotation
    /// marks ends with its program: after an ending and a blank, or before an option.
    fn quoted_end(&self, backslash: usize, quote: u8, doubled: bool) -> Option<usize> {
        let line = &self.bytes[backslash..self.bytes.len().min(backslash + 1024)];
        let mut ending = None;
        let mut at = 0;
        while at < line.len() {
            work::add(1);
            match line[at] {
                byte if byte == quote => return Some(backslash + at),
                b'\r' | b'\n' | b'<' | b'>' | b'|' | b'?' | b'*' => return None,
                b'\\' => {
                    let pair = line.get(at + 1) == Some(&b'\\');
                    if doubled && !pair {
                        return Some(backslash + at);
                    }
                    at += usize::from(pair);
                    ending = None;
                }
                b'.' => ending = Some(at),
                b' ' => {
                    let option = matches!(line.get(at + 1), Some(b'-' | b'/'));
                    if option || ending.is_some_and(|dot| (2..=6).contains(&(at - dot))) {
                        return Some(backslash + at);
                    }
                }
                _ => {}
            }
            at += 1;
        }
        None
    }

    /// Without the punctuation of the sentence around it.
    fn trimmed(&self, floor: usize, mut end: usize) -> usize {
        work::add(end - floor);
        let opens = [b'(', b'[', b'{'].map(|open| self.bytes[floor..end].contains(&open));
        while end > floor + 1 {
            let last = self.bytes[end - 1];
            let drop = match last {
                b'.' | b'!' | b'&' | b'=' | b'#' | b'\\' => true,
                b')' => !opens[0],
                b']' => !opens[1],
                b'}' => !opens[2],
                _ => false,
            };
            if !drop {
                break;
            }
            end -= 1;
        }
        end
    }

    /// An absolute POSIX path below one of the usual folders.
    pub(super) fn posix_path(&mut self, start: usize) -> Option<usize> {
        if !self.options.wants(IocType::FilePath) {
            return None;
        }
        let before = start.checked_sub(1).map(|at| self.bytes[at]);
        if before.is_some_and(|b| b.is_ascii_alphanumeric() || b >= 0x80 || b"/._-:~*?&=%".contains(&b)) {
            return None;
        }
        let root_len =
            self.bytes[start + 1..].iter().take(14).take_while(|b| b.is_ascii_alphanumeric()).count();
        let root = &self.text[start + 1..start + 1 + root_len];
        if self.bytes.get(start + 1 + root_len) != Some(&b'/') || !ROOTS.contains(&root) {
            return None;
        }
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"/._-+@%~#=$".contains(b);
        let mut end = start + self.bytes[start..].iter().take(4097).take_while(|b| allowed(b)).count();
        work::add(end - start);
        while matches!(self.bytes[end - 1], b'.' | b'/' | b'#' | b'=') {
            end -= 1;
        }
        if end <= start + 2 + root_len || end - start > 4096 {
            return None;
        }
        let value = file::canonical_path(&self.text[start..end]).ok()?;
        self.push(IocType::FilePath, value, start, end, false).then_some(end)
    }
}
