"""What one instance can carry: the highest rate of each bucket within the limits.

An instance is one or several accelerators in tensor parallel. It is a queue with as many servers
as batch slots (card of the Workload-Router-Pool paper, method 4): a request waits for a slot, is
prefilled, then decodes in the running batch. With n sequences decoding on average, a step takes
``step(n)``; prefills take their share of the time, so

    rate(n) = n / (output · step(n) + n · prefill),    TPOT(n) = n / (rate · output).

The highest rate is that of the largest n at which the P99 wait plus the prefill of the bucket's
upper edge plus the first decode step is within the TTFT limit, the mean TPOT within its limit,
and the share of busy slots at most 0.85.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.hardware import Device
from archwright.llm import Transformer, roofline
from archwright.serving.queueing import p99_wait_s
from archwright.serving.workload import Workload
from archwright.specification import option

__all__ = ["UTILIZATION", "InstanceType", "Limits", "Profile", "instance_types", "profile"]

Floats = npt.NDArray[np.float64]

UTILIZATION = 0.85
"""Largest share of busy slots a plan may count on (card wrp, method 4)."""

_GRID = 24  # three rounds give a resolution of 24**3
_BINDING = ("none", "TTFT", "TPOT", "utilization")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the fleet itself must hold; None is no limit.

    Attributes:
        ttft_p99_s: P99 time to first token, queueing included.
        tpot_mean_s: mean time per output token after the first.
    """

    ttft_p99_s: float | None = option(None, unit="s", low=1e-6, doc="P99 time to first token")
    tpot_mean_s: float | None = option(None, unit="s", low=1e-6, doc="mean time per output token")


@dataclass(frozen=True, kw_only=True)
class InstanceType:
    """One thing to rent: accelerators of one device joined in tensor parallel."""

    device: Device
    tensor_parallel: int = 1

    @property
    def name(self) -> str:
        """Device, and width where it is more than one: ``H100-SXM x2``."""
        suffix = f" x{self.tensor_parallel}" if self.tensor_parallel > 1 else ""
        return f"{self.device.name}{suffix}"


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One instance type serving one model.

    Attributes:
        type: what was profiled.
        max_rate: requests/s of one instance serving only that bucket, shape (I, J); 0 = cannot.
        binding: what stops a higher rate, codes of ``limit_name``.
        slots: batch slots, shape (I, J).
        least_ttft_s: TTFT of an idle instance at the bucket's upper edge.
        least_tpot_s: TPOT of an idle instance.
        refusal: why the type cannot serve the model at all; empty if it can.
        memory_short: relative lack of memory where that is the refusal, else NaN.
    """

    type: InstanceType
    max_rate: Floats
    binding: npt.NDArray[np.int8]
    slots: Floats
    least_ttft_s: Floats
    least_tpot_s: Floats
    refusal: str = ""
    memory_short: float = float("nan")
    _point: _Point | None = None

    def limit_name(self, i: int, j: int) -> str:
        """Return what stops a higher rate in a bucket."""
        return _BINDING[self.binding[i, j]]

    def latency(self, share: float) -> tuple[Floats, Floats]:
        """Return P99 TTFT and mean TPOT per bucket at a share of ``max_rate``, shapes (I, J)."""
        assert self._point is not None
        point = self._point
        rate = share * self.max_rate
        n = np.zeros_like(rate)
        for _ in range(60):  # a contraction: its slope is the utilization
            n = rate * point.output * point.step(n) / np.maximum(1 - rate * point.prefill, 1e-9)
        return point.ttft(n), point.tpot(n)


def profile(
    model: Transformer,
    kind: InstanceType,
    workload: Workload,
    *,
    weights: str = "bf16",
    kv: str = "bf16",
    max_batch: int = 256,
    limits: Limits = Limits(),
) -> Profile:
    """Profile one instance type for every bucket of a workload.

    Args:
        model: the model served.
        kind: device and tensor-parallel width.
        workload: buckets; shapes (I, J) throughout.
        weights: weight format.
        kv: KV-cache format.
        max_batch: most sequences in the running batch.
        limits: what must hold.
    """
    shape = workload.shares.shape
    options: dict[str, Any] = {
        "tensor_parallel": kind.tensor_parallel,
        "weight_format": weights,
        "kv_format": kv,
    }
    refusal, short = _refusal(model, kind, weights)
    if refusal:
        never = np.full(shape, np.inf)
        return Profile(
            type=kind,
            max_rate=np.zeros(shape),
            binding=np.zeros(shape, dtype=np.int8),
            slots=np.zeros(shape),
            least_ttft_s=never,
            least_tpot_s=never,
            refusal=refusal,
            memory_short=short,
        )
    context = np.maximum(workload.mean_input + workload.mean_output, 1.0)
    tokens = roofline.kv_capacity_tokens(model, kind.device, context_tokens=context, **options)
    slots = np.minimum(float(max_batch), np.floor(tokens / context))
    slots = np.where(context > model.max_position, 0.0, slots)
    point = _Point(model, kind, workload, slots, options)
    idle = np.zeros(shape)
    least_ttft, least_tpot = point.ttft(idle), point.tpot(idle)
    low, high = np.zeros(shape), UTILIZATION * slots
    for _ in range(3):
        grid = low + (high - low) * np.linspace(0, 1, _GRID).reshape(-1, 1, 1)
        good = point.broken(grid, limits) == 0
        last = np.where(good.all(axis=0), _GRID - 1, good.argmin(axis=0) - 1)
        last = np.maximum(last, 0)[None]
        low = np.take_along_axis(grid, last, 0)[0]
        high = np.take_along_axis(grid, np.minimum(last + 1, _GRID - 1), 0)[0]
    usable = (slots >= 1) & (point.broken(low, limits) == 0)
    rate = np.where(usable, point.rate(low), 0.0)
    above = np.maximum(high, low * (1 + 1e-3))
    return Profile(
        type=kind,
        max_rate=rate,
        binding=np.where(rate > 0, point.broken(above, limits), 0).astype(np.int8),
        slots=slots,
        least_ttft_s=np.where(slots >= 1, least_ttft, np.inf),
        least_tpot_s=np.where(slots >= 1, least_tpot, np.inf),
        _point=point,
    )


def _refusal(model: Transformer, kind: InstanceType, weights: str) -> tuple[str, float]:
    """Say why a type cannot run a model, and how much memory it lacks, relative."""
    width = kind.tensor_parallel
    unable = roofline.supports(kind.device, weights) or roofline.shards(model, kind.device, width)
    if unable is None and kind.device.memory_bytes is None:
        unable = f"the memory of {kind.device.name} is not known"
    if unable is not None:
        return unable, float("nan")
    free = roofline.free_kv_bytes(model, kind.device, tensor_parallel=width, weight_format=weights)
    if free > 0:
        return "", float("nan")
    have = float(kind.device.memory_bytes or 0)
    need = have - free  # weights, reserve, and what the driver keeps
    return f"weights need {need / 1e9:.0f} of {have / 1e9:.0f} GB an accelerator", need / have - 1


class _Point:
    """The operating point of one instance at n decoding sequences, for every bucket at once."""

    def __init__(
        self,
        model: Transformer,
        kind: InstanceType,
        workload: Workload,
        slots: Floats,
        options: dict[str, Any],
    ) -> None:
        self._model, self._device, self._options = model, kind.device, options
        self.slots = np.maximum(slots, 1.0)
        self.output = np.maximum(workload.mean_output, 1.0)
        self._context = workload.mean_input + workload.mean_output / 2
        self._cv2 = workload.output_cv2
        self.prefill = self._prefill(workload.mean_input)
        edge = np.broadcast_to(workload.input_edges[:, None], workload.shares.shape)
        self._edge_prefill = self._prefill(edge)
        self._edge = edge

    def _prefill(self, tokens: Floats) -> Floats:
        return np.asarray(
            roofline.prefill_s(
                self._model, self._device, prompt_tokens=np.maximum(tokens, 1.0), **self._options
            )
        )

    def step(self, n: Floats, context: Floats | None = None) -> Floats:
        """Seconds of a decode step with n sequences; fewer than one on average run alone."""
        return np.asarray(
            roofline.decode_step_s(
                self._model,
                self._device,
                batch=np.maximum(n, 1.0),
                context_tokens=self._context if context is None else context,
                **self._options,
            )
        )

    def tpot(self, n: Floats) -> Floats:
        """Mean seconds per output token, prefills in between included."""
        return self.step(n) + n * self.prefill / self.output

    def rate(self, n: Floats) -> Floats:
        """Requests/s at n decoding sequences."""
        return n / (self.output * self.tpot(n))

    def ttft(self, n: Floats, tpot: Floats | None = None) -> Floats:
        """P99 wait, prefill of the upper edge, first decode step."""
        tpot = self.tpot(n) if tpot is None else tpot
        service = self.prefill + self.output * tpot
        wait = p99_wait_s(self.slots, service, n / (self.output * tpot), self._cv2)
        return np.asarray(wait + self._edge_prefill + self.step(n, self._edge))

    def broken(self, n: Floats, limits: Limits) -> npt.NDArray[np.int8]:
        """Return the code of the limit that is broken at n, 0 where all hold."""
        tpot = self.tpot(n)
        busy = (n + n / (self.output * tpot) * self.prefill) / self.slots
        code = np.where(busy > UTILIZATION, _BINDING.index("utilization"), 0).astype(np.int8)
        if limits.ttft_p99_s is not None:
            code[self.ttft(n, tpot) > limits.ttft_p99_s] = _BINDING.index("TTFT")
        if limits.tpot_mean_s is not None:
            code[tpot > limits.tpot_mean_s] = _BINDING.index("TPOT")
        return code


def instance_types(devices: Sequence[Device], widths: Sequence[int]) -> list[InstanceType]:
    """Return every device at every tensor-parallel width, in order."""
    return [InstanceType(device=d, tensor_parallel=w) for d in devices for w in widths]
