from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archwright.errors import SpecificationError
from archwright.formats import kv_format, kv_formats, recovery, weight_format, weight_formats
from archwright.hardware.tables import catalogue_rows


def test_sixteen_bits_lose_nothing() -> None:
    exact = recovery("bf16", "bf16", "any model", "MMLU-Pro")
    assert exact is not None
    assert (exact.value, exact.low, exact.high, exact.scope) == (1.0, 1.0, 1.0, "exact")


def test_published_figure_of_this_model_and_benchmark() -> None:
    found = recovery("fp8_block", "bf16", "Qwen3-8B", "MMLU-Pro")
    assert found is not None
    assert (found.scope, found.label, found.rows) == ("published", "table", 2)
    assert found.value == pytest.approx((0.9984 + 0.9926) / 2)
    base = recovery("fp8_block", "bf16", "Qwen3-8B", "MMLU-Pro", variant="base")
    assert base is not None and base.scope == "pooled"


def test_one_published_figure_takes_the_spread_of_the_pool() -> None:
    found = recovery("fp8", "bf16", "Llama-3.1-70B", "MMLU")
    pool = recovery("fp8", "bf16", "Llama-3.1-70B", "MMLU-Pro")
    assert found is not None and pool is not None
    assert found.value == pytest.approx(0.9962)
    assert (found.rows, found.scope) == (1, "published")
    assert found.high - found.low == pytest.approx(pool.high - pool.low)


def test_pool_against_the_rows() -> None:
    """The pooled figure is the median and range of the catalogue, by another path."""
    values = [
        float(row["recovery_pct"]) / 100
        for row in catalogue_rows("archwright.formats", "effects.csv")
        if row["format"] == "MXFP4 W4A4 (group 32)" and "QAT" not in row["method"]
    ]
    found = recovery("mxfp4", "bf16", "Llama-3.1-405B", "MMLU-Pro")
    assert found is not None and found.rows == len(values)
    assert found.value == pytest.approx(np.median(values))
    assert found.low == pytest.approx(np.quantile(values, 0.05))
    assert found.high == pytest.approx(np.quantile(values, 0.95))


def test_formats_trained_in_are_left_out() -> None:
    rows = catalogue_rows("archwright.formats", "effects.csv")
    nvfp4 = [row for row in rows if row["format"] == "NVFP4 W4A4 (group 16)"]
    found = recovery("nvfp4", "bf16", "Llama-3.1-405B", "MMLU-Pro")
    assert found is not None and found.rows == sum(row["method"] != "QAT" for row in nvfp4)
    assert found.rows < len(nvfp4)


def test_nobody_measured_it() -> None:
    assert recovery("bf16", "fp8", "Llama-3.1-8B", "MMLU-Pro") is None
    assert recovery("fp8", "fp8", "Llama-3.1-8B", "MMLU-Pro") is None


def test_weights_and_cache_multiply() -> None:
    both = recovery("fp8_block", "int8", "Qwen3-8B", "MMLU-Pro")
    weights = recovery("fp8_block", "bf16", "Qwen3-8B", "MMLU-Pro")
    cache = recovery("bf16", "int8", "Qwen3-8B", "MMLU-Pro")
    assert both is not None and weights is not None and cache is not None
    assert both.value == pytest.approx(weights.value * cache.value)
    assert both.low == pytest.approx(weights.low * cache.low)
    assert (both.scope, both.label) == ("pooled", "derived")


@given(st.sampled_from(list(weight_formats())), st.sampled_from(list(kv_formats())))
def test_interval_holds_the_value(weights: str, kv: str) -> None:
    found = recovery(weights, kv, "Llama-3.1-8B", "MMLU")
    assert found is None or found.low <= found.value <= found.high


def test_every_named_row_exists_and_every_row_is_a_fact() -> None:
    rows = catalogue_rows("archwright.formats", "effects.csv")
    names = {row["format"] for row in rows}
    for format_ in (*weight_formats().values(), *kv_formats().values()):
        assert set(format_.rows) - names <= {"FP8 W8A8 (dynamic)"}
    assert all(row["flag"] == "sourced" and row["source"] and row["date"] for row in rows)


def test_unknown_formats_name_the_nearest() -> None:
    with pytest.raises(SpecificationError, match=r"weight format 'int4' \(nearest: 'int"):
        weight_format("int4")
    with pytest.raises(SpecificationError, match=r"unknown KV format 'fp9' \(nearest: 'fp8'\)"):
        kv_format("fp9")
