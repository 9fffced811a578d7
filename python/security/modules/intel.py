"""Indicators of compromise and intelligence records: file, find, match, correlate, report, exchange."""

from __future__ import annotations

from security._security import (
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

__all__ = [
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
]
