"""How far the kernel-time laws are from measurements: a row a table, format and split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from archwright.errors import SpecificationError
from archwright.hardware.devices import device
from archwright.hardware.evaluation import Timed, keys_of
from archwright.hardware.fitting import by_format, carry, fit, halves, residual_interval
from archwright.hardware.laws import Array
from archwright.hardware.measurements import Sample, read_folder
from archwright.hardware.profiles import Fitted, resolve
from archwright.provenance import Source

__all__ = ["AccuracyRow", "accuracy_row", "kernel_accuracy"]

QUANTITIES = {
    "gemm": "gemm_s",
    "attention_prefill": "attention_prefill_s",
    "attention_decode": "attention_decode_s",
    "moe": "moe_s",
    "all_reduce": "all_reduce_s",
    "all_to_all": "all_to_all_s",
}
MEAN = " mean-predictor"
"""Ending of the split of a predictor that says the mean of its training rows every time."""


@dataclass(frozen=True, kw_only=True)
class AccuracyRow:
    """Errors of one quantity on one set of measured rows.

    Attributes:
        table: table that was measured.
        subset: number format or part of the table.
        quantity: what was predicted.
        split: ``shipped`` (nothing refitted), ``rows`` (fitted on half of the rows, scored on
            others), ``device`` (the device left out), or a mean predictor beside them.
        n: rows scored.
        mean_error: mean of |predicted - measured| / measured.
        median_error: median.
        p95_error: 95 % quantile.
        bias: mean of (predicted - measured) / measured.
        spearman: rank correlation; NaN where either side is constant.
        coverage: share of rows within the 90 % interval; NaN without one.
    """

    table: str
    subset: str
    quantity: str
    split: str
    n: int
    mean_error: float
    median_error: float
    p95_error: float
    bias: float
    spearman: float
    coverage: float


def accuracy_row(
    predicted: Array,
    measured: Array,
    *,
    table: str,
    subset: str,
    quantity: str,
    split: str,
    low: Array | None = None,
    high: Array | None = None,
) -> AccuracyRow:
    """Make a row from arrays of predictions and measurements.

    Args:
        predicted: predicted values.
        measured: measured values, the same shape.
        table: as in `AccuracyRow`, with `subset`, `quantity` and `split`.
        subset: see there.
        quantity: see there.
        split: see there.
        low: low ends of the 90 % intervals.
        high: high ends.

    >>> row = accuracy_row(np.array([1.1, 1.8]), np.array([1.0, 2.0]), table="t", subset="all",
    ...                    quantity="gemm_s", split="shipped")
    >>> round(row.mean_error, 3), round(row.bias, 3), row.n
    (0.1, 0.0, 2)

    Raises:
        SpecificationError: no rows.
    """
    if not len(measured):
        raise SpecificationError(f"{table} {subset}: no rows, expected at least one")
    error = predicted / measured - 1.0
    constant = np.ptp(predicted) == 0.0 or np.ptp(measured) == 0.0
    coverage = float("nan")
    if low is not None and high is not None:
        coverage = float(((low <= measured) & (measured <= high)).mean())
    from scipy.stats import spearmanr

    return AccuracyRow(
        table=table,
        subset=subset,
        quantity=quantity,
        split=split,
        n=len(measured),
        mean_error=float(np.abs(error).mean()),
        median_error=float(np.median(np.abs(error))),
        p95_error=float(np.quantile(np.abs(error), 0.95)),
        bias=float(error.mean()),
        spearman=float("nan") if constant else float(spearmanr(predicted, measured)[0]),
        coverage=coverage,
    )


def subset(sample: Sample) -> str:
    """Return what the rows of a sample are called: format, part and kind of model."""
    name = "dense-bf16" if (sample.law, sample.key) == ("gemm", "bfloat16") else sample.key
    if sample.law == "moe":
        name = f"moe-{name}"
    return f"{name} {sample.part}".strip()


def _score(samples: list[Sample], found: list[Timed], name: str, split: str) -> AccuracyRow:
    """Score the predictions of samples of one table and law together."""
    predicted, low, high = (np.concatenate(values) for values in zip(*found, strict=True))
    return accuracy_row(
        predicted,
        np.concatenate([sample.seconds for sample in samples]),
        table=samples[0].table, subset=name, quantity=QUANTITIES[samples[0].law], split=split,
        low=low, high=high,
    )  # fmt: skip


def _mean(sample: Sample, training: list[Sample], split: str) -> AccuracyRow:
    mean = float(np.concatenate([s.seconds for s in training]).mean())
    return accuracy_row(
        np.full(len(sample), mean), sample.seconds, table=sample.table, subset=subset(sample),
        quantity=QUANTITIES[sample.law], split=split + MEAN,
    )  # fmt: skip


def kernel_accuracy(
    data_dir: str | Path, *, skipped: dict[str, int] | None = None
) -> list[AccuracyRow]:
    """Score the laws against every table of kernel times in a folder.

    ``shipped`` scores all rows with the library's constants. ``rows`` fits one half of a
    table's rows, sets the interval by a quarter and scores the last quarter. ``device`` fits
    the other devices of the folder and scores this one. A fit draws at most 3000 rows of a
    table. Tables in which many rows are faster than the roofline are scored, but never fitted;
    rows that did other work than they state are neither, and named among those skipped.

    Args:
        data_dir: folder of tables ``KIND_SYSTEM.csv`` or ``.csv.gz``, or one that has it as
            ``llm-measured``.
        skipped: filled with reasons and the number of tables that each left out.

    Raises:
        TraceError: no table, or a broken one.
    """
    folder = Path(data_dir)
    if (folder / "llm-measured").is_dir():
        folder = folder / "llm-measured"
    tables = read_folder(folder)
    samples = tables.samples
    if skipped is not None:
        skipped.update({f"{name}: {why}": 1 for name, why in tables.skipped.items()})
    rows: list[AccuracyRow] = []
    for name, parts in samples.items():
        for law in QUANTITIES:
            for table in dict.fromkeys(s.table for s in parts if s.law == law):
                rows += _shipped(name, [s for s in parts if s.law == law and s.table == table])
    for (law, _), group in by_format(samples).items():
        rows += _rows_left_out(law, group)
        rows += _device_left_out(law, group)
    order = list(dict.fromkeys(row.table for row in rows))
    return sorted(rows, key=lambda row: (order.index(row.table), row.subset))


def _shipped(name: str, parts: list[Sample]) -> list[AccuracyRow]:
    target = device(name)
    found = [
        sample.predicted(target, resolve(sample.law, target, keys_of(sample.law, sample.key)))
        for sample in parts
    ]
    rows = [
        _score([sample], [timed], subset(sample), "shipped")
        for sample, timed in zip(parts, found, strict=True)
    ]
    return [*rows, _score(parts, found, "all", "shipped")]


def _rows_left_out(law: str, group: Mapping[str, list[Sample]]) -> list[AccuracyRow]:
    rows = []
    for name, parts in group.items():
        split = [halves(sample) for sample in parts]
        constants = fit(law, [a for a, _ in split], device(name))
        # The interval comes from a quarter that neither the fit nor the score sees.
        quarters = [halves(b) for _, b in split]
        low, high = residual_interval([a for a, _ in quarters], device(name), constants)
        fitted = Fitted(constants=constants, low=low, high=high, rows=0, source=_SOURCE)
        for (_, unseen), (seen, _) in zip(quarters, split, strict=True):
            if len(unseen):
                timed = unseen.predicted(device(name), fitted)
                rows.append(_score([unseen], [timed], subset(unseen), "rows"))
                rows.append(_mean(unseen, [seen], "rows"))
    return rows


def _device_left_out(law: str, group: Mapping[str, list[Sample]]) -> list[AccuracyRow]:
    rows: list[AccuracyRow] = []
    if len(group) < 2:
        return rows
    constants = {name: fit(law, parts, device(name)) for name, parts in group.items()}
    for name, parts in group.items():
        others = {other: c for other, c in constants.items() if other != name}
        training = {other: group[other] for other in others}
        fitted = carry(law, others, training, device(name).architecture, _SOURCE)
        for sample in parts:
            timed = sample.predicted(device(name), fitted)
            rows.append(_score([sample], [timed], subset(sample), "device"))
            rows.append(_mean(sample, [s for p in training.values() for s in p], "device"))
    return rows


_SOURCE = Source(source="refitted", flag="fitted")
