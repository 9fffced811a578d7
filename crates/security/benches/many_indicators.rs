//! Indicators in numbers through the engine: import, the mapped index, look-ups one by one and in bulk, removal.
//!
//! `cargo bench -p security --bench many_indicators -- FILE.csv` reads a feed (columns `type` and `value`); a number in
//! place of the file makes so many synthetic ones. Without either it says so and makes 200,000.
//! A folder as second argument is kept, and what was imported into it is used again. Times are CPU time of the thread
//! that works, except those that say otherwise.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for developers")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    io::{BufRead, BufReader, Cursor, Read},
    path::Path,
    time::{Duration, Instant},
};

use security::{Engine, ImportOptions, Options, SearchRequest};
use security_indicators::{IndexFile, Indicator};

fn memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let wanted = status.lines().filter(|line| line.starts_with("RssAnon") || line.starts_with("RssFile"));
    wanted.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", ")
}

fn open(folder: &Path) -> Engine {
    Engine::open(Options { data_dir: Some(folder.to_owned()), ..Options::default() }).unwrap()
}

/// A feed that is made while it is read.
struct Synthetic {
    rows: std::ops::Range<u64>,
    line: Cursor<String>,
}

impl Synthetic {
    fn new(count: u64) -> Self {
        Self { rows: 0..count, line: Cursor::new("type,value,source\n".to_owned()) }
    }
}

impl Read for Synthetic {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.line.position() == self.line.get_ref().len() as u64
            && let Some(n) = self.rows.next()
        {
            let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let line = self.line.get_mut();
            line.clear();
            match n % 5 {
                0 => writeln!(line, "ip,{},feed", std::net::Ipv4Addr::from((mixed >> 32) as u32)),
                1 => writeln!(line, "url,http://host{mixed:x}.example.com/a/{n},feed"),
                2 => writeln!(line, "sha256,{mixed:064x},feed"),
                _ => writeln!(line, "domain,host{mixed:x}.example.com,feed"),
            }
            .unwrap();
            self.line.set_position(0);
        }
        self.line.read(buffer)
    }
}

/// CPU time of this thread since the machine started, good to a few milliseconds.
fn cpu() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

/// CPU time of all threads of this process, in whole hundredths of a second.
fn cpu_of_all() -> Duration {
    let text = fs::read_to_string("/proc/self/stat").unwrap();
    // Behind the name, which may hold anything: the 14th and the 15th field of the whole line.
    let (_, fields) = text.rsplit_once(')').unwrap();
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(10 * ticks)
}

fn rate(count: usize, time: Duration) -> String {
    format!("{:.0} a second ({count} in {:.2} s)", count as f64 / time.as_secs_f64(), time.as_secs_f64())
}

/// Some of the values of each type, from all over the feed.
fn sample(feed: &mut dyn BufRead) -> BTreeMap<String, Vec<String>> {
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (number, line) in feed.lines().map_while(Result::ok).enumerate().skip(1) {
        let mut cells = line.splitn(3, ',');
        let [kind, value] = [(); 2].map(|()| cells.next().unwrap_or_default().to_owned());
        if number % 11 == 0 && !value.starts_with('"') {
            values.entry(kind).or_default().push(value);
        }
    }
    // What this version refuses, the import refused.
    for (kind, values) in &mut values {
        values.retain(|value| Indicator::from_parts(kind, value).is_ok());
    }
    values.values_mut().for_each(|values| values.truncate(200_000));
    values.retain(|_, values| values.len() > 100);
    values
}

fn main() {
    // Cargo adds `--bench`.
    let argument = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let number = argument.as_deref().map(str::parse::<u64>);
    let feed = || -> Box<dyn Read> {
        match (&argument, &number) {
            (Some(path), Some(Err(_))) => Box::new(File::open(path).unwrap()),
            (_, Some(Ok(count))) => Box::new(Synthetic::new(*count)),
            _ => {
                println!("no feed given: 200,000 synthetic indicators are used");
                Box::new(Synthetic::new(200_000))
            }
        }
    };
    let place = tempfile::tempdir().unwrap();
    let kept = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).nth(1);
    let folder = kept.as_ref().map_or(place.path(), Path::new);
    if !folder.join("iocs").exists() {
        import(folder, feed());
    }

    let file = fs::read_dir(folder.join("iocs")).unwrap().map(|entry| entry.unwrap().path());
    let file = file.filter(|path| path.extension().is_some_and(|end| end == "idx")).max();
    if let Some(path) = file {
        let file = IndexFile::parse(fs::read(&path).unwrap()).unwrap();
        for section in file.sizes() {
            let each = section.bytes as f64 / section.entries as f64;
            println!("  {:<8} {:>9} entries {each:>6.2} bytes an entry", section.name, section.entries);
        }
        let bytes = fs::metadata(&path).unwrap().len();
        println!(
            "  whole    {:>9} entries {:>6.2} bytes an entry",
            file.len(),
            bytes as f64 / file.len() as f64
        );
    }
    let values = sample(&mut BufReader::new(feed()));
    for _ in 0..2 {
        let begun = Instant::now();
        let engine = open(folder);
        let opened = begun.elapsed();
        engine.check_ioc("ip", "192.0.2.1").unwrap();
        println!("open {opened:?}, first answer after {:?}; {}", begun.elapsed(), memory());
    }
    let engine = open(folder);
    for (kind, values) in &values {
        look_up(&engine, kind, values);
    }
    println!("after the look-ups: {}", memory());

    // By the clock, on all cores.
    for (kind, values) in &values {
        let missing: Vec<_> = values.iter().map(|value| absent(kind, value)).collect();
        let missing: Vec<_> =
            missing.into_iter().filter(|value| Indicator::from_parts(kind, value).is_ok()).collect();
        let many: Vec<_> = missing.iter().cycle().take(1_000_000).collect();
        let begun = Instant::now();
        let met = engine.matched_iocs(kind, &many).unwrap().len();
        println!(
            "bulk on all cores, by the clock: {} of {kind}, {met} met",
            rate(many.len(), begun.elapsed())
        );
    }
    // What a feed's file is called is the source of all that it holds.
    let source = "feed:feed";
    let begun = Instant::now();
    let words = SearchRequest { text: Some("no word of any".to_owned()), ..SearchRequest::default() };
    let found = engine.search_intelligence(&words).unwrap().len();
    println!(
        "full text, made for the first search: {:.1} s by the clock, {found} found",
        begun.elapsed().as_secs_f64()
    );
    if kept.is_some() {
        println!("the folder is kept: no source is removed");
        return;
    }
    let (begun, mut last) = (cpu(), Duration::ZERO);
    let done = engine.remove_source(source, &mut |_| last = cpu()).unwrap();
    println!("delete by source {source}: {}", rate(done.removed + done.kept, last.saturating_sub(begun)));
    println!("  {} removed, {} kept, index made anew in {:?}", done.removed, done.kept, cpu() - last);
}

fn import(folder: &Path, feed: impl Read) {
    let engine = open(folder);
    let options =
        ImportOptions { skip_bad: true, format: Some("csv".to_owned()), ..ImportOptions::default() };
    let (begun, wall) = (cpu_of_all(), Instant::now());
    let (mut last, mut last_wall) = (begun, wall);
    let reader = BufReader::with_capacity(1 << 20, feed);
    // Whether an entry costs more the more there are: over portions of which each is twice the one before.
    let (mut mark, mut portion) = (1_000_000, (0, begun));
    let report = engine.import_indicators("feed.csv", reader, &options, &mut |progress| {
        (last, last_wall) = (cpu_of_all(), Instant::now());
        if progress.imported >= mark {
            let (from, since) = std::mem::replace(&mut portion, (progress.imported, last));
            let each = (last - since).as_secs_f64() * 1e6 / (progress.imported - from) as f64;
            println!("  {from} to {}: {each:.2} us of CPU time an entry", progress.imported);
            mark = 2 * progress.imported;
        }
    });
    let report = report.unwrap();
    let count = report.added + report.merged;
    println!(
        "import, durable, by the clock: {}, {} rejected",
        rate(count, last_wall - wall),
        report.rejected
    );
    println!("  CPU time of both threads: {}", rate(count, last - begun));
    println!("index after it: {}; {}", rate(count, cpu_of_all() - last), memory());
}

fn look_up(engine: &Engine, kind: &str, values: &[String]) {
    let each = |values: &[String], rounds: u32| {
        let begun = cpu();
        let mut met = 0;
        for _ in 0..rounds {
            met += values.iter().filter(|value| engine.check_ioc(kind, value).unwrap().matched).count();
        }
        (met, (cpu() - begun).as_nanos() / (values.len() as u128 * u128::from(rounds)))
    };
    let missing = values.iter().map(|value| absent(kind, value));
    let missing: Vec<_> = missing.filter(|value| Indicator::from_parts(kind, value).is_ok()).collect();
    let few = &values[..values.len().min(1000)];
    each(few, 1);
    let (_, warm) = each(few, 20);
    let (met, cold) = each(&values[..values.len().min(20_000)], 1);
    let (wrong, miss) = each(&missing, 1);
    // In portions that one thread looks up.
    let (begun, mut bulk) = (cpu(), 0);
    let rounds = 200_000_usize.div_ceil(missing.len());
    for some in (0..rounds).flat_map(|_| missing.chunks(16_000)) {
        bulk += engine.matched_iocs(kind, some).unwrap().len();
    }
    let bulk_rate = (rounds * missing.len()) as f64 / (cpu() - begun).as_secs_f64() / 1e6;
    println!(
        "  {kind:<8} hit kept {warm:>5} ns, hit read {cold:>6} ns ({met} met), miss {miss:>5} ns ({wrong} met), \
         bulk miss {bulk_rate:.2} M/s ({bulk} met)"
    );
}

/// A value of the same kind that is hardly listed.
fn absent(kind: &str, value: &str) -> String {
    let address = |text: &str| {
        let address: std::net::Ipv4Addr = text.parse().unwrap();
        std::net::Ipv4Addr::from(u32::from(address).wrapping_mul(2_654_435_761)).to_string()
    };
    // The next letter of the alphabet: also the top-level domain is then another one.
    let shifted = |text: &str| -> String {
        let next = |c: char| match c {
            'a'..='y' | 'A'..='Y' => char::from(c as u8 + 1),
            'z' => 'a',
            other => other,
        };
        text.chars().map(next).collect()
    };
    match (kind, value.split_once("://")) {
        ("url", Some((scheme, rest))) => {
            let end = rest.find(['/', ':', '?']).unwrap_or(rest.len());
            match rest[..end].parse::<std::net::Ipv4Addr>() {
                Ok(_) => format!("{scheme}://{}{}", address(&rest[..end]), &rest[end..]),
                Err(_) => format!("{scheme}://{}", shifted(rest)),
            }
        }
        ("ip", _) if value.contains(':') => "2001:db8:1::5".to_owned(),
        ("ip", _) => address(value),
        ("ip:port", _) => {
            value.split_once(':').map_or_else(String::new, |(host, port)| match host.contains('[') {
                true => "192.0.2.1:80".to_owned(),
                false => format!("{}:{port}", address(host)),
            })
        }
        ("domain" | "email" | "url", _) => shifted(value),
        _ => value.chars().rev().collect(),
    }
}
