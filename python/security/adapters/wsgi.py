"""The bridge to any WSGI application (PEP 3333): translates requests and answers, decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from security import _security
from security.adapters._body import BodyTooLarge, judge_body
from security.adapters._shared import STATE, Answer, Unbegun, as_policy, as_scopes, internal_error, log, refused
from security.adapters._shared import state_of as _state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["SecurityMiddleware", "require_api_key"]


class SecurityMiddleware:
    """The engine in front of and behind every request of a WSGI application.

    The request's state lies in ``environ["security"]``: ``request_id``, ``client_ip``, ``api_key`` (``{id, name, owner,
    scopes}`` or None), ``api_key_valid``. A refused request never reaches the application. An error that comes out of
    the application when it is called is logged (logger ``security.web``) and answered with a 500 that tells nothing;
    one that comes later, with the body, is the server's. Of a request's body the first bytes are read and judged before
    the application is called (``web.inspection.max_bytes``), and it reads the whole as it came. Of two around one
    another the outer one decides, unless the inner one has a policy.

    :param app: the application.
    :param policy: settings as in the configuration's ``[web]`` table that this application has instead of the engine's
        (``dict``); what is not named stays. None: the engine's.
    :raises ValueError: for a setting that does not exist or a value that is not accepted.
    """

    def __init__(self, app: WSGIApplication, policy: Mapping[str, Any] | None = None) -> None:
        if not callable(app):
            raise TypeError(f"argument 'app': a WSGI application is needed, not {type(app).__name__}")
        self.app = app
        self.policy = as_policy(policy)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answers one request."""
        if STATE in environ and self.policy is None and _state_of(environ) is not None:
            return self.app(environ, start_response)
        # What the server's stream raises is the server's to answer.
        state = begin(environ, self.policy, judge_body)
        if isinstance(state, Answer):
            return send(environ, start_response, state)
        merge = state.merge_headers
        started = False

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            nonlocal started
            started = True
            return start_response(status, merge(headers), exc_info)

        try:
            body = self.app(environ, start)
            if state.is_plain or state.body_limit is None:
                return body
            # An application that is a generator reads only when its answer is asked for.
            return _watched(body, lambda: started, lambda: send(environ, start, refused(state.body_too_large())))
        except BodyTooLarge:
            if started:
                raise
            return send(environ, start, refused(state.body_too_large()))
        except Exception:
            if started:
                raise
            log.exception("request %s failed", state.request_id)
            return send(environ, start, internal_error(state.request_id))


@overload
def require_api_key(app: WSGIApplication, /) -> WSGIApplication: ...


@overload
def require_api_key(
    app: None = None, /, *, scopes: Iterable[str] = ()
) -> Callable[[WSGIApplication], WSGIApplication]: ...


def require_api_key(
    app: WSGIApplication | None = None, /, *, scopes: Iterable[str] = ()
) -> WSGIApplication | Callable[[WSGIApplication], WSGIApplication]:
    """Lets only requests with a valid API key through to a WSGI application, with or without the middleware.

    :param scopes: the scopes (``str``) a key must have, all of them.
    :raises TypeError: if ``scopes`` is a single ``str`` or holds something else than ``str``.
    """
    needed = as_scopes(scopes)

    def protect(inner: WSGIApplication) -> WSGIApplication:
        def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            state = _state_of(environ)
            if state is None:
                return middleware(environ, start_response)
            refusal = state.require(needed)
            if refusal is not None:
                return send(environ, start_response, refused(refusal))
            return inner(environ, start_response)

        middleware = SecurityMiddleware(guarded)
        return guarded

    return protect if app is None else protect(app)


def _watched(
    body: Iterable[bytes], has_started: Callable[[], bool], too_large: Callable[[], Iterable[bytes]]
) -> Iterable[bytes]:
    try:
        yield from body
    except BodyTooLarge:
        if has_started():
            raise
        yield from too_large()
    finally:
        if hasattr(body, "close"):
            body.close()


def begin(
    environ: WSGIEnvironment,
    policy: _security.PolicyOverride | None,
    judge: Callable[[WSGIEnvironment, _security.RequestState], None],
) -> _security.RequestState | Answer:
    """Begins a request: its state where it may go on, else the answer that it gets at once.

    :param judge: has the first bytes of a body judged.
    """
    try:
        state = _security.begin_request(environ, policy)
        is_plain = state.is_plain
        refusal = None if is_plain else state.refusal()
    except Exception:
        return Unbegun().answer()
    environ[STATE] = state
    if is_plain:
        return state
    if refusal is None and state.has_body:
        judge(environ, state)
        refusal = state.refusal()
    if refusal is None:
        return state
    answer = refused(refusal)
    answer.headers = state.merge_headers(answer.headers)
    return answer


def send(environ: WSGIEnvironment, start_response: StartResponse, answer: Answer) -> Iterable[bytes]:
    """Sends an answer of ours; none has a body where the request is a HEAD."""
    start_response(answer.status_line, answer.headers)
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [answer.body]
