"""Seeds: one 64-bit number a trial, from the study's seed and the trial's number alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["trial_seeds"]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def _mix(z: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finalizer (Steele, Lea and Flood 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def trial_seeds(
    study_seed: int, trials: npt.ArrayLike, replicate: int = 0
) -> npt.NDArray[np.uint64]:
    """Return the seed of each trial; cutting a batch anywhere changes nothing.

    >>> trial_seeds(0, [0, 1]).tolist() == [*trial_seeds(0, [0]), *trial_seeds(0, [1])]
    True
    """
    numbers = np.atleast_1d(np.asarray(trials, dtype=np.uint64))
    with np.errstate(over="ignore"):
        base = _mix(np.array([study_seed % 2**64], dtype=np.uint64) + _GAMMA)
        base = _mix(base + np.uint64(replicate) * _GAMMA)
        return _mix(base + (numbers + np.uint64(1)) * _GAMMA)
