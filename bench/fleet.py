"""How long a proven plan takes: 10×6 buckets, 4 types, ties included; slices; many widths.

Then with whole nodes of 1, 4 and 8 to rent and a share of late requests, so that each type has two
ways, for 4 types and for 24: ``median_s`` and ``types24_median_s``.

Beside the first, in the same run, the cost alone from ``scipy.optimize.milp`` on the plain
programme.

Then distinct designs of ``serving/fleet`` a second, cold and without a memo: bounds and exact
plans for the built-in chat workload, eight devices at four widths. Random designs over models ×
weights × KV formats × batch limits × sets of devices, then with all devices in every design, so
that few designs share a profile. One process; seconds are those of its core.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from archwright.errors import InfeasibleError
from archwright.hardware.offers import Offer
from archwright.search import Choice
from archwright.serving import FleetEnvironment, GpuProfile, fleet_environment, plan_fleet
from archwright.serving.steps import KEPT

PRICES = {"L4": 0.70, "A10G": 1.01, "A100": 3.67, "H100": 7.5164, "L40S": 1.86, "H200": 7.912}


def instance(seed: int, types: int, widths: tuple[int, ...]) -> tuple[Any, dict[str, GpuProfile]]:
    """Random shares and capacities that fall with size; wide instances gain a little less."""
    rng = np.random.default_rng(seed)
    size = np.linspace(1, 3, 10)[:, None] * np.linspace(1, 3, 6)[None, :]
    shares = rng.dirichlet(np.ones(60)).reshape(10, 6)
    gpus = {}
    for name, price in list(PRICES.items())[:types]:
        spread = np.exp(rng.normal(0, 0.3, (10, 6)))
        for width in widths:
            rate = 4 * price * width**0.95 / size * spread
            gpus[f"{name} x{width}"] = GpuProfile(price * width, rate)
    return shares, gpus


def rented(
    seed: int, types: int, widths: tuple[int, ...]
) -> tuple[Any, dict[str, GpuProfile], dict[str, Any]]:
    """Return the same with options: whole nodes of 1, 4 and 8, and late requests."""
    shares, gpus = instance(seed, types, widths)
    rng = np.random.default_rng((seed, 1))
    offers = [
        Offer(f"{name} node of {size}", name, size, round(price * size * discount, 2))
        for name, price in list(PRICES.items())[:types]
        for size, discount in zip(
            (1, 4, 8), rng.uniform([1.0, 0.95, 0.9], [1.2, 1.1, 1.0]), strict=True
        )
    ]
    shapes = {f"{name} x{w}": (name, w) for name in list(PRICES)[:types] for w in widths}
    late = {
        name: np.asarray(gpu.max_rate) * rng.uniform(1.2, 2.0, (10, 6))
        for name, gpu in gpus.items()
    }
    options = {"offers": offers, "shapes": shapes, "late_share": 0.01, "late_max_rate": late}
    return shares, gpus, options


def scipy_cost(shares: Any, gpus: dict[str, GpuProfile], rate: float, slices: int | None) -> float:
    """Return the least cost from the plain programme."""
    load = np.stack([shares * rate / np.asarray(g.max_rate) for g in gpus.values()], -1)
    load = load.reshape(-1, len(gpus)) / (slices or 1)
    buckets, types = load.shape
    n = buckets * types
    assign = np.zeros((buckets, n + types))
    cover = np.zeros((types, n + types))
    for b in range(buckets):
        assign[b, b * types : (b + 1) * types] = 1
        for g in range(types):
            cover[g, b * types + g] = load[b, g]
    cover[:, n:] = -np.eye(types)
    top = float(slices or 1)
    price = [gpu.cost_per_hour for gpu in gpus.values()]
    found = milp(
        np.append(np.zeros(n), price),
        constraints=[LinearConstraint(assign, top, top), LinearConstraint(cover, -np.inf, 0)],
        integrality=np.append(np.full(n, float(slices is not None)), np.ones(types)),
        bounds=Bounds(0, np.append(np.full(n, top), np.full(types, np.inf))),
        options={"mip_rel_gap": 0.0, "time_limit": 60.0},
    )
    return float(found.fun)


def whole_offers(seeds: int) -> dict[str, dict[str, Any]]:
    """Return how long plans of whole offers with late requests take, all of them proven."""
    cases: dict[str, tuple[int, tuple[int, ...], float, float]] = {
        "4 types, offers, late": (4, (1,), 100.0, 0.4),
        "24 types, offers, late": (6, (1, 2, 4, 8), 30.0, 2.0),
    }
    rows = {}
    for name, (types, widths, rate, target) in cases.items():
        seconds = []
        for seed in range(seeds):
            shares, gpus, options = rented(seed, types, widths)
            started = time.perf_counter()
            plan = plan_fleet(shares, gpus, rate, **options)
            seconds.append(time.perf_counter() - started)
            assert plan.proven
        rows[name] = {
            "instances": seeds,
            "median_s": statistics.median(seconds),
            "slowest_s": max(seconds),
            "target": target,
        }
    return rows


LIMITS = {"ttft_p99_s": 1.0, "tpot_mean_s": 0.05}


def environment(*, sets: bool = True) -> FleetEnvironment:
    """The default space, with every set of devices or with all of them."""
    whole = fleet_environment(rate_per_s=20.0, limits=LIMITS)
    if not sets:
        return whole
    names = whole.specification.devices
    parts = ["+".join(p) for size in range(1, len(names)) for p in combinations(names, size)]
    vary = {"devices": Choice(["all", *parts])}
    return fleet_environment(rate_per_s=20.0, limits=LIMITS, vary=vary)


def cold(call: str, count: int, *, sets: bool) -> dict[str, Any]:
    """Return the speed of one call over so many distinct designs, nothing being kept yet."""
    KEPT.clear()
    made = environment(sets=sets)
    rows = made.space.sample(np.random.default_rng(0), 20 * count)
    designs = list(dict(zip(made.space.keys(rows), rows, strict=True)).values())[:count]
    plan: Callable[[Any], Any] = getattr(made, call)
    seconds = []
    for design in designs:
        started = time.process_time()
        with contextlib.suppress(InfeasibleError):
            made.measure(plan(design))
        seconds.append(time.process_time() - started)
    return {
        "designs": len(designs),
        "designs_per_s": len(designs) / sum(seconds),
        "median_s": statistics.median(seconds),
        "slowest_s": max(seconds),
    }


def speeds(*, bounds: int = 2000, exact: int = 100) -> dict[str, dict[str, Any]]:
    """Return all figures, with the target of each."""
    return {
        "bounds": cold("bound", bounds, sets=True) | {"target": 200.0},
        "exact": cold("plan", exact, sets=True) | {"target": 8.0},
        "bounds, all devices": cold("bound", 168, sets=False) | {"target": 200.0},
        "exact, all devices": cold("plan", min(exact, 168), sets=False) | {"target": 8.0},
    }


def lines(report: dict[str, dict[str, Any]]) -> list[str]:
    """Return the figures for people."""
    return [
        f"{name:<26} {row['designs_per_s']:.1f} designs/s of {row['designs']} (target "
        f"{row['target']:g}); median {row['median_s'] * 1e3:.2f} ms, slowest "
        f"{row['slowest_s'] * 1e3:.0f} ms"
        for name, row in report.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.add_argument("--seeds", type=int, default=9)
    options = parser.parse_args()
    cases: dict[str, tuple[int, tuple[int, ...], int | None, float]] = {
        "4 types": (4, (1,), None, 100.0),
        "4 types, slice factor 8": (4, (1,), 8, 100.0),
        "24 types in four widths": (6, (1, 2, 4, 8), None, 30.0),
    }
    rows = {}
    for name, (types, widths, slices, rate) in cases.items():
        ours, peer = [], []
        for seed in range(options.seeds):
            shares, gpus = instance(seed, types, widths)
            started = time.perf_counter()
            plan = plan_fleet(shares, gpus, rate, slice_factor=slices)
            ours.append(time.perf_counter() - started)
            if types * len(widths) <= 4:  # the plain programme needs minutes on many widths
                started = time.perf_counter()
                cost = scipy_cost(shares, gpus, rate, slices)
                peer.append(time.perf_counter() - started)
                assert plan.cost_per_hour <= cost * (1 + 1e-6)
        rows[name] = {
            "median_s": statistics.median(ours),
            "slowest_s": max(ours),
            "scipy_cost_only_s": statistics.median(peer) if peer else None,
            "ratio": statistics.median(ours) / statistics.median(peer) if peer else None,
        }
    nodes = whole_offers(max(options.seeds, 12))
    designs = speeds()
    figures = {
        "median_s": nodes["4 types, offers, late"]["median_s"],
        "types24_median_s": nodes["24 types, offers, late"]["median_s"],
        # figures of designs a second, at the top level too, belong here
    }
    if options.json:
        print(json.dumps(figures | {"plans": rows | nodes, "designs": designs}, indent=1))
        return
    for name, row in (rows | nodes).items():
        peer_text = (
            f"scipy, cost alone: {row['scipy_cost_only_s']:.3f} s, ratio {row['ratio']:.2f}"
            if row.get("ratio") is not None
            else "no peer"
        )
        print(
            f"{name:<26} median {row['median_s']:.3f} s, slowest {row['slowest_s']:.3f} s; "
            f"{peer_text}"
        )
    print("\n".join(lines(designs)))


if __name__ == "__main__":
    main()
