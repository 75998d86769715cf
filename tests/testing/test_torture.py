"""The torture at small size: real kills, cuts and flips."""

from __future__ import annotations

import subprocess
import sys


def test_ten_kills_a_study_lose_nothing() -> None:
    """Seventy SIGKILLs over seven studies, some with workers; cuts and flips."""
    words = [
        "-m",
        "archwright.testing.torture",
        "--kills",
        "70",
        "--parallel",
        "0.1",
        "--records",
        "2",
        "--flips",
        "200",
    ]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "flushed trials lost 0, studies that differ 0" in done.stdout
    assert "silent wrong rows 0" in done.stdout
