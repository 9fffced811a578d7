"""The bridge to Django, sync and async: translates requests and answers, decides nothing."""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING, Any, TypeVar, overload

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django import conf  # type: ignore[import-untyped, unused-ignore]
from django.core.exceptions import (  # type: ignore[import-untyped, unused-ignore]
    BadRequest,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.core.handlers.asgi import ASGIRequest  # type: ignore[import-untyped, unused-ignore]
from django.core.handlers.wsgi import LimitedStream  # type: ignore[import-untyped, unused-ignore]
from django.http import Http404, HttpRequest, HttpResponse  # type: ignore[import-untyped, unused-ignore]
from django.http.multipartparser import MultiPartParserError  # type: ignore[import-untyped, unused-ignore]

from security import _security
from security.adapters._body import judge_body
from security.adapters._shared import Answer, Unbegun, as_policy, as_scopes, internal_error, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["SecurityMiddleware", "require_api_key"]

View = TypeVar("View", bound="Callable[..., Any]")

# Django answers these itself, each with its own status.
_ANSWERED = (Http404, PermissionDenied, BadRequest, SuspiciousOperation, MultiPartParserError)


class SecurityMiddleware:
    """The engine in front of and behind every request.

    ``"security.adapters.django.SecurityMiddleware"``, first in ``MIDDLEWARE``. The request's state is
    ``request.security``: ``request_id``, ``client_ip``, ``api_key`` (``{id, name, owner, scopes}`` or None),
    ``api_key_valid``. Errors that views do not catch are logged and signalled by Django as always; the answer is a
    JSON 500 that tells nothing (with ``DEBUG``, Django's own page). The setting ``SECURITY_POLICY`` (``dict``) holds
    settings as in the configuration's ``[web]`` table that this application has instead of the engine's.

    :raises ValueError: for a setting that does not exist or a value that is not accepted.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.policy = as_policy(getattr(conf.settings, "SECURITY_POLICY", None))
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Answers one request; in an asynchronous application, by a coroutine."""
        if self.is_async:
            return self._later(request)
        refusal = _begin(request, self.policy)
        return refusal if refusal is not None else _finish(request, self.get_response(request))

    async def _later(self, request: HttpRequest) -> Any:
        refusal = _begin(request, self.policy)
        return refusal if refusal is not None else _finish(request, await self.get_response(request))

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Notes that Django is about to answer for an error: what it says then is replaced."""
        request.security_failed = not isinstance(exception, _ANSWERED)


@overload
def require_api_key(view: View, /) -> View: ...


@overload
def require_api_key(view: None = None, /, *, scopes: Iterable[str] = ()) -> Callable[[View], View]: ...


def require_api_key(view: View | None = None, /, *, scopes: Iterable[str] = ()) -> View | Callable[[View], View]:
    """Lets only requests with a valid API key through to a Django view, sync or async.

    As ``@require_api_key`` or ``@require_api_key(scopes=["reports:read"])``, with or without the middleware; for a
    class with ``django.utils.decorators.method_decorator``. The answers are those of
    :func:`security.require_api_key`.

    :param scopes: the scopes (``str``) a key must have, all of them.
    :raises TypeError: if ``scopes`` is a single ``str`` or holds something else than ``str``.
    """
    needed = as_scopes(scopes)

    def refusal_of(request: HttpRequest) -> HttpResponse | None:
        if getattr(request, "security", None) is None:
            refusal = _begin(request, None)
            if refusal is not None:
                return refusal
        decision = request.security.require(needed)
        return None if decision is None else _respond(request, refused(decision))

    def protect(function: View) -> View:
        if not callable(function):
            raise TypeError(f"argument 'view': a view is needed, not {type(function).__name__}")
        if iscoroutinefunction(function):

            @functools.wraps(function)
            async def later(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                refusal = refusal_of(request)
                return refusal if refusal is not None else await function(request, *args, **kwargs)

            return later  # type: ignore[return-value]

        @functools.wraps(function)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            refusal = refusal_of(request)
            return refusal if refusal is not None else function(request, *args, **kwargs)

        return guarded  # type: ignore[return-value]

    return protect if view is None else protect(view)


def _begin(request: HttpRequest, policy: _security.PolicyOverride | None) -> HttpResponse | None:
    try:
        if isinstance(request, ASGIRequest):
            state = _security.begin_request_asgi(request.scope, policy)
        else:
            state = _security.begin_request(request.META, policy)
        refusal: Mapping[str, Any] | None = state.refusal()
    except Exception:
        return _respond(request, Unbegun().answer())
    request.security = state
    if refusal is None and state.has_body:
        refusal = _judge_body(request, state)
    return None if refusal is None else _finish(request, _respond(request, refused(refusal)))


def _judge_body(request: HttpRequest, state: _security.RequestState) -> Mapping[str, Any] | None:
    """Judges the body's first bytes, and leaves the request as if nobody had read any."""
    if hasattr(request, "_body"):
        state.feed_body(request.body, True)
    elif request._read_started:
        pass  # another middleware has read it before ours, and it is gone
    elif isinstance(request, ASGIRequest):
        # Django has the whole of it in a file of its own already.
        body, limit = request._stream, state.body_limit
        wanted = state.body_wanted
        while wanted:
            chunk = body.read(wanted)
            wanted = state.feed_body(chunk, len(chunk) < wanted)
        if state.refusal() is None and limit is not None and body.seek(0, io.SEEK_END) > limit:
            return state.body_too_large()
        body.seek(0)
    else:
        judge_body(request.environ, state, RequestDataTooBig)
        if state.body_length is not None:
            request._stream = LimitedStream(request.environ["wsgi.input"], state.body_length)
    return state.refusal()


def _finish(request: HttpRequest, response: Any) -> Any:
    state: _security.RequestState = request.security
    if getattr(request, "security_failed", False) and response.status_code == 500 and not conf.settings.DEBUG:
        response = _respond(request, internal_error(state.request_id))
    for name, value in state.response_headers(state.api_key_valid):
        response.headers.setdefault(name, value)
    response.headers["X-Request-ID"] = state.request_id
    return response


def _respond(request: HttpRequest, answer: Answer) -> HttpResponse:
    body = b"" if request.method == "HEAD" else answer.body
    return HttpResponse(body, status=answer.status, headers=dict(answer.headers))
