"""``archwright verify``: is every digest of a study right?"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from archwright.cli.options import command


def add(name: str, commands: Any, line: str) -> None:
    """Add the command."""
    parser = command(commands, name, line, _verify, "archwright verify runs/chat_fleet")
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a study")
    parser.add_argument(
        "--repair",
        action="store_true",
        help="set aside what is damaged (nothing is deleted); the trials in it run again",
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")


def _verify(options: argparse.Namespace) -> int:
    from archwright.search.store import durability, verify

    found = verify(options.run, repair=options.repair)
    if options.json:
        print(json.dumps(asdict(found), indent=1))
    else:
        print(
            f"{found.trials} trials are whole and in order: {found.sealed} rows in {found.parts} "
            f"parts, {found.tail} in the tail; {found.snapshots} snapshots, "
            f"{found.artifacts} artifacts ({durability(options.run)})"
        )
        for fault in found.damage:
            print(f"damage: {fault}")
        for name in found.set_aside:
            print(f"set aside: {name}")
        if found.damage:
            print(
                f"trials from {found.trials} on run again when the study is continued"
                if options.repair
                else "archwright verify --repair sets the damage aside"
            )
    return 0 if options.repair or not found.damage else 1
