"""Where a number comes from: labels for metrics, sources for catalogue rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["LABELS", "Label", "Source"]

Label = Literal[
    "measured", "table", "fitted", "analytic", "simulated", "learned", "assumed", "derived"
]
"""How a number was obtained, from most to least direct."""

LABELS: tuple[str, ...] = get_args(Label)


@dataclass(frozen=True, kw_only=True)
class Source:
    """The origin of a catalogue row.

    Attributes:
        source: repository and file, page or report.
        date: ISO date of the publication or of the stored copy; empty if unknown.
        flag: ``sourced``, ``sourced in part``, ``recalled``, ``derived`` or ``assumed``.
    """

    source: str
    date: str = ""
    flag: str = "sourced"

    def __str__(self) -> str:
        return ", ".join(part for part in (self.source, self.date, self.flag) if part)
