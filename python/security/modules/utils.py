"""Request ids, masks, fresh secrets, and getting rid of what must not stay."""

from __future__ import annotations

from security._security import (
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
    "initialize",
    "flush",
    "close",
    "status",
    "generate_request_id",
    "mask_credential",
    "generate_secure_credential",
    "dispose_sensitive_data",
]
