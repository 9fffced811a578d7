//! The engine: everything one process holds open, and its state.

use std::{path::Path, sync::Arc, time::Duration};

use security_core::Domain;
use security_intel::{IndicatorStore, IntelStore};
use security_shared::SharedWords;
use security_store::{Durability, EmbeddedStore, Journal, JournalOptions, private_data_dir, private_dir};
use security_threat::AlertStore;
use serde_json::{Value, json};

use crate::{
    Error, Options, Result, WebPolicy,
    bans::BanCache,
    config::{ConfigLine, MASTER_KEY, PEPPER, Settings, process_environment},
    credentials::{BreachedInUse, CredentialCache, FirstPeppers, Heads, first_peppers},
    fork::OpenFiles,
    host_page::HostPage,
    hygiene,
    intel::{IndicatorCache, WarningCache},
    metrics::Metrics,
    threat::RuleCache,
};

/// The folders of the data directory, as the document names them.
pub const FOLDERS: [&str; 7] =
    ["credentials", "credential_history", "intel", "iocs", "taxii_configs", "threat_rules", "logs"];

/// Entries of the table that limits and lock-outs share: 65,536 at 16 bytes are one MiB a host.
const WORDS: usize = 65_536;

/// One engine over one data directory. [`crate::current`] gives the process's own; a program that needs
/// several opens them itself.
#[derive(Debug)]
pub struct Engine {
    generation: u64,
    options: Options,
    pub(crate) settings: Arc<Settings>,
    pub(crate) page: Arc<HostPage>,
    pub(crate) words: SharedWords,
    pub(crate) limit_seed: u64,
    pub(crate) web: Arc<WebPolicy>,
    pub(crate) heads: Heads,
    pub(crate) files: Arc<OpenFiles>,
    pub(crate) credentials: CredentialCache,
    pub(crate) breached: BreachedInUse,
    pub(crate) indicators: IndicatorCache,
    pub(crate) rules: RuleCache,
    pub(crate) warnings: WarningCache,
    pub(crate) bans: BanCache,
    pub(crate) metrics: Metrics,
}

impl Engine {
    /// Opens the engine: creates the data directory and its folders (0700), opens the store, loads the
    /// configuration and takes note of the operator's credentials.
    /// # Errors
    /// Whatever keeps the data directory, the store or the configuration from being used.
    pub fn open(options: Options) -> Result<Self> {
        let environment = process_environment();
        let settings = Settings::resolve(&options, &environment);
        hygiene::wipe(environment);
        let engine = Self::open_with(options, Arc::new(settings?))?;
        engine.settings.hygiene.apply();
        Ok(engine)
    }

    /// Opens an engine like the one a child inherited: the same directory and configuration, even if the child
    /// has changed its working directory since.
    pub(crate) fn open_like(inherited: &Self) -> Result<Self> {
        Self::open_with(inherited.options.clone(), inherited.settings.clone())
    }

    fn open_with(options: Options, settings: Arc<Settings>) -> Result<Self> {
        let data_dir = settings.data_dir.value.clone();
        private_data_dir(&data_dir)?;
        for folder in FOLDERS {
            private_dir(&data_dir.join(folder))?;
        }
        let shared = data_dir.join(".shared");
        private_dir(&shared)?;
        let page = Arc::new(HostPage::open(&shared.join("page"))?);
        let words = SharedWords::open(&shared.join("words"), WORDS)?;
        let store = EmbeddedStore::open(&data_dir, page.clone())?;
        let journal = Journal::open(&data_dir.join("logs"), journal_options(&settings))?;
        // Before anything is read: what is open must be known to whoever forks.
        let files = OpenFiles::new(store, journal)?;
        let FirstPeppers { peppers, limit_seed } = first_peppers(&settings, &files.store)?;
        let engine = Self {
            generation: security_shared::fork::generation(),
            credentials: CredentialCache::new(peppers),
            breached: BreachedInUse::default(),
            indicators: IndicatorCache::default(),
            bans: BanCache::default(),
            metrics: Metrics::default(),
            rules: RuleCache::open(&data_dir.join("threat_rules"))?,
            warnings: WarningCache::new(&data_dir.join("iocs").join("warninglists")),
            web: WebPolicy::new(settings.web.clone()),
            options,
            settings,
            page,
            words,
            limit_seed,
            heads: Heads::new(&data_dir),
            files,
        };
        engine.begin_audit_head();
        engine.resolve_rotations();
        engine.observe_operator_credentials()?;
        Ok(engine)
    }

    /// The fork generation the engine was opened in.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// What the engine was opened with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The data directory, absolute.
    pub fn data_dir(&self) -> &Path {
        &self.settings.data_dir.value
    }

    /// Waits until every buffered record is durable.
    /// # Errors
    /// When the disk is full or read-only.
    pub fn flush(&self) -> Result<()> {
        let flushed = self.files.journal.flush();
        self.write_renewals();
        self.write_audit_head();
        Ok(flushed?)
    }

    pub(crate) fn shut_down(&self) -> Result<()> {
        self.write_renewals();
        // A first head adds to the trail, so it is made before the files are closed.
        self.write_audit_head();
        let closed = self.files.journal.close();
        self.write_audit_head();
        Ok(closed?)
    }

    /// The state of the engine: store, counts, journal, epochs, versions.
    ///
    /// `counts` of the records; `match_index` the mapped file and how many changes it is behind, null while few
    /// indicators need none; `journal.lost` records that a full disk or a full queue cost; `store` versions
    /// and sizes; `credentials` that are set and from where; `epochs` of the shared page; `problems` says what
    /// could not be read, and the value concerned is null: whoever asks how things are when the disk is full
    /// must be told.
    pub fn status(&self) -> Value {
        let mut problems = Vec::new();
        let indicators = noted(&mut problems, self.files.store.count_indicators().map_err(Error::from));
        let by_type = indicators.map(|counts| named(counts.iter().map(|(kind, n)| (kind.to_string(), *n))));
        let alerts = noted(&mut problems, self.files.store.count_alerts().map_err(Error::from));
        let alerts =
            alerts.map(|counts| named(counts.iter().map(|(severity, n)| (severity.to_string(), *n))));
        let rules = noted(&mut problems, self.current_rules());
        let epoch =
            |domain: &Domain| (format!("{domain:?}").to_lowercase(), self.page.epoch(*domain).key().1);
        problems.extend(self.head_trouble());
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "data_dir": self.data_dir().display().to_string(),
            "process": std::process::id(),
            "store": noted(&mut problems, self.files.store.stats().map_err(Error::from)),
            "match_index": noted(&mut problems, self.index_status()).flatten(),
            "journal": self.files.journal.stats(),
            "counts": {
                "indicators": by_type.as_ref().map(|counts| counts.values().filter_map(Value::as_u64).sum::<u64>()),
                "indicators_by_type": by_type,
                "intelligence": noted(&mut problems, self.files.store.count_intel().map_err(Error::from)),
                "alerts": alerts,
                "issued_keys": noted(&mut problems, self.issued_key_count()),
                "rules": rules.as_ref().map(|rules| rules.rules().len()),
                "rule_problems": rules.as_ref().map(|rules| rules.problems().len()),
            },
            "pepper": noted(&mut problems, self.pepper_status()),
            "credentials": noted(&mut problems, self.credential_status()),
            "epochs": named(Domain::ALL.iter().map(epoch)),
            "problems": problems,
        })
    }

    /// Every setting with its value and where it came from; secrets masked.
    /// # Errors
    /// When the store, which knows of rotations, cannot be read.
    pub fn config_show(&self) -> Result<Vec<ConfigLine>> {
        let mut lines = self.settings.lines();
        for (kind, note) in self.rotation_notes()? {
            if let Some(line) = lines.iter_mut().find(|line| line.name == kind.as_str()) {
                line.note = Some(note);
            }
        }
        if let Some(note) = self.pepper_note()?
            && let Some(line) = lines.iter_mut().find(|line| line.name == PEPPER)
        {
            line.note = Some(note);
        }
        if let Some(note) = self.master_key_note()?
            && let Some(line) = lines.iter_mut().find(|line| line.name == MASTER_KEY)
        {
            line.note = Some(note);
        }
        Ok(lines)
    }
}

/// The value, or none and a note of why.
fn noted<T>(problems: &mut Vec<String>, read: Result<T>) -> Option<T> {
    read.map_err(|error| problems.push(error.to_string())).ok()
}

fn named(counts: impl Iterator<Item = (String, u64)>) -> serde_json::Map<String, Value> {
    counts.map(|(name, count)| (name, count.into())).collect()
}

fn journal_options(settings: &Settings) -> JournalOptions {
    JournalOptions {
        durability: if settings.journal.durability == "sync" { Durability::Sync } else { Durability::Group },
        group_commit: Duration::from_millis(settings.journal.group_commit_ms),
        rotate_bytes: settings.journal.rotate_bytes,
        rotate_age: Duration::from_secs(settings.journal.rotate_seconds),
        keep_bytes: settings.journal.keep_bytes,
        ..JournalOptions::default()
    }
}
