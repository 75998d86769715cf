"""Beginning from designs that are known: another study's front, its results, or one's own.

A study that begins somewhere measures the given designs before anything else, and its searcher
learns them. Where their results are given too, nothing is measured: they stand in the study's
table with the state ``known`` and cost no budget. A searcher that cannot learn what it did not
ask for draws its first designs from a space whose first samples are the given ones; it is then
told of them as repeats.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError, unknown
from archwright.search.environments import Environment, Measurements
from archwright.search.space import Space

if TYPE_CHECKING:
    from archwright.search.study.result import Result

__all__ = ["Given", "Start", "given_results", "start_designs", "start_results"]

WHAT = ("front", "best", "all")


@dataclass(frozen=True, eq=False)
class Given:
    """Designs with what they measured.

    Attributes:
        designs: a batch of the study's space.
        measurements: their measurements, at the truest fidelity.
    """

    designs: Any
    measurements: Measurements

    def digest(self) -> str:
        """Return a digest of the measurements, for what the study is."""
        parts = [
            name.encode() + np.ascontiguousarray(column, dtype=np.float64).tobytes()
            for name, column in sorted(self.measurements.metrics.items())
        ]
        return sha256(b"".join([*parts, self.measurements.is_feasible.tobytes()])).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the measurements as plain data."""
        one = self.measurements
        return {
            "metrics": {name: np.asarray(v).tolist() for name, v in one.metrics.items()},
            "feasible": one.is_feasible.tolist(),
            "reason": None if one.reason is None else list(one.reason),
            "violation": None if one.violation is None else one.violation.tolist(),
        }

    @classmethod
    def from_json(cls, designs: Any, plain: dict[str, Any]) -> Given:
        """Return what :meth:`to_json` gave, with its designs."""
        violation = plain["violation"]
        measurements = Measurements(
            metrics={name: np.array(v, dtype=np.float64) for name, v in plain["metrics"].items()},
            feasible=np.array(plain["feasible"], dtype=bool),
            reason=plain["reason"],
            violation=None if violation is None else np.array(violation, dtype=np.float64),
        )
        return cls(designs, measurements)


class Start:
    """A space whose first samples are given.

    >>> from archwright.search import Integer, ParameterSpace
    >>> space = ParameterSpace({"a": Integer(1, 9)})
    >>> start = Start(space, space.from_columns({"a": [4, 2]}))
    >>> drawn = start.space.sample(np.random.default_rng(0), 3)
    >>> [drawn[0]["a"], drawn[1]["a"], len(drawn)]
    [4, 2, 3]

    Args:
        space: the space.
        designs: what is drawn first, in order.
    """

    def __init__(self, space: Space, designs: Any) -> None:
        self._whole = space
        self._designs = designs
        self.given = 0
        """Designs drawn so far; a continued study sets it."""
        whole: Any = copy.copy(space)
        whole.sample = self._sample
        self.space = whole

    def _sample(self, rng: np.random.Generator, n: int) -> Any:
        stop = min(self.given + n, len(self._designs))
        first = self._designs.take(np.arange(self.given, stop))
        self.given = stop
        return self._whole.concatenate([first, self._whole.sample(rng, n - len(first))])


def start_designs(
    space: Any, folder: Path, *, what: str = "front", limit: int | None = None
) -> Any:
    """Return designs of a finished or running study as designs of a space.

    Args:
        space: the space of the new study; it may leave parameters of the old one out.
        folder: the old study.
        what: ``front``, ``best`` (all designs, the best loss first) or ``all``.
        limit: most designs.

    Raises:
        StoreError: no study folder, or damage.
        SpecificationError: a parameter that the old study did not vary, or a design outside the
            space.
    """
    from archwright.search.study import load_result

    result = load_result(folder)
    rows = _chosen(result, what, limit)
    if not len(rows):
        raise SpecificationError(f"[start].from: {folder} holds no design on its front")
    return _designs(space, result, rows, str(folder))


def start_results(
    environment: Environment, folder: Path, *, what: str = "all", limit: int | None = None
) -> Given:
    """Return designs of a study with what they measured; see :func:`start_designs`.

    Raises:
        SpecificationError: the old study did not measure a metric of the environment.
    """
    from archwright.search.study import load_result

    result = load_result(folder)
    return given_results(environment, result, rows=_chosen(result, what, limit), where=str(folder))


def given_results(
    environment: Environment,
    result: Result,
    *,
    rows: npt.NDArray[np.intp] | None = None,
    where: str = "the given result",
) -> Given:
    """Return the designs of a result that another study measured, with their measurements.

    What had failed there is left out: it has no results.

    Raises:
        SpecificationError: a metric or a parameter is missing there, or a design lies outside.
    """
    from archwright.search.study.recorded import measurements_of

    table = result.trials
    rows = np.arange(len(table)) if rows is None else rows
    state = np.array(table["state"].to_pylist(), dtype=object)
    rows = rows[state[rows] != "failed"] if len(rows) else rows
    known = [metric.name for metric in environment.metrics]
    for name in known:
        if name not in result.schema.metrics:
            raise SpecificationError(
                f"[start].from: {where}: {unknown('metric', name, result.schema.metrics)}"
            )
    whole = measurements_of(table, result.schema).take(rows)
    return Given(
        _designs(environment.space, result, rows, where),
        Measurements(
            metrics={name: whole.metrics[name] for name in known},
            feasible=whole.feasible,
            reason=whole.reason,
            violation=whole.violation,
        ),
    )


def _chosen(result: Result, what: str, limit: int | None) -> npt.NDArray[np.intp]:
    if what not in WHAT:
        raise SpecificationError(f"[start].designs: {unknown('choice', what, WHAT)}")
    rows = np.arange(len(result.trials))
    if what == "front":
        rows = result.front
    elif what == "best":
        rows = np.argsort(np.nan_to_num(result.losses[:, 0], nan=np.inf), kind="stable")
    return rows if limit is None else rows[:limit]


def _designs(space: Any, result: Result, rows: npt.NDArray[np.intp], where: str) -> Any:
    for name in space.names:
        if name not in result.schema.parameters:
            known = list(result.schema.parameters)
            raise SpecificationError(f"[start].from: {where}: {unknown('parameter', name, known)}")
    found = [result.design(int(row)) for row in rows]
    try:
        designs = space.from_columns({name: [d[name] for d in found] for name in space.names})
    except SpecificationError as error:
        raise SpecificationError(f"[start].from: {where}: {error}") from error
    inside = space.contains(designs)
    if not inside.all():
        at = int(np.flatnonzero(~inside)[0])
        raise SpecificationError(
            f"[start].from: the design {{{found[at]}}} of {where} lies outside this space"
        )
    return designs
