"""Beginning from designs that are known: another study's front, or one's own.

Searchers draw their first designs from the space. So a study that begins somewhere gives them a
space whose first samples are those designs; what a searcher makes of them is its own affair, and
nothing else changes. CMA-ES takes the first as its mean; ant colony, many agents, the PPO policy
and the exhaustive search draw nothing from the space, TPE next to nothing: they do not use them.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np

from archwright.errors import SpecificationError, unknown
from archwright.search.record import load_result
from archwright.search.space import Space

__all__ = ["Start", "start_designs"]


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
    if what not in ("front", "best", "all"):
        raise SpecificationError(
            f"[start].designs: {unknown('choice', what, ['front', 'best', 'all'])}"
        )
    result = load_result(folder)
    rows = np.arange(len(result.trials))
    if what == "front":
        rows = result.front
    elif what == "best":
        rows = np.argsort(np.nan_to_num(result.losses[:, 0], nan=np.inf), kind="stable")
    if limit is not None:
        rows = rows[:limit]
    if not len(rows):
        raise SpecificationError(f"[start].from: {folder} holds no design on its front")
    for name in space.names:
        if name not in result.schema.parameters:
            known = list(result.schema.parameters)
            raise SpecificationError(
                f"[start].from: {folder}: {unknown('parameter', name, known)}"
            )
    found = [result.design(int(row)) for row in rows]
    try:
        designs = space.from_columns({name: [d[name] for d in found] for name in space.names})
    except SpecificationError as error:
        raise SpecificationError(f"[start].from: {folder}: {error}") from error
    inside = space.contains(designs)
    if not inside.all():
        at = int(np.flatnonzero(~inside)[0])
        raise SpecificationError(
            f"[start].from: the design {{{found[at]}}} of {folder} lies outside this space"
        )
    return designs
