"""A space that implements the protocol directly: directed acyclic graphs as bit masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.search import Fidelity, Measurements, Metric


class Graphs:
    """A batch of graphs, one integer each: bit k is the k-th possible edge."""

    def __init__(self, masks: npt.NDArray[np.int64]) -> None:
        self.masks = masks

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, key: Any) -> Any:
        return self.masks if key == "edges" else int(self.masks[key])

    def take(self, rows: npt.ArrayLike) -> Graphs:
        return Graphs(self.masks[np.asarray(rows)])


class GraphSpace:
    """Graphs over a few numbered nodes whose edges point upwards and reach every node but 0."""

    names = ("edges",)
    types: Mapping[str, str] = {"edges": "int"}

    def __init__(self, nodes: int) -> None:
        self.nodes = nodes
        pairs = [(a, b) for b in range(nodes) for a in range(b)]
        self._into = [
            sum(1 << k for k, (_, b) in enumerate(pairs) if b == node) for node in range(1, nodes)
        ]
        every = np.arange(2 ** len(pairs))
        self._bits = len(pairs)
        self._legal = every[self._allowed(every)]

    def __repr__(self) -> str:
        return f"GraphSpace({self.nodes})"

    @property
    def size(self) -> int | None:
        return len(self._legal)

    def sample(self, rng: np.random.Generator, n: int) -> Graphs:
        return Graphs(self._legal[rng.integers(0, len(self._legal), n)])

    def contains(self, designs: Graphs) -> npt.NDArray[np.bool_]:
        return self._allowed(designs.masks)

    def keys(self, designs: Graphs) -> list[bytes]:
        return [b"%d" % mask for mask in designs.masks.tolist()]

    def neighbors(self, design: Graphs) -> Graphs:
        near = design.masks[0] ^ (1 << np.arange(self._bits))
        return Graphs(near[self._allowed(near)])

    def enumerate(self) -> Any:
        yield Graphs(self._legal)

    def concatenate(self, batches: Sequence[Graphs]) -> Graphs:
        return Graphs(np.concatenate([np.empty(0, dtype=np.int64), *(b.masks for b in batches)]))

    def columns(self, designs: Graphs) -> Mapping[str, Any]:
        return {"edges": designs.masks}

    def from_columns(self, columns: Mapping[str, Sequence[Any]]) -> Graphs:
        return Graphs(np.asarray(columns["edges"], dtype=np.int64))

    def _allowed(self, masks: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        met = np.ones(len(masks), dtype=bool)
        for into in self._into:
            met &= (masks & into) != 0
        return met


class GraphEnvironment:
    """Edges cost, and shorten the way."""

    metrics: Sequence[Metric] = (Metric("edges"), Metric("parents", better="higher"))
    version = "1"
    deterministic = True
    fidelities: Sequence[Fidelity] = (Fidelity("full"),)

    def __init__(self, nodes: int = 4) -> None:
        self.space = GraphSpace(nodes)

    def evaluate(
        self,
        designs: Any,
        *,
        seeds: npt.NDArray[np.uint64],
        fidelity: str = "full",
        parents: npt.NDArray[np.int64] | None = None,
        artifacts: Any | None = None,
    ) -> Measurements:
        del seeds, fidelity, parents, artifacts
        counts = np.array([mask.bit_count() for mask in designs.masks.tolist()], dtype=float)
        return Measurements(metrics={"edges": counts, "parents": designs.masks % 7.0})
