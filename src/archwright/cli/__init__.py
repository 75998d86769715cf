"""The command line. Each command is one module, imported only when it is used."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from archwright.cli.options import Parser

__all__ = ["main"]

# command: (module, one line of help)
_COMMANDS = {
    "run": ("run", "search as a study file says; again = continue"),
    "new": ("new", "write a commented study file to standard output"),
    "report": ("results", "write the HTML report of a study"),
    "compare": ("results", "compare studies: best values, fronts, hypervolume"),
    "export": ("results", "write the trials of a study as CSV, Parquet or an Optuna journal"),
    "verify": ("verify", "check every digest of a study; --repair sets damage aside"),
    "sweep": ("sweep", "compare searchers over settings and seeds at one budget"),
    "simulate": ("simulate", "run one configuration through one simulator"),
    "accuracy": ("accuracy", "score the simulators against measurements"),
    "calibrate": ("calibrate", "fit a device or an engine to your own measurements"),
    "reproduce": ("papers", "compute a paper's findings anew"),
    "papers": ("papers", "list the 48 systems and their state"),
    "environments": ("lists", "list environments, or describe one"),
    "searchers": ("lists", "list search methods, or describe one"),
    "devices": ("lists", "list accelerators, or describe one"),
    "models": ("lists", "list models, or describe one"),
    "doctor": ("doctor", "check this installation"),
    "completion": ("completion", "print a script that completes commands in your shell"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code (0 well, 1 not as declared, 2 a user's mistake)."""
    if "_ARGCOMPLETE" in os.environ:
        from archwright.cli.completion import complete

        return complete(lambda word: _parser(word if word in _COMMANDS else None))
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = next((word for word in given if not word.startswith("-")), None)
    if command is not None and command not in _COMMANDS and given[0] == command:
        from archwright.errors import unknown

        print(f"archwright: {unknown('command', _translate(command), _COMMANDS)}", file=sys.stderr)
        return 2
    parser = _parser(command if command in _COMMANDS else None)
    try:
        options, rest = parser.parse_known_args(given)
        if rest:
            _refuse(rest[0], options, parser)
    except SystemExit as stop:
        return int(stop.code or 0)
    if not hasattr(options, "execute"):
        parser.print_help()
        return 0
    return _execute(options)


def _execute(options: argparse.Namespace) -> int:
    from archwright.errors import ArchwrightError, UserError

    try:
        with _ended_by_signal():
            return int(options.execute(options))
    except UserError as error:
        print(f"archwright: {error}", file=sys.stderr)
        return 2
    except ArchwrightError as error:
        print(f"archwright: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print("archwright: interrupted; the same command continues", file=sys.stderr)
        return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)
    except BrokenPipeError:
        sys.stderr.close()
        return 0


class Terminated(KeyboardInterrupt):
    """SIGTERM came: whatever cleans up after Ctrl-C cleans up after it, too."""


@contextlib.contextmanager
def _ended_by_signal() -> Iterator[None]:
    """End like Ctrl-C does when a scheduler or ``kill`` asks; a second SIGTERM ends at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    def stop(number: int, frame: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser(command: str | None) -> argparse.ArgumentParser:
    parser = Parser(
        prog="archwright",
        description="Design AI systems: state a workload, what may vary and what matters.",
        epilog="example:\n  archwright new serving/fleet > my.toml\n  archwright run my.toml",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    for name, (module, line) in _COMMANDS.items():
        if name == command:
            importlib.import_module(f"archwright.cli.{module}").add(name, commands, line)
        elif command is None:
            commands.add_parser(name, help=line, add_help=False)
    return parser


def _translate(command: str) -> str:
    """Map the verbs that newcomers bring from other tools to ours."""
    known = {
        "predict": "simulate",
        "recommend": "run",
        "optimize": "run",
        "plot": "report",
        "best-trial": "report",
        "trials": "export",
        "studies": "compare",
        "init": "new",
    }
    return known.get(command, command)


def _refuse(word: str, options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse a word that no argument takes."""
    from archwright.errors import unknown

    parser = getattr(options, "parser", parser)
    if word.startswith("-"):
        known = [flag for flag in parser._option_string_actions if flag.startswith("--")]
        parser.error(unknown("option", word.partition("=")[0], known))
    parser.error(f"{word!r} is one argument too many")


class _Version(argparse.Action):
    """Print the version, which is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from archwright import __version__

        print(f"archwright {__version__}")
        parser.exit()
