"""The problems of multi-agent RL for design spaces: two oracles and the memory controller."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.memory.dram.environment import dram_controller
from archwright.search import Objectives, Scores, Searcher, Trials

__all__ = [
    "Reward",
    "dram_reward",
    "random_tables",
    "rewards_of",
    "separable",
    "sizes",
    "space",
    "with_xor",
]

Floats = npt.NDArray[np.float64]
Reward = Callable[[Any], Floats]


def rewards_of(searcher: Searcher, reward: Reward, calls: int, seed: int) -> Floats:
    """Return the reward of each design that a searcher asks, in order; repeats count."""
    searcher.start(space(), Objectives(("reward",)), seed=seed, capabilities={})
    found: list[Floats] = []
    asked = 0
    while asked < calls:
        designs = searcher.ask(min(64, calls - asked))
        value, n = reward(designs), len(designs)
        found.append(value)
        searcher.tell(
            Trials(
                numbers=np.arange(asked, asked + n),
                designs=designs,
                scores=Scores(
                    losses=-value[:, None],
                    violations=np.zeros((n, 1)),
                    feasible=np.ones(n, dtype=bool),
                ),
                fidelity=("full",) * n,
                parents=np.full(n, -1, dtype=np.int64),
                repeats=np.zeros(n, dtype=bool),
            )
        )
        asked += n
    return np.concatenate(found)


@cache
def space() -> Any:
    """Return the grid of ArchGym's learning agents: ten parameters of a memory controller."""
    return dram_controller(requests=1, grid="rl").space


def sizes() -> list[int]:
    """Return the number of values of each parameter."""
    return [int(item.size) for item in space().parameters.values()]


def random_tables(rng: np.random.Generator) -> list[Floats]:
    """Return uniform numbers, one a value of each parameter."""
    return [rng.random(size) for size in sizes()]


def separable(rng: np.random.Generator) -> tuple[Reward, float]:
    """Return a sum of random tables, and its exact optimum."""
    tables = random_tables(rng)

    def reward(designs: Any) -> Floats:
        index = designs.codes.astype(np.int64)
        return np.asarray(sum(table[index[:, i]] for i, table in enumerate(tables)))

    return reward, float(sum(table.max() for table in tables))


def with_xor(rng: np.random.Generator) -> tuple[Reward, float]:
    """Return a separable reward and 2 where the parities of two values differ; its optimum."""
    tables = random_tables(rng)
    names = list(space().names)
    a, b = names.index("arbiter"), names.index("max_active_transactions")

    def reward(designs: Any) -> Floats:
        index = designs.codes.astype(np.int64)
        plain = sum(table[index[:, i]] for i, table in enumerate(tables))
        return np.asarray(plain + 2.0 * ((index[:, a] + index[:, b]) % 2))

    parity = np.add.outer(np.arange(len(tables[a])), np.arange(len(tables[b]))) % 2
    joint = np.add.outer(tables[a], tables[b]) + 2.0 * parity
    rest = sum(table.max() for i, table in enumerate(tables) if i not in (a, b))
    return reward, float(rest + joint.max())


@cache
def _measured(trace: str, requests: int) -> Callable[[Any], Mapping[str, Floats]]:
    """Return what measures designs under a trace; each is simulated once."""
    # 10 ns a request is the source's 0.1 ms for its traces of 10,000
    environment = dram_controller(
        workload=trace, requests=requests, grid="rl", latency_target_s=1e-8 * requests
    )
    names = ("power_w", "latency_s", "reward_power", "reward_latency")
    known: dict[bytes, tuple[float, ...]] = {}

    def measure(designs: Any) -> Mapping[str, Floats]:
        keys = environment.space.keys(designs)
        fresh = {key: i for i, key in enumerate(keys) if key not in known}
        if fresh:
            new = designs.take(np.array(list(fresh.values())))
            found = environment.evaluate(new, seeds=np.zeros(len(new), dtype=np.uint64)).metrics
            rows = zip(*(found[name].tolist() for name in names), strict=True)
            known.update(zip(fresh, rows, strict=True))
        columns = zip(*(known[key] for key in keys), strict=True)
        return {name: np.array(column) for name, column in zip(names, columns, strict=True)}

    return measure


def dram_reward(trace: str, metric: str, requests: int, two_sided: bool) -> Reward:
    """Return ArchGym's two-sided reward of ``power`` or ``latency``, or its reciprocal."""
    measure = _measured(trace, requests)
    if two_sided:
        return lambda designs: measure(designs)[f"reward_{metric}"]
    unit = "power_w" if metric == "power" else "latency_s"
    return lambda designs: 1.0 / measure(designs)[unit]
