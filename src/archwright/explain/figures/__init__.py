"""Figures: each function returns a ``plotly.graph_objects.Figure`` and never shows it.

Texts that come from designs are escaped, because plotly reads a subset of HTML in them. What a
figure leaves out, it says: in the names of its legend, and as ``figure.layout.meta["note"]``.
"""

from archwright.explain.figures.designs import (
    bars,
    pareto_front,
    roofline,
    strips,
)
from archwright.explain.figures.runs import (
    against_budget,
    compare_fronts,
    convergence,
    front,
    timeline,
)
from archwright.explain.figures.trials import (
    contour,
    importance_bars,
    parallel_coordinates,
    slice_plot,
)

__all__ = [
    "against_budget",
    "bars",
    "compare_fronts",
    "contour",
    "convergence",
    "front",
    "importance_bars",
    "parallel_coordinates",
    "pareto_front",
    "roofline",
    "slice_plot",
    "strips",
    "timeline",
]
