"""Modules beside a study file, which two files may name alike."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

__all__ = ["find_beside"]


def find_beside(folder: Path, name: str) -> None:
    """Let ``package.module:object`` name a module beside the file before any other.

    A module of this name that came from another folder is put aside; what was made from it keeps
    it, and both are sent to workers by value, for their name no longer tells them apart.
    """
    here = str(folder)
    if ":" not in name:
        if here not in sys.path:
            sys.path.insert(0, here)
        return
    if here in sys.path:
        sys.path.remove(here)
    sys.path.insert(0, here)
    importlib.invalidate_caches()
    top = name.partition(":")[0].partition(".")[0]
    loaded = sys.modules.get(top)
    beside = [folder / f"{top}.py", folder / top / "__init__.py"]
    if loaded is None or not any(path.exists() for path in beside):
        return
    if _file(loaded) in {path.resolve() for path in beside}:
        return
    import cloudpickle

    cloudpickle.register_pickle_by_value(loaded)
    for known in [key for key in sys.modules if key == top or key.startswith(f"{top}.")]:
        del sys.modules[known]


def _file(module: ModuleType) -> Path | None:
    found = getattr(module, "__file__", None)
    return None if found is None else Path(found).resolve()
