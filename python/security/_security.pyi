from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from os import PathLike
from typing import Any, NoReturn, Protocol, final

from security.answers import IocCheck, KeyCheck, StrengthReport, ThreatLookup, ThreatReport
from security.shapes import (
    ApiKey,
    AuditRecord,
    Ban,
    ChainReport,
    CredentialMetadata,
    ExpirationReport,
    ExportReport,
    ExtractedIoc,
    Finding,
    FoundKey,
    ImportReport,
    IngestReport,
    IocRecord,
    IocWarning,
    IssuedApiKey,
    KeyImportReport,
    MasterKeyRotation,
    RequestDecision,
    RuleLoad,
    RuleTrial,
    ScannedIoc,
    SecretListing,
    SecretVersion,
    TaxiiCollection,
    TaxiiConfig,
    ThreatAlert,
    ThreatRule,
    WarninglistInfo,
)

_Address = IPv4Address | IPv6Address | IPv4Network | IPv6Network

class _Readable(Protocol):
    def read(self, size: int, /) -> str | bytes: ...

__all__ = [
    "PolicyOverride",
    "RequestState",
    "STIX_AVAILABLE",
    "Secret",
    "TAXIIClient",
    "ThreatDetector",
    "__version__",
    "add_ioc",
    "analyze_for_suspicious_activity",
    "ban_client",
    "begin_request",
    "begin_request_asgi",
    "categorize_intelligence",
    "check_api_key",
    "check_credential_expiration",
    "check_ioc",
    "check_iocs",
    "check_threat_intelligence",
    "check_warninglists",
    "cli_main",
    "close",
    "connect_to_taxii_server",
    "correlate_threats",
    "create_taxii_config",
    "create_threat_rule",
    "defang",
    "delete_secret",
    "detect_threats",
    "dispose_sensitive_data",
    "error_response",
    "export_indicators",
    "export_iocs_to_stix",
    "extract_iocs",
    "extract_iter",
    "flush",
    "flush_if_open",
    "generate_compliance_report",
    "generate_request_id",
    "generate_secure_credential",
    "generate_threat_report",
    "get_audit_log",
    "get_recent_usage",
    "get_taxii_collection",
    "identify_ioc_type",
    "import_api_keys",
    "import_indicators",
    "import_stix_indicators",
    "init_credential_metadata",
    "initialize",
    "inspect_request",
    "is_ip_trusted",
    "issue_api_key",
    "lift_ban",
    "list_api_keys",
    "list_bans",
    "list_secrets",
    "list_taxii_configs",
    "list_warninglists",
    "load_warninglist",
    "log_credential_usage",
    "mask_credential",
    "on_rotate",
    "read_secret",
    "refang",
    "remove_warninglist",
    "restore_secret",
    "retrieve_intelligence",
    "revoke_api_key",
    "rotate_api_key",
    "rotate_credential",
    "rotate_master_key",
    "scan_for_keys",
    "scan_text",
    "schedule_credential_rotation",
    "search_intelligence",
    "shut_down",
    "status",
    "store_secret",
    "test_rule",
    "validate_credential",
    "verify_api_key",
    "verify_audit_log",
    "verify_db_password",
    "verify_logging_api_key",
    "verify_mail_api_key",
    "verify_secret_token",
]

STIX_AVAILABLE: bool
__version__: str

# set-up
def initialize(
    data_dir: str | PathLike[str] | None = None,
    config: str | PathLike[str] | dict[str, Any] | None = None,
    database_url: str | None = None,
    valkey_url: str | None = None,
) -> None: ...
def flush() -> None: ...
def close() -> None: ...
def status() -> dict[str, Any]: ...
def flush_if_open() -> None: ...
def shut_down() -> None: ...
def cli_main(arguments: Sequence[str]) -> int: ...

# utils
def generate_request_id() -> str: ...
def mask_credential(credential: str | bytes | None) -> str: ...
def generate_secure_credential(length: int = 32, complexity: str = "high") -> str: ...
def dispose_sensitive_data(path_or_intel_id: str | PathLike[str], secure_delete: bool = False) -> bool: ...

# credentials
def verify_api_key(api_key: object, **options: object) -> bool: ...
def verify_db_password(password: object, **options: object) -> bool: ...
def verify_mail_api_key(api_key: object, **options: object) -> bool: ...
def verify_logging_api_key(api_key: object, **options: object) -> bool: ...
def verify_secret_token(token: object, **options: object) -> bool: ...
def log_credential_usage(credential_type: str, component: str, operation: str, **options: object) -> str: ...
def get_recent_usage(limit: int = 100) -> list[dict[str, Any]]: ...
def analyze_for_suspicious_activity() -> list[Finding]: ...
def validate_credential(credential: object, credential_type: str, request_id: str | None = None) -> StrengthReport: ...
def check_credential_expiration() -> list[ExpirationReport]: ...
def rotate_credential(
    credential_type: str, request_id: str | None = None, grace_seconds: float | timedelta = 0
) -> str: ...
def on_rotate(
    credential_type: str,
    *,
    create: Callable[[Secret], object] | None,
    test: Callable[[Secret], object] | None = None,
    switch: Callable[[Secret], object] | None = None,
    retire: Callable[[], object] | None = None,
    grace_seconds: float | timedelta = 0,
) -> None: ...
def init_credential_metadata() -> dict[str, CredentialMetadata]: ...
def schedule_credential_rotation() -> list[ExpirationReport]: ...
def issue_api_key(
    name: str,
    *,
    scopes: Iterable[str] = (),
    owner: str | None = None,
    expires_in: float | timedelta | None = None,
    allowed_networks: Iterable[str] = (),
    rate_limit: str | None = None,
    prefix: str = "sk",
    canary: bool = False,
    metadata: dict[str, Any] | None = None,
) -> IssuedApiKey: ...
def check_api_key(
    key: object, *, scopes: Iterable[str] = (), client_ip: str | None = None, **options: object
) -> KeyCheck: ...
def revoke_api_key(key_id: str, reason: str = "") -> ApiKey: ...
def rotate_api_key(key_id: str, grace_seconds: float | timedelta = 0) -> IssuedApiKey: ...
def list_api_keys(*, owner: str | None = None, name: str | None = None, active: bool | None = None) -> list[ApiKey]: ...
def import_api_keys(
    records_or_path: Iterable[Mapping[str, Any]] | str | PathLike[str], *, prefix: str = "sk"
) -> KeyImportReport: ...
def scan_for_keys(
    text_or_path: str | bytes | PathLike[str],
    *,
    binary: bool = False,
    gzip: bool = True,
    limit: int = 10_000,
    on_skip: Callable[[str, str], object] | None = None,
) -> list[FoundKey]: ...
def store_secret(
    name: str,
    value: str | bytes | bytearray | memoryview | Secret,
    *,
    if_version: int | None = None,
    **metadata: object,
) -> SecretVersion: ...
def read_secret(name: str, *, version: int | None = None, **options: object) -> Secret: ...
def list_secrets(*, include_deleted: bool = False) -> list[SecretListing]: ...
def delete_secret(name: str, *, version: int | None = None, destroy: bool = False) -> int: ...
def restore_secret(name: str, *, version: int | None = None) -> int: ...
def rotate_master_key() -> MasterKeyRotation: ...

@final
class Secret:
    def reveal(self) -> str: ...
    def reveal_bytes(self) -> bytes: ...
    def __format__(self, format_spec: object, /) -> str: ...
    def __bool__(self) -> bool: ...
    def __len__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __copy__(self) -> Secret: ...
    def __deepcopy__(self, memo: object, /) -> Secret: ...
    def __reduce_ex__(self, protocol: object, /) -> NoReturn: ...
    __hash__: None  # type: ignore[assignment]

def get_audit_log(limit: int = 100, **filters: object) -> list[AuditRecord]: ...
def verify_audit_log() -> ChainReport: ...

# intel
def add_ioc(
    ioc_type: str,
    value: str,
    source: str,
    confidence: int,
    description: str = "",
    tags: Iterable[str] | None = None,
    related_intel_ids: Iterable[str] | None = None,
) -> IocRecord: ...
def check_ioc(ioc_type: str, value: str) -> IocCheck: ...
def check_iocs(ioc_type: str, values: Iterable[str], matched_only: bool = False) -> list[IocCheck]: ...
def scan_text(
    text: str | bytes,
    types: Iterable[str] | None = None,
    limit: int | None = None,
    *,
    warninglists: str = "keep",
) -> list[ScannedIoc]: ...
def load_warninglist(path_or_dict: str | PathLike[str] | dict[str, Any]) -> WarninglistInfo: ...
def list_warninglists() -> list[WarninglistInfo]: ...
def remove_warninglist(name: str) -> bool: ...
def check_warninglists(ioc_type: str, value: str) -> list[IocWarning]: ...
def search_intelligence(
    query: dict[str, Any] | None = None,
    source_type: str | None = None,
    priority_level: str | None = None,
    tags: Iterable[str] | None = None,
    text: str | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]: ...
def categorize_intelligence(data: object, source_type: str, priority_level: str) -> dict[str, Any]: ...
def retrieve_intelligence(intel_id: str) -> dict[str, Any] | None: ...
def correlate_threats(
    iocs: object, intel_data: object = None, threshold: float = 0.6, max_correlations: int = 100
) -> list[dict[str, Any]]: ...
def generate_threat_report(correlations: object) -> dict[str, Any]: ...
def generate_compliance_report() -> dict[str, Any]: ...
def import_indicators(
    path_or_file: str | PathLike[str] | _Readable,
    format: str | None = None,
    source: str | None = None,
    confidence: int | None = None,
    progress: Callable[[dict[str, int]], object] | None = None,
    *,
    all_attributes: bool = False,
    ioc_type: str | None = None,
) -> ImportReport: ...
def export_indicators(
    path: str | PathLike[str],
    format: str,
    *,
    ioc_type: str | None = None,
    source: str | None = None,
    tag: str | None = None,
    min_confidence: int | None = None,
) -> ExportReport: ...

# threat
def identify_ioc_type(value: str) -> str | None: ...
def extract_iocs(
    text: str | bytes,
    types: Iterable[str] | None = None,
    limit: int | None = None,
    *,
    dedupe: bool = False,
    warninglists: str = "keep",
) -> list[ExtractedIoc]: ...
def extract_iter(
    path_or_file: str | PathLike[str] | _Readable,
    types: Iterable[str] | None = None,
    limit: int | None = None,
    *,
    dedupe: bool = False,
    warninglists: str = "keep",
) -> Iterator[ExtractedIoc]: ...
def defang(text: str) -> str: ...
def refang(text: str) -> str: ...
def check_threat_intelligence(value: str, ioc_type: str | None = None) -> ThreatLookup: ...
def create_threat_rule(
    name: str,
    description: str,
    detection: dict[str, Any],
    severity: str = "medium",
    tags: Iterable[str] | None = None,
    recommendations: Iterable[str] | None = None,
) -> ThreatRule: ...
def test_rule(rule: Mapping[str, Any], events: Sequence[object]) -> list[RuleTrial]: ...
def detect_threats(request_data: object, request_id: str | None = None) -> ThreatReport: ...

class ThreatDetector:
    def __new__(cls) -> ThreatDetector: ...
    def load_rules(self, rules_dir: str | PathLike[str] | None = None) -> RuleLoad: ...
    def analyze(self, data: object, context: dict[str, Any] | None = None) -> list[ThreatAlert]: ...
    def get_recent_alerts(self, severity: str | None = None, limit: int = 10) -> list[ThreatAlert]: ...

# taxii
def create_taxii_config(
    config_name: str,
    server_url: str,
    username: str | None = None,
    password: str | None = None,
    collections: Iterable[str] | None = None,
    description: str = "",
) -> TaxiiConfig: ...
def list_taxii_configs() -> list[TaxiiConfig]: ...
def connect_to_taxii_server() -> dict[str, Any]: ...
def get_taxii_collection() -> TaxiiCollection: ...
def import_stix_indicators(limit: int = 100) -> list[IocRecord]: ...
def export_iocs_to_stix() -> str | None: ...

class TAXIIClient:
    def __new__(cls, config_name: str | None = None) -> TAXIIClient: ...
    @property
    def config_name(self) -> str | None: ...
    def load_config(self) -> TaxiiConfig: ...
    def list_collections(self, server_id: str | None = None) -> list[TaxiiCollection]: ...
    def get_collection(self, collection_id: str | None = None, server_id: str | None = None) -> TaxiiCollection: ...
    def fetch_intelligence(
        self,
        server_id: str | None = None,
        collection_id: str | None = None,
        start_time: datetime | str | None = None,
        end_time: datetime | str | None = None,
        limit: int = 100,
    ) -> list[dict[str, Any]]: ...
    def ingest_intelligence(
        self,
        server_id: str | None = None,
        collection_id: str | None = None,
        start_time: datetime | str | None = None,
        store: bool = True,
        priority_level: str = "Medium",
        limit: int = 1000,
    ) -> IngestReport: ...

# middleware
def is_ip_trusted(ip: object) -> bool: ...
def ban_client(
    address_or_network: str | _Address, seconds: float | timedelta | None = None, reason: str = ""
) -> Ban: ...
def lift_ban(address_or_network: str | _Address) -> Ban: ...
def list_bans() -> list[Ban]: ...
def begin_request(environ: dict[str, Any], policy: PolicyOverride | None = None) -> RequestState: ...
def begin_request_asgi(scope: MutableMapping[str, Any], policy: PolicyOverride | None = None) -> RequestState: ...
def inspect_request(request: dict[str, Any]) -> RequestDecision: ...
def error_response(request_id: str) -> dict[str, Any]: ...

@final
class PolicyOverride:
    def __new__(cls, settings: Mapping[str, Any]) -> PolicyOverride: ...

@final
class RequestState:
    @property
    def request_id(self) -> str: ...
    @property
    def client_ip(self) -> str | None: ...
    @property
    def api_key(self) -> dict[str, Any] | None: ...
    @property
    def api_key_valid(self) -> bool: ...
    @property
    def reasons(self) -> list[dict[str, str]]: ...
    def refusal(self) -> dict[str, Any] | None: ...
    def require(self, scopes: Iterable[str]) -> dict[str, Any] | None: ...
    @property
    def is_plain(self) -> bool: ...
    @property
    def has_body(self) -> bool: ...
    @property
    def body_wanted(self) -> int: ...
    @property
    def body_length(self) -> int | None: ...
    @property
    def body_limit(self) -> int | None: ...
    @property
    def body_wait_seconds(self) -> int: ...
    def feed_body(self, chunk: bytes | bytearray, is_last: bool) -> int: ...
    def body_is_late(self) -> None: ...
    def body_too_large(self) -> dict[str, Any]: ...
    def response_headers(self, authenticated: bool) -> list[tuple[str, str]]: ...
    def merge_headers(self, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]: ...
    def merge_headers_asgi(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]: ...
