"""Many instances at once equal each alone; listed steps equal the tables they are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from archwright.errors import SpecificationError
from archwright.hardware import device
from archwright.llm import ParallelPlan, StepBatch, StepCost, transformer
from archwright.llm.step_costs import step_costs


def cost(model: str, on: str = "H100-SXM", width: int = 1, **options: Any) -> StepCost:
    return StepCost(
        model=transformer(model), device=device(on), parallel=ParallelPlan(tensor=width), **options
    )


@pytest.mark.parametrize(
    "batch",
    [
        StepBatch(decode_batch=[1, 64, 200], decode_context=1000),
        StepBatch(decode_batch=8, decode_context=[[10], [5000]], prefill_requests=[0, 1, 2],
                  prefill_query_tokens=300, prefill_context_tokens=700),
        StepBatch.of(prefills=[(10, 10), (10, 30)], decodes=[100, 200]),
    ],
    ids=["decode", "mixed", "lists"],
)  # fmt: skip
def test_stacked_costs_are_those_of_each_alone(batch: StepBatch) -> None:
    """Devices, widths beyond a domain too, formats, kinds of models and engines."""
    costs = [
        cost("Llama-3.1-8B"),
        cost("Llama-3.1-8B", "A10G", 4, weight_format="int4_weight"),
        cost("Llama-3.1-8B", "B200-SXM", 8, weight_format="nvfp4", kv_format="fp8"),
        cost("Llama-3.1-405B", "H100-SXM", 16),
        cost("Gemma-3-12B", "L40S", 2, engine="vllm"),
        cost("DeepSeek-R1", "B200-SXM", 8, weight_format="fp8_block", sampling="top_p"),
        cost("gpt-oss-20b", "H100-SXM", weight_format="mxfp4"),
        cost("Qwen3-30B-A3B", "MI300X", 2),
    ]
    found = step_costs(costs, batch)
    for i, each in enumerate(costs):
        alone = each(batch)
        for name in ("seconds", "low", "high", "memory_s", "compute_s"):
            assert getattr(found, name)[i] == pytest.approx(getattr(alone, name), rel=1e-10), name
        assert (found.host_s[i] == each.host_s(batch)).all()


def test_only_fitted_costs_are_stacked() -> None:
    for costs in ([], [cost("Llama-3.1-8B"), cost("Llama-3.1-8B", back_end="roofline")]):
        with pytest.raises(SpecificationError, match="each of the back end 'fitted'"):
            step_costs(costs, StepBatch(decode_batch=1, decode_context=1))


@pytest.mark.parametrize("model", ["Llama-3.1-8B", "Gemma-3-12B", "Qwen3-30B-A3B"])
def test_listed_steps_are_looked_up_as_they_are_costed(model: str) -> None:
    """A chunk beside many sequences, equal chunks, different ones, and nothing but sequences."""
    rng = np.random.default_rng(0)
    exact = cost(model, engine="vllm")
    table = exact.compile(most_context=16384)
    steps: list[tuple[list[tuple[int, int]], list[int]]] = [
        ([(512, 2048)], rng.integers(100, 4000, 255).tolist()),
        ([], rng.integers(100, 4000, 64).tolist()),
        ([(100, 100), (100, 100), (100, 100)], [50]),
        ([(100, 400), (700, 700), (100, 400)], []),
    ]
    alone = [table.step_seconds(prefills, decodes) for prefills, decodes in steps]
    for (prefills, decodes), seconds in zip(steps, alone, strict=True):
        whole = exact(StepBatch.of(prefills=prefills, decodes=decodes)).seconds
        assert seconds == pytest.approx(whole, rel=0.05)
    chunks = [c for prefills, _ in steps for c in prefills]
    contexts = [c for _, decodes in steps for c in decodes]
    ends = np.cumsum([[len(p), len(d)] for p, d in steps], axis=0)
    together = table.steps_seconds(chunks, ends[:, 0], contexts, ends[:, 1])
    assert together.tolist() == alone
    joules = table.steps_joules(chunks, ends[:, 0], contexts, ends[:, 1])
    assert (joules > 0).all()
    same = table.seconds(64, np.mean(steps[1][1]))
    if not exact.model.sliding_layers:
        assert alone[1] == pytest.approx(float(same), rel=1e-12)


@pytest.mark.parametrize(
    ("prefills", "decodes", "message"),
    [
        ([(0, 5)], [], "a length below 1"),
        ([(6, 5)], [], "prefill_query_tokens: expected 1 to prefill_context_tokens"),
        ([], [0], "a length below 1"),
        ([], [1.5], "decodes: .*expected whole numbers"),
        ([(1, 2, 3)], [], "prefills: of shape"),
        ([(65, 65)], [], "beyond the 64 tokens compiled"),
        ([], [1] * 33, "beyond the 32 sequences compiled"),
        ([], [5000], "beyond the 1024 tokens of context compiled"),
    ],
)
def test_a_listed_step_that_cannot_be_is_one_line(
    prefills: list[tuple[int, ...]], decodes: list[float], message: str
) -> None:
    table = cost("Llama-3.1-8B").compile(most_tokens=64, most_sequences=32, most_context=1000)
    with pytest.raises(SpecificationError, match=message):
        table.step_seconds(prefills, decodes)


def test_broken_ends_are_refused() -> None:
    table = cost("Llama-3.1-8B").compile(most_tokens=64, most_sequences=32, most_context=1000)
    for ends in ([2, 1], [1, 3], [1]):
        with pytest.raises(SpecificationError, match="expected one end a step"):
            table.steps_seconds([], [0, 0], [10, 10], ends)
    with pytest.raises(SpecificationError, match="step 1: a length below 1"):
        table.steps_seconds([], [0, 0], [10, 0], [1, 2])
