//! The security command.
