from __future__ import annotations

import pytest

from archwright.errors import SpecificationError
from archwright.hardware import device, matmul_fraction
from archwright.hardware.devices import devices


def test_catalogue_reads_sourced_facts() -> None:
    assert len(devices()) == 56
    h100 = device("H100-SXM")
    assert h100.peak_ops_s["bf16"] == 9.89e14
    assert h100.memory_bytes == 80 * 2**30
    assert h100.link_bytes_s_per_direction == 4.5e11
    assert h100.link_devices == 8
    assert h100.source.source and h100.source.date


@pytest.mark.parametrize(
    ("short", "name"),
    [
        ("h200_sxm", "H200-SXM"),
        ("a100_sxm", "A100-80GB-SXM"),
        ("A100-80gb_sxm", "A100-80GB-SXM"),
        ("l40s", "L40S"),
    ],
)
def test_short_names(short: str, name: str) -> None:
    assert device(short).name == name


def test_unknown_device_names_the_nearest() -> None:
    with pytest.raises(
        SpecificationError, match=r"unknown device 'H10O-SXM' \(nearest: 'H100-SXM'"
    ):
        device("H10O-SXM")


def test_origin_of_fields() -> None:
    assert device("H100-SXM").origin("bf16") == "sourced"
    assert device("A10G").origin("tdp_w") == "recalled"
    assert device("A10G").origin("l2_bytes") == "recalled"
    assert device("MI300X").origin("fp8") == "derived"
    assert device("RTX-6000-Ada").origin("memory_bytes") == "recalled"
    with pytest.raises(SpecificationError, match="unknown device field 'tdp'"):
        device("A10G").origin("tdp")


def test_a_type_without_a_rate_is_absent() -> None:
    assert "fp8" not in device("A100-80GB-SXM").peak_ops_s
    with pytest.raises(SpecificationError, match="unknown number type of A100-80GB-SXM 'fp8'"):
        matmul_fraction(device("A100-80GB-SXM"), "fp8")


def test_matmul_fraction_says_whether_it_was_measured() -> None:
    measured = matmul_fraction(device("MI300X"), "bf16")
    assert (measured.value, measured.label) == (0.5142, "measured")
    assumed = matmul_fraction(device("L40S"), "bf16")
    assert (assumed.label, assumed.source.flag) == ("assumed", "assumed")


def test_every_link_topology_with_a_link_is_known() -> None:
    alone = {
        found.link_topology
        for found in devices()
        if found.link_bytes_s_per_direction and found.link_devices == 1
    }
    # CPU sockets and boards of one GPU have a link that no tensor parallelism can count on.
    assert all("socket" in name or "one GPU a board" in name for name in alone), alone


def test_clocks_follow_from_peak_and_units() -> None:
    """Boost clocks that the makers print, within the rounding of the peaks."""
    for name, clock_hz in (
        ("A100-80GB-SXM", 1.41e9),
        ("L40S", 2.52e9),
        ("V100-SXM2-16GB", 1.53e9),
    ):
        assert device(name).clock_hz == pytest.approx(clock_hz, rel=0.02)
    h100 = device("H100-SXM")
    assert (h100.compute_units, h100.architecture) == (132, "hopper")
    assert h100.origin("clock_hz") == "derived"
    assert h100.origin("architecture") == "recalled"
    assert device("A10G").origin("compute_units") == "recalled"
    assert device("TPU-v5p").clock_hz is None
    for found in devices():
        assert found.clock_hz is None or 1.0e9 < found.clock_hz < 3.2e9, found.name
