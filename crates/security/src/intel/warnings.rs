//! Warninglists as files that are live in every process, and what they say of indicators.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use security_core::{ChangeSignal as _, Domain};
use security_indicators::Indicator;
use security_intel::{Warning, WarningList, WarningListInfo, WarningLists};
use security_store::DocumentFolder;
use serde::Serialize;
use serde_json::json;

use super::indicator;
use crate::{Engine, Error, Result, follow::Follower, utils::generate_request_id};

/// The largest list read.
const MAX_LIST: u64 = 256 << 20;
const ENDINGS: &[&str] = &["json"];

/// What happens to an indicator that is on a warninglist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Warned {
    /// It is given as any other; no list is asked.
    #[default]
    Keep,
    /// It is given with the warnings.
    Flag,
    /// It is left out.
    Drop,
}

impl std::str::FromStr for Warned {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "keep" => Ok(Self::Keep),
            "flag" => Ok(Self::Flag),
            "drop" => Ok(Self::Drop),
            other => {
                let shown: String = other.chars().take(40).collect();
                Err(Error::invalid(
                    "warninglists",
                    format!("`{shown}` is not accepted; accepted are keep, flag and drop"),
                ))
            }
        }
    }
}

/// An entry of a warninglist that an indicator met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IocWarning {
    /// The list's name; `special-use` for what the IETF set aside.
    pub list: String,
    /// How they met: `string`, `substring`, `hostname`, `cidr`, `regex` or `special-use`.
    pub match_type: &'static str,
    /// The entry.
    pub entry: String,
}

impl From<Warning<'_>> for IocWarning {
    fn from(warning: Warning<'_>) -> Self {
        let Warning { list, match_type, entry } = warning;
        Self { list: list.to_owned(), match_type, entry: entry.into_owned() }
    }
}

/// The lists as this process holds them; compiled at the first question.
#[derive(Debug)]
pub(crate) struct WarningCache {
    folder: DocumentFolder,
    /// A list is a file, and files change under the rules' epoch.
    follower: Follower,
    loading: Mutex<()>,
    loaded: ArcSwap<WarningLists>,
}

impl WarningCache {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: DocumentFolder::new(folder, ENDINGS, MAX_LIST),
            follower: Follower::new(Domain::Rules),
            loading: Mutex::default(),
            loaded: ArcSwap::default(),
        }
    }

    fn load(&self) -> Result<()> {
        let _turn = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        // One that somebody put there by hand and that is none must not keep the others from being used.
        let left_out = |error: &dyn std::fmt::Display| tracing::warn!(%error, "warninglist left out");
        // One after the other: all of them parsed take more memory than what they are compiled to.
        let compiled = |each_alone: bool| {
            let lists = self.folder.list()?.into_iter().filter_map(|document| {
                let list = WarningList::from_json(&document.bytes);
                list.inspect_err(|error| left_out(&format!("{}: {error}", document.path.display()))).ok()
            });
            let sound = lists.filter(|list| {
                !each_alone || WarningLists::compile([list]).inspect_err(|error| left_out(error)).is_ok()
            });
            Ok::<_, Error>(WarningLists::compile(sound))
        };
        let compiled = match compiled(false)? {
            Ok(compiled) => Ok(compiled),
            Err(_) => compiled(true)?,
        };
        let compiled = compiled.map_err(|error| Error::invalid("warninglists", error))?;
        self.loaded.store(Arc::new(compiled));
        Ok(())
    }
}

impl Engine {
    fn current_warnings(&self) -> Result<Arc<WarningLists>> {
        let cache = &self.warnings;
        if !cache.follower.is_current(&self.page) {
            // Each file is replaced in one step, so there is no commit to wait for.
            cache.follower.refresh(
                &self.page,
                || cache.load(),
                || {
                    self.page.settle(Domain::Rules);
                    Ok(())
                },
            )?;
        }
        Ok(cache.loaded.load_full())
    }

    /// Takes a warninglist over, as MISP publishes it: kept under `iocs/warninglists/`, and asked in every process at
    /// once. One of the same name is replaced.
    /// # Errors
    /// [`Error::Invalid`] with what is wrong with it; [`Error::Store`] when it cannot be written.
    pub fn load_warninglist(&self, document: &[u8]) -> Result<WarningListInfo> {
        let refused = |error| Error::invalid("path_or_dict", error);
        let list = WarningList::from_json(document).map_err(refused)?;
        WarningLists::compile([&list]).map_err(refused)?;
        let info = list.info().clone();
        let details = json!({"name": info.name, "entries": info.entries, "version": info.version});
        self.audited("warninglist_loaded", &generate_request_id(), details, || {
            self.warnings.folder.write(&file_of(&info.name), document)?;
            self.announce_lists();
            Ok(())
        })?;
        Ok(info)
    }

    /// The warninglists that are asked, by the names of their files.
    /// # Errors
    /// When their folder cannot be read.
    pub fn list_warninglists(&self) -> Result<Vec<WarningListInfo>> {
        Ok(self.current_warnings()?.lists().to_vec())
    }

    /// Removes a warninglist by its name; `false` when there is none.
    /// # Errors
    /// [`Error::Store`] when it cannot be removed.
    pub fn remove_warninglist(&self, name: &str) -> Result<bool> {
        let file = file_of(name.trim());
        if self.warnings.folder.read(&file)?.is_none() {
            return Ok(false);
        }
        self.audited("warninglist_removed", &generate_request_id(), json!({"name": name.trim()}), || {
            let removed = self.warnings.folder.remove(&file)?;
            self.announce_lists();
            Ok(removed)
        })
    }

    /// The warnings on a value: special use first, then of each list the nearest entry.
    /// # Errors
    /// [`Error::Invalid`] for what is no indicator of that type; [`Error::Store`].
    pub fn check_warninglists(&self, ioc_type: &str, value: &str) -> Result<Vec<IocWarning>> {
        let lists = self.current_warnings()?;
        Ok(lists.check(&indicator(ioc_type, value)?).into_iter().map(IocWarning::from).collect())
    }

    pub(crate) fn judge_of_warnings(&self, warned: Warned) -> Result<Judge> {
        let lists = (warned != Warned::Keep).then(|| self.current_warnings()).transpose()?;
        Ok(Judge { warned, lists })
    }

    fn announce_lists(&self) {
        self.page.begin(Domain::Rules);
        self.page.finish(Domain::Rules);
    }
}

/// Says what becomes of indicators; by default nothing but that they are given.
#[derive(Clone, Default)]
pub(crate) struct Judge {
    warned: Warned,
    lists: Option<Arc<WarningLists>>,
}

impl Judge {
    /// Whether any list is asked.
    pub(crate) fn asks(&self) -> bool {
        self.lists.is_some()
    }

    /// `None` for one that is left out; else its warnings where they are asked for.
    pub(crate) fn judge(&self, checked: &Indicator) -> Option<Option<Vec<IocWarning>>> {
        let Some(lists) = &self.lists else { return Some(None) };
        let warnings = lists.check(checked);
        if self.warned == Warned::Drop {
            return warnings.is_empty().then_some(None);
        }
        Some(Some(warnings.into_iter().map(IocWarning::from).collect()))
    }
}

/// The file of a list: its name as far as a file may have it, and a number that tells like names apart (FNV-1a).
fn file_of(name: &str) -> String {
    let number = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let letters = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    let mut slug: String = letters.take(80).collect();
    while slug.contains("--") {
        slug = slug.replace("--", "-");
    }
    format!("list-{}-{number:016x}.json", slug.trim_matches('-'))
}
