"""``archwright new``: a commented study file to begin with."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from archwright.cli.completion import names
from archwright.cli.options import command


def add(name: str, commands: Any, line: str) -> None:
    """Add the command."""
    parser = command(commands, name, line, _new, "archwright new serving/fleet > my.toml")
    named = parser.add_argument(
        "environment", metavar="LAYER/NAME", help="the environment to study"
    )
    named.completer = names("environments")  # type: ignore[attr-defined]


def _new(options: argparse.Namespace) -> int:
    from archwright.errors import SpecificationError
    from archwright.registry import resolve

    target = resolve("environments", options.environment)
    template = getattr(target, "template", None)
    if template is None:
        raise SpecificationError(f"environment {options.environment!r} brings no template")
    sys.stdout.write(template())
    return 0
