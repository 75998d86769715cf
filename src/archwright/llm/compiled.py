"""Step costs as tables, for simulators that ask millions of times.

A step's time is a sum of parts that depend on few numbers each, so a lookup adds up:

    tokens[n]          products, norms and communication of n tokens, n whole, from 0
    sampled[s]         the output head for s tokens, s whole, from 0
    decode[b, c]       attention of b sequences of a mean context c, on a grid
    prefill[q, c]      attention of one chunk of q tokens that ends at context c, on a grid
    more[q, c]         what each further such chunk of the step adds
    host               host_step_s + host_sequence_s · sequences

The grid is uniform in the logarithm: point i stands at 2^(i / PER_OCTAVE). Between points values
are interpolated linearly in that index. Steps of decoding and at most one chunk are within 0.5 %
of `StepCost`; with up to eight chunks, whose kernels are not quite linear in their number, within
1 % in the mean and 8 % at the worst. Every table is a C-contiguous float64 array of three planes:
seconds, seconds at full bandwidth, and seconds at peak rate; native code may read them as they
are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from archwright.errors import SpecificationError
from archwright.llm.batch import StepBatch

if TYPE_CHECKING:
    from archwright.llm.operators import Operator
    from archwright.llm.step_cost import StepCost

__all__ = ["PER_OCTAVE", "CompiledStepCost", "compile_cost"]

PER_OCTAVE = 8
"""Points of the grid between a number and its double."""

MANY = 4
"""Chunks at which the cost of a further one is taken."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class CompiledStepCost:
    """Tables of step costs; see the module for their layout.

    >>> from archwright.hardware import device
    >>> from archwright.llm import StepBatch, StepCost, transformer
    >>> cost = StepCost(model=transformer("Llama-3.1-8B"), device=device("H100-SXM"))
    >>> exact = cost(StepBatch(decode_batch=48, decode_context=1500)).seconds
    >>> bool(abs(cost.compile().seconds(48, 1500) / exact - 1) < 0.002)
    True

    Attributes:
        tokens: shape (3, tokens + 1).
        sampled: shape (3, sequences + 1).
        decode: shape (3, batches, contexts).
        prefill: shape (3, queries, contexts).
        more: shape (3, queries, contexts).
        host_step_s: seconds a step.
        host_sequence_s: seconds a sequence.
        cost: what was compiled.
    """

    tokens: Floats
    sampled: Floats
    decode: Floats
    prefill: Floats
    more: Floats
    host_step_s: float
    host_sequence_s: float
    cost: StepCost

    def seconds(
        self,
        decode_batch: ArrayLike,
        decode_context: ArrayLike,
        prefill_requests: ArrayLike = 0,
        prefill_query_tokens: ArrayLike = 1,
        prefill_context_tokens: ArrayLike = 1,
    ) -> Any:
        """Return the seconds of steps; arguments as the fields of `StepBatch`, any shapes.

        Raises:
            SpecificationError: a step that cannot be, or one beyond the tables. Counts are 0 or
                from 1 up, for between the two the tables say nothing of a step.
        """
        work = (decode_batch, decode_context, prefill_requests, prefill_query_tokens)
        return self._look_up(0, _composition(*work, prefill_context_tokens))

    def joules(
        self,
        decode_batch: ArrayLike,
        decode_context: ArrayLike,
        prefill_requests: ArrayLike = 0,
        prefill_query_tokens: ArrayLike = 1,
        prefill_context_tokens: ArrayLike = 1,
    ) -> Any:
        """Return the joules of steps on all ranks; arguments and errors as for `seconds`."""
        work = (decode_batch, decode_context, prefill_requests, prefill_query_tokens)
        steps = _composition(*work, prefill_context_tokens)
        seconds, memory, compute = (self._look_up(plane, steps) for plane in range(3))
        return self.cost.power_w(memory, compute, seconds) * seconds

    def _look_up(self, plane: int, steps: _Steps) -> Any:
        batch, requests = steps.batch, steps.requests
        chunks = bool(requests.any())
        sampled = batch + requests
        tokens = batch + requests * steps.query if chunks else batch
        found = _line(self.tokens[plane], tokens, "tokens")
        found = found + _line(self.sampled[plane], sampled, "sequences")
        if batch.any():
            grid = _grid(self.decode[plane], np.maximum(batch, 1.0), steps.decode_context)
            found = found + np.where(batch > 0, grid, 0.0)
        if chunks:
            chunk = (steps.query, steps.context)
            found = found + np.minimum(requests, 1.0) * _grid(self.prefill[plane], *chunk)
            if requests.max() > 1.0:
                further = np.maximum(requests - 1.0, 0.0)
                found = found + further * _grid(self.more[plane], *chunk)
        if plane == 0:
            found = found + self.host_step_s + self.host_sequence_s * sampled
        return found[()]


class _Steps(NamedTuple):
    """Steps as arrays that can be looked up: no count within (0, 1), no length below 1."""

    batch: Floats
    decode_context: Floats
    requests: Floats
    query: Floats
    context: Floats


def _composition(
    decode_batch: ArrayLike,
    decode_context: ArrayLike,
    prefill_requests: ArrayLike,
    query: ArrayLike,
    context: ArrayLike,
) -> _Steps:
    batch = _count("decode_batch", decode_batch)
    requests = _count("prefill_requests", prefill_requests)
    steps = _Steps(
        batch,
        _length("decode_context", decode_context, batch),
        requests,
        _length("prefill_query_tokens", query, requests),
        _length("prefill_context_tokens", context, requests),
    )
    late = steps.query > steps.context
    if late.any() and (late & (requests > 0)).any():
        raise SpecificationError(
            "prefill_query_tokens: expected 1 to prefill_context_tokens, which counts them too"
        )
    return steps


def _count(name: str, value: ArrayLike) -> Floats:
    found = _numbers(name, value)
    good = (found >= 1.0) | (found == 0.0)
    if not good.all():
        raise SpecificationError(f"{name}: {found[~good].flat[0]:g}, expected 0, or 1 or more")
    return found


def _length(name: str, value: ArrayLike, number: Floats) -> Floats:
    """Return lengths of what there is a number of; of nothing any length will do."""
    found = _numbers(name, value)
    some = number > 0
    wrong = ~(found >= 1.0) & some
    if wrong.any():
        bad = np.broadcast_to(found, wrong.shape)[wrong].flat[0]
        raise SpecificationError(f"{name}: {bad:g}, expected 1 or more tokens")
    return found if some.all() else np.where(some, found, 1.0)


def _numbers(name: str, value: ArrayLike) -> Floats:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise SpecificationError(f"{name}: {value!r}, expected numbers") from None


def _line(table: Floats, at: Floats, what: str) -> Floats:
    """Interpolate between whole numbers."""
    if at.size and not at.max() < len(table) - 1:
        raise SpecificationError(
            f"a step of {float(np.max(at)):g} {what} is beyond the {len(table) - 2} compiled"
        )
    low = at.astype(np.int64)
    here = table[low]
    return np.asarray(here + (at - low) * (table[low + 1] - here))


def _grid(table: Floats, first: Floats, second: Floats) -> Floats:
    """Interpolate between points that are uniform in the logarithm."""
    (i, di), (j, dj) = (
        _place(axis, size) for axis, size in zip((first, second), table.shape, strict=True)
    )
    flat, width = table.reshape(-1), table.shape[1]
    at = i * width + j
    lower = flat[at] + dj * (flat[at + 1] - flat[at])
    at = at + width
    upper = flat[at] + dj * (flat[at + 1] - flat[at])
    return np.asarray(lower + di * (upper - lower))


def _place(value: Floats, size: int) -> tuple[NDArray[np.int64], Floats]:
    index = np.log2(value) * PER_OCTAVE
    last = index.max(initial=0.0)
    if last > size - 1:
        raise SpecificationError(
            f"{float(np.max(value)):g} is beyond the {2 ** ((size - 1) / PER_OCTAVE):g} compiled"
        )
    low = index.astype(np.int64)
    if last == size - 1:
        low = np.minimum(low, size - 2)
    return low, index - low


def compile_cost(
    cost: StepCost, *, most_tokens: int, most_sequences: int, most_context: int
) -> CompiledStepCost:
    """Return the tables of a step cost; see `StepCost.compile`."""
    assert not isinstance(cost.engine, str)
    batches, contexts = _points(most_sequences), _points(most_context)
    queries = _points(min(most_tokens, most_context))
    wide = StepBatch(decode_batch=batches[:, None], decode_context=contexts[None, :])

    def chunk(requests: int) -> Floats:
        batch = StepBatch(
            prefill_requests=requests,
            prefill_query_tokens=np.minimum(queries[:, None], contexts[None, :]),
            prefill_context_tokens=contexts[None, :],
        )
        return _planes(cost, batch, _by_chunk)

    one = chunk(1)
    every = np.arange(1, most_tokens + 2)
    heads = np.arange(1, most_sequences + 2)
    planes = {
        "tokens": _planes(cost, StepBatch(decode_batch=every, decode_context=1), _by_tokens),
        "sampled": _planes(cost, StepBatch(decode_batch=heads, decode_context=1), _by_sampled),
        "decode": _planes(cost, wide, _by_decoding),
        "prefill": one,
        "more": (chunk(MANY) - one) / (MANY - 1),
    }
    for name in ("tokens", "sampled"):  # no tokens, no work
        planes[name] = np.concatenate([np.zeros((3, 1)), planes[name]], axis=1)
    return CompiledStepCost(
        **{name: np.ascontiguousarray(plane) for name, plane in planes.items()},
        host_step_s=cost.engine.host_step_s,
        host_sequence_s=cost.engine.host_sequence_s * cost.parallel.data_parallel_attention,
        cost=cost,
    )


def _points(most: int) -> Floats:
    """Return the grid up to the first point that is not below `most`."""
    count = int(np.ceil(np.log2(max(most, 2)) * PER_OCTAVE)) + 1
    return np.asarray(2.0 ** (np.arange(count) / PER_OCTAVE))


def _by_sampled(op: Operator) -> bool:
    return op.name == "lm_head"


def _by_decoding(op: Operator) -> bool:
    return op.kind == "attention_decode" or op.name == "attention.absorb"


def _by_chunk(op: Operator) -> bool:
    return op.kind == "attention_prefill" or op.name == "attention.kv_up"


def _by_tokens(op: Operator) -> bool:
    return not (_by_sampled(op) or _by_decoding(op) or _by_chunk(op))


def _planes(cost: StepCost, batch: StepBatch, wanted: Any) -> Floats:
    sizes = (batch.tokens, batch.decode_context, batch.prefill_context_tokens)
    shape = np.broadcast_shapes(*(np.shape(size) for size in sizes))
    found = np.zeros((3, *shape))
    for op in cost.operators(batch):
        if wanted(op):
            for plane, value in enumerate(cost.time_and_work(op)):
                found[plane] += value
    return found
