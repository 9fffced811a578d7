//! Domains, e-mail addresses and file names in text.
//!
//! A dotted name in plain text is a domain only when its suffix exists *and* nothing says that it is a file, a
//! version, a property in code or two sentences without a blank. A disarmed one was meant as a domain.

use std::{borrow::Cow, mem};

use super::{scan::Scanner, work};
use crate::{IocType, defang::invisible_at, domain, email, file, hash, mac};

/// Suffixes after which a hyphen goes on with the sentence: `evil.com-based`.
const HYPHENATED: &[&str] =
    &["com", "net", "org", "info", "biz", "ru", "cn", "su", "xyz", "top", "online", "site"];

/// Suffixes that are names of properties and methods, or English words, as often as they are suffixes.
pub(super) const PROPERTIES: &[&str] = &[
    "am", "as", "at", "be", "bit", "by", "coin", "call", "click", "data", "date", "do", "id", "in", "info",
    "is", "it", "link", "map", "me", "my", "name", "next", "no", "now", "open", "page", "post", "run",
    "select", "so", "to", "us",
];

/// What such properties are read from in code.
const OBJECTS: &[&str] = &[
    "app",
    "arg",
    "args",
    "array",
    "cfg",
    "client",
    "config",
    "conn",
    "console",
    "context",
    "ctx",
    "cursor",
    "data",
    "df",
    "doc",
    "document",
    "el",
    "elem",
    "element",
    "entry",
    "err",
    "error",
    "ev",
    "event",
    "evt",
    "ex",
    "exception",
    "exports",
    "field",
    "file",
    "files",
    "item",
    "items",
    "job",
    "json",
    "key",
    "location",
    "log",
    "logger",
    "logging",
    "math",
    "model",
    "module",
    "navigator",
    "node",
    "np",
    "obj",
    "object",
    "options",
    "opts",
    "os",
    "params",
    "parser",
    "path",
    "pd",
    "player",
    "process",
    "props",
    "record",
    "req",
    "request",
    "res",
    "resp",
    "response",
    "result",
    "row",
    "self",
    "session",
    "state",
    "str",
    "string",
    "super",
    "sys",
    "system",
    "task",
    "tf",
    "this",
    "thread",
    "torch",
    "user",
    "val",
    "value",
    "window",
];

/// What a script in a page reads properties of properties from: `document.location.host`.
const BROWSER: &[&str] = &["document", "location", "navigator", "window"];

/// First labels of names written from the top down, as packages are.
const PACKAGES: &[&str] = &["android", "androidx", "com", "io", "java", "javax", "net", "org"];

/// Suffixes of three letters or fewer that such packages end in.
const PACKAGE_ENDS: &[&str] = &["app", "co", "dev", "id", "io", "map", "me", "so", "zip"];

/// Labels before an ambiguous ending that make a file of three labels or more: `jquery.min.map`, `invoice.pdf.zip`.
const FILE_MIDDLES: &[&str] = &[
    "7z", "bak", "build", "bundle", "conf", "config", "css", "csv", "d", "doc", "docx", "exe", "init",
    "install", "jpg", "js", "lib", "log", "main", "min", "mod", "old", "pdf", "pkg", "png", "py", "setup",
    "spec", "tar", "test", "tests", "txt", "xlsx", "xml",
];

/// Names of frameworks that are written like hosts.
const FRAMEWORKS: &[&str] = &["ASP.NET", "ADO.NET", "VB.NET", "ML.NET", "C.NET"];

impl Scanner<'_> {
    /// A domain, e-mail address or file name that starts with an atom, else what its atoms are one by one.
    pub(super) fn host(&mut self, start: usize, first_end: usize) -> usize {
        let (stop, defanged) = self.read_host(start, first_end);
        if let Some((len, sign)) = self.at_at(stop)
            && let Some(end) = self.email(start, stop, len, defanged || sign)
        {
            return end;
        }
        if self.atoms.len() > 1
            && let Some(end) = self.name(start, stop, defanged)
        {
            return end;
        }
        let atoms = mem::take(&mut self.atoms);
        for &(start, end) in &atoms {
            // A technique has taken the atom after its dot.
            if start >= self.done {
                self.word(start, end);
            }
        }
        self.atoms = atoms;
        stop.max(self.done)
    }

    /// Reads atoms joined by dots into `atoms` and `clean`: where they end, and whether any dot was disarmed.
    pub(super) fn read_host(&mut self, start: usize, first_end: usize) -> (usize, bool) {
        self.atoms.clear();
        self.clean.clear();
        let mut defanged = self.push_atom(start, first_end);
        let mut end = first_end;
        while let Some((len, sign)) = self.dot_at(end) {
            let next = end + len;
            let next_end = self.atom_end(next);
            if next_end == next {
                break;
            }
            self.clean.push('.');
            defanged |= self.push_atom(next, next_end) | sign;
            end = next_end;
        }
        (end, defanged)
    }

    /// Whether invisible characters were left out.
    fn push_atom(&mut self, start: usize, end: usize) -> bool {
        self.atoms.push((start, end));
        let text = &self.text[start..end];
        if text.is_ascii() {
            self.clean.push_str(text);
            return false;
        }
        let mut hidden = false;
        for (at, c) in text.char_indices() {
            if invisible_at(self.bytes, start + at).is_some() { hidden = true } else { self.clean.push(c) }
        }
        hidden
    }

    /// An e-mail address whose local part is the name just read.
    fn email(&mut self, start: usize, stop: usize, sign_len: usize, defanged: bool) -> Option<usize> {
        // The name is kept beside the one that is read now, in buffers that stay.
        let local = (mem::take(&mut self.clean), mem::take(&mut self.atoms));
        (self.clean, self.atoms) = mem::take(&mut self.spare);
        let host_start = stop + sign_len;
        let host_first = self.atom_end(host_start);
        let (host_end, sign) = self.read_host(host_start, host_first);
        work::add(stop - start);
        self.spare = (mem::take(&mut self.clean), mem::take(&mut self.atoms));
        (self.clean, self.atoms) = local;
        let mut host = mem::take(&mut self.spare.0);
        let end = self.email_at(start, stop, (host_start, host_end), &mut host, (defanged, sign));
        self.spare.0 = host;
        end
    }

    /// An e-mail address, of which the name and the host are read. `signs` say whether either was disarmed.
    fn email_at(
        &mut self,
        start: usize,
        stop: usize,
        (host_start, mut host_end): (usize, usize),
        host: &mut String,
        (name_sign, sign): (bool, bool),
    ) -> Option<usize> {
        let defanged = name_sign || sign;
        trim_hyphens(self.bytes, host, &mut host_end);
        cut_sentence(self.bytes, host, &mut host_end);
        let last = after_last_dot(host);
        if last.len() < 2 {
            return None;
        }
        let domain = self.public_domain(host)?;
        if !self.options.wants(IocType::Email) {
            self.push(IocType::Domain, domain, host_start, host_end, sign);
            return Some(host_end);
        }
        // `first+last@`: a plus sign ends an atom, but not a local part.
        let mut local_start = start;
        let outer = |b: u8| b.is_ascii_alphanumeric() || b"+._-".contains(&b);
        if start > 0 && b"+._-".contains(&self.bytes[start - 1]) {
            let room = 64usize.saturating_sub(stop - start).min(start - self.done);
            local_start -= self.bytes[..start].iter().rev().take(room).take_while(|b| outer(**b)).count();
            while local_start < start && b"._-+".contains(&self.bytes[local_start]) {
                local_start += 1;
            }
        }
        let value = if local_start == start {
            email::of_parts(&self.clean, &domain).ok()?
        } else {
            let local = format!("{}{}", &self.text[local_start..start], self.clean);
            email::of_parts(&local, &domain).ok()?
        };
        self.push(IocType::Email, value, local_start, host_end, defanged);
        Some(host_end)
    }

    /// A domain, file name or hardware address of two labels or more.
    fn name(&mut self, mut start: usize, mut stop: usize, defanged: bool) -> Option<usize> {
        trim_hyphens(self.bytes, &mut self.clean, &mut stop);
        self.cut_hyphenated(&mut stop);
        if defanged {
            cut_sentence(self.bytes, &mut self.clean, &mut stop);
        }
        // `_dmarc.` is a label; `_evil.example_` is emphasis.
        let underscore = start > self.done
            && self.bytes[start - 1] == b'_'
            && self.bytes.get(stop) != Some(&b'_')
            && start.checked_sub(2).is_none_or(|at| !self.bytes[at].is_ascii_alphanumeric());
        if underscore && self.atoms.len() > 2 {
            self.clean.insert(0, '_');
            start -= 1;
        }
        if self.may_be_domain(start, stop, defanged) {
            let clean = mem::take(&mut self.clean);
            let end = self.domain(&clean, start, stop, defanged);
            self.clean = clean;
            if end.is_some() {
                return end;
            }
        }
        work::add(self.clean.len());
        if self.clean.len() == 14
            && let Ok(value) = mac::canonical(&self.clean)
            && self.push(IocType::Mac, value, start, stop, defanged)
        {
            return Some(stop);
        }
        let stem_is_digest =
            |name: &str| name.split('.').next().is_some_and(|stem| hash::kind_of(stem).is_some());
        if self.options.wants(IocType::FileName)
            && !stem_is_digest(&self.clean)
            && file::has_file_ending(&self.clean)
            && let Ok(value) = file::canonical_name(&self.clean)
        {
            self.push(IocType::FileName, value, start, stop, defanged);
            return Some(stop);
        }
        None
    }

    /// A public name, or the URL without a scheme that it starts.
    fn domain(&mut self, name: &str, start: usize, stop: usize, defanged: bool) -> Option<usize> {
        let value = self.public_domain(name)?;
        if !defanged && self.is_ambiguous_file(&value, stop) {
            return None;
        }
        if !follows_a_folder(self.bytes, start)
            && let Some(end) = self.bare_url(start, stop, defanged)
        {
            return Some(end);
        }
        self.push(IocType::Domain, value, start, stop, defanged);
        Some(stop)
    }

    /// The canonical form of a name, if it is a public domain. IDNA is slow, and texts say their names more than once.
    fn public_domain<'n>(&mut self, name: &'n str) -> Option<Cow<'n, str>> {
        let look_up = |name: &str| domain::canonical(name).ok().filter(|name| domain::is_public(name));
        if domain::is_canonical_host(name) {
            return domain::is_public(name).then_some(Cow::Borrowed(name));
        }
        if name.is_ascii() {
            return look_up(name).map(Cow::Owned);
        }
        // No suffix beyond ASCII has one character.
        let last = after_last_dot(name);
        last.chars().nth(1)?;
        if self.known.0 != name {
            self.known = (name.to_owned(), look_up(name));
        }
        self.known.1.clone().map(Cow::Owned)
    }

    /// Ends `evil.com-based` after its suffix.
    fn cut_hyphenated(&mut self, stop: &mut usize) {
        let Some((_, last)) = at_last_dot(&self.clean) else { return };
        if let Some((head, tail)) = last.split_once('-')
            && HYPHENATED.contains(&head)
            && tail.is_ascii()
        {
            let tail_len = tail.len() + 1;
            self.clean.truncate(self.clean.len() - tail_len);
            *stop = back_over(self.bytes, *stop, tail_len);
        }
    }

    /// The cheap questions, asked before the public suffix list and IDNA are.
    fn may_be_domain(&self, start: usize, stop: usize, defanged: bool) -> bool {
        let name = self.clean.as_str();
        if name.len() > 1024 {
            return false;
        }
        let Some((below, last)) = at_last_dot(name) else { return false };
        if last.is_ascii() {
            let puny = last.len() > 4 && last.as_bytes()[..4].eq_ignore_ascii_case(b"xn--");
            if !puny && (last.len() < 2 || !last.bytes().all(|b| b.is_ascii_alphabetic())) {
                return false;
            }
        }
        if defanged {
            return true;
        }
        let before = |back: usize| start.checked_sub(back).map(|at| self.bytes[at]);
        let word = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
        let lower = if last.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(last.to_ascii_lowercase())
        } else {
            Cow::Borrowed(last)
        };
        match before(1) {
            Some(b'$') => return false,
            Some(b'.') if matches!(before(2), Some(b')' | b']')) => return false,
            // A component of a path; `//` and `\\` stand before a host.
            Some(b'\\') if word(before(2)) => return false,
            Some(b'/') if before(2) != Some(b'/') => {
                let is_file = |list: &[&str]| list.contains(&&*lower);
                if is_file(file::IN_PATHS) && lower != "com" || is_file(file::AMBIGUOUS) {
                    return false;
                }
            }
            _ => {}
        }
        has_case_of_a_host(name, last)
            && !is_number_or_code(below, &lower, self.bytes.get(stop).copied())
            && !(last.is_ascii() && self.is_of_code(start, stop, below, &lower))
    }

    /// Whether a canonical name with an ambiguous ending is rather a file.
    fn is_ambiguous_file(&self, name: &str, stop: usize) -> bool {
        let Some((below, last)) = at_last_dot(name) else { return false };
        if !file::AMBIGUOUS.contains(&last) || name.starts_with("www.") {
            return false;
        }
        match at_last_dot(below) {
            Some((_, middle)) => {
                FILE_MIDDLES.contains(&middle)
                    || (matches!(last, "data" | "map" | "zip") && file::has_file_ending(below))
            }
            // `point.md/about` has a path as hosts do.
            None => {
                !(self.bytes.get(stop) == Some(&b'/')
                    && self.bytes.get(stop + 1).is_some_and(u8::is_ascii_alphanumeric))
            }
        }
    }
}

/// What stands before and after the last dot of a name.
fn at_last_dot(name: &str) -> Option<(&str, &str)> {
    // The last label is short: a call takes longer than the look.
    name.bytes().rposition(|b| b == b'.').map(|dot| (&name[..dot], &name[dot + 1..]))
}

/// Whether a name stands behind a slash that is not the second one of `//`, or behind a backslash.
fn follows_a_folder(bytes: &[u8], start: usize) -> bool {
    let before = |back: usize| start.checked_sub(back).map(|at| bytes[at]);
    matches!((before(2), before(1)), (_, Some(b'\\' | b'@')) | (None, Some(b'/')))
        || (before(1) == Some(b'/') && before(2) != Some(b'/'))
}

fn after_last_dot(name: &str) -> &str {
    at_last_dot(name).map_or(name, |(_, last)| last)
}

/// Ends a name before a sentence that goes on without a blank: `evil[.]example.The`. Only where nothing else can be meant,
/// because classes and files are written so.
fn cut_sentence(bytes: &[u8], name: &mut String, end: &mut usize) {
    let Some((below, last)) = at_last_dot(name) else { return };
    let begins = last.len() > 1
        && last.as_bytes()[0].is_ascii_uppercase()
        && last.bytes().skip(1).all(|b| b.is_ascii_lowercase())
        && below.contains('.')
        && below.bytes().all(|b| !b.is_ascii_uppercase());
    let len = last.len() + 1;
    // As it stands there: the dot not disarmed, nothing invisible in between.
    let stands = begins && bytes[..*end].ends_with(&name.as_bytes()[name.len() - len..]);
    if stands && !domain::canonical(name).is_ok_and(|name| domain::is_public(&name)) {
        name.truncate(name.len() - len);
        *end -= len;
    }
}

/// Hyphens and underscores at the end of a name belong to the sentence.
fn trim_hyphens(bytes: &[u8], name: &mut String, end: &mut usize) {
    let kept = name.len() - name.bytes().rev().take_while(|b| matches!(b, b'-' | b'_')).count();
    *end = back_over(bytes, *end, name.len() - kept);
    name.truncate(kept);
}

/// The place so many visible ASCII characters before another, without invisible ones at its end.
fn back_over(bytes: &[u8], mut end: usize, count: usize) -> usize {
    let invisible = |end: usize| {
        [2, 3].into_iter().find(|&len| end >= len && invisible_at(bytes, end - len) == Some(len))
    };
    for left in (0..=count).rev().filter(|_| count > 0) {
        while let Some(len) = invisible(end) {
            end -= len;
        }
        end -= usize::from(left > 0);
    }
    end
}

/// `evil.example` and `EVIL.EXAMPLE` are hosts; `done.The` is two sentences, and `System.IO` is a class.
fn has_case_of_a_host(name: &str, last: &str) -> bool {
    // `Terminal.app` is a program of macOS, `Carp.pm` a module of Perl.
    if matches!(last, "app" | "pm") && name.starts_with(|c: char| c.is_ascii_uppercase()) {
        return false;
    }
    if !last.is_ascii() || last.bytes().all(|b| b.is_ascii_lowercase() || !b.is_ascii_alphabetic()) {
        return true;
    }
    name.bytes().all(|b| !b.is_ascii_lowercase()) && !FRAMEWORKS.contains(&name)
}

/// Versions, properties, method calls and packages. `below` has its own case; `last` is in lower case.
fn is_number_or_code(below: &str, last: &str, after: Option<u8>) -> bool {
    let one_label = !below.contains('.');
    let classic = matches!(last, "com" | "net" | "org" | "cn" | "ru");
    if below.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        // `1.0.dev`, `10.am`; but `163.com`, `12306.cn`, `1.12306.biz` and `165093.me`.
        let version =
            (PACKAGE_ENDS.contains(&last) || PROPERTIES.contains(&last)) && !(one_label && below.len() > 4);
        return !classic && (version || below.len() < 3);
    }
    if one_label {
        if below.len() == 1 {
            return !(last == "com" || after == Some(b'/'));
        }
        let lower = below.to_ascii_lowercase();
        let property = PROPERTIES.contains(&last);
        return property && (after == Some(b'(') || OBJECTS.contains(&lower.as_str()));
    }
    let first = below.split('.').next().unwrap_or(below);
    let property = PROPERTIES.contains(&last);
    if property && below.split('.').all(|label| label.len() == 1) {
        return true;
    }
    if BROWSER.contains(&first) && (property || matches!(last, "host" | "search" | "style")) {
        return true;
    }
    PACKAGES.contains(&first) && (last.len() > 3 || PACKAGE_ENDS.contains(&last))
}
