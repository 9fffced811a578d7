//! The Python face: translates, decides nothing. One file for each Python module, and two that all of them use.

mod convert;
mod errors;

mod bans;
mod credentials;
mod extraction;
mod inspection;
mod intel;
mod ioc_check;
mod key_scan;
mod middleware;
mod response_headers;
mod rotation;
mod secrets;
mod setup;
mod taxii;
mod threat;
mod utils;
mod warninglists;

/// The engine behind `security`; import the names from there.
#[pyo3::pymodule(gil_used = false)]
mod _security {
    #[pymodule_export]
    use super::bans::{ban_client, lift_ban, list_bans};
    #[pymodule_export]
    use super::credentials::{
        analyze_for_suspicious_activity, check_api_key, check_credential_expiration, get_audit_log,
        get_recent_usage, import_api_keys, init_credential_metadata, issue_api_key, list_api_keys,
        log_credential_usage, revoke_api_key, rotate_api_key, rotate_credential, scan_for_keys,
        schedule_credential_rotation, validate_credential, verify_api_key, verify_audit_log,
        verify_db_password, verify_logging_api_key, verify_mail_api_key, verify_secret_token,
    };
    #[pymodule_export]
    use super::extraction::{extract_iocs, extract_iter};
    #[pymodule_export]
    use super::inspection::inspect_request;
    #[pymodule_export]
    use super::intel::{
        add_ioc, categorize_intelligence, check_ioc, check_iocs, correlate_threats, export_indicators,
        generate_compliance_report, generate_threat_report, import_indicators, retrieve_intelligence,
        scan_text, search_intelligence,
    };
    #[pymodule_export]
    use super::middleware::{
        PolicyOverride, RequestState, begin_request, begin_request_asgi, error_response, is_ip_trusted,
    };
    #[pymodule_export]
    use super::rotation::on_rotate;
    #[pymodule_export]
    use super::secrets::{
        Secret, delete_secret, list_secrets, read_secret, restore_secret, rotate_master_key, store_secret,
    };
    #[pymodule_export]
    use super::setup::{cli_main, close, flush, flush_if_open, initialize, shut_down, status};
    #[pymodule_export]
    use super::taxii::{
        TAXIIClient, connect_to_taxii_server, create_taxii_config, export_iocs_to_stix, get_taxii_collection,
        import_stix_indicators, list_taxii_configs,
    };
    #[pymodule_export]
    use super::threat::{
        ThreatDetector, check_threat_intelligence, create_threat_rule, defang, detect_threats,
        identify_ioc_type, refang, test_rule,
    };
    #[pymodule_export]
    use super::utils::{
        dispose_sensitive_data, generate_request_id, generate_secure_credential, mask_credential,
    };
    #[pymodule_export]
    use super::warninglists::{check_warninglists, list_warninglists, load_warninglist, remove_warninglist};

    /// STIX is part of the engine, not of a package that may be missing.
    #[pymodule_export]
    const STIX_AVAILABLE: bool = true;

    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "Python's name for it")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
