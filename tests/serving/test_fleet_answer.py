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
    """Fleets are then planned for it: dearer, and every design holds its limit as surely."""
    environment = fleet(vary=ONE | {"max_batch": Choice([64, 128])})

    def run(*limits: str) -> Any:
        goal = Goal(minimize=["cost_usd_per_hour"], subject_to=limits)
        return Study(environment, goal, Exhaustive(), budget=Budget(evaluations=9)).run()

    plain, sure = run(), run("chance(tpot_mean_s) >= 0.95")
    assert (plain.metric("chance_tpot_mean_s") < 0.9).any()
    assert (sure.metric("chance_tpot_mean_s") >= 0.949).all()
    assert np.asarray(sure.column("feasible"), dtype=bool).all()
    costs = [found.metric("cost_usd_per_hour") for found in (plain, sure)]
    assert (costs[1] >= costs[0] * (1 - 1e-9)).all()
    assert (costs[1] > costs[0]).any()
    for limit, message in (
        ("chance(e2e_p99_s) >= 0.9", "nothing limits 'e2e_p99_s'"),
        ("chance(tpot_mean_s) >= 90", "expected a probability from 0 to 1, found 90"),
    ):
        with pytest.raises(SpecificationError, match=message):
            run(limit)


def test_a_chance_of_what_the_goal_limits_is_answered_too() -> None:
    """A metric that only the goal limits: the whole page is written."""
    from archwright.explain.compose import compose

    environment = fleet(vary=ONE)
    goal = Goal(
        minimize=["cost_usd_per_hour"],
        subject_to=["tpot_p99_s <= 0.5", "chance(tpot_p99_s) >= 0.1"],
    )
    result = Study(environment, goal, Exhaustive(), budget=Budget(evaluations=9)).run()
    assert compose(result, environment, goal, command="again", title="t").answer


def test_a_subset_of_devices_is_answered_with_its_alternatives() -> None:
    """Singles and the runner-up are of the devices that the design may rent."""
    environment = fleet(vary=ONE | {"devices": Choice(["L40S+H100-SXM"])})
    design = DESIGN | {"devices": "L40S+H100-SXM"}
    answer = environment.solved(design)

    assert {name for name, _ in answer.singles} <= {"L40S", "H100-SXM"}
    assert answer.runner_up
    assert environment.panels(design)


@pytest.mark.parametrize(
    "limits",
    [
        {"ttft_p50_s": 0.1, "tpot_p999_s": 0.05},
        {"tpot_p95_s": 0.03, "tpot_mean_s": 0.019},
        {"ttft_mean_s": 0.3, "tpot_p999_s": 0.03},
    ],
    ids=str,
)
def test_limits_that_a_plain_fleet_holds_are_planned_for_no_more(limits: dict[str, float]) -> None:
    """Where so many of one type hold every limit, the plan is no dearer than they are."""
    environment = fleet(limits=limits, rate_per_s=20.0)
    plan = environment.plan(DESIGN)
    plain = fleet(limits={}, rate_per_s=20.0).planner
    names = [k.name for k in plain.types]
    for name in ("H100-SXM", "L40S"):
        for count in range(1, 8):
            fixed = dict.fromkeys(names, 0) | {name: count}
            try:
                found = plain.plan(DESIGN, fixed=fixed)
            except InfeasibleError:
                continue
            if all(found.achieved.value(r) <= r.limit_s for r in environment.planner.rules):
                assert plan.cost_per_hour <= found.cost_per_hour * (1 + 1e-9), (name, count)


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


def test_the_capacity_is_that_of_full_slots(tmp_path: Path) -> None:
    """Requests of one size on one type: just below it a queue ends, just above it does not."""
    from archwright.serving.instances import Instances

    rows = "".join(f"{t / 10},1000,200\n" for t in range(2000))
    (tmp_path / "one.csv").write_text("time_s,input_tokens,output_tokens\n" + rows)
    environment = fleet(
        workload="one.csv", folder=tmp_path, devices=["H100-SXM"], tensor_parallel=[1]
    )
    answer = environment.solved(DESIGN)
    (profile,), shape = answer.plan.profiles, environment.workload
    each = answer.capacity_per_s / answer.plan.fleet.counts["H100-SXM"]
    work = Instances([profile._steps], profile.slots.reshape(1, -1), shape)
    bucket = int(shape.shares.argmax())

    assert answer.capacity_per_s > environment.rate_per_s
    for factor, ends in ((0.99, True), (1.01, False)):
        rate = np.full(profile.slots.reshape(1, -1).shape, each * factor)
        n = work.sequences(rate)
        assert (n[0, bucket] < work.slots[0, bucket]) is np.bool_(ends)


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


def test_what_runs_today_must_be_rented_somewhere() -> None:
    """One line names what no cloud or no one region rents."""
    for running, message in (
        ({"h100": 2, "4090": 1}, "nothing that holds RTX-4090 is rented"),
        ({"H100-SXM x16": 1}, "environment.today.fleet: "),
    ):
        with pytest.raises(SpecificationError, match=message):
            fleet(today={"fleet": running, "model": "Llama-3.1-8B"})


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
