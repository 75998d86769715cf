"""What one engine step costs: seconds, joules and bytes, from the operators of the step.

Back ends say how long an operator takes. ``fitted``: the laws of `archwright.hardware.timing`.
``roofline``: operations at peak or bytes at full bandwidth, whichever is longer, and nothing else.
``table``: measured kernel times, between them the fitted law scaled to the nearest of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from archwright.errors import SpecificationError, unknown
from archwright.hardware import Device, timing
from archwright.hardware.energy import power_label, power_w
from archwright.hardware.evaluation import Timed, assumption, machine, machine_of, ready
from archwright.hardware.kernel_table import KernelTable, arguments
from archwright.hardware.laws import Machine
from archwright.hardware.operators import COMMUNICATION, Operator
from archwright.hardware.profiles import resolve
from archwright.hardware.tables import catalogue_toml
from archwright.llm.architecture import Transformer
from archwright.llm.batch import StepBatch
from archwright.llm.capacity import supports
from archwright.llm.compiled import CompiledStepCost, compile_cost
from archwright.llm.engine import EngineSpec
from archwright.llm.engine import engine as _engine
from archwright.llm.kernel_calls import KernelCall, evaluate
from archwright.llm.layout import PartFormat, part_formats, stated_parts
from archwright.llm.operators import step_operators
from archwright.llm.parallel import ParallelPlan
from archwright.provenance import Label

__all__ = ["BACK_ENDS", "StepCost", "StepEstimate"]

Floats = NDArray[np.float64]
_Kernel = tuple[str, str, str | None]
"""Law, format of the operands, and of the KV cache in attention."""
BackEnd = Literal["fitted", "roofline", "table"]
BACK_ENDS: tuple[BackEnd, ...] = ("fitted", "roofline", "table")

_MESSAGES: Mapping[str, Any] = {
    "all_reduce": timing.all_reduce_seconds,
    "all_to_all": timing.all_to_all_seconds,
    "point_to_point": timing.point_to_point_seconds,
}
_MOE = ("tokens", "hidden", "moe_intermediate", "experts", "experts_per_token", "ranks")


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
        tier_bytes: bytes by tier: ``memory``, and the levels of links that messages take.
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
    tier_bytes: Mapping[str, Any]
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
            tier_bytes={tier: pick(size) for tier, size in self.tier_bytes.items()},
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
        formats: part of the model (`archwright.llm.layout.PARTS`) to name of its weight format,
            where it differs from what checkpoints in `weight_format` have.
        back_end: ``fitted``, ``roofline`` or ``table``.
        engine: what the engine adds on the host; a name of the catalogue or an `EngineSpec`.
        sampling: how tokens are drawn where not as the engine does: a rule of
            `archwright.hardware.timing.sampling_seconds`.
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
    formats: Mapping[str, str] = field(default_factory=dict)
    back_end: BackEnd = "fitted"
    engine: EngineSpec | str = "overlapped"
    sampling: str | None = None
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
            object.__setattr__(self, "engine", _engine(self.engine))
        reason = (
            supports(self.device, self.weight_format)
            or self.parallel.reason(self.model)
            or self.spec.reason(
                device=self.device,
                weight_format=self.weight_format,
                kv_format=self.kv_format,
                tensor=self.parallel.tensor,
            )
        )
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
            memory, compute = self.work(op)
            memory_s, compute_s = memory_s + memory, compute_s + compute
        host = self.host_s(batch)
        if np.any(host):
            parts["host"], kinds["host"] = host, "host"
        seconds, low, high = (t + host for t in total)
        watts = self.power_w(memory_s, compute_s, seconds, seconds - host)
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
            tier_bytes=self._tier_bytes(operators),
            **sums,
        )

    def _tier_bytes(self, operators: Sequence[Operator]) -> dict[str, Any]:
        """Return the bytes by tier; messages stand under the level of link that they take."""
        found: dict[str, Any] = {}
        for op in operators:
            for tier, size in op.tier_bytes.items():
                if tier == "peer":
                    tier = self.device.link_for(_span(op)).level
                found[tier] = found.get(tier, 0) + op.count * size
        return found

    @property
    def spec(self) -> EngineSpec:
        """What the engine is."""
        assert isinstance(self.engine, EngineSpec)
        return self.engine

    def operators(self, batch: StepBatch) -> list[Operator]:
        """Return the operators of a step, with the formats of this device's kernels."""
        found = step_operators(
            self.model,
            batch,
            parallel=self.parallel,
            weight_format=self.weight_format,
            kv_format=self.kv_format,
            formats=self.formats,
            sampling=self.sampling or self.spec.sampling,
        )
        # the law of the experts' kernel was measured with the router in it
        return [op for op in found if op.name != "moe.router"]

    def host_s(self, batch: StepBatch) -> Any:
        """Return the seconds of the host that nothing hides."""
        running = batch.sampled * self.parallel.data_parallel_attention
        return self.spec.host_step_s + self.spec.host_sequence_s * running

    def power_w(self, memory_s: Any, compute_s: Any, seconds: Any, busy_s: Any = None) -> Any:
        """Return the average power of all ranks, of times at full bandwidth and at peak rate.

        The stages of a pipeline work in turn; the idle ones count as busy as the one at work.

        Args:
            memory_s: time that the bytes take at full bandwidth.
            compute_s: time that the operations take at peak rate.
            seconds: time of the step.
            busy_s: time of it in which kernels run; all of it by default.
        """
        if self.device.tdp_w is None:
            return np.nan * np.asarray(seconds)
        busy = np.maximum(seconds, 1e-12)  # an empty step takes no time
        times = (memory_s, compute_s, seconds if busy_s is None else busy_s)
        shares = [np.minimum(s / busy, 1.0) for s in times]
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
        return compile_cost(
            self,
            most_tokens=most_tokens,
            most_sequences=most_sequences,
            most_context=most_context or self.model.max_position,
        )

    # inside

    def time_and_work(self, op: Operator) -> tuple[Any, Any, Any]:
        """Return the seconds of all runs of an operator: as timed, at full bandwidth, at peak."""
        return (op.count * self._times([op])[0].seconds, *self.work(op))

    def work(self, op: Operator) -> tuple[Any, Any]:
        """Return the seconds of all runs at full bandwidth, and at peak rate."""
        memory = op.count * _moved(op) / self.device.memory_bandwidth_bytes_s
        return memory, op.count * op.flops / self.peak_of(op.shape.get("dtype"))

    def calls(self, operators: Sequence[Operator]) -> list[KernelCall | Timed]:
        """Return one run of each operator as a call of its law.

        Messages that reach beyond a link domain, whose time is a sum of several laws, come as
        the time itself.
        """
        return [self._call(op) for op in operators]

    def _times(self, operators: Sequence[Operator]) -> list[Timed]:
        """Time one run of each operator."""
        if self.back_end == "roofline":
            bounds = [self._roofline_s(op) for op in operators]
            return [Timed(seconds, seconds, seconds) for seconds in bounds]
        found: list[Any] = self.calls(operators)
        places = [i for i, call in enumerate(found) if isinstance(call, KernelCall)]
        for i, timed in zip(places, evaluate([found[i] for i in places]), strict=True):
            found[i] = timed
        if self.table is not None and self.back_end == "table":
            shapes = [self._shape(op) for op in operators]
            return [
                self.table.time(op.kind, shape, timed)
                for op, shape, timed in zip(operators, shapes, found, strict=True)
            ]
        return found

    def _call(self, op: Operator) -> KernelCall | Timed:
        """Return a call of an operator's law; the graph gives only legal shapes."""
        shape = op.shape
        if op.kind == "memory":
            return KernelCall.stream(self._stream, shape["size_bytes"])
        if op.kind == "sampling":
            row = assumption("sampling")[shape["sampling"]]
            entries = shape["sequences"] * shape["vocab"]
            call = KernelCall.stream(self._stream, entries)
            rule = (row["entry_bytes"], row["entry_cycles"])
            return call._replace(law="sampling", sizes=(entries, *rule))
        if op.kind in COMMUNICATION:
            return self._message(op)
        dtype = self._kernels.get(shape["dtype"], shape["dtype"])
        at, fitted = self._ready((op.kind, dtype, shape.get("kv_dtype")))
        if op.kind == "moe":
            sizes = [shape[name] for name in _MOE]
            sizes += [3.0 if shape.get("gated", True) else 2.0, shape.get("spread", 0.0)]
        else:
            sizes = arguments(op.kind, shape)
        return KernelCall(op.kind, at, fitted, tuple(sizes))

    def _message(self, op: Operator) -> KernelCall | Timed:
        link = self.device.link_for(_span(op))
        if link.level == "nic":
            timed: Timed = _MESSAGES[op.kind](self.device, **op.shape, return_interval=True)
            return timed
        law = "all_reduce" if op.kind == "all_reduce" else "all_to_all"
        key = (law, "host" if link.through_host else "link", link.level)
        if key not in self._prepared:
            at = replace(machine_of(self.device, law, key[1]), link=link.bandwidth_bytes_s)
            self._prepared[key] = at, resolve(law, self.device, [key[1]])
        at, fitted = self._prepared[key]
        size = op.shape["size_bytes"]
        if op.kind == "all_reduce":  # of the engine's own, direct where that is faster
            return KernelCall(law, at, fitted, (op.shape["ranks"], size, 0.0))
        if op.kind == "all_to_all":
            return KernelCall(law, at, fitted, (op.shape["ranks"], size))
        return KernelCall(law, at, fitted, (2.0, 2.0 * size))  # half of an exchange of two

    def _ready(self, key: _Kernel) -> Any:
        """Return machine and constants of a kernel, kept."""
        if key not in self._prepared:
            at, fitted = ready(self.device, *key)
            # the kernel before, a norm or an activation, writes the narrow inputs
            fused = key[0] == "gemm"
            self._prepared[key] = replace(at, quantizes=not fused), fitted
        return self._prepared[key]

    @cached_property
    def _prepared(self) -> dict[_Kernel, Any]:
        return {}

    @cached_property
    def _stream(self) -> Machine:
        """The device without a number format, for what only moves bytes."""
        rest = assumption("unknown")
        units = self.device.compute_units if "gpu" in self.device.kind else None
        return Machine(
            peak=1.0,
            bandwidth=self.device.memory_bandwidth_bytes_s,
            units=units or rest["compute_units"],
            clock=self.device.clock_hz or rest["clock_hz"],
            l2=self.device.l2_bytes or rest["l2_bytes"],
        )

    def _roofline_s(self, op: Operator) -> Any:
        if op.kind in COMMUNICATION:
            ranks = op.shape.get("ranks", 2)
            speed = self.device.link_for(_span(op)).bandwidth_bytes_s
            passes = {"all_reduce": 2.0 * (ranks - 1) / ranks, "all_to_all": (ranks - 1) / ranks}
            return passes.get(op.kind, 1.0) * op.communication_bytes / speed
        compute = op.flops / self.peak_of(op.shape.get("dtype"))
        return np.maximum(compute, _moved(op) / self.device.memory_bandwidth_bytes_s)

    def _shape(self, op: Operator) -> dict[str, Any]:
        return {
            key: self._kernels.get(value, value) if key == "dtype" else value
            for key, value in op.shape.items()
        }

    def peak_of(self, dtype: str | None) -> float:
        """Return the matrix rate of a kernel format; infinite for what multiplies nothing."""
        return self._peaks[dtype] if dtype is not None else np.inf

    @property
    def graph_key(self) -> Hashable:
        """What the operators of a step depend on: costs with equal keys share a graph."""
        sampling = self.sampling or self.spec.sampling
        formats = (self.weight_format, self.kv_format, stated_parts(self.formats), sampling)
        return id(self.model), self.parallel, formats

    @cached_property
    def _kernels(self) -> dict[str, str]:
        """What runs in place of a format whose matrix rate the device lacks."""
        catalogue = catalogue_toml("archwright.llm", "kernels.toml")
        instead = {}
        if "bf16" not in self.device.peak_ops_s:
            instead["bf16"] = "fp16"
        if "fp4" not in self.device.peak_ops_s:
            for part in self._parts.values():
                if part.name in catalogue["weight_only"]:
                    instead[part.dtype] = catalogue["weight_only"][part.name]
        return instead

    @property
    def _parts(self) -> Mapping[str, PartFormat]:
        return part_formats(self.model, self.weight_format, stated_parts(self.formats))

    @property
    def notes(self) -> tuple[str, ...]:
        """What runs otherwise than its format says.

        >>> from archwright.hardware import device
        >>> from archwright.llm import StepCost, transformer
        >>> llama = transformer("Llama-3.1-8B")
        >>> StepCost(model=llama, device=device("H100-SXM"), weight_format="nvfp4").notes
        ('nvfp4 on H100-SXM: weights are dequantized to 16 bits; it has no fp4 products',)
        """
        known = catalogue_toml("archwright.llm", "kernels.toml")["weight_only"]
        names = dict.fromkeys(part.name for part in self._parts.values() if part.name in known)
        if "fp4" in self.device.peak_ops_s:
            return ()
        return tuple(
            f"{name} on {self.device.name}: weights are dequantized to 16 bits; "
            "it has no fp4 products"
            for name in names
        )

    @cached_property
    def _peaks(self) -> Mapping[str, float]:
        return _Peaks(self.device, self._kernels)


_PER_STEP = (
    "seconds", "low", "high", "power_w", "joules", "flops", "weight_bytes", "kv_bytes",
    "activation_bytes", "communication_bytes", "memory_s", "compute_s",
)  # fmt: skip
_SUMS = ("flops", "weight_bytes", "kv_bytes", "activation_bytes", "communication_bytes")


def _span(op: Operator) -> int:
    """Return how many devices a message's ends and all between them are."""
    return int(op.shape.get("ranks", op.shape.get("span", 2)))


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
