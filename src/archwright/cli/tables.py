"""Printing tables: whole lines into pipes, as wide as the terminal for people."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["fitted", "print_table"]

_GAP = 2
_WORDS = (24, 16, 12)
"""Letters of a word that are kept on one line, as many as there is room for."""


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, as_json: bool) -> None:
    """Print rows to standard output, aligned for people or as a JSON array of objects.

    On a terminal a table fits its width: long texts go over several lines, and what is too wide
    even so is printed as several tables that share their first column. Pipes and files get one
    line a row, unless the variable COLUMNS asks for a width.
    """
    if as_json:
        objects = [dict(zip(columns, row, strict=True)) for row in rows]
        print(json.dumps(objects, indent=1))
        return
    texts = [[_text(value) for value in row] for row in rows]
    for line in fitted(columns, texts, _room()):
        print(line)


def _room() -> int | None:
    """Return the columns that may be used, None for any number."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit():
        return shutil.get_terminal_size().columns
    return None


def fitted(columns: Sequence[str], rows: Sequence[Sequence[str]], room: int | None) -> list[str]:
    """Return the lines of a table that is at most `room` wide; no letter is left out.

    >>> for line in fitted(["name", "what"], [["tpe", "Parzen estimators of Optuna"]], 22):
    ...     print(line)
    name  what
    tpe   Parzen
          estimators of
          Optuna
    """
    table = [[column, *(row[i] for row in rows)] for i, column in enumerate(columns)]
    wanted = [max(map(len, column)) for column in table]
    if room is None or _total(wanted) <= room:
        return list(_lines(table, wanted))
    for word in _WORDS:
        least = [
            min(most, max(_longest_word(text, word) for text in column))
            for most, column in zip(wanted, table, strict=True)
        ]
        if _total(least) <= room:
            break
    lines: list[str] = []
    for group in _groups(least, room):
        widths = _widths([wanted[i] for i in group], [least[i] for i in group], room)
        lines += [""] * bool(lines)
        lines += _lines([table[i] for i in group], widths)
    return lines


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _longest_word(text: str, most: int) -> int:
    return min(most, max(map(len, text.split()), default=0))


def _groups(least: Sequence[int], room: int) -> list[list[int]]:
    """Cut columns into tables that fit, each led by the first column."""
    groups = [[0]]
    for column in range(1, len(least)):
        if len(groups[-1]) > 1 and _total([least[i] for i in (*groups[-1], column)]) > room:
            groups.append([0])
        groups[-1].append(column)
    return groups


def _widths(wanted: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Narrow the widest columns alike until the table fits; at first none below its least."""
    widths = list(wanted)
    for floor in (least, [1] * len(least)):
        for cap in range(max(widths), 0, -1):
            widths = [min(w, max(low, cap)) for w, low in zip(widths, floor, strict=True)]
            if _total(widths) <= room:
                return widths
    return widths


def _lines(table: Sequence[Sequence[str]], widths: Sequence[int]) -> Iterator[str]:
    gap = " " * _GAP
    for cells in zip(*table, strict=True):
        parts = [_wrap(cell, width) for cell, width in zip(cells, widths, strict=True)]
        for at in range(max(map(len, parts))):
            padded = (
                (part[at] if at < len(part) else "").ljust(width)
                for part, width in zip(parts, widths, strict=True)
            )
            yield gap.join(padded).rstrip()


def _wrap(text: str, width: int) -> list[str]:
    return [text] if len(text) <= width else textwrap.wrap(text, max(1, width)) or [""]


def _text(value: Any) -> str:
    if value is None or value != value:
        return "-"
    if isinstance(value, (list, tuple)):
        return " to ".join(_text(item) for item in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
