"""Invariants of the kernel times, on measured devices and on those with a datasheet only."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archwright.errors import SpecificationError
from archwright.hardware import device, timing
from archwright.hardware.devices import devices
from archwright.hardware.profiles import DATASHEET, carried, resolve, shipped

DEVICES = ["A100-80GB-SXM", "H100-SXM", "B200-SXM", "L40S", "H200-SXM", "MI300X", "TPU-v5p", "T4"]
names = st.sampled_from(DEVICES)
size = st.integers(1, 20_000)
SLACK = 1 + 1e-12


def dtype_of(name: str) -> str:
    return "bfloat16" if "bf16" in device(name).peak_ops_s else "float16"


def call(law: str, target: Any, sizes: dict[str, Any], dtype: str) -> Any:
    return getattr(timing, f"{law}_seconds")(target, **sizes, dtype=dtype)


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, dict[str, int]]:
    """A law with legal sizes."""
    law = draw(st.sampled_from(["gemm", "attention_prefill", "attention_decode", "moe"]))
    if law == "gemm":
        return law, {x: draw(size) for x in "mnk"}
    if law == "moe":
        ranks, local = draw(st.sampled_from([1, 2, 8, 32])), draw(st.sampled_from([1, 2, 8]))
        experts = ranks * local
        return law, {
            "tokens": draw(size), "hidden": draw(size), "moe_intermediate": draw(size),
            "experts": experts, "experts_per_token": draw(st.integers(1, experts)), "ranks": ranks,
        }  # fmt: skip
    kv_heads = draw(st.sampled_from([1, 2, 8]))
    sizes = {
        "batch": draw(st.integers(1, 256)),
        "context_tokens": draw(st.integers(1, 60_000)),
        "heads": kv_heads * draw(st.sampled_from([1, 4, 8])),
        "kv_heads": kv_heads,
        "head_dim": draw(st.sampled_from([64, 128, 256])),
    }
    if law == "attention_prefill":
        sizes["query_tokens"] = draw(st.integers(1, sizes["context_tokens"]))
    if draw(st.booleans()):
        sizes["window"] = draw(st.integers(1, 10_000))
    return law, sizes


GROWS = {
    "gemm": ["m", "n", "k"],
    "attention_prefill": ["batch", "context_tokens", "query_tokens", "window"],
    "attention_decode": ["batch", "context_tokens", "window"],
    "moe": ["tokens", "hidden", "moe_intermediate", "experts_per_token"],
}


@given(name=names, case=cases(), data=st.data())
def test_more_work_never_takes_less_time(
    name: str, case: tuple[str, dict[str, int]], data: st.DataObject
) -> None:
    law, sizes = case
    key = data.draw(st.sampled_from([x for x in GROWS[law] if x in sizes]))
    more = sizes | {key: sizes[key] + data.draw(st.integers(1, 3000))}
    if key == "query_tokens":  # a longer prompt before the same end, or a longer prompt
        more["context_tokens"] = max(more["context_tokens"], more["query_tokens"])
    if key == "experts_per_token":
        more[key] = min(more[key], sizes["experts"])
    dtype = dtype_of(name)
    assert call(law, name, sizes, dtype) <= call(law, name, more, dtype) * SLACK


@given(name=names, case=cases(), factor=st.floats(1.0, 8.0))
def test_a_faster_device_is_never_slower(
    name: str, case: tuple[str, dict[str, int]], factor: float
) -> None:
    law, sizes = case
    target, dtype = device(name), dtype_of(name)
    peaks = {kind: peak * factor for kind, peak in target.peak_ops_s.items()}
    base = call(law, target, sizes, dtype)
    assert call(law, replace(target, peak_ops_s=peaks), sizes, dtype) <= base * SLACK
    wider = replace(target, memory_bandwidth_bytes_s=target.memory_bandwidth_bytes_s * factor)
    assert call(law, wider, sizes, dtype) <= base * SLACK


@given(name=names, case=cases())
def test_the_roofline_is_a_lower_bound(name: str, case: tuple[str, dict[str, int]]) -> None:
    law, s = case
    dtype = dtype_of(name)
    if law == "gemm":
        work = 2 * s["m"] * s["n"] * s["k"]
        moved = 2 * (s["m"] * s["k"] + s["k"] * s["n"] + s["m"] * s["n"])
    elif law == "moe":
        share = s["tokens"] * s["experts_per_token"] / s["ranks"]
        work, moved = 2 * share * 3 * s["hidden"] * s["moe_intermediate"], 0
    else:
        seen = min(s["context_tokens"], s.get("window", math.inf))
        moved = 4 * s["batch"] * s["kv_heads"] * seen * s["head_dim"]
        queries = s.get("query_tokens", 1)
        # Every query sees at least as many keys as the first one does.
        first = min(s["context_tokens"] - queries + 1, seen)
        work = 4 * s["batch"] * s["heads"] * queries * first * s["head_dim"]
        work = work if law == "attention_prefill" else 0
    bound = timing.roofline_seconds(name, work, moved, dtype)
    assert call(law, name, s, dtype) >= bound / SLACK


@given(name=names, case=cases())
def test_the_interval_holds_the_time_and_times_are_positive(
    name: str, case: tuple[str, dict[str, int]]
) -> None:
    law, sizes = case
    function = getattr(timing, f"{law}_seconds")
    found = function(name, **sizes, dtype=dtype_of(name), return_interval=True)
    assert 0 < found.low <= found.seconds <= found.high
    assert found.low < found.high
    assert math.isfinite(found.high)


@pytest.mark.parametrize("name", ["H100-SXM", "L40S", "H100-NVL", "A10"])
def test_collectives_grow_with_size(name: str) -> None:
    sizes = np.logspace(1, 10, 200)
    for function in (timing.all_reduce_seconds, timing.all_to_all_seconds):
        for ranks in (2, 4, 8):
            assert (np.diff(function(name, ranks, sizes)) >= 0).all()
        assert function(name, 1, 1e6) == 0.0
    assert (np.diff(timing.point_to_point_seconds(name, sizes)) >= 0).all()
    assert (np.diff(timing.memory_seconds(name, sizes)) >= 0).all()
    ring = timing.all_reduce_seconds(name, 4, sizes, ring=True)
    assert (timing.all_reduce_seconds(name, 4, sizes) <= ring).all()


def test_a_link_domain_ends_at_the_host_link() -> None:
    """Two H100 NVL share a bridge; four go over PCIe, which is far slower."""
    pair, four = timing.all_reduce_seconds("H100-NVL", [2, 4], 1e9)
    assert four > 3 * pair


def test_scalars_give_scalars_and_arrays_broadcast() -> None:
    one = timing.gemm_seconds("h100", 16, 4096, 4096)
    assert np.ndim(one) == 0 and float(one) > 0
    grid = timing.gemm_seconds("h100", np.array([[1], [16]]), [4096, 8192, 1], 4096)
    assert grid.shape == (2, 3)
    assert grid[1, 0] == one
    timed = timing.moe_seconds("h100", [1, 2], 4096, 1536, 128, 8, 8, return_interval=True)
    assert timed.low.shape == (2,)


def test_many_points_equal_single_points() -> None:
    """Arrays are cut into blocks; no point may depend on its neighbors."""
    m = np.arange(1, 20_001)
    many = timing.gemm_seconds("h100", m, 4096, 1024)
    assert many.shape == m.shape
    for i in (0, 8191, 8192, 16_384, 19_999):
        one = timing.gemm_seconds("h100", m[i], 4096, 1024)
        assert many[i] == pytest.approx(one, rel=1e-12)  # powers of arrays round otherwise


def test_short_names_and_format_names_agree() -> None:
    args = (64, 4096, 4096)
    assert timing.gemm_seconds("a100_sxm", *args, "bf16") == timing.gemm_seconds(
        device("A100-80GB-SXM"), *args, dtype="bfloat16"
    )


def test_weights_alone_in_a_narrow_format_help_small_batches_only() -> None:
    for m, gain in ((1, 1.25), (8192, 0.95)):
        wide, narrow = (timing.gemm_seconds("a100", m, 8192, 8192, d) for d in ("bf16", "int8_wo"))
        assert wide / narrow > gain
        assert narrow <= wide


def test_every_gpu_of_the_catalogue_has_times() -> None:
    for found in devices():
        if "bf16" in found.peak_ops_s:
            assert float(timing.gemm_seconds(found, 64, 4096, 4096)) > 0
            assert float(timing.attention_decode_seconds(found, 4, 999, 32, 8, 128)) > 0


def test_a_sibling_lends_its_constants() -> None:
    assert timing.provenance("H200-SXM", "attention_decode") == "fitted on the architecture hopper"
    compute_bound = (8192, 8192, 8192)
    h100, h200 = (timing.gemm_seconds(x, *compute_bound) for x in ("h100", "h200"))
    assert h200 == pytest.approx(h100, rel=0.05)
    memory_bound = (1, 16384, 16384)
    h100, h200 = (timing.gemm_seconds(x, *memory_bound) for x in ("h100", "h200"))
    assert h100 / h200 == pytest.approx(4.8 / 3.35, rel=0.1)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: timing.gemm_seconds("h100", 0, 1, 1), r"m: 0, expected a positive number"),
        (lambda: timing.gemm_seconds("h100", [1, -2], 1, 1), r"m: -2, expected a positive"),
        (lambda: timing.gemm_seconds("h100", 1, math.nan, 1), r"n: nan, expected a positive"),
        (lambda: timing.gemm_seconds("h100", 1, "x", 1), r"n: 'x', expected a positive"),
        (
            lambda: timing.gemm_seconds("h100", 1, 1, 1, "bfloat6"),
            r"unknown dtype 'bfloat6' \(nearest: 'bfloat16'\)",
        ),
        (
            lambda: timing.gemm_seconds("a100", 1, 1, 1, "fp8"),
            r"unknown dtype of A100-80GB-SXM 'fp8'.*it has no fp8 peak",
        ),
        (
            lambda: timing.gemm_seconds("h10", 1, 1, 1),
            r"unknown device 'h10' \(nearest: ",
        ),
        (
            lambda: timing.attention_decode_seconds("h100", 1, 1, 32, 5, 128),
            r"kv_heads: 5, expected a divisor of the 32 heads",
        ),
        (
            lambda: timing.attention_decode_seconds("h100", 1, 1, 32, 8, 128, kv_dtype="fp9"),
            r"unknown kv_dtype 'fp9' \(nearest: 'fp8'\)",
        ),
        (
            lambda: timing.attention_prefill_seconds("h100", 1, 9, 8, 32, 8, 128),
            r"query_tokens: 9, expected at most context_tokens",
        ),
        (
            lambda: timing.attention_decode_seconds("h100", 1, 1, 8, 8, 128, window=0),
            r"window: 0, expected a positive number",
        ),
        (
            lambda: timing.moe_seconds("h100", 1, 64, 64, 8, 2, 3),
            r"ranks: 3, expected a divisor of the number of experts",
        ),
        (
            lambda: timing.moe_seconds("h100", 1, 64, 64, 8, 9),
            r"experts_per_token: 9, expected at most the number of experts",
        ),
        (
            lambda: timing.moe_seconds("h100", 1, 64, 64, 8, 2, spread=-1),
            r"spread: -1, expected a number from 0 up",
        ),
        (
            lambda: timing.sampling_seconds("h100", 9, 1000, "top_k"),
            r"unknown sampling 'top_k' \(nearest: 'top_p'\)",
        ),
        (lambda: timing.all_reduce_seconds("h100", 2.5, 1e6), r"ranks: 2.5, expected a whole"),
        (lambda: timing.memory_seconds("h100", -1), r"size_bytes: -1, expected a positive"),
        (lambda: timing.provenance("h100", "gem"), r"unknown law 'gem' \(nearest: 'gemm'\)"),
    ],
)
def test_a_wrong_argument_is_one_clear_line(run: Callable[[], Any], message: str) -> None:
    with pytest.raises(SpecificationError, match=message) as caught:
        run()
    assert "\n" not in str(caught.value)


def test_a_datasheet_takes_prefill_attention_from_its_generation() -> None:
    """An A10 runs the kernels of A100 and L40S; a product is carried from every device."""
    for law, names in (
        ("attention_prefill", ("A100-80GB-SXM", "L40S")),
        ("gemm", ("A100-80GB-SXM", "B200-SXM", "H100-SXM", "L40S")),
    ):
        key = "bfloat16/bfloat16" if law == "attention_prefill" else "bfloat16"
        found = resolve(law, device("A10"), [key])
        table = {name: shipped()[law][name][key].constants for name in names}
        assert found.constants == pytest.approx(carried(law, table, ""), rel=1e-3)
        assert found.rows == sum(shipped()[law][name][key].rows for name in names)
        assert found.low == shipped()[law][DATASHEET][key].low


def test_a_cache_format_that_only_another_generation_was_measured_with_stands_back() -> None:
    """Of fp8 caches there are Hopper's and Blackwell's times only: an A10 keeps its kernels."""
    keys = ["bfloat16/fp8", "bfloat16/bfloat16"]
    plain = resolve("attention_prefill", device("A10"), keys[1:])
    assert resolve("attention_prefill", device("A10"), keys) == plain
    assert resolve("attention_prefill", device("MI300X"), keys) != plain
