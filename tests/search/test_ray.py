"""The Ray executor: the trials of a serial run, whatever dies."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archwright.errors import EnvironmentFault, MissingExtraError, SpecificationError
from archwright.search import Budget, Goal, Proposals, RandomSearch, Study
from archwright.search.executors.ray import Ray
from archwright.search.store import read_trials
from archwright.search.study_file import load_study_file
from archwright.testing import ToyEnvironment, same_trials, toy_environment
from archwright.testing.toys import ToyEvolution, ToyTraining

TRIALS = 64


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A connection to a cluster of two CPUs on this machine."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'archwright[ray]'")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


class BothFidelities(RandomSearch):
    """Random designs, every second one at the low fidelity."""

    def ask(self, n: int) -> Any:
        designs = super().ask(n)
        return Proposals(designs=designs, fidelity=("full", "low") * (len(designs) // 2))


def random_study(environment: Any = None, folder: Path | None = None, **options: Any) -> Study:
    return Study(
        environment or toy_environment(noise=0.1, limit=2.0),
        Goal(minimize=["cost", "time"]),
        options.pop("searcher", None) or RandomSearch(),
        budget=Budget(evaluations=TRIALS),
        window=32,
        chunk=8,
        folder=folder,
        **options,
    )


def training_study(folder: Path | None = None) -> Study:
    return Study(
        ToyTraining(),
        Goal(minimize=["loss"]),
        ToyEvolution(),
        budget=Budget(evaluations=48),
        window=16,
        chunk=8,
        folder=folder,
    )


@pytest.mark.slow
@pytest.mark.parametrize("workers", [None, 1, 2])
@pytest.mark.usefixtures("cluster")
def test_ray_gives_the_trials_of_a_serial_run(workers: int | None) -> None:
    """Noise, limits and replicates: every row is the same."""
    expected = random_study(replicates=2).run().table

    assert same_trials(random_study(replicates=2).run(executor=Ray(workers)).table, expected)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_fidelities_and_inherited_weights_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of each fidelity; artifacts by a folder that is relative to the caller's."""
    both = {"environment": toy_environment(fidelities={"low": 0.1, "full": 1.0})}
    expected = random_study(**both, searcher=BothFidelities()).run().table
    assert set(expected["fidelity"].to_pylist()) == {"low", "full"}
    found = random_study(**both, searcher=BothFidelities()).run(executor=Ray(2)).table
    assert same_trials(found, expected)

    monkeypatch.chdir(tmp_path)
    trained = training_study(Path("run")).run(executor=Ray()).table
    assert same_trials(trained, training_study().run().table)


class Stuck(ToyEnvironment):
    """Writes its process number and stands still, the first time that it measures a design."""

    def __init__(self, note: Path) -> None:
        super().__init__(noise=0.1)
        self.note = note

    def evaluate(self, designs: Any, **options: Any) -> Any:
        with contextlib.suppress(FileExistsError), self.note.open("x") as file:
            file.write(f"{os.getpid()}\n")
            file.flush()
            time.sleep(600)
        return super().evaluate(designs, **options)


def kill_when_noted(note: Path) -> None:
    """End the process that a file names, as soon as it does."""
    for _ in range(3000):
        if note.exists() and note.read_text().endswith("\n"):
            os.kill(int(note.read_text()), signal.SIGKILL)
            return
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_worker_killed_in_mid_trial_changes_nothing(tmp_path: Path) -> None:
    """Its block runs again with its seeds, in another worker."""
    expected = random_study(toy_environment(noise=0.1)).run().table
    note = tmp_path / "pid"
    killer = threading.Thread(target=kill_when_noted, args=(note,))
    killer.start()

    found = random_study(Stuck(note)).run(executor=Ray(2)).table

    killer.join()
    assert int(note.read_text()) != os.getpid()
    assert same_trials(found, expected)


class Dying(ToyEnvironment):
    """Ends every process it measures in."""

    def evaluate(self, designs: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


class Crashing(ToyEnvironment):
    """Raises."""

    def evaluate(self, designs: Any, **options: Any) -> Any:
        raise ZeroDivisionError("no cores")


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_faults_name_their_trials() -> None:
    """A worker that always dies, and an environment that raises, as with other executors."""
    with pytest.raises(EnvironmentFault, match="trial 0: the worker process died 3 times"):
        random_study(Dying()).run(executor=Ray(1))
    with pytest.raises(
        EnvironmentFault, match="crashed in trials 0 to 7: ZeroDivisionError: no cores"
    ):
        random_study(Crashing()).run(executor=Ray(1))


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_an_interrupted_study_continues(tmp_path: Path) -> None:
    """Ctrl-C cancels what is in flight; the same call goes on, here with other workers."""

    def stop(now: Any) -> None:
        if now.trials == 24:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        random_study(folder=tmp_path / "run").run(executor=Ray(2), progress=stop)

    found = random_study(folder=tmp_path / "run").run(executor=Ray(1)).table
    assert same_trials(found, random_study().run().table)


DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from search.test_ray import Ray, training_study

if __name__ == "__main__":
    training_study(Path({folder!r})).run(
        executor=Ray(2), progress=lambda now: print(now.trials, flush=True)
    )
"""


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_killed_driver_leaves_a_study_that_continues(tmp_path: Path) -> None:
    """SIGKILL to the process that runs the study, with a cluster of its own."""
    folder, script = tmp_path / "run", tmp_path / "driver.py"
    tests = str(Path(__file__).parents[1])
    script.write_text(DRIVER.format(tests=tests, folder=str(folder)))
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "8\n"
        driver.kill()

    found = training_study(folder).run(executor=Ray(2)).table

    assert '"event": "continued"' in (folder / "events.jsonl").read_text()
    assert same_trials(found, training_study().run().table)


MACHINES = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from ray.cluster_utils import Cluster
from search.test_ray import Ray, training_study

if __name__ == "__main__":
    head = {{"num_cpus": 1, "include_dashboard": False}}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    second = cluster.add_node(num_cpus=1)

    def lose(now):
        if now.trials == 16:
            cluster.remove_node(second, allow_graceful=False)

    training_study(Path({folder!r})).run(
        executor=Ray({workers}, address=cluster.address), progress=lose
    )
    cluster.shutdown()
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [None, 2])
def test_a_machine_that_is_lost_changes_nothing(tmp_path: Path, workers: int | None) -> None:
    """Two raylets with one shared folder, of which one ends in the middle of the study."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'archwright[ray]'")
    folder, script = tmp_path / "run", tmp_path / "machines.py"
    tests = str(Path(__file__).parents[1])
    script.write_text(MACHINES.format(tests=tests, folder=str(folder), workers=workers))
    subprocess.run([sys.executable, script], check=True, capture_output=True, timeout=180)

    assert same_trials(read_trials(folder), training_study().run().table)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_what_the_cluster_cannot_do_is_refused() -> None:
    """More workers than CPUs; an address where the process is connected already."""
    with pytest.raises(SpecificationError, match="workers: the Ray cluster has 2 CPUs, found 9"):
        random_study().run(executor=Ray(9))
    with pytest.raises(SpecificationError, match="already connected to Ray; leave 'auto' out"):
        random_study().run(executor=Ray(1, address="auto"))


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the install command."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'archwright\[ray\]'"):
        random_study().run(executor=Ray(1))


STUDY = """
format = 1
environment.name = "archwright.testing:toy_environment"
goal.minimize = ["cost"]
budget.evaluations = 10
[run]
executor = "ray"
workers = 2
address = "ray://head:10001"
"""


def test_a_study_file_names_the_cluster(tmp_path: Path) -> None:
    """Where a study runs is no part of what it is; a cluster without Ray is refused."""
    path = tmp_path / "study.toml"
    path.write_text(STUDY)

    file = load_study_file(path)
    executor = file.executor()

    assert isinstance(executor, Ray)
    assert (executor.workers, executor.address) == (2, "ray://head:10001")
    elsewhere = ['run={executor="serial", workers=1}']
    assert file.study.identity() == load_study_file(path, elsewhere).study.identity()
    assert set(file.study.identity()["run"]) == {"window", "chunk", "replicates"}
    for change, message in [
        ("run.executor=serial", r"\[run\].address: only the executor 'ray' has one"),
        ("run.executor=rya", "unknown executor 'rya' \\(nearest: 'ray'\\)"),
        ("run.workers=0", "workers: expected at least 1, found 0"),
        ("run.workers=true", "workers: expected at least 1, found True"),
        ("run.address=3", "address: expected 'auto', 'host:port' or 'ray://host:port', found 3"),
    ]:
        with pytest.raises(SpecificationError, match=message):
            load_study_file(path, [change])
