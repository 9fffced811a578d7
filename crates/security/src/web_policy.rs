//! The web layer's policy as it is in use: the engine's own, or that with some settings of one application's own.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use security_web::{InspectionPolicy, Policy, ResponseHeaders};
use serde_json::{Map, Value};

use crate::{Engine, Error, Result};

/// A policy, ready for requests.
#[derive(Debug)]
pub struct WebPolicy {
    pub(crate) policy: Policy,
    pub(crate) headers: Arc<ResponseHeaders>,
    /// How bodies are inspected: as everything else, with a budget of values of their own.
    pub(crate) body_inspection: InspectionPolicy,
}

impl WebPolicy {
    /// Takes a policy as it is, and makes its headers.
    pub(crate) fn new(policy: Policy) -> Arc<Self> {
        let headers = Arc::new(policy.response_headers.compile());
        let max_parameters = policy.bodies.max_values;
        let body_inspection = InspectionPolicy { max_parameters, ..policy.inspection.clone() };
        Arc::new(Self { policy, headers, body_inspection })
    }
}

/// Settings that one application has instead of the engine's: names and values of the configuration's `[web]` table.
///
/// What is not named is the engine's own, also inside tables like `limits`. Counts are the engine's whatever the
/// policy: a client that comes to two applications has one count and one lock-out.
#[derive(Debug)]
pub struct PolicyOverride {
    settings: Map<String, Value>,
    // The last engine asked for, and the policy made for it: one process has one engine at a time.
    made: Mutex<Option<(Weak<crate::Settings>, Arc<WebPolicy>)>>,
}

impl PolicyOverride {
    /// Settings on top of the engine's.
    /// # Errors
    /// [`Error::Invalid`] names the setting that does not exist or cannot be used.
    pub fn new(settings: Map<String, Value>) -> Result<Self> {
        overridden(&Policy::default(), &settings)?;
        Ok(Self { settings, made: Mutex::new(None) })
    }

    /// The policy on top of this engine's.
    /// # Errors
    /// [`Error::Invalid`] when a setting does not go together with the engine's.
    pub fn on(&self, engine: &Engine) -> Result<Arc<WebPolicy>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((settings, policy)) = made.as_ref()
            && std::ptr::eq(settings.as_ptr(), Arc::as_ptr(&engine.settings))
        {
            return Ok(policy.clone());
        }
        let policy = WebPolicy::new(overridden(&engine.settings.web, &self.settings)?);
        *made = Some((Arc::downgrade(&engine.settings), policy.clone()));
        Ok(policy)
    }
}

fn overridden(policy: &Policy, settings: &Map<String, Value>) -> Result<Policy> {
    let invalid = |problem: &dyn std::fmt::Display| Error::invalid("policy", problem);
    let mut value = serde_json::to_value(policy).map_err(|error| invalid(&error))?;
    merge(&mut value, settings);
    serde_json::from_value(value).map_err(|error| invalid(&error))
}

/// Tables are merged, everything else is replaced.
fn merge(into: &mut Value, settings: &Map<String, Value>) {
    let Some(table) = into.as_object_mut() else { return };
    for (name, value) in settings {
        match (table.get_mut(name), value) {
            (Some(known @ Value::Object(_)), Value::Object(inner)) => merge(known, inner),
            _ => {
                table.insert(name.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    use super::*;
    use serde_json::json;

    fn on_default(settings: Value) -> Result<Policy> {
        overridden(&Policy::default(), settings.as_object().unwrap())
    }

    #[test]
    fn what_is_not_named_stays() {
        let policy = on_default(json!({"limits": {"client": "3/hour"}, "mode": "shadow"})).unwrap();
        assert_eq!(policy.limits.client.rate().unwrap().to_string(), "3/hour");
        assert_eq!(policy.limits.key, Policy::default().limits.key);
        assert_eq!(policy.exempt_paths, Policy::default().exempt_paths);
        assert_eq!(on_default(json!({})).unwrap(), Policy::default());
    }

    #[test]
    fn what_does_not_exist_is_refused() {
        for (settings, mentions) in [
            (json!({"sensitive": []}), "sensitive"),
            (json!({"limits": {"client": "often"}}), "often"),
            (json!({"limits": {"clients": "1/second"}}), "clients"),
            (json!({"limits": 7}), "7"),
            (json!({"exempt_paths": ["health"]}), "health"),
            (json!({"deny_confidence": 101}), "0 to 100"),
            (json!({"mode": "off"}), "off"),
        ] {
            let error = PolicyOverride::new(settings.as_object().unwrap().clone()).unwrap_err().to_string();
            assert!(error.starts_with("policy: ") && error.contains(mentions), "{error}");
        }
    }
}
