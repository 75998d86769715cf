"""Step costs as tables, for simulators that ask millions of times.

A step's time is a sum of parts that depend on few numbers each, so a lookup adds up:

    tokens[n]          products, norms and communication of n tokens, n whole, from 0
    sampled[s]         the output head and the drawing of s tokens, s whole, from 0
    decode[b, c]       attention of b sequences of a mean context c, on a grid
    prefill[q, c]      attention of one chunk of q tokens that ends at context c, on a grid
    more[q, c]         what each further such chunk of the step adds
    host               host_step_s + host_sequence_s · sequences

The grid is uniform in the logarithm: point i stands at 2^(i / PER_OCTAVE). Between points values
are interpolated linearly in that index. Steps of decoding and at most one chunk are within 0.5 %
of `StepCost`; with up to eight chunks, whose kernels are not quite linear in their number, within
1 % in the mean and 8 % at the worst. Every table is a C-contiguous float64 array of three planes:
seconds, seconds at full bandwidth, and seconds at peak rate. Native code (``_native/tables.cpp``)
looks up arrays of compositions and lists of chunks and contexts alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from archwright.errors import SpecificationError
from archwright.hardware.operators import Operator
from archwright.llm._steps import Tables
from archwright.llm.architecture import Transformer
from archwright.llm.batch import StepBatch
from archwright.llm.engine import EngineSpec
from archwright.llm.parallel import ParallelPlan

__all__ = ["PER_OCTAVE", "CompiledStepCost", "compile_cost"]

PER_OCTAVE = 8
"""Points of the grid between a number and its double."""

MANY = 4
"""Chunks at which the cost of a further one is taken."""

Floats = NDArray[np.float64]


class Costed(Protocol):
    """What is compiled: `archwright.llm.StepCost`."""

    @property
    def model(self) -> Transformer:
        """The transformer."""

    @property
    def parallel(self) -> ParallelPlan:
        """How the model is cut."""

    @property
    def spec(self) -> EngineSpec:
        """What the engine is."""

    def operators(self, batch: StepBatch) -> list[Operator]:
        """Return the operators of a step."""

    def time_and_work(self, op: Operator) -> tuple[Any, Any, Any]:
        """Return seconds as timed, at full bandwidth and at peak."""

    def power_w(self, memory_s: Any, compute_s: Any, seconds: Any, busy_s: Any = None) -> Any:
        """Return the average power of all ranks."""


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
        windowed: a layer sees a window, so that contexts of a list count one by one.
        cost: what was compiled.
    """

    tokens: Floats
    sampled: Floats
    decode: Floats
    prefill: Floats
    more: Floats
    host_step_s: float
    host_sequence_s: float
    windowed: bool
    cost: Costed

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
        return self._compositions((*work, prefill_context_tokens), (0,))[0]

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
        planes = self._compositions((*work, prefill_context_tokens), (0, 1, 2))
        running = np.asarray(decode_batch) + np.asarray(prefill_requests)
        return self._joules(planes, running)

    def step_seconds(self, prefills: ArrayLike, decodes: ArrayLike) -> float:
        """Return the seconds of one step of listed chunks and contexts, as `StepBatch.of`.

        Args:
            prefills: (query tokens, context tokens) of each chunk, shape (chunks, 2).
            decodes: context tokens of each sequence that gets one token.

        Raises:
            SpecificationError: a step that cannot be, or one beyond the tables.
        """
        chunks, contexts = _pairs(prefills), _whole("decodes", decodes)
        seconds, fault = self._native.one(chunks, contexts, 0)
        if fault:
            raise self._error(fault, "")
        return seconds

    def steps_seconds(
        self,
        prefills: ArrayLike,
        prefill_ends: ArrayLike,
        decodes: ArrayLike,
        decode_ends: ArrayLike,
    ) -> Floats:
        """Return the seconds of many steps, whose lists stand one behind the other.

        Args:
            prefills: (query tokens, context tokens) of the chunks of all steps, shape (chunks, 2).
            prefill_ends: place behind the last chunk of each step.
            decodes: context tokens of the sequences of all steps.
            decode_ends: place behind the last sequence of each step.

        Raises:
            SpecificationError: a step that cannot be, or one beyond the tables, by its number.
        """
        return self._lists(prefills, prefill_ends, decodes, decode_ends, 0)

    def steps_joules(
        self,
        prefills: ArrayLike,
        prefill_ends: ArrayLike,
        decodes: ArrayLike,
        decode_ends: ArrayLike,
    ) -> Any:
        """Return the joules of many steps on all ranks; as for `steps_seconds`."""
        lists = (prefills, prefill_ends, decodes, decode_ends)
        planes = [self._lists(*lists, plane) for plane in range(3)]
        ends = [np.asarray(e, dtype=np.int64) for e in (prefill_ends, decode_ends)]
        return self._joules(planes, sum(np.diff(e, prepend=0) for e in ends))

    @cached_property
    def _native(self) -> Tables:
        return Tables(
            self.tokens, self.sampled, self.decode, self.prefill, self.more,
            float(PER_OCTAVE), self.host_step_s, self.host_sequence_s, self.windowed,
        )  # fmt: skip

    def _joules(self, planes: Sequence[Any], running: Any) -> Any:
        seconds, memory, compute = planes
        host = self.host_step_s + self.host_sequence_s * running
        return self.cost.power_w(memory, compute, seconds, seconds - host) * seconds

    def _compositions(self, work: Sequence[ArrayLike], planes: Sequence[int]) -> list[Any]:
        arrays = [_numbers(name, value) for name, value in zip(_WORK, work, strict=True)]
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
        flat = [
            np.ascontiguousarray(a if a.shape == shape else np.broadcast_to(a, shape)).reshape(-1)
            for a in arrays
        ]
        found = []
        for plane in planes:
            out = np.empty(flat[0].size)
            batch, context, requests, query, end = flat
            place, fault = self._native.compositions(
                batch, context, requests, query, end, plane, out
            )
            if fault:
                values = {name: float(a[place]) for name, a in zip(_WORK, flat, strict=True)}
                raise self._error(fault, "", values)
            found.append(out.reshape(shape)[()])
        return found

    def _lists(
        self, prefills: Any, prefill_ends: Any, decodes: Any, decode_ends: Any, plane: int
    ) -> Floats:
        chunks, contexts = _pairs(prefills), _whole("decodes", decodes)
        ends = [_whole("ends", end) for end in (prefill_ends, decode_ends)]
        for end, most in zip(ends, (len(chunks), len(contexts)), strict=True):
            rises = end.ndim == 1 and (np.diff(end, prepend=0) >= 0).all()
            if not rises or len(end) != len(ends[0]) or (end[-1:] > most).any():
                raise SpecificationError(
                    f"steps: ends {end.tolist()[:8]}, expected one end a step, rising to at most "
                    f"{most}"
                )
        out = np.empty(len(ends[0]))
        place, fault = self._native.lists(chunks, ends[0], contexts, ends[1], plane, out)
        if fault:
            raise self._error(fault, f"step {place}: ")
        return out

    def _error(
        self, fault: int, where: str, values: Mapping[str, float] | None = None
    ) -> SpecificationError:
        """Return the error of a fault, numbered as in ``tables.hpp``."""
        given = values or {}
        if fault == _COUNT:
            for name in ("decode_batch", "prefill_requests"):
                if not (given[name] >= 1.0 or given[name] == 0.0):
                    return SpecificationError(f"{name}: {given[name]:g}, expected 0, or 1 or more")
        lengths = ["decode_context"] if given.get("decode_batch", 0.0) > 0.0 else []
        lengths += ["prefill_query_tokens", "prefill_context_tokens"]
        for name in lengths if fault in (_LENGTH, _ORDER) else ():
            if name in given and not given[name] >= 1.0:
                return SpecificationError(f"{name}: {given[name]:g}, expected 1 or more tokens")
        if fault == _LENGTH:
            return SpecificationError(f"{where}a length below 1, expected 1 or more tokens")
        if fault == _ORDER:
            return SpecificationError(
                f"{where}prefill_query_tokens: expected 1 to prefill_context_tokens, which counts "
                "them too"
            )
        most = {
            _TOKENS: f"{self.tokens.shape[1] - 2} tokens",
            _SEQUENCES: f"{self.sampled.shape[1] - 2} sequences",
            _BATCH: f"{2 ** ((self.decode.shape[1] - 1) / PER_OCTAVE):g} sequences",
            _CONTEXT: f"{2 ** ((self.decode.shape[2] - 1) / PER_OCTAVE):g} tokens of context",
        }
        return SpecificationError(f"{where}a step is beyond the {most[fault]} compiled")


_COUNT, _LENGTH, _ORDER, _TOKENS, _SEQUENCES, _BATCH, _CONTEXT = range(1, 8)
_WORK = (
    *("decode_batch", "decode_context", "prefill_requests"),
    *("prefill_query_tokens", "prefill_context_tokens"),
)


def _numbers(name: str, value: ArrayLike) -> Floats:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise SpecificationError(f"{name}: {value!r}, expected numbers") from None


def _whole(name: str, value: ArrayLike) -> NDArray[np.int64]:
    found = np.ascontiguousarray(value)
    if found.size and found.dtype.kind not in "iu":
        raise SpecificationError(f"{name}: {value!r}, expected whole numbers")
    return found.astype(np.int64, copy=False)


def _pairs(value: ArrayLike) -> NDArray[np.int64]:
    found = _whole("prefills", value)
    if found.ndim != 2:
        found = found.reshape(-1, 2) if found.size % 2 == 0 else found
    if found.ndim != 2 or found.shape[1] != 2:
        raise SpecificationError(
            f"prefills: of shape {found.shape}, expected (query tokens, context tokens) a chunk"
        )
    return found


def compile_cost(
    cost: Costed, *, most_tokens: int, most_sequences: int, most_context: int
) -> CompiledStepCost:
    """Return the tables of a step cost; see `StepCost.compile`."""
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
        host_step_s=cost.spec.host_step_s,
        host_sequence_s=cost.spec.host_sequence_s * cost.parallel.data_parallel_attention,
        windowed=cost.model.sliding_layers > 0,
        cost=cost,
    )


def _points(most: int) -> Floats:
    """Return the grid up to the first point that is not below `most`."""
    count = int(np.ceil(np.log2(max(most, 2)) * PER_OCTAVE)) + 1
    return np.asarray(2.0 ** (np.arange(count) / PER_OCTAVE))


def _by_sampled(op: Operator) -> bool:
    return op.name in ("lm_head", "sampling")


def _by_decoding(op: Operator) -> bool:
    return op.kind == "attention_decode" or op.name == "attention.absorb"


def _by_chunk(op: Operator) -> bool:
    return op.kind == "attention_prefill" or op.name == "attention.kv_up"


def _by_tokens(op: Operator) -> bool:
    return not (_by_sampled(op) or _by_decoding(op) or _by_chunk(op))


def _planes(cost: Costed, batch: StepBatch, wanted: Any) -> Floats:
    sizes = (batch.tokens, batch.decode_context, batch.prefill_context_tokens)
    shape = np.broadcast_shapes(*(np.shape(size) for size in sizes))
    found = np.zeros((3, *shape))
    for op in cost.operators(batch):
        if wanted(op):
            for plane, value in enumerate(cost.time_and_work(op)):
                found[plane] += value
    return found
