//! TAXII 2.1: protocol and client.
//!
//! Source: *TAXII Version 2.1*, OASIS Standard, 10 June 2021. Objects come as JSON values; `security-stix` reads them.
//!
//! **Invariants:** credentials go to the configured scheme, host and port and nowhere else; every answer is bounded
//! in bytes and time, every walk over pages in pages and time; no error holds a credential.

mod error;

mod address;
mod options;
mod resource;

mod exchange;

mod client;
mod pages;

pub use client::Client;
pub use error::TaxiiError;
pub use options::ClientOptions;
pub use pages::{ObjectQuery, Page, Pages};
pub use resource::{ApiRoot, Collection, Discovery, ManifestRecord, Status, StatusDetail};
