"""Rows that tell of other work than they state are left out before anything is fitted."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from archwright.hardware import device
from archwright.hardware.measurements import Sample, read_folder, routing_spread

H100 = device("H100-SXM")
BANDWIDTH = H100.memory_bandwidth_bytes_s


def decode(batch: list[float], heads: float, share: list[float]) -> Sample:
    """Rows of 8 KV heads of 128 and 4,096 keys that use shares of the bandwidth."""
    size = len(batch)
    moved = 2.0 * np.array(batch) * 8 * 4096 * 128 * 2
    full = [np.full(size, x, dtype=float) for x in (4096, heads, 8, 128, np.inf)]
    return Sample(
        table="t", law="attention_decode", key="bfloat16/bfloat16",
        shape=(np.array(batch), *full), seconds=moved / (np.array(share) * BANDWIDTH),
    )  # fmt: skip


def test_a_series_that_beats_memory_says_nothing_beyond_the_cache() -> None:
    """Not even its rows below the peak; those that the cache can explain stay."""
    sample = decode([1.0, 16.0, 64.0, 128.0], 32, [2.0, 0.9, 0.95, 1.5])
    assert sample.honest(H100).tolist() == [True, False, False, False]
    sound = decode([1.0, 16.0, 64.0, 128.0], 32, [2.0, 0.9, 0.95, 1.01])
    assert sound.honest(H100).all()


def test_one_series_does_not_spoil_another() -> None:
    bad, good = decode([64.0, 128.0], 32, [1.5, 1.5]), decode([64.0, 128.0], 64, [0.8, 0.9])
    both = Sample(
        table="t", law=bad.law, key=bad.key,
        shape=tuple(np.concatenate(x) for x in zip(bad.shape, good.shape, strict=True)),
        seconds=np.concatenate([bad.seconds, good.seconds]),
    )  # fmt: skip
    assert both.honest(H100).tolist() == [False, False, True, True]


def test_groups_that_the_engine_has_no_kernel_for_do_not_count() -> None:
    """TensorRT-LLM times them in a fallback; vLLM's device keeps its rows."""
    wide = decode([64.0], 512, [0.03])
    assert not wide.honest(H100).any()
    assert wide.honest(device("A100-80GB-SXM")).all()


def test_a_table_left_out_is_named(tmp_path: Path) -> None:
    head = "attn_dtype,kv_cache_dtype,batch_size,num_heads,num_key_value_heads,head_dim,"
    row = "bfloat16,bfloat16,8,32,8,128,1000,0.05\n"
    for system in ("b200_sxm", "h100_sxm"):
        path = tmp_path / f"attention_generation_{system}.csv"
        path.write_text(head + "context_len,latency_ms\n" + row)
    found = read_folder(tmp_path)
    assert set(found.samples) == {"H100-SXM"}
    assert "of the memory bandwidth" in found.skipped["attention_generation_b200_sxm.csv"]


def test_skew_grows_with_the_tokens() -> None:
    """The loads' upper end is a share of the tokens; below one choice an expert it is fixed."""
    tokens = np.array([2.0, 64.0, 1024.0, 16384.0])
    experts, chosen = np.full(4, 128.0), np.full(4, 8.0)
    mild, strong = (
        routing_spread(name, tokens, experts, chosen)
        for name in ("power_law_1.01", "power_law_1.2")
    )
    assert (np.diff(mild[1:]) > 0).all() and (strong > mild).all()
    assert (routing_spread("balanced", tokens, experts, chosen) == 0.0).all()
    assert np.isnan(routing_spread("zipf", tokens, experts, chosen)).all()
    # log-uniform between 1 and x: the square of the deviation is about log(x) / 2 - 1
    assert mild[3] ** 2 == np.float64(mild[3] ** 2)
    assert abs(mild[3] ** 2 - (np.log(0.8 * 16384) / 2 - 1)) < 0.2
