//! `security.modules.threat`: rules as files that are live in every process, events, alerts, look-ups.

mod extraction;
mod files;
mod lookup;
mod search;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use security_core::{Coded, Domain, Limits, Severity, StoreFault, Timestamp};
use security_indicators::{ExtractOptions, Indicator};
use security_store::{DocumentFolder, Stream};
use security_threat::{Alert, AlertStore, Rule, RuleDraft, RuleMatch, RuleSet, ThreatScore};
use serde::Serialize;
use serde_json::{Map, Value, json};

pub(crate) use extraction::wanted;
pub use extraction::{CONTEXT, ExtractedIoc, Finder, FoundIoc, FoundStream, extract_iocs};
pub use files::read_rule_file;
pub use lookup::identify_ioc_type;
pub use search::{Search, on_all_cores};

use crate::{Engine, Error, Result, follow::Follower, intel::IocCheck, utils::generate_request_id, world};

/// How often the folder is looked at for files that a person edited; a rule made through the engine is live
/// at once, by the epoch.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The largest rule file read.
const MAX_RULE_FILE: u64 = 4 << 20;
const ENDINGS: &[&str] = &["json", "yml", "yaml"];

/// The rules in force, and what was wrong with the others.
#[derive(Debug)]
pub(crate) struct LoadedRules {
    set: RuleSet,
    rules: Vec<(Arc<Rule>, String)>,
    problems: Vec<RuleFileProblem>,
}

/// A rule file, or a rule in one, that cannot be used. The others are in force all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleFileProblem {
    /// The file's name, or the rule's id where the file itself is right.
    pub file: String,
    /// The stable code.
    pub code: &'static str,
    /// What is wrong and what is accepted.
    pub problem: String,
}

/// What `load_rules` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleLoad {
    /// Number of rules in force now.
    pub loaded: usize,
    /// What could not be used.
    pub problems: Vec<RuleFileProblem>,
}

/// What one rule says of one event, nothing recorded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleTrial {
    /// The event's place in the list, from 0.
    pub event: usize,
    /// Whether the rule holds for it.
    pub matched: bool,
    /// What matched.
    pub evidence: Vec<security_threat::Evidence>,
}

impl LoadedRules {
    /// The rules with the files they came from.
    pub(crate) fn rules(&self) -> &[(Arc<Rule>, String)] {
        &self.rules
    }

    /// What could not be used.
    pub(crate) fn problems(&self) -> &[RuleFileProblem] {
        &self.problems
    }
}

/// The rules as this process holds them.
#[derive(Debug)]
pub(crate) struct RuleCache {
    folder: DocumentFolder,
    /// Further folders that this process was told to load.
    further: Mutex<Vec<PathBuf>>,
    follower: Follower,
    loading: Mutex<()>,
    loaded: ArcSwap<LoadedRules>,
    fingerprint: AtomicU64,
    opened: Instant,
    /// Milliseconds after `opened` of the last look at the folder, plus one.
    looked: AtomicU64,
}

impl RuleCache {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let nothing = LoadedRules { set: RuleSet::compile([]).0, rules: Vec::new(), problems: Vec::new() };
        Ok(Self {
            folder: DocumentFolder::new(folder, ENDINGS, MAX_RULE_FILE),
            further: Mutex::default(),
            follower: Follower::new(Domain::Rules),
            loading: Mutex::default(),
            loaded: ArcSwap::from_pointee(nothing),
            fingerprint: AtomicU64::new(0),
            opened: Instant::now(),
            looked: AtomicU64::new(0),
        })
    }

    /// Whether somebody edited the folder since the last look; looks only every [`LOOK_EVERY`].
    fn edited(&self) -> Result<bool> {
        let now = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX) + 1;
        let last = self.looked.load(Ordering::Relaxed);
        let due = last == 0 || now.saturating_sub(last) >= LOOK_EVERY.as_millis() as u64;
        // One thread looks; the others go on with what is loaded.
        if !due || self.looked.compare_exchange(last, now, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return Ok(false);
        }
        Ok(self.folder.fingerprint()? != self.fingerprint.load(Ordering::Acquire))
    }

    fn load(&self) -> Result<()> {
        // One at a time: a slower thread must not put an older state in place of a newer one.
        let _turn = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let fingerprint = self.folder.fingerprint()?;
        let mut problems = Vec::new();
        let mut rules: Vec<(Rule, String)> = Vec::new();
        let further = self.further.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let folders = std::iter::once(self.folder.clone())
            .chain(further.into_iter().map(|path| DocumentFolder::new(path, ENDINGS, MAX_RULE_FILE)));
        for folder in folders {
            let documents = folder.list_telling(&mut |name, fault| {
                problems.push(RuleFileProblem {
                    file: name.to_owned(),
                    code: fault.code(),
                    problem: fault.to_string(),
                });
            })?;
            for document in documents {
                match read_rules(&document.path, &document.bytes) {
                    Ok(read) => rules.extend(read.into_iter().map(|rule| (rule, document.name.clone()))),
                    Err((code, problem)) => {
                        tracing::warn!(file = %document.path.display(), problem, "threat rule file left out");
                        problems.push(RuleFileProblem { file: document.name, code, problem });
                    }
                }
            }
        }
        // Two files with one id: the first by name is in force, the other is reported, not silently dropped.
        let mut known = std::collections::HashMap::new();
        rules.retain(|(rule, file)| match known.entry(rule.id.clone()) {
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(file.clone());
                true
            }
            std::collections::hash_map::Entry::Occupied(taken) => {
                let problem = format!("rule id `{}` is already used in {}", rule.id, taken.get());
                problems.push(RuleFileProblem { file: file.clone(), code: "rule-id-taken", problem });
                false
            }
        });
        let (set, refused) = RuleSet::compile(rules.iter().map(|(rule, _)| rule.clone()));
        problems.extend(refused.into_iter().map(|refused| RuleFileProblem {
            file: refused.rule_id,
            code: refused.code,
            problem: refused.message,
        }));
        let rules = rules.into_iter().map(|(rule, file)| (Arc::new(rule), file)).collect();
        self.loaded.store(Arc::new(LoadedRules { set, rules, problems }));
        self.fingerprint.store(fingerprint, Ordering::Release);
        Ok(())
    }
}

fn read_rules(path: &Path, bytes: &[u8]) -> std::result::Result<Vec<Rule>, (&'static str, String)> {
    let modified =
        std::fs::metadata(path).and_then(|found| found.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let seconds = modified.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let time = Timestamp::from_seconds(i64::try_from(seconds).unwrap_or(0));
    let is_json = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    let read = if is_json { Rule::all_from_json } else { Rule::all_from_yaml };
    read(bytes, time, &Limits::DEFAULT).map_err(|error| (error.code(), error.to_string()))
}

impl Engine {
    pub(crate) fn current_rules(&self) -> Result<Arc<LoadedRules>> {
        if !self.rules.follower.is_current(&self.page) {
            // The files are the truth and each is replaced in one step, so there is no commit to wait for.
            self.rules.follower.refresh(
                &self.page,
                || self.rules.load(),
                || {
                    self.page.settle(Domain::Rules);
                    Ok(())
                },
            )?;
        }
        if self.rules.edited()? {
            self.rules.load()?;
        }
        Ok(self.rules.loaded.load_full())
    }

    /// Whether there were any rules when they were last looked for.
    pub(crate) fn has_rules(&self) -> bool {
        !self.rules.loaded.load().rules().is_empty()
    }

    /// Makes a rule, stores it as `threat_rules/<id>.json` and puts it in force in every process at once.
    /// # Errors
    /// [`Error::Invalid`] naming the field and what it takes; [`Error::Store`] when the file cannot be written.
    pub fn create_threat_rule(&self, draft: RuleDraft) -> Result<Value> {
        let suffix: String = world::uuid().simple().to_string().chars().take(8).collect();
        let rule = draft.validate(&suffix, world::now()).map_err(|error| Error::invalid("rule", error))?;
        let file = format!("{}.json", rule.id);
        let details = json!({"rule_id": rule.id, "severity": rule.severity});
        self.audited("rule_created", &generate_request_id(), details, || {
            self.put_rules(&file, rule.to_json().as_bytes())
        })?;
        Ok(rule_view(&rule, &file))
    }

    /// Every rule in force, with its file.
    /// # Errors
    /// When the folder cannot be read.
    pub fn list_rules(&self) -> Result<Vec<Value>> {
        Ok(self.current_rules()?.rules().iter().map(|(rule, file)| rule_view(rule, file)).collect())
    }

    /// Reads the rules again; with a folder, its rules are in force in this process as well from now on.
    /// # Errors
    /// [`Error::Invalid`] when the folder does not exist.
    pub fn load_rules(&self, folder: Option<&Path>) -> Result<RuleLoad> {
        if let Some(folder) = folder {
            if !folder.is_dir() {
                return Err(Error::invalid("rules_dir", format!("`{}` is no directory", folder.display())));
            }
            let mut further = self.rules.further.lock().unwrap_or_else(PoisonError::into_inner);
            let own = self.rules.folder.path();
            if folder != own && !further.iter().any(|known| known == folder) {
                further.push(folder.to_owned());
            }
        }
        self.rules.load()?;
        let loaded = self.rules.loaded.load_full();
        Ok(RuleLoad { loaded: loaded.rules.len(), problems: loaded.problems.clone() })
    }

    /// Runs an event (any JSON; a text counts as `{"message": text}`) through the rules and records the alerts.
    /// # Errors
    /// When rules cannot be read or alerts cannot be stored.
    pub fn analyze(&self, event: &Value, context: &Map<String, Value>) -> Result<Vec<Value>> {
        let rules = self.current_rules()?;
        let matches = rules.set.evaluate(event, &Limits::DEFAULT).matches;
        let alerts = self.raise(&matches, context)?;
        alerts.iter().map(alert_view).collect()
    }

    pub(crate) fn evaluate(&self, event: &Value) -> Result<Vec<RuleMatch>> {
        Ok(self.current_rules()?.set.evaluate(event, &Limits::DEFAULT).matches)
    }

    /// Turns matches into alerts and records them: in the journal, which can prove them, and in the store,
    /// which can find them.
    pub(crate) fn raise(&self, matches: &[RuleMatch], context: &Map<String, Value>) -> Result<Vec<Alert>> {
        let now = world::now();
        let alert = |found| Alert::from_match(found, context, format!("alert-{}", world::uuid()), now);
        let alerts: Vec<Alert> = matches.iter().map(alert).collect();
        self.record_alerts(&alerts);
        Ok(alerts)
    }

    pub(crate) fn record_alerts(&self, alerts: &[Alert]) {
        if alerts.is_empty() {
            return;
        }
        for alert in alerts {
            self.files.journal.append(Stream::Alerts, alert);
        }
        if let Err(fault) = self.files.store.save_alerts(alerts) {
            // The journal has them; an attack must not turn a full disk into an outage of the application.
            tracing::error!(%fault, "alerts are in the journal only");
        }
    }

    /// The newest alerts of all processes, of one severity if one is given.
    /// # Errors
    /// [`Error::Invalid`] for an unknown severity.
    pub fn recent_alerts(&self, severity: Option<&str>, limit: usize) -> Result<Vec<Value>> {
        let severity = severity
            .map(|text| text.parse::<Severity>().map_err(|error| Error::invalid("severity", error)))
            .transpose()?;
        self.files.store.recent_alerts(severity, limit)?.iter().map(alert_view).collect()
    }

    /// Looks at a request as a whole: rules, and every indicator that stands in it.
    ///
    /// Gives `{detected, request_id, score, severity, threats, iocs, recommendations, truncated}`. What an event holds
    /// beyond [`Limits::DEFAULT`], or listed indicators beyond 256, is not looked at or not listed; then `truncated` is
    /// true, and that alone counts as a detection of severity `low`: nobody gets through by being too large.
    /// # Errors
    /// When the store cannot be read.
    pub fn detect_threats(&self, request_data: &Value, request_id: &str) -> Result<Value> {
        let context = Map::from_iter([("request_id".to_owned(), Value::from(request_id))]);
        let evaluation = self.current_rules()?.set.evaluate(request_data, &Limits::DEFAULT);
        let matches = evaluation.matches;
        let alerts = self.raise(&matches, &context)?;
        let (listed, all_seen) = self.listed_in(request_data)?;
        let truncated = evaluation.truncated || !all_seen;
        let of_rules = ThreatScore::of(&matches);
        let of_indicators =
            listed.iter().flat_map(|check| &check.matches).map(|found| found.confidence()).max();
        let of_size = if truncated { Severity::Low.score() } else { 0 };
        let score = of_rules.score.max(of_indicators.unwrap_or(0)).max(of_size);
        let severity =
            Severity::ALL.into_iter().rev().find(|severity| score >= severity.score() && score > 0);
        let mut recommendations: Vec<&str> =
            alerts.iter().flat_map(|alert| &alert.recommendations).map(String::as_str).collect();
        recommendations.dedup();
        if truncated {
            recommendations.push(TOO_LARGE);
        }
        Ok(json!({
            "detected": !alerts.is_empty() || !listed.is_empty() || truncated,
            "request_id": request_id,
            "score": score,
            "severity": severity,
            "threats": alerts.iter().map(alert_view).collect::<Result<Vec<_>>>()?,
            "iocs": listed,
            "recommendations": recommendations,
            "truncated": truncated,
        }))
    }

    /// The listed indicators among those that stand in the texts of a value, and whether that is all of them.
    ///
    /// The index is asked for every indicator; only those it knows are looked up and count towards a limit,
    /// so that decoys cost their sender more than us.
    fn listed_in(&self, data: &Value) -> Result<(Vec<IocCheck>, bool)> {
        let mut texts = Texts::default();
        texts.collect(data, 0);
        let mut all_seen = !texts.is_cut;
        let options = ExtractOptions { dedupe: true, ..ExtractOptions::default() };
        let mut met: HashSet<Indicator> = HashSet::new();
        let mut listed = Vec::new();
        for text in texts.found {
            let found = security_indicators::extract(text, &options);
            all_seen &= found.len() < options.max_hits;
            // In portions, so that the index is not kept from following the store for long.
            for some in found.chunks(PROBES) {
                let known: Vec<&Indicator> = self.with_index(|index| {
                    let met = some.iter().map(|found| {
                        let is_met = !index.matches(&found.indicator)?.is_empty();
                        Ok(is_met.then_some(&found.indicator))
                    });
                    met.filter_map(std::result::Result::transpose).collect()
                })?;
                for indicator in known {
                    if met.contains(indicator) {
                        continue;
                    }
                    if listed.len() >= MAX_LISTED || met.len() >= MAX_LOOKED_UP {
                        return Ok((listed, false));
                    }
                    // What the index knows may have expired or be gone.
                    let check = self.check_indicator(indicator)?;
                    if check.matched {
                        listed.push(check);
                    }
                    met.insert(indicator.clone());
                }
            }
        }
        Ok((listed, all_seen))
    }

    /// Tries a rule on events; nothing is stored or recorded.
    /// # Errors
    /// [`Error::Invalid`] naming what is wrong with the rule.
    pub fn test_rule(&self, rule: &Value, events: &[Value]) -> Result<Vec<RuleTrial>> {
        let rule = Rule::from_value(rule, world::now()).map_err(|error| Error::invalid("rule", error))?;
        let (set, problems) = RuleSet::compile([Rule { enabled: true, ..rule }]);
        if let Some(problem) = problems.first() {
            return Err(Error::invalid("rule", &problem.message));
        }
        let trial = |(event, data): (usize, &Value)| {
            let mut matches = set.evaluate(data, &Limits::DEFAULT).matches;
            let matched = matches.pop();
            RuleTrial {
                event,
                matched: matched.is_some(),
                evidence: matched.map(|m| m.evidence).unwrap_or_default(),
            }
        };
        Ok(events.iter().enumerate().map(trial).collect())
    }
}

/// The most listed indicators of one event that are reported.
const MAX_LISTED: usize = 256;
/// The most indicators of one event that are looked up because the index knows them; those beyond [`MAX_LISTED`] have
/// expired.
const MAX_LOOKED_UP: usize = 10_000;
/// Indicators looked for in the index at a time.
const PROBES: usize = 4096;
/// What each text counts besides its bytes.
const PER_TEXT: usize = 16;
const TOO_LARGE: &str = "The event is too large to be looked at whole; examine it by hand or bound its size.";

/// The texts of an event, within the budget of [`Limits::DEFAULT`].
#[derive(Default)]
struct Texts<'a> {
    found: Vec<&'a str>,
    bytes: usize,
    is_cut: bool,
}

impl<'a> Texts<'a> {
    fn collect(&mut self, data: &'a Value, depth: usize) {
        match data {
            Value::String(text) => {
                self.bytes = self.bytes.saturating_add(text.len() + PER_TEXT);
                match self.bytes <= Limits::DEFAULT.max_bytes {
                    true => self.found.push(text),
                    false => self.is_cut = true,
                }
            }
            Value::Array(_) | Value::Object(_) if depth > Limits::DEFAULT.max_depth => self.is_cut = true,
            Value::Array(items) => items.iter().for_each(|item| self.collect(item, depth + 1)),
            Value::Object(map) => map.values().for_each(|item| self.collect(item, depth + 1)),
            _ => {}
        }
    }
}

fn rule_view(rule: &Rule, file: &str) -> Value {
    json!({
        "id": rule.id,
        "name": rule.name,
        "description": rule.description,
        "detection": rule.detection.as_json(),
        "severity": rule.severity,
        "score": rule.severity.score(),
        "tags": rule.tags,
        "recommendations": rule.recommendations,
        "enabled": rule.enabled,
        "created_at": rule.created_at,
        "file": file,
    })
}

pub(crate) fn alert_view(alert: &Alert) -> Result<Value> {
    let mut view = serde_json::to_value(alert)
        .map_err(|error| StoreFault::new("store-damaged", format!("an alert cannot be shown: {error}")))?;
    view["timestamp"] = view["at"].clone();
    Ok(view)
}
