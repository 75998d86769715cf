from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archwright.errors import SpecificationError
from archwright.formats import kv_formats, weight_formats
from archwright.hardware import timing
from archwright.hardware.tables import catalogue_toml
from archwright.llm import (
    Operator,
    ParallelPlan,
    StepBatch,
    Transformer,
    parameter_breakdown,
    step_operators,
    transformer,
)
from archwright.llm.batch import causal_pairs
from archwright.llm.transformers import transformers

TINY = Transformer(
    name="tiny", layers=6, hidden=64, heads=8, kv_heads=4, head_dim=16, intermediate=128,
    vocab=1000, max_position=4096,
)  # fmt: skip
DENSE = [m for m in transformers() if not m.experts]
FIGURES = ("flops", "weight_bytes", "activation_bytes", "kv_bytes", "communication_bytes")


def _total(operators: Iterable[Operator], figure: str, *kinds: str) -> Any:
    return sum(op.count * getattr(op, figure) for op in operators if not kinds or op.kind in kinds)


def _prefill(tokens: int, context: int | None = None) -> StepBatch:
    return StepBatch(
        prefill_requests=1, prefill_query_tokens=tokens, prefill_context_tokens=context or tokens
    )


def _matrix_weights(model: Transformer) -> int:
    """Count the matrix weights of the layers from the shape alone."""
    if model.mla_ranks is None:
        widths = (2 * model.heads + 2 * model.kv_heads) * model.head_dim
        attention = model.hidden * widths
    else:
        q, kv, nope, rope, v = model.mla_ranks
        attention = model.hidden * (q + kv + rope + model.heads * v)
        attention += model.heads * (q * (nope + rope) + kv * (nope + v))
    dense = 3 * model.hidden * model.intermediate
    active = model.experts_per_token + model.shared_experts
    moe = model.hidden * model.experts + active * 3 * model.hidden * model.moe_intermediate
    return (
        model.layers * attention
        + (model.layers - model.moe_layers) * dense
        + model.moe_layers * moe
    )


def _brute_pairs(query: int, context: int, window: int | None) -> int:
    return sum(
        1
        for token in range(context - query, context)
        for key in range(token + 1)
        if window is None or token - key < window
    )


@given(st.integers(1, 12), st.integers(0, 12), st.none() | st.integers(1, 14))
def test_causal_pairs_by_enumeration(query: int, before: int, window: int | None) -> None:
    context = query + before
    assert causal_pairs(query, context, window) == _brute_pairs(query, context, window)


@pytest.mark.parametrize("model", transformers(), ids=lambda model: model.name)
@pytest.mark.parametrize("tokens", [1, 5000])
def test_prefill_conserves_flops(model: Transformer, tokens: int) -> None:
    graph = step_operators(model, _prefill(tokens))
    body = [op for op in graph if op.name != "lm_head" and not op.name.startswith("attention.sc")]
    assert _total(body, "flops") == 2 * _matrix_weights(model) * tokens
    assert _total([op for op in graph if op.name == "lm_head"], "flops") == (
        2 * model.vocab * model.hidden
    )
    window = model.sliding_window or None
    both = 2 * model.head_dim if model.mla_ranks is None else model.head_dim + model.mla_ranks[4]
    pairs = (model.layers - model.sliding_layers) * (tokens * (tokens + 1) // 2)
    pairs += model.sliding_layers * causal_pairs(tokens, tokens, window)
    assert _total(graph, "flops", "attention_prefill") == 2 * model.heads * both * pairs


@pytest.mark.parametrize("model", DENSE, ids=lambda model: model.name)
def test_dense_weights_are_read_once(model: Transformer) -> None:
    parts = parameter_breakdown(model)
    graph = step_operators(model, StepBatch(decode_batch=3, decode_context=50))
    head = model.vocab * model.hidden
    assert _total(graph, "weight_bytes") == 2 * (_matrix_weights(model) + head)
    vectors = sum(parts.values()) - _matrix_weights(model) - model.embedding_parameters
    assert 0 <= vectors < 0.001 * model.parameters  # the rest are biases and norms


@pytest.mark.parametrize("name", ["Llama-3.1-8B", "Qwen3-30B-A3B", "DeepSeek-V3"])
@pytest.mark.parametrize(("kv_format", "bits"), [("bf16", 16), ("fp8", 8)])
def test_cache_read_is_the_cache(name: str, kv_format: str, bits: int) -> None:
    model = transformer(name)
    for batch in (_prefill(700), StepBatch(decode_batch=1, decode_context=700)):
        graph = step_operators(model, batch, kv_format=kv_format)
        assert _total(graph, "kv_bytes") == 700 * model.kv_bytes_per_token(bits)


@pytest.mark.parametrize("name", ["Gemma-3-27B", "gpt-oss-20b", "Mistral-7B-v0.1"])
@pytest.mark.parametrize("context", [100, 5000])
def test_windows_bound_cache_and_flops(name: str, context: int) -> None:
    model = transformer(name)
    graph = step_operators(model, StepBatch(decode_batch=4, decode_context=context))
    assert _total(graph, "kv_bytes") == 4 * model.kv_bytes(context, 16)
    kept = 4 * int(model.cached_tokens(context))
    assert _total(graph, "flops", "attention_decode") == 4 * model.heads * model.head_dim * kept
    sliding = [op for op in graph if op.name.endswith(".sliding")]
    assert [op.count for op in sliding] == [model.sliding_layers]
    assert sliding[0].shape["window"] == model.sliding_window


@given(st.integers(1, 40), st.none() | st.integers(1, 50))
@settings(max_examples=30)
def test_prefill_is_the_sum_of_decode_steps(tokens: int, window: int | None) -> None:
    model = Transformer(
        **{**_fields(TINY), "sliding_window": window or 0, "sliding_pattern": "SF"}
    )
    prefill = _total(step_operators(model, _prefill(tokens)), "flops", "attention_prefill")
    steps = sum(
        _total(
            step_operators(model, StepBatch(decode_batch=1, decode_context=c)),
            "flops",
            "attention_decode",
        )
        for c in range(1, tokens + 1)
    )
    assert prefill == steps


@given(st.integers(1, 30), st.integers(1, 30))
@settings(max_examples=30)
def test_chunks_add_up_to_the_prompt(first: int, second: int) -> None:
    whole = step_operators(TINY, _prefill(first + second))
    chunks = [*step_operators(TINY, _prefill(first))]
    chunks += step_operators(TINY, _prefill(second, first + second))
    assert _total(whole, "flops", "attention_prefill") == _total(
        chunks, "flops", "attention_prefill"
    )


def _fields(model: Transformer) -> dict[str, Any]:
    return {name: getattr(model, name) for name in model.__dataclass_fields__}


@pytest.mark.parametrize("width", [2, 4, 8])
@pytest.mark.parametrize("name", ["Llama-3.1-70B", "Qwen2.5-32B", "Gemma-2-27B"])
def test_tensor_parallel_cuts_every_weight(name: str, width: int) -> None:
    model = transformer(name)
    batch = StepBatch(decode_batch=16, decode_context=300)
    alone = step_operators(model, batch)
    cut = step_operators(model, batch, parallel=ParallelPlan(tensor=width))
    assert not [op for op in alone if op.communication_bytes]
    shared = [op for op in cut if not op.communication_bytes]
    assert [op.name for op in shared] == [op.name for op in alone]
    for one, part in zip(alone, shared, strict=True):
        assert one.weight_bytes == width * part.weight_bytes, one.name
        assert one.flops == width * part.flops, one.name
        assert one.kv_bytes == width * part.kv_bytes, one.name
    reduces = [op for op in cut if op.kind == "all_reduce"]
    assert sum(op.count for op in reduces) == 2 * model.layers
    assert {op.communication_bytes for op in reduces} == {16 * model.hidden * 2}


def test_kv_heads_are_copied_beyond_their_number() -> None:
    model = transformer("Qwen3-30B-A3B")  # 4 KV heads
    batch = StepBatch(decode_batch=2, decode_context=100)
    graphs = [step_operators(model, batch, parallel=ParallelPlan(tensor=t)) for t in (4, 8)]
    assert _total(graphs[0], "kv_bytes") == _total(graphs[1], "kv_bytes")
    assert [
        next(op for op in g if op.kind == "attention_decode").shape["heads"] for g in graphs
    ] == [
        8,
        4,
    ]


def test_latent_attention() -> None:
    model = transformer("DeepSeek-V3")
    graph = step_operators(model, StepBatch(decode_batch=2, decode_context=1000))
    decode = next(op for op in graph if op.kind == "attention_decode")
    assert decode.flops == 2 * 1000 * 2 * 128 * (512 + 64 + 512)
    assert decode.kv_bytes == 2 * 1000 * (512 + 64) * 2
    shape = decode.shape
    assert 2 * shape["kv_heads"] * shape["head_dim"] == 512 + 64
    assert 4 * shape["heads"] * shape["head_dim"] * 2000 == pytest.approx(decode.flops, rel=2e-3)
    names = [op.name for op in graph]
    assert "attention.absorb" in names and "attention.kv_up" not in names
    cut = step_operators(
        model, StepBatch(decode_batch=2, decode_context=1000), parallel=ParallelPlan(tensor=8)
    )
    assert _total(cut, "kv_bytes") == _total(graph, "kv_bytes")  # the latent is on every rank
    chunk = step_operators(model, _prefill(10, 200))
    expand = next(op for op in chunk if op.name == "attention.kv_up")
    assert expand.shape["m"] == 200  # the cached latents are expanded again


def test_plain_experts_say_so() -> None:
    batch = StepBatch(decode_batch=2, decode_context=9)
    plain = Transformer(**{**_fields(_moe(2, 8, 32)), "gated": False})
    for model, matrices, extra in ((plain, 2, {"gated": False}), (_moe(2, 8, 32), 3, {})):
        experts = next(op for op in step_operators(model, batch) if op.kind == "moe")
        assert experts.flops == 2 * 2 * matrices * 2 * 64 * 32
        assert {k: v for k, v in experts.shape.items() if k == "gated"} == extra


def _moe(chosen: int, experts: int, width: int) -> Transformer:
    return Transformer(
        **{
            **_fields(TINY),
            "experts": experts,
            "experts_per_token": chosen,
            "moe_intermediate": width,
        }
    )


@given(st.integers(1, 8), st.integers(1, 50))
@settings(max_examples=30)
def test_all_experts_chosen_equal_a_dense_block(experts: int, tokens: int) -> None:
    batch = StepBatch(decode_batch=tokens, decode_context=9)
    moe = step_operators(_moe(experts, experts, 32), batch)
    dense = step_operators(Transformer(**{**_fields(TINY), "intermediate": 32 * experts}), batch)
    routed = [op for op in moe if op.kind == "moe"]
    blocks = [op for op in dense if op.name in ("mlp.gate_up", "mlp.down")]
    for figure in ("flops", "weight_bytes"):
        assert _total(routed, figure) == _total(blocks, figure)


@given(st.integers(1, 4), st.integers(1, 60))
@settings(max_examples=30)
def test_touched_experts_by_expectation(chosen: int, tokens: int) -> None:
    operators = step_operators(
        _moe(chosen, 8, 32), StepBatch(decode_batch=tokens, decode_context=9)
    )
    experts = next(op for op in operators if op.kind == "moe")
    expected = 8 * (1 - (1 - chosen / 8) ** tokens)
    assert experts.weight_bytes == pytest.approx(expected * 3 * 64 * 32 * 2)
    assert experts.flops == tokens * chosen * 6 * 64 * 32


def test_touched_experts_by_sampling() -> None:
    rng = np.random.default_rng(0)
    hits = [
        len({e for _ in range(5) for e in rng.choice(16, 2, replace=False)}) for _ in range(4000)
    ]
    operators = step_operators(_moe(2, 16, 32), StepBatch(decode_batch=5, decode_context=9))
    touched = next(op for op in operators if op.kind == "moe").weight_bytes / (3 * 64 * 32 * 2)
    assert touched == pytest.approx(np.mean(hits), rel=0.01)


def test_experts_over_ranks() -> None:
    model = transformer("Qwen3-235B-A22B")
    batch = StepBatch(decode_batch=64, decode_context=100)
    alone = step_operators(model, batch)
    routed = next(op for op in alone if op.kind == "moe")
    for expert in (1, 2, 4):
        cut = step_operators(model, batch, parallel=ParallelPlan(tensor=4, expert=expert))
        part = next(op for op in cut if op.kind == "moe")
        assert 4 * part.flops == routed.flops
        assert 4 * part.weight_bytes == pytest.approx(routed.weight_bytes)
        assert part.shape["ranks"] == expert
        assert part.shape["moe_intermediate"] * 4 == 1536 * expert
        assert sum(op.count for op in cut if op.kind == "all_reduce") == 2 * model.layers
    plan = ParallelPlan(expert=4, data_parallel_attention=4)
    cut = step_operators(model, batch, parallel=plan)
    part = next(op for op in cut if op.kind == "moe")
    assert part.shape["tokens"] == 4 * 64
    assert part.flops == routed.flops
    exchanges = [op for op in cut if op.communication_bytes]
    assert [(op.name, op.kind, op.count) for op in exchanges] == [
        ("moe.dispatch", "all_to_all", 94),
        ("moe.combine", "all_to_all", 94),
    ]
    assert exchanges[0].communication_bytes == 64 * 8 * 4096 * 2


@pytest.mark.parametrize("name", ["Llama-3.1-8B", "Gemma-2-27B", "gpt-oss-20b"])
def test_stages_add_up_to_the_whole(name: str) -> None:
    model, batch = transformer(name), StepBatch(decode_batch=4, decode_context=900)
    plan = ParallelPlan(pipeline=2, tensor=2)
    whole = step_operators(model, batch, parallel=plan)
    stages = [step_operators(model, batch, parallel=plan, stage=stage) for stage in (0, 1)]
    for figure in FIGURES:
        assert sum(_total(stage, figure) for stage in stages) == pytest.approx(
            _total(whole, figure), rel=1e-12
        )
    uncut = step_operators(model, batch, parallel=ParallelPlan(tensor=2))
    kinds = ("gemm", "moe", "attention_decode", "memory", "all_reduce")
    for figure in FIGURES:
        assert _total(whole, figure, *kinds) == _total(uncut, figure, *kinds)
    sends = [op for op in whole if op.kind == "point_to_point"]
    assert [(op.count, op.communication_bytes) for op in sends] == [(1, 4 * model.hidden * 2)]
    assert [any(op.name == "lm_head" for op in stage) for stage in stages] == [False, True]


def test_formats() -> None:
    model, batch = transformer("Llama-3.1-8B"), StepBatch(decode_batch=8, decode_context=100)
    bf16, fp8, nvfp4 = (
        {op.name: op for op in step_operators(model, batch, weight_format=name)}
        for name in ("bf16", "fp8", "nvfp4")
    )
    for name in ("attention.qkv", "mlp.down"):
        assert bf16[name].weight_bytes == 2 * fp8[name].weight_bytes
        assert nvfp4[name].weight_bytes * 8 == 4.5 * bf16[name].weight_bytes / 2
        assert (fp8[name].shape["dtype"], fp8[name].weight_format) == ("fp8", "fp8")
    assert fp8["lm_head"].weight_bytes == bf16["lm_head"].weight_bytes
    assert fp8["lm_head"].shape["dtype"] == "bf16"
    with pytest.raises(SpecificationError, match="unknown weight format 'fp9'"):
        step_operators(model, batch, weight_format="fp9")


MIXED = [
    ("Llama-3.1-8B", ParallelPlan(tensor=2)),
    ("gpt-oss-20b", ParallelPlan(tensor=4, expert=2)),
    ("DeepSeek-V3", ParallelPlan(tensor=2, expert=8, data_parallel_attention=4)),
]


@pytest.mark.parametrize(("name", "plan"), MIXED, ids=[name for name, _ in MIXED])
def test_many_compositions_at_once_equal_one_by_one(name: str, plan: ParallelPlan) -> None:
    model = transformer(name)
    rng = np.random.default_rng(1)
    table = {
        "decode_batch": rng.integers(0, 3, 20) * 40,
        "decode_context": rng.integers(1, 3000, 20),
        "prefill_requests": rng.integers(0, 3, 20),
        "prefill_query_tokens": rng.integers(1, 500, 20),
    }
    table["prefill_context_tokens"] = table["prefill_query_tokens"] + rng.integers(0, 500, 20)
    together = step_operators(model, StepBatch(**table), parallel=plan)
    for i in range(20):
        batch = StepBatch(**{key: int(value[i]) for key, value in table.items()})
        one = {op.name: op for op in step_operators(model, batch, parallel=plan)}
        for op in together:
            count = int(np.broadcast_to(op.count, 20)[i])
            assert count == (one[op.name].count if op.name in one else 0), op.name
            for figure in FIGURES:
                if count:
                    found = np.broadcast_to(getattr(op, figure), 20)[i]
                    assert found == pytest.approx(getattr(one[op.name], figure), rel=1e-12)
            for key, value in op.shape.items():
                if count and not isinstance(value, str) and value is not None:
                    assert np.broadcast_to(value, 20)[i] == one[op.name].shape[key]


def test_listed_batches_are_counted_exactly() -> None:
    model = transformer("gpt-oss-20b")  # a window of 128 tokens
    contexts, chunks = [10, 50, 5000, 7000], [(100, 100), (300, 900), (100, 100)]
    graph = step_operators(model, StepBatch.of(prefills=chunks, decodes=contexts))
    singles = [
        step_operators(model, StepBatch(decode_batch=1, decode_context=c)) for c in contexts
    ]
    singles += [step_operators(model, _prefill(*chunk)) for chunk in chunks]
    for kind in ("attention_decode", "attention_prefill"):
        for figure in ("flops", "kv_bytes", "activation_bytes"):
            parts = sum(_total(single, figure, kind) for single in singles)
            assert _total(graph, figure, kind) == parts
    products = [op for op in graph if op.kind == "gemm"]
    assert products[0].shape["m"] == 4 + 500
    assert products[-1].shape["m"] == 4 + 3
    decode = [op for op in graph if op.kind == "attention_decode"]
    # the law cuts the mean context at the window itself
    assert [op.shape["context_tokens"] for op in decode] == [12060 / 4, 12060 / 4]
    assert [op.shape["window"] for op in decode] == [None, 128]


_LAWS = {
    "gemm": ("m", "n", "k", "dtype"),
    "attention_prefill": (
        *("batch", "query_tokens", "context_tokens", "heads", "kv_heads", "head_dim"),
        *("dtype", "kv_dtype", "window"),
    ),
    "attention_decode": (
        *("batch", "context_tokens", "heads", "kv_heads", "head_dim"),
        *("dtype", "kv_dtype", "window"),
    ),
    "moe": (
        *("tokens", "hidden", "moe_intermediate", "experts", "experts_per_token"),
        *("ranks", "dtype"),
    ),
    "memory": ("size_bytes",),
    "sampling": ("sequences", "vocab", "sampling"),
    "all_reduce": ("ranks", "size_bytes"),
    "all_to_all": ("ranks", "size_bytes"),
    "point_to_point": ("size_bytes", "span"),
}


def test_shapes_are_the_arguments_of_their_laws() -> None:
    seen = set()
    for name, plan in [*MIXED, ("Llama-3.1-8B", ParallelPlan(pipeline=2))]:
        batch = StepBatch.of(prefills=[(30, 40)], decodes=[50])
        for op in step_operators(transformer(name), batch, parallel=plan, sampling="top_p"):
            assert set(op.shape) == set(_LAWS[op.kind]), op.name
            assert op.formula
            seen.add(op.kind)
    assert seen == set(_LAWS)
    for kind, keys in _LAWS.items():
        law = getattr(timing, f"{kind}_seconds")
        assert set(keys) <= set(inspect.signature(law).parameters), kind


def test_figures_are_whole_numbers() -> None:
    for op in step_operators(transformer("Llama-3.1-405B"), _prefill(100_000)):
        assert all(isinstance(getattr(op, figure), int) for figure in FIGURES), op.name


def test_every_format_has_a_kernel() -> None:
    kernels = catalogue_toml("archwright.llm", "kernels.toml")
    assert set(kernels["weights"]) == set(weight_formats())
    assert set(kernels["kv"]) == set(kv_formats())


def test_an_empty_step_has_no_operators() -> None:
    assert step_operators(TINY, StepBatch()) == ()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"decode_batch": -1}, "decode_batch: -1, expected finite numbers from 0 up"),
        ({"decode_batch": [1, np.nan]}, "decode_batch: nan, expected finite"),
        ({"decode_batch": "8"}, "decode_batch: '8', expected numbers"),
        ({"decode_batch": 1}, "decode_context: below 1"),
        (
            {"prefill_requests": 1, "prefill_query_tokens": 9},
            "prefill_query_tokens: expected 1 to",
        ),
    ],
)
def test_batches_that_cannot_be(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        StepBatch(**fields)


def test_lists_that_cannot_be() -> None:
    with pytest.raises(SpecificationError, match="prefills: 9 query tokens of 3 context tokens"):
        StepBatch.of(prefills=[(9, 3)])
    with pytest.raises(SpecificationError, match="decodes: 0, expected contexts from 1 up"):
        StepBatch.of(decodes=[4, 0])


def test_traffic_by_hand() -> None:
    # d 64, 8 heads and 4 KV heads of 16, FFN 128, 6 layers; 3 prompt tokens of 5, 2 sequences.
    batch = StepBatch(
        decode_batch=2, decode_context=7, prefill_requests=1, prefill_query_tokens=3,
        prefill_context_tokens=5,
    )  # fmt: skip
    found = {op.name: op for op in step_operators(TINY, batch)}
    tokens, queries, keys = 5, 8 * 16, 4 * 16
    by_hand = {
        "embedding": tokens * (64 + 64) * 2,
        "norm": tokens * 4 * 64 * 2 + 64 * 2,
        "attention.qkv": tokens * (64 + queries + 2 * keys) * 2,
        "attention.rope": tokens * (2 * (queries + keys) + 2 * keys + 2 * keys) * 2,
        "attention.scores.prefill": 3 * 2 * queries * 2,
        "attention.scores.decode": 2 * 2 * queries * 2,
        "attention.output": tokens * (queries + 64) * 2,
        "mlp.gate_up": tokens * (64 + 256) * 2,
        "mlp.activation": tokens * (256 + 128) * 2,
        "mlp.down": tokens * (128 + 64) * 2,
        "final_norm": tokens * 4 * 64 * 2 + 64 * 2,
        "lm_head": 3 * (64 + 1000) * 2,
    }
    assert {name: op.activation_bytes for name, op in found.items()} == by_hand
    assert found["attention.scores.prefill"].kv_bytes == 5 * 2 * keys * 2
    assert found["attention.scores.decode"].kv_bytes == 2 * 7 * 2 * keys * 2
    counts = {name: op.count for name, op in found.items()}
    ones = ("embedding", "final_norm", "lm_head")
    assert counts == {name: 1 if name in ones else 12 if name == "norm" else 6 for name in by_hand}


def test_narrow_types_narrow_the_inputs_and_the_cache() -> None:
    batch = StepBatch(decode_batch=4, decode_context=7)
    found = {
        op.name: op for op in step_operators(TINY, batch, weight_format="fp8", kv_format="fp8")
    }
    assert found["mlp.down"].activation_bytes == 4 * 128 * 1 + 4 * 64 * 2
    assert found["lm_head"].activation_bytes == 4 * (64 + 1000) * 2
    rotated, cached = (8 + 4) * 16, 2 * 4 * 16
    assert found["attention.rope"].activation_bytes == 4 * (4 * rotated + (2 + 1) * cached)
    assert found["attention.scores.decode"].shape["kv_dtype"] == "fp8"


def test_biases_are_read_with_the_activations() -> None:
    plain, biased = (
        {op.name: op for op in step_operators(model, StepBatch(decode_batch=1, decode_context=1))}
        for model in (TINY, Transformer(**{**_fields(TINY), "attention_bias": "qkvo"}))
    )
    for name, values in (("attention.qkv", 256), ("attention.output", 64), ("mlp.down", 0)):
        extra = biased[name].activation_bytes - plain[name].activation_bytes
        assert extra == 2 * values
        assert biased[name].weight_bytes == plain[name].weight_bytes


def test_expanded_keys_and_values_are_activations() -> None:
    graph = {op.name: op for op in step_operators(transformer("DeepSeek-V3"), _prefill(10, 200))}
    width = 128 * (192 + 128)
    assert graph["attention.scores.prefill"].activation_bytes == (10 + 200) * width * 2
    assert graph["attention.scores.prefill"].kv_bytes == 0
    assert graph["attention.kv_up"].kv_bytes == 200 * (512 + 64) * 2
    assert graph["attention.kv_up"].activation_bytes == 200 * 128 * (128 + 128) * 2


@given(st.integers(1, 12), st.integers(0, 12), st.integers(1, 14))
@settings(max_examples=50)
def test_keys_in_sight_by_enumeration(query: int, before: int, window: int) -> None:
    model = Transformer(**{**_fields(TINY), "sliding_window": window})
    context = query + before
    in_sight = {
        key for token in range(before, context) for key in range(token + 1) if token - key < window
    }
    graph = step_operators(model, _prefill(query, context))
    cache = next(op for op in graph if op.kind == "attention_prefill").kv_bytes
    assert cache == len(in_sight) * 2 * 4 * 16 * 2


def test_experts_serve_the_tokens_of_every_group() -> None:
    batch = StepBatch(decode_batch=3, decode_context=9)
    plan = ParallelPlan(tensor=2, data_parallel_attention=2, expert=2)
    graph = {op.name: op for op in step_operators(_moe(2, 8, 32), batch, parallel=plan)}
    experts = graph["moe.experts"]
    one = 3 * 64 * 16  # half of an expert's width on each of two ranks
    assert experts.weight_bytes == pytest.approx(4 * (1 - 0.75**6) * one * 2)
    assert experts.flops == 6 * 2 // 2 * 2 * one
    # Six tokens with an expert: in and out, gate and up written and read, their product too.
    assert experts.activation_bytes == 6 * (2 * 64 + 2 * 2 * 16 + 2 * 16) * 2
    sizes = {name: op.communication_bytes for name, op in graph.items() if op.communication_bytes}
    assert sizes == {
        "attention.all_reduce": 3 * 64 * 2,
        "moe.dispatch": 3 * 2 * 64 * 2 // 2,
        "moe.all_reduce": 6 * 64 * 2 // 2,
        "moe.combine": 3 * 2 * 64 * 2 // 2,
        "moe.all_gather": 3 * 64 * 2 // 2,
    }
