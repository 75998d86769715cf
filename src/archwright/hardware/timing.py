"""Kernel times of a device: matrix products, attention, experts, collectives, streams.

Each function takes the device first (a catalogue name or a `Device`), then the sizes, which
may be arrays that broadcast, and returns seconds. With ``return_interval=True`` it returns a
`Timed`: seconds, and the low and high end of the 90 % interval.

The constants are fitted on public tables of measured kernels. A device without a table takes
those of its architecture or, failing that, the mean over the measured devices, for prefill
attention over those of its generation of matrix instructions; `provenance` says which. The
formulas stand in `archwright.hardware.laws`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from archwright.errors import SpecificationError, unknown
from archwright.hardware.devices import Device, Link
from archwright.hardware.devices import device as _device
from archwright.hardware.evaluation import (
    Timed,
    find,
    formats,
    machine,
    machine_of,
    ready,
    run,
    sample,
    stream,
)
from archwright.hardware.laws import LAWS, Array
from archwright.hardware.profiles import DATASHEET, resolve, shipped

__all__ = [
    "Timed",
    "all_reduce_seconds",
    "all_to_all_seconds",
    "attention_decode_seconds",
    "attention_prefill_seconds",
    "formats",
    "gemm_seconds",
    "memory_seconds",
    "moe_seconds",
    "point_to_point_seconds",
    "provenance",
    "roofline_seconds",
    "sampling_seconds",
]


def _sizes(**sizes: ArrayLike) -> dict[str, Array]:
    """Return sizes as floats, each checked to be a positive finite number."""
    found = {}
    for name, value in sizes.items():
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise SpecificationError(f"{name}: {value!r}, expected a positive number") from None
        good = np.isfinite(array) & (array > 0.0)
        if not good.all():
            raise SpecificationError(
                f"{name}: {float(array[~good].flat[0]):g}, expected a positive number"
            )
        found[name] = array
    return found


def _require(name: str, value: Array, good: Any, expected: str) -> None:
    good, value = np.broadcast_arrays(good, value)
    if not good.all():
        raise SpecificationError(f"{name}: {float(value[~good].flat[0]):g}, expected {expected}")


def gemm_seconds(
    device: Device | str,
    m: ArrayLike,
    n: ArrayLike,
    k: ArrayLike,
    dtype: str = "bfloat16",
    *,
    return_interval: bool = False,
) -> Any:
    """Return the time of (m × k)·(k × n), m tokens through a layer of k inputs, n outputs.

    Args:
        device: catalogue name or `Device`.
        m: rows of the left operand.
        n: columns of the right operand, the weights.
        k: inner dimension.
        dtype: number format, such as ``bfloat16``, ``fp8``, ``nvfp4``, ``int8_wo``; where it
            narrows the activations, their quantization is counted.
        return_interval: return a `Timed`.

    Raises:
        SpecificationError: a size that is not positive, a format that the device lacks.

    >>> t = gemm_seconds("h100_sxm", [1, 4096], 4096, 4096, "bf16")
    >>> [f"{x * 1e6:.0f} us" for x in t]
    ['15 us', '177 us']
    """
    found, fitted = ready(device, "gemm", dtype)
    return run("gemm", found, fitted, _sizes(m=m, n=n, k=k).values(), return_interval)


def _attention_sizes(
    heads: ArrayLike, kv_heads: ArrayLike, window: ArrayLike | None, **sizes: ArrayLike
) -> dict[str, Array]:
    found = _sizes(**sizes, heads=heads, kv_heads=kv_heads)
    few = found["heads"] % found["kv_heads"] == 0.0
    if not few.all():
        many, kv = np.broadcast_arrays(found["heads"], found["kv_heads"])
        i = np.flatnonzero(~few.ravel())[0]
        raise SpecificationError(
            f"kv_heads: {kv.flat[i]:g}, expected a divisor of the {many.flat[i]:g} heads"
        )
    found["window"] = np.asarray(np.inf) if window is None else _sizes(window=window)["window"]
    return found


def attention_prefill_seconds(
    device: Device | str,
    batch: ArrayLike,
    query_tokens: ArrayLike,
    context_tokens: ArrayLike,
    heads: ArrayLike,
    kv_heads: ArrayLike,
    head_dim: ArrayLike,
    dtype: str = "bfloat16",
    kv_dtype: str | None = None,
    window: ArrayLike | None = None,
    *,
    return_interval: bool = False,
) -> Any:
    """Return the time of causal attention over prompts, with what stands around the kernel.

    Args:
        device: catalogue name or `Device`.
        batch: sequences.
        query_tokens: queries of each sequence.
        context_tokens: keys of each, its own queries included; equal without a cached prefix.
        heads: query heads.
        kv_heads: key and value heads, a divisor of `heads`.
        head_dim: elements of a head.
        dtype: format of the arithmetic.
        kv_dtype: format of the KV cache; as `dtype` by default.
        window: keys that a query sees, itself included; None for all.
        return_interval: return a `Timed`.

    Raises:
        SpecificationError: a size that is not positive, more queries than keys, heads that
            do not divide, a format that the device lacks.

    >>> t = attention_prefill_seconds("h100", 1, 8192, 8192, 32, 8, 128)
    >>> chunk = attention_prefill_seconds("h100", 1, 4096, 8192, 32, 8, 128)
    >>> bool(0.5 * t < chunk < t)
    True
    """
    found, fitted = ready(device, "attention_prefill", dtype, kv_dtype or dtype)
    s = _attention_sizes(
        heads, kv_heads, window,
        batch=batch, query_tokens=query_tokens, context_tokens=context_tokens, head_dim=head_dim,
    )  # fmt: skip
    _require(
        "query_tokens",
        s["query_tokens"],
        s["query_tokens"] <= s["context_tokens"],
        "at most context_tokens, which counts the queries' own keys",
    )
    names = ["batch", "query_tokens", "context_tokens", "heads", "kv_heads", "head_dim", "window"]
    return run("attention_prefill", found, fitted, [s[x] for x in names], return_interval)


def attention_decode_seconds(
    device: Device | str,
    batch: ArrayLike,
    context_tokens: ArrayLike,
    heads: ArrayLike,
    kv_heads: ArrayLike,
    head_dim: ArrayLike,
    dtype: str = "bfloat16",
    kv_dtype: str | None = None,
    window: ArrayLike | None = None,
    *,
    return_interval: bool = False,
) -> Any:
    """Return the time of attention of one new token a sequence over its KV cache.

    Arguments and errors as for `attention_prefill_seconds`.

    >>> t = attention_decode_seconds("h100", [1, 64], 4096, 32, 8, 128, "bf16", "fp8")
    >>> bool(t[1] > 4 * t[0])
    True
    """
    found, fitted = ready(device, "attention_decode", dtype, kv_dtype or dtype)
    s = _attention_sizes(
        heads, kv_heads, window,
        batch=batch, context_tokens=context_tokens, head_dim=head_dim,
    )  # fmt: skip
    names = ["batch", "context_tokens", "heads", "kv_heads", "head_dim", "window"]
    return run("attention_decode", found, fitted, [s[x] for x in names], return_interval)


def moe_seconds(
    device: Device | str,
    tokens: ArrayLike,
    hidden: ArrayLike,
    moe_intermediate: ArrayLike,
    experts: ArrayLike,
    experts_per_token: ArrayLike,
    ranks: ArrayLike = 1,
    dtype: str = "bfloat16",
    *,
    gated: bool = True,
    spread: ArrayLike = 0.0,
    return_interval: bool = False,
) -> Any:
    """Return the time that the busiest rank takes for its experts; by default all are alike.

    Tensor parallelism inside the experts is a smaller `moe_intermediate`: pass the width of
    an expert divided by the degree. Communication is not counted.

    Args:
        device: catalogue name or `Device`.
        tokens: tokens of all expert-parallel ranks together.
        hidden: model width.
        moe_intermediate: width of an expert on this rank.
        experts: experts of the layer.
        experts_per_token: experts that each token chooses.
        ranks: expert-parallel ranks, a divisor of `experts`.
        dtype: number format.
        gated: three matrices an expert (SwiGLU), or two.
        spread: standard deviation over the mean of the experts' loads; 0 is balanced.
        return_interval: return a `Timed`.

    Raises:
        SpecificationError: a size that is not positive, ranks that do not divide the experts,
            more experts a token than experts, a format that the device lacks.

    >>> all_ranks = moe_seconds("h100", 4096, 4096, 14336, 8, 2)
    >>> bool(moe_seconds("h100", 4096, 4096, 14336, 8, 2, ranks=8) < all_ranks)
    True
    """
    found, fitted = ready(device, "moe", dtype)
    s = _sizes(
        tokens=tokens, hidden=hidden, moe_intermediate=moe_intermediate, experts=experts,
        experts_per_token=experts_per_token, ranks=ranks,
    )  # fmt: skip
    _require(
        "ranks", s["ranks"], s["experts"] % s["ranks"] == 0.0, "a divisor of the number of experts"
    )
    chosen = s["experts_per_token"]
    _require("experts_per_token", chosen, chosen <= s["experts"], "at most the number of experts")
    matrices, uneven = np.asarray(3.0 if gated else 2.0), np.asarray(spread, dtype=np.float64)
    _require("spread", uneven, np.isfinite(uneven) & (uneven >= 0.0), "a number from 0 up")
    return run("moe", found, fitted, [*s.values(), matrices, uneven], return_interval)


_NETWORK_SHARE = 0.8
"""Share of a port's rate that long messages get; as of the memory's, a common value."""
_NETWORK = (0.6, 1.8)
"""Ends of the interval of the network's part, which nobody measured here."""


def _collective(
    law: str,
    target: Device | str,
    ranks: ArrayLike,
    size_bytes: ArrayLike,
    extra: list[Array],
    return_interval: bool,
) -> Any:
    found = find(target)
    s = _sizes(ranks=ranks, size_bytes=size_bytes)
    counts, sizes = np.broadcast_arrays(s["ranks"], s["size_bytes"])
    _require("ranks", counts, counts == np.floor(counts), "a whole number")
    ends = np.zeros((3, *counts.shape))
    for count in np.unique(counts):
        if count > 1:  # one rank alone sends nothing
            at = counts == count
            ends[:, at] = _over_levels(law, found, float(count), sizes[at], extra)
    seconds, low, high = ends
    return Timed(seconds[()], low[()], high[()]) if return_interval else seconds[()]


def _over_levels(law: str, device: Device, ranks: float, size: Array, extra: list[Array]) -> Timed:
    """Time a collective that may reach beyond a link domain.

    Beyond it the ranks of a domain first exchange among themselves, then each sends its share of
    the message to its peers of the other domains over the network.
    """
    link = device.link_for(int(ranks))
    if link.level != "nic":
        return _within(law, device, link, ranks, size, extra)
    near = [x for x in device.levels if x.level != "nic"]
    domain = near[-1] if near else None
    inner = float(min(ranks, domain.devices)) if domain is not None and domain.devices else 1.0
    domains = np.ceil(ranks / inner)
    if law == "all_reduce":
        sent = 2.0 * (domains - 1.0) / domains * size / inner
        steps, kept = 2.0 * (domains - 1.0), size
    else:
        sent, steps, kept = size * (ranks - inner) / ranks, domains - 1.0, size * inner / ranks
    wire = steps * link.latency_s + sent / (link.bandwidth_bytes_s * _NETWORK_SHARE)
    if domain is None or inner < 2.0:
        return Timed(wire, wire * _NETWORK[0], wire * _NETWORK[1])
    among = _within(law, device, domain, inner, np.maximum(kept, 1.0), extra)
    return Timed(
        among.seconds + wire, among.low + wire * _NETWORK[0], among.high + wire * _NETWORK[1]
    )


def _within(
    law: str, device: Device, link: Link, ranks: float, size: Array, extra: list[Array]
) -> Timed:
    """Time a collective within a domain, by the constants of its kind of link."""
    key = "host" if link.through_host else "link"
    fitted = resolve(law, device, [key])
    machine = replace(machine_of(device, law, key), link=link.bandwidth_bytes_s)
    timed: Timed = run(law, machine, fitted, [np.asarray(ranks), size, *extra], True)
    return timed


def all_reduce_seconds(
    device: Device | str,
    ranks: ArrayLike,
    size_bytes: ArrayLike,
    *,
    ring: bool = False,
    return_interval: bool = False,
) -> Any:
    """Return the time of an all-reduce among devices; none for one rank.

    Args:
        device: catalogue name or `Device`.
        ranks: devices that take part; beyond the device's link domain the host link counts, and
            beyond the box the network.
        size_bytes: bytes of the tensor on each.
        ring: the ring of a collective library; by default the faster of it and the direct
            exchange through peer memory that inference engines bring.
        return_interval: return a `Timed`.

    Raises:
        SpecificationError: a size that is not positive, ranks that are no whole number.

    >>> small, large = all_reduce_seconds("h100", 8, [8192, 2**29])
    >>> bool(small < 10e-6), bool(2e-3 < large < 3e-3)
    (True, True)
    """
    only = [np.asarray(1.0 if ring else 0.0)]
    return _collective("all_reduce", device, ranks, size_bytes, only, return_interval)


def all_to_all_seconds(
    device: Device | str,
    ranks: ArrayLike,
    size_bytes: ArrayLike,
    *,
    return_interval: bool = False,
) -> Any:
    """Return the time of an all-to-all in which each rank holds `size_bytes` to spread.

    A rank keeps its own share and sends the rest. Arguments as for `all_reduce_seconds`.

    >>> bool(all_to_all_seconds("h100", 8, 2**27) < all_reduce_seconds("h100", 8, 2**27))
    True
    """
    return _collective("all_to_all", device, ranks, size_bytes, [], return_interval)


def point_to_point_seconds(
    device: Device | str,
    size_bytes: ArrayLike,
    *,
    span: int = 2,
    return_interval: bool = False,
) -> Any:
    """Return the time of a message from one device to another.

    It is half of an exchange between two, whose times are the ones measured.

    Args:
        device: catalogue name or `Device`.
        size_bytes: bytes of the message.
        span: devices that both ends and all between them are; beyond a link domain the message
            takes the network.
        return_interval: return a `Timed`.

    >>> near = point_to_point_seconds("h100", 2**27)
    >>> bool(2**27 / 450e9 < near < point_to_point_seconds("h100", 2**27, span=16))
    True
    """
    size = _sizes(size_bytes=size_bytes)["size_bytes"]
    link = find(device).link_for(span)
    if link.level != "nic":
        return all_to_all_seconds(device, 2, 2.0 * size, return_interval=return_interval)
    wire = link.latency_s + size / (link.bandwidth_bytes_s * _NETWORK_SHARE)
    found = Timed(wire, wire * _NETWORK[0], wire * _NETWORK[1])
    return found if return_interval else wire


def sampling_seconds(
    device: Device | str,
    sequences: ArrayLike,
    vocab: ArrayLike,
    sampling: str = "greedy",
    *,
    return_interval: bool = False,
) -> Any:
    """Return the time of drawing one token a sequence from its logits.

    Args:
        device: catalogue name or `Device`.
        sequences: sequences.
        vocab: entries of the vocabulary.
        sampling: ``greedy`` (the highest), or ``top_p`` (a sort, then a draw).
        return_interval: return a `Timed`.

    Raises:
        SpecificationError: a size that is not positive, an unknown rule.

    >>> greedy, drawn = (sampling_seconds("h100", 64, 128256, s) for s in ("greedy", "top_p"))
    >>> bool(10 * greedy < drawn)
    True
    """
    s = _sizes(sequences=sequences, vocab=vocab)
    timed = sample(find(device), sampling, s["sequences"] * s["vocab"])
    return timed if return_interval else timed.seconds


def memory_seconds(
    device: Device | str, size_bytes: ArrayLike, *, return_interval: bool = False
) -> Any:
    """Return the time of a streaming kernel that reads and writes `size_bytes` in all.

    Not fitted: a start and a share of the bandwidth from a public source; the interval is
    that of the product's carried constants.

    >>> float(round(memory_seconds("h100", 3.35e9) * 1e3, 3))
    1.251
    """
    size = _sizes(size_bytes=size_bytes)["size_bytes"]
    return stream(find(device), size, return_interval)


def roofline_seconds(
    device: Device | str, operations: ArrayLike, size_bytes: ArrayLike, dtype: str = "bfloat16"
) -> Any:
    """Return the lower bound: operations at peak, or the bytes that no cache holds.

    >>> roofline_seconds("h100", 0, 3.35e9 + 52428800)
    np.float64(0.001)
    """
    found = machine(find(device), dtype)
    beyond = np.maximum(np.asarray(size_bytes, dtype=np.float64) - found.l2, 0.0)
    compute = np.asarray(operations, dtype=np.float64) / found.peak
    return np.maximum(compute, beyond / found.bandwidth)


def provenance(device: Device | str, law: str) -> str:
    """Say where a device's constants of a law come from.

    >>> provenance("H200-SXM", "gemm")
    'fitted on the architecture hopper'
    >>> provenance("H100-SXM", "gemm"), provenance("MI300X", "gemm")
    ('fitted on H100-SXM', 'carried from the devices measured')
    """
    if law not in LAWS:
        raise SpecificationError(unknown("law", law, LAWS))
    target = find(device)
    if target.timing is not None and law in target.timing:
        return "fitted on measurements of the user's own"
    if target.name in shipped()[law]:
        return f"fitted on {target.name}"
    if any(
        target.architecture and _device(name).architecture == target.architecture
        for name in shipped()[law]
        if name != DATASHEET
    ):
        return f"fitted on the architecture {target.architecture}"
    return "carried from the devices measured"
