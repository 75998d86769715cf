"""The study: one environment, one goal, one searcher, a budget and a seed."""

from archwright.search.study.budget import Budget, Progress
from archwright.search.study.result import Result, elapsed_s, load_result
from archwright.search.study.session import Session
from archwright.search.study.study import Study

__all__ = ["Budget", "Progress", "Result", "Session", "Study", "elapsed_s", "load_result"]
