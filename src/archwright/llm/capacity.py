"""What fits into the memory of an instance: weights, and the KV cache beside them."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from archwright.errors import SpecificationError
from archwright.formats import weight_format as _weight_format
from archwright.hardware import Device
from archwright.hardware.tables import catalogue_toml
from archwright.llm.architecture import Transformer
from archwright.llm.footprint import memory
from archwright.llm.parallel import WHOLE, ParallelPlan
from archwright.provenance import Source

__all__ = ["assumptions", "free_kv_bytes", "kv_capacity_tokens", "supports"]

Floats = NDArray[np.float64]


@cache
def assumptions() -> dict[str, tuple[float, Source]]:
    """Return the assumed constants of memory and where they come from.

    >>> assumptions()["usable_memory"][0]
    0.9
    """
    table = catalogue_toml("archwright.llm", "assumptions.toml")
    return {
        name: (
            float(row["value"]),
            Source(source=row["source"], date=row["date"], flag=row["flag"]),
        )
        for name, row in table.items()
    }


def supports(device: Device, weight_format: str) -> str | None:
    """Return why a device cannot run a weight format, None where it can.

    >>> from archwright.hardware import device
    >>> supports(device("H100-SXM"), "fp8") is None
    True
    >>> supports(device("A100-80GB-SXM"), "fp8")
    'A100-80GB-SXM has no fp8 matrix rate, which fp8 needs'
    """
    wanted = _weight_format(weight_format).compute
    if any(dtype in device.peak_ops_s for dtype in wanted):
        return None
    unpacked = catalogue_toml("archwright.llm", "kernels.toml")["weight_only"]
    if weight_format in unpacked and any(t in device.peak_ops_s for t in ("bf16", "fp16")):
        return None  # weights are unpacked, see `StepCost.notes`
    return f"{device.name} has no {' or '.join(wanted)} matrix rate, which {weight_format} needs"


def free_kv_bytes(
    model: Transformer,
    device: Device,
    *,
    parallel: ParallelPlan = WHOLE,
    weight_format: str = "bf16",
    usable: float | None = None,
) -> float:
    """Return the bytes left for the KV cache on each device; negative: the weights do not fit.

    >>> from archwright.hardware import device
    >>> from archwright.llm import transformer
    >>> free_kv_bytes(transformer("Llama-3.1-70B"), device("H100-SXM")) < 0
    True

    Args:
        model: the transformer.
        device: one of the equal devices.
        parallel: how the model is cut.
        weight_format: name of a weight format.
        usable: share of the memory that the engine takes; by default the assumed one.

    Raises:
        SpecificationError: the memory of the device is not known, or the model cannot be cut so.
    """
    if device.memory_bytes is None:
        raise SpecificationError(f"the memory of {device.name} is not known")
    constant = {name: value for name, (value, _) in assumptions().items()}
    weights = memory(model, parallel=parallel, weight_format=weight_format).weight_bytes
    share = constant["usable_memory"] if usable is None else usable
    return share * device.memory_bytes - constant["reserve_bytes"] - weights


def kv_capacity_tokens(
    model: Transformer,
    device: Device,
    *,
    parallel: ParallelPlan = WHOLE,
    weight_format: str = "bf16",
    kv_format: str = "bf16",
    context_tokens: ArrayLike = 1.0,
    usable: float | None = None,
) -> Floats:
    """Return the tokens whose KV cache fits beside the weights, in sequences of such length.

    The length matters only for models with sliding windows. Groups of data-parallel attention
    hold a cache each, which add up. Zero where the weights do not fit.

    >>> from archwright.hardware import device
    >>> from archwright.llm import transformer
    >>> n = kv_capacity_tokens(transformer("Llama-3.1-8B"), device("H100-SXM"))
    >>> 400_000 < int(n) < 500_000
    True
    """
    free = free_kv_bytes(
        model, device, parallel=parallel, weight_format=weight_format, usable=usable
    )
    footprint = memory(model, parallel=parallel, weight_format=weight_format, kv_format=kv_format)
    context = np.asarray(context_tokens, dtype=np.float64)
    per_token = footprint.kv_bytes(context) / context
    return np.asarray(parallel.data_parallel_attention * max(free, 0.0) / per_token)
