"""``archwright run``: the main job."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archwright.cli.closing import print_closing
from archwright.cli.options import command
from archwright.cli.printed import printed_to, said
from archwright.cli.progress import progress_of

if TYPE_CHECKING:
    from archwright.search.study import Result
    from archwright.search.study_file import StudyFile


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
    from archwright.explain.closing import closing

    environment, goal = study.environment, study.goal
    if not options.no_report:
        from archwright.explain.compose import compose
        from archwright.explain.report import write_report
        from archwright.explain.stored import keep

        words = ["archwright", "run", str(options.study)]
        words += [word for change in options.set for word in ("--set", change)]
        if options.output_dir is not None:
            words += ["--output-dir", str(options.output_dir)]
        again, name = shlex.join(words), options.study.stem
        keep(folder, result, environment, goal, name=name, command=again)
        content = compose(result, environment, goal, command=again, title=name)
        write_report(content, folder / "report.html")
    print_closing(closing(result, environment, goal))
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
    progress = progress_of(file, folder, quiet=options.quiet)
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
