"""The environment ``serving/fleet``: the main job."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archwright.errors import InfeasibleError, SpecificationError, StoreError
from archwright.explain.compose import answer, compose, diagnosis
from archwright.explain.report import render
from archwright.search import Budget, Choice, Exhaustive, Goal, Integer, Real, Study
from archwright.serving import FleetEnvironment, fleet_environment, plan_fleet
from archwright.testing import check_environment

LIMITS = {"ttft_p99_s": 1.0, "tpot_mean_s": 0.05}
DESIGN = {
    "model": "Llama-3.1-8B",
    "weights": "bf16",
    "kv": "bf16",
    "max_batch": 128,
    "devices": "all",
}
SMALL = {
    "model": Choice(["Llama-3.1-8B", "Qwen2.5-7B"]),
    "weights": Choice(["bf16", "fp8"]),
    "kv": Choice(["bf16", "fp8"]),
    "max_batch": Choice([64, 128]),
}
ONE = {name: Choice([value]) for name, value in DESIGN.items()}


def fleet(**options: Any) -> FleetEnvironment:
    """A fleet of few devices, so that tests are quick."""
    settings: dict[str, Any] = {
        "rate_per_s": 10.0,
        "limits": LIMITS,
        "devices": ["L4", "A100-80GB-SXM", "H100-SXM"],
        "tensor_parallel": [1, 2],
        "cloud": "aws",
        "vary": SMALL,
    }
    return fleet_environment(**(settings | options))


def study(environment: FleetEnvironment, **goal: Any) -> Any:
    """Run every design."""
    wanted = Goal(**({"minimize": ["cost_usd_per_hour"], "maximize": ["quality"]} | goal))
    return Study(environment, wanted, Exhaustive(), budget=Budget(evaluations=100)).run(), wanted


def test_it_conforms() -> None:
    """The suite for environments accepts it."""
    check_environment(fleet(), n=4)


def test_the_plan_is_that_of_plan_fleet_on_the_profiles() -> None:
    """Nothing stands between the profiles, the offers and the exact plan."""
    from archwright.hardware.prices import offers
    from archwright.serving import GpuProfile
    from archwright.serving.plan import Way

    environment = fleet()
    plan = environment.plan(DESIGN)
    found = environment.planner.profiles(DESIGN)
    gpus = {
        p.type.name: GpuProfile(
            1.0,
            p.rate[0],
            {name: t[0] for name, t in p.takes.items()},
            [Way(p.rate[m], {n: t[m] for n, t in p.takes.items()}) for m in (1, 2, 3)],
        )
        for p in found
        if not p.refusal
    }
    direct = plan_fleet(
        environment.workload,
        gpus,
        10.0,
        offers=offers(["L4", "A100-80GB-SXM", "H100-SXM"], cloud="aws"),
        shapes={
            p.type.name: (p.type.device.name, p.type.tensor_parallel)
            for p in found
            if not p.refusal
        },
        budgets={"ttft_p99_s": 0.01, "tpot_mean_s": 0.05},
    )

    assert plan.fleet.counts == direct.counts
    assert plan.offers == direct.offers
    assert environment.measure(plan)["cost_usd_per_hour"] == pytest.approx(direct.cost_per_hour)


@pytest.mark.parametrize(
    "limits",
    [
        LIMITS,
        {"ttft_p95_s": 0.3},
        {"ttft_mean_s": 0.1, "tpot_p99_s": 0.08},
        {"e2e_p99_s": 40.0},
        {"e2e_mean_s": 10.0, "ttft_p999_s": 2.0},
        LIMITS | {"per_bucket": True},
        {},
    ],
    ids=str,
)
def test_what_was_planned_is_achieved_within_the_limits(limits: dict[str, Any]) -> None:
    """Every limit holds over all requests, and load, power and dollars add up."""
    environment = fleet(limits=limits)
    plan = environment.plan(DESIGN)
    measured = environment.measure(plan)

    for rule in environment.planner.rules:
        assert 0 < measured[rule.name] <= rule.limit_s * (1 + 1e-6), rule
        assert 0.3 < measured[f"chance_{rule.name}"] <= 1.0
    boards = sum(
        plan.fleet.counts[p.type.name] * p.type.tensor_parallel * p.type.device.tdp_w
        for p in plan.profiles
    )
    assert 0.2 * boards < measured["power_w"] <= boards
    tokens = (environment.workload.shares * environment.workload.mean_output).sum() * 10.0
    assert measured["joules_per_token"] == pytest.approx(measured["power_w"] / tokens)
    every = environment.workload.tokens_per_request * 10.0 * 3600
    cost = measured["cost_usd_per_hour"]
    assert measured["cost_usd_per_million_tokens"] == pytest.approx(cost / every * 1e6)
    apart = (
        measured["cost_usd_per_million_output_tokens"] * tokens
        + measured["cost_usd_per_million_input_tokens"] * (every / 3600 - tokens)
    ) * 3600
    assert apart / 1e6 == pytest.approx(cost)
    assert cost == pytest.approx(sum(o.usd_per_hour * n for o, n in plan.bill))
    held = sum(o.accelerators * n for o, n in plan.bill)
    assert measured["accelerators"] + measured["idle_accelerators"] == held


def test_a_percentile_over_all_requests_costs_no_more_than_in_every_bucket() -> None:
    """What one bucket of few requests needs no longer decides; loose limits cost no more."""

    def cost(**limits: Any) -> float:
        return fleet(limits=limits, rate_per_s=40.0).plan(DESIGN).cost_per_hour

    over_all, strict = cost(**LIMITS), cost(**LIMITS, per_bucket=True)
    assert over_all <= strict
    assert cost(ttft_p99_s=1.0) <= cost(ttft_p999_s=1.0)
    assert cost(ttft_p95_s=0.12) <= cost(ttft_p99_s=0.12)
    assert cost(tpot_mean_s=0.02) <= cost(tpot_p99_s=0.02)


def test_a_bucket_of_few_requests_that_nothing_answers_in_time_may_be_late() -> None:
    """The longest prompts take longer than the limit; they are under 1 %, and are listed."""
    limits = {"ttft_p99_s": 0.8}
    environment = fleet(limits=limits, devices=["L4", "L40S"], tensor_parallel=[1])
    answer = environment.solved(DESIGN)
    missed = answer.plan.achieved.misses(
        answer.planner.rules[0], environment.workload.shares.shape
    )
    strict = fleet(limits=limits | {"per_bucket": True}, devices=["L4", "L40S"],
                   tensor_parallel=[1])  # fmt: skip

    assert 0 < missed.sum() <= 0.01 * (1 + 1e-6)
    table = next(p for p in environment.panels(DESIGN) if p.title == "Who misses a limit")
    assert any("16,000 in" in str(row[1]) for row in table.rows)
    with pytest.raises(InfeasibleError, match="P99 TTFT is at best"):
        strict.plan(DESIGN)


def test_the_rate_comes_from_people_or_the_busiest_five_minutes() -> None:
    """Users times requests times growth; without either, the peak of the trace."""
    people = fleet(rate_per_s=None, users=3600.0, requests_per_user_per_hour=2.0, growth=1.5)
    alone = fleet(rate_per_s=None)

    assert people.rate_per_s == pytest.approx(3.0)
    assert alone.rate_per_s == alone.workload.peak_rate_per_s > alone.workload.mean_rate_per_s


def test_an_unknown_quality_is_feasible_and_kept_off_the_front() -> None:
    """Nobody measured an FP8 KV cache on a task, so those designs are listed apart."""
    result, goal = study(fleet())
    kv = [result.design(row)["kv"] for row in result.unknown]

    assert len(kv) == 8
    assert set(kv) == {"fp8"}
    assert not set(result.front) & set(result.unknown)
    content = compose(result, fleet(), goal, command="again", title="t")
    assert content.unranked[0].count == 8


def test_own_prices_limit_what_can_be_had(tmp_path: Path) -> None:
    """A CSV sets the price and the accelerators to be had; widths share them."""
    (tmp_path / "prices.csv").write_text(
        "device,usd_per_hour,count,region\nH100-SXM,2.0,2,here\nL4,0.5,,here\n"
    )
    environment = fleet(prices="prices.csv", folder=tmp_path, rate_per_s=60.0, cloud=None)
    plan = environment.plan(DESIGN)
    h100 = plan.fleet.counts["H100-SXM"] + 2 * plan.fleet.counts["H100-SXM x2"]

    assert environment.market.unpriced == ("A100-80GB-SXM",)
    assert environment.market.divisible
    assert h100 <= 2
    assert environment.market.price(plan.profiles[-1].type) == 4.0
    assert "priced by the accelerator" in environment.describe(DESIGN)


def engine_file(folder: Path, host_step_s: float, source: str = "a benchmark") -> None:
    """Write ``mine.toml``, an engine with its time on the host."""
    folder.mkdir(exist_ok=True)
    (folder / "mine.toml").write_text(
        f'[engine]\nhost_step_s = {host_step_s}\nhost_sequence_s = 0.0\nsource = "{source}"\n'
    )


def test_an_engine_file_beside_the_study_is_known_by_what_it_says(tmp_path: Path) -> None:
    """Files of one name and other times are other studies, and are planned as such."""
    engine_file(tmp_path / "one", 0.0)
    engine_file(tmp_path / "two", 5e-3)
    engine_file(tmp_path / "three", 5e-3)
    alone = {"devices": ["H100-SXM"], "tensor_parallel": [1]}  # the fleet stays what it is
    one, two, three = (
        fleet(engine="mine.toml", folder=tmp_path / name, **alone)
        for name in ("one", "two", "three")
    )

    assert one.identity() != two.identity() == three.identity()
    assert one.plan(DESIGN).tpot_mean_s + 4e-3 < two.plan(DESIGN).tpot_mean_s
    assert two.plan(DESIGN).tpot_mean_s == three.plan(DESIGN).tpot_mean_s
    assert fleet(engine="vllm").identity()["files"] == {}


def test_an_engine_file_is_read_once(tmp_path: Path) -> None:
    """What changes later counts for the next environment, in the plan and in its sources."""
    engine_file(tmp_path, 0.0, "first run")
    alone = {"devices": ["H100-SXM"], "tensor_parallel": [1]}
    before = fleet(engine="mine.toml", folder=tmp_path, **alone)
    identity = before.identity()
    engine_file(tmp_path, 5e-3, "second run")
    after = fleet(engine="mine.toml", folder=tmp_path, **alone)

    assert before.identity() == identity != after.identity()
    assert before.plan(DESIGN).tpot_mean_s + 4e-3 < after.plan(DESIGN).tpot_mean_s
    for environment, source in ((before, "first run"), (after, "second run")):
        rows = {row[0]: row for row in environment.assumptions(DESIGN)}
        assert source in rows["step times"][3]


def test_a_study_is_refused_once_its_engine_file_has_changed(tmp_path: Path) -> None:
    """Kept results of one engine are not continued with another."""

    def run() -> Any:
        environment = fleet(engine="mine.toml", folder=tmp_path, vary=ONE)
        goal = Goal(minimize=["cost_usd_per_hour"])
        return Study(
            environment, goal, Exhaustive(), budget=Budget(evaluations=1), folder=tmp_path / "run"
        ).run()

    engine_file(tmp_path, 0.0)
    run()
    engine_file(tmp_path, 5e-3)
    with pytest.raises(StoreError, match=r"mine\.toml"):
        run()


def test_a_discount_scales_the_bill() -> None:
    """Every price falls alike, so the plan stays."""
    full, half = fleet().plan(DESIGN).fleet, fleet(discount=0.5).plan(DESIGN).fleet

    assert half.counts == full.counts
    assert half.cost_per_hour == pytest.approx(full.cost_per_hour / 2)


def test_a_fleet_that_survives_a_loss_costs_no_less() -> None:
    """One instance more than needed somewhere."""
    plain, safe = fleet().plan(DESIGN).fleet, fleet(survive_loss=True).plan(DESIGN).fleet

    assert safe.cost_per_hour > plain.cost_per_hour
    assert sum(safe.counts.values()) > 1


def test_where_nothing_holds_the_limits_it_says_which_and_what_would_help() -> None:
    """The binding limit, its gap, and a value that works."""
    environment = fleet(limits={"ttft_p99_s": 0.01, "tpot_mean_s": 0.05})
    result, _ = study(environment)
    lines = diagnosis(result, environment)

    assert result.best() is None
    assert "P99 TTFT is at best" in lines[0]
    assert "Smallest change that helps: environment.limits.ttft_p99_s = " in lines[1]
    helps = float(lines[1].rpartition(" = ")[2].rstrip("."))
    relaxed = fleet(limits={"ttft_p99_s": helps, "tpot_mean_s": 0.05})
    assert study(relaxed)[0].best() is not None
    almost = fleet(limits={"ttft_p99_s": helps * 0.9, "tpot_mean_s": 0.05})
    assert study(almost)[0].best() is None


def test_where_a_limit_alone_does_not_help_it_says_so() -> None:
    """Both limits are out of reach, so no value of the one that binds is offered."""
    environment = fleet(limits={"ttft_p99_s": 0.001, "tpot_mean_s": 0.00001})
    lines = environment.why_infeasible([environment.space.design(DESIGN)[0]])

    assert "What binds: mean TPOT" in lines[1]
    assert "Raising this limit alone does not help, tried up to " in lines[1]
    assert "Smallest change" not in lines[1]


def test_a_model_that_fits_nowhere_names_the_memory() -> None:
    """The nearest type and its lack are in the reason."""
    environment = fleet(devices=["L4"], tensor_parallel=[1], vary={})
    with pytest.raises(InfeasibleError, match=r"Llama-3.3-70B in bf16 fits no allowed type.*L4"):
        environment.plan(DESIGN | {"model": "Llama-3.3-70B"})


def test_the_report_answers_and_names_its_sources() -> None:
    """Counts and dollars in the sentence; the fleet, what binds, prices and assumptions below."""
    environment = fleet(today={"fleet": {"H100-SXM": 4}, "model": "Llama-3.1-8B"})
    result, goal = study(environment)
    page = render(compose(result, environment, goal, command="archwright run x", title="t"))
    sentence = answer(result, environment, goal)

    assert " serve 10 requests/s " in sentence
    assert sentence.startswith("Rent ")
    for text in ("What binds", "Against today", "Prices", "us-east-1", "power law", "Runner-up"):
        assert text in page, text


def test_the_runner_up_wins_below_its_price() -> None:
    """At the price named, the cheapest fleet no longer costs less."""
    environment = fleet(vary={"model": Choice(["Llama-3.1-8B"])})
    text = environment.runner_up(environment.space.design(DESIGN)[0])

    assert "Runner-up, without" in text
    assert "would win" in text or "make it win" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate_per_s": -1.0}, "environment.rate_per_s: -1.0 is below the least, 0.0 requests/s"),
        ({"rate_per_s": 0.0}, "rate_per_s: expected more than 0"),
        ({"users": 5.0}, "users and requests_per_user_per_hour go together"),
        (
            {"limits": {"ttft_s": 1.0}},
            "environment.limits: unknown key 'ttft_s' .nearest: 'ttft_",
        ),
        ({"limits": {"ttft_p99_s": "fast"}}, "environment.limits.ttft_p99_s: expected a number"),
        ({"devices": ["H1000"]}, "unknown device 'H1000'"),
        ({"workload": "builtin:chta"}, "unknown .*'builtin:chta?'?.*nearest: '(builtin:)?chat'"),
        ({"vary": {"modle": Choice(["a"])}}, "vary: unknown parameter 'modle' .nearest: 'model'"),
        ({"vary": {"model": Choice(["Llama-3.1-9B"])}}, "unknown .*'Llama-3.1-9B'.*Llama-3.1-8B"),
        ({"vary": {"weights": Choice(["fp9"])}}, "unknown .*'fp9'.*fp8"),
        (
            {"vary": {"devices": Choice(["H200"])}},
            "vary.devices: 'H200' names H200-SXM, expected",
        ),
        ({"vary": {"kv": Choice(["fp9"])}}, "vary.kv: unknown KV format 'fp9' .nearest: 'fp8'"),
        ({"vary": {"max_batch": Choice([64, 0])}}, "vary.max_batch: .*whole number .* 1, found 0"),
        ({"vary": {"max_batch": Integer(-2, 8)}}, "vary.max_batch: .*at least 1, found -2"),
        ({"vary": {"max_batch": Real(1, 8)}}, "vary.max_batch: .*whole numbers, found 1 to 8"),
        ({"vary": {"model": Choice([8])}}, "vary.model: expected a text, found 8"),
        ({"vary": {"max_batch": Choice([64.5])}}, "vary.max_batch: .*whole number.*found 64.5"),
        ({"tensor_parallel": []}, "environment.tensor_parallel: expected at least one width"),
        ({"discount": 1.0}, "environment.discount: expected below 1, found 1.0"),
        ({"engine": "vlm"}, "unknown engine 'vlm'.*vllm"),
        ({"engine": "absent.toml"}, "absent.toml: cannot be read: No such file"),
        ({"power_utilization": 0.8}, "environment: unknown key 'power_utilization'"),
        ({"colud": "aws"}, "environment: unknown key 'colud' .nearest: 'cloud'"),
    ],
)
def test_a_mistake_is_named(options: dict[str, Any], message: str) -> None:
    """Key, value and nearest choice, before anything runs."""
    with pytest.raises(SpecificationError, match=message):
        fleet(**options)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"fleet": {"H10-SXM": 4}}, "fleet: unknown device 'H10-SXM' .nearest: 'H100-SXM'"),
        ({"fleet": {"H100-SXM": -1}}, "fleet.H100-SXM: .*whole number of at least 0, found -1"),
        ({"fleet": {}}, "fleet: expected at least one instance, found {}"),
        ({"fleet": {"L4": 0}}, "fleet: expected at least one instance, found {'L4': 0}"),
        (
            {"model": "Llama-3.1-9B"},
            "model: unknown model 'Llama-3.1-9B' .nearest: 'Llama-3.1-8B'",
        ),
        ({"weights": "fp9"}, "weights: unknown weight format 'fp9' .nearest: 'fp8'"),
        ({"kv": "int9"}, "kv: unknown KV format 'int9' .nearest: 'int8'"),
        ({"max_batch": 0}, "max_batch: expected a whole number of at least 1, found 0"),
    ],
)
def test_a_mistake_in_what_runs_today_is_named(wrong: dict[str, Any], message: str) -> None:
    """Before anything is planned, not when the report is drawn."""
    today = {"fleet": {"H100-SXM": 4}, "model": "Llama-3.1-8B"} | wrong
    with pytest.raises(SpecificationError, match=rf"^environment\.today\.{message}"):
        fleet(today=today)


def test_quality_is_score_times_recovery_with_its_interval() -> None:
    """bf16 keeps the published score; a pooled format widens the interval."""
    environment = fleet()
    exact = environment.quality(DESIGN)
    pooled = environment.quality(DESIGN | {"weights": "fp8"})

    assert exact.value == exact.low == exact.high == 48.3
    assert pooled.low < pooled.value < pooled.high
    assert math.isnan(environment.quality(DESIGN | {"kv": "fp8"}).value)
    assert np.isfinite(pooled.value)
