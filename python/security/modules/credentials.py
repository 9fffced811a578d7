"""The application's own credentials, and the API keys it issues: verify, record, judge, rotate."""

from __future__ import annotations

from security._security import (
    analyze_for_suspicious_activity,
    check_api_key,
    check_credential_expiration,
    get_audit_log,
    get_recent_usage,
    init_credential_metadata,
    issue_api_key,
    list_api_keys,
    log_credential_usage,
    revoke_api_key,
    rotate_api_key,
    rotate_credential,
    schedule_credential_rotation,
    validate_credential,
    verify_api_key,
    verify_audit_log,
    verify_db_password,
    verify_logging_api_key,
    verify_mail_api_key,
    verify_secret_token,
)

__all__ = [
    "verify_api_key",
    "verify_db_password",
    "verify_mail_api_key",
    "verify_logging_api_key",
    "verify_secret_token",
    "log_credential_usage",
    "get_recent_usage",
    "analyze_for_suspicious_activity",
    "validate_credential",
    "check_credential_expiration",
    "rotate_credential",
    "init_credential_metadata",
    "schedule_credential_rotation",
    "issue_api_key",
    "check_api_key",
    "revoke_api_key",
    "rotate_api_key",
    "list_api_keys",
    "get_audit_log",
    "verify_audit_log",
]
