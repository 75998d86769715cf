"""What is served: the mix of request sizes and how fast they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from archwright.errors import SpecificationError, TraceError, unknown
from archwright.hardware.tables import catalogue_toml
from archwright.serving.trace import Trace, read_trace

__all__ = ["Workload", "generate", "workload"]

Floats = NDArray[np.float64]

_INPUT_EDGES: Final = (25, 100, 250, 500, *(1000 * 2**k for k in range(8)))
_OUTPUT_EDGES: Final = (25, 100, 250, 500, 1000, 2000)
_WINDOW_S: Final = 300.0
"""The peak rate is that of the busiest five minutes."""
_BURSTS_S: Final = (1, 10, 60, 300)
"""Windows in which bursts are counted."""
_ARRIVAL_S: Final = 10
"""Window of the dispersion that queues feel: about as long as a request is served."""
_PREFIX: Final = "builtin:"


@dataclass(frozen=True, kw_only=True, eq=False)
class Workload:
    """Shares of requests by input and output length, with their rate.

    Attributes:
        shares: share of each bucket, shape (I, J), sum 1.
        input_edges: upper edges of the input buckets in tokens, ascending, shape (I,).
        output_edges: upper edges of the output buckets in tokens, ascending, shape (J,).
        mean_input: mean input tokens of a bucket; its middle where no request fell in it.
        mean_output: mean output tokens of a bucket; its middle where no request fell in it.
        output_cv2: squared coefficient of variation of output tokens within a bucket.
        mean_rate_per_s: requests/s over the whole trace.
        peak_rate_per_s: requests/s in the busiest five minutes.
        peaks_per_s: window in seconds to requests/s in the busiest such window; empty where only
            shares are known.
        dispersion: window in seconds to the index of dispersion of arrivals, variance over mean
            of their counts in such windows; 1 is Poisson.
        arrival_cv2: dispersion over ten seconds within the busiest five minutes, which is what
            waits depend on; 1 where it is not known.
        source: file or generator it comes from.
        notes: what a reader of a report should know.
    """

    shares: Floats
    input_edges: Floats
    output_edges: Floats
    mean_input: Floats
    mean_output: Floats
    output_cv2: Floats
    mean_rate_per_s: float
    peak_rate_per_s: float
    peaks_per_s: Mapping[int, float] = field(default_factory=dict)
    dispersion: Mapping[int, float] = field(default_factory=dict)
    arrival_cv2: float = 1.0
    source: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("input_edges", "output_edges"):
            edges = getattr(self, name)
            if edges.ndim != 1 or not len(edges):
                raise SpecificationError(f"{name}: shape {edges.shape}, expected a list")
            if not (np.isfinite(edges).all() and edges[0] > 0 and (np.diff(edges) > 0).all()):
                raise SpecificationError(
                    f"{name}: {edges.tolist()}, expected ascending positive numbers"
                )
        shape = (len(self.input_edges), len(self.output_edges))
        for name in ("shares", "mean_input", "mean_output", "output_cv2"):
            values = getattr(self, name)
            if values.shape != shape:
                raise SpecificationError(f"{name}: shape {values.shape}, expected {shape}")
            wrong = ~(np.isfinite(values) & (values >= 0))
            if wrong.any():
                i, j = (int(axis[0]) for axis in np.nonzero(wrong))
                raise SpecificationError(
                    f"{name}[{i}, {j}]: {values[i, j]}, expected a finite number from 0 up"
                )
        total = float(self.shares.sum())
        if abs(total - 1.0) > 1e-6:
            raise SpecificationError(f"shares: the sum is {total:.6g}, expected 1")
        for name in ("mean_rate_per_s", "peak_rate_per_s"):
            rate = getattr(self, name)
            if not (np.isfinite(rate) and rate > 0):
                raise SpecificationError(f"{name}: {rate}, expected a positive number")
        if not (np.isfinite(self.arrival_cv2) and self.arrival_cv2 >= 0):
            raise SpecificationError(
                f"arrival_cv2: {self.arrival_cv2}, expected a number of at least 0"
            )

    @property
    def tokens_per_request(self) -> float:
        """Mean tokens of a request, input and output."""
        return float((self.shares * (self.mean_input + self.mean_output)).sum())

    def longer(self, factor: float) -> Workload:
        """Return the same workload with every request longer by a factor."""
        names = ("input_edges", "output_edges", "mean_input", "mean_output")
        return replace(self, **{name: getattr(self, name) * factor for name in names})

    def bucket_name(self, i: int, j: int) -> str:
        """Return a bucket in words: ``1,000–2,000 in, 100–250 out``."""
        sides = []
        for edges, at, side in ((self.input_edges, i, "in"), (self.output_edges, j, "out")):
            below = edges[at - 1] if at else 0
            sides.append(f"{below:,.0f}–{edges[at]:,.0f} {side}")
        return ", ".join(sides)

    @classmethod
    def from_trace(
        cls,
        trace: Trace | str | Path,
        *,
        input_edges: Sequence[float] | None = None,
        output_edges: Sequence[float] | None = None,
        time_unit: str | None = None,
    ) -> Workload:
        """Sort the requests of a trace into buckets.

        >>> chat = Workload.from_trace(generate("chat", 2000, seed=1), output_edges=[200, 2000])
        >>> chat.shares.shape[1], round(float(chat.shares.sum()), 9)
        (2, 1.0)

        Args:
            trace: a trace, or the path of one (see `read_trace` for the layouts).
            input_edges: upper edges of the input buckets; a size on an edge belongs below.
                By default 25 to 128,000 tokens, cut or doubled on to cover the trace.
            output_edges: the same for output.
            time_unit: unit of the times in a file.

        Raises:
            TraceError: a broken trace, or one whose requests all come at one instant.
            SpecificationError: edges that do not cover the trace.
        """
        if not isinstance(trace, Trace):
            trace = read_trace(trace, time_unit=time_unit)
        elif time_unit is not None:
            raise SpecificationError("time_unit belongs to a file, not to a Trace")
        notes = list(trace.notes)
        mean_rate, peak_rate = _rates(trace, notes)
        edges_in = _edges("input", trace.input_tokens, input_edges, _INPUT_EDGES)
        edges_out = _edges("output", trace.output_tokens, output_edges, _OUTPUT_EDGES)
        shape = (len(edges_in), len(edges_out))
        cell = np.searchsorted(edges_in, trace.input_tokens, side="left") * shape[1]
        cell = cell + np.searchsorted(edges_out, trace.output_tokens, side="left")
        outputs = trace.output_tokens.astype(np.float64)

        def total(weights: ArrayLike | None = None) -> Floats:
            size = shape[0] * shape[1]
            return np.bincount(cell, weights, size).astype(np.float64).reshape(shape)

        count = total()
        used = count > 0
        divisor = np.where(used, count, 1.0)
        middle_in = np.broadcast_to(_middles(edges_in)[:, None], shape)
        middle_out = np.broadcast_to(_middles(edges_out)[None, :], shape)
        mean_in = np.where(used, total(trace.input_tokens) / divisor, middle_in)
        mean_out = np.where(used, total(outputs) / divisor, middle_out)
        spread = np.where(used, total(outputs**2) / divisor - mean_out**2, 0.0)
        safe = np.where(mean_out > 0, mean_out, 1.0)
        return cls(
            shares=count / len(trace),
            input_edges=edges_in,
            output_edges=edges_out,
            mean_input=mean_in,
            mean_output=mean_out,
            output_cv2=np.maximum(spread, 0.0) / safe**2,
            mean_rate_per_s=mean_rate,
            peak_rate_per_s=peak_rate,
            peaks_per_s=_peaks(trace.time_s),
            dispersion=_dispersions(trace.time_s),
            arrival_cv2=_arrival_cv2(trace.time_s),
            source=trace.source,
            notes=tuple(notes),
        )

    @classmethod
    def from_shares(
        cls,
        shares: ArrayLike,
        *,
        input_edges: ArrayLike,
        output_edges: ArrayLike,
        mean_rate_per_s: float,
        peak_rate_per_s: float | None = None,
        mean_input: ArrayLike | None = None,
        mean_output: ArrayLike | None = None,
        output_cv2: ArrayLike | None = None,
        arrival_cv2: float = 1.0,
        source: str = "given shares",
    ) -> Workload:
        """Build a workload from a plain matrix of shares.

        >>> w = Workload.from_shares(
        ...     [[0.5], [0.5]], input_edges=[100, 1000], output_edges=[200], mean_rate_per_s=2.0
        ... )
        >>> w.mean_input.ravel().tolist(), w.peak_rate_per_s
        ([50.0, 550.0], 2.0)

        Args:
            shares: shape (I, J), sum 1.
            input_edges: upper edges in tokens, shape (I,).
            output_edges: upper edges in tokens, shape (J,).
            mean_rate_per_s: requests/s.
            peak_rate_per_s: requests/s in the busiest five minutes; by default the mean.
            mean_input: mean input tokens a bucket, by default its middle.
            mean_output: mean output tokens a bucket, by default its middle.
            output_cv2: squared coefficient of variation of the output, by default 0.
            arrival_cv2: index of dispersion of arrivals, by default 1, Poisson.
            source: a name for reports.

        Raises:
            SpecificationError: naming the value that cannot be used.
        """
        matrix = np.array(shares, dtype=np.float64)
        if matrix.ndim != 2:
            raise SpecificationError(f"shares: shape {matrix.shape}, expected a matrix (I, J)")
        edges_in = np.array(input_edges, dtype=np.float64).reshape(-1)
        edges_out = np.array(output_edges, dtype=np.float64).reshape(-1)
        shape = (edges_in.size, edges_out.size)

        def or_default(values: ArrayLike | None, default: Floats) -> Floats:
            if values is None:
                return np.broadcast_to(default, shape)
            return np.array(values, dtype=np.float64)

        return cls(
            shares=matrix,
            input_edges=edges_in,
            output_edges=edges_out,
            mean_input=or_default(mean_input, _middles(edges_in)[:, None]),
            mean_output=or_default(mean_output, _middles(edges_out)[None, :]),
            output_cv2=or_default(output_cv2, np.zeros((1, 1))),
            mean_rate_per_s=mean_rate_per_s,
            peak_rate_per_s=mean_rate_per_s if peak_rate_per_s is None else peak_rate_per_s,
            arrival_cv2=arrival_cv2,
            source=source,
        )


def _middles(edges: Floats) -> Floats:
    return (np.concatenate([[0.0], edges[:-1]]) + edges) / 2.0


def _rates(trace: Trace, notes: list[str]) -> tuple[float, float]:
    """Return the mean rate and that of the busiest five minutes."""
    if len(trace) < 2 or trace.duration_s <= 0:
        raise TraceError(
            f"{trace.source}: {len(trace)} requests in {trace.duration_s:g} s, "
            "expected at least two at different times, else there is no rate"
        )
    mean = (len(trace) - 1) / trace.duration_s
    if trace.duration_s < _WINDOW_S:
        notes.append(
            f"the trace lasts {trace.duration_s:.0f} s, under five minutes: peak = mean rate"
        )
        return mean, mean
    last = np.searchsorted(trace.time_s, trace.time_s + _WINDOW_S, side="left")
    busiest = int(np.max(last - np.arange(len(trace))))
    # A window that starts at a request holds one more than its rate; never below the mean.
    return mean, max(busiest / _WINDOW_S, mean)


def _peaks(time_s: Floats) -> dict[int, float]:
    """Return the requests/s of the busiest window of each length that the trace holds."""
    found = {}
    for window in _BURSTS_S:
        if window <= time_s[-1] - time_s[0]:
            last = np.searchsorted(time_s, time_s + window, side="left")
            found[window] = float(np.max(last - np.arange(len(time_s)))) / window
    return found


def _dispersions(time_s: Floats) -> dict[int, float]:
    """Return the index of dispersion over windows that the trace holds at least ten of."""
    long = float(time_s[-1] - time_s[0])
    return {w: _dispersion(time_s, w) for w in _BURSTS_S if long >= 10 * w}


def _dispersion(time_s: Floats, window: int) -> float:
    """Return variance over mean of the counts in whole windows from the first arrival on."""
    windows = int((time_s[-1] - time_s[0]) // window)
    place = ((time_s - time_s[0]) // window).astype(np.int64)
    counts = np.bincount(place[place < windows], minlength=windows)
    return float(counts.var(ddof=1) / counts.mean())


def _arrival_cv2(time_s: Floats) -> float:
    """Return the dispersion within the busiest five minutes; 1 where the trace is too short."""
    if time_s[-1] - time_s[0] < 10 * _ARRIVAL_S:
        return 1.0
    last = np.searchsorted(time_s, time_s + _WINDOW_S, side="left")
    first = int(np.argmax(last - np.arange(len(time_s))))
    return _dispersion(time_s[first : last[first]], _ARRIVAL_S)


def _edges(
    kind: str,
    tokens: NDArray[np.int64],
    given: Sequence[float] | None,
    default: Sequence[float],
) -> Floats:
    largest = int(tokens.max())
    if given is not None:
        edges = np.array(given, dtype=np.float64)
        if edges.ndim == 1 and len(edges) and largest > edges[-1]:
            raise SpecificationError(
                f"{kind}_edges: the last edge is {edges[-1]:g}, but the trace has a request of "
                f"{largest} {kind} tokens"
            )
        if not (edges.ndim == 1 and len(edges) and edges[0] > 0 and (np.diff(edges) > 0).all()):
            raise SpecificationError(
                f"{kind}_edges: {edges.tolist()}, expected ascending positive numbers"
            )
        return edges
    grown = list(default)
    while grown[-1] < largest:
        grown.append(2 * grown[-1])
    enough = int(np.searchsorted(grown, largest, side="left"))
    return np.array(grown[: enough + 1], dtype=np.float64)


@cache
def _generators() -> Mapping[str, Mapping[str, Any]]:
    return catalogue_toml("archwright.serving", "workloads.toml")


def _generator(name: str) -> tuple[str, Mapping[str, Any]]:
    short = name.removeprefix(_PREFIX)
    if short not in _generators():
        choices = [f"{_PREFIX}{known}" for known in _generators()]
        raise SpecificationError(unknown("workload", name, choices))
    return short, _generators()[short]


def generate(name: str, n: int, seed: int) -> Trace:
    """Generate requests like those of a public trace.

    Lengths follow the trace's quantiles, joined by a table of its ranks. Arrivals are a Gamma
    renewal process on the trace's own clock: its rate by ten seconds, repeated each hour.

    >>> trace = generate("chat", 1000, seed=7)
    >>> len(trace), bool(trace.input_tokens.min() >= 1)
    (1000, True)

    Args:
        name: ``chat`` or ``code`` (Azure's conversation and code traces), or ``long``
            (Mooncake's conversations), with or without ``builtin:``.
        n: number of requests, at least 1.
        seed: seed of the generator; the same seed gives the same trace.

    Raises:
        SpecificationError: an unknown name, or n below 1.
    """
    short, fit = _generator(name)
    if n < 1:
        raise SpecificationError(f"n: {n}, expected at least 1 request")
    rng = np.random.default_rng(seed)
    counts = np.array(fit["copula"], dtype=np.float64)
    cell = rng.choice(counts.size, size=n, p=counts.ravel() / counts.sum())
    rank_in, rank_out = (
        (axis + rng.random(n)) / len(counts) for axis in divmod(cell, len(counts))
    )
    return Trace(
        time_s=_arrivals(fit, n, rng),
        input_tokens=_lengths(fit, "input_quantiles", rank_in),
        output_tokens=_lengths(fit, "output_quantiles", rank_out),
        source=f"{_PREFIX}{short}",
        notes=(f"generated, fitted to {fit['source']}",),
    )


def _lengths(fit: Mapping[str, Any], key: str, rank: Floats) -> NDArray[np.int64]:
    knots = np.log(np.array(fit[key], dtype=np.float64))
    levels = np.array(fit["levels"], dtype=np.float64)
    return np.rint(np.exp(np.interp(rank, levels, knots))).astype(np.int64)


def _arrivals(fit: Mapping[str, Any], n: int, rng: np.random.Generator) -> Floats:
    shape = fit["gap_shape"]
    clock = np.cumsum(rng.gamma(shape, 1.0 / shape, n))
    clock *= n / clock[-1]  # n requests take the time expected of n: the mean rate is kept
    profile = np.array(fit["rate_profile"], dtype=np.float64)
    period_s, rate = fit["period_s"], fit["mean_rate_per_s"]
    expected = np.concatenate([[0.0], np.cumsum(profile / profile.sum())]) * period_s * rate
    ticks = np.linspace(0.0, period_s, len(profile) + 1)
    hours, rest = np.divmod(clock, expected[-1])
    time = hours * period_s + np.interp(rest, expected, ticks)
    return np.asarray(time - time[0])


@cache
def _builtin(short: str) -> Workload:
    fit = _generators()[short]
    # Whole periods, so that the mean rate is that of the trace; about 20,000 requests.
    period = fit["mean_rate_per_s"] * fit["period_s"]
    requests = round(period * max(1, round(20_000 / period)))
    return Workload.from_trace(generate(short, requests, seed=0))


def workload(
    name: str | Path, *, folder: str | Path = ".", time_unit: str | None = None
) -> Workload:
    """Return a built-in workload by name, or that of a trace by path.

    >>> round(workload("builtin:code").mean_rate_per_s, 1)
    2.6

    Args:
        name: ``builtin:chat``, ``builtin:code``, ``builtin:long``, or the path of a trace.
        folder: the folder that a relative path starts from.
        time_unit: unit of the times in a trace file.

    Raises:
        SpecificationError: no such built-in workload or file.
        TraceError: a broken trace.
    """
    if isinstance(name, str) and name.startswith(_PREFIX):
        return _builtin(_generator(name)[0])
    path = Path(folder) / name
    if not path.exists():
        names = [f"{_PREFIX}{known}" for known in _generators()]
        if path.parent.is_dir():
            names += sorted(
                entry.name for entry in path.parent.iterdir() if entry.suffix in (".csv", ".jsonl")
            )
        raise SpecificationError(f"{unknown('workload', str(name), names)}; no file {path}")
    return Workload.from_trace(path, time_unit=time_unit)
