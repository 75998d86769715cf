"""Are two tables of trials the same, running times apart?"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

__all__ = ["same_trials"]


def same_trials(a: pa.Table, b: pa.Table) -> bool:
    """Compare trial by trial and column by column; NaN equals NaN, ``seconds`` is left out.

    >>> from archwright.search import Budget, Goal, RandomSearch, Study
    >>> from archwright.testing import toy_environment
    >>> def run(seed):
    ...     return Study(toy_environment(), Goal(minimize=["cost"]), RandomSearch(), seed=seed,
    ...                  budget=Budget(evaluations=32)).run().table
    >>> same_trials(run(1), run(1)), same_trials(run(1), run(2))
    (True, False)
    """
    if a.schema != b.schema or len(a) != len(b):
        return False
    return all(
        _same_column(a[name].combine_chunks(), b[name].combine_chunks())
        for name in a.column_names
        if name != "seconds"
    )


def _same_column(a: pa.Array, b: pa.Array) -> bool:
    if not pa.types.is_floating(a.type):
        return bool(a.equals(b))
    if not a.is_null().equals(b.is_null()):
        return False
    return np.array_equal(
        a.fill_null(0.0).to_numpy(zero_copy_only=False),
        b.fill_null(0.0).to_numpy(zero_copy_only=False),
        equal_nan=True,
    )
