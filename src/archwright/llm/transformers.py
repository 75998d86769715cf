"""The catalogue of transformers: shapes copied from their makers' configuration files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from archwright.errors import SpecificationError, unknown
from archwright.hardware.tables import catalogue_rows
from archwright.llm.architecture import Transformer
from archwright.llm.hugging_face import load_config
from archwright.provenance import Source

__all__ = [
    "Transformer",
    "catalogue_name",
    "model_path",
    "read_model",
    "transformer",
    "transformers",
]

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
    """Return a transformer by its name, Hugging Face id, or path of a ``config.json``.

    Case does not matter. A name of the catalogue means that model, whatever files there are; a
    path is relative to the current folder. What a study names goes through `read_model`.

    A maker or a number format in the name changes no shape, so an id that the catalogue lacks
    is found without them.

    >>> transformer("qwen3-32b").layers
    64
    >>> transformer("meta-llama/Llama-3.1-8B-Instruct").name
    'Llama-3.1-8B'
    >>> transformer("nvidia/Llama-3.1-8B-Instruct-FP8").name
    'Llama-3.1-8B'

    Raises:
        SpecificationError: no such model, the message names the nearest one; or a file that
            describes none that can be read.
    """
    found = _found(name)
    if found is not None:
        return _catalogue()[found]
    path = model_path(name)
    if path is not None:
        return load_config(path)
    known = [*_catalogue(), *(i for m in transformers() for i in m.hf_ids if "/" in name)]
    no_file = "; no such file or folder either" if "/" in name else ""
    raise SpecificationError(unknown("model", name, known) + no_file)


def catalogue_name(name: str) -> str:
    """Return the catalogue's name of a model that has several, any other name as it is.

    >>> catalogue_name("meta-llama/llama-3.1-8b"), catalogue_name("mine/config.json")
    ('Llama-3.1-8B', 'mine/config.json')
    """
    return _names().get(name.strip().lower(), name)


def model_path(name: str, folder: Path = Path()) -> Path | None:
    """Return the ``config.json`` that a name means, None for a name of the catalogue.

    A name that ends in ``.json`` is a file, there or not; one of a folder means the
    ``config.json`` in it. A folder without such a file, named like a model, is no model.

    >>> model_path("Llama-3.1-8B") is None, model_path("mine/config.json", Path("studies"))
    (True, PosixPath('studies/mine/config.json'))

    Args:
        name: as written by the user.
        folder: what the name is relative to, such as the folder of a study.
    """
    path = folder / Path(name).expanduser()
    if name.endswith(".json"):
        return path
    if path.is_dir():
        config = path / "config.json"
        return config if config.is_file() or name.strip().lower() not in _names() else None
    return None


def read_model(name: str, folder: Path = Path()) -> Transformer:
    """Return the model that a study in a folder names: a file or folder there, else by name.

    Raises:
        SpecificationError: as `transformer` and `load_config` do.
    """
    path = model_path(name, folder)
    return transformer(name) if path is None else load_config(path)
