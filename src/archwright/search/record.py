"""Between the loop and the store: rows out, recorded trials in, and the result of a study."""

from __future__ import annotations

import csv
import io
import json
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from archwright.errors import SpecificationError, unknown
from archwright.search.environment import Environment, Measurements
from archwright.search.goal import Goal, Scores, order
from archwright.search.panels import Table
from archwright.search.seeds import trial_seeds
from archwright.search.space import Design, ParameterSpace
from archwright.search.store import (
    Disk,
    Store,
    TableSchema,
    read_study,
    read_trials,
    stored_schema,
)
from archwright.search.store.artifacts import read_artifact
from archwright.solve.pareto import nondominated

if TYPE_CHECKING:
    import pandas
    import polars

__all__ = ["Recorded", "Recorder", "Result", "load_result"]


class _AskedBlock(Protocol):
    first: int
    designs: Any
    fidelity: tuple[str, ...]
    parents: npt.NDArray[np.int64]
    repeat_of: npt.NDArray[np.int64]


class Recorded:
    """The trials a store already holds, in columns, as the loop replays them."""

    def __init__(self, table: pa.Table, schema: TableSchema, space: Any) -> None:
        self._schema = schema
        self._space = space
        replicate = table["replicate"].to_numpy()
        self._replicates = int(replicate.max()) + 1 if len(replicate) else 1
        self._tables = [
            table.filter(pa.array(replicate == r)) if self._replicates > 1 else table
            for r in range(self._replicates)
        ]

    def __len__(self) -> int:
        return int(self._tables[0].num_rows)

    @cached_property
    def _designs(self) -> Any:
        if not len(self):
            return self._space.concatenate([])
        return self._space.from_columns(self._schema.parameter_columns(self._tables[0]))

    @cached_property
    def keys(self) -> list[bytes]:
        """Key of each trial's design."""
        keys: list[bytes] = self._space.keys(self._designs) if len(self) else []
        return keys

    @cached_property
    def feasible(self) -> npt.NDArray[np.bool_]:
        """Feasibility of each trial, under every seed."""
        columns = [_bools(table["feasible"]) for table in self._tables]
        return np.asarray(np.logical_and.reduce(columns))

    @cached_property
    def _measured(self) -> list[Measurements]:
        return [_measurements(table, self._schema) for table in self._tables]

    def design(self, trial: int) -> Design:
        """Return the stored design of a trial."""
        design: Design = self._designs[trial]
        return design

    def inherited(self, n: int) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
        """Return fidelity and parent (-1 for none) of the first n trials."""
        head = self._tables[0].slice(0, n)
        parents = head["parent"].fill_null(-1).to_numpy()
        return tuple(head["fidelity"].to_pylist()), parents

    def measured(self, first: int, n: int) -> list[Measurements]:
        """Return the measurements of trials first to first + n - 1, one a replicate."""
        return [whole.take(slice(first, first + n)) for whole in self._measured]


class Recorder:
    """Writes what a loop tells, to a folder or to memory. Open it with :meth:`open`."""

    def __init__(
        self,
        environment: Environment,
        goal: Goal,
        schema: TableSchema,
        store: Store | None,
        identity: Mapping[str, Any],
    ) -> None:
        self._identity = identity
        self.artifacts = schema.artifacts
        self.disk = Disk() if store is None else store.disk
        self._memory: tempfile.TemporaryDirectory[str] | None = None
        self._environment = environment
        self._goal = goal
        self._schema = schema
        self._store = store
        self._batches: list[pa.RecordBatch] = []
        self._provenance: dict[str, str] = {}
        found = schema.arrow.empty_table() if store is None else store.recorded
        self.recorded = Recorded(found, schema, environment.space)
        self.elapsed_s = self._read_elapsed()
        self.event("continued" if len(self.recorded) else "started", trials=len(self.recorded))

    @classmethod
    def open(
        cls,
        environment: Environment,
        goal: Goal,
        folder: Path | None,
        identity: Mapping[str, Any],
        files: Mapping[str, str],
        disk: Disk | None = None,
    ) -> Recorder:
        """Open the folder of a study, new or to continue."""
        objectives = goal.objectives
        schema = TableSchema(
            dict(environment.space.types),
            [metric.name for metric in environment.metrics],
            objectives.losses,
            objectives.constraints,
            tuple(getattr(environment, "artifacts", ())),
            tuple(f.name for f in environment.fidelities)
            if len(environment.fidelities) > 1
            else (),
        )
        store = (
            None
            if folder is None
            else Store.open(folder, identity, schema, files=files, disk=disk)
        )
        try:
            return cls(environment, goal, schema, store, identity)
        except BaseException:
            if store is not None:
                store.abandon()
            raise

    def append(
        self,
        block: _AskedBlock,
        results: list[Measurements],
        scores: Scores,
        seconds: npt.NDArray[np.float64],
        seed: int,
    ) -> None:
        """Flush a told block: one row a trial and replicate."""
        n, count = len(scores), len(results)
        self._provenance.update(results[0].provenance)
        each = [self._goal.score(result) for result in results] if count > 1 else [scores]
        columns: dict[str, Any] = {}
        trials = np.arange(block.first, block.first + n)
        columns["trial"] = trials
        columns["replicate"] = np.zeros(n, dtype=np.int32)
        columns["parent"] = np.ma.MaskedArray(block.parents, mask=block.parents < 0)
        columns["fidelity"] = list(block.fidelity)
        for name, values in self._environment.space.columns(block.designs).items():
            columns[f"param.{name}"] = values
        repeats = block.repeat_of >= 0
        columns["seconds"] = seconds
        parts = []
        for replicate, (measured, score) in enumerate(zip(results, each, strict=True)):
            rows = dict(columns)
            rows["seed"] = trial_seeds(seed, trials, replicate)
            rows["replicate"] = np.full(n, replicate, dtype=np.int32)
            if score.feasible.all() and not repeats.any():
                rows["state"] = ["complete"] * n
            else:
                state = np.where(score.feasible, "complete", "infeasible").astype(object)
                state[repeats] = "repeat"
                rows["state"] = state
            for name, values in measured.metrics.items():
                rows[f"metric.{name}"] = values
            for name, values in measured.low.items():
                rows[f"metric.{name}.low"] = values
            for name, values in measured.high.items():
                rows[f"metric.{name}.high"] = values
            for i, name in enumerate(self._schema.losses):
                rows[f"loss.{name}"] = score.losses[:, i]
            for i, name in enumerate(self._schema.constraints):
                rows[f"constraint.{name}"] = score.violations[:, i]
            for name, digests in measured.artifacts.items():
                rows[f"artifact.{name}"] = digests
            rows["feasible"] = score.feasible
            if measured.reason is not None:
                rows["reason"] = list(measured.reason)
            parts.append(rows)
        whole = parts[0] if count == 1 else _interleave(self._schema, parts, n)
        if self._store is not None:
            self._store.append(whole)
        else:
            self._batches.append(self._schema.batch(whole))

    @property
    def artifacts_folder(self) -> Path:
        """Where artifacts are: in the study's folder, or a temporary one."""
        if self._store is not None:
            return self._store.folder / "artifacts"
        if self._memory is None:
            self._memory = tempfile.TemporaryDirectory(prefix="archwright-artifacts-")
        return Path(self._memory.name) / "artifacts"

    def snapshot(self, state: Mapping[str, Any], seconds: float) -> None:
        """Keep a snapshot of the loop."""
        if self._store is not None:
            self._store.snapshot(state)
            self.note_elapsed(seconds)

    def newest_snapshot(self, trials: int) -> dict[str, Any] | None:
        """Return the newest whole snapshot that ``trials`` recorded trials reach."""
        if self._store is None:
            return None
        reached = [s for s in self._store.snapshots() if s["told"] <= trials]
        return reached[0] if reached else None

    def event(self, kind: str, **details: Any) -> None:
        """Note something in the event log."""
        if self._store is not None:
            self._store.event(kind, **details)

    def interrupted(self, seconds: float) -> None:
        """Seal what was flushed, so that the study can be continued or read."""
        if self._store is not None:
            self._store.seal()
            self.note_elapsed(seconds)

    def note_elapsed(self, seconds: float) -> None:
        """Keep the running time, which a budget in seconds counts over all runs."""
        if self._store is not None:
            self._store.write("elapsed.json", json.dumps({"seconds": seconds}) + "\n")

    def finish(
        self,
        stopped: str,
        evaluations: int,
        seconds: float,
        seed: int,
        *,
        conclude: Callable[[Result], Mapping[str, Any]],
    ) -> Result:
        """Seal, write the summary with what is concluded and the front, and return the result."""
        if self._store is None:
            table = pa.Table.from_batches(self._batches, schema=self._schema.arrow)
            return Result(table, self._schema, stopped, None, (), self._identity)
        self._store.seal()
        self.note_elapsed(seconds)
        table = read_trials(self._store.folder)
        self._store.collect(table)
        notes = tuple(self._store.notes)
        result = Result(table, self._schema, stopped, self._store.folder, notes, self._identity)
        self._store.write("front.csv", result.front_csv())
        summary = _summary(result, self._provenance, stopped, evaluations, seconds, seed)
        summary |= conclude(result)
        self._store.write("summary.json", json.dumps(summary, indent=1) + "\n")
        self.event("finished", why=stopped, trials=len(table))
        self._store.close()
        return result

    def abandon(self) -> None:
        """Release the folder."""
        if self._store is not None:
            self._store.abandon()
        if self._memory is not None:
            self._memory.cleanup()

    def _read_elapsed(self) -> float:
        if self._store is None:
            return 0.0
        return elapsed_s(self._store.folder) or 0.0


def elapsed_s(folder: Path) -> float | None:
    """Return the running time that a folder holds, over all runs of the study; None without."""
    try:
        return float(json.loads((folder / "elapsed.json").read_text())["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True)
class Result:
    """The trials of a study and what can be read off them.

    Attributes:
        table: one row a trial and replicate, as the store has it.
        schema: names of its parameters, metrics, losses and constraints.
        stopped: why the study ended.
        folder: where it is kept; None in memory.
        notes: what was healed on opening.
        study: what the study is, as its folder states it.
    """

    table: pa.Table
    schema: TableSchema
    stopped: str
    folder: Path | None
    notes: tuple[str, ...]
    study: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def space(self) -> ParameterSpace:
        """The space of the designs.

        Raises:
            SpecificationError: the study's space was no space of parameters.
        """
        description = self.study.get("environment is", {}).get("space")
        if not isinstance(description, Mapping):
            raise SpecificationError("the study does not say what space it searched; name it")
        return ParameterSpace.from_description(description)

    def to_pandas(self) -> pandas.DataFrame:
        """Return the table as a pandas data frame."""
        frame: pandas.DataFrame = self.table.to_pandas()
        return frame

    def to_polars(self) -> polars.DataFrame:
        """Return the table as a Polars data frame (Polars is not installed with the core)."""
        import polars

        frame = polars.from_arrow(self.table)
        assert isinstance(frame, polars.DataFrame)
        return frame

    def __repr__(self) -> str:
        where = "" if self.folder is None else f"; {self.folder}"
        return f"Result({self._counts()}; {self.stopped}{where})"

    def _counts(self) -> str:
        feasible = int(_bools(self.trials["feasible"]).sum())
        front = len(self.front)
        return f"{len(self.trials):,} designs, {feasible:,} feasible, {front:,} on the front"

    def _repr_html_(self) -> str:
        """Return a small table for notebooks: counts, why it ended, best designs."""
        rows = list(dict.fromkeys([*([] if (b := self.best()) is None else [b]), *self.front[:5]]))
        names = ["trial", *(f"param.{n}" for n in self.schema.parameters)]
        names += [f"metric.{n}" for n in self.schema.metrics]
        shown = self.trials.take(pa.array(rows, type=pa.int64())).select(names).to_pylist()
        return Table(
            title=f"{self._counts()}; {self.stopped}. Best first:",
            columns=[name.split(".", 1)[-1] for name in names],
            rows=[[_short(value) for value in row.values()] for row in shown],
        )._repr_html_()

    @cached_property
    def trials(self) -> pa.Table:
        """One row a design, at the truest fidelity; repeats left out, replicates averaged."""
        table = self.table
        kept = np.array([s != "repeat" for s in table["state"].to_pylist()], dtype=bool)
        if self.schema.fidelities:
            truest = self.schema.fidelities[-1]
            kept &= np.array([f == truest for f in table["fidelity"].to_pylist()], dtype=bool)
        table = table.filter(pa.array(kept))
        replicate = table["replicate"].to_numpy()
        count = int(replicate.max()) + 1 if len(replicate) else 1
        if count == 1:
            return table
        groups = [table.filter(pa.array(replicate == r)) for r in range(count)]
        merged = groups[0]
        for i, column in enumerate(merged.schema):
            if column.name.startswith(("metric.", "loss.", "constraint.")):
                mean = np.mean([g[column.name].to_numpy() for g in groups], axis=0)
                merged = merged.set_column(i, column, pa.array(mean))
            elif column.name == "feasible":
                every = np.logical_and.reduce([_bools(g["feasible"]) for g in groups])
                merged = merged.set_column(i, column, pa.array(every))
        return merged

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return a column of :attr:`trials` as numpy."""
        if name not in self.trials.column_names:
            raise SpecificationError(unknown("column", name, self.trials.column_names))
        return np.asarray(self.trials[name].to_numpy(zero_copy_only=False))

    def metric(self, name: str) -> npt.NDArray[np.float64]:
        """Return a metric of each design."""
        return self.column(f"metric.{name}")

    @cached_property
    def losses(self) -> npt.NDArray[np.float64]:
        """Losses of the designs, shape (n, k); NaN where infeasible or unknown."""
        columns = [self.column(f"loss.{name}") for name in self.schema.losses]
        losses = np.column_stack(columns).astype(np.float64)
        return np.where(_bools(self.trials["feasible"])[:, None], losses, np.nan)

    @cached_property
    def front(self) -> npt.NDArray[np.intp]:
        """Rows of :attr:`trials` on the front, by the first loss."""
        rows = np.flatnonzero(nondominated(self.losses))
        return rows[np.argsort(self.losses[rows, 0], kind="stable")]

    @property
    def unknown(self) -> npt.NDArray[np.intp]:
        """Rows that are feasible but lack a metric of the goal; they are on no front."""
        feasible = _bools(self.trials["feasible"])
        return np.flatnonzero(feasible & np.isnan(self.losses).any(axis=1))

    def design(self, row: int) -> Design:
        """Return the design of a row of :attr:`trials`."""
        columns = self.schema.parameter_columns(self.trials.slice(row, 1))
        return Design(
            {k: (v.tolist() if isinstance(v, np.ndarray) else v)[0] for k, v in columns.items()}
        )

    def best(self) -> int | None:
        """Return the row of the best design: by the only loss, or the first of the front."""
        if len(self.schema.losses) == 1:
            losses = self.losses
            if np.isnan(losses).all():
                return None
            scores = Scores(
                losses=losses,
                violations=np.zeros_like(losses),
                feasible=_bools(self.trials["feasible"]),
            )
            return int(order(scores)[0])
        return int(self.front[0]) if len(self.front) else None

    def artifact(self, row: int, name: str) -> bytes | None:
        """Return what the design of a row of :attr:`trials` left; None where it left nothing.

        Raises:
            SpecificationError: no such artifact, or the study was kept in memory.
            StoreError: the file is missing or damaged.
        """
        if name not in self.schema.artifacts:
            raise SpecificationError(unknown("artifact", name, self.schema.artifacts))
        if self.folder is None:
            raise SpecificationError("artifacts of a study without a folder are not kept")
        digest = self.trials[f"artifact.{name}"][row].as_py()
        return None if digest is None else read_artifact(self.folder / "artifacts", digest)

    def front_csv(self) -> str:
        """Return the front as CSV text: trial, parameters, metrics."""
        names = ["trial", *(f"param.{n}" for n in self.schema.parameters)]
        names += [f"metric.{n}" for n in self.schema.metrics]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(names)
        rows = self.trials.take(pa.array(self.front)).select(names)
        writer.writerows(zip(*(rows[n].to_pylist() for n in names), strict=True))
        return text.getvalue()


def load_result(folder: Path | str) -> Result:
    """Read a running or finished study from its folder, without locking it."""
    folder = Path(folder)
    record = read_study(folder)
    stopped = "running or interrupted"
    summary = folder / "summary.json"
    if summary.exists():
        stopped = json.loads(summary.read_text())["stopped"]
    table, schema = read_trials(folder), stored_schema(record)
    return Result(table, schema, stopped, folder, (), record["study"])


def _measurements(table: pa.Table, schema: TableSchema) -> Measurements:
    def read(suffix: str) -> dict[str, npt.NDArray[np.float64]]:
        found = {}
        for name in schema.metrics:
            column = table[f"metric.{name}{suffix}"]
            if not suffix or column.null_count < len(column):
                found[name] = column.to_numpy()
        return found

    outside = table["constraint.environment"].to_numpy()
    measured = ~(np.isnan(outside) | (outside > 0)) if len(outside) else np.ones(0, dtype=bool)
    return Measurements(
        metrics=read(""),
        low=read(".low"),
        high=read(".high"),
        feasible=measured,
        reason=table["reason"].to_pylist(),
        violation=outside,
        artifacts={name: table[f"artifact.{name}"].to_pylist() for name in schema.artifacts},
    )


def _interleave(schema: TableSchema, parts: list[dict[str, Any]], n: int) -> dict[str, Any]:
    """Put the replicates of each trial next to each other."""
    tables = [pa.Table.from_batches([schema.batch(part)]) for part in parts]
    joined = pa.concat_tables(tables)
    count = len(parts)
    rows = np.arange(n * count).reshape(count, n).T.ravel()
    taken = joined.take(pa.array(rows)).combine_chunks()
    return {name: taken[name].chunk(0) for name in taken.column_names}


def _bools(column: Any) -> npt.NDArray[np.bool_]:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=bool)


def _short(value: Any) -> Any:
    """A value of the table for notebooks; a permutation may be long."""
    text = str(value)
    return value if len(text) <= 60 else f"{text[:59]}…"


def _summary(
    result: Result,
    provenance: Mapping[str, str],
    stopped: str,
    evaluations: int,
    seconds: float,
    seed: int,
) -> dict[str, Any]:
    from archwright import __version__

    return {
        "schema": 1,
        "stopped": stopped,
        "trials": len(result.trials),
        "evaluations": evaluations,
        "feasible": int(_bools(result.trials["feasible"]).sum()),
        "front": len(result.front),
        "unknown": len(result.unknown),
        "best": None,
        "provenance": dict(provenance),
        "seed": seed,
        "seconds": round(seconds, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": {"system": platform.platform(), "python": platform.python_version()},
        "versions": {
            "archwright": __version__,
            "numpy": np.__version__,
            "pyarrow": pa.__version__,
        },
    }
