"""Study files: the TOML in which a study is stated, read into a :class:`Study`."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archwright.errors import SpecificationError, StudyError, UserError, unknown
from archwright.registry import resolve
from archwright.search.environments import Environment, make_environment
from archwright.search.executors import Executor, make_executor
from archwright.search.goal import Goal
from archwright.search.modules import find_beside
from archwright.search.searcher import make_searcher
from archwright.search.space import Expression, designs_from, plain_designs
from archwright.search.start import Given, start_designs, start_results
from archwright.search.study import Budget, Study

__all__ = ["FORMAT", "StudyFile", "apply_overrides", "load_stored_study", "load_study_file"]

FORMAT = 1

_TABLES = ("environment", "goal", "searcher", "budget", "run", "start", "sweep")
_RUN = (
    "executor",
    "workers",
    "address",
    "window",
    "chunk",
    "replicates",
    "delivery",
    "failures",
    "retries",
    "timeout_s",
)
# where it runs, and what is done about a failure, is no part of a study
_WHERE = ("executor", "workers", "address", "failures", "retries", "timeout_s")
_START = ("from", "designs", "limit", "results")
_BUDGET = ("evaluations", "cost", "seconds")
_GOAL = tuple(field.name for field in dataclasses.fields(Goal))


@dataclass(frozen=True)
class StudyFile:
    """A study file as read: its resolved content, and what it builds.

    Attributes:
        path: the file.
        document: the content with overrides applied.
        study: the study; its folder is not set before :meth:`study_in`.
        executor_name: ``serial``, ``processes`` or ``ray``.
        workers: number of workers, or None.
        address: the Ray cluster, or None.
    """

    path: Path
    document: Mapping[str, Any]
    study: Study
    executor_name: str
    workers: int | None
    address: str | None = None

    def study_in(self, folder: Path) -> Study:
        """Return the study, kept in a folder."""
        import tomli_w

        study = self.study
        study.folder = folder
        run = {**self.document.get("run", {}), "window": study.window, "chunk": study.chunk}
        study.files = {
            "study.toml": tomli_w.dumps({**self.document, "run": run}),
            "origin.json": json.dumps({"folder": str(self.path.parent.resolve())}) + "\n",
        }
        if study.start is not None:
            study.files["start.json"] = json.dumps(_plain_start(study)) + "\n"
        return study

    def executor(self) -> Executor:
        """Return the executor of the ``[run]`` table."""
        return make_executor(self.executor_name, self.workers, self.address)


def load_study_file(
    path: Path | str,
    overrides: Sequence[str] = (),
    *,
    folder: Path | None = None,
    kept: Path | None = None,
) -> StudyFile:
    """Read a study file and build its study.

    Args:
        path: the file.
        overrides: ``path=value`` strings that replace or add keys, later ones win.
        folder: what paths inside the file are relative to; default the file's folder.
        kept: the folder of the run, which may hold the designs that the study began from.

    Raises:
        UserError: one line naming the file, the key, the value and the nearest valid choice.
    """
    path = Path(path)
    document = _read(path)
    apply_overrides(document, overrides)
    try:
        return _build(path, document, (folder or path.parent).resolve(), kept)
    except UserError as error:
        if str(error).startswith(str(path)) or not _takes_text(error):
            raise
        raise type(error)(f"{path}: {error}") from error


def apply_overrides(document: dict[str, Any], overrides: Sequence[str]) -> None:
    """Set ``path=value`` in a document; the value is read as TOML, else as a text.

    >>> document = {"budget": {"evaluations": 100}}
    >>> apply_overrides(document, ["budget.evaluations=50", "searcher.name=random"])
    >>> document
    {'budget': {'evaluations': 50}, 'searcher': {'name': 'random'}}
    """
    for text in overrides:
        key, equals, value = text.partition("=")
        parts = [part.strip() for part in key.split(".")]
        if not equals or not all(parts):
            raise SpecificationError(f"--set {text}: expected path=value")
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value
        table = document
        for part in parts[:-1]:
            inner = table.setdefault(part, {})
            if not isinstance(inner, dict):
                raise SpecificationError(f"--set {text}: {part!r} holds a value, not a table")
            table = inner
        table[parts[-1]] = parsed


def _read(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        beside = [p.name for p in path.parent.glob("*.toml")] if path.parent.is_dir() else []
        raise StudyError(
            f"{path}: no such file; {unknown('study file', path.name, beside)}"
            if beside
            else f"{path}: no such file"
        ) from None
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StudyError(f"{path}: is no TOML: {error}") from error


def load_stored_study(folder: Path) -> StudyFile:
    """Read the study file that a run's folder keeps; its paths are relative as they were.

    Raises:
        StudyError: the folder was not made from a study file.
    """
    if not (folder / "study.toml").exists():
        raise StudyError(f"{folder}: holds no study.toml; it was not made from a study file")
    try:
        origin = Path(json.loads((folder / "origin.json").read_text())["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        origin = folder
    return load_study_file(
        folder / "study.toml", folder=origin if origin.is_dir() else folder, kept=folder
    )


def _build(
    path: Path, document: dict[str, Any], folder: Path, kept: Path | None = None
) -> StudyFile:
    tables = _check_layout(document)
    options = dict(tables["environment"])
    name = options.pop("name")
    find_beside(folder, name)
    environment = make_environment(
        resolve("environments", name),
        options,
        vary=_flatten(options.pop("vary", {}), "environment.vary"),
        folder=folder,
        name=name,
    )
    _check_keys(tables["goal"], _GOAL, "goal")
    goal = Goal(**tables["goal"])
    _check_agreement(goal, options.get("limits"))
    searcher = dict(tables["searcher"])
    method = searcher.pop("name", "nsga2")
    _check_keys(tables["budget"], _BUDGET, "budget")
    run = tables["run"]
    _check_keys(run, _RUN, "run")
    limited = run.get("timeout_s") is not None
    executor = run.get("executor", "processes" if limited else "serial")
    make_executor(executor, run.get("workers"), run.get("address"))
    apart = ("run", "start", "sweep", "budget")
    identity = {k: v for k, v in document.items() if k not in apart}
    layout = {k: v for k, v in run.items() if k not in _WHERE}
    study = Study(
        environment,
        goal,
        make_searcher(resolve("searchers", method), searcher, name=method),
        budget=Budget(**tables["budget"]),
        seed=document.get("seed", 0),
        window=run.get("window"),
        chunk=run.get("chunk"),
        replicates=run.get("replicates", 1),
        start=_start(tables["start"], environment, folder, kept),
        delivery=run.get("delivery", "in_order"),
        failures=run.get("failures", "stop"),
        retries=run.get("retries", 0),
        timeout_s=run.get("timeout_s"),
        identity={**identity, "run": layout},
    )
    return StudyFile(path, document, study, executor, run.get("workers"), run.get("address"))


def _plain_start(study: Study) -> dict[str, Any]:
    """Return what a study begins from as plain data; the study keeps it, for it may move."""
    start, space = study.start, study.environment.space
    if isinstance(start, Given):
        return {"columns": plain_designs(space, start.designs), "results": start.to_json()}
    return {"columns": plain_designs(space, start)}


def _start(
    table: Mapping[str, Any], environment: Environment, folder: Path, kept: Path | None
) -> Any:
    """Return the designs that a study begins with, None without a ``[start]`` table."""
    if not table:
        return None
    space = environment.space
    own = None if kept is None else kept / "start.json"
    if own is not None and own.exists():  # what it began from may have moved since
        plain = json.loads(own.read_text())
        designs = designs_from(space, plain["columns"])
        return Given.from_json(designs, plain["results"]) if "results" in plain else designs
    _check_keys(table, _START, "start")
    if not isinstance(table.get("from"), str):
        raise SpecificationError("[start]: the key 'from' is missing, the folder of a study")
    limit = table.get("limit")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise SpecificationError(f"[start].limit: expected at least 1, found {limit!r}")
    results = table.get("results", False)
    if not isinstance(results, bool):
        raise SpecificationError(f"[start].results: expected true or false, found {results!r}")
    if results:
        what = table.get("designs", "all")
        return start_results(environment, folder / table["from"], what=what, limit=limit)
    what = table.get("designs", "front")
    return start_designs(space, folder / table["from"], what=what, limit=limit)


def _check_layout(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    known = ("format", "seed", *_TABLES)
    for key in document:
        if key not in known:
            raise SpecificationError(unknown("key", key, known))
    version = document.get("format")
    if version is None:
        raise SpecificationError(f"the key 'format' is missing; write format = {FORMAT}")
    if version != FORMAT:
        raise SpecificationError(
            f"format: {version!r} is not known; this version reads format = {FORMAT}"
        )
    tables = {}
    for name in _TABLES:
        table = document.get(name, {})
        if not isinstance(table, dict):
            raise SpecificationError(f"[{name}]: expected a table, found {table!r}")
        tables[name] = table
    if not isinstance(tables["environment"].get("name"), str):
        raise SpecificationError(
            "[environment]: the key 'name' is missing, such as 'serving/fleet'"
        )
    return tables


def _check_keys(table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise SpecificationError(f"[{where}]: {unknown('key', key, known)}")


def _check_agreement(goal: Goal, limits: Any) -> None:
    """A limit on designs that ``limits`` also names must be the same number."""
    if not isinstance(limits, Mapping):
        return
    for text in goal.subject_to:
        rule = Expression(text)
        compared = rule.comparison()
        if compared is None or len(rule.names) != 1 or rule.names[0] not in limits:
            continue
        name = rule.names[0]
        left, _, right = compared
        bound = rule.side(right if name in Expression(_source(left)).names else left, {})
        if float(bound) != float(limits[name]):
            raise SpecificationError(
                f"[goal].subject_to: {text!r} disagrees with environment.limits.{name} = "
                f"{limits[name]}; make them equal or drop one"
            )


def _source(tree: Any) -> str:
    import ast

    return ast.unparse(tree)


def _flatten(table: Any, where: str, prefix: str = "") -> dict[str, Any]:
    """Join nested keys (TOML reads ``vary.model.layers`` as tables) to dotted paths."""
    if not isinstance(table, Mapping):
        raise SpecificationError(f"{where}: expected a table, found {table!r}")
    leaves = {"low", "high", "ordinal", "choice", "permutation"}
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping) and not leaves & set(value):
            flat.update(_flatten(value, f"{where}.{key}", f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _takes_text(error: UserError) -> bool:
    return type(error).__init__ is Exception.__init__ or "__init__" not in vars(type(error))
