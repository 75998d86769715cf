"""The parallel environment of PettingZoo."""

from __future__ import annotations

import builtins
import importlib
import sys
from typing import Any

import numpy as np
import pytest

from archwright.errors import MissingExtraError, SpecificationError
from archwright.search import Choice, Goal, Integer, ParameterSpace, Real
from archwright.search.seeds import trial_seeds
from archwright.testing import ToyEnvironment
from testing.subsets import GraphEnvironment

SPACE = ParameterSpace({"a": Choice(["x", "y", "z"]), "b": Integer(1, 9), "c": Choice(["p", "q"])})
COST = Goal(minimize=["cost"])


@pytest.fixture
def env_class() -> Any:
    pytest.importorskip("pettingzoo", reason="PettingZoo is not installed (extra rl)")
    from archwright.search.multi_agent import DesignParallelEnv

    return DesignParallelEnv


def test_it_passes_pettingzoos_own_tests(env_class: Any) -> None:
    from pettingzoo.test import parallel_api_test, parallel_seed_test

    def make() -> Any:
        return env_class(ToyEnvironment(space=SPACE, noise=0.1), COST)

    parallel_api_test(make(), num_cycles=30)
    parallel_api_test(env_class(ToyEnvironment(space=SPACE), COST, groups=[["a", "c"]]), 30)
    parallel_seed_test(make, num_cycles=30)


def test_an_episode_is_one_design_and_its_reward_is_shared(env_class: Any) -> None:
    toy = ToyEnvironment(space=SPACE)
    env = env_class(toy, COST)
    seen, _ = env.reset(seed=3)
    assert env.agents == ["a", "b", "c"] and not any(seen["b"])

    seen, rewards, terminations, truncations, infos = env.step({"a": 2, "b": 0, "c": 1})

    design = SPACE.design({"a": "z", "b": 1, "c": "q"})
    measured = toy.evaluate(design, seeds=trial_seeds(3, [0]), fidelity="full")
    expected = [float(measured.metrics[m.name][0]) for m in toy.metrics]
    assert set(rewards.values()) == {-expected[0]} and len(rewards) == 3
    assert all(row.tolist() == expected for row in seen.values())
    assert infos["c"] == {
        "design": {"a": "z", "b": 1, "c": "q"}, "feasible": True, "reason": None,
    }  # fmt: skip
    assert all(terminations.values()) and not any(truncations.values()) and env.agents == []
    with pytest.raises(SpecificationError, match="no episode has begun"):
        env.step({"a": 0, "b": 0, "c": 0})


def test_a_groups_action_is_a_combination_the_last_parameter_the_fastest(env_class: Any) -> None:
    env = env_class(ToyEnvironment(space=SPACE), COST, groups=[["a", "c"]])
    assert env.possible_agents == ["a+c", "b"] and env.action_space("a+c").n == 6
    env.reset()
    *_, infos = env.step({"a+c": 3, "b": 8})
    assert infos["b"]["design"] == {"a": "y", "b": 9, "c": "q"}


def test_an_infeasible_design_has_the_reward_asked_for(env_class: Any) -> None:
    env = env_class(ToyEnvironment(space=SPACE, limit=-1.0), COST, infeasible_reward=-7.0)
    env.reset()
    seen, rewards, _, _, infos = env.step({"a": 0, "b": 0, "c": 0})
    assert set(rewards.values()) == {-7.0}
    assert not infos["a"]["feasible"] and infos["a"]["reason"] and not any(seen["a"])


def test_mistakes(env_class: Any) -> None:
    toy = ToyEnvironment(space=SPACE)
    with pytest.raises(SpecificationError, match="takes one loss, the goal has 2"):
        env_class(toy, Goal(minimize=["cost", "time"]))
    with pytest.raises(SpecificationError, match="unknown metric 'cst'"):
        env_class(toy, Goal(minimize=["cst"]))
    with pytest.raises(SpecificationError, match="x has inf values"):
        env_class(ToyEnvironment(space=ParameterSpace({"x": Real(0.0, 1.0)})), COST)
    graphs = GraphEnvironment()
    with pytest.raises(SpecificationError, match="needs a space of named parameters"):
        env_class(graphs, Goal(minimize=[graphs.metrics[0].name]))
    env = env_class(toy, COST)
    env.reset()
    with pytest.raises(SpecificationError, match=r"step: b: expected an action of .*, found 9"):
        env.step({"a": np.int64(0), "b": 9, "c": 0})


def test_without_pettingzoo_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module imports; the class says what is missing."""
    load = builtins.__import__

    def without(name: str, *rest: Any, **options: Any) -> Any:
        if name.split(".")[0] == "pettingzoo":
            raise ImportError(name)
        return load(name, *rest, **options)

    monkeypatch.delitem(sys.modules, "archwright.search.multi_agent", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    module = importlib.import_module("archwright.search.multi_agent")
    with pytest.raises(MissingExtraError, match=r"pip install 'archwright\[rl\]'"):
        module.DesignParallelEnv(ToyEnvironment(space=SPACE), COST)
    monkeypatch.undo()
    sys.modules.pop("archwright.search.multi_agent", None)
