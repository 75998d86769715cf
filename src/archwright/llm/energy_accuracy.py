"""Energy and inter-token latency of measured serving: the fits that we ship, and their errors.

The rows are those of ``mlenergy_llm.csv`` in ``llm-energy``: vLLM on H100 and B200, GPU energy
only. The table gives batch and output length; the prompt length is an assumption of the catalogue
``accuracy.toml``. Two constants of the host (`fit_host`) explain the latency that kernels do not,
three of the power law (`fit_power`) the power.

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
from archwright.llm.parallel import ParallelPlan
from archwright.llm.step_cost import engine

__all__ = ["EnergyRows", "energy_accuracy", "energy_rows", "fit_power"]

Floats = NDArray[np.float64]
_NEEDED = (
    "task", "model_id", "architecture", "weight_precision", "gpu_model", "num_gpus",
    "tensor_parallel", "expert_parallel", "data_parallel", "avg_batch_size", "avg_output_len",
    "output_throughput_tokens_per_sec", "energy_per_token_joules", "avg_power_watts",
    "median_itl_ms",
)  # fmt: skip
_QUANTILES = (0.05, 0.95)


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
    cost = replace(step_cost_of(model, f"{gpu}-SXM", plan, weights), kv_format="bf16")
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
    """Return the three constants of the power law, by a robust fit of the logarithm."""

    from scipy.optimize import least_squares

    def residual(p: Floats) -> Floats:
        return np.asarray(np.log(_watts(rows, p, rows.step_s) / rows.watts))

    found = least_squares(
        residual, [0.3, 0.8, 3.0], bounds=(1e-3, 50.0), loss="soft_l1", f_scale=0.1
    )
    return np.asarray(found.x)


def _watts(rows: EnergyRows, constants: Floats, step_s: Floats) -> Floats:
    shares = [np.minimum(t / step_s, 1.0) for t in (rows.memory_s, rows.compute_s)]
    return np.asarray(rows.tdp_w * share_of_tdp(shares[0], shares[1], *constants))


@dataclass(frozen=True)
class _Fit:
    host: tuple[float, float]
    power: Floats

    def itl_s(self, rows: EnergyRows) -> Floats:
        return rows.device_s + self.host[0] + self.host[1] * rows.sequences

    def watts(self, rows: EnergyRows) -> Floats:
        """Power of a step that is as long as measured."""
        return _watts(rows, self.power, rows.step_s)

    def joules_per_token(self, rows: EnergyRows) -> Floats:
        """Energy with the step as predicted."""
        step_s = rows.mean_s + self.host[0] + self.host[1] * rows.sequences
        return _watts(rows, self.power, step_s) * step_s / rows.sequences


def _fit(rows: EnergyRows) -> _Fit:
    return _Fit(fit_host(rows.device_s, rows.sequences, rows.itl_s), fit_power(rows))


def _shipped() -> _Fit:
    from archwright.hardware.energy import constants as power_constants

    own, row = engine("vllm"), power_constants()
    return _Fit(
        (own.host_step_s, own.host_sequence_s),
        np.array([row["idle"], row["memory"], row["compute"]]),
    )


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
    power is scored given the measured step, the energy with the predicted one. Intervals are the
    quantiles of the models left out within the training rows, squared for a device left out.

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
        ratios = _inner_ratios(inner)
        for name, (field_name, predict) in _QUANTITIES.items():
            predicted[name][target] = predict(fit, rows.take(target))
            # what a model left out shows, and as much again for a device
            width = np.quantile(ratios[name], _QUANTILES) ** (2.0 if split == "device" else 1.0)
            low[name][target] = predicted[name][target] * width[0]
            high[name][target] = predicted[name][target] * width[1]
            mean[name][target] = getattr(inner, field_name).mean()
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


def _inner_ratios(rows: EnergyRows) -> dict[str, Floats]:
    """Return measured over predicted for models left out within the training rows."""
    ratios: dict[str, list[Floats]] = {name: [] for name in _QUANTITIES}
    groups = list(dict.fromkeys(rows.model.tolist()))
    for left in groups:
        target = rows.model == left
        fit = _fit(rows.take(~target)) if len(groups) > 1 else _fit(rows)
        part = rows.take(target)
        for name, (field_name, predict) in _QUANTITIES.items():
            ratios[name].append(getattr(part, field_name) / predict(fit, part))
    return {name: np.concatenate(parts) for name, parts in ratios.items()}


def main() -> None:
    """Print the constants that the catalogues ``engines.toml`` and ``power.toml`` hold."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True)
    rows = energy_rows(parser.parse_args().data)
    rows = rows.take(rows.subset == "dense-bf16")
    fit = _fit(rows)
    print(f"host_step_s = {fit.host[0]:.4g}\nhost_sequence_s = {fit.host[1]:.4g}")
    print("idle = {:.4g}\nmemory = {:.4g}\ncompute = {:.4g}".format(*fit.power))
    for name, group in (("measured", rows.model), ("other", rows.device)):
        ratios = []
        for left in dict.fromkeys(group.tolist()):
            out = rows.take(group == left)
            constants_ = fit_power(rows.take(group != left))
            ratios.append(out.watts / _watts(out, constants_, out.step_s))
        ends = np.quantile(np.concatenate(ratios), _QUANTILES)
        print(f"{name} = [{ends[0]:.3g}, {ends[1]:.3g}]")


if __name__ == "__main__":
    main()
