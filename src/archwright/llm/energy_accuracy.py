"""Energy and inter-token latency of measured serving: the fits that we ship, and their errors.

The rows are those of ``mlenergy_llm.csv`` in ``llm-energy``: vLLM on H100 and B200, GPU energy
only. The table gives batch and output length; the prompt length is an assumption of the catalogue
``accuracy.toml``, and so is how tokens were drawn. One constant of the host explains the latency
that operators do not, four of the power law (`fit_power`) the power.

    python -m archwright.llm.energy_accuracy --data DIR     # print the constants to ship
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archwright.errors import SpecificationError, TraceError
from archwright.hardware.accuracy import MEAN, AccuracyRow, accuracy_row
from archwright.hardware.energy import share_of_tdp
from archwright.llm.accuracy import constants, read_columns, step_cost_of, subset_of
from archwright.llm.batch import StepBatch
from archwright.llm.calibration import fit_host
from archwright.llm.engine import engine
from archwright.llm.parallel import ParallelPlan

__all__ = ["EnergyRows", "energy_accuracy", "energy_rows", "fit_power"]

Floats = NDArray[np.float64]
_NEEDED = (
    "task", "model_id", "architecture", "weight_precision", "gpu_model", "num_gpus",
    "tensor_parallel", "expert_parallel", "data_parallel", "avg_batch_size", "avg_output_len",
    "output_throughput_tokens_per_sec", "energy_per_token_joules", "avg_power_watts",
    "median_itl_ms",
)  # fmt: skip
_QUANTILES = (0.03, 0.97)
_START = np.array([0.2, 0.3, 3.0, 0.35])
_PRIOR = 0.02
"""Weight of the start values of the power law: it decides only what the rows leave open."""
_MODELS = 5
"""Models below which their spread says little about the next one: it counts twice."""
_FEWEST = 15
"""Rows of a kind of kernels that quantiles of its own need."""


@dataclass
class EnergyRows:
    """Measured rows with what the step costs say of them; each field has one value a row.

    Attributes:
        model: name of the model.
        device: name of the device.
        subset: ``dense-bf16`` and so on.
        tdp_w: board limit of all devices together.
        sequences: running sequences of the replica.
        itl_s: measured median time between tokens.
        step_s: measured mean time of a step.
        watts: measured average power of the replica.
        joules_per_token: measured.
        device_s: predicted time of a step without prompts, on the device.
        mean_s: the same, with the prompts that join.
        memory_s: time of its bytes at full bandwidth, prompts included.
        compute_s: time of its operations at peak rate.
        skipped: reason to number of rows.
    """

    model: NDArray[Any]
    device: NDArray[Any]
    subset: NDArray[Any]
    tdp_w: Floats
    sequences: Floats
    itl_s: Floats
    step_s: Floats
    watts: Floats
    joules_per_token: Floats
    device_s: Floats
    mean_s: Floats
    memory_s: Floats
    compute_s: Floats
    skipped: Counter[str] = field(default_factory=Counter)

    def take(self, rows: Any) -> EnergyRows:
        """Return some rows."""
        names = [n for n in self.__dataclass_fields__ if n != "skipped"]
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def __len__(self) -> int:
        return len(self.itl_s)


def energy_rows(data_dir: str | Path) -> EnergyRows:
    """Predict every row of a model that the catalogue knows.

    Raises:
        TraceError: no table, or a broken one.
    """
    folder = Path(data_dir)
    folder = folder / "llm-energy" if (folder / "llm-energy").is_dir() else folder
    path = folder / "mlenergy_llm.csv"
    if not path.exists():
        raise TraceError(f"{folder}: holds no mlenergy_llm.csv")
    table = read_columns(path, _NEEDED)
    groups: dict[Any, list[int]] = {}
    keys = ("model_id", "gpu_model", "weight_precision", "num_gpus", "tensor_parallel",
            "expert_parallel", "data_parallel")  # fmt: skip
    for i, key in enumerate(zip(*(table[name] for name in keys), strict=True)):
        groups.setdefault(key, []).append(i)
    skipped: Counter[str] = Counter()
    parts: list[dict[str, Any]] = []
    for key, at in groups.items():
        try:
            parts.append(_predict(table, np.array(at), *key))
        except SpecificationError as error:
            skipped[str(error)] += len(at)
    if not parts:
        raise TraceError(f"{path}: no row of a model and device that the catalogues know")
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return EnergyRows(**joined, skipped=skipped)


def _predict(
    table: Any, at: Any, model: str, gpu: str, weights: str, gpus: float, tensor: float,
    expert: float, data: float,
) -> dict[str, Any]:  # fmt: skip
    groups = int(data)
    # with experts in parallel the table states tensor width 1; attention is cut all the same
    width = int(gpus) // groups if expert > 1 else int(tensor)
    plan = ParallelPlan(tensor=width, expert=int(expert), data_parallel_attention=groups)
    rules = constants()["sampling"]
    bare = step_cost_of(model, f"{gpu}-SXM", plan, weights)
    rule = next((r for f, r in rules.items() if bare.model.name.startswith(f)), rules["default"])
    cost = replace(bare, kv_format="bf16", engine="overlapped", sampling=rule)
    prompts = constants()["prompts"]
    tasks = table["task"][at]
    for task in dict.fromkeys(tasks.tolist()):
        if task not in prompts:
            raise SpecificationError(f"the prompt length of task {task!r} is not stated")
    prompt = np.array([float(prompts[task]) for task in tasks])
    output, sequences = table["avg_output_len"][at], table["avg_batch_size"][at]
    each = sequences / groups
    running = StepBatch(decode_batch=each, decode_context=prompt + output / 2)
    joined = StepBatch(
        decode_batch=each,
        decode_context=prompt + output / 2,
        prefill_requests=each / output,
        prefill_query_tokens=prompt,
        prefill_context_tokens=prompt,
    )
    alone, mean = cost(running), cost(joined)
    return {
        "model": np.full(len(at), cost.model.name, dtype=object),
        "device": np.full(len(at), cost.device.name, dtype=object),
        "subset": np.full(len(at), subset_of(cost), dtype=object),
        "tdp_w": np.full(len(at), cost.parallel.ranks * float(cost.device.tdp_w or np.nan)),
        "sequences": sequences,
        "itl_s": table["median_itl_ms"][at] * 1e-3,
        "step_s": sequences / table["output_throughput_tokens_per_sec"][at],
        "watts": table["avg_power_watts"][at],
        "joules_per_token": table["energy_per_token_joules"][at],
        "device_s": alone.seconds,
        "mean_s": mean.seconds,
        "memory_s": mean.memory_s,
        "compute_s": mean.compute_s,
    }


def fit_power(rows: EnergyRows) -> Floats:
    """Return the four constants of the power law, by a robust fit of the logarithm."""

    from scipy.optimize import least_squares

    weight = _PRIOR * np.sqrt(len(rows))

    def residual(p: Floats) -> Floats:
        errors = np.log(_watts(rows, p, rows.step_s) / rows.watts)
        return np.concatenate([errors, weight * np.log(p / _START)])

    found = least_squares(residual, _START, bounds=(1e-3, 50.0), loss="soft_l1", f_scale=0.1)
    return np.asarray(found.x)


def _watts(rows: EnergyRows, constants: Floats, step_s: Floats) -> Floats:
    times = (rows.memory_s, rows.compute_s, rows.mean_s)
    shares = [np.minimum(t / step_s, 1.0) for t in times]
    return np.asarray(rows.tdp_w * share_of_tdp(shares[0], shares[1], shares[2], *constants))


@dataclass(frozen=True)
class _Fit:
    host_s: float
    power: Floats

    def itl_s(self, rows: EnergyRows) -> Floats:
        return rows.device_s + self.host_s

    def watts(self, rows: EnergyRows) -> Floats:
        """Power of a step that is as long as measured."""
        return _watts(rows, self.power, rows.step_s)

    def joules_per_token(self, rows: EnergyRows) -> Floats:
        """Energy with the step as predicted."""
        step_s = rows.mean_s + self.host_s
        return _watts(rows, self.power, step_s) * step_s / rows.sequences


def _fit(rows: EnergyRows) -> _Fit:
    return _Fit(_fit_host(rows), fit_power(rows))


def _fit_host(rows: EnergyRows) -> float:
    """Return the seconds of the host a step; what grows with the batch is on the device."""
    return fit_host(rows.device_s, np.zeros(len(rows)), rows.itl_s)[0]


def _shipped() -> _Fit:
    from archwright.hardware.energy import constants as power_constants

    own, row = engine(constants()["engines"]["vllm"]), power_constants()
    names = ("idle", "memory", "compute", "busy")
    return _Fit(own.host_step_s, np.array([row[name] for name in names]))


def kernels_of(subset: str) -> str:
    """Return whose interval of the power law the rows of a subset have.

    >>> [kernels_of(name) for name in ("dense-bf16", "dense-fp8", "moe-bf16", "moe-fp8")]
    ['dense', 'dense-8bit', 'experts', 'experts-8bit']
    """
    kind, _, weights = subset.partition("-")
    name = "dense" if kind == "dense" else "experts"
    return f"{name}-8bit" if weights.startswith(("fp8", "int8")) else name


_QUANTITIES: dict[str, tuple[str, Callable[[_Fit, EnergyRows], Floats]]] = {
    "median_itl_s": ("itl_s", _Fit.itl_s),
    "power_w": ("watts", _Fit.watts),
    "joules_per_token": ("joules_per_token", _Fit.joules_per_token),
}


def energy_accuracy(
    data_dir: str | Path, *, skipped: dict[str, int] | None = None
) -> list[AccuracyRow]:
    """Score latency, power and energy: what we ship, and whole models or devices left out.

    The constants are fitted on the dense bf16 rows; the other rows are predicted with them. The
    power is scored given the measured step, the energy with the predicted one. Intervals are
    quantiles of what the other models of the same kind of kernels (`kernels_of`) got wrong when
    each was left out, squared where they are few, and for a device left out.

    Args:
        data_dir: folder that holds ``llm-energy``, or is it.
        skipped: filled with reasons and the number of rows that each left out.

    Raises:
        TraceError: no table, or a broken one.
    """
    rows = energy_rows(data_dir)
    if skipped is not None:
        skipped.update(rows.skipped)
    fitted = rows.subset == "dense-bf16"
    subsets = {str(name): rows.subset == name for name in dict.fromkeys(rows.subset.tolist())}
    subsets["all"] = np.ones(len(rows), dtype=bool)
    found: list[AccuracyRow] = []
    shipped = _shipped()
    for subset, mask in subsets.items():
        part = rows.take(mask)
        for quantity, (name, predict) in _QUANTITIES.items():
            found.append(_row(part, predict(shipped, part), quantity, name, subset, "shipped"))
    for split, group in (("model", rows.model), ("device", rows.device)):
        if len(set(group[fitted].tolist())) < 2:
            continue
        found += _left_out(rows, fitted, group, split, subsets)
    return found


def _row(
    part: EnergyRows, predicted: Floats, quantity: str, name: str, subset: str, split: str,
    **ends: Any,
) -> AccuracyRow:  # fmt: skip
    return accuracy_row(
        predicted, getattr(part, name), table="mlenergy_llm", subset=subset,
        quantity=quantity, split=split, **ends,
    )  # fmt: skip


def _left_out(
    rows: EnergyRows, fitted: Any, group: Any, split: str, subsets: dict[str, Any]
) -> list[AccuracyRow]:
    names = list(_QUANTITIES)
    predicted = {name: np.full(len(rows), np.nan) for name in names}
    low, high, mean = ({name: np.full(len(rows), np.nan) for name in names} for _ in range(3))
    for left in dict.fromkeys(group.tolist()):
        target, training = group == left, fitted & (group != left)
        if not training.any():
            continue
        inner, fit = rows.take(training), _fit(rows.take(training))
        for name, (field_name, predict) in _QUANTITIES.items():
            predicted[name][target] = predict(fit, rows.take(target))
            mean[name][target] = getattr(inner, field_name).mean()
        others = rows.take(group != left)
        ratios = _ratios_left_out(others)
        own, seen = (np.array([kernels_of(s) for s in r.subset]) for r in (rows, others))
        for kind in dict.fromkeys(own[target].tolist()):
            at, like = target & (own == kind), seen == kind
            like = like if like.sum() >= _FEWEST else np.ones(len(seen), dtype=bool)
            for name in names:
                few = len(set(others.model[like].tolist())) < _MODELS
                ends = _ends(ratios[name][like], few or split == "device")
                low[name][at] = predicted[name][at] * ends[0]
                high[name][at] = predicted[name][at] * ends[1]
    found = []
    for subset, mask in subsets.items():
        for name, (field_name, _) in _QUANTITIES.items():
            at = np.flatnonzero(mask & np.isfinite(predicted[name]))
            if not len(at):
                continue
            part = rows.take(at)
            found.append(
                _row(
                    part, predicted[name][at], name, field_name, subset, split,
                    low=low[name][at], high=high[name][at],
                )
            )  # fmt: skip
            found.append(_row(part, mean[name][at], name, field_name, subset, split + MEAN))
    return found


def _ends(ratios: Floats, twice: bool) -> tuple[float, float]:
    """Return the ends of an interval: what models left out show, and as much again."""
    low, high = np.quantile(ratios, _QUANTILES) ** (2.0 if twice else 1.0)
    return min(1.0, float(low)), max(1.0, float(high))


def _ratios_left_out(rows: EnergyRows) -> dict[str, Floats]:
    """Return measured over predicted, each model by constants fitted without it."""
    ratios = {name: np.full(len(rows), np.nan) for name in _QUANTITIES}
    fitted = rows.subset == "dense-bf16"
    for left in dict.fromkeys(rows.model.tolist()):
        target = rows.model == left
        training = fitted & ~target
        fit, part = _fit(rows.take(training if training.any() else fitted)), rows.take(target)
        for name, (field_name, predict) in _QUANTITIES.items():
            ratios[name][target] = getattr(part, field_name) / predict(fit, part)
    return ratios


def main() -> None:
    """Print the constants that the catalogues ``engines.toml`` and ``power.toml`` hold."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True)
    rows = energy_rows(parser.parse_args().data)
    fit = _fit(rows.take(rows.subset == "dense-bf16"))
    print(f"host_step_s = {fit.host_s:.4g}")
    print("idle = {:.4g}\nmemory = {:.4g}\ncompute = {:.4g}\nbusy = {:.4g}".format(*fit.power))
    ratios = _ratios_left_out(rows)["power_w"]
    kinds = np.array([kernels_of(s) for s in rows.subset])
    for kind in dict.fromkeys(kinds.tolist()):
        of_kind = kinds == kind
        few = len(set(rows.model[of_kind].tolist())) < _MODELS
        print(f"\n[interval.{kind}]")
        for name, twice in (("measured", few), ("other", True)):
            low, high = _ends(ratios[of_kind], twice)
            print(f"{name} = [{low:.3g}, {high:.3g}]")


if __name__ == "__main__":
    main()
