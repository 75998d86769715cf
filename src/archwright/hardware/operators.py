"""Operators: the unit of work that hardware is timed by, and graphs of them.

An operator says what one device does: operations, bytes, the shape its kernel is timed by, where
its operands lie and on which device of the instance it runs. Rooms above make them: `llm` of a
transformer's step, others of a network's layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["COMMUNICATION", "Graph", "Kind", "Operator", "tier_bytes"]

Kind = Literal[
    "gemm", "attention_prefill", "attention_decode", "moe", "memory", "sampling", "all_reduce",
    "all_to_all", "point_to_point",
]  # fmt: skip
COMMUNICATION = ("all_reduce", "all_to_all", "point_to_point")
"""Kinds of operators that move bytes between devices."""


@dataclass(frozen=True, kw_only=True)
class Operator:
    """Work of one device that is done `count` times.

    Figures are for one run, as whole numbers wherever the batch is given in whole numbers
    (expectations of experts and formats of broken bits apart), or arrays over the batch's axis.

    >>> product = Operator(
    ...     name="mlp.down", kind="gemm", count=32, flops=2 * 8 * 4096 * 14336, shape={},
    ...     weight_bytes=2 * 4096 * 14336, activation_bytes=2 * 8 * (4096 + 14336), formula="",
    ... )
    >>> product.tier_bytes == {"memory": product.weight_bytes + product.activation_bytes}
    True

    Attributes:
        name: such as ``attention.qkv`` or ``mlp.gate_up``.
        kind: which law of `archwright.hardware` times it.
        count: runs; an array where some compositions do without it.
        flops: operations of matrix products.
        weight_bytes: weights read.
        activation_bytes: activations read and written.
        kv_bytes: cache read.
        communication_bytes: size of the message.
        shape: keyword arguments of its law, the device left out.
        weight_format: number format of its weights.
        placement: which device of the instance it runs on; 0 where all do alike.
        weight_tier: where its weights lie, as `archwright.hardware.Tier.name`.
        kv_tier: where the cache lies that it reads.
        formula: how it is counted.
    """

    name: str
    kind: Kind
    count: Any
    flops: Any = 0
    weight_bytes: Any = 0
    activation_bytes: Any = 0
    kv_bytes: Any = 0
    communication_bytes: Any = 0
    shape: Mapping[str, Any]
    weight_format: str = "bf16"
    placement: int = 0
    weight_tier: str = "memory"
    kv_tier: str = "memory"
    formula: str

    @property
    def tier_bytes(self) -> dict[str, Any]:
        """Bytes of one run by tier: ``memory`` or where operands lie, ``peer`` for messages."""
        found: dict[str, Any] = {}
        for tier, size in (
            (self.weight_tier, self.weight_bytes),
            (self.kv_tier, self.kv_bytes),
            ("memory", self.activation_bytes),
            ("peer", self.communication_bytes),
        ):
            if not (isinstance(size, int) and size == 0):
                found[tier] = found.get(tier, 0) + size
        return found


Graph = tuple[Operator, ...]
"""Operators in the order in which they run."""


def tier_bytes(graph: Iterable[Operator]) -> dict[str, Any]:
    """Return the bytes of all runs of a graph by tier."""
    found: dict[str, Any] = {}
    for op in graph:
        for tier, size in op.tier_bytes.items():
            found[tier] = found.get(tier, 0) + op.count * size
    return found
