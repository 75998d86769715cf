"""``archwright simulate``: one configuration through one simulator, flags from its dataclass."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tomllib
from pathlib import Path
from typing import Any

from archwright.cli.completion import names, typed
from archwright.cli.options import command, written
from archwright.cli.tables import print_table


def add(name: str, commands: Any, line: str) -> None:
    """Add the command."""
    parser = command(
        commands,
        name,
        line,
        _simulate,
        "archwright simulate serving/fleet --model Llama-3.1-8B --rate_per_s 20 "
        "--limits.ttft_p99_s 0.5\n"
        "  archwright simulate llm/infer --model Llama-3.1-70B --device H100-SXM --tp 4 "
        "--batch 32 --input 2048 --output 512 --report infer.html",
    )
    simulator = parser.add_argument("simulator", metavar="LAYER/NAME", help="the simulator")
    simulator.completer = names("simulators")  # type: ignore[attr-defined]
    named = next((word for word in typed()[1:] if not word.startswith("-")), None)
    if named is not None:  # a shell asks for the flags, which only the simulator knows
        for path in _paths(named):
            parser.add_argument(f"--{path}")
        return
    parser.add_argument(
        "fields",
        nargs=argparse.REMAINDER,
        metavar="--FIELD VALUE",
        help="fields; --fields lists them",
    )


def _paths(simulator: str) -> list[str]:
    from archwright.registry import resolve
    from archwright.specification import describe

    return [path for path, *_ in describe(resolve("simulators", simulator).specification)]


def _simulate(options: argparse.Namespace) -> int:
    from archwright.errors import SpecificationError
    from archwright.registry import resolve
    from archwright.specification import describe, from_mapping

    simulator = resolve("simulators", options.simulator)
    words = list(options.fields)
    as_json = "--json" in words
    words = [word for word in words if word != "--json"]
    report = _take(words, "--report")
    if "--fields" in words or "--help" in words:
        rows = [list(row) for row in describe(simulator.specification)]
        print_table(["field", "type", "default", "meaning"], rows, as_json=as_json)
        return 0
    table = _table(words, [path for path, *_ in describe(simulator.specification)])
    specification = from_mapping(simulator.specification, table)
    result = simulator(specification, folder=Path())
    if report is not None:
        if not hasattr(simulator, "report"):
            raise SpecificationError(f"--report: {options.simulator} draws none")
        with written(Path(report), "--report") as page:
            drawn = simulator.report(specification, page)
        print(f"report: {drawn}", file=sys.stderr)
    fields = result if isinstance(result, dict) else dataclasses.asdict(result)
    print_table(["quantity", "value"], [[k, v] for k, v in fields.items()], as_json=as_json)
    return 0


def _take(words: list[str], flag: str) -> str | None:
    """Take a flag and its value out of the words."""
    from archwright.errors import SpecificationError

    for at, word in enumerate(words):
        if word.startswith(f"{flag}="):
            del words[at]
            return word.removeprefix(f"{flag}=")
    if flag not in words:
        return None
    at = words.index(flag)
    if at + 1 >= len(words):
        raise SpecificationError(f"{flag}: expected the name of a file")
    del words[at]
    return words.pop(at)


def _table(words: list[str], known: list[str]) -> dict[str, Any]:
    """Read ``--path value`` pairs into nested tables; values as TOML, else as texts."""
    from archwright.errors import SpecificationError, unknown
    from archwright.search.study_file import apply_overrides

    table: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        path, equals, value = word.removeprefix("--").replace("-", "_").partition("=")
        if not word.startswith("--") or path not in known:
            raise SpecificationError(unknown("field", word.removeprefix("--"), known))
        value = word.partition("=")[2] if equals else next(rest, "")
        if not value:
            raise SpecificationError(f"--{path}: expected a value")
        try:
            tomllib.loads(f"value = {value}")
        except tomllib.TOMLDecodeError:
            value = f'"{value}"' if '"' not in value else value
        apply_overrides(table, [f"{path}={value}"])
    return table
