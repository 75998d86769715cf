"""Explain what a search found: fronts, trade-offs, sensitivity, figures and the report.

Plotly, jinja2 and scikit-learn are imported on first use.
"""

from archwright.explain.fresh import morris, sobol
from archwright.explain.front import (
    Direction,
    Quantity,
    best_per_metric,
    hypervolume_history,
    knee,
)
from archwright.explain.independence import Independence, PairGain, independence
from archwright.explain.interactions import interactions
from archwright.explain.journal import write_optuna_journal
from archwright.explain.report import (
    Assumption,
    Front,
    ReportContent,
    Unranked,
    render,
    write_report,
)
from archwright.explain.runs import comparison
from archwright.explain.sections import Section, comparison_sections, sections, show
from archwright.explain.sensitivity import Sensitivity, importance
from archwright.explain.tradeoffs import TradeOff, next_steps

__all__ = [
    "Assumption",
    "Direction",
    "Front",
    "Independence",
    "PairGain",
    "Quantity",
    "ReportContent",
    "Section",
    "Sensitivity",
    "TradeOff",
    "Unranked",
    "best_per_metric",
    "comparison",
    "comparison_sections",
    "hypervolume_history",
    "importance",
    "independence",
    "interactions",
    "knee",
    "morris",
    "next_steps",
    "render",
    "sections",
    "show",
    "sobol",
    "write_optuna_journal",
    "write_report",
]
