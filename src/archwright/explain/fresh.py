"""Sobol and Morris indices: of an environment, by fresh samples of its space.

Both assume that parameters are drawn independently of each other, which no search does; so they
take an environment (a simulator, or a proxy learned from trials) and evaluate it anew.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import InfeasibleError, SpecificationError, unknown
from archwright.explain.sensitivity import Sensitivity
from archwright.search.environments import Environment
from archwright.search.seeds import trial_seeds
from archwright.search.space import Choice, ParameterSpace, Permutation
from archwright.search.study import Result

__all__ = ["morris", "sobol"]

Floats = npt.NDArray[np.float64]

_BATCH = 1024  # designs evaluated at a time
_LEVELS = 8  # places of a numeric parameter in the Morris design


def sobol(
    environment: Environment,
    metric: str,
    *,
    samples: int = 1024,
    seed: int = 0,
    fidelity: str | None = None,
    bootstrap: int = 100,
) -> Sensitivity:
    """Split the variance of a metric among the parameters, by fresh evaluations.

    ``index`` is the total index (Jansen 1999): the share of the variance that stays when all
    other parameters are known. ``first`` is the share that the parameter explains alone
    (Saltelli and others 2010). Parameters are drawn independently and evenly in the unit cube
    of the space; a permutation is one parameter. Takes ``samples`` × (parameters + 2)
    evaluations.

    Args:
        environment: a simulator or proxy; not the result of a study.
        metric: one of its metrics.
        samples: base samples, a power of 2.
        seed: of the samples and evaluations.
        fidelity: one of the environment's; the truest when not given.
        bootstrap: draws for the intervals.

    Raises:
        SpecificationError: trials instead of an environment, or an unknown name.
        InfeasibleError: designs without a value; the indices do not exist then.
    """
    space = _check(environment, metric, "sobol")
    _draws(bootstrap)
    if samples < 2 or samples & (samples - 1):
        raise SpecificationError(f"samples: expected a power of 2, found {samples}")
    from scipy.stats import qmc

    rng = np.random.default_rng(seed)
    points = qmc.Sobol(2 * space.width, seed=rng).random(samples)
    a, b = points[:, : space.width], points[:, space.width :]
    groups = _groups(space)
    blocks = [a, b]
    for part in groups.values():
        mixed = a.copy()
        mixed[:, part] = b[:, part]
        blocks.append(mixed)
    values, repaired = _evaluate(environment, space, np.concatenate(blocks), metric, seed,
                                 fidelity)  # fmt: skip
    missing = int((~np.isfinite(values)).sum())
    if missing:
        raise InfeasibleError(
            f"sobol: {missing:,} of {len(values):,} designs have no {metric}, and the indices "
            "need all; use morris, which leaves such steps out, or importance on trials"
        )
    table = values.reshape(len(blocks), samples)
    first, total = _sobol_indices(table[0], table[1], table[2:])
    draws = np.array(
        [
            _sobol_indices(table[0, rows], table[1, rows], table[2:, rows])
            for rows in (rng.integers(0, samples, samples) for _ in range(bootstrap))
        ]
    )
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    return Sensitivity(
        metric=metric,
        method="sobol",
        basis=f"Fresh samples: {len(values):,} evaluations of {_name(environment)}.",
        parameters=tuple(groups),
        index=total,
        low=low[1],
        high=high[1],
        floor=np.full(len(groups), np.nan),
        active=_active(space, a),
        more={"first": first, "first, low": low[0], "first, high": high[0]},
        notes=_notes(environment, repaired, 0),
    )


def morris(
    environment: Environment,
    metric: str,
    *,
    paths: int = 64,
    seed: int = 0,
    fidelity: str | None = None,
    bootstrap: int = 100,
) -> Sensitivity:
    """Screen parameters by single steps from random designs, by fresh evaluations.

    ``index`` is Morris's mu*: the mean size of the change that a step makes, in the unit of the
    metric. A step of a number is a quarter to half of its range, and its change is divided by
    that share; a step of a choice or a permutation is another value. ``mu`` is the mean with its
    sign and ``sigma`` the spread (large: the effect depends on the other parameters); what has
    no direction has no ``mu``. Takes ``paths`` × (parameters + 1) evaluations
    (Morris 1991; steps from a common base, Campolongo and others 2011).

    Args:
        environment: a simulator or proxy; not the result of a study.
        metric: one of its metrics.
        paths: random base designs.
        seed: of the designs and evaluations.
        fidelity: one of the environment's; the truest when not given.
        bootstrap: draws for the interval.

    Raises:
        SpecificationError: trials instead of an environment, or an unknown name.
        InfeasibleError: no step of a parameter has a value at both ends.
    """
    space = _check(environment, metric, "morris")
    _draws(bootstrap)
    if paths < 2:
        raise SpecificationError(f"paths: expected at least 2, found {paths}")
    rng = np.random.default_rng(seed)
    groups = _groups(space)
    base = (rng.integers(0, _LEVELS, (paths, space.width)) + 0.5) / _LEVELS
    blocks, scales = [base], []
    for name, part in groups.items():
        stepped = base.copy()
        stepped[:, part], scale = _step(space.parameters[name], base[:, part], rng)
        blocks.append(stepped)
        scales.append(scale)
    values, repaired = _evaluate(environment, space, np.concatenate(blocks), metric, seed,
                                 fidelity)  # fmt: skip
    table = values.reshape(len(blocks), paths)
    with np.errstate(invalid="ignore"):
        effects = (table[1:] - table[0]) * np.array(scales)
    whole = np.isfinite(effects)
    for name, good in zip(groups, whole, strict=True):
        if not good.any():
            raise InfeasibleError(f"morris: no step of {name!r} has {metric} at both ends")
    effects = np.where(whole, effects, np.nan)
    size = np.abs(effects)
    draws = np.array([_mean(size[:, rng.integers(0, paths, paths)]) for _ in range(bootstrap)])
    low, high = np.nanquantile(draws, [0.025, 0.975], axis=0)
    unordered = np.array([isinstance(space.parameters[n], (Choice, Permutation)) for n in groups])
    return Sensitivity(
        metric=metric,
        method="morris",
        basis=f"Fresh samples: {len(values):,} evaluations of {_name(environment)}.",
        parameters=tuple(groups),
        index=_mean(size),
        low=low,
        high=high,
        floor=np.full(len(groups), np.nan),
        active=_active(space, base),
        more={
            "mu": np.where(unordered, np.nan, _mean(effects)),
            "sigma": np.sqrt(_mean((effects - _mean(effects)[:, None]) ** 2)),
        },
        notes=_notes(environment, repaired, int((~whole).sum())),
    )


def _draws(bootstrap: int) -> None:
    if bootstrap < 1:
        raise SpecificationError(f"bootstrap: expected at least 1, found {bootstrap}")


def _check(environment: Any, metric: str, method: str) -> ParameterSpace:
    if isinstance(environment, Result):
        raise SpecificationError(
            f"{method} needs fresh, independent samples, which the trials of a search are not: "
            "use importance(result, metric), or give the environment itself"
        )
    if not isinstance(environment, Environment):
        raise SpecificationError(
            f"{method}: expected an environment, found a {type(environment).__name__}"
        )
    names = [known.name for known in environment.metrics]
    if metric not in names:
        raise SpecificationError(unknown("metric", metric, names))
    if not isinstance(environment.space, ParameterSpace):
        raise SpecificationError(
            f"{method}: needs a space of parameters, found {type(environment.space).__name__}"
        )
    return environment.space


def _groups(space: ParameterSpace) -> dict[str, slice]:
    """Dimensions of the unit cube of each parameter that can vary."""
    groups, start = {}, 0
    for name, item in space.parameters.items():
        if item.size > 1:
            groups[name] = slice(start, start + item.width)
        start += item.width
    if not groups:
        raise SpecificationError("nothing varies: every parameter has one value")
    return groups


def _evaluate(
    environment: Environment,
    space: ParameterSpace,
    unit: Floats,
    metric: str,
    seed: int,
    fidelity: str | None,
) -> tuple[Floats, int]:
    """Metric of each point of the unit cube, NaN where infeasible, and how many were repaired."""
    names = [level.name for level in environment.fidelities]
    level = names[-1] if fidelity is None else fidelity
    if level not in names:
        raise SpecificationError(unknown("fidelity", level, names))
    values, repaired = np.empty(len(unit)), 0
    plain = ParameterSpace(space.parameters) if space.require else space
    for start in range(0, len(unit), _BATCH):
        part = unit[start : start + _BATCH]
        designs = space.decode(part)
        if plain is not space:
            repaired += sum(
                p != q
                for p, q in zip(plain.keys(plain.decode(part)), space.keys(designs), strict=True)
            )
        seeds = trial_seeds(seed, np.arange(start, start + len(part)))
        measured = environment.evaluate(designs, seeds=seeds, fidelity=level)
        found = np.asarray(measured.metrics[metric], dtype=np.float64)
        values[start : start + len(part)] = np.where(measured.is_feasible, found, np.nan)
    return values, repaired


def _sobol_indices(a: Floats, b: Floats, mixed: Floats) -> tuple[Floats, Floats]:
    """First and total indices from values at A, B, and A with one parameter from B."""
    both = np.concatenate((a, b))
    variance = both.var()
    if not variance > 0:
        return np.zeros(len(mixed)), np.zeros(len(mixed))
    centered = b - both.mean()
    first = (centered * (mixed - a)).mean(axis=1) / variance
    total = 0.5 * ((a - mixed) ** 2).mean(axis=1) / variance
    return first, total


def _step(parameter: Any, unit: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Move one parameter in the unit cube; return where to and the factor of the change."""
    n = len(unit)
    if isinstance(parameter, Permutation):
        return rng.random(unit.shape), np.ones(n)
    if isinstance(parameter, Choice):
        size = int(parameter.size)
        now = np.minimum(np.floor(unit[:, 0] * size), size - 1)
        other = (now + rng.integers(1, size, n)) % size
        return ((other + 0.5) / size)[:, None], np.ones(n)
    # Steps of one length would miss whatever repeats with it, so they have three.
    length = rng.integers(2, _LEVELS // 2 + 1, n) / _LEVELS
    change = np.where(unit[:, 0] < 0.5, length, -length)
    return (unit[:, 0] + change)[:, None], 1.0 / change


def _mean(effects: Floats) -> Floats:
    """Mean of each row over its known entries; NaN where there are none."""
    good = np.isfinite(effects)
    count = good.sum(axis=1)
    total = np.where(good, effects, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _active(space: ParameterSpace, unit: Floats) -> Floats:
    designs = space.decode(unit)
    shares = [
        1.0 - np.ma.getmaskarray(np.ma.asarray(designs[name])).mean() for name in _groups(space)
    ]
    return np.array(shares)


def _name(environment: Environment) -> str:
    return f"{type(environment).__name__}, version {environment.version}"


def _notes(environment: Environment, repaired: int, left_out: int) -> tuple[str, ...]:
    notes = []
    if repaired:
        notes.append(
            f"{repaired:,} designs broke 'require' and were repaired, so the parameters are not "
            "quite independent."
        )
    if left_out:
        notes.append(f"{left_out:,} steps with an infeasible end are left out.")
    if not environment.deterministic:
        notes.append("The environment is noisy; noise counts as an effect of every parameter.")
    return tuple(notes)
