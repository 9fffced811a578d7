//! Intelligence: records, provenance, correlation, reports, feeds, STIX mapping.

mod ioc;
mod port;
mod record;

pub use ioc::{IocRecord, NewIoc, Provenance};
pub use port::{IndicatorChange, IndicatorStore, IntelFilter, IntelStore, IocFilter, Row, Upserted};
pub use record::IntelRecord;
