"""Parts that are broken on purpose: each conformance suite must reject its own.

They show what the suites catch, and test the suites. Each takes the name of its fault.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.search import (
    Choice,
    Designs,
    Integer,
    Measurements,
    Objectives,
    ParameterSpace,
    RandomSearch,
    Real,
    Space,
    Trials,
)
from archwright.search.store import Store
from archwright.search.store.artifacts import Artifacts
from archwright.testing.toys import ToyEnvironment

__all__ = [
    "ENVIRONMENT_FAULTS",
    "SEARCHER_FAULTS",
    "SPACE_FAULTS",
    "STORE_FAULTS",
    "BrokenEnvironment",
    "BrokenSearcher",
    "BrokenSpace",
    "broken_store",
]

SPACE_FAULTS: Mapping[str, str] = {
    "columns": "names, types and columns agree",
    "contains": "sample stays inside the space",
    "cube": "encode and decode agree",
    "enumerate": "enumerate gives every design once",
    "from_columns": "stored columns give the designs back",
    "global": "sample depends on its generator alone",
    "hash": "another process understands the same columns",
    "keys": "keys are canonical",
    "length": "sample gives n designs, 0 too",
    "neighbors": "neighbors are other designs of the space",
}
"""Fault to the clause that it breaks."""


class BrokenSpace(ParameterSpace):
    """A space with one fault of :data:`SPACE_FAULTS`."""

    def __init__(self, fault: str) -> None:
        super().__init__(
            {"a": Choice(["x", "y"]), "b": Integer(0, 9), "c": Integer(1, 4, when="a == 'x'")}
        )
        self.fault = fault
        if fault == "columns":
            self.types = {**self.types, "b": "str"}

    def sample(self, rng: np.random.Generator, n: int) -> Designs:
        if self.fault == "global":
            rng = np.random.default_rng(np.random.randint(2**31))  # noqa: NPY002
        return super().sample(rng, max(n, 1) if self.fault == "length" else n)

    def contains(self, designs: Designs) -> npt.NDArray[np.bool_]:
        inside = super().contains(designs)
        return inside & (designs.codes[:, 1] < 9) if self.fault == "contains" else inside

    def keys(self, designs: Designs) -> list[bytes]:
        keys = super().keys(designs)
        if self.fault == "keys":
            return [key[:16] for key in keys]
        return [b"%d" % hash(str(d)) for d in designs] if self.fault == "hash" else keys

    def neighbors(self, design: Designs) -> Designs:
        near = super().neighbors(design)
        return self.concatenate([near, design]) if self.fault == "neighbors" else near

    def encode(self, designs: Designs) -> npt.NDArray[np.float64]:
        unit = super().encode(designs)
        return unit[:, ::-1] if self.fault == "cube" else unit

    def from_columns(self, columns: Mapping[str, Any]) -> Designs:
        designs = super().from_columns(columns)
        return (
            designs.take(np.arange(len(designs))[::-1])
            if self.fault == "from_columns"
            else designs
        )

    def enumerate(self, batch: int = 4096) -> Any:
        yield from super().enumerate(batch)
        if self.fault == "enumerate":
            yield self.design({"a": "y", "b": 0})


ENVIRONMENT_FAULTS: Mapping[str, str] = {
    "artifacts": "feasible designs leave the artifacts that it declares",
    "cost": "fidelities have names and costs",
    "deterministic": "deterministic means that seeds have no influence",
    "global": "global randomness plays no part",
    "interval": "intervals hold their value",
    "length": "evaluate answers for each design",
    "metrics": "infeasible is an answer: a reason, and no metrics",
    "mutates": "evaluate leaves designs and seeds alone",
    "position": "cutting or reordering a batch changes nothing",
    "provenance": "provenance labels are known",
    "reason": "evaluate answers for each design",
    "state": "equal seeds measure the same",
}
"""Fault to the clause that it breaks."""


class BrokenEnvironment(ToyEnvironment):
    """An environment with one fault of :data:`ENVIRONMENT_FAULTS`."""

    def __init__(self, fault: str) -> None:
        super().__init__(
            space=ParameterSpace({"size": Integer(1, 99), "ratio": Real(0.0, 1.0)}),
            noise=0.1 if fault == "deterministic" else 0.0,
            fidelities={"full": 0.0 if fault == "cost" else 1.0},
            limit=0.4 if fault in ("metrics", "reason") else None,
        )
        self.fault = fault
        self.deterministic = True
        self.calls = 0
        self.artifacts = ("weights",) if fault == "artifacts" else ()

    def evaluate(
        self,
        designs: Any,
        *,
        seeds: npt.NDArray[np.uint64],
        fidelity: str = "full",
        parents: npt.NDArray[np.int64] | None = None,
        artifacts: Artifacts | None = None,
    ) -> Measurements:
        measured = super().evaluate(designs, seeds=seeds, fidelity=fidelity)
        cost, n = measured.metrics["cost"], len(designs)
        self.calls += 1
        match self.fault:
            case "global":
                cost = cost + np.random.normal(size=n)  # noqa: NPY002
            case "position":
                cost = cost + np.random.default_rng(int(seeds[0])).normal(size=n)
            case "state":
                cost = cost + self.calls
            case "length":
                cost = cost[:-1]
            case "metrics":
                cost = np.nan_to_num(cost, nan=1e9)
            case "mutates":
                designs.codes[:, 0] = 1.0
            case "reason":
                return replace(measured, reason=None)
            case "provenance":
                return replace(measured, provenance={"cost": "guessed"})
            case "interval":
                return replace(measured, low={"cost": cost + 1.0}, high={"cost": cost + 2.0})
        return replace(measured, metrics={**measured.metrics, "cost": cost})


SEARCHER_FAULTS: Mapping[str, str] = {
    "global": "the seed decides what is asked",
    "infeasible": "it copes with infeasible designs",
    "many": "ask gives at most n designs of the space",
    "outside": "ask gives at most n designs of the space",
    "seed": "the seed decides what is asked",
    "state": "state and restore continue exactly",
    "tiny": "a tiny space ends or repeats",
    "unknown": "it copes with unknown losses (NaN)",
    "waiting": "asked again while trials are in flight, it gives more or nothing",
}
"""Fault to the clause that it breaks."""


class BrokenSearcher(RandomSearch):
    """A random search with one fault of :data:`SEARCHER_FAULTS`."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def start(
        self, space: Space, objectives: Objectives, *, seed: int, capabilities: Mapping[str, Any]
    ) -> None:
        super().start(
            space,
            objectives,
            seed=0 if self.fault == "seed" else seed,
            capabilities=capabilities,
        )
        self._flying = 0
        self._seen: set[bytes] = set()

    def ask(self, n: int) -> Any:
        if self.fault == "waiting" and self._flying > 100:
            raise IndexError("no generation is complete")
        if self.fault == "global":
            self._rng = np.random.default_rng(np.random.randint(2**31))  # noqa: NPY002
        if self.fault == "tiny":
            return self._new(n)
        self._flying += n
        designs = super().ask(n + 1 if self.fault == "many" else n)
        if self.fault == "outside":
            designs.codes[:, -1] = 1e6
        return designs

    def tell(self, trials: Trials) -> None:
        self._flying -= len(trials)
        scores = trials.scores
        if self.fault == "unknown" and np.isnan(scores.losses[scores.feasible]).any():
            raise ValueError("NaN in the losses")
        if self.fault == "infeasible" and not scores.feasible.all():
            raise ValueError("a design is infeasible")

    def state(self) -> dict[str, Any]:
        return {} if self.fault == "state" else super().state()

    def restore(self, state: dict[str, Any]) -> None:
        if self.fault != "state":
            super().restore(state)

    def _new(self, n: int) -> Any:
        """Look for designs not asked before, in vain once there are none."""
        found: list[Any] = []
        for _ in range(2000):
            one = super().ask(1)
            key = self._space.keys(one)[0]
            if key not in self._seen:
                self._seen.add(key)
                found.append(one)
            if len(found) == n:
                return self._space.concatenate(found)
        raise TimeoutError("no design is new")


STORE_FAULTS: Mapping[str, str] = {
    "buffers": "flushed rows are there after abandon",
    "drops": "flushed rows are there after close",
    "foreign": "a foreign folder is refused and left alone",
    "locks": "a second writer is refused",
    "same": "another study is refused with the differences",
    "snapshots": "snapshots come back, the newest first",
}
"""Fault to the clause that it breaks."""


def broken_store(fault: str) -> type[Store]:
    """Return a store class with one fault of :data:`STORE_FAULTS`."""

    class BrokenStore(Store):
        @classmethod
        def open(cls, folder: Path, study: Mapping[str, Any], *args: Any, **options: Any) -> Store:
            marker = folder / "store.json"
            if fault == "foreign" and folder.exists() and not marker.exists():
                for path in folder.iterdir():
                    path.unlink()
            if fault == "locks":
                (folder / "lock").unlink(missing_ok=True)
            if fault == "same" and marker.exists():
                study = json.loads(marker.read_text())["study"]
            return super().open(folder, study, *args, **options)

        def append(self, columns: Mapping[str, Any]) -> None:
            kept: list[Mapping[str, Any]] = self.__dict__.setdefault("kept", [])
            kept.append(columns)
            if fault == "buffers":
                return
            if fault == "drops":
                columns = kept[-2] if len(kept) > 1 else {}
            if columns:
                super().append(columns)

        def seal(self) -> None:
            if fault == "buffers":
                for columns in self.__dict__.pop("kept", []):
                    super().append(columns)
            super().seal()

        def snapshots(self) -> list[dict[str, Any]]:
            found = super().snapshots()
            return found[::-1] if fault == "snapshots" else found

    return BrokenStore
