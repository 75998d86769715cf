"""What one engine step costs: seconds, joules and bytes, from the operators of the step.

Back ends say how long an operator takes. ``fitted``: the laws of `archwright.hardware.timing`.
``roofline``: operations at peak or bytes at full bandwidth, whichever is longer, and nothing else.
``table``: measured kernel times, between them the fitted law scaled to the nearest of them.

A table of kernels holds one engine's kernels of one version. Where the constants carried from the
other devices promise a faster kernel than the catalogue's own of a device, the engine is taken to
have that one. A calibration of the user's own is of the engine that is asked about, and holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from archwright.errors import SpecificationError, unknown
from archwright.hardware import Device, timing
from archwright.hardware.energy import power_label, power_w
from archwright.hardware.evaluation import Timed, machine, ready, run, stream
from archwright.hardware.kernel_table import ARGUMENTS, KernelTable, arguments
from archwright.hardware.profiles import unmeasured
from archwright.hardware.tables import catalogue_toml
from archwright.llm.architecture import Transformer
from archwright.llm.batch import StepBatch
from archwright.llm.capacity import supports
from archwright.llm.operators import Operator, step_operators
from archwright.llm.parallel import ParallelPlan
from archwright.provenance import Label, Source

if TYPE_CHECKING:
    from archwright.llm.compiled import CompiledStepCost

__all__ = ["BACK_ENDS", "Engine", "StepCost", "StepEstimate", "engine", "engines"]

Floats = NDArray[np.float64]
_Kernel = tuple[str, str, str | None]
"""Law, format of the operands, and of the KV cache in attention."""
BackEnd = Literal["fitted", "roofline", "table"]
BACK_ENDS: tuple[BackEnd, ...] = ("fitted", "roofline", "table")

_LAWS: Mapping[str, Any] = {
    "moe": timing.moe_seconds,
    "all_reduce": timing.all_reduce_seconds,
    "all_to_all": timing.all_to_all_seconds,
    "point_to_point": timing.point_to_point_seconds,
}
COMMUNICATION = ("all_reduce", "all_to_all", "point_to_point")
"""Kinds of operators that move bytes between devices."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What an inference engine adds to the kernels, on the host.

    Attributes:
        name: short name.
        host_step_s: seconds a step.
        host_sequence_s: seconds a running sequence and step.
        source: where the two come from.
    """

    name: str
    host_step_s: float = 0.0
    host_sequence_s: float = 0.0
    source: Source = field(default_factory=lambda: Source(source="stated", flag="assumed"))


@cache
def engines() -> Mapping[str, Engine]:
    """Return the engines of the catalogue by name.

    >>> sorted(engines())
    ['overlapped', 'vllm']
    """
    return {
        name: Engine(
            name=name,
            host_step_s=row["host_step_s"],
            host_sequence_s=row["host_sequence_s"],
            source=Source(source=row["source"], date=row["date"], flag=row["flag"]),
        )
        for name, row in catalogue_toml("archwright.llm", "engines.toml").items()
    }


def engine(name: str) -> Engine:
    """Return an engine by name.

    Args:
        name: of the catalogue, or the path of a profile that a calibration wrote.

    Raises:
        SpecificationError: no such engine; the message names the nearest one.
    """
    if name.endswith(".toml"):
        from archwright.llm.calibration import load_engine

        return load_engine(name)
    if name not in engines():
        raise SpecificationError(unknown("engine", name, engines()))
    return engines()[name]


@dataclass(frozen=True, kw_only=True)
class StepEstimate:
    """What a step costs; arrays over the batch's axis, bytes and operations of one rank.

    Attributes:
        seconds: time of the step, through all pipeline stages in succession.
        low: low end of the 90 % interval.
        high: high end.
        power_w: average power of all ranks together; NaN where a TDP is not known.
        joules: their energy.
        flops: operations of matrix products.
        weight_bytes: weights read.
        kv_bytes: cache read.
        activation_bytes: activations read and written.
        communication_bytes: bytes of messages.
        memory_s: time that the bytes take at full bandwidth.
        compute_s: time that the operations take at peak rate.
        parts: seconds of each operator, and of the host.
        kinds: kind of each part, as `Operator.kind`, or ``host``.
        label: how the times are known.
    """

    seconds: Any
    low: Any
    high: Any
    power_w: Any
    joules: Any
    flops: Any
    weight_bytes: Any
    kv_bytes: Any
    activation_bytes: Any
    communication_bytes: Any
    memory_s: Any
    compute_s: Any
    parts: Mapping[str, Any]
    kinds: Mapping[str, str]
    label: Label

    def at(self, index: int) -> StepEstimate:
        """Return the estimate at a place of the first axis, without what takes no time there."""

        def pick(value: Any) -> Any:
            return value[index] if isinstance(value, np.ndarray) and value.ndim else value

        parts = {name: pick(value) for name, value in self.parts.items()}
        parts = {
            name: value
            for name, value in parts.items()
            if (value.any() if isinstance(value, np.ndarray) else value)
        }
        return StepEstimate(
            **{name: pick(getattr(self, name)) for name in _PER_STEP},
            parts=parts,
            kinds={name: self.kinds[name] for name in parts},
            label=self.label,
        )

    @property
    def binding(self) -> str:
        """What takes the most time of the (first) step: memory, compute, communication, start
        of kernels, or the host."""

        def first(value: Any) -> float:
            return float(np.ravel(value)[0])

        moved = sum(first(s) for n, s in self.parts.items() if self.kinds[n] in COMMUNICATION)
        host = first(self.parts.get("host", 0.0))
        memory, compute = first(self.memory_s), first(self.compute_s)
        starts = max(first(self.seconds) - moved - host - max(memory, compute), 0.0)
        shares = {
            "memory bandwidth": memory,
            "compute": compute,
            "communication": moved,
            "the host": host,
            "starts of kernels and their inefficiency": starts if starts > memory + compute else 0,
        }
        return max(shares, key=lambda name: shares[name])


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """The cost of steps of one model on one kind of instance.

    >>> from archwright.hardware import device
    >>> from archwright.llm import StepBatch, StepCost, transformer
    >>> cost = StepCost(model=transformer("Llama-3.1-8B"), device=device("H100-SXM"))
    >>> step = cost(StepBatch(decode_batch=[1, 64], decode_context=1000))
    >>> bool(5e-3 < step.seconds[0] < step.seconds[1] < 20e-3)
    True

    Attributes:
        model: the transformer.
        device: one of the equal devices.
        parallel: how the model is cut.
        weight_format: name of a weight format.
        kv_format: name of a KV-cache format.
        back_end: ``fitted``, ``roofline`` or ``table``.
        engine: what the engine adds on the host; a name of the catalogue or an `Engine`.
        table: measured kernels, for the table back end.

    Raises:
        SpecificationError: the device lacks the format, the model cannot be cut so, an unknown
            name, or a table that is missing or of another device.
    """

    model: Transformer
    device: Device
    parallel: ParallelPlan = field(default_factory=ParallelPlan)
    weight_format: str = "bf16"
    kv_format: str = "bf16"
    back_end: BackEnd = "fitted"
    engine: Engine | str = "overlapped"
    table: KernelTable | None = None

    def __post_init__(self) -> None:
        if self.back_end not in BACK_ENDS:
            raise SpecificationError(unknown("back_end", self.back_end, BACK_ENDS))
        if self.back_end == "table" and self.table is None:
            raise SpecificationError("back_end 'table' needs a table; see KernelTable")
        if self.table is not None and self.table.device.name != self.device.name:
            raise SpecificationError(
                f"table: of {self.table.device.name}, expected one of {self.device.name}"
            )
        if isinstance(self.engine, str):
            object.__setattr__(self, "engine", engine(self.engine))
        reason = supports(self.device, self.weight_format) or self.parallel.reason(self.model)
        if reason is not None:
            raise SpecificationError(reason)

    def __call__(self, batch: StepBatch) -> StepEstimate:
        """Return what steps cost.

        Args:
            batch: the composition of one step, or of many.
        """
        parts: dict[str, Any] = {}
        kinds: dict[str, str] = {}
        total = [0.0, 0.0, 0.0]
        sums: dict[str, Any] = dict.fromkeys(_SUMS, 0.0)
        memory_s: Any = 0.0
        compute_s: Any = 0.0
        operators = self.operators(batch)
        for op, found in zip(operators, self._times(operators), strict=True):
            timed = [op.count * t for t in found]
            parts[op.name], kinds[op.name] = timed[0], op.kind
            total = [a + b for a, b in zip(total, timed, strict=True)]
            for name in _SUMS:
                sums[name] = sums[name] + op.count * getattr(op, name)
            memory, compute = self._work(op)
            memory_s, compute_s = memory_s + memory, compute_s + compute
        host = self.host_s(batch)
        if np.any(host):
            parts["host"], kinds["host"] = host, "host"
        seconds, low, high = (t + host for t in total)
        watts = self.power_w(memory_s, compute_s, seconds)
        return StepEstimate(
            seconds=seconds,
            low=low,
            high=high,
            power_w=watts,
            joules=watts * seconds,
            memory_s=memory_s,
            compute_s=compute_s,
            parts=parts,
            kinds=kinds,
            label=self.label,
            **sums,
        )

    def operators(self, batch: StepBatch) -> list[Operator]:
        """Return the operators of a step, with the formats of this device's kernels."""
        found = step_operators(
            self.model,
            batch,
            parallel=self.parallel,
            weight_format=self.weight_format,
            kv_format=self.kv_format,
        )
        # the law of the experts' kernel was measured with the router in it
        return [op for op in found if op.name != "moe.router"]

    def host_s(self, batch: StepBatch) -> Any:
        """Return the seconds of the host that nothing hides."""
        assert isinstance(self.engine, Engine)
        running = batch.sampled * self.parallel.data_parallel_attention
        return self.engine.host_step_s + self.engine.host_sequence_s * running

    def power_w(self, memory_s: Any, compute_s: Any, seconds: Any) -> Any:
        """Return the average power of all ranks, of times at full bandwidth and at peak rate.

        The stages of a pipeline work in turn; the idle ones count as busy as the one at work.
        """
        if self.device.tdp_w is None:
            return np.nan * np.asarray(seconds)
        busy = np.maximum(seconds, 1e-12)  # an empty step takes no time
        shares = [np.minimum(s / busy, 1.0) for s in (memory_s, compute_s)]
        return self.parallel.ranks * power_w(self.device, *shares)

    @property
    def label(self) -> Label:
        """How the times are known."""
        labels: dict[str, Label] = {"roofline": "analytic", "table": "table"}
        return labels.get(self.back_end, "fitted")

    @property
    def power_label(self) -> Label:
        """How the power is known."""
        return power_label(self.device)

    def compile(
        self,
        *,
        most_tokens: int = 8192,
        most_sequences: int = 1024,
        most_context: int | None = None,
    ) -> CompiledStepCost:
        """Return tables from which the cost of many steps is looked up quickly.

        Args:
            most_tokens: most tokens a step.
            most_sequences: most sequences, or prompts, a step.
            most_context: longest context; by default the model's.
        """
        from archwright.llm.compiled import compile_cost

        return compile_cost(
            self,
            most_tokens=most_tokens,
            most_sequences=most_sequences,
            most_context=most_context or self.model.max_position,
        )

    # inside

    def time_and_work(self, op: Operator) -> tuple[Any, Any, Any]:
        """Return the seconds of all runs of an operator: as timed, at full bandwidth, at peak."""
        return (op.count * self._times([op])[0].seconds, *self._work(op))

    def _work(self, op: Operator) -> tuple[Any, Any]:
        memory = op.count * _moved(op) / self.device.memory_bandwidth_bytes_s
        return memory, op.count * op.flops / self._peak(op)

    def _times(self, operators: Sequence[Operator]) -> list[Timed]:
        """Time one run of each operator."""
        if self.back_end == "roofline":
            bounds = [self._roofline_s(op) for op in operators]
            return [Timed(seconds, seconds, seconds) for seconds in bounds]
        shapes = [self._shape(op) for op in operators]
        found: dict[int, Timed] = {}
        kernels: dict[_Kernel, list[int]] = {}
        for i, (op, shape) in enumerate(zip(operators, shapes, strict=True)):
            if op.kind in ARGUMENTS:
                key: _Kernel = (op.kind, shape["dtype"], shape.get("kv_dtype"))
                kernels.setdefault(key, []).append(i)
            elif op.kind == "memory":
                found[i] = stream(self.device, shape["size_bytes"], True)
            else:
                law = _LAWS[op.kind]
                own = law(self.device, **shape, return_interval=True)
                found[i] = _faster(own, law(self._unmeasured, **shape, return_interval=True))
        for kernel, places in kernels.items():
            timed = self._kernel(kernel, [arguments(kernel[0], shapes[i]) for i in places])
            found.update(zip(places, timed, strict=True))
        if self.back_end == "table":
            assert self.table is not None
            found = {i: self.table.time(operators[i].kind, shapes[i], t) for i, t in found.items()}
        return [found[i] for i in range(len(operators))]

    def _kernel(self, key: _Kernel, calls: Sequence[Sequence[Any]]) -> list[Timed]:
        """Time calls of a product or an attention in one evaluation of its law.

        The operator graph gives only legal shapes, so nothing is checked.
        """
        prepared = self._prepared.get(key)
        if prepared is None:
            prepared = [ready(d, *key) for d in (self.device, self._unmeasured)]
            self._prepared[key] = prepared
        sizes = _stacked(calls)
        own, other = (run(key[0], at, fitted, sizes, True) for at, fitted in prepared)
        return [Timed(*ends) for ends in zip(*_faster(own, other), strict=True)]

    @cached_property
    def _prepared(self) -> dict[_Kernel, list[Any]]:
        return {}

    def _roofline_s(self, op: Operator) -> Any:
        if op.kind in COMMUNICATION:
            ranks = op.shape.get("ranks", 2)
            link = self.device.link_bytes_s_per_direction
            host = self.device.host_link_bytes_s_per_direction
            speed = (link if link and ranks <= self.device.link_devices else host) or np.inf
            passes = {"all_reduce": 2.0 * (ranks - 1) / ranks, "all_to_all": (ranks - 1) / ranks}
            return passes.get(op.kind, 1.0) * op.communication_bytes / speed
        compute = op.flops / self._peak(op)
        return np.maximum(compute, _moved(op) / self.device.memory_bandwidth_bytes_s)

    def _shape(self, op: Operator) -> dict[str, Any]:
        return {
            key: self._kernels.get(value, value) if key == "dtype" else value
            for key, value in op.shape.items()
        }

    def _peak(self, op: Operator) -> float:
        dtype = op.shape.get("dtype")
        return self._peaks[dtype] if dtype is not None else np.inf

    @cached_property
    def _kernels(self) -> dict[str, str]:
        """What runs in place of a format whose matrix rate the device lacks."""
        catalogue = catalogue_toml("archwright.llm", "kernels.toml")
        instead = {}
        if "bf16" not in self.device.peak_ops_s:
            instead["bf16"] = "fp16"
        unpacked = catalogue["weight_only"].get(self.weight_format)
        if unpacked is not None and "fp4" not in self.device.peak_ops_s:
            instead[catalogue["weights"][self.weight_format]] = unpacked
        return instead

    @cached_property
    def _peaks(self) -> Mapping[str, float]:
        return _Peaks(self.device, self._kernels)

    @cached_property
    def _unmeasured(self) -> Device:
        return unmeasured(self.device)


_PER_STEP = (
    "seconds", "low", "high", "power_w", "joules", "flops", "weight_bytes", "kv_bytes",
    "activation_bytes", "communication_bytes", "memory_s", "compute_s",
)  # fmt: skip
_SUMS = ("flops", "weight_bytes", "kv_bytes", "activation_bytes", "communication_bytes")


def _stacked(calls: Sequence[Sequence[Any]]) -> list[Floats]:
    """Return each argument of some calls as one array, the calls along the first axis."""
    columns = [[np.asarray(v, dtype=np.float64) for v in c] for c in zip(*calls, strict=True)]
    most = max(value.ndim for column in columns for value in column)
    stacked = []
    for column in columns:
        if any(value.shape != column[0].shape for value in column):
            column = list(np.broadcast_arrays(*column))
        whole = np.array(column)
        room = (1,) * (most + 1 - whole.ndim)
        stacked.append(whole.reshape(len(column), *room, *whole.shape[1:]))
    return stacked


def _faster(own: Timed, other: Timed) -> Timed:
    """Return the faster of two kernels, point by point."""
    which = other.seconds < own.seconds
    if not isinstance(which, np.ndarray):
        return other if which else own
    return Timed(*(np.where(which, b, a) for a, b in zip(own, other, strict=True)))


def _moved(op: Operator) -> Any:
    return op.weight_bytes + op.kv_bytes + op.activation_bytes


class _Peaks(dict[str, float]):
    """Matrix rate of a device by kernel format, found on first use."""

    def __init__(self, device: Device, instead: Mapping[str, str]) -> None:
        super().__init__()
        self._device, self._instead = device, instead

    def __missing__(self, dtype: str) -> float:
        peak = machine(self._device, self._instead.get(dtype, dtype)).peak
        self[dtype] = peak
        return peak
