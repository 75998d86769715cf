"""What one instance can carry: the highest rate of each bucket within the limits.

An instance is one or several accelerators in tensor parallel, run by an engine. Its steps, queues
and times are those of :mod:`archwright.llm.arrivals`, with so many slots in use on average. The
highest rate is that of the most slots at which the P99 time to first token of the bucket's upper
edge is within its limit, the mean TPOT within its limit, and neither slots nor prefill are used
beyond 0.85.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError
from archwright.hardware import Device, timing
from archwright.hardware.energy import power_w
from archwright.llm import (
    EngineSpec,
    ParallelPlan,
    Transformer,
    free_kv_bytes,
    kv_capacity_tokens,
    supports,
)
from archwright.llm import engine as find_engine
from archwright.llm.arrivals import Arrivals, Crowd, Running, arrivals, running
from archwright.llm.continuous import Batching
from archwright.serving.memo import Memo
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
"""Largest share of slots, and of prefill, a plan may count on (card wrp, method 4)."""

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
    _most: float = float("inf")
    _held: Floats | None = None

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
        slots = self.slots.reshape(1, -1)
        seconds, low, high, joules = (
            _Instances([self._steps], slots, self._workload, self._most, plane)
            for plane in (SECONDS, LOW, HIGH, JOULES)
        )
        rate = share * self.max_rate.reshape(1, -1)
        assert self._held is not None
        held = seconds.held(rate, self._held)
        found = [each.at(held) for each in (seconds, low, high)]
        load = seconds.running(held)
        busy = rate * seconds.work(load)
        watts = self.idle_w * np.clip(1.0 - busy, 0.0, 1.0) + rate * joules.work(load)
        # what a further prompt adds is of a step that draws more than the first
        watts = np.minimum(watts, self._tdp_w)
        ttft, tpot = ([read(each) for each in found] for read in (Arrivals.ttft_s, _tpot_s))
        for ends in (ttft, tpot):  # of steps that all are shorter another may be seen
            ends[1], ends[2] = np.minimum(ends[1], ends[0]), np.maximum(ends[2], ends[0])
        values = (*ttft, *tpot, watts)
        shaped = [value.reshape(shape) for value in values]
        return Operation(
            ttft_s=shaped[0], ttft_low_s=shaped[1], ttft_high_s=shaped[2],
            tpot_s=shaped[3], tpot_low_s=shaped[4], tpot_high_s=shaped[5],
            power_w=shaped[6],
        )  # fmt: skip

    @property
    def _tdp_w(self) -> float:
        tdp = self.type.device.tdp_w
        return float("nan") if tdp is None else tdp * self.type.tensor_parallel

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
    engine: str | EngineSpec = "overlapped",
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
    engine: str | EngineSpec = "overlapped",
) -> list[Profile]:
    """Profile several instance types at once; arguments as for :func:`profile`."""
    spec = find_engine(engine) if isinstance(engine, str) else engine
    engine_limits = replace(
        spec.limits, max_num_seqs=min(max_batch, spec.limits.max_num_batched_tokens)
    )
    inputs, outputs = (np.maximum(x, 1.0) for x in (workload.mean_input, workload.mean_output))
    context = inputs + outputs
    too_long = context > model.max_position
    found: list[Profile | None] = []
    steps, slots = [], []
    for kind in kinds:
        refusal, short = _refusal(model, kind, weights)
        unable = spec.too_much(max_batch) or spec.reason(
            device=kind.device, weight_format=weights, kv_format=kv, tensor=kind.tensor_parallel
        )
        if unable is not None:
            refusal, short = unable, float("nan")
        found.append(_never(kind, workload, refusal, short) if refusal else None)
        if refusal:
            continue
        parallel = ParallelPlan(tensor=kind.tensor_parallel)
        tokens = kv_capacity_tokens(
            model, kind.device,
            parallel=parallel, weight_format=weights, kv_format=kv, context_tokens=context,
            usable=spec.kv_share,
        )  # fmt: skip
        fit = Batching.of(inputs, outputs, engine_limits, tokens, cv2=workload.output_cv2).slots
        slots.append(np.where(too_long, 0.0, fit).ravel())
        steps.append(
            instance_steps(
                model,
                kind.device,
                parallel,
                workload,
                weights=weights,
                kv=kv,
                engine=spec,
                most_sequences=max_batch,
            )
        )
    able = [g for g, refused in enumerate(found) if refused is None]
    if able:
        made = _search(
            [kinds[g] for g in able], steps, np.array(slots), workload, limits, float(max_batch)
        )
        for g, each in zip(able, made, strict=True):
            found[g] = each
    return [each for each in found if each is not None]


def _search(
    kinds: Sequence[InstanceType],
    steps: Sequence[Steps],
    slots: Floats,
    workload: Workload,
    limits: Limits,
    most: float,
) -> list[Profile]:
    """Find the largest number of sequences within the limits by bisection, all at once."""
    work = _Instances(steps, slots, workload, most)
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
    rate = np.where(runs, work.at(below).rate, 0.0)
    idle = work.at(np.zeros(slots.shape))
    parts: tuple[Any, ...] = (
        rate,
        np.where(rate > 0, work.broken(above, limits), 0).astype(np.int8),
        slots,
        np.where(runs, idle.ttft_s(), np.inf),
        np.where(runs, idle.tpot_s, np.inf),
    )
    names = ("max_rate", "binding", "slots", "least_ttft_s", "least_tpot_s")
    shape = workload.shares.shape
    return [
        Profile(
            type=kind,
            **{name: part[g].reshape(shape) for name, part in zip(names, parts, strict=True)},
            _steps=steps[g],
            _workload=workload,
            _most=most,
            _held=below[g : g + 1],
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


def _tpot_s(found: Arrivals) -> Floats:
    return np.asarray(found.tpot_s)


class _Instances:
    """Instances (T) with slots in use, for every bucket (B = I·J) at once, shapes (T, B)."""

    def __init__(
        self,
        steps: Sequence[Steps],
        slots: Floats,
        workload: Workload,
        most: float,
        plane: int = SECONDS,
    ) -> None:
        columns = workload.shares.shape[1]

        def gather(name: str) -> Floats:
            return np.stack([getattr(each, name)[plane] for each in steps])

        self.points = steps[0].sequences
        self._work = Batching(
            inputs=np.maximum(workload.mean_input, 1.0).ravel(),
            outputs=np.maximum(workload.mean_output, 1.0).ravel(),
            budget=steps[0].budget,
            slots=np.maximum(slots, 1.0),
            cache_full=slots < most,
        )
        self._front_end_s = steps[0].front_end_s
        self._cv2 = workload.output_cv2.ravel()
        self._decode, self._joined = gather("decode"), gather("joined")
        self._further = gather("further")
        edges = np.repeat(gather("edge_prefill"), columns, axis=1)
        self._edge = np.maximum(edges - gather("prefill"), 0.0)

    def step(self, n: Floats) -> Floats:
        """Return a decode step with n sequences, from 1 up."""
        return self._between(self._decode, *self._place(n))

    def joined(self, n: Floats) -> Floats:
        """Return a step with n sequences, from 0 up, that a prompt has joined."""
        at, part = self._place(n)
        few = n < 1
        return self._between(self._joined, np.where(few, 0, at + 1), np.where(few, n, part))

    def at(self, held: Floats) -> Arrivals:
        """Return how instances do with so many slots in use."""
        return arrivals(
            self._work,
            held,
            decode_s=self.step,
            joined_s=self.joined,
            further_s=self._further,
            crowd=self._crowd,
            top=self._closed(self._work.slots),
            cv2=self._cv2,
            front_end_s=self._front_end_s,
            edge_s=self._edge,
        )

    def work(self, load: Running) -> Any:
        """Return what a request takes of the plane; fewer than one on average run alone."""
        rest = self._work.outputs - 1.0
        step = self.step(load.seen)
        first = self.joined(load.seen) - step
        prompts = self._work.added_s(load.joining, first, self._further)
        decoding = np.maximum(load.joining * rest, 1.0)
        return rest * step / decoding + prompts / np.maximum(load.joining, 1e-12)

    def running(self, held: Floats) -> Running:
        return running(
            self._work,
            held,
            decode_s=self.step,
            joined_s=self.joined,
            further_s=self._further,
        )

    def broken(self, held: Floats, limits: Limits) -> npt.NDArray[np.int8]:
        """Return the code of the limit that is broken, 0 where all hold."""
        found = self.at(held)
        used = np.maximum(found.slots_used, found.prompts_used)
        code = np.where(used > UTILIZATION, _BINDING.index("utilization"), 0).astype(np.int8)
        if limits.ttft_p99_s is not None:
            code[found.ttft_s() > limits.ttft_p99_s] = _BINDING.index("TTFT")
        if limits.tpot_mean_s is not None:
            code[found.tpot_s > limits.tpot_mean_s] = _BINDING.index("TPOT")
        return code

    def held(self, rate: Floats, most: Floats) -> Floats:
        """Return the slots in use, up to some, at which a rate is carried."""
        low, high = np.zeros_like(rate), np.broadcast_to(most, rate.shape)
        for _ in range(24):
            middle = (low + high) / 2
            under = self.running(middle).rate < rate
            low, high = np.where(under, middle, low), np.where(under, high, middle)
        full = self.running(most).rate <= rate * (1 + 1e-12)  # steps of fewer may take longer
        return np.asarray(np.where(full, most, np.where(rate > 0, high, 0.0)))

    @cached_property
    def _crowd(self) -> Crowd:
        """Requests/s with so many requests in an instance, at the points of the tables."""
        _, count, buckets = self._decode.shape
        joining = self._work.joining(self.points[:, None])
        n = np.maximum(joining * (self._work.outputs - 1.0), np.minimum(self.points[:, None], 1.0))
        at = np.clip(np.searchsorted(self.points, n, side="right") - 1, 0, count - 2)
        part = np.clip((n - self.points[at]) / (self.points[at + 1] - self.points[at]), 0.0, 1.0)
        column = np.arange(buckets)

        def between(table: Floats, at: Any) -> Floats:
            low = table[:, at, column]
            return np.asarray(low + part * (table[:, at + 1, column] - low))

        step = between(self._decode, at)
        first = between(self._joined, at + 1) - step
        step = step + self._work.added_s(joining, first, self._further[:, None])
        return Crowd(points=self.points, rates=np.moveaxis(joining / step, 1, 0))

    def _closed(self, held: Floats) -> Floats:
        """Return requests/s with so many slots in use at all times."""
        again = self._work.again(held)
        joining = self._work.joining(held, again)
        n = np.maximum(joining * (self._work.outputs - 1.0), np.minimum(held, 1.0))
        step = self.step(n)
        first = self.joined(n) - step
        added = self._work.added_s(joining * (1.0 + again), first, self._further)
        return np.asarray(joining / (step + added))

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
