//! Where a request carries its credential.

use std::fmt;

use crate::{Headers, request::trimmed};

/// The header a credential was found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CredentialHeader {
    /// `X-API-Key`.
    XApiKey,
    /// `Authorization: Bearer` (RFC 6750 §2.1).
    Bearer,
}

/// What was found. `Debug` shows no credential.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PresentedCredential<'a> {
    /// None.
    Missing,
    /// One, perhaps in several places.
    One {
        /// The bytes as sent, without spaces around them. Not verified, and a secret if they are right.
        secret: &'a [u8],
        /// Where it was found first.
        header: CredentialHeader,
    },
    /// Two that differ. Which one is meant nobody can tell, and two readers might tell differently: answer 400.
    Conflict,
}

impl fmt::Debug for PresentedCredential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("Missing"),
            Self::One { header, .. } => write!(f, "One({header:?}, ****)"),
            Self::Conflict => f.write_str("Conflict"),
        }
    }
}

/// Finds the one credential of a request in all lines of `X-API-Key` and `Authorization: Bearer` (the scheme in
/// any case). Empty values and other schemes are no credential.
pub fn presented_credential<'a>(headers: Headers<'a>) -> PresentedCredential<'a> {
    let mut found = PresentedCredential::Missing;
    for (name, value) in headers {
        let (header, presented) = if name.eq_ignore_ascii_case("x-api-key") {
            (CredentialHeader::XApiKey, trimmed(value))
        } else if name.eq_ignore_ascii_case("authorization") {
            let Some(token) = bearer(trimmed(value)) else { continue };
            (CredentialHeader::Bearer, token)
        } else {
            continue;
        };
        if presented.is_empty() {
            continue;
        }
        match found {
            PresentedCredential::Missing => found = PresentedCredential::One { secret: presented, header },
            PresentedCredential::One { secret, .. } if secret == presented => {}
            PresentedCredential::One { .. } | PresentedCredential::Conflict => {
                return PresentedCredential::Conflict;
            }
        }
    }
    found
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("bearer".len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer") && matches!(token.first(), Some(b' ' | b'\t'));
    is_bearer.then(|| trimmed(token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use CredentialHeader::{Bearer, XApiKey};
    use proptest::prelude::*;

    fn one(secret: &[u8], header: CredentialHeader) -> PresentedCredential<'_> {
        PresentedCredential::One { secret, header }
    }

    #[test]
    fn one_place_or_the_other() {
        for (name, value, expected) in [
            ("X-API-Key", "sk_1", one(b"sk_1", XApiKey)),
            ("x-api-key", "  sk_1\t", one(b"sk_1", XApiKey)),
            ("Authorization", "Bearer sk_1", one(b"sk_1", Bearer)),
            ("AUTHORIZATION", "bEARER    sk_1 ", one(b"sk_1", Bearer)),
            ("Authorization", "Bearer", PresentedCredential::Missing),
            ("Authorization", "Bearer  ", PresentedCredential::Missing),
            ("Authorization", "Bearersk_1", PresentedCredential::Missing),
            ("Authorization", "Basic c2tfMTo=", PresentedCredential::Missing),
            ("Authorization", "", PresentedCredential::Missing),
            ("X-API-Key", " ", PresentedCredential::Missing),
            ("X-Api-Token", "sk_1", PresentedCredential::Missing),
        ] {
            assert_eq!(presented_credential(&[(name, value.as_bytes())]), expected, "{name}: {value}");
        }
    }

    #[test]
    fn several_that_agree_are_one_and_others_conflict() {
        let same: [(&str, &[u8]); 3] =
            [("Authorization", b"Bearer k"), ("X-API-Key", b"k"), ("Authorization", b"Basic eDp5")];
        assert_eq!(presented_credential(&same), one(b"k", Bearer));
        let places: [(&str, &[u8]); 2] = [("Authorization", b"Bearer k"), ("X-API-Key", b"K")];
        assert_eq!(presented_credential(&places), PresentedCredential::Conflict);
        let lines: [(&str, &[u8]); 2] = [("X-API-Key", b"a"), ("X-API-Key", b"b")];
        assert_eq!(presented_credential(&lines), PresentedCredential::Conflict);
    }

    #[test]
    fn debug_shows_no_credential() {
        assert_eq!(format!("{:?}", one(b"hunter2", XApiKey)), "One(XApiKey, ****)");
    }

    proptest! {
        #[test]
        fn never_panics_and_borrows_from_the_header(value in prop::collection::vec(any::<u8>(), 0..40)) {
            let headers: [(&str, &[u8]); 1] = [("authorization", &value)];
            if let PresentedCredential::One { secret, .. } = presented_credential(&headers) {
                prop_assert!(!secret.is_empty() && value.windows(secret.len()).any(|part| part == secret));
            }
        }

        #[test]
        fn any_token_comes_back(token in "[!-~]{1,40}") {
            let sent = format!("Bearer {token}");
            let headers: [(&str, &[u8]); 1] = [("Authorization", sent.as_bytes())];
            prop_assert_eq!(presented_credential(&headers), one(token.as_bytes(), Bearer));
        }
    }
}
