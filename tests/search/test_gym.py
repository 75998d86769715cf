"""Environments as Gymnasium environments: the checker, seeds, and the rewards of a study."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from archwright.errors import EnvironmentFault, SpecificationError
from archwright.search import (
    Budget,
    Choice,
    Goal,
    Integer,
    Ordinal,
    ParameterSpace,
    Permutation,
    RandomSearch,
    Real,
    Study,
)
from archwright.testing import ToyEnvironment, toy_environment

gymnasium = pytest.importorskip(
    "gymnasium", reason="Gymnasium is not installed: pip install 'archwright[rl]'"
)
from gymnasium.utils.env_checker import check_env  # noqa: E402

from archwright.search import gym as gym_module  # noqa: E402
from archwright.search.gym import DesignEnv, make_design_env, register_all  # noqa: E402

COST = Goal(minimize=["cost"])
LISTED = ParameterSpace(
    {
        "family": Choice(["dense", "moe"]),
        "experts": Ordinal([8, 16, 32, 64], when="family == 'moe'"),
        "heads": Integer(1, 16, log=True),
        "kv_heads": Integer(1, 16),
        "order": Permutation(3),
    },
    require=["heads % kv_heads == 0"],
)


def listed(**options: Any) -> ToyEnvironment:
    return ToyEnvironment(space=LISTED, **options)


def steps(env: Any, n: int, seed: int | None) -> list[tuple[Any, ...]]:
    """Play n designs, the same actions each time; a new episode where one ends."""
    rng = np.random.default_rng(7)
    env.reset(seed=seed)
    found = []
    for _ in range(n):
        if isinstance(env.action_space, gymnasium.spaces.Box):
            action = rng.random(env.action_space.shape).astype(np.float32)
        else:
            action = rng.integers(env.action_space.nvec)
        observation, reward, terminated, truncated, info = env.step(action)
        assert env.observation_space.contains(observation)
        found.append((observation.tolist(), reward, terminated, truncated, info))
        if terminated:
            env.reset()
    return found


# said of every space without bounds, and of every environment that no id stands for
@pytest.mark.filterwarnings("ignore:.*A Box observation space m.*imum value is")
@pytest.mark.filterwarnings("ignore:.*Not able to test alternative render modes")
@pytest.mark.parametrize("observation", ["metrics", "metrics and design"])
@pytest.mark.parametrize("horizon", [1, 5])
@pytest.mark.parametrize("environment", [listed(noise=0.1), toy_environment(limit=1.0)])
def test_the_checker_of_gymnasium_passes(environment: Any, horizon: int, observation: Any) -> None:
    """Both kinds of action, with noise, conditions, limits between parameters, and refusals."""
    check_env(DesignEnv(environment, COST, horizon=horizon, observation=observation))


@pytest.mark.filterwarnings("ignore:.*A Box observation space m.*imum value is")
def test_an_id_is_made_and_passes_the_checker() -> None:
    """With its own space, and with other options and varied paths."""
    goal = Goal(minimize=["ttft_s"], subject_to=["power_w <= 20000"])
    env = gymnasium.make("archwright/LlmInfer-v0", goal=goal)
    check_env(env.unwrapped)
    assert env.action_space.nvec.tolist() == [4, 3, 2, 9]

    other = gymnasium.make(
        "archwright.search.gym:archwright/LlmInfer-v0",
        goal=goal,
        horizon=2,
        vary={"batch": {"low": 1, "high": 5000}},
    )
    assert other.action_space == gymnasium.spaces.Box(0.0, 1.0, (1,))
    assert other.unwrapped.horizon == 2
    with pytest.raises(SpecificationError, match="unknown environment 'llm/inferr'"):
        make_design_env("llm/inferr", goal)


def test_ids_name_every_environment_and_import_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is registered is imported when it is made; two names of one id are refused."""
    ids = register_all()
    assert ids["archwright/LlmInfer-v0"] == "llm/infer"
    assert ids["archwright/ServingFleet-v0"] == "serving/fleet"
    assert set(ids) <= set(gymnasium.registry)
    code = "import sys, archwright.search.gym; sys.exit('archwright.llm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

    monkeypatch.setattr(gym_module, "entries", lambda group: {"a/b-c": None, "a/b_c": None})
    with pytest.raises(SpecificationError, match="'a/b-c' and 'a/b_c' would both be archwright/"):
        register_all()


class Listed(RandomSearch):
    """Asks the designs of a list, in order."""

    def __init__(self, designs: list[Any]) -> None:
        self.designs, self.at = designs, 0

    def ask(self, n: int) -> Any:
        self.at += n
        columns = {
            name: [design[name] for design in self.designs[self.at - n : self.at]]
            for name in self._space.names
        }
        return self._space.from_columns(columns)


@pytest.mark.parametrize(
    "goal",
    [
        COST,
        Goal(minimize=["cost"], maximize=["time"], combine="weighted_sum", weights={"cost": 2.0}),
        Goal(minimize=["cost"], subject_to=["time <= 1.0"]),
    ],
)
@pytest.mark.parametrize("environment", [listed(noise=0.1), toy_environment(noise=0.1, limit=1.5)])
def test_rewards_are_the_losses_of_a_study(environment: Any, goal: Goal) -> None:
    """The same designs in a study of the same seed: seeds, metrics, losses, who is feasible."""
    env = DesignEnv(environment, goal, horizon=3, infeasible_reward=-50.0)
    played = steps(env, 32, seed=5)

    designs = [info["design"] for *_, info in played]
    table = (
        Study(environment, goal, Listed(designs), budget=Budget(evaluations=32), seed=5)
        .run()
        .table.to_pydict()
    )

    feasible = table["feasible"]
    assert sum(feasible) > 0 and (not goal.subject_to or not all(feasible))
    assert [info["seed"] for *_, info in played] == table["seed"]
    assert [info["feasible"] for *_, info in played] == feasible
    losses = table[f"loss.{goal.objectives.losses[0]}"]
    expected = [-x if ok else -50.0 for x, ok in zip(losses, feasible, strict=True)]
    assert [reward for _, reward, *_ in played] == expected
    for (*_, info), row_reason, ok in zip(played, table["reason"], feasible, strict=True):
        assert (info["reason"] is None) == ok
        assert row_reason is None or info["reason"].startswith(row_reason)
    for i, (observation, *_) in enumerate(played):
        seen = [float(feasible[i]), table["metric.cost"][i], table["metric.time"][i]]
        assert observation == np.nan_to_num(np.array(seen, dtype=np.float32)).tolist()


@pytest.mark.parametrize("environment", [listed(noise=0.1), toy_environment(noise=0.1)])
def test_a_seed_fixes_every_step(environment: Any) -> None:
    """The same seed, the same steps over all episodes; another seed, another noise."""
    first = steps(DesignEnv(environment, COST, horizon=4), 12, seed=3)

    assert steps(DesignEnv(environment, COST, horizon=4), 12, seed=3) == first
    assert len({info["seed"] for *_, info in first}) == 12
    env = DesignEnv(environment, COST, horizon=4)
    assert steps(env, 12, seed=4) != first
    assert steps(env, 12, seed=3) == first
    assert steps(env, 12, seed=None) != first  # a reset without a seed goes on
    fresh, other = (steps(DesignEnv(environment, COST), 3, seed=None) for _ in range(2))
    assert fresh != other


def test_a_vector_environment_joins_what_its_parts_tell() -> None:
    """Inactive values, reasons and 64-bit seeds survive the merge of Gymnasium."""
    vector = gymnasium.vector.SyncVectorEnv(
        [lambda: DesignEnv(listed(noise=0.1, limit=2.0), COST, horizon=4)] * 3
    )
    vector.reset(seed=1)
    vector.action_space.seed(0)
    told = [vector.step(vector.action_space.sample())[4] for _ in range(12)]
    known = [info for info in told if "seed" in info]
    experts = {design["experts"] for info in known for design in info["design"]}
    reasons = {reason for info in known for reason in info["reason"]}

    assert experts == {None, 8, 16, 32, 64}
    assert reasons == {None, "the cost is above 2.0"}
    assert len({int(seed) for info in known for seed in info["seed"]}) == 3 * len(known)


def test_actions_are_designs() -> None:
    """Indices give the values in their order; every design of the space has an action."""
    space = ParameterSpace(
        {"family": Choice(["dense", "moe"]), "experts": Ordinal([8, 64], when="family == 'moe'"),
         "heads": Integer(2, 6, step=2)}
    )  # fmt: skip
    env = DesignEnv(ToyEnvironment(space=space), COST)
    assert env.action_space.nvec.tolist() == [2, 2, 3]
    assert dict(env.designs([1, 1, 2])[0]) == {"family": "moe", "experts": 64, "heads": 6}
    assert dict(env.designs([0, 1, 0])[0]) == {"family": "dense", "experts": None, "heads": 2}
    reached = {
        space.keys(env.designs(np.array(action)))[0] for action in np.ndindex(2, 2, 3)
    }  # fmt: skip
    assert len(reached) == space.size == 9

    cube = ParameterSpace({"many": Integer(0, 1024), "ratio": Real(0.1, 0.9)})
    box = DesignEnv(ToyEnvironment(space=cube), COST, observation="metrics and design")
    assert box.action_space == gymnasium.spaces.Box(0.0, 1.0, (2,))
    sampled = cube.sample(np.random.default_rng(0), 20)
    for i, unit in enumerate(cube.encode(sampled)):
        assert cube.keys(box.designs(unit)) == cube.keys(sampled.take([i]))
    assert box.names == ("feasible", "cost", "time", "design.0", "design.1")
    few = ParameterSpace({"few": Integer(0, 1023)})
    assert DesignEnv(ToyEnvironment(space=few), COST).action_space.nvec.tolist() == [1024]


def test_an_episode_has_horizon_designs() -> None:
    """Then it is terminated, and a step before the next reset is refused."""
    env = DesignEnv(listed(), COST, horizon=2)
    action = np.zeros(5, dtype=np.int64)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(action)
    env.reset(seed=0)

    assert [env.step(action)[2] for _ in range(2)] == [False, True]
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(action)


def test_a_reward_below_that_of_the_infeasible_is_told() -> None:
    """Else a policy would learn to be infeasible, and nobody would know."""
    env = DesignEnv(listed(), COST, infeasible_reward=0.0)
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="no better than infeasible_reward = 0; lower that"):
        env.step(np.array([1, 3, 15, 0, 0]))


class Unknowing(ToyEnvironment):
    """Does not know the cost."""

    def evaluate(self, designs: Any, **options: Any) -> Any:
        found = super().evaluate(designs, **options)
        found.metrics["cost"][:] = np.nan
        return found


class Broken(ToyEnvironment):
    """Raises."""

    def evaluate(self, designs: Any, **options: Any) -> Any:
        raise ZeroDivisionError("no cores")


def test_unknown_losses_are_worst_and_faults_are_faults() -> None:
    """A metric that is unknown gives the infeasible reward; a broken environment raises."""
    env = DesignEnv(Unknowing(space=LISTED), COST)
    env.reset(seed=0)
    observation, reward, _, _, info = env.step(np.array([0, 0, 0, 0, 0]))
    assert (reward, info["reason"], observation[1]) == (-1000.0, "cost is unknown", 0.0)

    env = DesignEnv(Broken(space=LISTED), COST)
    env.reset(seed=0)
    with pytest.raises(EnvironmentFault, match="crashed in trial 0: ZeroDivisionError"):
        env.step(np.array([0, 0, 0, 0, 0]))


@pytest.mark.parametrize(
    ("goal", "options", "message"),
    [
        (Goal(minimize=["cost", "time"]), {}, "found the losses cost, time; join them"),
        (Goal(minimize=["coast"]), {}, r"unknown metric 'coast' \(nearest: 'cost'\)"),
        (COST, {"horizon": 0}, "horizon: expected at least 1, found 0"),
        (COST, {"observation": "metric"}, r"unknown kind 'metric' \(nearest: 'metrics'\)"),
        (COST, {"infeasible_reward": float("nan")}, "infeasible_reward: expected a number"),
    ],
)
def test_what_does_not_fit_is_refused(goal: Goal, options: Any, message: str) -> None:
    """One line that names what was expected."""
    with pytest.raises(SpecificationError, match=message):
        DesignEnv(listed(), goal, **options)


@pytest.mark.parametrize("action", [[2, 0, 0, 0, 0], [0, 0], [0.5] * 5, [0, 0, 0, -1, 0]])
def test_an_action_outside_its_space_is_refused(action: Any) -> None:
    """No clamping: neither of indices nor of points of the unit cube."""
    env = DesignEnv(listed(), COST)
    env.reset(seed=0)
    with pytest.raises(SpecificationError, match=r"action: .* is not in MultiDiscrete"):
        env.step(action)
    box = DesignEnv(toy_environment(), COST)
    box.reset(seed=0)
    for point in ([0.5] * 4, [0.5, 0.5, 0.5, 0.5, 1.1], [float("nan")] * 5):
        with pytest.raises(SpecificationError, match=r"action: .* is not in Box"):
            box.step(point)


def test_without_gymnasium_the_extra_is_named() -> None:
    """The message has the install command."""
    code = "import sys; sys.modules['gymnasium'] = None; import archwright.search.gym"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "MissingExtraError" in done.stderr
    assert "pip install 'archwright[rl]'" in done.stderr
