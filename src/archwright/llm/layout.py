"""What one rank holds of a transformer: widths of its matrices and numbers of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Literal

from archwright.errors import SpecificationError, unknown
from archwright.formats import kv_format as _kv_format
from archwright.formats import weight_format as _weight_format
from archwright.hardware.tables import catalogue_toml
from archwright.llm.architecture import Transformer
from archwright.llm.parallel import ParallelPlan

__all__ = [
    "PARTS",
    "Layout",
    "Matrix",
    "PartFormat",
    "Parts",
    "layout",
    "part_formats",
    "stated_parts",
]

PARTS = ("attention", "dense", "shared", "experts", "router", "head", "embedding")
"""Parts of a transformer that may have number formats of their own."""
_INPUT_BITS = {"fp32": 32, "fp16": 16, "bf16": 16, "fp8": 8, "int8": 8, "fp4": 4}

Rows = Literal["tokens", "context", "decode", "sampled"]


@dataclass(frozen=True)
class Matrix:
    """A matrix product of every layer of a kind, on one rank.

    Attributes:
        name: name of the operator.
        layers: how often a step runs it.
        rows: which tokens it is for.
        n: output width on this rank.
        k: input width on this rank.
        bias: values of its bias on this rank.
        part: whose number format it has, one of `PARTS`.
    """

    name: str
    layers: int
    rows: Rows
    n: int
    k: int
    bias: int = 0
    part: str = "dense"


@dataclass(frozen=True)
class PartFormat:
    """The number format of a part.

    Attributes:
        name: name of the weight format.
        dtype: kernel format of its products.
        bits: bits a weight.
        input_bits: bits an input of a product.
    """

    name: str
    dtype: str
    bits: float
    input_bits: int


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What one rank holds of a stage, or of every stage in succession.

    Attributes:
        model: the transformer.
        plan: how it is cut.
        first: the input embedding is here.
        last: the output head is here.
        full: layers with full attention.
        sliding: layers with a window.
        dense: layers with a dense block.
        moe: layers with experts.
        transfers: sends to a next stage.
        heads: query heads of this rank.
        kv_heads: KV heads of this rank.
        matrices: all products but those of the routed experts.
        expert_columns: width of an expert on this rank.
        formats: number format of each part.
        kv_dtype: kernel format of the cache.
        kv_bits: bits a cached value.
    """

    model: Transformer
    plan: ParallelPlan
    first: bool
    last: bool
    full: int
    sliding: int
    dense: int
    moe: int
    transfers: int
    heads: int
    kv_heads: int
    matrices: tuple[Matrix, ...]
    expert_columns: int
    formats: Mapping[str, PartFormat]
    kv_dtype: str
    kv_bits: float

    @property
    def layers(self) -> int:
        """Layers of this stage."""
        return self.full + self.sliding

    @property
    def expert_weights(self) -> int:
        """Matrix weights of one expert on this rank."""
        inner = (3 if self.model.gated else 2) * self.expert_columns
        return inner * self.model.hidden

    @property
    def kv_values(self) -> int:
        """Cached values a token and layer on this rank; the latent of MLA is not cut."""
        if self.model.mla_ranks is not None:
            return self.model.kv_values_per_layer
        return 2 * self.kv_heads * self.model.head_dim


Parts = tuple[tuple[str, str], ...]
"""Part to name of its format, of the parts that do not follow."""


def stated_parts(formats: Mapping[str, str] | Parts | None) -> Parts:
    """Return stated formats of parts in an order of their own.

    Raises:
        SpecificationError: an unknown part.
    """
    stated = dict(formats or {})
    for part in stated:
        if part not in PARTS:
            raise SpecificationError(unknown("part", part, PARTS))
    return tuple(sorted(stated.items()))


@lru_cache(maxsize=1024)
def part_formats(
    model: Transformer, weight_format: str, stated: Parts = ()
) -> Mapping[str, PartFormat]:
    """Return the number format of each part of a model.

    Router, output head and embedding are 16-bit floats; further parts stay so in formats whose
    published checkpoints leave them, by the catalogue ``kernels.toml``. What is stated holds.

    >>> from archwright.llm import transformer
    >>> found = part_formats(transformer("gpt-oss-20b"), "mxfp4")
    >>> found["experts"].bits, found["attention"].name
    (4.25, 'bf16')
    """
    names = dict.fromkeys(PARTS, weight_format)
    names |= dict.fromkeys(("router", "head", "embedding"), "bf16")
    for rule in _kernels()["parts"]:
        of_kind = rule.get("attention_kind", model.attention) == model.attention
        if rule["format"] == weight_format and of_kind:
            names |= dict.fromkeys(rule["sixteen_bit"], "bf16")
    names |= dict(stated)
    return {part: _part_format(part, name) for part, name in names.items()}


def _part_format(part: str, name: str) -> PartFormat:
    found, kernels = _weight_format(name), _kernels()
    dtype = kernels["weights"].get(found.name, found.compute[0])
    if part == "experts":
        dtype = kernels["experts"].get(found.name, dtype)
    return PartFormat(found.name, dtype, found.bits_per_weight, _INPUT_BITS[found.compute[0]])


@lru_cache(maxsize=4096)
def layout(
    model: Transformer,
    plan: ParallelPlan,
    weight_format: str,
    kv_format: str,
    stage: int | None,
    stated: Parts = (),
) -> Layout:
    """Return what one rank of a stage holds, or of every stage for None.

    Raises:
        SpecificationError: the model cannot be cut so, or an unknown format or stage.
    """
    plan.check(model)
    layers = plan.stage_layers(model, stage)
    first, last = layers.start == 0, layers.stop == model.layers
    sliding = sum(model.slides(layer) for layer in layers)
    moe = sum(model.has_experts(layer) for layer in layers)
    heads = model.heads // plan.tensor
    kv_heads = max(model.kv_heads // plan.tensor, 1)
    dense = len(layers) - moe
    matrices = [
        *_attention(model, heads, kv_heads, len(layers)),
        *_feed_forward(model, plan.tensor, dense, moe),
    ]
    if last:
        rows = -(-model.vocab // plan.tensor)  # engines pad the vocabulary
        matrices.append(Matrix("lm_head", 1, "sampled", rows, model.hidden, 0, "head"))
    return Layout(
        model=model,
        plan=plan,
        first=first,
        last=last,
        full=len(layers) - sliding,
        sliding=sliding,
        dense=dense,
        moe=moe,
        transfers=plan.pipeline - 1 if stage is None else int(not last),
        heads=heads,
        kv_heads=kv_heads,
        matrices=tuple(matrices),
        expert_columns=model.moe_intermediate // plan.moe_tensor,
        formats=part_formats(model, weight_format, stated),
        kv_dtype=_kernels()["kv"].get(kv_format, kv_format),
        kv_bits=_kv_format(kv_format).bits_per_value,
    )


@cache
def _kernels() -> Mapping[str, Any]:
    return catalogue_toml("archwright.llm", "kernels.toml")


def _attention(model: Transformer, heads: int, kv_heads: int, layers: int) -> list[Matrix]:
    d, e, part = model.hidden, model.head_dim, "attention"
    out_bias = d if model.attention_bias == "qkvo" else 0
    if model.mla_ranks is None:
        n = (heads + 2 * kv_heads) * e
        bias = 0 if model.attention_bias == "no" else n
        return [
            Matrix("attention.qkv", layers, "tokens", n, d, bias, part),
            Matrix("attention.output", layers, "tokens", d, heads * e, out_bias, part),
        ]
    q, kv, nope, rope, v = model.mla_ranks
    down, up = q + kv + rope, heads * (nope + rope)
    expand = heads * (nope + v)
    # The latents are small and every rank needs them whole, so their matrix is not cut.
    return [
        Matrix("attention.down", layers, "tokens", down, d, down if out_bias else 0, part),
        Matrix("attention.q_up", layers, "tokens", up, q or d, 0, part),
        Matrix("attention.kv_up", layers, "context", expand, kv, 0, part),
        Matrix("attention.absorb", layers, "decode", expand, kv, 0, part),
        Matrix("attention.output", layers, "tokens", d, heads * v, out_bias, part),
    ]


def _feed_forward(model: Transformer, tensor: int, dense: int, moe: int) -> list[Matrix]:
    d, inputs = model.hidden, 2 if model.gated else 1
    up = "gate_up" if model.gated else "up"
    matrices = []
    if dense:
        f = model.intermediate // tensor
        biases = (inputs * f, d) if model.mlp_bias else (0, 0)
        matrices += [
            Matrix(f"mlp.{up}", dense, "tokens", inputs * f, d, biases[0]),
            Matrix("mlp.down", dense, "tokens", d, f, biases[1]),
        ]
    if moe:
        bias = model.experts if model.expert_bias else 0
        matrices.append(Matrix("moe.router", moe, "tokens", model.experts, d, bias, "router"))
        f = model.shared_experts * model.moe_intermediate // tensor
        if f:
            biases = (inputs * f, d * model.shared_experts) if model.expert_bias else (0, 0)
            matrices += [
                Matrix(f"moe.shared.{up}", moe, "tokens", inputs * f, d, biases[0], "shared"),
                Matrix("moe.shared.down", moe, "tokens", d, f, biases[1], "shared"),
            ]
    return matrices
