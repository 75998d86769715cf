"""What a searcher and a study need of a space and of a batch of designs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

__all__ = ["Batch", "Space", "designs_from", "plain_designs"]


class Batch(Protocol):
    """Several designs, in columns."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> Any:
        """Return the design at an integer, or the column of a name."""

    def take(self, rows: npt.ArrayLike, /) -> Any:
        """Return the batch of these rows."""


@runtime_checkable
class Space(Protocol):
    """What a searcher needs of a space. Graph and program spaces implement it directly.

    Attributes:
        names: names of the stored columns.
        types: name to ``int``, ``float``, ``bool``, ``str`` or ``json``.
        size: number of designs, or None where it is infinite or not known.
    """

    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def types(self) -> Mapping[str, str]: ...
    @property
    def size(self) -> int | None: ...

    def sample(self, rng: np.random.Generator, n: int) -> Any:
        """Return n designs drawn at random (repeats allowed)."""

    def contains(self, designs: Any) -> npt.NDArray[np.bool_]:
        """Say for each design whether it belongs to the space."""

    def keys(self, designs: Any) -> list[bytes]:
        """Return a canonical key of each design; equal designs have equal keys."""

    def neighbors(self, design: Any) -> Any:
        """Return the designs one step away from the one design of a batch of length 1."""

    def concatenate(self, batches: Sequence[Any]) -> Any:
        """Join batches."""

    def columns(self, designs: Any) -> Mapping[str, Any]:
        """Return the columns to store, lists or arrays; None or a mask marks an inactive value."""

    def from_columns(self, columns: Mapping[str, Sequence[Any]]) -> Any:
        """Rebuild a batch from stored columns."""


def plain_designs(space: Space, designs: Any) -> dict[str, Any]:
    """Return the columns of designs as lists, None where inactive."""
    return {
        name: np.ma.asarray(values).tolist() if isinstance(values, np.ndarray) else list(values)
        for name, values in space.columns(designs).items()
    }


def designs_from(space: Space, columns: Mapping[str, Any]) -> Any:
    """Rebuild designs from :func:`plain_designs`."""
    if not len(next(iter(columns.values()))):
        return space.concatenate([])
    return space.from_columns(columns)
