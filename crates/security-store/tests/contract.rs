//! What every store must do, whatever it is made of. One suite, run for each backend by [`contract!`].
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod records;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use records::{alert, at, ban, credential, indicator, intel, issued, line, secret, word};
use security_core::{ChangeSignal, Domain, Revision, Severity, StoreFault};
use security_credentials::{CredentialKind, CredentialStore, SecretName, SecretStore};
use security_indicators::IocType;
use security_intel::{
    IndicatorStore, IntelFilter, IntelRecord, IntelStore, IocFilter, SourceRemoval, Upserted,
};
use security_threat::AlertStore;
use security_web::BanStore;

/// All the ports at once.
trait Store: CredentialStore + SecretStore + IndicatorStore + IntelStore + AlertStore + BanStore {}
impl<S: CredentialStore + SecretStore + IndicatorStore + IntelStore + AlertStore + BanStore> Store for S {}

/// One set of data and the way to open it again, as another process would.
trait Backend {
    fn fresh() -> Self;
    fn open(&self, signal: Arc<dyn ChangeSignal>) -> Arc<dyn Store>;
}

/// Remembers what it was told.
#[derive(Default)]
struct Told(Mutex<Vec<(Domain, &'static str)>>);

impl Told {
    fn take(&self) -> Vec<(Domain, &'static str)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl ChangeSignal for Told {
    fn begin(&self, domain: Domain) {
        self.0.lock().unwrap().push((domain, "begin"));
    }

    fn finish(&self, domain: Domain) {
        self.0.lock().unwrap().push((domain, "finish"));
    }
}

fn opened<B: Backend>() -> (B, Arc<dyn Store>) {
    let backend = B::fresh();
    let store = backend.open(Arc::new(Told::default()));
    (backend, store)
}

fn values(records: &[security_intel::IocRecord]) -> Vec<&str> {
    records.iter().map(|record| record.value.as_str()).collect()
}

fn name(text: &str) -> SecretName {
    text.parse().unwrap()
}

/// Makes `key` the first master key.
fn begin_with(store: &dyn Store, key: &str) {
    assert_eq!(store.first_master_key(&mut || Ok(key.to_owned())).unwrap(), key);
}

/// Names and versions of what is stored.
fn versions(store: &dyn Store, of: Option<&str>) -> Vec<(String, u64)> {
    let entries = store.secret_entries(of.map(name).as_ref()).unwrap();
    entries.into_iter().map(|entry| (entry.name.to_string(), entry.version)).collect()
}

mod suite {
    use super::*;

    pub(super) fn credentials_are_kept_with_their_history<B: Backend>() {
        let (backend, store) = opened::<B>();
        assert_eq!(store.credential(CredentialKind::ApiKey).unwrap(), None);
        assert_eq!(store.credential_revision().unwrap(), Revision(0));
        let first = credential(CredentialKind::ApiKey, 1);
        store.save_credential(&first, &line("API_KEY", 1)).unwrap();
        let key = issued("k1", 1);
        store.save_issued_key(&key, &line("k1", 2)).unwrap();
        let second = credential(CredentialKind::ApiKey, 2);
        store.save_credential(&second, &line("API_KEY", 3)).unwrap();
        for store in [store, backend.open(Arc::new(Told::default()))] {
            assert_eq!(store.credential(CredentialKind::ApiKey).unwrap(), Some(second.clone()));
            assert_eq!(store.issued_key("k1").unwrap(), Some(key.clone()));
            assert_eq!(store.issued_key("K1").unwrap(), None);
            let all = [line("API_KEY", 3), line("k1", 2), line("API_KEY", 1)];
            assert_eq!(store.credential_history(None, 10).unwrap(), all);
            assert_eq!(store.credential_history(None, 2).unwrap(), all[..2]);
            assert_eq!(store.credential_history(None, 0).unwrap(), []);
            assert_eq!(store.credential_history(Some("k1"), usize::MAX).unwrap(), [line("k1", 2)]);
        }
    }

    pub(super) fn a_change_on_top_of_another_version_is_a_conflict<B: Backend>() {
        let (_backend, store) = opened::<B>();
        let save = |version| {
            let record = credential(CredentialKind::DbPassword, version);
            store.save_credential(&record, &line("DB_PASSWORD", version))
        };
        for wrong in [0, 2, u64::MAX] {
            assert!(save(wrong).unwrap_err().is_conflict(), "{wrong}");
        }
        save(1).unwrap();
        for wrong in [0, 1, 3] {
            assert!(save(wrong).unwrap_err().is_conflict(), "{wrong}");
        }
        save(2).unwrap();
        store.save_issued_key(&issued("k", 1), &line("k", 1)).unwrap();
        assert!(store.save_issued_key(&issued("k", 1), &line("k", 2)).unwrap_err().is_conflict());
        // A refused change leaves nothing, no history and no revision either.
        assert_eq!(store.credential_history(None, 10).unwrap().len(), 3);
        assert_eq!(store.credential_revision().unwrap(), Revision(3));
    }

    pub(super) fn of_many_who_change_one_thing_one_wins<B: Backend>() {
        let (backend, store) = opened::<B>();
        let won: usize = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..8)
                .map(|number| {
                    let store = backend.open(Arc::new(Told::default()));
                    scope.spawn(move || {
                        let saved = store.save_issued_key(&issued("k", 1), &line("k", number));
                        usize::from(saved.is_ok())
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).sum()
        });
        assert_eq!((won, store.credential_history(None, 100).unwrap().len()), (1, 1));
    }

    pub(super) fn credential_changes_are_everything_since<B: Backend>() {
        let (_backend, store) = opened::<B>();
        store.save_credential(&credential(CredentialKind::ApiKey, 1), &line("API_KEY", 1)).unwrap();
        store.save_issued_key(&issued("a", 1), &line("a", 2)).unwrap();
        store.save_issued_key(&issued("b", 1), &line("b", 3)).unwrap();
        let all = store.credential_changes(Revision(0)).unwrap();
        assert_eq!((all.records.len(), all.keys.len()), (1, 2));
        assert_eq!(all.revision, store.credential_revision().unwrap());
        store.save_issued_key(&issued("a", 2), &line("a", 4)).unwrap();
        let next = store.credential_changes(all.revision).unwrap();
        assert_eq!((next.records, next.keys), (vec![], vec![issued("a", 2)]));
        assert!(next.revision > all.revision);
        let none = store.credential_changes(next.revision).unwrap();
        assert_eq!((none.revision, none.keys.len()), (next.revision, 0));
    }

    pub(super) fn secrets_are_kept_by_version_with_their_history<B: Backend>() {
        let (backend, store) = opened::<B>();
        assert_eq!(store.master_keys().unwrap(), [] as [&str; 0]);
        let early = store.add_secret(&secret("mail/smtp", 1, "k1"), &line("secret:mail/smtp", 1));
        assert!(early.unwrap_err().is_conflict(), "a key must be in force");
        begin_with(&*store, "k1");
        for (of, version) in [("mail/smtp", 1), ("db", 1), ("mail/smtp", 2)] {
            store.add_secret(&secret(of, version, "k1"), &line("secret", version)).unwrap();
        }
        for store in [store, backend.open(Arc::new(Told::default()))] {
            let read = |version| store.secret(&name("mail/smtp"), version).unwrap();
            assert_eq!(read(None), Some(secret("mail/smtp", 2, "k1")));
            assert_eq!(read(Some(1)), Some(secret("mail/smtp", 1, "k1")));
            assert_eq!((read(Some(0)), read(Some(3)), read(Some(u64::MAX))), (None, None, None));
            assert_eq!(store.secret(&name("MAIL/smtp"), None).unwrap(), None);
            let all = [("db".to_owned(), 1), ("mail/smtp".to_owned(), 1), ("mail/smtp".to_owned(), 2)];
            assert_eq!(
                (versions(&*store, None), versions(&*store, Some("db"))),
                (all.to_vec(), all[..1].to_vec())
            );
            assert_eq!(store.newest_version(&name("mail/smtp")).unwrap(), 2);
            assert_eq!(store.newest_version(&name("nothing")).unwrap(), 0);
            assert_eq!(store.credential_history(Some("secret"), 10).unwrap().len(), 3);
            assert_eq!(store.master_keys().unwrap(), ["k1"]);
        }
    }

    pub(super) fn of_many_who_store_one_version_one_wins<B: Backend>() {
        let (backend, store) = opened::<B>();
        begin_with(&*store, "k1");
        let won: usize = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..8)
                .map(|number| {
                    let store = backend.open(Arc::new(Told::default()));
                    scope.spawn(move || {
                        let stored = store.add_secret(&secret("one", 1, "k1"), &line("secret", number));
                        usize::from(stored.map_err(|fault| assert!(fault.is_conflict(), "{fault}")).is_ok())
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).sum()
        });
        assert_eq!((won, store.credential_history(None, 100).unwrap().len()), (1, 1));
        for wrong in [0, 1, 3, u64::MAX - 1] {
            assert!(
                store.add_secret(&secret("one", wrong, "k1"), &line("secret", 9)).unwrap_err().is_conflict()
            );
        }
    }

    pub(super) fn of_many_who_make_the_first_master_key_one_does<B: Backend>() {
        let (backend, store) = opened::<B>();
        let made = Mutex::new(0);
        let ids: BTreeSet<String> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..8)
                .map(|number| {
                    let (store, made) = (backend.open(Arc::new(Told::default())), &made);
                    scope.spawn(move || {
                        let mut make = || {
                            *made.lock().unwrap() += 1;
                            Ok(format!("k{number}"))
                        };
                        store.first_master_key(&mut make).unwrap()
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        assert_eq!((ids.len(), *made.lock().unwrap()), (1, 1));
        assert_eq!(store.master_keys().unwrap(), ids.into_iter().collect::<Vec<_>>());
        let refused = || Err(StoreFault::new("store-io", "no room"));
        let (_other, fresh) = opened::<B>();
        assert!(fresh.first_master_key(&mut || refused()).is_err());
        assert_eq!(fresh.master_keys().unwrap(), [] as [&str; 0]);
    }

    pub(super) fn a_deleted_secret_comes_back_and_a_destroyed_one_does_not<B: Backend>() {
        let (_backend, store) = opened::<B>();
        begin_with(&*store, "k1");
        for version in 1..=3 {
            store.add_secret(&secret("one", version, "k1"), &line("secret", version)).unwrap();
        }
        let change = |version, change: &mut dyn FnMut(&mut security_credentials::VersionFacts) -> bool| {
            store.change_secret(&name("one"), version, change, &line("secret", 9)).unwrap()
        };
        assert_eq!(change(Some(2), &mut |facts| facts.delete(at(5))), 1);
        let two = store.secret(&name("one"), Some(2)).unwrap().unwrap();
        assert_eq!((two.facts.deleted_at, two.envelope.is_some()), (Some(at(5)), true));
        assert_eq!(change(None, &mut |facts| facts.delete(at(6))), 2);
        assert_eq!(change(None, &mut |facts| facts.delete(at(7))), 0);
        assert_eq!(change(None, &mut |facts| facts.restore()), 3);
        assert_eq!(store.secret(&name("one"), Some(2)).unwrap(), Some(secret("one", 2, "k1")));
        assert_eq!(change(Some(3), &mut |facts| facts.destroy(at(8))), 1);
        assert_eq!(change(Some(3), &mut |facts| facts.restore()), 0);
        let three = store.secret(&name("one"), None).unwrap().unwrap();
        assert_eq!((three.version, three.facts.destroyed_at, three.envelope), (3, Some(at(8)), None));
        assert_eq!(store.newest_version(&name("one")).unwrap(), 3, "a number is never used twice");
        assert!(store.add_secret(&secret("one", 3, "k1"), &line("secret", 9)).unwrap_err().is_conflict());
        assert_eq!((change(Some(9), &mut |_| true), store.secret_entries(None).unwrap().len()), (0, 3));
        // A change that changed nothing has no line.
        assert_eq!(store.credential_history(None, 100).unwrap().len(), 3 + 4);
        let other = store.change_secret(&name("two"), None, &mut |_| true, &line("secret", 9));
        assert_eq!(other.unwrap(), 0);
    }

    pub(super) fn a_master_key_is_replaced_step_by_step<B: Backend>() {
        let (backend, store) = opened::<B>();
        begin_with(&*store, "k1");
        for number in 0..10 {
            store.add_secret(&secret(&format!("s{number}"), 1, "k1"), &line("secret", number)).unwrap();
        }
        store
            .change_secret(&name("s9"), None, &mut |facts| facts.destroy(at(1)), &line("secret", 9))
            .unwrap();
        let put =
            |from: &str, to: &str| store.change_master_key(from, to, &mut || Ok(()), &line("master_key", 1));
        assert!(put("k0", "k2").unwrap_err().is_conflict());
        let unprepared = store.change_master_key(
            "k1",
            "k2",
            &mut || Err(StoreFault::new("store-full", "no room")),
            &line("master_key", 1),
        );
        assert!(unprepared.is_err() && store.master_keys().unwrap() == ["k1"]);
        put("k1", "k2").unwrap();
        assert!(put("k1", "k3").unwrap_err().is_conflict(), "of two rotations one wins");
        assert_eq!(store.master_keys().unwrap(), ["k2", "k1"]);
        // What is stored from now on is under the new one, and everything can be read at every moment.
        let old = store.add_secret(&secret("late", 1, "k1"), &line("secret", 11));
        assert!(old.unwrap_err().is_conflict());
        store.add_secret(&secret("late", 1, "k2"), &line("secret", 11)).unwrap();
        let mut rewrap = |of: &SecretName, version: u64, wrapped: &[u8]| {
            let there = secret(of.as_str(), version, "k1").envelope.unwrap();
            assert_eq!(wrapped, there.wrapped_key);
            (of.as_str() != "s3").then(|| secret(of.as_str(), version, "k2").envelope.unwrap().wrapped_key)
        };
        let (mut after, mut done, mut refused, mut steps) = (None, 0, Vec::new(), 0);
        loop {
            let step = store.rewrap_secrets("k1", "k2", after.as_ref(), 4, &mut rewrap).unwrap();
            (done, steps) = (done + step.done, steps + 1);
            refused.extend(step.refused);
            for of in store.secret_entries(None).unwrap() {
                let read = store.secret(&of.name, None).unwrap().unwrap();
                let Some(envelope) = read.envelope else { continue };
                assert_eq!(secret(of.name.as_str(), 1, &envelope.master_key).envelope, Some(envelope));
            }
            assert_eq!(store.retire_master_keys(&mut |_| panic!("s3 needs it")).unwrap(), [] as [&str; 0]);
            after = step.last;
            if after.is_none() {
                break;
            }
        }
        assert_eq!((done, steps, refused), (8, 3, vec![(name("s3"), 1)]));
        let later = store.rewrap_secrets("k1", "k1", None, 4, &mut |_, _, _| None);
        assert!(later.unwrap_err().is_conflict(), "only to the key in force");
        let last = store.rewrap_secrets("k1", "k2", None, 4, &mut |_, _, _| Some(b"k2".to_vec())).unwrap();
        assert_eq!((last.done, last.last), (1, None));
        let kept = store.retire_master_keys(&mut |_| Err(StoreFault::new("store-io", "not removed")));
        assert!(kept.is_err() && store.master_keys().unwrap() == ["k2", "k1"]);
        let mut removed = Vec::new();
        let mut remove = |id: &str| {
            removed.push(id.to_owned());
            Ok(())
        };
        assert_eq!(store.retire_master_keys(&mut remove).unwrap(), ["k1"]);
        assert_eq!((removed, store.master_keys().unwrap()), (vec!["k1".to_owned()], vec!["k2".to_owned()]));
        // A key that was in force once may be so again, also while others still lead away from it.
        put("k2", "k1").unwrap();
        put("k1", "k2").unwrap();
        assert_eq!(backend.open(Arc::new(Told::default())).master_keys().unwrap(), ["k2", "k1"]);
        put("k2", "k3").unwrap();
        assert_eq!(store.master_keys().unwrap(), ["k3", "k2", "k1"]);
    }

    pub(super) fn one_value_is_one_record<B: Backend>() {
        let (_backend, store) = opened::<B>();
        let mut again = word("ip", "192.0.2.1", "feed:one", 40);
        again.tags = vec!["c2".into()];
        again.seen_at = at(500);
        let words =
            [word("ip", "192.0.2.1", "internal", 80), again, word("domain", "evil.example", "internal", 50)];
        assert_eq!(store.upsert_indicators(&words).unwrap(), Upserted { added: 2, merged: 1 });
        assert_eq!(store.upsert_indicators(&words[..1]).unwrap(), Upserted { added: 0, merged: 1 });
        assert_eq!(store.upsert_indicators(&[]).unwrap(), Upserted::default());
        let record = store.indicator(&indicator("ip", "192.0.2.1")).unwrap().unwrap();
        let sources: Vec<_> = record.sources.iter().map(|known| known.source.as_str()).collect();
        assert_eq!(sources, ["internal", "feed:one"]);
        assert_eq!((record.confidence, record.sightings, record.last_seen), (80, 3, at(500)));
        assert_eq!(record.tags, ["c2"]);
        assert_eq!(store.indicator(&indicator("ip", "192.0.2.2")).unwrap(), None);
        assert_eq!(store.count_indicators().unwrap(), [(IocType::Ip, 1), (IocType::Domain, 1)]);
    }

    pub(super) fn a_source_takes_its_word_back<B: Backend>() {
        let (_backend, store) = opened::<B>();
        let mut words: Vec<_> =
            (0..25).map(|n| word("ip", &format!("192.0.2.{n}"), "feed:one", 90)).collect();
        words[7].tags = vec!["c2".into()];
        words[3].seen_at = at(500);
        store.upsert_indicators(&words).unwrap();
        store.upsert_indicators(&[word("ip", "192.0.2.3", "internal", 40)]).unwrap();
        let before = store.indicator_revision().unwrap();
        let mut removals = Vec::new();
        loop {
            match store.remove_source("feed:one", 10).unwrap() {
                none if none == SourceRemoval::default() => break,
                some => removals.push(some),
            }
        }
        assert_eq!(removals.len(), 3);
        let all = removals.iter().fold((0, 0), |all, one| (all.0 + one.removed, all.1 + one.kept));
        assert_eq!(all, (24, 1));
        assert_eq!(store.remove_source("nobody", 10).unwrap(), SourceRemoval::default());
        // The others' word stands, and so does the record's place in every list.
        let kept = store.indicator(&indicator("ip", "192.0.2.3")).unwrap().unwrap();
        assert_eq!((kept.sources.len(), kept.sources[0].source.as_str()), (1, "internal"));
        assert_eq!((kept.confidence, kept.last_seen, kept.first_seen), (40, at(0), at(0)));
        assert_eq!(store.count_indicators().unwrap(), [(IocType::Ip, 1)]);
        for (filter, expected) in [
            (IocFilter::default(), 1),
            (IocFilter { source: Some("feed:one".into()), ..IocFilter::default() }, 0),
            (IocFilter { source: Some("internal".into()), ..IocFilter::default() }, 1),
            (IocFilter { tag: Some("c2".into()), ..IocFilter::default() }, 0),
            (IocFilter { text: Some("feed:one".into()), ..IocFilter::default() }, 0),
            (IocFilter { text: Some("192.0.2.3".into()), ..IocFilter::default() }, 1),
            (IocFilter { text: Some("192.0.2.4".into()), ..IocFilter::default() }, 0),
        ] {
            assert_eq!(store.find_indicators(&filter, 10).unwrap().len(), expected, "{filter:?}");
        }
        let (_, changes) = store.indicator_changes(before, 100).unwrap();
        assert_eq!((changes.len(), changes.iter().all(|change| change.removed)), (24, true));
        // It may speak again.
        assert_eq!(store.upsert_indicators(&words[..1]).unwrap(), Upserted { added: 1, merged: 0 });
    }

    pub(super) fn the_feed_of_changes_leads_from_nothing_to_everything<B: Backend>() {
        let (_backend, store) = opened::<B>();
        let addresses: Vec<String> = (1..=25).map(|n| format!("192.0.2.{n}")).collect();
        let words: Vec<_> = addresses.iter().map(|value| word("ip", value, "internal", 50)).collect();
        store.upsert_indicators(&words).unwrap();
        assert!(store.remove_indicator(&indicator("ip", "192.0.2.7")).unwrap());
        assert!(!store.remove_indicator(&indicator("ip", "192.0.2.7")).unwrap());
        // In pages, as the index follows it.
        let (mut reached, mut known, mut pages) = (Revision(0), BTreeSet::new(), 0);
        loop {
            let (revision, changes) = store.indicator_changes(reached, 10).unwrap();
            if changes.is_empty() {
                assert_eq!(revision, store.indicator_revision().unwrap());
                break;
            }
            assert!(revision > reached && changes.len() <= 10);
            for change in changes {
                assert!(!change.removed || pages > 0, "from nothing, nothing is removed");
                match change.removed {
                    true => known.remove(&change.row),
                    false => known.insert(change.row),
                };
            }
            (reached, pages) = (revision, pages + 1);
        }
        let rows: Vec<_> = known.into_iter().collect();
        assert_eq!(rows.len(), 24);
        let backwards: Vec<_> = rows.iter().rev().copied().collect();
        let there = store.indicators_at(&backwards).unwrap();
        assert!(there.iter().map(|(row, _)| row).eq(&backwards));
        let mut forwards = store.indicators_at(&rows).unwrap();
        forwards.reverse();
        assert_eq!((there.len(), &there), (24, &forwards));
        // A removal and a return are told; a further word on what is known moves the revision only.
        let newest = store.indicator_revision().unwrap();
        store.upsert_indicators(&words[..1]).unwrap();
        let (after, changes) = store.indicator_changes(newest, 10).unwrap();
        assert_eq!((after > newest, changes.len()), (true, 0));
        store.remove_indicator(&indicator("ip", "192.0.2.1")).unwrap();
        let (gone, changes) = store.indicator_changes(after, 10).unwrap();
        assert_eq!((changes.len(), changes[0].removed), (1, true));
        assert_eq!(changes[0].indicator, indicator("ip", "192.0.2.1"));
        assert_eq!(store.indicators_at(&[changes[0].row]).unwrap(), []);
        assert_eq!(store.upsert_indicators(&words[..1]).unwrap(), Upserted { added: 1, merged: 0 });
        let (_, back) = store.indicator_changes(gone, 10).unwrap();
        assert_eq!((back.len(), back[0].removed, back[0].row), (1, false, changes[0].row));
        assert_eq!(store.indicator(&indicator("ip", "192.0.2.1")).unwrap().unwrap().sightings, 1);
        assert_eq!(store.count_indicators().unwrap(), [(IocType::Ip, 24)]);
    }

    pub(super) fn indicators_are_found_by_what_is_said_of_them<B: Backend>() {
        let (_backend, store) = opened::<B>();
        let mut first = word("domain", "login.evil.example", "feed:one", 90);
        (first.tags, first.description) =
            (vec!["phishing".into(), "zürich".into()], "Fake bank log-in".into());
        let mut second = word("ip", "192.0.2.20", "feed:two", 30);
        (second.tags, second.seen_at) = (vec!["botnet".into()], at(900));
        let mut third = word("url", "http://192.0.2.20/pay_load", "feed:one", 60);
        third.seen_at = at(950);
        store.upsert_indicators(&[first, second, third]).unwrap();
        let all = |set: &dyn Fn(&mut IocFilter)| {
            let mut filter = IocFilter::default();
            set(&mut filter);
            let found = store.find_indicators(&filter, 10).unwrap();
            let mut each = Vec::new();
            store.each_indicator(&filter, &mut |record| each.push(record.value)).unwrap();
            let mut sorted = values(&found);
            sorted.sort_unstable();
            each.sort_unstable();
            assert_eq!(sorted, each);
            found.into_iter().map(|record| record.value).collect::<Vec<_>>()
        };
        let text = |words: &str| all(&|filter| filter.text = Some(words.into()));
        let (login, address, url) = ("login.evil.example", "192.0.2.20", "http://192.0.2.20/pay_load");
        assert_eq!(all(&|_| {}), [url, address, login], "most recently seen first");
        assert_eq!(all(&|filter| filter.kind = Some(IocType::Ip)), [address]);
        assert_eq!(all(&|filter| filter.value = Some(login.into())), [login]);
        assert_eq!(all(&|filter| filter.source = Some("feed:one".into())), [url, login]);
        assert_eq!(all(&|filter| filter.tag = Some("phishing".into())), [login]);
        assert_eq!(all(&|filter| filter.tag = Some("phish".into())), [] as [&str; 0]);
        assert_eq!(all(&|filter| filter.min_confidence = Some(60)), [url, login]);
        let two = |filter: &mut IocFilter| {
            (filter.source, filter.min_confidence) = (Some("feed:one".into()), Some(61));
        };
        assert_eq!(all(&two), [login]);
        assert_eq!(text("evil"), [login]);
        assert_eq!(text("evil.exam"), [login]);
        assert_eq!(text("EVIL bank"), [login]);
        assert_eq!(text("evil botnet"), [] as [&str; 0]);
        assert_eq!(text("feed:two"), [address]);
        assert_eq!(text("zurich"), [login]);
        assert_eq!(text("192.0.2"), [url, address]);
        assert_eq!(text("  "), [url, address, login], "no words ask for nothing");
        for hostile in ["\"", "*", "evil OR x\"", "value:evil", "NEAR(", "a\0b", "-- ; DROP", "(((((("] {
            assert_eq!(text(hostile), [] as [&str; 0], "{hostile:?}");
        }
        let newest = store.find_indicators(&IocFilter::default(), 1).unwrap();
        assert_eq!(values(&newest), [url]);
        // What is removed is found no more; what is said later is.
        store.remove_indicator(&indicator("domain", login)).unwrap();
        assert_eq!(text("evil"), [] as [&str; 0]);
        assert_eq!(all(&|filter| filter.tag = Some("phishing".into())), [] as [&str; 0]);
        let mut later = word("ip", address, "feed:three", 95);
        later.tags = vec!["ransom".into()];
        store.upsert_indicators(&[later]).unwrap();
        assert_eq!(
            (text("ransom"), text("botnet"), text("feed:three")),
            (vec![address.into()], vec![address.into()], vec![address.into()])
        );
    }

    pub(super) fn what_very_many_have_in_common_is_found_too<B: Backend>() {
        let (_backend, store) = opened::<B>();
        let said = |number: u64, source: &str| {
            let mut word = word("domain", &format!("host-{number}.example"), source, 50);
            (word.tags, word.seen_at) = (vec![source.to_owned()], at(number));
            word
        };
        let mut words: Vec<_> = (0..21_000).map(|number| said(number, "common")).collect();
        words.extend((30_000..30_010).map(|number| said(number, "rare")));
        store.upsert_indicators(&words).unwrap();
        for common in [
            IocFilter { source: Some("common".into()), ..IocFilter::default() },
            IocFilter { tag: Some("common".into()), ..IocFilter::default() },
        ] {
            let newest = store.find_indicators(&common, 2).unwrap();
            assert_eq!(values(&newest), ["host-20999.example", "host-20998.example"]);
            let mut count = 0;
            store.each_indicator(&common, &mut |_| count += 1).unwrap();
            assert_eq!(count, 21_000);
        }
        let both =
            IocFilter { source: Some("rare".into()), tag: Some("common".into()), ..IocFilter::default() };
        assert_eq!(store.find_indicators(&both, 2).unwrap(), []);
    }

    pub(super) fn a_store_may_be_asked_while_it_tells<B: Backend>() {
        let (_backend, store) = opened::<B>();
        let words: Vec<_> =
            (0..2500).map(|n| word("domain", &format!("host-{n}.example"), "internal", 50)).collect();
        store.upsert_indicators(&words).unwrap();
        let mut seen = BTreeSet::new();
        store
            .each_indicator(&IocFilter::default(), &mut |record| {
                if seen.len() % 1000 == 0 {
                    store.upsert_indicators(&[word("domain", &record.value, "again", 60)]).unwrap();
                }
                assert!(seen.insert(record.value));
            })
            .unwrap();
        assert_eq!(seen.len(), 2500);
    }

    pub(super) fn intelligence_is_kept_and_found<B: Backend>() {
        let (_backend, store) = opened::<B>();
        let mut first = intel("intel--1", 1);
        first.tags = vec!["leak".into(), "bank".into()];
        first.data = serde_json::json!({"Post": {"lines": ["selling café cards", 4711]}});
        let mut second = intel("intel--2", 2);
        (second.source_type, second.tags) = ("forums".into(), vec!["leak".into()]);
        second.iocs = vec!["domain:evil.example".into()];
        store.save_intel(&first).unwrap();
        store.save_intel(&second).unwrap();
        assert!(store.save_intel(&second).unwrap_err().is_conflict());
        assert_eq!(store.intel("intel--1").unwrap(), Some(first));
        assert_eq!(store.count_intel().unwrap(), 2);
        let all = |set: &dyn Fn(&mut IntelFilter)| {
            let (mut filter, mut found) = (IntelFilter::default(), Vec::new());
            set(&mut filter);
            let mut each = |record: IntelRecord| {
                found.push(record.id);
                true
            };
            store.each_intel(&filter, &mut each).unwrap();
            found
        };
        let text = |words: &str| all(&|filter| filter.text = Some(words.into()));
        assert_eq!(all(&|_| {}), ["intel--2", "intel--1"], "newest first");
        assert_eq!(all(&|filter| filter.source_type = Some("forums".into())), ["intel--2"]);
        assert_eq!(all(&|filter| filter.priority_level = Some("Low".into())), [] as [&str; 0]);
        assert_eq!(all(&|filter| filter.tags = vec!["leak".into()]), ["intel--2", "intel--1"]);
        assert_eq!(all(&|filter| filter.tags = vec!["leak".into(), "bank".into()]), ["intel--1"]);
        assert_eq!(text("cafe cards"), ["intel--1"]);
        assert_eq!(text("lines 4711"), ["intel--1"]);
        assert_eq!(text("evil.example"), ["intel--2"]);
        assert_eq!(text("\" OR \""), [] as [&str; 0]);
        assert!(store.remove_intel("intel--1", false).unwrap());
        assert!(!store.remove_intel("intel--1", true).unwrap());
        assert!(store.remove_intel("intel--2", true).unwrap());
        assert_eq!((all(&|_| {}), text("evil.example"), store.count_intel().unwrap()), (vec![], vec![], 0));
    }

    pub(super) fn intelligence_is_told_until_enough<B: Backend>() {
        let (_backend, store) = opened::<B>();
        for number in 0..450 {
            store.save_intel(&intel(&format!("intel--{number}"), number % 3)).unwrap();
        }
        let mut told = Vec::new();
        let mut enough = |record: IntelRecord| {
            told.push((record.created_at, record.id));
            told.len() < 420
        };
        store.each_intel(&IntelFilter::default(), &mut enough).unwrap();
        assert_eq!(told.len(), 420);
        assert!(told.windows(2).all(|pair| pair[0].0 >= pair[1].0));
        assert_eq!(told.iter().map(|(_, id)| id).collect::<BTreeSet<_>>().len(), 420);
    }

    pub(super) fn alerts_come_newest_first<B: Backend>() {
        let (_backend, store) = opened::<B>();
        let alerts = [alert(1, Severity::High), alert(3, Severity::Low), alert(2, Severity::High)];
        store.save_alerts(&alerts).unwrap();
        store.save_alerts(&alerts[..1]).unwrap(); // the same once more is no further alert
        store.save_alerts(&[]).unwrap();
        let [one, three, two] = alerts;
        assert_eq!(store.recent_alerts(None, 2).unwrap(), [three, two.clone()]);
        assert_eq!(store.recent_alerts(Some(Severity::High), 10).unwrap(), [two, one]);
        assert_eq!(store.recent_alerts(Some(Severity::Info), 10).unwrap(), []);
        assert_eq!(store.count_alerts().unwrap(), [(Severity::Low, 1), (Severity::High, 2)]);
    }

    pub(super) fn the_newest_hundred_thousand_alerts_stay<B: Backend>() {
        let (_backend, store) = opened::<B>();
        for start in (0..101_200).step_by(4400) {
            let alerts: Vec<_> = (start..start + 4400).map(|number| alert(number, Severity::Info)).collect();
            store.save_alerts(&alerts).unwrap();
        }
        let kept = store.recent_alerts(None, usize::MAX).unwrap();
        assert!((100_000..=101_000).contains(&kept.len()), "{}", kept.len());
        assert_eq!(store.count_alerts().unwrap(), [(Severity::Info, kept.len() as u64)]);
        assert_eq!(kept[0], alert(101_199, Severity::Info));
    }

    pub(super) fn bans_are_kept_until_they_are_lifted<B: Backend>() {
        let (backend, store) = opened::<B>();
        let (start, bans) = store.bans_since(Revision(u64::MAX)).unwrap().unwrap();
        assert_eq!((start, bans.len()), (Revision(0), 0));
        let (one, other) = (ban("203.0.113.0/24", 9), ban("2001:db8::/64", 5));
        store.put_ban(&one, at(0)).unwrap();
        store.put_ban(&other, at(0)).unwrap();
        let (revision, bans) = backend.open(Arc::new(Told::default())).bans_since(start).unwrap().unwrap();
        assert_eq!(bans.len(), 2);
        assert!(bans.contains(&one) && bans.contains(&other));
        assert_eq!(store.bans_since(revision).unwrap(), None, "nothing new");
        // The same network is one ban, and one that is over goes with the next change.
        let longer = ban("203.0.113.0/24", 99);
        store.put_ban(&longer, at(6)).unwrap();
        assert_eq!(store.bans_since(revision).unwrap().unwrap().1, std::slice::from_ref(&longer));
        assert_eq!(store.lift_ban(other.network).unwrap(), None);
        assert_eq!(store.lift_ban(longer.network).unwrap(), Some(longer));
        assert_eq!(store.bans_since(revision).unwrap().unwrap().1, []);
        assert_eq!(store.credential_revision().unwrap(), Revision(0), "no credential changed");
    }

    pub(super) fn every_change_is_announced_and_finished<B: Backend>() {
        let backend = B::fresh();
        let told = Arc::new(Told::default());
        let store = backend.open(told.clone());
        let around = |domain| vec![(domain, "begin"), (domain, "finish")];
        store.save_issued_key(&issued("k", 1), &line("k", 1)).unwrap();
        assert_eq!(told.take(), around(Domain::Credentials));
        store.upsert_indicators(&[word("ip", "192.0.2.1", "internal", 80)]).unwrap();
        assert_eq!(told.take(), around(Domain::Indicators));
        store.remove_indicator(&indicator("ip", "192.0.2.1")).unwrap();
        assert_eq!(told.take(), around(Domain::Indicators));
        store.save_intel(&intel("intel--1", 1)).unwrap();
        assert_eq!(told.take(), around(Domain::Intel));
        store.remove_intel("intel--1", true).unwrap();
        assert_eq!(told.take(), around(Domain::Intel));
        store.put_ban(&ban("203.0.113.0/24", 9), at(0)).unwrap();
        assert_eq!(told.take(), around(Domain::Credentials));
        store.lift_ban("203.0.113.0/24".parse().unwrap()).unwrap();
        assert_eq!(told.take(), around(Domain::Credentials));
        // What changes nothing is not announced.
        assert!(store.save_issued_key(&issued("k", 1), &line("k", 1)).is_err());
        store.remove_indicator(&indicator("ip", "192.0.2.1")).unwrap();
        store.remove_intel("intel--1", false).unwrap();
        store.save_alerts(&[alert(1, Severity::High)]).unwrap();
        store.lift_ban("203.0.113.0/24".parse().unwrap()).unwrap();
        store.credential_changes(Revision(0)).unwrap();
        assert_eq!(told.take(), []);
    }
}

/// The whole suite for one backend.
macro_rules! contract {
    ($backend:ty: $($name:ident)*) => { $(#[test] fn $name() { suite::$name::<$backend>(); })* };
}

mod embedded {
    use super::*;

    struct Embedded(tempfile::TempDir);

    impl Backend for Embedded {
        fn fresh() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn open(&self, signal: Arc<dyn ChangeSignal>) -> Arc<dyn Store> {
            Arc::new(security_store::EmbeddedStore::open(self.0.path(), signal).unwrap())
        }
    }

    contract! { Embedded:
        credentials_are_kept_with_their_history
        a_change_on_top_of_another_version_is_a_conflict
        of_many_who_change_one_thing_one_wins
        credential_changes_are_everything_since
        secrets_are_kept_by_version_with_their_history
        of_many_who_store_one_version_one_wins
        of_many_who_make_the_first_master_key_one_does
        a_deleted_secret_comes_back_and_a_destroyed_one_does_not
        a_master_key_is_replaced_step_by_step
        one_value_is_one_record
        a_source_takes_its_word_back
        the_feed_of_changes_leads_from_nothing_to_everything
        indicators_are_found_by_what_is_said_of_them
        what_very_many_have_in_common_is_found_too
        a_store_may_be_asked_while_it_tells
        intelligence_is_kept_and_found
        intelligence_is_told_until_enough
        alerts_come_newest_first
        the_newest_hundred_thousand_alerts_stay
        bans_are_kept_until_they_are_lifted
        every_change_is_announced_and_finished
    }
}
