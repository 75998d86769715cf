"""``archwright report``, ``compare`` and ``export``: what finished or running studies hold."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from archwright.cli.options import command, print_table


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
    else:
        parser = command(
            commands, name, line, _export, "archwright export runs/chat_fleet > trials.csv"
        )
        parser.add_argument("run", type=Path, metavar="RUN", help="folder of a study")
        parser.add_argument("--format", choices=["csv", "parquet"], default="csv")
        parser.add_argument(
            "-o", "--output", type=Path, help="the file (default: standard output)"
        )


def _report(options: argparse.Namespace) -> int:
    from archwright.explain.compose import answer, compose
    from archwright.explain.report import write_report
    from archwright.search.record import load_result
    from archwright.search.study_file import load_stored_study

    result = load_result(options.run)
    study = load_stored_study(options.run).study
    output = options.output or options.run / "report.html"
    again = f"archwright run {options.run / 'study.toml'}"
    content = compose(
        result, study.environment, study.goal, command=again, title=options.run.resolve().name
    )
    write_report(content, output)
    print(answer(result, study.environment, study.goal))
    print(f"report: {output}")
    return 0


def _compare(options: argparse.Namespace) -> int:
    import numpy as np

    from archwright.errors import StudyError
    from archwright.search.record import load_result
    from archwright.solve.pareto import hypervolume

    results = [load_result(folder) for folder in options.runs]
    names = results[0].schema.losses
    for folder, result in zip(options.runs, results, strict=True):
        if list(result.schema.losses) != list(names):
            raise StudyError(
                f"{folder}: has the goal {', '.join(result.schema.losses)}, the first has "
                f"{', '.join(names)}; only equal goals compare"
            )
    every = np.concatenate([r.losses[~np.isnan(r.losses).any(axis=1)] for r in results])
    worst = every.max(axis=0) if len(every) else np.ones(len(names))
    best = every.min(axis=0) if len(every) else np.zeros(len(names))
    scale = np.where(worst > best, worst - best, 1.0)
    rows = []
    for folder, result in zip(options.runs, results, strict=True):
        good = result.losses[~np.isnan(result.losses).any(axis=1)]
        volume = hypervolume((good - best) / scale, np.full(len(names), 1.1)) if len(good) else 0.0
        lowest = good.min(axis=0).tolist() if len(good) else [None] * len(names)
        row: list[Any] = [str(folder), len(result.trials), len(good), len(result.front)]
        rows.append([*row, float(volume), *lowest])
    columns = [
        "run",
        "designs",
        "feasible",
        "front",
        "hypervolume",
        *(f"least {n}" for n in names),
    ]
    print_table(columns, rows, as_json=options.json)
    if not options.json:
        print("hypervolume: losses scaled to their range over the runs, reference 1.1")
    return 0


def _export(options: argparse.Namespace) -> int:
    import pyarrow.csv
    import pyarrow.parquet

    from archwright.errors import SpecificationError
    from archwright.search.record import load_result

    table = load_result(options.run).table
    if options.format == "parquet":
        if options.output is None:
            raise SpecificationError("--format parquet needs --output FILE")
        pyarrow.parquet.write_table(table, options.output, compression="zstd")
    else:
        pyarrow.csv.write_csv(table, options.output or sys.stdout.buffer)
    return 0
