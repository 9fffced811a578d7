//! Any number of warninglists, compiled: each entry once, and what a value meets found without looking at the lists.

use std::{
    borrow::{Borrow, Cow},
    fmt,
    hash::BuildHasher,
};

use aho_corasick::AhoCorasick;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use ipnet::IpNet;
use regex::RegexSet;
use security_indicators::{Indicator, IocType, TypeSet, special_use};

use super::{Warning, WarningKind, WarningList, WarningListInfo, networks::Networks, pattern, refused};
use crate::IntelError;

/// What a list's expressions may take when they are compiled.
const LARGEST_PATTERNS: usize = 16 << 20;
/// The name of what is built in.
const SPECIAL_USE: &str = "special-use";

/// Warninglists, ready to be asked whether a value is on one.
///
/// A check costs a look-up for the value, one for each parent domain, a search among the networks, and one pass over the
/// value for all substrings and one for all expressions, where a list of that kind speaks of the value's kind.
pub struct WarningLists {
    lists: Vec<WarningListInfo>,
    types: Vec<Option<TypeSet>>,
    /// By kind of indicator, the kinds of lists that speak of it, a bit for each.
    speaking: Vec<u8>,
    /// The entries that are kept as text, one after another, and where each ends.
    texts: String,
    ends: Vec<u32>,
    list_of: Vec<u16>,
    hasher: RandomState,
    exact: HashTable<u32>,
    hosts: HashTable<u32>,
    v4: Networks<u32>,
    v6: Networks<u128>,
    substrings: Option<AhoCorasick>,
    /// The entry of each substring and of each expression.
    substring_entries: Vec<u32>,
    expressions: RegexSet,
    expression_entries: Vec<u32>,
}

impl Default for WarningLists {
    fn default() -> Self {
        Self {
            lists: Vec::new(),
            types: Vec::new(),
            speaking: vec![0; IocType::ALL.len()],
            texts: String::new(),
            ends: Vec::new(),
            list_of: Vec::new(),
            hasher: RandomState::default(),
            exact: HashTable::new(),
            hosts: HashTable::new(),
            v4: Networks::new(Vec::new()),
            v6: Networks::new(Vec::new()),
            substrings: None,
            substring_entries: Vec::new(),
            expressions: RegexSet::empty(),
            expression_entries: Vec::new(),
        }
    }
}

impl WarningLists {
    /// Compiles lists; their order is that of the warnings. Each may be made when it is asked for and is dropped when its
    /// entries are taken over, so that not all of them have to be in memory beside what becomes of them.
    /// # Errors
    /// [`IntelError::Warninglist`] for an entry that is none of its list's type, and for expressions that cannot be
    /// compiled; [`IntelError::TooLarge`] for more than 65,535 lists or four GiB of entries.
    pub fn compile<L: Borrow<WarningList>>(lists: impl IntoIterator<Item = L>) -> Result<Self, IntelError> {
        let mut all = Self::default();
        let (mut v4, mut v6, mut substrings, mut expressions) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for list in lists {
            let list = list.borrow();
            let number = u16::try_from(all.lists.len()).ok().filter(|number| *number < u16::MAX);
            let number = number.ok_or(too_large("the number of warninglists", usize::from(u16::MAX)))?;
            let name = &list.info.name;
            for entry in &list.entries {
                match list.info.kind {
                    WarningKind::String => all.add_exact(entry, number)?,
                    WarningKind::Hostname => all.add_host(entry, number)?,
                    WarningKind::Cidr => match network(entry) {
                        Some(IpNet::V4(net)) => v4.push((net.network().to_bits(), net.prefix_len(), number)),
                        Some(IpNet::V6(net)) => v6.push((net.network().to_bits(), net.prefix_len(), number)),
                        None => return Err(refused(name, &format!("`{entry}` is no network"))),
                    },
                    WarningKind::Substring => {
                        let text = all.add_text(entry, number)?;
                        all.substring_entries.push(text);
                        substrings.push(entry.clone());
                    }
                    WarningKind::Regex => {
                        let expression = pattern::translated(entry).map_err(|error| refused(name, &error))?;
                        regex::Regex::new(&expression).map_err(|error| {
                            refused(name, &format!("`{entry}` is no expression: {}", last_line(&error)))
                        })?;
                        let text = all.add_text(entry, number)?;
                        all.expression_entries.push(text);
                        expressions.push(expression);
                    }
                }
            }
            let types = list.info.types();
            for kind in IocType::ALL.iter().filter(|kind| types.is_none_or(|types| types.contains(**kind))) {
                all.speaking[*kind as usize] |= 1 << list.info.kind as u8;
            }
            all.types.push(types);
            all.lists.push(list.info.clone());
        }
        (all.v4, all.v6) = (Networks::new(v4), Networks::new(v6));
        if !substrings.is_empty() {
            let automaton = AhoCorasick::builder().ascii_case_insensitive(true).build(&substrings);
            all.substrings = Some(automaton.map_err(|error| refused("the substrings", &error))?);
        }
        let set = regex::RegexSetBuilder::new(&expressions).size_limit(LARGEST_PATTERNS).build();
        all.expressions = set.map_err(|error| refused("the expressions together", &last_line(&error)))?;
        for (values, hasher) in [(&mut all.exact, &all.hasher), (&mut all.hosts, &all.hasher)] {
            values.shrink_to_fit(|entry| hasher.hash_one(text_of(&all.texts, &all.ends, *entry)));
        }
        all.texts.shrink_to_fit();
        all.ends.shrink_to_fit();
        all.list_of.shrink_to_fit();
        Ok(all)
    }

    fn add_text(&mut self, text: &str, list: u16) -> Result<u32, IntelError> {
        const MOST: usize = u32::MAX as usize;
        let entry = u32::try_from(self.ends.len()).map_err(|_| too_large("the warninglists", MOST))?;
        let end =
            u32::try_from(self.texts.len() + text.len()).map_err(|_| too_large("the warninglists", MOST))?;
        self.texts.push_str(text);
        self.ends.push(end);
        self.list_of.push(list);
        Ok(entry)
    }

    fn add_exact(&mut self, entry: &str, list: u16) -> Result<(), IntelError> {
        // In the form that checked values have; what is no indicator is compared in lower case.
        let entry = entry.trim();
        let key = match Indicator::identify(entry) {
            Some(indicator) => Cow::Owned(indicator.value().to_owned()),
            None => lower(entry),
        };
        let entry = self.add_text(&key, list)?;
        let (hasher, texts, ends) = (&self.hasher, &self.texts, &self.ends);
        self.exact.insert_unique(hasher.hash_one(&*key), entry, |entry| {
            hasher.hash_one(text_of(texts, ends, *entry))
        });
        Ok(())
    }

    fn add_host(&mut self, entry: &str, list: u16) -> Result<(), IntelError> {
        // `.example.com` and `example.com` both stand for the name and what is below it.
        let entry = entry.trim().trim_start_matches("*.").trim_start_matches('.');
        let key = match Indicator::parse(IocType::Domain, entry) {
            Ok(domain) => Cow::Owned(domain.value().to_owned()),
            Err(_) => lower(entry),
        };
        let entry = self.add_text(&key, list)?;
        let (hasher, texts, ends) = (&self.hasher, &self.texts, &self.ends);
        self.hosts.insert_unique(hasher.hash_one(&*key), entry, |entry| {
            hasher.hash_one(text_of(texts, ends, *entry))
        });
        Ok(())
    }

    /// The lists.
    pub fn lists(&self) -> &[WarningListInfo] {
        &self.lists
    }

    /// The entries that a value meets: of each list the nearest one, in the order of the lists, and of special use
    /// first.
    pub fn check(&self, checked: &Indicator) -> Vec<Warning<'_>> {
        let mut met: Vec<(u16, Warning<'_>)> = Vec::new();
        let kind = checked.kind();
        if self.speaks(WarningKind::String, kind) {
            self.exactly(checked.value(), kind, &mut met);
            if checked.value().bytes().any(|byte| byte.is_ascii_uppercase()) {
                self.exactly(&checked.value().to_ascii_lowercase(), kind, &mut met);
            }
        }
        // The last label of a name is no number, and no name has a colon.
        let is_name = |host: &&str| {
            !host.contains(':') && !host.bytes().next_back().is_some_and(|last| last.is_ascii_digit())
        };
        match checked.host() {
            Some(host) if is_name(&host) || network(host).is_none() => {
                if self.speaks(WarningKind::Hostname, kind) {
                    self.at_host(host, kind, &mut met);
                }
            }
            _ if !self.speaks(WarningKind::Cidr, kind) => {}
            host => {
                if let Some(network) = checked.network().or_else(|| network(host?)) {
                    self.around(network, kind, &mut met);
                }
            }
        }
        self.inside(checked, &mut met);
        // Only a few are met, and mostly none.
        met.sort_by_key(|(list, _)| *list);
        met.dedup_by_key(|(list, _)| *list);
        let special = special_use(checked).map(|name| Warning {
            list: SPECIAL_USE,
            match_type: SPECIAL_USE,
            entry: Cow::Borrowed(name),
        });
        special.into_iter().chain(met.into_iter().map(|(_, warning)| warning)).collect()
    }

    /// Bytes in memory, the compiled expressions aside.
    pub fn bytes(&self) -> usize {
        let tables = (self.exact.capacity() + self.hosts.capacity()) * (size_of::<u32>() + 1) * 8 / 7;
        let entries = self.ends.capacity() * size_of::<u32>() + self.list_of.capacity() * size_of::<u16>();
        let substrings = self.substrings.as_ref().map_or(0, AhoCorasick::memory_usage);
        self.texts.capacity() + tables + entries + substrings + self.v4.bytes() + self.v6.bytes()
    }

    fn text(&self, entry: u32) -> &str {
        text_of(&self.texts, &self.ends, entry)
    }

    fn applies(&self, list: u16, kind: IocType) -> bool {
        self.types.get(usize::from(list)).is_some_and(|types| types.is_none_or(|types| types.contains(kind)))
    }

    /// Whether any list of a kind speaks of a kind of indicator: where none does, nothing is looked for.
    fn speaks(&self, wanted: WarningKind, kind: IocType) -> bool {
        self.speaking[kind as usize] >> wanted as u8 & 1 == 1
    }

    fn push<'l>(&'l self, list: u16, kind: IocType, entry: Cow<'l, str>, met: &mut Vec<(u16, Warning<'l>)>) {
        if let Some(info) = self.lists.get(usize::from(list)).filter(|_| self.applies(list, kind)) {
            met.push((list, Warning { list: &info.name, match_type: info.kind.as_str(), entry }));
        }
    }

    /// Every entry of a table that is a text.
    fn each_in(&self, table: &HashTable<u32>, text: &str, mut each: impl FnMut(u16, u32)) {
        let hash = self.hasher.hash_one(text);
        for entry in table.iter_hash(hash).filter(|entry| self.text(**entry) == text) {
            each(self.list_of[*entry as usize], *entry);
        }
    }

    fn exactly<'l>(&'l self, value: &str, kind: IocType, met: &mut Vec<(u16, Warning<'l>)>) {
        self.each_in(&self.exact, value, |list, entry| self.push(list, kind, self.text(entry).into(), met));
    }

    fn at_host<'l>(&'l self, host: &str, kind: IocType, met: &mut Vec<(u16, Warning<'l>)>) {
        let mut rest = Some(host);
        while let Some(name) = rest.filter(|_| !self.hosts.is_empty()) {
            self.each_in(&self.hosts, name, |list, entry| {
                self.push(list, kind, self.text(entry).into(), met);
            });
            rest = name.split_once('.').map(|(_, parent)| parent);
        }
    }

    fn around<'l>(&'l self, network: IpNet, kind: IocType, met: &mut Vec<(u16, Warning<'l>)>) {
        let mut add = |list, outer: Result<IpNet, _>| {
            if let Ok(outer) = outer {
                self.push(list, kind, outer.trunc().to_string().into(), met);
            }
        };
        match network {
            IpNet::V4(net) => self.v4.around(net.network().to_bits(), net.prefix_len(), |list, length| {
                add(list, IpNet::new(net.network().into(), length));
            }),
            IpNet::V6(net) => self.v6.around(net.network().to_bits(), net.prefix_len(), |list, length| {
                add(list, IpNet::new(net.network().into(), length));
            }),
        }
    }

    /// Substrings and expressions. Where no list of that kind speaks of the value's kind, the value is not read.
    fn inside<'l>(&'l self, checked: &Indicator, met: &mut Vec<(u16, Warning<'l>)>) {
        let kind = checked.kind();
        if let Some(automaton) =
            self.substrings.as_ref().filter(|_| self.speaks(WarningKind::Substring, kind))
        {
            let lists = self.lists.iter().filter(|info| info.kind == WarningKind::Substring).count();
            let mut known: Vec<u16> = Vec::new();
            for found in automaton.find_overlapping_iter(checked.value()) {
                let entry = self.substring_entries[found.pattern().as_usize()];
                let list = self.list_of[entry as usize];
                if !known.contains(&list) {
                    known.push(list);
                    self.push(list, kind, self.text(entry).into(), met);
                    if known.len() == lists {
                        break;
                    }
                }
            }
        }
        if self.speaks(WarningKind::Regex, kind) {
            for number in self.expressions.matches(checked.value()) {
                let entry = self.expression_entries[number];
                self.push(self.list_of[entry as usize], kind, self.text(entry).into(), met);
            }
        }
    }
}

impl fmt::Debug for WarningLists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lists, entries) = (self.lists.len(), self.ends.len());
        f.debug_struct("WarningLists").field("lists", &lists).field("texts", &entries).finish_non_exhaustive()
    }
}

fn text_of<'t>(texts: &'t str, ends: &[u32], entry: u32) -> &'t str {
    let at = entry as usize;
    let start = at.checked_sub(1).map_or(0, |before| ends[before] as usize);
    &texts[start..ends[at] as usize]
}

/// A network, or an address as the network of itself.
fn network(text: &str) -> Option<IpNet> {
    let kind = if text.contains('/') { IocType::Cidr } else { IocType::Ip };
    Indicator::parse(kind, text).ok()?.network()
}

fn lower(text: &str) -> Cow<'_, str> {
    match text.chars().any(char::is_uppercase) {
        true => text.to_lowercase().into(),
        false => text.into(),
    }
}

fn too_large(what: &'static str, most: usize) -> IntelError {
    IntelError::TooLarge { what, size: most.saturating_add(1), most }
}

/// The line of a message that says what is wrong, without the drawing above it.
fn last_line(error: &regex::Error) -> String {
    error.to_string().lines().last().unwrap_or_default().trim().to_owned()
}
