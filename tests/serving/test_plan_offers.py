"""plan_fleet with whole offers, late requests and budgets: enumeration, laws, bad input."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archwright.errors import InfeasibleError, SpecificationError
from archwright.hardware.offers import Offer
from archwright.serving.plan import CountLimit, FleetPlan, GpuProfile, Way, plan_fleet
from oracles.fleet_brute_force import Best, best_rented

UP_TO = 4
ONE = {"a": GpuProfile(1.0, [[1.0]])}
NODE = [Offer("node", "A", 8, 8.0)]


def random_case(seed: int) -> tuple[np.ndarray, dict[str, GpuProfile], float, dict[str, Any]]:
    """Few buckets and types, two regions, odd nodes, late requests; further options by chance."""
    rng = np.random.default_rng(seed)
    types = int(rng.integers(2, 4))
    shares = np.zeros((1, 3))
    shares[0, : int(rng.integers(1, 4))] = 1.0
    shares = shares * rng.choice([1.0, 2.0], shares.shape)
    shares /= shares.sum()
    widths = rng.choice([1, 2, 4] if seed % 2 else [1, 2, 3, 5], types)
    base = np.exp(rng.uniform(np.log(1.5), np.log(9), (types, 1, 3)))
    base[rng.random(base.shape) < 0.15] = 0.0
    gpus = {f"g{g}": GpuProfile(1.0, base[g]) for g in range(types)}
    shapes = {f"g{g}": (str(rng.choice(["A", "B"])), int(widths[g])) for g in range(types)}
    late = {
        name: np.asarray(gpu.max_rate) * rng.choice([1.5, 3.0]) + rng.choice([0.0, 2.0])
        for name, gpu in gpus.items()
        if rng.random() < 0.8
    }
    offers = []
    for region in ("r1", "r2"):
        for device in ("A", "B"):
            for size in rng.choice([1, 2, 3, 4, 6, 8], 2, replace=False):
                each = rng.choice([0.5, 1.0]) if rng.random() < 0.6 else rng.uniform(0.5, 1)
                few = int(rng.integers(0, 3)) if rng.random() < 0.25 else None
                name = f"{device}-{size}"
                price = float(size * each)
                offers.append(Offer(name, device, int(size), price, "c", region, available=few))
    options: dict[str, Any] = {
        "offers": offers,
        "shapes": shapes,
        "late_share": float(rng.choice([0.0, 0.05, 0.25, 0.5])),
        "late_max_rate": late,
    }
    if rng.random() < 0.3:
        options["slice_factor"] = int(rng.integers(1, 3))
    if rng.random() < 0.3:
        options["survive_loss"] = True
    if rng.random() < 0.3:
        options["fixed"] = {"g0": int(rng.integers(0, 3))}
    if rng.random() < 0.3:
        options["available"] = {"g1": int(rng.integers(0, 3))}
    return shares, gpus, float(rng.uniform(2, 8)), options


def expected_plan(
    shares: np.ndarray, gpus: dict[str, GpuProfile], rate: float, options: dict[str, Any]
) -> tuple[Best, str] | None:
    """Return the best of both regions by enumeration."""
    names = list(gpus)
    used = shares[0] > 0
    columns, type_of, late_of = [], [], []
    for g, name in enumerate(names):
        columns.append(np.asarray(gpus[name].max_rate)[0])
        type_of.append(g)
        late_of.append(0.0)
        if name in options["late_max_rate"]:
            columns.append(np.asarray(options["late_max_rate"][name])[0])
            type_of.append(g)
            late_of.append(1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        load = (shares[0] * rate)[:, None] / np.array(columns).T
    fixed, available = options.get("fixed", {}), options.get("available", {})
    most = [min(fixed.get(n, math.inf), available.get(n, math.inf)) for n in names]
    least = [fixed.get(n, 0) for n in names]
    if any(a > b for a, b in zip(least, most, strict=True)):
        return None
    best: tuple[Best, str] | None = None
    for region in ("r1", "r2"):
        here = [o for o in options["offers"] if o.region == region]
        found = best_rented(
            load[used],
            type_of,
            [1.0] * len(names),
            takes=(shares[0][:, None] * np.array(late_of))[None, used],
            at_most=[options["late_share"]],
            shapes=[options["shapes"][n] for n in names],  # type: ignore[misc]
            offers=[
                (o.device, o.accelerators, o.usd_per_hour, math.inf if o.available is None
                 else o.available) for o in here
            ],  # type: ignore[misc]
            slices=options.get("slice_factor"),
            most=most,
            least=least,
            survive_loss=options.get("survive_loss", False),
            up_to=UP_TO,
        )  # fmt: skip
        if found is not None and found.beats(None if best is None else best[0]):
            best = found, region
    return best


def check_consistent(
    plan: FleetPlan,
    shares: np.ndarray,
    gpus: dict[str, GpuProfile],
    rate: float,
    options: dict[str, Any],
) -> None:
    """The bill is that of the offers; the shares of the ways add up; nothing is over."""
    offers = {o.name: o for o in options["offers"] if o.region == plan.region}
    bill = sum(offers[name].usd_per_hour * n for name, n in plan.offers.items())
    room = sum(offers[name].accelerators * n for name, n in plan.offers.items())
    used = sum(options["shapes"][name][1] * n for name, n in plan.counts.items())
    assert plan.cloud == "c"
    assert plan.cost_per_hour == pytest.approx(bill)
    assert plan.idle_accelerators == room - used >= 0
    assert all(n > 0 for n in plan.offers.values())
    total = np.zeros_like(shares)
    late_total = 0.0
    for g, (name, gpu) in enumerate(gpus.items()):
        ways = [np.asarray(gpu.max_rate)]
        if name in options["late_max_rate"]:
            ways.append(np.asarray(options["late_max_rate"][name]))
        each = plan.shares[name]
        assert each.shape == (len(ways), *shares.shape)
        np.testing.assert_allclose(each.sum(axis=0), plan.assignment[:, :, g], atol=1e-12)
        late = each[1] if len(ways) == 2 else np.zeros_like(shares)
        np.testing.assert_allclose(plan.late[:, :, g], late, atol=1e-12)
        load = 0.0
        for share, way in zip(each, ways, strict=True):
            assert (share[way == 0] == 0).all()
            positive = share > 0
            load += float((share[positive] * shares[positive] * rate / way[positive]).sum())
        assert plan.load[name] == pytest.approx(load, abs=1e-12)
        assert load <= plan.counts[name] * (1 + 1e-8) + 1e-12
        total += each.sum(axis=0)
        late_total += float((late * shares).sum())
    np.testing.assert_allclose(total, (shares > 0).astype(float), atol=1e-9)
    assert plan.late_share == pytest.approx(late_total, abs=1e-12)
    assert plan.late_share <= options["late_share"] * (1 + 1e-9)
    assert plan.budgets == {"late": plan.late_share}


@pytest.mark.parametrize("seed", range(300))
def test_a_plan_of_offers_equals_enumeration(seed: int) -> None:
    """Two regions, odd nodes, few of some, late requests, slices, losses, counts fixed."""
    shares, gpus, rate, options = random_case(seed)
    expected = expected_plan(shares, gpus, rate, options)
    try:
        plan = plan_fleet(shares, gpus, rate, **options)
    except InfeasibleError:
        assert expected is None
        return
    except SpecificationError as error:
        assert "fits no offer" in str(error) or "above what is available" in str(error)
        assert expected is None
        return
    check_consistent(plan, shares, gpus, rate, options)
    if any(n > UP_TO for n in plan.counts.values()):
        return  # beyond the enumeration
    assert expected is not None
    assert plan.cost_per_hour == pytest.approx(expected[0].cost, rel=1e-9)
    assert sum(plan.counts.values()) == sum(expected[0].counts)
    if plan.proven:
        names = [o.name for o in options["offers"] if o.region == expected[1]]
        rented = {n: k for n, k in zip(names, expected[0].offers, strict=True) if k}
        assert tuple(plan.counts.values()) == expected[0].counts
        assert plan.region == expected[1]
        assert plan.offers == rented


def cost(shares: Any, gpus: dict[str, GpuProfile], rate: float, options: dict[str, Any]) -> float:
    """Return the bill; infinity where nothing serves."""
    try:
        return plan_fleet(shares, gpus, rate, **options).cost_per_hour
    except (InfeasibleError, SpecificationError):
        return math.inf


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), extra=st.integers(1, 9))
def test_laws_of_offers_and_late_requests(seed: int, extra: int) -> None:
    """One more offer, or more late requests, never cost more; nor does what is divisible."""
    shares, gpus, rate, options = random_case(seed)
    before = cost(shares, gpus, rate, options)
    slack = 1 + 1e-9
    more = Offer("new", "A", extra, 0.7 * extra, "c", "r1")
    assert cost(shares, gpus, rate, options | {"offers": [*options["offers"], more]}) <= (
        before * slack
    )
    later = min(1.0, options["late_share"] + 0.2)
    assert cost(shares, gpus, rate, options | {"late_share": later}) <= before * slack
    each = min(o.usd_per_hour / o.accelerators for o in options["offers"])
    single = {
        name: GpuProfile(each * options["shapes"][name][1], gpu.max_rate)
        for name, gpu in gpus.items()
    }
    alone = {k: v for k, v in options.items() if k not in ("offers", "shapes")}
    assert cost(shares, single, rate, alone) <= before * slack


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_singles_are_the_divisible_form_and_bound_a_node(seed: int) -> None:
    """Width 1 in nodes of one is what instances cost alone; a node at n singles is no cheaper."""
    shares, gpus, rate, options = random_case(seed)
    shapes = dict.fromkeys(gpus, ("A", 1))
    rest = {k: v for k, v in options.items() if k not in ("offers", "shapes")}
    priced = {name: replace(gpu, cost_per_hour=1.5) for name, gpu in gpus.items()}
    alone = cost(shares, priced, rate, rest)
    one = Offer("one", "A", 1, 1.5)
    eight = Offer("eight", "A", 8, 12.0)
    rented = rest | {"offers": [one], "shapes": shapes}
    assert cost(shares, gpus, rate, rented) == pytest.approx(alone)
    assert cost(shares, gpus, rate, rented | {"offers": [one, eight]}) == pytest.approx(alone)
    whole = cost(shares, gpus, rate, rented | {"offers": [eight]})
    if math.isfinite(alone):
        assert whole == pytest.approx(12.0 * math.ceil(alone / 12.0 - 1e-9))


def test_a_full_node_costs_what_divisible_instances_cost() -> None:
    """Four of width 2 fill a node of 8 at the price of 8 singles; three leave two idle."""
    gpus = {"a x2": GpuProfile(2.0, [[1.0]])}
    node = {"offers": NODE, "shapes": {"a x2": ("A", 2)}}

    full = plan_fleet([[1.0]], gpus, 4.0, **node)
    assert full.cost_per_hour == plan_fleet([[1.0]], gpus, 4.0).cost_per_hour == 8.0
    assert full.idle_accelerators == 0
    part = plan_fleet([[1.0]], gpus, 3.0, **node)
    assert part.cost_per_hour == 8.0
    assert part.counts == {"a x2": 3}
    assert part.idle_accelerators == 2


def test_an_instance_never_spans_two_offers() -> None:
    """Two of width 4 need two nodes of 6, though 8 accelerators would go into 12 of singles."""
    plan = plan_fleet(
        [[1.0]],
        {"a x4": GpuProfile(1.0, [[1.0]])},
        2.0,
        offers=[Offer("three", "A", 3, 1.0), Offer("six", "A", 6, 10.0)],
        shapes={"a x4": ("A", 4)},
    )

    assert plan.offers == {"six": 2}
    assert plan.idle_accelerators == 4


@pytest.mark.parametrize(
    ("late_share", "count"), [(0.25, 3), (0.25 * (1 - 1e-6), 4), (0.25 * (1 + 1e-6), 3)]
)
@pytest.mark.parametrize("slice_factor", [None, 4])
def test_the_late_share_at_its_boundary(
    late_share: float, count: int, slice_factor: int | None
) -> None:
    """4 requests/s at 1 an instance: with one for nothing 3 do, just below that 4 are needed."""
    late = {"a": [[1e9]]}
    plan = plan_fleet(
        [[1.0]], ONE, 4.0 * (1 - 1e-9), slice_factor, late_share=late_share, late_max_rate=late
    )

    assert plan.counts == {"a": count}
    assert plan.late_share <= late_share * (1 + 1e-9)


def test_a_way_that_is_late_only() -> None:
    """A bucket no instance serves in time may be served late, if all of it may be late."""
    gpus = {"a": GpuProfile(1.0, [[1.0, 0.0]])}
    options: dict[str, Any] = {"late_max_rate": {"a": [[1.0, 1.0]]}}

    plan = plan_fleet([[0.75, 0.25]], gpus, 4.0, late_share=0.25, **options)
    assert plan.late[0, 1, 0] == pytest.approx(1.0)
    assert plan.late_share == pytest.approx(0.25)
    with pytest.raises(
        InfeasibleError,
        match=r"bucket \(0, 1\): at most 20 % of the requests may be late; at least 25 % would be",
    ):
        plan_fleet([[0.75, 0.25]], gpus, 4.0, late_share=0.2, **options)


def test_a_budget_just_inside_and_just_outside() -> None:
    """What requests take in the mean over all of them decides the way, exactly."""
    way = Way([[2.0, 2.0]], {"joules": [[3.0, 5.0]]})
    gpus = {"a": GpuProfile(1.0, [[1.0, 1.0]], {"joules": 1.0}, [way])}

    # all on the second way takes 0.5 × 3 + 0.5 × 5 = 4; none of it 1
    fast = plan_fleet([[0.5, 0.5]], gpus, 4.0, budgets={"joules": 4.0})
    assert fast.counts == {"a": 2}
    assert fast.budgets["joules"] == pytest.approx(4.0)
    slower = plan_fleet([[0.5, 0.5]], gpus, 4.0, budgets={"joules": 4.0 - 1e-6})
    assert slower.counts == {"a": 3}
    exact = plan_fleet([[0.5, 0.5]], gpus, 4.0, budgets={"joules": 1.0})
    assert exact.counts == {"a": 4}
    with pytest.raises(InfeasibleError, match=r"budget 'joules' allows 0\.999999 a request; at"):
        plan_fleet([[0.5, 0.5]], gpus, 4.0, budgets={"joules": 1.0 - 1e-6})


def test_a_loss_is_survived_within_the_budget() -> None:
    """What is left after a loss may not be late either: a third instance, not a second."""
    options: dict[str, Any] = {
        "late_share": 0.1, "late_max_rate": {"a": [[100.0]]}, "survive_loss": True,
    }  # fmt: skip

    assert plan_fleet([[1.0]], ONE, 1.5, **options).counts == {"a": 3}
    assert plan_fleet([[1.0]], ONE, 1.5, **options | {"late_share": 0.6}).counts == {"a": 2}


def test_the_region_is_one() -> None:
    """Cheaper halves of two regions do not add up; the cheaper whole wins, then the earlier."""
    gpus = {"a": GpuProfile(1.0, [[1.0, 0.0]]), "b": GpuProfile(1.0, [[0.0, 1.0]])}
    shapes = {"a": ("A", 1), "b": ("B", 1)}
    offers = [
        Offer("x", "A", 1, 1.0, "c", "west"), Offer("y", "B", 1, 5.0, "c", "west"),
        Offer("x", "A", 1, 4.0, "c", "east"), Offer("y", "B", 1, 1.0, "c", "east"),
        Offer("x", "A", 1, 1.0, "d", "east"),
    ]  # fmt: skip
    plan = plan_fleet([[0.5, 0.5]], gpus, 2.0, offers=offers, shapes=shapes)

    assert (plan.cloud, plan.region, plan.cost_per_hour) == ("c", "east", 5.0)
    twice = [*offers, replace(offers[2], cloud="e"), replace(offers[3], cloud="e")]
    assert plan_fleet([[0.5, 0.5]], gpus, 2.0, offers=twice[::-1], shapes=shapes).cloud == "e"


def test_equal_bills_take_fewer_nodes_then_the_earlier_offer() -> None:
    """Two of four or one of eight; then the one that stands first."""
    shapes = {"a": ("A", 1)}
    four, eight = Offer("four", "A", 4, 4.0), Offer("eight", "A", 8, 8.0)
    fewer = plan_fleet([[1.0]], ONE, 8.0, offers=[four, eight], shapes=shapes)
    assert fewer.offers == {"eight": 1}
    other = Offer("other", "A", 8, 8.0)
    earlier = plan_fleet([[1.0]], ONE, 8.0, offers=[other, eight], shapes=shapes)
    assert earlier.offers == {"other": 1}


def test_a_dearer_offer_serves_where_the_cheaper_runs_out() -> None:
    """Two spot nodes, then the same on demand."""
    spot = Offer("spot", "A", 1, 1.0, kind="spot", available=2)
    plan = plan_fleet(
        [[1.0]], ONE, 3.0, offers=[Offer("on", "A", 1, 3.0), spot], shapes={"a": ("A", 1)}
    )

    assert plan.offers == {"on": 1, "spot": 2}
    assert plan.cost_per_hour == 5.0


def test_a_width_that_fits_no_offer_is_not_rented_or_refused() -> None:
    """Refused where it is demanded, or where nothing else could be rented."""
    gpus = {"a": GpuProfile(1.0, [[1.0]]), "a x16": GpuProfile(1.0, [[99.0]])}
    options: dict[str, Any] = {"offers": NODE, "shapes": {"a": ("A", 1), "a x16": ("A", 16)}}

    assert plan_fleet([[1.0]], gpus, 2.0, **options).counts == {"a": 2, "a x16": 0}
    message = r"'a x16'.: 16 × A is a width that fits no offer; the largest node of 'A' has 8"
    with pytest.raises(SpecificationError, match=message):
        plan_fleet([[1.0]], gpus, 2.0, fixed={"a x16": 1}, **options)
    only = {"a x16": gpus["a x16"]}
    with pytest.raises(SpecificationError, match=message):
        plan_fleet([[1.0]], only, 2.0, offers=NODE, shapes={"a x16": ("A", 16)})


def test_what_is_short_is_named() -> None:
    """Too few offers; a budget that the offers do not allow."""
    few = [replace(NODE[0], available=1, cloud="c", region="r")]
    shapes = {"a": ("A", 1)}
    with pytest.raises(
        InfeasibleError,
        match=r"bucket \(0, 0\): the offers of c r and the counts allowed leave 4 of its 12",
    ):
        plan_fleet([[1.0]], ONE, 12.0, offers=few, shapes=shapes)
    with pytest.raises(
        InfeasibleError,
        match=r"at most 10 % of the requests may be late; at least 33\.33 % would be with the off",
    ):
        plan_fleet(
            [[1.0]], ONE, 12.0, offers=few, shapes=shapes,
            late_share=0.1, late_max_rate={"a": [[1e12]]},
        )  # fmt: skip


def test_no_requests_rent_only_what_is_fixed() -> None:
    """Rate 0, in the cheapest region."""
    offers = [*NODE, replace(NODE[0], region="r", usd_per_hour=7.0)]
    plan = plan_fleet([[1.0]], ONE, 0.0, fixed={"a": 3}, offers=offers, shapes={"a": ("A", 1)})

    assert (plan.cost_per_hour, plan.region, plan.idle_accelerators) == (7.0, "r", 5)
    assert plan.late_share == 0.0


def test_limits_over_types_hold_with_offers() -> None:
    """At most two instances in all, so one of the wider."""
    gpus = {"a": GpuProfile(1.0, [[1.0]]), "a x4": GpuProfile(1.0, [[2.0]])}
    plan = plan_fleet(
        [[1.0]], gpus, 3.0, limits=[CountLimit({"a": 1.0, "a x4": 1.0}, 2.0)],
        offers=[Offer("one", "A", 1, 1.0), Offer("four", "A", 4, 9.0)],
        shapes={"a": ("A", 1), "a x4": ("A", 4)},
    )  # fmt: skip

    assert plan.counts == {"a": 1, "a x4": 1}
    assert plan.offers == {"one": 1, "four": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offers": []}, "offers: expected at least one offer"),
        ({"offers": ["node"]}, "offers: expected an Offer, found 'node'"),
        ({"offers": NODE * 2}, "expected one offer 'node' in one region, found two"),
        ({"shapes": None}, r"shapes: expected \(device, accelerators\) of type 'a', found none"),
        ({"shapes": {"b": ("A", 1)}}, "shapes: unknown type 'b'"),
        ({"shapes": {"a": ("A", 0)}}, r"shapes\['a'\]: expected .* found \('A', 0\)"),
        ({"shapes": {"a": ("A", 1.0)}}, r"shapes\['a'\]: expected .* found \('A', 1.0\)"),
        ({"shapes": {"a": "A"}}, r"shapes\['a'\]: expected .* found 'A'"),
        ({"shapes": {"a": ("H100", 1)}}, "fits no offer; no offer has 'H100'"),
        ({"offers": None}, "shapes: expected offers beside it, found it alone"),
        ({"late_share": 1.5}, "late_share: expected a share from 0 to 1, found 1.5"),
        ({"late_share": math.nan}, "late_share: expected a share from 0 to 1, found nan"),
        ({"late_share": True}, "late_share: expected a share from 0 to 1, found True"),
        ({"late_share": 0.1}, "late_share: expected late_max_rate beside it, found 0.1 alone"),
        ({"late_max_rate": {"b": [[1.0]]}}, "late_max_rate: unknown type 'b'"),
        ({"late_max_rate": {"a": [[-1.0]]}}, r"late_max_rate\['a'\]\[0\]\[0\]: .* found -1.0"),
        ({"late_max_rate": {"a": [1.0]}}, r"late_max_rate\['a'\]: expected shape \(1, 1\)"),
        (
            {"late_max_rate": {"a": [[1.0]]}, "budgets": {"late": 0.1}},
            "late_max_rate: expected no budget 'late' beside it, found one in budgets",
        ),
        ({"budgets": {"joules": 1.0}}, "budgets: unknown budget 'joules'"),
        ({"gpus": {"a": GpuProfile(1.0, [[1.0]], {"joule": 1})}, "budgets": {"joules": 1}},
         "uses: unknown budget 'joule' .nearest: 'joules'"),
        ({"gpus": {"a": GpuProfile(1.0, [[1.0]], {"j": -1})}, "budgets": {"j": 1}},
         r"gpus\['a'\].uses\['j'\]: expected what a request takes, at least 0, found -1"),
        ({"gpus": {"a": GpuProfile(1.0, [[1.0]], {}, [Way([[1.0]], {"j": [[math.nan]]})])},
          "budgets": {"j": 1}}, r"gpus\['a'\].ways\[0\].uses\['j'\]\[0\]\[0\]: .* found nan"),
        ({"gpus": {"a": GpuProfile(1.0, [[1.0]], {"j": [1.0]})}, "budgets": {"j": 1}},
         r"uses\['j'\]: expected a number or shape \(1, 1\) as the workload, found \(1,\)"),
        ({"gpus": {"a": GpuProfile(1.0, [[1.0]], {"j": 1})}, "budgets": {"j": -1}},
         r"budgets\['j'\]: expected a number of at least 0, found -1"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(change: dict[str, Any], message: str) -> None:
    """The message names the value, where it stands and what was expected."""
    call: dict[str, Any] = {
        "workload": [[1.0]], "gpus": ONE, "rate": 1.0, "offers": NODE, "shapes": {"a": ("A", 1)},
    }  # fmt: skip
    with pytest.raises(SpecificationError, match=message):
        plan_fleet(**call | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"usd_per_hour": 0.0}, "'n': usd_per_hour: expected a finite number above 0, found 0.0"),
        ({"usd_per_hour": math.inf}, "usd_per_hour: .* found inf"),
        ({"usd_per_hour": "8"}, "usd_per_hour: .* found '8'"),
        ({"accelerators": 0}, "accelerators: expected a whole number from 1, found 0"),
        ({"accelerators": 2.0}, "accelerators: expected a whole number from 1, found 2.0"),
        ({"kind": "sopt"}, "unknown kind 'sopt' .nearest: 'spot'"),
        ({"available": -1}, "available: expected None or a whole number from 0, found -1"),
        ({"device": ""}, "device: expected a text, found ''"),
    ],
)
def test_an_offer_checks_its_values(change: dict[str, Any], message: str) -> None:
    """At construction, with the offer's name."""
    with pytest.raises(SpecificationError, match=message):
        Offer(**{"name": "n", "device": "A", "accelerators": 8, "usd_per_hour": 1.0} | change)
