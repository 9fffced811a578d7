//! One use of a credential, as the journal keeps it.

use std::net::IpAddr;

use security_core::{Timestamp, redact_tokens};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How a use ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The credential was accepted, or used.
    Success,
    /// It was refused.
    Failure,
}

/// One use of a credential. Written as one line of JSON, in which no value can make a second line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsageRecord {
    /// The request it belongs to.
    pub request_id: String,
    /// When.
    pub at: Timestamp,
    /// `API_KEY` and its like, `ISSUED_KEY`, or the caller's own word.
    pub credential_type: String,
    /// The part of the application, in its own words.
    pub component: String,
    /// What was done, in its own words.
    pub operation: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why: a [`crate::KeyReason`] of an issued key; `superseded` and `wrong` of another; or the caller's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The issued key's id, also when the secret was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// The client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<IpAddr>,
    /// The client's `User-Agent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The application's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// An error, in the caller's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Everything else the caller wants kept; see [`UsageRecord::set_option`].
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub options: Map<String, Value>,
}

impl UsageRecord {
    /// The most options kept.
    pub const MAX_OPTIONS: usize = 32;
    /// The longest text kept of any one field or option, in bytes; an option that is no text counts as its JSON.
    pub const MAX_TEXT: usize = 1024;
    /// The longest name of an option, in bytes.
    pub const MAX_NAME: usize = 64;

    /// A record of a use that ended so; everything else is empty.
    pub fn new(request_id: impl Into<String>, at: Timestamp, outcome: Outcome) -> Self {
        Self {
            request_id: request_id.into(),
            at,
            credential_type: String::new(),
            component: String::new(),
            operation: String::new(),
            outcome,
            reason: None,
            key_id: None,
            client_ip: None,
            user_agent: None,
            user_id: None,
            error: None,
            options: Map::new(),
        }
    }

    /// Keeps the client's address; a text that is no address is kept as the option `client_ip`.
    pub fn set_client_ip(&mut self, text: &str) {
        match text.trim().parse::<IpAddr>() {
            Ok(address) => self.client_ip = Some(address.to_canonical()),
            Err(_) => {
                self.set_option("client_ip", text.into());
            }
        }
    }

    /// Keeps one more word of the caller's, cut to the bounds; `false` when there are [`Self::MAX_OPTIONS`]
    /// already and it was dropped.
    pub fn set_option(&mut self, name: &str, value: Value) -> bool {
        let name = clean(name, Self::MAX_NAME).into_owned();
        if self.options.len() >= Self::MAX_OPTIONS && !self.options.contains_key(&name) {
            return false;
        }
        self.options.insert(name, clean_value(value));
        true
    }

    /// The record with every field and option inside its bounds, and without the secret part of any of our own
    /// tokens that slipped into a text. To be called once, before the record is kept.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let Self { request_id, credential_type, component, operation, .. } = &mut self;
        for text in [request_id, credential_type, component, operation] {
            clean_text(text);
        }
        let Self { reason, key_id, user_agent, user_id, error, .. } = &mut self;
        for text in [reason, key_id, user_agent, user_id, error].into_iter().flatten() {
            clean_text(text);
        }
        for (name, value) in std::mem::take(&mut self.options) {
            self.set_option(&name, value);
        }
        self
    }
}

fn clean_text(text: &mut String) {
    if let std::borrow::Cow::Owned(cleaned) = clean(text, UsageRecord::MAX_TEXT) {
        *text = cleaned;
    }
}

fn clean_value(value: Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
        Value::String(mut text) => {
            clean_text(&mut text);
            Value::String(text)
        }
        Value::Array(_) | Value::Object(_) => {
            let text = value.to_string();
            match clean(&text, UsageRecord::MAX_TEXT) {
                std::borrow::Cow::Borrowed(_) => value,
                std::borrow::Cow::Owned(cleaned) => Value::String(cleaned),
            }
        }
    }
}

/// At most `most` bytes of the text, the last of them `…` when it was cut; tokens are redacted before, so that a
/// cut leaves no half of one.
pub(crate) fn clean(text: &str, most: usize) -> std::borrow::Cow<'_, str> {
    // A redacted token keeps two fifths of its length, so what lies four times behind the cut cannot come before
    // it, and need not be read.
    let near = &text[..text.floor_char_boundary(4 * most)];
    let redacted = redact_tokens(near);
    if near.len() == text.len() && redacted.len() <= most {
        return redacted;
    }
    let cut = redacted.floor_char_boundary(most - '…'.len_utf8());
    format!("{}…", &redacted[..cut]).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Token;
    use proptest::prelude::*;
    use security_core::Entropy;

    fn record() -> UsageRecord {
        UsageRecord::new("req-1", Timestamp::EPOCH, Outcome::Failure)
    }

    struct Sevens;

    impl Entropy for Sevens {
        fn fill(&mut self, buffer: &mut [u8]) {
            buffer.fill(7);
        }
    }

    #[test]
    fn is_one_line_of_json_whatever_it_holds() {
        let mut record = record();
        record.component = "a\n{\"outcome\":\"success\"}\r\u{2028}".into();
        record.reason = Some("expired".into());
        record.set_client_ip("::ffff:192.0.2.1");
        record.set_option("x\ny", "z\n".into());
        let line = serde_json::to_string(&record.clone().bounded()).unwrap();
        assert!(!line.contains(['\n', '\r']));
        assert!(line.contains("\"client_ip\":\"192.0.2.1\""));
        assert!(line.contains("\"outcome\":\"failure\""));
        assert_eq!(serde_json::from_str::<UsageRecord>(&line).unwrap(), record);
    }

    #[test]
    fn what_is_no_address_is_kept_as_it_was_said() {
        let mut record = record();
        record.set_client_ip("unknown");
        assert_eq!((record.client_ip, &record.options["client_ip"]), (None, &"unknown".into()));
    }

    #[test]
    fn records_of_later_versions_are_read() {
        let mut json = serde_json::to_value(record()).unwrap();
        json["added_later"] = 1.into();
        assert_eq!(serde_json::from_value::<UsageRecord>(json).unwrap(), record());
    }

    #[test]
    fn options_are_few_and_short() {
        let mut record = record();
        for number in 0..40 {
            assert_eq!(record.set_option(&format!("option-{number}"), number.into()), number < 32);
        }
        assert!(record.set_option("option-3", "é".repeat(600).into()), "a known name is replaced");
        let text = record.options["option-3"].as_str().unwrap();
        assert!(text.len() <= 1024 && text.len() > 1018 && text.ends_with("é…"));
        record.set_option("option-4", serde_json::json!({"deep": "x".repeat(2000)}));
        assert!(record.options["option-4"].as_str().unwrap().starts_with("{\"deep\":\"xx"));
        record.set_option("option-5", serde_json::json!({"a": [1, 2]}));
        assert_eq!(record.options["option-5"], serde_json::json!({"a": [1, 2]}));
    }

    #[test]
    fn a_token_that_slipped_in_is_redacted_even_across_the_cut() {
        let token = Token::generate("sk", &mut Sevens).unwrap();
        let text = token.secret.expose_text().unwrap();
        let secret = &text[21..];
        let mut record = record();
        record.error = Some(format!("bad key {text}"));
        record.user_agent = Some(format!("{}{text}", "x".repeat(990)));
        record.set_option("headers", serde_json::json!({"authorization": text}));
        let line = serde_json::to_string(&record.bounded()).unwrap();
        assert!(!line.contains(&secret[..10]), "{line}");
        assert!(line.contains(&format!("bad key sk_{}_****", token.id)));
    }

    proptest! {
        #[test]
        fn every_text_ends_up_inside_its_bound(text in ".{0,3000}", name in ".{0,100}") {
            let mut record = record();
            record.error = Some(text.clone());
            record.operation.clone_from(&text);
            record.options.insert(name, text.into());
            let record = record.bounded();
            prop_assert!(record.operation.len() <= UsageRecord::MAX_TEXT);
            prop_assert!(record.error.as_ref().unwrap().len() <= UsageRecord::MAX_TEXT);
            for (name, value) in &record.options {
                prop_assert!(name.len() <= UsageRecord::MAX_NAME);
                prop_assert!(value.as_str().unwrap().len() <= UsageRecord::MAX_TEXT);
            }
            prop_assert_eq!(record.clone().bounded(), record);
        }
    }
}
