"""Tree-structured Parzen estimator (Bergstra et al. 2011), the sampler of Optuna."""

from __future__ import annotations

import contextlib
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from archwright.errors import MissingExtraError, SpecificationError
from archwright.search.expression import Expression
from archwright.search.goal import Objectives
from archwright.search.parameters import Choice, Integer, Ordinal, Permutation, Real
from archwright.search.searcher import Trials
from archwright.search.searchers.bases import Replayed
from archwright.search.searchers.limits import whole
from archwright.search.searchers.memory import Memory
from archwright.search.space import ParameterSpace, Space

__all__ = ["TPE"]

_TRIES = 8  # suggestions that repeat a design before one is drawn at random


class TPE(Replayed):
    """Model good and bad designs apart, parameter by parameter, and ask where good ones are dense.

    Takes several losses, constraints and conditional parameters. The parameters under one
    condition are modeled together. A few milliseconds a design, so it suits environments that
    take longer.

    Args:
        startup: random designs at the beginning.
        candidates: points compared for each suggestion.

    Source: Bergstra, Bardenet, Bengio, Kégl: Algorithms for Hyper-Parameter Optimization, NeurIPS
    2011; Optuna (Akiba et al. 2019).
    """

    name = "tpe"

    def __init__(self, *, startup: int = 20, candidates: int = 24) -> None:
        self.startup = whole("startup", startup, 1)
        self.candidates = whole("candidates", candidates, 1)

    def start(
        self,
        space: Space,
        objectives: Objectives,
        *,
        seed: int,
        capabilities: Mapping[str, Any],
    ) -> None:
        """Begin.

        Raises:
            MissingExtraError: Optuna is not installed.
            SpecificationError: the space has no named parameters.
        """
        del capabilities
        try:
            import optuna
        except ImportError as error:
            raise MissingExtraError("the searcher tpe", "optuna") from error
        if not isinstance(space, ParameterSpace):
            raise SpecificationError(
                f"tpe needs named parameters, {space!r} has none; use random, local, annealing or "
                "regularized_evolution"
            )
        self._optuna, self._space = optuna, space
        self._rng = np.random.default_rng(seed)
        self._memory = Memory(space)
        self._order = _conditions(space)
        self._flight: deque[Any] = deque()
        with _quiet(optuna):
            sampler = optuna.samplers.TPESampler(
                seed=seed % 2**32,
                n_startup_trials=self.startup,
                n_ei_candidates=self.candidates,
                multivariate=True,
                group=any(rule is not None for _, rule in self._order),
                constant_liar=True,
                constraints_func=lambda trial: trial.user_attrs["violations"],
            )
            self._study = optuna.create_study(
                directions=["minimize"] * len(objectives.losses), sampler=sampler
            )

    def ask(self, n: int) -> Any:
        """Return n suggestions; it never waits."""
        with _quiet(self._optuna):
            return self._space.concatenate([self._suggest() for _ in range(n)])

    def tell(self, trials: Trials) -> None:
        """Take losses and violations; a design without losses counts as failed."""
        losses, violations = trials.scores.losses, trials.scores.violations
        failed = self._optuna.trial.TrialState.FAIL
        with _quiet(self._optuna):
            for i in range(len(trials)):
                trial = self._flight.popleft()
                far = np.nan_to_num(violations[i], nan=1e9).tolist()
                trial.set_user_attr("violations", far)
                known = np.isfinite(losses[i]).all()
                if known:
                    self._study.tell(trial, losses[i].tolist())
                elif not trials.scores.feasible[i]:
                    # constraints alone rank it; the losses are not compared
                    self._study.tell(trial, [float(np.finfo(np.float32).max)] * losses.shape[1])
                else:
                    self._study.tell(trial, state=failed)

    def step(self) -> bool:
        """There is no work of its own."""
        return False

    def _suggest(self) -> Any:
        failed = self._optuna.trial.TrialState.FAIL
        for attempt in range(_TRIES + 1):
            if attempt == _TRIES:
                drawn = self._space.sample(self._rng, 1)[0]
                self._study.enqueue_trial(self._named(drawn))
            trial = self._study.ask()
            design = self._design(trial)
            if attempt == _TRIES or self._memory.new(design)[0]:
                break
            trial.set_user_attr("violations", [0.0])
            self._study.tell(trial, state=failed)
        self._memory.add(design)
        self._flight.append(trial)
        return design

    def _design(self, trial: Any) -> Any:
        """Suggest the parameters in the order of their conditions."""
        values: dict[str, Any] = dict.fromkeys(self._space.names)
        for name, rule in self._order:
            if rule is None or _holds(rule, values):
                values[name] = _suggested(trial, name, self._space.parameters[name])
        design = self._space.design(values)
        return self._space.repair(design) if self._space.require else design

    def _named(self, design: Mapping[str, Any]) -> dict[str, Any]:
        """Return a design as Optuna's parameters: indices, and positions of a permutation."""
        found: dict[str, Any] = {}
        for name, value in design.items():
            item = self._space.parameters[name]
            if value is None and item.when is not None:
                continue
            if isinstance(item, (Choice, Ordinal)):
                found[name] = int(item.codes([value])[0, 0])
            elif isinstance(item, Permutation):
                unit = item.to_unit(item.codes([value]))[0]
                found |= {f"{name}.{i}": float(u) for i, u in enumerate(unit)}
            else:
                found[name] = value
        return found


def _suggested(trial: Any, name: str, item: Any) -> Any:
    if isinstance(item, Choice):
        return item.options[trial.suggest_categorical(name, range(len(item.options)))]
    if isinstance(item, Ordinal):
        return item.options[trial.suggest_int(name, 0, len(item.options) - 1)]
    if isinstance(item, Integer):
        high = item.low + (item.high - item.low) // item.step * item.step
        return trial.suggest_int(name, item.low, high, step=item.step, log=item.log)
    if isinstance(item, Real):
        return trial.suggest_float(name, item.low, item.high, log=item.log)
    unit = [[trial.suggest_float(f"{name}.{i}", 0.0, 1.0) for i in range(item.width)]]
    return item.values(item.from_unit(np.array(unit)))[0]


def _conditions(space: ParameterSpace) -> list[tuple[str, Expression | None]]:
    """Return parameters and conditions, each parameter after those that its condition names."""
    waiting = {
        name: None if item.when is None else Expression(item.when)
        for name, item in space.parameters.items()
    }
    ordered: list[tuple[str, Expression | None]] = []
    while waiting:
        ready = [
            n for n, rule in waiting.items() if rule is None or not set(rule.names) & set(waiting)
        ]
        ordered += [(name, waiting.pop(name)) for name in ready]
    return ordered


def _holds(rule: Expression, values: Mapping[str, Any]) -> bool:
    """Say whether a condition holds; one that names an inactive parameter does not."""
    columns = {name: np.array([values[name]]) for name in rule.names}
    if any(values[name] is None for name in rule.names):
        return False
    return bool(np.asarray(rule(columns)).reshape(-1)[0])


@contextlib.contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Keep Optuna's log lines and its warnings of experimental options to itself."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
