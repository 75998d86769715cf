"""The keys of a Hugging Face ``config.json``, checked and with the defaults of their class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from archwright.errors import SpecificationError, nearest, unknown
from archwright.hardware.tables import catalogue_toml

__all__ = ["Config", "period"]

_SAME = {"num_experts": "num_local_experts", "n_routed_experts": "num_local_experts"}
_SAME |= {"num_local_experts": "num_experts"}
_SAME |= {"sliding_window_pattern": "_sliding_window_pattern"}
_SLIDING, _FULL = "sliding_attention", "full_attention"


@cache
def _classes() -> Mapping[str, Any]:
    return catalogue_toml("archwright.llm", "hugging_face.toml")


class Config:
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
            "sliding_pattern": period("".join("S" if s else "F" for s in slides)),
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


def period(pattern: str) -> str:
    """Return the shortest text that, repeated, gives the pattern."""
    sizes = range(1, len(pattern) + 1)
    return next(
        pattern[:n] for n in sizes if (pattern[:n] * len(pattern))[: len(pattern)] == pattern
    )
