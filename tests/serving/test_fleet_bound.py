"""The bound of a fleet's cost, what it leaves out, and what a fleet achieves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from archwright.errors import InfeasibleError, SpecificationError
from archwright.hardware import device
from archwright.hardware.energy import power_w
from archwright.llm import transformer
from archwright.search import Budget, Choice, Exhaustive, Goal, Study
from archwright.serving import FleetEnvironment, GpuProfile, Profile, fleet_environment, plan_fleet
from archwright.serving.achieved import achieved
from archwright.serving.fleet_bound import relax
from archwright.serving.profile import InstanceType, profile
from archwright.serving.workload import workload

FRONT = Goal(minimize=["cost_usd_per_hour"], maximize=["quality"])
VARY = {
    "model": Choice(["Llama-3.1-8B", "Qwen2.5-7B", "Qwen2.5-14B"]),
    "max_batch": Choice([64, 256]),
}
DESIGN = {
    "model": "Llama-3.1-8B",
    "weights": "bf16",
    "kv": "bf16",
    "max_batch": 64,
    "devices": "all",
}


def fleet(**options: Any) -> FleetEnvironment:
    """A fleet of few devices."""
    settings: dict[str, Any] = {
        "rate_per_s": 40.0,
        "limits": {"ttft_p99_s": 1.0, "tpot_mean_s": 0.05},
        "devices": ["L4", "A100-80GB-SXM", "H100-SXM"],
        "tensor_parallel": [1, 2],
        "vary": VARY,
    }
    return fleet_environment(**(settings | options))


def made(rates: np.ndarray) -> list[Profile]:
    """Profiles of given rates, shape (types, I, J)."""
    nothing = np.zeros(rates.shape[1:])
    return [
        Profile(
            type=InstanceType(device=device("L4"), tensor_parallel=width),
            rate=rate[None],
            takes={},
            binding=nothing.astype(np.int8),
            slots=nothing,
        )
        for width, rate in enumerate(rates, 1)
    ]


@pytest.mark.parametrize("seed", range(200))
def test_the_bound_is_never_above_the_exact_cost(seed: int) -> None:
    """200 random instances, some types unable, some fleets to survive a loss."""
    rng = np.random.default_rng(seed)
    types = int(rng.integers(1, 5))
    rates = np.exp(rng.uniform(np.log(0.3), np.log(30), (types, 2, 2)))
    rates[1:][rng.random((types - 1, 2, 2)) < 0.2] = 0.0
    prices = rng.choice([1.0, 2.0, 4.0], types) if seed % 2 else rng.uniform(0.5, 4, types)
    shares = rng.dirichlet(np.ones(4)).reshape(2, 2)
    rate, safe = float(rng.uniform(0.1, 20)), bool(seed % 3 == 0)
    gpus = {f"g{i}": GpuProfile(float(p), rates[i]) for i, p in enumerate(prices)}
    exact = plan_fleet(shares, gpus, rate, survive_loss=safe).cost_per_hour
    found = relax(made(rates), prices.tolist(), shares * rate, survive_loss=safe)

    assert 0 < found.cost_per_hour <= exact * (1 + 1e-9)
    if not safe:
        assert exact <= found.dearest_cost_per_hour * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(100))
def test_the_bound_holds_with_limits_over_all_requests(seed: int) -> None:
    """Several ways and two budgets, one of them tight: still never above the exact cost."""
    from archwright.serving.plan import Way

    rng = np.random.default_rng(seed)
    types, ways = int(rng.integers(1, 4)), 3
    rates = np.exp(rng.uniform(np.log(0.3), np.log(30), (types, ways, 2, 2)))
    rates[1:][rng.random((types - 1, ways, 2, 2)) < 0.2] = 0.0
    takes = {name: rng.uniform(0, 1, rates.shape) for name in ("late", "mean")}
    for name in takes:  # the first way of the first type takes nothing, so something is feasible
        takes[name][0, 0] = 0.0
    budgets = {"late": float(rng.uniform(0.0, 0.6)), "mean": float(rng.uniform(0.1, 1.0))}
    prices = rng.uniform(0.5, 4, types)
    shares = rng.dirichlet(np.ones(4)).reshape(2, 2)
    rate = float(rng.uniform(0.1, 20))
    gpus = {}
    for g, price in enumerate(prices):
        each = [{name: t[g, m] for name, t in takes.items()} for m in range(ways)]
        more = [Way(rates[g, m], each[m]) for m in range(1, ways)]
        gpus[f"g{g}"] = GpuProfile(float(price), rates[g, 0], each[0], more)
    exact = plan_fleet(shares, gpus, rate, budgets=budgets).cost_per_hour
    profiles = [
        Profile(
            type=InstanceType(device=device("L4"), tensor_parallel=g + 1),
            rate=rates[g],
            takes={name: t[g] for name, t in takes.items()},
            binding=np.zeros((2, 2), dtype=np.int8),
            slots=np.ones((2, 2)),
        )
        for g in range(types)
    ]
    found = relax(profiles, prices.tolist(), shares * rate, budgets=budgets)
    free = relax(profiles, prices.tolist(), shares * rate)

    assert 0 < free.cost_per_hour <= found.cost_per_hour * (1 + 1e-12)
    assert found.cost_per_hour <= exact * (1 + 1e-9)


def test_the_bound_of_a_single_limit_is_that_of_the_linear_programme() -> None:
    """Half the load may be late: the price of lateness is found to the last few digits."""
    cheap = np.array([[[1.0]], [[4.0]]])  # in time, and late at a quarter of the cost
    profile_ = Profile(
        type=InstanceType(device=device("L4")),
        rate=cheap,
        takes={"late": np.array([[[0.0]], [[1.0]]])},
        binding=np.zeros((1, 1), dtype=np.int8),
        slots=np.ones((1, 1)),
    )
    found = relax([profile_], [1.0], np.array([[8.0]]), budgets={"late": 0.5})

    assert found.cost_per_hour == pytest.approx(8 * (0.5 + 0.5 / 4), rel=1e-2)


def test_the_bound_is_reached_by_full_instances_and_by_one_alone() -> None:
    """Two types each filled to the last request, and a load that one instance carries."""
    rates = np.array([[[2.0, 0.5]], [[0.5, 4.0]]])
    full = relax(made(rates), [1.0, 1.0], np.array([[4.0, 4.0]]))
    alone = relax(made(rates), [3.0, 5.0], np.array([[0.1, 0.1]]))

    assert full.cost_per_hour == pytest.approx(3.0) == full.dearest_cost_per_hour
    assert full.counts.tolist() == [2.0, 1.0]
    assert alone.cost_per_hour == 3.0 == alone.dearest_cost_per_hour


def test_a_loss_to_survive_doubles_a_single_instance() -> None:
    """One instance would do; two are needed, and the bound knows."""
    rates = np.array([[[2.0]]])
    found = relax(made(rates), [3.0], np.array([[1.0]]), survive_loss=True)
    exact = plan_fleet([[1.0]], {"a": GpuProfile(3.0, rates[0])}, 1.0, survive_loss=True)

    assert found.cost_per_hour == 6.0 == exact.cost_per_hour


def test_both_fidelities_measure_what_they_say() -> None:
    """Costs at the bound are at most the exact ones; quality and feasibility are the same."""
    environment = fleet(devices=["L4", "H100-SXM"], limits={"ttft_p99_s": 0.3})
    designs = next(iter(environment.space.enumerate())).take(np.arange(24))
    seeds = np.zeros(len(designs), dtype=np.uint64)
    low, exact = (
        environment.evaluate(designs, seeds=seeds, fidelity=each.name)
        for each in environment.fidelities
    )

    assert (low.is_feasible == exact.is_feasible).all()
    able = exact.is_feasible
    for name in ("cost_usd_per_hour", "cost_usd_per_million_tokens"):
        assert (low.metrics[name][able] <= exact.metrics[name][able] * (1 + 1e-9)).all()
    np.testing.assert_array_equal(low.metrics["quality"], exact.metrics["quality"])
    for name in exact.low:
        value, ends = exact.metrics[name][able], (exact.low[name][able], exact.high[name][able])
        known = np.isfinite(value)
        assert (ends[0][known] <= value[known]).all()
        assert (value[known] <= ends[1][known]).all()


@pytest.mark.parametrize("limit", [(), ("quality >= 50",)])
def test_screening_keeps_the_whole_front(limit: tuple[str, ...]) -> None:
    """What is left out is on no front, and something is left out."""
    environment = fleet()
    goal = Goal(minimize=FRONT.minimize, maximize=FRONT.maximize, subject_to=limit)
    designs = next(iter(environment.space.enumerate()))
    worth = environment.screen(designs, goal)
    result = Study(environment, goal, Exhaustive(), budget=Budget(evaluations=100)).run()

    assert 0 < worth.sum() < len(designs)
    kept = {tuple(design.items()) for design, keep in zip(designs, worth, strict=True) if keep}
    assert {tuple(result.design(row).items()) for row in result.front} <= kept


def test_screening_promises_nothing_where_it_cannot() -> None:
    """A goal over power, or a loss to survive: every design is worth an exact plan."""
    designs = next(iter(fleet().space.enumerate())).take(np.arange(8))

    assert fleet().screen(designs, Goal(minimize=["power_w"])).all()
    assert (
        fleet()
        .screen(designs, Goal(minimize=["cost_usd_per_hour"], subject_to=["power_w<=9"]))
        .all()
    )
    assert fleet(survive_loss=True).screen(designs, FRONT).all()


def test_power_is_fitted_only_where_every_device_was_measured() -> None:
    """The weaker label counts, for joules a token too."""
    for devices, label in ((["H100-SXM"], "fitted"), (["H100-SXM", "L4"], "analytic")):
        environment = fleet(devices=devices)
        one = environment.space.design(DESIGN)
        found = environment.evaluate(one, seeds=np.zeros(1, dtype=np.uint64))
        assert found.provenance["power_w"] == label == found.provenance["joules_per_token"]
        assert found.provenance["ttft_p99_s"] == "fitted"


def test_an_idle_fleet_takes_idle_power() -> None:
    """An instance that serves nothing waits at the idle power of the law, with its interval."""
    chat = workload("builtin:chat")
    kind = InstanceType(device=device("H100-SXM"))
    found = profile(transformer("Llama-3.1-8B"), kind, chat)
    nothing = np.zeros(found.rate.shape)
    idle = achieved([found], np.array([3.0]), chat.shares, {found.type.name: nothing})

    assert idle.power_w.value == pytest.approx(3 * power_w("H100-SXM", 0.0, 0.0))
    assert idle.power_w.low < idle.power_w.value < idle.power_w.high
    assert idle.accelerators == 3


def test_a_design_that_nothing_serves_is_refused_at_both_fidelities() -> None:
    """The same sentence."""
    environment = fleet(devices=["L4"], tensor_parallel=[1], vary={})
    design = DESIGN | {"model": "Llama-3.3-70B"}
    with pytest.raises(InfeasibleError) as bound:
        environment.bound(design)
    with pytest.raises(InfeasibleError) as exact:
        environment.plan(design)

    assert str(bound.value) == str(exact.value)


def test_a_screened_study_finds_the_front_of_the_whole_one() -> None:
    """Bounds of every design, exact plans of those that a bound does not rule out."""

    def front(screen: bool) -> tuple[set[tuple[float, ...]], int]:
        study = Study(
            fleet(vary=VARY, rate_per_s=600.0), FRONT, Exhaustive(screen=screen),
            budget=Budget(cost=1e4), window=4, chunk=2,
        )  # fmt: skip
        result = study.run()
        exact = sum(f == "exact" for f in result.table["fidelity"].to_pylist())
        return {tuple(row) for row in result.losses[result.front]}, exact

    whole, every = front(False)
    screened, fewer = front(True)
    assert screened == whole
    assert fewer < every


def test_a_goal_without_a_bound_cannot_be_screened() -> None:
    """One line names what has one."""
    study = Study(
        fleet_environment(rate_per_s=5.0), Goal(minimize=["power_w"]), Exhaustive(screen=True),
        budget=Budget(cost=10.0),
    )  # fmt: skip
    with pytest.raises(SpecificationError, match="screen: 'power_w' has no bound"):
        study.run()
