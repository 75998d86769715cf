"""What must hold for any controller: monotone laws, sums, shapes, determinism."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest

from archwright.memory import dram
from memory.cases import DDR3, DDR4, MAPPING, address

PAGES = ["Open", "OpenAdaptive", "Closed", "ClosedAdaptive"]
SCHEDULERS = ["Fifo", "FrFcfs", "FrFcfsGrp"]


def generated(name: str, requests: int = 10_000) -> dram.DramTrace:
    if name == "stream":
        return dram.stream(requests=requests)
    make = {"random": dram.random, "cloud-1": dram.cloud_1, "cloud-2": dram.cloud_2}[name]
    return make(np.random.default_rng(1), requests=requests)


def run(trace: dram.DramTrace, **controller: str | int) -> dram.DramResult:
    return dram.simulate(trace, DDR3, MAPPING[DDR3], dram.DramController(**controller), 800)


@pytest.mark.parametrize("trace", ["stream", "random", "cloud-1", "cloud-2"])
@pytest.mark.parametrize("page", PAGES)
def test_refresh_costs_time(trace: str, page: str) -> None:
    requests = generated(trace)
    for scheduler in SCHEDULERS:
        times = [
            run(requests, page_policy=page, scheduler=scheduler, refresh_policy=p).total_time_ns
            for p in ("NoRefresh", "AllBank")
        ]
        assert times[0] <= times[1] * 1.01


@pytest.fixture(scope="module")
def mixed() -> dram.DramTrace:
    """Reads and writes that crowd a few rows: first with long pauses, then without."""
    rng = np.random.default_rng(3)
    n = 4_000
    pauses = 40_000 * (np.arange(n) % 250 == 249) * (np.arange(n) < 1_000)
    cycle = np.cumsum(rng.integers(0, 8, size=n) + pauses)
    places = [
        address(MAPPING[DDR3], int(b), int(r), int(c) * 8)
        for b, r, c in rng.integers(0, [3, 3, 32], size=(n, 3))
    ]
    return dram.DramTrace(cycle, rng.random(n) < 0.4, places)


@pytest.mark.parametrize(
    ("field", "values", "base"),
    [
        ("page_policy", PAGES, {}),
        ("scheduler", SCHEDULERS, {}),
        ("scheduler_buffer", ["Bankwise", "ReadWrite", "Shared"], {}),
        ("request_buffer_size", [1, 4, 8], {}),
        ("resp_queue", ["Fifo", "Reorder"], {}),
        ("refresh_policy", ["NoRefresh", "AllBank"], {}),
        ("refresh_max_postponed", [1, 8], {"refresh_max_pulledin": 1}),
        ("refresh_max_pulledin", [1, 8], {"refresh_max_postponed": 1}),
        ("arbiter", ["Simple", "Fifo", "Reorder"], {"max_active_transactions": 8}),
        ("max_active_transactions", [1, 2, 8], {"arbiter": "Fifo"}),
    ],
)
def test_every_parameter_acts(
    mixed: dram.DramTrace, field: str, values: list[str | int], base: dict[str, str | int]
) -> None:
    """Each value gives its own times."""
    seen = {run(mixed, **base, **{field: value}).latency_ns.tobytes() for value in values}
    assert len(seen) == len(values)


def test_more_active_transactions_never_slow() -> None:
    requests = generated("random")
    times = [
        run(requests, arbiter="Fifo", max_active_transactions=2**i).total_time_ns for i in range(8)
    ]
    assert all(later <= earlier * 1.01 for earlier, later in itertools.pairwise(times))
    assert times[-1] < times[0] / 4


def test_the_simple_arbiter_has_no_limit() -> None:
    requests = generated("random", 500)
    few, many = (run(requests, max_active_transactions=n).cycles for n in (1, 128))
    assert few == many


def test_a_stream_is_bounded_by_the_data_bus() -> None:
    result = run(dram.stream(), refresh_policy="NoRefresh")

    # An activation, a read, then a burst of four clocks each.
    assert result.cycles == 10 + 10 + 4 * 10_000
    assert result.total_energy_pj == pytest.approx(85_109_250, abs=1)
    assert result.peak_share == pytest.approx(1.0, abs=1e-3)
    assert result.counts["ACT"] == 79
    assert result.precharges == 71
    assert result.energy.total_pj == result.total_energy_pj
    assert result.bandwidth_bytes_s == pytest.approx(10_000 * 64 / 50.025e-6)


def test_idle_banks_pull_refreshes_in() -> None:
    late = dram.DramTrace([0, 20_000], [False, False], [0, 64])

    result = run(late, refresh_max_pulledin=8)

    # Three intervals pass; each may add one refresh once eight are done early.
    assert result.counts["REF"] == 11


def test_latency() -> None:
    result = dram.simulate(
        dram.DramTrace([0, 0], [False, False], [0, 64]), DDR3, MAPPING[DDR3], {}, 800
    )

    # The second request arrives a clock later and answers a burst later.
    np.testing.assert_allclose(result.latency_ns, [30.0, 33.75])
    assert result.latency_mean_ns == pytest.approx(31.875)
    assert result.latency_percentile_ns(100) == pytest.approx(33.75)


def test_trace_and_memory_may_have_different_clocks() -> None:
    read = dram.DramTrace([0, 10], [False, False], [0, 64])

    slow, fast = (
        dram.simulate(read, DDR4, MAPPING[DDR4], {}, clock).total_time_ns for clock in (100, 1200)
    )

    # At 100 MHz the second request comes at 100 ns: at clock 121 of 0.833 ns, and hits.
    assert slow == pytest.approx((121 + 20) * 0.833)
    assert fast == pytest.approx((16 + 16 + 4 + 6) * 0.833)


def test_generators() -> None:
    assert dram.stream(requests=3).address.tolist() == [0, 64, 128]
    spread = generated("random").address
    assert spread.max() < DDR3.capacity_bytes
    assert not (spread % 64).any()
    assert len(np.unique(spread)) > 9_900
    for name, first in (("cloud-1", True), ("cloud-2", False)):
        address = generated(name).address.astype(np.int64)
        assert len(address) == 10_000
        steps = np.diff(address) == 64
        assert bool(steps[:40].all()) == first
        assert 0.4 < steps.mean() < 0.6
    again = dram.random(np.random.default_rng(1))
    assert (again.address == spread).all()


def test_runs_in_threads_equal_a_run_alone() -> None:
    requests = generated("cloud-1")
    alone = run(requests).cycles
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(run(requests).cycles)) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [alone, alone]
