//! The web layer's judgement: who asks, what they may ask for, how often, and what the answer says.
//!
//! Everything here is a pure function of the request and of what the caller looked up: no clock, no socket, no
//! file. A door that serves a framework makes one [`RequestView`] a request, calls the steps of a [`Judgement`]
//! in order (cheapest first), and gives the [`Decision`] back.

mod allowance;
mod ban;
mod body;
mod client_address;
mod credential_source;
mod decision;
mod error;
mod forwarded;
mod headers;
mod inspect;
mod judge;
mod limits;
mod lock_out;
mod metrics;
mod mode;
mod networks;
mod paths;
mod policy;
mod rate_headers;
mod refusal;
mod request;
mod request_id;
mod review;

pub use allowance::Allowance;
pub use ban::{Ban, BanList, BanStore, LONGEST_BAN, MAX_BANS, ban_network};
pub use body::{BodyLength, BodyPolicy, BodyPrefix, Unreadable, UnreadableBody};
pub use client_address::{AddressSource, ClientAddress, ClientAddressPolicy, ForwardedHeader};
pub use credential_source::{CredentialHeader, PresentedCredential, presented_credential};
pub use decision::{Action, Decision, Header, Problem, Reason};
pub use error::WebError;
pub use headers::{HeaderPolicy, HeaderPreset, Hsts, REMOVED_HEADERS, ResponseHeaders};
pub use inspect::{Exclusion, Inspection, InspectionMode, InspectionPolicy, RULES, Rule, inspect};
pub use judge::{Judgement, ListedIndicator, MatchedRule};
pub use limits::{LimitScope, admit, admit_at, client_network};
pub use lock_out::{FailureVerdict, LockOut, judge_failure};
pub use metrics::{
    Gauge, METRIC_COUNTERS, MetricsPolicy, Stage, decision_counter, latency_counters, metrics_text,
};
pub use mode::{Mode, SHADOW_CATEGORY};
pub use networks::Networks;
pub use paths::{PathClass, PathSet};
pub use policy::{LimitPolicy, Policy};
pub use rate_headers::{Counted, rate_limit_headers};
pub use refusal::Refusal;
pub use request::{Headers, RequestView, header_lines};
pub use request_id::acceptable_request_id;
pub use review::{Level, Remark, Review, Step};
