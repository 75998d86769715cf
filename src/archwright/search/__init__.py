"""The loop: spaces, environments, goals, searchers, studies and their store."""

from archwright.search.environments import (
    Environment,
    Fidelity,
    Measurements,
    Metric,
    SimulatorEnvironment,
    environment,
)
from archwright.search.executors import Executor, Processes, Serial
from archwright.search.goal import Goal, Objectives, Scores, order
from archwright.search.panels import Bars, Facts, Panel, Roofline, Strips, Table
from archwright.search.searcher import Proposals, Searcher, Trials, isolated_rng
from archwright.search.searchers.exhaustive import Exhaustive
from archwright.search.searchers.nsga2 import NSGA2
from archwright.search.searchers.random import RandomSearch
from archwright.search.space import (
    Choice,
    Design,
    Designs,
    Integer,
    Ordinal,
    Parameter,
    ParameterSpace,
    Permutation,
    Real,
    Space,
)
from archwright.search.store.artifacts import Artifacts
from archwright.search.study import Budget, Result, Session, Study

__all__ = [
    "NSGA2",
    "Artifacts",
    "Bars",
    "Budget",
    "Choice",
    "Design",
    "Designs",
    "Environment",
    "Executor",
    "Exhaustive",
    "Facts",
    "Fidelity",
    "Goal",
    "Integer",
    "Measurements",
    "Metric",
    "Objectives",
    "Ordinal",
    "Panel",
    "Parameter",
    "ParameterSpace",
    "Permutation",
    "Processes",
    "Proposals",
    "RandomSearch",
    "Real",
    "Result",
    "Roofline",
    "Scores",
    "Searcher",
    "Serial",
    "Session",
    "SimulatorEnvironment",
    "Space",
    "Strips",
    "Study",
    "Table",
    "Trials",
    "environment",
    "isolated_rng",
    "order",
]
