"""Design spaces: what may vary, and batches of designs drawn from it."""

from archwright.search.space.contract import Batch, Space, designs_from, plain_designs
from archwright.search.space.design import Design, Designs
from archwright.search.space.expression import Expression
from archwright.search.space.parameter_space import ParameterSpace
from archwright.search.space.parameters import (
    Choice,
    Codes,
    Integer,
    Ordinal,
    Parameter,
    Permutation,
    Real,
)
from archwright.search.space.reading import described, parameter

__all__ = [
    "Batch",
    "Choice",
    "Codes",
    "Design",
    "Designs",
    "Expression",
    "Integer",
    "Ordinal",
    "Parameter",
    "ParameterSpace",
    "Permutation",
    "Real",
    "Space",
    "described",
    "designs_from",
    "parameter",
    "plain_designs",
]
