"""Tables of measured kernels, from a folder of CSVs and from the package that ships them."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from archwright.errors import MissingExtraError, SpecificationError, TraceError
from archwright.hardware import device, timing
from archwright.hardware.kernel_table import KernelTable
from archwright.hardware.measurements import read_table

H100 = device("H100-SXM")
M = np.array([1.0, 64.0, 512.0, 4096.0])


def gemm_csv(path: Path, dtype: str = "bfloat16", factor: float = 1.5) -> None:
    seconds = factor * timing.gemm_seconds(H100, M, 4096, 4096, dtype)
    rows = [f"{dtype},{m:.0f},4096,4096,{s * 1e3:.9g}" for m, s in zip(M, seconds, strict=True)]
    path.write_text("dtype,m,n,k,latency_ms\n" + "\n".join(rows) + "\n")


def gemm_time(table: KernelTable, m: float, dtype: str = "bf16") -> timing.Timed:
    law = timing.gemm_seconds(H100, m, 4096, 4096, dtype, return_interval=True)
    return table.time("gemm", {"m": m, "n": 4096, "k": 4096, "dtype": dtype}, law)


def test_a_folder_gives_the_tables_of_one_device(tmp_path: Path) -> None:
    gemm_csv(tmp_path / "gemm_h100_sxm.csv")
    gemm_csv(tmp_path / "gemm_a100_sxm.csv", factor=9.0)
    table = KernelTable.from_folder(tmp_path, H100)
    assert set(table.points) == {("gemm", "bfloat16")}
    assert (table.device, table.source) == (H100, str(tmp_path))
    for dtype in ("bf16", "bfloat16"):
        found = gemm_time(table, 64.0, dtype)
        law = timing.gemm_seconds(H100, 64, 4096, 4096)
        assert found.low == found.seconds == found.high == pytest.approx(1.5 * law, rel=1e-6)


def test_a_folder_without_the_device_or_without_tables_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="no table of kernel times such as"):
        KernelTable.from_folder(tmp_path, H100)
    gemm_csv(tmp_path / "gemm_h100_sxm.csv")
    with pytest.raises(SpecificationError, match=r"unknown device in .* 'H200-SXM' \(nearest: 'H"):
        KernelTable.from_folder(tmp_path, device("H200-SXM"))
    (tmp_path / "gemm_h100_sxm.csv").unlink()
    (tmp_path / "nccl_h100_sxm.csv").write_text(
        "op,dtype,num_gpus,message_elements,latency_ms\nall_reduce,half,8,1024,0.02\n"
    )
    with pytest.raises(SpecificationError, match="holds no kernel times of H100-SXM"):
        KernelTable.from_folder(tmp_path, H100)


def test_public_tables_come_back_as_measured() -> None:
    """Every point of a table, the fastest where one was timed more than once."""
    folder = Path(os.environ.get("ARCHWRIGHT_DATA", "../shared/data")) / "llm-measured"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent; set ARCHWRIGHT_DATA to the reference measurements")
    table = KernelTable.from_folder(folder, H100)
    sample = next(
        s for s in read_table(folder / "gemm_h100_sxm.csv.gz", H100) if s.key == "bfloat16"
    )
    points, first = np.unique(np.column_stack(sample.shape), axis=0, return_index=True)
    assert len(points) == len(sample)
    drawn = np.random.default_rng(0).choice(first, 500, replace=False)
    m, n, k = (part[drawn] for part in sample.shape)
    law = timing.gemm_seconds(H100, m, n, k, return_interval=True)
    found = table.time("gemm", {"m": m, "n": n, "k": k, "dtype": "bf16"}, law)
    assert found.seconds == pytest.approx(sample.seconds[drawn], rel=1e-9)


def parquet(folder: Path, name: str, **columns: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / f"{name}_perf.parquet")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package laid out as aiconfigurator-core is, with two versions of one engine."""
    data = tmp_path / "aiconfigurator_core" / "systems" / "data"
    for version, factor in (("1.9.0", 7.0), ("1.10.0rc2", 2.0), ("1.10.0rc10", 1.5)):
        seconds = factor * timing.gemm_seconds(H100, M, 4096, 4096)
        parquet(
            data / "h100_sxm" / "gemm" / "trtllm" / version, "gemm",
            gemm_dtype=["bfloat16"] * 4, m=M.astype(int), n=[4096] * 4, k=[4096] * 4,
            latency=seconds * 1e3,
        )  # fmt: skip
        attention = data / "h100_sxm" / "attention" / "trtllm" / version
        shape = {
            "attn_dtype": ["bfloat16"] * 2, "kv_cache_dtype": ["fp8"] * 2, "batch_size": [1, 8],
            "num_heads": [32, 32], "num_key_value_heads": [8, 0], "head_dim": [128, 128],
            "window_size": [0, 512],
        }  # fmt: skip
        parquet(
            attention, "generation_attention", **shape,
            isl=[1, 1], step=[999, 1999], latency=[0.02, 0.05],
        )  # fmt: skip
        parquet(
            attention, "context_attention", **shape,
            isl=[1000, 2000], step=[0, 24], latency=[0.2, 0.5],
        )  # fmt: skip
        parquet(attention, "other", x=[1])
    (tmp_path / "aiconfigurator_core" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return data


@pytest.mark.usefixtures("package")
def test_the_package_gives_its_last_version() -> None:
    table = KernelTable.from_aiconfigurator(H100, system="h100_sxm")
    law = timing.gemm_seconds(H100, 64, 4096, 4096)
    assert gemm_time(table, 64.0).seconds == pytest.approx(1.5 * law, rel=1e-9)
    old = KernelTable.from_aiconfigurator(H100, system="h100_sxm", version="1.9.0")
    assert gemm_time(old, 64.0).seconds == pytest.approx(7.0 * law, rel=1e-9)
    assert table.source == "aiconfigurator-core h100_sxm trtllm"


@pytest.mark.usefixtures("package")
def test_attention_of_the_package_counts_the_context_heads_and_window() -> None:
    """Context is isl + step, no KV heads are as many as heads, no window is all keys."""
    table = KernelTable.from_aiconfigurator(H100, system="h100_sxm")
    otherwise = timing.Timed(1.0, 1.0, 1.0)
    formats = {"head_dim": 128, "heads": 32, "dtype": "bf16", "kv_dtype": "fp8"}
    one = {**formats, "batch": 1, "kv_heads": 8, "window": None}
    many = {**formats, "batch": 8, "kv_heads": 32, "window": 512}
    for law, shape, milliseconds in (
        ("attention_decode", {**one, "context_tokens": 1000}, 0.02),
        ("attention_decode", {**many, "context_tokens": 2000}, 0.05),
        ("attention_prefill", {**one, "query_tokens": 1000, "context_tokens": 1000}, 0.2),
        ("attention_prefill", {**many, "query_tokens": 2000, "context_tokens": 2024}, 0.5),
    ):
        found = table.time(law, shape, otherwise)
        assert found.seconds == pytest.approx(milliseconds * 1e-3, rel=1e-9)
        assert found.low == found.seconds == found.high


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"system": "h100_sxn"}, r"unknown system 'h100_sxn' \(nearest: 'h100_sxm'\)"),
        ({"system": "h100_sxm", "engine": "vlm"}, "unknown engine 'vlm'; known: trtllm"),
        ({"system": "h100_sxm", "version": "1.9"}, r"unknown version '1.9' \(nearest: '1.9.0'\)"),
    ],
)
def test_what_the_package_lacks_is_named(options: dict[str, str], message: str) -> None:
    with pytest.raises(SpecificationError, match=f"aiconfigurator-core: {message}"):
        KernelTable.from_aiconfigurator(H100, **options)


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'archwright\[tables\]'"):
        KernelTable.from_aiconfigurator(H100, system="h100_sxm")
