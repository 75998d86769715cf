"""Fits: constants that made the times come back; a user's table; a made-up device."""

from __future__ import annotations

import gzip
import os
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from archwright.cli import main
from archwright.errors import SpecificationError, TraceError
from archwright.hardware import device, timing
from archwright.hardware.devices import Device
from archwright.hardware.fitting import by_format, calibrate_device, carry, catalogue, fit
from archwright.hardware.measurements import Sample, read_folder, read_table
from archwright.hardware.profiles import (
    Fitted,
    average,
    carried,
    load_profile,
    shipped,
    write_profile,
)
from archwright.provenance import Source

TABLES = Path(os.environ.get("ARCHWRIGHT_DATA", "../shared/data")) / "llm-measured"

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


def test_what_held_before_is_what_the_library_says(tmp_path: Path) -> None:
    """A format without constants of its own is predicted with those of the nearest one."""
    m, n = np.meshgrid([1, 64, 1024, 4096], [1024, 4096, 8192])
    seconds = timing.gemm_seconds("L40S", m, n, 4096, "fp8_block")
    rows = [
        f"fp8_block,{a},{b},4096,{s * 1e3:.12g}"
        for a, b, s in zip(m.flat, n.flat, seconds.flat, strict=True)
    ]
    path = tmp_path / "t.csv"
    path.write_text("dtype,m,n,k,latency_ms\n" + "\n".join(rows) + "\n")
    assert calibrate_device("L40S", path).error_before < 1e-9


def test_a_format_under_another_name_is_the_same_format(tmp_path: Path) -> None:
    table = gemm_csv(tmp_path / "t.csv", "H100-SXM", factor=SLOW)
    table.write_text(table.read_text().replace("bfloat16", "bf16"))
    found = calibrate_device("H100-SXM", table)
    assert list(found.device.timing["gemm"]) == ["bfloat16"]
    assert timing.gemm_seconds(found.device, 8, 4096, 4096) == pytest.approx(
        SLOW * timing.gemm_seconds("H100-SXM", 8, 4096, 4096), rel=0.15
    )


def test_a_profile_keeps_where_each_law_comes_from(tmp_path: Path) -> None:
    found = calibrate_device("L40S", gemm_csv(tmp_path / "gemm.csv", "L40S")).device
    sizes = 2.0 ** np.arange(10, 28)
    rows = [
        f"all_reduce,int8,2,{size:.0f},{s * 1e3:.9g}"
        for size, s in zip(sizes, timing.all_reduce_seconds("L40S", 2, sizes), strict=True)
    ]
    path = tmp_path / "rings.csv"
    path.write_text("op,dtype,num_gpus,message_elements,latency_ms\n" + "\n".join(rows) + "\n")
    found = calibrate_device(found, path).device
    again = load_profile(write_profile(found, tmp_path / "mine.toml"))
    assert again == found
    assert again.timing["gemm"]["bfloat16"].source.source == "gemm.csv"
    assert again.timing["all_reduce"]["host"].source.source == "rings.csv"


def test_a_profile_with_one_source_for_all_is_read(tmp_path: Path) -> None:
    path = calibrate_device("L40S", gemm_csv(tmp_path / "mine.csv", "L40S")).write_profile(
        tmp_path / "mine.toml"
    )
    table = tomllib.loads(path.read_text())
    table["timing_source"] = table["gemm"]["bfloat16"].pop("source")
    table["timing_source"]["source"] = "a lab"
    path.write_text(tomli_w.dumps(table))
    assert load_profile(path).timing["gemm"]["bfloat16"].source.source == "a lab"


def test_constants_are_of_the_day_of_their_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.strftime", lambda form: "2031-01-02")
    gemm_csv(tmp_path / "gemm_h100_sxm.csv", "H100-SXM")
    assert catalogue(tmp_path)["date"] == "2031-01-02"
    found = calibrate_device("H100-SXM", tmp_path / "gemm_h100_sxm.csv")
    assert found.device.timing["gemm"]["bfloat16"].source.date == "2031-01-02"


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("format", 2, "format: 2, expected 1"),
        ("gem", {}, r"unknown key 'gem' \(nearest: 'gemm'\)"),
        ("device", 3, "device: 3, expected a table"),
        ("device", None, r"\[device\]: the key 'name' is missing"),
        ("device.tpd_w", 9, r"\[device\]: unknown key 'tpd_w' \(nearest: 'tdp_w'\)"),
        ("device.timing", {}, r"\[device\]: unknown key 'timing'"),
        ("device.year", None, r"\[device\]: the key 'year' is missing"),
        ("device.tdp_w", "350", r"\[device\].tdp_w: expected a number, found '350'"),
        ("device.tdp_w", -350, r"\[device\]: tdp_w: -350, expected a positive number"),
        ("device.memory_bytes", 0.5, r"\[device\].memory_bytes: expected a whole number"),
        ("device.peak_ops_s", [1.0], r"\[device\].peak_ops_s: expected a table, found \[1.0\]"),
        ("device.peak_ops_s.bf16", "x", r"\[device\].peak_ops_s.bf16: expected a number"),
        ("device.peak_ops_s.bf16", 0, r"\[device\]: peak_ops_s.bf16: 0, expected a positive"),
        ("device.peak_ops_s.bf61", 1, r"unknown number type 'bf61' \(nearest: 'bf16'\)"),
        ("device.source", "a plan", r"\[device\].source: expected a table, found 'a plan'"),
        ("device.source.dat", "", r"\[device\].source: unknown key 'dat' \(nearest: 'date'\)"),
        ("device.derived_fields", "tdp_w", r"\[device\].derived_fields: expected a list"),
        ("timing_source", "a lab", "timing_source: 'a lab', expected a table"),
        ("timing_source", {"src": "a"}, r"\[timing_source\]: unknown key 'src'"),
        ("gemm", 4, "gemm: 4, expected a table"),
        ("gemm.bfloat16", 4, r"\[gemm.bfloat16\]: 4, expected a table"),
        ("gemm.bfloat61", {}, r"unknown format 'bfloat61' \(nearest: 'bfloat16'\)"),
        ("all_reduce.lnk", {}, r"\[all_reduce.lnk\]: unknown format 'lnk' \(nearest: 'link'\)"),
        ("attention_decode.fp8", {}, r"decode.fp8\]: 'fp8', expected .*'bfloat16/fp8'"),
        ("attention_decode.fp8/fp9", {}, r"unknown format 'fp9' \(nearest: 'fp8'\)"),
        ("gemm.bfloat16.rows", None, r"\[gemm.bfloat16\]: the key 'rows' is missing"),
        ("gemm.bfloat16.row", 3, r"\[gemm.bfloat16\]: unknown key 'row' \(nearest: 'rows'\)"),
        ("gemm.bfloat16.low", 0.5, r"\[gemm.bfloat16\].low: expected a list, found 0.5"),
        (
            "gemm.bfloat16.low", [0.5, 0.5],
            r"\[gemm.bfloat16\].low: \[0.5, 0.5\], expected 4 positive numbers, one a regime",
        ),
        ("gemm.bfloat16.high", [1.0, 1.0, 1.0, -2.0], r"high: .*-2.0\], expected 4 positive"),
        ("gemm.bfloat16.constants", 1.0, r"\[gemm.bfloat16\].constants: expected a table"),
        ("gemm.bfloat16.constants.read", None, r"\[gemm.bfloat16.constants\].*expected .*'read'"),
        ("gemm.bfloat16.constants.rd", 1.0, r"\[gemm.bfloat16.constants\]: .*'rd'"),
        ("gemm.bfloat16.constants.read", "x", "constants.read: expected a number, found 'x'"),
        ("gemm.bfloat16.constants.read", 0.0, r"constants\]: read: 0, expected a positive"),
    ],
)  # fmt: skip
def test_a_profile_with_a_wrong_key_is_refused(
    profile: str, tmp_path: Path, where: str, value: Any, message: str
) -> None:
    """One line with file, key, value and what was expected; None takes a key away."""
    table = tomllib.loads(profile)
    inner = table
    *path, last = where.split(".")
    for part in path:
        inner = inner.setdefault(part, {})
    inner.pop(last, None)
    if value is not None:
        inner[last] = value
    file = tmp_path / "mine.toml"
    file.write_text(tomli_w.dumps(table))
    with pytest.raises(SpecificationError, match=message) as caught:
        load_profile(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of a good profile."""
    folder = tmp_path_factory.mktemp("profile")
    found = calibrate_device("L40S", gemm_csv(folder / "mine.csv", "L40S"))
    with pytest.raises(SpecificationError, match="has no timing constants of its own"):
        replace(found, device=device("L40S")).write_profile(folder / "mine.toml")
    return found.write_profile(folder / "mine.toml").read_text()


def test_bytes_may_have_an_exponent(profile: str, tmp_path: Path) -> None:
    table = tomllib.loads(profile)
    table["device"]["memory_bytes"] = 96e9
    (tmp_path / "mine.toml").write_text(tomli_w.dumps(table))
    found = load_profile(tmp_path / "mine.toml").memory_bytes
    assert found == 96_000_000_000 and isinstance(found, int)


def test_a_device_takes_nothing_of_what_an_engine_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = gemm_csv(tmp_path / "mine.csv", "L40S")
    words = ["calibrate", "device", str(table), "--device", "L40S"]
    for flag, value in (("--model", "x"), ("--tp", "1"), ("--weights", "fp8"), ("--kv", "fp8")):
        assert main([*words, flag, value]) == 2
        assert f"{flag}: says what an engine served" in capsys.readouterr().err
        assert not (tmp_path / "mine.toml").exists()
    assert main(words) == 0
    assert load_profile(tmp_path / "mine.toml").name == "L40S"


def nccl_csv(path: Path, *rows: str) -> Path:
    head = "op,dtype,num_gpus,message_elements,latency_ms\n"
    path.write_text(head + "".join(f"{row}\n" for row in rows))
    return path


def test_collectives_without_a_law_are_counted(tmp_path: Path) -> None:
    path = nccl_csv(
        tmp_path / "nccl_h100_sxm.csv",
        "all_reduce,half,8,1024,0.02", "all_gather,half,8,1024,0.02",
        "all_gather,half,8,2048,0.02", "reduce_scatter,half,8,1024,0.02",
        "alltoall,int8,8,1024,0.02",
    )  # fmt: skip
    found = read_folder(tmp_path)
    assert found.skipped == {
        "nccl_h100_sxm.csv all_gather": "2 rows: no law is for it",
        "nccl_h100_sxm.csv reduce_scatter": "1 rows: no law is for it",
    }
    kept = [(s.law, s.shape[1].tolist()) for s in found.samples["H100-SXM"]]
    assert kept == [("all_reduce", [2048.0]), ("all_to_all", [1024.0])]
    assert {s.law for s in read_table(path, device("H100-SXM"))} == {"all_reduce", "all_to_all"}


def test_an_element_of_unknown_size_is_refused(tmp_path: Path) -> None:
    path = nccl_csv(
        tmp_path / "t.csv", "all_reduce,half,8,1024,0.02", "all_reduce,halff,8,1024,0.02"
    )
    with pytest.raises(TraceError, match=r"t.csv:3: unknown dtype 'halff' \(nearest: 'half'\)"):
        read_table(path, device("H100-SXM"))
    head = "allreduce_dtype,num_gpus,message_elements,latency_ms\n"
    path.write_text(head + "float,8,1024,0.02\n")
    assert read_table(path, device("H100-SXM"))[0].shape[1] == 4096.0
    path.write_text(head + "fp7,8,1024,0.02\n")
    with pytest.raises(TraceError, match=r"t.csv:2: unknown allreduce_dtype 'fp7'"):
        read_table(path, device("H100-SXM"))


def test_carried_constants_prefer_a_sibling_and_count_each_engine_once() -> None:
    rows = {
        "H100-SXM": {"read": 0.8}, "B200-SXM": {"read": 0.2},
        "A100-80GB-SXM": {"read": 0.1},
    }  # fmt: skip
    assert carried("gemm", rows, "hopper") == {"read": 0.8}
    # H100 and B200 were timed with one engine: their mean is 0.4, and with A100's 0.2.
    assert carried("gemm", rows, "") == {"read": 0.2}
    assert average([{"x": 1.0}, {"x": 4.0}]) == {"x": 2.0}
    # Ada runs Ampere's kernels of attention, not those of Hopper; of CDNA nothing was measured
    assert carried("attention_prefill", rows, "ada") == {"read": 0.1}
    assert carried("attention_prefill", rows, "blackwell-rtx") == {"read": 0.1}
    assert carried("attention_prefill", rows, "cdna3") == {"read": 0.2}
    assert carried("gemm", rows, "ada") == {"read": 0.2}


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
    found = carry("gemm", dict.fromkeys(samples, base), samples, "", Source(source=""))
    assert found.low == (1.0,) * 4 and found.high == pytest.approx((2.0,) * 4)
    assert found.rows == 400


@pytest.mark.skipif(not TABLES.is_dir(), reason=f"{TABLES} is missing")
def test_the_catalogue_is_what_the_tables_give() -> None:
    """The constants carried to a datasheet, and their interval, from the rows that are public."""
    for (law, key), group in by_format(read_folder(TABLES).samples).items():
        if law not in ("attention_prefill", "attention_decode"):
            continue
        own = {name: shipped()[law][name][key].constants for name in group}
        found, kept = (
            carry(law, own, group, "", Source(source="")),
            shipped()[law]["datasheet"][key],
        )
        assert found.constants == pytest.approx(kept.constants, rel=1e-4), key
        assert (found.low, found.high) == (kept.low, kept.high), key


@pytest.mark.parametrize("name", ["EPYC-9654", "H100-SXM"])
def test_what_is_written_can_be_read(name: str, tmp_path: Path) -> None:
    """Also of a CPU, which has no memory of its own."""
    timing = {"gemm": {"bfloat16": shipped()["gemm"]["L40S"]["bfloat16"]}}
    target = replace(device(name), timing=timing)
    found = load_profile(write_profile(target, tmp_path / "mine.toml"))
    assert (found.memory_bytes, found.timing) == (target.memory_bytes, timing)


def test_one_format_by_two_names_is_refused(tmp_path: Path) -> None:
    timing = {"gemm": {"bfloat16": shipped()["gemm"]["L40S"]["bfloat16"]}}
    path = write_profile(replace(device("L40S"), timing=timing), tmp_path / "mine.toml")
    text = path.read_text()
    again = text[text.index("[gemm.bfloat16]") :].replace("gemm.bfloat16", "gemm.bf16")
    path.write_text(text + "\n" + again)
    with pytest.raises(SpecificationError, match=r"gemm\.bf16.*another name of 'bfloat16'"):
        load_profile(path)
