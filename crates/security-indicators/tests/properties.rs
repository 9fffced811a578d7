//! What holds for every input.

use std::collections::HashMap;

use proptest::prelude::*;
use security_indicators::{
    ExtractOptions, Hit, Indicator, IocType, MatchIndex, MatchType, defang, extract, extract_through, refang,
    special_use,
};

/// Text made of what the extractor looks for, cut and glued: far likelier to reach its corners than random letters.
fn pieces() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "evil",
        "example",
        "com",
        ".",
        "[.]",
        "[s]",
        "[http]",
        "ASN ",
        "‐",
        "{.}",
        "(:)",
        "-",
        "_",
        "(dot)",
        " [.] ",
        "[.",
        ".]",
        "@",
        "[at]",
        "://",
        "[:]//",
        "[://]",
        "http",
        "hxxps",
        "h**p",
        "HTTP",
        "/",
        "\\",
        "\\n",
        "\\u003c",
        "?",
        "#",
        "&amp;",
        "&quot;",
        "%2e",
        "%3A%2F%2F",
        "192",
        "0",
        "2",
        "1",
        "255",
        ":",
        "::",
        "[",
        "]",
        "(",
        ")",
        "2001:db8::1",
        "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "CVE-2024-12345",
        "AS64496",
        "T1059",
        "HKLM\\Software",
        "C:\\a\\b.exe",
        "%APPDATA%\\x",
        "/etc/x",
        "ü",
        "访问",
        "рф",
        "да",
        "ที่",
        "ｃｏｍ",
        "．",
        "＠",
        "²",
        "é\u{301}",
        "\u{1f992}",
        "«",
        "“",
        "”",
        "–",
        " DOT ",
        "Final",
        "The ",
        " and ",
        "version ",
        "。",
        "\u{200b}",
        "\u{ad}",
        "’",
        " ",
        "\n",
        "-",
        "_",
        "+",
        "'",
        "\"",
        "<",
        ">",
        ",",
        ";",
        "|",
        "*",
        "^",
        "`",
        "stratum+tcp",
        "3:",
        "96:abcdefgh:abc",
        "www",
        "xn--",
        "bc1q",
        "0x",
        "user:pw@",
        "setup.py",
        "00:00:5e:00:53:01",
        "/24",
        ":443",
        "\u{10ffff}",
        "\0",
    ];
    prop::collection::vec(prop::sample::select(PIECES), 0..24).prop_map(|pieces| pieces.concat())
}

fn kinds() -> impl Strategy<Value = IocType> {
    prop::sample::select(IocType::ALL)
}

/// Indicators that meet one another often.
fn related() -> impl Strategy<Value = Indicator> {
    let address = (0u8..3, 0u8..3).prop_map(|(a, b)| format!("192.0.{a}.{b}"));
    let name = prop::collection::vec(prop::sample::select(vec!["a", "b"]), 0..3).prop_map(|labels| {
        labels.iter().map(|label| format!("{label}.")).collect::<String>() + "example.com"
    });
    let host = prop_oneof![name.clone(), address.clone()];
    let path = prop::collection::vec(prop::sample::select(vec!["a", "b", ""]), 0..4)
        .prop_map(|parts| parts.join("/"));
    prop_oneof![
        address.clone().prop_map(|text| format!("ip:{text}")),
        (address.clone(), 0u8..=32).prop_map(|(text, length)| format!("cidr:{text}/{length}")),
        address.prop_map(|text| format!("ip:port:{text}:80")),
        (0u8..3, 120u8..=128).prop_map(|(part, length)| format!("cidr:2001:db8::{part}/{length}")),
        (0u8..3).prop_map(|part| format!("ip:2001:db8::{part}")),
        name.clone().prop_map(|text| format!("domain:{text}")),
        name.prop_map(|text| format!("email:x@{text}")),
        (host, path, any::<bool>()).prop_map(|(host, path, query)| format!(
            "url:http://{host}/{path}{}",
            if query { "?q" } else { "" }
        )),
    ]
    .prop_map(|text| text.parse().expect("made to be right"))
}

/// How a checked indicator meets a listed one, said in the obvious way.
fn meets(listed: &Indicator, checked: &Indicator) -> Option<MatchType> {
    let covers = |host: &str| match listed.kind() {
        IocType::Domain => host == listed.value() || host.ends_with(&format!(".{}", listed.value())),
        IocType::Ip => host == listed.value(),
        IocType::Cidr => host
            .parse()
            .is_ok_and(|host: std::net::IpAddr| listed.network().expect("a network has one").contains(&host)),
        _ => false,
    };
    if listed == checked {
        return Some(MatchType::Exact);
    }
    let inside = || {
        let (listed, checked) = (listed.network()?, checked.network()?);
        listed.contains(&checked).then_some(MatchType::Cidr)
    };
    let prefix = || {
        let rest = checked.value().strip_prefix(listed.value())?;
        let boundary = listed.value().ends_with('/') || rest.starts_with(['/', '?']);
        // In a query there are no boundaries.
        (boundary && !listed.value().contains('?')).then_some(MatchType::UrlPrefix)
    };
    match (listed.kind(), checked.kind()) {
        (IocType::Ip | IocType::Cidr, IocType::Ip | IocType::Cidr) => inside(),
        (IocType::Domain, IocType::Domain) => covers(checked.value()).then_some(MatchType::Subdomain),
        (IocType::Url, IocType::Url) => prefix(),
        (_, IocType::Url | IocType::Email | IocType::IpPort) => {
            covers(checked.host().expect("these kinds have one")).then_some(MatchType::Host)
        }
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(2000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parsers_take_any_text(kind in kinds(), text in prop_oneof![any::<String>(), pieces()]) {
        if let Ok(indicator) = Indicator::parse(kind, &text) {
            let again = Indicator::parse(indicator.kind(), indicator.value());
            prop_assert_eq!(again.as_ref(), Ok(&indicator), "the canonical form parses to itself");
            let named: Result<Indicator, _> = indicator.to_string().parse();
            prop_assert_eq!(named.as_ref(), Ok(&indicator));
            let _ = (special_use(&indicator), indicator.host(), indicator.address(), indicator.network());
        }
        let _ = Indicator::from_parts(&text, &text);
        let _ = Indicator::identify(&text);
        let _ = refang(&text);
    }

    #[test]
    fn what_is_identified_is_of_that_kind(text in pieces()) {
        if let Some(indicator) = Indicator::identify(&text) {
            let parsed = Indicator::parse(indicator.kind(), &text);
            // A domain with a port is the one text that has more in it than the indicator.
            if indicator.kind() != IocType::Domain || parsed.is_ok() {
                prop_assert_eq!(parsed, Ok(indicator));
            }
        }
    }

    #[test]
    fn findings_lie_in_the_text(text in prop_oneof![any::<String>(), pieces()], file_names: bool, only in prop::option::of(kinds())) {
        let types = only.map(|kind| [kind].into_iter().collect());
        let options = ExtractOptions { file_names, types, ..ExtractOptions::default() };
        let mut done = 0;
        for found in extract(&text, &options) {
            prop_assert!(done <= found.start && found.start < found.end, "in order, apart");
            done = found.end;
            prop_assert!(text.get(found.start..found.end).is_some(), "at character boundaries");
            prop_assert!(found.context(&text, 5).contains(&text[found.start..found.end]));
            prop_assert!(options.wants(found.indicator.kind()));
            let again = Indicator::parse(found.indicator.kind(), found.indicator.value());
            prop_assert_eq!(again, Ok(found.indicator), "canonical");
        }
    }

    #[test]
    fn the_masks_leave_nothing_out(
        texts in prop::collection::vec(prop_oneof![any::<String>(), pieces(), pieces(), "[0-9a-fT:.-]{0,30}", "[a-zA-Z0-9._@:/%\\\\\\[\\] -]{0,40}"], 1..8),
        file_names: bool,
        dedupe: bool,
        only in prop::option::of(kinds()),
        max_hits in prop::option::weighted(0.1, 0usize..4),
    ) {
        let types = only.map(|kind| [kind].into_iter().collect());
        let mut options = ExtractOptions { file_names, types, dedupe, ..ExtractOptions::default() };
        options.max_hits = max_hits.unwrap_or(options.max_hits);
        let text = texts.concat();
        prop_assert_eq!(extract(&text, &options), extract_through(&text, &options));
    }

    #[test]
    fn texts_apart_do_not_meet(texts in prop::collection::vec(pieces(), 0..6)) {
        // A line of dashes stands between; findings in one are findings in all of them joined.
        let joined = texts.join("\n---\n");
        let all: Vec<_> = extract(&joined, &ExtractOptions::default()).into_iter().map(|found| (found.indicator, found.defanged)).collect();
        let mut each = Vec::new();
        for text in &texts {
            each.extend(extract(text, &ExtractOptions::default()).into_iter().map(|found| (found.indicator, found.defanged)));
        }
        prop_assert_eq!(all, each);
    }

    #[test]
    fn defanging_loses_nothing(text in pieces()) {
        let found = |text: &str| -> Vec<Indicator> {
            extract(text, &ExtractOptions::default()).into_iter().map(|found| found.indicator).collect()
        };
        let before = found(&text);
        let disarmed = defang(&text);
        let after = found(&disarmed);
        for indicator in &before {
            // A word behind a plain name is one of the sentence; behind a disarmed one it is the path of a URL, whose host
            // is still there.
            let host = format!("http://{}/", indicator.value().trim_end_matches(":80"));
            let is_host = matches!(indicator.kind(), IocType::Domain | IocType::Ip | IocType::IpPort)
                && after.iter().any(|one| one.kind() == IocType::Url && one.value().starts_with(&host));
            prop_assert!(is_host || after.contains(indicator), "{} in {disarmed:?}", indicator);
        }
    }

    #[test]
    fn the_index_is_right(listed in prop::collection::vec((related(), 0i64..20), 0..20), gone in prop::collection::vec(0usize..20, 0..8), checked in related()) {
        let mut index = MatchIndex::new();
        let mut model: Vec<(Indicator, i64)> = Vec::new();
        for (indicator, row) in &listed {
            index.insert(indicator, *row);
            if !model.contains(&(indicator.clone(), *row)) {
                model.push((indicator.clone(), *row));
            }
        }
        for at in gone {
            if let Some((indicator, row)) = listed.get(at) {
                index.remove(indicator, *row);
                model.retain(|entry| entry != &(indicator.clone(), *row));
            }
        }
        prop_assert_eq!(index.len(), model.len());
        prop_assert_eq!(index.is_empty(), model.is_empty());
        let hits = index.matches(&checked);
        let count = |hits: &[Hit]| hits.iter().fold(HashMap::new(), |mut counts, hit| {
            *counts.entry((hit.row, hit.match_type)).or_insert(0) += 1;
            counts
        });
        let expected: Vec<Hit> = model.iter().filter_map(|(indicator, row)| {
            meets(indicator, &checked).map(|match_type| Hit { row: *row, match_type })
        }).collect();
        prop_assert_eq!(count(&hits), count(&expected));
        let first_other = hits.iter().position(|hit| hit.match_type != MatchType::Exact).unwrap_or(hits.len());
        prop_assert!(hits[first_other..].iter().all(|hit| hit.match_type != MatchType::Exact), "exact ones first");
    }
}

/// Invisible characters among the hyphens at the end of a name: a finding once ended inside one of them.
#[test]
fn a_finding_ends_between_characters() {
    for (text, name) in [
        ("a evil.example.com_\u{ad}- b", "evil.example.com"),
        ("a evil.example.com\u{ad}_- b", "evil.example.com"),
        ("a evil.example.com-ba\u{200b}sed b", "evil.example.com"),
        ("a x@evil.example.com-\u{200b}-_ b", "x@evil.example.com"),
        ("a evil.exa\u{200b}mple.com- b", "evil.exa\u{200b}mple.com"),
    ] {
        let found = extract(text, &ExtractOptions::default());
        let parts: Vec<_> = found.iter().map(|found| text.get(found.start..found.end)).collect();
        assert_eq!(parts, [Some(name)], "{text:?}");
        let _ = defang(text);
    }
}

/// Texts that make a careless search look back or ahead again and again. Where the work grows with the square of the
/// text this test does not come to an end.
#[test]
fn hostile_texts_end() {
    const LENGTH: usize = 1_000_000;
    for piece in [
        "-",
        "------- ",
        "-.] ",
        "_[.] ",
        "_.",
        "a.",
        "a@",
        "a@b.",
        "http://",
        "http://a",
        "http://[",
        "http://%",
        "http://a%@",
        "http://a.com/(",
        "hxxp://a[.]",
        "1.",
        "1.2.3.4",
        "1.2.3.4:",
        ":",
        "::",
        "a:",
        "ab:cd:",
        "[",
        "[.]",
        "(",
        "a[.]",
        "0a",
        "C:\\",
        "C:\\a ",
        "C:\\)",
        "\"C:\\a b",
        "HKLM\\",
        "HKLM\\a\\",
        "\\",
        "\\n",
        "%",
        "%2e",
        "&amp;",
        "é",
        "。",
        "a\u{200b}",
        "-",
        "_",
        "CVE-",
        "CVE-2024-",
        "3:",
        "3:aaaaaa:",
        "AS1",
        "T1059.",
        "bc1q",
        "/etc/",
        "#/usr/",
        "stratum+tcp://",
        "a ",
        "a+",
        "+a@b.com",
        "http%3A%2F%2F",
    ] {
        let text = piece.repeat(LENGTH / piece.len());
        for options in
            [ExtractOptions::default(), ExtractOptions { file_names: true, ..ExtractOptions::default() }]
        {
            let found = extract(&text, &options);
            assert_eq!(found, extract_through(&text, &options), "{piece:?}");
        }
        let _ = (defang(&text), refang(&text));
    }
}
