//! Walking over pages.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use security_core::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use crate::{
    Client, ManifestRecord, TaxiiError,
    address::shown,
    exchange::{Answer, Deadline},
    resource::Envelope,
};

/// How many objects a page holds if the caller does not say; servers give fewer if that is too many for them.
const DEFAULT_LIMIT: usize = 1000;
/// A longer `next` is no mark in a list but an attempt to fill the memory.
const MAX_NEXT: usize = 4096;

/// Which objects of a collection are wanted. Source: TAXII 2.1 §3.4, §3.5, §5.4.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectQuery {
    /// Only what the server got after this moment: the [`Page::date_added_last`] of the walk before.
    pub added_after: Option<Timestamp>,
    /// How many objects a page may hold; 1,000 if not given. It does not bound the walk.
    pub limit: Option<usize>,
    /// Only objects with one of these ids.
    pub ids: Vec<String>,
    /// Only objects of one of these types.
    pub types: Vec<String>,
    /// Only these versions: times, `first`, `last` or `all`; the last one if not given.
    pub versions: Vec<String>,
    /// Only objects of one of these STIX versions, for example `2.1`.
    pub spec_versions: Vec<String>,
}

/// One page.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// Its number, from 1.
    pub number: usize,
    /// What is on it.
    pub objects: Vec<T>,
    /// How many there were up to and with this page.
    pub objects_so_far: usize,
    /// When the server got the first of them, if it says so.
    pub date_added_first: Option<Timestamp>,
    /// When the server got the last of them, if it says so.
    pub date_added_last: Option<Timestamp>,
    /// Whether another page follows.
    pub more: bool,
}

/// The pages of one walk, asked for one at a time. After an error there are no more.
///
/// A walk ends with an error when the server repeats itself ([`TaxiiError::Looping`]), has more pages than the client
/// allows, or takes longer.
#[derive(Debug)]
pub struct Pages<'client, T> {
    client: &'client Client,
    /// With the query that stays the same on every page.
    url: Url,
    added_after: Option<Timestamp>,
    next: Option<String>,
    number: usize,
    objects_so_far: usize,
    /// The pages that were given so far, by what is on them.
    seen: HashMap<u64, usize>,
    is_done: bool,
    deadline: Option<Deadline>,
    entry: std::marker::PhantomData<T>,
}

/// What a page may hold.
pub(crate) trait Entry: DeserializeOwned {
    /// Which version of which object it is.
    fn hash_version(&self, hasher: &mut DefaultHasher);
}

impl Entry for Value {
    fn hash_version(&self, hasher: &mut DefaultHasher) {
        match self.get("id") {
            Some(id) => [Some(id), self.get("modified"), self.get("created")].hash(hasher),
            None => self.hash(hasher),
        }
    }
}

impl Entry for ManifestRecord {
    fn hash_version(&self, hasher: &mut DefaultHasher) {
        (&self.id, &self.version, self.date_added).hash(hasher);
    }
}

impl<'client, T> Pages<'client, T> {
    pub(crate) fn new(client: &'client Client, mut url: Url, query: &ObjectQuery) -> Self {
        {
            let mut pairs = url.query_pairs_mut();
            // Always sent, with `next` too: some servers cannot go on without it.
            pairs.append_pair("limit", &query.limit.unwrap_or(DEFAULT_LIMIT).max(1).to_string());
            for (name, values) in [
                ("match[id]", &query.ids),
                ("match[type]", &query.types),
                ("match[version]", &query.versions),
                ("match[spec_version]", &query.spec_versions),
            ] {
                if !values.is_empty() {
                    pairs.append_pair(name, &values.join(","));
                }
            }
        }
        Self {
            client,
            url,
            added_after: query.added_after,
            next: None,
            number: 0,
            objects_so_far: 0,
            seen: HashMap::new(),
            is_done: false,
            deadline: None,
            entry: std::marker::PhantomData,
        }
    }

    /// Asks for the next page.
    fn ask(&mut self) -> Result<Answer, TaxiiError> {
        if self.number == self.client.max_pages() {
            return Err(TaxiiError::TooManyPages { address: shown(&self.url), limit: self.number });
        }
        let deadline = *self.deadline.get_or_insert_with(|| Deadline::after(self.client.total_timeout()));
        let mut url = self.url.clone();
        if let Some(time) = self.added_after {
            url.query_pairs_mut().append_pair("added_after", &with_microseconds(time));
        }
        if let Some(next) = &self.next {
            url.query_pairs_mut().append_pair("next", next);
        }
        self.client.exchange().get(&url, Some(deadline))
    }

    fn looping(&self, page: usize) -> TaxiiError {
        TaxiiError::Looping { address: shown(&self.url), page }
    }
}

#[allow(private_bounds, reason = "what a page may hold is closed: objects and manifest records")]
impl<T: Entry> Pages<'_, T> {
    fn page(&mut self) -> Result<Page<T>, TaxiiError> {
        let answer = self.ask()?;
        let Envelope { more, next, objects } = answer.read::<Envelope<T>>()?;
        self.number += 1;
        self.objects_so_far += objects.len();
        if more {
            self.check_progress(&objects, next.as_deref())?;
        }
        let page = Page {
            number: self.number,
            objects_so_far: self.objects_so_far,
            date_added_first: answer.time("X-TAXII-Date-Added-First"),
            date_added_last: answer.time("X-TAXII-Date-Added-Last"),
            more,
            objects,
        };
        tracing::debug!(page = page.number, objects = page.objects_so_far, more, "taxii page");
        if more {
            self.turn(&answer, next, page.date_added_last)?;
        } else {
            self.is_done = true;
        }
        Ok(page)
    }

    /// A server may keep one `next` for a whole walk, so that alone is no sign of a loop: the same objects again are.
    fn check_progress(&mut self, objects: &[T], next: Option<&str>) -> Result<(), TaxiiError> {
        if objects.is_empty() {
            let is_stuck = self.number > 1 && self.next.as_deref() == next;
            return if is_stuck { Err(self.looping(self.number - 1)) } else { Ok(()) };
        }
        let mut hasher = DefaultHasher::new();
        objects.iter().for_each(|object| object.hash_version(&mut hasher));
        match self.seen.insert(hasher.finish(), self.number) {
            Some(page) => Err(self.looping(page)),
            None => Ok(()),
        }
    }

    /// Where the next page is: behind `next`, or else after the last object of this one (TAXII 2.1 §3.4).
    fn turn(
        &mut self,
        answer: &Answer,
        next: Option<String>,
        last: Option<Timestamp>,
    ) -> Result<(), TaxiiError> {
        match (next, last) {
            (Some(next), _) if next.len() > MAX_NEXT => Err(answer.bad("its `next` is too long")),
            (Some(next), _) => {
                self.next = Some(next);
                Ok(())
            }
            (None, Some(last)) if self.added_after.is_none_or(|before| before < last) => {
                self.next = None;
                self.added_after = Some(last);
                Ok(())
            }
            (None, Some(_)) => Err(self.looping(self.number)),
            (None, None) => Err(answer.bad("it says there is more and not how to get it")),
        }
    }
}

#[allow(private_bounds, reason = "what a page may hold is closed: objects and manifest records")]
impl<T: Entry> Iterator for Pages<'_, T> {
    type Item = Result<Page<T>, TaxiiError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let page = self.page();
        self.is_done |= page.is_err();
        Some(page)
    }
}

/// TAXII times have up to six digits, and some servers read no others.
fn with_microseconds(time: Timestamp) -> String {
    let text = time.to_string();
    let seconds = text.trim_end_matches('Z').split('.').next().unwrap_or_default();
    format!("{seconds}.{:06}Z", time.as_micros().rem_euclid(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_six_digits() {
        let written = |micros| with_microseconds(Timestamp::from_micros(micros));
        assert_eq!(written(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(written(1_500_000), "1970-01-01T00:00:01.500000Z");
        assert_eq!(written(-1), "1969-12-31T23:59:59.999999Z");
    }
}
