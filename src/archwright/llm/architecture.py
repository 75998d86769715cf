"""The shape of a decoder-only transformer: exact parameter counts and cache sizes from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from archwright.errors import SpecificationError, unknown
from archwright.provenance import Source
from archwright.specification import option

__all__ = ["Transformer", "parameter_breakdown"]

_STATED = Source(source="stated by the user", flag="assumed")
_BIASES = ("no", "qkv", "qkvo")
_POSITIVE = (
    *("layers", "hidden", "heads", "kv_heads", "head_dim", "vocab", "max_position"),
    "norms_per_layer",
)
_NOT_NEGATIVE = (
    *("intermediate", "experts", "experts_per_token", "shared_experts", "moe_intermediate"),
    *("dense_layers_first", "sliding_window"),
)


@dataclass(frozen=True, kw_only=True)
class Transformer:
    """The shape of a decoder-only transformer.

    A layer is attention (MHA, GQA, MQA or MLA, over the whole context or a sliding window) and
    a feed-forward block (gated or plain, dense or a mixture of experts). Two patterns, repeated
    over the depth, say which layers are which, so that the depth can vary alone.

    >>> tiny = Transformer(
    ...     name="tiny", layers=2, hidden=64, heads=4, kv_heads=2, head_dim=16,
    ...     intermediate=128, vocab=1000, max_position=512,
    ... )
    >>> tiny.attention, tiny.parameters
    ('GQA', 202048)

    Attributes:
        name: family, version and size, without the variant.
        layers: number of layers.
        hidden: model width.
        heads: query heads.
        kv_heads: key-value heads.
        head_dim: width of one head (of query and key for MLA).
        intermediate: width of one dense feed-forward block.
        vocab: padded rows of the embedding.
        experts: routed experts a layer, 0 for dense models.
        experts_per_token: routed experts that one token uses.
        shared_experts: experts that every token uses besides.
        moe_intermediate: width of one expert.
        dense_layers_first: layers before the first one with experts.
        moe_pattern: ``M`` (experts) and ``D`` (dense), repeated over the depth from layer 0;
            the first `dense_layers_first` layers are dense whatever it says.
        tie_word_embeddings: input and output embedding are one matrix.
        sliding_window: tokens that a sliding layer sees, its own included; 0 for none.
        sliding_pattern: ``S`` (sliding) and ``F`` (full attention), repeated over the depth from
            layer 0; without a window no layer slides.
        max_position: longest context, tokens.
        mla_ranks: for MLA: ranks of query (0: queries are not compressed) and key-value, widths
            without rotation, with rotation and of the values.
        qk_norm: queries and keys are normalized.
        qk_norm_over: one norm for all heads (``head``), or over the ``projection``.
        attention_bias: ``no``, ``qkv`` or ``qkvo``; for MLA ``qkvo`` is a bias of both
            down-projections and the output.
        attention_sinks: each query head has a learned sink.
        gated: feed-forward blocks have a gate (SwiGLU, GeGLU): three matrices, not two.
        mlp_bias: the matrices of dense feed-forward blocks have biases.
        expert_bias: router and experts have biases.
        norms_per_layer: norms of model width a layer, 4 where outputs are normalized too.
        published_parameters: total as the maker prints it, with the digits it prints.
        published_active_parameters: the same of the parameters one token uses.
        hf_ids: names on Hugging Face that have this shape; some allow longer contexts.
        source: where the shape comes from.

    Raises:
        SpecificationError: a count out of range, or fields that contradict each other.
    """

    name: str
    layers: int = option(doc="number of layers", low=1)
    hidden: int = option(doc="model width", low=1)
    heads: int = option(doc="query heads", low=1)
    kv_heads: int = option(doc="key-value heads", low=1)
    head_dim: int = option(doc="width of one head", low=1)
    intermediate: int = option(doc="width of one dense feed-forward block", low=0)
    vocab: int = option(doc="rows of the embedding", low=1)
    experts: int = option(0, doc="routed experts a layer, 0 for dense models", low=0)
    experts_per_token: int = option(0, doc="routed experts a token uses", low=0)
    shared_experts: int = option(0, doc="experts every token uses besides", low=0)
    moe_intermediate: int = option(0, doc="width of one expert", low=0)
    dense_layers_first: int = option(0, doc="layers before the first with experts", low=0)
    moe_pattern: str = option("M", doc="M experts, D dense; repeated over the depth")
    tie_word_embeddings: bool = option(False, doc="input and output embedding are one matrix")
    sliding_window: int = option(0, doc="tokens a sliding layer sees", unit="tokens", low=0)
    sliding_pattern: str = option("S", doc="S sliding, F full; repeated over the depth")
    max_position: int = option(doc="longest context", unit="tokens", low=1)
    mla_ranks: tuple[int, int, int, int, int] | None = option(
        None, doc="MLA: ranks of query and key-value, widths nope, rope, value", low=0
    )
    qk_norm: bool = option(False, doc="queries and keys are normalized")
    qk_norm_over: Literal["head", "projection"] = option("head", doc="what a q or k norm spans")
    attention_bias: str = option("no", doc="which projections have biases", choices=_BIASES)
    attention_sinks: bool = option(False, doc="each query head has a learned sink")
    gated: bool = option(True, doc="feed-forward blocks have a gate")
    mlp_bias: bool = option(False, doc="dense feed-forward blocks have biases")
    expert_bias: bool = option(False, doc="router and experts have biases")
    norms_per_layer: int = option(2, doc="norms of model width a layer", low=1, high=4)
    published_parameters: float | None = option(None, doc="total as the maker prints it")
    published_active_parameters: float | None = option(None, doc="active as the maker prints it")
    hf_ids: tuple[str, ...] = option((), doc="names on Hugging Face with this shape")
    source: Source = option(_STATED, doc="where the shape comes from")

    def __post_init__(self) -> None:
        for field, least in [*((n, 1) for n in _POSITIVE), *((n, 0) for n in _NOT_NEGATIVE)]:
            value = getattr(self, field)
            if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
                raise self._wrong(field, value, "a whole number")
            if value < least:
                raise self._wrong(field, value, f"{least} or more")
        for field, letters in (("moe_pattern", "MD"), ("sliding_pattern", "SF")):
            value = getattr(self, field)
            if not value or set(value) - set(letters):
                raise self._wrong(
                    field, value, f"a text of the letters {letters[0]}, {letters[1]}"
                )
        for field in ("mla_ranks", "hf_ids"):
            if isinstance(getattr(self, field), list):
                object.__setattr__(self, field, tuple(getattr(self, field)))
        if self.attention_bias not in _BIASES:
            raise SpecificationError(
                f"{self.name}: {unknown('attention_bias', self.attention_bias, _BIASES)}"
            )
        if self.heads % self.kv_heads:
            raise self._wrong("kv_heads", self.kv_heads, f"a divisor of heads {self.heads}")
        self._check_latent()
        self._check_feed_forward()

    def _check_latent(self) -> None:
        if self.mla_ranks is None:
            return
        if len(self.mla_ranks) != 5 or min(self.mla_ranks) < 0 or min(self.mla_ranks[1:]) < 1:
            raise self._wrong(
                "mla_ranks", self.mla_ranks, "five numbers: q_lora (or 0), kv_lora, nope, rope, v"
            )
        if self.head_dim != self.mla_ranks[2] + self.mla_ranks[3]:
            nope, rope = self.mla_ranks[2:4]
            raise self._wrong("head_dim", self.head_dim, f"{nope} + {rope}, nope and rope of MLA")
        if self.sliding_window:
            raise self._wrong("sliding_window", self.sliding_window, "0: MLA has no window here")

    def _check_feed_forward(self) -> None:
        if not self.experts:
            for field in ("experts_per_token", "shared_experts"):
                if getattr(self, field):
                    raise self._wrong(field, getattr(self, field), "0, as experts is 0")
        else:
            if not 1 <= self.experts_per_token <= self.experts:
                raise self._wrong(
                    "experts_per_token", self.experts_per_token, f"1 to experts {self.experts}"
                )
            if not self.moe_intermediate:
                raise self._wrong(
                    "moe_intermediate", 0, f"1 or more, as experts is {self.experts}"
                )
            if self.dense_layers_first > self.layers:
                raise self._wrong(
                    "dense_layers_first", self.dense_layers_first, f"0 to layers {self.layers}"
                )
        if not self.intermediate and self.moe_layers < self.layers:
            raise self._wrong("intermediate", 0, "1 or more, as some layers are dense")

    def _wrong(self, field: str, value: object, expected: str) -> SpecificationError:
        return SpecificationError(f"{self.name}: {field}: {value!r}, expected {expected}")

    @cached_property
    def attention(self) -> str:
        """``MHA``, ``GQA``, ``MQA`` or ``MLA``."""
        if self.mla_ranks is not None:
            return "MLA"
        if self.kv_heads == self.heads:
            return "MHA"
        return "MQA" if self.kv_heads == 1 else "GQA"

    def has_experts(self, layer: int) -> bool:
        """Return whether a layer, counted from 0, has experts."""
        pattern = self.moe_pattern
        return (
            self.experts > 0
            and layer >= self.dense_layers_first
            and pattern[layer % len(pattern)] == "M"
        )

    def slides(self, layer: int) -> bool:
        """Return whether a layer, counted from 0, sees only a window."""
        pattern = self.sliding_pattern
        return self.sliding_window > 0 and pattern[layer % len(pattern)] == "S"

    @cached_property
    def moe_layers(self) -> int:
        """Layers with experts."""
        return sum(self.has_experts(layer) for layer in range(self.layers))

    @cached_property
    def sliding_layers(self) -> int:
        """Layers that see only a window."""
        return sum(self.slides(layer) for layer in range(self.layers))

    @cached_property
    def attention_parameters(self) -> int:
        """Parameters of the attention of one layer, norms of model width left out."""
        if self.mla_ranks is not None:
            q, kv, nope, rope, v = self.mla_ranks
            down = self.hidden * (q + kv + rope) + q + kv  # the latents are normalized
            up = (q or self.hidden) * self.heads * (nope + rope) + kv * self.heads * (nope + v)
            bias = q + kv + rope + self.hidden if self.attention_bias == "qkvo" else 0
            return down + up + self.heads * v * self.hidden + bias
        queries = self.heads * self.head_dim
        keys = self.kv_heads * self.head_dim
        biases = {"no": 0, "qkv": queries + 2 * keys, "qkvo": queries + 2 * keys + self.hidden}
        spans = {"head": 2 * self.head_dim, "projection": queries + keys}
        norm = spans[self.qk_norm_over] if self.qk_norm else 0
        sinks = self.heads if self.attention_sinks else 0
        matrices = 2 * self.hidden * (queries + keys)
        return matrices + biases[self.attention_bias] + norm + sinks

    def _feed_forward_parameters(self, width: int, bias: bool) -> int:
        inner = (2 if self.gated else 1) * width
        return self.hidden * (inner + width) + (inner + self.hidden if bias else 0)

    @cached_property
    def dense_parameters(self) -> int:
        """Parameters of one dense feed-forward block."""
        return self._feed_forward_parameters(self.intermediate, self.mlp_bias)

    @cached_property
    def expert_parameters(self) -> int:
        """Parameters of one expert."""
        return self._feed_forward_parameters(self.moe_intermediate, self.expert_bias)

    @cached_property
    def router_parameters(self) -> int:
        """Parameters of the router of one layer with experts."""
        return self.experts * (self.hidden + (1 if self.expert_bias else 0))

    @cached_property
    def shared_layer_parameters(self) -> int:
        """Parameters of all layers that every token uses: all but the routed experts."""
        per_layer = self.attention_parameters + self.norms_per_layer * self.hidden
        moe = self.router_parameters + self.shared_experts * self.expert_parameters
        return (
            self.layers * per_layer
            + (self.layers - self.moe_layers) * self.dense_parameters
            + self.moe_layers * moe
        )

    @cached_property
    def embedding_parameters(self) -> int:
        """Parameters of input embedding and output head, one matrix where tied."""
        return self.vocab * self.hidden * (1 if self.tie_word_embeddings else 2)

    @cached_property
    def parameters(self) -> int:
        """Total parameters.

        >>> from archwright.llm import transformer
        >>> round(transformer("Llama-3.1-8B").parameters / 1e9, 2)
        8.03
        """
        experts = self.moe_layers * self.experts * self.expert_parameters
        final_norm = self.hidden
        return self.shared_layer_parameters + experts + self.embedding_parameters + final_norm

    @cached_property
    def active_parameters(self) -> int:
        """Parameters that one token uses, embeddings included.

        >>> from archwright.llm import transformer
        >>> round(transformer("Mixtral-8x7B-v0.1").active_parameters / 1e9, 1)
        12.9
        """
        idle = self.moe_layers * (self.experts - self.experts_per_token)
        return self.parameters - idle * self.expert_parameters

    def weight_bytes(self, bits_per_weight: float, *, embedding_bits: float = 16.0) -> float:
        """Return the bytes of all weights; embedding and output head keep their own width.

        >>> from archwright.llm import transformer
        >>> round(transformer("Llama-3.1-8B").weight_bytes(16) / 1e9, 1)
        16.1
        """
        body = self.parameters - self.embedding_parameters
        return (body * bits_per_weight + self.embedding_parameters * embedding_bits) / 8.0

    @cached_property
    def kv_values_per_layer(self) -> int:
        """Cached values a token and layer."""
        if self.mla_ranks is not None:
            return self.mla_ranks[1] + self.mla_ranks[3]
        return 2 * self.kv_heads * self.head_dim

    def kv_bytes_per_token(self, bits: float) -> float:
        """Return the cache bytes of one more token, no window being full.

        >>> from archwright.llm import transformer
        >>> transformer("Llama-3.1-8B").kv_bytes_per_token(16)
        131072.0
        """
        return self.layers * self.kv_values_per_layer * bits / 8.0

    def cached_tokens(self, tokens: ArrayLike) -> NDArray[np.float64]:
        """Return the tokens kept, summed over the layers; sliding layers keep a window."""
        tokens = np.asarray(tokens, dtype=np.float64)
        full = (self.layers - self.sliding_layers) * tokens
        window = float(self.sliding_window) if self.sliding_layers else np.inf
        return np.asarray(full + self.sliding_layers * np.minimum(tokens, window))

    def kv_bytes(self, tokens: ArrayLike, bits: float) -> NDArray[np.float64]:
        """Return the cache bytes of one sequence of `tokens` tokens (any shape).

        >>> from archwright.llm import transformer
        >>> model = transformer("Gemma-3-27B")
        >>> bool(model.kv_bytes(32768, 16) < 32768 * model.kv_bytes_per_token(16) / 5)
        True
        """
        return self.cached_tokens(tokens) * (self.kv_values_per_layer * bits / 8.0)


def parameter_breakdown(model: Transformer) -> dict[str, int]:
    """Return the parameters by part; they add up to all of them.

    >>> from archwright.llm import transformer
    >>> parts = parameter_breakdown(transformer("Qwen3-0.6B"))
    >>> parts["lm_head"], parts["mlp"], sum(parts.values())
    (0, 264241152, 596049920)

    Returns:
        Counts of ``embedding``, ``attention`` (with its biases, sinks and inner norms), ``mlp``
        (dense blocks), ``router``, ``experts``, ``shared_experts``, ``norms`` and ``lm_head``
        (0 where tied).
    """
    table = model.vocab * model.hidden
    moe, expert = model.moe_layers, model.expert_parameters
    return {
        "embedding": table,
        "attention": model.layers * model.attention_parameters,
        "mlp": (model.layers - moe) * model.dense_parameters,
        "router": moe * model.router_parameters,
        "experts": moe * model.experts * expert,
        "shared_experts": moe * model.shared_experts * expert,
        "norms": (model.layers * model.norms_per_layer + 1) * model.hidden,
        "lm_head": model.embedding_parameters - table,
    }
