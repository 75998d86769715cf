"""Erlang C and Kimura's quantile, against known values and a simulated queue."""

from __future__ import annotations

import heapq

import numpy as np
import pytest

from archwright.serving import erlang_c, p99_wait_s


def simulate_waits(servers: int, load: float, arrivals: int, seed: int) -> np.ndarray:
    """Waiting times in M/M/c with unit service rate, first come first served."""
    rng = np.random.default_rng(seed)
    arrive = np.cumsum(rng.exponential(1 / (servers * load), arrivals))
    service = rng.exponential(1.0, arrivals)
    free = [0.0] * servers
    waits = np.empty(arrivals)
    for i, (at, takes) in enumerate(zip(arrive.tolist(), service.tolist(), strict=True)):
        start = max(at, free[0])
        heapq.heapreplace(free, start + takes)
        waits[i] = start - at
    return waits


def test_known_values() -> None:
    """C(2, 1) = 1/3 and C(100, 90) = 0.21694."""
    assert float(erlang_c(2, 1.0)) == pytest.approx(1 / 3)
    assert float(erlang_c(100, 90.0)) == pytest.approx(0.21694, abs=5e-6)


def test_the_sum_of_the_definition() -> None:
    """The closed form equals the defining sum for every small case."""
    from math import factorial

    for c in (1, 3, 8, 20):
        for rho in (0.1, 0.5, 0.95):
            a = c * rho
            top = a**c / factorial(c) / (1 - rho)
            below = sum(a**k / factorial(k) for k in range(c))
            assert float(erlang_c(c, a)) == pytest.approx(top / (below + top), rel=1e-9)


def test_large_systems_stay_finite() -> None:
    """A hundred thousand servers neither overflow nor leave [0, 1]."""
    found = erlang_c(1e5, np.array([1e3, 9e4, 9.99e4, 1e5, 2e5]))

    assert np.isfinite(found).all()
    assert (np.diff(found) >= 0).all()
    assert found[-1] == found[-2] == 1.0


# Waits come in bursts, so one run of 200,000 arrivals still misses P(wait) by up to 7 %
# (32 servers, load 0.7); four runs are pooled.
@pytest.mark.parametrize("servers", [1, 4, 32])
@pytest.mark.parametrize("load", [0.5, 0.7, 0.9])
def test_against_a_simulated_queue(servers: int, load: float) -> None:
    """P(wait) within 5 % and P99 wait within 10 %; where under 1 % wait, the quantile is 0."""
    runs = [simulate_waits(servers, load, 200_000, seed=seed)[2_000:] for seed in range(4)]
    waits = np.concatenate(runs)
    chance = float(erlang_c(servers, servers * load))
    quantile = float(p99_wait_s(servers, 1.0, servers * load))

    if chance > 0.01:
        assert (waits > 0).mean() == pytest.approx(chance, rel=0.05)
        assert np.quantile(waits, 0.99) == pytest.approx(quantile, rel=0.10)
    else:
        assert (waits > 0).mean() < 0.01
        assert quantile == 0.0


def test_the_limits_of_the_quantile() -> None:
    """Infinite at saturation, zero where almost nobody waits, longer with more variation."""
    assert np.isinf(p99_wait_s(4, 1.0, 4.0))
    assert float(p99_wait_s(100, 1.0, 10.0)) == 0.0
    assert float(p99_wait_s(4, 1.0, 3.5, 0.0)) == pytest.approx(float(p99_wait_s(4, 1.0, 3.5)) / 2)
