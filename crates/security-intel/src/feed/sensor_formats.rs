//! Records in the forms that network sensors and resolvers load: Zeek, Suricata, response policy zones.
//!
//! **Invariant:** no value, source or description can break a line, a column or a name of these files: what has no safe
//! form in one is left out and counted.

use std::{
    io::Write,
    net::{IpAddr, Ipv6Addr},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ipnet::IpNet;
use security_indicators::IocType;

use super::export::{Exported, broken};
use crate::{IntelError, IocRecord, error::shorten};

/// What one dataset of Suricata holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dataset {
    /// Any text, in base64: names, URLs, e-mail addresses, file names, JA3 and JA4.
    Text,
    /// IPv4 and IPv6 addresses.
    Ip,
    /// MD5 digests in hex.
    Md5,
    /// SHA-256 digests in hex.
    Sha256,
}

/// The Intel framework's file: `#fields` and one indicator a line, separated by tabs.
/// Source: Zeek, Intel framework and input framework (ASCII reader).
pub(super) fn zeek(
    records: impl Iterator<Item = IocRecord>,
    output: &mut impl Write,
    done: &mut Exported,
) -> Result<(), IntelError> {
    writeln!(output, "#fields\tindicator\tindicator_type\tmeta.source\tmeta.desc").map_err(broken)?;
    for record in records {
        let kind = match record.kind {
            IocType::Ip => "Intel::ADDR",
            IocType::Cidr => "Intel::SUBNET",
            IocType::Url => "Intel::URL",
            IocType::Domain => "Intel::DOMAIN",
            IocType::Email => "Intel::EMAIL",
            IocType::FileName => "Intel::FILE_NAME",
            IocType::Md5 | IocType::Sha1 | IocType::Sha256 => "Intel::FILE_HASH",
            _ => {
                left_out(done, record.kind);
                continue;
            }
        };
        // Zeek knows URLs without their scheme.
        let value = match (record.kind, record.value.split_once("://")) {
            (IocType::Url, Some((_, rest))) => rest,
            _ => record.value.as_str(),
        };
        // `#` begins a header, a backslash an escape, and `-` and `(empty)` are no values.
        let is_special = value.starts_with('#') || matches!(value, "" | "-" | "(empty)");
        if is_special || value.contains(|c: char| c.is_control() || c == '\\' || c == '\t') {
            left_out(done, record.kind);
            continue;
        }
        let sources = record.sources.iter().map(|known| known.source.as_str()).collect::<Vec<_>>().join(";");
        writeln!(output, "{value}\t{kind}\t{}\t{}", column(&sources), column(&record.description))
            .map_err(broken)?;
        done.n_written += 1;
    }
    Ok(())
}

/// Free text as a column of Zeek: signs that mean something there become blanks, and nothing becomes `-`.
fn column(text: &str) -> String {
    let plain = |c: char| if c.is_control() || c == '\\' { ' ' } else { c };
    let text: String = shorten(text, 200).chars().map(plain).collect();
    match text.trim() {
        "" | "(empty)" => "-".to_owned(),
        text => text.to_owned(),
    }
}

/// The values of one dataset, one a line. Source: Suricata, "Datasets".
pub(super) fn suricata(
    records: impl Iterator<Item = IocRecord>,
    dataset: Dataset,
    output: &mut impl Write,
    done: &mut Exported,
) -> Result<(), IntelError> {
    for record in records {
        use IocType::{Domain, Email, FileName, Ip, Ja3, Ja4, Md5, Sha256, Url};
        let line = match (dataset, record.kind) {
            (Dataset::Text, Domain | Url | Email | FileName | Ja3 | Ja4) => STANDARD.encode(&record.value),
            (Dataset::Ip, Ip) => match record.value.parse::<IpAddr>() {
                Ok(address) => address.to_string(),
                Err(_) => String::new(),
            },
            (Dataset::Md5, Md5) | (Dataset::Sha256, Sha256)
                if record.value.bytes().all(|b| b.is_ascii_hexdigit()) =>
            {
                record.value.clone()
            }
            _ => String::new(),
        };
        if line.is_empty() {
            left_out(done, record.kind);
            continue;
        }
        writeln!(output, "{line}").map_err(broken)?;
        done.n_written += 1;
    }
    Ok(())
}

/// A response policy zone that answers NXDOMAIN for listed names and what is below them, and for answers with listed
/// addresses and networks. Names are relative to the zone. Its serial number is 1: the file is loaded anew, not
/// transferred. Source: draft-vixie-dnsop-dns-rpz §4.
pub(super) fn rpz(
    records: impl Iterator<Item = IocRecord>,
    output: &mut impl Write,
    done: &mut Exported,
) -> Result<(), IntelError> {
    writeln!(output, "$TTL 300\n@ SOA localhost. root.localhost. 1 3600 600 86400 300\n@ NS localhost.")
        .map_err(broken)?;
    for record in records {
        let written = match record.kind {
            IocType::Domain if is_name(&record.value) => {
                writeln!(output, "{0} CNAME .\n*.{0} CNAME .", record.value)
            }
            IocType::Ip | IocType::Cidr => match trigger(&record.value) {
                Some(name) => writeln!(output, "{name}.rpz-ip CNAME ."),
                None => {
                    left_out(done, record.kind);
                    continue;
                }
            },
            _ => {
                left_out(done, record.kind);
                continue;
            }
        };
        written.map_err(broken)?;
        done.n_written += 1;
    }
    Ok(())
}

/// Whether a name may stand in a zone file as it is, with room for the zone's own name. A first label `rpz-…` would be
/// a trigger of another sort.
fn is_name(name: &str) -> bool {
    let signs = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    name.len() <= 200
        && name.contains('.')
        && name.bytes().all(signs)
        && !name.split('.').any(|label| label.is_empty() || label.starts_with("rpz-"))
}

/// `24.0.2.0.192` for 192.0.2.0/24, `128.1.zz.db8.2001` for 2001:db8::1.
fn trigger(value: &str) -> Option<String> {
    let network = value.parse::<IpNet>().or_else(|_| value.parse::<IpAddr>().map(IpNet::from)).ok()?;
    let address = match network.network() {
        IpAddr::V4(v4) => v4.octets().iter().rev().map(u8::to_string).collect::<Vec<_>>().join("."),
        IpAddr::V6(v6) => backwards(v6),
    };
    Some(format!("{}.{address}", network.prefix_len()))
}

/// The groups of an address from the last to the first, its longest run of two zeros or more as `zz`.
fn backwards(address: Ipv6Addr) -> String {
    let groups = address.segments();
    let run_at = |at: usize| groups[at..].iter().take_while(|group| **group == 0).count();
    // The first of the longest ones.
    let longest = (0..8).rev().map(|at| (run_at(at), at)).max_by_key(|(len, _)| *len);
    let (len, start) = longest.filter(|(len, _)| *len > 1).unwrap_or((0, 8));
    let mut parts: Vec<String> = groups[..start].iter().map(|group| format!("{group:x}")).collect();
    if len > 0 {
        parts.push("zz".to_owned());
        parts.extend(groups[start + len..].iter().map(|group| format!("{group:x}")));
    }
    parts.reverse();
    parts.join(".")
}

fn left_out(done: &mut Exported, kind: IocType) {
    *done.left_out.entry(kind).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use security_core::Timestamp;
    use security_indicators::Indicator;

    use super::*;
    use crate::{ExportFormat, NewIoc, export};

    fn record(text: &str) -> IocRecord {
        IocRecord::new(NewIoc {
            indicator: text.parse::<Indicator>().unwrap(),
            original: None,
            source: "feed:\tone\n#two".to_owned(),
            confidence: 61,
            description: "a\\x09b\tc\r\nevil.example\tIntel::DOMAIN".to_owned(),
            tags: Vec::new(),
            related_intel_ids: Vec::new(),
            seen_at: Timestamp::EPOCH,
            first_seen: None,
            valid_until: None,
        })
    }

    fn written(records: Vec<IocRecord>, format: ExportFormat) -> (String, Exported) {
        let mut text = Vec::new();
        let done = export(records, format, &mut text).unwrap();
        (String::from_utf8(text).unwrap(), done)
    }

    #[test]
    fn zeek_has_four_columns_whatever_the_texts_are() {
        let all = IocType::ALL.iter().map(|kind| record(&format!("{kind}:{}", kind.example()))).collect();
        let (text, done) = written(all, ExportFormat::Zeek);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "#fields\tindicator\tindicator_type\tmeta.source\tmeta.desc");
        assert_eq!(lines.len(), done.n_written + 1);
        assert_eq!(done.n_written + done.left_out.values().sum::<usize>(), IocType::ALL.len());
        for line in &lines[1..] {
            let columns: Vec<&str> = line.split('\t').collect();
            assert_eq!(columns.len(), 4, "{line}");
            assert!(
                !line.starts_with('#') && columns[1].starts_with("Intel::") && !line.contains('\\'),
                "{line}"
            );
        }
        assert!(text.contains("\nevil.example.com/path\tIntel::URL\tfeed: one #two\t"), "{text}");
    }

    #[test]
    fn datasets_hold_one_sort_each() {
        let records = || {
            ["domain:evil.example.com", "ip:192.0.2.1", "ip:2001:db8::1", "cidr:192.0.2.0/24"]
                .map(record)
                .into_iter()
                .chain([record("md5:0123456789abcdef0123456789abcdef")])
                .collect::<Vec<_>>()
        };
        let of = |dataset| written(records(), ExportFormat::Suricata(dataset));
        assert_eq!(of(Dataset::Text).0, "ZXZpbC5leGFtcGxlLmNvbQ==\n");
        assert_eq!(of(Dataset::Ip).0, "192.0.2.1\n2001:db8::1\n");
        assert_eq!(of(Dataset::Md5).0, "0123456789abcdef0123456789abcdef\n");
        let (text, done) = of(Dataset::Sha256);
        assert_eq!((text.as_str(), done.n_written, done.left_out.len()), ("", 0, 4));
    }

    #[test]
    fn a_zone_has_triggers_of_names_and_addresses() {
        let records = [
            "domain:evil.example.com",
            "domain:_dmarc.example.com",
            "domain:rpz-ip.example.com",
            "ip:192.0.2.1",
            "cidr:192.0.2.0/24",
            "ip:2001:db8::1",
            "cidr:2001:db8:0:1::/64",
            "url:http://evil.example.com/",
        ];
        let (text, done) = written(records.map(record).to_vec(), ExportFormat::Rpz);
        let lines: Vec<&str> = text.lines().skip(3).collect();
        assert_eq!(
            lines,
            [
                "evil.example.com CNAME .",
                "*.evil.example.com CNAME .",
                "_dmarc.example.com CNAME .",
                "*._dmarc.example.com CNAME .",
                "32.1.2.0.192.rpz-ip CNAME .",
                "24.0.2.0.192.rpz-ip CNAME .",
                "128.1.zz.db8.2001.rpz-ip CNAME .",
                "64.zz.1.0.db8.2001.rpz-ip CNAME .",
            ]
        );
        assert_eq!((done.n_written, done.left_out.values().sum::<usize>()), (6, 2));
    }

    /// A record need not come from our parsers: a store may have been written by somebody else.
    #[test]
    fn a_value_cannot_break_a_line() {
        for hostile in [
            "evil.example.com\tx\n#close",
            "x CNAME .\n@ A 192.0.2.1",
            "a;b",
            "$INCLUDE /etc/passwd",
            "",
            "-",
        ] {
            for (kind, format) in [
                (IocType::Domain, ExportFormat::Rpz),
                (IocType::Ip, ExportFormat::Rpz),
                (IocType::Ip, ExportFormat::Suricata(Dataset::Ip)),
                (IocType::Md5, ExportFormat::Suricata(Dataset::Md5)),
                (IocType::Domain, ExportFormat::Suricata(Dataset::Text)),
                (IocType::FileName, ExportFormat::Zeek),
            ] {
                let empty = written(Vec::new(), format).0;
                let mut broken = record("domain:evil.example.com");
                (broken.kind, broken.value) = (kind, hostile.to_owned());
                let (text, done) = written(vec![broken], format);
                let new = &text[empty.len()..];
                let lines = new.lines().count();
                assert_eq!(lines, done.n_written, "{format}: {new:?}");
                assert!(!new.contains("INCLUDE") || format == ExportFormat::Zeek, "{format}: {new:?}");
            }
        }
    }
}
