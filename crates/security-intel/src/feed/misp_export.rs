//! Records as one MISP event. Source: the MISP core format (draft-dulaunoy-misp-core-format), "Event" and "Attribute".

use std::io::Write;

use security_core::Timestamp;
use security_indicators::IocType;
use serde_json::json;

use super::export::{Exported, broken};
use crate::{IntelError, IocRecord};

/// An event whose attributes are for detection, shared with nobody until its receiver says so. A record's confidence has
/// no place in it; its sources are the comment where it has no description.
pub(super) fn misp(
    records: impl Iterator<Item = IocRecord>,
    output: &mut impl Write,
    done: &mut Exported,
) -> Result<(), IntelError> {
    const NAMESPACE: uuid::Uuid = uuid::uuid!("6a4f0d0c-2d0b-4c6e-9f2a-7c1f5d3e8b17");
    output.write_all(b"{\"Event\":{\"Attribute\":[").map_err(broken)?;
    let (mut id, mut newest, mut separator) = (NAMESPACE, Timestamp::EPOCH, "\n");
    for record in records {
        let Some((kind, category, value)) = attribute_of(&record) else {
            *done.left_out.entry(record.kind).or_default() += 1;
            continue;
        };
        let comment = match record.description.trim() {
            "" => record.sources.iter().map(|known| known.source.as_str()).collect::<Vec<_>>().join("; "),
            description => description.to_owned(),
        };
        let mut attribute = json!({
            "type": kind, "category": category, "value": value, "to_ids": true, "disable_correlation": false,
            "distribution": "5", "comment": comment, "timestamp": record.last_seen.as_seconds().max(0).to_string(),
            "first_seen": record.first_seen, "last_seen": record.last_seen,
        });
        if let Some(uuid) = record.id.rsplit_once("--").map(|(_, uuid)| uuid) {
            attribute["uuid"] = uuid.into();
        }
        if !record.tags.is_empty() {
            attribute["Tag"] = record.tags.iter().map(|tag| json!({"name": tag})).collect();
        }
        output.write_all(separator.as_bytes()).map_err(broken)?;
        serde_json::to_writer(&mut *output, &attribute).map_err(|error| broken(error.into()))?;
        id = uuid::Uuid::new_v5(&id, format!("{} {}", record.id, record.last_seen).as_bytes());
        newest = newest.max(record.last_seen);
        separator = ",\n";
        done.n_written += 1;
    }
    // What is known at the end only; the same records in the same order are the same event.
    let id = uuid::Uuid::new_v5(&id, b"end");
    let (date, at) = (newest.to_string(), newest.as_seconds());
    let rest = format!(
        "\n],\"uuid\":\"{id}\",\"info\":\"Exported indicators\",\"date\":\"{}\",\"timestamp\":\"{at}\",\
         \"threat_level_id\":\"4\",\"analysis\":\"2\",\"distribution\":\"0\",\"published\":false}}}}",
        &date[..10]
    );
    writeln!(output, "{rest}").map_err(broken)
}

/// Type, category and value of a record as an attribute; `None` for what MISP has no type for.
fn attribute_of(record: &IocRecord) -> Option<(&'static str, &'static str, String)> {
    const NETWORK: &str = "Network activity";
    const DELIVERY: &str = "Payload delivery";
    let (kind, category) = match record.kind {
        IocType::Ip | IocType::Cidr => ("ip-dst", NETWORK),
        IocType::IpPort => ("ip-dst|port", NETWORK),
        IocType::Domain => ("domain", NETWORK),
        IocType::Url => ("url", NETWORK),
        IocType::Asn => ("AS", NETWORK),
        IocType::Mac => ("mac-address", NETWORK),
        IocType::Ja3 => ("ja3-fingerprint-md5", NETWORK),
        IocType::Email => ("email", DELIVERY),
        IocType::Md5 => ("md5", DELIVERY),
        IocType::Sha1 => ("sha1", DELIVERY),
        IocType::Sha224 => ("sha224", DELIVERY),
        IocType::Sha256 => ("sha256", DELIVERY),
        IocType::Sha384 => ("sha384", DELIVERY),
        IocType::Sha512 => ("sha512", DELIVERY),
        IocType::Ssdeep => ("ssdeep", DELIVERY),
        IocType::Tlsh => ("tlsh", DELIVERY),
        IocType::Imphash => ("imphash", DELIVERY),
        // A file with folders is a file name there as well.
        IocType::FileName | IocType::FilePath => ("filename", DELIVERY),
        IocType::Cve => ("vulnerability", DELIVERY),
        IocType::RegistryKey => ("regkey", "Persistence mechanism"),
        IocType::Btc => ("btc", "Financial fraud"),
        IocType::Xmr => ("xmr", "Financial fraud"),
        _ => return None,
    };
    let value = match (record.kind, record.value.rsplit_once(':')) {
        (IocType::IpPort, Some((host, port))) => {
            format!("{}|{port}", host.trim_start_matches('[').trim_end_matches(']'))
        }
        _ => record.value.clone(),
    };
    Some((kind, category, value))
}

#[cfg(test)]
mod tests {
    use security_indicators::Indicator;

    use super::*;
    use crate::{ExportFormat, FeedFormat, FeedOptions, FeedReader, NewIoc, export};

    fn record(indicator: Indicator, description: &str) -> IocRecord {
        IocRecord::new(NewIoc {
            indicator,
            original: None,
            source: "feed:\"one\"".to_owned(),
            confidence: 61,
            description: description.to_owned(),
            tags: vec!["tlp:amber".to_owned(), "botnet \"x\"".to_owned()],
            related_intel_ids: Vec::new(),
            seen_at: Timestamp::from_seconds(2000),
            first_seen: Some(Timestamp::from_seconds(1000)),
            valid_until: None,
        })
    }

    #[test]
    fn an_event_comes_back_through_its_own_reader() {
        let more = ["ip:port:[2001:db8::1]:443", "cidr:192.0.2.0/24", r"file_path:c:\users\x\evil.exe"];
        let indicators = IocType::ALL.iter().map(|kind| Indicator::parse(*kind, kind.example()).unwrap());
        let records: Vec<IocRecord> = indicators
            .chain(more.iter().map(|text| text.parse().unwrap()))
            .map(|indicator| record(indicator, "seen at \"work\"\n"))
            .collect();
        let mut text = Vec::new();
        let done = export(records.clone(), ExportFormat::Misp, &mut text).unwrap();
        let left: Vec<_> = done.left_out.keys().copied().collect();
        assert_eq!(left, [IocType::Eth, IocType::Ja4, IocType::AttackTechnique, IocType::Sol]);
        assert_eq!(FeedFormat::guess(&text, None), FeedFormat::Misp);
        let options = FeedOptions::new("x", Timestamp::from_seconds(2_000_000_000));
        let mut reader = FeedReader::new(FeedFormat::Misp, text.as_slice(), options).unwrap();
        let words: Vec<NewIoc> = reader.by_ref().map(Result::unwrap).collect();
        assert_eq!((reader.finish().unwrap().n_rejected, words.len()), (0, done.n_written));
        let written = records.iter().filter(|record| !left.contains(&record.kind));
        for (word, record) in words.iter().zip(written) {
            assert_eq!(Some(&word.indicator), record.indicator().as_ref());
            assert_eq!((word.seen_at, word.first_sight()), (record.last_seen, record.first_seen));
            assert_eq!((&word.tags, word.description.as_str()), (&record.tags, "seen at \"work\""));
        }
        // The same records are the same event, and none is an event too.
        let mut again = Vec::new();
        export(records, ExportFormat::Misp, &mut again).unwrap();
        assert_eq!(text, again);
        let mut none = Vec::new();
        export([], ExportFormat::Misp, &mut none).unwrap();
        let event: serde_json::Value = serde_json::from_slice(&none).unwrap();
        assert_eq!(
            (&event["Event"]["Attribute"], &event["Event"]["date"]),
            (&json!([]), &json!("1970-01-01"))
        );
    }

    #[test]
    fn sources_stand_where_nothing_is_described() {
        let mut text = Vec::new();
        export([record("ip:192.0.2.1".parse().unwrap(), " ")], ExportFormat::Misp, &mut text).unwrap();
        let event: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(event["Event"]["Attribute"][0]["comment"], "feed:\"one\"");
    }
}
