"""Hypothesis strategies for parameters, spaces and batches of designs."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from archwright.search import (
    Choice,
    Designs,
    Integer,
    Ordinal,
    Parameter,
    ParameterSpace,
    Permutation,
    Real,
)

_SCALARS = st.one_of(
    st.integers(-1000, 1000),
    st.text(max_size=4),
    st.booleans(),
    st.floats(-1e6, 1e6).map(lambda value: value + 0.0),
)


def _options(least: int = 1) -> st.SearchStrategy[list[Any]]:
    def key(value: Any) -> Any:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return ("number", value) if number else (type(value).__name__, value)

    return st.lists(_SCALARS, min_size=least, max_size=6, unique_by=key)


@st.composite
def integers(draw: st.DrawFn) -> Integer:
    """Integers of any range up to 2**40, with a step or a logarithm."""
    if draw(st.booleans()):
        low = draw(st.integers(1, 1000))
        return Integer(low, low + draw(st.integers(0, 2**40)), log=True)
    low = draw(st.integers(-(2**40), 2**40))
    return Integer(low, low + draw(st.integers(0, 2**20)), step=draw(st.integers(1, 9)))


@st.composite
def reals(draw: st.DrawFn) -> Real:
    """Reals of a moderate range, with or without a logarithm."""
    low = draw(st.floats(1e-6, 1e6))
    high = low * draw(st.floats(1.001, 1e6))
    return Real(low, high, log=True) if draw(st.booleans()) else Real(-low, high)


def parameters() -> st.SearchStrategy[Parameter]:
    """Parameters of every kind."""
    return st.one_of(
        _options().map(Choice),
        _options().map(Ordinal),
        integers(),
        reals(),
        st.integers(1, 6).map(Permutation),
    )


def finite_parameters() -> st.SearchStrategy[Parameter]:
    """Parameters of at most about 30 values."""
    return st.one_of(
        _options().map(Choice),
        st.builds(lambda low, n: Integer(low, low + n), st.integers(-9, 9), st.integers(0, 9)),
        st.integers(1, 4).map(Permutation),
    )


@st.composite
def spaces(draw: st.DrawFn, finite: bool = False) -> ParameterSpace:
    """Spaces of one to four parameters, the later ones perhaps under a condition."""
    kinds = finite_parameters() if finite else parameters()
    made: dict[str, Parameter] = {"size": Integer(0, draw(st.integers(0, 9)))}
    for name in draw(st.lists(st.sampled_from("abc"), unique=True, max_size=3)):
        item = draw(kinds)
        if draw(st.booleans()):
            when = f"size > {draw(st.integers(0, 9))}"
            item = type(item)(
                **{f: v for f, v in vars(item).items() if f[0] != "_"} | {"when": when}
            )
        made[name] = item
    require = ["size % 2 == 0"] if draw(st.booleans()) else []
    return ParameterSpace(made, require=require)


@st.composite
def batches(draw: st.DrawFn) -> Designs:
    """Batches of designs of some space."""
    space = draw(spaces())
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return space.sample(rng, draw(st.integers(0, 12)))
