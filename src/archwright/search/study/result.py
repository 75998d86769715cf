"""The trials of a study and what can be read off them."""

from __future__ import annotations

import csv
import io
import json
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from archwright.errors import SpecificationError, unknown
from archwright.search.goal import Scores, order
from archwright.search.panels import Table
from archwright.search.space import Design, ParameterSpace
from archwright.search.store import TableSchema, read_study, read_trials, stored_schema
from archwright.search.store.artifacts import read_artifact
from archwright.search.study.columns import booleans
from archwright.solve.pareto import nondominated

if TYPE_CHECKING:
    import pandas
    import polars

__all__ = ["Result", "elapsed_s", "load_result", "summary_of"]


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
        feasible = int(booleans(self.trials["feasible"]).sum())
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
                every = np.logical_and.reduce([booleans(g["feasible"]) for g in groups])
                merged = merged.set_column(i, column, pa.array(every))
            elif column.name == "seconds":
                total = np.sum([g["seconds"].to_numpy() for g in groups], axis=0)
                merged = merged.set_column(i, column, pa.array(total))
            elif column.name in ("reason", "state"):  # of the first seed that went wrong
                wrong = "complete" if column.name == "state" else None
                rows = zip(*(g[column.name].to_pylist() for g in groups), strict=True)
                first = [next((v for v in row if v != wrong), wrong) for row in rows]
                merged = merged.set_column(i, column, pa.array(first, type=column.type))
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
        return np.where(booleans(self.trials["feasible"])[:, None], losses, np.nan)

    @cached_property
    def front(self) -> npt.NDArray[np.intp]:
        """Rows of :attr:`trials` on the front, by the first loss."""
        rows = np.flatnonzero(nondominated(self.losses))
        return rows[np.argsort(self.losses[rows, 0], kind="stable")]

    @property
    def unknown(self) -> npt.NDArray[np.intp]:
        """Rows that are feasible but lack a metric of the goal; they are on no front."""
        feasible = booleans(self.trials["feasible"])
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
                feasible=booleans(self.trials["feasible"]),
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


def _short(value: Any) -> Any:
    """A value of the table for notebooks; a permutation may be long."""
    text = str(value)
    return value if len(text) <= 60 else f"{text[:59]}…"


def summary_of(
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
        "rows": len(result.table),
        "evaluations": evaluations,
        "feasible": int(booleans(result.trials["feasible"]).sum()),
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
