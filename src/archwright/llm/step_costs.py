"""The cost of the same steps on many instances at once: one evaluation of the laws for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archwright.errors import SpecificationError
from archwright.hardware.operators import Operator
from archwright.llm.batch import StepBatch
from archwright.llm.kernel_calls import KernelCall, by_law, stacked
from archwright.llm.step_cost import StepCost

__all__ = ["StackedSteps", "step_costs"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class StackedSteps:
    """What steps cost on many instances; every array has the instances along its first axis.

    Attributes:
        seconds: time of the step, the host included.
        low: low end of the 90 % interval.
        high: high end.
        host_s: time of the host in it.
        memory_s: time that the bytes take at full bandwidth.
        compute_s: time that the operations take at peak rate.
    """

    seconds: Floats
    low: Floats
    high: Floats
    host_s: Floats
    memory_s: Floats
    compute_s: Floats


def step_costs(costs: Sequence[StepCost], batch: StepBatch) -> StackedSteps:
    """Return what the same steps cost on many instances.

    The values are those of each cost alone; the laws run once over all devices, widths and
    formats, which is several times faster.

    >>> from archwright.hardware import device
    >>> from archwright.llm import transformer
    >>> model = transformer("Llama-3.1-8B")
    >>> costs = [StepCost(model=model, device=device(d)) for d in ("H100-SXM", "L40S")]
    >>> batch = StepBatch(decode_batch=[1, 64], decode_context=1000)
    >>> found = step_costs(costs, batch)
    >>> found.seconds.shape, bool(np.allclose(found.seconds[1], costs[1](batch).seconds))
    ((2, 2), True)

    Args:
        costs: models, instances and formats; back end ``fitted``.
        batch: the composition of one step, or of many.

    Raises:
        SpecificationError: no cost, or one of another back end.
    """
    if not costs or any(cost.back_end != "fitted" for cost in costs):
        raise SpecificationError("costs: expected one or more, each of the back end 'fitted'")
    shape = np.broadcast_shapes(*(np.shape(getattr(batch, name)) for name in _AXES))
    planes = np.zeros((6, len(costs), *shape))
    calls: list[KernelCall] = []
    owners: list[int] = []
    runs: list[Any] = []
    graphs: dict[Any, tuple[list[Operator], Any, dict[Any, Any]]] = {}
    for t, cost in enumerate(costs):
        key = cost.graph_key
        if key not in graphs:
            graphs[key] = _graph(cost.operators(batch))
        graph, moved, operations = graphs[key]
        for op, call in zip(graph, cost.calls(graph), strict=True):
            if isinstance(call, KernelCall):
                calls.append(call)
                owners.append(t)
                runs.append(op.count)
            else:  # a message over several levels of links, timed already
                for plane, value in enumerate(call):
                    planes[plane, t] += op.count * value
        planes[3, t] = cost.host_s(batch)
        planes[4, t] = moved / cost.device.memory_bandwidth_bytes_s
        for dtype, flops in operations.items():
            planes[5, t] += flops / cost.peak_of(dtype)
    found = np.zeros((3, len(calls), *shape))
    for places, timed in by_law(calls):
        count = stacked([[runs[i], np.ones(shape)] for i in places])[0]
        for plane, values in enumerate(timed):
            wide = values.reshape(
                len(places), *(1,) * (count.ndim - values.ndim), *values.shape[1:]
            )
            found[plane, places] = wide * count
    # calls of one cost stand together, and are added up in the order of its graph: no bit of a
    # cost depends on what is asked beside it
    mine = np.array(owners, dtype=np.intp)
    first = np.flatnonzero(np.diff(mine, prepend=-1))
    planes[:3, mine[first]] += np.add.reduceat(found, first, axis=1)
    planes[:3] += planes[3]
    return StackedSteps(
        seconds=planes[0], low=planes[1], high=planes[2], host_s=planes[3],
        memory_s=planes[4], compute_s=planes[5],
    )  # fmt: skip


def _graph(graph: list[Operator]) -> tuple[list[Operator], Any, dict[Any, Any]]:
    """Return a graph with its bytes in all, and its operations by number format."""
    moved: Any = 0.0
    operations: dict[Any, Any] = {}
    for op in graph:
        moved = moved + op.count * (op.weight_bytes + op.kv_bytes + op.activation_bytes)
        dtype = op.shape.get("dtype")
        if dtype is not None:
            operations[dtype] = operations.get(dtype, 0.0) + op.count * op.flops
    return graph, moved, operations


_AXES = (
    *("decode_batch", "decode_context", "prefill_requests"),
    *("prefill_query_tokens", "prefill_context_tokens"),
)
