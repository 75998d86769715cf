"""Instances at work: steps, rates and latency at so many decoding sequences."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from archwright.serving.latency import Latency
from archwright.serving.queueing import wait
from archwright.serving.steps import HIGH, JOULES, LOW, SECONDS, Steps
from archwright.serving.workload import Workload

__all__ = ["NINETY", "Instances"]

Floats = npt.NDArray[np.float64]

NINETY = 1.6448536269514722
"""Standard deviations from the middle of a normal law to the ends of its 90 % interval."""


class Instances:
    """Instances (T) at n decoding sequences, for every bucket (B = I·J) at once, shapes (T, B).

    Args:
        steps: what steps cost, of each instance.
        slots: batch slots, shape (T, B).
        workload: the buckets.
        error: standard deviations by which step times are off, along their interval.
    """

    def __init__(
        self, steps: Sequence[Steps], slots: Floats, workload: Workload, *, error: float = 0.0
    ) -> None:
        columns = workload.shares.shape[1]

        def gather(name: str) -> Floats:
            return np.stack([_seconds(getattr(each, name), error) for each in steps])

        self.points = steps[0].sequences
        self._workload = workload
        self.slots = np.maximum(slots, 1.0)
        self.output = np.maximum(workload.mean_output, 1.0).ravel()
        self.prefill = gather("prefill")
        self._steps = steps
        self._longest = np.maximum(np.tile(workload.output_edges, workload.shares.shape[0]), 1.0)
        self._cv2, self._arrival_cv2 = workload.output_cv2.ravel(), workload.arrival_cv2
        self._decode = gather("decode")
        self._edge_decode = np.repeat(gather("edge_decode"), columns, axis=2)
        self._edge_prefill = np.repeat(gather("edge_prefill"), columns, axis=1)

    def step(self, n: Floats) -> Floats:
        """Return a decode step with n sequences; fewer than one on average run alone."""
        return self._between(self._decode, *self._place(n))

    def tpot(self, n: Floats) -> Floats:
        """Return the mean time per output token, prefills in between included."""
        return self.step(n) + n * self.prefill / self.output

    def rate(self, n: Floats) -> Floats:
        """Return requests/s at n decoding sequences."""
        return n / (self.output * self.tpot(n))

    @cached_property
    def _tpots(self) -> Floats:
        """TPOT at each point of the tables, shape (T, K, B)."""
        each = self.prefill[:, None, :] / self.output
        return np.asarray(self._decode + self.points[:, None] * each)

    def most_at(self, tpot_s: float) -> Floats:
        """Return the most sequences up to which TPOT is within a limit, shape (T, B).

        Fewer than one on average run alone. Between points TPOT is linear.
        """
        slow = self._tpots > tpot_s
        first = np.where(slow.any(axis=1), slow.argmax(axis=1), len(self.points))
        at = np.clip(first - 1, 0, len(self.points) - 2)
        here, above = self._pick(self._tpots, at), self._pick(self._tpots, at + 1)
        low, high = self.points[at], self.points[at + 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            inside = low + (tpot_s - here) / (above - here) * (high - low)
            alone = (tpot_s - self._decode[:, 0]) / (self.prefill / self.output)
        found = np.where(first == 0, np.clip(alone, 0.0, 1.0), inside)
        return np.where(first == len(self.points), self.points[-1], found)

    def most_within(self, utilization: float) -> Floats:
        """Return the most sequences that keep a share of the slots busy, shape (T, B).

        They decode or are in prefill: n + rate(n) · prefill ≤ utilization · slots. Between points
        TPOT is linear in n, so this is a quadratic equation.
        """
        room = utilization * self.slots
        taken = self.points[:, None] + self.carried * self.prefill[:, None, :]
        full = taken > room[:, None, :]
        first = np.where(full.any(axis=1), full.argmax(axis=1), len(self.points))
        at = np.clip(first - 1, 0, len(self.points) - 2)
        here, above = self._pick(self._tpots, at), self._pick(self._tpots, at + 1)
        low, high = self.points[at], self.points[at + 1]
        slope = (above - here) / (high - low)
        base = here - slope * low  # TPOT = base + slope n
        few = first == 0  # alone: a step of one sequence, and prompts in between
        slope = np.where(few, self.prefill / self.output, slope)
        base = np.where(few, self._decode[:, 0], base)
        wait = self.prefill / self.output
        half = (base + wait - room * slope) / 2  # slope n² + 2 half n = room base
        with np.errstate(divide="ignore", invalid="ignore"):
            root = np.sqrt(np.maximum(half**2 + slope * room * base, 0.0))
            # the form without cancellation
            found = np.where(half >= 0, room * base / (half + root), (root - half) / slope)
        found = np.clip(found, np.where(few, 0.0, low), np.where(few, 1.0, high))
        return np.where(first == len(self.points), self.points[-1], found)

    def only(self, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]) -> Instances:
        """Return some pairs (instance, bucket), each as an instance of a single bucket."""
        found: Instances = object.__new__(Instances)
        found.points, found._steps, found._workload = self.points, self._steps, self._workload
        found.slots = self.slots[rows, columns][:, None]
        found.output = self.output[columns][:, None]
        found.prefill = self.prefill[rows, columns][:, None]
        found._longest = self._longest[columns][:, None]
        found._cv2, found._arrival_cv2 = self._cv2[columns][:, None], self._arrival_cv2
        found._decode = self._decode[rows, :, columns][:, :, None]
        found._edge_decode = self._edge_decode[rows, :, columns][:, :, None]
        found._edge_prefill = self._edge_prefill[rows, columns][:, None]
        return found

    def _pick(self, table: Floats, at: npt.NDArray[np.intp]) -> Floats:
        """Return a table (T, K, B) at points (T, B)."""
        return np.asarray(np.take_along_axis(table, at[:, None, :], axis=1)[:, 0])

    def decode_s(self, n: Floats) -> Floats:
        """Return seconds of decode steps a request; steps are shared by those that run."""
        return self.output * self.step(n) / np.maximum(n, 1.0)

    def joules(self, n: Floats) -> Floats:
        """Return joules a request takes, prefill and its share of the decode steps."""
        decode = np.stack([each.decode[JOULES] for each in self._steps])
        prefill = np.stack([each.prefill[JOULES] for each in self._steps])
        steps = self._between(decode, *self._place(n)) / np.maximum(n, 1.0)
        return np.asarray(self.output * steps + prefill)

    def latency(
        self,
        n: Floats,
        rate: Floats,
        *,
        of_all: float | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> Latency:
        """Return the latency of requests at n sequences and the rate that makes them.

        Args:
            n: decoding sequences, shape (T, B).
            rate: requests/s, shape (T, B).
            of_all: requests/s that arrive at all instances. One that takes a share p of arrivals
                with index of dispersion I sees 1 + p (I - 1).
            shape: of the arrays returned; by default they broadcast to (T, B).
        """
        place = self._place(n)
        step = self._between(self._decode, *place)
        tpot = step + n * self.prefill / self.output
        part = 1.0 if of_all is None else np.minimum(rate / of_all, 1.0)
        waits, wait_s = wait(
            self.slots,
            self.prefill + self.output * tpot,
            rate,
            self._cv2,
            1.0 + part * (self._arrival_cv2 - 1.0),
        )
        parts = {
            "waits": waits,
            "wait_s": wait_s,
            "first_s": self._edge_prefill + self._between(self._edge_decode, *place),
            "mean_first_s": self.prefill + step,
            "tpot_s": tpot,
            "output": self._longest - 1.0,
            "mean_output": self.output - 1.0,
        }
        if shape is None:  # they broadcast
            return Latency(**parts)
        return Latency(
            **{
                name: np.broadcast_to(value, n.shape).reshape(shape)
                for name, value in parts.items()
            }
        )

    @cached_property
    def carried(self) -> Floats:
        """Requests/s at each point of the tables, shape (T, K, B)."""
        points = self.points[:, None]
        return points / (self.output * self._decode + points * self.prefill[:, None, :])

    def sequences(self, rate: Floats) -> Floats:
        """Return the number of decoding sequences at which a rate is carried.

        The least such number, where a kernel that suits more sequences badly lets the rate fall.
        Between points a step is linear in it, so what is left is one linear equation. A rate that
        no number carries takes the most of the tables: the queue then grows without end.
        """
        carried = self.carried
        reached = carried >= rate[:, None, :] * (1 - 1e-12)
        first_above = np.where(reached.any(axis=1), reached.argmax(axis=1), len(self.points) - 1)
        at = np.maximum(first_above - 1, 0)
        first, second = self.points[at], self.points[at + 1]
        lower, upper = (self._between(self._decode, at + k, np.zeros(at.shape)) for k in (0, 1))
        slope = (upper - lower) / (second - first)
        served = rate * self.output
        spare = 1.0 - rate * self.prefill
        with np.errstate(divide="ignore", invalid="ignore"):
            many = served * (lower - slope * first) / (spare - served * slope)
            few = served * self._decode[:, 0] / spare
        found = np.where(rate < carried[:, 0], few, many)
        return np.where(reached.any(axis=1), found, np.minimum(self.slots, self.points[-1]))

    def _place(self, n: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
        n = np.maximum(n, 1.0)
        at = np.minimum(np.searchsorted(self.points, n, side="right"), len(self.points) - 1) - 1
        here = self.points[at]
        return at, (n - here) / (self.points[at + 1] - here)

    def _between(self, table: Floats, at: npt.NDArray[np.int64], part: Floats) -> Floats:
        types, points, buckets = table.shape
        flat = table.reshape(-1)
        index = (np.arange(types)[:, None] * points + at) * buckets + np.arange(buckets)
        here = flat[index]
        above = flat[np.minimum(index + buckets, flat.size - 1)]
        return np.asarray(here + part * (above - here))


def _seconds(planes: Floats, error: float) -> Floats:
    """Return the seconds of step tables, so many standard deviations off."""
    seconds = planes[SECONDS]
    if error == 0.0:
        return np.asarray(seconds)
    ratio = planes[HIGH] / seconds if error > 0 else seconds / planes[LOW]
    return np.asarray(seconds * ratio ** (error / NINETY))
