"""What foreign code prints goes to a log: standard output is for the command's own data."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

__all__ = ["printed_to", "said"]

_own: list[TextIO] = []


@contextlib.contextmanager
def printed_to(path: Path) -> Iterator[None]:
    """Send what is printed inside, by any code and any child process, to a file.

    The file is written where its folder exists in the end and something was printed. The command
    itself prints with :func:`said`.
    """
    sys.stdout.flush()
    with tempfile.TemporaryFile() as log, _standard_output() as kept:
        os.dup2(log.fileno(), 1)
        before = sys.stdout
        stream = open(os.dup(1), "w", encoding="utf-8", errors="replace")  # noqa: PTH123, SIM115
        sys.stdout = stream
        _own.append(before if kept is None else os.fdopen(os.dup(kept), "w"))
        try:
            yield
        finally:
            stream.flush()
            with contextlib.suppress(OSError, AttributeError):
                ctypes.CDLL(None).fflush(None)  # what native code has buffered
            sys.stdout = before
            stream.close()
            own = _own.pop()
            own.flush()
            if kept is not None:
                os.dup2(kept, 1)
                if own is not before:
                    own.close()
            log.seek(0)
            text = log.read()
            if text and path.parent.is_dir():
                with contextlib.suppress(OSError), path.open("ab") as file:
                    file.write(text)


def said(*values: Any, end: str = "\n") -> None:
    """Print to the standard output of the command, also within :func:`printed_to`."""
    print(*values, end=end, file=_own[-1] if _own else sys.stdout)


@contextlib.contextmanager
def _standard_output() -> Iterator[int | None]:
    """Give a copy of standard output where ``sys.stdout`` writes to it, else None."""
    try:
        same = sys.stdout.fileno() == 1
    except (OSError, ValueError, AttributeError):
        same = False  # captured, as in a notebook or a test: that text has its own place
    kept = os.dup(1)
    try:
        yield kept if same else None
    finally:
        os.dup2(kept, 1)
        os.close(kept)
