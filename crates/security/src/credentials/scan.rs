//! Own keys where they should not be: in texts, files and folders.
//!
//! Shape and checksum come first, the store after them, so that a text without keys costs no look-up. A scan is no
//! use: nothing is recorded, counted or alerted.

mod files;

use std::{collections::HashMap, io::Read, path::Path};

use security_credentials::{
    CredentialStore, KeyFacts, KeyReason, KeyVerdict, ParsedToken, TokenPlace, TokenScanner,
};
use serde::Serialize;

use super::keys::Question;
use crate::{Engine, Error, Result, world};

/// Names of keys that are remembered during one scan.
const REMEMBERED: usize = 4096;

/// Whether a found key opens anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyStatus {
    /// It does, from somewhere at least; also in the grace after a rotation.
    Live,
    /// Its key was revoked.
    Revoked,
    /// Its key has expired.
    Expired,
    /// The token that its key had before the last rotation.
    Superseded,
    /// No key of this store has this secret: a key of another store, of an earlier rotation, or none at all.
    Unknown,
}

/// A key that was found. The key itself is not told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoundKey {
    /// The key without its secret: `sk_<id>_****`.
    pub key: String,
    /// Its id.
    pub key_id: String,
    /// Whether it opens anything.
    pub status: KeyStatus,
    /// The name of the issued key with this id, if there is one.
    pub name: Option<String>,
    /// Whom it was issued to, likewise.
    pub owner: Option<String>,
    /// The file; `None` in a text.
    pub file: Option<String>,
    /// Its line, from 1.
    pub line: u64,
    /// Its column in characters, from 1.
    pub column: u64,
    /// Bytes before it, in the file or in what is packed in it.
    pub offset: u64,
}

/// What a scan looks into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyScanOptions {
    /// Binary files as well: those with a zero byte among their first 8,000.
    pub binary: bool,
    /// What is packed in gzip files.
    pub gzip: bool,
    /// The most bytes unpacked of one file: a small one may hold petabytes. 1 GiB by default.
    pub most_unpacked: u64,
}

impl Default for KeyScanOptions {
    fn default() -> Self {
        Self { binary: false, gzip: true, most_unpacked: 1 << 30 }
    }
}

/// How much a scan went through and found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct KeyScanTotals {
    /// Files read.
    pub files: u64,
    /// Bytes read, unpacked ones.
    pub bytes: u64,
    /// Keys found.
    pub keys: u64,
    /// Those of them that are live.
    pub live: u64,
    /// Files not read, or not to their end.
    pub skipped: u64,
}

impl KeyScanTotals {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            files: self.files + other.files,
            bytes: self.bytes + other.bytes,
            keys: self.keys + other.keys,
            live: self.live + other.live,
            skipped: self.skipped + other.skipped,
        }
    }
}

/// Why a file was not looked through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkippedFile {
    /// It is binary, and these were not wanted.
    Binary,
    /// It cannot be read, or not to its end.
    Unreadable(String),
}

/// Who hears of what a scan meets.
pub trait KeyScanListener {
    /// A key was found; `false` ends the scan.
    fn found(&mut self, key: FoundKey) -> bool;

    /// A file was not looked through.
    fn skipped(&mut self, file: &Path, why: SkippedFile);

    /// Asked now and then whether to go on.
    fn goes_on(&mut self) -> bool {
        true
    }
}

/// The regular expression of our keys' shape, for scanners that know no checksum.
/// # Errors
/// [`Error::Invalid`] for a prefix of another shape.
pub fn key_pattern(prefix: Option<&str>) -> Result<String> {
    ParsedToken::pattern(prefix).map_err(|error| Error::invalid("prefix", error))
}

impl Engine {
    /// Looks for own keys in a text.
    /// # Errors
    /// When the store cannot be read.
    pub fn scan_text_for_keys(
        &self,
        text: &[u8],
        listener: &mut dyn KeyScanListener,
    ) -> Result<KeyScanTotals> {
        let mut scan = Scan::new(self, KeyScanOptions::default(), listener);
        let mut scanner = TokenScanner::default();
        for piece in text.chunks(TokenScanner::PIECE) {
            if !scan.piece(&mut scanner, None, piece, |place| place.offset)? {
                break;
            }
        }
        Ok(scan.totals)
    }

    /// Looks for own keys in what a reader gives, which findings name as `name`.
    /// # Errors
    /// When the store cannot be read. What the reader cannot give is told to the listener.
    pub fn scan_reader_for_keys(
        &self,
        name: &str,
        reader: &mut dyn Read,
        options: KeyScanOptions,
        listener: &mut dyn KeyScanListener,
    ) -> Result<KeyScanTotals> {
        let mut scan = Scan::new(self, options, listener);
        scan.stream(Path::new(name), reader)?;
        Ok(scan.totals)
    }

    /// Looks for own keys in a file, or in all files below a folder in the order of their names. Below a folder,
    /// symbolic links are not followed, and pipes, sockets and devices are not opened.
    /// # Errors
    /// When the store cannot be read. What else cannot be read is told to the listener.
    pub fn scan_path_for_keys(
        &self,
        path: &Path,
        options: KeyScanOptions,
        listener: &mut dyn KeyScanListener,
    ) -> Result<KeyScanTotals> {
        let mut scan = Scan::new(self, options, listener);
        scan.path(path)?;
        Ok(scan.totals)
    }
}

/// One scan.
struct Scan<'s> {
    engine: &'s Engine,
    options: KeyScanOptions,
    listener: &'s mut dyn KeyScanListener,
    totals: KeyScanTotals,
    /// Name and owner of ids that were looked up in the store.
    names: HashMap<String, Option<(String, Option<String>)>>,
    goes_on: bool,
}

impl<'s> Scan<'s> {
    fn new(engine: &'s Engine, options: KeyScanOptions, listener: &'s mut dyn KeyScanListener) -> Self {
        let (totals, names) = (KeyScanTotals::default(), HashMap::new());
        Self { engine, options, listener, totals, names, goes_on: true }
    }

    /// Looks through a piece; whether to go on. `offset` says where a place lies in the file.
    fn piece(
        &mut self,
        scanner: &mut TokenScanner,
        file: Option<&Path>,
        piece: &[u8],
        offset: impl Fn(TokenPlace) -> u64,
    ) -> Result<bool> {
        self.totals.bytes += piece.len() as u64;
        let mut done = Ok(());
        scanner.feed(piece, &mut |place, token| {
            if done.is_ok() && self.goes_on {
                done = self.token(file, place, offset(place), token);
            }
        });
        done?;
        self.goes_on = self.goes_on && self.listener.goes_on();
        Ok(self.goes_on)
    }

    fn token(
        &mut self,
        file: Option<&Path>,
        place: TokenPlace,
        offset: u64,
        token: ParsedToken<'_>,
    ) -> Result<()> {
        self.engine.follow_credentials()?;
        let peppers = self.engine.credentials.documents.load().peppers.clone();
        let digest = || peppers.digest(token.expose());
        let older = |version| Some(peppers.of_version(version)?.digest(token.expose()));
        let asked = Question { now: world::now(), scopes: &[], client: None, words: true };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut named = |key: KeyFacts<'_>| key.texts().map(|(name, owner)| (text(name), owner.map(text)));
        let (verdict, key) = self.engine.judge_issued(token.id(), digest, &older, asked, &mut named)?;
        let known = match key {
            Some(key) => Some(key),
            None => self.name_of(token.id())?,
        };
        let (name, owner) = known.map_or((None, None), |(name, owner)| (Some(name), owner));
        let status = status(verdict);
        self.totals.keys += 1;
        self.totals.live += u64::from(status == KeyStatus::Live);
        self.goes_on = self.listener.found(FoundKey {
            key: token.masked(),
            key_id: token.id().to_owned(),
            status,
            name,
            owner,
            file: file.map(|file| file.display().to_string()),
            line: place.line,
            column: place.column,
            offset,
        });
        Ok(())
    }

    /// Name and owner of the key with this id, whatever its secret.
    fn name_of(&mut self, id: &str) -> Result<Option<(String, Option<String>)>> {
        if let Some(known) = self.names.get(id) {
            return Ok(known.clone());
        }
        let known = self.engine.files.store.issued_key(id)?.map(|key| (key.name, key.owner));
        if self.names.len() >= REMEMBERED {
            self.names.clear();
        }
        self.names.insert(id.to_owned(), known.clone());
        Ok(known)
    }

    fn skip(&mut self, file: &Path, why: SkippedFile) {
        self.totals.skipped += 1;
        self.listener.skipped(file, why);
    }
}

fn status(verdict: KeyVerdict) -> KeyStatus {
    match verdict.reason {
        KeyReason::Revoked => KeyStatus::Revoked,
        KeyReason::Expired => KeyStatus::Expired,
        // The right secret of a key in force: from some network, with some scope, it opens something.
        KeyReason::Ok | KeyReason::Network | KeyReason::Scope | KeyReason::RateLimited => KeyStatus::Live,
        KeyReason::Unknown | KeyReason::Malformed | KeyReason::LockedOut if verdict.superseded => {
            KeyStatus::Superseded
        }
        KeyReason::Unknown | KeyReason::Malformed | KeyReason::LockedOut => KeyStatus::Unknown,
    }
}
