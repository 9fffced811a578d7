#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and may stop where it stands"
)]
//! The index file over synthetic entries: bytes an entry, build rate, time to open, look-ups.
//!
//! `cargo bench -p security-indicators --bench match_index -- 1000000 10000000`; the bytes lie in memory, so the
//! figures are those of a file in the page cache. Sorting is held to 64 MiB, with the runs in memory too.

use std::{
    io::{self, Cursor},
    time::Instant,
};

use security_indicators::{IndexBuilder, IndexFile, IndexId, Indicator, IocType, LayeredIndex, Scratch};

#[derive(Default)]
struct InMemory(Vec<u8>);

impl Scratch for InMemory {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        bytes.copy_from_slice(&self.0[start..start + bytes.len()]);
        Ok(())
    }
}

fn entry(n: u64) -> (IocType, String) {
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    match n % 8 {
        0 => (IocType::Ip, std::net::Ipv4Addr::from(mixed as u32).to_string()),
        1 => (IocType::Ip, std::net::Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(mixed)).to_string()),
        2 => (IocType::Cidr, format!("{}/24", std::net::Ipv4Addr::from(mixed as u32 & 0xffff_ff00))),
        3 => (IocType::Url, format!("http://host{mixed:x}.example.com/a/{n}")),
        4 => (IocType::Sha256, format!("{mixed:064x}")),
        _ => (IocType::Domain, format!("host{mixed:x}.example.com")),
    }
}

fn main() {
    let mut sizes: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![1_000_000, 10_000_000];
    }
    for size in sizes {
        run(size);
    }
}

fn run(size: u64) {
    let portion = 100_000;
    let mut builder = IndexBuilder::new(IndexId([1; 16]), [2; 16], 1, 64 << 20, InMemory::default());
    let mut seconds = 0.0;
    for first in (0..size).step_by(portion) {
        let entries: Vec<_> = (first..size.min(first + portion as u64)).map(entry).collect();
        let begun = Instant::now();
        for (row, (kind, value)) in (first as i64 + 1..).zip(&entries) {
            builder.insert(*kind, value, row).unwrap();
        }
        seconds += begun.elapsed().as_secs_f64();
    }
    let begun = Instant::now();
    let bytes = builder.finish(Cursor::new(Vec::new())).unwrap().into_inner();
    seconds += begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let file = IndexFile::parse(bytes).unwrap();
    let opened = begun.elapsed();
    println!("{size} entries: built at {:.2} M/s, opened in {opened:?}", size as f64 / seconds / 1e6);
    for section in file.sizes() {
        let an_entry = section.bytes as f64 / section.entries as f64;
        println!("  {:<8} {:>9} entries {an_entry:>6.2} bytes an entry", section.name, section.entries);
    }
    let index = LayeredIndex::over(file);
    let names = ["ip (4)", "ip (6)", "cidr", "url", "sha256", "domain"];
    for (class, name) in names.iter().enumerate() {
        // A stride that is odd and large: most look-ups meet cold cache lines, as they do in life.
        let listed = |n: u64| n.wrapping_mul(15_485_863) % (size / 8) * 8 + class as u64;
        let checked = |from: u64| -> Vec<Indicator> {
            let numbers = (0..100_000).map(|n| listed(n) + from);
            numbers.map(entry).map(|(kind, value)| Indicator::parse(kind, &value).unwrap()).collect()
        };
        let (hits, hit_time) = look_up(&index, &checked(0));
        // A multiple of eight beyond the last entry keeps the kind.
        let (misses, miss_time) = look_up(&index, &checked(size.next_multiple_of(8)));
        println!(
            "  {name:<8} hit {hit_time:>6.0} ns ({hits} of 100000), miss {miss_time:>6.0} ns ({misses} met)"
        );
    }
}

fn look_up(index: &LayeredIndex<Vec<u8>>, checked: &[Indicator]) -> (usize, f64) {
    let begun = Instant::now();
    let met = checked.iter().filter(|indicator| !index.matches(indicator).unwrap().is_empty()).count();
    (met, begun.elapsed().as_nanos() as f64 / checked.len() as f64)
}
