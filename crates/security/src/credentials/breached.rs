//! The filter of breached passwords: built from a list, mapped, asked by `validate_credential`.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use security_core::StoreFault;
use security_credentials::{BreachedFilter, BreachedHash, BreachedWriter};
use security_shared::ReadMap;
use serde::Serialize;
use serde_json::json;

use crate::{Engine, Error, Result, config::Source, utils::generate_request_id};

/// Hashes sorted in memory at once: 128 MiB. What exceeds them is sorted in files.
const IN_MEMORY: usize = 16 << 20;
/// The longest line of a list; its hashes have 40 digits.
const LONGEST_LINE: u64 = 1024;

/// What the making of a filter did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BreachedReport {
    /// The filter's file.
    pub file: String,
    /// Passwords that it knows.
    pub entries: u64,
    /// Lines of the list.
    pub lines: u64,
    /// Lines left out, as they were seen too seldom.
    pub left_out: u64,
    /// Size of the file in bytes.
    pub bytes: u64,
}

/// The filter in use.
#[derive(Debug, Default)]
pub(crate) struct BreachedInUse(Mutex<Option<Arc<ReadMap>>>);

impl Engine {
    /// Makes the filter of breached passwords of a list with a line `HASH:count` each, where the hash is SHA-1 in hex
    /// and the lines may be in any order, and puts it in place: `validate_credential` of every process uses it from
    /// then on. Passwords that were seen fewer than `least` times are left out.
    ///
    /// Takes 128 MiB of memory, and beside the file for a while six bytes a line.
    /// # Errors
    /// [`Error::Invalid`] for a line that is none, with its number; [`Error::Store`] when the file cannot be written.
    /// The filter in place stays as it is then.
    pub fn build_breached_filter(
        &self,
        list: impl BufRead,
        output: Option<&Path>,
        least: u64,
    ) -> Result<BreachedReport> {
        let path = output.unwrap_or(&self.settings.breached_passwords.value).to_owned();
        let build = Build::new(path, IN_MEMORY);
        let report = build.run(list, least)?;
        let details = json!({"file": report.file, "entries": report.entries, "lines": report.lines});
        self.audit("breached_filter_built", &generate_request_id(), details);
        Ok(report)
    }

    /// Whether a password is known from breaches; `None` where no filter is in place.
    /// # Errors
    /// When the configured filter is not there or cannot be used: nothing passes unchecked then.
    pub fn is_breached(&self, password: &[u8]) -> Result<Option<bool>> {
        let Some(map) = self.breached_filter()? else { return Ok(None) };
        let filter = BreachedFilter::open(map.bytes()).map_err(|error| self.unusable(&error))?;
        Ok(Some(filter.contains(password)))
    }

    fn breached_filter(&self) -> Result<Option<Arc<ReadMap>>> {
        let configured = &self.settings.breached_passwords;
        let mut in_use = self.breached.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(map) = in_use.as_ref().filter(|map| map.is_current(&configured.value)) {
            return Ok(Some(map.clone()));
        }
        *in_use = ReadMap::open(&configured.value)?.map(Arc::new);
        match &*in_use {
            None if !matches!(configured.source, Source::Default) => Err(self.unusable(&"it does not exist")),
            found => Ok(found.clone()),
        }
    }

    fn unusable(&self, problem: &dyn std::fmt::Display) -> Error {
        let problem = format!("the filter of breached passwords cannot be used: {problem}");
        StoreFault::new("store-damaged", problem)
            .with_hint("make it anew with `security breached build`")
            .at(&self.settings.breached_passwords.value)
            .into()
    }
}

/// One making of a filter, and the files that it leaves to nobody.
struct Build {
    path: PathBuf,
    draft: PathBuf,
    in_memory: usize,
    runs: Vec<PathBuf>,
}

impl Build {
    fn new(path: PathBuf, in_memory: usize) -> Self {
        let draft = beside(&path, "part");
        Self { path, draft, in_memory, runs: Vec::new() }
    }

    fn run(mut self, mut list: impl BufRead, least: u64) -> Result<BreachedReport> {
        let (mut lines, mut left_out) = (0, 0);
        let mut hashes: Vec<BreachedHash> = Vec::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut list).take(LONGEST_LINE).read_until(b'\n', &mut line);
            if read.map_err(|error| Error::invalid("list", error))? == 0 {
                break;
            }
            // A byte order mark is what editors of one system put before the first line.
            let text =
                if lines == 0 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line) } else { &line[..] };
            let text = text.trim_ascii_end();
            lines += 1;
            if text.is_empty() {
                continue;
            }
            let Some((hash, seen)) = BreachedHash::read(text) else {
                let problem =
                    format!("line {lines} is no SHA-1 hash of 40 digits with a colon and a number behind it");
                return Err(Error::invalid("list", problem));
            };
            if seen < least {
                left_out += 1;
                continue;
            }
            hashes.push(hash);
            if hashes.len() >= self.in_memory {
                self.put_aside(&mut hashes).map_err(|error| self.refused(&error))?;
            }
        }
        hashes.sort_unstable();
        let entries = self.merge(hashes).map_err(|error| self.refused(&error))?;
        let bytes = fs::metadata(&self.path).map_or(0, |found| found.len());
        Ok(BreachedReport { file: self.path.display().to_string(), entries, lines, left_out, bytes })
    }

    /// Sorts the hashes into a file of their own.
    fn put_aside(&mut self, hashes: &mut Vec<BreachedHash>) -> io::Result<()> {
        hashes.sort_unstable();
        let path = beside(&self.path, &format!("run-{}", self.runs.len()));
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
        self.runs.push(path);
        for hash in hashes.drain(..) {
            file.write_all(&hash.to_bytes())?;
        }
        file.flush()
    }

    /// Merges the sorted files and what is in memory into the filter, and puts it in place.
    fn merge(&self, in_memory: Vec<BreachedHash>) -> io::Result<u64> {
        let mut writer = BreachedWriter::new();
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&self.draft)?);
        file.write_all(&vec![0; BreachedWriter::HEAD])?;
        let mut sources: Vec<Box<dyn Iterator<Item = io::Result<BreachedHash>>>> =
            vec![Box::new(in_memory.into_iter().map(Ok))];
        for run in &self.runs {
            sources.push(Box::new(Run(BufReader::with_capacity(256 << 10, File::open(run)?))));
        }
        let mut next = BinaryHeap::new();
        for (at, source) in sources.iter_mut().enumerate() {
            if let Some(hash) = source.next() {
                next.push(Reverse((hash?, at)));
            }
        }
        while let Some(Reverse((hash, at))) = next.pop() {
            if let Some(remainder) = writer.add(hash).map_err(io::Error::other)? {
                file.write_all(&remainder)?;
            }
            if let Some(following) = sources[at].next() {
                next.push(Reverse((following?, at)));
            }
        }
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        let (head, entries) = writer.finish();
        file.write_all_at(&head, 0)?;
        file.sync_all()?;
        fs::rename(&self.draft, &self.path)?;
        Ok(entries)
    }

    fn refused(&self, error: &io::Error) -> Error {
        let problem = format!("the filter of breached passwords cannot be written: {error}");
        StoreFault::new("store-unavailable", problem).at(&self.path).into()
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        for path in self.runs.iter().chain([&self.draft]) {
            // Best effort, and the draft has its name when all went well.
            let _ = fs::remove_file(path);
        }
    }
}

fn beside(path: &Path, kind: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.{kind}", std::process::id()));
    name.into()
}

/// A file of sorted hashes.
struct Run(BufReader<File>);

impl Iterator for Run {
    type Item = io::Result<BreachedHash>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut bytes = [0; BreachedHash::LENGTH];
        match self.0.read_exact(&mut bytes) {
            Ok(()) => Some(Ok(BreachedHash::from_bytes(bytes))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    #[test]
    fn what_does_not_fit_into_memory_is_sorted_in_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("breached.filter");
        let mut list = String::new();
        for number in 0..2500_u32 {
            // In no order, every tenth twice.
            let number = number * 1_237 % 2500;
            let digits = format!("{:08x}{number:032}", number.wrapping_mul(0x9e37_79b9));
            writeln!(list, "{digits}:{}", number % 3 + 1).unwrap();
            if number.is_multiple_of(10) {
                writeln!(list, "{}:9", digits.to_uppercase()).unwrap();
            }
        }
        let build = Build::new(path.clone(), 100);
        let report = build.run(list.as_bytes(), 1).unwrap();
        assert_eq!((report.entries, report.lines, report.left_out), (2500, 2750, 0));
        let whole = fs::read(&path).unwrap();
        assert_eq!((report.bytes, whole.len()), (whole.len() as u64, BreachedWriter::HEAD + 4 * 2500));
        assert_eq!(BreachedFilter::open(&whole).unwrap().entries(), 2500);
        // All in memory, it is the same file; and nothing else is left behind.
        Build::new(path.clone(), IN_MEMORY).run(list.as_bytes(), 1).unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let seldom = list.lines().filter(|line| line.ends_with(":1") || line.ends_with(":2")).count();
        let report = Build::new(path, 100).run(list.as_bytes(), 3).unwrap();
        assert_eq!(report.left_out, seldom as u64);
        assert!(report.entries < 2500 && report.entries >= 2750 - report.left_out - 250);
    }

    #[test]
    fn a_bad_list_leaves_the_filter_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("breached.filter");
        fs::write(&path, "before").unwrap();
        let good = "\u{feff}5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8:3\r\n\r\n";
        for bad in [format!("{good}password\n"), format!("{good}{}", "a".repeat(3000))] {
            let refused = Build::new(path.clone(), 1).run(bad.as_bytes(), 1);
            assert!(refused.unwrap_err().to_string().contains("line 3"));
        }
        assert_eq!(fs::read(&path).unwrap(), b"before");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(Build::new(path, 1).run(good.as_bytes(), 1).unwrap().entries, 1);
    }
}
