"""The dictionaries that the engine gives, for type checkers and for reading.

They are plain ``dict`` at run time. Times are RFC 3339 ``str`` in UTC that end in ``Z``.
"""

from __future__ import annotations

from typing import Any, TypedDict

__all__ = [
    "ApiKey",
    "AuditRecord",
    "Ban",
    "ChainReport",
    "CredentialMetadata",
    "ExpirationReport",
    "ExportReport",
    "ExtractedIoc",
    "Finding",
    "FoundKey",
    "ImportReport",
    "IngestReport",
    "IocRecord",
    "IocWarning",
    "IssuedApiKey",
    "KeyImportReport",
    "MasterKeyRotation",
    "RequestDecision",
    "RequestReason",
    "RuleLoad",
    "RuleTrial",
    "ScannedIoc",
    "SecretListing",
    "SecretVersion",
    "TaxiiCollection",
    "TaxiiConfig",
    "ThreatAlert",
    "ThreatRule",
    "WarninglistInfo",
]


class ApiKey(TypedDict):
    """An issued key, without anything secret."""

    id: str
    prefix: str
    name: str
    owner: str | None
    scopes: list[str]
    created_at: str
    expires_at: str | None
    allowed_networks: list[str]
    rate_limit: str | None
    canary: bool
    metadata: dict[str, Any]
    previous_until: str | None
    revoked_at: str | None
    revoked_reason: str | None


class IssuedApiKey(ApiKey):
    """An issued key with the key itself, the one time that it is shown."""

    key: str


class SecretVersion(TypedDict):
    """A version of a stored secret, without its value."""

    name: str
    version: int
    created_at: str
    metadata: dict[str, Any]
    deleted_at: str | None
    destroyed_at: str | None


class SecretListing(SecretVersion):
    """A stored secret as lists show it: its newest version, and all of them, the newest first."""

    versions: list[SecretVersion]


class MasterKeyRotation(TypedDict):
    """What putting another master key in force did."""

    key_id: str
    retired: list[str]
    rewrapped: int
    resumed: bool
    refused: list[str]
    key_file: str | None


class AuditRecord(TypedDict):
    """An entry of the audit trail."""

    at: str
    event: str
    request_id: str
    process: int
    details: dict[str, Any]


class ChainReport(TypedDict):
    """What the check of the journal's hash chains found."""

    intact: bool
    records: int
    files: int
    torn: Any
    unvouched: int
    first_broken: Any
    broken: list[dict[str, Any]]


class CredentialMetadata(TypedDict):
    """What is known of one of the document's credentials."""

    created_at: str | None
    last_changed_at: str | None
    due_at: str | None
    status: str | None
    planned_for: str | None
    rotate_every_days: int
    warn_before_days: int
    length: int
    complexity: str


class _ExpirationOfKey(TypedDict, total=False):
    key_id: str


class ExpirationReport(_ExpirationOfKey):
    """When a credential is due for rotation, or a key ends."""

    credential_type: str
    status: str
    last_changed_at: str
    due_at: str
    days_left: int
    message: str


class Finding(TypedDict):
    """Suspicious use of credentials."""

    id: str
    type: str
    severity: str
    credential_type: str
    key_id: str | None
    description: str
    count: int
    first_seen: str
    last_seen: str
    evidence: list[str]
    client_ips: list[str]


class FoundKey(TypedDict):
    """An own API key that stands where it should not; without its secret."""

    key: str
    key_id: str
    status: str
    name: str | None
    owner: str | None
    file: str | None
    line: int
    column: int
    offset: int


class IocSource(TypedDict):
    """One source's word on an indicator."""

    source: str
    confidence: int
    first_seen: str
    last_seen: str


class IocRecord(TypedDict):
    """An indicator of compromise."""

    kind: str
    id: str
    ioc_id: str
    type: str
    value: str
    original: str | None
    source: str | None
    sources: list[IocSource]
    confidence: int
    description: str
    tags: list[str]
    related_intel_ids: list[str]
    first_seen: str
    last_seen: str
    created_at: str
    updated_at: str
    sightings: int
    valid_until: str | None
    active: bool


class IocWarning(TypedDict):
    """An entry of a warninglist that an indicator met; ``list`` is the list's name."""

    list: str
    match_type: str
    entry: str


class Ban(TypedDict):
    """One network that is turned away until a time; ``by`` is the account and program that said so."""

    network: str
    reason: str
    since: str
    until: str
    by: str


class WarninglistInfo(TypedDict):
    """What a warninglist says of itself; ``ioc_types`` is None for every kind."""

    name: str
    description: str
    version: int | str | None
    type: str
    ioc_types: list[str] | None
    entries: int


class _ExtractedIoc(TypedDict):
    type: str
    value: str
    original: str
    context: str
    start: int
    end: int
    defanged: bool


class ExtractedIoc(_ExtractedIoc, total=False):
    """An indicator found in a text; ``warnings`` where they were asked for."""

    warnings: list[IocWarning]


class ScannedIoc(ExtractedIoc):
    """A listed indicator that stands in a text."""

    matches: list[dict[str, Any]]


class ImportRejection(TypedDict):
    """A line that is no indicator."""

    line: int
    text: str
    reason: str


class ImportReport(TypedDict):
    """What an import came to."""

    format: str
    source: str
    added: int
    merged: int
    rejected: int
    rejections: list[ImportRejection]
    left_out: dict[str, int]


class ExportReport(TypedDict):
    """What an export came to."""

    n_written: int
    left_out: dict[str, int]


class ThreatRule(TypedDict):
    """A rule in force."""

    id: str
    name: str
    description: str
    detection: dict[str, Any]
    severity: str
    score: int
    tags: list[str]
    recommendations: list[str]
    enabled: bool
    created_at: str
    file: str


class RequestReason(TypedDict):
    """One thing that was found in a request: for the log, never for the client."""

    id: str
    category: str
    where: str
    evidence: str


class _OfRefusals(TypedDict, total=False):
    body: dict[str, Any]


class _KeyRejection(TypedDict):
    record: int
    reason: str


class KeyImportReport(TypedDict):
    """What an import of API keys did."""

    imported: int
    present: int
    rejected: int
    rejections: list[_KeyRejection]


class RequestDecision(_OfRefusals):
    """What becomes of a request; a refusal also has ``body``, the answer's JSON."""

    action: str
    status: int
    reasons: list[RequestReason]
    score: int
    client_ip: str | None
    key_id: str | None
    request_id: str
    headers: list[list[str]]


class RuleLoad(TypedDict):
    """What reading the rules came to."""

    loaded: int
    problems: list[dict[str, str]]


class RuleTrial(TypedDict):
    """What a rule says of one event."""

    event: int
    matched: bool
    evidence: list[dict[str, Any]]


class ThreatAlert(TypedDict):
    """A rule that held for an event."""

    id: str
    at: str
    timestamp: str
    rule_id: str
    rule_name: str
    severity: str
    score: int
    description: str
    evidence: list[dict[str, Any]]
    tags: list[str]
    recommendations: list[str]
    context: dict[str, Any]


class TaxiiConfig(TypedDict):
    """How a TAXII server is reached, without the password."""

    name: str
    server_url: str
    username: str | None
    has_password: bool
    collections: list[str]
    description: str
    created_at: str


class TaxiiCollection(TypedDict):
    """A collection of a TAXII server."""

    id: str
    title: str
    description: str | None
    can_read: bool
    can_write: bool
    api_root: str
    server_id: str


class SkippedObject(TypedDict):
    """A STIX object that cannot be read, gave no indicator, or cannot be filed."""

    id: str
    reason: str


class IngestReport(TypedDict):
    """What taking in a collection came to."""

    objects: int
    indicators_added: int
    indicators_merged: int
    skipped: list[SkippedObject]
    intel_ids: list[str]
    intel_added: int
