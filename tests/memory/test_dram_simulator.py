"""``archwright simulate memory/dram``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from archwright.cli import main
from archwright.memory import dram
from memory.cases import DDR3, MAPPING


def simulated(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, float]:
    assert main(["simulate", "memory/dram", *words, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    return {row["quantity"]: row["value"] for row in rows}


def test_flags_come_from_the_specification(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--trace", "stream", "--controller.page_policy", "Closed", "--requests", "100"]

    found = simulated(capsys, *words)

    result = dram.simulate(
        dram.stream(requests=100), DDR3, MAPPING[DDR3], {"PagePolicy": "Closed"}, 800
    )
    assert float(found["total_time_ns"]) == result.total_time_ns
    assert float(found["cycles"]) / float(found["memory_clock_mhz"]) * 1e3 == result.total_time_ns
    assert float(found["commands.RDA"]) == 100
    assert float(found["energy.read_pj"]) == pytest.approx(result.energy.read_pj)


def test_files_and_generated_traces(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("one.stl").write_text("0: read 0x0\n")

    found = simulated(capsys, "--trace", "one.stl", "--mapping", "bank-row-column")
    assert float(found["total_time_ns"]) == 30.0
    times = {
        simulated(capsys, "--trace", name, "--requests", "300")["total_time_ns"]
        for name in ("random", "cloud-1", "cloud-2")
    }
    assert len(times) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trace", "strem"], "unknown trace 'strem' (nearest: 'stream')"),
        (["--memory", "DDR9"], "unknown memory 'DDR9'"),
        (["--controller.arbiter", "Fast"], "unknown value 'Fast'"),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert main(["simulate", "memory/dram", *words]) == 2
    assert message in capsys.readouterr().err
