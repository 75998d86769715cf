"""Continuous batching in its steady state: how long a step is when prompts join a full batch.

With c sequences of o output tokens each, c / o prompts join a step on average. A prompt longer
than the engine's budget of tokens a step comes in chunks. So a share of the steps carries a chunk,
and the mean time per output token is the mean over both kinds of step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from archwright.llm.batch import StepBatch
from archwright.llm.step_cost import StepCost, StepEstimate

__all__ = ["SteadyState", "steady_state"]


@dataclass(frozen=True)
class SteadyState:
    """Steps of a full batch that prompts keep joining.

    Attributes:
        decode: a step without a prompt.
        mixed: a step with one.
        share: share of the steps that carry one.
        chunks: chunks a prompt comes in.
        together_s: mean wait for the first token where all prompts of the batch come at once.
    """

    decode: StepEstimate
    mixed: StepEstimate
    share: Any
    chunks: Any
    together_s: Any

    def mean(self, name: str) -> Any:
        """Return the mean of a field of the estimates over the steps."""
        one, other = getattr(self.decode, name), getattr(self.mixed, name)
        return (1.0 - self.share) * one + self.share * other

    @property
    def tpot_s(self) -> Any:
        """Mean time per output token."""
        return self.mean("seconds")

    @property
    def alone_s(self) -> Any:
        """Time to first token of a prompt that comes alone: half a step, then its chunks."""
        return 0.5 * self.tpot_s + self.chunks * self.mixed.seconds

    @property
    def ttft_s(self) -> Any:
        """Time to first token of clients that ask again as soon as they are answered.

        They are neither spread evenly nor in step, so the truth lies between `alone_s` and
        `together_s`; this is the geometric mean of the two.
        """
        return np.sqrt(self.alone_s * np.maximum(self.together_s, self.alone_s))


def steady_state(
    cost: StepCost,
    *,
    sequences: ArrayLike,
    input_tokens: ArrayLike,
    output_tokens: ArrayLike,
    budget_tokens: int = 8192,
) -> SteadyState:
    """Return the steps of a batch that is kept full.

    >>> from archwright.hardware import device
    >>> from archwright.llm import StepCost, transformer
    >>> cost = StepCost(model=transformer("Llama-3.1-8B"), device=device("H100-SXM"))
    >>> state = steady_state(cost, sequences=64, input_tokens=1024, output_tokens=256)
    >>> bool(state.decode.seconds < state.tpot_s < state.mixed.seconds)
    True

    Args:
        cost: model, instance and formats.
        sequences: running sequences of each group of data-parallel attention, any shape.
        input_tokens: prompt length, any shape.
        output_tokens: output length, any shape.
        budget_tokens: most tokens of prompts a step.
    """
    running, inputs, outputs = (
        np.asarray(x, dtype=np.float64) for x in (sequences, input_tokens, output_tokens)
    )
    context = inputs + outputs / 2
    joining = running / outputs  # prompts a step
    chunks = np.ceil(inputs / budget_tokens)
    share = np.minimum(joining * chunks, 1.0)
    # where more than one chunk falls on every step, a step carries them all
    tokens = np.maximum(joining * inputs / share, 1.0)
    query = np.minimum(tokens, inputs)
    decode = cost(StepBatch(decode_batch=running, decode_context=context))
    mixed = cost(
        StepBatch(
            decode_batch=running,
            decode_context=context,
            prefill_requests=tokens / query,
            prefill_query_tokens=query,
            prefill_context_tokens=inputs,
        )
    )
    size = np.minimum(inputs, budget_tokens)
    at_once = np.clip(np.floor(budget_tokens / inputs), 1.0, np.maximum(running, 1.0))
    full = cost(
        StepBatch(
            prefill_requests=at_once, prefill_query_tokens=size, prefill_context_tokens=inputs
        )
    )
    steps = np.ceil(running / at_once) * chunks
    return SteadyState(decode, mixed, share, chunks, 0.5 * (steps + 1.0) * full.seconds)
