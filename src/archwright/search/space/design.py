"""Designs: rows of plain values, and batches of them in columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from archwright.search.space.parameters import Codes

if TYPE_CHECKING:
    from archwright.search.space.parameter_space import ParameterSpace

__all__ = ["Design", "Designs"]


class Design(Mapping[str, Any]):
    """One design: names to values, hashable and JSON-able; None marks an inactive parameter."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        plain = (item for item in self._values.items() if not isinstance(item[1], (dict, list)))
        return hash(tuple(plain))

    def __repr__(self) -> str:
        return ", ".join(f"{k}={v}" for k, v in self._values.items() if v is not None)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; tuples become lists."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in self._values.items()}


class Designs:
    """A batch of designs of a :class:`ParameterSpace`, in columns.

    ``designs["name"]`` is the column of a parameter (a masked array where some values are
    inactive), ``designs[3]`` a :class:`Design`.
    """

    __slots__ = ("codes", "space")

    def __init__(self, space: ParameterSpace, codes: Codes) -> None:
        self.space = space
        self.codes = codes

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self.space.column(self.codes, key)
        index = range(len(self))[key]  # raises IndexError as a list does
        return next(iter(self.take([index])))

    def __iter__(self) -> Iterator[Design]:
        columns = self.space.columns(self)
        names = list(columns)
        for row in zip(*(column.tolist() for column in columns.values()), strict=True):
            yield Design(dict(zip(names, row, strict=True)))

    def __repr__(self) -> str:
        return f"Designs({len(self)} × {', '.join(self.space.names)})"

    def take(self, rows: npt.ArrayLike) -> Designs:
        """Return the batch of these rows (indices or a mask)."""
        return Designs(self.space, self.codes[np.asarray(rows)])
