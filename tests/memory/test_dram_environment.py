"""The environment memory/dram-controller."""

from __future__ import annotations

import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from archwright.errors import SpecificationError
from archwright.memory import dram
from archwright.memory.dram.environment import (
    DramControllerEnvironment,
    dram_controller,
    target_reward,
)
from archwright.search import Choice, Designs, Goal, Integer, Real
from archwright.search.study_file import load_study_file
from archwright.testing import check_environment
from memory.cases import DDR3, MAPPING

DATA = Path(os.environ.get("ARCHWRIGHT_DATA", "../shared/data"))
MIXED = DATA / "archgym" / "dramsys_proxy_example_mixed_units.csv"


def measure(environment: DramControllerEnvironment, designs: Designs) -> dict[str, np.ndarray]:
    seeds = np.zeros(len(designs), dtype=np.uint64)
    return dict(environment.evaluate(designs, seeds=seeds).metrics)


def drawn(environment: DramControllerEnvironment, n: int) -> Designs:
    return environment.space.sample(np.random.default_rng(0), n)


def test_it_keeps_the_contract() -> None:
    check_environment(dram_controller(requests=60))
    check_environment(dram_controller(workload="cloud-2", requests=60, grid="rl"))


def test_the_space_is_archgyms() -> None:
    names = [
        "page_policy", "scheduler", "scheduler_buffer", "request_buffer_size", "resp_queue",
        "refresh_policy", "refresh_max_postponed", "refresh_max_pulledin", "arbiter",
        "max_active_transactions",
    ]  # fmt: skip
    full, coarse = dram_controller(requests=1), dram_controller(requests=1, grid="rl")

    assert list(full.space.names) == list(coarse.space.names) == names
    sizes = [int(item.size) for item in full.space.parameters.values()]
    assert sizes == [4, 3, 3, 8, 2, 2, 8, 8, 3, 128] and full.space.size == 28_311_552
    sizes = [int(item.size) for item in coarse.space.parameters.values()]
    assert sizes == [4, 3, 3, 8, 2, 2, 4, 4, 3, 8] and coarse.space.size == 442_368


@pytest.mark.parametrize("workload", ["stream", "random", "cloud-1", "cloud-2"])
def test_metrics_are_those_of_the_simulator_in_si_units(workload: str) -> None:
    environment = dram_controller(workload=workload, requests=300)
    designs = drawn(environment, 20)

    found = measure(environment, designs)

    for i, design in enumerate(designs):
        result = dram.simulate(
            environment.trace, DDR3, MAPPING[DDR3], dram.DramController(**design), 800
        )
        expected = {
            "power_w": result.average_power_mw / 1e3,
            "latency_s": result.total_time_ns / 1e9,
            "energy_j": result.total_energy_pj / 1e12,
            "bandwidth_bytes_s": result.bandwidth_bytes_s,
            "mean_request_latency_s": result.latency_mean_ns / 1e9,
            "p99_request_latency_s": result.latency_percentile_ns(99) / 1e9,
        }
        assert {name: found[name][i] for name in expected} == pytest.approx(expected)
    assert found["bandwidth_bytes_s"] * found["latency_s"] == pytest.approx(300 * 64)
    # the window of the energy ends some clocks from the last response
    assert found["energy_j"] / found["latency_s"] == pytest.approx(found["power_w"], rel=0.03)


def test_rewards_are_two_sided_and_capped() -> None:
    environment = dram_controller(
        workload="stream", requests=200, power_target_w=1.5, latency_target_s=2e-6, reward_cap=9.0
    )
    designs = drawn(environment, 200)
    found = measure(environment, designs)

    power = 1.5 / abs(found["power_w"] - 1.5)
    latency = 2e-6 / abs(found["latency_s"] - 2e-6)
    assert found["reward_power"] == pytest.approx(np.minimum(power, 9.0))
    assert found["reward_latency"] == pytest.approx(np.minimum(latency, 9.0))
    assert found["reward_both"] == pytest.approx(np.minimum(power * latency, 9.0))
    assert found["reward_power"].max() == 9.0 > found["reward_power"].min()
    # better than the target is punished as worse is; the goal's own targets are one-sided
    below, at, above = target_reward([0.5, 1.0, 1.5], 1.0)
    assert (below, at, above) == (2.0, np.inf, 2.0)
    seeds = np.zeros(len(designs), dtype=np.uint64)
    goal = Goal(minimize=["power_w"], combine="target", targets={"power_w": 1.5})
    losses = goal.score(environment.evaluate(designs, seeds=seeds)).losses[:, 0]
    assert (losses == 0).tolist() == (found["power_w"] <= 1.5).tolist()


@pytest.mark.skipif(not MIXED.exists(), reason=f"no {MIXED}")
def test_the_mixed_units_of_the_original_are_off_by_a_thousand_for_a_part_of_rows() -> None:
    """DRAMSys prints ns where the time is whole and ps elsewhere; ArchGym dropped the unit."""
    environment = dram_controller(workload="stream")
    rows = list(csv.DictReader(MIXED.read_text().splitlines()))
    names = {
        "Arbiter": "arbiter", "MaxActiveTransactions": "max_active_transactions",
        "PagePolicy": "page_policy", "RefreshMaxPostponed": "refresh_max_postponed",
        "RefreshMaxPulledin": "refresh_max_pulledin", "RefreshPolicy": "refresh_policy",
        "RequestBufferSize": "request_buffer_size", "RespQueue": "resp_queue",
        "Scheduler": "scheduler", "SchedulerBuffer": "scheduler_buffer",
    }  # fmt: skip
    designs = environment.space.from_columns(
        {
            ours: [int(r[theirs]) if r[theirs].isdigit() else r[theirs] for r in rows]
            for theirs, ours in names.items()
        }
    )

    found = measure(environment, designs)

    published = {name: np.array([float(r[name]) for r in rows]) for name in ("Energy", "Latency")}
    assert found["energy_j"] * 1e3 == pytest.approx(published["Energy"], rel=1e-6)
    ratio = published["Latency"] / found["latency_s"]
    whole = np.round(found["latency_s"] * 1e12).astype(int) % 1000 == 0
    assert Counter(whole.tolist()) == {True: 82, False: 18}
    assert ratio[whole] == pytest.approx(1.0, rel=1e-6)
    assert ratio[~whole] == pytest.approx(1000.0, rel=1e-6)


def test_a_parameter_can_be_fixed_or_narrowed() -> None:
    vary = {"arbiter": Choice(["Fifo"]), "max_active_transactions": Integer(3, 5)}
    environment = dram_controller(requests=20, grid="rl", vary=vary)

    assert environment.space.size == 442_368 // 3 // 8 * 3
    assert set(drawn(environment, 50)["max_active_transactions"].tolist()) == {3, 4, 5}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workload": "strem"}, r"unknown trace 'strem' \(nearest: 'stream'\).* no file of that"),
        ({"memory": "DDR9"}, "unknown memory 'DDR9'"),
        ({"mapping": "bank-first"}, "unknown"),
        ({"grid": "coarse"}, "grid.*'coarse'"),
        ({"reqests": 5}, "nearest: 'requests'"),
        ({"power_target_w": 0.0}, "power_target_w: expected a number above 0, found 0.0"),
        ({"latency_target_s": float("nan")}, "latency_target_s"),
        ({"vary": {"arbitre": Choice(["Fifo"])}}, "unknown parameter 'arbitre'.*'arbiter'"),
        ({"vary": {"arbiter": Choice(["Fast"])}}, "vary.arbiter: .*unknown value 'Fast'"),
        ({"vary": {"request_buffer_size": Integer(0, 4)}}, "vary.request_buffer_size: .*found 0"),
        ({"vary": {"request_buffer_size": Real(1.0, 4.0)}}, "expected a list or whole numbers"),
    ],
)
def test_mistakes(options: dict[str, object], message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        dram_controller(**options)  # type: ignore[arg-type]


def test_a_trace_file_is_part_of_the_identity(tmp_path: Path) -> None:
    """Another content of the same name is another environment."""
    path = tmp_path / "one.stl"
    path.write_text("0: read 0x0\n")
    first = dram_controller(workload="one.stl", folder=tmp_path)
    assert measure(first, drawn(first, 1))["latency_s"] == pytest.approx(30e-9)
    path.write_text("0: read 0x0\n9: read 0x40\n")
    second = dram_controller(workload="one.stl", folder=tmp_path)

    assert first.identity() != second.identity()
    assert len(second.trace) == 2


def test_panels_say_where_energy_and_time_go() -> None:
    environment = dram_controller(requests=500)
    design = drawn(environment, 1)[0]

    energy, found, latency = environment.panels(design)

    result = environment.simulate(design)
    assert sum(energy.series["energy"]) == pytest.approx(result.total_energy_pj * 1e-6)
    assert sum(found.series["requests"]) == 500
    assert list(latency.series["latency"]) == sorted(latency.series["latency"])
    assert "500 requests in" in environment.describe(design)


def test_a_study_file_names_it(tmp_path: Path) -> None:
    path = tmp_path / "dram.toml"
    path.write_text(
        'format = 1\n[environment]\nname = "memory/dram-controller"\nworkload = "stream"\n'
        'requests = 50\nvary.arbiter = ["Fifo", "Reorder"]\n'
        '[goal]\nmaximize = ["reward_both"]\n[searcher]\nname = "many_agents"\nbatch = 8\n'
        "[budget]\nevaluations = 24\n"
    )

    result = load_study_file(path).study.run()

    assert len(result.trials) == 24
    assert set(result.column("param.arbiter")) <= {"Fifo", "Reorder"}
