"""What several commands share: their parsers, and the files they write."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["Parser", "command", "written"]


class Parser(argparse.ArgumentParser):
    """A parser that answers a mistake in one line, with the nearest choice."""

    def error(self, message: str) -> NoReturn:
        """End with the message and exit code 2."""
        self.exit(2, f"{self.prog}: {message}; see '{self.prog} --help'\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            from archwright.errors import unknown

            raise argparse.ArgumentError(action, unknown("value", value, action.choices))


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
    parser.set_defaults(execute=execute, parser=parser)
    return parser


@contextlib.contextmanager
def written(path: Path, flag: str) -> Iterator[Path]:
    """Give a file that a user names to be written; its folders are created.

    Args:
        path: the file.
        flag: the option that names it, for the message.

    Raises:
        SpecificationError: the file cannot be written; the message has the reason.
    """
    from archwright.errors import SpecificationError

    try:
        if path.is_dir():
            raise SpecificationError(f"{flag}: {path} is a folder, expected the name of a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        yield path
    except OSError as error:
        reason = error.strerror or str(error)
        raise SpecificationError(f"{flag}: {path} cannot be written: {reason}") from error
