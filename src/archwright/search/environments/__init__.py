"""Environments: what a design is measured by.

An environment is normally *generated* from a simulator with :func:`environment`; it is written by
hand only where batching or an inner exact solve needs it.
"""

from archwright.search.environments.checking import check_measurements, check_metrics
from archwright.search.environments.contract import Environment, Fidelity, Metric
from archwright.search.environments.measurements import Measurements, merge
from archwright.search.environments.named import digests, make_environment
from archwright.search.environments.simulator import SimulatorEnvironment, environment

__all__ = [
    "Environment",
    "Fidelity",
    "Measurements",
    "Metric",
    "SimulatorEnvironment",
    "check_measurements",
    "check_metrics",
    "digests",
    "environment",
    "make_environment",
    "merge",
]
