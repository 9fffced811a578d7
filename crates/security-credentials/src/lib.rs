//! Credentials: keys, digests, rotation, strength, suspicion; pure.
//!
//! **Invariant:** hashing, MACs and encryption live here and nowhere else in the workspace; no clock, no
//! randomness, no file.

mod kind;

mod breached;
mod generate;
mod mask;
mod strength;

mod hex;

mod audit_head;
mod chain;
mod digest;
mod peppers;

mod accepted;
mod document;
mod expiration;
mod policy;
mod rotation;

mod draft;
mod foreign;
mod import;
mod issued;
mod judge;
mod key_facts;
mod key_rate;
mod key_table;
mod key_use;
mod key_view;
mod label;
mod network;
mod request_use;
mod token;
mod token_scan;

mod envelope;
mod master_key;
mod secret_name;
mod secret_version;

mod detector;
mod history;
mod suspicion;
mod usage;

mod error;
mod port;

pub use accepted::{AcceptedSet, Verdict};
pub use audit_head::{AuditHead, HeadFault, HeadKeys, HistoryMark, JournalEnd};
pub use breached::{BreachedFilter, BreachedFilterError, BreachedHash, BreachedWriter};
pub use chain::ChainLink;
pub use detector::Detector;
pub use digest::{Digest, Pepper, PepperVersion};
pub use document::{Accepted, CredentialRecord, KnownValue, Observed, Origin};
pub use draft::KeyDraft;
pub use envelope::{Envelope, SecretValue};
pub use error::CredentialError;
pub use expiration::{ExpirationReport, ExpirationStatus};
pub use foreign::{ForeignHash, ForeignRoute};
pub use generate::{Complexity, generate};
pub use history::{CredentialEvent, HistoryEntry};
pub use import::{ImportRecord, ImportedKey};
pub use issued::IssuedKey;
pub use judge::{KeyReason, KeyVerdict};
pub use key_facts::{KeyDescription, KeyFacts};
pub use key_rate::KeyRate;
pub use key_table::{Found, KeySlot, KeyTable, KeyTableError, KeyTableLayout, KeyTableWriter};
pub use key_use::{KeyUse, UseNote};
pub use key_view::KeyView;
pub use kind::{CredentialKind, UnknownKind};
pub use mask::mask;
pub use master_key::MasterKey;
pub use network::parse_network;
pub use peppers::{PepperKey, Peppers};
pub use policy::{PolicyOverrides, RotationPolicies, RotationPolicy};
pub use port::{CredentialChanges, CredentialStore};
pub use request_use::RequestUse;
pub use rotation::{PendingRotation, RotationPhase};
pub use secret_name::SecretName;
pub use secret_version::{Rewrap, Rewrapped, SecretEntry, SecretStore, SecretVersion, VersionFacts};
pub use strength::{StrengthReport, is_guessable, validate};
pub use suspicion::{Finding, FindingType, Thresholds, analyse};
pub use token::{FoundToken, ParsedToken, Token, find_tokens};
pub use token_scan::{TokenPlace, TokenScanner};
pub use usage::{Outcome, UsageRecord};
