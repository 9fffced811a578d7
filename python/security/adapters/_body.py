"""Request bodies over WSGI: the first bytes are read and judged, and the application reads the whole as it came."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping

    from security._security import RequestState

__all__ = ["BodyTooLarge", "judge_body"]


class BodyTooLarge(OSError):
    """The application reads on in a body that is larger than the policy accepts. The middleware answers 413."""


def judge_body(
    environ: MutableMapping[str, Any], state: RequestState, too_large: Callable[[], Exception] = BodyTooLarge
) -> None:
    """Reads as much of the body as the policy wants to see, judges it, and puts it back.

    Never reads beyond the announced length, where a server may wait for ever. What the judgement says is in
    ``state.refusal()``.

    :param too_large: makes what is raised when the application reads beyond the policy's limit.
    """
    stream, length = environ.get("wsgi.input"), state.body_length
    if stream is None:
        state.feed_body(b"", True)
        return
    head = bytearray()
    is_whole = False
    wanted = state.body_wanted
    while wanted:
        chunk = stream.read(wanted if length is None else min(wanted, length - len(head)))
        head += chunk
        is_whole = not chunk or len(head) == length
        wanted = state.feed_body(chunk, is_whole)
    if is_whole:
        environ["wsgi.input"] = io.BytesIO(head)
    else:
        environ["wsgi.input"] = Rest(bytes(head), stream, state.body_limit, too_large)


class Rest:
    """A WSGI input whose first bytes were read already, and which may end in an error instead of a surprise.

    Reads no more of the server's own stream than is asked for, so that what trickles in trickles on.
    """

    def __init__(self, head: bytes, stream: Any, limit: int | None, too_large: Callable[[], Exception]) -> None:
        self._head = io.BytesIO(head)
        self._stream = stream
        self._left = limit
        self._too_large = too_large

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes, as a server's own input gives them."""
        everything = size is None or size < 0
        data = self._head.read(size)
        if everything:
            data += self._stream.read(self._most())
        elif len(data) < size:  # type: ignore[operator]
            data += self._stream.read(self._most(size - len(data)))  # type: ignore[operator]
        return self._counted(data)

    def readline(self, size: int | None = -1) -> bytes:
        """The next line with its end, or as much of it as ``size`` says."""
        limited = size is not None and size >= 0
        data = self._head.readline(size)
        if not data.endswith(b"\n") and not (limited and len(data) == size):
            rest = size - len(data) if limited else -1  # type: ignore[operator]
            data += self._stream.readline(self._most(rest) if limited or self._left is not None else -1)
        return self._counted(data)

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        """All lines, or as many as have ``hint`` bytes together."""
        lines: list[bytes] = []
        size = 0
        for line in self:
            lines.append(line)
            size += len(line)
            if hint is not None and 0 < hint <= size:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def __getattr__(self, name: str) -> Any:
        # What else a server's input can do (`close`, `fileno`); nothing of it reads.
        if name in ("read1", "readinto", "readinto1", "peek", "detach", "raw", "buffer"):
            raise AttributeError(name)
        return getattr(self._stream, name)

    def _most(self, wanted: int = -1) -> int:
        """How much to ask the server for: one byte more than may come, to notice it."""
        if self._left is None:
            return wanted
        return self._left + 1 if wanted < 0 else min(wanted, self._left + 1)

    def _counted(self, data: bytes) -> bytes:
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                self._refuse()
        return data

    def _refuse(self) -> NoReturn:
        self._left = 0
        raise self._too_large()
