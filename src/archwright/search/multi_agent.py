"""An environment and a goal as a parallel environment of PettingZoo: one agent a parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from archwright.errors import MissingExtraError, SpecificationError
from archwright.search.environments import Environment
from archwright.search.goal import Goal
from archwright.search.reward import INFEASIBLE_REWARD, judge
from archwright.search.searchers.formulations import partition, value_points

if TYPE_CHECKING:
    ParallelEnv = object
else:
    try:  # the base class is all that is needed on import
        from pettingzoo import ParallelEnv
    except ImportError:
        ParallelEnv = object

__all__ = ["DesignParallelEnv"]


class DesignParallelEnv(ParallelEnv):
    """Agents choose the values of a design together and share its reward.

    An episode has one step. Before it every agent sees zeros; after it, the metrics of the design
    (0 where unknown), for its own records: no action follows. The reward of all is the negative
    of the goal's loss, or ``infeasible_reward``. ``infos`` holds the design, whether it is
    feasible, and the reason if not.

    ::

        env = DesignParallelEnv(environment, Goal(minimize=["latency_s"]))
        env.reset(seed=0)
        actions = {agent: env.action_space(agent).sample() for agent in env.agents}
        observations, rewards, terminations, truncations, infos = env.step(actions)

    Args:
        environment: what measures designs; every parameter must be finite.
        goal: has a single loss.
        groups: parameters that share an agent, whose actions are their combinations; its name
            joins theirs with ``+``.
        infeasible_reward: reward of a design that is infeasible or unknown; must lie below that
            of every feasible one, and a warning tells where it does not.

    Raises:
        MissingExtraError: PettingZoo is not installed.
        SpecificationError: the space or the goal does not suit.
    """

    metadata: Mapping[str, Any] = {"name": "archwright_design_v0", "render_modes": []}
    render_mode = None

    def __init__(
        self,
        environment: Environment,
        goal: Goal,
        *,
        groups: Sequence[Sequence[str]] = (),
        infeasible_reward: float = INFEASIBLE_REWARD,
    ) -> None:
        if ParallelEnv is object:
            raise MissingExtraError("DesignParallelEnv", "rl")
        from gymnasium import spaces

        goal.check(environment.metrics)
        if len(goal.objectives.losses) != 1:
            raise SpecificationError(
                f"DesignParallelEnv takes one loss, the goal has {len(goal.objectives.losses)}; "
                "set combine"
            )
        self._units = value_points("DesignParallelEnv", environment.space)
        self.environment = environment
        self.goal = goal
        self.infeasible_reward = float(infeasible_reward)
        self._space: Any = environment.space
        self._sizes = [len(points) for points in self._units]
        names = self._space.names
        heads = partition(names, self._sizes, groups)
        self._heads = {"+".join(names[i] for i in head): head for head in heads}
        self.possible_agents = list(self._heads)
        self.agents: list[str] = []
        self._seed, self._episodes = 0, 0
        n = len(environment.metrics)
        self._seen = spaces.Box(-np.inf, np.inf, (n,), dtype=np.float64)
        self._actions = {
            agent: spaces.Discrete(int(np.prod([self._sizes[i] for i in head])))
            for agent, head in self._heads.items()
        }

    def observation_space(self, agent: str) -> Any:
        """Return the space of what an agent sees: the metrics of a design."""
        del agent
        return self._seen

    def action_space(self, agent: str) -> Any:
        """Return the space of an agent's actions: indices of the values, the last the fastest."""
        return self._actions[agent]

    def reset(
        self, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode; a seed begins the sequence of evaluation seeds anew."""
        del options
        if seed is not None:
            self._seed, self._episodes = seed, 0
        self.agents = list(self.possible_agents)
        nothing = np.zeros(len(self.environment.metrics))
        return {a: nothing.copy() for a in self.agents}, {a: {} for a in self.agents}

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Any]]:
        """Measure the design that the agents chose; the episode ends.

        Raises:
            SpecificationError: no episode has begun, or an agent gave no legal action.
            EnvironmentFault: the environment is broken.
        """
        if not self.agents:
            raise SpecificationError("step: no episode has begun; call reset")
        agents, self.agents = self.agents, []
        design = self._space.decode(self._point(actions)[None, :])
        found = judge(
            self.environment,
            self.goal,
            design,
            trial=self._episodes,
            seed=self._seed,
            infeasible_reward=self.infeasible_reward,
        )
        self._episodes += 1
        metrics = np.array([found.metrics[m.name] for m in self.environment.metrics])
        seen = np.nan_to_num(metrics.astype(np.float64))
        told = {"design": design[0].to_json(), "feasible": found.known, "reason": found.reason}
        return (
            {a: seen.copy() for a in agents},
            dict.fromkeys(agents, found.reward),
            dict.fromkeys(agents, True),
            dict.fromkeys(agents, False),
            {a: dict(told) for a in agents},
        )

    def render(self) -> None:
        """There is nothing to render."""

    def close(self) -> None:
        """There is nothing to close."""

    def _point(self, actions: Mapping[str, Any]) -> Any:
        unit: list[Any] = [None] * len(self._sizes)
        for agent, head in self._heads.items():
            action = actions.get(agent)
            if action is None or not self._actions[agent].contains(action):
                raise SpecificationError(
                    f"step: {agent}: expected an action of {self._actions[agent]}, found "
                    f"{action!r}"
                )
            parts = np.unravel_index(int(action), [self._sizes[i] for i in head])
            for i, part in zip(head, parts, strict=True):
                unit[i] = self._units[i][int(part)]
        return np.concatenate(unit)
