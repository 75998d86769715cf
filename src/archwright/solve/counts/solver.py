"""HiGHS, column by column and row by row, set to exact optima on one thread."""

from __future__ import annotations

from typing import Any

import numpy as np

from archwright.solve.counts.problem import EXACT, Floats, Ints

__all__ = ["add_columns", "add_row", "highs", "optimal", "solve"]


def highs() -> Any:
    import highspy

    class Quiet(highspy.Highs):  # type: ignore[misc]
        """The solver without its callbacks, whose set-up prints a banner to standard output."""

        def __init__(self) -> None:
            super(highspy.Highs, self).__init__()

    solver = Quiet()
    for name, setting in (
        ("output_flag", False),
        ("threads", 1),
        ("random_seed", 0),
        ("mip_rel_gap", 0.0),
        ("mip_abs_gap", 0.0),
        ("primal_feasibility_tolerance", EXACT),
        ("dual_feasibility_tolerance", EXACT),
        ("mip_feasibility_tolerance", EXACT),
    ):
        solver.setOptionValue(name, setting)
    return solver


def add_columns(
    solver: Any, low: Floats, high: Floats, *, cost: Floats | None = None, whole: bool = False
) -> None:
    n, first = len(low), solver.getNumCol()
    none: Ints = np.zeros(0, dtype=np.int32)
    solver.addCols(n, np.zeros(n) if cost is None else cost, low, high, 0, none, none, np.zeros(0))
    if whole:
        columns = np.arange(first, first + n, dtype=np.int32)
        solver.changeColsIntegrality(n, columns, np.ones(n, dtype=np.uint8))


def add_row(
    solver: Any, low: float, high: float, columns: Any, values: Floats | None = None
) -> None:
    at = np.asarray(columns, dtype=np.int32)
    solver.addRow(low, high, len(at), at, np.ones(len(at)) if values is None else values)


def optimal(solver: Any) -> bool:
    import highspy

    status = solver.getModelStatus()
    return bool(
        status in (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kInfeasible)
    )


def solve(solver: Any) -> Floats | None:
    """Return the best values of the columns, or None where there are none."""
    import highspy

    solver.run()
    if solver.getModelStatus() == highspy.HighsModelStatus.kUnknown:
        solver.clearSolver()  # a start from the last basis may end in roundoff; one anew does not
        solver.run()
    solution = solver.getSolution()
    # an optimum may break a row by a few of its last digits; callers measure what they use
    feasible = solver.getModelStatus() == highspy.HighsModelStatus.kOptimal
    if not solution.value_valid:
        return None
    if not feasible and solver.getInfo().primal_solution_status != 2:
        return None
    return np.array(solution.col_value)
