"""The simulator and the environment ``llm/infer``: one model on one kind of instance."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from archwright.errors import InfeasibleError, SpecificationError
from archwright.formats import kv_format, weight_format
from archwright.hardware import cheapest
from archwright.hardware.devices import devices
from archwright.hardware.prices import prices
from archwright.llm.inference import (
    BATCH,
    Inference,
    InferenceSpecification,
    infer,
    named_file,
    read_device,
    read_engine,
    read_model,
    too_long,
)
from archwright.llm.inference_report import panels, quantities
from archwright.llm.step_cost import StepCost
from archwright.search import Choice, Design, Metric, Ordinal, Panel, SimulatorEnvironment
from archwright.search.environments import digests
from archwright.specification import replace_path

__all__ = ["InferenceEnvironment", "inference_environment", "simulate_inference"]


class _Simulator:
    """Cost of a batch of equal requests on one instance."""

    specification = InferenceSpecification

    def __call__(
        self, specification: InferenceSpecification, *, folder: Path = Path()
    ) -> Mapping[str, Any]:
        """Return the quantities by name, for people and for studies.

        Args:
            specification: model, instance and batch.
            folder: what names of files are relative to.

        Raises:
            SpecificationError: an unknown name, or what does not go together.
        """
        return quantities(self.infer(specification, folder)[1])

    def infer(
        self, specification: InferenceSpecification, folder: Path = Path()
    ) -> tuple[StepCost, Inference]:
        """Return the step cost of the instance, and what the batch costs."""
        cost = specification.cost(folder)
        found = infer(
            cost,
            batch=specification.batch,
            input_tokens=specification.input,
            output_tokens=specification.output,
            usd_per_hour=self.price(specification, cost),
        )
        return cost, found

    def price(self, specification: InferenceSpecification, cost: StepCost) -> float:
        """Return dollars an hour of the instance; NaN where nobody rents the device out."""
        each = specification.usd_per_hour
        if each is None:
            name = cost.device.name  # of a profile it may be made up
            listed = name in {known.name for known in devices()}
            offer = cheapest(name, cloud=specification.cloud) if listed else None
            each = float("nan") if offer is None else offer.usd_per_hour
        return each * cost.parallel.ranks

    def report(self, specification: InferenceSpecification, path: Path) -> Path:
        """Write an HTML page: the answer, what binds, where the time goes, the roofline."""
        from archwright.explain import ReportContent, write_report

        cost, inference = self.infer(specification)
        found = quantities(inference)
        fits = "fits" if found["fits"] else f"lacks {-found['memory_free_gb']:.0f} GB"
        content = ReportContent(
            title=f"{specification.model} on {cost.parallel.ranks} x {specification.device}",
            answer=(
                f"{found['tokens_per_s']:,.0f} tokens/s at {found['tpot_s'] * 1e3:.3g} ms a token "
                f"and {found['ttft_s'] * 1e3:,.3g} ms to the first; it {fits}."
            ),
            subtitle=(
                f"{specification.batch} clients, {specification.input} tokens in, "
                f"{specification.output} out, weights in {specification.weights}, "
                f"{cost.spec.name}."
            ),
            panels=panels(cost, inference),
        )
        return write_report(content, path)


simulate_inference = _Simulator()
"""The registered simulator ``llm/infer``."""


class InferenceEnvironment(SimulatorEnvironment):
    """The simulator ``llm/infer`` as an environment; a design that does not fit is infeasible."""

    def configure(
        self, options: Mapping[str, Any], *, vary: Mapping[str, Any], folder: Path
    ) -> Self:
        """Return a copy as a study file gives it.

        Raises:
            SpecificationError: a name, fixed or listed to vary, that nothing has.
        """
        made = super().configure(options, vary=vary, folder=folder)
        for field, read in _NAMED.items():
            for name in made._names(field):
                try:
                    read(getattr(replace_path(made.base, field, name), field), folder)
                except SpecificationError as error:
                    raise SpecificationError(f"[environment].{field}: {error}") from None
        return made

    def identity(self) -> dict[str, Any]:
        """Return what tells this environment from others, with digests of the files it names."""
        names = {name for field in _FILES for name in self._names(field)}
        paths = {
            name: path for name in names if (path := named_file(name, self.folder)) is not None
        }
        files = digests({name: path for name, path in paths.items() if path.is_file()})
        return super().identity() | ({"files": files} if files else {})

    def _names(self, field: str) -> tuple[str, ...]:
        """Return the names that a field may have: the fixed one, or those listed to vary."""
        varied = self.space.parameters.get(field)
        return (getattr(self.base, field),) if varied is None else getattr(varied, "options", ())

    def _simulated(
        self, specifications: Sequence[Any], seeds: npt.NDArray[np.uint64]
    ) -> Iterator[tuple[Any, float]]:
        """Yield the result of each; those of one instance are worked out together."""
        del seeds
        started = time.perf_counter()
        found = _measured(specifications, self.folder)
        seconds = (time.perf_counter() - started) / max(len(found), 1)
        for result in found:
            yield result, seconds

    def panels(self, design: Design) -> list[Panel]:
        """Return the panels of a design."""
        return panels(*simulate_inference.infer(self._specification(design), self.folder))


_NAMED: Mapping[str, Callable[[str, Path], object]] = {
    "model": read_model,
    "device": read_device,
    "engine": read_engine,
    "weights": lambda name, folder: weight_format(name),
    "kv": lambda name, folder: kv_format(name),
    "cloud": lambda name, folder: prices(cloud=name),
}
"""Fields that name something, and what reads the name."""
_FILES = ("model", "device", "engine")
"""Fields whose name may be that of a file."""


_RESULTS = {
    "ttft_s": "ttft_s", "ttft_s.low": "ttft_low_s", "ttft_s.high": "ttft_high_s",
    "tpot_s": "tpot_s", "tpot_s.low": "tpot_low_s", "tpot_s.high": "tpot_high_s",
    "tokens_per_s": "tokens_per_s", "power_w": "power_w", "tokens_per_joule": "tokens_per_joule",
    "usd_per_million_tokens": "usd_per_million_tokens",
}  # fmt: skip
"""Metrics and the ends of their intervals, and where an inference has them."""
_Result = dict[str, float] | InfeasibleError


def _measure(specification: InferenceSpecification, *, folder: Path = Path()) -> dict[str, float]:
    (found,) = _measured([specification], folder)
    if isinstance(found, InfeasibleError):
        raise found
    return found


def _measured(specifications: Sequence[InferenceSpecification], folder: Path) -> list[_Result]:
    """Return what batches of requests cost, or why they cannot be run, instance by instance."""
    found: dict[int, _Result] = {}
    instances: dict[InferenceSpecification, list[int]] = {}
    for i, specification in enumerate(specifications):
        instances.setdefault(replace(specification, **BATCH), []).append(i)
    for instance, rows in instances.items():
        asked = [specifications[i] for i in rows]
        found |= dict(zip(rows, _of_instance(instance, asked, folder), strict=True))
    return [found[i] for i in range(len(specifications))]


def _of_instance(
    instance: InferenceSpecification, asked: Sequence[InferenceSpecification], folder: Path
) -> list[_Result]:
    try:
        cost = instance.cost(folder)
    except SpecificationError as error:
        return [InfeasibleError(str(error)) for _ in asked]
    sizes = np.array([[s.batch, s.input, s.output] for s in asked])
    tokens = sizes[:, 1] + sizes[:, 2]
    reasons = [
        too_long(cost, total) or cost.spec.too_much(batch)
        for total, batch in zip(tokens.tolist(), sizes[:, 0].tolist(), strict=True)
    ]
    short = np.array([reason is None for reason in reasons])
    found: list[_Result] = [InfeasibleError(reason or "") for reason in reasons]
    if not short.any():
        return found
    batch, inputs, outputs = sizes[short].T
    price = simulate_inference.price(instance, cost)
    got = infer(cost, batch=batch, input_tokens=inputs, output_tokens=outputs, usd_per_hour=price)
    columns = {name: getattr(got, field).tolist() for name, field in _RESULTS.items()}
    for k, i in enumerate(np.flatnonzero(short).tolist()):
        if got.fits[k]:
            found[i] = {name: column[k] for name, column in columns.items()}
        else:
            found[i] = InfeasibleError(
                f"memory: {-got.memory_free_bytes[k] / 1e9:.1f} GB an accelerator are missing"
            )
    return found


inference_environment = InferenceEnvironment(
    _measure,
    base=InferenceSpecification(),
    vary={
        "tp": Ordinal([1, 2, 4, 8]),
        "weights": Choice(["bf16", "fp8", "int4_weight"]),
        "kv": Choice(["bf16", "fp8"]),
        "batch": Ordinal([1, 2, 4, 8, 16, 32, 64, 128, 256]),
    },
    metrics=[
        Metric("ttft_s", "s", "Time to first token"),
        Metric("tpot_s", "s", "Time per token"),
        Metric("tokens_per_s", "tokens/s", "Throughput", "higher"),
        Metric("power_w", "W", "Power"),
        Metric("tokens_per_joule", "tokens/J", "Efficiency", "higher"),
        Metric("usd_per_million_tokens", "$/M tokens", "Cost of output tokens"),
    ],
)
"""The registered environment ``llm/infer``."""
