"""Explain what a search found: fronts, trade-offs, figures and the report.

Figures need plotly and the report needs jinja2; both are imported on first use.
"""

from archwright.explain.front import (
    Direction,
    Quantity,
    best_per_metric,
    hypervolume_history,
    knee,
)
from archwright.explain.independence import Independence, PairGain, independence
from archwright.explain.report import (
    Assumption,
    Front,
    ReportContent,
    Unranked,
    render,
    write_report,
)
from archwright.explain.tradeoffs import TradeOff, next_steps

__all__ = [
    "Assumption",
    "Direction",
    "Front",
    "Independence",
    "PairGain",
    "Quantity",
    "ReportContent",
    "TradeOff",
    "Unranked",
    "best_per_metric",
    "hypervolume_history",
    "independence",
    "knee",
    "next_steps",
    "render",
    "write_report",
]
