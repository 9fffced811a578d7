"""What the bridges share: policies, answers, and what is said when the engine itself fails. Knows no framework."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from security import _security
from security.errors import SecurityError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, MutableMapping

__all__ = ["PROBLEM", "STATE", "Answer", "as_policy", "as_scopes", "internal_error", "log", "problem", "refused"]

# Where a request's state lies: in WSGI's environ, and in ASGI's scope.
STATE = "security"
# RFC 9457.
PROBLEM = "application/problem+json"
# Prometheus's text format.
TEXT = "text/plain; version=0.0.4; charset=utf-8"

log = logging.getLogger("security.web")


def as_policy(policy: Mapping[str, Any] | None) -> _security.PolicyOverride | None:
    """What an application says of its policy, checked at once: a mistake is found when it starts."""
    if policy is None:
        return None
    return _security.PolicyOverride(dict(policy) if hasattr(policy, "keys") else policy)


def as_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """The scopes of a view, checked when it is made."""
    if isinstance(scopes, (str, bytes)):
        raise TypeError("argument 'scopes': a list of str is needed, not a single one")
    needed = tuple(scopes)
    if not all(isinstance(scope, str) for scope in needed):
        raise TypeError("argument 'scopes': every scope is a str")
    return needed


class Answer:
    """A refusal or an error, ready for any gateway."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes, content_type: str = PROBLEM) -> None:
        self.status = status
        self.headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), *headers]
        self.body = body

    @property
    def status_line(self) -> str:
        """The status as WSGI wants it."""
        return f"{self.status} {HTTPStatus(self.status).phrase}"

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers as ASGI wants them."""
        return [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in self.headers]


def refused(decision: Mapping[str, Any]) -> Answer:
    """The answer that a decision of the engine stands for, or that the engine gives itself."""
    headers = [(name, value) for name, value in decision["headers"]]
    if "content" in decision:
        return Answer(decision["status"], headers, decision["content"].encode(), TEXT)
    return Answer(decision["status"], headers, json.dumps(decision["body"]).encode())


def problem(request_id: str, status: int, title: str, message: str | None) -> Answer:
    """An error of HTTP's own in the same form (404, 405, …)."""
    body = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "error": title.lower().replace(" ", "-"),
        "message": message,
        "request_id": request_id,
    }
    return Answer(status, [], json.dumps(body).encode())


def internal_error(request_id: str | None = None) -> Answer:
    """The answer to an error that nobody caught. It tells nothing; the log has the reason under the request's id."""
    request_id = request_id or _security.generate_request_id()
    try:
        return refused(_security.error_response(request_id))
    except SecurityError:
        # The engine itself may be what failed; the answer is the same.
        body = {"type": "about:blank", "title": "Internal Server Error", "status": 500, "error": "internal"}
        message = "the request could not be answered; the log has the reason under this request id"
        return Answer(500, [], json.dumps({**body, "message": message, "request_id": request_id}).encode())


class Unbegun:
    """Stands for the state of a request that the engine could not begin: it gets an id, and nothing else."""

    __slots__ = ("request_id",)

    def __init__(self) -> None:
        self.request_id = _security.generate_request_id()

    def answer(self) -> Answer:
        """A 500 with the id in the body and in the headers."""
        log.exception("request %s could not be judged and was turned away", self.request_id)
        answer = internal_error(self.request_id)
        answer.headers.append(("X-Request-ID", self.request_id))
        return answer


def state_of(holder: MutableMapping[str, Any]) -> _security.RequestState | None:
    """The state in an environ or a scope, if the engine put one there."""
    state = holder.get(STATE)
    return state if isinstance(state, _security.RequestState) else None
