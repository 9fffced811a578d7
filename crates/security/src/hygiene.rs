//! Keeping credentials out of where nobody needs them any more: the environment block, core files.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwapOption;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use security_core::Secret;
use security_credentials::CredentialKind;
use security_shared::undumped;
use serde::Deserialize;

use crate::config::{Environment, MASTER_KEY, PEPPER, PREVIOUS_MASTER_KEY, PREVIOUS_PEPPER};

/// What is done about traces of credentials in this process.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hygiene {
    /// Whether the variables that hold credentials are taken out of the environment once they are read: neither
    /// children nor `/proc/<pid>/environ` have them then. What names a file stays.
    pub scrub_environment: bool,
    /// Whether the system may write a core file of this process. (A program that takes core dumps over a pipe gets
    /// them all the same, unless it looks at the limit as systemd's does.)
    pub core_dumps: bool,
}

impl Default for Hygiene {
    fn default() -> Self {
        Self { scrub_environment: false, core_dumps: true }
    }
}

/// What was taken out of the environment, for engines that this process opens later.
static TAKEN: ArcSwapOption<BTreeMap<&'static str, Arc<Secret>>> = ArcSwapOption::const_empty();

/// The variables that hold credentials themselves.
fn variables() -> impl Iterator<Item = &'static str> {
    let further = [PEPPER, PREVIOUS_PEPPER, MASTER_KEY, PREVIOUS_MASTER_KEY, "TAXII_PASSWORD"];
    CredentialKind::ALL.into_iter().map(CredentialKind::as_str).chain(further)
}

impl Hygiene {
    /// Does what is asked for, once the environment was read.
    pub(crate) fn apply(&self) {
        if self.scrub_environment {
            for name in variables() {
                let Some(value) = std::env::var_os(name).and_then(|value| value.into_string().ok()) else {
                    continue;
                };
                let value = Arc::new(undumped(Secret::new(value)));
                TAKEN.rcu(|taken| {
                    let mut taken = taken.as_deref().cloned().unwrap_or_default();
                    taken.insert(name, value.clone());
                    Some(Arc::new(taken))
                });
                security_shared::environment::scrub(name);
            }
        }
        if !self.core_dumps {
            let limit = Rlimit { current: Some(0), ..getrlimit(Resource::Core) };
            if let Err(error) = setrlimit(Resource::Core, limit) {
                tracing::warn!(%error, "core files cannot be forbidden");
            }
        }
    }
}

/// The names of the variables that were taken out of this process's environment. An embedding language that keeps a
/// copy of the environment has to forget them too.
pub fn scrubbed_variables() -> Vec<&'static str> {
    TAKEN.load().iter().flat_map(|taken| taken.keys().copied()).collect()
}

/// Adds what was taken out to an environment read afterwards; what was set since then is newer.
pub(crate) fn add_taken(environment: &mut Environment) {
    for (name, value) in TAKEN.load_full().iter().flat_map(|taken| taken.iter()) {
        let is_set = |name: &str| environment.get(name).is_some_and(|value| !value.is_empty());
        if !is_set(name)
            && !is_set(&format!("{name}_FILE"))
            && let Some(text) = value.expose_text()
        {
            environment.insert((*name).to_owned(), text.to_owned());
        }
    }
}

/// Wipes the copies of the environment's values.
pub(crate) fn wipe(environment: Environment) {
    environment.into_values().for_each(|value| drop(Secret::new(value)));
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::fs;

    use security_core::Secret;
    use serde_json::json;

    use crate::{ConfigSource, Engine, Options};

    /// Whether the memory around an address is left out of dumps: `dd` among the flags of its mapping.
    fn is_left_out<T>(place: *const T) -> bool {
        let at = place.cast::<u8>() as usize;
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut within = false;
        for line in smaps.lines() {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            if let Some((from, to)) = range
                && let (Ok(from), Ok(to)) = (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16))
            {
                within = (from..to).contains(&at);
            } else if within && let Some(flags) = line.strip_prefix("VmFlags:") {
                return flags.split_ascii_whitespace().any(|flag| flag == "dd");
            }
        }
        panic!("the address is in no mapping");
    }

    #[test]
    fn what_an_engine_holds_for_life_is_in_no_core_dump() {
        let temp = tempfile::tempdir().unwrap();
        let config = json!({
            "credentials": {"API_KEY": "an-operators-value-0123", "DB_PASSWORD": "another-value-4567"},
            "taxii": {"password": "a-third-value-89"},
        });
        let options = Options {
            data_dir: Some(temp.path().to_owned()),
            config: Some(ConfigSource::Inline(config)),
            ..Options::default()
        };
        let engine = Engine::open(options).unwrap();
        engine.rotate_pepper().unwrap();
        let held: Vec<&Secret> = engine.settings.credentials.iter().map(|(_, value)| &value.value).collect();
        assert_eq!(held.len(), 2);
        let taxii = engine.settings.taxii.password.as_ref().map(|value| &value.value);
        for secret in held.into_iter().chain(taxii) {
            assert!(is_left_out(secret.expose().as_ptr()));
        }
        let peppers = engine.peppers().unwrap();
        assert_eq!(peppers.all().count(), 2);
        for pepper in peppers.all() {
            assert!(is_left_out(&raw const *pepper));
        }
        assert!(!is_left_out(&raw const engine), "the rest is plain memory");
    }
}
