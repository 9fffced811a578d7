"""The bridge to Flask: translates requests and answers, decides nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import HTTPException, InternalServerError

from security import _security
from security.errors import SecurityError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["call_view", "install"]

# The marker of an application that has the middleware ("security" itself belongs to another extension).
EXTENSION = "security-engine"
# Where a request's state lies. Flask's `g` outlives the request under an application context of the caller's own.
SLOT = "security.request"
# RFC 9457.
PROBLEM = "application/problem+json"


def install(app: Flask) -> None:
    """Adds the middleware to an application, once."""
    if not isinstance(app, Flask):
        raise TypeError(f"argument 'app': a flask.Flask application is needed, not {type(app).__name__}")
    if EXTENSION in app.extensions:
        return
    app.extensions[EXTENSION] = True
    # Before all others, so that a refused request costs and reveals nothing else.
    app.before_request_funcs.setdefault(None, []).insert(0, _before_request)
    app.wsgi_app = _Headers(app.wsgi_app)  # type: ignore[method-assign]
    # Not for `Exception`: Flask would take every error for handled, and debugger and tests would never see one.
    if HTTPException not in app.error_handler_spec[None][None]:
        app.register_error_handler(HTTPException, _error_response)


def call_view(scopes: tuple[str, ...], view: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> Any:
    """Calls a view if the request's key may, else answers with the refusal."""
    state = _state()
    refusal = state.require(scopes)
    if refusal is not None:
        return _response(refusal)
    if not g.api_key_valid:
        # Below an exempt path the key is looked at only now that a view asks for one.
        g.api_key, g.api_key_valid = state.api_key, state.api_key_valid
    return current_app.ensure_sync(view)(*args, **kwargs)


class _Slot:
    """Where a request's state lies, for whoever has a copy of its environment."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: _security.RequestState | None = None


class _Headers:
    """Sets the headers of every response, in one go and whoever made it.

    Not an ``after_request`` function: a response's header object searches itself for every header that is set.
    """

    def __init__(self, application: WSGIApplication) -> None:
        self.application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        slot = environ[SLOT] = _Slot()

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            state = slot.state
            # The id is ours whatever a view says: it is what the log knows the request by.
            headers = [header for header in headers if header[0].lower() != "x-request-id"]
            if state is None:
                # The engine could not begin this request; what went wrong is being answered, and still gets an id.
                headers.append(("X-Request-ID", _security.generate_request_id()))
            else:
                own = {name.lower() for name, _ in headers}
                added = state.response_headers(state.api_key_valid)
                headers += [header for header in added if header[0].lower() not in own]
                headers.append(("X-Request-ID", state.request_id))
            return start_response(status, headers, exc_info)

        return self.application(environ, start)


def _begin() -> _security.RequestState:
    environ = request.environ
    state = _security.begin_request(environ)
    slot = environ.get(SLOT)
    if not isinstance(slot, _Slot):
        slot = environ[SLOT] = _Slot()
    slot.state = state
    names = g._get_current_object()
    names.request_id = state.request_id
    names.client_ip = state.client_ip
    names.api_key = state.api_key
    names.api_key_valid = state.api_key_valid
    return state


def _state() -> _security.RequestState:
    """The state of the request at hand; made here when the application has no middleware."""
    slot = request.environ.get(SLOT)
    state = slot.state if isinstance(slot, _Slot) else None
    return _begin() if state is None else state


def _before_request() -> Response | None:
    refusal = _begin().refusal()
    return None if refusal is None else _response(refusal)


def _response(decision: Mapping[str, Any]) -> Response:
    response = Response(json.dumps(decision["body"]), decision["status"], content_type=PROBLEM)
    for name, value in decision["headers"]:
        response.headers[name] = value
    return response


def _internal_error(request_id: str) -> Mapping[str, Any]:
    try:
        return _security.error_response(request_id)
    except SecurityError:
        # The engine itself may be what failed; the answer is the same.
        body = {"type": "about:blank", "title": "Internal Server Error", "status": 500, "error": "internal"}
        message = "the request could not be answered; the log has the reason under this request id"
        return {"status": 500, "headers": [], "body": {**body, "message": message, "request_id": request_id}}


def _error_response(error: HTTPException) -> Any:
    if error.response is not None or error.code is None:
        return error
    request_id = getattr(g, "request_id", None) or _security.generate_request_id()
    if isinstance(error, InternalServerError):
        return _response(_internal_error(request_id))
    # What belongs to the answer besides its body (Allow, WWW-Authenticate, Retry-After) stays.
    response = error.get_response()
    body = {
        "type": "about:blank",
        "title": error.name,
        "status": error.code,
        "error": error.name.lower().replace(" ", "-"),
        "message": error.description,
        "request_id": request_id,
    }
    response.set_data(json.dumps(body))
    response.content_type = PROBLEM
    return response
