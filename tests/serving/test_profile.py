"""What one instance can carry, against a plain search over the same queue."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from archwright.hardware import device
from archwright.llm import EngineLimits, StepCost, kv_capacity_tokens, transformer
from archwright.llm import engine as find_engine
from archwright.serving import InstanceType, Limits, Workload, profile, workload
from archwright.serving.profile import instance_types, profiles
from archwright.serving.steps import KEPT
from oracles.engine import poisson, serve, step_seconds

H100 = InstanceType(device=device("H100-SXM"))
MODEL = transformer("Llama-3.1-8B")
COST = StepCost(model=MODEL, device=H100.device)
LIMITS = Limits(ttft_p99_s=0.5, tpot_mean_s=0.03)


def one_bucket(inputs: float, outputs: float) -> Workload:
    """A workload of a single size."""
    return Workload.from_shares(
        [[1.0]],
        input_edges=[inputs],
        output_edges=[outputs],
        mean_rate_per_s=1.0,
        mean_input=[[inputs]],
        mean_output=[[outputs]],
    )


def engine_at(shape: Workload, rate: float) -> tuple[float, float]:
    """P99 TTFT and mean TPOT of a plain engine that takes step after step."""
    inputs, outputs = round(shape.mean_input[0, 0]), round(shape.mean_output[0, 0])
    tokens = kv_capacity_tokens(MODEL, H100.device, context_tokens=inputs + outputs)
    limits = EngineLimits(
        max_num_seqs=256, max_num_batched_tokens=8192, num_gpu_blocks=int(tokens // 16)
    )
    count = 6000
    found = serve(
        poisson(rate, count, np.random.default_rng(0)),
        [inputs] * count,
        [outputs] * count,
        step_seconds(COST, most_context=inputs + outputs + 1),
        limits,
    )
    late = slice(count // 6, None)
    return float(np.quantile(found.ttft_s[late], 0.99)), float(found.tpot_s[late].mean())


@pytest.mark.parametrize("size", [(250, 250), (2000, 500), (8000, 100)])
@pytest.mark.parametrize("share", [0.7, 0.85])
def test_latency_is_that_of_an_engine(size: tuple[int, int], share: float) -> None:
    """A plain engine at the rate of a profile: P99 TTFT within 35 %, TPOT within 10 %."""
    shape = one_bucket(*size)
    found = profile(MODEL, H100, shape, limits=LIMITS)
    ttft, tpot = (values[0, 0] for values in found.latency(share))
    assert (found.max_rate > 0).all() and found.binding[0, 0]
    measured = engine_at(shape, share * found.max_rate[0, 0])
    assert ttft == pytest.approx(measured[0], rel=0.35)
    assert tpot == pytest.approx(measured[1], rel=0.1)


def test_tighter_limits_never_raise_a_rate() -> None:
    """Rates fall as limits tighten, bucket by bucket."""
    chat = workload("builtin:chat")
    loose = profile(MODEL, H100, chat, limits=Limits(ttft_p99_s=2.0, tpot_mean_s=0.1)).max_rate
    tight = profile(MODEL, H100, chat, limits=Limits(ttft_p99_s=0.3, tpot_mean_s=0.02)).max_rate

    assert (tight <= loose * (1 + 1e-9)).all()
    assert (tight < loose).any()


def test_full_load_is_within_the_limits_and_less_load_is_quicker() -> None:
    """At its highest rate a bucket just holds the limits; at half of it it is quicker."""
    chat = workload("builtin:chat")
    found = profile(MODEL, H100, chat, limits=LIMITS)
    used = found.max_rate > 0
    full, half = found.latency(1.0), found.latency(0.5)

    assert (full[0][used] <= LIMITS.ttft_p99_s * (1 + 1e-3)).all()
    assert (full[1][used] <= LIMITS.tpot_mean_s * (1 + 1e-3)).all()
    assert (half[0][used] <= full[0][used] + 1e-12).all()
    assert (half[1][used] <= full[1][used] + 1e-12).all()


@pytest.mark.parametrize("model", ["Qwen2.5-14B", "Qwen2.5-72B"])
def test_no_load_breaks_a_limit(model: str) -> None:
    """On every device and width, where steps of more sequences may jump."""
    chat = workload("builtin:chat")
    names = ("L40S", "A100-80GB-SXM", "H100-SXM", "H200-SXM", "B200-SXM", "MI300X")
    kinds = instance_types([device(name) for name in names], [1, 2, 4, 8])
    limits = Limits(ttft_p99_s=1.0, tpot_mean_s=0.05)
    for found in profiles(transformer(model), kinds, chat, limits=limits):
        used = found.max_rate > 0
        for share in (0.3, 0.7, 0.97, 1.0) if used.any() else ():
            ttft, tpot = found.latency(share)
            assert (ttft[used] <= 1.0 * (1 + 1e-6)).all()
            assert (tpot[used] <= 0.05 * (1 + 1e-6)).all()


@pytest.mark.parametrize(
    ("model", "kind", "width", "weights", "reason"),
    [
        ("Llama-3.1-70B", "L4", 1, "bf16", "weights need 1.. of 26 GB an accelerator"),
        ("Llama-3.1-8B", "A100-80GB-SXM", 1, "fp8", "A100-80GB-SXM has no fp8 matrix rate"),
        ("Qwen2.5-7B", "H100-SXM", 8, "bf16", "the 28 heads of Qwen2.5-7B cannot be cut into 8"),
    ],
)
def test_a_type_that_cannot_serve_says_why(
    model: str, kind: str, width: int, weights: str, reason: str
) -> None:
    """No rate, and the reason with its numbers."""
    import re

    refused = profile(
        transformer(model),
        InstanceType(device=device(kind), tensor_parallel=width),
        workload("builtin:chat"),
        weights=weights,
    )

    assert (refused.max_rate == 0).all()
    assert re.search(reason, refused.refusal)


def test_requests_beyond_the_positions_of_a_model_are_not_served() -> None:
    """A model that reads 8,192 tokens gets no longer request."""
    gemma = transformer("Gemma-2-9B")
    size = gemma.max_position + 1000
    shape = Workload.from_shares(
        [[1.0]], input_edges=[size], output_edges=[100], mean_rate_per_s=1.0, mean_input=[[size]]
    )

    assert profile(gemma, H100, shape).max_rate[0, 0] == 0


def test_profiles_do_not_depend_on_what_was_profiled_before() -> None:
    """Alone, together, in another order, with tables kept or not: equal bits."""
    chat = workload("builtin:chat")
    kinds = [
        InstanceType(device=device(name), tensor_parallel=width)
        for name in ("L4", "H100-SXM", "MI300X")
        for width in (1, 2)
    ]
    together = profiles(MODEL, kinds, chat, limits=LIMITS)
    KEPT.clear()
    backwards = profiles(MODEL, kinds[::-1], chat, limits=LIMITS)[::-1]
    for kind, one, two in zip(kinds, together, backwards, strict=True):
        alone = profile(MODEL, kind, chat, limits=LIMITS)
        for other in (two, alone):
            assert np.array_equal(one.max_rate, other.max_rate)
            assert np.array_equal(one.operation(0.5).power_w, other.operation(0.5).power_w)


def test_a_larger_batch_limit_never_lowers_a_rate() -> None:
    """More slots wait less; beyond the tables shared by all limits too.

    The closed form of arrivals is smooth in the slots to a few percent, not exact.
    """
    chat = workload("builtin:chat")
    rates = [profile(MODEL, H100, chat, max_batch=n).max_rate for n in (8, 64, 256, 512)]

    for fewer, more in itertools.pairwise(rates):
        assert (fewer <= more * 1.02).all()


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 1.0])
def test_no_more_slots_are_used_than_may_be(share: float) -> None:
    """Little's law: tokens under way are sequences times the time that each takes."""
    found = profile(MODEL, H100, workload("builtin:chat"), limits=LIMITS)
    ttft, tpot = found.latency(share)
    used = found.max_rate > 0
    output = np.maximum(workload("builtin:chat").mean_output, 1.0)
    n = share * found.max_rate * (output - 1.0) * tpot

    assert (n[used] <= 0.9 * found.slots[used]).all()
    assert (ttft[used] > 0).all()


def test_power_is_between_idle_and_tdp_and_grows_with_load() -> None:
    """Idle without load, within the boards' limits at full load, and no less for more load."""
    kind = InstanceType(device=device("H100-SXM"), tensor_parallel=2)
    found = profile(MODEL, kind, workload("builtin:chat"), limits=LIMITS)
    used = found.max_rate > 0
    idle, most = found.idle_w, 2 * 700.0
    watts = [found.operation(share).power_w[used] for share in np.linspace(0.0, 1.0, 9)]

    assert watts[0] == pytest.approx(idle)
    assert 0.1 * most < idle < 0.4 * most
    assert (watts[-1] <= most).all()
    assert (watts[-1] > 1.5 * idle).all()
    for less, more in itertools.pairwise(watts):
        # where attention, which moves bytes less well, takes over, power falls by a little
        assert (more >= less * 0.97).all()


def test_intervals_hold_their_values() -> None:
    """TTFT and TPOT lie between the ends that the step times give them."""
    at = profile(MODEL, H100, workload("builtin:chat"), limits=LIMITS).operation(0.7)

    assert (at.ttft_low_s < at.ttft_s).all()
    assert (at.ttft_s < at.ttft_high_s).all()
    assert (at.tpot_low_s < at.tpot_s).all()
    assert (at.tpot_s < at.tpot_high_s).all()


def test_an_engine_adds_its_time_on_the_host() -> None:
    """Steps take longer, so an instance carries less."""
    chat = workload("builtin:chat")
    hidden, seen = (
        profile(MODEL, H100, chat, limits=LIMITS, engine=name) for name in ("overlapped", "vllm")
    )
    used = hidden.max_rate > 0

    assert (seen.max_rate[used] < hidden.max_rate[used]).all()
    assert (seen.least_tpot_s > hidden.least_tpot_s + 0.9 * find_engine("vllm").host_step_s).all()


def test_an_engine_file_that_changed_is_read_anew(tmp_path: Path) -> None:
    """Steps are kept by what the file says, not by its name."""
    shape = one_bucket(250, 250)
    path = tmp_path / "mine.toml"
    found = []
    for host_step_s in (0.0, 5e-3, 0.0):
        path.write_text(f"[engine]\nhost_step_s = {host_step_s}\nhost_sequence_s = 0.0\n")
        found.append(profile(MODEL, H100, shape, limits=LIMITS, engine=str(path)))
    fast, slow, again = found

    assert slow.least_tpot_s[0, 0] == pytest.approx(fast.least_tpot_s[0, 0] + 5e-3)
    assert slow.max_rate[0, 0] < fast.max_rate[0, 0] == again.max_rate[0, 0]
