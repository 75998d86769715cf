"""Fit the constants of the kernel-time laws to measured times.

``python -m archwright.hardware.fitting --data DIR`` rewrites the catalogue ``timing.toml`` from
a folder of public tables; `calibrate_device` fits a user's own table. Both use `fit`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from archwright.errors import SpecificationError
from archwright.hardware.devices import Device, device
from archwright.hardware.evaluation import keys_of, machine_of
from archwright.hardware.laws import LAWS, Array
from archwright.hardware.measurements import SOUND, Sample, check, read_folder, read_table
from archwright.hardware.profiles import (
    DATASHEET,
    EDGES_S,
    Fitted,
    Profile,
    carried,
    resolve,
    rows_of,
    write_profile,
)
from archwright.hardware.tables import catalogue_toml
from archwright.provenance import Source

__all__ = ["Calibration", "calibrate_device", "carry", "fit", "fit_device", "interval"]

ROWS = 3000
"""Rows that a fit draws from a table: more change the third digit."""
PRIOR = 0.02
"""Weight of the start values: it decides only what the rows leave open."""
SCALE = 0.1
"""Log error above which a row pulls linearly, not quadratically."""
FEWEST = 40
"""Rows that a regime needs for quantiles of its own."""

Spread = tuple[tuple[float, ...], tuple[float, ...]]
_ONE = (1.0,) * (len(EDGES_S) + 1)


def fit(law: str, rows: Iterable[Sample], device: Device) -> dict[str, float]:
    """Return the constants of a law that fit measured rows, by robust least squares of log time.

    Args:
        law: name of a law.
        rows: samples of that law in one format.
        device: the device that they were measured on.

    Raises:
        SpecificationError: no rows.
    """
    from scipy.optimize import least_squares

    samples = [sample.thin(ROWS) for sample in rows]
    size = sum(len(sample) for sample in samples)
    if not size:
        raise SpecificationError(f"no rows to fit {law} on, expected at least one")
    table = catalogue_toml("archwright.hardware", "laws.toml")["constants"][law]
    names = list(table)
    start, low, high = np.log(np.array([table[name] for name in names])).T
    formula = LAWS[law]
    parts = [(machine_of(device, law, s.key), s.shape, np.log(s.seconds)) for s in samples]
    weight = PRIOR * np.sqrt(size / len(names))

    def residuals(x: Array) -> Array:
        constants = dict(zip(names, np.exp(x).tolist(), strict=True))
        errors = [np.log(formula(m, constants, *shape)) - logs for m, shape, logs in parts]
        return np.concatenate([*errors, weight * (x - start)])

    found = least_squares(
        residuals, start, bounds=(low, high), loss="soft_l1", f_scale=SCALE, max_nfev=40
    )
    return {
        name: float(f"{value:.6g}") for name, value in zip(names, np.exp(found.x), strict=True)
    }


def interval(predicted: Array, measured: Array) -> Spread:
    """Return the 5 % and 95 % quantiles of measured over predicted, one a regime.

    A regime with few rows takes the quantiles of all.
    """
    ratio = measured / predicted
    regime = np.searchsorted(EDGES_S, predicted)
    low, high = [], []
    for i in range(len(EDGES_S) + 1):
        rows = regime == i
        within = ratio[rows] if rows.sum() >= FEWEST else ratio
        # the next row lies beyond the ends of n rows with a chance of its own
        level = min(0.95 * (1.0 + 1.0 / len(within)), 1.0)
        low.append(float(f"{np.quantile(within, 1.0 - level):.4g}"))
        high.append(float(f"{np.quantile(within, level):.4g}"))
    return tuple(low), tuple(high)


def residual_interval(
    rows: Iterable[Sample], target: Device, constants: Mapping[str, float]
) -> Spread:
    """Return the interval of rows that constants, which were fitted elsewhere, get wrong.

    A ring and a direct exchange are two algorithms under one law: the wider interval holds.
    """
    trial = Fitted(constants=constants, low=_ONE, high=_ONE, rows=0, source=Source(source=""))
    samples = [sample for sample in rows if len(sample)]
    kinds: dict[str, list[Sample]] = {}
    for sample in samples:
        kinds.setdefault(sample.part if sample.law == "all_reduce" else "", []).append(sample)
    spreads = []
    for kind in kinds.values():
        predicted = np.concatenate([sample.predicted(target, trial)[0] for sample in kind])
        spreads.append(interval(predicted, np.concatenate([s.seconds for s in kind])))
    low, high = (tuple(zip(*side, strict=True)) for side in zip(*spreads, strict=True))
    return tuple(min(ends) for ends in low), tuple(max(ends) for ends in high)


def halves(sample: Sample) -> tuple[Sample, Sample]:
    """Return two halves of the rows, drawn at random by a fixed seed."""
    first = np.random.default_rng(1).permutation(len(sample)) % 2 == 0
    return sample.take(first), sample.take(~first)


def fit_device(law: str, rows: Iterable[Sample], target: Device, source: Source) -> Fitted:
    """Return constants fitted on all rows, with an interval from rows that were left out."""
    return _fit_twice(law, list(rows), target, source)[0]


def _fit_twice(
    law: str, samples: list[Sample], target: Device, source: Source
) -> tuple[Fitted, Fitted]:
    """Return constants of all rows, and those of one half of them.

    Both have the interval of what the half gets wrong on the other half.
    """
    split = [halves(sample) for sample in samples]
    half = fit(law, [a for a, _ in split], target)
    low, high = residual_interval([b for _, b in split], target, half)
    size = sum(len(sample) for sample in samples)
    constants = fit(law, samples, target)
    fitted = Fitted(constants=constants, low=low, high=high, rows=size, source=source)
    return fitted, replace(fitted, constants=half)


def carry(
    law: str,
    constants: Mapping[str, Mapping[str, float]],
    rows: Mapping[str, list[Sample]],
    architecture: str,
    source: Source,
) -> Fitted:
    """Return the constants for a device left out, and what such constants get wrong.

    Each measured device in turn is predicted from the others; the interval is the widest of
    theirs, since a handful of devices says little about the next. One device alone says
    nothing of that: its own spread counts twice.

    Args:
        law: whose constants they are.
        constants: device name to what was fitted on it.
        rows: device name to its samples.
        architecture: of the device left out; empty for any.
        source: where the rows come from.
    """
    spreads = []
    for name in constants:
        target = device(name)
        samples = [sample.thin(ROWS) for sample in rows[name]]
        others = {other: c for other, c in constants.items() if other != name}
        if others:
            trial = carried(law, others, target.architecture)
            spreads.append(residual_interval(samples, target, trial))
        else:
            own = residual_interval(samples, target, constants[name])
            spreads.append((tuple(x * x for x in own[0]), tuple(x * x for x in own[1])))
    low, high = (list(zip(*side, strict=True)) for side in zip(*spreads, strict=True))
    return Fitted(
        constants=carried(law, constants, architecture),
        low=tuple(float(f"{min(1.0, *x):.4g}") for x in low),
        high=tuple(float(f"{max(1.0, *x):.4g}") for x in high),
        rows=sum(len(sample) for samples in rows.values() for sample in samples),
        source=source,
    )


def by_format(
    samples: Mapping[str, list[Sample]],
) -> dict[tuple[str, str], dict[str, list[Sample]]]:
    """Return the samples that may be fitted: (law, format) to device to samples."""
    found: dict[tuple[str, str], dict[str, list[Sample]]] = {}
    for name, rows in samples.items():
        for sample in rows:
            if sample.fits and len(sample):
                group = found.setdefault((sample.law, sample.key), {})
                group.setdefault(name, []).append(sample)
    return found


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Constants fitted to a user's measurements, and what they changed.

    Attributes:
        device: the device, with the constants as its own.
        rows: measured rows.
        error_before: mean relative error of the constants that held before.
        error_after: the same of constants fitted on one half of the rows, on the other half.
        bias_before: mean signed error before.
        bias_after: after.
    """

    device: Device
    rows: int
    error_before: float
    error_after: float
    bias_before: float
    bias_after: float

    def write_profile(self, path: str | Path) -> Path:
        """Write the device with its constants, for `archwright.hardware.profiles.load_profile`."""
        return write_profile(self.device, path)


def calibrate_device(target: Device | str, path: str | Path) -> Calibration:
    """Fit the laws to a table of kernel times measured on a device.

    The kind of the table is told from its columns, those of the public tables; constants of
    other laws stay. Errors after are measured on rows that the fit did not see.

    Args:
        target: catalogue name or `Device`.
        path: CSV, plain or gzip, times in a column ``latency_ms``.

    Raises:
        TraceError: a broken table, by line and column.
        SpecificationError: a format that the device lacks, fewer than four rows of one, or
            many rows that are faster than the roofline.
    """
    target = target if isinstance(target, Device) else device(target)
    samples = [sample for sample in read_table(path, target) if len(sample)]
    source = Source(source=Path(path).name, date=time.strftime("%Y-%m-%d"), flag="fitted")
    timing: dict[str, dict[str, Fitted]] = {
        law: dict(rows) for law, rows in (target.timing or {}).items()
    }
    before: list[Array] = []
    after: list[Array] = []
    for sample in samples:
        check(sample, target)
        broken = len(sample) - int(sample.possible(target).sum())
        if broken > (1.0 - SOUND) * len(sample):
            raise SpecificationError(
                f"{path}: {broken} of {len(sample)} rows of {sample.law} are faster than the "
                f"roofline of {target.name}, expected latency_ms in milliseconds on that device"
            )
    groups = by_format({target.name: samples})
    for (law, key), group in groups.items():
        rows = group[target.name]
        if sum(len(sample) for sample in rows) < 4:
            raise SpecificationError(
                f"{path}: {sum(map(len, rows))} rows of {law} in {key}, expected at least 4"
            )
        fitted, trial = _fit_twice(law, rows, target, source)
        current = resolve(law, target, keys_of(law, key))
        for _, unseen in map(halves, rows):
            before.append(unseen.predicted(target, current)[0] / unseen.seconds - 1.0)
            after.append(unseen.predicted(target, trial)[0] / unseen.seconds - 1.0)
        timing.setdefault(law, {})[key] = fitted
    if not groups:
        raise SpecificationError(f"{path}: no rows that a law can be fitted on")
    profile: Profile = timing
    old, new = np.concatenate(before), np.concatenate(after)
    return Calibration(
        device=replace(target, timing=profile),
        rows=sum(len(sample) for sample in samples),
        error_before=float(np.abs(old).mean()),
        error_after=float(np.abs(new).mean()),
        bias_before=float(old.mean()),
        bias_after=float(new.mean()),
    )


def catalogue(folder: str | Path) -> dict[str, Any]:
    """Return the content of ``timing.toml`` fitted on a folder of public tables."""
    tables = read_folder(folder)
    source = Source(
        source="ai-dynamo/aiconfigurator@095f58a51c4c systems/data (Apache-2.0), "
        + ", ".join(sorted(tables.samples)),
        date=time.strftime("%Y-%m-%d"),
        flag="fitted",
    )
    content: dict[str, Any] = dict(vars(source))
    for (law, key), group in sorted(by_format(tables.samples).items()):
        own = {
            name: fit_device(law, rows, device(name), source)
            for name, rows in sorted(group.items())
        }
        constants = {name: fitted.constants for name, fitted in own.items()}
        rows = content.setdefault(law, {})
        for name, fitted in own.items():
            rows.setdefault(name, {})[key] = rows_of(fitted)
        far = carry(law, constants, group, "", source)
        rows.setdefault(DATASHEET, {})[key] = rows_of(far)
        print(f"{law} {key}: {', '.join(own)}", file=sys.stderr)
    return content


def main() -> None:
    """Rewrite the catalogue of constants."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder of the tables")
    default = Path(__file__).parent / "catalogue" / "timing.toml"
    parser.add_argument("--output", type=Path, default=default, help="file to write")
    options = parser.parse_args()
    head = (
        "# Constants of the kernel-time laws. Written by python -m archwright.hardware.fitting.\n"
        "# low, high: 5 % and 95 % quantiles of measured over predicted, for predicted times up\n"
        "# to 10 us, 100 us, 1 ms and above; of rows left out of the fit, and for the datasheet\n"
        "# of devices left out.\n"
    )
    options.output.write_text(head + tomli_w.dumps(catalogue(options.data)), encoding="utf-8")


if __name__ == "__main__":
    main()
