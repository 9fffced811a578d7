//! One request and its answer, with every bound.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use security_core::{Secret, Timestamp};
use serde::de::DeserializeOwned;
use ureq::{
    Agent, Body,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
};
use url::Url;

use crate::{
    ClientOptions, TaxiiError,
    address::{Server, shown},
    resource::ErrorMessage,
};

/// The media type of requests and answers. Source: TAXII 2.1 §1.6.8.
const MEDIA_TYPE: &str = "application/taxii+json;version=2.1";
/// A server that needs more than this to come to the point goes in circles.
const MAX_REDIRECTS: usize = 5;
/// How much of the answer to a failed request is looked at.
const MAX_ERROR_BYTES: u64 = 64 << 10;
/// How much of what the server says gets into an error, in characters.
const MAX_MESSAGE: usize = 200;

/// Sends requests to one server.
#[derive(Debug)]
pub(crate) struct Exchange {
    server: Server,
    agent: Agent,
    /// The whole header value, `Basic …`.
    authorization: Option<Secret>,
    password: Option<Secret>,
    timeout: Duration,
    max_response_bytes: u64,
}

/// A successful answer.
pub(crate) struct Answer {
    address: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// When something has to be done, and how much time there was for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    end: Instant,
    allowed: Duration,
}

impl Deadline {
    pub(crate) fn after(allowed: Duration) -> Self {
        let now = Instant::now();
        // A duration beyond what the clock can add is a year for every purpose here.
        let end = now.checked_add(allowed).unwrap_or(now + Duration::from_secs(31_536_000));
        Self { end, allowed }
    }

    fn earlier(self, other: Option<Self>) -> Self {
        other.filter(|other| other.end < self.end).unwrap_or(self)
    }

    fn remaining(self, url: &Url) -> Result<Duration, TaxiiError> {
        let remaining = self.end.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            return Err(TaxiiError::Timeout { address: shown(url), allowed: self.allowed });
        }
        Ok(remaining)
    }
}

impl Exchange {
    pub(crate) fn new(options: ClientOptions) -> Result<Self, TaxiiError> {
        let server = Server::new(&options.server_url, options.allow_http)?;
        let authorization = basic(options.username.as_deref(), options.password.as_ref())?;
        let mut config = Agent::config_builder()
            // All of these are answered here: redirects must not carry credentials away, and statuses carry words.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .https_only(!server.is_http())
            .user_agent(options.user_agent)
            .accept(MEDIA_TYPE);
        if server.is_http() {
            // A proxy from the environment would read along; through TLS it cannot.
            config = config.proxy(None);
        }
        if let Some(pem) = options.trusted_certificates {
            let certificates = read_certificates(&pem)?;
            let roots = RootCerts::Specific(Arc::new(certificates));
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        Ok(Self {
            server,
            agent: config.build().new_agent(),
            authorization,
            password: options.password,
            timeout: options.timeout,
            max_response_bytes: options.max_response_bytes,
        })
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) fn get(&self, url: &Url, deadline: Option<Deadline>) -> Result<Answer, TaxiiError> {
        self.send(url, None, deadline)
    }

    pub(crate) fn post(&self, url: &Url, body: &[u8]) -> Result<Answer, TaxiiError> {
        self.send(url, Some(body), None)
    }

    /// Sends a request and follows redirects on the same server, all within one timeout.
    fn send(&self, url: &Url, body: Option<&[u8]>, deadline: Option<Deadline>) -> Result<Answer, TaxiiError> {
        let deadline = Deadline::after(self.timeout).earlier(deadline);
        let mut at = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let remaining = deadline.remaining(url)?;
            let response = self
                .send_once(&at, body, remaining)
                .map_err(|error| failure(error, &at, deadline.allowed, self.max_response_bytes))?;
            if response.status().is_redirection() {
                at = self.redirected(&at, &response, body.is_some())?;
                continue;
            }
            return self.finish(&at, response, deadline);
        }
        let reason = "it was redirected too often";
        Err(TaxiiError::RedirectRefused { address: shown(url), target: shown(&at), reason })
    }

    fn send_once(
        &self,
        url: &Url,
        body: Option<&[u8]>,
        timeout: Duration,
    ) -> Result<Response<Body>, ureq::Error> {
        // Only here do credentials leave, and every address that gets here is on the configured server.
        debug_assert!(self.server.holds(url));
        let authorization = self.authorization.as_ref().and_then(|authorization| {
            let mut value = HeaderValue::from_bytes(authorization.expose()).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        match body {
            None => {
                let mut request = self.agent.get(url.as_str());
                if let Some(value) = authorization {
                    request = request.header(header::AUTHORIZATION, value);
                }
                request.config().timeout_global(Some(timeout)).build().call()
            }
            Some(body) => {
                let mut request = self.agent.post(url.as_str()).content_type(MEDIA_TYPE);
                if let Some(value) = authorization {
                    request = request.header(header::AUTHORIZATION, value);
                }
                request.config().timeout_global(Some(timeout)).build().send(body)
            }
        }
    }

    fn redirected(&self, at: &Url, response: &Response<Body>, has_body: bool) -> Result<Url, TaxiiError> {
        let bad = |reason: &str| TaxiiError::BadResponse { address: shown(at), reason: reason.into() };
        // Others of the 3xx family mean something else, or nothing in TAXII.
        if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Err(bad(&format!("it answered with status {}", response.status().as_u16())));
        }
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| bad("it redirects without saying where to"))?;
        let target = at.join(location).map_err(|_| bad("it redirects to something that is no address"))?;
        let refuse =
            |reason| Err(TaxiiError::RedirectRefused { address: shown(at), target: shown(&target), reason });
        if !self.server.holds(&target) {
            return refuse("it is another server");
        }
        if has_body && !matches!(response.status().as_u16(), 307 | 308) {
            return refuse("what was sent would get lost");
        }
        Ok(target)
    }

    fn finish(
        &self,
        url: &Url,
        mut response: Response<Body>,
        deadline: Deadline,
    ) -> Result<Answer, TaxiiError> {
        if !response.status().is_success() {
            return Err(self.refusal(url, response));
        }
        check_media_type(url, response.headers())?;
        let limit = self.max_response_bytes;
        if response.body().content_length().is_some_and(|length| length > limit) {
            return Err(TaxiiError::TooLarge { address: shown(url), limit });
        }
        let body = response.body_mut().with_config().limit(limit).read_to_vec();
        let body = body.map_err(|error| failure(error, url, deadline.allowed, limit))?;
        Ok(Answer { address: shown(url), headers: response.headers().clone(), body })
    }

    /// The error for a status that is no success.
    fn refusal(&self, url: &Url, mut response: Response<Body>) -> TaxiiError {
        let status = response.status();
        let address = shown(url);
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok())
            .map(|seconds| Duration::from_secs(seconds.min(86_400)));
        let is_json = media_type(response.headers()).is_some_and(|media| media.ends_with("json"));
        // A page in HTML says nothing that a person at a terminal wants to read.
        let message = is_json
            .then(|| response.body_mut().with_config().limit(MAX_ERROR_BYTES).read_to_vec().ok())
            .flatten()
            .and_then(|body| self.message(&body));
        match status {
            StatusCode::UNAUTHORIZED => TaxiiError::Unauthorized { address, message },
            StatusCode::FORBIDDEN => TaxiiError::Forbidden { address, message },
            StatusCode::NOT_FOUND => TaxiiError::NotFound { address, message },
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                TaxiiError::Busy { address, status: status.as_u16(), retry_after, message }
            }
            _ => TaxiiError::Refused { address, status: status.as_u16(), message },
        }
    }

    /// What the server says, made safe to show; nothing if it repeats a credential.
    fn message(&self, body: &[u8]) -> Option<String> {
        let said: ErrorMessage = serde_json::from_slice(body).ok()?;
        let parts: Vec<String> = [said.title, said.description].into_iter().flatten().collect();
        let whole = parts.join(": ");
        let secrets = [&self.authorization, &self.password].into_iter().flatten();
        let mut repeated = secrets
            .filter_map(|secret| secret.expose_text())
            .map(|text| text.trim_start_matches("Basic "))
            .filter(|text| !text.is_empty());
        if repeated.any(|text| whole.contains(text)) {
            return None;
        }
        let message = safe_text(&whole);
        (!message.is_empty()).then_some(message)
    }
}

impl Answer {
    /// The body as what it should be.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, TaxiiError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| self.bad(&format!("its JSON is wrong: {}", safe_text(&error.to_string()))))
    }

    /// A header that holds a time.
    pub(crate) fn time(&self, name: &str) -> Option<Timestamp> {
        self.headers.get(name)?.to_str().ok()?.parse().ok()
    }

    pub(crate) fn bad(&self, reason: &str) -> TaxiiError {
        TaxiiError::BadResponse { address: self.address.clone(), reason: reason.into() }
    }
}

/// The value of the `Authorization` header. Source: RFC 7617 §2.
fn basic(username: Option<&str>, password: Option<&Secret>) -> Result<Option<Secret>, TaxiiError> {
    let refuse = |reason: &str| Err(TaxiiError::BadConfiguration { reason: reason.into() });
    match (username, password) {
        (None, None) => Ok(None),
        (Some(_), None) => refuse("there is a user name without a password"),
        (None, Some(_)) => refuse("there is a password without a user name"),
        (Some(name), Some(_)) if name.contains(':') || name.chars().any(char::is_control) => {
            refuse("the user name holds a colon or a control character, which HTTP cannot send")
        }
        (Some(name), Some(password)) => {
            let pair = Secret::new([name.as_bytes(), b":", password.expose()].concat());
            Ok(Some(Secret::new(format!("Basic {}", STANDARD.encode(pair.expose())))))
        }
    }
}

fn read_certificates(pem: &[u8]) -> Result<Vec<Certificate<'static>>, TaxiiError> {
    let refuse = |reason: &str| TaxiiError::BadConfiguration { reason: reason.into() };
    let mut certificates = Vec::new();
    for item in parse_pem(pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(_) => return Err(refuse("the trusted certificates are not in PEM")),
        }
    }
    if certificates.is_empty() {
        return Err(refuse("there is no certificate among the trusted certificates"));
    }
    Ok(certificates)
}

/// The type of the answer in lower case, without parameters.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Source: TAXII 2.1 §3.1: answers are of the type that was asked for.
fn check_media_type(url: &Url, headers: &HeaderMap) -> Result<(), TaxiiError> {
    let bad = |reason: String| Err(TaxiiError::BadResponse { address: shown(url), reason });
    let Some(media) = media_type(headers) else {
        return bad("it does not say its content type".into());
    };
    if media != "application/taxii+json" {
        return bad(format!("its content type is `{}`", safe_text(&media)));
    }
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let version = value.split(';').skip(1).find_map(|parameter| {
        let (name, version) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("version").then(|| version.trim().trim_matches('"'))
    });
    match version {
        None | Some("2.1") => Ok(()),
        Some(other) => bad(format!("its version is `{}`", safe_text(other))),
    }
}

/// Text of unknown origin on one line: bounded, control characters and what turns text around taken out.
fn safe_text(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|&c| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    });
    plain.take(MAX_MESSAGE).collect::<String>().trim().to_owned()
}

/// What the HTTP client says, in our words. Its own may repeat the whole address.
fn failure(error: ureq::Error, url: &Url, allowed: Duration, limit: u64) -> TaxiiError {
    use ureq::Error;
    let address = shown(url);
    let unreachable =
        |reason: &str| TaxiiError::Unreachable { address: address.clone(), reason: safe_text(reason) };
    let bad = |reason: &str| TaxiiError::BadResponse { address: address.clone(), reason: safe_text(reason) };
    match error {
        Error::Timeout(_) => TaxiiError::Timeout { address, allowed },
        Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            TaxiiError::Timeout { address, allowed }
        }
        Error::BodyExceedsLimit(_) => TaxiiError::TooLarge { address, limit },
        Error::HostNotFound => unreachable("its host name is not known"),
        Error::Io(error) => unreachable(&error.to_string()),
        Error::Tls(reason) => unreachable(reason),
        Error::Rustls(error) => unreachable(&error.to_string()),
        Error::ConnectionFailed => unreachable("the connection failed"),
        Error::ConnectProxyFailed(_) => unreachable("the proxy refused"),
        Error::InvalidProxyUrl => unreachable("the address of the proxy is wrong"),
        Error::LargeResponseHeader(..) => bad("its header is too long"),
        Error::Protocol(error) => bad(&format!("it does not speak HTTP: {error}")),
        Error::Decompress(..) => bad("its compressed content is damaged"),
        _ => unreachable("the request could not be made"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_come_in_pairs_and_as_rfc_7617_writes_them() {
        let password = Secret::new("open sesame");
        let value = basic(Some("Aladdin"), Some(&password)).unwrap().unwrap();
        assert_eq!(value.expose_text(), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        assert!(basic(None, None).unwrap().is_none());
        assert!(basic(Some("a"), None).is_err());
        assert!(basic(None, Some(&password)).is_err());
        assert!(basic(Some("a:b"), Some(&password)).is_err());
    }

    #[test]
    fn text_of_others_is_made_safe() {
        assert_eq!(safe_text("a\r\n\u{1b}[31mb\u{202e}c\u{7}"), "a  [31mbc");
        assert_eq!(safe_text(&"ü".repeat(1000)).chars().count(), MAX_MESSAGE);
    }

    #[test]
    fn only_taxii_2_1_is_taken() {
        let url = Url::parse("https://taxii.example/").unwrap();
        let check = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
            check_media_type(&url, &headers).is_ok()
        };
        for good in
            [MEDIA_TYPE, "application/taxii+json", "Application/TAXII+JSON; Version=\"2.1\"; charset=utf-8"]
        {
            assert!(check(good), "{good}");
        }
        for bad in ["text/html", "application/json", "application/taxii+json;version=2.0", ""] {
            assert!(!check(bad), "{bad}");
        }
        assert!(check_media_type(&url, &HeaderMap::new()).is_err());
    }

    #[test]
    fn certificates_are_checked_when_the_client_is_made() {
        assert!(read_certificates(b"").is_err());
        assert!(
            read_certificates(b"-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----")
                .is_err()
        );
    }
}
