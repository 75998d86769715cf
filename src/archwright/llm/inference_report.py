"""What ``llm/infer`` found, for people: quantities by name, and panels of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from archwright.llm.inference import Inference
from archwright.llm.step_cost import StepCost
from archwright.search import Bars, Facts, Panel, Roofline

__all__ = ["panels", "quantities"]


def quantities(found: Inference) -> Mapping[str, Any]:
    """Return the quantities by name, for people and for studies."""
    return {
        "fits": bool(found.fits),
        "memory_free_gb": float(found.memory_free_bytes) / 1e9,
        "weights_gb": found.weight_bytes / 1e9,
        "kv_cache_gb": float(found.kv_bytes) / 1e9,
        "ttft_s": float(found.ttft_s),
        "ttft_90_percent_s": [float(found.ttft_low_s), float(found.ttft_high_s)],
        "tpot_s": float(found.tpot_s),
        "tpot_90_percent_s": [float(found.tpot_low_s), float(found.tpot_high_s)],
        "tokens_per_s": float(found.tokens_per_s),
        "power_w": float(found.power_w),
        "tokens_per_joule": float(found.tokens_per_joule),
        "usd_per_million_tokens": float(found.usd_per_million_tokens),
        "prefill_bound_by": found.prefill_bound,
        "decode_bound_by": found.decode_bound,
        "times_are": found.time_label,
        "power_is": found.power_label,
    }


def panels(cost: StepCost, found: Inference) -> list[Panel]:
    """Return the quantities, where the time of both kinds of step goes, and their roofline."""
    steps = {"with prompts": found.state.mixed, "decode": found.state.decode}
    names = list(dict.fromkeys(name for step in steps.values() for name in step.parts))
    facts = [
        f"Time to first token {float(found.ttft_s) * 1e3:,.4g} ms, 90 % between "
        f"{float(found.ttft_low_s) * 1e3:,.4g} and {float(found.ttft_high_s) * 1e3:,.4g} "
        f"({found.time_label}); bound by {found.prefill_bound}.",
        f"Time per token {float(found.tpot_s) * 1e3:,.4g} ms, 90 % between "
        f"{float(found.tpot_low_s) * 1e3:,.4g} and {float(found.tpot_high_s) * 1e3:,.4g} "
        f"({found.time_label}); bound by {found.decode_bound}.",
        f"Memory of an accelerator: weights {found.weight_bytes / 1e9:,.4g} GB, cache "
        f"{float(found.kv_bytes) / 1e9:,.4g} GB, left {float(found.memory_free_bytes) / 1e9:,.4g} "
        "GB.",
        f"Power {float(found.power_w):,.0f} W, {float(found.tokens_per_joule):.3g} tokens a joule "
        f"({found.power_label}, accelerators only).",
    ]
    return [
        Facts(title="What it costs", items=facts),
        Bars(
            title="Where the time of a step goes",
            labels=names,
            series={
                name: [float(step.parts.get(part, np.nan)) * 1e3 for part in names]
                for name, step in steps.items()
            },
            unit="ms",
        ),
        _roofline(cost, found),
    ]


def _roofline(cost: StepCost, found: Inference) -> Roofline:
    kinds = {"with prompts": "mixed", "decode": "decode"}
    points: list[tuple[str, str, float, float, float]] = []
    for name, kind in kinds.items():
        step = getattr(found.state, kind)
        for op in cost.operators(found.state.batch(kind)):
            moved = float(op.weight_bytes + op.kv_bytes + op.activation_bytes)
            seconds = float(step.parts.get(op.name, 0.0))
            if op.flops and seconds > 0:
                rate = float(op.count * op.flops) / seconds
                points.append(
                    (op.name, name, float(op.flops) / moved, rate, seconds / float(step.seconds))
                )
    names, groups, intensity, attained, share = (
        list(column) for column in zip(*points, strict=True)
    )
    shown = ("bf16", "fp16", "fp8", "fp4", "int8")
    peaks = {name: peak for name, peak in cost.device.peak_ops_s.items() if name in shown}
    return Roofline(
        title="Roofline",
        names=names,
        groups=groups,
        intensity=intensity,
        attained_ops_s=attained,
        share=share,
        peaks_ops_s=peaks,
        bandwidth_bytes_s=cost.device.memory_bandwidth_bytes_s,
        note="Operators with matrix products; a larger mark takes more of its step's time.",
    )
