"""What the steps of one instance cost at the lengths of a workload, from :class:`StepCost`.

A decode step stands at whole numbers of sequences: each up to 16, eight an octave beyond. Between
them it is linear, as the average over steps of more and of fewer sequences is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from archwright.hardware import Device
from archwright.llm import Engine, ParallelPlan, StepBatch, StepCost, Transformer
from archwright.llm import engine as find_engine
from archwright.serving.memo import Memo
from archwright.serving.workload import Workload

__all__ = ["Steps", "instance_steps"]

Floats = npt.NDArray[np.float64]

SECONDS, LOW, HIGH, JOULES = range(4)
"""Planes of the tables: seconds, both ends of their 90 % interval, joules of all ranks."""

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
    """

    device: Device
    sequences: Floats
    decode: Floats
    edge_decode: Floats
    prefill: Floats
    edge_prefill: Floats


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
    engine: str | Engine = "overlapped",
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
    return Steps(
        device=cost.device,
        sequences=sequences,
        decode=decode[..., :buckets],
        edge_decode=decode[..., buckets:],
        prefill=prefill[..., :buckets],
        edge_prefill=prefill[..., buckets:],
    )
