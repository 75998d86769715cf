"""What stands fixed in a fleet study, readable from its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from archwright.serving.limits import Limits
from archwright.serving.profile import UTILIZATION
from archwright.specification import option

__all__ = ["FleetSpecification", "Today"]

_DEVICES = (
    "L4", "A10G", "L40S", "A100-80GB-SXM", "H100-SXM", "H200-SXM", "B200-SXM", "MI300X",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Today:
    """What runs today, planned as it is for comparison.

    Attributes:
        fleet: instance type to count, such as ``{"H100-SXM x2" = 4}``.
        model, weights, kv, max_batch: what it serves.
    """

    fleet: Mapping[str, int]
    model: str
    weights: str = "bf16"
    kv: str = "bf16"
    max_batch: int = 256


@dataclass(frozen=True, kw_only=True)
class FleetSpecification:
    """What stands fixed in a fleet study; see each field."""

    workload: str = option("builtin:chat", doc="builtin:chat, :code, :long, or a trace file")
    time_unit: str | None = option(
        None, doc="unit of the trace's times", choices=(None, "s", "ms")
    )
    rate_per_s: float | None = option(
        None, unit="requests/s", low=0.0, doc="rate to plan for; default: busiest five minutes"
    )
    users: float | None = option(None, low=0.0, doc="or: number of users")
    requests_per_user_per_hour: float | None = option(None, low=0.0, doc="with users")
    growth: float = option(1.0, low=0.0, doc="factor on the rate")
    limits: Limits = option(factory=Limits, doc="what the fleet must hold")
    engine: str = option(
        "vllm-0.19.0", doc="what runs the model: name and version of an engine, or a file"
    )
    devices: tuple[str, ...] = option(_DEVICES, doc="what may be rented")
    tensor_parallel: tuple[int, ...] = option((1, 2, 4, 8), low=1, doc="instance widths")
    cloud: str | None = option(
        None, doc="rent from this cloud only; default: the cheapest with dated prices"
    )
    region: str | None = option(None, doc="rent in this region only")
    kinds: tuple[str, ...] = option(
        ("on-demand",), choices=("on-demand", "spot", "reserved"), doc="kinds of offers taken"
    )
    pricing: str = option(
        "node", choices=("node", "accelerator"),
        doc="rent whole offers, or divide their price by accelerator",
    )  # fmt: skip
    prices: str | None = option(
        None,
        doc="own CSV: device, usd_per_hour; with accelerators, name, cloud, region, kind, "
        "available for whole offers; with count, region for accelerator-hours",
    )
    discount: float = option(0.0, low=0.0, high=1.0, doc="share off every price")
    utilization: float = option(
        UTILIZATION, low=0.01, high=1.0, doc="largest share of busy batch slots"
    )
    benchmark: str = option("MMLU-Pro", doc="the benchmark that quality means")
    variant: str = option("instruct", doc="instruct or base, never mixed")
    scores: str | None = option(None, doc="own CSV: model, benchmark, score")
    survive_loss: bool = option(False, doc="carry the load after losing any one instance")
    today: Today | None = option(None, doc="what runs today, for comparison")
