"""Read a transformer from a Hugging Face ``config.json``.

Keys that the file leaves out take the value of the type's own configuration class; the
catalogue ``hugging_face.toml`` holds these. Keys that change no count are passed over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from archwright.errors import SpecificationError, nearest, unknown
from archwright.llm.architecture import Transformer
from archwright.llm.hugging_face_config import Config
from archwright.llm.hugging_face_types import READERS
from archwright.provenance import Source

__all__ = ["load_config", "model_types"]

_TEXT = {"gemma3": "gemma3_text", "llama4": "llama4_text"}
"""Types whose text part stands in a table of its own, and the type of that part."""
_MAYBE_TEXT = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
"""Types whose files have such a table, or the same keys at the top."""


def model_types() -> list[str]:
    """Return the values of ``model_type`` that can be read.

    >>> "qwen3_moe" in model_types()
    True
    """
    return sorted(READERS)


def load_config(
    source: str | PathLike[str] | Mapping[str, Any], *, name: str | None = None
) -> Transformer:
    """Read the transformer that a Hugging Face ``config.json`` describes.

    Of a file with a vision part the text part is read. Prediction heads besides the language
    model (multi-token prediction) are not counted.

    >>> model = load_config({
    ...     "model_type": "qwen2", "hidden_size": 896, "num_hidden_layers": 24,
    ...     "num_attention_heads": 14, "num_key_value_heads": 2, "intermediate_size": 4864,
    ...     "vocab_size": 151936, "tie_word_embeddings": True,
    ... }, name="Qwen2.5-0.5B")
    >>> model.parameters
    494032768

    Args:
        source: the file, the folder that holds it, or its content as a mapping.
        name: name of the model; by default the one in the file, else that of the folder, or of
            the file where it is not called ``config.json``.

    Raises:
        SpecificationError: no such file, not JSON, a type that cannot be read (the message has
            the nearest), a missing key, or a value out of range or contradicting another.
    """
    if isinstance(source, Mapping):
        table, where, folder = source, "config.json", ""
    else:
        path = Path(source)
        path = path / "config.json" if path.is_dir() else path
        named = path.resolve()
        folder = named.parent.name if named.name == "config.json" else named.stem
        table, where = _read(path), str(path)
    kind = table.get("model_type")
    if kind is None:
        raise SpecificationError(
            f"{where}: the key 'model_type' is missing{nearest('model_type', table)}, expected "
            f"one of {', '.join(model_types())}"
        )
    if not isinstance(kind, str) or kind not in READERS:
        raise SpecificationError(f"{where}: {unknown('model_type', kind, model_types())}")
    text = _text_part(table, kind, where)
    kind = _TEXT.get(kind, kind)
    config = Config(text, kind, where)
    config.check_required()
    label = name or table.get("_name_or_path") or folder or kind
    fields = {**config.shape(), **READERS[kind](config)}
    try:
        return Transformer(name=str(label), source=Source(source=where), **fields)
    except SpecificationError as error:
        raise SpecificationError(f"{where}: {error}") from None


def _text_part(table: Mapping[str, Any], kind: str, where: str) -> Mapping[str, Any]:
    """Return the keys of the language model; tied embeddings are said beside its table."""
    if kind not in _TEXT and not (kind in _MAYBE_TEXT and "text_config" in table):
        return table
    text = table.get("text_config")
    if not isinstance(text, Mapping):
        raise SpecificationError(
            f"{where}: text_config: {text!r}, expected a table, as model_type is {kind!r}"
        )
    tied = {"tie_word_embeddings": True} if kind == "gemma3" else {}
    tied |= {k: v for k, v in table.items() if k == "tie_word_embeddings"}
    return {**tied, **text}


def _read(path: Path) -> Mapping[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecificationError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SpecificationError(f"{path}: is not JSON: {error}") from None
    if not isinstance(table, Mapping):
        raise SpecificationError(f"{path}: expected a table of keys, found {table!r}")
    return table
