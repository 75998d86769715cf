"""``archwright run``: the main job."""

from __future__ import annotations

import argparse
import re
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archwright.cli.options import command
from archwright.cli.printed import printed_to, said

if TYPE_CHECKING:
    from archwright.search.study import Progress, Result
    from archwright.search.study_file import StudyFile

_QUIET_SECONDS = 60.0


def add(name: str, commands: Any, line: str) -> None:
    """Add the command."""
    parser = command(commands, name, line, _run, "archwright run examples/chat_fleet.toml")
    parser.add_argument("study", type=Path, metavar="STUDY.toml", help="the study file")
    parser.add_argument(
        "-o",
        "--output-dir",
        type=Path,
        help="where the study is kept (default: runs/NAME beside the file)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="override a key; repeatable, later wins",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show the plan, its size and its cost; run nothing"
    )
    parser.add_argument("--no-report", action="store_true", help="write no HTML report")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")


def _run(options: argparse.Namespace) -> int:
    folder = options.output_dir or options.study.parent / "runs" / options.study.stem
    with printed_to(folder / "output.log"):
        done = _search(options, folder)
    if done is None:
        return 0
    file, result = done
    study = file.study
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    failed = result.table["state"].to_pylist().count("failed")
    if failed:
        print(
            f"note: {failed} of {len(result.table)} trials failed; events.jsonl has their "
            "tracebacks",
            file=sys.stderr,
        )
    code = 1 if failed == len(result.table) > 0 else 0
    if options.json:
        print((folder / "summary.json").read_text(), end="")
        return code
    from archwright.explain.compose import answer, compose, diagnosis

    sentence = answer(result, study.environment, study.goal)
    if not options.no_report:
        from archwright.explain.report import write_report

        again = " ".join(
            ["archwright run", str(options.study), *(f"--set {s}" for s in options.set)]
        )
        write_report(
            compose(
                result, study.environment, study.goal, command=again, title=options.study.stem
            ),
            folder / "report.html",
        )
    print(f"{len(result.trials)} designs, {len(result.front)} on the front; {result.stopped}")
    for line in diagnosis(result, study.environment):
        print(line)
    print(sentence)
    if not options.no_report:
        print(f"report: {folder / 'report.html'}")
    return code


def _search(options: argparse.Namespace, folder: Path) -> tuple[StudyFile, Result] | None:
    """Run the study; None where only its plan was asked for."""
    from archwright.search.study_file import load_study_file

    file = load_study_file(options.study, options.set, kept=folder)
    study = file.study_in(folder)
    executor = file.executor()
    idle = study.idle(executor)
    if idle:
        print(f"note: {idle}", file=sys.stderr)
    if options.dry_run:
        _print_plan(file, folder)
        return None
    progress = _progress(file, folder, quiet=options.quiet)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=re.escape(idle) if idle else "$^")
            return file, study.run(executor=executor, progress=progress.update)
    finally:
        progress.close()


def _print_plan(file: StudyFile, folder: Path) -> None:
    import numpy as np

    from archwright.search.executors import Block, measure

    study = file.study
    space, environment = study.environment.space, study.environment
    size = "infinite or uncounted" if space.size is None else f"{space.size:,}"
    said(f"environment  {file.document['environment']['name']}, version {environment.version}")
    said(f"varies       {', '.join(space.names)}: {size} designs", end="")
    share = getattr(space, "feasible_share", lambda: 1.0)()
    said("" if share == 1.0 else f"; {share:.1%} of the grid meets 'require'")
    said(f"measures     {', '.join(f'{m.name} [{m.unit}]' for m in environment.metrics)}")
    goal = study.goal
    for word, names in (
        ("minimize", goal.minimize),
        ("maximize", goal.maximize),
        ("subject to", goal.subject_to),
    ):
        if names:
            said(f"{word:<12} {', '.join(names)}")
    said(f"searcher     {type(study.searcher).__name__}, seed {study.seed}")
    said(f"blocks       chunk {study.chunk}, window {study.window}, {file.executor_name}")
    designs = space.sample(np.random.default_rng(study.seed), 4)
    block = Block(
        first=0,
        designs=designs,
        seeds=np.arange(len(designs), dtype=np.uint64),
        fidelity=environment.fidelities[-1].name,
    )
    _, seconds = measure(environment, block)
    each = seconds / len(designs)
    budget = study.budget
    if budget.evaluations is not None:
        most = budget.evaluations if space.size is None else min(budget.evaluations, space.size)
        workers = max(1, file.workers or 1)
        said(
            f"budget       {budget.evaluations:,} evaluations, about "
            f"{each * most / workers:.1f} s at {each * 1e3:.1f} ms each (4 measured now)"
        )
    else:
        said(f"budget       {budget}; {each * 1e3:.1f} ms an evaluation (4 measured now)")
    said(f"output       {folder}")


class _Lines:
    """Progress without a terminal: one line a minute."""

    def __init__(self, folder: Path, *, quiet: bool) -> None:
        self._folder: Path | None = folder
        self._quiet = quiet
        self._next = time.monotonic() + _QUIET_SECONDS

    def update(self, progress: Progress) -> None:
        if self._folder is not None and not self._quiet:
            print(_store_line(self._folder), file=sys.stderr)
            self._folder = None
        if not self._quiet and time.monotonic() >= self._next:
            self._next = time.monotonic() + _QUIET_SECONDS
            print(
                f"{progress.evaluations} evaluations, {progress.feasible} feasible, "
                f"{progress.seconds:.0f} s",
                file=sys.stderr,
            )

    def close(self) -> None:
        """Nothing to close."""


class _Panel:
    """Progress on a terminal: one live line with the best values so far."""

    def __init__(self, file: StudyFile, folder: Path) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._names = file.study.goal.objectives.losses
        self._best: Any = None
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} evaluations"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[best]}"),
            console=Console(stderr=True),
            transient=True,
        )
        total = file.study.budget.evaluations
        size = file.study.environment.space.size
        if total is not None and size is not None and file.study.environment.deterministic:
            total = min(total, size)
        self._task = self._bar.add_task("search", total=total, best="")
        self._bar.console.print(_store_line(folder), highlight=False)
        self._bar.start()

    def update(self, progress: Progress) -> None:
        import numpy as np

        good = progress.scores.losses[progress.scores.feasible]
        if len(good):
            with np.errstate(all="ignore"):
                lowest = np.fmin.reduce(good, axis=0)
            self._best = lowest if self._best is None else np.fmin(self._best, lowest)
        best = (
            ""
            if self._best is None
            else "best "
            + ", ".join(
                f"{name} {abs(value):.4g}"
                for name, value in zip(self._names, self._best, strict=True)
            )
        )
        self._bar.update(self._task, completed=progress.evaluations, best=best)

    def close(self) -> None:
        self._bar.stop()


def _progress(file: StudyFile, folder: Path, *, quiet: bool) -> _Lines | _Panel:
    if quiet or not sys.stderr.isatty():
        return _Lines(folder, quiet=quiet)
    return _Panel(file, folder)


def _store_line(folder: Path) -> str:
    """Say where the trials go, and what that place promises."""
    from archwright.search.store import durability

    return f"store: {folder} ({durability(folder)})"
