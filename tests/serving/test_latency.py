"""Latency of mixtures, against sampled requests and at the edges of its laws."""

from __future__ import annotations

import numpy as np
import pytest

from archwright.serving.latency import Latency, mixed
from archwright.serving.limits import Rule, rule


def groups(seed: int, n: int = 6) -> Latency:
    """Random groups of requests."""
    rng = np.random.default_rng(seed)
    return Latency(
        waits=rng.uniform(0, 1, n),
        wait_s=rng.uniform(0.1, 2, n),
        first_s=rng.uniform(0.05, 1, n),
        mean_first_s=rng.uniform(0.01, 0.05, n),
        tpot_s=rng.uniform(0.01, 0.2, n),
        output=rng.integers(10, 500, n).astype(float),
        mean_output=rng.integers(1, 10, n).astype(float),
    )


def sampled(found: Latency, share: np.ndarray, quantity: str, n: int = 400_000) -> np.ndarray:
    """Draw requests of a mixture."""
    rng = np.random.default_rng(0)
    of = rng.choice(len(share), n, p=share)
    wait = np.where(rng.random(n) < found.waits[of], rng.exponential(found.wait_s[of]), 0.0)
    fixed = {
        "ttft": found.first_s,
        "tpot": found.tpot_s,
        "e2e": found.first_s + found.output * found.tpot_s,
    }[quantity][of]
    return fixed if quantity == "tpot" else wait + fixed


@pytest.mark.parametrize("quantity", ["ttft", "tpot", "e2e"])
@pytest.mark.parametrize("quantile", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("seed", range(3))
def test_a_percentile_is_that_of_sampled_requests(
    quantity: str, quantile: float, seed: int
) -> None:
    """400,000 requests of six groups: the closed form lies where theirs lie."""
    found = groups(seed)
    share = np.random.default_rng(seed).dirichlet(np.ones(6))
    limit = Rule(name="x", quantity=quantity, quantile=quantile)  # type: ignore[arg-type]
    value = found.value(limit, share)
    draws = np.sort(sampled(found, share, quantity))
    spread = 4 * np.sqrt(quantile * (1 - quantile) / len(draws))
    low, high = (
        draws[int(np.clip((quantile + s) * len(draws), 0, len(draws) - 1))]
        for s in (-spread, spread)
    )

    assert low <= value * (1 + 1e-9)
    assert value <= high * (1 + 1e-9)


@pytest.mark.parametrize("quantity", ["ttft", "e2e"])
def test_the_share_that_is_late_is_that_of_sampled_requests(quantity: str) -> None:
    """Group by group, and of all."""
    found, share = groups(7), np.full(6, 1 / 6)
    for limit in (0.3, 1.0, 3.0, 30.0):
        late = float((found.late(quantity, limit) * share).sum())  # type: ignore[arg-type]
        draws = sampled(found, share, quantity)
        assert late == pytest.approx((draws > limit).mean(), abs=4e-3)


def test_a_mean_counts_those_who_wait() -> None:
    """C·θ, the prefill and first step of the mean prompt, and for all of it the mean output."""
    found, share = groups(3), np.array([1.0, 0, 0, 0, 0, 0])
    first = found.waits[0] * found.wait_s[0] + found.mean_first_s[0]

    assert found.value(rule("ttft_mean_s"), share) == pytest.approx(first)
    assert found.value(rule("tpot_mean_s"), share) == pytest.approx(found.tpot_s[0])
    assert found.value(rule("e2e_mean_s"), share) == pytest.approx(
        first + found.mean_output[0] * found.tpot_s[0]
    )


def certain(first_s: list[float], tpot_s: list[float] | None = None) -> Latency:
    """Groups that never wait."""
    n = len(first_s)
    return Latency(
        waits=np.zeros(n),
        wait_s=np.ones(n),
        first_s=np.array(first_s),
        mean_first_s=np.array(first_s),
        tpot_s=np.array(tpot_s or [0.01] * n),
        output=np.full(n, 100.0),
        mean_output=np.full(n, 100.0),
    )


@pytest.mark.parametrize(("late", "value"), [(0.0099, 0.1), (0.01, 0.1), (0.0101, 5.0)])
def test_one_in_a_hundred_may_be_late_and_no_more(late: float, value: float) -> None:
    """Just inside and just outside of what P99 leaves."""
    found = certain([0.1, 5.0], [0.1, 5.0])
    share = np.array([1 - late, late])

    assert found.value(rule("ttft_p99_s"), share) == pytest.approx(value, rel=1e-6)
    assert found.value(rule("tpot_p99_s"), share) == pytest.approx(value, rel=1e-6)


def test_an_endless_queue_is_late_by_those_who_wait() -> None:
    """A percentile below them is finite, one above is not."""
    found = Latency(
        waits=np.array([1.0, 0.0]), wait_s=np.array([np.inf, 1.0]), first_s=np.array([0.1, 0.2]),
        mean_first_s=np.array([0.1, 0.2]), tpot_s=np.ones(2), output=np.ones(2),
        mean_output=np.ones(2),
    )  # fmt: skip

    assert found.value(rule("ttft_p95_s"), np.array([0.04, 0.96])) == pytest.approx(0.2)
    assert np.isinf(found.value(rule("ttft_p95_s"), np.array([0.06, 0.94])))
    assert np.isinf(found.value(rule("ttft_mean_s"), np.array([0.04, 0.96])))
    assert found.late("ttft", 1e9).tolist() == [1.0, 0.0]


def test_what_a_limit_takes_decides_whether_it_holds() -> None:
    """The mean over requests of what they take is within the budget where the value is."""
    found = groups(11)
    share = np.random.default_rng(1).dirichlet(np.ones(6))
    for name in ("ttft_p99_s", "tpot_p90_s", "e2e_p95_s", "ttft_mean_s", "tpot_mean_s"):
        value = found.value(rule(name), share)
        for factor, holds in ((1.001, True), (0.999, False)):
            limit = rule(name, value * factor)
            taken = float((found.takes(limit) * share).sum())
            assert (taken <= limit.budget * (1 + 1e-9)) is holds, (name, factor)


def test_mixtures_are_joined_in_order() -> None:
    """Groups of several types stand one after the other, flat."""
    one, two = groups(1), groups(2)
    both = mixed([one, two])

    assert both.tpot_s.tolist() == [*one.tpot_s, *two.tpot_s]
    share = np.concatenate([np.zeros(6), np.full(6, 1 / 6)])
    assert both.value(rule("ttft_p99_s"), share) == two.value(
        rule("ttft_p99_s"), np.full(6, 1 / 6)
    )
