"""Read a transformer from a Hugging Face ``config.json``.

Keys that the file leaves out take the value of the type's own configuration class; the
catalogue ``hugging_face.toml`` holds these. Keys that change no count are passed over.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any

from archwright.errors import SpecificationError, nearest, unknown
from archwright.hardware.tables import catalogue_toml
from archwright.llm.architecture import Transformer
from archwright.provenance import Source

__all__ = ["load_config", "model_types"]

_MISSING = object()
_SAME = {"num_experts": "num_local_experts", "n_routed_experts": "num_local_experts"}
_SAME |= {"num_local_experts": "num_experts"}
_SAME |= {"sliding_window_pattern": "_sliding_window_pattern"}
_SLIDING, _FULL = "sliding_attention", "full_attention"


class _Config:
    """A table of keys that falls back to defaults and names its place in every error."""

    def __init__(self, table: Mapping[str, Any], kind: str, where: str) -> None:
        self.table, self.kind, self.where = table, kind, where
        self.defaults: Mapping[str, Any] = _classes()[kind]

    def error(self, key: str, value: object, expected: str) -> SpecificationError:
        return SpecificationError(f"{self.where}: {key}: {value!r}, expected {expected}")

    def get(self, key: str, otherwise: Any = None) -> Any:
        """Return the value of the file, else of the class, else `otherwise`."""
        for name in (key, _SAME.get(key)):
            if name is not None and name in self.table:
                return self.table[name]
        return self.defaults.get(key, otherwise)

    def check_required(self) -> None:
        for key in self.defaults["required"]:
            if key not in self.table and _SAME.get(key) not in self.table:
                raise SpecificationError(
                    f"{self.where}: the key {key!r} is missing{nearest(key, self.table)}, "
                    f"expected a whole number ({self.kind} needs it)"
                )

    def count(self, key: str, otherwise: Any = None, *, low: int = 1) -> int:
        value = self.get(key, otherwise)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise self.error(key, value, f"a whole number of {low} or more")
        return value

    def flag(self, key: str, otherwise: bool = False) -> bool:
        value = self.get(key, otherwise)
        if not isinstance(value, bool):
            raise self.error(key, value, "true or false")
        return value

    @property
    def kv_heads(self) -> int:
        """Key-value heads: as many as query heads where the class or the file says null."""
        heads = self.count("num_attention_heads")
        if self.get("num_key_value_heads") is None:
            return heads
        kv_heads = self.count("num_key_value_heads")
        if heads % kv_heads:
            raise self.error(
                "num_key_value_heads", kv_heads, f"a divisor of num_attention_heads {heads}"
            )
        return kv_heads

    @property
    def head_dim(self) -> int:
        if self.get("head_dim") is not None:
            return self.count("head_dim")
        hidden, heads = self.count("hidden_size"), self.count("num_attention_heads")
        if hidden % heads:
            raise self.error(
                "hidden_size", hidden, f"a multiple of num_attention_heads {heads}, or a head_dim"
            )
        return hidden // heads

    def experts(self, key: str) -> dict[str, int]:
        experts, chosen = self.count(key), self.count("num_experts_per_tok")
        if chosen > experts:
            raise self.error("num_experts_per_tok", chosen, f"at most {key} {experts}")
        return {"experts": experts, "experts_per_token": chosen}

    def sliding(self, rule: Callable[[int], bool], *, used: bool = True) -> dict[str, Any]:
        """Return window and pattern: of ``layer_types`` where it stands, else of a rule.

        Args:
            rule: whether a layer, counted from 0, slides.
            used: the window is switched on.
        """
        layers = self.count("num_hidden_layers")
        window = self.get("sliding_window") if used else None
        types = self.get("layer_types")
        if types is None:
            slides = [window is not None and rule(layer) for layer in range(layers)]
        else:
            slides = self._layer_types(types, layers)
        if not any(slides):
            return {}
        if window is None:
            raise self.error("sliding_window", None, f"tokens, as layer_types has {_SLIDING}")
        return {
            "sliding_window": self.count("sliding_window"),
            "sliding_pattern": _period("".join("S" if s else "F" for s in slides)),
        }

    def _layer_types(self, types: Any, layers: int) -> list[bool]:
        if not isinstance(types, list) or len(types) != layers:
            found = len(types) if isinstance(types, list) else types
            raise self.error("layer_types", found, f"a list of num_hidden_layers {layers} names")
        for item in types:
            if item not in (_SLIDING, _FULL):
                raise SpecificationError(
                    f"{self.where}: layer_types: {unknown('type', item, (_SLIDING, _FULL))}"
                )
        return [item == _SLIDING for item in types]

    def shape(self) -> dict[str, Any]:
        """Return the fields that every type has."""
        return {
            "layers": self.count("num_hidden_layers"),
            "hidden": self.count("hidden_size"),
            "heads": self.count("num_attention_heads"),
            "kv_heads": self.kv_heads,
            "intermediate": self.count("intermediate_size"),
            "vocab": self.count("vocab_size"),
            "max_position": self.count("max_position_embeddings"),
            "tie_word_embeddings": self.flag("tie_word_embeddings"),
        }


def _period(pattern: str) -> str:
    """Return the shortest text that, repeated, gives the pattern."""
    sizes = range(1, len(pattern) + 1)
    return next(
        pattern[:n] for n in sizes if (pattern[:n] * len(pattern))[: len(pattern)] == pattern
    )


def _bias(config: _Config) -> str:
    return "qkvo" if config.flag("attention_bias") else "no"


def _llama(config: _Config) -> dict[str, Any]:
    return {
        "head_dim": config.head_dim,
        "attention_bias": _bias(config),
        "mlp_bias": config.flag("mlp_bias"),
    }


def _qwen2(config: _Config) -> dict[str, Any]:
    used = config.flag("use_sliding_window")
    first = config.count("max_window_layers", low=0) if used else 0
    return {
        "head_dim": config.head_dim,
        "attention_bias": "qkv",
        **config.sliding(lambda layer: layer >= first, used=used),
    }


def _qwen3(config: _Config) -> dict[str, Any]:
    return {**_qwen2(config), "attention_bias": _bias(config), "qk_norm": True}


def _qwen3_moe(config: _Config) -> dict[str, Any]:
    layers = config.count("num_hidden_layers")
    step = config.count("decoder_sparse_step")
    dense = config.get("mlp_only_layers") or []
    if not isinstance(dense, list):
        raise config.error("mlp_only_layers", dense, "a list of layer numbers")
    moe = [layer not in dense and (layer + 1) % step == 0 for layer in range(layers)]
    return {
        "head_dim": config.head_dim,
        "attention_bias": _bias(config),
        "qk_norm": True,
        "moe_intermediate": config.count("moe_intermediate_size"),
        "moe_pattern": _period("".join("M" if m else "D" for m in moe)),
        **config.experts("num_experts"),
        **config.sliding(lambda layer: True, used=config.flag("use_sliding_window")),
    }


def _mistral(config: _Config) -> dict[str, Any]:
    return {"head_dim": config.head_dim, **config.sliding(lambda layer: True)}


def _mixtral(config: _Config) -> dict[str, Any]:
    return {
        **_mistral(config),
        "moe_intermediate": config.count("intermediate_size"),
        **config.experts("num_local_experts"),
    }


def _gemma(config: _Config) -> dict[str, Any]:
    return {
        "head_dim": config.head_dim,
        "attention_bias": _bias(config),
        "norms_per_layer": 4,
    }


def _gemma2(config: _Config) -> dict[str, Any]:
    return {**_gemma(config), **config.sliding(lambda layer: layer % 2 == 0)}


def _gemma3(config: _Config) -> dict[str, Any]:
    pattern = config.count("sliding_window_pattern")
    return {
        **_gemma(config),
        "qk_norm": True,
        **config.sliding(lambda layer: (layer + 1) % pattern != 0),
    }


def _deepseek_v3(config: _Config) -> dict[str, Any]:
    # transformers 5 passes over moe_layer_freq; the makers' own code puts experts into layers
    # whose number it divides. Published files have 1, where both agree.
    every = config.count("moe_layer_freq")
    widths = [config.count(f"qk_{part}_head_dim") for part in ("nope", "rope")]
    query = 0 if config.get("q_lora_rank") is None else config.count("q_lora_rank")
    first = config.count("first_k_dense_replace", low=0)
    layers = config.count("num_hidden_layers")
    shared = (
        0 if config.get("n_shared_experts") is None else config.count("n_shared_experts", low=0)
    )
    return {
        "kv_heads": config.count("num_attention_heads"),  # the latent serves every head
        "head_dim": sum(widths),
        "mla_ranks": (query, config.count("kv_lora_rank"), *widths, config.count("v_head_dim")),
        "attention_bias": _bias(config),
        "moe_intermediate": config.count("moe_intermediate_size"),
        "shared_experts": shared,
        "dense_layers_first": min(first, layers),
        "moe_pattern": "M" + "D" * (every - 1),
        **config.experts("n_routed_experts"),
    }


def _gpt_oss(config: _Config) -> dict[str, Any]:
    return {
        "head_dim": config.head_dim,
        "attention_bias": _bias(config),
        "attention_sinks": True,
        "expert_bias": True,
        "moe_intermediate": config.count("intermediate_size"),
        **config.experts("num_local_experts"),
        **config.sliding(lambda layer: layer % 2 == 0),
    }


_READERS: dict[str, Callable[[_Config], dict[str, Any]]] = {
    "llama": _llama,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "qwen3_moe": _qwen3_moe,
    "mistral": _mistral,
    "mixtral": _mixtral,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "gemma3_text": _gemma3,
    "phi3": _mistral,
    "deepseek_v3": _deepseek_v3,
    "gpt_oss": _gpt_oss,
}


@cache
def _classes() -> Mapping[str, Any]:
    return catalogue_toml("archwright.llm", "hugging_face.toml")


def model_types() -> list[str]:
    """Return the values of ``model_type`` that can be read.

    >>> "qwen3_moe" in model_types()
    True
    """
    return sorted(_READERS)


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
        name: name of the model; by default the one in the file, else that of the folder.

    Raises:
        SpecificationError: no such file, not JSON, a type that cannot be read (the message has
            the nearest), a missing key, or a value out of range or contradicting another.
    """
    if isinstance(source, Mapping):
        table, where, folder = source, "config.json", ""
    else:
        path = Path(source)
        path = path / "config.json" if path.is_dir() else path
        table, where, folder = _read(path), str(path), path.resolve().parent.name
    kind = table.get("model_type")
    if not isinstance(kind, str) or kind not in _READERS:
        raise SpecificationError(f"{where}: {unknown('model_type', kind, model_types())}")
    text = table
    if kind == "gemma3":
        text = table.get("text_config", _MISSING)
        if not isinstance(text, Mapping):
            found = None if text is _MISSING else text
            raise SpecificationError(
                f"{where}: text_config: {found!r}, expected a table, as model_type is 'gemma3'"
            )
        text = {"tie_word_embeddings": table.get("tie_word_embeddings", True), **text}
    config = _Config(text, "gemma3_text" if kind == "gemma3" else kind, where)
    config.check_required()
    label = name or table.get("_name_or_path") or folder or kind
    fields = {**config.shape(), **_READERS[kind](config)}
    try:
        return Transformer(name=str(label), source=Source(source=where), **fields)
    except SpecificationError as error:
        raise SpecificationError(f"{where}: {error}") from None


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
