"""When a process forks and when it ends: nothing that was recorded is lost.

Registering a callback starts nothing: neither a thread nor a file is opened before the first call that needs one.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import Any

from security import _security


def _flush(_anchor: object = None) -> None:
    """Makes buffered records durable, if this process ever used the engine."""
    _security.flush_if_open()


class _Anchor:
    """Something for multiprocessing's weak registry to hold on to."""


_anchor = _Anchor()


def _at_end_of_worker(_unused: object = None) -> None:
    # A worker of multiprocessing ends with os._exit, which runs no atexit function; its own finalizers it does run.
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, _flush, exitpriority=0)


def _announce_to_multiprocessing() -> None:
    # A worker forgets the finalizers it finds, then calls who asked for it: that is the moment to register.
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.register_after_fork(_anchor, _at_end_of_worker)
        _at_end_of_worker()


def register() -> None:
    """Registers the callbacks, once for each process; called by ``import security``."""
    # What must be closed before a fork the engine closes by itself, whoever forks.
    os.register_at_fork(after_in_child=_announce_to_multiprocessing)
    _announce_to_multiprocessing()
    atexit.register(_security.shut_down)
