//! Indicators in texts and in streams of any length.

use std::{
    collections::{HashSet, VecDeque},
    io::{self, BufRead as _, BufReader, Read},
    str::FromStr,
};

use flate2::bufread::MultiGzDecoder;
use security_indicators::{
    ExtractOptions, Found, Indicator, IocType, LOOK_BACK, TypeSet, extract, extract_each, extract_within,
    safe_cut,
};
use serde::Serialize;

use crate::{Engine, Error, IocWarning, Result, Warned, intel::Judge};

/// Characters of text shown on each side of a find.
pub const CONTEXT: usize = 40;
/// Bytes after a piece that are there for the context of its last find: as many characters of four bytes.
const LOOK_AHEAD: usize = 4 * CONTEXT;
/// Bytes of a stream searched in one go.
const PIECE: usize = 1 << 20;
/// The longest line, in bytes, that is searched in one go.
const LONGEST_LINE: usize = 16 << 20;
/// What a gzip stream begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// An indicator found in a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExtractedIoc {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: IocType,
    /// Its canonical value.
    pub value: String,
    /// As it stands in the text.
    pub original: String,
    /// The text around it.
    pub context: String,
    /// Where it starts, in bytes of the text.
    pub start: usize,
    /// Where it ends, in bytes, exclusive.
    pub end: usize,
    /// Whether it was defanged.
    pub defanged: bool,
    /// What the warninglists say of it, where they were asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warnings: Option<Vec<IocWarning>>,
}

impl ExtractedIoc {
    pub(crate) fn of(found: &Found, text: &str) -> Self {
        Self {
            kind: found.indicator.kind(),
            value: found.indicator.value().to_owned(),
            original: text[found.start..found.end].to_owned(),
            context: found.context(text, CONTEXT).to_owned(),
            start: found.start,
            end: found.end,
            defanged: found.defanged,
            warnings: None,
        }
    }
}

/// An indicator found in a text that the caller still has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundIoc {
    /// What was found, and at which bytes of the text.
    pub found: Found,
    /// What the warninglists say of it, where they were asked.
    pub warnings: Option<Vec<IocWarning>>,
}

/// Finds every indicator in a text, in the order of the text; of those that overlap, the longest. `types` keeps
/// some kinds only, `limit` the first so many; without one, all are given.
/// # Errors
/// [`Error::Invalid`] for an unknown type.
pub fn extract_iocs(text: &str, types: Option<&[String]>, limit: Option<usize>) -> Result<Vec<ExtractedIoc>> {
    let options = ExtractOptions { max_hits: limit.unwrap_or(usize::MAX), ..wanted(types)? };
    Ok(extract(text, &options).iter().map(|found| ExtractedIoc::of(found, text)).collect())
}

/// What to look for: these types, or all.
pub(crate) fn wanted(types: Option<&[String]>) -> Result<ExtractOptions> {
    let mut options = ExtractOptions { max_hits: usize::MAX, ..ExtractOptions::default() };
    if let Some(types) = types {
        let kinds =
            types.iter().map(|name| IocType::from_str(name)).collect::<std::result::Result<Vec<_>, _>>();
        options.types =
            Some(kinds.map_err(|error| Error::invalid("types", error))?.into_iter().collect::<TypeSet>());
    }
    Ok(options)
}

/// What to look for in texts, and what of it is given.
#[derive(Clone)]
pub struct Finder {
    pub(super) options: ExtractOptions,
    pub(super) judge: Judge,
    pub(super) limit: usize,
}

impl std::fmt::Debug for Finder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Finder").field("options", &self.options).field("limit", &self.limit).finish()
    }
}

impl Finder {
    /// Looks for some types or for all of them, gives every place or each indicator's first (`dedupe`), and the first
    /// `limit` of them or all. No warninglist is asked, so there need be no store.
    /// # Errors
    /// [`Error::Invalid`] for an unknown type.
    pub fn new(types: Option<&[String]>, dedupe: bool, limit: Option<usize>) -> Result<Self> {
        let options = ExtractOptions { dedupe, ..wanted(types)? };
        Ok(Self { options, judge: Judge::default(), limit: limit.unwrap_or(usize::MAX) })
    }

    /// The indicators in a text, in its order.
    pub fn find(&self, text: &str) -> Vec<FoundIoc> {
        let mut given = Vec::new();
        // Where no list is asked the pass itself ends at the limit.
        let max_hits = if self.judge.asks() { usize::MAX } else { self.limit };
        let options = ExtractOptions { max_hits, ..self.options.clone() };
        extract_each(text, &options, &mut |found| {
            if given.len() < self.limit
                && let Some(warnings) = self.judge.judge(&found.indicator)
            {
                given.push(FoundIoc { found, warnings });
            }
        });
        given
    }

    /// The indicators in a stream, one after the other, with a megabyte or two of it in memory. A gzip stream is
    /// unpacked as it is read; offsets are those of what was unpacked.
    ///
    /// They are those of the whole read into memory, but for a line longer than 16 MiB, which is cut. With `dedupe`
    /// each distinct indicator stays in memory.
    /// # Errors
    /// When the first bytes cannot be read.
    pub fn stream<R: Read>(self, reader: R) -> io::Result<FoundStream<R>> {
        let mut reader = BufReader::with_capacity(256 << 10, reader);
        let is_packed = reader.fill_buf()?.starts_with(&GZIP);
        let reader = if is_packed {
            Content::Packed(Box::new(MultiGzDecoder::new(reader)))
        } else {
            Content::Plain(reader)
        };
        Ok(FoundStream {
            reader,
            piece: PIECE,
            longest_line: LONGEST_LINE,
            given: 0,
            seen: self.options.dedupe.then(HashSet::new),
            finder: self,
            undecoded: Vec::new(),
            text: String::new(),
            gone: 0,
            searched: 0,
            ended: false,
            waiting: VecDeque::new(),
        })
    }
}

impl Engine {
    /// A [`Finder`] that asks the warninglists what becomes of what is on one; its limit counts what is given.
    /// # Errors
    /// [`Error::Invalid`] for an unknown type; [`Error::Store`] when the lists cannot be read.
    pub fn finder(
        &self,
        types: Option<&[String]>,
        dedupe: bool,
        limit: Option<usize>,
        warned: Warned,
    ) -> Result<Finder> {
        Ok(Finder { judge: self.judge_of_warnings(warned)?, ..Finder::new(types, dedupe, limit)? })
    }

    /// [`extract_iocs`], with what is on a warninglist flagged or left out; `limit` counts what is given.
    /// # Errors
    /// [`Error::Invalid`] for an unknown type; [`Error::Store`] when the lists cannot be read.
    pub fn extract_warned(
        &self,
        text: &str,
        types: Option<&[String]>,
        limit: Option<usize>,
        warned: Warned,
    ) -> Result<Vec<ExtractedIoc>> {
        let found = self.finder(types, false, limit, warned)?.find(text);
        let given =
            |FoundIoc { found, warnings }| ExtractedIoc { warnings, ..ExtractedIoc::of(&found, text) };
        Ok(found.into_iter().map(given).collect())
    }
}

/// A stream as it is, or unpacked.
enum Content<R> {
    Plain(BufReader<R>),
    Packed(Box<MultiGzDecoder<BufReader<R>>>),
}

impl<R: Read> Read for Content<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(buffer),
            Self::Packed(reader) => reader.read(buffer),
        }
    }
}

/// The indicators in a stream; see [`Finder::stream`]. After an error it has ended.
pub struct FoundStream<R> {
    reader: Content<R>,
    finder: Finder,
    piece: usize,
    longest_line: usize,
    given: usize,
    seen: Option<HashSet<Indicator>>,
    /// The start of a character whose other bytes have not come yet.
    undecoded: Vec<u8>,
    /// What is in memory: some bytes that were searched, and what comes after them.
    text: String,
    /// Bytes of the stream before `text`.
    gone: usize,
    /// Bytes of `text` that were searched.
    searched: usize,
    ended: bool,
    waiting: VecDeque<ExtractedIoc>,
}

impl<R> std::fmt::Debug for FoundStream<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FoundStream").field("gone", &self.gone).finish_non_exhaustive()
    }
}

impl<R: Read> Iterator for FoundStream<R> {
    type Item = io::Result<ExtractedIoc>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.given >= self.finder.limit {
                return None;
            }
            if let Some(found) = self.waiting.pop_front() {
                self.given += 1;
                return Some(Ok(found));
            }
            if self.ended && self.searched == self.text.len() {
                return None;
            }
            if let Err(error) = self.search_on() {
                (self.ended, self.searched) = (true, self.text.len());
                return Some(Err(error));
            }
        }
    }
}

impl<R: Read> FoundStream<R> {
    /// Bytes read so far, unpacked ones where it was packed.
    pub fn bytes_read(&self) -> usize {
        self.gone + self.text.len() + self.undecoded.len()
    }

    /// The finds that are in memory already, and of none the next piece's; empty at the end only.
    /// # Errors
    /// When the stream cannot be read.
    pub fn batch(&mut self) -> io::Result<Vec<ExtractedIoc>> {
        let Some(first) = self.next().transpose()? else { return Ok(Vec::new()) };
        let n_more = self.waiting.len().min(self.finder.limit - self.given);
        self.given += n_more;
        Ok(std::iter::once(first).chain(self.waiting.drain(..n_more)).collect())
    }

    /// Reads and searches the next piece.
    fn search_on(&mut self) -> io::Result<()> {
        let mut wanted = self.piece;
        let end = loop {
            self.read_up_to(wanted)?;
            let unsearched = self.text.len() - self.searched;
            if self.ended {
                break self.text.len();
            }
            let last = self.text.floor_char_boundary(self.text.len().saturating_sub(LOOK_AHEAD));
            if let Some(cut) = safe_cut(&self.text[..last], self.searched) {
                break cut;
            }
            if unsearched >= self.longest_line {
                let blank =
                    self.text[self.searched..last].rfind(|c: char| c.is_ascii_whitespace() || c == '\u{1a}');
                break blank.map_or(last, |at| self.searched + at + 1);
            }
            wanted = unsearched + self.piece;
        };
        let Self { text, finder, waiting, seen, gone, searched, .. } = self;
        let options = ExtractOptions { dedupe: false, ..finder.options.clone() };
        extract_within(text, *searched..end, &options, &mut |found| {
            if seen.as_mut().is_some_and(|seen| !seen.insert(found.indicator.clone())) {
                return;
            }
            if let Some(warnings) = finder.judge.judge(&found.indicator) {
                let mut ioc = ExtractedIoc { warnings, ..ExtractedIoc::of(&found, text) };
                (ioc.start, ioc.end) = (ioc.start + *gone, ioc.end + *gone);
                waiting.push_back(ioc);
            }
        });
        let kept = self.text.floor_char_boundary(end.saturating_sub(LOOK_BACK));
        self.text.drain(..kept);
        (self.gone, self.searched) = (self.gone + kept, end - kept);
        Ok(())
    }

    /// Reads until so many bytes are there that were not searched. What is no UTF-8 becomes SUB (U+001A), which ends
    /// every indicator and is one byte as well.
    fn read_up_to(&mut self, wanted: usize) -> io::Result<()> {
        while !self.ended && self.text.len() - self.searched < wanted {
            let missing = wanted - (self.text.len() - self.searched);
            let mut bytes = std::mem::take(&mut self.undecoded);
            let had = bytes.len();
            (&mut self.reader).take(missing.max(4) as u64).read_to_end(&mut bytes)?;
            self.ended = bytes.len() == had;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let (valid, error) = match std::str::from_utf8(rest) {
                    Ok(valid) => (valid, None),
                    Err(error) => {
                        let valid = std::str::from_utf8(&rest[..error.valid_up_to()]).unwrap_or_default();
                        (valid, Some(error.error_len()))
                    }
                };
                self.text.push_str(valid);
                rest = &rest[valid.len()..];
                let len = match error {
                    None => break,
                    Some(None) if !self.ended => {
                        self.undecoded = rest.to_vec();
                        break;
                    }
                    Some(len) => len.unwrap_or(rest.len()),
                };
                self.text.extend(std::iter::repeat_n('\u{1a}', len));
                rest = &rest[len..];
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives some bytes at a time.
    struct Drops<'a>(&'a [u8], Vec<usize>);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.1.pop().unwrap_or(7).clamp(1, buffer.len().max(1)).min(self.0.len());
            buffer[..size].copy_from_slice(&self.0[..size]);
            self.0 = &self.0[size..];
            Ok(size)
        }
    }

    fn of_stream(bytes: &[u8], sizes: Vec<usize>, piece: usize, dedupe: bool) -> Vec<ExtractedIoc> {
        let finder = Finder::new(None, dedupe, None).unwrap();
        let mut stream = finder.stream(Drops(bytes, sizes)).unwrap();
        stream.piece = piece;
        stream.collect::<io::Result<_>>().unwrap()
    }

    fn of_whole(bytes: &[u8], dedupe: bool) -> Vec<ExtractedIoc> {
        let mut text = String::new();
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().iter().map(|_| '\u{1a}'));
        }
        let found = Finder::new(None, dedupe, None).unwrap().find(&text);
        found.iter().map(|ioc| ExtractedIoc::of(&ioc.found, &text)).collect()
    }

    fn line() -> impl Strategy<Value = Vec<u8>> {
        let texts: Vec<&[u8]> = vec![
            b"beacon to evil[.]example[.]com\n",
            b"imphash:\n",
            b"0a1b2c3d4e5f60718293a4b5c6d7e8f9\n",
            b"\xff\xfe192.0.2.1\xc3\n",
            "před «http://bücher.example.com/ü» a 2001:db8::1\n".as_bytes(),
            b"=====================================================http://evil.example.com/a/b/c/\n",
            b"index.php?id=1\n",
            b"\r\n",
            b"no line break here ",
            "\u{1f992}".as_bytes(),
            b"C:\\Users\\x HKLM\\Software\\a",
            b"https://evil.example.com/a-",
            b"version 1.2.3.4",
        ];
        prop::sample::select(texts).prop_map(<[u8]>::to_vec)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_chunking_gives_the_finds_of_the_whole(
            lines in prop::collection::vec(prop_oneof![4 => line(), 1 => prop::collection::vec(any::<u8>(), 0..20)], 0..120),
            sizes in prop::collection::vec(1usize..400, 0..60),
            piece in 1usize..700,
            dedupe: bool,
        ) {
            let bytes = lines.concat();
            prop_assert_eq!(of_stream(&bytes, sizes, piece, dedupe), of_whole(&bytes, dedupe));
        }
    }

    #[test]
    fn a_line_without_end_is_cut_between_words() {
        let text = "192.0.2.1 ".repeat(500);
        let mut stream = Finder::new(None, false, None).unwrap().stream(text.as_bytes()).unwrap();
        (stream.piece, stream.longest_line) = (64, 256);
        let found = stream.by_ref().collect::<io::Result<Vec<_>>>().unwrap();
        assert_eq!(found.len(), 500);
        assert!(found.iter().all(|ioc| text[ioc.start..ioc.end] == *"192.0.2.1"));
        assert!(stream.text.capacity() < 4096, "{}", stream.text.capacity());
        assert_eq!(stream.bytes_read(), text.len());
    }

    #[test]
    fn a_limit_and_a_batch_end_the_stream() {
        let text = "192.0.2.1\n192.0.2.2\n192.0.2.3\n";
        let of = |limit| Finder::new(None, false, limit).unwrap().stream(text.as_bytes()).unwrap();
        assert_eq!(of(Some(2)).count(), 2);
        let mut stream = of(Some(2));
        assert_eq!((stream.batch().unwrap().len(), stream.batch().unwrap().len()), (2, 0));
        assert_eq!(of(None).batch().unwrap().len(), 3);
    }

    #[test]
    fn gzip_is_unpacked_and_a_broken_one_says_so() {
        use std::io::Write as _;
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"beacon to evil[.]example[.]com\n").unwrap();
        let packed = packed.finish().unwrap();
        let of = |bytes: &[u8]| -> io::Result<Vec<ExtractedIoc>> {
            Finder::new(None, false, None).unwrap().stream(bytes).unwrap().collect()
        };
        let found = of(&packed).unwrap();
        assert_eq!((found[0].value.as_str(), found[0].start, found[0].end), ("evil.example.com", 10, 30));
        assert!(of(&packed[..packed.len() - 9]).is_err());
    }
}
