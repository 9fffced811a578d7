//! Configuration: argument, environment, file, default, in this order; and where each value came from.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use security_core::Secret;
use security_credentials::{
    CredentialKind, MasterKey, PepperKey, RotationPolicies, RotationPolicy, Thresholds,
};
use security_shared::undumped;
use security_web::Policy;
use serde::{Deserialize, Serialize};

use crate::{Error, Hygiene, Result, hygiene};

/// What a caller may say when the engine is set up; everything left out comes from the environment, the
/// configuration file or the defaults.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Options {
    /// The data directory.
    pub data_dir: Option<PathBuf>,
    /// The configuration file, or its content.
    pub config: Option<ConfigSource>,
    /// A `postgresql://…` URL. This version keeps everything in the embedded store and refuses one.
    pub database_url: Option<String>,
    /// A `redis://…` URL. Likewise.
    pub valkey_url: Option<String>,
}

/// Where the configuration comes from when a caller names it.
#[derive(Clone, PartialEq)]
pub enum ConfigSource {
    /// A TOML file.
    File(PathBuf),
    /// The same structure as a value.
    Inline(serde_json::Value),
}

/// A value may hold credentials, so it shows nothing.
impl fmt::Debug for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Inline(_) => f.write_str("Inline(****)"),
        }
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The call to `initialize`, or a command line option.
    Argument,
    /// The environment variable of that name.
    Environment(String),
    /// The file that an environment variable names.
    MountedFile(PathBuf),
    /// The configuration file.
    ConfigFile(PathBuf),
    /// Nothing was said.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument => f.write_str("argument"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::MountedFile(path) => write!(f, "mounted file {}", path.display()),
            Self::ConfigFile(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and where it came from.
#[derive(Debug)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub source: Source,
}

/// One line of `security config show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigLine {
    /// The name, dotted as in the file or as in the environment.
    pub name: String,
    /// The value; a secret shows as `****`, one that is not set as `(not set)`.
    pub value: String,
    /// Where it came from.
    pub source: String,
    /// What else is to be known, for example that a rotation superseded the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The configuration file's structure; unknown names are refused, so that a typo does not pass for a setting.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    data_dir: Option<PathBuf>,
    log: Option<String>,
    credentials: BTreeMap<CredentialKind, String>,
    policies: RotationPolicies,
    suspicion: Thresholds,
    breached_passwords: Option<PathBuf>,
    web: Policy,
    journal: JournalSettings,
    taxii: TaxiiSettings,
    hygiene: Hygiene,
}

/// How records are written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JournalSettings {
    /// `group` (default: made durable together, at most `group_commit_ms` later) or `sync` (each before the
    /// call returns).
    pub durability: String,
    /// The longest a usage record waits for the disk, in milliseconds.
    pub group_commit_ms: u64,
    /// The size at which a file is closed and a new one begun, in bytes.
    pub rotate_bytes: u64,
    /// The age likewise, in seconds.
    pub rotate_seconds: u64,
    /// How much of usage, and as much of alerts, is kept, in bytes; audit is never deleted.
    pub keep_bytes: u64,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self {
            durability: "group".into(),
            group_commit_ms: 50,
            rotate_bytes: 64 << 20,
            rotate_seconds: 86_400,
            keep_bytes: 1 << 30,
        }
    }
}

/// The TAXII server that the functions without a configuration name use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TaxiiSettings {
    server_url: Option<String>,
    username: Option<String>,
    password: Option<String>,
    collection_id: Option<String>,
}

/// The default TAXII server, resolved.
#[derive(Debug, Default)]
pub struct TaxiiDefaults {
    /// The discovery URL.
    pub server_url: Option<Sourced<String>>,
    /// The user.
    pub username: Option<Sourced<String>>,
    /// The password.
    pub password: Option<Sourced<Secret>>,
    /// The collection.
    pub collection_id: Option<Sourced<String>>,
}

/// Everything resolved.
#[derive(Debug)]
pub struct Settings {
    /// The data directory, absolute.
    pub data_dir: Sourced<PathBuf>,
    /// The configuration file in use, if any.
    pub config_file: Option<PathBuf>,
    /// The log filter.
    pub log: Option<Sourced<String>>,
    /// The document's credentials that are set here.
    pub credentials: Vec<(CredentialKind, Sourced<Secret>)>,
    /// The operator's pepper of all digests; without one a key file is made.
    pub pepper: Option<Sourced<PepperKey>>,
    /// The operator's pepper before that.
    pub previous_pepper: Option<Sourced<PepperKey>>,
    /// The operator's master key of stored secrets; without one a key file is made.
    pub master_key: Option<Sourced<MasterKey>>,
    /// The one before it, as long as secrets are encrypted under it.
    pub previous_master_key: Option<Sourced<MasterKey>>,
    /// The rotation policy of each.
    pub policies: RotationPolicies,
    /// When usage is suspicious.
    pub suspicion: Thresholds,
    /// The filter of breached passwords, absolute. Where none is configured it is one that may be there or not.
    pub breached_passwords: Sourced<PathBuf>,
    /// The web layer's policy.
    pub web: Policy,
    /// How records are written.
    pub journal: JournalSettings,
    /// The default TAXII server.
    pub taxii: TaxiiDefaults,
    /// What is done about traces of credentials in this process.
    pub hygiene: Hygiene,
}

/// The environment, as the resolver sees it: tests hand in a map, the engine the process's own.
pub type Environment = BTreeMap<String, String>;

/// The process's environment, text values only, with what [`Hygiene::scrub_environment`] took out of it.
pub fn process_environment() -> Environment {
    let mut environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    hygiene::add_taken(&mut environment);
    environment
}

/// A configuration file is some kilobytes; a megabyte is somebody else's file.
const LONGEST_FILE: u64 = 1 << 20;

impl Settings {
    /// Resolves the options against an environment.
    /// # Errors
    /// [`Error::Configuration`] names the variable or the line that cannot be used; never its value if secret.
    pub fn resolve(options: &Options, environment: &Environment) -> Result<Self> {
        refuse_remote("database_url", options.database_url.as_deref(), "SECURITY_DATABASE_URL", environment)?;
        refuse_remote("valkey_url", options.valkey_url.as_deref(), "SECURITY_VALKEY_URL", environment)?;
        let (file, config_file) = read_config(options, environment)?;
        let file_source =
            || Source::ConfigFile(config_file.clone().unwrap_or_else(|| "config argument".into()));

        let data_dir = match (&options.data_dir, variable("SECURITY_DATA_DIR", environment), &file.data_dir) {
            (Some(path), _, _) => Sourced { value: path.clone(), source: Source::Argument },
            (None, Some((path, source)), _) => Sourced { value: path.into(), source },
            (None, None, Some(path)) => Sourced { value: path.clone(), source: file_source() },
            (None, None, None) => Sourced { value: "./data".into(), source: Source::Default },
        };
        let absolute = std::path::absolute(&data_dir.value).map_err(|error| {
            Error::Configuration(format!("data_dir `{}`: {error}", data_dir.value.display()))
        })?;

        let breached_passwords = match &file.breached_passwords {
            None => Sourced {
                value: absolute.join("credentials").join("breached.filter"),
                source: Source::Default,
            },
            Some(path) => Sourced {
                value: std::path::absolute(path)
                    .map_err(|error| Error::Configuration(format!("breached_passwords: {error}")))?,
                source: file_source(),
            },
        };

        let mut credentials = Vec::new();
        for kind in CredentialKind::ALL {
            if let Some(value) = secret(kind.as_str(), environment)? {
                credentials.push((kind, value));
            }
        }
        for (kind, value) in &file.credentials {
            if !value.is_empty() && !credentials.iter().any(|(known, _)| known == kind) {
                credentials.push((
                    *kind,
                    Sourced { value: undumped(Secret::new(value.as_str())), source: file_source() },
                ));
            }
        }

        if !matches!(file.journal.durability.as_str(), "group" | "sync") {
            let given: String = file.journal.durability.chars().take(40).collect();
            return Err(Error::Configuration(format!(
                "[journal] durability = `{given}`; accepted are group and sync"
            )));
        }
        let text = |name: &str, in_file: &Option<String>| match variable(name, environment) {
            Some((value, source)) => Some(Sourced { value, source }),
            None => in_file.clone().map(|value| Sourced { value, source: file_source() }),
        };
        let password = match secret("TAXII_PASSWORD", environment)? {
            Some(found) => Some(found),
            None => file
                .taxii
                .password
                .map(|value| Sourced { value: undumped(Secret::new(value)), source: file_source() }),
        };
        let taxii = TaxiiDefaults {
            server_url: text("TAXII_SERVER_URL", &file.taxii.server_url),
            username: text("TAXII_USERNAME", &file.taxii.username),
            collection_id: text("TAXII_COLLECTION_ID", &file.taxii.collection_id),
            password,
        };
        let log = text("SECURITY_LOG", &file.log);
        Ok(Self {
            data_dir: Sourced { value: absolute, source: data_dir.source },
            log,
            credentials,
            pepper: pepper(PEPPER, environment)?,
            previous_pepper: pepper(PREVIOUS_PEPPER, environment)?,
            master_key: master_key(MASTER_KEY, environment)?,
            previous_master_key: master_key(PREVIOUS_MASTER_KEY, environment)?,
            policies: file.policies,
            suspicion: file.suspicion,
            breached_passwords,
            web: file.web,
            journal: file.journal,
            taxii,
            hygiene: file.hygiene,
            config_file,
        })
    }

    /// The settings as lines, without the notes that need the store.
    pub fn lines(&self) -> Vec<ConfigLine> {
        let line = |name: &str, value: String, source: &Source| ConfigLine {
            name: name.to_owned(),
            value,
            source: source.to_string(),
            note: None,
        };
        let unset = |name: &str| line(name, "(not set)".into(), &Source::Default);
        let from_file =
            self.config_file.as_ref().map_or(Source::Default, |path| Source::ConfigFile(path.clone()));
        let mut lines =
            vec![line("SECURITY_DATA_DIR", self.data_dir.value.display().to_string(), &self.data_dir.source)];
        lines.push(match &self.config_file {
            Some(path) => line("SECURITY_CONFIG", path.display().to_string(), &from_file),
            None => unset("SECURITY_CONFIG"),
        });
        lines.push(match &self.log {
            Some(log) => line("SECURITY_LOG", log.value.clone(), &log.source),
            None => unset("SECURITY_LOG"),
        });
        for kind in CredentialKind::ALL {
            lines.push(match self.credentials.iter().find(|(known, _)| *known == kind) {
                Some((_, found)) => line(kind.as_str(), "****".into(), &found.source),
                None => unset(kind.as_str()),
            });
        }
        let filter = &self.breached_passwords;
        lines.push(line("breached_passwords", filter.value.display().to_string(), &filter.source));
        for (name, found) in [(PEPPER, &self.pepper), (PREVIOUS_PEPPER, &self.previous_pepper)] {
            lines.push(match found {
                Some(found) => ConfigLine {
                    note: Some(format!("pepper {}", found.value.id())),
                    ..line(name, "****".into(), &found.source)
                },
                None => unset(name),
            });
        }
        for (name, found) in
            [(MASTER_KEY, &self.master_key), (PREVIOUS_MASTER_KEY, &self.previous_master_key)]
        {
            lines.push(match found {
                Some(found) => ConfigLine {
                    note: Some(format!("key {}", found.value.id())),
                    ..line(name, "****".into(), &found.source)
                },
                None => unset(name),
            });
        }
        let shown = [
            ("TAXII_SERVER_URL", &self.taxii.server_url),
            ("TAXII_USERNAME", &self.taxii.username),
            ("TAXII_COLLECTION_ID", &self.taxii.collection_id),
        ];
        for (name, found) in shown {
            lines.push(
                found
                    .as_ref()
                    .map_or_else(|| unset(name), |found| line(name, found.value.clone(), &found.source)),
            );
        }
        lines.push(match &self.taxii.password {
            Some(found) => line("TAXII_PASSWORD", "****".into(), &found.source),
            None => unset("TAXII_PASSWORD"),
        });
        for kind in CredentialKind::ALL {
            let policy = self.policies.of(kind);
            let source = if policy == RotationPolicy::of(kind) { &Source::Default } else { &from_file };
            let value = format!(
                "every {} days, warn {} days before, {} characters, {}",
                policy.rotate_every_days, policy.warn_before_days, policy.length, policy.complexity
            );
            lines.push(line(&format!("policies.{kind}"), value, source));
        }
        for (name, value, default) in self.web.lines() {
            lines.push(line(
                &format!("web.{name}"),
                value,
                if default { &Source::Default } else { &from_file },
            ));
        }
        let journal_source =
            if self.journal == JournalSettings::default() { &Source::Default } else { &from_file };
        let journal =
            format!("{}, group commit {} ms", self.journal.durability, self.journal.group_commit_ms);
        lines.push(line("journal", journal, journal_source));
        let default = Hygiene::default();
        for (name, value, default) in [
            ("scrub_environment", self.hygiene.scrub_environment, default.scrub_environment),
            ("core_dumps", self.hygiene.core_dumps, default.core_dumps),
        ] {
            let source = if value == default { &Source::Default } else { &from_file };
            lines.push(line(&format!("hygiene.{name}"), value.to_string(), source));
        }
        lines
    }
}

/// What the operator's master keys are called.
pub(crate) const MASTER_KEY: &str = "SECURITY_MASTER_KEY";
pub(crate) const PREVIOUS_MASTER_KEY: &str = "SECURITY_MASTER_KEY_PREVIOUS";

/// What the operator's peppers are called.
pub(crate) const PEPPER: &str = "SECURITY_PEPPER";
pub(crate) const PREVIOUS_PEPPER: &str = "SECURITY_PEPPER_PREVIOUS";

fn pepper(name: &str, environment: &Environment) -> Result<Option<Sourced<PepperKey>>> {
    let Some(Sourced { value, source }) = secret(name, environment)? else { return Ok(None) };
    let key = PepperKey::from_text(&value)
        .and_then(|key| PepperKey::from_bytes(undumped(key.into_bytes())))
        .map_err(|error| Error::Configuration(format!("{name} ({source}): {error}")))?;
    Ok(Some(Sourced { value: key, source }))
}

fn master_key(name: &str, environment: &Environment) -> Result<Option<Sourced<MasterKey>>> {
    let Some(Sourced { value, source }) = secret(name, environment)? else { return Ok(None) };
    let key = MasterKey::from_text(&value)
        .and_then(|key| MasterKey::from_bytes(undumped(key.into_bytes())))
        .map_err(|error| Error::Configuration(format!("{name} ({source}): {error}")))?;
    Ok(Some(Sourced { value: key, source }))
}

fn variable(name: &str, environment: &Environment) -> Option<(String, Source)> {
    let value = environment.get(name).filter(|value| !value.is_empty())?;
    Some((value.clone(), Source::Environment(name.to_owned())))
}

/// `NAME` or the content of the file that `NAME_FILE` names, without its final line break.
fn secret(name: &str, environment: &Environment) -> Result<Option<Sourced<Secret>>> {
    let file_name = format!("{name}_FILE");
    match (variable(name, environment), variable(&file_name, environment)) {
        (Some(_), Some(_)) => {
            Err(Error::Configuration(format!("{name} and {file_name} are both set; set one of them")))
        }
        (Some((value, source)), None) => Ok(Some(Sourced { value: undumped(Secret::new(value)), source })),
        (None, Some((path, _))) => {
            let path = PathBuf::from(path);
            let mut bytes = read_small(&path)
                .map_err(|problem| Error::Configuration(format!("{file_name}: {problem}")))?;
            while matches!(bytes.last(), Some(b'\n' | b'\r')) {
                bytes.pop();
            }
            if bytes.is_empty() {
                return Err(Error::Configuration(format!("{file_name}: {} is empty", path.display())));
            }
            Ok(Some(Sourced { value: undumped(Secret::new(bytes)), source: Source::MountedFile(path) }))
        }
        (None, None) => Ok(None),
    }
}

fn read_small(path: &Path) -> std::result::Result<Vec<u8>, String> {
    let size = std::fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?.len();
    if size > LONGEST_FILE {
        return Err(format!("{} is larger than {LONGEST_FILE} bytes", path.display()));
    }
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn read_config(options: &Options, environment: &Environment) -> Result<(File, Option<PathBuf>)> {
    let path = match &options.config {
        Some(ConfigSource::Inline(value)) => {
            let file = serde_json::from_value(value.clone()).map_err(|error| {
                Error::Configuration(format!("config: {}", without_values(&error.to_string())))
            })?;
            return Ok((file, None));
        }
        Some(ConfigSource::File(path)) => path.clone(),
        None => match variable("SECURITY_CONFIG", environment) {
            Some((path, _)) => path.into(),
            None if Path::new("./security.toml").is_file() => "./security.toml".into(),
            None => return Ok((File::default(), None)),
        },
    };
    let bytes = read_small(&path).map_err(Error::Configuration)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::Configuration(format!("{} is not UTF-8", path.display())))?;
    // The parser's own message quotes the line, which may hold a secret: only its place and reason are kept.
    let file = toml::from_str(&text).map_err(|error| {
        let line =
            error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let reason = without_values(error.message());
        Error::Configuration(format!("{} line {line}: {reason}", path.display()))
    })?;
    Ok((file, Some(path)))
}

/// "invalid type: integer `4711`, expected a string" holds the value; what stands before it does not.
fn without_values(message: &str) -> &str {
    match message.starts_with("invalid ") {
        true => message.split(['`', '"']).next().unwrap_or_default().trim_end(),
        false => message,
    }
}

fn refuse_remote(
    argument: &'static str,
    given: Option<&str>,
    name: &str,
    environment: &Environment,
) -> Result<()> {
    if given.is_some() || variable(name, environment).is_some() {
        return Err(Error::invalid(
            argument,
            format!("this version keeps everything in the embedded store; leave {argument} and {name} unset"),
        ));
    }
    Ok(())
}
