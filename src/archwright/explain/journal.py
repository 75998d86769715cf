"""A study as an Optuna journal: the file that ``JournalStorage`` and Optuna's dashboard open."""

from __future__ import annotations

import json
import math
import os
import time
import warnings
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from archwright.errors import MissingExtraError
from archwright.explain.columns import Column, objectives
from archwright.search.space import Choice, Integer, Ordinal, ParameterSpace, Real
from archwright.search.study import Result

__all__ = ["write_optuna_journal"]


def write_optuna_journal(
    result: Result,
    path: str | os.PathLike[str],
    *,
    name: str = "archwright",
    space: object = None,
) -> int:
    """Write the designs of a study as an Optuna journal and return their number.

    Repeats are left out and replicates averaged. Values are the goal's metrics in their own
    sign. A design that breaks a limit but was measured is ``COMPLETE`` with a constraint above
    0, as Optuna marks it; one without values is ``FAIL``. All metrics, our trial number and the
    reason of an infeasible design are user attributes. The times of a trial are its seconds of
    evaluation laid end to end, since a study keeps no clock times.

    ::

        study = optuna.load_study(
            study_name="archwright",
            storage=JournalStorage(JournalFileBackend("trials.log")),
        )

    Args:
        result: the trials of a study.
        path: the file; one that exists is replaced.
        name: of the study in the journal.
        space: the study's space, for the full ranges of its parameters; without it ranges are
            those of the trials.

    Raises:
        MissingExtraError: Optuna is not installed.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
    except ImportError as error:
        raise MissingExtraError("export to an Optuna journal", "optuna") from error

    class Memory(BaseJournalBackend):  # type: ignore[misc]
        """Collects the log, so that it is written once instead of locked for every trial."""

        def __init__(self) -> None:
            self.logs: list[dict[str, Any]] = []

        def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
            return self.logs[log_number_from:]

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            self.logs += json.loads(json.dumps(logs))

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        memory = Memory()
        columns = objectives(result)
        study = optuna.create_study(
            storage=JournalStorage(memory),
            study_name=name,
            directions=["minimize" if c.sign > 0 else "maximize" for c in columns],
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([column.name for column in columns])
        trials = _trials(result, columns, space)
        study.add_trials(trials)
    finally:
        optuna.logging.set_verbosity(verbosity)
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        JournalFileBackend(str(temporary)).append_logs(memory.logs)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return len(trials)


def _trials(result: Result, columns: list[Column], space: object) -> list[Any]:
    from optuna.trial import TrialState, create_trial

    table = result.trials
    names = list(result.schema.parameters)
    values = {name: table[f"param.{name}"].to_pylist() for name in names}
    known = space.parameters if isinstance(space, ParameterSpace) else {}
    kinds = {name: _distribution(values[name], known.get(name)) for name in names}
    scores = np.column_stack([column.values for column in columns]).tolist()
    metrics = {name: result.metric(name).tolist() for name in result.schema.metrics}
    limits = [result.column(f"constraint.{name}").tolist() for name in result.schema.constraints]
    seconds = np.nan_to_num(np.asarray(result.column("seconds"), dtype=np.float64))
    ends = np.cumsum(seconds)
    start = datetime.fromtimestamp(_started(result, float(seconds.sum())))
    trials = []
    for row, (number, feasible, reason) in enumerate(
        zip(
            table["trial"].to_pylist(),
            table["feasible"].to_pylist(),
            table["reason"].to_pylist(),
            strict=True,
        )
    ):
        measured = not any(math.isnan(value) for value in scores[row])
        params = {name: values[name][row] for name in names if values[name][row] is not None}
        attributes: dict[str, Any] = {"trial": number, "feasible": feasible}
        attributes |= {f"metric.{n}": v[row] for n, v in metrics.items() if math.isfinite(v[row])}
        if reason:
            attributes["reason"] = reason
        elif not measured:
            attributes["reason"] = "a metric of the goal is unknown"
        trial = create_trial(
            state=TrialState.COMPLETE if measured else TrialState.FAIL,
            values=scores[row] if measured else None,
            params=params,
            distributions={name: kinds[name] for name in params},
            user_attrs=attributes,
            system_attrs={"constraints": [_violation(limit[row]) for limit in limits]},
        )
        trial.datetime_start = start + timedelta(seconds=float(ends[row] - seconds[row]))
        trial.datetime_complete = start + timedelta(seconds=float(ends[row]))
        trials.append(trial)
    return trials


def _distribution(values: list[Any], parameter: object) -> Any:
    """The Optuna distribution of a parameter, or of the values it took."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(parameter, Integer):
        high = parameter.low + (int(parameter.size) - 1) * parameter.step
        return IntDistribution(parameter.low, high, log=parameter.log, step=parameter.step)
    if isinstance(parameter, Real):
        return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    if isinstance(parameter, (Choice, Ordinal)) and parameter.type != "json":
        options = parameter.options
        if parameter.type == "float":
            options = tuple(float(option) for option in options)  # as they are stored
        return CategoricalDistribution(options)
    seen = list(dict.fromkeys(value for value in values if value is not None))
    if seen and all(type(value) is int for value in seen):
        return IntDistribution(min(seen), max(seen))
    if seen and all(type(value) is float for value in seen):
        return FloatDistribution(min(seen), max(seen))
    return CategoricalDistribution(seen or [None])


def _started(result: Result, seconds: float) -> float:
    """When the first trial may have started: when its folder was made, or now less the seconds."""
    store = None if result.folder is None else result.folder / "store.json"
    if store is not None and store.exists():
        return store.stat().st_mtime
    return time.time() - seconds


def _violation(value: float | None) -> float:
    """A violation as Optuna takes it: unknown counts as broken."""
    return 1.0 if value is None or math.isnan(value) else float(value)
