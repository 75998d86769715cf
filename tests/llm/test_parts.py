"""Number formats by part, and bytes by tier of a step."""

from __future__ import annotations

import numpy as np
import pytest

from archwright.errors import SpecificationError
from archwright.hardware import device
from archwright.llm import ParallelPlan, StepBatch, StepCost, memory, step_operators, transformer
from archwright.llm.layout import part_formats

STEP = StepBatch(decode_batch=8, decode_context=100)


def test_gpt_oss_is_as_large_as_its_checkpoint() -> None:
    """13.76 GB of the 20b and 65.25 GB of the 120b: experts alone have four bits."""
    for name, gigabytes in (("gpt-oss-20b", 13.76), ("gpt-oss-120b", 65.25)):
        found = memory(transformer(name), weight_format="mxfp4").weight_bytes / 1e9
        assert found == pytest.approx(gigabytes, abs=0.01)


def test_formats_that_leave_parts_at_sixteen_bits() -> None:
    names = {
        ("DeepSeek-R1", "nvfp4"): {"attention"},
        ("DeepSeek-R1", "fp8_block"): set(),
        ("Llama-3.1-70B", "nvfp4"): set(),
        ("Kimi-K2.5", "int4_weight"): {"attention", "dense", "shared"},
        ("Llama-3.1-70B", "int4_weight"): set(),
    }
    always = {"router", "head", "embedding"}
    for (model, weights), wide in names.items():
        found = part_formats(transformer(model), weights)
        assert {part for part, own in found.items() if own.name == "bf16"} == wide | always


def test_a_stated_part_holds() -> None:
    llama = transformer("Llama-3.1-8B")
    plain, mixed = (
        memory(llama, weight_format="fp8", formats=formats).weight_bytes
        for formats in ({}, {"attention": "bf16", "head": "fp8"})
    )
    attention = 32 * (4096 * (32 + 2 * 8) * 128 + 4096 * 4096)
    assert mixed - plain == attention - llama.vocab * llama.hidden
    graph = step_operators(llama, STEP, weight_format="fp8", formats={"attention": "bf16"})
    formats = {op.name: op.weight_format for op in graph if op.kind == "gemm"}
    assert formats["attention.qkv"] == "bf16" and formats["mlp.down"] == "fp8"
    cost = StepCost(
        model=llama, device=device("H100-SXM"), weight_format="fp8", formats={"head": "fp8"}
    )
    whole = StepCost(model=llama, device=device("H100-SXM"), weight_format="fp8")
    assert cost(STEP).parts["lm_head"] < whole(STEP).parts["lm_head"]
    with pytest.raises(SpecificationError, match=r"unknown part 'heads' \(nearest: 'head'\)"):
        memory(llama, formats={"heads": "fp8"})


def test_bytes_of_a_step_by_tier() -> None:
    """Operands in memory; messages under the level of link that they take."""
    for width, level in ((8, "node"), (16, "nic")):
        cost = StepCost(
            model=transformer("Llama-3.1-405B"), device=device("H100-SXM"),
            parallel=ParallelPlan(tensor=width),
        )  # fmt: skip
        step = cost(StepBatch(decode_batch=[1, 8], decode_context=100))
        assert set(step.tier_bytes) == {"memory", level}
        read = step.weight_bytes + step.kv_bytes + step.activation_bytes
        assert (step.tier_bytes["memory"] == read).all()
        assert (step.tier_bytes[level] == step.communication_bytes).all()
        assert step.at(1).tier_bytes[level] == step.communication_bytes[1]


def test_drawing_tokens_is_an_operator_of_the_step() -> None:
    """As the engine does, or as stated; not cut over the tensor ranks."""
    llama = transformer("Llama-3.1-8B")
    parts = []
    for sampling, width in (("greedy", 1), ("top_p", 1), ("top_p", 2)):
        cost = StepCost(
            model=llama, device=device("H100-SXM"), parallel=ParallelPlan(tensor=width),
            sampling=sampling,
        )  # fmt: skip
        parts.append(float(np.ravel(cost(STEP).parts["sampling"])[0]))
    greedy, drawn, cut = parts
    assert greedy < drawn / 10
    assert cut == drawn
