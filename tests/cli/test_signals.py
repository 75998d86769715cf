"""SIGTERM, as schedulers and ``kill`` send it, ends like Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from archwright.cli import main
from archwright.search.store import read_trials, verify

STUDY = """
format = 1
[environment]
name = "slow:slow"
[goal]
minimize = ["cost"]
[searcher]
name = "random"
[budget]
evaluations = 96
[run]
executor = "EXECUTOR"
"""

SLOW = """
import time
from archwright.testing.toys import ToyEnvironment

class Slow(ToyEnvironment):
    def evaluate(self, designs, **options):
        time.sleep(0.1)
        return super().evaluate(designs, **options)

def slow():
    return Slow()
"""


def wait_for(what, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_sigterm_leaves_a_study_that_continues(executor: str, tmp_path: Path) -> None:
    """One line, exit code 143, no worker left; the same command ends with the same trials."""
    (tmp_path / "slow.py").write_text(SLOW)
    study = tmp_path / "s.toml"
    study.write_text(STUDY.replace("EXECUTOR", executor))
    folder = tmp_path / "run"
    words = [sys.executable, "-m", "archwright", "run", str(study), "--no-report", "-o"]
    process = subprocess.Popen([*words, str(folder)], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: (folder / "events.jsonl").exists() and len(read_trials(folder)) > 0)
    workers = children(process.pid)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)

    assert process.returncode == 143
    assert errors.splitlines()[-1] == "archwright: interrupted; the same command continues"
    assert "Traceback" not in errors
    wait_for(lambda: not any(map(alive, workers)), 5.0)
    assert '"why": "Terminated"' in (folder / "events.jsonl").read_text()
    assert not verify(folder).damage
    done = subprocess.run([*words, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    undisturbed = tmp_path / "whole"
    subprocess.run([*words, str(undisturbed)], check=True, capture_output=True)
    columns = ["trial", "param.layers", "metric.cost"]
    assert read_trials(folder).select(columns).equals(read_trials(undisturbed).select(columns))


def test_sigterm_ends_the_workers_of_a_sweep(tmp_path: Path) -> None:
    """Studies of a sweep run in workers; none goes on alone, and nothing but one line is said."""
    (tmp_path / "slow.py").write_text(SLOW)
    study = tmp_path / "s.toml"
    study.write_text(STUDY.replace("EXECUTOR", "serial"))
    process = subprocess.Popen(
        [sys.executable, "-m", "archwright", "sweep", str(study), "--searchers", "local",
         "--workers", "2", "-q"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(lambda: list(tmp_path.rglob("tail.arrows")))
    workers = children(process.pid)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)

    assert process.returncode == 143
    assert errors == "archwright: interrupted; the same command continues\n"
    wait_for(lambda: not any(map(alive, workers)), 5.0)


def test_ctrl_c_is_130_and_the_handler_is_put_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who calls the command line from Python keeps his own handlers."""
    import archwright.cli.papers as papers

    def interrupted(options: object) -> int:
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(papers, "_papers", interrupted)
    assert main(["papers"]) == 130
    assert capsys.readouterr().err == "archwright: interrupted; the same command continues\n"
    assert signal.getsignal(signal.SIGTERM) is before
