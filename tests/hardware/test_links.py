"""Levels of links: which one joins how many devices, and what a collective costs beyond one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from archwright.errors import SpecificationError
from archwright.hardware import device, timing
from archwright.hardware.devices import Link
from archwright.hardware.operators import Operator, tier_bytes


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("H100-SXM", ["node", "nic"]),
        ("GB200", ["rack", "nic"]),
        ("L40S", ["node", "nic"]),
        ("RTX-A6000", ["pair", "node", "nic"]),
    ],
)
def test_levels_of_a_device(name: str, levels: list[str]) -> None:
    found = device(name)
    assert [link.level for link in found.levels] == levels
    assert all(link.bandwidth_bytes_s > 0 for link in found.levels)
    assert found.levels[-1].devices is None


def test_ranks_beyond_a_domain_take_the_network() -> None:
    """Costed, not refused: the exchange within the domain, then each rank's share of the rest."""
    size, nic = 2.0**27, device("H100-SXM").levels[-1]
    within, beyond = (timing.all_reduce_seconds("h100", n, size) for n in (8, 16))
    wire = 2 * nic.latency_s + size / 8 / (0.8 * nic.bandwidth_bytes_s)
    assert beyond == pytest.approx(within + wire, rel=1e-12)
    within, beyond = (
        timing.all_to_all_seconds("h100", 8, size / 2),
        timing.all_to_all_seconds("h100", 16, size),
    )
    wire = nic.latency_s + size / 2 / (0.8 * nic.bandwidth_bytes_s)
    assert beyond == pytest.approx(within + wire, rel=1e-12)
    near, far = (timing.point_to_point_seconds("h100", size, span=n) for n in (8, 9))
    assert far == pytest.approx(nic.latency_s + size / (0.8 * nic.bandwidth_bytes_s))
    assert near < far / 5


def test_times_never_fall_with_ranks() -> None:
    """Of an exchange of all with all that holds where the network is slower than the box."""
    ranks = np.array([2, 4, 8, 16, 32, 64, 128])
    for name in ("H100-SXM", "L40S", "GB200", "RTX-A6000"):
        assert (np.diff(timing.all_reduce_seconds(name, ranks, 2.0**26)) > 0).all(), name
    for name in ("H100-SXM", "GB200"):
        assert (np.diff(timing.all_to_all_seconds(name, ranks, 2.0**26)) > 0).all(), name


def test_messages_over_the_host_go_at_the_speed_of_its_memory() -> None:
    """Two RTX PRO 6000 on PCIe 5 reduce 16 GB/s, no faster than what PCIe 4 gives."""
    size = 128 * 5120 * 2.0
    seconds = 128 * timing.all_reduce_seconds("RTX-PRO-6000-Blackwell", 2, size)
    assert 0.010 < seconds < 0.016
    assert timing.all_reduce_seconds("L40S", 2, 2.0**28) == pytest.approx(
        timing.all_reduce_seconds("RTX-PRO-6000-Blackwell", 2, 2.0**28), rel=0.05
    )


def test_a_stated_link_holds() -> None:
    slow = Link(level="nic", bandwidth_bytes_s=1e10, latency_s=1e-5)
    found = replace(device("H100-SXM"), links=(slow,))
    assert found.levels[-1] == slow
    args = (16, 2.0**28)
    assert timing.all_reduce_seconds(found, *args) > timing.all_reduce_seconds("h100", *args)
    closed = replace(device("H100-SXM"), links=(replace(slow, devices=16),))
    with pytest.raises(SpecificationError, match="17 ranks: no link level of H100-SXM joins more"):
        closed.link_for(17)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "nic", "bandwidth_bytes_s": None}, "link level 'nic': bandwidth_bytes_s: None"),
        ({"level": "nic", "bandwidth_bytes_s": 0.0}, "bandwidth_bytes_s: 0.0, expected a number"),
        ({"level": "rak", "bandwidth_bytes_s": 1e9}, r"unknown link level 'rak' .*'rack'"),
        ({"level": "nic", "bandwidth_bytes_s": 1e9, "latency_s": -1.0}, "latency_s: -1.0"),
        ({"level": "nic", "bandwidth_bytes_s": 1e9, "devices": 1}, "devices: 1, expected 2"),
    ],
)
def test_a_broken_link_is_one_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        Link(**options)  # type: ignore[arg-type]


def test_bytes_by_tier() -> None:
    """Operands count where they lie, messages as the peer's."""
    paged = Operator(
        name="mlp", kind="gemm", count=3, weight_bytes=100, kv_bytes=7, activation_bytes=10,
        weight_tier="host", shape={}, formula="",
    )  # fmt: skip
    sent = Operator(
        name="sum", kind="all_reduce", count=2, communication_bytes=5, shape={}, formula=""
    )
    assert paged.tier_bytes == {"host": 100, "memory": 17}
    assert tier_bytes([paged, sent]) == {"host": 300, "memory": 51, "peer": 10}
    assert paged.placement == 0


def test_drawing_by_a_sort_scales_with_batch_and_vocabulary() -> None:
    """About 47 us a sequence at 128k entries on H100; the highest logit is a stream."""
    each = timing.sampling_seconds("h100", 100, 128256, "top_p") / 100
    assert 42e-6 < each < 52e-6
    double = timing.sampling_seconds("h100", 100, 2 * 128256, "top_p") / 100
    assert double == pytest.approx(2 * each, rel=0.01)
    timed = timing.sampling_seconds("h100", [1, 64], 151936, return_interval=True)
    assert (timed.low < timed.seconds).all() and (timed.seconds < timed.high).all()
    assert timed.seconds[1] < 100e-6
