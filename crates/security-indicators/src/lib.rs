//! Indicators: parse, normalise, defang, find in text, match at speed.
//!
//! **Invariant:** a value that exists is right. There is one parser a kind, in the file of that name; extraction,
//! identification and matching go through it, so that the same thing has the same canonical form everywhere.

mod error;
mod indicator;
mod ioc_type;

mod asn;
mod cve;
mod domain;
mod email;
mod file;
mod hash;
mod ip;
mod mac;
mod registry_key;
mod technique;
mod url;
mod wallet;

mod defang;
mod extract;
mod identify;
mod match_index;
mod special_use;

pub use defang::{defang, refang};
pub use error::IndicatorError;
pub use extract::{
    ExtractOptions, Found, LOOK_BACK, TypeSet, extract, extract_each, extract_through, extract_within,
    safe_cut,
};
pub use identify::identify;
pub use indicator::{Checked, Indicator};
pub use ioc_type::IocType;
pub use match_index::{
    Hit, Hits, IndexBuilder, IndexDamaged, IndexFile, IndexFileError, IndexId, LayeredIndex, MatchIndex,
    MatchType, Scratch, SectionSize,
};
pub use special_use::special_use;
