"""Application security as a library: credentials, threat intelligence, detection, web middleware.

This page is the table of contents. ``initialize()`` may be left out: the first call that needs the engine sets it up
with the defaults. Importing opens no file and starts no thread.
"""

from __future__ import annotations

from security import _lifecycle, modules
from security._security import __version__
from security.answers import Answer, IocCheck, KeyCheck, StrengthReport, ThreatLookup, ThreatReport
from security.errors import ConfigurationError, NotFoundError, SecurityError, StoreError, TaxiiError
from security.modules.credentials import (
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
from security.modules.intel import (
    add_ioc,
    categorize_intelligence,
    check_ioc,
    check_iocs,
    check_warninglists,
    correlate_threats,
    export_indicators,
    generate_compliance_report,
    generate_threat_report,
    import_indicators,
    list_warninglists,
    load_warninglist,
    remove_warninglist,
    retrieve_intelligence,
    scan_text,
    search_intelligence,
)
from security.modules.middleware import (
    create_security_middleware,
    inspect_request,
    is_ip_trusted,
    require_api_key,
)
from security.modules.taxii import (
    STIX_AVAILABLE,
    TAXIIClient,
    connect_to_taxii_server,
    create_taxii_config,
    export_iocs_to_stix,
    get_taxii_collection,
    import_stix_indicators,
    list_taxii_configs,
)
from security.modules.threat import (
    ThreatDetector,
    check_threat_intelligence,
    create_threat_rule,
    defang,
    detect_threats,
    extract_iocs,
    identify_ioc_type,
    refang,
    test_rule,
    threat_detector,
)
from security.modules.utils import (
    close,
    dispose_sensitive_data,
    flush,
    generate_request_id,
    generate_secure_credential,
    initialize,
    mask_credential,
    status,
)

__all__ = [
    "__version__",
    "modules",
    # set-up
    "initialize",
    "flush",
    "close",
    "status",
    # credentials
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
    # threat intelligence
    "add_ioc",
    "check_ioc",
    "check_iocs",
    "check_warninglists",
    "search_intelligence",
    "categorize_intelligence",
    "retrieve_intelligence",
    "scan_text",
    "correlate_threats",
    "generate_threat_report",
    "generate_compliance_report",
    "import_indicators",
    "list_warninglists",
    "load_warninglist",
    "remove_warninglist",
    "export_indicators",
    # threat detection
    "ThreatDetector",
    "threat_detector",
    "identify_ioc_type",
    "extract_iocs",
    "defang",
    "refang",
    "check_threat_intelligence",
    "create_threat_rule",
    "test_rule",
    "detect_threats",
    # STIX and TAXII
    "STIX_AVAILABLE",
    "TAXIIClient",
    "create_taxii_config",
    "list_taxii_configs",
    "connect_to_taxii_server",
    "get_taxii_collection",
    "import_stix_indicators",
    "export_iocs_to_stix",
    # web
    "create_security_middleware",
    "require_api_key",
    "is_ip_trusted",
    "inspect_request",
    # utils
    "generate_request_id",
    "mask_credential",
    "generate_secure_credential",
    "dispose_sensitive_data",
    # what yes-or-no questions get, and what is raised
    "Answer",
    "IocCheck",
    "ThreatLookup",
    "StrengthReport",
    "KeyCheck",
    "ThreatReport",
    "SecurityError",
    "ConfigurationError",
    "StoreError",
    "NotFoundError",
    "TaxiiError",
]

_lifecycle.register()
