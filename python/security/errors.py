"""What the engine raises beside ``ValueError`` (a wrong value) and ``TypeError`` (a wrong type).

Every class bears a stable ``code`` for programs and a ``hint`` for people. No message ever holds a secret.
"""

from __future__ import annotations

__all__ = ["ConfigurationError", "NotFoundError", "SecurityError", "StoreError", "TaxiiError"]


class SecurityError(Exception):
    """The engine cannot do what it was asked; the base of the classes below.

    :ivar code: what went wrong, as a stable word (``str``), for example ``store-damaged``.
    :ivar hint: what can be done about it, as a sentence (``str``), or None when the message says it all.
    """

    code: str = "security"
    hint: str | None = None


class ConfigurationError(SecurityError, ValueError):
    """The configuration cannot be used; the message (``str``) names the variable, or the file and its line."""

    code = "configuration"


class StoreError(SecurityError):
    """The data directory cannot be read or written; the message (``str``) names the file.

    Verification accepts nothing while this is so.
    """

    code = "store"


class NotFoundError(SecurityError, LookupError):
    """The key, record or configuration that a call named (``str``) does not exist."""

    code = "not-found"


class TaxiiError(SecurityError):
    """A TAXII server cannot be reached, refuses, or answers with something else than TAXII 2.1 (``str``)."""

    code = "taxii"
