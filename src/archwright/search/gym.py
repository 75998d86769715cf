"""Any environment and goal as a Gymnasium environment (extra ``rl``).

Importing this module registers an id for every environment of the registry:

>>> import gymnasium
>>> from archwright.search import Goal
>>> import archwright.search.gym
>>> env = gymnasium.make("archwright/LlmInfer-v0", goal=Goal(minimize=["ttft_s"]))
>>> env.action_space
MultiDiscrete([4 3 2 9])
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from archwright.errors import MissingExtraError, SpecificationError, unknown
from archwright.registry import entries, resolve
from archwright.search.environments import Environment, make_environment
from archwright.search.goal import Goal
from archwright.search.reward import INFEASIBLE_REWARD, judge
from archwright.search.space import ParameterSpace

try:
    import gymnasium
    from gymnasium import spaces
except ImportError as error:
    raise MissingExtraError("archwright.search.gym", "rl") from error

__all__ = ["DesignEnv", "gym_id", "make_design_env", "register_all"]

Observation = Literal["metrics", "metrics and design"]
Floats = npt.NDArray[np.float32]

_MOST_VALUES = 1024  # of a parameter that is an action of its own


class DesignEnv(gymnasium.Env[Floats, Any]):  # type: ignore[misc]
    """A Gymnasium environment: an action is a design, the reward the negative of its loss.

    *Action.* Where every parameter has at most 1,024 values, one index a parameter
    (``MultiDiscrete``, values in their order); else a point of the unit cube (``Box``), which
    ``space.decode`` rounds to a design. An action that breaks ``require`` stands for a near design
    that meets it, and what it says of inactive parameters is ignored: ``info["design"]`` is the
    design that was measured.

    *Observation.* Of the last design: 1 where it was feasible, else 0, then its metrics in their
    units (0 where unknown; ``gymnasium.wrappers.NormalizeObservation`` scales them), then, with
    ``observation="metrics and design"``, its point of the unit cube. All 0 after a reset.

    *Reward.* The negative of the goal's one loss; ``infeasible_reward`` where the environment or
    a limit of the goal refuses the design, or a metric of the goal is unknown.

    *Seeds.* Steps are numbered from ``reset(seed=...)`` on, over all episodes; step t is measured
    under the seed that trial t of a study with that seed has.

    >>> from archwright.search import Goal
    >>> from archwright.testing import toy_environment
    >>> env = DesignEnv(toy_environment(), Goal(minimize=["cost"]))
    >>> observation, info = env.reset(seed=0)
    >>> observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    >>> reward == -info["metrics"]["cost"], terminated, info["feasible"]
    (True, True, True)

    Args:
        environment: what measures designs, at its truest fidelity.
        goal: one loss: one metric, or several that ``combine`` joins.
        horizon: designs an episode; after the last it is terminated.
        observation: what is seen of the last design.
        infeasible_reward: must lie below the reward of every feasible design; a warning tells
            where it does not.

    Attributes:
        names: names of the numbers of an observation.

    Raises:
        SpecificationError: a goal of several losses, or a space without an encoding.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - Gymnasium's attribute

    def __init__(
        self,
        environment: Environment,
        goal: Goal,
        *,
        horizon: int = 1,
        observation: Observation = "metrics",
        infeasible_reward: float = INFEASIBLE_REWARD,
    ) -> None:
        goal.check(environment.metrics)
        losses = goal.objectives.losses
        if len(losses) != 1:
            raise SpecificationError(
                f"goal: a reward is one number, found the losses {', '.join(losses)}; join them "
                "with combine = 'weighted_sum', 'weighted_product', 'chebyshev' or 'target'"
            )
        if isinstance(horizon, bool) or not isinstance(horizon, int) or horizon < 1:
            raise SpecificationError(f"horizon: expected at least 1, found {horizon!r}")
        if observation not in get_args(Observation):
            raise SpecificationError(
                f"observation: {unknown('kind', observation, get_args(Observation))}"
            )
        if not np.isfinite(infeasible_reward):
            raise SpecificationError(
                f"infeasible_reward: expected a number, found {infeasible_reward!r}"
            )
        self.environment = environment
        self.goal = goal
        self.horizon = horizon
        self.infeasible_reward = float(infeasible_reward)
        self._space = _encodable(environment.space)
        self._levels = _levels(self._space)
        self.action_space = _action_space(self._levels, self._space.width)
        self._with_design = observation == "metrics and design"
        metrics = tuple(metric.name for metric in environment.metrics)
        width = self._space.width if self._with_design else 0
        self.names = ("feasible", *metrics, *(f"design.{i}" for i in range(width)))
        low = np.array([0.0] + [-np.inf] * len(metrics) + [0.0] * width, dtype=np.float32)
        high = np.array([1.0] + [np.inf] * len(metrics) + [1.0] * width, dtype=np.float32)
        self.observation_space = spaces.Box(low, high, dtype=np.float32)
        self._seed: int | None = None
        self._trial = 0
        self._left = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """Begin an episode; a seed numbers the steps from 0 again."""
        super().reset(seed=seed)
        if options:
            raise SpecificationError(f"options: a design environment has none, found {options!r}")
        if seed is not None or self._seed is None:
            self._seed, self._trial = self.np_random_seed, 0
        self._left = self.horizon
        return np.zeros(len(self.names), dtype=np.float32), {}

    def step(self, action: Any) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """Measure one design.

        Returns:
            Observation, reward, terminated, truncated (never), and what was measured: ``design``,
            ``metrics``, ``feasible``, ``reason`` and ``seed``.

        Raises:
            EnvironmentFault: the environment is broken.
        """
        if self._seed is None or self._left == 0:
            raise gymnasium.error.ResetNeeded("call reset before the first step of an episode")
        designs = self.designs(action)
        found = judge(
            self.environment,
            self.goal,
            designs,
            trial=self._trial,
            seed=self._seed,
            infeasible_reward=self.infeasible_reward,
        )
        self._trial += 1
        self._left -= 1
        seen = [float(found.feasible)] + [
            0.0 if np.isnan(found.metrics[metric.name]) else found.metrics[metric.name]
            for metric in self.environment.metrics
        ]
        if self._with_design:
            seen += self._space.encode(designs)[0].tolist()
        info = {
            "design": designs[0],  # no dict: vector environments cannot merge those with a None
            "metrics": found.metrics,
            "feasible": found.feasible,
            "reason": found.reason,
            "seed": found.seed,
        }
        return np.array(seen, dtype=np.float32), found.reward, self._left == 0, False, info

    def designs(self, action: Any) -> Any:
        """Return the design of an action, a batch of one.

        Raises:
            SpecificationError: the action is not in the action space.
        """
        given = np.asarray(action)
        if self._levels is None:
            legal = given.shape == (self._space.width,) and bool(
                ((given >= 0) & (given <= 1)).all()
            )
        else:
            legal = self.action_space.contains(given)
        if not legal:
            raise SpecificationError(f"action: {action!r} is not in {self.action_space}")
        if self._levels is not None:
            chosen = [level[index] for level, index in zip(self._levels, given, strict=True)]
            given = np.concatenate(chosen)
        return self._space.decode(given.astype(np.float64)[None, :])


def _encodable(space: Any) -> Any:
    """Return the space; refuse one that does not map to the unit cube."""
    for name in ("encode", "decode", "width"):
        if not hasattr(space, name):
            raise SpecificationError(
                f"environment: a {type(space).__name__} has no {name!r}; an action needs a space "
                "that maps to the unit cube"
            )
    return space


def _levels(space: Any) -> list[npt.NDArray[np.float64]] | None:
    """Return the unit-cube rows of each parameter's values; None where one has too many."""
    if not isinstance(space, ParameterSpace):
        return None
    items = list(space.parameters.values())
    if any(item.size > _MOST_VALUES for item in items):
        return None
    return [item.to_unit(item.enumerate()) for item in items]


def _action_space(
    levels: list[npt.NDArray[np.float64]] | None, width: int
) -> spaces.MultiDiscrete | spaces.Box:
    if levels is None:
        return spaces.Box(0.0, 1.0, (width,), dtype=np.float32)
    return spaces.MultiDiscrete([len(level) for level in levels])


def gym_id(name: str) -> str:
    """Return the Gymnasium id of a registered environment.

    >>> gym_id("serving/fleet"), gym_id("llm/infer")
    ('archwright/ServingFleet-v0', 'archwright/LlmInfer-v0')
    """
    words = re.split(r"[^0-9A-Za-z]+", name)
    return f"archwright/{''.join(word[:1].upper() + word[1:] for word in words)}-v0"


def make_design_env(
    name: str,
    goal: Goal,
    *,
    environment: Mapping[str, Any] | None = None,
    vary: Mapping[str, Any] | None = None,
    folder: Path | str = ".",
    **options: Any,
) -> DesignEnv:
    """Build the Gymnasium environment of a registered environment; behind every id.

    >>> from archwright.search import Goal
    >>> env = make_design_env("llm/infer", Goal(minimize=["ttft_s"]), horizon=8)
    >>> env.horizon
    8

    Args:
        name: name of the environment, such as ``llm/infer``.
        goal: one loss.
        environment: the other keys of a study file's ``[environment]`` table.
        vary: dotted path to parameter, as in its ``vary`` table.
        folder: what paths in ``environment`` are relative to.
        options: options of :class:`DesignEnv`.

    Raises:
        SpecificationError: an unknown name, or an option that the environment does not take.
    """
    made = make_environment(
        resolve("environments", name),
        dict(environment or {}),
        vary=dict(vary or {}),
        folder=Path(folder),
        name=name,
    )
    return DesignEnv(made, goal, **options)


def register_all() -> dict[str, str]:
    """Register an id for every registered environment; return id to name.

    Nothing is imported before :func:`gymnasium.make`. Importing this module has called it.

    >>> register_all()["archwright/LlmInfer-v0"]
    'llm/infer'

    Raises:
        SpecificationError: two environments would have one id.
    """
    ids: dict[str, str] = {}
    for name in entries("environments"):
        key = gym_id(name)
        if key in ids:
            raise SpecificationError(
                f"the environments {ids[key]!r} and {name!r} would both be {key}; rename one"
            )
        ids[key] = name
        if key not in gymnasium.registry:
            gymnasium.register(
                key, entry_point=f"{__name__}:make_design_env", kwargs={"name": name}
            )
    return ids


register_all()
