//! Indicators to STIX 2.1 and back. Source: STIX 2.1 §4.7 (indicator), §6 (observables), §10.5 (hash names).

use std::collections::{BTreeMap, HashMap};

use security_core::Timestamp;
use security_indicators::{Indicator, IocType};
use security_stix::{
    Bundle, IndicatorDraft, Kind, Object, ObjectPath, Operator, PathStep, PatternValue, new_indicator,
    pattern_for,
};
use serde_json::Value;

use crate::{IntelError, IocRecord, NewIoc, Tlp, error::shorten};

/// A bundle, and what had no place in it.
#[derive(Debug, Clone, PartialEq)]
pub struct StixExport {
    /// The indicators.
    pub bundle: Bundle,
    /// Number of records of each kind that STIX has no pattern for.
    pub left_out: BTreeMap<IocType, usize>,
}

/// What to assume about objects that do not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StixImportOptions {
    /// The source's name.
    pub source: String,
    /// The confidence of objects without one, 0 to 100.
    pub confidence: u8,
    /// The time of the import: the latest time anything was seen at, and what `valid_until` is compared with.
    pub now: Timestamp,
}

/// What STIX objects gave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StixImport {
    /// The indicators.
    pub iocs: Vec<NewIoc>,
    /// Objects, or values in them, that gave none.
    pub skipped: Vec<SkippedStix>,
}

/// An object, or a value in one, that gave no indicator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedStix {
    /// The object's id.
    pub id: String,
    /// Why.
    pub reason: String,
}

/// The STIX indicator of a record; `None` for kinds that STIX has no pattern for.
///
/// # Errors
/// [`IntelError::Stix`] when the record's id or value cannot stand in STIX.
pub fn to_stix(record: &IocRecord) -> Result<Option<Object>, IntelError> {
    let Some(pattern) = pattern_of(record)? else { return Ok(None) };
    let mut draft = IndicatorDraft::new(record.id.parse()?, record.first_seen, pattern);
    draft.modified = record.last_seen.max(record.first_seen);
    draft.name = Some(record.value.clone());
    draft.description = Some(record.description.clone()).filter(|text| !text.is_empty());
    draft.indicator_types = vec!["malicious-activity".to_owned()];
    draft.confidence = Some(record.confidence.min(100));
    let is_marking = |tag: &&String| tag.starts_with("tlp:") && tag.parse::<Tlp>().is_ok();
    draft.labels = record.tags.iter().filter(|tag| !is_marking(tag) && !tag.is_empty()).cloned().collect();
    // Where sources mark it differently, the strictest holds.
    let marking = record.tags.iter().filter(is_marking).filter_map(|tag| tag.parse::<Tlp>().ok()).max();
    draft.markings = marking.map(|label| label.marking().parse()).transpose()?.into_iter().collect();
    draft.valid_until = record.valid_until;
    if let Some(end) = record.valid_until {
        // STIX asks for an end after the beginning (§4.7.2), to the millisecond.
        draft.valid_from = draft.valid_from.min(end.minus(std::time::Duration::from_millis(1)));
    }
    Ok(Some(new_indicator(draft)?))
}

/// A bundle of records; kinds that STIX has no pattern for are left out and counted.
///
/// # Errors
/// As [`to_stix`].
pub fn to_bundle(records: &[IocRecord]) -> Result<StixExport, IntelError> {
    let mut objects = Vec::with_capacity(records.len());
    let mut left_out = BTreeMap::new();
    for record in records {
        match to_stix(record)? {
            Some(object) => objects.push(object),
            None => *left_out.entry(record.kind).or_default() += 1,
        }
    }
    Ok(StixExport { bundle: Bundle::new(objects), left_out })
}

fn pattern_of(record: &IocRecord) -> Result<Option<String>, IntelError> {
    let value = record.value.as_str();
    let address_type = if value.contains(':') { "ipv6-addr" } else { "ipv4-addr" };
    let path = match record.kind {
        // A network's text is digits, dots, colons and a slash: nothing to escape.
        IocType::Cidr => return Ok(Some(format!("[{address_type}:value ISSUBSET '{value}']"))),
        IocType::Ip => format!("{address_type}:value"),
        IocType::IpPort => {
            let Some((host, port)) = value.rsplit_once(':') else { return Ok(None) };
            let host = host.trim_start_matches('[').trim_end_matches(']');
            return Ok(Some(format!(
                "[network-traffic:dst_ref.value = '{host}' AND network-traffic:dst_port = {port}]"
            )));
        }
        IocType::Domain => "domain-name:value".to_owned(),
        IocType::Url => "url:value".to_owned(),
        IocType::Email => "email-addr:value".to_owned(),
        IocType::Md5 => "file:hashes.MD5".to_owned(),
        IocType::Sha1 => "file:hashes.'SHA-1'".to_owned(),
        IocType::Sha224 => "file:hashes.'SHA-224'".to_owned(),
        IocType::Sha256 => "file:hashes.'SHA-256'".to_owned(),
        IocType::Sha384 => "file:hashes.'SHA-384'".to_owned(),
        IocType::Sha512 => "file:hashes.'SHA-512'".to_owned(),
        IocType::Ssdeep => "file:hashes.SSDEEP".to_owned(),
        IocType::Tlsh => "file:hashes.TLSH".to_owned(),
        IocType::Asn => {
            let number = value.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
            return Ok(Some(format!("[autonomous-system:number = {number}]")));
        }
        IocType::Mac => "mac-addr:value".to_owned(),
        IocType::FileName => "file:name".to_owned(),
        IocType::RegistryKey => "windows-registry-key:key".to_owned(),
        _ => return Ok(None),
    };
    pattern_for(&path, value).map(Some).map_err(|error| IntelError::Stix(error.into()))
}

/// The indicators in STIX objects: indicators whose pattern is a list of alternatives, and the observables that
/// observed data refers to.
///
/// A value that a pattern asks for only together with others is no indicator by itself, except an address with
/// its port; it is skipped with its reason. Revoked objects and those whose time is over are skipped.
pub fn from_stix(objects: &[Object], options: &StixImportOptions) -> StixImport {
    let mut import = StixImport::default();
    let markings = marking_labels(objects);
    let observables: HashMap<String, &Object> = objects
        .iter()
        .filter(|object| object.kind() == Kind::Observable)
        .map(|object| (object.id().to_string(), object))
        .collect();
    for object in objects {
        let id = object.id().to_string();
        let is_wanted = matches!(object.object_type(), "indicator" | "observed-data");
        if !is_wanted {
            continue;
        }
        let mut skip = |reason: String| import.skipped.push(SkippedStix { id: id.clone(), reason });
        if object.is_revoked() {
            skip("it was revoked".to_owned());
            continue;
        }
        if object.time("valid_until").is_some_and(|end| end <= options.now) {
            skip("its time is over".to_owned());
            continue;
        }
        let mut found: Vec<Result<(Indicator, String), String>> = Vec::new();
        if object.object_type() == "indicator" {
            match object.pattern() {
                None => {
                    let language = object.text("pattern_type").unwrap_or("unknown");
                    skip(format!("its pattern is in the language {}", shorten(language, 40)));
                }
                Some(Err(error)) => skip(format!("its pattern cannot be read: {error}")),
                Some(Ok(pattern)) => match address_with_port(&pattern) {
                    Some(indicator) => {
                        let value = indicator.value().to_owned();
                        found.push(Ok((indicator, value)));
                    }
                    None => {
                        let values = pattern.indicator_values();
                        if values.is_empty() {
                            skip("its pattern looks for no value that is an indicator".to_owned());
                        }
                        found.extend(values.into_iter().map(of_pattern_value));
                    }
                },
            }
        } else {
            let inline = object.properties().get("objects").and_then(Value::as_object);
            for observable in inline.into_iter().flat_map(|map| map.values()) {
                of_observable(
                    observable.get("type").and_then(Value::as_str).unwrap_or(""),
                    observable,
                    &mut found,
                );
            }
            for reference in object.references("object_refs") {
                if let Some(observable) = observables.get(&reference.to_string()) {
                    let properties = Value::Object(observable.properties().clone());
                    of_observable(observable.object_type(), &properties, &mut found);
                }
            }
        }
        for result in found {
            match result {
                Ok((indicator, given)) => {
                    import.iocs.push(word(object, indicator, given, &markings, options))
                }
                Err(reason) => import.skipped.push(SkippedStix { id: id.clone(), reason }),
            }
        }
    }
    import
}

fn word(
    object: &Object,
    indicator: Indicator,
    given: String,
    markings: &HashMap<String, Tlp>,
    options: &StixImportOptions,
) -> NewIoc {
    let mut tags: Vec<String> =
        object.labels().chain(object.texts("indicator_types")).map(str::to_owned).collect();
    let labels = object
        .texts("object_marking_refs")
        .filter_map(|id| Tlp::of_marking(id).or_else(|| markings.get(id).copied()));
    tags.extend(labels.map(|label| label.tag().to_owned()));
    tags.sort();
    tags.dedup();
    let description = object.text("description").or_else(|| object.text("name")).unwrap_or_default();
    let seen_at = object.time("last_observed").or(object.modified()).or(object.created());
    let seen_at = seen_at.unwrap_or(options.now).min(options.now);
    NewIoc {
        original: Some(given).filter(|given| given != indicator.value()),
        indicator,
        source: options.source.clone(),
        confidence: object.confidence().unwrap_or(options.confidence).min(100),
        description: shorten(description, 2000),
        tags,
        related_intel_ids: Vec::new(),
        seen_at,
        first_seen: object.time("first_observed").or(object.created()).filter(|first| *first < seen_at),
        valid_until: object.time("valid_until"),
    }
}

/// The labels of marking definitions that are in the bundle itself.
fn marking_labels(objects: &[Object]) -> HashMap<String, Tlp> {
    let label = |object: &Object| {
        let tlp = object.properties().get("definition").and_then(|definition| definition.get("tlp"));
        let in_extension = || {
            let extensions = object.properties().get("extensions").and_then(Value::as_object);
            extensions.into_iter().flat_map(|map| map.values()).find_map(|extension| extension.get("tlp_2_0"))
        };
        let text = tlp.or_else(in_extension).and_then(Value::as_str).or_else(|| object.text("name"))?;
        text.parse::<Tlp>().ok()
    };
    objects
        .iter()
        .filter(|object| object.object_type() == "marking-definition")
        .filter_map(|object| Some((object.id().to_string(), label(object)?)))
        .collect()
}

fn of_pattern_value(found: PatternValue) -> Result<(Indicator, String), String> {
    let PatternValue { object_path, value, operator, suffices } = found;
    if !suffices {
        return Err(format!("{object_path} is asked for only together with other values"));
    }
    let path: ObjectPath = object_path.parse().map_err(|error| format!("{object_path} {error}"))?;
    let names: Vec<&str> = path
        .steps
        .iter()
        .filter_map(|step| match step {
            PathStep::Property(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    let network = operator == Operator::IsSubset;
    let kind = match (path.object_type.as_str(), names.as_slice()) {
        ("ipv4-addr" | "ipv6-addr", ["value"]) if network => Some(IocType::Cidr),
        ("ipv4-addr" | "ipv6-addr", ["value"]) => Some(IocType::Ip),
        ("network-traffic", ["dst_ref" | "src_ref", "value"]) => {
            let found = Indicator::identify(&value).ok_or_else(|| refusal(&object_path, &value))?;
            return Ok((found, value));
        }
        ("domain-name", ["value"]) => Some(IocType::Domain),
        ("url", ["value"]) => Some(IocType::Url),
        ("email-addr", ["value"]) | ("email-message", ["from_ref" | "sender_ref", "value"]) => {
            Some(IocType::Email)
        }
        ("file" | "artifact", ["hashes", name]) => hash_kind(name),
        // Some write a file's whole path into its name.
        ("file", ["name"]) if value.contains(['\\', '/']) => Some(IocType::FilePath),
        ("file", ["name"]) => Some(IocType::FileName),
        ("directory", ["path"]) => Some(IocType::FilePath),
        ("windows-registry-key", ["key"]) => Some(IocType::RegistryKey),
        ("autonomous-system", ["number"]) => Some(IocType::Asn),
        ("mac-addr", ["value"]) => Some(IocType::Mac),
        _ => None,
    };
    let kind = kind.ok_or_else(|| format!("{object_path} has no kind of indicator"))?;
    let text = if kind == IocType::Asn { format!("AS{value}") } else { value.clone() };
    let indicator = Indicator::parse(kind, &text).map_err(|error| error.to_string())?;
    Ok((indicator, value))
}

fn refusal(place: &str, value: &str) -> String {
    format!("`{}` at {place} is no indicator", shorten(value, 60))
}

/// The kind of a hash by its name in any spelling: `SHA-256`, `sha256`, `SHA_256`.
fn hash_kind(name: &str) -> Option<IocType> {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    match plain.to_ascii_lowercase().as_str() {
        "md5" => Some(IocType::Md5),
        "sha1" => Some(IocType::Sha1),
        "sha224" => Some(IocType::Sha224),
        "sha256" => Some(IocType::Sha256),
        "sha384" => Some(IocType::Sha384),
        "sha512" => Some(IocType::Sha512),
        "ssdeep" => Some(IocType::Ssdeep),
        "tlsh" => Some(IocType::Tlsh),
        "imphash" => Some(IocType::Imphash),
        _ => None,
    }
}

/// The pattern in which [`to_stix`], and MISP, write an address with a port.
fn address_with_port(pattern: &security_stix::Pattern) -> Option<Indicator> {
    let security_stix::Observation::Test(security_stix::Comparison::And(parts)) = pattern.root() else {
        return None;
    };
    let (mut address, mut port) = (None, None);
    for part in parts {
        let security_stix::Comparison::Test(test) = part else { return None };
        let (false, Operator::Equal, [operand]) = (test.negated, test.operator, test.operands.as_slice())
        else {
            return None;
        };
        match (test.path.to_string().as_str(), operand) {
            ("network-traffic:dst_ref.value", security_stix::Literal::Text(text)) => {
                address = Some(text.clone())
            }
            ("network-traffic:dst_port", security_stix::Literal::Integer(number)) => {
                port = Some(number.to_string())
            }
            ("network-traffic:dst_port", security_stix::Literal::Text(text)) => port = Some(text.clone()),
            ("network-traffic:dst_ref.type", _) => {}
            _ => return None,
        }
    }
    let (address, port) = (address?, port?);
    let text =
        if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") };
    Indicator::parse(IocType::IpPort, &text).ok()
}

fn of_observable(object_type: &str, value: &Value, found: &mut Vec<Result<(Indicator, String), String>>) {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let (kind, given) = match object_type {
        "ipv4-addr" | "ipv6-addr" => (IocType::Ip, text("value")),
        "domain-name" => (IocType::Domain, text("value")),
        "url" => (IocType::Url, text("value")),
        "email-addr" => (IocType::Email, text("value")),
        "mac-addr" => (IocType::Mac, text("value")),
        "windows-registry-key" => (IocType::RegistryKey, text("key")),
        "directory" => (IocType::FilePath, text("path")),
        "autonomous-system" => {
            if let Some(number) = value.get("number").and_then(Value::as_u64) {
                found.push(parsed(IocType::Asn, &format!("AS{number}")));
            }
            return;
        }
        "file" | "artifact" => {
            let hashes = value.get("hashes").and_then(Value::as_object);
            let known: Vec<_> = hashes
                .into_iter()
                .flatten()
                .filter_map(|(name, hash)| Some(parsed(hash_kind(name)?, hash.as_str()?)))
                .collect();
            // A name alone says little; beside a digest it says nothing more.
            let name = text("name").filter(|_| known.is_empty());
            found.extend(known);
            found.extend(name.map(|name| parsed(IocType::FileName, name)));
            return;
        }
        _ => return,
    };
    found.extend(given.map(|given| parsed(kind, given)));
}

fn parsed(kind: IocType, given: &str) -> Result<(Indicator, String), String> {
    Indicator::parse(kind, given).map(|found| (found, given.to_owned())).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Timestamp = Timestamp::EPOCH;

    fn options() -> StixImportOptions {
        StixImportOptions {
            source: "taxii:partner".to_owned(),
            confidence: 50,
            now: Timestamp::from_seconds(2_000_000_000),
        }
    }

    fn record(kind: IocType, value: &str) -> IocRecord {
        IocRecord::new(NewIoc {
            indicator: Indicator::parse(kind, value).unwrap(),
            original: None,
            source: "internal".to_owned(),
            confidence: 70,
            description: "seen in a \"lure\"".to_owned(),
            tags: vec!["red".to_owned(), "tlp:green".to_owned(), "tlp:amber".to_owned()],
            related_intel_ids: Vec::new(),
            seen_at: NOW,
            first_seen: None,
            valid_until: Some(Timestamp::from_seconds(2_100_000_000)),
        })
    }

    fn object(value: Value) -> Object {
        Object::parse(value).unwrap()
    }

    fn indicator(pattern: &str, more: Value) -> Object {
        let mut value = json!({
            "type": "indicator", "spec_version": "2.1", "id": "indicator--00000000-0000-4000-8000-000000000001",
            "created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-02T00:00:00.000Z", "pattern": pattern,
            "pattern_type": "stix", "valid_from": "2026-01-01T00:00:00.000Z",
        });
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object(value)
    }

    #[test]
    fn every_kind_with_a_pattern_comes_back() {
        for kind in IocType::ALL {
            let original = record(*kind, kind.example());
            let Some(object) = to_stix(&original).unwrap() else {
                use IocType::*;
                let without = [Cve, FilePath, Btc, Eth, Xmr, Imphash, Ja3, Ja4, AttackTechnique, Sol];
                assert!(without.contains(kind), "{kind}");
                continue;
            };
            let import = from_stix(&[object], &options());
            assert_eq!(import.skipped, [], "{kind}");
            let word = &import.iocs[0];
            assert_eq!((word.indicator.kind(), word.indicator.value()), (*kind, original.value.as_str()));
            assert_eq!((word.confidence, word.valid_until), (70, original.valid_until));
            assert_eq!(word.tags, ["malicious-activity", "red", "tlp:amber"]);
            assert_eq!(word.description, original.description);
        }
    }

    #[test]
    fn a_bundle_counts_what_it_leaves_out() {
        let records = [record(IocType::Ip, "192.0.2.7"), record(IocType::Cve, "CVE-2099-0001")];
        let export = to_bundle(&records).unwrap();
        assert_eq!(export.bundle.objects().len(), 1);
        assert_eq!(export.bundle.objects()[0].id().to_string(), records[0].id);
        assert_eq!(export.left_out, BTreeMap::from([(IocType::Cve, 1)]));
    }

    #[test]
    fn alternatives_are_taken_and_descriptions_are_not() {
        for (pattern, taken, skipped) in [
            (
                "[ipv4-addr:value = '192.0.2.1' OR domain-name:value = 'evil.example']",
                vec!["192.0.2.1", "evil.example"],
                0,
            ),
            (
                "[url:value IN ('http://a.example/', 'http://b.example/')]",
                vec!["http://a.example/", "http://b.example/"],
                0,
            ),
            ("[ipv4-addr:value ISSUBSET '198.51.100.0/24']", vec!["198.51.100.0/24"], 0),
            ("[file:name = 'setup.exe' AND file:size = 25]", vec![], 1),
            (
                "[network-traffic:dst_ref.value = '192.0.2.1' AND network-traffic:dst_port = 443]",
                vec!["192.0.2.1:443"],
                0,
            ),
            ("[ipv4-addr:value = '192.0.2.999']", vec![], 1),
            ("[process:command_line = 'x']", vec![], 1),
            ("[domain-name:value LIKE '%.example']", vec![], 1),
        ] {
            let import = from_stix(&[indicator(pattern, json!({}))], &options());
            let values: Vec<_> = import.iocs.iter().map(|word| word.indicator.value()).collect();
            assert_eq!((values, import.skipped.len() >= skipped), (taken.clone(), true), "{pattern}");
            assert_eq!(import.skipped.is_empty(), skipped == 0, "{pattern} {:?}", import.skipped);
        }
    }

    #[test]
    fn the_revoked_the_expired_and_other_languages_are_skipped_with_reasons() {
        for (more, reason) in [
            (json!({"revoked": true}), "revoked"),
            (json!({"valid_until": "2027-01-01T00:00:00Z"}), "over"),
            (json!({"pattern_type": "yara", "pattern": "rule x {}"}), "yara"),
        ] {
            let import = from_stix(&[indicator("[ipv4-addr:value = '192.0.2.1']", more)], &options());
            assert_eq!(import.iocs, []);
            assert!(import.skipped[0].reason.contains(reason), "{:?}", import.skipped);
        }
    }

    #[test]
    fn observed_data_gives_its_observables_and_markings_become_tags() {
        let marking = object(json!({
            "type": "marking-definition", "spec_version": "2.1", "id": "marking-definition--00000000-0000-4000-8000-00000000000a",
            "created": "2026-01-01T00:00:00.000Z", "name": "TLP:RED", "definition_type": "statement",
            "definition": {"statement": "for you"},
        }));
        let address = object(json!({
            "type": "ipv4-addr", "spec_version": "2.1", "id": "ipv4-addr--00000000-0000-4000-8000-00000000000b",
            "value": "192.0.2.9",
        }));
        let stray = object(json!({
            "type": "domain-name", "spec_version": "2.1", "id": "domain-name--00000000-0000-4000-8000-00000000000c",
            "value": "stray.example",
        }));
        let observed = object(json!({
            "type": "observed-data", "spec_version": "2.1", "id": "observed-data--00000000-0000-4000-8000-00000000000d",
            "created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z",
            "first_observed": "2026-01-01T00:00:00Z", "last_observed": "2026-01-03T00:00:00Z", "number_observed": 1,
            "object_refs": ["ipv4-addr--00000000-0000-4000-8000-00000000000b"],
            "object_marking_refs": ["marking-definition--00000000-0000-4000-8000-00000000000a"],
        }));
        let import = from_stix(&[marking, address, stray, observed], &options());
        assert_eq!(import.iocs.len(), 1);
        assert_eq!(import.iocs[0].indicator.value(), "192.0.2.9");
        assert_eq!(import.iocs[0].tags, ["tlp:red"]);
        assert_eq!(import.iocs[0].seen_at, "2026-01-03T00:00:00Z".parse().unwrap());
    }
}
