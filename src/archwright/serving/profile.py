"""What one instance can carry: rates of each bucket at several operating points.

An instance is one or several accelerators in tensor parallel. It is a queue with as many servers
as batch slots (card of the Workload-Router-Pool paper, method 4): a request waits for a slot, is
prefilled, then decodes in the running batch. With n sequences decoding on average, a step takes
``step(n)``; prefills take their share of the time, so

    rate(n) = n / (output · step(n) + n · prefill),    TPOT(n) = n / (rate · output).

Busy slots never exceed a share of all, 0.85 by default. Within that, an instance may work at more
or fewer sequences: more of them are cheaper and later. So each bucket has several *ways* to be
served, each with its rate and with what a request takes of each limit's budget; the plan chooses
among them (:func:`archwright.serving.plan_fleet`). The first way is strict: the highest rate at
which every request of the bucket holds every limit by itself. Step times and energy are those of
:class:`archwright.llm.StepCost`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
from archwright.serving.instances import Instances
from archwright.serving.latency import Latency
from archwright.serving.limits import Limits, Rule, rule
from archwright.serving.memo import Memo
from archwright.serving.steps import Steps, instance_steps
from archwright.serving.workload import Workload

__all__ = [
    "UTILIZATION",
    "InstanceType",
    "Operation",
    "Profile",
    "instance_types",
    "profile",
    "profiles",
]

Floats = npt.NDArray[np.float64]

UTILIZATION = 0.85
"""Largest share of busy slots a plan may count on by default (card wrp, method 4)."""

_REFUSALS: Memo[tuple[str, float, Device]] = Memo(4096)  # a device kept is known by identity
_NO_LIMITS = Limits()
_HALVINGS = 14  # of the number of sequences, where a rule must be searched for
_UNHINDERED = ("none", "utilization")


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
    """An instance at work on each bucket alone, in each way, at a share of its rate; (M, I, J).

    Attributes:
        latency: of its requests.
        power_w: average power of the instance, all ranks; NaN where a TDP is not known.
        prefill_share: share of the busy time that prompts take; the rest decodes.
    """

    latency: Latency
    power_w: Floats
    prefill_share: Floats


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One instance type serving one model.

    Attributes:
        type: what was profiled.
        rate: requests/s of one instance serving only that bucket, by way, shape (M, I, J); 0 =
            cannot. Way 0 is the strict one.
        takes: name of a limit to what a request takes of its budget, shape (M, I, J).
        binding: what stops a higher strict rate, codes of ``limit_name``, shape (I, J).
        slots: batch slots, shape (I, J).
        refusal: why the type cannot serve the model at all; empty if it can.
        memory_short: relative lack of memory where that is the refusal, else NaN.
    """

    type: InstanceType
    rate: Floats
    takes: Mapping[str, Floats]
    binding: npt.NDArray[np.int8]
    slots: Floats
    refusal: str = ""
    memory_short: float = float("nan")
    _idle: tuple[Latency, int] | None = None
    _names: tuple[str, ...] = _UNHINDERED
    _steps: Steps | None = None
    _workload: Workload | None = None
    _rate_per_s: float | None = None
    _at: dict[tuple[float, float], Operation] = field(default_factory=dict)

    @property
    def max_rate(self) -> Floats:
        """The highest rate at which each bucket holds every limit by itself, shape (I, J)."""
        return np.asarray(self.rate[0])

    @cached_property
    def idle(self) -> Latency | None:
        """Latency of an instance without other work, shape (I, J); None where it cannot serve."""
        if self._idle is None:
            return None
        latency, place = self._idle
        return latency.row(place, self.slots.shape)

    def least(self, rule: Rule) -> Floats:
        """Return what a rule's value is at best: of each bucket by itself, idle, shape (I, J)."""
        if self._idle is None:
            return np.full(self.slots.shape, np.inf)
        latency, place = self._idle
        whole = latency.least(rule)  # of all types that were profiled together
        return np.asarray(whole[place].reshape(self.slots.shape))

    def limit_name(self, i: int, j: int) -> str:
        """Return what stops a higher strict rate in a bucket."""
        return self._names[int(self.binding[i, j])]

    def latency(self, share: float) -> tuple[Floats, Floats]:
        """Return P99 TTFT and mean TPOT per bucket at a share of ``max_rate``, shapes (I, J)."""
        found = self.operation(share).latency
        each = np.zeros(found.tpot_s.shape)
        ttft = np.empty(self.max_rate.shape)
        for i, j in np.ndindex(ttft.shape):
            each[...] = 0.0
            each[0, i, j] = 1.0
            ttft[i, j] = found.value(rule("ttft_p99_s"), each)
        return ttft, found.tpot_s[0]

    def operation(self, share: float, *, error: float = 0.0) -> Operation:
        """Return how the instance works at a share of its rates, 0 to 1.

        Args:
            share: of the rate of each way.
            error: how wrong the step times are, in standard deviations of their law; 1.645 is the
                upper end of their 90 % interval.
        """
        key = (share, error)
        if key not in self._at:
            if len(self._at) > 32:
                self._at.clear()
            self._at[key] = self._operation(share, error)
        return self._at[key]

    def _operation(self, share: float, error: float) -> Operation:
        assert self._steps is not None
        assert self._workload is not None
        ways = len(self.rate)
        slots = np.tile(self.slots.reshape(1, -1), (ways, 1))
        work = Instances([self._steps] * ways, slots, self._workload, error=error)
        rate = share * self.rate.reshape(ways, -1)
        n = work.sequences(rate)
        decode, prefill = rate * work.decode_s(n), rate * work.prefill
        idle_w = self.idle_w * np.clip(1.0 - decode - prefill, 0.0, 1.0)
        watts = idle_w + rate * work.joules(n)
        with np.errstate(invalid="ignore"):
            part = np.where(prefill > 0, prefill / (prefill + decode), 0.0)
        shape = self.rate.shape
        return Operation(
            latency=work.latency(n, rate, of_all=self._rate_per_s, shape=shape),
            power_w=watts.reshape(shape),
            prefill_share=part.reshape(shape),
        )

    @cached_property
    def unlimited_rate(self) -> Floats:
        """The rate at which the slots are full or a step gains nothing more, shape (I, J)."""
        if self._steps is None or self._workload is None:
            return np.zeros(self.slots.shape)
        work = Instances([self._steps], self.slots.reshape(1, -1), self._workload)
        able = np.where(work.points[:, None] <= work.slots[:, None, :], work.carried, 0.0)
        found = np.where(self.slots.ravel() >= 1, able.max(axis=1)[0], 0.0)
        return np.asarray(found.reshape(self.slots.shape))

    @property
    def idle_w(self) -> float:
        """Power of all ranks without work; NaN where the TDP is not known."""
        device = self.type.device
        if device.tdp_w is None:
            return float("nan")
        return float(self.type.tensor_parallel * power_w(device, 0.0, 0.0))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_at": {}}


def profile(
    model: Transformer,
    kind: InstanceType,
    workload: Workload,
    *,
    weights: str = "bf16",
    kv: str = "bf16",
    max_batch: int = 256,
    limits: Limits = _NO_LIMITS,
    engine: str | EngineSpec = "overlapped",
    utilization: float = UTILIZATION,
    rate_per_s: float | None = None,
    error: float = 0.0,
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
        utilization: largest share of busy slots.
        rate_per_s: requests/s that arrive at the whole fleet. An instance takes a part of them,
            and a part of bursty arrivals is less bursty; without it, an instance takes all.
        error: how wrong to take the step times, in standard deviations of their law; 1.28 makes
            a plan whose limits hold with 90 %.
    """
    return profiles(
        model, [kind], workload,
        weights=weights, kv=kv, max_batch=max_batch, limits=limits, engine=engine,
        utilization=utilization, rate_per_s=rate_per_s, error=error,
    )[0]  # fmt: skip


def profiles(
    model: Transformer,
    kinds: Sequence[InstanceType],
    workload: Workload,
    *,
    weights: str = "bf16",
    kv: str = "bf16",
    max_batch: int = 256,
    limits: Limits = _NO_LIMITS,
    engine: str | EngineSpec = "overlapped",
    utilization: float = UTILIZATION,
    rate_per_s: float | None = None,
    error: float = 0.0,
) -> list[Profile]:
    """Profile several instance types at once; arguments as for :func:`profile`."""
    context = np.maximum(workload.mean_input + workload.mean_output, 1.0)
    too_long = context > model.max_position
    found: list[Profile | None] = []
    run, slots = [], []
    spec = find_engine(engine) if isinstance(engine, str) else engine
    for kind in kinds:
        refusal, short = _refusal(model, kind, weights)
        unable = spec.too_much(max_batch) or spec.reason(
            device=kind.device, weight_format=weights, kv_format=kv, tensor=kind.tensor_parallel
        )
        if unable is not None:
            refusal, short = unable, float("nan")
        found.append(_never(kind, workload, limits, refusal, short) if refusal else None)
        if refusal:
            continue
        parallel = ParallelPlan(tensor=kind.tensor_parallel)
        tokens = kv_capacity_tokens(
            model, kind.device,
            parallel=parallel, weight_format=weights, kv_format=kv, context_tokens=context,
        )  # fmt: skip
        fit = np.minimum(float(max_batch), np.floor(tokens / context))
        slots.append(np.where(too_long, 0.0, fit).ravel())
        run.append((kind.device, parallel))
    steps = instance_steps(
        model, run, workload, weights=weights, kv=kv, engine=spec, most_sequences=max_batch
    )
    able = [g for g, refused in enumerate(found) if refused is None]
    if able:
        search = _Search(steps, np.array(slots), workload, limits, utilization, rate_per_s, error)
        for place, g in enumerate(able):
            found[g] = search.profile(place, kinds[g])
    return [each for each in found if each is not None]


class _Search:
    """The operating points of several types (T), for all buckets (B = I·J) at once."""

    def __init__(
        self,
        steps: Sequence[Steps],
        slots: Floats,
        workload: Workload,
        limits: Limits,
        utilization: float,
        rate_per_s: float | None,
        error: float,
    ) -> None:
        self.work = Instances(steps, slots, workload, error=error)
        self.steps, self.slots, self.workload = steps, slots, workload
        self.rules, self.utilization, self.rate_per_s = limits.rules, utilization, rate_per_s
        self.names = (*_UNHINDERED, *(each.words for each in self.rules))
        self.runs = slots >= 1
        full = self.work.most_within(utilization)
        strict_n, self.binding = self._strict(full)
        # where a kernel suits more sequences badly, fewer of them may carry more
        within = np.where(
            self.work.points[:, None] <= strict_n[:, None, :], self.work.carried, 0.0
        ).max(axis=1)
        strict = np.where(self.runs, np.maximum(self.work.rate(strict_n), within), 0.0)
        self.binding = np.where(strict > 0, self.binding, 0).astype(np.int8)
        rates = [strict]
        if self.rules and not limits.per_bucket:
            rates += [
                np.where(self.runs & (n > 0), self.work.rate(n), 0.0)
                for n in _menu(strict_n, full)
            ]
        self.rate = np.stack(rates, axis=1)  # (T, M, B)
        self.takes = {each.name: np.empty(self.rate.shape) for each in self.rules}
        for m, rate in enumerate(rates if self.rules else ()):
            n = self.work.sequences(rate)  # the least that carry it, where several numbers do
            latency = self.work.latency(n, rate, of_all=self.rate_per_s)
            for each in self.rules:
                self.takes[each.name][:, m] = latency.takes(each)
        self.idle = self.latency(np.zeros(slots.shape))

    def latency(self, n: Floats) -> Latency:
        """Return the latency at n sequences, shape (T, B)."""
        return self.work.latency(n, self.work.rate(n), of_all=self.rate_per_s)

    def _strict(self, full: Floats) -> tuple[Floats, npt.NDArray[np.int8]]:
        """Return the most sequences at which each bucket holds every rule, and what stops more."""
        n = full
        binding = np.full(full.shape, self.names.index("utilization"), dtype=np.int8)
        waiting = []
        for each in self.rules:
            if each.quantity != "tpot":
                waiting.append(each)
                continue
            most = self.work.most_at(each.limit_s)
            binding[most < n] = self.names.index(each.words)
            n = np.minimum(n, most)
        for each in waiting:  # the others by bisection, where they do not hold already
            late = ~self.latency(n).holds(each) & self.runs & (n > 0)
            if late.any():
                n = np.where(late, self._bisect(each, n, late), n)
                binding[late] = self.names.index(each.words)
        return n, binding

    def _bisect(self, rule: Rule, n: Floats, late: npt.NDArray[np.bool_]) -> Floats:
        """Return the most sequences below n at which a rule holds, where it is late at n."""
        rows, columns = np.nonzero(late)
        work = self.work.only(rows, columns)
        low, high = np.zeros(len(rows))[:, None], n[late][:, None]
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            at = work.latency(middle, work.rate(middle), of_all=self.rate_per_s)
            good = at.holds(rule)
            low, high = np.where(good, middle, low), np.where(good, high, middle)
        found = np.zeros(n.shape)
        found[late] = low[:, 0]
        return found

    def profile(self, place: int, kind: InstanceType) -> Profile:
        """Return the profile of one type."""
        shape = self.workload.shares.shape
        ways = self.rate.shape[1]
        return Profile(
            type=kind,
            rate=self.rate[place].reshape(ways, *shape),
            takes={n: t[place].reshape(ways, *shape) for n, t in self.takes.items()},
            binding=self.binding[place].reshape(shape),
            slots=self.slots[place].reshape(shape),
            _idle=(self.idle, place),
            _names=self.names,
            _steps=self.steps[place],
            _workload=self.workload,
            _rate_per_s=self.rate_per_s,
        )


def _menu(strict: Floats, full: Floats) -> list[Floats]:
    """Return numbers of sequences beside the strict one, 0 where they would not differ from it.

    Half of it is earlier than demanded, which leaves a budget for others; between it and as many
    as the slots allow, later and cheaper ones.
    """
    differs = full > 1.05 * strict
    middle = np.where(strict > 0, np.sqrt(np.maximum(strict, 1e-9) * full), full / 4)
    return [strict / 2, np.where(differs, middle, 0.0), np.where(differs, full, 0.0)]


def _never(
    kind: InstanceType, workload: Workload, limits: Limits, refusal: str, short: float
) -> Profile:
    shape = workload.shares.shape
    return Profile(
        type=kind,
        rate=np.zeros((1, *shape)),
        takes={each.name: np.zeros((1, *shape)) for each in limits.rules},
        binding=np.zeros(shape, dtype=np.int8),
        slots=np.zeros(shape),
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


def instance_types(devices: Sequence[Device], widths: Sequence[int]) -> list[InstanceType]:
    """Return every device at every tensor-parallel width, in order."""
    return [InstanceType(device=d, tensor_parallel=w) for d in devices for w in widths]
