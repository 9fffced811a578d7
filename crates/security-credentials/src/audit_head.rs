//! The head of the audit trail: how far each of its files went, under a MAC.
//!
//! A chain shows what was changed inside a file. What is missing at its end, or missing altogether, only somebody
//! knows who remembers how far it went; the head remembers it, outside the journal's folder. Its MAC needs the
//! data directory's key, so that whoever may write here, but not read the key, cannot make the head agree.

use hmac::{Hmac, KeyInit, Mac};
use security_core::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{ChainLink, Digest, Pepper, PepperVersion, Peppers};

/// Separates the head's key from everything else that the pepper is the key of.
const PURPOSE: &[u8] = b"security audit head 1\0";

/// How far one file of the journal went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEnd {
    /// The file's name.
    pub file: String,
    /// The number of its last record.
    pub seq: u64,
    /// The link of that record.
    pub chain: ChainLink,
    /// Nothing follows: its process closed it. Otherwise more may have come since.
    #[serde(default)]
    pub closed: bool,
}

/// One line of the credentials' history, which is append-only: a number alone would be reached again by a store that
/// was put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryMark {
    /// Its number.
    pub seq: u64,
    /// What it is.
    pub link: ChainLink,
}

impl HistoryMark {
    /// The mark of a line as it is stored.
    pub fn of(seq: u64, line: &str) -> Self {
        Self { seq, link: ChainLink::start("history").next(line.as_bytes()) }
    }
}

/// What the head says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// Grows by one with each writing.
    pub number: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The newest line of the credentials' history at that time; a store that does not have it is an older copy.
    #[serde(default)]
    pub history: Option<HistoryMark>,
    /// The files' ends, the one written to last at the end.
    pub ends: Vec<JournalEnd>,
}

/// Why a head is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadFault {
    /// It is no head at all.
    Shape,
    /// Its MAC is not ours: it was edited, or belongs to another data directory.
    Mac,
    /// It was made under a pepper that is not known here.
    Pepper(PepperVersion),
}

/// The keys of the head, one for each pepper: the newest one's seals it, and any of them opens what it has sealed.
pub struct HeadKeys(Vec<HeadKey>);

struct HeadKey {
    pepper: PepperVersion,
    mac: Hmac<Sha256>,
}

impl HeadKey {
    fn of(pepper: &Pepper) -> Self {
        // HMAC fills a short key up with zeros to the block's 64 bytes.
        let mut block = Zeroizing::new([0; 64]);
        block[..32].copy_from_slice(pepper.digest(PURPOSE).as_bytes());
        Self { pepper: pepper.version(), mac: Hmac::new((&*block).into()) }
    }

    fn mac(&self, body: &[u8]) -> Digest {
        let mut mac = self.mac.clone();
        mac.update(body);
        Digest::under(self.pepper, mac.finalize().into_bytes().into())
    }
}

impl HeadKeys {
    /// The keys that the peppers give.
    pub fn of(peppers: &Peppers) -> Self {
        Self(peppers.all().map(HeadKey::of).collect())
    }

    /// The file's text: the head as one line of JSON, and the MAC over it, which says its pepper, on the next.
    pub fn seal(&self, head: &AuditHead) -> String {
        let body = serde_json::to_string(head).unwrap_or_default();
        let mac = self.0.first().map(|newest| newest.mac(body.as_bytes()).to_text()).unwrap_or_default();
        format!("{body}\n{mac}\n")
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// [`HeadFault`]: it is not to be believed.
    pub fn open(&self, text: &[u8]) -> Result<AuditHead, HeadFault> {
        let mut lines = text.split(|byte| *byte == b'\n');
        let (body, mac) = lines.next().zip(lines.next()).ok_or(HeadFault::Shape)?;
        let mac = std::str::from_utf8(mac).ok().and_then(Digest::from_text).ok_or(HeadFault::Shape)?;
        let key = self.0.iter().find(|key| key.pepper == mac.pepper());
        let key = key.ok_or(HeadFault::Pepper(mac.pepper()))?;
        if key.mac(body) != mac || lines.any(|rest| !rest.is_empty()) {
            return Err(HeadFault::Mac);
        }
        serde_json::from_slice(body).map_err(|_| HeadFault::Shape)
    }
}

impl std::fmt::Debug for HeadKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HeadKeys(****)")
    }
}

impl AuditHead {
    /// The head before anything was written.
    pub fn empty(at: Timestamp) -> Self {
        Self { number: 0, at, history: None, ends: Vec::new() }
    }

    /// Takes the end of a file in, never backwards.
    pub fn note(&mut self, end: JournalEnd) {
        let known = self.ends.iter().position(|known| known.file == end.file);
        let known = known.map(|at| self.ends.remove(at));
        // A file that two threads tell of has the later end, whoever came last.
        self.ends.push(match known {
            Some(known) if known.seq > end.seq => known,
            _ => end,
        });
    }

    /// Takes out the files written to longest ago when there are more than `most`, so that `kept` stay; the head
    /// is written with every act and must not grow for ever.
    pub fn take_oldest(&mut self, most: usize, kept: usize) -> Vec<JournalEnd> {
        match self.ends.len() > most {
            true => self.ends.drain(..self.ends.len() - kept).collect(),
            false => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use security_core::Secret;

    fn key(byte: u8) -> HeadKeys {
        keys(byte, None)
    }

    fn pepper(version: u32, byte: u8) -> Pepper {
        Pepper::of_version(PepperVersion::new(version).unwrap(), &Secret::new(vec![byte; 32])).unwrap()
    }

    /// The first pepper alone, or the second one before it.
    fn keys(first: u8, second: Option<u8>) -> HeadKeys {
        HeadKeys::of(&match second {
            None => Peppers::new(pepper(1, first), []),
            Some(second) => Peppers::new(pepper(2, second), [pepper(1, first)]),
        })
    }

    fn end(file: &str, seq: u64) -> JournalEnd {
        JournalEnd { file: file.into(), seq, chain: ChainLink::start(file), closed: false }
    }

    fn head() -> AuditHead {
        AuditHead {
            history: Some(HistoryMark::of(7, "{}")),
            ends: vec![end("a", 1), end("b", 2)],
            ..AuditHead::empty(Timestamp::EPOCH)
        }
    }

    #[test]
    fn what_was_sealed_opens_and_under_no_other_key() {
        let text = key(1).seal(&head());
        assert_eq!(key(1).open(text.as_bytes()), Ok(head()));
        assert_eq!(key(2).open(text.as_bytes()), Err(HeadFault::Mac));
        for bad in ["", "\n", "{}", "{}\nxx\n", &text[..text.len() - 3]] {
            assert_eq!(key(1).open(bad.as_bytes()), Err(HeadFault::Shape), "{bad:?}");
        }
        assert_eq!(key(1).open(format!("{text}more").as_bytes()), Err(HeadFault::Mac));
    }

    #[test]
    fn a_head_outlives_its_pepper_and_says_which_it_needs() {
        let old = key(1).seal(&head());
        let both = keys(1, Some(2));
        assert_eq!(both.open(old.as_bytes()), Ok(head()), "what was sealed before a rotation");
        let new = both.seal(&head());
        assert_eq!(both.open(new.as_bytes()), Ok(head()));
        let two = PepperVersion::new(2).unwrap();
        assert_eq!(key(1).open(new.as_bytes()), Err(HeadFault::Pepper(two)), "a store put back before it");
        assert_eq!(key(1).open(new.replace("\n2:", "\n").as_bytes()), Err(HeadFault::Mac));
        assert_eq!(keys(2, Some(1)).open(new.as_bytes()), Err(HeadFault::Mac));
    }

    #[test]
    fn ends_only_grow_and_the_oldest_leave() {
        let mut head = head();
        head.note(end("a", 5));
        head.note(end("a", 3));
        assert_eq!(head.ends, [end("b", 2), end("a", 5)]);
        assert_eq!(head.take_oldest(2, 1), []);
        head.note(end("c", 1));
        assert_eq!(head.take_oldest(2, 1), [end("b", 2), end("a", 5)]);
        assert_eq!(head.ends, [end("c", 1)]);
    }

    proptest! {
        #[test]
        fn every_changed_byte_is_noticed(at: prop::sample::Index, wrong: u8) {
            let mut text = key(1).seal(&head()).into_bytes();
            let at = at.index(text.len());
            prop_assume!(text[at] != wrong);
            text[at] = wrong;
            prop_assert!(key(1).open(&text).is_err());
        }
    }
}
