//! Many values against the list at once.

use std::{collections::HashMap, num::NonZero};

use security_indicators::{Checked, Hits, IocType};
use security_intel::{IndicatorStore as _, Row};

use super::{IocCheck, ListedIoc, indicator};
use crate::{Engine, Result};

/// Values looked up while the index is held: it is not kept from following the store for long.
const TOGETHER: usize = 4096;
/// Values that are worth a thread of their own.
const WORTH_A_THREAD: usize = 16_384;

/// A value that is listed, among many.
#[derive(Debug, Clone, PartialEq)]
pub struct Met {
    /// Its place among the values, from 0.
    pub index: usize,
    /// What is known of it; matched in any case.
    pub check: IocCheck,
}

impl Engine {
    /// [`Engine::check_ioc`] for many values of one type, in their order.
    /// # Errors
    /// As [`Engine::check_ioc`], for the first value that is none.
    pub fn check_iocs<V: AsRef<str> + Sync>(&self, ioc_type: &str, values: &[V]) -> Result<Vec<IocCheck>> {
        let mut met = self.matched_iocs(ioc_type, values)?.into_iter().peekable();
        let checks =
            values.iter().enumerate().map(|(index, value)| match met.next_if(|met| met.index == index) {
                Some(met) => Ok(met.check),
                None => Ok(IocCheck::of(&indicator(ioc_type, value.as_ref())?, Vec::new())),
            });
        checks.collect()
    }

    /// Those of many values of one type that are listed, in their order. What is not listed costs a look-up and
    /// nothing more; tens of thousands of values are looked up on all cores.
    /// # Errors
    /// As [`Engine::check_ioc`], for the first value that is none.
    pub fn matched_iocs<V: AsRef<str> + Sync>(&self, ioc_type: &str, values: &[V]) -> Result<Vec<Met>> {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = cores.min(values.len() / WORTH_A_THREAD).max(1);
        if threads == 1 {
            return self.met(ioc_type, values);
        }
        let portion = values.len().div_ceil(threads);
        let looked = std::thread::scope(|scope| {
            let started: Vec<_> =
                values.chunks(portion).map(|some| scope.spawn(move || self.met(ioc_type, some))).collect();
            let ended = started.into_iter().map(|thread| match thread.join() {
                Ok(met) => met,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            ended.collect::<Vec<_>>()
        });
        let mut all = Vec::new();
        for (number, met) in looked.into_iter().enumerate() {
            all.extend(met?.into_iter().map(|met| Met { index: number * portion + met.index, ..met }));
        }
        Ok(all)
    }

    fn met<V: AsRef<str>>(&self, ioc_type: &str, values: &[V]) -> Result<Vec<Met>> {
        let kind = ioc_type.parse::<IocType>().ok();
        let mut met = Vec::new();
        let mut some: Vec<Checked<'_>> = Vec::with_capacity(values.len().min(TOGETHER));
        for (number, values) in values.chunks(TOGETHER).enumerate() {
            some.clear();
            for value in values {
                // The type's name is read once; what is wrong with it or with a value is said by the one parser.
                let value = value.as_ref();
                some.push(match kind.and_then(|kind| Checked::parse(kind, value).ok()) {
                    Some(checked) => checked,
                    None => indicator(ioc_type, value)?.into(),
                });
            }
            let hits = self.with_index(|index| {
                let mut hits = Vec::new();
                index.matches_each(&some, |at, found| hits.push((at, found)))?;
                Ok(hits)
            })?;
            let rows = hits.iter().flat_map(|(_, hits): &(usize, Hits)| hits.iter().map(|hit| hit.row));
            let listed = self.listed_at(rows.collect())?;
            for (at, hits) in hits {
                let indicator = some[at].to_indicator();
                let found = hits.into_iter().filter_map(|hit| {
                    let listed =
                        listed.get(&hit.row).filter(|one| hit.is_true(&indicator, one.indicator()))?;
                    Some((listed.clone(), hit.match_type))
                });
                let check = IocCheck::of(&indicator, found.collect());
                if check.matched {
                    met.push(Met { index: number * TOGETHER + at, check });
                }
            }
        }
        Ok(met)
    }

    /// The records in these rows, those that are kept and those that the store has. They are read in the order of their
    /// rows, all from one state, and not kept: there may be very many.
    fn listed_at(&self, mut rows: Vec<Row>) -> Result<HashMap<Row, ListedIoc>> {
        rows.sort_unstable();
        rows.dedup();
        let mut listed = HashMap::with_capacity(rows.len());
        rows.retain(|row| match self.indicators.records.find(*row) {
            Ok(kept) => {
                listed.insert(*row, kept);
                false
            }
            Err(_) => true,
        });
        if !rows.is_empty() {
            let read = self.files.store.indicators_at(&rows)?;
            listed.extend(read.into_iter().filter_map(|(row, record)| Some((row, ListedIoc::new(record)?))));
        }
        Ok(listed)
    }
}
