"""Step costs: the roofline as an oracle, laws of monotony, compiled tables, memory."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archwright.errors import SpecificationError
from archwright.hardware import device
from archwright.hardware.kernel_table import KernelTable
from archwright.hardware.measurements import Sample
from archwright.hardware.profiles import Fitted, shipped
from archwright.hardware.timing import all_reduce_seconds, gemm_seconds, roofline_seconds
from archwright.llm import (
    CompiledStepCost,
    ParallelPlan,
    StepBatch,
    StepCost,
    Transformer,
    assumptions,
    engine,
    free_kv_bytes,
    infer,
    kv_capacity_tokens,
    memory,
    step_operators,
    supports,
    transformer,
)
from archwright.llm.continuous import steady_state

LLAMA = transformer("Llama-3.1-8B")
H100 = device("H100-SXM")
MODELS = ["Llama-3.1-8B", "Mixtral-8x7B-v0.1", "Gemma-3-27B", "DeepSeek-R1", "gpt-oss-20b"]


def cost(name: str = "Llama-3.1-8B", on: str = "H100-SXM", **options: object) -> StepCost:
    return StepCost(model=transformer(name), device=device(on), **options)  # type: ignore[arg-type]


def test_the_roofline_counts_operations_and_bytes_and_nothing_else() -> None:
    """One sequence at no context: the weights at full bandwidth, and the activations."""
    step = cost(back_end="roofline")(StepBatch(decode_batch=1, decode_context=1))
    read = memory(LLAMA).weight_bytes - 2 * LLAMA.vocab * LLAMA.hidden  # the input table stays
    assert step.seconds == pytest.approx(read / 3.35e12, rel=2e-3)
    assert step.label == "analytic"
    assert step.binding == "memory bandwidth"


def test_a_long_prefill_is_bound_by_compute() -> None:
    """Operations of the matrices and of causal attention, at peak."""
    n = 8192
    batch = StepBatch(prefill_requests=1, prefill_query_tokens=n, prefill_context_tokens=n)
    step = cost(back_end="roofline")(batch)
    body = LLAMA.parameters - LLAMA.embedding_parameters
    flops = 2 * body * n + 4 * 32 * 32 * 128 * n * (n + 1) / 2
    assert step.compute_s == pytest.approx(flops / 9.89e14, rel=0.01)
    assert step.binding == "compute"


@given(
    st.sampled_from(MODELS),
    st.sampled_from(["H100-SXM", "B200-SXM", "A100-80GB-SXM", "MI300X"]),
    st.integers(1, 512),
    st.integers(1, 8_000),
    st.sampled_from([1, 2, 4, 8]),
)
@settings(max_examples=25)
def test_times_grow_with_work_and_the_roofline_is_below(
    name: str, on: str, batch: int, context: int, width: int
) -> None:
    """More sequences or longer contexts never take less; no step beats its roofline."""
    plan = ParallelPlan(tensor=width)
    fitted = cost(name, on, parallel=plan)
    work = StepBatch(
        decode_batch=[batch, batch + 1, batch], decode_context=[context, context, context + 7]
    )
    found = fitted(work)
    assert found.seconds[0] <= found.seconds[1] * (1 + 1e-12)
    assert found.seconds[0] <= found.seconds[2] * (1 + 1e-12)
    assert (found.low <= found.seconds).all() and (found.seconds <= found.high).all()
    for op in fitted.operators(work):
        moved = op.weight_bytes + op.kv_bytes + op.activation_bytes
        dtype = op.shape.get("dtype", "bfloat16")
        bound = op.count * roofline_seconds(fitted.device, op.flops, moved, dtype)
        assert (bound <= found.parts[op.name] * (1 + 1e-12)).all(), op.name


def test_parts_add_up_to_the_step() -> None:
    """Seconds by operator, the host among them."""
    step = cost(engine="vllm", parallel=ParallelPlan(tensor=4))(
        StepBatch(decode_batch=[8, 64], decode_context=900)
    )
    assert sum(step.parts.values()) == pytest.approx(step.seconds)
    own = engine("vllm")
    assert step.parts["host"] == pytest.approx(
        own.host_step_s + own.host_sequence_s * np.array([8, 64])
    )
    assert step.kinds["mlp.all_reduce"] == "all_reduce"


def test_bytes_are_those_of_the_operators() -> None:
    """Sums over the graph, the router left to the law of the experts."""
    batch = StepBatch(decode_batch=16, decode_context=500)
    step = cost("Mixtral-8x7B-v0.1")(batch)
    graph = [
        op for op in step_operators(transformer("Mixtral-8x7B-v0.1"), batch)
        if op.name != "moe.router"
    ]  # fmt: skip
    assert step.weight_bytes == pytest.approx(sum(op.count * op.weight_bytes for op in graph))
    assert step.kv_bytes == 16 * 500 * transformer("Mixtral-8x7B-v0.1").kv_bytes_per_token(16)


def test_power_lies_between_idle_and_the_limit_and_energy_follows() -> None:
    """Watts of all ranks; joules are watts times seconds."""
    plan = ParallelPlan(tensor=4)
    step = cost("Llama-3.1-70B", parallel=plan)(
        StepBatch(decode_batch=[1, 16, 256], decode_context=1000)
    )
    assert (np.diff(step.power_w) > 0).all()
    assert (step.power_w > 4 * 0.2 * 700).all() and (step.power_w < 4 * 700).all()
    assert step.joules == pytest.approx(step.power_w * step.seconds)


def test_a_measured_kernel_that_the_others_beat_is_not_believed() -> None:
    """The attention kernel of the B200's table is slower than what the others promise."""
    b200 = cost("Llama-3.1-70B", "B200-SXM", weight_format="nvfp4", kv_format="fp8")
    batch = StepBatch(decode_batch=128, decode_context=1536)
    attention = b200(batch).parts["attention.scores.decode"]
    alone = b200.device.memory_bandwidth_bytes_s
    read = 128 * 1536 * b200.model.kv_bytes_per_token(8) / alone
    assert read < attention < 4 * read


@pytest.mark.parametrize(
    ("name", "on", "plan"),
    [
        ("Llama-3.1-8B", "H100-SXM", ParallelPlan()),
        ("Gemma-3-27B", "H100-SXM", ParallelPlan(tensor=2)),
        ("DeepSeek-V3", "B200-SXM", ParallelPlan(tensor=8, expert=8)),
    ],
)
def test_compiled_tables_agree(name: str, on: str, plan: ParallelPlan) -> None:
    """Within 0.5 % up to one chunk; with several 1 % in the mean and 8 % at the worst."""
    exact = cost(name, on, parallel=plan, engine="vllm")
    table = exact.compile(most_context=16384)
    rng = np.random.default_rng(0)
    n = 1000
    batch, context = rng.integers(0, 300, n), rng.integers(1, 8000, n)
    chunks, query = rng.integers(0, 9, n), rng.integers(1, 512, n)
    end = query + rng.integers(0, 4000, n)
    batch = np.where((batch == 0) & (chunks == 0), 1, batch)
    step = exact(
        StepBatch(
            decode_batch=batch,
            decode_context=context,
            prefill_requests=chunks,
            prefill_query_tokens=query,
            prefill_context_tokens=end,
        )
    )
    found = table.seconds(batch, context, chunks, query, end)
    error = np.abs(found / step.seconds - 1)
    assert error[chunks <= 1].max() < 0.005
    assert error.mean() < 0.01 and error.max() < 0.08
    joules = np.abs(table.joules(batch, context, chunks, query, end) / step.joules - 1)
    assert joules[chunks <= 1].max() < 0.005
    for array in (table.tokens, table.sampled, table.decode, table.prefill, table.more):
        assert array.flags.c_contiguous and array.dtype == np.float64 and array.shape[0] == 3


def test_beyond_the_tables_is_an_error() -> None:
    """Nothing is clamped in silence."""
    table = cost().compile(most_tokens=64, most_sequences=32, most_context=1000)
    assert table.seconds(32, 1000) > 0
    with pytest.raises(SpecificationError, match="a step is beyond the 64 tokens compiled"):
        table.seconds(1, 10, 1, 64, 64)
    with pytest.raises(SpecificationError, match="beyond the 1024 tokens of context compiled"):
        table.seconds(1, 5000)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ((-3, 100), "decode_batch: -3, expected 0, or 1 or more"),
        (([4, 0.5], 100), "decode_batch: 0.5, expected 0, or 1 or more"),
        ((np.nan, 100), "decode_batch: nan, expected 0, or 1 or more"),
        ((np.inf, 100), "a step is beyond the 64 tokens compiled"),
        (("x", 100), "decode_batch: 'x', expected numbers"),
        ((4, 0), "decode_context: 0, expected 1 or more tokens"),
        ((4, [100, 0.3]), "decode_context: 0.3, expected 1 or more tokens"),
        (([[4], [0]], [100, -5]), "decode_context: -5, expected 1 or more tokens"),
        ((4, np.nan), "decode_context: nan, expected 1 or more tokens"),
        ((4, 100, -1, 8, 8), "prefill_requests: -1, expected 0, or 1 or more"),
        ((4, 100, 1, 0, 8), "prefill_query_tokens: 0, expected 1 or more tokens"),
        ((4, 100, 1, 8, -8), "prefill_context_tokens: -8, expected 1 or more tokens"),
        ((4, 100, 1, 9, 8), "prefill_query_tokens: expected 1 to prefill_context_tokens"),
    ],
)
def test_a_step_that_cannot_be_is_not_looked_up(step: tuple[object, ...], message: str) -> None:
    """One line, of seconds and of joules."""
    table = small_table()
    for look_up in (table.seconds, table.joules):
        with pytest.raises(SpecificationError, match=message):
            look_up(*step)  # type: ignore[arg-type]


def test_of_nothing_any_length_will_do() -> None:
    """Where no sequence decodes its context may be zero, and so for chunks."""
    table = small_table()
    found = table.seconds([0, 4, 0], [0, 100, 0], [1, 0, 0], [16, 0, 0], [16, 0, 0])
    assert found[0] == table.seconds(0, 1, 1, 16, 16)
    assert found[1] == table.seconds(4, 100)
    assert found[2] == 0.0
    assert table.seconds([], []).shape == (0,)
    assert (table.seconds([0, 4], [9999, 100]) == table.seconds([0, 4], [1, 100])).all()
    long = table.seconds(4, 100, [0, 1], [500, 8], [2000, 8])
    assert (long == table.seconds(4, 100, [0, 1], [8, 8], [8, 8])).all()


@cache
def small_table() -> CompiledStepCost:
    return cost().compile(most_tokens=64, most_sequences=32, most_context=1000)


def test_a_table_returns_what_was_measured_and_scales_between() -> None:
    """A point that was measured, one beside it, and a format that was not."""
    m, n, k = (np.array(x, dtype=float) for x in ([1, 64, 4096], [4096] * 3, [4096] * 3))
    measured = 1.7 * gemm_seconds("H100-SXM", m, n, k)
    sample = Sample(table="t", law="gemm", key="bfloat16", shape=(m, n, k), seconds=measured)
    table = KernelTable.from_samples(H100, [sample], "test")
    law = gemm_seconds("H100-SXM", [64, 80], 4096, 4096, return_interval=True)
    shape = {"m": [64, 80], "n": 4096, "k": 4096, "dtype": "bf16"}
    found = table.time("gemm", shape, law)
    assert found.seconds[0] == pytest.approx(measured[1], rel=1e-12)
    assert found.low[0] == found.seconds[0] == found.high[0]
    assert found.seconds[1] == pytest.approx(1.7 * law.seconds[1], rel=1e-6)
    fp8 = gemm_seconds("H100-SXM", 64, 4096, 4096, "fp8", return_interval=True)
    assert table.time("gemm", {"m": 64, "n": 4096, "k": 4096, "dtype": "fp8"}, fp8) == fp8

    # every product of the step lies between the points, whose ratio is the same
    step = StepBatch(decode_batch=8, decode_context=10)
    slower, law_step = cost(back_end="table", table=table)(step), cost()(step)
    assert slower.label == "table"
    for op in cost().operators(step):
        law_s = law_step.parts[op.name]
        if op.kind == "gemm":
            law_s = 1.7 * op.count * gemm_seconds("H100-SXM", **op.shape)
        assert slower.parts[op.name] == pytest.approx(law_s, rel=1e-6), op.name
    with pytest.raises(SpecificationError, match="table: of H100-SXM, expected one of A100-80GB"):
        cost(on="A100-80GB-SXM", back_end="table", table=table)


def halved(law: str, key: str) -> Fitted:
    """The H100's constants of a law with every share of the hardware halved."""
    fitted = shipped()[law]["H100-SXM"][key]
    shares = {"compute", "read", "write", "ring", "direct"}
    slow = {n: v / 2 if n in shares else v for n, v in fitted.constants.items()}
    return dataclasses.replace(fitted, constants=slow)


def test_a_calibration_of_the_users_own_holds_where_it_is_slower() -> None:
    """What it says is the time; what it does not say stays as it was."""
    mine = dataclasses.replace(
        H100,
        timing={
            "gemm": {"bfloat16": halved("gemm", "bfloat16")},
            "all_reduce": {"link": halved("all_reduce", "link")},
        },
    )
    plan = ParallelPlan(tensor=2)
    step = StepBatch(prefill_requests=1, prefill_query_tokens=4096, prefill_context_tokens=4096)
    own = StepCost(model=LLAMA, device=mine, parallel=plan)
    found, before = own(step), cost(parallel=plan)(step)
    laws = {"gemm": gemm_seconds, "all_reduce": all_reduce_seconds}
    for op in own.operators(step):
        if op.kind in laws:
            assert found.parts[op.name] == op.count * laws[op.kind](mine, **op.shape), op.name
            assert found.parts[op.name] > 1.3 * before.parts[op.name], op.name
        else:
            assert found.parts[op.name] == before.parts[op.name], op.name


def test_experts_of_four_bits_run_unpacked_where_there_is_no_rate_for_them() -> None:
    """gpt-oss and Llama in four bits on a Hopper, marked so; a Blackwell has the products."""
    batch = StepBatch(decode_batch=8, decode_context=10)
    for name, weights in (("gpt-oss-20b", "mxfp4"), ("Llama-3.1-8B", "nvfp4")):
        unpacked = cost(name, weight_format=weights)
        assert unpacked(batch).seconds < cost(name)(batch).seconds
        assert unpacked.notes == (
            f"{weights} on H100-SXM: weights are dequantized to 16 bits; it has no fp4 products",
        )
        assert cost(name, weight_format=weights, on="B200-SXM").notes == ()
    assert supports(device("Gaudi-3"), "fp8") is None
    assert supports(device("A100-80GB-SXM"), "nvfp4") is None


def test_what_does_not_go_together_is_refused() -> None:
    """One line each, with the nearest name or the widths that can."""
    for options, match in (
        ({"weight_format": "fp8", "on": "A100-80GB-SXM"}, "has no fp8 matrix rate"),
        ({"parallel": ParallelPlan(tensor=3)}, "cannot be cut into 3; 1, 2, 4"),
        ({"back_end": "fited"}, r"unknown back_end 'fited' \(nearest: 'fitted'\)"),
        ({"back_end": "table"}, "needs a table"),
        ({"engine": "vlm"}, r"unknown engine 'vlm' \(nearest: 'vllm'\)"),
    ):
        with pytest.raises(SpecificationError, match=match):
            cost(**options)  # type: ignore[arg-type]
    assert supports(device("A100-80GB-SXM"), "int4_weight") is None


def test_memory_left_for_the_cache() -> None:
    """Usable memory less weights; sequences of windows keep less."""
    reserve = assumptions()["reserve_bytes"][0]
    free = free_kv_bytes(LLAMA, H100)
    assert free == pytest.approx(0.9 * 80 * 2**30 - reserve - memory(LLAMA).weight_bytes)
    tokens = kv_capacity_tokens(LLAMA, H100)
    assert tokens == pytest.approx(free / LLAMA.kv_bytes_per_token(16))
    assert kv_capacity_tokens(LLAMA, H100, kv_format="int8") > 1.9 * tokens
    assert kv_capacity_tokens(transformer("Llama-3.1-70B"), H100) == 0
    with pytest.raises(SpecificationError, match="memory of EPYC-9654 is not known"):
        free_kv_bytes(LLAMA, device("EPYC-9654"))
    model, h200 = transformer("DeepSeek-R1"), device("H200-SXM")
    plan = ParallelPlan(tensor=8)
    kept = kv_capacity_tokens(model, h200, parallel=plan, weight_format="fp8_block")
    left = free_kv_bytes(model, h200, parallel=plan, weight_format="fp8_block")
    assert kept == pytest.approx(left / model.kv_bytes_per_token(16))  # MLA is on every rank
    assert {source.flag for _, source in assumptions().values()} == {"assumed"}


def test_inference_adds_up() -> None:
    """Tokens a second, joules and dollars from the two steps; arrays give arrays."""
    own = cost()
    found = infer(own, batch=[1, 32], input_tokens=1000, output_tokens=101, usd_per_hour=3.6)
    total = found.ttft_s + 100 * found.tpot_s
    rate = np.array([1, 32]) / total  # each client asks again once it is answered
    assert found.tokens_per_s == pytest.approx(rate * 101)
    assert found.usd_per_million_tokens == pytest.approx(1e-3 / (rate * 101) * 1e6)
    joules = found.state.mean("joules") / found.state.joining
    assert found.tokens_per_joule == pytest.approx(101 / joules)
    assert found.fits.all()
    big = infer(cost("Llama-3.1-70B"), batch=1)
    assert not big.fits and big.memory_free_bytes < -60e9
    with pytest.raises(SpecificationError, match="expected at most the 131072 positions"):
        infer(own, input_tokens=131000, output_tokens=1000)


def test_a_steady_batch_lies_between_its_two_kinds_of_step() -> None:
    """The mean over steps with prompts and without."""
    state = steady_state(cost(), sequences=64, input_tokens=1024, output_tokens=256)
    assert state.decode.seconds < state.tpot_s < state.mixed.seconds


def test_a_slower_device_takes_longer() -> None:
    """Half the bandwidth takes more time, but not more than double."""
    slow = dataclasses.replace(H100, memory_bandwidth_bytes_s=H100.memory_bandwidth_bytes_s / 2)
    batch = StepBatch(decode_batch=4, decode_context=4000)
    fast_s = cost()(batch).seconds
    slow_s = StepCost(model=LLAMA, device=slow)(batch).seconds
    assert fast_s < slow_s <= 2 * fast_s


def test_a_published_hand_count_comes_out() -> None:
    """13B on an A100 of 40 GB, 512 tokens: 62.2 ms at 0.7 of peak, 19.0 ms at 0.9 of bandwidth.

    The figures of llm-analysis for the FasterTransformer benchmark, within 8 %; measured were
    63.2 and 22.0 ms.
    """
    gpt = Transformer(
        name="GPT-13B", layers=40, hidden=5120, heads=40, kv_heads=40, head_dim=128,
        intermediate=20480, vocab=50304, gated=False, tie_word_embeddings=True,
        max_position=2048,
    )  # fmt: skip
    ideal = StepCost(model=gpt, device=device("A100-40GB-SXM"), back_end="roofline")
    prompt = StepBatch(prefill_requests=1, prefill_query_tokens=512, prefill_context_tokens=512)
    token = StepBatch(decode_batch=1, decode_context=512)
    assert ideal(prompt).compute_s / 0.7 == pytest.approx(62.2e-3, rel=0.08)
    assert ideal(token).memory_s / 0.9 == pytest.approx(19.0e-3, rel=0.08)
    fitted = StepCost(model=gpt, device=device("A100-40GB-SXM"))
    assert fitted(prompt).low < 63.2e-3 < fitted(prompt).high
    assert fitted(token).low < 22.0e-3 < fitted(token).high
