"""What an environment can say about one design, as data that a report, notebook or page draws.

An environment may offer ``panels(design) -> list[Panel]``. A panel is plain data: no figure
library, no HTML. The report decides how it looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Bars", "Facts", "Panel", "Table"]


@dataclass(frozen=True, kw_only=True)
class Bars:
    """A bar chart: one group a label, one bar a series.

    Attributes:
        title: heading of the panel.
        labels: names along the category axis, length n.
        series: series name to n values.
        unit: unit of the values.
        stacked: stack the series instead of grouping them.
        note: one sentence below the chart.
    """

    title: str
    labels: Sequence[str]
    series: Mapping[str, Sequence[float]]
    unit: str = ""
    stacked: bool = False
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table: column names, rows of text or numbers, and a note."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | int | None]] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A list of sentences, such as what binds or what was assumed."""

    title: str
    items: Sequence[str]
    note: str = ""


Panel = Bars | Table | Facts
