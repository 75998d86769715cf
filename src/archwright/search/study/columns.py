"""Columns of stored tables as numpy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["booleans"]


def booleans(column: Any) -> npt.NDArray[np.bool_]:
    """Return an Arrow column of booleans as numpy."""
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=bool)
