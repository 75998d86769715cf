"""Decoder-only transformers: shapes from a catalogue, parameters and cache from the shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from archwright.errors import SpecificationError, unknown
from archwright.hardware.tables import catalogue_rows
from archwright.provenance import Source

__all__ = ["Transformer", "transformer", "transformers"]

_MLA = re.compile(r"MLA \(q_lora (\d+), kv_lora (\d+), nope (\d+), rope (\d+), v (\d+)\)")

_COUNTS = (
    *("layers", "hidden", "heads", "kv_heads", "head_dim", "intermediate", "vocab"),
    *("experts", "experts_per_token", "shared_experts", "moe_intermediate"),
    *("dense_layers_first", "sliding_window", "sliding_layers", "max_position"),
)


@dataclass(frozen=True, kw_only=True)
class Transformer:
    """The shape of a decoder-only transformer with gated feed-forward blocks.

    Attributes:
        name: family, version and size, without the variant.
        layers: number of layers.
        hidden: model width.
        heads: query heads.
        kv_heads: key-value heads.
        head_dim: width of one head (of query and key for MLA).
        intermediate: width of one dense feed-forward block.
        vocab: padded rows of the embedding.
        experts: experts a layer, 0 for dense models.
        experts_per_token: experts that one token uses.
        shared_experts: experts that every token uses besides.
        moe_intermediate: width of one expert.
        dense_layers_first: layers before the first one with experts.
        tie_word_embeddings: input and output embedding are one matrix.
        sliding_window: tokens that a sliding layer sees, 0 for none.
        sliding_layers: how many layers slide.
        max_position: longest context, tokens.
        attention: ``MHA``, ``GQA`` or ``MLA``.
        mla_ranks: for MLA: ranks of query and key-value, widths without rotation, with
            rotation and of the values.
        qk_norm: queries and keys are normalized.
        attention_bias: ``no``, ``qkv`` or ``qkvo``.
        published_parameters: total as the maker prints it, with the digits it prints.
        published_active_parameters: the same of the parameters one token uses.
        source: where the row comes from.
    """

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    experts: int = 0
    experts_per_token: int = 0
    shared_experts: int = 0
    moe_intermediate: int = 0
    dense_layers_first: int = 0
    tie_word_embeddings: bool = False
    sliding_window: int = 0
    sliding_layers: int = 0
    max_position: int
    attention: str = "GQA"
    mla_ranks: tuple[int, int, int, int, int] | None = None
    qk_norm: bool = False
    attention_bias: str = "no"
    published_parameters: float | None = None
    published_active_parameters: float | None = None
    source: Source

    @property
    def moe_layers(self) -> int:
        """Layers with experts."""
        return self.layers - self.dense_layers_first if self.experts else 0

    @property
    def attention_parameters(self) -> int:
        """Parameters of the attention of one layer, norms left out."""
        if self.mla_ranks is not None:
            q, kv, nope, rope, v = self.mla_ranks
            down = self.hidden * (q + kv + rope) + q + kv
            up = q * self.heads * (nope + rope) + kv * self.heads * (nope + v)
            return down + up + self.heads * v * self.hidden
        queries = self.heads * self.head_dim
        keys = self.kv_heads * self.head_dim
        bias = {"no": 0, "qkv": queries + 2 * keys, "qkvo": queries + 2 * keys + self.hidden}
        norm = 2 * self.head_dim if self.qk_norm else 0
        return 2 * self.hidden * (queries + keys) + bias[self.attention_bias] + norm

    @property
    def expert_parameters(self) -> int:
        """Parameters of one expert."""
        return 3 * self.hidden * self.moe_intermediate

    @property
    def shared_layer_parameters(self) -> int:
        """Parameters of all layers that every token uses: all but the routed experts."""
        dense = self.layers - self.moe_layers
        per_layer = self.attention_parameters + 2 * self.hidden
        router = self.hidden * self.experts + self.shared_experts * self.expert_parameters
        return (
            self.layers * per_layer
            + dense * 3 * self.hidden * self.intermediate
            + self.moe_layers * router
        )

    @property
    def embedding_parameters(self) -> int:
        """Parameters of input embedding and output head, one matrix where tied."""
        return self.vocab * self.hidden * (1 if self.tie_word_embeddings else 2)

    @property
    def parameters(self) -> int:
        """Total parameters.

        >>> round(transformer("Llama-3.1-8B").parameters / 1e9, 2)
        8.03
        """
        experts = self.moe_layers * self.experts * self.expert_parameters
        final_norm = self.hidden
        return self.shared_layer_parameters + experts + self.embedding_parameters + final_norm

    @property
    def active_parameters(self) -> int:
        """Parameters that one token uses, embeddings included.

        >>> round(transformer("Mixtral-8x7B-v0.1").active_parameters / 1e9, 1)
        12.9
        """
        idle = self.moe_layers * (self.experts - self.experts_per_token)
        return self.parameters - idle * self.expert_parameters

    def weight_bytes(self, bits_per_weight: float, *, embedding_bits: float = 16.0) -> float:
        """Return the bytes of all weights; embedding and output head keep their own width.

        >>> round(transformer("Llama-3.1-8B").weight_bytes(16) / 1e9, 1)
        16.1
        """
        body = self.parameters - self.embedding_parameters
        return (body * bits_per_weight + self.embedding_parameters * embedding_bits) / 8.0

    @property
    def kv_values_per_layer(self) -> int:
        """Cached values a token and layer."""
        if self.mla_ranks is not None:
            return self.mla_ranks[1] + self.mla_ranks[3]
        return 2 * self.kv_heads * self.head_dim

    def kv_bytes_per_token(self, bits: float) -> float:
        """Return the cache bytes of one more token, no window being full.

        >>> transformer("Llama-3.1-8B").kv_bytes_per_token(16)
        131072.0
        """
        return self.layers * self.kv_values_per_layer * bits / 8.0

    def cached_tokens(self, tokens: ArrayLike) -> NDArray[np.float64]:
        """Return the tokens kept, summed over the layers; sliding layers keep a window."""
        tokens = np.asarray(tokens, dtype=np.float64)
        full = (self.layers - self.sliding_layers) * tokens
        return np.asarray(full + self.sliding_layers * np.minimum(tokens, self._window))

    def kv_bytes(self, tokens: ArrayLike, bits: float) -> NDArray[np.float64]:
        """Return the cache bytes of one sequence of `tokens` tokens (any shape).

        >>> model = transformer("Gemma-3-27B")
        >>> bool(model.kv_bytes(32768, 16) < 32768 * model.kv_bytes_per_token(16) / 5)
        True
        """
        return self.cached_tokens(tokens) * (self.kv_values_per_layer * bits / 8.0)

    @property
    def _window(self) -> float:
        return float(self.sliding_window) if self.sliding_layers else np.inf


def _from_row(row: Mapping[str, str]) -> Transformer:
    counts: dict[str, Any] = {column: int(row[column] or 0) for column in _COUNTS}
    ranks = _MLA.match(row["attention"])
    return Transformer(
        name=row["model"],
        **counts,
        tie_word_embeddings=row["tie_word_embeddings"] == "true",
        attention=row["attention"].partition(" ")[0],
        mla_ranks=_ranks(ranks) if ranks else None,
        qk_norm=row["qk_norm"] == "yes",
        attention_bias=row["attn_bias"],
        published_parameters=_billions(row["total_params_published_b"]),
        published_active_parameters=_billions(row["active_params_published_b"]),
        source=Source(source=row["source"], date=row["date"], flag=row["flag"]),
    )


def _ranks(found: re.Match[str]) -> tuple[int, int, int, int, int]:
    q, kv, nope, rope, v = (int(group) for group in found.groups())
    return q, kv, nope, rope, v


def _billions(text: str) -> float | None:
    return float(text) * 1e9 if text else None


@cache
def _catalogue() -> Mapping[str, Transformer]:
    rows = catalogue_rows("archwright.llm", "architectures.csv")
    return MappingProxyType({row["model"]: _from_row(row) for row in rows})


def transformers() -> list[Transformer]:
    """Return every transformer of the catalogue, in its order.

    >>> len(transformers()) > 40
    True
    """
    return list(_catalogue().values())


def transformer(name: str) -> Transformer:
    """Return a transformer by name; case does not matter.

    >>> transformer("qwen3-32b").layers
    64

    Raises:
        SpecificationError: no such model; the message names the nearest one.
    """
    by_key = {known.lower(): known for known in _catalogue()}
    found = by_key.get(name.strip().lower())
    if found is None:
        raise SpecificationError(unknown("model", name, _catalogue()))
    return _catalogue()[found]
