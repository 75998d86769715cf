"""What an engine adds on the host, fitted to measurements of one's own."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from archwright.errors import TraceError, nearest
from archwright.llm.continuous import steady_state
from archwright.llm.engine import EngineSpec, engine_table
from archwright.llm.step_cost import StepCost
from archwright.provenance import Source

__all__ = ["EngineCalibration", "calibrate_engine", "fit_host", "read_benchmark"]

Floats = NDArray[np.float64]

_TIMES = ("mean_tpot_ms", "median_tpot_ms", "mean_itl_ms", "median_itl_ms")
_COUNTS = ("max_concurrency", "completed", "total_input_tokens", "total_output_tokens")


def fit_host(device_s: Floats, sequences: Floats, measured_s: Floats) -> tuple[float, float]:
    """Return seconds a step and seconds a sequence that explain what the device does not.

    A robust fit of the logarithm; neither is below zero.

    >>> step, each = fit_host(np.array([5e-3, 6e-3]), np.array([1.0, 101.0]),
    ...                       np.array([6e-3, 8e-3]))
    >>> f"{step:.4f} {each:.6f}"
    '0.0010 0.000010'

    Args:
        device_s: predicted times of steps on the device.
        sequences: running sequences.
        measured_s: measured times.
    """

    from scipy.optimize import least_squares

    def residual(p: Floats) -> Floats:
        return np.asarray(np.log((device_s + p[0] * 1e-3 + p[1] * 1e-5 * sequences) / measured_s))

    found = least_squares(
        residual, [1.0, 1.0], bounds=(0.0, np.inf), loss="soft_l1", f_scale=0.1, xtol=1e-12
    )
    return float(found.x[0] * 1e-3), float(found.x[1] * 1e-5)


@dataclass(frozen=True, kw_only=True)
class EngineCalibration:
    """An engine fitted to measurements, and what that changed.

    Attributes:
        engine: the engine.
        rows: measurements used.
        error_before: mean relative error of the time per output token, nothing added.
        error_after: the same with what was fitted.
        bias_before: mean signed error before.
        bias_after: mean signed error after.
    """

    engine: EngineSpec
    rows: int
    error_before: float
    error_after: float
    bias_before: float
    bias_after: float

    def write_profile(self, path: str | Path) -> Path:
        """Write the engine as TOML, for ``--engine FILE`` and `load_engine`."""
        table = engine_table(self.engine)
        path = Path(path)
        path.write_bytes(tomli_w.dumps(table).encode())
        return path


def read_benchmark(path: str | Path) -> dict[str, Floats]:
    """Read results of a serving benchmark: one JSON object, a list of them, or one a line.

    The keys are those of the benchmarks of vLLM and SGLang: ``max_concurrency``, ``completed``,
    ``total_input_tokens``, ``total_output_tokens`` and a time per token: ``mean_tpot_ms``,
    ``median_tpot_ms``, ``mean_itl_ms`` or ``median_itl_ms``.

    Returns:
        Arrays ``sequences``, ``input_tokens``, ``output_tokens`` and ``tpot_s``.

    Raises:
        TraceError: naming the file, the run, the key and what was expected.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        try:
            runs = json.loads(text)
        except json.JSONDecodeError:
            runs = [json.loads(line) for line in text.splitlines() if line.strip()]
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise TraceError(f"{path}: is not JSON: {error}") from None
    runs = runs if isinstance(runs, list) else [runs]
    if not runs:
        raise TraceError(f"{path}: holds no run")
    rows = [_read_run(path, i, run) for i, run in enumerate(runs, start=1)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _read_run(path: Path, number: int, run: Any) -> dict[str, float]:
    where = f"{path}: run {number}"
    if not isinstance(run, Mapping):
        raise TraceError(f"{where}: expected an object, found a {type(run).__name__}")

    def positive(key: str) -> float:
        value: Any = run.get(key)
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not good or not 0 < value < float("inf"):
            hint = "" if key in run else nearest(key, run)
            raise TraceError(f"{where}: {key}: {value!r}, expected a positive number{hint}")
        return float(value)

    counts = {key: positive(key) for key in _COUNTS}
    name = next((key for key in _TIMES if key in run), _TIMES[0])
    return {
        "sequences": counts["max_concurrency"],
        "input_tokens": counts["total_input_tokens"] / counts["completed"],
        "output_tokens": counts["total_output_tokens"] / counts["completed"],
        "tpot_s": positive(name) * 1e-3,
    }


def calibrate_engine(path: str | Path, cost: StepCost, *, name: str = "") -> EngineCalibration:
    """Fit what an engine adds on the host to the results of a serving benchmark.

    Args:
        path: the benchmark's JSON, see `read_benchmark`; runs of several concurrencies.
        cost: what was served, on what; its own engine is left out.
        name: name of the engine; by default that of the file.

    Raises:
        TraceError: the file is no such result.
    """
    runs = read_benchmark(path)
    bare = replace(cost, engine="overlapped")  # which adds nothing
    groups = cost.parallel.data_parallel_attention
    state = steady_state(
        bare,
        sequences=runs["sequences"] / groups,
        input_tokens=runs["input_tokens"],
        output_tokens=runs["output_tokens"],
    )
    device_s = np.asarray(state.tpot_s)
    step, each = fit_host(device_s, runs["sequences"], runs["tpot_s"])
    before = device_s / runs["tpot_s"] - 1
    after = (device_s + step + each * runs["sequences"]) / runs["tpot_s"] - 1
    return EngineCalibration(
        engine=replace(
            cost.spec,
            name=name or Path(path).stem,
            host_step_s=step,
            host_sequence_s=each,
            source=Source(
                source=f"serving benchmark {Path(path).name}, {cost.model.name} on "
                f"{cost.device.name}",
                date=time.strftime("%Y-%m-%d"),
                flag="fitted",
            ),
        ),
        rows=len(before),
        error_before=float(np.abs(before).mean()),
        error_after=float(np.abs(after).mean()),
        bias_before=float(before.mean()),
        bias_after=float(after.mean()),
    )
