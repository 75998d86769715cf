"""What a study is, as plain data: a folder continues only its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archwright.errors import StoreError
from archwright.search.store import read_study

__all__ = ["canonical", "class_name", "plain_options", "stored_layout"]

_FIRST_LAYOUT = {"window": 64, "chunk": 16, "replicates": 1}
"""What a study file that named none meant before these stood in what a study is."""

_CIRCUMSTANCES = ("failures", "retries", "timeout_s")
"""What is done about a failure is no part of a study: it may change when one continues."""

_MOVED = {
    "archwright.search.environment:SimulatorEnvironment": (
        "archwright.search.environments.simulator:SimulatorEnvironment"
    ),
}


def canonical(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return what two statements of one study agree on.

    A budget may grow, so it is left out; classes that have moved go by their new names; what an
    older statement left to a default is filled in.
    """
    plain: dict[str, Any] = json.loads(json.dumps(identity))
    plain.pop("budget", None)
    if isinstance(plain.get("run"), dict):
        run = {**_FIRST_LAYOUT, **plain["run"]}
        plain["run"] = {k: v for k, v in run.items() if k not in _CIRCUMSTANCES}
    environment = plain.get("environment is")
    if isinstance(environment, dict):
        name = str(environment.get("class"))
        environment["class"] = _MOVED.get(name, name)
    return plain


def stored_layout(folder: Path | None) -> tuple[int, int] | None:
    """Return window and chunk of the study that a folder holds; None without one."""
    if folder is None or not (folder / "store.json").exists():
        return None
    try:
        run = canonical(read_study(folder)["study"]).get("run")
    except StoreError:
        return None  # opening the folder says what is wrong
    return None if run is None else (run["window"], run["chunk"])


def class_name(part: object) -> str:
    """Return ``module:class`` of an object."""
    return f"{type(part).__module__}:{type(part).__qualname__}"


def plain_options(searcher: object) -> dict[str, Any]:
    """Return the public attributes of a searcher that are plain data."""
    return {
        key: value
        for key, value in sorted(vars(searcher).items())
        if not key.startswith("_") and _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    return isinstance(value, (int, float, str, bool, type(None)))
