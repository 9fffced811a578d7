//! STIX 2.1: objects, ids, bundles, patterns.
//!
//! Source of everything here: *STIX Version 2.1*, OASIS Standard, 10 June 2021. STIX 2.0 objects are read as
//! well, with fewer demands, because feeds still publish them.
//!
//! **Invariant:** nothing here opens a file or a socket, reads a clock or draws random bytes. Ids and times are
//! arguments, or derived from content.

mod error;
mod id;
mod time;

mod requirement;

mod object;

mod bundle;
mod indicator;
mod pattern;

pub use bundle::{Bundle, Rejected};
pub use error::StixError;
pub use id::StixId;
pub use indicator::{ExternalReference, IndicatorDraft, new_indicator};
pub use object::{Kind, Object, SpecVersion};
pub use pattern::{
    Comparison, ComparisonTest, Literal, ObjectPath, Observation, Operator, PathStep, Pattern, PatternError,
    PatternValue, Qualifier, pattern_for,
};
pub use time::{format_time, parse_time};
