"""The conformance suite of design spaces."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from archwright.search import Space
from archwright.search.space import Expression
from archwright.search.store import TableSchema
from archwright.testing.conformance import Checks, elsewhere, ensure, global_randomness

__all__ = ["check_space"]

_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
}
_ENUMERATED = 20_000


def check_space(space: Space, *, seed: int = 0, n: int = 48, processes: bool = True) -> None:
    """Check a design space against its contract, using the public protocol alone.

    >>> from archwright.search import Integer, ParameterSpace
    >>> check_space(ParameterSpace({"layers": Integer(1, 8)}), processes=False)

    Args:
        space: the space.
        seed: seed of the designs it is checked with.
        n: number of designs.
        processes: also rebuild designs in a second Python process (about a second).

    Raises:
        ConformanceError: the message lists every broken clause with the likely mistake.
    """
    checks = Checks(f"the space {type(space).__name__}")
    with checks.clause(
        "it has the members of a space", "a method or attribute of Space is missing or misnamed"
    ):
        missing = [
            name for name in vars(Space) if not name.startswith("_") and not hasattr(space, name)
        ]
        ensure(not missing, f"lacks {', '.join(missing)}")
    if checks.broken:
        checks.finish()
    try:
        designs = space.sample(np.random.default_rng(seed), n)
        space.keys(designs)
    except Exception as error:  # noqa: BLE001 - nothing else can be checked then
        checks.crashed("sample draws designs", error)
        checks.finish()
    _check_columns(checks, space, designs)
    _check_sample(checks, space, seed, n)
    _check_keys(checks, space, designs)
    _check_batches(checks, space, designs)
    _check_round_trips(checks, space, designs, processes)
    _check_neighbors(checks, space, designs)
    _check_cube(checks, space, designs, seed)
    _check_size(checks, space, designs)
    checks.finish()


def _check_sample(checks: Checks, space: Space, seed: int, n: int) -> None:
    def keys(s: int, count: int = n) -> list[bytes]:
        return space.keys(space.sample(np.random.default_rng(s), count))

    with checks.clause("sample gives n designs, 0 too", "a loop that ends early or a fixed size"):
        for count in (0, 1, 2, n):
            found = len(space.sample(np.random.default_rng(seed), count))
            ensure(found == count, f"sample(rng, {count}) gave {found} designs")
    with checks.clause(
        "sample depends on its generator alone", "global randomness, or the order of a set"
    ):
        ensure(keys(seed) == keys(seed), "two equal generators gave different designs")
        with global_randomness(1) as untouched:
            first = keys(seed)
            ensure(untouched(), "it draws from or seeds the global generators")
        with global_randomness(2):
            ensure(keys(seed) == first, "the designs change with the global random state")
        if len(set(first)) > 8:  # else chance may give the same twice
            ensure(first != keys(seed + 1), "another generator gave the same designs")
    with checks.clause("sample stays inside the space", "contains and sample disagree"):
        inside = space.contains(space.sample(np.random.default_rng(seed), n))
        ensure(np.shape(inside) == (n,), f"contains gave shape {np.shape(inside)} for {n} designs")
        ensure(all(inside), f"contains refuses {n - int(np.sum(inside))} of {n} sampled designs")
        empty = space.contains(space.sample(np.random.default_rng(seed), 0))
        ensure(np.shape(empty) == (0,), f"contains gave shape {np.shape(empty)} for no designs")


def _check_keys(checks: Checks, space: Space, designs: Any) -> None:
    with checks.clause("keys are canonical", "a key that leaves out, or adds to, the design"):
        keys = space.keys(designs)
        ensure(len(keys) == len(designs), f"{len(keys)} keys for {len(designs)} designs")
        ensure(all(isinstance(key, bytes) for key in keys), "a key is not bytes")
        ensure(keys == space.keys(designs), "the same designs gave other keys the second time")
        rows = _rows(space, designs)
        by_key: dict[bytes, str] = {}
        by_row: dict[str, bytes] = {}
        for key, row in zip(keys, rows, strict=True):
            ensure(by_key.setdefault(key, row) == row, f"{by_key[key]} and {row} share a key")
            ensure(by_row.setdefault(row, key) == key, f"equal designs {row} have two keys")
        ensure(space.keys(designs.take(np.arange(0))) == [], "keys of no designs is not []")


def _check_batches(checks: Checks, space: Space, designs: Any) -> None:
    with checks.clause("take and concatenate keep designs", "rows taken by the wrong index"):
        keys = space.keys(designs)
        rows = np.arange(len(designs))[::-2]
        taken = space.keys(designs.take(rows))
        ensure(taken == [keys[i] for i in rows], "take gave other designs than its rows")
        half = len(designs) // 2
        parts = [designs.take(np.arange(half)), designs.take(np.arange(half, len(designs)))]
        ensure(space.keys(space.concatenate(parts)) == keys, "concatenate changed the designs")
        ensure(len(space.concatenate([])) == 0, "concatenate([]) is not empty")
        ensure(space.keys(designs) == keys, "take or concatenate changed the batch it was given")
    with checks.clause(
        "an integer gives one design, a name one column", "__getitem__ of the batch"
    ):
        one = designs[0]
        hash(one)
        columns = _plain(space.columns(designs))
        for name in space.names:
            column = _plain({name: designs[name]})[name]
            ensure(column == columns[name], f"designs[{name!r}] is not the column {name!r}")
            if isinstance(one, Mapping):
                same = _text(one[name]) == _text(columns[name][0])
                ensure(same, f"designs[0][{name!r}] is not the first of the column")


def _check_columns(checks: Checks, space: Space, designs: Any) -> None:
    with checks.clause("names, types and columns agree", "a name or a type left out of one"):
        names = list(space.names)
        ensure(names, "there are no names")
        ensure(len(set(names)) == len(names), f"a name stands twice in {names}")
        ensure(set(space.types) == set(names), f"types has {sorted(space.types)}, names {names}")
        kinds = {*_KINDS, "json"}
        for name, kind in space.types.items():
            ensure(kind in kinds, f"{name!r} has the type {kind!r}; known: {sorted(kinds)}")
        columns = _plain(space.columns(designs))
        ensure(list(columns) == names, f"columns gives {list(columns)}, names {names}")
        for name, values in columns.items():
            ensure(len(values) == len(designs), f"the column {name!r} has {len(values)} values")
            legal = _KINDS.get(space.types[name], (object,))
            for value in values:
                fits = value is None or isinstance(value, legal)
                fits = fits and not (isinstance(value, bool) and bool not in (*legal, object))
                ensure(
                    fits or legal == (object,),
                    f"{name!r} is {space.types[name]}, but holds {value!r}",
                )
    parameters = getattr(space, "parameters", None)
    if not isinstance(parameters, Mapping):
        return
    with checks.clause("inactive parameters are None", "a condition that is not masked"):
        columns = _plain(space.columns(designs))
        for name, item in parameters.items():
            if getattr(item, "when", None) is None:
                continue
            rule = Expression(item.when)
            for i, value in enumerate(columns[name]):
                row = {other: columns[other][i] for other in rule.names}
                active = None not in row.values() and bool(rule(row))
                shown = f"{name!r} is {value!r} where it is {'active' if active else 'inactive'}"
                ensure((value is not None) == active, shown)


def _check_round_trips(checks: Checks, space: Space, designs: Any, processes: bool) -> None:
    with checks.clause(
        "stored columns give the designs back", "from_columns does not undo columns"
    ):
        keys = space.keys(designs)
        schema = TableSchema(dict(space.types), [], [], [])
        stored = {f"param.{name}": column for name, column in space.columns(designs).items()}
        batch = schema.batch({"trial": np.arange(len(designs)), **stored})
        back = space.from_columns(schema.parameter_columns(batch))
        ensure(space.keys(back) == keys, "through the store's columns they have other keys")
        plain = _plain(space.columns(designs))
        text = json.loads(json.dumps(plain))
        ensure(space.keys(space.from_columns(text)) == keys, "through JSON they have other keys")
    if processes:
        with checks.clause(
            "another process understands the same columns", "keys from hash(), id() or a set"
        ):
            found = elsewhere(_keys_of, space, _plain(space.columns(designs)))
            ensure(found == space.keys(designs), "a second process gave other keys")


def _keys_of(space: Space, columns: Mapping[str, Any]) -> list[bytes]:
    return space.keys(space.from_columns(columns))


def _check_neighbors(checks: Checks, space: Space, designs: Any) -> None:
    with checks.clause("neighbors are other designs of the space", "a step of zero or too far"):
        for i in range(min(len(designs), 16)):
            one = designs.take(np.array([i]))
            near = space.neighbors(one)
            keys = space.keys(near)
            ensure(space.keys(one)[0] not in keys, f"the neighbors of {designs[i]} hold itself")
            ensure(len(set(keys)) == len(keys), f"a neighbor of {designs[i]} stands there twice")
            ensure(all(space.contains(near)), f"a neighbor of {designs[i]} is outside the space")
            ensure(space.keys(space.neighbors(one)) == keys, "they differ the second time")


def _check_cube(checks: Checks, space: Any, designs: Any, seed: int) -> None:
    if not (hasattr(space, "encode") and hasattr(space, "decode")):
        return
    with checks.clause("encode and decode agree", "rounding, or values at the edge of the cube"):
        unit = np.asarray(space.encode(designs))
        ensure(
            unit.ndim == 2 and len(unit) == len(designs),
            f"encode gave shape {unit.shape} for {len(designs)} designs",
        )
        ensure(
            unit.shape[1] == space.width, f"encode gave {unit.shape[1]} of {space.width} columns"
        )
        ensure(((unit >= 0) & (unit <= 1)).all(), "encode left [0, 1]")
        before, after = (_plain(space.columns(d)) for d in (designs, space.decode(unit)))
        for name in space.names:
            for a, b in zip(before[name], after[name], strict=True):
                same = (
                    math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
                    if isinstance(a, float) and isinstance(b, float)
                    else a == b
                )
                ensure(same, f"decode(encode(x)) turned {name} = {a!r} into {b!r}")
    with checks.clause("decode of any point is a design", "an edge of the cube, or no repair"):
        points = np.random.default_rng(seed).random((32, space.width))
        points[0], points[1] = 0.0, 1.0
        points[2:6] = np.round(points[2:6])
        decoded = space.decode(points)
        outside = np.flatnonzero(~np.asarray(space.contains(decoded)))
        ensure(not len(outside), f"decode gave designs outside the space at {len(outside)} of 32")
        alone = [space.keys(space.decode(points[i : i + 1]))[0] for i in range(8)]
        ensure(alone == space.keys(decoded)[:8], "a point decodes otherwise in a batch than alone")


def _check_size(checks: Checks, space: Any, designs: Any) -> None:
    with checks.clause("size is a number or None", "math.inf or a float"):
        size = space.size
        whole = isinstance(size, int) and not isinstance(size, bool) and size >= 1
        ensure(size is None or whole, f"size is {size!r}")
    size = space.size
    if size is None or not hasattr(space, "enumerate") or not size <= _ENUMERATED:
        return
    with checks.clause("enumerate gives every design once", "inactive values counted, or skipped"):
        keys: list[bytes] = []
        for batch in space.enumerate():
            ensure(all(space.contains(batch)), "an enumerated design is outside the space")
            keys += space.keys(batch)
        ensure(len(set(keys)) == len(keys), f"{len(keys) - len(set(keys))} designs come twice")
        ensure(len(keys) == size, f"size is {size}, but {len(keys)} designs are enumerated")
        left = set(space.keys(designs)) - set(keys)
        ensure(not left, f"{len(left)} sampled designs are never enumerated")


def _plain(columns: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return columns as lists, None where inactive."""
    plain = {}
    for name, values in columns.items():
        listed = np.ma.asarray(values) if isinstance(values, np.ndarray) else values
        plain[name] = listed.tolist() if isinstance(listed, np.ndarray) else list(listed)
    return plain


def _rows(space: Space, designs: Any) -> list[str]:
    return [_text(row) for row in zip(*_plain(space.columns(designs)).values(), strict=True)]


def _text(value: Any) -> str:
    return json.dumps(value)
