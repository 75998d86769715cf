"""Tables: whole lines into pipes, fitted to a terminal, no letter lost."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archwright.cli.tables import fitted

CELLS = st.text(alphabet="ab .-=0123456789", max_size=60)


def test_a_table_that_fits_is_left_alone() -> None:
    """Columns are as wide as their widest cell, two blanks apart."""
    lines = ["a    bb", "xyz  1"]
    assert fitted(["a", "bb"], [["xyz", "1"]], None) == lines
    assert fitted(["a", "bb"], [["xyz", "1"]], 7) == lines


def test_without_a_width_nothing_is_wrapped() -> None:
    """A pipe gets one line a row, however long."""
    lines = fitted(["name", "what"], [["x", "word " * 60 + "end"]], None)
    assert len(lines) == 2
    assert len(lines[1]) > 300


def test_too_many_columns_become_several_tables() -> None:
    """Each begins with the first column, so that rows can be told apart."""
    columns = ["run", *(f"metric_{i}" for i in range(12))]
    lines = fitted(columns, [["first", *map(str, range(12))]], 40)
    heads = [line for line in lines if line.startswith("run")]
    assert len(heads) > 2
    assert all(max(map(len, lines)) <= 40 for line in lines)
    assert " ".join(heads).split().count("run") == len(heads)
    assert {f"metric_{i}" for i in range(12)} <= set(" ".join(heads).split())


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=5), st.integers(30, 120))
def test_every_letter_is_printed_within_the_width(rows: list[list[str]], room: int) -> None:
    """Whatever the cells: no line is too wide, no letter lost but blanks."""
    columns = ["name", "a longer header of a column", "b"]
    lines = fitted(columns, rows, room)
    assert max(map(len, lines)) <= room
    printed = sorted(re.sub(r"\s", "", "".join(lines)))
    given_ = sorted(re.sub(r"\s", "", "".join([*columns, *(c for row in rows for c in row)])))
    groups = sum(line.startswith("name") for line in lines)
    if groups == 1:
        assert printed == given_
    else:
        assert len(printed) >= len(given_)


def on_a_terminal(width: int, *words: str) -> list[str]:
    """Return the lines that a command prints on a terminal of a width."""
    import fcntl
    import struct
    import termios

    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-m", "archwright", *words], stdout=child, env=environment
    )
    os.close(child)
    output = b""
    try:
        while part := os.read(parent, 65536):
            output += part
    except OSError:  # Linux answers so once the other side is closed
        pass
    os.close(parent)
    assert process.wait() == 0
    return output.decode().replace("\r", "").splitlines()


@pytest.mark.parametrize("width", [72, 100])
def test_a_terminal_gets_its_width(width: int) -> None:
    """The widest table there is fits, and says the same."""
    lines = on_a_terminal(width, "environments", "memory/dram-controller")
    assert max(map(len, lines)) <= width
    piped = subprocess.run(
        [sys.executable, "-m", "archwright", "environments", "memory/dram-controller"],
        capture_output=True, text=True, check=True,
        env={k: v for k, v in os.environ.items() if k != "COLUMNS"},
    ).stdout  # fmt: skip
    assert max(map(len, piped.splitlines())) > 150
    assert "28,311,552" in piped and "28,311,552" in " ".join(lines)


def test_the_variable_columns_asks_a_pipe_to_wrap(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from archwright.cli import main

    monkeypatch.setenv("COLUMNS", "50")
    assert main(["papers"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 50
