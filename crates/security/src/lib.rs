//! The door: what the security engine does, one file a word of the document.
//!
//! ```no_run
//! let engine = security::current()?;
//! let is_valid = engine.verify_api_key(b"sk_...", security::UsageContext::default())?;
//! # Ok::<(), security::Error>(())
//! ```
//!
//! **Invariant:** faces import this crate alone; this crate imports no face.

mod config;
mod engine;
mod error;
mod fork;
mod hygiene;
mod process;

mod bans;
mod body;
mod credentials;
mod explain;
mod intel;
mod metrics;
mod middleware;
mod taxii;
mod threat;
#[cfg(feature = "tower")]
mod tower_body;
#[cfg(feature = "tower")]
mod tower_layer;
mod utils;
mod web_policy;

mod follow;
mod host_page;
mod world;

pub use config::{
    ConfigLine, ConfigSource, Environment, Options, Settings, Source, Sourced, process_environment,
};
pub use engine::{Engine, FOLDERS};
pub use error::{Error, Result};
pub use hygiene::{Hygiene, scrubbed_variables};
pub use process::{close, current, initialize, opened};

pub use bans::USUAL_BAN;
pub use credentials::{
    AuditFilter, BreachedReport, FoundKey, HookFailure, IssueRequest, KeyAnswer, KeyCheck, KeyFilter,
    KeyImportReport, KeyRejection, KeyScanListener, KeyScanOptions, KeyScanTotals, KeyStatus,
    MasterKeyRotation, PepperUse, RequestId, RotationHook, RotationStep, SecretDraft, SecretListing,
    SecretView, SkippedFile, StoredSecret, UsageContext, key_pattern, on_rotate,
};
pub use explain::{GivenRequest, review_policy};
pub use intel::{
    ExportFilter, ImportOptions, ImportProgress, ImportReport, IocCheck, IocDraft, IocMatch, IocWarning,
    ListedIoc, Met, ScanReport, ScannedIoc, SearchRequest, Warned,
};
pub use middleware::{ApiKeyView, RequestState};
pub use taxii::{FetchRequest, Ingested, Skipped, TaxiiConfigDraft, TaxiiSession};
pub use threat::{
    CONTEXT, ExtractedIoc, Finder, FoundIoc, FoundStream, RuleFileProblem, RuleLoad, RuleTrial, Search,
    extract_iocs, identify_ioc_type, on_all_cores, read_rule_file,
};
#[cfg(feature = "tower")]
pub use tower_body::{BodyTooLarge, ReplayedBody, SecurityBodyLayer, SecurityBodyService};
#[cfg(feature = "tower")]
pub use tower_layer::{SecurityFuture, SecurityLayer, SecurityService};
pub use utils::{generate_request_id, generate_secure_credential, mask_credential};
pub use web_policy::{PolicyOverride, WebPolicy};

pub use security_core::{Coded, Secret, Severity, Timestamp, is_invisible};
pub use security_credentials::{
    Complexity, CredentialKind, ExpirationReport, Finding, KeyDescription, KeyRate, KeyReason, KeyView,
    SecretValue, StrengthReport,
};
pub use security_indicators::{IocType, MatchType, defang, refang};
pub use security_intel::{ComplianceReport, Correlations, Exported, SourceRemoval, WarningListInfo};
pub use security_store::ChainReport;
pub use security_threat::RuleDraft;
pub use security_web::{Action, Ban, BodyLength, Decision, Header, RequestView, ResponseHeaders, Review};
