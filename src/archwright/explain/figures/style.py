"""The quiet look that every figure shares, and texts that are safe to draw.

Colors are those of Okabe and Ito, which stay apart for color-blind readers and in print.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = [
    "BLUE", "COLORS", "GREEN", "GREY", "ORANGE", "PINK", "RED", "SKY", "finish", "safe",
    "turns",
]  # fmt: skip

BLUE, ORANGE, GREEN, RED, SKY, PINK = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
)
GREY = "#8A8F98"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
COLORS = (BLUE, ORANGE, GREEN, RED, SKY, PINK)


def finish(figure: go.Figure, *, height: int) -> go.Figure:
    """Give every figure the same quiet look."""
    import plotly.graph_objects as go

    line = {
        "gridcolor": "#E8EAED",
        "linecolor": "#C6CAD0",
        "zeroline": False,
        "automargin": True,
        "title": {"standoff": 12},
    }
    figure.layout.template = go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 13, "color": "#1F2328"},
            "paper_bgcolor": "#FFFFFF",
            "plot_bgcolor": "#FFFFFF",
            "colorway": list(COLORS),
            "margin": {"l": 8, "r": 16, "t": 44, "b": 8},
            "xaxis": {**line, "showgrid": False, "showline": True, "ticks": "outside"},
            "yaxis": line,
            "hoverlabel": {"align": "left", "font": {"family": FONT}},
            "legend": {
                "orientation": "h",
                "x": 0,
                "xanchor": "left",
                "y": 1.02,
                "yanchor": "bottom",
            },
        }
    )
    figure.update_layout(height=height)
    return figure


def turns(values: Any) -> Any:
    """Rows at which a step line changes, with its first and last row."""
    if not len(values):
        return np.arange(0)
    changed = np.flatnonzero(values[1:] != values[:-1]) + 1
    return np.unique(np.concatenate(([0], changed, [len(values) - 1])))


def safe(text: str) -> str:
    return html.escape(text, quote=False)
