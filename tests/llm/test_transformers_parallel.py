from __future__ import annotations

import numpy as np
import pytest

from archwright.errors import SpecificationError
from archwright.llm import ParallelPlan, Transformer, memory, transformer
from archwright.llm.transformers import transformers

MODELS = transformers()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_one_rank_holds_every_parameter(model: Transformer) -> None:
    whole = memory(model)
    assert whole.weight_bytes == 2 * model.parameters
    assert whole.kv_bytes_per_token == model.kv_bytes_per_token(16)
    tokens = np.array([1, 100, 100_000])
    np.testing.assert_array_equal(whole.kv_bytes(tokens), model.kv_bytes(tokens, 16))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_stages_partition_the_layers(model: Transformer) -> None:
    pipeline = next(n for n in range(2, model.layers + 1) if model.layers % n == 0)
    plan = ParallelPlan(pipeline=pipeline)
    layers = [layer for stage in range(pipeline) for layer in plan.stage_layers(model, stage)]
    assert layers == list(range(model.layers))
    stages = [memory(model, parallel=plan, stage=stage) for stage in range(pipeline)]
    copy = 2 * model.vocab * model.hidden if model.tie_word_embeddings else 0
    assert sum(stage.weight_bytes for stage in stages) == 2 * model.parameters + copy
    assert sum(stage.kv_bytes_per_token for stage in stages) == model.kv_bytes_per_token(16)
    fullest = memory(model, parallel=plan)
    assert fullest.weight_bytes == max(stage.weight_bytes for stage in stages)


@pytest.mark.parametrize("width", [2, 4, 8])
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_ranks_hold_the_model_and_few_copies(model: Transformer, width: int) -> None:
    plan = ParallelPlan(tensor=width)
    if plan.reason(model) is not None:
        with pytest.raises(SpecificationError, match="cannot be cut into"):
            memory(model, parallel=plan)
        return
    ranks = width * memory(model, parallel=plan).weight_bytes
    copied_heads = max(width - model.kv_heads, 0) if model.mla_ranks is None else 0
    copies = copied_heads * 2 * model.head_dim * model.hidden * model.layers
    copies += (width - 1) * model.moe_layers * model.experts * model.hidden  # the router
    if model.mla_ranks is not None:
        q, kv, _, rope, _ = model.mla_ranks
        copies += (width - 1) * model.layers * model.hidden * (q + kv + rope)
    extra = ranks - 2 * (model.parameters + copies)
    assert 0 <= extra < 2 * width * 0.002 * model.parameters  # norms, biases, padded rows


def test_experts_are_cut_over_all_ranks() -> None:
    model = transformer("gpt-oss-120b")
    experts = 2 * model.moe_layers * model.experts * model.expert_parameters
    for plan in (
        ParallelPlan(tensor=4, expert=4),
        ParallelPlan(expert=4, data_parallel_attention=4),
    ):
        rest = 2 * model.parameters - experts
        held = memory(model, parallel=plan).weight_bytes
        attention = rest if plan.tensor == 1 else rest / 4
        assert held == pytest.approx(experts / 4 + attention, rel=0.01)


def test_cache_over_ranks() -> None:
    qwen, deepseek = transformer("Qwen3-32B"), transformer("DeepSeek-V3")
    for tensor, share in ((1, 1), (2, 2), (8, 8), (16, 8), (64, 8)):
        found = memory(qwen, parallel=ParallelPlan(tensor=tensor), kv_format="fp8")
        assert found.kv_bytes_per_token == qwen.kv_bytes_per_token(8) / share
        latent = memory(deepseek, parallel=ParallelPlan(tensor=tensor))
        assert latent.kv_bytes_per_token == deepseek.kv_bytes_per_token(16)


def test_formats_leave_embeddings_at_16_bits() -> None:
    model = transformer("Llama-3.1-8B")
    vectors = (2 * model.layers + 1) * model.hidden
    matrices = model.parameters - model.embedding_parameters - vectors
    sixteen = 2 * (model.embedding_parameters + vectors)
    assert memory(model, weight_format="fp8").weight_bytes == matrices + sixteen
    assert memory(model, weight_format="nvfp4").weight_bytes == matrices * 4.5 / 8 + sixteen


def test_plans_that_cannot_be() -> None:
    for fields, message in (
        ({"tensor": 0}, "tensor: 0, expected a whole number from 1 up"),
        (
            {"tensor": 4, "expert": 3},
            "expert: 3 does not divide the 4 ranks of a stage .*; 1, 2, 4",
        ),
    ):
        with pytest.raises(SpecificationError, match=message):
            ParallelPlan(**fields)
    for name, plan, reason in (
        ("Qwen2.5-7B", ParallelPlan(tensor=8), "the 28 heads of Qwen2.5-7B cannot be cut into 8; "
         "1, 2, 4, 7, 14, 28 can"),
        ("Phi-4", ParallelPlan(tensor=4), "the 10 KV heads of Phi-4, cut or copied, cannot be cut "
         "into 4; 1, 2, 5, 10, 20, 40 can"),
        ("DeepSeek-V3", ParallelPlan(pipeline=2), "the 61 layers of DeepSeek-V3 cannot be cut "
         "into 2; 1, 61 can"),
        ("Mixtral-8x7B-v0.1", ParallelPlan(tensor=16, expert=16), "the 8 experts of "
         "Mixtral-8x7B-v0.1 cannot be cut into 16; 1, 2, 4, 8 can"),
        ("Llama-3.1-8B", ParallelPlan(tensor=2, expert=2), "Llama-3.1-8B has no experts to be cut "
         "into 2; 1 can"),
    ):  # fmt: skip
        assert plan.reason(transformer(name)) == reason
    with pytest.raises(SpecificationError, match="stage: 2, expected 0 to 1"):
        memory(transformer("Llama-3.1-8B"), parallel=ParallelPlan(pipeline=2), stage=2)
