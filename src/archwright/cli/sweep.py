"""``archwright sweep``: the lottery of searchers, settings and seeds."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from archwright.cli.options import command
from archwright.cli.progress import duration
from archwright.cli.tables import print_table


def add(name: str, commands: Any, line: str) -> None:
    """Add the command."""
    parser = command(
        commands,
        name,
        line,
        _sweep,
        "archwright sweep my.toml --searchers genetic_gray,local --seeds 5",
    )
    parser.add_argument(
        "study",
        type=Path,
        metavar="STUDY.toml",
        help="the study file",
    )
    parser.add_argument(
        "--searchers",
        help="names, joined by commas, with their default grids; else the [sweep] table",
    )
    parser.add_argument("--seeds", type=int, help="runs of each setting (default 5)")
    parser.add_argument("-o", "--output-dir", type=Path, help="default: runs/NAME-sweep")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--workers", type=int, help="processes (default: the usable cores)")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")


def _sweep(options: argparse.Namespace) -> int:
    from archwright.explain.lottery import write_lottery
    from archwright.search.study_file import load_study_file
    from archwright.search.sweep import sweep_of

    file = load_study_file(options.study, options.set)
    folder = options.output_dir or options.study.parent / "runs" / f"{options.study.stem}-sweep"
    names = [name.strip() for name in options.searchers.split(",")] if options.searchers else None
    sweep = sweep_of(file, folder, searchers=names, seeds=options.seeds)
    sweep.check()
    studies = len(sweep.plan)
    if not options.quiet:
        print(
            f"{studies} studies of {sweep.evaluations} evaluations in {folder}; the same command "
            "continues",
            file=sys.stderr,
        )
    result = sweep.run(
        workers=options.workers,
        progress=None if options.quiet else _Say(),
    )
    columns, rows = result.table()
    print_table(columns, rows, as_json=options.json)
    if not options.json:
        print(f"compared by: {result.loss}")
        print(f"runs: {folder / 'sweep.csv'}")
    page = write_lottery(result, folder / "report.html", options.study.stem)
    print(f"report: {page}", file=sys.stderr if options.json else sys.stdout)
    return 0


class _Say:
    """Say how many studies are done, and when the last will be."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, done: int, of: int) -> None:
        left = (time.monotonic() - self._started) / done * (of - done)
        line = f"{done} of {of} studies" + (f", {duration(left)}" if done < of else "")
        if sys.stderr.isatty():  # the blanks overwrite a longer line
            print(f"\r{line:<50}", end="\n" if done == of else "", file=sys.stderr)
        elif done in (1, of) or done % max(1, of // 10) == 0:
            print(line, file=sys.stderr)
