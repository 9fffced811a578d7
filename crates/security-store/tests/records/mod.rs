//! Records to store, each made from a number.
#![allow(dead_code, reason = "every test file uses some of them")]

pub(crate) mod child;

use std::{collections::BTreeMap, sync::Arc};

use security_core::{ChangeSignal, Domain, Severity, Timestamp};
use security_credentials::{
    CredentialEvent, CredentialKind, CredentialRecord, Digest, Envelope, HistoryEntry, IssuedKey, KnownValue,
    Origin, SecretVersion, VersionFacts,
};
use security_indicators::Indicator;
use security_intel::{IntelRecord, NewIoc};
use security_threat::{Alert, Evidence};
use security_web::Ban;

/// Tells nobody.
pub(crate) struct Silent;

impl ChangeSignal for Silent {
    fn begin(&self, _: Domain) {}
    fn finish(&self, _: Domain) {}
}

pub(crate) fn silent() -> Arc<dyn ChangeSignal> {
    Arc::new(Silent)
}

pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(1_800_000_000 + i64::try_from(seconds).unwrap())
}

fn digest(number: u64) -> Digest {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Digest::from_bytes(bytes)
}

pub(crate) fn credential(kind: CredentialKind, version: u64) -> CredentialRecord {
    let value = KnownValue {
        digest: digest(version),
        origin: Origin::Operator,
        first_seen: at(0),
        superseded_at: None,
        accepted_until: None,
    };
    CredentialRecord {
        kind,
        version,
        created_at: at(0),
        last_changed_at: at(1),
        rotation_planned_for: None,
        pending: None,
        retire_at: None,
        values: vec![value],
    }
}

pub(crate) fn ban(network: &str, until: u64) -> Ban {
    Ban {
        network: network.parse().unwrap(),
        reason: "scans".to_owned(),
        since: at(0),
        until: at(until),
        by: "uid 0, test".to_owned(),
    }
}

pub(crate) fn issued(id: &str, version: u64) -> IssuedKey {
    IssuedKey {
        id: id.to_owned(),
        version,
        prefix: "sk".to_owned(),
        name: "reporting".to_owned(),
        owner: Some("finance".to_owned()),
        scopes: vec!["read".to_owned()],
        created_at: at(0),
        expires_at: Some(at(1000)),
        allowed_networks: Vec::new(),
        rate_limit: None,
        canary: false,
        metadata: BTreeMap::new(),
        digest: digest(version),
        previous: None,
        revoked: None,
        foreign: None,
    }
}

/// A version whose wrapped key says whose it is and under which master key.
pub(crate) fn secret(name: &str, version: u64, master_key: &str) -> SecretVersion {
    let metadata = serde_json::Map::from_iter([("owner".to_owned(), "finance".into())]);
    SecretVersion {
        name: name.parse().unwrap(),
        version,
        facts: VersionFacts::new(metadata, at(0)).unwrap(),
        envelope: Some(Envelope {
            master_key: master_key.to_owned(),
            wrapped_key: format!("{name} {version} under {master_key}").into_bytes(),
            sealed_value: format!("value of {name} {version}").into_bytes(),
        }),
    }
}

pub(crate) fn line(credential: &str, number: u64) -> HistoryEntry {
    HistoryEntry {
        at: at(number.min(1_000_000)),
        credential: credential.to_owned(),
        event: CredentialEvent::Issued,
        request_id: format!("req-{number}"),
        details: serde_json::Map::new(),
    }
}

pub(crate) fn indicator(kind: &str, value: &str) -> Indicator {
    Indicator::from_parts(kind, value).unwrap()
}

pub(crate) fn word(kind: &str, value: &str, source: &str, confidence: u8) -> NewIoc {
    NewIoc {
        indicator: indicator(kind, value),
        original: None,
        source: source.to_owned(),
        confidence,
        description: String::new(),
        tags: Vec::new(),
        related_intel_ids: Vec::new(),
        seen_at: at(0),
        first_seen: None,
        valid_until: None,
    }
}

pub(crate) fn intel(id: &str, number: u64) -> IntelRecord {
    IntelRecord {
        id: id.to_owned(),
        source_type: "paste_sites".to_owned(),
        priority_level: "High".to_owned(),
        created_at: at(number),
        categories: Vec::new(),
        tags: Vec::new(),
        iocs: Vec::new(),
        data: serde_json::json!({}),
    }
}

pub(crate) fn alert(number: u64, severity: Severity) -> Alert {
    Alert {
        id: format!("alert-{number}"),
        at: at(number),
        rule_id: "rule-1".to_owned(),
        rule_name: "Path traversal".to_owned(),
        severity,
        score: severity.score(),
        description: String::new(),
        evidence: vec![Evidence {
            field: "path".to_owned(),
            value: "../".to_owned(),
            detection: "pattern".to_owned(),
            matched: "\\.\\./".to_owned(),
        }],
        tags: Vec::new(),
        recommendations: Vec::new(),
        context: serde_json::Map::new(),
    }
}
