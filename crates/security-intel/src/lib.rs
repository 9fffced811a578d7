//! Intelligence: records, provenance, correlation, reports, feeds, STIX mapping.
//!
//! **Invariant:** nothing here opens a file or a socket, reads a clock or draws random bytes; feeds are read from
//! and written to whatever the caller opened.

mod error;
mod ioc;
mod port;
mod record;
mod tlp;
mod warninglist;

mod categorize;
mod score;
mod search;

mod correlate;

mod compliance;
mod report;

mod feed;
mod stix_mapping;

pub use categorize::{PRIORITY_LEVELS, SOURCE_TYPES, canonical_priority, canonical_source_type, categorize};
pub use compliance::{
    AuditChain, CheckStatus, ComplianceCheck, ComplianceInputs, ComplianceReport, ComplianceTotals,
    compliance_report,
};
pub use correlate::{
    CommonKey, CorrelateOptions, CorrelatedIoc, Correlation, Correlations, IntelInput, IocInput, Relation,
    correlate,
};
pub use error::IntelError;
pub use feed::{
    Dataset, ExportFormat, Exported, FeedFormat, FeedOptions, FeedReader, FeedTotals, Rejected, export,
};
pub use ioc::{IocRecord, NewIoc, Provenance};
pub use port::{
    IndicatorChange, IndicatorStore, IntelFilter, IntelStore, IocFilter, Row, SourceRemoval, Upserted,
};
pub use record::IntelRecord;
pub use report::{Section, ThreatReport, TopIndicator, threat_report};
pub use score::{Assessment, assess, half_life_days};
pub use search::Query;
pub use stix_mapping::{
    SkippedStix, StixExport, StixImport, StixImportOptions, from_stix, to_bundle, to_stix,
};
pub use tlp::{Tlp, UnknownTlp};
pub use warninglist::{Warning, WarningKind, WarningList, WarningListInfo, WarningLists};
