//! Where requests may go.

use url::{Host, Url};

use crate::TaxiiError;

/// The configured server: the discovery address, and with it the only scheme, host and port that are asked.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    discovery: Url,
}

impl Server {
    /// Checks the configured address.
    pub(crate) fn new(text: &str, allow_http: bool) -> Result<Self, TaxiiError> {
        let refuse = |reason: &str| Err(TaxiiError::BadConfiguration { reason: reason.into() });
        // The text is not shown: it may hold a password.
        let Ok(mut discovery) = Url::parse(text.trim()) else {
            return refuse("the server's address is no URL; it looks like https://taxii.example/taxii2/");
        };
        if !discovery.username().is_empty() || discovery.password().is_some() {
            return refuse("the server's address holds a user name or password; give them by themselves");
        }
        match discovery.scheme() {
            "https" => {}
            "http" if allow_http || is_loopback(&discovery) => {}
            "http" => return refuse("http would show the password to the network; use https, or allow http"),
            _ => return refuse("the server's address starts with neither https nor http"),
        }
        if discovery.host().is_none() {
            return refuse("the server's address has no host");
        }
        discovery.set_fragment(None);
        Ok(Self { discovery })
    }

    pub(crate) fn discovery(&self) -> &Url {
        &self.discovery
    }

    pub(crate) fn is_http(&self) -> bool {
        self.discovery.scheme() == "http"
    }

    /// Whether the address has the scheme, host and port of this server, and carries no credentials of its own.
    pub(crate) fn holds(&self, url: &Url) -> bool {
        url.scheme() == self.discovery.scheme()
            && url.host() == self.discovery.host()
            && url.port_or_known_default() == self.discovery.port_or_known_default()
            && url.username().is_empty()
            && url.password().is_none()
    }

    /// An API root on this server, from its address or its path; ends in a slash.
    pub(crate) fn api_root(&self, text: &str) -> Result<Url, TaxiiError> {
        let Ok(mut url) = self.discovery.join(text.trim()) else {
            let reason = "the API root is neither a URL nor a path".into();
            return Err(TaxiiError::BadConfiguration { reason });
        };
        if !self.holds(&url) {
            return Err(TaxiiError::ForeignHost { address: shown(&url), server: self.shown() });
        }
        url.set_query(None);
        url.set_fragment(None);
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(url)
    }

    /// Scheme, host and port.
    pub(crate) fn shown(&self) -> String {
        self.discovery.origin().ascii_serialization()
    }
}

/// The address below an API root, each name as one segment: `collections`, an id, `objects`. Ends in a slash.
pub(crate) fn below(api_root: &Url, names: &[&str]) -> Result<Url, TaxiiError> {
    let refuse = |reason| TaxiiError::BadConfiguration { reason };
    let mut url = api_root.clone();
    // A name like `..` would lead elsewhere; all others are escaped into one segment.
    if let Some(name) = names
        .iter()
        .find(|name| matches!(name.trim(), "" | "." | "..") || name.len() > 256 || name.contains('%'))
    {
        let shown: String = name.chars().take(40).flat_map(char::escape_default).collect();
        return Err(refuse(format!("`{shown}` is no id of a collection or object")));
    }
    match url.path_segments_mut() {
        Ok(mut segments) => segments.pop_if_empty().extend(names).push(""),
        Err(()) => return Err(refuse("the API root takes no path".into())),
    };
    Ok(url)
}

/// An address for people: without user, password, query and fragment, and not too long.
pub(crate) fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let path: String = url.path().chars().take(200).collect();
    format!("{}://{host}{port}{path}", url.scheme())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_for_loopback_or_on_request() {
        for good in [
            "https://taxii.example/taxii2/",
            "http://127.0.0.1:5000/taxii2/",
            "http://[::1]/",
            "http://localhost/",
        ] {
            assert!(Server::new(good, false).is_ok(), "{good}");
        }
        for bad in [
            "http://taxii.example/taxii2/",
            "http://127.0.0.1.evil.example/",
            "http://localhost.evil.example/",
            "ftp://taxii.example/",
            "file:///etc/passwd",
            "taxii.example",
            "https://user:hunter2@taxii.example/",
            "https://user@taxii.example/",
            "",
        ] {
            let error = Server::new(bad, false).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(Server::new("http://taxii.example/", true).is_ok());
    }

    #[test]
    fn api_roots_stay_on_the_server() {
        let server = Server::new("https://taxii.example/taxii2/", false).unwrap();
        for (given, meant) in [
            ("https://taxii.example/alpha/", "https://taxii.example/alpha/"),
            ("https://TAXII.example:443/alpha?x#y", "https://taxii.example/alpha/"),
            ("/alpha", "https://taxii.example/alpha/"),
            ("alpha/", "https://taxii.example/taxii2/alpha/"),
        ] {
            assert_eq!(server.api_root(given).unwrap().as_str(), meant);
        }
        for foreign in [
            "https://other.example/alpha/",
            "http://taxii.example/alpha/",
            "https://taxii.example:8443/alpha/",
            "//other.example/alpha/",
            "https://user:hunter2@taxii.example/alpha/",
            "https://taxii.example@other.example/",
        ] {
            let error = server.api_root(foreign).unwrap_err();
            assert!(matches!(error, TaxiiError::ForeignHost { .. }), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn names_are_one_segment_each() {
        let root = Url::parse("https://taxii.example/alpha/").unwrap();
        let url = below(&root, &["collections", "a/b?c#d e", "objects"]).unwrap();
        assert_eq!(url.as_str(), "https://taxii.example/alpha/collections/a%2Fb%3Fc%23d%20e/objects/");
        for bad in ["", ".", "..", "%2e%2e", " "] {
            assert!(below(&root, &["collections", bad]).is_err(), "{bad}");
        }
    }
}
