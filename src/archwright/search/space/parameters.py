"""The kinds of parameter that a space is made of.

A parameter stores its values as *codes*, one float64 or (for a permutation) several: the number
itself for :class:`Integer` and :class:`Real`, the index of the value for :class:`Choice` and
:class:`Ordinal`, the positions for :class:`Permutation`. Codes of a batch of designs form one
matrix, so everything works on whole batches. NaN marks an inactive parameter.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError
from archwright.search.numbers import plain

__all__ = ["Choice", "Integer", "Ordinal", "Parameter", "Permutation", "Real"]

Codes = npt.NDArray[np.float64]

_LARGEST = 2**53  # beyond it a float64 code no longer names one integer


@dataclass(frozen=True)
class Parameter(ABC):
    """Base of all kinds.

    Attributes:
        when: condition over other parameters; where it is false the parameter is inactive and
            its value is None.
    """

    when: str | None = field(default=None, kw_only=True)

    @property
    def width(self) -> int:
        """Number of codes a value takes."""
        return 1

    @property
    @abstractmethod
    def size(self) -> float:
        """Number of values; ``math.inf`` for a real."""

    @property
    @abstractmethod
    def type(self) -> str:
        """``int``, ``float``, ``bool``, ``str`` or ``json``: how values are stored."""

    @property
    def even(self) -> tuple[float, float] | None:
        """(first code, distance) where the codes divide the unit interval evenly, else None.

        A space maps all such parameters at once.
        """
        return None

    @abstractmethod
    def from_unit(self, unit: Codes) -> Codes:
        """Map (n, width) numbers in [0, 1] to codes."""

    @abstractmethod
    def to_unit(self, codes: Codes) -> Codes:
        """Map codes to the unit cube; ``from_unit(to_unit(c)) == c``."""

    @abstractmethod
    def values(self, codes: Codes) -> npt.NDArray[Any]:
        """Return the n values of (n, width) active codes."""

    @abstractmethod
    def codes(self, values: Sequence[Any]) -> Codes:
        """Return the (n, width) codes of values; NaN rows for values that are not legal."""

    @abstractmethod
    def neighbors(self, code: Codes) -> Codes:
        """Return the (m, width) codes one step away from one value."""

    def grid(self, most: int) -> Codes:
        """Return at most ``most`` codes spread over the range; all of them where they fit."""
        if self.size <= most:
            return self.enumerate()
        unit = (np.arange(most) + 0.5) / most
        return np.unique(self.from_unit(np.repeat(unit[:, None], self.width, 1)), axis=0)

    @abstractmethod
    def part(self, start: int, stop: int) -> Codes:
        """Return the codes of the values start to stop - 1, in order."""

    def enumerate(self) -> Codes:
        """Return the codes of every value, in order."""
        return self.part(0, int(self.size))


@dataclass(frozen=True)
class _Listed(Parameter):
    options: tuple[Any, ...] = ()

    def __init__(self, options: Iterable[Any], *, when: str | None = None) -> None:
        if isinstance(options, np.ndarray):
            options = options.tolist()
        if isinstance(options, (str, bytes)) or not isinstance(options, Iterable):
            raise SpecificationError(f"expected a list of values, found {options!r}")
        object.__setattr__(self, "when", when)
        listed = tuple(_plain(v, type(self).__name__) for v in options)
        object.__setattr__(self, "options", listed)
        if not listed:
            raise SpecificationError(f"{type(self).__name__}: needs at least one value")
        for value in listed:
            if isinstance(value, float) and math.isnan(value):
                raise SpecificationError(f"{type(self).__name__}: nan is not a value")
            if value is None and when is not None:
                raise SpecificationError(
                    f"{type(self).__name__}: None marks an inactive value, so it cannot be one of "
                    "the values under a condition"
                )
        keys = [_hashable(value) for value in listed]
        if len(set(keys)) != len(keys):
            twice = next(value for value in listed if keys.count(_hashable(value)) > 1)
            raise SpecificationError(f"{type(self).__name__}: {twice!r} stands there twice")

    @property
    def size(self) -> float:
        return len(self.options)

    @property
    def type(self) -> str:
        kinds = {type(value) for value in self.options}
        if kinds == {bool}:
            return "bool"
        if kinds == {int}:
            return "int" if all(-(2**63) <= v < 2**63 for v in self.options) else "json"
        if kinds <= {int, float}:
            return "float"
        return "str" if kinds == {str} else "json"

    @property
    def even(self) -> tuple[float, float] | None:
        return 0.0, 1.0

    def from_unit(self, unit: Codes) -> Codes:
        return np.minimum(np.floor(unit * self.size), self.size - 1)

    def to_unit(self, codes: Codes) -> Codes:
        return (codes + 0.5) / self.size

    def values(self, codes: Codes) -> npt.NDArray[Any]:
        picked: npt.NDArray[Any] = self._table[codes[:, 0].astype(np.intp)]
        return picked

    @property
    def _table(self) -> npt.NDArray[Any]:
        table: npt.NDArray[Any] | None = self.__dict__.get("_cached_table")
        if table is None:
            kinds = {"int": np.int64, "float": np.float64, "bool": np.bool_}
            if self.type in kinds:
                table = np.array(self.options, dtype=kinds[self.type])
            else:
                table = np.empty(len(self.options), dtype=object)
                table[:] = list(self.options)
            object.__setattr__(self, "_cached_table", table)
        return table

    def codes(self, values: Sequence[Any]) -> Codes:
        index = {_hashable(value): float(i) for i, value in enumerate(self.options)}
        return np.array([[index.get(_hashable(value), math.nan)] for value in values]).reshape(
            -1, 1
        )

    def part(self, start: int, stop: int) -> Codes:
        return np.arange(start, min(stop, len(self.options)), dtype=np.float64)[:, None]


@dataclass(frozen=True, init=False)
class Choice(_Listed):
    """One of several values without an order.

    >>> Choice(["bf16", "fp8"]).size
    2
    """

    def neighbors(self, code: Codes) -> Codes:
        every = self.enumerate()
        return np.asarray(every[every[:, 0] != code[0]])


@dataclass(frozen=True, init=False)
class Ordinal(_Listed):
    """One of several values in their order, such as ``[8, 16, 32, 64]``."""

    def neighbors(self, code: Codes) -> Codes:
        near = np.array([code[0] - 1, code[0] + 1])
        return near[(near >= 0) & (near < self.size)][:, None]


@dataclass(frozen=True)
class Integer(Parameter):
    """A whole number in ``[low, high]``, in steps of ``step``.

    Args:
        low: least value.
        high: greatest value, included when a step lands on it.
        step: distance of neighboring values.
        log: spread samples and the unit cube by ratio; needs ``low >= 1`` and ``step == 1``.
    """

    low: int = field(kw_only=False, default=0)
    high: int = field(kw_only=False, default=0)
    step: int = 1
    log: bool = False

    def __post_init__(self) -> None:
        for name in ("low", "high", "step"):
            value: Any = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise SpecificationError(
                    f"Integer.{name}: expected a whole number, found {value!r}"
                )
            if not -_LARGEST <= value <= _LARGEST:
                raise SpecificationError(f"Integer.{name}: {value} is beyond ±2**53")
            object.__setattr__(self, name, int(value))
        if self.high < self.low or self.step < 1:
            raise SpecificationError(
                f"Integer: expected low <= high and step >= 1, found low {self.low}, "
                f"high {self.high}, step {self.step}"
            )
        if self.log and (self.low < 1 or self.step != 1):
            raise SpecificationError(
                f"Integer: log needs low >= 1 and step 1, found low {self.low}, step {self.step}"
            )

    @property
    def size(self) -> float:
        return (self.high - self.low) // self.step + 1

    @property
    def type(self) -> str:
        return "int"

    @property
    def even(self) -> tuple[float, float] | None:
        return None if self.log else (float(self.low), float(self.step))

    def from_unit(self, unit: Codes) -> Codes:
        if self.log:
            low, high = math.log(self.low), math.log(self.high + 1)
            return np.clip(np.floor(np.exp(low + unit * (high - low))), self.low, self.high)
        index = np.minimum(np.floor(unit * self.size), self.size - 1)
        return self.low + index * self.step

    def to_unit(self, codes: Codes) -> Codes:
        if self.log:
            low, high = math.log(self.low), math.log(self.high + 1)
            return (np.log(codes + 0.5) - low) / (high - low)
        return ((codes - self.low) / self.step + 0.5) / self.size

    def values(self, codes: Codes) -> npt.NDArray[Any]:
        return codes[:, 0].astype(np.int64)

    def codes(self, values: Sequence[Any]) -> Codes:
        given = _numbers(values)
        legal = (given >= self.low) & (given <= self.high)
        legal &= (given - self.low) % self.step == 0
        return np.where(legal, given, math.nan)[:, None]

    def neighbors(self, code: Codes) -> Codes:
        near = np.array([code[0] - self.step, code[0] + self.step])
        return near[(near >= self.low) & (near <= self.high)][:, None]

    def part(self, start: int, stop: int) -> Codes:
        index = np.arange(start, min(stop, int(self.size)), dtype=np.float64)
        return (self.low + index * self.step)[:, None]


@dataclass(frozen=True)
class Real(Parameter):
    """A real number in ``[low, high]``; ``log=True`` spreads it by ratio."""

    low: float = field(kw_only=False, default=0.0)
    high: float = field(kw_only=False, default=1.0)
    log: bool = False

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            value = getattr(self, name)
            if not _is_number(value) or not math.isfinite(value):
                raise SpecificationError(f"Real.{name}: expected a finite number, found {value!r}")
            object.__setattr__(self, name, plain(value))
        if not math.isfinite(self.high - self.low):
            raise SpecificationError(f"Real: the range {self.low} to {self.high} is too wide")
        if self.high < self.low or (self.log and self.low <= 0):
            raise SpecificationError(
                f"Real: expected low <= high{' and low > 0' if self.log else ''}, found "
                f"low {self.low}, high {self.high}"
            )

    @property
    def size(self) -> float:
        return 1 if self.low == self.high else math.inf

    @property
    def type(self) -> str:
        return "float"

    def from_unit(self, unit: Codes) -> Codes:
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            return np.clip(np.exp(low + unit * (high - low)), self.low, self.high)
        return np.clip(self.low + unit * (self.high - self.low), self.low, self.high)

    def to_unit(self, codes: Codes) -> Codes:
        if self.size == 1:
            return np.full_like(codes, 0.5)
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            return (np.log(codes) - low) / (high - low)
        return (codes - self.low) / (self.high - self.low)

    def values(self, codes: Codes) -> npt.NDArray[Any]:
        return codes[:, 0].copy()

    def codes(self, values: Sequence[Any]) -> Codes:
        given = _numbers(values)
        return np.where((given >= self.low) & (given <= self.high), given, math.nan)[:, None]

    def neighbors(self, code: Codes) -> Codes:
        unit = self.to_unit(code[None, :])[0, 0]
        near = np.array([unit - 0.05, unit + 0.05])
        near = near[(near >= 0) & (near <= 1)]
        return self.from_unit(near[:, None])

    def part(self, start: int, stop: int) -> Codes:
        if self.size == 1:
            return np.array([[self.low]])[start:stop]
        raise SpecificationError("a Real has no finite list of values")


@dataclass(frozen=True)
class Permutation(Parameter):
    """An order of ``length`` things, as a tuple of positions 0 to length - 1."""

    length: int = field(kw_only=False, default=1)

    def __post_init__(self) -> None:
        whole = isinstance(self.length, (int, np.integer)) and not isinstance(self.length, bool)
        if not whole or self.length < 1:
            raise SpecificationError(
                f"Permutation: expected a length of at least 1, found {self.length!r}"
            )
        object.__setattr__(self, "length", int(self.length))

    @property
    def width(self) -> int:
        return self.length

    @property
    def size(self) -> float:
        return math.factorial(self.length)

    @property
    def type(self) -> str:
        return "json"

    def from_unit(self, unit: Codes) -> Codes:
        return np.argsort(unit, axis=1, kind="stable").astype(np.float64)

    def to_unit(self, codes: Codes) -> Codes:
        return (np.argsort(codes, axis=1) + 0.5) / self.length

    def values(self, codes: Codes) -> npt.NDArray[Any]:
        column = np.empty(len(codes), dtype=object)
        column[:] = [tuple(row) for row in codes.astype(np.int64).tolist()]
        return column

    def codes(self, values: Sequence[Any]) -> Codes:
        rows = np.full((len(values), self.length), math.nan)
        for i, value in enumerate(values):
            whole = isinstance(value, (list, tuple)) and all(type(v) is int for v in value)
            if whole and sorted(value) == list(range(self.length)):
                rows[i] = value
        return rows

    def neighbors(self, code: Codes) -> Codes:
        rows = np.repeat(code[None, :], max(self.length - 1, 0), axis=0)
        for i in range(self.length - 1):  # swaps of adjacent places
            rows[i, [i, i + 1]] = rows[i, [i + 1, i]]
        return rows

    def grid(self, most: int) -> Codes:
        if self.size <= most:
            return self.enumerate()
        rng = np.random.default_rng(0)
        return np.unique(self.from_unit(rng.random((most, self.length))), axis=0)

    def part(self, start: int, stop: int) -> Codes:
        rows = []
        for rank in range(start, min(stop, int(self.size))):
            left, row = list(range(self.length)), []
            for place in range(self.length, 0, -1):  # digits of the factorial number system
                digit, rank = divmod(rank, math.factorial(place - 1))
                row.append(left.pop(digit))
            rows.append(row)
        return np.array(rows, dtype=np.float64).reshape(-1, self.length)


def _plain(value: Any, kind: str) -> Any:
    """Return a value as it is stored: NumPy's as Python's, lists as tuples.

    Raises:
        SpecificationError: it has no plain form, such as a path or a function.
    """
    value = plain(value)
    if isinstance(value, (list, tuple)):
        return tuple(_plain(item, kind) for item in value)
    if isinstance(value, dict):
        return {str(key): _plain(item, kind) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise SpecificationError(
        f"{kind}: {value!r} is a {type(value).__name__} and cannot be stored; give a number, a "
        "text, a truth value, or a list of them"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, (bool, np.bool_))


def _numbers(values: Any) -> npt.NDArray[np.float64]:
    if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
        return values.astype(np.float64)
    return np.array([v if _is_number(v) else math.nan for v in values], dtype=np.float64)


def _hashable(value: Any) -> Any:
    """Tell 1, 1.0 and True apart, and make nested lists comparable."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(value, sort_keys=True)
    if isinstance(value, float) and value.is_integer():
        return ("number", int(value))
    return ("number", value) if _is_number(value) else (type(value).__name__, value)
