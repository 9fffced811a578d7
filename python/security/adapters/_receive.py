"""Request bodies over ASGI: the first messages are received and judged, and the application receives them again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

    from security._security import RequestState

__all__ = ["BodyTooLarge", "Received", "receive_judged"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class BodyTooLarge(Exception):
    """The application reads on in a body that is larger than the policy accepts. The middleware answers 413."""


async def receive_judged(state: RequestState, receive: Receive) -> Received | None:
    """Receives as much of the body as the policy wants to see, and judges it.

    What the judgement says is in ``state.refusal()``.

    :returns: what the application is to receive from; None when the client went away meanwhile.
    """
    messages: deque[Message] = deque()
    wanted = state.body_wanted
    if wanted:
        with Patience(state.body_wait_seconds) as patience:
            while wanted:
                message = await receive()
                if message["type"] != "http.request":
                    return None
                messages.append(message)
                wanted = state.feed_body(message.get("body", b""), not message.get("more_body", False))
        if patience.is_over:
            state.body_is_late()
    return Received(messages, receive, state.body_limit)


class Received:
    """The messages that were received already, and then the server's own; no more bytes than the policy accepts."""

    __slots__ = ("_left", "_messages", "_receive", "is_too_large")

    def __init__(self, messages: deque[Message], receive: Receive, limit: int | None) -> None:
        self.is_too_large = False
        self._messages = messages
        self._receive = receive
        self._left = limit

    async def __call__(self) -> Message:
        """The next message."""
        message = self._messages.popleft() if self._messages else await self._receive()
        if self._left is not None and message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                self.is_too_large = True
        if self.is_too_large:
            raise BodyTooLarge
        return message


class Patience:
    """Ends a wait after so many seconds. On event loops other than asyncio's, the server's own patience has to do."""

    __slots__ = ("_handle", "_seconds", "_task", "is_over")

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self._seconds = seconds
        self._task: asyncio.Task[Any] | None = None
        self._handle: asyncio.TimerHandle | None = None

    def __enter__(self) -> Patience:
        try:
            self._task = asyncio.current_task()
        except RuntimeError:
            return self
        if self._task is not None:
            self._handle = self._task.get_loop().call_later(self._seconds, self._end)
        return self

    def _end(self) -> None:
        self.is_over = True
        if self._task is not None:
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        if self._handle is not None:
            self._handle.cancel()
        if not self.is_over or kind is not asyncio.CancelledError:
            return False
        # Python 3.11 on counts cancellations: when somebody else wants the task to end as well, it ends.
        uncancel: Callable[[], int] | None = getattr(self._task, "uncancel", None)
        return uncancel is None or uncancel() == 0
