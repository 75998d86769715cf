"""``import archwright``: light, and its rooms at hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import archwright

ROOT = Path(archwright.__file__).parent


def test_the_rooms_are_offered_to_tab() -> None:
    """Every package and module of the root but the command line."""
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    found |= {path.stem for path in ROOT.glob("[!_]*.py")}
    assert found - {"cli"} == set(archwright._ROOMS)
    assert set(archwright._ROOMS) | {"__version__"} <= set(dir(archwright))


def test_a_room_is_imported_when_touched() -> None:
    """Not before; and as the very module."""
    code = (
        "import sys, archwright; dir(archwright); "
        "assert not any(name.startswith('archwright.') for name in sys.modules); "
        "assert 'importlib.metadata' not in sys.modules; "
        "assert archwright.hardware.device('h100').name == 'H100-SXM'; "
        "assert archwright.hardware is sys.modules['archwright.hardware']; "
        "assert 'archwright.serving' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("room", archwright._ROOMS)
def test_each_room_can_be_touched(room: str) -> None:
    assert getattr(archwright, room).__name__ == f"archwright.{room}"


def test_a_wrong_room_names_the_nearest() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'servin' \(nearest: 'serving'\)"):
        _ = archwright.servin
