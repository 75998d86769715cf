"""Small exact solvers that every room may use: allocation and Pareto sets."""

from archwright.solve.allocation import Allocation, Problem, allocate, unserved
from archwright.solve.pareto import ParetoArchive, hypervolume, nondominated

__all__ = [
    "Allocation",
    "ParetoArchive",
    "Problem",
    "allocate",
    "hypervolume",
    "nondominated",
    "unserved",
]
