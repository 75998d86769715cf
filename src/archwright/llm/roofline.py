"""Step times and memory of a served transformer from a simple roofline.

Products of the linear layers and attention are two roofs, taken one after the other, for they
are different kernels: time = max(flops / compute, bytes / bandwidth) of each, plus two
all-reduces a layer and a fixed overhead. Every constant is assumed and stands in the
catalogue with its reason.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from archwright.errors import SpecificationError
from archwright.formats import kv_format as _kv_format
from archwright.formats import weight_format as _weight_format
from archwright.hardware import Device, matmul_fraction
from archwright.hardware.tables import catalogue_toml
from archwright.llm.transformers import Transformer
from archwright.provenance import Source

__all__ = [
    "assumptions",
    "decode_step_s",
    "free_kv_bytes",
    "kv_capacity_tokens",
    "prefill_s",
    "shards",
    "supports",
]

Floats = NDArray[np.float64]


@cache
def _constants() -> dict[str, float]:
    table = catalogue_toml("archwright.llm", "assumptions.toml")
    return {name: float(row["value"]) for name, row in table.items()}


def assumptions() -> dict[str, tuple[float, Source]]:
    """Return every assumed constant of the roofline with its source.

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
    return f"{device.name} has no {' or '.join(wanted)} matrix rate, which {weight_format} needs"


def shards(model: Transformer, device: Device, tensor_parallel: int) -> str | None:
    """Return why a model cannot be cut over so many devices, None where it can.

    >>> from archwright.hardware import device
    >>> from archwright.llm import transformer
    >>> shards(transformer("Qwen2.5-7B"), device("H100-SXM"), 8)
    'the 28 heads of Qwen2.5-7B cannot be cut into 8'
    """
    if tensor_parallel < 1:
        return f"tensor_parallel {tensor_parallel} is below 1"
    if model.heads % tensor_parallel:
        return f"the {model.heads} heads of {model.name} cannot be cut into {tensor_parallel}"
    if tensor_parallel > 1 and not _links(device, tensor_parallel):
        return f"no link of {device.name} is known for {tensor_parallel} devices"
    return None


def decode_step_s(
    model: Transformer,
    device: Device,
    *,
    tensor_parallel: int = 1,
    weight_format: str = "bf16",
    kv_format: str = "bf16",
    batch: ArrayLike,
    context_tokens: ArrayLike,
) -> Floats:
    """Return the seconds of one decode step of `batch` sequences, each with such a context.

    >>> from archwright.hardware import device
    >>> from archwright.llm import transformer
    >>> t = decode_step_s(
    ...     transformer("Llama-3.1-8B"), device("H100-SXM"), batch=[1, 64], context_tokens=1000
    ... )
    >>> bool(5e-3 < t[0] < t[1] < 20e-3)
    True

    Args:
        model: the transformer.
        device: one of the equal devices.
        tensor_parallel: devices that share each layer.
        weight_format: name of a weight format.
        kv_format: name of a KV-cache format.
        batch: sequences, any shape.
        context_tokens: mean tokens in the cache of a sequence, broadcast against `batch`.

    Raises:
        SpecificationError: the device cannot run the format or the model cannot be cut so.
    """
    _check(model, device, tensor_parallel, weight_format)
    constant = _constants()
    batch = np.asarray(batch, dtype=np.float64)
    context = np.asarray(context_tokens, dtype=np.float64)
    linear = _linear_s(model, device, tensor_parallel, weight_format, batch, heads=batch)
    read = batch * model.kv_bytes(context, _kv_format(kv_format).bits_per_value)
    flops = batch * _attention_flops_per_token(model) * model.cached_tokens(context)
    rate = _rate(device, _weight_format("bf16").compute) * constant["gemm_of_best"]
    attention = np.maximum(
        flops / (rate * tensor_parallel),
        read
        / (
            constant["attention_bandwidth"]
            * device.memory_bandwidth_bytes_s
            * _kv_shards(model, tensor_parallel)
        ),
    )
    return linear + attention + _fixed_s(model, device, tensor_parallel, batch)


def prefill_s(
    model: Transformer,
    device: Device,
    *,
    tensor_parallel: int = 1,
    weight_format: str = "bf16",
    kv_format: str = "bf16",
    prompt_tokens: ArrayLike,
) -> Floats:
    """Return the seconds to prefill one prompt alone, causal attention halved.

    >>> from archwright.hardware import device
    >>> from archwright.llm import transformer
    >>> t = prefill_s(transformer("Llama-3.1-8B"), device("H100-SXM"), prompt_tokens=8000)
    >>> bool(0.15 < t < 0.35)
    True

    Args:
        model: the transformer.
        device: one of the equal devices.
        tensor_parallel: devices that share each layer.
        weight_format: name of a weight format.
        kv_format: name of a KV-cache format, in which the keys and values are written.
        prompt_tokens: tokens of the prompt, any shape.

    Raises:
        SpecificationError: the device cannot run the format or the model cannot be cut so.
    """
    _check(model, device, tensor_parallel, weight_format)
    constant = _constants()
    tokens = np.asarray(prompt_tokens, dtype=np.float64)
    linear = _linear_s(
        model, device, tensor_parallel, weight_format, tokens, heads=np.ones_like(tokens)
    )
    window = float(model.sliding_window) if model.sliding_layers else np.inf
    seen = np.minimum(tokens, window)
    # Sum over the tokens of the tokens each sees: t^2/2 in full layers; a sliding layer sees
    # its window once it is full.
    pairs = (model.layers - model.sliding_layers) * tokens**2 / 2
    pairs = pairs + model.sliding_layers * (seen**2 / 2 + (tokens - seen) * seen)
    flops = _prefill_flops_per_pair(model) * pairs
    peak = device.peak_ops_s[_dtype(device, _weight_format("bf16").compute)]
    written = model.kv_bytes(tokens, _kv_format(kv_format).bits_per_value)
    attention = np.maximum(
        flops / (peak * constant["attention_compute"] * tensor_parallel),
        written / (constant["attention_bandwidth"] * device.memory_bandwidth_bytes_s),
    )
    return linear + attention + _fixed_s(model, device, tensor_parallel, tokens)


def free_kv_bytes(
    model: Transformer, device: Device, *, tensor_parallel: int = 1, weight_format: str = "bf16"
) -> float:
    """Return the bytes of one device that the KV cache may take; negative = does not fit.

    >>> from archwright.hardware import device
    >>> from archwright.llm import transformer
    >>> free_kv_bytes(transformer("Llama-3.1-70B"), device("H100-SXM")) < 0
    True

    Raises:
        SpecificationError: the memory of the device is not known.
    """
    if device.memory_bytes is None:
        raise SpecificationError(f"the memory of {device.name} is not known")
    constant = _constants()
    weights = model.weight_bytes(_weight_format(weight_format).bits_per_weight)
    usable = constant["usable_memory"] * device.memory_bytes
    return usable - constant["reserve_bytes"] - weights / tensor_parallel


def kv_capacity_tokens(
    model: Transformer,
    device: Device,
    *,
    tensor_parallel: int = 1,
    weight_format: str = "bf16",
    kv_format: str = "bf16",
    context_tokens: ArrayLike = 1.0,
) -> Floats:
    """Return the tokens whose KV cache fits beside the weights, in sequences of such length.

    The length matters only for models with sliding windows. Zero where the weights do not
    fit.

    >>> from archwright.hardware import device
    >>> from archwright.llm import transformer
    >>> n = kv_capacity_tokens(transformer("Llama-3.1-8B"), device("H100-SXM"))
    >>> 400_000 < int(n) < 500_000
    True
    """
    free = free_kv_bytes(
        model, device, tensor_parallel=tensor_parallel, weight_format=weight_format
    )
    context = np.asarray(context_tokens, dtype=np.float64)
    per_token = model.kv_bytes(context, _kv_format(kv_format).bits_per_value) / context
    return max(free, 0.0) * _kv_shards(model, tensor_parallel) / per_token


def _check(model: Transformer, device: Device, tensor_parallel: int, weight_format: str) -> None:
    reason = supports(device, weight_format) or shards(model, device, tensor_parallel)
    if reason is not None:
        raise SpecificationError(reason)


def _dtype(device: Device, wanted: tuple[str, ...]) -> str:
    return next(dtype for dtype in wanted if dtype in device.peak_ops_s)


def _rate(device: Device, wanted: tuple[str, ...]) -> float:
    """Return the operations/s of the best large matmul in the first type the device has."""
    dtype = _dtype(device, wanted)
    return device.peak_ops_s[dtype] * matmul_fraction(device, dtype).value


def _kv_shards(model: Transformer, tensor_parallel: int) -> int:
    """Return over how many devices the cache is cut: heads can be cut, MLA has one."""
    return 1 if model.mla_ranks is not None else min(tensor_parallel, model.kv_heads)


def _attention_flops_per_token(model: Transformer) -> float:
    """Return the decode flops a sequence, layer and cached token."""
    if model.mla_ranks is not None:
        # Absorbed form: scores over the latent and the rotated part, values over the latent.
        _, kv, _, rope, _ = model.mla_ranks
        return 2.0 * model.heads * (2 * kv + rope)
    return 4.0 * model.heads * model.head_dim


def _prefill_flops_per_pair(model: Transformer) -> float:
    """Return the flops a layer and pair of tokens, in the form that expands keys."""
    if model.mla_ranks is not None:
        _, _, nope, rope, v = model.mla_ranks
        return 2.0 * model.heads * (nope + rope + v)
    return 4.0 * model.heads * model.head_dim


def _linear_s(
    model: Transformer,
    device: Device,
    tensor_parallel: int,
    weight_format: str,
    tokens: Floats,
    *,
    heads: Floats,
) -> Floats:
    """Return the seconds of all linear layers for `tokens` tokens, `heads` of them decoded."""
    constant = _constants()
    format_ = _weight_format(weight_format)
    routed = model.moe_layers * model.expert_parameters
    per_token = model.shared_layer_parameters + routed * model.experts_per_token
    touched = 0.0 * tokens
    if model.experts:
        miss = 1.0 - model.experts_per_token / model.experts
        touched = model.experts * (1.0 - miss**tokens)
    body = (model.shared_layer_parameters + routed * touched) * format_.bits_per_weight / 8.0
    head = model.vocab * model.hidden
    bandwidth = constant["gemm_bandwidth"] * device.memory_bandwidth_bytes_s * tensor_parallel
    share = constant["gemm_of_best"] * tensor_parallel
    body_s = np.maximum(
        2.0 * per_token * tokens / (_rate(device, format_.compute) * share), body / bandwidth
    )
    # The output head stays a 16-bit float, and only tokens that are decoded pass it.
    float16 = _rate(device, _weight_format("bf16").compute)
    head_s = np.maximum(2.0 * head * heads / (float16 * share), 2.0 * head / bandwidth)
    return np.asarray(body_s + head_s)


def _links(device: Device, tensor_parallel: int) -> tuple[float, float] | None:
    """Return (bytes/s, latency) of an all-reduce among so many devices."""
    constant = _constants()
    link, host = device.link_bytes_s_per_direction, device.host_link_bytes_s_per_direction
    if link is not None and tensor_parallel <= device.link_devices:
        return link * constant["link_efficiency"], constant["link_latency_s"]
    if host is not None:
        return host * constant["host_link_efficiency"], constant["host_link_latency_s"]
    return None


def _fixed_s(model: Transformer, device: Device, tensor_parallel: int, tokens: Floats) -> Floats:
    """Return the seconds of all-reduces and of overheads for a step of `tokens` tokens."""
    constant = _constants()
    fixed = constant["step_overhead_s"] + model.layers * constant["layer_overhead_s"]
    links = _links(device, tensor_parallel)
    if tensor_parallel == 1 or links is None:
        return fixed + 0.0 * tokens
    speed, latency = links
    ring = 2.0 * (tensor_parallel - 1) / tensor_parallel * tokens * model.hidden * 2.0 / speed
    return np.asarray(fixed + 2.0 * model.layers * (latency + ring))
