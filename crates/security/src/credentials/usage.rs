//! Usage: every use of a credential is a record, in the journal of the host.

use std::net::IpAddr;

use security_credentials::{Outcome, UsageRecord};
use security_store::Stream;
use serde_json::{Map, Value};

use crate::{Engine, Error, Result, utils::generate_request_id, world};

/// What a caller knows of a use; every part may be left out.
#[derive(Debug, Default, Clone)]
pub struct UsageContext {
    /// The request; made when not given.
    pub request_id: Option<String>,
    /// The client's address.
    pub client_ip: Option<String>,
    /// The client's `User-Agent`.
    pub user_agent: Option<String>,
    /// The application's user.
    pub user_id: Option<String>,
    /// The part of the application; `unknown` when not given.
    pub component: Option<String>,
    /// What was done; the function's own word when not given.
    pub operation: Option<String>,
    /// An error, in the caller's words.
    pub error: Option<String>,
    /// How it ended, where the caller reports a use; verification knows by itself.
    pub success: Option<bool>,
    /// Everything else.
    pub extra: Map<String, Value>,
}

impl UsageContext {
    /// The client's address, if it is one.
    pub(crate) fn client_address(&self) -> Option<IpAddr> {
        self.client_ip.as_deref().and_then(|text| text.trim().parse().ok())
    }

    /// Whether nothing is known of the use but the client's address, `client`.
    pub(crate) fn says_only(&self, client: Option<IpAddr>) -> bool {
        let Self {
            request_id,
            client_ip,
            user_agent,
            user_id,
            component,
            operation,
            error,
            success: _,
            extra,
        } = self;
        let texts = [request_id, user_agent, user_id, component, operation, error];
        texts.iter().all(|text| text.is_none()) && extra.is_empty() && client_ip.is_some() == client.is_some()
    }
}

impl Engine {
    /// Records a use in the journal without waiting for the disk; gives the request id.
    pub(crate) fn record_use(
        &self,
        credential_type: &str,
        operation: &str,
        success: bool,
        reason: Option<&str>,
        key_id: Option<&str>,
        context: UsageContext,
    ) -> String {
        let request_id = context.request_id.unwrap_or_else(generate_request_id);
        let outcome = if success { Outcome::Success } else { Outcome::Failure };
        let mut record = UsageRecord::new(request_id.clone(), world::now(), outcome);
        record.credential_type = credential_type.to_owned();
        record.component = context.component.unwrap_or_else(|| "unknown".into());
        record.operation = context.operation.unwrap_or_else(|| operation.into());
        record.reason = reason.map(str::to_owned);
        record.key_id = key_id.map(str::to_owned);
        record.user_agent = context.user_agent;
        record.user_id = context.user_id;
        record.error = context.error;
        record.options = context.extra;
        if let Some(address) = &context.client_ip {
            record.set_client_ip(address);
        }
        self.files.journal.append(Stream::Usage, &record.bounded());
        request_id
    }

    /// Records that a credential was used, for example by a component that calls another service with it. The
    /// record is durable with the journal's next group commit; [`Engine::flush`] waits for it.
    ///
    /// Gives the request id. `credential_type` is one of the five in either spelling, or the caller's own word.
    /// # Errors
    /// [`Error::Invalid`] for an empty type, component or operation.
    pub fn log_credential_usage(
        &self,
        credential_type: &str,
        component: &str,
        operation: &str,
        context: UsageContext,
    ) -> Result<String> {
        for (argument, text) in
            [("credential_type", credential_type), ("component", component), ("operation", operation)]
        {
            if text.trim().is_empty() {
                return Err(Error::invalid(argument, "is empty; a name is needed"));
            }
        }
        let name = super::document::kind(credential_type)
            .map_or_else(|_| credential_type.trim().to_owned(), |kind| kind.to_string());
        let success = context.success.unwrap_or(context.error.as_deref().is_none_or(str::is_empty));
        let named = UsageContext { component: Some(component.to_owned()), ..context };
        Ok(self.record_use(
            &name,
            operation,
            success,
            None,
            None,
            UsageContext { operation: Some(operation.to_owned()), ..named },
        ))
    }

    /// The newest usage records of all processes of the data directory, newest first.
    ///
    /// Each is `{request_id, at, timestamp, credential_type, component, operation, success, outcome, reason,
    /// key_id, client_ip, ip_address, user_agent, user_id, error}` and every further option of the caller.
    /// # Errors
    /// When the journal cannot be read.
    pub fn recent_usage(&self, limit: usize) -> Result<Vec<Value>> {
        let records = self.files.journal.newest(Stream::Usage, limit, &mut |_| true)?;
        Ok(records.into_iter().map(usage_view).collect())
    }
}

/// A record as faces show it: every name at hand, also those that applications know from before.
fn usage_view(mut record: Value) -> Value {
    let Some(fields) = record.as_object_mut() else { return record };
    fields.remove("chain");
    fields.remove("seq");
    let success = fields.get("outcome").is_some_and(|outcome| outcome == "success");
    let options = fields.remove("options");
    for name in ["reason", "key_id", "client_ip", "user_agent", "user_id", "error"] {
        fields.entry(name).or_insert(Value::Null);
    }
    fields.insert("success".into(), success.into());
    fields.insert("timestamp".into(), fields.get("at").cloned().unwrap_or_default());
    fields.insert("ip_address".into(), fields.get("client_ip").cloned().unwrap_or_default());
    if let Some(Value::Object(options)) = options {
        for (name, value) in options {
            // A caller's word never stands in place of what the engine says.
            match fields.get(&name) {
                None | Some(Value::Null) => fields.insert(name, value),
                Some(_) => fields.insert(format!("option_{name}"), value),
            };
        }
    }
    record
}
