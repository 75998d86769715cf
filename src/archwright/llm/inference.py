"""What a model on one kind of instance gives to a number of clients with equal requests.

Each client asks again as soon as it is answered, so the batch stays full: the steady state of
`archwright.llm.continuous`, with prompts inside running steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from archwright.errors import SpecificationError
from archwright.hardware import Device
from archwright.hardware import device as _device
from archwright.hardware.profiles import load_profile
from archwright.llm.architecture import Transformer
from archwright.llm.capacity import free_kv_bytes
from archwright.llm.continuous import SteadyState, steady_state
from archwright.llm.engine import SAMPLING, EngineSpec
from archwright.llm.engine import engine as _engine
from archwright.llm.footprint import memory
from archwright.llm.parallel import ParallelPlan
from archwright.llm.step_cost import BACK_ENDS, StepCost
from archwright.llm.transformers import model_path, read_model, transformer
from archwright.specification import option

__all__ = [
    "BATCH",
    "Inference",
    "InferenceSpecification",
    "infer",
    "model_path",
    "named_file",
    "read_device",
    "read_engine",
    "read_model",
    "too_long",
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
    batch: int = option(1, low=1, doc="clients of each group, each asks again once answered")
    input: int = option(1024, low=1, unit="tokens", doc="prompt length")
    output: int = option(256, low=1, unit="tokens", doc="output length")
    back_end: str = option("fitted", choices=BACK_ENDS[:2], doc="fitted or roofline")
    engine: str = option(
        "vllm-0.19.0", doc="engine of the catalogue, or path of a profile that calibrate wrote"
    )
    sampling: str | None = option(
        None, choices=(None, *SAMPLING), doc="how tokens are drawn; default: as the engine does"
    )
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
        if not any(named_file(name, folder) for name in named):  # files may change
            return _kept_instance(replace(self, **BATCH, **PRICE))
        return _instance(
            self,
            read_model(self.model, folder),
            read_device(self.device, folder),
            read_engine(self.engine, folder),
        )


def _instance(
    s: InferenceSpecification, model: Transformer, device: Device, engine: EngineSpec
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
        sampling=s.sampling,
    )


@lru_cache(maxsize=256)
def _kept_instance(s: InferenceSpecification) -> StepCost:
    """Return an instance of names of the catalogue, whatever files there are.

    Designs of a study share few instances, and making one takes a third of the time of using it.
    """
    return _instance(s, transformer(s.model), _device(s.device), _engine(s.engine))


BATCH: Mapping[str, Any] = {"batch": 1, "input": 1, "output": 1}
PRICE: Mapping[str, Any] = {"cloud": None, "usd_per_hour": None}
"""Fields that the step cost of an instance does not depend on, and what stands in for them."""


def named_file(name: str, folder: Path) -> Path | None:
    """Return the file that a name means; None for a name of the catalogue."""
    return folder / name if name.endswith(".toml") else model_path(name, folder)


def read_device(name: str, folder: Path = Path()) -> Device:
    """Return a device by name, or from a calibrated profile in a folder."""
    return load_profile(folder / name) if name.endswith(".toml") else _device(name)


def read_engine(name: str, folder: Path = Path()) -> EngineSpec:
    """Return an engine by name, or from a calibrated profile in a folder."""
    return _engine(str(folder / name) if name.endswith(".toml") else name)


@dataclass(frozen=True, kw_only=True)
class Inference:
    """What an instance gives to its clients; arrays where batch or lengths are arrays.

    Attributes:
        fits: weights and cache fit into the memory.
        memory_free_bytes: memory left on each accelerator; negative is what is missing.
        weight_bytes: weights on each accelerator.
        kv_bytes: cache on each accelerator that the requests hold on average.
        ttft_s: mean time to first token.
        ttft_low_s, ttft_high_s: its 90 % interval.
        tpot_s: mean time per output token after the first, prompts of others included.
        tpot_low_s, tpot_high_s: its 90 % interval.
        tokens_per_s: output tokens a second of the instance.
        power_w: average power of the instance, GPU only.
        tokens_per_joule: output tokens a joule.
        usd_per_million_tokens: of output tokens; NaN without a price.
        prefill_bound: what binds a step with prompts.
        decode_bound: what binds a step without.
        time_label, power_label: how times and power are known.
        state: the steps.
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
    state: SteadyState


def infer(
    cost: StepCost,
    *,
    batch: Any = 1,
    input_tokens: Any = 1024,
    output_tokens: Any = 256,
    usd_per_hour: float = float("nan"),
) -> Inference:
    """Return what an instance gives to clients that ask again as soon as they are answered.

    >>> from archwright.hardware import device
    >>> from archwright.llm import StepCost, infer, transformer
    >>> cost = StepCost(model=transformer("Llama-3.1-8B"), device=device("H100-SXM"))
    >>> found = infer(cost, batch=[1, 64], usd_per_hour=2.0)
    >>> bool(found.tokens_per_s[1] > 20 * found.tokens_per_s[0]), found.decode_bound
    (True, 'memory bandwidth')

    Args:
        cost: model, instance, formats and engine.
        batch: clients of each group of data-parallel attention, any shape.
        input_tokens: prompt length, any shape.
        output_tokens: output length, any shape.
        usd_per_hour: price of the whole instance.

    Raises:
        SpecificationError: a length beyond the model's or the engine's positions, or more
            clients than the engine runs sequences.
    """
    batch, inputs, outputs = (np.asarray(x)[()] for x in (batch, input_tokens, output_tokens))
    longest, most = int(np.max(inputs + outputs)), int(np.max(batch))
    reason = too_long(cost, longest) or cost.spec.too_much(most)
    if reason is not None:
        raise SpecificationError(reason)
    footprint = memory(
        cost.model,
        parallel=cost.parallel,
        weight_format=cost.weight_format,
        kv_format=cost.kv_format,
    )
    # what requests hold on average; any one must fit whole
    each = footprint.kv_bytes(inputs + outputs / 2)
    whole = footprint.kv_bytes(inputs + outputs)
    kv = batch * each
    room = free_kv_bytes(
        cost.model,
        cost.device,
        parallel=cost.parallel,
        weight_format=cost.weight_format,
        usable=cost.spec.kv_share,
    )
    free = room - np.maximum(kv, whole)
    # where the cache does not fit this is what would be, were it so large
    state = steady_state(cost, sequences=batch, input_tokens=inputs, output_tokens=outputs)
    tokens_per_s = state.rate * outputs * cost.parallel.data_parallel_attention
    watts = state.power_w
    tpot = state.tpot_s
    return Inference(
        fits=free >= 0,
        memory_free_bytes=free,
        weight_bytes=footprint.weight_bytes,
        kv_bytes=kv,
        ttft_s=state.ttft(),
        ttft_low_s=state.ttft("low"),
        ttft_high_s=state.ttft("high"),
        tpot_s=tpot,
        tpot_low_s=state.tpot("low"),
        tpot_high_s=state.tpot("high"),
        tokens_per_s=tokens_per_s,
        power_w=watts,
        tokens_per_joule=tokens_per_s / watts,
        usd_per_million_tokens=usd_per_hour / 3600 / tokens_per_s * 1e6,
        prefill_bound=state.mixed.binding,
        decode_bound=state.decode.binding,
        time_label=cost.label,
        power_label=cost.power_label,
        state=state,
    )


def too_long(cost: StepCost, tokens: int) -> str | None:
    """Return why so many tokens cannot be a request, None where they can."""
    most, of = cost.model.max_position, f"positions of {cost.model.name}"
    if (limit := cost.spec.limits.max_model_len) is not None and limit < most:
        most, of = limit, f"tokens of {cost.spec.name}"
    if tokens <= most:
        return None
    return f"input and output: {tokens} tokens, expected at most the {most} {of}"
