from __future__ import annotations

from pathlib import Path

import pytest

from archwright.errors import SpecificationError
from archwright.hardware import cheapest, device, load_prices, matmul_fraction
from archwright.hardware.devices import _by_key, _key, device_set, devices
from archwright.hardware.tables import catalogue_toml


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
        ("H100", "H100-SXM"),
        ("h100sxm", "H100-SXM"),
        ("A100", "A100-80GB-SXM"),
        ("A100-80GB", "A100-80GB-SXM"),
        ("H200", "H200-SXM"),
        ("B200", "B200-SXM"),
        ("mi300x", "MI300X"),
        ("4090", "RTX-4090"),
        ("rtx4090", "RTX-4090"),
        ("v5e", "TPU-v5e"),
        # as nvidia-smi and rocm-smi print them
        ("NVIDIA A100-SXM4-80GB", "A100-80GB-SXM"),
        ("NVIDIA A100-PCIE-40GB", "A100-40GB-PCIe"),
        ("NVIDIA H100 80GB HBM3", "H100-SXM"),
        ("NVIDIA H100 PCIe", "H100-PCIe"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090"),
        ("NVIDIA RTX A6000", "RTX-A6000"),
        ("Tesla T4", "T4"),
        ("Tesla V100-SXM2-32GB", "V100-SXM2-32GB"),
        ("AMD Instinct MI300X", "MI300X"),
    ],
)
def test_short_names(short: str, name: str) -> None:
    assert device(short).name == name


def test_aliases_are_written_as_they_are_looked_up() -> None:
    """An alias in another spelling is never found, one of a device's own name changes nothing."""
    aliases = catalogue_toml("archwright.hardware", "assumptions.toml")["aliases"]
    names = {_key(found.name) for found in devices()}
    assert len(names) == len(devices())
    for alias, name in aliases.items():
        assert alias == _key(alias) and alias not in names, alias
        assert device(name).name == name
    assert set(_by_key()) == names | set(aliases)


def test_prices_and_calibrations_know_the_short_names(tmp_path: Path) -> None:
    """A user's price file names devices as everything else does."""
    path = tmp_path / "prices.csv"
    path.write_text("device,usd_per_hour\nh100,2.5\nNVIDIA L4,0.7\n4090,0.4\n")
    assert [price.device for price in load_prices(path)] == ["H100-SXM", "L4", "RTX-4090"]
    assert cheapest("h100") == cheapest("H100-SXM")


def test_sets_of_devices() -> None:
    """In the order written; the plus of a name is no separator."""
    assert device_set(" h100 + L4") == ("H100-SXM", "L4")
    assert device_set("Xeon-Platinum-8480+") == ("Xeon-Platinum-8480+",)
    assert device_set("xeon-platinum-8480+ + l4") == ("Xeon-Platinum-8480+", "L4")
    assert device_set("all", among=["L4", "L40S"]) == ("L4", "L40S")
    for text, among, message in (
        ("h100+l5", None, r"unknown device 'l5' \(nearest: 'L4'\)"),
        ("h100", ["L4", "L40S"], "'h100' names H100-SXM, expected devices of L4, L40S"),
        ("l4+L4", None, "'l4\\+L4' names L4 twice"),
        ("l4+", None, "unknown device ''"),
        ("", None, "unknown device ''"),
        ("all", None, "unknown device 'all'"),
    ):
        with pytest.raises(SpecificationError, match=message):
            device_set(text, among)


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
