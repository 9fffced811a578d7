//! Request bodies: which are looked at and how much of them, how large one may be, and what hides what it says.
//!
//! An adapter reads a body's first bytes only, judges them, and hands the application the whole body as it came. What
//! the application may read otherwise than we do is read its way first: a content coding is undone, UTF-16 and UTF-32
//! become UTF-8, and what calls itself a picture and begins like JSON is JSON (many applications never ask what a body
//! calls itself). What cannot be read so is refused, since nobody can tell what it says.

mod facts;
mod loose_json;

use std::{borrow::Cow, io::Read};

use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use serde::{Deserialize, Serialize};

use crate::{
    Headers, Inspection, InspectionMode, InspectionPolicy, RequestView, WebError, header_lines, inspect,
};

/// How much of a body that calls itself no text is looked at, to see whether it is one.
const SNIFFED: usize = 64;

/// What is configured about request bodies: the table `web.bodies`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BodyPolicy {
    /// Whether the adapters hand bodies to payload inspection; true by default. How much of one is
    /// `inspection.max_bytes`.
    pub inspect: bool,
    /// The largest body a request may have, in bytes; a larger one is refused with 413. Unset by default: what an
    /// application takes in, it knows best.
    pub max_bytes: Option<u64>,
    /// The most texts of one body that are looked at (JSON strings and keys, form fields, parts); 100000 by
    /// default, more than the bytes that are looked at have room for.
    pub max_values: usize,
    /// For how many seconds a server with an event loop waits for the part that is looked at, 1 to 3600; 60 by
    /// default, then 408. Servers with threads or processes have a time of their own.
    #[serde(deserialize_with = "wait")]
    pub wait_seconds: u32,
    /// What becomes of a body that cannot be read: a content coding other than gzip and deflate, or broken, or a
    /// charset that is neither Unicode nor holds ASCII.
    pub unreadable: Unreadable,
}

impl Default for BodyPolicy {
    fn default() -> Self {
        Self {
            inspect: true,
            max_bytes: None,
            max_values: 100_000,
            wait_seconds: 60,
            unreadable: Unreadable::Refuse,
        }
    }
}

fn wait<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let given = u64::deserialize(deserializer)?;
    u32::try_from(given).ok().filter(|seconds| (1..=3600).contains(seconds)).ok_or_else(|| {
        let error = WebError::OutOfRange { name: "wait_seconds", given, accepted: "1 to 3600" };
        serde::de::Error::custom(error)
    })
}

/// What is done with a body that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unreadable {
    /// It is refused with 415.
    Refuse,
    /// It is noted in the decision and goes on.
    Pass,
}

/// What is known of a body before it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BodyLength {
    /// There is none.
    #[default]
    Absent,
    /// So many bytes.
    Known(u64),
    /// It ends when the server says so.
    Streamed,
    /// There is one, and nobody says where it ends: a server that hands over a chunked body as it came.
    Endless,
}

/// The first bytes of a body, while they come in.
#[derive(Debug)]
pub struct BodyPrefix {
    path: String,
    content_type: Vec<u8>,
    coding: Coding,
    is_text: bool,
    most: usize,
    bytes: Vec<u8>,
    is_whole: bool,
    is_over: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Identity,
    Gzip,
    Deflate,
    Other,
}

/// The body says nothing that can be read; the words are for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnreadableBody(pub &'static str);

impl BodyPrefix {
    /// What is to be gathered of this request's body; `None` when bodies are not looked at.
    pub fn of(policy: &BodyPolicy, inspection: &InspectionPolicy, request: &RequestView<'_>) -> Option<Self> {
        if !policy.inspect || inspection.mode == InspectionMode::Off {
            return None;
        }
        let types: Vec<&[u8]> = request.header_lines("content-type").collect();
        let content_type = types.join(&b", "[..]);
        let coding = content_coding(request.headers);
        Some(Self {
            path: request.path.to_owned(),
            is_text: coding != Coding::Identity || is_text(&media_type(&content_type)),
            content_type,
            coding,
            most: inspection.max_bytes,
            bytes: Vec::new(),
            is_whole: false,
            is_over: false,
        })
    }

    /// How many more bytes are wanted; `0` when there are enough.
    ///
    /// One more than are looked at: by that one inspection tells a long body from one that ends there.
    pub fn wanted(&self) -> usize {
        if self.is_over {
            return 0;
        }
        let aim = if self.is_text || begins_like_text(&self.bytes) { self.most + 1 } else { SNIFFED };
        aim.saturating_sub(self.bytes.len())
    }

    /// Takes what came, as much of it as is wanted; `is_last`: nothing follows.
    pub fn take(&mut self, mut chunk: &[u8], is_last: bool) {
        // Twice: once to see what it is, and once all that is wanted of such a one.
        for _ in 0..2 {
            let (taken, rest) = chunk.split_at(chunk.len().min(self.wanted()));
            self.bytes.extend_from_slice(taken);
            chunk = rest;
        }
        self.is_whole = is_last && chunk.is_empty();
        self.is_over = is_last || self.wanted() == 0;
    }

    /// Looks at what was gathered, once for each way in which some reader may read it. `inspection`: the policy's, with
    /// the budget that bodies have.
    /// # Errors
    /// [`UnreadableBody`] when nobody can tell what it says.
    pub fn inspect(&self, inspection: &InspectionPolicy) -> Result<Inspection, UnreadableBody> {
        let bytes = self.decoded()?;
        refuse_ambiguous(&self.content_type)?;
        let media = media_type(&self.content_type);
        let named = named_orders(&self.content_type)?;
        if !named.is_empty() && media == "multipart/form-data" {
            return Err(UnreadableBody("its charset is that of its parts, and not of what parts them"));
        }
        let seen = seen_order(&bytes);
        let is_document = is_document(&media, &bytes);
        let mut found = match seen {
            Some(wide) if is_document => self.look(inspection, &media, &wide.in_utf8(&bytes))?,
            None if named.is_empty() => self.look(inspection, &media, &bytes)?,
            // The empty halves of wide characters are no sign of anything.
            _ => {
                let bytes: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
                self.look(inspection, &media, &bytes)?
            }
        };
        if !is_document {
            for wide in seen.into_iter().chain(named) {
                found = graver(found, self.look(inspection, &media, &wide.in_utf8(&bytes))?);
            }
        }
        // Most applications undo no content coding, and read what stands there.
        if self.coding != Coding::Identity && (!is_document || begins_like_text(&self.bytes)) {
            found = graver(found, self.look(inspection, &media, &self.bytes)?);
        }
        Ok(found)
    }

    /// Looks at one reading of it.
    fn look(
        &self,
        inspection: &InspectionPolicy,
        media: &str,
        text: &[u8],
    ) -> Result<Inspection, UnreadableBody> {
        // Every reader that knows a byte order mark leaves it out, and it stands before no form.
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        refuse_declared(text)?;
        let content_type = match first(text) {
            _ if is_text(media) => &*self.content_type,
            Some(b'{' | b'[') => b"application/json",
            Some(b'<') => b"application/xml",
            _ => &self.content_type,
        };
        let headers: [(&str, &[u8]); 1] = [("content-type", content_type)];
        let view =
            RequestView { path: &self.path, headers: &headers, body: Some(text), ..RequestView::default() };
        let mut found = inspect(inspection, &view);
        if !is_text(media) && !begins_like_text(text) {
            // Of what is nobody's text, only that it is an object to be unpacked says something.
            found.reasons.retain(|reason| reason.category == "deserialization");
            found.is_denied &= !found.reasons.is_empty();
        }
        Ok(found)
    }

    /// Without its content coding; never more than is looked at, whatever it would unpack to.
    fn decoded(&self) -> Result<Cow<'_, [u8]>, UnreadableBody> {
        let unpacked = match self.coding {
            Coding::Identity => return Ok(Cow::Borrowed(&self.bytes)),
            Coding::Other => return Err(UnreadableBody("its content coding is not known")),
            Coding::Gzip => self.unpacked(MultiGzDecoder::new(&*self.bytes), |_| 0),
            // RFC 9110 §8.4.1.2: zlib's format; some senders leave its frame out.
            Coding::Deflate => {
                self.unpacked(ZlibDecoder::new(&*self.bytes), |packed| packed.into_inner().len()).or_else(
                    |_| self.unpacked(DeflateDecoder::new(&*self.bytes), |packed| packed.into_inner().len()),
                )
            }
        };
        unpacked.map(Cow::Owned)
    }

    /// `left`: how many bytes follow what was unpacked, which are somebody's all the same.
    fn unpacked<P: Read>(
        &self,
        mut packed: P,
        left: impl FnOnce(P) -> usize,
    ) -> Result<Vec<u8>, UnreadableBody> {
        let mut bytes = Vec::new();
        match packed.by_ref().take(self.most as u64 + 1).read_to_end(&mut bytes) {
            Ok(read) if read <= self.most && left(packed) > 0 => {
                Err(UnreadableBody("more follows what is packed"))
            }
            Ok(_) => Ok(bytes),
            // Cut off by us, and not by whoever sent it.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof && !self.is_whole => Ok(bytes),
            Err(_) => Err(UnreadableBody("it does not unpack")),
        }
    }
}

/// The coding of all `Content-Encoding` lines together; two, one around the other, are none that we undo.
fn content_coding(headers: Headers<'_>) -> Coding {
    let mut coding = Coding::Identity;
    for name in header_lines(headers, "content-encoding").flat_map(|line| line.split(|byte| *byte == b',')) {
        let named = match name.trim_ascii().to_ascii_lowercase().as_slice() {
            b"" | b"identity" => continue,
            b"gzip" | b"x-gzip" => Coding::Gzip,
            b"deflate" => Coding::Deflate,
            _ => Coding::Other,
        };
        coding = if coding == Coding::Identity { named } else { Coding::Other };
    }
    coding
}

/// `application/json` of `Application/JSON; charset=utf-8`.
fn media_type(content_type: &[u8]) -> String {
    let media = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    String::from_utf8_lossy(media.trim_ascii()).to_ascii_lowercase()
}

/// What inspection reads as text of some kind; everything else it only knows by its first bytes.
fn is_text(media: &str) -> bool {
    media.is_empty()
        || media.starts_with("text/")
        || ["json", "xml", "javascript"].iter().any(|end| media.ends_with(end))
        || matches!(media, "multipart/form-data" | "application/x-www-form-urlencoded")
        || media.contains("graphql")
        || media.contains("yaml")
}

/// Whether somebody may read it as JSON or XML, whatever it calls itself; spaces alone say nothing yet.
fn begins_like_text(bytes: &[u8]) -> bool {
    match first(bytes) {
        Some(byte) => matches!(byte, b'{' | b'[' | b'<' | b'"'),
        None => bytes.iter().any(u8::is_ascii_whitespace),
    }
}

/// The first byte that is neither a space, nor of a byte order mark, nor the empty half of a wide character.
fn first(bytes: &[u8]) -> Option<u8> {
    let is_nothing =
        |byte: &u8| matches!(byte, 0 | 0xef | 0xbb | 0xbf | 0xfe | 0xff) || byte.is_ascii_whitespace();
    bytes.iter().copied().find(|byte| !is_nothing(byte))
}

/// Whether it is JSON or XML. Their readers know wide characters by the first bytes alone, and both begin with ASCII's.
fn is_document(media: &str, bytes: &[u8]) -> bool {
    media.ends_with("json")
        || media.ends_with("xml")
        || !is_text(media)
        || (media.is_empty() && begins_like_text(bytes))
}

/// The graver of two readings of one body.
fn graver(one: Inspection, other: Inspection) -> Inspection {
    let weight = |found: &Inspection| (found.is_denied, found.score, found.reasons.len());
    if weight(&other) > weight(&one) { other } else { one }
}

/// The order of wide characters that the first bytes show. Readers of JSON go by these (RFC 4627 §3).
fn seen_order(bytes: &[u8]) -> Option<Wide> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] => Some(Wide::Four(u32::from_le_bytes)),
        [0, 0, 0xfe, 0xff, ..] => Some(Wide::Four(u32::from_be_bytes)),
        [0xff, 0xfe, ..] => Some(Wide::Two(u16::from_le_bytes)),
        [0xfe, 0xff, ..] => Some(Wide::Two(u16::from_be_bytes)),
        // No control characters: those are some format's numbers.
        [0, 0, 0, b'\t'..=b'~', ..] => Some(Wide::Four(u32::from_be_bytes)),
        [b'\t'..=b'~', 0, 0, 0, ..] => Some(Wide::Four(u32::from_le_bytes)),
        [0, b'\t'..=b'~', ..] => Some(Wide::Two(u16::from_be_bytes)),
        [b'\t'..=b'~', 0, ..] => Some(Wide::Two(u16::from_le_bytes)),
        _ => None,
    }
}

/// The orders of wide characters that the charset means; without a mark some readers take the one for granted and
/// some the other.
fn named_orders(content_type: &[u8]) -> Result<Vec<Wide>, UnreadableBody> {
    let two = [Wide::Two(u16::from_be_bytes), Wide::Two(u16::from_le_bytes)];
    let four = [Wide::Four(u32::from_be_bytes), Wide::Four(u32::from_le_bytes)];
    let text = String::from_utf8_lossy(content_type);
    let mut orders = Vec::new();
    // Of two charsets, each is some reader's.
    for (_, charset) in parameters(&text).filter(|(name, _)| name.eq_ignore_ascii_case("charset")) {
        let named: &[Wide] = match charset.trim_matches(['"', '\'']).to_ascii_lowercase().as_str() {
            "utf-16" | "utf16" => &two,
            "utf-16be" => &two[..1],
            "utf-16le" => &two[1..],
            "utf-32" | "utf32" => &four,
            "utf-32be" => &four[..1],
            "utf-32le" => &four[1..],
            charset if charset.is_empty() || holds_ascii(charset) => &[],
            _ => return Err(UnreadableBody("its charset is not known")),
        };
        if orders.len() + named.len() > 2 {
            return Err(UnreadableBody("it has two charsets"));
        }
        orders.extend_from_slice(named);
    }
    Ok(orders)
}

/// The encoding that an XML document declares of itself is that which its readers use.
fn refuse_declared(text: &[u8]) -> Result<(), UnreadableBody> {
    let Some(declaration) = text.trim_ascii_start().strip_prefix(b"<?xml") else { return Ok(()) };
    let end = declaration.iter().position(|byte| *byte == b'>').unwrap_or(declaration.len());
    let declaration = String::from_utf8_lossy(&declaration[..end.min(1024)]).to_ascii_lowercase();
    let Some((_, after)) = declaration.split_once("encoding") else { return Ok(()) };
    let name = after.trim_start_matches(['=', ' ', '\t', '\r', '\n', '"', '\'']);
    let name = name.split(['"', '\'']).next().unwrap_or_default();
    match holds_ascii(name) || name.starts_with("utf-16") || name.starts_with("utf-32") {
        true => Ok(()),
        false => Err(UnreadableBody("the encoding that it declares is not known")),
    }
}

#[derive(Clone, Copy)]
enum Wide {
    Two(fn([u8; 2]) -> u16),
    Four(fn([u8; 4]) -> u32),
}

impl Wide {
    fn in_utf8(self, bytes: &[u8]) -> Vec<u8> {
        let text: String = match self {
            Self::Two(read) => {
                let units = bytes.as_chunks().0.iter().map(|pair| read(*pair));
                char::decode_utf16(units).map(|found| found.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
            }
            Self::Four(read) => {
                let points = bytes.as_chunks().0.iter().map(|four| read(*four));
                points.map(|point| char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
            }
        };
        text.trim_start_matches('\u{feff}').to_owned().into_bytes()
    }
}

/// Of two types, or two boundaries, one reader takes the first and another the last.
fn refuse_ambiguous(content_type: &[u8]) -> Result<(), UnreadableBody> {
    let text = String::from_utf8_lossy(content_type);
    // Two lines of the header are joined by a comma.
    let has_slash = |part: &str| part.split(';').next().unwrap_or_default().contains('/');
    if split_outside_quotes(&text, ',').filter(|part| has_slash(part)).count() > 1 {
        return Err(UnreadableBody("it has two content types"));
    }
    if media_type(content_type) != "multipart/form-data" {
        return Ok(());
    }
    // Within quotes it is none, and not every reader knows quotes.
    if boundaries_named(&text) > 1 {
        return Err(UnreadableBody("it has two boundaries"));
    }
    let is_boundary = |name: &str| name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("boundary"));
    let mut boundaries = parameters(&text).filter(|(name, _)| is_boundary(name));
    match (boundaries.next(), boundaries.next()) {
        // RFC 2046 §5.1.1, `bchars`; a name that goes on is RFC 2231's, which few readers know.
        (Some((name, value)), None) if name.len() == 8 => {
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
            let is_fit = (1..=70).contains(&value.len()) && value.bytes().all(is_plain);
            if is_fit { Ok(()) } else { Err(UnreadableBody("its boundary is none")) }
        }
        (None, None) => Ok(()),
        _ => Err(UnreadableBody("it has two boundaries")),
    }
}

/// How often a boundary seems to be given, in quotes or not.
fn boundaries_named(content_type: &str) -> usize {
    let lower = content_type.to_ascii_lowercase();
    lower.split("boundary").skip(1).filter(|after| after.trim_start().starts_with(['=', '*'])).count()
}

/// The parameters of a content type, values as they stand.
fn parameters(content_type: &str) -> impl Iterator<Item = (&str, &str)> {
    split_outside_quotes(content_type, ';').skip(1).filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        Some((name.trim(), value.trim()))
    })
}

fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |character| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match character {
            '\\' if is_quoted => is_escaped = !was_escaped,
            '"' if !was_escaped => is_quoted = !is_quoted,
            _ => return character == separator && !is_quoted,
        }
        false
    })
}

/// Whether ASCII's characters are ASCII's bytes there. EBCDIC and UTF-7, in which attacks hide, are none of these.
fn holds_ascii(charset: &str) -> bool {
    const NAMES: [&str; 12] = [
        "utf-8",
        "utf8",
        "us-ascii",
        "ascii",
        "latin1",
        "latin-1",
        "koi8-r",
        "koi8-u",
        "big5",
        "shift_jis",
        "gb2312",
        "gbk",
    ];
    const FAMILIES: [&str; 5] = ["iso-8859-", "windows-125", "cp125", "euc-", "gb18030"];
    NAMES.contains(&charset) || FAMILIES.iter().any(|start| charset.starts_with(start))
}

#[cfg(test)]
mod tests;
