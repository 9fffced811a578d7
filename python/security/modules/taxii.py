"""STIX 2.1 over TAXII 2.1: servers, collections, indicators in and out."""

from __future__ import annotations

from security._security import (
    STIX_AVAILABLE,
    TAXIIClient,
    connect_to_taxii_server,
    create_taxii_config,
    export_iocs_to_stix,
    get_taxii_collection,
    import_stix_indicators,
    list_taxii_configs,
)

__all__ = [
    "STIX_AVAILABLE",
    "TAXIIClient",
    "create_taxii_config",
    "list_taxii_configs",
    "connect_to_taxii_server",
    "get_taxii_collection",
    "import_stix_indicators",
    "export_iocs_to_stix",
]
