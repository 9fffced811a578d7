//! `security init`: make the data directory and say what is set up.

use serde_json::{Value, json};

use crate::{
    output::{Exit, Outcome, value_of},
    session::Session,
};

pub(crate) fn run(session: &mut Session) -> Outcome {
    let engine = session.engine()?;
    let mut folders: Vec<String> = std::fs::read_dir(engine.data_dir())
        .map(|entries| entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
        .unwrap_or_default();
    folders.retain(|name| !name.starts_with('.') && engine.data_dir().join(name).is_dir());
    folders.sort();
    let set: Vec<Value> = value_of(&engine.config_show()?)?
        .as_array()
        .into_iter()
        .flatten()
        .filter(|line| line["value"] == "****")
        .map(|line| line["name"].clone())
        .collect();
    let data_dir = engine.data_dir().display().to_string();
    if session.output.is_json() {
        session.output.record(&json!({"data_dir": data_dir, "folders": folders, "secrets_set": set}))?;
        return Ok(Exit::Clean);
    }
    session.output.facts(&json!({"data directory": data_dir, "folders": folders, "secrets set": set}))?;
    if set.is_empty() {
        session
            .output
            .remark("next: `security key issue NAME` makes an API key; `security --help` shows the rest");
    }
    Ok(Exit::Clean)
}
