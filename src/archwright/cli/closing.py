"""What ``run`` and ``report`` print at the end: the answer, its limits, the alternatives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archwright.cli.tables import print_table

if TYPE_CHECKING:
    from archwright.explain.closing import Closing

__all__ = ["print_closing"]


def print_closing(closing: Closing) -> None:
    """Print counts, why nothing meets the limits, the answer, limits and alternatives."""
    print(closing.counts)
    for line in closing.notes:
        print(line)
    for line in closing.answer.splitlines():
        print(line)
    if closing.headline is None:
        return
    table = closing.headline.table
    if table is not None:
        print()
        print_table(table.columns, table.rows, as_json=False)
        print()
    for line in closing.headline.brief:
        print(line)
