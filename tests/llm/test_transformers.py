from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from archwright.errors import SpecificationError
from archwright.hardware.tables import catalogue_rows
from archwright.llm import Transformer, parameter_breakdown, transformer
from archwright.llm.quality import own_scores, quality
from archwright.llm.transformers import model_path, read_model, transformers
from archwright.specification import from_mapping, replace_path, to_mapping

_ROWS = {row["model"]: row for row in catalogue_rows("archwright.llm", "architectures.csv")}
# Printed 30 and 3 are cut, not rounded, and so are the 1T and 32B of Kimi; makers of gpt-oss
# and GLM leave the embedding out of the active parameters, MiniMax both embeddings, DeepSeek
# rounds 37.55 down. The 109B of Llama 4 Scout have its vision encoder too.
_CUT = {"Kimi-K2.5"}
_TOTAL_EXCEPTIONS = {"Qwen3-30B-A3B", "Llama-4-Scout-17B-16E", *_CUT}
_ACTIVE_EXCEPTIONS = {
    *("Qwen3-30B-A3B", "gpt-oss-120b", "gpt-oss-20b", "DeepSeek-R1", "DeepSeek-V3"),
    *("MiniMax-M2.5", "GLM-5", *_CUT),
}


def _tolerance(printed: str) -> float:
    decimals = len(printed.partition(".")[2])
    return max(0.01 * float(printed), 0.5 * 10**-decimals)


@pytest.mark.parametrize("model", transformers(), ids=lambda model: model.name)
def test_parameters_as_published(model: Transformer) -> None:
    row = _ROWS[model.name]
    if model.name not in _TOTAL_EXCEPTIONS:
        printed = row["total_params_published_b"]
        assert model.parameters / 1e9 == pytest.approx(float(printed), abs=_tolerance(printed))
    if model.name not in _ACTIVE_EXCEPTIONS:
        printed = row["active_params_published_b"]
        found = model.active_parameters / 1e9
        assert found == pytest.approx(float(printed), abs=_tolerance(printed))


def test_gpt_oss_prints_active_parameters_without_the_embedding() -> None:
    for name in ("gpt-oss-120b", "gpt-oss-20b"):
        model = transformer(name)
        active = model.active_parameters - model.vocab * model.hidden
        assert active == pytest.approx(model.published_active_parameters, rel=0.01)


def test_minimax_prints_active_parameters_without_embeddings() -> None:
    model = transformer("MiniMax-M2.5")
    active = model.active_parameters - model.embedding_parameters
    assert active / 1e9 == pytest.approx(10, abs=0.5)


def test_scout_is_printed_with_its_vision_encoder() -> None:
    missing = 109e9 - transformer("Llama-4-Scout-17B-16E").parameters
    assert 0 < missing < 1.5e9


@pytest.mark.parametrize("name", sorted(_CUT))
def test_printed_digits_are_cut(name: str) -> None:
    model = transformer(name)
    assert model.parameters // 10**12 * 1000 == int(_ROWS[name]["total_params_published_b"])
    assert model.active_parameters // 10**9 == int(_ROWS[name]["active_params_published_b"])


@pytest.mark.parametrize("model", transformers(), ids=lambda model: model.name)
def test_computed_columns_and_breakdown(model: Transformer) -> None:
    row = _ROWS[model.name]
    assert round(model.parameters / 1e9, 3) == float(row["total_params_b"])
    assert round(model.active_parameters / 1e9, 3) == float(row["active_params_b"])
    assert model.sliding_layers == int(row["sliding_layers"] or 0)
    assert sum(parameter_breakdown(model).values()) == model.parameters


@pytest.mark.parametrize("model", transformers(), ids=lambda model: model.name)
def test_found_by_every_hugging_face_id(model: Transformer) -> None:
    assert model.hf_ids
    assert all(transformer(alias) is model for alias in model.hf_ids)
    assert transformer(model.name.upper()) is model


# Counted by the classes of huggingface/transformers 5.24.0 on the meta device.
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("DeepSeek-V3", 671026404352),
        ("Gemma-2-9B", 9241705984),
        ("Gemma-3-27B", 27009002240),
        ("Llama-4-Maverick-17B-128E", 400711848960),
        ("Llama-4-Scout-17B-16E", 107769861120),
        ("MiniMax-M2.5", 228689748992),
        ("OLMo-2-7B", 7298617344),
        ("Phi-4", 14659507200),
        ("Qwen3-235B-A22B", 235093634560),
        ("gpt-oss-120b", 116829156672),
    ],
)
def test_parameters_as_the_implementation_counts_them(name: str, parameters: int) -> None:
    assert transformer(name).parameters == parameters


def test_weight_bytes_keep_the_embedding_at_16_bits() -> None:
    model = transformer("Llama-3.1-8B")
    assert model.weight_bytes(16) == 2 * model.parameters
    half = model.weight_bytes(8)
    embedding = 2 * 128256 * 4096
    assert half == model.parameters - embedding + 2 * embedding


def test_cache_bytes() -> None:
    llama = transformer("Llama-3.1-70B")
    assert llama.kv_bytes_per_token(16) == 2 * 80 * 8 * 128 * 2
    assert llama.kv_bytes(1000, 8) == 1000 * llama.kv_bytes_per_token(8)
    assert transformer("DeepSeek-R1").kv_bytes_per_token(16) == 61 * (512 + 64) * 2


def test_sliding_layers_stop_at_the_window() -> None:
    model = transformer("Gemma-3-27B")  # 52 of 62 layers see 1024 tokens
    per_layer = model.kv_bytes_per_token(16) / 62
    tokens = np.array([500, 1024, 4096])
    expected = per_layer * (10 * tokens + 52 * np.minimum(tokens, 1024))
    np.testing.assert_allclose(model.kv_bytes(tokens, 16), expected)


def test_unknown_model_names_the_nearest() -> None:
    with pytest.raises(SpecificationError, match=r"unknown model 'Lama-3.1-8B' \(nearest: 'Llama"):
        transformer("Lama-3.1-8B")


_TINY = {
    "name": "tiny", "layers": 6, "hidden": 64, "heads": 4, "kv_heads": 2, "head_dim": 16,
    "intermediate": 128, "vocab": 1000, "max_position": 512,
}  # fmt: skip
_EXPERTS = {"experts": 8, "experts_per_token": 2, "moe_intermediate": 32}
_MLA = {"kv_heads": 4, "mla_ranks": [24, 16, 8, 4, 12], "head_dim": 12}


def test_a_plain_transformer_by_hand() -> None:
    model = Transformer(**_TINY, gated=False, mlp_bias=True, attention_bias="qkvo")
    attention = 64 * (64 + 32 + 32) + 64 * 64 + (64 + 32 + 32 + 64)
    block = 64 * 128 + 128 + 128 * 64 + 64
    assert model.parameters == 6 * (attention + block + 2 * 64) + 64 + 2 * 1000 * 64


def test_patterns_repeat_over_the_depth() -> None:
    model = Transformer(
        **{**_TINY, **_EXPERTS}, dense_layers_first=1, moe_pattern="MD", sliding_window=8,
        sliding_pattern="SSF",
    )  # fmt: skip
    assert [layer for layer in range(6) if model.has_experts(layer)] == [2, 4]
    assert [layer for layer in range(6) if model.slides(layer)] == [0, 1, 3, 4]
    deeper = replace_path(model, "layers", 9)
    assert (deeper.moe_layers, deeper.sliding_layers) == (4, 6)
    assert replace_path(model, "sliding_window", 0).sliding_layers == 0


@pytest.mark.parametrize("extra", [{}, _EXPERTS, _MLA], ids=["dense", "moe", "mla"])
def test_a_table_gives_the_same_shape(extra: dict[str, object]) -> None:
    model = from_mapping(Transformer, {**_TINY, **extra})
    assert from_mapping(Transformer, to_mapping(model)) == model
    assert model.attention == ("MLA" if "mla_ranks" in extra else "GQA")


@pytest.mark.parametrize("model", transformers(), ids=lambda model: model.name)
def test_the_catalogue_survives_a_table(model: Transformer) -> None:
    assert from_mapping(Transformer, to_mapping(model)) == model


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"heads": 3}, "tiny: kv_heads: 2, expected a divisor of heads 3"),
        ({"layers": 0}, "tiny: layers: 0, expected 1 or more"),
        ({"hidden": 64.0}, "tiny: hidden: 64.0, expected a whole number"),
        ({"experts_per_token": 2}, "tiny: experts_per_token: 2, expected 0, as experts is 0"),
        (
            {**_EXPERTS, "experts_per_token": 9},
            "tiny: experts_per_token: 9, expected 1 to experts 8",
        ),
        ({**_EXPERTS, "moe_intermediate": 0}, "tiny: moe_intermediate: 0, expected 1 or more"),
        ({**_EXPERTS, "dense_layers_first": 7}, "dense_layers_first: 7, expected 0 to layers 6"),
        ({"intermediate": 0}, "tiny: intermediate: 0, expected 1 or more, as some layers are"),
        ({"moe_pattern": "MX"}, "tiny: moe_pattern: 'MX', expected a text of the letters M, D"),
        ({"sliding_pattern": ""}, "sliding_pattern: '', expected a text of the letters S, F"),
        ({"attention_bias": "qvk"}, r"tiny: unknown attention_bias 'qvk' \(nearest: 'qkv'\)"),
        ({**_MLA, "head_dim": 16}, r"tiny: head_dim: 16, expected 8 \+ 4, nope and rope of MLA"),
        ({**_MLA, "mla_ranks": (1, 2)}, "tiny: mla_ranks: .*, expected five numbers"),
        ({**_MLA, "sliding_window": 9}, "tiny: sliding_window: 9, expected 0"),
    ],
)
def test_contradictions_are_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        Transformer(**{**_TINY, **wrong})  # type: ignore[arg-type]


_CONFIG = {
    "model_type": "llama", "hidden_size": 512, "num_hidden_layers": 3, "num_attention_heads": 8,
    "intermediate_size": 1024, "vocab_size": 1000,
}  # fmt: skip


def test_a_file_or_folder_is_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a name is; relative to the folder that is known, else to the current one."""
    (tmp_path / "Mine-1B").mkdir()
    (tmp_path / "Mine-1B" / "config.json").write_text(json.dumps(_CONFIG))
    (tmp_path / "other.json").write_text(json.dumps(_CONFIG))
    for name, label in (
        ("Mine-1B", "Mine-1B"), ("Mine-1B/config.json", "Mine-1B"), ("other.json", "other"),
    ):  # fmt: skip
        assert model_path(name, tmp_path) is not None
        found = read_model(name, tmp_path)
        assert (found.name, found.layers) == (label, 3)
    monkeypatch.chdir(tmp_path)
    assert transformer("Mine-1B").layers == transformer("other.json").layers == 3
    assert transformer(str(tmp_path / "other.json")).layers == 3
    assert read_model("phi-4", tmp_path).name == "Phi-4"
    assert model_path("Phi-4", tmp_path) is None


def test_a_folder_of_a_models_name_needs_a_config(tmp_path: Path) -> None:
    """Results in a folder called like a model do not hide the model."""
    (tmp_path / "Phi-4").mkdir()
    assert read_model("Phi-4", tmp_path) is transformer("Phi-4")
    (tmp_path / "Phi-4" / "config.json").write_text(json.dumps(_CONFIG))
    assert read_model("Phi-4", tmp_path).layers == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("resnet.json", {"model_type": "resnet", "hidden_sizes": [256]},
         r"resnet.json: unknown model_type 'resnet'.*known: cohere2"),
        ("none.json", {"architectures": ["X"]}, "none.json: the key 'model_type' is missing"),
        ("bare.json", {"model_type": "llama"}, "bare.json: the key 'hidden_size' is missing, exp"),
        ("bad.json", {**_CONFIG, "hidden_size": 2.5}, "bad.json: hidden_size: 2.5, expected a wh"),
        ("list.json", [1], "list.json: expected a table of keys"),
        ("missing.json", None, "missing.json: cannot be read: No such file"),
        ("some/folder", None, "unknown model 'some/folder'.*no such file or folder either"),
        ("llama-3.3", None, r"unknown model 'llama-3.3' \(nearest: 'Llama-3.3-70B'\)"),
    ],
)  # fmt: skip
def test_what_is_no_model_is_one_line(
    tmp_path: Path, name: str, content: object, message: str
) -> None:
    """The file, the key and what was expected."""
    if content is not None:
        (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(SpecificationError, match=message) as error:
        read_model(name, tmp_path)
    assert "\n" not in str(error.value)


def test_own_scores_name_a_model_in_any_way(tmp_path: Path) -> None:
    """By the path that the study gives it, or by a Hugging Face id."""
    path = tmp_path / "scores.csv"
    path.write_text(
        "model,benchmark,score\nmine/config.json,MMLU-Pro,41\n"
        "meta-llama/Llama-3.1-8B-Instruct,MMLU-Pro,47\n"
    )
    scores = own_scores(path)
    assert quality("mine", scores=scores, called=["mine/config.json"]).value == 41
    assert quality("Llama-3.1-8B", scores=scores).value == 47
    assert np.isnan(quality("mine", scores=scores).value)
