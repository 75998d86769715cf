"""How far the step costs are from measured serving: time per output token, time to first token.

The rows are those of ``serving_e2e.csv.gz`` in ``llm-measured``: one engine configuration each,
with a fixed number of clients. What the table leaves open stands in the catalogue
``accuracy.toml``. Nothing is fitted end to end but one scale a system and engine, and that only
in the splits that say so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from archwright.errors import SpecificationError, TraceError
from archwright.hardware import device
from archwright.hardware.accuracy import MEAN, AccuracyRow, accuracy_row
from archwright.hardware.tables import catalogue_toml
from archwright.llm.continuous import steady_state
from archwright.llm.parallel import ParallelPlan
from archwright.llm.step_cost import StepCost
from archwright.llm.transformers import transformer

__all__ = [
    "ServingRows",
    "llm_accuracy",
    "read_columns",
    "read_layout",
    "served",
    "step_cost_of",
    "subset_of",
]

_TOO_FAST = "faster than weights and cache can be read: fewer ran than clients, or steps drafted"

Floats = NDArray[np.float64]
Columns = Mapping[str, NDArray[Any]]


def read_columns(path: Path, needed: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Read a CSV into arrays, numbers as floats, texts as they are.

    Raises:
        TraceError: it cannot be read, is empty, or lacks a column.
    """
    try:
        table = pa.csv.read_csv(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise TraceError(f"{path}: cannot be read: {error}") from None
    for name in needed:
        if name not in table.column_names:
            raise TraceError(f"{path}:1: missing column {name!r}")
    if not table.num_rows:
        raise TraceError(f"{path}: no rows")
    found = {}
    for name in table.column_names:
        values = table[name].to_numpy(zero_copy_only=False)
        number = pa.types.is_integer(table[name].type) or pa.types.is_floating(table[name].type)
        found[name] = values.astype(np.float64) if number else values.astype(object)
    return found


def constants() -> Mapping[str, Any]:
    """Return the catalogue of what the tables leave open."""
    return catalogue_toml("archwright.llm", "accuracy.toml")


def step_cost_of(
    model: str, system: str, plan: ParallelPlan, weights: str, **options: Any
) -> StepCost:
    """Return the step cost of a measured configuration.

    Raises:
        SpecificationError: a model, system or format that the catalogues lack.
    """
    found = transformer(model)
    name = constants()["formats"].get(weights)
    if name is None:
        raise SpecificationError(f"number format {weights!r} has no name here")
    for family, own in constants()["checkpoints"].items():
        if found.name.startswith(family) and name != "bf16":
            name = own
    narrow = name not in ("bf16", "int4_weight", "mxfp4")
    return StepCost(
        model=found,
        device=device(system),
        parallel=plan,
        weight_format=name,
        kv_format=constants()["kv_cache"]["narrow"] if narrow else "bf16",
        **options,
    )


@dataclass
class ServingRows:
    """Measured rows that could be predicted, and why the others could not.

    Attributes:
        columns: name to one value a row: ``model``, ``system``, ``engine``, ``subset``,
            ``tpot_s``, ``ttft_s`` as measured, the predictions ``tpot``, ``ttft`` with ``_low``
            and ``_high``, and ``decode``, a step without prompts.
        skipped: reason to number of rows.
    """

    columns: dict[str, NDArray[Any]]
    skipped: Counter[str] = field(default_factory=Counter)


def served(folder: Path) -> ServingRows:
    """Predict every aggregated row of ``serving_e2e``.

    Raises:
        TraceError: no such file, or a broken one.
    """
    path = next(iter([*folder.glob("serving_e2e.csv.gz"), *folder.glob("serving_e2e.csv")]), None)
    if path is None:
        raise TraceError(f"{folder}: holds no serving_e2e.csv.gz")
    needed = ("model_path", "system", "backend", "mode", "isl", "osl", "gemm_quant_mode",
              "tp_size", "ttft_ms", "tpot_ms", "concurrency")  # fmt: skip
    table = read_columns(path, needed)
    rows = np.flatnonzero(table["mode"] == "agg")
    parts: list[dict[str, Any]] = []
    skipped: Counter[str] = Counter()
    sound = np.ones(len(rows), dtype=bool)
    for name in ("concurrency", "isl", "osl"):
        good = np.isfinite(table[name][rows]) & (table[name][rows] >= 1)
        skipped[f"no {name} is given"] += int((sound & ~good).sum())
        sound &= good
    rows, skipped = rows[sound], +skipped
    for key, at in _configurations(table, rows):
        model, system, engine, weights, plan_key = key
        try:
            plan = read_layout(system, plan_key)
            own = constants()["engines"].get(engine, "overlapped")
            cost = step_cost_of(model, system, plan, weights, engine=own, sampling="greedy")
            found = _predict(table, at, cost) | {
                "model": np.full(len(at), cost.model.name, dtype=object),
                "system": np.full(len(at), cost.device.name, dtype=object),
                "engine": np.full(len(at), engine, dtype=object),
                "subset": np.full(len(at), subset_of(cost), dtype=object),
            }
            possible = found.pop("possible").astype(bool)
            if not possible.all():
                skipped[_TOO_FAST] += int((~possible).sum())
            if possible.any():
                parts.append({name: values[possible] for name, values in found.items()})
        except SpecificationError as error:
            skipped[str(error)] += len(at)
    if not parts:
        raise TraceError(f"{path}: no row of a model and system that the catalogues know")
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return ServingRows(columns, skipped)


def _configurations(table: Columns, rows: NDArray[np.intp]) -> Iterator[tuple[Any, Any]]:
    """Group rows of one model, system, engine, format and layout."""
    groups: dict[Any, list[int]] = {}

    def number(name: str, i: int) -> int:
        value = table[name][i] if name in table else np.nan
        return 1 if value is None or not np.isfinite(value) else int(value)

    for i in rows.tolist():
        text = table["gemm_quant_mode"][i]
        layout = tuple(
            number(name, i)
            for name in ("tp_size", "pp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
        )
        weights = text if isinstance(text, str) and text else "bf16"
        key = (table["model_path"][i], table["system"][i], table["backend"][i], weights, layout)
        groups.setdefault(key, []).append(i)
    for key, at in groups.items():
        yield key, np.array(at)


def read_layout(system: str, widths: tuple[int, ...]) -> ParallelPlan:
    """Read a layout; the tables count attention groups within or beside the tensor width.

    Some rows count a width twice: a box of 8 has not 64 ranks, and as many groups as tensor ranks
    lie within them.

    Raises:
        SpecificationError: a width below 1, or a layout that nothing runs.
    """
    tp, pp, dp, moe_tp, moe_ep = widths
    if min(widths) < 1:
        raise SpecificationError(f"broken layout: a width of {min(widths)}, expected 1 or more")
    box = device(system).levels[0].devices or 1
    if moe_tp == moe_ep and max(tp, dp) == moe_tp * moe_ep > box:
        tp, dp, moe_ep = (moe_ep, 1, moe_ep) if dp == 1 else (1, moe_ep, moe_ep)
        moe_tp = 1
    elif tp == dp > 1 and moe_tp * moe_ep == tp * dp:
        tp, moe_tp, moe_ep = 1, 1, dp
    most = constants()["layout"]["most_tensor"]
    ranks = max(tp, moe_tp * moe_ep)
    tensor = max(ranks // dp, 1)
    if tensor > most:
        raise SpecificationError(f"broken layout: tensor width {tensor}, expected 1 to {most}")
    return ParallelPlan(tensor=tensor, pipeline=pp, expert=moe_ep, data_parallel_attention=dp)


def subset_of(cost: StepCost) -> str:
    """Return what the rows of a configuration are called, such as ``dense-bf16``."""
    kind = "moe" if cost.model.experts else "dense"
    return f"{kind}-{cost.weight_format}"


def _predict(table: Columns, at: NDArray[np.intp], cost: StepCost) -> dict[str, Floats]:
    groups = cost.parallel.data_parallel_attention
    state = steady_state(
        cost,
        sequences=table["concurrency"][at] / groups,
        input_tokens=table["isl"][at],
        output_tokens=table["osl"][at],
        budget_tokens=constants()["step"]["budget_tokens"],
    )
    tpot, ttft = state.tpot_s, state.burst_ttft_s
    spread = {end: state.tpot(end) / tpot for end in ("low", "high")}
    read_s = (state.decode.weight_bytes + state.decode.kv_bytes) / (
        cost.device.memory_bandwidth_bytes_s
    )
    return {
        "possible": read_s <= 1.02 * table["tpot_ms"][at] * 1e-3,
        "tpot_s": table["tpot_ms"][at] * 1e-3,
        "ttft_s": table["ttft_ms"][at] * 1e-3,
        "tpot": tpot,
        "decode": state.decode.seconds,
        "ttft": ttft,
        **{f"tpot_{end}": tpot * s for end, s in spread.items()},
        "ttft_low": state.alone_s,
        "ttft_high": np.maximum(state.together_s, state.alone_s),
    }


def llm_accuracy(
    data_dir: str | Path, *, skipped: dict[str, int] | None = None
) -> list[AccuracyRow]:
    """Score the step costs against measured serving.

    ``shipped``: nothing fitted end to end. ``rows``: one scale a system and engine, fitted on
    half of its rows, scored on the other. ``model`` and ``device``: the scale of the other models
    of that system and engine, or of the other systems of that engine.

    Args:
        data_dir: folder that holds ``llm-measured``, or is it, and ``llm-energy`` beside it.
        skipped: filled with reasons and the number of rows that each left out.

    Raises:
        TraceError: no table, or a broken one.
    """
    folder = Path(data_dir)
    folder = folder / "llm-measured" if (folder / "llm-measured").is_dir() else folder
    found = served(folder)
    if skipped is not None:
        skipped.update(found.skipped)
    c = found.columns
    dense = np.array([str(s).startswith("dense") for s in c["subset"]])
    llama = dense & np.array([str(m).startswith("Llama") for m in c["model"]])
    subsets = {str(name): c["subset"] == name for name in dict.fromkeys(c["subset"].tolist())}
    subsets |= {"dense-llama": llama, "dense": dense, "moe": ~dense}
    subsets["all"] = np.ones(len(dense), dtype=bool)
    rows: list[AccuracyRow] = []
    for quantity, name in (("tpot_s", "tpot"), ("ttft_s", "ttft")):
        measured = c[quantity].astype(np.float64)
        known = np.isfinite(measured) & (measured > 0)
        for subset, mask in subsets.items():
            at = np.flatnonzero(mask & known)
            if len(at):
                rows += _score(c, at, quantity, name, subset)
    return rows


def _score(
    c: Columns, at: NDArray[np.intp], quantity: str, name: str, subset: str
) -> list[AccuracyRow]:
    measured, predicted = c[quantity][at], c[name][at]
    low, high = c[f"{name}_low"][at], c[f"{name}_high"][at]

    def row(split: str, keep: Any, values: Floats, factor: Any = None) -> AccuracyRow:
        ends = {} if factor is None else {
            "low": low[keep] * factor[keep], "high": high[keep] * factor[keep]
        }  # fmt: skip
        return accuracy_row(
            values[keep], measured[keep], table="serving_e2e", subset=subset,
            quantity=quantity, split=split, **ends,
        )  # fmt: skip

    everything = np.arange(len(at))
    rows = [row("shipped", everything, predicted, np.ones(len(at)))]
    pair = np.char.add(np.char.add(c["system"][at].astype(str), "|"), c["engine"][at].astype(str))
    half = np.random.default_rng(0).random(len(at)) < 0.5
    log = np.log(measured / predicted)
    trainings: dict[str, Any] = {
        "rows": lambda i: (pair == pair[i]) & half,
        "model": lambda i: (pair == pair[i]) & (c["model"][at] != c["model"][at][i]),
        "device": lambda i: (c["engine"][at] == c["engine"][at][i]) & (pair != pair[i]),
    }
    for split, training in trainings.items():
        factor, mean = np.full(len(at), np.nan), np.full(len(at), np.nan)
        masks: dict[Any, Any] = {}
        for i in range(len(at)):
            key = (pair[i], c["model"][at][i])
            if key not in masks:
                rows_used = training(i)
                masks[key] = (
                    (np.exp(np.median(log[rows_used])), measured[rows_used].mean())
                    if rows_used.any()
                    else (np.nan, np.nan)
                )
            factor[i], mean[i] = masks[key]
        keep = np.flatnonzero(np.isfinite(factor) & (~half if split == "rows" else True))
        if len(keep):
            rows.append(row(split, keep, predicted * factor, factor))
            rows.append(row(split + MEAN, keep, mean))
    return rows
