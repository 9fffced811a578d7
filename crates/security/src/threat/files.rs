//! Rule files that a person hands over: read, checked as a whole, put into the folder of rules.

use std::path::Path;

use security_core::{ChangeSignal, Domain};
use security_threat::RuleSet;
use serde_json::{Value, json};

use super::{read_rules, rule_view};
use crate::{Engine, Error, Result, utils::generate_request_id};

/// Reads a rule file without storing anything: JSON by its ending `.json`, else YAML; one rule, a list of rules, or
/// `rules` with a list. The rules come back as [`Engine::list_rules`] shows them.
/// # Errors
/// [`Error::Invalid`] naming the place in the text, or the field and what it takes.
pub fn read_rule_file(file_name: &str, bytes: &[u8]) -> Result<Vec<Value>> {
    let rules =
        read_rules(Path::new(file_name), bytes).map_err(|(_, problem)| Error::invalid("rule", problem))?;
    let (_, refused) = RuleSet::compile(rules.iter().cloned());
    if let Some(problem) = refused.first() {
        return Err(Error::invalid("rule", format!("`{}`: {}", problem.rule_id, problem.message)));
    }
    Ok(rules.iter().map(|rule| rule_view(rule, file_name)).collect())
}

impl Engine {
    /// Puts a rule file into `threat_rules/` as it is, comments and all, and its rules in force in every process at
    /// once. A file of that name is replaced. Gives the rules.
    /// # Errors
    /// As [`read_rule_file`]; [`Error::Invalid`] for a name that is no rule file's, and for a rule whose id another
    /// file has; [`Error::Store`] when the file cannot be written.
    pub fn add_rule_file(&self, file_name: &str, bytes: &[u8]) -> Result<Vec<Value>> {
        let rules = read_rule_file(file_name, bytes)?;
        // A name that is none is refused before anything is recorded; only then a fault has no path.
        if let Some(fault) = self.rules.folder.read(file_name).err().filter(|fault| fault.path().is_none()) {
            return Err(Error::invalid("file_name", fault));
        }
        let ids: Vec<&str> = rules.iter().filter_map(|rule| rule["id"].as_str()).collect();
        for (at, id) in ids.iter().enumerate() {
            if ids[..at].contains(id) {
                return Err(Error::invalid(
                    "rule",
                    format!("id `{id}` is there twice; each rule needs its own"),
                ));
            }
        }
        for (rule, file) in self.current_rules()?.rules() {
            if file != file_name && ids.contains(&rule.id.as_str()) {
                let problem =
                    format!("id `{}` is taken by {file}; change the id or remove that file", rule.id);
                return Err(Error::invalid("rule", problem));
            }
        }
        let details = json!({"file": file_name, "rule_ids": ids});
        self.audited("rule_file_added", &generate_request_id(), details, || {
            self.put_rules(file_name, bytes)
        })?;
        Ok(rules)
    }

    /// Puts a rule file into the folder and in force in every process.
    pub(super) fn put_rules(&self, file_name: &str, bytes: &[u8]) -> Result<()> {
        self.rules.folder.write(file_name, bytes)?;
        self.page.begin(Domain::Rules);
        self.page.finish(Domain::Rules);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    const RULE: &str = "# ours\nid: admin-path\nname: Admin path\ndetection: {condition: {field: path, contains: /wp-admin}}\n";

    #[test]
    fn a_rule_file_is_in_force_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let engine =
            Engine::open(Options { data_dir: Some(folder.path().into()), ..Options::default() }).unwrap();
        let added = engine.add_rule_file("admin.yml", RULE.as_bytes()).unwrap();
        assert_eq!(
            (added[0]["id"].as_str(), added[0]["file"].as_str()),
            (Some("admin-path"), Some("admin.yml"))
        );
        let kept = std::fs::read_to_string(folder.path().join("threat_rules/admin.yml")).unwrap();
        assert_eq!(kept, RULE);
        let event = json!({"path": "/blog/wp-admin/setup"});
        assert_eq!(engine.analyze(&event, &serde_json::Map::new()).unwrap().len(), 1);
        // The same file again takes its own place; the same id in another file is refused and changes nothing.
        engine.add_rule_file("admin.yml", RULE.as_bytes()).unwrap();
        let taken = engine.add_rule_file("other.yml", RULE.as_bytes()).unwrap_err();
        assert!(taken.to_string().contains("taken by admin.yml"), "{taken}");
        assert!(!folder.path().join("threat_rules/other.yml").exists());
    }

    #[test]
    fn wrong_rule_files_are_refused_whole() {
        let twice =
            "- {id: a, name: A, detection: {pattern: x}}\n- {id: a, name: B, detection: {pattern: y}}\n";
        let folder = tempfile::tempdir().unwrap();
        let engine =
            Engine::open(Options { data_dir: Some(folder.path().into()), ..Options::default() }).unwrap();
        for (name, text) in [
            ("twice.yml", twice),
            ("broken.yml", "name: [unclosed"),
            ("nothing.json", "{\"name\": \"x\"}"),
            ("../up.yml", RULE),
            ("rule.txt", RULE),
        ] {
            assert!(
                matches!(engine.add_rule_file(name, text.as_bytes()), Err(Error::Invalid { .. })),
                "{name}"
            );
        }
        assert_eq!(engine.list_rules().unwrap().len(), 0);
    }
}
