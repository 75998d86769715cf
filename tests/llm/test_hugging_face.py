from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from archwright.errors import SpecificationError
from archwright.llm import load_config, model_types, transformer

# Counts of huggingface/transformers itself, without torch in this test.
_CASES = json.loads(Path(__file__).with_name("hugging_face_counts.json").read_text())["cases"]
_LLAMA = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 5, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 96, "vocab_size": 320,
}  # fmt: skip
_MOE = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 48}


def _with(kind: str, **keys: Any) -> dict[str, Any]:
    return {**_LLAMA, "model_type": kind, **keys}


@pytest.mark.parametrize(
    "case", _CASES, ids=lambda case: f"{case['config']['model_type']}: {case['case']}"
)
def test_parameters_are_those_of_the_implementation(case: dict[str, Any]) -> None:
    model = load_config(case["config"], name="tiny")
    assert model.parameters == case["parameters"]
    if case["layer_types"] is not None:
        found = "".join("S" if model.slides(layer) else "F" for layer in range(model.layers))
        assert found == case["layer_types"]


def test_every_type_is_compared() -> None:
    assert {case["config"]["model_type"] for case in _CASES} == set(model_types())


@pytest.mark.parametrize(
    "name", ["DeepSeek-V3", "gpt-oss-120b", "Gemma-2-9B", "Qwen3-235B-A22B", "Phi-4"]
)
def test_a_published_shape_equals_its_catalogue_row(name: str) -> None:
    config = next(case["config"] for case in _CASES if case["case"] == name)
    found, row = load_config(config, name=name), transformer(name)
    for field in (
        *("layers", "hidden", "heads", "kv_heads", "head_dim", "vocab", "experts", "moe_layers"),
        *("experts_per_token", "sliding_layers", "sliding_window", "mla_ranks", "attention"),
        *("tie_word_embeddings", "attention_bias", "norms_per_layer", "qk_norm"),
    ):
        assert getattr(found, field) == getattr(row, field), field
    assert found.active_parameters == row.active_parameters


def test_windows() -> None:
    assert load_config(_with("mistral")).sliding_layers == 5
    assert load_config(_with("mistral", sliding_window=None)).sliding_layers == 0
    assert load_config(_with("mistral", sliding_window=7)).sliding_window == 7
    window = {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 3}
    assert load_config(_with("qwen2", **window)).sliding_pattern == "FFFSS"
    assert (
        load_config(_with("qwen2", **{**window, "use_sliding_window": False})).sliding_layers == 0
    )
    assert load_config(_with("gemma2")).sliding_pattern == "SF"
    gemma3 = load_config(_with("gemma3_text", num_hidden_layers=26, sliding_window=512))
    assert (gemma3.sliding_pattern, gemma3.sliding_layers) == ("SSSSSF", 22)
    saved = load_config(_with("gemma3_text", num_hidden_layers=26, _sliding_window_pattern=2))
    assert saved.sliding_layers == 13
    # one full layer of every one
    assert load_config(_with("gemma3_text", sliding_window_pattern=1)).sliding_layers == 0


def test_experts_in_some_layers() -> None:
    assert load_config(_with("qwen3_moe", decoder_sparse_step=2, **_MOE)).moe_layers == 2
    assert load_config(_with("qwen3_moe", mlp_only_layers=[0, 4], **_MOE)).moe_layers == 3
    deepseek = _with(
        "deepseek_v3", n_routed_experts=8, num_experts_per_tok=2, moe_intermediate_size=48,
        first_k_dense_replace=1, moe_layer_freq=2, num_nextn_predict_layers=1,
    )  # fmt: skip
    model = load_config(deepseek)
    assert [layer for layer in range(model.layers) if model.has_experts(layer)] == [2, 4]


def test_files_folders_and_names(tmp_path: Path) -> None:
    folder = tmp_path / "Tiny-1B"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(_LLAMA))
    found = load_config(folder)
    assert found == load_config(str(folder / "config.json"))
    assert (found.name, found.source.source) == ("Tiny-1B", str(folder / "config.json"))
    assert load_config(folder, name="mine").name == "mine"
    assert load_config({**_LLAMA, "_name_or_path": "a/b"}).name == "a/b"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (_with("lama"), r"config.json: unknown model_type 'lama' \(nearest: '(llama|gemma\d)'\)"),
        (
            {"hidden_size": 64},
            r"config.json: the key .model_type. is missing, expected one of cohere2, ",
        ),
        (
            {k: v for k, v in _LLAMA.items() if k != "vocab_size"},
            "config.json: the key 'vocab_size' is missing, expected a whole number",
        ),
        (
            {**{k: v for k, v in _LLAMA.items() if k != "hidden_size"}, "hiden_size": 64},
            r"the key 'hidden_size' is missing \(nearest: 'hiden_size'\)",
        ),
        (_with("llama", hidden_size="64"), "config.json: hidden_size: '64', expected a whole num"),
        (
            _with("llama", num_hidden_layers=0),
            "num_hidden_layers: 0, expected a whole number of 1",
        ),
        (
            _with("llama", num_key_value_heads=3),
            "num_key_value_heads: 3, expected a divisor of num_attention_heads 4",
        ),
        (_with("llama", hidden_size=66), "hidden_size: 66, expected a multiple of num_attention"),
        (_with("llama", tie_word_embeddings="no"), "tie_word_embeddings: 'no', expected true or"),
        (
            _with("qwen3_moe", **{**_MOE, "num_experts_per_tok": 9}),
            "config.json: num_experts_per_tok: 9, expected at most num_experts 8",
        ),
        (_with("qwen3_moe"), "config.json: the key 'num_experts' is missing"),
        (_with("gemma3"), "config.json: text_config: None, expected a table"),
        (
            _with("gemma2", layer_types=["full_attention"]),
            "layer_types: 1, expected a list of num_hidden_layers 5 names",
        ),
        (
            _with("gemma2", layer_types=["full_attention"] * 4 + ["chunked"]),
            "layer_types: unknown type 'chunked'",
        ),
        (
            _with("gemma2", layer_types=["sliding_attention"] * 5, sliding_window=None),
            "sliding_window: None, expected tokens, as layer_types has sliding_attention",
        ),
    ],
)
def test_what_cannot_be_used_is_named(config: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecificationError, match=message) as error:
        load_config(config)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SpecificationError, match=r"config.json: cannot be read"):
        load_config(tmp_path)
    path = tmp_path / "config.json"
    path.write_text("{")
    with pytest.raises(SpecificationError, match=r"config.json: is not JSON"):
        load_config(path)
    path.write_text("[]")
    with pytest.raises(SpecificationError, match=r"config.json: expected a table of keys"):
        load_config(path)
