"""What the steps of one instance cost at the lengths of a workload, from :class:`StepCost`.

A decode step stands at whole numbers of sequences: each up to 16, eight an octave beyond. Between
them it is linear, as the average over steps of more and of fewer sequences is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from archwright.hardware import Device
from archwright.llm import EngineSpec, ParallelPlan, StepBatch, StepCost, Transformer
from archwright.llm import engine as find_engine
from archwright.serving.memo import Memo
from archwright.serving.workload import Workload

__all__ = ["Steps", "instance_steps"]

Floats = npt.NDArray[np.float64]

SECONDS, LOW, HIGH, JOULES = range(4)
"""Planes of the tables: seconds, both ends of their 90 % interval, joules of all ranks."""

_MANY = 4.0  # prompts at which the cost of a further one is taken
_LEAST_TOP = 256  # tables reach at least this many sequences, so that batch limits share them


@dataclass(frozen=True, kw_only=True, eq=False)
class Steps:
    """Costs of steps; the first axis of the tables is the plane.

    Attributes:
        device: what it runs on.
        sequences: whole numbers of sequences from 1 up, shape (K,).
        decode: a decode step at the mean context of each bucket, shape (4, K, I·J).
        edge_decode: at the upper edge of each input bucket, shape (4, K, I).
        prefill: the mean prompt of each bucket alone, shape (4, I·J).
        edge_prefill: the longest prompt of each input bucket alone, shape (4, I).
        joined: a decode step of 0 and then of each number of sequences that the mean prompt of
            each bucket, or a full chunk of it, has joined, shape (4, K + 1, I·J).
        further: what each further prompt adds to a step, shape (4, I·J).
        budget: most tokens a step.
        front_end_s: seconds of the engine's front end a request.
    """

    device: Device
    sequences: Floats
    decode: Floats
    edge_decode: Floats
    prefill: Floats
    edge_prefill: Floats
    joined: Floats
    further: Floats
    budget: float
    front_end_s: float


KEPT: Memo[Steps] = Memo(2048)
"""Tables of this process, about 80 kB each."""


def instance_steps(
    model: Transformer,
    device: Device,
    parallel: ParallelPlan,
    workload: Workload,
    *,
    weights: str = "bf16",
    kv: str = "bf16",
    engine: str | EngineSpec = "overlapped",
    most_sequences: int = _LEAST_TOP,
) -> Steps:
    """Return the costs of an instance's steps, kept for the next who asks.

    They depend on the lengths of the workload's buckets, not on its shares, limits or batch limit
    (up to 256 sequences; beyond, on the next power of two).

    Args:
        model: the model served.
        device: one of the equal devices.
        parallel: how the model is cut.
        workload: its buckets.
        weights: weight format.
        kv: KV-cache format.
        engine: what the engine adds on the host; a file that changed is another engine.
        most_sequences: most sequences a step.
    """
    if isinstance(engine, str):
        engine = find_engine(engine)
    octaves = max(most_sequences - 1, _LEAST_TOP - 1).bit_length()
    lengths = (workload.mean_input, workload.mean_output, workload.input_edges)
    # the device is known by identity: the table keeps it alive
    cut = (parallel, weights, kv, engine)
    key = (model, id(device), *cut, octaves, *(length.tobytes() for length in lengths))

    def make() -> Steps:
        cost = StepCost(
            model=model,
            device=device,
            parallel=parallel,
            weight_format=weights,
            kv_format=kv,
            engine=engine,
        )
        return _tabulate(cost, workload, octaves)

    return KEPT.get(key, make)


def _tabulate(cost: StepCost, workload: Workload, octaves: int) -> Steps:
    sequences = np.concatenate(
        [np.arange(1.0, 16.0), np.rint(2.0 ** (np.arange(4 * 8, octaves * 8 + 1) / 8))]
    )
    inputs, edges = workload.mean_input.ravel(), workload.input_edges
    contexts = np.concatenate([inputs + workload.mean_output.ravel() / 2, edges])
    contexts = np.maximum(contexts, 1.0)
    prompts = np.maximum(np.concatenate([inputs, edges]), 1.0)
    # one call, because its price is that of its operators: decode steps first, then prompts
    decodes = np.arange(len(sequences) + len(prompts)) < len(sequences)
    lengths = np.concatenate([np.ones(len(sequences)), prompts])[:, None]
    step = cost(
        StepBatch(
            decode_batch=np.concatenate([sequences, np.zeros(len(prompts))])[:, None],
            decode_context=contexts[None, :],
            prefill_requests=np.where(decodes, 0, 1)[:, None],
            prefill_query_tokens=lengths,
            prefill_context_tokens=lengths,
        )
    )
    planes = np.stack([step.seconds, step.low, step.high, step.joules])
    decode, prefill = planes[:, decodes], planes[:, ~decodes, 0].copy()
    buckets = inputs.size
    joined, further = _joined(cost, sequences, inputs, contexts[: inputs.size])
    return Steps(
        device=cost.device,
        sequences=sequences,
        decode=decode[..., :buckets],
        edge_decode=decode[..., buckets:],
        prefill=prefill[..., :buckets],
        edge_prefill=prefill[..., buckets:],
        joined=joined,
        further=further,
        budget=float(cost.spec.limits.max_num_batched_tokens),
        front_end_s=cost.spec.front_end_s,
    )


def _joined(
    cost: StepCost, sequences: Floats, inputs: Floats, contexts: Floats
) -> tuple[Floats, Floats]:
    """Return steps that prompts have joined, and what a further prompt adds."""
    inputs = np.maximum(inputs, 1.0)
    budget = float(cost.spec.limits.max_num_batched_tokens)
    many = np.clip(np.floor(budget / inputs), 1.0, _MANY)
    chunk = np.minimum(inputs, budget)
    running = np.concatenate([[0.0], sequences, [0.0]])[:, None]
    requests = np.where(np.arange(len(running))[:, None] == len(running) - 1, many, 1.0)
    step = cost(
        StepBatch(
            decode_batch=running,
            decode_context=contexts,
            prefill_requests=requests,
            prefill_query_tokens=chunk,
            prefill_context_tokens=0.5 * (inputs + chunk),
        )
    )
    planes = np.stack([step.seconds, step.low, step.high, step.joules])
    joined = planes[:, :-1].copy()
    more = (planes[:, -1] - joined[:, 0]) / np.maximum(many - 1.0, 1.0)
    return joined, np.maximum(np.where(many > 1, more, joined[:, 0]), 0.0)
