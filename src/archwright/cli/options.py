"""What several commands share: their parsers and the printing of tables."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["command", "print_table"]


def command(
    commands: Any, name: str, line: str, execute: Callable[[argparse.Namespace], int], example: str
) -> argparse.ArgumentParser:
    """Add a command with its help, its example and what it executes."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=line,
        description=line[:1].upper() + line[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(execute=execute)
    return parser


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, as_json: bool) -> None:
    """Print rows to standard output, aligned for people or as a JSON array of objects."""
    if as_json:
        objects = [dict(zip(columns, row, strict=True)) for row in rows]
        print(json.dumps(objects, indent=1))
        return
    texts = [[_text(value) for value in row] for row in rows]
    widths = [max([len(name), *(len(row[i]) for row in texts)]) for i, name in enumerate(columns)]
    out = sys.stdout
    out.write("  ".join(n.ljust(w) for n, w in zip(columns, widths, strict=True)).rstrip() + "\n")
    for row in texts:
        out.write("  ".join(t.ljust(w) for t, w in zip(row, widths, strict=True)).rstrip() + "\n")


def _text(value: Any) -> str:
    if value is None or value != value:
        return "-"
    if isinstance(value, (list, tuple)):
        return " to ".join(_text(item) for item in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
