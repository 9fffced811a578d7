//! One check of an API key that a web request brought: what is known is put down as it came, and made a line of JSON
//! by whoever writes the journal.

use std::{borrow::Cow, io::Write as _, net::IpAddr};

use security_core::Timestamp;

use crate::{UsageRecord, UseNote, token, usage::clean};

/// A check of an API key for a request. Its line is that of the [`UsageRecord`] with the same facts and the component
/// `web`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestUse {
    at: Timestamp,
    note: UseNote,
    of_document: bool,
    key_id: Option<[u8; token::ID]>,
    client_ip: Option<IpAddr>,
    /// The request's id, what was asked for and, if there is one, the user agent.
    texts: Box<str>,
    operation_begins: u16,
    operation_ends: u16,
    has_agent: bool,
}

impl RequestUse {
    /// The component of every such record.
    pub const COMPONENT: &str = "web";
    /// The most bytes that [`RequestUse::write`] appends: three texts, of which each byte may need six, and the rest.
    pub const MAX_LENGTH: usize = 18 * UsageRecord::MAX_TEXT + 400;

    /// A use at a time, for a request with this id. `key_id` is the id that the token names, also when its secret is
    /// wrong; one that is no id is left out. `operation` is the method and what of the path is to be kept; `user_agent`
    /// is as it came. Texts that are too long for a record are cut here, so that what waits to be written is bounded.
    pub fn new(
        (at, of_document, note): (Timestamp, bool, UseNote),
        key_id: Option<&str>,
        client_ip: Option<IpAddr>,
        request_id: &str,
        operation: (&str, &str),
        user_agent: Option<&[u8]>,
    ) -> Self {
        let key_id = key_id.filter(|id| token::check_id(id).is_ok());
        let key_id = key_id.and_then(|id| id.as_bytes().try_into().ok());
        let request_id = short(request_id.into());
        let (method, path) = operation;
        let (operation, (method, path)) = match method.len() + path.len() < UsageRecord::MAX_TEXT {
            true => (Cow::Borrowed(""), (method, path)),
            false => (short(format!("{method} {path}").into()), ("", "")),
        };
        let agent = user_agent.map(|agent| short(String::from_utf8_lossy(agent)));
        let length = request_id.len() + operation.len() + method.len() + 1 + path.len();
        let mut texts = String::with_capacity(length + agent.as_ref().map_or(0, |agent| agent.len()));
        texts.push_str(&request_id);
        let operation_begins = texts.len();
        if operation.is_empty() {
            texts.push_str(method);
            texts.push(' ');
            texts.push_str(path);
        } else {
            texts.push_str(&operation);
        }
        let operation_ends = texts.len();
        texts.push_str(agent.as_deref().unwrap_or_default());
        Self {
            at,
            note,
            of_document,
            key_id,
            client_ip: client_ip.map(|ip| ip.to_canonical()),
            texts: texts.into_boxed_str(),
            // Both are at most twice the longest text.
            operation_begins: operation_begins as u16,
            operation_ends: operation_ends as u16,
            has_agent: agent.is_some(),
        }
    }

    /// About how many bytes [`RequestUse::write`] appends.
    pub fn length(&self) -> usize {
        self.texts.len() + 300
    }

    /// Appends the record's JSON, an object on one line.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (begins, ends) = (usize::from(self.operation_begins), usize::from(self.operation_ends));
        out.reserve(self.length());
        out.extend_from_slice(b"{\"request_id\":");
        string(out, &self.texts[..begins]);
        out.extend_from_slice(b",\"at\":\"");
        out.extend_from_slice(self.at.encode(&mut [0; Timestamp::TEXT]).as_bytes());
        out.extend_from_slice(match self.of_document {
            true => b"\",\"credential_type\":\"API_KEY\",\"component\":\"web\",\"operation\":".as_slice(),
            false => b"\",\"credential_type\":\"ISSUED_KEY\",\"component\":\"web\",\"operation\":".as_slice(),
        });
        string(out, &self.texts[begins..ends]);
        out.extend_from_slice(match self.note.is_accepted() {
            true => b",\"outcome\":\"success\"".as_slice(),
            false => b",\"outcome\":\"failure\"".as_slice(),
        });
        if let Some(reason) = self.note.reason() {
            out.extend_from_slice(b",\"reason\":\"");
            out.extend_from_slice(reason.as_bytes());
            out.push(b'"');
        }
        if let Some(key_id) = &self.key_id {
            out.extend_from_slice(b",\"key_id\":\"");
            out.extend_from_slice(key_id);
            out.push(b'"');
        }
        if let Some(address) = self.client_ip {
            write!(out, ",\"client_ip\":\"{address}\"").expect("a vector takes every write");
        }
        if self.has_agent {
            out.extend_from_slice(b",\"user_agent\":");
            string(out, &self.texts[ends..]);
        }
        out.push(b'}');
    }
}

/// A text that fits a record as it is, or what of it is kept.
fn short(text: Cow<'_, str>) -> Cow<'_, str> {
    match text.len() <= UsageRecord::MAX_TEXT {
        true => text,
        false => clean(&text, UsageRecord::MAX_TEXT).into_owned().into(),
    }
}

/// Appends a text as JSON, without the secret part of any of our own tokens that slipped into it.
fn string(out: &mut Vec<u8>, text: &str) {
    let text = clean(text, UsageRecord::MAX_TEXT);
    serde_json::to_writer(&mut *out, &*text).expect("a vector takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KeyReason, Outcome};
    use proptest::prelude::*;

    fn record(used: &RequestUse, texts: (&str, &str, Option<&[u8]>)) -> UsageRecord {
        let outcome = if used.note.is_accepted() { Outcome::Success } else { Outcome::Failure };
        let mut record = UsageRecord::new(texts.0, used.at, outcome);
        record.credential_type = if used.of_document { "API_KEY" } else { "ISSUED_KEY" }.into();
        record.component = RequestUse::COMPONENT.into();
        record.operation = texts.1.into();
        record.reason = used.note.reason().map(str::to_owned);
        record.key_id = used.key_id.map(|id| String::from_utf8(id.to_vec()).unwrap());
        record.client_ip = used.client_ip;
        record.user_agent = texts.2.map(|agent| String::from_utf8_lossy(agent).into_owned());
        record.bounded()
    }

    #[test]
    fn a_place_in_the_queue_stays_small() {
        assert!(size_of::<RequestUse>() <= 80, "{}", size_of::<RequestUse>());
    }

    #[test]
    fn secrets_and_endless_texts_are_not_kept() {
        let token = crate::Token::generate("sk", &mut Sevens).unwrap();
        let text = format!("{}{}", "x".repeat(990), String::from_utf8_lossy(token.secret.expose()));
        let agent = [b'a'; 90_000];
        let facts = (Timestamp::EPOCH, false, UseNote::Ok);
        let used = RequestUse::new(facts, None, None, &text, ("GET", &text), Some(&agent));
        assert!(used.texts.len() <= 3 * UsageRecord::MAX_TEXT);
        let mut line = Vec::new();
        used.write(&mut line);
        assert!(line.len() <= RequestUse::MAX_LENGTH);
        let operation = format!("GET {text}");
        let whole = record(&used, (&text, &operation, Some(&agent)));
        assert_eq!(String::from_utf8(line).unwrap(), serde_json::to_string(&whole).unwrap());
    }

    struct Sevens;

    impl security_core::Entropy for Sevens {
        fn fill(&mut self, buffer: &mut [u8]) {
            buffer.fill(7);
        }
    }

    proptest! {
        #[test]
        fn the_line_is_that_of_the_full_record(
            micros in 0i64..253_402_207_200_000_000,
            of_document: bool,
            note in prop::sample::select(vec![
                UseNote::Ok, UseNote::InGrace, UseNote::Superseded, UseNote::Wrong,
                UseNote::Refused(KeyReason::Expired), UseNote::Refused(KeyReason::RateLimited),
            ]),
            key_id in prop::option::of("[0-9A-Za-z]{17}"),
            client: Option<IpAddr>,
            request_id in ".{0,40}",
            method in "[A-Z]{0,8}",
            path in ".{0,1200}",
            agent in prop::option::of(prop::collection::vec(any::<u8>(), 0..1200)),
        ) {
            let facts = (Timestamp::from_micros(micros), of_document, note);
            let used = RequestUse::new(
                facts, key_id.as_deref(), client, &request_id, (&method, &path), agent.as_deref(),
            );
            let mut line = Vec::new();
            used.write(&mut line);
            prop_assert!(line.len() <= RequestUse::MAX_LENGTH);
            let operation = format!("{method} {path}");
            let whole = record(&used, (&request_id, &operation, agent.as_deref()));
            prop_assert_eq!(String::from_utf8(line).unwrap(), serde_json::to_string(&whole).unwrap());
        }
    }
}
