"""Conformance suites for our parts and for users' own, and small environments to test with.

A suite takes a part, checks every clause of its contract and raises one
:class:`ConformanceError` that lists what is broken and the likely mistakes:

    from archwright.testing import check_environment
    check_environment(my_environment)
"""

from archwright.testing.compare import same_trials
from archwright.testing.conformance import ConformanceError
from archwright.testing.environments import check_environment
from archwright.testing.searchers import check_searcher
from archwright.testing.spaces import check_space
from archwright.testing.stores import check_store
from archwright.testing.toys import ToyEnvironment, toy_environment

__all__ = [
    "ConformanceError",
    "ToyEnvironment",
    "check_environment",
    "check_searcher",
    "check_space",
    "check_store",
    "same_trials",
    "toy_environment",
]
