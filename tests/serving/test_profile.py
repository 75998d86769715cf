"""What one instance can carry, against a plain search over the same queue."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from archwright.hardware import device
from archwright.llm import StepBatch, StepCost, kv_capacity_tokens, transformer
from archwright.serving import InstanceType, Limits, Workload, p99_wait_s, profile, workload
from archwright.serving.profile import UTILIZATION, instance_types, profiles
from archwright.serving.steps import KEPT

H100 = InstanceType(device=device("H100-SXM"))
MODEL = transformer("Llama-3.1-8B")
COST = StepCost(model=MODEL, device=H100.device)
LIMITS = Limits(ttft_p99_s=0.5, tpot_mean_s=0.03)


def one_bucket(inputs: float, outputs: float) -> Workload:
    """A workload of a single size."""
    return Workload.from_shares(
        [[1.0]], input_edges=[inputs], output_edges=[outputs], mean_rate_per_s=1.0
    )


def decode_s(n: float, context: float) -> float:
    """Seconds of a decode step: a mix of the steps of the whole numbers on both sides of n."""
    n = max(n, 1.0)
    few = np.floor(n)
    both = COST(StepBatch(decode_batch=[few, few + 1], decode_context=context)).seconds
    return float(both[0] + (n - few) * (both[1] - both[0]))


def prefill_s(tokens: float) -> float:
    """Seconds of one prompt alone."""
    prompt = StepBatch(
        prefill_requests=1, prefill_query_tokens=tokens, prefill_context_tokens=tokens
    )
    return float(COST(prompt).seconds)


def holds(shape: Workload, n: float, limits: Limits) -> tuple[bool, float]:
    """Say whether n decoding sequences hold the limits, from the formulas alone, and the rate."""
    inputs, outputs = float(shape.mean_input[0, 0]), float(shape.mean_output[0, 0])
    context = inputs + outputs
    tokens = float(kv_capacity_tokens(MODEL, H100.device, context_tokens=context))
    slots = min(256.0, np.floor(tokens / context))
    step = decode_s(n, inputs + outputs / 2)
    prefill = prefill_s(inputs)
    edge = float(shape.input_edges[0])
    tpot = step + n * prefill / outputs
    rate = n / (outputs * tpot)
    service = prefill + outputs * tpot
    wait = float(p99_wait_s(slots, service, rate, shape.output_cv2[0, 0]))
    ttft = wait + prefill_s(edge) + decode_s(n, edge)
    busy = rate * service / slots
    good = ttft <= limits.ttft_p99_s and tpot <= limits.tpot_mean_s and busy <= UTILIZATION
    return bool(good), rate


@pytest.mark.parametrize("size", [(250, 250), (2000, 500), (8000, 100)])
def test_the_rate_is_the_highest_that_holds_the_limits(size: tuple[int, int]) -> None:
    """A bisection over step costs without tables finds the same rate within 0.5 %."""
    shape = one_bucket(*size)
    found = profile(MODEL, H100, shape, limits=LIMITS).max_rate[0, 0]
    low, high = 0.0, 256.0  # the tables are fine between these, so a bisection finds the edge
    assert not holds(shape, high, LIMITS)[0]
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(shape, middle, LIMITS)[0] else (low, middle)
    coarse = [holds(shape, n, LIMITS)[0] for n in np.linspace(0.05, 256, 300)]
    assert coarse == sorted(coarse, reverse=True)  # once broken, broken for more

    assert found == pytest.approx(holds(shape, low, LIMITS)[1], rel=5e-3)


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
    """More slots wait less; beyond the tables shared by all limits too."""
    chat = workload("builtin:chat")
    rates = [profile(MODEL, H100, chat, max_batch=n).max_rate for n in (8, 64, 256, 512)]

    for fewer, more in itertools.pairwise(rates):
        assert (fewer <= more * (1 + 1e-9)).all()


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 1.0])
def test_the_rate_is_carried_at_the_number_of_sequences_found(share: float) -> None:
    """Little's law: tokens under way are sequences times the time that each takes."""
    found = profile(MODEL, H100, workload("builtin:chat"), limits=LIMITS)
    ttft, tpot = found.latency(share)
    used = found.max_rate > 0
    output = np.maximum(workload("builtin:chat").mean_output, 1.0)
    n = share * found.max_rate * output * tpot

    assert (n[used] <= 0.85 * found.slots[used] * (1 + 1e-9)).all()
    assert (ttft[used] > 0).all()
    # the first bucket with more than two sequences; where load is too small for that, the busiest
    many = used & ((n > 2) | (n == n[used].max()))
    bucket = tuple(np.argwhere(many)[0])
    chat = workload("builtin:chat")
    context = float(chat.mean_input[bucket] + chat.mean_output[bucket] / 2)
    prompts = prefill_s(float(chat.mean_input[bucket]))
    expected = decode_s(float(n[bucket]), context) + n[bucket] * prompts / output[bucket]
    assert tpot[bucket] == pytest.approx(expected, rel=5e-3)


def test_power_is_between_idle_and_tdp_and_grows_with_load() -> None:
    """Idle without load, within the boards' limits at full load, and no less for more load."""
    kind = InstanceType(device=device("H100-SXM"), tensor_parallel=2)
    found = profile(MODEL, kind, workload("builtin:chat"), limits=LIMITS)
    used = found.max_rate > 0
    idle, most = found.idle_w, 2 * 700.0
    watts = [found.operation(share).power_w[0][used] for share in np.linspace(0.0, 1.0, 9)]

    assert watts[0] == pytest.approx(idle)
    assert 0.1 * most < idle < 0.4 * most
    assert (watts[-1] <= most).all()
    assert (watts[-1] > 1.5 * idle).all()
    for less, more in itertools.pairwise(watts):
        # where attention, which moves bytes less well, takes over, power falls by a little
        assert (more >= less * 0.97).all()


def test_intervals_hold_their_values() -> None:
    """TTFT and TPOT lie between the ends that the step times give them."""
    found = profile(MODEL, H100, workload("builtin:chat"), limits=LIMITS)
    low, middle, high = (found.operation(0.5, error=e).latency for e in (-1.645, 0.0, 1.645))
    used = found.rate > 0

    for fewer, more in ((low, middle), (middle, high)):
        for name in ("tpot_s", "first_s", "mean_first_s"):
            assert (getattr(fewer, name)[used] < getattr(more, name)[used]).all()
        assert (fewer.mean("e2e")[used] < more.mean("e2e")[used]).all()


def test_ways_trade_lateness_for_rate() -> None:
    """Later ways carry more, earlier ones less, and each takes of the limits what it says."""
    chat = workload("builtin:chat")
    found = profile(MODEL, H100, chat, limits=LIMITS)
    rules = {rule.name: rule for rule in LIMITS.rules}
    at = found.operation(1.0).latency

    assert found.rate.shape == (4, *chat.shares.shape)
    for name, takes in found.takes.items():
        used = found.rate > 0
        np.testing.assert_allclose(takes[used], at.takes(rules[name])[used], rtol=1e-3, atol=1e-9)
        strict = used[0]
        assert (takes[0][strict] <= rules[name].budget * (1 + 1e-6)).all()
        for early, late in ((1, 0), (0, 2), (2, 3)):
            both = used[early] & used[late]
            assert (takes[early][both] <= takes[late][both] + 1e-12).all()
            assert (found.rate[early][both] <= found.rate[late][both] * (1 + 1e-9)).all()
    busy = found.rate * found._steps.prefill[0].reshape(chat.shares.shape)  # a part of it
    assert (busy < 1.0).all()


def test_strict_limits_leave_one_way() -> None:
    """Where each bucket must hold the limits by itself, nothing can be traded."""
    chat = workload("builtin:chat")
    strict = Limits(ttft_p99_s=0.5, tpot_mean_s=0.03, per_bucket=True)
    found, other = (profile(MODEL, H100, chat, limits=limits) for limits in (strict, LIMITS))

    assert len(found.rate) == 1
    assert np.array_equal(found.max_rate, other.max_rate)


def test_bursts_lower_a_rate_less_where_an_instance_takes_a_part_of_them() -> None:
    """The index of dispersion seen by a part p of the arrivals is 1 + p (I - 1)."""
    import dataclasses

    chat = workload("builtin:chat")
    few = Limits(ttft_p99_s=0.12)  # so tight that the wait binds
    calm, wild = (dataclasses.replace(chat, arrival_cv2=cv2) for cv2 in (1.0, 50.0))
    poisson = profile(MODEL, H100, calm, max_batch=16, limits=few).max_rate
    alone = profile(MODEL, H100, wild, max_batch=16, limits=few).max_rate
    shared = profile(MODEL, H100, wild, max_batch=16, limits=few, rate_per_s=1e6).max_rate
    used = poisson > 0

    assert (alone[used] <= poisson[used] * (1 + 1e-9)).all()
    assert (alone[used] < poisson[used] * 0.95).any()
    np.testing.assert_allclose(shared[used], poisson[used], rtol=1e-2)


def test_slower_steps_carry_less() -> None:
    """A plan for steps that are off upward has lower rates, and its limits then hold."""
    chat = workload("builtin:chat")
    plain = profile(MODEL, H100, chat, limits=LIMITS)
    safe = profile(MODEL, H100, chat, limits=LIMITS, error=1.2816)
    used = safe.max_rate > 0

    assert (safe.max_rate[used] < plain.max_rate[used]).all()
    late = safe.operation(1.0, error=1.2816).latency
    for rule in LIMITS.rules:
        assert (late.takes(rule)[0][used] <= rule.budget * (1 + 1e-3)).all()


def test_an_engine_adds_its_time_on_the_host() -> None:
    """Steps take longer, so an instance carries less."""
    chat = workload("builtin:chat")
    hidden, seen = (
        profile(MODEL, H100, chat, limits=LIMITS, engine=name) for name in ("overlapped", "vllm")
    )
    used = hidden.max_rate > 0

    assert (seen.max_rate[used] < hidden.max_rate[used]).all()
    assert seen.idle is not None
    assert hidden.idle is not None
    assert (seen.idle.tpot_s > hidden.idle.tpot_s + 4e-4).all()


def test_an_engine_file_that_changed_is_read_anew(tmp_path: Path) -> None:
    """Steps are kept by what the file says, not by its name."""
    shape = one_bucket(250, 250)
    path = tmp_path / "mine.toml"
    found = []
    for host_step_s in (0.0, 5e-3, 0.0):
        path.write_text(f"[engine]\nhost_step_s = {host_step_s}\nhost_sequence_s = 0.0\n")
        found.append(profile(MODEL, H100, shape, limits=LIMITS, engine=str(path)))
    fast, slow, again = found

    assert slow.idle is not None
    assert fast.idle is not None
    assert slow.idle.tpot_s[0, 0] == pytest.approx(fast.idle.tpot_s[0, 0] + 5e-3)
    assert slow.max_rate[0, 0] < fast.max_rate[0, 0] == again.max_rate[0, 0]
