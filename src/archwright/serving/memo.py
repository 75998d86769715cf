"""A memo that forgets the oldest: what costs time to make and is asked for again and again."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["Memo"]

T = TypeVar("T")


class Memo(Generic[T]):
    """Values by key, at most so many.

    >>> squares = Memo[int](2)
    >>> squares.get(3, lambda: 9), squares.get(3, lambda: 10), len(squares)
    (9, 9, 1)

    Args:
        most: values kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: dict[Hashable, T] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of a key, made where it is not kept."""
        if key not in self._values:
            self.keep(key, make())
        return self._values[key]

    def keep(self, key: Hashable, value: T) -> None:
        """Keep a value; the oldest goes where there are too many."""
        if key not in self._values and len(self._values) >= self._most:
            del self._values[next(iter(self._values))]
        self._values[key] = value

    def peek(self, key: Hashable) -> T | None:
        """Return the value of a key, None where it is not kept."""
        return self._values.get(key)

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()

    def __len__(self) -> int:
        return len(self._values)
