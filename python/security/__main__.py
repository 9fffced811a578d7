"""The ``security`` command, also as ``python -m security``."""

from __future__ import annotations

import signal
import sys

from security import _security


def main() -> int:
    """Runs the command line given to this process; returns the exit code (``int``).

    0 is clean, 1 failed, 2 wrong usage, 3 no input, 10 found something.
    """
    # The command runs outside the interpreter, which would notice Ctrl-C only after it ended.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _security.cli_main(sys.argv)


if __name__ == "__main__":
    sys.exit(main())
