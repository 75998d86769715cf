"""The simulator ``llm/infer``: one model on one kind of instance, a batch of equal requests.

All prompts of the batch are prefilled in one step; then every step gives each sequence a token.
A step's time grows almost linearly with the context, so the mean over the output is the step at
the mean context, input + output / 2.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from archwright.errors import InfeasibleError, SpecificationError
from archwright.formats import kv_format, weight_format
from archwright.hardware import Device, cheapest
from archwright.hardware import device as _device
from archwright.hardware.devices import devices
from archwright.hardware.prices import prices
from archwright.hardware.profiles import load_profile
from archwright.llm.architecture import Transformer
from archwright.llm.batch import StepBatch
from archwright.llm.capacity import free_kv_bytes
from archwright.llm.footprint import memory
from archwright.llm.hugging_face import load_config
from archwright.llm.parallel import ParallelPlan
from archwright.llm.step_cost import BACK_ENDS, Engine, StepCost, StepEstimate
from archwright.llm.step_cost import engine as _engine
from archwright.llm.transformers import transformer
from archwright.search import (
    Bars,
    Choice,
    Design,
    Facts,
    Metric,
    Ordinal,
    Panel,
    Roofline,
    SimulatorEnvironment,
)
from archwright.search.environments import digests
from archwright.specification import option, replace_path

__all__ = [
    "Inference",
    "InferenceEnvironment",
    "InferenceSpecification",
    "infer",
    "inference_environment",
    "inference_panels",
    "read_engine",
    "simulate_inference",
]


@dataclass(frozen=True, kw_only=True)
class InferenceSpecification:
    """A model, an instance and a batch of equal requests."""

    model: str = option("Llama-3.1-8B", doc="name, Hugging Face id, or path of a config.json")
    device: str = option("H100-SXM", doc="name, or path of a profile that calibrate wrote")
    tp: int = option(1, low=1, doc="tensor-parallel width")
    pp: int = option(1, low=1, doc="pipeline stages")
    ep: int = option(1, low=1, doc="expert-parallel width")
    dp: int = option(1, low=1, doc="groups of data-parallel attention")
    weights: str = option("bf16", doc="weight format")
    kv: str = option("bf16", doc="KV-cache format")
    batch: int = option(1, low=1, doc="sequences of each group")
    input: int = option(1024, low=1, unit="tokens", doc="prompt length")
    output: int = option(256, low=1, unit="tokens", doc="output length")
    back_end: str = option("fitted", choices=BACK_ENDS[:2], doc="fitted or roofline")
    engine: str = option("overlapped", doc="what the engine adds on the host")
    cloud: str | None = option(None, doc="price of this cloud only; default: the cheapest")
    usd_per_hour: float | None = option(None, low=0.0, doc="own price of one accelerator")

    def cost(self, folder: Path = Path()) -> StepCost:
        """Return the step cost of the model on the instance.

        Args:
            folder: what names of files are relative to.

        Raises:
            SpecificationError: an unknown name, or what does not go together.
        """
        named = (self.model, self.device, self.engine)
        if not any(_path(name, folder) for name in named):  # files may change
            return _kept_instance(replace(self, **_BATCH, **_PRICE))
        return _instance(
            self,
            read_model(self.model, folder),
            read_device(self.device, folder),
            read_engine(self.engine, folder),
        )


def _instance(
    s: InferenceSpecification, model: Transformer, device: Device, engine: Engine
) -> StepCost:
    return StepCost(
        model=model,
        device=device,
        parallel=ParallelPlan(
            tensor=s.tp, pipeline=s.pp, expert=s.ep, data_parallel_attention=s.dp
        ),
        weight_format=s.weights,
        kv_format=s.kv,
        back_end=s.back_end,  # type: ignore[arg-type]
        engine=engine,
    )


@lru_cache(maxsize=256)
def _kept_instance(s: InferenceSpecification) -> StepCost:
    """Return an instance of names of the catalogue, whatever files there are.

    Designs of a study share few instances, and making one takes a third of the time of using it.
    """
    return _instance(s, transformer(s.model), _device(s.device), _engine(s.engine))


_BATCH: Mapping[str, Any] = {"batch": 1, "input": 1, "output": 1}
_PRICE: Mapping[str, Any] = {"cloud": None, "usd_per_hour": None}
"""Fields that the step cost of an instance does not depend on, and what stands in for them."""


def _path(name: str, folder: Path) -> Path | None:
    """Return the file that a name means; None for a name of the catalogue."""
    path = folder / name
    if path.is_dir():
        return path / "config.json"
    return path if name.endswith((".json", ".toml")) else None


def read_model(name: str, folder: Path = Path()) -> Transformer:
    """Return a model by name, Hugging Face id, or path of a ``config.json`` from a folder."""
    path = folder / name
    return load_config(path) if name.endswith(".json") or path.is_dir() else transformer(name)


def read_device(name: str, folder: Path = Path()) -> Device:
    """Return a device by name, or from a calibrated profile in a folder."""
    return load_profile(folder / name) if name.endswith(".toml") else _device(name)


def read_engine(name: str, folder: Path = Path()) -> Engine:
    """Return an engine by name, or from a calibrated profile in a folder."""
    return _engine(str(folder / name) if name.endswith(".toml") else name)


@dataclass(frozen=True, kw_only=True)
class Inference:
    """What a batch of equal requests costs; arrays where batch or lengths are arrays.

    Attributes:
        fits: weights and cache fit into the memory.
        memory_free_bytes: memory left on each accelerator; negative is what is missing.
        weight_bytes: weights on each accelerator.
        kv_bytes: cache on each accelerator, at full length.
        ttft_s: time to first token: all prompts prefilled.
        ttft_low_s, ttft_high_s: its 90 % interval.
        tpot_s: mean time per output token after the first.
        tpot_low_s, tpot_high_s: its 90 % interval.
        tokens_per_s: output tokens a second of the instance, prefill included.
        power_w: average power of the instance, GPU only.
        tokens_per_joule: output tokens a joule.
        usd_per_million_tokens: of output tokens; NaN without a price.
        prefill_bound: what binds in prefill.
        decode_bound: what binds in decode.
        time_label, power_label: how times and power are known.
        prefill, decode: the two step estimates.
    """

    fits: Any
    memory_free_bytes: Any
    weight_bytes: float
    kv_bytes: Any
    ttft_s: Any
    ttft_low_s: Any
    ttft_high_s: Any
    tpot_s: Any
    tpot_low_s: Any
    tpot_high_s: Any
    tokens_per_s: Any
    power_w: Any
    tokens_per_joule: Any
    usd_per_million_tokens: Any
    prefill_bound: str
    decode_bound: str
    time_label: str
    power_label: str
    prefill: StepEstimate
    decode: StepEstimate


def infer(
    cost: StepCost,
    *,
    batch: Any = 1,
    input_tokens: Any = 1024,
    output_tokens: Any = 256,
    usd_per_hour: float = float("nan"),
) -> Inference:
    """Return what a batch of equal requests costs.

    >>> from archwright.hardware import device
    >>> from archwright.llm import StepCost, infer, transformer
    >>> cost = StepCost(model=transformer("Llama-3.1-8B"), device=device("H100-SXM"))
    >>> found = infer(cost, batch=[1, 64], usd_per_hour=2.0)
    >>> bool(found.tokens_per_s[1] > 20 * found.tokens_per_s[0]), found.decode_bound
    (True, 'memory bandwidth')

    Args:
        cost: model, instance and formats.
        batch: sequences of each group of data-parallel attention, any shape.
        input_tokens: prompt length, any shape.
        output_tokens: output length, any shape.
        usd_per_hour: price of the whole instance.

    Raises:
        SpecificationError: a length beyond the model's positions.
    """
    batch, inputs, outputs = (np.asarray(x)[()] for x in (batch, input_tokens, output_tokens))
    longest = int(np.max(inputs + outputs))
    if longest > cost.model.max_position:
        raise SpecificationError(_too_long(cost.model, longest))
    # both steps at once: the laws cost as much for two points as for one
    both = np.broadcast_arrays(batch, inputs, outputs)
    none, one = np.zeros_like(both[0]), np.ones_like(both[0])
    steps = cost(
        StepBatch(
            decode_batch=np.array([none, both[0]]),
            decode_context=np.array([one, both[1] + both[2] / 2]),
            prefill_requests=np.array([both[0], none]),
            prefill_query_tokens=np.array([both[1], one]),
            prefill_context_tokens=np.array([both[1], one]),
        )
    )
    prefill, decode = steps.at(0), steps.at(1)
    footprint = memory(
        cost.model,
        parallel=cost.parallel,
        weight_format=cost.weight_format,
        kv_format=cost.kv_format,
    )
    kv = batch * footprint.kv_bytes(inputs + outputs)
    free = (
        free_kv_bytes(
            cost.model, cost.device, parallel=cost.parallel, weight_format=cost.weight_format
        )
        - kv
    )
    rest = np.maximum(outputs - 1, 0)
    total_s = prefill.seconds + rest * decode.seconds
    joules = prefill.joules + rest * decode.joules
    tokens = batch * outputs * cost.parallel.data_parallel_attention
    return Inference(
        fits=free >= 0,
        memory_free_bytes=free,
        weight_bytes=footprint.weight_bytes,
        kv_bytes=kv,
        ttft_s=prefill.seconds,
        ttft_low_s=prefill.low,
        ttft_high_s=prefill.high,
        tpot_s=decode.seconds,
        tpot_low_s=decode.low,
        tpot_high_s=decode.high,
        tokens_per_s=tokens / total_s,
        power_w=joules / total_s,
        tokens_per_joule=tokens / joules,
        usd_per_million_tokens=usd_per_hour / 3600 * total_s / tokens * 1e6,
        prefill_bound=prefill.binding,
        decode_bound=decode.binding,
        time_label=cost.label,
        power_label=cost.power_label,
        prefill=prefill,
        decode=decode,
    )


def _too_long(model: Transformer, tokens: int) -> str:
    return (
        f"input and output: {tokens} tokens, expected at most the {model.max_position} positions "
        f"of {model.name}"
    )


class _Simulator:
    """Cost of a batch of equal requests on one instance."""

    specification = InferenceSpecification

    def __call__(
        self, specification: InferenceSpecification, *, folder: Path = Path()
    ) -> Mapping[str, Any]:
        """Return the quantities by name, for people and for studies.

        Args:
            specification: model, instance and batch.
            folder: what names of files are relative to.

        Raises:
            SpecificationError: an unknown name, or what does not go together.
        """
        return _quantities(self.infer(specification, folder)[1])

    def infer(
        self, specification: InferenceSpecification, folder: Path = Path()
    ) -> tuple[StepCost, Inference]:
        """Return the step cost of the instance, and what the batch costs."""
        cost = specification.cost(folder)
        found = infer(
            cost,
            batch=specification.batch,
            input_tokens=specification.input,
            output_tokens=specification.output,
            usd_per_hour=self.price(specification, cost),
        )
        return cost, found

    def price(self, specification: InferenceSpecification, cost: StepCost) -> float:
        """Return dollars an hour of the instance; NaN where nobody rents the device out."""
        each = specification.usd_per_hour
        if each is None:
            name = cost.device.name  # of a profile it may be made up
            listed = name in {known.name for known in devices()}
            offer = cheapest(name, cloud=specification.cloud) if listed else None
            each = float("nan") if offer is None else offer.usd_per_hour
        return each * cost.parallel.ranks

    def report(self, specification: InferenceSpecification, path: Path) -> Path:
        """Write an HTML page: the answer, what binds, where the time goes, the roofline."""
        from archwright.explain import ReportContent, write_report

        cost, inference = self.infer(specification)
        found = _quantities(inference)
        fits = "fits" if found["fits"] else f"lacks {-found['memory_free_gb']:.0f} GB"
        content = ReportContent(
            title=f"{specification.model} on {cost.parallel.ranks} x {specification.device}",
            answer=(
                f"{found['tokens_per_s']:,.0f} tokens/s at {found['tpot_s'] * 1e3:.3g} ms a token "
                f"and {found['ttft_s'] * 1e3:,.3g} ms to the first; it {fits}."
            ),
            subtitle=(
                f"Batch {specification.batch}, {specification.input} tokens in, "
                f"{specification.output} out, weights in {specification.weights}."
            ),
            panels=_panels(specification, cost, inference),
        )
        return write_report(content, path)


simulate_inference = _Simulator()
"""The registered simulator ``llm/infer``."""


def _quantities(found: Inference) -> Mapping[str, Any]:
    return {
        "fits": bool(found.fits),
        "memory_free_gb": float(found.memory_free_bytes) / 1e9,
        "weights_gb": found.weight_bytes / 1e9,
        "kv_cache_gb": float(found.kv_bytes) / 1e9,
        "ttft_s": float(found.ttft_s),
        "ttft_90_percent_s": [float(found.ttft_low_s), float(found.ttft_high_s)],
        "tpot_s": float(found.tpot_s),
        "tpot_90_percent_s": [float(found.tpot_low_s), float(found.tpot_high_s)],
        "tokens_per_s": float(found.tokens_per_s),
        "power_w": float(found.power_w),
        "tokens_per_joule": float(found.tokens_per_joule),
        "usd_per_million_tokens": float(found.usd_per_million_tokens),
        "prefill_bound_by": found.prefill_bound,
        "decode_bound_by": found.decode_bound,
        "times_are": found.time_label,
        "power_is": found.power_label,
    }


def inference_panels(specification: InferenceSpecification, folder: Path = Path()) -> list[Panel]:
    """Return the quantities, where the time of both steps goes, and their roofline."""
    return _panels(specification, *simulate_inference.infer(specification, folder))


def _panels(
    specification: InferenceSpecification, cost: StepCost, found: Inference
) -> list[Panel]:
    steps = {"prefill": found.prefill, "decode": found.decode}
    names = list(dict.fromkeys(name for step in steps.values() for name in step.parts))
    facts = [
        f"Time to first token {float(found.ttft_s) * 1e3:,.4g} ms, 90 % between "
        f"{float(found.ttft_low_s) * 1e3:,.4g} and {float(found.ttft_high_s) * 1e3:,.4g} "
        f"({found.time_label}); bound by {found.prefill_bound}.",
        f"Time per token {float(found.tpot_s) * 1e3:,.4g} ms, 90 % between "
        f"{float(found.tpot_low_s) * 1e3:,.4g} and {float(found.tpot_high_s) * 1e3:,.4g} "
        f"({found.time_label}); bound by {found.decode_bound}.",
        f"Memory of an accelerator: weights {found.weight_bytes / 1e9:,.4g} GB, cache "
        f"{float(found.kv_bytes) / 1e9:,.4g} GB, left {float(found.memory_free_bytes) / 1e9:,.4g} "
        "GB.",
        f"Power {float(found.power_w):,.0f} W, {float(found.tokens_per_joule):.3g} tokens a joule "
        f"({found.power_label}, accelerators only).",
    ]
    return [
        Facts(title="What it costs", items=facts),
        Bars(
            title="Where the time of a step goes",
            labels=names,
            series={
                name: [float(step.parts.get(part, np.nan)) * 1e3 for part in names]
                for name, step in steps.items()
            },
            unit="ms",
        ),
        _roofline(cost, steps, specification),
    ]


def _roofline(
    cost: StepCost, steps: Mapping[str, StepEstimate], specification: InferenceSpecification
) -> Roofline:
    batch, prompt = specification.batch, specification.input
    batches = {
        "prefill": StepBatch(
            prefill_requests=batch, prefill_query_tokens=prompt, prefill_context_tokens=prompt
        ),
        "decode": StepBatch(decode_batch=batch, decode_context=prompt + specification.output / 2),
    }
    points: list[tuple[str, str, float, float, float]] = []
    for name, step in steps.items():
        for op in cost.operators(batches[name]):
            moved = float(op.weight_bytes + op.kv_bytes + op.activation_bytes)
            seconds = float(step.parts[op.name])
            if op.flops and seconds > 0:
                rate = float(op.count * op.flops) / seconds
                points.append(
                    (op.name, name, float(op.flops) / moved, rate, seconds / float(step.seconds))
                )
    names, groups, intensity, attained, share = (
        list(column) for column in zip(*points, strict=True)
    )
    shown = ("bf16", "fp16", "fp8", "fp4", "int8")
    peaks = {name: peak for name, peak in cost.device.peak_ops_s.items() if name in shown}
    return Roofline(
        title="Roofline",
        names=names,
        groups=groups,
        intensity=intensity,
        attained_ops_s=attained,
        share=share,
        peaks_ops_s=peaks,
        bandwidth_bytes_s=cost.device.memory_bandwidth_bytes_s,
        note="Operators with matrix products; a larger mark takes more of its step's time.",
    )


class InferenceEnvironment(SimulatorEnvironment):
    """The simulator ``llm/infer`` as an environment; a design that does not fit is infeasible."""

    def configure(
        self, options: Mapping[str, Any], *, vary: Mapping[str, Any], folder: Path
    ) -> Self:
        """Return a copy as a study file gives it.

        Raises:
            SpecificationError: a name, fixed or listed to vary, that nothing has.
        """
        made = super().configure(options, vary=vary, folder=folder)
        for field, read in _NAMED.items():
            for name in made._names(field):
                try:
                    read(getattr(replace_path(made.base, field, name), field), folder)
                except SpecificationError as error:
                    raise SpecificationError(f"[environment].{field}: {error}") from None
        return made

    def identity(self) -> dict[str, Any]:
        """Return what tells this environment from others, with digests of the files it names."""
        names = {name for field in _FILES for name in self._names(field)}
        paths = {name: path for name in names if (path := _path(name, self.folder)) is not None}
        files = digests({name: path for name, path in paths.items() if path.is_file()})
        return super().identity() | ({"files": files} if files else {})

    def _names(self, field: str) -> tuple[str, ...]:
        """Return the names that a field may have: the fixed one, or those listed to vary."""
        varied = self.space.parameters.get(field)
        return (getattr(self.base, field),) if varied is None else getattr(varied, "options", ())

    def _simulated(
        self, specifications: Sequence[Any], seeds: npt.NDArray[np.uint64]
    ) -> Iterator[tuple[Any, float]]:
        """Yield the result of each; those of one instance are worked out together."""
        del seeds
        started = time.perf_counter()
        found = _measured(specifications, self.folder)
        seconds = (time.perf_counter() - started) / max(len(found), 1)
        for result in found:
            yield result, seconds

    def panels(self, design: Design) -> list[Panel]:
        """Return the panels of a design."""
        return inference_panels(self._specification(design), self.folder)


_NAMED: Mapping[str, Callable[[str, Path], object]] = {
    "model": read_model,
    "device": read_device,
    "engine": read_engine,
    "weights": lambda name, folder: weight_format(name),
    "kv": lambda name, folder: kv_format(name),
    "cloud": lambda name, folder: prices(cloud=name),
}
"""Fields that name something, and what reads the name."""
_FILES = ("model", "device", "engine")
"""Fields whose name may be that of a file."""


_RESULTS = {
    "ttft_s": "ttft_s", "ttft_s.low": "ttft_low_s", "ttft_s.high": "ttft_high_s",
    "tpot_s": "tpot_s", "tpot_s.low": "tpot_low_s", "tpot_s.high": "tpot_high_s",
    "tokens_per_s": "tokens_per_s", "power_w": "power_w", "tokens_per_joule": "tokens_per_joule",
    "usd_per_million_tokens": "usd_per_million_tokens",
}  # fmt: skip
"""Metrics and the ends of their intervals, and where an inference has them."""
_Result = dict[str, float] | InfeasibleError


def _measure(specification: InferenceSpecification, *, folder: Path = Path()) -> dict[str, float]:
    (found,) = _measured([specification], folder)
    if isinstance(found, InfeasibleError):
        raise found
    return found


def _measured(specifications: Sequence[InferenceSpecification], folder: Path) -> list[_Result]:
    """Return what batches of requests cost, or why they cannot be run, instance by instance."""
    found: dict[int, _Result] = {}
    instances: dict[InferenceSpecification, list[int]] = {}
    for i, specification in enumerate(specifications):
        instances.setdefault(replace(specification, **_BATCH), []).append(i)
    for instance, rows in instances.items():
        asked = [specifications[i] for i in rows]
        found |= dict(zip(rows, _of_instance(instance, asked, folder), strict=True))
    return [found[i] for i in range(len(specifications))]


def _of_instance(
    instance: InferenceSpecification, asked: Sequence[InferenceSpecification], folder: Path
) -> list[_Result]:
    try:
        cost = instance.cost(folder)
    except SpecificationError as error:
        return [InfeasibleError(str(error)) for _ in asked]
    sizes = np.array([[s.batch, s.input, s.output] for s in asked])
    tokens = sizes[:, 1] + sizes[:, 2]
    short = tokens <= cost.model.max_position
    found: list[_Result] = [InfeasibleError(_too_long(cost.model, n)) for n in tokens.tolist()]
    if not short.any():
        return found
    batch, inputs, outputs = sizes[short].T
    price = simulate_inference.price(instance, cost)
    got = infer(cost, batch=batch, input_tokens=inputs, output_tokens=outputs, usd_per_hour=price)
    columns = {name: getattr(got, field).tolist() for name, field in _RESULTS.items()}
    for k, i in enumerate(np.flatnonzero(short).tolist()):
        if got.fits[k]:
            found[i] = {name: column[k] for name, column in columns.items()}
        else:
            found[i] = InfeasibleError(
                f"memory: {-got.memory_free_bytes[k] / 1e9:.1f} GB an accelerator are missing"
            )
    return found


inference_environment = InferenceEnvironment(
    _measure,
    base=InferenceSpecification(),
    vary={
        "tp": Ordinal([1, 2, 4, 8]),
        "weights": Choice(["bf16", "fp8", "int4_weight"]),
        "kv": Choice(["bf16", "fp8"]),
        "batch": Ordinal([1, 2, 4, 8, 16, 32, 64, 128, 256]),
    },
    metrics=[
        Metric("ttft_s", "s", "Time to first token"),
        Metric("tpot_s", "s", "Time per token"),
        Metric("tokens_per_s", "tokens/s", "Throughput", "higher"),
        Metric("power_w", "W", "Power"),
        Metric("tokens_per_joule", "tokens/J", "Efficiency", "higher"),
        Metric("usd_per_million_tokens", "$/M tokens", "Cost of output tokens"),
    ],
)
"""The registered environment ``llm/infer``."""
