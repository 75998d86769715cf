"""The torture at small size: real kills, cuts and flips."""

from __future__ import annotations

import subprocess
import sys


def test_ten_kills_a_study_lose_nothing() -> None:
    """Fifty SIGKILLs over five studies, cuts at every byte of two records, 200 bit flips."""
    words = [
        "-m",
        "archwright.testing.torture",
        "--kills",
        "50",
        "--records",
        "2",
        "--flips",
        "200",
    ]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "flushed trials lost 0, studies that differ 0" in done.stdout
    assert "silent wrong rows 0" in done.stdout
