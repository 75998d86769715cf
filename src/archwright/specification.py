"""Specifications: frozen dataclasses that are read from plain tables and varied by path.

A field states its unit and its legal values with :func:`option`; :func:`from_mapping` reads a
TOML table into the dataclass and refuses what does not fit, with one clear sentence.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin

from archwright.errors import SpecificationError, unknown

__all__ = [
    "describe",
    "from_mapping",
    "option",
    "paths",
    "read_path",
    "replace_path",
    "replace_paths",
    "to_mapping",
]

T = TypeVar("T")


def option(
    default: Any = MISSING,
    *,
    factory: Any = MISSING,
    doc: str = "",
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: Iterable[object] | None = None,
) -> Any:
    """Declare a field of a specification.

    Args:
        default: default value; without one the field is required.
        factory: function that makes a mutable or nested default.
        doc: one sentence for lists, templates and ``--help``.
        unit: unit of the value, such as ``s`` or ``bytes``.
        low: smallest legal number.
        high: largest legal number.
        choices: legal values.
    """
    metadata = {
        "doc": doc,
        "unit": unit,
        "low": low,
        "high": high,
        "choices": None if choices is None else tuple(choices),
    }
    if factory is not MISSING:
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def from_mapping(kind: type[T], table: Mapping[str, Any], *, where: str = "") -> T:
    """Read a table into a dataclass, checking names, types and legal values.

    Args:
        kind: a dataclass type.
        table: keys to plain values, as a TOML table gives them.
        where: where the table stands, such as ``my.toml [environment]``, for messages.

    Raises:
        SpecificationError: an unknown or missing key, a wrong type, an illegal value.
    """
    fields = {f.name: f for f in dataclasses.fields(cast(Any, kind)) if f.init}
    hints = typing.get_type_hints(kind)
    prefix = f"{where}: " if where else ""
    for key in table:
        if key not in fields:
            raise SpecificationError(prefix + unknown("key", key, fields))
    values: dict[str, Any] = {}
    for name, spec in fields.items():
        if name in table:
            label = f"{where}.{name}" if where else name
            values[name] = _read(table[name], hints[name], label)
            _check_legal(values[name], spec.metadata, label)
        elif spec.default is MISSING and spec.default_factory is MISSING:
            raise SpecificationError(f"{prefix}the key {name!r} is missing")
    return kind(**values)


def _read(value: Any, hint: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _read_union(value, arguments, where)
    if origin is Literal:
        if value not in arguments:
            raise SpecificationError(f"{where}: {unknown('value', value, arguments)}")
        return value
    if dataclasses.is_dataclass(hint):
        if isinstance(value, cast(type, hint)):
            return value
        if not isinstance(value, Mapping):
            raise _wrong(where, value, "a table")
        return from_mapping(cast(type, hint), value, where=where)
    if origin in (tuple, list) or hint in (tuple, list):
        if isinstance(value, str) or not isinstance(value, (list, tuple)):
            raise _wrong(where, value, "a list")
        inner = arguments[0] if arguments else Any
        return tuple(_read(item, inner, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(where, value, "a table")
        return {str(k): _read(v, arguments[1], f"{where}.{k}") for k, v in value.items()}
    return _read_scalar(value, hint, where)


def _read_union(value: Any, arguments: tuple[Any, ...], where: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    kinds = [argument for argument in arguments if argument is not type(None)]
    error: SpecificationError | None = None
    for kind in kinds:
        try:
            return _read(value, kind, where)
        except SpecificationError as problem:
            error = error or problem
    assert error is not None
    raise error


def _read_scalar(value: Any, hint: Any, where: str) -> Any:
    if hint is bool:
        if not isinstance(value, bool):
            raise _wrong(where, value, "true or false")
        return value
    if hint is int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise _wrong(where, value, "a whole number")
        return value
    if hint is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _wrong(where, value, "a number")
        if math.isnan(value):
            raise SpecificationError(f"{where}: nan is not a number")
        return float(value)
    if not isinstance(value, hint):
        raise _wrong(where, value, {str: "a text"}.get(hint, f"a {hint.__name__}"))
    return value


def _wrong(where: str, value: Any, expected: str) -> SpecificationError:
    return SpecificationError(
        f"{where}: expected {expected}, found {value!r} ({type(value).__name__})"
    )


def _check_legal(value: Any, metadata: Mapping[str, Any], where: str) -> None:
    low, high, choices = (metadata.get(key) for key in ("low", "high", "choices"))
    unit = f" {metadata['unit']}" if metadata.get("unit") else ""
    for item in value if isinstance(value, tuple) else (value,):
        if isinstance(item, (int, float)) and not isinstance(item, bool):
            if low is not None and item < low:
                raise SpecificationError(f"{where}: {item!r} is below the least, {low}{unit}")
            if high is not None and item > high:
                raise SpecificationError(f"{where}: {item!r} is above the most, {high}{unit}")
        if choices is not None and item is not None and item not in choices:
            raise SpecificationError(f"{where}: {unknown('value', item, choices)}")


def to_mapping(specification: Any) -> dict[str, Any]:
    """Return the fields as a plain table, leaving out what is None."""
    table: dict[str, Any] = {}
    for spec in dataclasses.fields(specification):
        value = getattr(specification, spec.name)
        if dataclasses.is_dataclass(value):
            value = to_mapping(value)
        elif isinstance(value, tuple):
            value = [to_mapping(v) if dataclasses.is_dataclass(v) else v for v in value]
        if value is not None:
            table[spec.name] = value
    return table


def paths(specification: Any, prefix: str = "") -> dict[str, Any]:
    """Return every leaf path of a nested specification with its value."""
    found: dict[str, Any] = {}
    for spec in dataclasses.fields(specification):
        value = getattr(specification, spec.name)
        path = f"{prefix}{spec.name}"
        if dataclasses.is_dataclass(value):
            found.update(paths(value, f"{path}."))
        else:
            found[path] = value
    return found


def read_path(specification: Any, path: str) -> Any:
    """Return the value at a dotted path.

    Raises:
        SpecificationError: there is no such path; the message names the nearest.
    """
    value = specification
    for part in path.split("."):
        if not dataclasses.is_dataclass(value) or not hasattr(value, part):
            raise SpecificationError(unknown("path", path, paths(specification)))
        value = getattr(value, part)
    return value


def replace_path(specification: T, path: str, value: Any) -> T:
    """Return a copy with the value at a dotted path replaced and checked.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Cache:
    ...     ways: int = 4
    >>> replace_path(Cache(), "ways", 8)
    Cache(ways=8)
    """
    return replace_paths(specification, {path: value})


def replace_paths(specification: T, values: Mapping[str, Any]) -> T:
    """Return a copy with the values at dotted paths replaced together and checked.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Cache:
    ...     ways: int = 4
    ...     sets: int = 64
    >>> replace_paths(Cache(), {"ways": 8, "sets": 32})
    Cache(ways=8, sets=32)
    """
    kind = type(specification)
    hints, fields = _types(cast(Any, kind))
    changed: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        head, _, rest = path.partition(".")
        if head not in fields or rest:
            read_path(specification, path)  # says what is wrong with a path
        if rest:
            inner.setdefault(head, {})[rest] = value
        else:
            changed[head] = _read(value, hints[head], path)
            _check_legal(changed[head], fields[head].metadata, path)
    for head, table in inner.items():
        within = changed.get(head, getattr(specification, head))
        changed[head] = replace_paths(within, table)
    return cast(T, dataclasses.replace(cast(Any, specification), **changed))


@cache
def _types(kind: type) -> tuple[dict[str, Any], dict[str, dataclasses.Field[Any]]]:
    """Return the types and the fields of a dataclass by name."""
    return typing.get_type_hints(kind), {f.name: f for f in dataclasses.fields(cast(Any, kind))}


def describe(kind: type) -> list[tuple[str, str, str, str]]:
    """Return (path, type, default, sentence) of each field, nested ones by dotted path."""
    rows: list[tuple[str, str, str, str]] = []
    hints = typing.get_type_hints(kind)
    for spec in dataclasses.fields(cast(Any, kind)):
        hint = hints[spec.name]
        if dataclasses.is_dataclass(hint):
            for path, kind_name, default, doc in describe(cast(type, hint)):
                rows.append((f"{spec.name}.{path}", kind_name, default, doc))
            continue
        default = "required" if spec.default is MISSING else repr(spec.default)
        if spec.default_factory is not MISSING:
            default = repr(spec.default_factory())
        unit = spec.metadata.get("unit") or ""
        name = getattr(hint, "__name__", str(hint)) if get_origin(hint) is None else str(hint)
        rows.append(
            (
                spec.name,
                f"{name} [{unit}]" if unit else name,
                default,
                spec.metadata.get("doc", ""),
            )
        )
    return rows
