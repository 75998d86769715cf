"""What a step costs, checked by hand and by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archwright.errors import SpecificationError
from archwright.explain import Quantity, next_steps

NAN = float("nan")


def quality(values, **more):
    return Quantity(name="quality", values=values, direction="maximize", **more)


def cost(values):
    return Quantity(name="cost", values=values, form="${:,.2f} an hour")


def test_sentences():
    watts = Quantity(name="watts", values=[7.0, 6.9, 6.3, 6.0], share=0.1, form="{:.1f} W")
    better, less = next_steps(
        cost([10, 11.2, 12, 30]),
        [quality([60, 60, 64, 70]), watts],
        chosen=0,
        labels=["a", "b", "3 × H100", "d"],
    )
    assert better.sentence() == (
        "The next step in quality costs +$2.00 an hour (60 → 64): 3 × H100."
    )
    assert less.sentence() == "−10 % watts costs +$2.00 an hour (7.0 W → 6.3 W): 3 × H100."
    assert (less.chosen, less.found, less.searched) == (0, 2, 4)
    assert less.delta == pytest.approx(2.0)


def test_none_found_says_among_how_many():
    (step,) = next_steps(cost([1, 2, 3]), [quality([9, 8, 10])], chosen=0, feasible=[1, 1, 0])
    assert step.found is None and step.delta is None
    assert step.sentence() == "The next step in quality: none was found among 2 feasible designs."


def test_unknown_values_never_count():
    (step,) = next_steps(cost([1, NAN, 3]), [quality([5, 9, NAN])], chosen=0)
    assert step.found is None
    (step,) = next_steps(cost([1, 2, 3]), [quality([NAN, 9, 8])], chosen=0)
    assert "no value to compare with" in step.sentence()


def test_a_better_design_may_be_cheaper():
    (step,) = next_steps(cost([5, 4, 5]), [quality([1, 2, 3])], chosen=0)
    assert step.sentence().startswith("The next step in quality saves $1.00 an hour")
    (step,) = next_steps(cost([5, 6, 5]), [quality([1, 2, 3])], chosen=0)
    assert step.sentence().startswith("The next step in quality costs nothing")


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.1, 0.5]), st.booleans())
def test_brute_force(seed, share, up):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 15))
    prices, values = rng.integers(1, 6, n).astype(float), rng.integers(-5, 20, n).astype(float)
    feasible = rng.random(n) < 0.7
    direction = "maximize" if up else "minimize"
    other = Quantity(name="m", values=values, direction=direction, share=share)
    (step,) = next_steps(cost(prices), [other], chosen=0, feasible=feasible)
    sign = -1 if up else 1
    target = sign * values[0] - share * abs(values[0])
    rows = [
        (prices[i], sign * values[i], i)
        for i in range(n)
        if feasible[i]
        and (sign * values[i] <= target + 1e-6 if share else sign * values[i] < sign * values[0])
    ]
    if share and values[0] == 0:
        return  # a share of nothing is any design at least as good
    assert step.found == (min(rows)[2] if rows else None)


def test_misuse_is_refused():
    with pytest.raises(SpecificationError, match="minimized metric"):
        next_steps(quality([1]), [], chosen=0)
    with pytest.raises(SpecificationError, match="chosen row 3"):
        next_steps(cost([1]), [], chosen=3)
