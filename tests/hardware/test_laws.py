"""The formulas against brute force and against what physics forbids."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archwright.hardware import laws
from archwright.hardware.laws import Machine

PLAIN = Machine(
    peak=1e15, bandwidth=2e12, units=100, clock=1.5e9, l2=4e7, link=4e11
)  # fmt: skip
IDEAL_GEMM = {
    "launch_cycles": 0.0, "compute": 1.0, "read": 1.0, "write": 1.0, "cache_share": 0.15,
    "cache_bytes_cycle": 1e-9, "loop_cycles": 0.0, "split_cycles": 1e12, "throttle": 0.0,
    "norm": 60.0,
}  # fmt: skip


def floats(*values: float) -> list[np.ndarray]:
    return [np.asarray(float(value)) for value in values]


@given(
    m=st.integers(1, 3000),
    n=st.integers(1, 3000) | st.sampled_from([64 * 108, 64 * 132, 64 * 148, 64 * 7 * 148]),
    units=st.sampled_from([100, 108, 132, 142, 148, 304]),
)
def test_compute_bound_matmul_counts_waves_of_tiles(m: int, n: int, units: int) -> None:
    """Tiles dealt to units one wave at a time, k so long that nothing else matters."""
    k = 10**9
    tiles = math.ceil(m / laws.TILE) * math.ceil(n / laws.TILE)
    waves = 0
    while tiles > 0:
        tiles -= units
        waves += 1
    unit_peak = PLAIN.peak / units
    wave_s = 2 * laws.TILE**2 * k / unit_peak
    fast = Machine(peak=1e15, bandwidth=1e30, units=units, clock=1.5e9, l2=1.0)
    found = laws.gemm(fast, IDEAL_GEMM, *floats(m, n, k))
    assert found == pytest.approx(waves * wave_s, rel=1e-6)


@given(query=st.integers(1, 40), before=st.integers(0, 40), window=st.none() | st.integers(1, 90))
def test_causal_pairs_equal_a_count(query: int, before: int, window: int | None) -> None:
    context = query + before
    pairs = 0
    for i in range(query):
        for j in range(context):
            position = before + i
            pairs += j <= position and (window is None or j > position - window)
    reach = math.inf if window is None else window
    found = laws.prefill_bound(PLAIN, *floats(3, query, context, 8, 2, 64, reach))
    assert found == pytest.approx(4 * 3 * 8 * pairs * 64 / PLAIN.peak, rel=1e-12)


def test_prefill_equals_the_sum_of_decode_steps_in_arithmetic() -> None:
    s = 500
    whole = laws.prefill_bound(PLAIN, *floats(1, s, s, 8, 8, 128, math.inf))
    steps = sum(
        float(laws.prefill_bound(PLAIN, *floats(1, 1, c, 8, 8, 128, math.inf)))
        for c in range(1, s + 1)
    )
    assert whole == pytest.approx(steps, rel=1e-12)


RING = {
    "launch_s": 6e-6, "hop_s": 1e-6, "ring": 1.0, "ramp": 0.8, "direct_s": 4e-6, "direct": 1.0,
    "crowding": 0.0,
}  # fmt: skip


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_ring_all_reduce_tends_to_its_textbook_limits(ranks: int) -> None:
    large = laws.all_reduce(PLAIN, RING, *floats(ranks, 1e15, 1))
    assert large == pytest.approx(2 * (ranks - 1) / ranks * 1e15 / PLAIN.link, rel=1e-3)
    small = laws.all_reduce(PLAIN, RING, *floats(ranks, 1e-9, 1))
    assert small == pytest.approx(6e-6 + (ranks - 1) * 1e-6, rel=1e-3)
    direct = laws.all_reduce(PLAIN, RING, *floats(ranks, 1e-9, 0))
    assert direct == pytest.approx(4e-6, rel=1e-3)


MOE = {
    "launch_cycles": 0.0, "expert_cycles": 0.0, "tile_rows": 0.0, "compute": 1.0, "read": 1.0,
    "write": 1.0, "route": 1e12, "throttle": 0.0, "uneven": 0.0, "norm": 60.0,
}  # fmt: skip


def test_all_experts_on_one_rank_equal_a_dense_layer_of_the_summed_width() -> None:
    tokens, hidden, width, experts = 1e6, 4096, 512, 8
    found = laws.moe(PLAIN, MOE, *floats(tokens, hidden, width, experts, experts, 1, 3, 0))
    assert found == pytest.approx(2 * tokens * 3 * hidden * width * experts / PLAIN.peak, rel=1e-3)


def test_few_tokens_touch_the_expected_number_of_experts() -> None:
    """Memory bound: the weights of E (1 - (1 - k/E)^B) experts are read."""
    experts, chosen, tokens = 64, 4, 5
    found = laws.moe(PLAIN, MOE, *floats(tokens, 8192, 2048, experts, chosen, 1, 3, 0))
    touched = experts * (1 - (1 - chosen / experts) ** tokens)
    weights_s = touched * 3 * 8192 * 2048 * 2 / PLAIN.bandwidth
    assert found == pytest.approx(weights_s, rel=0.01)


def test_an_uneven_routing_slows_the_busiest_rank_up_to_all_tokens() -> None:
    args = (1e6, 4096, 1024, 64, 4)
    even, uneven, hopeless, alone = (
        float(laws.moe(PLAIN, MOE, *floats(*args, ranks, 3, spread)))
        for ranks, spread in ((64, 0), (64, 1), (64, 1e6), (1, 1))
    )
    assert uneven / even == pytest.approx(1 + math.sqrt(2 * math.log(64)), rel=0.01)
    # One expert a rank: at worst every token comes to it.
    assert hopeless / even == pytest.approx(64 / 4, rel=0.01)
    assert alone == pytest.approx(float(laws.moe(PLAIN, MOE, *floats(*args, 1, 3, 0))))
