//! The ground floor of `security`: the few words every other crate speaks.
//!
//! **Invariant:** nothing here opens a file or a socket, reads a clock or the environment, or draws random
//! bytes. Time and chance are arguments everywhere below floor 3.

mod error;
mod invisible;
mod limits;
mod rate;
mod redact;
mod secret;
mod severity;
mod shared;
mod timestamp;

pub use error::{Coded, StoreFault};
pub use invisible::is_invisible;
pub use limits::Limits;
pub use rate::{Admission, Rate, RateError};
pub use redact::{KEY_ID_LENGTH, blank_tokens, each_id_frame, redact_tokens};
pub use secret::{KeptBytes, Secret};
pub use severity::{Severity, UnknownSeverity};
pub use shared::{ChangeSignal, Domain, Entropy, Revision, WordTable};
pub use timestamp::{Timestamp, TimestampError};
