"""The operators of one engine step: exact work and traffic, and the shape each is timed by.

Conventions. A multiply-add is two operations; elementwise work counts none. Weights are matrix
weights; biases and norms are read with the activations. A context counts the step's own tokens.
`kv_bytes` is what attention reads of the cache; writes are with the activations of
``attention.rope``. Activations are 16 bits wide but for the inputs of products in a narrower
type. Left out: the all-reduce of a cut input embedding, the gathering of logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from archwright.hardware.evaluation import sampling_bytes
from archwright.hardware.operators import Graph, Kind, Operator
from archwright.llm.architecture import Transformer
from archwright.llm.batch import StepBatch, causal_pairs, seen
from archwright.llm.layout import Layout, Matrix, Parts, layout, stated_parts
from archwright.llm.parallel import ParallelPlan

__all__ = ["Graph", "Kind", "Operator", "step_operators"]

_GEMM = "2 m n k; weights n k; activations m k in and m n out, and the bias"
_PREFILL = (
    "4 heads head_dim a causal pair of query and key; cache: each key and value in sight once; "
    "activations: queries and outputs"
)
_EXPANDED = (
    "2 heads (nope + rope + v) a causal pair; activations: queries, outputs and the expanded keys "
    "and values; the shape has (nope + rope + v) / 2 as head_dim"
)
_DECODE = (
    "4 heads head_dim a cached token; cache: each key and value in sight once; activations: "
    "queries and outputs"
)
_ABSORBED = (
    "2 heads (2 kv_lora + rope) a cached token; cache: the latent and the rotated key once; the "
    "shape has (kv_lora + rope) / 2 as head_dim of one KV head, and as many query heads as give "
    "these operations, rounded"
)
_MOE = (
    "2 hidden columns of each matrix of an expert, a token and expert chosen, spread evenly over "
    "the ranks; weights of the experts touched, E / ranks (1 - (1 - k/E)^tokens) by expectation; "
    "activations between the matrices and at both ends"
)


def step_operators(
    model: Transformer,
    batch: StepBatch,
    *,
    parallel: ParallelPlan | None = None,
    weight_format: str = "bf16",
    kv_format: str = "bf16",
    stage: int | None = None,
    formats: Mapping[str, str] | Parts | None = None,
    sampling: str | None = None,
) -> Graph:
    """Return the operators that one rank runs in a step.

    Prefill and decode tokens share the products and have attention operators of their own, one
    for layers with full attention and one for sliding layers. MLA expands keys and values of
    prompts and decodes in the absorbed form. Compositions without an operator have count 0;
    it is left out where no composition has it.

    >>> from archwright.llm import transformer
    >>> batch = StepBatch(decode_batch=8, decode_context=1000)
    >>> graph = step_operators(
    ...     transformer("Llama-3.1-8B"), batch, parallel=ParallelPlan(tensor=2)
    ... )
    >>> [op.name for op in graph if op.kind == "gemm"]
    ['attention.qkv', 'attention.output', 'mlp.gate_up', 'mlp.down', 'lm_head']
    >>> graph[2].shape
    {'m': 8, 'n': 3072, 'k': 4096, 'dtype': 'bf16'}
    >>> sum(op.count for op in graph if op.kind == "all_reduce")
    64

    Args:
        model: the transformer.
        batch: what one data-parallel attention group computes; the groups have equal batches.
        parallel: how the model is cut; by default not at all.
        weight_format: name of a weight format; embedding, router and output head keep 16 bits.
        kv_format: name of a KV-cache format.
        stage: pipeline stage, from 0; None for the passage through all of them in succession.
        formats: part of the model to name of its weight format, where it differs.
        sampling: how the next tokens are drawn, ``greedy`` or ``top_p``; None to leave it out.

    Raises:
        SpecificationError: the model cannot be cut so, or an unknown format or stage.
    """
    plan = parallel or ParallelPlan()
    here = layout(model, plan, weight_format, kv_format, stage, stated_parts(formats))
    return tuple(_operators(here, batch, sampling))


def _operators(here: Layout, batch: StepBatch, sampling: str | None) -> Iterator[Operator]:
    d, tokens = here.model.hidden, batch.tokens
    if not _some(tokens):
        return
    count = _present(tokens)
    if here.first:
        yield _memory("embedding", count, 4 * tokens * d, "rows read and written")
    yield from _norms(here, tokens, count)
    matrices = {matrix.name: matrix for matrix in here.matrices}
    tail = matrices.pop("lm_head", None)
    rows = {"tokens": tokens, "decode": batch.decode_batch, "context": batch.expanded_tokens}
    attention = True
    for name, matrix in matrices.items():
        if name == "attention.output":
            yield from _attention(here, batch)
        if attention and not name.startswith("attention"):
            attention = False
            yield from _all_reduce("attention.all_reduce", here, here.layers, tokens)
        if name in ("mlp.down", "moe.shared.down"):
            yield _activation(here, matrix, tokens)
        if _some(rows[matrix.rows]):
            cache = name == "attention.kv_up"
            yield _gemm(here, matrix, rows[matrix.rows], cache=cache)
        if name == "mlp.down":
            yield from _all_reduce("mlp.all_reduce", here, here.dense, tokens)
    if here.moe:
        yield from _experts(here, tokens)
    if tail is not None:
        final = 8 * tokens * d + 2 * d
        yield _memory("final_norm", count, final, "add and normalize: two read, two written")
        yield _gemm(here, tail, batch.sampled)
        if sampling is not None:
            yield _sampling(here, sampling, batch.sampled)
    if here.transfers:
        size = 2 * tokens * d
        yield Operator(
            name="point_to_point",
            kind="point_to_point",
            count=here.transfers * count,
            communication_bytes=size,
            shape={"size_bytes": _filled(size), "span": 2 * here.plan.stage_ranks},
            formula="16-bit activations of every token to the next stage",
        )


def _sampling(here: Layout, rule: str, sequences: Any) -> Operator:
    """Return the drawing of tokens: each rank has the logits of the whole vocabulary."""
    return Operator(
        name="sampling",
        kind="sampling",
        count=_present(sequences),
        activation_bytes=sampling_bytes(rule, sequences * here.model.vocab),
        shape={"sequences": _filled(sequences), "vocab": here.model.vocab, "sampling": rule},
        formula="the passes of the rule over the logits of each sequence",
    )


def _some(amount: Any) -> bool:
    return bool(amount.any()) if isinstance(amount, np.ndarray) else amount > 0


def _present(amount: Any) -> Any:
    """Return 1 where there is something, 0 where there is nothing."""
    if isinstance(amount, np.ndarray) and not amount.all():
        return (amount > 0).astype(np.int64)
    return 1


def _filled(amount: Any) -> Any:
    """Return the amount with 1 for 0: laws need a shape even where the count is 0."""
    return np.maximum(amount, 1) if isinstance(amount, np.ndarray) else amount


def _bytes(values: Any, bits: float) -> Any:
    """Return the bytes of so many values, whole where they are."""
    if bits % 8 == 0:
        return values * (int(bits) // 8)
    if isinstance(values, int) and bits == int(bits):
        bits_in_all = values * int(bits)
        return bits_in_all // 8 if bits_in_all % 8 == 0 else bits_in_all / 8
    return values * bits / 8


def _memory(name: str, count: Any, size: Any, formula: str) -> Operator:
    return Operator(
        name=name,
        kind="memory",
        count=count,
        activation_bytes=size,
        shape={"size_bytes": _filled(size)},
        formula=formula,
    )


def _norms(here: Layout, tokens: Any, count: Any) -> Iterator[Operator]:
    d, per_layer = here.model.hidden, here.model.norms_per_layer
    fused = min(per_layer, 2) * here.layers * count
    yield _memory(
        "norm", fused, 8 * tokens * d + 2 * d, "add and normalize: two read, two written"
    )
    if per_layer > 2:
        alone = (per_layer - 2) * here.layers * count
        yield _memory("norm.output", alone, 4 * tokens * d + 2 * d, "one read, one written")


def _activation(here: Layout, down: Matrix, tokens: Any) -> Operator:
    inputs = 2 if here.model.gated else 1
    size = 2 * tokens * (inputs + 1) * down.k
    name = down.name.replace("down", "activation")
    return _memory(name, down.layers * _present(tokens), size, "inner values read and written")


def _gemm(here: Layout, matrix: Matrix, m: Any, *, cache: bool = False) -> Operator:
    """Return a product; `cache` says that its input is read from the cache."""
    own = here.formats[matrix.part]
    n, k = matrix.n, matrix.k
    read = 0 if cache else _bytes(m * k, own.input_bits)
    return Operator(
        name=matrix.name,
        kind="gemm",
        count=matrix.layers * _present(m),
        flops=m * (2 * n * k),
        weight_bytes=_bytes(n * k, own.bits),
        activation_bytes=read + 2 * m * n + 2 * matrix.bias,
        kv_bytes=_bytes(m * here.kv_values, here.kv_bits) if cache else 0,
        shape={"m": _filled(m), "n": n, "k": k, "dtype": own.dtype},
        weight_format=own.name,
        formula=_GEMM,
    )


def _attention(here: Layout, batch: StepBatch) -> Iterator[Operator]:
    model, tokens = here.model, batch.tokens
    if model.mla_ranks is None:
        rotated, cached = (here.heads + here.kv_heads) * model.head_dim, here.kv_values
    else:
        rotated, cached = (here.heads + 1) * model.mla_ranks[3], here.kv_values
    size = 4 * tokens * rotated + 2 * tokens * cached + _bytes(tokens * cached, here.kv_bits)
    yield _memory(
        "attention.rope",
        here.layers * _present(tokens),
        size,
        "queries and keys rotated in place; keys and values read and written to the cache",
    )
    windows = ((here.full, None, ""), (here.sliding, model.sliding_window, ".sliding"))
    for layers, window, suffix in windows:
        if not layers:
            continue
        for requests, query, context in batch.prefills:
            yield _prefill(here, layers, window, suffix, requests, query, context)
        if _some(batch.decode_batch):
            yield _decode(here, layers, window, suffix, batch)


def _prefill(
    here: Layout, layers: int, window: int | None, suffix: str, requests: Any, query: Any,
    context: Any,
) -> Operator:  # fmt: skip
    model = here.model
    pairs = requests * causal_pairs(query, context, window)
    # A composition without chunks may have any lengths, which a law would refuse.
    ends = np.maximum(context, query) if isinstance(requests, np.ndarray) else context
    shape = {
        "batch": _filled(requests),
        "query_tokens": _filled(query),
        "context_tokens": _filled(ends),
        "heads": here.heads,
    }
    if model.mla_ranks is None:
        e = model.head_dim
        in_sight = context if window is None else seen(context, query + (window - 1))
        flops = pairs * (4 * here.heads * e)
        cache = _bytes(requests * in_sight * here.kv_values, here.kv_bits)
        activations = requests * query * (4 * here.heads * e)
        shape |= {"kv_heads": here.kv_heads, "head_dim": e, "dtype": "bf16"}
        shape |= {"kv_dtype": here.kv_dtype, "window": window}
    else:
        _, _, nope, rope, v = model.mla_ranks
        both = nope + rope + v
        flops = pairs * (2 * here.heads * both)
        cache = 0  # read where the latents are expanded
        activations = requests * (query + context) * (2 * here.heads * both)
        shape |= {"kv_heads": here.heads, "head_dim": (both + 1) // 2, "dtype": "bf16"}
        shape |= {"kv_dtype": "bf16", "window": None}
    return Operator(
        name=f"attention.scores.prefill{suffix}",
        kind="attention_prefill",
        count=layers * _present(requests),
        flops=flops,
        activation_bytes=activations,
        kv_bytes=cache,
        shape=shape,
        formula=_PREFILL if model.mla_ranks is None else _EXPANDED,
    )


def _decode(
    here: Layout, layers: int, window: int | None, suffix: str, batch: StepBatch
) -> Operator:
    model, sequences = here.model, batch.decode_batch
    pairs = batch.decode_pairs(window)
    # the law cuts contexts at the window itself: some kernels start on keys beyond it
    shape = {"batch": _filled(sequences), "context_tokens": _filled(batch.decode_context)}
    if model.mla_ranks is None:
        flops = pairs * (4 * here.heads * model.head_dim)
        activations = sequences * (4 * here.heads * model.head_dim)
        shape |= {"heads": here.heads, "kv_heads": here.kv_heads, "head_dim": model.head_dim}
    else:
        _, kv, _, rope, _ = model.mla_ranks
        flops = pairs * (2 * here.heads * (2 * kv + rope))
        activations = sequences * (2 * here.heads * (2 * kv + rope))
        equal = round(here.heads * (2 * kv + rope) / (kv + rope))
        shape |= {"heads": equal, "kv_heads": 1, "head_dim": (kv + rope + 1) // 2}
    shape |= {"dtype": "bf16", "kv_dtype": here.kv_dtype, "window": window}
    return Operator(
        name=f"attention.scores.decode{suffix}",
        kind="attention_decode",
        count=layers * _present(sequences),
        flops=flops,
        activation_bytes=activations,
        kv_bytes=_bytes(pairs * here.kv_values, here.kv_bits),
        shape=shape,
        formula=_DECODE if model.mla_ranks is None else _ABSORBED,
    )


def _experts(here: Layout, group_tokens: Any) -> Iterator[Operator]:
    """Return the routed experts with their communication."""
    model, plan = here.model, here.plan
    tokens = group_tokens * plan.data_parallel_attention
    k, experts = model.experts_per_token, model.experts
    chosen = _share(tokens * k, plan.expert)
    touched = experts // plan.expert * (1 - (1 - k / experts) ** tokens)
    d, columns, own = model.hidden, here.expert_columns, here.formats["experts"]
    inner = (2 if model.gated else 1) * columns
    count = here.moe * _present(tokens)
    exchange = plan.data_parallel_attention > 1 and plan.expert > 1
    if exchange:
        yield _exchange("moe.dispatch", here, count, group_tokens)
    yield Operator(
        name="moe.experts",
        kind="moe",
        count=count,
        flops=chosen * (2 * here.expert_weights),
        weight_bytes=_bytes(touched * here.expert_weights, own.bits),
        activation_bytes=_bytes(chosen * (d + columns), own.input_bits)
        + chosen * (2 * (d + columns) + 4 * inner),
        shape={
            "tokens": _filled(tokens),
            "hidden": d,
            "moe_intermediate": columns,
            "experts": experts,
            "experts_per_token": k,
            "ranks": plan.expert,
            "dtype": own.dtype,
            **({} if model.gated else {"gated": False}),
        },
        weight_format=own.name,
        formula=_MOE,
    )
    if plan.data_parallel_attention == 1:
        yield from _all_reduce("moe.all_reduce", here, here.moe, group_tokens)
        return
    if plan.moe_tensor > 1:
        size = _share(2 * tokens * d, plan.expert)
        yield _reduce("moe.all_reduce", count, plan.moe_tensor, size, "partial sums of an expert")
    if exchange:
        yield _exchange("moe.combine", here, count, group_tokens)
        if plan.tensor > 1:
            gathered = "an all-gather of every token, counted as an all-reduce of half the size"
            yield _reduce("moe.all_gather", count, plan.tensor, group_tokens * d, gathered)


def _share(total: Any, parts: int) -> Any:
    """Return an even share, whole where it is."""
    if (isinstance(total, int) and total % parts == 0) or parts == 1:
        return total // parts if isinstance(total, int) else total
    return total / parts


def _exchange(name: str, here: Layout, count: Any, tokens: Any) -> Operator:
    size = _share(2 * tokens * here.model.experts_per_token * here.model.hidden, here.plan.tensor)
    return Operator(
        name=name,
        kind="all_to_all",
        count=count,
        communication_bytes=size,
        shape={"ranks": here.plan.expert, "size_bytes": _filled(size)},
        formula="16-bit activations of this rank's tokens, once an expert chosen",
    )


def _all_reduce(name: str, here: Layout, layers: int, tokens: Any) -> Iterator[Operator]:
    if here.plan.tensor > 1 and layers:
        size = 2 * tokens * here.model.hidden
        formula = "16-bit activations of every token"
        yield _reduce(name, layers * _present(tokens), here.plan.tensor, size, formula)


def _reduce(name: str, count: Any, ranks: int, size: Any, formula: str) -> Operator:
    return Operator(
        name=name,
        kind="all_reduce",
        count=count,
        communication_bytes=size,
        shape={"ranks": ranks, "size_bytes": _filled(size)},
        formula=formula,
    )
