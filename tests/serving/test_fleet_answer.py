"""The answer: its doubt, the safe plan, alternatives, bursts, what flips it, plain data."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archwright.errors import InfeasibleError, SpecificationError
from archwright.search import Budget, Choice, Exhaustive, Goal, Study
from archwright.serving import FleetEnvironment, fleet_environment
from archwright.serving.fleet_answer import HOURS_A_MONTH
from archwright.serving.instances import NINETY
from archwright.serving.workload import Workload

DESIGN = {
    "model": "Llama-3.1-8B", "weights": "bf16", "kv": "bf16", "max_batch": 128, "devices": "all",
}  # fmt: skip
ONE = {name: Choice([value]) for name, value in DESIGN.items()}


def fleet(**options: Any) -> FleetEnvironment:
    """A fleet of few devices in one cloud."""
    settings: dict[str, Any] = {
        "rate_per_s": 30.0,
        "limits": {"ttft_p99_s": 1.0, "tpot_mean_s": 0.05},
        "devices": ["L4", "L40S", "H100-SXM"],
        "tensor_parallel": [1, 2],
        "cloud": "aws",
        "vary": ONE,
    }
    return fleet_environment(**(settings | options))


def test_the_chance_is_that_of_the_step_times() -> None:
    """At the deviation where the limit just breaks, the normal law says how likely it holds."""
    answer = fleet().solved(DESIGN)
    for held in answer.limits:
        z = math.sqrt(2) * float(_erfinv(2 * held.chance - 1))
        below, above = (answer.plan.achieved.value(held.rule, z + d) for d in (-0.03, 0.03))
        assert below <= held.rule.limit_s <= above, held.rule.name
        assert held.value.low <= held.value.value <= held.value.high
        assert held.value.low == answer.plan.achieved.value(held.rule, -NINETY)


def _erfinv(x: float) -> float:
    from scipy.special import erfinv

    return float(erfinv(x))


def test_a_limit_far_away_is_sure_and_one_at_the_value_is_a_toss() -> None:
    """A tight plan holds its limit in half the cases; a loose limit always."""
    answer = fleet(limits={"tpot_mean_s": 0.05}).solved(DESIGN)
    got = answer.plan.achieved
    rule = answer.planner.rules[0]

    assert got.chance(replace(rule, limit_s=1e6)) == 1.0
    assert got.chance(replace(rule, limit_s=1e-6)) == 0.0
    assert got.chance(replace(rule, limit_s=got.value(rule))) == pytest.approx(0.5, abs=0.01)


def test_the_safe_plan_holds_each_limit_with_ninety_percent() -> None:
    """It costs no less; where the cheapest plan is safe already, it is that one."""
    environment = fleet()
    answer = environment.solved(DESIGN)
    assert answer.safe is not None
    assert answer.safe.cost_per_hour >= answer.plan.cost_per_hour
    for rule in answer.planner.rules:
        assert answer.safe.achieved.chance(rule) >= 0.899
    assert any(held.chance < 0.9 for held in answer.limits)
    loose = fleet(limits={"tpot_mean_s": 3.0}).solved(DESIGN)
    assert loose.safe is loose.plan


def test_a_goal_may_ask_for_a_chance() -> None:
    """Designs whose limit holds too rarely are infeasible; the safe ones stay."""
    environment = fleet(vary={"model": Choice(["Llama-3.1-8B"]), "kv": Choice(["bf16"])})

    def best(*limits: str) -> Any:
        goal = Goal(minimize=["cost_usd_per_hour"], subject_to=limits)
        result = Study(environment, goal, Exhaustive(), budget=Budget(evaluations=50)).run()
        row = result.best()
        chances = result.metric("chance_tpot_mean_s")
        return result, None if row is None else chances[row]

    result, chance = best("chance(tpot_mean_s) >= 0.6")
    every = result.metric("chance_tpot_mean_s")
    feasible = np.asarray(result.column("feasible"), dtype=bool)
    assert (feasible == (np.nan_to_num(every) >= 0.6)).all()
    assert 0 < feasible.sum() < len(feasible)
    assert chance is None or chance >= 0.6
    with pytest.raises(SpecificationError, match="nothing limits 'e2e_p99_s'"):
        best("chance(e2e_p99_s) >= 0.9")


def test_the_answer_is_plain_data() -> None:
    """Programs read what people see: offers, cloud, dollars, limits, the safe plan."""
    environment = fleet()
    answer = environment.answer(DESIGN)
    plan = environment.plan(DESIGN)

    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    assert answer["design"] == DESIGN
    assert answer["offers"] == plan.offers
    assert (answer["cloud"], answer["region"]) == ("aws", "us-east-1")
    assert answer["usd_per_hour"] == plan.cost_per_hour
    assert answer["usd_per_month"] == pytest.approx(plan.cost_per_hour * HOURS_A_MONTH)
    assert [x["name"] for x in answer["limits"]] == ["ttft_p99_s", "tpot_mean_s"]
    assert set(answer["limits"][0]) == {"name", "limit", "value", "low", "high", "chance"}
    assert set(answer) - set(answer["safe"]) == {"safe", "unscored"}


def test_summary_terminal_and_report_name_the_same_design(tmp_path: Path) -> None:
    """Designs that tie on cost and quality: one rule chooses, everywhere."""
    from archwright.explain.compose import answer, compose

    environment = fleet(vary=ONE | {"max_batch": Choice([32, 256, 64, 128])}, rate_per_s=1.0)
    goal = Goal(minimize=["cost_usd_per_hour"], maximize=["quality"])
    study = Study(
        environment, goal, Exhaustive(), budget=Budget(evaluations=9), folder=tmp_path / "run"
    )
    result = study.run()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    costs = result.metric("cost_usd_per_hour")
    assert (costs == costs.min()).sum() > 1  # a tie
    design = summary["answer"]["design"]

    assert summary["best"]["design"] == design
    assert answer(result, environment, goal).startswith(environment.describe(design))
    content = compose(result, environment, goal, command="again", title="t")
    assert content.answer.startswith(environment.describe(design))


def test_a_cheaper_design_without_a_score_is_named(tmp_path: Path) -> None:
    """It meets the limits for less, but nobody knows how good it is."""
    from archwright.explain.compose import answer

    (tmp_path / "scores.csv").write_text("model,benchmark,score\nQwen2.5-14B,MMLU-Pro,63.7\n")
    vary = {n: Choice([v]) for n, v in DESIGN.items() if n != "model"}
    environment = fleet(
        vary=vary | {"model": Choice(["Qwen2.5-14B", "Qwen2.5-7B"])},
        scores="scores.csv",
        folder=tmp_path,
    )
    goal = Goal(minimize=["cost_usd_per_hour"], maximize=["quality"], subject_to=["quality >= 60"])
    result = Study(
        environment, goal, Exhaustive(), budget=Budget(evaluations=9), folder=tmp_path / "run"
    ).run()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())

    unscored = summary["answer"]["unscored"]
    assert [x["design"]["model"] for x in unscored] == ["Qwen2.5-7B"]
    assert unscored[0]["metrics"]["quality"] is None
    assert unscored[0]["metrics"]["cost_usd_per_hour"] < summary["answer"]["usd_per_hour"]
    text = answer(result, environment, goal)
    assert "Qwen2.5-7B meets the limits at $" in text
    assert "but has no MMLU-Pro score" in text


def bursty(**options: Any) -> Workload:
    """Requests of one size."""
    settings: dict[str, Any] = {"mean_rate_per_s": 10.0, "peak_rate_per_s": 10.0}
    shape = Workload.from_shares(
        [[1.0]], input_edges=[1000], output_edges=[200], **settings
    )  # fmt: skip
    return replace(shape, **options)


def test_bursts_that_break_the_plan_are_told() -> None:
    """Ten times the rate for ten seconds does; the rate itself does not."""
    environment = fleet()
    answer = environment.solved(DESIGN)
    capacity = answer.capacity_per_s
    calm = replace(answer, environment=_with(environment, bursty(peaks_per_s={10: 10.0})))
    wild = replace(answer, environment=_with(environment, bursty(peaks_per_s={10: 100.0})))

    assert capacity > 30.0 / 1.0000001
    assert calm.bursts == ""
    assert calm.peaks == {10: 30.0}  # at the rate planned for
    assert "The trace's own bursts would break it: 300 requests/s over 10 s" in wild.bursts
    late = (300.0 - capacity) * 10 / capacity
    assert f"up to {late:,.2g} s" in wild.bursts


def _with(environment: FleetEnvironment, shape: Workload) -> FleetEnvironment:
    import copy

    changed = copy.copy(environment)
    changed.workload = shape
    return changed


def test_the_capacity_is_that_of_full_slots() -> None:
    """A little below it every queue ends, at it one does not."""
    from archwright.serving.achieved import achieved

    answer = fleet().solved(DESIGN)
    plan, planner = answer.plan, answer.planner
    counts = np.array([plan.fleet.counts[p.type.name] for p in plan.profiles], dtype=float)
    shares = {p.type.name: plan.fleet.shares[p.type.name] for p in plan.profiles}
    more = answer.capacity_per_s / planner.rate_per_s
    got = achieved(plan.profiles, counts, planner.arrival, shares)

    assert 1.0 < more < 2.0
    assert got.accelerators == counts @ [p.type.tensor_parallel for p in plan.profiles]


def test_the_best_single_type_is_the_cheapest_of_all_single_types() -> None:
    """Each device alone, cheapest first; the mix costs no more."""
    answer = fleet().solved(DESIGN)
    costs = []
    for name in ("L4", "L40S", "H100-SXM"):
        try:
            costs.append(fleet(devices=[name]).plan(DESIGN).cost_per_hour)
        except InfeasibleError:
            continue

    assert [plan.cost_per_hour for _, plan in answer.singles] == pytest.approx(sorted(costs))
    assert answer.plan.cost_per_hour <= costs[0] * (1 + 1e-9)


def test_a_flip_is_a_change_of_what_is_rented() -> None:
    """At the change named something else is rented; at smaller ones tried it is not."""
    environment = fleet()
    answer = environment.solved(DESIGN)
    rented = (set(answer.plan.offers), {n for n, c in answer.plan.fleet.counts.items() if c})

    assert [abs(f.change) for f in answer.flips] == sorted(abs(f.change) for f in answer.flips)
    for flip in answer.flips:
        if flip.plan is not None:
            then = (set(flip.plan.offers), {n for n, c in flip.plan.fleet.counts.items() if c})
            assert then != rented
    priced = [f for f in answer.flips if "price of" in f.what]
    for flip in priced:
        name = flip.what.split()[3]
        scaled = answer.planner.market.scaled(name, 1 + flip.change)
        again = answer.planner.changed(market=scaled).plan(DESIGN)
        assert flip.plan is not None
        assert again.cost_per_hour == pytest.approx(flip.plan.cost_per_hour)


def test_little_headroom_is_said() -> None:
    """Below 5 %, in the sentence."""
    for rate in np.linspace(10, 40, 13):
        environment = fleet(rate_per_s=float(rate))
        plan = environment.plan(DESIGN)
        text = environment.describe(DESIGN)
        assert ("Headroom is" in text) == (plan.headroom < 0.05)


def test_today_may_run_devices_outside_the_study_under_any_alias() -> None:
    """Its bill is that of whole nodes, and its quality stands beside it."""
    today = {"fleet": {"a100 x8": 1, "h100": 2}, "model": "Llama-3.3-70B"}
    environment = fleet(today=today)
    found = environment.solved(DESIGN).today
    assert found is not None
    text = next(x for x in environment.headline(DESIGN).lines if x.startswith("Today: "))

    assert found.usd_per_hour == pytest.approx(27.44705 + 2 * 6.88)
    assert "MMLU-Pro 48.3 against 68.9 today" in text or "against" in text
    assert "saves $" in text


def test_a_model_by_its_config_is_planned_and_part_of_the_identity(tmp_path: Path) -> None:
    """A folder with a config.json stands for a model; its quality comes from own scores."""
    config = {
        "model_type": "llama", "hidden_size": 2048, "num_hidden_layers": 16,
        "num_attention_heads": 16, "num_key_value_heads": 8, "intermediate_size": 5632,
        "vocab_size": 32000, "max_position_embeddings": 131072, "tie_word_embeddings": False,
    }  # fmt: skip
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text(json.dumps(config))
    (tmp_path / "scores.csv").write_text("model,benchmark,score\ntiny,MMLU-Pro,41.0\n")

    def made() -> FleetEnvironment:
        return fleet(vary=ONE | {"model": Choice(["tiny"])}, scores="scores.csv", folder=tmp_path)

    environment = made()
    design = DESIGN | {"model": "tiny"}
    assert environment.plan(design).cost_per_hour <= fleet().plan(DESIGN).cost_per_hour
    assert environment.quality(design).value == 41.0
    before = environment.identity()
    (tmp_path / "tiny" / "config.json").write_text(json.dumps(config | {"vocab_size": 64000}))
    assert made().identity() != before
    (tmp_path / "tiny" / "config.json").write_text('{"model_type": "resnet"}')
    with pytest.raises(SpecificationError, match=r"tiny/config.json"):
        made()
