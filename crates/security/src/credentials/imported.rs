//! Keys that another system issued: taken over by their hashes, and recognised when they are presented.
//!
//! Their texts are not of our shape, so they bear no id. Where none was ever imported nobody looks for one.

mod turnstile;

use std::{
    borrow::Cow,
    collections::HashMap,
    io::{self, BufRead, Read},
    net::IpAddr,
    sync::{PoisonError, RwLock, atomic::Ordering},
};

use security_core::{StoreFault, Timestamp};
use security_credentials::{
    CredentialEvent, CredentialStore, Digest, ForeignHash, ForeignRoute, HistoryEntry, ImportRecord,
    ImportedKey, IssuedKey, KeyFacts, KeyReason, KeyVerdict, Token, is_guessable,
};
use security_store::Renewal;
use serde::{Deserializer as _, Serialize, de};
use serde_json::{Value, json};

pub(super) use turnstile::Turnstile;

use super::{
    Documents,
    issued::line,
    keys::{Question, digests_under},
    peppers::KeptPeppers,
};
use crate::{Engine, Error, Result, utils::generate_request_id, world};

/// Keys stored in one transaction.
const BATCH: usize = 5000;
/// Rejected records that a report lists; all are counted.
const LISTED_REJECTIONS: usize = 100;
/// Each length of `key_prefix` is a look-up of its own for every key that is presented.
const MOST_PREFIX_LENGTHS: usize = 16;
/// Keys whose ids are remembered, some 150 bytes each.
const REMEMBERED: usize = 65_536;

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct KeyImportReport {
    /// Keys taken over.
    pub imported: usize,
    /// Records whose key was there already.
    pub present: usize,
    /// Records that cannot be taken.
    pub rejected: usize,
    /// The first hundred of them.
    pub rejections: Vec<KeyRejection>,
}

/// A record that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyRejection {
    /// Its number, from 1.
    pub record: usize,
    /// Why; never with its hash.
    pub reason: String,
}

/// Ids of imported keys by the digests of their texts, and the digests that these keys are judged by. A text belongs
/// to one key for ever and every use is judged anew, so nothing here ever becomes wrong.
#[derive(Debug, Default)]
pub(super) struct KnownTexts(RwLock<HashMap<[u8; 32], KnownText>>);

/// The key's id, and the digest that it is judged by.
type KnownText = (Box<str>, Digest);

impl KnownTexts {
    fn find(&self, text: &Digest) -> Option<KnownText> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(text.as_bytes()).cloned()
    }

    fn remember(&self, text: &Digest, id: &str, judged_by: Digest) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(*text.as_bytes(), (id.into(), judged_by));
    }
}

/// A key whose foreign hash was checked, as it is to be judged now, and the digest by which the store's is from then on.
struct Rehashed {
    key: IssuedKey,
    judged_by: Digest,
}

/// Whose key was presented.
pub(super) enum Presented<'p, T> {
    /// That of the key with this id; and what was wanted of it, where the secret was right.
    Known(Cow<'p, str>, KeyVerdict, Option<T>),
    /// None that was imported.
    Nobodys,
    /// That cannot be told now: too many slow hashes are being computed, or enough of this client.
    Busy,
}

impl Engine {
    /// Whether checking a key may take tens of milliseconds: some imported keys have a slow hash until their first use.
    pub fn may_hash_slowly(&self) -> bool {
        self.credentials.may_hash_slowly.load(Ordering::Relaxed)
    }

    /// Judges a key that has not our shape, as [`Engine::judge_issued`] does the others.
    pub(super) fn judge_imported<T>(
        &self,
        documents: &Documents,
        presented: &[u8],
        digest: &Digest,
        asked: Question<'_>,
        seen: &mut impl FnMut(KeyFacts<'_>) -> Option<T>,
    ) -> Result<Presented<'static, T>> {
        let texts = &self.credentials.imported;
        if let Some((id, judged_by)) = texts.find(digest) {
            let (verdict, key) = self.judge_issued(&id, || judged_by, &|_| None, asked, seen)?;
            // A store that was put back may know the key by its old hash again.
            if verdict.reason != KeyReason::Unknown || verdict.superseded {
                return Ok(Presented::Known(Cow::Owned(id.into()), verdict, key));
            }
        }
        let mut wrong = Presented::Nobodys;
        let peppers = &documents.peppers;
        // What an imported key is found by may still be under an older pepper than the newest.
        let ways = documents.routes.iter().flat_map(|route| peppers.all().map(move |pepper| (route, pepper)));
        for (route, pepper) in ways {
            let Some(found_by) = route.lookup(pepper, presented) else { continue };
            let Some(id) = self.files.store.foreign_key(&found_by)? else { continue };
            let of_route = |version| route.lookup(peppers.of_version(version)?, presented);
            let lookup = of_route(peppers.newest().version()).unwrap_or(found_by);
            let renew_lookup = |verdict: KeyVerdict| {
                if verdict.is_ok() && found_by.pepper() != lookup.pepper() {
                    self.renew_later(&found_by, Renewal::Lookup { old: found_by, new: lookup });
                }
            };
            let ForeignRoute::Prefix(length) = route else {
                let (verdict, key) = self.judge_issued(&id, || lookup, &of_route, asked, seen)?;
                renew_lookup(verdict);
                texts.remember(digest, &id, lookup);
                return Ok(Presented::Known(Cow::Owned(id), verdict, key));
            };
            let Some(key) = self.files.store.issued_key(&id)? else { continue };
            let guessed = &presented[usize::from(*length)..];
            let Some(Rehashed { key, judged_by }) =
                self.rehashed(key, presented, guessed, digest, asked.client)?
            else {
                return Ok(Presented::Busy);
            };
            let of_text = |version| Some(peppers.of_version(version)?.digest(presented));
            let under_others = digests_under(digest, [Some(key.peppers()), None], &of_text);
            let digests = under_others.as_deref().unwrap_or(std::slice::from_ref(digest));
            let verdict = key.judge(digests, asked.now, asked.scopes, asked.client);
            let right = verdict.reason != KeyReason::Unknown;
            if !right && !verdict.superseded {
                // Another key's prefix may go on where this one's ends.
                wrong = Presented::Known(Cow::Owned(id), verdict, None);
                continue;
            }
            renew_lookup(verdict);
            self.renew_key(&id, Some(key.digest), digest, verdict);
            texts.remember(digest, &id, judged_by);
            let seen = seen((&key).into()).filter(|_| right);
            return Ok(Presented::Known(Cow::Owned(id), verdict, seen));
        }
        Ok(wrong)
    }

    /// The key with the presented text's digest in place of its foreign hash, if it has passed that; `None` when too
    /// many are being computed, or enough of this client.
    ///
    /// That is what is stored from then on, unless the text's `guessed` part can be guessed: then a slow hash is kept,
    /// and the text is recognised by this process as long as it remembers it.
    fn rehashed(
        &self,
        mut key: IssuedKey,
        presented: &[u8],
        guessed: &[u8],
        digest: &Digest,
        client: Option<IpAddr>,
    ) -> Result<Option<Rehashed>> {
        let Some(hash) = key.foreign.clone() else { return Ok(Some(Rehashed { key, judged_by: *digest })) };
        let place = match hash.is_slow() {
            true => match self.credentials.slow_hashes.enter(client) {
                // Whoever was inside meanwhile may have done it.
                Some(place) => match self.files.store.issued_key(&key.id)? {
                    Some(fresh) if fresh.foreign.is_none() => {
                        return Ok(Some(Rehashed { key: fresh, judged_by: *digest }));
                    }
                    _ => Some(place),
                },
                None => return Ok(None),
            },
            false => None,
        };
        if !hash.verify(presented) {
            return Ok(Some(Rehashed { key, judged_by: *digest }));
        }
        drop(place);
        if is_guessable(guessed) {
            if !hash.is_slow() {
                self.slow_down(&key, &hash, presented, client);
            }
            key.rehash(*digest);
            // What stands in the store stands for the digest that is not known.
            return Ok(Some(Rehashed { key, judged_by: Digest::DECOY }));
        }
        key.rehash(*digest);
        match self.save_rehashed(&key) {
            Ok(()) => {}
            // Somebody was first, or changed the key: what that made of it is judged.
            Err(fault) if fault.is_conflict() => {
                if let Some(mut changed) = self.files.store.issued_key(&key.id)? {
                    changed.rehash(*digest);
                    key = changed;
                }
            }
            // The next use tries again; this one is answered all the same.
            Err(error) => tracing::warn!(%error, key_id = key.id, "an imported key keeps its old hash"),
        }
        Ok(Some(Rehashed { key, judged_by: *digest }))
    }

    /// Keeps a slow hash of a key in place of a fast one. What does not work out now is tried again by the next process
    /// that meets the key.
    fn slow_down(&self, key: &IssuedKey, hash: &ForeignHash, presented: &[u8], client: Option<IpAddr>) {
        let Some(_place) = self.credentials.slow_hashes.enter(client) else { return };
        let Some(slow) = hash.slowed(presented, &mut world::SystemEntropy) else { return };
        let mut slowed = key.clone();
        slowed.slow_down(slow);
        match self.save_rehashed(&slowed) {
            Err(error) if !error.is_conflict() => {
                tracing::warn!(%error, key_id = key.id, "an imported key keeps its fast hash");
            }
            _ => {}
        }
    }

    fn save_rehashed(&self, key: &IssuedKey) -> std::result::Result<(), StoreFault> {
        let line = line(key, CredentialEvent::Rehashed, &generate_request_id(), &json!({}));
        self.files.store.save_issued_key(key, &line)
    }

    /// Takes over keys that another system issued. Each record is a JSON object; [`ImportRecord::FIELDS`] says of what.
    /// `prefix` is what these keys begin with once they are rotated, `sk` when not given.
    ///
    /// Batches of 5,000 are stored one by one, each in the audit trail before it begins. A key that is there already
    /// stays as it is, so that an import may be repeated.
    /// # Errors
    /// [`Error::Invalid`] for a prefix of another shape; [`Error::Store`]. Records that cannot be taken are counted and
    /// told in the report.
    pub fn import_api_keys(
        &self,
        records: impl IntoIterator<Item = Value>,
        prefix: Option<&str>,
    ) -> Result<KeyImportReport> {
        let mut import = Import::new(self, prefix)?;
        for record in records {
            import.take(record)?;
        }
        import.finish()
    }

    /// Likewise from a file: JSON lines, or one JSON array.
    /// # Errors
    /// [`Error::Invalid`] also for what is no JSON, and for what cannot be read; batches before it stay.
    pub fn import_api_key_file(
        &self,
        mut input: impl BufRead,
        prefix: Option<&str>,
    ) -> Result<KeyImportReport> {
        let mut import = Import::new(self, prefix)?;
        let first = first_sign(&mut input).map_err(|error| Error::invalid("records_or_path", error))?;
        let mut failed = None;
        let mut take = |record| import.take(record).map_err(|error| failed = Some(error)).is_ok();
        let read = if first == Some(b'[') {
            let mut list = serde_json::Deserializer::from_reader(input);
            list.deserialize_seq(Records(&mut take)).and_then(|()| list.end())
        } else {
            each_line(input, &mut take)
        };
        match (failed, read) {
            (Some(error), _) => Err(error),
            (None, Err(error)) => {
                import.store()?;
                Err(Error::invalid("records_or_path", format!("record {}: {error}", import.seen + 1)))
            }
            (None, Ok(())) => import.finish(),
        }
    }
}

/// One import.
struct Import<'e> {
    engine: &'e Engine,
    peppers: KeptPeppers,
    prefix: String,
    now: Timestamp,
    request_id: String,
    routes: Vec<ForeignRoute>,
    batch: Vec<(ImportedKey, HistoryEntry)>,
    /// The numbers of the batch's records.
    numbers: Vec<usize>,
    seen: usize,
    report: KeyImportReport,
}

impl<'e> Import<'e> {
    fn new(engine: &'e Engine, prefix: Option<&str>) -> Result<Self> {
        let prefix = prefix.unwrap_or("sk").to_owned();
        Token::check_prefix(&prefix).map_err(|error| Error::invalid("prefix", error))?;
        Ok(Self {
            engine,
            peppers: engine.peppers()?,
            prefix,
            now: world::now(),
            request_id: generate_request_id(),
            routes: engine.files.store.foreign_routes()?,
            batch: Vec::new(),
            numbers: Vec::new(),
            seen: 0,
            report: KeyImportReport::default(),
        })
    }

    fn take(&mut self, record: Value) -> Result<()> {
        self.seen += 1;
        let resolved = ImportRecord::from_json(record).and_then(|record| {
            let id = Token::new_id(&mut world::SystemEntropy);
            record.resolve(&self.peppers, &id, &self.prefix, self.now)
        });
        let reason = match resolved {
            Ok(imported) if self.has_room_for(imported.route) => {
                let details = json!({"name": imported.key.name, "owner": imported.key.owner});
                let line = line(&imported.key, CredentialEvent::Imported, &self.request_id, &details);
                self.batch.push((imported, line));
                self.numbers.push(self.seen);
                return if self.batch.len() >= BATCH { self.store() } else { Ok(()) };
            }
            Ok(_) => format!("key_prefix: {MOST_PREFIX_LENGTHS} other lengths are in use; no more are taken"),
            Err(error) => error.to_string(),
        };
        self.reject(self.seen, reason);
        Ok(())
    }

    fn reject(&mut self, record: usize, reason: String) {
        self.report.rejected += 1;
        if self.report.rejections.len() < LISTED_REJECTIONS {
            self.report.rejections.push(KeyRejection { record, reason });
        }
    }

    fn has_room_for(&mut self, route: ForeignRoute) -> bool {
        if self.routes.contains(&route) {
            return true;
        }
        let lengths = self.routes.iter().filter(|route| matches!(route, ForeignRoute::Prefix(_))).count();
        if matches!(route, ForeignRoute::Prefix(_)) && lengths >= MOST_PREFIX_LENGTHS {
            return false;
        }
        self.routes.push(route);
        true
    }

    fn store(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        let numbers = std::mem::take(&mut self.numbers);
        if batch.is_empty() {
            return Ok(());
        }
        let details = json!({"keys": batch.len(), "first_name": batch[0].0.key.name});
        let saved = self.engine.audited("keys_imported", &self.request_id, details, || {
            Ok(self.engine.files.store.save_foreign_keys(&batch)?)
        })?;
        self.report.imported += saved.stored;
        self.report.present += batch.len() - saved.stored - saved.others.len();
        for at in saved.others {
            self.reject(numbers[at], "key_prefix: another key was imported that begins with it".to_owned());
        }
        Ok(())
    }

    fn finish(mut self) -> Result<KeyImportReport> {
        self.store()?;
        Ok(self.report)
    }
}

/// The first byte that is no white space; what stands before it is consumed.
fn first_sign(input: &mut impl BufRead) -> io::Result<Option<u8>> {
    loop {
        let buffer = input.fill_buf()?;
        let Some(first) = buffer.iter().position(|byte| !byte.is_ascii_whitespace()) else {
            let length = buffer.len();
            if length == 0 {
                return Ok(None);
            }
            input.consume(length);
            continue;
        };
        let sign = buffer[first];
        input.consume(first);
        return Ok(Some(sign));
    }
}

fn each_line(input: impl Read, take: &mut dyn FnMut(Value) -> bool) -> serde_json::Result<()> {
    for record in serde_json::Deserializer::from_reader(input).into_iter::<Value>() {
        if !take(record?) {
            break;
        }
    }
    Ok(())
}

/// The entries of an array, one by one.
struct Records<'t>(&'t mut dyn FnMut(Value) -> bool);

impl<'de> de::Visitor<'de> for Records<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut entries: A) -> std::result::Result<(), A::Error> {
        while let Some(record) = entries.next_element::<Value>()? {
            if !(self.0)(record) {
                return Err(de::Error::custom("given up"));
            }
        }
        Ok(())
    }
}
