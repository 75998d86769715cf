from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archwright.errors import SpecificationError
from archwright.hardware import device, matmul_fraction
from archwright.llm import (
    assumptions,
    decode_step_s,
    free_kv_bytes,
    kv_capacity_tokens,
    prefill_s,
    shards,
    supports,
    transformer,
)

LLAMA = transformer("Llama-3.1-8B")
H100 = device("H100-SXM")


def _constant(name: str) -> float:
    return assumptions()[name][0]


def test_one_sequence_is_bound_by_the_weights() -> None:
    read = LLAMA.weight_bytes(16) - 2 * LLAMA.vocab * LLAMA.hidden  # the input table is not read
    bandwidth = H100.memory_bandwidth_bytes_s * _constant("gemm_bandwidth")
    fixed = _constant("step_overhead_s") + 32 * _constant("layer_overhead_s")
    found = decode_step_s(LLAMA, H100, batch=1, context_tokens=0)
    assert found == pytest.approx(read / bandwidth + fixed, rel=1e-3)


def test_long_prefill_is_bound_by_compute() -> None:
    tokens = 4000.0
    rate = (
        H100.peak_ops_s["bf16"] * matmul_fraction(H100, "bf16").value * _constant("gemm_of_best")
    )
    body = LLAMA.parameters - LLAMA.embedding_parameters
    linear = 2 * body * tokens / rate
    pairs = 32 * tokens**2 / 2
    attention = 4 * 32 * 128 * pairs / (H100.peak_ops_s["bf16"] * _constant("attention_compute"))
    found = prefill_s(LLAMA, H100, prompt_tokens=tokens)
    assert found == pytest.approx(linear + attention, rel=0.03)


def test_arrays_broadcast() -> None:
    batch = np.array([1.0, 8.0, 64.0])[:, None]
    context = np.array([100.0, 1000.0])
    assert decode_step_s(LLAMA, H100, batch=batch, context_tokens=context).shape == (3, 2)
    assert prefill_s(LLAMA, H100, prompt_tokens=context).shape == (2,)


@given(
    st.sampled_from(["Llama-3.1-8B", "Mixtral-8x7B-v0.1", "Gemma-3-27B", "DeepSeek-R1"]),
    st.integers(1, 512),
    st.integers(1, 30_000),
    st.sampled_from([1, 2, 4, 8]),
)
def test_times_grow_with_work_and_shrink_with_speed(
    name: str, batch: int, tokens: int, tensor_parallel: int
) -> None:
    model = transformer(name)
    more = decode_step_s(
        model,
        H100,
        tensor_parallel=tensor_parallel,
        batch=[batch, batch + 1, batch],
        context_tokens=[tokens, tokens, tokens + 1],
    )
    assert more[0] <= more[1] and more[0] <= more[2]
    slow = dataclasses.replace(H100, memory_bandwidth_bytes_s=H100.memory_bandwidth_bytes_s / 2)
    slower = decode_step_s(
        model, slow, tensor_parallel=tensor_parallel, batch=batch, context_tokens=tokens
    )
    assert more[0] <= slower <= 2 * more[0]
    prefill = prefill_s(
        model, H100, tensor_parallel=tensor_parallel, prompt_tokens=[tokens, tokens + 1]
    )
    assert prefill[0] <= prefill[1]


def test_experts_touched_by_a_batch() -> None:
    """One token reads its own experts, a large batch reads all of them."""
    model = transformer("Mixtral-8x7B-v0.1")
    bandwidth = H100.memory_bandwidth_bytes_s * _constant("gemm_bandwidth")
    fixed = _constant("step_overhead_s") + 32 * _constant("layer_overhead_s")
    one, many = decode_step_s(model, H100, batch=[1, 64], context_tokens=0) - fixed
    table = 2 * model.vocab * model.hidden  # input embedding
    assert one == pytest.approx((2 * model.active_parameters - table) / bandwidth, rel=1e-3)
    assert many == pytest.approx((2 * model.parameters - table) / bandwidth, rel=1e-3)


def test_tensor_parallel_costs_two_all_reduces_a_layer() -> None:
    batch, tp = 8.0, 4
    quick = dataclasses.replace(H100, link_bytes_s_per_direction=1e30)
    with_link = decode_step_s(LLAMA, H100, tensor_parallel=tp, batch=batch, context_tokens=10)
    without = decode_step_s(LLAMA, quick, tensor_parallel=tp, batch=batch, context_tokens=10)
    speed = 4.5e11 * _constant("link_efficiency")
    ring = 2 * 3 / 4 * batch * LLAMA.hidden * 2 / speed
    assert with_link - without == pytest.approx(2 * 32 * ring, rel=1e-6)


def test_beyond_its_bridge_a_device_uses_the_host_link() -> None:
    a100 = device("A100-80GB-PCIe")  # bridges join pairs
    times = {
        tp: float(decode_step_s(LLAMA, a100, tensor_parallel=tp, batch=256, context_tokens=1))
        for tp in (2, 4)
    }
    no_bridge = dataclasses.replace(a100, link_devices=1)
    assert times[2] < decode_step_s(
        LLAMA, no_bridge, tensor_parallel=2, batch=256, context_tokens=1
    )
    assert times[4] == decode_step_s(
        LLAMA, no_bridge, tensor_parallel=4, batch=256, context_tokens=1
    )


def test_a_type_that_is_missing_is_refused() -> None:
    a100, t4 = device("A100-80GB-SXM"), device("T4")
    reason = "A100-80GB-SXM has no fp8 matrix rate, which fp8 needs"
    assert supports(a100, "fp8") == reason
    assert supports(a100, "int4_weight") is None
    assert supports(t4, "bf16") is None or "fp16" not in t4.peak_ops_s
    with pytest.raises(SpecificationError, match=reason):
        decode_step_s(LLAMA, a100, weight_format="fp8", batch=1, context_tokens=1)


def test_heads_must_divide() -> None:
    assert shards(transformer("Qwen2.5-7B"), H100, 8) is not None
    assert shards(LLAMA, H100, 0) == "tensor_parallel 0 is below 1"
    assert shards(LLAMA, H100, 8) is None
    tpu = dataclasses.replace(device("TPU-v5e"), link_bytes_s_per_direction=None)
    assert shards(LLAMA, tpu, 2) == "no link of TPU-v5e is known for 2 devices"


def test_memory_left_for_the_cache() -> None:
    free = free_kv_bytes(LLAMA, H100)
    assert free == 0.9 * 80 * 2**30 - _constant("reserve_bytes") - LLAMA.weight_bytes(16)
    tokens = kv_capacity_tokens(LLAMA, H100)
    assert tokens == pytest.approx(free / LLAMA.kv_bytes_per_token(16))
    assert kv_capacity_tokens(LLAMA, H100, kv_format="int8") > 1.9 * tokens
    assert kv_capacity_tokens(transformer("Llama-3.1-70B"), H100) == 0
    with pytest.raises(SpecificationError, match="memory of EPYC-9654 is not known"):
        free_kv_bytes(LLAMA, device("EPYC-9654"))


def test_cache_heads_are_copied_where_they_cannot_be_cut() -> None:
    model, h200 = transformer("DeepSeek-R1"), device("H200-SXM")
    tokens = kv_capacity_tokens(model, h200, tensor_parallel=8, weight_format="fp8_block")
    free = free_kv_bytes(model, h200, tensor_parallel=8, weight_format="fp8_block")
    assert tokens == pytest.approx(free / model.kv_bytes_per_token(16))


def test_every_constant_is_flagged_assumed() -> None:
    assert {source.flag for _, source in assumptions().values()} == {"assumed"}
