"""The reproduction of multi-agent RL for design spaces: exact problems, rules that can fail."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from archwright.cli import main
from archwright.memory.dram.environment import dram_controller
from archwright.papers import marl_dse, paper
from archwright.papers import marl_dse_problems as suite
from archwright.search import RandomSearch
from archwright.search.searchers.many_agents import ManyAgents

TINY = dataclasses.replace(
    marl_dse._SCALES["quick"],
    learning_rates=(0.1,), tuning_seeds=1, calls=60, seeds=2, requests=100, untuned_calls=640,
    sweep=60,
)  # fmt: skip


@pytest.mark.parametrize("problem", [suite.separable, suite.with_xor])
def test_the_optimum_of_each_problem_is_exact(problem: Any) -> None:
    """Against all 442,368 designs."""
    reward, top = problem(np.random.default_rng(5))
    best = max(float(reward(part).max()) for part in suite.space().enumerate(65_536))
    assert best == pytest.approx(top, abs=1e-12)


def test_a_random_reward_is_not_separable_once_a_xor_is_planted() -> None:
    """Exchanging two values of one parameter changes a separable reward by the same everywhere."""
    space = suite.space()
    designs = space.sample(np.random.default_rng(0), 200)
    arbiter = list(space.names).index("arbiter")
    swapped = designs.codes.copy()
    designs.codes[:, arbiter], swapped[:, arbiter] = 0, 1
    other = type(designs)(space, swapped)
    for problem, kinds in ((suite.separable, 1), (suite.with_xor, 2)):
        reward, _ = problem(np.random.default_rng(1))
        steps = np.round(reward(other) - reward(designs), 9)
        assert len(np.unique(steps)) == kinds


def test_learners_that_do_not_learn_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracles' rules can fail."""

    def idle(name: str, **options: Any) -> ManyAgents:
        made = ManyAgents(**marl_dse._LEARNERS[name], **options)
        made.learning_rate, made.batch, made.epochs = 1e-9, 500, 1
        return made

    monkeypatch.setattr(marl_dse, "_learner", idle)

    assert marl_dse.separable_oracle(TINY, 0).verdict == "does not hold"
    assert marl_dse.interaction_oracle(TINY, 0).verdict == "does not hold"


def cases(agents: float, normal: float, random: float) -> marl_dse._Cases:
    """Four cases in which each learner has one reward throughout."""
    each = {"agents": agents, "normal": normal, "factored": normal, "random": random}
    runs = {name: np.full((2, 3), value) for name, value in each.items()}
    return marl_dse._Cases(two_sided=True, rewards={f"case {i}": runs for i in range(4)})


@pytest.mark.parametrize(
    ("rewards", "best", "mean"),
    [
        ((3.0, 2.0, 1.0), "holds", "holds"),
        ((2.0, 2.0, 1.0), "holds", "does not hold"),
        ((1.9, 2.0, 1.0), "does not hold", "does not hold"),
        ((3.0, 2.0, 3.1), "holds", "holds"),
        ((3.0, 2.0, 3.2), "does not hold", "holds"),
    ],
)
def test_the_rules_of_the_comparison(
    rewards: tuple[float, float, float], best: str, mean: str
) -> None:
    """At least the single agent, and within 5 % of random search."""
    assert marl_dse._best(cases(*rewards), TINY).verdict == best
    assert marl_dse._mean(cases(*rewards), TINY).verdict == mean


def test_a_reward_is_looked_up_once_and_is_the_environments() -> None:
    """Whether a batch repeats designs or not."""
    space = suite.space()
    designs = space.sample(np.random.default_rng(0), 6).take([0, 1, 1, 2, 0])
    one_sided = suite.dram_reward("stream", "latency", 50, False)(designs)
    environment = dram_controller(workload="stream", requests=50, grid="rl")
    measured = environment.evaluate(designs, seeds=np.zeros(5, dtype=np.uint64)).metrics
    assert one_sided == pytest.approx(1.0 / measured["latency_s"])
    assert one_sided[0] == one_sided[4]


def test_repeats_count_as_calls() -> None:
    """A budget is of designs asked, whatever the method."""
    reward, _ = suite.separable(np.random.default_rng(0))
    for searcher in (RandomSearch(), ManyAgents(formulation="tdm"), ManyAgents(batch=24)):
        assert suite.rewards_of(searcher, reward, 101, 0).shape == (101,)


def test_the_pitfalls_hold_and_can_fail() -> None:
    """Three bins, and a learning rate that moves nothing."""
    assert marl_dse.rounded_actions(0).verdict == "holds"
    assert marl_dse.untuned_learning_rate(TINY, 0).verdict == "does not hold"  # 10 updates only


@pytest.mark.reproduce
def test_marl_dse_is_as_declared(capsys: pytest.CaptureFixture[str]) -> None:
    """Every verdict at quick size is the declared one."""
    assert paper("marl-dse").state == "works"
    assert main(["reproduce", "marl-dse", "--json"]) == 0
    rows = {row["id"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == [
        "separable-oracle", "interaction-oracle", "marl-beats-single", "marl-mean-reward",
        "marl-beats-single-one-sided", "independence", "untuned-learning-rate", "rounded-actions",
    ]  # fmt: skip
