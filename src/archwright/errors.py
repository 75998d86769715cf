"""The one exception tree.

    ArchwrightError
    ├── UserError               a user's mistake; the command line prints it and exits 2
    │   ├── SpecificationError  a field, key or value that cannot be used
    │   ├── TraceError          a broken row of a trace or table, named by line
    │   ├── StudyError          a study that cannot start or continue as asked
    │   ├── StoreError          a folder that is locked, foreign, damaged or too new
    │   └── MissingExtraError   an optional dependency that is not installed
    ├── InfeasibleError         a well-posed question without an answer
    └── EnvironmentFault        an environment broke its contract or crashed

Every message names what was given, what was expected and the nearest valid choice.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ArchwrightError",
    "EnvironmentFault",
    "InfeasibleError",
    "MissingExtraError",
    "SpecificationError",
    "StoreError",
    "StudyError",
    "TraceError",
    "UserError",
    "nearest",
    "unknown",
]


class ArchwrightError(Exception):
    """Base of every error that Archwright raises on purpose."""


class UserError(ArchwrightError):
    """Something the user gave cannot be used."""


class SpecificationError(UserError):
    """A field, key or value of a specification or study file is wrong."""


class TraceError(UserError):
    """A row of a trace or table is missing or broken."""


class StudyError(UserError):
    """A study cannot start or continue as asked."""


class StoreError(UserError):
    """A study folder is locked, foreign, damaged or of a newer format."""


class MissingExtraError(UserError):
    """An optional dependency is not installed; the message has the install command."""

    def __init__(self, what: str, extra: str) -> None:
        self.what, self.extra = what, extra
        super().__init__(f"{what} needs the extra '{extra}': pip install 'archwright[{extra}]'")

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        return type(self), (self.what, self.extra)  # so that a worker process can raise it


class InfeasibleError(ArchwrightError):
    """A well-posed question has no answer within its limits."""


class EnvironmentFault(ArchwrightError):  # noqa: N818 - a fault, named as the field names it
    """An environment broke its contract or crashed while it evaluated a design.

    Attributes:
        kind: type of what it raised, ``WorkerDied`` or ``TimeoutError``.
        detail: what that said.
        trace: its traceback.
    """

    def __init__(
        self, message: str = "", *, kind: str = "", detail: str = "", trace: str = ""
    ) -> None:
        super().__init__(message)
        self.kind = kind or type(self).__name__
        self.detail = detail or message
        self.trace = trace


def nearest(value: object, choices: Iterable[object]) -> str:
    """Return ``" (nearest: 'x')"`` for the closest choice, or an empty string.

    >>> nearest("latancy_s", ["latency_s", "power_w"])
    " (nearest: 'latency_s')"
    """
    names = [str(choice) for choice in choices]
    close = difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
    if not close:
        lowered = {name.lower(): name for name in names}
        close = [
            lowered[match]
            for match in difflib.get_close_matches(str(value).lower(), list(lowered), 1, 0.5)
        ]
    return f" (nearest: '{close[0]}')" if close else ""


def unknown(kind: str, value: object, choices: Iterable[object]) -> str:
    """Return the standard sentence for a name that does not exist.

    >>> unknown("searcher", "nsga", ["nsga2", "random"])
    "unknown searcher 'nsga' (nearest: 'nsga2'); known: nsga2, random"
    """
    names = [str(choice) for choice in choices]
    shown = ", ".join(names) if len(names) <= 12 else f"{', '.join(names[:12])}, …"
    return f"unknown {kind} {value!r}{nearest(value, names)}; known: {shown or 'none'}"
