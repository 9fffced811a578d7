//! What is counted of requests, by all processes of the host together.

use std::{path::Path, sync::OnceLock, time::Instant};

use security_shared::SharedCounters;
use security_web::{Decision, Gauge, Stage, decision_counter, latency_counters, metrics_text};

use crate::{Engine, WebPolicy, world};

/// The counters, mapped when the first request is counted; for a policy without metrics nothing is.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    counters: OnceLock<Option<SharedCounters>>,
}

impl Metrics {
    fn counters(&self, data_dir: &Path) -> Option<&SharedCounters> {
        let open = || {
            let path = data_dir.join(".shared").join("counters");
            let opened = SharedCounters::open(&path, std::process::id());
            // Metrics are no reason to turn a request away.
            opened.inspect_err(|fault| tracing::warn!(%fault, "requests are not counted")).ok()
        };
        self.counters.get_or_init(open).as_ref()
    }
}

impl Engine {
    /// When judging begins, if that is to be measured.
    pub(crate) fn measured(&self, web: &WebPolicy) -> Option<Instant> {
        web.policy.metrics.path.as_ref().map(|_| Instant::now())
    }

    /// Counts a decision, and at the stage of the request how long it took.
    pub(crate) fn count(&self, web: &WebPolicy, stage: Stage, decision: &Decision, began: Option<Instant>) {
        if web.policy.metrics.path.is_none() {
            return;
        }
        let Some(counters) = self.metrics.counters(self.data_dir()) else { return };
        if let Some(counter) = decision_counter(stage, decision) {
            counters.add(counter, 1);
        }
        if let Some(began) = began {
            let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let (bucket, sum) = latency_counters(nanos);
            counters.add(bucket, 1);
            counters.add(sum, nanos);
        }
    }

    /// The metrics in Prometheus's text format: the counters of the whole host since its shared memory was made, and
    /// some numbers of this process.
    pub(crate) fn metrics_text(&self) -> String {
        let counters = self.metrics.counters(self.data_dir());
        let journal = self.files.journal.stats();
        #[expect(clippy::cast_precision_loss, reason = "numbers for a graph")]
        let number = |count: u64| Some(count as f64);
        let gauges = [
            Gauge {
                name: "security_journal_lost_records",
                help: "Records of usage, alerts and requests that the answering process could not write.",
                value: number(journal.lost),
            },
            Gauge {
                name: "security_journal_waiting_records",
                help: "Records that wait to be written in the answering process.",
                value: number(journal.queue_depth as u64),
            },
            Gauge {
                name: "security_indicator_index_age_seconds",
                help: "Time since the answering process last read the list of indicators.",
                value: self.indicators.age(world::now()).map(|age| age.as_secs_f64()),
            },
            Gauge {
                name: "security_bans",
                help: "Bans in force on this host.",
                value: self.bans().ok().and_then(|bans| number(bans.len() as u64)),
            },
        ];
        metrics_text(|counter| counters.map_or(0, |counters| counters.total(counter)), &gauges)
    }
}
