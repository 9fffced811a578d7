//! What the door answers when it cannot do what it was asked. Faces translate it once.

use security_core::{Coded, StoreFault, Timestamp, redact_tokens};
use security_credentials::CredentialKind;

use crate::credentials::{HookFailure, RotationStep};

/// Why a use case failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument has the wrong value. Python: `ValueError`; command line: exit code 2; HTTP: 400.
    #[error("{argument}: {problem}")]
    Invalid {
        /// The argument's name.
        argument: &'static str,
        /// What was given and what is accepted; never a secret.
        problem: String,
    },
    /// The configuration cannot be used. Python: `ConfigurationError`.
    #[error("configuration: {0}")]
    Configuration(String),
    /// The thing named does not exist. Python: `NotFoundError`.
    #[error("{what} `{name}` does not exist")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// Its name as given, shortened.
        name: String,
    },
    /// The version of a secret cannot be read any more. Python: `NotFoundError`.
    #[error("version {version} of the secret `{name}` is {state}")]
    SecretEnded {
        /// The secret's name.
        name: String,
        /// The version.
        version: u64,
        /// `deleted` or `destroyed`.
        state: &'static str,
    },
    /// Somebody else rotates the credential. Python: `SecurityError`.
    #[error("a rotation of {credential} is under way{}", since.map(|at| format!(" since {at}")).unwrap_or_default())]
    RotationUnderWay {
        /// The credential.
        credential: CredentialKind,
        /// When that rotation began, where it is one in steps.
        since: Option<Timestamp>,
    },
    /// A step of a rotation's hook failed. Python: `SecurityError`.
    #[error("the rotation of {credential} failed at {step}: {failure}")]
    RotationFailed {
        /// The credential.
        credential: CredentialKind,
        /// The step.
        step: RotationStep,
        /// Why.
        failure: HookFailure,
    },
    /// A store cannot do what it was asked. Python: `StoreError`.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// A TAXII server cannot be used. Python: `TaxiiError`.
    #[error(transparent)]
    Taxii(#[from] security_taxii::TaxiiError),
}

/// The door's results.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An argument with a wrong value.
    pub fn invalid(argument: &'static str, problem: impl std::fmt::Display) -> Self {
        Self::Invalid { argument, problem: problem.to_string() }
    }

    /// A thing that is not there.
    pub fn not_found(what: &'static str, name: &str) -> Self {
        // What is looked for may be a token where its id belongs. No shown part is longer than a token redacted.
        let near = &name[..name.floor_char_boundary(1024)];
        Self::NotFound { what, name: redact_tokens(near).chars().take(80).collect() }
    }
}

impl Coded for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid-argument",
            Self::Configuration(_) => "configuration",
            Self::NotFound { .. } => "not-found",
            Self::SecretEnded { .. } => "secret-ended",
            Self::RotationUnderWay { .. } => "rotation-under-way",
            Self::RotationFailed { .. } => "rotation-failed",
            Self::Store(fault) => fault.code(),
            Self::Taxii(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(fault) => fault.hint(),
            Self::Taxii(error) => error.hint(),
            Self::Configuration(_) => {
                Some("`security config show` prints every value and where it came from".into())
            }
            Self::SecretEnded { state: "deleted", .. } => {
                Some("restore it, read an earlier version by its number, or store a new one".into())
            }
            Self::RotationUnderWay { .. } => Some(
                "nothing was changed here; rotate again once that one is over, if it is still wanted".into(),
            ),
            Self::RotationFailed { step: RotationStep::Retire, .. } => {
                Some("the old value still works where it was used; the retirement is tried again".into())
            }
            Self::RotationFailed { .. } => {
                Some("the old value stays in force; mend what the step needs and rotate again".into())
            }
            Self::SecretEnded { .. } => Some("store a new version".into()),
            Self::Invalid { .. } | Self::NotFound { .. } => None,
        }
    }
}
