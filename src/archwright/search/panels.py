"""What an environment can say about one design, as data that a report, notebook or page draws.

An environment may offer ``panels(design) -> list[Panel]``. A panel is plain data: no figure
library, no HTML. The report decides how it looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from archwright.search.amounts import number

__all__ = ["Bars", "Facts", "Headline", "Panel", "Roofline", "Strips", "Table"]


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

    def _repr_html_(self) -> str:
        """Return the table for notebooks."""
        head = "".join(f"<th>{escape(str(name))}</th>" for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(_cell(value))}</td>" for value in row) + "</tr>"
            for row in self.rows
        )
        note = f"<p>{escape(self.note)}</p>" if self.note else ""
        return (
            f"<table><caption>{escape(self.title)}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>{note}"
        )


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return number(value) if isinstance(value, float) else str(value)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A list of sentences, such as what binds or what was assumed."""

    title: str
    items: Sequence[str]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """Operators under a roofline: what they reach over the operations they do a byte.

    Attributes:
        title: heading of the panel.
        names: name of each operator, length n.
        groups: what it belongs to, such as prefill or decode.
        intensity: operations a byte.
        attained_ops_s: operations a second reached.
        share: share of the group's time.
        peaks_ops_s: matrix rate by number format.
        bandwidth_bytes_s: of the memory.
        note: one sentence below the chart.
    """

    title: str
    names: Sequence[str]
    groups: Sequence[str]
    intensity: Sequence[float]
    attained_ops_s: Sequence[float]
    share: Sequence[float]
    peaks_ops_s: Mapping[str, float]
    bandwidth_bytes_s: float
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Strips:
    """Groups of values as points, each group beside the others, with a line of reference.

    Attributes:
        title: heading of the panel.
        groups: name to values.
        unit: what the values are.
        reference: value of a line through all groups; None for no line.
        reference_name: what the line is.
        note: one sentence below the chart.
    """

    title: str
    groups: Mapping[str, Sequence[float]]
    unit: str = ""
    reference: float | None = None
    reference_name: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Headline:
    """What decides about a design, shown first.

    Attributes:
        figures: (name, value) as people read them.
        table: limits with value, interval and chance, say; None for none.
        lines: sentences: the alternatives, and what could break the answer.
        brief: those of the lines that a terminal prints, too.
        subject: what was designed, after the goal in the title of the report, such as
            ``serving builtin:chat at 20 requests/s``.
        lead: how many of the panels come before the front.
    """

    figures: Sequence[tuple[str, str]] = ()
    table: Table | None = None
    lines: Sequence[str] = ()
    brief: Sequence[str] = ()
    subject: str = ""
    lead: int = 0


Panel = Bars | Table | Facts | Roofline | Strips
