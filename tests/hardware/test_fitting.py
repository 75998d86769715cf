"""Fits: constants that made the times come back; a user's table; a made-up device."""

from __future__ import annotations

import gzip
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archwright.errors import SpecificationError, TraceError
from archwright.hardware import device, timing
from archwright.hardware.devices import Device
from archwright.hardware.fitting import calibrate_device, carry, fit
from archwright.hardware.measurements import Sample, read_table
from archwright.hardware.profiles import Fitted, average, carried, load_profile, shipped
from archwright.provenance import Source

SLOW = 1.3


def gemm_csv(path: Path, target: str | Device, *, factor: float = 1.0, noise: float = 0.0) -> Path:
    """Write times that the law itself gives, each multiplied."""
    rng = np.random.default_rng(0)
    m, n, k = (np.floor(2.0 ** rng.uniform(low, 14, 400)) for low in (0, 6, 6))
    seconds = timing.gemm_seconds(target, m, n, k) * factor
    seconds = seconds * np.exp(noise * rng.standard_normal(400))
    lines = [
        f"bfloat16,{a:.0f},{b:.0f},{c:.0f},{s * 1e3:.9g}"
        for a, b, c, s in zip(m, n, k, seconds, strict=True)
    ]
    path.write_text("dtype,m,n,k,latency_ms\n" + "\n".join(lines) + "\n")
    return path


def test_a_fit_finds_the_law_that_made_the_rows(tmp_path: Path) -> None:
    sample = read_table(gemm_csv(tmp_path / "t.csv", "H100-SXM"), device("H100-SXM"))[0]
    constants = fit("gemm", [sample], device("H100-SXM"))
    fitted = replace(shipped()["gemm"]["H100-SXM"]["bfloat16"], constants=constants)
    predicted = sample.predicted(device("H100-SXM"), fitted)[0]
    assert np.abs(predicted / sample.seconds - 1).mean() < 0.02


def test_calibration_finds_a_slower_device_and_goes_through_a_file(tmp_path: Path) -> None:
    table = gemm_csv(tmp_path / "mine.csv", "L40S", factor=SLOW, noise=0.02)
    found = calibrate_device("L40S", table)
    assert found.rows == 400
    assert found.bias_before == pytest.approx(1 / SLOW - 1, abs=0.02)
    assert found.error_before > 0.2
    assert found.error_after < 0.1
    assert abs(found.bias_after) < 0.05

    again = load_profile(found.write_profile(tmp_path / "mine.toml"))
    assert again == found.device
    shape = (8, 4096, 4096)
    assert timing.gemm_seconds(again, *shape) == timing.gemm_seconds(found.device, *shape)
    assert timing.gemm_seconds(again, *shape) == pytest.approx(
        SLOW * timing.gemm_seconds("L40S", *shape), rel=0.15
    )
    assert timing.provenance(again, "gemm").startswith("fitted on measurements of the user")
    # Laws that were not measured keep the shipped constants.
    args = (4, 999, 32, 8, 128)
    assert timing.attention_decode_seconds(again, *args) == timing.attention_decode_seconds(
        "L40S", *args
    )


def test_a_made_up_device_needs_no_catalogue_row(tmp_path: Path) -> None:
    made_up = replace(
        device("H100-SXM"),
        name="X1", architecture="", memory_bandwidth_bytes_s=6e12,
        source=Source(source="a plan", flag="assumed"),
    )  # fmt: skip
    found = calibrate_device(made_up, gemm_csv(tmp_path / "x1.csv", made_up, factor=SLOW))
    again = load_profile(found.write_profile(tmp_path / "x1.toml"))
    assert (again.name, again.memory_bandwidth_bytes_s) == ("X1", 6e12)
    assert timing.gemm_seconds(again, 1, 16384, 16384) == pytest.approx(
        SLOW * timing.gemm_seconds(made_up, 1, 16384, 16384), rel=0.15
    )


def test_a_gzip_table_reads_like_a_plain_one(tmp_path: Path) -> None:
    plain = gemm_csv(tmp_path / "t.csv", "H100-SXM")
    packed = tmp_path / "t.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    a, b = (read_table(path, device("H100-SXM"))[0] for path in (plain, packed))
    assert (a.seconds == b.seconds).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dtype,m,n,k,latency_ms\nbfloat16,1,x,3,4\n", r"t.csv:2: n: 'x', expected a number"),
        (
            "dtype,m,n,k,latency_ms\nbfloat16,1,2,3,4\nbfloat16,1,2,3,-1\n",
            r"t.csv:3: latency_ms: -1, expected a positive number",
        ),
        ("dtype,m,n,k,latncy_ms\nbfloat16,1,2,3,4\n", r"'latncy_ms' \(nearest: 'latency_ms'\)"),
        ("dtype,m,n,latency_ms\nbfloat16,1,2,3\n", r"missing column 'k'; .* table of gemm"),
        ("dtype,m,n,k,latency_ms\n", r"no rows, expected measured kernel times"),
    ],
)
def test_a_broken_table_names_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(TraceError, match=message):
        calibrate_device("H100-SXM", path)


def test_a_table_in_a_format_that_the_device_lacks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("dtype,m,n,k,latency_ms\n" + "fp8,1,2,3,4\n" * 9)
    with pytest.raises(SpecificationError, match="unknown dtype of A100-80GB-SXM 'fp8'"):
        calibrate_device("A100-80GB-SXM", path)
    path.write_text("dtype,m,n,k,latency_ms\nbfloat16,1,2,3,4\n")
    with pytest.raises(SpecificationError, match="1 rows of gemm in bfloat16, expected at least"):
        calibrate_device("A100-80GB-SXM", path)
    with pytest.raises(TraceError, match=r"absent.csv: cannot be read"):
        calibrate_device("A100-80GB-SXM", tmp_path / "absent.csv")


def test_times_in_another_unit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "seconds.csv"
    path.write_text("dtype,m,n,k,latency_ms\n" + "bfloat16,8192,8192,8192,0.0015\n" * 9)
    with pytest.raises(SpecificationError, match="9 of 9 rows of gemm are faster than the roof"):
        calibrate_device("H100-SXM", path)


def test_a_profile_with_a_wrong_key_is_refused(tmp_path: Path) -> None:
    found = calibrate_device("L40S", gemm_csv(tmp_path / "mine.csv", "L40S"))
    path = found.write_profile(tmp_path / "mine.toml")
    good = path.read_text()
    assert tomllib.loads(good)["format"] == 1
    for old, new, message in (
        ("format = 1", "format = 2", "format: 2, expected 1"),
        ("[gemm.bfloat16", "[gem.bfloat16", r"unknown key 'gem' \(nearest: 'gemm'\)"),
        ("tdp_w", "tpd_w", r"unknown key 'tpd_w' \(nearest: 'tdp_w'\)"),
        ("throttle", "throtle", r"\[gemm.bfloat16.constants\].*expected .*'throttle'"),
        ("rows = 400", "", r"'rows', expected constants, low, high and rows"),
    ):
        path.write_text(good.replace(old, new))
        with pytest.raises(SpecificationError, match=message):
            load_profile(path)
    with pytest.raises(SpecificationError, match="has no timing constants of its own"):
        replace(found, device=device("L40S")).write_profile(path)


def test_carried_constants_prefer_a_sibling_and_count_each_engine_once() -> None:
    rows = {
        "H100-SXM": {"read": 0.8}, "B200-SXM": {"read": 0.2},
        "A100-80GB-SXM": {"read": 0.1},
    }  # fmt: skip
    assert carried(rows, "hopper") == {"read": 0.8}
    # H100 and B200 were timed with one engine: their mean is 0.4, and with A100's 0.2.
    assert carried(rows, "") == {"read": 0.2}
    assert average([{"x": 1.0}, {"x": 4.0}]) == {"x": 2.0}


def test_an_interval_of_carried_constants_holds_every_measured_device() -> None:
    """Two devices, one 2x slower than the law says of the other: both lie within."""
    m = np.full(200, 4096.0)
    base = shipped()["gemm"]["H100-SXM"]["bfloat16"].constants
    plain = Fitted(constants=base, low=(1,) * 4, high=(1,) * 4, rows=0, source=Source(source=""))
    samples = {}
    for name, factor in (("H100-SXM", 1.0), ("A100-80GB-SXM", 2.0)):
        sample = Sample(table="", law="gemm", key="bfloat16", shape=(m, m, m), seconds=m)
        seconds = sample.predicted(device(name), plain)[0] * factor
        samples[name] = [replace(sample, seconds=seconds)]
    found = carry(dict.fromkeys(samples, base), samples, "", Source(source=""))
    assert found.low == (1.0,) * 4 and found.high == pytest.approx((2.0,) * 4)
    assert found.rows == 400
