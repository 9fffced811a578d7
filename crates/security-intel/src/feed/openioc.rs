//! OpenIOC 1.0 and 1.1: an XML document whose `IndicatorItem`s say where a value is met.
//!
//! Only what is met as it stands is an indicator: an item with `condition="is"` (or `contains` where the value is whole
//! all the same) that is not negated, on a search for an address, name, URL, digest, file or key. How items are joined
//! by `AND` is not kept: each value is a word of its own. A document type is refused, so no entity is ever expanded
//! but the five of XML and those of single characters. Source: OpenIOC schema, mandiant/OpenIOC_1.1.

use std::io::{BufRead, Read};

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};

use super::{Entry, FeedOptions, Step};
use crate::IntelError;

const NAME: &str = "OpenIOC";
/// The deepest nesting of elements; real documents have ten levels.
const DEEPEST: usize = 100;

/// What a search looks for, by the end of its path in lower case, and the kind its value then is. `localIP` is not among
/// them: it is the address of whoever is attacked.
const SEARCHES: &[(&str, &str)] = &[
    ("md5sum", "md5"),
    ("sha1sum", "sha1"),
    ("sha256sum", "sha256"),
    ("ssdeep", "ssdeep"),
    ("imphash", "imphash"),
    ("filename", "file_name"),
    ("fullpath", "file_path"),
    ("filepath", "file_path"),
    ("remoteip", "ip"),
    ("ipv4address", "ip"),
    ("dns", "domain"),
    ("dnsentryitem/host", "domain"),
    ("dnsentryitem/recordname", "domain"),
    ("uri", "url"),
    ("url", "url"),
    ("email/from", "email"),
    ("registryitem/keypath", "registry_key"),
    ("registryitem/path", "registry_key"),
];

/// An `IndicatorItem` as far as it was read.
#[derive(Default)]
struct Item {
    is_plain: bool,
    search: String,
    value: String,
}

/// Reads a document, which is held as a whole.
pub(crate) fn read(input: impl BufRead, options: &FeedOptions) -> Result<Vec<Step>, IntelError> {
    let most = options.limits.max_bytes;
    let mut text = String::new();
    let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let source = |source| IntelError::Stream { doing: "reading the feed", source };
    input.take(bound).read_to_string(&mut text).map_err(source)?;
    if text.len() > most {
        return Err(IntelError::TooLarge { what: "the OpenIOC document in bytes", size: text.len(), most });
    }
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut steps = Vec::new();
    let (mut depth, mut is_openioc) = (0, false);
    let mut description = String::new();
    let mut item: Option<Item> = None;
    // The element whose text is being read.
    let mut inside = String::new();
    loop {
        let event = reader.read_event().map_err(|error| malformed(&error.to_string()))?;
        let part = match event {
            Event::Eof => break,
            Event::DocType(_) => return Err(malformed("it has a document type, which is not accepted")),
            Event::Start(start) => {
                depth += 1;
                if depth > DEEPEST {
                    return Err(malformed("its elements are nested too deeply"));
                }
                inside = start.local_name().as_ref().to_ascii_lowercase();
                is_openioc |= depth == 1 && matches!(inside.as_str(), "ioc" | "openioc");
                open(&start, &inside, &mut item)?;
                continue;
            }
            Event::Empty(start) => {
                open(&start, &start.local_name().as_ref().to_ascii_lowercase(), &mut item)?;
                continue;
            }
            Event::End(end) => {
                depth -= 1;
                inside.clear();
                if end.local_name().as_ref().eq_ignore_ascii_case("indicatoritem")
                    && let Some(item) = item.take()
                {
                    steps.push(step(&item, steps.len() + 1, &description, options));
                }
                continue;
            }
            Event::Text(text) => text.xml10_content().into_owned(),
            Event::CData(text) => text.xml10_content().into_owned(),
            Event::GeneralRef(reference) => {
                let character =
                    reference.resolve_char_ref().map_err(|error| malformed(&error.to_string()))?;
                match (character, &*reference) {
                    (Some(character), _) => character.to_string(),
                    (None, "amp") => "&".to_owned(),
                    (None, "lt") => "<".to_owned(),
                    (None, "gt") => ">".to_owned(),
                    (None, "quot") => "\"".to_owned(),
                    (None, "apos") => "'".to_owned(),
                    (None, _) => return Err(malformed("it has an entity of its own")),
                }
            }
            _ => continue,
        };
        match (&mut item, inside.as_str()) {
            (Some(item), "content") => item.value.push_str(&part),
            (None, "short_description") => description.push_str(&part),
            _ => {}
        }
    }
    if !is_openioc || depth != 0 {
        return Err(malformed("it is no OpenIOC document"));
    }
    Ok(steps)
}

/// Notes what an opening element says of the item it is, or is in.
fn open(start: &BytesStart<'_>, name: &str, item: &mut Option<Item>) -> Result<(), IntelError> {
    let attribute = |wanted: &str| -> Result<Option<String>, IntelError> {
        let found = start.try_get_attribute(wanted).map_err(|error| malformed(&error.to_string()))?;
        let value =
            found.map(|found| found.normalized_value(XmlVersion::Implicit1_0).map(|text| text.into_owned()));
        value.transpose().map_err(|error| malformed(&error.to_string()))
    };
    match (name, item) {
        ("indicatoritem", item) => {
            let condition = attribute("condition")?.unwrap_or_default().to_ascii_lowercase();
            let is_negated = attribute("negate")?.is_some_and(|text| text.eq_ignore_ascii_case("true"));
            let is_plain = matches!(condition.as_str(), "is" | "contains") && !is_negated;
            *item = Some(Item { is_plain, ..Item::default() });
        }
        ("context", Some(item)) => {
            item.search = attribute("search")?.unwrap_or_default().to_ascii_lowercase();
        }
        _ => {}
    }
    Ok(())
}

fn step(item: &Item, line: usize, description: &str, options: &FeedOptions) -> Step {
    if !item.is_plain {
        return Step::LeftOut("an OpenIOC condition that is not met by one value");
    }
    let ends = |end: &str| {
        item.search.strip_suffix(end).is_some_and(|before| before.is_empty() || before.ends_with('/'))
    };
    let Some((_, kind)) = SEARCHES.iter().find(|(end, _)| ends(end)) else {
        return Step::LeftOut("an OpenIOC search for what is no indicator");
    };
    // A bare host stands in many searches for a URI.
    let kind = if *kind == "url" && !item.value.contains('/') { None } else { Some(*kind) };
    Entry { line, kind, value: &item.value, description, ..Entry::default() }.step(options)
}

fn malformed(reason: &str) -> IntelError {
    IntelError::malformed(NAME, reason)
}

#[cfg(test)]
mod tests {
    use security_core::{Limits, Timestamp};

    use super::*;
    use crate::{FeedFormat, FeedReader};

    fn finds(text: &str, limits: Limits) -> Result<(Vec<String>, usize, usize), String> {
        let options = FeedOptions { limits, ..FeedOptions::new("x", Timestamp::from_seconds(2_000_000_000)) };
        let mut reader =
            FeedReader::guess(None, text.as_bytes(), options).map_err(|error| error.to_string())?;
        assert_eq!(reader.format(), FeedFormat::OpenIoc);
        let words: Vec<String> =
            reader.by_ref().filter_map(Result::ok).map(|word| word.indicator.to_string()).collect();
        let totals = reader.finish().map_err(|error| error.to_string())?;
        Ok((words, totals.n_rejected, totals.left_out.values().sum()))
    }

    fn document(items: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<ioc xmlns=\"http://schemas.mandiant.com/2010/ioc\" id=\"1\">\
             <short_description>A &amp; B</short_description><definition><Indicator operator=\"OR\">{items}\
             </Indicator></definition></ioc>"
        )
    }

    fn item(condition: &str, search: &str, value: &str) -> String {
        format!(
            "<IndicatorItem id=\"i\" condition=\"{condition}\"><Context document=\"D\" search=\"{search}\" type=\"mir\"/>\
             <Content type=\"string\">{value}</Content></IndicatorItem>"
        )
    }

    #[test]
    fn items_become_indicators() {
        let text = document(
            &[
                item("is", "FileItem/Md5sum", " 0123456789ABCDEF0123456789abcdef "),
                item("is", "PortItem/remoteIP", "192.0.2.1"),
                item("contains", "Network/DNS", "evil.example.com"),
                item("is", "Network/URI", "http://evil.example.com/?a=1&amp;b=&#50;"),
                item("is", "UrlHistoryItem/URL", "<![CDATA[http://evil.example.com/?a=1&b=2]]>"),
                item("is", "FileItem/FileName", "invoice.exe"),
                item("matches", "FileItem/FileName", "in.*"),
                item("is", "ProcessItem/name", "svc"),
                item("is", "PortItem/localIP", "192.0.2.9"),
                item("is", "FileItem/Md5sum", "no digest"),
            ]
            .concat(),
        );
        let (found, rejected, left_out) = finds(&text, Limits::DEFAULT).unwrap();
        let url = "url:http://evil.example.com/?a=1&b=2";
        let digest = "md5:0123456789abcdef0123456789abcdef";
        let expected = [digest, "ip:192.0.2.1", "domain:evil.example.com", url, url, "file_name:invoice.exe"];
        assert_eq!(found, expected);
        assert_eq!((rejected, left_out), (1, 3));
    }

    #[test]
    fn hostile_documents_are_refused() {
        let bomb = "<!DOCTYPE ioc [<!ENTITY a \"x\"><!ENTITY b \"&a;&a;&a;\">]><ioc>&b;</ioc>";
        assert!(finds(bomb, Limits::DEFAULT).unwrap_err().contains("document type"));
        let own = document(&item("is", "Network/DNS", "&evil;"));
        assert!(finds(&own, Limits::DEFAULT).unwrap_err().contains("entity of its own"));
        let deep = format!("<ioc>{}", "<a>".repeat(100_000));
        assert!(finds(&deep, Limits::DEFAULT).unwrap_err().contains("nested too deeply"));
        for broken in ["<ioc><definition></ioc>", "<ioc>", "<ioc a=1></ioc>x<"] {
            assert!(finds(broken, Limits::DEFAULT).is_err(), "{broken}");
        }
        let small = Limits { max_bytes: 64, ..Limits::DEFAULT };
        assert!(finds(&document(""), small).unwrap_err().contains("OpenIOC"));
    }
}
