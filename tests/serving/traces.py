"""Reference traces for tests, skipped with a message where they are absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FILES = {
    "chat": ("azure_llm_2023_conv.csv", 19_366),
    "code": ("azure_llm_2023_code.csv", 8_819),
    "long": ("mooncake_conversation_trace.jsonl", 12_031),
}


def reference_trace(name: str) -> Path:
    """Return the path of a reference trace, or skip the test."""
    root = Path(os.environ.get("ARCHWRIGHT_DATA", "../shared/data"))
    path = root / "llm-traces" / FILES[name][0]
    if not path.exists():
        pytest.skip(f"{path} is absent; set ARCHWRIGHT_DATA to the reference measurements")
    return path
