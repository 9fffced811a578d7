//! The house's one law: arrows point down only. Read from the manifests, so that it holds for what is built.

use std::collections::BTreeMap;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// The floor of every crate of the workspace. A crate that is not here fails the test: give it a floor.
const FLOORS: [(&str, u8); 14] = [
    ("security-core", 0),
    ("security-indicators", 1),
    ("security-credentials", 1),
    ("security-stix", 1),
    ("security-intel", 2),
    ("security-threat", 2),
    ("security-web", 2),
    ("security-store", 3),
    ("security-taxii", 3),
    ("security-shared", 3),
    ("security", 4),
    ("security-cli", 5),
    ("security-python", 5),
    ("security-axum-example", 5),
];

/// The one arrow between faces so far: the wheel installs the command, which is the same code.
const BETWEEN_FACES: [(&str, &str); 1] = [("security-python", "security-cli")];

/// Who may depend on what from outside.
const RESERVED: [(&str, &[&str]); 15] = [
    ("pyo3", &["security-python"]),
    ("clap", &["security-cli"]),
    ("indicatif", &["security-cli"]),
    ("rusqlite", &["security-store"]),
    ("ureq", &["security-taxii"]),
    ("sha1", &["security-credentials"]),
    ("sha2", &["security-credentials"]),
    ("hmac", &["security-credentials"]),
    ("argon2", &["security-credentials"]),
    ("chacha20poly1305", &["security-credentials"]),
    ("memmap2", &["security-shared"]),
    // The example serves with them; the engine itself knows of `tower` only the two traits, behind a feature.
    ("tokio", &["security-axum-example"]),
    ("axum", &["security-axum-example"]),
    ("tower-service", &["security"]),
    ("anyhow", &["security-cli"]),
];

/// What a crate below floor 3 cannot need: the world is an argument there.
const WORLDLY: [&str; 6] = ["getrandom", "tempfile", "libc", "rustix", "tracing-subscriber", "toml"];

fn dependencies() -> BTreeMap<String, Vec<String>> {
    let metadata = MetadataCommand::new().no_deps().exec().expect("the manifests can be read");
    let packages = metadata.packages.into_iter().map(|package| {
        let normal = package.dependencies.into_iter().filter(|d| d.kind == DependencyKind::Normal);
        (package.name.to_string(), normal.map(|d| d.name).collect())
    });
    packages.collect()
}

fn floor_of(name: &str) -> Option<u8> {
    FLOORS.iter().find(|(known, _)| *known == name).map(|(_, floor)| *floor)
}

#[test]
fn every_crate_has_a_floor() {
    let crates: Vec<String> = dependencies().into_keys().collect();
    let unknown: Vec<_> = crates.iter().filter(|name| floor_of(name).is_none()).collect();
    assert!(unknown.is_empty(), "crates without a floor: {unknown:?}");
    let gone: Vec<_> = FLOORS.iter().filter(|(name, _)| !crates.iter().any(|known| known == name)).collect();
    assert!(gone.is_empty(), "floors without a crate: {gone:?}");
}

#[test]
fn arrows_point_down_only() {
    let mut wrong = Vec::new();
    for (from, targets) in dependencies() {
        for to in targets {
            let (Some(high), Some(low)) = (floor_of(&from), floor_of(&to)) else { continue };
            if low >= high && !BETWEEN_FACES.contains(&(from.as_str(), to.as_str())) {
                wrong.push(format!("{from} (floor {high}) -> {to} (floor {low})"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that do not point down: {wrong:#?}");
}

#[test]
fn faces_know_the_door_alone() {
    for (from, targets) in dependencies() {
        if floor_of(&from) == Some(5) {
            let beyond: Vec<_> =
                targets.iter().filter(|to| floor_of(to).is_some_and(|floor| floor < 4)).collect();
            assert!(beyond.is_empty(), "{from} reaches past the door: {beyond:?}");
        }
    }
}

#[test]
fn what_is_reserved_stays_where_it_is() {
    for (from, targets) in dependencies() {
        for (outside, allowed) in RESERVED {
            let uses = targets.iter().any(|to| to == outside);
            assert!(!uses || allowed.contains(&from.as_str()), "{from} must not depend on {outside}");
        }
        if floor_of(&from).is_some_and(|floor| floor < 3) {
            let worldly: Vec<_> = targets.iter().filter(|to| WORLDLY.contains(&to.as_str())).collect();
            assert!(worldly.is_empty(), "{from} is below floor 3 and reaches into the world: {worldly:?}");
        }
    }
}
