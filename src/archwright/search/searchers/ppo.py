"""Proximal policy optimization (Schulman et al. 2017): the policy of Stable-Baselines3."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import MissingExtraError
from archwright.search.goal import Scores, by_standing, ranks, standing
from archwright.search.searcher import Trials, isolated_rng
from archwright.search.searchers.bases import Generations, Replayed, SingleLoss, taken
from archwright.search.searchers.limits import share, unit_cube, whole
from archwright.search.space import ParameterSpace

__all__ = ["PPO"]

_MOST = 256  # values of one parameter that each have their own logit
Floats = npt.NDArray[np.float64]


class PPO(Replayed, SingleLoss, Generations):
    """Learn a policy that draws whole designs: episodes of one step, without a state.

    A space of parameters of at most 256 values gets one categorical a parameter, any other a
    normal over the unit cube. The policy, its rollout buffer and its update are those of
    Stable-Baselines3; the asks are ours. The reward is the rank of a design within its rollout,
    from 1 for the best to -1, so that no scale of the loss needs tuning; feasible designs rank
    first.

    Args:
        rollout: designs between two updates.
        epochs: passes over a rollout.
        learning_rate: of the optimizer.
        entropy: weight of the entropy bonus.
        clip: range of the probability ratio.

    Source: Schulman et al.: Proximal Policy Optimization Algorithms, 2017; Raffin et al.:
    Stable-Baselines3, JMLR 2021.
    """

    name = "ppo"

    def __init__(
        self,
        *,
        rollout: int = 30,
        epochs: int = 20,
        learning_rate: float = 0.01,
        entropy: float = 0.01,
        clip: float = 0.2,
    ) -> None:
        self.rollout = whole("rollout", rollout, 2)
        self.epochs = whole("epochs", epochs, 1)
        self.learning_rate = share("learning_rate", learning_rate, above=True)
        self.entropy = share("entropy", entropy)
        self.clip = share("clip", clip, above=True)

    def _begin(self) -> None:
        try:
            import torch
            from gymnasium import Env, spaces
            from stable_baselines3 import PPO as Library  # noqa: N811
            from stable_baselines3.common.logger import Logger
        except ImportError as error:
            raise MissingExtraError("the searcher ppo", "rl") from error
        self._torch = torch
        self._cube = unit_cube(self.name, self._space)
        self._counts = _counts(self._cube)
        actions = (
            spaces.Box(-1.0, 1.0, (self._cube.width,))
            if self._counts is None
            else spaces.MultiDiscrete(self._counts)
        )
        none = np.zeros(1, dtype=np.float32)

        class OneStep(Env):  # type: ignore[misc]
            """Only the shapes: the policy is asked for actions, never stepped."""

            observation_space = spaces.Box(0.0, 1.0, (1,))
            action_space = actions

            def reset(self, **_: Any) -> Any:
                return none, {}

            def step(self, action: Any) -> Any:
                raise AssertionError(action)

        self._entries = 0  # how often the library has run
        self._seed = int(self._rng.integers(2**31))
        with self._own_randomness():
            self._library = Library(
                "MlpPolicy",
                OneStep(),
                n_steps=self.rollout,
                batch_size=self.rollout,
                n_epochs=self.epochs,
                learning_rate=self.learning_rate,
                ent_coef=self.entropy,
                clip_range=self.clip,
                gamma=1.0,
                gae_lambda=1.0,
                policy_kwargs={"net_arch": [32, 32]},
                device="cpu",
                seed=self._seed,
            )
            self._library.set_logger(Logger(folder=None, output_formats=[]))
        self._clear()

    @property
    def preferred_block(self) -> int:  # type: ignore[override]
        """Designs to ask together: a rollout."""
        return self.rollout

    @property
    def preferred_window(self) -> int:  # type: ignore[override]
        """Designs in flight."""
        return self.rollout

    def learn(self, trials: Trials) -> None:
        """Learn from the best of trials known beforehand as from a rollout."""
        if not len(trials):
            return
        torch = self._torch
        best = np.resize(
            by_standing(standing(trials.scores)), self.rollout
        )  # all, again and again
        unit = self._cube.encode(trials.designs.take(best))
        if self._counts is None:
            actions = torch.as_tensor(unit * 2.0 - 1.0, dtype=torch.float32)
        else:
            actions = torch.as_tensor(np.floor(unit * self._counts).astype(np.int64))
        seen = torch.zeros(self.rollout, 1)
        with self._own_randomness(), torch.no_grad():
            values, logs, _ = self._library.policy.evaluate_actions(seen, actions)
        self._actions, self._values, self._logs = actions, values, logs
        self._learn(None, taken(trials.scores, best))

    def _breed(self) -> Any:
        torch = self._torch
        seen = np.zeros((self.rollout, 1), dtype=np.float32)
        with self._own_randomness(), torch.no_grad():
            actions, values, logs = self._library.policy(torch.as_tensor(seen))
        self._actions, self._values, self._logs = actions, values, logs
        drawn = actions.numpy().astype(np.float64)
        unit = (
            (np.clip(drawn, -1.0, 1.0) + 1.0) / 2
            if self._counts is None
            else (drawn + 0.5) / self._counts
        )
        return self._cube.decode(unit)

    def _learn(self, designs: Any, scores: Scores) -> None:
        del designs
        reward = ranks(standing(scores))
        torch, library = self._torch, self._library
        with self._own_randomness():
            buffer = library.rollout_buffer
            buffer.reset()
            for i in range(self.rollout):
                buffer.add(
                    np.zeros((1, 1), dtype=np.float32),
                    self._actions[i : i + 1].numpy(),
                    reward[i : i + 1],
                    np.ones(1),
                    self._values[i],
                    self._logs[i : i + 1],
                )
            buffer.compute_returns_and_advantage(last_values=torch.zeros(1, 1), dones=np.ones(1))
            library.train()

    @contextlib.contextmanager
    def _own_randomness(self) -> Iterator[None]:
        """Keep the library's global seeds and threads from the caller's."""
        torch = self._torch
        threads = torch.get_num_threads()
        self._entries += 1
        seed = (self._seed + 7919 * self._entries) % 2**31
        with isolated_rng(seed), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            torch.set_num_threads(1)
            try:
                yield
            finally:
                torch.set_num_threads(threads)


def _counts(cube: Any) -> npt.NDArray[np.int64] | None:
    """Return the number of values of each parameter, None where one has no short list."""
    if not isinstance(cube, ParameterSpace):
        return None
    items = list(cube.parameters.values())
    if any(item.even is None or item.size > _MOST for item in items):
        return None
    return np.array([int(item.size) for item in items], dtype=np.int64)
