"""Loads another build of the native code where ARCHWRIGHT_ENGINE names its folder."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

if folder := os.environ.get("ARCHWRIGHT_ENGINE"):
    name = "archwright.llm._steps"
    (path,) = Path(folder).glob("_steps*.so")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
