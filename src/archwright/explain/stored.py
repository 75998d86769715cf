"""A study's report from its folder alone, wherever the study's files are by now.

``archwright run`` keeps what the environment said beside the report. Where the environment can be
built again, it speaks itself; where its files have moved or changed, what it said is read.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archwright.errors import StudyError, UserError
from archwright.explain.closing import ask, design_words, diagnosis
from archwright.search.conclusion import chosen, unscored
from archwright.search.environments import Environment, Fidelity, Metric
from archwright.search.goal import Goal
from archwright.search.panels import Bars, Facts, Headline, Panel, Roofline, Strips, Table
from archwright.search.space import Design
from archwright.search.store import Disk
from archwright.search.study import Result
from archwright.search.study_file import load_study_file

__all__ = ["Reopened", "keep", "reopen"]

_FILE = "report.json"
_KINDS: dict[str, Any] = {
    kind.__name__: kind for kind in (Bars, Facts, Headline, Roofline, Strips, Table)
}


@dataclass(frozen=True, kw_only=True)
class Reopened:
    """A study as its folder has it.

    Attributes:
        environment: the study's own, or what it said.
        goal: what mattered.
        name: the study's name.
        command: what repeats the study; empty where it was not kept.
        note: why the environment could not be built; empty where it could.
    """

    environment: Environment
    goal: Goal
    name: str
    command: str
    note: str


def keep(
    folder: Path, result: Result, environment: Environment, goal: Goal, *, name: str, command: str
) -> None:
    """Keep in the folder of a study what its report needs of the environment."""
    best = chosen(result, environment.metrics)
    design = None if best is None else result.design(best)
    named = {*result.front.tolist(), *unscored(result, environment, best)}
    designs = {_key(d): d for d in (result.design(row) for row in sorted(named))}
    if design is not None:
        designs[_key(design)] = design
    kept = {
        "name": name,
        "command": command,
        "version": environment.version,
        "metrics": [
            {"name": m.name, "unit": m.unit, "meaning": m.meaning, "better": m.better}
            for m in environment.metrics
        ],
        "why": diagnosis(result, environment),
        "design": None if design is None else _key(design),
        "described": {
            "describe": ask(environment, "describe", design),
            "headline": _plain(ask(environment, "headline", design)),
            "panels": _plain(list(ask(environment, "panels", design) or [])),
            "assumptions": _plain(list(ask(environment, "assumptions", design) or [])),
            "runner_up": ask(environment, "runner_up", design),
        },
        "words": {
            method: {key: str(ask(environment, method, d)) for key, d in designs.items()}
            for method in ("label", "family", "lacks")
            if hasattr(environment, method)
        },
    }
    text = json.dumps(kept, allow_nan=False, ensure_ascii=False) + "\n"
    Disk().replace(folder / _FILE, text.encode())


def reopen(folder: Path, result: Result) -> Reopened:
    """Return the study of a folder: its environment built again, else what it said.

    Files that the study names are looked for where it was run, in its folder, and two folders
    above it, where ``runs/NAME`` moved together with them.

    Raises:
        StudyError: the folder was not made from a study file.
        UserError: the environment cannot be built and nothing of what it said was kept.
    """
    if not (folder / "study.toml").exists():
        raise StudyError(f"{folder}: holds no study.toml; it was not made from a study file")
    kept = _read(folder)
    name, command = kept.get("name") or folder.resolve().name, kept.get("command") or ""
    problem: UserError | None = None
    for base in _places(folder):
        try:
            study = load_study_file(folder / "study.toml", folder=base, kept=folder).study
        except UserError as error:
            problem = problem or error
            continue
        if _same(study.environment, result):
            return Reopened(
                environment=study.environment, goal=study.goal, name=name, command=command, note=""
            )
        problem = problem or UserError("the files that it names, or its version, have changed")
    assert problem is not None
    if "metrics" not in kept:
        study = load_study_file(
            folder / "study.toml", folder=_places(folder)[0], kept=folder
        ).study
        return Reopened(
            environment=study.environment, goal=study.goal, name=name, command=command, note=""
        )
    return Reopened(
        environment=_Told(kept, result),
        goal=Goal(**result.study["goal"]),
        name=name,
        command=command,
        note=f"what the environment said when the study ran is shown, since {problem}",
    )


def _places(folder: Path) -> list[Path]:
    try:
        origin = [Path(json.loads((folder / "origin.json").read_text())["folder"])]
    except (OSError, ValueError, KeyError, TypeError):
        origin = []
    found = [*origin, folder, folder.resolve().parent, folder.resolve().parent.parent]
    return list(dict.fromkeys(place for place in found if place.is_dir()))


def _same(environment: Environment, result: Result) -> bool:
    """Say whether an environment is the one that the trials were measured with."""
    stored = result.study.get("environment is", {})
    if stored.get("version", environment.version) != environment.version:
        return False
    identity: Any = getattr(environment, "identity", None)
    if identity is None or "identity" not in stored:
        return True
    now = json.loads(json.dumps(identity(), default=str))
    return bool(now.get("files") == stored["identity"].get("files"))


def _read(folder: Path) -> dict[str, Any]:
    try:
        kept = json.loads((folder / _FILE).read_text())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


class _Told:
    """An environment that is gone: its metrics, and what it said of the design that answers."""

    deterministic = True
    fidelities: Sequence[Fidelity] = ()

    def __init__(self, kept: Mapping[str, Any], result: Result) -> None:
        self._kept, self._result = kept, result
        self.version = str(kept["version"])
        self.metrics = tuple(Metric(**each) for each in kept["metrics"])
        if kept["described"]["describe"] is not None:
            self.describe = self._describe

    @property
    def space(self) -> Any:
        return self._result.space

    def evaluate(self, designs: Any, **options: Any) -> Any:
        raise UserError("the environment of this study cannot be built")

    def why_infeasible(self, designs: Sequence[Design]) -> list[str]:
        return list(self._kept["why"])

    def _describe(self, design: Design) -> str:
        return str(self._kept["described"]["describe"])

    def headline(self, design: Design) -> Headline | None:
        found: Headline | None = _revived(self._kept["described"]["headline"])
        return found

    def panels(self, design: Design) -> list[Panel]:
        return [_revived(each) for each in self._kept["described"]["panels"]]

    def assumptions(self, design: Design) -> list[tuple[str, str, str, str]]:
        return [(each[0], each[1], each[2], each[3]) for each in self._assumptions]

    @property
    def _assumptions(self) -> list[list[str]]:
        return list(self._kept["described"]["assumptions"])

    def runner_up(self, design: Design) -> str:
        return str(self._kept["described"]["runner_up"] or "")

    def label(self, design: Design) -> str:
        return self._word("label", design) or design_words(design)

    def family(self, design: Design) -> str:
        return self._word("family", design) or design_words(design)

    def lacks(self, design: Design) -> str:
        return self._word("lacks", design) or "is not fully known"

    def _word(self, method: str, design: Design) -> str:
        return str(self._kept["words"].get(method, {}).get(_key(design), ""))


def _key(design: Design) -> str:
    return json.dumps(design.to_json(), sort_keys=True, default=str)


def _plain(value: Any) -> Any:
    """Panels as plain data that JSON can hold; what is not finite is null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"kind": type(value).__name__} | found
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, str) or value is None or isinstance(value, bool):
        return value
    if isinstance(value, Sequence):
        return [_plain(each) for each in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return value if isinstance(value, int) else float(value) if math.isfinite(value) else None


def _revived(value: Any) -> Any:
    """A panel or headline as it was."""
    if not isinstance(value, dict) or value.get("kind") not in _KINDS:
        return value
    told = {key: _revived(each) for key, each in value.items() if key != "kind"}
    if value["kind"] in ("Bars", "Strips"):
        name = "series" if value["kind"] == "Bars" else "groups"
        told[name] = {
            key: [math.nan if each is None else each for each in values]
            for key, values in told[name].items()
        }
    if value["kind"] == "Headline":
        told["figures"] = [(name, text) for name, text in told["figures"]]
    return _KINDS[value["kind"]](**told)
