//! Payload inspection: what a request carries, looked at for attacks.
//!
//! A value is decoded until it no longer changes ([`decode`]), normalised once, and run through one shared
//! automaton ([`patterns`]); what that hits is verified by small exact checks, so an innocent value costs one
//! pass. SQL and HTML are also read by tokenising detectors ([`tokenised`]). Each rule has a stable id, a score
//! and a paranoia level ([`rules`]); the scores of one place are added, and from the threshold on a request is
//! refused. Budgets bound everything; what is beyond them is a reason of its own, never a silent pass.

mod base64;
mod calls;
mod checks;
mod command;
mod command_words;
mod cursor;
mod decode;
mod evidence;
mod glob;
mod json;
mod lines;
mod multipart;
mod objects;
mod patterns;
mod place;
mod prose;
mod rules;
mod script;
mod settings;
mod signs;
mod sql;
mod sql_shape;
mod ssrf;
mod tokenised;
mod value;
mod walk;
mod work;
mod written;
mod xml;

pub use rules::{RULES, Rule};
pub use settings::{Exclusion, InspectionMode, InspectionPolicy};
pub use walk::{Inspection, inspect};
