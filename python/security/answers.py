"""Answers to yes-or-no questions: dictionaries that say yes or no by their truth value.

``if security.check_ioc("ip", address):`` reads as it should, and the same answer goes through ``json.dumps`` and
``flask.jsonify`` whole.
"""

from __future__ import annotations

import sys
from typing import Any, ClassVar

__all__ = ["Answer", "IocCheck", "KeyCheck", "StrengthReport", "ThreatLookup", "ThreatReport"]


class Answer(dict[str, Any]):
    """A ``dict`` whose truth value is one of its entries instead of its size.

    :cvar verdict: the name (``str``) of the entry that decides.
    """

    __slots__ = ()
    verdict: ClassVar[str] = "found"

    def __bool__(self) -> bool:
        if self.get(self.verdict):
            return True
        # The standard library's encoder asks "if not dct" to learn whether a dictionary is empty when it indents
        # (and simplejson likewise): to it alone the answer counts as what it is, a dictionary with entries.
        if sys._getframe(1).f_code.co_name == "_iterencode_dict":
            return len(self) > 0
        return False


class IocCheck(Answer):
    """What ``check_ioc`` says; true when something matched.

    Entries: ``value`` and ``type`` (``str``: what was looked up, in canonical form), ``matched`` (``bool``), ``count``
    (``int``), ``matches`` (``list`` of ``{ioc, match_type, match_time}``, closest first). Among the listed ones of many
    (``check_iocs`` with ``matched_only``) also ``index`` (``int``), its place among the values.
    """

    __slots__ = ()
    verdict = "matched"


class ThreatLookup(Answer):
    """What ``check_threat_intelligence`` says; true when the value is listed.

    Entries: ``value``, ``type`` (``str``), ``found`` (``bool``), ``score`` and ``confidence`` (``int``, 0 to 100),
    ``severity``, ``source`` (``str`` or None), ``sources``, ``first_seen``, ``last_seen``, ``matches``, ``tags``.
    """

    __slots__ = ()
    verdict = "found"


class StrengthReport(Answer):
    """What ``validate_credential`` says; true when there are no problems.

    Entries: ``valid`` (``bool``), ``credential_type`` (``str``), ``score`` (``int``, 0 to 4), ``entropy_bits``
    (``float``), ``length`` (``int``, characters), ``breached`` (``bool``, or None without a filter), ``problems`` and
    ``suggestions`` (``list`` of ``str``), ``request_id`` (``str``).
    """

    __slots__ = ()
    verdict = "valid"


class KeyCheck(Answer):
    """What ``check_api_key`` says; true when the key may do what was asked.

    Entries: ``valid`` (``bool``), ``reason`` (``str``), ``key_id``, ``name``, ``owner`` (``str`` or None), ``scopes``
    (``list`` of ``str``), ``expires_at`` (RFC 3339 ``str`` or None), ``retry_after`` (``int`` seconds or None),
    ``request_id`` (``str``).
    """

    __slots__ = ()
    verdict = "valid"


class ThreatReport(Answer):
    """What ``detect_threats`` says; true when anything was detected.

    Entries: ``detected`` (``bool``), ``request_id`` (``str``), ``score`` (``int``, 0 to 100), ``severity`` (``str`` or
    None), ``threats`` (``list`` of alerts), ``iocs`` (``list`` of checks), ``recommendations`` (``list`` of ``str``),
    ``truncated`` (``bool``: too large to be looked at whole, which counts as detected).
    """

    __slots__ = ()
    verdict = "detected"
