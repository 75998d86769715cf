"""The catalogue of transformers: shapes copied from their makers' configuration files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from archwright.errors import SpecificationError, unknown
from archwright.hardware.tables import catalogue_rows
from archwright.llm.architecture import Transformer
from archwright.provenance import Source

__all__ = ["Transformer", "transformer", "transformers"]

_MLA = re.compile(r"MLA \(q_lora (\d+), kv_lora (\d+), nope (\d+), rope (\d+), v (\d+)\)")

_COUNTS = (
    *("layers", "hidden", "heads", "kv_heads", "head_dim", "intermediate", "vocab"),
    *("experts", "experts_per_token", "shared_experts", "moe_intermediate"),
    *("dense_layers_first", "sliding_window", "max_position"),
)
_QK_NORM = {"no": (False, "head"), "yes": (True, "head"), "projection": (True, "projection")}


def _from_row(row: Mapping[str, str]) -> Transformer:
    counts: dict[str, Any] = {column: int(row[column] or 0) for column in _COUNTS}
    ranks = _MLA.match(row["attention"])
    extras = row["extras"].split()
    qk_norm, over = _QK_NORM[row["qk_norm"]]
    return Transformer(
        name=row["model"],
        **counts,
        moe_pattern=row["moe_pattern"] or "M",
        sliding_pattern=row["sliding_pattern"] or "S",
        tie_word_embeddings=row["tie_word_embeddings"] == "true",
        mla_ranks=_ranks(ranks) if ranks else None,
        qk_norm=qk_norm,
        qk_norm_over=over,  # type: ignore[arg-type]
        attention_bias=row["attn_bias"],
        attention_sinks="sinks" in extras,
        expert_bias="expert_bias" in extras,
        norms_per_layer=4 if "four_norms" in extras else 2,
        published_parameters=_billions(row["total_params_published_b"]),
        published_active_parameters=_billions(row["active_params_published_b"]),
        hf_ids=tuple(row["hf_id"].split()),
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


@cache
def _names() -> Mapping[str, str]:
    """Return the names and Hugging Face ids in lower case with the name of the model."""
    names = {
        alias.lower(): model.name for model in _catalogue().values() for alias in model.hf_ids
    }
    return MappingProxyType(names | {name.lower(): name for name in _catalogue()})


def transformers() -> list[Transformer]:
    """Return every transformer of the catalogue, in its order.

    >>> len(transformers()) > 40
    True
    """
    return list(_catalogue().values())


_FORMATS = re.compile(
    r"[-_.](?:fp8|nvfp4|mxfp4|fp4|bf16|fp16|awq|gptq|int[48]|w4a16|w8a8|w8a16|quantized|dynamic|block"
    r"|kv)(?=$|[-_.])"
)
"""Parts of a name that say a number format."""


def _found(name: str) -> str | None:
    """Return the model that a name means: itself, or without what it says of formats."""
    key, names = name.strip().lower(), _names()
    if key in names:
        return names[key]
    plain = _FORMATS.sub("", key.rpartition("/")[2])
    for alias, model in names.items():
        if plain == alias.rpartition("/")[2]:
            return model
    return None


def transformer(name: str) -> Transformer:
    """Return a transformer by its name or Hugging Face id; case does not matter.

    A maker or a number format in the name changes no shape, so an id that the catalogue lacks
    is found without them.

    >>> transformer("qwen3-32b").layers
    64
    >>> transformer("meta-llama/Llama-3.1-8B-Instruct").name
    'Llama-3.1-8B'
    >>> transformer("nvidia/Llama-3.1-8B-Instruct-FP8").name
    'Llama-3.1-8B'

    Raises:
        SpecificationError: no such model; the message names the nearest one.
    """
    found = _found(name)
    if found is None:
        known = [*_catalogue(), *(i for m in transformers() for i in m.hf_ids if "/" in name)]
        raise SpecificationError(unknown("model", name, known))
    return _catalogue()[found]
