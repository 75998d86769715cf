"""One writer: dead owners, live rivals, and networks where the kernel's lock does not reach."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from archwright.errors import StoreError
from archwright.search import Budget, Goal, RandomSearch, Study
from archwright.search.store import read_trials
from archwright.search.store.lock import Lock
from archwright.testing import same_trials, toy_environment

RUN = """
import sys
from pathlib import Path
from archwright.errors import StoreError
from archwright.search import Budget, Goal, RandomSearch, Study
from archwright.testing import toy_environment
study = Study(toy_environment(noise=0.1), Goal(minimize=["cost"]), RandomSearch(),
              budget=Budget(evaluations=2048), folder=Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
try:
    study.run()
except StoreError as error:
    print(error)
    sys.exit(3)
"""


def test_a_dead_owner_is_released_within_a_second(tmp_path: Path) -> None:
    """Its process is killed while it holds the lock; the next opens at once."""
    code = (
        "import sys, time; from pathlib import Path; from archwright.search.store.lock import "
        "Lock; Lock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "lock")], stdout=subprocess.PIPE
    )
    assert owner.stdout is not None
    owner.stdout.readline()
    with pytest.raises(StoreError, match=f"process {owner.pid} on {socket.gethostname()}"):
        Lock(tmp_path / "lock")
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    started = time.monotonic()
    Lock(tmp_path / "lock").release()

    assert time.monotonic() - started < 1.0


def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    """An environment may fork; the child must not outlive its parent as an owner."""
    lock = Lock(tmp_path / "lock")
    hold, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go)
        os.read(hold, 1)
        os._exit(0)
    os.close(hold)
    lock.release()
    try:
        Lock(tmp_path / "lock").release()
    finally:
        os.close(go)
        os.waitpid(child, 0)


def test_of_processes_that_start_together_one_writes(tmp_path: Path) -> None:
    """Four start at one moment, three times; each folder holds the trials of one."""
    expected = Study(
        toy_environment(noise=0.1), Goal(minimize=["cost"]), RandomSearch(),
        budget=Budget(evaluations=2048),
    ).run().table  # fmt: skip
    for round_ in range(3):
        folder = tmp_path / f"run-{round_}"
        rivals = [
            subprocess.Popen(
                [sys.executable, "-c", RUN, str(folder)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for _ in range(4)
        ]  # fmt: skip
        for rival in rivals:
            assert rival.stdout is not None
            assert rival.stdout.readline() == "ready\n"
        for rival in rivals:
            assert rival.stdin is not None
            rival.stdin.write("go\n")
            rival.stdin.flush()
        ends = [(rival, rival.communicate()) for rival in rivals]
        # a late rival may find the study finished, and then has nothing to do
        codes = [rival.returncode for rival, _ in ends]
        assert 0 in codes and set(codes) <= {0, 3}, [end for _, end in ends]
        assert all("is being run by" in out for r, (out, _) in ends if r.returncode == 3)
        assert same_trials(read_trials(folder), expected)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system over which the kernel's lock does not reach other machines."""
    monkeypatch.setattr(fcntl, "flock", lambda handle, how: None)


@pytest.mark.usefixtures("network")
def test_over_a_network_a_beating_owner_is_respected(tmp_path: Path) -> None:
    """Its heartbeat moves, so it is alive, whatever the clocks say."""
    owner = Lock(tmp_path / "lock", network=True, patience_s=1.0)
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(0.05):
            owner.beat()

    heart = threading.Thread(target=beat)
    heart.start()
    try:
        with pytest.raises(StoreError, match="is being run by process"):
            Lock(tmp_path / "lock", network=True, patience_s=1.0)
    finally:
        stop.set()
        heart.join()


@pytest.mark.usefixtures("network")
def test_over_a_network_a_silent_owner_is_fenced_off(tmp_path: Path) -> None:
    """Who stood still is replaced, and cannot write when it wakes."""
    asleep = Lock(tmp_path / "lock", network=True)
    taken = Lock(tmp_path / "lock", network=True, patience_s=0.3)

    assert taken.fence == asleep.fence + 1
    taken.check()
    with pytest.raises(StoreError, match="has taken the study over while this process stood"):
        asleep.check()
    with pytest.raises(StoreError, match="has taken the study over"):
        asleep.beat()
    asleep.release()
    taken.check()  # the lock it lost stays its new owner's


@pytest.mark.usefixtures("network")
def test_a_store_that_was_taken_over_writes_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sleeper's next flush is refused; the new owner's trials stand."""
    import archwright.search.store.folder as store_folder
    from archwright.search.store import Store, TableSchema

    monkeypatch.setattr(store_folder, "durability", lambda folder: "network, one writer")
    monkeypatch.setattr(store_folder, "SYNC_SECONDS", 60.0)  # it stands still: no heartbeat
    schema = TableSchema({"x": "int"}, ["m"], ["m"], ["environment"])
    asleep = Store.open(tmp_path / "s", {}, schema)
    Lock(tmp_path / "s" / "lock", network=True, patience_s=0.3)
    before = (tmp_path / "s" / "tail.arrows").read_bytes()
    with pytest.raises(StoreError, match="has taken the study over"):
        asleep.append({"trial": [0]})

    assert (tmp_path / "s" / "tail.arrows").read_bytes() == before
