"""How each type of a Hugging Face ``config.json`` says what a transformer looks like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from archwright.llm.hugging_face_config import Config, period

__all__ = ["READERS"]


def _bias(config: Config) -> str:
    return "qkvo" if config.flag("attention_bias") else "no"


def _llama(config: Config) -> dict[str, Any]:
    return {
        "head_dim": config.head_dim,
        "attention_bias": _bias(config),
        "mlp_bias": config.flag("mlp_bias"),
    }


def _qwen2(config: Config) -> dict[str, Any]:
    used = config.flag("use_sliding_window")
    first = config.count("max_window_layers", low=0) if used else 0
    return {
        "head_dim": config.head_dim,
        "attention_bias": "qkv",
        **config.sliding(lambda layer: layer >= first, used=used),
    }


def _qwen3(config: Config) -> dict[str, Any]:
    return {**_qwen2(config), "attention_bias": _bias(config), "qk_norm": True}


def _qwen3_moe(config: Config) -> dict[str, Any]:
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
        "moe_pattern": period("".join("M" if m else "D" for m in moe)),
        **config.experts("num_experts"),
        **config.sliding(lambda layer: True, used=config.flag("use_sliding_window")),
    }


def _mistral(config: Config) -> dict[str, Any]:
    return {"head_dim": config.head_dim, **config.sliding(lambda layer: True)}


def _mixtral(config: Config) -> dict[str, Any]:
    return {
        **_mistral(config),
        "moe_intermediate": config.count("intermediate_size"),
        **config.experts("num_local_experts"),
    }


def _gemma(config: Config) -> dict[str, Any]:
    return {
        "head_dim": config.head_dim,
        "attention_bias": _bias(config),
        "norms_per_layer": 4,
    }


def _gemma2(config: Config) -> dict[str, Any]:
    return {**_gemma(config), **config.sliding(lambda layer: layer % 2 == 0)}


def _gemma3(config: Config) -> dict[str, Any]:
    pattern = config.count("sliding_window_pattern")
    return {
        **_gemma(config),
        "qk_norm": True,
        **config.sliding(lambda layer: (layer + 1) % pattern != 0),
    }


def _deepseek_v3(config: Config) -> dict[str, Any]:
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


def _gpt_oss(config: Config) -> dict[str, Any]:
    return {
        "head_dim": config.head_dim,
        "attention_bias": _bias(config),
        "attention_sinks": True,
        "expert_bias": True,
        "moe_intermediate": config.count("intermediate_size"),
        **config.experts("num_local_experts"),
        **config.sliding(lambda layer: layer % 2 == 0),
    }


def _olmo2(config: Config) -> dict[str, Any]:
    return {**_llama(config), "qk_norm": True, "qk_norm_over": "projection"}


def _olmo3(config: Config) -> dict[str, Any]:
    return {**_olmo2(config), **config.sliding(lambda layer: (layer + 1) % 4 != 0)}


def _olmoe(config: Config) -> dict[str, Any]:
    return {
        **_olmo2(config),
        "moe_intermediate": config.count("intermediate_size"),
        **config.experts("num_experts"),
    }


def _granite_moe(config: Config) -> dict[str, Any]:
    return {
        "head_dim": config.head_dim,
        "attention_bias": _bias(config),
        "moe_intermediate": config.count("intermediate_size"),
        **config.experts("num_local_experts"),
    }


def _seed_oss(config: Config) -> dict[str, Any]:
    output = config.flag("attention_out_bias")
    if output and not config.flag("attention_bias"):
        raise config.error("attention_out_bias", output, "false where attention_bias is")
    bias = "qkvo" if output else "qkv" if config.flag("attention_bias") else "no"
    return {**_llama(config), "attention_bias": bias}


def _ernie(config: Config) -> dict[str, Any]:
    biased = config.flag("use_bias")
    return {
        "head_dim": config.head_dim,
        "attention_bias": "qkvo" if biased else "no",
        "mlp_bias": biased,
    }


def _hunyuan(config: Config) -> dict[str, Any]:
    return {"head_dim": config.head_dim, "attention_bias": _bias(config), "qk_norm": True}


def _exaone4(config: Config) -> dict[str, Any]:
    pattern = config.get("sliding_window_pattern")
    every = config.count("sliding_window_pattern") if isinstance(pattern, int) else 0
    used = config.get("sliding_window") is not None
    return {
        "head_dim": config.head_dim,
        "qk_norm": True,
        **config.sliding(lambda layer: every > 0 and (layer + 1) % every != 0, used=used),
    }


def _glm4(config: Config) -> dict[str, Any]:
    return {
        "head_dim": config.head_dim,
        "attention_bias": "qkv" if config.flag("attention_bias") else "no",
        "norms_per_layer": 4,
    }


def _glm4_moe(config: Config) -> dict[str, Any]:
    first = config.count("first_k_dense_replace", low=0)
    return {
        "head_dim": config.head_dim,
        "attention_bias": "qkv" if config.flag("attention_bias") else "no",
        "qk_norm": config.flag("use_qk_norm"),
        "moe_intermediate": config.count("moe_intermediate_size"),
        "shared_experts": config.count("n_shared_experts", low=0),
        "dense_layers_first": min(first, config.count("num_hidden_layers")),
        **config.experts("n_routed_experts"),
    }


def _cohere2(config: Config) -> dict[str, Any]:
    return {
        "head_dim": config.head_dim,
        "attention_bias": _bias(config),
        "norms_per_layer": 1,
        **config.sliding(lambda layer: (layer + 1) % 4 != 0),
    }


def _minimax_m2(config: Config) -> dict[str, Any]:
    return {
        "head_dim": config.head_dim,
        "qk_norm": True,
        "qk_norm_over": "projection",
        "moe_intermediate": config.count("intermediate_size"),
        **config.experts("num_local_experts"),
    }


def _llama4(config: Config) -> dict[str, Any]:
    step = config.count("interleave_moe_layer_step")
    # attention in chunks looks back as far as a window at most, in three of four layers
    chunks = (
        {}
        if config.get("attention_chunk_size") is None
        else {"sliding_window": config.count("attention_chunk_size"), "sliding_pattern": "SSSF"}
    )
    return {
        "head_dim": config.head_dim,
        "attention_bias": _bias(config),
        "intermediate": config.count("intermediate_size_mlp"),
        "moe_intermediate": config.count("intermediate_size"),
        "moe_pattern": "D" * (step - 1) + "M",
        "shared_experts": 1,
        **config.experts("num_local_experts"),
        **chunks,
    }


READERS: dict[str, Callable[[Config], dict[str, Any]]] = {
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
    "cohere2": _cohere2,
    "deepseek_v2": _deepseek_v3,
    "ernie4_5": _ernie,
    "exaone4": _exaone4,
    "gemma": lambda config: {**_gemma(config), "norms_per_layer": 2},
    "glm4": _glm4,
    "glm4_moe": _glm4_moe,
    "granite": _llama,
    "granitemoe": _granite_moe,
    "hunyuan_v1_dense": _hunyuan,
    "kimi_k2": _deepseek_v3,
    "llama4": _llama4,
    "llama4_text": _llama4,
    "minimax_m2": _minimax_m2,
    "ministral": _mistral,
    "olmo2": _olmo2,
    "olmo3": _olmo3,
    "olmoe": _olmoe,
    "qwen2_5_vl": _qwen2,
    "qwen2_vl": _qwen2,
    "qwen3_vl": lambda config: {**_llama(config), "mlp_bias": False, "qk_norm": True},
    "seed_oss": _seed_oss,
    "smollm3": _llama,
}
