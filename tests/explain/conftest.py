"""One realistic report: a fleet chosen for a chat service."""

from __future__ import annotations

import numpy as np
import pytest

from archwright.explain import (
    Assumption,
    Front,
    Quantity,
    ReportContent,
    Section,
    Unranked,
    knee,
    next_steps,
)
from archwright.search.panels import Bars, Facts, Table
from archwright.solve.pareto import nondominated


def example_content() -> ReportContent:
    rng = np.random.default_rng(7)
    best_cost = np.array([4.1, 5.2, 6.0, 7.4, 8.8, 10.1, 12.4, 15.9, 19.3, 24.2, 31.0, 38.5])
    best_quality = np.array(
        [41.2, 46.0, 48.3, 53.9, 57.1, 58.8, 66.4, 67.6, 69.2, 70.1, 72.3, 73.0]
    )
    base = rng.integers(0, 12, 170)
    cost = np.concatenate((best_cost, best_cost[base] * rng.uniform(1.08, 2.2, 170)))
    quality = np.concatenate((best_quality, best_quality[base] - rng.gamma(1.6, 2.4, 170)))
    watts = 480 * cost**0.8 * rng.uniform(0.85, 1.15, len(cost))
    feasible = np.ones(len(cost), bool)
    feasible[12:] = rng.random(170) > 0.13
    order = rng.permutation(len(cost))
    cost, quality, watts, feasible = cost[order], quality[order], watts[order], feasible[order]
    losses = np.column_stack((cost, -quality))
    on_front = np.zeros(len(cost), bool)
    on_front[feasible] = nondominated(losses[feasible])
    chosen = int(np.flatnonzero(cost == 12.4)[0])
    assert chosen == knee(np.where(feasible[:, None], losses, np.nan))
    names = [f"{2 + i % 5} × H100-SXM + {1 + i % 3} × L4, fp8" for i in range(len(cost))]
    names[chosen] = "3 × H100-SXM + 2 × L4, Qwen2.5-72B fp8"
    labels = [""] * len(cost)
    labels[chosen] = "3 × H100-SXM + 2 × L4"
    steps = next_steps(
        Quantity(name="cost", values=cost, form="${:,.2f} an hour"),
        [
            Quantity(name="quality", values=quality, direction="maximize", form="{:.1f}"),
            Quantity(name="watts", values=watts, form="{:,.0f} W", share=0.1),
        ],
        chosen=chosen,
        feasible=feasible,
        labels=names,
    )
    return ReportContent(
        title="Which GPUs serve this chat traffic most cheaply?",
        answer="3 × H100-SXM and 2 × L4 serve 20 requests/s for $12.40 an hour, with a P99 time "
        "to first token of 0.41 s and an MMLU-Pro score of 66.4.",
        subtitle="Qwen2.5-72B-Instruct in FP8, KV cache in BF16, at most 64 requests a batch. "
        "Simulated.",
        meta=[
            ("Cost", "$12.40 / hour"),
            ("Per million tokens", "$0.38"),
            ("P99 TTFT", "0.41 of 0.50 s"),
            ("Mean TPOT", "31 of 50 ms"),
            ("Power", "2,360 W"),
        ],
        front=Front(
            x=cost,
            y=quality,
            x_axis="Cost (USD per hour)",
            y_axis="Quality (MMLU-Pro, %)",
            feasible=feasible,
            on_front=on_front,
            chosen=chosen,
            labels=labels,
            hover=[
                f"{name}\n${c:,.2f} an hour\nMMLU-Pro {q:.1f}"
                for name, c, q in zip(names, cost, quality, strict=True)
            ],
        ),
        panels=[
            Bars(
                title="The fleet",
                labels=["H100-SXM", "L4"],
                series={"instances": [3, 2]},
                note="3 × $3.60 and 2 × $0.80 an hour.",
            ),
            Facts(
                title="What binds",
                items=[
                    "P99 TTFT: 0.41 s of 0.50 s, at prompts of 4,000 to 8,000 tokens on H100-SXM.",
                    "Utilization: 0.84 of 0.85 on H100-SXM.",
                    "No L4 can serve the 72B model: weights need 77 of 24 GB.",
                ],
            ),
            Bars(
                title="Load of each type",
                labels=["H100-SXM", "L4"],
                series={"used": [0.84, 0.61], "headroom": [0.16, 0.39]},
                stacked=True,
            ),
            Table(
                title="Who serves what",
                columns=["prompt tokens", "share", "device", "TTFT P99 (s)"],
                rows=[
                    ["up to 500", 0.46, "L4", 0.22],
                    ["500 to 4,000", 0.41, "H100-SXM", 0.33],
                    ["4,000 to 8,000", 0.13, "H100-SXM", 0.41],
                ],
            ),
        ],
        trade_offs=[step.sentence() for step in steps],
        runner_up="5 × A100-80GB at $13.05 an hour. It would win if an A100 cost $2.48 an hour "
        "or less (now $2.61).",
        best_per_metric=Table(
            title="Best for each metric",
            columns=["metric", "value", "design", "cost (USD per hour)"],
            rows=[
                ["cost", 4.1, "5 × L4, Llama-3.1-8B fp8", 4.1],
                ["quality", 73.0, "8 × H100-SXM, DeepSeek-V3 fp8", 38.5],
                ["power (W)", 1240, "5 × L4, Llama-3.1-8B int4", 4.4],
            ],
        ),
        unranked=[
            Unranked(
                reason="quality unknown, no published score for the model in this format",
                count=37,
                designs=["2 × H100-SXM, Phi-4 nvfp4", "3 × L40S, Gemma-3-27B nvfp4"],
            )
        ],
        assumptions=[
            Assumption(
                what="H100-SXM price",
                value="$3.60 an hour",
                label="table",
                source="gpu-prices, 2026-09-14",
            ),
            Assumption(
                what="MMLU-Pro, Qwen2.5-72B-Instruct",
                value="71.1",
                label="measured",
                source="model card, 2024-09-19",
            ),
            Assumption(
                what="FP8 recovery",
                value="99.4 % (98.6 to 100.1)",
                label="fitted",
                source="pooled over 12 models",
            ),
            Assumption(
                what="Step times",
                value="roofline at 0.62 of peak",
                label="analytic",
                source="device data sheets",
            ),
            Assumption(
                what="Power at load",
                value="0.7 × TDP",
                label="assumed",
                source="no measurement at hand",
            ),
        ],
        sections=[
            Section(
                title="How the search went",
                table=Table(title="Best so far", columns=["trial", "cost"], rows=[[1, 14.0]]),
            )
        ],
        command="archwright run chat_fleet.toml --set environment.rate_per_s=20.0",
        versions={"archwright": "0.1.0", "python": "3.13.5", "highspy": "1.12.0"},
    )


@pytest.fixture
def content() -> ReportContent:
    return example_content()
