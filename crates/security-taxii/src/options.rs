//! How a client is set up.

use std::time::Duration;

use security_core::Secret;

/// What a client is made from.
#[derive(Debug)]
pub struct ClientOptions {
    /// The address of the discovery document, for example `https://taxii.example/taxii2/`.
    pub server_url: String,
    /// The user for HTTP Basic authentication; together with a password or not at all.
    pub username: Option<String>,
    /// The password of the user.
    pub password: Option<Secret>,
    /// The longest one request may take, from the first look-up to the last byte; 30 seconds.
    pub timeout: Duration,
    /// The longest a walk over all pages may take; 10 minutes. The time a caller spends between two pages counts.
    pub total_timeout: Duration,
    /// The longest answer in bytes, after decompression; 32 MiB. In memory it takes up to about twenty times that.
    pub max_response_bytes: u64,
    /// The most pages of one walk; 10,000.
    pub max_pages: usize,
    /// What the client calls itself.
    pub user_agent: String,
    /// Whether `http` is allowed to other hosts than this one. Without TLS the network reads the password.
    pub allow_http: bool,
    /// Certificates in PEM that are trusted instead of those that browsers trust, for a server with an authority of
    /// its own.
    pub trusted_certificates: Option<Vec<u8>>,
}

impl ClientOptions {
    /// The defaults for a server.
    pub fn new(server_url: impl Into<String>) -> Self {
        Self {
            server_url: server_url.into(),
            username: None,
            password: None,
            timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(600),
            max_response_bytes: 32 << 20,
            max_pages: 10_000,
            user_agent: concat!("security/", env!("CARGO_PKG_VERSION")).into(),
            allow_http: false,
            trusted_certificates: None,
        }
    }

    /// The same with a user.
    #[must_use]
    pub fn with_user(mut self, username: impl Into<String>, password: Secret) -> Self {
        self.username = Some(username.into());
        self.password = Some(password);
        self
    }
}
