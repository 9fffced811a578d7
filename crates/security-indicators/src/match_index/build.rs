//! Making an index file: entries in any order, sorted by hash in bounded memory, written from front to back.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io::{self, Seek, SeekFrom, Write},
};

use super::{
    IndexId, LONE, Place,
    around::Around,
    file::{
        BLOCKS_V4, BLOCKS_V6, FIRST_SECTION, HEADER, MAGIC, NAME, SECTION, SECTIONS, SITES, V4, V6, VERSION,
        header_check, section_name, v4_key, v6_key,
    },
    sites,
    table::{self, BUCKET, MOST_ROWS, SLOTS},
    walk::Levels,
};
use crate::{IocType, url};

/// Where sorted runs wait until all are there. They hold hashes and rows, and may be forgotten afterwards.
pub trait Scratch {
    /// Writes bytes after those that are there.
    ///
    /// # Errors
    /// Whatever keeps them from being written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Reads bytes from a place.
    ///
    /// # Errors
    /// Whatever keeps them from being read.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;
}

/// Bytes of an entry in a run.
const ENTRY: usize = size_of::<u128>();
/// Entries read at a time from one run.
const AT_ONCE: usize = 4096;

/// Collects the listed indicators and writes them as an index file.
pub struct IndexBuilder<S> {
    id: IndexId,
    key: [u8; 16],
    hash_key: (u64, u64),
    revision: u64,
    /// Section (8 bits), hash (64), row (40): the order of the file.
    pending: Vec<u128>,
    most_pending: usize,
    scratch: S,
    /// Where each run begins and ends, in entries.
    runs: Vec<(u64, u64)>,
    counts: [u64; SECTIONS],
    v4: Levels,
    v6: Levels,
    around_v4: Around,
    around_v6: Around,
    longest_url: usize,
    /// The hash of the site that was noted last: the URLs of a site often follow one another.
    last_site: Option<u64>,
}

impl<S: Scratch> IndexBuilder<S> {
    /// Begins a file. `id` and `key` are random bytes; `revision` is the store's before the first entry is read;
    /// `memory` bounds what is sorted at a time, in bytes.
    pub fn new(id: IndexId, key: [u8; 16], revision: u64, memory: usize, scratch: S) -> Self {
        Self {
            id,
            key,
            hash_key: (table::word(&key, 0), table::word(&key, 8)),
            revision,
            pending: Vec::new(),
            most_pending: (memory / ENTRY).max(1),
            scratch,
            runs: Vec::new(),
            counts: [0; SECTIONS],
            v4: Levels::default(),
            v6: Levels::default(),
            around_v4: Around::default(),
            around_v6: Around::default(),
            longest_url: 0,
            last_site: None,
        }
    }

    /// Adds a kind's canonical value under a row.
    ///
    /// # Errors
    /// A row that is negative or 2⁴⁰ or more, or what the scratch refuses.
    pub fn insert(&mut self, kind: IocType, value: &str, row: i64) -> io::Result<()> {
        let row = u64::try_from(row).ok().filter(|row| *row < MOST_ROWS).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "a row has no place in a match index")
        })?;
        let (section, hash) = match Place::of_canonical(kind, value) {
            Place::V4(level, key) => {
                self.v4.add(level);
                if level != LONE {
                    self.around_v4.add_v4(level, key);
                }
                (V4, table::hash(self.hash_key, &v4_key(level, key)))
            }
            Place::V6(level, key) => {
                self.v6.add(level);
                if level != LONE {
                    self.around_v6.add_v6(level, key);
                }
                (V6, table::hash(self.hash_key, &v6_key(level, key)))
            }
            Place::Text(kind, value) => {
                if kind == IocType::Url {
                    self.longest_url = self.longest_url.max(value.len());
                    self.note_site(&value[..url::site_end(value)]);
                }
                (kind as usize, table::hash(self.hash_key, value.as_bytes()))
            }
        };
        self.counts[section] += 1;
        self.pending.push((section as u128) << 104 | u128::from(hash) << 40 | u128::from(row));
        if self.pending.len() >= self.most_pending {
            self.spill()?;
        }
        Ok(())
    }

    fn note_site(&mut self, site: &str) {
        let hash = sites::hash(self.hash_key, site);
        if self.last_site.replace(hash) != Some(hash) {
            self.counts[SITES] += 1;
            self.pending.push((SITES as u128) << 104 | u128::from(hash) << 40);
        }
    }

    fn spill(&mut self) -> io::Result<()> {
        self.pending.sort_unstable();
        let start = self.runs.last().map_or(0, |(_, end)| *end);
        let mut bytes = Vec::with_capacity(AT_ONCE * ENTRY);
        for part in self.pending.chunks(AT_ONCE) {
            bytes.clear();
            part.iter().for_each(|entry| bytes.extend_from_slice(&entry.to_le_bytes()));
            self.scratch.append(&bytes)?;
        }
        self.runs.push((start, start + self.pending.len() as u64));
        self.pending.clear();
        Ok(())
    }

    /// Writes the file from its beginning, the header last: what is cut short is never taken for an index.
    ///
    /// # Errors
    /// What the scratch or the output refuses.
    pub fn finish<W: Write + Seek>(mut self, mut output: W) -> io::Result<W> {
        output.write_all(&[0; HEADER])?;
        let mut writer = TableWriter::new(output, self.counts);
        if self.runs.is_empty() {
            self.pending.sort_unstable();
            self.pending.iter().try_for_each(|entry| writer.place(*entry))?;
        } else {
            if !self.pending.is_empty() {
                self.spill()?;
            }
            self.pending = Vec::new();
            merge(&self.scratch, &self.runs, |entry| writer.place(entry))?;
        }
        let (mut output, sections, length) = writer.end()?;
        let header = self.header(&sections, length);
        output.seek(SeekFrom::Start(0))?;
        output.write_all(&header)?;
        output.flush()?;
        Ok(output)
    }

    fn header(&self, sections: &[Written], length: u64) -> Vec<u8> {
        let mut header = vec![0; HEADER];
        let mut put = |at: usize, number: u64| header[at..at + 8].copy_from_slice(&number.to_le_bytes());
        put(0, MAGIC);
        put(8, VERSION);
        put(24, length);
        put(64, self.revision);
        let listed = sections.iter().filter(|section| section.number != SITES);
        put(72, listed.map(|section| section.entries).sum());
        put(80, self.longest_url as u64);
        put(88, sections.len() as u64);
        for word in 0..3 {
            put(96 + 8 * word, self.v4.0[word]);
            put(120 + 8 * word, self.v6.0[word]);
        }
        for (n, section) in sections.iter().enumerate() {
            let at = FIRST_SECTION + n * SECTION + NAME;
            let numbers = [section.start, section.homes, section.buckets, section.entries];
            for (n, number) in numbers.into_iter().enumerate() {
                put(at + 8 * n, number);
            }
        }
        for (n, section) in sections.iter().enumerate() {
            let (at, name) = (FIRST_SECTION + n * SECTION, section_name(section.number).as_bytes());
            header[at..at + name.len()].copy_from_slice(name);
        }
        header[BLOCKS_V4..BLOCKS_V6].copy_from_slice(self.around_v4.bytes());
        header[BLOCKS_V6..].copy_from_slice(self.around_v6.bytes());
        header[32..48].copy_from_slice(&self.id.0);
        header[48..64].copy_from_slice(&self.key);
        let sum = header_check(&header);
        header[16..24].copy_from_slice(&sum.to_le_bytes());
        header
    }
}

/// Gives the entries of all runs in their order.
fn merge(
    scratch: &impl Scratch,
    runs: &[(u64, u64)],
    mut each: impl FnMut(u128) -> io::Result<()>,
) -> io::Result<()> {
    let mut runs: Vec<Run> =
        runs.iter().map(|&(next, end)| Run { next, end, read: Vec::new(), at: 0 }).collect();
    let mut heads = BinaryHeap::with_capacity(runs.len());
    for (number, run) in runs.iter_mut().enumerate() {
        heads.extend(run.take(scratch)?.map(|entry| Reverse((entry, number))));
    }
    while let Some(Reverse((entry, number))) = heads.pop() {
        each(entry)?;
        heads.extend(runs[number].take(scratch)?.map(|entry| Reverse((entry, number))));
    }
    Ok(())
}

struct Run {
    next: u64,
    end: u64,
    read: Vec<u8>,
    at: usize,
}

impl Run {
    fn take(&mut self, scratch: &impl Scratch) -> io::Result<Option<u128>> {
        if self.at == self.read.len() {
            let count = (self.end - self.next).min(AT_ONCE as u64);
            if count == 0 {
                return Ok(None);
            }
            self.read.resize(count as usize * ENTRY, 0);
            scratch.read_at(self.next * ENTRY as u64, &mut self.read)?;
            (self.next, self.at) = (self.next + count, 0);
        }
        let mut entry = [0; ENTRY];
        entry.copy_from_slice(&self.read[self.at..self.at + ENTRY]);
        self.at += ENTRY;
        Ok(Some(u128::from_le_bytes(entry)))
    }
}

/// What was written of a section.
struct Written {
    number: usize,
    start: u64,
    homes: u64,
    buckets: u64,
    entries: u64,
}

/// Lays entries, given in their order, into buckets.
struct TableWriter<W> {
    output: W,
    position: u64,
    counts: [u64; SECTIONS],
    sections: Vec<Written>,
    bucket: [u8; BUCKET],
    filled: usize,
    last: Option<u128>,
}

impl<W: Write> TableWriter<W> {
    fn new(output: W, counts: [u64; SECTIONS]) -> Self {
        let bucket = [0; BUCKET];
        Self { output, position: HEADER as u64, counts, sections: Vec::new(), bucket, filled: 0, last: None }
    }

    fn place(&mut self, entry: u128) -> io::Result<()> {
        if self.last.replace(entry) == Some(entry) {
            return Ok(());
        }
        let (number, hash, row) = ((entry >> 104) as usize, (entry >> 40) as u64, entry as u64 & MOST_ROWS);
        if self.sections.last().is_none_or(|section| section.number != number) {
            self.end_section()?;
            let homes = match number {
                SITES => sites::blocks(self.counts[number]),
                _ => table::homes(self.counts[number]),
            };
            let start = self.position;
            self.sections.push(Written { number, start, homes, buckets: 0, entries: 0 });
        }
        let Some(section) = self.sections.last_mut() else { return Ok(()) };
        section.entries += 1;
        let home = table::home(hash, section.homes);
        if number == SITES {
            while self.at() < home {
                self.write_bucket()?;
            }
            sites::note(&mut self.bucket, hash);
            return Ok(());
        }
        while self.at() < home || self.filled == SLOTS {
            self.write_bucket()?;
        }
        table::put(&mut self.bucket, self.filled, hash, row);
        self.filled += 1;
        Ok(())
    }

    /// The bucket being filled.
    fn at(&self) -> u64 {
        self.sections.last().map_or(0, |section| section.buckets)
    }

    fn write_bucket(&mut self) -> io::Result<()> {
        let Some(section) = self.sections.last_mut() else { return Ok(()) };
        table::seal(&mut self.bucket, section.number as u64, section.buckets);
        self.output.write_all(&self.bucket)?;
        section.buckets += 1;
        self.position += BUCKET as u64;
        (self.bucket, self.filled) = ([0; BUCKET], 0);
        Ok(())
    }

    /// Writes up to the last home, and on until a bucket with a free slot ends the last search.
    fn end_section(&mut self) -> io::Result<()> {
        let Some(homes) = self.sections.last().map(|section| section.homes) else { return Ok(()) };
        loop {
            let is_last = self.filled < SLOTS && self.at() + 1 >= homes;
            self.write_bucket()?;
            if is_last {
                return Ok(());
            }
        }
    }

    fn end(mut self) -> io::Result<(W, Vec<Written>, u64)> {
        self.end_section()?;
        Ok((self.output, self.sections, self.position))
    }
}
