from __future__ import annotations

import numpy as np
import pytest

from archwright.errors import SpecificationError
from archwright.hardware.tables import catalogue_rows
from archwright.llm import Transformer, transformer
from archwright.llm.transformers import transformers

_ROWS = {row["model"]: row for row in catalogue_rows("archwright.llm", "architectures.csv")}
# Printed 30 and 3 are cut, not rounded; makers of gpt-oss leave the embedding out of the
# active parameters, DeepSeek rounds 37.55 down.
_TOTAL_EXCEPTIONS = {"Qwen3-30B-A3B"}
_ACTIVE_EXCEPTIONS = {"Qwen3-30B-A3B", "gpt-oss-120b", "gpt-oss-20b", "DeepSeek-R1", "DeepSeek-V3"}


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
