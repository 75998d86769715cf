"""A serving engine, step by step: what the closed form of `llm/continuous.py` is held to.

Iteration-level batching as vLLM's V1 scheduler has it: running sequences first, each a token or
the next chunk of its prompt; then the waiting in order of arrival while sequences, tokens of the
step and blocks of the KV cache last. Where blocks run out, the latest of the running is sent back
and computed anew. Nothing is averaged and nothing assumed of arrivals.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archwright.llm import EngineLimits, StepCost

Floats = NDArray[np.float64]
Chunk = tuple[int, int]
"""Tokens of a chunk of a prompt, and tokens up to its end."""
Cost = Callable[[int, float, Sequence[Chunk]], float]
"""Seconds of a step: decoding sequences, their mean context, chunks."""


class _Request:
    __slots__ = ("arrival", "blocks", "computed", "done", "first", "last", "output", "target")

    def __init__(self, arrival: float, prompt: int, output: int) -> None:
        self.arrival, self.output = arrival, output
        self.target = prompt  # tokens to compute before the next token comes out
        self.computed = self.done = self.blocks = 0
        self.first = self.last = math.nan


@dataclass(frozen=True)
class Served:
    """What became of requests, in order of arrival.

    Attributes:
        ttft_s: time to first token.
        tpot_s: mean time per token after the first; NaN where there is none.
        finish_s: when the last token came.
        steps: steps of the engine.
        most_tokens: most tokens of a step.
        preempted: how often a sequence was sent back.
    """

    ttft_s: Floats
    tpot_s: Floats
    finish_s: Floats
    steps: int
    most_tokens: int
    preempted: int


def serve(
    arrivals: Sequence[float],
    inputs: Sequence[int],
    outputs: Sequence[int],
    cost: Cost,
    limits: EngineLimits,
) -> Served:
    """Serve requests one step after the other.

    Args:
        arrivals: seconds, rising.
        inputs: prompt tokens.
        outputs: output tokens, from 1 up.
        cost: what a step takes.
        limits: what the scheduler holds.
    """
    everyone = [_Request(*row) for row in zip(arrivals, inputs, outputs, strict=True)]
    coming, waiting = deque(everyone), deque[_Request]()
    running: list[_Request] = []
    size, free = limits.block_size, limits.num_gpu_blocks or 1 << 60
    now, steps, most, preempted = 0.0, 0, 0, 0
    while coming or waiting or running:
        while coming and coming[0].arrival <= now:
            waiting.append(coming.popleft())
        budget, stopped = limits.max_num_batched_tokens, False
        plan: list[tuple[_Request, int]] = []
        at = 0
        while at < len(running) and budget > 0:
            request = running[at]
            tokens = min(request.target - request.computed, budget)
            need = -(-(request.computed + tokens) // size) - request.blocks
            while need > free and len(running) > at:  # the latest makes room, perhaps itself
                last = running.pop()
                free += last.blocks
                last.blocks = last.computed = 0
                waiting.appendleft(last)
                preempted, stopped = preempted + 1, True
            if len(running) == at:
                break
            free, request.blocks = free - need, request.blocks + need
            plan.append((request, tokens))
            budget, at = budget - tokens, at + 1
        while waiting and budget > 0 and len(running) < limits.max_num_seqs and not stopped:
            request = waiting[0]
            tokens = min(request.target, budget)
            need = -(-tokens // size)
            if -(-request.target // size) > free:  # all of the prompt, not its first chunk alone
                break
            free, request.blocks = free - need, need
            running.append(waiting.popleft())
            plan.append((request, tokens))
            budget -= tokens
        if not plan:
            assert coming, "a request that no step can take"
            now = max(now, coming[0].arrival)
            continue
        decodes = context = 0
        chunks = []
        for request, tokens in plan:
            request.computed += tokens
            if tokens == 1 and request.done and request.computed == request.target:
                decodes, context = decodes + 1, context + request.computed
            else:
                chunks.append((tokens, request.computed))
        now += cost(decodes, context / max(decodes, 1), chunks)
        steps, most = steps + 1, max(most, limits.max_num_batched_tokens - budget)
        ended = False
        for request, _ in plan:
            if request.computed < request.target:
                continue
            request.done, request.target = request.done + 1, request.target + 1
            if request.done == 1:
                request.first = now
            if request.done == request.output:
                request.last, ended = now, True
                free += request.blocks
        if ended:
            running = [r for r in running if r.done < r.output]
    begun = np.array([r.first for r in everyone])
    ended_s = np.array([r.last for r in everyone])
    rest = np.array([r.output - 1.0 for r in everyone])
    tpot = np.where(rest > 0, (ended_s - begun) / np.maximum(rest, 1.0), np.nan)
    return Served(begun - np.array(arrivals), tpot, ended_s, steps, most, preempted)


def step_seconds(cost: StepCost, *, most_context: int) -> Cost:
    """Return the seconds of a step as a quick scalar function, from the compiled tables."""
    made = cost.compile(
        most_tokens=cost.spec.limits.max_num_batched_tokens + 1, most_context=most_context
    )
    tokens, sampled = made.tokens[0].tolist(), made.sampled[0].tolist()
    decode, first, more = (t[0].tolist() for t in (made.decode, made.prefill, made.more))
    step_s, each_s = made.host_step_s, made.host_sequence_s
    log2 = math.log2

    def grid(table: list[list[float]], x: float, y: float) -> float:
        u, v = log2(x) * 8, log2(y) * 8
        i, j = min(int(u), len(table) - 2), min(int(v), len(table[0]) - 2)
        u, v = u - i, v - j
        here, above = table[i], table[i + 1]
        low = here[j] + v * (here[j + 1] - here[j])
        return low + u * (above[j] + v * (above[j + 1] - above[j]) - low)

    def seconds(decodes: int, context: float, chunks: Sequence[Chunk]) -> float:
        rows = decodes + len(chunks)
        found: float = step_s + each_s * rows + sampled[rows]
        found += tokens[decodes + sum(q for q, _ in chunks)]
        if decodes:
            found += grid(decode, decodes, context)
        for i, (query, end) in enumerate(chunks):
            found += grid(more if i else first, query, end)
        return found

    return seconds


def poisson(rate: float, count: int, rng: np.random.Generator) -> list[float]:
    """Return arrival times of a Poisson process."""
    return list(np.cumsum(rng.exponential(1.0 / rate, count)))
