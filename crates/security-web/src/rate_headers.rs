//! `RateLimit-Policy` and `RateLimit`, so that callers can pace themselves.
//!
//! Source: draft-ietf-httpapi-ratelimit-headers-10, §3 and §4: lists of strings with parameters (RFC 9651), `q`
//! quota, `w` window in seconds, `r` what is left, `t` seconds until more.

use security_core::{Admission, Rate};

use crate::Header;

/// One limit that the request was counted against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// The limit's name, `client` or `key`.
    pub name: &'static str,
    /// The limit.
    pub rate: Rate,
    /// What it said.
    pub admission: Admission,
}

/// The two headers for all limits that the request was counted against; none for none.
///
/// `t` is given only when nothing is left: while there is, nobody has to wait.
pub fn rate_limit_headers(counted: &[Counted]) -> Vec<Header> {
    if counted.is_empty() {
        return Vec::new();
    }
    let (mut policies, mut states) = (String::new(), String::new());
    for Counted { name, rate, admission } in counted {
        if !policies.is_empty() {
            policies.push_str(", ");
            states.push_str(", ");
        }
        policies.push_str(&format!("\"{name}\";q={};w={}", rate.count(), rate.period_seconds()));
        states.push_str(&format!("\"{name}\";r={}", admission.remaining));
        if admission.retry_after_micros > 0 {
            states.push_str(&format!(";t={}", admission.retry_after_micros.div_ceil(1_000_000)));
        }
    }
    vec![("RateLimit-Policy", policies.into()), ("RateLimit", states.into())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_every_limit() {
        let counted = [
            Counted {
                name: "client",
                rate: Rate::new(1000, 60),
                admission: Admission { admitted: true, remaining: 999, retry_after_micros: 0 },
            },
            Counted {
                name: "key",
                rate: Rate::new(20, 1),
                admission: Admission { admitted: false, remaining: 0, retry_after_micros: 1_000_001 },
            },
        ];
        assert_eq!(
            rate_limit_headers(&counted),
            [
                ("RateLimit-Policy", r#""client";q=1000;w=60, "key";q=20;w=1"#.into()),
                ("RateLimit", r#""client";r=999, "key";r=0;t=2"#.into()),
            ]
        );
        assert!(rate_limit_headers(&[]).is_empty());
    }
}
