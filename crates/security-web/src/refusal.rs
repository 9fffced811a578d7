//! The ways a request is turned away, each with its status, its words and its headers.
//!
//! The words are for the caller and say nothing that helps to guess: which rule, which list and which key are
//! in the decision's reasons, for the log. Of a key that is somebody's and not for this, from here, the caller hears what he
//! hears of one that is nobody's.

use std::borrow::Cow;

use crate::{Action, Header};

/// Why a request is turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Two different credentials in one request. 400.
    ConflictingCredentials,
    /// No credential where one is needed. 401.
    CredentialMissing,
    /// A credential that is not, or no longer, accepted. 403.
    CredentialInvalid,
    /// The credential's scopes do not suffice. 403.
    ScopeMissing {
        /// The scopes that would.
        required: Vec<String>,
    },
    /// The credential may not be used from here. 403.
    NetworkNotAllowed,
    /// The path is for trusted networks. 403.
    SensitivePath,
    /// The client is banned. 403.
    Banned,
    /// The body is larger than the policy has it. 413.
    BodyTooLarge,
    /// The body does not come in a reasonable time. 408.
    BodyLate,
    /// Nobody can tell what the body says: its content coding or charset is not known, or it is broken. 415.
    BodyUnreadable,
    /// There is a body, and nobody says where it ends. 411.
    LengthRequired,
    /// The client, or something in the request, is listed. 403.
    Listed,
    /// A rule matched. 403.
    RuleMatched,
    /// The payload looks like an attack. 403.
    PayloadRefused,
    /// Too many requests. 429.
    RateLimited {
        /// Microseconds until the next may come.
        retry_after_micros: u64,
    },
    /// Too many wrong credentials in a row. 429.
    LockedOut {
        /// Microseconds until the lock ends.
        retry_after_micros: u64,
    },
}

impl Refusal {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::ConflictingCredentials => 400,
            Self::CredentialMissing => 401,
            Self::CredentialInvalid
            | Self::ScopeMissing { .. }
            | Self::NetworkNotAllowed
            | Self::SensitivePath
            | Self::Banned
            | Self::Listed
            | Self::RuleMatched
            | Self::PayloadRefused => 403,
            Self::BodyLate => 408,
            Self::LengthRequired => 411,
            Self::BodyTooLarge => 413,
            Self::BodyUnreadable => 415,
            Self::RateLimited { .. } | Self::LockedOut { .. } => 429,
        }
    }

    /// The status's own words (RFC 9110 §15, RFC 6585 §4).
    pub fn title(&self) -> &'static str {
        match self.status() {
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            408 => "Request Timeout",
            411 => "Length Required",
            413 => "Content Too Large",
            415 => "Unsupported Media Type",
            _ => "Too Many Requests",
        }
    }

    /// `limit` for what passes by waiting, `deny` for the rest.
    pub fn action(&self) -> Action {
        if self.status() == 429 { Action::Limit } else { Action::Deny }
    }

    /// The refusal's name for the operator, in records and metrics: it also says why a key that is somebody's was refused.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ScopeMissing { .. } => "scope-missing",
            Self::NetworkNotAllowed => "network-not-allowed",
            other => other.error(),
        }
    }

    /// The stable name of the refusal that the caller is told.
    pub fn error(&self) -> &'static str {
        match self {
            Self::ConflictingCredentials => "conflicting-credentials",
            Self::CredentialMissing => "credential-missing",
            Self::CredentialInvalid | Self::ScopeMissing { .. } | Self::NetworkNotAllowed => {
                "credential-invalid"
            }
            Self::SensitivePath => "forbidden-path",
            Self::Banned => "banned",
            Self::BodyTooLarge => "body-too-large",
            Self::BodyLate => "body-late",
            Self::BodyUnreadable => "body-unreadable",
            Self::LengthRequired => "length-required",
            Self::Listed | Self::RuleMatched | Self::PayloadRefused => "request-refused",
            Self::RateLimited { .. } => "rate-limited",
            Self::LockedOut { .. } => "locked-out",
        }
    }

    /// One sentence for the caller.
    pub fn message(&self) -> &'static str {
        match self {
            Self::ConflictingCredentials => "the request carries two different credentials; send one",
            Self::CredentialMissing => {
                "an API key is required; send it as X-API-Key or as Authorization: Bearer"
            }
            Self::CredentialInvalid | Self::ScopeMissing { .. } | Self::NetworkNotAllowed => {
                "the API key is not accepted"
            }
            Self::SensitivePath => "this path is not available from this address",
            Self::Banned => "requests from this address are not accepted",
            Self::BodyTooLarge => "the body is too large",
            Self::BodyLate => "the body did not come in time",
            Self::BodyUnreadable => "the body cannot be read; send it plain, or as gzip or deflate, in UTF-8",
            Self::LengthRequired => "send the body's length (Content-Length)",
            Self::Listed | Self::RuleMatched | Self::PayloadRefused => "the request was refused",
            Self::RateLimited { .. } => "too many requests; come back later",
            Self::LockedOut { .. } => "too many failed attempts; come back later",
        }
    }

    /// Whole seconds until it makes sense to come back, rounded up, at least 1; for 429 only.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::RateLimited { retry_after_micros } | Self::LockedOut { retry_after_micros } => {
                Some(retry_after_micros.div_ceil(1_000_000).max(1))
            }
            _ => None,
        }
    }

    /// The response headers that go with it: `WWW-Authenticate` (RFC 6750 §3), `Retry-After` (RFC 9110 §10.2.3),
    /// `Accept-Encoding` (§15.5.16), and `Connection` where what follows on it is no request (§15.5.9).
    pub fn headers(&self) -> Vec<Header> {
        const CHALLENGE: &str = "WWW-Authenticate";
        match self {
            Self::CredentialMissing => vec![(CHALLENGE, r#"Bearer realm="api""#.into())],
            Self::CredentialInvalid | Self::ScopeMissing { .. } | Self::NetworkNotAllowed => {
                vec![(CHALLENGE, r#"Bearer realm="api", error="invalid_token""#.into())]
            }
            Self::RateLimited { .. } | Self::LockedOut { .. } => self
                .retry_after_seconds()
                .map(|seconds| ("Retry-After", Cow::Owned(seconds.to_string())))
                .into_iter()
                .collect(),
            Self::BodyUnreadable => vec![("Accept-Encoding", "gzip, deflate, identity".into())],
            Self::BodyLate => vec![("Connection", "close".into())],
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_those_of_rfc_6750() {
        let challenge = |refusal: Refusal| refusal.headers()[0].1.clone();
        assert_eq!(challenge(Refusal::CredentialMissing), r#"Bearer realm="api""#);
        assert_eq!(challenge(Refusal::CredentialInvalid), r#"Bearer realm="api", error="invalid_token""#);
    }

    #[test]
    fn a_key_that_is_somebodys_is_refused_like_one_that_is_nobodys() {
        let told = |refusal: &Refusal| {
            (refusal.status(), refusal.error(), refusal.message(), refusal.headers(), refusal.title())
        };
        let required = vec!["read:iocs".into()];
        for (refusal, name) in [
            (Refusal::ScopeMissing { required }, "scope-missing"),
            (Refusal::NetworkNotAllowed, "network-not-allowed"),
        ] {
            assert_eq!(told(&refusal), told(&Refusal::CredentialInvalid));
            assert_eq!(refusal.name(), name);
        }
    }

    #[test]
    fn waiting_is_in_whole_seconds_rounded_up() {
        for (micros, seconds) in
            [(0, "1"), (1, "1"), (1_000_000, "1"), (1_000_001, "2"), (1_800_000_000, "1800")]
        {
            let refusal = Refusal::RateLimited { retry_after_micros: micros };
            assert_eq!(refusal.headers(), [("Retry-After", Cow::Borrowed(seconds))]);
            assert_eq!(refusal.action(), Action::Limit);
        }
    }

    #[test]
    fn what_was_found_is_not_told() {
        assert_eq!(Refusal::Listed.message(), Refusal::RuleMatched.message());
        assert_eq!(Refusal::Listed.error(), Refusal::RuleMatched.error());
        assert_eq!(Refusal::PayloadRefused.message(), Refusal::RuleMatched.message());
        assert_eq!(Refusal::PayloadRefused.error(), Refusal::RuleMatched.error());
    }
}
