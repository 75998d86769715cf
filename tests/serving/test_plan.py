"""plan_fleet: published examples, enumeration, the laws a plan obeys, and bad input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archwright.errors import InfeasibleError, SpecificationError
from archwright.serving import CountLimit, FleetPlan, GpuProfile, plan_fleet
from oracles.fleet_brute_force import best_fleet

EXAMPLE = {
    "A10G": GpuProfile(1.01, [[2, 1], [5, 2]]),
    "A100-80GB": GpuProfile(3.67, [[20, 20], [40, 20]]),
}
SHARES = [[0.2, 0.1], [0.5, 0.2]]
STAIRCASE = {"A100": GpuProfile(3.67, [[2.0]]), "A10G": GpuProfile(1.01, [[0.37]])}


def random_case(
    seed: int, *, types: int, ties: bool
) -> tuple[np.ndarray, dict[str, GpuProfile], float]:
    """Shares, profiles and rate; with ``ties`` the prices are commensurate."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(4)).reshape(2, 2)
    rates = np.exp(rng.uniform(np.log(0.5), np.log(50), (types, 2, 2)))
    prices = rng.choice([1.0, 2.0, 4.0], types) if ties else rng.uniform(0.5, 4.0, types)
    gpus = {f"g{i}": GpuProfile(float(p), rates[i]) for i, p in enumerate(prices)}
    return shares, gpus, float(rng.uniform(1, 10))


def loads(shares: np.ndarray, gpus: dict[str, GpuProfile], rate: float) -> np.ndarray:
    """Units of each type that each bucket needs, shape (buckets, types)."""
    rates = np.stack([np.asarray(g.max_rate) for g in gpus.values()], -1).reshape(4, -1)
    return shares.reshape(4, 1) * rate / rates


def check_consistent(
    plan: FleetPlan, shares: Any, gpus: dict[str, GpuProfile], rate: float
) -> None:
    """Counts, cost, assignment, load and headroom agree with each other."""
    shares = np.asarray(shares)
    assignment = plan.assignment
    assert list(plan.counts) == list(gpus)
    np.testing.assert_allclose(assignment.sum(axis=2), (shares > 0).astype(float), atol=1e-9)
    assert (assignment >= 0).all()
    cost = sum(gpus[n].cost_per_hour * c for n, c in plan.counts.items())
    assert plan.cost_per_hour == pytest.approx(cost)
    for g, (name, gpu) in enumerate(gpus.items()):
        rates = np.asarray(gpu.max_rate, dtype=float)
        part = assignment[:, :, g]
        assert (part[rates == 0] == 0).all()
        used = part > 0
        load = float((part[used] * shares[used] * rate / rates[used]).sum())
        assert plan.load[name] == pytest.approx(load, abs=1e-12)
        count = plan.counts[name]
        assert load <= count * (1 + 1e-8) + 1e-12
        if count:
            assert plan.headroom[name] == pytest.approx(1 - load / count)
        else:
            assert math.isnan(plan.headroom[name])


def test_the_published_example_costs_6_70_sliced_and_4_68_divided() -> None:
    """Slice factor 1 gives 3 A10G, exactly full, and 1 A100."""
    sliced = plan_fleet(SHARES, EXAMPLE, 30.0, slice_factor=1)
    divided = plan_fleet(SHARES, EXAMPLE, 30.0)

    assert sliced.counts == {"A10G": 3, "A100-80GB": 1}
    assert sliced.cost_per_hour == pytest.approx(6.70)
    assert divided.cost_per_hour == pytest.approx(4.68)
    check_consistent(sliced, SHARES, EXAMPLE, 30.0)
    check_consistent(divided, SHARES, EXAMPLE, 30.0)


@pytest.mark.parametrize("slice_factor", [None, 64])
@pytest.mark.parametrize(
    ("rate", "a100", "a10g"), [(4.2, 2, 1), (0.3, 0, 1), (1.5, 1, 0), (8.0, 4, 0)]
)
def test_the_published_staircase(
    rate: float, a100: int, a10g: int, slice_factor: int | None
) -> None:
    """The mix of the paper's figure at each rate; 8.35 against 11.01 at 4.2 requests/s."""
    plan = plan_fleet([[1.0]], STAIRCASE, rate, slice_factor=slice_factor)

    assert plan.counts == {"A100": a100, "A10G": a10g}
    if rate == 4.2:
        alone = plan_fleet([[1.0]], {"A100": STAIRCASE["A100"]}, rate)
        assert plan.cost_per_hour == pytest.approx(8.35)
        assert alone.cost_per_hour == pytest.approx(11.01)


@pytest.mark.parametrize("seed", range(200))
def test_cost_equals_enumeration(seed: int) -> None:
    """200 random instances, divided and sliced, with and without equal prices."""
    slices = [None, 1, 2][seed % 3]
    shares, gpus, rate = random_case(seed, types=2 + seed % 2, ties=bool(seed % 4 < 2))
    prices = [gpu.cost_per_hour for gpu in gpus.values()]
    expected = best_fleet(loads(shares, gpus, rate), prices, slices=slices)
    if expected is None:
        pytest.skip("needs more instances than the enumeration tries")
    plan = plan_fleet(shares, gpus, rate, slice_factor=slices)

    assert plan.cost_per_hour == pytest.approx(expected[0], abs=1e-6)
    assert tuple(plan.counts.values()) == expected[1]
    check_consistent(plan, shares, gpus, rate)


@pytest.mark.parametrize("seed", range(30))
def test_fleets_that_survive_a_loss_equal_enumeration(seed: int) -> None:
    """Any one instance may go, and the rest carries all."""
    shares, gpus, rate = random_case(seed, types=2, ties=bool(seed % 2))
    prices = [gpu.cost_per_hour for gpu in gpus.values()]
    expected = best_fleet(loads(shares, gpus, rate), prices, survive_loss=True)
    if expected is None:
        pytest.skip("needs more instances than the enumeration tries")
    plan = plan_fleet(shares, gpus, rate, survive_loss=True)

    assert plan.cost_per_hour == pytest.approx(expected[0], abs=1e-6)
    assert tuple(plan.counts.values()) == expected[1]


@pytest.mark.parametrize("seed", range(30))
def test_available_and_fixed_equal_enumeration(seed: int) -> None:
    """At most, and exactly."""
    rng = np.random.default_rng(seed)
    shares, gpus, rate = random_case(seed, types=3, ties=False)
    prices = [gpu.cost_per_hour for gpu in gpus.values()]
    available = {"g0": int(rng.integers(0, 3))}
    fixed = {"g1": int(rng.integers(0, 3))}
    expected = best_fleet(
        loads(shares, gpus, rate),
        prices,
        most=[available["g0"], fixed["g1"], 7],
        least=[0, fixed["g1"], 0],
    )
    if expected is None:
        pytest.skip("needs more instances than the enumeration tries")
    plan = plan_fleet(shares, gpus, rate, available=available, fixed=fixed)

    assert plan.cost_per_hour == pytest.approx(expected[0], abs=1e-6)
    assert tuple(plan.counts.values()) == expected[1]


def test_a_limit_over_several_types_holds() -> None:
    """Accelerators of one device are shared by its widths."""
    gpus = {"H x1": GpuProfile(1.0, [[1.0]]), "H x2": GpuProfile(2.0, [[2.2]]),
            "L": GpuProfile(1.5, [[1.0]])}  # fmt: skip
    free = plan_fleet([[1.0]], gpus, 6.0)
    limited = plan_fleet([[1.0]], gpus, 6.0, limits=[CountLimit({"H x1": 1.0, "H x2": 2.0}, 4.0)])

    assert free.counts["L"] == 0
    assert limited.counts["H x1"] + 2 * limited.counts["H x2"] <= 4
    assert limited.cost_per_hour == pytest.approx(4.0 + 3.0)


def test_ties_prefer_fewer_then_roomier_then_earlier() -> None:
    """Each criterion decides where those before it are equal."""
    fewer = plan_fleet(
        [[1.0]], {"a": GpuProfile(1.0, [[1.0]]), "b": GpuProfile(2.0, [[2.0]])}, 2.0
    )
    roomier = plan_fleet(
        [[1.0]], {"a": GpuProfile(1.0, [[2.0]]), "b": GpuProfile(1.0, [[3.0]])}, 1.5
    )
    earlier = plan_fleet(
        [[1.0]], {"b": GpuProfile(1.0, [[2.0]]), "a": GpuProfile(1.0, [[2.0]])}, 1.5
    )

    assert fewer.counts == {"a": 0, "b": 1}
    assert roomier.counts == {"a": 0, "b": 1}
    assert earlier.counts == {"b": 1, "a": 0}


@given(seed=st.integers(0, 10_000))
def test_laws_of_a_plan(seed: int) -> None:
    """Dominance and order, on any input."""
    shares, gpus, rate = random_case(seed, types=3, ties=bool(seed % 2))
    cost = plan_fleet(shares, gpus, rate).cost_per_hour
    slack = 1 + 1e-9
    for name, gpu in gpus.items():
        assert cost <= plan_fleet(shares, {name: gpu}, rate).cost_per_hour * slack
    fewer = dict(list(gpus.items())[:2])
    assert cost <= plan_fleet(shares, fewer, rate).cost_per_hour * slack
    assert cost <= plan_fleet(shares, gpus, 2 * rate).cost_per_hour * slack
    sliced = [plan_fleet(shares, gpus, rate, slice_factor=s).cost_per_hour for s in (1, 2, 4)]
    assert cost <= sliced[2] * slack
    assert sliced[2] <= sliced[1] * slack <= sliced[0] * slack**2


@given(seed=st.integers(0, 10_000))
def test_a_rounded_relaxation_bounds_the_plan(seed: int) -> None:
    """Each bucket on its cheapest type, counts rounded up: feasible, at most one a type dearer."""
    shares, gpus, rate = random_case(seed, types=3, ties=bool(seed % 2))
    prices = np.array([gpu.cost_per_hour for gpu in gpus.values()])
    load = loads(shares, gpus, rate)
    dollars = load * prices
    divided = np.bincount(dollars.argmin(axis=1), load[range(4), dollars.argmin(axis=1)], 3)
    rounded = dict(zip(gpus, np.ceil(divided - 1e-12).astype(int), strict=True))
    cost = plan_fleet(shares, gpus, rate).cost_per_hour
    held = plan_fleet(shares, gpus, rate, fixed=rounded).cost_per_hour

    assert prices @ divided * (1 - 1e-9) <= cost <= held * (1 + 1e-9)
    assert held <= prices @ divided + prices[divided > 0].sum()


def test_a_bucket_without_requests_is_assigned_nowhere() -> None:
    """Its shares are zeros, even where a type could serve it."""
    plan = plan_fleet([[1.0, 0.0]], {"a": GpuProfile(1.0, [[1.0, 1.0]])}, 1.0)

    assert plan.assignment.tolist() == [[[1.0], [0.0]]]


def test_no_requests_need_no_fleet_but_what_is_fixed() -> None:
    """Rate 0 buys nothing."""
    assert plan_fleet(SHARES, EXAMPLE, 0.0).cost_per_hour == 0
    assert plan_fleet(SHARES, EXAMPLE, 0.0, fixed={"A10G": 2}).counts["A10G"] == 2


@pytest.mark.parametrize("slice_factor", [None, 2])
def test_an_impossible_load_names_the_bucket(slice_factor: int | None) -> None:
    """A bucket that nothing may serve, or that what is available cannot carry."""
    gpus = {"a": GpuProfile(1.0, [[1.0, 0.0]])}
    with pytest.raises(InfeasibleError, match=r"bucket \(0, 1\): 2 requests/s, but no type"):
        plan_fleet([[0.5, 0.5]], gpus, 4.0, slice_factor=slice_factor)
    gpus = {"a": GpuProfile(1.0, [[4.0, 1.0]])}
    with pytest.raises(
        InfeasibleError, match=r"bucket \(0, 1\): the counts allowed leave 1\.5 of"
    ):
        plan_fleet([[0.5, 0.5]], gpus, 4.0, slice_factor=slice_factor, available={"a": 1})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"workload": [[0.5, 0.6], [0, 0]]}, "shares must sum to 1, found 1.1"),
        (
            {"workload": [[math.nan, 1], [0, 0]]},
            r"workload\[0\]\[0\]: expected a share .* found nan",
        ),
        ({"workload": [[-0.5, 1.5], [0, 0]]}, r"workload\[0\]\[0\]: .* found -0.5"),
        ({"workload": [0.5, 0.5]}, r"expected a table of shares, found shape \(2,\)"),
        ({"rate": -1.0}, "rate: expected requests/s of at least 0, found -1.0"),
        ({"rate": math.nan}, "rate: .* found nan"),
        ({"slice_factor": 0}, "slice_factor: expected None or a whole number from 1, found 0"),
        ({"gpus": {}}, "gpus: expected at least one type"),
        ({"gpus": {"a": GpuProfile(1.0, [[1.0]])}}, r"expected shape \(2, 2\) .* found \(1, 1\)"),
        (
            {"gpus": {"a": GpuProfile(1.0, [[1, -1], [1, 1]])}},
            r"max_rate\[0\]\[1\]: .* found -1.0",
        ),
        (
            {"gpus": {"a": GpuProfile(0.0, SHARES)}},
            "cost_per_hour: expected more than 0, found 0.0",
        ),
        ({"available": {"A10": 1}}, "available: unknown type 'A10' .nearest: 'A10G'"),
        ({"fixed": {"A10G": 1.5}}, "fixed.'A10G'.: expected a whole number from 0, found 1.5"),
        ({"fixed": {"A10G": 3}, "available": {"A10G": 2}}, "'A10G' is above what is available"),
        ({"limits": [CountLimit({"A10": 1}, 2)]}, "limits: unknown type 'A10' .nearest: 'A10G'"),
        (
            {"limits": [CountLimit({"A10G": -1.0}, 2)]},
            "coefficient of 'A10G': expected a number of at least 0, found -1.0",
        ),
        ({"limits": [CountLimit({"A10G": 1}, math.nan)]}, "at_most: .* found nan"),
        ({"workload": [[1.0], [0.0, 0.0]]}, "workload: expected a table .* rows of equal length"),
        ({"gpus": {"a": GpuProfile(1.0, [["x"]])}}, r"max_rate: expected a table .* \[\['x'\]\]"),
    ],
)
def test_a_mistake_is_one_line(change: dict[str, Any], message: str) -> None:
    """The message names the value, where it stands and what was expected."""
    call: dict[str, Any] = {"workload": SHARES, "gpus": EXAMPLE, "rate": 30.0} | change
    with pytest.raises(SpecificationError, match=message):
        plan_fleet(**call)
