//! What every error carries: a stable code and the way out.

use std::path::{Path, PathBuf};

/// An error with a stable, machine-readable code and a hint at the way out.
///
/// Codes are lower case words joined by dashes, start with the crate's subject (`indicator-…`, `store-…`) and
/// never change their meaning.
pub trait Coded {
    /// The stable code, for example `store-damaged`.
    fn code(&self) -> &'static str;

    /// What the reader can do about it, one sentence without a final dot; `None` when the message says it all.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// What a store answers when it cannot do what it was asked; every port of the domains speaks it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", path.as_ref().map(|p| format!(" ({})", p.display())).unwrap_or_default())]
pub struct StoreFault {
    code: &'static str,
    message: String,
    hint: Option<String>,
    path: Option<PathBuf>,
}

impl StoreFault {
    /// A fault with a code, and a message in lower case that holds no secret.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, path: None }
    }

    /// Somebody else changed the same thing first; read it again and decide anew. Code `store-conflict`.
    pub fn conflict(what: &str) -> Self {
        Self::new("store-conflict", format!("{what} was changed by somebody else in the meantime"))
            .with_hint("read it again and repeat the change if it is still wanted")
    }

    /// The same fault with the way out.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same fault with the file or folder concerned.
    #[must_use]
    pub fn at(mut self, path: &Path) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// The file or folder concerned.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Whether somebody else changed the same thing first.
    pub fn is_conflict(&self) -> bool {
        self.code == "store-conflict"
    }
}

impl Coded for StoreFault {
    fn code(&self) -> &'static str {
        self.code
    }

    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}
