"""Accuracy on the public tables: gates that measurements set."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from archwright.errors import SpecificationError, TraceError
from archwright.hardware import device
from archwright.hardware.accuracy import AccuracyRow, accuracy_row, kernel_accuracy
from archwright.hardware.measurements import read_folder, read_table

TABLES = [
    *(f"gemm_{system}" for system in ("a100_sxm", "h100_sxm", "b200_sxm", "l40s")),
    *(f"attention_context_{system}" for system in ("a100_sxm", "h100_sxm", "l40s")),
    *(f"attention_generation_{system}" for system in ("a100_sxm", "h100_sxm", "l40s")),
    *(f"nccl_{system}" for system in ("a100_sxm", "h100_sxm", "b200_sxm")),
]


def folder() -> Path:
    root = Path(os.environ.get("ARCHWRIGHT_DATA", "../shared/data")) / "llm-measured"
    if not root.is_dir():
        pytest.skip(f"{root} is absent; set ARCHWRIGHT_DATA to the reference measurements")
    return root


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[AccuracyRow]:
    """Accuracy over the tables that have gates, linked into a folder of their own."""
    there = tmp_path_factory.mktemp("tables")
    for name in TABLES:
        (there / f"{name}.csv.gz").symlink_to((folder() / f"{name}.csv.gz").resolve())
    return kernel_accuracy(there)


def one(
    rows: list[AccuracyRow], table: str, subset: str, quantity: str, split: str
) -> AccuracyRow:
    found = [
        row
        for row in rows
        if (row.table, row.subset, row.quantity, row.split) == (table, subset, quantity, split)
    ]
    assert len(found) == 1
    return found[0]


ATTENTION = "bfloat16/bfloat16"


@pytest.mark.parametrize(
    ("table", "subset", "quantity", "split", "limit"),
    [
        ("gemm_h100_sxm", "dense-bf16", "gemm_s", "rows", 0.13),
        ("gemm_a100_sxm", "dense-bf16", "gemm_s", "rows", 0.20),
        ("gemm_b200_sxm", "dense-bf16", "gemm_s", "rows", 0.19),
        ("gemm_l40s", "dense-bf16", "gemm_s", "rows", 0.35),
        ("gemm_a100_sxm", "dense-bf16", "gemm_s", "device", 0.28),
        ("gemm_h100_sxm", "dense-bf16", "gemm_s", "device", 0.14),
        ("gemm_b200_sxm", "dense-bf16", "gemm_s", "device", 0.19),
        ("gemm_l40s", "dense-bf16", "gemm_s", "device", 0.39),
        ("attention_generation_a100_sxm", ATTENTION, "attention_decode_s", "rows", 0.30),
        ("attention_context_h100_sxm", ATTENTION, "attention_prefill_s", "rows", 0.27),
    ],
)
def test_mean_error_stays_below_what_a_simple_law_reached(
    rows: list[AccuracyRow], table: str, subset: str, quantity: str, split: str, limit: float
) -> None:
    found = one(rows, table, subset, quantity, split)
    mean = one(rows, table, subset, quantity, split + " mean-predictor")
    assert found.mean_error <= limit
    assert found.mean_error < 0.2 * mean.mean_error
    assert found.spearman > 0.95


@pytest.mark.parametrize("system", ["h100_sxm", "a100_sxm"])
def test_ring_all_reduce_of_eight_devices(system: str) -> None:
    path = folder() / f"nccl_{system}.csv.gz"
    target = device(system)
    sample = next(s for s in read_table(path, target) if s.law == "all_reduce")
    eight = sample.take(sample.shape[0] == 8)
    from archwright.hardware import timing

    predicted = timing.all_reduce_seconds(target, 8, eight.shape[1], ring=True)
    assert np.abs(predicted / eight.seconds - 1).mean() <= 0.18


def test_intervals_hold_on_devices_left_out(rows: list[AccuracyRow]) -> None:
    for system in ("a100_sxm", "h100_sxm", "b200_sxm", "l40s"):
        assert one(rows, f"gemm_{system}", "dense-bf16", "gemm_s", "device").coverage >= 0.8
        within = one(rows, f"gemm_{system}", "dense-bf16", "gemm_s", "rows").coverage
        assert 0.8 <= within <= 0.97


def test_shipped_constants_are_as_good_as_refitted_ones(rows: list[AccuracyRow]) -> None:
    """The catalogue was fitted on these tables; a stale one would show here."""
    for row in rows:
        if row.split == "rows" and row.quantity == "gemm_s":
            shipped = one(rows, row.table, row.subset, row.quantity, "shipped")
            assert shipped.mean_error < row.mean_error + 0.03


def test_hardly_a_measured_matmul_is_faster_than_the_roofline() -> None:
    for system in ("a100_sxm", "h100_sxm", "b200_sxm", "l40s"):
        target = device(system)
        for sample in read_table(folder() / f"gemm_{system}.csv.gz", target):
            assert sample.possible(target).mean() >= 0.995


def test_systems_that_nobody_knows_are_named(tmp_path: Path) -> None:
    text = "dtype,m,n,k,latency_ms\n" + "bfloat16,16,1024,1024,0.01\n" * 8
    for name in ("gemm_h200_sxm.csv", "gemm_x9000.csv", "notes.csv"):
        (tmp_path / name).write_text(text)
    found = read_folder(tmp_path)
    assert list(found.samples) == ["H200-SXM"]
    assert list(found.skipped) == ["gemm_x9000.csv"]
    rows = kernel_accuracy(tmp_path)
    assert {row.table for row in rows} == {"gemm_h200_sxm"}
    assert {row.split for row in rows} == {"shipped", "rows", "rows mean-predictor"}
    with pytest.raises(TraceError, match="no table of kernel times such as gemm_h100_sxm"):
        kernel_accuracy(tmp_path / "absent")


def test_a_routing_without_a_spread_is_named_and_the_rest_scored(tmp_path: Path) -> None:
    head = (
        "moe_dtype,num_tokens,hidden_size,inter_size,topk,num_experts,moe_tp_size,moe_ep_size,"
        "distribution,latency_ms\n"
    )
    rows = [
        f"{dtype},{t},4096,1536,8,128,1,8,{routing},{0.1 + t * 1e-4}"
        for t in (1, 16, 256, 4096)
        for dtype in ("bfloat16", "fp3")
        for routing in ("balanced", "power_law_9")
    ]
    (tmp_path / "moe_h100_sxm.csv").write_text(head + "\n".join(rows) + "\n")
    found = read_folder(tmp_path)
    assert [(s.key, s.part, len(s)) for s in found.samples["H100-SXM"]] == [("bfloat16", "", 4)]
    assert list(found.skipped) == [
        "moe_h100_sxm.csv bfloat16 power_law_9",
        "moe_h100_sxm.csv fp3",
        "moe_h100_sxm.csv fp3 power_law_9",
    ]
    assert "unknown distribution 'power_law_9'" in found.skipped[next(iter(found.skipped))]


def test_a_row_of_accuracy_is_plain_arithmetic() -> None:
    predicted, measured = np.array([1.0, 3.0, 4.0, 8.0]), np.array([2.0, 2.0, 4.0, 10.0])
    row = accuracy_row(
        predicted, measured, table="t", subset="all", quantity="gemm_s", split="shipped",
        low=predicted * 0.9, high=predicted * 1.3,
    )  # fmt: skip
    assert row.n == 4
    assert row.mean_error == pytest.approx((0.5 + 0.5 + 0.0 + 0.2) / 4)
    assert row.median_error == pytest.approx(0.35)
    assert row.bias == pytest.approx((-0.5 + 0.5 + 0.0 - 0.2) / 4)
    assert row.coverage == 0.5
    with pytest.raises(SpecificationError, match="no rows"):
        accuracy_row(
            predicted[:0], measured[:0], table="t", subset="all", quantity="q", split="shipped"
        )
