"""Writes what a session tells, to a folder or to memory."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from archwright.search.environments import Environment, Measurements
from archwright.search.goal import Goal, Scores
from archwright.search.seeds import trial_seeds
from archwright.search.store import Disk, Store, TableSchema, read_trials
from archwright.search.study.asklog import AskLog
from archwright.search.study.blocks import OpenBlock
from archwright.search.study.budget import Budget
from archwright.search.study.identity import canonical
from archwright.search.study.recorded import Recorded
from archwright.search.study.result import Result, elapsed_s, summary_of

__all__ = ["Recorder"]


class Recorder:
    """Writes what a session tells, to a folder or to memory. Open it with :meth:`open`."""

    def __init__(
        self,
        environment: Environment,
        goal: Goal,
        schema: TableSchema,
        store: Store | None,
        identity: Mapping[str, Any],
        seed: int = 0,
    ) -> None:
        self._identity = identity
        self._seed = seed
        self.artifacts = schema.artifacts
        self.disk = Disk() if store is None else store.disk
        self._memory: tempfile.TemporaryDirectory[str] | None = None
        self._environment = environment
        self._goal = goal
        self._schema = schema
        self._store = store
        self._batches: list[pa.RecordBatch] = []
        self._provenance: dict[str, str] = dict(_summary_of(store).get("provenance", {}))
        empty = schema.arrow.empty_table()
        found, ahead = (empty, empty) if store is None else (store.recorded, store.ahead)
        self.recorded = Recorded(found, ahead, schema, environment.space)
        self._next = len(self.recorded)
        self._ahead = {
            trial: ahead.filter(pa.array(ahead["trial"].to_numpy() == trial))
            for trial in dict.fromkeys(ahead["trial"].to_pylist())
        }
        self.open_now = True
        self.elapsed_s = self._read_elapsed()
        self.log = AskLog(None if store is None else store.folder, self.disk)
        self.event("continued" if self.recorded.known else "started", trials=self.recorded.known)

    @classmethod
    def open(
        cls,
        environment: Environment,
        goal: Goal,
        folder: Path | None,
        identity: Mapping[str, Any],
        files: Mapping[str, str],
        disk: Disk | None = None,
        *,
        seed: int = 0,
        told: bool = False,
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
            told,
        )
        store = (
            None
            if folder is None
            else Store.open(folder, identity, schema, files=files, disk=disk, canonical=canonical)
        )
        try:
            if store is not None:
                _renew(store, files)
            return cls(environment, goal, schema, store, identity, seed)
        except BaseException:
            if store is not None:
                store.abandon()
            raise

    def append(
        self,
        block: OpenBlock,
        part: slice,
        results: list[Measurements],
        scores: Scores,
        *,
        told: int | None = None,
    ) -> None:
        """Flush trials of a block: one row a trial and replicate; all before them are flushed."""
        rows = np.arange(part.start, part.stop)
        if block.first + part.start != self._next:
            raise AssertionError(f"trial {block.first + part.start} is not {self._next}")
        self._write(self._rows(block, rows, results, scores, told))
        self._next += len(rows)
        if not self._ahead:
            return
        while (whole := self._ahead.pop(self._next, None)) is not None and told is not None:
            self._write({name: whole[name].combine_chunks() for name in whole.column_names})
            self._next += 1
        if not any(trial >= self._next for trial in self._ahead):
            self._ahead.clear()
            if self._store is not None:
                self._store.forget_ahead()

    def append_ahead(
        self,
        block: OpenBlock,
        rows: npt.NDArray[np.intp],
        results: list[Measurements],
        scores: Scores,
        *,
        told: int | None = None,
    ) -> None:
        """Flush trials before which others are still out."""
        columns = self._rows(block, rows, results, scores, told)
        table = pa.Table.from_batches([self._schema.batch(columns)])
        trials = table["trial"].to_numpy()
        for trial in dict.fromkeys(trials.tolist()):
            self._ahead[trial] = table.filter(pa.array(trials == trial))
        if self._store is not None:
            self._store.append_ahead(columns)

    def contiguous(self, trial: int) -> bool:
        """Whether all trials before one are flushed in order."""
        return trial == self._next

    @property
    def sizes(self) -> Mapping[int, int]:
        """Asks, by their number, that were of another size than the chunk."""
        return self.log.sizes

    @property
    def drains(self) -> Collection[int]:
        """Asks before which the study had ended once, so that all was told."""
        return self.log.drains

    def _rows(
        self,
        block: OpenBlock,
        rows: npt.NDArray[np.intp],
        results: list[Measurements],
        scores: Scores,
        told: int | None,
    ) -> dict[str, Any]:
        """Return the columns of some trials of a block, their replicates next to each other."""
        n, count = len(rows), len(results)
        for result in results:
            self._provenance.update(result.provenance)
        each = [self._goal.score(result) for result in results] if count > 1 else [scores]
        everything = n == len(block)
        trials = block.first + rows
        parents = block.parents[rows]
        columns: dict[str, Any] = {
            "trial": trials,
            "parent": np.ma.MaskedArray(parents, mask=parents < 0),
            "fidelity": [block.fidelity[row] for row in rows.tolist()],
        }
        if self._schema.told:
            columns["told"] = np.full(n, told, dtype=np.int64)
        designs = block.designs if everything else block.designs.take(rows)
        for name, values in self._environment.space.columns(designs).items():
            columns[f"param.{name}"] = values
        repeats = block.repeat_of[rows] >= 0
        parts = []
        for replicate, (measured, score) in enumerate(zip(results, each, strict=True)):
            part = dict(columns)
            part["seed"] = trial_seeds(self._seed, trials, replicate)
            part["replicate"] = np.full(n, replicate, dtype=np.int32)
            part["seconds"] = block.seconds[replicate, rows]
            if block.known:
                part["state"] = ["known"] * n
            elif score.feasible.all() and not repeats.any():
                part["state"] = ["complete"] * n
            else:
                state = np.where(score.feasible, "complete", "infeasible").astype(object)
                if measured.failed is not None:
                    state[measured.failed] = "failed"
                state[repeats] = "repeat"
                part["state"] = state
            for name, values in measured.metrics.items():
                part[f"metric.{name}"] = values
            for name, values in measured.low.items():
                part[f"metric.{name}.low"] = values
            for name, values in measured.high.items():
                part[f"metric.{name}.high"] = values
            for i, name in enumerate(self._schema.losses):
                part[f"loss.{name}"] = score.losses[:, i]
            for i, name in enumerate(self._schema.constraints):
                part[f"constraint.{name}"] = score.violations[:, i]
            for name, digests in measured.artifacts.items():
                part[f"artifact.{name}"] = digests
            part["feasible"] = score.feasible
            if measured.reason is not None:
                part["reason"] = list(measured.reason)
            parts.append(part)
        return parts[0] if count == 1 else _interleave(self._schema, parts, n)

    def _write(self, columns: Mapping[str, Any]) -> None:
        if self._store is not None:
            self._store.append(columns)
        else:
            self._batches.append(self._schema.batch(columns))

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
        budget: Budget,
        complete: bool,
        conclude: Callable[[Result], Mapping[str, Any]],
    ) -> Result:
        """Seal, write the summary with what is concluded and the front, and return the result."""
        self.open_now = False
        if self._store is None:
            table = pa.Table.from_batches(self._batches, schema=self._schema.arrow)
            behind = [self._ahead[trial] for trial in sorted(self._ahead)]
            table = pa.concat_tables([table, *behind]).combine_chunks()
            return Result(table, self._schema, stopped, None, (), self._identity)
        self._store.seal()
        self.note_elapsed(seconds)
        table = read_trials(self._store.folder)
        self._store.collect(table)
        notes = tuple(self._store.notes)
        result = Result(table, self._schema, stopped, self._store.folder, notes, self._identity)
        self._store.write("front.csv", result.front_csv())
        summary = summary_of(result, self._provenance, stopped, evaluations, seconds, seed)
        summary |= conclude(result)
        summary["budget"] = dataclasses.asdict(budget)
        summary["complete"] = complete
        self._store.write("summary.json", json.dumps(summary, indent=1) + "\n")
        self.event("finished", why=stopped, trials=len(table))
        self._store.close()
        return result

    def finished(self, budget: Budget) -> Result | None:
        """Return the result of a study that had ended under this very budget, else None."""
        if self._store is None:
            return None
        summary = _summary_of(self._store)
        same = summary.get("complete") and summary.get("budget") == dataclasses.asdict(budget)
        table = self._store.recorded
        if not same or summary.get("rows") != len(table) or len(self._store.ahead):
            return None
        self.event("read", why=summary["stopped"])
        notes, folder = tuple(self._store.notes), self._store.folder
        return Result(table, self._schema, summary["stopped"], folder, notes, self._identity)

    def asked_size(self, ask: int, n: int) -> None:
        """Note an ask of another size than the chunk, as at the end of a budget."""
        self.log.size(ask, n)

    def drained(self, ask: int) -> None:
        """Note that all was told before an ask, for the study had ended there."""
        self.log.drain(ask)

    def abandon(self) -> None:
        """Release the folder."""
        self.open_now = False
        if self._store is not None:
            self._store.abandon()
        if self._memory is not None:
            self._memory.cleanup()

    def _read_elapsed(self) -> float:
        if self._store is None:
            return 0.0
        return elapsed_s(self._store.folder) or 0.0


def _renew(store: Store, files: Mapping[str, str]) -> None:
    """Write what a study file says now, such as a budget that has grown."""
    for name, text in files.items():
        path = store.folder / name
        if not path.exists() or path.read_text() != text:
            store.write(name, text)


def _summary_of(store: Store | None) -> dict[str, Any]:
    """Return what the folder's last run summed up; nothing without one."""
    try:
        found: Any = (
            {} if store is None else json.loads((store.folder / "summary.json").read_text())
        )
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _interleave(schema: TableSchema, parts: list[dict[str, Any]], n: int) -> dict[str, Any]:
    """Put the replicates of each trial next to each other."""
    tables = [pa.Table.from_batches([schema.batch(part)]) for part in parts]
    joined = pa.concat_tables(tables)
    count = len(parts)
    rows = np.arange(n * count).reshape(count, n).T.ravel()
    taken = joined.take(pa.array(rows)).combine_chunks()
    return {name: taken[name].chunk(0) for name in taken.column_names}
