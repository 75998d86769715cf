"""Executors as study files name them."""

from __future__ import annotations

import inspect

from archwright.errors import SpecificationError, unknown
from archwright.registry import entries, resolve
from archwright.search.executors.measure import Executor

__all__ = ["make_executor"]


def make_executor(name: str, workers: int | None = None, address: str | None = None) -> Executor:
    """Return the executor of a study file's ``[run]`` table.

    An executor is a class registered under ``archwright.executors``; it takes ``workers`` and
    ``address`` where its constructor names them.

    Raises:
        SpecificationError: an unknown name, or an option that the executor does not take.
    """
    if ":" not in name and name not in entries("executors"):
        raise SpecificationError(
            f"[run].executor: {unknown('executor', name, entries('executors'))}"
        )
    target = resolve("executors", name)
    taken = inspect.signature(target).parameters
    if address is not None and "address" not in taken:
        raise SpecificationError(
            f"[run].address: only the executor 'ray' has one, found {address!r} with {name!r}"
        )
    given = {"workers": workers, "address": address}
    made: Executor = target(**{key: given[key] for key in given if key in taken})
    return made
