//! The `security` command, as a library with a thin `main`: the binary and the command that the Python wheel
//! installs are the same code.
//!
//! **Invariant:** this crate decides nothing about security. It reads arguments, calls the door, shows what came
//! back, and turns the outcome into an exit code.

mod arguments;
mod command;
mod escape;
mod input;
mod output;
mod progress;
mod secret_input;
mod session;

mod alerts;
mod audit;
mod breached;
mod config;
mod defang;
mod detect;
mod extract;
mod identify;
mod init;
mod intel;
mod ioc;
mod key;
mod policy;
mod rotate;
mod rule;
mod scan;
mod secret;
mod status;
mod suspicion;
mod taxii;
mod usage;
mod warninglist;

pub use command::run;
