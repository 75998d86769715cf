"""What one engine step computes: chunks of prompts and one token of each running sequence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from archwright.errors import SpecificationError

__all__ = ["StepBatch"]

_FIELDS = (
    *("decode_batch", "decode_context", "prefill_requests"),
    *("prefill_query_tokens", "prefill_context_tokens"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class StepBatch:
    """The composition of one step, or of many at once.

    Every field may be an array; they broadcast, and one element is one composition. Equal
    chunks and a mean context stand for what differs within a step; `of` takes the lists
    themselves and counts them exactly. Contexts count every token that is attended to, those
    of the step included.

    >>> StepBatch(decode_batch=[1, 64], decode_context=1000).tokens
    array([ 1, 64])
    >>> StepBatch.of(prefills=[(512, 512), (100, 900)], decodes=[10, 20, 30]).tokens
    615

    Attributes:
        decode_batch: sequences that get one token.
        decode_context: their mean context, tokens.
        prefill_requests: prompts, or chunks of them.
        prefill_query_tokens: tokens of each chunk.
        prefill_context_tokens: tokens up to the end of each chunk, its own included.
        prefills: (chunks, query tokens, context tokens) of each kind of chunk, from `of`.
        decodes: the contexts, from `of`.

    Raises:
        SpecificationError: a negative or missing number, a chunk longer than its context, or
            a sequence without context.
    """

    decode_batch: Any = 0
    decode_context: Any = 0
    prefill_requests: Any = 0
    prefill_query_tokens: Any = 0
    prefill_context_tokens: Any = 0
    prefills: tuple[tuple[Any, Any, Any], ...] = field(default=(), repr=False)
    decodes: tuple[int, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        for name in _FIELDS:
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        sequences, requests = self.decode_batch, self.prefill_requests
        query, context = self.prefill_query_tokens, self.prefill_context_tokens
        if _any((sequences > 0) & (self.decode_context < 1)):
            raise SpecificationError("decode_context: below 1, expected the new token at least")
        if _any((requests > 0) & ((query < 1) | (query > context))):
            raise SpecificationError(
                "prefill_query_tokens: expected 1 to prefill_context_tokens, which counts them too"
            )
        if not self.prefills and _any(requests > 0):
            object.__setattr__(self, "prefills", ((requests, query, context),))

    @classmethod
    def of(
        cls, *, prefills: Iterable[tuple[int, int]] = (), decodes: Iterable[int] = ()
    ) -> StepBatch:
        """Return the batch of listed chunks and contexts, counted exactly.

        Args:
            prefills: (query tokens, context tokens) of each chunk.
            decodes: context tokens of each sequence that gets one token.
        """
        chunks, contexts = list(prefills), list(decodes)
        for query, context in chunks:
            if not 1 <= query <= context:
                raise SpecificationError(
                    f"prefills: {query} query tokens of {context} context tokens, expected 1 to "
                    f"{context}"
                )
        if contexts and min(contexts) < 1:
            raise SpecificationError(f"decodes: {min(contexts)}, expected contexts from 1 up")
        kinds = Counter(chunks)
        return cls(
            decode_batch=len(contexts),
            decode_context=sum(contexts) / len(contexts) if contexts else 0,
            prefill_requests=len(chunks),
            prefill_query_tokens=sum(q for q, _ in chunks) / len(chunks) if chunks else 0,
            prefill_context_tokens=sum(c for _, c in chunks) / len(chunks) if chunks else 0,
            prefills=tuple((n, query, context) for (query, context), n in kinds.items()),
            decodes=tuple(contexts),
        )

    @property
    def prefill_tokens(self) -> Any:
        """Tokens of all chunks."""
        return sum(n * query for n, query, _ in self.prefills)

    @property
    def expanded_tokens(self) -> Any:
        """Tokens in the contexts of all chunks."""
        return sum(n * context for n, _, context in self.prefills)

    @property
    def tokens(self) -> Any:
        """Tokens that pass every layer."""
        return self.prefill_tokens + self.decode_batch

    @property
    def sampled(self) -> Any:
        """Tokens whose logits are computed: one of each chunk and sequence."""
        return self.prefill_requests + self.decode_batch

    def decode_pairs(self, window: int | None = None) -> Any:
        """Return the tokens seen by all decoded sequences, each at most a window of them."""
        if self.decodes:
            return sum(c if window is None else min(c, window) for c in self.decodes)
        return self.decode_batch * seen(self.decode_context, window)


def seen(context: Any, window: int | None) -> Any:
    """Return how many tokens of a context a token sees."""
    if window is None:
        return context
    return np.minimum(context, window) if isinstance(context, np.ndarray) else min(context, window)


def causal_pairs(query: Any, context: Any, window: int | None = None) -> Any:
    """Return the pairs of query and key in one chunk under a causal mask and a window.

    Args:
        query: tokens of the chunk.
        context: tokens up to its end, its own included.
        window: tokens that one token sees, its own included.
    """
    return _seen_up_to(context, window) - _seen_up_to(context - query, window)


def _seen_up_to(tokens: Any, window: int | None) -> Any:
    """Return the sum of what the first `tokens` tokens see."""
    inside = seen(tokens, window)
    whole = inside * (inside + 1)
    integer = isinstance(whole, int) or getattr(whole, "dtype", np.dtype(float)).kind == "i"
    whole = whole // 2 if integer else whole / 2
    return whole if window is None else whole + (tokens - inside) * window


def _any(condition: Any) -> bool:
    """Return whether it holds anywhere; NumPy is slow on single truths."""
    return condition if isinstance(condition, bool) else bool(np.any(condition))


def _number(name: str, value: ArrayLike) -> Any:
    """Return an int, a float or an array of int64 or float64; whole floats become ints."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise SpecificationError(f"{name}: {value!r}, expected numbers")
    if not np.all(np.isfinite(array) & (array >= 0)):
        bad = array[~(np.isfinite(array) & (array >= 0))].ravel()[0]
        raise SpecificationError(f"{name}: {bad}, expected finite numbers from 0 up")
    if array.dtype.kind == "f" and np.any(array != np.floor(array)):
        return array if array.ndim else float(array)
    whole = array.astype(np.int64)
    return whole if array.ndim else int(whole)
