//! What can go wrong with a TAXII server.

use std::time::Duration;

use security_core::Coded;

/// Why a TAXII server did not give what it was asked for.
///
/// Addresses in it are without user, password and query; words of the server are bounded and without control
/// characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TaxiiError {
    /// The client was set up with something that cannot work.
    #[error("TAXII client: {reason}")]
    BadConfiguration {
        /// What cannot work.
        reason: String,
    },
    /// No connection, or it broke.
    #[error("{address} cannot be reached: {reason}")]
    Unreachable {
        /// What was asked for.
        address: String,
        /// What the network or TLS said.
        reason: String,
    },
    /// The answer was not there in time.
    #[error("{address} did not answer in full within {} seconds", allowed.as_secs_f64())]
    Timeout {
        /// What was asked for.
        address: String,
        /// The time it had.
        allowed: Duration,
    },
    /// 401: the server does not know the credentials, or asks for some.
    #[error("{address} does not accept the credentials (401){}", said(message))]
    Unauthorized {
        /// What was asked for.
        address: String,
        /// What the server said.
        message: Option<String>,
    },
    /// 403: the server knows the user and does not allow this.
    #[error("{address} is not allowed for this user (403){}", said(message))]
    Forbidden {
        /// What was asked for.
        address: String,
        /// What the server said.
        message: Option<String>,
    },
    /// 404: there is no such API root, collection or object, or the user may not see it.
    #[error("{address} is not there (404){}", said(message))]
    NotFound {
        /// What was asked for.
        address: String,
        /// What the server said.
        message: Option<String>,
    },
    /// 429 or 503: the server asks for patience.
    #[error("{address} is too busy ({status}){}", said(message))]
    Busy {
        /// What was asked for.
        address: String,
        /// The status.
        status: u16,
        /// How long to wait, if the server said so; at most a day.
        retry_after: Option<Duration>,
        /// What the server said.
        message: Option<String>,
    },
    /// Any other status that is no success.
    #[error("{address} answered with status {status}{}", said(message))]
    Refused {
        /// What was asked for.
        address: String,
        /// The status.
        status: u16,
        /// What the server said.
        message: Option<String>,
    },
    /// The answer is not what TAXII 2.1 says it should be.
    #[error("{address} gave no TAXII 2.1 answer: {reason}")]
    BadResponse {
        /// What was asked for.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The answer is longer than the limit.
    #[error("{address} answered with more than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        address: String,
        /// The limit in bytes, after decompression.
        limit: u64,
    },
    /// The server sent the client to another server, or around in circles.
    #[error("{address} redirects to {target}, which is not followed: {reason}")]
    RedirectRefused {
        /// What was asked for.
        address: String,
        /// Where the server wanted the client to go.
        target: String,
        /// Why it did not.
        reason: &'static str,
    },
    /// An address belongs to another server than the configured one.
    #[error("{address} is not on the configured server {server}")]
    ForeignHost {
        /// The address.
        address: String,
        /// Scheme, host and port of the configured server.
        server: String,
    },
    /// The server gave the same page again as if it were the next one.
    #[error("{address} repeats page {page} without end")]
    Looping {
        /// What was asked for.
        address: String,
        /// The page that was given before, from 1.
        page: usize,
    },
    /// There are more pages than the limit.
    #[error("{address} has more than {limit} pages")]
    TooManyPages {
        /// What was asked for.
        address: String,
        /// The limit.
        limit: usize,
    },
}

fn said(message: &Option<String>) -> String {
    message.as_ref().map(|message| format!(": {message}")).unwrap_or_default()
}

impl Coded for TaxiiError {
    fn code(&self) -> &'static str {
        match self {
            Self::BadConfiguration { .. } => "taxii-bad-configuration",
            Self::Unreachable { .. } => "taxii-unreachable",
            Self::Timeout { .. } => "taxii-timeout",
            Self::Unauthorized { .. } => "taxii-unauthorized",
            Self::Forbidden { .. } => "taxii-forbidden",
            Self::NotFound { .. } => "taxii-not-found",
            Self::Busy { .. } => "taxii-busy",
            Self::Refused { .. } => "taxii-refused",
            Self::BadResponse { .. } => "taxii-bad-response",
            Self::TooLarge { .. } => "taxii-too-large",
            Self::RedirectRefused { .. } => "taxii-redirect-refused",
            Self::ForeignHost { .. } => "taxii-foreign-host",
            Self::Looping { .. } => "taxii-looping",
            Self::TooManyPages { .. } => "taxii-too-many-pages",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Unreachable { .. } => {
                "check the address, the network, and that the server's certificate is trusted"
            }
            Self::Timeout { .. } => "ask for smaller pages with `limit`, or allow more time",
            Self::Unauthorized { .. } => "check user name and password",
            Self::NotFound { .. } => "list the collections to see their ids",
            Self::Busy { retry_after: Some(wait), .. } => {
                return Some(format!("try again in {} seconds", wait.as_secs()));
            }
            Self::Busy { .. } => "try again later",
            Self::Refused { status: 406 | 415, .. } => {
                "the server may speak TAXII 1 or 2.0 only; 2.1 is needed"
            }
            Self::BadResponse { .. } => "check that the address is that of a TAXII 2.1 discovery document",
            Self::TooLarge { .. } => "ask for smaller pages with `limit`",
            Self::ForeignHost { .. } | Self::RedirectRefused { .. } => {
                "credentials stay with the configured server; configure the other one by itself if you trust it"
            }
            Self::Looping { .. } => "tell the people who run the server: it ignores `next`",
            Self::TooManyPages { .. } => "fetch in parts with `added_after`, or allow more pages",
            _ => return None,
        };
        Some(hint.into())
    }
}
