"""Step costs: microseconds a composition, exact and compiled, and configurations a second.

    python bench/step_cost.py            # a table
    python bench/step_cost.py --json     # one object, times in microseconds

Goals: 1.5 us a composition, 0.1 us compiled, 5 us a mixed step of 256 listed sequences, 1,000
configurations a second. Beside them a plain roofline of the same graph, which knows no kernel.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np

from archwright.hardware import device
from archwright.llm import ParallelPlan, StepBatch, StepCost, infer, transformer
from archwright.llm.inference import InferenceSpecification
from archwright.llm.inference_environment import simulate_inference
from archwright.llm.step_costs import step_costs

POINTS = 2000


def best(work: Callable[[], object], repeats: int = 7) -> float:
    """Return the least seconds of some runs."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def measure() -> dict[str, float]:
    """Return each figure, by a name that ends in its unit."""
    rng = np.random.default_rng(0)
    batch, context = rng.integers(1, 256, POINTS), rng.integers(1, 8000, POINTS)
    chunks, query = rng.integers(0, 2, POINTS), rng.integers(1, 512, POINTS)
    end = query + rng.integers(0, 4000, POINTS)
    composition = StepBatch(
        decode_batch=batch, decode_context=context, prefill_requests=chunks,
        prefill_query_tokens=query, prefill_context_tokens=end,
    )  # fmt: skip
    llama = transformer("Llama-3.1-8B")
    fitted = StepCost(model=llama, device=device("H100-SXM"))
    roofline = StepCost(model=llama, device=device("H100-SXM"), back_end="roofline")
    compiled = fitted.compile()
    # a step as a scheduler has it: a chunk of a prompt beside 255 sequences
    prefills, decodes = np.array([[512, 2048]]), rng.integers(100, 4000, 255)
    lists = StepBatch.of(prefills=[(512, 2048)], decodes=decodes.tolist())
    steps = np.arange(1, 1001)
    many_prefills, many_decodes = np.tile(prefills, (1000, 1)), np.tile(decodes, 1000)
    names = ("H100-SXM", "A100-80GB-SXM", "L40S", "A10G", "L4", "H200-SXM", "B200-SXM")
    instances = [
        StepCost(model=llama, device=device(name), parallel=ParallelPlan(tensor=width))
        for name in names for width in (1, 2, 4)
    ]  # fmt: skip
    load = StepBatch(decode_batch=np.arange(1, 65), decode_context=1000.0)
    found = {
        "fitted_us": best(lambda: fitted(composition)) / POINTS * 1e6,
        "roofline_us": best(lambda: roofline(composition)) / POINTS * 1e6,
        "compiled_us": best(lambda: compiled.seconds(batch, context, chunks, query, end))
        / POINTS * 1e6,
        "compiled_decode_us": best(lambda: compiled.seconds(batch, context)) / POINTS * 1e6,
        "mixed_us": best(
            lambda: [compiled.step_seconds(prefills, decodes) for _ in range(1000)]
        ) * 1e3,
        "mixed_batch_us": best(
            lambda: compiled.steps_seconds(many_prefills, steps, many_decodes, 255 * steps)
        ) * 1e3,
        "scalar_call_us": best(lambda: fitted(lists)) * 1e6,
        "stacked_instance_us": best(lambda: step_costs(instances, load)) / len(instances) * 1e6,
        "compiling_ms": best(lambda: fitted.compile(), 3) * 1e3,
    }  # fmt: skip
    many = best(lambda: infer(fitted, batch=batch, input_tokens=context, output_tokens=256))
    models = ("Llama-3.1-8B", "Qwen2.5-7B", "Gemma-3-12B", "Qwen2.5-14B")
    each = [
        InferenceSpecification(model=m, device=d, batch=b, input=i, output=128)
        for m in models for d in ("H100-SXM", "H200-SXM", "B200-SXM", "L40S")
        for b in (1, 16) for i in (128, 2048)
    ]  # fmt: skip
    one_s = best(lambda: [simulate_inference(s) for s in each], 3) / len(each)
    return found | {"infer_arrays_per_s": POINTS / many, "infer_per_s": 1.0 / one_s}


GOALS = {
    "fitted_us": 1.5, "compiled_us": 0.1, "mixed_us": 5.0, "infer_arrays_per_s": 200_000,
    "infer_per_s": 1000,
}  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    found = measure()
    if options.json:
        print(json.dumps({name: round(value, 4) for name, value in found.items()}))
        return
    for name, value in found.items():
        goal = f"  (goal {GOALS[name]:,})" if name in GOALS else ""
        print(f"{name:22s} {value:12,.3f}{goal}")


if __name__ == "__main__":
    main()
