"""``archwright report``, ``compare`` and ``export``: what finished or running studies hold."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archwright.cli.closing import print_closing
from archwright.cli.options import command, written
from archwright.cli.tables import print_table

if TYPE_CHECKING:
    from archwright.search.study import Result


def add(name: str, commands: Any, line: str) -> None:
    """Add one of the three commands."""
    if name == "report":
        parser = command(commands, name, line, _report, "archwright report runs/chat_fleet")
        parser.add_argument("run", type=Path, metavar="RUN", help="folder of a study")
        parser.add_argument(
            "-o", "--output", type=Path, help="the file (default: RUN/report.html)"
        )
    elif name == "compare":
        parser = command(commands, name, line, _compare, "archwright compare runs/a runs/b")
        parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of studies")
        parser.add_argument("--json", action="store_true", help="print as JSON")
        parser.add_argument("--report", type=Path, metavar="FILE", help="write a page, too")
    else:
        parser = command(
            commands, name, line, _export, "archwright export runs/chat_fleet > trials.csv"
        )
        parser.add_argument("run", type=Path, metavar="RUN", help="folder of a study")
        parser.add_argument("--format", choices=["csv", "parquet", "optuna"], default="csv")
        parser.add_argument(
            "-o", "--output", type=Path, help="the file (default: standard output)"
        )


def _report(options: argparse.Namespace) -> int:
    from archwright.explain.closing import closing
    from archwright.explain.compose import compose
    from archwright.explain.report import write_report
    from archwright.explain.stored import reopen
    from archwright.search.study import load_result

    result = load_result(options.run)
    found = reopen(options.run, result)
    if found.note:
        print(f"note: {found.note}", file=sys.stderr)
    output = options.output or options.run / "report.html"
    again = found.command or shlex.join(
        ["archwright", "run", str(options.run / "study.toml"), "--output-dir", str(options.run)]
    )
    environment, goal = found.environment, found.goal
    content = compose(result, environment, goal, command=again, title=found.name)
    with written(output, "--output"):
        write_report(content, output)
    print_closing(closing(result, environment, goal))
    print(f"report: {output}")
    return 0


def _compare(options: argparse.Namespace) -> int:
    from archwright.explain.answers import cheapest_words, side_by_side, stored_answers
    from archwright.explain.runs import comparison, progress
    from archwright.search.study import load_result

    runs = {name: load_result(folder) for name, folder in _named(options.runs).items()}
    table = comparison(runs)
    rows: list[list[Any]] = [list(row) for row in table.rows]
    columns = list(table.columns)
    if options.json:
        columns.append("curve")
        for row, curve in zip(rows, progress(runs), strict=True):
            row.append(_points(curve.designs.tolist(), curve.values.tolist()))
    answers = stored_answers(runs)
    if options.json and any(answers.values()):
        columns.append("answer")
        for row, found in zip(rows, answers.values(), strict=True):
            row.append(found)
    print_table(columns, rows, as_json=options.json)
    if not options.json:
        print(table.note)
        fleets = side_by_side(answers)
        if fleets is not None:
            print(f"\n{fleets.title}")
            print_table(fleets.columns, fleets.rows, as_json=False)
            print(f"{fleets.note}\n{cheapest_words(answers)}")
    if options.report is not None:
        from archwright.explain.compose import compose_comparison
        from archwright.explain.report import write_report

        again = shlex.join(["archwright", "compare", *(str(folder) for folder in options.runs)])
        with written(options.report, "--report"):
            write_report(compose_comparison(runs, command=again), options.report)
        print(f"report: {options.report}", file=sys.stderr if options.json else sys.stdout)
    return 0


def _named(folders: list[Path]) -> dict[str, Path]:
    """Name runs by their folders as given; one named twice is told apart by its place."""
    named: dict[str, Path] = {}
    for place, folder in enumerate(folders, 1):
        named[str(folder) if folders.count(folder) == 1 else f"{folder} ({place})"] = folder
    return named


def _points(designs: list[int], values: list[float]) -> list[list[float | None]]:
    """A curve as at most 50 pairs of designs and value; None before the first value."""
    step = max(1, -(-len(designs) // 49))  # and the last
    at = [*range(0, len(designs), step), len(designs) - 1] if designs else []
    return [[designs[i], None if values[i] != values[i] else values[i]] for i in dict.fromkeys(at)]


def _export(options: argparse.Namespace) -> int:
    import pyarrow.csv
    import pyarrow.parquet

    from archwright.errors import SpecificationError
    from archwright.search.study import load_result

    if options.format != "csv" and options.output is None:
        raise SpecificationError(f"--format {options.format} needs --output FILE")
    result = load_result(options.run)
    if options.format == "optuna":
        return _export_optuna(options, result)
    if options.output is None:
        pyarrow.csv.write_csv(result.table, sys.stdout.buffer)
        return 0
    with written(options.output, "--output"):
        if options.format == "parquet":
            pyarrow.parquet.write_table(result.table, options.output, compression="zstd")
        else:
            pyarrow.csv.write_csv(result.table, options.output)
    return 0


def _export_optuna(options: argparse.Namespace, result: Result) -> int:
    from archwright.errors import UserError
    from archwright.explain.journal import write_optuna_journal
    from archwright.search.study_file import load_stored_study

    space = None
    try:
        space = load_stored_study(options.run).study.environment.space
    except UserError as error:
        print(f"note: ranges are those of the trials, since {error}", file=sys.stderr)
    name = options.run.resolve().name
    with written(options.output, "--output"):
        count = write_optuna_journal(result, options.output, name=name, space=space)
    print(f"{count} designs, study {name!r}: optuna-dashboard {options.output}", file=sys.stderr)
    return 0
