//! May this key do this, from here, now?

use std::{fmt, hint::black_box, net::IpAddr, time::Duration};

use security_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Digest, IssuedKey};

/// The outcome of checking a key. Written in lower snake case: `rate_limited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyReason {
    /// Valid.
    Ok,
    /// No token at all: another shape, or a wrong checksum.
    Malformed,
    /// No such key, or a wrong secret; the caller is not told which.
    Unknown,
    /// The right secret of a key whose time is over.
    Expired,
    /// The right secret of a key that was revoked.
    Revoked,
    /// Valid, but without a scope that is needed.
    Scope,
    /// Valid, but not from this address.
    Network,
    /// Valid, but used more often than its limit allows.
    RateLimited,
    /// Not looked at: too many failures came from this client.
    LockedOut,
}

/// What [`IssuedKey::judge`] finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyVerdict {
    /// The outcome; of several that hold, the first of: unknown, revoked, expired, network, scope.
    pub reason: KeyReason,
    /// The token is the one before the last rotation and its grace is not over.
    pub in_grace: bool,
    /// The token is the one before the last rotation and its grace is over; the reason is
    /// [`KeyReason::Unknown`]. For the log alone.
    pub superseded: bool,
}

impl KeyReason {
    /// The name, as it is written: `rate_limited`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Scope => "scope",
            Self::Network => "network",
            Self::RateLimited => "rate_limited",
            Self::LockedOut => "locked_out",
        }
    }
}

impl fmt::Display for KeyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl KeyVerdict {
    /// Whether the key may do what it asks.
    pub fn is_ok(self) -> bool {
        self.reason == KeyReason::Ok
    }
}

/// By how much a clock may be set back without ending the longest grace.
const CORRECTION: Duration = Duration::from_secs(86_400);

/// What a verdict rests on, wherever it is kept: in a record or in the key table.
pub(crate) struct Held {
    pub(crate) current: Digest,
    pub(crate) previous: Option<(Digest, Timestamp)>,
    pub(crate) revoked: bool,
    pub(crate) expires_at: Option<Timestamp>,
}

impl Held {
    /// The one order of the answers. All questions are asked whatever the first ones say, so that the time of a refusal
    /// does not tell its reason.
    pub(crate) fn judge(
        self,
        digests: &[Digest],
        now: Timestamp,
        allows_client: impl FnOnce() -> bool,
        grants_all: impl FnOnce() -> bool,
    ) -> KeyVerdict {
        // A key without a token before is compared twice all the same, so that it takes no less time.
        let (previous, until) = self.previous.unwrap_or((Digest::DECOY, Timestamp::MIN));
        let is = |held: Digest| digests.iter().fold(false, |found, digest| found | (held == *digest));
        let current = black_box(is(self.current));
        let former = black_box(is(previous)) & self.previous.is_some() & !current;
        // An end further ahead than any grace comes from a clock that was years ahead when the key was rotated.
        let in_grace = former & (now < until) & (until.since(now) <= IssuedKey::LONGEST_GRACE + CORRECTION);
        let (from_here, may) = (black_box(allows_client()), black_box(grants_all()));
        let reason = if !(current | in_grace) {
            KeyReason::Unknown
        } else if self.revoked {
            KeyReason::Revoked
        } else if self.expires_at.is_some_and(|end| now >= end) {
            KeyReason::Expired
        } else if !from_here {
            KeyReason::Network
        } else if !may {
            KeyReason::Scope
        } else {
            KeyReason::Ok
        };
        KeyVerdict { reason, in_grace, superseded: former & !in_grace }
    }
}

impl IssuedKey {
    /// Judges a presented token by its digests: under the newest pepper, and under those that the key names
    /// ([`IssuedKey::peppers`]).
    ///
    /// The secret comes first, in constant time, against the token in force and the one before: whoever has not
    /// the right one learns nothing else of the key. The key ends at `expires_at` exactly. Every one of
    /// `required_scopes` is needed; none is needed when it is empty. `client` is the client's address; an
    /// IPv4-mapped one counts as IPv4, and a key bound to networks is refused without one.
    pub fn judge(
        &self,
        digests: &[Digest],
        now: Timestamp,
        required_scopes: &[&str],
        client: Option<IpAddr>,
    ) -> KeyVerdict {
        let held = Held {
            current: self.digest,
            previous: self.previous,
            revoked: self.revoked.is_some(),
            expires_at: self.expires_at,
        };
        held.judge(
            digests,
            now,
            || self.allows_client(client),
            || required_scopes.iter().all(|scope| self.grants(scope)),
        )
    }

    /// Judges a token whose id nobody was given: the same comparisons, and always [`KeyReason::Unknown`]. The
    /// caller computes the digest for it as for any other, so that time does not tell which ids exist.
    pub fn judge_unknown(digest: &Digest) -> KeyVerdict {
        let _ = black_box(Digest::DECOY == *digest);
        let _ = black_box(Digest::DECOY == *digest);
        KeyVerdict { reason: KeyReason::Unknown, in_grace: false, superseded: false }
    }

    /// Whether the key has a scope, by name or by `*`.
    pub fn grants(&self, scope: &str) -> bool {
        self.scopes.iter().any(|granted| granted == scope || granted == "*")
    }

    fn allows_client(&self, client: Option<IpAddr>) -> bool {
        if self.allowed_networks.is_empty() {
            return true;
        }
        let client = client.map(|address| address.to_canonical());
        client.is_some_and(|address| self.allowed_networks.iter().any(|network| network.contains(&address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyDraft;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_800_000_000 + seconds)
    }

    fn digest(number: u8) -> Digest {
        Digest::from_bytes([number; 32])
    }

    fn key(change: impl FnOnce(&mut KeyDraft)) -> IssuedKey {
        let mut draft = KeyDraft::new("reporting");
        change(&mut draft);
        IssuedKey::issue(draft, "0123456789abcdefg", digest(1), at(0)).unwrap()
    }

    fn reason(key: &IssuedKey, seconds: i64, scopes: &[&str], client: Option<&str>) -> &'static str {
        let client = client.map(|text| text.parse().unwrap());
        key.judge(&[digest(1)], at(seconds), scopes, client).reason.as_str()
    }

    #[test]
    fn a_wrong_secret_is_unknown_whatever_else_holds() {
        let mut ended = key(|draft| draft.expires_at = Some(at(10)));
        ended.revoke(at(1), "").unwrap();
        for key in [key(|_| ()), ended] {
            let verdict = key.judge(&[digest(2)], at(99), &["read"], None);
            assert_eq!(verdict, IssuedKey::judge_unknown(&digest(2)));
        }
        assert_eq!(IssuedKey::judge_unknown(&Digest::DECOY).reason, KeyReason::Unknown);
    }

    #[test]
    fn the_decoy_opens_nothing() {
        let key = key(|_| ());
        assert_eq!(key.judge(&[Digest::DECOY], Timestamp::MIN, &[], None).reason, KeyReason::Unknown);
        assert!(!key.judge(&[Digest::DECOY], at(0), &[], None).superseded);
    }

    #[test]
    fn a_key_ends_exactly_at_its_end() {
        let key = key(|draft| draft.expires_at = Some(at(10)));
        assert_eq!(reason(&key, 9, &[], None), "ok");
        assert_eq!(reason(&key, 10, &[], None), "expired");
    }

    #[test]
    fn revoked_goes_before_expired() {
        let mut key = key(|draft| draft.expires_at = Some(at(10)));
        key.revoke(at(5), "").unwrap();
        assert_eq!(reason(&key, 4, &[], None), "revoked", "whatever the clock says");
        assert_eq!(reason(&key, 99, &[], None), "revoked");
    }

    #[test]
    fn scopes_are_exact_names() {
        let scopes = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let none = key(|_| ());
        assert_eq!(reason(&none, 0, &[], None), "ok");
        assert_eq!(reason(&none, 0, &["read"], None), "scope");
        assert_eq!(reason(&none, 0, &[""], None), "scope");
        assert_eq!(reason(&none, 0, &["*"], None), "scope");
        let some = key(|draft| draft.scopes = scopes(&["read", "orders:write"]));
        assert_eq!(reason(&some, 0, &["orders:write", "read"], None), "ok");
        for needed in ["Read", "rea", "reads", "orders", "orders:write:all", "*"] {
            assert_eq!(reason(&some, 0, &["read", needed], None), "scope", "{needed}");
        }
        let all = key(|draft| draft.scopes = scopes(&["*"]));
        assert_eq!(reason(&all, 0, &["read", "*"], None), "ok");
    }

    #[test]
    fn networks_bind_the_client() {
        let networks = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<_>>();
        let bound = key(|draft| draft.allowed_networks = networks(&["192.0.2.0/24", "2001:db8::/32"]));
        for inside in ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1"] {
            assert_eq!(reason(&bound, 0, &[], Some(inside)), "ok", "{inside}");
        }
        for outside in ["198.51.100.1", "::ffff:198.51.100.1", "2001:db9::1", "::1"] {
            assert_eq!(reason(&bound, 0, &[], Some(outside)), "network", "{outside}");
        }
        assert_eq!(reason(&bound, 0, &[], None), "network");
        assert_eq!(reason(&bound, 0, &["read"], None), "network", "before scopes");
        assert_eq!(reason(&key(|_| ()), 0, &[], None), "ok");
    }

    #[test]
    fn the_token_before_passes_for_its_grace() {
        let mut key = key(|_| ());
        key.rotate(digest(2), at(10), Duration::from_secs(5)).unwrap();
        let judge = |digest: Digest, seconds| {
            let verdict = key.judge(&[digest], at(seconds), &[], None);
            (verdict.reason.as_str(), verdict.in_grace, verdict.superseded)
        };
        assert_eq!(judge(digest(2), 10), ("ok", false, false));
        assert_eq!(judge(digest(1), 14), ("ok", true, false));
        assert_eq!(judge(digest(1), 15), ("unknown", false, true));
        assert_eq!(judge(digest(3), 14), ("unknown", false, false));
    }

    #[test]
    fn without_grace_the_token_before_never_passes_again() {
        let mut key = key(|_| ());
        key.rotate(digest(2), at(100), Duration::ZERO).unwrap();
        for seconds in [100, 70, 0] {
            let verdict = key.judge(&[digest(1)], at(seconds), &[], None);
            assert_eq!((verdict.reason.as_str(), verdict.superseded), ("unknown", true), "at {seconds}");
        }
        assert_eq!(key.view().previous_until, None);
    }

    #[test]
    fn a_clock_that_was_years_ahead_leaves_no_token_open_for_years() {
        let mut key = key(|_| ());
        let ahead = Timestamp::from_seconds(250_000_000_000);
        key.rotate(digest(2), ahead, Duration::from_secs(60)).unwrap();
        let judge = |now| key.judge(&[digest(1)], now, &[], None).reason;
        assert_eq!(judge(ahead), KeyReason::Ok);
        assert_eq!(judge(ahead.minus(Duration::from_secs(3600))), KeyReason::Ok, "a correction");
        assert_eq!(judge(at(0)), KeyReason::Unknown);
        let mut longest = self::key(|_| ());
        longest.rotate(digest(2), at(0), IssuedKey::LONGEST_GRACE).unwrap();
        assert_eq!(longest.judge(&[digest(1)], at(-3600), &[], None).reason, KeyReason::Ok);
    }

    #[test]
    fn a_token_in_grace_is_revoked_with_the_key() {
        let mut key = key(|_| ());
        key.rotate(digest(2), at(10), Duration::from_secs(5)).unwrap();
        key.revoke(at(11), "").unwrap();
        assert_eq!(reason(&key, 12, &[], None), "revoked");
    }

    #[test]
    fn names_are_what_is_serialised() {
        use KeyReason::*;
        for reason in [Ok, Malformed, Unknown, Expired, Revoked, Scope, Network, RateLimited, LockedOut] {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.to_string());
        }
    }
}
