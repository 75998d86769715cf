"""What one instance can carry: the highest rate of each bucket within the limits.

An instance is one or several accelerators in tensor parallel. It is a queue with as many servers
as batch slots (card of the Workload-Router-Pool paper, method 4): a request waits for a slot, is
prefilled, then decodes in the running batch. With n sequences decoding on average, a step takes
``step(n)``; prefills take their share of the time, so

    rate(n) = n / (output · step(n) + n · prefill),    TPOT(n) = n / (rate · output).

The highest rate is that of all n up to the largest at which the P99 wait plus the prefill of the
bucket's upper edge plus the first decode step is within the TTFT limit, the mean TPOT within its
limit, and the share of busy slots at most 0.85. Step times and energy are those of
:class:`archwright.llm.StepCost`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError
from archwright.hardware import Device, timing
from archwright.hardware.energy import power_w
from archwright.llm import (
    Engine,
    ParallelPlan,
    Transformer,
    free_kv_bytes,
    kv_capacity_tokens,
    supports,
)
from archwright.serving.memo import Memo
from archwright.serving.queueing import p99_wait_s
from archwright.serving.steps import HIGH, JOULES, LOW, SECONDS, Steps, instance_steps
from archwright.serving.workload import Workload
from archwright.specification import option

__all__ = [
    "UTILIZATION",
    "InstanceType",
    "Limits",
    "Operation",
    "Profile",
    "instance_types",
    "profile",
    "profiles",
]

Floats = npt.NDArray[np.float64]

UTILIZATION = 0.85
"""Largest share of busy slots a plan may count on (card wrp, method 4)."""

_REFUSALS: Memo[tuple[str, float, Device]] = Memo(4096)  # a device kept is known by identity
_HALVINGS = 12  # between two points of the step tables, an eighth of an octave apart
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
class Operation:
    """An instance at work on each bucket alone, at a share of its highest rate; shapes (I, J).

    The ends of the intervals are those of the step times, at the same number of sequences.

    Attributes:
        ttft_s, ttft_low_s, ttft_high_s: P99 time to first token with its 90 % interval.
        tpot_s, tpot_low_s, tpot_high_s: mean time per output token with its 90 % interval.
        power_w: average power of the instance, all ranks; NaN where a TDP is not known.
    """

    ttft_s: Floats
    ttft_low_s: Floats
    ttft_high_s: Floats
    tpot_s: Floats
    tpot_low_s: Floats
    tpot_high_s: Floats
    power_w: Floats


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
    _steps: Steps | None = None
    _workload: Workload | None = None

    def limit_name(self, i: int, j: int) -> str:
        """Return what stops a higher rate in a bucket."""
        return _BINDING[self.binding[i, j]]

    def latency(self, share: float) -> tuple[Floats, Floats]:
        """Return P99 TTFT and mean TPOT per bucket at a share of ``max_rate``, shapes (I, J)."""
        found = self.operation(share)
        return found.ttft_s, found.tpot_s

    def operation(self, share: float) -> Operation:
        """Return how the instance works at a share of ``max_rate``, 0 to 1."""
        return self._full if share == 1.0 else self._operation(share)

    @cached_property
    def _full(self) -> Operation:
        return self._operation(1.0)

    def _operation(self, share: float) -> Operation:
        assert self._steps is not None
        assert self._workload is not None
        shape = self.max_rate.shape
        seconds, low, high, joules = (
            _Instances([self._steps], self.slots.reshape(1, -1), self._workload, plane)
            for plane in (SECONDS, LOW, HIGH, JOULES)
        )
        rate = share * self.max_rate.reshape(1, -1)
        n = seconds.sequences(rate)
        alone = np.maximum(n, 1.0)  # fewer than one on average run alone, and in between is idle
        busy = rate * (seconds.output * seconds.step(n) / alone + seconds.prefill)
        idle_w = self.idle_w * np.clip(1.0 - busy, 0.0, 1.0)
        watts = idle_w + rate * (joules.output * joules.step(n) / alone + joules.prefill)
        ends = (seconds, low, high)
        values = (*(end.ttft(n) for end in ends), *(end.tpot(n) for end in ends), watts)
        shaped = [value.reshape(shape) for value in values]
        return Operation(
            ttft_s=shaped[0], ttft_low_s=shaped[1], ttft_high_s=shaped[2],
            tpot_s=shaped[3], tpot_low_s=shaped[4], tpot_high_s=shaped[5],
            power_w=shaped[6],
        )  # fmt: skip

    @property
    def idle_w(self) -> float:
        """Power of all ranks without work; NaN where the TDP is not known."""
        device = self.type.device
        if device.tdp_w is None:
            return float("nan")
        return float(self.type.tensor_parallel * power_w(device, 0.0, 0.0))


def profile(
    model: Transformer,
    kind: InstanceType,
    workload: Workload,
    *,
    weights: str = "bf16",
    kv: str = "bf16",
    max_batch: int = 256,
    limits: Limits = Limits(),
    engine: str | Engine = "overlapped",
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
        engine: what the engine adds on the host.
    """
    return profiles(
        model, [kind], workload,
        weights=weights, kv=kv, max_batch=max_batch, limits=limits, engine=engine,
    )[0]  # fmt: skip


def profiles(
    model: Transformer,
    kinds: Sequence[InstanceType],
    workload: Workload,
    *,
    weights: str = "bf16",
    kv: str = "bf16",
    max_batch: int = 256,
    limits: Limits = Limits(),
    engine: str | Engine = "overlapped",
) -> list[Profile]:
    """Profile several instance types at once; arguments as for :func:`profile`."""
    context = np.maximum(workload.mean_input + workload.mean_output, 1.0)
    too_long = context > model.max_position
    found: list[Profile | None] = []
    steps, slots = [], []
    for kind in kinds:
        refusal, short = _refusal(model, kind, weights)
        found.append(_never(kind, workload, refusal, short) if refusal else None)
        if refusal:
            continue
        parallel = ParallelPlan(tensor=kind.tensor_parallel)
        tokens = kv_capacity_tokens(
            model, kind.device,
            parallel=parallel, weight_format=weights, kv_format=kv, context_tokens=context,
        )  # fmt: skip
        fit = np.minimum(float(max_batch), np.floor(tokens / context))
        slots.append(np.where(too_long, 0.0, fit).ravel())
        steps.append(
            instance_steps(
                model,
                kind.device,
                parallel,
                workload,
                weights=weights,
                kv=kv,
                engine=engine,
                most_sequences=max_batch,
            )
        )
    able = [g for g, refused in enumerate(found) if refused is None]
    if able:
        made = _search([kinds[g] for g in able], steps, np.array(slots), workload, limits)
        for g, each in zip(able, made, strict=True):
            found[g] = each
    return [each for each in found if each is not None]


def _search(
    kinds: Sequence[InstanceType],
    steps: Sequence[Steps],
    slots: Floats,
    workload: Workload,
    limits: Limits,
) -> list[Profile]:
    """Find the largest number of sequences within the limits by bisection, all at once."""
    work = _Instances(steps, slots, workload)
    points = np.append(0.0, work.points)
    low = np.zeros(slots.shape, dtype=np.int64)
    high = np.full(slots.shape, len(points) - 1)  # more than all slots: never good
    while (high - low).max() > 1:
        middle = (low + high) // 2
        good = work.broken(points[middle], limits) == 0
        low, high = np.where(good, middle, low), np.where(good, high, middle)
    below, above = points[low], points[high]
    for _ in range(_HALVINGS):
        n = (below + above) / 2
        good = work.broken(n, limits) == 0
        below, above = np.where(good, n, below), np.where(good, above, n)
    runs = slots >= 1
    within = np.where(work.points[:, None] <= below[:, None, :], work.carried, 0.0).max(axis=1)
    rate = np.where(runs, np.maximum(work.rate(below), within), 0.0)
    idle = np.zeros(slots.shape)
    parts: tuple[Any, ...] = (
        rate,
        np.where(rate > 0, work.broken(above, limits), 0).astype(np.int8),
        slots,
        np.where(runs, work.ttft(idle), np.inf),
        np.where(runs, work.tpot(idle), np.inf),
    )
    names = ("max_rate", "binding", "slots", "least_ttft_s", "least_tpot_s")
    shape = workload.shares.shape
    return [
        Profile(
            type=kind,
            **{name: part[g].reshape(shape) for name, part in zip(names, parts, strict=True)},
            _steps=steps[g],
            _workload=workload,
        )
        for g, kind in enumerate(kinds)
    ]


def _never(kind: InstanceType, workload: Workload, refusal: str, short: float) -> Profile:
    shape = workload.shares.shape
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


def _refusal(model: Transformer, kind: InstanceType, weights: str) -> tuple[str, float]:
    """Say why a type cannot run a model, and how much memory it lacks, relative."""
    key = (model, id(kind.device), kind.tensor_parallel, weights)
    refusal, short, _ = _REFUSALS.get(
        key, lambda: (*_find_refusal(model, kind, weights), kind.device)
    )
    return refusal, short


def _find_refusal(model: Transformer, kind: InstanceType, weights: str) -> tuple[str, float]:
    device = kind.device
    parallel = ParallelPlan(tensor=kind.tensor_parallel)
    unable = supports(device, weights) or parallel.reason(model)
    if unable is None and device.memory_bytes is None:
        unable = f"the memory of {device.name} is not known"
    if unable is None:
        try:
            timing.all_reduce_seconds(device, kind.tensor_parallel, 1.0)
        except SpecificationError as error:  # more than a node holds
            unable = str(error)
    if unable is not None:
        return unable, float("nan")
    free = free_kv_bytes(model, device, parallel=parallel, weight_format=weights)
    if free > 0:
        return "", float("nan")
    have = float(device.memory_bytes or 0)
    need = have - free  # weights, reserve, and what the driver keeps
    return f"weights need {need / 1e9:.0f} of {have / 1e9:.0f} GB an accelerator", need / have - 1


class _Instances:
    """Instances (T) at n decoding sequences, for every bucket (B = I·J) at once, shapes (T, B)."""

    def __init__(
        self, steps: Sequence[Steps], slots: Floats, workload: Workload, plane: int = SECONDS
    ) -> None:
        columns = workload.shares.shape[1]

        def gather(name: str) -> Floats:
            return np.stack([getattr(each, name)[plane] for each in steps])

        self.points = steps[0].sequences
        self.slots = np.maximum(slots, 1.0)
        self.output = np.maximum(workload.mean_output, 1.0).ravel()
        self.prefill = gather("prefill")
        self._cv2 = workload.output_cv2.ravel()
        self._decode = gather("decode")
        self._edge_decode = np.repeat(gather("edge_decode"), columns, axis=2)
        self._edge_prefill = np.repeat(gather("edge_prefill"), columns, axis=1)

    def step(self, n: Floats) -> Floats:
        """Return a decode step with n sequences; fewer than one on average run alone."""
        return self._between(self._decode, *self._place(n))

    def tpot(self, n: Floats) -> Floats:
        """Return the mean time per output token, prefills in between included."""
        return self.step(n) + n * self.prefill / self.output

    def rate(self, n: Floats) -> Floats:
        """Return requests/s at n decoding sequences."""
        return n / (self.output * self.tpot(n))

    def ttft(self, n: Floats, tpot: Floats | None = None) -> Floats:
        """Return the P99 wait, the prefill of the upper edge and the first decode step."""
        tpot = self.tpot(n) if tpot is None else tpot
        service = self.prefill + self.output * tpot
        wait = p99_wait_s(self.slots, service, n / (self.output * tpot), self._cv2)
        first = self._between(self._edge_decode, *self._place(n))
        return np.asarray(wait + self._edge_prefill + first)

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

    @cached_property
    def carried(self) -> Floats:
        """Requests/s at each point of the tables, shape (T, K, B)."""
        points = self.points[:, None]
        return points / (self.output * self._decode + points * self.prefill[:, None, :])

    def sequences(self, rate: Floats) -> Floats:
        """Return the number of decoding sequences at which a rate is carried.

        The least such number, where a kernel that suits more sequences badly lets the rate fall.
        Between points a step is linear in it, so what is left is one linear equation.
        """
        carried = self.carried
        reached = carried >= rate[:, None, :] * (1 - 1e-12)
        first_above = np.where(reached.any(axis=1), reached.argmax(axis=1), len(self.points) - 1)
        at = np.maximum(first_above - 1, 0)
        first, second = self.points[at], self.points[at + 1]
        lower, upper = (self._between(self._decode, at + k, np.zeros(at.shape)) for k in (0, 1))
        slope = (upper - lower) / (second - first)
        served = rate * self.output
        spare = 1.0 - rate * self.prefill
        many = served * (lower - slope * first) / (spare - served * slope)
        few = served * self._decode[:, 0] / spare
        return np.asarray(np.where(rate < carried[:, 0], few, many))

    def _place(self, n: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
        n = np.maximum(n, 1.0)
        at = np.minimum(np.searchsorted(self.points, n, side="right"), len(self.points) - 1) - 1
        here = self.points[at]
        return at, (n - here) / (self.points[at + 1] - here)

    def _between(self, table: Floats, at: npt.NDArray[np.int64], part: Floats) -> Floats:
        types, points, buckets = table.shape
        flat = table.reshape(-1)
        index = (np.arange(types)[:, None] * points + at) * buckets + np.arange(buckets)
        here = flat[index]
        above = flat[np.minimum(index + buckets, flat.size - 1)]
        return np.asarray(here + part * (above - here))


def instance_types(devices: Sequence[Device], widths: Sequence[int]) -> list[InstanceType]:
    """Return every device at every tensor-parallel width, in order."""
    return [InstanceType(device=d, tensor_parallel=w) for d in devices for w in widths]
