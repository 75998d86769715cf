"""Requests that arrive at random: time per token, and time to first token with its queues.

A prompt waits for a slot, then for the prompts before it, then for the end of the running step.

*Slots.* Sequences in an engine are a processor-sharing queue: with k of them it ends r(k) requests
a second, by `Batching`, so that P(k) ~ rate^k / r(1)…r(k). Prompts stop the others meanwhile,
which widens it: the requests of a window of decoding are those of a busy period that starts with
that work, of variance 1 / (1 - u)^2 over their mean, with u the share of time for prompts; half of
it where output lengths are exponential. Beyond the last slot the wait is that of M/G/c (Kimura's
and Cosmetatos's corrections).

*Prompts.* The budget takes g = (budget - n) / input of them a step, one after the other where it
is less than two: M/D/1 with the service time of a full step over g, of whose queue the first g - 1
join the next step. What falls on one step spreads its length as arrivals between gates do.

*Time per token.* A request sees more sequences than there are on average, and at first the
prompts that queued behind its own, which matters where outputs are short.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.llm.continuous import Batching

__all__ = ["Arrivals", "Crowd", "Running", "arrivals", "running"]

Floats = npt.NDArray[np.float64]
Curve = Callable[[Any], Any]

_P99 = 0.01
_Z99 = 2.326
_MOST = 0.995  # loads beyond are as good as full, and what grows without limit there is cut
_SATURATION = 1.1  # how soon all steps of a short output are full; measured with the plain engine


@dataclass(frozen=True, kw_only=True, eq=False)
class Crowd:
    """How fast an instance ends requests with so many in it; the first axis is the number.

    Attributes:
        points: whole numbers from 1 up, shape (K,).
        rates: requests/s with as many, shape (K, …).
    """

    points: Floats
    rates: Floats

    def __post_init__(self) -> None:
        k, logs = self.points, np.log(self.rates)
        steps = np.diff(k).reshape(-1, *([1] * (logs.ndim - 1)))
        # the sum of the logs of all whole numbers up to each point, between points linear
        between = steps * (logs[1:] + logs[:-1]) / 2 + (logs[1:] - logs[:-1]) / 2
        total = np.concatenate([logs[:1], logs[:1] + np.cumsum(between, axis=0)])
        object.__setattr__(self, "_sums", total)
        middles = np.concatenate([[0.5], (k[1:] + k[:-1]) / 2, [np.inf]])
        object.__setattr__(self, "_edges", middles)

    def waiting(self, rate: Any, slots: Any, top: Any, spread: Any) -> Any:
        """Return the share of arrivals that find all slots taken.

        Args:
            rate: arrivals/s.
            slots: slots, from 1 up, not beyond the last point.
            top: requests/s with all slots in use.
            spread: variance over that of processor sharing.
        """
        sums: Floats = self._sums  # type: ignore[attr-defined]
        edges: Floats = self._edges  # type: ignore[attr-defined]
        shape = (-1, *([1] * (sums.ndim - 1)))
        k = self.points.reshape(shape)
        log_rate = np.log(np.maximum(rate, 1e-300))
        logs = (k * log_rate - sums) / spread
        width = np.minimum(edges[1:].reshape(shape), slots - 0.5) - edges[:-1].reshape(shape)
        width = np.maximum(width, 0.0)
        last = self._sum_at(sums, slots)
        full = (slots * log_rate - last) / spread
        most = np.maximum(np.maximum(logs.max(axis=0), full), 0.0)
        below = (np.exp(logs - most) * width).sum(axis=0) + np.exp(-most)
        spare = np.maximum(1.0 - rate / top, 1.0 - _MOST)
        above = np.exp(full - most) / spare
        return np.where(rate < top, above / (above + below), 1.0)

    def _sum_at(self, sums: Floats, slots: Any) -> Any:
        at = np.clip(np.searchsorted(self.points, slots, side="right") - 1, 0, len(sums) - 1)
        up = np.minimum(at + 1, len(sums) - 1)
        gap = np.where(up > at, self.points[up] - self.points[at], 1.0)
        part = np.clip((slots - self.points[at]) / gap, 0.0, 1.0)
        shape = np.broadcast_shapes(np.shape(at), sums.shape[1:])
        low, high = (
            np.take_along_axis(
                np.broadcast_to(sums, (len(sums), *shape)), np.broadcast_to(i, shape)[None], 0
            )[0]
            for i in (at, up)
        )
        return low + part * (high - low)


@dataclass(frozen=True, kw_only=True, eq=False)
class Arrivals:
    """An instance on which requests arrive at random; arrays of one shape.

    The wait for the first token is beyond t, past `fixed_s`, with probability
    ``wait_share * exp(-t / wait_scale_s)``.

    Attributes:
        rate: requests/s.
        tpot_s: mean time per output token.
        step_s: mean step.
        sequences: mean sequences that decode as a request sees them.
        fixed_s: time to first token without a queue, P99: the end of the running step, and the
            own step with all who join it.
        ttft_mean_s: mean time to first token.
        wait_share: see above.
        wait_scale_s: see above.
        slots_used: share of the slots in use.
        prompts_used: share of what the engine can prefill beside its sequences.
    """

    rate: Any
    tpot_s: Any
    step_s: Any
    sequences: Any
    fixed_s: Any
    ttft_mean_s: Any
    wait_share: Any
    wait_scale_s: Any
    slots_used: Any
    prompts_used: Any

    def ttft_s(self, quantile: float = 1.0 - _P99) -> Any:
        """Return a quantile of the time to first token; inf where the queue only grows."""
        with np.errstate(divide="ignore", invalid="ignore"):
            wait = self.wait_scale_s * np.log(self.wait_share / (1.0 - quantile))
        wait = np.where(self.wait_share > 1.0 - quantile, wait, 0.0)
        full = (self.slots_used >= _MOST) | (self.prompts_used >= 1.0)
        return np.where(full, np.inf, self.fixed_s + wait)


@dataclass(frozen=True, kw_only=True, eq=False)
class Running:
    """The steps of an instance on which requests arrive at random.

    Attributes:
        joining: prompts a step.
        seen: sequences that decode as one of them sees it.
        step_s: a step without prompts.
        added_s: what prompts add to the mean step.
        prompt_s: what a prompt adds to a step without.
        prompts_busy: share of time for prompts.
    """

    joining: Any
    seen: Any
    step_s: Any
    added_s: Any
    prompt_s: Any
    prompts_busy: Any

    @property
    def rate(self) -> Any:
        """Requests/s."""
        return self.joining / (self.step_s + self.added_s)


def running(
    work: Batching, held: Any, *, decode_s: Curve, joined_s: Curve, further_s: Any
) -> Running:
    """Return the steps with so many slots in use on average; arguments as for `arrivals`."""
    slots = np.maximum(work.slots, 1.0)
    rest = np.maximum(work.outputs - 1.0, 0.0)
    joining = work.joining(held)
    part = rest / (rest + work.chunks)
    free = 1.0 - np.minimum(held / slots, 1.0)
    seen = np.maximum((held * (1.0 - 1.0 / slots) + 1.0) * part, 1.0)
    first = decode_s(np.ones_like(seen))
    most = np.minimum(slots, np.maximum(work.joining(np.inf) * rest, 1.0))
    busy: Any = 0.0
    for last in (False, False, True):
        step = decode_s(seen)
        own = np.maximum(joined_s(seen) - step, 0.0)  # kernels may suit one more token better
        added = work.added_s(joining, own, further_s)
        busy = np.minimum(added / (step + added), 0.95)
        if last:
            break
        slope = np.clip(1.0 - first / step, 0.0, 0.8)  # elasticity of a step in the sequences
        beyond = 0.5 * (1.0 / (1.0 - busy) ** 2 + 1.0) / (1.0 - slope)
        seen = np.clip((held + beyond * free) * part, 1.0, most)
    return Running(
        joining=joining,
        seen=seen,
        step_s=step,
        added_s=added,
        prompt_s=own * work.chunks,
        prompts_busy=busy,
    )


def arrivals(
    work: Batching,
    held: Any,
    *,
    decode_s: Curve,
    joined_s: Curve,
    further_s: Any,
    crowd: Crowd,
    top: Any,
    cv2: Any = 0.0,
    front_end_s: float = 0.0,
    edge_s: Any = 0.0,
) -> Arrivals:
    """Return how an instance does with so many slots in use on average.

    Args:
        work: lengths, budget and slots.
        held: mean slots in use, below `work.slots`.
        decode_s: sequences, from 1 up, to seconds of a step without prompts.
        joined_s: sequences, from 0 up, to seconds of a step that one prompt, or a full chunk of
            it, has joined.
        further_s: seconds that each further prompt adds.
        crowd: requests/s with so many in the instance.
        top: requests/s with all slots in use.
        cv2: squared coefficient of variation of output lengths.
        front_end_s: seconds of the engine's front end a request.
        edge_s: what the prompt asked about takes longer than the mean one.
    """
    slots = np.maximum(work.slots, 1.0)
    chunks, rest = work.chunks, np.maximum(work.outputs - 1.0, 0.0)
    load = running(work, held, decode_s=decode_s, joined_s=joined_s, further_s=further_s)
    joining, seen, step, added = load.joining, load.seen, load.step_s, load.added_s
    rate, mean, busy, prompt_s = load.rate, step + added, load.prompts_busy, load.prompt_s
    part, some = rest / (rest + chunks), np.minimum(cv2, 1.0)
    # prompts
    room = np.maximum(work.budget - seen, 1.0)
    ahead = np.maximum(room / work.inputs, 1.0)  # prompts that a step takes
    full = np.where(
        chunks > 1, step + prompt_s / chunks, step + prompt_s + (ahead - 1) * further_s
    )
    serve = np.maximum(work.inputs / room, 1.0 / ahead) * full
    prompts = rate * serve
    used = np.clip(prompts, 1e-3, _MOST)
    decay = _decay(used)
    queue_scale = serve / decay
    queue_share = (1 - used) / (used * np.exp(decay) - 1) * np.exp(-decay * (ahead - 1))
    # the running step and the own, lengthened by who joins them
    several = 1.0 - 1.0 / ahead
    each = added / np.maximum(joining, 1e-12)
    share = np.minimum(rate * each, _MOST)
    length = step + several * added
    variance = each**2 * np.minimum(rate * length / (1 - share**2), ((ahead - 1) / 2) ** 2)
    biased = length + variance / length
    never_idle = -np.expm1(-held)
    left = never_idle * biased / 2
    left_variance = never_idle * (variance + biased**2) / 3 - left**2
    with_it = np.minimum(rate * biased * several, ahead - 1)
    joined_variance = further_s**2 * (with_it + rate**2 * variance * several)
    extra = left + with_it * further_s
    spread = left_variance + joined_variance + further_s * rate * variance * several
    beside = held * part
    own = (
        np.where(chunks > 1, np.ceil(work.inputs / room) * (prompt_s / chunks), prompt_s)
        + np.where(chunks > 1, np.ceil(work.inputs / room), 1.0) * step
    )
    idle = joined_s(np.zeros_like(own)) * np.maximum(chunks, 1.0)
    alone = np.minimum(beside, 1.0)
    own = alone * own + (1.0 - alone) * idle
    fixed = own + _gamma_p99(extra, spread) + edge_s + front_end_s
    # slots
    wide = np.maximum(1.0 / (1.0 - busy) ** 2 * (1.0 - some / 2) + some / 2, 1.0) * (1.0 - busy)
    slot_share = crowd.waiting(rate, slots, top, np.maximum(wide, 1.0))
    slot_scale = _slot_scale(np.minimum(rate / top, _MOST), slots, top, cv2)
    share, scale = _together(slot_share, slot_scale, queue_share, queue_scale)
    waited = slot_share * slot_scale + queue_share * queue_scale
    # what queued behind the own prompt joins the first steps of its output
    behind = rate * (own + extra - several**2 * left + queue_share * queue_scale)
    late = np.maximum(behind - rate * mean, 0.0)
    cost_each = np.where(ahead < 2, prompt_s, each)
    late = late * cost_each / (1.0 - np.minimum(rate * cost_each, _MOST)) / np.maximum(rest, 1.0)
    gap = np.maximum(full - mean, 1e-12)
    late = late / (1.0 + (late / gap) ** _SATURATION) ** (1.0 / _SATURATION)
    return Arrivals(
        rate=rate,
        tpot_s=mean + late,
        step_s=mean,
        sequences=seen,
        fixed_s=fixed,
        ttft_mean_s=own + extra + waited + front_end_s,
        wait_share=share,
        wait_scale_s=scale,
        slots_used=held / slots,
        prompts_used=prompts,
    )


@cache
def _decay_table() -> tuple[Floats, Floats]:
    """Decay of the wait in M/D/1 in service times: u of ``load (e^u - 1) = u``, over 1 - load."""
    load = np.linspace(1e-3, _MOST, 400)
    low, high = np.zeros_like(load), np.full_like(load, 60.0)
    for _ in range(70):
        middle = (low + high) / 2
        below = load * np.expm1(middle) < middle
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return load, low / (1 - load)


def _decay(load: Any) -> Any:
    return np.interp(load, *_decay_table()) * (1.0 - load)


def _slot_scale(load: Any, slots: Any, top: Any, cv2: Any) -> Any:
    """Return the mean wait for a slot of those who wait: M/G/c."""
    load = np.maximum(load, 1e-3)
    exponential = 1.0 / (top * (1.0 - load))
    correction = (1 - load) * (slots - 1) * (np.sqrt(4 + 5 * slots) - 2) / (16 * load * slots)
    fixed = exponential / 2 * (1.0 + np.minimum(correction, 1.0))
    return fixed + cv2 * (exponential - fixed)


def _gamma_p99(mean: Any, variance: Any) -> Any:
    """Return the P99 of a gamma distribution (Wilson and Hilferty)."""
    ninth = variance / np.maximum(9.0 * mean**2, 1e-30)
    return mean * np.maximum(1.0 - ninth + _Z99 * np.sqrt(ninth), 0.0) ** 3


def _together(share: Any, scale: Any, other_share: Any, other_scale: Any) -> tuple[Any, Any]:
    """Return one exponential tail with the P99, and the slope there, of the sum of two."""
    wait = np.zeros_like(share)
    for _ in range(8):  # Newton from the left of a convex function
        one, two = share * np.exp(-wait / scale), other_share * np.exp(-wait / other_scale)
        slope = one / scale + two / other_scale
        wait = np.maximum(wait + (one + two - _P99) / np.maximum(slope, 1e-300), 0.0)
    one, two = share * np.exp(-wait / scale), other_share * np.exp(-wait / other_scale)
    mixed = (one + two) / np.maximum(one / scale + two / other_scale, 1e-300)
    mixed = np.maximum(mixed, 1e-12)
    least = share + other_share <= _P99
    total = np.where(least, share + other_share, _P99 * np.exp(np.minimum(wait / mixed, 500.0)))
    return total, mixed
