"""The bridge to Flask: translates requests and answers, decides nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import HTTPException, InternalServerError

from security import _security
from security.errors import SecurityError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["call_view", "install"]

# The marker of an application that has the middleware ("security" itself belongs to another extension).
EXTENSION = "security-engine"
# Where a request's state lies. Flask's `g` outlives the request under an application context of the caller's own.
STATE = "security.request_state"
# RFC 9457.
PROBLEM = "application/problem+json"


def install(app: Flask) -> None:
    """Adds the middleware to an application, once."""
    if not isinstance(app, Flask):
        raise TypeError(f"argument 'app': a flask.Flask application is needed, not {type(app).__name__}")
    if EXTENSION in app.extensions:
        return
    app.extensions[EXTENSION] = True
    # First before all others, so that a refused request costs and reveals nothing else; after all others likewise.
    app.before_request_funcs.setdefault(None, []).insert(0, _before_request)
    app.after_request_funcs.setdefault(None, []).insert(0, _after_request)
    # Not for `Exception`: Flask would take every error for handled, and debugger and tests would never see one.
    if HTTPException not in app.error_handler_spec[None][None]:
        app.register_error_handler(HTTPException, _error_response)


def call_view(scopes: tuple[str, ...], view: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> Any:
    """Calls a view if the request's key may, else answers with the refusal."""
    refusal = _state().require(scopes)
    if refusal is not None:
        return _response(refusal)
    return current_app.ensure_sync(view)(*args, **kwargs)


def _begin() -> _security.RequestState:
    environ = request.environ
    headers = [(name[5:].replace("_", "-"), value) for name, value in environ.items() if name.startswith("HTTP_")]
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers.append((name.replace("_", "-"), environ[name]))
    state = _security.begin_request(
        request.method,
        request.path,
        environ.get("QUERY_STRING", ""),
        headers,
        environ.get("REMOTE_ADDR"),
        environ.get("wsgi.url_scheme", "http"),
    )
    environ[STATE] = state
    g.request_id = state.request_id
    g.client_ip = state.client_ip
    g.api_key = state.api_key
    g.api_key_valid = state.api_key_valid
    return state


def _state() -> _security.RequestState:
    """The state of the request at hand; made here when the application has no middleware."""
    state = request.environ.get(STATE)
    return state if isinstance(state, _security.RequestState) else _begin()


def _before_request() -> Response | None:
    refusal = _begin().refusal()
    return None if refusal is None else _response(refusal)


def _after_request(response: Response) -> Response:
    state = request.environ.get(STATE)
    if not isinstance(state, _security.RequestState):
        # The engine could not begin this request; what went wrong is being answered, and still gets an id.
        response.headers.setdefault("X-Request-ID", _security.generate_request_id())
        return response
    for name, value in state.response_headers(state.api_key_valid):
        response.headers.setdefault(name, value)
    # This one is ours whatever a view says: it is what the log knows the request by.
    response.headers["X-Request-ID"] = state.request_id
    return response


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
