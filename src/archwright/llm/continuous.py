"""Continuous batching in its steady state: the one closed form of an engine's steps.

A request holds a slot for o - 1 steps that decode and for those that prefill its prompt, one or as
many as it has chunks. So N slots in use give a = N / (o - 1 + chunks) prompts a step, and
n = a (o - 1) sequences decode in each. No step exceeds the budget of tokens: n + a i <= budget
bounds a, however many slots there are. Prompts that fall on a step at random leave a share e^-a of
the steps without one; a prompt costs what it adds to a running step. With d the step without
prompts and x what prompts add to the mean step,

    TPOT = d(n) + x(a),    requests/s = a / TPOT.

`steady_state` is this law for clients that ask again as soon as they are answered;
`archwright.llm.arrivals` for requests that arrive at random. Both are held to a plain engine that
takes one step after the other, `tests/oracles/engine.py`.

The stages of a pipeline work at once: the engine keeps as many micro-batches in flight as it has
stages, each with its share of the sequences, and each passes all stages in a step's time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from archwright.llm.batch import StepBatch
from archwright.llm.engine import EngineLimits
from archwright.llm.step_cost import StepCost, StepEstimate

__all__ = ["Batching", "SteadyState", "steady_state"]

RECOMPUTED = 0.75
"""Tokens computed anew for each of a full cache's output: the latest sequences make room for what
the others grow by. Measured with the plain engine, 0.65 to 0.78 over lengths and devices."""
SLACK = 0.5
"""Share of a prompt that a full cache leaves empty, for the next does not fit into less."""
LEFT = 0.43
"""How time per token grows with ln(output / prompt) where the cache is full: of many short
prompts let in, most make room again and wait with some tokens done. Measured likewise."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Batching:
    """How requests of given lengths share the steps of an engine; arrays that broadcast.

    >>> work = Batching(inputs=2000.0, outputs=30.0, budget=8192.0, slots=128.0)
    >>> f"{work.joining(16.0):.3f} {work.joining(128.0):.3f}"
    '0.533 4.037'

    Attributes:
        inputs: prompt tokens.
        outputs: output tokens, from 1 up.
        budget: most tokens a step.
        slots: most sequences at once, by the limit or by the cache.
        cache_full: the cache bounds the slots.
    """

    inputs: Any
    outputs: Any
    budget: Any
    slots: Any = np.inf
    cache_full: Any = False

    @classmethod
    def of(
        cls,
        inputs: ArrayLike,
        outputs: ArrayLike,
        limits: EngineLimits,
        cache_tokens: ArrayLike,
        *,
        share: Any = 1.0,
        cv2: Any = 0.0,
    ) -> Batching:
        """Return the batching of an engine whose cache holds so many tokens.

        A running request holds its prompt and half its output on average, more where outputs
        vary, and half a block.

        Args:
            inputs: prompt tokens.
            outputs: output tokens.
            limits: of the engine.
            cache_tokens: tokens that the KV cache holds.
            share: share of slots and cache that is meant, of one micro-batch of a pipeline.
            cv2: squared coefficient of variation of output lengths.
        """
        i, o = (np.asarray(x, dtype=np.float64) for x in (inputs, outputs))
        if limits.num_gpu_blocks is not None:
            cache_tokens = np.minimum(cache_tokens, limits.num_gpu_blocks * limits.block_size)
        held = i + 0.5 * o * (1.0 + cv2) + 0.5 * (limits.block_size - 1)
        fit = (np.asarray(cache_tokens) - SLACK * i) / held * share
        # a sequence must fit whole, or it can never end
        fit = np.where(np.asarray(cache_tokens) >= i + o, np.maximum(fit, 1.0), 0.0)
        most = limits.max_num_seqs * np.asarray(share, dtype=np.float64)
        return cls(
            inputs=i,
            outputs=o,
            budget=float(limits.max_num_batched_tokens),
            slots=np.minimum(fit, most),
            cache_full=fit < most,
        )

    @cached_property
    def chunks(self) -> Any:
        """Steps that a prompt takes a share of: 1, or its length over the budget."""
        return np.maximum(1.0, self.inputs / self.budget)

    def again(self, held: Any) -> Any:
        """Return the share of a prompt that is computed once more, with so many slots in use."""
        full = self.cache_full & (held >= self.slots)
        return np.where(full, RECOMPUTED * self.outputs / self.inputs, 0.0)

    def joining(self, held: Any, again: Any = 0.0) -> Any:
        """Return the prompts that join a step on average, with so many slots in use."""
        rest = self.outputs - 1.0
        most = self.budget / (self.inputs * (1.0 + again) + rest)
        return np.minimum(held / (rest + self.chunks), most)

    def carrying(self, joining: Any) -> Any:
        """Return the share of steps that carry prompts; a chunk fills a step alone."""
        alone = -np.expm1(-joining)
        return np.where(self.chunks > 1, np.minimum(joining * self.chunks, 1.0), alone)

    def added_s(self, joining: Any, first_s: Any, further_s: Any) -> Any:
        """Return what prompts add to the mean step.

        Args:
            joining: prompts a step.
            first_s: what the first prompt of a step, or a full chunk of one, adds to it.
            further_s: what each further prompt adds.
        """
        some = self.carrying(joining)
        return some * first_s + np.maximum(joining - some, 0.0) * further_s * (self.chunks <= 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class SteadyState:
    """Steps of a full batch that prompts keep joining.

    Attributes:
        decode: a step without a prompt.
        mixed: a step with as many prompts as one that carries any has on average.
        share: share of the steps that carry prompts.
        chunks: steps that a prompt takes.
        sequences: clients of a micro-batch.
        batches: micro-batches in flight, at most one a pipeline stage.
        joining: prompts a step.
        stalled: time per token over mean step; above 1 where sequences make room for others.
        own: the step of a prompt that sees the others join at random, in mixed steps beyond one
            without prompts.
        together_s: mean wait for the first token where all prompts of the batch come at once.
        outputs: output tokens.
        front_end_s: seconds of the engine's front end.
        rows: the compositions of `decode` and `mixed`, fields of `StepBatch`.
    """

    decode: StepEstimate
    mixed: StepEstimate
    share: Any
    chunks: Any
    sequences: Any
    batches: Any
    joining: Any
    stalled: Any
    own: Any
    together_s: Any
    outputs: Any
    front_end_s: float
    rows: Mapping[str, Any]

    def mean(self, name: str) -> Any:
        """Return the mean of a field of the estimates over the steps."""
        one, other = getattr(self.decode, name), getattr(self.mixed, name)
        return (1.0 - self.share) * one + self.share * other

    @property
    def step_s(self) -> Any:
        """Mean time of a step."""
        return self.mean("seconds")

    @property
    def tpot_s(self) -> Any:
        """Mean time per output token."""
        return self.tpot()

    def tpot(self, name: str = "seconds") -> Any:
        """Return the mean time per output token; the prompts within it are those of others.

        Args:
            name: field of the estimates, ``seconds`` or an end of their interval.
        """
        one, other = getattr(self.decode, name), getattr(self.mixed, name)
        share = self.share * (1.0 - 1.0 / np.maximum(self.sequences, 1.0))
        return self.stalled * ((1.0 - share) * one + share * other)

    @property
    def rate(self) -> Any:
        """Requests/s of each group of data-parallel attention, all micro-batches."""
        return self.batches * self.joining / self.step_s

    @property
    def power_w(self) -> Any:
        """Average power of all ranks."""
        return self.mean("joules") / self.step_s

    def batch(self, name: str) -> StepBatch:
        """Return the composition of a step, ``decode`` or ``mixed``."""
        row = ("decode", "mixed").index(name)
        return StepBatch(**{field: value[row] for field, value in self.rows.items()})

    @property
    def alone_s(self) -> Any:
        """Time to first token of a prompt that comes alone: half a step, then its chunks."""
        return 0.5 * self.step_s + np.ceil(self.chunks) * self.mixed.seconds + self.front_end_s

    @property
    def burst_ttft_s(self) -> Any:
        """Mean time to first token of a benchmark whose clients all start at once.

        Equal outputs keep them together for waves; the truth lies between `alone_s` and
        `together_s`, and this is the geometric mean of the two.
        """
        return np.sqrt(self.alone_s * np.maximum(self.together_s, self.alone_s))

    def ttft(self, name: str = "seconds") -> Any:
        """Return the mean time to first token of clients that ask again once answered.

        A prompt joins the next step. What is more waits: clients in all, over requests/s, less
        the time that a request decodes (Little).

        Args:
            name: field of the estimates, ``seconds`` or an end of their interval.
        """
        one, other = getattr(self.decode, name), getattr(self.mixed, name)
        own = np.maximum(self.chunks, 1.0) * (one + self.own * (other - one))
        step = (1.0 - self.share) * one + self.share * other
        decoding = (self.outputs - 1.0) * self.tpot(name)
        return np.maximum(own, self.sequences * step / self.joining - decoding) + self.front_end_s

    @property
    def ttft_s(self) -> Any:
        """Mean time to first token of clients that ask again once answered."""
        return self.ttft()


def steady_state(
    cost: StepCost,
    *,
    sequences: ArrayLike,
    input_tokens: ArrayLike,
    output_tokens: ArrayLike,
    budget_tokens: int | None = None,
    cache_tokens: ArrayLike = np.inf,
) -> SteadyState:
    """Return the steps of an engine whose clients ask again as soon as they are answered.

    >>> from archwright.hardware import device
    >>> from archwright.llm import StepCost, transformer
    >>> cost = StepCost(model=transformer("Llama-3.1-8B"), device=device("H100-SXM"))
    >>> state = steady_state(cost, sequences=64, input_tokens=1024, output_tokens=256)
    >>> bool(state.decode.seconds < state.tpot_s < state.mixed.seconds)
    True

    Args:
        cost: model, instance and formats.
        sequences: clients of each group of data-parallel attention, any shape.
        input_tokens: prompt length, any shape.
        output_tokens: output length, any shape.
        budget_tokens: most tokens a step; by default the engine's.
        cache_tokens: tokens that the KV cache of a group holds.
    """
    limits = cost.spec.limits
    clients, inputs, outputs = (
        np.asarray(x, dtype=np.float64) for x in (sequences, input_tokens, output_tokens)
    )
    stages = cost.parallel.pipeline
    batches = np.clip(clients, 1.0, stages)
    clients = clients / batches
    work = Batching.of(inputs, outputs, limits, cache_tokens, share=1.0 / batches)
    if budget_tokens is not None:
        work = Batching(
            inputs=inputs, outputs=outputs, budget=float(budget_tokens), slots=work.slots,
            cache_full=work.cache_full,
        )  # fmt: skip
    held = np.minimum(clients, work.slots)
    again = work.again(held)
    joining = work.joining(held, again)
    running = joining * (outputs - 1.0)
    # a client decodes alone or not at all; the step that has its prompt has all the others
    decodes = np.maximum(running, np.minimum(held, 1.0))
    others = running * (1.0 - 1.0 / np.maximum(clients, 1.0))
    prompts = joining * (1.0 + again)
    share = work.carrying(prompts)
    room = np.maximum(work.budget - others, 1.0)
    tokens = np.clip(prompts * inputs / share, 1.0, room)
    share = np.minimum(prompts * inputs / tokens, 1.0)
    query = np.minimum(tokens, inputs)
    size = np.minimum(inputs, work.budget)
    at_once = np.clip(np.floor(work.budget / inputs), 1.0, np.maximum(clients, 1.0))
    none = np.zeros(np.broadcast_shapes(clients.shape, inputs.shape, outputs.shape))
    one = none + 1.0
    context = inputs + outputs / 2

    def stack(*values: Any) -> Any:
        return np.array([value + none for value in values])

    rows = {
        "decode_batch": stack(decodes, others, none),
        "decode_context": stack(context, context, one),
        "prefill_requests": stack(none, tokens / query, at_once),
        "prefill_query_tokens": stack(one, query, size),
        # chunks end anywhere between their length and the prompt's
        "prefill_context_tokens": stack(one, 0.5 * (inputs + query), 0.5 * (inputs + size)),
    }
    steps = cost(StepBatch(**rows))  # all at once: the laws cost as much for three as for one
    decode, mixed, full = (steps.at(row) for row in range(3))
    waves = np.ceil(clients / at_once) * np.ceil(work.chunks)
    ratio = np.maximum(outputs / inputs, 1.0)
    stalled = np.where(again > 0, 1.0 + LEFT * np.log(ratio), 1.0)
    more = np.minimum(1.0 + prompts * (1.0 - 1.0 / np.maximum(clients, 1.0)), room / inputs)
    own = np.where(work.chunks > 1, 1.0, np.maximum(more, 1.0) * inputs / tokens)
    return SteadyState(
        decode=decode,
        mixed=mixed,
        share=share,
        chunks=work.chunks,
        sequences=clients,
        batches=batches,
        joining=joining,
        stalled=stalled,
        own=own,
        together_s=0.5 * (waves + 1.0) * full.seconds + cost.spec.front_end_s,
        outputs=outputs,
        front_end_s=cost.spec.front_end_s,
        rows=rows,
    )
