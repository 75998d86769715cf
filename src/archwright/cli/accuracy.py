"""``archwright accuracy``: the simulators against measurements."""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import sys
from pathlib import Path
from typing import Any

from archwright.cli.options import command
from archwright.cli.tables import print_table

# name: function that takes a folder and gives rows, and reasons with the rows they leave out
_TABLES = {
    "kernels": "archwright.hardware.accuracy:kernel_accuracy",
    "llm": "archwright.llm.accuracy:llm_accuracy",
    "energy": "archwright.llm.energy_accuracy:energy_accuracy",
    "dram": "archwright.memory.accuracy:dram_accuracy",
}


def add(name: str, commands: Any, line: str) -> None:
    """Add the command."""
    parser = command(
        commands, name, line, _accuracy, "archwright accuracy kernels --data measurements"
    )
    parser.add_argument("name", choices=_TABLES, metavar="NAME", help=", ".join(_TABLES))
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder of measurements; default: the variable ARCHWRIGHT_DATA",
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")


def _accuracy(options: argparse.Namespace) -> int:
    import importlib

    from archwright.errors import SpecificationError

    data = options.data or (Path(p) if (p := os.environ.get("ARCHWRIGHT_DATA")) else None)
    if data is None:
        raise SpecificationError("--data: name the folder of measurements, or set ARCHWRIGHT_DATA")
    if not data.is_dir():
        raise SpecificationError(f"--data: {data} is no folder")
    module, _, function = _TABLES[options.name].partition(":")
    skipped: dict[str, int] = {}
    rows = getattr(importlib.import_module(module), function)(data, skipped=skipped)
    names = [field.name for field in dataclasses.fields(rows[0])]
    table = [[_plain(getattr(row, name), options.json) for name in names] for row in rows]
    print_table(names, table, as_json=options.json)
    for reason, count in skipped.items():
        print(f"left out: {count}: {reason}", file=sys.stderr)
    return 0


def _plain(value: Any, as_json: bool) -> Any:
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return value if as_json else float(f"{value:.4g}")
    return value
