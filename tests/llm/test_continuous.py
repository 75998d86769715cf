"""The closed form of the steady state against a plain engine that takes step after step.

Closed loops are clients that ask again as soon as they are answered; open loops Poisson arrivals
at shares of the highest throughput that the plain engine shows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from archwright.hardware import device
from archwright.llm import (
    EngineLimits,
    ParallelPlan,
    StepBatch,
    StepCost,
    engine,
    infer,
    kv_capacity_tokens,
    transformer,
)
from archwright.llm.arrivals import Arrivals, Crowd, arrivals
from archwright.llm.continuous import Batching, steady_state
from oracles.engine import Served, poisson, serve, step_seconds

LOADS = (0.7, 0.85)


@dataclass(frozen=True)
class Instance:
    """What serves, and what it is asked for."""

    model: str
    device: str
    tensor: int
    inputs: int
    outputs: int
    sequences: int
    budget: int = 8192
    engine: str = "overlapped"
    cv2: float = 0.0

    def cost(self) -> StepCost:
        """The step cost, with the limits and the blocks that fit."""
        model, on, plan = transformer(self.model), device(self.device), ParallelPlan(
            tensor=self.tensor
        )  # fmt: skip
        tokens = kv_capacity_tokens(
            model, on, parallel=plan, context_tokens=self.inputs + self.outputs / 2
        )
        limits = EngineLimits(
            max_num_seqs=self.sequences,
            max_num_batched_tokens=self.budget,
            num_gpu_blocks=int(tokens // 16),
        )
        own = replace(engine(self.engine), limits=limits)
        return StepCost(model=model, device=on, parallel=plan, engine=own)

    def lengths(self, count: int, rng: np.random.Generator) -> tuple[list[int], list[int]]:
        """Prompts and outputs of so many requests."""
        outputs = np.full(count, self.outputs)
        if self.cv2:
            drawn = rng.gamma(1 / self.cv2, self.outputs * self.cv2, count)
            outputs = np.maximum(np.rint(drawn), 1).astype(int)
        return [self.inputs] * count, outputs.tolist()

    def longest(self) -> int:
        """A context that no request exceeds."""
        return int(self.inputs + self.outputs * (12 if self.cv2 else 1)) + 2


L8, L70, Q32 = "Llama-3.1-8B", "Llama-3.1-70B", "Qwen2.5-32B"
H100, A100 = "H100-SXM", "A100-80GB-SXM"
QUICK = [
    Instance(L8, H100, 1, 100, 250, 128),
    Instance(L8, H100, 1, 500, 300, 256, engine="vllm", cv2=1.0),
    Instance(L8, H100, 1, 4000, 100, 128),
    Instance(L70, A100, 4, 1000, 250, 64),
    Instance(L8, "A10G", 1, 512, 256, 128),
    Instance(L70, H100, 8, 12000, 200, 128),
]
SLOW = [
    Instance(L8, H100, 1, 512, 256, 128),
    Instance(L8, H100, 1, 12000, 200, 128),
    Instance(L8, H100, 1, 1024, 1024, 128),
    Instance(L8, H100, 1, 100, 250, 16),
    Instance(L8, H100, 1, 30, 200, 256),
    Instance(L8, H100, 1, 600, 8, 64, budget=2048),
    Instance(L8, H100, 1, 3000, 500, 256, cv2=1.0),
    Instance(L8, H100, 1, 200, 2000, 256),
    Instance(L8, H100, 1, 2000, 30, 128),
    Instance(L8, H100, 1, 8000, 10, 64),
    Instance(L8, H100, 1, 2000, 200, 32, budget=2048),
    Instance(L8, "L4", 1, 300, 200, 32, cv2=0.5),
    Instance(L8, "A10G", 1, 100, 400, 64, cv2=0.5),
    Instance(L8, "A10G", 1, 1500, 100, 64),
    Instance(L8, "A10G", 1, 1000, 300, 32, budget=2048, cv2=0.5),
    Instance(L8, "L40S", 1, 2000, 150, 64, budget=2048),
    Instance(L70, A100, 4, 3000, 100, 256, cv2=1.0),
    Instance(L70, H100, 8, 6000, 500, 128, budget=2048, engine="vllm"),
    Instance(L70, H100, 4, 500, 150, 32, cv2=0.5),
    Instance(Q32, H100, 2, 1500, 400, 256, cv2=1.0),
    Instance(Q32, A100, 2, 800, 800, 64, engine="vllm"),
    Instance("Mixtral-8x7B-v0.1", H100, 4, 1000, 300, 128),
    Instance("Qwen2.5-7B", "L4", 1, 400, 100, 32),
    Instance("Qwen2.5-7B", H100, 1, 250, 250, 256, engine="vllm"),
    Instance("Qwen2.5-14B", H100, 1, 1000, 200, 64),
    Instance("Qwen2.5-14B", "L40S", 2, 700, 120, 64, cv2=1.0),
    Instance(L8, "B200-SXM", 1, 3000, 300, 256),
    Instance(L8, "H200-SXM", 1, 6000, 100, 64, budget=4096),
    Instance(L8, "MI300X", 1, 1500, 150, 128, cv2=1.0),
    Instance(L70, "B200-SXM", 2, 2000, 500, 128),
    Instance(L70, "H200-SXM", 4, 4000, 50, 64),
    Instance("Mixtral-8x7B-v0.1", A100, 4, 300, 300, 64, cv2=1.0),
    Instance("Gemma-3-12B", H100, 1, 1200, 300, 128),
    Instance(L8, A100, 1, 50, 500, 128),
]


class Law:
    """The closed form for one instance, over tables at whole numbers of sequences."""

    def __init__(self, of: Instance) -> None:
        cost = of.cost()
        limits = cost.spec.limits
        self.of, self.cv2 = of, of.cv2
        self.work = Batching.of(of.inputs, of.outputs, limits, np.inf, cv2=of.cv2)
        n = np.arange(limits.max_num_seqs + 1.0)
        chunk = min(of.inputs, of.budget)
        many = max(1.0, min(4.0, of.budget // of.inputs))
        step = cost(
            StepBatch(
                decode_batch=n,
                decode_context=of.inputs + of.outputs * (1 + of.cv2) / 2,
                prefill_requests=np.array([[0.0], [1.0], [many]]),
                prefill_query_tokens=chunk,
                prefill_context_tokens=0.5 * (of.inputs + chunk),
            )
        ).seconds
        decode, joined, full = step
        self.tables = n, np.asarray(decode), np.asarray(joined)
        first = joined[0] - decode[0]
        self.further_s = float((full - joined)[0] / (many - 1)) if many > 1 else float(first)
        points = np.arange(1.0, np.floor(max(float(self.work.slots), 1.0)) + 1)
        self.crowd = Crowd(points=points, rates=np.array([self.closed(k, 0.0)[0] for k in points]))
        self.top = self.closed(float(self.work.slots))[0]

    def decode_s(self, sequences: Any) -> Any:
        """A step without prompts."""
        return np.interp(sequences, self.tables[0], self.tables[1])

    def joined_s(self, sequences: Any) -> Any:
        """A step that a prompt has joined."""
        return np.interp(sequences, self.tables[0], self.tables[2])

    def closed(self, held: float, again: float | None = None) -> tuple[float, float]:
        """Requests/s and step with so many slots in use at all times."""
        more = self.work.again(held) if again is None else again
        joining = self.work.joining(held, more)
        running = joining * (self.of.outputs - 1.0)
        step = self.decode_s(max(running, 1.0))
        first = self.joined_s(running) - step
        mean = step + self.work.added_s(joining * (1 + more), first, self.further_s)
        return float(joining / mean), float(mean)

    def at(self, held: float) -> Arrivals:
        """What so many slots in use on average give."""
        return arrivals(
            self.work, np.float64(held), decode_s=self.decode_s, joined_s=self.joined_s,
            further_s=self.further_s, crowd=self.crowd, top=self.top, cv2=self.cv2,
        )  # fmt: skip

    def offered(self, rate: float) -> Arrivals:
        """What a rate of arrivals gives."""
        low, high = 0.0, float(self.work.slots)
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if self.at(middle).rate < rate else (low, middle)
        return self.at(low)


@cache
def saturated(of: Instance) -> tuple[float, float, Served]:
    """Requests/s, in outputs of the mean length, and TPOT where the queue never empties."""
    cost, rng = of.cost(), np.random.default_rng(1)
    count = max(16 * of.sequences, 600)
    inputs, outputs = of.lengths(count, rng)
    for k in range(of.sequences):  # as if they had come one by one
        outputs[k] = int(rng.integers(1, max(outputs[k], 2)))
    found = serve(
        [0.0] * count, inputs, outputs, step_seconds(cost, most_context=of.longest()),
        cost.spec.limits,
    )  # fmt: skip
    ends = np.sort(found.finish_s)
    first, last = ends[int(0.3 * count)], ends[int(0.85 * count)]
    inside = (found.finish_s > first) & (found.finish_s <= last)
    tokens = np.array(outputs)[inside]
    rate = tokens.sum() / of.outputs / (last - first)
    tpot = np.nansum(found.tpot_s[inside] * (tokens - 1)) / (tokens - 1).sum()
    return float(rate), float(tpot), found


def served(of: Instance, rate: float, count: int, seed: int) -> tuple[float, float]:
    """Mean TPOT and P99 TTFT of Poisson arrivals, the first sixth left out."""
    cost, rng = of.cost(), np.random.default_rng(seed)
    inputs, outputs = of.lengths(count, rng)
    found = serve(
        poisson(rate, count, rng), inputs, outputs,
        step_seconds(cost, most_context=of.longest()), cost.spec.limits,
    )  # fmt: skip
    late = slice(count // 6, None)
    rest = np.array(outputs)[late] - 1
    tpot = np.nansum(found.tpot_s[late] * rest) / rest.sum()
    return float(tpot), float(np.quantile(found.ttft_s[late], 0.99))


def errors(of: Instance, load: float, count: int, seeds: int) -> tuple[float, float]:
    """Relative errors of TPOT and of P99 TTFT."""
    rate = load * saturated(of)[0]
    tpot, ttft = np.mean([served(of, rate, count, seed) for seed in range(seeds)], axis=0)
    found = Law(of).offered(rate)
    return float(found.tpot_s / tpot - 1), float(found.ttft_s() / ttft - 1)


@pytest.mark.parametrize("of", QUICK, ids=str)
def test_throughput_and_time_per_token_of_a_full_engine(of: Instance) -> None:
    """Of the law over tables, and of `steady_state` for as many clients; no step too large."""
    rate, tpot, found = saturated(of)
    law = Law(of).closed(float(Law(of).work.slots))
    assert law == pytest.approx((rate, tpot), rel=0.1)
    clients = steady_state(
        of.cost(), sequences=of.sequences, input_tokens=of.inputs, output_tokens=of.outputs
    )
    assert found.most_tokens <= of.budget
    if not of.cv2:
        assert (clients.rate, clients.tpot_s) == pytest.approx((rate, tpot), rel=0.1)


@pytest.mark.parametrize("of", [QUICK[1], QUICK[2], QUICK[4]], ids=str)
def test_latency_under_random_arrivals(of: Instance) -> None:
    for load in LOADS:
        tpot, ttft = errors(of, load, 12_000, 1)
        assert abs(tpot) < 0.1 and abs(ttft) < 0.35, (load, tpot, ttft)


@pytest.mark.slow
def test_forty_instances() -> None:
    """Throughput and TPOT within 10 %, P99 TTFT within 35 %, of nine in ten; none far off."""
    rates, tpots, ttfts = [], [], []
    for of in QUICK + SLOW:
        rates.append(Law(of).closed(float(Law(of).work.slots))[0] / saturated(of)[0] - 1)
        for load in LOADS:
            tpot, ttft = errors(of, load, min(30_000, max(6000, 6_000_000 // of.outputs)), 2)
            tpots.append(tpot)
            ttfts.append(ttft)
            print(f"{of} {load}: rate {rates[-1]:+.1%} TPOT {tpot:+.1%} P99 TTFT {ttft:+.0%}")
    assert max(map(abs, rates)) < 0.1
    assert np.mean(np.abs(tpots) < 0.1) >= 0.9 and max(map(abs, tpots)) < 0.3
    assert np.mean(np.abs(ttfts) < 0.35) >= 0.9


def clients(of: Instance, count: int) -> tuple[float, float]:
    """Requests/s and mean TTFT of clients that ask again as soon as they are answered.

    Step after step by hand: nobody waits, so each step has all of them.
    """
    seconds = step_seconds(of.cost(), most_context=of.longest())
    rng = np.random.default_rng(0)
    left = rng.integers(1, of.outputs + 1, count).tolist()  # phases, which last
    fresh = [False] * count
    now, ended, waits = 0.0, 0, []
    since = [0.0] * count
    for _ in range(40 * of.outputs):
        chunks = [(of.inputs, of.inputs) for f in fresh if f]
        decodes = count - len(chunks)
        now += seconds(decodes, of.inputs + of.outputs / 2, chunks)
        for k in range(count):
            if fresh[k]:
                waits.append(now - since[k])
                fresh[k] = False
            left[k] -= 1
            if left[k] == 0:
                ended, left[k], fresh[k], since[k] = ended + 1, of.outputs, True, now
    return ended / now, float(np.mean(waits))


@pytest.mark.parametrize("count", [1, 4, 64])
def test_clients_that_ask_again(count: int) -> None:
    """Requests/s and TTFT of `steady_state`; one client has the sum of its steps."""
    of = Instance(L8, H100, 1, 300, 120, 128)
    rate, ttft = clients(of, count)
    found = steady_state(
        of.cost(), sequences=count, input_tokens=of.inputs, output_tokens=of.outputs
    )
    assert found.rate == pytest.approx(rate, rel=0.04)
    assert found.ttft_s == pytest.approx(ttft, rel=0.1)
    if count == 1:
        cost = of.cost()
        prompt = cost(
            StepBatch(prefill_requests=1, prefill_query_tokens=300, prefill_context_tokens=300)
        ).seconds
        token = cost(StepBatch(decode_batch=1, decode_context=360)).seconds
        assert found.ttft_s == pytest.approx(prompt, rel=2e-3)
        assert found.tpot_s == pytest.approx(token, rel=1e-3)
        assert 1 / found.rate == pytest.approx(prompt + 119 * token, rel=1e-3)


def test_a_token_costs_the_mean_over_the_output() -> None:
    """Steps of a growing context, one by one; with its whole output it would be 15 % more."""
    cost = Instance(L8, H100, 1, 500, 6000, 32).cost()
    contexts = 500 + np.arange(1, 6001)
    each = cost(StepBatch(decode_batch=32, decode_context=contexts)).seconds
    found = steady_state(cost, sequences=32, input_tokens=500, output_tokens=6000)
    assert found.decode.seconds == pytest.approx(each.mean(), rel=0.01)
    assert infer(cost, batch=32, input_tokens=500, output_tokens=6000).tpot_s == found.tpot_s


def test_the_budget_is_kept() -> None:
    """A step has no more tokens than the engine allows, however many clients there are."""
    cost = Instance(L8, H100, 1, 2000, 30, 128).cost()
    found = steady_state(cost, sequences=[1, 64, 128], input_tokens=2000, output_tokens=30)
    mixed = found.batch("mixed")
    assert (mixed.tokens <= 8192 * (1 + 1e-9)).all()
    assert mixed.tokens[2] == pytest.approx(8192)


def test_clients_beyond_the_slots_wait() -> None:
    """Throughput stays, the time to first token grows by what Little's law says."""
    of = Instance(L8, H100, 1, 500, 200, 32)
    few, many = (
        steady_state(of.cost(), sequences=n, input_tokens=500, output_tokens=200) for n in (32, 96)
    )
    assert many.rate == pytest.approx(few.rate, rel=1e-2)
    assert many.ttft_s - few.ttft_s == pytest.approx(64 / few.rate, rel=0.02)


def test_groups_of_attention_each_add_to_the_host() -> None:
    """The host works for the sequences of all groups, the device for those of one."""

    def tpot(groups: int, name: str) -> float:
        cost = StepCost(
            model=transformer("Mixtral-8x7B-v0.1"), device=device(H100),
            parallel=ParallelPlan(tensor=2, data_parallel_attention=groups, expert=2 * groups),
            engine=replace(engine("overlapped"), host_sequence_s=1e-4 if name else 0.0),
        )  # fmt: skip
        state = steady_state(cost, sequences=32, input_tokens=200, output_tokens=200)
        return float(state.tpot_s)

    for groups in (1, 4):
        added = tpot(groups, "host") - tpot(groups, "")
        assert added == pytest.approx(groups * 32 * 1e-4, rel=0.02)


def test_stages_work_at_once() -> None:
    """Micro-batches fill a pipeline: as many tokens a step's time as stages, one has none."""

    def rate(stages: int, sequences: int) -> float:
        cost = StepCost(
            model=transformer(L70), device=device(A100), parallel=ParallelPlan(pipeline=stages)
        )
        return float(
            steady_state(
                cost, sequences=sequences, input_tokens=1000, output_tokens=250
            ).rate
        )  # fmt: skip

    assert rate(4, 64) == pytest.approx(4 * rate(1, 16), rel=0.05)
    assert rate(4, 1) == pytest.approx(rate(1, 1), rel=0.05)


def test_requests_hold_what_they_have_so_far() -> None:
    """A cache of so many tokens runs more than one that reserves the whole output."""
    limits = EngineLimits(max_num_seqs=256, max_num_batched_tokens=8192)
    work = Batching.of(500.0, 1000.0, limits, 100_000.0)
    assert 1.3 < work.slots / (100_000 / 1500) < 1.6 and work.cache_full
    assert Batching.of(500.0, 1000.0, limits, 1499.0).slots == 0
