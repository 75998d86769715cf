"""What the steps of one instance cost at the lengths of a workload, from :class:`StepCost`.

A decode step stands at whole numbers of sequences: each up to 16, eight an octave beyond. Between
them it is linear, as the average over steps of more and of fewer sequences is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from archwright.hardware import Device
from archwright.llm import (
    EngineSpec,
    ParallelPlan,
    StackedSteps,
    StepBatch,
    StepCost,
    Transformer,
    step_costs,
)
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
    kinds: Sequence[tuple[Device, ParallelPlan]],
    workload: Workload,
    *,
    weights: str = "bf16",
    kv: str = "bf16",
    engine: str | EngineSpec = "overlapped",
    most_sequences: int = _LEAST_TOP,
) -> list[Steps]:
    """Return the costs of the steps of instances, kept for the next who asks.

    They depend on the lengths of the workload's buckets, not on its shares, limits or batch limit
    (up to 256 sequences; beyond, on the next power of two). Those that are not kept are made
    together, in one evaluation of the laws.

    Args:
        model: the model served.
        kinds: of each instance, one of its equal devices and how the model is cut.
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
    cut = (weights, kv, engine, octaves, *(length.tobytes() for length in lengths))
    # the device is known by identity: the table keeps it alive
    keys = [(model, id(device), parallel, *cut) for device, parallel in kinds]
    found = {key: steps for key in keys if (steps := KEPT.peek(key)) is not None}
    missing = {key: kind for key, kind in zip(keys, kinds, strict=True) if key not in found}
    if missing:
        costs = [
            StepCost(
                model=model,
                device=device,
                parallel=parallel,
                weight_format=weights,
                kv_format=kv,
                engine=engine,
            )
            for device, parallel in missing.values()
        ]
        for key, steps in zip(missing, _tabulate(costs, workload, octaves), strict=True):
            KEPT.keep(key, steps)
            found[key] = steps
    return [found[key] for key in keys]


def _tabulate(costs: Sequence[StepCost], workload: Workload, octaves: int) -> list[Steps]:
    sequences = np.concatenate(
        [np.arange(1.0, 16.0), np.rint(2.0 ** (np.arange(4 * 8, octaves * 8 + 1) / 8))]
    )
    inputs, edges = workload.mean_input.ravel(), workload.input_edges
    contexts = np.concatenate([inputs + workload.mean_output.ravel() / 2, edges])
    contexts = np.maximum(contexts, 1.0)
    prompts = np.maximum(np.concatenate([inputs, edges]), 1.0)
    decode = step_costs(
        costs, StepBatch(decode_batch=sequences[:, None], decode_context=contexts[None, :])
    )
    prefill = step_costs(
        costs,
        StepBatch(
            prefill_requests=1, prefill_query_tokens=prompts, prefill_context_tokens=prompts
        ),
    )
    buckets = inputs.size
    tables = []
    for t, cost in enumerate(costs):
        steps, alone = _planes(cost, decode, t), _planes(cost, prefill, t)
        tables.append(
            Steps(
                device=cost.device,
                sequences=sequences,
                decode=steps[..., :buckets],
                edge_decode=steps[..., buckets:],
                prefill=alone[..., :buckets],
                edge_prefill=alone[..., buckets:],
            )
        )
    return tables


def _planes(cost: StepCost, steps: StackedSteps, t: int) -> Floats:
    """Return seconds, both ends of their interval and joules of one of several instances."""
    seconds = steps.seconds[t]
    watts = cost.power_w(steps.memory_s[t], steps.compute_s[t], seconds, seconds - steps.host_s[t])
    return np.stack([seconds, steps.low[t], steps.high[t], watts * seconds])
