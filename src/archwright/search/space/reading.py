"""Parameters as texts and as study files write them."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from archwright.errors import SpecificationError, unknown
from archwright.search.numbers import plain
from archwright.search.space.parameters import (
    Choice,
    Integer,
    Ordinal,
    Parameter,
    Permutation,
    Real,
)

__all__ = ["described", "parameter"]


def described(text: str, *, where: str) -> Parameter:
    """Return the parameter that a text of its ``repr`` describes; nothing is executed.

    >>> described(repr(Integer(1, 9)), where="a") == Integer(1, 9)
    True

    Raises:
        SpecificationError: the text describes no parameter.
    """
    kinds = {kind.__name__: kind for kind in (Choice, Ordinal, Integer, Real, Permutation)}
    try:
        call = ast.parse(text, mode="eval").body
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)) or call.args:
            raise ValueError(text)
        kind = kinds[call.func.id]
        options = {str(item.arg): ast.literal_eval(item.value) for item in call.keywords}
        first = {Choice: "options", Ordinal: "options", Permutation: "length"}.get(kind)
        leading = [options.pop(first)] if first else [options.pop("low"), options.pop("high")]
    except (SyntaxError, ValueError, KeyError) as error:
        raise SpecificationError(f"{where}: {text!r} describes no parameter") from error
    return _build(kind, where, *leading, **options)


def parameter(value: Any, *, where: str) -> Parameter:
    """Read a parameter as a study file writes it.

    A list is a :class:`Choice`; a table with ``low`` and ``high`` is an :class:`Integer` or
    :class:`Real` (by its numbers), with ``ordinal`` an :class:`Ordinal`, with ``permutation`` a
    :class:`Permutation`, with ``choice`` a :class:`Choice`; a scalar fixes one value.

    Raises:
        SpecificationError: none of these.
    """
    if isinstance(value, Parameter):
        return value
    value = plain(value)
    if isinstance(value, (list, tuple)):
        return _build(Choice, where, value)
    if not isinstance(value, Mapping):
        return _build(Choice, where, [value])
    table = dict(value)
    kinds = {"ordinal": Ordinal, "choice": Choice, "permutation": Permutation}
    known = ["low", "high", "log", "step", "when", *kinds]
    for key in table:
        if key not in known:
            raise SpecificationError(f"{where}: {unknown('key', key, known)}")
    for key, kind in kinds.items():
        if key in table:
            return _build(kind, where, table.pop(key), **table)
    if "low" not in table or "high" not in table:
        raise SpecificationError(f"{where}: expected low and high, or a list, found {value!r}")
    low, high = plain(table.pop("low")), plain(table.pop("high"))
    whole = all(isinstance(v, int) and not isinstance(v, bool) for v in (low, high))
    return _build(Integer if whole else Real, where, low, high, **table)


def _build(kind: Any, where: str, *arguments: Any, **options: Any) -> Parameter:
    try:
        return kind(*arguments, **options)  # type: ignore[no-any-return]
    except SpecificationError as error:
        raise SpecificationError(f"{where}: {error}") from error
    except TypeError as error:
        raise SpecificationError(
            f"{where}: {kind.__name__} does not take this: {error}"
        ) from error
