//! STIX in: what a server holds, as indicators and as intelligence records.

use std::collections::HashSet;

use security_core::Limits;
use security_indicators::Indicator;
use security_intel::{
    IndicatorStore, IntelRecord, IntelStore, StixImportOptions, canonical_priority, categorize, from_stix,
};
use security_stix::{Bundle, Object, StixId};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::{Uuid, uuid};

use super::{FetchRequest, MOST_OBJECTS, TaxiiSession};
use crate::{Engine, Error, Result, intel, utils::generate_request_id, world};

/// The confidence of objects that do not state one.
const CONFIDENCE: u8 = 50;
/// Intelligence records stored in one transaction.
const BATCH: usize = 500;

/// What an ingestion did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ingested {
    /// STIX objects received.
    pub objects: usize,
    /// Indicators that were new.
    pub indicators_added: usize,
    /// Indicators that were known.
    pub indicators_merged: usize,
    /// Objects that could not be read, hold no indicator where one was to be expected, or could not be filed, with the
    /// reason.
    pub skipped: Vec<Skipped>,
    /// Intelligence records of these objects, in their order: made now, or there from an earlier pull.
    pub intel_ids: Vec<String>,
    /// How many of them were made now.
    pub intel_added: usize,
}

/// An object that was left out, wholly or in part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The object's STIX id; `#` and its number in what came, from 1, when it states none.
    pub id: String,
    /// Why.
    pub reason: String,
}

impl Engine {
    /// Pulls from a server and keeps what comes: indicator patterns as indicators, and with `store` every object
    /// as an intelligence record under `taxii:SERVER`. An object that was filed before, in the same version and from
    /// the same server, is not filed again.
    /// # Errors
    /// [`Error::Invalid`] for a priority that is none; [`Error::Taxii`] for what the server does; [`Error::Store`].
    pub fn ingest_taxii(
        &self,
        session: &TaxiiSession,
        request: &FetchRequest,
        priority_level: &str,
        store: bool,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Ingested> {
        canonical_priority(priority_level).map_err(|error| Error::invalid("priority_level", error))?;
        let (done, pulled) = self.recorded_pull(session, request, |done| {
            let (objects, _) = self.take_in(session, request, progress, done)?;
            if store {
                self.file_objects(objects, &source_of(session), priority_level, done)?;
            }
            Ok(())
        });
        pulled.map(|()| done)
    }

    /// Pulls indicators from the default server, at most `limit` objects, and gives their records.
    /// # Errors
    /// As [`Engine::taxii`] and [`Engine::ingest_taxii`].
    pub fn import_stix_indicators(
        &self,
        limit: usize,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Value>> {
        let session = self.taxii(None)?;
        let request =
            FetchRequest { limit, object_type: Some("indicator".into()), ..FetchRequest::default() };
        let (done, indicators) = self.recorded_pull(&session, &request, |done| {
            Ok(self.take_in(&session, &request, progress, done)?.1)
        });
        for Skipped { id, reason } in &done.skipped {
            tracing::warn!(server = session.name, id, reason, "a STIX object gave no indicator");
        }
        let now = world::now();
        let mut views = Vec::new();
        for indicator in indicators? {
            views.extend(self.files.store.indicator(&indicator)?.map(|record| intel::ioc_view(&record, now)));
        }
        Ok(views)
    }

    /// Runs a pull and records what it came to, also when it failed on the way.
    fn recorded_pull<T>(
        &self,
        session: &TaxiiSession,
        request: &FetchRequest,
        pull: impl FnOnce(&mut Ingested) -> Result<T>,
    ) -> (Ingested, Result<T>) {
        let mut done = Ingested::default();
        let pulled = pull(&mut done);
        let mut details = json!({
            "server": session.name,
            "collection_id": request.collection_id,
            "objects": done.objects,
            "added": done.indicators_added,
            "merged": done.indicators_merged,
            "filed": done.intel_added,
            "skipped": done.skipped.len(),
        });
        if let Err(error) = &pulled {
            details["error"] = error.to_string().into();
        }
        self.audit("taxii_pulled", &generate_request_id(), details);
        (done, pulled)
    }

    /// Fetches, and stores the indicators. Gives every object that can be read, and the indicators.
    fn take_in(
        &self,
        session: &TaxiiSession,
        request: &FetchRequest,
        progress: &mut dyn FnMut(usize),
        done: &mut Ingested,
    ) -> Result<(Vec<Object>, Vec<Indicator>)> {
        let values = session.fetch(request, progress)?;
        done.objects = values.len();
        let limits = Limits { max_hits: MOST_OBJECTS, ..Limits::DEFAULT };
        let bundle = Bundle::from_values(values, limits).map_err(|error| Error::invalid("limit", error))?;
        done.skipped.extend(bundle.rejected().iter().map(|rejected| Skipped {
            id: rejected.id.clone().unwrap_or_else(|| format!("#{}", rejected.index + 1)),
            reason: rejected.reason.to_string(),
        }));
        let options =
            StixImportOptions { source: source_of(session), confidence: CONFIDENCE, now: world::now() };
        let import = from_stix(bundle.objects(), &options);
        done.skipped.extend(
            import.skipped.into_iter().map(|skipped| Skipped { id: skipped.id, reason: skipped.reason }),
        );
        let stored = self.files.store.upsert_indicators(&import.iocs)?;
        self.files.store.end_of_bulk();
        (done.indicators_added, done.indicators_merged) = (stored.added, stored.merged);
        let mut known = HashSet::new();
        let mut indicators: Vec<Indicator> = import.iocs.into_iter().map(|word| word.indicator).collect();
        indicators.retain(|indicator| known.insert(indicator.clone()));
        Ok((bundle.into_objects(), indicators))
    }

    /// Files objects that are not filed yet; one that cannot be filed is skipped with its reason.
    fn file_objects(
        &self,
        objects: Vec<Object>,
        source: &str,
        priority_level: &str,
        done: &mut Ingested,
    ) -> Result<()> {
        let now = world::now();
        let mut batch: Vec<IntelRecord> = Vec::new();
        let mut objects = objects.into_iter().peekable();
        while let Some(object) = objects.next() {
            let (stix_id, intel_id) = (object.id().to_string(), intel_id_of(&object, source));
            let data = Value::Object(object.into_properties());
            match categorize(data, source, priority_level, intel_id, now, &Limits::DEFAULT) {
                Ok(record) => batch.push(record),
                Err(error) => done.skipped.push(Skipped { id: stix_id, reason: error.to_string() }),
            }
            if batch.len() >= BATCH || objects.peek().is_none() {
                let added = self.files.store.add_intel(&batch)?;
                done.intel_added += added.into_iter().filter(|is_new| *is_new).count();
                done.intel_ids.extend(batch.drain(..).map(|record| record.id));
            }
        }
        Ok(())
    }
}

fn source_of(session: &TaxiiSession) -> String {
    format!("taxii:{}", session.name)
}

/// The id of the record of an object: the same for the same version of it from the same server, so that a server cannot
/// take the place of what another one says. An object without a version is known by its content.
fn intel_id_of(object: &Object, source: &str) -> String {
    const NAMESPACE: Uuid = uuid!("5b0c3c1e-9f0a-4d5e-8a53-2f6b1c7d90e4");
    let version = match object.modified().or(object.created()) {
        Some(time) => time.as_micros().to_string(),
        None => match StixId::deterministic(object.object_type(), object.properties()) {
            Ok(content) => content.uuid().to_string(),
            // Numbers with fractions have no canonical form; their text will do.
            Err(_) => Value::Object(object.properties().clone()).to_string(),
        },
    };
    let name = format!("{}\n{}\n{version}", source.to_lowercase(), object.id());
    format!("intel--{}", Uuid::new_v5(&NAMESPACE, name.as_bytes()))
}
