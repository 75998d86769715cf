"""Kernel times as formulas of a shape, a machine and a few constants; numpy in, numpy out.

Every law is a launch, plus the p-norm of what the arithmetic units and the memory need. The
constants are shares of a datasheet figure (0 to 1) or clock cycles, so that they carry over to
a machine that was never measured. What each one means and may be stands in the catalogue
``laws.toml``. Every law grows with the work and shrinks with peak and bandwidth, and none
comes out faster than the roofline with the cache counted.

Sources: Williams et al., "Roofline" (CACM 2009); wave quantization as in NVIDIA's "Matrix
multiplication background user's guide"; Dao et al., "Flash-Decoding" (2023); Thakur et al.,
"Optimization of collective communication operations in MPICH" (2005).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BOUNDS", "LAWS", "Array", "Constants", "Machine"]

Array = NDArray[np.float64]
Constants = Mapping[str, float]

TILE = 64
"""Side of the output tile that one compute unit works on in a matmul."""
SPLIT = 256
"""Fewest multiply-adds along k that a split leaves to one unit."""
ROWS = 128
"""Queries of one block, and keys of one step, in attention."""
LONG_S = 1e-3
"""A kernel of about this length feels the power limit."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The datasheet figures that the laws need, for one number format.

    Attributes:
        peak: dense operations/s of the format.
        bandwidth: memory bytes/s.
        units: compute units.
        clock: cycles/s.
        l2: bytes of the last-level cache.
        link: bytes/s out of the device, one direction.
        weight: bytes of a weight (of a KV-cache element in attention).
        activation: bytes of an activation.
        output: bytes of an output.
        quantizes: a product narrows its activations in a kernel of its own, as the tables time
            it; engines do it where the activations are made.
    """

    peak: float
    bandwidth: float
    units: float
    clock: float
    l2: float
    link: float = 0.0
    weight: float = 2.0
    activation: float = 2.0
    output: float = 2.0
    quantizes: bool = True


def _norm(a: Array, b: Array, p: float) -> Array:
    """Return (a^p + b^p)^(1/p): the maximum, with imperfect overlap near the crossing."""
    larger = np.maximum(a, b)
    ratio = np.minimum(a, b) / larger
    return np.asarray(larger * (1.0 + ratio**p) ** (1.0 / p))


def _cached(used: Array, machine: Machine, c: Constants) -> Array:
    """Return the factor on memory time of operands that may still lie in the cache.

    A share ``cache_share`` of the cache counts, a working set above it misses; a hit comes at
    ``cache_bytes_cycle`` a unit and cycle.
    """
    miss = 1.0 / (1.0 + (c["cache_share"] * machine.l2 / used) ** 2)
    speed = c["cache_bytes_cycle"] * machine.units * machine.clock / machine.bandwidth
    return np.asarray(miss + (1.0 - miss) / np.maximum(1.0, speed))


def gemm(machine: Machine, c: Constants, m: Array, n: Array, k: Array) -> Array:
    """Time (m × k)·(k × n): tiles in waves, a split along k where tiles are few."""
    tiles = np.ceil(m * (1.0 / TILE)) * np.ceil(n * (1.0 / TILE))
    tile_s = 2.0 * TILE * TILE * machine.units / (machine.peak * c["compute"])  # a step of k
    loop_s = c["loop_cycles"] / machine.clock
    whole = k * (np.ceil(tiles / machine.units) * tile_s + loop_s)
    parts = np.minimum(
        np.maximum(np.floor(machine.units / tiles), 1.0), np.maximum(k / SPLIT, 1.0)
    )
    split = k / parts * (tile_s + loop_s) + c["split_cycles"] / machine.clock
    compute = np.where(parts > 1.0, np.minimum(whole, split), whole)
    ideal = 2.0 * m * n * k / machine.peak
    compute *= 1.0 + c["throttle"] * ideal / (ideal + LONG_S)
    read = machine.weight * n * k + machine.activation * m * k
    written = machine.output * m * n
    memory = (read / c["read"] + written / c["write"]) / machine.bandwidth
    memory *= _cached(read + written, machine, c)
    start: Array | float = c["launch_cycles"] / machine.clock
    if machine.quantizes and machine.activation < machine.output:  # first, by row or block
        quantized = (machine.output + machine.activation) * m * k
        start = start + quantized / (machine.bandwidth * c["quantize"])
        start = start + c["quantize_cycles"] / machine.clock
    return np.asarray(start + _norm(compute, memory, c["norm"]))


def attention_prefill(
    machine: Machine,
    c: Constants,
    batch: Array,
    query: Array,
    context: Array,
    heads: Array,
    kv_heads: Array,
    head_dim: Array,
    window: Array,
) -> Array:
    """Time causal attention of many queries: blocks of queries, the longest one a bound."""
    seen = np.minimum(context, window)
    pairs, rising = _causal_pairs(query, context, window)
    # A block computes whole steps of keys at the diagonal and at the window's far end.
    pairs = pairs + 0.5 * ROWS * (2.0 * query - rising)
    # The softmax of a score costs a unit as much as that many elements of the head.
    pair_s = 4.0 * (head_dim + c["softmax_dim"]) / (machine.peak * c["compute"])
    compute = pair_s * np.maximum(batch * heads * pairs, machine.units * ROWS * seen)
    moved = 2.0 * batch * kv_heads * seen * head_dim * machine.weight
    moved = moved + 2.0 * batch * query * heads * head_dim * machine.activation
    memory = moved / machine.bandwidth
    # Rotary embedding and the write of the KV cache come in kernels of their own.
    around = batch * query * (heads + kv_heads) * head_dim * machine.activation
    around_s = around / (machine.bandwidth * c["around"])
    blocks = batch * heads * np.ceil(query * (1.0 / ROWS)) / machine.units
    start = (c["launch_cycles"] + c["block_cycles"] * blocks) / machine.clock
    return np.asarray(start + around_s + np.maximum(compute, memory))


def _causal_pairs(query: Array, context: Array, window: Array) -> tuple[Array, Array]:
    """Return the pairs of a query and a key it sees, and the queries that see all before them."""
    before = context - query
    rising = np.clip(window - before, 0.0, query)
    pairs = rising * before + 0.5 * rising * (rising + 1.0)
    return pairs + (query - rising) * np.minimum(context, window), rising


def attention_decode(
    machine: Machine,
    c: Constants,
    batch: Array,
    context: Array,
    heads: Array,
    kv_heads: Array,
    head_dim: Array,
    window: Array,
) -> Array:
    """Time attention of one query a sequence: the KV cache is read, split over the units."""
    seen = np.minimum(context, window + 0.5 * ROWS)
    # Some kernels only mask keys beyond the window, or start blocks for them in vain.
    seen = seen + c["beyond_window"] * (context - seen)
    moved = 2.0 * batch * kv_heads * seen * head_dim * machine.weight
    moved = moved + 2.0 * batch * heads * head_dim * machine.activation
    memory = moved / (machine.bandwidth * c["read"]) * _cached(moved, machine, c)
    scores = batch * heads * (seen + c["head_keys"]) * (head_dim + ROWS)
    # Few query heads a KV head leave matrix instructions mostly empty, many fill them.
    filled = np.minimum(heads / (kv_heads * ROWS), 1.0)
    rate = np.maximum(
        c["score_ops_cycle"] * machine.units * machine.clock, machine.peak * c["filled"] * filled
    )
    # both products of an attention, at the peak: no kernel is faster
    least = 4.0 * batch * heads * np.minimum(context, window) * head_dim / machine.peak
    compute = np.maximum(2.0 * scores / rate, least)
    # Long contexts are split over the units; the parts are then merged.
    merge = c["merge_cycles"] * seen / (seen + c["merge_keys"])
    blocks = c["block_cycles"] * batch * kv_heads / machine.units
    start = (c["launch_cycles"] + merge + blocks) / machine.clock
    return np.asarray(start + _norm(compute, memory, c["norm"]))


def moe(
    machine: Machine,
    c: Constants,
    tokens: Array,
    hidden: Array,
    intermediate: Array,
    experts: Array,
    chosen: Array,
    ranks: Array,
    matrices: Array,
    spread: Array,
) -> Array:
    """Time of the experts of the busiest rank; `matrices` is 3 gated, 2 not.

    `spread` is the standard deviation over the mean of the experts' loads, 0 where the routing
    is balanced. The busiest of r ranks of independent loads lies sqrt(2 ln r) deviations above.
    """
    local = experts / ranks
    load = 1.0 + spread * np.sqrt(2.0 * np.log(ranks) / local)
    # A token comes to an expert of this rank with this probability; one surely does.
    odds = np.minimum(load * chosen / experts, 1.0 - 1e-12)
    routed = np.maximum(tokens * odds * local, 1.0)
    touched = np.maximum(local * -np.expm1(tokens * np.log1p(-odds)), 1.0)
    weights = matrices * hidden * intermediate
    rows = routed + c["tile_rows"] * touched  # the last tile of each expert is not full
    compute = 2.0 * rows * weights / (machine.peak * c["compute"])
    ideal = 2.0 * routed * weights / machine.peak
    compute *= 1.0 + c["throttle"] * ideal / (ideal + LONG_S)
    # Units that are done with the small experts wait for the large ones.
    compute *= 1.0 + c["uneven"] * spread
    between = matrices * intermediate * machine.activation
    moved = routed * (hidden * (machine.activation + machine.output) + between)
    read = touched * weights * machine.weight
    memory = (read / c["read"] + moved / c["write"]) / machine.bandwidth
    # Tokens are permuted to their experts, and their results are gathered and weighted.
    route = tokens * chosen * hidden * machine.output / (machine.bandwidth * c["route"])
    start = (c["launch_cycles"] + c["expert_cycles"] * local) / machine.clock
    return np.asarray(start + route + _norm(compute, memory, c["norm"]))


def _pipelined(start: Array, wire: Array, ramp: float) -> Array:
    """Return the time of a message cut into chunks: longer chunks fill late, short ones cost."""
    return np.asarray(start + wire + ramp * np.sqrt(start * wire))


def all_reduce(
    machine: Machine, c: Constants, ranks: Array, size: Array, ring_only: Array
) -> Array:
    """Time an all-reduce: a ring, or unless `ring_only` a direct exchange where it is faster."""
    crowd = (0.5 * ranks) ** c["crowding"]
    share = 2.0 * (ranks - 1.0) / ranks
    start = c["launch_s"] + c["hop_s"] * (ranks - 1.0)
    ring = _pipelined(start, crowd * share * size / (machine.link * c["ring"]), c["ramp"])
    wire = crowd * size / (machine.link * c["direct"])
    one_shot = c["direct_s"] + (ranks - 1.0) * wire
    two_shot = 2.0 * c["direct_s"] + share * wire
    best = np.minimum(ring, np.minimum(one_shot, two_shot))
    return np.asarray(np.where(ring_only > 0.0, ring, best))


def all_to_all(machine: Machine, c: Constants, ranks: Array, size: Array) -> Array:
    """Time an exchange in which each rank sends (ranks - 1)/ranks of `size` bytes."""
    crowd = (0.5 * ranks) ** c["crowding"]
    start = c["launch_s"] + c["hop_s"] * (ranks - 1.0)
    wire = crowd * (ranks - 1.0) / ranks * size / (machine.link * c["share"])
    return _pipelined(start, wire, c["ramp"])


def gemm_bound(machine: Machine, m: Array, n: Array, k: Array) -> Array:
    """Return the roofline of a matmul, counting only bytes that no cache can hold."""
    moved = machine.weight * n * k + machine.activation * m * k + machine.output * m * n
    beyond = np.maximum(moved - machine.l2, 0.0)
    return np.maximum(2.0 * m * n * k / machine.peak, beyond / machine.bandwidth)


def prefill_bound(
    machine: Machine,
    batch: Array,
    query: Array,
    context: Array,
    heads: Array,
    kv_heads: Array,
    head_dim: Array,
    window: Array,
) -> Array:
    """Return the arithmetic of causal attention at peak."""
    pairs, _ = _causal_pairs(query, context, window)
    return 4.0 * batch * heads * pairs * head_dim / machine.peak


def decode_bound(
    machine: Machine,
    batch: Array,
    context: Array,
    heads: Array,
    kv_heads: Array,
    head_dim: Array,
    window: Array,
) -> Array:
    """Return the time to read the KV cache that the last-level cache cannot hold."""
    moved = 2.0 * batch * kv_heads * np.minimum(context, window) * head_dim * machine.weight
    return np.maximum(moved - machine.l2, 0.0) / machine.bandwidth


BOUNDS: Mapping[str, Callable[..., Array]] = {
    "gemm": gemm_bound,
    "attention_prefill": prefill_bound,
    "attention_decode": decode_bound,
}
"""Rooflines: each takes the machine, then the arrays of a shape."""

LAWS: Mapping[str, Callable[..., Array]] = {
    "gemm": gemm,
    "attention_prefill": attention_prefill,
    "attention_decode": attention_decode,
    "moe": moe,
    "all_reduce": all_reduce,
    "all_to_all": all_to_all,
}
"""Each law takes the machine, its constants, then the arrays of a shape."""
