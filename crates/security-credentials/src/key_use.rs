//! One check of an API key of which nothing more is said than that: what the journal's queue holds of most uses.

use std::{io::Write as _, net::IpAddr};

use security_core::Timestamp;
use uuid::Uuid;

use crate::{KeyReason, token};

/// What stands between a use's time and its reason, as bytes.
macro_rules! facts {
    ($kind:literal, $outcome:literal) => {
        concat!(
            "\",\"credential_type\":\"",
            $kind,
            "\",\"component\":\"unknown\",\"operation\":\"verify\",\"outcome\":\"",
            $outcome
        )
        .as_bytes()
    };
}

/// A check of an API key, small enough to be queued as it is and written later. Its line is that of the
/// [`crate::UsageRecord`] with the same facts, the component `unknown` and the operation `verify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUse {
    /// When.
    pub at: Timestamp,
    /// The request it belongs to.
    pub request_id: Uuid,
    /// Whether the document's `API_KEY` was meant, and not an issued key.
    pub of_document: bool,
    /// How it ended.
    pub note: UseNote,
    key_id: Option<[u8; token::ID]>,
    client_ip: Option<IpAddr>,
}

/// How a check ended, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UseNote {
    /// Accepted.
    Ok,
    /// Accepted, with the token before the last rotation.
    InGrace,
    /// Refused: the token before the last rotation, and its grace is over.
    Superseded,
    /// Refused: known to nobody.
    Wrong,
    /// Refused for this reason of an issued key.
    Refused(KeyReason),
}

impl UseNote {
    /// Whether the key was accepted.
    pub fn is_accepted(self) -> bool {
        matches!(self, Self::Ok | Self::InGrace)
    }

    /// The record's `reason`.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Ok => None,
            Self::InGrace => Some("in_grace"),
            Self::Superseded => Some("superseded"),
            Self::Wrong => Some("wrong"),
            Self::Refused(reason) => Some(reason.as_str()),
        }
    }
}

impl KeyUse {
    /// What the component and the operation are where nobody says it.
    pub const COMPONENT: &str = "unknown";
    /// The operation.
    pub const OPERATION: &str = "verify";

    /// A use at a time. `key_id` is the id that the token names, also when its secret is wrong; one that is no id
    /// is left out.
    pub fn new(
        at: Timestamp,
        request_id: Uuid,
        of_document: bool,
        note: UseNote,
        key_id: Option<&str>,
        client_ip: Option<IpAddr>,
    ) -> Self {
        let key_id = key_id.filter(|id| token::check_id(id).is_ok());
        let key_id = key_id.and_then(|id| id.as_bytes().try_into().ok());
        Self { at, request_id, of_document, note, key_id, client_ip: client_ip.map(|ip| ip.to_canonical()) }
    }

    /// `API_KEY` or `ISSUED_KEY`.
    pub fn credential_type(&self) -> &'static str {
        if self.of_document { "API_KEY" } else { "ISSUED_KEY" }
    }

    /// The most bytes that [`KeyUse::write`] appends.
    pub const MAX_LENGTH: usize = 400;

    /// Appends the record's JSON, an object on one line.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut id = [0; uuid::fmt::Hyphenated::LENGTH];
        out.reserve(Self::MAX_LENGTH);
        out.extend_from_slice(b"{\"request_id\":\"");
        out.extend_from_slice(self.request_id.hyphenated().encode_lower(&mut id).as_bytes());
        out.extend_from_slice(b"\",\"at\":\"");
        out.extend_from_slice(self.at.encode(&mut [0; Timestamp::TEXT]).as_bytes());
        // The credential's type, the component, the operation and how it ended in one piece: a few ends are all that a
        // hundred thousand lines a second differ in.
        out.extend_from_slice(match (self.of_document, self.note.is_accepted()) {
            (false, true) => facts!("ISSUED_KEY", "success"),
            (false, false) => facts!("ISSUED_KEY", "failure"),
            (true, true) => facts!("API_KEY", "success"),
            (true, false) => facts!("API_KEY", "failure"),
        });
        if let Some(reason) = self.note.reason() {
            out.extend_from_slice(b"\",\"reason\":\"");
            out.extend_from_slice(reason.as_bytes());
        }
        if let Some(key_id) = &self.key_id {
            out.extend_from_slice(b"\",\"key_id\":\"");
            out.extend_from_slice(key_id);
        }
        if let Some(address) = self.client_ip {
            write!(out, "\",\"client_ip\":\"{address}").expect("a vector takes every write");
        }
        out.extend_from_slice(b"\"}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, UsageRecord};
    use proptest::prelude::*;

    const NOTES: [UseNote; 13] = [
        UseNote::Ok,
        UseNote::InGrace,
        UseNote::Superseded,
        UseNote::Wrong,
        UseNote::Refused(KeyReason::Malformed),
        UseNote::Refused(KeyReason::Unknown),
        UseNote::Refused(KeyReason::Expired),
        UseNote::Refused(KeyReason::Revoked),
        UseNote::Refused(KeyReason::Scope),
        UseNote::Refused(KeyReason::Network),
        UseNote::Refused(KeyReason::RateLimited),
        UseNote::Refused(KeyReason::LockedOut),
        UseNote::Refused(KeyReason::Ok),
    ];

    #[test]
    fn is_small_and_refuses_what_is_no_id() {
        assert!(size_of::<KeyUse>() <= 64, "{}", size_of::<KeyUse>());
        let with = |id| KeyUse::new(Timestamp::EPOCH, Uuid::nil(), true, UseNote::Wrong, Some(id), None);
        assert_eq!(with("\"}\n").key_id, None);
        assert!(with("0123456789abcdefg").key_id.is_some());
    }

    proptest! {
        #[test]
        fn the_line_is_that_of_the_full_record(
            micros in 0i64..253_402_207_200_000_000,
            request: u128,
            of_document: bool,
            note in prop::sample::select(NOTES.to_vec()),
            key_id in prop::option::of("[0-9A-Za-z]{17}"),
            client: Option<std::net::IpAddr>,
        ) {
            let (at, request) = (Timestamp::from_micros(micros), Uuid::from_u128(request));
            let used = KeyUse::new(at, request, of_document, note, key_id.as_deref(), client);
            let mut line = Vec::new();
            used.write(&mut line);
            prop_assert!(line.len() <= KeyUse::MAX_LENGTH);
            let outcome = if note.is_accepted() { Outcome::Success } else { Outcome::Failure };
            let mut record = UsageRecord::new(request.to_string(), at, outcome);
            record.credential_type = used.credential_type().into();
            record.component = KeyUse::COMPONENT.into();
            record.operation = KeyUse::OPERATION.into();
            record.reason = note.reason().map(str::to_owned);
            record.key_id = key_id;
            if let Some(client) = client {
                record.set_client_ip(&client.to_string());
            }
            prop_assert_eq!(String::from_utf8(line).unwrap(), serde_json::to_string(&record).unwrap());
        }
    }
}
