"""What is the same for all searchers: known trials, long orders, what they like to be asked."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from archwright.errors import MissingExtraError
from archwright.hardware.tables import catalogue_toml
from archwright.registry import entries
from archwright.search import Choice, Fidelity, Integer, Objectives, ParameterSpace, Permutation
from archwright.search.searcher import make_searcher
from archwright.search.searchers.nsga3 import NSGA3
from search.searchers.drives import asked, trials

SPACE = ParameterSpace(
    {"a": Integer(0, 30), "b": Integer(0, 30), "c": Choice(["p", "q", "r"]), "d": Integer(0, 3)}
)
LADDER = {"fidelities": (Fidelity("low", 0.2), Fidelity("full"))}
EXTRAS = {"ppo": "stable_baselines3", "nsga3": "pymoo"}
NAMES = sorted(entry.name for entry in entries("searchers").values() if ":" not in entry.name)
OPTIONS: dict[str, dict[str, Any]] = {"nsga3": {"population": 16}}
BLIND = ("random", "exhaustive")


def start(name: str, space: Any = SPACE, seed: int = 0) -> Any:
    if name in EXTRAS:
        pytest.importorskip(EXTRAS[name])
    searcher = make_searcher(entries("searchers")[name].load(), OPTIONS.get(name, {}), name=name)
    losses = ("l0", "l1") if name == "nsga3" else ("l0",)
    searcher.start(space, Objectives(losses, ("environment",)), seed=seed, capabilities=LADDER)
    return searcher


def cost(designs: Any) -> Any:
    a, b, d = (np.asarray(designs[key], dtype=float) for key in "abd")
    return abs(a - 20) + abs(b - 7) + 3.0 * (np.asarray(designs["c"]) != "q") + d


def known(name: str, n: int = 18) -> Any:
    """Return trials of designs not far from the optimum, and of some elsewhere."""
    rng = np.random.default_rng(5)
    near = SPACE.from_columns(
        {
            "a": (17 + rng.integers(-1, 2, n)).tolist(),
            "b": (9 + rng.integers(-1, 2, n)).tolist(),
            "c": ["q"] * n,
            "d": rng.integers(1, 3, n).tolist(),
        }
    )
    first = {key: i for i, key in reversed(list(enumerate(SPACE.keys(near))))}
    near = near.take(sorted(first.values()))
    designs = SPACE.concatenate([SPACE.sample(rng, n // 3), near])
    return trials(designs, several(name, cost(designs)))


def several(name: str, losses: Any) -> Any:
    """Return two losses for the one that takes no fewer."""
    return np.column_stack([losses, losses]) if name == "nsga3" else losses


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(BLIND)))
def test_it_learns_from_trials_it_did_not_ask_for(name: str) -> None:
    """The best that it asks next is better than what it asks first knowing nothing."""
    means = {}
    for informed in (False, True):
        best: list[float] = []
        for seed in range(6):
            searcher, found = start(name, seed=seed), []
            if informed:
                searcher.learn(known(name))
            while len(found) < 24:
                designs = asked(searcher, 8)
                losses = cost(designs)
                searcher.tell(trials(designs, several(name, losses), first=len(found)))
                found += losses.tolist()
            best.append(min(found))
        means[informed] = np.mean(best)
    assert means[True] < means[False]


def test_of_many_known_trials_the_best_are_taken() -> None:
    """Into a population that holds fewer, the best youngest; onto the ants' path."""
    designs = SPACE.sample(np.random.default_rng(3), 90)
    given, order = trials(designs, cost(designs)), np.argsort(cost(designs), kind="stable")

    evolution = start("regularized_evolution")
    evolution.learn(given)
    best = designs.take(order[: evolution.population][::-1])
    assert cost(evolution._living).tolist() == cost(best).tolist()

    ants = start("ant_colony")
    ants.learn(given)
    assert cost(SPACE.decode(ants._units[np.arange(4), ants._best][None, :]))[0] == min(
        cost(designs)
    )
    assert ants.pheromone[2, 1] == ants.pheromone[2].max()  # c = 'q' is in most of the best


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(BLIND) - {"many_agents", "ppo"}))
def test_a_known_design_is_not_asked_at_once(name: str) -> None:
    """Its result is known; other fidelities of it are not."""
    if name in ("hyperband", "successive_halving", "cmaes"):
        pytest.skip("asks known designs at other fidelities, or among a generation")
    searcher, given = start(name), known(name)
    searcher.learn(given)
    designs = asked(searcher, 8)
    assert not set(SPACE.keys(designs)) & set(SPACE.keys(given.designs))


@pytest.mark.parametrize("name", NAMES)
def test_a_state_after_learning_continues(name: str) -> None:
    """What was learned is in the state."""
    first, second = start(name), start(name)
    first.learn(known(name))
    state = first.state()
    if state is None:
        pytest.skip("its trials are replayed")
    second.restore(state)
    assert SPACE.keys(asked(first, 6)) == SPACE.keys(asked(second, 6))


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"ant_colony", "many_agents", "exhaustive"}))
def test_an_order_of_171_overflows_nothing(name: str) -> None:
    """171! is beyond a float."""
    space = ParameterSpace({"o": Permutation(171), "n": Integer(1, 9)})
    searcher, told = start(name, space), 0
    while told < 24:
        designs = asked(searcher, 8)
        assert space.contains(designs).all()
        losses = np.abs(designs.codes[:, :171] - np.arange(171)).sum(axis=1)
        table = np.column_stack([losses, losses]) if name == "nsga3" else losses
        searcher.tell(trials(designs, table, first=told))
        told += len(designs)


def test_each_says_how_it_likes_to_be_asked() -> None:
    """One by one where each trial teaches, a generation where they are bred together."""
    likes = {}
    for name in NAMES:
        made: Any = make_searcher(entries("searchers")[name].load(), {}, name=name)
        likes[name] = (made.preferred_block, made.preferred_window)
        assert 1 <= made.preferred_block <= made.preferred_window
    assert likes["tpe"] == likes["gp"] == likes["local"] == (1, 1)
    assert likes["random"][1] == likes["exhaustive"][1] == 64
    assert likes["genetic_gray"] == (32, 32)
    assert likes["nsga2"] == (16, 16)


def test_the_guide_has_each_searcher() -> None:
    """What ``archwright searchers`` says of which study each is for."""
    guide = catalogue_toml("archwright.search", "searchers.toml")["searchers"]
    assert sorted(guide) == NAMES
    for row in guide.values():
        assert {"losses", "evaluations", "parameters", "take_for"} <= set(row)


def test_only_nsga3_needs_pymoo(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says which extra has it."""
    monkeypatch.setitem(sys.modules, "pymoo", None)
    objectives = Objectives(("a", "b"))
    with pytest.raises(MissingExtraError, match=r"nsga3 needs the extra 'pymoo'"):
        NSGA3().start(SPACE, objectives, seed=0, capabilities={})
    for name in ("nsga2", "genetic", "cmaes", "tpe", "gp"):
        searcher = make_searcher(entries("searchers")[name].load(), {}, name=name)
        searcher.start(SPACE, Objectives(("a",)), seed=0, capabilities={})
        assert len(asked(searcher, 1)) == 1
