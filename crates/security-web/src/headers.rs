//! The security headers of responses.
//!
//! Names and recommended values follow the OWASP Secure Headers Project. An adapter adds each header that the
//! application has not set itself, and removes those of [`REMOVED_HEADERS`].

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{Header, WebError};

/// Headers that tell what the server runs on; adapters take them off responses where they can.
pub const REMOVED_HEADERS: [&str; 7] = [
    "Server",
    "X-Powered-By",
    "X-AspNet-Version",
    "X-AspNetMvc-Version",
    "X-Runtime",
    "X-Version",
    "X-Generator",
];

/// A set of headers to start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeaderPreset {
    /// None at all.
    None,
    /// For answers that no browser renders: nothing may be loaded from them, nobody may frame them.
    Api,
    /// For pages, without breaking what pages usually do (inline styles, pop-ups to sign in, own frames).
    #[default]
    Web,
    /// For pages written with it in mind: everything from the page's own origin, isolated from all others.
    Strict,
}

/// When `Strict-Transport-Security` is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hsts {
    /// On requests over TLS.
    #[default]
    Auto,
    /// Always: TLS ends at a proxy that does not tell.
    Always,
    /// Never: the proxy sends its own.
    Never,
}

/// Which security headers responses carry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct HeaderPolicy {
    /// The set to start from; `web` by default.
    pub preset: HeaderPreset,
    /// When to promise TLS; on requests over TLS by default.
    pub hsts: Hsts,
    /// Instead of the preset's `Content-Security-Policy`; the empty text sends none.
    pub content_security_policy: Option<String>,
    /// Instead of the preset's `Permissions-Policy`; the empty text sends none.
    pub permissions_policy: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    preset: HeaderPreset,
    hsts: Hsts,
    content_security_policy: Option<String>,
    permissions_policy: Option<String>,
}

impl TryFrom<Written> for HeaderPolicy {
    type Error = WebError;

    fn try_from(written: Written) -> Result<Self, WebError> {
        let Written { preset, hsts, content_security_policy, permissions_policy } = written;
        for (name, value) in [
            ("content_security_policy", &content_security_policy),
            ("permissions_policy", &permissions_policy),
        ] {
            let is_fit = |text: &String| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
            if !value.as_ref().is_none_or(is_fit) {
                return Err(WebError::NotAHeaderValue { name });
            }
        }
        Ok(Self { preset, hsts, content_security_policy, permissions_policy })
    }
}

/// The headers of a policy, ready to be sent: made once, looked up for each response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHeaders {
    /// By `https` (+2) and `authenticated` (+1).
    variants: [Vec<Header>; 4],
}

impl ResponseHeaders {
    /// The headers of a response: `https` when the request came over TLS, `authenticated` when it was answered
    /// to somebody who showed a credential (no cache may keep that).
    pub fn for_response(&self, https: bool, authenticated: bool) -> &[Header] {
        &self.variants[2 * usize::from(https) + usize::from(authenticated)]
    }
}

/// Powerful features that no page of ours asks for.
const NO_FEATURES: &str = "accelerometer=(), autoplay=(), camera=(), cross-origin-isolated=(), display-capture=(), \
     encrypted-media=(), fullscreen=(), geolocation=(), gyroscope=(), keyboard-map=(), magnetometer=(), \
     microphone=(), midi=(), payment=(), picture-in-picture=(), publickey-credentials-get=(), \
     screen-wake-lock=(), sync-xhr=(self), usb=(), web-share=(), xr-spatial-tracking=()";

/// Those that a usual page does not need without asking.
const FEW_FEATURES: &str = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()";

impl HeaderPolicy {
    /// Makes the headers.
    pub fn compile(&self) -> ResponseHeaders {
        let variant = |index: usize| self.headers(index & 2 != 0, index & 1 != 0);
        ResponseHeaders { variants: std::array::from_fn(variant) }
    }

    fn headers(&self, https: bool, authenticated: bool) -> Vec<Header> {
        let mut headers: Vec<Header> = Vec::with_capacity(12);
        let mut add = |name: &'static str, value: Cow<'static, str>| {
            if !value.is_empty() {
                headers.push((name, value));
            }
        };
        let sends_hsts = match self.hsts {
            Hsts::Auto => https,
            Hsts::Always => true,
            Hsts::Never => false,
        };
        let preset = self.preset;
        if preset == HeaderPreset::None {
            return Vec::new();
        }
        let by_preset = |api: &'static str, web: &'static str, strict: &'static str| match preset {
            HeaderPreset::None => Cow::Borrowed(""),
            HeaderPreset::Api => Cow::Borrowed(api),
            HeaderPreset::Web => Cow::Borrowed(web),
            HeaderPreset::Strict => Cow::Borrowed(strict),
        };
        if sends_hsts {
            // `web` leaves subdomains alone: a promise for a host that has no TLS cannot be taken back for a year.
            let whole = "max-age=63072000; includeSubDomains";
            add("Strict-Transport-Security", by_preset(whole, "max-age=31536000", whole));
        }
        add("X-Content-Type-Options", "nosniff".into());
        add("X-Frame-Options", by_preset("DENY", "SAMEORIGIN", "DENY"));
        let policy = by_preset(
            "default-src 'none'; frame-ancestors 'none'",
            "base-uri 'self'; form-action 'self'; frame-ancestors 'self'; object-src 'none'",
            if https {
                "default-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'; \
                 object-src 'none'; upgrade-insecure-requests"
            } else {
                "default-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
            },
        );
        add("Content-Security-Policy", self.content_security_policy.clone().map_or(policy, Cow::Owned));
        add("Referrer-Policy", by_preset("no-referrer", "strict-origin-when-cross-origin", "no-referrer"));
        let features = by_preset(NO_FEATURES, FEW_FEATURES, NO_FEATURES);
        add("Permissions-Policy", self.permissions_policy.clone().map_or(features, Cow::Owned));
        add(
            "Cross-Origin-Opener-Policy",
            by_preset("same-origin", "same-origin-allow-popups", "same-origin"),
        );
        add("Cross-Origin-Embedder-Policy", by_preset("", "", "require-corp"));
        add("Cross-Origin-Resource-Policy", by_preset("same-origin", "same-site", "same-origin"));
        add("X-Permitted-Cross-Domain-Policies", "none".into());
        if authenticated {
            add("Cache-Control", "no-store".into());
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_may_stand_in_a_header() {
        for preset in [HeaderPreset::Api, HeaderPreset::Web, HeaderPreset::Strict] {
            let headers = HeaderPolicy { preset, ..HeaderPolicy::default() }.compile();
            let all = headers.for_response(true, true);
            assert!(all.len() >= 8, "{preset:?}");
            for (name, value) in all {
                assert!(
                    value.bytes().all(|byte| matches!(byte, b' '..=b'~')) && !value.contains("  "),
                    "{name}"
                );
                assert!(!REMOVED_HEADERS.contains(name));
            }
        }
    }

    #[test]
    fn a_setting_cannot_smuggle_a_header() {
        let text = r#"{"content_security_policy": "default-src 'self'\r\nX-Evil: 1"}"#;
        let error = serde_json::from_str::<HeaderPolicy>(text).unwrap_err().to_string();
        assert!(error.contains("content_security_policy has characters"), "{error}");
    }
}
