//! How fast indicators are found, in MB/s of one core: `cargo bench -p security-indicators`.
//!
//! Each corpus is made by the code below. Beside [`extract`] stands the pass without masks over the same text; every
//! figure is the best of several rounds, because a shared machine only ever slows a round down.

#![allow(clippy::print_stdout, reason = "a table is what this program is for")]

use std::{fmt::Write, hint::black_box, time::Instant};

use security_indicators::{ExtractOptions, Found, extract, extract_through};

const ROUNDS: usize = 7;
const SIZE: usize = 4 << 20;

/// Pseudo-random numbers: the same corpus in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn grown(mut line: impl FnMut(&mut String, &mut Numbers)) -> String {
    let mut text = String::with_capacity(SIZE + 1024);
    let mut numbers = Numbers(7);
    while text.len() < SIZE {
        line(&mut text, &mut numbers);
    }
    text
}

/// System and application logs: times, numbers, words, an address in one line of three.
fn logs() -> String {
    grown(|text, n| {
        let (hour, minute, second, host) = (n.below(24), n.below(60), n.below(60), n.below(40));
        let (a, b, pid) = (n.below(256), n.below(256), n.below(32_768));
        match n.below(9) {
            0 => writeln!(text, "Nov 24 {hour:02}:{minute:02}:{second:02} web{host:02} sshd[{pid}]: Failed password for invalid user admin from 10.20.{a}.{b} port {pid} ssh2"),
            1 => writeln!(text, "Nov 24 {hour:02}:{minute:02}:{second:02} web{host:02} systemd[1]: Started Session {pid} of user deploy."),
            2 => writeln!(text, "2026-11-24T{hour:02}:{minute:02}:{second:02}.{pid:06}Z INFO request finished status=200 bytes={pid} duration_ms=12.{a} cache=miss worker={host} attempt=1"),
            3 => writeln!(text, "192.168.{a}.{b} - - [24/Nov/2026:{hour:02}:{minute:02}:{second:02} +0000] \"GET /api/v1/orders/{pid}?page={host}&size=50 HTTP/1.1\" 200 {pid} \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\" 0.0{host:02}"),
            4 => writeln!(text, "2026-11-24 {hour:02}:{minute:02}:{second:02},{a:03} DEBUG [pool-3-thread-{host}] cache refresh took {b} ms, {pid} entries kept, {a} dropped, next run in 300 s"),
            5 => writeln!(text, "{{\"ts\":\"2026-11-24T{hour:02}:{minute:02}:{second:02}Z\",\"level\":\"warn\",\"msg\":\"queue is filling up\",\"depth\":{pid},\"request_id\":\"{pid:08x}-4a{host:02x}-41d4-a716-44665544{a:02x}{b:02x}\"}}"),
            6 => writeln!(text, "Nov 24 {hour:02}:{minute:02}:{second:02} db{host:02} kernel: [{pid}.{a:03}{b:03}] eth0: renamed from veth{pid:x}, link becomes ready, mtu 1500"),
            7 => writeln!(text, "Nov 24 {hour:02}:{minute:02}:{second:02} db{host:02} CRON[{pid}]: (root) CMD (   cd / && run-parts --report /etc/cron.hourly)"),
            _ => writeln!(text, "2026-11-24 {hour:02}:{minute:02}:{second:02} UTC [{pid}] LOG:  checkpoint complete: wrote {a} buffers (0.{b}%); 0 files added, sync={host}.{a:03} s, total={b}.{a:03} s"),
        }
        .expect("a string takes what is written");
    })
}

/// One address in every line.
fn logins() -> String {
    grown(|text, n| {
        let (a, b, c) = (n.below(60), n.below(250), n.below(60_000));
        writeln!(text, "2026-11-24T08:30:{a:02}Z host{a} sshd[4{a}]: Failed password for invalid user admin from 198.51.100.{b} port {c} ssh2")
            .expect("a string takes what is written");
    })
}

/// Paragraphs of reports, disarmed indicators every few words.
fn reports() -> String {
    grown(|text, n| {
        let (a, b) = (n.below(250), n.below(100_000));
        match n.below(5) {
            0 => writeln!(text, "The implant first resolves evil{b}[.]example[.]com and then fetches hxxps://c2-{b}.example.net/gate.php?id={a} over TLS; when this fails it falls back to 203[.]0[.]113[.]{a}:8443."),
            1 => writeln!(text, "Its second stage (SHA-256 {:016x}{:016x}{:016x}{:016x}) exploits CVE-2024-{b:05} and was mailed by ops{b}@example[.]org to several ministries.", hex(n), hex(n), hex(n), hex(n)),
            2 => writeln!(text, "We assess with moderate confidence that this activity, tracked as T1059.{:03} and T1566, is a continuation of the campaign described in our earlier report; the operators rent servers in AS6{a:04} and register names below .example.net in batches.", a % 10),
            3 => writeln!(text, "Persistence is kept by HKLM\\Software\\Microsoft\\Windows\\CurrentVersion\\Run\\Updater{a}, which starts C:\\ProgramData\\upd{b}.exe at every logon of any user of the machine."),
            _ => writeln!(text, "| {:016x}{:016x} | dropper{a}.dll | update-{b}.example.com | 198.51.100.{a} |", hex(n), hex(n)),
        }
        .expect("a string takes what is written");
    })
}

/// Next to nothing but indicators, as `benches/extractors.py` makes it.
fn dense() -> String {
    let mut number = 0;
    grown(|text, n| {
        let (b, s) = (number % 250, number % 60);
        writeln!(text, "The implant resolves evil{number}[.]example[.]com and fetches hxxps://c2-{number}.example.net/gate.php?id={b} over TLS; when this fails it falls back to 203[.]0[.]113[.]{b}:8443. Its second stage (SHA-256 {:016x}{:016x}{:016x}{:016x}) uses CVE-2024-{s:04} and was mailed by ops{number}@example[.]org.", hex(n), hex(n), hex(n), hex(n))
            .expect("a string takes what is written");
        number += 1;
    })
}

fn hex(n: &mut Numbers) -> u64 {
    n.below(1 << 31) << 33 | n.below(1 << 31) << 2 | n.below(4)
}

fn speed(text: &str, find: fn(&str, &ExtractOptions) -> Vec<Found>) -> f64 {
    let options = ExtractOptions { max_hits: usize::MAX, ..ExtractOptions::default() };
    let best = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        black_box(find(black_box(text), &options));
        start.elapsed()
    });
    text.len() as f64 / best.min().expect("there are rounds").as_secs_f64() / 1e6
}

/// Texts that make a careless search look back or ahead again and again.
const HOSTILE: &[(&str, &str)] = &[
    ("dots", "."),
    ("dotted letters", "a."),
    ("dotted numbers", "1."),
    ("addresses without end", "1.2.3.4."),
    ("hex", "0a1b2c3d4e5f6071"),
    ("base64", "QUJDRGVmZ2hpamtsbW5vcA+/"),
    ("slashes", "/"),
    ("folders", "/usr/a"),
    ("at-signs", "@"),
    ("addresses of mail", "a@b."),
    ("long local parts", "a.b@"),
    ("opening brackets", "["),
    ("disarmed dots", "a[.]"),
    ("brackets", "[.]({"),
    ("colons", ":"),
    ("colons and hex", "ab:cd::"),
    ("fuzzy hashes", "3:abcdef:"),
    ("digits", "7"),
    ("schemes", "hxxp"),
    ("URLs without hosts", "hxxp://"),
    ("URLs in URLs", "http://a/"),
    ("users", "http://a%@"),
    ("parentheses in URLs", "http://a.com/("),
    ("percent", "%2e"),
    ("percent-encoded URLs", "http%3A%2F%2F"),
    ("emoji", "\u{1f992}"),
    ("letters of others", "ü."),
    ("invisible signs", "a\u{200b}"),
    ("hyphens", "a-_-"),
    ("backslashes", "\\"),
    ("Windows paths", "C:\\a"),
    ("quoted paths", "\"C:\\a b"),
    ("registry keys", "HKLM\\a "),
    ("references", "&amp;&#46;"),
    ("numbers of flaws", "CVE-2024-"),
    ("wrapped URLs", "http://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.com/\n"),
    ("margins", "7777777777777777777777777777777777777777777777777777777777777777/\n"),
    ("wallets", "1aB2cD3eF4gH5jK6mN7pQ8rS9tU"),
    ("blanks", "a [ . ] "),
    ("two dots in three", "1.2.3."),
    ("colons in twos", "::"),
    ("URLs and brackets", "http://a.com/[1]("),
    ("paths and blanks", "C:\\a "),
    ("combining marks", "e\u{301}"),
    ("names of marks", "e\u{301}."),
    ("marks alone", "\u{301}"),
    ("Cyrillic names", "да."),
    ("Chinese names", "访问。"),
    ("Chinese", "访"),
    ("Thai", "ที่"),
    ("fullwidth names", "ａ．"),
    ("joined emoji", "\u{1f468}\u{200d}\u{1f469}"),
    ("emoji and dots", "\u{1f992}."),
    ("German", "Größe über "),
    ("punycode", "xn--a."),
    ("sharp s", "ß.de "),
    ("numbers and dashes", "1-2."),
    ("mail of others", "ü@ü."),
    ("file names", "a.exe "),
    ("addresses", "192.0.2.1 "),
    ("names", "a.com "),
    ("digests", "9b1f0c6a7d2e43859c0f1a6be47d8352 "),
    ("flaws", "CVE-2024-12345 "),
    ("IPv6", "2001:db8::1 "),
    ("mail", "a@a.com "),
    ("long URLs", "http://a.com/bbbbbbbbbbbbbbbbbbbbbbbbbbbb?c=d "),
];

/// How the time grows from 64 kB to 1 MB of a hostile text: sixteen times the text, twenty times the time at most.
fn growth() {
    println!(
        "\n{:<16} {:>12} {:>12} {:>8} {:>10}",
        "hostile text", "us of 64 kB", "us of 1 MB", "times", "MB/s"
    );
    let options = ExtractOptions { max_hits: usize::MAX, ..ExtractOptions::default() };
    for (name, piece) in HOSTILE {
        let micros = |size: usize| {
            let text = piece.repeat(size / piece.len());
            let rounds = (0..ROUNDS).map(|_| {
                let start = Instant::now();
                black_box(extract(black_box(&text), &options));
                start.elapsed()
            });
            rounds.min().expect("there are rounds").as_secs_f64() * 1e6
        };
        let (small, large) = (micros(64 << 10), micros(1 << 20));
        let speed = f64::from(1 << 20) / large;
        println!("{name:<16} {small:>12.0} {large:>12.0} {:>8.1} {speed:>10.0}", large / small);
    }
}

fn main() {
    let only = std::env::args().nth(1).filter(|name| !name.starts_with('-'));
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    // For a profiler: `once` and the name of a corpus or of a hostile text.
    let once = only.as_deref().filter(|only| *only == "once").and_then(|_| std::env::args().nth(2));
    println!("{:<12} {:>10} {:>10} {:>8} {:>12}", "corpus", "through", "masks", "times", "bytes/find");
    if only.as_deref() == Some("growth") {
        return growth();
    }
    let prose = "The quick brown fox jumps over the lazy dog, and nobody minds that it does so at night. ";
    let hostile = ["a.", "a:", "1.2.3", "[.", "http://", "a@b.", "%2e", "::", "a-b.c ", "ü."];
    if let Some((_, piece)) = HOSTILE.iter().find(|(name, _)| once.as_deref() == Some(name)) {
        let options = ExtractOptions { max_hits: usize::MAX, ..ExtractOptions::default() };
        black_box(extract(black_box(&piece.repeat((1 << 20) / piece.len())), &options));
        return;
    }
    let corpora = [("logs", logs()), ("logins", logins()), ("reports", reports()), ("dense", dense())]
        .into_iter()
        .chain([("prose", prose.repeat(SIZE / prose.len()))])
        .chain(hostile.map(|piece| (piece, piece.repeat(SIZE / 4 / piece.len()))));
    for (name, text) in corpora.filter(|(name, _)| wanted(name) || once.as_deref() == Some(name)) {
        if once.is_some() {
            black_box(extract(
                black_box(&text),
                &ExtractOptions { max_hits: usize::MAX, ..ExtractOptions::default() },
            ));
            continue;
        }
        let (through, masks) = (speed(&text, extract_through), speed(&text, extract));
        let found =
            extract(&text, &ExtractOptions { max_hits: usize::MAX, ..ExtractOptions::default() }).len();
        println!(
            "{name:<12} {through:>10.0} {masks:>10.0} {:>8.1} {:>12.0}",
            masks / through,
            text.len() as f64 / found as f64
        );
    }
    if only.is_none() {
        growth();
    }
}
