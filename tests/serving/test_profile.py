"""What one instance can carry, against a plain search over the same queue."""

from __future__ import annotations

import numpy as np
import pytest

from archwright.hardware import device
from archwright.llm import decode_step_s, kv_capacity_tokens, prefill_s, transformer
from archwright.serving import InstanceType, Limits, Workload, p99_wait_s, profile, workload
from archwright.serving.profile import UTILIZATION

H100 = InstanceType(device=device("H100-SXM"))
MODEL = transformer("Llama-3.1-8B")
LIMITS = Limits(ttft_p99_s=0.5, tpot_mean_s=0.03)


def one_bucket(inputs: float, outputs: float) -> Workload:
    """A workload of a single size."""
    return Workload.from_shares(
        [[1.0]], input_edges=[inputs], output_edges=[outputs], mean_rate_per_s=1.0
    )


def holds(shape: Workload, n: float, limits: Limits) -> tuple[bool, float]:
    """Say whether n decoding sequences hold the limits, from the formulas alone, and the rate."""
    inputs, outputs = float(shape.mean_input[0, 0]), float(shape.mean_output[0, 0])
    context = inputs + outputs
    tokens = float(kv_capacity_tokens(MODEL, H100.device, context_tokens=context))
    slots = min(256.0, np.floor(tokens / context))
    step = float(
        decode_step_s(MODEL, H100.device, batch=max(n, 1), context_tokens=inputs + outputs / 2)
    )
    prefill = float(prefill_s(MODEL, H100.device, prompt_tokens=inputs))
    edge = float(shape.input_edges[0])
    tpot = step + n * prefill / outputs
    rate = n / (outputs * tpot)
    service = prefill + outputs * tpot
    wait = float(p99_wait_s(slots, service, rate, shape.output_cv2[0, 0]))
    first = float(decode_step_s(MODEL, H100.device, batch=max(n, 1), context_tokens=edge))
    ttft = wait + float(prefill_s(MODEL, H100.device, prompt_tokens=edge)) + first
    busy = rate * service / slots
    good = ttft <= limits.ttft_p99_s and tpot <= limits.tpot_mean_s and busy <= UTILIZATION
    return bool(good), rate


@pytest.mark.parametrize("size", [(250, 250), (2000, 500), (8000, 100)])
def test_the_rate_is_the_highest_that_holds_the_limits(size: tuple[int, int]) -> None:
    """A fine scan of the number of sequences finds the same rate within 0.5 %."""
    shape = one_bucket(*size)
    found = profile(MODEL, H100, shape, limits=LIMITS).max_rate[0, 0]
    scanned = [holds(shape, n, LIMITS) for n in np.linspace(0.05, 256, 20_000)]
    best = max(rate for good, rate in scanned if good)

    assert found == pytest.approx(best, rel=5e-3)


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


@pytest.mark.parametrize(
    ("model", "kind", "weights", "reason"),
    [
        ("Llama-3.1-70B", "L4", "bf16", "weights need 1.. of 26 GB an accelerator"),
        ("Llama-3.1-8B", "A100-80GB-SXM", "fp8", "A100-80GB-SXM has no fp8 matrix rate"),
    ],
)
def test_a_type_that_cannot_serve_says_why(
    model: str, kind: str, weights: str, reason: str
) -> None:
    """No rate, and the reason with its numbers."""
    import re

    refused = profile(
        transformer(model),
        InstanceType(device=device(kind)),
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
