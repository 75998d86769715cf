"""Goals: what matters, turned into losses and violations that every searcher understands."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError, unknown
from archwright.search.environments import Measurements, Metric
from archwright.search.numbers import is_number, plain
from archwright.search.space.expression import CHANCE, Expression

__all__ = ["Goal", "Objectives", "Scores", "chance", "order", "ranks", "standing"]

Floats = npt.NDArray[np.float64]
Rule = Literal["weighted_sum", "weighted_product", "chebyshev", "target"]


@dataclass(frozen=True)
class Objectives:
    """Names of the losses and constraints a goal gives, in the order of their columns."""

    losses: tuple[str, ...]
    constraints: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of n designs.

    Attributes:
        losses: shape (n, k), all to be minimized; NaN where a metric is unknown.
        violations: shape (n, c), relative excess over each limit, 0 where it holds.
        feasible: n booleans: the environment and every constraint agree.
    """

    losses: Floats
    violations: Floats
    feasible: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.losses)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a study optimizes.

    >>> goal = Goal(minimize=["cost_usd_per_hour"], maximize=["quality"],
    ...             subject_to=["power_w <= 20000"])

    Args:
        minimize: metrics to minimize.
        maximize: metrics to maximize; their loss is the negative.
        subject_to: limits on designs, each one comparison. The violation is the excess over the
            limit relative to its size (absolute where the limit is 0).
        combine: join all metrics into one loss: ``weighted_sum`` of the losses;
            ``weighted_product`` of metrics to their weights (metrics must be positive; those to
            maximize divide); ``chebyshev``, the largest weighted distance to ``reference``;
            ``target``, the excess over ``targets`` relative to each target, summed.
        weights: metric to weight, 1 where absent.
        reference: metric to ideal value, for ``chebyshev``.
        targets: metric to target, for ``target``.
        two_sided: for ``target``: the product of |x − target| / target, the reciprocal of
            ArchGym's reward, which also punishes what is better than its target.
    """

    minimize: Sequence[str] = ()
    maximize: Sequence[str] = ()
    subject_to: Sequence[str] = ()
    combine: Rule | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    reference: Mapping[str, float] = field(default_factory=dict)
    targets: Mapping[str, float] = field(default_factory=dict)
    two_sided: bool = False

    def __post_init__(self) -> None:
        for name in ("minimize", "maximize", "subject_to"):
            value = getattr(self, name)
            texts = not isinstance(value, (str, Mapping)) and isinstance(value, Iterable)
            if not texts or not all(isinstance(item, str) for item in value):
                raise SpecificationError(
                    f"[goal].{name}: expected a list of texts, found {value!r}"
                )
            object.__setattr__(self, name, tuple(value))
        metrics = self.metrics
        if not metrics:
            raise SpecificationError("[goal]: nothing to minimize or maximize")
        for name in metrics:
            if metrics.count(name) > 1:
                raise SpecificationError(f"[goal]: {name!r} stands there twice")
        if self.combine is not None and self.combine not in get_args(Rule):
            raise SpecificationError(
                f"[goal].combine: {unknown('rule', self.combine, get_args(Rule))}"
            )
        if not isinstance(self.two_sided, bool):
            raise SpecificationError(
                f"[goal].two_sided: expected true or false, found {self.two_sided!r}"
            )
        for table in ("weights", "reference", "targets"):
            if not isinstance(getattr(self, table), Mapping):
                raise SpecificationError(
                    f"[goal].{table}: expected a table, found {getattr(self, table)!r}"
                )
            for name, value in getattr(self, table).items():
                if name not in metrics:
                    raise SpecificationError(f"[goal].{table}: {unknown('metric', name, metrics)}")
                if not is_number(value) or not math.isfinite(value):
                    raise SpecificationError(
                        f"[goal].{table}.{name}: expected a number, found {value!r}"
                    )
            table_of = getattr(self, table)
            object.__setattr__(self, table, {name: plain(v) for name, v in table_of.items()})
        needed = {"chebyshev": self.reference, "target": self.targets}.get(self.combine or "")
        if needed is not None:
            for name in metrics:
                if name not in needed:
                    raise SpecificationError(
                        f"[goal]: combine = {self.combine!r} needs a value for {name!r}"
                    )
        if self.combine == "target" and any(value == 0 for value in self.targets.values()):
            raise SpecificationError("[goal].targets: a target of 0 gives no relative distance")
        for text in self.subject_to:
            rule = Expression(text, where="[goal].subject_to")
            compared = rule.comparison()
            if compared is None or compared[1] == "==" or not rule.names:
                raise SpecificationError(
                    f"[goal].subject_to: {text!r} is no limit; write 'metric <= value' or "
                    "'metric >= value'"
                )

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics to minimize, then those to maximize."""
        return (*self.minimize, *self.maximize)

    @property
    def objectives(self) -> Objectives:
        """Names of the columns of losses and violations."""
        losses = (self.combine,) if self.combine is not None else self.metrics
        return Objectives(losses, ("environment", *self.subject_to))

    def check(self, metrics: Sequence[Metric]) -> None:
        """Refuse names that the environment does not measure.

        Raises:
            SpecificationError: the message names the nearest metric.
        """
        known = [metric.name for metric in metrics]
        for name in self.metrics:
            if name not in known:
                raise SpecificationError(f"[goal]: {unknown('metric', name, known)}")
        for text in self.subject_to:
            rule = Expression(text, where="[goal].subject_to")
            for name in rule.names:
                of = name.removeprefix(CHANCE)
                if name not in known and of != name and of in known and of not in self._limits:
                    raise SpecificationError(
                        f"[goal].subject_to: in {text!r}: nothing limits {of!r}, so there is no "
                        f"chance of it; add a limit, such as '{of} <= 1'"
                    )
            for name, least in self.chances():
                if not 0 <= least <= 1:
                    raise SpecificationError(
                        f"[goal].subject_to: chance({name}): expected a probability from 0 to 1, "
                        f"found {least:g}"
                    )
            rule.check_names([*known, *(f"{CHANCE}{name}" for name in self._limits)])

    @property
    def _limits(self) -> dict[str, tuple[str, float]]:
        """Metric to the bound that subject_to sets on it alone: (``<=`` or ``>=``, value)."""
        found: dict[str, tuple[str, float]] = {}
        for rule in self._rules:
            compared = rule.comparison()
            assert compared is not None
            left, symbol, right = compared
            if rule.names == (ast.unparse(left),) and not rule.names[0].startswith(CHANCE):
                found[rule.names[0]] = symbol[0] + "=", float(rule.side(right, {}))
            elif rule.names == (ast.unparse(right),):
                turned = ">=" if symbol[0] == "<" else "<="
                found[rule.names[0]] = turned, float(rule.side(left, {}))
        return found

    def chances(self) -> list[tuple[str, float]]:
        """Return (metric, least chance) of each line that asks a limit to hold with a chance.

        >>> Goal(minimize=["c"], subject_to=["p <= 1", "chance(p) >= 0.9"]).chances()
        [('p', 0.9)]
        """
        found = []
        for rule in self._rules:
            compared = rule.comparison()
            assert compared is not None
            left, symbol, right = compared
            (name,) = rule.names if len(rule.names) == 1 else ("",)
            if not name.startswith(CHANCE):
                continue
            turned = isinstance(left, ast.Constant)
            if symbol[0] == ("<" if turned else ">"):
                least = float(rule.side(left if turned else right, {}))
                found.append((name.removeprefix(CHANCE), least))
        return found

    def _columns(self, measurements: Measurements) -> dict[str, Floats]:
        """Return the metrics, and the chances that are asked of them."""
        columns = dict(measurements.metrics)
        for rule in self._rules:
            for name in rule.names:
                of = name.removeprefix(CHANCE)
                if name in columns or of == name:
                    continue
                if of not in measurements.low or of not in measurements.high:
                    raise SpecificationError(
                        f"[goal].subject_to: in {rule.text!r}: {of!r} has no interval, so its "
                        "chance is not known"
                    )
                symbol, limit = self._limits[of]
                below = chance(
                    measurements.metrics[of], measurements.low[of], measurements.high[of], limit
                )
                columns[name] = below if symbol == "<=" else 1.0 - below
        return columns

    def score(self, measurements: Measurements) -> Scores:
        """Return losses, violations and feasibility of measured designs."""
        n = len(measurements)
        # as floating-point numbers, for the negative of an unsigned one is a large positive one
        floats = {
            name: np.asarray(measurements.metrics[name], dtype=np.float64) for name in self.metrics
        }
        signed = np.column_stack(
            [floats[name] for name in self.minimize] + [-floats[name] for name in self.maximize]
        )
        losses = signed if self.combine is None else self._combined(signed)[:, None]
        measured = measurements.is_feasible
        violations = np.zeros((n, 1 + len(self.subject_to)))
        if not measured.all():
            far = measurements.violation
            known = np.full(n, np.nan) if far is None else far
            tiny = np.finfo(np.float64).tiny  # an infeasible design is never at distance 0
            violations[~measured, 0] = np.maximum(known[~measured], tiny)
        columns = self._columns(measurements)
        for i, rule in enumerate(self._rules, 1):
            violations[:, i] = _violation(rule, columns, n)
        if self.subject_to:
            if not measured.all():
                violations[~measured, 1:] = np.nan_to_num(violations[~measured, 1:], nan=0.0)
            with np.errstate(invalid="ignore"):
                feasible = measured & (violations[:, 1:] <= 0).all(axis=1)
        else:
            feasible = measured
        return Scores(losses=losses, violations=violations, feasible=feasible)

    @property
    def _rules(self) -> list[Expression]:
        rules = self.__dict__.get("_parsed")
        if rules is None:
            rules = [Expression(text, where="[goal].subject_to") for text in self.subject_to]
            object.__setattr__(self, "_parsed", rules)
        return rules

    def _combined(self, signed: Floats) -> Floats:
        weights = np.array([self.weights.get(name, 1.0) for name in self.metrics])
        signs = np.array([1.0] * len(self.minimize) + [-1.0] * len(self.maximize))
        if self.combine == "weighted_sum":
            return np.asarray(signed @ weights)
        if self.combine == "weighted_product":
            values = signed * signs
            with np.errstate(divide="ignore", invalid="ignore"):
                logs = np.where(values > 0, np.log(values), np.nan)
            return np.asarray(np.exp(logs @ (weights * signs)))
        if self.combine == "chebyshev":
            ideal = signs * np.array([self.reference[name] for name in self.metrics])
            return np.asarray((weights * (signed - ideal)).max(axis=1))
        targets = np.array([self.targets[name] for name in self.metrics])
        excess = (signed - signs * targets) / np.abs(targets)
        if self.two_sided:
            return np.asarray((np.abs(excess) ** weights).prod(axis=1))
        return np.asarray(np.maximum(excess, 0.0) @ weights)


def chance(value: Floats, low: Floats, high: Floats, limit: float) -> Floats:
    """Return the probability that each quantity is at most a limit, from its 90 % interval.

    On each side of the value the law is normal, or lognormal where both ends are positive.

    >>> chance(np.array([1.0, 1.0]), np.array([0.5, 0.5]), np.array([2.0, 1.0]), 2.0).round(3)
    array([0.95, 1.  ])

    Args:
        value: shape (n,), the middle.
        low: 5 % quantile.
        high: 95 % quantile.
        limit: what it should not be above.
    """
    from scipy.special import ndtr

    with np.errstate(divide="ignore", invalid="ignore"):
        logs = (low > 0) & (limit > 0)
        a, m, b = (np.where(logs, np.log(x), x) for x in (low, value, high))
        wanted = np.where(logs, np.log(limit) if limit > 0 else 0.0, limit)
        side = np.where(wanted >= m, b - m, m - a) / 1.6448536269514722
        z = np.where(side > 0, (wanted - m) / side, np.where(wanted >= m, np.inf, -np.inf))
    return np.where(np.isnan(value), np.nan, ndtr(z))


def standing(scores: Scores) -> Floats:
    """Return how designs with a single loss compare, shape (n, 2); smaller rows are better.

    The first column is 0 for a feasible design, 1 for an infeasible and 2 for an unevaluable one;
    the second is the loss, the total violation, or 0.

    >>> scores = Scores(losses=np.array([[3.0], [1.0]]), violations=np.array([[0.0], [0.2]]),
    ...                 feasible=np.array([True, False]))
    >>> standing(scores).tolist()
    [[0.0, 3.0], [1.0, 0.2]]

    Raises:
        SpecificationError: there are several losses.
    """
    if scores.losses.shape[1] != 1:
        raise SpecificationError("order: needs a single loss; use the front for several")
    loss, violation = scores.losses[:, 0], scores.violations.sum(axis=1)
    unevaluable = np.where(scores.feasible, np.isnan(loss), np.isnan(violation))
    group = np.where(unevaluable, 2, np.where(scores.feasible, 0, 1))
    value = np.where(group == 0, loss, np.where(group == 1, violation, 0.0))
    return np.column_stack([group, value])


def by_standing(stood: Floats) -> npt.NDArray[np.intp]:
    """Return the order of designs, best first; ``stood`` is what ``standing`` returned."""
    return np.lexsort((stood[:, 1], stood[:, 0]))


def ranks(stood: Floats) -> Floats:
    """Return the rank of each design, 1 for the best to -1 for the worst; equal ones share theirs.

    ``stood`` is what ``standing`` returned, shape (n, 2).

    >>> ranks(np.array([[0.0, 3.0], [0.0, 1.0], [1.0, 0.1]]))
    array([ 0.,  1., -1.])
    """
    place = by_standing(stood)
    rank = np.empty(len(place))
    rank[place] = np.arange(len(place))
    _, group = np.unique(stood, axis=0, return_inverse=True)
    group = group.reshape(-1)
    mean = np.bincount(group, weights=rank) / np.bincount(group)
    return np.asarray(1.0 - 2.0 * mean[group] / max(1, len(rank) - 1))


def order(scores: Scores) -> npt.NDArray[np.intp]:
    """Return the order of designs by a single loss, best first.

    Feasible designs by loss, infeasible ones by total violation, unevaluable ones last.
    """
    return by_standing(standing(scores))


def _violation(rule: Expression, columns: Mapping[str, Floats], n: int) -> Floats:
    compared = rule.comparison()
    assert compared is not None  # Goal has refused everything else
    left, symbol, right = compared
    sides = [np.asarray(rule.side(side, columns)) for side in (left, right)]
    if any(side.dtype.kind not in "biuf" for side in sides):
        raise SpecificationError(f"[goal].subject_to: {rule.text!r} does not compare numbers")
    a, b = (np.broadcast_to(side.astype(np.float64), (n,)) for side in sides)
    excess = a - b if symbol in ("<=", "<") else b - a
    scale = np.where(b != 0, np.abs(b), 1.0)
    relative = excess / scale
    if symbol in ("<", ">"):
        relative = np.where(excess == 0, np.finfo(np.float64).tiny, relative)
    return np.maximum(relative, 0.0)
