"""Memory of one rank: its weights, and the cache of a token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from archwright.llm.architecture import Transformer
from archwright.llm.layout import Layout, Parts, layout, stated_parts
from archwright.llm.parallel import ParallelPlan

__all__ = ["Footprint", "memory"]


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What one rank keeps in its memory.

    Attributes:
        weight_bytes: weights, biases and norms.
        kv_bytes_per_token: cache of one more token, no window being full.
        kv_bytes_per_token_and_layer: the same of one layer.
        full_layers: layers that cache the whole context.
        sliding_layers: layers that cache a window.
        sliding_window: tokens of the window.
    """

    weight_bytes: float
    kv_bytes_per_token: float
    kv_bytes_per_token_and_layer: float
    full_layers: int
    sliding_layers: int
    sliding_window: int

    def kv_bytes(self, tokens: ArrayLike) -> NDArray[np.float64]:
        """Return the cache bytes of one sequence of `tokens` tokens (any shape)."""
        tokens = np.asarray(tokens, dtype=np.float64)
        kept = np.minimum(tokens, self.sliding_window) * self.sliding_layers
        return np.asarray((tokens * self.full_layers + kept) * self.kv_bytes_per_token_and_layer)


def memory(
    model: Transformer,
    *,
    parallel: ParallelPlan | None = None,
    weight_format: str = "bf16",
    kv_format: str = "bf16",
    stage: int | None = None,
    formats: Mapping[str, str] | Parts | None = None,
) -> Footprint:
    """Return the memory of one rank.

    Matrices of the layers take the weight format, but for parts that its checkpoints leave at 16
    bits (`part_formats`). Embedding, output head and router stay at 16 bits, and so do biases and
    norms. Norms, output biases and what MLA compresses with are on
    every tensor rank; KV heads are copied where there are more ranks than heads, and the latent
    cache of MLA is on every rank.

    >>> from archwright.llm import transformer
    >>> llama = transformer("Llama-3.1-8B")
    >>> memory(llama).weight_bytes == 2 * llama.parameters
    True
    >>> [memory(llama, parallel=ParallelPlan(tensor=t)).kv_bytes_per_token for t in (1, 8, 16)]
    [131072.0, 16384.0, 16384.0]

    Args:
        model: the transformer.
        parallel: how the model is cut; by default not at all.
        weight_format: name of a weight format.
        kv_format: name of a KV-cache format.
        stage: pipeline stage, from 0; None for the most that any stage keeps, of weights and of
            cache each.
        formats: part of the model to name of its weight format, where it differs.

    Raises:
        SpecificationError: the model cannot be cut so, or an unknown format or stage.
    """
    plan = parallel or ParallelPlan()
    stages = range(plan.pipeline) if stage is None else [stage]
    stated = stated_parts(formats)
    parts = [layout(model, plan, weight_format, kv_format, number, stated) for number in stages]
    most = max(parts, key=lambda part: part.full)  # equally many layers, so the largest cache
    layer = most.kv_values * most.kv_bits / 8
    return Footprint(
        weight_bytes=max(_weight_bytes(part) for part in parts),
        kv_bytes_per_token=most.layers * layer,
        kv_bytes_per_token_and_layer=layer,
        full_layers=most.full,
        sliding_layers=most.sliding,
        sliding_window=model.sliding_window,
    )


def _weight_bytes(here: Layout) -> float:
    model, plan = here.model, here.plan
    values = Counter(experts=here.moe * (model.experts // plan.expert) * here.expert_weights)
    sixteen = _vectors(here)
    for matrix in here.matrices:
        if matrix.name == "attention.absorb":
            continue  # the same matrix as attention.kv_up
        values[matrix.part] += matrix.layers * matrix.n * matrix.k
        sixteen += matrix.layers * matrix.bias
    head_is_here = here.last and model.tie_word_embeddings
    if here.first and not head_is_here:
        values["embedding"] += -(-model.vocab // plan.tensor) * model.hidden
    by_bits: Counter[float] = Counter()
    for part, number in values.items():
        by_bits[here.formats[part].bits] += number
    return sum(number * bits / 8 for bits, number in by_bits.items()) + 2 * sixteen


def _vectors(here: Layout) -> int:
    """Return the values of this rank's norms, sinks and expert biases."""
    model, plan = here.model, here.plan
    layer = model.norms_per_layer * model.hidden
    if model.mla_ranks is not None:
        layer += model.mla_ranks[0] + model.mla_ranks[1]
    elif model.qk_norm:
        spans = {"head": 2, "projection": here.heads + here.kv_heads}
        layer += spans[model.qk_norm_over] * model.head_dim
    if model.attention_sinks:
        layer += here.heads
    values = here.layers * layer + (model.hidden if here.last else 0)
    if model.expert_bias:
        inner = (2 if model.gated else 1) * here.expert_columns
        held = model.experts // plan.expert
        values += here.moe * held * (inner + model.hidden)
    return values
