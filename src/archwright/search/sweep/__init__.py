"""The lottery: many searchers, settings and seeds at one budget, and what may be said of them.

A searcher's result depends on its hyper-parameters and on luck. A comparison of single runs says
little; so a sweep runs every setting of a grid under every seed, counts unique evaluations alike
for all, and reports the best, the median and the worst setting of each searcher, with intervals
over seeds. Random search is always among them.

Every run is an ordinary study in a folder of its own, so a sweep that was killed continues, and
its trials can be read by all that reads studies.
"""

from archwright.search.sweep.curves import MARKS, marks
from archwright.search.sweep.running import Sweep, default_grid, settings, sweep_of
from archwright.search.sweep.statistics import Contest, Run, SweepResult

__all__ = [
    "MARKS",
    "Contest",
    "Run",
    "Sweep",
    "SweepResult",
    "default_grid",
    "marks",
    "settings",
    "sweep_of",
]
