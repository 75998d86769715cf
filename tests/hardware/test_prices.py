from __future__ import annotations

from pathlib import Path

import pytest

from archwright.errors import SpecificationError, TraceError
from archwright.hardware import cheapest, load_prices
from archwright.hardware.prices import prices


def test_price_is_that_of_one_accelerator() -> None:
    (price,) = [p for p in prices("A100-80GB-SXM", cloud="aws") if p.instance == "p4de.24xlarge"]
    assert price.usd_per_hour == pytest.approx(27.44705 / 8)
    assert (price.count_in_instance, price.region) == (8, "us-east-1")
    assert price.date == "2026-07-20"
    assert price.source.source.endswith("@1d927085dd81")


def test_recalled_rows_and_slices_are_left_out() -> None:
    listed = prices()
    assert listed and all(p.source.flag != "recalled" for p in listed)
    assert all(p.count_in_instance >= 1 and p.usd_per_hour > 0 for p in listed)
    assert not prices("TPU-v5e")  # its only row is recalled
    assert not [p for p in listed if p.instance.startswith("g6f")]  # slices of an L4


def test_cheapest_is_the_least_of_the_list() -> None:
    best = cheapest("L4")
    assert best is not None
    assert best.usd_per_hour == min(p.usd_per_hour for p in prices("L4"))
    assert cheapest("Gaudi-3") is None
    with pytest.raises(SpecificationError, match=r"unknown cloud 'awz' \(nearest: 'aws'\)"):
        cheapest("L4", cloud="awz")
    with pytest.raises(SpecificationError, match="unknown region 'us-eest-1'"):
        cheapest("L4", cloud="aws", region="us-eest-1")


def test_own_prices(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("# ours\ndevice,usd_per_hour,count,region\nl4,0.5,12,\nH100-SXM,2.5,,west\n")
    first, second = load_prices(path)
    assert (first.device, first.usd_per_hour, first.available) == ("L4", 0.5, 12)
    assert (second.available, second.region, second.cloud) == (None, "west", "own")
    assert first.source.source == "mine.csv:3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("device,usd_per_hour\nL4,-1\n", r":2: usd_per_hour: '-1', expected a number from 0 up"),
        ("device,usd_per_hour\nL4,nan\n", r":2: usd_per_hour: 'nan', expected a number"),
        ("device,usd_per_hour\nL4,cheap\n", r":2: usd_per_hour: 'cheap', expected a number"),
        ("device,usd_per_hour\n\nL5,1\n", r":3: device: 'L5', expected .* \(nearest: 'L40S'|'L4'"),
        ("device,usd_per_hour\nL4\n", r":2: 1 fields, expected 2"),
        ("device,usd_hour\nL4,1\n", r":1: unknown column 'usd_hour' \(nearest: 'usd_per_hour'\)"),
        ("usd_per_hour\n1\n", r":1: missing column 'device'"),
        ("device,usd_per_hour,count\nL4,1,2.5\n", r":2: count: '2.5', expected a whole number"),
        ("device,usd_per_hour\nL4,1\nl4,2\n", r":3: device: 'l4', expected one price .*line 2"),
        ("device,usd_per_hour\n", r"no rows"),
        ("", r"no rows"),
    ],
)
def test_bad_own_prices(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(TraceError, match=r"mine\.csv" + ".*" + message):
        load_prices(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"none\.csv: cannot be read: No such file"):
        load_prices(tmp_path / "none.csv")
