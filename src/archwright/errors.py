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

import re
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
    >>> nearest("h10", ["A10", "H100-PCIe", "H100-SXM"])
    " (nearest: 'H100-SXM')"
    """
    best, found = _NEAR, ""
    for choice in map(str, choices):
        likeness = _likeness(str(value), choice)
        if likeness > best or (likeness == best and not found):
            best, found = likeness, choice
    return f" (nearest: '{found}')" if found else ""


_NEAR = 0.5
"""Likeness from which a choice is worth naming."""


def _likeness(value: str, choice: str) -> float:
    """Return how much a choice is what was meant, 0 to 1; case and separators do not count.

    Three kinds of slips are looked for: letters changed, left out, added or swapped; a name cut
    short or drawn out (``llama-3.3`` for ``Llama-3.3-70B``); words left out or put elsewhere
    (``70b-llama-3.3``). A cut name scores above a changed letter, since people know how a name
    begins and rarely how the catalogue ends it.
    """
    own, other = _plain(value), _plain(choice)
    if not own or not other:
        return 0.0
    if own == other:
        return 1.0 if value.lower() == choice.lower() else 0.99
    changed = 1.0 - _edits(own, other)[-1] / max(len(own), len(other))
    begins = 1.0 - min(_edits(own, other)) / len(own)
    if own[0] != other[0]:  # slips at the first letter are rare
        changed, begins = 0.9 * changed, 0.9 * begins
    whole_words = _words(choice)[: len(_words(value))] == _words(value)
    cut = (0.78 if whole_words else 0.75) + 0.2 * min(1.0, len(own) / len(other))
    return max(changed, begins * cut, 0.9 * _shared_words(value, choice))


def _plain(text: str) -> str:
    return re.sub(r"[^0-9a-z]", "", text.lower()) or text.lower().strip()


def _shared_words(value: str, choice: str) -> float:
    """Return how much of two names lies in words of both.

    The mean of the share of the shorter name and that of the longer one: a word alone is known
    again in a long name, the more so the less it leaves out.
    """
    words, others = _words(value), _words(choice)
    sizes = sorted((sum(map(len, words)), sum(map(len, others))))
    if not sizes[0]:
        return 0.0
    shared = 0.0
    for word in words:
        found = [(_word_likeness(word, other), other) for other in others]
        likeness, match = max(found, default=(0.0, ""))
        if likeness:
            shared += likeness * min(len(word), len(match))
            others.remove(match)
    return (shared / sizes[0] + shared / sizes[1]) / 2


def _words(text: str) -> list[str]:
    return re.findall(r"[0-9]+(?:\.[0-9]+)*|[a-z]+", text.lower())


def _word_likeness(word: str, other: str) -> float:
    if word == other:
        return 1.0
    if word[0].isdigit() or other[0].isdigit():
        return 0.0  # 3 and 8 are as far apart as any two numbers
    if len(word) > 1 and other.startswith(word):
        return 0.9
    likeness = 1.0 - _edits(word, other)[-1] / max(len(word), len(other))
    return likeness if likeness >= 0.7 else 0.0


def _edits(a: str, b: str) -> list[int]:
    """Return how many letters lie between one name and each beginning of another.

    A letter changed, added, dropped or swapped with its neighbor counts one (Damerau 1964). The
    last number is that of the whole names.
    """
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last


def unknown(kind: str, value: object, choices: Iterable[object]) -> str:
    """Return the standard sentence for a name that does not exist.

    >>> unknown("searcher", "nsga", ["nsga2", "random"])
    "unknown searcher 'nsga' (nearest: 'nsga2'); known: nsga2, random"
    """
    names = [str(choice) for choice in choices]
    shown = ", ".join(names) if len(names) <= 12 else f"{', '.join(names[:12])}, …"
    return f"unknown {kind} {value!r}{nearest(value, names)}; known: {shown or 'none'}"
