"""Request bodies over WSGI: the first bytes are read and judged, and the application reads the whole as it came."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping

    from security._security import RequestState

__all__ = ["BodyTooLarge", "judge_body"]


# How many bytes are asked for at a time where all are wanted, and where a line is.
PIECE, LINE = 1 << 16, 1 << 10


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
        left = None if length is None else length - len(head)
        environ["wsgi.input"] = Rest(bytes(head), stream, left, state.body_limit, too_large)


class Rest:
    """A WSGI input whose first bytes were read already, and which may end in an error instead of a surprise.

    Asks the server's own stream for so many bytes and nothing else: not every server reads lines, or all there is,
    after somebody has read a part. Never asks for more than is announced, nor for much more than is wanted, so that
    what trickles in trickles on.

    :param left: how many bytes follow the head; None when the stream says where it ends.
    :param limit: the most bytes of head and stream together; None for any number.
    """

    def __init__(
        self, head: bytes, stream: Any, left: int | None, limit: int | None, too_large: Callable[[], Exception]
    ) -> None:
        self._head = io.BytesIO(head)
        self._stream = stream
        self._left = left
        self._room = None if limit is None else limit - len(head)
        self._too_large = too_large

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes, as a server's own input gives them."""
        data = self._head.read(size)
        if size is not None and size >= 0:
            return data + self._more(size - len(data))
        pieces = [data]
        while piece := self._more(PIECE):
            pieces.append(piece)
        return b"".join(pieces)

    def readline(self, size: int | None = -1) -> bytes:
        """The next line with its end, or as much of it as ``size`` says."""
        most = None if size is None or size < 0 else size
        line = self._head.readline(size)
        while not line.endswith(b"\n") and (most is None or len(line) < most):
            piece = self._more(LINE)
            if not piece:
                break
            self._head = io.BytesIO(piece)
            line += self._head.readline(-1 if most is None else most - len(line))
        return line

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

    def _more(self, wanted: int) -> bytes:
        """As many bytes of the server's stream; where there is a limit, one more than fit, to notice it."""
        if self._left is not None:
            wanted = min(wanted, self._left)
        if self._room is not None:
            wanted = min(wanted, self._room + 1)
        if wanted <= 0:
            return b""
        data: bytes = self._stream.read(wanted)
        if self._left is not None:
            self._left -= len(data)
        if self._room is not None:
            self._room -= len(data)
            if self._room < 0:
                self._room = 0
                raise self._too_large()
        return data
