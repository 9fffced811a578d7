//! One run of the command: its options, its output, and the engine once a verb asks for it.

use std::{path::Path, sync::Arc};

use security::{ConfigSource, Engine, Options, Settings};

use crate::{
    arguments::Global,
    output::{Failure, Output},
};

/// What a verb works with.
pub(crate) struct Session {
    pub(crate) global: Global,
    pub(crate) output: Output,
}

impl Session {
    pub(crate) fn new(global: Global) -> Self {
        let output = Output::new(global.json, global.quiet);
        Self { global, output }
    }

    /// The engine over the data directory of the options; opened by the first call. Verbs that only read text
    /// never call it, so that they work where nothing can be written.
    pub(crate) fn engine(&self) -> Result<Arc<Engine>, Failure> {
        Ok(security::initialize(self.options())?)
    }

    /// What is to be logged: the environment's word, else the configuration file's. A configuration that cannot be
    /// read is told by whatever needs it.
    pub(crate) fn log_filter(&self) -> Option<String> {
        let environment = security::process_environment();
        let named = environment.get("SECURITY_LOG").filter(|filter| !filter.trim().is_empty()).cloned();
        named.or_else(|| Some(Settings::resolve(&self.options(), &environment).ok()?.log?.value))
    }

    fn options(&self) -> Options {
        self.options_with(None)
    }

    /// The options, with another configuration file if one is given.
    pub(crate) fn options_with(&self, file: Option<&Path>) -> Options {
        let file = file.map(Path::to_owned).or_else(|| self.global.config.clone());
        Options {
            data_dir: self.global.data_dir.clone(),
            config: file.map(ConfigSource::File),
            ..Options::default()
        }
    }
}
