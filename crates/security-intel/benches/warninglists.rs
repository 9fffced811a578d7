//! Warninglists in numbers: `cargo bench -p security-intel --bench warninglists -- FOLDER` reads every `list.json` below a
//! folder (a checkout of MISP's warninglists); without one it says so and makes 136 lists of 530,000 entries.
//!
//! Checks are CPU time of the thread; the memory is the process's, measured before and after.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for developers")]

use std::{fs, path::Path, time::Duration};

use security_indicators::Indicator;
use security_intel::{WarningList, WarningLists};
use serde_json::json;

fn read(folder: &Path, lists: &mut Vec<WarningList>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            read(&path, lists);
        } else if path.file_name().is_some_and(|name| name == "list.json") {
            match WarningList::from_json(&fs::read(&path).unwrap()) {
                Ok(list) => lists.push(list),
                Err(error) => println!("{}: {error}", path.display()),
            }
        }
    }
}

fn made() -> Vec<WarningList> {
    let list = |number: u32| {
        let (kind, each): (_, fn(u32) -> String) = match number {
            0..80 => ("cidr", |n| {
                format!("{}/24", std::net::Ipv4Addr::from(n.wrapping_mul(2_654_435_761) & 0xffff_ff00))
            }),
            80..112 => ("string", |n| format!("host{n}.top.com")),
            112..131 => ("hostname", |n| format!(".zone{n}.net")),
            131..134 => ("substring", |n| format!("@throwaway{n}.org")),
            _ => ("regex", |n| format!("/^(noc|abuse){n}\\@/i")),
        };
        let count = match number {
            131..134 => 2700,
            134.. => 17,
            _ => 4000,
        };
        let entries: Vec<String> = (0..count).map(|n| each(number * 10_000 + n)).collect();
        WarningList::from_value(json!({"name": format!("list {number}"), "type": kind, "list": entries}))
            .unwrap()
    };
    (0..136).map(list).collect()
}

fn cpu() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn main() {
    // Cargo adds `--bench`.
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let mut lists = Vec::new();
    match &folder {
        Some(folder) => read(Path::new(folder), &mut lists),
        None => {
            println!("no folder given: lists are made");
            lists = made();
        }
    }
    let entries: usize = lists.iter().map(|list| list.info().entries).sum();
    let (begun, before) = (cpu(), resident());
    let compiled = WarningLists::compile(&lists).unwrap();
    let took = cpu() - begun;
    println!(
        "{} lists, {entries} entries: compiled in {took:?}, {:.1} MiB counted, {:.1} MiB of the process",
        lists.len(),
        compiled.bytes() as f64 / (1 << 20) as f64,
        resident() - before
    );
    let mixed = |n: u32| n.wrapping_mul(2_654_435_761);
    let kinds: [(&str, fn(u32) -> String); 6] = [
        ("ip", |n| format!("ip:{}", std::net::Ipv4Addr::from(n))),
        ("ip (6)", |n| format!("ip:2600:{:x}:{:x}::1", n >> 16, n & 0xffff)),
        ("domain", |n| format!("domain:www.host{n:x}.com")),
        ("url", |n| format!("url:https://www.host{n:x}.com/a/b")),
        ("email", |n| format!("email:someone{n:x}@host{n:x}.com")),
        ("sha256", |n| format!("sha256:{n:064x}")),
    ];
    for (name, text) in kinds {
        let checked: Vec<Indicator> = (0..50_000).map(|n| text(mixed(n)).parse().unwrap()).collect();
        let (begun, mut met) = (cpu(), 0);
        for _ in 0..4 {
            met += checked.iter().filter(|value| !compiled.check(value).is_empty()).count();
        }
        let rate = 200_000.0 / (cpu() - begun).as_secs_f64() / 1e6;
        println!("  {name:<7} {rate:>6.2} M checks/s ({met} of 200000 met)");
    }
}
