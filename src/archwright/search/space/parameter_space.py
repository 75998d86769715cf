"""The space of named parameters, with conditions and arithmetic limits between them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError, unknown
from archwright.search.space.design import Designs
from archwright.search.space.enumeration import Enumeration
from archwright.search.space.expression import Expression
from archwright.search.space.parameters import Codes, Parameter
from archwright.search.space.reading import described

__all__ = ["ParameterSpace"]

_SAMPLE_ATTEMPTS = 200_000
_COUNTABLE = 2_000_000


class ParameterSpace:
    """A space of named parameters, with conditions and arithmetic limits between them.

    >>> from archwright.search import Choice, Integer
    >>> space = ParameterSpace(
    ...     {"heads": Integer(1, 64), "kv_heads": Integer(1, 8)},
    ...     require=["heads % kv_heads == 0"],
    ... )
    >>> designs = space.sample(np.random.default_rng(0), 100)
    >>> bool((designs["heads"] % designs["kv_heads"] == 0).all())
    True

    Args:
        parameters: name to parameter, in the order of the columns.
        require: conditions that every design meets.

    Raises:
        SpecificationError: an unknown name in a condition, or conditions in a circle.
    """

    def __init__(
        self, parameters: Mapping[str, Parameter], *, require: Sequence[str] = ()
    ) -> None:
        if not parameters:
            raise SpecificationError("a space needs at least one parameter")
        for name, item in parameters.items():
            if not isinstance(item, Parameter):
                raise SpecificationError(f"{name}: expected a parameter, found {item!r}")
        self.parameters = dict(parameters)
        self.names = tuple(parameters)
        self.types: Mapping[str, str] = {n: p.type for n, p in parameters.items()}
        widths = [p.width for p in parameters.values()]
        edges = np.concatenate([[0], np.cumsum(widths)])
        self._slices = {
            n: slice(int(a), int(b))
            for n, a, b in zip(self.names, edges[:-1], edges[1:], strict=True)
        }
        self.width = int(edges[-1])
        """Number of dimensions of the unit cube."""
        self.require = tuple(Expression(text, where="require") for text in require)
        for rule in self.require:
            rule.check_names(self.names)
        self._conditions = self._order_conditions()
        even = {n: p for n, p in self.parameters.items() if p.even is not None}
        self._uneven = [(self._slices[n], p) for n, p in self.parameters.items() if n not in even]
        self._even = np.array([self._slices[n].start for n in even], dtype=np.intp)
        self._first, self._step = np.array([p.even for p in even.values()]).reshape(-1, 2).T
        self._count = np.array([p.size for p in even.values()])
        self._size: int | str | None = "unknown"

    def __repr__(self) -> str:
        return f"ParameterSpace({', '.join(self.names)})"

    def describe(self) -> dict[str, Any]:
        """Return plain data that names the space: equal spaces describe themselves equally."""
        return {
            "parameters": {n: repr(p) for n, p in self.parameters.items()},
            "require": [rule.text for rule in self.require],
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> ParameterSpace:
        """Return the space that :meth:`describe` described.

        >>> from archwright.search import Integer
        >>> space = ParameterSpace({"a": Integer(1, 9), "b": Integer(1, 9)}, require=["a < b"])
        >>> ParameterSpace.from_description(space.describe()).size == space.size
        True

        Raises:
            SpecificationError: it is no description of a space.
        """
        parameters = {
            name: described(text, where=name) for name, text in description["parameters"].items()
        }
        return cls(parameters, require=description["require"])

    @property
    def size(self) -> int | None:
        """Number of designs; None where it is infinite, or too large to count under limits."""
        if self._size == "unknown":
            self._size = self._number()
        return self._size  # type: ignore[return-value]

    def sample(self, rng: np.random.Generator, n: int) -> Designs:
        """Return n designs drawn uniformly, by rejection where ``require`` asks it.

        Raises:
            SpecificationError: no design meets ``require`` among 200,000 drawn.
        """
        designs = self._decode(rng.random((n, self.width)))
        if not self.require:
            return designs
        kept = [designs.take(self._meets(designs))]
        found, drawn = len(kept[0]), n
        while found < n:
            if drawn >= _SAMPLE_ATTEMPTS and found == 0:
                raise SpecificationError(
                    f"require: none of {drawn} designs drawn meets "
                    f"{[rule.text for rule in self.require]}"
                )
            more = self._decode(rng.random((max(4 * (n - found), 256), self.width)))
            kept.append(more.take(self._meets(more)))
            found, drawn = found + len(kept[-1]), drawn + len(more)
        return Designs(self, np.concatenate([k.codes for k in kept])[:n])

    def feasible_share(self, n: int = 4096) -> float:
        """Return the share of n designs (fixed seed) that meet ``require``."""
        if not self.require:
            return 1.0
        return float(
            self._meets(self._decode(np.random.default_rng(0).random((n, self.width)))).mean()
        )

    def contains(self, designs: Designs) -> npt.NDArray[np.bool_]:
        """Say for each design whether its values are legal, rightly active, and allowed."""
        codes = designs.codes
        inside = np.ones(len(codes), dtype=bool)
        for name, item in self.parameters.items():
            part = codes[:, self._slices[name]]
            active = ~np.isnan(part).all(axis=1)
            legal = np.zeros(len(codes), dtype=bool)
            legal[active] = _legal(item, part[active])
            inside &= legal | (~active if item.when is not None else False)
        for name, rule in self._conditions:
            given = ~np.isnan(codes[:, self._slices[name]]).any(axis=1)
            inside &= given == self.holds(rule, codes)
        return inside & self._meets(designs) if self.require else inside

    def keys(self, designs: Designs) -> list[bytes]:
        """Return the bytes of each design's codes."""
        codes = np.ascontiguousarray(designs.codes) + 0.0  # -0.0 and 0.0 are one value
        step, data = codes.shape[1] * 8, codes.tobytes()
        return [data[i : i + step] for i in range(0, len(data), step)]

    def neighbors(self, design: Designs) -> Designs:
        """Return the designs that differ from one design by one step of one parameter."""
        row = self._unmask(design.codes[:1])
        found = []
        for name, item in self.parameters.items():
            if np.isnan(design.codes[0, self._slices[name]]).any():
                continue
            near = item.neighbors(design.codes[0, self._slices[name]])
            rows = np.repeat(row, len(near), axis=0)
            rows[:, self._slices[name]] = near
            found.append(rows)
        every = Designs(self, self._mask(np.concatenate(found) if found else row[:0]))
        keys = self.keys(every)
        own = self.keys(design)[0]
        first = {key: i for i, key in reversed(list(enumerate(keys))) if key != own}
        every = every.take(np.array(sorted(first.values()), dtype=np.intp))
        return every.take(self._meets(every)) if self.require else every

    def encode(self, designs: Designs) -> Codes:
        """Map designs to the unit cube, shape (n, width); inactive parameters to 0.5."""
        unit = self._unit_of(designs.codes)
        return np.where(np.isnan(unit), 0.5, unit)

    def decode(self, unit: Codes) -> Designs:
        """Map points of the unit cube to designs; ``require`` is met by repair."""
        designs = self._decode(np.clip(np.asarray(unit, dtype=np.float64), 0.0, 1.0))
        return self.repair(designs) if self.require else designs

    def repair(self, designs: Designs) -> Designs:
        """Return designs that meet ``require``, each changed as little as was found possible.

        One parameter of the broken conditions is changed, then two, else the design becomes the
        nearest of 1,024 feasible samples; distance is measured in the unit cube.
        """
        bad = np.flatnonzero(~self._meets(designs))
        if not len(bad):
            return designs
        codes = designs.codes.copy()
        for i in bad:
            codes[i] = self._repair_one(codes[i])
        return Designs(self, codes)

    def enumerate(self, batch: int = 4096) -> Iterator[Designs]:
        """Yield every design once, in batches, the last parameter fastest.

        Raises:
            SpecificationError: a parameter has no finite list of values.
        """
        for name, item in self.parameters.items():
            if item.size == math.inf:
                raise SpecificationError(f"{name}: a Real cannot be enumerated; give a list")
        yield from Enumeration(self, batch).designs()

    def concatenate(self, batches: Sequence[Designs]) -> Designs:
        """Join batches."""
        empty = np.empty((0, self.width))
        return Designs(self, np.concatenate([empty, *(b.codes for b in batches)]))

    def column(self, codes: Codes, name: str) -> npt.NDArray[Any]:
        """Return the values of one parameter; masked where inactive."""
        if name not in self._slices:
            raise SpecificationError(unknown("parameter", name, self.names))
        item, part = self.parameters[name], codes[:, self._slices[name]]
        if item.when is None:
            return item.values(part)
        inactive = np.isnan(part).any(axis=1)
        if not inactive.any():
            return item.values(part)
        values = item.values(np.where(np.isnan(part), item.grid(1)[:1], part))
        return np.ma.MaskedArray(values, mask=inactive)

    def columns(self, designs: Designs) -> dict[str, npt.NDArray[Any]]:
        """Return the column of each parameter; masked where inactive."""
        return {name: self.column(designs.codes, name) for name in self.names}

    def from_columns(self, columns: Mapping[str, Sequence[Any]]) -> Designs:
        """Rebuild designs from plain columns; None marks an inactive value.

        Raises:
            SpecificationError: a name or a value is not of this space.
        """
        for name in columns:
            if name not in self._slices:
                raise SpecificationError(unknown("parameter", name, self.names))
        missing = [name for name in self.names if name not in columns]
        if missing:
            raise SpecificationError(f"the parameter {missing[0]!r} has no column")
        n = len(columns[self.names[0]])
        for name in self.names:
            if len(columns[name]) != n:
                raise SpecificationError(
                    f"the column {name!r} has {len(columns[name])} values, {self.names[0]!r} {n}"
                )
        codes = np.empty((n, self.width))
        for name, item in self.parameters.items():
            given = columns[name]
            part = item.codes(given)
            for row in np.flatnonzero(np.isnan(part).any(axis=1)).tolist():
                if given[row] is not None or item.when is None:
                    raise SpecificationError(f"{name}: {given[row]!r} is not a value of {item}")
            codes[:, self._slices[name]] = part
        return Designs(self, codes)

    def design(self, values: Mapping[str, Any]) -> Designs:
        """Return a batch of one from name to value; absent conditional parameters are inactive."""
        row = {name: [values.get(name)] for name in self.names}
        for name in values:
            if name not in row:
                raise SpecificationError(unknown("parameter", name, self.names))
        return self.from_columns(row)

    @property
    def conditions(self) -> tuple[tuple[str, Expression], ...]:
        """Conditional parameters with their conditions, each after those it depends on."""
        return tuple(self._conditions)

    def slice_of(self, name: str) -> slice:
        """Return the columns of a parameter among the codes."""
        return self._slices[name]

    # How it works inside

    def _order_conditions(self) -> list[tuple[str, Expression]]:
        """Sort the conditional parameters so that each follows those its condition names."""
        waiting = {
            name: Expression(item.when, where=f"{name}.when")
            for name, item in self.parameters.items()
            if item.when is not None
        }
        for rule in waiting.values():
            rule.check_names(self.names)
        ordered: list[tuple[str, Expression]] = []
        while waiting:
            ready = [n for n, rule in waiting.items() if not set(rule.names) & set(waiting)]
            if not ready:
                raise SpecificationError(f"when: conditions in a circle: {', '.join(waiting)}")
            ordered += [(name, waiting.pop(name)) for name in ready]
        return ordered

    def _decode(self, unit: Codes) -> Designs:
        codes = np.empty_like(unit)
        index = np.minimum(np.floor(unit[:, self._even] * self._count), self._count - 1)
        codes[:, self._even] = self._first + index * self._step
        for part, item in self._uneven:
            codes[:, part] = item.from_unit(unit[:, part])
        return Designs(self, self._mask(codes))

    def _mask(self, codes: Codes) -> Codes:
        for name, rule in self._conditions:
            active = self.holds(rule, codes)
            codes[~active, self._slices[name]] = math.nan
        return codes

    def _unmask(self, codes: Codes) -> Codes:
        """Give inactive parameters their first value, so that a step may activate them."""
        codes = codes.copy()
        for name, _ in self._conditions:
            part = codes[:, self._slices[name]]
            first = self.parameters[name].grid(1)[:1]
            codes[:, self._slices[name]] = np.where(np.isnan(part), first, part)
        return codes

    def holds(
        self, rule: Expression, codes: Codes, *, inactive: bool = False
    ) -> npt.NDArray[np.bool_]:
        """Evaluate a condition; where it names an inactive parameter it is ``inactive``."""
        n = len(codes)
        columns = {}
        known = np.ones(n, dtype=bool)
        for name in rule.names:
            column = self.column(codes, name)
            if isinstance(column, np.ma.MaskedArray):
                known &= ~np.ma.getmaskarray(column)
                column = column.data
            columns[name] = column
        result = np.broadcast_to(np.asarray(rule(columns), dtype=bool), (n,))
        return np.where(known, result, inactive)

    def _meets(self, designs: Designs) -> npt.NDArray[np.bool_]:
        met = np.ones(len(designs), dtype=bool)
        for rule in self.require:
            met &= self.holds(rule, designs.codes, inactive=True)
        return met

    def _repair_one(self, code: Codes) -> Codes:
        row = self._unmask(code[None, :])
        here = self._unit_of(row)[0]
        broken = [
            rule
            for rule in self.require
            if not self.holds(rule, self._mask(row.copy()), inactive=True)[0]
        ]
        involved = list(dict.fromkeys(name for rule in broken for name in rule.names))
        for group in (
            [[n] for n in involved],
            [[a, b] for i, a in enumerate(involved) for b in involved[i + 1 :]],
        ):
            rows = [
                self._alternatives(row, names, 256 if len(names) == 1 else 48) for names in group
            ]
            if not rows:
                continue
            best = self._nearest(np.concatenate(rows), here)
            if best is not None:
                return best
        pool = self.sample(np.random.default_rng(0), 1024)
        best = self._nearest(self._unmask(pool.codes), here)
        assert best is not None
        return best

    def _alternatives(self, row: Codes, names: list[str], most: int) -> Codes:
        rows = row
        for name in names:
            grid = self.parameters[name].grid(most)
            rows = np.repeat(rows, len(grid), axis=0)
            rows[:, self._slices[name]] = np.tile(grid, (len(rows) // len(grid), 1))
        return rows

    def _nearest(self, rows: Codes, here: Codes) -> Codes | None:
        designs = Designs(self, self._mask(rows.copy()))
        good = np.flatnonzero(self._meets(designs))
        if not len(good):
            return None
        distance = np.abs(self._unit_of(rows[good]) - here).sum(axis=1)
        best: Codes = designs.codes[good[int(np.argmin(distance))]]
        return best

    def _unit_of(self, codes: Codes) -> Codes:
        unit = np.empty_like(codes)
        even = (codes[:, self._even] - self._first) / self._step
        unit[:, self._even] = (even + 0.5) / self._count
        for part, item in self._uneven:
            unit[:, part] = item.to_unit(codes[:, part])
        return unit

    def _number(self) -> int | None:
        sizes = [p.size for p in self.parameters.values()]
        if math.inf in sizes:
            return None
        grid = math.prod(sizes)  # may be too large for a float
        if not self._conditions and not self.require:
            return int(grid)
        return Enumeration(self, 4096).count(_COUNTABLE)


def _legal(item: Parameter, codes: Codes) -> npt.NDArray[np.bool_]:
    if np.isnan(codes).any():
        return np.asarray(~np.isnan(codes).any(axis=1))
    if hasattr(item, "options"):
        n = len(item.options)
        return np.asarray(((codes >= 0) & (codes < n) & (codes == np.floor(codes))).all(axis=1))
    values = item.values(codes)
    return np.asarray((item.codes(values.tolist()) == codes).all(axis=1))
