"""``archwright doctor``: does this installation work?"""

from __future__ import annotations

import argparse
import importlib
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from archwright.cli.options import command
from archwright.cli.tables import print_table

_EXTRAS = {
    "nn": "torch",
    "optuna": "optuna",
    "pymoo": "pymoo",
    "rl": "stable_baselines3",
    "ray": "ray",
    "models": "transformers",
    "tables": "aiconfigurator_core",
    "dashboard": "starlette",
}


def add(name: str, commands: Any, line: str) -> None:
    """Add the command."""
    parser = command(commands, name, line, _doctor, "archwright doctor")
    parser.add_argument("--json", action="store_true", help="print as JSON")


def _doctor(options: argparse.Namespace) -> int:
    checks: list[tuple[str, Callable[[], str]]] = [
        ("python", _python),
        ("packages", _packages),
        ("entry points", _entry_points),
        ("a study, stored and continued", _study),
        ("two worker processes", _workers),
    ]
    rows = []
    good = True
    for name, check in checks:
        try:
            rows.append([name, "ok", check()])
        except Exception as error:  # noqa: BLE001 - a doctor names every failure and goes on
            good = False
            rows.append([name, "FAILS", f"{type(error).__name__}: {error}"])
    from importlib.util import find_spec

    for extra, module in _EXTRAS.items():
        found = find_spec(module) is not None
        note = "installed" if found else f"pip install 'archwright[{extra}]'"
        rows.append([f"extra {extra}", "ok" if found else "absent", note])
    print_table(["check", "state", "detail"], rows, as_json=options.json)
    return 0 if good else 1


def _python() -> str:
    return f"{platform.python_version()} on {platform.platform()}"


def _packages() -> str:
    names = ["numpy", "scipy", "pyarrow", "highspy", "moocore", "plotly"]
    return ", ".join(f"{n} {_version(n)}" for n in names)


def _version(name: str) -> str:
    from importlib.metadata import version

    importlib.import_module(name)
    return version(name)


def _entry_points() -> str:
    from archwright.errors import SpecificationError
    from archwright.registry import GROUPS, entries

    count, broken = 0, []
    for group in GROUPS:
        for entry in entries(group).values():
            count += 1
            try:
                entry.load()
            except Exception as error:  # noqa: BLE001 - any import error of a stranger's package
                broken.append(f"{entry.name} of {entry.package} ({error})")
    if broken:
        raise SpecificationError(f"cannot be imported: {'; '.join(broken)}")
    return f"{count} registered, all import"


def _study() -> str:
    from archwright.search import Budget, Goal, RandomSearch, Study
    from archwright.search.store import durability, verify
    from archwright.testing import toy_environment

    with tempfile.TemporaryDirectory() as folder:

        def study() -> Study:
            return Study(
                toy_environment(),
                Goal(minimize=["cost"]),
                RandomSearch(),
                budget=Budget(evaluations=64),
                folder=Path(folder) / "run",
            )

        first = study().run()
        again = study().run()
        if not first.table.equals(again.table):
            raise RuntimeError("a continued study differs")
        found = verify(Path(folder) / "run")
        if found.damage:
            raise RuntimeError("; ".join(found.damage))
        where = durability(Path(folder))
    return f"{first.table.num_rows} trials, every digest right; {tempfile.gettempdir()}: {where}"


def _workers() -> str:
    from archwright.search import Budget, Goal, Processes, RandomSearch, Study
    from archwright.testing import toy_environment

    result = Study(
        toy_environment(), Goal(minimize=["cost"]), RandomSearch(), budget=Budget(evaluations=64)
    ).run(executor=Processes(2))
    return f"{result.table.num_rows} trials"
