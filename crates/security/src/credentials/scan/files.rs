//! Files and folders: what is opened, what is passed over, what is unpacked and decoded on the way.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use flate2::read::MultiGzDecoder;
use security_credentials::TokenScanner;
use walkdir::WalkDir;

use super::{Scan, SkippedFile};
use crate::Result;

/// A zero byte among so many first ones makes a file binary; the rule that git has.
const TOLD_BY: usize = 8000;
const GZIP: &[u8] = &[0x1f, 0x8b];

/// How a text's characters lie in its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// ASCII and all that keeps it.
    Bytes,
    /// Two bytes a unit, the one that ASCII is in first or last.
    Utf16 { little: bool },
}

impl Encoding {
    /// By its byte order mark.
    fn of(start: &[u8]) -> Self {
        match start {
            [0xff, 0xfe, ..] => Self::Utf16 { little: true },
            [0xfe, 0xff, ..] => Self::Utf16 { little: false },
            _ => Self::Bytes,
        }
    }
}

impl Scan<'_> {
    pub(super) fn path(&mut self, path: &Path) -> Result<()> {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => self.folder(path),
            Ok(_) => self.file(path, 0),
            Err(error) => {
                self.skip(path, SkippedFile::Unreadable(error.to_string()));
                Ok(())
            }
        }
    }

    fn folder(&mut self, folder: &Path) -> Result<()> {
        for entry in WalkDir::new(folder).sort_by_file_name() {
            match entry {
                // A pipe that takes a file's place meanwhile must not make the opening wait for its writer.
                Ok(entry) if entry.file_type().is_file() => {
                    self.file(entry.path(), libc::O_NONBLOCK | libc::O_NOFOLLOW)?;
                }
                Ok(_) => {}
                Err(error) => {
                    let path = error.path().unwrap_or(folder).to_owned();
                    let problem = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
                    self.skip(&path, SkippedFile::Unreadable(problem));
                }
            }
            if !self.goes_on {
                break;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, flags: i32) -> Result<()> {
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
        match opened.and_then(|file| regular(file, flags != 0)) {
            Ok(mut file) => self.stream(path, &mut file),
            Err(error) => {
                self.skip(path, SkippedFile::Unreadable(error.to_string()));
                Ok(())
            }
        }
    }

    /// Looks through what a reader gives.
    pub(super) fn stream(&mut self, name: &Path, reader: &mut dyn Read) -> Result<()> {
        let mut start = Vec::with_capacity(TokenScanner::PIECE);
        if let Err(error) = fill(reader, &mut start) {
            self.skip(name, SkippedFile::Unreadable(error.to_string()));
            return Ok(());
        }
        if !self.options.gzip || !start.starts_with(GZIP) {
            return self.text(name, start, reader);
        }
        let unpacked = MultiGzDecoder::new(start.as_slice().chain(reader));
        // One more than the most tells that there is more.
        let most = self.options.most_unpacked;
        let mut bounded = unpacked.take(most.saturating_add(1));
        let mut first = Vec::with_capacity(TokenScanner::PIECE);
        if let Err(error) = fill(&mut bounded, &mut first) {
            self.skip(name, SkippedFile::Unreadable(error.to_string()));
            return Ok(());
        }
        self.text(name, first, &mut bounded)?;
        if self.goes_on && bounded.limit() == 0 {
            let problem = format!("it unpacks to more than {most} bytes; the rest was not read");
            self.skip(name, SkippedFile::Unreadable(problem));
        }
        Ok(())
    }

    /// Looks through a text whose beginning was read already.
    fn text(&mut self, name: &Path, mut piece: Vec<u8>, reader: &mut dyn Read) -> Result<()> {
        let encoding = Encoding::of(&piece);
        let told_by = &piece[..piece.len().min(TOLD_BY)];
        if encoding == Encoding::Bytes && !self.options.binary && memchr::memchr(0, told_by).is_some() {
            self.skip(name, SkippedFile::Binary);
            return Ok(());
        }
        self.totals.files += 1;
        let mut scanner = TokenScanner::default();
        let mut units = Units::default();
        loop {
            let goes_on = match encoding {
                Encoding::Bytes => self.piece(&mut scanner, Some(name), &piece, |place| place.offset)?,
                Encoding::Utf16 { little } => {
                    let text = units.next(&piece, little);
                    self.piece(&mut scanner, Some(name), text, |place| 2 + 2 * place.offset)?
                }
            };
            // Pieces are full until the last one.
            if !goes_on || piece.len() < TokenScanner::PIECE {
                return Ok(());
            }
            piece.clear();
            if let Err(error) = fill(reader, &mut piece) {
                self.skip(name, SkippedFile::Unreadable(error.to_string()));
                return Ok(());
            }
        }
    }
}

/// Refuses what took a regular file's place, if one is needed.
fn regular(file: File, needed: bool) -> io::Result<File> {
    if needed && !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file any more"));
    }
    Ok(file)
}

/// Reads until the piece is full or there is no more.
fn fill(reader: &mut dyn Read, piece: &mut Vec<u8>) -> io::Result<()> {
    let missing = TokenScanner::PIECE - piece.len();
    reader.take(missing as u64).read_to_end(piece).map(drop)
}

/// UTF-16 as one byte a unit: ASCII as it is, all else as a byte that is in no token.
#[derive(Default)]
struct Units {
    begun: bool,
    text: Vec<u8>,
}

impl Units {
    /// The units of a piece. Pieces are of even length but the last, whose odd byte is none.
    fn next(&mut self, piece: &[u8], little: bool) -> &[u8] {
        let mark = if std::mem::replace(&mut self.begun, true) { 0 } else { 2 };
        self.text.clear();
        self.text.extend(piece[mark..].chunks_exact(2).map(|unit| {
            let (low, high) = if little { (unit[0], unit[1]) } else { (unit[1], unit[0]) };
            if high == 0 && low.is_ascii() { low } else { 0xff }
        }));
        &self.text
    }
}
