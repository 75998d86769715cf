"""Numbers as people give them: Python's, or NumPy's scalars, which are taken alike."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from archwright.errors import SpecificationError

__all__ = ["is_number", "plain", "positive", "whole"]


def is_number(value: Any) -> bool:
    """Say whether a value is a real number; a truth value is none."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def plain(value: Any) -> Any:
    """Return NumPy's scalars and arrays as Python's numbers and lists; leave the rest.

    >>> plain(np.int64(3)), plain(np.arange(2)), plain("a")
    (3, [0, 1], 'a')
    """
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def whole(value: Any, where: str, *, least: int) -> int:
    """Return a whole number.

    Raises:
        SpecificationError: it is none, or too small.
    """
    if not is_number(value) or isinstance(value, (float, np.floating)) or value < least:
        kind = "a whole number from 0" if least == 0 else f"at least {least}"
        raise SpecificationError(f"{where}: expected {kind}, found {value!r}")
    return int(value)


def positive(value: Any, where: str) -> float:
    """Return a number above 0.

    Raises:
        SpecificationError: it is none.
    """
    if not is_number(value):
        raise SpecificationError(f"{where}: expected a number, found {value!r}")
    if not value > 0 or math.isinf(value):
        raise SpecificationError(f"{where}: expected more than 0, found {value!r}")
    return float(value)
