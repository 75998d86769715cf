"""Gaussian-process models of losses and limits, and what asking a design is worth (BoTorch)."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Acquisition"]

_ITERATIONS = 30  # of the fit of each model's hyper-parameters
_CHUNK = 256  # candidates valued at once
Floats = npt.NDArray[np.float64]


class Acquisition:
    """Expected improvement of candidates under models of what was told.

    A limit is modeled by its sign, -1 where it holds and from 0.5 up where it does not, since a
    violation says nothing of how safely a limit holds.

    Args:
        points: features of the designs told, shape (n, d).
        losses: shape (n, k); NaN where unknown.
        violations: shape (n, c); NaN where unknown.
        pending: features of designs in flight, shape (p, d).
        samples: Monte Carlo samples.
        seed: of the samples.
    """

    def __init__(
        self,
        points: Floats,
        losses: Floats,
        violations: Floats,
        *,
        pending: Floats,
        samples: int,
        seed: int,
    ) -> None:
        import torch

        self._torch = torch
        self._pending = pending
        with torch.random.fork_rng(devices=[]), self._one_thread():
            torch.manual_seed(seed)
            self._build(points, losses, violations, samples, seed)

    def __call__(self, points: Floats) -> Floats:
        """Return the value of each candidate, shape (m,)."""
        torch = self._torch
        found = []
        with torch.no_grad(), self._one_thread():
            for start in range(0, len(points), _CHUNK):
                chunk = torch.as_tensor(points[start : start + _CHUNK], dtype=torch.double)
                found.append(self._value(chunk.unsqueeze(1)).numpy())
        return np.asarray(np.nan_to_num(np.concatenate(found), nan=-np.inf))

    def choose(self, points: Floats) -> None:
        """Account for designs that will be asked."""
        self._pending = np.concatenate([self._pending, points])
        self._set_pending()

    def _set_pending(self) -> None:
        torch = self._torch
        if len(self._pending):
            with self._one_thread():
                self._value.set_X_pending(torch.as_tensor(self._pending, dtype=torch.double))

    @contextlib.contextmanager
    def _one_thread(self) -> Iterator[None]:
        """Keep these small matrices on one thread: several are slower, and sum in other orders."""
        before = self._torch.get_num_threads()
        self._torch.set_num_threads(1)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            self._torch.set_num_threads(before)

    def _build(
        self,
        points: Floats,
        losses: Floats,
        violations: Floats,
        samples: int,
        seed: int,
    ) -> None:
        from botorch.models import ModelListGP
        from botorch.sampling import SobolQMCNormalSampler

        torch = self._torch
        known = np.isfinite(losses).all(axis=1)
        broken = np.where(np.isnan(violations), 1.0, violations) > 0
        models = [self._fit(points[known], -column) for column in losses[known].T]
        far = np.minimum(np.nan_to_num(violations, nan=1.0), 1.0)
        limits = np.where(broken, 0.5 + 0.5 * far, -1.0)
        for column, some in zip(limits.T, broken.T, strict=True):
            if some.any():
                models.append(self._fit(points, column))
        k = losses.shape[1]
        constraints: Any = [lambda y, at=at: y[..., at] for at in range(k, len(models))] or None
        sampler = SobolQMCNormalSampler(sample_shape=torch.Size([samples]), seed=seed % 2**31)
        baseline = torch.as_tensor(points[known], dtype=torch.double)
        model = ModelListGP(*models)
        self._value: Any
        if k == 1:
            from botorch.acquisition.logei import qLogNoisyExpectedImprovement
            from botorch.acquisition.objective import GenericMCObjective

            self._value = qLogNoisyExpectedImprovement(
                model=model,
                X_baseline=baseline,
                sampler=sampler,
                objective=GenericMCObjective(lambda y, X=None: y[..., 0]),  # noqa: N803
                constraints=constraints,
                prune_baseline=True,
            )
        else:
            from botorch.acquisition.multi_objective.logei import (
                qLogNoisyExpectedHypervolumeImprovement,
            )
            from botorch.acquisition.multi_objective.objective import (
                IdentityMCMultiOutputObjective,
            )

            good = known & ~broken.any(axis=1)
            shown = -(losses[good] if good.sum() > k else losses[known])
            reference = shown.min(axis=0) - 0.1 * (shown.max(axis=0) - shown.min(axis=0) + 1e-12)
            self._value = qLogNoisyExpectedHypervolumeImprovement(
                model=model,
                ref_point=reference.tolist(),
                X_baseline=baseline,
                sampler=sampler,
                objective=IdentityMCMultiOutputObjective(outcomes=list(range(k))),
                constraints=constraints,
                prune_baseline=True,
            )
        self._set_pending()

    def _fit(self, points: Floats, values: Floats) -> Any:
        """Return a fitted model of one column."""
        from botorch.exceptions.errors import ModelFittingError
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import SingleTaskGP
        from botorch.models.transforms import Standardize
        from gpytorch.mlls import ExactMarginalLogLikelihood

        torch = self._torch
        x = torch.as_tensor(points, dtype=torch.double)
        y = torch.as_tensor(values.copy(), dtype=torch.double).unsqueeze(-1)
        model = SingleTaskGP(x, y, outcome_transform=Standardize(m=1))
        likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
        try:
            fit_gpytorch_mll(likelihood, optimizer_kwargs={"options": {"maxiter": _ITERATIONS}})
        except ModelFittingError:
            model.eval()  # its prior hyper-parameters are a usable model
        return model
