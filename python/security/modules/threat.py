"""Find indicators in text, look values up, write rules, detect."""

from __future__ import annotations

from security._security import (
    ThreatDetector,
    check_threat_intelligence,
    create_threat_rule,
    defang,
    detect_threats,
    extract_iocs,
    extract_iter,
    identify_ioc_type,
    refang,
    test_rule,
)

__all__ = [
    "ThreatDetector",
    "threat_detector",
    "identify_ioc_type",
    "extract_iocs",
    "extract_iter",
    "defang",
    "refang",
    "check_threat_intelligence",
    "create_threat_rule",
    "test_rule",
    "detect_threats",
]

#: The instance that the whole application may share. It holds nothing itself: making one opens nothing.
threat_detector = ThreatDetector()
