"""What is judged of a body is what an application reads of it: bodies made of pieces that readers differ about.

Flask, Django and Starlette read each of them. What one of them finds in a field must not go past inspection.
"""

from __future__ import annotations

import asyncio
import io
import logging
import random
import unittest
import warnings
from collections.abc import Iterator
from typing import Any

import security
from engine_case import EngineCase

import test_adapter_parity  # noqa: F401, isort: skip (Django's settings)

from django.core.handlers.wsgi import WSGIRequest
from starlette.requests import Request
from werkzeug.wrappers import Request as FlaskRequest

ATTACK = "<script>alert(1)</script>"


def by_django(content_type: str, body: bytes) -> list[str]:
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/x",
        "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    request = WSGIRequest(environ)
    values = [value for _, values in request.POST.lists() for value in values]
    request.close()
    return values


def by_flask(content_type: str, body: bytes) -> list[str]:
    environ = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    with FlaskRequest(environ) as request:
        return [value for _, value in request.form.items(multi=True)]


def by_starlette(content_type: str, body: bytes) -> list[str]:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def read() -> list[str]:
        scope = {"type": "http", "method": "POST", "path": "/x", "headers": [(b"content-type", content_type.encode())]}
        async with Request(scope, receive).form() as form:
            return [value for _, value in form.multi_items() if isinstance(value, str)]

    return asyncio.run(read())


READERS = (by_django, by_flask, by_starlette)

TYPES = (
    "multipart/form-data; boundary=X",
    'multipart/form-data; boundary="X"',
    "multipart/form-data; charset=utf-16; boundary=X",
    "multipart/form-data; charset=latin-1; boundary=X",
    'multipart/form-data; x="; boundary=A; y="; boundary=X',
    'multipart/form-data; boundary=X; x="; boundary=A"',
    'multipart/form-data; x="\\"; boundary=A; y="; boundary=X',
    "multipart/form-data; boundary=A; boundary=X",
    "multipart/form-data;boundary=X;",
    "Multipart/Form-Data ; BOUNDARY=X",
    "application/x-www-form-urlencoded",
    "application/x-www-form-urlencoded; charset=utf-16",
    "application/x-www-form-urlencoded; charset=utf-8",
)
STARTS = ("", "\r\n", "a\0", "\0a", "preamble\r\n", "\r\n\r\n", "--A\r\n", "--X--\r\n", "a=1&", "{", "<?xml")
DELIMITERS = (
    "--X\r\n",
    "\r\n--X\r\n",
    "\n--X\n",
    "\r--X\r",
    "--X \r\n",
    "\r\n--X\t\r\n",
    " --X\r\n",
    "\r\n--XX\r\n",
    "--A\r\n",
)
DISPOSITION = "Content-Disposition: form-data; "
HEADS = (
    DISPOSITION + 'name="c"',
    DISPOSITION + "name=c",
    DISPOSITION + 'name="c"; filename="a.txt"',
    DISPOSITION + 'name="c"; filename=""',
    DISPOSITION + "name=c; filename=",
    DISPOSITION + "name=\"c\"; filename*=utf-8''a.txt",
    DISPOSITION + 'name="c"; filename*=',
    DISPOSITION + 'name="c"; x-filename="a"',
    DISPOSITION + 'name="c"; x="; filename=a"',
    DISPOSITION + 'name="c\\"; filename=a"',
    DISPOSITION + 'name="c\\\\"; filename="a',
    DISPOSITION + "name='c'; filename='a;b'",
    DISPOSITION + 'name="c"; filename="a"; filename=""',
    DISPOSITION + 'name="c";\r\n filename="a"',
    DISPOSITION + 'name="c"\r\n\tfilename="a"',
    "content-disposition:form-data;name=c",
    "Content-Disposition : form-data; name=c; filename=a",
)
OTHER_LINES = (
    "",
    "X-Note: filename=a",
    "Content-Type: text/plain; filename=a",
    "Content-Type: text/plain; charset=utf-16",
    "Content-Type: application/octet-stream",
    DISPOSITION + 'name="d"; filename="b"',
    DISPOSITION + 'name="d"',
    "Content-Transfer-Encoding: base64",
    "Content-Transfer-Encoding: quoted-printable",
)
GAPS = ("\r\n\r\n", "\n\n", "\r\r", "\r\n\n", "\n\r\n", "\r\n \r\n\r\n")
CONTENTS = (
    ATTACK,
    f"a --X {ATTACK}",
    f"a\r\n--XY {ATTACK}",
    f"fine\n\n{ATTACK}",
    f"{ATTACK}\r\n\r\nfine",
    "PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    "=3Cscript=3Ealert(1)=3C/script=3E",
    "fine",
)
ENDS = ("\r\n--X--\r\n", "\n--X--", "--X--", "", "\r\n--X\r\n", "\r\n--X--epilogue")


def bodies(seed: int, number: int) -> Iterator[tuple[str, bytes]]:
    pick = random.Random(seed)
    for _ in range(number):
        pieces = [pick.choice(STARTS) if pick.random() < 0.3 else ""]
        for _ in range(pick.randint(1, 3)):
            lines = [pick.choice(HEADS)]
            if pick.random() < 0.4:
                lines.insert(pick.randint(0, 1), pick.choice(OTHER_LINES))
            pieces += [
                pick.choice(DELIMITERS) if pick.random() < 0.5 else "\r\n--X\r\n",
                pick.choice(("\r\n", "\r\n", "\n", "\r")).join(line for line in lines if line),
                pick.choice(GAPS) if pick.random() < 0.5 else "\r\n\r\n",
                pick.choice(CONTENTS),
            ]
        pieces.append(pick.choice(ENDS))
        yield pick.choice(TYPES), "".join(pieces).encode()


class TwoReaders(EngineCase):
    def setUp(self) -> None:
        super().setUp()
        self.reopen(config={"web": {"limits": {"client": "unlimited"}}})
        # Readers say what they refuse, and leave open what they could not read to its end.
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        quiet = warnings.catch_warnings()
        quiet.__enter__()
        self.addCleanup(quiet.__exit__, None, None, None)
        warnings.simplefilter("ignore", ResourceWarning)

    def test_what_some_reader_reads_is_judged(self) -> None:
        read, past = 0, []
        for content_type, body in bodies(20261124, 4000):
            for reader in READERS:
                try:
                    values = reader(content_type, body)
                except Exception:
                    continue
                if not any(ATTACK in value for value in values):
                    continue
                read += 1
                request = {"method": "POST", "path": "/x", "headers": {"Content-Type": content_type}, "body": body}
                if security.inspect_request(request)["action"] == "allow":
                    past.append((reader.__name__, content_type, body))
        self.assertGreater(read, 1000)
        self.assertEqual(past[:3], [], len(past))


if __name__ == "__main__":
    unittest.main()
