"""Arithmetic over columns that is right where NumPy's of whole numbers is not.

NumPy wraps whole numbers around beyond 64 bits, divides by zero to 0, and refuses negative powers
of them. A limit would then admit what it forbids. Here whole numbers stay whole where they fit,
and become floating-point numbers where they do not; what is divided by zero is NaN, which meets
no limit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["divided", "exact", "power"]

_WHOLE = 2.0**62
"""Whole results below it fit into 64 bits whatever the rounding of the estimate."""

Operation = Callable[[Any, Any], Any]


def exact(operation: Operation) -> Operation:
    """Return an operation whose whole results never wrap around."""

    def apply(a: Any, b: Any) -> Any:
        a, b = _number(a), _number(b)
        if not (_is_whole(a) and _is_whole(b)):
            return operation(a, b)
        estimate = operation(_floats(a), _floats(b))
        if np.all(np.abs(estimate) < _WHOLE):
            return operation(a, b)
        return estimate

    return apply


def divided(operation: Operation) -> Operation:
    """Return a division in which a divisor of zero gives NaN."""

    def apply(a: Any, b: Any) -> Any:
        a, b = _number(a), _number(b)
        if isinstance(a, str) or isinstance(b, str):
            return operation(a, b)
        zero = np.equal(b, 0)
        if not np.any(zero):
            return operation(a, b)
        return np.where(zero, np.nan, operation(_floats(a), np.where(zero, 1.0, _floats(b))))

    return apply


def power(a: Any, b: Any) -> Any:
    """Return a power; whole where it fits."""
    a, b = _number(a), _number(b)
    if _is_whole(a) and _is_whole(b) and np.all(np.greater_equal(b, 0)):
        estimate = np.power(_floats(a), _floats(b))
        if np.all(np.abs(estimate) < _WHOLE):
            return np.power(a, b)
        return estimate
    return np.power(_floats(a), _floats(b))


def _number(value: Any) -> Any:
    """Return Python's whole numbers as NumPy's, where they fit; they obey the same rules then."""
    if isinstance(value, bool) or (isinstance(value, np.ndarray) and value.dtype.kind == "b"):
        return np.asarray(value).astype(np.int64)
    if isinstance(value, int):
        return np.int64(value) if -(2**63) <= value < 2**63 else float(value)
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "iu":
        return value.astype(np.int64)
    return value


def _is_whole(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind == "i"


def _floats(value: Any) -> npt.NDArray[np.float64]:
    return np.asarray(value, dtype=np.float64)
