"""Many kernels timed at once: calls of one law are evaluated together, of one device or of many.

A call names a law, the machine and the constants that hold, and its sizes. Those of the same law
are stacked along a first axis, constants and figures of the machine too, and the law runs once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from archwright.hardware.evaluation import Timed, assumption
from archwright.hardware.laws import LAWS, Machine
from archwright.hardware.profiles import DATASHEET, EDGES_S, Fitted, shipped

__all__ = ["KernelCall", "by_law", "evaluate", "stacked"]

Floats = NDArray[np.float64]
_FIELDS = tuple(field.name for field in fields(Machine) if field.name != "quantizes")


class KernelCall(NamedTuple):
    """One kernel to be timed.

    Attributes:
        law: name of a law, or ``memory`` or ``sampling``.
        machine: the device, for the number format.
        fitted: constants and interval.
        sizes: arguments of the law, which broadcast.
    """

    law: str
    machine: Machine
    fitted: Fitted
    sizes: tuple[Any, ...]

    @classmethod
    def stream(cls, machine: Machine, size: Any) -> KernelCall:
        """Return a streaming kernel of so many bytes."""
        return cls("memory", machine, shipped()["gemm"][DATASHEET]["bfloat16"], (size,))


def _memory(machine: Any, constants: Mapping[str, Any], size: Any) -> Any:
    row = assumption("memory")
    return row["launch_s"] + size / (machine.bandwidth * row["share"])


def _sampling(machine: Any, constants: Mapping[str, Any], entries: Any, *rule: Any) -> Any:
    """Return the longer of the passes and the sort; `rule` is bytes and cycles an entry."""
    size, cycles = rule
    sorting = cycles * entries / (machine.units * machine.clock)
    return np.maximum(
        _memory(machine, constants, size * entries), assumption("memory")["launch_s"] + sorting
    )


_FORMULAS: Mapping[str, Callable[..., Any]] = {
    **LAWS, "memory": _memory, "sampling": _sampling
}  # fmt: skip


def evaluate(calls: Sequence[KernelCall]) -> list[Timed]:
    """Return the time of each call, with its interval.

    The operator graph gives only legal shapes, so nothing is checked.
    """
    found: list[Timed] = [Timed(0.0, 0.0, 0.0)] * len(calls)
    for places, ends in by_law(calls):
        for i, *timed in zip(places, *ends, strict=True):
            found[i] = Timed(*timed)
    return found


def by_law(calls: Sequence[KernelCall]) -> Iterator[tuple[list[int], Timed]]:
    """Give the places of the calls of each law, and their times stacked along the first axis."""
    groups: dict[str, list[int]] = {}
    for i, call in enumerate(calls):
        groups.setdefault(call.law, []).append(i)
    for law, places in groups.items():
        yield places, _together(law, [calls[i] for i in places])


def _together(law: str, calls: list[KernelCall]) -> Timed:
    sizes = stacked([call.sizes for call in calls])
    first, formula = calls[0], _FORMULAS[law]
    machines = {id(call.machine) for call in calls}
    fits = {id(call.fitted) for call in calls}
    depth = max(size.ndim for size in sizes) - 1
    machine = first.machine if len(machines) == 1 else _machines(calls, depth)
    if len(fits) == 1:
        seconds = np.asarray(formula(machine, first.fitted.constants, *sizes))
        return _ends(seconds, first.fitted.low, first.fitted.high)
    constants = {
        name: _column([call.fitted.constants[name] for call in calls], depth)
        for name in first.fitted.constants
    }
    seconds = np.asarray(formula(machine, constants, *sizes))
    low = np.array([call.fitted.low for call in calls])
    high = np.array([call.fitted.high for call in calls])
    regime = np.searchsorted(EDGES_S, seconds)
    row = np.arange(len(calls)).reshape(-1, *(1,) * (seconds.ndim - 1))
    return Timed(seconds, seconds * low[row, regime], seconds * high[row, regime])


def _ends(seconds: Floats, low: Sequence[float], high: Sequence[float]) -> Timed:
    regime = np.searchsorted(EDGES_S, seconds)
    return Timed(seconds, seconds * np.asarray(low)[regime], seconds * np.asarray(high)[regime])


def _machines(calls: Sequence[KernelCall], depth: int) -> Any:
    """Return the machines of calls as one, each figure a column."""
    columns = {
        name: _column([getattr(call.machine, name) for call in calls], depth) for name in _FIELDS
    }
    return Machine(**columns, quantizes=False)


def _column(values: list[float], depth: int) -> Any:
    if all(value == values[0] for value in values):
        return values[0]
    return np.array(values).reshape(-1, *(1,) * depth)


def stacked(calls: Sequence[Sequence[Any]]) -> list[Floats]:
    """Return each argument of some calls as one array, the calls along the first axis."""
    columns = [[np.asarray(v, dtype=np.float64) for v in c] for c in zip(*calls, strict=True)]
    most = max(value.ndim for column in columns for value in column)
    stacked = []
    for column in columns:
        if any(value.shape != column[0].shape for value in column):
            column = list(np.broadcast_arrays(*column))
        whole = np.array(column)
        room = (1,) * (most + 1 - whole.ndim)
        stacked.append(whole.reshape(len(column), *room, *whole.shape[1:]))
    return stacked
